package door

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/kefu-go/kefu/gateway"
)

// Passable reports whether a call of WeChat's API may be passed on as it is: the path is
// WeChat's, takes no secret and is none that the gateway has its own way for (messages,
// typing). all is for those beyond messages, media and workers.
func Passable(path string, all bool) bool {
	u := &url.URL{Path: path}
	passed, matched, ok := clean(u)
	paths := ""
	if all {
		paths = "all"
	}
	return ok && passed == path && matched != sendPath && matched != typingPath &&
		begins(matched, []string{"/cgi-bin/", "/customservice/", "/card/"}) && allowed(paths, matched)
}

// Way is the way to WeChat with the real token of an account, for calls that are
// authorised elsewhere and [Passable]. Of a request's URL it takes path and query. A
// token that WeChat refuses is renewed once, as for those who come by the door.
func (d *Door) Way(appid string) http.RoundTripper { return way{d, appid} }

type way struct {
	d     *Door
	appid string
}

// RoundTrip implements [http.RoundTripper].
func (w way) RoundTrip(r *http.Request) (*http.Response, error) {
	source := w.d.Tokens(w.appid)
	if source == nil {
		return nil, &gateway.Problem{Code: gateway.NoToken}
	}
	base, err := url.Parse(strings.TrimRight(w.d.BaseURL, "/"))
	if err != nil {
		return nil, err
	}
	p := &passage{path: r.URL.Path, source: source, body: []byte{}}
	if r.Body != nil {
		defer r.Body.Close()
		if p.body, err = io.ReadAll(io.LimitReader(r.Body, maxPassed+1)); err != nil {
			return nil, err
		}
	}
	out := r.Clone(context.WithValue(r.Context(), passageKey{}, p))
	out.URL.Scheme, out.URL.Host, out.Host = base.Scheme, base.Host, base.Host
	out.URL.Path = base.Path + p.path
	out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(p.body)), int64(len(p.body))
	return swap{w.d}.RoundTrip(out)
}
