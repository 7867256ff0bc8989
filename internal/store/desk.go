package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/kefu-go/kefu/gateway"
)

// A Desk is what the team does with a conversation.
type Desk struct {
	Remark       string
	Assigned     string // agent; "": nobody
	Tags         []string
	Unread       int
	WaitingSince time.Time // zero: nothing waits for an answer
	Closed       bool      // done with, and the follower has not written since
}

// deskRow is how a query reads a Desk.
type deskRow struct {
	heard, heardLast       int64
	waiting                sql.NullInt64
	remark, assigned, tags sql.NullString
	closed, seen           sql.NullInt64
}

func (r *deskRow) columns() []any {
	return []any{&r.heard, &r.heardLast, &r.waiting, &r.remark, &r.assigned, &r.tags, &r.closed, &r.seen}
}

func (r *deskRow) read() (d Desk, err error) {
	d = Desk{Remark: r.remark.String, Assigned: r.assigned.String, Tags: []string{}}
	d.Unread = int(max(0, r.heard-r.seen.Int64))
	d.Closed = r.closed.Int64 > r.heardLast
	if r.waiting.Valid {
		d.WaitingSince = fromMS(r.waiting.Int64)
	}
	if r.tags.Valid {
		err = json.Unmarshal([]byte(r.tags.String), &d.Tags)
	}
	return d, err
}

// A DeskChange changes what is not nil, and tells the feed of it with Entry, which may
// be all that there is: a note.
type DeskChange struct {
	Account, OpenID string
	Remark          *string
	Assigned        *string
	Expect          *string // with Assigned: who has it now; another one is [ErrTaken]
	// Fit, with Assigned to somebody, is whether that agent, as they are in the commit,
	// may have it; else it is [ErrNotFound].
	Fit   func(Agent) bool
	Tags  []string
	Close bool
	Entry *Entry
}

// ErrTaken: somebody else has the conversation.
var ErrTaken = errors.New("somebody else has the conversation")

// ChangeDesk performs a change in one commit. Giving a conversation to somebody
// opens it again. ErrNotFound if there is no such conversation, as after an erasure.
func (s *Store) ChangeDesk(ctx context.Context, now time.Time, c DeskChange) error {
	return s.write(ctx, now, func(t *tx) error {
		var there int
		if err := t.row(`SELECT count(*) FROM conversations WHERE openid = $1 AND account = $2`, c.OpenID, c.Account).Scan(&there); err != nil {
			return err
		} else if there == 0 {
			return ErrNotFound
		}
		if c.Expect != nil {
			var has string
			err := t.row(`SELECT assigned FROM desk WHERE openid = $1 AND account = $2`, c.OpenID, c.Account).Scan(&has)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			if has != *c.Expect && has != *c.Assigned {
				return ErrTaken
			}
		}
		if c.Fit != nil {
			a, err := s.scanAgent(t.row(agentQuery+` WHERE id = $1`, *c.Assigned))
			if err == nil && !c.Fit(a) {
				err = ErrNotFound
			}
			if err != nil {
				return err
			}
		}
		if _, err := t.exec(`INSERT INTO desk (openid, account) VALUES ($1, $2) ON CONFLICT (openid, account) DO NOTHING`, c.OpenID, c.Account); err != nil {
			return err
		}
		set := func(column string, value any) error {
			_, err := t.exec(`UPDATE desk SET `+column+` = $1 WHERE openid = $2 AND account = $3`, value, c.OpenID, c.Account)
			return err
		}
		var err error
		if c.Remark != nil {
			err = set("remark", *c.Remark)
		}
		if err == nil && c.Assigned != nil {
			if err = set("assigned", *c.Assigned); err == nil {
				err = set("closed", 0)
			}
		}
		if err == nil && c.Tags != nil {
			var tags json.RawMessage
			if tags, err = encode(c.Tags); err == nil {
				err = set("tags", string(tags))
			}
		}
		if err == nil && c.Entry != nil {
			err = t.append(now, []Entry{*c.Entry})
		}
		if err == nil && c.Close {
			err = set("closed", t.draw())
		}
		return err
	})
}

// HeldBy lists an agent's conversations, by account and openid.
func (s *Store) HeldBy(ctx context.Context, agent string) ([][2]string, error) {
	rows, err := s.rows(ctx, `SELECT account, openid FROM desk WHERE assigned = $1`, agent)
	if err != nil {
		return nil, fmt.Errorf("read whose conversations they are: %w", err)
	}
	defer rows.Close()
	var held [][2]string
	for rows.Next() {
		var at [2]string
		if err := rows.Scan(&at[0], &at[1]); err != nil {
			return nil, err
		}
		held = append(held, at)
	}
	return held, rows.Err()
}

