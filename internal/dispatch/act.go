package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/failpoint"
	"github.com/kefu-go/kefu/internal/ledger"
	"github.com/kefu-go/kefu/internal/store"
)

// Cancel ends what is queued or parked; see server.Engine.
func (d *Dispatcher) Cancel(ctx context.Context, id string) (gateway.Message, error) {
	return d.decide(ctx, id, func(l *lane, m store.Message, now time.Time) error {
		switch m.State {
		case gateway.Canceled:
			return nil
		case gateway.Unknown:
			if it := l.find(m.Seq); it != nil { // its resend is what is canceled
				if err := d.Store.Move(ctx, now, store.Move{Seq: m.Seq, From: gateway.Unknown, To: gateway.Unknown}); err != nil {
					return err
				}
				l.remove(it)
				return nil
			}
		case gateway.Queued, gateway.Parked:
			if it := l.find(m.Seq); it != nil {
				if err := d.Store.Move(ctx, now, store.Move{Seq: m.Seq, From: m.State, To: gateway.Canceled}); err != nil {
					return err
				}
				l.remove(it)
				return nil
			}
		}
		return &gateway.Problem{Code: gateway.NotCancelable, Message: &m.Message}
	})
}

// Withdraw ends a message as soon as can be: what is queued or parked is canceled, and
// of what is being sent the answer is waited for, after which there is no further try.
// It returns the message once it is final or unknown, or as it is when ctx ends.
func (d *Dispatcher) Withdraw(ctx context.Context, id string) (gateway.Message, error) {
	m, err := d.Store.Message(context.WithoutCancel(ctx), id)
	if err != nil {
		return m.Message, problem(err)
	}
	for {
		w, end := d.watch(m.Seq)
		got, err := d.Cancel(context.WithoutCancel(ctx), id)
		var p *gateway.Problem
		if errors.As(err, &p) && p.Code == gateway.NotCancelable && p.Message != nil {
			got, err = *p.Message, nil
		}
		if err != nil || got.State != gateway.Sending {
			end()
			return got, err
		}
		select {
		case <-w:
		case <-ctx.Done():
			end()
			return got, nil
		}
	}
}

// Resolve says what became of an unknown message; see server.Engine. Of a long text
// it says what became of the part whose answer is missing: the message is sent only
// if that was the last one, and never goes on by itself hours later.
func (d *Dispatcher) Resolve(ctx context.Context, id string, as gateway.State) (gateway.Message, error) {
	return d.decide(ctx, id, func(l *lane, m store.Message, now time.Time) error {
		out := &gateway.Outcome{Reason: "resolved by hand as " + string(as)}
		move := store.Move{Seq: m.Seq, From: gateway.Unknown, To: as, Outcome: out}
		if m.Parts > 0 && as == gateway.Sent {
			if move.PartsSent = m.PartsSent + 1; m.State == gateway.Failed { // it was resolved so before
				move.PartsSent = m.PartsSent
			}
			if move.PartsSent < m.Parts {
				move.To = gateway.Failed
				out.Reason += fmt.Sprintf(": part %d of %d arrived, those after it never left", move.PartsSent, m.Parts)
				out.Advice = "repeat the message to send all of it, or send what is missing"
			}
		}
		if m.State == as && (as == gateway.Sent || as == gateway.Failed) || m.State == gateway.Failed && m.Outcome != nil && m.Outcome.Reason == out.Reason {
			return nil
		}
		if m.State != gateway.Unknown {
			return &gateway.Problem{Code: gateway.NotResolvable, Message: &m.Message}
		}
		talk := l.talk.settled(m.Seq, true)
		if as == gateway.Failed {
			talk = l.talk.notReceived(m.Seq)
		}
		move.Conversation = conversation(l, talk)
		if err := d.Store.Move(ctx, now, move); err != nil {
			return err
		}
		l.talk = talk
		if it := l.find(m.Seq); it != nil { // it waited for its resend
			l.remove(it)
		}
		return nil
	})
}

