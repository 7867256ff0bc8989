package dispatch_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

// An erasure cancels what waits, waits for what is on its way, and leaves a follower
// of whom nothing is known; nobody else notices.
func TestErase(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.UserSends("oUser2")
		r.wechat.Fail(kefutest.Fault{Delay: kefutest.Duration(3 * time.Second), Next: 1})
		slow := r.accept("oUser1", "slow")
		time.Sleep(100 * time.Millisecond)
		r.want("on its way", slow, gateway.Sending)
		behind := r.accept("oUser1", "behind")
		later := gateway.At(time.Now().Add(time.Hour))
		scheduled := r.accept("oUser1", "later", func(s *gateway.Submission) { s.NotBefore = later })
		other := r.accept("oUser2", "other")

		began := time.Now()
		gone, err := r.d.Erase(r.t.Context(), appid, "oUser1")
		if err != nil || gone.Messages != 3 || gone.Lines != 1 {
			r.t.Fatalf("%+v, %v", gone, err)
		}
		if took := time.Since(began); took < 2*time.Second {
			r.t.Errorf("it took %v: what was on its way was not waited for", took)
		}
		for _, id := range []string{slow, behind, scheduled} {
			if _, err := r.store.Message(r.t.Context(), id); err != store.ErrNotFound {
				r.t.Errorf("%s is still there: %v", id, err)
			}
		}
		time.Sleep(2 * time.Hour)
		settle()
		if got := r.received("oUser1"); got != "slow" && got != "slow behind" {
			r.t.Errorf("the follower got %q", got)
		}
		r.want("of somebody else", other, gateway.Sent)
		if w, err := r.d.Window(r.t.Context(), appid, "oUser1"); err != nil || w.State != gateway.WindowUnknown {
			r.t.Errorf("the window is %+v, %v; nothing is known of it", w, err)
		}
		id := r.accept("oUser1", "anew")
		settle()
		r.want("tried, as of one who was never seen", id, gateway.Sent)
	})
}

// Also what an account that is gone has left can be erased.
func TestEraseOfAnAccountThatIsGone(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		for i := range 3 {
			r.accept("oUser1", fmt.Sprint(i))
		}
		settle()
		if err := r.d.DeleteAccount(r.t.Context(), appid); err != nil {
			r.t.Fatal(err)
		}
		if gone, err := r.d.Erase(context.Background(), appid, "oUser1"); err != nil || gone.Messages != 3 {
			r.t.Errorf("%+v, %v", gone, err)
		}
		if gone, err := r.d.Erase(context.Background(), "wxneverwas", "oUser1"); err != nil || gone.Messages != 0 {
			r.t.Errorf("%+v, %v", gone, err)
		}
	})
}

// What may have arrived and waits for its resend holds up no erasure, and is not posted
// to one who was erased.
func TestEraseWhileAResendWaits(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.DropReply)
		id := r.accept("oUser1", "lost", resend)
		settle()
		r.want("the answer was lost", id, gateway.Unknown)
		behind := r.accept("oUser1", "behind")
		if gone, err := r.d.Erase(r.t.Context(), appid, "oUser1"); err != nil || gone.Messages != 2 {
			r.t.Fatalf("%+v, %v", gone, err)
		}
		for _, id := range []string{id, behind} {
			if _, err := r.store.Message(r.t.Context(), id); err != store.ErrNotFound {
				r.t.Errorf("%s is still there: %v", id, err)
			}
		}
		time.Sleep(time.Hour)
		r.wantReceived("nothing after the erasure", "oUser1", "lost")
	})
}

// A passive answer stands beside the push that it answers, and only there: not with one
// who was erased while it was given.
func TestErasedIsNotAnswered(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		push := func(id int64) callback.Event {
			e := callback.TextMessage{Header: callback.Header{ToUserName: "gh_1", FromUserName: "oUser1", CreateTime: time.Now(), MsgType: "text", MsgID: id}, Content: "hi"}
			if _, err := r.d.Receive(r.t.Context(), appid, e); err != nil {
				r.t.Fatal(err)
			}
			return e
		}
		lines := func() (kinds []string) {
			entries, _, err := r.store.Feed(r.t.Context(), "", 10, nil)
			if err != nil {
				r.t.Fatal(err)
			}
			for _, e := range entries {
				kinds = append(kinds, e.Type)
			}
			return kinds
		}
		answer := func(e callback.Event) {
			if err := r.d.Answered(r.t.Context(), appid, e, []byte(`{"msgtype":"text"}`)); err != nil {
				r.t.Error(err)
			}
		}
		first := push(1)
		answer(first)
		if got := lines(); !slices.Equal(got, []string{"follower.message", "conversation.answered"}) {
			r.t.Errorf("%q", got)
		}
		if _, err := r.d.Erase(r.t.Context(), appid, "oUser1"); err != nil {
			r.t.Fatal(err)
		}
		answer(first)
		push(2)
		answer(first)
		if got := lines(); !slices.Equal(got, []string{"follower.message"}) {
			r.t.Errorf("after the erasure: %q", got)
		}
	})
}
