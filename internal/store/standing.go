package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Standing returns what was last kept of how an account stands with WeChat; nil if
// nothing was.
func (s *Store) Standing(ctx context.Context, appid string) (json.RawMessage, error) {
	var text string
	err := s.row(ctx, `SELECT standing FROM standings WHERE appid = $1`, appid).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read standing: %w", err)
	}
	return json.RawMessage(text), nil
}

// SetStanding keeps how an account stands with WeChat and appends entries to the
// feed. An account that there is not is no error: it may just have been deleted,
// and nothing is kept.
func (s *Store) SetStanding(ctx context.Context, now time.Time, appid string, standing json.RawMessage, entries ...Entry) error {
	return s.write(ctx, now, func(t *tx) error {
		n, err := t.exec(`INSERT INTO standings (appid, standing) SELECT appid, CAST($2 AS TEXT) FROM accounts WHERE appid = $1
			ON CONFLICT (appid) DO UPDATE SET standing = excluded.standing`, appid, string(standing))
		if err != nil || n == 0 {
			return err
		}
		return t.append(now, entries)
	})
}
