package webhook_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/internal/webhook"
)

const (
	shop  = "wx5eed2a76cc560001"
	other = "wx5eed2a76cc560002"
)

// A rig is a hub on a store on disk, its endpoints in process and its engine in
// memory, all in one synctest bubble.
type rig struct {
	t      *testing.T
	path   string
	store  *store.Store
	hub    *webhook.Hub
	engine *engine

	mu    sync.Mutex // guards what follows
	calls []callMade
	// endpoints answers by host; "" is asked for what is not there.
	endpoints map[string]func(c callMade) *http.Response
	over      chan struct{} // closed at the end: endpoints that hang let go
}

// A callMade is one that an endpoint has got.
type callMade struct {
	host, id string
	at       time.Time
	event    gateway.WebhookEvent
	kind     string
	header   http.Header
	body     []byte
	began    time.Duration // since the rig's start
}

var began time.Time

func newRig(t *testing.T) *rig {
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "kefu.db"), endpoints: map[string]func(callMade) *http.Response{}, over: make(chan struct{})}
	r.engine = &engine{handling: map[string]gateway.Handling{}}
	began = time.Now()
	r.start()
	for _, appid := range []string{shop, other} {
		if err := r.store.PutAccount(t.Context(), time.Now(), gateway.Account{AppID: appid, Secret: "s", AILabel: appid == other}.WithDefaults()); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	if r.store, err = store.Open(r.t.Context(), r.path, store.Options{SecretKey: "0123456789abcdef0123456789abcdef"}); err != nil {
		r.t.Fatal(err)
	}
	r.engine.store = r.store
	r.hub, err = webhook.Start(r.t.Context(), webhook.Config{
		Store: r.store, Engine: r.engine, Compose: compose, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		HTTP: &http.Client{Transport: r, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) stop() {
	r.t.Helper()
	r.hub.Stop()
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

// RoundTrip is the way to the endpoints.
func (r *rig) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	var b gateway.WebhookBody
	if err := json.Unmarshal(body, &b); err != nil {
		r.t.Errorf("%v: %s", err, body)
	}
	c := callMade{host: req.URL.Host, id: req.Header.Get("webhook-id"), at: time.Now(), event: b.Data, kind: b.Type, header: req.Header, body: body, began: time.Since(began)}
	r.mu.Lock()
	answer := r.endpoints[c.host]
	r.mu.Unlock()
	if answer == nil {
		return nil, errors.New("connection refused")
	}
	done := make(chan *http.Response, 1)
	go func() { done <- answer(c) }()
	select {
	case res := <-done:
		r.mu.Lock()
		r.calls = append(r.calls, c)
		r.mu.Unlock()
		return res, nil
	case <-req.Context().Done():
		r.mu.Lock()
		r.calls = append(r.calls, c)
		r.mu.Unlock()
		return nil, req.Context().Err()
	}
}

// pause is how long an endpoint thinks.
func (r *rig) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.over:
	}
}

func reply(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}
}

func always(status int, body string) func(callMade) *http.Response {
	return func(callMade) *http.Response { return reply(status, body) }
}

