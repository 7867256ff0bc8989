package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
)

func TestWebhookSettings(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		wrong      string // location
	}{
		{"least", `{"url":"https://example.com/x"}`, ""},
		{"http is warned of", `{"url":"http://example.com/x"}`, ""},
		{"no url", `{}`, "url"},
		{"a private one", `{"url":"https://127.0.0.1/"}`, "url"},
		{"unknown member", `{"url":"https://example.com/x","urls":1}`, "urls"},
		{"an account that there is not", `{"url":"https://example.com/x","accounts":["wxnone"]}`, "accounts[0]"},
		{"types", `{"url":"https://example.com/x","types":["*","message.*","webhook.disabled"]}`, ""},
		{"no type", `{"url":"https://example.com/x","types":["message*"]}`, "types[0]"},
		{"too many types", `{"url":"https://example.com/x","types":[` + strings.Repeat(`"*",`, 32) + `"*"]}`, "types"},
		{"timeout 30", `{"url":"https://example.com/x","timeout":30}`, ""},
		{"timeout 31", `{"url":"https://example.com/x","timeout":31}`, "timeout"},
		{"timeout -1", `{"url":"https://example.com/x","timeout":-1}`, "timeout"},
		{"64 at once", `{"url":"https://example.com/x","concurrency":64}`, ""},
		{"65 at once", `{"url":"https://example.com/x","concurrency":65}`, "concurrency"},
		{"a day's pause", `{"url":"https://example.com/x","schedule":[0,86400]}`, ""},
		{"a longer one", `{"url":"https://example.com/x","schedule":[0,86401]}`, "schedule[1]"},
		{"21 tries", `{"url":"https://example.com/x","schedule":[` + strings.Repeat("0,", 20) + `0]}`, "schedule"},
		{"disabled after 59 s", `{"url":"https://example.com/x","disable_after":59}`, "disable_after"},
		{"a long name", `{"url":"https://example.com/x","name":"` + strings.Repeat("x", 257) + `"}`, "name"},
	} {
		w := newWorld(t)
		a := w.do(adminKey, "POST", "/v1/webhooks", tt.body)
		if tt.wrong == "" {
			if h := read[gateway.Webhook](t, a); a.StatusCode != 201 || !strings.HasPrefix(h.Secret, "whsec_") || (len(h.Warnings) > 0) != strings.Contains(tt.body, "http:") {
				t.Errorf("%s: %d %s", tt.name, a.StatusCode, a.body)
			}
			continue
		}
		if p := read[gateway.Problem](t, a); a.StatusCode != 422 || len(p.Errors) != 1 || p.Errors[0].Location != tt.wrong || len(w.hooks) > 0 {
			t.Errorf("%s: %d %s", tt.name, a.StatusCode, a.body)
		}
	}
}

