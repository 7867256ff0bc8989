package ledger

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// actions of the simulator's followers, and what each is for the ledger.
var actions = []struct {
	name    string
	trigger kefu.Trigger
}{
	{"text", kefu.UserMessage}, {"text", kefu.UserMessage}, {"location", kefu.UserMessage}, {"click", kefu.Menu}, {"scancode_push", kefu.Menu},
	{"menu-tap", kefu.Menu}, {"subscribe", kefu.Follow}, {"scan", kefu.Scan}, {"pay", kefu.Payment}, {"rights", kefu.Rights},
	{"view", ""}, {"unsubscribe", kefu.Unfollow},
}

// A rival drives one follower of the simulator and the ledger through the same.
type rival struct {
	*testing.T
	r      *rand.Rand
	wechat *kefutest.WeChat
	client *kefu.Client
	openid string
	p      Policy
	c      Conversation
	whole  bool // the ledger hears of acts in whole seconds, as in CreateTime
	acted  bool
	told   []string
}

func (x *rival) say(format string, args ...any) {
	x.told = append(x.told, x.wechat.Now().UTC().Format("15:04:05.000000000 ")+fmt.Sprintf(format, args...))
}

func (x *rival) fail(format string, args ...any) {
	x.Helper()
	for _, line := range x.told {
		x.Log(line)
	}
	x.Fatalf("%s: %s", x.openid, fmt.Sprintf(format, args...))
}

// act has the follower do something, and returns what the ledger is to hear of it.
func (x *rival) act() (tell func()) {
	a := actions[x.r.IntN(len(actions))]
	if _, err := x.wechat.Does(x.openid, a.name, kefutest.Details{}); err != nil {
		x.Fatal(err)
	}
	x.acted = x.acted || a.trigger == kefu.Unfollow || x.p.Rules[a.trigger].Max != 0
	made := x.wechat.Now()
	x.say("%s", a.name)
	if x.whole {
		made = made.Truncate(time.Second)
	}
	return func() {
		if a.trigger != "" {
			x.c, _ = x.c.Trigger(x.p, a.trigger, made)
			x.say("told of %s", a.name)
		}
	}
}

// acts has the follower do several things, of which the ledger hears in any order.
func (x *rival) acts() {
	var tell []func()
	for range 2 + x.r.IntN(4) {
		tell = append(tell, x.act())
		time.Sleep(1 + time.Duration(x.r.Int64N(int64(20*time.Second))))
	}
	for _, i := range x.r.Perm(len(tell)) {
		tell[i]()
	}
}

// post sends a message and returns the errcode; lost when no answer came.
func (x *rival) post() (errcode int, lost bool) {
	_, err := x.client.Send(x.Context(), kefu.Message{To: x.openid, Body: kefu.Text{Content: "好"}})
	var refused *kefu.Error
	switch {
	case err == nil:
		return 0, false
	case errors.As(err, &refused):
		return refused.Code, false
	case errors.Is(err, kefu.ErrUnknownOutcome):
		return 0, true
	}
	x.Fatal(err)
	return 0, false
}

// answered tells the ledger of an answer.
func (x *rival) answered(slot Slot, errcode int) {
	now := x.wechat.Now()
	switch errcode {
	case 0:
		x.c, _ = x.c.Accepted(slot, now)
	case WindowClosed:
		x.c = x.c.Closed(slot, now)
	case AllowanceSpent:
		x.c = x.c.Spent(slot, now)
	default:
		x.c = x.c.GiveBack(slot)
	}
	x.say("errcode %d to %+v", errcode, slot)
}

// pass lets time pass: to a random moment, or to the very end of a bucket and a
// nanosecond before or after.
func (x *rival) pass() {
	var d time.Duration
	switch x.r.IntN(6) {
	case 0, 1:
		d = time.Duration(x.r.Int64N(int64(30 * time.Second)))
	case 2:
		d = time.Duration(x.r.Int64N(int64(60 * time.Hour)))
	case 3, 4:
		if bs := x.wechat.Window(x.openid).Buckets; len(bs) > 0 {
			d = bs[x.r.IntN(len(bs))].ClosesAt.Sub(x.wechat.Now()) + time.Duration(x.r.IntN(3)-1)
		}
	}
	time.Sleep(max(d, 0)) // the bubble's
}

// eachHistory plays random histories under a profile, each with a follower of its own.
func eachHistory(t *testing.T, profile string, n int, play func(*rival)) {
	const perWeChat = 500
	for first := 0; first < n; first += perWeChat {
		synctest.Test(t, func(t *testing.T) {
			wechat := kefutest.New(kefutest.Account{
				Profile: profile, DailyLimits: map[string]int{"/cgi-bin/message/custom/send": 1 << 40},
			})
			defer wechat.Close()
			client := wechat.Client()
			for i := first; i < min(first+perWeChat, n); i++ {
				p, err := PolicyOf(gateway.Account{Profile: profile})
				if err != nil {
					t.Fatal(err)
				}
				play(&rival{
					T: t, r: rand.New(rand.NewPCG(uint64(i), 2)), wechat: wechat, client: client, openid: fmt.Sprintf("oUser%d", i), p: p,
				})
			}
		})
	}
}

