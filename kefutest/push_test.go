package kefutest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
)

// in returns the default account with its callback going to receive, checked and
// parsed as package callback does in a real program.
func in(mode callback.Mode, format string, receive func(context.Context, callback.Event) (callback.Reply, error)) Account {
	a := DefaultAccount
	a.Mode, a.Format = mode, format
	a.CallbackHandler = &callback.Handler{AppID: a.AppID, Token: a.Token, AESKey: a.AESKey, Mode: mode, Receive: receive}
	return a
}

var modes = []callback.Mode{callback.Plain, callback.Compat, callback.Secure}

// Every action, in every mode and format, arrives as the event that package callback
// types, opens there what it opened here, and its answer reaches the follower.
func TestPushesArrive(t *testing.T) {
	for _, mode := range modes {
		for _, format := range []string{"xml", "json"} {
			for _, action := range Actions() {
				t.Run(fmt.Sprint(mode, "/", format, "/", action), func(t *testing.T) {
					var got []callback.Event
					w := New(in(mode, format, func(_ context.Context, e callback.Event) (callback.Reply, error) {
						got = append(got, e)
						return callback.Text{Content: "收到 ]]> <&>"}, nil
					}))
					defer w.Close()
					a, err := w.Does("oUser1", action, Details{})
					if err != nil {
						t.Fatal(err)
					}
					if action == "pay" || action == "rights" {
						if len(got) != 0 || a.Event != nil || a.Deliveries != nil {
							t.Errorf("WeChat pushes nothing of it: %v, %+v", got, a)
						}
						return
					}
					if len(got) != 1 || len(a.Deliveries) != 1 || a.Deliveries[0].Status != 200 {
						t.Fatalf("%d events, %+v", len(got), a.Deliveries)
					}
					head := got[0].Head()
					if _, unknown := got[0].(callback.Unknown); unknown || head.FromUserName != "oUser1" {
						t.Errorf("arrived as %v", got[0])
					}
					if opens := got[0].Head().Trigger(); action != "unsubscribe" && opens != a.Window.OpenedBy && !(action == "menu-tap") {
						t.Errorf("opens %q there, %q here", opens, a.Window.OpenedBy)
					}
					if want := `{"msgtype":"text","text":{"content":"收到 ]]> <&>"},"touser":"oUser1"}`; string(a.Deliveries[0].Reply) != want {
						t.Errorf("reply %s, want %s", a.Deliveries[0].Reply, want)
					}
					chat := w.Chat("oUser1")
					if len(chat) != 2 || chat[0].Dir != In || chat[0].State != "answered" || chat[1].Dir != Passive || chat[1].Kind != "text" {
						t.Errorf("%+v", chat)
					}
					if n := len(w.Sent()); n != 0 {
						t.Errorf("%d customer-service messages; a passive answer is none", n)
					}
				})
			}
		}
	}
}

// What is pushed is shaped as WeChat's samples are: the same elements in the same
// order.
func TestPushesAreShapedAsTheSamples(t *testing.T) {
	for _, tt := range []struct {
		sample, action string
		with           Details
	}{
		{"msg_text.xml", "text", Details{}},
		{"msg_text_msgmenu_click.xml", "menu-tap", Details{}},
		{"msg_image.xml", "image", Details{}},
		{"msg_voice.xml", "voice", Details{}},
		{"msg_video.xml", "video", Details{}},
		{"msg_location.xml", "location", Details{}},
		{"msg_link.xml", "link", Details{}},
		{"event_subscribe_qrscene.xml", "subscribe", Details{Scene: "123123"}},
		{"event_scan.xml", "scan", Details{}},
		{"event_click.xml", "click", Details{}},
		{"event_view.xml", "view", Details{}},
		{"event_scancode_push.xml", "scancode_push", Details{}},
		{"event_scancode_waitmsg.xml", "scancode_waitmsg", Details{}},
	} {
		t.Run(tt.sample, func(t *testing.T) {
			sample, err := os.ReadFile(filepath.Join("../testdata/samples", tt.sample))
			if err != nil {
				t.Fatal(err)
			}
			var pushed []byte
			w := New(Account{Mode: callback.Plain, CallbackHandler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				pushed, _ = io.ReadAll(r.Body)
			})})
			defer w.Close()
			w.Does("oUser1", tt.action, tt.with)
			if got, want := skeleton(string(pushed)), skeleton(strings.TrimSpace(string(sample))); got != want {
				t.Errorf("\n%s, want\n%s", got, want)
			}
		})
	}
}

