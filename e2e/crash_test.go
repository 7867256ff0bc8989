package e2e

import (
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
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/failpoint"
	"github.com/kefu-go/kefu/internal/journal"
	"github.com/kefu-go/kefu/kefutest"
)

// A process is the gateway's binary, started again and again on one database.
type process struct {
	t      testing.TB
	bin    string
	db     string // sqlite:FILE or postgres://…
	addr   string
	api    string // WeChat's address
	env    []string
	args   []string      // of serve, besides
	dir    string        // where it works; "": here
	slow   time.Duration // that a start may take besides
	cmd    *exec.Cmd
	gone   chan struct{} // closed when it has ended
	errs   journal.Journal
	memory int // KiB of memory that the system gives it, not a byte more; 0: as much as there is
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

// on has the gateway work on a database that is no file.
func (p *process) on(db string) {
	p.db, p.dir = db, p.t.TempDir()
	p.env = append(p.env, "KEFU_SECRET_KEY="+sealingKey)
}

func (p *process) url() string { return "http://" + p.addr }

// launch starts the gateway and does not wait for it.
func (p *process) launch() {
	p.t.Helper()
	args := append([]string{"serve", "--addr", p.addr, "--db", p.db}, p.args...)
	p.cmd = exec.Command(p.bin, args...)
	if p.memory > 0 {
		p.cmd = exec.Command("sh", append([]string{"-c", fmt.Sprintf(`ulimit -d %d && exec "$0" "$@"`, p.memory), p.bin}, args...)...)
	}
	p.cmd.Env = append(os.Environ(), p.env...)
	p.cmd.Dir = p.dir
	p.cmd.Stderr = &p.errs
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	cmd, gone := p.cmd, make(chan struct{})
	p.gone = gone
	go func() {
		_ = cmd.Wait()
		close(gone)
	}()
}

// start returns once the gateway is ready.
func (p *process) start() {
	p.t.Helper()
	p.launch()
	for end := time.Now().Add(20*time.Second + p.slow); ; time.Sleep(5 * time.Millisecond) {
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
	<-p.gone
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

// A siege is a gateway under load whose process dies again and again.
//
// 16 clients write to 96 followers whose windows are always open, and each to one
// who has not written yet, whose messages are parked. Followers write, too.
type siege struct {
	t      *testing.T
	wechat *kefutest.WeChat
	p      *process
	box    *outbox
	asked  atomic.Int64 // messages that the clients may hand in
	given  atomic.Int64 // and have
	heard  sync.Map     // what followers wrote, of what the gateway said that it is kept
	wrote  atomic.Int64
	chance int // in ten, that a message is for a stranger
	wg     sync.WaitGroup
	stop   context.CancelFunc
}

const (
	siegeClients = 16
	siegeSlots   = 64
	sureAs       = `{"rules":{"user_message":{"max":null,"seconds":172800}}}`
)

func besiege(t *testing.T) *siege { return besiegeOn(t, "") }

// besiegeOn is besiege with a database ("": a new one on SQLite).
func besiegeOn(t *testing.T, db string) *siege {
	s := &siege{t: t, chance: 1, box: &outbox{kept: map[string]string{}, list: map[string][]string{}}}
	s.p = newProcess(t, "")
	if db != "" {
		s.p.on(db)
	}
	s.wechat = kefutest.NewServer(kefutest.Account{Callback: s.p.url() + "/callback/" + kefutest.DefaultAccount.AppID})
	t.Cleanup(s.wechat.Close)
	s.p.api = s.wechat.URL
	s.p.env = append(s.p.env, "KEFU_API_BASE="+s.wechat.URL)
	if err := s.wechat.SetState(sureAs); err != nil {
		t.Fatal(err)
	}
	s.p.start()
	t.Cleanup(s.p.kill)
	// The same rule for the gateway, and every window open.
	put(t, s.p.url()+"/v1/accounts/"+kefutest.DefaultAccount.AppID, sureAs)
	for c := range siegeClients {
		for i := range 6 {
			s.wechat.UserSends(s.friend(c, i))
		}
	}
	return s
}

func (s *siege) friend(client, i int) string { return fmt.Sprintf("oFriend%02d%d", client, i) }
func (s *siege) stranger(client int) string  { return fmt.Sprintf("oStranger%02d", client) }

// load begins; the clients hand in as many messages as asked says.
func (s *siege) load() {
	ctx, cancel := context.WithCancel(s.t.Context())
	s.stop = cancel
	for c := range siegeClients {
		s.wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 5))
			for ctx.Err() == nil {
				if s.given.Load() >= s.asked.Load() {
					time.Sleep(2 * time.Millisecond)
					continue
				}
				n := s.given.Add(1)
				// Each client has its own followers, so that the order of acceptance is known.
				openid := s.friend(c, r.IntN(6))
				switch n := r.IntN(10); {
				case n < s.chance:
					openid = s.stranger(c)
				case n == 9:
					s.writes(openid)
				}
				// Not with ctx: what was begun is handed in to its end.
				if err := s.box.post(s.t.Context(), s.p.url(), openid, fmt.Sprintf("%07d", n)); err != nil {
					s.t.Errorf("message %d: %v", n, err)
					return
				}
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
			}
		})
	}
}

