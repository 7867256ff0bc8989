package kefu_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
)

// roundTrip is a transport made of a function, for answers that no behaving
// server gives. It needs no socket, so it works in a synctest bubble.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}
}

func clientOn(rt roundTrip) *kefu.Client {
	return &kefu.Client{Tokens: kefu.StaticToken("TOKEN"), HTTP: &http.Client{Transport: rt}}
}

var hello = kefu.Message{To: "oUser1", Body: kefu.Text{Content: "你好"}}

// What an answer proves, in the order of the contract: a numeric errcode counts
// whatever the status; then 3xx and 4xx but 408 are certain; the rest is unknown.
func TestOutcomeOfAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		body   string
		want   kefu.Class // "" for sent
	}{
		{"errcode 0", 200, `{"errcode":0,"errmsg":"ok"}`, ""},
		{"errcode 0 in another order, with blanks", 200, ` { "errmsg" : "ok" , "errcode" : 0 } `, ""},
		{"errcode 0 with a 500", 500, `{"errcode":0,"errmsg":"ok"}`, ""},
		{"refused", 200, `{"errcode":45015,"errmsg":"x"}`, kefu.ErrWindowClosed},
		{"refused with a 502", 502, `{"errcode":45047,"errmsg":"x"}`, kefu.ErrAllowanceSpent},
		{"refused with an errmsg that is no text", 200, `{"errcode":45015,"errmsg":{}}`, kefu.ErrWindowClosed},
		{"a missing errcode is not 0 here", 200, `{"errmsg":"ok"}`, kefu.ErrUnknownOutcome},
		{"an errcode that is text", 200, `{"errcode":"0"}`, kefu.ErrUnknownOutcome},
		{"an errcode that is null", 200, `{"errcode":null}`, kefu.ErrUnknownOutcome},
		{"an errcode beyond 32 bits", 200, `{"errcode":4294967296}`, kefu.ErrUnknownOutcome},
		{"an errcode in another case", 200, `{"ErrCode":0}`, kefu.ErrUnknownOutcome},
		{"a redirect", 302, ``, kefu.ErrNotDelivered},
		{"not found", 404, `<html>`, kefu.ErrNotDelivered},
		{"too many", 429, ``, kefu.ErrNotDelivered},
		{"request time-out", 408, ``, kefu.ErrUnknownOutcome},
		{"gateway time-out", 504, `<html>`, kefu.ErrUnknownOutcome},
		{"a page", 200, `<html>ok</html>`, kefu.ErrUnknownOutcome},
		{"nothing", 200, ``, kefu.ErrUnknownOutcome},
		{"an array", 200, `[{"errcode":0}]`, kefu.ErrUnknownOutcome},
		{"too long", 200, `{"errcode":0,"x":"` + strings.Repeat("x", 2<<20) + `"}`, kefu.ErrUnknownOutcome},
	} {
		t.Run(tt.name, func(t *testing.T) {
			posts := 0
			c := clientOn(func(*http.Request) (*http.Response, error) { posts++; return answer(tt.status, tt.body), nil })
			_, err := c.Send(t.Context(), hello)
			if kefu.ClassOf(err) != tt.want || (err == nil) != (tt.want == "") {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if posts != 1 {
				t.Errorf("%d posts", posts)
			}
		})
	}
}

// What a failure without an answer proves, on real sockets.
func TestOutcomeOfAFailure(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	cut := func(write string) string { // accepts, reads a little, answers part, closes
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = conn.Read(make([]byte, 10))
				_, _ = io.WriteString(conn, write)
				conn.Close()
			}
		}()
		return "http://" + l.Addr().String()
	}
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer silent.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, tt := range []struct {
		name string
		base string
		want kefu.Class
	}{
		{"nobody listens", "http://" + closed.Addr().String(), kefu.ErrNotDelivered},
		{"no such host", "http://kefu.invalid", kefu.ErrNotDelivered},
		{"no TLS there", strings.Replace(plain.URL, "http", "https", 1), kefu.ErrNotDelivered},
		{"cut without an answer", cut(""), kefu.ErrUnknownOutcome},
		{"cut inside the answer", cut("HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"errcode\":0"), kefu.ErrUnknownOutcome},
		{"no answer in time", silent.URL, kefu.ErrUnknownOutcome},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &kefu.Client{Tokens: kefu.StaticToken("CANARY-TOKEN"), BaseURL: tt.base, HTTP: &http.Client{Timeout: 200 * time.Millisecond}}
			_, err := c.Send(t.Context(), hello)
			if kefu.ClassOf(err) != tt.want {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "CANARY") {
				t.Errorf("the error shows the token: %v", err)
			}
		})
	}
}