// skeleton is XML without its texts: <Content><![CDATA[…]]></Content>.
func skeleton(xml string) string {
	var b strings.Builder
	for xml != "" {
		before, after, found := strings.Cut(xml, "<")
		if strings.TrimSpace(before) == "" {
			b.WriteString(before)
		} else {
			b.WriteString("…")
		}
		if !found {
			break
		}
		if rest, cdata := strings.CutPrefix(after, "![CDATA["); cdata {
			_, xml, _ = strings.Cut(rest, "]]>")
			b.WriteString("<![CDATA[…]]>")
			continue
		}
		tag, rest, _ := strings.Cut(after, ">")
		b.WriteString("<" + tag + ">")
		xml = rest
	}
	return b.String()
}

// A silent callback is pushed three times, 5 s each: the same body and MsgId, signed
// anew. Then the follower reads that the account is out of service.
func TestSilentCallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var bodies, nonces []string
		w := New(Account{CallbackHandler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			bodies, nonces = append(bodies, string(body)), append(nonces, r.URL.Query().Get("nonce")+r.URL.Query().Get("msg_signature"))
			mu.Unlock()
			<-r.Context().Done()
		})})
		defer w.Close()
		began := time.Now()
		a := w.UserSends("oUser1")
		if took := time.Since(began); took != 15*time.Second || len(a.Deliveries) != 3 {
			t.Errorf("%d deliveries in %v, want 3 in 15s", len(a.Deliveries), took)
		}
		for i, d := range a.Deliveries {
			if d.Status != 0 || d.Took != 5*time.Second || d.At != began.Add(time.Duration(i)*5*time.Second) {
				t.Errorf("delivery %d: %+v", i, d)
			}
		}
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if bodies[0] != bodies[1] || bodies[1] != bodies[2] {
			t.Error("the repeats have other bodies")
		}
		if slices.Sort(nonces); len(slices.Compact(nonces)) != 3 {
			t.Error("the repeats are not signed anew")
		}
		chat := w.Chat("oUser1")
		if last := chat[len(chat)-1]; last.Dir != System || partsOf(last.Message).text("text") != outOfService || chat[0].State != "unanswered" {
			t.Errorf("%+v", chat)
		}
	})
}

