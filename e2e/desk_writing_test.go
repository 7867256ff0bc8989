package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// files has the page make files, carry them as a drag does, choose one in a field of a
// form, and fill a field as typing does.
const files = `
	window.picture = async (name) => {
		const c = document.createElement('canvas'), x = c.getContext('2d');
		c.width = c.height = 16;
		x.fillText(name.slice(-5), 0, 10);
		return new File([await new Promise((r) => c.toBlob(r, 'image/png'))], name, {type: 'image/png'});
	};
	window.carried = (...files) => { const d = new DataTransfer(); files.forEach((f) => d.items.add(f)); return d };
	window.choose = async (selector, name) => {
		const el = document.querySelector(selector);
		el.files = carried(await picture(name)).files;
		el.dispatchEvent(new Event('change', {bubbles: true}));
	};
	window.fill = (selector, v) => { const el = document.querySelector(selector); el.focus(); el.select(); document.execCommand('insertText', false, v) };`

// form opens the form of a kind.
func (s *seat) form(kind, field string) {
	s.t.Helper()
	s.press(".tools", "All kinds")
	s.press(".pop.tg", kind)
	s.until(`!!document.querySelector(` + quote(field) + `)`)
}

// empty takes away what is written.
func (s *seat) empty() {
	s.t.Helper()
	s.js(`{ const el = document.querySelector('#reply'); el.focus(); el.select(); document.execCommand('delete') }`)
}

