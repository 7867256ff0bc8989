package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

const (
	renewAhead   = 5 * time.Minute  // WeChat's overlap: a new token in the last five minutes
	renewPause   = 30 * time.Second // between renewals of a token that lives, however short its life
	fetchTime    = 20 * time.Second // of all that a wish takes; it outlives the caller that began it
	firstPause   = time.Second      // after a failed fetch; it doubles
	longestPause = time.Minute
	pollEvery    = 100 * time.Millisecond // while another process fetches
	mostUnkept   = 1000                   // events that wait for the store
)

// A keeper has one account's token.
type keeper struct {
	center *Center
	appid  string

	mu        sync.Mutex // guards all below
	given     gateway.Account
	tok       kefu.Token
	refused   *kefu.Error          // how WeChat refused tok; nil: it did not
	suspect   bool                 // tok is older than the AppSecret, or was handed over: others may end it
	flight    *flight              // under way, or nil
	wait      *WaitError           // why no token is to be had now
	err       error                // of the last fetch, if it failed
	failures  int                  // in a row
	pauseTo   time.Time            // no wish is carried out before
	renewAt   time.Time            // no renewal of a living token before
	contested time.Time            // when WeChat last refused a token of ours that had time left
	unkept    []gateway.TokenEvent // not recorded yet

	// A flight's own, of which there is one at a time:
	seen   kefu.Secret    // the store's token when last looked at
	use    store.TokenUse // as last known
	usedOn time.Time      // the day of use
}

// A flight is one wish carried out for any number of callers.
type flight struct {
	byForce bool
	done    chan struct{} // closed when tok and err are set
	tok     kefu.Token
	err     error
}

// Format prints no more than whose k is: fmt would show the secrets in its fields.
func (k *keeper) Format(f fmt.State, _ rune) { fmt.Fprint(f, "tokens of ", k.appid) }

func (k *keeper) set(a gateway.Account) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if a.TokenBudget == 0 {
		a.TokenBudget = limit("fetch").Max
	}
	if k.given.Secret != "" && !same(k.given.Secret, a.Secret) {
		k.suspect = true
	}
	k.given = a
	k.wait, k.err, k.failures, k.pauseTo = nil, nil, 0, time.Time{} // a new chance
}

func limit(call string) kefu.TokenLimit {
	for _, l := range kefu.TokenLimits() {
		if l.Call == call {
			return l
		}
	}
	panic("no limit for " + call)
}

// usable reports whether tok is to be sent with.
func (k *keeper) usable(now time.Time) bool { return k.refused == nil && lives(k.tok, now) }

// why there is no usable token, or why it is to be replaced.
func (k *keeper) why(now time.Time) string {
	switch {
	case k.tok.Value == "":
		return start
	case k.refused != nil && k.refused.Code == 42001:
		return expired
	case k.refused != nil && lives(k.tok, now):
		return refused
	}
	return expiry
}

// Token returns the account's token. One that is near its end is replaced in the
// background.
func (k *keeper) Token(ctx context.Context) (kefu.Token, error) {
	k.mu.Lock()
	now := k.center.Now()
	if k.usable(now) {
		tok := k.tok
		if !lives(tok, now.Add(renewAhead)) && !now.Before(k.renewAt) && k.given.TokenSource != gateway.SuppliedTokens {
			k.startLocked(ctx, now, expiry, ownDeed) // its failure shows when the token ends
		}
		k.mu.Unlock()
		return tok, nil
	}
	f, err := k.startLocked(ctx, now, k.why(now), ownDeed)
	k.mu.Unlock()
	if err != nil {
		return kefu.Token{}, err
	}
	return f.wait(ctx)
}

// Check asks WeChat for a token by the account's present set-up, also where there is one
// that lives: WeChat gives that again. A token from outside proves only itself. by is who
// wants to know.
func (k *keeper) Check(ctx context.Context, by string) error {
	_, _, err := k.ask(ctx, checked, by)
	if errors.Is(err, ErrSupplied) {
		_, err = k.Token(ctx)
	}
	return err
}

