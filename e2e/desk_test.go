package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// What a follower writes is in the console, in the row and in the open thread, and
// what an agent writes is on the phone; both pages are real, and open at once.
func TestDeskAndPhone(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	s := o.sit("ann")
	s.open("oMei")
	s.heard("在吗")
	p := openPhone(t, o.wechat.URL+"/?lang=zh&openid=oMei")
	p.shows("在吗")
	p.do(chromedp.SendKeys(chromedp.CSS("#text"), "白毫银针还有吗\r"))
	s.heard("白毫银针还有吗")
	s.until(`document.querySelector('a.cr[data-key$="oMei"]').textContent.includes("白毫银针还有吗")`)
	s.answer("有的，今年的新茶")
	s.bubble("有的，今年的新茶", "sent")
	p.shows("有的，今年的新茶")
	s.until(`document.querySelector('.m.out .by').textContent.includes("ann")`)

	// What is typed while an answer is on its way to the gateway stays in the composer.
	s.write("稍等")
	s.js(`document.querySelector('#send').click(); document.execCommand('insertText', false, '我看看')`)
	p.shows("稍等")
	s.until(`document.querySelector('#reply').value === '我看看'`)
	s.js(`document.querySelector('#send').click()`)
	p.shows("我看看")

	// How long each way takes, for docs/figures.md: seen in the page that is told of it,
	// from the moment of the tap. Nothing fails for being slow.
	var there, back []time.Duration
	for i := range figures(10, 200) {
		if i%4 == 0 && i > 0 {
			o.wechat.UserSends("oMei", "再来") // the allowance begins anew
		}
		text := fmt.Sprintf("去 %d", i)
		begun := time.Now()
		p.js(`{ const el = document.querySelector('#text'); el.value = ` + quote(text) + `; el.dispatchEvent(new Event('input', {bubbles: true})); document.querySelector('#send').click() }`)
		s.heardSoon(text)
		there = append(there, time.Since(begun))
		text = fmt.Sprintf("回 %d", i)
		s.write(text)
		begun = time.Now()
		s.js(`document.querySelector('#send').click()`)
		p.soon(`(document.querySelector("#chat>li:last-child")?.textContent ?? "").includes(` + quote(text) + `)`)
		back = append(back, time.Since(begun))
	}
	for name, d := range map[string][]time.Duration{"phone to console": there, "console to phone": back} {
		slices.Sort(d)
		t.Logf("%s: median %v, p99 %v, %d messages", name, d[len(d)/2].Round(time.Millisecond), d[len(d)*99/100].Round(time.Millisecond), len(d))
	}
}

// figures is how often something is measured: many times with KEFU_LONG=1.
func figures(short, long int) int {
	if os.Getenv("KEFU_LONG") != "" {
		return long
	}
	return short
}

func (s *seat) heardSoon(text string) {
	s.t.Helper()
	s.soon(`[...document.querySelectorAll('.log .m:not(.out)')].some((m) => m.textContent.includes(` + quote(text) + `))`)
}

// soon is until, told by the page itself at the change: asking it again and again takes
// the time that is measured.
func (p *phone) soon(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`new Promise((seen) => {
		const look = () => { if (`+expression+`) { changes.disconnect(); seen(true) } };
		const changes = new MutationObserver(look);
		changes.observe(document.body, {subtree: true, childList: true, characterData: true, attributes: true});
		look();
	})`, chromedp.EvalAwaitPromise)); err != nil {
		p.t.Fatalf("never: %s: %v\nThe page:\n%s", expression, err, p.chat())
	}
}

