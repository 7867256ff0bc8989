package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

const day = 24 * time.Hour

// prune prunes until there is nothing left to forget.
func prune(t *testing.T, s *Store, at time.Time, r Retention) {
	t.Helper()
	ok(t, s.settle(t.Context()))
	for range 10_000 {
		n, err := s.Prune(t.Context(), at, r)
		ok(t, err)
		if n == 0 {
			return
		}
	}
	t.Fatal("pruning does not end")
}

// What is final goes when its last line is old enough, with all that is kept of it;
// what is not stays, however old it is, and so does whatever became final lately.
func finishedMessagesArePruned(t *testing.T, open func() *Store) {
	s := open()
	stays := map[gateway.State]Message{}
	var goes []Message
	for _, state := range gateway.States() {
		m := bring(t, s, state)
		if state.Final() {
			goes = append(goes, m)
		} else {
			stays[state] = m
		}
	}
	keyed := s.Enqueue(t.Context(), noon, hello(follower).with(func(d *Draft) { d.IdempotencyKey = "k" }))[0].Message
	lately := bring(t, s, gateway.Unknown) // and resolved after half the time
	ok(t, s.Move(t.Context(), noon.Add(45*day), Move{Seq: lately.Seq, From: gateway.Unknown, To: gateway.Sent}))
	ok(t, s.Move(t.Context(), noon.Add(45*day), Move{Seq: keyed.Seq, From: gateway.Queued, To: gateway.Canceled}))
	r := Retention{Age: 90 * day}

	prune(t, s, noon.Add(90*day-time.Millisecond), r)
	for _, m := range goes {
		same(t, now(t, s, m).State, m.State)
	}
	prune(t, s, noon.Add(90*day), r)
	for _, m := range goes {
		_, err := s.Load(t.Context(), m.Seq)
		wants(t, err, ErrNotFound)
	}
	for state, m := range stays {
		same(t, now(t, s, m).State, state)
		same(t, now(t, s, m).Message, m.Message)
	}
	same(t, now(t, s, lately).State, gateway.Sent)
	prune(t, s, noon.Add(135*day), r)
	_, err := s.Load(t.Context(), lately.Seq)
	wants(t, err, ErrNotFound)

	// No row of what is gone is left, and lists and a start work on what is there.
	for _, table := range []string{"messages", "listing"} {
		var n int
		ok(t, s.row(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
		same(t, n, len(stays))
	}
	for _, q := range []string{
		`SELECT count(*) FROM feed WHERE seq IS NOT NULL AND seq NOT IN (SELECT seq FROM messages)`,
		`SELECT count(*) FROM said WHERE cursor NOT IN (SELECT seq FROM messages)`,
		`SELECT count(*) FROM idempotency`,
	} {
		var n int
		ok(t, s.row(t.Context(), q).Scan(&n))
		same(t, n, 0)
	}
	page, err := s.Messages(t.Context(), Filter{}, "", 100)
	ok(t, err)
	same(t, len(page.Items), len(stays))
	line, err := s.Timeline(t.Context(), account, follower, "", 100)
	ok(t, err)
	same(t, len(line.Items), len(stays))
	ok(t, s.Close())
	s = open()
	n := 0
	for _, err := range s.Unfinished(t.Context()) {
		ok(t, err)
		n++
	}
	same(t, n, 2) // queued and parked
	enqueue1(t, s, hello(follower))
}

// Whatever Age says, nothing is pruned within 7 days: keys answer with their messages.
func nothingYoungIsPruned(t *testing.T, open func() *Store) {
	s := open()
	d := hello(follower).with(func(d *Draft) { d.IdempotencyKey = "k" })
	m := s.Enqueue(t.Context(), noon, d)[0].Message
	ok(t, s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Queued, To: gateway.Canceled}))
	r := Retention{Age: time.Hour}
	prune(t, s, noon.Add(LeastKept-time.Millisecond), r)
	again := s.Enqueue(t.Context(), noon.Add(LeastKept-time.Millisecond), d)[0]
	ok(t, again.Err)
	same(t, []any{again.Replayed, again.Message.ID, again.Message.State}, []any{true, m.ID, gateway.Canceled})
	prune(t, s, noon.Add(LeastKept), r)
	_, err := s.Load(t.Context(), m.Seq)
	wants(t, err, ErrNotFound)
	prune(t, s, noon.Add(1000*day), Retention{}) // for ever
	fresh := s.Enqueue(t.Context(), noon.Add(1000*day), d)[0]
	ok(t, fresh.Err)
	same(t, fresh.Replayed, false)
}

