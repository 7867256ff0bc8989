package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kefu-go/kefu/gateway"
)

// Limits of what a team writes.
const (
	maxAgentName  = 64
	minPassword   = 10
	maxPassword   = 256
	maxNote       = 2000 // characters, like those below
	maxRemark     = 30
	maxTag        = 30
	maxTags       = 20
	maxReplyTitle = 60
	maxReply      = 4000
)

// deskRoutes are the calls of the console.
func deskRoutes() []route {
	type out = map[int]any
	const write = "invalid-json invalid-request too-large unsupported-media-type "
	conversation := out{200: gateway.Conversation{}}
	return []route{
		{"POST", "/v1/session", public, (*Server).postSession, doc{
			says: "Sign in: by name and password, or by a one-time link", in: gateway.SignIn{}, out: out{200: gateway.Session{}}, codes: write + "forbidden not-found login-failed code-required login-limited link-used"}},
		{"GET", "/v1/session", people, (*Server).getSession, doc{says: "Show who is signed in", out: out{200: gateway.Session{}}}},
		{"DELETE", "/v1/session", public, (*Server).deleteSession, doc{says: "Sign out", out: out{204: nil}}},
		{"PUT", "/v1/session/password", people, (*Server).putPassword, doc{says: "Change one's password", in: gateway.PasswordChange{}, out: out{204: nil}, codes: write + "not-found login-failed login-limited"}},
		{"POST", "/v1/session/totp", people, (*Server).postTOTP, doc{says: "Offer a second factor", out: out{200: gateway.TOTPOffer{}}, codes: "not-found conflict"}},
		{"PUT", "/v1/session/totp", people, (*Server).putTOTP, doc{says: "Turn the second factor on by one's password and its first code", in: gateway.TOTPStart{}, out: out{204: nil}, codes: write + "not-found login-failed login-limited conflict"}},
		{"DELETE", "/v1/session/totp", people, (*Server).deleteTOTP, doc{says: "Turn the second factor off", in: gateway.TOTPCode{}, out: out{204: nil}, codes: write + "not-found login-failed login-limited"}},
		{"PUT", "/v1/session/settings", people, (*Server).putSettings, doc{says: "Keep the page's settings", in: map[string]any{}, out: out{204: nil}, codes: write + "not-found"}},

		{"GET", "/v1/agents", leaders, (*Server).listAgents, doc{says: "List agents", out: out{200: gateway.Page[gateway.Agent]{}}, codes: "not-found"}},
		{"POST", "/v1/agents", admins, (*Server).postAgent, doc{says: "Add an agent", in: gateway.AgentRequest{}, out: out{201: gateway.Agent{}}, codes: write + "not-found conflict"}},
		{"PUT", "/v1/agents/{id}", admins, (*Server).putAgent, doc{says: "Change an agent", in: gateway.AgentRequest{}, out: out{200: gateway.Agent{}}, codes: write + "not-found"}},
		{"DELETE", "/v1/agents/{id}", admins, (*Server).deleteAgent, doc{says: "Forget an agent; their conversations are nobody's", out: out{204: nil}, codes: "not-found"}},
		{"POST", "/v1/agents/{id}/link", admins, (*Server).postAgentLink, doc{says: "Make a link that signs the agent in once", out: out{200: gateway.AgentLink{}}, codes: "not-found"}},
		{"GET", "/v1/audit", admins, (*Server).listAudit, doc{says: "List who did what, the latest first", params: "cursor limit", out: out{200: gateway.Page[gateway.AuditEntry]{}}, codes: "invalid-request not-found"}},

		{"POST", "/v1/conversations/{account}/{openid}/assign", senders, (*Server).postAssign, doc{
			says: "Give a conversation to an agent, or to nobody", in: gateway.Assignment{}, out: conversation, codes: write + "unknown-account not-found conflict"}},
		{"POST", "/v1/conversations/{account}/{openid}/close", senders, (*Server).postClose, doc{
			says: "Be done with a conversation until the follower writes again", out: conversation, codes: "unknown-account not-found"}},
		{"POST", "/v1/conversations/{account}/{openid}/read", senders, (*Server).postRead, doc{
			says: "Mark a conversation as read up to a line", in: gateway.ReadMark{}, out: out{204: nil}, codes: write + "unknown-account not-found"}},
		{"POST", "/v1/conversations/{account}/{openid}/note", senders, (*Server).postNote, doc{
			says: "Write a note about a follower, for the team alone", in: gateway.NoteRequest{}, out: conversation, codes: write + "unknown-account not-found"}},
		{"PUT", "/v1/conversations/{account}/{openid}/tags", senders, (*Server).putTags, doc{
			says: "Replace a conversation's tags", in: gateway.Tags{}, out: conversation, codes: write + "unknown-account not-found"}},
		{"POST", "/v1/conversations/{account}/{openid}/tags", senders, (*Server).putTags, doc{
			says: "Replace a conversation's tags, as PUT does", in: gateway.Tags{}, out: conversation, codes: write + "unknown-account not-found"}},
		{"PUT", "/v1/conversations/{account}/{openid}/profile", senders, (*Server).putProfile, doc{
			says: "Name a follower", in: gateway.Profile{}, out: conversation, codes: write + "unknown-account not-found"}},
		{"POST", "/v1/conversations/{account}/{openid}/presence", people, (*Server).postPresence, doc{
			says: "Tell the others at the desk what one does with a conversation", in: gateway.Presence{}, out: out{204: nil}, codes: write + "unknown-account not-found"}},

		{"GET", "/v1/search", readers, (*Server).getSearch, doc{
			says: "Search what was said, the latest first", params: "q account cursor limit", out: out{200: gateway.Page[gateway.Found]{}}, codes: "invalid-request unknown-account not-found"}},
		{"GET", "/v1/quick-replies", readers, (*Server).listReplies, doc{says: "List quick replies: the team's, and one's own", out: out{200: gateway.Page[gateway.QuickReply]{}}, codes: "not-found"}},
		{"POST", "/v1/quick-replies", senders, (*Server).postReply, doc{says: "Keep a quick reply", in: gateway.QuickReply{}, out: out{201: gateway.QuickReply{}}, codes: write + "not-found forbidden"}},
		{"PUT", "/v1/quick-replies/{id}", senders, (*Server).putReply, doc{says: "Change a quick reply", in: gateway.QuickReply{}, out: out{200: gateway.QuickReply{}}, codes: write + "not-found forbidden"}},
		{"DELETE", "/v1/quick-replies/{id}", senders, (*Server).deleteReply, doc{says: "Forget a quick reply", out: out{204: nil}, codes: "not-found forbidden"}},
	}
}