// ask gets WeChat's answer to a fetch of its own, when another that is under way is over:
// that may be with an earlier secret, or of a token that is there already. before is the
// token that there was; err is ErrSupplied where none is fetched.
func (k *keeper) ask(ctx context.Context, why, by string) (tok kefu.Token, before kefu.Secret, err error) {
	for {
		k.mu.Lock()
		if k.given.TokenSource == gateway.SuppliedTokens {
			k.mu.Unlock()
			return kefu.Token{}, "", ErrSupplied
		}
		under, before := k.flight, k.tok.Value
		if under == nil {
			f, err := k.startLocked(ctx, k.center.Now(), why, by)
			k.mu.Unlock()
			if err != nil {
				return kefu.Token{}, before, err
			}
			tok, err := f.wait(ctx)
			return tok, before, err
		}
		k.mu.Unlock()
		if _, err := under.wait(ctx); err != nil && errors.Is(err, ctx.Err()) {
			return kefu.Token{}, before, err
		}
	}
}

// ownDeed is who does what nobody has asked for.
const ownDeed = "gateway"

// Refused notes how WeChat refused a token.
func (k *keeper) Refused(stale kefu.Token, why *kefu.Error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.refusedLocked(stale, why)
}

func (k *keeper) refusedLocked(stale kefu.Token, why *kefu.Error) {
	now := k.center.Now()
	if k.refused != nil || !same(stale.Value, k.tok.Value) {
		return // known, or of one that is replaced
	}
	k.refused = why
	if why.Code != 42001 && k.ours() && lives(k.tok, now) {
		k.contested = now
	}
}

// ours reports whether nobody but a rival has a reason to end tok.
func (k *keeper) ours() bool { return !k.suspect && k.given.TokenSource != gateway.SuppliedTokens }

// Refresh returns a token other than stale, if there is one by now or can be.
func (k *keeper) Refresh(ctx context.Context, stale kefu.Token) (kefu.Token, error) {
	k.mu.Lock()
	now := k.center.Now()
	if k.usable(now) && !same(stale.Value, k.tok.Value) {
		tok := k.tok
		k.mu.Unlock()
		return tok, nil
	}
	k.refusedLocked(stale, &kefu.Error{Op: "?", Code: 40001})
	f, err := k.startLocked(ctx, now, k.why(now), ownDeed)
	k.mu.Unlock()
	if err != nil {
		return kefu.Token{}, err
	}
	return f.wait(ctx)
}

// NextAt returns when to ask again, if there is no token and the reason is known; the
// zero time: there is one, or a call of Token may bring one. When the moment comes
// the store, or WeChat, is asked from here, so that nobody's post has to find out.
func (k *keeper) NextAt() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.center.Now()
	if k.usable(now) || k.wait == nil && !k.busyLocked() && k.given.TokenSource != gateway.SuppliedTokens {
		return time.Time{}
	}
	if k.flight == nil && now.Before(k.pauseTo) {
		return k.pauseTo
	}
	k.startLocked(context.Background(), now, k.why(now), ownDeed) // what comes of it shows at the next call
	return now.Add(pollEvery)
}

// busyLocked reports whether WeChat would not give a token just now. That of a wrong
// set-up a post has to find out: it pauses the account.
func (k *keeper) busyLocked() bool {
	var refused *kefu.Error
	return errors.As(k.err, &refused) && refused.Class() != kefu.ErrAccountConfig
}

// startLocked joins the flight under way or begins one.
func (k *keeper) startLocked(ctx context.Context, now time.Time, why, by string) (*flight, error) {
	if k.flight != nil {
		return k.flight, nil
	}
	if now.Before(k.pauseTo) && !askedFor(why) {
		if k.wait != nil {
			return nil, k.wait
		}
		return nil, k.err
	}
	w := wish{
		now: now, why: why, by: by, stale: k.tok.Value, seen: k.seen, waits: k.given.TokenSource == gateway.SuppliedTokens,
		contested: why == refused && k.ours(),
		fetches:   limit("fetch"), forces: limit("force"),
	}
	w.fetches.Max = k.given.TokenBudget
	wechat := kefu.StableToken{AppID: k.appid, Secret: k.given.Secret, BaseURL: k.center.BaseURL, HTTP: k.center.HTTP, ForceRefresh: why == forced}
	errcode := 0
	if k.refused != nil {
		errcode = k.refused.Code
	}
	f := &flight{byForce: why == forced, done: make(chan struct{}), err: errors.New("the fetch of a token ended without an answer")} // until it does
	k.flight = f
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTime)
		defer cancel()
		defer k.land(f)
		f.tok, f.err = k.carryOut(ctx, w, wechat, errcode)
	}()
	return f, nil
}

