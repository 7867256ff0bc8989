package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

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

// furnish makes conversations that show what there is to see.
func (o *office) furnish() {
	o.t.Helper()
	w := o.wechat
	w.Clicks("oClosed", "hello")
	w.UserSends("oMei", "在吗？我想问一下昨天的订单", "白毫银针还有吗")
	must[kefutest.Action](o.t, "image")(w.Does("oMei", "image", kefutest.Details{}))
	must[kefutest.Action](o.t, "location")(w.Does("oMei", "location", kefutest.Details{Label: "北京市海淀区颐和园路 5 号"}))
	w.UserSends("oSpent", "五句话说得完吗")
	for i := range 6 {
		o.entrust("oSpent", fmt.Sprintf("第 %d 句", i+1), "park")
	}
	w.UserSends("oUnknown", "收到了吗")
	w.Fail(kefutest.DropReply)
	o.entrust("oUnknown", "您的快递已经发出", "park")
	w.Fail(kefutest.ErrCode(45002))
	o.entrust("oUnknown", "太长了", "park")
	o.entrust("oMei", "有的，今年的新茶，https://example.com/tea", "park")
	app := kefutest.DefaultAccount.AppID
	base := o.p.url() + "/v1/conversations/" + app + "/oMei"
	call(o.t, "PUT", base+"/profile", `{"remark":"梅姐"}`, nil)
	call(o.t, "PUT", base+"/tags", `{"tags":["VIP","白茶"]}`, nil)
	call(o.t, "POST", base+"/note", `{"text":"老客户，爱喝白茶，别催"}`, nil)
}

func (o *office) entrust(openid, text, closed string) {
	o.t.Helper()
	call(o.t, "POST", o.p.url()+"/v1/messages?wait=5s", quote(object{"account": kefutest.DefaultAccount.AppID, "when_closed": closed, "message": object{"touser": openid, "msgtype": "text", "text": object{"content": text}}}), nil)
}

// axe is the script of axe-core, which npm fetches into a folder of the test's; ""
// where that can't be.
func axe(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("npm", "install", "--no-save", "--silent", "--prefix", dir, "axe-core@4.14.1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Logf("NOT TESTED: accessibility: axe-core can't be had: %v %s", err, out)
		return ""
	}
	b, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// violations are what axe-core finds against WCAG 2.2 A and AA on the page as it is.
func (p *phone) violations(script string) []string {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](script + "; void 0"))
	found, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](`axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], resultTypes: ['violations']}).then((r) =>
		r.violations.flatMap((v) => v.nodes.map((n) => v.id + ': ' + n.target.join(' ') + ' ' + n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? ''))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatal(err)
	}
	return found
}

// The console in both languages, both colour schemes and two widths: nothing is wider
// than the window, and nothing is against WCAG 2.2 AA. KEFU_SHOTS names a folder for
// pictures, for people to look at, and has all of them made instead of thirteen.
func TestDeskShots(t *testing.T) {
	folder := os.Getenv("KEFU_SHOTS")
	if folder != "" {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	o := openOffice(t)
	o.furnish()
	script := axe(t)
	shown := 0
	pages := []struct{ name, path, ready string }{
		{"list", "/console", ".tabs"},
		{"thread", "/console/c/APP/oMei", "#reply"},
		{"closed", "/console/c/APP/oClosed", ".shutbar"},
		{"parked", "/console/c/APP/oSpent", ".m[data-state=parked]"},
		{"unknown", "/console/c/APP/oUnknown", ".m[data-state=unknown]"},
		{"me", "/console/me", ".settings"},
		{"board", "/console/board", ".kpi"},
		{"messages", "/console/messages", "tbody tr"},
		{"explorer", "/console/explorer?call=send&kind=news", "#x-title"},
	}
	for _, lang := range []string{"zh", "en"} {
		for _, scheme := range []string{"light", "dark"} {
			for _, size := range []struct{ width, height int64 }{{390, 844}, {1280, 800}} {
				if folder == "" && (lang == "zh") != (scheme == "light") {
					continue
				}
				shown++
				t.Run(fmt.Sprintf("%s-%s-%d", lang, scheme, size.width), func(t *testing.T) {
					view := []chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(size.width, size.height), colours(scheme)}
					s := o.sitAt(o.p.addr, "admin", lang, view...)
					s.t = t
					for i, page := range pages {
						if folder == "" && (i+shown)%4 != 0 {
							continue // two or three of each, and the sign-in: thirteen
						}
						path := strings.Replace(page.path, "APP", kefutest.DefaultAccount.AppID, 1)
						sep := "?"
						if strings.Contains(path, "?") {
							sep = "&"
						}
						s.do(chromedp.Navigate(s.at + path + sep + "lang=" + lang))
						s.until(`!!document.querySelector('` + page.ready + `')`)
						s.allIfListed()
						s.until(`[...document.querySelectorAll('img')].every((i) => i.complete)`)
						s.look(folder, fmt.Sprintf("desk-%s-%s-%s-%d", page.name, lang, scheme, size.width), script)
					}
					out := openTab(t, s.at+"/console?lang="+lang, ".login form", view...)
					out.expect("401") // nobody is signed in
					(&seat{out, o, s.at}).look(folder, fmt.Sprintf("desk-login-%s-%s-%d", lang, scheme, size.width), script)
				})
			}
		}
	}
}

// The picture in the README: a conversation in the console, and the same on the phone.
func TestTogetherShots(t *testing.T) {
	folder := os.Getenv("KEFU_SHOTS")
	if folder == "" {
		t.Skip("KEFU_SHOTS names no folder for pictures")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	o := openOffice(t)
	o.furnish()
	s := o.sitAt(o.p.addr, "小满", "zh", chromedp.EmulateViewport(1080, 724), colours("light"))
	s.open("oMei")
	p := openPhone(t, o.wechat.URL+"/?lang=zh&openid=oMei", chromedp.EmulateViewport(1280, 776), colours("light"))
	p.shows("有的，今年的新茶")
	both := image.NewRGBA(image.Rect(0, 0, 1080+400, 724))
	for _, from := range []struct {
		tab  *phone
		at   image.Point // in its own picture
		into image.Rectangle
	}{{s.phone, image.Point{}, image.Rect(0, 0, 1080, 724)}, {p, image.Pt(257, 52), image.Rect(1080, 0, 1480, 724)}} {
		from.tab.pictures()
		shot, err := chromedp.Run(from.tab.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(shot))
		if err != nil {
			t.Fatal(err)
		}
		draw.Draw(both, from.into, img, from.at, draw.Src)
	}
	var b bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&b, both); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "together.png"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// allIfListed shows all conversations where the list is to be seen.
func (s *seat) allIfListed() {
	s.t.Helper()
	s.js(`document.querySelector('.tabs [role=tab]:last-child')?.click()`)
	s.until(`!document.querySelector('.lst')?.offsetWidth || !!document.querySelector('a.cr')`) // on a phone there is one pane
}

func (s *seat) look(folder, name, script string) {
	s.t.Helper()
	if w := eval[int](s.phone, `document.documentElement.scrollWidth - innerWidth`); w > 0 {
		s.t.Errorf("%s: %d px wider than the window", name, w)
	}
	if folder != "" {
		png, err := chromedp.Run(s.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	if script != "" {
		for _, v := range s.violations(script) {
			s.t.Errorf("%s: %s", name, v)
		}
	}
}