// add makes an endpoint of the host of that name.
func (r *rig) add(host string, answer func(callMade) *http.Response, change ...func(*gateway.Webhook)) gateway.Webhook {
	r.t.Helper()
	r.mu.Lock()
	r.endpoints[host] = answer
	r.mu.Unlock()
	w := gateway.WebhookRequest{URL: "https://" + host + "/hook?token=geheim"}.Webhook()
	for _, c := range change {
		c(&w)
	}
	w, err := r.hub.AddWebhook(r.t.Context(), w)
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

// says has followers write, one entry each: "A1" is follower A.
func (r *rig) says(texts ...string) {
	r.t.Helper()
	for _, text := range texts {
		err := r.store.Append(r.t.Context(), time.Now(), store.Entry{
			Account: shop, OpenID: text[:1], Type: "follower.message", Data: json.RawMessage(`{"text":"` + text + `"}`),
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) got(host string) (texts string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, c := range r.calls {
		if c.host == host {
			all = append(all, textOf(c))
		}
	}
	return strings.Join(all, " ")
}

func textOf(c callMade) string {
	var d struct{ Text string }
	json.Unmarshal(c.event.Data, &d)
	if d.Text == "" {
		return c.kind
	}
	if c.event.OutOfOrder {
		return d.Text + "!"
	}
	return d.Text
}

func (r *rig) settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (r *rig) hook(id string) store.Webhook {
	r.t.Helper()
	w, err := r.store.Webhook(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

func (r *rig) attempts(id string) []gateway.WebhookAttempt {
	r.t.Helper()
	page, err := r.hub.WebhookAttempts(r.t.Context(), id, "", 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	slices.Reverse(page.Items)
	return page.Items
}

// An engine keeps what it is handed in the store, and the rest in memory.
type engine struct {
	store *store.Store

	mu       sync.Mutex // guards what follows
	handling map[string]gateway.Handling
	typing   []time.Duration
	down     error
}

func (e *engine) Accept(ctx context.Context, subs []gateway.Submission) []gateway.Accepted {
	var drafts []store.Draft
	e.mu.Lock()
	down := e.down
	e.mu.Unlock()
	for _, s := range subs {
		drafts = append(drafts, store.Draft{Message: gateway.Message{
			Account: s.Account, OpenID: s.OpenID, MsgType: s.MsgType, Message: s.Message, State: gateway.Queued, Priority: s.Priority, Source: s.Source,
			Metadata: s.Metadata, ExpiresAt: gateway.At(time.Now().Add(48 * time.Hour)), WhenClosed: s.WhenClosed, OnUnknown: s.OnUnknown,
		}, IdempotencyKey: s.IdempotencyKey, Fingerprint: s.Fingerprint})
	}
	var out []gateway.Accepted
	if down != nil {
		for range subs {
			out = append(out, gateway.Accepted{Err: down})
		}
		return out
	}
	for _, k := range e.store.Enqueue(ctx, time.Now(), drafts...) {
		out = append(out, gateway.Accepted{Message: k.Message.Message, Replayed: k.Replayed, Err: k.Err})
	}
	return out
}

func (e *engine) Window(context.Context, string, string) (gateway.Window, error) {
	return gateway.Window{State: gateway.WindowOpen, Buckets: []gateway.Bucket{}}, nil
}

func (e *engine) Typing(context.Context, string, string, bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.typing = append(e.typing, time.Since(began))
	return nil
}

func (e *engine) Handling(_ context.Context, _, openid string) (gateway.Handling, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.handling[openid], nil
}

func (e *engine) Handover(_ context.Context, _, openid string, to gateway.Handover, by string) (gateway.Handling, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := gateway.At(time.Now())
	e.handling[openid] = gateway.Handling{Handler: to.Handler, By: by, Since: &now}
	return e.handling[openid], nil
}

// compose refuses what has no msgtype, as the API would.
func compose(_ context.Context, account string, source gateway.Source, request json.RawMessage) (gateway.Submission, error) {
	var r gateway.Request
	if err := json.Unmarshal(request, &r); err != nil {
		return gateway.Submission{}, err
	}
	var m kefu.Message
	if err := m.UnmarshalJSON(r.Message); err != nil {
		return gateway.Submission{}, err
	}
	if t, ok := m.Body.(kefu.Text); ok && t.Content == "" {
		return gateway.Submission{}, &gateway.Problem{Code: gateway.InvalidMessage, Title: "no content"}
	}
	return gateway.Submission{
		Account: account, OpenID: m.To, MsgType: m.Body.MsgType(), Message: r.Message, Metadata: r.Metadata, Source: source,
		WhenClosed: gateway.Park, OnUnknown: gateway.Hold, Priority: gateway.Normal,
	}, nil
}

func (r *rig) messages() []gateway.Message {
	r.t.Helper()
	page, err := r.store.Messages(r.t.Context(), store.Filter{}, "", 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []gateway.Message
	for _, m := range page.Items {
		all = append(all, m.Message)
	}
	slices.Reverse(all)
	return all
}

func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer func() {
			r.stop()
			close(r.over)
			synctest.Wait()
		}()
		f(t, r)
	})
}

// What happens is delivered once, in order, signed, with what a bot needs.
func TestDelivers(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		w := r.add("a", always(204, ""))
		r.engine.handling["A"] = gateway.Handling{Handler: gateway.ByAgent}
		r.says("A1", "A2", "B1", "A3")
		r.settle(3 * time.Second)
		if got := strings.Fields(r.got("a")); len(got) != 4 || strings.Join(slices.DeleteFunc(got, func(s string) bool { return s == "B1" }), " ") != "A1 A2 A3" {
			t.Fatalf("%q", r.got("a"))
		}
		c := r.calls[slices.IndexFunc(r.calls, func(c callMade) bool { return textOf(c) == "A1" })]
		if err := gateway.VerifyWebhook(c.header, c.body, kefu.Secret(w.Secret), time.Now()); err != nil {
			t.Error(err)
		}
		if c.event.Account != shop || c.event.OpenID != "A" || c.event.Type != "follower.message" || c.event.Handler != gateway.ByAgent ||
			c.event.Window == nil || c.event.Window.State != gateway.WindowOpen || c.event.Cursor == "" || c.id != w.ID+"_"+c.event.Cursor {
			t.Errorf("%s %s", c.id, c.body)
		}
		all := r.attempts(w.ID)
		i := slices.IndexFunc(all, func(a gateway.WebhookAttempt) bool { return a.WebhookID == c.id })
		if len(all) != 4 || i < 0 || all[i].Outcome != "delivered" || all[i].Status != 204 || all[i].N != 1 {
			t.Errorf("%+v", all)
		}
		if at, _ := r.store.Head(t.Context()); r.hook(w.ID).Cursor != at {
			t.Errorf("it stands at %s, the feed at %s", r.hook(w.ID).Cursor, at)
		}
	})
}

// The schedule, with no jitter less and a fifth more at most; then it is given up.
func TestSchedule(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		w := r.add("a", always(500, ""))
		r.says("A1")
		r.settle(48 * time.Hour)
		var before time.Duration
		want := []time.Duration{0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour}
		all := r.attempts(w.ID)
		if len(r.calls) != len(want) || len(all) != len(want) {
			t.Fatalf("%d calls, %d attempts", len(r.calls), len(all))
		}
		for i, c := range r.calls {
			if pause := c.began - before; pause < want[i] || pause > want[i]*6/5+time.Second {
				t.Errorf("try %d came after %v, want %v", i+1, pause, want[i])
			}
			if before = c.began; c.id != r.calls[0].id {
				t.Errorf("try %d has another webhook-id", i+1)
			}
			if all[i].N != i+1 || all[i].Status != 500 || (all[i].RetryAt == nil) != (i == 7) || all[i].OutOfOrder != (i >= 2) {
				t.Errorf("%+v", all[i])
			}
		}
		if all[7].Outcome != "given-up" || !r.hook(w.ID).Enabled || r.hook(w.ID).FailingSince == nil {
			t.Errorf("%+v %+v", all[7], r.hook(w.ID))
		}
	})
}

// A delivery that fails holds back the later ones of its follower for a minute, nobody
// else's; then they pass it, and it is marked.
func TestOrder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails int // tries of A1
		after time.Duration
		want  string
	}{
		{"works at once", 0, time.Second, "A1 A2 B1"},
		{"works after 5 s", 1, 10 * time.Second, "A1 B1 A1 A2"},
		{"holds for a minute", 2, 59 * time.Second, "A1 B1 A1"},
		{"is passed after a minute", 2, 62 * time.Second, "A1 B1 A1 A2"},
		{"and marked when it comes", 2, 10 * time.Minute, "A1 B1 A1 A2 A1!"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				var failed int
				r.add("a", func(c callMade) *http.Response {
					r.mu.Lock()
					defer r.mu.Unlock()
					if strings.HasPrefix(textOf(c), "A1") && failed < tt.fails {
						failed++
						return reply(503, "")
					}
					return reply(200, "")
				}, func(w *gateway.Webhook) { w.Concurrency = 1 })
				r.says("A1", "A2", "B1")
				r.settle(tt.after)
				if got := r.got("a"); got != tt.want {
					t.Errorf("%q, want %q", got, tt.want)
				}
			})
		})
	}
}

