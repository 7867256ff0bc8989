package ledger

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// A talk is a conversation at a moment, to be driven by steps.
type talk struct {
	*testing.T
	p    Policy
	now  time.Time
	c    Conversation
	slot Slot // of the attempt under way
	out  bool // parked messages may come out
}

func newTalk(t *testing.T) *talk {
	p, err := PolicyOf(gateway.Account{})
	if err != nil {
		t.Fatal(err)
	}
	return &talk{T: t, p: p, now: start}
}

type step func(*talk)

func play(t *testing.T, steps []step) *talk {
	x := newTalk(t)
	for _, s := range steps {
		s(x)
	}
	return x
}

// Steps. Times are from the start.
func at(d time.Duration) step { return func(x *talk) { x.now = start.Add(d) } }
func on(t kefu.Trigger) step  { return func(x *talk) { x.c, x.out = x.c.Trigger(x.p, t, x.now) } }
func late(t kefu.Trigger, made time.Duration) step {
	return func(x *talk) { x.c, x.out = x.c.Trigger(x.p, t, start.Add(made)) }
}
func session(open bool) step          { return func(x *talk) { x.c = x.c.Session(open, x.now) } }
func missed(until time.Duration) step { return func(x *talk) { x.p.Missed = start.Add(until) } }
func elsewhereNow(x *talk)            { x.p.Elsewhere = true }
func unguarded(x *talk)               { x.p.ShortGuard, x.p.LongGuard = NoGuard, NoGuard }
func unlimited(t kefu.Trigger) step {
	return func(x *talk) { x.p.Rules[t] = kefu.Allowance{Max: kefu.Unlimited, For: 48 * time.Hour} }
}
func allow(t kefu.Trigger, n int) step {
	return func(x *talk) { x.p.Rules[t] = kefu.Allowance{Max: n, For: 48 * time.Hour} }
}

// begin takes a slot for a message accepted now, whatever the window.
func begin(x *talk) {
	x.Helper()
	var v Verdict
	if x.c, x.slot, v = x.c.Take(x.p, x.now, Asking{Try: true}); v.Act == Withhold {
		x.Fatalf("withheld: %+v", v)
	}
}

func answer(code int) step {
	return func(x *talk) {
		switch code {
		case 0:
			x.c, x.out = x.c.Accepted(x.slot, x.now)
		case 45015:
			x.c = x.c.Closed(x.slot, x.now)
		case 45047:
			x.c = x.c.Spent(x.slot, x.now)
		case 43004:
			x.c = x.c.Unreachable(x.slot, x.now)
		default:
			x.c = x.c.GiveBack(x.slot)
		}
	}
}

func sent(n int) step {
	return func(x *talk) {
		for range n {
			begin(x)
			answer(0)(x)
		}
	}
}

func refused(code int) step {
	return func(x *talk) {
		begin(x)
		answer(code)(x)
	}
}

// window is what the API shows: state, remaining, opened_by, closes_at.
func (x *talk) window(ahead int) string {
	w := x.c.Window(x.p, x.now, ahead)
	s := string(w.State)
	if w.Remaining == nil {
		s += " null"
	} else {
		s += fmt.Sprint(" ", *w.Remaining)
	}
	if w.ClosesAt != nil {
		s += fmt.Sprint(" ", opener(w), " ", w.ClosesAt.Sub(start))
	}
	return s
}

// verdict is what becomes of m, in short: an act, or the code that withholds it.
func (x *talk) verdict(m Asking) string {
	return short(x.c.Foresee(x.p, x.now, 0, m))
}

func short(v Verdict) string {
	if v.Act == Withhold {
		return fmt.Sprint(v.Code)
	}
	return v.Act.String()
}

const (
	day = 24 * time.Hour
	ms  = time.Millisecond
)