// Each state that a message can be in, and what an agent does about it.
func TestDeskStates(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	s := o.sit("ann")
	s.yes()
	s.open("oMei")

	t.Run("refused", func(t *testing.T) {
		o.wechat.Fail(kefutest.ErrCode(45002)) // content too long, as it says
		s.answer("拒收")
		s.bubble("拒收", "failed")
		s.until(`document.querySelector('.m[data-state=failed] .why').textContent.includes('45002')`)
		s.press(".m[data-state=failed]", "1 attempt")
		s.until(`document.querySelectorAll('.atts li').length === 1`)
	})
	t.Run("unknown", func(t *testing.T) {
		for i, c := range []struct{ button, state string }{{"Mark as received", "sent"}, {"Mark as not received", "failed"}, {"Send again", "unknown"}} {
			o.wechat.UserSends("oMei", "还在吗")
			text := fmt.Sprintf("不明 %d", i)
			before := len(o.wechat.Sent("oMei"))
			o.wechat.Fail(kefutest.DropReply) // they have it, and nobody knows
			s.answer(text)
			s.bubble(text, "unknown")
			if n := eval[int](s.phone, `document.querySelectorAll('.m[data-state=unknown] .acts button').length`); n != 3 {
				t.Errorf("%d ways out of unknown", n)
			}
			s.press(".m[data-state=unknown]", c.button)
			if c.button == "Send again" {
				s.bubble(text, "sent") // a new message
				s.until(fmt.Sprintf(`[...document.querySelectorAll('.m.out')].filter((m) => m.textContent.includes(%q)).length === 2`, text))
				if n := len(o.wechat.Sent("oMei")) - before; n != 2 {
					t.Errorf("%d arrived", n)
				}
			} else {
				s.bubble(text, c.state)
			}
		}
	})
	t.Run("allowance spent, parked, released by the follower", func(t *testing.T) {
		o.wechat.UserSends("oLi", "你好")
		s.open("oLi")
		for i := range 5 {
			s.answer(fmt.Sprintf("第 %d 条", i+1))
			s.bubble(fmt.Sprintf("第 %d 条", i+1), "sent")
		}
		s.until(`document.querySelector('#send').textContent.includes('Park')`)
		s.answer("晚点再说")
		s.bubble("晚点再说", "parked")
		s.until(`document.querySelector('a.cr[data-key$="oLi"]').textContent.includes('parked')`)
		s.answer("这条不要了")
		s.bubble("这条不要了", "parked")
		s.js(`[...document.querySelectorAll('.m[data-state=parked]')].find((m) => m.textContent.includes('这条不要了')).querySelector('.acts button').click()`)
		s.bubble("这条不要了", "canceled")
		if n := len(o.wechat.Sent("oLi")); n != 5 {
			t.Errorf("%d arrived before the follower wrote", n)
		}
		o.wechat.UserSends("oLi", "我又来了")
		s.bubble("晚点再说", "sent")
		o.arrives("oLi", "第 1 条", "第 2 条", "第 3 条", "第 4 条", "第 5 条", "晚点再说")
	})
	t.Run("window closed", func(t *testing.T) {
		o.wechat.Clicks("oWu", "hello")
		s.open("oWu")
		s.until(`document.querySelector('.shutbar')?.textContent.includes('The last window (menu) ended') && document.querySelector('#send').textContent.includes('Park')`)
		s.answer("等您")
		s.bubble("等您", "parked")
		o.wechat.UserSends("oWu", "来了")
		s.bubble("等您", "sent")
		s.until(`!document.querySelector('.shutbar') && document.querySelector('#send').textContent.includes('Send')`)
		o.wechat.Unfollows("oWu")
		s.until(`document.querySelector('.shutbar')?.textContent.includes('They unfollowed')`)
	})
}

