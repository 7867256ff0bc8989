//go:build unix

package store

import (
	"testing"
	"time"

	"github.com/kefu-go/kefu/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestPostgreSQL(t *testing.T) {
	server := pgtest.Shared(t)
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			dsn := server.DSN(t)
			p.keep(t, func() *Store { return open(t, dsn, Options{SecretKey: secretKey, LeaseLife: testLease}) })
		})
	}
}

const secretKey = "0123456789abcdef0123456789abcdef"

const testLease = 300 * time.Millisecond
