package gateway

import "encoding/json"

// A Webhook is an endpoint of the business that the gateway calls with what happens,
// signed as Standard Webhooks 1.0 says.
type Webhook struct {
	ID       string   `json:"id"` // wh_…
	URL      string   `json:"url"`
	Name     string   `json:"name,omitempty"`
	Accounts []string `json:"accounts,omitempty"` // none: all
	// Types are those of the feed that are delivered: "follower.message", "message.*",
	// "*". Default follower.*.
	Types   []string `json:"types"`
	Enabled bool     `json:"enabled"`
	Because string   `json:"because,omitempty"` // why it is not enabled

	// Answers: a response may carry messages for the follower; default true.
	Answers bool `json:"answers"`
	// Typing shows the follower "typing…" while the endpoint thinks; default false.
	Typing      bool    `json:"typing"`
	Timeout     Seconds `json:"timeout"`     // of one try, 1 to 30; default 15
	Concurrency int     `json:"concurrency"` // most tries at once, 1 to 64; default 8
	// Schedule has the pause before each try, the first included; up to a fifth is
	// added at random. Default 0, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.
	Schedule []Seconds `json:"schedule"`
	// DisableAfter is how long tries fail, with none that works, until the endpoint is
	// disabled; default 5 days.
	DisableAfter Seconds `json:"disable_after"`

	Cursor       string `json:"cursor"`                  // the feed was read up to here
	FailingSince *Time  `json:"failing_since,omitempty"` // no try has worked since
	CreatedAt    Time   `json:"created_at"`

	// Revision names the settings as they were at the answer. With it in If-Match they are
	// replaced only if nobody has changed them since.
	Revision string `json:"revision,omitempty"`
	// Secret signs: whsec_ and base64. Only in the answer that made it.
	Secret   string   `json:"secret,omitempty"`
	Warnings []string `json:"warnings,omitempty"` // about the URL
}

// A WebhookRequest makes or replaces a webhook; what is left out has its default.
type WebhookRequest struct {
	URL          string    `json:"url"`
	Name         string    `json:"name,omitempty"`
	Accounts     []string  `json:"accounts,omitempty"` // none: all of the key
	Types        []string  `json:"types,omitempty"`
	Enabled      *bool     `json:"enabled,omitempty"` // default true
	Answers      *bool     `json:"answers,omitempty"` // default true
	Typing       bool      `json:"typing,omitempty"`
	Timeout      Seconds   `json:"timeout,omitempty"`
	Concurrency  int       `json:"concurrency,omitempty"`
	Schedule     []Seconds `json:"schedule,omitempty"`
	DisableAfter Seconds   `json:"disable_after,omitempty"`
}

// Webhook is the endpoint that r describes, with its defaults.
func (r WebhookRequest) Webhook() Webhook {
	w := Webhook{
		URL: r.URL, Name: r.Name, Accounts: r.Accounts, Types: r.Types, Enabled: r.Enabled == nil || *r.Enabled,
		Answers: r.Answers == nil || *r.Answers, Typing: r.Typing, Schedule: r.Schedule,
		Timeout:      orDefault(r.Timeout, Seconds(15)),
		Concurrency:  orDefault(r.Concurrency, 8),
		DisableAfter: orDefault(r.DisableAfter, Seconds(5*24*3600)),
	}
	if len(w.Types) == 0 {
		w.Types = []string{"follower.*"}
	}
	if len(w.Schedule) == 0 {
		const minute, hour = 60, 3600
		w.Schedule = []Seconds{0, 5, 5 * minute, 30 * minute, 2 * hour, 5 * hour, 10 * hour, 10 * hour}
	}
	return w
}

// A RotateRequest asks for a new secret of a webhook.
type RotateRequest struct {
	// Overlap is how long the old secret signs besides the new one, up to 7 days;
	// default 24 h. 0: not at all.
	Overlap *Seconds `json:"overlap,omitempty"`
}

// A ReplayRequest has entries of the feed delivered once more, with the webhook-id
// that they had: one of them, a range, or all since a time. Types and accounts of the
// webhook count as ever.
type ReplayRequest struct {
	Cursor string `json:"cursor,omitempty"` // this entry
	From   string `json:"from,omitempty"`   // from this entry
	To     string `json:"to,omitempty"`     // to this one; default the latest
	Since  *Time  `json:"since,omitempty"`  // not older than this
}

// A Replay is what was asked for: entries after From, up to To.
type Replay struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// A WebhookAttempt is one try to deliver an entry to a webhook.
type WebhookAttempt struct {
	WebhookID  string         `json:"webhook_id"` // equal in all tries of an entry
	Cursor     string         `json:"cursor,omitempty"`
	Type       string         `json:"type"`
	Account    string         `json:"account,omitempty"`
	OpenID     string         `json:"openid,omitempty"`
	N          int            `json:"n"`
	At         Time           `json:"at"`
	TookMS     int64          `json:"took_ms"`
	Outcome    string         `json:"outcome"`            // "delivered", "failed" (another try comes at RetryAt), "given-up"
	Status     int            `json:"status,omitempty"`   // of HTTP; none: no answer
	Error      string         `json:"error,omitempty"`    // why it was not delivered
	RetryAt    *Time          `json:"retry_at,omitempty"` //
	OutOfOrder bool           `json:"out_of_order"`       // later ones of the follower may have come before it
	Answer     *WebhookAnswer `json:"answer,omitempty"`   // what was done with the response
}

// A WebhookAnswer is what became of the answer in a response.
type WebhookAnswer struct {
	Messages []string `json:"messages,omitempty"` // ids of those that were kept
	Typing   bool     `json:"typing,omitempty"`
	Handover Handler  `json:"handover,omitempty"`
	Refused  string   `json:"refused,omitempty"` // why the answer, or a part of it, was not taken
}

// A WebhookBody is what is posted to a webhook.
type WebhookBody struct {
	Type      string       `json:"type"`
	Timestamp Time         `json:"timestamp"` // when it happened
	Data      WebhookEvent `json:"data"`
}

// A WebhookEvent is an entry of the feed with what a bot needs to answer.
type WebhookEvent struct {
	FeedEntry
	Handler    Handler `json:"handler,omitempty"` // who answers the follower
	Window     *Window `json:"window,omitempty"`  // of follower.message and follower.event: as it is at this try
	OutOfOrder bool    `json:"out_of_order,omitempty"`
}

// An Answer is what the response to a webhook may carry: JSON, up to 64 KiB, with a
// status of 2xx.
type Answer struct {
	// Messages go to the follower, in order: WeChat's own JSON, or a [Request]. touser
	// may be left out; it is the event's follower whatever it says. Up to 10.
	Messages []json.RawMessage `json:"messages,omitempty"`
	Typing   bool              `json:"typing,omitempty"`   // "typing…" until the message that comes later
	Handover Handler           `json:"handover,omitempty"` // who answers from now on
}
