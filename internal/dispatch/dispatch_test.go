package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
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

// A rig is a gateway without HTTP in: the store on disk, the dispatcher, and the
// simulator as its WeChat, all in one synctest bubble.
type rig struct {
	t      *testing.T
	wechat *kefutest.WeChat
	store  *store.Store
	d      *dispatch.Dispatcher
	path   string
	given  gateway.Account
	media  func(*store.Store) dispatch.Media // nil: none
}

const appid = "wx5eed2a76cc560001"

func newRig(t *testing.T, change func(*gateway.Account, *kefutest.Account)) *rig {
	r := &rig{t: t, path: filepath.Join(t.TempDir(), "kefu.db")}
	a := kefutest.DefaultAccount
	r.given = gateway.Account{AppID: appid, Secret: a.Secret, Token: a.Token, AESKey: a.AESKey}
	if change != nil {
		change(&r.given, &a)
	}
	r.given = r.given.WithDefaults()
	a.CallbackHandler = &callback.Handler{
		AppID: a.AppID, Token: a.Token, AESKey: a.AESKey, Log: slog.New(slog.DiscardHandler),
		Receive: func(ctx context.Context, e callback.Event) (callback.Reply, error) {
			return r.d.Receive(ctx, appid, e)
		},
	}
	if r.given.Callbacks == "elsewhere" {
		a.CallbackHandler = nil
	}
	r.wechat = kefutest.New(a)
	r.start()
	return r
}

func (r *rig) start() {
	r.t.Helper()
	var err error
	// Gather: a lane's lock is held across its commits, and while others wait for a
	// lock, a bubble's time stands still: a transaction must not wait for time.
	o := store.Options{SecretKey: "0123456789abcdef0123456789abcdef", Gather: -1}
	if r.store, err = store.Open(r.t.Context(), r.path, o); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.store.Account(r.t.Context(), appid); err != nil { // else as the last process left it
		if err := r.store.PutAccount(r.t.Context(), time.Now(), r.given); err != nil {
			r.t.Fatal(err)
		}
	}
	var media dispatch.Media
	if r.media != nil {
		media = r.media(r.store)
	}
	r.d, err = dispatch.Start(r.t.Context(), dispatch.Config{
		Store: r.store, Media: media, Heartbeat: 100 * time.Hour, HTTP: r.wechat.Client().HTTP, Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Tokens: func(a gateway.Account) kefu.TokenSource {
			return kefu.CachedToken(kefu.StableToken{AppID: a.AppID, Secret: a.Secret, HTTP: r.wechat.Client().HTTP})
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) stop() {
	r.t.Helper()
	r.d.Stop()
	if err := r.store.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) close() {
	r.stop()
	r.wechat.Close()
}

// accept hands in a text and returns the message's id.
func (r *rig) accept(openid, text string, change ...func(*gateway.Submission)) string {
	r.t.Helper()
	out := r.try(openid, text, change...)
	if out.Err != nil {
		r.t.Fatalf("%s: %v", text, out.Err)
	}
	return out.Message.ID
}

func (r *rig) try(openid, text string, change ...func(*gateway.Submission)) gateway.Accepted {
	r.t.Helper()
	return r.d.Accept(r.t.Context(), []gateway.Submission{submission(openid, text, change...)})[0]
}

// submission is a text that is parked while it can't be sent.
func submission(openid, text string, change ...func(*gateway.Submission)) gateway.Submission {
	s := gateway.Submission{
		Account: appid, OpenID: openid, MsgType: "text", WhenClosed: gateway.Park, OnUnknown: gateway.Hold,
		Priority: gateway.Normal, Source: gateway.FromAPI,
		Message: json.RawMessage(fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":%q}}`, openid, text)),
	}
	for _, c := range change {
		c(&s)
	}
	return s
}

func (r *rig) state(id string) gateway.State {
	r.t.Helper()
	m, err := r.store.Message(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return m.State
}

func (r *rig) want(what string, id string, state gateway.State) {
	r.t.Helper()
	if got := r.state(id); got != state {
		m, _ := r.store.Message(r.t.Context(), id)
		r.t.Errorf("%s: %s (%+v), want %s", what, got, m.Outcome, state)
	}
}

// received is what the follower got, joined.
func (r *rig) received(openid string) string {
	var texts []string
	for _, s := range r.wechat.Sent(openid) {
		texts = append(texts, s.Message.Body.(kefu.Text).Content)
	}
	return strings.Join(texts, " ")
}

// settle lets everything that is due happen, and a little time pass for it.
func settle() {
	time.Sleep(300 * time.Millisecond)
	synctest.Wait()
}

func bubble(t *testing.T, change func(*gateway.Account, *kefutest.Account), f func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, change)
		defer r.close()
		f(r)
	})
}

func TestInOrder(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		for i := range 5 {
			r.accept("oUser1", fmt.Sprint(i))
		}
		settle()
		if got := r.received("oUser1"); got != "0 1 2 3 4" {
			t.Error(got)
		}
	})
}