// Release takes conversations from an agent in one commit, those that the entries name,
// and tells the feed with them of each that is the agent's still.
func (s *Store) Release(ctx context.Context, now time.Time, agent string, entries []Entry) error {
	return s.write(ctx, now, func(t *tx) error {
		for _, e := range entries {
			n, err := t.exec(`UPDATE desk SET assigned = '' WHERE openid = $1 AND account = $2 AND assigned = $3`, e.OpenID, e.Account, agent)
			if err == nil && n > 0 {
				err = t.append(now, []Entry{e})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Read notes that a conversation was read up to the line of that cursor. A mark
// never goes back.
func (s *Store) Read(ctx context.Context, now time.Time, account, openid, cursor string) error {
	at, err := parseCursor(cursor, 0)
	if err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	return s.write(ctx, now, func(t *tx) error {
		var heard, after int64
		err := t.row(`SELECT c.heard, (SELECT count(*) FROM said s JOIN feed f ON f.cursor = s.cursor
				WHERE s.conversation = c.id AND s.cursor > $3 AND f.type = 'follower.message')
			FROM conversations c WHERE c.openid = $1 AND c.account = $2`, openid, account, at).Scan(&heard, &after)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO desk (openid, account, seen) VALUES ($1, $2, $3)
			ON CONFLICT (openid, account) DO UPDATE SET seen = excluded.seen WHERE desk.seen < excluded.seen`, openid, account, heard-after)
		return err
	})
}

// UnknownOf counts the messages of unknown outcome by account and openid: of one
// follower, or with "" for both of everybody who has some.
func (s *Store) UnknownOf(ctx context.Context, account, openid string) (map[[2]string]int, error) {
	rows, err := s.rows(ctx, `SELECT m.account, m.openid, count(*) FROM listing l JOIN messages m ON m.seq = l.seq
		WHERE l.state = 'unknown' AND l.state <> 'sent' AND ($1 = '' OR m.openid = $1 AND m.account = $2) GROUP BY m.account, m.openid`, openid, account)
	if err != nil {
		return nil, fmt.Errorf("count the unknown: %w", err)
	}
	defer rows.Close()
	of := map[[2]string]int{}
	for rows.Next() {
		var account, openid string
		var n int
		if err := rows.Scan(&account, &openid, &n); err != nil {
			return nil, err
		}
		of[[2]string{account, openid}] = n
	}
	return of, rows.Err()
}

// Notes returns a conversation's latest notes, oldest first.
func (s *Store) Notes(ctx context.Context, account, openid string, most int) ([]gateway.Note, error) {
	rows, err := s.rows(ctx, `SELECT f.cursor, f.at, f.data FROM said s JOIN conversations c ON c.id = s.conversation JOIN feed f ON f.cursor = s.cursor
		WHERE c.openid = $1 AND c.account = $2 AND f.type = 'conversation.note' ORDER BY s.cursor DESC LIMIT $3`, openid, account, most)
	if err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	defer rows.Close()
	var notes []gateway.Note
	for rows.Next() {
		var cursor, at int64
		var data string
		var n gateway.Note
		if err := rows.Scan(&cursor, &at, &data); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(data), &n); err != nil {
			return nil, fmt.Errorf("read notes: %w", err)
		}
		n.ID, n.At = formatCursor(cursor), gateway.At(fromMS(at))
		notes = append(notes, n)
	}
	slices.Reverse(notes)
	return notes, rows.Err()
}

const (
	searchSlice = 2_000  // lines looked at in one query
	searchMost  = 50_000 // lines looked at in one call
)

// Search looks for a text, whatever its case, in what was said, the latest first:
// messages of ours, what followers sent, notes. A call looks at a bounded number of
// lines; Next goes on.
func (s *Store) Search(ctx context.Context, accounts []string, text, cursor string, limit int) (gateway.Page[gateway.Found], error) {
	page := gateway.Page[gateway.Found]{Items: []gateway.Found{}}
	below, err := parseCursor(cursor, newest)
	if err != nil {
		return page, err
	}
	if err := s.settle(ctx); err != nil {
		return page, err
	}
	limit = min(max(limit, 1), 100)
	// A line is held against the text as it stands in the database, and read only if that
	// may have it: with a backslash, since JSON may be written with escapes ("\u94f6", as
	// Python does), and all of them if databases don't agree on the case of a letter.
	pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(strings.ToLower(text)) + "%"
	if strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII && unicode.ToLower(r) != unicode.ToUpper(r) }) {
		pattern = "%"
	}
	for looked := 0; looked < searchMost; looked += searchSlice {
		// The slice is cut by the index first; only its lines are held against the text.
		var lowest sql.NullInt64
		if err := s.row(ctx, `SELECT min(cursor) FROM (SELECT cursor FROM feed WHERE cursor < $1 ORDER BY cursor DESC LIMIT $2) AS slice`, below, searchSlice).Scan(&lowest); err != nil {
			return page, fmt.Errorf("search: %w", err)
		}
		if !lowest.Valid {
			return page, nil
		}
		rows, err := s.rows(ctx, `SELECT f.cursor, f.at, f.account, f.openid, f.type, coalesce(m.body, f.data)
			FROM feed f LEFT JOIN messages m ON m.seq = f.seq
			WHERE f.cursor < $1 AND f.cursor >= $2 AND f.type IN ('message.accepted', 'follower.message', 'conversation.note')
				AND (lower(coalesce(m.body, f.data)) LIKE $3 ESCAPE '\' OR coalesce(m.body, f.data) LIKE '%\\%' ESCAPE '\')
			ORDER BY f.cursor DESC`, below, lowest.Int64, pattern)
		if err != nil {
			return page, fmt.Errorf("search: %w", err)
		}
		for rows.Next() {
			var n, at int64
			var f gateway.Found
			var data string
			if err := rows.Scan(&n, &at, &f.Account, &f.OpenID, &f.Type, &data); err != nil {
				rows.Close()
				return page, fmt.Errorf("search: %w", err)
			}
			if len(accounts) > 0 && !slices.Contains(accounts, f.Account) {
				continue
			}
			if f.Snippet = snippet(data, text); f.Snippet == "" { // only a name in the JSON
				continue
			}
			if len(page.Items) == limit {
				page.Next = page.Items[limit-1].Cursor
				rows.Close()
				return page, nil
			}
			if f.Type == "message.accepted" {
				f.Type = "message"
			}
			f.At, f.Cursor = gateway.At(fromMS(at)), formatCursor(n)
			page.Items = append(page.Items, f)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return page, fmt.Errorf("search: %w", err)
		}
		below = lowest.Int64
	}
	page.Next = formatCursor(below)
	return page, nil
}

// snippet is the part of the first text in data that has what was searched for, up
// to 80 characters; "" if no text has it.
func snippet(data, text string) string {
	var v any
	if json.Unmarshal([]byte(data), &v) != nil {
		return ""
	}
	text = strings.ToLower(text)
	var find func(v any) string
	find = func(v any) string {
		switch v := v.(type) {
		case string:
			at := strings.Index(strings.ToLower(v), text)
			if at < 0 || at > len(v) {
				return ""
			}
			before := []rune(v[:at])
			rest := []rune(v[at:])
			return string(before[max(0, len(before)-20):]) + string(rest[:min(len(rest), 60)])
		case []any:
			for _, e := range v {
				if s := find(e); s != "" {
					return s
				}
			}
		case map[string]any:
			for name, e := range v {
				if name == "touser" || name == "FromUserName" || name == "ToUserName" || name == "msgtype" {
					continue
				}
				if s := find(e); s != "" {
					return s
				}
			}
		}
		return ""
	}
	return find(v)
}

// QuickReplies returns the team's and the agent's own, by title.
func (s *Store) QuickReplies(ctx context.Context, agent string) ([]gateway.QuickReply, error) {
	rows, err := s.rows(ctx, `SELECT id, owner, title, text FROM quick_replies WHERE owner IN ('', $1) ORDER BY title, id`, agent)
	if err != nil {
		return nil, fmt.Errorf("read quick replies: %w", err)
	}
	defer rows.Close()
	all := []gateway.QuickReply{}
	for rows.Next() {
		var r gateway.QuickReply
		if err := rows.Scan(&r.ID, &r.Scope, &r.Title, &r.Text); err != nil {
			return nil, err
		}
		if r.Scope == "" {
			r.Scope = "team"
		} else {
			r.Scope = "mine"
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// PutQuickReply keeps a reply of the team (owner "") or of an agent, making an ID if
// there is none; ErrNotFound if the ID is somebody else's.
func (s *Store) PutQuickReply(ctx context.Context, now time.Time, owner string, r gateway.QuickReply) (gateway.QuickReply, error) {
	fresh := r.ID == ""
	if fresh {
		r.ID = "reply_" + rand.Text()
	}
	err := s.write(ctx, now, func(t *tx) error {
		if fresh {
			_, err := t.exec(`INSERT INTO quick_replies (id, owner, title, text) VALUES ($1, $2, $3, $4)`, r.ID, owner, r.Title, r.Text)
			return err
		}
		n, err := t.exec(`UPDATE quick_replies SET title = $1, text = $2 WHERE id = $3 AND owner = $4`, r.Title, r.Text, r.ID, owner)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
	return r, err
}

// DeleteQuickReply forgets a reply of the team (owner "") or of an agent.
func (s *Store) DeleteQuickReply(ctx context.Context, now time.Time, owner, id string) error {
	return s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`DELETE FROM quick_replies WHERE id = $1 AND owner = $2`, id, owner)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
}
