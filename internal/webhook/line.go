package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/store"
)

// How much of the feed an endpoint has in memory.
const (
	mostAhead  = 1024                 // entries
	bytesAhead = 4 << 20              // of their data
	slice      = 256                  // entries read at once, see reader
	readEvery  = 5 * time.Millisecond // under load many entries are read at once
	saveEvery  = time.Second
	retryStore = time.Second // after the store failed
)

// A follower is whose deliveries go one after the other; without an openid: those about
// the account.
type follower struct{ account, openid string }

// A job is an entry that the endpoint wants and that was never tried.
type job struct {
	entry  gateway.FeedEntry
	before string // the place in the feed right before it
	flying bool
	done   bool
}

func (j *job) whose() follower { return follower{j.entry.Account, j.entry.OpenID} }

// A hold is a delivery that failed and keeps the later ones of its follower waiting.
type hold struct {
	cursor string
	until  time.Time
}

// A line is the calls to one endpoint. All but reload, results and erased belongs to run.
type line struct {
	hub     *Hub
	id      string
	reload  chan struct{}
	results chan result

	hook     store.Webhook
	loaded   bool
	read     string          // the feed was read up to here
	readAt   time.Time       // when
	tried    map[string]bool // after the endpoint's place when the line began
	window   []*job          // in order; the first is not done
	bytes    int             // of the data in it
	flying   int
	retrying map[string]bool // cursors of deliveries whose next try is under way
	busy     map[follower]bool
	held     map[follower]hold
	due      time.Time        // when pending deliveries are to be looked at
	queue    []store.Delivery // those that are due
	replays  bool             // there may be some
	saved    string
	savedAt  time.Time
	failing  time.Time // no try has worked since

	erased []follower // since drop looked; the hub's lock guards it
}

func newLine(h *Hub, id string) *line {
	return &line{
		hub: h, id: id, reload: make(chan struct{}, 1), results: make(chan result, 64),
		tried: map[string]bool{}, retrying: map[string]bool{}, busy: map[follower]bool{}, held: map[follower]hold{},
	}
}

// A result is how a try ended.
type result struct {
	job      *job // nil: a later try
	delivery store.Delivery
	gone     bool // the endpoint said so
	lost     bool // it counts for nothing: the process ends, or the store could not be read
}

// run is the line's goroutine.
func (l *line) run() {
	defer func() {
		for l.flying > 0 {
			l.ended(<-l.results)
		}
		l.save(true)
		l.hub.forget(l)
	}()
	for !l.hub.stopping() {
		changed := l.hub.Store.Changed()
		wake, err := l.step()
		switch {
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFenced):
			return
		case err != nil:
			l.hub.Log.Error("a webhook can't be read from the store", "webhook", l.id, "err", err)
			wake = time.Now().Add(retryStore)
		case !l.hook.Enabled || l.full():
			changed = nil
		}
		wait := time.Hour
		if !wake.IsZero() {
			wait = max(0, wake.Sub(l.hub.Now()))
		}
		if l.hub.jumps {
			wait = min(wait, 100*time.Millisecond)
		}
		t := time.NewTimer(wait)
		select {
		case <-l.hub.stop:
		case <-changed:
			time.Sleep(readEvery - time.Since(l.readAt))
		case <-t.C:
		case <-l.reload:
			l.loaded = false
		case r := <-l.results:
			l.ended(r)
			for range len(l.results) {
				l.ended(<-l.results)
			}
		}
		t.Stop()
	}
}

func (l *line) full() bool { return len(l.window) >= mostAhead || l.bytes >= bytesAhead }

// step begins what can begin and returns when time alone allows more; zero: never.
func (l *line) step() (wake time.Time, err error) {
	if !l.loaded {
		if err := l.load(); err != nil {
			return wake, err
		}
	}
	if err := l.drop(); err != nil {
		return wake, err
	}
	if !l.hook.Enabled {
		l.save(false)
		return wake, nil
	}
	now := l.hub.Now()
	if err := l.fill(); err != nil {
		return wake, err
	}
	if err := l.retry(now); err != nil {
		return wake, err
	}
	wake = l.begin(now)
	if len(l.queue) == 0 {
		wake = earlier(wake, l.due)
	}
	if at := l.place(); at != l.saved {
		if !l.save(false) {
			wake = earlier(wake, l.savedAt.Add(saveEvery))
		}
	}
	return wake, nil
}

