package e2e

import (
	"bytes"
	"database/sql"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

//go:embed scale.sql
var scaleSQL string

// fill makes a store with a history of a stopped gateway's database: finished
// messages, and waiting ones for 100,000 followers, of which four in five are parked
// and the others scheduled for tomorrow.
func fill(t *testing.T, path string, finished, waiting int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(off)&_pragma=cache_size(-1000000)&_pragma=temp_store(memory)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	text := strings.NewReplacer("$finished", strconv.Itoa(finished), "$waiting", strconv.Itoa(waiting),
		"$account", kefutest.DefaultAccount.AppID, "$now", strconv.FormatInt(time.Now().UnixMilli(), 10)).Replace(scaleSQL)
	for _, q := range strings.Split(text, ";\n") {
		if _, err := db.Exec(q); err != nil {
			t.Fatalf("%.80s: %v", q, err)
		}
	}
	if _, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		t.Fatal(err)
	}
}

// A gateway with a million waiting messages for 100,000 followers and ten million
// finished ones starts, keeps little in memory and delivers as an empty one does. By
// default the numbers are a five-hundredth and nothing is timed; the figures are
// logged:
//
//	KEFU_LONG=1 go test -run '^TestScale$' -timeout 3h -v .
//
// KEFU_SCALE_DB names the file that is filled, or used again if it is there.
func TestScale(t *testing.T) {
	finished, waiting, messages, rounds := 20_000, 2_000, 300, 1
	if os.Getenv("KEFU_LONG") != "" {
		finished, waiting, messages, rounds = 10_000_000, 1_000_000, 10_000, 3
	}
	wechat := kefutest.NewServer()
	defer wechat.Close()
	const open = `{"rules":{"user_message":{"max":null,"seconds":172800}}}`
	if err := wechat.SetState(open); err != nil {
		t.Fatal(err)
	}
	const secret = "KEFU_SECRET_KEY=" + sealingKey // of a file that is used again, too
	empty, full := newProcess(t, wechat.URL), newProcess(t, wechat.URL)
	empty.env, full.env = append(empty.env, secret), append(full.env, secret, "KEFU_KEEP=0")
	there := false
	if path := os.Getenv("KEFU_SCALE_DB"); path != "" {
		full.db = "sqlite:" + path
		_, err := os.Stat(path)
		there = err == nil
	}
	for _, p := range []*process{empty, full} {
		p.slow = 20 * time.Minute // the first start of a used file may have to migrate it
		p.start()
		put(t, p.url()+"/v1/accounts/"+kefutest.DefaultAccount.AppID, open)
		p.kill()
	}
	if !there {
		fill(t, strings.TrimPrefix(full.db, "sqlite:"), finished, waiting)
	}

	began := time.Now()
	full.start()
	t.Logf("start: %v; %s", time.Since(began).Round(10*time.Millisecond), memory(full))
	for {
		var h gateway.Health
		if get(t, full.url()+"/readyz", &h); !slices.ContainsFunc(h.Notes, func(n string) bool { return strings.Contains(n, "wait from before the start") }) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("all taken up after %v; %s", time.Since(began).Round(10*time.Millisecond), memory(full))
	if os.Getenv("KEFU_LONG") != "" {
		time.Sleep(time.Minute) // the lanes of parked messages are looked into one by one
	}
	empty.start()
	defer func() { empty.kill(); full.kill() }()
	for _, p := range []*process{empty, full} {
		for i := range 500 {
			openid := fmt.Sprintf("oFollower%04d", i)
			wechat.UserSends(openid)
			put(t, p.url()+"/v1/triggers", fmt.Sprintf(`{"openid":%q,"trigger":"user_message"}`, openid))
		}
	}
	for round := range rounds {
		before := [...]time.Duration{cpu(empty), cpu(full)}
		a, b := deliver(t, wechat, empty, messages), deliver(t, wechat, full, messages)
		if os.Getenv("KEFU_LONG") != "" {
			of := func(p *process, before time.Duration) time.Duration {
				return ((cpu(p) - before) / time.Duration(messages)).Round(time.Microsecond)
			}
			t.Logf("round %d: empty %.0f, full %.0f messages a second: %.2f; CPU of a message %v, %v; %s", round+1, a, b, b/a, of(empty, before[0]), of(full, before[1]), memory(full))
		}
	}
	var page gateway.Page[gateway.Message]
	get(t, full.url()+"/v1/messages?state=parked&limit=1000", &page)
	if len(page.Items) < min(1000, waiting*4/5) {
		t.Errorf("%d parked messages are left", len(page.Items))
	}
	get(t, full.url()+"/v1/messages?state=queued&limit=1000", &page)
	if len(page.Items) < min(1000, waiting/100_000*20_000) {
		t.Errorf("%d scheduled messages are left", len(page.Items))
	}
}

// deliver is the rate at which messages from 32 clients arrive.
func deliver(t *testing.T, wechat *kefutest.WeChat, p *process, messages int) float64 {
	t.Helper()
	before := len(wechat.Sent())
	began := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(messages); i = next.Add(1) {
				body := fmt.Sprintf(`{"message":{"touser":"oFollower%04d","msgtype":"text","text":{"content":"您好，您的订单已发货"}}}`, i%500)
				req, _ := http.NewRequest("POST", p.url()+"/v1/messages", strings.NewReader(body))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Authorization", "Bearer "+apiKey)
				res, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				answer, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode != http.StatusAccepted {
					t.Errorf("%s: %s", res.Status, answer)
					return
				}
			}
		})
	}
	wg.Wait()
	for end := time.Now().Add(2 * time.Minute); len(wechat.Sent())-before < messages; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d arrived", len(wechat.Sent())-before, messages)
		}
	}
	return float64(messages) / time.Since(began).Seconds()
}

// cpu is how long a process has had a CPU, where the system says so.
func cpu(p *process) time.Duration {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / 100 // in hundredths, on all of Linux
}

// memory is what the system says of a process, where it does.
func memory(p *process) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(b) {
		if value, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			return "most memory " + strings.TrimSpace(string(value))
		}
	}
	return ""
}
