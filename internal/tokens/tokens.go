// Package tokens keeps one live access token per account, for any number of
// callers, processes and restarts.
//
//	center := &tokens.Center{Store: s, Now: time.Now, Log: log}
//	source := center.Source(account)   // a kefu.TokenSource and kefu.Refresher
//
// A token is fetched (with stable_token) when there is none that lives, ahead of
// its end, and after WeChat refused it, once for any number of callers; before each
// fetch the store is asked, which decides between processes: who finds a newer token
// there takes it, who finds a fetch under way waits for it. Each fetch is on record
// before it leaves. decide.go is the whole policy, pure; keeper.go carries it out.
//
// While the store is down the tokens in memory go on, and are renewed by what memory
// knows of budgets; what could not be recorded is recorded later.
package tokens

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/store"
)

// A Store keeps the token of each account, sealed, and the record of who did what
// to it; see *store.Store.
type Store interface {
	Token(ctx context.Context, appid string) (kefu.Token, error)
	SwapToken(ctx context.Context, now time.Time, appid string, old kefu.Secret, new kefu.Token, events ...gateway.TokenEvent) (kefu.Token, error)
	PutToken(ctx context.Context, now time.Time, appid string, new kefu.Token, event gateway.TokenEvent, entries ...store.Entry) error
	ClaimToken(ctx context.Context, now, day time.Time, appid string, decide func(store.TokenUse) store.TokenClaim) (store.TokenClaim, store.TokenUse, error)
	RecordToken(ctx context.Context, now time.Time, events ...gateway.TokenEvent) error
	TokenUse(ctx context.Context, now, day time.Time, appid string) (store.TokenUse, error)
	TokenOrigin(ctx context.Context, appid string) (gateway.TokenEvent, error)
}

// A Center has the tokens of every account. Set the fields before the first call.
type Center struct {
	Store   Store
	BaseURL string       // of WeChat
	HTTP    *http.Client // as in [kefu.Client]
	Now     func() time.Time
	Log     *slog.Logger

	mu      sync.Mutex // guards keepers
	keepers map[string]*keeper
}

// ErrUnknown: the center has no such account.
var ErrUnknown = errors.New("no such account")

// ErrSupplied: the account's tokens come from outside, so none is fetched.
var ErrSupplied = errors.New("the account's access tokens come from outside")

// Source takes up an account's settings and returns its tokens, the same as long as
// the account is not forgotten. The source is a [kefu.Refresher].
func (c *Center) Source(a gateway.Account) kefu.TokenSource {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.keepers[a.AppID]
	if k == nil {
		if c.keepers == nil {
			c.keepers = map[string]*keeper{}
		}
		k = &keeper{center: c, appid: a.AppID}
		c.keepers[a.AppID] = k
	}
	k.set(a)
	return k
}

// Of returns the tokens of an account that has a [Center.Source], or nil.
func (c *Center) Of(appid string) kefu.TokenSource {
	if k := c.keeper(appid); k != nil {
		return k
	}
	return nil
}

// Forget drops what is known of an account.
func (c *Center) Forget(appid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.keepers, appid)
}

func (c *Center) keeper(appid string) *keeper {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keepers[appid]
}

// Supply takes a token from outside, in place of the one there is, on record as the
// deed of by. A nil error means that it is kept.
func (c *Center) Supply(ctx context.Context, appid, by string, value kefu.Secret, life time.Duration) error {
	k := c.keeper(appid)
	if k == nil {
		return ErrUnknown
	}
	return k.supply(ctx, by, value, life)
}

// Reveal returns the account's token to whom may see it, fetching one if need be.
// It is on record before it is returned.
func (c *Center) Reveal(ctx context.Context, appid, by string) (kefu.Token, error) {
	k := c.keeper(appid)
	if k == nil {
		return kefu.Token{}, ErrUnknown
	}
	tok, err := k.Token(ctx)
	if err != nil {
		return kefu.Token{}, err
	}
	e := k.event(gateway.TokenRevealed, "", by, c.Now())
	e.ExpiresAt = timeOf(tok.Expiry)
	if err := c.Store.RecordToken(ctx, c.Now(), e); err != nil {
		return kefu.Token{}, err
	}
	return tok, nil
}

// Renew voids the account's token at once and gets another, with force_refresh: for
// a token that has leaked. Errors: ErrSupplied, a [*WaitError], WeChat's.
func (c *Center) Renew(ctx context.Context, appid, by string) error {
	k := c.keeper(appid)
	if k == nil {
		return ErrUnknown
	}
	return k.renew(ctx, by)
}

// Status tells how the account's token is.
func (c *Center) Status(ctx context.Context, appid string) (gateway.TokenStatus, error) {
	k := c.keeper(appid)
	if k == nil {
		return gateway.TokenStatus{}, ErrUnknown
	}
	return k.status(ctx)
}

// Notes says what an operator of some accounts (none: of all) should know of their tokens.
func (c *Center) Notes(lang string, accounts []string) (notes []string) {
	c.mu.Lock()
	all := maps.Clone(c.keepers)
	c.mu.Unlock()
	for _, appid := range slices.Sorted(maps.Keys(all)) {
		if len(accounts) > 0 && !slices.Contains(accounts, appid) {
			continue
		}
		for _, n := range all[appid].notes(lang) {
			notes = append(notes, bilingual.In(lang, "account %s: %s", "公众号 %s：%s", appid, n))
		}
	}
	return notes
}
