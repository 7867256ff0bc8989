// Package ledger decides whether a follower may be written to: which windows are
// open, what is left of each allowance, what is withheld and until when.
//
// All of it is pure. A [Conversation] is a value; each method returns a new one and
// shares nothing with the old that is ever written to, so a commit that fails is
// undone by forgetting the new value. The time is always an argument.
//
//	c, slot, v := c.Take(policy, now, ledger.Asking{Priority: gateway.Normal, AcceptedAt: accepted})
//	switch v.Act {
//	case ledger.Withhold: // park or fail it, as v.Code says
//	default:              // commit c and slot, post the message, then one of
//		c, reopened = c.Accepted(slot, now) // errcode 0
//		c = c.Closed(slot, now)             // 45015
//		c = c.Spent(slot, now)              // 45047
//		c = c.Unreachable(slot, now)        // 43004
//		c = c.GiveBack(slot)                // every other refusal, and what never left
//	}                                           // an unknown outcome keeps the slot
//
// Each trigger has a bucket; by [Policy.Mixing] all may share one. A bucket's generation is the number of the trigger that
// opened it, counted per follower. What an answer corrects are the buckets of the
// generations that were there when its message left, never one that a later trigger
// opened.
//
// Where callbacks may be missing, "closed" and "empty" are only beliefs: they
// withhold for [Policy.Relearn] and then let a message try.
package ledger

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// The errcodes that speak of a window.
const (
	NotFollowing   = 43004
	WindowClosed   = 45015
	AllowanceSpent = 45047
)

// retryParked is how often the oldest parked message is tried without a new one.
const retryParked = time.Hour

// A Conversation is all that the ledger remembers of one follower of one account.
// The zero value is one of whom nothing was ever seen. Its fields are exported for
// JSON alone.
type Conversation struct {
	Buckets    []Bucket  `json:"b,omitempty"` // at most one of each trigger; never written to in place
	Triggers   int       `json:"n,omitempty"` // that counted, unfollows too: the latest generation
	Heard      time.Time `json:"h,omitzero"`  // when the latest of them was made; zero: none
	Unfollowed time.Time `json:"u,omitzero"`  // the latest unfollow
	Took       time.Time `json:"t,omitzero"`  // when a slot was last taken from a bucket
	Tried      time.Time `json:"r,omitzero"`  // when a message was last tried
	Answer     Answer    `json:"a,omitzero"`  // the latest since the latest trigger
	Doubt      bool      `json:"d,omitempty"` // a trigger was missed, and none came since
	KF         Session   `json:"s,omitzero"`
}

// A Bucket is what one trigger permits.
type Bucket struct {
	Trigger    kefu.Trigger `json:"t"`
	Generation int          `json:"g"`
	Max        int          `json:"m"`           // messages, or [kefu.Unlimited]
	Used       int          `json:"u,omitempty"` // of Max
	OpenedAt   time.Time    `json:"o"`
	EndsAt     time.Time    `json:"e"`           // by WeChat's rules, without a guard
	Refused    int          `json:"r,omitempty"` // 45015: closed, 45047: emptied, by WeChat's word
}

// An Answer is what WeChat's latest answer told of a window in which the ledger saw
// nothing left: 0 it is open, 45015 or 43004 it is closed, 45047 it is empty.
type Answer struct {
	Code int       `json:"c,omitempty"`
	At   time.Time `json:"a"` // zero: there is none
}

// A Session is one with a customer-service worker, in which WeChat does not push
// what the follower writes.
type Session struct {
	Open bool      `json:"o,omitempty"`
	At   time.Time `json:"a"` // of its latest event
}

// A Slot is what one attempt takes, to be kept with it. The zero Slot is of nothing.
type Slot struct {
	From       kefu.Trigger `json:"f,omitempty"` // its bucket; "": of no bucket
	Generation int          `json:"g,omitempty"` // of that bucket
	Latest     int          `json:"n,omitempty"` // generation then: buckets up to it are the noted ones
}