// The case of the issue: five are parked, the follower writes, three leave in
// order, two stay, and a live answer leaves at once.
func TestParkedComeOutAndKeepSomeFree(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		time.Sleep(49 * time.Hour)
		var ids []string
		for i := range 5 {
			ids = append(ids, r.accept("oUser1", fmt.Sprint(i)))
		}
		settle()
		for _, id := range ids {
			r.want("the window is over", id, gateway.Parked)
		}
		if posts := len(r.wechat.Sent()); posts != 0 {
			t.Errorf("%d posts into a closed window", posts)
		}
		r.wechat.UserSends("oUser1", "hi")
		settle()
		if got := r.received("oUser1"); got != "0 1 2" {
			t.Errorf("came out: %s", got)
		}
		r.want("kept free", ids[3], gateway.Parked)
		r.want("kept free", ids[4], gateway.Parked)
		live := r.accept("oUser1", "live", func(s *gateway.Submission) { s.Priority = gateway.Human })
		settle()
		r.want("a live answer", live, gateway.Sent)
		r.want("not passed by it", ids[3], gateway.Parked)
	})
}

func TestWhenClosed(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		time.Sleep(49 * time.Hour)
		refused := r.try("oUser1", "fail", func(s *gateway.Submission) { s.WhenClosed = gateway.Fail })
		var p *gateway.Problem
		if !asProblem(refused.Err, &p) || p.Code != gateway.WindowIsClosed || p.ErrCode != 45015 {
			t.Errorf("fail: %v", refused.Err)
		}
		tried := r.accept("oUser1", "try", func(s *gateway.Submission) { s.WhenClosed = gateway.Try })
		settle()
		r.want("try goes to WeChat", tried, gateway.Failed)
		r.wechat.UserSends("oUser2")
		for range 5 {
			r.accept("oUser2", "x")
		}
		spent := r.try("oUser2", "fail", func(s *gateway.Submission) { s.WhenClosed = gateway.Fail })
		if !asProblem(spent.Err, &p) || p.Code != gateway.AllowanceSpent || p.ErrCode != 45047 {
			t.Errorf("five queued before it: %v", spent.Err)
		}
	})
}

func asProblem(err error, p **gateway.Problem) bool {
	got, ok := err.(*gateway.Problem)
	*p = got
	return ok
}

// An account whose callbacks go elsewhere: messages are tried, not parked; what
// 45015 taught is believed for its time only; a trigger that is told opens.
func TestCallbacksElsewhere(t *testing.T) {
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Callbacks = "elsewhere" }, func(r *rig) {
		r.wechat.UserSends("oUser1") // nobody tells us
		first := r.accept("oUser1", "tried")
		settle()
		r.want("unknown is tried", first, gateway.Sent)
		r.wechat.Unfollows("oUser1")
		second := r.accept("oUser1", "refused")
		settle()
		r.want("refused", second, gateway.Parked)
		posts := len(r.wechat.Requests())
		third := r.accept("oUser1", "believed")
		settle()
		r.want("withheld by a belief", third, gateway.Parked)
		if n := len(r.wechat.Requests()); n != posts {
			t.Errorf("%d requests while a belief holds", n-posts)
		}
		r.wechat.UserSends("oUser1")
		time.Sleep(61 * time.Second)
		fourth := r.accept("oUser1", "after a minute")
		settle()
		r.want("a stale belief is tried", fourth, gateway.Sent)
		settle()
		r.want("and the parked come out", second, gateway.Sent)
		r.want("and the parked come out", third, gateway.Sent)
	})
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Callbacks = "elsewhere" }, func(r *rig) {
		id := r.accept("oUser1", "x")
		settle()
		r.want("nobody wrote", id, gateway.Parked)
		r.wechat.UserSends("oUser1")
		opened, w, err := r.d.Trigger(r.t.Context(), appid, "oUser1", kefu.UserMessage, time.Now())
		if err != nil || !opened || w.State != gateway.WindowOpen {
			t.Errorf("%v %+v %v", opened, w, err)
		}
		settle()
		r.want("a trigger opens", id, gateway.Sent)
	})
}

