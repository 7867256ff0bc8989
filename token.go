package kefu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A Token is an access token with the time at which WeChat lets it die. A zero
// Expiry means that the token's life is not known.
type Token struct {
	Value  Secret
	Expiry time.Time
}

func (t Token) lives(at time.Time) bool {
	return t.Value != "" && (t.Expiry.IsZero() || at.Before(t.Expiry))
}

// A TokenSource supplies access tokens. It must be safe for concurrent use.
type TokenSource interface {
	Token(ctx context.Context) (Token, error)
}

// A Refresher is a [TokenSource] that can replace a token that WeChat refused.
// Refresh returns a token other than stale if it can get one: it compares, so
// that of many callers with the same dead token one fetches and all get the
// result. Returning stale itself means that there is no other.
//
// A source that wants to know why (a token that is over is another matter than one
// that somebody else has ended) has the method Refused(stale Token, why *Error)
// too: [Client] calls it before Refresh.
type Refresher interface {
	Refresh(ctx context.Context, stale Token) (Token, error)
}

// StaticToken is a token supplied by the caller, who also replaces it.
func StaticToken(token Secret) TokenSource { return &staticToken{token} }

type staticToken struct{ Value Secret }

// Format prints no more than what t is.
func (t *staticToken) Format(f fmt.State, _ rune) { fmt.Fprint(f, "kefu.StaticToken") }

func (t *staticToken) Token(context.Context) (Token, error) {
	if t.Value == "" {
		return Token{}, errors.New("kefu: empty StaticToken")
	}
	return Token{Value: t.Value}, nil
}

// StableToken fetches tokens from /cgi-bin/stable_token, WeChat's recommended
// call: it gives the same token until its last five minutes, and neither kills
// nor is killed by the tokens of /cgi-bin/token. Limits: 10,000 a minute and
// 500,000 a day. Every Token call is a request: wrap it in [CachedToken].
type StableToken struct {
	AppID   string
	Secret  Secret
	BaseURL string       // default [DefaultBaseURL]
	HTTP    *http.Client // as in [Client]
	// ForceRefresh voids the current token at once. For leaks only: 20 a day,
	// 30 s apart.
	ForceRefresh bool
}

// Token fetches the token.
func (s StableToken) Token(ctx context.Context) (Token, error) {
	body, err := marshal(struct {
		GrantType    string `json:"grant_type"`
		AppID        string `json:"appid"`
		Secret       string `json:"secret"`
		ForceRefresh bool   `json:"force_refresh"`
	}{"client_credential", s.AppID, s.Secret.Reveal(), s.ForceRefresh})
	if err != nil {
		return Token{}, err
	}
	return fetchToken(ctx, s.BaseURL, s.HTTP, &request{path: "/cgi-bin/stable_token", secret: s.Secret, body: body, contentType: jsonType})
}

// ClientCredential fetches tokens from /cgi-bin/token. Each call makes a new
// token and retires the last one after five minutes, so only one process may do
// this for an account; 2,000 a day. Prefer [StableToken]. Wrap it in
// [CachedToken].
type ClientCredential struct {
	AppID   string
	Secret  Secret
	BaseURL string       // default [DefaultBaseURL]
	HTTP    *http.Client // as in [Client]
}

// Token fetches a new token.
func (s ClientCredential) Token(ctx context.Context) (Token, error) {
	query := url.Values{"grant_type": {"client_credential"}, "appid": {s.AppID}, "secret": {s.Secret.Reveal()}}
	return fetchToken(ctx, s.BaseURL, s.HTTP, &request{path: "/cgi-bin/token", secret: s.Secret, query: query.Encode()})
}

func fetchToken(ctx context.Context, base string, client *http.Client, r *request) (Token, error) {
	end, err := newEndpoint(base, client)
	if err != nil {
		return Token{}, err
	}
	asked := time.Now()
	answer, status, err := end.answer(ctx, r)
	if err != nil {
		return Token{}, err
	}
	if err := outcome(r, status, answer); err != nil {
		return Token{}, err
	}
	var got struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	if err := json.Unmarshal(answer, &got); err != nil || got.AccessToken == "" {
		return Token{}, &TransportError{Op: r.op(), Status: status, class: ErrUnknownOutcome, Err: errors.New("an answer without access_token")}
	}
	if got.ExpiresIn <= 0 {
		return Token{}, &TransportError{Op: r.op(), Status: status, class: ErrUnknownOutcome, Err: fmt.Errorf("expires_in is %d", got.ExpiresIn)}
	}
	life := time.Duration(min(got.ExpiresIn, longestLife)) * time.Second
	return Token{Value: Secret(got.AccessToken), Expiry: asked.Add(life)}, nil
}

