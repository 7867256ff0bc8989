package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// stop is what Tab has come to: which element, and what is wrong with it.
type stop struct{ What, Wrong string }

// stops presses Tab from the beginning of the page to its end, and returns where it stops,
// at most so often.
func (s *seat) stops(most int) (all []stop) {
	s.t.Helper()
	s.js(`document.querySelector('.skip').focus(); window.tabbed = new Set()`)
	for i := range most {
		if i > 0 {
			s.do(chromedp.KeyEvent(kb.Tab))
		}
		at := eval[stop](s.phone, `(() => {
			const el = document.activeElement;
			if (!el || el === document.body || tabbed.has(el)) return {what: '', wrong: ''};
			tabbed.add(el);
			const r = el.getBoundingClientRect(), name = (el.getAttribute('aria-label') ?? document.getElementById(el.getAttribute('aria-labelledby'))?.textContent ?? (el.labels?.[0]?.textContent || el.textContent)).trim().replace(/\s+/g, ' ').slice(0, 40);
			const lit = (e) => e && (getComputedStyle(e).outlineStyle !== 'none' && parseFloat(getComputedStyle(e).outlineWidth) >= 2 || getComputedStyle(e).boxShadow !== 'none' && e.matches('.box'));
			const seen = document.elementFromPoint(Math.min(Math.max(r.left + r.width / 2, 0), innerWidth - 1), Math.min(Math.max(r.top + Math.min(r.height / 2, 12), 0), innerHeight - 1));
			return {what: el.tagName.toLowerCase() + ' ' + name, wrong: [
				!name && 'has no name', el.tabIndex > 0 && 'jumps the order', !lit(el) && !lit(el.closest('.in, .opick, .box, .pick')) && 'shows no focus',
				(r.bottom < 0 || r.top > innerHeight || r.right < 0 || r.left > innerWidth) && 'is out of sight',
				seen && !el.contains(seen) && !seen.contains(el) && !el.closest('label')?.contains(seen) && 'lies under ' + seen.outerHTML.slice(0, 60)].filter(Boolean).join(', ')};
		})()`)
		if at.What == "" {
			break
		}
		all = append(all, at)
	}
	return all
}

// The operators' pages without a mouse: a key leads to each, Tab to everything on it in
// order, and it can be seen where one is; what opens takes the focus, Esc closes it and
// gives the focus back; ? lists the keys.
func TestOpsByKeyboard(t *testing.T) {
	o := openOffice(t)
	o.link("root", gateway.Admin)
	o.link("bob", gateway.Answers)
	o.wechat.UserSends("oMei", "在吗")
	o.wechat.Fail(kefutest.DropReply)
	o.entrust("oMei", "您的快递已经发出", "park")
	call(t, "POST", o.p.url()+"/v1/webhooks", `{"url":"`+o.wechat.URL+`/nowhere","name":"shop"}`, nil)
	s := o.sit("root", focused())
	key := func(k string) { t.Helper(); s.do(chromedp.KeyEvent(k)) }
	here := func(selector string) { t.Helper(); s.until(`document.activeElement.matches(` + quote(selector) + `)`) }
	focus := func(selector string) {
		t.Helper()
		s.until(`!!document.querySelector(` + quote(selector) + `)`)
		s.js(`document.querySelector(` + quote(selector) + `).focus()`)
	}

	for _, p := range []struct{ keys, path, ready, has string }{
		{"gb", "board", ".kpi", "button 7 days"},
		{"gm", "messages", "tbody tr", "button text 您的快递已经发出"},
		{"gx", "explorer", "#x-touser", "button Send"},
		{"ga", "accounts", ".acct .tok", "button Check"},
		{"", "callbacks", "tbody tr", "button 在吗"},
		{"", "webhooks", "tbody tr", "button Add webhook"},
		{"", "agents", "tbody tr", "button More bob"},
		{"", "keys", "tbody tr", "button Create key"},
		{"", "me", ".settings", "button Sign out"},
	} {
		s.js(`document.activeElement?.blur()`)
		for _, k := range p.keys {
			key(string(k))
		}
		if p.keys == "" {
			s.js(`history.pushState(null, '', '/console/` + p.path + `'); dispatchEvent(new PopStateEvent('popstate'))`)
		}
		s.until(`location.pathname === '/console/` + p.path + `' && !!document.querySelector(` + quote(p.ready) + `)`)
		all := s.stops(70)
		var names []string
		for _, at := range all {
			names = append(names, at.What)
			if at.Wrong != "" {
				t.Errorf("%s: %s %s", p.path, at.What, at.Wrong)
			}
		}
		if len(all) < 8 || !strings.HasPrefix(names[0], "a Skip") || !slices.Contains(names, p.has) {
			t.Errorf("%s: Tab comes to %d places, %q not among them: %q", p.path, len(all), p.has, names)
		}
	}

	// What opens beside a table.
	for _, path := range []string{"messages", "callbacks", "webhooks"} {
		s.do(chromedp.Navigate(s.at + "/console/" + path + "?lang=en"))
		focus("tbody .open")
		s.enter()
		here(".drw")
		key(kb.Tab) // into it
		key(kb.Escape)
		s.until(`!document.querySelector('.drw')`)
		here("tbody .open")
	}
	// What opens over the page: the first field has the focus.
	for _, d := range []struct{ path, button, field string }{{"webhooks", ".bar .pri", "dialog [name=url]"}, {"replies", ".bar .pri", "dialog [name=title]"}, {"keys", ".bar .pri", "dialog [name=name]"}, {"agents", ".bar .pri", "dialog [name=name]"}, {"accounts", ".acct .wrapr .btn:last-child", "dialog [name=name]"}} {
		s.do(chromedp.Navigate(s.at + "/console/" + d.path + "?lang=en"))
		focus(d.button)
		s.enter()
		here(d.field)
		key(kb.Escape)
		s.until(`!document.querySelector('dialog')`)
		here(d.button)
	}
	// A menu.
	s.do(chromedp.Navigate(s.at + "/console/agents?lang=en"))
	focus("tbody tr .menu .ib")
	s.enter()
	here("[role=menuitem]")
	key(kb.ArrowDown)
	here("[role=menuitem]")
	key(kb.Escape)
	s.until(`!document.querySelector('[role=menu]')`)
	here("tbody tr .menu .ib")
	// The keys, from a button that has the focus, which has it again afterwards.
	key("?")
	s.until(`document.querySelectorAll('dialog[open] .keysh > div').length > 8`)
	key(kb.Escape)
	s.until(`!document.querySelector('dialog')`)
	here("tbody tr .menu .ib")

	// All that opens in the composer.
	s.do(chromedp.Navigate(s.at + "/console/c/" + kefutest.DefaultAccount.AppID + "/oMei?lang=en"))
	focus("#kinds")
	s.enter()
	here(".tg button")
	key(kb.Escape)
	s.until(`!document.querySelector('.tg')`)
	here("#kinds")
	s.enter()
	here(".tg button")
	s.enter()
	here(".kform input")
	key(kb.Escape)
	here("#reply")
	s.until(`location.pathname.endsWith('/oMei')`) // Esc has closed the form alone
}
