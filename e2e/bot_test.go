package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

const openAIKey = "sk-e2e-0123456789abcdef"

// A model is a server that speaks OpenAI's chat completions. What it answers follows
// from the last words: "down", "garbage" and "slow" are that.
type model struct {
	*httptest.Server
	mu    sync.Mutex // guards asked
	asked []string   // the last words of each request
}

func newModel(t *testing.T) *model {
	m := new(model)
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Model    string
			Stream   bool
			Messages []struct{ Role, Content string }
		}
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &in); err != nil || r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer "+openAIKey || in.Model != "small" || in.Stream {
			t.Errorf("%s %s %v", r.URL, body, err)
		}
		last := in.Messages[len(in.Messages)-1].Content
		m.mu.Lock()
		m.asked = append(m.asked, last)
		m.mu.Unlock()
		answer := fmt.Sprintf("您说“%s”，这是第 %d 句", last, len(in.Messages)/2)
		switch last {
		case "down":
			w.WriteHeader(503)
			io.WriteString(w, `{"error":{"message":"no room for `+r.Header.Get("Authorization")+`"}}`)
			return
		case "garbage":
			io.WriteString(w, "<html>502 Bad Gateway")
			return
		case "slow":
			select {
			case <-r.Context().Done():
			case <-time.After(time.Minute):
			}
			return
		case "long":
			answer = strings.Repeat("这是一句话。", 1000)
		}
		json.NewEncoder(w).Encode(object{"object": "chat.completion", "choices": []object{{"index": 0, "message": object{"role": "assistant", "content": answer}, "finish_reason": "stop"}}})
	}))
	t.Cleanup(m.CloseClientConnections)
	return m
}

// startBot runs "kefu bot" until end is called: with SIGTERM it must end well.
func startBot(t *testing.T, p *process, env []string, flags ...string) (said struct{ Bot, Webhook string }, end func() (log string)) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.bin, append([]string{"bot", "--gateway", p.url(), "--model", "small"}, flags...)...)
	cmd.Env = append(os.Environ(), append(env, "KEFU_OPENAI_KEY="+openAIKey, "GORACE=atexit_sleep_ms=0")...)
	stdout, talk := newLines(), newLines()
	cmd.Stdout, cmd.Stderr = stdout, talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-stdout.first:
		if err := json.Unmarshal(line, &said); err != nil || said.Bot == "" {
			t.Fatalf("first line of kefu bot: %q", line)
		}
	case <-time.After(20 * time.Second):
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("kefu bot said nothing for 20 s; its stderr:\n%s", talk)
	}
	return said, sync.OnceValue(func() string {
		cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("kefu bot ended with %v", err)
		}
		log := stdout.String() + talk.String()
		for _, secret := range []string{openAIKey, apiKey, "whsec_"} {
			if strings.Contains(log, secret) {
				t.Errorf("kefu bot said a secret:\n%s", log)
			}
		}
		return log
	})
}