// load reads the settings, and at the first time where the endpoint stands.
func (l *line) load() error {
	ctx := l.hub.ctx
	hook, err := l.hub.Store.Webhook(ctx, l.id)
	if err != nil {
		return err
	}
	first := l.hook.ID == ""
	l.hook, l.replays, l.due, l.failing = hook, true, l.hub.Now(), time.Time{}
	if hook.FailingSince != nil {
		l.failing = hook.FailingSince.Time
	}
	if !first {
		l.loaded = true
		return nil
	}
	l.read, l.saved = hook.Cursor, hook.Cursor
	tried, err := l.hub.Store.Deliveries(ctx, l.id, hook.Cursor, "")
	if err != nil {
		l.hook.ID = ""
		return err
	}
	for _, d := range tried {
		l.tried[d.Cursor] = true
	}
	pending, err := l.hub.Store.PendingDeliveries(ctx, l.id, mostAhead)
	if err != nil {
		l.hook.ID = ""
		return err
	}
	for _, d := range pending {
		if until := d.FirstAt.Add(passAfter); !d.OutOfOrder && until.After(l.hub.Now()) {
			l.held[follower{d.Account, d.OpenID}] = hold{d.Cursor, until}
		}
	}
	l.loaded = true
	return nil
}

// wants reports whether an endpoint is called with an entry.
func wants(hook store.Webhook, e gateway.FeedEntry) bool {
	if len(hook.Accounts) > 0 && !slices.Contains(hook.Accounts, e.Account) || !Matches(hook.Types, e.Type) {
		return false
	}
	if e.Type == "webhook.disabled" { // its own: it could hear of it only afterwards
		var d struct {
			Webhook string `json:"webhook"`
		}
		return json.Unmarshal(e.Data, &d) != nil || d.Webhook != hook.ID
	}
	return true
}

// fill reads on in the feed as far as there is room.
func (l *line) fill() error {
	l.readAt = time.Now()
	for !l.full() {
		entries, next, err := l.hub.feed.after(l.hub.ctx, l.read)
		if errors.Is(err, store.ErrCursorGone) {
			head, err := l.hub.Store.Head(l.hub.ctx)
			if err != nil {
				return err
			}
			l.hub.Log.Error("the feed does not reach back to where a webhook stands; it goes on with what there is", "webhook", l.id, "cursor", l.read)
			if l.read = ""; len(head) < len(l.saved) || len(head) == len(l.saved) && head < l.saved { // an older database
				l.read = head
			}
			continue
		}
		if err != nil {
			return err
		}
		before := l.read
		for _, e := range entries {
			if wants(l.hook, e) && !l.tried[e.Cursor] {
				l.window = append(l.window, &job{entry: e, before: before})
				l.bytes += len(e.Data)
			}
			delete(l.tried, e.Cursor)
			before = e.Cursor
		}
		if next == l.read {
			return nil
		}
		l.read = next
	}
	return nil
}

// place is the cursor up to which all that the endpoint wants was tried and kept.
func (l *line) place() string {
	if len(l.window) > 0 {
		return l.window[0].before
	}
	return l.read
}

// save writes the place down, once a second at most.
func (l *line) save(now bool) (done bool) {
	at := l.place()
	if at == l.saved || !l.loaded {
		return true
	}
	if t := l.hub.Now(); !now && t.Sub(l.savedAt).Abs() < saveEvery {
		return false
	} else if err := l.hub.Store.MoveWebhook(context.Background(), t, l.id, at); err != nil {
		return false // it is only repeated work that it saves
	} else {
		l.saved, l.savedAt = at, t
	}
	return true
}

// begin starts the first tries that can start: not while a delivery of the same
// follower is under way or waits before them, nor while one that failed holds them.
func (l *line) begin(now time.Time) (wake time.Time) {
	seen := map[follower]bool{}
	for _, j := range l.window {
		if l.flying >= l.hook.Concurrency {
			return wake
		}
		who := j.whose()
		if j.done || seen[who] {
			continue
		}
		seen[who] = true
		if j.flying || l.busy[who] {
			continue
		}
		if h := l.held[who]; now.Before(h.until) {
			wake = earlier(wake, h.until)
			continue
		}
		delete(l.held, who)
		pause := l.hook.Schedule[0].Duration()
		if start := j.entry.At.Add(pause); now.Before(start) && start.Sub(now) <= pause {
			wake = earlier(wake, start)
			continue
		}
		if !l.hub.enter(l, who) {
			continue // it is being erased
		}
		j.flying = true
		l.start(who, j, store.Delivery{Webhook: l.id, Cursor: j.entry.Cursor, Account: who.account, OpenID: who.openid, FirstAt: now})
	}
	return wake
}

// retry starts later tries that are due: with half of the places, if there are first
// ones too.
func (l *line) retry(now time.Time) error {
	if len(l.queue) == 0 && !now.Before(l.due) {
		if err := l.dueNow(now); err != nil {
			return err
		}
	}
	places := l.hook.Concurrency
	if len(l.window) > 0 {
		places = max(1, places/2)
	}
	l.queue = slices.DeleteFunc(l.queue, func(d store.Delivery) bool {
		who := follower{d.Account, d.OpenID}
		if l.retrying[d.Cursor] {
			return true
		}
		if l.busy[who] || len(l.retrying) >= places || l.flying >= l.hook.Concurrency || !l.hub.enter(l, who) {
			return false // at the end of a try, or of an erasure
		}
		l.retrying[d.Cursor] = true
		l.start(who, nil, d)
		return true
	})
	if l.replays && len(l.queue) == 0 {
		return l.replay(now)
	}
	return nil
}

