package gateway

import "github.com/kefu-go/kefu"

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

// An AccountCheck is what WeChat says to an account's appid and secret.
type AccountCheck struct {
	OK      bool     `json:"ok"`
	Problem *Problem `json:"problem,omitempty"` // why not
}

// A KeyRequest asks for a key.
type KeyRequest struct {
	Name     string   `json:"name,omitempty"`
	Role     Role     `json:"role"`
	Accounts []string `json:"accounts,omitempty"` // none: all
}

// Health is how the gateway is.
type Health struct {
	Ready   bool     `json:"ready"`             // messages and callbacks are taken
	Because string   `json:"because,omitempty"` // why not
	Notes   []string `json:"notes,omitempty"`   // what an operator should know
}

// Reset is the data of the feed's "reset" entry: the cursor was older than what is
// kept, and the stream goes on from Cursor, its present end.
type Reset struct {
	Cursor string `json:"cursor"`
}