func TestACanceledSendIsNotDelivered(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := clientOn(func(*http.Request) (*http.Response, error) { t.Error("posted"); return nil, nil }).Send(ctx, hello)
	if !errors.Is(err, kefu.ErrNotDelivered) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A transport that does not say whether it found a connection proves nothing.
func TestAForeignTransportsErrorIsUnknown(t *testing.T) {
	_, err := clientOn(func(*http.Request) (*http.Response, error) { return nil, errors.New("?") }).Send(t.Context(), hello)
	if !errors.Is(err, kefu.ErrUnknownOutcome) {
		t.Error(err)
	}
}

func TestWhatIsPosted(t *testing.T) {
	var got *http.Request
	var body []byte
	c := clientOn(func(r *http.Request) (*http.Response, error) {
		got = r
		body, _ = io.ReadAll(r.Body)
		return answer(200, `{"errcode":0,"errmsg":"ok"}`), nil
	})
	res, err := c.Send(t.Context(), hello)
	if err != nil || res.ErrCode != 0 || res.ErrMsg != "ok" {
		t.Fatal(res, err)
	}
	if u := got.URL.String(); got.Method != "POST" || u != "https://api.weixin.qq.com/cgi-bin/message/custom/send?access_token=TOKEN" {
		t.Error(got.Method, u)
	}
	if got.Header.Get("Content-Type") != "application/json" || got.Header.Get("Idempotency-Key") != "" || got.ContentLength != int64(len(body)) {
		t.Error(got.Header, got.ContentLength)
	}
	equalJSON(t, body, []byte(`{"touser":"oUser1","msgtype":"text","text":{"content":"你好"}}`))
}

func TestWhatWeChatWouldRefuseIsNotPosted(t *testing.T) {
	posts := 0
	c := clientOn(func(*http.Request) (*http.Response, error) {
		posts++
		return answer(200, `{"errcode":44004,"errmsg":"empty"}`), nil
	})
	empty := kefu.Message{To: "o", Body: kefu.Text{}}
	if _, err := c.Send(t.Context(), empty); posts != 0 || !errors.Is(err, kefu.ErrBadRequest) || !kefu.CertainlyNotDelivered(err) {
		t.Errorf("%d posts, %v", posts, err)
	}
	c.NoCheck = true
	var refused *kefu.Error
	if _, err := c.Send(t.Context(), empty); posts != 1 || !errors.As(err, &refused) || refused.Code != 44004 {
		t.Errorf("%d posts, %v; want WeChat's own answer", posts, err)
	}
}

func TestWarningsComeWithTheAnswer(t *testing.T) {
	c := clientOn(func(*http.Request) (*http.Response, error) { return answer(200, `{"errcode":0,"errmsg":"ok"}`), nil })
	res, err := c.Send(t.Context(), kefu.Message{To: "o", Body: kefu.Video{MediaID: "v"}})
	if err != nil || len(res.Warnings) != 1 || res.Warnings[0].Location != "message.video.thumb_media_id" {
		t.Error(res, err)
	}
}

func TestResponseKeepsWhatWeChatSays(t *testing.T) {
	c := clientOn(func(*http.Request) (*http.Response, error) {
		return answer(200, `{"errcode":45015,"errmsg":"response out of time limit rid: 61655d5b-0b67106b-797933d8"}`), nil
	})
	res, err := c.Send(t.Context(), hello)
	var e *kefu.Error
	if !errors.As(err, &e) || e.RID != "61655d5b-0b67106b-797933d8" || res.RID != e.RID || res.ErrCode != 45015 || res.ErrMsg != e.Msg {
		t.Error(res, err)
	}
	c = clientOn(func(*http.Request) (*http.Response, error) {
		return answer(200, `{"errcode":0,"errmsg":"ok","msgid":206227730,"code":"7"}`), nil
	})
	if res, err := c.Send(t.Context(), hello); err != nil || res.MsgID != "206227730" || res.Code != "7" || res.String() != `errcode=0 errmsg="ok" msgid=206227730 code=7` {
		t.Error(res, err)
	}
}

// tokens is a source that counts its fetches: token-1, token-2, …
type tokens struct {
	fetches atomic.Int32
	life    time.Duration
	wait    time.Duration
	fail    atomic.Bool
	same    bool // always token-1
}

func (s *tokens) Token(ctx context.Context) (kefu.Token, error) {
	n := s.fetches.Add(1)
	time.Sleep(s.wait)
	if s.fail.Load() {
		return kefu.Token{}, errors.New("fetch failed")
	}
	if s.same {
		n = 1
	}
	return kefu.Token{Value: kefu.Secret(fmt.Sprint("token-", n)), Expiry: time.Now().Add(s.life)}, nil
}

// accepts answers 0 to one token and code to the others, and counts the posts.
func accepts(good *atomic.Value, code int, posts *atomic.Int32) roundTrip {
	return func(r *http.Request) (*http.Response, error) {
		posts.Add(1)
		if r.URL.Query().Get("access_token") == good.Load() {
			return answer(200, `{"errcode":0,"errmsg":"ok"}`), nil
		}
		return answer(200, fmt.Sprintf(`{"errcode":%d,"errmsg":"token"}`, code)), nil
	}
}

func TestADeadTokenIsRefreshedOnce(t *testing.T) {
	for _, tt := range []struct {
		name           string
		code           int
		good           string
		same           bool
		posts, fetches int32
		want           kefu.Class
	}{
		{"invalid", 40001, "token-2", false, 2, 2, ""},
		{"malformed", 40014, "token-2", false, 2, 2, ""},
		{"expired", 42001, "token-2", false, 2, 2, ""},
		{"the fresh one is dead too", 40001, "of another system", false, 2, 2, kefu.ErrToken},
		{"there is no other", 40001, "of another system", true, 1, 2, kefu.ErrToken},
		{"missing is not dead", 41001, "token-2", false, 1, 1, kefu.ErrBadRequest},
		{"a window is not a token", 45015, "token-2", false, 1, 1, kefu.ErrWindowClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var good atomic.Value
			var posts atomic.Int32
			good.Store(tt.good)
			src := &tokens{life: time.Hour, same: tt.same}
			c := &kefu.Client{Tokens: kefu.CachedToken(src), HTTP: &http.Client{Transport: accepts(&good, tt.code, &posts)}}
			_, err := c.Send(t.Context(), hello)
			if kefu.ClassOf(err) != tt.want || posts.Load() != tt.posts || src.fetches.Load() != tt.fetches {
				t.Errorf("%v after %d posts and %d fetches; want %q, %d, %d", err, posts.Load(), src.fetches.Load(), tt.want, tt.posts, tt.fetches)
			}
		})
	}
}

