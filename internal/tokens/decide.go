package tokens

import (
	"crypto/subtle"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/store"
)

// Why a token is wanted, as its event says.
const (
	start   = "start"
	expiry  = "expiry"
	refused = "refused"
	expired = "expired" // 42001
	forced  = "forced"
	checked = "check" // somebody wants to know whether WeChat gives one
)

// askedFor reports whether somebody wants WeChat's answer now: a token that is there
// already, or a pause, is none.
func askedFor(why string) bool { return why == forced || why == checked }

const (
	refusedGap  = 30 * time.Second // between fetches after a refusal: somebody else ends our tokens
	patience    = 25 * time.Second // with a fetch that another process has under way
	noticeAgain = time.Hour        // until contested and waits are said again
	lookAgain   = 5 * time.Second  // until the store is looked at again for a token from outside
)

// A wish is what somebody wants of an account's token.
type wish struct {
	now       time.Time
	why       string
	by        string
	stale     kefu.Secret // won't do: expired, refused, or about to
	seen      kefu.Secret // what the store had when last looked at: nothing new
	contested bool        // WeChat refused stale, which had time left
	waits     bool        // tokens come from outside
	fetches   kefu.TokenLimit
	forces    kefu.TokenLimit
}

// An act is what is done about a wish.
type act int

const (
	adopt  act = iota // take the store's token
	await             // another process is fetching
	fetch             //
	refuse            // nothing, until a moment
)

// A verdict is what is done about a wish, and what has to be said.
type verdict struct {
	act     act
	err     *WaitError // of refuse
	notices []gateway.TokenAction
}

// A WaitError says why there is no token and none is fetched now.
type WaitError struct {
	Because bilingual.Text
	Until   time.Time // nothing changes before, unless a token comes from outside
}

func (e *WaitError) Error() string { return e.Because.In("en") }

// Vain returns the moment before which it is no use to ask again.
func (e *WaitError) Vain() time.Time { return e.Until }

// decide is the whole policy, pure.
func decide(u store.TokenUse, w wish) verdict {
	if !askedFor(w.why) && !same(u.Token.Value, w.stale) && !same(u.Token.Value, w.seen) && lives(u.Token, w.now) {
		return verdict{act: adopt}
	}
	var v verdict
	notice := func(n gateway.TokenAction, since time.Time) {
		if told := u.ToldAt(n); told.IsZero() || told.Before(since) {
			v.notices = append(v.notices, n)
		}
	}
	no := func(until time.Time, en, zh string, args ...any) verdict {
		v.act, v.err = refuse, &WaitError{bilingual.Both(en, zh, args...), until}
		return v
	}
	if w.contested {
		notice(gateway.TokenContested, w.now.Add(-noticeAgain))
	}
	if w.waits {
		notice(gateway.TokenWaits, w.now.Add(-noticeAgain))
		return no(w.now.Add(lookAgain), "the account's access tokens come from outside and there is none that works: hand one over with kefu token import",
			"公众号的 access_token 由外部提供，现在没有可用的：请用 kefu token import 录入")
	}
	if u.Pending.After(w.now.Add(-patience)) {
		v.act = await
		return v
	}
	used, limit := u.Fetched, w.fetches
	if w.why == forced {
		used, limit = u.Forced, w.forces
		if free := u.ForceAt.Add(limit.Gap); w.now.Before(free) {
			return no(free, "WeChat takes a forced refresh every %v only: try again then", "微信每 %v 只接受一次强制刷新：请到时再试", limit.Gap)
		}
	}
	if free := u.Refused.Add(refusedGap); w.why == refused && w.now.Before(free) {
		return no(free, "WeChat refuses the account's access token although it has time left, and another is fetched every %v only: some other system ends it; let all use stable_token, or let one place fetch",
			"access_token 还没到期却被微信拒绝，而每 %v 只再获取一次：另有系统使它失效；请都改用 stable_token，或只由一处获取", refusedGap)
	}
	if used >= stop(limit) {
		notice(gateway.TokenSpent, dayOf(w.now))
		return no(dayOf(w.now).AddDate(0, 0, 1), "%d of the %d token fetches that WeChat allows a day are used and the rest is kept: no more until midnight in Beijing; look for who fetches so often (kefu token audit), or hand a token over with kefu token import",
			"微信每天允许获取 token %[2]d 次，已用 %[1]d 次，其余留作备用：北京时间零点前不再获取；请查是谁频繁获取（kefu token audit），或用 kefu token import 录入", used, limit.Max)
	}
	if w.why != forced && used+1 >= warnAt(limit) {
		notice(gateway.TokenLow, dayOf(w.now))
	}
	v.act = fetch
	return v
}

// stop is the use from which on nothing is fetched: a twentieth is never touched.
func stop(l kefu.TokenLimit) int { return l.Max - (l.Max+19)/20 }

// warnAt is the use at which it is said that the day's fetches run low.
func warnAt(l kefu.TokenLimit) int { return (4*l.Max + 4) / 5 }

// after is u with an event that happened since.
func after(u store.TokenUse, e gateway.TokenEvent) store.TokenUse {
	switch e.Action {
	case gateway.TokenFetched:
		n, at := &u.Fetched, &u.Refused
		if e.Why == forced {
			n, at = &u.Forced, &u.ForceAt
		}
		if e.Outcome != "not-delivered" {
			*n++
		}
		if e.Why == forced || e.Why == refused {
			*at = e.At.Time
		}
	default:
		u = u.Tell(e.Action, e.At.Time)
	}
	return u
}

// beijing is where WeChat's day begins. (No summer time since 1991.)
var beijing = time.FixedZone("Beijing", 8*3600)

// dayOf is when the day of WeChat's quotas began.
func dayOf(now time.Time) time.Time {
	y, m, d := now.In(beijing).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, beijing)
}

func lives(t kefu.Token, now time.Time) bool {
	return t.Value != "" && (t.Expiry.IsZero() || now.Before(t.Expiry))
}

func same(a, b kefu.Secret) bool {
	return subtle.ConstantTimeCompare([]byte(a.Reveal()), []byte(b.Reveal())) == 1
}
