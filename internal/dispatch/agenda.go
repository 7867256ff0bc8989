package dispatch

import (
	"container/heap"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// The agenda says which lane is looked at next, and when. Lanes that have
// something to do stand in line per account and priority; lanes that wait for a
// moment are in a heap. It knows nothing of messages.
type agenda struct {
	mu      sync.Mutex // guards all below
	cond    *sync.Cond // signalled when there may be work, or at the end
	ready   map[string]*accountLine
	order   []string // accounts, in the order in which they are served
	turn    int      // where in order the next look begins
	busy    int      // lanes being looked at
	slots   int
	timers  timers
	tickets uint64        // given out to lanes that joined a line
	sooner  chan struct{} // has one when the next moment may have come nearer
	closed  bool
}

// An accountLine is what one account has ready.
type accountLine struct {
	lines   [3][]*lane // human, normal, bulk; a lane that moved up leaves its old place, which counts no more
	back    [3][]*lane // before them: lanes that were put back, by ticket
	waiting int        // lanes in line
	busy    int
	hold    time.Time // its rate is used up until then; zero: it is not
	gated   []*lane   // have something to post, which the account's standing forbids
	opens   time.Time // when some of them are looked at again; zero: when open is called
}

func newAgenda(slots int) *agenda {
	a := &agenda{ready: map[string]*accountLine{}, slots: slots, sooner: make(chan struct{}, 1)}
	a.cond = sync.NewCond(&a.mu)
	return a
}

func rank(p gateway.Priority) int {
	switch p {
	case gateway.Human:
		return 0
	case gateway.Bulk:
		return 2
	}
	return 1
}

var priorities = [...]gateway.Priority{gateway.Human, gateway.Normal, gateway.Bulk} // by rank

// poke puts l at the end of its line, unless it stands there already or is being looked
// at: then it is looked at once more.
func (a *agenda) poke(l *lane, p gateway.Priority) {
	a.mu.Lock()
	a.pokeLocked(l, p)
	a.mu.Unlock()
}

func (a *agenda) pokeLocked(l *lane, p gateway.Priority) {
	l.rank = rank(p)
	if l.looking {
		l.again = true
		return
	}
	line := a.lineOf(l.account.appid)
	if l.inLine && l.rank >= l.lineRank {
		return
	}
	if !l.inLine {
		line.waiting++
	}
	a.tickets++
	l.inLine, l.lineRank, l.ticket = true, l.rank, a.tickets
	line.lines[l.rank] = append(line.lines[l.rank], l)
	a.cond.Signal()
}

// putBack puts l, which was taken and could not go on yet, back where it stood in its
// line.
func (a *agenda) putBack(l *lane) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case l.looking:
		l.rank, l.again, l.back = l.lineRank, true, true
	case !l.inLine:
		a.putBackLocked(l)
	}
}

func (a *agenda) putBackLocked(l *lane) {
	line := a.lineOf(l.account.appid)
	back := &line.back[l.lineRank]
	i := len(*back)
	for i > 0 && (*back)[i-1].ticket > l.ticket {
		i--
	}
	*back = slices.Insert(*back, i, l)
	l.inLine = true
	line.waiting++
	a.cond.Signal()
}

func (a *agenda) lineOf(appid string) *accountLine {
	line := a.ready[appid]
	if line == nil {
		line = &accountLine{}
		a.ready[appid] = line
		a.order = append(a.order, appid)
	}
	return line
}

// holdAccount has no lane of the account looked at before t: its rate is used up.
func (a *agenda) holdAccount(appid string, t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if line := a.lineOf(appid); line.hold.IsZero() || t.Before(line.hold) {
		line.hold = t
		a.wakeTimer()
	}
}

// gate has l wait for the account's standing: until a moment, or with a zero one
// until open is called.
func (a *agenda) gate(l *lane, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	line := a.lineOf(l.account.appid)
	if !l.gated {
		l.gated = true
		line.gated = append(line.gated, l)
	}
	if line.opens = until; !until.IsZero() {
		a.wakeTimer()
	}
}