// A slow endpoint keeps nobody else waiting, nor one follower of an endpoint another.
func TestSlowEndpointBlocksNobody(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.add("slow", func(callMade) *http.Response { r.pause(time.Hour); return reply(200, "") }, func(w *gateway.Webhook) { w.Timeout = 30 })
		r.add("gone", nil)
		r.add("fast", always(200, ""))
		for i := range 100 {
			r.says(fmt.Sprintf("A%d", i))
		}
		r.settle(time.Second)
		if got := strings.Fields(r.got("fast")); len(got) != 100 || got[99] != "A99" {
			t.Errorf("%d", len(got))
		}
	})
	bubble(t, func(t *testing.T, r *rig) {
		r.add("a", func(c callMade) *http.Response {
			if c.event.OpenID == "A" {
				r.pause(10 * time.Second)
			}
			return reply(200, "")
		})
		r.says("A1", "A2", "B1", "C1")
		r.settle(time.Second)
		if got := strings.Fields(r.got("a")); len(got) != 2 {
			t.Errorf("%v", got)
		}
		r.settle(25 * time.Second)
		if got := strings.Fields(r.got("a")); len(got) != 4 || got[3] != "A2" {
			t.Errorf("%v", got)
		}
	})
}

// No more calls at once than the endpoint wants.
func TestConcurrency(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var now, most int
		r.add("a", func(callMade) *http.Response {
			r.mu.Lock()
			now++
			most = max(most, now)
			r.mu.Unlock()
			time.Sleep(time.Second)
			r.mu.Lock()
			now--
			r.mu.Unlock()
			return reply(200, "")
		}, func(w *gateway.Webhook) { w.Concurrency = 3 })
		for _, who := range "ABCDEFGHIJ" {
			r.says(string(who) + "1")
		}
		r.settle(10 * time.Second)
		if most != 3 || len(strings.Fields(r.got("a"))) != 10 {
			t.Errorf("%d at once, %d delivered", most, len(strings.Fields(r.got("a"))))
		}
	})
}

