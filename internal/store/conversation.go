package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// A Conversation is a follower of an account, with the ledger of their windows.
type Conversation struct {
	Account          string
	OpenID           string
	Ledger           json.RawMessage // the windows; the store does not look into it. nil: none yet
	gateway.Handling                 // who answers; read by Conversation and lists, written by SetHandling and Receive

	// The latest thing said, by either side. It is read, not written.
	LastType string          // "message.accepted", "follower.message", "follower.event"; "": nothing yet
	LastLine json.RawMessage // the message's content, or the entry's data
	LastAt   time.Time

	Desk Desk // read, too
}

const conversationQuery = `SELECT c.id, c.last_cursor, c.account, c.openid, c.ledger, f.type, f.at, coalesce(m.body, f.data, '{}'),
		c.handler, c.handler_since, c.handler_by, c.handler_kf,
		c.heard, c.heard_last, CASE WHEN c.waiting > coalesce(d.closed, 0) THEN w.at END, d.remark, d.assigned, d.tags, d.closed, d.seen
	FROM conversations c LEFT JOIN feed f ON f.cursor = c.last_cursor LEFT JOIN messages m ON m.seq = f.seq
		LEFT JOIN feed w ON w.cursor = c.waiting LEFT JOIN desk d ON d.openid = c.openid AND d.account = c.account`

// position is where a conversation stands in the list of them.
type position struct{ last, id int64 }

func scanConversation(row scanner) (Conversation, position, error) {
	var (
		c                  Conversation
		p                  position
		ledger, kind, line sql.NullString
		at, since          sql.NullInt64
		handler, by, kf    sql.NullString
		desk               deskRow
	)
	columns := append([]any{&p.id, &p.last, &c.Account, &c.OpenID, &ledger, &kind, &at, &line, &handler, &since, &by, &kf}, desk.columns()...)
	if err := row.Scan(columns...); errors.Is(err, sql.ErrNoRows) {
		return c, p, ErrNotFound
	} else if err != nil {
		return c, p, fmt.Errorf("read conversation: %w", err)
	}
	if ledger.Valid {
		c.Ledger = json.RawMessage(ledger.String)
	}
	c.Handling = gateway.Handling{Handler: gateway.Handler(handler.String), Since: timeOf(since), By: by.String, KfAccount: kf.String}
	if kind.Valid {
		c.LastType, c.LastLine, c.LastAt = kind.String, json.RawMessage(line.String), fromMS(at.Int64)
	}
	var err error
	c.Desk, err = desk.read()
	return c, p, err
}

// Conversation returns the conversation with a follower, or ErrNotFound if nothing
// was ever said and no ledger saved. The ledger is never old; what was said last
// may be a second old.
func (s *Store) Conversation(ctx context.Context, account, openid string) (Conversation, error) {
	c, _, err := scanConversation(s.row(ctx, conversationQuery+` WHERE c.openid = $1 AND c.account = $2`, openid, account))
	return c, err
}

// Present is Conversation for those who show it: what was said last is not old either.
// It waits for that, at most a second.
func (s *Store) Present(ctx context.Context, account, openid string) (Conversation, error) {
	if err := s.settle(ctx); err != nil {
		return Conversation{}, err
	}
	return s.Conversation(ctx, account, openid)
}

// Conversations lists them, the latest first, at most limit (1 to 1,000);
// accounts are those that the caller may see, none: all.
func (s *Store) Conversations(ctx context.Context, accounts []string, cursor string, limit int) (gateway.Page[Conversation], error) {
	page := gateway.Page[Conversation]{Items: []Conversation{}}
	below, err := parsePosition(cursor)
	if err != nil {
		return page, err
	}
	if err := s.settle(ctx); err != nil {
		return page, err
	}
	limit = min(max(limit, 1), largestPage)
	look := limit + 1
	if len(accounts) > 0 {
		look = mostLooked
	}
	rows, err := s.rows(ctx, conversationQuery+` WHERE (c.last_cursor, c.id) < ($1, $2) ORDER BY c.last_cursor DESC, c.id DESC LIMIT $3`,
		below.last, below.id, look)
	if err != nil {
		return page, fmt.Errorf("list conversations: %w", err)
	}
	defer rows.Close()
	looked, size := 0, 0
	for ; rows.Next(); looked++ {
		c, p, err := scanConversation(rows)
		if err != nil {
			return page, err
		}
		if len(accounts) == 0 || slices.Contains(accounts, c.Account) {
			if len(page.Items) == limit || size >= pageBytes {
				page.Next = below.String()
				return page, nil
			}
			page.Items = append(page.Items, c)
			size += len(c.LastLine) + len(c.Ledger)
		}
		below = p
	}
	if looked == mostLooked {
		page.Next = below.String()
	}
	return page, rows.Err()
}

