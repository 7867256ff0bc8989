package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/failpoint"
	"github.com/kefu-go/kefu/internal/ledger"
	"github.com/kefu-go/kefu/internal/store"
)

// turn is the turn of one message. posted is true when it was on the wire; ok is
// false when the lane has to wait.
//
// The order of the questions is part of the answer. First comes what ends the message or
// parks it, which needs no WeChat, so that it happens while the account is stopped, too.
// Then what all lanes of the account wait for while their messages stay as they are: how
// it stands before its access token and the media, since a stopped account calls WeChat
// for neither. Last comes the rate, which is used up by asking: who gets it posts.
func (d *Dispatcher) turn(ctx context.Context, l *lane, it *item, now time.Time) (posted, ok bool) {
	policy := d.policy(l.account)
	a := l.account
	a.mu.Lock()
	limiter, client, gone := a.rate, a.client, a.gone
	a.mu.Unlock()
	if gone {
		return false, d.fail(ctx, l, it, now, kefu.ErrAccountConfig, "the account was removed from the gateway")
	}
	m, err := d.message(ctx, l, it)
	if err != nil {
		d.rest(l, "read a message", err)
		return false, false
	}
	if !it.retryAt.reached(now) { // an earlier process put it off, as has just been read
		l.putOff = append(l.putOff, it)
		return false, true
	}
	talk := l.talk
	slot, verdict := ledger.Slot{}, ledger.Verdict{}
	talk.Conversation, slot, verdict = talk.Take(policy, now, it.asks())
	talk = talk.holding(it.seq, slot)
	switch {
	case it.State() == gateway.Unknown && (verdict.Act == ledger.Withhold || it.expires.reached(now)):
		return false, d.callOff(ctx, l, it, now)
	case verdict.Act == ledger.Withhold:
		to := gateway.Parked
		if it.WhenClosed() == gateway.Fail {
			to = gateway.Failed
		}
		return false, d.move(ctx, l, it, now, store.Move{To: to, Outcome: withheld(verdict.Code)})
	}

	pass, until, ok := a.ask(now)
	if !ok {
		d.agenda.gate(l, until)
		return false, false
	}
	defer func() {
		if !posted {
			a.unused(pass)
		}
	}()
	if !d.hasToken(a, l, client, now) { // an attempt would only say so
		return false, false
	}
	if m.Message.Message, ok = d.ready(l, it, m, now); !ok {
		return false, false
	}
	body, err := content(m)
	if err != nil {
		return false, d.fail(ctx, l, it, now, kefu.ErrBadRequest, err.Error())
	}
	if !limiter.AllowN(now, 1) {
		d.agenda.holdAccount(a.appid, now.Add(time.Duration((1-limiter.TokensAt(now))/float64(limiter.Limit())*float64(time.Second))+time.Microsecond))
		d.agenda.putBack(l)
		return false, false
	}
	began, begun, ok := d.begin(ctx, l, it, &m, talk, pass, now)
	if !begun {
		return false, ok
	}

	l.mu.Unlock()
	err = d.post(client, body)
	failpoint.Here("post.answered")
	took := d.Now().Sub(began)
	l.mu.Lock()

	d.finish(ctx, l, it, m, pass, began, took, err)
	return true, true
}

// begin marks a message as sending, with its slot in talk taken, on disk and then in the
// lane. If begun is false it is not to leave after all, and ok is as that of turn.
func (d *Dispatcher) begin(ctx context.Context, l *lane, it *item, m *store.Message, talk follower, p pass, now time.Time) (began time.Time, begun, ok bool) {
	if it.State() == gateway.Unknown { // its one resend
		if err := d.Store.Move(ctx, now, store.Move{Seq: it.seq, From: gateway.Unknown, To: gateway.Queued}); err != nil {
			d.failed(l, "resend a message", err)
			return began, false, false
		}
		it.become(gateway.Queued)
		it.retryAt = 0
		m.Resent, m.PossibleDuplicate = true, true
	}
	b := store.Begin{Seq: it.seq, Attempt: m.Attempts + 1, PossibleDuplicate: m.PossibleDuplicate, Conversation: conversation(l, talk)}
	if err := d.Store.Begin(ctx, now, b); err != nil {
		d.failed(l, "begin an attempt", err)
		return began, false, false
	}
	failpoint.Here("begin.kept")
	began = d.Now()
	if began.Sub(now) > longCommit && outlived(l, d.policy(l.account), it, began) {
		return began, false, d.withdraw(ctx, l, it)
	}
	until, warn, ok := l.account.leave(began, p)
	if !ok { // stopped meanwhile
		if err := d.Store.Move(ctx, began, back(l, it)); err == nil {
			d.agenda.gate(l, until)
			return began, false, false
		} // else it is refused like those before it, which does it no harm
	}
	m.Attempts = b.Attempt
	l.talk = talk
	l.remove(it)
	it.become(gateway.Sending)
	l.sending = it
	d.changed(it.seq)
	if warn {
		l.mu.Unlock()
		d.learned(ctx, l.account, began, change{quota: true})
		l.mu.Lock()
	}
	return began, true, true
}