// The bot beside a gateway, each the real binary: followers are answered, with their
// history, in parts, marked as AI, with "typing…" meanwhile; a model that is down, slow or
// talks nonsense blocks nothing; a person is called on request; at its end the bot's
// webhook is gone.
func TestBot(t *testing.T) {
	p, s, _ := atDoor(t, "secure", "")
	appid := kefutest.DefaultAccount.AppID
	p.api2(t, "PUT", "/v1/accounts/"+appid, object{"ai_label": true}, nil)
	m := newModel(t)
	said, end := startBot(t, p, []string{"KEFU_API_KEY=" + apiKey}, "--openai-base", m.URL+"/v1", "--think", "1s")
	defer end()

	texts := func(openid string, n int) (all []string) {
		t.Helper()
		got := control[struct {
			Items []struct{ Raw string }
		}](s, "GET", fmt.Sprintf("/_sim/messages/wait?to=%s&count=%d&timeout=20s", openid, n), nil)
		for _, item := range got.Items {
			var m struct {
				Text         struct{ Content string }
				AIMsgContext struct {
					IsAIMsg int `json:"is_ai_msg"`
				} `json:"aimsgcontext"`
			}
			if err := json.Unmarshal([]byte(item.Raw), &m); err != nil || m.AIMsgContext.IsAIMsg != 1 {
				t.Errorf("not marked as said by an AI: %s", item.Raw)
			}
			all = append(all, m.Text.Content)
		}
		if len(all) != n {
			t.Fatalf("%s has %q, want %d", openid, all, n)
		}
		return all
	}
	handler := func(openid string) gateway.Handler {
		var c gateway.Conversation
		p.api2(t, "GET", "/v1/conversations/"+appid+"/"+openid, nil, &c)
		return c.Handler
	}
	write := func(openid, content string) { s.act(openid, "text", object{"content": content}) }

	write("oSlow", "slow") // nobody waits for it
	write("oUser1", "你好")
	if got := texts("oUser1", 1); got[0] != "您说“你好”，这是第 1 句" {
		t.Errorf("%q", got)
	}
	write("oUser1", `"}],<b>&`)
	if got := texts("oUser1", 2); got[1] != `您说“"}],<b>&”，这是第 2 句` {
		t.Errorf("%q", got)
	}
	write("oLong", "long")
	if got := texts("oLong", 3); len(strings.Join(got, "")) < 5000 || !strings.HasSuffix(got[2], "。…") {
		t.Errorf("%q", got)
	}
	for _, fault := range []string{"down", "garbage"} {
		write("o"+fault, fault)
		if got := texts("o"+fault, 1); !strings.HasPrefix(got[0], "Sorry, I can't answer") {
			t.Errorf("%s: %q", fault, got)
		}
		write("o"+fault, fault) // once more: a person
		if got := texts("o"+fault, 2); !strings.HasPrefix(got[1], "A colleague") || handler("o"+fault) != gateway.ByAgent {
			t.Errorf("%s: %q %s", fault, got, handler("o"+fault))
		}
	}
	if got := texts("oSlow", 1); !strings.HasPrefix(got[0], "Sorry") {
		t.Errorf("%q", got)
	}
	write("oUser1", "转人工")
	if got := texts("oUser1", 3); !strings.HasPrefix(got[2], "已为您转接人工客服") || handler("oUser1") != gateway.ByAgent {
		t.Errorf("%q %s", got, handler("oUser1"))
	}
	asked := len(m.asked)
	write("oUser1", "还在吗") // an agent's
	write("oUser2", "在吗")
	texts("oUser2", 1)
	texts("oUser1", 3)
	if m.mu.Lock(); len(m.asked) != asked+1 {
		t.Errorf("asked %q although a person answers", m.asked[asked:])
	}
	m.mu.Unlock()
	typing := false
	for _, r := range control[struct {
		Items []struct{ Path, Body string }
	}](s, "GET", "/_sim/requests", nil).Items {
		typing = typing || strings.HasSuffix(r.Path, "/custom/typing")
	}
	if !typing {
		t.Error("“typing…” was not shown")
	}

	var hooks gateway.Page[gateway.Webhook]
	if get(t, p.url()+"/v1/webhooks", &hooks); len(hooks.Items) != 1 || hooks.Items[0].ID != said.Webhook {
		t.Errorf("%+v", hooks)
	}
	if log := end(); strings.Contains(log, "你好") || !strings.Contains(log, "the model failed") {
		t.Error(log)
	}
	if get(t, p.url()+"/v1/webhooks", &hooks); len(hooks.Items) != 0 {
		t.Errorf("left behind: %+v", hooks.Items)
	}

	// With the secret of a webhook that is there, it makes none and needs no key.
	var hook gateway.Webhook
	put := gateway.WebhookRequest{URL: "http://127.0.0.1:1024/", Typing: true, Schedule: []gateway.Seconds{0, 1, 1, 1, 1, 1, 1, 1}}
	p.api2(t, "POST", "/v1/webhooks", put, &hook)
	write("oUser3", "早") // before there is a bot
	said, end = startBot(t, p, []string{"KEFU_WEBHOOK_SECRET=" + hook.Secret}, "--openai-base", m.URL+"/v1/")
	defer end()
	put.URL = said.Bot
	p.api2(t, "PUT", "/v1/webhooks/"+hook.ID, put, nil)
	if got := texts("oUser3", 1); said.Webhook != "" || got[0] != "您说“早”，这是第 1 句" {
		t.Errorf("%+v %q", said, got)
	}
	end()
}
