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

// PutWebhook makes or replaces an endpoint. The Cursor is that of a new one only, and
// so are FailingSince (none) and CreatedAt (now); an empty Secret keeps the stored
// ones. An endpoint that is enabled again has not failed. may, unless nil, is asked about
// an endpoint that is replaced, in the transaction; its error ends that.
func (s *Store) PutWebhook(ctx context.Context, now time.Time, w Webhook, may func(stored gateway.Webhook) error) error {
	cursor, err := parseCursor(w.Cursor, 0)
	if err != nil {
		return err
	}
	settings := w.Webhook
	settings.Secret, settings.Cursor, settings.Because, settings.FailingSince, settings.Warnings = "", "", "", nil, nil
	text, err := encode(settings)
	if err != nil {
		return fmt.Errorf("put webhook: %w", err)
	}
	secret, old := s.sealed(w.ID, "webhook", w.Secret), s.sealed(w.ID, "webhook", w.OldSecret)
	var until any
	if !w.OldUntil.IsZero() {
		until = ms(w.OldUntil)
	}
	return s.write(ctx, now, func(t *tx) error {
		if secret == nil {
			if may != nil {
				stored, err := s.scanWebhook(t.row(webhookQuery+` WHERE id = $1`, w.ID))
				if err == nil {
					err = may(stored.Webhook)
				}
				if err != nil {
					return err
				}
			}
			n, err := t.exec(`UPDATE webhooks SET settings = $1, enabled = $2, because = $3, failing_since = NULL WHERE id = $4`,
				string(text), bit(w.Enabled), w.Because, w.ID)
			if err == nil && n == 0 {
				err = ErrNotFound
			}
			return err
		}
		_, err := t.exec(`INSERT INTO webhooks (id, settings, secret, old_secret, old_until, enabled, because, cursor, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (id) DO UPDATE SET secret = excluded.secret, old_secret = excluded.old_secret, old_until = excluded.old_until`,
			w.ID, string(text), secret, old, until, bit(w.Enabled), w.Because, cursor, ms(now))
		return err
	})
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

// DeleteWebhook forgets an endpoint, its deliveries and attempts, or returns
// ErrNotFound.
func (s *Store) DeleteWebhook(ctx context.Context, now time.Time, id string) error {
	return s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`DELETE FROM webhooks WHERE id = $1`, id)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		for _, q := range []string{
			`DELETE FROM deliveries WHERE webhook = $1`, `DELETE FROM webhook_attempts WHERE webhook = $1`, `DELETE FROM replays WHERE webhook = $1`,
		} {
			if err == nil {
				_, err = t.exec(q, id)
			}
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
		if d.State != Delivered {
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
	_, err = t.exec(`INSERT INTO webhook_attempts (webhook, at, data) VALUES ($1, $2, $3)`, webhook, ms(now), string(text))
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
// another ("": the latest) are to be delivered once more. ErrCursor for a range that
// is none.
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
		from, err = s.firstSince(ctx, r.Since.Add(-time.Minute), last) // commits may be a little out of order in time
	}
	if err == nil && (from < 1 || to > last || from > to) {
		err = ErrCursor
	}
	if err != nil {
		return gateway.Replay{}, err
	}
	err = s.write(ctx, now, func(t *tx) error {
		_, err := t.exec(`INSERT INTO replays (webhook, cursor, until, since) VALUES ($1, $2, $3, $4)`, webhook, from-1, to, ms(since))
		return err
	})
	return gateway.Replay{From: formatCursor(from), To: formatCursor(to)}, err
}

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
		r.Next, err = formatCursor(r.until), nil // they are kept no more
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

// Replayed makes the entries of a slice pending once more and moves the replay on.
func (s *Store) Replayed(ctx context.Context, now time.Time, r ReplaySlice, entries []gateway.FeedEntry) error {
	next, err := parseCursor(r.Next, 0)
	if err != nil {
		return err
	}
	return s.write(ctx, now, func(t *tx) error {
		for _, e := range entries {
			cursor, err := parseCursor(e.Cursor, 0)
			if err != nil {
				return err
			}
			// None of what was erased since it was read.
			if err := t.put(`INSERT INTO deliveries (webhook, cursor, account, openid, state, tries, first_at, next_at, out_of_order, answered)
				SELECT $1, cursor, account, coalesce(openid, ''), 'pending', 0, $3, $3, 1, 0 FROM feed WHERE cursor = $2
				ON CONFLICT (webhook, cursor) DO UPDATE SET state = 'pending', tries = 0, first_at = excluded.first_at, next_at = excluded.next_at, out_of_order = 1`,
				r.webhook, cursor, ms(now)); err != nil {
				return err
			}
		}
		q, args := `UPDATE replays SET cursor = $1 WHERE id = $2`, []any{next, r.id}
		if next >= r.until {
			q, args = `DELETE FROM replays WHERE id = $1`, []any{r.id}
		}
		_, err := t.exec(q, args...)
		return err
	})
}

// webhookLife is how long attempts and deliveries that are over are kept.
const webhookLife = 30 * 24 * time.Hour

// PruneWebhooks forgets attempts, and deliveries that are over, of entries older than
// 30 days, up to a thousand attempts at once; call it until it returns 0. What waits at
// an endpoint that is disabled is given up with its entry.
func (s *Store) PruneWebhooks(ctx context.Context, now time.Time) (int, error) {
	all, err := s.Webhooks(ctx)
	if err != nil || len(all) == 0 {
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
	var gone int64
	err = s.write(ctx, now, func(t *tx) error {
		if gone, err = t.exec(`DELETE FROM webhook_attempts WHERE id IN
			(SELECT id FROM (SELECT id, at FROM webhook_attempts ORDER BY id LIMIT 1000) AS oldest WHERE at <= $1)`, ms(now.Add(-webhookLife))); err != nil {
			return err
		}
		for _, w := range all {
			read, _ := parseCursor(w.Cursor, 0)
			n, err := t.exec(`DELETE FROM deliveries WHERE webhook = $1 AND cursor <= $2 AND state <> 'pending'`, w.ID, min(read, young-1))
			if err != nil {
				return err
			}
			gone += n
			if w.Enabled {
				continue
			}
			if n, err = t.exec(`DELETE FROM deliveries WHERE webhook = $1 AND state = 'pending' AND NOT EXISTS (SELECT 1 FROM feed WHERE feed.cursor = deliveries.cursor)`, w.ID); err != nil {
				return err
			}
			gone += n
		}
		return nil
	})
	return int(gone), err
}
