package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A Webhook is an endpoint with what signs for it.
type Webhook struct {
	gateway.Webhook // without Secret
	Secret          kefu.Secret
	OldSecret       kefu.Secret // signs besides, until OldUntil; "": none
	OldUntil        time.Time
}

// AddWebhook makes an endpoint; FailingSince (none) and CreatedAt (now) are not w's. It
// returns the endpoint as it is then, as the two that follow do.
func (s *Store) AddWebhook(ctx context.Context, now time.Time, w Webhook) (kept Webhook, err error) {
	cursor, err := parseCursor(w.Cursor, 0)
	if err != nil {
		return kept, err
	}
	text, err := settingsOf(w.Webhook)
	if err != nil {
		return kept, err
	}
	err = s.write(ctx, now, func(t *tx) error {
		err := t.put(`INSERT INTO webhooks (id, settings, secret, enabled, because, cursor, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			w.ID, text, s.sealed(w.ID, "webhook", w.Secret), bit(w.Enabled), w.Because, cursor, ms(now))
		if err == nil {
			kept, err = s.webhookIn(t, w.ID)
		}
		return err
	})
	return kept, err
}

// ChangeWebhook replaces the settings of an endpoint, or returns ErrNotFound. Its secrets
// and its Cursor stay; one that is enabled again has not failed. may, unless nil, is asked
// about the settings that it has, in the transaction; its error ends that.
func (s *Store) ChangeWebhook(ctx context.Context, now time.Time, w gateway.Webhook, may func(stored gateway.Webhook) error) (kept Webhook, err error) {
	text, err := settingsOf(w)
	if err != nil {
		return kept, err
	}
	err = s.write(ctx, now, func(t *tx) error {
		stored, err := s.webhookIn(t, w.ID)
		if err == nil && may != nil {
			err = may(stored.Webhook)
		}
		if err == nil {
			err = t.put(`UPDATE webhooks SET settings = $1, enabled = $2, because = $3, failing_since = NULL WHERE id = $4`, text, bit(w.Enabled), w.Because, w.ID)
		}
		if err == nil {
			kept, err = s.webhookIn(t, w.ID)
		}
		return err
	})
	return kept, err
}

// settingsOf is what is kept of an endpoint as one text.
func settingsOf(w gateway.Webhook) (string, error) {
	w.Secret, w.Cursor, w.Because, w.FailingSince, w.Warnings = "", "", "", nil, nil
	text, err := encode(w)
	if err != nil {
		return "", fmt.Errorf("put webhook: %w", err)
	}
	return string(text), nil
}

// RotateWebhook gives an endpoint another secret, or returns ErrNotFound. The one that it
// has signs besides until then; zero: no more.
func (s *Store) RotateWebhook(ctx context.Context, now time.Time, id string, secret kefu.Secret, until time.Time) (kept Webhook, err error) {
	q, args := `UPDATE webhooks SET old_secret = NULL, old_until = NULL, secret = $1 WHERE id = $2`, []any{s.sealed(id, "webhook", secret), id}
	if !until.IsZero() {
		q, args = `UPDATE webhooks SET old_secret = secret, old_until = $3, secret = $1 WHERE id = $2`, append(args, ms(until))
	}
	err = s.write(ctx, now, func(t *tx) error {
		err := t.put(q, args...)
		if err == nil {
			kept, err = s.webhookIn(t, id)
		}
		return err
	})
	return kept, err
}

// webhookIn is Webhook in a transaction.
func (s *Store) webhookIn(t *tx, id string) (Webhook, error) {
	return s.scanWebhook(t.row(webhookQuery+` WHERE id = $1`, id))
}

const webhookQuery = `SELECT id, settings, secret, old_secret, old_until, enabled, because, cursor, failing_since, created_at FROM webhooks`

func (s *Store) scanWebhook(row scanner) (w Webhook, err error) {
	var (
		settings              string
		secret, old           []byte
		until, failing        sql.NullInt64
		id, because           string
		enabled, cursor, made int64
	)
	if err := row.Scan(&id, &settings, &secret, &old, &until, &enabled, &because, &cursor, &failing, &made); errors.Is(err, sql.ErrNoRows) {
		return w, ErrNotFound
	} else if err != nil {
		return w, fmt.Errorf("read webhook: %w", err)
	}
	if err := json.Unmarshal([]byte(settings), &w.Webhook); err != nil {
		return w, fmt.Errorf("read webhook %s: %w", id, err)
	}
	w.ID, w.Enabled, w.Because, w.Cursor = id, enabled != 0, because, formatCursor(cursor)
	w.FailingSince, w.CreatedAt = timeOf(failing), gateway.At(fromMS(made))
	if until.Valid {
		w.OldUntil = fromMS(until.Int64)
	}
	if w.Secret, err = s.seals.open(secret, id+" webhook"); err != nil {
		return w, err
	}
	w.OldSecret, err = s.seals.open(old, id+" webhook")
	return w, err
}

// Webhook returns an endpoint with its secrets, or ErrNotFound.
func (s *Store) Webhook(ctx context.Context, id string) (Webhook, error) {
	return s.scanWebhook(s.row(ctx, webhookQuery+` WHERE id = $1`, id))
}

// Webhooks returns every endpoint with its secrets, oldest first.
func (s *Store) Webhooks(ctx context.Context) ([]Webhook, error) {
	rows, err := s.rows(ctx, webhookQuery+` ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("read webhooks: %w", err)
	}
	defer rows.Close()
	all := []Webhook{}
	for rows.Next() {
		w, err := s.scanWebhook(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	return all, rows.Err()
}

// DeleteWebhook forgets an endpoint, or returns ErrNotFound. Its deliveries and attempts
// go with time, see [Store.PruneWebhooks]: there may be millions.
func (s *Store) DeleteWebhook(ctx context.Context, now time.Time, id string) error {
	return s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`DELETE FROM webhooks WHERE id = $1`, id)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		if err == nil {
			_, err = t.exec(`DELETE FROM replays WHERE webhook = $1`, id)
		}
		return err
	})
}

// DisableWebhook ends the tries of an endpoint until it is enabled again, and appends
// entries to the feed, in one commit. One that is disabled already stays as it is.
func (s *Store) DisableWebhook(ctx context.Context, now time.Time, id, because string, entries ...Entry) error {
	return s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`UPDATE webhooks SET enabled = 0, because = $1 WHERE id = $2 AND enabled = 1`, because, id)
		if err != nil || n == 0 {
			return err
		}
		return t.append(now, entries)
	})
}

