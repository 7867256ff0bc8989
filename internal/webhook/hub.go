// Package webhook calls the business with what happens: the feed, read by each
// endpoint from a place of its own, posted and signed as Standard Webhooks 1.0 says,
// and the answers in the responses, which go to the follower.
//
// # Kept, then called
//
// An endpoint's place (store.Webhook.Cursor) moves over an entry only when what came
// of its first try is in the store. A crash in between makes a second delivery with the
// same webhook-id, never none. Pauses between tries are times in the store, not
// sleeping goroutines.
//
// # Order
//
// Deliveries of one follower to one endpoint go one after the other. One that fails
// holds the later ones back for a minute from its first try; then they pass it, and it
// is marked out_of_order. Followers, and endpoints, do not wait for each other: an
// endpoint has its own number of tries at once, and its own bounded part of the feed in
// memory.
package webhook

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/store"
)

// A Config says what a Hub works with.
type Config struct {
	Store  *store.Store
	Engine Engine
	// Compose reads and checks a request as the API would; an error's text says what is
	// wrong with it.
	Compose func(ctx context.Context, account string, source gateway.Source, request json.RawMessage) (gateway.Submission, error)
	// HTTP calls the endpoints. It must refuse addresses that may not be called, follow
	// no redirect, and leave time limits to the request.
	HTTP  *http.Client
	Check func(url string) error // what HTTP would refuse, as far as the URL shows it

	Now func() time.Time // default time.Now; else a clock that may jump
	Log *slog.Logger     // default [slog.Default]; sees no URL, no secret, no content
}

// Engine is the part of *dispatch.Dispatcher that a Hub needs; see server.Engine.
type Engine interface {
	Accept(ctx context.Context, s []gateway.Submission) []gateway.Accepted
	Window(ctx context.Context, account, openid string) (gateway.Window, error)
	Typing(ctx context.Context, account, openid string, on bool) error
	Handling(ctx context.Context, account, openid string) (gateway.Handling, error)
	Handover(ctx context.Context, account, openid string, to gateway.Handover, by string) (gateway.Handling, error)
}

// A Hub calls the endpoints. Make one with [Start].
type Hub struct {
	Config
	jumps   bool // Now is not the real time
	ctx     context.Context
	cancel  context.CancelFunc
	stop    chan struct{} // closed by Stop: nothing new is begun
	once    sync.Once     // guards its closing
	deleted chan struct{} // there is something to forget
	running sync.WaitGroup
	feed    reader

	mu      sync.Mutex // guards what follows, and what was erased of each line
	lines   map[string]*line
	calls   map[follower]int // under way
	erasing map[follower]int
	left    chan struct{} // closed when a call about one of them ends
}