func (p position) String() string { return formatCursor(p.last) + "." + formatCursor(p.id) }

func parsePosition(text string) (p position, err error) {
	if text == "" {
		return position{newest, newest}, nil
	}
	last, id, ok := strings.Cut(text, ".")
	if !ok || last == "" || id == "" {
		return p, ErrCursor
	}
	if p.last, err = parseCursor(last, 0); err == nil {
		p.id, err = parseCursor(id, 0)
	}
	return p, err
}

// SaveConversation replaces the ledger of a follower and appends entries to the
// feed, in one commit.
func (s *Store) SaveConversation(ctx context.Context, now time.Time, c Conversation, entries ...Entry) error {
	return s.write(ctx, now, func(t *tx) error {
		if err := t.saveConversation(&c); err != nil {
			return err
		}
		return t.append(now, entries)
	})
}

// saveConversation replaces a ledger; nil and one without ledger change nothing.
func (t *tx) saveConversation(c *Conversation) error {
	if c == nil || c.Ledger == nil {
		return nil
	}
	return t.put(`INSERT INTO conversations (openid, account, ledger) VALUES ($1, $2, $3)
		ON CONFLICT (openid, account) DO UPDATE SET ledger = excluded.ledger`, c.OpenID, c.Account, string(c.Ledger))
}

// SetHandling says who answers a follower and appends entries to the feed, in one
// commit.
func (s *Store) SetHandling(ctx context.Context, now time.Time, account, openid string, h gateway.Handling, entries ...Entry) error {
	return s.write(ctx, now, func(t *tx) error {
		if err := t.setHandling(account, openid, h); err != nil {
			return err
		}
		return t.append(now, entries)
	})
}

func (t *tx) setHandling(account, openid string, h gateway.Handling) error {
	_, err := t.exec(`INSERT INTO conversations (openid, account, handler, handler_since, handler_by, handler_kf) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (openid, account) DO UPDATE SET handler = excluded.handler, handler_since = excluded.handler_since,
			handler_by = excluded.handler_by, handler_kf = excluded.handler_kf`,
		openid, account, string(h.Handler), msOf(h.Since), h.By, h.KfAccount)
	return err
}

// A Callback is something that a follower did, as WeChat told it.
type Callback struct {
	Entry                    // Type "follower.message" or "follower.event"
	DedupeKey string         // equal on every redelivery; "": never a duplicate
	Media     []InboundMedia // files that came with it, to be fetched from WeChat

	// Ledger makes the follower's new ledger from the present one (nil: none
	// yet); nil leaves it. It runs inside the commit, perhaps twice, must depend
	// on nothing else and be quick. Not called for a duplicate.
	Ledger func(old json.RawMessage) (json.RawMessage, error)

	Handling *gateway.Handling // who answers from now on; nil: as before
	Also     []Entry           // that follow from it
}

// Receive keeps what a follower did: an entry in the feed and the new ledger, in
// one commit, unless the same was received within 24 h. WeChat may be answered
// "success" only when it returns a nil error, for a duplicate too.
func (s *Store) Receive(ctx context.Context, now time.Time, c Callback) (duplicate bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	o := &op{now: now, run: func(t *tx) (err error) {
		duplicate, err = c.run(t, now)
		return err
	}}
	s.submit(true, o)
	return duplicate, o.err
}

