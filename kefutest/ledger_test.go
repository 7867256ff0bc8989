package kefutest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/ledger"
)

// Reliability, row 9, as pure functions: the simulator's decision and the gateway's,
// which were written apart, over the same random history. Package ledger has the
// same over HTTP and through JSON at each step, and package dispatch through a whole
// gateway; here there are enough of them.

// A rival is one follower as the simulator has them and as the ledger does.
type rival struct {
	r     *rand.Rand
	now   time.Time
	a     *account
	f     *follower
	p     ledger.Policy
	c     ledger.Conversation
	whole bool // the ledger hears of acts in whole seconds, as in CreateTime
	acted bool

	plant plant
	seen  map[string]int // how often each of what there is to see was seen
	log   []string
	loud  bool // write the log
}

// A plant is a fault that the comparison has to find.
type plant struct {
	name  string
	rules func(*ledger.Policy)                     // of the ledger alone
	heard func(kefu.Trigger) kefu.Trigger          // what the ledger takes a trigger for
	lost  func(*ledger.Conversation, *ledger.Slot) // what it does after a lost answer
}

// rivalActs are what followers do, and what each is by default.
var rivalActs = []struct {
	name    string
	scene   string
	trigger kefu.Trigger
}{
	{"text", "", kefu.UserMessage}, {"text", "", kefu.UserMessage}, {"location", "", kefu.UserMessage}, {"click", "", kefu.Menu},
	{"scancode_push", "", kefu.Menu}, {"menu-tap", "", kefu.Menu}, {"subscribe", "", kefu.Follow}, {"subscribe", "7", kefu.Follow},
	{"scan", "", kefu.Scan}, {"pay", "", kefu.Payment}, {"rights", "", kefu.Rights}, {"view", "", ""}, {"unsubscribe", "", kefu.Unfollow},
}

type rivalFailed string

func (x *rival) fail(format string, args ...any) { panic(rivalFailed(fmt.Sprintf(format, args...))) }

func (x *rival) say(format string, args ...any) {
	if x.loud {
		x.log = append(x.log, x.now.Format("02 15:04:05.000000000 ")+fmt.Sprintf(format, args...))
	}
}

// act has the follower do something, and returns what the ledger is to hear of it.
func (x *rival) act() (tell func()) {
	a := rivalActs[x.r.IntN(len(rivalActs))]
	x.f.Following = true
	x.a.open(x.f, x.now, actions[a.name].opens(x.a, Details{Scene: a.scene}))
	// What package dispatch makes of the settings.
	t := a.trigger
	switch {
	case a.name == "menu-tap":
		t = x.a.MenuTap
	case a.scene != "":
		t = x.a.ScanFollow
	}
	x.acted = x.acted || t == kefu.Unfollow || x.p.Rules[t].Max != 0
	made := x.now
	if x.whole {
		made = made.Truncate(time.Second)
	}
	x.say("%s%s", a.name, a.scene)
	return func() {
		if x.plant.heard != nil {
			t = x.plant.heard(t)
		}
		if t != "" {
			x.c, _ = x.c.Trigger(x.p, t, made)
			x.say("told of %s%s as %s", a.name, a.scene, t)
		}
	}
}

// acts has the follower do several things, of which the ledger hears in any order or
// as they were done. Acts of one second it can't put in order where CreateTime is
// all it has: a follow and an unfollow, heard the other way round, leave it a window
// that WeChat has closed. That is the contract's rule, so here they are apart.
func (x *rival) acts(inOrder bool) {
	var tell []func()
	for range 2 + x.r.IntN(4) {
		tell = append(tell, x.act())
		least := time.Duration(1)
		if x.whole {
			least = time.Second
		}
		x.now = x.now.Add(least + time.Duration(x.r.Int64N(int64(20*time.Second))))
	}
	for i, j := range x.r.Perm(len(tell)) {
		if inOrder {
			j = i
		}
		tell[j]()
	}
}

// post is one send that arrives, or a busy WeChat.
func (x *rival) post(busy bool) (errcode int) {
	if busy {
		return -1
	}
	if errcode = x.a.reaches(x.f); errcode == 0 {
		errcode = x.f.take(x.now)
	}
	return errcode
}

func (x *rival) answered(slot ledger.Slot, errcode int) {
	switch errcode {
	case 0:
		x.c, _ = x.c.Accepted(slot, x.now)
	case ledger.WindowClosed:
		x.c = x.c.Closed(slot, x.now)
	case ledger.AllowanceSpent:
		x.c = x.c.Spent(slot, x.now)
	case ledger.NotFollowing:
		x.c = x.c.Unreachable(slot, x.now)
	default:
		x.c = x.c.GiveBack(slot)
	}
	x.say("errcode %d to %+v", errcode, slot)
}

