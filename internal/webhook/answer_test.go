package webhook_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/internal/webhook"
)

const hi = `{"msgtype":"text","text":{"content":"hi"}}`

// What a response may say, and what is said about one that is wrong. Whatever it is,
// the delivery is one.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		messages   string // to whom, and what
		refused    string
	}{
		{"nothing", ``, "", ""},
		{"no answer", `{"ok":true}`, "", ""},
		{"a message", `{"messages":[` + hi + `]}`, "A:hi", ""},
		{"two, in order", `{"messages":[` + hi + `,{"msgtype":"text","text":{"content":"ho"}}]}`, "A:hi A:ho", ""},
		{"touser is forced", `{"messages":[{"touser":"B","msgtype":"text","text":{"content":"hi"}}]}`, "A:hi", ""},
		{"a request", `{"messages":[{"message":{"touser":"B","msgtype":"text","text":{"content":"hi"}},"priority":"human","metadata":{"x":1}}]}`, "A:hi", ""},
		{"a request for another account", `{"messages":[{"account":"` + other + `","message":` + hi + `}]}`, "", "messages[0]: its account is another than the event's"},
		{"a request with an unknown member", `{"messages":[{"message":` + hi + `,"prio":1}]}`, "", `messages[0]: unknown field "prio"`},
		{"garbage", `{"messages":`, "", "the response is not a JSON object"},
		{"a list", `[1]`, "", "the response is not a JSON object"},
		{"the wrong form", `{"messages":"hi"}`, "", "messages has the wrong form"},
		{"an invalid message", `{"messages":[` + hi + `,{"msgtype":"text","text":{"content":""}}]}`, "", "messages[1]: invalid-message: no content"},
		{"too many", `{"messages":[` + strings.Repeat(hi+",", 10) + hi + `]}`, "", "11 messages; an answer has up to 10"},
		{"too large", `{"messages":[` + hi + `],"x":"` + strings.Repeat("x", webhook.MaxAnswer) + `"}`, "", "the response is larger than 65536 bytes"},
		{"not UTF-8", "{\"messages\":[],\"x\":\"\xff\"}", "", "the response is not UTF-8"},
		{"an unknown handler", `{"handover":"me"}`, "", `handover is "me"; it is bot, agent, kf or none`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				w := r.add("a", always(200, tt.body))
				r.says("A1")
				r.settle(time.Second)
				var got []string
				for _, m := range r.messages() {
					var text struct{ Text struct{ Content string } }
					json.Unmarshal(m.Message, &text)
					got = append(got, m.OpenID+":"+text.Text.Content)
					var meta map[string]any
					json.Unmarshal(m.Metadata, &meta)
					if m.Source != gateway.FromWebhook || meta["webhook"] != w.ID || meta["webhook_id"] != r.calls[0].id || !strings.Contains(string(m.Message), `"touser":"A"`) {
						t.Errorf("%s %s %s", m.Source, m.Metadata, m.Message)
					}
				}
				all := r.attempts(w.ID)
				if strings.Join(got, " ") != tt.messages || len(all) != 1 || all[0].Outcome != "delivered" {
					t.Fatalf("%v %+v", got, all)
				}
				refused := ""
				if all[0].Answer != nil {
					refused = all[0].Answer.Refused
				}
				if refused != tt.refused || all[0].Answer != nil && len(all[0].Answer.Messages) != len(got) {
					t.Errorf("refused %q, want %q: %+v", refused, tt.refused, all[0].Answer)
				}
			})
		})
	}
}

