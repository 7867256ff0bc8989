// Package gateway has the words of Kefu's gateway, the daemon that keeps messages
// and delivers them: the types that are its JSON, and a [Client] that speaks to it.
//
//	c := gateway.Client{Key: "kf_…"}
//	m, err := c.Send(ctx, gateway.Request{Message: json.RawMessage(`{"touser":"o…","msgtype":"text","text":{"content":"你好"}}`)}, gateway.SendOptions{})
//
// Times are RFC 3339 in UTC with milliseconds, see [Time]. Lists are [Page]s with an
// opaque cursor. Errors are RFC 9457 problems with a stable code, see [Problem].
package gateway

import (
	"encoding/json"
	"time"

	"github.com/kefu-go/kefu"
)

// A State is where a message is. Sent, Failed, Expired and Canceled are final;
// Unknown stays until somebody resolves it or its one resend is due.
type State string

const (
	Queued   State = "queued"   // kept; waits for its turn, a retry or its time
	Parked   State = "parked"   // withheld until the window opens
	Sending  State = "sending"  // on its way to WeChat
	Sent     State = "sent"     // WeChat answered errcode 0
	Failed   State = "failed"   // refused, or can't be sent
	Unknown  State = "unknown"  // the request left and no answer was recorded
	Expired  State = "expired"  // its expires_at came first
	Canceled State = "canceled" // by whoever may
)

// Final reports whether nothing more happens to a message in state s.
func (s State) Final() bool { return s == Sent || s == Failed || s == Expired || s == Canceled }

// States returns every state.
func States() []State {
	return []State{Queued, Parked, Sending, Sent, Failed, Unknown, Expired, Canceled}
}

// A Time is a moment in the API: RFC 3339, UTC, milliseconds.
type Time struct{ time.Time }

const timeFormat = "2006-01-02T15:04:05.000Z"

// At is t as the API shows it.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }

// MarshalJSON writes the form of the API; a zero Time is null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.UTC().Format(timeFormat) + `"`), nil
}

// WhenClosed is what becomes of a message that finds the window closed or its
// allowance spent.
type WhenClosed string

const (
	Park WhenClosed = "park" // withheld until the follower acts; the default
	Fail WhenClosed = "fail" // refused
	Try  WhenClosed = "try"  // never withheld
)

// OnUnknown is what becomes of a message whose outcome is unknown.
type OnUnknown string

const (
	Hold   OnUnknown = "hold"   // stays unknown; the default
	Resend OnUnknown = "resend" // once more after 30 to 60 s: may arrive twice
)

// LongText is what becomes of a text that is longer than WeChat takes.
type LongText string

const (
	Refuse LongText = "refuse" // the default
	// Split sends it in parts, one after the other and nothing between: as few as can
	// be, cut between paragraphs, lines or words, never in a link. Each takes a slot
	// of the follower's allowance; none leaves before there are slots for all.
	Split LongText = "split"
)

// Priority orders messages: bulk waits for the others of its follower.
type Priority string

const (
	Human  Priority = "human"
	Normal Priority = "normal" // the default
	Bulk   Priority = "bulk"
)

// A Source says through which door a message came in.
type Source string

const (
	FromAPI     Source = "api"
	FromCLI     Source = "cli"
	FromConsole Source = "console"
	FromDoor    Source = "door"
	FromWebhook Source = "webhook"
	FromBot     Source = "bot"
)

// A Request asks the gateway to keep and deliver one message.
type Request struct {
	Account    string          `json:"account,omitempty"` // appid; may be left out if the key has only one
	Message    json.RawMessage `json:"message"`           // WeChat's own JSON: touser, msgtype, …
	NotBefore  *Time           `json:"not_before,omitempty"`
	ExpiresAt  *Time           `json:"expires_at,omitempty"` // default: 48 h after the later of now and not_before
	WhenClosed WhenClosed      `json:"when_closed,omitempty"`
	OnUnknown  OnUnknown       `json:"on_unknown,omitempty"`
	LongText   LongText        `json:"long_text,omitempty"`
	Priority   Priority        `json:"priority,omitempty"`
	Metadata   json.RawMessage `json:"metadata,omitempty"` // an object of yours, up to 4 KiB; comes back as it is

	// IdempotencyKey is for elements of a batch; a single call has the header.
	IdempotencyKey string `json:"idempotency_key,omitempty"`
}

// A Message is one that the gateway has kept.
type Message struct {
	ID                string           `json:"id"`
	Account           string           `json:"account"`
	OpenID            string           `json:"openid"`
	MsgType           string           `json:"msgtype"`
	Message           json.RawMessage  `json:"message"`
	State             State            `json:"state"`
	Priority          Priority         `json:"priority"`
	AcceptedAt        Time             `json:"accepted_at"`
	NotBefore         *Time            `json:"not_before,omitempty"`
	ExpiresAt         Time             `json:"expires_at"`
	RetryAt           *Time            `json:"retry_at,omitempty"`
	WhenClosed        WhenClosed       `json:"when_closed"`
	OnUnknown         OnUnknown        `json:"on_unknown"`
	Attempts          int              `json:"attempts"`
	Outcome           *Outcome         `json:"outcome,omitempty"`
	PossibleDuplicate bool             `json:"possible_duplicate"`
	RetryOf           string           `json:"retry_of,omitempty"`
	Parts             int              `json:"parts,omitempty"`      // of a long text: how many there are
	PartsSent         int              `json:"parts_sent,omitempty"` // of Parts: the first so many were sent
	Source            Source           `json:"source"`
	By                *By              `json:"by,omitempty"` // who is behind it
	Metadata          json.RawMessage  `json:"metadata,omitempty"`
	Warnings          []kefu.Violation `json:"warnings,omitempty"`
	Window            *Window          `json:"window,omitempty"` // as it is at the answer
}

