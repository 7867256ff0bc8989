package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// What the business's own callback answers passively is on the phone and in the thread,
// at once and after the page is loaded anew, and takes nothing from the allowance.
func TestDeskPassiveAnswer(t *testing.T) {
	o := openOffice(t)
	a := kefutest.DefaultAccount
	business := httptest.NewServer(&callback.Handler{AppID: a.AppID, Token: a.Token, AESKey: a.AESKey, Receive: func(_ context.Context, e callback.Event) (callback.Reply, error) {
		m, ok := e.(callback.TextMessage)
		switch {
		case ok && m.Content == "几点开门":
			return callback.Text{Content: "每天九点 <b>，详见 https://example.com/hours"}, nil
		case ok && m.Content == "有什么新茶":
			return callback.News{Articles: []callback.Article{{Title: "白毫银针上市", Description: "今年的新茶", URL: "https://example.com/tea"}}}, nil
		}
		return nil, nil
	}})
	t.Cleanup(business.Close)
	put(t, o.p.url()+"/v1/accounts/"+a.AppID, quote(object{"name": "客服演示", "callback_forward": business.URL}))
	o.wechat.UserSends("oMei", "在吗")
	s := o.sit("ann")
	s.open("oMei")
	p := openPhone(t, o.wechat.URL+"/?lang=zh&openid=oMei")
	answered := `[...document.querySelectorAll('.m.out[data-state=passive]')]`
	for i, c := range []struct{ asked, said, link string }{
		{"几点开门", "每天九点 <b>，详见", "https://example.com/hours"},
		{"有什么新茶", "白毫银针上市", "https://example.com/tea"},
	} {
		o.wechat.UserSends("oMei", c.asked)
		p.shows(c.said)
		s.until(fmt.Sprintf(`%s.length === %d`, answered, i+1))
		s.until(fmt.Sprintf(`%s[%d].textContent.includes(%q) && %[1]s[%[2]d].textContent.includes("Passive answer of the callback") && %[1]s[%[2]d].querySelector('a').href === %[4]q`, answered, i, c.said, c.link))
	}
	if w := must[gateway.Window](t, "window")(o.boss.Window(t.Context(), a.AppID, "oMei")); w.Remaining == nil || *w.Remaining != 5 {
		t.Errorf("a passive answer has taken from the allowance: %+v", w)
	}
	if n := len(o.wechat.Sent("oMei")); n != 0 {
		t.Errorf("%d messages were sent besides", n)
	}
	s.again()
	s.until(answered + `.length === 2`)
	if got := eval[[]string](s.phone, `[...document.querySelectorAll('.log .m')].map((m) => m.dataset.state ?? 'in')`); fmt.Sprint(got) != "[in in passive in passive]" {
		t.Errorf("the thread is %v", got)
	}
	o.shoot(s, "passive")
}

// Who answers: the bot, agents or WeChat's own desk, said by an agent, by a webhook and by
// WeChat; it is in the head of the thread, on the card and, with who said so, in a line.
func TestDeskHandover(t *testing.T) {
	o := openOffice(t)
	app := kefutest.DefaultAccount.AppID
	crypt := must[*callback.Crypt](t, "crypt")(callback.NewCrypt(app, kefutest.DefaultAccount.Token, kefutest.DefaultAccount.AESKey))
	o.wechat.UserSends("oMei", "在吗")
	s := o.sit("ann")
	s.open("oMei")
	is := func(card, head string) {
		t.Helper()
		s.until(`[...document.querySelectorAll('.card dd')].some((d) => d.textContent === ` + quote(card) + `)`)
		s.until(`[...document.querySelectorAll('.th header .tagc')].map((n) => n.textContent).filter((words) => words !== "Nobody's").join() === ` + quote(head))
	}
	told := func(words string) {
		t.Helper()
		s.until(`[...document.querySelectorAll('.log .ev')].slice(-2).some((e) => e.textContent.includes(` + quote(words) + `))`)
	}
	offers := func() []string {
		s.js(`document.querySelector('#menu-more').click()`)
		s.until(`!!document.querySelector('.th header [role=menuitem]')`)
		all := eval[[]string](s.phone, `[...document.querySelectorAll('.th header [role=menuitem]')].map((i) => i.textContent.trim()).filter((w) => w.startsWith('Hand'))`)
		s.js(`document.querySelector('#menu-more').click()`)
		s.until(`!document.querySelector('.th header [role=menuitem]')`)
		return all
	}
	hand := func(words string) {
		t.Helper()
		s.js(`document.querySelector('#menu-more').click()`)
		s.press(".th header [role=menu]", words)
	}
	kf := `document.querySelector('.cmp .ban')?.textContent.includes("Handed to WeChat")`

	is("the bot", "") // nobody has said anything yet
	if got := fmt.Sprint(offers()); got != "[Hand to agents Hand to WeChat's own desk]" {
		t.Errorf("offered: %s", got)
	}
	hand("Hand to agents")
	is("agents", "agents")
	told("ann: now handled by agents")
	hand("Hand to WeChat's own desk")
	is("WeChat's own desk", "WeChat's own desk")
	told("ann: now handled by WeChat's own desk")
	s.until(kf)
	o.shoot(s, "handover-kf")

	// What the follower writes now goes to WeChat's desk, by the passive reply; then WeChat
	// tells that a worker has taken it, and that it is over.
	o.wechat.UserSends("oMei", "还有白茶吗")
	s.heard("还有白茶吗")
	if chat := o.wechat.Chat("oMei"); chat[len(chat)-1].Kind != "transfer_customer_service" {
		t.Errorf("the last line at WeChat is %+v", chat[len(chat)-1])
	}
	o.pushed(t, crypt, "oMei", 0, "<MsgType>event</MsgType><Event>kf_create_session</Event><KfAccount>%s</KfAccount>", "xiaowei@demo")
	told("was taken by WeChat's own customer service")
	is("WeChat's own desk", "WeChat's own desk")
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // WeChat's times are whole seconds
	o.pushed(t, crypt, "oMei", 0, "<MsgType>event</MsgType><Event>kf_close_session</Event><KfAccount>%s</KfAccount>", "xiaowei@demo")
	is("the bot", "")
	told("WeChat: now handled by the bot")
	s.until("!(" + kf + ")")

	// Taken back by the banner's button.
	hand("Hand to WeChat's own desk")
	s.until(kf)
	s.press(".cmp .ban", "Take back")
	is("agents", "agents")
	s.until("!(" + kf + ")")

	// A bot calls a person.
	hand("Hand to the bot")
	is("the bot", "")
	receive(t, o.p, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"messages":[{"msgtype":"text","text":{"content":"请稍等，我叫同事"}}],"handover":"agent"}`)
	})
	o.wechat.UserSends("oMei", "转人工")
	is("agents", "agents")
	s.until(`[...document.querySelectorAll('.log .ev')].some((e) => e.textContent.includes("bot: now handled by agents"))`)
	s.bubble("请稍等，我叫同事", "sent")
	o.arrives("oMei", "请稍等，我叫同事")
	s.again()
	is("agents", "agents")
	s.until(`document.querySelectorAll('.log .ev').length >= 10`) // the lines come after the head
	if got := eval[[]string](s.phone, `[...document.querySelectorAll('.log .ev')].map((e) => e.textContent.replace(/^\s*[\d:]+\s*/, ''))`); len(got) != 10 {
		t.Errorf("%d lines of who answers: %q", len(got), got)
	}
	o.shoot(s, "handover")
}
