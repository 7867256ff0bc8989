package callback

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
)

var receipt = time.Unix(1348831861, 0)

// echo is a handler for the demo account that answers texts, and what it saw.
func echo(mode Mode, seen *[]Event) *Handler {
	h := &Handler{
		AppID: demoApp, Token: demoToken, AESKey: demoKey, Mode: mode,
		Receive: func(ctx context.Context, e Event) (Reply, error) {
			*seen = append(*seen, e)
			if m, ok := e.(TextMessage); ok {
				return Text{"You said: " + m.Content}, nil
			}
			return nil, nil
		},
		Now: func() time.Time { return receipt },
		Log: slog.New(slog.DiscardHandler),
	}
	if mode == Plain {
		h.AESKey = ""
	}
	return h
}

// A request as WeChat makes it; the tests change one thing.
type request struct {
	method, body string
	query        url.Values
}

// pushed is body, pushed to the demo account in that mode.
func pushed(mode Mode, body string) request {
	return pushedBy(must(NewCrypt(demoApp, demoToken, demoKey)), mode, body, receipt)
}

func pushedBy(c *Crypt, mode Mode, body string, at time.Time) request {
	timestamp, nonce := strconv.FormatInt(at.Unix(), 10), "1514711492"
	q := url.Values{"timestamp": {timestamp}, "nonce": {nonce}, "openid": {"oABCD1234567890abcdefghijklm"}, "signature": {Signature(c.token, timestamp, nonce)}}
	if mode == Plain {
		return request{http.MethodPost, body, q}
	}
	encrypt := must(c.Encrypt([]byte(body)))
	q.Set("encrypt_type", "aes")
	q.Set("msg_signature", Signature(c.token, timestamp, nonce, encrypt))
	clear := fields{{"ToUserName", "gh_1234567890ab"}}
	if mode == Compat { // a lie in the clear part, to see that it is not believed
		clear = append(clear, fields{{"FromUserName", "oMallory"}, {"CreateTime", at.Unix()}, {"MsgType", "text"}, {"Content", "a lie"}, {"MsgId", int64(1)}}...)
	}
	return request{http.MethodPost, string(append(clear, field{"Encrypt", encrypt}).encode(isJSON(body))), q}
}

func (r request) to(h http.Handler) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(r.method, "/callback?"+r.query.Encode(), strings.NewReader(r.body)))
	return w
}

func TestURLCheck(t *testing.T) {
	v := vectors(t)[0]
	check := func(change func(q url.Values)) *httptest.ResponseRecorder {
		var seen []Event
		h := echo("", &seen) // secure: the check is not encrypted there either
		h.Token = v.Token
		h.Now = func() time.Time { return time.Unix(1714036504, 0) }
		q := url.Values{"signature": {v.Signature}, "timestamp": {v.Timestamp}, "nonce": {v.Nonce}, "echostr": {v.Echostr}}
		change(q)
		return request{http.MethodGet, "", q}.to(h)
	}
	w := check(func(url.Values) {})
	if w.Code != 200 || w.Body.String() != v.Echostr {
		t.Errorf("%d %q, want the echostr", w.Code, w.Body)
	}
	w = check(func(q url.Values) { q.Set("echostr", "<script>alert(1)</script>") })
	if got := w.Header(); got.Get("Content-Type") != "text/plain; charset=utf-8" || got.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("an echostr could be run as a page: %v", got)
	}
	for _, wrong := range []string{"signature", "timestamp", "nonce"} {
		for _, change := range []func(url.Values){
			func(q url.Values) { q.Del(wrong) },
			func(q url.Values) { q.Set(wrong, q.Get(wrong)+"0") },
			func(q url.Values) { q.Set(wrong, strings.ToUpper(q.Get(wrong))+" ") },
		} {
			if w := check(change); w.Code != 403 || strings.Contains(w.Body.String(), v.Echostr) {
				t.Errorf("wrong %s: %d %q", wrong, w.Code, w.Body)
			}
		}
	}
}

