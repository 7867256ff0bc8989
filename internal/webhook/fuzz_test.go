package webhook_test

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/webhook"
)

// Whatever is in the headers of a webhook, it is taken for signed if there is a
// signature of ours in them, of just this body, id and time, and that not long ago.
func FuzzVerify(f *testing.F) {
	secret := webhook.NewSecret()
	now := time.Unix(1_800_000_000, 0)
	for _, sign := range []string{"", "v1,", "v1,AAAA", "v1a,AAAA", "v2,AAAA v1,AAAA", "v1,=", strings.Repeat("v1,AAAA ", 500)} {
		f.Add("evt_1", int64(0), sign, []byte(`{"a":1}`), 0, byte(1))
	}
	f.Add("evt_1", int64(300), "v1,AAAA", []byte(nil), 3, byte(0x80))
	f.Add("evt\n1", int64(-301), "", []byte("x"), 9, byte(0))
	f.Fuzz(func(t *testing.T, id string, late int64, sign string, body []byte, at int, flip byte) {
		late %= 1 << 32
		sent := now.Add(-time.Duration(late) * time.Second)
		h := http.Header{}
		set := func(sign string) {
			h.Set("webhook-id", id)
			h.Set("webhook-timestamp", strconv.FormatInt(sent.Unix(), 10))
			h.Set("webhook-signature", sign)
		}
		set(sign)
		if err := gateway.VerifyWebhook(h, body, secret, now); !errors.Is(err, gateway.ErrWebhookSignature) {
			t.Fatalf("%q is taken for a signature: %v", sign, err)
		}
		ours, err := gateway.SignWebhook(id, sent, body, secret)
		if err != nil {
			t.Fatal(err)
		}
		set(sign + " " + ours)
		if err := gateway.VerifyWebhook(h, body, secret, now); (err == nil) != (late >= -300 && late <= 300) {
			t.Fatalf("signed %d s ago: %v", late, err)
		}
		if len(body) > 0 && flip != 0 {
			other := append([]byte(nil), body...)
			other[uint(at)%uint(len(other))] ^= flip
			if gateway.VerifyWebhook(h, other, secret, now) == nil {
				t.Fatalf("%q is taken for %q", other, body)
			}
		}
		if gateway.VerifyWebhook(h, body, kefu.Secret(sign), now) == nil {
			t.Fatalf("with %q for a secret", sign)
		}
	})
}

// Whatever an endpoint responds, an answer that is read keeps to its limits, and what
// it says goes to the follower of the event alone, with the event's account.
func FuzzParseAnswer(f *testing.F) {
	for _, body := range []string{
		``, `OK`, `{"ok":true}`, `{"messages":[` + hi + `]}`, `{"messages":[{"touser":"B","msgtype":"text","text":{"content":"hi"}}]}`,
		`{"messages":[{"message":` + hi + `,"priority":"human","idempotency_key":"x"}]}`, `{"messages":[{"account":"other","message":` + hi + `}]}`,
		`{"typing":true,"handover":"agent"}`, `{"handover":"me"}`, `{"messages":[null]}`, `{"messages":null,"typing":null}`, `{"messages":` + strings.Repeat("[", 20_000),
		`{"messages":[` + strings.Repeat(hi+",", 10) + hi + `]}`, "{\"messages\":[],\"x\":\"\xff\"}",
	} {
		f.Add("application/json", []byte(body))
		f.Add("text/plain; charset=x", []byte(body))
	}
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		a, err := webhook.ParseAnswer(kind, body)
		if a == nil {
			return
		}
		if err != nil || len(body) > webhook.MaxAnswer+1<<10 && len(strings.TrimSpace(string(body))) > webhook.MaxAnswer || len(a.Messages) > 10 {
			t.Fatalf("%.200q is read as %+v, %v", body, a, err)
		}
		for _, m := range a.Messages {
			r, err := webhook.Request(m, "wxshop", "oUser1", true)
			if err != nil {
				continue
			}
			var said kefu.Message
			if err := said.UnmarshalJSON(r.Message); err != nil {
				t.Fatalf("%s became %s, which can't be read: %v", m, r.Message, err)
			}
			if said.To != "oUser1" || r.Account != "wxshop" || r.IdempotencyKey != "" || !said.AI {
				t.Fatalf("%s goes to %s of %s with key %q", m, said.To, r.Account, r.IdempotencyKey)
			}
		}
	})
}
