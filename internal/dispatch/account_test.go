package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

// codes are the errcodes with which WeChat answered sends, in order.
func (r *rig) codes() (codes []int) {
	for _, q := range r.wechat.Requests() {
		if strings.HasSuffix(q.Path, "/custom/send") {
			codes = append(codes, q.ErrCode)
		}
	}
	return codes
}

func count(codes []int, code int) (n int) {
	for _, c := range codes {
		if c == code {
			n++
		}
	}
	return n
}

// tokenCalls is how often a token was asked for.
func (r *rig) tokenCalls() (n int) {
	for _, q := range r.wechat.Requests() {
		if strings.HasSuffix(q.Path, "stable_token") {
			n++
		}
	}
	return n
}

// kinds are the types of the feed's entries about the account.
func (r *rig) kinds() (kinds []string) {
	r.t.Helper()
	entries, _, err := r.store.Feed(r.t.Context(), "", 1000, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Type, "account.") {
			kinds = append(kinds, e.Type)
		}
	}
	return kinds
}

func (r *rig) healthSays(text string) bool {
	notes, _ := r.d.Healthy(r.t.Context(), "en", nil)
	zh, _ := r.d.Healthy(r.t.Context(), "zh", nil)
	for i, note := range zh { // each is said in Chinese, too
		if len(zh) != len(notes) || !strings.ContainsFunc(note, func(c rune) bool { return unicode.Is(unicode.Han, c) }) {
			r.t.Errorf("in Chinese: %q, in English: %q", note, notes[i])
		}
	}
	return slices.ContainsFunc(notes, func(s string) bool { return strings.Contains(s, text) })
}

// many followers write; each gets n messages.
func (r *rig) many(followers, n int) (ids []string) {
	for i := range followers {
		r.wechat.UserSends(fmt.Sprintf("oUser%03d", i))
	}
	for j := range n {
		for i := range followers {
			ids = append(ids, r.accept(fmt.Sprintf("oUser%03d", i), fmt.Sprint(j)))
		}
	}
	return ids
}

func (r *rig) restart() {
	r.t.Helper()
	r.stop()
	r.start()
}

// 45009 at one minute before midnight in Beijing: one call is spent on it however
// many wait, also after a restart; all leave after midnight, in order.
func TestDailyQuotaHoldsTheAccount(t *testing.T) {
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Rate = 1 }, func(r *rig) {
		time.Sleep(16*time.Hour - time.Minute) // from 8:00 on
		for i := range 20 {
			r.wechat.UserSends(fmt.Sprintf("oUser%03d", i))
		}
		mend := r.wechat.Fail(kefutest.Fault{ErrCode: 45009, Every: 1})
		ids := r.many(20, 2)
		time.Sleep(10 * time.Second)
		settle()
		if got := r.codes(); fmt.Sprint(got) != "[45009]" {
			t.Errorf("calls: %v", got)
		}
		for _, id := range ids {
			r.want("the quota is used up", id, gateway.Queued)
		}
		w, err := r.d.Window(r.t.Context(), appid, "oUser005")
		if err != nil || !strings.Contains(w.Because, "45009") || !strings.Contains(w.Because, "2000-01-01T16:00:00Z") {
			t.Errorf("the window does not say why: %+v, %v", w, err)
		}
		if !r.healthSays("daily quota") {
			t.Error("health does not say it")
		}
		short := r.accept("oUser000", "too late", func(s *gateway.Submission) { s.ExpiresAt = gateway.At(time.Now().Add(5 * time.Second)) })
		r.restart()
		time.Sleep(10 * time.Second)
		settle()
		if got := r.codes(); fmt.Sprint(got) != "[45009]" {
			t.Errorf("calls after a restart: %v", got)
		}
		r.want("expires while it is held", short, gateway.Expired)
		mend()
		time.Sleep(30*time.Second + 2*time.Minute)
		settle()
		for _, id := range ids {
			r.want("after midnight", id, gateway.Sent)
		}
		for i := range 20 {
			if got := r.received(fmt.Sprintf("oUser%03d", i)); got != "0 1" {
				t.Errorf("follower %d: %s", i, got)
			}
		}
		if got := r.kinds(); fmt.Sprint(got) != "[account.held]" {
			t.Errorf("feed: %v", got)
		}
		if r.healthSays("quota") {
			t.Error("health still says it")
		}
	})
}

// Without a rate of the account as many calls are spent as were on their way.
func TestQuotaCostsWhatIsOnItsWay(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.Fail(kefutest.Fault{ErrCode: 45009, Every: 1, Delay: kefutest.Duration(time.Second)})
		r.many(300, 1)
		time.Sleep(time.Hour)
		settle()
		if n := len(r.codes()); n > 64 {
			t.Errorf("%d calls", n)
		}
	})
}

