package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// turnTo loads an operators' page and waits for what shows that it is there.
func (s *seat) turnTo(path, ready string) {
	s.t.Helper()
	s.do(chromedp.Navigate(s.at + "/console/" + path))
	s.until(`!!document.querySelector(` + quote(ready) + `)`)
}

// textFor is a request for a text to oMei.
func textFor(content string) object {
	return object{"message": object{"touser": "oMei", "msgtype": "text", "text": object{"content": content}}}
}

// An answer to what was asked for before is dropped, however late it comes: what is seen
// and what is chosen are of the filters, the call and the time that are set now.
func TestOpsLateAnswers(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	o.send(textFor("到了一"))
	o.send(textFor("到了二"))
	for i := range 2 {
		o.wechat.Fail(kefutest.ErrCode(45002))
		o.send(textFor(fmt.Sprint("拒收 ", i)))
	}
	s := o.sit("ann")
	s.expect("409") // typing, where WeChat would not show it
	s.first(`
		window.asked = [];
		window.fetch = async (address, ...rest) => {
			const a = String(address).replace('limit=50', 'limit=' + (sessionStorage.limit ?? 50));
			if (a.startsWith('/v1/events?')) return new Promise(() => {}); // the page's time is by the answers alone
			window.asked.push(a);
			const answer = await real(a, ...rest);
			if (window.slow && a.includes(window.slow)) {
				await pause(1200);
				window.late = true;
			}
			const headers = new Headers(answer.headers);
			if (window.ahead) headers.set('Kefu-Time', Number(headers.get('Kefu-Time')) + window.ahead);
			return new Response(answer.body, {status: answer.status, headers});
		};`)
	slowly := func(part string) { s.js(`window.late = false; window.slow = ` + quote(part)) }
	drawn := func() {
		t.Helper()
		s.js(`window.seen = false; setTimeout(() => window.seen = true, 300)`)
		s.until(`window.seen`)
	}
	late := func() {
		t.Helper()
		s.until(`window.late`)
		s.js(`window.slow = ''`)
		drawn()
	}
	filter := func(name string) { s.press(".filt", name) }
	rows := func(want ...string) {
		t.Helper()
		s.until(`document.querySelectorAll('tbody tr').length === ` + fmt.Sprint(len(want)))
		if got := eval[string](s.phone, `document.querySelector('.tblw').textContent`); len(want) > 0 {
			for _, text := range want {
				if !strings.Contains(got, text) {
					t.Errorf("no %s in %s", text, got)
				}
			}
		}
	}

	part := func(name string, run func(t *testing.T)) {
		t.Run(name, func(t *testing.T) { s.t = t; run(t) })
		s.t = t
	}

	part("filters", func(t *testing.T) {
		s.turnTo("messages?lang=en", "tbody tr")
		slowly("state=failed")
		filter("Failed")
		filter("Accepted")
		rows("到了一", "到了二")
		late()
		rows("到了一", "到了二")
	})
	part("what can't be seen is not chosen", func(t *testing.T) {
		s.turnTo("messages?lang=en&state=sent", "tbody tr")
		s.js(`document.querySelector('thead .cb').click()`)
		s.until(`document.querySelector('.bulk')?.textContent.includes('2 chosen')`)
		slowly("state=failed")
		filter("Failed")
		rows()
		if eval[bool](s.phone, `!!document.querySelector('.bulk')`) {
			t.Error("something can be done to rows that are gone")
		}
		late()
		rows("拒收 0", "拒收 1")
		s.until(`document.querySelector('.bulk')?.textContent.includes('All that match')`)
	})
	part("further rows", func(t *testing.T) {
		s.js(`sessionStorage.limit = 1`)
		s.turnTo("messages?lang=en&state=sent", "tbody tr")
		rows("到了二")
		slowly("cursor=")
		s.press(".pager", "Load more")
		filter("Failed")
		rows("拒收 1")
		late()
		rows("拒收 1")
		s.press(".pager", "Load more")
		rows("拒收 1", "拒收 0")
	})
	part("the minute after", func(t *testing.T) {
		s.js(`delete sessionStorage.limit`)
		s.turnTo("messages?lang=en&since=1h", "tbody tr")
		asked := `window.asked.filter((a) => a.startsWith('/v1/messages?')).length`
		before := eval[int](s.phone, asked)
		s.js(`window.ahead = 61000; document.querySelector('tbody .open').click()`)
		s.until(`!!document.querySelector('.drw .att+.att')`) // the page knows that time has passed
		s.js(`document.querySelector('thead .cb').click()`)
		s.until(`document.querySelector('.bulk')?.textContent.includes('4 chosen')`)
		drawn()
		if n := eval[int](s.phone, asked); n != before {
			t.Errorf("the list was asked for %d times more, and its rows went", n-before)
		}
		s.press(".bar", "Refresh")
		s.until(asked + ` === ` + fmt.Sprint(before+1))
	})
	part("the board", func(t *testing.T) {
		times := `[...document.querySelector('svg.plot[role=img]').querySelectorAll('g > title')].map((g) => g.textContent.split(': ')[0]).join(' ')`
		s.turnTo("board?lang=en&hours=6", ".kpi")
		six := eval[string](s.phone, times)
		slowly("hours=168")
		s.press(".bar", "7 days")
		s.press(".bar", "6 h")
		late()
		if got := eval[string](s.phone, times); got != six {
			t.Errorf("under 6 h: %s, were %s", got, six)
		}
	})
	part("the explorer", func(t *testing.T) {
		for _, c := range []struct{ from, slow, to, ready string }{
			{"send", "wait=10s", "token", ".form .sub"},
			{"typing", "/typing", "send", "#x-content"},
			{"token", "/token", "window", "#x-touser"},
		} {
			s.turnTo("explorer?lang=en&call="+c.from, ".sendbar")
			if c.from != "token" {
				s.until(`document.querySelector('#x-touser')?.value === 'oMei'`)
			}
			slowly(c.slow)
			s.js(`document.querySelector('.sendbar button').click()`)
			s.until(`document.querySelector('.out2')?.textContent.includes('Sending')`)
			s.js(`document.querySelector('.tree a[href*="call=` + c.to + `"]').click()`)
			s.until(`!!document.querySelector(` + quote(c.ready) + `) && document.querySelector('.out2')?.textContent.includes('Not sent yet')`)
			late()
			if got := eval[string](s.phone, `document.querySelectorAll('.out2 .sec')[1].textContent`); !strings.Contains(got, "Not sent yet") {
				t.Errorf("%s was answered with %s's: %s", c.to, c.from, got)
			}
			s.js(`document.querySelector('.sendbar button').click()`)
			s.until(`document.querySelectorAll('.out2 .sec')[1].textContent.includes('HTTP 200')`)
		}
	})
}

