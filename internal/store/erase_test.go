//go:build unix

package store

import (
	"testing"
	"time"

	"github.com/kefu-go/kefu/internal/pgtest"
)

// However long PostgreSQL takes to vacuum after an erasure, nobody who writes waits for
// it, nor does the follower longer than [scrubFor].
func TestErasingStopsNobodyOnPostgreSQL(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Shared(t).DSN(t), pgOptions)
	talkWith(t, s, follower, "geheim-7291")
	other, err := s.dialect.writer()
	ok(t, err)
	defer other.Close()
	held, err := other.Begin()
	ok(t, err)
	defer held.Rollback()
	_, err = held.Exec(`LOCK TABLE feed IN SHARE UPDATE EXCLUSIVE MODE`) // as another vacuum has it
	ok(t, err)
	began := time.Now()
	done := make(chan error, 1)
	go func() {
		_, err := s.Erase(t.Context(), noon, account, follower)
		done <- err
	}()
	for time.Since(began) < 2*time.Second {
		asked := time.Now()
		enqueue1(t, s, hello("oOther"))
		if took := time.Since(asked); took > time.Second {
			t.Fatalf("a message took %v", took)
		}
		time.Sleep(10 * time.Millisecond)
	}
	select {
	case err := <-done:
		t.Fatalf("the erasure ended while the table could not be vacuumed: %v", err)
	default:
	}
	ok(t, held.Rollback())
	ok(t, <-done)
}

// Whatever can name a follower is vacuumed.
func TestTablesThatNameAFollowerAreVacuumed(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Shared(t).DSN(t), pgOptions)
	rows, err := s.rows(t.Context(), `SELECT DISTINCT table_name FROM information_schema.columns
		WHERE table_schema = current_schema() AND (column_name IN ('openid', 'seq', 'cursor', 'media_id', 'content', 'conversation') OR table_name = 'webhook_attempts')
		AND table_name NOT IN ('head', 'webhooks', 'replays', 'unfinished_contents')`)
	ok(t, err)
	defer rows.Close()
	vacuumed := map[string]bool{}
	for _, table := range named {
		vacuumed[table] = true
	}
	for rows.Next() {
		var table string
		ok(t, rows.Scan(&table))
		if !vacuumed[table] {
			t.Errorf("%s is not", table)
		}
	}
	ok(t, rows.Err())
}
