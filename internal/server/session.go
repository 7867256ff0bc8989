package server

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
)

// Desk is the part of *desk.Desk that the server needs: the team at the console.
// Its errors are as those of [Engine].
type Desk interface {
	// SignIn begins a session and returns its text. Problems: login-failed,
	// code-required, login-limited, link-used. from is the caller's address.
	SignIn(ctx context.Context, in gateway.SignIn, from string) (text string, a gateway.Agent, err error)
	// Agent is whose session a text is; cheap: asked at every request. Problem:
	// unauthorized.
	Agent(ctx context.Context, text string) (gateway.Agent, error)
	SignOut(ctx context.Context, text string) error
	SetPassword(ctx context.Context, agent string, c gateway.PasswordChange) (session string, err error)
	OfferTOTP(ctx context.Context, agent string) (gateway.TOTPOffer, error)
	TurnOnTOTP(ctx context.Context, agent string, c gateway.TOTPStart) error
	TurnOffTOTP(ctx context.Context, agent, code string) error
	SetSettings(ctx context.Context, agent string, settings json.RawMessage) error

	Agents(ctx context.Context) ([]gateway.Agent, error)
	AddAgent(ctx context.Context, r gateway.AgentRequest, by string) (gateway.Agent, error)
	PutAgent(ctx context.Context, id string, r gateway.AgentRequest, by gateway.By) (gateway.Agent, error)
	DeleteAgent(ctx context.Context, id string, by gateway.By) error
	Link(ctx context.Context, id, by string) (gateway.AgentLink, error)
	// Record puts on record that somebody did something.
	Record(ctx context.Context, e gateway.AuditEntry) error
	Audit(ctx context.Context, cursor string, limit int) (gateway.Page[gateway.AuditEntry], error)

	// Assign gives a conversation to an agent, or with "" to nobody; expect, if not
	// nil, is who must have it now. Problems: not-found, conflict.
	Assign(ctx context.Context, account, openid, agent string, expect *string, by gateway.By) error
	Close(ctx context.Context, account, openid string, by gateway.By) error
	SetTags(ctx context.Context, account, openid string, tags []string, by gateway.By) error
	SetRemark(ctx context.Context, account, openid, remark string, by gateway.By) error
	AddNote(ctx context.Context, account, openid, text string, by gateway.By) error
	Notes(ctx context.Context, account, openid string) ([]gateway.Note, error)
	Read(ctx context.Context, account, openid, cursor string) error
	// Unknown counts messages of unknown outcome by account and openid: of one
	// follower, or with "" for both of everybody.
	Unknown(ctx context.Context, account, openid string) (map[[2]string]int, error)
	Search(ctx context.Context, accounts []string, text, cursor string, limit int) (gateway.Page[gateway.Found], error)
	QuickReplies(ctx context.Context, agent string) ([]gateway.QuickReply, error)
	PutQuickReply(ctx context.Context, owner string, r gateway.QuickReply) (gateway.QuickReply, error)
	DeleteQuickReply(ctx context.Context, owner, id string) error

	// Present tells the others what an agent does with a conversation in one of their
	// tabs: "viewing", "replying" or "gone".
	Present(account, openid, agent, tab, state string)
	// Presences is what was told after the first n (-1: who is there now), how many
	// there are then, and a channel that is closed when there are more.
	Presences(n int) (news []gateway.FeedEntry, next int, more <-chan struct{})
}

// sessionCookie is a session's text. SameSite=Strict, so no other site's page
// brings it along; sameSite is the belt to these braces.
const sessionCookie = "kefu_session"

var crossSite = http.NewCrossOriginProtection()

// session is the text of the session that the call brings, if it brings one and no
// key.
func (c *call) session() (text string, ok bool) {
	if c.s.Desk == nil || c.Header.Get("Authorization") != "" {
		return "", false
	}
	cookie, err := c.Cookie(sessionCookie)
	if err != nil || cookie.Value == "" || len(cookie.Value) > 64 {
		return "", false
	}
	return cookie.Value, true
}

// sameSite refuses what a page of another site sends with a cookie.
func (c *call) sameSite() error {
	site := c.Header.Get("Sec-Fetch-Site")
	if crossSite.Check(c.Request) != nil || site != "" && site != "same-origin" && site != "none" {
		return refuse(gateway.Forbidden).because("cross-site")
	}
	return nil
}

// findAgent is a session as a key: with the agent's role and accounts.
func (c *call) findAgent(ctx context.Context, text string) (gateway.Key, error) {
	if err := c.sameSite(); err != nil {
		return gateway.Key{}, err
	}
	a, err := c.s.Desk.Agent(ctx, text)
	if err != nil {
		return gateway.Key{}, err
	}
	c.agent = &a
	return keyOf(a), nil
}

// keyOf is what an agent may do.
func keyOf(a gateway.Agent) gateway.Key {
	return gateway.Key{ID: a.ID, Name: a.Display, Role: a.Role, Accounts: a.Accounts}
}

