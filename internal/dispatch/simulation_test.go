package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

// Reliability, rows 3 and 9: a whole gateway, its store on disk, and the simulator
// live through a random history in a bubble: messages of every kind, acts of the
// followers, callbacks twice, late or never, refusals, dead tokens, cut and late
// answers, restarts and crashes. Then what the promises say is held against what
// the followers received.
//
// A history is tame or wild. In a tame one every callback is kept, and WeChat
// refuses nothing by a whim: then nothing may be posted that the window forbids,
// and what the gateway shows is left is what the simulator has, less the unknown
// outcomes. In a wild one the gateway can't know better.
type world struct {
	t      *testing.T
	r      *rand.Rand
	wild   bool
	calm   bool // followers act only while nothing to them is under way
	profil string
	path   string
	given  gateway.Account
	wechat *kefutest.WeChat

	life   *life // the present process
	lives  sync.WaitGroup
	mends  []func()
	said   []*saying
	byText map[string]*saying
	known  map[string]*acquaintance
	late   []callback.Event
	script []string
	fate   func(callback.Event) (handle, answer bool) // of the next delivery
}

// A life is one process of the gateway.
type life struct {
	store  *store.Store
	d      *dispatch.Dispatcher
	dead   atomic.Bool
	buried chan struct{} // closed when another life has begun
}

// RoundTrip is the process's way to WeChat, which ends with it.
func (l *life) way(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if l.dead.Load() {
			<-l.buried
			return nil, io.ErrUnexpectedEOF
		}
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A saying is a message that the gateway has accepted.
type saying struct {
	id, openid, text string
	try              bool
	resolved         bool
}

// An acquaintance is a follower, and what the gateway can know of them.
type acquaintance struct {
	heard  time.Time // when the gateway first heard of something that opens or closes; zero: never
	missed bool      // something was not heard, or not in time
	// crossed: an act met a post on its way. The ledger has taken its slot from the
	// bucket before the act, WeChat perhaps from the one after. No order is to be
	// known then, and WeChat's next refusal sets it right.
	crossed bool
}

const simulatedKey = "0123456789abcdef0123456789abcdef"

// newWorld begins with a database that is already migrated: a seed is to be cheap.
func newWorld(t *testing.T, seed uint64, template []byte) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 3)), path: filepath.Join(t.TempDir(), "kefu.db"),
		byText: map[string]*saying{}, known: map[string]*acquaintance{},
	}
	w.wild, w.calm = seed%2 == 1, seed%4 == 0
	w.profil = kefu.Profiles()[w.r.IntN(len(kefu.Profiles()))]
	a := kefutest.DefaultAccount
	a.Profile = w.profil
	w.given = gateway.Account{AppID: appid, Secret: a.Secret, Token: a.Token, AESKey: a.AESKey, Profile: w.profil}
	if w.r.IntN(3) == 0 {
		a.Mixing = kefutest.LatestWins
		w.given.Mixing = gateway.LatestWins
	}
	if w.r.IntN(2) == 0 {
		a.MenuTap, w.given.MenuTap = kefu.UserMessage, kefu.UserMessage
	}
	if w.wild && w.r.IntN(3) == 0 {
		a.NotFollowing = 43004
	}
	w.given = w.given.WithDefaults()
	a.CallbackHandler = &callback.Handler{
		AppID: a.AppID, Token: a.Token, AESKey: a.AESKey, Log: slog.New(slog.DiscardHandler),
		Receive: func(ctx context.Context, e callback.Event) (callback.Reply, error) {
			handle, answer := w.fate(e)
			if handle {
				if _, err := w.life.d.Receive(ctx, appid, e); err != nil {
					return nil, err
				}
			}
			if !answer {
				return nil, errors.New("the network ate it")
			}
			return nil, nil
		},
	}
	w.wechat = kefutest.New(a)
	if err := os.WriteFile(w.path, template, 0o600); err != nil {
		t.Fatal(err)
	}
	w.begin()
	return w
}

