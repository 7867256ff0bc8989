package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// strange is hostile and what can be made of it: each way of getting out of text, in
// each place that it could be meant for.
func strange() (all []string) {
	all = append(all, hostile...)
	run := []string{"owned()", "parent.owned()", "top.owned()", "alert(owned())"}
	for _, js := range run {
		for _, form := range []string{
			`<img src=x onerror="%s">`, `<svg><animate onbegin=%s attributeName=x dur=1s>`, `<svg/onload=%s>`, `<body onload=%s>`, `<details open ontoggle=%s>`,
			`<video><source onerror=%s></video>`, `<input autofocus onfocus=%s>`, `<iframe src="javascript:%s"></iframe>`, `<object data="javascript:%s">`,
			`<math><mi xlink:href="javascript:%s">x</mi></math>`, `<a href="javascript:%s">a</a>`, `<a href=javascript&colon;%s>a</a>`, `<a href=" javascript:%s">a</a>`,
			`<a href="vbscript:%s">a</a>`, `<a href="data:text/html;base64,%s">a</a>`, `<a href='https://example.com' onclick='%s'>a</a>`,
			`"};%s;//`, `'-%s-'`, `</textarea><script>%s</script>`, `</title><script>%s</script>`, `</style><script>%s</script>`, `<!--><script>%s</script>-->`,
			`{{constructor.constructor('%s')()}}`, `${%s}`, `#{%s}`, `<%%= %s %%>`, `[[${%s}]]`, `{"__proto__":{"innerHTML":"<img src=x onerror=%s>"}}`,
			`<style>@import 'javascript:%s'</style>`, `<link rel=stylesheet href="data:text/css,*{display:none}" onload=%s>`,
			`<meta http-equiv=refresh content="0;url=javascript:%s">`, `<template shadowrootmode=open><img src=x onerror=%s></template>`, `javascript://%%0a%s`, `JaVaScRiPt:%s`,
			"java\nscript:%s", "\x01javascript:%s", `\u003cimg src=x onerror=%s\u003e`, `&#x3c;img src=x onerror=%s&#x3e;`,
		} {
			all = append(all, fmt.Sprintf(form, js))
		}
	}
	all = append(all,
		"\x1b]0;owned\x07\x1b[2J\x1b[31m红", "\x1b]8;;https://example.com\x07here\x1b]8;;\x07", "\u009b31mC1", "a\rb\bc\x00d",
		strings.Repeat("́", 300)+"Z", "\u202e"+strings.Repeat("ab ", 50), "\u2028\u2029\ufeff\u200b", strings.Repeat("👨‍👩‍👧", 60), strings.Repeat("长", 600),
		`\`, `"`, `'`, "`", `</`, `<`, `&`, `%s%n%x`, `../../etc/passwd`, `null`, `[object Object]`, `__proto__`, `constructor`, `-1`, `0`, `true`, `NaN`, `\u0000`, `<![CDATA[<img src=x onerror=owned()>]]>`)
	return all
}

// Whatever a follower, WeChat or a colleague writes is text on the page, and nothing
// else: no script runs, the policy is not even asked.
func TestDeskHostileStrings(t *testing.T) {
	o := openOffice(t)
	all := strange()
	if len(all) < 200 {
		t.Fatalf("%d strings", len(all))
	}
	app := kefutest.DefaultAccount.AppID
	const who = "oMallory"
	o.wechat.UserSends(who, "在吗")
	s := o.sit("ann")
	s.yes()
	s.expect("net::ERR_") // what a browser tells of a picture that is not there
	s.open(who)
	base := o.p.url() + "/v1/conversations/" + app + "/" + who
	step := figures(8, 1)
	for i, text := range all {
		o.wechat.UserSends(who, text)
		if i%step != 0 {
			continue
		}
		for _, did := range []struct {
			action string
			with   kefutest.Details
		}{
			{"location", kefutest.Details{Label: text}}, {"link", kefutest.Details{Title: text, Description: text, URL: text}}, {"click", kefutest.Details{Key: text}}, {"view", kefutest.Details{Key: text}},
			{"scancode_push", kefutest.Details{Key: text, Result: text}}, {"subscribe", kefutest.Details{Scene: text}}, {"scan", kefutest.Details{Scene: text}}, {"scancode_waitmsg", kefutest.Details{Key: text, Result: text}}, {"menu-tap", kefutest.Details{ID: text, Content: text}},
		} {
			must[kefutest.Action](t, did.action)(o.wechat.Does(who, did.action, did.with))
		}
		call(t, "PUT", base+"/profile", quote(object{"remark": remarkable(text, 30)}), nil)
		call(t, "PUT", base+"/tags", quote(object{"tags": []string{remarkable(text, 30)}}), nil)
		call(t, "POST", base+"/note", quote(object{"text": remarkable(text, 300)}), nil)
		call(t, "POST", o.p.url()+"/v1/messages", quote(object{"account": app, "when_closed": "park", "message": object{
			"touser": who, "msgtype": "msgmenu", "msgmenu": object{"head_content": remarkable(text, 100), "list": []object{{"id": "1", "content": remarkable(text, 20)}}, "tail_content": remarkable(text, 100)}}}), nil)
		o.wechat.Fail(kefutest.Fault{ErrCode: []kefutest.ErrCode{45002, 45099}[i/step%2], ErrMsg: text})
		o.entrust(who, remarkable(text, 60), "park")
	}
	o.wechat.UserSends(who, "完了")
	s.heard("完了")
	look := s.nothingButText
	// All of the thread, from its end to its beginning, a screen at a time: the document
	// has a part of it alone. The words are there as they were written, but for characters
	// that nobody could see.
	drawn := map[string]bool{}
	for end := time.Now().Add(time.Duration(figures(2, 20)) * patience); ; {
		look()
		for _, words := range eval[[]string](s.phone, `[...document.querySelectorAll('.log .m:not(.out) .bub')].map((b) => b.textContent)`) {
			drawn[words] = true
		}
		if eval[bool](s.phone, `{ const l = document.querySelector('.scroll'); const top = l.scrollHeight - l.clientHeight + l.scrollTop < 2, more = document.querySelector('.log > .day'); if (top) more?.querySelector('.lnk')?.click(); l.scrollTop -= l.clientHeight / 2; top && !more?.querySelector('.lnk') && !more?.textContent.match(/Loading|…/) }`) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the thread has no beginning: %s", eval[string](s.phone, `{ const l = document.querySelector('.scroll'); [l.scrollHeight, l.clientHeight, l.scrollTop, document.querySelectorAll('.log .m').length, document.querySelector('.log > .day')?.outerHTML].join(' ') }`))
		}
		time.Sleep(50 * time.Millisecond)
	}
	missing := slices.DeleteFunc(slices.Clone(all), func(text string) bool {
		return strings.Contains(text, "<a ") || strings.Map(printable, text) != text || slices.ContainsFunc(slices.Collect(maps.Keys(drawn)), func(words string) bool { return strings.Contains(words, text) })
	})
	if len(missing) > 0 {
		t.Errorf("not drawn as they were written: %q", missing)
	}
	s.js(`[...document.querySelectorAll('.log summary, .log .st button[aria-expanded]')].forEach((b) => b.click())`)
	s.until(`document.querySelectorAll('.atts li details').length > 1`) // with WeChat's errmsg
	look()
	// The same by the list and the search, and after all of it is loaded anew.
	s.again()
	s.js(`{ const el = document.querySelector('#search'); el.focus(); document.execCommand('insertText', false, 'owned') }`)
	s.until(`document.querySelectorAll('.found .fr').length > 0`)
	look()
	if w := eval[int](s.phone, `document.documentElement.scrollWidth - innerWidth`); w > 0 {
		t.Errorf("the page is %d px wider than the window", w)
	}
}

// What WeChat says, whatever it is, and what the programs say that the gateway calls,
// is text on the operators' pages, too: kinds and names of events that nobody knows,
// openids, cards, errmsg of all calls, answers of webhooks, workers' names, reasons.
func TestDeskHostilePages(t *testing.T) {
	o := openOffice(t)
	app := kefutest.DefaultAccount.AppID
	var all []string // at the end those that are members of every object in JavaScript
	for i, text := range strange() {
		if i%figures(16, 1) == 0 {
			all = append(all, text)
		}
	}
	all = append(all, "constructor", "__proto__", "toString")
	said := make(chan string, 1) // what the endpoint answers next
	receive(t, o.p, `,"schedule":[0]`, func(w http.ResponseWriter, _ *http.Request) {
		select {
		case text := <-said:
			switch len(text) % 4 {
			case 0:
				w.Header().Set("Location", "javascript:owned()//"+remarkable(text, 60))
				w.WriteHeader(http.StatusFound)
			case 1:
				fmt.Fprint(w, text)
			case 2:
				fmt.Fprint(w, quote(object{"handover": text, "messages": []object{{"msgtype": text, text: text}}}))
			case 3:
				fmt.Fprint(w, quote(object{"messages": []object{{"msgtype": "text", "text": object{"content": text}, "account": text, "message": object{text: text}}}}))
			}
		default:
		}
	})
	var workers []object
	crypt := must[*callback.Crypt](t, "crypt")(callback.NewCrypt(app, kefutest.DefaultAccount.Token, kefutest.DefaultAccount.AESKey))
	for i, text := range all {
		workers = append(workers, object{"kf_account": signerOf(i), "nickname": text, "headimg": text, "kf_wx": text})
		select {
		case said <- text:
		default: // the last one has not been asked for yet
		}
		who := fmt.Sprintf("oPush%d", i)
		o.pushed(t, crypt, who, 1000+i, "<MsgType>%s</MsgType><Content>%[1]s</Content>", text)
		o.pushed(t, crypt, remarkable(text, 20), 2000+i, "<MsgType>text</MsgType><Content>%s</Content>", text)
		for _, event := range []string{text, "user_get_card", "user_gifting_card", "user_consume_card", "card_not_pass_check", "card_pay_order", "user_pay_from_pay_cell", "kf_create_session", "kf_close_session",
			"kf_switch_session", "view_miniprogram", "location_select", "pic_weixin", "user_enter_tempsession", "templatesendjobfinish", "publishjobfinish"}[:figures(1+1+i%15, 16)] {
			o.pushed(t, crypt, who, 0, `<MsgType>event</MsgType><Event>`+strings.ReplaceAll(cdata(event), "%", "%%")+`</Event><EventKey>%s</EventKey><CardId>%[1]s</CardId><UserCardCode>%[1]s</UserCardCode><FriendUserName>%[1]s</FriendUserName><OuterStr>%[1]s</OuterStr>
				<LocationName>%[1]s</LocationName><RemarkAmount>%[1]s</RemarkAmount><RefuseReason>%[1]s</RefuseReason><Desc>%[1]s</Desc><Memo>%[1]s</Memo><TransId>%[1]s</TransId><KfAccount>%[1]s</KfAccount><FromKfAccount>%[1]s</FromKfAccount>
				<ToKfAccount>%[1]s</ToKfAccount><CloseType>%[1]s</CloseType><SendLocationInfo><Label>%[1]s</Label><Poiname>%[1]s</Poiname></SendLocationInfo><SessionFrom>%[1]s</SessionFrom><Status>%[1]s</Status>
				<PublishEventInfo><publish_id>%[1]s</publish_id><article_id>%[1]s</article_id></PublishEventInfo>`, text)
		}
		if code := o.push(t, crypt, text); code != http.StatusForbidden && code != http.StatusBadRequest {
			t.Errorf("%d to a push that can't be read: %.60q", code, text)
		}
		o.wechat.Fail(kefutest.Fault{ErrCode: []kefutest.ErrCode{45002, 45099}[i%2], ErrMsg: text})
		o.entrust(who, fmt.Sprintf("第 %d 条", i), "try")
	}
	if err := o.wechat.SetState(quote(object{"kf_accounts": workers})); err != nil {
		t.Fatal(err)
	}

	o.link("root", gateway.Admin)
	s := o.sit("root")
	s.expect("net::ERR_")
	s.expect("the server responded with a status of") // calls that are refused, and readyz of a paused account
	s.yes()
	visit := func(path, ready string) {
		t.Helper()
		s.js(`history.pushState(null, '', ` + quote("/console/"+path) + `); dispatchEvent(new PopStateEvent('popstate'))`)
		s.until(`!!document.querySelector(` + quote(ready) + `)`)
		s.nothingButText()
	}
	// each opens what there is to open on the page, one after the other, and collects
	// what is written there.
	each := func(path, open, shown string) (words string) {
		t.Helper()
		visit(path, open)
		for i, n := 0, min(figures(12, 1000), eval[int](s.phone, `document.querySelectorAll(`+quote(open)+`).length`)); i < n; i++ {
			s.js(fmt.Sprintf(`document.querySelectorAll(%q)[%d].click()`, open, i))
			s.until(`!!document.querySelector(` + quote(shown) + `)`)
			if i%10 == 0 {
				s.nothingButText()
			}
		}
		s.nothingButText()
		return eval[string](s.phone, `document.querySelector('#app').textContent`)
	}
	written := func(where, words string, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if strings.Map(printable, text) == text && !strings.Contains(words, text) {
				t.Errorf("%s: not written as it is: %.80q", where, text)
			}
		}
	}
	each("callbacks?openid=oPush0", "tbody button.open", ".drw pre")
	visit("agents", "tbody tr") // and the list of before is gone
	each("callbacks", "tbody button.open", ".drw pre")
	each("messages", "tbody button.open", ".drw .att")
	visit("messages?since=constructor", "tbody tr")
	each("webhooks", "tbody button.open", ".drw .att")
	visit("explorer?call=send&kind=constructor", "#x-content")

	ask := func(says string) {
		t.Helper()
		s.js(`document.querySelector('.sendbar button').click()`)
		s.until(`document.querySelector('.out2 pre[aria-label=Answer]')?.textContent.includes(` + quote(says) + `)`)
		s.nothingButText()
	}
	visit("explorer?call=kflist&lang=en", ".sendbar")
	ask("kf_list")
	written("the explorer", strings.ReplaceAll(strings.ReplaceAll(eval[string](s.phone, `document.querySelector('.out2').textContent`), `\"`, `"`), `\\`, `\`), all[:3]...)
	for i, text := range all {
		if i%figures(9, 1) > 0 {
			continue
		}
		o.wechat.Fail(kefutest.Fault{Path: "/cgi-bin/customservice/getkflist", ErrCode: 65099, ErrMsg: text})
		ask("65099")
		// The set-up is refused with these words: the account is paused because of them,
		// which its page and the board say.
		o.wechat.Fail(kefutest.Fault{ErrCode: 48001, ErrMsg: text})
		o.entrust("oPush0", "停", "try")
		visit("accounts", ".advice.ref")
		written("the reason of a pause", eval[string](s.phone, `document.querySelector('.acct').textContent`), text)
		visit("board", ".kpi")
		call(t, "POST", o.p.url()+"/v1/accounts/"+app+"/resume", "", nil)
		call(t, "POST", o.p.url()+"/v1/accounts/"+app+"/pause", quote(object{"because": remarkable(text, 100)}), nil)
		visit("board", ".kpi")
		visit("accounts", ".advice.ref")
		call(t, "POST", o.p.url()+"/v1/accounts/"+app+"/resume", "", nil)
		visit("explorer?call=kflist&lang=en", ".sendbar")
	}
	// A file's name in the explorer's examples.
	visit("explorer?call=media", "#x-file")
	for _, text := range all[:figures(3, len(all))] {
		s.js(`{ const dt = new DataTransfer(); dt.items.add(new File(['x'], ` + quote(text) + `, {type: 'image/png'})); const f = document.querySelector('#x-file'); f.files = dt.files; f.dispatchEvent(new Event('change', {bubbles: true})) }`)
		s.nothingButText()
	}
	// The list, with openids that are none of WeChat's, and one of their threads.
	visit("", "a.cr")
	s.js(`document.querySelector('a.cr').click()`)
	s.until(`!!document.querySelector('.log .m')`)
	s.nothingButText()
	if w := eval[int](s.phone, `document.documentElement.scrollWidth - innerWidth`); w > 0 {
		t.Errorf("the page is %d px wider than the window", w)
	}
}

// cdata is a text in XML; what XML can't hold is left out.
func cdata(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == '\uFFFE' || r == '\uFFFF' || r == '\uFFFD' {
			return -1
		}
		return r
	}, s)
	return "<![CDATA[" + strings.ReplaceAll(s, "]]>", "]]]]><![CDATA[>") + "]]>"
}

// pushed has WeChat push members of its XML, in which %s is a text, of a follower; the
// gateway must take it.
func (o *office) pushed(t *testing.T, crypt *callback.Crypt, openid string, id int, members, text string) {
	t.Helper()
	head := fmt.Sprintf("<xml><ToUserName>gh_1</ToUserName><FromUserName>%s</FromUserName><CreateTime>%d</CreateTime>", cdata(openid), time.Now().Unix())
	if code := o.push(t, crypt, head+fmt.Sprintf("<MsgId>%d</MsgId>", id)+fmt.Sprintf(members, cdata(text))+"</xml>"); code != http.StatusOK {
		t.Errorf("%d to a push with %.60q", code, text)
	}
}

// push posts a body as WeChat does, once.
func (o *office) push(t *testing.T, crypt *callback.Crypt, body string) (status int) {
	t.Helper()
	a := kefutest.DefaultAccount
	encrypt := must[string](t, "encrypt")(crypt.Encrypt([]byte(body)))
	now := strconv.FormatInt(time.Now().Unix(), 10)
	q := fmt.Sprintf("?encrypt_type=aes&timestamp=%s&nonce=n&msg_signature=%s", now, callback.Signature(a.Token, now, "n", encrypt))
	res, err := http.Post(o.p.url()+"/callback/"+a.AppID+q, "text/xml", strings.NewReader("<xml><ToUserName>gh_1</ToUserName><Encrypt>"+encrypt+"</Encrypt></xml>"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// nothingButText checks that of what is shown nothing has become more than text.
func (s *seat) nothingButText() {
	s.t.Helper()
	if got := eval[[]string](s.phone, `[...document.querySelectorAll('#app *')].flatMap((n) => [
		['SCRIPT', 'IFRAME', 'STYLE', 'BASE', 'OBJECT', 'EMBED', 'LINK', 'META', 'MATH', 'TEMPLATE'].includes(n.tagName) && n.tagName,
		...[...n.attributes].filter((a) => /^on/i.test(a.name) || a.name === 'srcdoc').map((a) => a.name + '=' + a.value),
		n.tagName === 'IMG' && !/^(blob:|https?:\/\/[^/]+\/v1\/assets\/)/.test(n.src) && n.src,
		n.tagName === 'A' && !/^https?:$/.test(n.protocol) && n.href,
		n.target === '_blank' && !/noopener/.test(n.rel) && 'opener ' + n.href].filter(Boolean))`); len(got) > 0 {
		s.t.Errorf("strange strings became more than text:\n%s", strings.Join(got, "\n"))
	}
}

// remarkable is the text as fields take it that have no control characters and at most
// that many characters.
func remarkable(text string, most int) string {
	r := []rune(strings.Map(printable, text))
	if r = r[:min(len(r), most)]; strings.TrimSpace(string(r)) == "" {
		return "?"
	}
	return string(r)
}

// printable is for fields that take no control characters: the API refuses those.
func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff || r >= 0x200b && r <= 0x200f {
		return -1
	}
	return r
}
