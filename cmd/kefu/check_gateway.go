package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// gatewaySteps are what is tried through the gateway, with the account behind it.
func gatewaySteps() []step {
	var all []step
	for _, k := range kinds() {
		all = append(all, step{"gateway-" + k.name, func(ctx context.Context, d *demo, to string) (string, error) {
			return k.arrives(ctx, &d.behind, to, func(m kefu.Message) error { return d.behind.sent(ctx, m) })
		}})
	}
	return append(all,
		step{"gateway-callback", checkGatewayCallback},
		step{"gateway-forged", checkGatewayForgery},
		step{"gateway-window", checkGatewayWindow},
		step{"gateway-parked", checkGatewayParked},
		step{"gateway-long-text", checkGatewayLongText},
		step{"gateway-bulk", checkGatewayBulk},
		step{"gateway-retry", checkGatewayRetry},
		step{"gateway-quota", checkGatewayQuota},
		step{"gateway-paused", checkGatewayPaused},
		step{"gateway-lost-answer", checkGatewayLostAnswer},
		step{"gateway-resend", checkGatewayResend},
		step{"gateway-repeat", checkGatewayRepeat},
		step{"gateway-image-back", checkGatewayImageBack},
		step{"gateway-list", checkGatewayList},
	)
}

// patience is how long a step waits for what the gateway does by itself.
const patience = 2 * time.Second

// tell sends a text through the gateway and waits for what becomes of it.
func (d *party) tell(ctx context.Context, to, content string, r gateway.Request, o gateway.SendOptions) (gateway.Message, error) {
	r.Message = kefu.Message{To: to, Body: kefu.Text{Content: content}}.AppendJSON(nil)
	if o.Wait == 0 {
		o.Wait = patience
	}
	return d.gateway.Send(ctx, r, o)
}

// sent sends a message through the gateway, which must say that WeChat took it.
func (d *party) sent(ctx context.Context, m kefu.Message) error {
	got, err := d.gateway.Send(ctx, gateway.Request{Message: m.AppendJSON(nil)}, gateway.SendOptions{Wait: patience})
	if err == nil {
		err = want("state", got.State, gateway.Sent)
	}
	return err
}

// awaits returns the texts that the follower received, once there are n.
func (d *party) awaits(ctx context.Context, to string, n int) ([]string, error) {
	if _, err := d.control.call(ctx, http.MethodGet, fmt.Sprintf("messages/wait?to=%s&count=%d&timeout=%v", to, n, patience), nil); err != nil {
		return nil, err
	}
	return d.contents(ctx, to)
}

// states are those of the messages to a follower, the oldest first.
func (d *party) states(ctx context.Context, to string) (all []gateway.State, err error) {
	page, err := d.gateway.Messages(ctx, gateway.MessageFilter{OpenID: to}, "", 0)
	for _, m := range slices.Backward(page.Items) {
		all = append(all, m.State)
	}
	return all, err
}

// writes lets a follower write.
func (d *party) writes(ctx context.Context, to, content string) error {
	_, _, err := d.control.act(ctx, to, "text", map[string]string{"content": content})
	return err
}

func checkGatewayCallback(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "在吗"); err != nil {
		return "", err
	}
	page, err := me.gateway.Timeline(ctx, me.control.account, to, "", 0)
	if err != nil {
		return "", err
	}
	var got []string
	for _, e := range page.Items {
		got = append(got, e.Type+" "+said(e.Data))
	}
	w, err := me.gateway.Window(ctx, me.control.account, to)
	rules, err2 := kefu.RulesFor("")
	most := rules.Allowances[kefu.UserMessage].Max
	return "in secure mode: 在吗 is kept; " + windowLine(w), errors.Join(err, err2, want("timeline", got, []string{"follower.message 在吗"}),
		want("window", w.State, gateway.WindowOpen), want("opened by", opener(w), kefu.UserMessage), want("left", left(w.Remaining), left(&most)))
}

func checkGatewayForgery(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	status, err := forge(ctx, me.gateway.BaseURL+"/callback/"+kefutest.DefaultAccount.AppID, to)
	if err != nil {
		return "", err
	}
	w, err := me.gateway.Window(ctx, me.control.account, to)
	return "a plain, unsigned callback is refused with HTTP 403, and opens nothing", errors.Join(err,
		want("HTTP status", status, http.StatusForbidden), want("window", w.State, gateway.WindowUnknown))
}