func TestAnOwnTokenIsNotRefreshed(t *testing.T) {
	var good atomic.Value
	var posts atomic.Int32
	good.Store("other")
	c := &kefu.Client{Tokens: kefu.StaticToken("mine"), HTTP: &http.Client{Transport: accepts(&good, 40001, &posts)}}
	if _, err := c.Send(t.Context(), hello); !errors.Is(err, kefu.ErrToken) || posts.Load() != 1 {
		t.Error(err, posts.Load())
	}
}

func TestThousandCallersOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &tokens{life: 2 * time.Hour, wait: 100 * time.Millisecond}
		cached := kefu.CachedToken(src)
		storm := func(want string) {
			t.Helper()
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					tok, err := cached.Token(t.Context())
					if err != nil || want != "" && tok.Value.Reveal() != want {
						t.Errorf("%v, %v; want %s", tok.Value.Reveal(), err, want)
					}
				})
			}
			wg.Wait()
			synctest.Wait()
		}
		storm("token-1")
		if n := src.fetches.Load(); n != 1 {
			t.Fatalf("no token yet: %d fetches", n)
		}
		time.Sleep(2*time.Hour - time.Second - 100*time.Millisecond) // about to expire
		storm("")
		time.Sleep(time.Second)
		if n := src.fetches.Load(); n != 2 {
			t.Fatalf("about to expire: %d fetches, want 1 more", n)
		}
		var wg sync.WaitGroup
		for range 1000 { // all hold the same dead token
			wg.Go(func() {
				tok, err := cached.(kefu.Refresher).Refresh(t.Context(), kefu.Token{Value: "token-2"})
				if err != nil || tok.Value.Reveal() != "token-3" {
					t.Error(tok.Value.Reveal(), err)
				}
			})
		}
		wg.Wait()
		if n := src.fetches.Load(); n != 3 {
			t.Fatalf("refused: %d fetches, want 1 more", n)
		}
	})
}

func TestATokenOutlivesAFailingSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &tokens{life: 2 * time.Hour}
		cached := kefu.CachedToken(src)
		if _, err := cached.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		src.fail.Store(true)
		time.Sleep(2*time.Hour - time.Minute)
		for range 100 {
			if tok, err := cached.Token(t.Context()); err != nil || tok.Value.Reveal() != "token-1" {
				t.Fatal(tok, err)
			}
			synctest.Wait()
		}
		if n := src.fetches.Load(); n != 2 {
			t.Errorf("%d fetches in an instant, want 1 and a pause", n-1)
		}
		time.Sleep(time.Minute)
		for range 100 {
			if _, err := cached.Token(t.Context()); err == nil {
				t.Fatal("a dead token")
			}
		}
		if n := src.fetches.Load(); n != 3 {
			t.Errorf("%d fetches by callers without a token, want 1 and a pause", n-2)
		}
		src.fail.Store(false)
		time.Sleep(time.Second)
		if tok, err := cached.Token(t.Context()); err != nil || tok.Value.Reveal() != "token-4" {
			t.Error(tok, err)
		}
	})
}

func TestACallerWhoLeavesDoesNotEndTheFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &tokens{life: time.Hour, wait: time.Second}
		cached := kefu.CachedToken(src)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := cached.Token(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if tok, err := cached.Token(t.Context()); err != nil || tok.Value.Reveal() != "token-1" {
			t.Error(tok, err)
		}
	})
}

// A lost answer of the token call leaves no doubt about the message.
func TestNoTokenMeansNotDelivered(t *testing.T) {
	rt := roundTrip(func(*http.Request) (*http.Response, error) { return answer(504, ""), nil })
	c := &kefu.Client{HTTP: &http.Client{Transport: rt}, Tokens: kefu.CachedToken(kefu.StableToken{AppID: "wx1", Secret: "s", HTTP: &http.Client{Transport: rt}})}
	_, err := c.Send(t.Context(), hello)
	if !errors.Is(err, kefu.ErrNotDelivered) || errors.Is(err, kefu.ErrUnknownOutcome) {
		t.Error(err)
	}
	for code, class := range map[int]kefu.Class{
		-1: kefu.ErrNotDelivered, 45009: kefu.ErrNotDelivered, 123456: kefu.ErrNotDelivered, // about the token
		40164: kefu.ErrAccountConfig, 45011: kefu.ErrRateLimited, // about the account
	} {
		rt = func(*http.Request) (*http.Response, error) {
			return answer(200, fmt.Sprintf(`{"errcode":%d,"errmsg":"x"}`, code)), nil
		}
		c = &kefu.Client{HTTP: &http.Client{Transport: rt}, Tokens: kefu.CachedToken(kefu.ClientCredential{AppID: "wx1", Secret: "s", HTTP: &http.Client{Transport: rt}})}
		_, err := c.Send(t.Context(), hello)
		var refused *kefu.Error
		if kefu.ClassOf(err) != class || !kefu.CertainlyNotDelivered(err) || !errors.As(err, &refused) || refused.Code != code {
			t.Errorf("%d: %s, %v", code, kefu.ClassOf(err), err)
		}
	}
}

