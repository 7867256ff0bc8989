package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// An Entry is a line for the feed.
type Entry struct {
	Account string
	OpenID  string // "" for those about an account
	Type    string
	Data    json.RawMessage
}

// Append appends entries to the feed ("account.paused", "token.contested", …).
// Entries about messages and callbacks come with what they tell of.
func (s *Store) Append(ctx context.Context, now time.Time, entries ...Entry) error {
	return s.write(ctx, now, func(t *tx) error { return t.append(now, entries) })
}

func (t *tx) append(now time.Time, entries []Entry) error {
	for _, e := range entries {
		var openid any
		if len(e.OpenID) > longestOpenID {
			return errOpenID
		}
		if e.OpenID != "" {
			openid = e.OpenID
		}
		if err := t.put(`INSERT INTO feed (cursor, at, account, openid, type, data) VALUES ($1, $2, $3, $4, $5, $6)`,
			t.draw(), ms(now), e.Account, openid, e.Type, nullable(e.Data)); err != nil {
			return err
		}
	}
	return nil
}

// pageBytes is about how much a page holds, of the feed and of lists: where a few large
// lines fill it, it ends early, and its next says where to go on. A key must not be able
// to exhaust the memory by asking for what it sent.
const pageBytes = 4 << 20

// feedQuery reads lines, f, with the messages, m, that they tell of.
const feedQuery = `SELECT f.cursor, f.at, f.account, f.openid, f.type, f.seq, f.attempts, f.duplicate, f.retry_at, f.data,
		f.parts_sent, m.id, m.msgtype, m.priority, m.source, m.retry_of, m.metadata, m.parts, m.author, CASE WHEN f.type = 'message.accepted' THEN m.body END
	FROM feed f LEFT JOIN messages m ON m.seq = f.seq`

// told is the data of an entry about a message: what has changed, and by what to
// know it again.
type told struct {
	ID                string           `json:"id"`
	MsgType           string           `json:"msgtype"`
	Message           json.RawMessage  `json:"message,omitempty"`
	State             gateway.State    `json:"state"`
	Priority          gateway.Priority `json:"priority"`
	RetryAt           *gateway.Time    `json:"retry_at,omitempty"`
	Attempts          int64            `json:"attempts"`
	Outcome           *gateway.Outcome `json:"outcome,omitempty"`
	PossibleDuplicate bool             `json:"possible_duplicate"`
	RetryOf           string           `json:"retry_of,omitempty"`
	Parts             int64            `json:"parts,omitempty"`
	PartsSent         int64            `json:"parts_sent,omitempty"`
	Source            gateway.Source   `json:"source"`
	By                *gateway.By      `json:"by,omitempty"`
	Metadata          json.RawMessage  `json:"metadata,omitempty"`
}

// scanEntry returns an entry and the seq of the message that it tells of, or 0.
func scanEntry(row scanner) (e gateway.FeedEntry, seq int64, err error) {
	var (
		cursor, at                                                         int64
		openid, data, msgtype, priority, source, metadata, author, content sql.NullString
		message, attempts, retryAt, sent, parts                            sql.NullInt64
		duplicate                                                          sql.NullBool
		id, retryOf                                                        []byte
	)
	if err := row.Scan(&cursor, &at, &e.Account, &openid, &e.Type, &message, &attempts, &duplicate, &retryAt, &data,
		&sent, &id, &msgtype, &priority, &source, &retryOf, &metadata, &parts, &author, &content); errors.Is(err, sql.ErrNoRows) {
		return e, 0, ErrNotFound
	} else if err != nil {
		return e, 0, fmt.Errorf("read feed: %w", err)
	}
	e.Cursor, e.At, e.OpenID = formatCursor(cursor), gateway.At(fromMS(at)), openid.String
	if !message.Valid || id == nil {
		if e.Data = json.RawMessage("{}"); data.Valid {
			e.Data = json.RawMessage(data.String)
		}
		return e, 0, nil
	}
	d := told{
		ID: formatID([16]byte(id)), MsgType: msgtype.String, State: stateOf(e.Type), Priority: gateway.Priority(priority.String),
		RetryAt: timeOf(retryAt), Attempts: attempts.Int64, PossibleDuplicate: duplicate.Bool, Source: gateway.Source(source.String),
		Parts: parts.Int64, PartsSent: sent.Int64,
	}
	if content.Valid {
		d.Message = json.RawMessage(content.String)
	}
	if metadata.Valid {
		d.Metadata = json.RawMessage(metadata.String)
	}
	if retryOf != nil {
		d.RetryOf = formatID([16]byte(retryOf))
	}
	if d.By, err = authorOf(author); err != nil {
		return e, 0, err
	}
	if d.Outcome, err = outcomeOf(data); err != nil {
		return e, 0, err
	}
	e.Data, err = encode(d)
	return e, message.Int64, err
}

