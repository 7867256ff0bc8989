package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// Every call that changes what is set up for all is on record, or has a reason not to be.
func TestWhoSetsUpIsOnRecord(t *testing.T) {
	elsewhere := map[string]string{
		"POST /v1/accounts/{account}/check":               "asks WeChat",
		"POST /v1/accounts/{account}/wechat":              "recorded before it leaves",
		"POST /v1/webhooks/{id}/test":                     "among the webhook's attempts",
		"POST /v1/agents":                                 "with the change, in one commit",
		"PUT /v1/agents/{id}":                             "with the change, in one commit",
		"DELETE /v1/agents/{id}":                          "with the change, in one commit",
		"POST /v1/agents/{id}/link":                       "with the change, in one commit",
		"GET /v1/conversations/{account}/{openid}/export": "recorded before it leaves",
	}
	words, err := os.ReadFile("../../web/src/words/en.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, rt := range routes() {
		if rt.audit != "" && !strings.Contains(string(words), `"audit.`+rt.audit+`":`) {
			t.Errorf("the console has no words for %q", rt.audit)
		}
		name := rt.method + " " + rt.path
		writes := rt.method != "GET" && !slices.Contains(rt.access, "") && !slices.Contains(rt.access, gateway.Answers)
		switch {
		case writes && rt.audit == "" && elsewhere[name] == "":
			t.Errorf("%s: nobody will know who did it", name)
		case rt.audit != "" && elsewhere[name] != "":
			t.Errorf("%s is recorded twice", name)
		}
	}
}

// noting is a desk that keeps the record.
type noting struct {
	Desk
	kept   *[]string
	err    error
	before func(context.Context)
}

func (d noting) Record(ctx context.Context, e gateway.AuditEntry) error {
	if d.before != nil {
		d.before(ctx)
	}
	*d.kept = append(*d.kept, fmt.Sprintf("%s %s %s: %s", e.Who, e.What, e.Target, e.Detail))
	return d.err
}