// The composer keeps what is written, says what it will cost, and sends it once.
func TestDeskComposer(t *testing.T) {
	o := openOffice(t)
	for _, f := range []string{"oMei", "oLi"} {
		o.wechat.UserSends(f, "在吗")
	}
	s := o.sit("ann")
	s.yes()
	s.open("oMei")

	t.Run("long text", func(t *testing.T) {
		long := strings.Repeat(strings.Repeat("茶", 99)+"。\n", 15) // 4,545 bytes
		s.write(strings.TrimSpace(long))
		s.until(`document.querySelector('#plan').textContent.includes('Will be sent as 3 messages, 2 left afterwards')`)
		s.until(`document.querySelector('#send').textContent.includes('Send 3')`)
		s.enter()
		s.until(`document.querySelector('#reply').value === ''`)
		s.bubble("茶", "sent")
		s.until(`document.querySelector('.m.out .st').textContent.includes('3')`)
		sent := o.wechat.Sent("oMei")
		if len(sent) != 3 {
			t.Errorf("%d parts arrived, want 3", len(sent))
		}
	})
	t.Run("draft", func(t *testing.T) {
		s.write("写了一半")
		s.again()
		s.until(`document.querySelector('#reply')?.value === '写了一半'`)
		s.yes()
		s.open("oLi")
		s.until(`document.querySelector('#reply').value === ''`)
		s.until(`document.querySelector('a.cr[data-key$="oMei"]').textContent.includes('写了一半')`)
		s.open("oMei")
		s.until(`document.querySelector('#reply').value === '写了一半'`)
		s.js(`{ const el = document.querySelector('#reply'); el.focus(); el.select(); document.execCommand('delete') }`)
	})
	t.Run("quick replies", func(t *testing.T) {
		call(t, "POST", o.p.url()+"/v1/quick-replies", `{"scope":"team","title":"营业时间","text":"每天九点到十八点"}`, nil)
		s.write("/营业")
		s.until(`[...document.querySelectorAll('.qr [role=option]')].some((r) => r.textContent.includes('每天九点'))`)
		s.enter()
		s.until(`document.querySelector('#reply').value === '每天九点到十八点'`)
		if n := len(o.wechat.Sent("oMei")); n != 3 {
			t.Errorf("the Enter that takes a reply has sent something")
		}
		s.js(`{ const el = document.querySelector('#reply'); el.focus(); el.select(); document.execCommand('delete') }`)
	})
	t.Run("the Enter of an input method sends nothing", func(t *testing.T) {
		s.write("nihao")
		s.js(`{ const el = document.querySelector('#reply'); const fire = (e) => el.dispatchEvent(e);
			const enter = (more) => fire(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, cancelable: true, ...more}));
			fire(new CompositionEvent('compositionstart', {bubbles: true}));
			enter({isComposing: true}); enter({keyCode: 229});
			fire(new CompositionEvent('compositionend', {bubbles: true, data: '你好'}));
			enter({}); /* Safari tells of the end first */ window.composed = Date.now() }`)
		s.until(`document.querySelector('#reply').value === 'nihao'`)
		if n := eval[int](s.phone, `document.querySelectorAll('.m.out').length`); n != 1 {
			t.Errorf("%d bubbles: the Enter of the input method has sent", n)
		}
		s.js(`{ const el = document.querySelector('#reply'); el.focus(); el.select(); document.execCommand('delete') }`)
		s.until(`Date.now() - composed > 50`) // an Enter so soon after it is the input method's
	})
	t.Run("note", func(t *testing.T) {
		s.js(`document.querySelector('#note-mode').click()`)
		s.write("老客户，爱喝白茶")
		s.enter()
		s.until(`document.querySelector('.log .nt')?.textContent.includes('老客户') && document.querySelector('.card .nt')?.textContent.includes('老客户')`)
		if n := len(o.wechat.Sent("oMei")); n != 3 {
			t.Error("a note has reached the follower")
		}
	})
	t.Run("pictures", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "tea.jpg")
		if err := os.WriteFile(file, photo(), 0o600); err != nil {
			t.Fatal(err)
		}
		o.wechat.UserSends("oMei", "有图吗")
		blob := `const file = await (async () => { const c = document.createElement('canvas'); c.width = c.height = 64; const x = c.getContext('2d'); x.fillStyle = COLOUR; x.fillRect(8, 8, 48, 48);
			return new File([await new Promise((r) => c.toBlob(r, 'image/png'))], 'a.png', {type: 'image/png'}) })(); const data = new DataTransfer(); data.items.add(file);`
		for i, how := range []func(){
			func() { s.do(chromedp.SetUploadFiles(chromedp.CSS(`.cmp input[type=file]`), []string{file})) },
			func() {
				s.js(`(async () => { ` + strings.Replace(blob, "COLOUR", "'red'", 1) + ` document.querySelector('.cmp').dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: data})) })()`)
			},
			func() {
				s.js(`(async () => { ` + strings.Replace(blob, "COLOUR", "'blue'", 1) + ` document.querySelector('#reply').dispatchEvent(new ClipboardEvent('paste', {bubbles: true, cancelable: true, clipboardData: data})) })()`)
			},
		} {
			how()
			s.until(`document.querySelector(".up progress")?.value === 1 && !!document.querySelector(".up .pri")`)
			s.press(".up", "Send")
			s.until(fmt.Sprintf(`document.querySelectorAll('.m.out[data-state=sent] .pic img').length === %d`, i+1))
		}
		s.until(`[...document.querySelectorAll('.pic img')].every((i) => i.complete && i.naturalWidth > 0)`)
	})
	t.Run("kinds with a preview", func(t *testing.T) {
		o.wechat.UserSends("oLi", "看看")
		s.open("oLi")
		s.press(".tools", "All kinds")
		s.press(".pop.tg", "article")
		s.js(`window.fill = (id, v) => { const el = document.getElementById(id); el.focus(); document.execCommand('insertText', false, v) }`)
		s.js(`fill('kf-title', '白毫银针怎么泡'); fill('kf-url', 'https://example.com/tea'); fill('kf-picurl', ` + quote(elsewhere(t)) + `)`)
		s.until(`document.querySelector('.kp').textContent.includes('白毫银针怎么泡')`)
		s.until(`!!document.querySelector('.kp .none') && !document.querySelector('.kp img')`) // there is no message yet whose picture it is
		s.press(".sendbar", "Send")
		s.until(`[...document.querySelectorAll('.m.out[data-state=sent]')].some((m) => m.textContent.includes('白毫银针怎么泡') && m.querySelector('.news img')?.naturalWidth > 0)`)
		s.press(".tools", "All kinds")
		s.press(".pop.tg", "menu")
		s.js(`fill('kf-head', '您满意吗'); fill('kf-list', '满意'); fill('kf-list1', '不满意')`)
		s.until(`document.querySelectorAll('.kp .mm li').length === 2`)
		s.press(".sendbar", "Send")
		s.until(`[...document.querySelectorAll('.m.out[data-state=sent]')].some((m) => m.textContent.includes('不满意'))`)
		sent := o.wechat.Sent("oLi")
		if len(sent) != 2 || sent[0].Message.Body.MsgType() != "news" || sent[1].Message.Body.MsgType() != "msgmenu" {
			t.Fatalf("arrived: %v", sent)
		}
		must[kefutest.Action](t, "tap")(o.wechat.Does("oLi", "menu-tap", kefutest.Details{ID: "1", Content: "满意"}))
		s.until(`!!document.querySelector('.m.out .mm li .i')`) // the tapped choice is marked
		s.until(`!!document.querySelector('.meter') && !document.querySelector('.shutbar')`)
		time.Sleep(1100 * time.Millisecond) // the tap's window has ended, that of the message goes on
		s.until(`!document.querySelector('.shutbar') && document.querySelector('#send').textContent.includes('Send')`)
	})
}

