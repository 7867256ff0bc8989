package gateway

import (
	"encoding/json"
	"time"

	"github.com/kefu-go/kefu"
)

// A Submission is a [Request] that was read, authorised and checked: what the parts
// of the daemon hand to each other. It never goes over the wire.
type Submission struct {
	Account    string
	OpenID     string
	MsgType    string
	Message    json.RawMessage // WeChat's own JSON, compact, unknown members kept
	NotBefore  Time            // zero: at once
	ExpiresAt  Time            // zero: max(accepted, not_before) + the account's expires_after
	WhenClosed WhenClosed      // never ""
	OnUnknown  OnUnknown       // never ""
	Priority   Priority        // never ""
	Source     Source
	By         *By             // nil: nobody knows
	Metadata   json.RawMessage // an object, or nil
	Warnings   []kefu.Violation
	Parts      [][2]int // of a long text that is split: the bytes of its content that each has; else nil

	// IdempotencyKey makes repeats of the call answer the first one's message: scope
	// is Account and the key. Fingerprint is the SHA-256 of the request's RFC 8785
	// form without the key; another one under the same key is a mismatch.
	IdempotencyKey string
	Fingerprint    [32]byte
	// Refused is why this may not become a new message; a repeat of one that was
	// stored is answered all the same. Only together with IdempotencyKey.
	Refused *Problem

	// RetryOf is the message that this one repeats. Without an IdempotencyKey, while
	// an earlier repeat of it is not final, that one is the answer.
	RetryOf           string
	RetryOnce         bool // an earlier repeat of it is the answer, final or not
	PossibleDuplicate bool // the message it repeats may have arrived
}

// Accepted is what became of a [Submission]: a stored message, or Err and nothing
// stored.
type Accepted struct {
	Message  Message // with its Window
	Replayed bool    // stored before, by the same key or as an earlier retry; Message is as it is now
	Err      error   // a *Problem, or a fault of the store: nothing is acknowledged
}

// A MessageFilter chooses messages; zero fields choose all.
type MessageFilter struct {
	Accounts []string // none: all
	OpenID   string
	State    State
	ErrCode  int               // of the outcome
	From, To time.Time         // accepted in [From, To)
	Metadata map[string]string // members of metadata: texts as they are, other values as their JSON
}
