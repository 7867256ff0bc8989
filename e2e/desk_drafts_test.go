package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu/gateway"
)

// What is written for the team never turns into an answer, whatever happens between
// the first letter and the last.
func TestDeskNoteStaysANote(t *testing.T) {
	o := openOffice(t)
	for _, f := range []string{"oMei", "oLi"} {
		o.wechat.UserSends(f, "在吗")
	}
	s := o.sit("ann")
	s.expect("409") // typing, where WeChat would not show it
	s.open("oMei")
	s.write("先答一半")
	s.js(`document.querySelector('#note-mode').click()`)
	s.until(`!!document.querySelector('.box.nte') && document.querySelector('#reply').value === ''`)
	s.write("别给他优惠")
	s.open("oLi")
	if got := eval[string](s.phone, `document.querySelector('#reply').value`); got != "" {
		t.Errorf("oLi's box has %q", got)
	}
	s.open("oMei")
	s.until(`!!document.querySelector('.box.nte') && document.querySelector('#reply').value === '别给他优惠'`)
	s.js(`document.querySelector('#note-mode').click()`)
	s.until(`!document.querySelector('.box.nte') && document.querySelector('#reply').value === '先答一半'`)
	s.again()
	s.open("oMei")
	s.until(`!document.querySelector('.box.nte') && document.querySelector('#reply').value === '先答一半'`)
	s.answer("，再答一半")
	s.bubble("先答一半，再答一半", "sent")

	// Alone, it opens as what it is.
	s.again()
	s.open("oMei")
	s.until(`!!document.querySelector('.box.nte') && document.querySelector('#reply').value === '别给他优惠'`)
	s.js(`document.querySelector('#reply').focus()`)
	s.enter()
	s.until(`document.querySelector('.log .nt')?.textContent.includes('别给他优惠')`)
	s.until(`!document.querySelector('.box.nte') && document.querySelector('#reply').value === ''`)
	o.arrives("oMei", "先答一半，再答一半")

	// A form that is being filled in is there when its follower is opened again.
	s.js(`document.querySelector('#kinds').click()`)
	s.until(`!!document.querySelector('.tg')`)
	s.js(`document.querySelector(".tg button:nth-child(5)").click()`) // an article
	s.until(`!!document.querySelector('#kf-title')`)
	s.js(`{ const el = document.querySelector('#kf-title'); el.focus(); document.execCommand('insertText', false, '茶') }`)
	s.open("oLi")
	s.open("oMei")
	s.until(`document.querySelector('#kf-title')?.value === '茶'`)
}

// Drafts are their writer's, at a desk that several use one after the other.
func TestDeskDraftsAreTheirWriters(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	s := o.sit("ann")
	s.expect("409")
	s.expect("401") // while nobody is signed in
	s.open("oMei")
	s.write("安的草稿")
	s.enterAs("bob")
	s.open("oMei")
	if got := eval[string](s.phone, `document.querySelector('#reply').value`); got != "" {
		t.Errorf("bob has %q", got)
	}
	if eval[bool](s.phone, `document.querySelector('.lst').textContent.includes('安的草稿')`) {
		t.Error("bob's list shows it")
	}
	s.enterAs("ann")
	s.open("oMei")
	s.until(`document.querySelector('#reply').value === '安的草稿'`)
}

// enterAs has another agent sign in at the same browser.
func (s *seat) enterAs(name string) {
	s.t.Helper()
	s.js(`window.left = fetch('/v1/session', { method: 'DELETE' }).then(() => (window.out = true))`)
	s.until(`window.out === true`)
	s.do(chromedp.Navigate("about:blank"), chromedp.Navigate(s.at+"/console?lang=en#link="+s.o.link(name, gateway.Leads)))
	s.until(`!location.hash`)
	s.all()
}

// A parked text that is longer than one message leaves in its parts when it is let out,
// and what was called off can be sent after all.
func TestDeskLetsALongTextOut(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	s := o.sit("ann")
	s.open("oMei")
	for i := range 3 {
		s.answer(fmt.Sprintf("第 %d 条", i+1))
		s.bubble(fmt.Sprintf("第 %d 条", i+1), "sent")
	}
	for _, name := range []string{"甲", "乙"} { // they leave the last two for live answers
		text := name + strings.Repeat("很长的话，", 200)
		m, err := o.boss.Send(t.Context(), gateway.Request{
			Message:  json.RawMessage(quote(object{"touser": "oMei", "msgtype": "text", "text": object{"content": text}})),
			LongText: "split", Priority: gateway.Bulk, WhenClosed: gateway.Park,
		}, gateway.SendOptions{})
		if err != nil || m.Parts != 2 {
			t.Fatalf("%d parts, %v", m.Parts, err)
		}
		s.bubble(name, "parked")
	}
	s.press(`.m[data-state=parked]`, "Send now") // the first
	s.bubble("甲", "canceled")
	s.bubble("甲", "sent")
	if n := len(o.wechat.Sent("oMei")); n != 5 {
		t.Errorf("%d messages arrived, want 3 and 2 parts", n)
	}
	s.press(`.m[data-state=parked]`, "Cancel")
	s.bubble("乙", "canceled")
	o.wechat.UserSends("oMei", "还有呢")
	s.js(`[...document.querySelectorAll('.m[data-state=canceled]')].at(-1).querySelector('.st button').click()`)
	s.bubble("乙", "sent")
}

