package e2e

import (
	"slices"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// Two admins change the settings of one account at once: the second is told, keeps what
// was typed, sees what is new and saves on top of that; nothing of the first is lost.
func TestDeskEditsByTwo(t *testing.T) {
	o := openOffice(t)
	app := kefutest.DefaultAccount.AppID
	o.link("root", gateway.Admin)
	o.link("boss", gateway.Admin)
	editing := func(name, lang string) *seat {
		s := o.sitAt(o.p.addr, name, lang)
		s.js(`history.pushState(null, '', '/console/accounts?lang=` + lang + `'); dispatchEvent(new PopStateEvent('popstate'))`)
		s.press(".acct", map[string]string{"en": "Edit", "zh": "修改"}[lang])
		s.until(`!!document.querySelector('dialog [name=rate]')`)
		return s
	}
	set := func(s *seat, name, v string) {
		s.js(`{ const el = document.querySelector('dialog [name=` + name + `]'); el.focus(); el.select(); document.execCommand('insertText', false, ` + quote(v) + `) }`)
	}
	save := func(s *seat) { s.js(`document.querySelector('dialog [type=submit]').click()`) }
	root, boss := editing("root", "en"), editing("boss", "zh")
	boss.expect("412")

	set(root, "rate", "25")
	save(root)
	root.until(`!document.querySelector('dialog') && document.querySelector('.toasts')?.textContent.includes('Saved')`)
	call(t, "PUT", o.p.url()+"/v1/accounts/"+app, quote(object{"name": "客服演示", "rate": 25, "keep_free": 2}), nil) // and one by the API

	set(boss, "name", "茶铺")
	save(boss)
	boss.until(`document.querySelector('dialog [role=alert]')?.textContent.includes('刚被别人修改过，没有保存')`)
	boss.until(`document.querySelector('dialog [role=alert]')?.textContent.includes('rate: 25') && document.querySelector('dialog [role=alert]')?.textContent.includes('keep_free: 2')`)
	boss.until(`document.querySelector('dialog [name=name]')?.value === '茶铺' && document.querySelector('dialog [name=rate]')?.value === '25'`)
	o.shoot(boss, "edit-conflict")
	account := func() gateway.Account { return must[gateway.Account](t, "account")(o.boss.Account(t.Context(), app)) }
	if a := account(); a.Name != "客服演示" || a.Rate != 25 {
		t.Errorf("overwritten without a word: %+v", a)
	}
	save(boss)
	boss.until(`!document.querySelector('dialog') && document.querySelector('.acct')?.textContent.includes('茶铺')`)
	if a := account(); a.Name != "茶铺" || a.Rate != 25 || a.KeepFree == nil || *a.KeepFree != 2 {
		t.Errorf("not both changes: %+v", a)
	}
}

// An admin changes what an agent is called and which accounts they see; the agent, who
// was signed in, signs in anew and sees those alone. The record says so in words. A name
// alone widens nothing, though the account is gone; all accounts are chosen as such.
func TestDeskEditsAgents(t *testing.T) {
	o := openOffice(t)
	put(t, o.p.url()+"/v1/accounts/wxsecond", quote(object{"appid": "wxsecond", "name": "分店", "secret": "0123456789abcdef"}))
	o.link("bob", gateway.Answers)
	o.link("boss", gateway.Admin)
	boss := o.sitAt(o.p.addr, "boss", "zh")
	bob := o.sitAt(o.p.addr, "bob", "en")
	bob.expect("401")
	edit := func(row string) {
		boss.js(`[...document.querySelectorAll('tbody tr')].find((r) => r.textContent.includes(` + quote(row) + `)).querySelector('.menu .ib').click()`)
		boss.press("[role=menu]", "修改")
		boss.until(`!!document.querySelector('dialog [name=display]')`)
	}
	save := func() {
		boss.js(`document.querySelector('dialog [type=submit]').click()`)
		boss.until(`!document.querySelector('dialog')`)
	}
	boss.js(`history.pushState(null, '', '/console/agents?lang=zh'); dispatchEvent(new PopStateEvent('popstate'))`)
	boss.until(`document.querySelectorAll('tbody tr').length > 1`)
	edit("bob")
	boss.js(`{ const el = document.querySelector('dialog [name=display]'); el.focus(); el.select(); document.execCommand('insertText', false, '小满') }
		document.querySelector('dialog [name=scope][value=some]').click()`)
	boss.until(`!!document.querySelector('dialog [name=account][value=wxsecond]')`)
	boss.js(`document.querySelector('dialog [name=account][value=wxsecond]').click()`)
	save()
	boss.until(`[...document.querySelectorAll('tbody tr')].some((r) => r.textContent.includes('小满') && r.textContent.includes('分店') && r.textContent.includes('bob'))`)
	boss.until(`[...document.querySelectorAll('tbody tr')].some((r) => r.textContent.includes('修改客服') && r.textContent.includes('显示名、公众号：分店'))`)
	bob.until(`!!document.querySelector('form [name=password]')`)

	again := o.sitAt(o.p.addr, "bob", "en")
	again.all()
	is := func(display string, accounts ...string) {
		t.Helper()
		agents := must[[]gateway.Agent](t, "agents")(o.boss.Agents(t.Context()))
		if i := slices.IndexFunc(agents, func(a gateway.Agent) bool { return a.Name == "bob" }); i < 0 || !slices.Equal(agents[i].Accounts, accounts) || agents[i].Display != display {
			t.Errorf("the agents are %+v", agents)
		}
	}
	is("小满", "wxsecond")

	call(t, "DELETE", o.p.url()+"/v1/accounts/wxsecond", "", nil)
	boss.do(chromedp.Reload())
	boss.until(`document.querySelectorAll('tbody tr').length > 1`)
	edit("小满")
	boss.until(`document.querySelector('dialog [value=wxsecond]')?.checked && document.querySelector('dialog .fs:has([name=scope])')?.textContent.includes('已移除') && !document.querySelector('dialog [value=` + kefutest.DefaultAccount.AppID + `]')?.checked`)
	o.shoot(boss, "agent-accounts")
	boss.js(`{ const el = document.querySelector('dialog [name=display]'); el.focus(); el.select(); document.execCommand('insertText', false, '阿满') }`)
	save()
	boss.until(`[...document.querySelectorAll('tbody tr')].some((r) => r.textContent.includes('阿满'))`)
	is("阿满", "wxsecond")

	edit("阿满")
	boss.js(`document.querySelector('dialog [value=wxsecond]').click(); document.querySelector('dialog [type=submit]').click()`)
	boss.until(`document.querySelector('.toasts')?.textContent.includes('请至少选一个公众号')`)
	is("阿满", "wxsecond")
	again.expect("401")
	boss.js(`document.querySelector('dialog [name=scope][value=all]').click()`)
	boss.until(`!document.querySelector('dialog [name=account]')`)
	save()
	boss.until(`[...document.querySelectorAll('tbody tr')].some((r) => r.textContent.includes('阿满') && r.textContent.includes('全部公众号'))`)
	is("阿满")

	// What is asked about first is done once one has said yes.
	boss.js(`[...document.querySelectorAll('tbody tr')].find((r) => r.textContent.includes('阿满')).querySelector('.menu .ib').click()`)
	boss.press("[role=menu]", "删除")
	boss.press("dialog", "删除")
	boss.until(`![...document.querySelectorAll('tbody td.nm2')].some((c) => c.textContent.includes('阿满'))`)
	boss.js(`history.pushState(null, '', '/console/keys?lang=zh'); dispatchEvent(new PopStateEvent('popstate'))`)
	boss.press(".bar", "新建密钥")
	boss.until(`!!document.querySelector('dialog [name=name]')`)
	boss.js(`for (let i = 0; i < 3; i++) document.querySelector('dialog form').requestSubmit()`)
	boss.press("dialog", "已存好")
	boss.until(`document.querySelectorAll('tbody tr').length === 2`) // that of the environment, and one, not three
	boss.press("tbody tr:last-child", "吊销")
	boss.press("dialog", "吊销")
	boss.until(`document.querySelectorAll('tbody tr').length === 1`)
}