// writes has a follower write something, and notes whether the gateway has it.
func (s *siege) writes(openid string) {
	text := fmt.Sprintf("said-%07d", s.wrote.Add(1))
	did := s.wechat.UserSends(openid, text)
	if n := len(did.Deliveries); n > 0 && did.Deliveries[n-1].Status == http.StatusOK {
		s.heard.Store(text, openid)
	}
}

// end lets the clients end, the strangers write, and everything come to its end.
func (s *siege) end() (states map[gateway.State]int, all map[string]gateway.Message) {
	s.stop()
	s.wg.Wait()
	for c := range siegeClients {
		s.writes(s.stranger(c))
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		states, all = map[gateway.State]int{}, map[string]gateway.Message{}
		for cursor := ""; ; {
			var page gateway.Page[gateway.Message]
			get(s.t, s.p.url()+"/v1/messages?limit=1000&cursor="+cursor, &page)
			for _, m := range page.Items {
				states[m.State]++
				all[m.ID] = m
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		if states[gateway.Queued]+states[gateway.Sending]+states[gateway.Parked] == 0 {
			return states, all
		}
		if time.Now().After(end) {
			s.t.Fatalf("still not settled: %v\n%s", states, s.p.errs.String())
		}
	}
}

// judge holds what the followers received against what was accepted: nothing that
// was accepted is missing; of one follower the messages that never were parked come
// in order, and those that were; nobody sees a message twice unless it is marked;
// a kill makes at most as many unknown as there are send slots; and what a follower
// wrote is in the feed once, if WeChat was told that it is kept.
func (s *siege) judge(kills int) {
	s.t.Helper()
	states, all := s.end()
	parked, told := map[string]bool{}, map[string]int{}
	for cursor := ""; ; {
		var page gateway.Page[gateway.FeedEntry]
		get(s.t, s.p.url()+"/v1/events?limit=1000&cursor="+cursor, &page)
		for _, e := range page.Items {
			var data struct {
				ID   string
				Push struct{ Content string }
			}
			if err := json.Unmarshal(e.Data, &data); err != nil {
				s.t.Fatal(err)
			}
			switch e.Type {
			case "message.parked":
				parked[data.ID] = true
			case "follower.message":
				told[data.Push.Content]++
			}
		}
		if len(page.Items) == 0 {
			break
		}
		cursor = page.Next
	}
	times, last, inversions := map[string]int{}, map[string]string{}, 0
	for _, sent := range s.wechat.Sent() {
		text := sent.Message.Body.(kefu.Text).Content
		if times[text]++; times[text] > 1 {
			continue
		}
		line := fmt.Sprint(sent.OpenID, parked[s.box.kept[text]])
		if text < last[line] {
			inversions++
			s.t.Errorf("%s came after %s", text, last[line])
		}
		last[line] = text
	}
	missing, doubled := 0, 0
	for text, id := range s.box.kept {
		m, there := all[id]
		switch {
		case !there:
			missing++
			s.t.Errorf("%s was accepted as %s, and is gone", text, id)
		case m.State == gateway.Sent && times[text] == 0:
			missing++
			s.t.Errorf("%s is said to be sent, and never arrived", text)
		case m.State != gateway.Sent && m.State != gateway.Unknown:
			s.t.Errorf("%s ended as %s (%+v)", text, m.State, m.Outcome)
		case times[text] > 1:
			if doubled++; !m.PossibleDuplicate {
				s.t.Errorf("%s arrived %d times, is %s and not marked", text, times[text], m.State)
			}
		}
	}
	if states[gateway.Unknown] > kills*siegeSlots {
		s.t.Errorf("%d unknown after %d kills", states[gateway.Unknown], kills)
	}
	lost, heard := 0, 0
	s.heard.Range(func(text, openid any) bool {
		if heard++; told[text.(string)] != 1 {
			lost++
			s.t.Errorf("WeChat was told that %s of %s is kept; it is in the feed %d times", text, openid, told[text.(string)])
		}
		return true
	})
	s.t.Logf("%d kills, %d accepted (%d parked for a while): %v; missing %d, doubled %d, out of order %d; %d callbacks answered, %d not kept once",
		kills, len(s.box.kept), len(parked), states, missing, doubled, inversions, heard, lost)
}

// rounds is few, many with KEFU_LONG, or what KEFU_ROUNDS says.
func rounds(few, many int) int {
	if n, err := strconv.Atoi(os.Getenv("KEFU_ROUNDS")); err == nil {
		return n
	}
	if os.Getenv("KEFU_LONG") != "" {
		return many
	}
	return few
}

// killsOf is how many kills there are: few, 2,000 with KEFU_LONG, or what KEFU_KILLS says.
func killsOf(few int) int {
	if n, err := strconv.Atoi(os.Getenv("KEFU_KILLS")); err == nil {
		return n
	}
	return rounds(few, 2000)
}

// Reliability, row 1: kill -9 at random moments under load.
func TestKilledGatewayLosesNothing(t *testing.T) {
	t.Parallel()
	kills := killsOf(100)
	s := besiege(t)
	s.load()
	for killed := range kills {
		s.asked.Store(int64(20 * (killed + 1)))
		time.Sleep(time.Duration(10+rand.IntN(150)) * time.Millisecond)
		s.p.kill()
		s.p.start()
	}
	s.judge(kills)
}

// The process dies exactly at each place of package failpoint. In what comes after,
// nothing is lost either.
func TestFailpoints(t *testing.T) {
	bin := withFailpoints(t)
	for _, place := range failpoint.Names {
		for _, times := range timesOf(1 + rand.IntN(8)) {
			t.Run(fmt.Sprintf("%s/%d", place, times), func(t *testing.T) { diesAt(besiege(t), bin, place, times) })
		}
	}
}

// timesOf says how often a place is passed until the process dies there: few, or often
// with KEFU_LONG.
func timesOf(few ...int) []int {
	if os.Getenv("KEFU_LONG") != "" {
		return []int{1, 2, 3, 5, 8, 13, 21, 34}
	}
	return few
}

// withFailpoints builds the gateway that can die.
func withFailpoints(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(workshop, "kefu-failpoint")
	build := exec.Command("go", "build", "-tags", "failpoint", "-o", bin, "./cmd/kefu")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// diesAt has the gateway die at a place, under load, when it comes there as often as
// times says, and judges.
func diesAt(s *siege, bin, place string, times int) {
	s.t.Helper()
	s.p.kill()
	s.p.bin, s.chance = bin, 5
	kills := 1
	if place == "recover.one" {
		times, kills = 1, 2
		s.wechat.Fail(kefutest.Fault{Delay: kefutest.Duration(2 * time.Second), Next: 1000})
		s.p.start()
		s.load()
		s.asked.Store(40)
		for end := time.Now().Add(time.Minute); len(s.wechat.Sent()) == 0; time.Sleep(10 * time.Millisecond) { // there, and not answered
			if time.Now().After(end) {
				s.t.Fatal("nothing is on its way")
			}
		}
		s.p.kill()
	}
	plain := s.p.env
	s.p.env = append(slices.Clone(plain), fmt.Sprintf("KEFU_FAILPOINT=%s:%d", place, times))
	s.p.launch()
	if s.stop == nil {
		s.load()
	}
	for n, end := int64(40), time.Now().Add(2*time.Minute); ; n += 20 {
		s.asked.Store(n)
		for c := range siegeClients { // what is to them is parked, and let out
			if n%40 == 0 {
				s.wechat.Unfollows(s.stranger(c))
			} else {
				s.writes(s.stranger(c))
			}
		}
		select {
		case <-s.p.gone:
		case <-time.After(200 * time.Millisecond):
			if time.Now().Before(end) && n < 10_000 {
				continue
			}
			s.t.Fatalf("it never comes to %s %d times", place, times)
		}
		break
	}
	s.p.env = plain
	s.p.start()
	time.Sleep(50 * time.Millisecond)
	s.judge(kills)
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
