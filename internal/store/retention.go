package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// A Retention says what is kept. Whatever it says, a message that is not final
// (unknown ones too) stays, and so do the ledgers of followers, and everything that
// is younger than [LeastKept].
type Retention struct {
	Age  time.Duration // finished messages, the feed and what URLs led to are kept for so long; 0: for ever
	Size int64         // bytes of the database above which the oldest of them go, files first, SQLite only; 0: no limit
}

// LeastKept is the age up to which nothing is pruned: idempotency keys live as long,
// and answer with their messages.
const LeastKept = 7 * 24 * time.Hour

const idempotencyLife = LeastKept

// CallbackLife is how long a callback is known again.
const CallbackLife = 24 * time.Hour

// A prunable is a kind of rows that are kept for a time only. sweep deletes some of
// those that are older, few enough for a commit that nobody notices, and returns how
// many.
type prunable struct {
	kind  string
	sweep func(ctx context.Context, s *Store, now time.Time, r Retention) (int64, error)
}

// prunables is everything that is ever pruned, apart from what an account, a webhook
// and the like take with them.
var prunables = []prunable{
	{"idempotency keys", oldest(`DELETE FROM idempotency WHERE seq IN
		(SELECT seq FROM (SELECT seq, at FROM idempotency ORDER BY seq LIMIT 1000) AS oldest WHERE at <= $1)`, idempotencyLife)},
	{"callbacks seen", oldest(`DELETE FROM callbacks_seen WHERE cursor IN
		(SELECT cursor FROM (SELECT cursor, at FROM callbacks_seen ORDER BY cursor LIMIT 1000) AS oldest WHERE at <= $1)`, CallbackLife)},
	{"token events", oldest(`DELETE FROM token_events WHERE id IN
		(SELECT id FROM (SELECT id, at FROM token_events ORDER BY id LIMIT 1000) AS oldest WHERE at <= $1)`, tokenEventLife)},
	{"files and history", func(ctx context.Context, s *Store, now time.Time, r Retention) (int64, error) {
		if n, err := pruneFetched(ctx, s, now, r); n > 0 || err != nil {
			return n, err
		}
		return pruneHistory(ctx, s, now, r)
	}},
}

// oldest sweeps with one statement, of which $1 is the latest time that has to go.
func oldest(q string, life time.Duration) func(context.Context, *Store, time.Time, Retention) (int64, error) {
	return func(ctx context.Context, s *Store, now time.Time, _ Retention) (n int64, err error) {
		err = s.write(ctx, now, func(t *tx) (err error) {
			n, err = t.exec(q, ms(now.Add(-life)))
			return err
		})
		return n, err
	}
}

