package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Replay returns the message that [Store.Enqueue] would have the draft join, as it is
// now: ErrNotFound if there is none, ErrIdempotencyMismatch if its key was used with
// another fingerprint. It is for requests that would be refused if they were new;
// others find it out by Enqueue.
func (s *Store) Replay(ctx context.Context, now time.Time, d Draft) (Message, error) {
	retryOf, err := retried(&d)
	if err != nil {
		return Message{}, err
	}
	seq, err := joined(func(q string, args ...any) scanner { return s.row(ctx, q, args...) }, now, &d, retryOf)
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrIdempotencyMismatch):
		return Message{}, err
	case err != nil:
		return Message{}, fmt.Errorf("look for an earlier request: %w", err)
	}
	return s.Load(ctx, seq)
}

// retried is the id of the message that a draft repeats; nil for every other one.
func retried(d *Draft) (any, error) {
	if d.RetryOf == "" {
		return nil, nil
	}
	id, err := parseID(d.RetryOf)
	if err != nil {
		return nil, err
	}
	return id[:], nil
}

// joined finds the message that a draft joins: that of its idempotency key, or,
// without one, the repeat of the same message. It is ErrNotFound if there is none.
func joined(row func(q string, args ...any) scanner, now time.Time, d *Draft, retryOf any) (seq int64, err error) {
	var fingerprint []byte
	switch {
	case d.IdempotencyKey != "":
		err = row(`SELECT seq, fingerprint FROM idempotency WHERE account = $1 AND key = $2 AND at > $3`,
			d.Account, d.IdempotencyKey, ms(now.Add(-idempotencyLife))).Scan(&seq, &fingerprint)
		if err == nil && !bytes.Equal(fingerprint, d.Fingerprint[:]) {
			err = ErrIdempotencyMismatch
		}
	case retryOf != nil:
		err = row(`SELECT m.seq FROM messages m
			JOIN feed f ON f.cursor = (SELECT max(cursor) FROM feed WHERE seq = m.seq)
			WHERE m.retry_of = $1 AND ($2 = 1 OR f.type NOT IN ('message.sent', 'message.failed', 'message.expired', 'message.canceled'))
			ORDER BY m.seq LIMIT 1`, retryOf, bit(d.RetryOnce)).Scan(&seq)
	default:
		return 0, ErrNotFound
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	return seq, err
}