// An Outcome is how the last attempt ended, or why there was none.
type Outcome struct {
	Class   kefu.Class `json:"class,omitempty"`
	ErrCode int        `json:"errcode,omitempty"`
	ErrMsg  string     `json:"errmsg,omitempty"`
	RID     string     `json:"rid,omitempty"`
	Reason  string     `json:"reason,omitempty"` // what WeChat did not say: "crash", "expired", "withheld: …"
	Advice  string     `json:"advice,omitempty"`
}

// An Attempt is one try to deliver a message.
type Attempt struct {
	N                 int    `json:"n"`
	At                Time   `json:"at"`
	TookMS            int64  `json:"took_ms"`
	Outcome           string `json:"outcome"` // "sent", "refused", "not-delivered" or "unknown"
	ErrCode           int    `json:"errcode,omitempty"`
	ErrMsg            string `json:"errmsg,omitempty"`
	RID               string `json:"rid,omitempty"`
	PossibleDuplicate bool   `json:"possible_duplicate"`
	Part              int    `json:"part,omitempty"` // of a long text: which part, from 1

	// Allowance is what this attempt left of the one it took a message from; none if
	// it took from none that is known, from one without a limit, or ended in a crash.
	Allowance *Taken `json:"allowance,omitempty"`
}

// Taken is what a message left of the allowance that it was taken from.
type Taken struct {
	Trigger kefu.Trigger `json:"trigger"`
	Left    int          `json:"left"` // messages, of Max
	Max     int          `json:"max"`
	// Remaining is how many messages it left in all windows that were open then; null:
	// one of them has no limit.
	Remaining *int `json:"remaining"`
}

// WindowState tells whether a follower may be written to.
type WindowState string

const (
	WindowOpen    WindowState = "open"
	WindowClosed  WindowState = "closed"  // time over, unfollowed, or believed so
	WindowUnknown WindowState = "unknown" // nothing was ever seen: it is tried
)

// A Window is the permission to write to one follower.
type Window struct {
	State     WindowState   `json:"state"`
	Remaining *int          `json:"remaining"` // null: unknown, or no limit
	ClosesAt  *Time         `json:"closes_at"` // last moment at which a send starts
	OpenedBy  *kefu.Trigger `json:"opened_by"` // of the bucket that the next send takes from; null: there is none
	Because   string        `json:"because"`
	Cause     WindowCause   `json:"cause,omitzero"`
	Buckets   []Bucket      `json:"buckets"`
}

// A WindowCode is what made a window what it is.
type WindowCode string

// The codes of a window.
const (
	CauseOpened     WindowCode = "opened"     // something is left in a bucket
	CauseUsedUp     WindowCode = "used-up"    // nothing is, by the gateway's count
	CauseAnswered   WindowCode = "answered"   // WeChat said so
	CauseUnfollowed WindowCode = "unfollowed" // the follower left
	CauseOver       WindowCode = "over"       // the last bucket ended
	CauseNeverSeen  WindowCode = "never-seen" // nothing that opens one was
	CauseElsewhere  WindowCode = "elsewhere"  // callbacks of the account go there
	CauseRemoved    WindowCode = "removed"    // the account was, from the gateway: nothing is sent
)

// A WindowCause is what made a window what it is: because, for programs. That the
// account as a whole sends nothing, which because tells first, is none: see [Standing].
type WindowCause struct {
	Code    WindowCode   `json:"code"`
	At      Time         `json:"at,omitzero"` // when; of opened and used-up, when the bucket was opened
	Trigger kefu.Trigger `json:"trigger,omitempty"`
	ErrCode int          `json:"errcode,omitempty"` // of answered; 0: WeChat accepted a message
}

// A Bucket is what one trigger permits.
type Bucket struct {
	Trigger   kefu.Trigger `json:"trigger"`
	Max       *int         `json:"max"` // null: no limit
	Remaining *int         `json:"remaining"`
	OpenedAt  Time         `json:"opened_at"`
	ClosesAt  Time         `json:"closes_at"`
}

// A Page is a part of a list. Next is the cursor of the following part, "" at the end.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// A FeedEntry is one line of the numbered log of all that happens.
type FeedEntry struct {
	Cursor  string          `json:"cursor"`
	At      Time            `json:"at"`
	Account string          `json:"account"`
	OpenID  string          `json:"openid,omitempty"`
	Type    string          `json:"type"` // "message.sent", "follower.message", "account.paused", …
	Data    json.RawMessage `json:"data"`
}
