package dispatch_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/internal/tokens"
	"github.com/kefu-go/kefu/kefutest"
)

// An account whose tokens come from outside waits without one: its messages stay
// queued, without an attempt, and all go soon after one is
// handed over.
func TestMessagesWaitForASuppliedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wechat := kefutest.New()
		http := wechat.Client().HTTP
		s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "kefu.db"), store.Options{Gather: -1}) // as in newRig
		if err != nil {
			t.Fatal(err)
		}
		given := gateway.Account{AppID: appid, Secret: kefutest.DefaultAccount.Secret, TokenSource: gateway.SuppliedTokens}.WithDefaults()
		if err := s.PutAccount(t.Context(), time.Now(), given); err != nil {
			t.Fatal(err)
		}
		center := &tokens.Center{Store: s, HTTP: http, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
		d, err := dispatch.Start(t.Context(), dispatch.Config{Store: s, HTTP: http, Heartbeat: 100 * time.Hour, Log: slog.New(slog.DiscardHandler), Tokens: center.Source})
		if err != nil {
			t.Fatal(err)
		}
		const followers = 300
		var ids []string
		for i := range followers {
			to := fmt.Sprint("o", i)
			wechat.UserSends(to)
			got := d.Accept(t.Context(), []gateway.Submission{{
				Account: appid, OpenID: to, MsgType: "text", Source: gateway.FromAPI, Priority: gateway.Normal, WhenClosed: gateway.Park, OnUnknown: gateway.Hold,
				ExpiresAt: gateway.At(time.Now().Add(48 * time.Hour)), Message: json.RawMessage(`{"touser":"` + to + `","msgtype":"text","text":{"content":"hi"}}`),
			}})
			if got[0].Err != nil {
				t.Fatal(got[0].Err)
			}
			ids = append(ids, got[0].Message.ID)
		}
		time.Sleep(time.Hour)
		for _, id := range ids {
			m, err := s.Message(t.Context(), id)
			if err != nil || m.State != gateway.Queued || m.Attempts > 0 {
				t.Fatalf("%s after %d attempts, %v", m.State, m.Attempts, err)
			}
		}
		tok, err := kefu.StableToken{AppID: appid, Secret: given.Secret, HTTP: http}.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := center.Supply(t.Context(), appid, "key_bot", tok.Value, 2*time.Hour); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if got := len(wechat.Sent()); got != followers {
			t.Errorf("%d of %d arrived within 3 s", got, followers)
		}
		d.Stop()
		s.Close()
		wechat.Close()
	})
}

// While WeChat is too busy to give a token nothing has left: no message fails or may have
// arrived twice, whatever the account says of -1, and few attempts say so.
func TestABusyTokenCallFailsNobody(t *testing.T) {
	for _, busy := range []string{"retry", "unknown"} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, func(g *gateway.Account, _ *kefutest.Account) { g.Busy = busy })
			defer r.close()
			r.d.Stop()
			http := r.wechat.Client().HTTP
			center := &tokens.Center{Store: r.store, HTTP: http, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
			var err error
			r.d, err = dispatch.Start(t.Context(), dispatch.Config{Store: r.store, HTTP: http, Heartbeat: 100 * time.Hour, Log: slog.New(slog.DiscardHandler), Tokens: center.Source})
			if err != nil {
				t.Fatal(err)
			}
			mend := r.wechat.Fail(kefutest.Fault{Path: "stable_token", ErrCode: -1, Every: 1})
			ids := r.many(100, 1)
			late := r.accept("oUser000", "late", func(s *gateway.Submission) { s.ExpiresAt = gateway.At(time.Now().Add(time.Minute)) })
			time.Sleep(time.Hour)
			attempts := 0
			for _, id := range ids {
				m := r.message(id)
				if attempts += m.Attempts; m.State != gateway.Queued || m.PossibleDuplicate {
					t.Errorf("%s: %+v", m.State, m.Outcome)
				}
				if m.Attempts > 0 && (m.Outcome == nil || m.Outcome.Class != kefu.ErrNotDelivered || !strings.Contains(m.Outcome.Reason, "stable_token: errcode -1")) {
					t.Errorf("after %d attempts: %+v", m.Attempts, m.Outcome)
				}
			}
			if attempts == 0 || attempts > 64 {
				t.Errorf("%d attempts, want those of the lanes that waited for the first fetch", attempts)
			}
			r.want("its time is over", late, gateway.Expired)
			if n := len(r.codes()); n != 0 {
				t.Errorf("%d posts without a token", n)
			}
			mend()
			time.Sleep(2 * time.Minute)
			for _, id := range ids {
				r.want("with a token", id, gateway.Sent)
			}
		})
	}
}
