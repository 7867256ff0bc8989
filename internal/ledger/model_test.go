package ledger

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A history is another ledger, which forgets nothing: each question is answered by
// going through all that happened, in the words of the contract.
type history struct {
	p     Policy
	facts []fact
}

type fact struct {
	kind string // "trigger", "unfollow", "session", "take", "back", "answer"
	now  time.Time
	t    kefu.Trigger
	at   time.Time // of trigger and unfollow
	from int       // of take: the trigger whose bucket it takes from, or -1
	take int       // of back and answer: what they are about
	code int       // of answer
	try  bool      // of take
	open bool      // of session
}

func (h *history) add(f fact) int {
	h.facts = append(h.facts, f)
	return len(h.facts) - 1
}

// last is the index of the last fact like that, or -1.
func (h *history) last(is func(fact) bool) int {
	for i := len(h.facts) - 1; i >= 0; i-- {
		if is(h.facts[i]) {
			return i
		}
	}
	return -1
}

func acts(f fact) bool { return f.kind == "trigger" || f.kind == "unfollow" }

// counts reports whether a trigger made at at counts.
func (h *history) counts(t kefu.Trigger, at time.Time) bool {
	if t != kefu.Unfollow && h.p.Rules[t].Max == 0 {
		return false
	}
	for _, f := range h.facts {
		if (f.kind == "unfollow" || f.kind == "trigger" && f.t == t) && at.Before(f.at) {
			return false
		}
	}
	return true
}

// left is how many messages the bucket opened by fact i permits, whatever the time;
// gone tells that an act or an answer closed it.
func (h *history) left(i int) (n int, gone bool) {
	b := h.facts[i]
	most := h.p.Rules[b.t].Max
	n = most
	for _, f := range h.facts[i+1:] {
		switch {
		case f.kind == "trigger" && f.t == b.t, f.kind == "unfollow" && !f.at.Before(b.at):
			return 0, true
		case f.kind == "answer" && f.take > i && (f.code == 45015 || f.code == 43004):
			return 0, true
		case f.kind == "answer" && f.take > i && f.code == 45047:
			n, most = 0, 0
		case most == kefu.Unlimited:
		case f.kind == "take" && f.from == i:
			n--
		case f.kind == "back" && h.facts[f.take].from == i:
			n = min(n+1, most)
		}
	}
	return n, false
}

func (h *history) end(i int, guarded bool) time.Time {
	life := h.p.Rules[h.facts[i].t].For
	end := h.facts[i].at.Add(life)
	if !guarded || h.p.ShortGuard == NoGuard {
		return end
	}
	if life == time.Minute {
		return end.Add(-2 * time.Second)
	}
	return end.Add(-30 * time.Second)
}

// open are the buckets open at now, the first to end first.
func (h *history) open(now time.Time, guarded bool) (open []int) {
	for i, f := range h.facts {
		if f.kind != "trigger" {
			continue
		}
		if _, gone := h.left(i); !gone && now.Before(h.end(i, guarded)) {
			open = append(open, i)
		}
	}
	slices.SortStableFunc(open, func(a, b int) int { return h.end(a, false).Compare(h.end(b, false)) })
	return open
}

// next is the bucket that a send takes from, or -1.
func (h *history) next(now time.Time, guarded bool) int {
	for _, i := range h.open(now, guarded) {
		if n, _ := h.left(i); n != 0 {
			return i
		}
	}
	return -1
}

type judged struct {
	window string
	total  int // kefu.Unlimited, or what is left in all open buckets
	keep   int
	code   int
	belief bool
	stale  time.Time
	retry  time.Time
}