// elsewhere is the URL of a picture on a server that the gateway alone may ask for it.
func elsewhere(t *testing.T) string {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if q.UserAgent() != "kefu" {
			t.Errorf("the browser itself asks for a picture: %s", q.UserAgent())
		}
		_, _ = w.Write(photo())
	}))
	t.Cleanup(site.Close)
	return site.URL + "/tea.jpg"
}

// Two agents at one conversation: each sees the other, one has it, and nothing is
// answered twice.
func TestDeskTwoAgents(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	ann, bob := o.sit("ann"), o.sit("bob")
	ann.again() // she knows of bob now
	ann.open("oMei")
	bob.open("oMei")
	ann.until(`document.querySelector('.th header').textContent.includes('bob also here')`)
	ann.write("我来答")
	bob.until(`document.querySelector('.cmp .ban')?.textContent.includes('ann is replying too')`)
	bob.js(`window.asked = 0; window.confirm = () => (window.asked++, false)`)
	bob.write("我也来答")
	bob.enter()
	bob.until(`window.asked === 1`)
	ann.js(`window.confirm = () => true`)
	ann.enter()
	ann.bubble("我来答", "sent")
	bob.bubble("我来答", "sent")
	o.arrives("oMei", "我来答")
	// Whoever answers has it; the other may not take it without knowing.
	bob.until(`document.querySelector('.th header').textContent.includes('ann')`)

	// Both claim at once: one has it, the other is told.
	o.wechat.UserSends("oLi", "你好")
	for _, s := range []*seat{ann, bob} {
		s.expect("409")
		s.open("oLi")
		s.until(`[...document.querySelectorAll('.th header .btn')].some((b) => b.textContent.trim() === 'Claim')`)
	}
	claim := `[...document.querySelectorAll('.th header .btn')].find((b) => b.textContent.trim() === 'Claim').click()`
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = chromedp.Run(bob.ctx, chromedp.Evaluate[chromedp.Void](claim+"; void 0"))
	}()
	ann.js(claim)
	<-done
	owner := ""
	for end := time.Now().Add(patience); owner == "" && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		c, err := o.boss.Conversation(t.Context(), kefutest.DefaultAccount.AppID, "oLi")
		if err != nil {
			t.Fatal(err)
		}
		owner = c.AssignedTo
	}
	for name, s := range map[string]*seat{"ann": ann, "bob": bob} {
		if owner == o.agents[name] {
			s.until(`!!document.querySelector('.th header .tagc.a')`)
		} else {
			s.until(`document.querySelector('.toasts').textContent.includes('changed hands') || document.querySelector('.th header').textContent.includes(` + quote(map[string]string{"ann": "bob", "bob": "ann"}[name]) + `)`)
		}
	}
}