// The contract's sections 1 and 2, sentence by sentence: what the API shows of the
// window, and what becomes of a message accepted at that moment.
func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		name    string
		steps   []step
		window  string
		message string
	}{
		// Profile service_current.
		{"user_message: 5 / 48 h", []step{on(kefu.UserMessage)}, "open 5 user_message 47h59m30s", "send"},
		{"menu: 3 / 1 min", []step{on(kefu.Menu)}, "open 3 menu 58s", "send"},
		{"follow: 3 / 1 min", []step{on(kefu.Follow)}, "open 3 follow 58s", "send"},
		{"scan: 3 / 1 min", []step{on(kefu.Scan)}, "open 3 scan 58s", "send"},
		{"payment: no limit / 48 h", []step{on(kefu.Payment)}, "open null payment 47h59m30s", "send"},
		{"rights: nothing", []step{on(kefu.Rights)}, "unknown null", "try"},
		{"no limit beside a limit: no limit", []step{on(kefu.Menu), on(kefu.Payment)}, "open null menu 58s", "send"},

		// Guard and time.
		{"the last moment before the guard of 1 minute", []step{on(kefu.Menu), at(58*time.Second - 1)}, "open 3 menu 58s", "send"},
		{"in the guard of 1 minute", []step{on(kefu.Menu), at(58 * time.Second)}, "closed 0", "45015"},
		{"the last moment before the guard of 48 h", []step{on(kefu.UserMessage), at(2*day - 30*time.Second - 1)}, "open 5 user_message 47h59m30s", "send"},
		{"in the guard of 48 h", []step{on(kefu.UserMessage), at(2*day - 30*time.Second)}, "closed 0", "45015"},
		{"no guard: the last nanosecond", []step{unguarded, on(kefu.UserMessage), at(2*day - 1)}, "open 5 user_message 48h0m0s", "send"},
		{"no guard: over", []step{unguarded, on(kefu.UserMessage), at(2 * day)}, "closed 0", "45015"},

		// Allowances: a send takes from the open bucket that ends soonest and has some left.
		{"one sent", []step{on(kefu.UserMessage), sent(1)}, "open 4 user_message 47h59m30s", "send"},
		{"one left", []step{on(kefu.UserMessage), sent(4)}, "open 1 user_message 47h59m30s", "send"},
		{"none left: the end stays", []step{on(kefu.UserMessage), sent(5)}, "open 0 user_message 47h59m30s", "45047"},
		{"scenes stand side by side", []step{on(kefu.UserMessage), on(kefu.Menu)}, "open 8 menu 58s", "send"},
		{"the soonest end first", []step{on(kefu.UserMessage), on(kefu.Menu), sent(2)}, "open 6 menu 58s", "send"},
		{"the soonest is empty: the next", []step{on(kefu.UserMessage), on(kefu.Menu), sent(3)}, "open 5 user_message 47h59m30s", "send"},
		{"all are empty: the one that ends last", []step{on(kefu.UserMessage), on(kefu.Menu), sent(8)}, "open 0 user_message 47h59m30s", "45047"},
		{"what was left goes with its bucket", []step{on(kefu.UserMessage), on(kefu.Menu), sent(1), at(time.Minute)}, "open 5 user_message 47h59m30s", "send"},
		{"equal ends: the earlier trigger first", []step{on(kefu.Scan), on(kefu.Menu), sent(3)}, "open 3 menu 58s", "send"},
		{"a slot that is reserved counts", []step{on(kefu.UserMessage), begin}, "open 4 user_message 47h59m30s", "send"},
		{"an unlimited bucket takes nothing off the others", []step{on(kefu.Payment), at(time.Hour), on(kefu.UserMessage), sent(9), at(2 * day)}, "open 5 user_message 48h59m30s", "send"},

		// A trigger replaces its own scene's bucket.
		{"starts over, is not added", []step{on(kefu.UserMessage), sent(2), at(time.Hour), on(kefu.UserMessage)}, "open 5 user_message 48h59m30s", "send"},
		{"refills an empty one", []step{on(kefu.UserMessage), sent(5), at(time.Hour), on(kefu.UserMessage)}, "open 5 user_message 48h59m30s", "send"},
		{"leaves other scenes alone", []step{on(kefu.UserMessage), sent(5), on(kefu.Menu), sent(3), at(time.Second), on(kefu.Menu)}, "open 3 menu 59s", "send"},
		{"opens again what was over", []step{on(kefu.Menu), at(time.Minute), on(kefu.Menu)}, "open 3 menu 1m58s", "send"},

		// Give-back.
		{"a refusal gives the slot back", []step{on(kefu.UserMessage), refused(40003)}, "open 5 user_message 47h59m30s", "send"},
		{"never above max", []step{on(kefu.UserMessage), begin, answer(-1), answer(-1), answer(-1)}, "open 5 user_message 47h59m30s", "send"},
		{"not to a later generation", []step{on(kefu.UserMessage), begin, on(kefu.UserMessage), sentBy(1), answer(-1)}, "open 4 user_message 47h59m30s", "send"},
		{"to that bucket only", []step{on(kefu.UserMessage), sent(1), on(kefu.Menu), begin, at(time.Minute), answer(-1)}, "open 4 user_message 47h59m30s", "send"},
		{"to its bucket, though a later trigger opened another", []step{on(kefu.UserMessage), begin, on(kefu.Menu), sentBy(3), answer(-1)}, "open 5 user_message 47h59m30s", "send"},
		{"an unknown outcome keeps the slot", []step{on(kefu.UserMessage), begin, begin}, "open 3 user_message 47h59m30s", "send"},
		{"not after WeChat said empty", []step{on(kefu.UserMessage), begin, keepSlot(refused(45047)), answer(-1)}, "open 0 user_message 47h59m30s", "45047"},

		// 45015 closes, 45047 empties, of the noted generations.
		{"45015 closes every bucket", []step{on(kefu.UserMessage), on(kefu.Menu), refused(45015)}, "closed 0", "45015"},
		{"45047 empties every bucket", []step{on(kefu.UserMessage), on(kefu.Menu), refused(45047)}, "open 0 user_message 47h59m30s", "45047"},
		{"45047 empties one without limit", []step{on(kefu.Payment), refused(45047)}, "open 0 payment 47h59m30s", "45047"},
		{"43004 closes every bucket", []step{on(kefu.UserMessage), refused(43004)}, "closed 0", "45015"},
		{"45015 leaves a later generation alone", []step{on(kefu.UserMessage), begin, on(kefu.UserMessage), answer(45015)}, "open 5 user_message 47h59m30s", "send"},
		{"45047 leaves a later generation alone", []step{on(kefu.UserMessage), begin, on(kefu.UserMessage), answer(45047)}, "open 5 user_message 47h59m30s", "send"},
		{"43004 leaves a later generation alone", []step{on(kefu.Follow), begin, on(kefu.Unfollow), on(kefu.Follow), answer(43004)}, "open 3 follow 58s", "send"},
		{"45015 leaves a later bucket alone", []step{on(kefu.UserMessage), begin, on(kefu.Menu), answer(45015)}, "open 3 menu 58s", "send"},
		{"45047 leaves a later bucket alone", []step{on(kefu.UserMessage), begin, on(kefu.Menu), answer(45047)}, "open 3 menu 58s", "send"},
		{"a later bucket outlives 45015, then it is closed", []step{on(kefu.UserMessage), begin, on(kefu.Menu), answer(45015), at(time.Minute)}, "closed 0", "45015"},
		{"a later bucket outlives 45047, then it is empty", []step{on(kefu.UserMessage), begin, on(kefu.Menu), answer(45047), at(time.Minute)}, "open 0 user_message 47h59m30s", "45047"},
		{"empty by 45047, then over", []step{on(kefu.UserMessage), refused(45047), at(2 * day)}, "closed 0", "45015"},
		{"45047, then 45015 to one that is tried", []step{on(kefu.UserMessage), refused(45047), refused(45015)}, "closed 0", "45015"},
		{"a trigger opens after 45015", []step{on(kefu.UserMessage), refused(45015), at(time.Second), on(kefu.UserMessage)}, "open 5 user_message 47h59m31s", "send"},
		{"a trigger of another scene opens only that", []step{on(kefu.UserMessage), refused(45015), on(kefu.Menu)}, "open 3 menu 58s", "send"},
		{"closed is no belief: withheld for good", []step{on(kefu.UserMessage), refused(45015), at(47 * time.Hour)}, "closed 0", "45015"},
		{"empty is no belief: withheld for good", []step{on(kefu.UserMessage), sent(5), at(47 * time.Hour)}, "open 0 user_message 47h59m30s", "45047"},

		// Order of triggers.
		{"as old as its bucket: counts", []step{on(kefu.UserMessage), sent(2), late(kefu.UserMessage, 0)}, "open 5 user_message 47h59m30s", "send"},
		{"older than its bucket: does not", []step{on(kefu.UserMessage), sent(2), late(kefu.UserMessage, -1)}, "open 3 user_message 47h59m30s", "send"},
		{"older than another's bucket: counts", []step{on(kefu.UserMessage), late(kefu.Menu, -time.Second)}, "open 8 menu 57s", "send"},
		{"older than its bucket, which 45015 closed: does not", []step{on(kefu.UserMessage), refused(45015), late(kefu.UserMessage, -1)}, "closed 0", "45015"},
		{"unfollow closes", []step{on(kefu.UserMessage), on(kefu.Menu), at(time.Second), on(kefu.Unfollow)}, "closed 0", "45015"},
		{"unfollow closes what is as old", []step{on(kefu.UserMessage), on(kefu.Unfollow)}, "closed 0", "45015"},
		{"unfollow leaves what is later", []step{on(kefu.UserMessage), late(kefu.Unfollow, -1)}, "open 5 user_message 47h59m30s", "send"},
		{"unfollow leaves only what is later", []step{on(kefu.UserMessage), at(2 * time.Second), on(kefu.Menu), late(kefu.Unfollow, time.Second)}, "open 3 menu 1m0s", "send"},
		{"as old as the unfollow: counts", []step{at(time.Hour), on(kefu.Unfollow), late(kefu.Follow, time.Hour)}, "open 3 follow 1h0m58s", "send"},
		{"older than the unfollow: does not", []step{at(time.Hour), on(kefu.Unfollow), late(kefu.UserMessage, time.Hour-1)}, "closed 0", "45015"},
		{"an older unfollow does not replace a later one", []step{at(time.Hour), on(kefu.Unfollow), late(kefu.Unfollow, 0), late(kefu.UserMessage, time.Minute)}, "closed 0", "45015"},
		{"an unfollow that came before an older trigger is remembered", []step{late(kefu.Unfollow, -time.Minute), late(kefu.UserMessage, -2*time.Minute)}, "closed 0", "45015"},
		{"unfollowed is no belief: withheld for good", []step{on(kefu.Unfollow), at(time.Hour)}, "closed 0", "45015"},
		{"an answer to what left before the unfollow tells nothing", []step{on(kefu.UserMessage), begin, on(kefu.Unfollow), answer(0)}, "closed 0", "45015"},

		// A window of which nothing is known.
		{"never seen: tried", nil, "unknown null", "try"},
		{"never seen, accepted: still unknown", []step{sent(9)}, "unknown null", "try"},
		{"45015 makes it closed", []step{refused(45015)}, "closed 0", "45015"},
		{"43004 makes it closed", []step{refused(43004)}, "closed 0", "45015"},
		{"45047 empties it", []step{refused(45047)}, "open 0", "45047"},
		{"any other refusal tells nothing", []step{refused(40003)}, "unknown null", "try"},
		{"45015 to what left before a trigger tells nothing", []step{begin, on(kefu.Menu), answer(45015)}, "open 3 menu 58s", "send"},
		{"45047 to what left before a trigger tells nothing", []step{begin, on(kefu.Menu), answer(45047)}, "open 3 menu 58s", "send"},
		{"a trigger opens it", []step{refused(45015), on(kefu.UserMessage)}, "open 5 user_message 47h59m30s", "send"},
		{"and then closed is no belief", []step{refused(45015), on(kefu.Menu), at(time.Hour)}, "closed 0", "45015"},
		{"elsewhere: tried", []step{elsewhereNow, on(kefu.Menu), at(time.Minute)}, "unknown null", "try"},
		{"elsewhere: a trigger opens", []step{elsewhereNow, on(kefu.UserMessage)}, "open 5 user_message 47h59m30s", "send"},

		// Beliefs withhold for 60 s.
		{"a belief's last nanosecond", []step{refused(45015), at(time.Minute - 1)}, "closed 0", "45015"},
		{"a belief that is over", []step{refused(45015), at(time.Minute)}, "closed 0", "try"},
		{"a belief of emptiness", []step{refused(45047), at(time.Minute - 1)}, "open 0", "45047"},
		{"a belief of emptiness that is over", []step{refused(45047), at(time.Minute)}, "open 0", "try"},
		{"45015 renews it", []step{refused(45015), at(time.Minute), refused(45015), at(2*time.Minute - 1)}, "closed 0", "45015"},
		{"45047 renews it", []step{refused(45015), at(time.Minute), refused(45047), at(2*time.Minute - 1)}, "open 0", "45047"},
		{"another refusal does not", []step{refused(45015), at(time.Minute), refused(-1)}, "closed 0", "try"},
		{"errcode 0 ends it", []step{refused(45015), sent(1)}, "unknown null", "try"},
		{"errcode 0 ends one of emptiness", []step{refused(45047), sent(1)}, "unknown null", "try"},
		{"and 45015 makes another", []step{refused(45015), sent(1), refused(45015)}, "closed 0", "45015"},
		{"errcode 0 to what left before a trigger tells nothing", []step{refused(45015), begin, on(kefu.Menu), answer(0), at(time.Minute)}, "closed 0", "45015"},
		{"the longest window is over: unknown again", []step{refused(45047), at(2 * day)}, "unknown null", "try"},
		{"elsewhere: closed by 45015 for a time", []step{elsewhereNow, on(kefu.Menu), refused(45015), at(time.Minute - 1)}, "closed 0", "45015"},
		{"elsewhere: then tried", []step{elsewhereNow, on(kefu.Menu), refused(45015), at(time.Minute)}, "closed 0", "try"},
		{"elsewhere: empty by count for a time", []step{elsewhereNow, on(kefu.UserMessage), at(time.Hour), sent(5), at(time.Hour + time.Minute - 1)}, "open 0 user_message 47h59m30s", "45047"},
		{"elsewhere: then tried", []step{elsewhereNow, on(kefu.UserMessage), at(time.Hour), sent(5), at(time.Hour + time.Minute)}, "open 0 user_message 47h59m30s", "try"},
		{"elsewhere: unfollowed for a time", []step{elsewhereNow, on(kefu.Unfollow), at(time.Minute - 1)}, "closed 0", "45015"},
		{"elsewhere: then tried", []step{elsewhereNow, on(kefu.Unfollow), at(time.Minute)}, "closed 0", "try"},

		// After a time in which callbacks could not be kept.
		{"missed: what is over is tried", []step{on(kefu.Menu), missed(time.Hour), at(time.Hour)}, "closed 0", "try"},
		{"missed: what is empty is tried", []step{on(kefu.UserMessage), sent(5), missed(20 * time.Second), at(20 * time.Second)}, "open 0 user_message 47h59m30s", "try"},
		{"missed: who unfollowed is tried", []step{on(kefu.Unfollow), missed(time.Hour), at(time.Hour)}, "closed 0", "try"},
		{"missed: a fresh 45015 still withholds", []step{on(kefu.UserMessage), refused(45015), missed(20 * time.Second), at(time.Minute - 1)}, "closed 0", "45015"},
		{"missed: for its time", []step{on(kefu.UserMessage), refused(45015), missed(20 * time.Second), at(time.Minute)}, "closed 0", "try"},
		{"missed: 45015 then withholds", []step{on(kefu.Menu), missed(time.Hour), at(time.Hour), refused(45015), at(time.Hour + time.Minute - 1)}, "closed 0", "45015"},
		{"missed: for its time", []step{on(kefu.Menu), missed(time.Hour), at(time.Hour), refused(45015), at(time.Hour + time.Minute)}, "closed 0", "try"},
		{"missed: what ends later withholds for a time", []step{on(kefu.UserMessage), missed(time.Hour), at(2*day - 30*time.Second + time.Minute - 1)}, "closed 0", "45015"},
		{"missed: then it is tried", []step{on(kefu.UserMessage), missed(time.Hour), at(2*day - 30*time.Second + time.Minute)}, "closed 0", "try"},
		{"missed: what is open stays so", []step{on(kefu.UserMessage), sent(1), missed(time.Hour), at(time.Hour)}, "open 4 user_message 47h59m30s", "send"},
		{"missed: until the next trigger", []step{on(kefu.Menu), missed(time.Hour), at(time.Hour), on(kefu.Menu), at(2 * time.Hour)}, "closed 0", "45015"},
		{"missed: one of the same second will do, CreateTime has no more", []step{on(kefu.Menu), missed(time.Hour + 900*ms), late(kefu.Menu, time.Hour), at(2 * time.Hour)}, "closed 0", "45015"},
		{"missed: one made before its end will not", []step{on(kefu.Menu), missed(time.Hour), late(kefu.Menu, time.Hour-time.Second), at(2 * time.Hour)}, "closed 0", "try"},
		{"missed: before the last trigger, it is over", []step{missed(-time.Hour), on(kefu.Menu), at(time.Hour)}, "closed 0", "45015"},

		// While a customer-service session is open.
		{"session: what is over is tried", []step{on(kefu.Menu), session(true), at(time.Hour)}, "closed 0", "try"},
		{"session: 45015 withholds for a time", []step{on(kefu.Menu), session(true), at(time.Hour), refused(45015), at(time.Hour + time.Minute - 1)}, "closed 0", "45015"},
		{"session: a trigger does not end that", []step{session(true), on(kefu.Menu), at(time.Hour)}, "closed 0", "try"},
		{"session closed: doubtful until a trigger", []step{on(kefu.Menu), session(true), session(false), at(time.Hour)}, "closed 0", "try"},
		{"session closed: not after one", []step{session(true), session(false), on(kefu.Menu), at(time.Hour)}, "closed 0", "45015"},
		{"session: an older event is passed over", []step{on(kefu.Menu), at(time.Minute), session(false), at(0), session(true), at(time.Hour)}, "closed 0", "45015"},

		// What only when_closed: try can bring about.
		{"accepted although closed: something was missed", []step{on(kefu.Menu), at(time.Hour), sent(1)}, "unknown null", "try"},
		{"and what 45015 says then is a belief", []step{on(kefu.Menu), at(time.Hour), sent(1), refused(45015), at(time.Hour + time.Minute)}, "closed 0", "try"},
		{"and a trigger ends the doubt", []step{on(kefu.Menu), at(time.Hour), sent(1), on(kefu.Menu), at(2 * time.Hour)}, "closed 0", "45015"},
		{"accepted in the guard: nothing was missed", []step{on(kefu.Menu), at(59 * time.Second), sent(1)}, "closed 0", "45015"},
		{"accepted although empty", []step{on(kefu.UserMessage), sent(6)}, "unknown null", "try"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := play(t, tt.steps)
			if got := x.window(0); got != tt.window {
				t.Errorf("window %q, want %q", got, tt.window)
			}
			if got := x.verdict(Asking{AcceptedAt: x.now}); got != tt.message {
				t.Errorf("a message is %q, want %q", got, tt.message)
			}
		})
	}
}

