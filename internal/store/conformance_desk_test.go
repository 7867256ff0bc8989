package store

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

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

func searchFindsWhatWasSaid(t *testing.T, open func() *Store) {
	s := open()
	says(t, s, follower, "白毫银针还有吗")
	says(t, s, "oOther", "Do you ship 100% SILVER needle?")
	enqueue1(t, s, hello(follower).with(func(d *Draft) {
		d.Message.Message = json.RawMessage(`{"touser":"o","msgtype":"text","text":{"content":"银针有 100 克装"}}`)
	}))
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
	same(t, find("msgtype"), []string(nil)) // names of members are not what was said
	same(t, find("银针", "wxother"), []string(nil))
}

func sessionsAndLinksEnd(t *testing.T, open func() *Store) {
	s := open()
	a, err := s.AddAgent(t.Context(), noon, Agent{Agent: gateway.Agent{Name: "man", Display: "小满", Role: gateway.Answers}, Password: "$argon2id$x"}, gateway.AuditEntry{Who: "key_1", What: "agent.add"})
	ok(t, err)
	_, err = s.AddAgent(t.Context(), noon, Agent{Agent: gateway.Agent{Name: "man", Display: "x", Role: gateway.Answers}}, gateway.AuditEntry{})
	wants(t, err, ErrExists)

	hash := sha256.Sum256([]byte("session"))
	ok(t, s.BeginSession(t.Context(), noon, hash, a.ID, noon.Add(time.Hour), gateway.AuditEntry{Who: a.ID, What: "session.begin"}))
	who, err := s.SessionAgent(t.Context(), noon.Add(time.Hour-1), hash)
	ok(t, err)
	same(t, []any{who.ID, who.Display, who.Role}, []any{a.ID, "小满", gateway.Answers})
	_, err = s.SessionAgent(t.Context(), noon.Add(time.Hour), hash)
	wants(t, err, ErrNotFound)
	who.Disabled = true
	ok(t, s.PutAgent(t.Context(), noon, who, false, gateway.AuditEntry{}))
	_, err = s.SessionAgent(t.Context(), noon, hash)
	wants(t, err, ErrNotFound)

	link := sha256.Sum256([]byte("link"))
	ok(t, s.AddLink(t.Context(), noon, link, a.ID, noon.Add(time.Minute), gateway.AuditEntry{}))
	_, err = s.TakeLink(t.Context(), noon.Add(time.Minute), link)
	wants(t, err, ErrNotFound)
	id, err := s.TakeLink(t.Context(), noon.Add(time.Minute-time.Millisecond), link)
	ok(t, err)
	same(t, id, a.ID)
	_, err = s.TakeLink(t.Context(), noon, link)
	wants(t, err, ErrNotFound) // once

	fresh, err := s.UseCode(t.Context(), noon, a.ID, 7)
	ok(t, err)
	same(t, fresh, true)
	fresh, err = s.UseCode(t.Context(), noon, a.ID, 7)
	ok(t, err)
	same(t, fresh, false)

	ok(t, s.DeleteAgent(t.Context(), noon, a.ID, gateway.AuditEntry{Who: "key_1", What: "agent.delete"}))
	wants(t, s.DeleteAgent(t.Context(), noon, a.ID, gateway.AuditEntry{}), ErrNotFound)
	page, err := s.Audit(t.Context(), "", 2)
	ok(t, err)
	defer func() { // what stays, for who looks at the database next
		b, err := s.AddAgent(t.Context(), noon, Agent{Agent: gateway.Agent{Name: "stays", Role: gateway.Views}, Secret: "GEZDGNBV"}, gateway.AuditEntry{})
		ok(t, err)
		b.Secret = "GEZDGNBV"
		ok(t, s.PutAgent(t.Context(), noon, b, false, gateway.AuditEntry{}))
		ok(t, s.BeginSession(t.Context(), noon, hash, b.ID, noon.Add(time.Hour), gateway.AuditEntry{}))
		ok(t, s.AddLink(t.Context(), noon, link, b.ID, noon.Add(time.Minute), gateway.AuditEntry{}))
		_, err = s.PutQuickReply(t.Context(), noon, "", gateway.QuickReply{Title: "发货", Text: "今天发"})
		ok(t, err)
	}()
	same(t, []any{len(page.Items), page.Items[0].What, page.Items[1].What, page.Next != ""}, []any{2, "agent.delete", "session.begin", true})
}
