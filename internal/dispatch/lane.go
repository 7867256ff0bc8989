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
	main      []*item // queued, human and normal, by number
	bulk      []*item // queued, by number
	parked    []*item // by number
	scheduled []*item // in no lane yet, by not_before
	sending   *item
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

// An item is a message for which something can still happen by itself. The
// message is in the store; here is what its turn depends on.
type item struct {
	store.Message
	tries     int // attempts that ended in the class of the last one
	notBefore time.Time
	expires   time.Time
	retryAt   time.Time
	joined    time.Time // when it joined the lane
	fromPark  bool      // let out as the oldest parked one, to be tried
	renewed   bool      // its media were renewed; not remembered across a restart
}

// asks is what the ledger is asked at the item's turn.
func (it *item) asks() ledger.Asking {
	return ledger.Asking{Priority: it.Priority, Try: it.WhenClosed == gateway.Try || it.fromPark, AcceptedAt: it.joined}
}

func newItem(m store.Message) *item {
	it := &item{Message: m, tries: m.Attempts, expires: m.ExpiresAt.Time, joined: m.AcceptedAt.Time}
	if m.NotBefore != nil {
		it.notBefore, it.joined = m.NotBefore.Time, m.NotBefore.Time
	}
	if m.RetryAt != nil {
		it.retryAt = m.RetryAt.Time
	}
	return it
}

// add puts an item where its state and number say.
func (l *lane) add(it *item) {
	line := l.line(it)
	if line == &l.scheduled {
		i, _ := slices.BinarySearchFunc(*line, it, func(a, b *item) int { return a.notBefore.Compare(b.notBefore) })
		*line = slices.Insert(*line, i, it)
		return
	}
	i, _ := slices.BinarySearchFunc(*line, it, func(a, b *item) int { return cmp.Compare(a.Number, b.Number) })
	*line = slices.Insert(*line, i, it)
}

func (l *lane) line(it *item) *[]*item {
	switch {
	case it.Number == 0:
		return &l.scheduled
	case it.State == gateway.Parked:
		return &l.parked
	case it.Priority == gateway.Bulk:
		return &l.bulk
	}
	return &l.main
}

func (l *lane) remove(it *item) {
	line := l.line(it)
	*line = slices.DeleteFunc(*line, func(o *item) bool { return o == it })
}

// find returns the waiting item with this seq, or nil.
func (l *lane) find(seq int64) *item {
	for _, line := range l.lines() {
		for _, it := range *line {
			if it.Seq == seq {
				return it
			}
		}
	}
	return nil
}

func (l *lane) lines() [4]*[]*item { return [...]*[]*item{&l.main, &l.bulk, &l.parked, &l.scheduled} }

// head returns the item whose turn it is, or nil and the moment to look again
// (zero: none). A retry that is not due blocks its own group, and human and
// normal block bulk.
func (l *lane) head(now time.Time) (*item, time.Time) {
	if len(l.main) > 0 {
		if it := l.main[0]; now.Before(it.retryAt) {
			return nil, it.retryAt
		}
		return l.main[0], time.Time{}
	}
	if len(l.bulk) > 0 {
		if it := l.bulk[0]; now.Before(it.retryAt) {
			return nil, it.retryAt
		}
		return l.bulk[0], time.Time{}
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

// nextMoment is when time alone changes something: an expiry, a not_before.
func (l *lane) nextMoment() (next time.Time) {
	for _, line := range l.lines() {
		for _, it := range *line {
			next = earlier(next, it.expires)
		}
	}
	if len(l.scheduled) > 0 {
		next = earlier(next, l.scheduled[0].notBefore)
	}
	return next
}

func (l *lane) idle() bool {
	return l.sending == nil && len(l.main)+len(l.bulk)+len(l.parked)+len(l.scheduled) == 0
}

// priority is that of the next message, for the agenda.
func (l *lane) priority() gateway.Priority {
	if len(l.main) > 0 {
		return l.main[0].Priority
	}
	return gateway.Bulk
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
