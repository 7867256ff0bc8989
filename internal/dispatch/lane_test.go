package dispatch

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// A million messages may wait.
func TestAnItemIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(item{}); size > 64 {
		t.Errorf("an item takes %d bytes, at most 64 are meant to", size)
	}
}

// Whatever is added, moved and removed, a lane has every line in its order and
// knows when the next item expires, or that none does before.
func TestLanesKeepTheirOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		start := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
		l := &lane{account: &account{atHand: &atHand{}}}
		model := map[*item]bool{}
		some := func() *item {
			for it := range model {
				return it
			}
			return nil
		}
		for seq := int64(1); seq < 150; seq++ {
			now := start.Add(time.Duration(seq) * time.Second)
			switch n := r.IntN(10); {
			case n < 6:
				w := store.Waiting{
					Seq: seq, Number: seq, State: []gateway.State{gateway.Queued, gateway.Parked}[r.IntN(2)],
					Priority: priorities[r.IntN(3)], ExpiresAt: now.Add(time.Duration(r.IntN(100)) * time.Second),
				}
				if r.IntN(4) == 0 {
					w.Number, w.State, w.NotBefore = 0, gateway.Queued, now.Add(time.Duration(r.IntN(20))*time.Second)
				}
				it := newItem(w)
				l.add(it)
				l.account.atHand.offer(it, store.Message{Seq: seq, Message: gateway.Message{Message: json.RawMessage("{}")}})
				model[it] = true
			case n < 8:
				if it := some(); it != nil {
					l.remove(it)
					delete(model, it)
				}
			case n == 8:
				if it := some(); it != nil && it.number != 0 { // let out, or withheld
					l.remove(it)
					it.state = 1 - it.state
					l.add(it)
				}
			default:
				var want []*item
				for it := range model {
					if it.expires.reached(now) {
						want = append(want, it)
					}
				}
				got := l.expired(now)
				bySeq := func(a, b *item) int { return cmp.Compare(a.seq, b.seq) }
				slices.SortFunc(want, bySeq)
				slices.SortFunc(got, bySeq)
				if !slices.Equal(got, want) {
					t.Fatalf("seed %d: %d have expired, want %d", seed, len(got), len(want))
				}
				for _, it := range got {
					l.remove(it)
					delete(model, it)
				}
			}
			n := 0
			for _, line := range l.lines() {
				n += len(*line)
				if !slices.IsSortedFunc(*line, (*item).compare) {
					t.Fatalf("seed %d: a line is out of order", seed)
				}
				for _, it := range *line {
					if l.line(it) != line || !model[it] || l.find(it.seq) != it {
						t.Fatalf("seed %d: item %d is in the wrong line", seed, it.seq)
					}
					if l.soonest == 0 || it.expires < l.soonest {
						t.Fatalf("seed %d: an item expires before the lane thinks so", seed)
					}
				}
			}
			if n != len(model) || l.idle() != (n == 0) {
				t.Fatalf("seed %d: %d items in the lane, want %d", seed, n, len(model))
			}
		}
		for it := range model {
			l.remove(it)
		}
		if left := l.account.atHand.bytes; left != 0 || len(l.account.atHand.messages) != 0 {
			t.Fatalf("seed %d: an empty lane keeps %d bytes of messages", seed, left)
		}
	}
}

// A lane that stands in line and gets something more urgent moves up, and is
// served once.
func TestALaneMovesUp(t *testing.T) {
	a := newAgenda(8)
	one, two := &lane{account: &account{appid: "wx1"}}, &lane{account: &account{appid: "wx1"}}
	a.poke(one, gateway.Bulk)
	a.poke(two, gateway.Bulk)
	a.poke(two, gateway.Human)
	a.poke(two, gateway.Normal) // it stands better already
	a.close()
	if first, second, third := a.takeLocked(), a.takeLocked(), a.takeLocked(); first != two || second != one || third != nil {
		t.Errorf("the lanes are served as %v, %v, %v", first == two, second == one, third == nil)
	}
	if line := a.ready["wx1"]; line.waiting != 0 || line.busy != 2 {
		t.Errorf("%d wait and %d are looked at", line.waiting, line.busy)
	}
}