// sentBy sends n while the attempt under way stays so.
func sentBy(n int) step { return keepSlot(sent(n)) }

func keepSlot(s step) step {
	return func(x *talk) {
		slot := x.slot
		s(x)
		x.slot = slot
	}
}

// What the verdict depends on besides the window.
func TestForesee(t *testing.T) {
	normal := Asking{Priority: gateway.Normal, AcceptedAt: start}
	bulk := Asking{Priority: gateway.Bulk, AcceptedAt: start}
	human := Asking{Priority: gateway.Human, AcceptedAt: start}
	try := Asking{Try: true}
	resend := Asking{Resend: true, AcceptedAt: start.Add(365 * day)}
	parts := func(n int) Asking { return Asking{Slots: n, AcceptedAt: start} }
	for _, tt := range []struct {
		name  string
		steps []step
		ahead int
		m     Asking
		want  string
	}{
		{"normal takes a kept slot", []step{on(kefu.UserMessage), sent(4)}, 0, normal, "send"},
		{"human takes a kept slot", []step{on(kefu.UserMessage), sent(4)}, 0, human, "send"},
		{"bulk takes the last that is not kept", []step{on(kefu.UserMessage), sent(2)}, 0, bulk, "send"},
		{"bulk takes no kept slot", []step{on(kefu.UserMessage), sent(3)}, 0, bulk, "45047"},
		{"bulk takes any without limit", []step{on(kefu.Payment)}, 0, bulk, "send"},
		{"bulk tries an unknown window", nil, 0, bulk, "try"},
		{"the last free slot", []step{on(kefu.UserMessage)}, 4, normal, "send"},
		{"all are for those before it", []step{on(kefu.UserMessage)}, 5, normal, "45047"},
		{"bulk after those before it", []step{on(kefu.UserMessage)}, 3, bulk, "45047"},
		{"without limit there is always one", []step{on(kefu.Payment)}, 1000, normal, "send"},
		{"in an unknown window those before it don't count", nil, 1000, normal, "try"},

		{"try is never withheld: closed", []step{on(kefu.Menu), at(time.Hour)}, 0, try, "try"},
		{"try is never withheld: empty", []step{on(kefu.UserMessage), sent(5)}, 0, try, "try"},
		{"try is never withheld: unfollowed", []step{on(kefu.Unfollow)}, 0, try, "try"},
		{"try is never withheld: believed closed", []step{refused(45015)}, 0, try, "try"},
		{"try takes a slot if there is one", []step{on(kefu.UserMessage), sent(4)}, 9, try, "send"},

		{"accepted before the belief was over", []step{refused(45015), at(time.Hour)}, 0, Asking{AcceptedAt: start.Add(time.Minute - 1)}, "45015"},
		{"accepted when it was over", []step{refused(45015), at(time.Hour)}, 0, Asking{AcceptedAt: start.Add(time.Minute)}, "try"},
		{"accepted before the callbacks were missed", []step{on(kefu.Menu), missed(time.Hour), at(time.Hour)}, 0, Asking{AcceptedAt: start.Add(time.Hour - 1)}, "45015"},
		{"accepted after", []step{on(kefu.Menu), missed(time.Hour), at(time.Hour)}, 0, Asking{AcceptedAt: start.Add(time.Hour)}, "try"},

		{"all parts find a slot", []step{on(kefu.UserMessage)}, 0, parts(5), "send"},
		{"one part does not", []step{on(kefu.UserMessage), sent(1)}, 0, parts(5), "45047"},
		{"the parts come after those before them", []step{on(kefu.UserMessage)}, 2, parts(4), "45047"},
		{"parts take kept slots", []step{on(kefu.UserMessage), sent(2)}, 0, parts(3), "send"},
		{"parts of bulk do not", []step{on(kefu.UserMessage), sent(1)}, 0, Asking{Slots: 3, Priority: gateway.Bulk, AcceptedAt: start}, "45047"},
		{"parts of bulk that find enough", []step{on(kefu.UserMessage)}, 0, Asking{Slots: 3, Priority: gateway.Bulk, AcceptedAt: start}, "send"},
		{"parts from two buckets", []step{on(kefu.UserMessage), on(kefu.Menu)}, 0, parts(8), "send"},
		{"parts without limit", []step{on(kefu.Payment)}, 0, parts(100), "send"},
		{"parts in an unknown window are tried", nil, 0, parts(100), "try"},
		{"parts in a closed window", []step{on(kefu.Unfollow)}, 0, parts(2), "45015"},
		{"parts that are tried", []step{on(kefu.UserMessage)}, 0, Asking{Slots: 9, Try: true}, "send"},

		{"resend: open with a free slot", []step{on(kefu.UserMessage)}, 0, resend, "send"},
		{"resend: empty", []step{on(kefu.UserMessage), sent(5)}, 0, resend, "45047"},
		{"resend: closed", []step{on(kefu.Unfollow)}, 0, resend, "45015"},
		{"resend: unknown", nil, 0, resend, "try"},
		{"resend: a belief, however old", []step{refused(45015), at(time.Hour)}, 0, resend, "45015"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := play(t, tt.steps)
			if got := short(x.c.Foresee(x.p, x.now, tt.ahead, tt.m)); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

// When the oldest parked message is tried, and when a verdict may change by itself.
func TestUntil(t *testing.T) {
	parked := Asking{Parked: true}
	const never = -time.Hour
	for _, tt := range []struct {
		name  string
		steps []step
		m     Asking
		want  string
		until time.Duration // from the start
	}{
		{"open: until the bucket closes", []step{on(kefu.UserMessage), on(kefu.Menu)}, Asking{}, "send", 58 * time.Second},
		{"closed: until the follower acts", []step{on(kefu.Menu), at(time.Hour)}, Asking{}, "45015", never},
		{"empty: until the follower acts", []step{on(kefu.UserMessage), sent(5)}, Asking{}, "45047", never},
		{"believed closed: parked, and tried in an hour", []step{refused(45015)}, Asking{AcceptedAt: start}, "45015", time.Hour},
		{"unknown: at once", nil, Asking{}, "try", never},

		{"parked: closed, until the follower acts", []step{on(kefu.Menu), at(time.Hour)}, parked, "45015", never},
		{"parked: kept slots are not for it", []step{on(kefu.UserMessage), sent(3)}, parked, "45047", never},
		{"parked: believed closed, in an hour", []step{refused(45015), at(time.Hour - 1)}, parked, "45015", time.Hour},
		{"parked: the hour is over", []step{refused(45015), at(time.Hour)}, parked, "try", never},
		{"parked: 45015 begins another hour", []step{refused(45015), at(time.Hour), refused(45015)}, parked, "45015", 2 * time.Hour},
		{"parked: so does a try with another outcome", []step{refused(45015), at(time.Hour), refused(-1)}, parked, "45015", 2 * time.Hour},
		{"parked: believed empty, in an hour", []step{refused(45047)}, parked, "45047", time.Hour},
		{"parked: left over in a window that is unknown again", []step{refused(45015), sent(1)}, parked, "0", time.Hour},
		{"parked: missed, an hour after", []step{on(kefu.Menu), missed(5 * time.Hour), at(5 * time.Hour)}, parked, "45015", 6 * time.Hour},
		{"parked: elsewhere and open, until the end", []step{elsewhereNow, on(kefu.UserMessage), on(kefu.Menu), sent(6)}, parked, "45047", 2*day - 30*time.Second},
		{"parked: elsewhere, an hour after the end", []step{elsewhereNow, on(kefu.UserMessage), at(2 * day)}, parked, "0", 2*day - 30*time.Second + time.Hour},
		{"parked: a relearn longer than an hour", []step{func(x *talk) { x.p.Relearn = 3 * time.Hour }, refused(45015)}, parked, "45015", 3 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := play(t, tt.steps)
			v := x.c.Foresee(x.p, x.now, 0, tt.m)
			want := start.Add(tt.until)
			if tt.until == never {
				want = time.Time{}
			}
			if short(v) != tt.want || !v.Until.Equal(want) {
				t.Errorf("%s until %v, want %s until %v", short(v), v.Until, tt.want, want)
			}
			if v.Until.IsZero() {
				return
			}
			// Until then nothing changes, then something does.
			if got := x.c.Foresee(x.p, want.Add(-1), 0, tt.m); got != v {
				t.Errorf("%+v a nanosecond before, want %+v", got, v)
			}
			if got := x.c.Foresee(x.p, want, 0, Asking{Parked: true}); got == v {
				t.Errorf("nothing changes then: %+v", got)
			}
		})
	}
}

// How many slots parked messages may take: the free ones - keep_free; long texts all.
func TestRelease(t *testing.T) {
	keep := func(n int) step { return func(x *talk) { x.p.KeepFree = &n } }
	for _, tt := range []struct {
		name  string
		steps []step
		want  int
		all   int
	}{
		{"of 5 keep 2", []step{on(kefu.UserMessage)}, 3, 5},
		{"of 3 keep 1", []step{on(kefu.Menu)}, 2, 3},
		{"of 4 keep 2", []step{allow(kefu.Menu, 4), on(kefu.Menu)}, 2, 4},
		{"of 6 keep a third", []step{allow(kefu.Menu, 6), on(kefu.Menu)}, 4, 6},
		{"of 20 keep a third", []step{allow(kefu.Menu, 20), on(kefu.Menu)}, 14, 20},
		{"of 1 keep 1", []step{allow(kefu.Menu, 1), on(kefu.Menu)}, 0, 1},
		{"without limit keep 0", []step{on(kefu.Payment)}, math.MaxInt, math.MaxInt},
		{"without limit beside a limit", []step{on(kefu.UserMessage), on(kefu.Payment)}, math.MaxInt, math.MaxInt},
		{"the account's setting", []step{keep(0), on(kefu.UserMessage)}, 5, 5},
		{"the account's setting is more than there is", []step{keep(9), on(kefu.UserMessage)}, 0, 5},
		{"slots that are used are not free", []step{on(kefu.UserMessage), sent(1), begin}, 1, 3},
		{"never below 0", []step{on(kefu.UserMessage), sent(4)}, 0, 1},
		{"of all open buckets, less the most that one keeps", []step{on(kefu.UserMessage), on(kefu.Menu)}, 6, 8},
		{"an empty bucket keeps nothing", []step{on(kefu.UserMessage), sent(5), on(kefu.Menu)}, 2, 3},
		{"closed", []step{on(kefu.Menu), at(time.Hour)}, 0, 0},
		{"believed closed", []step{refused(45015)}, 0, 0},
		{"unknown again: as after a user_message", []step{refused(45015), sent(1)}, 3, 5},
		{"unknown again, without limit", []step{unlimited(kefu.UserMessage), refused(45015), sent(1)}, math.MaxInt, math.MaxInt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := play(t, tt.steps)
			if got, all := x.c.Release(x.p, x.now); got != tt.want || all != tt.all {
				t.Errorf("%d come out and %d for texts, want %d and %d", got, all, tt.want, tt.all)
			}
		})
	}
}

// A text of more parts than this is never kept to wait.
func TestMost(t *testing.T) {
	none, two, nine := 0, 2, 9
	for _, tt := range []struct {
		name         string
		a            gateway.Account
		normal, bulk int
	}{
		{"a payment can't be waited for", gateway.Account{}, 5, 3},
		{"subscription", gateway.Account{Profile: "subscription_current"}, 5, 3},
		{"legacy", gateway.Account{Profile: "legacy_2021"}, 20, 14},
		{"a cell of the account's own", gateway.Account{Rules: map[kefu.Trigger]gateway.Allowance{kefu.Menu: {Max: &nine, Seconds: 60}}}, 9, 6},
		{"nothing is kept", gateway.Account{KeepFree: &none}, 5, 5},
		{"two are kept", gateway.Account{KeepFree: &two}, 5, 3},
		{"no limit", gateway.Account{Rules: map[kefu.Trigger]gateway.Allowance{kefu.Menu: {Seconds: 60}}}, kefu.Unlimited, kefu.Unlimited},
	} {
		p, err := PolicyOf(tt.a)
		if err != nil {
			t.Fatal(err)
		}
		if n, b := p.Most(gateway.Normal), p.Most(gateway.Bulk); n != tt.normal || b != tt.bulk {
			t.Errorf("%s: %d and %d for bulk, want %d and %d", tt.name, n, b, tt.normal, tt.bulk)
		}
	}
}

// When parked messages may come out: when a trigger opens or refills a bucket, and at
// the first errcode 0 against belief.
func TestParkedComeOut(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []step
		want  bool
	}{
		{"a trigger opens", []step{on(kefu.UserMessage)}, true},
		{"a trigger refills", []step{on(kefu.UserMessage), sent(5), on(kefu.UserMessage)}, true},
		{"a trigger that comes too late", []step{on(kefu.UserMessage), late(kefu.UserMessage, -1)}, false},
		{"a trigger without an allowance", []step{on(kefu.Rights)}, false},
		{"unfollow", []step{on(kefu.UserMessage), on(kefu.Unfollow)}, false},
		{"errcode 0 ends a belief", []step{refused(45015), sent(1)}, true},
		{"the second is no news", []step{refused(45015), sent(2)}, false},
		{"a belief again, and again its end", []step{refused(45015), sent(2), refused(45047), sent(1)}, true},
		{"errcode 0 from a bucket is no news", []step{on(kefu.UserMessage), sent(1)}, false},
		{"errcode 0 to what left before a trigger", []step{refused(45015), begin, on(kefu.Menu), answer(0)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if x := play(t, tt.steps); x.out != tt.want {
				t.Errorf("%v, want %v", x.out, tt.want)
			}
		})
	}
}

