package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/assets"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

// Reliability, rows 3 and 9: a whole gateway, its store on disk, and the simulator
// live through a random history in a bubble: messages of every kind (short, long in
// parts, with media; of each priority, to be resent or not, with moments before and
// after which they must not leave), acts of the followers, callbacks twice, late or
// never, refusals, dead tokens, lost media, used-up quotas, cut and late answers,
// restarts and crashes. Then what the promises say is held against what the followers
// received.
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
	images string // the asset that pictures are of
	wechat *kefutest.WeChat

	life   *life // the present process
	lives  sync.WaitGroup
	mends  []func()
	said   []*saying
	pieces map[string]piece // by what the follower reads
	known  map[string]*acquaintance
	late   []callback.Event
	script []string
	fate   func(callback.Event) (handle, answer bool) // of the next delivery
	deaths []time.Time                                // ends of processes
	acted  map[string]time.Time                       // the second of a follower's latest act
	given  gateway.Account
	seen   *sights

	mu     sync.Mutex // guards both
	firsts []first
	// spared are posts, by follower, while a bucket was about to close: the gateway
	// does not take from it any more, and WeChat does.
	spared map[string]int
}

// A template is what every history begins with: a migrated database that has a
// picture.
type template struct {
	database []byte
	picture  string // "asset:…"
}

// A piece is what arrives at once: a message, or a part of one.
type piece struct {
	*saying
	part int // from 1 on; 0: it has none
}

// A first is the post of the first part of a long text.
type first struct {
	text string // of the part
	left int    // that WeChat still takes, this one included
	at   time.Time
}

// A life is one process of the gateway.
type life struct {
	store  *store.Store
	d      *dispatch.Dispatcher
	dead   atomic.Bool
	buried chan struct{} // closed when another life has begun
}

// way is the process's way to WeChat, which ends with it.
func (w *world) way(l *life) http.RoundTripper {
	next := w.wechat.Transport()
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/custom/send") {
			w.watch(r)
		}
		if l.dead.Load() {
			<-l.buried
			return nil, io.ErrUnexpectedEOF
		}
		return next.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// watch notes how many messages WeChat still takes when a long text begins to leave,
// and posts for which it may use another bucket than the gateway does.
func (w *world) watch(r *http.Request) {
	again, err := r.GetBody()
	if err != nil {
		w.fail("%v", err)
		return
	}
	body, err := io.ReadAll(again)
	if err != nil {
		w.fail("%v", err)
		return
	}
	var to struct{ ToUser string }
	if err := json.Unmarshal(body, &to); err != nil {
		w.fail("%v", err)
		return
	}
	theirs := w.wechat.Window(to.ToUser)
	w.mu.Lock()
	defer w.mu.Unlock()
	if guarded(theirs) {
		w.spared[to.ToUser]++
	}
	if text := textOf(body); strings.HasSuffix(text, ".1") {
		w.firsts = append(w.firsts, first{text, theirs.Remaining, time.Now()})
	}
}

// textOf is what tells a message's body from others.
func textOf(body []byte) string {
	var m struct {
		Text  struct{ Content string }
		Music struct{ Title string }
	}
	if json.Unmarshal(body, &m) != nil {
		return ""
	}
	return m.Text.Content + m.Music.Title
}

// A saying is a message that the gateway has accepted.
type saying struct {
	id, openid, text            string
	parts                       int // 0: it is not long
	try, resend, bulk, pictured bool
	notBefore, expires          time.Time
	resolved                    bool
}

// reads returns what the follower reads of it, in order.
func (s *saying) reads() []string {
	if s.parts == 0 {
		return []string{s.text}
	}
	all := make([]string, s.parts)
	for i := range all {
		all[i] = fmt.Sprintf("%s.%d", s.text, i+1)
	}
	return all
}

// An acquaintance is a follower, and what the gateway can know of them.
type acquaintance struct {
	heard  time.Time // when the gateway first heard of something that opens or closes; zero: never
	missed bool      // something was not heard, or not in time
	// crossed is how many acts met a post on its way. The ledger has taken its slot from
	// the bucket before the act, WeChat perhaps from the one after. No order is to be known
	// then. Where that leaves the gateway more, WeChat's next refusal sets it right; where
	// it leaves WeChat more, which is one for each when a bucket is opened anew, the next
	// act that opens the other.
	crossed int
	acted   time.Time // when they last did something: what that lets out may still be parked at that moment
}