func (h *history) judge(now time.Time) (j judged) {
	open := h.open(now, true)
	for _, i := range open {
		n, _ := h.left(i)
		if n == kefu.Unlimited {
			j.total, j.keep = kefu.Unlimited, 0
			break
		}
		j.total += n
		if n == 0 {
			continue
		}
		keep := 0
		switch most := h.p.Rules[h.facts[i].t].Max; most { // all there are in the profiles
		case 3:
			keep = 1
		case 5:
			keep = 2
		case 20:
			keep = 6
		}
		if h.p.KeepFree != nil {
			keep = *h.p.KeepFree
		}
		j.keep = max(j.keep, keep)
	}
	act := h.last(acts)
	heard := act >= 0
	var latest, over, took, tried, unfollowed time.Time
	proof := false
	for i, f := range h.facts {
		if acts(f) && f.at.After(latest) {
			latest = f.at
		}
		switch f.kind {
		case "trigger":
			if _, gone := h.left(i); !gone && !now.Before(h.end(i, true)) && h.end(i, true).After(over) {
				over = h.end(i, true)
			}
		case "unfollow":
			unfollowed = f.at
		case "take":
			if f.from >= 0 {
				took = f.now
			}
			if f.try {
				tried = f.now
			}
		case "answer":
			proof = proof || i > act && f.code == 0 && f.take > act && h.facts[f.take].from < 0
		case "session":
			proof = proof || i > act && !f.open && h.sessionOpen(i)
		}
	}
	// WeChat's latest word on what was beyond us, since the latest act. Of errcodes 0
	// in a row the first.
	said, saidAt := -1, time.Time{}
	for i := act + 1; i < len(h.facts); i++ {
		f := h.facts[i]
		if f.kind != "answer" || f.take < act || f.code == 0 && (h.facts[f.take].from >= 0 || said == 0) {
			continue
		}
		said, saidAt = f.code, f.now
	}
	missed := !heard || latest.Before(h.p.Missed.Truncate(time.Second))
	j.belief = !heard || h.p.Elsewhere || missed || proof || h.sessionOpen(len(h.facts))

	buckets := 0
	for i, f := range h.facts {
		if f.kind == "trigger" && !slices.ContainsFunc(h.facts[i+1:], func(g fact) bool {
			return g.kind == "unfollow" && !g.at.Before(f.at)
		}) {
			buckets++
		}
	}
	var since time.Time
	word := false
	closed := func(at time.Time) { j.window, j.code, since = "closed 0", 45015, at }
	empty := func(at time.Time) { j.window, j.code, since = "open 0", 45047, at }
	switch {
	case j.total != 0:
		i := h.next(now, true)
		remaining := "null"
		if j.total > 0 {
			remaining = fmt.Sprint(j.total)
		}
		j.window = fmt.Sprint("open ", remaining, " ", h.facts[i].t, " ", h.end(i, true).Sub(start).Truncate(ms))
	case said == 0:
		j.window, since, word = "unknown null", saidAt, true
	case len(open) > 0:
		empty(took)
		if word = said == 45047; word {
			since = saidAt
		}
		i := open[len(open)-1]
		j.window = fmt.Sprint("open 0 ", h.facts[i].t, " ", h.end(i, true).Sub(start).Truncate(ms))
	case said == 45015 || said == 43004:
		closed(saidAt)
		word = true
	case said == 45047 && !over.After(saidAt) && now.Sub(saidAt) < 48*time.Hour:
		empty(saidAt)
		word = true
	case buckets == 0 && !unfollowed.IsZero():
		closed(unfollowed)
	case !heard:
		j.window, since = "unknown null", saidAt
	case h.p.Elsewhere:
		j.window, since = "unknown null", over
	default:
		closed(over)
	}
	j.stale = since.Add(h.p.Relearn)
	if missed && !word && since.Before(h.p.Missed) {
		since, j.stale = h.p.Missed, h.p.Missed
	}
	if tried.After(since) {
		since = tried
	}
	j.retry = since.Add(time.Hour)
	return j
}

// sessionOpen reports whether a session was open when there were n facts.
func (h *history) sessionOpen(n int) bool {
	for i := n - 1; i >= 0; i-- {
		if h.facts[i].kind == "session" {
			return h.facts[i].open
		}
	}
	return false
}