// An answer of the gateway that breaks off in the middle changes nothing.
func TestDeskOutlivesHalfAnAnswer(t *testing.T) {
	o := openOffice(t)
	for _, f := range []string{"oMei", "oLi"} {
		o.wechat.UserSends(f, "在吗")
	}
	s := o.sit("ann")
	s.first(`
		window.broken = 0;
		window.fetch = async (address, ...rest) => {
			const answer = await real(address, ...rest);
			if (!/\/v1\/conversations\/[^/]+\/oMei$/.test(String(address)) || window.broken++ > 1) return answer;
			return new Response('{"account":"wx', { status: 200, headers: { 'Content-Type': 'application/json' } });
		};`)
	s.goTo("")
	s.all()
	o.wechat.UserSends("oMei", "还在吗")
	s.until(`window.broken > 2`)
	o.wechat.UserSends("oLi", "说句话")
	s.until(`document.querySelector('a.cr[data-key$="oLi"]').textContent.includes('说句话')`)
	s.until(`document.querySelector('a.cr[data-key$="oMei"]').textContent.includes('还在吗')`)
}

// More one-minute windows than there is room for on top are reached all the same, and
// what comes to the top rings for those who asked for it.
func TestDeskReachesEveryMinuteWindow(t *testing.T) {
	o := openOffice(t)
	s := o.sit("ann")
	s.js(`fetch('/v1/session/settings', { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: '{"sound":true}' }).then(() => (window.set = true))`)
	s.until(`window.set`)
	s.first(`
		window.rang = 0;
		const make = AudioContext.prototype.createOscillator;
		AudioContext.prototype.createOscillator = function () { window.rang++; return make.call(this); };`)
	s.again()
	s.enter()                                                  // a page that nobody has touched may not sound
	s.js(`document.querySelector('.tabs [role=tab]').click()`) // mine: none of them
	for i := range 7 {
		o.wechat.Scans(fmt.Sprint("oScan", i), "7")
		o.wechat.UserSends(fmt.Sprint("oScan", i), "在吗")
	}
	s.until(`document.querySelectorAll('.hots a.cr').length === 4`)
	for i := range 7 {
		s.until(fmt.Sprintf(`!!document.querySelector('a.cr[data-key$="oScan%d"]')`, i))
	}
	s.until(`window.rang > 0 && document.title.startsWith('⏱')`)
	s.js(`document.activeElement.blur()`)
	for range 8 {
		s.js(`document.dispatchEvent(new KeyboardEvent('keydown', { key: 'j', bubbles: true }))`)
	}
	s.until(`document.querySelector('.rows .placed:nth-child(3) a.cr')?.getAttribute('aria-current') === 'page'`)
}

// A browser has six connections to one host: tabs that nobody looks at share one feed.
func TestDeskManyTabs(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	first := o.sit("ann")
	tabs := []*phone{first.phone}
	for range 7 {
		tabs[len(tabs)-1].js(`Object.defineProperty(document, 'hidden', { get: () => !window.looked, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))`)
		tabs = append(tabs, beside(t, first.phone, first.at+"/console?lang=en", ".tabs"))
	}
	last := &seat{phone: tabs[7], o: o, at: first.at}
	last.all()
	last.open("oMei")
	last.answer("第八页也能答")
	o.arrives("oMei", "第八页也能答")
	tabs[3].js(`window.looked = true; document.dispatchEvent(new Event('visibilitychange'))`)
	third := &seat{phone: tabs[3], o: o, at: first.at}
	third.all()
	third.open("oMei")
	third.bubble("第八页也能答", "sent")
}

// A line that can't be drawn shows what is known of it, and a page that can't says so;
// everything around them goes on.
func TestDeskOutlivesWhatItCannotDraw(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	s := o.sit("ann")
	s.open("oMei")
	s.answer("第一条")
	s.bubble("第一条", "sent")
	s.first(`
		console.error = () => (window.told = (window.told ?? 0) + 1);
		window.fetch = async (address, ...rest) => {
			const answer = await real(address, ...rest);
			const bad = (change) => answer.clone().json().then((v) => (change(v), new Response(JSON.stringify(v), { status: 200, headers: { 'Content-Type': 'application/json' } })));
			if (/\/timeline/.test(String(address)) && !window.whole) return bad((v) => v.items.forEach((l) => l.message && (l.message.message = { msgtype: 'news', news: { articles: 7 } })));
			if (/\/v1\/messages\?/.test(String(address)) && !window.whole) return bad((v) => v.items.forEach((m) => (m.openid = null)));
			return answer;
		};`)
	s.again()
	s.until(`document.querySelector('.log [role=group][aria-label="This line could not be shown"] pre')?.textContent.includes('"articles": 7')`)
	s.heard("在吗")
	o.wechat.UserSends("oMei", "还在吗")
	s.heard("还在吗")
	s.answer("第二条")
	s.bubble("第二条", "sent")

	s.js(`document.querySelector('.rail a[href="/console/messages"]').click()`)
	s.until(`document.querySelector('main [role=alert]')?.textContent.includes('This could not be shown')`)
	s.js(`(window.whole = true, document.querySelector('main [role=alert] button').click())`)
	s.until(`document.querySelectorAll('main tbody tr').length === 2 && window.told >= 2`)
}
