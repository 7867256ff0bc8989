package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// Whoever comes first, and whenever: the lanes have the same once everything that an
// earlier process left is taken up, and a lane that was entered before has all of its
// own from that moment on.
func TestLanesAreTheSameWhoeverComesFirst(t *testing.T) {
	ctx, now := t.Context(), time.Now()
	r := rand.New(rand.NewPCG(1, 8))
	accounts := []string{"wx1", "wx2", "wxgone"}
	s := storeOf(t, accounts[:2]...)
	follower := func(i int) string { return fmt.Sprintf("oUser%d", i) }
	drafts := make([]store.Draft, 600)
	for i := range drafts {
		m := gateway.Message{
			Account: accounts[r.IntN(3)], OpenID: follower(r.IntN(20)), MsgType: "text", State: gateway.Queued, Priority: priorities[r.IntN(3)],
			WhenClosed: gateway.Park, OnUnknown: []gateway.OnUnknown{gateway.Hold, gateway.Resend}[r.IntN(2)], Source: gateway.FromAPI,
			Message: json.RawMessage(`{}`), ExpiresAt: gateway.At(now.Add(time.Hour + time.Duration(r.IntN(1000))*time.Second)),
		}
		if r.IntN(10) == 0 {
			later := gateway.At(now.Add(time.Duration(1+r.IntN(1000)) * time.Second))
			m.NotBefore = &later
		}
		if drafts[i].Message = m; r.IntN(20) == 0 {
			drafts[i].Cuts = [][2]int{{0, 1}, {1, 2}}
		}
	}
	var parked []store.Move
	for i, k := range s.Enqueue(ctx, now, drafts...) {
		if k.Err != nil {
			t.Fatal(k.Err)
		}
		fate, seq := r.IntN(20), k.Message.Seq
		if k.Message.NotBefore != nil || fate > 8 {
			continue
		}
		if fate < 5 {
			parked = append(parked, store.Move{Seq: seq, From: gateway.Queued, To: gateway.Parked})
			continue
		}
		if err := s.Begin(ctx, now, store.Begin{Seq: seq, Attempt: 1}); err != nil {
			t.Fatal(err)
		}
		f := store.Finish{Seq: seq, Attempt: gateway.Attempt{N: 1}, State: gateway.Sent}
		switch fate {
		case 5: // on its way when the process ended
			continue
		case 6:
			f.State, f.RetryAt = gateway.Unknown, now.Add(time.Minute)
		case 7:
			f.State, f.RetryAt, f.PartsSent = gateway.Queued, now.Add(time.Minute), len(drafts[i].Cuts)/2
		}
		if err := s.Finish(ctx, now, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Move(ctx, now, parked...); err != nil {
		t.Fatal(err)
	}
	began := func() *Dispatcher {
		d, err := prepare(context.Background(), Config{
			Store: s, Log: slog.New(slog.DiscardHandler), Tokens: func(gateway.Account) kefu.TokenSource { return kefu.StaticToken("T") },
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	began() // what was on its way is unknown from here on
	want := began()
	if err := want.readAll(); err != nil {
		t.Fatal(err)
	}
	if waiting := len(want.lanes); waiting < 50 || want.left.Load() < 400 {
		t.Fatalf("%d lanes with %d messages: too few for this test", waiting, want.left.Load())
	}

	enter := func(d *Dispatcher, k laneKey) {
		l, err := d.enterAny(context.Background(), k.appid, k.openid)
		if err != nil {
			t.Error(err)
			return
		}
		if got, want := contents(l), contents(want.lanes[k]); !reflect.DeepEqual(got, want) {
			t.Errorf("entered early, a lane has\n%+v, want\n%+v", got, want)
		}
		d.leave(l)
	}
	for round, during := range []bool{false, true, true, true} {
		d := began()
		var wg sync.WaitGroup
		for range 4 {
			come := rand.New(rand.NewPCG(r.Uint64(), 0))
			early := func() {
				for range 10 {
					enter(d, laneKey{accounts[come.IntN(2)], follower(come.IntN(20))})
				}
			}
			if during {
				wg.Go(early)
			} else {
				early()
			}
		}
		tries := 1 + round%2 // the second as after one that failed
		for range tries {
			if err := d.readAll(); err != nil {
				t.Fatal(err)
			}
		}
		wg.Wait()
		close(d.takenUp)
		for k, l := range want.lanes {
			if got, want := contents(d.lanes[k]), contents(l); !reflect.DeepEqual(got, want) {
				t.Errorf("round %d: a lane has\n%+v, want\n%+v", round, got, want)
			}
		}
	}
}

// Lanes in which nothing waits are forgotten when there are many, whichever were here
// first, and never one in which something waits.
func TestIdleLanesAreForgotten(t *testing.T) {
	ctx, now := t.Context(), time.Now()
	s := storeOf(t, "wx1")
	waits := func(i int) laneKey { return laneKey{"wx1", fmt.Sprint("oWaits", i)} }
	for i := range 30 {
		m := gateway.Message{Account: "wx1", OpenID: waits(i).openid, MsgType: "text", State: gateway.Queued, Priority: gateway.Normal, WhenClosed: gateway.Park,
			OnUnknown: gateway.Hold, Source: gateway.FromAPI, Message: json.RawMessage(`{}`), ExpiresAt: gateway.At(now.Add(time.Hour))}
		if err := s.Enqueue(ctx, now, store.Draft{Message: m})[0].Err; err != nil {
			t.Fatal(err)
		}
	}
	d, err := prepare(ctx, Config{Store: s, Log: slog.New(slog.DiscardHandler), Tokens: func(gateway.Account) kefu.TokenSource { return kefu.StaticToken("T") }})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.readAll(); err != nil {
		t.Fatal(err)
	}
	close(d.takenUp)
	d.mostIdle = 10
	enter := func(k laneKey) {
		l, err := d.enter(ctx, k.appid, k.openid)
		if err != nil {
			t.Fatal(err)
		}
		if l.gone || d.lanes[k] != l {
			t.Fatalf("the lane of %s is forgotten while it is used", k.openid)
		}
		d.leave(l)
		idle := 0
		for _, l := range d.lanes {
			if l.idle() {
				idle++
			}
		}
		if idle != d.idle || idle > 10 {
			t.Fatalf("%d lanes are idle, the dispatcher counts %d; 10 may be", idle, d.idle)
		}
	}
	today, remembered := laneKey{"wx1", "oToday"}, 0
	for i := range 500 {
		enter(laneKey{"wx1", fmt.Sprint("o", i)})
		enter(waits(i % 30))
		if i < 20 { // others were here first
			continue
		}
		if d.lanes[today] != nil {
			remembered++
		}
		enter(today)
	}
	if len(d.lanes) != 40 {
		t.Errorf("%d lanes, want the 30 in which something waits and 10", len(d.lanes))
	}
	for i := range 30 {
		if l := d.lanes[waits(i)]; l == nil || l.idle() {
			t.Errorf("what waits for follower %d is forgotten", i)
		}
	}
	if remembered < 300 {
		t.Errorf("one who comes again and again was remembered %d times of 500: those who were here first stay", remembered)
	}
}

// storeOf is a new store with accounts.
func storeOf(t *testing.T, appids ...string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "kefu.db"), store.Options{SecretKey: "0123456789abcdef0123456789abcdef", Gather: -1, Params: "_pragma=synchronous(off)"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	for _, appid := range appids {
		if err := s.PutAccount(t.Context(), time.Now(), gateway.Account{AppID: appid, Secret: "x"}.WithDefaults()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// contents is all of a lane that depends on the store.
func contents(l *lane) (out struct {
	Lines   [4][]item
	Slots   [2]int
	PutOff  []int64
	Soonest moment
}) {
	for i, line := range l.lines() {
		for _, it := range *line {
			out.Lines[i] = append(out.Lines[i], *it)
		}
	}
	for _, it := range l.putOff {
		out.PutOff = append(out.PutOff, it.seq)
	}
	slices.Sort(out.PutOff)
	out.Slots, out.Soonest = l.slots, l.soonest
	if !slices.IsSortedFunc(out.Lines[0], func(a, b item) int { return a.compare(&b) }) {
		panic("a lane is not in order")
	}
	return out
}
