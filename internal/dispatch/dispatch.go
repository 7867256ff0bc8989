// Package dispatch decides what is sent when. Each follower's messages stand in a
// lane; the head of a lane waits for its window, the account's rate and a slot, is
// marked as sending in a commit, posted once, and what came of it is committed
// before the next one's turn. policy.go says what a result means, package ledger
// what a window permits; the loops here only carry that out.
package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/ledger"
	"github.com/kefu-go/kefu/internal/store"
)

// A Config says what a Dispatcher works with.
type Config struct {
	Store   *store.Store
	Tokens  func(gateway.Account) kefu.TokenSource
	BaseURL string       // of WeChat
	HTTP    *http.Client // as in [kefu.Client]
	Log     *slog.Logger

	Now         func() time.Time // default time.Now
	Slots       int              // most posts at once; default 64
	SendTimeout time.Duration    // of one post; default 5 s
	Retries     Retries          // default [DefaultRetries]
	Keep        store.Retention  // default: for ever
	Heartbeat   time.Duration    // default 5 s; at most a third of [ledger.LongestGap]
	Media       Media            // default: none; then media ids alone can be sent, and none is renewed
}

// A Dispatcher delivers what the store keeps. Make one with [Start].
type Dispatcher struct {
	Config
	agenda   *agenda
	running  sync.WaitGroup
	changing sync.Mutex    // held while an account is changed, on disk and here
	stop     chan struct{} // closed by Stop
	once     sync.Once     // guards its closing
	takenUp  chan struct{} // closed when every lane has what earlier processes left
	fenced   chan struct{} // closed when another process has taken the database
	fence    sync.Once     // guards its closing
	jumps    bool          // Now is not the real time
	clock    *clock        // WeChat's
	readiers readiers
	atHand   atHand
	left     atomic.Int64 // messages of earlier processes that were read so far
	mostIdle int          // lanes in which nothing waits that are remembered

	mu       sync.Mutex // guards all below
	accounts map[string]*account
	lanes    map[laneKey]*lane
	idle     int                       // of lanes, those in which nothing waits
	watchers map[int64][]chan struct{} // by seq of a message; closed at its next change
	missed   time.Time                 // see [ledger.Policy]
}

type laneKey struct{ appid, openid string }

// An account is an official account with its way to WeChat. It is replaced, not
// changed; lanes look it up for each message.
type account struct {
	appid  string
	atHand *atHand    // the dispatcher's
	mu     sync.Mutex // guards all below
	given  gateway.Account
	policy ledger.Policy
	client *kefu.Client
	tries  Retries
	rate   *rate.Limiter
	gone   bool
	// tokenless: the last look found no access token, and lanes wait for one.
	tokenless bool

	standing standing
	saved    kept // of it, what is on disk
}

// transport is the way to WeChat: that of client, or one that keeps a connection
// for each slot, but none for long, and takes no proxy from the environment.
func transport(client *http.Client) http.RoundTripper {
	if client != nil && client.Transport != nil {
		return client.Transport
	}
	return &http.Transport{
		MaxIdleConnsPerHost: 256, IdleConnTimeout: 10 * time.Second, TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
	}
}

func (a *account) isGone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gone
}

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Slots == 0 {
		c.Slots = 64
	}
	if c.SendTimeout == 0 {
		c.SendTimeout = 5 * time.Second
	}
	if c.Retries == nil {
		c.Retries = DefaultRetries()
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 5 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	return c
}

// Start begins to deliver. What was on its way when an earlier process ended is unknown
// now; all else that it left is taken up by and by: see [Dispatcher.takeUp].
func Start(ctx context.Context, c Config) (*Dispatcher, error) {
	d, err := prepare(ctx, c)
	if err != nil {
		return nil, err
	}
	for range d.Slots {
		d.running.Go(d.work)
	}
	d.running.Go(d.takeUp)
	d.running.Go(d.keepTime)
	d.running.Go(d.beat)
	d.running.Go(d.tidy)
	return d, nil
}

// prepare is a dispatcher that knows its accounts and has nothing in its lanes.
func prepare(ctx context.Context, c Config) (*Dispatcher, error) {
	d := &Dispatcher{
		Config: c.withDefaults(), stop: make(chan struct{}), fenced: make(chan struct{}), jumps: c.Now != nil,
		takenUp: make(chan struct{}), mostIdle: mostIdle, accounts: map[string]*account{}, lanes: map[laneKey]*lane{}, watchers: map[int64][]chan struct{}{},
	}
	d.agenda = newAgenda(d.Slots)
	d.readiers.wait = &d.running
	d.clock = &clock{next: transport(d.HTTP), now: d.Now}
	accounts, err := d.Store.Accounts(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the accounts: %w", err)
	}
	for _, a := range accounts {
		if err := d.setAccount(ctx, a); err != nil {
			return nil, err
		}
	}
	now := d.Now()
	if d.missed, err = d.Store.Gap(ctx); err != nil {
		return nil, err
	}
	if last := d.Store.LastCommit(); !last.IsZero() {
		if err := d.alive(ctx, now.Sub(last)); err != nil {
			return nil, err
		}
	}
	lost, err := d.Store.Recover(ctx, now, func(store.Message) time.Time { return now.Add(Case{}.resendPause()) })
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	if len(lost) > 0 {
		d.Log.Warn("messages were on their way when the last process ended; they are unknown now", "messages", len(lost))
	}
	return d, nil
}