// A lead keeps the team's quick replies and an agent their own, on a page that the list of
// replies leads to; who has the list open next sees what has changed.
func TestDeskQuickReplies(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	o.link("bob", gateway.Answers)
	ann, bob := o.sit("ann"), o.sit("bob")
	bob.expect("409") // typing, where WeChat would not show it
	ann.expect("409")
	options := func(s *seat, text string) {
		t.Helper()
		s.js(`{ const el = document.querySelector('#reply'); el.focus(); el.select(); document.execCommand('delete') }`)
		s.write("/" + text)
		s.until(`!!document.querySelector('.qr')`)
	}
	save := func(s *seat, fields ...[2]string) {
		t.Helper()
		puts(fields...)(s)
		s.js(`document.querySelector('dialog [type=submit]').click()`)
		s.until(`!document.querySelector('dialog')`)
	}

	bob.open("oMei")
	options(bob, "发货")
	bob.until(`document.querySelector('.qr')?.textContent.includes('No such reply')`)
	bob.enter()
	bob.until(`!document.querySelector('.qr')`)
	if got := eval[string](bob.phone, `document.querySelector('#reply').value`); got != "/发货" {
		t.Errorf("the Enter that finds nothing makes %q", got)
	}

	ann.open("oMei")
	options(ann, "")
	ann.js(`document.querySelector('.qr a').click()`)
	ann.press(".bar", "Add quick reply")
	save(ann, [2]string{"dialog [name=title]", "发货"}, [2]string{"dialog [name=text]", "包裹今天发出"})
	ann.until(`document.querySelector('tbody tr')?.textContent.includes('包裹今天发出') && document.querySelector('tbody tr')?.textContent.includes('Team')`)
	options(bob, "发货")
	bob.until(`[...document.querySelectorAll('.qr [role=option]')].some((r) => r.textContent.includes('包裹今天发出'))`)

	ann.press("tbody", "Edit 发货")
	save(ann, [2]string{"dialog [name=text]", "包裹明天发出"})
	ann.until(`document.querySelector('tbody tr')?.textContent.includes('包裹明天发出')`)
	options(bob, "发货")
	bob.until(`[...document.querySelectorAll('.qr [role=option]')].some((r) => r.textContent.includes('包裹明天发出'))`)
	bob.enter()
	bob.until(`document.querySelector('#reply')?.value === '包裹明天发出'`)

	bob.turnTo("replies?lang=en", "tbody tr")
	if n := eval[int](bob.phone, `document.querySelectorAll('tbody button').length`); n > 0 {
		t.Error("an agent is offered to change what is the team's")
	}
	bob.press(".bar", "Add quick reply")
	bob.until(`!!document.querySelector('dialog [name=title]') && !document.querySelector('dialog [name=scope]')`)
	save(bob, [2]string{"dialog [name=title]", "泡法"}, [2]string{"dialog [name=text]", "先温杯，\n再低冲"})
	bob.until(`[...document.querySelectorAll('tbody tr')].some((r) => r.textContent.includes('泡法') && r.textContent.includes('Mine') && r.querySelector('button'))`)

	ann.press("tbody", "Delete 发货")
	ann.press("dialog", "Delete")
	ann.until(`document.querySelector('.tblw .empty')?.textContent.includes('No quick replies yet')`) // bob's are his
	bob.press("tbody", "Delete 泡法")
	bob.press("dialog", "Delete")
	bob.until(`document.querySelector('.tblw .empty')?.textContent.includes('No quick replies yet')`)
}