// An Asking is what a verdict on a message depends on besides the conversation.
type Asking struct {
	Priority   gateway.Priority
	Try        bool      // when_closed: try
	AcceptedAt time.Time // when it joined its lane: accepted, or let in at its not_before
	Slots      int       // how many it takes: the parts of a long text that have not left; 0 means 1
	Parked     bool      // it is the oldest parked one, and asks whether to be tried
	Resend     bool      // of unknown outcome: goes only where the window is open or unknown
}

// An Act is what becomes of a message.
type Act int

const (
	Withhold Act = iota // nothing can be sent
	Send                // there is a slot for it
	Try                 // the ledger can't know: WeChat is asked
)

func (a Act) String() string { return [...]string{"withhold", "send", "try"}[a] }

// A Verdict says what becomes of a message.
type Verdict struct {
	Act   Act
	Code  int       // of Withhold: 45015 or 45047; 0 for a parked one that only waits
	Until time.Time // when Act may change by time alone; zero: only by an act or an answer
}

// Trigger is what a callback tells: t was made at at, the lesser of its CreateTime
// and its receipt. It replaces t's own bucket, with all of the allowance and a new
// end, unless at is older than that bucket or than the last unfollow; where there is
// one bucket for all, see [gateway.Mixing]. [kefu.Unfollow] closes the buckets that
// are not later. opened reports whether a bucket was opened: parked messages may
// come out, see [Conversation.Release].
func (c Conversation) Trigger(p Policy, t kefu.Trigger, at time.Time) (_ Conversation, opened bool) {
	at = plain(at)
	if t == kefu.Unfollow {
		return c.unfollow(p, at), false
	}
	allowed := p.Rules[t]
	late := at.Before(c.openedAt(p, t)) && p.Mixing != gateway.MaxOfBoth
	if allowed.Max == 0 || allowed.For <= 0 || at.Before(c.Unfollowed) || late {
		return c, false
	}
	c = c.heard(at)
	fresh := Bucket{Trigger: t, Generation: c.Triggers, Max: allowed.Max, OpenedAt: at, EndsAt: at.Add(allowed.For)}
	switch p.Mixing {
	case gateway.LatestWins:
		c.Buckets = []Bucket{fresh}
	case gateway.MaxOfBoth:
		for _, b := range c.Buckets {
			fresh = b.joined(fresh)
		}
		c.Buckets = []Bucket{fresh}
	default:
		c.Buckets = append(c.without(func(b Bucket) bool { return b.Trigger == t }), fresh)
	}
	return c, true
}

// joined is the one bucket of MaxOfBoth after fresh: the longer life and the larger
// number, as long as the earlier of the two was open when the later was opened. It
// may be less than WeChat has, never more: of triggers that are heard in another
// order than they were made, and of a slot taken before, which is not given back.
func (b Bucket) joined(fresh Bucket) Bucket {
	earlier, later := b, fresh
	if fresh.OpenedAt.Before(b.OpenedAt) {
		earlier, later = fresh, b
	}
	later.Generation = fresh.Generation
	if earlier.shut() || !later.OpenedAt.Before(earlier.EndsAt) {
		return later
	}
	if earlier.EndsAt.After(later.EndsAt) {
		later.EndsAt = earlier.EndsAt
	}
	left := earlier.left()
	if left == kefu.Unlimited || later.Max != kefu.Unlimited && left > later.left() {
		later.Max, later.Used = earlier.Max, earlier.Used
	}
	return later
}

// alone is b with no more than its own trigger permits.
func (b Bucket) alone(p Policy) Bucket {
	allowed := p.Rules[b.Trigger]
	if end := b.OpenedAt.Add(allowed.For); end.Before(b.EndsAt) {
		b.EndsAt = end
	}
	if allowed.Max != kefu.Unlimited && (b.Max == kefu.Unlimited || b.Max > allowed.Max) {
		b.Max = allowed.Max
	}
	return b
}

// Told is what POST /v1/triggers tells: as [Conversation.Trigger], with at cut to
// seconds and not after now; but it must be later than t's bucket was opened, and its
// window not over yet. An unfollow changes c and opens nothing.
func (c Conversation) Told(p Policy, t kefu.Trigger, at, now time.Time) (_ Conversation, opened bool) {
	if at.After(now) {
		at = now
	}
	at = at.Truncate(time.Second)
	life := p.Rules[t].For
	if t != kefu.Unfollow && (!at.After(c.openedAt(p, t)) || !now.Before(at.Add(life-p.guard(life)))) {
		return c, false
	}
	return c.Trigger(p, t, at)
}