// What never left is certain, whatever kept it.
func TestWhatNeverLeftIsNotDelivered(t *testing.T) {
	_, noTokens := (&kefu.Client{}).Send(t.Context(), hello)
	_, noURL := (&kefu.Client{Tokens: kefu.StaticToken("T"), BaseURL: "api.weixin.qq.com"}).Send(t.Context(), hello)
	_, noFile := clientOn(nil).Upload(t.Context(), kefu.MediaImage, "a.png", io.MultiReader(strings.NewReader("\x89PNG"), iotest.ErrReader(io.ErrClosedPipe)))
	for name, err := range map[string]error{"no Tokens": noTokens, "no URL": noURL, "an unreadable file": noFile} {
		if !errors.Is(err, kefu.ErrNotDelivered) || !kefu.CertainlyNotDelivered(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A file may take a minute to WeChat and from there, all else ten seconds; the Timeout
// of a client of one's own bounds both.
func TestFilesTakeTheirTime(t *testing.T) {
	for _, tt := range []struct {
		own, takes time.Duration
		call       func(context.Context, *kefu.Client) error
		ok         bool
	}{
		{0, kefu.FileTimeout - 1, uploads, true},
		{0, kefu.FileTimeout + 1, uploads, false},
		{0, kefu.FileTimeout - 1, downloads, true},
		{0, kefu.DefaultTimeout + 1, types, false},
		{time.Second, 2 * time.Second, uploads, false},
		{5 * time.Minute, 4 * time.Minute, uploads, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := &kefu.Client{Tokens: kefu.StaticToken("T"), HTTP: &http.Client{Timeout: tt.own, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				select {
				case <-time.After(tt.takes):
					return answer(200, `{"media_id":"M","errcode":0,"video_url":"https://example.com/v"}`), nil
				case <-r.Context().Done():
					return nil, r.Context().Err()
				}
			})}}
			if err := tt.call(t.Context(), c); (err == nil) != tt.ok {
				t.Errorf("%v of %v: %v", tt.takes, tt.own, err)
			}
		})
	}
}

func uploads(ctx context.Context, c *kefu.Client) error {
	_, err := c.Upload(ctx, kefu.MediaImage, "a.png", strings.NewReader("\x89PNG\r\n\x1a\n"))
	return err
}

func downloads(ctx context.Context, c *kefu.Client) error {
	_, err := c.Download(ctx, "M")
	return err
}

func types(ctx context.Context, c *kefu.Client) error { return c.Typing(ctx, "o") }

// A publication of which nothing is told is not published.
func TestAPublicationWithoutStatus(t *testing.T) {
	for body, want := range map[string]error{`{}`: kefu.ErrUnknownOutcome, `{"errcode":53502}`: kefu.ErrBadRequest} {
		p, err := clientOn(func(*http.Request) (*http.Response, error) { return answer(200, body), nil }).Publication(t.Context(), "1")
		if !errors.Is(err, want) || p.Status == kefu.Published {
			t.Errorf("%s: %v, %v", body, p.Status, err)
		}
	}
}

// Whoever waits for an hour leaves most of the 100 calls of a day to others.
func TestWaitPublishedIsPatient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := clientOn(func(*http.Request) (*http.Response, error) { asked++; return answer(200, `{"publish_status":1}`), nil })
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if p, err := c.WaitPublished(ctx, "1", 0); err == nil || p.Status != kefu.Publishing || asked > 65 || asked < 60 {
			t.Errorf("asked %d times: %v, %v", asked, p.Status, err)
		}
	})
}

