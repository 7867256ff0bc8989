package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// send hands WeChat's own JSON in and waits for its end.
func send(t *testing.T, p *process, message []byte, query string) (status int, m gateway.Message, problem gateway.Problem) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", p.url()+"/v1/messages"+query, strings.NewReader(fmt.Sprintf(`{"message":%s}`, message)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var into any = &m
	if res.StatusCode >= 300 {
		into = &problem
	}
	if err := json.Unmarshal(answer, into); err != nil {
		t.Fatalf("%s: %s", res.Status, answer)
	}
	return res.StatusCode, m, problem
}

// Every sample goes in through the API and reaches the follower equal as JSON.
func TestSamplesThroughTheGateway(t *testing.T) {
	wechat := kefutest.NewServer(kefutest.Account{AcceptAnyID: true})
	defer wechat.Close()
	if err := wechat.SetState(`{"kf_accounts":[{"kf_account":"test1@kftest","nickname":"小微"}],"rules":{"user_message":{"max":null,"seconds":172800}}}`); err != nil {
		t.Fatal(err)
	}
	p := newProcess(t, wechat.URL)
	p.start()
	defer p.kill()
	files, _ := filepath.Glob("../testdata/samples/send_*.json")
	if len(files) < 18 {
		t.Fatalf("%d samples", len(files))
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var sample map[string]any
			if err := json.Unmarshal(in, &sample); err != nil {
				t.Fatal(err)
			}
			openid := sample["touser"].(string)
			wechat.UserSends(openid)
			before := len(wechat.Sent(openid))
			status, m, problem := send(t, p, in, "?wait=10s")
			switch {
			case strings.Contains(file, "two_articles"):
				if status != 422 || problem.Code != gateway.InvalidMessage || problem.Errors[0].Location != "message.news.articles" {
					t.Errorf("%d %+v", status, problem)
				}
				return
			case strings.Contains(file, "miniprogram_only"):
				if status != 200 || m.State != gateway.Failed || m.Outcome.ErrCode != 45050 {
					t.Errorf("%d %+v", status, m)
				}
				return
			}
			if status != 200 || m.State != gateway.Sent {
				t.Fatalf("%d %+v %+v %+v", status, m, m.Outcome, problem)
			}
			sent := wechat.Sent(openid)
			if len(sent) != before+1 {
				t.Fatalf("%d arrived", len(sent)-before)
			}
			var got map[string]any
			if err := json.Unmarshal([]byte(sent[before].Raw), &got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, sample) {
				t.Errorf("got  %s\nwant %s", sent[before].Raw, in)
			}
		})
	}
}

// The disk is full: 503, not ready, nothing acknowledged that is not kept; and when
// there is room again the gateway goes on by itself.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("needs root to mount a small tmpfs: %v: %s", err, out)
	}
	defer exec.Command("umount", "-l", dir).Run()
	wechat := kefutest.NewServer()
	defer wechat.Close()
	p := newProcess(t, wechat.URL)
	p.db = "sqlite:" + filepath.Join(dir, "kefu.db")
	p.start()
	defer p.kill()
	ballast := filepath.Join(dir, "ballast")
	kept := map[string]bool{}
	refused := 0
	for i := range 400 {
		if i == 100 { // now there is none left
			f, err := os.Create(ballast)
			if err != nil {
				t.Fatal(err)
			}
			for {
				if _, err := f.Write(make([]byte, 4096)); err != nil {
					break
				}
			}
			f.Close()
		}
		status, m, problem := send(t, p, fmt.Appendf(nil, `{"touser":"oUser%d","msgtype":"text","text":{"content":%q}}`, i%7, strings.Repeat("x", 1500)), "")
		switch status {
		case http.StatusAccepted:
			kept[m.ID] = true
		case http.StatusServiceUnavailable:
			if refused++; problem.Code != gateway.Overloaded {
				t.Fatalf("%+v", problem)
			}
		default:
			t.Fatalf("%d %+v", status, problem)
		}
		if refused > 5 {
			break
		}
	}
	if refused == 0 {
		t.Fatal("the disk was never full")
	}
	if res, err := http.Get(p.url() + "/readyz"); err != nil || res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("ready with a full disk: %v %v", res, err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		status, m, _ := send(t, p, []byte(`{"touser":"oUser1","msgtype":"text","text":{"content":"room again"}}`), "")
		if status == http.StatusAccepted {
			kept[m.ID] = true
			break
		}
		if time.Now().After(end) {
			t.Fatal("does not recover")
		}
	}
	p.kill()
	p.start()
	for id := range kept {
		var m gateway.Message
		get(t, p.url()+"/v1/messages/"+id, &m)
	}
	t.Logf("%d kept, %d refused", len(kept), refused)
}