func (c Conversation) unfollow(p Policy, at time.Time) Conversation {
	if at.Before(c.Unfollowed) {
		return c
	}
	c = c.heard(at)
	c.Buckets = c.without(func(b Bucket) bool { return !b.OpenedAt.After(at) })
	if p.Mixing == gateway.MaxOfBoth { // what is later may have taken over something that is not
		c = c.each(func(b *Bucket) { *b = b.alone(p) })
	}
	c.Unfollowed = at
	return c
}

// heard counts a trigger made at at, which ends what was only believed.
func (c Conversation) heard(at time.Time) Conversation {
	c.Triggers++
	if at.After(c.Heard) {
		c.Heard = at
	}
	c.Answer, c.Doubt = Answer{}, false
	return c
}

// openedAt is when the bucket that t opens was opened last; zero: there is none.
func (c Conversation) openedAt(p Policy, t kefu.Trigger) (at time.Time) {
	shared := p.Mixing == gateway.LatestWins || p.Mixing == gateway.MaxOfBoth
	for _, b := range c.Buckets {
		if (b.Trigger == t || shared) && b.OpenedAt.After(at) {
			at = b.OpenedAt
		}
	}
	return at
}

// without returns a copy of the buckets without those that are to go.
func (c Conversation) without(gone func(Bucket) bool) []Bucket {
	return slices.DeleteFunc(slices.Clone(c.Buckets), gone)
}

// Session is what kf_create_session (open) and kf_close_session tell. One that is
// older than the latest is passed over. A session that closes leaves a doubt until
// the next trigger: what the follower wrote in it was not pushed.
func (c Conversation) Session(open bool, at time.Time) Conversation {
	if at = plain(at); at.Before(c.KF.At) {
		return c
	}
	c.Doubt = c.Doubt || c.KF.Open && !open
	c.KF = Session{open, at}
	return c
}

// Foresee says what would become at now of a message with so many queued ahead of it.
func (c Conversation) Foresee(p Policy, now time.Time, ahead int, m Asking) Verdict {
	s := c.see(p, now)
	if m.Parked {
		return s.parked(p, now)
	}
	free := s.free(ahead)
	if m.Priority == gateway.Bulk {
		free = s.free(ahead + s.keep)
	}
	switch {
	case s.next >= 0 && (free >= max(m.Slots, 1) || m.Try):
		return Verdict{Act: Send, Until: s.open[s.next].closesAt(p)}
	case m.Try, s.state == gateway.WindowUnknown:
		return Verdict{Act: Try}
	case s.left != 0: // for those before it, or kept, or too few for all of its parts
		return Verdict{Code: AllowanceSpent}
	case !s.belief:
		return Verdict{Code: s.code}
	case m.Resend || m.AcceptedAt.Before(s.stale):
		return Verdict{Code: s.code, Until: s.retry}
	}
	return Verdict{Act: Try}
}

// Take decides as [Conversation.Foresee] does at the message's turn, and takes one
// slot for an attempt, also where it asked for those of several parts. A message that is tried may have no bucket to take from: its
// slot is of nothing.
func (c Conversation) Take(p Policy, now time.Time, m Asking) (Conversation, Slot, Verdict) {
	v := c.Foresee(p, now, 0, m)
	if v.Act == Withhold {
		return c, Slot{}, v
	}
	if v.Act == Try {
		c.Tried = plain(now)
		p.ShortGuard, p.LongGuard = NoGuard, NoGuard // WeChat knows of none
	}
	slot := Slot{Latest: c.Triggers}
	if s := c.see(p, now); s.next >= 0 {
		from := s.open[s.next]
		slot.From, slot.Generation = from.Trigger, from.Generation
		c = c.use(slot, 1)
		c.Took = plain(now)
	}
	return c, slot, v
}

