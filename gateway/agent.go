package gateway

import "encoding/json"

// The roles of agents, beside [Admin], who may do everything.
const (
	Answers Role = "agent"  // answers followers: messages, typing, notes, tags; takes, gives and closes conversations, those of others too
	Leads   Role = "lead"   // the same, and the team's quick replies, deleting files, the list of agents, calls of WeChat's API for messages, media and workers
	Views   Role = "viewer" // reads
)

// An Agent is a person at the console.
type Agent struct {
	ID       string          `json:"id"`
	Name     string          `json:"name,omitempty"`     // signs in with it; shown to admins and to oneself
	Display  string          `json:"display"`            // as others see it
	Role     Role            `json:"role"`               // agent, lead, admin or viewer
	Accounts []string        `json:"accounts,omitempty"` // that they are for; none: all. Of others, those that the caller is for, too
	TOTP     bool            `json:"totp,omitempty"`     // a second factor is asked for; shown like the name
	Disabled bool            `json:"disabled"`           // may not sign in
	Online   bool            `json:"online"`             // seen within the last minute
	Settings json.RawMessage `json:"settings,omitzero"`  // an object of the page's own, up to 4 KiB; one's own alone
}

// An AgentRequest makes or changes an agent.
type AgentRequest struct {
	Name     string   `json:"name,omitempty"`     // 1 to 64 characters; can't be changed
	Display  string   `json:"display,omitempty"`  // default: the name
	Role     Role     `json:"role,omitempty"`     // default agent
	Accounts []string `json:"accounts,omitempty"` // none: all
	Password string   `json:"password,omitempty"` // 10 to 256 bytes; "": a one-time link is the way in
	Disabled *bool    `json:"disabled,omitempty"`
	TOTP     *bool    `json:"totp,omitempty"` // false takes off somebody else's second factor, which was lost; true is refused
}

// An AgentLink is a link that signs in once.
type AgentLink struct {
	Link      string `json:"link"` // the part after /console#link=
	ExpiresAt Time   `json:"expires_at"`
}

// A SignIn is a name with a password (and, where asked for, a code), or a link.
type SignIn struct {
	Name     string `json:"name,omitempty"`
	Password string `json:"password,omitempty"`
	Code     string `json:"code,omitempty"`
	Link     string `json:"link,omitempty"`
}

// A Session is who is signed in, and what the console begins with.
type Session struct {
	Agent    Agent            `json:"agent"`
	Now      int64            `json:"now"` // ms, by the gateway's clock
	Accounts []SessionAccount `json:"accounts"`
	// Agents are those that conversations can be given to: of an account that is among an
	// agent's Accounts, and of any if they have none; and the names of those that are
	// disabled. Whoever has no account in common with the caller is left out.
	Agents []Agent `json:"agents"`
}

// A SessionAccount is what the console shows of an account.
type SessionAccount struct {
	AppID   string `json:"appid"`
	Name    string `json:"name,omitempty"`
	Mode    string `json:"mode"`
	Profile string `json:"profile"`
	State   string `json:"state"`
	Because string `json:"because,omitempty"`
}

// A PasswordChange replaces one's own password.
type PasswordChange struct {
	Old string `json:"old,omitempty"` // "" if there is none yet
	New string `json:"new"`           // 10 to 256 bytes
}

// A TOTPOffer is a second factor that waits for its first code.
type TOTPOffer struct {
	Secret string `json:"secret"` // base32, for an authenticator
	URI    string `json:"uri"`    // otpauth://…
}

// A TOTPCode is what an authenticator shows.
type TOTPCode struct {
	Code string `json:"code"`
}

// A TOTPStart turns a second factor on.
type TOTPStart struct {
	Password string `json:"password,omitempty"` // one's own; "" if there is none yet
	Code     string `json:"code"`               // the first of the secret that was offered
}

// An AuditEntry says who did what.
type AuditEntry struct {
	At     Time   `json:"at"`
	Who    string `json:"who"`  // agent or key id; "" nobody knows
	What   string `json:"what"` // "session.begin", "session.refused", "agent.put", …
	Target string `json:"target,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// An Assignment gives a conversation to an agent, or to nobody.
type Assignment struct {
	Agent  *string         `json:"agent"`            // null: nobody
	Expect json.RawMessage `json:"expect,omitempty"` // who has it, as far as the caller knows; another one is a conflict
}

// A Note is what agents write to each other about a follower.
type Note struct {
	ID   string `json:"id"`
	At   Time   `json:"at"`
	By   string `json:"by"`
	Text string `json:"text"`
}

// A NoteRequest writes a note: 1 to 2,000 characters.
type NoteRequest struct {
	Text string `json:"text"`
}

// Tags are a conversation's: up to 20 of up to 30 characters.
type Tags struct {
	Tags []string `json:"tags"`
}

// A Profile is what the team knows of a follower. WeChat gives no names any more.
type Profile struct {
	Remark string `json:"remark"` // up to 30 characters
}

// A ReadMark says up to which line a conversation was read.
type ReadMark struct {
	Cursor string `json:"cursor"`
}

// A Presence tells the others at the desk what one does with a conversation.
type Presence struct {
	State string `json:"state"`         // "viewing", "replying" or "gone"
	Tab   string `json:"tab,omitempty"` // of those that one has open: up to 32 letters, digits, - or _; the others are told the most of all
}

// A QuickReply is a text that is sent often.
type QuickReply struct {
	ID    string `json:"id,omitempty"`
	Scope string `json:"scope"` // "team" or "mine"
	Title string `json:"title"` // up to 60 characters
	Text  string `json:"text"`  // up to 4,000 characters
}

// A Found is one line that a search has found.
type Found struct {
	Account string `json:"account"`
	OpenID  string `json:"openid"`
	At      Time   `json:"at"`
	Cursor  string `json:"cursor"`
	Type    string `json:"type"` // as in the timeline
	Snippet string `json:"snippet"`
}

// By is who is behind a message.
type By struct {
	Kind string `json:"kind"` // "agent" or "key"; besides: "webhook", "door"
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// The desk's own problems.
const (
	LoginFailed  = "login-failed"  // wrong name, password or code
	CodeRequired = "code-required" // the second factor is asked for
	LoginLimited = "login-limited" // too many failures; see Retry-After
	LinkUsed     = "link-used"     // or too old
	Conflict     = "conflict"      // somebody else was faster
)
