package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Replay returns the message that an earlier draft with this idempotency key has
// made, as it is now: ErrNotFound if none has within the last 7 days,
// ErrIdempotencyMismatch if it had another fingerprint. It is for requests that
// would be refused if they were new; others find it out by [Store.Enqueue].
func (s *Store) Replay(ctx context.Context, now time.Time, account, key string, fingerprint [32]byte) (Message, error) {
	var seq int64
	var stored []byte
	err := s.row(ctx, `SELECT seq, fingerprint FROM idempotency WHERE account = $1 AND key = $2 AND at > $3`,
		account, key, ms(now.Add(-idempotencyLife))).Scan(&seq, &stored)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Message{}, ErrNotFound
	case err != nil:
		return Message{}, fmt.Errorf("read idempotency key: %w", err)
	case !bytes.Equal(stored, fingerprint[:]):
		return Message{}, ErrIdempotencyMismatch
	}
	return s.Load(ctx, seq)
}
