package store

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// says keeps a text of the follower and returns the cursor of its line.
func says(t *testing.T, s *Store, openid, text string) string {
	t.Helper()
	data, err := encode(map[string]any{"msgtype": "text", "push": map[string]string{"Content": text}})
	ok(t, err)
	_, err = s.Receive(t.Context(), noon, Callback{Entry: Entry{Account: account, OpenID: openid, Type: "follower.message", Data: data}})
	ok(t, err)
	head, err := s.Head(t.Context())
	ok(t, err)
	return head
}

func deskOf(t *testing.T, s *Store, openid string) Desk {
	t.Helper()
	c, err := s.Present(t.Context(), account, openid)
	ok(t, err)
	return c.Desk
}

// Who is told of a line by the feed and asks at once sees it.
func whatIsShownIsPresent(t *testing.T, open func() *Store) {
	s := open()
	for i := range 30 {
		says(t, s, follower, fmt.Sprintf("line %d", i))
		c, err := s.Present(t.Context(), account, follower)
		ok(t, err)
		if !strings.Contains(string(c.LastLine), fmt.Sprintf(`"line %d"`, i)) || c.Desk.Unread != i+1 {
			t.Fatalf("after line %d: %d unread, last %s", i, c.Desk.Unread, c.LastLine)
		}
	}
	_, err := s.Present(t.Context(), account, "oNobody")
	wants(t, err, ErrNotFound)
}

func unreadAndWaitingAreCounted(t *testing.T, open func() *Store) {
	s := open()
	first := says(t, s, follower, "one")
	says(t, s, follower, "two")
	d := deskOf(t, s, follower)
	same(t, []any{d.Unread, d.WaitingSince.Equal(noon), d.Closed}, []any{2, true, false})

	ok(t, s.Read(t.Context(), noon, account, follower, first))
	same(t, deskOf(t, s, follower).Unread, 1)
	last := says(t, s, follower, "three")
	ok(t, s.Read(t.Context(), noon, account, follower, last))
	ok(t, s.Read(t.Context(), noon, account, follower, first)) // a mark never goes back
	same(t, deskOf(t, s, follower).Unread, 0)
	wants(t, s.Read(t.Context(), noon, account, "oNobody", last), ErrNotFound)

	enqueue1(t, s, hello(follower)) // an answer
	same(t, deskOf(t, s, follower).WaitingSince.IsZero(), true)
	says(t, s, follower, "four")
	says(t, s, follower, "five")
	same(t, deskOf(t, s, follower).WaitingSince.IsZero(), false)

	ok(t, s.ChangeDesk(t.Context(), noon, DeskChange{Account: account, OpenID: follower, Close: true}))
	d = deskOf(t, s, follower)
	same(t, []any{d.Closed, d.WaitingSince.IsZero(), d.Unread}, []any{true, true, 2})
	says(t, s, follower, "six")
	d = deskOf(t, s, follower)
	same(t, []any{d.Closed, d.Unread}, []any{false, 3})
}

func unknownAreCountedByFollower(t *testing.T, open func() *Store) {
	s := open()
	m := bring(t, s, gateway.Unknown)
	says(t, s, "oOther", "hi")
	ok(t, s.settle(t.Context()))
	mine := map[[2]string]int{{m.Account, m.OpenID}: 1}
	for _, tt := range []struct {
		account, openid string
		want            map[[2]string]int
	}{{"", "", mine}, {m.Account, m.OpenID, mine}, {m.Account, "oOther", map[[2]string]int{}}, {"wxother", m.OpenID, map[[2]string]int{}}} {
		got, err := s.UnknownOf(t.Context(), tt.account, tt.openid)
		ok(t, err)
		same(t, got, tt.want)
	}
}