// land takes up what a flight has brought.
func (k *keeper) land(f *flight) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flight = nil
	now := k.center.Now()
	var wait *WaitError
	switch {
	case f.err == nil:
		k.suspect = k.suspect && same(k.tok.Value, f.tok.Value)
		k.tok, k.refused = f.tok, nil
		k.wait, k.err, k.failures, k.pauseTo = nil, nil, 0, time.Time{}
	case f.byForce: // nobody waits for that but who wanted it
	case errors.As(f.err, &wait):
		k.wait, k.pauseTo = wait, wait.Until
		if most := now.Add(refusedGap); k.pauseTo.After(most) { // another process may bring one
			k.pauseTo = most
		}
	default:
		k.wait, k.err = nil, f.err
		k.pauseTo = now.Add(min(firstPause<<min(k.failures, 10), longestPause))
		k.failures++
	}
	close(f.done)
}

func (f *flight) wait(ctx context.Context) (kefu.Token, error) {
	select {
	case <-f.done:
		return f.tok, f.err
	case <-ctx.Done():
		return kefu.Token{}, ctx.Err()
	}
}

// carryOut asks the store what to do about a wish, and does it.
func (k *keeper) carryOut(ctx context.Context, w wish, wechat kefu.StableToken, errcode int) (kefu.Token, error) {
	for {
		v, event, inStore := k.claim(ctx, w, errcode)
		switch v.act {
		case adopt:
			k.seen = inStore.Value
			return inStore, nil
		case refuse:
			return kefu.Token{}, v.err
		case fetch:
			return k.fetch(ctx, w, wechat, event, inStore.Value)
		}
		if err := k.others(ctx, w); err != nil {
			return kefu.Token{}, err
		}
		w.now = k.center.Now()
	}
}

// claim decides about a wish, with the store if it can be asked, else by what memory
// knows. event is that of the fetch, if that is the verdict.
func (k *keeper) claim(ctx context.Context, w wish, errcode int) (v verdict, event gateway.TokenEvent, inStore kefu.Token) {
	day := dayOf(w.now)
	settle := func(u store.TokenUse) store.TokenClaim {
		v = decide(u, w)
		var claim store.TokenClaim
		if v.act == fetch {
			claim.Events = append(claim.Events, k.event(gateway.TokenFetched, w.why, w.by, w.now))
		}
		for _, n := range v.notices {
			claim.Events = append(claim.Events, k.event(n, w.why, w.by, w.now))
			claim.Entries = append(claim.Entries, k.entry(n, errcode, v))
		}
		return claim
	}
	k.keepUp(ctx, w.now)
	claim, use, err := k.center.Store.ClaimToken(ctx, w.now, day, k.appid, settle)
	if err != nil {
		k.center.Log.Warn("the record of access tokens can't be read; memory decides", "account", k.appid, "error", err)
		if use = k.use; !k.usedOn.Equal(day) {
			use.Fetched, use.Forced = 0, 0
		}
		use.Token, use.Pending = kefu.Token{Value: k.seen}, time.Time{}
		claim = settle(use)
		for _, e := range claim.Events {
			if e.Action != gateway.TokenFetched { // that is recorded with its outcome
				k.later(e)
			}
		}
	} else {
		k.seen = use.Token.Value
		if v.act == adopt {
			k.seen = "" // until it is taken
		}
	}
	k.use, k.usedOn = use, day
	for _, e := range claim.Events {
		k.use = after(k.use, e)
		if e.Action == gateway.TokenFetched {
			event = e
		} else {
			k.say(e.Action, errcode)
		}
	}
	return v, event, use.Token
}

// others waits until another process's fetch has come to something.
func (k *keeper) others(ctx context.Context, w wish) error {
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("another process is fetching a token: %w", ctx.Err())
		case <-time.After(pollEvery):
		}
		now := k.center.Now()
		u, err := k.center.Store.TokenUse(ctx, now, dayOf(now), k.appid)
		if err != nil || !u.Pending.After(now.Add(-patience)) || !same(u.Token.Value, k.seen) {
			return nil
		}
	}
}

