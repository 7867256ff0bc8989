package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/store"
)

// The states of an account.
const (
	active = "active"
	paused = "paused"
)

// stopped reports whether the account calls WeChat for no message at now: not before
// until, or with a zero one not before somebody resumes it.
func (a *account) stopped(now time.Time) (until time.Time, yes bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.gone: // its messages fail, without a call
		return time.Time{}, false
	case a.given.State == paused:
		return time.Time{}, true
	}
	return a.standing.stopped(now)
}

// ask takes the account's permission for one post. Without ok: not before until, or
// with a zero one not before somebody resumes the account.
func (a *account) ask(now time.Time) (p pass, until time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.given.State == paused {
		return pass{}, time.Time{}, false
	}
	if p, until, ok = a.standing.ask(now); !ok {
		return p, until, false
	}
	if want := a.speed(now); a.rate.Limit() != want {
		a.rate.SetLimitAt(now, want)
		a.rate.SetBurstAt(now, burst(want))
	}
	return p, until, true
}

// leave reports whether p is still good for a post that leaves now, and counts it.
// warn: with it the daily quota is nearly used up.
func (a *account) leave(now time.Time, p pass) (until time.Time, warn, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.given.State == paused {
		return time.Time{}, false, false
	}
	if until, ok = a.standing.still(p, now); !ok {
		return until, false, false
	}
	return time.Time{}, a.standing.posted(now, a.given.DailyLimit()), true
}

func (a *account) unused(p pass) {
	a.mu.Lock()
	a.standing.unused(p)
	a.mu.Unlock()
}

// waits says why no message of the account leaves at now; "" if they do.
func (a *account) waits(now time.Time) (why string, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waitsLocked(now, "en")
}

func (a *account) waitsLocked(now time.Time, lang string) (why string, until time.Time) {
	switch {
	case a.gone:
		return "", time.Time{}
	case a.given.State == paused && a.given.Because == "":
		return bilingual.In(lang, "the account is paused", "公众号已停发"), time.Time{}
	case a.given.State == paused:
		return bilingual.In(lang, "the account is paused: %s", "公众号已停发：%s", bilingual.Text(a.given.Because).In(lang)), time.Time{}
	}
	return a.standing.because(now, lang)
}

// learn takes in what a result says about the account as a whole, in memory at once:
// the other lanes must not find out for themselves.
func (d *Dispatcher) learn(a *account, now time.Time, p pass, openid string, r Ruling, result error) change {
	a.mu.Lock()
	c := a.standing.learn(now, quotaEnds(now, d.clock.offset()), p, openid, a.given.Rate, result)
	if c.pause = r.Pause && a.given.State != paused && !a.gone; c.pause {
		a.given.State, a.given.Because = paused, string(because(result))
		a.standing.Config, a.standing.trial = true, true
	}
	a.mu.Unlock()
	if c.open {
		d.agenda.open(a.appid)
	}
	return c
}

// because is a refusal as the reason of a pause.
func because(result error) bilingual.Text {
	var refused *kefu.Error
	if !errors.As(result, &refused) {
		return bilingual.Text(result.Error())
	}
	x := refused.Explain()
	return bilingual.Both("%[1]d %[2]s; %[3]s; then: kefu account check", "%[1]d %[2]s；%[4]s；之后运行 kefu account check", refused.Code, refused.Msg, x.AdviceEn, x.AdviceZh)
}

// learned keeps and tells what was learned. What can't be kept holds in memory.
func (d *Dispatcher) learned(ctx context.Context, a *account, now time.Time, c change) {
	a.mu.Lock()
	line, reason := a.standing.line(a.appid, now, "en"), a.given.Because
	told := map[string]any{}
	if why, until := a.waitsLocked(now, "en"); why != "" {
		told["because"] = why
		if !until.IsZero() {
			told["until"] = gateway.At(until)
		}
	}
	if r := a.standing.Slow.rate(now); r > 0 {
		told["rate"] = r
	}
	if c.quota {
		told = map[string]any{"day": a.standing.Day, "used": a.standing.Used, "daily": a.given.DailyLimit()}
	}
	a.mu.Unlock()
	var kind string
	switch {
	case c.pause:
		d.Log.Error("an account is paused: WeChat refuses it as it is set up", "account", a.appid, "because", bilingual.Text(reason).In("en"))
		if err := d.setState(ctx, a.appid, paused, reason); err != nil {
			d.Log.Error("the pause of an account could not be kept; it lasts until this process ends", "account", a.appid, "error", err)
		}
		return
	case c.held:
		kind = "account.held"
	case c.slowed:
		kind = "account.slowed"
	case c.quota:
		kind, line = "account.quota", fmt.Sprintf("account %s has used %v of %v posts of the day", a.appid, told["used"], told["daily"])
	case c.lost:
		d.Log.Error(line)
		return // of this moment, and of this process
	default:
		return
	}
	d.Log.Warn(line)
	if err := d.saveStanding(ctx, a, store.Entry{Account: a.appid, Type: kind, Data: encode(told)}); err != nil {
		d.Log.Error("how an account stands could not be kept; it holds until this process ends", "account", a.appid, "error", err)
	}
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values
	}
	return b
}

