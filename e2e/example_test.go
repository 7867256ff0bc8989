package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// A program hands a message to the gateway and learns its end.
func Example() {
	wechat := kefutest.NewServer()
	defer wechat.Close()
	p := newProcess(tb{}, wechat.URL)
	p.start()
	defer p.kill()
	wechat.UserSends("oUser1")

	client := gateway.Client{BaseURL: p.url(), Key: apiKey}
	m, err := client.Send(context.Background(), gateway.Request{
		Message: json.RawMessage(`{"touser":"oUser1","msgtype":"text","text":{"content":"您的订单已发货"}}`),
	}, gateway.SendOptions{Wait: 10 * time.Second, IdempotencyKey: "order-7"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.State, len(wechat.Sent("oUser1")))
	// Output: sent 1
}

// tb stands for a test where there is none.
type tb struct{ testing.TB }

func (tb) Helper()                   {}
func (tb) Fatal(args ...any)         { log.Fatal(args...) }
func (tb) Fatalf(f string, a ...any) { log.Fatalf(f, a...) }
func (tb) TempDir() string {
	dir, err := os.MkdirTemp(workshop, "")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// The examples in curl, Python, Node, Java and Go, each as a person runs it: a message
// sent twice with one key arrives once; a webhook is verified and answered in its
// response, and one that somebody else has signed is refused.
func TestExamples(t *testing.T) {
	p, s, _ := atDoor(t, "secure", "")
	dir, err := filepath.Abs("../examples")
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, args ...string) *exec.Cmd {
		t.Helper()
		if _, err := exec.LookPath(args[0]); err != nil {
			t.Skipf("SKIPPED: there is no %s", args[0])
		}
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
		cmd.Dir, cmd.WaitDelay = dir, time.Second
		cmd.Env = append(os.Environ(), "KEFU_URL="+p.url(), "KEFU_API_KEY="+apiKey, "LC_ALL=C.UTF-8") // Java reads its arguments by it
		return cmd
	}
	for name, command := range map[string][]string{
		"curl":   {"sh", "curl/send.sh"},
		"python": {"python3", "send/send.py"},
		"node":   {"node", "send/send.mjs"},
		"java":   {"java", "send/Send.java"},
	} {
		openid := "oSend" + name
		s.act(openid, "text", nil) // while there is no webhook that answers
		t.Run("send/"+name, func(t *testing.T) {
			t.Parallel()
			const text = `您的"订单"已发货 \ & <ok>`
			for n := range 2 {
				if n == 1 && name == "java" { // it compiles anew each time
					break
				}
				out, err := run(t, append(command, openid, text, "order-7-"+name)...).CombinedOutput()
				if err != nil || !strings.Contains(string(out), "sent") {
					t.Fatalf("%v: %s", err, out)
				}
			}
			var m struct{ Text struct{ Content string } }
			if got := s.raw(openid); len(got) != 1 || json.Unmarshal([]byte(got[0]), &m) != nil || m.Text.Content != text {
				t.Errorf("arrived: %q", got)
			}
			if name == "java" {
				return
			}
			if out, err := run(t, append(command, openid, "", "order-8")...).CombinedOutput(); err == nil || !strings.Contains(string(out), "invalid-message") {
				t.Errorf("an empty text: %v %s", err, out)
			}
		})
	}
	for name, command := range map[string][]string{
		"python": {"python3", "webhook/receive.py"},
		"node":   {"node", "webhook/receive.mjs"},
		"java":   {"java", "webhook/Receive.java"},
		"go":     {filepath.Join(t.TempDir(), "receive")},
	} {
		t.Run("receive/"+name, func(t *testing.T) {
			t.Parallel()
			if name == "go" {
				build := run(t, "go", "build", "-o", command[0], "./webhook/go")
				if out, err := build.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			at := l.Addr().String()
			l.Close()
			var hook gateway.Webhook
			p.api2(t, "POST", "/v1/webhooks", gateway.WebhookRequest{
				URL: "http://" + at + "/", Types: []string{"follower.message"}, Schedule: []gateway.Seconds{0, 1, 1, 1, 1, 1, 1, 1, 1, 1}, Name: name,
			}, &hook)
			defer call(t, "DELETE", p.url()+"/v1/webhooks/"+hook.ID, "", nil)
			cmd := run(t, append(command, at[strings.LastIndexByte(at, ':')+1:])...)
			cmd.Env = append(cmd.Env, "WEBHOOK_SECRET="+hook.Secret)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Wait()
			defer cmd.Process.Kill()
			refused := 0
			for end := time.Now().Add(time.Minute); refused == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+at+"/", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				now := time.Now()
				signature, err := gateway.SignWebhook("wh_1_1", now, []byte("{}"), "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set(gateway.WebhookIDHeader, "wh_1_1")
				req.Header.Set(gateway.WebhookTimeHeader, strconv.FormatInt(now.Unix(), 10))
				req.Header.Set(gateway.WebhookSignatureHeader, signature)
				if res, err := http.DefaultClient.Do(req); err == nil {
					res.Body.Close()
					refused = res.StatusCode
				}
			}
			if refused != 401 {
				t.Fatalf("signed by somebody else: HTTP %d\n%s", refused, &errs)
			}
			var tried gateway.WebhookAttempt
			if call(t, "POST", p.url()+"/v1/webhooks/"+hook.ID+"/test", "", &tried); tried.Outcome != "delivered" {
				t.Errorf("%+v\n%s", tried, &errs)
			}
			openid := "oReceive" + name
			s.act(openid, "text", object{"content": "早上好"})
			var said string // by this receiver, for each hears of all followers
			for end := time.Now().Add(20 * time.Second); said == "" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				var tries gateway.Page[gateway.WebhookAttempt]
				p.api2(t, "GET", "/v1/webhooks/"+hook.ID+"/attempts", nil, &tries)
				for _, a := range tries.Items {
					if a.OpenID == openid && a.Answer != nil && len(a.Answer.Messages) == 1 {
						var m gateway.Message
						p.api2(t, "GET", "/v1/messages/"+a.Answer.Messages[0], nil, &m)
						said = string(m.Message)
					}
				}
			}
			if !strings.Contains(said, "早上好") && !strings.Contains(said, "收到") {
				t.Errorf("it said %q\n%s", said, &errs)
			}
		})
	}
	t.Run("receive/curl", func(t *testing.T) {
		t.Parallel()
		s.act("oCurl", "text", object{"content": "晚上好"})
		out, err := run(t, "sh", "curl/receive.sh", "1", "0").Output() // ends with curl's time-out
		if !strings.Contains(string(out), "晚上好") {
			t.Errorf("%v %s", err, out)
		}
	})
	t.Run("verify/curl", func(t *testing.T) {
		t.Parallel()
		const secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": "你好"}`
		now := time.Now()
		signature, err := gateway.SignWebhook("wh_1", now, []byte(body), secret)
		if err != nil {
			t.Fatal(err)
		}
		at := strconv.FormatInt(now.Unix(), 10)
		for _, tt := range []struct {
			name, id, at, signature, body string
			want                          bool
		}{
			{"right", "wh_1", at, signature, body, true},
			{"one of two", "wh_1", at, "v1,AAAA " + signature, body, true},
			{"another id", "wh_2", at, signature, body, false},
			{"another body", "wh_1", at, signature, body + " ", false},
			{"another time", "wh_1", strconv.FormatInt(now.Unix()+1, 10), signature, body, false},
			{"no time", "wh_1", "", signature, body, false},
			{"none", "wh_1", at, "", body, false},
		} {
			cmd := run(t, "sh", "curl/verify.sh", tt.id, tt.at, tt.signature)
			cmd.Env = append(cmd.Env, "WEBHOOK_SECRET="+secret)
			cmd.Stdin = strings.NewReader(tt.body)
			if out, err := cmd.CombinedOutput(); (err == nil) != tt.want {
				t.Errorf("%s: %v %s", tt.name, err, out)
			}
		}
	})
}