// The search goes on where it has stopped, and says when it has; text that was written
// with escapes is found; a failure is told of, and nothing of the query before stays.
func TestDeskSearchesFurther(t *testing.T) {
	o := openOffice(t)
	for i := range 25 {
		o.wechat.UserSends("oMei", fmt.Sprint("想要银针 ", i+1))
	}
	call(t, "POST", o.p.url()+"/v1/messages?wait=5s", `{"account":"`+kefutest.DefaultAccount.AppID+`","message":{"touser":"oMei","msgtype":"text","text":{"content":"\u94f6\u9488\u5230\u4e86"}}}`, nil)
	s := o.sit("ann")
	s.first(`
		window.fetch = async (address, ...rest) => {
			if (String(address).startsWith('/v1/search')) {
				if (window.cut) throw new TypeError('cut');
				if (window.slow) await pause(1000);
				if (window.short && !String(address).includes('cursor=')) return new Response('{"items":[],"next":"1"}', {headers: {'Content-Type': 'application/json'}});
			}
			return real(address, ...rest);
		};`)
	s.goTo("")
	s.all()
	ask := func(text string) { puts([2]string{"#search", text})(s) }
	hits := func(n int) {
		t.Helper()
		s.until(`document.querySelectorAll('.found .fr').length === ` + fmt.Sprint(n))
	}
	says := func(text string) {
		t.Helper()
		s.until(`document.querySelector('.found')?.textContent.includes(` + quote(text) + `)`)
	}

	ask("银针")
	hits(20)
	says("银针到了")
	says("20+")
	s.press(".found", "Search further back")
	hits(26)
	s.until(`!document.querySelector('.found button')`)
	at := eval[string](s.phone, `new URL([...document.querySelectorAll('.found .fr')].at(-1).href).searchParams.get('at')`)
	page := must[gateway.Page[gateway.TimelineEntry]](t, "timeline")(o.boss.Timeline(t.Context(), kefutest.DefaultAccount.AppID, "oMei", "", 100))
	if oldest := page.Items[len(page.Items)-1].Cursor; at != oldest {
		t.Errorf("the oldest hit leads to %q, its line is %q", at, oldest)
	}

	s.js(`window.slow = true`)
	ask("银针 7")
	s.until(`document.querySelector('.found')?.ariaBusy === 'true' && !document.querySelector('.found .fr')`)
	hits(1)
	s.js(`window.slow = false; window.cut = true`)
	ask("银针 8")
	says("Could not load")
	hits(0)
	s.js(`window.cut = false`)
	s.press(".found", "Retry")
	hits(1)
	ask("银杏")
	says("Nothing found in messages")
	s.js(`window.short = true`)
	ask("银针 9")
	says("the older ones were not looked at yet")
	s.press(".found", "Search further back")
	says("Nothing found in messages")
}

// What WeChat has against an account is told with what to do about it, and a rule with
// where it is from; why a message was not sent is in the reader's language.
func TestOpsSayWhy(t *testing.T) {
	o := openOffice(t)
	app := kefutest.DefaultAccount.AppID
	o.wechat.UserSends("oMei", "在吗")
	o.wechat.Fail(kefutest.DropReply)
	m := o.send(textFor("没有回音"))
	call(t, "POST", o.p.url()+"/v1/messages/"+m.ID+"/resolve", `{"as":"failed"}`, nil)
	o.wechat.Fail(kefutest.ErrCode(44002))
	refused := o.send(textFor("空的"))
	o.link("boss", gateway.Admin)
	s := o.sitAt(o.p.addr, "boss", "zh")
	s.open("oMei")
	s.until(`[...document.querySelectorAll('.m[data-state=failed] .why')].some((w) => w.textContent.includes('人工标为未收到'))`)
	s.turnTo("messages?lang=zh&m="+m.ID, ".drw .advice")
	s.until(`document.querySelector('.drw .advice')?.textContent.includes('人工标为未收到')`)
	s.turnTo("messages?lang=zh&m="+refused.ID, ".drw .advice")
	s.until(`document.querySelector('.drw .advice')?.textContent.includes(` + quote(kefu.Explain("", 44002).AdviceZh) + `)`)

	put(t, o.p.url()+"/v1/accounts/"+app, quote(object{"appid": app, "name": "客服演示", "secret": strings.Repeat("0", 32)}))
	s.turnTo("accounts?lang=zh", ".acct .tok")
	s.press(".acct", "检查")
	s.until(`document.querySelector('.acct .advice[role=status]')?.textContent.includes('AppSecret')`)
	s.js(`document.querySelectorAll('.acct details').forEach((d) => d.open = true)`)
	s.until(`[...document.querySelectorAll('.acct table tr')].some((r) => r.querySelector('a[href^="https://developers.weixin.qq.com/"]') && /20\d\d-\d\d-\d\d/.test(r.textContent))`)
}
