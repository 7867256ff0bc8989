package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/journal"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

var appid = kefutest.DefaultAccount.AppID

// A rig is centers, one per process, on one store on disk, and a WeChat that counts.
type rig struct {
	t      *testing.T
	wechat *kefutest.WeChat
	way    http.RoundTripper // to it
	store  *store.Store
	path   string
	shelf  *shelf
	given  gateway.Account
	logged *journal.Journal

	mu      sync.Mutex // guards all below
	fetches []time.Time
	seen    []string // every token that was given out
}

// A shelf is the store, which can be down.
type shelf struct {
	*store.Store
	down atomic.Bool
}

var errDown = fmt.Errorf("%w: the disk is gone", store.ErrUnavailable)

func (s *shelf) Token(ctx context.Context, appid string) (kefu.Token, error) {
	if s.down.Load() {
		return kefu.Token{}, errDown
	}
	return s.Store.Token(ctx, appid)
}

func (s *shelf) SwapToken(ctx context.Context, now time.Time, appid string, old kefu.Secret, new kefu.Token, events ...gateway.TokenEvent) (kefu.Token, error) {
	if s.down.Load() {
		return kefu.Token{}, errDown
	}
	return s.Store.SwapToken(ctx, now, appid, old, new, events...)
}

func (s *shelf) ClaimToken(ctx context.Context, now, day time.Time, appid string, decide func(store.TokenUse) store.TokenClaim) (store.TokenClaim, store.TokenUse, error) {
	if s.down.Load() {
		return store.TokenClaim{}, store.TokenUse{}, errDown
	}
	return s.Store.ClaimToken(ctx, now, day, appid, decide)
}

func (s *shelf) RecordToken(ctx context.Context, now time.Time, events ...gateway.TokenEvent) error {
	if s.down.Load() {
		return errDown
	}
	return s.Store.RecordToken(ctx, now, events...)
}

func newRig(t *testing.T, wechat *kefutest.WeChat) *rig {
	r := &rig{t: t, wechat: wechat, path: filepath.Join(t.TempDir(), "kefu.db"), shelf: &shelf{}, logged: new(journal.Journal)}
	if r.way = wechat.Transport(); wechat.URL != kefu.DefaultBaseURL { // it listens: real HTTP
		way := &http.Transport{MaxIdleConnsPerHost: 64}
		t.Cleanup(way.CloseIdleConnections)
		r.way = way
	}
	r.given = gateway.Account{AppID: appid, Secret: kefutest.DefaultAccount.Secret}.WithDefaults()
	r.open()
	t.Cleanup(func() { r.store.Close(); wechat.Close() })
	return r
}

// open opens the store, as a new process would.
func (r *rig) open() {
	r.t.Helper()
	if r.store != nil {
		if err := r.store.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
	s, err := store.Open(context.Background(), r.path, store.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.store, r.shelf.Store = s, s
}

// atOne has it be one o'clock in Beijing, so that no midnight, at which counts begin
// anew, comes within the next hours.
func (r *rig) atOne() {
	r.wechat.Advance(dayOf(r.wechat.Now()).Add(25 * time.Hour).Sub(r.wechat.Now()))
}

// RoundTrip counts what is fetched.
func (r *rig) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/stable_token") {
		r.mu.Lock()
		r.fetches = append(r.fetches, r.wechat.Now())
		r.mu.Unlock()
	}
	return r.way.RoundTrip(req)
}

func (r *rig) fetched() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.fetches)
}

// center is that of another process.
func (r *rig) center() *Center {
	c := &Center{Store: r.shelf, BaseURL: r.wechat.URL, HTTP: &http.Client{Transport: r}, Now: r.wechat.Now, Log: slog.New(slog.NewTextHandler(r.logged, nil))}
	c.Source(r.given)
	return c
}

func (r *rig) token(c *Center) kefu.Token {
	r.t.Helper()
	tok, err := c.Of(appid).Token(context.Background())
	if err != nil {
		r.t.Fatal(err)
	}
	r.note(tok)
	return tok
}

func (r *rig) note(tok kefu.Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if tok.Value != "" {
		r.seen = append(r.seen, tok.Value.Reveal())
	}
}