// 40001 has two meanings; a pause is because of the secret, in either language.
func TestPausedForItsSecret(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.Fail(kefutest.Fault{Path: "stable_token", ErrCode: 40001, Every: 1})
		r.wechat.UserSends("oUser1")
		r.accept("oUser1", "waits")
		settle()
		zh, en := r.d.Standing(appid, "zh").Because, r.d.Standing(appid, "en").Because
		x := kefu.Explain("stable_token", 40001)
		if !strings.Contains(zh, "AppSecret") || !strings.Contains(zh, x.AdviceZh) || !strings.Contains(en, x.AdviceEn) {
			t.Errorf("%s; %s", zh, en)
		}
	})
}

// Who has cleared the quota resumes the account: nothing waits for midnight.
func TestAHeldAccountIsResumed(t *testing.T) {
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Rate = 1 }, func(r *rig) {
		r.wechat.Fail(kefutest.Fault{ErrCode: 45009})
		ids := r.many(3, 1)
		settle()
		if err := r.d.Resume(r.t.Context(), appid); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		settle()
		for _, id := range ids {
			r.want("resumed", id, gateway.Sent)
		}
		if got := r.kinds(); fmt.Sprint(got) != "[account.held account.resumed]" {
			t.Errorf("feed: %v", got)
		}
	})
}

// It is not only the first of a lane that waits for midnight: one that was let out since
// stands before it. A restart between changes nothing.
func TestAllThatWaitForMidnightAreResumed(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		bubble(t, nil, func(r *rig) {
			r.wechat.Clicks("oUser1", "k") // 3 for a minute
			for range 3 {
				r.accept("oUser1", "x")
			}
			settle()
			for range 2 {
				r.accept("oUser1", "x")
			}
			parked := r.accept("oUser1", "parked")
			time.Sleep(2 * time.Second)
			r.wechat.Clicks("oUser1", "k") // two come out, one slot is kept
			settle()
			r.want("kept", parked, gateway.Parked)
			r.wechat.Fail(kefutest.Fault{ErrCode: 45009})
			live := r.accept("oUser1", "live")
			settle()
			r.want("the quota is used up", live, gateway.Queued)
			r.wechat.UserSends("oUser1")
			settle()
			r.want("let out before it", parked, gateway.Queued)
			if restarted {
				r.restart()
				settle()
			}
			if err := r.d.Resume(r.t.Context(), appid); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			r.want("resumed", parked, gateway.Sent)
			r.want("resumed", live, gateway.Sent)
		})
	}
}

// WeChat refuses the account itself: one call, then nothing until a check passes.
// Messages are taken and callbacks kept meanwhile, and states stay right.
func TestConfigPauses(t *testing.T) {
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Rate = 1 }, func(r *rig) {
		mend := r.wechat.Fail(kefutest.Fault{Path: "stable_token", ErrCode: 40164, Every: 1})
		r.wechat.UserSends("oParked")
		time.Sleep(49 * time.Hour)
		parked := r.accept("oParked", "parked")
		ids := r.many(10, 2)
		short := r.accept("oUser003", "short", func(s *gateway.Submission) { s.ExpiresAt = gateway.At(time.Now().Add(time.Minute)) })
		time.Sleep(30 * time.Second)
		settle()
		if n := r.tokenCalls(); n != 1 || len(r.codes()) != 0 {
			t.Errorf("%d calls for a token, %v sends", n, r.codes())
		}
		if got := r.kinds(); fmt.Sprint(got) != "[account.paused]" {
			t.Errorf("feed: %v", got)
		}
		r.wechat.UserSends("oParked", "hi") // is kept, and lets it out into the line
		r.restart()
		accepted := r.try("oUser000", "2")
		if accepted.Err != nil || accepted.Message.Window == nil || !strings.Contains(accepted.Message.Window.Because, "40164") {
			t.Errorf("accepted: %+v", accepted)
		}
		zh, en := r.d.Standing(appid, "zh"), r.d.Standing(appid, "en")
		if !strings.Contains(zh.Because, "公众号已停发：40164 ") || !strings.Contains(zh.Because, "白名单") || strings.Contains(zh.Because, "account is") || !strings.Contains(en.Because, "the account is paused: 40164 ") || strings.Contains(en.Because, "白名单") {
			t.Errorf("because: %s; %s", zh.Because, en.Because)
		}
		ids = append(ids, accepted.Message.ID, parked)
		time.Sleep(time.Minute)
		settle()
		for _, id := range ids {
			r.want("paused", id, gateway.Queued)
		}
		r.want("paused", short, gateway.Expired)
		if n := r.tokenCalls(); n != 1 || !r.healthSays("40164") {
			t.Errorf("%d calls after a restart; health says it: %v", n, r.healthSays("40164"))
		}
		var refused *kefu.Error
		if err := r.d.CheckAccount(r.t.Context(), appid, "key"); !errors.As(err, &refused) || refused.Code != 40164 {
			t.Errorf("check: %v", err)
		}
		settle()
		if got := r.kinds(); fmt.Sprint(got) != "[account.paused]" {
			t.Errorf("resumed by a check that failed: %v", got)
		}
		mend()
		time.Sleep(time.Minute) // a refused token is not asked for again at once
		if err := r.d.CheckAccount(r.t.Context(), appid, "key"); err != nil {
			t.Errorf("check: %v", err)
		}
		time.Sleep(time.Minute)
		settle()
		for _, id := range ids {
			r.want("a check passed", id, gateway.Sent)
		}
		if got := r.received("oUser000"); got != "0 1 2" {
			t.Errorf("received %s", got)
		}
		if got := r.kinds(); fmt.Sprint(got) != "[account.paused account.resumed]" || r.healthSays("40164") {
			t.Errorf("feed: %v", got)
		}
	})
}

