package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// A stranger's body that never comes holds a connection no longer than one that a route
// reads: net/http waits for it before the answer leaves, whatever the route does.
func TestBodiesThatNobodyReads(t *testing.T) {
	for _, call := range []string{
		"GET /healthz", "GET /nowhere", "GET /docs", "DELETE /v1/session", "POST /v1/messages", "POST /v1/assets", "PATCH /v1/messages", "POST /callback/nobody",
	} {
		for listener, of := range map[string]func(*world) http.Handler{
			"addr": func(w *world) http.Handler { return w.Handler() }, "public-addr": func(w *world) http.Handler { return w.Callbacks() },
		} {
			t.Run(listener+" "+call, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					dial, end := serving(of(w))
					defer end()
					conn, began := dial(), time.Now()
					defer conn.Close()
					go io.WriteString(conn, call+" HTTP/1.1\r\nHost: kefu\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n")
					conn.SetReadDeadline(began.Add(time.Hour))
					res, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil || !res.Close || time.Since(began) > readTime {
						t.Errorf("%v, %v after %v", res, err, time.Since(began))
					}
				})
			})
		}
	}
}

// An answer that nobody takes holds a connection no longer, whoever wrote it.
func TestAnswersThatNobodyTakes(t *testing.T) {
	for _, path := range []string{"/console/dist/console.js", "/docs", "/openapi.json", "//healthz"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.Server.Console = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					http.ServeContent(w, r, "", time.Time{}, strings.NewReader(strings.Repeat("console", 100_000)))
				})
				dial, end := serving(w.Handler())
				defer end()
				conn := dial()
				defer conn.Close()
				go io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: kefu\r\n\r\n")
				time.Sleep(writeTime + time.Second)
				if b, err := io.ReadAll(conn); err != nil || len(b) > 0 {
					t.Errorf("it still wrote %d bytes, %v", len(b), err)
				}
			})
		})
	}
}

// What took long to do, as an erasure may, is answered all the same.
func TestAnswerThatTookLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.Server.Engine = slowly{w.Server.Engine}
		dial, end := serving(w.Handler())
		defer end()
		req, _ := http.NewRequestWithContext(t.Context(), "DELETE", "http://kefu/v1/conversations/wxshop/oFollower", nil)
		req.Header.Set("Authorization", "Bearer "+adminKey)
		res, err := clientOver(dial).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 {
			t.Errorf("%d %s, %v", res.StatusCode, b, err)
		}
	})
}

type slowly struct{ Engine }

func (s slowly) Erase(ctx context.Context, account, openid string) (gateway.Erased, error) {
	time.Sleep(time.Hour)
	return s.Engine.Erase(ctx, account, openid)
}

// Whoever takes each piece in time gets all of them, also if that takes longer.
func TestConsoleOverASlowLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		page := strings.Repeat("console", 100_000)
		w.Server.Console = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(page))
		})
		dial, end := serving(w.Handler())
		defer end()
		conn, began := dial(), time.Now()
		defer conn.Close()
		go io.WriteString(conn, "GET /console HTTP/1.1\r\nHost: kefu\r\nConnection: close\r\n\r\n")
		slow := bufio.NewReaderSize(readerFunc(func(b []byte) (int, error) {
			time.Sleep(time.Second)
			return conn.Read(b)
		}), 16<<10)
		res, err := http.ReadResponse(slow, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if took := time.Since(began); err != nil || string(b) != page || took < writeTime {
			t.Errorf("%d bytes, %v in %v", len(b), err, took)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// A stream that is behind, and so never waits, ends with its key too, and tells nothing
// that came later.
func TestStreamThatIsBehindEndsWithItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 100 {
			w.say(shop, "message.accepted")
		}
		dial, end := w.listen()
		defer end()
		conn := dial()
		defer conn.Close()
		go io.WriteString(conn, "GET /v1/events?cursor=&limit=1 HTTP/1.1\r\nHost: kefu\r\nConnection: close\r\nAccept: text/event-stream\r\nAuthorization: Bearer "+readKey+"\r\n\r\n")
		lines := bufio.NewReaderSize(conn, 16)
		var revoked time.Time
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			if strings.HasPrefix(line, "event:") {
				if revoked.IsZero() {
					revoked = time.Now()
					(*shelf)(w).RevokeKey(t.Context(), start, "key_read")
				}
				time.Sleep(5 * time.Second) // slow, and yet in time for each write
			}
		}
		if after := time.Since(revoked); after > 25*time.Second {
			t.Errorf("it told on for %v", after)
		}
	})
}

// One key can't take the streams of all.
func TestStreamsOfOneKey(t *testing.T) {
	w := newWorld(t)
	w.ownStreams.add("key_read", maxOwnStreams)
	ask := func(key string) int {
		return w.do(key, "GET", "/v1/events?cursor=x", "", "Accept: text/event-stream").StatusCode // 422: it would be one
	}
	if got := [2]int{ask(readKey), ask(sendKey)}; got != [2]int{503, 422} {
		t.Errorf("%v", got)
	}
	w.ownStreams.add("key_read", -1)
	if got := [2]int{ask(readKey), ask(readKey)}; got != [2]int{422, 422} || len(w.ownStreams.of) != 1 {
		t.Errorf("with room for one: %v, %v", got, w.ownStreams.of)
	}
}

// What is chosen by name is held in memory and counted as a body is.
func TestChosenByNameIsCounted(t *testing.T) {
	w := newWorld(t)
	large := w.add(gateway.Message{OpenID: "oFollower", MsgType: "text", State: gateway.Failed, Message: json.RawMessage(`"` + strings.Repeat("x", maxHeld) + `"`)})
	small := w.add(gateway.Message{State: gateway.Failed})
	for id, want := range map[string]int{large.ID: 503, small.ID: 200} {
		if a := w.do(sendKey, "POST", "/v1/messages/retry", fmt.Sprintf(`{"ids":[%q]}`, id)); a.StatusCode != want || w.held.Load() != 0 {
			t.Errorf("%s: %d, %d are held", id, a.StatusCode, w.held.Load())
		}
	}
}

// A password's characters are counted, whatever its bytes.
func TestPasswordIsLongEnough(t *testing.T) {
	for password, long := range map[string]bool{"": false, "ninechars": false, "ten chars!": true, "正确的马电池": false, "正确的马电池订书钉啊": true} {
		if bad := checkPassword("new", password); (len(bad) == 0) != long {
			t.Errorf("%q: %v", password, bad)
		}
	}
}
