package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/journal"
)

// The accounts and keys of every world.
const (
	shop  = "wxshop"
	other = "wxother"

	adminKey  = "kf_admin_0123456789abcdef0123456789abcdef"
	sendKey   = "kf_send_0123456789abcdef0123456789abcdef"
	readKey   = "kf_read_0123456789abcdef0123456789abcdef"
	doorKey   = "kf_door_0123456789abcdef0123456789abcdef"
	shopKey   = "kf_shop_0123456789abcdef0123456789abcdef"    // send, for shop alone
	shopAdmin = "kf_shopadmin_0123456789abcdef0123456789abcd" // admin, for shop alone
	otherKey  = "kf_other_0123456789abcdef0123456789abcdef"   // send, for other alone
	callToken = "calltoken"
	aesKey    = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	secret    = "5eed2a76cc565eed2a76cc565eed2a76"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// A world is an engine and a store in memory for tests of the HTTP side: it keeps
// what it is given and does nothing with it. What it answers to a call can be
// replaced.
type world struct {
	t testing.TB
	*Server
	logged journal.Journal

	mu       sync.Mutex // guards all below
	accounts map[string]gateway.Account
	keys     map[[32]byte]gateway.Key
	revoked  map[[32]byte]bool
	messages []gateway.Message
	received []gateway.Submission
	byKey    map[string]int // idempotency key → messages
	prints   map[string][32]byte
	feed     []gateway.FeedEntry
	gone     int // entries of the feed that were dropped
	changed  chan struct{}
	events   []callback.Event
	typing   []bool
	window   gateway.Window

	checked   func() // when an account is checked
	reply     callback.Reply
	answered  []string // passively
	handovers []gateway.Handling
	hooks     []gateway.Webhook
	tries     []gateway.WebhookAttempt
	overlap   time.Duration
	hookCalls atomic.Int32 // that did something with a webhook

	supplied map[string]kefu.Secret // access tokens by appid
	tokenBy  []string               // who did something to them

	tokenErr, acceptErr, typingErr, receiveErr, checkErr, storeErr, fullErr, readErr, windowErr error
	await                                                                                       func(ctx context.Context, m gateway.Message) gateway.Message
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, accounts: map[string]gateway.Account{}, keys: map[[32]byte]gateway.Key{}, revoked: map[[32]byte]bool{}, byKey: map[string]int{}, prints: map[string][32]byte{},
		supplied: map[string]kefu.Secret{}, changed: make(chan struct{}), window: gateway.Window{State: gateway.WindowUnknown, Because: "never seen", Buckets: []gateway.Bucket{}},
	}
	for _, appid := range []string{shop, other} {
		w.accounts[appid] = gateway.Account{AppID: appid, Secret: secret, Token: callToken}.WithDefaults()
	}
	for text, k := range map[string]gateway.Key{
		adminKey: {ID: "key_admin", Role: gateway.Admin}, sendKey: {ID: "key_send", Role: gateway.Send},
		readKey: {ID: "key_read", Role: gateway.Read}, doorKey: {ID: "key_door", Role: gateway.Door},
		shopKey:   {ID: "key_shop", Role: gateway.Send, Accounts: []string{shop}},
		shopAdmin: {ID: "key_shopadmin", Role: gateway.Admin, Accounts: []string{shop}},
		otherKey:  {ID: "key_other", Role: gateway.Send, Accounts: []string{other}},
	} {
		k.CreatedAt = gateway.At(start)
		w.keys[sha256.Sum256([]byte(text))] = k
	}
	w.Server = &Server{
		Engine: w, Store: (*shelf)(w), Tokens: (*purse)(w), Webhooks: w, Assets: &depot{files: map[string]map[string]string{shop: {gateway.AssetID(sha256.Sum256([]byte(shopFile))): shopFile}}}, Now: func() time.Time { return start },
		Log: slog.New(slog.NewTextHandler(&w.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	return w
}

func fault(code string) error { return &gateway.Problem{Code: code} }

// add keeps a message as if it had got that far.
func (w *world) add(m gateway.Message) gateway.Message {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.ID = fmt.Sprintf("msg_%d", len(w.messages)+1)
	if m.Account == "" {
		m.Account = shop
	}
	if m.OpenID == "" {
		m.OpenID, m.MsgType, m.Message = "oFollower", "text", json.RawMessage(`{"touser":"oFollower","msgtype":"text","text":{"content":"hi"}}`)
	}
	m.State, m.Priority, m.WhenClosed, m.OnUnknown = def(m.State, gateway.Queued), def(m.Priority, gateway.Normal), def(m.WhenClosed, gateway.Park), def(m.OnUnknown, gateway.Hold)
	m.Source, m.AcceptedAt, m.ExpiresAt = def(m.Source, gateway.FromAPI), gateway.At(start), gateway.At(start.Add(48*time.Hour))
	w.messages = append(w.messages, m)
	return m
}

func def[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

func (w *world) Accept(_ context.Context, subs []gateway.Submission) []gateway.Accepted {
	out := make([]gateway.Accepted, len(subs))
	for i, s := range subs {
		out[i] = w.acceptOne(s)
	}
	return out
}

func (w *world) acceptOne(s gateway.Submission) gateway.Accepted {
	w.mu.Lock()
	w.received = append(w.received, s)
	at, ok := w.byKey[s.Account+"/"+s.IdempotencyKey]
	same := w.prints[s.Account+"/"+s.IdempotencyKey] == s.Fingerprint
	w.mu.Unlock()
	switch {
	case w.acceptErr != nil:
		return gateway.Accepted{Err: w.acceptErr}
	case s.IdempotencyKey != "" && ok && !same:
		return gateway.Accepted{Err: fault(gateway.IdempotencyMismatch)}
	case s.IdempotencyKey != "" && ok:
		return gateway.Accepted{Message: w.messages[at], Replayed: true}
	case s.Refused != nil:
		return gateway.Accepted{Err: s.Refused}
	}
	if s.RetryOf != "" {
		for _, m := range w.messages {
			if m.RetryOf == s.RetryOf && (s.RetryOnce || !m.State.Final()) && s.IdempotencyKey == "" {
				return gateway.Accepted{Message: m, Replayed: true}
			}
		}
	}
	m := w.add(gateway.Message{
		Account: s.Account, OpenID: s.OpenID, MsgType: s.MsgType, Message: s.Message, Priority: s.Priority, Source: s.Source, Metadata: s.Metadata,
		Warnings: s.Warnings, RetryOf: s.RetryOf, PossibleDuplicate: s.PossibleDuplicate, WhenClosed: s.WhenClosed, OnUnknown: s.OnUnknown,
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.IdempotencyKey != "" {
		w.byKey[s.Account+"/"+s.IdempotencyKey], w.prints[s.Account+"/"+s.IdempotencyKey] = len(w.messages)-1, s.Fingerprint
	}
	return gateway.Accepted{Message: m}
}

func (w *world) find(id string) (*gateway.Message, error) {
	if i := slices.IndexFunc(w.messages, func(m gateway.Message) bool { return m.ID == id }); i >= 0 {
		return &w.messages[i], nil
	}
	return nil, fault(gateway.NotFound)
}

func (w *world) Await(ctx context.Context, id string) (gateway.Message, error) {
	w.mu.Lock()
	m, err := w.find(id)
	w.mu.Unlock()
	if err != nil {
		return gateway.Message{}, err
	}
	if w.await != nil {
		return w.await(ctx, *m), nil
	}
	<-ctx.Done()
	return *m, nil
}

func (w *world) Cancel(_ context.Context, id string) (gateway.Message, error) {
	w.mu.Lock() // those of a selection come at once
	defer w.mu.Unlock()
	m, err := w.find(id)
	if err != nil {
		return gateway.Message{}, err
	}
	switch m.State {
	case gateway.Queued, gateway.Parked, gateway.Canceled:
		m.State = gateway.Canceled
		return *m, nil
	case gateway.Unknown:
		if m.RetryAt != nil {
			m.RetryAt = nil
			return *m, nil
		}
	}
	return *m, &gateway.Problem{Code: gateway.NotCancelable, Message: m}
}

func (w *world) Resolve(_ context.Context, id string, as gateway.State) (gateway.Message, error) {
	m, err := w.find(id)
	if err != nil {
		return gateway.Message{}, err
	}
	if m.State != gateway.Unknown {
		return *m, &gateway.Problem{Code: gateway.NotResolvable, Message: m}
	}
	m.State = as
	return *m, nil
}

func (w *world) Trigger(_ context.Context, _, _ string, t kefu.Trigger, at time.Time) (bool, gateway.Window, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.window = gateway.Window{State: gateway.WindowOpen, OpenedBy: &t, Buckets: []gateway.Bucket{{Trigger: t, OpenedAt: gateway.At(at), ClosesAt: gateway.At(at.Add(time.Hour))}}}
	return true, w.window, nil
}

func (w *world) Receive(_ context.Context, _ string, e callback.Event) (callback.Reply, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.receiveErr == nil {
		w.events = append(w.events, e)
	}
	return w.reply, w.receiveErr
}

func (w *world) Handover(_ context.Context, _, openid string, to gateway.Handover, by string) (gateway.Handling, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	since := gateway.At(start)
	h := gateway.Handling{Handler: to.Handler, Since: &since, By: by, KfAccount: to.KfAccount}
	w.handovers = append(w.handovers, h)
	return h, nil
}

func (w *world) Webhooks(context.Context) ([]gateway.Webhook, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.hooks), nil
}

func (w *world) ChangeWebhook(_ context.Context, h gateway.Webhook, may func(gateway.Webhook) error) (gateway.Webhook, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.hooks, func(o gateway.Webhook) bool { return o.ID == h.ID })
	if err := may(w.hooks[i]); err != nil {
		return h, err
	}
	h.CreatedAt = w.hooks[i].CreatedAt
	w.hooks[i] = h
	return h, nil
}

func (w *world) AddWebhook(_ context.Context, h gateway.Webhook) (gateway.Webhook, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h.ID, h.CreatedAt = fmt.Sprintf("wh_%d", len(w.hooks)+1), gateway.At(start)
	w.hooks = append(w.hooks, h)
	h.Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	return h, nil
}

func (w *world) DeleteWebhook(_ context.Context, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hooks = slices.DeleteFunc(w.hooks, func(o gateway.Webhook) bool { return o.ID == id })
	return nil
}

func (w *world) RotateWebhook(_ context.Context, id string, overlap time.Duration) (gateway.Webhook, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.overlap = overlap
	h := w.hooks[slices.IndexFunc(w.hooks, func(o gateway.Webhook) bool { return o.ID == id })]
	h.Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	return h, nil
}

func (w *world) TestWebhook(context.Context, string) (gateway.WebhookAttempt, error) {
	w.hookCalls.Add(1)
	return gateway.WebhookAttempt{WebhookID: "test_1", Type: "webhook.test", N: 1, At: gateway.At(start), Outcome: "delivered", Status: 204}, nil
}

func (w *world) ReplayWebhook(_ context.Context, _ string, r gateway.ReplayRequest) (gateway.Replay, error) {
	w.hookCalls.Add(1)
	return gateway.Replay{From: r.From + r.Cursor, To: r.To}, nil
}

func (w *world) WebhookAttempts(context.Context, string, string, int) (gateway.Page[gateway.WebhookAttempt], error) {
	w.hookCalls.Add(1)
	return gateway.Page[gateway.WebhookAttempt]{Items: slices.Clone(w.tries)}, nil
}

func (w *world) Quietly(_ context.Context, _, _ string, erase func() error) error { return erase() }

func (w *world) CheckURL(url string) (string, error) {
	switch {
	case strings.Contains(url, "127.0.0.1"):
		return "", errors.New("127.0.0.1 is a private address")
	case strings.HasPrefix(url, "http:"):
		return "anybody on the way reads what goes over http", nil
	}
	return "", nil
}

func (w *world) Answered(_ context.Context, _ string, e callback.Event, said json.RawMessage) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered = append(w.answered, e.Head().FromUserName+" "+string(said))
	return nil
}

func (w *world) Window(_ context.Context, account, _ string) (gateway.Window, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, here := w.accounts[account]; !here {
		return gateway.Window{}, &gateway.Problem{Code: gateway.UnknownAccount}
	}
	return w.window, w.windowErr
}

func (w *world) Typing(_ context.Context, _, _ string, on bool) error {
	w.typing = append(w.typing, on)
	return w.typingErr
}

func (w *world) Erase(_ context.Context, account, openid string) (gateway.Erased, error) {
	gone := gateway.Erased{Account: account, Hash: strings.Repeat("ab", 32), At: gateway.At(start)}
	w.messages = slices.DeleteFunc(w.messages, func(m gateway.Message) bool {
		if m.Account != account || m.OpenID != openid {
			return false
		}
		gone.Messages++
		return true
	})
	return gone, nil
}

func (w *world) PutAccount(_ context.Context, a gateway.Account, may func(gateway.Account) error) (gateway.Account, error) {
	if err := may(w.accounts[a.AppID]); err != nil {
		return a, err
	}
	w.accounts[a.AppID] = a
	return a, nil
}

func (w *world) DeleteAccount(_ context.Context, appid string) error {
	delete(w.accounts, appid)
	return nil
}

func (w *world) CheckAccount(context.Context, string, string) error {
	if w.checked != nil {
		w.checked()
	}
	return w.checkErr
}

func (w *world) Pause(_ context.Context, appid, because string) error {
	a := w.accounts[appid]
	a.State, a.Because = "paused", because
	w.accounts[appid] = a
	return nil
}

func (w *world) Resume(_ context.Context, appid string) error {
	a := w.accounts[appid]
	a.State, a.Because = "active", ""
	w.accounts[appid] = a
	return nil
}

func (w *world) Standing(appid, lang string) *gateway.Standing {
	if lang == "zh" {
		return &gateway.Standing{Because: "已停发"}
	}
	return &gateway.Standing{Because: w.accounts[appid].Because, UsedToday: 7, Daily: 500_000}
}

func (w *world) Healthy(_ context.Context, lang string, accounts []string) ([]string, error) {
	if len(accounts) > 0 && !slices.Contains(accounts, other) {
		return nil, nil
	}
	if lang == "zh" {
		return []string{"wxother 已停发"}, nil
	}
	return []string{"wxother is paused"}, nil
}

// A purse is the world as its Tokens.
type purse world

func (w *purse) Status(_ context.Context, appid string) (gateway.TokenStatus, error) {
	s := gateway.TokenStatus{Account: appid, Source: gateway.OwnTokens, State: gateway.TokenNone, Fetches: gateway.Budget{Stop: 1900, Max: 2000}}
	if w.supplied[appid] != "" {
		at := gateway.At(start.Add(2 * time.Hour))
		s.State, s.ExpiresAt = gateway.TokenLive, &at
	}
	return s, nil
}

func (w *purse) Supply(_ context.Context, appid, by string, value kefu.Secret, _ time.Duration) error {
	w.supplied[appid] = value
	w.tokenBy = append(w.tokenBy, "supply "+by)
	return w.tokenErr
}

func (w *purse) Reveal(_ context.Context, appid, by string) (kefu.Token, error) {
	w.tokenBy = append(w.tokenBy, "reveal "+by)
	return kefu.Token{Value: w.supplied[appid], Expiry: start.Add(2 * time.Hour)}, w.tokenErr
}

func (w *purse) Renew(_ context.Context, _, by string) error {
	w.tokenBy = append(w.tokenBy, "renew "+by)
	return w.tokenErr
}

func (w *purse) Forget(appid string) { delete(w.supplied, appid) }

func (w *purse) Notes(string, []string) []string { return nil }

func (w *shelf) TokenEvents(_ context.Context, appid, cursor string, _ int) (gateway.Page[gateway.TokenEvent], error) {
	if cursor != "" {
		return gateway.Page[gateway.TokenEvent]{}, fault(gateway.InvalidRequest)
	}
	return gateway.Page[gateway.TokenEvent]{Items: []gateway.TokenEvent{{ID: "1", At: gateway.At(start), Account: appid, Action: gateway.TokenFetched, Why: "start", By: "gateway", Outcome: "ok"}}}, nil
}

// A shelf is the world as a Store.
type shelf world

func (w *shelf) Message(_ context.Context, id string) (gateway.Message, error) {
	if w.readErr != nil {
		return gateway.Message{}, w.readErr
	}
	m, err := (*world)(w).find(id)
	if err != nil {
		return gateway.Message{}, err
	}
	return *m, nil
}

func (w *shelf) Messages(_ context.Context, f gateway.MessageFilter, cursor string, limit int) (gateway.Page[gateway.Message], error) {
	below := len(w.messages)
	if cursor != "" {
		var err error
		if below, err = strconv.Atoi(cursor); err != nil || below > len(w.messages) {
			return gateway.Page[gateway.Message]{}, fault(gateway.InvalidRequest)
		}
	}
	return w.list(f, below-1, -1, -1, limit, "")
}

func (w *shelf) OldestMessages(_ context.Context, f gateway.MessageFilter, cursor string, limit int) (gateway.Page[gateway.Message], error) {
	from, end := -1, len(w.messages)
	if cursor != "" {
		if n, _ := fmt.Sscanf(cursor, "%d-%d", &from, &end); n < 2 || end > len(w.messages) {
			return gateway.Page[gateway.Message]{}, fault(gateway.InvalidRequest)
		}
	}
	return w.list(f, from+1, end, 1, limit, fmt.Sprint("-", end))
}

// list is a page of the messages from one place on, by step up to end. A cursor is the
// place of the last one.
func (w *shelf) list(f gateway.MessageFilter, from, end, step, limit int, suffix string) (page gateway.Page[gateway.Message], _ error) {
	for i := from; i != end; i += step {
		m := w.messages[i]
		if (len(f.Accounts) > 0 && !slices.Contains(f.Accounts, m.Account)) || (f.OpenID != "" && f.OpenID != m.OpenID) || (f.State != "" && f.State != m.State) {
			continue
		}
		if len(page.Items) == limit {
			page.Next = strconv.Itoa(i-step) + suffix
			break
		}
		page.Items = append(page.Items, m)
	}
	return page, nil
}

func (w *shelf) Heard(_ context.Context, accounts []string, openid, cursor string, limit int) (gateway.Page[gateway.FeedEntry], error) {
	if _, err := strconv.Atoi("0" + cursor); err != nil {
		return gateway.Page[gateway.FeedEntry]{}, fault(gateway.InvalidRequest)
	}
	return gateway.Page[gateway.FeedEntry]{Items: []gateway.FeedEntry{{Cursor: "1", At: gateway.At(start), Account: shop, OpenID: "oFollower", Type: "follower.message", Data: json.RawMessage(`{"msgtype":"text"}`)}}}, nil
}

func (w *shelf) Series(_ context.Context, from, _ time.Time, step time.Duration, accounts []string) (gateway.Series, error) {
	return gateway.Series{
		From: gateway.At(from), Step: gateway.Seconds(step / time.Second), Points: []gateway.SeriesPoint{{At: gateway.At(from), Accepted: len(accounts)}},
		ErrCodes: []gateway.ErrCodeCount{{ErrCode: 45015, Count: 1}}, Unfinished: map[gateway.State]int{gateway.Parked: 1},
	}, nil
}

func (w *shelf) Attempts(context.Context, string) ([]gateway.Attempt, error) {
	return []gateway.Attempt{{N: 1, At: gateway.At(start), TookMS: 12, Outcome: "refused", ErrCode: 45015, ErrMsg: "response out of time limit"}}, nil
}

func (w *shelf) Conversations(_ context.Context, accounts []string, _ string, _ int) (gateway.Page[gateway.Conversation], error) {
	page := gateway.Page[gateway.Conversation]{}
	for _, appid := range []string{shop, other} {
		if len(accounts) == 0 || slices.Contains(accounts, appid) {
			page.Items = append(page.Items, gateway.Conversation{Account: appid, OpenID: "oFollower", LastAt: gateway.At(start)})
		}
	}
	return page, nil
}

func (w *shelf) Conversation(_ context.Context, account, openid string) (gateway.Conversation, error) {
	if openid != "oFollower" || account != shop && account != other {
		return gateway.Conversation{}, fault(gateway.NotFound)
	}
	return gateway.Conversation{Account: account, OpenID: openid, LastAt: gateway.At(start)}, nil
}

func (w *shelf) Timeline(_ context.Context, account, _, _ string, _ int) (gateway.Page[gateway.TimelineEntry], error) {
	var page gateway.Page[gateway.TimelineEntry]
	for _, m := range w.messages {
		if m.Account == account {
			page.Items = append(page.Items, gateway.TimelineEntry{At: m.AcceptedAt, Type: "message", Message: &m})
		}
	}
	return page, nil
}

func (w *shelf) Export(_ context.Context, account, openid string) iter.Seq2[gateway.Exported, error] {
	return func(yield func(gateway.Exported, error) bool) {
		if openid != "oFollower" {
			yield(gateway.Exported{}, fault(gateway.NotFound))
			return
		}
		if !yield(gateway.Exported{Type: "conversation", Account: account, OpenID: openid}, nil) {
			return
		}
		for _, m := range w.messages {
			if m.Account == account && !yield(gateway.Exported{Type: "message", Message: &m}, nil) {
				return
			}
		}
		if w.readErr != nil {
			yield(gateway.Exported{}, w.readErr)
		}
	}
}

func (w *shelf) Erasures(_ context.Context, accounts []string, limit int) ([]gateway.Erased, error) {
	all := []gateway.Erased{{Account: shop, Hash: strings.Repeat("ab", 32), At: gateway.At(start)}, {Account: other, Hash: strings.Repeat("cd", 32), At: gateway.At(start)}}
	all = slices.DeleteFunc(all, func(e gateway.Erased) bool { return len(accounts) > 0 && !slices.Contains(accounts, e.Account) })
	return all[:min(limit, len(all))], nil
}

// say appends to the feed.
func (w *world) say(account, kind string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.feed = append(w.feed, gateway.FeedEntry{
		Cursor: strconv.Itoa(len(w.feed) + 1), At: gateway.At(start), Account: account, OpenID: "oFollower", Type: kind, Data: json.RawMessage(`{"n":` + strconv.Itoa(len(w.feed)+1) + `}`),
	})
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *shelf) Feed(_ context.Context, cursor string, limit int, accounts []string) ([]gateway.FeedEntry, string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.readErr != nil {
		return nil, "", w.readErr
	}
	from, err := strconv.Atoi("0" + cursor)
	switch {
	case err != nil:
		return nil, "", fault(gateway.InvalidRequest)
	case cursor != "" && from < w.gone:
		return nil, "", fault(gateway.CursorGone)
	}
	var out []gateway.FeedEntry
	from = max(from, w.gone)
	for _, e := range w.feed[from:min(from+limit, len(w.feed))] {
		if cursor, from = e.Cursor, from+1; len(accounts) == 0 || slices.Contains(accounts, e.Account) {
			out = append(out, e)
		}
	}
	return out, cursor, nil
}

func (w *shelf) Head(context.Context) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strconv.Itoa(len(w.feed)), nil
}

func (w *shelf) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *shelf) Accounts(context.Context) ([]gateway.Account, error) {
	var all []gateway.Account
	for _, a := range w.accounts {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b gateway.Account) int { return strings.Compare(a.AppID, b.AppID) })
	return all, nil
}