func checkGatewayWindow(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	before, err := me.tell(ctx, to, "before", gateway.Request{}, gateway.SendOptions{})
	if err != nil {
		return "", err
	}
	if err := me.advance(ctx, "48h"); err != nil {
		return "", err
	}
	_, refused := me.tell(ctx, to, "at once or never", gateway.Request{WhenClosed: gateway.Fail}, gateway.SendOptions{})
	var problem *gateway.Problem
	foreseen := errors.As(refused, &problem) && problem.Code == gateway.WindowIsClosed && problem.ErrCode == 45015
	later, err := me.tell(ctx, to, "later", gateway.Request{}, gateway.SendOptions{})
	if err != nil {
		return "", err
	}
	if err := me.writes(ctx, to, "hi again"); err != nil {
		return "", err
	}
	got, err := me.awaits(ctx, to, 2)
	if err != nil {
		return "", err
	}
	codes, err := me.sends(ctx, to)
	return "before; 48 h later 45015 is foreseen, or the message parked; the follower writes; later", errors.Join(err,
		want("before", before.State, gateway.Sent), want("45015 foreseen", foreseen, true), want("later", later.State, gateway.Parked),
		want("received", got, []string{"before", "later"}), want("45015 met", slices.Contains(codes, 45015), false))
}

func checkGatewayParked(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if _, err := me.act(ctx, to, "click"); err != nil { // seen, and closed soon
		return "", err
	}
	if err := me.advance(ctx, "1m"); err != nil {
		return "", err
	}
	for _, content := range []string{"1", "2", "3", "4", "5"} {
		m, err := me.tell(ctx, to, content, gateway.Request{}, gateway.SendOptions{})
		if err == nil {
			err = want("state of "+content, m.State, gateway.Parked)
		}
		if err != nil {
			return "", err
		}
	}
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	three, err := me.awaits(ctx, to, 3)
	if err != nil {
		return "", err
	}
	answer, err := me.tell(ctx, to, "an agent's answer", gateway.Request{Priority: gateway.Human}, gateway.SendOptions{})
	if err != nil {
		return "", err
	}
	got, err := me.contents(ctx, to)
	if err != nil {
		return "", err
	}
	states, err := me.states(ctx, to)
	const sent, parked = gateway.Sent, gateway.Parked
	return "five parked; hi: 1, 2, 3 leave, two stay; an agent's answer leaves at once", errors.Join(err,
		want("received after hi", three, []string{"1", "2", "3"}), want("the answer", answer.State, sent),
		want("received", got, []string{"1", "2", "3", "an agent's answer"}),
		want("states", states, []gateway.State{sent, sent, sent, parked, parked, sent}))
}

func checkGatewayRetry(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	fault := map[string]any{"path": "message/custom/send", "to": to, "errcode": -1, "next": 2}
	if _, err := me.control.call(ctx, http.MethodPost, "faults", fault); err != nil {
		return "", err
	}
	m, err := me.tell(ctx, to, "third time lucky", gateway.Request{}, gateway.SendOptions{Wait: time.Millisecond})
	if err != nil {
		return "", err
	}
	for deadline := time.Now().Add(patience); !m.State.Final() && time.Now().Before(deadline); {
		if m.State == gateway.Queued && m.RetryAt != nil { // no need to wait: the clock can jump
			if err := me.advance(ctx, "4s"); err != nil {
				return "", err
			}
		}
		time.Sleep(20 * time.Millisecond)
		if m, err = me.gateway.Message(ctx, m.ID); err != nil {
			return "", err
		}
	}
	attempts, err := me.gateway.Attempts(ctx, m.ID)
	if err != nil {
		return "", err
	}
	var codes []int
	for _, a := range attempts {
		codes = append(codes, a.ErrCode)
	}
	answered, err := me.sends(ctx, to)
	if err != nil {
		return "", err
	}
	got, err := me.contents(ctx, to)
	return fmt.Sprintf("WeChat answered %v; received once", codes), errors.Join(err, want("state", m.State, gateway.Sent),
		want("attempts kept", codes, []int{-1, -1, 0}), want("errcodes answered", answered, []int{-1, -1, 0}),
		want("marked as a possible duplicate", m.PossibleDuplicate, true), want("received", got, []string{"third time lucky"}))
}

// refusedOnce sends two messages, of which WeChat refuses the first for a reason of
// the account, and tells what the gateway says of the second.
func (d *party) refusedOnce(ctx context.Context, to string, code int) (because string, err error) {
	if err := d.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	if _, err := d.control.call(ctx, http.MethodPost, "faults", map[string]any{"to": to, "errcode": code}); err != nil {
		return "", err
	}
	for _, content := range []string{"1", "2"} {
		m, err := d.tell(ctx, to, content, gateway.Request{}, gateway.SendOptions{Wait: 200 * time.Millisecond})
		if err == nil {
			err = want("state of "+content, m.State, gateway.Queued)
		}
		if err != nil {
			return "", err
		}
	}
	w, err := d.gateway.Window(ctx, d.control.account, to)
	if err != nil {
		return "", err
	}
	codes, err := d.sends(ctx, to)
	return w.Because, errors.Join(err, want("errcodes answered", codes, []int{code}))
}

