package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/journal"
)

// A bot beside the demo, whose clock jumps: it finds the gateway by itself, the follower is
// answered by the bot alone, and its webhook goes with it.
func TestBotBesideTheDemo(t *testing.T) {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"choices":[{"message":{"content":"九点开门"}}]}`)
	}))
	defer model.Close()
	d, done := startedDemo(t)
	defer done()
	demo, endDemo := context.WithCancel(t.Context())
	answers := make(chan error, 1)
	go func() { answers <- d.answer(demo) }()
	if err := d.behind.advance(t.Context(), "72h"); err != nil {
		t.Fatal(err)
	}
	prompt := filepath.Join(t.TempDir(), "prompt")
	if err := os.WriteFile(prompt, []byte("be kind"), 0o600); err != nil {
		t.Fatal(err)
	}
	said, says := io.Pipe()
	var errs journal.Journal
	p := &program{stdin: strings.NewReader(""), stdout: says, stderr: &errs, env: map[string]string{"KEFU_URL": d.gate.url, "KEFU_API_KEY": d.key.Reveal()}}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code := make(chan int, 1)
	go func() {
		code <- p.run(ctx, []string{"bot", "--openai-base", model.URL, "--model", "m", "--prompt-file", prompt})
		says.Close()
	}()
	line := make([]byte, 1000)
	if n, err := said.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), `{"bot":"http://127.0.0.1:`) {
		t.Fatalf("%q %v %s", line[:n], err, &errs)
	}
	if err := d.behind.writes(t.Context(), "oBot", "几点开门"); err != nil {
		t.Fatal(err)
	}
	if texts, err := d.behind.awaits(t.Context(), "oBot", 1); err != nil || len(texts) != 1 || texts[0] != "九点开门" {
		t.Errorf("%q %v\n", texts, err)
	}
	cancel()
	if c := <-code; c != 0 {
		t.Errorf("exit %d: %s", c, &errs)
	}
	c := &gateway.Client{BaseURL: d.gate.url, Key: d.key}
	if hooks, err := c.Webhooks(t.Context()); err != nil || len(hooks) != 0 {
		t.Errorf("%v %v", hooks, err)
	}
	endDemo()
	<-answers
}

// What can't work is said before anything is called, without the key.
func TestBotUsage(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, mostPrompt+1), 0o600); err != nil {
		t.Fatal(err)
	}
	const base = "http://127.0.0.1:1/v1"
	for _, tt := range []struct {
		name string
		args string
		env  map[string]string
		want int
		says string
	}{
		{"no base", "--model m", nil, exitUsage, "--openai-base is not the address"},
		{"no address", "--openai-base x --model m", nil, exitUsage, "--openai-base is not the address"},
		{"a query", "--openai-base http://x/?key=sk-1 --model m", nil, exitUsage, "--openai-base is not the address"},
		{"no model", "--openai-base " + base, nil, exitUsage, "no model"},
		{"too long", "--openai-base " + base + " --model m --think 30s", nil, exitUsage, "1s to 29s"},
		{"to nobody", "--openai-base " + base + " --model m --hand-to me", nil, exitUsage, "agent or kf"},
		{"low", "--openai-base " + base + " --model m --low -2", nil, exitUsage, "from 1 to 100, or -1"},
		{"no low", "--openai-base " + base + " --model m --low 0", nil, exitUsage, "from 1 to 100, or -1"},
		{"no prompt", "--openai-base " + base + " --model m --prompt-file none", nil, exitFailed, "can't be read"},
		{"a large prompt", "--openai-base " + base + " --model m --prompt-file " + large, nil, exitFailed, "larger than 65536"},
		{"no key file", "--openai-base " + base + " --model m", map[string]string{"KEFU_OPENAI_KEY_FILE": "none"}, exitFailed, "can't be read"},
		{"two keys in one", "--openai-base " + base + " --model m", map[string]string{"KEFU_OPENAI_KEY": "sk-1\nsk-1"}, exitUsage, "no key has"},
		{"a wrong secret", "--openai-base " + base + " --model m", map[string]string{"KEFU_WEBHOOK_SECRET": "sk-1"}, exitUsage, "KEFU_WEBHOOK_SECRET"},
		{"no gateway", "--openai-base " + base + " --model m", nil, exitFailed, "no gateway answers"},
		{"in clear", "--openai-base http://10.0.0.1/v1 --model m", map[string]string{"KEFU_OPENAI_KEY": "sk-1"}, exitFailed, "in clear"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{"KEFU_URL": "http://127.0.0.1:1", "KEFU_API_KEY": "kf_0"}
			for k, v := range tt.env {
				env[k] = v
			}
			var out, errs bytes.Buffer
			p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, env: env}
			if code := p.run(t.Context(), append([]string{"bot"}, strings.Fields(tt.args)...)); code != tt.want || !strings.Contains(errs.String(), tt.says) {
				t.Errorf("exit %d: %s", code, &errs)
			}
			if strings.Contains(errs.String(), "sk-1") || out.Len() > 0 {
				t.Errorf("said %s%s", &out, &errs)
			}
		})
	}
}