// checkText checks what people write: its characters counted, and none that steers.
func checkText(location, v string, most int, needed bool) []field {
	if n := utf8.RuneCountInString(v); n > most {
		f := wrong(location, "max-runes", n, most)
		f.limit, f.actual = most, n
		return []field{f}
	}
	if needed && strings.TrimSpace(v) == "" {
		return []field{wrong(location, "required")}
	}
	if strings.ContainsFunc(v, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }) {
		return []field{wrong(location, "control")}
	}
	return nil
}

func checkPassword(location, v string) []field {
	switch n := utf8.RuneCountInString(v); {
	case n < minPassword:
		return []field{wrong(location, "min-runes", n, minPassword)}
	case len(v) > maxPassword:
		return []field{wrong(location, "max-bytes", len(v), maxPassword)}
	}
	return nil
}

func (s *Server) listAgents(c *call) (int, any, error) {
	if s.Desk == nil {
		return 0, nil, refuse(gateway.NotFound)
	}
	all, err := s.Desk.Agents(c.Context())
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, full(gateway.Page[gateway.Agent]{Items: c.team(all)}), nil
}

// team is what the caller is shown of agents. What one signs in with is for admins and
// oneself. Whoever is for some accounts learns of no others: of each agent they see the
// accounts that both are for, and none of those who have none of them.
func (c *call) team(all []gateway.Agent) []gateway.Agent {
	shown := []gateway.Agent{}
	for _, a := range all {
		if c.key.Role != gateway.Admin && a.ID != c.key.ID {
			a.Name, a.TOTP = "", false
		}
		if mine := c.key.Accounts; len(mine) > 0 {
			whole := len(a.Accounts) == 0
			both := slices.DeleteFunc(slices.Clone(mine), func(appid string) bool { return !whole && !slices.Contains(a.Accounts, appid) })
			if len(both) == 0 { // which would read as all
				continue
			}
			a.Accounts = both
		}
		shown = append(shown, a)
	}
	return shown
}