// MoveWebhook writes down how far an endpoint has come. It must not be moved past an
// entry that is not in deliveries.
func (s *Store) MoveWebhook(ctx context.Context, now time.Time, id, cursor string) error {
	at, err := parseCursor(cursor, 0)
	if err != nil {
		return err
	}
	return s.write(ctx, now, func(t *tx) error {
		_, err := t.exec(`UPDATE webhooks SET cursor = $1 WHERE id = $2 AND cursor < $1`, at, id)
		return err
	})
}

// The states of a delivery.
const (
	Pending   = "pending"   // another try comes
	Delivered = "delivered" // the endpoint has it
	GivenUp   = "failed"    // no more tries
)

// A Delivery is what became of an entry of the feed at an endpoint.
type Delivery struct {
	Webhook    string
	Cursor     string // of the entry
	Account    string
	OpenID     string // "": it is about the account
	State      string
	Tries      int
	FirstAt    time.Time // of the first try
	NextAt     time.Time // of the next one, while pending
	OutOfOrder bool
	Answered   bool // the answer in a response was taken
	Unwanted   bool // given up, and no fault of the endpoint: its settings leave the entry out by now; it is not read
}

// Tried keeps what came of a try: the delivery as it is now, the attempt, and whether
// the endpoint fails. Of an entry that was erased or pruned meanwhile there is no
// delivery, and the attempt names no follower.
func (s *Store) Tried(ctx context.Context, now time.Time, d Delivery, a gateway.WebhookAttempt) error {
	cursor, err := parseCursor(d.Cursor, 0)
	if err != nil {
		return err
	}
	return s.write(ctx, now, func(t *tx) error {
		q, args := `UPDATE webhooks SET failing_since = NULL WHERE id = $1`, []any{d.Webhook}
		switch {
		case d.State == Delivered:
		case d.Unwanted:
			q = `UPDATE webhooks SET failing_since = failing_since WHERE id = $1`
		default:
			q, args = `UPDATE webhooks SET failing_since = coalesce(failing_since, $2) WHERE id = $1`, append(args, ms(now))
		}
		if n, err := t.exec(q, args...); err != nil || n == 0 {
			return err // none: it was deleted meanwhile
		}
		n, err := t.exec(`INSERT INTO deliveries (webhook, cursor, account, openid, state, tries, first_at, next_at, out_of_order, answered)
			SELECT $1, cursor, account, coalesce(openid, ''), $3, $4, $5, $6, $7, $8 FROM feed WHERE cursor = $2
			ON CONFLICT (webhook, cursor) DO UPDATE SET state = excluded.state, tries = excluded.tries, first_at = excluded.first_at,
				next_at = excluded.next_at, out_of_order = excluded.out_of_order, answered = excluded.answered`,
			d.Webhook, cursor, d.State, d.Tries, ms(d.FirstAt), ms(d.NextAt), bit(d.OutOfOrder), bit(d.Answered))
		if err != nil {
			return err
		}
		a := a
		if n == 0 {
			a.OpenID, a.Answer = "", nil
			if err := t.put(`DELETE FROM deliveries WHERE webhook = $1 AND cursor = $2`, d.Webhook, cursor); err != nil {
				return err
			}
		}
		return t.attempted(now, d.Webhook, a)
	})
}