// A reader whose place is pruned is told so; one who begins anew begins where the
// feed is whole.
func prunedFeedSaysSo(t *testing.T, open func() *Store) {
	s := open()
	held := bring(t, s, gateway.Unknown) // its lines stay and make a hole
	for range 3 {
		bring(t, s, gateway.Sent)
		_, err := s.Receive(t.Context(), noon, Callback{Entry: Entry{Account: account, OpenID: follower, Type: "follower.message", Data: json.RawMessage(`{}`)}})
		ok(t, err)
	}
	end, err := s.Head(t.Context())
	ok(t, err)
	early := formatCursor(held.Seq)
	prune(t, s, noon.Add(90*day), Retention{Age: 90 * day})
	next := enqueue1(t, s, hello(follower))
	_, _, err = s.Feed(t.Context(), early, 10, nil)
	wants(t, err, ErrCursorGone)
	_, _, err = s.Feed(t.Context(), "0", 10, nil)
	wants(t, err, ErrCursorGone)
	for _, from := range []string{"", end} {
		entries, _, err := s.Feed(t.Context(), from, 10, nil)
		ok(t, err)
		same(t, len(entries), 1)
		same(t, entries[0].Cursor, formatCursor(next.Seq))
	}
	line, err := s.Timeline(t.Context(), account, follower, "", 10)
	ok(t, err)
	same(t, len(line.Items), 2) // the held one and the new one
	c, err := s.Conversation(t.Context(), account, follower)
	ok(t, err)
	same(t, c.LastType, "message.accepted")
}

// A webhook that has not come so far has the feed kept for it, for a week.
func webhooksHoldTheFeed(t *testing.T, open func() *Store) {
	s := open()
	w := hook(t, s, "wh_1")
	m := bring(t, s, gateway.Sent)
	r := Retention{Age: 90 * day}
	gone := func() bool {
		_, err := s.Load(t.Context(), m.Seq)
		return err != nil
	}
	prune(t, s, noon.Add(97*day-time.Millisecond), r)
	same(t, gone(), false)
	prune(t, s, noon.Add(97*day), r)
	same(t, gone(), true)
	m = bring(t, s, gateway.Sent)
	end, err := s.Head(t.Context())
	ok(t, err)
	ok(t, s.MoveWebhook(t.Context(), noon, w.ID, end))
	prune(t, s, noon.Add(90*day), r)
	same(t, gone(), true)
}

// Random histories, pruned at random moments: what the model says is young or not
// final is there, the rest is gone.
func pruningIsExact(t *testing.T, open func() *Store) {
	s := open()
	r := rand.New(rand.NewPCG(9, 9))
	last := map[int64]time.Time{} // of the last line, by seq
	state := map[int64]gateway.State{}
	at := noon
	for range 300 {
		at = at.Add(time.Duration(r.IntN(48)) * time.Hour)
		if r.IntN(3) > 0 || len(state) == 0 {
			k := s.Enqueue(t.Context(), at, hello(fmt.Sprint("o", r.IntN(5))))[0]
			ok(t, k.Err)
			last[k.Message.Seq], state[k.Message.Seq] = at, gateway.Queued
			continue
		}
		for seq, is := range state {
			if is == gateway.Queued {
				ok(t, s.Move(t.Context(), at, Move{Seq: seq, From: is, To: gateway.Expired}))
				last[seq], state[seq] = at, gateway.Expired
				break
			}
		}
		if r.IntN(10) == 0 {
			prune(t, s, at, Retention{Age: 30 * day})
		}
	}
	prune(t, s, at, Retention{Age: 30 * day})
	for seq, is := range state {
		_, err := s.Load(t.Context(), seq)
		if goes := is.Final() && !last[seq].After(at.Add(-30*day)); goes != (err != nil) {
			t.Errorf("message %d, %s since %v, at %v: %v", seq, is, last[seq], at, err)
		}
	}
}