// Whatever the moment at which the process ends: what was not answered is called again
// with the same webhook-id, what was answered is not, and the order stays.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		hang := true
		w := r.add("a", func(c callMade) *http.Response {
			if hang && c.event.OpenID == "A" {
				r.pause(time.Hour)
			}
			return reply(200, "")
		})
		r.says("A1", "B1", "A2", "B2")
		r.settle(3 * time.Second)
		if got := r.got("a"); got != "B1 B2" {
			t.Fatalf("%q", got)
		}
		r.stop()
		hang = false
		r.calls = nil
		r.start()
		r.settle(time.Second)
		if got := r.got("a"); got != "A1 A2" {
			t.Errorf("after the restart: %q", got)
		}
		all := r.attempts(w.ID)
		if len(all) != 4 || all[2].N != 1 {
			t.Errorf("%+v", all) // the call that was cut counts for nothing
		}
	})
	bubble(t, func(t *testing.T, r *rig) { // a hold and a later try outlive it
		status := 500
		r.add("a", func(c callMade) *http.Response {
			if c.event.OpenID == "A" {
				return reply(status, "")
			}
			return reply(200, "")
		})
		r.says("A1", "A2")
		r.settle(2 * time.Second)
		r.stop()
		status = 200
		r.start()
		r.settle(2 * time.Second)
		if got := r.got("a"); got != "A1" {
			t.Errorf("%q: A2 did not wait", got)
		}
		r.settle(5 * time.Second)
		if got := r.got("a"); got != "A1 A1 A2" {
			t.Errorf("%q", got)
		}
	})
}

// Days of failure disable an endpoint, and the others hear of it; enabled again it goes
// on where it was.
func TestDisabledAfterDays(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		status := 500
		w := r.add("a", func(callMade) *http.Response { return reply(status, "") }, func(w *gateway.Webhook) {
			w.DisableAfter, w.Name = 3600, "bot"
			w.Types = []string{"*"}
		})
		r.add("watch", always(200, ""), func(w *gateway.Webhook) { w.Types = []string{"webhook.disabled"} })
		r.says("A1")
		r.settle(59 * time.Minute)
		if !r.hook(w.ID).Enabled {
			t.Fatal("too early")
		}
		r.says("B1")
		r.settle(7 * time.Minute)
		if h := r.hook(w.ID); h.Enabled || !strings.Contains(h.Because, "no try has worked since") || !strings.Contains(bilingual.Text(h.Because).In("zh"), "没有一次成功") {
			t.Fatalf("%+v", h)
		}
		if got := r.got("watch"); got != "webhook.disabled webhook.disabled" { // of each account
			t.Errorf("%q", got)
		}
		r.calls = nil
		r.says("C1")
		r.settle(time.Hour)
		if got := r.got("a"); got != "" {
			t.Errorf("called while disabled: %q", got)
		}
		status = 200
		h := r.hook(w.ID)
		h.Webhook.Enabled = true
		if _, err := r.hub.ChangeWebhook(t.Context(), h.Webhook, nil); err != nil {
			t.Fatal(err)
		}
		r.settle(3 * time.Hour)
		for _, text := range []string{"A1!", "B1!", "C1"} {
			if !slices.Contains(strings.Fields(r.got("a")), text) {
				t.Errorf("%q lacks %s", r.got("a"), text)
			}
		}
	})
}