// What is sent is what was meant, to whom it was meant.
func TestDeskWritesWhatIsMeant(t *testing.T) {
	o := openOffice(t)
	for _, f := range []string{"oMei", "oLi"} {
		o.wechat.UserSends(f, "在吗")
	}
	call(t, "POST", o.p.url()+"/v1/quick-replies", `{"scope":"team","title":"招呼","text":"您好"}`, nil)
	s := o.sit("ann")
	s.expect("") // a preview that can't be drawn, and typing where WeChat would not show it
	s.first(files + `
		const send = XMLHttpRequest.prototype.send;
		window.held = [];
		XMLHttpRequest.prototype.send = function (f) {
			if (f?.name?.startsWith('slow')) window.held.push(() => send.call(this, f));
			else send.call(this, f);
		};`)
	s.again()
	s.open("oMei")
	rule := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			outer := s.t
			s.t = t
			defer func() { s.t = outer }()
			f(t)
		})
	}

	rule("a reply by the button eats no address", func(t *testing.T) {
		s.write("看 https://example.com/tea/1")
		s.js(`document.querySelector('.tools [aria-label="Quick replies"]').click()`)
		s.press(".qr", "招呼")
		s.until(`document.querySelector('#reply').value === '看 https://example.com/tea/1您好'`)
		s.empty()
		s.write("第一行\n/招")
		s.press(".qr", "招呼")
		s.until(`document.querySelector('#reply').value === '第一行\n您好'`)
		s.empty()
	})
	rule("JSON goes to the follower it is written to", func(t *testing.T) {
		s.form("JSON", "#kf-json")
		s.js(`fill('#kf-json', '{"touser":"oLi","msgtype":"text","text":{"content":"给谁"}}')`)
		s.press(".sendbar", "Send")
		s.until(`!document.querySelector('.kform')`)
		s.bubble("给谁", "sent")
		o.arrives("oMei", "给谁")
		o.arrives("oLi")
	})
	rule("what can't be previewed says so and stays to be mended", func(t *testing.T) {
		s.form("JSON", "#kf-json")
		s.js(`fill('#kf-json', '{"msgtype":"news","news":{"articles":{"title":"a"}}}')`)
		s.until(`document.querySelector('.kp [role=alert]')?.textContent.includes('"articles":[')`)
		s.open("oLi")
		s.open("oMei")
		s.until(`document.querySelector('.kp [role=alert]')?.textContent.includes('"articles":[')`)
		s.js(`fill('#kf-json', '{"msgtype":"news","news":{"articles":[{"title":"茶"}]}}')`)
		s.until(`document.querySelector('.kp .news')?.textContent.includes('茶')`)
		s.press(".sendbar", "Cancel")
		s.until(`!!document.querySelector('#reply')`)
	})
	rule("of files for a value the latest counts, and none is for the next form", func(t *testing.T) {
		value := func() string { return eval[string](s.phone, `document.querySelector('#kf-media_id').value`) }
		s.form("picture", "#kf-media_id")
		s.js(`void choose('.kform input[type=file]', 'slow a.png')`)
		s.until(`held.length === 1`)
		s.js(`void choose('.kform input[type=file]', 'b.png')`)
		s.until(`document.querySelector('#kf-media_id').value.startsWith('asset:')`)
		b := value()
		s.js(`held.shift()()`)
		time.Sleep(time.Second)
		if got := value(); got != b {
			t.Errorf("the first file ends last and takes the second's place")
		}
		s.js(`void choose('.kform input[type=file]', 'slow c.png')`)
		s.until(`held.length === 1`)
		s.press(".sendbar", "Cancel")
		s.form("picture", "#kf-media_id")
		s.js(`held.shift()()`)
		time.Sleep(time.Second)
		if got := value(); got != "" {
			t.Errorf("a file of the form before is in this one: %s", got)
		}
		s.press(".sendbar", "Cancel")
	})
	rule("files that are dropped on the thread go one after the other, a video without its file's name", func(t *testing.T) {
		o.wechat.UserSends("oMei", "有视频吗")
		before := len(o.wechat.Sent("oMei"))
		film64 := base64.StdEncoding.EncodeToString(film())
		s.js(`void (async () => {
			const film = new File([Uint8Array.from(atob(` + quote(film64) + `), (c) => c.charCodeAt(0))], 'IMG_0042.mp4', {type: 'video/mp4'});
			const dataTransfer = carried(film, await picture('1.png'), new File(['x'], 'x.txt', {type: 'text/plain'}), await picture('2.png'));
			const over = new DragEvent('dragover', {bubbles: true, cancelable: true, dataTransfer}), beside = new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer});
			document.querySelector('.log').dispatchEvent(over);
			document.querySelector('.lst').dispatchEvent(beside);
			window.opened = !over.defaultPrevented || !beside.defaultPrevented; // by the browser, in place of the page
			document.querySelector('.log').dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer}));
		})()`)
		s.until(`window.opened === false`)
		for i, more := range []string{"3 more files", "2 more files", ""} {
			s.until(`document.querySelector('.up')?.textContent.includes(` + quote(more) + `) && !!document.querySelector('.up .pri')`)
			s.press(".up", "Send")
			s.until(fmt.Sprintf(`document.querySelectorAll('.m.out[data-state=sent]').length === %d`, before+i+1))
		}
		s.until(`!document.querySelector('.up') && document.querySelector('.toasts').textContent.includes('x.txt')`)
		sent := o.wechat.Sent("oMei")[before:]
		if v, ok := sent[0].Message.Body.(kefu.Video); !ok || v.Title != "" || len(sent) != 3 {
			t.Errorf("%d arrived, the first %+v", len(sent), sent[0].Message.Body)
		}
	})
	rule("what is scheduled in a shut window waits as long as was chosen", func(t *testing.T) {
		o.wechat.Clicks("oWu", "hello")
		s.open("oWu")
		s.until(`!!document.querySelector('.shutbar')`)
		s.press(".tools", "Schedule")
		at := time.Now().Add(24 * time.Hour).Truncate(time.Minute)
		s.js(`{ const el = document.querySelector('.when input'); el.value = new Date(` + fmt.Sprint(at.UnixMilli()) + ` - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 16); el.dispatchEvent(new Event('input', {bubbles: true})) }`)
		s.press(".when", "Done")
		s.until(`document.querySelector('#plan').textContent.includes('Goes then')`)
		s.js(`{ const el = document.querySelector('#plan select'); el.value = '7'; el.dispatchEvent(new Event('change', {bubbles: true})) }`)
		s.answer("明天说")
		s.bubble("明天说", "queued")
		m := o.message("oWu", "明天说")
		if m.NotBefore == nil || !m.NotBefore.Equal(at) || !m.ExpiresAt.Equal(at.Add(7*24*time.Hour)) || m.WhenClosed != gateway.Park {
			t.Errorf("from %v until %v, %s", m.NotBefore, m.ExpiresAt, m.WhenClosed)
		}
	})
}

// message is the latest that has the text.
func (o *office) message(openid, text string) gateway.Message {
	o.t.Helper()
	page, err := o.boss.Messages(o.t.Context(), gateway.MessageFilter{OpenID: openid}, "", 50)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, m := range page.Items {
		if strings.Contains(string(m.Message), text) {
			return m
		}
	}
	o.t.Fatalf("no message with %q", text)
	return gateway.Message{}
}