const (
	renewAhead   = 5 * time.Minute  // WeChat's overlap: a new token in the last five minutes
	fetchTimeout = 20 * time.Second // of a fetch, which outlives the caller that began it
	fetchPause   = time.Second      // after a failed fetch, so that a storm of callers is not a storm of fetches
	renewPause   = 30 * time.Second // between renewals of a token that lives, however short its life
	longestLife  = 24 * 60 * 60     // seconds; WeChat's is 7200
)

// CachedToken keeps the token of src. It fetches once however many callers wait:
// in the background while the current token has up to five minutes left, and
// with the callers waiting when there is none. A failed fetch is not repeated
// for a second; callers get its error meanwhile, or the current token while
// that lives. The returned source is a [Refresher].
func CachedToken(src TokenSource) TokenSource { return &cachedToken{src: src} }

type cachedToken struct {
	src TokenSource

	mu      sync.Mutex // guards all below
	tok     Token
	fetch   *fetch    // under way, or nil
	err     error     // of the last fetch
	pauseTo time.Time // no new fetch before
	renewAt time.Time // no new fetch before, while the token lives
}

// A fetch is one call of the source for any number of callers.
type fetch struct {
	done chan struct{} // closed when tok and err are set
	tok  Token
	err  error
}

// Format prints no more than what c is: fmt would show the secrets in its
// unexported fields.
func (c *cachedToken) Format(f fmt.State, _ rune) { fmt.Fprint(f, "kefu.CachedToken") }

func (c *cachedToken) Token(ctx context.Context) (Token, error) {
	c.mu.Lock()
	now := time.Now()
	alive := c.tok.lives(now)
	if alive && (c.tok.lives(now.Add(renewAhead)) || now.Before(c.renewAt)) {
		tok := c.tok
		c.mu.Unlock()
		return tok, nil
	}
	f, err := c.startLocked(ctx, now)
	tok := c.tok
	c.mu.Unlock()
	if alive {
		return tok, nil
	}
	if err != nil {
		return Token{}, err
	}
	return f.wait(ctx)
}

// Refresh fetches a token unless the current one is not stale any more.
func (c *cachedToken) Refresh(ctx context.Context, stale Token) (Token, error) {
	c.mu.Lock()
	now := time.Now()
	if c.tok.Value != stale.Value && c.tok.lives(now) {
		tok := c.tok
		c.mu.Unlock()
		return tok, nil
	}
	f, err := c.startLocked(ctx, now)
	c.mu.Unlock()
	if err != nil {
		return Token{}, err
	}
	return f.wait(ctx)
}

// startLocked joins the fetch under way or begins one.
func (c *cachedToken) startLocked(ctx context.Context, now time.Time) (*fetch, error) {
	if c.fetch != nil {
		return c.fetch, nil
	}
	if now.Before(c.pauseTo) {
		return nil, c.err
	}
	if c.src == nil {
		return nil, errors.New("kefu: CachedToken of nil")
	}
	f := &fetch{done: make(chan struct{})}
	c.fetch = f
	f.err = errors.New("kefu: the token source ended without an answer") // until it does
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		defer c.end(f) // also if the source ends the goroutine
		f.tok, f.err = c.src.Token(ctx)
	}()
	return f, nil
}

// end takes up what a fetch has brought.
func (c *cachedToken) end(f *fetch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetch = nil
	if now := time.Now(); f.err == nil {
		c.tok, c.err, c.pauseTo, c.renewAt = f.tok, nil, time.Time{}, now.Add(renewPause)
	} else {
		c.err, c.pauseTo = f.err, now.Add(fetchPause)
	}
	close(f.done)
}

func (f *fetch) wait(ctx context.Context) (Token, error) {
	select {
	case <-f.done:
		return f.tok, f.err
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
}
