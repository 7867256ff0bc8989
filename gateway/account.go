package gateway

import (
	"encoding/json"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
)

// An Account is an official account that the gateway serves. The secrets are
// written and never read: they are empty in every answer.
type Account struct {
	AppID  string        `json:"appid"`
	Name   string        `json:"name"`
	Secret kefu.Secret   `json:"-"`    // AppSecret
	Token  kefu.Secret   `json:"-"`    // of callbacks
	AESKey kefu.Secret   `json:"-"`    // EncodingAESKey
	Mode   callback.Mode `json:"mode"` // pinned; default secure with an AES key, else plain

	Profile      string       `json:"profile"`
	Rules        Allowances   `json:"rules"`         // override cells of the profile
	Mixing       Mixing       `json:"mixing"`        // default [SideBySide]
	MenuTap      kefu.Trigger `json:"msgmenu_tap"`   // what a tap on a msgmenu counts as: menu (default) or user_message
	ScanFollow   kefu.Trigger `json:"scan_follow"`   // what following by a QR code counts as: follow (default) or scan
	Callbacks    string       `json:"callbacks"`     // "here" (default) or "elsewhere"
	WhenClosed   WhenClosed   `json:"when_closed"`   // default of messages
	OnUnknown    OnUnknown    `json:"on_unknown"`    // default of messages
	Busy         string       `json:"busy"`          // "retry" (default) or "unknown": what -1 means
	KeepFree     *int         `json:"keep_free"`     // slots that parked messages leave; null: 1 of up to 3, 2 of up to 5, a third of more
	ExpiresAfter Seconds      `json:"expires_after"` // default 48 h
	Relearn      Seconds      `json:"relearn"`       // how long a belief withholds; default 60 s
	// Tries replace how often and how soon classes of failures are tried again:
	// not-delivered, rate-limited, token (until the message expires) and busy (3).
	Tries map[kefu.Class]Tries `json:"tries,omitempty"`
	Rate  float64              `json:"rate"` // most posts a second; 0: no limit
	// TokenSource is "own" (default), or "supplied": the gateway never fetches an
	// access token and waits for each to be handed over.
	TokenSource string `json:"token_source"`
	TokenBudget int    `json:"token_budget,omitempty"` // WeChat's limit of token fetches a day; default 2,000 (a test account has 200)
	State       string `json:"state"`                  // "active" or "paused"
	Because     string `json:"because,omitempty"`

	// AILabel marks what webhooks answer as said by an AI (aimsgcontext), which WeChat
	// shows under the message.
	AILabel bool `json:"ai_label,omitempty"`
	// Daily is how many customer messages WeChat takes a day from this account;
	// default: what its rules say, 500,000. At 80 % the gateway warns.
	Daily int `json:"daily,omitempty"`
	// CallbackForward is a callback that the account's pushes are handed on to once they
	// are kept, just as WeChat posted them. What it answers within 4 s goes back as the
	// passive answer, unless Passive is false.
	CallbackForward string `json:"callback_forward,omitempty"`
	Passive         *bool  `json:"passive,omitempty"` // default true
	// Door is what its doors do: WeChat's own paths on the gateway.
	Door *DoorSettings `json:"door,omitempty"`
	// Standing is how the account stands with WeChat at the answer; it is not written.
	Standing *Standing `json:"standing,omitempty"`
	// Revision names the settings as they were at the answer, and its state. With it in
	// If-Match they are replaced only if nobody has changed them since; it is not written.
	Revision string `json:"revision,omitempty"`
}

// DoorSettings say how the door answers a send.
type DoorSettings struct {
	// Mode is "sync" (default): the answer is WeChat's, or -1 after 2.5 s; or "queued":
	// errcode 0 once the message is kept.
	Mode string `json:"mode,omitempty"`
	// Park keeps what finds the window closed until the follower acts, and answers
	// errcode 0; by default it is refused with 45015 or 45047.
	Park bool `json:"park,omitempty"`
}

// The door's modes.
const (
	DoorSync   = "sync"
	DoorQueued = "queued"
)

// DailyLimit is Daily, or what the rules say.
func (a Account) DailyLimit() int {
	if a.Daily > 0 {
		return a.Daily
	}
	return kefu.DailyLimit("message/custom/send").Max
}

