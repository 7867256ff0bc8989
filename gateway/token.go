package gateway

import "github.com/kefu-go/kefu"

// Where an account's access tokens come from.
const (
	OwnTokens      = "own"      // the gateway fetches them; the default
	SuppliedTokens = "supplied" // somebody else does, and hands each over with [Client.SupplyToken]
)

// A TokenStatus tells how an account's access token is, without telling the token.
type TokenStatus struct {
	Account   string      `json:"account"`
	Source    string      `json:"source"` // "own" or "supplied"
	State     TokenState  `json:"state"`
	ExpiresAt *Time       `json:"expires_at,omitempty"` // of the token there is
	From      *TokenEvent `json:"from,omitempty"`       // what brought it
	Fetches   Budget      `json:"fetches"`              // of today, in Beijing
	Forced    Budget      `json:"forced"`               // the same for fetches by force
	Contested *Time       `json:"contested,omitempty"`  // when WeChat last refused, in the last hour, a token that had time left: somebody else ends them
	NextAt    *Time       `json:"next_at,omitempty"`    // no fetch before
	Because   string      `json:"because,omitempty"`    // why there is none that works
}

// A TokenState is where an account's token is.
type TokenState string

const (
	TokenLive    TokenState = "live"    // there is one, and nobody has refused it
	TokenNone    TokenState = "none"    // there was none yet
	TokenExpired TokenState = "expired" // its time is over
	TokenRefused TokenState = "refused" // WeChat refused it before its time was over
)

// A Budget is how much of a day's calls is used. Nothing is fetched above Stop:
// the last ones are left to people.
type Budget struct {
	Used int `json:"used"`
	Stop int `json:"stop"`
	Max  int `json:"max"` // WeChat's limit, or the account's setting
}

// A TokenAction is what a [TokenEvent] tells of.
type TokenAction string

const (
	TokenFetched   TokenAction = "fetched"   // from WeChat, or not: see Outcome
	TokenSupplied  TokenAction = "supplied"  // from outside
	TokenRevealed  TokenAction = "revealed"  // shown to whom asked for it
	TokenContested TokenAction = "contested" // somebody else ends our tokens; once an hour
	TokenLow       TokenAction = "low"       // four fifths of a day's fetches are used; once a day
	TokenSpent     TokenAction = "spent"     // no more today; once a day
	TokenWaits     TokenAction = "waits"     // the account waits for a token from outside; once an hour
)

// A TokenEvent is a line of the record of who did what to an account's token.
type TokenEvent struct {
	ID      string      `json:"id"`
	At      Time        `json:"at"`
	Account string      `json:"account"`
	Action  TokenAction `json:"action"`
	// Why a token was fetched: "start" (there was none), "expiry" (its end is near or
	// over), "refused" (WeChat refused it before its end), "expired" (42001: WeChat's
	// clock says that it is over), "forced" or "check" (somebody checked the account).
	Why string `json:"why,omitempty"`
	By  string `json:"by"` // id of the key, or "gateway"
	// Outcome of a fetch: "ok", "same" (WeChat gave the token that was there),
	// "refused", "not-delivered", "unknown"; "" while it is on its way.
	Outcome   string `json:"outcome,omitempty"`
	ErrCode   int    `json:"errcode,omitempty"`
	ExpiresAt *Time  `json:"expires_at,omitempty"` // of the token
}

// A TokenRequest supplies a token from outside.
type TokenRequest struct {
	AccessToken kefu.Secret `json:"access_token"` // up to 2048 bytes
	ExpiresIn   int64       `json:"expires_in"`   // seconds from now, 1 to 86400
}

// A RevealedToken is an access token in clear, for whom may have it.
type RevealedToken struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}