// talkWith makes a conversation with everything in it that is ever kept.
func talkWith(t *testing.T, s *Store, openid, text string) (messages int) {
	ok(t, s.AddAudit(t.Context(), noon, gateway.AuditEntry{Who: "agent_1", What: "conversation.export", Target: account + "/" + openid}))
	t.Helper()
	ctx := context.Background()
	draft := hello(openid).with(func(d *Draft) {
		d.Message.Message = json.RawMessage(`{"touser":"` + openid + `","msgtype":"text","text":{"content":"` + text + `"}}`)
		d.Metadata = json.RawMessage(`{"note":"` + text + `"}`)
	})
	var first Message
	for i := range 40 {
		m := s.Enqueue(ctx, noon, draft.with(func(d *Draft) { d.IdempotencyKey = fmt.Sprint(text, i) }))[0]
		ok(t, m.Err)
		if i == 0 {
			first = m.Message
		}
	}
	ok(t, s.Begin(ctx, noon, Begin{Seq: first.Seq, Attempt: 1, Conversation: &Conversation{Account: account, OpenID: openid, Ledger: json.RawMessage(`{"says":"` + text + `"}`)}}))
	ok(t, s.Finish(ctx, noon, Finish{Seq: first.Seq, State: gateway.Failed, Outcome: &gateway.Outcome{Reason: text}, Attempt: gateway.Attempt{N: 1, At: gateway.At(noon), ErrMsg: text}}))
	for i := range 30 {
		_, err := s.Receive(ctx, noon, Callback{
			Entry:     Entry{Account: account, OpenID: openid, Type: []string{"follower.message", "follower.event"}[i%2], Data: json.RawMessage(`{"said":"` + text + `"}`)},
			DedupeKey: fmt.Sprint(openid, i),
		})
		ok(t, err)
	}
	ok(t, s.SaveConversation(ctx, noon, Conversation{Account: account, OpenID: openid, Ledger: json.RawMessage(`{"now":"` + text + `"}`)},
		Entry{Account: account, OpenID: openid, Type: "conversation.changed", Data: json.RawMessage(`{"by":"` + text + `"}`)},
		Entry{Account: account, OpenID: openid, Type: "conversation.answered", Data: json.RawMessage(`{"msgtype":"text","content":"` + text + `"}`)},
		Entry{Account: account, OpenID: openid, Type: "another.kind", Data: json.RawMessage(`{"by":"` + text + `"}`)}))
	// A picture that the follower sent, and what the team noted.
	photo := sha256.Sum256([]byte(text))
	ok(t, s.write(ctx, noon, func(t *tx) error {
		content := t.draw()
		for _, q := range []statement{
			{`INSERT INTO assets (account, hash, content, bytes, facts, created_at) VALUES ($1, $2, $3, 5, '{}', 0)`, []any{account, photo[:], content}},
			{`INSERT INTO chunks (content, n, data) VALUES ($1, 0, $2)`, []any{content, []byte("photo of " + text)}},
			{`INSERT INTO asset_totals (account, bytes) VALUES ($1, 5) ON CONFLICT (account) DO UPDATE SET bytes = asset_totals.bytes + 5`, []any{account}},
			{`INSERT INTO inbound_media (cursor, n, account, openid, media_id, kind, at, tries, hash) SELECT max(cursor), 0, $1, $2, 'm', 'image', 0, 0, $3 FROM feed WHERE openid = $2 AND type = 'follower.message'`,
				[]any{account, openid, photo[:]}},
			{`INSERT INTO desk (openid, account, remark, assigned, tags) VALUES ($1, $2, $3, 'agent_1', '["' || $3 || '"]')`, []any{openid, account, text}},
		} {
			if err := t.put(q.text, q.args...); err != nil {
				return err
			}
		}
		return nil
	}))
	since := gateway.At(noon)
	ok(t, s.SetHandling(ctx, noon, account, openid, gateway.Handling{Handler: gateway.ByAgent, Since: &since, By: text}))
	w := hook(t, s, "wh_"+text[:3])
	told := gateway.WebhookAttempt{WebhookID: "x", Type: "message.sent", Account: account, OpenID: openid, Error: text}
	ok(t, s.Tried(ctx, noon, Delivery{Webhook: w.ID, Cursor: formatCursor(first.Seq), Account: account, OpenID: openid, State: Delivered, FirstAt: noon, NextAt: noon}, told))
	return 40
}

