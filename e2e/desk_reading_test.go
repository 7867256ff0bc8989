package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// header is what stands above the open thread; tab the count beside a view's name.
const header = `document.querySelector('.th header').textContent`

func tab(view string) string {
	return `[...document.querySelectorAll('.tabs [role=tab]')].find((b) => b.textContent.startsWith(` + quote(view) + `)).textContent.replace(/\D/g, '')`
}

// back is the browser's button.
func (s *seat) back() {
	s.t.Helper()
	s.js(`history.back()`)
}

// One conversation of which nothing is known but that it is there harms no other: the
// list is drawn, and the clock goes on.
func TestDeskWithoutAWindow(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	o.wechat.Follows("oLi")
	s := o.sit("ann")
	s.first(`
		const read = Response.prototype.json;
		Response.prototype.json = async function () {
			const v = await read.call(this);
			for (const c of [v, ...(v.items ?? [])]) if (c.openid === 'oMei' && c.window) delete c.window;
			return v;
		};`)
	s.again()
	s.open("oMei")
	s.until(`document.querySelector('a.cr[data-key$="oMei"] .tm').textContent.includes('Unknown')`)
	s.js(`window.first = document.querySelector('a.cr[data-key$="oLi"] .left').textContent`)
	s.until(`/^0:\d\d$/.test(first) && document.querySelector('a.cr[data-key$="oLi"] .left').textContent !== first`)
}

// What was said on an account that was removed stays in the list and can be read, closed
// and no more.
func TestDeskOfARemovedAccount(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	call(t, "DELETE", o.p.url()+"/v1/accounts/"+kefutest.DefaultAccount.AppID, "", nil)
	s := o.sit("ann")
	row := `a.cr[data-key$="oMei"]`
	s.until(`document.querySelector('` + row + ` .tm')?.textContent.includes('Closed')`)
	s.js(`document.querySelector('` + row + `').click()`)
	s.heard("在吗")
	s.until(`document.querySelector('.th .ban')?.textContent.includes('nothing can be sent')`)
	if eval[bool](s.phone, `!!document.querySelector('#reply')`) {
		t.Error("something can be written")
	}
	s.until(tab("Unclaimed") + ` === '1'`)
	s.press(".th header", "Close")
	s.until(tab("Unclaimed") + ` === '0'`)
}

