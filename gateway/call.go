package gateway

import (
	"encoding/json"

	"github.com/kefu-go/kefu"
)

// A Batch is up to 1,000 requests at once. The gateway takes the bare array too.
type Batch struct {
	Messages []Request `json:"messages"`
}

// BatchResults has one result for each request, in order.
type BatchResults struct {
	Results []BatchResult `json:"results"`
}

// A BatchResult is what a single call would have got: a Message (status 202, or 200
// for a repeat), or a Problem.
type BatchResult struct {
	Status  int      `json:"status"`
	Message *Message `json:"message,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

// A Resolution says what became of an unknown message.
type Resolution struct {
	As State `json:"as"` // "sent" or "failed", which gives the slot back
}

// A TriggerRequest tells of something that opens (or, "unfollow", closes) a window.
type TriggerRequest struct {
	Account string       `json:"account,omitempty"` // may be left out if the key has only one
	OpenID  string       `json:"openid"`
	Trigger kefu.Trigger `json:"trigger"`
	At      *Time        `json:"at,omitempty"` // default now; cut to seconds; up to 60 s ahead
}

// Triggered is what a trigger did. Opened is false if it is not later than what
// opened the bucket before, or its window would be over.
type Triggered struct {
	Opened bool   `json:"opened"`
	Window Window `json:"window"`
}

// A TypingRequest shows "typing…" to a follower, or ends it.
type TypingRequest struct {
	On *bool `json:"on,omitempty"` // default true
}

// Where a [RawCall] goes.
const (
	ToWeChat    = "wechat"
	ToSimulator = "simulator" // within the gateway; nothing reaches anybody
)

// A RawCall is one call of WeChat's API that the gateway has no call of its own for. It
// goes with the account's access token, and is not kept or repeated. Its errors are those of
// the call itself: forbidden path or member (invalid-request, nothing was called),
// no-token, unreachable; whatever WeChat answered is a [RawAnswer].
type RawCall struct {
	Target string            `json:"target,omitempty"` // [ToWeChat] (default) or [ToSimulator]
	Method string            `json:"method,omitempty"` // GET or POST (default)
	Path   string            `json:"path"`             // such as /cgi-bin/menu/get; of /cgi-bin/, /customservice/ or /card/
	Query  map[string]string `json:"query,omitempty"`  // without the token; up to 20 members of 1,024 bytes
	Body   json.RawMessage   `json:"body,omitempty"`   // up to 1 MiB with all else
	Asset  string            `json:"asset,omitempty"`  // id of a file that goes as the form's part "media", in place of a body
}

// A RawAnswer is what WeChat answered.
type RawAnswer struct {
	Status      int             `json:"status"` // of HTTP
	ContentType string          `json:"content_type"`
	Body        json.RawMessage `json:"body,omitempty"` // JSON, as it came
	Data        string          `json:"data,omitempty"` // what is no JSON, in base64
	Cut         bool            `json:"cut,omitempty"`  // it has more than 1 MiB and is not shown
	ErrCode     int             `json:"errcode"`
	Meaning     string          `json:"meaning,omitempty"` // of the errcode, in the caller's language
	Advice      string          `json:"advice,omitempty"`  // what to do next
	TookMS      int64           `json:"took_ms"`           // milliseconds; up to 20,000
}

// An AccountCheck is what WeChat says to an account's appid and secret.
type AccountCheck struct {
	OK      bool     `json:"ok"`
	Problem *Problem `json:"problem,omitempty"` // why not
}

// A PauseRequest may say why an account is paused.
type PauseRequest struct {
	Because string `json:"because,omitempty"` // for people; up to 512 bytes
}

// A KeyRequest asks for a key.
type KeyRequest struct {
	Name     string   `json:"name,omitempty"`
	Role     Role     `json:"role"`
	Accounts []string `json:"accounts,omitempty"` // none: all
	Paths    string   `json:"paths,omitempty"`    // of a door key: "messages" (default) or "all"
}

// Health is how the gateway is.
type Health struct {
	Ready   bool     `json:"ready"`             // messages and callbacks are taken
	Because string   `json:"because,omitempty"` // why not, for whoever has a key
	Notes   []string `json:"notes,omitempty"`   // what an operator should know of the accounts that the key is for
}

// Reset is the data of the feed's "reset" entry: the cursor was older than what is
// kept, and the stream goes on from Cursor, its present end.
type Reset struct {
	Cursor string `json:"cursor"`
}

// A Selection says which messages [Client.CancelAll] and [Client.RetryAll] are about:
// those with certain IDs, or those that the members of the list's query choose. One
// that would choose all there are is refused.
type Selection struct {
	IDs      []string          `json:"ids,omitempty"` // up to 1,000, and nothing else that chooses
	Account  string            `json:"account,omitempty"`
	OpenID   string            `json:"openid,omitempty"`
	State    State             `json:"state,omitempty"` // of a cancel: default queued and parked; of a retry it must be said
	ErrCode  int               `json:"errcode,omitempty"`
	Since    *Time             `json:"since,omitempty"` // accepted at or after
	Until    *Time             `json:"until,omitempty"` // accepted before
	Metadata map[string]string `json:"metadata,omitempty"`
	Cursor   string            `json:"cursor,omitempty"`  // next of the answer before
	Limit    int               `json:"limit,omitempty"`   // messages in one call, up to 1,000; default 1,000
	DryRun   bool              `json:"dry_run,omitempty"` // only say what would be done
}

// Selected is what became of each message of a [Selection]. The outcomes are
// "canceled", "called-off" (it stays unknown, and is not resent), "retried", "joined"
// (an earlier repeat of it is there), or the code of a problem.
type Selected struct {
	Counts map[string]int      `json:"counts"`         // by outcome
	IDs    map[string][]string `json:"ids"`            // by outcome
	Made   map[string]string   `json:"made,omitempty"` // of a retry: the message that repeats each
	Next   string              `json:"next"`           // cursor of the following call, "" at the end
	DryRun bool                `json:"dry_run,omitempty"`
}

// Head is where the feed ends.
type Head struct {
	Next string `json:"next"` // cursor of the newest entry
}