// use adds n to what is used of the slot's bucket, if it is still the same.
func (c Conversation) use(slot Slot, n int) Conversation {
	return c.each(func(b *Bucket) {
		if b.Trigger == slot.From && b.Generation == slot.Generation {
			b.Used = max(b.Used+n, 0)
		}
	})
}

// each applies change to a copy of the buckets.
func (c Conversation) each(change func(*Bucket)) Conversation {
	c.Buckets = slices.Clone(c.Buckets)
	for i := range c.Buckets {
		change(&c.Buckets[i])
	}
	return c
}

// GiveBack returns the slot to its bucket, unless a trigger replaced that meanwhile
// or WeChat said that it is empty.
func (c Conversation) GiveBack(slot Slot) Conversation { return c.use(slot, -1) }

// Accepted is errcode 0. Where nothing was seen to be left, the window is unknown
// from now on; reopened tells that this was news, and that parked messages may come
// out, see [Conversation.Release].
func (c Conversation) Accepted(slot Slot, now time.Time) (_ Conversation, reopened bool) {
	if slot.From != "" || slot.Latest != c.Triggers || c.Answer.says(0) {
		return c, false
	}
	c.Answer, c.Doubt = Answer{At: plain(now)}, true
	return c, true
}

// Closed is 45015: the noted buckets are closed.
func (c Conversation) Closed(slot Slot, now time.Time) Conversation {
	return c.refused(slot, WindowClosed, now)
}

// Spent is 45047: the noted buckets are empty.
func (c Conversation) Spent(slot Slot, now time.Time) Conversation {
	return c.refused(slot, AllowanceSpent, now)
}

// Unreachable is 43004: who does not follow has no window.
func (c Conversation) Unreachable(slot Slot, now time.Time) Conversation {
	return c.refused(slot, NotFollowing, now)
}

func (c Conversation) refused(slot Slot, code int, now time.Time) Conversation {
	c = c.GiveBack(slot).each(func(b *Bucket) {
		if b.Generation <= slot.Latest && (b.Refused == 0 || code != AllowanceSpent) {
			b.Refused = code
		}
	})
	if slot.Latest == c.Triggers { // else a later trigger knows better
		c.Answer = Answer{code, plain(now)}
	}
	return c
}

// Release is how many slots parked messages may take when a bucket was opened, or when
// a message was accepted against belief: the free slots without those that are kept.
// all counts the kept ones too, which a long text that was parked whole may take. The
// caller takes off what is queued already. An unknown window counts as after a
// user_message.
func (c Conversation) Release(p Policy, now time.Time) (n, all int) {
	s := c.see(p, now)
	if s.state == gateway.WindowUnknown {
		s.left = p.Rules[kefu.UserMessage].Max
		s.keep = p.keep(s.left)
	}
	return s.free(s.keep), s.free(0)
}

// closesAt is the end of b with the guard taken off.
func (b Bucket) closesAt(p Policy) time.Time { return b.EndsAt.Add(-p.guard(b.EndsAt.Sub(b.OpenedAt))) }

// shut reports whether WeChat said that b is closed.
func (b Bucket) shut() bool { return b.Refused == WindowClosed || b.Refused == NotFollowing }

// left is how many messages b permits, or [kefu.Unlimited].
func (b Bucket) left() int {
	switch {
	case b.Refused != 0:
		return 0
	case b.Max == kefu.Unlimited:
		return kefu.Unlimited
	}
	return max(b.Max-b.Used, 0)
}

// says reports whether there is an answer, with that code.
func (a Answer) says(code int) bool { return !a.At.IsZero() && a.Code == code }

// A sight is what the ledger sees of a conversation at one moment.
type sight struct {
	open  []Bucket // the soonest end first
	next  int      // of open, the one that the next send takes from; -1: nothing is left
	left  int      // in all of open, or [kefu.Unlimited]
	keep  int      // of left, kept for live answers
	state gateway.WindowState
	cause cause
	code  int // with which WeChat is expected to refuse; 0: it is not

	// Of code, and of an unknown window:
	belief bool      // callbacks may be missing
	stale  time.Time // when the belief no longer withholds a new message
	retry  time.Time // when the oldest parked message is tried
}

