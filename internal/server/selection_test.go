package server

import (
	"fmt"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// A shop with one message of each state, msg_1 queued to msg_8 canceled, another
// account's msg_9, and msg_10 that waits for its resend.
func assorted(t *testing.T) *world {
	w := newWorld(t)
	for _, s := range gateway.States() {
		w.add(gateway.Message{State: s})
	}
	w.add(gateway.Message{Account: other, State: gateway.Parked})
	at := gateway.At(start)
	w.add(gateway.Message{State: gateway.Unknown, RetryAt: &at})
	return w
}

func TestSelections(t *testing.T) {
	for _, tt := range []struct {
		row, key, call, body string
		status               int
		want                 string // outcome: ids, sorted
	}{
		{"cancel: nothing said is refused", sendKey, "cancel", `{}`, 422, "invalid-request"},
		{"cancel: a limit says nothing", sendKey, "cancel", `{"limit":5,"dry_run":true}`, 422, "invalid-request"},
		{"retry: nothing said is refused", sendKey, "retry", `{}`, 422, "invalid-request"},
		{"retry: a state must be said", sendKey, "retry", `{"account":"wxshop"}`, 422, "invalid-request"},
		{"cancel: no state that can be canceled", sendKey, "cancel", `{"state":"sent"}`, 422, "invalid-request"},
		{"retry: no state that can be repeated", sendKey, "retry", `{"state":"sent"}`, 422, "invalid-request"},
		{"ids beside a filter", sendKey, "cancel", `{"ids":["msg_1"],"state":"queued"}`, 422, "invalid-request"},
		{"an unknown member", sendKey, "cancel", `{"state":"queued","all":true}`, 422, "invalid-request"},
		{"a cursor of nobody's", sendKey, "cancel", `{"account":"wxshop","cursor":"sent:1"}`, 422, "invalid-request"},
		{"1,001 messages at once", sendKey, "cancel", `{"account":"wxshop","limit":1001}`, 422, "invalid-request"},
		{"an account that the key is not for", otherKey, "cancel", `{"account":"wxshop"}`, 404, "unknown-account"},
		{"a key for reading", readKey, "cancel", `{"account":"wxshop"}`, 403, "forbidden"},

		{"cancel: what waits", sendKey, "cancel", `{"account":"wxshop"}`, 200, "canceled: msg_1 msg_2"},
		{"cancel: of every account of the key", sendKey, "cancel", `{"openid":"oFollower"}`, 200, "canceled: msg_1 msg_2 msg_9"},
		{"cancel: not of others", shopKey, "cancel", `{"openid":"oFollower"}`, 200, "canceled: msg_1 msg_2"},
		{"cancel: one state", sendKey, "cancel", `{"account":"wxshop","state":"parked"}`, 200, "canceled: msg_2"},
		{"cancel: of unknown ones the resend", sendKey, "cancel", `{"state":"unknown"}`, 200, "called-off: msg_10; not-cancelable: msg_6"},
		{"cancel: ids", shopKey, "cancel", `{"ids":["msg_1","msg_1","msg_3","msg_9","msg_none"]}`, 200, "canceled: msg_1; not-cancelable: msg_3; not-found: msg_9 msg_none"},
		{"cancel: none", sendKey, "cancel", `{"account":"wxother","state":"queued"}`, 200, ""},
		{"retry: failed", sendKey, "retry", `{"state":"failed"}`, 200, "retried: msg_5"},
		{"retry: unknown", sendKey, "retry", `{"state":"unknown"}`, 200, "retried: msg_10 msg_6"},
		{"retry: ids", shopKey, "retry", `{"ids":["msg_4","msg_7","msg_8","msg_9"]}`, 200, "not-found: msg_9; not-retryable: msg_4; retried: msg_7 msg_8"},
	} {
		t.Run(tt.row, func(t *testing.T) {
			for _, dry := range []bool{true, false} {
				w := assorted(t)
				before := slices.Clone(w.messages)
				body := tt.body
				if dry && body != "{}" {
					body = strings.Replace(body, "{", `{"dry_run":true,`, 1)
				}
				outcomes := map[string][]string{}
				cursor := ""
				for calls := 0; ; calls++ {
					b := body
					if cursor != "" {
						b = strings.Replace(body, "{", fmt.Sprintf(`{"cursor":%q,`, cursor), 1)
					}
					if strings.Contains(tt.body, "dry_run") {
						b = tt.body
					}
					a := w.do(tt.key, "POST", "/v1/messages/"+tt.call, b)
					if a.StatusCode != tt.status {
						t.Fatalf("%d %s", a.StatusCode, a.body)
					}
					if tt.status != 200 {
						if p := read[gateway.Problem](t, a); p.Code != tt.want || p.Detail == "" {
							t.Errorf("%+v", p)
						}
						break
					}
					got := read[gateway.Selected](t, a)
					for o, ids := range got.IDs {
						if got.Counts[o] != len(ids) {
							t.Errorf("%d counted, %d named", got.Counts[o], len(ids))
						}
						outcomes[o] = append(outcomes[o], ids...)
					}
					if got.DryRun != dry || len(got.Made) != 0 && dry || tt.call == "retry" && !dry && len(got.Made) != got.Counts["retried"] {
						t.Errorf("%+v", got)
					}
					if cursor = got.Next; cursor == "" {
						break
					}
				}
				if dry && !reflect.DeepEqual(w.messages, before) {
					t.Error("a dry run did something")
				}
				if tt.status != 200 {
					continue
				}
				var lines []string
				for o, ids := range outcomes {
					slices.Sort(ids)
					lines = append(lines, o+": "+strings.Join(ids, " "))
				}
				slices.Sort(lines)
				if got := strings.Join(lines, "; "); got != tt.want {
					t.Errorf("dry run %v: %q, want %q", dry, got, tt.want)
				}
			}
		})
	}
}

// A call whose answer was lost is made again, and nothing is sent twice; also when
// the first repeat was sent meanwhile.
func TestRepeatedOnce(t *testing.T) {
	w := newWorld(t)
	failed := w.add(gateway.Message{State: gateway.Failed})
	first := read[gateway.Selected](t, w.do(sendKey, "POST", "/v1/messages/retry", `{"state":"failed"}`))
	made := first.Made[failed.ID]
	m, err := w.find(made)
	if err != nil || m.RetryOf != failed.ID || m.Message == nil {
		t.Fatalf("%+v, %v", first, err)
	}
	m.State = gateway.Sent
	second := read[gateway.Selected](t, w.do(sendKey, "POST", "/v1/messages/retry", `{"state":"failed"}`))
	if second.Counts["joined"] != 1 || second.Made[failed.ID] != made || len(w.messages) != 2 {
		t.Errorf("%+v, %d messages", second, len(w.messages))
	}
}

// What failed is repeated in the order in which it was accepted, across pages too, and
// what was made by it is not among it, though it may have failed meanwhile.
func TestRepeatedInOrder(t *testing.T) {
	w := newWorld(t)
	var want, got []string
	for range 7 {
		want = append(want, w.add(gateway.Message{State: gateway.Failed}).ID)
	}
	for cursor := ""; len(got) < 20; {
		answer := read[gateway.Selected](t, w.do(sendKey, "POST", "/v1/messages/retry", fmt.Sprintf(`{"state":"failed","limit":3,"cursor":%q}`, cursor)))
		for i := range w.messages {
			if m := &w.messages[i]; m.RetryOf != "" && m.State == gateway.Queued {
				got = append(got, m.RetryOf)
				m.State = gateway.Failed
			}
		}
		if cursor = answer.Next; cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("repeated %v, want %v", got, want)
	}
}

// Many come in pages, each message once.
func TestSelectionInPages(t *testing.T) {
	w := newWorld(t)
	for i := range 2500 {
		w.add(gateway.Message{State: []gateway.State{gateway.Queued, gateway.Parked, gateway.Sent}[i%3]})
	}
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	c := &gateway.Client{BaseURL: server.URL, Key: sendKey}
	n, calls := 0, 0
	for s := (gateway.Selection{Account: shop, Limit: 300, DryRun: true}); ; calls++ {
		got, err := c.CancelAll(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if got.Counts["canceled"] > 300 {
			t.Errorf("%v in one call", got.Counts)
		}
		n += got.Counts["canceled"]
		if s.Cursor = got.Next; got.Next == "" {
			break
		}
	}
	if n != 1667 || calls > 10 {
		t.Errorf("%d in %d calls", n, calls)
	}
	failed := w.add(gateway.Message{State: gateway.Failed})
	if got, err := c.RetryAll(t.Context(), gateway.Selection{IDs: []string{failed.ID}}); err != nil || got.Counts["retried"] != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