// pass lets time pass: to a random moment, or to the very end of a bucket and a
// nanosecond before or after.
func (x *rival) pass() {
	d := time.Duration(0)
	switch x.r.IntN(6) {
	case 0, 1:
		d = time.Duration(x.r.Int64N(int64(30 * time.Second)))
	case 2:
		d = time.Duration(x.r.Int64N(int64(60 * time.Hour)))
	case 3, 4:
		if bs := x.f.window(x.now).Buckets; len(bs) > 0 {
			d = bs[x.r.IntN(len(bs))].ClosesAt.Sub(x.now) + time.Duration(x.r.IntN(3)-1)
		}
	}
	x.now = x.now.Add(max(d, 0))
}

// agree: without a guard and without lost answers both decide alike and show the
// same window at every step.
func (x *rival) agree() {
	x.p.ShortGuard, x.p.LongGuard = ledger.NoGuard, ledger.NoGuard
	for n := 4 + x.r.IntN(16); n > 0; n-- {
		switch x.r.IntN(5) {
		case 0:
			x.pass()
		case 1:
			if x.r.IntN(3) == 0 {
				x.acts(x.p.Mixing == gateway.MaxOfBoth)
			} else {
				x.act()()
			}
		default:
			x.send()
			for n == 1 && x.acted && x.r.IntN(32) > 0 { // at the end, until nothing is left
				x.send()
			}
		}
		x.sameWindow()
	}
}

// send sends what the ledger lets out, and now and then what it withholds: WeChat
// would have refused that with the code that the ledger foresaw.
func (x *rival) send() {
	ask := ledger.Asking{AcceptedAt: x.now}
	foreseen := x.c.Foresee(x.p, x.now, 0, ask)
	ask.Try = x.r.IntN(3) == 0
	c, slot, v := x.c.Take(x.p, x.now, ask)
	if x.c = c; v.Act == ledger.Withhold {
		if v.Code != foreseen.Code {
			x.fail("withheld as %d, foreseen %+v", v.Code, foreseen)
		}
		ask.Try = true
		if _, slot, _ = c.Take(x.p, x.now, ask); slot.From != "" {
			x.fail("withheld though %s has some left", slot.From)
		}
	}
	errcode := x.post(x.r.IntN(8) == 0)
	shown := errcode
	if errcode == ledger.NotFollowing { // WeChat's other word for a closed window
		shown = ledger.WindowClosed
	}
	switch {
	case errcode == -1:
	case foreseen.Act == ledger.Try && (x.acted || errcode == 0):
		x.fail("tried, errcode %d", errcode)
	case foreseen.Act == ledger.Send && errcode != 0, foreseen.Act == ledger.Withhold && shown != foreseen.Code:
		x.fail("errcode %d, foreseen %+v", errcode, foreseen)
	}
	x.seen[foreseen.Act.String()]++
	x.seen[fmt.Sprint(errcode)]++
	// The follower acts before the answer is there. In one bucket that takes over what
	// is left of another, the slot of a refused send is not given back then.
	for x.r.IntN(5) == 0 && (errcode != -1 || x.p.Mixing != gateway.MaxOfBoth) {
		x.act()()
	}
	if v.Act != ledger.Withhold && foreseen.Act != ledger.Try {
		x.answered(slot, errcode)
	}
}

func (x *rival) sameWindow() {
	want, got := x.f.window(x.now), x.c.Window(x.p, x.now, 0)
	if !x.acted {
		if got.State != gateway.WindowUnknown || want.State != "closed" {
			x.fail("nothing was seen, the window is %s and %s", got.State, want.State)
		}
		return
	}
	alike := func(got *int, want int) bool {
		return got == nil && want == kefu.Unlimited || got != nil && *got == want
	}
	const ms = time.Millisecond
	same := string(got.State) == want.State && alike(got.Remaining, want.Remaining) && (got.OpenedBy == nil) == (want.OpenedBy == "") && (got.OpenedBy == nil || *got.OpenedBy == want.OpenedBy) &&
		len(got.Buckets) == len(want.Buckets) && (got.ClosesAt == nil) == want.ClosesAt.IsZero() &&
		(got.ClosesAt == nil || got.ClosesAt.Equal(want.ClosesAt.Truncate(ms)))
	for _, b := range want.Buckets {
		found := false
		for _, g := range got.Buckets {
			found = found || g.Trigger == b.Trigger && alike(g.Max, b.Max) && alike(g.Remaining, b.Remaining) &&
				g.OpenedAt.Equal(b.OpenedAt.Truncate(ms)) && g.ClosesAt.Equal(b.ClosesAt.Truncate(ms))
		}
		same = same && found
	}
	if !same {
		x.fail("the ledger says\n%+v\nWeChat\n%+v", got, want)
	}
}