// Stop lets the posts under way end, keeps what came of them and returns. What
// did not leave stays queued.
func (d *Dispatcher) Stop() {
	d.once.Do(func() { close(d.stop) })
	d.agenda.close()
	d.readiers.close()
	d.running.Wait()
	if err := d.saveStandings(context.Background()); err != nil && !d.lost(err) {
		d.Log.Error("how many posts were made today could not be kept", "error", err)
	}
	if err := d.Store.Heartbeat(context.Background(), d.Now()); err != nil {
		d.Log.Error("the store can't be written", "error", err)
	}
}

// keepTime wakes lanes at their moments. Where Now is a clock that may jump, it
// looks every tenth of a second.
func (d *Dispatcher) keepTime() {
	for {
		wait := time.Minute
		if d.jumps {
			wait = 100 * time.Millisecond
		}
		now := d.Now()
		if next := d.agenda.due(now); !next.IsZero() {
			wait = min(wait, next.Sub(now))
		}
		t := time.NewTimer(wait)
		select {
		case <-d.stop:
			t.Stop()
			return
		case <-d.agenda.sooner:
			t.Stop()
		case <-t.C:
		}
	}
}

// tidyEvery is the pause between two times of forgetting what is kept for a time
// only, and tidyShare the most of the time that it takes then.
const (
	tidyEvery = time.Hour
	tidyShare = 10 // per cent
)

// tidy has the store forget, in slices, with pauses in which the others have it.
func (d *Dispatcher) tidy() {
	for wait := time.Minute; ; {
		t := time.NewTimer(wait)
		select {
		case <-d.stop:
			t.Stop()
			return
		case <-t.C:
		}
		began := time.Now()
		n, err := d.Store.Prune(context.Background(), d.Now(), d.Keep)
		switch {
		case d.lost(err):
			return
		case err != nil:
			d.Log.Error("old things can't be forgotten; trying again in an hour", "error", err)
			fallthrough
		case n == 0:
			wait = tidyEvery
		default:
			wait = time.Since(began) * (100/tidyShare - 1)
		}
	}
}

// beat writes down every so often that callbacks can be kept, so that a start can
// tell for how long they could not. They could not either while that failed, while it
// took its time, or while this process stood still.
func (d *Dispatcher) beat() {
	tick := time.NewTicker(d.Heartbeat)
	defer tick.Stop()
	kept := time.Now() // callbacks could be, last
	for {
		select {
		case <-d.stop:
			return
		case <-tick.C:
		}
		_ = d.saveStandings(context.Background()) // a failure shows below
		err := d.Store.Heartbeat(context.Background(), d.Now())
		if err == nil {
			err = d.Store.Healthy() // who takes a callback reads first
		}
		if d.lost(err) {
			return
		}
		if err == nil {
			if gap := time.Since(kept); gap > 2*d.Heartbeat { // a beat is missing
				err = d.alive(context.Background(), gap)
			}
		}
		if err != nil {
			d.Log.Error("callbacks can't be kept", "error", err)
			continue
		}
		kept = time.Now()
	}
}

// policy is what the account's settings, and the time in which callbacks were
// missed, say about windows.
func (d *Dispatcher) policy(a *account) ledger.Policy {
	d.mu.Lock()
	missed := d.missed
	d.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.policy
	p.Missed = missed
	return p
}

// Fenced returns a channel that is closed when another process has opened the
// database: this one can do nothing any more and must end.
func (d *Dispatcher) Fenced() <-chan struct{} { return d.fenced }

// lost notes that the store has refused this process for good.
func (d *Dispatcher) lost(err error) bool {
	if errors.Is(err, store.ErrFenced) {
		d.fence.Do(func() { close(d.fenced) })
		return true
	}
	return errors.Is(err, store.ErrClosed)
}

// alive notes that callbacks can be kept again after a gap. One that was longer
// than WeChat goes on trying makes what is known of windows a belief, and is kept:
// a restart must not make knowledge of it.
func (d *Dispatcher) alive(ctx context.Context, gap time.Duration) error {
	if gap <= ledger.LongestGap {
		return nil
	}
	now := d.Now()
	d.Log.Warn("callbacks could not be kept for a while; windows are beliefs until each follower acts", "for", gap.Round(time.Second))
	d.mu.Lock()
	d.missed = now
	d.mu.Unlock()
	d.doubt("")
	return d.Store.SetGap(ctx, now, now)
}

func (d *Dispatcher) stopping() bool {
	select {
	case <-d.stop:
		return true
	default:
		return false
	}
}

// mostIdle is how many followers' lanes stay in memory though nothing waits in them:
// one of a few hundred bytes saves reading the follower's ledger.
const mostIdle = 50_000

