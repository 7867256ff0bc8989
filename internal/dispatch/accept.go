package dispatch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/failpoint"
	"github.com/kefu-go/kefu/internal/ledger"
	"github.com/kefu-go/kefu/internal/store"
)

// Accept keeps each submission and puts it in its lane; see server.Engine. Those
// for different followers share a commit.
func (d *Dispatcher) Accept(ctx context.Context, s []gateway.Submission) []gateway.Accepted {
	out := make([]gateway.Accepted, len(s))
	perLane := map[laneKey][]int{} // indices, in order
	for i := range s {
		if p := s[i].Refused; p != nil { // it may not even name a follower
			var ok bool
			if out[i], ok = d.replayed(ctx, &s[i]); !ok {
				out[i].Err = p
			}
			continue
		}
		k := laneKey{s[i].Account, s[i].OpenID}
		perLane[k] = append(perLane[k], i)
	}
	var wg sync.WaitGroup
	for k, indices := range perLane {
		accept := func() { d.acceptInLane(ctx, k, s, indices, out) }
		if len(perLane) == 1 {
			accept()
		} else {
			wg.Go(accept)
		}
	}
	wg.Wait()
	return out
}

func (d *Dispatcher) acceptInLane(ctx context.Context, k laneKey, s []gateway.Submission, indices []int, out []gateway.Accepted) {
	l, err := d.enter(ctx, k.appid, k.openid)
	if err != nil {
		for _, i := range indices {
			out[i].Err = err
		}
		return
	}
	defer d.leave(l)
	policy := d.policy(l.account)
	l.account.mu.Lock()
	given := l.account.given
	l.account.mu.Unlock()
	now := d.Now()
	var taken taken // by this call's, before the next
	var drafts []store.Draft
	var kept []int // the indices of drafts
	for _, i := range indices {
		sub := &s[i]
		if !taken.joins(sub) {
			refused := func() *gateway.Problem {
				return d.foreseen(l, policy, sub, now, l.ahead(sub.Priority)+taken.before(sub.Priority))
			}
			p := refused()
			if p != nil && taken.withoutReplays(func(s *gateway.Submission) bool { _, ok := d.replayed(ctx, s); return ok }) {
				p = refused()
			}
			if p != nil {
				var ok bool
				if out[i], ok = d.replayed(ctx, sub); !ok {
					out[i].Err = p
				}
				continue
			}
			taken.add(sub, now)
		}
		drafts = append(drafts, draft(sub, given, now))
		kept = append(kept, i)
	}
	if len(drafts) == 0 {
		return
	}
	for j, r := range d.Store.Enqueue(ctx, now, drafts...) {
		i := kept[j]
		out[i] = gateway.Accepted{Message: r.Message.Message, Replayed: r.Replayed, Err: problem(r.Err)}
		if r.Err == nil && !r.Replayed {
			it := newItem(r.Message.Waiting())
			it.tries = 0
			l.add(it)
			d.atHand.offer(it, r.Message)
		}
	}
	failpoint.Here("accept.kept")
	window := d.window(l, now)
	for _, i := range kept {
		out[i].Message.Window = &window
	}
	if l.sending == nil {
		d.poke(l)
	}
	d.wakeAt(l)
}

// taken is what submissions of one call take of a lane, before the next of them.
type taken []claim

// A claim is a submission that has slots coming, unless it joins a message that is
// there already.
type claim struct {
	sub     *gateway.Submission
	slots   int
	checked bool // it is none that joins
}

// add has a submission take its slots. One that is not due yet is in no lane.
func (t *taken) add(s *gateway.Submission, now time.Time) {
	c := claim{sub: s, slots: max(1, len(s.Parts))}
	if s.NotBefore.After(now) {
		c.slots = 0
	}
	*t = append(*t, c)
}

// before is the number of slots that go before one of this priority.
func (t taken) before(p gateway.Priority) (n int) {
	for _, c := range t {
		if p == gateway.Bulk || c.sub.Priority != gateway.Bulk {
			n += c.slots
		}
	}
	return n
}

// joins tells whether a submission asks for the same as one that was added: it takes
// nothing, and has the other's answer.
func (t taken) joins(s *gateway.Submission) bool {
	return slices.ContainsFunc(t, func(c claim) bool {
		return c.sub.IdempotencyKey == s.IdempotencyKey && (s.IdempotencyKey != "" || s.RetryOf != "" && c.sub.RetryOf == s.RetryOf)
	})
}