// The vectors of other SDKs, through the door that they came in by.
func TestVectorsThroughTheHandler(t *testing.T) {
	for _, v := range vectors(t) {
		if v.MsgSignature == "" || v.Plain == "" || v.Name == "secure_reply_json" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			var got string
			h := &Handler{AppID: v.AppID, Token: v.Token, AESKey: v.Key, Log: slog.New(slog.DiscardHandler),
				Now:     func() time.Time { return time.Unix(must(strconv.ParseInt(v.Timestamp, 10, 64)), 0) },
				Receive: func(_ context.Context, e Event) (Reply, error) { got = string(e.Head().Body()); return nil, nil },
			}
			for _, asJSON := range []bool{false, true} {
				got = ""
				w := request{http.MethodPost, string(fields{{"Encrypt", v.Cipher}}.encode(asJSON)),
					url.Values{"timestamp": {v.Timestamp}, "nonce": {v.Nonce}, "msg_signature": {v.MsgSignature}}}.to(h)
				if w.Code != 200 || w.Body.String() != "success" || got != v.Plain {
					t.Errorf("%d %q, received %q", w.Code, w.Body, got)
				}
			}
		})
	}
}

// Each mode takes each form and answers in the same form, encrypted where the
// push was.
func TestReceiveAndAnswer(t *testing.T) {
	inJSON := `{"ToUserName":"gh_1234567890ab","FromUserName":"oABCD1234567890abcdefghijklm","CreateTime":1348831860,"MsgType":"text","Content":"this is a test","MsgId":1234567890123456}`
	for _, mode := range []Mode{Plain, Compat, Secure} {
		for contentType, body := range map[string]string{"text/xml; charset=utf-8": textPush, "application/json; charset=utf-8": inJSON} {
			t.Run(string(mode)+" "+contentType, func(t *testing.T) {
				var seen []Event
				w := pushed(mode, body).to(echo(mode, &seen))
				if w.Code != 200 || w.Header().Get("Content-Type") != contentType {
					t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
				}
				if len(seen) != 1 || seen[0].(TextMessage).Content != "this is a test" {
					t.Errorf("received %v", seen)
				}
				out := w.Body.String()
				if mode != Plain {
					out = unsealed(t, out)
				}
				if isJSON(out) != isJSON(body) {
					t.Errorf("the answer has another form than the push: %s", out)
				}
				d, err := scan(out)
				if err != nil {
					t.Fatal(err)
				}
				for name, want := range map[string]string{"ToUserName": "oABCD1234567890abcdefghijklm", "FromUserName": "gh_1234567890ab",
					"CreateTime": "1348831861", "MsgType": "text", "Content": "You said: this is a test"} {
					if got := d.text(name); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
			})
		}
	}
}

// unsealed checks an encrypted answer as WeChat does and returns what is in it.
func unsealed(t *testing.T, envelope string) string {
	t.Helper()
	var e struct {
		Encrypt, MsgSignature, Nonce string
		TimeStamp                    json.Number
	}
	d, err := scan(envelope)
	if err != nil {
		t.Fatal(err)
	}
	e.Encrypt, e.MsgSignature, e.Nonce, e.TimeStamp = d.text("Encrypt"), d.text("MsgSignature"), d.text("Nonce"), json.Number(d.text("TimeStamp"))
	if e.MsgSignature != Signature(demoToken, e.TimeStamp.String(), e.Nonce, e.Encrypt) || e.Nonce != "1514711492" || e.TimeStamp != "1348831861" {
		t.Errorf("the envelope is not signed, or for another request: %s", envelope)
	}
	plain, err := crypt(t, demoApp, demoToken, demoKey).Decrypt(e.Encrypt)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// What is not WeChat's, not for this account, or less protected than the account
// is set up for never reaches Receive.
func TestRefusals(t *testing.T) {
	set := func(name, value string) func(*request) { return func(r *request) { r.query.Set(name, value) } }
	del := func(name string) func(*request) { return func(r *request) { r.query.Del(name) } }
	replace := func(old, new string) func(*request) {
		return func(r *request) {
			if !strings.Contains(r.body, old) {
				panic("nothing to replace")
			}
			r.body = strings.Replace(r.body, old, new, 1)
		}
	}
	become := func(other request) func(*request) { return func(r *request) { *r = other } }
	sentAt := func(mode Mode, at time.Duration) func(*request) {
		return become(pushedBy(must(NewCrypt(demoApp, demoToken, demoKey)), mode, textPush, receipt.Add(at)))
	}
	foreign := must(NewCrypt("wx5eed2a76cc560002", demoToken, demoKey))
	guessed := must(NewCrypt(demoApp, "guessed", demoKey))
	rekeyed := must(NewCrypt(demoApp, demoToken, otherKey))

	for _, tt := range []struct {
		name   string
		mode   Mode
		change func(*request)
		status int
	}{
		{"plain: signature forged", Plain, set("signature", strings.Repeat("0", 40)), 403},
		{"plain: signature left out", Plain, del("signature"), 403},
		{"plain: signed with another token", Plain, become(pushedBy(guessed, Plain, textPush, receipt)), 403},
		{"plain: another timestamp", Plain, set("timestamp", "1348831862"), 403},
		{"plain: another nonce", Plain, set("nonce", "1"), 403},
		{"plain: 10 minutes old", Plain, sentAt(Plain, -10*time.Minute), 200},
		{"plain: 10 minutes and a second old", Plain, sentAt(Plain, -601*time.Second), 403},
		{"plain: 10 minutes ahead", Plain, sentAt(Plain, 10*time.Minute), 200},
		{"plain: 10 minutes and a second ahead", Plain, sentAt(Plain, 601*time.Second), 403},
		{"plain: an encrypted push", Plain, become(pushed(Secure, textPush)), 400},
		{"plain: a compat push is read in its clear part", Plain, become(pushed(Compat, textPush)), 200},
		{"plain: not XML", Plain, func(r *request) { r.body = "<xml>" }, 400},
		{"plain: no body", Plain, func(r *request) { r.body = "" }, 400},

		{"secure: msg_signature forged", Secure, set("msg_signature", strings.Repeat("0", 40)), 403},
		{"secure: msg_signature left out", Secure, del("msg_signature"), 403},
		{"secure: signature in place of msg_signature", Secure, func(r *request) { r.query.Set("msg_signature", r.query.Get("signature")) }, 403},
		{"secure: signature is not looked at", Secure, del("signature"), 200},
		{"secure: signed with another token", Secure, become(pushedBy(guessed, Secure, textPush, receipt)), 403},
		{"secure: another Encrypt", Secure, replace("[CDATA[", "[CDATA[A"), 200}, // of ToUserName, which nothing covers
		{"secure: Encrypt changed", Secure, replace("<Encrypt><![CDATA[", "<Encrypt><![CDATA[AAAA"), 403},
		{"secure: another nonce", Secure, set("nonce", "1"), 403},
		{"secure: for another appid", Secure, become(pushedBy(foreign, Secure, textPush, receipt)), 403},
		{"secure: with another key", Secure, become(pushedBy(rekeyed, Secure, textPush, receipt)), 403},
		{"secure: 10 minutes old", Secure, sentAt(Secure, -10*time.Minute), 200},
		{"secure: 10 minutes and a second old", Secure, sentAt(Secure, -601*time.Second), 403},
		{"secure: old, with a new timestamp", Secure, func(r *request) {
			sentAt(Secure, -time.Hour)(r)
			r.query.Set("timestamp", "1348831861")
		}, 403},
		{"secure: talked down by a plain push", Secure, become(pushed(Plain, textPush)), 403},
		{"secure: talked down by encrypt_type", Secure, func(r *request) {
			*r = pushed(Plain, textPush)
			r.query.Set("encrypt_type", "raw")
		}, 403},
		{"secure: talked down by a msg_signature over nothing", Secure, func(r *request) {
			*r = pushed(Plain, textPush)
			r.query.Set("msg_signature", r.query.Get("signature"))
		}, 403},
		{"secure: talked down by an empty Encrypt", Secure, func(r *request) {
			*r = pushed(Plain, textPush)
			r.body = strings.Replace(r.body, "</xml>", "<Encrypt/></xml>", 1)
			r.query.Set("msg_signature", r.query.Get("signature"))
		}, 403},
		{"secure: envelope is not XML", Secure, func(r *request) { r.body = r.body[:len(r.body)-1] }, 400},
		{"secure: a signed push that is none", Secure, become(pushed(Secure, "hello")), 403},
		{"secure: a signed push without MsgType", Secure, become(pushed(Secure, "<xml/>")), 403},
		{"secure: encrypted twice", Secure, become(pushed(Secure, pushed(Secure, textPush).body)), 403},

		{"compat: msg_signature left out", Compat, del("msg_signature"), 403},
		{"compat: the clear part alone", Compat, become(pushed(Plain, textPush)), 403},
		{"compat: msg_signature forged", Compat, set("msg_signature", strings.Repeat("0", 40)), 403},
		{"compat: 10 minutes and a second old", Compat, sentAt(Compat, -601*time.Second), 403},

		{"256 KiB", Plain, func(r *request) { r.body += strings.Repeat(" ", maxBody-len(r.body)) }, 200},
		{"256 KiB and a byte", Plain, func(r *request) { r.body += strings.Repeat(" ", maxBody-len(r.body)+1) }, 413},
		{"256 KiB and a byte, secure", Secure, func(r *request) { r.body += strings.Repeat(" ", maxBody-len(r.body)+1) }, 413},
		{"PUT", Secure, func(r *request) { r.method = "PUT" }, 405},
		{"HEAD", Secure, func(r *request) { r.method = "HEAD" }, 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var seen []Event
			r := pushed(tt.mode, textPush)
			tt.change(&r)
			w := r.to(echo(tt.mode, &seen))
			if w.Code != tt.status || (len(seen) > 0) != (tt.status == 200) {
				t.Errorf("%d %s, received %v, want %d", w.Code, w.Body, seen, tt.status)
			}
			if tt.status == 405 && w.Header().Get("Allow") != "GET, POST" {
				t.Errorf("Allow: %q", w.Header().Get("Allow"))
			}
		})
	}
}

// The body of a broken connection is not taken for the whole.
func TestBrokenBody(t *testing.T) {
	var seen []Event
	r := pushed(Plain, textPush)
	req := httptest.NewRequest("POST", "/?"+r.query.Encode(), io.MultiReader(strings.NewReader(r.body), broken{}))
	w := httptest.NewRecorder()
	echo(Plain, &seen).ServeHTTP(w, req)
	if w.Code != 400 || len(seen) > 0 {
		t.Errorf("%d %s, received %v", w.Code, w.Body, seen)
	}
}

// A body without end is read no further than needed to refuse it.
func TestEndlessBody(t *testing.T) {
	var body endless
	w := httptest.NewRecorder()
	echo(Plain, new([]Event)).ServeHTTP(w, httptest.NewRequest("POST", "/?"+pushed(Plain, "").query.Encode(), &body))
	if w.Code != 413 || body.read > 2*maxBody {
		t.Errorf("%d after %d bytes", w.Code, body.read)
	}
}

type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	if e.read += len(p); e.read > 64*maxBody {
		return 0, io.EOF
	}
	return len(p), nil
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// A request that comes again passes, as WeChat's own repeats do; its key tells.
func TestReplay(t *testing.T) {
	for _, mode := range []Mode{Plain, Secure} {
		var seen []Event
		h := echo(mode, &seen)
		same := pushed(mode, textPush)
		for _, r := range []request{same, same, pushedBy(must(NewCrypt(demoApp, demoToken, demoKey)), mode, textPush, receipt.Add(-5*time.Second))} {
			if w := r.to(h); w.Code != 200 {
				t.Fatalf("%s: %d %s", mode, w.Code, w.Body)
			}
		}
		if len(seen) != 3 || seen[0].Key() != seen[1].Key() || seen[1].Key() != seen[2].Key() {
			t.Errorf("%s: %d events, or their keys differ", mode, len(seen))
		}
	}
}

func TestMaxSkew(t *testing.T) {
	for age, status := range map[time.Duration]int{time.Minute: 200, time.Minute + time.Second: 403} {
		var seen []Event
		h := echo(Secure, &seen)
		h.MaxSkew = time.Minute
		if w := pushedBy(must(NewCrypt(demoApp, demoToken, demoKey)), Secure, textPush, receipt.Add(-age)).to(h); w.Code != status {
			t.Errorf("%s old: %d, want %d", age, w.Code, status)
		}
	}
}

// While the console changes the key both are taken, and each push is answered
// with its own.
func TestOldKey(t *testing.T) {
	for _, key := range []kefu.Secret{demoKey, otherKey} {
		var seen []Event
		h := echo(Secure, &seen)
		h.AESKey, h.OldAESKey = otherKey, demoKey
		c := must(NewCrypt(demoApp, demoToken, key))
		w := pushedBy(c, Secure, textPush, receipt).to(h)
		if w.Code != 200 || len(seen) != 1 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		d := must(scan(w.Body.String()))
		if out, err := c.Decrypt(d.text("Encrypt")); !strings.Contains(string(out), "You said") {
			t.Errorf("the answer is in the other key: %q, %v", out, err)
		}
	}
	foreign := must(NewCrypt("wx5eed2a76cc560002", demoToken, demoKey))
	var seen []Event
	h := echo(Secure, &seen)
	h.AESKey, h.OldAESKey = otherKey, demoKey
	if w := pushedBy(foreign, Secure, textPush, receipt).to(h); w.Code != 403 || len(seen) > 0 {
		t.Errorf("the old key takes another appid: %d", w.Code)
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reply  Reply
		err    error
		status int
		body   string
	}{
		{"no reply", nil, nil, 200, "success"},
		{"not received: WeChat is to post again", nil, errors.New("disk full"), 500, "not received; post it again\n"},
		{"an error outweighs a reply", Text{"x"}, errors.New("disk full"), 500, "not received; post it again\n"},
		{"received, but the reply is incomplete", Text{}, nil, 200, "success"},
		{"received, but the reply is too large", Text{strings.Repeat("x", maxBody)}, nil, 200, "success"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			h := echo(Secure, new([]Event))
			h.Receive = func(context.Context, Event) (Reply, error) { return tt.reply, tt.err }
			h.Log = slog.New(slog.NewTextHandler(&log, nil))
			w := pushed(Secure, textPush).to(h)
			if w.Code != tt.status || w.Body.String() != tt.body {
				t.Errorf("%d %q", w.Code, w.Body)
			}
			if quiet := tt.reply == nil && tt.err == nil; quiet != (log.Len() == 0) {
				t.Errorf("log: %q", log.String())
			}
			if tt.err != nil && !strings.Contains(log.String(), "disk full") {
				t.Errorf("the log does not say why: %q", log.String())
			}
		})
	}
}

