package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// startedDemo is a demo, and what ends it.
func startedDemo(t *testing.T) (*demo, func()) {
	t.Helper()
	p := &program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard, env: map[string]string{}}
	d, err := p.startDemo(t.Context(), anyPort, anyPort)
	if err != nil {
		t.Fatal(err)
	}
	return d, func() {
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	}
}

// echo is a bot that says what the follower wrote, and notes what it got.
func echo(t *testing.T, secret func() string) (*httptest.Server, <-chan gateway.WebhookBody) {
	got := make(chan gateway.WebhookBody, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := gateway.VerifyWebhook(r.Header, body, kefu.Secret(secret()), time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		var b gateway.WebhookBody
		if err := json.Unmarshal(body, &b); err != nil {
			t.Error(err)
		}
		var d struct{ Push struct{ Content string } }
		if json.Unmarshal(b.Data.Data, &d); d.Push.Content != "" {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"messages": []any{map[string]any{"msgtype": "text", "text": map[string]string{"content": "echo " + d.Push.Content}}}})
		}
		got <- b
	}))
	t.Cleanup(server.Close)
	return server, got
}

// The whole way: a follower writes, the bot behind a webhook answers in its response, the
// follower has it; the commands manage the webhook and say what came of it.
func TestWebhooksThroughTheDemo(t *testing.T) {
	d, done := startedDemo(t)
	defer done()
	secret := ""
	server, got := echo(t, func() string { return secret })
	run := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: map[string]string{"KEFU_URL": d.gate.url, "KEFU_API_KEY": d.key.Reveal()}}
		if code := p.run(t.Context(), args); code != want {
			t.Fatalf("kefu %s: exit %d\n%s%s", strings.Join(args, " "), code, &out, &errs)
		}
		return out.String()
	}
	secret = strings.TrimSpace(run(0, "webhook", "add", server.URL, "--name", "bot", "--type", "follower.message"))
	var list gateway.Page[gateway.Webhook]
	if err := json.Unmarshal([]byte(run(0, "webhook", "list", "--json")), &list); err != nil || len(list.Items) != 1 || list.Items[0].Secret != "" {
		t.Fatalf("%+v %v", list, err)
	}
	id := list.Items[0].ID
	if out := run(0, "webhook", "test", id); !strings.HasPrefix(out, "delivered in ") {
		t.Error(out)
	}
	if b := <-got; b.Type != "webhook.test" {
		t.Errorf("%+v", b)
	}
	if err := d.behind.writes(t.Context(), "oHooked", "你好 <b>"); err != nil {
		t.Fatal(err)
	}
	b := <-got
	if b.Data.OpenID != "oHooked" || b.Data.Handler != gateway.ByBot || b.Data.Window == nil || *b.Data.Window.Remaining != 5 {
		t.Errorf("%+v", b)
	}
	if texts, err := d.behind.awaits(t.Context(), "oHooked", 1); err != nil || len(texts) != 1 || texts[0] != "echo 你好 <b>" {
		t.Errorf("%q %v", texts, err)
	}
	if out := run(0, "webhook", "show", id); !strings.Contains(out, "answered with 1") {
		t.Error(out)
	}
	run(0, "webhook", "replay", id, "--cursor", b.Data.Cursor)
	if again := <-got; again.Data.Cursor != b.Data.Cursor || !again.Data.OutOfOrder {
		t.Errorf("%+v", again)
	}
	old := secret
	if secret = strings.TrimSpace(run(0, "webhook", "rotate", id, "--overlap", "0s")); secret == old {
		t.Error("the same secret")
	}
	run(0, "webhook", "test", id)
	<-got
	secret = old
	run(1, "webhook", "test", id)
	run(0, "webhook", "delete", id)
	run(1, "webhook", "show", id)
	if texts, err := d.behind.contents(t.Context(), "oHooked"); err != nil || len(texts) != 1 {
		t.Errorf("%q %v", texts, err)
	}
}

// kefu listen does for a program on this machine what a webhook does.
func TestListen(t *testing.T) {
	d, done := startedDemo(t)
	defer done()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	server, got := echo(t, func() string { return secret })
	head, err := d.gate.store.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one", "two"} {
		if err := d.behind.writes(t.Context(), "oListened", text); err != nil {
			t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	p := &program{stdout: &out, stderr: &errs, env: map[string]string{"KEFU_URL": d.gate.url, "KEFU_API_KEY": d.key.Reveal(), "KEFU_WEBHOOK_SECRET": secret}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if code := p.run(ctx, []string{"listen", "--forward-to", server.URL, "--cursor", head, "--count", "2", "--json"}); code != 0 {
		t.Fatalf("exit %d %s", code, &errs)
	}
	for _, want := range []string{"one", "two"} {
		if b := <-got; !strings.Contains(string(b.Data.Data), want) {
			t.Errorf("%+v, want %s", b, want)
		}
	}
	if texts, err := d.behind.awaits(t.Context(), "oListened", 2); err != nil || strings.Join(texts, ", ") != "echo one, echo two" {
		t.Errorf("%q %v", texts, err)
	}
	if n := strings.Count(out.String(), `"outcome":"delivered","status":200`); n != 2 {
		t.Errorf("%s", &out)
	}
	for _, args := range [][]string{{"listen"}, {"listen", "--forward-to", "x"}, {"listen", "--forward-to", server.URL, "--secret", "short"}} {
		p.env["KEFU_WEBHOOK_SECRET"] = ""
		if code := p.run(ctx, args); code != exitUsage {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}
