package dispatch_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// Each attempt says what it left of the allowance that its message was taken from.
func TestAttemptsSayWhatTheyLeft(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		want := func(what, id string, lefts ...string) {
			t.Helper()
			attempts, err := r.store.Attempts(r.t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range attempts {
				line := a.Outcome
				if a.Allowance != nil {
					line += fmt.Sprintf(" %s %d/%d", a.Allowance.Trigger, a.Allowance.Left, a.Allowance.Max)
				}
				got = append(got, line)
			}
			if !slices.Equal(got, lefts) {
				t.Errorf("%s: %q, want %q", what, got, lefts)
			}
		}
		r.wechat.UserSends("oUser1")
		first := r.accept("oUser1", "1")
		settle()
		r.wechat.Fail(kefutest.Fault{ErrCode: -1, Next: 1})
		busy := r.accept("oUser1", "2")
		time.Sleep(10 * time.Second)
		r.wechat.Fail(kefutest.DropReply)
		lost := r.accept("oUser1", "3")
		settle()
		last := []string{r.accept("oUser1", "4"), r.accept("oUser1", "5")}
		settle()
		want("the first of five", first, "sent user_message 4/5")
		want("a refusal takes none", busy, "refused", "sent user_message 3/5")
		want("a lost answer may have taken one", lost, "unknown user_message 2/5")
		want("before the last", last[0], "sent user_message 1/5")
		want("the last", last[1], "sent user_message 0/5")

		if _, err := r.wechat.Does("oUser2", "click", kefutest.Details{}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.wechat.Does("oPayer", "pay", kefutest.Details{}); err != nil {
			t.Fatal(err)
		}
		menu := r.accept("oUser2", "1")
		tried := r.accept("oStranger", "1", func(s *gateway.Submission) { s.WhenClosed = gateway.Try })
		paid := r.accept("oPayer", "1")
		settle()
		want("of the menu's three", menu, "sent menu 2/3")
		want("of no window that is known", tried, "refused")
		r.wechat.UserSends("oUser2")
		if _, err := r.wechat.Does("oUser2", "click", kefutest.Details{}); err != nil {
			t.Fatal(err)
		}
		both := r.accept("oUser2", "2")
		settle()
		attempts, err := r.store.Attempts(r.t.Context(), both)
		if err != nil || attempts[0].Allowance == nil || attempts[0].Allowance.Left != 2 || attempts[0].Allowance.Remaining == nil || *attempts[0].Allowance.Remaining != 7 {
			t.Errorf("of the menu's three, beside five: %+v, %v", attempts[0].Allowance, err)
		}
		want("a payment, of which nothing is told", paid, "sent")
	})
}

// A push that comes once more after the store has forgotten it gives nothing anew; a
// first one that is as late opens what is left of its window.
func TestOldPushesGiveNothingTwice(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		left := func(openid string) int {
			w, err := r.d.Window(r.t.Context(), appid, openid)
			if err != nil || w.Remaining == nil {
				t.Fatalf("%+v, %v", w, err)
			}
			return *w.Remaining
		}
		hi := callback.TextMessage{Header: callback.Header{FromUserName: "oUser1", MsgType: "text", CreateTime: time.Now().Truncate(time.Second)}, Content: "hi"}
		hi.MsgID = 17
		r.wechat.UserSends("oUser1")
		r.push(hi)
		r.accept("oUser1", "1")
		settle()
		for _, later := range []time.Duration{time.Minute, 25 * time.Hour} {
			time.Sleep(later)
			r.push(hi)
			if n := left("oUser1"); n != 4 {
				t.Errorf("%v later: %d left, want 4", later, n)
			}
		}
		first := hi
		first.FromUserName, first.MsgID = "oUser2", 18
		r.push(first)
		if n := left("oUser2"); n != 5 {
			t.Errorf("%d left of a push that was late, want 5", n)
		}
	})
}