// POST /v1/triggers.
func TestTold(t *testing.T) {
	for _, tt := range []struct {
		name   string
		steps  []step
		t      kefu.Trigger
		made   time.Duration
		opened bool
		window string
	}{
		{"now", nil, kefu.Payment, 0, true, "open null payment 47h59m30s"},
		{"before", []step{at(time.Hour)}, kefu.UserMessage, 0, true, "open 5 user_message 47h59m30s"},
		{"cut to seconds", []step{at(time.Hour)}, kefu.UserMessage, 1999 * ms, true, "open 5 user_message 47h59m31s"},
		{"ahead of the clock: now", nil, kefu.UserMessage, time.Minute, true, "open 5 user_message 47h59m30s"},
		{"as old as its bucket", []step{on(kefu.UserMessage), sent(1)}, kefu.UserMessage, 999 * ms, false, "open 4 user_message 47h59m30s"},
		{"later than its bucket", []step{on(kefu.UserMessage), sent(1), at(time.Second)}, kefu.UserMessage, time.Second, true, "open 5 user_message 47h59m31s"},
		{"as old as another's bucket", []step{on(kefu.UserMessage)}, kefu.Menu, 0, true, "open 8 menu 58s"},
		{"the last moment of its window", []step{at(58*time.Second - 1)}, kefu.Menu, 0, true, "open 3 menu 58s"},
		{"its window would be over", []step{at(58 * time.Second)}, kefu.Menu, 0, false, "unknown null"},
		{"older than an unfollow", []step{at(time.Hour), on(kefu.Unfollow)}, kefu.UserMessage, time.Hour - time.Second, false, "closed 0"},
		{"the profile has nothing for it", nil, kefu.Rights, 0, false, "unknown null"},
		{"unfollow", []step{on(kefu.UserMessage), at(time.Second)}, kefu.Unfollow, time.Second, false, "closed 0"},
		{"unfollow long ago", []step{at(30 * day)}, kefu.Unfollow, 0, false, "closed 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := play(t, tt.steps)
			var opened bool
			x.c, opened = x.c.Told(x.p, tt.t, start.Add(tt.made), x.now)
			if got := x.window(0); opened != tt.opened || got != tt.window {
				t.Errorf("opened %v, window %q; want %v, %q", opened, got, tt.opened, tt.window)
			}
		})
	}
}

