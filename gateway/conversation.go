package gateway

import "encoding/json"

// A Conversation is a follower with whom the account has written, or who acted.
type Conversation struct {
	Account string         `json:"account"`
	OpenID  string         `json:"openid"`
	LastAt  Time           `json:"last_at"`          // of the last entry of the timeline
	Last    *TimelineEntry `json:"last,omitempty"`   // that entry
	Window  *Window        `json:"window,omitempty"` // as it is at the answer
	Handling

	// What the team does with it.
	Remark       string   `json:"remark,omitempty"`
	AssignedTo   string   `json:"assigned_to,omitempty"` // agent
	Tags         []string `json:"tags"`
	Unread       int      `json:"unread"`
	WaitingSince *Time    `json:"waiting_since,omitempty"` // the first message of the follower that had no answer
	Closed       bool     `json:"closed"`                  // done with, until the follower writes again
	Parked       int      `json:"parked"`
	Unknown      int      `json:"unknown"`
	Notes        []Note   `json:"notes,omitempty"` // the latest 50; of a single conversation only
}

// A Handler is who answers a follower.
type Handler string

const (
	ByBot   Handler = "bot"   // webhooks that answer in their response; the default
	ByAgent Handler = "agent" // a person; answers of webhooks are not taken
	ByKf    Handler = "kf"    // WeChat's own customer service; answers of webhooks are not taken
	ByNone  Handler = "none"  // nobody any more; a webhook may answer
)

// Handlers returns every handler.
func Handlers() []Handler { return []Handler{ByBot, ByAgent, ByKf, ByNone} }

// BotMayAnswer reports whether the answers of webhooks are taken.
func (h Handler) BotMayAnswer() bool { return h == "" || h == ByBot || h == ByNone }

// Handling is who answers a follower, since when, and who said so.
type Handling struct {
	Handler   Handler `json:"handler,omitempty"`
	Since     *Time   `json:"handler_since,omitempty"`
	By        string  `json:"handler_by,omitempty"` // "api key_…", "webhook wh_…", "wechat"
	KfAccount string  `json:"kf_account,omitempty"` // of kf: the worker, if one is named
}

// A Handover says who answers a follower from now on.
type Handover struct {
	Handler   Handler `json:"handler"`
	KfAccount string  `json:"kf_account,omitempty"` // of kf: for this worker alone, who should be online
}

// A TimelineEntry is one line between a follower and the account.
type TimelineEntry struct {
	Cursor  string          `json:"cursor,omitempty"`
	At      Time            `json:"at"`
	Type    string          `json:"type"`              // "message" (ours), or the feed's "follower.message", "follower.event", "conversation.note", "conversation.changed", "conversation.answered" (passively, by the callback that pushes are handed on to)
	Message *Message        `json:"message,omitempty"` // ours, as it is now
	Data    json.RawMessage `json:"data,omitempty"`    // theirs, as in the feed; of ours in a list of conversations: what it says
	// Asset is the id of the file that the follower sent, once the gateway has fetched
	// it; ThumbAsset is the cover of a video.
	Asset      string `json:"asset,omitempty"`
	ThumbAsset string `json:"thumb_asset,omitempty"`
}

// An Exported is one line of what is kept of a follower. The first has the Type
// "conversation", then come "message" for ours, and the feed's types for what the
// follower did and what was done about them.
type Exported struct {
	Type     string          `json:"type"`
	At       *Time           `json:"at,omitempty"`
	Account  string          `json:"account,omitempty"` // of "conversation"
	OpenID   string          `json:"openid,omitempty"`  // of "conversation"
	Ledger   json.RawMessage `json:"ledger,omitempty"`  // of "conversation": what is known of the windows, as it is stored
	Remark   string          `json:"remark,omitempty"`  // of "conversation", as what follows
	Tags     []string        `json:"tags,omitempty"`
	Assigned string          `json:"assigned,omitempty"` // to the agent with this id
	Handling *Handling       `json:"handling,omitempty"` // who answers, if anybody was ever named
	Message  *Message        `json:"message,omitempty"`
	Attempts []Attempt       `json:"attempts,omitempty"` // of the message, oldest first
	Data     json.RawMessage `json:"data,omitempty"`     // of the other types, as in the feed
}

// An Erased is what is left of a conversation that was erased.
type Erased struct {
	Account  string `json:"account"`
	Hash     string `json:"hash"` // SHA-256 of the openid, hexadecimal
	At       Time   `json:"at"`
	Messages int    `json:"messages"` // that were erased; 0 in a list of erasures
	Lines    int    `json:"lines"`    // of the feed about what the follower did; 0 in a list of erasures
}
