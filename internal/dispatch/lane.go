package dispatch

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/ledger"
	"github.com/kefu-go/kefu/internal/store"
)

// A lane is one follower's line of messages. Whoever changes what is known of the
// follower holds mu until the change is committed, so changes of one follower
// follow each other, in memory as on disk, and those of different followers share
// commits.
type lane struct {
	account *account
	openid  string

	mu        sync.Mutex // guards all below, held across commits
	loaded    bool       // talk and handling are the store's
	whole     bool       // it has read its own messages; see readOwn
	gone      bool       // forgotten; nobody may add to it
	talk      follower
	handling  gateway.Handling
	main      []*item // queued or to be resent, human and normal; in the order of compare
	bulk      []*item // the same of bulk
	parked    []*item // by number
	scheduled []*item // in no lane yet, by not_before
	sending   *item
	putOff    []*item          // of main and of bulk, those with a retry or a resend that is or was not due; few
	slots     [2]int           // that the items of main and of bulk take
	soonest   moment           // no item expires before; it may be too early. 0: none expires
	letOut    bool             // parked ones are to be let out, as many as the ledger allows
	hold      time.Time        // after the store failed: nothing is done before
	files     map[int64]*files // of items whose turn it was, by seq; nil: none
	idles     bool             // it counts as idle; changed with the dispatcher's lock, too

	// The agenda's own, guarded by its lock.
	inLine, looking, again bool
	back                   bool // with again: to its old place
	gated                  bool
	rank, lineRank         int    // of the latest poke; of the line in which it stands, or stood when it was taken
	ticket                 uint64 // its place in that line
	wake                   time.Time
}

// A follower is what is stored of one: the ledger, and the slots of messages that
// are being sent or of unknown outcome, by seq, so that they can be given back.
type follower struct {
	ledger.Conversation `json:"ledger"`
	Slots               map[int64]ledger.Slot   `json:"slots,omitempty"`   // of the latest attempt
	Earlier             map[int64][]ledger.Slot `json:"earlier,omitempty"` // of attempts before that are unknown, too
}

// holding is f with the slot of a message's next attempt, and without those of buckets
// that a trigger has replaced: there is nothing to give back to. One that the message
// still has is of an attempt that ended unknown, and stays held besides.
func (f follower) holding(seq int64, slot ledger.Slot) follower {
	gone := func(s ledger.Slot) bool {
		return !slices.ContainsFunc(f.Buckets, func(b ledger.Bucket) bool { return b.Generation == s.Generation })
	}
	held, earlier := map[int64]ledger.Slot{}, map[int64][]ledger.Slot{}
	for s, of := range f.Earlier {
		if left := slices.DeleteFunc(slices.Clone(of), gone); len(left) > 0 {
			earlier[s] = left
		}
	}
	for s, old := range f.Slots {
		switch {
		case gone(old):
		case s == seq:
			earlier[s] = append(earlier[s], old)
		default:
			held[s] = old
		}
	}
	held[seq] = slot
	f.Slots, f.Earlier = held, earlier
	return f
}

// settled is f once the outcome of a message's latest attempt is known. What attempts
// before hold stays held, to be given back perhaps, unless the message, or the part of a
// long text that they were about, is over.
func (f follower) settled(seq int64, over bool) follower {
	f.Slots = maps.Clone(f.Slots)
	delete(f.Slots, seq)
	if over {
		f.Earlier = maps.Clone(f.Earlier)
		delete(f.Earlier, seq)
	}
	return f
}

// notReceived gives back what all attempts of a message hold.
func (f follower) notReceived(seq int64) follower {
	for _, slot := range append(slices.Clone(f.Earlier[seq]), f.Slots[seq]) {
		f.Conversation = f.GiveBack(slot)
	}
	return f.settled(seq, true)
}

// An item is a message for which something can still happen by itself. There may
// be a million: it is what the message's place depends on, in 64 bytes without a
// pointer, which the garbage collector need not look into. The rest is read from the
// store at its turn.
type item struct {
	seq     int64
	number  int64  // place in the lane; 0: in none yet
	joined  moment // when it joined the lane; of one in no lane yet: when it is to
	expires moment
	retryAt moment
	tries   int32 // attempts by this process that ended in the class of the last one; -1: none yet

	state       uint8 // these four are places in the lists of words below
	priority    uint8
	whenClosed  uint8
	onUnknown   uint8
	fromPark    bool  // let out as the oldest parked one, to be tried
	renewed     bool  // its media were renewed; not remembered across a restart
	parts       uint8 // of a long text
	sent        uint8 // of parts
	perhaps     bool  // a part is or was unknown: it may have been sent
	interrupted bool  // it was parked, and no part of it has left since
}

