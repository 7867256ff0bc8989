// Package tokens keeps one live access token per account, across restarts.
package tokens

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
)

// A Store keeps the token of each account, sealed.
type Store interface {
	// Token returns the kept token; the zero Token if there is none.
	Token(ctx context.Context, appid string) (kefu.Token, error)
	// SwapToken keeps a new token if the one in use is still old, and returns the
	// one in use after that: new, or what somebody else has kept meanwhile.
	SwapToken(ctx context.Context, now time.Time, appid string, old kefu.Secret, new kefu.Token) (kefu.Token, error)
}

// A Center gives each account its one source of tokens. A token is fetched when
// there is none that lives, ahead of its end, and after WeChat refused it: then
// once for any number of callers, see [kefu.CachedToken]. Each is kept before it
// is used, so that a restart goes on with it; if keeping fails, it is used all the
// same: a store that is down does not stop the sending.
type Center struct {
	Store   Store
	BaseURL string       // of WeChat
	HTTP    *http.Client // as in [kefu.Client]
	Now     func() time.Time
	Log     *slog.Logger

	mu      sync.Mutex // guards sources
	sources map[string]source
}

type source struct {
	secret kefu.Secret
	tokens kefu.TokenSource
}

// Source returns the account's token source, always the same until its secret
// changes.
func (c *Center) Source(appid string, secret kefu.Secret) kefu.TokenSource {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.sources[appid]; ok && s.secret == secret {
		return s.tokens
	}
	if c.sources == nil {
		c.sources = map[string]source{}
	}
	s := source{secret, kefu.CachedToken(&kept{
		center: c, appid: appid, first: true,
		wechat: kefu.StableToken{AppID: appid, Secret: secret, BaseURL: c.BaseURL, HTTP: c.HTTP},
	})}
	c.sources[appid] = s
	return s.tokens
}

// kept fetches from WeChat and remembers in the store. The cache around it makes
// one call at a time.
type kept struct {
	center *Center
	appid  string
	wechat kefu.StableToken
	first  bool        // the store was not asked yet
	last   kefu.Secret // what the store had when last seen
}

func (k *kept) Token(ctx context.Context) (kefu.Token, error) {
	if k.first {
		k.first = false
		tok, err := k.center.Store.Token(ctx, k.appid)
		if err != nil {
			k.center.Log.Warn("the kept access token can't be read; a new one is fetched", "account", k.appid, "error", err)
		} else if k.last = tok.Value; tok.Value != "" && time.Now().Before(tok.Expiry) {
			return tok, nil
		}
	}
	tok, err := k.wechat.Token(ctx)
	if err != nil {
		return tok, err
	}
	kept, err := k.center.Store.SwapToken(ctx, k.center.Now(), k.appid, k.last, tok)
	if err != nil {
		k.center.Log.Warn("the access token can't be kept; it is used all the same", "account", k.appid, "error", err)
		return tok, nil
	}
	k.last = kept.Value
	return kept, nil
}
