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
	loaded    bool
	gone      bool // forgotten; nobody may add to it
	talk      follower
	handling  gateway.Handling
	main      []*item // queued, human and normal, by number
	bulk      []*item // queued, by number
	parked    []*item // by number
	scheduled []*item // in no lane yet, by not_before
	sending   *item
	soonest   moment    // no item expires before; it may be too early. 0: none expires
	letOut    bool      // parked ones are to be let out, as many as the ledger allows
	hold      time.Time // after the store failed: nothing is done before

	// The agenda's own, guarded by its lock.
	inLine, looking, again bool
	gated                  bool
	rank, lineRank         int // of the next message; of the line in which it stands
	wake                   time.Time
}

// A follower is what is stored of one: the ledger, and the slots of messages that
// are being sent or of unknown outcome, by seq, so that they can be given back.
type follower struct {
	ledger.Conversation `json:"ledger"`
	Slots               map[int64]ledger.Slot `json:"slots,omitempty"`
}

// holding is f with the slot of a message, and without those of buckets that a
// trigger has replaced: there is nothing to give back to.
func (f follower) holding(seq int64, slot ledger.Slot) follower {
	slots := map[int64]ledger.Slot{seq: slot}
	for s, old := range f.Slots {
		if slices.ContainsFunc(f.Buckets, func(b ledger.Bucket) bool { return b.Generation == old.Generation }) {
			slots[s] = old
		}
	}
	f.Slots = slots
	return f
}

func (f follower) settled(seq int64) follower {
	f.Slots = maps.Clone(f.Slots)
	delete(f.Slots, seq)
	return f
}

// An item is a message for which something can still happen by itself. There may
// be a million: it is what the message's place depends on, in 80 bytes. The rest
// is read from the store at its turn.
type item struct {
	seq       int64
	number    int64  // place in the lane; 0: in none yet
	notBefore moment // of one in no lane yet
	joined    moment // when it joined the lane
	expires   moment
	retryAt   moment
	kept      *store.Message // as it was accepted, if that is still at hand
	tries     int32          // attempts by this process that ended in the class of the last one; -1: none yet

	state      uint8 // these four are places in the lists of words below
	priority   uint8
	whenClosed uint8
	onUnknown  uint8
	fromPark   bool // let out as the oldest parked one, to be tried
	renewed    bool // its media were renewed; not remembered across a restart
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
func (it *item) become(s gateway.State)         { it.state = place(states[:], s) }

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
	return ledger.Asking{Priority: it.Priority(), Try: it.WhenClosed() == gateway.Try || it.fromPark, AcceptedAt: it.joined.time()}
}

func newItem(w store.Waiting) *item {
	it := &item{
		seq: w.Seq, number: w.Number, notBefore: at(w.NotBefore), joined: at(w.AcceptedAt), expires: at(w.ExpiresAt), retryAt: at(w.RetryAt), tries: -1,
		state: place(states[:], w.State), priority: uint8(rank(w.Priority)),
		whenClosed: place(whenClosed[:], w.WhenClosed), onUnknown: place(onUnknown[:], w.OnUnknown),
	}
	if it.notBefore != 0 {
		it.joined = it.notBefore
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
	if l.soonest == 0 || it.expires < l.soonest {
		l.soonest = it.expires
	}
}

// compare is the order within a line: by number, in no lane yet by not_before.
func (it *item) compare(o *item) int {
	if it.number == 0 {
		return cmp.Or(cmp.Compare(it.notBefore, o.notBefore), cmp.Compare(it.seq, o.seq))
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

// mostKept is how many bytes of messages that were just accepted stay in memory
// until their turn, which is soon as a rule. All others are read again.
const mostKept = 16 << 20

// keep has m at hand for the turn of an item in the lane, if there is room.
func (l *lane) keep(it *item, m store.Message) {
	if it.number == 0 || it.State() != gateway.Queued {
		return // it may wait for days
	}
	if l.account.kept.Add(size(m)) > mostKept {
		l.account.kept.Add(-size(m))
		return
	}
	it.kept = &m
}

// size is about what m takes in memory.
func size(m store.Message) int64 { return int64(1024 + len(m.Message.Message) + len(m.Metadata)) }

// remove takes an item out of its line; what was kept of it goes too.
func (l *lane) remove(it *item) {
	if it.kept != nil {
		l.account.kept.Add(-size(*it.kept))
		it.kept = nil
	}
	line := l.line(it)
	i, ok := slices.BinarySearchFunc(*line, it, (*item).compare)
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
	for i < len(l.scheduled) && l.scheduled[i].notBefore.reached(now) {
		i++
	}
	return slices.Clone(l.scheduled[:i])
}

// head returns the item whose turn it is, or nil and the moment to look again
// (zero: none). A retry that is not due blocks its own group, and human and
// normal block bulk.
func (l *lane) head(now time.Time) (*item, time.Time) {
	for _, line := range [...][]*item{l.main, l.bulk} {
		if len(line) > 0 {
			if it := line[0]; it.retryAt.reached(now) {
				return it, time.Time{}
			}
			return nil, line[0].retryAt.time()
		}
	}
	return nil, time.Time{}
}

// ahead counts what is queued and takes a slot before a new message of that
// priority would.
func (l *lane) ahead(p gateway.Priority) int {
	if p == gateway.Bulk {
		return len(l.main) + len(l.bulk)
	}
	return len(l.main)
}

// nextMoment is when time alone changes something: an expiry (or before), a
// not_before.
func (l *lane) nextMoment() time.Time {
	next := l.soonest.time()
	if len(l.scheduled) > 0 {
		next = earlier(next, l.scheduled[0].notBefore.time())
	}
	return next
}

func (l *lane) idle() bool {
	return l.sending == nil && len(l.main)+len(l.bulk)+len(l.parked)+len(l.scheduled) == 0
}

// priority is that of the next message, for the agenda.
func (l *lane) priority() gateway.Priority {
	if len(l.main) > 0 {
		return l.main[0].Priority()
	}
	return gateway.Bulk
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
