package dispatch

import (
	"errors"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A Retry says how often and how soon a class of failures is tried again.
type Retry struct {
	Tries int           // attempts in all; 0: until the message expires
	First time.Duration // pause after the first; it doubles with each
	Most  time.Duration // the longest pause
}

// Retries are an account's settings by class; a class that is not in them gets
// one attempt. Only failures for which another try makes sense can have a row.
type Retries map[kefu.Class]Retry

// DefaultRetries are the contract's.
func DefaultRetries() Retries {
	passing := Retry{First: time.Second, Most: time.Minute}
	return Retries{
		kefu.ErrNotDelivered: passing,
		kefu.ErrRateLimited:  passing,
		kefu.ErrToken:        passing,
		kefu.ErrBusy:         {Tries: 3, First: time.Second, Most: time.Minute},
	}
}

// RetriesOf are the retries of an account, with what its settings say.
func RetriesOf(a gateway.Account) (Retries, error) { return DefaultRetries().with(a.Tries) }

// with returns the retries of an account that has settings of its own. Only the
// classes for which another try makes sense can have one.
func (r Retries) with(own map[kefu.Class]gateway.Tries) (Retries, error) {
	all := maps.Clone(r)
	for class, t := range own {
		row, ok := DefaultRetries()[class]
		if !ok || t.Tries < 0 || t.First < 0 || t.Most < 0 {
			return nil, &gateway.Problem{Code: gateway.InvalidRequest, Errors: []gateway.FieldError{{
				Location: "tries." + string(class), Message: "must be not-delivered, rate-limited, token or busy, with numbers from 0 up",
			}}}
		}
		row.Tries = t.Tries
		if t.First > 0 {
			row.First = t.First.Duration()
		}
		row.Most = max(row.Most, row.First)
		if t.Most > 0 {
			row.Most = t.Most.Duration()
		}
		all[class] = row
	}
	return all, nil
}

// An Effect is what an attempt's result tells the ledger.
type Effect int

const (
	Keep        Effect = iota // the slot is used: sent, or perhaps
	GiveBack                  // certainly refused
	Accepted                  // sent: the window was open
	CloseWindow               // 45015
	SpendAll                  // 45047
	Unreachable               // 43004: does not follow
)

// A Ruling is what becomes of a message after an attempt.
type Ruling struct {
	State     gateway.State
	RetryAt   time.Time // of Queued, and of Unknown that is to be resent
	Outcome   gateway.Outcome
	Effect    Effect
	Attempt   string // the attempt's own outcome: "sent", "refused", "not-delivered", "unknown"
	Duplicate bool   // another attempt may reach the follower twice
	Pause     bool   // the account's set-up is wrong: nothing else may leave before a person has looked
	Renew     bool   // its media are renewed before it is queued again; if that fails, so does it
}

// A Case is what Decide looks at besides the result.
type Case struct {
	Now        time.Time
	Tries      int // attempts of this class so far, this one included
	WhenClosed gateway.WhenClosed
	OnUnknown  gateway.OnUnknown
	Resent     bool          // it has had its one resend
	BusyHold   bool          // the account takes -1 for an unknown outcome
	CanRenew   bool          // there is somebody to renew media, and it has not been asked yet
	Ahead      time.Duration // of WeChat's clock, for its midnight
	Retries    Retries
	Jitter     func(time.Duration) time.Duration // default: full jitter
}

// Decide maps the result of an attempt to what happens next. It is the whole
// retry policy: contract, 3.
func Decide(err error, c Case) Ruling {
	if err == nil {
		return Ruling{State: gateway.Sent, Effect: Accepted, Attempt: "sent"}
	}
	class := kefu.ClassOf(err)
	if class == "" || class == kefu.ErrUnknownOutcome {
		return c.unknown(gateway.Outcome{Class: kefu.ErrUnknownOutcome, Reason: "no answer that tells the outcome: " + err.Error()})
	}
	out := gateway.Outcome{Class: class, Reason: err.Error(), Advice: class.Advice("")}
	attempt, effect := "not-delivered", GiveBack
	var refused *kefu.Error
	if class != kefu.ErrNotDelivered && errors.As(err, &refused) {
		x := refused.Explain()
		out = gateway.Outcome{Class: class, ErrCode: refused.Code, ErrMsg: refused.Msg, RID: refused.RID, Advice: x.AdviceEn}
		attempt = "refused"
	}
	switch {
	case class == kefu.ErrBusy && c.BusyHold:
		r := c.unknown(out)
		r.Attempt = attempt
		return r
	case class == kefu.ErrWindowClosed || class == kefu.ErrAllowanceSpent:
		if effect = CloseWindow; class == kefu.ErrAllowanceSpent {
			effect = SpendAll
		}
		if c.WhenClosed == gateway.Park {
			return Ruling{State: gateway.Parked, Outcome: out, Effect: effect, Attempt: attempt}
		}
	case out.ErrCode == 43004:
		effect = Unreachable
	case out.ErrCode == dailyQuota:
		return Ruling{State: gateway.Queued, RetryAt: quotaEnds(c.Now, c.Ahead), Outcome: out, Effect: effect, Attempt: attempt}
	case class == kefu.ErrAccountConfig && !aboutOneMessage[out.ErrCode]:
		return Ruling{State: gateway.Queued, Outcome: out, Effect: effect, Attempt: attempt, Pause: true}
	case class == kefu.ErrMediaInvalid && c.CanRenew:
		return Ruling{State: gateway.Queued, Outcome: out, Effect: effect, Attempt: attempt, Renew: true}
	case class == kefu.ErrNotDelivered && !passes(err):
	default:
		if row, ok := c.Retries[class]; ok && (row.Tries == 0 || c.Tries < row.Tries) {
			return Ruling{
				State: gateway.Queued, RetryAt: c.Now.Add(c.pause(row)), Outcome: out, Effect: effect, Attempt: attempt,
				Duplicate: class == kefu.ErrBusy,
			}
		}
	}
	return Ruling{State: gateway.Failed, Outcome: out, Effect: effect, Attempt: attempt}
}

// aboutOneMessage are the errcodes of an account's set-up that another message may
// not meet: the wrong kf_account in one, a kind that the account may not send.
// They fail their message; pausing for them would let a sender stop an account.
var aboutOneMessage = map[int]bool{
	43009: true,                                        // a card with codes of its own
	45064: true,                                        // a mini-program that is not linked
	45094: true,                                        // a follower who just came in
	48003: true,                                        // mass sends
	48008: true,                                        // this kind of message
	53500: true,                                        // publishing
	61452: true, 65400: true, 65401: true, 65402: true, // this kf_account
	88000: true, // comments
}

// passes reports whether the reason for which WeChat was not reached may be gone
// soon: no token, no connection, or HTTP 429. Other statuses are answers of something
// that is not WeChat's API.
func passes(err error) bool {
	var t *kefu.TransportError
	return errors.As(err, &t) && (t.Status == 0 || t.Status == 429)
}

func (c Case) unknown(out gateway.Outcome) Ruling {
	r := Ruling{State: gateway.Unknown, Outcome: out, Effect: Keep, Attempt: "unknown"}
	if c.OnUnknown == gateway.Resend && !c.Resent {
		r.RetryAt = c.Now.Add(c.resendPause())
		r.Duplicate = true
	}
	return r
}

// resendPause is the time before the one resend of an unknown message.
func (c Case) resendPause() time.Duration { return 30*time.Second + c.jitter(30*time.Second) }

// pause is the time before the next try: First, doubled by each try before, at
// most Most, and of that a random part.
func (c Case) pause(row Retry) time.Duration {
	d := row.First
	for i := 1; i < c.Tries && d < row.Most; i++ {
		d *= 2
	}
	return c.jitter(min(d, row.Most))
}

func (c Case) jitter(d time.Duration) time.Duration {
	if c.Jitter != nil {
		return c.Jitter(d)
	}
	if d <= 0 {
		return 0
	}
	return rand.N(d)
}
