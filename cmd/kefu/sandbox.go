package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/kefu-go/kefu/kefutest"
)

// A sandbox is a simulated WeChat for each account, within the gateway, that answers
// calls that are only tried: any id is good there, and whom a message names has just
// written. What it remembers is bounded: after so much it begins anew.
type sandbox struct {
	mu  sync.Mutex // guards all below, also of what was before
	now *trials    // nil: none yet
}

// Most that is remembered.
const (
	mostTried      = 500      // calls
	mostTriedBytes = 64 << 20 // of their bodies: files are kept
)

// Trials are what a sandbox remembers from one beginning to the next.
type trials struct {
	accounts map[string]*kefutest.WeChat
	calls    int
	bytes    int
	running  sync.WaitGroup // calls that are on their way
}

// way is the way to an account's.
func (s *sandbox) way(appid string) http.RoundTripper { return tried{s, appid} }

// enter begins a call with a body of so many bytes, whose end t.running is told.
func (s *sandbox) enter(appid string, bytes int) (t *trials, wechat *kefutest.WeChat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil && (s.now.calls >= mostTried || s.now.bytes+bytes > mostTriedBytes) {
		s.forget()
	}
	if s.now == nil {
		s.now = &trials{accounts: map[string]*kefutest.WeChat{}}
	}
	t = s.now
	t.calls++
	t.bytes += bytes
	t.running.Add(1)
	if wechat = t.accounts[appid]; wechat == nil {
		wechat = kefutest.New(kefutest.Account{AppID: appid, Secret: "00000000000000000000000000000000", AcceptAnyID: true})
		t.accounts[appid] = wechat
	}
	return t, wechat
}

// forget has what there is end, once no call needs it any more. The caller holds mu.
func (s *sandbox) forget() {
	go func(old *trials) {
		old.running.Wait()
		for _, wechat := range old.accounts {
			wechat.Close()
		}
	}(s.now)
	s.now = nil
}

// Close ends them all.
func (s *sandbox) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		s.forget()
	}
}

type tried struct {
	sandbox *sandbox
	appid   string
}

// RoundTrip implements [http.RoundTripper].
func (t tried) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	of, wechat := t.sandbox.enter(t.appid, len(body))
	defer of.running.Done()
	tok, err := wechat.Client().Tokens.Token(r.Context())
	if err != nil {
		return nil, err
	}
	var to struct {
		ToUser string `json:"touser"`
	}
	if json.Unmarshal(body, &to) == nil && strings.HasPrefix(r.URL.Path, "/cgi-bin/message/custom/") {
		_, _ = wechat.Does(to.ToUser, "text", kefutest.Details{}) // what is no openid is refused by the call
	}
	out := r.Clone(r.Context())
	q := out.URL.Query()
	q.Set("access_token", tok.Value.Reveal())
	out.URL.RawQuery = q.Encode()
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return wechat.Transport().RoundTrip(out)
}
