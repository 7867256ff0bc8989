package tokens

import (
	"context"
	"errors"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/store"
)

// What people do to a token and want to know of it.

func (k *keeper) supply(ctx context.Context, by string, value kefu.Secret, life time.Duration) error {
	now := k.center.Now()
	tok := kefu.Token{Value: value, Expiry: now.Add(life).Truncate(time.Millisecond)}
	e := k.event(gateway.TokenSupplied, "", by, now)
	e.Outcome, e.ExpiresAt = "ok", timeOf(tok.Expiry)
	if err := k.center.Store.PutToken(ctx, now, k.appid, tok, e, k.entry(gateway.TokenSupplied, 0, verdict{})); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tok, k.refused, k.suspect = tok, nil, true
	k.wait, k.err, k.failures, k.pauseTo, k.renewAt = nil, nil, 0, time.Time{}, time.Time{}
	return nil
}

func (k *keeper) renew(ctx context.Context, by string) error {
	now := k.center.Now()
	tok, before, err := k.ask(ctx, forced, by)
	if err == nil && same(tok.Value, before) {
		err = &WaitError{bilingual.Both("WeChat gave the same token again: it takes a forced refresh every 30 s only, and 20 a day, also those of other systems; try again later",
			"微信给的仍是同一个 token：强制刷新 30 秒内只接受一次，每天 20 次，其他系统的也算在内；请稍后再试"), now.Add(limit("force").Gap)}
	}
	return err
}

func (k *keeper) status(ctx context.Context) (gateway.TokenStatus, error) {
	now := k.center.Now()
	day := dayOf(now)
	u, err := k.center.Store.TokenUse(ctx, now, day, k.appid)
	if err != nil {
		return gateway.TokenStatus{}, err
	}
	from, err := k.center.Store.TokenOrigin(ctx, k.appid)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tok.Value == "" { // not needed yet in this process
		k.tok = u.Token
	}
	s := gateway.TokenStatus{Account: k.appid, Source: k.given.TokenSource, State: gateway.TokenLive, ExpiresAt: timeOf(k.tok.Expiry)}
	fetches, forces := limit("fetch"), limit("force")
	fetches.Max = k.given.TokenBudget
	s.Fetches = gateway.Budget{Used: u.Fetched, Stop: stop(fetches), Max: fetches.Max}
	s.Forced = gateway.Budget{Used: u.Forced, Stop: stop(forces), Max: forces.Max}
	switch {
	case k.tok.Value == "":
		s.State = gateway.TokenNone
	case !lives(k.tok, now):
		s.State = gateway.TokenExpired
	case k.refused != nil:
		s.State = gateway.TokenRefused
	}
	if err == nil && k.tok.Value != "" {
		s.From = &from
	}
	if at := k.contestedAt(u, now); !at.IsZero() {
		s.Contested = timeOf(at)
	}
	if s.State != gateway.TokenLive && now.Before(k.pauseTo) {
		s.NextAt = timeOf(k.pauseTo)
		switch {
		case k.wait != nil:
			s.Because = string(k.wait.Because)
		case k.err != nil:
			s.Because = string(failure(k.err))
		}
	}
	return s, nil
}

// failure is why a token could not be fetched.
func failure(err error) bilingual.Text {
	var e *kefu.Error
	if errors.As(err, &e) && e.Code != 0 {
		x := e.Explain()
		return bilingual.Both("%[1]v; %[4]s", "微信返回 %[2]d %[3]s：%[5]s；%[6]s", err, e.Code, e.Msg, x.AdviceEn, x.Zh, x.AdviceZh)
	}
	if advice := kefu.ClassOf(err).Advice("zh"); advice != "" {
		return bilingual.Both("%[1]v", "%[2]s（%[1]v）", err, advice)
	}
	return bilingual.Text(err.Error())
}

// contestedAt is when somebody else last ended a token of ours, within an hour.
func (k *keeper) contestedAt(u store.TokenUse, now time.Time) time.Time {
	at := k.contested
	if told := u.ToldAt(gateway.TokenContested); told.After(at) {
		at = told
	}
	if now.Sub(at) >= noticeAgain {
		return time.Time{}
	}
	return at
}

// notes says what an operator should know.
func (k *keeper) notes(lang string) (notes []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.center.Now()
	if at := k.contestedAt(store.TokenUse{}, now); !at.IsZero() {
		notes = append(notes, bilingual.In(lang, texts[gateway.TokenContested]+" (last seen %s)",
			"另一个系统使公众号的 access_token 失效；请都改用 stable_token，或只由一处获取、其余向它索取（最近一次 %s）", at.UTC().Format(time.RFC3339)))
	}
	if k.wait != nil && !k.usable(now) {
		notes = append(notes, bilingual.In(lang, "there is no access token that works, its messages wait: %s", "没有可用的 access_token，消息在等待：%s", k.wait.Because.In(lang)))
	}
	return notes
}
