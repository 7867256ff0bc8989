package kefutest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
)

// What each trigger permits under each profile: the number, then 45047; the time to
// its last nanosecond, then 45015.
func TestProfiles(t *testing.T) {
	const minute, two = time.Minute, 48 * time.Hour
	none := kefu.Allowance{}
	for _, tt := range []struct {
		profile                                     string
		message, menu, follow, scan, payment, right kefu.Allowance
	}{
		{"service_current", kefu.Allowance{Max: 5, For: two}, kefu.Allowance{Max: 3, For: minute}, kefu.Allowance{Max: 3, For: minute}, kefu.Allowance{Max: 3, For: minute}, kefu.Allowance{Max: -1, For: two}, none},
		{"subscription_current", kefu.Allowance{Max: 5, For: two}, kefu.Allowance{Max: 3, For: minute}, kefu.Allowance{Max: 3, For: minute}, kefu.Allowance{Max: 3, For: minute}, none, none},
		{"legacy_2021", kefu.Allowance{Max: 20, For: two}, kefu.Allowance{Max: 3, For: minute}, kefu.Allowance{Max: 3, For: minute}, kefu.Allowance{Max: 3, For: minute}, kefu.Allowance{Max: 20, For: two}, none},
		{"legacy_48h", kefu.Allowance{Max: 20, For: two}, kefu.Allowance{Max: 20, For: two}, kefu.Allowance{Max: 20, For: two}, kefu.Allowance{Max: 20, For: two}, kefu.Allowance{Max: 20, For: two}, kefu.Allowance{Max: 20, For: two}},
	} {
		for action, want := range map[string]kefu.Allowance{
			"text": tt.message, "image": tt.message, "voice": tt.message, "video": tt.message, "location": tt.message, "link": tt.message,
			"click": tt.menu, "scancode_push": tt.menu, "scancode_waitmsg": tt.menu, "menu-tap": tt.menu,
			"subscribe": tt.follow, "scan": tt.scan, "pay": tt.payment, "rights": tt.right, "view": none, "unsubscribe": none,
		} {
			t.Run(tt.profile+"/"+action, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x := newWire(t, Account{Profile: tt.profile})
					if _, err := x.w.Does("oUser1", action, Details{}); err != nil {
						t.Fatal(err)
					}
					if want == none {
						if code := x.sendText("oUser1"); code != 45015 {
							t.Errorf("it opens nothing: errcode %d, want 45015", code)
						}
						return
					}
					sends := want.Max
					if sends == kefu.Unlimited {
						sends = 50
					}
					for i := range sends {
						if code := x.sendText("oUser1"); code != 0 {
							t.Fatalf("message %d of %d: errcode %d", i+1, sends, code)
						}
					}
					if want.Max != kefu.Unlimited {
						if code := x.sendText("oUser1"); code != 45047 {
							t.Errorf("one more: errcode %d, want 45047", code)
						}
					}
					x.w.Does("oUser1", action, Details{}) // starts over
					time.Sleep(want.For - 1)
					x.logIn()
					if code := x.sendText("oUser1"); code != 0 {
						t.Errorf("last nanosecond: errcode %d", code)
					}
					time.Sleep(time.Nanosecond)
					if code := x.sendText("oUser1"); code != 45015 {
						t.Errorf("closed: errcode %d, want 45015", code)
					}
				})
			})
		}
	}
}

