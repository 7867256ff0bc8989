package webhook_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// An endpoint whose settings leave out what waits for it gets no more of that: who may
// manage it now could have it posted to themselves. That is no fault of the endpoint.
func TestNarrowedEndpoint(t *testing.T) {
	for name, narrow := range map[string]func(*gateway.Webhook){
		"to an account": func(w *gateway.Webhook) { w.Accounts = []string{shop} },
		"to a type":     func(w *gateway.Webhook) { w.Types = []string{"message.*"} },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				w := r.add("down", always(500, ""))
				r.add("new", always(200, ""), func(w *gateway.Webhook) { w.Enabled = false })
				for _, openid := range []string{"oFirst", "oSecond"} { // the first waits for minutes when the second has failed once
					err := r.store.Append(t.Context(), time.Now(), store.Entry{Account: other, OpenID: openid, Type: "follower.message", Data: json.RawMessage(`{"text":"hi"}`)})
					if err != nil {
						t.Fatal(err)
					}
					r.settle(16 * time.Second)
				}
				err := r.store.Append(t.Context(), time.Now(), store.Entry{Account: other, OpenID: "oThird", Type: "follower.message", Data: json.RawMessage(`{"text":"hi"}`)})
				if err != nil {
					t.Fatal(err)
				}
				r.settle(time.Second)
				w.URL, w.DisableAfter = "https://new/hook", 60
				narrow(&w)
				if _, err := r.hub.ChangeWebhook(t.Context(), w, nil); err != nil {
					t.Fatal(err)
				}
				r.settle(72 * time.Hour)
				if got := r.got("new"); got != "" {
					t.Errorf("it got %q", got)
				}
				ended := 0
				for _, a := range r.attempts(w.ID) {
					if a.Outcome == "given-up" && strings.HasPrefix(a.Error, "no longer wanted") && a.Status == 0 {
						ended++
					}
				}
				pending, err := r.store.PendingDeliveries(t.Context(), w.ID, 10)
				if now := r.hook(w.ID); ended != 3 || err != nil || len(pending) != 0 || now.FailingSince != nil || !now.Enabled {
					t.Errorf("%d ended, %d wait, %v; failing since %v, enabled %v", ended, len(pending), err, now.FailingSince, now.Enabled)
				}
			})
		})
	}
}