// Whoever has begun an answer is asked before it goes if somebody has answered or taken
// the conversation since: another agent, a program, the same agent elsewhere.
func TestDeskAsksWhoHasAnswered(t *testing.T) {
	o := openOffice(t)
	for _, f := range []string{"oMei", "oLi"} {
		o.wechat.UserSends(f, "在吗")
	}
	ann, bob := o.sit("ann"), o.sit("bob")
	ann.expect("409")
	bob.expect("409")
	bob.first(`
		sessionStorage['kefu.ours'] ??= 'not JSON'; // what can't be read keeps nobody out
		window.asked = [];
		window.confirm = (q) => (window.asked.push(q), !!window.sure);
		window.fetch = async (address, ...rest) => {
			const answer = await real(address, ...rest);
			if (String(address).endsWith('/v1/messages')) while (window.holding) await pause(20);
			return answer;
		};`)
	bob.again()
	ann.again()
	ann.yes()
	ann.open("oMei")
	bob.open("oMei")
	asked := func(n int, words string) {
		t.Helper()
		bob.js(`document.querySelector('#reply').focus()`)
		bob.enter()
		bob.until(fmt.Sprintf(`window.asked.length === %d && window.asked.at(-1).includes(%s)`, n, quote(words)))
	}

	bob.write("我来答")
	ann.until(`document.querySelector('.cmp .ban')?.textContent.includes('Give it to bob')`)
	ann.answer("我先答了")
	bob.bubble("我先答了", "sent")
	bob.until(`!document.querySelector('.cmp .ban')`) // she writes no more
	asked(1, "ann has answered")
	bob.again() // and the draft is as old as before
	bob.open("oMei")
	bob.until(`document.querySelector('#reply').value === '我来答' && !!document.querySelector('.m.out')`)
	asked(1, "ann has answered")
	o.arrives("oMei", "我先答了")
	bob.js(`window.sure = true`)
	asked(2, "ann has answered")
	bob.bubble("我来答", "sent")

	// What is typed while an answer is on its way is begun then: that answer is none of
	// another's, and one that comes meanwhile is.
	o.wechat.UserSends("oMei", "嗯") // the allowance begins anew
	meanwhile := func(text, next string, do func()) {
		t.Helper()
		bob.js(`window.holding = true; document.querySelector('#reply').focus()`)
		bob.enter()
		bob.bubble(text, "sent")
		bob.write(next)
		do()
		bob.js(`window.holding = false`)
		bob.until(`document.querySelector('#reply').value === ` + quote(next))
	}
	bob.write("我接着说")
	meanwhile("我接着说", "再说", func() {})
	bob.again() // it is his own after that, too
	bob.open("oMei")
	bob.until(`document.querySelector('#reply').value === '再说' && !!document.querySelector('.m.out')`)
	meanwhile("再说", "最后", func() {
		o.entrust("oMei", "程序的", "try")
		bob.bubble("程序的", "sent")
	})
	bob.js(`window.sure = true`)
	asked(1, "has answered")
	bob.bubble("最后", "sent")
	o.arrives("oMei", "我先答了", "我来答", "我接着说", "再说", "程序的", "最后")

	bob.open("oLi")
	bob.write("我来")
	ann.open("oLi")
	ann.press(".th header", "Claim")
	bob.until(`[...document.querySelectorAll('.th header .tagc')].some((n) => n.textContent === 'ann')`)
	bob.js(`window.sure = false`)
	asked(2, "ann has taken")
	o.arrives("oLi")
	bob.empty()
	bob.write("我再来")
	elsewhere := o.sit("bob")
	elsewhere.expect("409")
	elsewhere.open("oLi")
	elsewhere.answer("从手机答")
	bob.bubble("从手机答", "sent")
	asked(3, "You have answered elsewhere")
	o.arrives("oLi", "从手机答")
}