func (w *world) say(format string, args ...any) {
	w.script = append(w.script, time.Now().UTC().Format("02 15:04:05.000 ")+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf(format, args...)
}

// begin starts a process on the database.
func (w *world) begin() {
	w.t.Helper()
	l := &life{buried: make(chan struct{})}
	var err error
	l.store, err = store.Open(context.Background(), w.path, store.Options{SecretKey: simulatedKey, Gather: -1, Params: "_pragma=synchronous(off)"})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.life == nil {
		if err := l.store.PutAccount(context.Background(), time.Now(), w.given); err != nil {
			w.t.Fatal(err)
		}
	}
	way := &http.Client{Transport: l.way(w.wechat.Transport())}
	l.d, err = dispatch.Start(context.Background(), dispatch.Config{
		Store: l.store, Heartbeat: 100 * time.Hour, HTTP: way, Slots: 4, Log: slog.New(slog.DiscardHandler),
		Tokens: func(a gateway.Account) kefu.TokenSource {
			return kefu.CachedToken(kefu.StableToken{AppID: a.AppID, Secret: a.Secret, HTTP: way})
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.life = l
}

// end stops the process in order.
func (w *world) end() {
	w.life.d.Stop()
	if err := w.life.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// crash ends the process wherever it is: nothing that it does from here on reaches
// WeChat or the disk.
func (w *world) crash() {
	old := w.life
	// The real one writes this down every 5 s.
	if err := old.store.Heartbeat(context.Background(), time.Now()); err != nil {
		w.t.Error(err)
	}
	old.dead.Store(true)
	w.begin()
	close(old.buried)
	w.lives.Go(func() {
		old.d.Stop()
		old.store.Close()
	})
}

// accept hands a message in.
func (w *world) accept() {
	openid := w.anybody()
	text := strconv.Itoa(len(w.said))
	s := gateway.Submission{
		Account: appid, OpenID: openid, MsgType: "text", WhenClosed: gateway.Park, OnUnknown: gateway.Hold,
		Priority: gateway.Normal, Source: gateway.FromAPI,
		Message: json.RawMessage(fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":%q}}`, openid, text)),
	}
	switch w.r.IntN(8) {
	case 0:
		s.Priority = gateway.Human
	case 1:
		s.Priority = gateway.Bulk
	case 2:
		s.WhenClosed = gateway.Fail
	case 3:
		if w.wild {
			s.WhenClosed = gateway.Try
		}
	case 4:
		s.NotBefore = gateway.At(time.Now().Add(time.Duration(w.r.Int64N(int64(time.Minute)))))
	case 5:
		s.ExpiresAt = gateway.At(time.Now().Add(time.Minute + time.Duration(w.r.Int64N(int64(time.Hour)))))
	}
	s.IdempotencyKey = text
	out := w.life.d.Accept(context.Background(), []gateway.Submission{s})[0]
	var p *gateway.Problem
	switch {
	case errors.As(out.Err, &p) && s.WhenClosed == gateway.Fail:
		w.say("%s to %s: %s", text, openid, p.Code)
		w.said = append(w.said, nil) // its text is used up
		return
	case out.Err != nil:
		w.t.Fatalf("%s: %v", text, out.Err)
	}
	m := &saying{id: out.Message.ID, openid: openid, text: text, try: s.WhenClosed == gateway.Try}
	w.said, w.byText[text] = append(w.said, m), m
	w.say("%s to %s: %s, %s, not before %v, until %v", text, openid, s.Priority, s.WhenClosed, s.NotBefore, s.ExpiresAt)
	if w.r.IntN(8) == 0 { // the caller did not hear the answer and asks again
		again := w.life.d.Accept(context.Background(), []gateway.Submission{s})[0]
		if again.Err != nil || !again.Replayed || again.Message.ID != m.id {
			w.fail("handed in again: %+v, %v", again.Message, again.Err)
		}
	}
}

func (w *world) anybody() string { return fmt.Sprintf("oUser%d", w.r.IntN(3)) }

func (w *world) knows(openid string) *acquaintance {
	if w.known[openid] == nil {
		w.known[openid] = &acquaintance{}
	}
	return w.known[openid]
}

// act has a follower do something; WeChat's callback meets its fate.
func (w *world) act() {
	openid := w.anybody()
	doing := []string{"text", "text", "location", "click", "scancode_push", "menu-tap", "subscribe", "scan", "view", "unsubscribe"}
	action := doing[w.r.IntN(len(doing))]
	fate, deliveries := w.r.IntN(12), 0
	if w.calm {
		settle()
	}
	if !w.wild && fate < 2 {
		fate += 2
	}
	w.fate = func(e callback.Event) (handle, answer bool) {
		deliveries++
		switch fate {
		case 0: // never
			w.knows(openid).missed = true
			return false, false
		case 1: // later, by another way
			w.knows(openid).missed = true
			if deliveries == 1 {
				w.late = append(w.late, e)
			}
			return false, false
		case 2: // kept, but WeChat does not hear so
			return true, deliveries > 1
		case 3: // the first is lost
			return deliveries > 1, deliveries > 1
		case 4: // kept, and replayed later
			w.late = append(w.late, e)
		}
		return true, true
	}
	if w.underWay(openid) {
		if w.calm {
			return
		}
		w.knows(openid).crossed = true
	}
	w.say("%s %s, fate %d", openid, action, fate)
	if _, err := w.wechat.Does(openid, action, kefutest.Details{}); err != nil {
		w.t.Fatal(err)
	}
	if rules, _ := kefu.RulesFor(w.profil); fate > 1 && (action == "unsubscribe" || action != "view" && rules.Allowances[kefu.Menu].Max > 0) {
		if a := w.knows(openid); a.heard.IsZero() {
			a.heard = time.Now()
		}
	}
}

// underWay reports whether something to the follower may be on its way.
func (w *world) underWay(openid string) bool {
	for _, m := range w.said {
		if m == nil || m.openid != openid {
			continue
		}
		if now, err := w.life.store.Message(context.Background(), m.id); err != nil || now.State == gateway.Queued || now.State == gateway.Sending {
			return true
		}
	}
	return false
}

// trouble has WeChat or the way to it fail for a while.
func (w *world) trouble() {
	faults := []kefutest.Fault{
		{ErrCode: -1}, {ErrCode: 40001}, {ErrCode: 45011}, {Status: 502}, {Status: 429}, {Drop: kefutest.DropRequest}, {Drop: kefutest.DropReply},
		{Delay: kefutest.Duration(3 * time.Second)}, {Delay: kefutest.Duration(8 * time.Second)},
		{Path: "stable_token", ErrCode: -1}, {Path: "stable_token", Drop: kefutest.DropReply},
		{ErrCode: 45009}, {ErrCode: 40008}, {ErrCode: 45015}, {ErrCode: 45047}, {ErrCode: 43004},
	}
	if !w.wild {
		faults = faults[:len(faults)-3]
	}
	f := faults[w.r.IntN(len(faults))]
	if f.Next = 1 + w.r.IntN(3); w.r.IntN(4) == 0 {
		f.Next, f.Probability, f.Seed = 0, 0.3, w.r.Uint64()
	}
	w.say("trouble: %+v", f)
	w.mends = append(w.mends, w.wechat.Fail(f))
}

func (w *world) mend() {
	for _, mend := range w.mends {
		mend()
	}
	w.mends = nil
}

// pass lets time pass.
func (w *world) pass() {
	var d time.Duration
	switch w.r.IntN(8) {
	case 0, 1, 2:
		d = time.Duration(w.r.Int64N(int64(2 * time.Second)))
	case 3, 4:
		d = time.Duration(w.r.Int64N(int64(40 * time.Second)))
	case 5:
		d = time.Duration(w.r.Int64N(int64(3 * time.Hour)))
	case 6:
		if bs := w.wechat.Window(w.anybody()).Buckets; len(bs) > 0 {
			d = time.Until(bs[w.r.IntN(len(bs))].ClosesAt) + time.Duration(w.r.IntN(3)-1)
		}
	case 7:
		if w.r.IntN(4) == 0 {
			d = 48 * time.Hour
		}
	}
	w.say("%v pass", d)
	time.Sleep(max(d, 0))
}

// meddle is what people do to a message.
func (w *world) meddle() {
	if len(w.said) == 0 {
		return
	}
	m := w.said[w.r.IntN(len(w.said))]
	if m == nil {
		return
	}
	ctx := context.Background()
	if now, err := w.life.store.Message(ctx, m.id); err == nil && now.State == gateway.Unknown && w.wild {
		_, err := w.life.d.Resolve(ctx, m.id, gateway.Failed)
		w.say("%s resolved: %v", m.text, err)
		m.resolved, w.knows(m.openid).missed = true, true
		return
	}
	_, err := w.life.d.Cancel(ctx, m.id)
	w.say("%s canceled: %v", m.text, err)
	var p *gateway.Problem
	if err != nil && !errors.As(err, &p) {
		w.fail("cancel: %v", err)
	}
}

// step is one thing that happens.
func (w *world) step() {
	switch w.r.IntN(20) {
	case 0, 1, 2, 3, 4, 5:
		for range 1 + w.r.IntN(3) {
			w.accept()
		}
	case 6, 7, 8, 9:
		w.act()
	case 10, 11:
		w.trouble()
	case 12:
		w.mend()
	case 13, 14, 15:
		w.pass()
	case 16:
		w.meddle()
	case 17:
		w.say("restart")
		w.end()
		if w.wild && w.r.IntN(4) == 0 { // longer than WeChat tries
			time.Sleep(20 * time.Second)
		}
		w.begin()
	case 18:
		w.say("crash")
		w.crash()
	case 19:
		for _, e := range w.late {
			w.say("a late callback: %s %s", e.Head().FromUserName, e.Head().Event)
			if _, err := w.life.d.Receive(context.Background(), appid, e); err != nil {
				w.fail("a late callback: %v", err)
			}
		}
		w.late = nil
	}
	if w.r.IntN(3) == 0 {
		settle()
	}
}

// compare holds the windows that the gateway shows against WeChat's own.
func (w *world) compare() {
	unknown := map[string]int{}
	for _, m := range w.said {
		if m == nil {
			continue
		}
		now, err := w.life.store.Message(context.Background(), m.id)
		if err != nil {
			w.fail("%s is lost: %v", m.text, err)
			return
		}
		switch now.State {
		case gateway.Sending:
			return // not now
		case gateway.Unknown:
			unknown[m.openid]++
		}
	}
	for openid, a := range w.known {
		if a.missed || a.heard.IsZero() {
			continue
		}
		theirs := w.wechat.Window(openid)
		ours, err := w.life.d.Window(context.Background(), appid, openid)
		if err != nil {
			w.fail("the window of %s: %v", openid, err)
			continue
		}
		left, guarded := 0, false
		for _, b := range ours.Buckets {
			if b.Remaining != nil {
				left += *b.Remaining
			}
		}
		if theirs.Remaining == kefu.Unlimited {
			continue
		}
		for _, b := range theirs.Buckets {
			guarded = guarded || time.Until(b.ClosesAt) < 32*time.Second && b.ClosesAt.Sub(b.OpenedAt) > time.Hour || time.Until(b.ClosesAt) < 4*time.Second
		}
		if left > theirs.Remaining && !a.crossed || !guarded && theirs.Remaining-left > unknown[openid] {
			w.fail("%s has %d left, says the gateway, and %d, says WeChat; %d unknown\n%+v\n%+v", openid, left, theirs.Remaining, unknown[openid], ours, theirs)
		}
	}
}

// judge lets everything come to its end and holds that against the promises.
func (w *world) judge() {
	ctx := context.Background()
	w.mend()
	settle()
	time.Sleep(121 * time.Hour) // two days and a bit for the last message, and for one of not_before
	settle()
	parked := map[string]bool{}
	for cursor := ""; ; {
		entries, next, err := w.life.store.Feed(ctx, cursor, 1000, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range entries {
			if e.Type == "message.parked" {
				var of struct{ ID string }
				if err := json.Unmarshal(e.Data, &of); err != nil {
					w.t.Fatal(err)
				}
				parked[of.ID] = true
			}
		}
		if cursor = next; len(entries) == 0 {
			break
		}
	}
	// What arrived: how often, and in which order.
	arrived := map[string]int{}
	type group struct {
		openid       string
		parked, bulk bool
	}
	last := map[group]store.Message{}
	for _, sent := range w.wechat.Sent() {
		text := sent.Message.Body.(kefu.Text).Content
		said := w.byText[text]
		if said == nil {
			w.fail("%q arrived, which nobody said", text)
			continue
		}
		if arrived[text]++; arrived[text] > 1 {
			continue
		}
		m, err := w.life.store.Message(ctx, said.id)
		if err != nil {
			w.fail("%s is lost: %v", text, err)
			continue
		}
		g := group{said.openid, parked[said.id], m.Priority == gateway.Bulk}
		if m.Number < last[g].Number {
			w.fail("%s (number %d) arrived after %s (number %d)", m.ID, m.Number, last[g].ID, last[g].Number)
		}
		last[g] = m
	}
	for _, said := range w.said {
		if said == nil {
			continue
		}
		m, err := w.life.store.Message(ctx, said.id)
		if err != nil {
			w.fail("%s is lost: %v", said.text, err)
			continue
		}
		n := arrived[said.text]
		switch m.State {
		case gateway.Sent:
			if n == 0 {
				w.fail("%s is said to be sent, and did not arrive", said.text)
			}
		case gateway.Unknown:
		case gateway.Failed, gateway.Expired, gateway.Canceled:
			if n > 0 && !said.resolved && !m.PossibleDuplicate {
				w.fail("%s ended as %s, and arrived", said.text, m.State)
			}
		default:
			w.fail("%s is still %s (%+v)", said.text, m.State, m.Outcome)
		}
		if n > 1 && !m.PossibleDuplicate {
			w.fail("%s arrived %d times, and is not marked", said.text, n)
		}
	}
	for _, q := range w.wechat.Requests() {
		if q.Fault != nil || q.ErrCode != 45015 && q.ErrCode != 45047 && q.ErrCode != 43004 {
			continue
		}
		var body struct{ Text struct{ Content string } }
		if err := json.Unmarshal([]byte(q.Body), &body); err != nil {
			w.t.Fatal(err)
		}
		a, said := w.known[q.OpenID], w.byText[body.Text.Content]
		if a != nil && !a.heard.IsZero() && q.At.After(a.heard) && !a.missed && !a.crossed && !said.try && !w.wild {
			w.fail("%s was posted at %v and refused with %d: the gateway knew better", said.text, q.At, q.ErrCode)
		}
	}
}

// simulate lives one history.
func simulate(t *testing.T, seed uint64, template []byte) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, template)
		defer func() {
			w.end()
			w.lives.Wait()
			w.wechat.Close()
			if t.Failed() {
				t.Logf("seed %d, %s, wild: %v", seed, w.profil, w.wild)
				for _, line := range w.script {
					t.Log(line)
				}
			}
		}()
		for range 12 + w.r.IntN(20) {
			w.step()
			if !w.wild && w.r.IntN(3) == 0 {
				settle()
				w.compare()
			}
			if t.Failed() {
				return
			}
		}
		w.judge()
	})
}

// simulations is how many histories are lived. The race detector makes each several
// times as long.
func simulations() (first, n uint64) {
	if s := os.Getenv("KEFU_SEED"); s != "" { // one that failed
		first, _ = strconv.ParseUint(s, 10, 64)
		return first, 1
	}
	if s := os.Getenv("KEFU_SEEDS"); s != "" { // so many
		n, _ = strconv.ParseUint(s, 10, 64)
		return 0, n
	}
	switch {
	case os.Getenv("KEFU_LONG") != "":
		return 0, 100_000
	case race:
		return 0, 20
	}
	return 0, 100
}

func TestSimulation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	s, err := store.Open(t.Context(), path, store.Options{SecretKey: simulatedKey})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	template, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first, n := simulations()
	var next atomic.Uint64
	for shard := range min(4, n) {
		t.Run(fmt.Sprint(shard), func(t *testing.T) {
			t.Parallel()
			for i := next.Add(1); i <= n && !t.Failed(); i = next.Add(1) {
				simulate(t, first+i-1, template)
			}
		})
	}
}