// dueNow reads what is due into the queue, and when to look again.
func (l *line) dueNow(now time.Time) error {
	pending, err := l.hub.Store.PendingDeliveries(l.hub.ctx, l.id, slice)
	if err != nil {
		return err
	}
	l.due = now.Add(time.Hour)
	if len(pending) == slice {
		l.due = now // there may be more
	}
	for _, d := range pending {
		if d.NextAt.After(now) {
			l.due = d.NextAt
			break
		}
		if !l.retrying[d.Cursor] {
			l.queue = append(l.queue, d)
		}
	}
	return nil
}

// replay makes the next part of a replay pending.
func (l *line) replay(now time.Time) error {
	part, err := l.hub.Store.NextReplay(l.hub.ctx, l.id, slice)
	if errors.Is(err, store.ErrNotFound) {
		l.replays = false
		return nil
	} else if err != nil {
		return err
	}
	entries := slices.DeleteFunc(part.Entries, func(e gateway.FeedEntry) bool { return !wants(l.hook, e) || l.retrying[e.Cursor] })
	if err := l.hub.Store.Replayed(l.hub.ctx, now, part, entries); err != nil {
		return err
	}
	l.due = now
	l.wakeSoon()
	return nil
}

// wakeSoon has run look again at once.
func (l *line) wakeSoon() {
	select {
	case l.reload <- struct{}{}:
	default:
	}
}

// start begins a try, for which the hub was entered.
func (l *line) start(who follower, j *job, d store.Delivery) {
	l.flying++
	l.busy[who] = true
	hook := l.hook
	go func() {
		r := l.hub.try(hook, j, d)
		l.results <- r
		l.hub.leave(who)
	}()
}

// ended takes up how a try ended.
func (l *line) ended(r result) {
	d := r.delivery
	who := follower{d.Account, d.OpenID}
	l.flying--
	delete(l.busy, who)
	if r.job == nil {
		delete(l.retrying, d.Cursor)
	}
	if r.lost {
		if r.job != nil {
			r.job.flying = false
		} else {
			l.due = earlier(l.due, l.hub.Now().Add(retryStore)) // it is in the store still
		}
		return
	}
	switch now := l.hub.Now(); {
	case d.State != store.Pending:
		if l.held[who].cursor == d.Cursor {
			delete(l.held, who)
		}
	default:
		if until := d.FirstAt.Add(passAfter); !d.OutOfOrder && until.After(now) {
			l.held[who] = hold{d.Cursor, until}
		}
		l.due = earlier(l.due, d.NextAt)
	}
	switch {
	case d.State == store.Delivered:
		l.failing = time.Time{}
	case d.Unwanted: // nobody was asked
	case l.failing.IsZero():
		l.failing = l.hub.Now()
	}
	if r.job != nil {
		r.job.done = true
		l.trim()
	}
	var because bilingual.Text
	switch {
	case r.gone:
		because = bilingual.Both("the endpoint answered 410 Gone", "对方返回 410 Gone，表示不再接收")
	case !l.failing.IsZero() && l.hub.Now().Sub(l.failing) >= l.hook.DisableAfter.Duration():
		because = bilingual.Both("no try has worked since %s", "自 %s 起没有一次成功", l.failing.UTC().Format(time.RFC3339))
	}
	if because != "" && l.hook.Enabled {
		if err := l.disable(because); err != nil { // the next try that fails brings it here again
			l.hub.Log.Error("a webhook can't be disabled", "webhook", l.id, "err", err)
		}
	}
}

// trim takes what is done from the beginning of the window.
func (l *line) trim() {
	for len(l.window) > 0 && l.window[0].done {
		l.bytes -= len(l.window[0].entry.Data)
		l.window[0] = nil
		l.window = l.window[1:]
	}
}

// disable ends the calls until the endpoint is enabled again, and says so in the feed of
// each of its accounts.
func (l *line) disable(because bilingual.Text) error {
	ctx := l.hub.ctx
	accounts := l.hook.Accounts
	if len(accounts) == 0 {
		all, err := l.hub.Store.Accounts(ctx)
		if err != nil {
			return err
		}
		for _, a := range all {
			accounts = append(accounts, a.AppID)
		}
	}
	data, err := json.Marshal(map[string]string{"webhook": l.id, "name": l.hook.Name, "because": because.In("en")})
	if err != nil {
		return err
	}
	var entries []store.Entry
	for _, appid := range accounts {
		entries = append(entries, store.Entry{Account: appid, Type: "webhook.disabled", Data: data})
	}
	if err := l.hub.Store.DisableWebhook(ctx, l.hub.Now(), l.id, string(because), entries...); err != nil {
		return err
	}
	l.hub.Log.Warn("a webhook is disabled", "webhook", l.id, "because", because.In("en"))
	l.loaded = false
	l.wakeSoon()
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