func checkGatewayQuota(ctx context.Context, d *demo, to string) (_ string, err error) {
	me := &d.behind
	defer func() { // the next steps need the account
		_, resumed := me.gateway.ResumeAccount(ctx, me.control.account)
		err = errors.Join(err, resumed)
	}()
	because, err := me.refusedOnce(ctx, to, 45009)
	if err != nil {
		return "", err
	}
	if err := me.advance(ctx, "24h"); err != nil {
		return "", err
	}
	got, err := me.awaits(ctx, to, 2)
	return "WeChat answered 45009 once; two wait for midnight in Beijing, and leave", errors.Join(err,
		want("says why", strings.Contains(because, "45009"), true), want("received", got, []string{"1", "2"}))
}

func checkGatewayPaused(ctx context.Context, d *demo, to string) (_ string, err error) {
	me := &d.behind
	defer func() {
		_, resumed := me.gateway.ResumeAccount(ctx, me.control.account)
		err = errors.Join(err, resumed)
	}()
	because, err := me.refusedOnce(ctx, to, 48001)
	if err != nil {
		return "", err
	}
	paused, err := me.gateway.Account(ctx, me.control.account)
	if err != nil {
		return "", err
	}
	check, err := me.gateway.CheckAccount(ctx, me.control.account)
	if err != nil {
		return "", err
	}
	got, err := me.awaits(ctx, to, 2)
	return "WeChat answered 48001 once, the account is paused; a check passes, two leave", errors.Join(err,
		want("account", paused.State, "paused"), want("says why", strings.Contains(because, "48001"), true),
		want("check", check.OK, true), want("received", got, []string{"1", "2"}))
}

func checkGatewayLostAnswer(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	if _, err := me.control.call(ctx, http.MethodPost, "faults", map[string]any{"to": to, "drop": "after"}); err != nil {
		return "", err
	}
	m, err := me.tell(ctx, to, "once", gateway.Request{}, gateway.SendOptions{})
	if err != nil {
		return "", err
	}
	next, err := me.tell(ctx, to, "next", gateway.Request{}, gateway.SendOptions{})
	if err != nil {
		return "", err
	}
	got, err := me.contents(ctx, to)
	return "accepted, the answer lost: unknown, and not sent again; the next goes", errors.Join(err,
		want("state", m.State, gateway.Unknown), want("the next", next.State, gateway.Sent), want("received", got, []string{"once", "next"}))
}

func checkGatewayResend(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	if _, err := me.control.call(ctx, http.MethodPost, "faults", map[string]any{"to": to, "drop": "after"}); err != nil {
		return "", err
	}
	lost, err := me.tell(ctx, to, "perhaps twice", gateway.Request{OnUnknown: gateway.Resend}, gateway.SendOptions{})
	if err != nil {
		return "", err
	}
	if err := me.advance(ctx, "61s"); err != nil {
		return "", err
	}
	got, err := me.awaits(ctx, to, 2)
	if err != nil {
		return "", err
	}
	m, err := me.gateway.Message(ctx, lost.ID)
	for deadline := time.Now().Add(patience); err == nil && !m.State.Final() && time.Now().Before(deadline); {
		time.Sleep(20 * time.Millisecond)
		m, err = me.gateway.Message(ctx, lost.ID)
	}
	return "the answer lost; a minute later it is sent once more, and marked", errors.Join(err,
		want("at first", lost.State, gateway.Unknown), want("then", m.State, gateway.Sent), want("marked as a possible duplicate", m.PossibleDuplicate, true),
		want("received", got, []string{"perhaps twice", "perhaps twice"}))
}

// longText has n lines, each of which fills a part.
func longText(n int) (lines []string) {
	for i := range n {
		lines = append(lines, fmt.Sprint(i+1)+strings.Repeat("长", 682))
	}
	return lines
}

