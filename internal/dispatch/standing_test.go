package dispatch

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
)

func wechat(code int) error { return &kefu.Error{Op: "message/custom/send", Code: code} }

// When WeChat's day begins, by our clock.
func TestQuotaEnds(t *testing.T) {
	beijing := func(clock string) time.Time {
		at, err := time.ParseInLocation("2006-01-02 15:04:05", "2026-11-"+clock, beijing)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, tt := range []struct {
		now   string
		ahead time.Duration
		want  string
	}{
		{"23 12:00:00", 0, "24 00:00:00"},
		{"23 23:59:59", 0, "24 00:00:00"},
		{"23 00:10:00", 0, "24 00:00:00"},
		{"23 00:09:59", 0, "23 00:10:59"}, // its counts have not begun anew yet
		{"23 00:00:00", 0, "23 00:01:00"},
		{"23 12:00:00", 30 * time.Second, "23 23:59:30"},
		{"23 12:00:00", -30 * time.Second, "24 00:00:30"},
		{"23 23:59:45", 30 * time.Second, "24 00:00:45"}, // there it is 00:00:15
	} {
		if got := quotaEnds(beijing(tt.now), tt.ahead); !got.Equal(beijing(tt.want)) {
			t.Errorf("45009 at %s, WeChat %v ahead: until %v, want %s", tt.now, tt.ahead, got.In(beijing("23 00:00:00").Location()), tt.want)
		}
	}
}

// Half at each refusal, a tenth more every ten seconds, never below the floor, and
// all back in the end.
func TestSlowdown(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var s slowdown
	if r := s.rate(at); r != 0 {
		t.Errorf("nothing said: %v", r)
	}
	s = s.slower(at, 40)
	for _, tt := range []struct {
		after time.Duration
		want  float64
	}{{0, 20}, {9999 * time.Millisecond, 20}, {10 * time.Second, 24}, {40 * time.Second, 36}, {49 * time.Second, 36}, {50 * time.Second, 0}, {time.Hour, 0}, {-time.Hour, 20}} {
		if got := s.rate(at.Add(tt.after)); got != tt.want {
			t.Errorf("after %v: %v, want %v", tt.after, got, tt.want)
		}
	}
	again := s.slower(at.Add(10*time.Second), 99) // what it has counts, not what is told
	if got := again.rate(at.Add(10 * time.Second)); got != 12 {
		t.Errorf("half of 24: %v", got)
	}
	for range 50 {
		s = s.slower(at, 40)
	}
	if got := s.rate(at); got != slowest {
		t.Errorf("floor: %v", got)
	}
	if r := (slowdown{}).slower(at, 0.2).rate(at); r <= 0 || r > 0.2 {
		t.Errorf("an account slower than the floor: %v", r)
	}
}

// The standing as rows: what happens, and whether the next post may leave.
func TestStanding(t *testing.T) {
	begin := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	midnight := begin.Add(4 * time.Hour)
	noConnection := fmt.Errorf("%w: no route", kefu.ErrNotDelivered)
	lost := errors.New("cut")
	type step struct {
		after  time.Duration
		openid string // posts and gets result; "": only asks
		result error
		may    bool
	}
	for name, steps := range map[string][]step{
		"answers of all kinds stop nothing": {
			{0, "a", nil, true}, {0, "b", wechat(45015), true}, {0, "c", wechat(40003), true}, {0, "d", wechat(-1), true}, {0, "e", nil, true}},
		"a quota holds until midnight, then one goes first": {
			{0, "a", wechat(45009), true}, {0, "", nil, false}, {4*time.Hour - 1, "", nil, false},
			{1, "b", wechat(45009), true}, {time.Hour, "b", nil, true}},
		"no token is no answer to a post": {
			{0, "a", lost, true}, {0, "b", lost, true}, {0, "c", lost, true}, {0, "d", lost, true}, {0, "e", noToken(t, -1), true}, {0, "f", noToken(t, 45009), true},
			{0, "", nil, true}, {0, "g", lost, true}, {0, "", nil, false}},
		"four silent lanes are not enough, the fifth is": {
			{0, "a", noConnection, true}, {0, "b", lost, true}, {0, "c", noConnection, true}, {0, "d", lost, true},
			{0, "", nil, true}, {0, "e", lost, true}, {0, "", nil, false}, {time.Second - 1, "", nil, false}, {1, "f", nil, true}, {0, "", nil, true}},
		"one follower without luck stops nobody": {
			{0, "a", lost, true}, {0, "a", lost, true}, {0, "a", lost, true}, {0, "a", lost, true}, {0, "a", lost, true}, {0, "a", lost, true}, {0, "", nil, true}},
		"an answer between them begins the count anew": {
			{0, "a", lost, true}, {0, "b", lost, true}, {0, "c", lost, true}, {0, "d", lost, true}, {0, "e", wechat(45015), true},
			{0, "f", lost, true}, {0, "", nil, true}},
		"trials that fail come at longer pauses": {
			{0, "a", lost, true}, {0, "b", lost, true}, {0, "c", lost, true}, {0, "d", lost, true}, {0, "e", lost, true},
			{time.Second, "f", lost, true}, {2*time.Second - 1, "", nil, false}, {1, "g", lost, true}, {4*time.Second - 1, "", nil, false}, {1, "h", nil, true},
			{0, "", nil, true}},
		"too fast stops for a second": {
			{0, "a", wechat(45011), true}, {time.Second - 1, "", nil, false}, {1, "b", wechat(45011), true}, {2*time.Second - 1, "", nil, false}, {1, "c", nil, true}},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := standing{}, begin
			for i, st := range steps {
				now = now.Add(st.after)
				p, until, may := s.ask(now)
				if may != st.may || !may && !until.After(now) {
					t.Fatalf("step %d: may %v until %v (now %v); %+v", i, may, until, now, s)
				}
				if st.openid == "" {
					s.unused(p)
					continue
				}
				s.learn(now, midnight, p, st.openid, 0, st.result)
			}
		})
	}
}

