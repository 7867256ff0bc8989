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

// beating restarts the dispatcher with a heart that beats as in earnest.
func (r *rig) beating() {
	r.t.Helper()
	r.d.Stop()
	var err error
	r.d, err = dispatch.Start(r.t.Context(), dispatch.Config{
		Store: r.store, HTTP: r.wechat.Client().HTTP, Log: slog.New(slog.DiscardHandler),
		Tokens: func(gateway.Account) kefu.TokenSource {
			return kefu.CachedToken(kefu.StableToken{AppID: appid, Secret: r.given.Secret, HTTP: r.wechat.Client().HTTP})
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// stall has the next commit take so long, and a minute pass.
func (r *rig) stall(long time.Duration) {
	r.t.Helper()
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
	stall.Store(int64(long))
	time.Sleep(time.Minute)
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
				r.beating()
				r.stall(tt.stall)
				until, err := r.store.Gap(r.t.Context())
				if err != nil || until.IsZero() == tt.gap || stall.Load() != 0 {
					r.t.Errorf("until %v, %v; the stall that waits is %v", until, err, time.Duration(stall.Load()))
				}
			})
		})
	}
}

// When what is known of windows becomes a belief, what is parked is tried once an hour
// without anybody doing anything.
func TestParkedOnesAreTriedOnceWindowsAreBeliefs(t *testing.T) {
	for _, tt := range []struct {
		why     string
		believe func(*rig)
	}{
		{"callbacks could not be kept", func(r *rig) {
			r.beating()
			r.stall(20 * time.Second)
		}},
		{"callbacks go elsewhere from now on", func(r *rig) {
			r.given.Callbacks = "elsewhere"
			if _, err := r.d.PutAccount(r.t.Context(), r.given, nil); err != nil {
				r.t.Fatal(err)
			}
		}},
		{"callbacks go elsewhere, and the account is paused for a while", func(r *rig) {
			r.given.Callbacks, r.given.State = "elsewhere", "paused"
			if _, err := r.d.PutAccount(r.t.Context(), r.given, nil); err != nil {
				r.t.Fatal(err)
			}
			time.Sleep(90 * time.Minute)
			if n := len(r.codes()); n > 0 {
				r.t.Errorf("%d posts of a paused account", n)
			}
			if err := r.d.Resume(r.t.Context(), appid); err != nil {
				r.t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.why, func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				r.wechat.UserSends("oUser1")
				time.Sleep(49 * time.Hour)
				id := r.accept("oUser1", "parked")
				settle()
				r.want("its window is over", id, gateway.Parked)
				time.Sleep(3 * time.Hour)
				if n := len(r.codes()); n > 0 {
					t.Errorf("%d tries while it is known", n)
				}
				tt.believe(r)
				time.Sleep(2*time.Hour + 10*time.Minute)
				if n := count(r.codes(), 45015); n < 2 || n > 3 {
					t.Errorf("%d tries in two hours", n)
				}
				r.want("WeChat refused it each time", id, gateway.Parked)
			})
		})
	}
}