func TestGone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		w := r.add("a", always(410, ""))
		r.add("b", always(302, ""))
		r.says("A1", "A2")
		r.settle(time.Second)
		if h := r.hook(w.ID); h.Enabled || bilingual.Text(h.Because).In("en") != "the endpoint answered 410 Gone" || !strings.Contains(bilingual.Text(h.Because).In("zh"), "对方返回 410") || r.got("a") != "A1" {
			t.Errorf("%+v %q", h, r.got("a"))
		}
		if got := r.got("b"); got != "A1" { // a redirect is a failure
			t.Errorf("%q", got)
		}
	})
}

// Only what is asked for: by type, with wildcards, and by account.
func TestChooses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		for host, types := range map[string][]string{"all": {"*"}, "alerts": {"account.*", "token.contested"}, "messages": {"message.*"}} {
			r.add(host, always(200, ""), func(w *gateway.Webhook) { w.Types = types })
		}
		r.add("other", always(200, ""), func(w *gateway.Webhook) { w.Types, w.Accounts = []string{"*"}, []string{other} })
		for _, kind := range []string{"account.paused", "token.contested", "message.sent", "follower.event"} {
			account := shop
			if kind == "token.contested" {
				account = other
			}
			if err := r.store.Append(t.Context(), time.Now(), store.Entry{Account: account, Type: kind, Data: json.RawMessage(`{}`)}); err != nil {
				t.Fatal(err)
			}
		}
		r.settle(time.Second)
		for host, want := range map[string]int{"all": 4, "alerts": 2, "messages": 1, "other": 1} {
			if got := strings.Fields(r.got(host)); len(got) != want {
				t.Errorf("%s: %v", host, got)
			}
		}
	})
}

// What is kept holds at once, also if whoever said it left meanwhile.
func TestChangeByACallerWhoLeaves(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		w := r.add("a", always(200, ""))
		ctx, leave := context.WithCancel(t.Context())
		w.Enabled = false
		kept, err := r.hub.ChangeWebhook(ctx, w, func(gateway.Webhook) error { leave(); return nil })
		if err != nil || kept.Enabled || kept.Secret != "" {
			t.Errorf("%+v, %v", kept, err)
		}
		r.settle(time.Second)
		r.says("A1")
		r.settle(time.Second)
		if got := r.got("a"); got != "" {
			t.Errorf("called though it is disabled: %q", got)
		}
	})
}

// Both secrets sign while they overlap, the new one alone afterwards.
func TestRotate(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		w := r.add("a", always(200, ""))
		rotated, err := r.hub.RotateWebhook(t.Context(), w.ID, time.Hour)
		if err != nil || rotated.Secret == w.Secret {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			after    time.Duration
			old, new error
		}{{time.Second, nil, nil}, {2 * time.Hour, gateway.ErrWebhookSignature, nil}} {
			r.calls = nil
			r.settle(tt.after)
			r.says("A1")
			r.settle(time.Second)
			c := r.calls[0]
			if err := gateway.VerifyWebhook(c.header, c.body, kefu.Secret(w.Secret), time.Now()); !errors.Is(err, tt.old) {
				t.Errorf("after %v the old secret: %v", tt.after, err)
			}
			if err := gateway.VerifyWebhook(c.header, c.body, kefu.Secret(rotated.Secret), time.Now()); !errors.Is(err, tt.new) {
				t.Errorf("after %v the new secret: %v", tt.after, err)
			}
		}
	})
}