// fail ends a message that can't be sent. One that waits for its resend may have arrived:
// of that the resend is called off.
func (d *Dispatcher) fail(ctx context.Context, l *lane, it *item, now time.Time, class kefu.Class, reason string) bool {
	if it.State() == gateway.Unknown {
		return d.callOff(ctx, l, it, now)
	}
	out := &gateway.Outcome{Class: class, Reason: reason}
	return d.move(ctx, l, it, now, store.Move{To: gateway.Failed, Outcome: out})
}

// longCommit is how long the mark that goes before a post may take before what was
// decided is asked again: less than any window's guard.
const longCommit = time.Second

// outlived reports whether a message that was to leave may not at now.
func outlived(l *lane, policy ledger.Policy, it *item, now time.Time) bool {
	v := l.talk.Foresee(policy, now, 0, it.asks())
	return v.Act == ledger.Withhold || it.expires.reached(now)
}

// back has a message waiting again whose post has not left.
func back(l *lane, it *item) store.Move {
	return store.Move{Seq: it.seq, From: gateway.Sending, To: gateway.Queued, Conversation: conversation(l, l.talk)}
}

// withdraw has a message waiting again that must not leave any more, however often
// the store has to be asked: at its next turn it is withheld, or it expires.
func (d *Dispatcher) withdraw(ctx context.Context, l *lane, it *item) bool {
	l.sending = it // nothing else happens to it meanwhile
	defer func() { l.sending = nil }()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := d.Store.Move(ctx, d.Now(), back(l, it))
		var conflict *store.ConflictError
		switch {
		case err == nil:
			return true
		case errors.As(err, &conflict), d.lost(err), d.stopping():
			d.failed(l, "call a post back", err)
			return false
		}
		d.Log.Error("a post can't be called back yet", "account", l.account.appid, "error", err)
		l.mu.Unlock() // callbacks go on
		time.Sleep(wait)
		l.mu.Lock()
	}
}

// message returns what the store has of a message whose turn it is.
func (d *Dispatcher) message(ctx context.Context, l *lane, it *item) (store.Message, error) {
	if m, ok := d.atHand.message(it.seq); ok {
		return m, nil
	}
	m, err := d.Store.Load(ctx, it.seq)
	if err != nil {
		return m, err
	}
	if it.tries < 0 { // of an earlier process
		it.tries = int32(m.Attempts)
		it.retryAt = 0
		if m.RetryAt != nil && (!metQuota(m) || l.account.held(d.Now())) { // else the account was resumed since
			it.retryAt = at(m.RetryAt.Time)
		}
	}
	d.atHand.offer(it, m) // its account may have to wait
	return m, nil
}

// hasToken reports whether a post of the account finds an access token, as far as is
// known. If not, l waits at the gate and is looked at soon, since one may be handed
// over; the first that finds one has all others looked at.
func (d *Dispatcher) hasToken(a *account, l *lane, client *kefu.Client, now time.Time) bool {
	source, ok := client.Tokens.(interface{ NextAt() time.Time })
	if !ok {
		return true
	}
	next := source.NextAt()
	lacks := now.Before(next)
	a.mu.Lock()
	found := a.tokenless && !lacks
	a.tokenless = lacks
	a.mu.Unlock()
	if lacks {
		d.agenda.gate(l, earlier(next, now.Add(time.Second)))
	} else if found {
		d.agenda.open(a.appid)
	}
	return !lacks
}

// content is what leaves next of a message: WeChat's own JSON, of a long text with
// the next part of it.
func content(m store.Message) ([]byte, error) {
	if m.Parts == 0 {
		return m.Message.Message, nil
	}
	whole, err := kefu.ParseMessage(m.Message.Message)
	if err != nil {
		return nil, err
	}
	text, ok := whole.Body.(kefu.Text)
	if !ok || m.PartsSent >= len(m.Cuts) || m.Cuts[m.PartsSent][1] > len(text.Content) {
		return nil, fmt.Errorf("part %d of %d is not in the message", m.PartsSent+1, m.Parts)
	}
	cut := m.Cuts[m.PartsSent]
	text.Content = text.Content[cut[0]:cut[1]]
	whole.Body = text
	return whole.AppendJSON(nil), nil
}

// callOff leaves a message that was to be resent unknown.
func (d *Dispatcher) callOff(ctx context.Context, l *lane, it *item, now time.Time) bool {
	return d.move(ctx, l, it, now, store.Move{To: gateway.Unknown})
}

// post is one attempt: exactly one call of the SDK.
func (d *Dispatcher) post(client *kefu.Client, body []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), d.SendTimeout)
	defer cancel()
	_, err := client.SendJSON(ctx, body)
	return err
}

