package gateway

import "encoding/json"

// A Conversation is a follower with whom the account has written, or who acted.
type Conversation struct {
	Account string         `json:"account"`
	OpenID  string         `json:"openid"`
	LastAt  Time           `json:"last_at"`          // of the last entry of the timeline
	Last    *TimelineEntry `json:"last,omitempty"`   // that entry
	Window  *Window        `json:"window,omitempty"` // as it is at the answer
}

// A TimelineEntry is one line between a follower and the account.
type TimelineEntry struct {
	At      Time            `json:"at"`
	Type    string          `json:"type"`              // "message" (ours), or the feed's "follower.message" or "follower.event"
	Message *Message        `json:"message,omitempty"` // ours, as it is now
	Data    json.RawMessage `json:"data,omitempty"`    // theirs, as in the feed; of ours in a list of conversations: what it says
}