// One answer for a webhook-id, however often it is delivered and whatever is answered.
func TestOneAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		answers := []string{
			`{"messages":[` + hi + `]}`,
			`{"messages":[{"msgtype":"text","text":{"content":"other words"}},` + hi + `]}`,
		}
		n := 0
		w := r.add("a", func(callMade) *http.Response { n++; return reply(200, answers[min(n, 2)-1]) })
		r.says("A1")
		r.settle(time.Second)
		if _, err := r.hub.ReplayWebhook(t.Context(), w.ID, gateway.ReplayRequest{Cursor: r.calls[0].event.Cursor}); err != nil {
			t.Fatal(err)
		}
		r.settle(time.Second)
		if len(r.calls) != 2 || len(r.messages()) != 1 {
			t.Errorf("%d calls, %d messages", len(r.calls), len(r.messages()))
		}
	})
	// The process ends after the answer was kept and before the try was: the store is
	// as if the try had not been, and the webhook is delivered and answered again.
	bubble(t, func(t *testing.T, r *rig) {
		n := 0
		hook := r.add("a", func(callMade) *http.Response {
			if n++; n == 1 {
				return reply(500, "")
			}
			return reply(200, `{"messages":[{"msgtype":"text","text":{"content":"second"}},`+hi+`]}`)
		})
		r.says("A1")
		r.settle(time.Second)
		id := r.calls[0].id
		first, err := webhook.Request(json.RawMessage(hi), shop, "A", false)
		if err != nil {
			t.Fatal(err)
		}
		kept := r.engine.Accept(t.Context(), []gateway.Submission{webhook.Answered(first, hook.ID, id, 0, 1)})
		if kept[0].Err != nil {
			t.Fatal(kept[0].Err)
		}
		r.settle(10 * time.Second)
		if got := r.messages(); len(r.calls) != 2 || len(got) != 1 || !strings.Contains(string(got[0].Message), "hi") {
			t.Errorf("%d calls, %+v", len(r.calls), got)
		}
		if all := r.attempts(hook.ID); all[1].Answer == nil || len(all[1].Answer.Messages) != 1 || all[1].Answer.Messages[0] != kept[0].Message.ID {
			t.Errorf("%+v", all)
		}
	})
}

// The store can't keep the answer: the webhook counts as not delivered, and comes again.
func TestAnswerThatCantBeKept(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.add("a", always(200, `{"messages":[`+hi+`]}`))
		r.engine.down = store.ErrUnavailable
		r.says("A1")
		r.settle(time.Second)
		r.engine.mu.Lock()
		r.engine.down = nil
		r.engine.mu.Unlock()
		r.settle(10 * time.Second)
		if len(r.calls) != 2 || len(r.messages()) != 1 {
			t.Errorf("%d calls, %d messages", len(r.calls), len(r.messages()))
		}
	})
}

// Only what a follower did is answered, and only while no person and not WeChat's own
// service handles them. A handover counts from then on.
func TestWhoMayAnswer(t *testing.T) {
	for _, tt := range []struct {
		handler gateway.Handler
		takes   bool
	}{{"", true}, {gateway.ByBot, true}, {gateway.ByNone, true}, {gateway.ByAgent, false}, {gateway.ByKf, false}} {
		bubble(t, func(t *testing.T, r *rig) {
			w := r.add("a", always(200, `{"messages":[`+hi+`]}`), func(w *gateway.Webhook) { w.Types = []string{"*"} })
			since := gateway.At(time.Now())
			r.engine.handling["A"] = gateway.Handling{Handler: tt.handler, Since: &since}
			r.says("A1")
			r.settle(time.Second)
			if got := len(r.messages()); got == 1 != tt.takes {
				t.Errorf("%q: %d messages", tt.handler, got)
			}
			all := r.attempts(w.ID)
			if !tt.takes && !strings.HasPrefix(all[0].Answer.Refused, "the follower is handled by "+string(tt.handler)) {
				t.Errorf("%+v", all[0].Answer)
			}
			if tt.takes && (all[1].Type != "message.accepted" || all[1].Answer.Refused != "only follower.message and follower.event are answered, not message.accepted") {
				t.Errorf("%+v", all[1])
			}
		})
	}
	bubble(t, func(t *testing.T, r *rig) {
		w := r.add("a", always(200, `{"messages":[`+hi+`],"typing":true,"handover":"agent"}`))
		deaf := r.add("b", always(200, `{"messages":[`+hi+`]}`), func(w *gateway.Webhook) { w.Answers = false })
		r.says("A1")
		r.settle(time.Second)
		r.says("A2")
		r.settle(time.Second)
		all := r.attempts(w.ID)
		if len(r.messages()) != 1 || all[0].Answer.Handover != gateway.ByAgent || !all[0].Answer.Typing || all[1].Answer.Refused == "" || r.engine.handling["A"].By != "webhook "+w.ID {
			t.Errorf("%d messages, %+v", len(r.messages()), all)
		}
		if all := r.attempts(deaf.ID); len(all) != 2 || all[0].Answer != nil {
			t.Errorf("%+v", all)
		}
	})
}