// saveStanding keeps how the account stands, with entries for the feed.
func (d *Dispatcher) saveStanding(ctx context.Context, a *account, entries ...store.Entry) error {
	a.mu.Lock()
	k := a.standing.kept
	a.mu.Unlock()
	if err := d.Store.SetStanding(ctx, d.Now(), a.appid, encode(k), entries...); err != nil {
		return err
	}
	a.mu.Lock()
	a.saved = k
	a.mu.Unlock()
	return nil
}

// saveStandings keeps what has changed since it was last kept: the counts of the day.
func (d *Dispatcher) saveStandings(ctx context.Context) error {
	d.mu.Lock()
	var changed []*account
	for _, a := range d.accounts {
		a.mu.Lock()
		if !a.gone && a.saved != a.standing.kept {
			changed = append(changed, a)
		}
		a.mu.Unlock()
	}
	d.mu.Unlock()
	for _, a := range changed {
		if err := d.saveStanding(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// setState pauses or resumes an account, on disk with its line in the feed, and here.
func (d *Dispatcher) setState(ctx context.Context, appid, state, because string) error {
	d.changing.Lock()
	defer d.changing.Unlock()
	stored, err := d.Store.Account(ctx, appid)
	if err != nil {
		return problem(err)
	}
	stored.State, stored.Because = state, because
	_, err = d.replace(ctx, stored)
	return err
}

// turned is the line for the feed about an account that goes from one state to
// another; none if it stays.
func turned(from gateway.Account, to gateway.Account) []store.Entry {
	if from.AppID == "" && to.State == active || from.State == to.State {
		return nil
	}
	kind, data := "account.resumed", map[string]any{}
	if to.State == paused {
		kind, data["because"] = "account.paused", bilingual.Text(to.Because).In("en")
	}
	return []store.Entry{{Account: to.AppID, Type: kind, Data: encode(data)}}
}

// Pause has nothing of an account posted until [Dispatcher.Resume]. Messages are
// taken and callbacks kept all the same.
func (d *Dispatcher) Pause(ctx context.Context, appid, because string) error {
	a, err := d.accountOf(appid)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.standing.Config = false // by hand: only a hand resumes it
	a.mu.Unlock()
	if err := d.setState(ctx, appid, paused, because); err != nil {
		return err
	}
	return d.saveStanding(ctx, a)
}

// Resume ends whatever keeps the account's messages from leaving: a pause, a quota
// that was used up, a slow-down. One message goes first, the others when it was
// answered.
func (d *Dispatcher) Resume(ctx context.Context, appid string) error {
	a, err := d.accountOf(appid)
	if err != nil {
		return err
	}
	a.mu.Lock()
	held := d.Now().Before(a.standing.Held.Time)
	a.standing.resume()
	a.mu.Unlock()
	var told []store.Entry
	if held {
		told = []store.Entry{{Account: appid, Type: "account.resumed", Data: encode(map[string]any{})}}
	}
	if err := d.saveStanding(ctx, a, told...); err != nil {
		return err
	}
	if held {
		if err := d.forgetMidnight(ctx, appid); err != nil {
			return err
		}
	}
	if err := d.setState(ctx, appid, active, ""); err != nil {
		return err
	}
	d.agenda.open(appid)
	return nil
}

// forgetMidnight lets the messages that met a used-up quota go before midnight.
func (d *Dispatcher) forgetMidnight(ctx context.Context, appid string) error {
	if err := d.untilUp(ctx); err != nil {
		return err
	}
	d.mu.Lock()
	var lanes []*lane
	for k, l := range d.lanes {
		if k.appid == appid {
			lanes = append(lanes, l)
		}
	}
	d.mu.Unlock()
	for _, l := range lanes {
		if err := d.forgetMidnightIn(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// forgetMidnightIn looks at what is put off in a lane, wherever it stands there. Of what
// an earlier process put off nothing is known before its turn; see [Dispatcher.message].
func (d *Dispatcher) forgetMidnightIn(ctx context.Context, l *lane) error {
	l.mu.Lock()
	defer d.leave(l)
	for _, it := range l.putOff {
		now := d.Now()
		if it.State() != gateway.Queued || it.retryAt.reached(now) {
			continue
		}
		m, err := d.message(ctx, l, it)
		if err != nil {
			return err
		}
		if !metQuota(m) {
			continue
		}
		if err := d.Store.Move(ctx, now, store.Move{Seq: it.seq, From: gateway.Queued, To: gateway.Queued}); err != nil {
			return err
		}
		it.retryAt = 0
		d.changed(it.seq)
		d.poke(l)
	}
	return nil
}

// metQuota reports whether the latest attempt of a message met a used-up daily quota.
func metQuota(m store.Message) bool { return m.Outcome != nil && m.Outcome.ErrCode == dailyQuota }

// held reports whether the account waits for the end of a used-up daily quota.
func (a *account) held(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return now.Before(a.standing.Held.Time)
}

// accountOf returns an account that was not deleted; else the error is a Problem.
func (d *Dispatcher) accountOf(appid string) (*account, error) {
	d.mu.Lock()
	a := d.accounts[appid]
	d.mu.Unlock()
	if a == nil || a.isGone() {
		return nil, &gateway.Problem{Code: gateway.UnknownAccount}
	}
	return a, nil
}

// checker is a source of tokens that can ask WeChat for one although it has one.
type checker interface {
	Check(ctx context.Context, by string) error
}

// CheckAccount asks WeChat for a token. An account that was paused because of its
// set-up is resumed if WeChat gives one.
func (d *Dispatcher) CheckAccount(ctx context.Context, appid, by string) error {
	a, err := d.accountOf(appid)
	if err != nil {
		return err
	}
	a.mu.Lock()
	client, resume := a.client, a.given.State == paused && a.standing.Config
	a.mu.Unlock()
	if c, ok := client.Tokens.(checker); ok {
		err = c.Check(ctx, by)
	} else {
		_, err = client.Tokens.Token(ctx)
	}
	if err != nil || !resume {
		return err
	}
	return d.Resume(ctx, appid)
}

// Standing tells how an account stands with WeChat now; nil for one that there is not.
func (d *Dispatcher) Standing(appid, lang string) *gateway.Standing {
	a, err := d.accountOf(appid)
	if err != nil {
		return nil
	}
	now := d.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &gateway.Standing{Rate: a.standing.Slow.rate(now), Daily: a.given.DailyLimit()}
	if a.standing.Day == dayInBeijing(now) {
		s.UsedToday = a.standing.Used
	}
	why, until := a.waitsLocked(now, lang)
	s.Because = why
	if !until.IsZero() {
		at := gateway.At(until)
		s.Until = &at
	}
	return s
}

// notes are what an operator should know of an account.
func (a *account) notes(now time.Time, lang string) (notes []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return nil
	}
	if a.given.State == paused {
		why, _ := a.waitsLocked(now, lang)
		notes = append(notes, a.appid+": "+why)
	} else if line := a.standing.line(a.appid, now, lang); line != "" {
		notes = append(notes, line)
	}
	if daily := a.given.DailyLimit(); a.standing.Day == dayInBeijing(now) && a.standing.Warned {
		notes = append(notes, bilingual.In(lang, "account %s has used %d of %d posts of the day (until midnight in Beijing)", "公众号 %s 今天已发 %d 次，上限 %d（到北京时间零点）", a.appid, a.standing.Used, daily))
	}
	return notes
}

// renew has the media of a message renewed, if the ruling says so, and puts the new
// body in the message's place. A failure to do so is the message's.
func (d *Dispatcher) renew(ctx context.Context, a *account, m *store.Message, r Ruling) Ruling {
	if !r.Renew {
		return r
	}
	a.mu.Lock()
	client := a.client
	a.mu.Unlock()
	body, err := d.Media.Renew(ctx, client, a.appid, m.Message.Message)
	if err != nil {
		r.Renew = false
		r.Outcome.Reason = "its media could not be renewed: " + err.Error()
		if r.State = gateway.Failed; forNow(err) { // at its next turn they are got to WeChat like any others
			r.State, r.RetryAt = gateway.Queued, d.Now().Add(time.Second)
		}
		return r
	}
	m.Message.Message = body
	return r
}

// speed is the account's speed at now, by its settings and by WeChat's will.
func (a *account) speed(now time.Time) rate.Limit {
	own := rate.Limit(a.given.Rate)
	slow := rate.Limit(a.standing.Slow.rate(now))
	switch {
	case own == 0 && slow == 0:
		return rate.Inf
	case own == 0 || slow > 0 && slow < own:
		return slow
	}
	return own
}

// burst is how many posts may leave at once: what a second allows.
func burst(r rate.Limit) int { return int(max(1, min(r, 1e6))) }