// lose: with lost answers the ledger never has more left than WeChat, sends nothing
// that WeChat then refuses, and has at most as many less as there are unknown
// outcomes. The first two hold in whole seconds with the guards, and whatever the
// order in which acts are heard of.
func (x *rival) lose() {
	if x.whole = x.r.IntN(2) == 0; !x.whole {
		x.p.ShortGuard, x.p.LongGuard = ledger.NoGuard, ledger.NoGuard
	}
	exact := !x.whole
	unknown := 0
	for range 4 + x.r.IntN(16) {
		switch x.r.IntN(6) {
		case 0:
			x.pass()
		case 1:
			x.act()()
		case 2:
			if x.r.IntN(3) == 0 {
				x.acts(false)
				exact = exact && x.p.Mixing != gateway.MaxOfBoth
			}
		default:
			c, slot, v := x.c.Take(x.p, x.now, ledger.Asking{AcceptedAt: x.now})
			if v.Act != ledger.Send {
				break
			}
			x.c = c
			fault := x.r.IntN(4)
			errcode := 0
			if fault != 0 {
				errcode = x.post(false)
			}
			switch {
			case errcode != 0:
				x.fail("sent, and refused with %d", errcode)
			case fault == 0:
				x.seen["never arrived"]++
				unknown++
			case fault == 1:
				x.seen["answer lost"]++
				if x.plant.lost != nil {
					x.plant.lost(&x.c, &slot)
				}
			default:
				x.seen["sent"]++
				x.answered(slot, 0)
			}
			x.say("fault %d, %+v", fault, slot)
		}
		wechat, mine := x.f.window(x.now), x.c.Window(x.p, x.now, 0)
		if !x.acted || wechat.Remaining == kefu.Unlimited {
			continue
		}
		switch {
		case mine.Remaining == nil || *mine.Remaining > wechat.Remaining:
			x.fail("the ledger says\n%+v\nWeChat\n%+v", mine, wechat)
		case *mine.Remaining < wechat.Remaining:
			x.seen["less left"]++
			if exact && wechat.Remaining-*mine.Remaining > unknown {
				x.fail("%d of %d left, but only %d are unknown", *mine.Remaining, wechat.Remaining, unknown)
			}
		}
	}
}

// play plays one history; what went wrong is the returned text.
func play(seed uint64, profile string, mixing Mixing, kind func(*rival), p plant, seen map[string]int, loud bool) (wrong string, x *rival) {
	r := rand.New(rand.NewPCG(seed, 9))
	x = &rival{r: r, now: time.Date(2026, 11, 23, 12, 0, 0, r.IntN(1e9), time.UTC), plant: p, seen: seen, loud: loud}
	given := Account{Profile: profile, Mixing: mixing}.orDefault()
	if r.IntN(2) == 0 {
		given.MenuTap = kefu.UserMessage
	}
	if r.IntN(2) == 0 {
		given.ScanFollow = kefu.Scan
	}
	if r.IntN(4) == 0 {
		given.NotFollowing = 43004
	}
	x.a, x.p = rivalRules(given)
	if p.rules != nil {
		x.p.Rules = maps.Clone(x.p.Rules)
		p.rules(&x.p)
	}
	x.f = &follower{openID: "oUser1", because: neverSeen}
	defer func() {
		if e := recover(); e != nil {
			failed, ok := e.(rivalFailed)
			if !ok {
				panic(e)
			}
			wrong = string(failed)
		}
	}()
	kind(x)
	return "", x
}

// rivalRules are the account of the simulator and the gateway's policy for the same
// settings. They are made once: what is made of them only reads.
func rivalRules(given Account) (*account, ledger.Policy) {
	type made struct {
		a *account
		p ledger.Policy
	}
	k := [5]string{given.Profile, string(given.Mixing), string(given.MenuTap), string(given.ScanFollow), fmt.Sprint(given.NotFollowing)}
	if m, ok := rivalRulesOf.Load(k); ok {
		return m.(made).a, m.(made).p
	}
	a, err := newAccount(given)
	if err != nil {
		panic(err)
	}
	p, err := ledger.PolicyOf(gateway.Account{Profile: given.Profile, Mixing: gateway.Mixing(given.Mixing)})
	if err != nil {
		panic(err)
	}
	rivalRulesOf.Store(k, made{a, p})
	return a, p
}