func TestSenderTries(t *testing.T) {
	const ok, busy, closed, page = `{"errcode":0,"errmsg":"ok"}`, `{"errcode":-1,"errmsg":"system error"}`, `{"errcode":45015,"errmsg":"x"}`, `<html>`
	for _, tt := range []struct {
		name    string
		answers []string
		sender  kefu.Sender
		posts   int
		want    kefu.Class
	}{
		{"success ends it", []string{ok}, kefu.Sender{}, 1, ""},
		{"busy, busy, success", []string{busy, busy, ok}, kefu.Sender{}, 3, ""},
		{"three by default", []string{busy, busy, busy, ok}, kefu.Sender{}, 3, kefu.ErrBusy},
		{"as many as asked", []string{busy, busy, busy, busy, ok}, kefu.Sender{Tries: 5}, 5, ""},
		{"a closed window stays closed", []string{closed, ok}, kefu.Sender{}, 1, kefu.ErrWindowClosed},
		{"unknown, then refused: it may have arrived", []string{page, closed}, kefu.Sender{RetryUnknown: true}, 2, kefu.ErrUnknownOutcome},
		{"an unknown outcome is not repeated", []string{page, ok}, kefu.Sender{}, 1, kefu.ErrUnknownOutcome},
		{"unless asked to", []string{page, ok}, kefu.Sender{RetryUnknown: true}, 2, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				posts := 0
				var log strings.Builder
				s := tt.sender
				s.Log = slog.New(slog.NewTextHandler(&log, nil))
				s.Client = clientOn(func(*http.Request) (*http.Response, error) {
					posts++
					return answer(200, tt.answers[posts-1]), nil
				})
				_, err := s.Send(t.Context(), kefu.Message{To: "oABCD1234567890abcdefghijklm", Body: kefu.Text{Content: "x"}})
				if posts != tt.posts || kefu.ClassOf(err) != tt.want {
					t.Errorf("%d posts, %v; want %d, %q", posts, err, tt.posts, tt.want)
				}
				if lines := strings.Count(log.String(), "\n"); lines != posts || strings.Contains(log.String(), "oABCD1234567890abcdefghijklm") || strings.Contains(log.String(), "TOKEN") {
					t.Errorf("%d lines for %d posts: %s", lines, posts, log.String())
				}
			})
		})
	}
}

func TestSenderStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := kefu.Sender{Tries: 100, Wait: func(int) time.Duration { return 400 * time.Millisecond }, Log: slog.New(slog.DiscardHandler)}
		posts := 0
		s.Client = clientOn(func(*http.Request) (*http.Response, error) { posts++; return answer(200, `{"errcode":-1}`), nil })
		if _, err := s.Send(ctx, hello); !errors.Is(err, kefu.ErrBusy) || posts != 3 {
			t.Error(posts, err)
		}
	})
}

// Secrets are planted everywhere, and every way to fail is printed in every way.
func TestNoSecretIsEverShown(t *testing.T) {
	const canary = "CANARY"
	leaky := roundTrip(func(r *http.Request) (*http.Response, error) {
		body := ""
		if r.Body != nil {
			b, _ := io.ReadAll(r.Body)
			body = string(b)
		}
		return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: fmt.Errorf("cut at %s %s", r.URL, body)}
	})
	h := &http.Client{Transport: leaky}
	var shown strings.Builder
	log := slog.New(slog.NewJSONHandler(&shown, nil))
	for _, src := range []kefu.TokenSource{
		kefu.StaticToken("CANARY/token+1"),
		kefu.CachedToken(kefu.StableToken{AppID: "wx1", Secret: "CANARYsecret", HTTP: h}),
		kefu.CachedToken(kefu.ClientCredential{AppID: "wx1", Secret: "CANARYsecret", HTTP: h}),
	} {
		c := &kefu.Client{Tokens: src, HTTP: h}
		_, err := c.Send(t.Context(), hello)
		if err == nil {
			t.Fatal("sent?")
		}
		_, uploadErr := c.Upload(t.Context(), kefu.MediaImage, "a.gif", strings.NewReader("GIF89a…"))
		for _, v := range []any{err, uploadErr, c, src, kefu.Token{Value: canary}, kefu.Secret(canary), kefu.StableToken{Secret: canary}} {
			fmt.Fprintf(&shown, "%v %+v %#v %s %q %x\n", v, v, v, v, v, v)
			log.Info("x", "v", v)
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			fmt.Fprintln(&shown, e)
		}
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)} {
		if i := strings.Index(shown.String(), form); i >= 0 {
			t.Errorf("shown: …%s", shown.String()[max(0, i-200):min(shown.Len(), i+20)])
		}
	}
}

// Other calls than custom/send may leave errcode out; what they put there must be
// a number.
func TestOtherCallsWantANumber(t *testing.T) {
	for body, ok := range map[string]bool{`{"errcode":0}`: true, `{}`: true, `{"errcode":"45015"}`: false, `{"errcode":null}`: false, `{"errcode":true}`: false} {
		c := clientOn(func(*http.Request) (*http.Response, error) { return answer(200, body), nil })
		if err := c.Typing(t.Context(), "o"); (err == nil) != ok {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// The body of an HTTP 101 heeds no context: it must not be waited for.
func TestSwitchingProtocolsIsNoAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = conn.Read(make([]byte, 1)) // until the other side gives up
	}))
	defer s.Close()
	c := &kefu.Client{Tokens: kefu.StaticToken("T"), BaseURL: s.URL}
	if _, err := c.Send(t.Context(), hello); !errors.Is(err, kefu.ErrUnknownOutcome) {
		t.Error(err)
	}
}