// An admin of some accounts manages the webhooks of those alone.
func TestScopedWebhooks(t *testing.T) {
	w := newWorld(t)
	w.hooks = []gateway.Webhook{
		{ID: "wh_all", Types: []string{"*"}, Schedule: []gateway.Seconds{0}}, {ID: "wh_other", Accounts: []string{other}}, {ID: "wh_both", Accounts: []string{shop, other}},
	}
	if h := read[gateway.Webhook](t, w.do(shopAdmin, "POST", "/v1/webhooks", `{"url":"https://example.com/x"}`)); len(h.Accounts) != 1 || h.Accounts[0] != shop {
		t.Errorf("%+v", h)
	}
	if page := read[gateway.Page[gateway.Webhook]](t, w.do(shopAdmin, "GET", "/v1/webhooks", "")); len(page.Items) != 1 || page.Items[0].Secret != "" {
		t.Errorf("%+v", page)
	}
	for _, id := range []string{"wh_all", "wh_other", "wh_both", "wh_none"} {
		if a := w.do(shopAdmin, "DELETE", "/v1/webhooks/"+id, ""); a.StatusCode != 404 {
			t.Errorf("%s: %d", id, a.StatusCode)
		}
	}
	if a := w.do(shopAdmin, "POST", "/v1/webhooks", `{"url":"https://example.com/x","accounts":["wxother"]}`); a.StatusCode != 422 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// A webhook can be switched off though an account of it was removed, and then needs no
// more; on again it goes without that one.
func TestWebhookOfARemovedAccount(t *testing.T) {
	for _, tt := range []struct {
		key, body string
		status    int
	}{
		{adminKey, `{"url":"https://example.com/","accounts":["wxgone","wxother"],"enabled":false}`, 200},
		{adminKey, `{"url":"https://example.com/","accounts":["wxgone","wxother"]}`, 422},
		{adminKey, `{"url":"https://example.com/","accounts":["wxother"]}`, 200},
		{adminKey, `{"url":"https://example.com/","accounts":["wxgone","wxnever"],"enabled":false}`, 422},
		{shopAdmin, `{"url":"https://example.com/","accounts":["wxgone","wxother"],"enabled":false}`, 404},
	} {
		w := newWorld(t)
		w.hooks = []gateway.Webhook{{ID: "wh_1", URL: "https://example.com/", Accounts: []string{"wxgone", other}, Enabled: true, CreatedAt: gateway.At(start)}}
		if a := w.do(tt.key, "PUT", "/v1/webhooks/wh_1", tt.body); a.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.body, a.StatusCode, tt.status, a.body)
		}
	}
	w := newWorld(t)
	if a := w.do(adminKey, "POST", "/v1/webhooks", `{"url":"https://example.com/","accounts":["wxgone"],"enabled":false}`); a.StatusCode != 422 {
		t.Errorf("a new one: %d %s", a.StatusCode, a.body)
	}
}