// Typing is shown while the endpoint thinks, each time that WeChat's own is over.
func TestTyping(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		think := func(callMade) *http.Response { r.pause(20 * time.Second); return reply(200, "") }
		r.add("a", think, func(w *gateway.Webhook) { w.Typing, w.Timeout = true, 30 })
		r.says("A1")
		r.settle(time.Minute)
		if len(r.engine.typing) != 2 || r.engine.typing[1]-r.engine.typing[0] < 15*time.Second {
			t.Errorf("%v", r.engine.typing)
		}
	})
}

// The messages of an account that says so are marked as said by an AI.
func TestAILabel(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.add("a", always(200, `{"messages":[`+hi+`]}`))
		r.says("A1")
		if err := r.store.Append(t.Context(), time.Now(), store.Entry{Account: other, OpenID: "A", Type: "follower.message", Data: json.RawMessage(`{}`)}); err != nil {
			t.Fatal(err)
		}
		r.settle(time.Second)
		for _, m := range r.messages() {
			if marked := strings.Contains(string(m.Message), `"aimsgcontext":{"is_ai_msg":1}`); marked != (m.Account == other) {
				t.Errorf("%s: %s", m.Account, m.Message)
			}
		}
		if len(r.messages()) != 2 {
			t.Error(len(r.messages()))
		}
	})
}

// The published vector of Standard Webhooks (its specification and its libraries' tests).
func TestPublishedVector(t *testing.T) {
	const secret, id, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`
	at := time.Unix(1614265330, 0)
	got, err := gateway.SignWebhook(id, at, []byte(body), secret)
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("%s %v, want %s", got, err, want)
	}
	h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {"1614265330"}, "Webhook-Signature": {"v1,bm90aGluZw== v2,x " + got}}
	for _, tt := range []struct {
		name string
		now  time.Time
		edit func(http.Header)
		body string
		want error
	}{
		{"right", at, nil, body, nil},
		{"5 minutes late", at.Add(5 * time.Minute), nil, body, nil},
		{"later", at.Add(5*time.Minute + time.Second), nil, body, gateway.ErrWebhookSignature},
		{"early", at.Add(-5*time.Minute - time.Second), nil, body, gateway.ErrWebhookSignature},
		{"another body", at, nil, body + " ", gateway.ErrWebhookSignature},
		{"another id", at, func(h http.Header) { h.Set("webhook-id", "msg_x") }, body, gateway.ErrWebhookSignature},
		{"another time", at, func(h http.Header) { h.Set("webhook-timestamp", "1614265331") }, body, gateway.ErrWebhookSignature},
		{"no time", at, func(h http.Header) { h.Del("webhook-timestamp") }, body, gateway.ErrWebhookSignature},
		{"no signature", at, func(h http.Header) { h.Del("webhook-signature") }, body, gateway.ErrWebhookSignature},
	} {
		h := h.Clone()
		if tt.edit != nil {
			tt.edit(h)
		}
		if err := gateway.VerifyWebhook(h, []byte(tt.body), secret, tt.now); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for _, s := range []string{"", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_short", "whsec_***"} {
		if _, err := gateway.SignWebhook(id, at, nil, webhook.SecretOf(s)); s != "" && !errors.Is(err, gateway.ErrWebhookSecret) {
			t.Errorf("%q is no secret: %v", s, err)
		}
	}
}

// The table of Decide: what a status means at each try.
func TestDecide(t *testing.T) {
	schedule := []gateway.Seconds{0, 10, 100}
	for _, tt := range []struct {
		name          string
		status, tries int
		random        float64
		want          webhook.Decision
	}{
		{"200", 200, 1, 0, webhook.Decision{State: store.Delivered}},
		{"299", 299, 3, 0, webhook.Decision{State: store.Delivered}},
		{"300", 300, 1, 0, webhook.Decision{State: store.Pending, Pause: 10 * time.Second}},
		{"404", 404, 1, 0, webhook.Decision{State: store.Pending, Pause: 10 * time.Second}},
		{"no answer", 0, 2, 0, webhook.Decision{State: store.Pending, Pause: 100 * time.Second}},
		{"with jitter", 500, 2, 0.5, webhook.Decision{State: store.Pending, Pause: 110 * time.Second}},
		{"the last", 500, 3, 0, webhook.Decision{State: store.GivenUp}},
		{"gone", 410, 1, 0, webhook.Decision{State: store.GivenUp, Gone: true}},
	} {
		if got := webhook.Decide(tt.status, tt.tries, schedule, tt.random); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
