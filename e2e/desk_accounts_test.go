package e2e

import (
	"testing"

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
	root.until(`!document.querySelector('dialog') && document.querySelector('.toasts').textContent.includes('Saved')`)
	call(t, "PUT", o.p.url()+"/v1/accounts/"+app, quote(object{"name": "客服演示", "rate": 25, "keep_free": 2}), nil) // and one by the API

	set(boss, "name", "茶铺")
	save(boss)
	boss.until(`document.querySelector('dialog [role=alert]')?.textContent.includes('刚被别人修改过，没有保存')`)
	boss.until(`document.querySelector('dialog [role=alert]').textContent.includes('rate: 25') && document.querySelector('dialog [role=alert]').textContent.includes('keep_free: 2')`)
	boss.until(`document.querySelector('dialog [name=name]').value === '茶铺' && document.querySelector('dialog [name=rate]').value === '25'`)
	o.shoot(boss, "edit-conflict")
	account := func() gateway.Account { return must[gateway.Account](t, "account")(o.boss.Account(t.Context(), app)) }
	if a := account(); a.Name != "客服演示" || a.Rate != 25 {
		t.Errorf("overwritten without a word: %+v", a)
	}
	save(boss)
	boss.until(`!document.querySelector('dialog') && document.querySelector('.acct').textContent.includes('茶铺')`)
	if a := account(); a.Name != "茶铺" || a.Rate != 25 || a.KeepFree == nil || *a.KeepFree != 2 {
		t.Errorf("not both changes: %+v", a)
	}
}