// What is exported is everything, and after an erasure nothing is there, of nobody
// else anything is missing, and only the hash tells of it.
func erasedConversationsAreGone(t *testing.T, open func() *Store) {
	s := open()
	n := talkWith(t, s, follower, "geheim-7291")
	talkWith(t, s, "oOther", "other-words")
	var lines, messages, attempts int
	var about gateway.Exported // the first line
	for e, err := range s.Export(t.Context(), account, follower) {
		ok(t, err)
		if lines++; lines == 1 {
			about = e
		}
		if e.Type == "message" {
			messages++
			attempts += len(e.Attempts)
		}
	}
	same(t, []int{lines, messages, attempts}, []int{1 + n + 30 + 3, n, 1})
	same(t, []any{about.Remark, about.Tags, about.Assigned, about.Handling.By}, []any{"geheim-7291", []string{"geheim-7291"}, "agent_1", "geheim-7291"})
	for _, err := range s.Export(t.Context(), account, "oNobody") {
		wants(t, err, ErrNotFound)
	}

	gone, err := s.Erase(t.Context(), noon.Add(time.Hour), account, follower)
	ok(t, err)
	same(t, []int{gone.Messages, gone.Lines}, []int{n, 33})
	for _, err := range s.Export(t.Context(), account, follower) {
		wants(t, err, ErrNotFound)
	}
	for _, q := range []string{
		`SELECT count(*) FROM messages WHERE openid = $1`,
		`SELECT count(*) FROM feed WHERE openid = $1`,
		`SELECT count(*) FROM conversations WHERE openid = $1`,
		`SELECT count(*) FROM deliveries WHERE openid = $1`,
		`SELECT count(*) FROM inbound_media WHERE openid = $1`,
		`SELECT count(*) FROM desk WHERE openid = $1`,
		`SELECT count(*) FROM assets WHERE hash NOT IN (SELECT hash FROM inbound_media) AND $1 = $1`,
		`SELECT count(*) FROM chunks WHERE content NOT IN (SELECT content FROM assets) AND $1 = $1`,
		`SELECT count(*) FROM audit WHERE target LIKE '%' || $1 || '%'`,
		`SELECT count(*) FROM webhook_attempts WHERE data LIKE '%"openid":"' || $1 || '"%'`,
		`SELECT count(*) FROM idempotency WHERE seq NOT IN (SELECT seq FROM messages) AND $1 = $1`,
		`SELECT count(*) FROM listing WHERE seq NOT IN (SELECT seq FROM messages) AND $1 = $1`,
		`SELECT count(*) FROM callbacks_seen WHERE cursor NOT IN (SELECT cursor FROM feed) AND $1 = $1`,
		`SELECT count(*) FROM said WHERE conversation NOT IN (SELECT id FROM conversations) AND $1 = $1`,
	} {
		var n int
		ok(t, s.row(t.Context(), q, follower).Scan(&n))
		if n != 0 {
			t.Errorf("%d rows are left: %s", n, q)
		}
	}
	record, err := s.Audit(t.Context(), "", 10) // who exported it is known still
	ok(t, err)
	same(t, []any{len(record.Items), record.Items[0].Target, record.Items[1].Target}, []any{2, account + "/oOther", ""})
	lines = 0
	for _, err := range s.Export(t.Context(), account, "oOther") {
		ok(t, err)
		lines++
	}
	same(t, lines, 1+40+30+3)
	_, err = s.Erase(t.Context(), noon.Add(2*time.Hour), account, follower) // there is nothing: no error
	ok(t, err)
	ok(t, s.Close())
	s = open()
	list, err := s.Erasures(t.Context(), nil, 10)
	ok(t, err)
	same(t, len(list), 1)
	same(t, []any{list[0].Account, list[0].Hash, list[0].At}, []any{account, gone.Hash, gateway.At(noon.Add(2 * time.Hour))})
	list, err = s.Erasures(t.Context(), []string{"wxother"}, 10)
	ok(t, err)
	same(t, len(list), 0)
	enqueue1(t, s, hello(follower)) // life goes on
}