// What is typed goes into what was opened for it, and stays until it is kept.
func TestDeskKeepsWhatIsTyped(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	s := o.sit("ann", focused())
	s.expect("")
	s.open("oMei")
	for _, f := range []struct{ button, field string }{
		{`.card h2 button`, `.card [name=remark]`},
		{`.card [aria-label="Add a tag"]`, `.card [name=tag]`},
		{`.card [aria-label="Write a note"]`, `.card [name=note]`},
		{`.card h2 button`, `.card [name=remark]`}, // once more: a browser heeds autofocus once
	} {
		s.js(`document.querySelector(` + quote(f.button) + `).focus(); document.querySelector(` + quote(f.button) + `).click()`)
		s.until(`!!document.querySelector(` + quote(f.field) + `)`)
		s.do(chromedp.KeyEvent("Chen"))
		s.until(`document.querySelector(` + quote(f.field) + `)?.value.endsWith('Chen')`)
		if strings.Contains(f.field, "note") {
			s.js(`window.whole = window.fetch; window.fetch = (a, ...rest) => String(a).endsWith('/note') ? Promise.reject(new TypeError('cut')) : window.whole(a, ...rest)`)
			s.js(`document.querySelector('.card [name=note]').form.requestSubmit()`)
			s.until(`document.querySelector('.toasts').textContent.includes("can't be reached") && document.querySelector('.card [name=note]').value === 'Chen'`)
			s.js(`window.fetch = window.whole`)
		}
		s.js(`document.querySelector(` + quote(f.field) + `).form.requestSubmit()`)
		s.until(`!document.querySelector(` + quote(f.field) + `) && document.activeElement === document.querySelector(` + quote(f.button) + `)`)
	}
	s.js(`document.querySelector('.card h2 button').click()`)
	s.until(`!!document.querySelector('.card [name=remark]')`)
	s.do(chromedp.KeyEvent(kb.Escape))
	s.until(`document.activeElement === document.querySelector('.card h2 button')`)
	c := must[gateway.Conversation](t, "conversation")(o.boss.Conversation(t.Context(), kefutest.DefaultAccount.AppID, "oMei"))
	if c.Closed || c.AssignedTo != "" || c.Remark != "ChenChen" && c.Remark != "Chen" || len(c.Tags) != 1 || len(c.Notes) != 1 {
		t.Errorf("%+v", c)
	}

	// A dialog stays when a selection that begins in it ends beside it.
	s.js(`history.pushState(null, '', '/console/replies'); dispatchEvent(new PopStateEvent('popstate'))`)
	s.press(".bar", "Add")
	s.until(`!!document.querySelector('dialog textarea')`)
	s.js(`{ const el = document.querySelector('dialog textarea'); el.focus(); document.execCommand('insertText', false, '很长的话') }`)
	x := eval[float64](s.phone, `document.querySelector('dialog textarea').getBoundingClientRect().left + 60`)
	y := eval[float64](s.phone, `document.querySelector('dialog textarea').getBoundingClientRect().top + 15`)
	s.drag(x, y, 20, y)
	time.Sleep(300 * time.Millisecond)
	if got := eval[string](s.phone, `document.querySelector('dialog textarea')?.value ?? 'gone'`); got != "很长的话" {
		t.Errorf("after a selection that ended beside the dialog: %q", got)
	}
	s.drag(20, y, 20, y)
	s.until(`!document.querySelector('dialog')`)
}

// drag presses the mouse at one place and lets it go at another.
func (s *phone) drag(x, y, toX, toY float64) {
	s.t.Helper()
	s.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		for _, e := range []struct {
			kind input.DispatchMouseEventType
			x, y float64
		}{{input.DispatchMouseEventTypeMousePressed, x, y}, {input.DispatchMouseEventTypeMouseMoved, (x + toX) / 2, y}, {input.DispatchMouseEventTypeMouseMoved, toX, toY}, {input.DispatchMouseEventTypeMouseReleased, toX, toY}} {
			if _, err := chromedp.Call(ctx, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: e.kind, X: e.x, Y: e.y, Button: input.MouseButtonLeft, ClickCount: 1, Buttons: 1}); err != nil {
				return err
			}
		}
		return nil
	}))
}

