package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
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

// The example in curl, twice: one message.
func TestCurlExample(t *testing.T) {
	wechat := kefutest.NewServer()
	defer wechat.Close()
	p := newProcess(t, wechat.URL)
	p.start()
	defer p.kill()
	wechat.UserSends("oUser1")
	for range 2 {
		cmd := exec.Command("sh", "../examples/curl/send.sh", "oUser1", "您的订单已发货", "order-7")
		cmd.Env = append(cmd.Environ(), "KEFU_URL="+p.url(), "KEFU_API_KEY="+apiKey)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), `"state":"sent"`) {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if n := len(wechat.Sent("oUser1")); n != 1 {
		t.Errorf("%d messages arrived", n)
	}
}