// Reliability, row 9: without a guard and without lost answers the ledger and the
// simulator, written apart, decide alike and show the same window at every step.
// Here every send goes through the client and the simulator's API; package kefutest
// has the same without that, a thousand times as often and for each way of mixing
// triggers.
func TestLedgerIsWeChat(t *testing.T) {
	for _, profile := range kefu.Profiles() {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			decided := map[string]int{}
			eachHistory(t, profile, histories(500, 20_000), func(x *rival) { x.agree(decided) })
			for _, d := range []string{"send", "try", "45015", "45047", "parts ", "parts bulk"} {
				if decided[d] == 0 && !race {
					t.Errorf("never decided: %s", d)
				}
			}
			t.Log(decided)
		})
	}
}

func (x *rival) agree(decided map[string]int) {
	x.p.ShortGuard, x.p.LongGuard = NoGuard, NoGuard
	for n := 4 + x.r.IntN(16); n > 0; n-- {
		switch x.r.IntN(5) {
		case 0:
			x.pass()
		case 1:
			if x.r.IntN(3) == 0 {
				x.acts()
			} else {
				x.act()()
			}
		default:
			x.send(decided)
			for n == 1 && x.acted && x.r.IntN(32) > 0 { // at the end, until nothing is left
				x.send(decided)
			}
		}
		x.c = through(x.T, x.c)
		x.sameWindow()
	}
}

// send sends what the ledger lets out, and now and then what it withholds: WeChat
// would have refused that with the code that the ledger foresaw.
func (x *rival) send(decided map[string]int) {
	now := x.wechat.Now()
	if x.r.IntN(6) == 0 {
		x.several(decided)
		return
	}
	m := Asking{AcceptedAt: now, Try: x.r.IntN(3) == 0}
	if x.r.IntN(8) == 0 {
		x.wechat.Fail(kefutest.ErrCode(-1)) // of the next
	}
	foreseen := x.c.Foresee(x.p, now, 0, Asking{AcceptedAt: now})
	decided[short(foreseen)]++
	c, slot, v := x.c.Take(x.p, now, m)
	if x.c = c; v.Act == Withhold {
		x.say("withheld: %d", v.Code)
		if v.Code != foreseen.Code {
			x.fail("withheld as %d, foreseen %+v", v.Code, foreseen)
		}
		m.Try = true
		if _, slot, _ = c.Take(x.p, now, m); slot.From != "" {
			x.fail("withheld though %s has some left", slot.From)
		}
	}
	errcode, _ := x.post()
	switch {
	case errcode == -1:
	case foreseen.Act == Try && (x.acted || errcode == 0):
		x.fail("tried, errcode %d", errcode)
	case foreseen.Act == Send && errcode != 0, foreseen.Act == Withhold && errcode != foreseen.Code:
		x.fail("errcode %d, foreseen %s", errcode, short(foreseen))
	}
	for x.r.IntN(5) == 0 { // the follower acts before the answer is there
		x.act()()
	}
	if v.Act != Withhold && foreseen.Act != Try {
		x.answered(slot, errcode)
	}
}

// several sends what takes more than one slot: a long text in parts, bulk, or a long
// text in bulk. What the ledger lets out WeChat takes whole, and bulk leaves as many
// slots as are kept. Short of that many nothing leaves.
func (x *rival) several(decided map[string]int) {
	now := x.wechat.Now()
	n, m := 1+x.r.IntN(6), Asking{AcceptedAt: now}
	if x.r.IntN(2) == 0 {
		m.Priority = gateway.Bulk
	}
	left, keep := x.wechat.Window(x.openid), 0
	for _, b := range left.Buckets {
		if b.Remaining != 0 && m.Priority == gateway.Bulk {
			keep = max(keep, x.p.keep(b.Max))
		}
	}
	m.Slots = n
	v := x.c.Foresee(x.p, now, 0, m)
	if x.acted && (left.Remaining == kefu.Unlimited || left.Remaining >= n+keep) != (v.Act == Send) {
		x.fail("%d parts, %d kept, %d left: %s", n, keep, left.Remaining, short(v))
	}
	if v.Act != Send {
		return
	}
	decided[fmt.Sprint("parts ", m.Priority)]++
	for ; m.Slots > 0; m.Slots-- { // no time passes between them here
		c, slot, v := x.c.Take(x.p, x.wechat.Now(), m)
		if v.Act != Send {
			x.fail("%d parts are left, and %s", m.Slots, short(v))
		}
		x.c = c
		errcode, _ := x.post()
		if errcode != 0 {
			x.fail("%d parts were let out; with %d left errcode %d", n, m.Slots, errcode)
		}
		x.answered(slot, errcode)
	}
	if now := x.wechat.Window(x.openid); now.Remaining != kefu.Unlimited && now.Remaining < keep {
		x.fail("bulk left %d, %d are kept", now.Remaining, keep)
	}
}