// agentRequest reads an agent; the caller can't give more accounts than it has.
func (c *call) agentRequest(fresh bool) (r gateway.AgentRequest, err error) {
	if c.s.Desk == nil {
		return r, refuse(gateway.NotFound)
	}
	if len(c.key.Accounts) > 0 {
		return r, refuse(gateway.Forbidden).because("foreign-scope")
	}
	if err := c.body(&r); err != nil {
		return r, err
	}
	bad := slices.Concat(checkText("name", r.Name, maxAgentName, fresh), checkText("display", r.Display, maxAgentName, false),
		oneOf("role", r.Role, gateway.Answers, gateway.Leads, gateway.Admin, gateway.Views))
	if r.Password != "" {
		bad = append(bad, checkPassword("password", r.Password)...)
	}
	if !fresh && r.Name != "" {
		bad = append(bad, wrong("name", "unknown-member"))
	}
	if r.TOTP != nil && fresh {
		bad = append(bad, wrong("totp", "unknown-member"))
	} else if r.TOTP != nil && *r.TOTP {
		bad = append(bad, wrong("totp", "must-false"))
	} else if r.TOTP != nil && c.agent != nil && c.agent.ID == c.PathValue("id") { // a session alone takes nothing off
		bad = append(bad, wrong("totp", "own-totp"))
	}
	for i, appid := range r.Accounts {
		if _, err := c.account(appid); c.s.has(err, gateway.UnknownAccount) {
			bad = append(bad, wrong(fmt.Sprintf("accounts[%d]", i), "no-account"))
		} else if err != nil {
			return r, err
		}
	}
	return r, invalid(gateway.InvalidRequest, bad...)
}

func (s *Server) postAgent(c *call) (int, any, error) {
	r, err := c.agentRequest(true)
	if err != nil {
		return 0, nil, err
	}
	a, err := s.Desk.AddAgent(c.Context(), r, c.key.ID)
	return http.StatusCreated, a, err
}

func (s *Server) putAgent(c *call) (int, any, error) {
	r, err := c.agentRequest(false)
	if err != nil {
		return 0, nil, err
	}
	a, err := s.Desk.PutAgent(c.Context(), c.PathValue("id"), r, *c.by())
	return http.StatusOK, a, err
}

// wholeAdmin is an admin of every account: agents are not of one.
func (c *call) wholeAdmin() error {
	if c.s.Desk == nil {
		return refuse(gateway.NotFound)
	}
	if len(c.key.Accounts) > 0 {
		return refuse(gateway.Forbidden).because("foreign-scope")
	}
	return nil
}

func (s *Server) deleteAgent(c *call) (int, any, error) {
	err := c.wholeAdmin()
	if err == nil {
		err = s.Desk.DeleteAgent(c.Context(), c.PathValue("id"), *c.by())
	}
	return http.StatusNoContent, nil, err
}

func (s *Server) postAgentLink(c *call) (int, any, error) {
	if err := c.wholeAdmin(); err != nil {
		return 0, nil, err
	}
	l, err := s.Desk.Link(c.Context(), c.PathValue("id"), c.key.ID)
	return http.StatusOK, l, err
}

func (s *Server) listAudit(c *call) (int, any, error) {
	limit, err := c.limit()
	if err == nil {
		err = c.wholeAdmin()
	}
	if err != nil {
		return 0, nil, err
	}
	page, err := s.Desk.Audit(c.Context(), c.query().Get("cursor"), limit)
	return http.StatusOK, full(page), err
}

// at is a conversation that there is, of an account that the key is for, or was: who has
// it, and whether it is done with, can be said of what stays of an account, too.
func (c *call) at() (account, openid string, err error) {
	if c.s.Desk == nil {
		return "", "", refuse(gateway.NotFound)
	}
	account, openid, err = c.kept()
	if err == nil {
		_, err = c.s.Store.Conversation(c.Context(), account, openid)
	}
	return account, openid, err
}

// changed answers with the conversation after a change.
func (c *call) changed(account, openid string, err error) (int, any, error) {
	if err != nil {
		return 0, nil, err
	}
	conv, err := c.conversation(account, openid)
	return http.StatusOK, conv, err
}