func (r *rig) client(c *Center) *kefu.Client {
	return &kefu.Client{Tokens: c.Of(appid), BaseURL: r.wechat.URL, HTTP: &http.Client{Transport: r}, NoCheck: true}
}

func (r *rig) wantFetches(n int) {
	r.t.Helper()
	if got := r.fetched(); got != n {
		r.t.Errorf("%d fetches, want %d", got, n)
	}
}

// events are the actions on record with why and outcome, oldest first.
func (r *rig) events() (all []string) {
	r.t.Helper()
	page, err := r.store.TokenEvents(context.Background(), appid, "", 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range slices.Backward(page.Items) {
		all = append(all, strings.TrimSpace(strings.Join([]string{string(e.Action), e.Why, e.Outcome}, " ")))
	}
	return all
}

// feed are the lines of a type.
func (r *rig) feed(kind string) (n int) {
	r.t.Helper()
	for cursor := ""; ; {
		page, next, err := r.store.Feed(context.Background(), cursor, 1000, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, e := range page {
			if e.Type == kind {
				n++
			}
		}
		if next == cursor || len(page) == 0 {
			return n
		}
		cursor = next
	}
}

// clean fails the test if a secret shows anywhere that it was not asked for.
func (r *rig) clean(errs ...error) {
	r.t.Helper()
	page, err := r.store.TokenEvents(context.Background(), appid, "", 1000)
	feed, _, err2 := r.store.Feed(context.Background(), "", 1000, nil)
	text, err3 := json.Marshal([]any{page, feed})
	if err := errors.Join(err, err2, err3); err != nil {
		r.t.Fatal(err)
	}
	all := string(text) + r.logged.String() + fmt.Sprintf("%+v %#v", errs, errs)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, secret := range append(r.seen, r.given.Secret.Reveal()) {
		if secret != "" && strings.Contains(all, secret) {
			r.t.Error("a secret shows in records, feed, log or errors")
		}
	}
}

func TestOneTokenAcrossRestarts(t *testing.T) {
	r := newRig(t, kefutest.New())
	c := r.center()
	first := r.token(c)
	if c.Source(r.given) != c.Of(appid) {
		t.Error("two sources for one account")
	}
	r.open()
	if again := r.token(r.center()); again.Value != first.Value || !again.Expiry.Equal(first.Expiry) {
		t.Error("another token after a restart")
	}
	r.wantFetches(1)
	r.wechat.Advance(2*time.Hour - 5*time.Minute + time.Second)
	c = r.center()
	if tok := r.token(c); tok.Value != first.Value {
		t.Error("the callers of a living token wait for its renewal")
	}
	synced(t, func() bool { return r.token(c).Value != first.Value })
	r.wantFetches(2)
	r.wechat.Advance(2 * time.Hour)
	r.token(r.center())
	r.wantFetches(3)
	if got, want := r.events(), []string{"fetched start ok", "fetched expiry ok", "fetched start ok"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	r.clean()
}

// synced waits until something that goes on in the background is done.
func synced(t *testing.T, done func() bool) {
	t.Helper()
	for range 1000 {
		if done() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("it does not come")
}

// A thousand callers in three processes, and the token has ended: one fetch. So it
// is at the very start.
func TestThousandCallersThreeProcesses(t *testing.T) {
	r := newRig(t, kefutest.NewServer())
	centers := []*Center{r.center(), r.center(), r.center()}
	storm := func() {
		t.Helper()
		var wg sync.WaitGroup
		got := make([]kefu.Token, 1000)
		for i := range got {
			wg.Go(func() {
				var err error
				if got[i], err = centers[i%3].Of(appid).Token(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, tok := range got {
			if tok.Value != got[0].Value {
				t.Fatal("two tokens")
			}
		}
		r.note(got[0])
	}
	storm()
	r.wantFetches(1)
	r.wechat.Advance(2 * time.Hour)
	storm()
	r.wantFetches(2)
	r.clean()
}

// The token dies with posts of three processes on their way: one refresh, and every
// message arrives, once.
func TestDeadTokenInFlight(t *testing.T) {
	r := newRig(t, kefutest.NewServer())
	var clients []*kefu.Client
	for range 3 {
		c := r.center()
		r.token(c)
		clients = append(clients, r.client(c))
	}
	r.wechat.ExpireTokens()
	var wg sync.WaitGroup
	const n = 150
	for i := range n {
		to := fmt.Sprint("o", i)
		r.wechat.UserSends(to)
		wg.Go(func() {
			if _, err := clients[i%3].Send(context.Background(), kefu.Message{To: to, Body: kefu.Text{Content: "hi"}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(r.wechat.Sent()); got != n {
		t.Errorf("%d of %d arrived", got, n)
	}
	r.wantFetches(2)
	if got := r.events(); !slices.Equal(got, []string{"fetched start ok", "fetched refused ok", "contested refused"}) {
		t.Errorf("%q", got)
	}
}

// Another system ends our token every second: at most one refresh per 30 s in all
// processes together, an alarm once an hour, and messages go after each.
func TestAnotherSystemEndsOurTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kefutest.New())
		centers := []*Center{r.center(), r.center()}
		clients := []*kefu.Client{r.client(centers[0]), r.client(centers[1])}
		r.token(centers[0])
		r.wechat.UserSends("oUser")
		var refused []error
		const seconds = 3700
		sent := 0
		for i := range seconds {
			r.wechat.ExpireTokens()
			if i%40 == 0 {
				r.wechat.UserSends("oUser")
			}
			if _, err := clients[i%2].Send(t.Context(), kefu.Message{To: "oUser", Body: kefu.Text{Content: "hi"}}); err == nil {
				sent++
			} else {
				refused = append(refused, err)
				if !kefu.CertainlyNotDelivered(err) {
					t.Fatalf("a message is lost: %v", err)
				}
			}
			time.Sleep(time.Second)
		}
		for i := 2; i < len(r.fetches); i++ { // the first is the start's
			if gap := r.fetches[i].Sub(r.fetches[i-1]); gap < refusedGap {
				t.Errorf("two refreshes %v apart", gap)
			}
		}
		if n := r.fetched(); n > 2+seconds/30 || n < seconds/40 {
			t.Errorf("%d fetches", n)
		}
		if sent < seconds/40 {
			t.Errorf("%d sent", sent)
		}
		if n := r.feed("token.contested"); n != 2 {
			t.Errorf("%d alarms in the feed", n)
		}
		if notes := centers[0].Notes("zh", nil); !strings.Contains(strings.Join(notes, ""), "公众号 "+appid+"：另一个系统") {
			t.Errorf("in Chinese: %q", notes)
		}
		if notes := centers[0].Notes("en", nil); !strings.Contains(strings.Join(notes, ""), "another system ends") {
			t.Errorf("notes: %q", notes)
		}
		s, err := centers[0].Status(t.Context(), appid)
		if err != nil || s.Contested == nil {
			t.Errorf("%+v, %v", s, err)
		}
		if strings.Count(r.logged.String(), "another system ends") != 2 {
			t.Errorf("log: %s", r.logged)
		}
		r.clean(refused...)
		time.Sleep(time.Hour)
		if s, _ := centers[0].Status(t.Context(), appid); s.Contested != nil {
			t.Error("contested for ever")
		}
		r.store.Close()
	})
}

// A token that is over by WeChat's clock alone, and one whose AppSecret was changed,
// are nobody's attack.
func TestWhatIsNoContest(t *testing.T) {
	r := newRig(t, kefutest.New())
	c := r.center()
	tok := r.token(c)
	k := c.keeper(appid)
	k.Refused(tok, &kefu.Error{Op: "message/custom/send", Code: 42001})
	fresh, err := k.Refresh(t.Context(), tok)
	if err != nil || fresh.Value != tok.Value { // the simulator has no reason to replace it
		t.Errorf("%v", err)
	}
	r.wechat.ExpireTokens()
	r.given.Secret = "00000000000000000000000000000000"
	c.Source(r.given)
	k.Refused(tok, &kefu.Error{Op: "message/custom/send", Code: 40001})
	_, err = k.Refresh(t.Context(), tok)
	if !errors.Is(err, kefu.ErrAccountConfig) {
		t.Errorf("a wrong secret: %v", err)
	}
	if _, again := k.Token(t.Context()); !errors.Is(again, kefu.ErrAccountConfig) {
		t.Errorf("in the pause: %v", again)
	}
	r.wantFetches(3)
	if n := r.feed("token.contested"); n != 0 {
		t.Errorf("%d alarms", n)
	}
	if got := r.events(); !slices.Equal(got, []string{"fetched start ok", "fetched expired same", "fetched refused refused"}) {
		t.Errorf("%q", got)
	}
	r.clean(err)
}

// The store is down: what is in memory is sent with, renewed and counted; what could
// not be recorded is recorded when it is back.
func TestStoreDown(t *testing.T) {
	r := newRig(t, kefutest.New())
	r.atOne()
	r.shelf.down.Store(true)
	c := r.center()
	first := r.token(c)
	for range 3 {
		r.token(c)
	}
	r.wantFetches(1)
	r.wechat.Advance(2 * time.Hour)
	if r.token(c).Value == first.Value {
		t.Error("a token that is over")
	}
	r.wantFetches(2)
	k := c.keeper(appid)
	if k.use.Fetched != 2 {
		t.Errorf("%d counted in memory", k.use.Fetched)
	}
	dead := r.token(c)
	for range 3 { // spaced by memory alone
		r.wechat.ExpireTokens()
		k.Refused(dead, &kefu.Error{Code: 40001})
		if fresh, err := k.Refresh(t.Context(), dead); err == nil {
			dead = fresh
			r.note(fresh)
		}
	}
	r.wantFetches(3)
	r.shelf.down.Store(false)
	r.wechat.Advance(2 * time.Hour)
	last := r.token(c)
	r.wantFetches(4)
	if got := r.events(); !slices.Equal(got, []string{"fetched start ok", "fetched expiry ok", "contested refused", "fetched refused ok", "fetched expiry ok"}) {
		t.Errorf("%q", got)
	}
	r.open()
	if r.token(r.center()).Value != last.Value {
		t.Error("the last is not kept")
	}
	r.wantFetches(4)
	r.clean()
}

// A day's budget holds across restarts: a warning at four fifths, the end before
// the last ones, and sending goes on with the token there is.
func TestBudgetAcrossRestarts(t *testing.T) {
	r := newRig(t, kefutest.New())
	r.atOne()
	r.given.TokenBudget = 20
	c := r.center()
	tok := r.token(c)
	for n := 1; n < 19; n++ {
		if n == 16 && r.feed("token.low") != 1 || n == 15 && r.feed("token.low") != 0 {
			t.Errorf("after %d: %d warnings", n, r.feed("token.low"))
		}
		if n == 10 {
			r.open()
			c = r.center()
			r.token(c)
		}
		r.wechat.ExpireTokens()
		r.wechat.Advance(refusedGap)
		k := c.keeper(appid)
		k.Refused(tok, &kefu.Error{Code: 40014})
		var err error
		if tok, err = k.Refresh(t.Context(), tok); err != nil {
			t.Fatalf("fetch %d: %v", n+1, err)
		}
		r.note(tok)
	}
	r.wantFetches(19)
	if r.token(c).Value != tok.Value {
		t.Error("the token that there is isn't used")
	}
	r.wechat.ExpireTokens()
	r.wechat.Advance(refusedGap)
	r.open()
	c = r.center()
	r.token(c)
	k := c.keeper(appid)
	k.Refused(tok, &kefu.Error{Code: 40001})
	_, err := k.Refresh(t.Context(), tok)
	var wait *WaitError
	if !errors.As(err, &wait) || !strings.Contains(wait.Because.In("en"), "19 of the 20") || !wait.Until.Equal(dayOf(r.wechat.Now()).AddDate(0, 0, 1)) {
		t.Fatalf("the end: %v", err)
	}
	r.wantFetches(19)
	if next := k.NextAt(); next.IsZero() {
		t.Error("nobody is told to wait")
	}
	s, err := c.Status(t.Context(), appid)
	if err != nil || s.Fetches != (gateway.Budget{Used: 19, Stop: 19, Max: 20}) || s.State != gateway.TokenRefused || !strings.Contains(bilingual.Text(s.Because).In("zh"), "微信每天允许获取 token 20 次，已用 19 次") || s.NextAt == nil {
		t.Errorf("%+v, %v", s, err)
	}
	if r.feed("token.spent") != 1 || r.feed("token.low") != 1 || len(c.Notes("en", nil)) == 0 {
		t.Errorf("%d at the end, %d warnings, notes %q", r.feed("token.spent"), r.feed("token.low"), c.Notes("en", nil))
	}
	r.wechat.Advance(24 * time.Hour)
	r.token(c)
	r.wantFetches(20)
	r.clean(wait)
}

// Tokens from outside: none is ever fetched; without one that works the account
// waits, and says so.
func TestSuppliedTokens(t *testing.T) {
	r := newRig(t, kefutest.New())
	elsewhere, err := kefu.StableToken{AppID: appid, Secret: r.given.Secret, BaseURL: r.wechat.URL, HTTP: r.wechat.Client().HTTP}.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.note(elsewhere)
	r.given.TokenSource = gateway.SuppliedTokens
	c := r.center()
	var wait *WaitError
	if _, err := c.Of(appid).Token(t.Context()); !errors.As(err, &wait) {
		t.Fatalf("%v", err)
	}
	if notes := strings.Join(c.Notes("en", nil), ""); !strings.Contains(notes, appid) || !strings.Contains(notes, "token import") {
		t.Errorf("notes: %q", notes)
	}
	if err := c.Supply(t.Context(), appid, "key_bot", elsewhere.Value, time.Hour); err != nil {
		t.Fatal(err)
	}
	if r.token(c).Value != elsewhere.Value || len(c.Notes("en", nil)) > 0 {
		t.Errorf("what was supplied is not used; notes %q", c.Notes("en", nil))
	}
	r.open()
	c = r.center()
	if r.token(c).Value != elsewhere.Value {
		t.Error("nor after a restart")
	}
	other := r.center()
	r.wechat.Advance(time.Hour)
	if _, err := c.Of(appid).Token(t.Context()); !errors.As(err, &wait) {
		t.Errorf("past its end: %v", err)
	}
	if err := other.Supply(t.Context(), appid, "key_bot", elsewhere.Value+"2", time.Hour); err != nil { // to another process
		t.Fatal(err)
	}
	r.wechat.Advance(lookAgain)
	if got := r.token(c).Value; got != elsewhere.Value+"2" {
		t.Error("another process's is not taken")
	}
	k := c.keeper(appid)
	k.Refused(kefu.Token{Value: elsewhere.Value + "2"}, &kefu.Error{Code: 40001})
	if _, err := k.Token(t.Context()); !errors.As(err, &wait) {
		t.Errorf("refused: %v", err)
	}
	if err := c.Renew(t.Context(), appid, "key_admin"); !errors.Is(err, ErrSupplied) {
		t.Errorf("renewal: %v", err)
	}
	r.wantFetches(0)
	if n := r.feed("token.supplied"); n != 2 || r.feed("token.waits") == 0 {
		t.Errorf("%d supplied, %d waits in the feed", n, r.feed("token.waits"))
	}
	r.clean(wait)
}

// A running system's token is taken over, and lives on until its end.
func TestImport(t *testing.T) {
	r := newRig(t, kefutest.New())
	theirs, err := r.wechat.Client().Tokens.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := r.center()
	if err := c.Supply(t.Context(), appid, "key_admin", theirs.Value, 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	r.wechat.UserSends("o")
	if _, err := r.client(c).Send(t.Context(), kefu.Message{To: "o", Body: kefu.Text{Content: "hi"}}); err != nil {
		t.Error(err)
	}
	r.wantFetches(0)
	s, err := c.Status(t.Context(), appid)
	if err != nil || s.State != gateway.TokenLive || s.From == nil || s.From.By != "key_admin" || s.From.Action != gateway.TokenSupplied {
		t.Errorf("%+v, %v", s, err)
	}
	r.wechat.Advance(2 * time.Hour)
	r.token(c)
	r.wantFetches(1)
	r.shelf.down.Store(true)
}

// What people do is on record before it is done: who shows a token, who renews it.
func TestDeedsAreOnRecord(t *testing.T) {
	r := newRig(t, kefutest.New())
	c := r.center()
	tok, err := c.Reveal(t.Context(), appid, "key_a")
	r.note(tok)
	if err != nil || tok.Value == "" {
		t.Fatal(err)
	}
	if err := c.Renew(t.Context(), appid, "key_b"); err != nil {
		t.Fatal(err)
	}
	if r.token(c).Value == tok.Value {
		t.Error("not renewed")
	}
	var wait *WaitError
	if err := c.Renew(t.Context(), appid, "key_b"); !errors.As(err, &wait) {
		t.Errorf("twice in 30 s: %v", err)
	}
	page, err := r.store.TokenEvents(t.Context(), appid, "", 10)
	if err != nil || len(page.Items) != 3 || page.Items[0].By != "key_b" || page.Items[0].Why != forced || page.Items[1].By != "key_a" || page.Items[1].Action != gateway.TokenRevealed || page.Items[2].By != ownDeed {
		t.Errorf("%+v, %v", page.Items, err)
	}
	r.shelf.down.Store(true)
	if tok, err := c.Reveal(t.Context(), appid, "key_a"); err == nil || tok.Value != "" {
		t.Error("shown without a record")
	}
	c.Forget(appid)
	if _, err := c.Status(t.Context(), appid); !errors.Is(err, ErrUnknown) || c.Of(appid) != nil {
		t.Errorf("forgotten: %v", err)
	}
	r.clean(wait)
}

// A check asks WeChat by the secret that is set now, whatever token there is, and costs
// the token that is in use nothing.
func TestCheckAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kefutest.New())
		check := func(c *Center) error { return c.Of(appid).(*keeper).Check(t.Context(), "key") }
		c := r.center()
		tok := r.token(c)
		for _, c := range []*Center{c, r.center()} { // one with a token, one that finds it in the store
			before := r.fetched()
			if err := check(c); err != nil || r.fetched() != before+1 {
				t.Errorf("%v after %d fetches", err, r.fetched()-before)
			}
		}
		r.given.Secret = "00000000000000000000000000000000"
		c.Source(r.given)
		for range 2 { // at once again
			before := r.fetched()
			if err := check(c); !errors.Is(err, kefu.ErrAccountConfig) || r.fetched() != before+1 {
				t.Errorf("with a wrong secret %v after %d fetches", err, r.fetched()-before)
			}
		}
		if now := r.token(c); !same(now.Value, tok.Value) {
			t.Error("the token in use was lost")
		}
		r.clean()
		r.store.Close()
	})
}

// A fetch that fails is not repeated in a storm: a pause that doubles up to a minute,
// which ends when the account is changed.
func TestFailedFetchesPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, kefutest.New())
		r.given.Secret = "00000000000000000000000000000000"
		c := r.center()
		for range 600 {
			if _, err := c.Of(appid).Token(t.Context()); !errors.Is(err, kefu.ErrAccountConfig) {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if n := r.fetched(); n < 10 || n > 16 {
			t.Errorf("%d fetches in ten minutes", n)
		}
		r.given.Secret = kefutest.DefaultAccount.Secret
		c.Source(r.given)
		r.token(c)
		r.clean()
		r.store.Close()
	})
}

// While WeChat is too busy to give a token, who sends is told when to ask again, and the
// asking goes on without them. A wrong set-up they have to find out: it pauses the account.
func TestWhoSendsWaitsForABusyWeChat(t *testing.T) {
	for _, tt := range []struct {
		code  int
		waits bool
	}{{-1, true}, {45009, true}, {40164, false}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, kefutest.New())
			mend := r.wechat.Fail(kefutest.Fault{Path: "stable_token", ErrCode: kefutest.ErrCode(tt.code), Every: 1})
			k := r.center().keeper(appid)
			if next := k.NextAt(); !next.IsZero() {
				t.Errorf("%d: until %v before anybody has asked", tt.code, next)
			}
			if _, err := k.Token(t.Context()); err == nil {
				t.Error("a token in spite of the fault")
			}
			for range 600 {
				if next := k.NextAt(); next.After(r.wechat.Now()) != tt.waits {
					t.Fatalf("%d: until %v at %v", tt.code, next, r.wechat.Now())
				}
				time.Sleep(time.Second)
			}
			if n := r.fetched(); tt.waits && (n < 10 || n > 16) {
				t.Errorf("%d: %d fetches in ten minutes", tt.code, n)
			}
			mend()
			time.Sleep(longestPause)
			k.NextAt()
			time.Sleep(time.Second)
			if _, err := k.Token(t.Context()); err != nil || !k.NextAt().IsZero() {
				t.Errorf("%d: mended, %v", tt.code, err)
			}
			r.store.Close()
		})
	}
}