// Conversations of an agent who is disabled are nobody's at once, in consoles that are
// open, too; they can be claimed, and the thread still says who had them.
func TestDeskFormerAgents(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	o.link("zoe", gateway.Answers)
	bob := o.sit("bob")
	conversation := o.p.url() + "/v1/conversations/" + kefutest.DefaultAccount.AppID + "/oMei"
	call(t, "POST", conversation+"/assign", quote(object{"agent": o.agents["zoe"]}), nil)
	bob.open("oMei")
	bob.until(header + `.includes('zoe')`)
	yes := true
	if _, err := o.boss.PutAgent(t.Context(), o.agents["zoe"], gateway.AgentRequest{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	bob.until(header + `.includes("Nobody's") && ` + tab("Unclaimed") + ` === '1'`)
	if err := o.boss.DeleteAgent(t.Context(), o.agents["zoe"]); err != nil {
		t.Fatal(err)
	}
	bob.press(".th header", "Claim")
	bob.until(header + `.includes('Mine')`)
	bob.again()
	bob.open("oMei")
	bob.until(`[...document.querySelectorAll('.log .ev')].some((l) => l.textContent.includes('handed it to zoe'))`)
	if toasts := eval[string](bob.phone, `document.querySelector('.toasts').textContent`); toasts != "" {
		t.Errorf("said: %s", toasts)
	}
}

// What a message that failed says is so: WeChat is named where it has refused, and nothing
// is promised that does not come. What would come twice is asked about.
func TestDeskSaysWhatHasFailed(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	s := o.sit("ann")
	s.open("oMei")
	of := func(text string) string {
		return `[...document.querySelectorAll('.m.out')].find((m) => m.textContent.includes(` + quote(text) + `))`
	}
	said := func(text string, has ...string) {
		t.Helper()
		s.bubble(text, "failed")
		words := eval[string](s.phone, `((m) => m.ariaLabel + ' ' + m.querySelector('.why').textContent)(`+of(text)+`)`)
		for _, want := range has {
			if want, not := strings.CutPrefix(want, "!"); strings.Contains(words, want) == not {
				t.Errorf("%s: %q, has %q: %t", text, words, want, !not)
			}
		}
	}
	t.Run("busy to the end, its attempts", func(t *testing.T) {
		o.wechat.Fail(kefutest.Fault{Next: 3, ErrCode: -1, Delay: kefutest.Duration(2 * time.Second)})
		s.answer("忙到底")
		s.until(of("忙到底") + `?.textContent.includes('1 attempt')`)
		s.js(`window.real = window.fetch; window.fetch = (a, ...r) => String(a).endsWith('/attempts') ? Promise.reject(new TypeError('cut')) : window.real(a, ...r)`)
		s.js(of("忙到底") + `.querySelector('[aria-expanded]').click()`)
		s.until(of("忙到底") + `.querySelector('[role=alert]')?.textContent.includes('Could not load')`)
		s.js(`window.fetch = window.real; ` + of("忙到底") + `.querySelector('[role=alert] button')?.click()`)
		s.until(of("忙到底") + `.querySelectorAll('.atts li').length === 3`) // and the later ones come by themselves
		said("忙到底", "Refused by WeChat (-1)", "It is not tried again")
	})
	t.Run("withheld", func(t *testing.T) {
		if _, err := o.wechat.Does("oLi", "click", kefutest.Details{Key: "menu"}); err != nil { // a window of a second
			t.Fatal(err)
		}
		o.send(object{"account": kefutest.DefaultAccount.AppID, "when_closed": "fail", "not_before": time.Now().Add(3 * time.Second).UTC().Format(time.RFC3339),
			"message": object{"touser": "oLi", "msgtype": "text", "text": object{"content": "太迟"}}})
		s.open("oLi")
		said("太迟", "Not sent", "Window closed", "!Refused", "!()")
		if n := len(o.wechat.Sent("oLi")); n != 0 {
			t.Errorf("%d were sent", n)
		}
	})
	t.Run("partly sent", func(t *testing.T) {
		s.open("oMei")
		o.wechat.UserSends("oMei", "快说")
		o.wechat.Fail(kefutest.Fault{Every: 2, Next: 1, ErrCode: 45002})
		before := len(o.wechat.Sent("oMei"))
		s.answer("长文。" + strings.Repeat("很长很长很长的一段话。", 90))
		said("长文", "Refused by WeChat (45002)")
		s.js(`window.asked = []; window.confirm = (words) => !asked.push(words)`)
		s.press(".m[data-state=failed]:last-child", "Send again")
		s.until(`asked.length === 1 && asked[0].includes('1 of 2 parts')`)
		if n := len(o.wechat.Sent("oMei")) - before; n != 1 {
			t.Fatalf("%d parts arrived without a yes", n)
		}
		s.yes()
		s.press(".m[data-state=failed]:last-child", "Send again")
		s.until(`[...document.querySelectorAll('.m[data-state=sent]')].some((m) => m.textContent.includes('长文') && m.textContent.includes('possible duplicate'))`)
	})
}

// What a phone has no room for can be got at all the same, and Back leads where one was.
func TestDeskReadingOnAPhone(t *testing.T) {
	o := openOffice(t)
	o.wechat.UserSends("oMei", "在吗")
	o.link("zoe", gateway.Answers)
	s := o.sit("ann", chromedp.EmulateViewport(390, 780))
	s.open("oMei")
	pane := func(p string) { t.Helper(); s.until(`document.body.dataset.pane === ` + quote(p)) }
	toCard := func() {
		t.Helper()
		s.press(".th header", "More")
		s.press(".th header [role=menu]", "Open the card")
		pane("card")
	}
	toCard()
	s.back()
	pane("thread")
	toCard()
	s.js(`document.querySelector('.desk > .card .mob').click()`)
	pane("thread")
	s.back() // one step from the thread, whichever way one came back to it
	pane("list")
	s.open("oMei")
	s.press(".th header", "More")
	s.press(".th header [role=menu]", "Close")
	s.until(`[...document.querySelectorAll('.log .ev')].some((l) => l.textContent.includes('closed it'))`)
	s.press(".th header", "More") // what is closed is not closed again
	s.until(`document.querySelector('.th header [role=menu]')?.textContent.startsWith('Hand')`)
}

// The desk says what it has not: whom to transfer to, a line that was found far back;
// U and "Closing" count what is open, and all notes can be seen.
func TestDeskReading(t *testing.T) {
	o := openOffice(t)
	app := kefutest.DefaultAccount.AppID
	path := func(openid, call string) string { return o.p.url() + "/v1/conversations/" + app + "/" + openid + call }
	for _, openid := range []string{"oFirst", "oSecond", "oThird"} { // oSecond's ends first of those that are open
		o.wechat.UserSends(openid, "在吗")
		if openid != "oThird" {
			time.Sleep(1100 * time.Millisecond)
		}
	}
	call(t, "POST", path("oFirst", "/close"), "", nil)
	s := o.sit("ann")

	s.js(`document.querySelector('.lst header .ib').click()`) // latest first
	s.until(`document.querySelector('.rows a.cr')?.dataset.key.endsWith('oFirst') || document.querySelector('.rows a.cr')?.dataset.key.endsWith('oThird')`)
	s.js(`document.body.focus()`)
	s.do(chromedp.KeyEvent("u"))
	s.until(`location.pathname.endsWith('/oSecond')`)
	o.wechat.Advance(47 * time.Hour)
	s.until(tab("Closing") + ` === '0'`)

	s.press(".th header", "Claim")
	s.until(header + `.includes('Mine')`)
	s.press(".th header", "Transfer")
	s.until(`document.querySelector('.th header [role=menu]')?.textContent.includes('nobody else')`)

	for i := range 7 {
		call(t, "POST", path("oSecond", "/note"), quote(object{"text": fmt.Sprint("note ", i)}), nil)
	}
	s.until(`document.querySelector('.card').textContent.includes('note 6') && !document.querySelector('.card').textContent.includes('note 1')`)
	s.press(".card", "See all 7 notes")
	s.until(`document.querySelector('.card').textContent.includes('note 0')`)
}

// A line that was found further back than is loaded at a time is said to be, and loading
// goes on when one wants it.
func TestDeskFindsALineFarBack(t *testing.T) {
	o := openOffice(t)
	app := kefutest.DefaultAccount.AppID
	o.wechat.UserSends("oMei", "头一句")
	call(t, "POST", o.p.url()+"/v1/accounts/"+app+"/pause", "", nil)
	for range 4 {
		var many []object
		for i := range 800 {
			many = append(many, object{"account": app, "priority": "bulk", "message": object{"touser": "oMei", "msgtype": "text", "text": object{"content": fmt.Sprint("第 ", i)}}})
		}
		call(t, "POST", o.p.url()+"/v1/messages/batch", quote(object{"messages": many}), nil)
	}
	s := o.sit("ann")
	s.js(`{ const el = document.querySelector('#search'); el.focus(); document.execCommand('insertText', false, '头一句') }`)
	s.until(`!!document.querySelector('.found .fr')`)
	s.js(`document.querySelector('.found .fr').click()`)
	s.until(`document.querySelector('.toasts').textContent.includes('further back')`)
	s.press(".toasts", "Search further back")
	s.until(`document.querySelector('.log .hit')?.textContent.includes('头一句')`)
}

// A role is chosen and saved, not changed in passing; what an agent may no longer have is
// nobody's. An authenticator takes the secret from the page, by its camera or a tap.
func TestDeskRolesAndQRCode(t *testing.T) {
	o := openOffice(t)
	o.link("zoe", gateway.Answers)
	o.link("boss", gateway.Admin)
	s := o.sit("boss")
	s.turnTo("agents", "tbody tr")
	row := `[...document.querySelectorAll('tbody tr')].find((r) => r.textContent.includes('zoe'))`
	if eval[bool](s.phone, `!!document.querySelector('tbody select')`) {
		t.Error("a role changes by a key in the table")
	}
	s.js(row + `.querySelector('.menu .ib').click()`)
	s.press("[role=menu]", "Edit")
	s.until(`document.querySelector('dialog [name=role][value=agent]')?.checked`)
	s.js(`document.querySelector('dialog [name=role][value=viewer]').click()`)
	time.Sleep(300 * time.Millisecond)
	role := func() gateway.Role {
		for _, a := range must[[]gateway.Agent](t, "agents")(o.boss.Agents(t.Context())) {
			if a.ID == o.agents["zoe"] {
				return a.Role
			}
		}
		return ""
	}
	if got := role(); got != gateway.Answers {
		t.Errorf("%s before it is saved", got)
	}
	s.js(`document.querySelector('dialog [type=submit]').click()`)
	s.until(`!document.querySelector('dialog') && ` + row + `.textContent.includes('Read only')`)
	if got := role(); got != gateway.Views {
		t.Errorf("%s after it was saved", got)
	}
	s.until(`document.querySelector('table:last-of-type tbody tr')?.textContent.endsWith('role: Read only')`)

	s.turnTo("me", ".settings")
	s.press(".tile", "Turn on")
	s.until(`document.querySelector('.tile svg.qrcode .ink')?.getAttribute('d').length > 1000`)
	s.until(`document.querySelector('.tile a[href^="otpauth://totp/"]').href.includes('secret=' + document.querySelector('.tile pre').textContent.trim())`)
	o.shoot(s, "qrcode")
}