// A cause is why the window is what it is, for [Conversation.Window] to tell.
type cause int

const (
	opened    cause = iota // something is left in a bucket
	usedUp                 // nothing is left, by our count
	answered               // WeChat said so
	unfollow               // the follower did
	timeOver               // of every bucket
	neverSeen              // no trigger was
	elsewhere              // callbacks go there, and no bucket is open
)

// see looks at the conversation at now. All decisions are made of what it returns.
func (c Conversation) see(p Policy, now time.Time) sight {
	s := sight{next: -1}
	var over time.Time // when the last bucket ended
	for _, b := range c.Buckets {
		switch end := b.closesAt(p); {
		case b.shut():
		case now.Before(end):
			s.open = append(s.open, b)
		case end.After(over):
			over = end
		}
	}
	slices.SortFunc(s.open, func(a, b Bucket) int {
		return cmp.Or(a.EndsAt.Compare(b.EndsAt), cmp.Compare(a.Generation, b.Generation))
	})
	for i, b := range s.open {
		n := b.left()
		if n == 0 {
			continue
		}
		if s.next < 0 {
			s.next = i
		}
		if s.keep = max(s.keep, p.keep(b.Max)); n == kefu.Unlimited || s.left == kefu.Unlimited {
			s.left = kefu.Unlimited
		} else {
			s.left += n
		}
	}

	var since time.Time // when it became so
	closed := func(why cause, at time.Time) {
		s.state, s.code, s.cause, since = gateway.WindowClosed, WindowClosed, why, at
	}
	empty := func(why cause, at time.Time) {
		s.state, s.code, s.cause, since = gateway.WindowOpen, AllowanceSpent, why, at
	}
	unknown := func(why cause, at time.Time) {
		s.state, s.cause, since = gateway.WindowUnknown, why, at
	}
	switch a := c.Answer; {
	case s.left != 0:
		s.state = gateway.WindowOpen
	case a.says(0):
		unknown(answered, a.At)
	case len(s.open) > 0 && a.says(AllowanceSpent):
		empty(answered, a.At)
	case len(s.open) > 0:
		empty(usedUp, c.Took)
	case a.says(AllowanceSpent) && !over.After(a.At) && now.Before(a.At.Add(p.longest())):
		empty(answered, a.At)
	case a.Code != 0 && a.Code != AllowanceSpent:
		closed(answered, a.At)
	case len(c.Buckets) == 0 && !c.Unfollowed.IsZero():
		closed(unfollow, c.Unfollowed)
	case c.Heard.IsZero():
		unknown(neverSeen, c.Answer.At)
	case p.Elsewhere:
		unknown(elsewhere, over)
	default:
		closed(timeOver, over)
	}

	missed := c.Heard.Before(p.Missed.Truncate(time.Second))
	s.belief = c.Heard.IsZero() || p.Elsewhere || c.KF.Open || c.Doubt || missed
	s.stale = since.Add(p.relearn())
	if missed && s.cause != answered && since.Before(p.Missed) {
		// Older than what was missed, and not WeChat's word: worth nothing.
		since, s.stale = p.Missed, p.Missed
	}
	if c.Tried.After(since) {
		since = c.Tried
	}
	s.retry = since.Add(max(retryParked, p.relearn()))
	return s
}

// free is how many slots are left without n; there is always one without a limit.
func (s sight) free(n int) int {
	if s.left == kefu.Unlimited {
		return math.MaxInt
	}
	return max(s.left-n, 0)
}

// parked is the verdict on the oldest parked message.
func (s sight) parked(p Policy, now time.Time) Verdict {
	switch {
	case s.left != 0: // kept: it waits for a trigger, or for the end of the window
		v := Verdict{Code: AllowanceSpent}
		if s.belief {
			v.Until = s.open[len(s.open)-1].closesAt(p)
		}
		return v
	case !s.belief:
		return Verdict{Code: s.code}
	case now.Before(s.retry):
		return Verdict{Code: s.code, Until: s.retry}
	}
	return Verdict{Act: Try}
}

// plain is t as it comes back from JSON.
func plain(t time.Time) time.Time { return t.UTC().Round(0) }