func deskChangesAreAllOrNone(t *testing.T, open func() *Store) {
	s := open()
	says(t, s, follower, "hi")
	ok(t, s.settle(t.Context()))
	alice, bob, nobody := "agent_a", "agent_b", ""
	take := func(who, from string) error {
		return s.ChangeDesk(t.Context(), noon, DeskChange{Account: account, OpenID: follower, Assigned: &who, Expect: &from,
			Entry: &Entry{Account: account, OpenID: follower, Type: "conversation.changed", Data: json.RawMessage(fmt.Sprintf(`{"assigned_to":%q}`, who))}})
	}
	ok(t, take(alice, nobody))
	wants(t, take(bob, nobody), ErrTaken) // alice was faster
	same(t, deskOf(t, s, follower).Assigned, alice)
	ok(t, take(alice, nobody)) // she has it already
	remark := "林小鱼"
	ok(t, s.ChangeDesk(t.Context(), noon, DeskChange{Account: account, OpenID: follower, Remark: &remark, Tags: []string{"老客", "<b>"}}))
	d := deskOf(t, s, follower)
	same(t, []any{d.Remark, d.Assigned, d.Tags}, []any{remark, alice, []string{"老客", "<b>"}})

	page, err := s.Timeline(t.Context(), account, follower, "", 10)
	ok(t, err)
	changes := 0
	for _, l := range page.Items {
		if l.Type == "conversation.changed" {
			changes++
		}
	}
	same(t, changes, 2) // none of the change that was refused
}

// A conversation is given to whoever may have it in that moment, and is taken only from
// whoever has it.
func conversationsAreReleased(t *testing.T, open func() *Store) {
	s := open()
	a, err := s.AddAgent(t.Context(), noon, Agent{Agent: gateway.Agent{Name: "han", Display: "小韩", Role: gateway.Answers}}, gateway.AuditEntry{})
	ok(t, err)
	give := func(openid string, fit bool) error {
		return s.ChangeDesk(t.Context(), noon, DeskChange{Account: account, OpenID: openid, Assigned: &a.ID, Fit: func(now Agent) bool { return fit && now.Display == "小韩" }})
	}
	says(t, s, follower, "hi")
	says(t, s, "oOther", "hi")
	ok(t, s.settle(t.Context()))
	wants(t, give(follower, false), ErrNotFound)
	same(t, deskOf(t, s, follower).Assigned, "")
	ok(t, give(follower, true))
	held, err := s.HeldBy(t.Context(), a.ID)
	ok(t, err)
	same(t, held, [][2]string{{account, follower}})
	head, err := s.Head(t.Context())
	ok(t, err)
	is := func(openid string) Entry {
		return Entry{Account: account, OpenID: openid, Type: "conversation.changed", Data: json.RawMessage(`{"assigned_to":""}`)}
	}
	ok(t, s.Release(t.Context(), noon, a.ID, []Entry{is(follower), is("oOther")}))
	same(t, deskOf(t, s, follower).Assigned, "")
	entries, _, err := s.Feed(t.Context(), head, 10, nil)
	ok(t, err)
	same(t, []any{len(entries), entries[0].OpenID}, []any{1, follower})
	ok(t, s.DeleteAgent(t.Context(), noon, a.ID, gateway.AuditEntry{}))
	wants(t, give(follower, true), ErrNotFound)
}

func searchFindsWhatWasSaid(t *testing.T, open func() *Store) {
	s := open()
	says(t, s, follower, "白毫银针还有吗")
	says(t, s, "oOther", "Do you ship 100% SILVER needle?")
	enqueue1(t, s, hello(follower).with(func(d *Draft) {
		d.Message.Message = json.RawMessage(`{"touser":"o","msgtype":"text","text":{"content":"银针有 100 克装"}}`)
	}))
	enqueue1(t, s, hello(follower).with(func(d *Draft) { // as Python and PHP write it
		d.Message.Message = json.RawMessage(`{"touser":"o","msgtype":"text","text":{"content":"\u767d\u6beb \"\u94f6\u5c16\" 1\/2"}}`)
	}))
	says(t, s, "oOther", "我是ＶＩＰ，table of content")
	for range 12 { // more than a page in which only the names of members have it
		enqueue1(t, s, hello(follower))
	}
	find := func(text string, accounts ...string) (found []string) {
		page, err := s.Search(t.Context(), accounts, text, "", 10)
		ok(t, err)
		for _, f := range page.Items {
			found = append(found, f.Type+" "+f.Snippet)
		}
		return found
	}
	same(t, find("银针"), []string{"message 银针有 100 克装", "follower.message 白毫银针还有吗"})
	same(t, find("silver"), []string{"follower.message Do you ship 100% SILVER needle?"})
	same(t, find("100%"), []string{"follower.message Do you ship 100% SILVER needle?"})
	same(t, find("100_"), []string(nil))
	same(t, find("白毫"), []string{`message 白毫 "银尖" 1/2`, "follower.message 白毫银针还有吗"})
	same(t, find(`"银尖" 1/2`), []string{`message 白毫 "银尖" 1/2`})
	same(t, find("ｖｉｐ"), []string{"follower.message 我是ＶＩＰ，table of content"})
	same(t, find("content"), []string{"follower.message 我是ＶＩＰ，table of content"})
	same(t, find("msgtype"), []string(nil)) // names of members are not what was said
	same(t, find("银针", "wxother"), []string(nil))
}