// After 20 s without a gateway, what it knew of windows is a belief for everybody.
func TestAGapMakesBeliefs(t *testing.T) {
	for _, tt := range []struct {
		gap   time.Duration
		state gateway.State
	}{{10 * time.Second, gateway.Parked}, {20 * time.Second, gateway.Sent}} {
		t.Run(tt.gap.String(), func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				r.wechat.UserSends("oUser1")
				time.Sleep(49 * time.Hour)
				settle()
				r.stop()
				r.wechat.UserSends("oUser1", "is anybody there?") // not kept by us
				time.Sleep(tt.gap)
				r.start()
				r.stop()
				r.start() // at once: the gap is not forgotten
				id := r.accept("oUser1", "x")
				settle()
				r.want("after the gap", id, tt.state)
			})
		})
	}
}

func TestNotBeforeAndExpiry(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		late := r.accept("oUser1", "late", func(s *gateway.Submission) { s.NotBefore = gateway.At(time.Now().Add(time.Hour)) })
		now := r.accept("oUser1", "now")
		short := r.accept("oUser2", "never", func(s *gateway.Submission) { s.ExpiresAt = gateway.At(time.Now().Add(time.Minute)) })
		settle()
		r.want("not due", late, gateway.Queued)
		r.want("blocks nothing", now, gateway.Sent)
		time.Sleep(time.Minute)
		settle()
		r.want("its time is over", short, gateway.Expired)
		r.stop()
		r.start()
		time.Sleep(time.Hour)
		settle()
		r.want("due, after a restart", late, gateway.Sent)
		if got := r.received("oUser1"); got != "now late" {
			t.Error(got)
		}
	})
}

func TestRetriesAndUnknown(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.Fault{ErrCode: -1, Next: 2})
		busy := r.accept("oUser1", "busy")
		behind := r.accept("oUser1", "behind")
		time.Sleep(10 * time.Second)
		settle()
		r.want("busy twice, then sent", busy, gateway.Sent)
		r.want("waited for it", behind, gateway.Sent)
		if got := r.received("oUser1"); got != "busy behind" {
			t.Error(got)
		}
		if m, err := r.store.Message(r.t.Context(), busy); err != nil || !m.PossibleDuplicate || m.Attempts != 3 {
			t.Errorf("%+v, %v", m.Message, err)
		}
		r.wechat.Fail(kefutest.DropReply)
		lost := r.accept("oUser1", "lost")
		after := r.accept("oUser1", "after")
		settle()
		r.want("the answer was lost", lost, gateway.Unknown)
		r.want("does not block", after, gateway.Sent)
		r.stop()
		r.start()
		time.Sleep(time.Hour)
		settle()
		r.want("is never resent", lost, gateway.Unknown)
		if got := r.received("oUser1"); got != "busy behind lost after" {
			t.Error(got)
		}
		if w, err := r.d.Window(r.t.Context(), appid, "oUser1"); err != nil || *w.Remaining != 1 {
			t.Errorf("left: %+v, %v; an unknown one keeps its slot", w.Remaining, err)
		}
		if m, err := r.d.Resolve(r.t.Context(), lost, gateway.Failed); err != nil || m.State != gateway.Failed {
			t.Errorf("resolve: %+v, %v", m, err)
		}
		if w, err := r.d.Window(r.t.Context(), appid, "oUser1"); err != nil || *w.Remaining != 2 {
			t.Errorf("left: %+v, %v; resolved as failed gives it back", w.Remaining, err)
		}
	})
}

func TestCancel(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		parked := r.accept("oUser1", "x")
		settle()
		r.want("nobody wrote", parked, gateway.Parked)
		for range 2 { // the second changes nothing
			if m, err := r.d.Cancel(r.t.Context(), parked); err != nil || m.State != gateway.Canceled {
				t.Errorf("%+v, %v", m, err)
			}
		}
		r.wechat.UserSends("oUser1")
		sent := r.accept("oUser1", "y")
		settle()
		var p *gateway.Problem
		if _, err := r.d.Cancel(r.t.Context(), sent); !asProblem(err, &p) || p.Code != gateway.NotCancelable || p.Message == nil || p.Message.State != gateway.Sent {
			t.Errorf("a sent one: %v", err)
		}
		if got := r.received("oUser1"); got != "y" {
			t.Error(got)
		}
	})
}