// Whoever waits in Receive learns that WeChat has hung up.
func TestReceiveSeesTheRequestEnd(t *testing.T) {
	h := echo(Plain, new([]Event))
	h.Receive = func(ctx context.Context, _ Event) (Reply, error) { return nil, ctx.Err() }
	r := pushed(Plain, textPush)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/?"+r.query.Encode(), strings.NewReader(r.body)).WithContext(ctx))
	if w.Code != 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A handler with wrong fields takes nothing, not even what is signed rightly for
// those fields, and says what is wrong.
func TestCheck(t *testing.T) {
	receive := func(context.Context, Event) (Reply, error) { return nil, nil }
	for _, tt := range []struct {
		name string
		h    *Handler
		want string // in the error; for a good one, its mode
	}{
		{"no token", &Handler{Receive: receive}, "Token is empty"},
		{"no token, secure", &Handler{AppID: demoApp, AESKey: demoKey, Receive: receive}, "Token is empty"},
		{"no Receive", &Handler{Token: demoToken}, "Receive is nil"},
		{"an unknown mode", &Handler{Token: demoToken, Receive: receive, Mode: "safe"}, `no Mode "safe"`},
		{"secure without a key", &Handler{AppID: demoApp, Token: demoToken, Receive: receive, Mode: Secure}, "has 0 characters"},
		{"compat without a key", &Handler{AppID: demoApp, Token: demoToken, Receive: receive, Mode: Compat}, "has 0 characters"},
		{"an old key alone is not plain", &Handler{AppID: demoApp, Token: demoToken, OldAESKey: demoKey, Receive: receive}, "has 0 characters"},
		{"a short key", &Handler{AppID: demoApp, Token: demoToken, AESKey: "abc", Receive: receive}, "has 3 characters"},
		{"a short old key", &Handler{AppID: demoApp, Token: demoToken, AESKey: demoKey, OldAESKey: "abc", Receive: receive}, "has 3 characters"},
		{"secure without an appid", &Handler{Token: demoToken, AESKey: demoKey, Receive: receive}, "appid is empty"},
		{"a token alone is plain", &Handler{Token: demoToken, Receive: receive}, "plain"},
		{"with a key it is secure", &Handler{AppID: demoApp, Token: demoToken, AESKey: demoKey, Receive: receive}, "secure"},
		{"a mode that is set outweighs", &Handler{Token: demoToken, AESKey: demoKey, Mode: Plain, Receive: receive}, "plain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.h.Log = slog.New(slog.DiscardHandler)
			err := tt.h.Check()
			if err == nil {
				if string(tt.h.mode) != tt.want {
					t.Errorf("%s, want %s", tt.h.mode, tt.want)
				}
				return
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			now := strconv.FormatInt(time.Now().Unix(), 10)
			q := url.Values{"timestamp": {now}, "nonce": {"1"}, "echostr": {"echo"}, "signature": {Signature(tt.h.Token, now, "1")}}
			for _, r := range []request{{"GET", "", q}, {"POST", textPush, q}} {
				if w := r.to(tt.h); w.Code != 500 || strings.Contains(w.Body.String(), "echo") {
					t.Errorf("%s: %d %s", r.method, w.Code, w.Body)
				}
			}
		})
	}
}

// No token, no key, no content and no whole openid is in any error, answer or
// log line, whatever goes wrong.
func TestCanaries(t *testing.T) {
	canaries := []string{"canarytoken", "CanaryKeyAbcdefghijklmnopqrstuvwxyz01234567", "CanaryOldAbcdefghijklmnopqrstuvwxyz01234567", "canary content", "oCanary1234567890abcdefghijkl"}
	token, key, old := kefu.Secret(canaries[0]), kefu.Secret(canaries[1]), kefu.Secret(canaries[2])
	body := strings.NewReplacer("this is a test", canaries[3], "oABCD1234567890abcdefghijklm", canaries[4]).Replace(textPush)
	var log strings.Builder
	out := func(text string) {
		for _, c := range append(canaries, key.Reveal()[:12], old.Reveal()[:12]) {
			if strings.Contains(text, c) {
				t.Errorf("%q is in %q", c, text)
			}
		}
	}
	fail := errors.New("disk full")
	for _, h := range []*Handler{
		{AppID: demoApp, Token: token, AESKey: key, OldAESKey: old},
		{AppID: demoApp, Token: token, AESKey: key, Mode: Compat},
		{AppID: demoApp, Token: token, AESKey: key + "x"},
		{AppID: demoApp, Token: token, AESKey: "!" + key[1:]},
		{AppID: demoApp, Token: token, AESKey: key, OldAESKey: old[1:]},
		{AppID: demoApp, AESKey: key, Mode: Mode("none")},
		{Token: token},
		{Token: token, AESKey: key, Mode: "none"},
	} {
		h.Now = func() time.Time { return receipt }
		h.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		h.Receive = func(context.Context, Event) (Reply, error) { return Text{}, fail }
		if err := h.Check(); err != nil {
			out(err.Error())
		}
		for _, c := range []*Crypt{must(NewCrypt(demoApp, token, key)), must(NewCrypt(demoApp, token, old)), must(NewCrypt(demoApp, token, demoKey)), must(NewCrypt("wx2", token, key)), must(NewCrypt(demoApp, "other", key))} {
			for _, mode := range []Mode{Plain, Compat, Secure} {
				for _, text := range []string{body, body[:len(body)-9], "<xml>" + canaries[3] + "<" + canaries[4] + ">", `{"` + canaries[3] + `": ` + canaries[4] + "}", canaries[3]} {
					for _, ago := range []time.Duration{0, time.Hour} {
						for _, err := range []error{nil, errors.New("disk full")} {
							fail = err
							for _, method := range []string{"POST", "GET", "PUT"} {
								r := pushedBy(c, mode, text, receipt.Add(-ago))
								r.method = method
								if w := r.to(h); w.Code != 200 {
									out(w.Body.String())
								}
							}
						}
					}
				}
			}
		}
	}
	out(log.String())
	for _, want := range []string{"disk full", "needs Content", "another appid", "does not decrypt", "signature is missing", "timestamp is too far", "not set up"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("nothing provoked %q: this test sees too little", want)
		}
	}
}