// commits is how many there were.
func commits(t *testing.T, s *Store) (n int64) {
	t.Helper()
	ok(t, s.row(t.Context(), `SELECT commits FROM head WHERE id = 1`).Scan(&n))
	return n
}

func sessionsAndLinksEnd(t *testing.T, open func() *Store) {
	s := open()
	a, err := s.AddAgent(t.Context(), noon, Agent{Agent: gateway.Agent{Name: "man", Display: "小满", Role: gateway.Answers}, Password: "$argon2id$x"}, gateway.AuditEntry{Who: "key_1", What: "agent.add"})
	ok(t, err)
	_, err = s.AddAgent(t.Context(), noon, Agent{Agent: gateway.Agent{Name: "man", Display: "x", Role: gateway.Answers}}, gateway.AuditEntry{})
	wants(t, err, ErrExists)

	hash := sha256.Sum256([]byte("session"))
	begin := func(at time.Time, id string, c AgentChange) error {
		c.Begin = &Session{hash, at.Add(time.Hour)}
		_, err := s.ChangeAgent(t.Context(), at, id, func(*Agent) (AgentChange, error) { return c, nil })
		return err
	}
	opens := func(at time.Time) error {
		who, err := s.SessionAgent(t.Context(), at, hash)
		if err == nil {
			same(t, []any{who.ID, who.Display, who.Role}, []any{a.ID, "小满", gateway.Answers})
		}
		return err
	}
	ok(t, begin(noon, a.ID, AgentChange{Audit: gateway.AuditEntry{Who: a.ID, What: "session.begin"}}))
	ok(t, opens(noon.Add(time.Hour-1)))
	wants(t, opens(noon.Add(time.Hour)), ErrNotFound)
	disable := func(is bool) {
		_, err := s.ChangeAgent(t.Context(), noon, a.ID, func(a *Agent) (AgentChange, error) {
			a.Disabled = is
			return AgentChange{}, nil
		})
		ok(t, err)
	}
	disable(true)
	wants(t, opens(noon), ErrNotFound)
	disable(false)
	ok(t, opens(noon))
	ok(t, s.EndSession(t.Context(), noon, hash))
	wants(t, opens(noon), ErrNotFound)
	ok(t, s.settle(t.Context()))
	before := commits(t, s)
	ok(t, s.EndSession(t.Context(), noon, hash)) // it has ended, which is no fault

	link := sha256.Sum256([]byte("link"))
	ok(t, s.AddLink(t.Context(), noon, link, a.ID, noon.Add(time.Minute), gateway.AuditEntry{}))
	_, err = s.LinkAgent(t.Context(), noon.Add(time.Minute), link)
	wants(t, err, ErrNotFound)
	_, err = s.LinkAgent(t.Context(), noon, hash)
	wants(t, err, ErrNotFound)
	same(t, commits(t, s), before+1) // the link's: what strangers make up is no write
	id, err := s.LinkAgent(t.Context(), noon.Add(time.Minute-time.Millisecond), link)
	ok(t, err)
	same(t, id, a.ID)
	wants(t, begin(noon.Add(time.Minute), a.ID, AgentChange{Link: &link}), ErrNotFound)
	ok(t, begin(noon.Add(time.Minute-time.Millisecond), a.ID, AgentChange{Link: &link}))
	ok(t, opens(noon))
	wants(t, begin(noon, a.ID, AgentChange{Link: &link}), ErrNotFound) // once
	_, err = s.LinkAgent(t.Context(), noon, link)
	wants(t, err, ErrNotFound)

	ok(t, s.DeleteAgent(t.Context(), noon, a.ID, gateway.AuditEntry{Who: "key_1", What: "agent.delete"}))
	wants(t, s.DeleteAgent(t.Context(), noon, a.ID, gateway.AuditEntry{}), ErrNotFound)
	page, err := s.Audit(t.Context(), "", 2)
	ok(t, err)
	defer func() { // what stays, for who looks at the database next
		b, err := s.AddAgent(t.Context(), noon, Agent{Agent: gateway.Agent{Name: "stays", Role: gateway.Views}, Secret: "GEZDGNBV"}, gateway.AuditEntry{})
		ok(t, err)
		_, err = s.ChangeAgent(t.Context(), noon, b.ID, func(a *Agent) (AgentChange, error) {
			a.Secret = "GEZDGNBV"
			return AgentChange{Begin: &Session{hash, noon.Add(time.Hour)}}, nil
		})
		ok(t, err)
		ok(t, s.AddLink(t.Context(), noon, link, b.ID, noon.Add(time.Minute), gateway.AuditEntry{}))
		_, err = s.PutQuickReply(t.Context(), noon, "", gateway.QuickReply{Title: "发货", Text: "今天发"})
		ok(t, err)
	}()
	same(t, []any{len(page.Items), page.Items[0].What, page.Items[1].What, page.Next != ""}, []any{2, "agent.delete", "session.begin", true})
}

