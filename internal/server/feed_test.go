package server

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// In a bubble of synctest the gateway listens on pipes, so that its time stands
// still while nothing happens.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// listen serves w on pipes and returns a way to connect and an end.
func (w *world) listen() (dial func() net.Conn, end func()) {
	dial, stop := serving(w.Handler())
	return dial, func() {
		w.Server.Close()
		stop()
	}
}

// serving is listen of h alone.
func serving(h http.Handler) (dial func() net.Conn, end func()) {
	p := make(pipes)
	server := HTTP(h)
	go server.Serve(p)
	return func() net.Conn {
			here, there := net.Pipe()
			p <- there
			return here
		}, func() {
			close(p)
			server.Close()
			time.Sleep(2 * time.Second) // net/http lingers a little
		}
}

func clientOver(dial func() net.Conn) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return dial(), nil },
		DisableKeepAlives: true,
	}}
}

// stream opens the feed and returns its lines.
func (w *world) stream(t *testing.T, c *http.Client, query string, headers ...string) (*bufio.Reader, *http.Response) {
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://kefu/v1/events"+query, nil)
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer "+readKey)
	for _, h := range headers {
		name, v, _ := strings.Cut(h, ": ")
		req.Header.Set(name, v)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewReader(res.Body), res
}

// next reads up to the next blank line.
func next(t *testing.T, lines *bufio.Reader) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return b.String() + err.Error()
		}
		if line == "\n" {
			return b.String()
		}
		b.WriteString(line)
	}
}

func entry(n, account, kind string) string {
	return "id: " + n + "\nevent: " + kind + "\ndata: {\"cursor\":\"" + n + "\",\"at\":\"2026-11-23T12:00:00.000Z\",\"account\":\"" + account +
		"\",\"openid\":\"oFollower\",\"type\":\"" + kind + "\",\"data\":{\"n\":" + n + "}}\n"
}

func TestStream(t *testing.T) {
	for _, tt := range []struct {
		name    string
		query   string
		headers []string
		gone    int
		want    []string // before and after a message.sent of shop and of other are said
	}{
		{"from now on", "", nil, 0, []string{": kefu\nid: 3\n", entry("4", shop, "message.sent"), entry("5", other, "message.sent")}},
		{"after a cursor", "?cursor=2", nil, 0, []string{": kefu\nid: 2\n", entry("3", shop, "message.accepted"), entry("4", shop, "message.sent"), entry("5", other, "message.sent")}},
		{"from the beginning", "?cursor=", nil, 0, []string{": kefu\nid: \n", entry("1", shop, "message.accepted"), entry("2", other, "message.accepted"), entry("3", shop, "message.accepted")}},
		{"after Last-Event-ID, which counts more", "?cursor=1", []string{"Last-Event-ID: 2"}, 0, []string{": kefu\nid: 2\n", entry("3", shop, "message.accepted")}},
		{"one account", "?cursor=1&account=" + other, nil, 0, []string{": kefu\nid: 1\n", entry("2", other, "message.accepted"), entry("5", other, "message.sent")}},
		{"some types", "?cursor=1&type=message.sent&type=message.failed", nil, 0, []string{": kefu\nid: 1\n", entry("4", shop, "message.sent"), entry("5", other, "message.sent")}},
		{"little at a time, and nothing of it for this reader", "?cursor=0&limit=1&type=message.sent", nil, 0, []string{": kefu\nid: 0\n", entry("4", shop, "message.sent"), entry("5", other, "message.sent")}},
		{"older than what is kept", "?cursor=1", nil, 2, []string{"id: 3\nevent: reset\ndata: {\"cursor\":\"3\"}\n", ": kefu\nid: 3\n", entry("4", shop, "message.sent")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				dial, end := w.listen()
				w.say(shop, "message.accepted")
				w.say(other, "message.accepted")
				w.say(shop, "message.accepted")
				w.gone = tt.gone
				lines, res := w.stream(t, clientOver(dial), tt.query, tt.headers...)
				if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "text/event-stream" {
					t.Fatalf("%d %s", res.StatusCode, got)
				}
				time.AfterFunc(time.Second, func() {
					w.say(shop, "message.sent")
					w.say(other, "message.sent")
				})
				for i, want := range tt.want {
					if got := next(t, lines); got != want {
						t.Errorf("%d: %q, want %q", i, got, want)
					}
				}
				res.Body.Close()
				end()
			})
		})
	}
}

// What can be refused is refused before the stream begins.
func TestStreamRefusals(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		query   string
		headers string
		status  int
	}{
		{"?cursor=x", "Accept: text/event-stream", 422},
		{"", "Last-Event-ID: x", 422},
		{"?account=wxnone", "Accept: text/event-stream", 404},
		{"?since=1", "Accept: text/event-stream", 422},
		{"?beat=0.4", "Accept: text/event-stream", 422},
		{"?beat=61", "Accept: text/event-stream", 422},
		{"?beat=NaN", "Accept: text/event-stream", 422},
	} {
		if a := w.do(readKey, "GET", "/v1/events"+tt.query, "", tt.headers); a.StatusCode != tt.status {
			t.Errorf("%s: %d %s", tt.query, a.StatusCode, a.body)
		}
	}
	w.streams.Store(maxStreams)
	if a := w.do(readKey, "GET", "/v1/events", "", "Accept: text/event-stream"); a.StatusCode != 503 || w.streams.Load() != maxStreams {
		t.Errorf("all streams taken: %d %s", a.StatusCode, a.body)
	}
}