// What no source tells is a setting, of the gateway as of the simulator.
func TestMixingIsASetting(t *testing.T) {
	for _, tt := range []struct {
		tap, follow kefu.Trigger
		mixing      gateway.Mixing
		buckets     []kefu.Trigger
		left        int
	}{
		{"", "", "", []kefu.Trigger{kefu.Menu, kefu.Follow, kefu.UserMessage}, 3 + 3 + 5},
		{kefu.UserMessage, kefu.Scan, "", []kefu.Trigger{kefu.Scan, kefu.UserMessage}, 3 + 5},
		{"", "", gateway.LatestWins, []kefu.Trigger{kefu.Follow}, 3},
		{"", "", gateway.MaxOfBoth, []kefu.Trigger{kefu.Follow}, 5},
	} {
		t.Run(fmt.Sprint(tt.tap, tt.follow, tt.mixing), func(t *testing.T) {
			bubble(t, func(g *gateway.Account, a *kefutest.Account) {
				g.MenuTap, g.ScanFollow, g.Mixing = tt.tap, tt.follow, tt.mixing
				a.MenuTap, a.ScanFollow, a.Mixing = tt.tap, tt.follow, kefutest.Mixing(tt.mixing)
			}, func(r *rig) {
				r.wechat.UserSends("oUser1")
				time.Sleep(time.Second)
				for _, action := range []string{"menu-tap", "subscribe"} {
					if _, err := r.wechat.Does("oUser1", action, kefutest.Details{Scene: "7"}); err != nil {
						t.Fatal(err)
					}
				}
				w, err := r.d.Window(t.Context(), appid, "oUser1")
				var opened []kefu.Trigger
				for _, b := range w.Buckets {
					opened = append(opened, b.Trigger)
				}
				if err != nil || !slices.Equal(opened, tt.buckets) || *w.Remaining != tt.left || r.wechat.Window("oUser1").Remaining != tt.left {
					t.Errorf("%v with %v left, %v; WeChat: %+v", opened, w.Remaining, err, r.wechat.Window("oUser1"))
				}
			})
		})
	}
}

func TestUnfollowClosesTheWindow(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.Unfollows("oUser1")
		id := r.accept("oUser1", "x")
		settle()
		r.want("unfollowed", id, gateway.Parked)
		if n := len(r.wechat.Requests()); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

// A daily quota holds the message until midnight in Beijing.
func TestDailyQuota(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.ErrCode(45009))
		id := r.accept("oUser1", "x")
		settle()
		r.want("waits", id, gateway.Queued)
		time.Sleep(24 * time.Hour)
		settle()
		r.want("next day", id, gateway.Sent)
	})
}

// A restart forgets neither when a message is to be tried again nor how often it
// was, though it reads that only at the message's turn.
func TestRetriesOutliveARestart(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.ErrCode(45009))
		put := r.accept("oUser1", "put off")
		behind := r.accept("oUser1", "behind")
		settle()
		r.stop()
		r.start()
		settle()
		r.want("not before midnight", put, gateway.Queued)
		r.want("nor what is behind it", behind, gateway.Queued)
		if n := len(r.wechat.Sent()); n != 0 {
			t.Errorf("%d left before midnight", n)
		}
		time.Sleep(24 * time.Hour)
		settle()
		if got := r.received("oUser1"); got != "put off behind" {
			t.Error(got)
		}

		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.Fault{ErrCode: -1, Next: 9})
		busy := r.accept("oUser1", "busy")
		for range 10000 { // until the first try is over
			time.Sleep(time.Millisecond)
			if m, err := r.store.Message(r.t.Context(), busy); err != nil || m.RetryAt != nil {
				break
			}
		}
		r.stop()
		r.start()
		time.Sleep(time.Minute)
		if m, err := r.store.Message(r.t.Context(), busy); err != nil || m.State != gateway.Failed || m.Attempts != 3 {
			t.Errorf("busy: %s after %d attempts (%v), want failed after 3", m.State, m.Attempts, err)
		}
	})
}