// The record says who did what to what and which settings changed, and never a value.
func TestRecordOfSetUp(t *testing.T) {
	w := newWorld(t)
	var kept []string
	w.Desk = noting{kept: &kept}
	hook := read[gateway.Webhook](t, w.do(adminKey, "POST", "/v1/webhooks", `{"url":"https://example.com/CANARY"}`))
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string // "": nothing; ID is what the answer's id is
	}{
		{"POST", "/v1/accounts", `{"appid":"wxnew","secret":"CANARY","profile":"service_current"}`, 201, "account.add wxnew: "},
		{"PUT", "/v1/accounts/wxnew", `{"profile":"service_current","name":"甲","token":"CANARY2"}`, 200, "account.put wxnew: name, token"},
		{"PUT", "/v1/accounts/wxnew", `{"profile":"service_current","name":"甲"}`, 200, "account.put wxnew: "},
		{"PUT", "/v1/accounts/wxnew", `{"profile":"none"}`, 422, ""},
		{"POST", "/v1/accounts/wxnew/pause", `{"because":"CANARY"}`, 200, "account.pause wxnew: "},
		{"POST", "/v1/accounts/wxnew/resume", "", 200, "account.resume wxnew: "},
		{"POST", "/v1/accounts/wxnone/resume", "", 404, ""},
		{"DELETE", "/v1/accounts/wxnew", "", 204, "account.delete wxnew: "},
		{"PUT", "/v1/accounts/wxshop/token", `{"access_token":"CANARY","expires_in":7200}`, 200, "token.put wxshop: "},
		{"POST", "/v1/keys", `{"name":"CANARY","role":"send"}`, 201, "key.add ID: send"},
		{"PUT", "/v1/webhooks/" + hook.ID, `{"url":"https://example.com/CANARY","name":"CANARY","types":["*"]}`, 200, "webhook.put " + hook.ID + ": name, types"},
		{"DELETE", "/v1/webhooks/" + hook.ID, "", 204, "webhook.delete " + hook.ID + ": "},
		{"DELETE", "/v1/conversations/wxshop/oGone", "", 200, "conversation.erase wxshop: *"},
		{"GET", "/v1/conversations/wxshop/oFollower/export", "", 0, "conversation.export wxshop/oFollower: "},
		{"GET", "/v1/conversations/wxshop/oGone/export", "", 404, ""}, // there is nothing to record of, and nobody to name
		{"PUT", "/v1/accounts/wxbyput", `{"secret":"CANARY","profile":"service_current"}`, 201, "account.add wxbyput: "},
		{"POST", "/v1/accounts/wxshop/check", "", 200, ""},
		{"GET", "/v1/accounts", "", 200, ""},
	} {
		kept = nil
		a := w.do(adminKey, tt.method, tt.path, tt.body)
		if tt.status != 0 && a.StatusCode != tt.status {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, a.StatusCode, a.body)
		}
		want := tt.want
		if before, after, made := strings.Cut(want, "ID"); made {
			want = before + read[gateway.Key](t, a).ID + after
		}
		head, any := strings.CutSuffix(want, "*")
		switch {
		case want == "" && len(kept) > 0, want != "" && len(kept) != 1:
			t.Errorf("%s %s: on record %q, want %q", tt.method, tt.path, kept, want)
		case want != "" && kept[0] != "key_admin "+want && !(any && strings.HasPrefix(kept[0], "key_admin "+head)):
			t.Errorf("%s %s: on record %q, want %q", tt.method, tt.path, kept[0], want)
		case strings.Contains(strings.Join(kept, ""), "CANARY") || strings.Contains(strings.Join(kept, ""), "oGone"):
			t.Errorf("%s %s: the record tells a value: %q", tt.method, tt.path, kept)
		}
	}

	// A check that ends a pause is on record as what it did.
	kept = nil
	w.checked = func() { w.accounts[shop] = gateway.Account{AppID: shop, State: "active"}.WithDefaults() }
	w.accounts[shop] = gateway.Account{AppID: shop, State: "paused"}.WithDefaults()
	if w.do(adminKey, "POST", "/v1/accounts/wxshop/check", ""); !slices.Equal(kept, []string{"key_admin account.resume wxshop: "}) {
		t.Errorf("on record %q", kept)
	}

	// Who leaves after the call has begun is on record still.
	kept = nil
	gone, leave := context.WithCancel(t.Context())
	w.Desk = noting{kept: &kept, before: func(ctx context.Context) {
		leave()
		if ctx.Err() != nil {
			t.Error("the record is kept no longer than the caller waits")
		}
	}}
	w.doIn(gone, adminKey, "DELETE", "/v1/conversations/wxshop/oGone", "")
	if len(kept) != 1 {
		t.Errorf("on record %q", kept)
	}

	// What can't be put on record: data of a follower's stay here; a change that is done
	// is in the log at least.
	w.Desk = noting{kept: &kept, err: errors.New("no room")}
	if a := w.do(adminKey, "GET", "/v1/conversations/wxshop/oFollower/export", ""); a.StatusCode != 503 {
		t.Errorf("an export without a record: %d %s", a.StatusCode, a.body)
	}
	if a := w.do(adminKey, "POST", "/v1/accounts/wxshop/resume", ""); a.StatusCode != 200 || !strings.Contains(w.logged.String(), "a call is not on record") {
		t.Errorf("%d, log %s", a.StatusCode, w.logged.String())
	}
}