// decide runs act on a message with its lane locked, and returns the message as it
// is then.
func (d *Dispatcher) decide(ctx context.Context, id string, act func(*lane, store.Message, time.Time) error) (gateway.Message, error) {
	m, err := d.Store.Message(ctx, id)
	if err != nil {
		return gateway.Message{}, problem(err)
	}
	l, err := d.enterAny(ctx, m.Account, m.OpenID) // also of an account that is gone
	if err != nil {
		return gateway.Message{}, err
	}
	defer d.leave(l)
	if m, err = d.Store.Message(ctx, id); err != nil { // as it is now that nothing changes it
		return gateway.Message{}, problem(err)
	}
	if err := act(l, m, d.Now()); err != nil {
		return gateway.Message{}, problem(err)
	}
	d.changed(m.Seq)
	d.poke(l)
	m, err = d.Store.Message(ctx, id)
	return m.Message, problem(err)
}

// Receive keeps a push, opens the window that it opens, and lets parked messages
// out. A nil error means that it is on disk, or was before. The reply is the passive
// one that belongs to it, or nil.
func (d *Dispatcher) Receive(ctx context.Context, appid string, e callback.Event) (callback.Reply, error) {
	head := e.Head()
	l, err := d.enter(ctx, appid, head.FromUserName)
	if err != nil {
		return nil, err
	}
	defer d.leave(l)
	now := d.Now()
	at := head.CreateTime.Add(-d.clock.offset())
	if head.CreateTime.IsZero() || at.After(now) { // WeChat's clock may be ahead of ours
		at = now
	}
	l.account.mu.Lock()
	given := l.account.given
	l.account.mu.Unlock()
	trigger := counts(given, e)
	data, err := json.Marshal(struct {
		MsgType string         `json:"msgtype"`
		Event   string         `json:"event,omitempty"`
		Trigger kefu.Trigger   `json:"trigger,omitempty"`
		Push    callback.Event `json:"push"`
	}{head.MsgType, head.Event, trigger, e})
	if err != nil {
		return nil, err
	}
	kind := "follower.message"
	if head.MsgType == "event" {
		kind = "follower.event"
	}
	policy := d.policy(l.account)
	talk, opened := seen(l.talk, policy, e, trigger, at, now)
	handling, session := sessionOf(e, now)
	c := store.Callback{
		Entry:     store.Entry{Account: appid, OpenID: l.openid, Type: kind, Data: data},
		DedupeKey: e.Key(), Media: filesOf(e),
		Ledger: func(json.RawMessage) (json.RawMessage, error) { return conversation(l, talk).Ledger, nil },
	}
	if session {
		c.Handling, c.Also = &handling, []store.Entry{handedOver(l, handling)}
	}
	if ofAccount(e) { // in the name of nobody who could be answered
		c.OpenID, c.Ledger = "", nil
	}
	duplicate, err := d.Store.Receive(ctx, now, c)
	failpoint.Here("receive.kept")
	if err != nil {
		return nil, err
	}
	if duplicate {
		return l.transfer(head), nil
	}
	l.talk = talk
	if session {
		l.handling = handling
	}
	l.letOut = l.letOut || opened
	d.poke(l)
	return l.transfer(head), nil
}