// AddWebhookAttempt keeps an attempt that is of no entry of the feed: a test.
func (s *Store) AddWebhookAttempt(ctx context.Context, now time.Time, webhook string, a gateway.WebhookAttempt) error {
	return s.write(ctx, now, func(t *tx) error { return t.attempted(now, webhook, a) })
}

func (t *tx) attempted(now time.Time, webhook string, a gateway.WebhookAttempt) error {
	text, err := encode(a)
	if err != nil {
		return err
	}
	_, err = t.exec(`INSERT INTO webhook_attempts (webhook, at, account, openid, data) VALUES ($1, $2, $3, $4, $5)`, webhook, ms(now), a.Account, a.OpenID, string(text))
	return err
}

// WebhookAttempts lists the attempts of an endpoint, newest first, at most limit (1 to
// 1,000).
func (s *Store) WebhookAttempts(ctx context.Context, webhook, cursor string, limit int) (gateway.Page[gateway.WebhookAttempt], error) {
	page := gateway.Page[gateway.WebhookAttempt]{Items: []gateway.WebhookAttempt{}}
	below, err := parseCursor(cursor, newest)
	if err != nil {
		return page, err
	}
	limit = min(max(limit, 1), largestPage)
	rows, err := s.rows(ctx, `SELECT id, data FROM webhook_attempts WHERE webhook = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, webhook, below, limit+1)
	if err != nil {
		return page, fmt.Errorf("list the attempts of a webhook: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return page, fmt.Errorf("list the attempts of a webhook: %w", err)
		}
		if len(page.Items) == limit {
			page.Next = formatCursor(below)
			break
		}
		var a gateway.WebhookAttempt
		if err := json.Unmarshal([]byte(text), &a); err != nil {
			return page, fmt.Errorf("read the attempt of a webhook: %w", err)
		}
		page.Items, below = append(page.Items, a), id
	}
	return page, rows.Err()
}

const deliveryQuery = `SELECT webhook, cursor, account, openid, state, tries, first_at, next_at, out_of_order, answered FROM deliveries`

func (s *Store) deliveries(ctx context.Context, q string, args ...any) ([]Delivery, error) {
	rows, err := s.rows(ctx, q, args...)
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	defer rows.Close()
	var all []Delivery
	for rows.Next() {
		var d Delivery
		var cursor, first, next, outOfOrder, answered int64
		if err := rows.Scan(&d.Webhook, &cursor, &d.Account, &d.OpenID, &d.State, &d.Tries, &first, &next, &outOfOrder, &answered); err != nil {
			return nil, fmt.Errorf("read deliveries: %w", err)
		}
		d.Cursor, d.FirstAt, d.NextAt, d.OutOfOrder, d.Answered = formatCursor(cursor), fromMS(first), fromMS(next), outOfOrder != 0, answered != 0
		all = append(all, d)
	}
	return all, rows.Err()
}

// Deliveries returns those of an endpoint after one cursor and up to another, by
// cursor.
func (s *Store) Deliveries(ctx context.Context, webhook, after, to string) ([]Delivery, error) {
	from, err := parseCursor(after, 0)
	if err != nil {
		return nil, err
	}
	until, err := parseCursor(to, newest)
	if err != nil {
		return nil, err
	}
	return s.deliveries(ctx, deliveryQuery+` WHERE webhook = $1 AND cursor > $2 AND cursor <= $3 ORDER BY cursor`, webhook, from, until)
}

// PendingDeliveries returns up to limit of an endpoint's pending deliveries, the one
// that is due first first.
func (s *Store) PendingDeliveries(ctx context.Context, webhook string, limit int) ([]Delivery, error) {
	return s.deliveries(ctx, deliveryQuery+` WHERE webhook = $1 AND state = 'pending' ORDER BY next_at, cursor LIMIT $2`, webhook, limit)
}

// StartReplay writes down that an endpoint's entries from one (or "" for since) to
// another ("": the latest) are to be delivered once more, as far as they are kept.
// ErrCursor for a range that is none, ErrCursorGone for one of which nothing is left,
// ErrNotFound for an endpoint that is none.
func (s *Store) StartReplay(ctx context.Context, now time.Time, webhook string, r gateway.ReplayRequest) (gateway.Replay, error) {
	var from, to int64
	var err error
	head, err := s.Head(ctx)
	if err != nil {
		return gateway.Replay{}, err
	}
	last, _ := parseCursor(head, 0)
	since := time.UnixMilli(0)
	switch {
	case r.Cursor != "":
		from, err = parseCursor(r.Cursor, 0)
		to = from
	case r.From != "":
		if from, err = parseCursor(r.From, 0); err == nil {
			to, err = parseCursor(r.To, last)
		}
	case r.Since != nil:
		since, to = r.Since.Time, last
		from, err = s.firstSince(ctx, r.Since.Add(-disorder), last)
	}
	if err == nil && (from < 1 || to > last || from > to) {
		err = ErrCursor
	}
	if err != nil {
		return gateway.Replay{}, err
	}
	pruned, err := s.pruned(ctx)
	if from = max(from, pruned+1); err == nil && from > to {
		err = ErrCursorGone
	}
	if err != nil {
		return gateway.Replay{}, err
	}
	err = s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`INSERT INTO replays (webhook, cursor, until, since) SELECT id, $2, $3, $4 FROM webhooks WHERE id = $1`, webhook, from-1, to, ms(since))
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
	return gateway.Replay{From: formatCursor(from), To: formatCursor(to)}, err
}

// disorder is how much older than the one before it an entry may be: commits are a little
// out of order in time.
const disorder = time.Minute

// firstSince finds the first entry that is not older than at, by halving: times grow
// with cursors.
func (s *Store) firstSince(ctx context.Context, at time.Time, last int64) (int64, error) {
	low, high := int64(1), last
	for low < high {
		middle := low + (high-low)/2
		var cursor, when int64
		err := s.row(ctx, `SELECT cursor, at FROM feed WHERE cursor >= $1 ORDER BY cursor LIMIT 1`, middle).Scan(&cursor, &when)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			high = middle
		case err != nil:
			return 0, fmt.Errorf("read feed: %w", err)
		case when >= ms(at):
			high = middle
		default:
			low = cursor + 1
		}
	}
	return low, nil
}

// A ReplaySlice is the next part of a replay.
type ReplaySlice struct {
	id          int64
	webhook     string
	until       int64
	After, Next string // entries after After were looked at, up to Next
	Entries     []gateway.FeedEntry
}

// NextReplay returns the next part of an endpoint's oldest replay, or ErrNotFound.
func (s *Store) NextReplay(ctx context.Context, webhook string, limit int) (ReplaySlice, error) {
	r := ReplaySlice{webhook: webhook}
	var cursor, since int64
	err := s.row(ctx, `SELECT id, cursor, until, since FROM replays WHERE webhook = $1 ORDER BY id LIMIT 1`, webhook).Scan(&r.id, &cursor, &r.until, &since)
	if errors.Is(err, sql.ErrNoRows) {
		return r, ErrNotFound
	} else if err != nil {
		return r, fmt.Errorf("read replays: %w", err)
	}
	r.After = formatCursor(cursor)
	if r.Entries, r.Next, err = s.Feed(ctx, r.After, limit, nil); errors.Is(err, ErrCursorGone) {
		r.Entries, r.Next, err = s.Feed(ctx, "", limit, nil) // with what is kept still
	}
	if next, _ := parseCursor(r.Next, 0); r.Next == r.After || next > r.until {
		r.Next = formatCursor(r.until)
	}
	var kept []gateway.FeedEntry
	for _, e := range r.Entries {
		if at, _ := parseCursor(e.Cursor, 0); at <= r.until && ms(e.At.Time) >= since {
			kept = append(kept, e)
		}
	}
	r.Entries = kept
	return r, err
}

// Replayed makes the entries of a slice pending once more and moves the replay on, unless
// its endpoint was deleted meanwhile. Of an entry that is older than deliveries are kept
// nobody knows whether it was answered: it counts as if it was.
func (s *Store) Replayed(ctx context.Context, now time.Time, r ReplaySlice, entries []gateway.FeedEntry) error {
	next, err := parseCursor(r.Next, 0)
	if err != nil {
		return err
	}
	return s.write(ctx, now, func(t *tx) error {
		q, args := `UPDATE replays SET cursor = $3 WHERE id = $1 AND webhook = $2`, []any{r.id, r.webhook, next}
		if next >= r.until {
			q, args = `DELETE FROM replays WHERE id = $1 AND webhook = $2`, args[:2]
		}
		if n, err := t.exec(q, args...); err != nil || n == 0 {
			return err // none: it went with its endpoint
		}
		for _, e := range entries {
			cursor, err := parseCursor(e.Cursor, 0)
			if err != nil {
				return err
			}
			// None of what was erased since it was read.
			if err := t.put(`INSERT INTO deliveries (webhook, cursor, account, openid, state, tries, first_at, next_at, out_of_order, answered)
				SELECT $1, cursor, account, coalesce(openid, ''), 'pending', 0, $3, $3, 1, CASE WHEN at <= $4 THEN 1 ELSE 0 END FROM feed WHERE cursor = $2
				ON CONFLICT (webhook, cursor) DO UPDATE SET state = 'pending', tries = 0, first_at = excluded.first_at, next_at = excluded.next_at, out_of_order = 1,
					answered = CASE WHEN excluded.answered = 1 THEN 1 ELSE deliveries.answered END`,
				r.webhook, cursor, ms(now), ms(now.Add(disorder-webhookLife))); err != nil {
				return err
			}
		}
		return nil
	})
}

// webhookLife is how long attempts and deliveries that are over are kept.
const webhookLife = 30 * 24 * time.Hour

// webhookSlice is how many of them one commit deletes.
const webhookSlice = 1000

// PruneWebhooks forgets attempts, and deliveries that are over, of entries older than
// 30 days, and all that is left of endpoints that were deleted, up to a thousand of each
// kind at once; call it, with pauses, until it returns 0. What waits at an endpoint that
// is disabled is given up with its entry.
func (s *Store) PruneWebhooks(ctx context.Context, now time.Time) (int, error) {
	all, err := s.Webhooks(ctx)
	if err != nil {
		return 0, err
	}
	head, err := s.Head(ctx)
	if err != nil {
		return 0, err
	}
	last, _ := parseCursor(head, 0)
	young, err := s.firstSince(ctx, now.Add(-webhookLife), last+1)
	if err != nil {
		return 0, err
	}
	pruned, err := s.pruned(ctx)
	if err != nil {
		return 0, err
	}
	gone, err := s.pruneDeleted(ctx, now)
	if err != nil {
		return 0, err
	}
	// What is to go is looked for before the commit: nobody waits for that.
	forget := func(find string, args []any, remove func(t *tx, n int64) error) error {
		found, err := s.numbers(ctx, find, append(args, webhookSlice)...)
		if err != nil || len(found) == 0 {
			return err
		}
		gone += len(found)
		return s.write(ctx, now, func(t *tx) error {
			for _, n := range found {
				if err := remove(t, n); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = forget(`SELECT id FROM (SELECT id, at FROM webhook_attempts ORDER BY id LIMIT $2) AS oldest WHERE at <= $1`, []any{ms(now.Add(-webhookLife))},
		func(t *tx, id int64) error { return t.put(`DELETE FROM webhook_attempts WHERE id = $1`, id) })
	for _, w := range all {
		read, _ := parseCursor(w.Cursor, 0)
		if err == nil {
			err = forget(`SELECT cursor FROM deliveries WHERE webhook = $1 AND cursor <= $2 AND state <> 'pending' ORDER BY cursor LIMIT $3`, []any{w.ID, min(read, young-1)},
				func(t *tx, cursor int64) error {
					return t.put(`DELETE FROM deliveries WHERE webhook = $1 AND cursor = $2 AND state <> 'pending'`, w.ID, cursor)
				})
		}
		if err == nil && !w.Enabled {
			err = forget(`SELECT cursor FROM deliveries WHERE webhook = $1 AND cursor <= $2 AND state = 'pending'
					AND NOT EXISTS (SELECT 1 FROM feed WHERE feed.cursor = deliveries.cursor) ORDER BY cursor LIMIT $3`, []any{w.ID, pruned},
				func(t *tx, cursor int64) error {
					return t.put(`DELETE FROM deliveries WHERE webhook = $1 AND cursor = $2`, w.ID, cursor)
				})
		}
	}
	return gone, err
}

// pruneDeleted forgets a slice of what is left of endpoints that were deleted.
func (s *Store) pruneDeleted(ctx context.Context, now time.Time) (gone int, err error) {
	for _, of := range []struct{ table, row string }{{"deliveries", "cursor"}, {"webhook_attempts", "id"}} {
		id, err := s.deletedIn(ctx, of.table)
		if err != nil {
			return 0, fmt.Errorf("find what is left of webhooks: %w", err)
		}
		if id == "" {
			continue
		}
		var to int64 // how far the slice goes
		if err := s.row(ctx, `SELECT coalesce(max(n), 0) FROM (SELECT `+of.row+` AS n FROM `+of.table+` WHERE webhook = $1 ORDER BY `+of.row+` LIMIT $2) AS slice`, id, webhookSlice).Scan(&to); err != nil {
			return 0, fmt.Errorf("find what is left of webhooks: %w", err)
		}
		err = s.write(ctx, now, func(t *tx) error {
			n, err := t.exec(`DELETE FROM `+of.table+` WHERE webhook = $1 AND `+of.row+` <= $2`, id, to)
			gone = int(n)
			return err
		})
		if gone > 0 || err != nil {
			return gone, err
		}
	}
	return 0, nil
}

// deletedIn is the id of an endpoint that rows of the table name and there is not: it was
// deleted, and nothing has to remember that. "": there is none.
func (s *Store) deletedIn(ctx context.Context, table string) (id string, err error) {
	for { // from one endpoint to the next, whatever each has
		var next sql.NullString
		if err := s.row(ctx, `SELECT min(webhook) FROM `+table+` WHERE webhook > $1`, id).Scan(&next); err != nil || !next.Valid {
			return "", err
		}
		id = next.String
		var there int
		if err := s.row(ctx, `SELECT count(*) FROM webhooks WHERE id = $1`, id).Scan(&there); err != nil || there == 0 {
			return id, err
		}
	}
}