func TestATransportThatReturnsNothing(t *testing.T) {
	for _, res := range []*http.Response{nil, {StatusCode: 200}} {
		c := clientOn(func(*http.Request) (*http.Response, error) { return res, nil })
		if _, err := c.Send(t.Context(), hello); !errors.Is(err, kefu.ErrUnknownOutcome) {
			t.Error(err)
		}
	}
}

// Three codes refuse the token before the message is looked at; only they make a
// second post.
func TestOnlyThreeCodesMakeASecondPost(t *testing.T) {
	var good atomic.Value
	var posts atomic.Int32
	good.Store("token-2")
	c := &kefu.Client{Tokens: kefu.CachedToken(&tokens{life: time.Hour}), HTTP: &http.Client{Transport: accepts(&good, 42006, &posts)}}
	if _, err := c.Send(t.Context(), hello); !errors.Is(err, kefu.ErrToken) || posts.Load() != 1 {
		t.Error(err, posts.Load())
	}
}

// Secrets that WeChat, or something on the way, repeats are taken out.
func TestEchoedSecretsAreBlanked(t *testing.T) {
	const token, secret = "CANARY/token", "CANARYsecret"
	for _, body := range []string{
		`{"errcode":40001,"errmsg":"invalid CANARY/token or CANARY%2Ftoken, CANARYsecret"}`, `<html>CANARY/token CANARYsecret`,
		"\uFEFF" + `{"access_token":"CANARY/token","expires_in":7200}`, `{"access_token":"CANARY/token","expires_in":7200} x`,
	} {
		for _, status := range []int{200, 203, 404, 500} {
			rt := roundTrip(func(*http.Request) (*http.Response, error) { return answer(status, body), nil })
			h := &http.Client{Transport: rt}
			var log strings.Builder
			s := &kefu.Sender{Client: &kefu.Client{Tokens: kefu.StaticToken(token), HTTP: h}, Tries: 1, Log: slog.New(slog.NewTextHandler(&log, nil))}
			res, err := s.Send(t.Context(), hello)
			_, fetchErr := kefu.StableToken{AppID: "wx1", Secret: secret, HTTP: h}.Token(t.Context())
			shown := fmt.Sprint(res, err, fetchErr, log.String())
			if fetchErr != nil && strings.Contains(fmt.Sprint(fetchErr), "CANARY") && !strings.Contains(body, "errcode") || strings.Contains(fmt.Sprint(res, err, log.String()), token) || strings.Contains(fmt.Sprint(fetchErr), secret) {
				t.Errorf("HTTP %d %s: %s", status, body, shown)
			}
		}
	}
}

func TestTokenLives(t *testing.T) {
	for _, tt := range []struct {
		expiresIn string
		ok        bool
	}{{"7200", true}, {"290", true}, {"0", false}, {"-1", false}, {"99999999999999", true}} {
		synctest.Test(t, func(t *testing.T) {
			fetches := 0
			rt := roundTrip(func(*http.Request) (*http.Response, error) {
				fetches++
				return answer(200, `{"access_token":"T","expires_in":`+tt.expiresIn+`}`), nil
			})
			src := kefu.CachedToken(kefu.StableToken{AppID: "wx1", Secret: "s", HTTP: &http.Client{Transport: rt}})
			for range 50 {
				if _, err := src.Token(t.Context()); (err == nil) != tt.ok {
					t.Fatalf("expires_in %s: %v", tt.expiresIn, err)
				}
				synctest.Wait()
			}
			if fetches != 1 {
				t.Errorf("expires_in %s: %d fetches for 50 callers in an instant", tt.expiresIn, fetches)
			}
		})
	}
	if _, err := kefu.CachedToken(nil).Token(t.Context()); err == nil {
		t.Error("a cache of nothing gives a token")
	}
}
