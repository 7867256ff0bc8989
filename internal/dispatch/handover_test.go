package dispatch_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// push is a message or event of a follower, as the callback's handler hands it in.
func (r *rig) push(e callback.Event) callback.Reply {
	r.t.Helper()
	reply, err := r.d.Receive(r.t.Context(), appid, e)
	if err != nil {
		r.t.Fatal(err)
	}
	return reply
}

func header(kind, event string, id int64) callback.Header {
	return callback.Header{ToUserName: "gh_1", FromUserName: "oUser1", CreateTime: time.Now().Add(time.Duration(id) * time.Second), MsgType: kind, Event: event, MsgID: id}
}

func writes(id int64) callback.Event {
	return callback.TextMessage{Header: header("text", "", id), Content: "hi"}
}

// A follower handed to WeChat's own service: their next messages, and no events, are
// passed on until its session begins; when that ends, bots answer again.
func TestHandoverToKf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(a *gateway.Account, _ *kefutest.Account) { a.Callbacks = "elsewhere" })
		defer r.close()
		handler := func(want gateway.Handler, by string) {
			t.Helper()
			if h, err := r.d.Handling(t.Context(), appid, "oUser1"); err != nil || h.Handler != want || h.By != by || (h.Since == nil) != (by == "") {
				t.Errorf("%+v %v, want %s by %s", h, err, want, by)
			}
		}
		if reply := r.push(writes(1)); reply != nil {
			t.Errorf("%v before the handover", reply)
		}
		handler(gateway.ByBot, "")
		if _, err := r.d.Handover(t.Context(), appid, "oUser1", gateway.Handover{Handler: gateway.ByKf, KfAccount: "a@b"}, "api key_1"); err != nil {
			t.Fatal(err)
		}
		handler(gateway.ByKf, "api key_1")
		want := callback.TransferCustomerService{KfAccount: "a@b"}
		for _, reply := range []callback.Reply{r.push(writes(2)), r.push(writes(2)), r.push(writes(3))} { // also to a repeat
			if reply != want {
				t.Errorf("%v, want %v", reply, want)
			}
		}
		if reply := r.push(callback.ClickEvent{Header: header("event", "CLICK", 4)}); reply != nil {
			t.Errorf("an event is passed on: %v", reply)
		}
		r.stop()
		r.start()
		if reply := r.push(writes(5)); reply != want {
			t.Errorf("after a restart: %v", reply)
		}
		r.push(callback.KfCreateSessionEvent{Header: header("event", "kf_create_session", 6), KfAccount: "a@b"})
		handler(gateway.ByKf, "wechat")
		if reply := r.push(writes(7)); reply != nil {
			t.Errorf("in a session: %v", reply)
		}
		r.push(callback.KfSwitchSessionEvent{Header: header("event", "kf_switch_session", 8), FromKfAccount: "a@b", ToKfAccount: "c@b"})
		if h, _ := r.d.Handling(t.Context(), appid, "oUser1"); h.KfAccount != "c@b" {
			t.Errorf("%+v", h)
		}
		r.push(callback.KfCloseSessionEvent{Header: header("event", "kf_close_session", 9), KfAccount: "c@b"})
		handler(gateway.ByBot, "wechat")

		entries, _, err := r.store.Feed(t.Context(), "", 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range entries {
			if e.Type == "conversation.changed" {
				var d struct{ Was, Handler string }
				json.Unmarshal(e.Data, &d)
				told = append(told, d.Was+">"+d.Handler)
			}
		}
		if got := strings.Join(told, " "); got != "bot>kf kf>kf kf>kf kf>bot" {
			t.Errorf("the feed tells %s", got)
		}
	})
}

// The same again changes nothing and says nothing.
func TestHandoverTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		defer r.close()
		for _, to := range []gateway.Handler{gateway.ByBot, gateway.ByAgent, gateway.ByAgent, gateway.ByNone} {
			if h, err := r.d.Handover(t.Context(), appid, "oUser1", gateway.Handover{Handler: to}, "api key_1"); err != nil || h.Handler != to {
				t.Errorf("%+v %v", h, err)
			}
		}
		entries, _, _ := r.store.Feed(t.Context(), "", 1000, nil)
		if len(entries) != 2 {
			t.Errorf("%+v", entries)
		}
		if _, err := r.d.Handover(t.Context(), "wxnone", "oUser1", gateway.Handover{Handler: gateway.ByAgent}, "x"); err == nil {
			t.Error("an account that there is not")
		}
	})
}

// What WeChat tells of the account's jobs is in the feed once, and makes no conversation
// with the sender, whom nobody can answer.
func TestJobsOfTheAccountAreNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(a *gateway.Account, _ *kefutest.Account) { a.Callbacks = "elsewhere" })
		defer r.close()
		h := header("event", "PUBLISHJOBFINISH", 1)
		h.FromUserName = "mphelper"
		for range 2 {
			r.push(callback.PublishJobFinishEvent{Header: h, PublishID: "1"})
		}
		h.Event = "MASSSENDJOBFINISH"
		r.push(callback.MassSendJobFinishEvent{Header: h, Status: "send success"})
		r.push(writes(2))
		entries, _, err := r.store.Feed(t.Context(), "", 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range entries {
			told = append(told, e.Type+" "+e.OpenID)
		}
		if got := strings.Join(told, ", "); got != "follower.event , follower.event , follower.message oUser1" {
			t.Errorf("the feed tells %s", got)
		}
		lines, err := r.store.Timeline(t.Context(), appid, "oUser1", "", 10)
		if err != nil || len(lines.Items) != 1 { // the views have gone past it
			t.Errorf("timeline: %+v, %v", lines.Items, err)
		}
		page, err := r.store.Conversations(t.Context(), nil, "", 10)
		if err != nil || len(page.Items) != 1 || page.Items[0].OpenID != "oUser1" {
			t.Errorf("conversations: %+v, %v", page.Items, err)
		}
	})
}