// finish decides what an attempt's result means and keeps that, however often the
// store has to be asked.
func (d *Dispatcher) finish(ctx context.Context, l *lane, it *item, m store.Message, p pass, began time.Time, took time.Duration, result error) {
	now, a := d.Now(), l.account
	a.mu.Lock()
	given, tries := a.given, a.tries
	a.mu.Unlock()
	if class := kefu.ClassOf(result); m.Outcome == nil || m.Outcome.Class != class {
		it.tries = 1
	} else {
		it.tries++
	}
	r := Decide(result, Case{
		Now: now, Tries: int(it.tries), WhenClosed: m.WhenClosed, OnUnknown: m.OnUnknown, Resent: m.Resent,
		BusyHold: given.Busy == "unknown", Retries: tries, CanRenew: d.Media != nil && !it.renewed, Ahead: d.clock.offset(),
	})
	changed := d.learn(a, now, p, l.openid, r, result)
	defer d.learned(ctx, a, now, changed)
	if r.Renew {
		l.mu.Unlock() // callbacks go on
		r = d.renew(ctx, a, &m, r)
		it.renewed = r.State != gateway.Queued || r.Renew // else it was not: the store or WeChat could not be asked
		l.mu.Lock()
		now = d.Now()
	}
	attempt := gateway.Attempt{
		N: m.Attempts, At: gateway.At(began), TookMS: took.Milliseconds(), Outcome: r.Attempt,
		ErrCode: r.Outcome.ErrCode, ErrMsg: r.Outcome.ErrMsg, RID: r.Outcome.RID, PossibleDuplicate: m.PossibleDuplicate,
	}
	if r.Effect == Accepted || r.Effect == Keep { // its slot stays taken
		attempt.Allowance = l.talk.Allowance(d.policy(a), began, l.talk.Slots[it.seq])
	}
	f := store.Finish{Seq: it.seq, Attempt: attempt, State: r.State, RetryAt: r.RetryAt, PossibleDuplicate: m.PossibleDuplicate || r.Duplicate && r.State != gateway.Unknown}
	if r.State != gateway.Sent {
		f.Outcome = &r.Outcome
	}
	if m.Parts > 0 {
		f.Attempt.Part, f.PartsSent = m.PartsSent+1, m.PartsSent
		if r.State == gateway.Sent {
			if f.PartsSent++; f.PartsSent < m.Parts {
				r.State, f.State = gateway.Queued, gateway.Queued // the next part
			}
		}
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		// Callbacks may have changed the ledger while the post was on its way, also
		// while the store was being asked in vain: the effect is on what is true now.
		talk, release := effect(l.talk, it.seq, r, now)
		f.Conversation = conversation(l, talk)
		err := d.Store.Finish(ctx, now, f)
		if err == nil {
			failpoint.Here("finish.kept")
			l.talk = talk
			l.sending = nil
			it.fromPark = false
			it.interrupted = it.interrupted && r.State != gateway.Unknown && f.PartsSent == int(it.sent)
			it.retryAt, it.sent = at(r.RetryAt), uint8(f.PartsSent)
			it.perhaps = it.perhaps || it.parts > 0 && r.State == gateway.Unknown
			if it.become(r.State); hasPlace(r.State, r.RetryAt) {
				l.add(it)
			}
			if r.Renew { // the store has the old content
				m.Outcome, m.PossibleDuplicate = f.Outcome, f.PossibleDuplicate
				d.atHand.keep(m)
			}
			d.changed(it.seq)
			l.letOut = l.letOut || release
			return
		}
		var conflict *store.ConflictError
		if errors.As(err, &conflict) { // kept after all, though the store said otherwise
			d.follow(l, conflict.Message)
			return
		}
		if d.lost(err) {
			d.Log.Error("a result could not be kept; the message will be unknown", "message", m.ID, "error", err)
			return
		}
		d.Log.Error("a result can't be kept yet", "message", m.ID, "error", err)
		l.mu.Unlock() // callbacks go on
		time.Sleep(wait)
		l.mu.Lock()
		if d.stopping() && wait >= time.Second { // it had its chance
			return
		}
	}
}

// effect is what an attempt's result tells the ledger; release reports that parked
// messages may come out. The slot of an unknown outcome stays held.
func effect(f follower, seq int64, r Ruling, now time.Time) (_ follower, release bool) {
	slot := f.Slots[seq]
	switch r.Effect {
	case GiveBack:
		f.Conversation = f.GiveBack(slot)
	case Accepted:
		f.Conversation, release = f.Conversation.Accepted(slot, now)
	case CloseWindow:
		f.Conversation = f.Closed(slot, now)
	case SpendAll:
		f.Conversation = f.Spent(slot, now)
	case Unreachable:
		f.Conversation = f.Conversation.Unreachable(slot, now)
	}
	if r.State != gateway.Unknown {
		f = f.settled(seq, r.State.Final() || r.Effect == Accepted)
	}
	return f, release
}

func conversation(l *lane, talk follower) *store.Conversation {
	blob, err := json.Marshal(talk)
	if err != nil {
		panic(err) // a plain struct
	}
	return &store.Conversation{Account: l.account.appid, OpenID: l.openid, Ledger: blob}
}
