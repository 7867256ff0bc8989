package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/kefutest"
)

// A sandbox is a simulated WeChat for each account, within the gateway, that answers
// calls that are only tried: any id is good there, and whom a message names has just
// written.
type sandbox struct {
	mu       sync.Mutex // guards all below
	accounts map[string]*kefutest.WeChat
	calls    int
}

// After so many calls a sandbox begins anew.
const mostTried = 500

// way is the way to an account's.
func (s *sandbox) way(appid string) http.RoundTripper {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.calls > mostTried {
		s.calls = 1
		s.close()
	}
	w := s.accounts[appid]
	if w == nil {
		if s.accounts == nil {
			s.accounts = map[string]*kefutest.WeChat{}
		}
		w = kefutest.New(kefutest.Account{AppID: appid, Secret: "00000000000000000000000000000000", AcceptAnyID: true})
		s.accounts[appid] = w
	}
	return tried{w, w.Client().Tokens}
}

// Close ends them all.
func (s *sandbox) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close()
}

func (s *sandbox) close() {
	for appid, w := range s.accounts {
		w.Close()
		delete(s.accounts, appid)
	}
}

type tried struct {
	wechat *kefutest.WeChat
	tokens kefu.TokenSource
}

// RoundTrip implements [http.RoundTripper].
func (t tried) RoundTrip(r *http.Request) (*http.Response, error) {
	tok, err := t.tokens.Token(r.Context())
	if err != nil {
		return nil, err
	}
	var to struct {
		ToUser string `json:"touser"`
	}
	var body []byte
	if r.Body != nil {
		defer r.Body.Close()
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	if json.Unmarshal(body, &to) == nil && strings.HasPrefix(r.URL.Path, "/cgi-bin/message/custom/") {
		_, _ = t.wechat.Does(to.ToUser, "text", kefutest.Details{}) // what is no openid is refused by the call
	}
	out := r.Clone(r.Context())
	q := out.URL.Query()
	q.Set("access_token", tok.Value.Reveal())
	out.URL.RawQuery = q.Encode()
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return t.wechat.Transport().RoundTrip(out)
}