// inProcess is a SQLite that no other process needs to see and nothing has to outlive:
// its locks are not the system's, and nothing is synced.
const inProcess = "vfs=unix-excl&_pragma=synchronous(off)&_pragma=secure_delete(off)"

const simulatedKey = "0123456789abcdef0123456789abcdef"

// newWorld begins with a database that is already migrated: a seed is to be cheap.
func newWorld(t *testing.T, seed uint64, begin template, seen *sights) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 3)), path: filepath.Join(inMemory(t), "kefu.db"), images: begin.picture,
		pieces: map[string]piece{}, known: map[string]*acquaintance{}, spared: map[string]int{}, acted: map[string]time.Time{}, seen: seen,
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
	if w.r.IntN(4) == 0 {
		w.given.Busy = "unknown"
	}
	if w.r.IntN(6) == 0 {
		a.DailyLimits = map[string]int{"/cgi-bin/message/custom/send": 3 + w.r.IntN(10)}
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
	if err := os.WriteFile(w.path, begin.database, 0o600); err != nil {
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
	l.store, err = store.Open(context.Background(), w.path, store.Options{SecretKey: simulatedKey, Gather: -1, Params: inProcess})
	if err != nil {
		w.t.Fatal(err)
	}
	if w.life == nil {
		if err := l.store.PutAccount(context.Background(), time.Now(), w.given); err != nil {
			w.t.Fatal(err)
		}
	}
	way := &http.Client{Transport: w.way(l)}
	files := &assets.Library{Store: l.store, Client: func(string) *kefu.Client { return nil }, Log: slog.New(slog.DiscardHandler)}
	l.d, err = dispatch.Start(context.Background(), dispatch.Config{
		Store: l.store, Media: files, Heartbeat: 100 * time.Hour, HTTP: way, Slots: 4, Log: slog.New(slog.DiscardHandler),
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
	w.deaths = append(w.deaths, time.Now())
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
	w.deaths = append(w.deaths, time.Now())
	w.begin()
	close(old.buried)
	w.lives.Go(func() {
		old.d.Stop()
		old.store.Close()
	})
}

// accept hands a message in.
func (w *world) accept() {
	m := &saying{openid: w.anybody(), text: strconv.Itoa(len(w.said))}
	s := gateway.Submission{
		Account: appid, OpenID: m.openid, MsgType: "text", WhenClosed: gateway.Park, OnUnknown: gateway.Hold,
		Priority: gateway.Normal, Source: gateway.FromAPI,
	}
	switch w.r.IntN(10) {
	case 0, 1: // a long text
		if m.parts = 2 + w.r.IntN(6); w.r.IntN(8) == 0 {
			m.parts = 21 // more than any window has
		}
	case 2, 3:
		m.pictured = true
	}
	switch w.r.IntN(10) {
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
		m.notBefore = time.Now().Add(time.Duration(w.r.Int64N(int64(time.Minute))))
	case 5:
		m.notBefore = time.Now().Add(time.Duration(w.r.Int64N(int64(30 * time.Hour))))
	case 6:
		m.expires = time.Now().Add(time.Minute + time.Duration(w.r.Int64N(int64(time.Hour))))
	case 7: // across the time that it may be parked
		m.expires = time.Now().Add(time.Minute + time.Duration(w.r.Int64N(int64(60*time.Hour))))
	}
	if m.parts > 0 && w.r.IntN(4) == 0 {
		s.WhenClosed = gateway.Fail
	}
	if w.r.IntN(4) == 0 {
		s.OnUnknown, m.resend = gateway.Resend, true
	}
	if !m.notBefore.IsZero() {
		s.NotBefore = gateway.At(m.notBefore)
	}
	if !m.expires.IsZero() {
		s.ExpiresAt = gateway.At(m.expires)
	}
	m.try, m.bulk = s.WhenClosed == gateway.Try, s.Priority == gateway.Bulk
	w.write(m, &s)
	room, sure := w.room(m.openid)
	out := w.life.d.Accept(context.Background(), []gateway.Submission{s})[0]
	w.say("%s to %s: %s, %s, %s, %d parts, not before %v, until %v: %v", m.text, m.openid, s.Priority, s.WhenClosed, s.OnUnknown, m.parts, s.NotBefore, s.ExpiresAt, out.Err)
	if w.foreseen(m, s, room, sure, out.Err); out.Err != nil {
		w.said = append(w.said, nil) // its text is used up
		return
	}
	m.id, m.expires = out.Message.ID, out.Message.ExpiresAt.Time
	w.said = append(w.said, m)
	for i, text := range m.reads() {
		w.pieces[text] = piece{m, min(m.parts, i+1)}
	}
	if w.r.IntN(8) == 0 { // the caller did not hear the answer and asks again
		again := w.life.d.Accept(context.Background(), []gateway.Submission{s})[0]
		if again.Err != nil || !again.Replayed || again.Message.ID != m.id {
			w.fail("handed in again: %+v, %v", again.Message, again.Err)
		}
	}
}

// write gives a submission the content of m.
func (w *world) write(m *saying, s *gateway.Submission) {
	content := m.text
	if m.parts > 0 {
		content = strings.Join(m.reads(), "\n")
		at := 0
		for _, part := range m.reads() {
			s.Parts = append(s.Parts, [2]int{at, at + len(part)})
			at += len(part) + 1
		}
	}
	s.IdempotencyKey = m.text
	s.Message = json.RawMessage(fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":%q}}`, m.openid, content))
	if m.pictured {
		s.MsgType = "music"
		s.Message = json.RawMessage(fmt.Sprintf(`{"touser":%q,"msgtype":"music","music":{"title":%q,"description":"d","musicurl":"http://a/","hqmusicurl":"http://a/","thumb_media_id":%q}}`, m.openid, content, w.images))
	}
}

// room is how many messages to a follower WeChat takes now. It is sure if the gateway
// has to know the same number, and nothing else is about to take of it.
func (w *world) room(openid string) (n int, sure bool) {
	quiet := !w.underWay(openid) && w.unknown()[openid] == 0 // before WeChat is asked: nothing comes then that was not on its way
	theirs := w.wechat.Window(openid)
	n = theirs.Remaining
	if n == kefu.Unlimited {
		n = math.MaxInt
	}
	a := w.known[openid]
	return n, quiet && !w.wild && a != nil && !a.missed && a.crossed == 0 && !a.heard.IsZero() && !guarded(theirs)
}

// guarded reports whether the gateway sends nothing any more, since the window closes
// in a moment.
func guarded(theirs kefutest.Window) (yes bool) {
	for _, b := range theirs.Buckets {
		yes = yes || time.Until(b.ClosesAt) < 32*time.Second && b.ClosesAt.Sub(b.OpenedAt) > time.Hour || time.Until(b.ClosesAt) < 4*time.Second
	}
	return yes
}

// foreseen holds what became of a submission against what WeChat would take.
func (w *world) foreseen(m *saying, s gateway.Submission, room int, sure bool, err error) {
	need, later := max(1, m.parts), !m.notBefore.IsZero()
	most := w.most()
	var p *gateway.Problem
	if err != nil && !errors.As(err, &p) {
		w.t.Fatalf("%s: %v", m.text, err)
	}
	switch {
	case err == nil && m.parts > most && (later || sure && m.parts > room):
		w.fail("%s: no allowance will ever hold %d parts, and it was accepted", m.text, m.parts)
	case err == nil && s.WhenClosed == gateway.Fail && !later && sure && need > room:
		w.fail("%s was accepted, of which %d parts have no room in %d", m.text, need, room)
	case err == nil:
	case p.Code == gateway.InvalidMessage:
		w.seen.longer.Add(1)
		if least := most; m.parts <= least && !(m.bulk && m.parts > least-2) {
			w.fail("%s was refused: %d parts, and an allowance holds %d", m.text, m.parts, most)
		}
	case s.WhenClosed != gateway.Fail || later:
		w.fail("%s was refused: %s", m.text, p.Code)
	case p.Code == gateway.AllowanceSpent && p.ErrCode == 45047:
		w.seen.refused.Add(1)
		if sure && need <= room && !m.bulk { // some are kept from bulk
			w.fail("%s was refused, and there is room for %d", m.text, room)
		}
	case p.Code == gateway.WindowIsClosed && p.ErrCode == 45015:
		if sure && room > 0 && !m.bulk {
			w.fail("%s was refused, and the window is open", m.text)
		}
	default:
		w.fail("%s was refused: %s (%d)", m.text, p.Code, p.ErrCode)
	}
}

// most is how many messages an allowance holds that can be waited for.
func (w *world) most() (most int) {
	rules, err := kefu.RulesFor(w.profil)
	if err != nil {
		w.t.Fatal(err)
	}
	for t, a := range rules.Allowances {
		if t != kefu.Payment && t != kefu.Rights {
			most = max(most, a.Max)
		}
	}
	return most
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
	if !w.wild { // what the gateway can't know is not done
		if fate < 2 {
			fate += 2
		}
		if second := time.Now().Truncate(time.Second); w.acted[openid].Equal(second) { // two events of one second have one key
			time.Sleep(time.Until(second.Add(time.Second)))
		}
	}
	w.acted[openid] = time.Now().Truncate(time.Second)
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
		w.knows(openid).crossed++
	}
	w.knows(openid).acted = time.Now()
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
		now, err := w.life.store.Message(context.Background(), m.id)
		if err != nil || now.State == gateway.Queued || now.State == gateway.Sending ||
			now.State == gateway.Parked && w.knows(openid).acted.Equal(time.Now()) {
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
		{Path: "media/upload", ErrCode: -1}, {Path: "media/upload", Drop: kefutest.DropReply},
		{ErrCode: 45009}, {ErrCode: 40008}, {ErrCode: 40007}, {ErrCode: 45015}, {ErrCode: 45047}, {ErrCode: 43004},
	}
	if !w.wild {
		faults = faults[:len(faults)-3]
	}
	if w.r.IntN(6) == 0 {
		w.say("trouble: WeChat loses all media")
		if err := w.wechat.SetState(`{"media":{}}`); err != nil {
			w.t.Fatal(err)
		}
		return
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

// unknown counts per follower what WeChat may have accepted, or not: the gateway takes
// it for accepted.
func (w *world) unknown() map[string]int {
	n := map[string]int{}
	for _, said := range w.said {
		if said == nil {
			continue
		}
		m, err := w.life.store.Message(context.Background(), said.id)
		if err != nil {
			w.fail("%s is lost: %v", said.text, err)
			continue
		}
		if m.State == gateway.Unknown {
			n[said.openid]++
		}
		if m.Resent {
			n[said.openid]++
		}
	}
	return n
}

// compare holds the windows that the gateway shows against WeChat's own.
func (w *world) compare() {
	for _, said := range w.said {
		if said == nil {
			continue
		}
		if m, err := w.life.store.Message(context.Background(), said.id); err == nil && m.State == gateway.Sending {
			return // not now
		}
	}
	unknown := w.unknown()
	w.mu.Lock()
	for openid, n := range w.spared {
		unknown[openid] += n
	}
	w.mu.Unlock()
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
		left := 0
		for _, b := range ours.Buckets {
			if b.Remaining != nil {
				left += *b.Remaining
			}
		}
		if theirs.Remaining == kefu.Unlimited {
			continue
		}
		if left > theirs.Remaining && a.crossed == 0 || !guarded(theirs) && theirs.Remaining-left > unknown[openid]+a.crossed {
			w.fail("%s has %d left, says the gateway, and %d, says WeChat; %d perhaps\n%+v\n%+v", openid, left, theirs.Remaining, unknown[openid], ours, theirs)
		}
	}
}

// finish lets everything come to its end. As long as something can happen by itself, the
// gateway works; what is parked then mostly ends while it is down, since an hour of
// work with nothing to do is not cheap.
func (w *world) finish() {
	w.mend()
	settle()
	const longest = 121 * time.Hour // two days and a bit for the last message, and for one of not_before
	moves, waits := w.waiting()
	for range 32 {
		if !moves {
			break
		}
		time.Sleep(time.Hour)
		moves, waits = w.waiting()
	}
	switch {
	case !waits:
	case w.r.IntN(8) == 0:
		time.Sleep(longest)
	default:
		w.end()
		time.Sleep(longest)
		w.begin()
	}
	settle()
}

// waiting reports whether a message is not at its end, and whether one may leave
// without anybody doing anything.
func (w *world) waiting() (moves, waits bool) {
	for _, said := range w.said {
		if said == nil {
			continue
		}
		m, err := w.life.store.Message(context.Background(), said.id)
		if err != nil {
			w.fail("%s is lost: %v", said.text, err)
			continue
		}
		moves = moves || m.State == gateway.Queued || m.State == gateway.Sending || m.State == gateway.Unknown && m.RetryAt != nil
		waits = waits || moves || m.State == gateway.Parked
	}
	return moves, waits
}

// A chronicle is what the gateway says has become of the messages.
type chronicle struct {
	now         map[string]store.Message // by id
	parked      map[string]bool          // at some time
	interrupted map[string]bool          // parked when some of its parts had left
}

// remembers reads it.
func (w *world) remembers() chronicle {
	ctx := context.Background()
	c := chronicle{map[string]store.Message{}, map[string]bool{}, map[string]bool{}}
	for _, said := range w.said {
		if said == nil {
			continue
		}
		m, err := w.life.store.Message(ctx, said.id)
		if err != nil {
			w.fail("%s is lost: %v", said.text, err)
			continue
		}
		c.now[said.id] = m
	}
	for cursor := ""; ; {
		entries, next, err := w.life.store.Feed(ctx, cursor, 1000, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, e := range entries {
			if e.Type != "message.parked" && e.Type != "message.expired" {
				continue
			}
			var of struct {
				ID        string
				PartsSent int `json:"parts_sent"`
			}
			if err := json.Unmarshal(e.Data, &of); err != nil {
				w.t.Fatal(err)
			}
			if e.Type == "message.parked" {
				c.parked[of.ID] = true
				c.interrupted[of.ID] = c.interrupted[of.ID] || of.PartsSent > 0
			} else if m := c.now[of.ID]; e.At.Before(m.ExpiresAt.Truncate(time.Millisecond)) {
				w.fail("%s expired at %v, before %v", of.ID, e.At, m.ExpiresAt)
			}
		}
		if cursor = next; len(entries) == 0 {
			return c
		}
	}
}

// judge lets everything come to its end and holds that against the promises.
func (w *world) judge() {
	w.finish()
	c := w.remembers()
	arrived := w.judgeArrivals(c)
	for _, said := range w.said {
		if said != nil {
			w.judgeOutcome(said, c, arrived)
		}
	}
	w.judgePlans()
	w.judgeRefusals()
	w.judgeQuota()
}

// judgeArrivals looks at what arrived, and in which order; it returns how often.
func (w *world) judgeArrivals(c chronicle) map[string]int {
	arrived := map[string]int{}
	type group struct { // within one, the order is that of acceptance
		openid       string
		parked, bulk bool
		long         bool // and parked: shorter ones, long or not, pass it where there is too little room for it
	}
	last := map[group]store.Message{}
	lately := map[string]piece{} // by follower
	for _, sent := range w.wechat.Sent() {
		text := textOf([]byte(sent.Raw))
		p, ok := w.pieces[text]
		if !ok {
			w.fail("%q arrived, which nobody said", text)
			continue
		}
		said := p.saying
		if sent.At.Before(said.notBefore.Truncate(time.Millisecond)) || sent.At.After(said.expires.Add(kefu.DefaultTimeout+time.Second)) {
			w.fail("%s arrived at %v; it was to be sent from %v to %v", text, sent.At, said.notBefore, said.expires)
		}
		if arrived[text]++; arrived[text] > 1 {
			continue
		}
		m := c.now[said.id]
		g := group{said.openid, c.parked[said.id], said.bulk, c.parked[said.id] && said.parts > 0}
		if m.Number < last[g].Number && !(g.long && m.Parts > last[g].Parts) {
			w.fail("%s (number %d) arrived after %s (number %d)", text, m.Number, w.textBy(last[g].ID), last[g].Number)
		}
		last[g] = m
		if p.part > 1 {
			before := lately[said.openid]
			switch {
			case arrived[said.reads()[p.part-2]] == 0:
				w.fail("%s arrived, and the part before it had not", text)
			case before.saying != said && !said.bulk && !c.interrupted[said.id]:
				w.fail("%s arrived in the middle of a long text, before %s", before.text, text)
			}
		}
		lately[said.openid] = p
	}
	return arrived
}

func (w *world) textBy(id string) string {
	for _, said := range w.said {
		if said != nil && said.id == id {
			return said.text
		}
	}
	return id
}

// judgeOutcome holds a message's end against what arrived of it.
func (w *world) judgeOutcome(said *saying, c chronicle, arrived map[string]int) {
	m := c.now[said.id]
	twice, came := 0, 0
	for i, text := range said.reads() {
		n := arrived[text]
		if n > 0 {
			came = i + 1
		}
		twice += max(0, n-1)
		if told := m.State == gateway.Sent || i < m.PartsSent; told && n == 0 {
			w.fail("%s is said to be sent, and did not arrive", text)
		}
	}
	switch m.State {
	case gateway.Sent, gateway.Unknown:
	case gateway.Failed, gateway.Expired, gateway.Canceled:
		if came > m.PartsSent && !said.resolved && !m.PossibleDuplicate {
			w.fail("%s ended as %s, and arrived", said.text, m.State)
		}
	default:
		w.fail("%s is still %s (%+v)", said.text, m.State, m.Outcome)
	}
	if m.State == gateway.Unknown && came > m.PartsSent+1 {
		w.fail("%s went on after a part of unknown outcome", said.text)
	}
	switch {
	case twice > 0 && !m.PossibleDuplicate:
		w.fail("%s arrived more than once, and is not marked", said.text)
	case twice > 1, twice == 1 && !said.resend:
		w.fail("%s arrived %d times too often", said.text, twice)
	}
	if m.State == gateway.Expired {
		w.seen.expired.Add(1)
	}
	if said.parts > 0 && c.parked[said.id] && !c.interrupted[said.id] {
		w.seen.partsParked.Add(1)
	}
	if said.parts > 0 && m.State == gateway.Sent {
		w.seen.partsSent.Add(1)
	}
	if m.PossibleDuplicate || said.resend {
		w.judgeAttempts(said, m)
	}
}

// judgeAttempts: what is unknown is resent once where that was asked for, after 30
// seconds at least, and never otherwise.
func (w *world) judgeAttempts(said *saying, m store.Message) {
	attempts, err := w.life.store.Attempts(context.Background(), said.id)
	if err != nil {
		w.t.Fatal(err)
	}
	unknown := 0
	for i, a := range attempts {
		if a.Outcome != string(gateway.Unknown) {
			continue
		}
		unknown++
		switch {
		case i == len(attempts)-1:
		case !said.resend || unknown > 1:
			w.fail("%s was posted again after attempt %d, which is unknown", said.text, a.N)
		case attempts[i+1].At.Sub(a.At.Time) < 30*time.Second:
			w.fail("%s was resent after %v", said.text, attempts[i+1].At.Sub(a.At.Time))
		default:
			w.seen.resent.Add(1)
		}
	}
}

// judgePlans: the first part of a long text leaves when there is room for all.
func (w *world) judgePlans() {
	for _, f := range w.firsts {
		p, ok := w.pieces[f.text]
		if !ok {
			continue // that nobody said it was told already
		}
		a := w.known[p.openid]
		if w.wild || a == nil || a.missed || a.crossed > 0 || a.heard.IsZero() || !f.at.After(a.heard) || f.left == kefu.Unlimited {
			continue
		}
		if f.left < p.parts {
			w.fail("%s left as the first of %d when there was room for %d", f.text, p.parts, f.left)
		}
	}
}

// judgeRefusals: nothing is posted of which the gateway could know that WeChat does
// not take it, and media that WeChat has lost are renewed.
func (w *world) judgeRefusals() {
	lost := map[string]int{}
	for _, q := range w.wechat.Requests() {
		if !strings.HasSuffix(q.Path, "/custom/send") {
			continue
		}
		text := textOf([]byte(q.Body))
		if q.ErrCode == 40007 {
			lost[text]++
		}
		if q.Fault != nil || q.ErrCode != 45015 && q.ErrCode != 45047 && q.ErrCode != 43004 {
			continue
		}
		a, p := w.known[q.OpenID], w.pieces[text]
		if a != nil && !a.heard.IsZero() && q.At.After(a.heard) && !a.missed && a.crossed == 0 && p.saying != nil && !p.try && !w.wild {
			w.fail("%s was posted at %v and refused with %d: the gateway knew better", text, q.At, q.ErrCode)
		}
	}
	for _, said := range w.said {
		if said == nil || !said.pictured || lost[said.text] == 0 {
			continue
		}
		m, err := w.life.store.Message(context.Background(), said.id)
		switch {
		case err != nil:
			w.fail("%s is lost: %v", said.text, err)
		case m.State == gateway.Sent:
			w.seen.renewed.Add(1)
		case m.State == gateway.Failed && m.Outcome != nil && m.Outcome.Class == kefu.ErrMediaInvalid && lost[said.text] < 2:
			w.fail("%s failed since WeChat had lost its picture, which was not renewed", said.text)
		}
	}
}

// givenUp is how long an answer may take until nobody waits for it.
const givenUp = 5 * time.Second

// judgeQuota: from WeChat's word, if it arrives, that the daily quota is used up until
// midnight in Beijing nothing is posted, and no quota is cleared.
func (w *world) judgeQuota() {
	var from, to time.Time
	for _, q := range w.wechat.Requests() {
		if strings.Contains(q.Path, "clear_quota") {
			w.fail("the gateway cleared the quota")
		}
		if !strings.HasSuffix(q.Path, "/custom/send") {
			continue
		}
		if q.At.After(from) && q.At.Before(to) {
			w.fail("a post of %s at %v, and the quota was used up from %v to %v", textOf([]byte(q.Body)), q.At, from, to)
		}
		if there := q.At.UTC().Add(8 * time.Hour); q.ErrCode == 45009 && q.Status != 0 && q.Took < givenUp && there.Hour()*60+there.Minute() > 10 {
			from, to = q.At.Add(kefu.DefaultTimeout), there.Truncate(24*time.Hour).Add(16*time.Hour)
			w.seen.held.Add(1)
			for _, d := range w.deaths { // before that was kept
				if !d.Before(q.At) && !d.After(from) {
					from, to = time.Time{}, time.Time{}
				}
			}
		}
	}
}

// simulate lives one history.
func simulate(t *testing.T, seed uint64, begin template, seen *sights) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, seed, begin, seen)
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
	first, _ = strconv.ParseUint(os.Getenv("KEFU_SEED"), 10, 64)
	if s := os.Getenv("KEFU_SEEDS"); s != "" { // so many
		n, _ = strconv.ParseUint(s, 10, 64)
		return first, n
	}
	if os.Getenv("KEFU_SEED") != "" { // one that failed
		return first, 1
	}
	switch {
	case os.Getenv("KEFU_LONG") != "":
		return 0, 100_000
	case race:
		return 0, 20
	}
	return 0, 100
}

// sights counts in how many cases the histories had what they are there for.
type sights struct {
	refused, longer, partsSent, partsParked, resent, expired, held, renewed atomic.Int64
}

func (s *sights) all() map[string]int64 {
	return map[string]int64{
		"refused with 45047": s.refused.Load(), "more parts than ever fit": s.longer.Load(),
		"long texts sent": s.partsSent.Load(), "long texts parked whole": s.partsParked.Load(), "resent": s.resent.Load(),
		"expired": s.expired.Load(), "daily quota used up": s.held.Load(), "sent with renewed media": s.renewed.Load(),
	}
}

// inMemory is a directory that is not on a disk, where the system has one: crashes are
// lived within the process, and a history writes a lot.
func inMemory(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "kefu-simulation-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newTemplate makes what histories begin with, in a bubble: by their clock nothing
// happened before.
func newTemplate(t *testing.T) (made template) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(inMemory(t), "kefu.db")
		s, err := store.Open(t.Context(), path, store.Options{SecretKey: simulatedKey, Gather: -1})
		if err != nil {
			t.Fatal(err)
		}
		a := kefutest.DefaultAccount
		if err := s.PutAccount(t.Context(), time.Now(), gateway.Account{AppID: appid, Secret: a.Secret}.WithDefaults()); err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := jpeg.Encode(&file, image.NewGray(image.Rect(0, 0, 8, 8)), nil); err != nil {
			t.Fatal(err)
		}
		picture, err := (&assets.Library{Store: s}).Keep(t.Context(), appid, &file)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		made.picture = picture.ID
		if made.database, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	})
	return made
}

func TestSimulation(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	begin := newTemplate(t)
	first, n := simulations()
	var next atomic.Uint64
	var seen sights
	t.Run("histories", func(t *testing.T) {
		for shard := range min(4, n) {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for i := next.Add(1); i <= n && !t.Failed(); i = next.Add(1) {
					simulate(t, first+i-1, begin, &seen)
					if i%1000 == 0 {
						t.Logf("%d of %d histories", i, n)
					}
				}
			})
		}
	})
	t.Logf("%d histories: %v", n, seen.all())
	for what, times := range seen.all() {
		if times == 0 && n >= 400 {
			t.Errorf("%d histories, and none with: %s", n, what)
		}
	}
}