// One entry, a range, and since a time, each with the id that it had, marked, once.
func TestReplay(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.says("X0")
		w := r.add("a", always(200, ""))
		for i := range 600 {
			r.says(fmt.Sprintf("A%d", i))
		}
		r.settle(time.Minute)
		since := gateway.At(time.Now())
		r.says("B1", "B2")
		r.settle(time.Second)
		first := r.calls[0]
		for _, tt := range []struct {
			name  string
			ask   gateway.ReplayRequest
			calls int
			has   string
		}{
			{"one", gateway.ReplayRequest{Cursor: first.event.Cursor}, 1, "A0!"},
			{"what was before the endpoint", gateway.ReplayRequest{Cursor: "1"}, 1, "X0!"},
			{"a range", gateway.ReplayRequest{From: first.event.Cursor, To: "100"}, 99, "A98!"},
			{"to the latest", gateway.ReplayRequest{From: first.event.Cursor}, 602, "B2!"},
			{"since", gateway.ReplayRequest{Since: &since}, 2, "B1!"},
		} {
			r.calls = nil
			if _, err := r.hub.ReplayWebhook(t.Context(), w.ID, tt.ask); err != nil {
				t.Fatal(tt.name, err)
			}
			r.settle(time.Minute)
			if got := strings.Fields(r.got("a")); len(got) != tt.calls || !slices.Contains(got, tt.has) {
				t.Errorf("%s: %d calls, %.60q", tt.name, len(got), r.got("a"))
			}
			if tt.name == "one" && r.calls[0].id != first.id {
				t.Errorf("another id: %s, %s", r.calls[0].id, first.id)
			}
		}
		for _, ask := range []gateway.ReplayRequest{{Cursor: "9999"}, {From: "5", To: "4"}, {Cursor: "x"}} {
			var p *gateway.Problem
			if _, err := r.hub.ReplayWebhook(t.Context(), w.ID, ask); !errors.As(err, &p) || p.Code != gateway.InvalidRequest {
				t.Errorf("%+v: %v", ask, err)
			}
		}
	})
}

// Of a range that is pruned in part the rest is replayed; of one that is gone nothing can be.
func TestReplayOfWhatIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		w := r.add("a", always(200, ""))
		r.says("A1", "A2")
		r.settle(20 * 24 * time.Hour)
		r.says("A3")
		r.settle(time.Minute)
		if _, err := r.store.Prune(t.Context(), time.Now(), store.Retention{Age: store.LeastKept}); err != nil {
			t.Fatal(err)
		}
		r.calls = nil
		if _, err := r.hub.ReplayWebhook(t.Context(), w.ID, gateway.ReplayRequest{From: "1"}); err != nil {
			t.Fatal(err)
		}
		r.settle(time.Minute)
		if got := r.got("a"); got != "A3!" {
			t.Errorf("replayed %q", got)
		}
		var p *gateway.Problem
		if _, err := r.hub.ReplayWebhook(t.Context(), w.ID, gateway.ReplayRequest{Cursor: "1"}); !errors.As(err, &p) || p.Code != gateway.CursorGone {
			t.Errorf("of what is gone: %v", err)
		}
	})
}

// A retry at which the store can't be read comes a moment later, not with whatever is next.
func TestRetryAfterAFailedRead(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		status := 500
		r.add("a", func(callMade) *http.Response { return reply(status, "") }, func(w *gateway.Webhook) { w.Schedule = []gateway.Seconds{0, 60, 60} })
		r.says("A1")
		r.settle(50 * time.Second)
		status = 200
		outside, err := sql.Open("sqlite", r.path)
		if err != nil {
			t.Fatal(err)
		}
		defer outside.Close()
		rename := func(from, to string) {
			if _, err := outside.Exec(`ALTER TABLE ` + from + ` RENAME TO ` + to); err != nil {
				t.Fatal(err)
			}
		}
		rename("messages", "hidden") // the next try comes after 60 to 72 s
		r.settle(25 * time.Second)
		if got := r.got("a"); got != "A1" {
			t.Fatalf("%q: the test shows nothing", got)
		}
		rename("hidden", "messages")
		r.settle(5 * time.Second)
		if got := r.got("a"); got != "A1 A1!" {
			t.Errorf("called with %q; want a second try at once", got)
		}
	})
}

// What there is of a webhook that was deleted goes soon, also if the process ended before.
func TestDeletedIsForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		left := func(id string) int {
			all, err := r.store.Deliveries(t.Context(), id, "", "")
			if err != nil {
				t.Fatal(err)
			}
			return len(all) + len(r.attempts(id))
		}
		first, second := r.add("a", always(200, "")), r.add("b", always(200, ""))
		r.says("A1", "B1")
		r.settle(time.Minute)
		if left(first.ID) != 4 || left(second.ID) != 4 {
			t.Fatalf("%d, %d", left(first.ID), left(second.ID))
		}
		if err := r.hub.DeleteWebhook(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		r.settle(time.Minute)
		if left(first.ID) != 0 || left(second.ID) != 4 {
			t.Errorf("a minute later %d are left, and %d of the other", left(first.ID), left(second.ID))
		}
		if err := r.store.DeleteWebhook(t.Context(), time.Now(), second.ID); err != nil { // and no more
			t.Fatal(err)
		}
		r.stop()
		r.start()
		r.settle(time.Minute)
		if left(second.ID) != 0 {
			t.Errorf("a minute after the start %d are left", left(second.ID))
		}
	})
}