// While a trial is on its way nothing else leaves; what was on its way before a stop
// neither ends nor lengthens it.
func TestOneAtATime(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var s standing
	early, _, _ := s.ask(now)
	also, _, _ := s.ask(now)
	p, _, _ := s.ask(now)
	s.learn(now, now, p, "a", 10, wechat(45011))
	s.learn(now, now, early, "b", 10, wechat(45011))
	s.learn(now, now, also, "c", 10, nil)
	if s.Slow.Rate != 5 || s.stops != 1 {
		t.Errorf("those on their way count too: %+v", s)
	}
	if _, ok := s.still(early, now); ok {
		t.Error("a pass of before the stop is good")
	}
	now = now.Add(time.Second)
	trial, _, ok := s.ask(now)
	if !ok || !trial.trial {
		t.Fatalf("no trial: %+v", s)
	}
	if _, until, ok := s.ask(now); ok || !until.After(now) {
		t.Error("two trials at once")
	}
	s.unused(trial)
	if trial, _, ok = s.ask(now); !ok {
		t.Fatal("an unused trial is lost")
	}
	if c := s.learn(now, now, trial, "d", 10, nil); !c.open {
		t.Errorf("answered: %+v", c)
	}
	for range 3 {
		if _, _, ok := s.ask(now); !ok {
			t.Error("not open")
		}
	}
}

// The daily count, per day in Beijing, warns once at 80 %.
func TestDailyCount(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 59, 59, 0, time.UTC) // 23:59:59 in Beijing
	var s standing
	var warned []int
	count := func(n int) {
		for range n {
			if s.posted(now, 10) {
				warned = append(warned, s.Used)
			}
		}
	}
	count(7)
	if len(warned) != 0 {
		t.Errorf("at 7 of 10: %v", warned)
	}
	count(5)
	now = now.Add(time.Second)
	count(8)
	if fmt.Sprint(warned) != "[8 8]" || s.Used != 8 || s.Day != "2026-11-24" {
		t.Errorf("%v, %+v", warned, s)
	}
}