// An account that is paused by hand is resumed by hand, not by a check.
func TestPausedByHand(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		if err := r.d.Pause(r.t.Context(), appid, "holidays"); err != nil {
			t.Fatal(err)
		}
		ids := r.many(3, 1)
		if err := r.d.CheckAccount(r.t.Context(), appid, "key"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		settle()
		for _, id := range ids {
			r.want("paused", id, gateway.Queued)
		}
		if !r.healthSays("holidays") || len(r.codes()) != 0 {
			t.Errorf("%v", r.codes())
		}
		if err := r.d.Resume(r.t.Context(), appid); err != nil {
			t.Fatal(err)
		}
		settle()
		for _, id := range ids {
			r.want("resumed", id, gateway.Sent)
		}
		if got := r.kinds(); fmt.Sprint(got) != "[account.paused account.resumed]" {
			t.Errorf("feed: %v", got)
		}
		a, err := r.store.Account(r.t.Context(), appid)
		if err != nil || a.State != "active" || a.Because != "" {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

// A check that passes does not mean that WeChat takes messages: the next one costs
// one call, not one per follower.
func TestResumedInVain(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.Fail(kefutest.Fault{ErrCode: 48001, Every: 1, Delay: kefutest.Duration(time.Second)})
		r.many(40, 1)
		time.Sleep(20 * time.Second)
		first := len(r.codes()) // those that were on their way together
		for n := range 3 {
			if err := r.d.CheckAccount(r.t.Context(), appid, "key"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Second)
			settle()
			if got := len(r.codes()) - first; got != n+1 {
				t.Errorf("%d checks, %d calls", n+1, got)
			}
		}
	})
}

// The class that a sender can bring about does not pause the account.
func TestAWrongKfAccountFailsAlone(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.ErrCode(65401))
		bad := r.accept("oUser1", "by nobody")
		good := r.accept("oUser1", "good")
		settle()
		r.want("its own fault", bad, gateway.Failed)
		r.want("the others", good, gateway.Sent)
		if got := r.kinds(); len(got) != 0 {
			t.Errorf("feed: %v", got)
		}
	})
}

// A minute's quota is met: the account goes slower, few calls are refused, all
// messages arrive in order, and the speed comes back.
func TestTooFastSlowsTheAccount(t *testing.T) {
	bubble(t, func(_ *gateway.Account, a *kefutest.Account) { a.MinuteLimit = 120 }, func(r *rig) {
		ids := r.many(200, 3)
		slowed := false
		for range 20 {
			time.Sleep(time.Minute)
			if s := r.d.Standing(appid, "en"); s.Rate > 0 {
				slowed = true
			}
		}
		settle()
		for _, id := range ids {
			r.want("in the end", id, gateway.Sent)
		}
		codes := r.codes()
		if sent, refused := count(codes, 0), count(codes, 45011); sent != 600 || refused == 0 || refused > 150 {
			t.Errorf("%d sent, %d refused", sent, refused)
		} else {
			t.Logf("%d sent, %d refused with 45011", sent, refused)
		}
		if !slowed {
			t.Error("never slowed down")
		}
		time.Sleep(5 * time.Minute)
		if s := r.d.Standing(appid, "en"); s.Rate != 0 || s.Because != "" || s.UsedToday != len(codes) {
			t.Errorf("did not recover: %+v, %d calls", s, len(codes))
		}
	})
}

