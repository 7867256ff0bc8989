package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/webhook"
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

// The examples of receivers check signatures and answer, in each language that is here.
func TestWebhookExamples(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for _, tt := range []struct {
		name, needs string
		command     []string
	}{
		{"python", "python3", []string{"python3", "receive.py"}},
		{"node", "node", []string{"node", "receive.mjs"}},
		{"java", "javac", []string{"java", "Receive.java"}},
		{"go", "go", []string{filepath.Join(t.TempDir(), "receive")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(tt.needs); err != nil {
				t.Skipf("skipped: there is no %s", tt.needs)
			}
			if tt.name == "go" {
				if out, err := exec.Command("go", "build", "-o", tt.command[0], "../../examples/webhook/go").CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			l, err := listen("", anyPort)
			if err != nil {
				t.Fatal(err)
			}
			at := urlOf(l)
			l.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, tt.command[0], append(tt.command[1:], at[strings.LastIndexByte(at, ':')+1:])...)
			cmd.Dir = "../../examples/webhook"
			cmd.Env = append(cmd.Environ(), "WEBHOOK_SECRET="+secret)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			cmd.WaitDelay = time.Second
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			body, err := webhook.Body(gateway.FeedEntry{Cursor: "1", At: gateway.At(time.Now()), OpenID: "o", Type: "follower.message", Data: json.RawMessage(`{"push":{"Content":"你好"}}`)}, gateway.ByBot, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			post := func(secret kefu.Secret) (*http.Response, error) {
				req, err := webhook.NewRequest(ctx, at+"/", "wh_1_1", time.Now(), body, webhook.NewSecret(), secret)
				if err != nil {
					return nil, err
				}
				return http.DefaultClient.Do(req)
			}
			var res *http.Response
			for ctx.Err() == nil {
				if res, err = post(secret); err == nil {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, &errs)
			}
			answer, _ := io.ReadAll(res.Body)
			res.Body.Close()
			a, err := webhook.ParseAnswer(res.Header.Get("Content-Type"), answer)
			if err != nil || a == nil || len(a.Messages) != 1 || res.StatusCode != 200 {
				t.Errorf("%s %s %v\n%s", res.Status, answer, err, &errs)
			}
			if res, err := post(webhook.NewSecret()); err != nil || res.StatusCode != 401 {
				t.Errorf("signed by somebody else: %v %v", res, err)
			}
		})
	}
}