// Start begins to call the endpoints that the store has.
func Start(ctx context.Context, c Config) (*Hub, error) {
	h := &Hub{Config: c, jumps: c.Now != nil, stop: make(chan struct{}), deleted: make(chan struct{}, 1), feed: reader{store: c.Store},
		lines: map[string]*line{}, calls: map[follower]int{}, erasing: map[follower]int{}, left: make(chan struct{})}
	if h.Now == nil {
		h.Now = time.Now
	}
	if h.Log == nil {
		h.Log = slog.Default()
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	all, err := h.Store.Webhooks(ctx)
	if err != nil {
		h.cancel()
		return nil, err
	}
	for _, w := range all {
		h.wake(w.ID)
	}
	h.running.Go(h.prune)
	return h, nil
}

// grace is how long Stop waits for calls that are under way.
const grace = 2 * time.Second

// Stop ends the calls and returns. What was not answered within two seconds is called
// again at the next start.
func (h *Hub) Stop() {
	h.once.Do(func() { close(h.stop) })
	t := time.AfterFunc(grace, h.cancel)
	h.running.Wait()
	t.Stop()
	h.cancel()
}

func (h *Hub) stopping() bool {
	select {
	case <-h.stop:
		return true
	default:
		return false
	}
}

// The store forgets every so often, in slices, and takes pruneShare of the time then.
const (
	pruneEvery = time.Hour
	pruneShare = 20 // per cent
)

// prune has the store forget what it keeps for 30 days only, and what is left of
// endpoints that were deleted, also before this start.
func (h *Hub) prune() {
	for {
		began := time.Now()
		n, err := h.Store.PruneWebhooks(h.ctx, h.Now())
		wait := pruneEvery
		if n > 0 && err == nil {
			wait = time.Since(began) * (100/pruneShare - 1)
		}
		t := time.NewTimer(wait)
		select {
		case <-h.stop:
			t.Stop()
			return
		case <-h.deleted:
		case <-t.C:
		}
		t.Stop()
	}
}

// wake tells an endpoint's line that its settings or replays are new, or begins it.
func (h *Hub) wake(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.lines[id]
	if l == nil {
		if h.stopping() {
			return
		}
		l = newLine(h, id)
		h.lines[id] = l
		h.running.Go(l.run)
	}
	select {
	case l.reload <- struct{}{}:
	default:
	}
}

// forget takes a line that has ended off the list.
func (h *Hub) forget(l *line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lines[l.id] == l {
		delete(h.lines, l.id)
	}
}

// Webhooks returns the endpoints, without their secrets; see server.Webhooks, as for
// all that follow.
func (h *Hub) Webhooks(ctx context.Context) ([]gateway.Webhook, error) {
	all, err := h.Store.Webhooks(ctx)
	out := make([]gateway.Webhook, len(all))
	for i, w := range all {
		out[i] = w.Webhook
	}
	return out, err
}

// AddWebhook makes an endpoint, whose secret is in the answer. It begins with what
// happens next.
func (h *Hub) AddWebhook(ctx context.Context, w gateway.Webhook) (gateway.Webhook, error) {
	var id [8]byte
	rand.Read(id[:])
	w.ID = "wh_" + hex.EncodeToString(id[:])
	w.Because = whyOff(w)
	var err error
	if w.Cursor, err = h.Store.Head(ctx); err != nil {
		return w, err
	}
	kept, err := h.Store.AddWebhook(ctx, h.Now(), store.Webhook{Webhook: w, Secret: NewSecret()})
	if err != nil {
		return gateway.Webhook{}, err
	}
	h.wake(kept.ID)
	return withSecret(kept), nil
}

// ChangeWebhook replaces the settings of an endpoint, if may (nil: it may) has nothing
// against it.
func (h *Hub) ChangeWebhook(ctx context.Context, w gateway.Webhook, may func(now gateway.Webhook) error) (gateway.Webhook, error) {
	w.Because = whyOff(w)
	kept, err := h.Store.ChangeWebhook(ctx, h.Now(), w, may)
	if err != nil {
		return gateway.Webhook{}, err
	}
	h.wake(kept.ID)
	return kept.Webhook, nil
}

// whyOff is why an endpoint that somebody has made or changed is disabled; "": it is not.
func whyOff(w gateway.Webhook) string {
	if w.Enabled {
		return ""
	}
	return string(bilingual.Both("disabled by hand", "已手动停用"))
}

// withSecret is what is shown of an endpoint when its secret is new.
func withSecret(w store.Webhook) gateway.Webhook {
	w.Webhook.Secret = w.Secret.Reveal()
	return w.Webhook
}

// DeleteWebhook ends an endpoint. What is kept of it goes soon.
func (h *Hub) DeleteWebhook(ctx context.Context, id string) error {
	err := h.Store.DeleteWebhook(ctx, h.Now(), id)
	h.wake(id)
	if err == nil {
		select {
		case h.deleted <- struct{}{}:
		default: // it is told already
		}
	}
	return err
}

// RotateWebhook makes a new secret, which is in the answer; the old one signs besides it
// for that long.
func (h *Hub) RotateWebhook(ctx context.Context, id string, overlap time.Duration) (gateway.Webhook, error) {
	var until time.Time
	if overlap > 0 {
		until = h.Now().Add(overlap)
	}
	kept, err := h.Store.RotateWebhook(ctx, h.Now(), id, NewSecret(), until)
	if err != nil {
		return gateway.Webhook{}, err
	}
	h.wake(id)
	return withSecret(kept), nil
}

// TestWebhook posts an event of the type webhook.test.
func (h *Hub) TestWebhook(ctx context.Context, id string) (gateway.WebhookAttempt, error) {
	w, err := h.Store.Webhook(ctx, id)
	if err != nil {
		return gateway.WebhookAttempt{}, err
	}
	var b [8]byte
	rand.Read(b[:])
	now := h.Now()
	e := gateway.FeedEntry{At: gateway.At(now), Type: "webhook.test", Data: json.RawMessage(`{"webhook":"` + id + `"}`)}
	if len(w.Accounts) > 0 {
		e.Account = w.Accounts[0]
	}
	body, err := Body(e, "", nil, false)
	if err != nil {
		return gateway.WebhookAttempt{}, err
	}
	a := gateway.WebhookAttempt{WebhookID: "test_" + hex.EncodeToString(b[:]), Type: e.Type, Account: e.Account, N: 1, At: gateway.At(now)}
	res := h.post(ctx, w, a.WebhookID, body)
	a.TookMS, a.Status, a.Error, a.Outcome = res.took.Milliseconds(), res.status, res.why, "given-up"
	if Decide(res.status, 1, nil, 0).State == store.Delivered {
		a.Outcome = "delivered"
	}
	return a, h.Store.AddWebhookAttempt(ctx, h.Now(), id, a)
}

// ReplayWebhook begins a replay.
func (h *Hub) ReplayWebhook(ctx context.Context, id string, r gateway.ReplayRequest) (gateway.Replay, error) {
	replay, err := h.Store.StartReplay(ctx, h.Now(), id, r)
	if errors.Is(err, store.ErrCursor) {
		return gateway.Replay{}, &gateway.Problem{Code: gateway.InvalidRequest, Errors: []gateway.FieldError{{
			Location: "body", Message: "the feed has no such range: its cursors are numbers, the first is 1, and nothing is newer than the latest entry",
		}}}
	}
	if errors.Is(err, store.ErrCursorGone) {
		return gateway.Replay{}, &gateway.Problem{Code: gateway.CursorGone, Errors: []gateway.FieldError{{
			Location: "body", Message: "none of these entries is kept any more; GET /v1/events without a cursor begins with the oldest that is",
		}}}
	}
	h.wake(id)
	return replay, err
}

// WebhookAttempts lists them.
func (h *Hub) WebhookAttempts(ctx context.Context, id, cursor string, limit int) (gateway.Page[gateway.WebhookAttempt], error) {
	return h.Store.WebhookAttempts(ctx, id, cursor, limit)
}

// CheckURL says why an address can't be called, or what is unwise about it.
func (h *Hub) CheckURL(address string) (warning string, err error) {
	if h.Check != nil {
		if err := h.Check(address); err != nil {
			return "", err
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("not a URL")
	}
	if strings.EqualFold(u.Scheme, "http") {
		return "http: whoever is on the way can read what followers write; the signature only shows that it was not changed. Use https", nil
	}
	return "", nil
}