func TestHandlerIsUsableByManyAtOnce(t *testing.T) {
	h := echo(Secure, new([]Event))
	h.Receive = func(_ context.Context, e Event) (Reply, error) { return Text{e.(TextMessage).Content}, nil }
	done := make(chan string)
	for range 16 {
		go func() { done <- pushed(Secure, textPush).to(h).Body.String() }()
	}
	first := unsealed(t, <-done)
	for range 15 {
		if got := unsealed(t, <-done); got != first {
			t.Errorf("%s, want %s", got, first)
		}
	}
}

// Whatever is wrong inside the encryption, whoever asks hears the same: told apart,
// the causes would decrypt captured pushes.
func TestEncryptedPartGivesNothingAway(t *testing.T) {
	answers := map[string]bool{}
	for _, plain := range []string{"hello", "<xml/>", "", textPush[:len(textPush)/2]} {
		answers[fmt.Sprint(ask(pushed(Secure, plain)))] = true
	}
	for _, c := range []*Crypt{
		must(NewCrypt("wxanother", demoToken, demoKey)),
		must(NewCrypt(demoApp, demoToken, otherKey)),
	} {
		answers[fmt.Sprint(ask(pushedBy(c, Secure, textPush, receipt)))] = true
	}
	if len(answers) != 1 {
		t.Errorf("told apart: %v", answers)
	}
}

func ask(r request) (int, string) {
	w := httptest.NewRecorder()
	echo(Secure, new([]Event)).ServeHTTP(w, httptest.NewRequest("POST", "/?"+r.query.Encode(), strings.NewReader(r.body)))
	return w.Code, w.Body.String()
}

// Secrets are in fields that fmt reads without asking their types.
func TestNeitherHandlerNorCryptPrintsSecrets(t *testing.T) {
	h := echo(Secure, new([]Event))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) // sets it up
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		for _, v := range []any{h, h.keys, h.keys[0]} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, h.Token.Reveal()) || strings.Contains(got, fmt.Sprintf("%x", h.Token.Reveal())) {
				t.Errorf("%s of %T: %s", verb, v, got)
			}
		}
	}
}