// The rate of an account holds, and nobody else's suffers.
func TestRate(t *testing.T) {
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Rate = 2 }, func(r *rig) {
		for i := range 10 {
			openid := fmt.Sprintf("oUser%d", i)
			r.wechat.UserSends(openid)
			r.accept(openid, "x")
		}
		began := time.Now()
		for len(r.wechat.Sent()) < 10 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
		}
		if took := time.Since(began); took < 3500*time.Millisecond || took > 6*time.Second {
			t.Errorf("10 messages at 2 a second took %v", took)
		}
	})
}

// The article's three tries are the floor of what an operator can express.
func TestTriesAreSettings(t *testing.T) {
	for _, tries := range []int{1, 3, 10} {
		bubble(t, func(g *gateway.Account, _ *kefutest.Account) {
			g.Tries = map[kefu.Class]gateway.Tries{kefu.ErrBusy: {Tries: tries, First: 1, Most: 2}}
		}, func(r *rig) {
			r.wechat.UserSends("oUser1")
			r.wechat.Fail(kefutest.Fault{ErrCode: -1, Next: 9})
			id := r.accept("oUser1", "x")
			time.Sleep(time.Minute)
			settle()
			m, err := r.store.Message(r.t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			want := gateway.Failed
			if tries > 9 {
				want = gateway.Sent
			}
			if m.State != want || m.Attempts != tries {
				t.Errorf("%d tries: %s after %d", tries, m.State, m.Attempts)
			}
		})
	}
	bubble(t, nil, func(r *rig) {
		bad := r.given
		bad.Tries = map[kefu.Class]gateway.Tries{kefu.ErrWindowClosed: {Tries: 3}}
		var p *gateway.Problem
		if _, err := r.d.PutAccount(r.t.Context(), bad, nil); !asProblem(err, &p) || p.Code != gateway.InvalidRequest {
			t.Errorf("tries of a closed window: %v", err)
		}
	})
}

// Many lanes wait for one account's rate: no token is lost, and a person's answer
// does not wait behind them.
func TestRateUnderLoad(t *testing.T) {
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Rate = 20 }, func(r *rig) {
		for i := range 400 {
			openid := fmt.Sprintf("oUser%03d", i)
			r.wechat.UserSends(openid)
			r.accept(openid, "x")
		}
		r.wechat.UserSends("oHuman")
		began := time.Now()
		human := r.accept("oHuman", "x", func(s *gateway.Submission) { s.Priority = gateway.Human })
		time.Sleep(time.Second)
		synctest.Wait()
		r.want("an answer in a second", human, gateway.Sent)
		for len(r.wechat.Sent()) < 401 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			if time.Since(began) > time.Minute {
				t.Fatalf("%d of 401 after a minute at 20 a second", len(r.wechat.Sent()))
			}
		}
		if took := time.Since(began); took < 15*time.Second || took > 25*time.Second {
			t.Errorf("401 messages at 20 a second took %v", took)
		}
	})
}

// WeChat hangs up when the trigger is kept: parked messages come out all the same.
func TestReleaseOutlivesItsCaller(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		time.Sleep(49 * time.Hour)
		id := r.accept("oUser1", "x")
		settle()
		r.want("the window is over", id, gateway.Parked)
		ctx, cancel := context.WithCancel(r.t.Context())
		if opened, _, err := r.d.Trigger(ctx, appid, "oUser1", kefu.UserMessage, time.Now()); err != nil || !opened {
			t.Fatal(opened, err)
		}
		cancel()
		r.wechat.UserSends("oUser1") // so that WeChat agrees
		settle()
		r.want("let out", id, gateway.Sent)
	})
}

func TestDeletedAccount(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		later := r.accept("oUser1", "later", func(s *gateway.Submission) { s.NotBefore = gateway.At(time.Now().Add(time.Hour)) })
		if err := r.d.DeleteAccount(r.t.Context(), appid); err != nil {
			t.Fatal(err)
		}
		var p *gateway.Problem
		if out := r.try("oUser1", "x"); !asProblem(out.Err, &p) || p.Code != gateway.UnknownAccount {
			t.Errorf("accepted for an account that is gone: %v", out.Err)
		}
		if _, err := r.d.PutAccount(r.t.Context(), r.given, nil); err != nil {
			t.Fatal(err)
		}
		again := r.accept("oUser1", "again")
		settle()
		r.want("made again", again, gateway.Sent)
		if err := r.d.DeleteAccount(r.t.Context(), appid); err != nil {
			t.Fatal(err)
		}
		r.d.Stop()
		d, err := dispatch.Start(r.t.Context(), dispatch.Config{Store: r.store, Log: slog.New(slog.DiscardHandler), Heartbeat: time.Hour, Tokens: func(gateway.Account) kefu.TokenSource { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		r.d = d
		time.Sleep(2 * time.Hour)
		settle()
		r.want("its turn comes, and there is no account", later, gateway.Failed)
	})
}

// A secure account stays secure when its key is left out of a change.
func TestNobodyTalksAnAccountDown(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		a, err := r.d.PutAccount(r.t.Context(), gateway.Account{AppID: appid, Secret: "another"}, nil)
		if err != nil || a.Mode != callback.Secure {
			t.Errorf("%s, %v", a.Mode, err)
		}
	})
}