func TestTestEvent(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		w := r.add("a", always(200, ""))
		bad := r.add("b", always(500, ""))
		a, err := r.hub.TestWebhook(t.Context(), w.ID)
		if err != nil || a.Outcome != "delivered" || a.Type != "webhook.test" || r.got("a") != "webhook.test" {
			t.Errorf("%+v %v", a, err)
		}
		if a, err := r.hub.TestWebhook(t.Context(), bad.ID); err != nil || a.Status != 500 || a.Error != "HTTP 500" {
			t.Errorf("%+v %v", a, err)
		}
		if len(r.attempts(w.ID)) != 1 {
			t.Error("not kept")
		}
	})
}

// Nothing that is kept or said has the URL's token or a secret.
func TestErrorsHaveNoURL(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		w := r.add("a", nil)
		r.add("slow", func(callMade) *http.Response { r.pause(time.Hour); return nil })
		r.says("A1")
		r.settle(20 * time.Second)
		for _, a := range r.attempts(w.ID) {
			if b, _ := json.Marshal(a); a.Error == "" || bytes.Contains(b, []byte("geheim")) {
				t.Errorf("%s", b)
			}
		}
	})
}

// While a follower is erased nothing about them is posted, and afterwards nothing that
// was: neither what was read ahead nor what is due again. What comes later is.
func TestErasedIsNotPosted(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		late := gateway.WebhookRequest{Schedule: []gateway.Seconds{0, 5}}.Webhook().Schedule
		w := r.add("a", func(c callMade) *http.Response {
			switch textOf(c) {
			case "A1":
				r.pause(12 * time.Second) // is under way when the erasure comes
				return reply(200, `{"messages":[{"msgtype":"text","text":{"content":"hi"}}]}`)
			case "B1":
				return reply(500, "")
			}
			return reply(204, "")
		}, func(w *gateway.Webhook) { w.Schedule = late; w.Types = []string{"*"} })
		slow := r.add("b", func(callMade) *http.Response { r.pause(4 * time.Second); return reply(500, "") }, func(w *gateway.Webhook) {
			w.Schedule, w.Concurrency = late, 1
		})
		r.says("A1", "A2", "B1", "C1")
		r.settle(time.Second)
		erased := make(chan error)
		for _, openid := range []string{"A", "B"} {
			go func() {
				erased <- r.hub.Quietly(t.Context(), shop, openid, func() error {
					if err := r.store.Append(t.Context(), time.Now(), store.Entry{Account: shop, OpenID: openid, Type: "message.canceled", Data: json.RawMessage(`{"text":"secret"}`)}); err != nil {
						return err
					}
					r.pause(2 * time.Second)
					_, err := r.store.Erase(t.Context(), time.Now(), shop, openid)
					return err
				})
			}()
		}
		r.settle(5 * time.Second)
		r.says("C2")
		if err := errors.Join(<-erased, <-erased); err != nil {
			t.Fatal(err)
		}
		r.says("A4")
		last, err := r.store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		r.settle(time.Minute)
		got := strings.Fields(r.got("a"))
		slices.Sort(got) // followers don't wait for each other
		if got := strings.Join(got, " "); got != "A1 A4 B1 C1 C2" {
			t.Errorf("posted %s", got)
		}
		if got := r.got("b"); strings.Contains(got, "B") || strings.Contains(got, "A2") || !strings.Contains(got, "A4") {
			t.Errorf("posted by one that is slow: %s", got)
		}
		for _, id := range []string{w.ID, slow.ID} {
			for _, a := range r.attempts(id) {
				if (a.OpenID == "A" || a.OpenID == "B") && a.Cursor != last {
					t.Errorf("an attempt tells of what was erased: %+v", a)
				}
			}
			all, err := r.store.Deliveries(t.Context(), id, "", "")
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range all {
				if d.OpenID != "C" && d.Cursor != last {
					t.Errorf("a delivery tells of what was erased: %+v", d)
				}
			}
		}
		for _, m := range r.messages() {
			t.Errorf("a message is left: %+v", m)
		}
	})
}
