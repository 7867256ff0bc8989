package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/internal/egress"
)

// A passage is a call that is passed through.
type passage struct {
	caller
	path   string
	source kefu.TokenSource
	body   []byte // nil: it is streamed, and can go only once
}

type passageKey struct{}

func passageOf(ctx context.Context) *passage { return ctx.Value(passageKey{}).(*passage) }

// setUpProxy makes the way of calls that are passed through. Hop-by-hop headers, cookies
// and what the caller shows to the gateway alone end here.
func (d *Door) setUpProxy() error {
	base, err := url.Parse(strings.TrimRight(d.BaseURL, "/"))
	if err != nil || base.Host == "" {
		return errors.New("the door's BaseURL is not an address")
	}
	d.proxy = httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			p := passageOf(r.In.Context())
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = base.Scheme, base.Host, base.Host
			r.Out.URL.Path, r.Out.URL.RawPath = base.Path+p.path, ""
			for _, h := range []string{"Authorization", "Cookie", "Accept-Encoding", "Forwarded", "X-Real-Ip", "Expect", "Connection", "Upgrade"} {
				r.Out.Header.Del(h)
			}
		},
		Transport: swap{d},
		ErrorLog:  log.New(io.Discard, "", 0), // ErrorHandler has its own; others may repeat a URL
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			said, fault := wordsOf(err)
			if fault != nil && r.Context().Err() == nil {
				d.Log.WarnContext(r.Context(), "a call passed through the door was not answered", "path", passageOf(r.Context()).path, "err", egress.WithoutURL(fault))
			}
			d.answer(w, r, passageOf(r.Context()).path, said)
		},
	}
	return nil
}

// pass hands a call to WeChat and its answer back, both as streams.
func (d *Door) pass(w http.ResponseWriter, r *http.Request, who caller, path string) {
	p := &passage{caller: who, path: path, source: d.Tokens(who.account.AppID)}
	if p.source == nil {
		d.answer(w, r, path, refuse(noAccount, ""))
		return
	}
	if r.ContentLength > maxPassed {
		d.answer(w, r, path, refuse(notJSON, fmt.Sprintf("the body has more than %d bytes", maxPassed)))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), passageKey{}, p), passTime)
	defer cancel()
	r = r.WithContext(ctx)
	r.Body = http.MaxBytesReader(w, r.Body, maxPassed)
	if 0 <= r.ContentLength && r.ContentLength <= replayable {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			d.answer(w, r, path, refuse(notJSON, "the body broke off"))
			return
		}
		p.body = body
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	d.proxy.ServeHTTP(w, r)
}

// swap is the way to WeChat with the real token in place of the gateway's, and once more
// with another when WeChat refuses it: a dead token is refused before the call is looked
// at.
type swap struct{ d *Door }

func (s swap) RoundTrip(req *http.Request) (*http.Response, error) {
	p := passageOf(req.Context())
	tok, err := p.source.Token(req.Context())
	if err != nil {
		return nil, err
	}
	res, err := s.trip(req, tok)
	if err != nil {
		return nil, err
	}
	dead := refusedToken(p.path, res)
	refresher, ok := p.source.(kefu.Refresher)
	if dead == nil || !ok {
		return res, nil
	}
	if r, ok := p.source.(interface{ Refused(kefu.Token, *kefu.Error) }); ok {
		r.Refused(tok, dead)
	}
	fresh, err := refresher.Refresh(req.Context(), tok)
	if err != nil || fresh.Value == tok.Value || p.body == nil {
		return res, nil // a stream can't go again; the next call finds the new token
	}
	res.Body.Close()
	again := req.Clone(req.Context())
	again.Body = io.NopCloser(bytes.NewReader(p.body))
	return s.trip(again, fresh)
}

func (s swap) trip(req *http.Request, tok kefu.Token) (*http.Response, error) {
	out := *req
	u := *req.URL
	q := u.Query()
	q.Set("access_token", tok.Value.Reveal())
	u.RawQuery = q.Encode()
	out.URL = &u
	res, err := s.d.HTTP.RoundTrip(&out)
	if err != nil && strings.Contains(err.Error(), "access_token") {
		err = errors.New("the transport failed; its error is withheld, since it repeats the request's URL")
	}
	if err == nil {
		hide(res, tok.Value.Reveal())
	}
	return res, err
}

// refusedToken is WeChat's refusal of the token in an answer, or nil. It looks at the
// beginning of the answer, which can be read as before.
func refusedToken(path string, res *http.Response) *kefu.Error {
	kind := res.Header.Get("Content-Type")
	if !strings.Contains(kind, "json") && !strings.Contains(kind, "text/") {
		return nil
	}
	const longest = 1 << 10
	begin, err := io.ReadAll(io.LimitReader(res.Body, longest))
	rest := io.Reader(res.Body)
	if err != nil {
		rest = broken{err}
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), rest), res.Body}
	var said words
	if err != nil || len(begin) == longest || json.Unmarshal(begin, &said) != nil {
		return nil
	}
	switch said.ErrCode {
	case wrongToken, 40014, tokenOver:
		return &kefu.Error{Op: strings.TrimPrefix(path, "/cgi-bin/"), Code: said.ErrCode, Msg: said.ErrMsg}
	}
	return nil
}

// broken is what is left of a stream that failed.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }
