package e2e

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// The API explorer: calls by hand through the gateway and to its simulator, files that
// give ids and addresses, answers in words, and what a lead may not do.
func TestExplorer(t *testing.T) {
	o := openOffice(t)
	if err := o.wechat.SetState(`{"kf_accounts":[{"kf_account":"xiaowei@demo","nickname":"小微 <b>"}]}`); err != nil {
		t.Fatal(err)
	}
	o.wechat.UserSends("oMei", "在吗")
	o.link("root", gateway.Admin)
	s := o.sit("root")
	s.expect("422") // the browser tells of the path that is refused
	visit := func(query, ready string) {
		t.Helper()
		s.js(`history.pushState(null, '', '/console/explorer?lang=en&` + query + `'); dispatchEvent(new PopStateEvent('popstate'))`)
		s.until(`!!document.querySelector(` + quote(ready) + `)`)
	}
	ask := func(says string) {
		t.Helper()
		s.js(`document.querySelector('.sendbar button').click()`)
		s.until(`document.querySelectorAll('.out2 .sec')[1].textContent.includes(` + quote(says) + `)`)
	}
	file := func(name, kind string, data []byte) {
		t.Helper()
		s.js(fmt.Sprintf(`{ const dt = new DataTransfer(); dt.items.add(new File([Uint8Array.from(atob(%q), (c) => c.charCodeAt(0))], %q, {type: %q}));
			const f = document.querySelector('#x-file'); f.files = dt.files; f.dispatchEvent(new Event('change', {bubbles: true})) }`, base64.StdEncoding.EncodeToString(data), name, kind))
	}
	shown := func() string {
		return eval[string](s.phone, `document.querySelector('.out2 .wrapr code.mono').textContent`)
	}

	visit("call=kflist", ".sendbar")
	ask("小微 <b>")
	for tab, has := range map[string]string{"curl": "$KEFU_KEY", "WeChat curl": "access_token=$TOKEN", "Go": "c.CallWeChat(ctx"} {
		s.press(".out2", tab)
		s.until(`document.querySelector('.out2 pre').textContent.includes(` + quote(has) + `)`)
	}

	visit("call=uploadimg", "#x-file")
	file("茶.jpg", "image/jpeg", photo())
	ask("mmbiz")
	s.until(`document.querySelector('.shown img')?.naturalWidth > 0`)
	if at := shown(); !strings.HasPrefix(at, o.wechat.URL+"/mmbiz") {
		t.Errorf("the address is %s", at)
	}
	for _, f := range []struct {
		name, mime string
		kind       kefu.MediaKind
		data       []byte
	}{{"a.jpg", "image/jpeg", kefu.MediaImage, photo()}, {"a.amr", "", kefu.MediaVoice, speech()}, {"a.mp4", "video/mp4", kefu.MediaVideo, film()}} {
		visit("call=media", "#x-file")
		file(f.name, f.mime, f.data)
		s.until(`document.querySelector('.form .seg [aria-pressed=true]').textContent === ` + quote(string(f.kind)))
		ask("media_id")
		if d, err := o.wechat.Client().Download(t.Context(), kefu.TemporaryID(shown())); err != nil {
			t.Errorf("%s: WeChat does not know %s: %v", f.kind, shown(), err)
		} else if d.Body != nil {
			d.Body.Close()
		}
	}

	visit("call=send&kind=text&to=simulator", "#x-content")
	s.until(`document.querySelector('#x-touser').value === 'oMei'`)
	s.js(`{ const el = document.querySelector('#x-content'); el.focus(); el.select(); document.execCommand('insertText', false, '长'.repeat(683)) }`)
	ask("45002")
	s.until(`document.querySelector('.out2 .advice').textContent.length > 20`) // in words
	s.js(`{ const el = document.querySelector('#x-content'); el.focus(); el.select(); document.execCommand('insertText', false, '短') }`)
	ask("The simulator accepted the call")
	if sent := o.wechat.Sent(); len(sent) != 0 {
		t.Errorf("a try reached %s", sent[0].OpenID)
	}

	visit("call=any", "#x-path")
	s.press(".form", "POST")
	s.js(`{ const set = (id, v) => { const el = document.querySelector(id); el.focus(); el.select(); document.execCommand('insertText', false, v) };
		set('#x-path', '/cgi-bin/menu/create'); set('#x-body', '{"button":[{"type":"click","name":"问","key":"ASK"}]}') }`)
	ask("WeChat accepted the call")
	if !strings.Contains(string(o.wechat.State()), `"ASK"`) {
		t.Error("the menu is not at WeChat")
	}
	s.js(`{ const el = document.querySelector('#x-body'); el.focus(); el.select(); document.execCommand('insertText', false, '{"button":[') }`)
	ask("not JSON")
	s.js(`{ const el = document.querySelector('#x-body'); el.focus(); el.select(); document.execCommand('insertText', false, '{}') }`)
	s.js(`{ const el = document.querySelector('#x-path'); el.focus(); el.select(); document.execCommand('insertText', false, '/cgi-bin/stable_token') }`)
	ask("no path of WeChat")
	if strings.Contains(eval[string](s.phone, `document.body.textContent`), kefutest.DefaultAccount.Secret.Reveal()) {
		t.Error("the secret is shown")
	}

	lead := o.sit("lead")
	lead.do(chromedp.Navigate(lead.at+"/console/explorer?lang=en&call=any"), chromedp.WaitVisible(chromedp.CSS("#x-touser")))
	if eval[bool](lead.phone, `[...document.querySelectorAll('.tree a')].some((a) => /call=(any|menu)/.test(a.href))`) {
		t.Error("a lead is offered an admin's calls")
	}
}
