package dispatch_test

import (
	"database/sql"
	"database/sql/driver"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"modernc.org/sqlite"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/dispatch"
)

// stall is how long the next commit takes in which stall() is called.
var stall atomic.Int64

func init() {
	sqlite.MustRegisterScalarFunction("stall", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		time.Sleep(time.Duration(stall.Swap(0)))
		return nil, nil
	})
}

// A store that works again after a while, and has refused nobody, has missed callbacks
// all the same: WeChat did not wait for it.
func TestAStallIsAGap(t *testing.T) {
	for _, tt := range []struct {
		stall time.Duration
		gap   bool
	}{{4 * time.Second, false}, {20 * time.Second, true}} {
		t.Run(tt.stall.String(), func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				r.d.Stop()
				var err error
				r.d, err = dispatch.Start(r.t.Context(), dispatch.Config{
					Store: r.store, Log: slog.New(slog.DiscardHandler), Tokens: func(gateway.Account) kefu.TokenSource { return nil },
				})
				if err != nil {
					r.t.Fatal(err)
				}
				other, err := sql.Open("sqlite", "file:"+r.path)
				if err == nil {
					_, err = other.Exec(`CREATE TRIGGER stalls AFTER UPDATE ON head BEGIN SELECT stall(); END`)
				}
				if err == nil {
					err = other.Close()
				}
				if err != nil {
					r.t.Fatal(err)
				}
				stall.Store(int64(tt.stall))
				time.Sleep(time.Minute)
				until, err := r.store.Gap(r.t.Context())
				if err != nil || until.IsZero() == tt.gap || stall.Load() != 0 {
					r.t.Errorf("until %v, %v; the stall that waits is %v", until, err, time.Duration(stall.Load()))
				}
			})
		})
	}
}
