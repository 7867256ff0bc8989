package dispatch

import (
	"context"
	"errors"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/failpoint"
	"github.com/kefu-go/kefu/internal/ledger"
	"github.com/kefu-go/kefu/internal/store"
)

// work looks at one lane after the other until the end.
func (d *Dispatcher) work() {
	for {
		l := d.agenda.next()
		if l == nil {
			return
		}
		d.look(l)
		d.agenda.done(l)
	}
}

// poke has the agenda look at l for what is next in it. The caller holds l.mu.
func (d *Dispatcher) poke(l *lane) { d.agenda.poke(l, l.priority(d.Now())) }

// mostMoves is how many messages one look withholds before others get the lane:
// callbacks of the follower wait for it.
const mostMoves = 100

// look does what is due in a lane: lets out what was parked, lets in and ends what
// its time says, withholds what can't be sent, and posts at most one message.
func (d *Dispatcher) look(l *lane) {
	l.mu.Lock()
	if l.gone {
		l.mu.Unlock()
		return
	}
	defer d.leave(l)
	defer d.wakeAt(l)
	ctx := context.Background()
	if l.sending != nil || d.stopping() || d.Now().Before(l.hold) {
		return
	}
	l.hold = time.Time{}
	if err := d.load(ctx, l); err != nil {
		d.rest(l, "read the ledger", err)
		return
	}
	for range mostMoves {
		now := d.Now()
		if l.letOut && !d.release(ctx, l, now) || !d.byTime(ctx, l, now) {
			return
		}
		it, wait := l.head(now)
		if it == nil && wait.IsZero() {
			it = d.oldestParked(ctx, l, now)
		}
		if it == nil {
			return
		}
		if rank(l.priority(now)) > l.lineRank { // it was looked at for something else, and waits behind what is more urgent
			d.poke(l)
			return
		}
		switch posted, ok := d.turn(ctx, l, it, now); {
		case !ok:
			return
		case posted:
			if !l.idle() {
				d.poke(l) // behind the other lanes
			}
			return
		}
	}
	d.poke(l)
}

// byTime ends what has expired and lets in what is due. It reports false if the
// store could not keep that.
func (d *Dispatcher) byTime(ctx context.Context, l *lane, now time.Time) bool {
	for _, it := range l.expired(now) {
		out := &gateway.Outcome{Reason: "expired", Advice: "it was not sent in time; send it again if it is still of use"}
		if !d.move(ctx, l, it, now, store.Move{To: gateway.Expired, Outcome: out}) {
			l.soonest = it.expires // it, and perhaps others, are still here
			return false
		}
	}
	for _, it := range l.due(now) {
		if !d.move(ctx, l, it, now, store.Move{To: gateway.Queued}) {
			return false
		}
	}
	return true
}

// move takes a waiting item to another state, on disk and then in the lane. It
// reports false if the store could not keep it; the lane is then looked at later.
func (d *Dispatcher) move(ctx context.Context, l *lane, it *item, now time.Time, m store.Move) bool {
	m.Seq, m.From = it.seq, it.State()
	if err := d.Store.Move(ctx, now, m); err != nil {
		d.failed(l, "move a message", err)
		return false
	}
	failpoint.Here("move.kept")
	l.remove(it)
	it.become(m.To)
	it.retryAt = at(m.RetryAt)
	if it.number == 0 && m.To == gateway.Queued { // its place in the lane was drawn in the commit
		fresh, err := d.Store.Load(ctx, it.seq)
		if err != nil {
			l.add(it) // as not yet let in: it is let in again
			d.rest(l, "read a message", err)
			return false
		}
		it.number = fresh.Number
	}
	if hasPlace(m.To, m.RetryAt) {
		l.add(it)
	}
	d.changed(it.seq)
	return true
}

// hasPlace reports whether a message of that state has a place in its lane: whether
// something can still happen to it by itself.
func hasPlace(s gateway.State, resendAt time.Time) bool {
	return s == gateway.Queued || s == gateway.Parked || s == gateway.Unknown && !resendAt.IsZero()
}