// Whoever changes an account on the condition that nobody else has is alone in that
// moment, also with pauses.
func TestAccountIsChangedByOneAtATime(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		var wg sync.WaitGroup
		var changed atomic.Int32
		before := r.given
		for i := range 16 {
			wg.Go(func() {
				a := before
				a.Name = fmt.Sprintf("by %d", i)
				if i%4 == 0 {
					if err := r.d.Pause(r.t.Context(), appid, a.Name); err != nil {
						t.Error(err)
					}
					return
				}
				_, err := r.d.PutAccount(r.t.Context(), a, func(now gateway.Account) error {
					if now.Name != before.Name || now.State != before.State {
						return errors.New("changed")
					}
					return nil
				})
				if err == nil {
					changed.Add(1)
				}
			})
		}
		wg.Wait()
		a, err := r.store.Account(r.t.Context(), appid)
		if err != nil || a.State != "paused" || changed.Load() > 1 || changed.Load() == 1 != (a.Name != before.Name) {
			t.Errorf("%d have changed it, it is %q and %s: %v", changed.Load(), a.Name, a.State, err)
		}
	})
}

// What is kept for days only is forgotten without anybody asking.
func TestOldKeysAreForgotten(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.accept("oUser1", "x", func(s *gateway.Submission) { s.IdempotencyKey = "order-7" })
		time.Sleep(201 * time.Hour) // the rig's second heartbeat; keys live for 168 h
		synctest.Wait()
		if n, err := r.store.Prune(r.t.Context(), time.Now(), store.Retention{}); n != 0 || err != nil {
			t.Errorf("%d were left to forget, %v", n, err)
		}
	})
}

// What is unknown can be resolved though its account was deleted, also when the process
// that knew the account is gone.
func TestResolveOfADeletedAccount(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.DropReply)
		id := r.accept("oUser1", "lost")
		settle()
		r.want("the answer was lost", id, gateway.Unknown)
		if err := r.d.DeleteAccount(r.t.Context(), appid); err != nil {
			t.Fatal(err)
		}
		r.d.Stop()
		var err error
		r.d, err = dispatch.Start(r.t.Context(), dispatch.Config{Store: r.store, Log: slog.New(slog.DiscardHandler), Heartbeat: 100 * time.Hour, Tokens: func(gateway.Account) kefu.TokenSource { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		if m, err := r.d.Resolve(r.t.Context(), id, gateway.Sent); err != nil || m.State != gateway.Sent {
			t.Errorf("%s, %v", m.State, err)
		}
		if _, err := r.d.Window(r.t.Context(), appid, "oUser1"); err == nil {
			t.Error("the account is back")
		}
	})
}

// A result that the store has had already, though it said otherwise, is not lost to the
// lane: what it says of the message's next try happens.
func TestAResultThatWasKeptAfterAll(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.Fault{ErrCode: -1, Next: 1, Delay: kefutest.Duration(3 * time.Second)})
		id := r.accept("oUser1", "busy")
		behind := r.accept("oUser1", "behind")
		settle()
		m := r.message(id)
		if err := r.store.Finish(r.t.Context(), time.Now(), store.Finish{
			Seq: m.Seq, Attempt: gateway.Attempt{N: 1, At: gateway.At(time.Now()), Outcome: "refused", ErrCode: -1}, State: gateway.Queued, RetryAt: time.Now().Add(20 * time.Second),
			Outcome: &gateway.Outcome{Class: kefu.ErrBusy, ErrCode: -1}, PossibleDuplicate: true,
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		r.want("it waits for its next try", id, gateway.Queued)
		r.want("and holds up what is behind it", behind, gateway.Queued)
		time.Sleep(15 * time.Second)
		if got := r.received("oUser1"); got != "busy behind" {
			t.Errorf("received %q", got)
		}
	})
}