// Who decides about messages by hand is on record: one at a time at the console, many at
// once and what is said of unknown ones by whomever. What changes nothing is not.
func TestRecordOfDecisions(t *testing.T) {
	const people = "people"
	for _, tt := range []struct {
		name, key, call, body string
		state                 gateway.State // of msg_1; msg_2 is sent
		status                int
		want                  string // "": nothing; MADE is the message that was made
	}{
		{"resolve", people, "POST /v1/messages/msg_1/resolve", `{"as":"sent"}`, gateway.Unknown, 200, "agent_1 message.resolve msg_1: sent"},
		{"resolve, by a key", sendKey, "POST /v1/messages/msg_1/resolve", `{"as":"failed"}`, gateway.Unknown, 200, "key_send message.resolve msg_1: failed"},
		{"resolve what is not unknown", people, "POST /v1/messages/msg_2/resolve", `{"as":"failed"}`, gateway.Unknown, 409, ""},
		{"cancel", people, "POST /v1/messages/msg_1/cancel", "", gateway.Parked, 200, "agent_1 message.cancel msg_1: "},
		{"cancel once more", people, "POST /v1/messages/msg_1/cancel", "", gateway.Canceled, 200, ""},
		{"cancel what is sent", people, "POST /v1/messages/msg_2/cancel", "", gateway.Parked, 409, ""},
		{"cancel, by a program", sendKey, "POST /v1/messages/msg_1/cancel", "", gateway.Parked, 200, ""},
		{"retry", people, "POST /v1/messages/msg_1/retry", "", gateway.Failed, 202, "agent_1 message.retry msg_1: MADE"},
		{"retry what is sent", people, "POST /v1/messages/msg_2/retry", "", gateway.Failed, 409, ""},
		{"retry, by a program", sendKey, "POST /v1/messages/msg_1/retry", "", gateway.Failed, 202, ""},
		{"cancel some", people, "POST /v1/messages/cancel", `{"ids":["msg_1","msg_2"]}`, gateway.Parked, 200, "agent_1 message.cancel : canceled 1"},
		{"cancel one of a list", sendKey, "POST /v1/messages/cancel", `{"ids":["msg_1"]}`, gateway.Parked, 200, "key_send message.cancel msg_1: canceled 1"},
		{"cancel an account's", sendKey, "POST /v1/messages/cancel", `{"account":"wxshop","openid":"oFollower"}`, gateway.Queued, 200, "key_send message.cancel wxshop: canceled 1"},
		{"cancel some, dry", people, "POST /v1/messages/cancel", `{"ids":["msg_1"],"dry_run":true}`, gateway.Parked, 200, ""},
		{"cancel none", people, "POST /v1/messages/cancel", `{"ids":["msg_2"]}`, gateway.Parked, 200, ""},
		{"retry some", people, "POST /v1/messages/retry", `{"ids":["msg_1","msg_2"]}`, gateway.Failed, 200, "agent_1 message.retry : retried 1"},
		{"retry some, dry", people, "POST /v1/messages/retry", `{"ids":["msg_1"],"dry_run":true}`, gateway.Failed, 200, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			var kept []string
			w.Desk = noting{Desk: signedIn{role: gateway.Answers}, kept: &kept}
			w.add(gateway.Message{State: tt.state})
			w.add(gateway.Message{State: gateway.Sent})
			key, headers := tt.key, []string(nil)
			if key == people {
				key, headers = "", []string{cookie}
			}
			method, path, _ := strings.Cut(tt.call, " ")
			a := w.do(key, method, path, tt.body, headers...)
			if a.StatusCode != tt.status {
				t.Fatalf("%d %s", a.StatusCode, a.body)
			}
			want := tt.want
			if before, made := strings.CutSuffix(want, "MADE"); made {
				want = before + read[gateway.Message](t, a).ID
			}
			if got := strings.Join(kept, "\n"); got != want {
				t.Errorf("on record %q, want %q", got, want)
			}
		})
	}
}

// Whoever waits for a message that they sent again and leaves is waited for no longer.
func TestWhoWaitsMayLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var kept []string
		w.Desk = noting{Desk: signedIn{role: gateway.Answers}, kept: &kept}
		w.add(gateway.Message{State: gateway.Failed})
		ctx, leave := context.WithCancel(t.Context())
		w.await = func(ctx context.Context, m gateway.Message) gateway.Message {
			leave()
			<-ctx.Done()
			return m
		}
		began := time.Now()
		w.doIn(ctx, "", "POST", "/v1/messages/msg_1/retry?wait=30s", "", cookie)
		if took := time.Since(began); took > 0 || len(kept) != 1 {
			t.Errorf("after %v, on record %q", took, kept)
		}
	})
}
