package gateway

import (
	"fmt"

	"github.com/kefu-go/kefu"
)

// A Problem is an error of the API (RFC 9457, application/problem+json). Code is
// stable; Title and Detail are for people, in the language of Accept-Language.
type Problem struct {
	Code   string `json:"code"` // one of the constants below
	Status int    `json:"status"`
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"` // what happened here, and what to do next

	Errors []FieldError `json:"errors,omitempty"` // of invalid-message and invalid-request
	Line   int          `json:"line,omitempty"`   // of invalid-json, from 1
	Column int          `json:"column,omitempty"`

	// Where WeChat refused, or would have:
	ErrCode int        `json:"errcode,omitempty"`
	ErrMsg  string     `json:"errmsg,omitempty"`
	RID     string     `json:"rid,omitempty"`
	Class   kefu.Class `json:"class,omitempty"`
	Advice  string     `json:"advice,omitempty"`
	Help    string     `json:"help,omitempty"`

	Message *Message `json:"message,omitempty"` // of not-cancelable and its kin: as it is now
}

// A FieldError names one member that is wrong.
type FieldError struct {
	Location string `json:"location"` // "message.news.articles"
	Message  string `json:"message"`
	Limit    int    `json:"limit,omitempty"`
	Actual   int    `json:"actual,omitempty"`
	Source   string `json:"source,omitempty"`
}

// The codes of problems.
const (
	InvalidJSON         = "invalid-json"
	InvalidMessage      = "invalid-message"
	InvalidAsset        = "invalid-asset"   // WeChat takes no such file
	InvalidRequest      = "invalid-request" // the envelope or a query
	NotYetSupported     = "not-yet-supported"
	TooLarge            = "too-large"
	MethodNotAllowed    = "method-not-allowed"
	UnsupportedMedia    = "unsupported-media-type"
	UnknownAccount      = "unknown-account"
	NotFound            = "not-found"
	WindowIsClosed      = "window-closed"
	AllowanceSpent      = "allowance-spent"
	IdempotencyMismatch = "idempotency-mismatch"
	NotCancelable       = "not-cancelable"
	NotRetryable        = "not-retryable"
	NotResolvable       = "not-resolvable"
	Unauthorized        = "unauthorized"
	Forbidden           = "forbidden"
	AccountExists       = "account-exists"
	PreconditionFailed  = "precondition-failed" // changed since the revision in If-Match
	NoToken             = "no-token"            // there is no access token, and none is fetched now
	AssetNeeded         = "asset-needed"        // by messages that wait
	CursorGone          = "cursor-gone"         // older than what the feed keeps
	Refused             = "wechat-refused"      // a call that was passed on, such as typing
	Unreachable         = "wechat-unreachable"  // of such a call: no answer that tells its outcome
	Overloaded          = "overloaded"          // or the store can't be written: nothing was kept, try again
	StorageFull         = "storage-full"        // the account's room for assets
	Internal            = "internal"            // a bug; the gateway's log has more
)

func (p *Problem) Error() string {
	s := fmt.Sprintf("%s: %s", p.Code, p.Title)
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	for _, e := range p.Errors {
		s += "; " + e.Location + " " + e.Message
	}
	return s
}