// Without a mouse: open, read, answer, give away, close.
func TestDeskByKeyboard(t *testing.T) {
	o := openOffice(t)
	for _, f := range []string{"oMei", "oLi"} {
		o.wechat.UserSends(f, "在吗 "+f)
	}
	o.link("bob", gateway.Answers)
	s := o.sit("ann")
	s.until(`document.querySelectorAll('a.cr').length === 2`)
	s.js(`document.activeElement?.blur()`)
	key := func(k string) { t.Helper(); s.do(chromedp.KeyEvent(k)) }
	key("?")
	s.until(`document.querySelectorAll('dialog[open] .keysh > div').length > 8`)
	key(kb.Escape)
	s.until(`!document.querySelector('dialog')`)
	key("j")
	s.until(`location.pathname.startsWith('/console/c/') && document.activeElement.matches('a.cr')`)
	first := eval[string](s.phone, `location.pathname`)
	key("j")
	s.until(`location.pathname !== ` + quote(first))
	openid := eval[string](s.phone, `location.pathname.split('/').at(-1)`)
	s.heard("在吗 " + openid)
	key("c")
	s.until(`!!document.querySelector('.th header .tagc.a')`)
	s.enter()
	s.until(`document.activeElement.id === 'reply'`)
	s.do(chromedp.KeyEvent("hello"))
	s.enter()
	s.bubble("hello", "sent")
	o.arrives(openid, "hello")
	key(kb.Escape)
	s.until(`document.activeElement.id !== 'reply'`)
	key("t")
	s.until(`document.activeElement.getAttribute('role') === 'menuitem'`)
	for range 5 {
		if eval[bool](s.phone, `document.activeElement.textContent.includes('bob')`) {
			break
		}
		key(kb.ArrowDown)
	}
	s.enter()
	s.until(`document.querySelector('.th header h2').textContent.includes('bob')`)
	s.until(`document.activeElement.id === 'menu-transfer'`)
	key("e")
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		c, err := o.boss.Conversation(t.Context(), kefutest.DefaultAccount.AppID, openid)
		if err != nil {
			t.Fatal(err)
		}
		if c.Closed && c.AssignedTo == o.agents["bob"] {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("not closed, or not bob's: %+v", c)
		}
	}
	key(kb.Escape)
	s.until(`location.pathname === '/console'`)
	// Each control has a name.
	if got := eval[[]string](s.phone, `[...document.querySelectorAll('button, a, input, textarea, select')].filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length || e.getAttribute('aria-labelledby'))).map((e) => e.outerHTML.slice(0, 120))`); len(got) > 0 {
		t.Errorf("without a name:\n%s", strings.Join(got, "\n"))
	}
}