// No byte of the file has what was erased, though nothing was vacuumed and the
// store is open.
func TestErasedBytesAreGone(t *testing.T) {
	folder := t.TempDir()
	s := open(t, filepath.Join(folder, "kefu.db"), Options{})
	const openid, text = "oSecretFollower", "geheim-7291"
	talkWith(t, s, "oOther", "other-words")
	talkWith(t, s, openid, text)
	talkWith(t, s, "oThird", "third-words")
	ok(t, s.settle(t.Context()))
	found := func(what string) (in []string) {
		files, err := os.ReadDir(folder)
		ok(t, err)
		for _, f := range files {
			b, err := os.ReadFile(filepath.Join(folder, f.Name()))
			ok(t, err)
			if strings.Contains(string(b), what) {
				in = append(in, f.Name())
			}
		}
		return in
	}
	if len(found(openid)) == 0 || len(found(text)) == 0 {
		t.Fatal("the test can't see what is there")
	}
	_, err := s.Erase(t.Context(), noon, account, openid)
	ok(t, err)
	for _, what := range []string{openid, text} {
		if in := found(what); in != nil {
			t.Errorf("%s is still in %v", what, in)
		}
	}
	if len(found("other-words")) == 0 || len(found("third-words")) == 0 {
		t.Error("the others' words are gone")
	}
}

// Above its size the database loses the oldest that are finished and older than 7
// days, and gives the space back; below it, nothing.
func TestSizeIsHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{})
	long := hello(follower).with(func(d *Draft) {
		d.Message.Message = json.RawMessage(`{"touser":"o","msgtype":"text","text":{"content":"` + strings.Repeat("x", 2000) + `"}}`)
	})
	var all []Message
	for i := range 20 {
		at := noon.Add(time.Duration(i) * day)
		drafts := make([]Draft, 100)
		for j := range drafts {
			drafts[j] = long
		}
		for _, k := range s.Enqueue(t.Context(), at, drafts...) {
			ok(t, k.Err)
			ok(t, s.Move(t.Context(), at, Move{Seq: k.Message.Seq, From: gateway.Queued, To: gateway.Canceled}))
			all = append(all, k.Message)
		}
	}
	at := noon.Add(20 * day)
	used := func() int64 {
		n, err := s.dialect.used(t.Context(), s.reader)
		ok(t, err)
		return n
	}
	ok(t, s.settleWholly(t.Context())) // else the views grow while it is measured
	full := used()
	prune(t, s, at, Retention{Size: full})
	same(t, now(t, s, all[0]).Seq, all[0].Seq)
	prune(t, s, at, Retention{Size: full * 3 / 4})
	if n := used(); n > full*3/4 || n < full/2 {
		t.Errorf("%d bytes are used of %d, want about three quarters", n, full)
	}
	_, err := s.Load(t.Context(), all[0].Seq)
	wants(t, err, ErrNotFound)
	same(t, now(t, s, all[len(all)-1]).State, gateway.Canceled)
	prune(t, s, at, Retention{Size: 1})
	left, err := s.Messages(t.Context(), Filter{}, "", 1000)
	ok(t, err)
	if n := len(left.Items); n < 600 || n > 700 { // those of the last 7 days
		t.Errorf("%d messages are left, want those of 7 days", n)
	}
	ok(t, s.Close())
	info, err := os.Stat(path)
	ok(t, err)
	if info.Size() > full*6/10 {
		t.Errorf("the file has %d bytes of %d: space was not given back", info.Size(), full)
	}
}