// What an account's settings make of the rules.
func TestPolicyOf(t *testing.T) {
	two, keep := 2, 4
	p, err := PolicyOf(gateway.Account{
		Profile: "legacy_2021", Callbacks: "elsewhere", KeepFree: &keep, Relearn: 7,
		Rules: map[kefu.Trigger]gateway.Allowance{kefu.Menu: {Max: &two, Seconds: 90}, kefu.Scan: {Seconds: 5}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for trigger, want := range map[kefu.Trigger]kefu.Allowance{
		kefu.UserMessage: {Max: 20, For: 48 * time.Hour},
		kefu.Menu:        {Max: 2, For: 90 * time.Second},
		kefu.Scan:        {Max: kefu.Unlimited, For: 5 * time.Second},
		kefu.Rights:      {},
	} {
		if p.Rules[trigger] != want {
			t.Errorf("%s: %+v, want %+v", trigger, p.Rules[trigger], want)
		}
	}
	if !p.Elsewhere || *p.KeepFree != 4 || p.Relearn != 7*time.Second {
		t.Errorf("%+v", p)
	}
	if _, err := PolicyOf(gateway.Account{Profile: "none"}); err == nil {
		t.Error("no error for an unknown profile")
	}
	for life, want := range map[time.Duration]time.Duration{
		time.Minute: 2 * time.Second, time.Hour - 1: 2 * time.Second, time.Hour: 30 * time.Second, 2 * day: 30 * time.Second,
		10 * time.Second: time.Second,
	} {
		if got := p.guard(life); got != want {
			t.Errorf("a guard of %v before the end of %v, want %v", got, life, want)
		}
	}
}

// opener is the trigger of the bucket that the next send takes from; "" if there is none.
func opener(w gateway.Window) (t kefu.Trigger) {
	if w.OpenedBy != nil {
		t = *w.OpenedBy
	}
	return t
}
