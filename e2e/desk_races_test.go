package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// first has every page of the tab run a script before its own. In it, real is fetch as
// the browser has it, and pause waits, in ms.
func (s *seat) first(script string) {
	s.t.Helper()
	if _, err := chromedp.Call(s.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: `{
		const real = window.fetch, pause = (ms) => new Promise((go) => setTimeout(go, ms));
		` + script + `
	}`}); err != nil {
		s.t.Fatal(err)
	}
}

// goTo loads a page of the console.
func (s *seat) goTo(path string) {
	s.t.Helper()
	s.do(chromedp.Navigate(s.at + "/console" + path + "?lang=en"))
	s.until(`!!document.querySelector('.tabs')`)
}

func conversation(openid string) string { return "/c/" + kefutest.DefaultAccount.AppID + "/" + openid }

// What is asked for as the page opens is kept: a thread that was loaded before the feed
// is followed is loaded once more, without going blank and with what came in between.
func TestDeskOpensWithoutGap(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	for name, slow := range map[string]string{
		"the feed begins late":              `{head: 700, answer: 0}`,
		"and the thread's answer is slower": `{head: 700, answer: 1500}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := o.sit("ann")
			s.t = t
			s.first(`
				const slow = ` + slow + `;
				let threads = 0;
				window.fetch = async (address, ...rest) => {
					if (String(address).includes('/v1/events/head')) await pause(slow.head);
					const answer = await real(address, ...rest);
					if (String(address).includes('/timeline')) {
						window.asked = true;
						if (!threads++) await pause(slow.answer);
					}
					return answer;
				};
				new MutationObserver(() => {
					const n = document.querySelectorAll('.log .m').length;
					if (n) window.drawn = true;
					else if (window.drawn) window.blank = true;
				}).observe(document, {childList: true, subtree: true});`)
			s.goTo(conversation("oMei"))
			s.until(`window.asked`)
			text := "between, " + name
			o.wechat.UserSends("oMei", text)
			s.heard(text)
			o.wechat.UserSends("oMei", "after "+text)
			s.heard("after " + text)
			if eval[bool](s.phone, `!!window.blank`) {
				t.Error("the thread went blank")
			}
			if n := eval[int](s.phone, `[...document.querySelectorAll('.log .m')].filter((m) => m.textContent.includes(`+quote(text)+`)).length`); n != 2 {
				t.Errorf("%d lines of the two", n)
			}
		})
	}
}

// An answer whose outcome the page doesn't know goes out once, however it is repeated:
// by Enter, after another conversation, after a reload, by clicks in a row.
func TestDeskAnswersOnce(t *testing.T) {
	o := openOffice(t)
	for _, f := range []string{"oMei", "oLi"} {
		o.wechat.UserSends(f, "在吗")
	}
	s := o.sit("ann")
	s.first(`
		window.fetch = async (address, ...rest) => {
			const answer = await real(address, ...rest);
			if (window.cut && String(address).endsWith('/v1/messages')) throw new TypeError('cut');
			return answer;
		};`)
	sent := func(what string, n int) {
		t.Helper()
		for end := time.Now().Add(patience); len(o.wechat.Sent("oMei")) < n && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
		o.wechat.UserSends("oLi", what) // by now whatever else was handed over has arrived
		s.heard(what)
		if got := o.wechat.Sent("oMei"); len(got) != n {
			t.Errorf("%s: %d messages arrived, want %d", what, len(got), n)
		}
	}
	s.expect("409") // typing, where WeChat would not show it
	again := func() {
		s.js(`document.querySelector('#reply').focus()`)
		s.enter()
	}
	s.goTo("")
	s.all()
	s.open("oMei")
	s.js(`window.cut = true`)
	s.write("有货")
	s.enter()
	s.until(`document.querySelector('.toasts').textContent.trim() !== ''`)
	s.bubble("有货", "sent") // by the feed
	again()
	s.open("oLi")
	s.open("oMei")
	again()
	s.goTo("") // and that page is not cut
	s.all()
	s.open("oMei")
	s.until(`document.querySelector('#reply').value === '有货'`)
	again()
	s.until(`document.querySelector('#reply').value === ''`)
	s.open("oLi")
	sent("repeated", 1)
	s.open("oMei")
	s.answer("有货") // known to have ended: the same words are a new answer
	s.open("oLi")
	sent("said again", 2)

	s.open("oMei")
	s.js(`document.querySelector('#kinds').click()`)
	s.until(`!!document.querySelector('.tg')`)
	s.js(`document.querySelector(".tg button:nth-child(5)").click()`) // an article
	s.until(`!!document.querySelector('#kf-url')`)
	for name, v := range map[string]string{"title": "茶", "url": "https://example.com/"} {
		s.js(`{ const el = document.querySelector('#kf-` + name + `'); el.focus(); document.execCommand('insertText', false, ` + quote(v) + `) }`)
	}
	s.js(`for (let i = 0; i < 3; i++) document.querySelector('.kform').requestSubmit()`)
	s.until(`!document.querySelector('.kform')`)
	s.open("oLi")
	sent("submitted thrice", 3)
}

// What is typed about one follower stays theirs.
func TestDeskNotesStayWithTheirFollower(t *testing.T) {
	o := openOffice(t)
	for _, f := range []string{"oMei", "oLi"} {
		o.wechat.UserSends(f, "在吗")
	}
	s := o.sit("ann")
	s.open("oMei")
	s.js(`document.querySelector('.card [aria-label="Write a note"]').click()`)
	s.until(`!!document.querySelector('.card textarea[name=note]')`)
	s.js(`{ const el = document.querySelector('.card textarea[name=note]'); el.focus(); document.execCommand('insertText', false, '爱喝白茶') }`)
	s.open("oLi")
	s.until(`!document.querySelector('.card textarea[name=note]')`)

	// A name that is being typed is not overwritten by what happens meanwhile.
	s.js(`document.querySelector('.card h2 button').click()`)
	s.until(`!!document.querySelector('.card [name=remark]')`)
	s.js(`{ const el = document.querySelector('.card [name=remark]'); el.focus(); document.execCommand('insertText', false, '李') }`)
	o.wechat.UserSends("oLi", "还在吗")
	s.heard("还在吗")
	s.until(`document.querySelector('.card [name=remark]').value === '李'`)
}

// Older lines are not new ones, and what is scrolled to is read.
func TestDeskCountsWhatIsNew(t *testing.T) {
	o := openOffice(t)
	for i := range 130 {
		o.wechat.UserSends("oMei", fmt.Sprint("第 ", i+1, " 句"))
	}
	s := o.sit("ann")
	s.open("oMei")
	s.heard("第 130 句")
	s.until(`(document.querySelector('.scroll').scrollTop = -1e6, [...document.querySelectorAll('.log .m')].some((m) => m.textContent.includes('第 20 句')))`)
	if got := eval[string](s.phone, `document.querySelector('.pill.down')?.textContent ?? ''`); got != "" {
		t.Errorf("the pill says %q, and nothing came", got)
	}
	o.wechat.UserSends("oMei", "新的一句")
	s.until(`document.querySelector('.pill.down')?.textContent.includes('1 new')`)
	unread := func() int {
		return must[gateway.Conversation](t, "conversation")(o.boss.Conversation(t.Context(), kefutest.DefaultAccount.AppID, "oMei")).Unread
	}
	if n := unread(); n != 1 {
		t.Errorf("%d unread while another line is looked at", n)
	}
	s.js(`document.querySelector('.pill.down').click()`)
	s.heard("新的一句")
	for end := time.Now().Add(patience); unread() != 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what was scrolled to stays unread")
		}
	}
}

// A list of which a part could not be had is completed.
func TestDeskListIsCompleted(t *testing.T) {
	o := openOffice(t)
	for i := range 140 {
		o.wechat.UserSends(fmt.Sprintf("oFollower%03d", i), "在吗")
	}
	s := o.sit("ann")
	s.expect("Failed to load")
	s.first(`
		let failed = 0;
		window.fetch = async (address, ...rest) => {
			const list = String(address).startsWith('/v1/conversations?');
			if (list && String(address).includes('cursor=') && !failed++) throw new TypeError('cut');
			return real(address, ...rest);
		};`)
	s.goTo("")
	s.all()
	s.until(`document.querySelector('.tabs').textContent.includes('140')`)
	if eval[bool](s.phone, `!!document.querySelector('.lst .empty')`) {
		t.Error("the list says that it failed")
	}
}