func (c Callback) run(t *tx, now time.Time) (duplicate bool, err error) {
	if c.DedupeKey != "" {
		var seen int64
		err := t.row(`SELECT cursor FROM callbacks_seen WHERE account = $1 AND key = $2 AND at > $3`,
			c.Account, c.DedupeKey, ms(now.Add(-CallbackLife))).Scan(&seen)
		if err == nil {
			return true, nil
		} else if !errors.Is(err, sql.ErrNoRows) {
			return false, err
		}
		if err := t.put(`DELETE FROM callbacks_seen WHERE account = $1 AND key = $2`, c.Account, c.DedupeKey); err != nil {
			return false, err
		}
	}
	if err := t.append(now, []Entry{c.Entry}); err != nil {
		return false, err
	}
	if err := t.putInbound(now, c.Account, c.OpenID, t.cursor, c.Media); err != nil {
		return false, err
	}
	if c.DedupeKey != "" {
		if err := t.put(`INSERT INTO callbacks_seen (cursor, account, key, at) VALUES ($1, $2, $3, $4)`,
			t.cursor, c.Account, c.DedupeKey, ms(now)); err != nil {
			return false, err
		}
	}
	if c.Handling != nil {
		if err := t.setHandling(c.Account, c.OpenID, *c.Handling); err != nil {
			return false, err
		}
	}
	if c.Ledger == nil {
		return false, t.append(now, c.Also)
	}
	var old sql.NullString
	err = t.row(`SELECT ledger FROM conversations WHERE openid = $1 AND account = $2`, c.OpenID, c.Account).Scan(&old)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	var present json.RawMessage
	if old.Valid {
		present = json.RawMessage(old.String)
	}
	ledger, err := c.Ledger(present)
	if err != nil {
		return false, err
	}
	if err := t.saveConversation(&Conversation{Account: c.Account, OpenID: c.OpenID, Ledger: ledger}); err != nil {
		return false, err
	}
	return false, t.append(now, c.Also)
}

// AppendTo appends an entry about what a follower did, if that, received within 24 h with
// this key, is still there; ErrNotFound else: the follower was erased.
func (s *Store) AppendTo(ctx context.Context, now time.Time, key string, e Entry) error {
	return s.write(ctx, now, func(t *tx) error {
		var there int
		if err := t.row(`SELECT count(*) FROM callbacks_seen s JOIN feed f ON f.cursor = s.cursor WHERE s.account = $1 AND s.key = $2 AND f.openid = $3`,
			e.Account, key, e.OpenID).Scan(&there); err != nil {
			return err
		} else if there == 0 {
			return ErrNotFound
		}
		return t.append(now, []Entry{e})
	})
}

// A Line is one line of a conversation: a message of ours, or what the follower did.
type Line struct {
	gateway.FeedEntry
	Message *Message // of "message.accepted", as it is now

	// Of "follower.message": the assets that its files have become, "" while WeChat
	// alone has them. Thumb is the cover of a video.
	Asset, Thumb string
}

// Timeline lists what was said in a conversation, newest first, at most limit
// (1 to 1,000): messages in the place where they were accepted, and what the
// follower did.
func (s *Store) Timeline(ctx context.Context, account, openid, cursor string, limit int) (gateway.Page[Line], error) {
	page := gateway.Page[Line]{Items: []Line{}}
	below, err := parseCursor(cursor, newest)
	if err != nil {
		return page, err
	}
	if err := s.settle(ctx); err != nil {
		return page, err
	}
	limit = min(max(limit, 1), largestPage)
	cursors, err := s.numbers(ctx, `SELECT s.cursor FROM said s JOIN conversations c ON c.id = s.conversation
		WHERE c.openid = $1 AND c.account = $2 AND s.cursor < $3 ORDER BY s.cursor DESC LIMIT $4`, openid, account, below, limit+1)
	if err != nil {
		return page, fmt.Errorf("read timeline: %w", err)
	}
	if len(cursors) > limit {
		cursors = cursors[:limit]
		page.Next = formatCursor(cursors[limit-1])
	}
	size := 0
	for _, cursor := range cursors {
		if size >= pageBytes {
			page.Next = page.Items[len(page.Items)-1].Cursor
			return page, nil
		}
		line, seq, err := scanEntry(s.row(ctx, feedQuery+` WHERE f.cursor = $1`, cursor))
		if errors.Is(err, ErrNotFound) { // pruned since
			continue
		} else if err != nil {
			return page, err
		}
		l := Line{FeedEntry: line}
		if seq != 0 {
			m, err := s.Load(ctx, seq)
			if errors.Is(err, ErrNotFound) {
				continue
			} else if err != nil {
				return page, err
			}
			l.Message, l.Data = &m, nil // which has the same content once more
			size += m.weight()
		} else if line.Type == "follower.message" {
			if l.Asset, l.Thumb, err = s.inboundAssets(ctx, cursor); err != nil {
				return page, err
			}
		}
		page.Items = append(page.Items, l)
		size += len(l.Data)
	}
	return page, nil
}