var rivalRulesOf sync.Map

// TestLedgerIsWeChat plays 1,000 histories for each profile and each way of mixing
// triggers, half with a msgmenu tap as a message and half with a scan-follow as a
// scan; a million each with KEFU_LONG.
func TestLedgerIsWeChat(t *testing.T) {
	t.Parallel()
	n := uint64(1_000)
	if os.Getenv("KEFU_LONG") != "" {
		n = 1_000_000
	}
	for _, kind := range []struct {
		name string
		play func(*rival)
		want []string
	}{
		{"no answer lost", (*rival).agree, []string{"send", "try", "withhold", "0", "-1", "45015", "45047", "43004"}},
		{"answers lost", (*rival).lose, []string{"sent", "answer lost", "never arrived", "less left"}},
	} {
		for _, profile := range kefu.Profiles() {
			for _, mixing := range []Mixing{SideBySide, LatestWins, MaxOfBoth} {
				t.Run(kind.name+"/"+profile+"/"+string(mixing), func(t *testing.T) {
					t.Parallel()
					seen := map[string]int{}
					for seed := range n {
						if wrong, _ := play(seed, profile, mixing, kind.play, plant{}, seen, false); wrong != "" {
							_, again := play(seed, profile, mixing, kind.play, plant{}, seen, true)
							for _, line := range again.log {
								t.Log(line)
							}
							t.Fatalf("seed %d: %s", seed, wrong)
						}
					}
					for _, what := range kind.want {
						if seen[what] == 0 {
							t.Errorf("never seen: %s", what)
						}
					}
					t.Logf("%d histories: %v", n, seen)
				})
			}
		}
	}
}

// The comparison sees what is wrong.
func TestLedgerIsWeChatSees(t *testing.T) {
	t.Parallel()
	type policy = ledger.Policy
	change := func(trigger kefu.Trigger, more int, longer time.Duration) func(*policy) {
		return func(p *policy) {
			a := p.Rules[trigger]
			p.Rules[trigger] = kefu.Allowance{Max: a.Max + more, For: a.For + longer}
		}
	}
	for _, tt := range []struct {
		mixing Mixing
		kind   func(*rival)
		plant  plant
	}{
		{SideBySide, (*rival).agree, plant{name: "one more", rules: change(kefu.UserMessage, 1, 0)}},
		{SideBySide, (*rival).agree, plant{name: "one less", rules: change(kefu.Menu, -1, 0)}},
		{SideBySide, (*rival).agree, plant{name: "a millisecond longer", rules: change(kefu.Scan, 0, time.Millisecond)}},
		{SideBySide, (*rival).agree, plant{name: "the other mixing", rules: func(p *policy) { p.Mixing = gateway.LatestWins }}},
		{LatestWins, (*rival).agree, plant{name: "the other mixing", rules: func(p *policy) { p.Mixing = gateway.SideBySide }}},
		{MaxOfBoth, (*rival).agree, plant{name: "the other mixing", rules: func(p *policy) { p.Mixing = gateway.LatestWins }}},
		{SideBySide, (*rival).agree, plant{name: "a menu is a message", heard: func(t kefu.Trigger) kefu.Trigger {
			if t == kefu.Menu {
				return kefu.UserMessage
			}
			return t
		}}},
		{SideBySide, (*rival).agree, plant{name: "unfollows are not heard", heard: func(t kefu.Trigger) kefu.Trigger {
			if t == kefu.Unfollow {
				return ""
			}
			return t
		}}},
		{SideBySide, (*rival).lose, plant{name: "a lost answer gives back", lost: func(c *ledger.Conversation, s *ledger.Slot) { *c = c.GiveBack(*s) }}},
		{SideBySide, (*rival).lose, plant{name: "no guard", rules: func(p *policy) {
			p.ShortGuard, p.LongGuard = ledger.NoGuard, ledger.NoGuard
			p.Rules[kefu.Menu] = kefu.Allowance{Max: 3, For: 61 * time.Second}
		}}},
	} {
		t.Run(tt.plant.name+"/"+string(tt.mixing), func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(20_000) {
				if wrong, _ := play(seed, kefu.DefaultProfile, tt.mixing, tt.kind, tt.plant, map[string]int{}, false); wrong != "" {
					t.Logf("found in history %d", seed)
					return
				}
			}
			t.Error("not found in 20,000 histories")
		})
	}
}