// An erasure that comes right after something was said does not miss it, however far
// behind the views are.
func erasureWaitsForTheViews(t *testing.T, open func() *Store) {
	s := open()
	m := enqueue1(t, s, hello(follower))
	ok(t, s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Queued, To: gateway.Canceled}))
	go s.between(t.Context(), func(context.Context, *sql.Conn) error { // the writer is busy
		time.Sleep(viewWait + 100*time.Millisecond)
		return nil
	})
	time.Sleep(20 * time.Millisecond)
	gone, err := s.Erase(t.Context(), noon, account, follower)
	ok(t, err)
	same(t, gone.Messages, 1)
	same(t, count(t, s, "messages"), 0)
}

// What the team does with a follower while they are erased goes, too, whenever that is;
// afterwards there is nobody with whom it could do anything.
func theTeamBringsNobodyBack(t *testing.T, open func() *Store) {
	s := open()
	note := DeskChange{Account: account, OpenID: follower, Entry: &Entry{Account: account, OpenID: follower, Type: "conversation.note", Data: json.RawMessage(`{"text":"geheim"}`)}}
	erase := func() (int, error) {
		gone, err := s.Erase(t.Context(), noon, account, follower)
		return gone.Lines, err
	}
	for _, first := range []string{"note", "erasure"} {
		says(t, s, follower, "hi")
		ok(t, s.settleWholly(t.Context()))
		free, busy := make(chan struct{}), make(chan struct{})
		go s.between(t.Context(), func(context.Context, *sql.Conn) error { // so that both are in one commit
			close(busy)
			<-free
			return nil
		})
		<-busy
		noted, erased, lines := make(chan error, 1), make(chan error, 1), 0
		begin := map[string]func(){
			"note":    func() { noted <- s.ChangeDesk(t.Context(), noon, note) },
			"erasure": func() { n, err := erase(); lines = n; erased <- err },
		}
		go begin[first]()
		time.Sleep(20 * time.Millisecond)
		delete(begin, first)
		for _, second := range begin {
			go second()
		}
		time.Sleep(20 * time.Millisecond)
		close(free)
		ok(t, <-noted)
		ok(t, <-erased)
		ok(t, s.settleWholly(t.Context()))
		var left int
		ok(t, s.row(t.Context(), `SELECT (SELECT count(*) FROM feed WHERE openid = $1) + (SELECT count(*) FROM desk) + (SELECT count(*) FROM said)`, follower).Scan(&left))
		same(t, []any{first, left, lines}, []any{first, 0, 2})
	}
	remark, nobody := "Mr Wang", ""
	for name, c := range map[string]DeskChange{
		"note": note, "remark": {Remark: &remark}, "tags": {Tags: []string{"x"}}, "assigned": {Assigned: &nobody}, "closed": {Close: true},
	} {
		c.Account, c.OpenID, c.Entry = account, follower, note.Entry
		if err := s.ChangeDesk(t.Context(), noon, c); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s of one who was erased: %v", name, err)
		}
	}
	same(t, []any{count(t, s, "feed"), count(t, s, "desk")}, []any{0, 0})
}