// enter returns the follower's lane, locked and with what the store knows of them;
// leave it with [Dispatcher.leave]. Without such an account the error is a Problem.
func (d *Dispatcher) enter(ctx context.Context, appid, openid string) (*lane, error) {
	d.mu.Lock()
	a := d.accounts[appid]
	d.mu.Unlock()
	if a == nil || a.isGone() {
		return nil, &gateway.Problem{Code: gateway.UnknownAccount}
	}
	return d.enterAny(ctx, appid, openid)
}

// enterAny is enter, also for an account that was deleted and still has messages.
func (d *Dispatcher) enterAny(ctx context.Context, appid, openid string) (*lane, error) {
	for {
		l := d.laneOf(appid, openid)
		l.mu.Lock()
		if l.gone { // forgotten between the two; there is another by now
			l.mu.Unlock()
			continue
		}
		if err := d.load(ctx, l); err != nil {
			l.mu.Unlock()
			return nil, err
		}
		return l, nil
	}
}

// leave unlocks a lane, and has one forgotten if nothing waits in too many.
func (d *Dispatcher) leave(l *lane) {
	if idle := l.idle(); idle != l.idles {
		d.mu.Lock()
		if l.idles = idle; idle {
			d.idle++
		} else {
			d.idle--
		}
		if d.idle > d.mostIdle && d.isUp() {
			d.forgetOne(l)
		}
		d.mu.Unlock()
	}
	l.mu.Unlock()
}

// forgetOne forgets an idle lane: one that comes to hand, so that those of followers
// who were here once don't stay for ever while those of today go; or else l, if it is
// idle. The caller holds d.mu and l.mu.
func (d *Dispatcher) forgetOne(l *lane) {
	looks := 0
	for _, other := range d.lanes { // begins anywhere
		if looks++; looks > 8 {
			break
		}
		if other == l || !other.mu.TryLock() {
			continue
		}
		idle := other.idles && other.idle()
		if idle {
			d.forget(other)
		}
		other.mu.Unlock()
		if idle {
			return
		}
	}
	if l.idles {
		d.forget(l)
	}
}

// forget takes out a lane; the caller holds d.mu and its lock.
func (d *Dispatcher) forget(l *lane) {
	delete(d.lanes, laneKey{l.account.appid, l.openid})
	d.idle--
	l.gone = true
}

// lane returns the follower's lane, or nil for an account that there is not.
func (d *Dispatcher) lane(appid, openid string) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := laneKey{appid, openid}
	l := d.lanes[k]
	if l == nil {
		a := d.accounts[appid]
		if a == nil {
			return nil
		}
		l = &lane{account: a, openid: openid}
		d.lanes[k] = l
	}
	return l
}

// load reads what the ledger knows of the follower, once, and before everything was
// taken up also what waits for them. An earlier process may
// have kept what the follower did and died before it let parked messages out.
func (d *Dispatcher) load(ctx context.Context, l *lane) error {
	if l.loaded {
		return nil
	}
	if err := d.readOwn(ctx, l); err != nil {
		return err
	}
	c, err := d.Store.Conversation(ctx, l.account.appid, l.openid)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if len(c.Ledger) > 0 {
		if err := json.Unmarshal(c.Ledger, &l.talk); err != nil {
			return fmt.Errorf("the ledger of a follower of %s can't be read: %w", l.account.appid, err)
		}
	}
	l.handling = c.Handling
	l.loaded = true
	now := d.Now()
	l.letOut = len(l.parked) > 0 && l.talk.Window(d.policy(l.account), now, 0).State == gateway.WindowOpen
	return nil
}

// changed tells those who wait for the message.
func (d *Dispatcher) changed(seq int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.watchers[seq] {
		close(w)
	}
	delete(d.watchers, seq)
}

// watch returns a channel that is closed at the message's next change, and the
// function that ends the watch.
func (d *Dispatcher) watch(seq int64) (<-chan struct{}, func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := make(chan struct{})
	d.watchers[seq] = append(d.watchers[seq], w)
	return w, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		left := slices.DeleteFunc(d.watchers[seq], func(o chan struct{}) bool { return o == w })
		if d.watchers[seq] = left; len(left) == 0 {
			delete(d.watchers, seq)
		}
	}
}

// Await returns the message once it is final, unknown or parked, or as it is when
// ctx ends.
func (d *Dispatcher) Await(ctx context.Context, id string) (gateway.Message, error) {
	m, err := d.Store.Message(context.WithoutCancel(ctx), id)
	if err != nil {
		return m.Message, problem(err)
	}
	for {
		w, end := d.watch(m.Seq)
		m, err = d.Store.Load(context.WithoutCancel(ctx), m.Seq)
		if err != nil || m.State.Final() || m.State == gateway.Unknown || m.State == gateway.Parked {
			end()
			return m.Message, problem(err)
		}
		select {
		case <-w:
		case <-ctx.Done():
			end()
			return m.Message, nil
		}
	}
}