func checkGatewayLongText(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	for _, short := range []string{"one", "two"} { // three are left
		if _, err := me.tell(ctx, to, short, gateway.Request{}, gateway.SendOptions{}); err != nil {
			return "", err
		}
	}
	four := strings.Join(longText(4), "\n")
	var tooFew, tooMany *gateway.Problem
	_, err := me.tell(ctx, to, four, gateway.Request{LongText: gateway.Split, WhenClosed: gateway.Fail}, gateway.SendOptions{})
	refused := errors.As(err, &tooFew) && tooFew.Code == gateway.AllowanceSpent && tooFew.ErrCode == 45047
	_, err = me.tell(ctx, to, strings.Join(longText(7), "\n"), gateway.Request{LongText: gateway.Split}, gateway.SendOptions{})
	never := errors.As(err, &tooMany) && tooMany.Code == gateway.InvalidMessage
	parked, err := me.tell(ctx, to, four, gateway.Request{LongText: gateway.Split}, gateway.SendOptions{})
	if err != nil {
		return "", err
	}
	before, err := me.contents(ctx, to)
	if err != nil {
		return "", err
	}
	if err := me.writes(ctx, to, "more"); err != nil {
		return "", err
	}
	got, err := me.awaits(ctx, to, 6)
	if err != nil {
		return "", err
	}
	return "4 parts with 3 left: refused, or parked whole; more: all four leave in order; 7 parts are never taken", errors.Join(
		want("4 parts with 3 left refused", refused, true), want("7 parts refused", never, true), want("state", parked.State, gateway.Parked),
		want("parts", parked.Parts, 4), want("left before", before, []string{"one", "two"}),
		want("received", got, append([]string{"one", "two"}, longText(4)...)))
}

func checkGatewayBulk(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	for _, content := range []string{"1", "2", "3", "4"} {
		if _, err := me.tell(ctx, to, content, gateway.Request{Priority: gateway.Bulk}, gateway.SendOptions{}); err != nil {
			return "", err
		}
	}
	answer, err := me.tell(ctx, to, "an agent's answer", gateway.Request{Priority: gateway.Human}, gateway.SendOptions{})
	if err != nil {
		return "", err
	}
	got, err := me.contents(ctx, to)
	if err != nil {
		return "", err
	}
	states, err := me.states(ctx, to)
	const sent, parked = gateway.Sent, gateway.Parked
	return "of four in bulk three leave; the kept messages are for an agent's answer", errors.Join(err,
		want("the answer", answer.State, sent), want("received", got, []string{"1", "2", "3", "an agent's answer"}),
		want("states", states, []gateway.State{sent, sent, sent, parked, sent}))
}

func checkGatewayRepeat(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	key := gateway.SendOptions{IdempotencyKey: to}
	one, err := me.tell(ctx, to, "once", gateway.Request{}, key)
	if err != nil {
		return "", err
	}
	two, err := me.tell(ctx, to, "once", gateway.Request{}, key)
	if err != nil {
		return "", err
	}
	_, other := me.tell(ctx, to, "another", gateway.Request{}, key)
	var problem *gateway.Problem
	mismatch := errors.As(other, &problem) && problem.Code == gateway.IdempotencyMismatch
	got, err := me.contents(ctx, to)
	return "the same key twice: one message; with another text: refused", errors.Join(err,
		want("id of the repeat", two.ID, one.ID), want("another text refused", mismatch, true), want("received", got, []string{"once"}))
}

func checkGatewayImageBack(ctx context.Context, d *demo, to string) (string, error) {
	me := &d.behind
	if err := me.writes(ctx, to, "hi"); err != nil {
		return "", err
	}
	id, err := me.upload(ctx, kefu.MediaImage, "hills.png", samplePNG())
	if err != nil {
		return "", err
	}
	if err := me.sent(ctx, kefu.Message{To: to, Body: kefu.Image{MediaID: kefu.MediaID(id)}}); err != nil {
		return "", err
	}
	messages, err := me.messages(ctx, to)
	if err != nil || len(messages) != 1 {
		return "", errors.Join(err, want("messages received", len(messages), 1))
	}
	var received struct {
		Image struct {
			MediaID kefu.TemporaryID `json:"media_id"`
		} `json:"image"`
	}
	if err := json.Unmarshal([]byte(messages[0].Raw), &received); err != nil {
		return "", err
	}
	got, err := me.client.Download(ctx, received.Image.MediaID)
	if err != nil {
		return "", err
	}
	defer got.Body.Close()
	data, err := io.ReadAll(got.Body)
	return fmt.Sprintf("sent, and by the id received %d bytes of %s, equal", len(data), got.ContentType), errors.Join(err,
		want("equal to what was uploaded", bytes.Equal(data, samplePNG()), true))
}

func checkGatewayList(ctx context.Context, d *demo, _ string) (string, error) {
	page, err := fetch(ctx, d.behind.gateway.BaseURL+"/")
	return fmt.Sprintf("the live list is served: %d bytes", len(page)), errors.Join(err,
		want("is the page", strings.Contains(string(page), "/v1/events"), true))
}