func TestMixing(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	type step struct {
		after   time.Duration
		trigger kefu.Trigger // "": a send
		want    int          // errcode of the send
		left    int
	}
	open := func(after time.Duration, t kefu.Trigger, left int) step { return step{after, t, 0, left} }
	send := func(after time.Duration, want, left int) step { return step{after, "", want, left} }
	for _, tt := range []struct {
		name   string
		mixing Mixing
		steps  []step
	}{
		{"side by side: the one that ends soonest is used first", SideBySide, []step{
			open(0, kefu.UserMessage, 5), open(0, kefu.Menu, 8), send(time.Second, 0, 7), send(time.Second, 0, 6), send(time.Second, 0, 5),
			send(time.Second, 0, 4), send(time.Minute, 0, 3),
		}},
		{"side by side: a bucket that ends takes its rest with it", SideBySide, []step{
			open(0, kefu.UserMessage, 5), open(0, kefu.Scan, 8), send(time.Minute, 0, 4),
		}},
		{"side by side: the same trigger starts over, it does not add", SideBySide, []step{
			open(0, kefu.UserMessage, 5), send(0, 0, 4), send(0, 0, 3), open(time.Hour, kefu.UserMessage, 5),
		}},
		{"side by side: empty, not closed", SideBySide, []step{
			open(0, kefu.Follow, 3), send(0, 0, 2), send(0, 0, 1), send(0, 0, 0), send(0, 45047, 0), send(time.Minute, 45015, 0),
		}},
		{"side by side: no limit beside a limit", SideBySide, []step{
			open(0, kefu.Payment, -1), open(0, kefu.Menu, -1), send(0, 0, -1), send(time.Minute, 0, -1), send(47*time.Hour, 0, -1), send(time.Hour, 45015, 0),
		}},
		{"latest wins: a menu tap shortens a message's window", LatestWins, []step{
			open(0, kefu.UserMessage, 5), open(0, kefu.Menu, 3), send(time.Minute, 45015, 0),
		}},
		{"latest wins: it starts over", LatestWins, []step{
			open(0, kefu.Menu, 3), send(0, 0, 2), open(0, kefu.UserMessage, 5), send(time.Hour, 0, 4),
		}},
		{"max of both: a menu tap takes nothing away", MaxOfBoth, []step{
			open(0, kefu.UserMessage, 5), open(0, kefu.Menu, 5), send(time.Minute, 0, 4),
		}},
		{"max of both: and gives its number", MaxOfBoth, []step{
			open(0, kefu.UserMessage, 5), send(0, 0, 4), send(0, 0, 3), send(0, 0, 2), send(0, 0, 1), open(0, kefu.Menu, 3), send(time.Hour, 0, 2),
		}},
		{"max of both: no limit stays", MaxOfBoth, []step{
			open(0, kefu.Payment, -1), open(0, kefu.Menu, -1), send(time.Minute, 0, -1),
		}},
		{"max of both: what is over is over", MaxOfBoth, []step{
			open(0, kefu.Menu, 3), open(time.Minute, kefu.Scan, 3), send(time.Minute, 45015, 0),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, err := kefu.RulesFor("")
			if err != nil {
				t.Fatal(err)
			}
			var bs buckets
			at := now
			for i, s := range tt.steps {
				at = at.Add(s.after)
				if s.trigger != "" {
					bs = bs.opened(at, s.trigger, rules.Allowances[s.trigger], tt.mixing)
				} else if j, code := bs.next(at); code != s.want {
					t.Fatalf("step %d: errcode %d, want %d", i, code, s.want)
				} else if code == 0 && bs[j].Max != kefu.Unlimited {
					bs[j].Remaining--
				}
				if w := bs.window(at, ""); w.Remaining != s.left {
					t.Fatalf("step %d: %d left, want %d", i, w.Remaining, s.left)
				}
			}
		})
	}
}

// Whatever happens in whatever order, WeChat never lets through more than the
// allowance of each trigger since its last start, and the window it shows is the one
// it decides by.
func TestWindowNeverLies(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		rules, _ := kefu.RulesFor(kefu.Profiles()[r.IntN(4)])
		mixing := []Mixing{SideBySide, LatestWins, MaxOfBoth}[r.IntN(3)]
		at := time.Unix(1_800_000_000, 0)
		var bs buckets
		budget := 0 // never above the sum of all that was ever opened
		unlimited := false
		for range 200 {
			at = at.Add(time.Duration(r.Int64N(int64(40 * time.Second))))
			if r.IntN(20) == 0 {
				at = at.Add(time.Duration(r.Int64N(int64(60 * time.Hour))))
			}
			if r.IntN(3) == 0 {
				trigger := kefu.Triggers()[r.IntN(6)]
				a := rules.Allowances[trigger]
				bs = bs.opened(at, trigger, a, mixing)
				budget += max(a.Max, 0)
				unlimited = unlimited || a.Max == kefu.Unlimited
				continue
			}
			w := bs.window(at, "")
			i, code := bs.next(at)
			switch {
			case code == 0 && (w.State != "open" || w.Remaining == 0 || w.ClosesAt != bs[i].ClosesAt || w.OpenedBy != bs[i].Trigger || !at.Before(w.ClosesAt)),
				code == 45047 && (w.State != "open" || w.Remaining != 0),
				code == 45015 && (w.State != "closed" || len(w.Buckets) != 0):
				t.Fatalf("seed %d: errcode %d and %+v", seed, code, w)
			}
			if code == 0 && bs[i].Max != kefu.Unlimited {
				bs[i].Remaining--
				budget--
			}
			if budget < 0 && !unlimited {
				t.Fatalf("seed %d: more sent than permitted", seed)
			}
		}
	}
}

func TestWindowJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which begins at 2000-01-01 00:00:00 UTC
		w := New()
		defer w.Close()
		show := func() string { return string(encode(w.Window("oUser1"))) }
		if got, want := show(), `{"state":"closed","remaining":0,"closes_at":null,"opened_by":null,"because":"no trigger yet","buckets":[]}`; got != want {
			t.Errorf("\n%s, want\n%s", got, want)
		}
		w.UserSends("oUser1")
		bucket := `{"trigger":"user_message","max":5,"remaining":5,"opened_at":"2000-01-01T00:00:00.000Z","closes_at":"2000-01-03T00:00:00.000Z"}`
		if got, want := show(), `{"state":"open","remaining":5,"closes_at":"2000-01-03T00:00:00.000Z","opened_by":"user_message","because":"user_message at 2000-01-01T00:00:00.000Z","buckets":[`+bucket+`]}`; got != want {
			t.Errorf("\n%s, want\n%s", got, want)
		}
		w.Pays("oUser1")
		if got, want := show(), `{"trigger":"payment","max":null,"remaining":null,`; !strings.Contains(got, want) || !strings.Contains(got, `"remaining":null,"closes_at"`) {
			t.Errorf("%s lacks %s", got, want)
		}
		w.Unfollows("oUser1")
		if got, want := show(), `{"state":"closed","remaining":0,"closes_at":null,"opened_by":null,"because":"unfollowed at 2000-01-01T00:00:00.000Z","buckets":[]}`; got != want {
			t.Errorf("\n%s, want\n%s", got, want)
		}
	})
}

func TestSettingsOfWindows(t *testing.T) {
	for _, tt := range []struct {
		name    string
		account Account
		action  string
		with    Details
		want    kefu.Trigger
		left    int
	}{
		{"a tap on a msgmenu is menu", Account{}, "menu-tap", Details{}, kefu.Menu, 3},
		{"a tap on a msgmenu, if set so", Account{MenuTap: kefu.UserMessage}, "menu-tap", Details{}, kefu.UserMessage, 5},
		{"following by QR code is follow", Account{}, "subscribe", Details{Scene: "1"}, kefu.Follow, 3},
		{"following by QR code, if set so", Account{ScanFollow: kefu.Scan}, "subscribe", Details{Scene: "1"}, kefu.Scan, 3},
		{"one allowance replaced", Account{Rules: Allowances{kefu.UserMessage: {Max: 2, For: time.Minute}}}, "text", Details{}, kefu.UserMessage, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := New(tt.account)
			defer w.Close()
			a, err := w.Does("oUser1", tt.action, tt.with)
			if err != nil || a.Window.OpenedBy != tt.want || a.Window.Remaining != tt.left {
				t.Errorf("%v: %+v, want %s with %d", err, a.Window, tt.want, tt.left)
			}
		})
	}
}

// 48 hours pass in a bubble, and hardly any time outside.
func TestTwoDaysInABubble(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		client := w.Client()
		w.UserSends("oUser1")
		hello := kefu.Message{To: "oUser1", Body: kefu.Text{Content: "hello"}}
		if _, err := client.Send(t.Context(), hello); err != nil {
			t.Fatal(err)
		}
		time.Sleep(48 * time.Hour)
		if _, err := client.Send(t.Context(), hello); fmt.Sprint(kefu.ClassOf(err)) != "window-closed" {
			t.Errorf("after 48 h: %v", err)
		}
	})
	if real := time.Since(began); real > time.Second { // 50 ms on a quiet machine, without -race
		t.Errorf("two days took %v", real)
	}
}