// Answered keeps what a passive answer said; see server.Engine.
func (d *Dispatcher) Answered(ctx context.Context, appid string, e callback.Event, said json.RawMessage) error {
	l, err := d.enter(ctx, appid, e.Head().FromUserName)
	if err != nil {
		return err
	}
	defer d.leave(l)
	err = d.Store.AppendTo(ctx, d.Now(), e.Key(), store.Entry{Account: appid, OpenID: l.openid, Type: "conversation.answered", Data: said})
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// counts is the trigger that a push counts as for the account: of two no source
// tells, so they are its settings.
func counts(a gateway.Account, e callback.Event) kefu.Trigger {
	switch e := e.(type) {
	case callback.TextMessage:
		if e.MenuID != "" {
			return a.MenuTap
		}
	case callback.SubscribeEvent:
		if e.Scene != "" {
			return a.ScanFollow
		}
	}
	return e.Trigger()
}

// ofAccount reports whether WeChat tells in its own name ("mphelper") of a job of the
// account. Source: the pages of PUBLISHJOBFINISH and MASSSENDJOBFINISH.
func ofAccount(e callback.Event) bool {
	switch e.(type) {
	case callback.PublishJobFinishEvent, callback.MassSendJobFinishEvent:
		return true
	}
	return false
}

// seen is the ledger after an event that was made at at, which counts as t. One of a day
// ago may have been seen before without the store still knowing it: it gives nothing
// that the bucket had already.
func seen(f follower, policy ledger.Policy, e callback.Event, t kefu.Trigger, at, now time.Time) (_ follower, opened bool) {
	switch e.(type) {
	case callback.KfCreateSessionEvent:
		f.Conversation = f.Session(true, at)
	case callback.KfCloseSessionEvent:
		f.Conversation = f.Session(false, at)
	}
	switch {
	case t == "":
	case now.Sub(at) >= store.CallbackLife:
		f.Conversation, opened = f.Told(policy, t, at, now)
	default:
		f.Conversation, opened = f.Conversation.Trigger(policy, t, at)
	}
	return f, opened
}

// Trigger opens or closes a window by something that WeChat doesn't push; see
// server.Engine.
func (d *Dispatcher) Trigger(ctx context.Context, appid, openid string, t kefu.Trigger, at time.Time) (bool, gateway.Window, error) {
	l, err := d.enter(ctx, appid, openid)
	if err != nil {
		return false, gateway.Window{}, err
	}
	defer d.leave(l)
	now := d.Now()
	policy := d.policy(l.account)
	talk, opened := l.talk, false
	talk.Conversation, opened = talk.Told(policy, t, at, now)
	if opened || t == kefu.Unfollow {
		if err := d.Store.SaveConversation(ctx, now, *conversation(l, talk)); err != nil {
			return false, gateway.Window{}, err
		}
		l.talk = talk
		l.letOut = l.letOut || opened
		d.poke(l)
	}
	return opened, d.window(l, now), nil
}

// Window returns the permission to write to a follower.
func (d *Dispatcher) Window(ctx context.Context, appid, openid string) (gateway.Window, error) {
	l, err := d.enter(ctx, appid, openid)
	if err != nil {
		return gateway.Window{}, err
	}
	defer d.leave(l)
	return d.window(l, d.Now()), nil
}

// window is the permission to write to the lane's follower; because also says why
// nothing of the account leaves, if that is so.
func (d *Dispatcher) window(l *lane, now time.Time) gateway.Window {
	w := l.talk.Window(d.policy(l.account), now, l.ahead(gateway.Normal))
	if why, until := l.account.waits(now); why != "" {
		if !until.IsZero() {
			why += " until " + until.UTC().Format(time.RFC3339)
		}
		w.Because = why + "; " + w.Because
	}
	return w
}

// Glance is the window and how many messages are parked.
func (d *Dispatcher) Glance(ctx context.Context, appid, openid string) (gateway.Window, int, error) {
	l, err := d.enter(ctx, appid, openid)
	if err != nil {
		return gateway.Window{}, 0, err
	}
	defer d.leave(l)
	return l.talk.Window(d.policy(l.account), d.Now(), l.ahead(gateway.Normal)), len(l.parked), nil
}

// Typing shows or ends "typing…".
func (d *Dispatcher) Typing(ctx context.Context, appid, openid string, on bool) error {
	c := d.clientOf(appid)
	if c == nil {
		return &gateway.Problem{Code: gateway.UnknownAccount}
	}
	if on {
		return c.Typing(ctx, openid)
	}
	return c.CancelTyping(ctx, openid)
}

// Client is the way to WeChat of an account; nil if there is none.
func (d *Dispatcher) Client(appid string) *kefu.Client { return d.clientOf(appid) }

func (d *Dispatcher) clientOf(appid string) *kefu.Client {
	d.mu.Lock()
	a := d.accounts[appid]
	d.mu.Unlock()
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return nil
	}
	return a.client
}