// Feed returns up to limit entries (1 to 1,000), or fewer large ones, after the cursor
// ("": from the beginning of what is whole), of the given accounts (none: all), and the
// cursor to go on from, which moves also past what was not selected. Errors: ErrCursor, ErrCursorGone.
//
// The data of a "message.…" entry has the id, msgtype, state, attempts, outcome,
// retry_at, possible_duplicate, parts, parts_sent, priority, source, retry_of and
// metadata of the message as of then, and in "message.accepted" its content.
func (s *Store) Feed(ctx context.Context, cursor string, limit int, accounts []string) (entries []gateway.FeedEntry, next string, err error) {
	after, err := parseCursor(cursor, 0)
	if err != nil {
		return nil, "", err
	}
	var head, pruned int64
	if err := s.row(ctx, `SELECT cursor, (SELECT pruned FROM retention WHERE id = 1) FROM head WHERE id = 1`).Scan(&head, &pruned); err != nil {
		return nil, "", fmt.Errorf("read feed: %w", err)
	}
	if head = min(head, s.published()); after > head || cursor != "" && after < pruned {
		return nil, "", ErrCursorGone
	}
	after = max(after, pruned)
	limit = min(max(limit, 1), largestPage)
	entries = []gateway.FeedEntry{}
	rows, err := s.rows(ctx, feedQuery+` WHERE f.cursor > $1 AND f.cursor <= $2 ORDER BY f.cursor LIMIT $3`,
		after, head, max(limit, largestPage*bit(len(accounts) > 0)))
	if err != nil {
		return nil, "", fmt.Errorf("read feed: %w", err)
	}
	defer rows.Close()
	next = formatCursor(after)
	for size := 0; len(entries) < limit && size < pageBytes && rows.Next(); {
		e, _, err := scanEntry(rows)
		if err != nil {
			return nil, "", err
		}
		size += len(e.Data)
		next = e.Cursor
		if len(accounts) == 0 || slices.Contains(accounts, e.Account) {
			entries = append(entries, e)
		}
	}
	return entries, next, rows.Err()
}

// Head returns the cursor of the last entry: the place from which to follow what
// happens from now on.
func (s *Store) Head(ctx context.Context) (cursor string, err error) {
	var head int64
	if err := s.row(ctx, `SELECT cursor FROM head WHERE id = 1`).Scan(&head); err != nil {
		return "", fmt.Errorf("read feed: %w", err)
	}
	return formatCursor(min(head, s.published())), nil
}

// Entry returns the entry with this cursor, or ErrNotFound.
func (s *Store) Entry(ctx context.Context, cursor string) (gateway.FeedEntry, error) {
	at, err := parseCursor(cursor, 0)
	if err != nil {
		return gateway.FeedEntry{}, err
	}
	e, _, err := scanEntry(s.row(ctx, feedQuery+` WHERE f.cursor = $1`, at))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return e, err
}