func (s *Server) postAssign(c *call) (int, any, error) {
	var r gateway.Assignment
	account, openid, err := c.at()
	if err == nil {
		err = c.body(&r)
	}
	if err != nil {
		return 0, nil, err
	}
	agent := ""
	if r.Agent != nil {
		agent = *r.Agent
	}
	var expect *string
	if e := bytes.TrimSpace(r.Expect); len(e) > 0 {
		expect = new(string) // null: nobody
		if json.Unmarshal(e, expect) != nil {
			return 0, nil, invalid(gateway.InvalidRequest, wrong("expect", "must-string"))
		}
	}
	return c.changed(account, openid, s.Desk.Assign(c.Context(), account, openid, agent, expect, *c.by()))
}

func (s *Server) postClose(c *call) (int, any, error) {
	account, openid, err := c.at()
	if err == nil {
		err = s.Desk.Close(c.Context(), account, openid, *c.by())
	}
	return c.changed(account, openid, err)
}

func (s *Server) postRead(c *call) (int, any, error) {
	var r gateway.ReadMark
	account, openid, err := c.at()
	if err == nil {
		err = c.body(&r)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, s.Desk.Read(c.Context(), account, openid, r.Cursor)
}

func (s *Server) postNote(c *call) (int, any, error) {
	var r gateway.NoteRequest
	account, openid, err := c.at()
	if err == nil {
		err = c.body(&r)
	}
	if err != nil {
		return 0, nil, err
	}
	if err := invalid(gateway.InvalidRequest, checkText("text", r.Text, maxNote, true)...); err != nil {
		return 0, nil, err
	}
	return c.changed(account, openid, s.Desk.AddNote(c.Context(), account, openid, r.Text, *c.by()))
}

func (s *Server) putTags(c *call) (int, any, error) {
	var r gateway.Tags
	account, openid, err := c.at()
	if err == nil {
		err = c.body(&r)
	}
	if err != nil {
		return 0, nil, err
	}
	var bad []field
	if len(r.Tags) > maxTags {
		bad = append(bad, wrong("tags", "max-items", len(r.Tags), maxTags))
	}
	for i, tag := range r.Tags {
		bad = append(bad, checkText(fmt.Sprintf("tags[%d]", i), tag, maxTag, true)...)
	}
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return 0, nil, err
	}
	return c.changed(account, openid, s.Desk.SetTags(c.Context(), account, openid, r.Tags, *c.by()))
}

func (s *Server) putProfile(c *call) (int, any, error) {
	var r gateway.Profile
	account, openid, err := c.at()
	if err == nil {
		err = c.body(&r)
	}
	if err != nil {
		return 0, nil, err
	}
	if err := invalid(gateway.InvalidRequest, checkText("remark", r.Remark, maxRemark, false)...); err != nil {
		return 0, nil, err
	}
	return c.changed(account, openid, s.Desk.SetRemark(c.Context(), account, openid, r.Remark, *c.by()))
}

// tab is the name of a tab, which is the page's to choose; "" is one, too.
var tab = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)

func (s *Server) postPresence(c *call) (int, any, error) {
	var r gateway.Presence
	a, err := c.me()
	if err == nil {
		err = c.body(&r)
	}
	if err != nil {
		return 0, nil, err
	}
	bad := oneOf("state", r.State, "viewing", "replying", "gone")
	if r.State == "" {
		bad = append(bad, wrong("state", "required"))
	}
	if !tab.MatchString(r.Tab) {
		bad = append(bad, wrong("tab", "tab"))
	}
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return 0, nil, err
	}
	account, openid, err := c.at()
	if err == nil {
		s.Desk.Present(account, openid, a.ID, r.Tab, r.State)
	}
	return http.StatusNoContent, nil, err
}

func (s *Server) getSearch(c *call) (int, any, error) {
	if s.Desk == nil {
		return 0, nil, refuse(gateway.NotFound)
	}
	accounts, err := c.scope()
	if err != nil {
		return 0, nil, err
	}
	limit, err := c.limit()
	if err != nil {
		return 0, nil, err
	}
	q := strings.TrimSpace(c.query().Get("q"))
	if n := utf8.RuneCountInString(q); n < 2 || n > 100 {
		return 0, nil, invalid(gateway.InvalidRequest, wrong("query.q", "must-range", 2, 100))
	}
	page, err := s.Desk.Search(c.Context(), accounts, q, c.query().Get("cursor"), limit)
	return http.StatusOK, full(page), err
}