// withoutReplays takes back the slots of those that join a message that was there
// before the call, and tells whether there were any. It is asked for only when slots
// are short: each look reads the store.
func (t taken) withoutReplays(replayed func(*gateway.Submission) bool) (any bool) {
	for i := range t {
		if c := &t[i]; !c.checked && c.slots > 0 {
			c.checked = true
			if replayed(c.sub) {
				c.slots, any = 0, true
			}
		}
	}
	return any
}

// foreseen is why a submission is refused before it is stored, or nil.
func (d *Dispatcher) foreseen(l *lane, policy ledger.Policy, s *gateway.Submission, now time.Time, ahead int) *gateway.Problem {
	v := l.talk.Foresee(policy, now, ahead, ledger.Asking{Priority: s.Priority, AcceptedAt: now, Slots: len(s.Parts)})
	later := s.NotBefore.After(now)
	if most := policy.Most(s.Priority); len(s.Parts) > most && most != kefu.Unlimited && (later || v.Act != ledger.Send) {
		return &gateway.Problem{Code: gateway.InvalidMessage, Errors: []gateway.FieldError{{ // the server has the words for it
			Location: "message.text.content", Limit: most, Actual: len(s.Parts),
		}}}
	}
	switch {
	case s.WhenClosed != gateway.Fail || later || v.Act != ledger.Withhold:
		return nil
	case v.Code == ledger.AllowanceSpent:
		return refusal(gateway.AllowanceSpent, v.Code)
	}
	return refusal(gateway.WindowIsClosed, v.Code)
}

func refusal(code string, errcode int) *gateway.Problem {
	x := kefu.Explain("message/custom/send", errcode)
	return &gateway.Problem{Code: code, ErrCode: errcode, Class: x.Class, Advice: x.AdviceEn}
}

func withheld(code int) *gateway.Outcome {
	reason := "the window is closed"
	if code == ledger.AllowanceSpent {
		reason = "the window's messages are used up"
	}
	x := kefu.Explain("message/custom/send", code)
	return &gateway.Outcome{Class: x.Class, ErrCode: code, Reason: "withheld: " + reason, Advice: x.AdviceEn}
}

// replayed finds the message that a submission joins: an earlier one with the same
// idempotency key, or repeat of the same message, has made it.
func (d *Dispatcher) replayed(ctx context.Context, s *gateway.Submission) (gateway.Accepted, bool) {
	if s.IdempotencyKey == "" && s.RetryOf == "" {
		return gateway.Accepted{}, false
	}
	now := d.Now()
	m, err := d.Store.Replay(ctx, now, draft(s, gateway.Account{}, now))
	if errors.Is(err, store.ErrNotFound) {
		return gateway.Accepted{}, false
	}
	return gateway.Accepted{Message: m.Message, Replayed: err == nil, Err: problem(err)}, true
}

func draft(s *gateway.Submission, a gateway.Account, now time.Time) store.Draft {
	m := gateway.Message{
		Account: s.Account, OpenID: s.OpenID, MsgType: s.MsgType, Message: s.Message, State: gateway.Queued, Priority: s.Priority,
		ExpiresAt: s.ExpiresAt, WhenClosed: s.WhenClosed, OnUnknown: s.OnUnknown, PossibleDuplicate: s.PossibleDuplicate,
		RetryOf: s.RetryOf, Source: s.Source, By: s.By, Metadata: s.Metadata, Warnings: s.Warnings,
	}
	from := now
	if s.NotBefore.After(now) {
		at := s.NotBefore
		m.NotBefore, from = &at, at.Time
	}
	if m.ExpiresAt.IsZero() {
		m.ExpiresAt = gateway.At(from.Add(a.ExpiresAfter.Duration()))
	}
	return store.Draft{Message: m, Cuts: s.Parts, RetryOnce: s.RetryOnce, IdempotencyKey: s.IdempotencyKey, Fingerprint: s.Fingerprint}
}

// problem is a store's error in the words of the API; faults stay what they are.
func problem(err error) error {
	var conflict *store.ConflictError
	switch {
	case errors.Is(err, store.ErrIdempotencyMismatch):
		return &gateway.Problem{Code: gateway.IdempotencyMismatch}
	case errors.Is(err, store.ErrNotFound):
		return &gateway.Problem{Code: gateway.NotFound}
	case errors.As(err, &conflict):
		return &gateway.Problem{Code: gateway.NotCancelable, Message: &conflict.Message.Message}
	}
	return err
}