// foresee is what becomes of a message, in short.
func (h *history) foresee(now time.Time, ahead int, m Asking) string {
	j := h.judge(now)
	if m.Parked {
		switch {
		case j.total != 0:
			return "45047"
		case j.belief && !now.Before(j.retry):
			return "try"
		}
		return fmt.Sprint(j.code)
	}
	kept := 0
	if m.Priority == gateway.Bulk {
		kept = j.keep
	}
	switch {
	case j.total == kefu.Unlimited || j.total >= ahead+kept+max(m.Slots, 1) || j.total > 0 && m.Try:
		return "send"
	case m.Try:
		return "try"
	case j.total > 0:
		return "45047"
	case j.code == 0:
		return "try"
	case j.belief && !m.Resend && !m.AcceptedAt.Before(j.stale):
		return "try"
	}
	return fmt.Sprint(j.code)
}

// histories is how many random histories a property is tried on. The race detector
// makes each ten times as long and has nothing to find in pure functions.
func histories(short, long int) int {
	switch {
	case os.Getenv("KEFU_LONG") != "":
		return long
	case race:
		return short / 10
	}
	return short
}

// The ledger, which remembers little, decides as the history does, which forgets
// nothing: in any order of acts, sends, answers, jumps and gaps. At each step the
// conversation goes through JSON, and no method changes the one it was called on.
func TestLedgerIsItsHistory(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(histories(3_000, 300_000)) {
		agree(t, seed, seen)
		if t.Failed() {
			return
		}
	}
	for _, verdict := range []string{"send", "try", "0", "45015", "45047"} {
		if seen[verdict] == 0 {
			t.Errorf("no history came to %s", verdict)
		}
	}
	t.Log(seen)
}