// Prune forgets a slice of what is older than it is kept: idempotency keys after 7
// days, callbacks that were seen after 24 h, token events after 90 days, history and
// what URLs led to as r says, files that nothing holds. When nothing is left to forget
// it gives a slice of the space back to the file system. It returns how many rows,
// files or pages that were; call it, with pauses, until that is 0.
func (s *Store) Prune(ctx context.Context, now time.Time, r Retention) (int, error) {
	var gone int64
	for _, p := range prunables {
		n, err := p.sweep(ctx, s, now, r)
		if err != nil {
			return 0, fmt.Errorf("prune %s: %w", p.kind, err)
		}
		gone += n
	}
	if gone == 0 {
		err := s.between(ctx, func(ctx context.Context, conn *sql.Conn) (err error) {
			gone, err = s.dialect.giveBack(ctx, conn)
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("give space back: %w", err)
		}
	}
	if gone == 0 { // last, for it looks through all files
		n, err := s.dropLoose(ctx, now, "")
		if err != nil {
			return 0, fmt.Errorf("prune files: %w", err)
		}
		gone = int64(n)
	}
	return int(gone), nil
}

// neededQuery is the place in the feed up to which every webhook has it; NULL: there
// is none.
const neededQuery = `SELECT min(cursor) FROM (
	SELECT min(cursor) AS cursor FROM webhooks WHERE enabled = 1
	UNION ALL SELECT min(cursor) - 1 FROM deliveries WHERE state = 'pending'
	UNION ALL SELECT min(cursor) FROM replays) AS places`

// webhookPatience is how much longer than others a line is kept that a webhook still needs.
const webhookPatience = 7 * 24 * time.Hour

// historySlice is how many lines of the feed one commit looks at: some milliseconds.
const historySlice = 400

// pruneHistory goes through the feed from its beginning. What a follower did goes
// when its line is reached, a message with all its lines when the one by which it
// became final is: lines of messages that are not final stay behind.
func pruneHistory(ctx context.Context, s *Store, now time.Time, r Retention) (int64, error) {
	before, err := s.historyEnd(ctx, now, r)
	if err != nil || before.IsZero() {
		return 0, err
	}
	s.mu.Lock()
	viewed := s.viewed // the views may still want to read the lines after it
	s.mu.Unlock()
	pruned, err := s.pruned(ctx)
	if err != nil {
		return 0, err
	}
	var needed sql.NullInt64
	if err := s.row(ctx, neededQuery).Scan(&needed); err != nil {
		return 0, err
	}
	rows, err := s.rows(ctx, `SELECT cursor, at, account, openid, type, seq FROM feed WHERE cursor > $1 AND cursor <= $2 ORDER BY cursor LIMIT $3`,
		pruned, viewed, historySlice)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	to, looked := pruned, 0
	var over []int64       // messages
	var done []pointOfTalk // by followers
	for ; rows.Next(); looked++ {
		var (
			p      pointOfTalk
			at     int64
			openid sql.NullString
			kind   string
			seq    sql.NullInt64
		)
		if err := rows.Scan(&p.cursor, &at, &p.account, &openid, &kind, &seq); err != nil {
			return 0, err
		}
		if at > ms(before) || needed.Valid && p.cursor > needed.Int64 && at > ms(before.Add(-webhookPatience)) {
			break
		}
		to = p.cursor
		switch {
		case seq.Valid && stateOf(kind).Final():
			over = append(over, seq.Int64)
		case !seq.Valid && openid.Valid:
			p.openid = openid.String
			done = append(done, p)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || looked == 0 || to == pruned {
		return 0, err
	}
	err = s.write(ctx, now, func(t *tx) error {
		for _, p := range done {
			if err := t.unsay(p); err != nil {
				return err
			}
		}
		for _, seq := range over {
			if err := t.forget(seq); err != nil {
				return err
			}
		}
		if err := t.put(`DELETE FROM feed WHERE cursor > $1 AND cursor <= $2 AND seq IS NULL`, pruned, to); err != nil {
			return err
		}
		return t.put(`UPDATE retention SET pruned = $1 WHERE id = 1`, to)
	})
	return int64(looked), err
}

// historyEnd is the time of the latest line that may go; zero: none may.
func (s *Store) historyEnd(ctx context.Context, now time.Time, r Retention) (before time.Time, err error) {
	if r.Age > 0 {
		before = now.Add(-max(r.Age, LeastKept))
	}
	if r.Size > 0 {
		used, err := s.dialect.used(ctx, s.reader)
		if err != nil {
			return before, err
		}
		var files int64
		if err := s.row(ctx, `SELECT coalesce(sum(bytes), 0) FROM asset_totals`).Scan(&files); err != nil {
			return before, err
		}
		// Where files alone are above it, no history that goes brings it below.
		if least := now.Add(-LeastKept); used > r.Size && files < r.Size {
			before = least
		}
	}
	return before, nil
}

// A pointOfTalk is a line about something that a follower did.
type pointOfTalk struct {
	cursor          int64
	account, openid string
}

// unsay takes a line out of its timeline, with what is known of files that came in it.
func (t *tx) unsay(p pointOfTalk) error {
	if err := t.forgetInbound(p.cursor); err != nil {
		return err
	}
	return t.put(`DELETE FROM said WHERE cursor = $1 AND conversation = (SELECT id FROM conversations WHERE openid = $2 AND account = $3)`,
		p.cursor, p.openid, p.account)
}

// forgetInbound deletes what is known of the files in a follower's message. The files
// themselves go when nothing else holds them, see dropLoose.
func (t *tx) forgetInbound(cursor int64) error {
	if err := t.put(`DELETE FROM media_ids WHERE (account, media_id) IN
		(SELECT account, media_id FROM inbound_media WHERE cursor = $1 AND hash IS NOT NULL)`, cursor); err != nil { // the follower's own
		return err
	}
	return t.put(`DELETE FROM inbound_media WHERE cursor = $1`, cursor)
}

// forget deletes a message with all that is kept of it.
func (t *tx) forget(seq int64) error {
	for _, q := range []string{
		`DELETE FROM said WHERE cursor = $1 AND conversation = (SELECT c.id FROM conversations c JOIN messages m ON m.openid = c.openid AND m.account = c.account WHERE m.seq = $1)`,
		`DELETE FROM feed WHERE seq = $1`,
		`DELETE FROM listing WHERE seq = $1`,
		`DELETE FROM idempotency WHERE seq = $1`,
		`DELETE FROM messages WHERE seq = $1`,
	} {
		if err := t.put(q, seq); err != nil {
			return err
		}
	}
	delete(t.lines, seq)
	return nil
}

// pruned is the cursor up to which the feed is no longer whole.
func (s *Store) pruned(ctx context.Context) (cursor int64, err error) {
	err = s.row(ctx, `SELECT pruned FROM retention WHERE id = 1`).Scan(&cursor)
	return cursor, err
}