func (w *shelf) Account(_ context.Context, appid string) (gateway.Account, error) {
	a, ok := w.accounts[appid]
	if !ok {
		return a, fault(gateway.NotFound)
	}
	return a, nil
}

func (w *shelf) PutKey(_ context.Context, _ time.Time, k gateway.Key) (gateway.Key, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	hash := sha256.Sum256([]byte(k.Key))
	k.Key = ""
	w.keys[hash] = k
	return k, nil
}

func (w *shelf) FindKey(_ context.Context, text string) (gateway.Key, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.storeErr != nil {
		return gateway.Key{}, w.storeErr
	}
	hash := sha256.Sum256([]byte(text))
	k, ok := w.keys[hash]
	if !ok && w.revoked[hash] {
		return k, fault(gateway.Unauthorized)
	} else if !ok {
		return k, fault(gateway.NotFound)
	}
	return k, nil
}

func (w *shelf) Keys(context.Context) ([]gateway.Key, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []gateway.Key
	for _, k := range w.keys {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b gateway.Key) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

func (w *shelf) RevokeKey(_ context.Context, _ time.Time, id string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for hash, k := range w.keys {
		if k.ID == id {
			delete(w.keys, hash)
			w.revoked[hash] = true
			return nil
		}
	}
	return fault(gateway.NotFound)
}

func (w *shelf) Healthy() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return cmp.Or(w.storeErr, w.fullErr)
}

