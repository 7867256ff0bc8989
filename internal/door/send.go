package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// send entrusts a message to the outbox and answers with what became of it.
func (d *Door) send(w http.ResponseWriter, r *http.Request, who caller) {
	body, release, no := d.read(w, r, maxBody)
	defer release()
	if no == nil {
		no = check(body, who.account)
	}
	if no != nil {
		d.answer(w, r, sendPath, no)
		return
	}
	key := keyOf(who, body)
	s, first := d.sends.join(key, d.Now())
	if s == nil {
		d.answer(w, r, sendPath, refuse(busy, ""))
		return
	}
	answered := false
	defer func() { d.sends.leave(key, s, answered, d.Now()) }()
	if first {
		d.ending.Go(func() { d.deliver(context.WithoutCancel(r.Context()), key, s, who, body) })
	}
	select {
	case <-s.done:
	case <-r.Context().Done():
		return
	}
	answered = d.answer(w, r, sendPath, s.said) == nil && r.Context().Err() == nil
}

// check says what WeChat would refuse, in its words, before anything is kept.
func check(body []byte, account gateway.Account) *words {
	if !utf8.Valid(body) {
		return refuse(notJSON, "the body is not UTF-8")
	}
	m, err := kefu.ParseMessage(body)
	if err != nil {
		return refuse(notJSON, "")
	}
	rules, err := kefu.RulesFor(account.Profile)
	if err != nil {
		return nil // Compose knows what to do
	}
	if refused, _ := m.Check(&rules); len(refused) > 0 {
		v := refused[0]
		if v.Code == 0 {
			v.Code = badArgument
		}
		return refuse(v.Code, v.String())
	}
	return nil
}

// deliver is a send from its acceptance to its end. It goes on when its callers have
// gone: what is being sent has an outcome, and the next who asks is to learn it.
func (d *Door) deliver(ctx context.Context, key sendKey, s *send, who caller, body []byte) {
	state, said := d.outcome(ctx, s, who, body)
	d.sends.finish(key, s, state, said, d.Now())
}

// outcome hands a message in and waits for its end, at most for the limit while it is
// not being sent. The state is [gateway.Failed] if nothing was kept.
func (d *Door) outcome(ctx context.Context, s *send, who caller, body []byte) (gateway.State, *words) {
	settings := gateway.DoorSettings{}
	if who.account.Door != nil {
		settings = *who.account.Door
	}
	waiting, stop := context.WithTimeout(ctx, d.Limit)
	defer stop()
	sub, err := d.submission(ctx, who, settings, body)
	var m gateway.Message
	if err == nil {
		a := d.Engine.Accept(ctx, []gateway.Submission{sub})[0]
		m, err = a.Message, a.Err
	}
	if err != nil {
		said, fault := wordsOf(err)
		if fault != nil {
			d.Log.ErrorContext(ctx, "the door can't keep a message", "err", fault)
		}
		return gateway.Failed, said
	}
	if settings.Mode == gateway.DoorQueued {
		return gateway.Queued, fine
	}
	go func() { // ends with waiting
		select {
		case <-s.alone:
			stop()
		case <-waiting.Done():
		}
	}()
	m, err = d.Engine.Await(waiting, m.ID)
	if err == nil && !over(m.State) {
		m, err = d.Engine.Withdraw(ctx, m.ID)
	}
	if err != nil { // it was kept, and nobody can tell what becomes of it
		d.Log.ErrorContext(ctx, "nobody can tell how a message of the door stands", "id", m.ID, "err", err)
		return gateway.Unknown, refuse(busy, "")
	}
	return m.State, outcome(m)
}

func over(s gateway.State) bool {
	return s.Final() || s == gateway.Unknown || s == gateway.Parked
}

// submission is a send as the outbox takes it. One that is waited for does not outlive
// the wait: after a crash it must not go out beside its caller's repeat.
func (d *Door) submission(ctx context.Context, who caller, settings gateway.DoorSettings, body []byte) (gateway.Submission, error) {
	closed := gateway.Fail
	if settings.Park {
		closed = gateway.Park
	}
	body = bytes.TrimPrefix(body, []byte("\uFEFF"))
	request := fmt.Appendf(nil, `{"message":%s,"when_closed":%q,"on_unknown":%q}`, body, closed, gateway.Hold)
	sub, err := d.Compose(ctx, who.account.AppID, gateway.FromDoor, request)
	sub.By = &gateway.By{Kind: "door", ID: who.key.ID, Name: who.key.Name}
	if err == nil && settings.Mode != gateway.DoorQueued && !settings.Park {
		sub.ExpiresAt = gateway.At(d.Now().Add(d.Limit + time.Second))
	}
	return sub, err
}

// typing shows a follower "typing…", or ends it.
func (d *Door) typing(w http.ResponseWriter, r *http.Request, who caller) {
	body, release, no := d.read(w, r, maxBody)
	defer release()
	var in struct {
		ToUser  string `json:"touser"`
		Command string `json:"command"`
	}
	switch {
	case no != nil:
	case json.Unmarshal(body, &in) != nil:
		no = refuse(notJSON, "")
	case in.ToUser == "":
		no = refuse(noOpenID, "")
	case in.Command != "Typing" && in.Command != "CancelTyping":
		no = refuse(wrongCommand, "")
	default:
		no = fine
		if err := d.Engine.Typing(r.Context(), who.account.AppID, in.ToUser, in.Command == "Typing"); err != nil {
			var fault error
			if no, fault = wordsOf(err); fault != nil && !errors.Is(fault, context.Canceled) {
				d.Log.WarnContext(r.Context(), "typing was not answered", "account", who.account.AppID, "err", fault)
			}
		}
	}
	d.answer(w, r, typingPath, no)
}