// The line hangs: the page says so, and after that nothing is missing and nothing is
// there twice.
func TestDeskCutOff(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "第 0 句")
	c := layCable(t, o.p.addr)
	s := o.sitAt(c.addr, "ann", "en")
	s.open("oMei")
	s.heard("第 0 句")
	for round := range 3 {
		begun := time.Now()
		c.sever()
		s.soon(`!!document.querySelector('.cmp .ban.w')`)
		t.Logf("round %d: the notice is there after %v", round, time.Since(begun).Round(10*time.Millisecond))
		for i := range 5 {
			o.wechat.UserSends("oMei", fmt.Sprintf("断线 %d-%d", round, i))
		}
		c.mend()
		s.heard(fmt.Sprintf("断线 %d-4", round))
		s.until(`!document.querySelector('.cmp .ban.w')`)
	}
	got := eval[[]string](s.phone, `[...document.querySelectorAll('.log .m:not(.out) .bub')].map((m) => m.textContent)`)
	want := []string{"第 0 句"}
	for round := range 3 {
		for i := range 5 {
			want = append(want, fmt.Sprintf("断线 %d-%d", round, i))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("in the thread: %q\nwant %q", got, want)
	}
}

// What was found far up is shown among what was said around it, whoever's it is.
func TestDeskGoesToWhatWasFound(t *testing.T) {
	o := openOffice(t)
	for i := range 230 {
		o.wechat.UserSends("oMei", fmt.Sprintf("第 %d 句", i+1))
	}
	s := o.sit("ann")
	s.js(`document.querySelector('.tabs [role=tab]').click()`) // mine: not hers
	s.js(`{ const el = document.querySelector('#search'); el.focus(); document.execCommand('insertText', false, '第 17 句') }`)
	s.until(`!!document.querySelector('.fr')`)
	s.js(`document.querySelector('.fr').click()`)
	visible := func(text string) string {
		return `[...document.querySelectorAll('.log .m.hit')].some((m) => { const r = m.getBoundingClientRect(), p = document.querySelector('.scroll').getBoundingClientRect(); return m.textContent.includes(` + quote(text) + `) && r.top >= p.top && r.bottom <= p.bottom })`
	}
	s.until(visible("第 17 句"))
	s.until(`[...document.querySelectorAll('.log .m')].some((m) => m.textContent.includes('第 18 句'))`)

	// On from there, and to another one of the same conversation.
	s.js(`{ const el = document.querySelector('#search'); el.focus(); el.select(); document.execCommand('insertText', false, '第 201 句') }`)
	s.until(`document.querySelector('.fr')?.textContent.includes('201')`)
	s.js(`document.querySelector('.fr').click()`)
	s.until(visible("第 201 句"))

	// A note of the team's.
	s.js(`document.querySelector('#note-mode').click()`)
	s.until(`!!document.querySelector('.box.nte')`)
	s.answer("爱喝白茶")
	s.until(`!!document.querySelector('.pill.down')`) // it is below what is looked at
	s.js(`{ const el = document.querySelector('#search'); el.focus(); el.select(); document.execCommand('insertText', false, '爱喝白茶') }`)
	s.until(`document.querySelector('.fr')?.textContent.includes('白茶')`)
	s.js(`document.querySelector('.fr').click()`)
	s.until(`!!document.querySelector('.log .nt.hit')`)

	// A name is found in every view.
	s.js(`{ const el = document.querySelector('#search'); el.focus(); el.select(); document.execCommand('insertText', false, 'oMei') }`)
	s.until(`!!document.querySelector('.rows a.cr[data-key$="oMei"]')`)
}