// fetch asks WeChat and keeps what it gives.
func (k *keeper) fetch(ctx context.Context, w wish, wechat kefu.StableToken, event gateway.TokenEvent, old kefu.Secret) (kefu.Token, error) {
	asked := time.Now()
	tok, err := wechat.Token(ctx)
	now := k.center.Now()
	if err != nil {
		k.record(ctx, now, failed(event, err))
		return kefu.Token{}, err
	}
	k.mu.Lock()
	k.renewAt = now.Add(renewPause)
	k.mu.Unlock()
	tok.Expiry = w.now.Add(tok.Expiry.Sub(asked)).Truncate(time.Millisecond) // by our clock, which may jump
	event.Outcome, event.ExpiresAt = "ok", timeOf(tok.Expiry)
	if same(tok.Value, w.stale) {
		event.Outcome = "same"
	}
	ctx = context.WithoutCancel(ctx)
	kept, err := k.center.Store.SwapToken(ctx, now, k.appid, old, tok, event)
	if err != nil {
		k.center.Log.Warn("the access token can't be kept; it is used all the same", "account", k.appid, "error", err)
		k.later(event)
		return tok, nil
	}
	k.seen = kept.Value
	return kept, nil
}

// failed is a fetch's event after it failed.
func failed(event gateway.TokenEvent, err error) gateway.TokenEvent {
	var answer *kefu.Error
	switch {
	case errors.As(err, &answer):
		event.Outcome, event.ErrCode = "refused", answer.Code
	case kefu.ClassOf(err) == kefu.ErrNotDelivered:
		event.Outcome = "not-delivered"
	default:
		event.Outcome = "unknown"
	}
	return event
}

// record writes events down, now or later.
func (k *keeper) record(ctx context.Context, now time.Time, events ...gateway.TokenEvent) {
	if err := k.center.Store.RecordToken(context.WithoutCancel(ctx), now, events...); err != nil {
		k.center.Log.Warn("what became of a fetch can't be recorded yet", "account", k.appid, "error", err)
		k.later(events...)
	}
}

// later remembers events that the store could not take.
func (k *keeper) later(events ...gateway.TokenEvent) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unkept = append(k.unkept, events...)
	if over := len(k.unkept) - mostUnkept; over > 0 {
		k.unkept = k.unkept[over:]
	}
}

// keepUp records what waits for the store.
func (k *keeper) keepUp(ctx context.Context, now time.Time) {
	k.mu.Lock()
	waiting := k.unkept
	k.mu.Unlock()
	if len(waiting) == 0 || k.center.Store.RecordToken(ctx, now, waiting...) != nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.unkept = k.unkept[min(len(waiting), len(k.unkept)):]
}

func (k *keeper) event(action gateway.TokenAction, why, by string, at time.Time) gateway.TokenEvent {
	return gateway.TokenEvent{At: gateway.At(at), Account: k.appid, Action: action, Why: why, By: by}
}

// texts say what a notice means and what to do.
var texts = map[gateway.TokenAction]string{
	gateway.TokenContested: "another system ends the account's access tokens; let all use stable_token, or let one place fetch and the others ask it",
	gateway.TokenLow:       "four fifths of the account's token fetches of today are used; look for who fetches so often: kefu token audit",
	gateway.TokenSpent:     "no more tokens are fetched for the account until midnight in Beijing; hand one over with kefu token import, or find who fetches so often: kefu token audit",
	gateway.TokenWaits:     "the account waits for an access token from outside; hand one over with kefu token import",
	gateway.TokenSupplied:  "an access token was handed over",
}

func (k *keeper) say(notice gateway.TokenAction, errcode int) {
	if errcode != 0 {
		k.center.Log.Warn(texts[notice], "account", k.appid, "errcode", errcode)
		return
	}
	k.center.Log.Warn(texts[notice], "account", k.appid)
}

// entry is a notice's line in the feed.
func (k *keeper) entry(notice gateway.TokenAction, errcode int, v verdict) store.Entry {
	data := struct {
		ErrCode int           `json:"errcode,omitempty"`
		NextAt  *gateway.Time `json:"next_at,omitempty"`
		Advice  string        `json:"advice"`
	}{ErrCode: errcode, Advice: texts[notice]}
	if v.err != nil && notice != gateway.TokenWaits {
		data.NextAt = timeOf(v.err.Until)
	}
	b, err := json.Marshal(data)
	if err != nil {
		panic(err) // a plain struct
	}
	return store.Entry{Account: k.appid, Type: "token." + string(notice), Data: b}
}

func timeOf(t time.Time) *gateway.Time {
	if t.IsZero() {
		return nil
	}
	at := gateway.At(t)
	return &at
}
