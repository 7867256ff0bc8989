package dispatch

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
)

// takeUp puts what earlier processes left into its lanes while the gateway works
// already: a start does not wait for a million messages. A lane that is needed before
// its turn reads its own messages by itself ([Dispatcher.readOwn]), so that a follower's
// order holds from the first moment. What is left is put in line when all of it is
// here, so that human goes before normal before bulk.
func (d *Dispatcher) takeUp() {
	for {
		err := d.readAll()
		if d.stopping() || d.lost(err) {
			return
		}
		if err == nil {
			break
		}
		d.Log.Error("what waits from before can't be read; trying again in a second", "error", err)
		t := time.NewTimer(time.Second)
		select {
		case <-d.stop:
			t.Stop()
			return
		case <-t.C:
		}
	}
	close(d.takenUp)
	asleep := d.Now()
	for _, l := range d.allLanes() {
		l.mu.Lock()
		switch {
		case l.gone || l.idle():
		case len(l.main)+len(l.bulk) > 0:
			d.poke(l)
		case len(l.parked) > 0: // the ledger knows whether they wait rightly: no hurry
			d.agenda.at(l, asleep)
			asleep = asleep.Add(readAhead)
		default:
			d.wakeAt(l)
		}
		l.mu.Unlock()
	}
}

// readAhead is the pause between two looks into lanes in which messages are parked,
// after a start or when windows have become beliefs, so that reading their ledgers does
// not hold up the others.
const readAhead = 500 * time.Microsecond

// doubt has lanes looked at since what is known of windows is a belief from now on, so
// that parked messages are tried: those of an account, or with "" all. It takes no
// lane's lock.
func (d *Dispatcher) doubt(appid string) {
	d.mu.Lock()
	var lanes []*lane
	for k, l := range d.lanes {
		if !l.idles && (appid == "" || appid == k.appid) {
			lanes = append(lanes, l)
		}
	}
	d.mu.Unlock()
	at := d.Now()
	for _, l := range lanes {
		d.agenda.at(l, at)
		at = at.Add(readAhead)
	}
}

// isUp reports whether every lane has what earlier processes left.
func (d *Dispatcher) isUp() bool {
	select {
	case <-d.takenUp:
		return true
	default:
		return false
	}
}

// readAll reads all that is unfinished into the lanes that have not read their own.
func (d *Dispatcher) readAll() error {
	for _, l := range d.allLanes() { // of a try before
		l.mu.Lock()
		if !l.whole {
			l.empty()
		}
		l.mu.Unlock()
	}
	d.left.Store(0)
	for w, err := range d.Store.Unfinished(context.Background()) {
		if err != nil || d.stopping() {
			return err
		}
		l := d.laneOf(w.Account, w.OpenID)
		l.mu.Lock()
		if !l.whole {
			l.add(newItem(w))
		}
		l.mu.Unlock()
		d.left.Add(1)
	}
	return nil
}

// laneOf is the lane of a message's follower. That of an account which was deleted, too:
// what waits there fails at its turn, and what is unknown can be resolved.
func (d *Dispatcher) laneOf(appid, openid string) *lane {
	for {
		if l := d.lane(appid, openid); l != nil {
			return l
		}
		d.mu.Lock()
		if d.accounts[appid] == nil {
			d.accounts[appid] = &account{appid: appid, atHand: &d.atHand, gone: true}
		}
		d.mu.Unlock()
	}
}

// readOwn reads the lane's own messages, once, unless everything was taken up. The
// caller holds l.mu.
func (d *Dispatcher) readOwn(ctx context.Context, l *lane) error {
	if l.whole || d.isUp() {
		return nil
	}
	own, err := d.Store.UnfinishedOf(ctx, l.account.appid, l.openid)
	if err != nil {
		return err
	}
	l.empty()
	for _, w := range own {
		l.add(newItem(w))
	}
	l.whole = true
	return nil
}

// empty takes out what was read and not looked at yet.
func (l *lane) empty() {
	for _, line := range l.lines() {
		*line = nil
	}
	l.putOff, l.slots, l.soonest = nil, [2]int{}, 0
}

// allLanes are those that there are now.
func (d *Dispatcher) allLanes() []*lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.lanes))
}

// untilUp waits until everything was taken up.
func (d *Dispatcher) untilUp(ctx context.Context) error {
	select {
	case <-d.takenUp:
		return nil
	case <-d.stop:
		return &gateway.Problem{Code: gateway.Overloaded}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// taking is what an operator should know while it lasts.
func (d *Dispatcher) taking(lang string) []string {
	if d.isUp() {
		return nil
	}
	return []string{bilingual.In(lang, "messages that wait from before the start are being read, %d so far; new ones are delivered already", "正在读取启动前等待的消息，已读 %d 条；新消息照常发送", d.left.Load())}
}
