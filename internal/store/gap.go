package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Gap returns the end of the latest time in which callbacks were missed; the zero
// time: there was none.
func (s *Store) Gap(ctx context.Context) (time.Time, error) {
	var until int64
	err := s.row(ctx, `SELECT until FROM gap WHERE id = 1`).Scan(&until)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	} else if err != nil {
		return time.Time{}, fmt.Errorf("read gap: %w", err)
	}
	return fromMS(until), nil
}

// SetGap keeps the end of a time in which callbacks were missed.
func (s *Store) SetGap(ctx context.Context, now, until time.Time) error {
	return s.write(ctx, now, func(t *tx) error {
		_, err := t.exec(`INSERT INTO gap (id, until) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET until = $1`, ms(until))
		return err
	})
}
