package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// A process is the gateway's binary, started again and again on one database.
type process struct {
	t    testing.TB
	bin  string
	db   string // sqlite:FILE or postgres://…
	addr string
	api  string // WeChat's address
	env  []string
	cmd  *exec.Cmd
	errs bytes.Buffer
}

const apiKey = "kf_0123456789abcdef0123456789abcdef"

func newProcess(t testing.TB, api string) *process {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a := kefutest.DefaultAccount
	return &process{
		t: t, bin: mustBinary(t), db: "sqlite:" + filepath.Join(t.TempDir(), "kefu.db"), addr: l.Addr().String(), api: api,
		env: []string{
			"KEFU_API_KEY=" + apiKey, "KEFU_API_BASE=" + api,
			fmt.Sprintf("KEFU_ACCOUNT=%s:%s:%s:%s", a.AppID, a.Secret.Reveal(), a.Token.Reveal(), a.AESKey.Reveal()),
		},
	}
}

func (p *process) url() string { return "http://" + p.addr }

// start returns once the gateway is ready.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.bin, "serve", "--addr", p.addr, "--db", p.db)
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Stderr = &p.errs
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if res, err := http.Get(p.url() + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			p.t.Fatalf("the gateway is not ready: %s", p.errs.String())
		}
	}
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// An outbox is what a client knows to be kept: id by text.
type outbox struct {
	mu   sync.Mutex
	kept map[string]string // text → id
	list map[string][]string
}

// post hands one message in until the gateway says that it is kept. The same
// idempotency key makes the repeats safe.
func (o *outbox) post(ctx context.Context, url, openid, text string) error {
	body := fmt.Sprintf(`{"message":{"touser":%q,"msgtype":"text","text":{"content":%q}}}`, openid, text)
	for {
		req, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/messages", strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+apiKey)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", text)
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			answer, readErr := io.ReadAll(res.Body)
			res.Body.Close()
			var m gateway.Message
			switch {
			case readErr != nil || res.StatusCode == http.StatusServiceUnavailable:
			case res.StatusCode == http.StatusAccepted || res.StatusCode == http.StatusOK:
				if err := json.Unmarshal(answer, &m); err != nil {
					return err
				}
				o.mu.Lock()
				o.kept[text] = m.ID
				o.list[openid] = append(o.list[openid], text)
				o.mu.Unlock()
				return nil
			default:
				return fmt.Errorf("%s: %s", res.Status, answer)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// 2,000 messages to 100 followers from 16 clients, the gateway killed (-9) twenty
// times meanwhile: nothing that was accepted is missing, order holds, nobody sees
// a message twice unless it is marked unknown, and a kill makes at most as many
// unknown as there are send slots.
func TestKilledGatewayLosesNothing(t *testing.T) {
	const messages, followers, clients, kills, slots = 2000, 100, 16, 20, 64
	wechat := kefutest.NewServer(kefutest.Account{Profile: "service_current", Rules: kefutest.Allowances{}})
	defer wechat.Close()
	if err := wechat.SetState(`{"rules":{"user_message":{"max":null,"seconds":172800}}}`); err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, wechat.URL)
	p.start()
	defer func() { p.kill() }()
	// The same rule for the gateway, and every window open.
	put(t, p.url()+"/v1/accounts/"+kefutest.DefaultAccount.AppID, `{"rules":{"user_message":{"max":null,"seconds":172800}}}`)
	openid := func(i int) string { return fmt.Sprintf("oFollower%03d", i) }
	for i := range followers {
		wechat.UserSends(openid(i))
		put(t, p.url()+"/v1/triggers", fmt.Sprintf(`{"openid":%q,"trigger":"user_message"}`, openid(i)))
	}

	box := &outbox{kept: map[string]string{}, list: map[string][]string{}}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	var next atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := next.Add(1); n <= messages; n = next.Add(1) {
				// Each client has its own followers, so that the order of acceptance is known.
				f := c + clients*int(n%int64((followers-c+clients-1)/clients))
				if err := box.post(ctx, p.url(), openid(f), fmt.Sprintf("%d/%05d", f, n)); err != nil {
					t.Errorf("message %d: %v", n, err)
					return
				}
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	killed := 0
	for killed < kills {
		time.Sleep(time.Duration(20+rand.IntN(150)) * time.Millisecond)
		p.kill()
		killed++
		p.start()
	}
	<-done
	states := map[gateway.State]int{}
	settled := func() bool {
		clear(states)
		for cursor := ""; ; {
			var page gateway.Page[gateway.Message]
			get(t, p.url()+"/v1/messages?limit=1000&cursor="+cursor, &page)
			for _, m := range page.Items {
				states[m.State]++
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		return states[gateway.Queued]+states[gateway.Sending] == 0
	}
	for end := time.Now().Add(60 * time.Second); !settled(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not settled: %v\n%s", states, p.errs.String())
		}
	}
	t.Logf("after %d kills: %v", killed, states)

	times := map[string]int{}
	last := map[string]string{}
	outOfOrder := 0
	for _, sent := range wechat.Sent() {
		var m struct {
			Text struct{ Content string }
		}
		if err := json.Unmarshal([]byte(sent.Raw), &m); err != nil {
			t.Fatal(err)
		}
		text := m.Text.Content
		if times[text]++; times[text] == 1 {
			if text < last[sent.OpenID] {
				outOfOrder++
				t.Errorf("%s came after %s", text, last[sent.OpenID])
			}
			last[sent.OpenID] = text
		}
	}
	if len(box.kept) != messages {
		t.Errorf("%d of %d accepted", len(box.kept), messages)
	}
	missing, doubled := 0, 0
	for text, id := range box.kept {
		var m gateway.Message
		get(t, p.url()+"/v1/messages/"+id, &m)
		switch {
		case m.State == gateway.Sent && times[text] == 0:
			t.Errorf("%s is said to be sent, and never arrived", text)
		case m.State != gateway.Sent && m.State != gateway.Unknown:
			t.Errorf("%s ended as %s (%+v)", text, m.State, m.Outcome)
		case times[text] == 0 && m.State != gateway.Unknown:
			missing++
		case times[text] > 1:
			doubled++
			t.Errorf("%s arrived %d times; it is %s", text, times[text], m.State)
		}
	}
	if states[gateway.Unknown] > kills*slots {
		t.Errorf("%d unknown after %d kills", states[gateway.Unknown], kills)
	}
	t.Logf("missing %d, doubled %d, out of order %d", missing, doubled, outOfOrder)
}

func get(t testing.TB, url string, into any) {
	t.Helper()
	call(t, "GET", url, "", into)
}

func put(t testing.TB, url, body string) {
	t.Helper()
	method := "PUT"
	if strings.HasSuffix(url, "/triggers") {
		method = "POST"
	}
	call(t, method, url, body, nil)
}

func call(t testing.TB, method, url, body string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s %s %v", method, url, res.Status, answer, err)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			t.Fatal(err)
		}
	}
}

func mustBinary(t testing.TB) string {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}