// An answer is what a request got.
type answer struct {
	*http.Response
	body []byte
}

// do asks as key does ("" for nobody) and holds the answer against openapi.json.
// headers are "Name: value".
func (w *world) do(key, method, path, body string, headers ...string) answer {
	w.t.Helper()
	return w.doIn(context.Background(), key, method, path, body, headers...)
}

// doIn is do for a caller who may leave.
func (w *world) doIn(ctx context.Context, key, method, path, body string, headers ...string) answer {
	w.t.Helper()
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	} else {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	for _, h := range headers {
		name, v, _ := strings.Cut(h, ": ")
		if r.Header.Del(name); v != "" {
			r.Header.Add(name, v)
		}
	}
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	a := answer{rec.Result(), rec.Body.Bytes()}
	w.conforms(r, a)
	return a
}

var described = sync.OnceValue(func() map[string]any {
	var doc map[string]any
	json.Unmarshal(openAPI, &doc)
	return doc
})

// conforms fails the test if the description doesn't have this answer.
func (w *world) conforms(r *http.Request, a answer) {
	w.t.Helper()
	method, path, _ := strings.Cut(r.Pattern, " ")
	op := at(described(), "paths", path, strings.ToLower(method))
	if op == nil { // 404 and 405 of what isn't there
		return
	}
	answer, _ := at(op, "responses", strconv.Itoa(a.StatusCode)).(map[string]any)
	if answer == nil {
		w.t.Errorf("%s: the description has no %d: %s", r.Pattern, a.StatusCode, a.body)
		return
	}
	media, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	schema := at(answer, "content", media, "schema")
	switch {
	case schema == nil && len(a.body) > 0:
		w.t.Errorf("%s: the description has no %s for %d", r.Pattern, media, a.StatusCode)
	case strings.HasSuffix(media, "json"):
		values := [][]byte{a.body}
		if media == "application/x-ndjson" {
			values = bytes.Split(bytes.TrimSuffix(a.body, []byte("\n")), []byte("\n"))
		}
		for _, text := range values {
			var v any
			if err := json.Unmarshal(text, &v); err != nil {
				w.t.Errorf("%s: %v: %s", r.Pattern, err, text)
			}
			for _, bad := range conforms(described(), schema, v, "answer") {
				w.t.Errorf("%s: %s, says the description: %s", r.Pattern, bad, text)
			}
		}
	}
}

func read[T any](t testing.TB, a answer) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	return v
}

// text is a request for a text.
func textTo(openid, content string, more ...string) string {
	m, _ := encode(kefu.Message{To: openid, Body: kefu.Text{Content: content}})
	return `{"account":"` + shop + `","message":` + strings.TrimSpace(string(m)) + strings.Join(more, "") + `}`
}

func (w *world) Glance(ctx context.Context, account, openid string) (gateway.Window, int, error) {
	window, err := w.Window(ctx, account, openid)
	return window, 0, err
}