// A silent stream says that it lives, and ends when its key is revoked.
func TestStreamLivesAsLongAsItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dial, end := w.listen()
		defer end()
		lines, _ := w.stream(t, clientOver(dial), "?type=message.failed")
		next(t, lines)
		began := time.Now()
		if got := next(t, lines); got != ": alive\nid: 0\n" || time.Since(began) != 15*time.Second {
			t.Errorf("%q after %v", got, time.Since(began))
		}
		w.say(shop, "message.sent") // not for this reader, but it need not come back to it
		if got := next(t, lines); got != ": alive\nid: 1\n" {
			t.Errorf("%q", got)
		}
		(*shelf)(w).RevokeKey(t.Context(), start, "key_read")
		if got := next(t, lines); got != "EOF" || time.Since(began) != 45*time.Second {
			t.Errorf("%q after %v", got, time.Since(began))
		}
	})
}

// A store that can't be read for a moment ends no stream's key, and a stop of the
// gateway ends the stream.
func TestStreamEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dial, end := w.listen()
		defer end()
		lines, _ := w.stream(t, clientOver(dial), "")
		next(t, lines)
		w.mu.Lock()
		w.storeErr = errors.New("disk I/O error")
		w.mu.Unlock()
		if got := next(t, lines); got != ": alive\nid: 0\n" {
			t.Errorf("%q", got)
		}
		w.Server.Close()
		if got := next(t, lines); got != "EOF" {
			t.Errorf("%q", got)
		}
		synctest.Wait()
		if n := w.streams.Load(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
	})
}

// A reader who doesn't read is let go, and holds nothing meanwhile.
func TestStreamOfASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dial, end := w.listen()
		defer end()
		conn := dial()
		go conn.Write([]byte("GET /v1/events HTTP/1.1\r\nHost: kefu\r\nAccept: text/event-stream\r\nAuthorization: Bearer " + readKey + "\r\n\r\n"))
		time.Sleep(writeTime - time.Second)
		if n := w.streams.Load(); n != 1 {
			t.Errorf("%d streams", n)
		}
		time.Sleep(2 * time.Second)
		if n := w.streams.Load(); n != 0 {
			t.Errorf("%d streams after the time to write", n)
		}
	})
}

func TestFeedPages(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.say(shop, "message.accepted")
		w.say(other, "message.accepted")
	}
	var cursors []string
	cursor := ""
	for range 4 {
		page := read[gateway.Page[gateway.FeedEntry]](t, w.do(otherKey, "GET", "/v1/events?limit=4&cursor="+cursor, ""))
		for _, e := range page.Items {
			cursors = append(cursors, e.Cursor)
		}
		cursor = page.Next
	}
	if want := []string{"2", "4", "6", "8", "10"}; !slices.Equal(cursors, want) || cursor != "10" {
		t.Errorf("%v, next %q, want %v", cursors, cursor, want)
	}
	w.gone = 3
	if a := w.do(otherKey, "GET", "/v1/events?cursor=1", ""); a.StatusCode != 410 || read[gateway.Problem](t, a).Code != gateway.CursorGone {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do(otherKey, "GET", "/v1/events?cursor=1", "", "Accept: application/json"); a.StatusCode != 410 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// Time and memory of slow clients are bounded, and a wait isn't taken for slowness.
func TestSlowClients(t *testing.T) {
	post := "POST /v1/messages HTTP/1.1\r\nHost: kefu\r\nContent-Type: application/json\r\nAuthorization: Bearer " + sendKey + "\r\nContent-Length: 1000000\r\n\r\n"
	t.Run("headers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			dial, end := w.listen()
			defer end()
			conn, began := dial(), time.Now()
			go conn.Write([]byte(post[:40]))
			if _, err := conn.Read(make([]byte, 1)); err == nil || time.Since(began) != 5*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
	})
	t.Run("body", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			dial, end := w.listen()
			defer end()
			conn, began := dial(), time.Now()
			go func() {
				conn.Write([]byte(post))
				for {
					if _, err := conn.Write([]byte(" ")); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}()
			time.Sleep(time.Second)
			if held := w.held.Load(); held == 0 || held > 16<<10 {
				t.Errorf("a byte of a megabyte holds %d", held)
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil || res.StatusCode != 400 || !res.Close || time.Since(began) != readTime {
				t.Errorf("%v %v after %v", res, err, time.Since(began))
			}
			synctest.Wait()
			if held := w.held.Load(); held != 0 {
				t.Errorf("%d are held afterwards", held)
			}
		})
	})
	t.Run("a wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			dial, end := w.listen()
			defer end()
			began := time.Now()
			req, _ := http.NewRequest("POST", "http://kefu/v1/messages?wait=60s", strings.NewReader(textTo("oFollower", "hi")))
			req.Header.Set("Authorization", "Bearer "+sendKey)
			req.Header.Set("Content-Type", "application/json")
			res, err := clientOver(dial).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 202 || time.Since(began) != time.Minute {
				t.Errorf("%d after %v", res.StatusCode, time.Since(began))
			}
		})
	})
}