// release lets parked messages out, oldest first, as many as the ledger allows, in
// one commit. It reports false if that could not be kept; it is then done later.
func (d *Dispatcher) release(ctx context.Context, l *lane, now time.Time) bool {
	var out []*item
	if len(l.parked) > 0 {
		free, all := l.talk.Release(d.policy(l.account), now)
		out = fitting(l.parked, free, all, l.ahead(gateway.Normal))
	}
	n := len(out)
	moves := make([]store.Move, n)
	for i, it := range out {
		moves[i] = store.Move{Seq: it.seq, From: gateway.Parked, To: gateway.Queued}
	}
	if n > 0 {
		if err := d.Store.Move(ctx, now, moves...); err != nil {
			d.failed(l, "let messages out", err)
			return false
		}
		failpoint.Here("release.kept")
	}
	for _, it := range out {
		l.remove(it)
		it.become(gateway.Queued)
		it.retryAt, it.fromPark = 0, false
		l.add(it)
		d.changed(it.seq)
	}
	l.letOut = n == mostMoves // then there may be more
	return true
}

// fitting chooses of parked messages those that come out, oldest first. all are the
// free slots, free those of them that are not kept, taken those that are used before.
// A long text may take kept slots. One that finds too few stays, and others pass it:
// it may need more than the follower's next act gives.
func fitting(parked []*item, free, all, taken int) (out []*item) {
	for _, it := range parked {
		most := free
		if it.parts > 0 && it.Priority() != gateway.Bulk {
			most = all
		}
		switch n := it.slots(); {
		case len(out) == mostMoves || taken >= all:
			return out
		case n <= most-taken:
			taken += n
			out = append(out, it)
		case it.parts == 0:
			return out
		}
	}
	return out
}

// oldestParked lets the oldest parked message out for a try, where the window may
// be open although nothing was heard. It returns nil if none is due.
func (d *Dispatcher) oldestParked(ctx context.Context, l *lane, now time.Time) *item {
	if len(l.parked) == 0 {
		return nil
	}
	it := l.parked[0]
	v := l.talk.Foresee(d.policy(l.account), now, 0, ledger.Asking{Priority: it.Priority(), Parked: true})
	if v.Act == ledger.Withhold {
		if !v.Until.IsZero() {
			d.agenda.at(l, v.Until)
		}
		return nil
	}
	if until, stopped := l.account.stopped(now); stopped {
		d.agenda.gate(l, until)
		return nil
	}
	it.fromPark = true
	if !d.move(ctx, l, it, now, store.Move{To: gateway.Queued}) {
		return nil
	}
	return it
}

// rest has the lane looked at again in a second, after the store failed; not
// before, whatever is due.
func (d *Dispatcher) rest(l *lane, doing string, err error) {
	if d.lost(err) {
		l.hold = d.Now().Add(time.Hour) // for ever: this process ends
		return
	}
	d.Log.Error("the store failed; trying again", "doing", doing, "account", l.account.appid, "error", err)
	l.hold = d.Now().Add(time.Second)
	d.agenda.at(l, l.hold)
}

// failed is rest for a change of messages, unless the store has one of them in another
// state.
func (d *Dispatcher) failed(l *lane, doing string, err error) {
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		d.follow(l, conflict.Message)
		return
	}
	d.rest(l, doing, err)
}

// follow has a lane follow the store, which has a message in another state than the lane
// thought: the store is right, about the follower's ledger too.
func (d *Dispatcher) follow(l *lane, m store.Message) {
	d.Log.Error("a message is in another state than its lane thought", "message", m.ID, "state", m.State)
	it := l.find(m.Seq)
	switch {
	case it != nil:
		l.remove(it)
	case l.sending != nil && l.sending.seq == m.Seq:
		l.sending = nil
	}
	if w := m.Waiting(); hasPlace(w.State, w.RetryAt) {
		l.add(newItem(w))
	}
	l.talk, l.loaded = follower{}, false
	d.changed(m.Seq)
	d.poke(l)
}

// wakeAt has the lane looked at when time alone changes something.
func (d *Dispatcher) wakeAt(l *lane) {
	next := l.nextMoment()
	if l.sending == nil {
		_, retry := l.head(d.Now())
		next = earlier(next, retry)
	}
	if next.Before(l.hold) {
		next = l.hold
	}
	if !next.IsZero() {
		d.agenda.at(l, next)
	}
}
