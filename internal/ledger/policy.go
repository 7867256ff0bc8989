package ledger

import (
	"cmp"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// LongestGap is for how long callbacks may fail to be kept without one being lost:
// WeChat makes three deliveries and waits 5 s for each. After a longer gap the
// caller sets [Policy.Missed].
const LongestGap = 15 * time.Second

// NoGuard lets a send start in the last moment of a window.
const NoGuard = -1

// A Policy is what an account's settings say about windows; see [PolicyOf].
type Policy struct {
	Rules     map[kefu.Trigger]kefu.Allowance // what each trigger permits; a missing one: nothing
	Mixing    gateway.Mixing                  // how buckets combine; default [gateway.SideBySide]
	Elsewhere bool                            // callbacks go to another system
	KeepFree  *int                            // slots kept from parked messages and bulk; nil: by the allowance
	Relearn   time.Duration                   // how long a belief withholds; default 60 s

	// Missed is the end of the latest time longer than [LongestGap] in which callbacks
	// of this account could not be kept; zero: there was none.
	Missed time.Time

	// No send starts so shortly before its window ends: the clocks differ, and the way
	// takes time. Neither takes more than a tenth of a window. [NoGuard] for none.
	ShortGuard time.Duration // of windows shorter than an hour; default 2 s
	LongGuard  time.Duration // of the others; default 30 s
}

// PolicyOf is the policy of an account. An unknown profile is an error.
func PolicyOf(a gateway.Account) (Policy, error) {
	a = a.WithDefaults()
	rules, err := kefu.RulesFor(a.Profile)
	if err != nil {
		return Policy{}, err
	}
	for t, cell := range a.Rules {
		allowed := kefu.Allowance{Max: kefu.Unlimited, For: time.Duration(cell.Seconds) * time.Second}
		if cell.Max != nil {
			allowed.Max = *cell.Max
		}
		rules.Allowances[t] = allowed
	}
	return Policy{
		Rules: rules.Allowances, Mixing: a.Mixing, Elsewhere: a.Callbacks == "elsewhere", KeepFree: a.KeepFree, Relearn: a.Relearn.Duration(),
	}, nil
}

// guard is the time before the end of a window of that life in which no send starts.
func (p Policy) guard(life time.Duration) time.Duration {
	guard := cmp.Or(p.LongGuard, 30*time.Second)
	if life < time.Hour {
		guard = cmp.Or(p.ShortGuard, 2*time.Second)
	}
	return min(max(guard, 0), life/10)
}

func (p Policy) relearn() time.Duration { return cmp.Or(p.Relearn, time.Minute) }

// keep is how many slots of an allowance are kept free for live answers.
func (p Policy) keep(allowance int) int {
	switch {
	case allowance == kefu.Unlimited:
		return 0
	case p.KeepFree != nil:
		return *p.KeepFree
	case allowance <= 3:
		return 1
	case allowance <= 5:
		return 2
	}
	return allowance / 3
}

// Most is how many messages the largest allowance gives that a follower opens by
// something that can be waited for, which payments and disputes are not; for bulk
// without the slots that are kept. [kefu.Unlimited] if one is without limit.
func (p Policy) Most(priority gateway.Priority) (most int) {
	for t, a := range p.Rules {
		n := a.Max
		switch {
		case t == kefu.Payment || t == kefu.Rights:
			continue
		case n == kefu.Unlimited:
			return n
		case priority == gateway.Bulk:
			n -= p.keep(n)
		}
		most = max(most, n)
	}
	return most
}

// longest is the life of the longest window that these rules can open.
func (p Policy) longest() (life time.Duration) {
	for _, a := range p.Rules {
		life = max(life, a.For)
	}
	return life
}