var (
	states     = [...]gateway.State{gateway.Queued, gateway.Parked, gateway.Sending, gateway.Unknown}
	whenClosed = [...]gateway.WhenClosed{gateway.Park, gateway.Fail, gateway.Try}
	onUnknown  = [...]gateway.OnUnknown{gateway.Hold, gateway.Resend}
)

// place is where word stands in a list of words; the first, if it does not.
func place[T comparable](words []T, word T) uint8 { return uint8(max(0, slices.Index(words, word))) }

func (it *item) State() gateway.State           { return states[it.state] }
func (it *item) Priority() gateway.Priority     { return priorities[it.priority] }
func (it *item) WhenClosed() gateway.WhenClosed { return whenClosed[it.whenClosed] }
func (it *item) OnUnknown() gateway.OnUnknown   { return onUnknown[it.onUnknown] }

// become changes the state alone; the place in a line that goes with it is given by add.
func (it *item) become(s gateway.State) {
	it.state = place(states[:], s)
	it.interrupted = it.interrupted || s == gateway.Parked
}

// A moment is a time in milliseconds, as the store has it; 0: none.
type moment int64

func at(t time.Time) moment {
	if t.IsZero() {
		return 0
	}
	return moment(t.UnixMilli())
}

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// reached reports whether m is over at now.
func (m moment) reached(now time.Time) bool { return now.UnixMilli() >= int64(m) }

// asks is what the ledger is asked at the item's turn.
func (it *item) asks() ledger.Asking {
	a := ledger.Asking{Priority: it.Priority(), Try: it.WhenClosed() == gateway.Try || it.fromPark, AcceptedAt: it.joined.time(), Slots: it.slots()}
	if it.State() == gateway.Unknown {
		a.Resend, a.Try = true, false
	}
	return a
}

// slots is how many the item takes: one for each part that has not left.
func (it *item) slots() int { return max(1, int(it.parts)-int(it.sent)) }

// begun reports whether it is a long text of which some parts were sent, or may have been,
// and the others are to follow at once. One that was parked in between has lost that
// right to another that began since.
func (it *item) begun() bool { return (it.sent > 0 || it.perhaps) && !it.interrupted }

// group is where the item stands in lane.slots.
func (it *item) group() int {
	if it.Priority() == gateway.Bulk {
		return 1
	}
	return 0
}

func newItem(w store.Waiting) *item {
	it := &item{
		seq: w.Seq, number: w.Number, joined: at(w.AcceptedAt), expires: at(w.ExpiresAt), retryAt: at(w.RetryAt), tries: -1,
		state: place(states[:], w.State), priority: uint8(rank(w.Priority)),
		whenClosed: place(whenClosed[:], w.WhenClosed), onUnknown: place(onUnknown[:], w.OnUnknown),
		parts: uint8(w.Parts), sent: uint8(w.PartsSent), perhaps: w.Parts > 0 && (w.State == gateway.Unknown || w.Resent), interrupted: w.Interrupted,
	}
	if !w.NotBefore.IsZero() {
		it.joined = at(w.NotBefore)
	}
	return it
}

// add puts an item where its state and number say.
func (l *lane) add(it *item) {
	line := l.line(it)
	i := len(*line)
	if i > 0 && it.before((*line)[i-1]) { // most come last
		i, _ = slices.BinarySearchFunc(*line, it, (*item).compare)
	}
	*line = slices.Insert(*line, i, it)
	if line == &l.main || line == &l.bulk {
		l.slots[it.group()] += it.slots()
		if it.retryAt != 0 {
			l.putOff = append(l.putOff, it)
		}
	}
	if l.soonest == 0 || it.mayExpire() && it.expires < l.soonest {
		l.soonest = it.expires
	}
}

// mayExpire is false for what left already and waits to be resent.
func (it *item) mayExpire() bool { return it.State() != gateway.Unknown }

// compare is the order within a line: by number, and before all numbers what has
// begun, since nothing goes between parts; in no lane yet by not_before.
func (it *item) compare(o *item) int {
	switch {
	case it.number == 0:
		return cmp.Or(cmp.Compare(it.joined, o.joined), cmp.Compare(it.seq, o.seq))
	case it.begun() != o.begun() && it.State() != gateway.Parked:
		if it.begun() {
			return -1
		}
		return 1
	}
	return cmp.Compare(it.number, o.number)
}

func (it *item) before(o *item) bool { return it.compare(o) < 0 }

func (l *lane) line(it *item) *[]*item {
	switch {
	case it.number == 0:
		return &l.scheduled
	case it.State() == gateway.Parked:
		return &l.parked
	case it.Priority() == gateway.Bulk:
		return &l.bulk
	}
	return &l.main
}

