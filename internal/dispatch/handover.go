package dispatch

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// Who answers a follower is a state of the conversation: it is said by a person, by a
// webhook, or by WeChat when a session of its own customer service begins or ends.

// byWeChat is who says so when a session begins or ends.
const byWeChat = "wechat"

// Handover says who answers a follower from now on; see server.Engine. The same again
// changes nothing.
func (d *Dispatcher) Handover(ctx context.Context, appid, openid string, to gateway.Handover, by string) (gateway.Handling, error) {
	l, err := d.enter(ctx, appid, openid)
	if err != nil {
		return gateway.Handling{}, err
	}
	defer d.leave(l)
	if was := l.handling; cmp.Or(was.Handler, gateway.ByBot) == to.Handler && (was.KfAccount == to.KfAccount || to.KfAccount == "") {
		return shown(was), nil
	}
	now := d.Now()
	since := gateway.At(now)
	h := gateway.Handling{Handler: to.Handler, Since: &since, By: by, KfAccount: to.KfAccount}
	if err := d.Store.SetHandling(ctx, now, appid, openid, h, handedOver(l, h)); err != nil {
		return gateway.Handling{}, err
	}
	l.handling = h
	return h, nil
}

// Handling is who answers a follower.
func (d *Dispatcher) Handling(ctx context.Context, appid, openid string) (gateway.Handling, error) {
	l, err := d.enter(ctx, appid, openid)
	if err != nil {
		return gateway.Handling{}, err
	}
	defer d.leave(l)
	return shown(l.handling), nil
}

// shown is h with its default.
func shown(h gateway.Handling) gateway.Handling {
	h.Handler = cmp.Or(h.Handler, gateway.ByBot)
	return h
}

// handedOver is the feed's entry about it.
func handedOver(l *lane, h gateway.Handling) store.Entry {
	data, _ := json.Marshal(struct { // it has nothing that can't be written
		gateway.Handling
		Was gateway.Handler `json:"was"`
	}{h, shown(l.handling).Handler})
	return store.Entry{Account: l.account.appid, OpenID: l.openid, Type: "conversation.changed", Data: data}
}

// sessionOf is who answers after an event of WeChat's own customer service; ok: the
// event is one.
func sessionOf(e callback.Event, now time.Time) (h gateway.Handling, ok bool) {
	since := gateway.At(now)
	h = gateway.Handling{Handler: gateway.ByKf, Since: &since, By: byWeChat}
	switch e := e.(type) {
	case callback.KfCreateSessionEvent:
		h.KfAccount = e.KfAccount
	case callback.KfSwitchSessionEvent:
		h.KfAccount = e.ToKfAccount
	case callback.KfCloseSessionEvent:
		h.Handler = gateway.ByBot
	default:
		return h, false
	}
	return h, true
}

// transfer is the passive reply to a message of a follower who was handed to WeChat's
// customer service and has no session there yet. Events can't be handed on.
func (l *lane) transfer(head callback.Header) callback.Reply {
	if l.handling.Handler != gateway.ByKf || l.handling.By == byWeChat || strings.EqualFold(head.MsgType, "event") {
		return nil
	}
	return callback.TransferCustomerService{KfAccount: l.handling.KfAccount}
}