func agree(t *testing.T, seed uint64, seen map[string]int) {
	r := rand.New(rand.NewPCG(seed, 1))
	p, err := PolicyOf(gateway.Account{Profile: kefu.Profiles()[r.IntN(4)]})
	if err != nil {
		t.Fatal(err)
	}
	p.Elsewhere = r.IntN(4) == 0
	if r.IntN(2) == 0 {
		p.ShortGuard, p.LongGuard = NoGuard, NoGuard
	}
	if r.IntN(4) == 0 {
		keep := r.IntN(7)
		p.KeepFree = &keep
	}
	var c Conversation
	h := &history{p: p}
	now := start
	type attempt struct {
		slot Slot
		take int
	}
	var under []attempt // attempts whose answer is still to come, or that are unknown
	var told []string
	say := func(format string, args ...any) {
		told = append(told, now.Sub(start).String()+" "+fmt.Sprintf(format, args...))
	}
	priorities := []gateway.Priority{gateway.Human, gateway.Normal, gateway.Bulk}
	for range 1 + r.IntN(40) {
		switch r.IntN(4) { // time goes on
		case 0:
			now = now.Add(time.Duration(r.Int64N(int64(40 * time.Second))))
		case 1:
			now = now.Add(time.Duration(r.IntN(70)) * time.Second)
		case 2:
			if r.IntN(4) == 0 {
				now = now.Add(time.Duration(r.Int64N(int64(50 * time.Hour))))
			}
		}
		before := encoded(t, c)
		old := c
		switch op := r.IntN(13); op {
		case 0, 1, 2:
			trigger := slices.Concat(kefu.Triggers(), []kefu.Trigger{kefu.Unfollow, kefu.UserMessage, kefu.Menu})[r.IntN(9)]
			made := now
			if r.IntN(3) == 0 {
				made = made.Add(-time.Duration(r.Int64N(int64(2 * time.Minute))))
			}
			if r.IntN(2) == 0 {
				made = made.Truncate(time.Second)
			}
			var opened bool
			c, opened = c.Trigger(p, trigger, made)
			counts := h.counts(trigger, made)
			say("%s made at %v: %v", trigger, made.Sub(start), opened)
			if opened != (counts && trigger != kefu.Unfollow) {
				t.Errorf("opened %v, but it counts: %v", opened, counts)
			}
			if counts {
				kind := "trigger"
				if trigger == kefu.Unfollow {
					kind = "unfollow"
				}
				h.add(fact{kind: kind, now: now, t: trigger, at: made})
			}
		case 3, 4, 5, 6, 7:
			m := Asking{Priority: priorities[r.IntN(3)], Try: r.IntN(4) == 0, AcceptedAt: now, Parked: r.IntN(8) == 0}
			want := h.foresee(now, 0, m)
			got, slot, v := c.Take(p, now, m)
			say("take %+v: %s, %+v", m, short(v), slot)
			if short(v) != want {
				t.Errorf("it is %s, want %s", short(v), want)
			}
			if c = got; v.Act == Withhold {
				break
			}
			from := h.next(now, v.Act == Send)
			if from < 0 != (slot.From == "") || from >= 0 && h.facts[from].t != slot.From {
				t.Errorf("it takes from %+v", slot)
			}
			under = append(under, attempt{slot, h.add(fact{kind: "take", now: now, from: from, try: v.Act == Try})})
		case 8, 9, 10:
			if len(under) == 0 {
				break
			}
			i := len(under) - 1
			if r.IntN(6) == 0 {
				i = r.IntN(len(under)) // resolved late
			}
			a := under[i]
			code := []int{0, 0, 0, -1, -1, 45015, 45047, 43004}[r.IntN(8)]
			say("answer %d to %+v", code, a.slot)
			switch code {
			case 0:
				c, _ = c.Accepted(a.slot, now)
			case -1:
				c = c.GiveBack(a.slot)
				h.add(fact{kind: "back", now: now, take: a.take})
			case 45015:
				c = c.Closed(a.slot, now)
			case 45047:
				c = c.Spent(a.slot, now)
			case 43004:
				c = c.Unreachable(a.slot, now)
			}
			if code != -1 {
				h.add(fact{kind: "answer", now: now, take: a.take, code: code})
			}
			if r.IntN(8) > 0 { // else it is answered once more
				under = slices.Delete(under, i, i+1)
			}
		case 11:
			if r.IntN(4) == 0 {
				p.Missed = now
				h.p = p
				say("missed")
			}
		case 12:
			if r.IntN(2) == 0 {
				on := r.IntN(2) == 0
				c = c.Session(on, now)
				h.add(fact{kind: "session", now: now, open: on})
				say("session %v", on)
			}
		}
		if encoded(t, old) != before {
			t.Errorf("a method changed the conversation that it was called on:\n%s, was\n%s", encoded(t, old), before)
		}
		c = through(t, c)

		j := h.judge(now)
		x := talk{T: t, p: p, now: now, c: c}
		if got := x.window(0); got != j.window {
			t.Errorf("window %q, want %q", got, j.window)
		}
		for _, m := range []Asking{
			{AcceptedAt: now}, {Priority: gateway.Bulk, AcceptedAt: now}, {Try: true}, {Parked: true}, {Resend: true, AcceptedAt: now},
			{Slots: 1 + r.IntN(6), AcceptedAt: now}, {Slots: 1 + r.IntN(6), Priority: gateway.Bulk, AcceptedAt: now},
			{AcceptedAt: now.Add(-time.Duration(r.Int64N(int64(3 * time.Minute))))},
		} {
			ahead := r.IntN(4) * r.IntN(3)
			got, want := short(c.Foresee(p, now, ahead, m)), h.foresee(now, ahead, m)
			if seen[want]++; got != want {
				t.Errorf("%+v with %d ahead is %s, want %s", m, ahead, got, want)
			}
		}
		if t.Failed() {
			for _, line := range told {
				t.Log(line)
			}
			t.Fatalf("seed %d: %s at %v", seed, encoded(t, c), now.Sub(start))
		}
	}
}

func encoded(t *testing.T, c Conversation) string {
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// through is c as the store gives it back.
func through(t *testing.T, c Conversation) (back Conversation) {
	if err := json.Unmarshal([]byte(encoded(t, c)), &back); err != nil {
		t.Fatal(err)
	}
	return back
}