// sameWindow compares what the two show.
func (x *rival) sameWindow() {
	want, got := x.wechat.Window(x.openid), x.c.Window(x.p, x.wechat.Now(), 0)
	if !x.acted {
		if got.State != gateway.WindowUnknown || want.State != "closed" {
			x.fail("nothing was seen, the window is %s and %s", got.State, want.State)
		}
		return
	}
	same := string(got.State) == want.State && equal(got.Remaining, want.Remaining) && opener(got) == want.OpenedBy &&
		len(got.Buckets) == len(want.Buckets) && (got.ClosesAt == nil) == want.ClosesAt.IsZero() &&
		(got.ClosesAt == nil || got.ClosesAt.Equal(want.ClosesAt.Truncate(ms)))
	for _, b := range want.Buckets {
		found := false
		for _, g := range got.Buckets {
			found = found || g.Trigger == b.Trigger && equal(g.Max, b.Max) && equal(g.Remaining, b.Remaining) &&
				g.OpenedAt.Equal(b.OpenedAt.Truncate(ms)) && g.ClosesAt.Equal(b.ClosesAt.Truncate(ms))
		}
		same = same && found
	}
	if !same {
		x.fail("the ledger says\n%+v\nWeChat\n%+v", got, want)
	}
}

func equal(got *int, want int) bool {
	if got == nil {
		return want == kefu.Unlimited
	}
	return *got == want
}

// Reliability, row 9: with lost answers there is never more left than WeChat has,
// nothing is sent that WeChat then refuses, and the difference is at most the unknown
// outcomes. The first two hold with CreateTime in whole seconds and the guards, too.
func TestNeverMoreThanWeChat(t *testing.T) {
	for _, profile := range kefu.Profiles() {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			figures := map[string]int{}
			eachHistory(t, profile, histories(600, 20_000), func(x *rival) { x.lose(figures) })
			for _, f := range []string{"sent", "answer lost", "never arrived", "given back", "given back too late", "less left"} {
				if figures[f] == 0 && !race {
					t.Errorf("never: %s", f)
				}
			}
			t.Log(figures)
		})
	}
}

func (x *rival) lose(figures map[string]int) {
	if x.whole = x.r.IntN(2) == 0; !x.whole {
		x.p.ShortGuard, x.p.LongGuard = NoGuard, NoGuard
	}
	type loss struct {
		Slot
		sent int
	}
	var open []loss // of what never arrived
	sent, unknown := 0, 0
	for range 4 + x.r.IntN(16) {
		switch x.r.IntN(6) {
		case 0:
			x.pass()
		case 1:
			x.act()()
		case 2: // somebody finds out that the last one never arrived
			if len(open) == 0 {
				break
			}
			last := open[len(open)-1]
			switch there := x.has(last.Slot); {
			case there && last.sent < sent:
				// WeChat took the later ones from other buckets than the ledger did. What it
				// gives back is right in number, as long as none of them is opened anew.
				continue
			case there:
				unknown--
				figures["given back"]++
			default:
				figures["given back too late"]++
			}
			x.say("give back %+v", last.Slot)
			x.c = x.c.GiveBack(last.Slot)
			open = open[:len(open)-1]
		default:
			now := x.wechat.Now()
			c, slot, v := x.c.Take(x.p, now, Asking{AcceptedAt: now})
			if v.Act != Send {
				break
			}
			x.c = c
			fault := x.r.IntN(4)
			switch fault {
			case 0:
				x.wechat.Fail(kefutest.DropRequest)
			case 1:
				x.wechat.Fail(kefutest.DropReply)
			}
			errcode, lost := x.post()
			sent++
			switch {
			case errcode != 0:
				x.fail("sent, and refused with %d", errcode)
			case !lost:
				figures["sent"]++
				x.answered(slot, errcode)
			case fault == 0:
				figures["never arrived"]++
				unknown++
				open = append(open, loss{slot, sent})
				x.say("never arrived, %+v", slot)
			default:
				figures["answer lost"]++
				x.say("its answer was lost, %+v", slot)
			}
		}
		wechat, ledger := x.wechat.Window(x.openid), x.c.Window(x.p, x.wechat.Now(), 0)
		if !x.acted || wechat.Remaining == kefu.Unlimited {
			continue
		}
		switch {
		case ledger.Remaining == nil || *ledger.Remaining > wechat.Remaining:
			x.fail("the ledger says\n%+v\nWeChat\n%+v", ledger, wechat)
		case *ledger.Remaining < wechat.Remaining:
			figures["less left"]++
			if !x.whole && wechat.Remaining-*ledger.Remaining > unknown {
				x.fail("%d of %d left, but only %d are unknown", *ledger.Remaining, wechat.Remaining, unknown)
			}
		}
	}
}

// has reports whether the slot's bucket is still the same.
func (x *rival) has(slot Slot) bool {
	for _, b := range x.c.Buckets {
		if b.Trigger == slot.From {
			return b.Generation == slot.Generation
		}
	}
	return false
}