// A lane that was put back stands where it stood, before those behind it then; one that
// has got something more urgent meanwhile goes where that belongs.
func TestALaneIsPutBack(t *testing.T) {
	a := newAgenda(8)
	var lanes []*lane
	for i := range 5 {
		l := &lane{account: &account{appid: "wx1"}, openid: fmt.Sprint(i)}
		lanes = append(lanes, l)
		a.poke(l, gateway.Bulk)
	}
	take := func(want ...int) {
		t.Helper()
		for _, i := range want {
			if l := a.takeLocked(); l != lanes[i] {
				t.Fatalf("%+v is taken, want %d", l, i)
			}
		}
	}
	putBack := func(l *lane) {
		a.putBack(l)
		a.done(l)
	}
	take(0, 1, 2)
	putBack(lanes[2])
	putBack(lanes[0])
	a.putBack(lanes[1])
	a.poke(lanes[1], gateway.Human) // while it is looked at
	a.done(lanes[1])
	take(1, 0, 2, 3)
	a.done(lanes[0])
	a.poke(lanes[0], gateway.Bulk)
	a.done(lanes[3])
	a.putBack(lanes[3]) // nobody looks at it
	a.putBack(lanes[3])
	take(3, 4, 0)
	if line := a.ready["wx1"]; line.waiting != 0 {
		t.Errorf("%d wait", line.waiting)
	}
}

// The first message of a group is whose turn it is, unless one of them is put off; bulk waits
// for human and normal, but for a long text of its own that has begun.
func TestHeadOfALane(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	soon, over := now.Add(time.Second), now.Add(-time.Second)
	type row struct {
		seq   int64
		bulk  bool
		begun bool
		lost  bool // a first part of unknown outcome, to be resent
		retry time.Time
	}
	for _, tt := range []struct {
		what string
		rows []row // in the order in which they join
		head int64 // 0: none
		wait time.Time
	}{
		{"nothing", nil, 0, time.Time{}},
		{"by number", []row{{seq: 2}, {seq: 1}}, 1, time.Time{}},
		{"a retry that is not due blocks", []row{{seq: 1, retry: soon}, {seq: 2}}, 0, soon},
		{"one that is due does not", []row{{seq: 1, retry: over}, {seq: 2}}, 1, time.Time{}},
		{"whatever was put off behind it", []row{{seq: 1, retry: soon}, {seq: 2, retry: over}}, 0, soon},
		{"in either order", []row{{seq: 2, retry: over}, {seq: 1, retry: soon}}, 0, soon},
		{"what was let out waits for one that is put off: a part of it may have arrived", []row{{seq: 2, retry: soon}, {seq: 1}}, 0, soon},
		{"for all of them", []row{{seq: 1, retry: soon}, {seq: 2, retry: soon.Add(time.Second)}, {seq: 3, retry: over}}, 0, soon.Add(time.Second)},
		{"nor before a text that may have begun", []row{{seq: 2, lost: true, retry: over}, {seq: 1}}, 2, time.Time{}},
		{"bulk is last", []row{{seq: 1, bulk: true}, {seq: 2}}, 2, time.Time{}},
		{"but for parts that have begun", []row{{seq: 1, bulk: true, begun: true}, {seq: 2}}, 1, time.Time{}},
		{"which wait for those of the others: what was put off and let them pass comes after them", []row{{seq: 1, bulk: true, begun: true, retry: over}, {seq: 2, begun: true}}, 2, time.Time{}},
		{"unless the next part is put off", []row{{seq: 1, bulk: true, begun: true, retry: soon}, {seq: 2}}, 2, time.Time{}},
		{"bulk waits for its own", []row{{seq: 1, bulk: true, retry: soon}, {seq: 2, bulk: true, retry: over}}, 0, soon},
		{"and for a retry of the others", []row{{seq: 1, bulk: true}, {seq: 2, retry: soon}}, 0, soon},
	} {
		l := &lane{account: &account{atHand: &atHand{}}}
		for _, r := range tt.rows {
			w := store.Waiting{Seq: r.seq, Number: r.seq, State: gateway.Queued, Priority: gateway.Normal, WhenClosed: gateway.Park, OnUnknown: gateway.Hold, RetryAt: r.retry}
			if r.bulk {
				w.Priority = gateway.Bulk
			}
			if r.lost {
				w.Parts, w.State = 3, gateway.Unknown
			}
			if r.begun {
				w.Parts, w.PartsSent = 3, 1
			}
			l.add(newItem(w))
		}
		it, wait := l.head(now)
		if it == nil && tt.head != 0 || it != nil && it.seq != tt.head || !wait.Equal(tt.wait) {
			t.Errorf("%s: %+v, %v; want %d, %v", tt.what, it, wait, tt.head, tt.wait)
		}
	}
}