// WeChat can't be reached: a few messages find out, the others keep their first try.
func TestUnreachable(t *testing.T) {
	for _, drop := range []kefutest.Fault{{Drop: kefutest.DropRequest, Every: 1}, {Status: 502, Every: 1}} {
		bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Rate = 20 }, func(r *rig) {
			mend := r.wechat.Fail(drop)
			ids := r.many(100, 1)
			time.Sleep(5 * time.Minute)
			settle()
			untouched := 0
			for _, id := range ids {
				if m, err := r.store.Message(r.t.Context(), id); err == nil && m.State == gateway.Queued && m.Attempts == 0 {
					untouched++
				}
			}
			if untouched < 60 {
				t.Errorf("%d of 100 untouched after 5 minutes", untouched)
			}
			if w, err := r.d.Window(r.t.Context(), appid, "oUser099"); err != nil || !strings.Contains(w.Because, "reached") || !r.healthSays("reached") {
				t.Errorf("nobody says why: %+v, %v", w, err)
			}
			mend()
			time.Sleep(5 * time.Minute)
			settle()
			for _, id := range ids {
				if got := r.state(id); got != gateway.Sent && got != gateway.Unknown {
					t.Errorf("in the end: %s", got)
				}
			}
			if r.healthSays("reached") {
				t.Error("health still says it")
			}
		})
	}
}

// The daily count survives an ordered restart; at 80 % the feed says so once.
func TestQuotaWarning(t *testing.T) {
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Daily = 20 }, func(r *rig) {
		r.many(5, 3)
		settle()
		r.restart()
		if s := r.d.Standing(appid, "en"); s.UsedToday != 15 || s.Daily != 20 || len(r.kinds()) != 0 {
			t.Errorf("%+v %v", s, r.kinds())
		}
		r.many(5, 2)
		settle()
		r.restart()
		if got := r.kinds(); fmt.Sprint(got) != "[account.quota]" || !r.healthSays("25 of 20") {
			t.Errorf("feed: %v", got)
		}
		time.Sleep(24 * time.Hour)
		if s := r.d.Standing(appid, "en"); s.UsedToday != 0 || r.healthSays("of 20") {
			t.Errorf("next day: %+v", s)
		}
	})
}

// A renewal makes other content of a message that WeChat refused.
type renewal func(account string) (json.RawMessage, error)

func (renewal) Resolve(_ context.Context, _ *kefu.Client, _ string, _ time.Time, body json.RawMessage) (json.RawMessage, error) {
	return body, nil
}

func (f renewal) Renew(_ context.Context, _ *kefu.Client, account string, _ json.RawMessage) (json.RawMessage, error) {
	return f(account)
}

// Dead media are renewed once, and the message is sent again at once with the new.
func TestRenew(t *testing.T) {
	for _, tt := range []struct {
		name  string
		codes int // refusals
		fail  error
		state gateway.State
		asked int
	}{
		{"renewed", 1, nil, gateway.Sent, 1},
		{"once only", 2, nil, gateway.Failed, 1},
		{"not to be had", 1, fmt.Errorf("%w: gone", kefu.ErrMediaInvalid), gateway.Failed, 1},
		{"not to be had now", 1, errors.New("busy"), gateway.Sent, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked := 0
			bubble(t, nil, func(r *rig) {
				r.stop()
				r.media = func(*store.Store) dispatch.Media {
					return renewal(func(account string) (json.RawMessage, error) {
						asked++
						if account != appid {
							t.Errorf("of account %s", account)
						}
						time.Sleep(10 * time.Second) // an upload
						return []byte(`{"touser":"oUser1","msgtype":"text","text":{"content":"renewed"}}`), tt.fail
					})
				}
				r.start()
				r.wechat.UserSends("oUser1")
				r.wechat.Fail(kefutest.Fault{ErrCode: 40007, Next: tt.codes})
				id := r.accept("oUser1", "old")
				behind := r.accept("oUser1", "behind")
				time.Sleep(20 * time.Second)
				settle()
				r.want("dead media", id, tt.state)
				r.want("the next", behind, gateway.Sent)
				want := map[error]string{nil: "renewed behind"}[tt.fail]
				if tt.fail != nil && tt.state == gateway.Sent {
					want = "old behind" // got to WeChat like any other at its next turn
				}
				if got := r.received("oUser1"); tt.state == gateway.Sent && got != want {
					t.Error(got)
				}
			})
			if asked != tt.asked {
				t.Errorf("asked %d times", asked)
			}
		})
	}
}
