package server

import (
	"context"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
)

const passiveText = `<xml><ToUserName><![CDATA[oFollower]]></ToUserName><FromUserName><![CDATA[gh_1]]></FromUserName><CreateTime>1</CreateTime><MsgType><![CDATA[text]]></MsgType><Content><![CDATA[at once]]></Content></xml>`

// What the business's callback answers goes back if WeChat can use it; whatever it does,
// the push is kept before it hears of it and WeChat gets an answer in time.
func TestRelay(t *testing.T) {
	no := false
	for _, tt := range []struct {
		name    string
		status  int
		answer  string
		wait    time.Duration
		passive *bool
		broken  bool // it can't be kept
		reply   callback.Reply
		want    string
		status2 int
		calls   int32 // at least
		shown   string
	}{
		{name: "its answer goes back", answer: passiveText, want: passiveText, calls: 1, shown: `oFollower {"msgtype":"text","content":"at once"}`},
		{name: "not if the account says so", answer: passiveText, passive: &no, want: "success", calls: 1},
		{name: "success", answer: "success", want: "success", calls: 1},
		{name: "nothing", want: "success", calls: 1},
		{name: "a page", answer: "<html><body>502</html>", want: "success", calls: 1},
		{name: "for another follower", answer: strings.Replace(passiveText, "oFollower", "oOther", 1), want: "success", calls: 1},
		{name: "huge", answer: strings.Repeat("x", 65<<10), want: "success", calls: 1},
		{name: "a failure, which is tried again", status: 500, answer: passiveText, want: "success", calls: 2},
		{name: "what can't be kept is not handed on", answer: passiveText, broken: true, status2: 500, calls: 0},
		{name: "a hand-over of the gateway's own stands", answer: passiveText, reply: callback.TransferCustomerService{}, want: "transfer_customer_service", calls: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			defer w.Close()
			var calls atomic.Int32
			second := make(chan struct{}, 8)
			business := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.mu.Lock()
				kept := len(w.events)
				w.mu.Unlock()
				if string(body) != push || r.URL.Query().Get("signature") == "" || r.URL.Query().Get("own") != "1" || kept != 1 {
					t.Errorf("it got %s ?%s, %d kept before", body, r.URL.RawQuery, kept)
				}
				calls.Add(1)
				second <- struct{}{}
				rw.Header().Set("Content-Type", "text/xml")
				if tt.status != 0 {
					rw.WriteHeader(tt.status)
				}
				io.WriteString(rw, tt.answer)
			}))
			defer business.Close()
			w.Forward = business.Client()
			a := w.accounts[shop]
			a.CallbackForward, a.Passive = business.URL+"/?own=1", tt.passive
			w.accounts[shop] = a
			w.reply = tt.reply
			if tt.broken {
				w.receiveErr = context.DeadlineExceeded
			}
			got := w.do("", "POST", "/callback/wxshop"+query(callToken), push, "Content-Type: text/xml")
			want := 200
			if tt.status2 != 0 {
				want = tt.status2
			}
			if got.StatusCode != want || !strings.Contains(string(got.body), tt.want) {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			for range tt.calls {
				<-second
			}
			if tt.calls == 0 && calls.Load() != 0 {
				t.Error("it was handed on")
			}
			if shown := strings.Join(w.answered, "\n"); shown != tt.shown {
				t.Errorf("on record: %s", shown)
			}
		})
	}
}

// A receiver that hangs holds WeChat's answer back for no longer than 4 s.
func TestSlowRelay(t *testing.T) {
	w := newWorld(t)
	defer w.Close()
	over := make(chan struct{})
	business := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { <-over }))
	defer business.Close()
	defer close(over)
	w.Forward = business.Client()
	a := w.accounts[shop]
	a.CallbackForward = business.URL
	w.accounts[shop] = a
	began := time.Now()
	got := w.do("", "POST", "/callback/wxshop"+query(callToken), push, "Content-Type: text/xml")
	if got.StatusCode != 200 || string(got.body) != "success" || len(w.events) != 1 {
		t.Errorf("%d %s, %d kept", got.StatusCode, got.body, len(w.events))
	}
	if took := time.Since(began); took < relayWait/2 {
		t.Errorf("after %v: an answer within 4 s would be lost", took)
	}
}

// In secure mode the push arrives as WeChat encrypted it, and the answer is passed only
// if it is encrypted with the account's key.
func TestSecureRelay(t *testing.T) {
	crypt, err := callback.NewCrypt("wxsafe", callToken, aesKey)
	if err != nil {
		t.Fatal(err)
	}
	encrypt, err := crypt.Encrypt([]byte(push))
	if err != nil {
		t.Fatal(err)
	}
	sealed := func(text string) string {
		e, err := crypt.Encrypt([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return "<xml><Encrypt>" + e + "</Encrypt></xml>"
	}
	for _, tt := range []struct {
		name, answer string
		goes         bool
	}{
		{"encrypted", sealed(passiveText), true},
		{"nothing, encrypted", sealed(""), false},
		{"in clear", passiveText, false},
		{"with another key", "<xml><Encrypt>" + encrypt[:40] + "</Encrypt></xml>", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			defer w.Close()
			business := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				var in struct{ Encrypt string }
				xml.Unmarshal(body, &in)
				q := r.URL.Query()
				if plain, err := crypt.Decrypt(in.Encrypt); err != nil || string(plain) != push || q.Get("msg_signature") != callback.Signature(callToken, q.Get("timestamp"), q.Get("nonce"), in.Encrypt) {
					t.Errorf("it got %s ?%s", body, r.URL.RawQuery)
				}
				io.WriteString(rw, tt.answer)
			}))
			defer business.Close()
			w.Forward = business.Client()
			w.accounts["wxsafe"] = gateway.Account{AppID: "wxsafe", Token: callToken, AESKey: aesKey, CallbackForward: business.URL}.WithDefaults()
			safe := query(callToken) + "&encrypt_type=aes&msg_signature=" + callback.Signature(callToken, strconv.FormatInt(start.Unix(), 10), "n", encrypt)
			got := w.do("", "POST", "/callback/wxsafe"+safe, "<xml><ToUserName>gh_1</ToUserName><Encrypt>"+encrypt+"</Encrypt></xml>", "Content-Type: text/xml")
			want := "success"
			if tt.goes {
				want = tt.answer
			}
			if got.StatusCode != 200 || string(got.body) != want || len(w.answered) > 0 != tt.goes {
				t.Errorf("%d %s, on record %v", got.StatusCode, got.body, w.answered)
			}
		})
	}
}
