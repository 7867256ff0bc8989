// Package door is WeChat's own API on the gateway, for programs that have an SDK and
// know nothing of Kefu: they change a host name and the secret, and get the outbox,
// the ledger and the token centre.
//
//	GET  /cgi-bin/token, POST /cgi-bin/stable_token   a gateway token, for a key of the role door
//	POST /cgi-bin/message/custom/send, …/typing       through the outbox, answered in WeChat's words
//	…                                                 what the key may call, passed through with the token swapped
//
// # A retry is safe
//
// SDKs repeat a send that did not answer in time, and WeChat can't recognise repeats.
// The door can: what may have left is remembered for a minute (memory.go), and the same
// body again gets the outcome of the first. What surely did not leave is answered -1,
// which asks for a repeat.
//
// # Secrets
//
// The AppSecret and the real access token stay in the gateway. What a program has is a
// key's text, and a gateway token that says nothing outside the door. force_refresh
// never forces a real token.
package door

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// Limits that are the door's own.
const (
	maxBody     = 1 << 20  // of a send
	maxPassed   = 32 << 20 // of what is passed through; WeChat takes 10 MiB at most
	maxHeld     = 64 << 20 // of all bodies that are in memory at once
	replayable  = 64 << 10 // of a body that is passed through, so that it can go twice
	maxSecret   = 512
	bodyTime    = 60 * time.Second // for a client to bring its body
	answerTime  = 60 * time.Second // to take its answer
	passTime    = 60 * time.Second // for a call that is passed through, both ways
	remembering = time.Minute
	slow        = time.Second // an answer that took longer may have come too late
	most        = 100_000     // sends that are remembered or under way
)

// DefaultLimit is how long a send may wait for its turn: some SDKs give up at 3 s.
const DefaultLimit = 2500 * time.Millisecond

// A Door answers WeChat's paths. Make one with [New].
type Door struct {
	Config
	sign   []byte // signs gateway tokens
	sends  memory
	proxy  httputil.ReverseProxy
	held   atomic.Int64 // bytes of bodies
	ending sync.WaitGroup
}

// A Config says what a Door works with. All are required but those with a default.
type Config struct {
	Engine Engine
	Store  Store
	// Tokens are the real access tokens of an account; nil: there are none. A source
	// that is a [kefu.Refresher] is asked for another one when WeChat refuses the first.
	Tokens func(appid string) kefu.TokenSource
	// Compose reads, checks and completes a request as POST /v1/messages would; an error
	// that the sender can do something about is a [*gateway.Problem].
	Compose func(ctx context.Context, account string, source gateway.Source, request json.RawMessage) (gateway.Submission, error)
	// Secret is 32 bytes that sign gateway tokens, the same in every process.
	Secret  []byte
	BaseURL string // of WeChat

	HTTP  http.RoundTripper // the way to WeChat; default: one that keeps connections for 10 s, without a proxy
	Limit time.Duration     // default [DefaultLimit]
	Now   func() time.Time  // default [time.Now]
	Log   *slog.Logger      // default [slog.Default]; sees no token, no secret, no content
}

// Engine is the part of *dispatch.Dispatcher that the door needs; see server.Engine.
type Engine interface {
	Accept(ctx context.Context, s []gateway.Submission) []gateway.Accepted
	Await(ctx context.Context, id string) (gateway.Message, error)
	// Withdraw cancels what is queued, and waits for the answer of what is being sent.
	Withdraw(ctx context.Context, id string) (gateway.Message, error)
	Typing(ctx context.Context, account, openid string, on bool) error
}

// Store is the part of *store.Store that the door needs. Whatever is not there is an
// error for which Missing reports true.
type Store interface {
	FindKey(ctx context.Context, text string) (gateway.Key, error)
	Key(ctx context.Context, id string) (gateway.Key, error)
	Account(ctx context.Context, appid string) (gateway.Account, error)
	Missing(err error) bool
}

// New makes a door.
func New(c Config) (*Door, error) {
	if len(c.Secret) < 32 {
		return nil, errors.New("the door's tokens are signed with 32 bytes at least")
	}
	if c.Limit <= 0 {
		c.Limit = DefaultLimit
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.HTTP == nil {
		c.HTTP = &http.Transport{
			MaxIdleConnsPerHost: 64, IdleConnTimeout: 10 * time.Second, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
			DisableCompression: true,
		}
	}
	d := &Door{Config: c, sign: c.Secret}
	if err := d.setUpProxy(); err != nil {
		return nil, err
	}
	return d, nil
}

// Close waits for the sends that nobody waits for any more. Call it when no request
// comes, and before the engine ends.
func (d *Door) Close() { d.ending.Wait() }

// A caller is whose token a request has.
type caller struct {
	key     gateway.Key
	account gateway.Account
}

// ServeHTTP implements [http.Handler]. Every answer of its own has the status 200 and
// WeChat's form.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w) // a recorder in a test has no deadlines
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime))
	_ = rc.SetWriteDeadline(time.Now().Add(bodyTime + answerTime))
	passed, path, ok := clean(r.URL)
	switch {
	case !ok:
		d.answer(w, r, "", refuse(unauthorizedAPI, "this path is not WeChat's"))
		return
	case path == tokenPath:
		d.giveToken(w, r, path, credentials{r.URL.Query().Get("grant_type"), r.URL.Query().Get("appid"), kefu.Secret(r.URL.Query().Get("secret"))})
		return
	case path == stableTokenPath:
		d.giveStableToken(w, r, path)
		return
	}
	who, no := d.identify(r)
	switch {
	case no != nil:
	case !allowed(who.key.Paths, path):
		no = refuse(unauthorizedAPI, "the key "+who.key.ID+" may not call this path of the door")
	case path != sendPath && path != typingPath:
		d.pass(w, r, who, passed)
		return
	case r.Method != http.MethodPost:
		no = refuse(postWanted, "")
	case path == sendPath:
		d.send(w, r, who)
		return
	default:
		d.typing(w, r, who)
		return
	}
	d.answer(w, r, path, no)
}

// read returns a body of at most so many bytes, counted in d.held until release is called.
func (d *Door) read(w http.ResponseWriter, r *http.Request, most int64) (body []byte, release func(), no *words) {
	size := most
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength)
	}
	release = func() { d.held.Add(-size) }
	if d.held.Add(size) > maxHeld {
		return nil, release, refuse(busy, "")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		return nil, release, refuse(notJSON, fmt.Sprintf("the body broke off or has more than %d KiB", most>>10))
	}
	return body, release, nil
}