func (s *Server) postSession(c *call) (int, any, error) {
	if err := c.sameSite(); err != nil {
		return 0, nil, err
	}
	if s.Desk == nil {
		return 0, nil, refuse(gateway.NotFound)
	}
	var in gateway.SignIn
	b, err := c.read(maxSignIn) // of strangers
	if err == nil {
		err = invalid(gateway.InvalidRequest, decode(b, "", &in)...)
	}
	if err != nil {
		return 0, nil, err
	}
	if len(in.Name) > maxAgentName || len(in.Password) > maxPassword || len(in.Code) > 16 || len(in.Link) > 128 {
		return 0, nil, refuse(gateway.LoginFailed)
	}
	text, a, err := s.Desk.SignIn(c.Context(), in, s.caller(c.Request))
	if err != nil {
		return 0, nil, err
	}
	c.setCookie(text, 0)
	return c.begin(a)
}

// setCookie hands a session to the browser; with a negative age it takes it back.
func (c *call) setCookie(text string, age int) {
	http.SetCookie(c.w, &http.Cookie{
		Name: sessionCookie, Value: text, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: c.TLS != nil || c.Header.Get("X-Forwarded-Proto") == "https",
	})
}

// begin is what the console begins with.
func (c *call) begin(a gateway.Agent) (int, any, error) {
	accounts, err := c.s.Store.Accounts(c.Context())
	if err != nil {
		return 0, nil, err
	}
	agents, err := c.s.Desk.Agents(c.Context())
	if err != nil {
		return 0, nil, err
	}
	session := gateway.Session{Agent: a, Now: c.s.Now().UnixMilli(), Accounts: []gateway.SessionAccount{}}
	session.Agent.Online = true
	c.key = keyOf(a)
	for _, acc := range accounts {
		if c.sees(acc.AppID) {
			session.Accounts = append(session.Accounts, gateway.SessionAccount{AppID: acc.AppID, Name: acc.Name, Mode: string(acc.Mode), Profile: acc.Profile, State: acc.State, Because: bilingual.Text(acc.Because).In(c.lang)})
		}
	}
	session.Agents = c.team(agents)
	return http.StatusOK, session, nil
}

func (s *Server) getSession(c *call) (int, any, error) {
	if c.agent == nil {
		return 0, nil, refuse(gateway.Unauthorized)
	}
	return c.begin(*c.agent)
}

func (s *Server) deleteSession(c *call) (int, any, error) {
	if text, ok := c.session(); ok {
		if err := s.Desk.SignOut(c.Context(), text); err != nil {
			return 0, nil, err
		}
	}
	c.setCookie("", -1)
	return http.StatusNoContent, nil, nil
}

// me is who is signed in; a key is nobody.
func (c *call) me() (gateway.Agent, error) {
	if c.agent == nil {
		return gateway.Agent{}, refuse(gateway.NotFound)
	}
	return *c.agent, nil
}

func (s *Server) putPassword(c *call) (int, any, error) {
	var r gateway.PasswordChange
	a, err := c.me()
	if err == nil {
		err = c.body(&r)
	}
	if err == nil {
		err = invalid(gateway.InvalidRequest, checkPassword("new", r.New)...)
	}
	if err == nil {
		var session string
		if session, err = s.Desk.SetPassword(c.Context(), a.ID, r); err == nil {
			c.setCookie(session, 0)
		}
	}
	return http.StatusNoContent, nil, err
}

func (s *Server) postTOTP(c *call) (int, any, error) {
	a, err := c.me()
	if err != nil {
		return 0, nil, err
	}
	o, err := s.Desk.OfferTOTP(c.Context(), a.ID)
	return http.StatusOK, o, err
}

func (s *Server) putTOTP(c *call) (int, any, error) {
	var r gateway.TOTPStart
	a, err := c.me()
	if err == nil {
		err = c.body(&r)
	}
	if err == nil {
		err = s.Desk.TurnOnTOTP(c.Context(), a.ID, r)
	}
	return http.StatusNoContent, nil, err
}

func (s *Server) deleteTOTP(c *call) (int, any, error) {
	var r gateway.TOTPCode
	a, err := c.me()
	if err == nil {
		err = c.body(&r)
	}
	if err == nil {
		err = s.Desk.TurnOffTOTP(c.Context(), a.ID, r.Code)
	}
	return http.StatusNoContent, nil, err
}

func (s *Server) putSettings(c *call) (int, any, error) {
	a, err := c.me()
	if err != nil {
		return 0, nil, err
	}
	body, err := c.read(maxMetadata)
	if err != nil {
		return 0, nil, err
	}
	settings := compact(body)
	if settings == nil || settings[0] != '{' {
		return 0, nil, invalid(gateway.InvalidRequest, wrong("body", "must-object"))
	}
	return http.StatusNoContent, nil, s.Desk.SetSettings(c.Context(), a.ID, settings)
}

// jumpEvery is how soon a stream tells that the gateway's clock has jumped.
const jumpEvery = 250 * time.Millisecond
