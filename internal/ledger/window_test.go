package ledger

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
)

// The window as the API shows it, whole.
func TestWindowJSON(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []step
		ahead int
		want  string
	}{
		{"open", []step{on(kefu.UserMessage), at(1500 * ms), on(kefu.Menu), sent(1)}, 0,
			`{"state":"open","remaining":7,"closes_at":"2026-11-23T12:00:59.500Z","opened_by":"menu","because":"menu at 2026-11-23T12:00:01.500Z","cause":{"code":"opened","at":"2026-11-23T12:00:01.500Z","trigger":"menu"},"buckets":[` +
				`{"trigger":"menu","max":3,"remaining":2,"opened_at":"2026-11-23T12:00:01.500Z","closes_at":"2026-11-23T12:00:59.500Z"},` +
				`{"trigger":"user_message","max":5,"remaining":5,"opened_at":"2026-11-23T12:00:00.000Z","closes_at":"2026-11-25T11:59:30.000Z"}]}`},
		{"queued before it", []step{on(kefu.UserMessage), sent(1)}, 3,
			`{"state":"open","remaining":1,"closes_at":"2026-11-25T11:59:30.000Z","opened_by":"user_message","because":"user_message at 2026-11-23T12:00:00.000Z","cause":{"code":"opened","at":"2026-11-23T12:00:00.000Z","trigger":"user_message"},"buckets":[` +
				`{"trigger":"user_message","max":5,"remaining":4,"opened_at":"2026-11-23T12:00:00.000Z","closes_at":"2026-11-25T11:59:30.000Z"}]}`},
		{"queued before it, never below 0", []step{on(kefu.UserMessage), sent(1)}, 9,
			`{"state":"open","remaining":0,"closes_at":"2026-11-25T11:59:30.000Z","opened_by":"user_message","because":"user_message at 2026-11-23T12:00:00.000Z","cause":{"code":"opened","at":"2026-11-23T12:00:00.000Z","trigger":"user_message"},"buckets":[` +
				`{"trigger":"user_message","max":5,"remaining":4,"opened_at":"2026-11-23T12:00:00.000Z","closes_at":"2026-11-25T11:59:30.000Z"}]}`},
		{"no limit", []step{on(kefu.Payment), sent(1)}, 9,
			`{"state":"open","remaining":null,"closes_at":"2026-11-25T11:59:30.000Z","opened_by":"payment","because":"payment at 2026-11-23T12:00:00.000Z","cause":{"code":"opened","at":"2026-11-23T12:00:00.000Z","trigger":"payment"},"buckets":[` +
				`{"trigger":"payment","max":null,"remaining":null,"opened_at":"2026-11-23T12:00:00.000Z","closes_at":"2026-11-25T11:59:30.000Z"}]}`},
		{"no limit, and empty", []step{on(kefu.Payment), refused(45047)}, 0,
			`{"state":"open","remaining":0,"closes_at":"2026-11-25T11:59:30.000Z","opened_by":"payment","because":"WeChat answered 45047 at 2026-11-23T12:00:00.000Z: the allowance is used up; it takes an act of the follower","cause":{"code":"answered","at":"2026-11-23T12:00:00.000Z","errcode":45047},"buckets":[` +
				`{"trigger":"payment","max":null,"remaining":0,"opened_at":"2026-11-23T12:00:00.000Z","closes_at":"2026-11-25T11:59:30.000Z"}]}`},
		{"closed", []step{on(kefu.Menu), at(time.Minute)}, 0,
			`{"state":"closed","remaining":0,"closes_at":null,"opened_by":null,"because":"the window of menu at 2026-11-23T12:00:00.000Z closed at 2026-11-23T12:00:58.000Z; it takes an act of the follower","cause":{"code":"over","at":"2026-11-23T12:00:58.000Z","trigger":"menu"},"buckets":[]}`},
		{"unknown", nil, 0,
			`{"state":"unknown","remaining":null,"closes_at":null,"opened_by":null,"because":"no act of this follower was ever seen; the next message is tried","cause":{"code":"never-seen"},"buckets":[]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := play(t, tt.steps)
			got, err := json.Marshal(x.c.Window(x.p, x.now, tt.ahead))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

// Why the window is what it is.
func TestBecause(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []step
		cause string // code, trigger, errcode, at
		want  string
	}{
		{"used up", []step{on(kefu.UserMessage), sent(5)},
			"used-up user_message 0 12:00:00",
			"all 5 messages that user_message at 2026-11-23T12:00:00.000Z allowed are used up; it takes an act of the follower"},
		{"several used up", []step{on(kefu.UserMessage), on(kefu.Menu), sent(8)},
			"used-up user_message 0 12:00:00",
			"all messages that user_message at 2026-11-23T12:00:00.000Z and others allowed are used up; it takes an act of the follower"},
		{"unfollowed", []step{on(kefu.UserMessage), on(kefu.Unfollow)},
			"unfollowed  0 12:00:00",
			"unfollowed at 2026-11-23T12:00:00.000Z; it takes an act of the follower"},
		{"45015", []step{on(kefu.UserMessage), refused(45015)},
			"answered  45015 12:00:00",
			"WeChat answered 45015 at 2026-11-23T12:00:00.000Z: the window is closed; it takes an act of the follower"},
		{"43004", []step{on(kefu.UserMessage), refused(43004)},
			"answered  43004 12:00:00",
			"WeChat answered 43004 at 2026-11-23T12:00:00.000Z: the person does not follow; it takes an act of the follower"},
		{"a belief", []step{refused(45015)},
			"answered  45015 12:00:00",
			"WeChat answered 45015 at 2026-11-23T12:00:00.000Z: the window is closed; callbacks may be missing, so a message accepted from 2026-11-23T12:01:00.000Z on is tried"},
		{"an old belief", []step{refused(45015), at(time.Minute)},
			"answered  45015 12:00:00",
			"WeChat answered 45015 at 2026-11-23T12:00:00.000Z: the window is closed; the next message is tried"},
		{"an end to belief", []step{refused(45015), sent(1)},
			"answered  0 12:00:00",
			"WeChat accepted a message at 2026-11-23T12:00:00.000Z although nothing was known to be left; the next message is tried"},
		{"elsewhere", []step{elsewhereNow, on(kefu.Menu), at(time.Minute)},
			"elsewhere  0 00:00:00",
			"callbacks of this account go elsewhere; the next message is tried"},
		{"a bucket closed by 45015, another by time", []step{on(kefu.UserMessage), begin, on(kefu.Menu), answer(45015), at(time.Minute)},
			"over menu 0 12:00:58",
			"the window of menu at 2026-11-23T12:00:00.000Z closed at 2026-11-23T12:00:58.000Z; it takes an act of the follower"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := play(t, tt.steps)
			w := x.c.Window(x.p, x.now, 0)
			if w.Because != tt.want {
				t.Errorf("\n%s, want\n%s", w.Because, tt.want)
			}
			if got := fmt.Sprint(w.Cause.Code, " ", w.Cause.Trigger, " ", w.Cause.ErrCode, " ", w.Cause.At.Format(time.TimeOnly)); got != tt.cause {
				t.Errorf("cause %s, want %s", got, tt.cause)
			}
		})
	}
}

// What is stored of a conversation: short, and the same when it comes back.
func TestConversationJSON(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps []step
		want  string
	}{
		{"never seen", nil, `{}`},
		{"one bucket", []step{on(kefu.UserMessage), sent(1)},
			`{"b":[{"t":"user_message","g":1,"m":5,"u":1,"o":"2026-11-23T12:00:00Z","e":"2026-11-25T12:00:00Z"}],"n":1,"h":"2026-11-23T12:00:00Z","t":"2026-11-23T12:00:00Z"}`},
		{"believed closed", []step{refused(45015)},
			`{"r":"2026-11-23T12:00:00Z","a":{"c":45015,"a":"2026-11-23T12:00:00Z"}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := json.Marshal(play(t, tt.steps).c)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

// Whatever clock a time is from, it comes back from the store as it was.
func TestRoundTrip(t *testing.T) {
	x := newTalk(t)
	x.now = time.Now().In(time.FixedZone("Beijing", 8*3600)) // with a monotonic reading
	for _, s := range []step{on(kefu.Unfollow), session(true), begin, answer(45015), begin, answer(0)} {
		s(x)
		if back := through(t, x.c); !reflect.DeepEqual(back, x.c) {
			t.Errorf("it comes back as\n%+v, was\n%+v", back, x.c)
		}
	}
	on(kefu.UserMessage)(x)
	begin(x)
	if back := through(t, x.c); !reflect.DeepEqual(back, x.c) {
		t.Errorf("it comes back as\n%+v, was\n%+v", back, x.c)
	}
}