func TestCallbackAnswers(t *testing.T) {
	answer := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	reply := func(content string) string {
		return "<xml><ToUserName>oUser1</ToUserName><FromUserName>" + w0().account.ID + "</FromUserName><CreateTime>1</CreateTime>" + content + "</xml>"
	}
	for _, tt := range []struct {
		name       string
		handler    http.HandlerFunc
		deliveries int
		kind       string // of the last line of the chat: text means the follower's own
	}{
		{"success", answer(200, "success"), 1, "in text"},
		{"empty", answer(200, ""), 1, "in text"},
		{"white space", answer(200, " success\n"), 1, "in text"},
		{"500 is pushed again", answer(500, "oops"), 3, "system out_of_service"},
		{"403 is pushed again", answer(403, ""), 3, "system out_of_service"},
		{"JSON where XML is due", answer(200, `{"MsgType":"text"}`), 1, "system out_of_service"},
		{"other text", answer(200, "ok"), 1, "system out_of_service"},
		{"text", answer(200, reply("<MsgType>text</MsgType><Content><![CDATA[hi]]></Content>")), 1, "passive text"},
		{"text without content", answer(200, reply("<MsgType>text</MsgType>")), 1, "system out_of_service"},
		{"unknown MsgType", answer(200, reply("<MsgType>shout</MsgType>")), 1, "system out_of_service"},
		{"To and From not swapped", answer(200, "<xml><ToUserName>gh_x</ToUserName><FromUserName>oUser1</FromUserName><MsgType>text</MsgType><Content>x</Content></xml>"), 1, "system out_of_service"},
		{"image", answer(200, reply("<MsgType>image</MsgType><Image><MediaId>IMAGE</MediaId></Image>")), 1, "passive image"},
		{"image unknown", answer(200, reply("<MsgType>image</MsgType><Image><MediaId>X</MediaId></Image>")), 1, "system out_of_service"},
		{"voice", answer(200, reply("<MsgType>voice</MsgType><Voice><MediaId>VOICE</MediaId></Voice>")), 1, "passive voice"},
		{"video", answer(200, reply("<MsgType>video</MsgType><Video><MediaId>VIDEO</MediaId><Title>t</Title></Video>")), 1, "passive video"},
		{"music", answer(200, reply("<MsgType>music</MsgType><Music><ThumbMediaId>THUMB</ThumbMediaId></Music>")), 1, "passive music"},
		{"news", answer(200, reply("<MsgType>news</MsgType><ArticleCount>1</ArticleCount><Articles><item><Title>a</Title></item></Articles>")), 1, "passive news"},
		{"news without articles", answer(200, reply("<MsgType>news</MsgType><ArticleCount>0</ArticleCount>")), 1, "system out_of_service"},
		{"transfer", answer(200, reply("<MsgType>transfer_customer_service</MsgType><TransInfo><KfAccount>a@b</KfAccount></TransInfo>")), 1, "system transfer_customer_service"},
		{"not encrypted is good enough in plain mode, encrypted without sense is not", answer(200, "<xml><Encrypt>x</Encrypt></xml>"), 1, "system out_of_service"},
		{"too long", answer(200, reply("<MsgType>text</MsgType><Content>"+long(300<<10)+"</Content>")), 1, "system out_of_service"},
		{"cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 3, "system out_of_service"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := New(Account{Mode: callback.Plain, CallbackHandler: tt.handler})
			defer w.Close()
			if err := w.SetState(everything); err != nil {
				t.Fatal(err)
			}
			a := w.UserSends("oUser1")
			chat := w.Chat("oUser1")
			last := chat[len(chat)-1]
			if got := string(last.Dir) + " " + last.Kind; got != tt.kind || len(a.Deliveries) != tt.deliveries {
				t.Errorf("%s after %d deliveries, want %s after %d: %s", got, len(a.Deliveries), tt.kind, tt.deliveries, last.Message)
			}
		})
	}
}

// w0 is for the default account's original id.
func w0() *WeChat { return New() }

// Only one article is shown in the answer to a message, eight to an event.
func TestPassiveArticles(t *testing.T) {
	var articles callback.News
	for range 9 {
		articles.Articles = append(articles.Articles, callback.Article{Title: "x"})
	}
	w := New(in(callback.Secure, "xml", func(context.Context, callback.Event) (callback.Reply, error) { return articles, nil }))
	defer w.Close()
	for action, want := range map[string]int{"text": 1, "click": 8} {
		a, err := w.Does("oUser1", action, Details{})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(list(partsOf(partsOf(a.Deliveries[0].Reply)["news"])["articles"])); got != want {
			t.Errorf("%s: %d articles shown, want %d", action, got, want)
		}
	}
}

func TestSecureModeWantsEncryptedAnswers(t *testing.T) {
	w := New()
	id := w.account.ID
	w.Close()
	w = New(Account{CallbackHandler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "<xml><ToUserName>oUser1</ToUserName><FromUserName>%s</FromUserName><MsgType>text</MsgType><Content>x</Content></xml>", id)
	})})
	defer w.Close()
	a := w.UserSends("oUser1")
	if a.Deliveries[0].Reply != nil {
		t.Errorf("a plain answer reached the follower in secure mode: %s", a.Deliveries[0].Reply)
	}
}

