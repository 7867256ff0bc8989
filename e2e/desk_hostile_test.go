package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

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
		"\x1b]0;owned\x07\x1b[2J\x1b[31m红", "\x1b]8;;https://example.com\x07here\x1b]8;;\x07", "\x9b31mC1", "a\rb\bc\x00d",
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
	remark := func(v string, most int) string {
		if r := []rune(strings.Map(printable, v)); len(r) > most {
			return string(r[:most])
		} else if strings.TrimSpace(string(r)) == "" {
			return "?"
		} else {
			return string(r)
		}
	}
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
			{"location", kefutest.Details{Label: text}}, {"link", kefutest.Details{Title: text, Description: text, URL: text}}, {"click", kefutest.Details{Key: text}},
			{"scan", kefutest.Details{Scene: text}}, {"scancode_waitmsg", kefutest.Details{Key: text, Result: text}}, {"menu-tap", kefutest.Details{ID: text, Content: text}},
		} {
			must[kefutest.Action](t, did.action)(o.wechat.Does(who, did.action, did.with))
		}
		call(t, "PUT", base+"/profile", quote(object{"remark": remark(text, 30)}), nil)
		call(t, "PUT", base+"/tags", quote(object{"tags": []string{remark(text, 30)}}), nil)
		call(t, "POST", base+"/note", quote(object{"text": remark(text, 300)}), nil)
		call(t, "POST", o.p.url()+"/v1/messages", quote(object{"account": app, "when_closed": "park", "message": object{
			"touser": who, "msgtype": "msgmenu", "msgmenu": object{"head_content": remark(text, 100), "list": []object{{"id": "1", "content": remark(text, 20)}}, "tail_content": remark(text, 100)}}}), nil)
	}
	o.wechat.UserSends(who, "完了")
	s.heard("完了")
	look := func() {
		t.Helper()
		if got := eval[[]string](s.phone, `[...document.querySelectorAll('#app *')].flatMap((n) => [
			['SCRIPT', 'IFRAME', 'STYLE', 'BASE', 'OBJECT', 'EMBED', 'LINK', 'META', 'MATH', 'TEMPLATE'].includes(n.tagName) && n.tagName,
			...[...n.attributes].filter((a) => /^on/i.test(a.name) || a.name === 'srcdoc').map((a) => a.name + '=' + a.value),
			n.tagName === 'IMG' && !/^(blob:|https?:\/\/[^/]+\/v1\/assets\/)/.test(n.src) && n.src,
			n.tagName === 'A' && !/^https?:$/.test(n.protocol) && n.href,
			n.target === '_blank' && !/noopener/.test(n.rel) && 'opener ' + n.href].filter(Boolean))`); len(got) > 0 {
			t.Errorf("strange strings became more than text:\n%s", strings.Join(got, "\n"))
		}
	}
	// All of the thread, from its end to its beginning, a screen at a time: the document
	// has a part of it alone. The words are there as they were written, but for characters
	// that nobody could see.
	drawn := map[string]bool{}
	for end := time.Now().Add(2 * patience); ; {
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
	s.js(`[...document.querySelectorAll('.log summary, .log .st button')].forEach((b) => b.click())`)
	// The same by the list and the search, and after all of it is loaded anew.
	s.again()
	s.js(`{ const el = document.querySelector('#search'); el.focus(); document.execCommand('insertText', false, 'owned') }`)
	s.until(`document.querySelectorAll('.found .fr').length > 0`)
	look()
	if w := eval[int](s.phone, `document.documentElement.scrollWidth - innerWidth`); w > 0 {
		t.Errorf("the page is %d px wider than the window", w)
	}
}

// printable is for fields that take no control characters: the API refuses those.
func printable(r rune) rune {
	if r < ' ' || r >= 0x7f && r < 0xa0 || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff || r >= 0x200b && r <= 0x200f {
		return -1
	}
	return r
}