// remove takes an item out of its line; what is at hand of it goes too.
func (l *lane) remove(it *item) {
	l.account.atHand.drop(it.seq)
	delete(l.files, it.seq)
	line := l.line(it)
	i, ok := slices.BinarySearchFunc(*line, it, (*item).compare)
	if ok && (line == &l.main || line == &l.bulk) {
		l.slots[it.group()] -= it.slots()
		if at := slices.Index(l.putOff, it); at >= 0 {
			l.putOff = slices.Delete(l.putOff, at, at+1)
		}
	}
	switch {
	case !ok:
	case len(*line) == 1:
		*line = nil
	case i == 0: // the usual one, of perhaps thousands
		(*line)[0] = nil
		*line = (*line)[1:]
	default:
		*line = slices.Delete(*line, i, i+1)
	}
}

// find returns the waiting item with this seq, or nil.
func (l *lane) find(seq int64) *item {
	for _, line := range l.lines() {
		for _, it := range *line {
			if it.seq == seq {
				return it
			}
		}
	}
	return nil
}

func (l *lane) lines() [4]*[]*item { return [...]*[]*item{&l.main, &l.bulk, &l.parked, &l.scheduled} }

// expired returns what has expired. It looks at the items only when one may have.
func (l *lane) expired(now time.Time) (over []*item) {
	if l.soonest == 0 || !l.soonest.reached(now) {
		return nil
	}
	l.soonest = 0
	for _, line := range l.lines() {
		for _, it := range *line {
			switch {
			case !it.mayExpire():
			case it.expires.reached(now):
				over = append(over, it)
			case l.soonest == 0 || it.expires < l.soonest:
				l.soonest = it.expires
			}
		}
	}
	return over
}

// due returns what is to be let into the lane.
func (l *lane) due(now time.Time) []*item {
	i := 0
	for i < len(l.scheduled) && l.scheduled[i].joined.reached(now) {
		i++
	}
	return slices.Clone(l.scheduled[:i])
}

// head returns the item whose turn it is, or nil and the moment to look again
// (zero: none). A retry or a resend that is not due blocks its own group; human and
// normal block bulk, but not between the parts of a long text in bulk, which in turn
// goes on only after the parts of theirs.
func (l *lane) head(now time.Time) (*item, time.Time) {
	if until := l.blocked(0, now); !until.IsZero() {
		return nil, until
	}
	until := l.blocked(1, now)
	waiting := !until.IsZero()
	switch {
	case len(l.main) > 0 && l.main[0].begun():
		return l.main[0], time.Time{}
	case len(l.bulk) > 0 && l.bulk[0].begun() && !waiting:
		return l.bulk[0], time.Time{}
	case len(l.main) > 0:
		return l.main[0], time.Time{}
	case waiting:
		return nil, until
	case len(l.bulk) > 0:
		return l.bulk[0], time.Time{}
	}
	return nil, time.Time{}
}

// blocked is until when a group waits for those of it that are put off, whichever place
// they have; zero: it does not.
func (l *lane) blocked(group int, now time.Time) (until time.Time) {
	for _, it := range l.putOff {
		if it.group() == group && !it.retryAt.reached(now) {
			until = later(until, it.retryAt.time())
		}
	}
	return until
}

// ahead counts the slots that are taken before a new message of that priority would
// take one.
func (l *lane) ahead(p gateway.Priority) int {
	n := l.slots[0]
	if p == gateway.Bulk {
		n += l.slots[1]
	}
	if l.sending != nil {
		n += l.sending.slots() - 1 // the part that is on its way has its slot
	}
	return n
}

// nextMoment is when time alone changes something: an expiry (or before), a
// not_before.
func (l *lane) nextMoment() time.Time {
	next := l.soonest.time()
	if len(l.scheduled) > 0 {
		next = earlier(next, l.scheduled[0].joined.time())
	}
	return next
}

func (l *lane) idle() bool {
	return l.sending == nil && len(l.main)+len(l.bulk)+len(l.parked)+len(l.scheduled) == 0
}

// priority is that of the next message at now, for the agenda. What is to be let out or
// in counts, too: it may be the next one as soon as the lane is looked at.
func (l *lane) priority(now time.Time) gateway.Priority {
	best := rank(gateway.Bulk)
	if len(l.main) > 0 {
		best = int(l.main[0].priority)
	}
	if l.letOut {
		for i := 0; best > 0 && i < len(l.parked); i++ {
			best = min(best, int(l.parked[i].priority))
		}
	}
	for _, it := range l.due(now) {
		best = min(best, int(it.priority))
	}
	return priorities[best]
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