func (s *Server) listReplies(c *call) (int, any, error) {
	if s.Desk == nil {
		return 0, nil, refuse(gateway.NotFound)
	}
	agent := ""
	if c.agent != nil {
		agent = c.agent.ID
	}
	all, err := s.Desk.QuickReplies(c.Context(), agent)
	return http.StatusOK, full(gateway.Page[gateway.QuickReply]{Items: all}), err
}

// replyOwner is whose reply of that scope the caller may change: one's own, and for
// leads, admins and keys the team's.
func (c *call) replyOwner(scope string) (owner string, err error) {
	switch {
	case scope == "mine" && c.agent != nil:
		return c.agent.ID, nil
	case scope == "mine":
		return "", refuse(gateway.NotFound)
	case c.agent != nil && !slices.Contains(leaders, c.key.Role):
		return "", refuse(gateway.Forbidden, string(c.key.Role), c.Method+" "+c.URL.Path, "lead, admin")
	}
	return "", nil
}

func (c *call) reply() (r gateway.QuickReply, owner string, err error) {
	if c.s.Desk == nil {
		return r, "", refuse(gateway.NotFound)
	}
	if err := c.body(&r); err != nil {
		return r, "", err
	}
	bad := slices.Concat(oneOf("scope", r.Scope, "team", "mine"), checkText("title", r.Title, maxReplyTitle, true), checkText("text", r.Text, maxReply, true))
	if r.Scope == "" {
		bad = append(bad, wrong("scope", "required"))
	}
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return r, "", err
	}
	owner, err = c.replyOwner(r.Scope)
	return r, owner, err
}

func (s *Server) postReply(c *call) (int, any, error) {
	r, owner, err := c.reply()
	if err != nil {
		return 0, nil, err
	}
	r.ID = ""
	kept, err := s.Desk.PutQuickReply(c.Context(), owner, r)
	return http.StatusCreated, kept, err
}

func (s *Server) putReply(c *call) (int, any, error) {
	r, owner, err := c.reply()
	if err != nil {
		return 0, nil, err
	}
	r.ID = c.PathValue("id")
	kept, err := s.Desk.PutQuickReply(c.Context(), owner, r)
	return http.StatusOK, kept, err
}

func (s *Server) deleteReply(c *call) (int, any, error) {
	if s.Desk == nil {
		return 0, nil, refuse(gateway.NotFound)
	}
	err := error(refuse(gateway.NotFound))
	if owner, e := c.replyOwner("mine"); e == nil {
		err = s.Desk.DeleteQuickReply(c.Context(), owner, c.PathValue("id"))
	}
	if s.has(err, gateway.NotFound) {
		owner, e := c.replyOwner("team")
		if err = e; e == nil {
			err = s.Desk.DeleteQuickReply(c.Context(), owner, c.PathValue("id"))
		}
	}
	return http.StatusNoContent, nil, err
}

// attendance is what a stream tells of the others at the desk; for a key it is
// nothing.
type attendance struct {
	c    *call
	n    int
	more <-chan struct{}
	now  time.Time // by the gateway's clock, when last told
	real time.Time
}

// whoIsThere writes who is there now, and begins to follow.
func (s *Server) whoIsThere(c *call, out *bytes.Buffer) *attendance {
	w := &attendance{c: c, n: -1, now: s.Now(), real: time.Now()}
	if c.agent != nil {
		w.tell(out)
	}
	return w
}

// tell writes what is new, without ids: it is not of the feed.
func (w *attendance) tell(out *bytes.Buffer) {
	news, n, more := w.c.s.Desk.Presences(w.n)
	w.n, w.more = n, more
	for _, e := range news {
		if w.c.sees(e.Account) {
			fmt.Fprintf(out, "event: presence\ndata: %s\n\n", e.Data)
		}
	}
}

// tellTime writes the gateway's time: at each beat, and when its clock has jumped.
func (w *attendance) tellTime(out *bytes.Buffer, now time.Time, beat bool) {
	if w.c.agent == nil {
		return
	}
	real := time.Now()
	if jumped := now.Sub(w.now) - real.Sub(w.real); beat || jumped.Abs() > time.Second {
		w.now, w.real = now, real
		fmt.Fprintf(out, "event: time\ndata: {\"now\":%d}\n\n", now.UnixMilli())
	}
}
