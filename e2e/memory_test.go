package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// Reliability, row 7: the system gives the gateway so much memory and not a byte more,
// and more clients than that has room for bring the largest messages and batches there
// are. It turns some away and does not die; what it took is there after a kill -9, and
// it goes on by itself when they are gone. It floods for a second, for a minute with
// KEFU_LONG=1.
func TestMemoryLimit(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux counts the memory of a process as ulimit -d says it")
	}
	flood := time.Second
	if os.Getenv("KEFU_LONG") != "" {
		flood = time.Minute
	}
	wechat := kefutest.NewServer()
	defer wechat.Close()
	p := newProcess(t, wechat.URL)
	p.memory = 512 << 10
	if len(buildFlags) > 0 { // the race detector takes more than that for itself
		p.bin = filepath.Join(t.TempDir(), "kefu")
		build := exec.Command("go", "build", "-o", p.bin, "./cmd/kefu")
		build.Dir = ".."
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	p.start()
	defer func() { p.kill() }()
	first := p.gone

	padding := strings.Repeat("x", 900<<10)
	var large []string
	for i := range 8 {
		large = append(large, fmt.Sprintf(`{"message":{"touser":"oLarge%d","msgtype":"text","text":{"content":"large"},"padding":%q}}`, i, padding))
	}
	batch := "[" + strings.Join(large, ",") + "]"
	var mu sync.Mutex
	var kept []string
	codes := map[int]int{}
	keep := func(m gateway.Message) { kept = append(kept, m.ID) }
	var wg sync.WaitGroup
	end := time.Now().Add(flood)
	for client := range 48 {
		wg.Go(func() {
			for n := 0; n == 0 || time.Now().Before(end); n++ {
				path, body := "/v1/messages", large[client%8]
				if client%2 == 0 {
					path, body = "/v1/messages/batch", batch
				}
				req, _ := http.NewRequest("POST", p.url()+path, strings.NewReader(body))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Authorization", "Bearer "+apiKey)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					continue // turned away in the middle of its body
				}
				answer, err := io.ReadAll(res.Body)
				res.Body.Close()
				mu.Lock()
				codes[res.StatusCode]++
				var m gateway.Message
				var many struct{ Results []gateway.BatchResult }
				switch {
				case err != nil:
				case res.StatusCode == http.StatusAccepted && json.Unmarshal(answer, &m) == nil:
					keep(m)
				case res.StatusCode == http.StatusOK && json.Unmarshal(answer, &many) == nil:
					for _, r := range many.Results {
						if r.Message != nil {
							keep(*r.Message)
						}
					}
				case res.StatusCode != http.StatusServiceUnavailable:
					t.Errorf("%s: %.200s", res.Status, answer)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	select {
	case <-first:
		t.Fatalf("the gateway is dead: %.2000s", p.errs.String())
	default:
	}
	t.Logf("%d KiB at most: %d messages of 900 KiB kept; answers %v; %s", p.memory, len(kept), codes, memory(p))
	if codes[http.StatusServiceUnavailable] == 0 || len(kept) == 0 {
		t.Errorf("answers %v, %d kept: this sees nothing", codes, len(kept))
	}

	p.kill()
	p.start()
	for _, id := range kept {
		var m gateway.Message
		get(t, p.url()+"/v1/messages/"+id, &m)
		switch m.State {
		case gateway.Parked, gateway.Queued, gateway.Unknown: // unknown: the kill came into its post
		default:
			t.Errorf("%s is %s", id, m.State)
		}
	}
	wechat.UserSends("oUser1")
	put(t, p.url()+"/v1/triggers", `{"openid":"oUser1","trigger":"user_message"}`)
	call(t, "POST", p.url()+"/v1/messages?wait=30s", `{"message":{"touser":"oUser1","msgtype":"text","text":{"content":"after"}}}`, nil)
	if sent := wechat.Sent(); len(sent) != 1 {
		t.Errorf("%d arrived, want the one after the flood", len(sent))
	}
}