// A Standing is how an account stands with WeChat.
type Standing struct {
	Because   string  `json:"because,omitempty"` // why no message leaves; empty: they do
	Until     *Time   `json:"until,omitempty"`   // when the next one does; left out: when somebody resumes the account
	Rate      float64 `json:"rate,omitempty"`    // posts a second, while WeChat says "too fast"; 0: as the account is set
	UsedToday int     `json:"used_today"`        // posts of customer messages since midnight in Beijing
	Daily     int     `json:"daily"`             // how many WeChat takes
}

// A Mixing says how the windows of several triggers combine. No source tells; the
// simulator has the same setting.
type Mixing string

const (
	// SideBySide: each trigger has a bucket of its own, which it replaces; a send
	// takes from the open one that ends soonest and has some left.
	SideBySide Mixing = "side_by_side"
	// LatestWins: there is one bucket, of the latest trigger.
	LatestWins Mixing = "single_bucket_latest_wins"
	// MaxOfBoth: there is one bucket; a trigger leaves it the longer life and the
	// larger number.
	MaxOfBoth Mixing = "max_of_both"
)

// An Allowance is a cell of the rules in the API.
type Allowance struct {
	Max     *int `json:"max"` // null: no limit
	Seconds int  `json:"seconds"`
}

// Allowances are cells of the rules by trigger. None are {} in JSON.
type Allowances map[kefu.Trigger]Allowance

// MarshalJSON implements [json.Marshaler].
func (r Allowances) MarshalJSON() ([]byte, error) {
	if r == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(map[kefu.Trigger]Allowance(r))
}

// A Rule is what a trigger permits for an account.
type Rule struct {
	Trigger kefu.Trigger `json:"trigger"`
	Allowance
	Of     string `json:"of"`               // "account": set there; "profile"
	Source string `json:"source,omitempty"` // of the profile's: where it was read
	Date   string `json:"date,omitempty"`   // and when
}

// Tries are an account's tries of one class of failures.
type Tries struct {
	Tries int     `json:"tries"`           // attempts in all; 0: until the message expires
	First Seconds `json:"first,omitempty"` // pause after the first, doubling, a random part of it; default 1
	Most  Seconds `json:"most,omitempty"`  // the longest pause; default 60
}

// Seconds is a duration in the API.
type Seconds int64

// Duration is s as Go has it.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// WithDefaults fills what was left out.
func (a Account) WithDefaults() Account {
	if a.Mode == "" {
		if a.Mode = callback.Plain; a.AESKey != "" {
			a.Mode = callback.Secure
		}
	}
	a.Profile = orDefault(a.Profile, kefu.DefaultProfile)
	a.Mixing = orDefault(a.Mixing, SideBySide)
	a.MenuTap = orDefault(a.MenuTap, kefu.Menu)
	a.ScanFollow = orDefault(a.ScanFollow, kefu.Follow)
	a.Callbacks = orDefault(a.Callbacks, "here")
	a.WhenClosed = orDefault(a.WhenClosed, Park)
	a.OnUnknown = orDefault(a.OnUnknown, Hold)
	a.Busy = orDefault(a.Busy, "retry")
	a.ExpiresAfter = orDefault(a.ExpiresAfter, Seconds(48*3600))
	a.Relearn = orDefault(a.Relearn, Seconds(60))
	a.TokenSource = orDefault(a.TokenSource, OwnTokens)
	a.State = orDefault(a.State, "active")
	return a
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// A Role is what a key may do.
type Role string

const (
	Admin Role = "admin" // everything
	Send  Role = "send"  // messages and what is done to them, triggers, typing; reading its accounts
	Read  Role = "read"  // GET only
	Door  Role = "door"  // the door's paths only
)

// What a door key may call: see package door's allow-list.
const (
	MessagePaths = "messages" // token, custom/*, media/*, customservice/*; the default
	AllPaths     = "all"
)

// A Key opens the API. Its text is shown once, when it is made; the gateway keeps
// a hash.
type Key struct {
	ID        string   `json:"id"`
	Name      string   `json:"name,omitempty"`
	Role      Role     `json:"role"`
	Accounts  []string `json:"accounts,omitempty"` // none: all
	Paths     string   `json:"paths,omitempty"`    // of a door key: "messages" or "all"
	CreatedAt Time     `json:"created_at"`
	Key       string   `json:"key,omitempty"` // kf_…; only in the answer that made it
}
