package ledger

import (
	"fmt"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// Window is the permission to write to the follower as the API shows it to a message
// with so many queued ahead of it.
func (c Conversation) Window(p Policy, now time.Time, ahead int) gateway.Window {
	s := c.see(p, now)
	w := gateway.Window{State: s.state, Because: c.because(p, now, s), Cause: c.cause(p, s), Buckets: make([]gateway.Bucket, 0, len(s.open))}
	for _, b := range s.open {
		w.Buckets = append(w.Buckets, gateway.Bucket{
			Trigger: b.Trigger, Max: limited(b.Max), Remaining: limited(b.left()),
			OpenedAt: gateway.At(b.OpenedAt), ClosesAt: gateway.At(b.closesAt(p)),
		})
	}
	if s.state == gateway.WindowUnknown {
		return w
	}
	if s.left != kefu.Unlimited {
		n := s.free(ahead)
		w.Remaining = &n
	}
	if s.state == gateway.WindowOpen && len(s.open) > 0 {
		from := w.Buckets[len(w.Buckets)-1]
		if s.next >= 0 {
			from = w.Buckets[s.next]
		}
		w.OpenedBy, w.ClosesAt = &from.Trigger, &from.ClosesAt
	}
	return w
}

// cause is what made the window what it is.
func (c Conversation) cause(p Policy, s sight) gateway.WindowCause {
	switch s.cause {
	case opened:
		b := s.open[s.next]
		return gateway.WindowCause{Code: gateway.CauseOpened, At: gateway.At(b.OpenedAt), Trigger: b.Trigger}
	case usedUp:
		b := s.open[len(s.open)-1]
		return gateway.WindowCause{Code: gateway.CauseUsedUp, At: gateway.At(b.OpenedAt), Trigger: b.Trigger}
	case answered:
		return gateway.WindowCause{Code: gateway.CauseAnswered, At: gateway.At(c.Answer.At), ErrCode: c.Answer.Code}
	case unfollow:
		return gateway.WindowCause{Code: gateway.CauseUnfollowed, At: gateway.At(c.Unfollowed)}
	case timeOver:
		if b, ok := c.last(p); ok {
			return gateway.WindowCause{Code: gateway.CauseOver, At: gateway.At(b.closesAt(p)), Trigger: b.Trigger}
		}
		return gateway.WindowCause{Code: gateway.CauseOver}
	case neverSeen:
		return gateway.WindowCause{Code: gateway.CauseNeverSeen}
	}
	return gateway.WindowCause{Code: gateway.CauseElsewhere}
}

// because tells why the window is what it is, and what follows from that.
func (c Conversation) because(p Policy, now time.Time, s sight) string {
	var why string
	switch s.cause {
	case opened:
		b := s.open[s.next]
		return fmt.Sprintf("%s at %s", b.Trigger, clock(b.OpenedAt))
	case usedUp:
		b := s.open[len(s.open)-1]
		why = fmt.Sprintf("all messages that %s at %s and others allowed are used up", b.Trigger, clock(b.OpenedAt))
		if len(s.open) == 1 {
			why = fmt.Sprintf("all %d messages that %s at %s allowed are used up", b.Max, b.Trigger, clock(b.OpenedAt))
		}
	case answered:
		switch c.Answer.Code {
		case 0:
			why = fmt.Sprintf("WeChat accepted a message at %s although nothing was known to be left", clock(c.Answer.At))
		case WindowClosed:
			why = fmt.Sprintf("WeChat answered 45015 at %s: the window is closed", clock(c.Answer.At))
		case AllowanceSpent:
			why = fmt.Sprintf("WeChat answered 45047 at %s: the allowance is used up", clock(c.Answer.At))
		case NotFollowing:
			why = fmt.Sprintf("WeChat answered 43004 at %s: the person does not follow", clock(c.Answer.At))
		}
	case unfollow:
		why = fmt.Sprintf("unfollowed at %s", clock(c.Unfollowed))
	case timeOver:
		why = "every window is over"
		if b, ok := c.last(p); ok {
			why = fmt.Sprintf("the window of %s at %s closed at %s", b.Trigger, clock(b.OpenedAt), clock(b.closesAt(p)))
		}
	case neverSeen:
		why = "no act of this follower was ever seen"
	case elsewhere:
		why = "callbacks of this account go elsewhere"
	}
	switch {
	case s.state == gateway.WindowUnknown || s.belief && !now.Before(s.stale):
		return why + "; the next message is tried"
	case s.belief:
		return fmt.Sprintf("%s; callbacks may be missing, so a message accepted from %s on is tried", why, clock(s.stale))
	}
	return why + "; it takes an act of the follower"
}

// last is the bucket that ended last.
func (c Conversation) last(p Policy) (last Bucket, ok bool) {
	for _, b := range c.Buckets {
		if !b.shut() && (!ok || b.closesAt(p).After(last.closesAt(p))) {
			last, ok = b, true
		}
	}
	return last, ok
}

// Allowance is what a slot that was taken at at left of the allowance it is of, and of
// all that were open then; nil if it is of none, of one without a limit, or of one that
// a trigger has replaced since.
func (c Conversation) Allowance(p Policy, at time.Time, slot Slot) *gateway.Taken {
	for _, b := range c.Buckets {
		if b.Trigger == slot.From && b.Generation == slot.Generation && b.Max != kefu.Unlimited {
			return &gateway.Taken{Trigger: b.Trigger, Left: b.left(), Max: b.Max, Remaining: limited(c.see(p, at).left)}
		}
	}
	return nil
}

// limited is n, or nil for no limit.
func limited(n int) *int {
	if n == kefu.Unlimited {
		return nil
	}
	return &n
}

func clock(t time.Time) string { return gateway.At(t).Format("2006-01-02T15:04:05.000Z") }
