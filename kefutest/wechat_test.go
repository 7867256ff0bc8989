package kefutest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
)

// The four ways to one WeChat answer alike.
func TestWaysIn(t *testing.T) {
	hello := kefu.Message{To: "oUser1", Body: kefu.Text{Content: "hello"}}
	inProcess, server := New(), NewServer()
	defer inProcess.Close()
	defer server.Close()
	embedded := Config{URL: "http://sim.example"}.New()
	defer embedded.Close()
	mux := http.NewServeMux()
	mux.Handle("/", embedded.Handler())
	for name, w := range map[string]*WeChat{"in process": inProcess, "server": server, "embedded": embedded} {
		w.UserSends("oUser1")
		if _, err := w.Client().Send(t.Context(), hello); err != nil || len(w.Sent()) != 1 {
			t.Errorf("%s: %v, %d sent", name, err, len(w.Sent()))
		}
	}
	if inProcess.URL != "https://api.weixin.qq.com" || !strings.HasPrefix(server.URL, "http://127.0.0.1:") || embedded.URL != "http://sim.example" {
		t.Errorf("%s, %s, %s", inProcess.URL, server.URL, embedded.URL)
	}
	a, err := embedded.Does("oUser1", "image", Details{})
	if err != nil || !strings.HasPrefix(partsOf(a.Event).text("PicUrl"), "http://sim.example/") {
		t.Errorf("%v %s", err, a.Event)
	}
}

func TestTransportHonoursContext(t *testing.T) {
	w := New()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Client().Send(ctx, kefu.Message{To: "oUser1", Body: kefu.Text{Content: "x"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	// The client fetches a token for whoever else waits for one, though its caller has
	// gone: the fault is for that call too, when it comes after all.
	w.Fail(Fault{Path: "stable_token", Delay: Duration(time.Hour), Every: 1})
	req, _ := http.NewRequestWithContext(t.Context(), "POST", "https://any.example/cgi-bin/stable_token",
		strings.NewReader(`{"grant_type":"client_credential","appid":"`+appid+`","secret":"`+secret+`"}`))
	ctx, cancel = context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := w.Transport().RoundTrip(req.WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestWaitSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		client := w.Client()
		w.UserSends("oA", "1", "2")
		w.UserSends("oB")
		go func() {
			for i, to := range []string{"oA", "oB", "oA"} {
				time.Sleep(time.Minute)
				client.Send(context.Background(), kefu.Message{To: to, Body: kefu.Text{Content: fmt.Sprint(i)}})
			}
		}()
		began := time.Now()
		got, err := w.WaitSent(t.Context(), 2, "oA")
		if err != nil || len(got) != 2 || time.Since(began) != 3*time.Minute {
			t.Errorf("%v, %v after %v", err, got, time.Since(began))
		}
		if body, ok := got[1].Message.Body.(kefu.Text); !ok || body.Content != "2" || got[1].OpenID != "oA" || got[1].At != time.Now() {
			t.Errorf("%+v", got[1])
		}
		if n := len(w.Sent("oA", "oB")); n != 3 {
			t.Errorf("%d to both, want 3", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if got, err := w.WaitSent(ctx, 9); !errors.Is(err, context.DeadlineExceeded) || len(got) != 3 {
			t.Errorf("%v, %d", err, len(got))
		}
	})
}

// What is due later happens when its time comes, by waiting or by a jump.
func TestLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		happened := make(chan time.Time, 2)
		for _, d := range []time.Duration{time.Hour, 48 * time.Hour} {
			w.mu.Lock()
			w.at(w.now().Add(d), func() { happened <- w.Now() })
			w.mu.Unlock()
		}
		began := w.Now()
		if at := <-happened; at.Sub(began) != time.Hour {
			t.Errorf("after %v", at.Sub(began))
		}
		w.Advance(100 * time.Hour)
		if at := <-happened; at.Sub(began) != 101*time.Hour {
			t.Errorf("after %v", at.Sub(began))
		}
	})
}

// The oldest lines go when there are too many, from the account's chat and the
// follower's alike.
func TestChatIsBounded(t *testing.T) {
	w := New()
	defer w.Close()
	a := w.account
	w.mu.Lock()
	for i := range mostLines + 10 {
		f, err := a.follower(fmt.Sprint("o", i%2))
		if err != nil {
			t.Fatal(err)
		}
		w.say(a, f, Line{Dir: Out, Raw: "{}"})
	}
	w.mu.Unlock()
	if n := len(w.Sent()); n != mostLines {
		t.Errorf("%d lines, want %d", n, mostLines)
	}
	if n := len(w.Sent("o0")); n != mostLines/2 {
		t.Errorf("%d lines of one follower, want %d", n, mostLines/2)
	}
}

func TestVerbsPanicOnWhatIsNoOpenID(t *testing.T) {
	w := New()
	defer w.Close()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	w.UserSends("not an openid")
}

// Everything at once, for the race detector; and nothing runs on after Close.
func TestEverythingAtOnce(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, make := range []func(...Account) *WeChat{New, NewServer} {
		account := in(callback.Secure, "xml", func(context.Context, callback.Event) (callback.Reply, error) {
			return callback.Text{Content: "hi"}, nil
		})
		w := make(account, Account{AppID: "wxother", Secret: "00000000000000000000000000000001"})
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				openid := fmt.Sprint("oUser", i%3)
				client := w.Client()
				other := w.Account("wxother")
				c := remote{t, w}
				for j := range 20 {
					w.UserSends(openid)
					client.Send(context.Background(), kefu.Message{To: openid, Body: kefu.Text{Content: "x"}})
					client.Typing(context.Background(), openid)
					switch j % 10 {
					case 0:
						w.Fail(Fault{Every: 2, Next: 1, ErrCode: -1})()
					case 1:
						w.Advance(time.Minute)
					case 2:
						w.State()
					case 3:
						if err := w.SetState(`{"limits":{"text.content":100},"media":{"M":"image"}}`); err != nil {
							t.Error(err)
						}
					case 4:
						c.call(nil, "GET", "/_sim/chat", "")
						c.call(nil, "GET", "/_sim/requests", "")
						c.call(nil, "GET", "/_sim/followers", "")
					case 5:
						json.Marshal(w.Requests())
						w.Window(openid)
					case 6:
						w.Follows(openid)
						other.Clicks(openid, "K")
					case 7:
						w.Sent()
						w.Chat(openid)
					case 8:
						w.ExpireTokens()
					case 9:
						if i == 0 {
							w.Reset()
						}
					}
				}
			})
		}
		all.Wait()
		w.Close()
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	deadline := time.Now().Add(3 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines run on after Close:\n%s", n-before, buf[:runtime.Stack(buf, true)])
	}
}