// A parked message that is to go at once is neither lost nor sent twice, whichever of the
// two steps fails, and goes on the terms it had.
func TestDeskSendsNowOnce(t *testing.T) {
	o := openOffice(t)
	a := kefutest.DefaultAccount.AppID
	put(t, o.p.url()+"/v1/accounts/"+a, quote(object{"appid": a, "name": "客服演示", "when_closed": "fail"}))
	s := o.sit("ann")
	s.expect("")
	s.yes()
	s.first(`
		window.confirm = () => true;
		window.fetch = async (address, ...rest) => {
			if (String(address).endsWith('/cancel')) while (window.holding) await pause(20);
			const sends = String(address).endsWith('/v1/messages');
			if (sends && window.cut === 'before') throw new TypeError('cut');
			const answer = await real(address, ...rest);
			if (sends && window.cut === 'after') throw new TypeError('cut');
			return answer;
		};`)
	for _, f := range []string{"oMei", "oLi", "oWu"} {
		o.wechat.UserSends(f, "在吗")
	}
	s.again()
	park := func(openid, text string) {
		t.Helper()
		for i := range 3 { // of five; two are for live answers
			o.entrust(openid, fmt.Sprint("第 ", i), "try")
		}
		s.open(openid)
		s.bubble("第 2", "sent")
		o.send(object{"message": object{"touser": openid, "msgtype": "text", "text": object{"content": text}},
			"priority": "bulk", "when_closed": "park", "on_unknown": "resend", "long_text": "split", "metadata": object{"order": 7}})
		s.bubble(text, "parked")
	}
	sameTerms := func(openid, text string) {
		t.Helper()
		m := o.message(openid, text)
		if m.OnUnknown != gateway.Resend || m.WhenClosed != gateway.Park || !strings.Contains(string(m.Metadata), "7") {
			t.Errorf("%s: %s, %s, %s", text, m.OnUnknown, m.WhenClosed, m.Metadata)
		}
	}
	arrived := func(openid string, n int) {
		t.Helper()
		time.Sleep(300 * time.Millisecond)
		if got := len(o.wechat.Sent(openid)); got != n {
			t.Errorf("%d messages have arrived at %s, want %d", got, openid, n)
		}
	}

	// The second step does not reach the gateway; it is offered again, also after a reload.
	park("oMei", "甲")
	s.js(`window.cut = 'before'`)
	s.press(`.m[data-state=parked]`, "Send now (uses 1)")
	s.until(`document.querySelector('.toasts').textContent.includes('not sent yet')`)
	s.bubble("甲", "canceled")
	s.again()
	s.open("oMei")
	s.press(`.m[data-state=canceled]`, "Send again")
	s.bubble("甲", "sent")
	arrived("oMei", 4)
	sameTerms("oMei", "甲")

	// It reaches it, and the answer is lost: once more is the same one. A long text goes in its parts.
	long := "乙" + strings.Repeat("很长的话，", 200)
	park("oLi", long)
	s.js(`window.cut = 'after'`)
	s.press(`.m[data-state=parked]`, "Send now (uses 2)")
	s.until(`document.querySelector('.toasts').textContent.includes('not sent yet')`)
	s.bubble("乙", "sent")
	s.js(`window.cut = ''`)
	s.press(`.m[data-state=canceled]`, "Send again")
	time.Sleep(500 * time.Millisecond)
	o.wechat.UserSends("oLi", "嗯") // there would be room for another
	s.heard("嗯")
	s.press(".toasts", "Send again") // it was offered before
	time.Sleep(500 * time.Millisecond)
	arrived("oLi", 5)

	// The allowance is spent between the steps: it is parked again, whatever the account does.
	park("oWu", "丙")
	s.js(`window.holding = true`)
	s.press(`.m[data-state=parked]`, "Send now")
	for i := range 2 {
		o.entrust("oWu", fmt.Sprint("插队 ", i), "try")
		s.bubble(fmt.Sprint("插队 ", i), "sent")
	}
	s.js(`window.holding = false`)
	s.bubble("丙", "canceled")
	s.bubble("丙", "parked")
	sameTerms("oWu", "丙")
	arrived("oWu", 5)
}

// That the follower sees somebody typing is said if WeChat shows it.
func TestDeskTellsOfTypingThatIsSeen(t *testing.T) {
	o := openOffice(t)
	s := o.sit("ann")
	s.first(`window.fetch = async (address, ...rest) => {
		if (!String(address).endsWith('/typing')) return real(address, ...rest);
		window.told = (window.told ?? 0) + 1;
		const ok = String(address).includes('oLi');
		return new Response(ok ? '{}' : '{"code":"not-now"}', { status: ok ? 200 : 409, headers: { 'Content-Type': 'application/json' } });
	};`)
	s.again()
	for i, f := range []string{"oMei", "oLi"} {
		o.wechat.UserSends(f, "在吗")
		s.open(f)
		s.heard("在吗")
		s.write("有")
		s.until(fmt.Sprintf(`window.told === %d`, i+1))
		time.Sleep(200 * time.Millisecond)
		s.write("的")
		time.Sleep(200 * time.Millisecond)
		if got := eval[bool](s.phone, `document.querySelector('#plan').textContent.includes('They see')`); got != (f == "oLi") {
			t.Errorf("%s: said to be seen: %v", f, got)
		}
	}
}
