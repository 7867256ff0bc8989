package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

func inParts(n int) func(*testing.T, *world, answer) {
	return func(t *testing.T, w *world, a answer) {
		if got := w.received[len(w.received)-1].Parts; len(got) != n {
			t.Errorf("%d parts, want %d", len(got), n)
		}
	}
}

// The contract's table of status codes, row by row.
func TestStatusCodes(t *testing.T) {
	good := textTo("oFollower", "hi")
	over := func(s gateway.State) func(context.Context, gateway.Message) gateway.Message {
		return func(_ context.Context, m gateway.Message) gateway.Message { m.State = s; return m }
	}
	for _, tt := range []struct {
		row     string
		key     string
		call    string // method and path
		body    string
		headers []string
		given   func(w *world)
		status  int
		code    string                                 // of the problem
		then    func(t *testing.T, w *world, a answer) // what else holds
	}{
		{row: "kept", call: "POST /v1/messages", body: good, status: 202,
			then: func(t *testing.T, w *world, a answer) {
				if m := read[gateway.Message](t, a); m.ID == "" || m.Window == nil || m.State != gateway.Queued {
					t.Errorf("%+v", m)
				}
			}},
		{row: "wait: sent", call: "POST /v1/messages?wait=10s", body: good, given: func(w *world) { w.await = over(gateway.Sent) }, status: 200},
		{row: "wait: failed", call: "POST /v1/messages?wait=10s", body: good, given: func(w *world) { w.await = over(gateway.Failed) }, status: 200},
		{row: "wait: expired", call: "POST /v1/messages?wait=10s", body: good, given: func(w *world) { w.await = over(gateway.Expired) }, status: 200},
		{row: "wait: canceled", call: "POST /v1/messages?wait=10s", body: good, given: func(w *world) { w.await = over(gateway.Canceled) }, status: 200},
		{row: "wait: unknown", call: "POST /v1/messages?wait=10s", body: good, given: func(w *world) { w.await = over(gateway.Unknown) }, status: 200},
		{row: "wait: parked, at once", call: "POST /v1/messages?wait=10s", body: good, given: func(w *world) { w.await = over(gateway.Parked) }, status: 202},
		{row: "wait: time over, its present state", call: "POST /v1/messages?wait=1ms", body: good, status: 202,
			then: func(t *testing.T, w *world, a answer) {
				if m := read[gateway.Message](t, a); m.State != gateway.Queued {
					t.Errorf("%+v", m)
				}
			}},
		{row: "wait: 60 s", call: "POST /v1/messages?wait=60s", body: good, given: func(w *world) { w.await = over(gateway.Sent) }, status: 200},
		{row: "wait: more than 60 s", call: "POST /v1/messages?wait=60001ms", body: good, status: 422, code: "invalid-request"},
		{row: "wait: no time", call: "POST /v1/messages?wait=soon", body: good, status: 422, code: "invalid-request"},

		{row: "replay", call: "POST /v1/messages", body: ` {"message":{"text":{"content":"hi"},"msgtype":"text","touser":"oFollower"},"account":"` + shop + `"}`, headers: []string{"Idempotency-Key: k1"},
			given: func(w *world) { w.do(sendKey, "POST", "/v1/messages", good, "Idempotency-Key: k1") }, status: 200,
			then: func(t *testing.T, w *world, a answer) {
				if a.Header.Get("Idempotency-Replayed") != "true" || read[gateway.Message](t, a).ID != "msg_1" || len(w.messages) != 1 {
					t.Errorf("%v %s", a.Header, a.body)
				}
			}},
		{row: "replay: other body", call: "POST /v1/messages", body: textTo("oFollower", "ho"), headers: []string{"Idempotency-Key: k1"},
			given: func(w *world) { w.do(sendKey, "POST", "/v1/messages", good, "Idempotency-Key: k1") }, status: 422, code: "idempotency-mismatch"},
		{row: "replay: kept once, though the rules would refuse it now", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"news","news":{"articles":[{},{}]}}}`, headers: []string{"Idempotency-Key: k1"},
			given: func(w *world) {
				a := w.accounts[shop]
				a.Profile = "legacy_48h"
				w.accounts[shop] = a
				w.do(sendKey, "POST", "/v1/messages", `{"account":"wxshop","message":{"touser":"o","msgtype":"news","news":{"articles":[{},{}]}}}`, "Idempotency-Key: k1")
				a.Profile = kefu.DefaultProfile
				w.accounts[shop] = a
			}, status: 200},
		{row: "replay: what was refused uses up no key", call: "POST /v1/messages", body: good, headers: []string{"Idempotency-Key: k1"},
			given: func(w *world) {
				w.do(sendKey, "POST", "/v1/messages", textTo("", "hi"), "Idempotency-Key: k1")
			}, status: 202},
		{row: "a key of 255 bytes", call: "POST /v1/messages", body: good, headers: []string{"Idempotency-Key: " + strings.Repeat("k", 255)}, status: 202},
		{row: "a key of 256 bytes", call: "POST /v1/messages", body: good, headers: []string{"Idempotency-Key: " + strings.Repeat("k", 256)}, status: 422, code: "invalid-request"},

		{row: "broken JSON: line and column", call: "POST /v1/messages", body: "{\n \"message\": {\"touser\": \"o\",}\n}", status: 400, code: "invalid-json",
			then: func(t *testing.T, w *world, a answer) {
				if p := read[gateway.Problem](t, a); p.Line != 2 || p.Column != 28 {
					t.Errorf("line %d, column %d", p.Line, p.Column)
				}
			}},
		{row: "broken JSON: nothing", call: "POST /v1/messages", headers: []string{"Content-Type: application/json"}, status: 400, code: "invalid-json"},
		{row: "broken JSON: not UTF-8", call: "POST /v1/messages", body: strings.Replace(good, "hi", "h\xff", 1), status: 400, code: "invalid-json"},
		{row: "broken JSON: 65 deep", call: "POST /v1/messages", body: strings.Repeat("[", 65) + strings.Repeat("]", 65), status: 400, code: "invalid-json"},
		{row: "not broken: brackets in a text", call: "POST /v1/messages", body: textTo("oFollower", strings.Repeat(`[{"\`, 100)), status: 202},
		{row: "a number that no double holds, under a key", call: "POST /v1/messages", body: strings.Replace(good, `"hi"`, `"hi","x":1e999`, 1), headers: []string{"Idempotency-Key: k"}, status: 400, code: "invalid-json"},

		{row: "invalid message: location, limit, actual, source", call: "POST /v1/messages", body: textTo("oFollower", strings.Repeat("汉", 683)), status: 422, code: "invalid-message",
			then: func(t *testing.T, w *world, a answer) {
				p := read[gateway.Problem](t, a)
				if e := p.Errors[0]; len(p.Errors) != 1 || e.Location != "message.text.content" || e.Limit != 2048 || e.Actual != 2049 || e.Source == "" {
					t.Errorf("%+v", p.Errors)
				}
				if len(w.received) != 0 {
					t.Error("it went on")
				}
			}},
		{row: "2048 bytes are fine", call: "POST /v1/messages", body: textTo("oFollower", strings.Repeat("汉", 682)+"ab"), status: 202},
		{row: "invalid message: two articles", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"news","news":{"articles":[{"title":"a"},{"title":"b"}]}}}`, status: 422, code: "invalid-message"},
		{row: "eight articles under legacy_48h", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"news","news":{"articles":[{},{},{},{},{},{},{},{}]}}}`,
			given: func(w *world) { a := w.accounts[shop]; a.Profile = "legacy_48h"; w.accounts[shop] = a }, status: 202},
		{row: "invalid message: wrong type", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"text","text":"hi"}}`, status: 422, code: "invalid-message"},
		{row: "invalid message: no object", call: "POST /v1/messages", body: `{"account":"wxshop","message":"hi"}`, status: 422, code: "invalid-message"},
		{row: "invalid message: none", call: "POST /v1/messages", body: `{"account":"wxshop"}`, status: 422, code: "invalid-message"},
		{row: "invalid message: nobody to send to", call: "POST /v1/messages", body: textTo("", "hi"), status: 422, code: "invalid-message"},
		{row: "invalid message: an openid no openid is like", call: "POST /v1/messages", body: textTo(strings.Repeat("o", 129), "hi"), status: 422, code: "invalid-message"},
		{row: "invalid message: control characters in the openid", call: "POST /v1/messages", body: textTo("o\n", "hi"), status: 422, code: "invalid-message"},
		{row: "warned and kept: video without a cover", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"video","video":{"media_id":"m"}}}`, status: 202,
			then: func(t *testing.T, w *world, a answer) {
				if m := read[gateway.Message](t, a); len(m.Warnings) != 1 || m.Warnings[0].Location != "message.video.thumb_media_id" {
					t.Errorf("%+v", m.Warnings)
				}
			}},

		{row: "1 MiB is fine", call: "POST /v1/messages", body: good + strings.Repeat(" ", 1<<20-len(good)), status: 202},
		{row: "more than 1 MiB", call: "POST /v1/messages", body: good + strings.Repeat(" ", 1<<20-len(good)+1), status: 413, code: "too-large"},
		{row: "a batch of 8 MiB is fine", call: "POST /v1/messages/batch", body: "[" + good + "]" + strings.Repeat(" ", 8<<20-len(good)-2), status: 200},
		{row: "a batch of more than 8 MiB", call: "POST /v1/messages/batch", body: "[" + good + "]" + strings.Repeat(" ", 8<<20-len(good)-1), status: 413, code: "too-large"},
		{row: "method", call: "PATCH /v1/messages", status: 405, code: "method-not-allowed",
			then: func(t *testing.T, w *world, a answer) {
				if got := a.Header.Get("Allow"); got != "GET, HEAD, POST" {
					t.Errorf("Allow: %s", got)
				}
			}},
		{row: "method: one for the call", call: "GET /v1/messages/msg_1/cancel", status: 405, code: "method-not-allowed",
			then: func(t *testing.T, w *world, a answer) {
				if got := a.Header.Get("Allow"); got != "POST" {
					t.Errorf("Allow: %s", got)
				}
			}},
		{row: "media type", call: "POST /v1/messages", body: good, headers: []string{"Content-Type: text/plain"}, status: 415, code: "unsupported-media-type"},
		{row: "media type: none", call: "POST /v1/messages", body: good, headers: []string{"Content-Type: "}, status: 415, code: "unsupported-media-type"},
		{row: "media type with a charset", call: "POST /v1/messages", body: good, headers: []string{"Content-Type: application/json; charset=utf-8"}, status: 202},

		{row: "unknown field of the envelope", call: "POST /v1/messages", body: strings.Replace(good, `{`, `{"prority":"bulk",`, 1), status: 422, code: "invalid-request",
			then: func(t *testing.T, w *world, a answer) {
				if p := read[gateway.Problem](t, a); len(p.Errors) != 1 || p.Errors[0].Location != "prority" {
					t.Errorf("%+v", p.Errors)
				}
			}},
		{row: "unknown field of the envelope: other letters", call: "POST /v1/messages", body: strings.Replace(good, `"account"`, `"Account"`, 1), key: shopKey, status: 422, code: "invalid-request"},
		{row: "unknown field of the query", call: "POST /v1/messages?wiat=10s", body: good, status: 422, code: "invalid-request"},
		{row: "unknown field inside message: kept", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"text","text":{"content":"<a href=\"x\">&</a>","new":1},"newer":[2]}}`, status: 202,
			then: func(t *testing.T, w *world, a answer) {
				want := `{"touser":"o","msgtype":"text","text":{"content":"<a href=\"x\">&</a>","new":1},"newer":[2]}`
				if m := read[gateway.Message](t, a); string(m.Message) != want || string(w.received[0].Message) != want {
					t.Errorf("%s", a.body)
				}
			}},
		{row: "wrong type in the envelope", call: "POST /v1/messages", body: strings.Replace(good, `{`, `{"not_before":"tomorrow","priority":1,"metadata":[],"when_closed":"wait",`, 1), status: 422, code: "invalid-request",
			then: func(t *testing.T, w *world, a answer) {
				if p := read[gateway.Problem](t, a); len(p.Errors) != 4 {
					t.Errorf("%+v", p.Errors)
				}
			}},
		{row: "metadata of 4 KiB is fine", call: "POST /v1/messages", body: strings.Replace(good, `{`, `{"metadata":{"k":"`+strings.Repeat("v", 4096-8)+`"},`, 1), status: 202},
		{row: "metadata of more", call: "POST /v1/messages", body: strings.Replace(good, `{`, `{"metadata":{"k":"`+strings.Repeat("v", 4096-7)+`"},`, 1), status: 422, code: "invalid-request"},
		{row: "expires_at not after not_before", call: "POST /v1/messages", body: strings.Replace(good, `{`, `{"not_before":"2026-11-24T00:00:00Z","expires_at":"2026-11-24T08:00:00+08:00",`, 1), status: 422, code: "invalid-request"},
		{row: "expires_at after not_before", call: "POST /v1/messages", body: strings.Replace(good, `{`, `{"not_before":"2026-11-24T00:00:00Z","expires_at":"2026-11-24T00:00:00.001Z",`, 1), status: 202},

		{row: "account left out: the only one of the key", key: shopKey, call: "POST /v1/messages", body: strings.Replace(good, `"account":"wxshop",`, "", 1), status: 202,
			then: func(t *testing.T, w *world, a answer) {
				if m := read[gateway.Message](t, a); m.Account != shop {
					t.Errorf("%+v", m)
				}
			}},
		{row: "account left out: the only one there is", call: "POST /v1/messages", body: strings.Replace(good, `"account":"wxshop",`, "", 1), given: func(w *world) { delete(w.accounts, other) }, status: 202},
		{row: "account left out: two", call: "POST /v1/messages", body: strings.Replace(good, `"account":"wxshop",`, "", 1), status: 422, code: "invalid-request"},
		{row: "account left out: none there is", call: "POST /v1/messages", body: strings.Replace(good, `"account":"wxshop",`, "", 1), given: func(w *world) { clear(w.accounts) }, status: 422, code: "invalid-request"},
		{row: "unknown account", call: "POST /v1/messages", body: strings.Replace(good, shop, "wxnone", 1), status: 404, code: "unknown-account"},
		{row: "an account that the key is not for", key: otherKey, call: "POST /v1/messages", body: good, status: 404, code: "unknown-account"},
		{row: "unknown message", call: "GET /v1/messages/msg_9", status: 404, code: "not-found"},
		{row: "message of another account", key: otherKey, call: "GET /v1/messages/msg_1", given: func(w *world) { w.add(gateway.Message{}) }, status: 404, code: "not-found"},
		{row: "unknown path", call: "GET /v1/message", status: 404, code: "not-found"},

		{row: "when_closed: fail, closed", call: "POST /v1/messages", body: good, given: func(w *world) { w.acceptErr = fault(gateway.WindowIsClosed) }, status: 409, code: "window-closed", then: errcode(45015)},
		{row: "when_closed: fail, empty", call: "POST /v1/messages", body: good, given: func(w *world) { w.acceptErr = fault(gateway.AllowanceSpent) }, status: 409, code: "allowance-spent", then: errcode(45047)},
		{row: "when_closed: fail, in the SDK's words", call: "POST /v1/messages", body: good, given: func(w *world) { w.acceptErr = fmt.Errorf("accept: %w", kefu.ErrWindowClosed) }, status: 409, code: "window-closed", then: errcode(45015)},

		{row: "on_unknown resend", call: "POST /v1/messages", body: strings.Replace(good, `{`, `{"on_unknown":"resend",`, 1), status: 202,
			then: func(t *testing.T, w *world, a answer) {
				if m := read[gateway.Message](t, a); m.OnUnknown != gateway.Resend {
					t.Errorf("%+v", m)
				}
			}},
		{row: "on_unknown resend, as the account has it", call: "POST /v1/messages", body: good, given: func(w *world) {
			w.do(adminKey, "PUT", "/v1/accounts/"+shop, `{"on_unknown":"resend"}`)
		}, status: 202, then: func(t *testing.T, w *world, a answer) {
			if m := read[gateway.Message](t, a); m.OnUnknown != gateway.Resend {
				t.Errorf("%+v", m)
			}
		}},
		{row: "priority bulk", call: "POST /v1/messages", body: strings.Replace(good, `{`, `{"priority":"bulk",`, 1), status: 202,
			then: func(t *testing.T, w *world, a answer) {
				if m := read[gateway.Message](t, a); m.Priority != gateway.Bulk {
					t.Errorf("%+v", m)
				}
			}},
		{row: "long_text split: one that fits is not", call: "POST /v1/messages", body: strings.Replace(textTo("oFollower", strings.Repeat("a", 2048)), `{`, `{"long_text":"split",`, 1), status: 202, then: inParts(0)},
		{row: "long_text split: one byte more", call: "POST /v1/messages", body: strings.Replace(textTo("oFollower", strings.Repeat("a", 2049)), `{`, `{"long_text":"split",`, 1), status: 202, then: inParts(2)},
		{row: "long_text split: 100 parts", call: "POST /v1/messages", body: strings.Replace(textTo("oFollower", strings.Repeat("a", 204_800)), `{`, `{"long_text":"split",`, 1), status: 202, then: inParts(100)},
		{row: "long_text split: 101 parts", call: "POST /v1/messages", body: strings.Replace(textTo("oFollower", strings.Repeat("a", 204_801)), `{`, `{"long_text":"split",`, 1), status: 422, code: "invalid-message"},
		{row: "long_text split: a link that fits in no part", call: "POST /v1/messages", body: strings.Replace(textTo("oFollower", "https://example.com/"+strings.Repeat("a", 2048)), `{`, `{"long_text":"split",`, 1), status: 422, code: "invalid-message",
			then: func(t *testing.T, w *world, a answer) {
				if p := read[gateway.Problem](t, a); len(p.Errors) != 1 || p.Errors[0].Limit != 2048 || !strings.Contains(p.Errors[0].Message, "link") {
					t.Errorf("%+v", p.Errors)
				}
			}},
		{row: "long_text split: more parts than any allowance", call: "POST /v1/messages", body: good, given: func(w *world) {
			w.acceptErr = &gateway.Problem{Code: gateway.InvalidMessage, Errors: []gateway.FieldError{{Location: "message.text.content", Limit: 5, Actual: 7}}}
		}, status: 422, code: "invalid-message",
			then: func(t *testing.T, w *world, a answer) {
				if p := read[gateway.Problem](t, a); len(p.Errors) != 1 || !strings.Contains(p.Errors[0].Message, "needs 7 messages") {
					t.Errorf("%+v", p.Errors)
				}
			}},
		{row: "long_text: repeated in parts", call: "POST /v1/messages/msg_1/retry", given: func(w *world) {
			m := w.add(gateway.Message{State: gateway.Failed})
			long, _ := w.find(m.ID)
			long.Message = json.RawMessage(strings.Replace(textTo("oFollower", strings.Repeat("a", 2049)), `{"account":"wxshop","message":`, "", 1))
			long.Message, long.Parts, long.PartsSent = long.Message[:len(long.Message)-1], 2, 1
		}, status: 202, then: func(t *testing.T, w *world, a answer) {
			inParts(2)(t, w, a)
			if !w.received[0].PossibleDuplicate {
				t.Error("the part that was sent arrives twice, unmarked")
			}
		}},
		{row: "long_text: refused unless split is said", call: "POST /v1/messages", body: textTo("oFollower", strings.Repeat("a", 2049)), status: 422, code: "invalid-message"},
		{row: "an asset that is not there", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"image","image":{"media_id":"asset:1"}}}`, status: 422, code: "invalid-message",
			then: func(t *testing.T, w *world, a answer) {
				if p := read[gateway.Problem](t, a); len(p.Errors) != 1 || p.Errors[0].Location != "message.image.media_id" || !strings.Contains(p.Errors[0].Message, "POST /v1/assets") {
					t.Errorf("%+v", p.Errors)
				}
			}},
		{row: "an asset", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"image","image":{"media_id":"` + shopAsset + `"}}}`, status: 202},
		{row: "another account's asset", call: "POST /v1/messages", body: `{"account":"wxother","message":{"touser":"o","msgtype":"image","image":{"media_id":"` + shopAsset + `"}}}`, status: 422, code: "invalid-message"},
		{row: "an asset of another kind", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"voice","voice":{"media_id":"` + shopAsset + `"}}}`, status: 422, code: "invalid-message",
			then: func(t *testing.T, w *world, a answer) {
				if p := read[gateway.Problem](t, a); len(p.Errors) != 1 || p.Errors[0].Message != "it is png; taken are amr, mp3" {
					t.Errorf("%+v", p.Errors)
				}
			}},
		{row: "a URL for a cover", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"music","music":{"title":"t","description":"d","musicurl":"https://a/","hqmusicurl":"https://a/","thumb_media_id":"https://a/b.jpg"}}}`, status: 202},
		{row: "a URL to where the gateway does not go", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"image","image":{"media_id":"http://127.0.0.1/"}}}`, status: 422, code: "invalid-message"},
		{row: "a gateway without assets", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"image","image":{"media_id":"asset:1"}}}`, status: 422, code: "not-yet-supported",
			given: func(w *world) { w.Assets = nil }},
		{row: "a URL is fine where WeChat takes one", call: "POST /v1/messages", body: `{"account":"wxshop","message":{"touser":"o","msgtype":"news","news":{"articles":[{"url":"https://example.com","picurl":"https://example.com/a.png"}]}}}`, status: 202},
		{row: "priority human works", call: "POST /v1/messages", body: strings.Replace(good, `{`, `{"priority":"human",`, 1), status: 202},

		{row: "no key", key: "-", call: "POST /v1/messages", body: good, status: 401, code: "unauthorized",
			then: func(t *testing.T, w *world, a answer) {
				if a.Header.Get("WWW-Authenticate") == "" {
					t.Error("no WWW-Authenticate")
				}
			}},
		{row: "wrong key", key: "kf_wrong_0123456789abcdef0123456789abcdef", call: "POST /v1/messages", body: good, status: 401, code: "unauthorized"},
		{row: "no key, though it is the only text", key: "x", call: "POST /v1/messages", body: good, status: 401, code: "unauthorized"},
		{row: "the store can't look the key up", call: "POST /v1/messages", body: good, given: func(w *world) { w.storeErr = errors.New("disk I/O error") }, status: 503, code: "overloaded"},
		{row: "not allowed", key: readKey, call: "POST /v1/messages", body: good, status: 403, code: "forbidden"},

		{row: "overload", call: "POST /v1/messages", body: good, given: func(w *world) { w.acceptErr = fault(gateway.Overloaded) }, status: 503, code: "overloaded", then: retryAfter},
		{row: "store not writable", call: "POST /v1/messages", body: good, given: func(w *world) { w.acceptErr = errors.New("database or disk is full") }, status: 503, code: "overloaded",
			then: func(t *testing.T, w *world, a answer) {
				retryAfter(t, w, a)
				if strings.Contains(string(a.body), "disk is full") {
					t.Errorf("a stranger learns of the disk: %s", a.body)
				}
				if !strings.Contains(w.logged.String(), "disk is full") {
					t.Error("the operator doesn't")
				}
			}},
		{row: "bodies beyond what fits in memory", call: "POST /v1/messages", body: good, given: func(w *world) { w.held.Store(maxHeld) }, status: 503, code: "overloaded"},

		{row: "batch", call: "POST /v1/messages/batch", body: `{"messages":[` + good + `]}`, status: 200},
		{row: "batch: broken JSON", call: "POST /v1/messages/batch", body: `[` + good + `,]`, status: 400, code: "invalid-json"},
		{row: "batch: 1,000", call: "POST /v1/messages/batch", body: "[" + strings.Repeat(good+",", 999) + good + "]", status: 200},
		{row: "batch: 1,001", call: "POST /v1/messages/batch", body: "[" + strings.Repeat(good+",", 1000) + good + "]", status: 422, code: "invalid-request",
			then: func(t *testing.T, w *world, a answer) {
				if len(w.messages) > 0 {
					t.Errorf("%d kept", len(w.messages))
				}
			}},
		{row: "batch: no list", call: "POST /v1/messages/batch", body: `{"messages":{}}`, status: 422, code: "invalid-request"},
		{row: "batch: empty", call: "POST /v1/messages/batch", body: `[]`, status: 200},

		{row: "trigger", call: "POST /v1/triggers", body: `{"account":"wxshop","openid":"o","trigger":"payment"}`, status: 202,
			then: func(t *testing.T, w *world, a answer) {
				if r := read[gateway.Triggered](t, a); !r.Opened || !r.Window.Buckets[0].OpenedAt.Equal(start) {
					t.Errorf("%s", a.body)
				}
			}},
		{row: "trigger: at is cut to seconds", call: "POST /v1/triggers", body: `{"account":"wxshop","openid":"o","trigger":"payment","at":"2026-11-23T19:30:00.999+08:00"}`, status: 202,
			then: func(t *testing.T, w *world, a answer) {
				if r := read[gateway.Triggered](t, a); !r.Window.Buckets[0].OpenedAt.Equal(start.Add(-30 * time.Minute)) {
					t.Errorf("%s", a.body)
				}
			}},
		{row: "trigger: unfollow too", call: "POST /v1/triggers", body: `{"account":"wxshop","openid":"o","trigger":"unfollow"}`, status: 202},
		{row: "trigger: 60 s ahead", call: "POST /v1/triggers", body: `{"account":"wxshop","openid":"o","trigger":"scan","at":"2026-11-23T12:01:00.5Z"}`, status: 202},
		{row: "trigger: 61 s ahead", call: "POST /v1/triggers", body: `{"account":"wxshop","openid":"o","trigger":"scan","at":"2026-11-23T12:01:01Z"}`, status: 422, code: "invalid-request"},
		{row: "trigger: none", call: "POST /v1/triggers", body: `{"account":"wxshop","openid":"o"}`, status: 422, code: "invalid-request"},
		{row: "trigger: not one", call: "POST /v1/triggers", body: `{"account":"wxshop","openid":"o","trigger":"refund"}`, status: 422, code: "invalid-request"},
		{row: "trigger: unknown account", call: "POST /v1/triggers", body: `{"account":"wxnone","openid":"o","trigger":"scan"}`, status: 404, code: "unknown-account"},
	} {
		t.Run(tt.row, func(t *testing.T) {
			w := newWorld(t)
			if tt.given != nil {
				tt.given(w)
			}
			key := def(tt.key, sendKey)
			if key == "-" {
				key = ""
			}
			method, path, _ := strings.Cut(tt.call, " ")
			a := w.do(key, method, path, tt.body, tt.headers...)
			if a.StatusCode != tt.status {
				t.Fatalf("%d, want %d: %s", a.StatusCode, tt.status, a.body)
			}
			if tt.code != "" {
				p := read[gateway.Problem](t, a)
				if p.Code != tt.code || p.Status != tt.status || p.Title == "" || p.Detail == "" {
					t.Errorf("%s", a.body)
				}
				if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
					t.Errorf("Content-Type: %s", got)
				}
			}
			if tt.then != nil {
				tt.then(t, w, a)
			}
		})
	}
}

func errcode(code int) func(*testing.T, *world, answer) {
	return func(t *testing.T, w *world, a answer) {
		if p := read[gateway.Problem](t, a); p.ErrCode != code || p.Class == "" || p.Advice == "" || p.Help == "" {
			t.Errorf("%s", a.body)
		}
		if len(w.messages) > 0 {
			t.Error("something was kept")
		}
	}
}

func retryAfter(t *testing.T, w *world, a answer) {
	if a.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if len(w.messages) > 0 {
		t.Error("something was kept")
	}
}

// In a batch each element gets what a single call would have got, in order, and a
// bad one harms no other.
func TestBatch(t *testing.T) {
	w := newWorld(t)
	keyed := strings.Replace(textTo("oFollower", "hi"), "{", `{"idempotency_key":"k",`, 1)
	elements := []string{
		textTo("oFollower", "one"), textTo("", "nobody"), keyed, `17`, keyed, strings.Replace(keyed, "hi", "ho", 1),
		textTo("oFollower", strings.Repeat("x", 1<<20)), strings.Replace(textTo("oFollower", "x"), shop, "wxnone", 1), textTo("oFollower", "last"),
	}
	a := w.do(sendKey, "POST", "/v1/messages/batch", `{"messages":[`+strings.Join(elements, ",")+`]}`, "Accept-Language: zh-CN")
	want := []struct {
		status int
		code   string
		id     string
	}{{202, "", "msg_1"}, {422, "invalid-message", ""}, {202, "", "msg_2"}, {422, "invalid-request", ""}, {200, "", "msg_2"}, {422, "idempotency-mismatch", ""},
		{413, "too-large", ""}, {404, "unknown-account", ""}, {202, "", "msg_3"}}
	got := read[gateway.BatchResults](t, a).Results
	if len(got) != len(want) {
		t.Fatalf("%s", a.body)
	}
	for i, r := range got {
		ok := r.Status == want[i].status
		if r.Problem != nil {
			ok = ok && r.Problem.Code == want[i].code && r.Problem.Status == r.Status && r.Problem.Title == titles[r.Problem.Code].zh
		} else {
			ok = ok && r.Message.ID == want[i].id && r.Message.Window != nil
		}
		if !ok {
			t.Errorf("%d: %+v, want %+v", i, r, want[i])
		}
	}
}

// A single call with its key in the header and a batch with it in the element are
// the same request.
func TestFingerprintIsWithoutTheKey(t *testing.T) {
	w := newWorld(t)
	w.do(sendKey, "POST", "/v1/messages", textTo("oFollower", "hi"), "Idempotency-Key: k")
	a := w.do(sendKey, "POST", "/v1/messages/batch", `[`+strings.Replace(textTo("oFollower", "hi"), "{", `{"idempotency_key":"k",`, 1)+`]`)
	if r := read[gateway.BatchResults](t, a).Results[0]; r.Status != 200 {
		t.Errorf("%s", a.body)
	}
	a = w.do(sendKey, "POST", "/v1/messages", strings.Replace(textTo("oFollower", "hi"), "{", `{"idempotency_key":"other",`, 1), "Idempotency-Key: k")
	if a.StatusCode != 422 {
		t.Errorf("two keys: %s", a.body)
	}
}

// What a message does not say is its account's to say.
func TestAccountDefaults(t *testing.T) {
	w := newWorld(t)
	a := w.accounts[shop]
	a.WhenClosed = gateway.Try
	w.accounts[shop] = a
	w.do(sendKey, "POST", "/v1/messages", textTo("oFollower", "hi"))
	w.do(sendKey, "POST", "/v1/messages", strings.Replace(textTo("oFollower", "hi"), "{", `{"when_closed":"fail","metadata":{"order": 17},`, 1), "Kefu-Source: cli")
	if s := w.received[0]; s.WhenClosed != gateway.Try || s.OnUnknown != gateway.Hold || s.Priority != gateway.Normal || s.Source != gateway.FromAPI || s.OpenID != "oFollower" || s.MsgType != "text" {
		t.Errorf("%+v", s)
	}
	if s := w.received[1]; s.WhenClosed != gateway.Fail || s.Source != gateway.FromCLI || string(s.Metadata) != `{"order":17}` {
		t.Errorf("%+v", s)
	}
}

// A caller says what it is; that a message came by a webhook or the door is not a
// caller's to say.
func TestSource(t *testing.T) {
	w := newWorld(t)
	for said, want := range map[string]gateway.Source{
		"": gateway.FromAPI, "api": gateway.FromAPI, "cli": gateway.FromCLI, "console": gateway.FromConsole, "bot": gateway.FromBot,
		"webhook": gateway.FromAPI, "door": gateway.FromAPI, "nobody": gateway.FromAPI,
	} {
		w.do(sendKey, "POST", "/v1/messages", textTo("oFollower", "hi"), "Kefu-Source: "+said)
		if got := w.received[len(w.received)-1].Source; got != want {
			t.Errorf("%q: %s, want %s", said, got, want)
		}
	}
}

func TestMessageCalls(t *testing.T) {
	for _, tt := range []struct {
		name   string
		state  gateway.State
		call   string
		body   string
		status int
		code   string
		want   gateway.State
	}{
		{"cancel what is queued", gateway.Queued, "cancel", "", 200, "", gateway.Canceled},
		{"cancel what is parked", gateway.Parked, "cancel", "", 200, "", gateway.Canceled},
		{"cancel what is canceled", gateway.Canceled, "cancel", "", 200, "", gateway.Canceled},
		{"cancel what is being sent", gateway.Sending, "cancel", "", 409, "not-cancelable", gateway.Sending},
		{"cancel what is sent", gateway.Sent, "cancel", "", 409, "not-cancelable", gateway.Sent},
		{"resolve as sent", gateway.Unknown, "resolve", `{"as":"sent"}`, 200, "", gateway.Sent},
		{"resolve as failed", gateway.Unknown, "resolve", `{"as":"failed"}`, 200, "", gateway.Failed},
		{"resolve what is known", gateway.Sent, "resolve", `{"as":"failed"}`, 409, "not-resolvable", gateway.Sent},
		{"resolve as something else", gateway.Unknown, "resolve", `{"as":"queued"}`, 422, "invalid-request", ""},
		{"resolve as nothing", gateway.Unknown, "resolve", `{}`, 422, "invalid-request", ""},
		{"retry what failed", gateway.Failed, "retry", "", 202, "", gateway.Queued},
		{"retry what expired", gateway.Expired, "retry", "", 202, "", gateway.Queued},
		{"retry what was canceled", gateway.Canceled, "retry", "", 202, "", gateway.Queued},
		{"retry what is unknown", gateway.Unknown, "retry", "", 202, "", gateway.Queued},
		{"retry what is queued", gateway.Queued, "retry", "", 409, "not-retryable", gateway.Queued},
		{"retry what is parked", gateway.Parked, "retry", "", 409, "not-retryable", gateway.Parked},
		{"retry what is sent", gateway.Sent, "retry", "", 409, "not-retryable", gateway.Sent},
	} {
		w := newWorld(t)
		m := w.add(gateway.Message{State: tt.state})
		a := w.do(sendKey, "POST", "/v1/messages/"+m.ID+"/"+tt.call, tt.body)
		if a.StatusCode != tt.status {
			t.Errorf("%s: %d, want %d: %s", tt.name, a.StatusCode, tt.status, a.body)
			continue
		}
		got := gateway.Message{}
		if tt.code == "" {
			got = read[gateway.Message](t, a)
		} else if p := read[gateway.Problem](t, a); p.Code != tt.code {
			t.Errorf("%s: %s", tt.name, a.body)
		} else if p.Message != nil {
			got = *p.Message
			if !strings.Contains(p.Detail, string(tt.state)) {
				t.Errorf("%s: detail %q", tt.name, p.Detail)
			}
		}
		if got.State != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got.State, tt.want)
		}
	}
}

func TestRetry(t *testing.T) {
	w := newWorld(t)
	m := w.add(gateway.Message{State: gateway.Unknown, Priority: gateway.Human, WhenClosed: gateway.Try})
	first := w.do(sendKey, "POST", "/v1/messages/"+m.ID+"/retry", "")
	if s := w.received[0]; s.RetryOf != m.ID || !s.PossibleDuplicate || s.Priority != gateway.Human || s.WhenClosed != gateway.Try || string(s.Message) != string(m.Message) {
		t.Errorf("%+v", s)
	}
	id := read[gateway.Message](t, first).ID
	second := w.do(sendKey, "POST", "/v1/messages/"+m.ID+"/retry", "")
	if second.StatusCode != 200 || read[gateway.Message](t, second).ID != id || second.Header.Get("Idempotency-Replayed") != "" {
		t.Errorf("a second while the first is not over: %d %s", second.StatusCode, second.body)
	}
	// With a key it is that key's own, and stays so when the message is resolved.
	third := w.do(sendKey, "POST", "/v1/messages/"+m.ID+"/retry", "", "Idempotency-Key: k")
	w.messages[0].State = gateway.Sent
	again := w.do(sendKey, "POST", "/v1/messages/"+m.ID+"/retry", "", "Idempotency-Key: k")
	if third.StatusCode != 202 || again.StatusCode != 200 || again.Header.Get("Idempotency-Replayed") != "true" || read[gateway.Message](t, third).ID != read[gateway.Message](t, again).ID {
		t.Errorf("with a key: %s, again %d %s", third.body, again.StatusCode, again.body)
	}
	if a := w.do(sendKey, "POST", "/v1/messages/"+m.ID+"/retry", "", "Idempotency-Key: k2"); a.StatusCode != 409 {
		t.Errorf("with a new key, when it is sent: %d %s", a.StatusCode, a.body)
	}
}

// Closing answers who waits; what they wait for was kept.
func TestCloseEndsWaits(t *testing.T) {
	w := newWorld(t)
	waits := make(chan struct{})
	w.await = func(ctx context.Context, m gateway.Message) gateway.Message {
		close(waits)
		<-ctx.Done()
		return m
	}
	go func() {
		<-waits
		w.Server.Close()
	}()
	began := time.Now()
	if a := w.do(sendKey, "POST", "/v1/messages?wait=60s", textTo("oFollower", "hi")); a.StatusCode != 202 || time.Since(began) > 30*time.Second {
		t.Errorf("%d %s after %v", a.StatusCode, a.body, time.Since(began))
	}
}

// A panic is a problem and a line in the log, not a silent end.
func TestPanic(t *testing.T) {
	w := newWorld(t)
	w.await = func(context.Context, gateway.Message) gateway.Message { panic("secret " + secret) }
	a := w.do(sendKey, "POST", "/v1/messages?wait=1s", textTo("oFollower", "hi"))
	if p := read[gateway.Problem](t, a); a.StatusCode != 500 || p.Code != gateway.Internal {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if log := w.logged.String(); !strings.Contains(log, "panicked") || strings.Contains(log, secret) {
		t.Errorf("log: %s", log)
	}
}

// A body that doesn't tell its length is cut at the same size.
func TestTooLargeInChunks(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	for size, status := range map[int]int{1 << 20: 202, 1<<20 + 1: 413} {
		good := textTo("oFollower", "hi")
		req, _ := http.NewRequest("POST", server.URL+"/v1/messages", io.MultiReader(strings.NewReader(good), strings.NewReader(strings.Repeat(" ", size-len(good)))))
		req.Header.Set("Authorization", "Bearer "+sendKey)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != status {
			t.Errorf("%d bytes: %v %v", size, res, err)
		}
		if err == nil {
			res.Body.Close()
		}
	}
	if held := w.held.Load(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
}

// HEAD is GET without the body.
func TestHead(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(w.Handler())
	defer server.Close()
	req, _ := http.NewRequest("HEAD", server.URL+"/v1/messages", nil)
	req.Header.Set("Authorization", "Bearer "+readKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("%v %v", res, err)
	}
}

// Health and how an account stands are told in the caller's language.
func TestNotesInTheirLanguage(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/healthz", "/readyz", "/v1/accounts", "/v1/accounts/wxshop"} {
		zh, en := string(w.do(adminKey, "GET", path, "", "Accept-Language: zh-CN").body), string(w.do(adminKey, "GET", path, "").body)
		if !strings.Contains(zh, "已停发") || strings.Contains(en, "已停发") {
			t.Errorf("%s: %s, in English %s", path, zh, en)
		}
	}
}