// Whoever changes an agent sees what others have changed, and undoes none of it; what is
// refused leaves no trace.
func agentsChangeOneByOne(t *testing.T, open func() *Store) {
	s := open()
	a, err := s.AddAgent(t.Context(), noon, Agent{Agent: gateway.Agent{Name: "man", Display: "小满", Role: gateway.Answers}}, gateway.AuditEntry{})
	ok(t, err)
	var all sync.WaitGroup
	const times = 20
	for i := range times {
		all.Go(func() {
			_, err := s.ChangeAgent(t.Context(), noon, a.ID, func(a *Agent) (AgentChange, error) {
				a.TOTPUsed++
				a.Accounts = append(a.Accounts, fmt.Sprint("wx", i))
				return AgentChange{}, nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	now, err := s.Agent(t.Context(), a.ID)
	ok(t, err)
	same(t, []any{now.TOTPUsed, len(now.Accounts)}, []any{int64(times), times})

	session, link, late := sha256.Sum256([]byte("kept")), sha256.Sum256([]byte("link of man")), sha256.Sum256([]byte("used"))
	ok(t, s.AddLink(t.Context(), noon, link, a.ID, noon.Add(time.Minute), gateway.AuditEntry{}))
	put := func(id string, c AgentChange, refusal error) error {
		_, err := s.ChangeAgent(t.Context(), noon, id, func(a *Agent) (AgentChange, error) {
			a.Display, a.Role, a.Password, a.Secret, a.Disabled = "x", gateway.Admin, "x", "GEZDGNBV", true
			return c, refusal
		})
		return err
	}
	_, err = s.ChangeAgent(t.Context(), noon, a.ID, func(*Agent) (AgentChange, error) {
		return AgentChange{Begin: &Session{session, noon.Add(time.Hour)}}, nil
	})
	ok(t, err)
	refusal := errors.New("no")
	undone := AgentChange{EndSessions: true, Link: &link, Begin: &Session{sha256.Sum256([]byte("begun")), noon.Add(time.Hour)}, Audit: gateway.AuditEntry{What: "never"}}
	wants(t, put(a.ID, undone, refusal), refusal)
	undone.Link = &late
	wants(t, put(a.ID, undone, nil), ErrNotFound)
	wants(t, put("agent_x", AgentChange{}, nil), ErrNotFound)
	still, err := s.Agent(t.Context(), a.ID)
	ok(t, err)
	same(t, still, now)
	_, err = s.SessionAgent(t.Context(), noon, session)
	ok(t, err)
	_, err = s.SessionAgent(t.Context(), noon, undone.Begin.Hash)
	wants(t, err, ErrNotFound)
	_, err = s.LinkAgent(t.Context(), noon, link)
	ok(t, err)
	page, err := s.Audit(t.Context(), "", 10)
	ok(t, err)
	same(t, len(page.Items), 0)

	// What begins with the end of the others stays.
	undone.Link = &link
	ok(t, put(a.ID, undone, nil))
	_, err = s.SessionAgent(t.Context(), noon, session)
	wants(t, err, ErrNotFound)
	changed, err := s.ChangeAgent(t.Context(), noon, a.ID, func(a *Agent) (AgentChange, error) {
		same(t, []any{a.Display, a.Role, a.Password, a.Secret, a.TOTP, a.Disabled}, []any{"x", gateway.Admin, "x", kefu.Secret("GEZDGNBV"), true, true})
		a.Disabled = false
		return AgentChange{}, nil
	})
	ok(t, err)
	same(t, []any{changed.Display, changed.Disabled}, []any{"x", false})
	_, err = s.SessionAgent(t.Context(), noon, undone.Begin.Hash)
	ok(t, err)
}