// open has every lane that waits for the account's standing looked at.
func (a *agenda) open(appid string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.openLocked(a.lineOf(appid), math.MaxInt)
}

// openLocked has the first n lanes at the gate looked at. Those behind follow a
// second later, unless one that was looked at says when.
func (a *agenda) openLocked(line *accountLine, n int) {
	n = min(n, len(line.gated))
	for _, l := range line.gated[:n] {
		l.gated = false
		a.pokeLocked(l, priorities[l.rank])
	}
	line.gated = slices.Delete(line.gated, 0, n)
	line.opens = time.Time{}
}

// wakeTimer tells who waits for the next moment that it may have come nearer.
func (a *agenda) wakeTimer() {
	select {
	case a.sooner <- struct{}{}:
	default:
	}
}

// at has l looked at at the given moment, or before: first of all, since a look is
// cheap. What is then found to be sent waits for its own turn.
func (a *agenda) at(l *lane, t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !l.wake.IsZero() && !t.Before(l.wake) {
		return
	}
	l.wake = t
	heap.Push(&a.timers, timer{t, l})
	if a.timers[0].lane == l {
		a.wakeTimer()
	}
}

// due pokes every lane whose moment has come and returns the next moment.
func (a *agenda) due(now time.Time) (next time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, line := range a.ready {
		switch {
		case line.hold.IsZero():
		case now.Before(line.hold):
			next = earlier(next, line.hold)
		default:
			line.hold = time.Time{}
			a.cond.Signal()
		}
		switch {
		case line.opens.IsZero():
		case now.Before(line.opens):
			next = earlier(next, line.opens)
		default:
			if a.openLocked(line, a.slots); len(line.gated) > 0 {
				line.opens = now.Add(time.Second)
				next = earlier(next, line.opens)
			}
		}
	}
	for len(a.timers) > 0 {
		t := a.timers[0]
		if now.Before(t.at) {
			return earlier(next, t.at)
		}
		heap.Pop(&a.timers)
		if t.lane.wake.Equal(t.at) { // else an earlier moment has replaced it
			t.lane.wake = time.Time{}
			a.pokeLocked(t.lane, gateway.Human)
		}
	}
	return next
}

// next waits for a lane to look at and takes a slot for it; nil after close. An
// account has at most half of the slots while another has lanes in line.
func (a *agenda) next() *lane {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if a.closed {
			return nil
		}
		if l := a.takeLocked(); l != nil {
			return l
		}
		a.cond.Wait()
	}
}

func (a *agenda) takeLocked() *lane {
	if a.busy >= a.slots {
		return nil
	}
	waiting := 0
	for _, line := range a.ready {
		if line.waiting > 0 && line.hold.IsZero() {
			waiting++
		}
	}
	for i := range a.order {
		at := (a.turn + i) % len(a.order)
		line := a.ready[a.order[at]]
		if line.waiting == 0 || !line.hold.IsZero() || waiting > 1 && line.busy >= max(1, a.slots/2) {
			continue
		}
		a.turn = at + 1
		for r := range line.lines {
			for _, from := range [...]*[]*lane{&line.back[r], &line.lines[r]} {
				for len(*from) > 0 {
					l := (*from)[0]
					(*from)[0] = nil
					*from = (*from)[1:]
					if !l.inLine || l.lineRank != r { // it has moved up
						continue
					}
					l.inLine, l.looking, l.again, l.back = false, true, false, false
					line.waiting--
					line.busy++
					a.busy++
					return l
				}
			}
		}
	}
	return nil
}

// done gives the slot back.
func (a *agenda) done(l *lane) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy--
	a.ready[l.account.appid].busy--
	l.looking = false
	switch {
	case l.again && l.back && l.rank == l.lineRank:
		a.putBackLocked(l)
	case l.again:
		a.pokeLocked(l, priorities[l.rank])
	}
	a.cond.Signal()
}

func (a *agenda) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.cond.Broadcast()
}

type timer struct {
	at   time.Time
	lane *lane
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }
func (t *timers) Pop() any {
	old := *t
	x := old[len(old)-1]
	*t = old[:len(old)-1]
	return x
}