// PutAccount makes or replaces an account, if may (nil: it may) has nothing against it;
// see server.Engine.
func (d *Dispatcher) PutAccount(ctx context.Context, a gateway.Account, may func(now gateway.Account) error) (gateway.Account, error) {
	modeGiven := a.Mode != ""
	a = a.WithDefaults()
	if _, err := d.Retries.with(a.Tries); err != nil {
		return gateway.Account{}, err
	}
	if _, err := ledger.PolicyOf(a); err != nil { // stored, it would stop every start
		return gateway.Account{}, &gateway.Problem{Code: gateway.InvalidRequest, Errors: []gateway.FieldError{{Location: "profile", Message: err.Error()}}}
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	stored, err := d.Store.Account(ctx, a.AppID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return gateway.Account{}, err
	}
	if may != nil {
		if err := may(stored); err != nil {
			return gateway.Account{}, err
		}
	}
	if err == nil && a.AESKey == "" && stored.AESKey != "" && !modeGiven {
		a.Mode = stored.Mode // the key stays, and so does the mode: nobody talks it down by leaving the key out
	}
	return d.replace(ctx, a)
}

// replace keeps an account and takes it up. The caller holds d.changing.
func (d *Dispatcher) replace(ctx context.Context, a gateway.Account) (gateway.Account, error) {
	stored, err := d.Store.Account(ctx, a.AppID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return gateway.Account{}, err
	}
	if err := d.Store.PutAccount(ctx, d.Now(), a, turned(stored, a)...); err != nil {
		return gateway.Account{}, err
	}
	if a, err = d.Store.Account(ctx, a.AppID); err != nil { // with the secrets that it kept
		return gateway.Account{}, err
	}
	if err := d.setAccount(ctx, a); err != nil {
		return gateway.Account{}, err
	}
	if a.Callbacks == "elsewhere" && stored.Callbacks != a.Callbacks {
		d.doubt(a.AppID)
	}
	a.Secret, a.Token, a.AESKey = "", "", ""
	return a, nil
}

// DeleteAccount forgets an account; its waiting messages fail at their turn.
func (d *Dispatcher) DeleteAccount(ctx context.Context, appid string) error {
	d.mu.Lock()
	a := d.accounts[appid]
	d.mu.Unlock()
	if a == nil || a.isGone() {
		return &gateway.Problem{Code: gateway.UnknownAccount}
	}
	d.changing.Lock()
	defer d.changing.Unlock()
	if err := d.Store.DeleteAccount(ctx, d.Now(), appid); err != nil {
		return problem(err)
	}
	a.mu.Lock()
	a.gone = true
	a.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, l := range d.lanes {
		if k.appid == appid {
			d.agenda.poke(l, gateway.Normal)
		}
	}
	return nil
}

// setAccount takes up an account's settings.
func (d *Dispatcher) setAccount(ctx context.Context, given gateway.Account) error {
	policy, err := ledger.PolicyOf(given)
	if err != nil {
		return err
	}
	tries, err := d.Retries.with(given.Tries)
	if err != nil {
		return err
	}
	var stood kept
	if text, err := d.Store.Standing(ctx, given.AppID); err != nil {
		return err
	} else if text != nil {
		if err := json.Unmarshal(text, &stood); err != nil {
			return fmt.Errorf("how the account %s stands can't be read: %w", given.AppID, err)
		}
	}
	d.mu.Lock()
	a := d.accounts[given.AppID]
	if a == nil {
		a = &account{appid: given.AppID, atHand: &d.atHand}
		d.accounts[given.AppID] = a
	}
	d.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.client == nil || a.gone: // new here: as the store has it
		a.standing, a.saved = standing{kept: stood, trial: !stood.Held.IsZero()}, stood
	case a.given.State == paused && given.State == active:
		a.standing.resume()
		d.agenda.open(given.AppID)
	}
	a.given, a.gone = given, false
	a.rate = rate.NewLimiter(a.speed(d.Now()), burst(a.speed(d.Now())))
	a.policy = policy
	a.tries = tries
	a.client = &kefu.Client{Tokens: d.Tokens(given), BaseURL: d.BaseURL, HTTP: &http.Client{Transport: d.clock}, NoCheck: true}
	return nil
}

// Healthy says what an operator of some accounts (none: of all) should know, and an error
// while messages can't be taken.
func (d *Dispatcher) Healthy(_ context.Context, lang string, accounts []string) (notes []string, err error) {
	now := d.Now()
	notes = d.taking(lang)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, appid := range slices.Sorted(maps.Keys(d.accounts)) {
		if len(accounts) == 0 || slices.Contains(accounts, appid) {
			notes = append(notes, d.accounts[appid].notes(now, lang)...)
		}
	}
	if ahead := d.clock.offset(); ahead.Abs() > offsetNews {
		notes = append(notes, bilingual.In(lang, "WeChat's clock is %v ahead of this machine's; set the machine's clock (windows are corrected for it)", "微信的时钟比本机快 %v；请校准本机时钟（时间窗口已按此修正）", ahead))
	}
	return notes, d.Store.Healthy()
}