// An encrypted answer counts only if it is signed for what it says.
func TestEncryptedAnswersAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		mend   func(answer string) string
		passes bool
	}{
		{"as it is", func(s string) string { return s }, true},
		{"signed for another", func(s string) string { return strings.Replace(s, "<Nonce><![CDATA[", "<Nonce><![CDATA[0", 1) }, false},
		{"not signed", func(s string) string { return strings.Replace(s, "MsgSignature", "Signature", 2) }, false},
		{"altered", func(s string) string { return strings.Replace(s, "<Encrypt><![CDATA[", "<Encrypt><![CDATA[AAAA", 1) }, false},
	} {
		a := in(callback.Secure, "xml", func(context.Context, callback.Event) (callback.Reply, error) {
			return callback.Text{Content: "hi"}, nil
		})
		honest := a.CallbackHandler
		a.CallbackHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			honest.ServeHTTP(rec, r)
			io.WriteString(w, tt.mend(rec.Body.String()))
		})
		w := New(a)
		if got := w.UserSends("oUser1").Deliveries[0].Reply != nil; got != tt.passes {
			t.Errorf("%s: shown %v, want %v", tt.name, got, tt.passes)
		}
		w.Close()
	}
}

// Whatever an account answers, the simulator reads it or shows its notice.
func FuzzReply(f *testing.F) {
	files, _ := filepath.Glob("../testdata/samples/*reply*")
	for _, file := range files {
		sample, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sample, strings.HasSuffix(file, ".json"))
	}
	f.Add([]byte("success"), false)
	w := New()
	defer w.Close()
	a := w.account
	f.Fuzz(func(t *testing.T, body []byte, asJSON bool) {
		out := &outbound{Account: a.Account, openID: "oABCD1234567890abcdefghijklm", crypt: a.crypt, topic: "text", json: []byte(`{"MsgType":"text"}`)}
		out.Mode, out.ID = callback.Compat, "gh_1234567890ab"
		if asJSON {
			out.Format = "json"
		}
		r, err := out.readReply(body)
		if err == nil && r.MsgType != "" {
			if said := partsOf(r.json(out.openID)); said.text("msgtype") != r.MsgType || said[r.MsgType] == nil {
				t.Errorf("%q became %s", body, r.json(out.openID))
			}
		}
	})
}

func TestRefusedConnectionCostsNoTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	w := New(Account{Callback: "http://" + l.Addr().String() + "/"})
	defer w.Close()
	began := time.Now()
	a := w.UserSends("oUser1")
	if len(a.Deliveries) != 3 || time.Since(began) > 3*time.Second {
		t.Errorf("%d deliveries in %v, want 3 at once", len(a.Deliveries), time.Since(began))
	}
}

func TestCallbackByURL(t *testing.T) {
	var got []url.Values
	var mu sync.Mutex
	account := in(callback.Secure, "xml", func(context.Context, callback.Event) (callback.Reply, error) { return nil, nil })
	inner := account.CallbackHandler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		got = append(got, r.URL.Query())
		mu.Unlock()
		if r.URL.Path != "/callback/wx" {
			http.Redirect(w, r, "/callback/wx", http.StatusTemporaryRedirect)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer server.Close()
	account.CallbackHandler, account.Callback = nil, server.URL+"/callback/wx?tenant=1"
	w := NewServer(account)
	defer w.Close()
	if a := w.UserSends("oUser1"); len(a.Deliveries) != 1 || a.Deliveries[0].Status != 200 {
		t.Fatalf("%+v", a.Deliveries)
	}
	if v := w.Verify(); !v.OK {
		t.Errorf("%+v", v)
	}
	q := got[0]
	if q.Get("tenant") != "1" || q.Get("openid") != "oUser1" || q.Get("encrypt_type") != "aes" || q.Get("signature") == "" {
		t.Errorf("%v", q)
	}

	account.Callback = server.URL + "/elsewhere"
	w2 := New(account)
	defer w2.Close()
	if a := w2.UserSends("oUser1"); len(a.Deliveries) != 3 {
		t.Errorf("a redirect is no answer: %+v", a.Deliveries)
	}
}

func TestVerify(t *testing.T) {
	good := in(callback.Secure, "xml", func(context.Context, callback.Event) (callback.Reply, error) { return nil, nil })
	wrongToken := good
	wrongToken.Token = "another"
	deaf := Account{CallbackHandler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })}
	for _, tt := range []struct {
		name    string
		account Account
		ok      bool
		reason  string
	}{
		{"good", good, true, ""},
		{"signed with another token", wrongToken, false, "the answer's status is not 200"},
		{"no echo", deaf, false, "the answer is not the echostr"},
		{"no callback", Account{}, false, "the account has no callback"},
	} {
		w := New(tt.account)
		if v := w.Verify(); v.OK != tt.ok || v.Reason != tt.reason {
			t.Errorf("%s: %+v", tt.name, v)
		}
		w.Close()
	}
}