// What follows from something that a follower did is kept with it, and not without it.
func whatFollowsGoesWithItsCause(t *testing.T, open func() *Store) {
	s := open()
	receive := func(openid, key string) {
		_, err := s.Receive(t.Context(), noon, Callback{
			Entry: Entry{Account: account, OpenID: openid, Type: "follower.message", Data: json.RawMessage(`{}`)}, DedupeKey: key,
			Ledger: func(json.RawMessage) (json.RawMessage, error) { return json.RawMessage(`{}`), nil },
		})
		ok(t, err)
	}
	answer := func(openid, key string) error {
		return s.AppendTo(t.Context(), noon, key, Entry{Account: account, OpenID: openid, Type: "conversation.answered", Data: json.RawMessage(`{}`)})
	}
	receive(follower, "k1")
	receive("", "k2") // about the account
	ok(t, answer(follower, "k1"))
	wants(t, answer(follower, "k2"), ErrNotFound)
	wants(t, answer(follower, "k3"), ErrNotFound)
	wants(t, answer("oOther", "k1"), ErrNotFound)
	_, err := s.Erase(t.Context(), noon, account, follower)
	ok(t, err)
	wants(t, answer(follower, "k1"), ErrNotFound)
	receive(follower, "k4") // they come back; what was asked before is answered no more
	wants(t, answer(follower, "k1"), ErrNotFound)
	ok(t, answer(follower, "k4"))
}

// While somebody reads the file for long, an erasure waits, and nobody else does.
func TestErasingStopsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{})
	talkWith(t, s, follower, "geheim-7291")
	reader, err := sql.Open("sqlite", path)
	ok(t, err)
	defer reader.Close()
	read, err := reader.Begin()
	ok(t, err)
	var n int
	ok(t, read.QueryRow(`SELECT count(*) FROM feed`).Scan(&n))
	done := make(chan error, 1)
	go func() {
		_, err := s.Erase(t.Context(), noon, account, follower)
		done <- err
	}()
	for began := time.Now(); time.Since(began) < 500*time.Millisecond; {
		asked := time.Now()
		enqueue1(t, s, hello("oOther"))
		if took := time.Since(asked); took > time.Second {
			t.Errorf("a message took %v", took)
		}
	}
	select {
	case err := <-done:
		t.Fatalf("the erasure ended while the log was read: %v", err)
	default:
	}
	ok(t, read.Rollback())
	ok(t, <-done)
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		ok(t, err)
		if strings.Contains(string(b), "geheim-7291") {
			t.Errorf("the text is still in the file%s", suffix)
		}
	}
}

// Above the size what URLs led to goes before history does; where files that stay are
// above it alone, no history goes in vain.
func TestFilesGoBeforeHistory(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "kefu.db"), Options{})
	var all []Message
	for range 20 {
		m := enqueue1(t, s, hello(follower))
		ok(t, s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Queued, To: gateway.Canceled}))
		all = append(all, m)
	}
	used := func() int64 {
		n, err := s.dialect.used(t.Context(), s.reader)
		ok(t, err)
		return n
	}
	left := func() int {
		page, err := s.Messages(t.Context(), Filter{}, "", 100)
		ok(t, err)
		return len(page.Items)
	}
	large := strings.Repeat("x", 1<<20)
	old, young := keepFile(t, s, FromURL, noon, large+"old"), keepFile(t, s, FromURL, noon.Add(2*day), large+"young")
	later := noon.Add(8 * day)
	prune(t, s, later, Retention{Size: used() - 1<<19})
	same(t, []any{isThere(t, s, old), isThere(t, s, young), left()}, []any{false, true, len(all)})
	stays := keepFile(t, s, ByHand, noon, large)
	prune(t, s, later, Retention{Size: 1 << 20})
	same(t, []any{isThere(t, s, young), isThere(t, s, stays), left()}, []any{true, true, len(all)})
	ok(t, s.DeleteAsset(t.Context(), noon, account, stays))
	prune(t, s, later, Retention{Size: used() - 1})
	same(t, []any{isThere(t, s, young), left()}, []any{true, 0})
}

// An erasure that can't know what there is to erase fails, and so does an export.
func TestErasureSaysWhenItCannotSee(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, filepath.Join(t.TempDir(), "kefu.db"), Options{})
		defer s.Close()
		enqueue1(t, s, hello(follower)) // the views come to it in a moment
		s.report(errors.New("disk full"))
		_, err := s.Erase(t.Context(), noon, account, follower)
		wants(t, err, ErrUnavailable)
		for _, err := range s.Export(t.Context(), account, follower) {
			wants(t, err, ErrUnavailable)
		}
	})
}