func TestWebhookCalls(t *testing.T) {
	for _, tt := range []struct {
		call, body string
		status     int
	}{
		{"GET /v1/webhooks/wh_1", "", 200},
		{"PUT /v1/webhooks/wh_1", `{"url":"https://example.com/y"}`, 200},
		{"PUT /v1/webhooks/wh_2", `{"url":"https://example.com/y"}`, 404},
		{"DELETE /v1/webhooks/wh_1", "", 204},
		{"POST /v1/webhooks/wh_1/rotate", "", 200},
		{"POST /v1/webhooks/wh_1/rotate", `{"overlap":604800}`, 200},
		{"POST /v1/webhooks/wh_1/rotate", `{"overlap":604801}`, 422},
		{"POST /v1/webhooks/wh_1/rotate", `{"overlap":-1}`, 422},
		{"POST /v1/webhooks/wh_1/test", "", 200},
		{"GET /v1/webhooks/wh_1/attempts", "", 200},
		{"GET /v1/webhooks/wh_1/attempts?limit=1001", "", 422},
		{"POST /v1/webhooks/wh_1/replay", `{"cursor":"7"}`, 202},
		{"POST /v1/webhooks/wh_1/replay", `{"from":"7","to":"9"}`, 202},
		{"POST /v1/webhooks/wh_1/replay", `{"since":"2026-11-23T12:00:00Z"}`, 202},
		{"POST /v1/webhooks/wh_1/replay", `{}`, 422},
		{"POST /v1/webhooks/wh_1/replay", `{"to":"9"}`, 422},
		{"POST /v1/webhooks/wh_1/replay", `{"cursor":"7","from":"7"}`, 422},
	} {
		w := newWorld(t)
		w.hooks = []gateway.Webhook{{ID: "wh_1", URL: "https://example.com/", Types: []string{"*"}, Schedule: []gateway.Seconds{0}, CreatedAt: gateway.At(start)}}
		method, path, _ := strings.Cut(tt.call, " ")
		if a := w.do(adminKey, method, path, tt.body); a.StatusCode != tt.status {
			t.Errorf("%s %s: %d, want %d: %s", tt.call, tt.body, a.StatusCode, tt.status, a.body)
		}
		if strings.HasSuffix(path, "rotate") && tt.body == "" && w.overlap != 24*time.Hour {
			t.Errorf("overlap %v", w.overlap)
		}
	}
	w := newWorld(t)
	for i := range maxWebhooks {
		w.hooks = append(w.hooks, gateway.Webhook{ID: fmt.Sprint(i)})
	}
	if a := w.do(adminKey, "POST", "/v1/webhooks", `{"url":"https://example.com/x"}`); a.StatusCode != 422 || !strings.Contains(string(a.body), "100 webhooks") {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestHandoverCall(t *testing.T) {
	for body, status := range map[string]int{
		`{"handler":"agent"}`: 200, `{"handler":"kf","kf_account":"a@b"}`: 200, `{"handler":"bot"}`: 200, `{"handler":"none"}`: 200,
		`{}`: 422, `{"handler":"me"}`: 422, `{"handler":"agent","kf_account":"a@b"}`: 422, `{"handler":"kf","kf_account":"` + strings.Repeat("x", 129) + `"}`: 422,
	} {
		w := newWorld(t)
		a := w.do(sendKey, "POST", "/v1/conversations/"+shop+"/oFollower/handover", body)
		if a.StatusCode != status {
			t.Errorf("%s: %d %s", body, a.StatusCode, a.body)
		}
		if status == 200 && (len(w.handovers) != 1 || w.handovers[0].By != "api key_send") {
			t.Errorf("%+v", w.handovers)
		}
	}
}

// A composed request is held against the same rules as one of the API, and its error says
// what is wrong.
func TestCompose(t *testing.T) {
	w := newWorld(t)
	sub, err := w.Compose(t.Context(), shop, gateway.FromWebhook, []byte(textTo("oFollower", "hi")))
	if err != nil || sub.Account != shop || sub.OpenID != "oFollower" || sub.Source != gateway.FromWebhook || sub.WhenClosed != gateway.Park {
		t.Errorf("%+v %v", sub, err)
	}
	for body, want := range map[string]string{
		textTo("oFollower", ""):           "message.text.content",
		`{"message":{},"x":1}`:            "x is not known here",
		`{"account":"wxother"}`:           "unknown-account",
		"{\"message\":\"\xff\"}":          "not UTF-8",
		textTo("oFollower", "hi", `,"x"`): "body must be an object",
	} {
		if _, err := w.Compose(t.Context(), shop, gateway.FromWebhook, []byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

// The passive reply that belongs to a push is its answer.
func TestPassiveReply(t *testing.T) {
	w := newWorld(t)
	w.reply = callback.TransferCustomerService{KfAccount: "a@b"}
	a := w.do("", "POST", "/callback/"+shop+query(callToken), push, "Content-Type: text/xml")
	if !strings.Contains(string(a.body), "<MsgType><![CDATA[transfer_customer_service]]></MsgType><TransInfo><KfAccount><![CDATA[a@b]]></KfAccount></TransInfo>") {
		t.Errorf("%s", a.body)
	}
}

// What an endpoint that is for some accounts was once called with for others stays theirs.
func TestAttemptsOfOtherAccounts(t *testing.T) {
	w := newWorld(t)
	w.hooks = []gateway.Webhook{{ID: "wh_1", Accounts: []string{shop}}}
	for id, account := range map[string]string{"wh_1_2": shop, "wh_1_1": other, "test_1": ""} {
		w.tries = append(w.tries, gateway.WebhookAttempt{WebhookID: id, Account: account, At: gateway.At(start)})
	}
	for key, want := range map[string]string{adminKey: "test_1 wh_1_1 wh_1_2", shopAdmin: "test_1 wh_1_2"} {
		var got []string
		for _, a := range read[gateway.Page[gateway.WebhookAttempt]](t, w.do(key, "GET", "/v1/webhooks/wh_1/attempts", "")).Items {
			got = append(got, a.WebhookID)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}