// CreateTime follows the simulator's clock, the timestamp of the query is real,
// unless the receiver shares the clock.
func TestTimesOfPushes(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var created time.Time
			var stamped string
			a := in(callback.Secure, "xml", func(_ context.Context, e callback.Event) (callback.Reply, error) {
				created = e.Head().CreateTime
				return nil, nil
			})
			h := a.CallbackHandler.(*callback.Handler)
			real := time.Now()
			if shared {
				h.Now = func() time.Time { return time.Now().Add(48 * time.Hour) }
			}
			a.CallbackHandler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				stamped = r.URL.Query().Get("timestamp")
				h.ServeHTTP(w, r)
			})
			w := Config{Accounts: []Account{a}, SharedClock: shared}.New()
			defer w.Close()
			w.Advance(48 * time.Hour)
			if got := w.UserSends("oUser1"); got.Deliveries[0].Status != 200 {
				t.Fatalf("shared %v: %+v", shared, got.Deliveries)
			}
			want := real
			if shared {
				want = real.Add(48 * time.Hour)
			}
			if created.Sub(real) != 48*time.Hour || stamped != fmt.Sprint(want.Unix()) {
				t.Errorf("shared %v: CreateTime %v, timestamp %s", shared, created, stamped)
			}
		})
	}
}

// The program under test may send from within its callback.
func TestSendFromWithinTheCallback(t *testing.T) {
	var client *kefu.Client
	w := New(in(callback.Secure, "xml", func(ctx context.Context, e callback.Event) (callback.Reply, error) {
		_, err := client.Send(ctx, kefu.Message{To: e.Head().FromUserName, Body: kefu.Text{Content: "hi"}})
		return nil, err
	}))
	defer w.Close()
	client = w.Client()
	a := w.UserSends("oUser1")
	if len(a.Deliveries) != 1 || len(w.Sent("oUser1")) != 1 || a.Window.Remaining != 4 {
		t.Errorf("%+v, %d sent", a, len(w.Sent("oUser1")))
	}
}

// An error of the program is pushed again, and MsgId tells that it is the same.
func TestErrorIsPushedAgain(t *testing.T) {
	var calls atomic.Int32
	keys := map[string]bool{}
	w := New(in(callback.Compat, "json", func(_ context.Context, e callback.Event) (callback.Reply, error) {
		keys[e.Head().Key()] = true
		if calls.Add(1) < 3 {
			return nil, errors.New("the store is full")
		}
		return nil, nil
	}))
	defer w.Close()
	a := w.UserSends("oUser1")
	if len(a.Deliveries) != 3 || a.Deliveries[1].Status != 500 || a.Deliveries[2].Status != 200 || len(keys) != 1 {
		t.Errorf("%+v, keys %v", a.Deliveries, keys)
	}
	w.UserSends("oUser1")
	if len(keys) != 2 {
		t.Errorf("two messages share a key: %v", keys)
	}
}

// Media that a follower sends can be fetched, by id and, of pictures, by URL.
func TestFollowersMediaCanBeFetched(t *testing.T) {
	w := NewServer()
	defer w.Close()
	for _, action := range []string{"image", "voice", "video"} {
		a, err := w.Does("oUser1", action, Details{})
		if err != nil {
			t.Fatal(err)
		}
		event := partsOf(a.Event)
		if code := w.account.library.checkMedia(w.Now(), event.text("MediaId"), kefu.MediaKind(action)); code != 0 {
			t.Errorf("%s: %d", action, code)
		}
		if action == "image" {
			res, err := http.Get(event.text("PicUrl"))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != 200 || res.Header.Get("Content-Type") != "image/png" {
				t.Errorf("%v", res)
			}
		}
	}
}
