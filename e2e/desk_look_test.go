package e2e

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

//go:embed desk_day.sql
var deskDaySQL string

// Followers of the pictures: openids are as WeChat makes them, for a page that shows
// short ones shows nothing.
const (
	closed  = "oShYu5k7RvQb9LdXw2Tn6MfJc4Hs"
	spent   = "oShYu5mP3sYg8ZtCa1Vh5KxUe0Wq"
	unknown = "oShYu5nE6uBj4FoDi9Rl7SyGw8Xc"
	inbound = "oShYu5pA2vHk5MqTz3Nc0JbLs7Yd"
	ours    = "oShYu5qS9wKm1PxEf8Ug6DhVn4Zb"
	states  = "oShYu5rD4xLn7QyGi2Wj3FkBp5Ta"
	handed  = "oShYu5sF8yMp0RzHk6Xl1GmCr9Ue"
	hot     = "oShYu5uG1zNq3TaJm5Yn8HpDt2Vf"
)

// yesterday gives the office a day that has passed, and what it shows of it.
func (o *office) yesterday() {
	o.t.Helper()
	o.p.kill()
	o.p.write(o.t, deskDaySQL, "$exchanges", "160")
	o.p.start()
}

// furnish makes conversations that show what there is to see.
func (o *office) furnish() {
	o.t.Helper()
	w := o.wechat
	w.Clicks(closed, "hello")
	w.UserSends("oMei", "在吗？我想问一下昨天的订单", "白毫银针还有吗")
	o.does("oMei", "image", kefutest.Details{})
	o.does("oMei", "location", kefutest.Details{Label: "北京市海淀区颐和园路 5 号"})
	w.UserSends(spent, "五句话说得完吗")
	for i := range 6 {
		o.entrust(spent, fmt.Sprintf("第 %d 句", i+1), "park")
	}
	w.UserSends(unknown, "收到了吗")
	w.Fail(kefutest.DropReply)
	o.entrust(unknown, "您的快递已经发出", "park")
	w.Fail(kefutest.ErrCode(45002))
	o.entrust(unknown, "太长了", "park")
	o.entrust("oMei", "有的，今年的新茶，https://example.com/tea", "park")
	base := o.conversation("oMei")
	call(o.t, "PUT", base+"/profile", `{"remark":"梅姐"}`, nil)
	call(o.t, "PUT", base+"/tags", `{"tags":["VIP","白茶"]}`, nil)
	call(o.t, "POST", base+"/note", `{"text":"老客户，爱喝白茶，别催"}`, nil)
}

// furnishMore makes what else a page can show: every kind in both directions, every
// state, who has a conversation, keys, replies and webhooks.
func (o *office) furnishMore() {
	o.t.Helper()
	t, w := o.t, o.wechat
	app := kefutest.DefaultAccount.AppID

	o.link("小满", gateway.Admin)
	o.link("阿澄", gateway.Answers)
	o.link("小南", gateway.Views)

	// What the business's own callback answers comes back through the gateway.
	a := kefutest.DefaultAccount
	business := httptest.NewServer(&callback.Handler{AppID: a.AppID, Token: a.Token, AESKey: a.AESKey, Receive: func(_ context.Context, e callback.Event) (callback.Reply, error) {
		if m, ok := e.(callback.TextMessage); ok && m.Content == "营业时间" {
			return callback.Text{Content: "每天 9:00 到 21:00，周一休息。"}, nil
		}
		return nil, nil
	}})
	t.Cleanup(business.Close)
	put(t, o.p.url()+"/v1/accounts/"+app, quote(object{"appid": app, "name": "客服演示", "rules": object{"menu": object{"max": 3, "seconds": 1}}, "callback_forward": business.URL}))
	w.UserSends(handed, "营业时间")
	base := o.conversation(handed)
	call(t, "POST", base+"/assign", quote(object{"agent": o.agents["小满"]}), nil)
	call(t, "POST", base+"/assign", quote(object{"agent": o.agents["阿澄"]}), nil)
	call(t, "POST", base+"/assign", `{"agent":null}`, nil)
	call(t, "POST", base+"/close", `{}`, nil)
	w.UserSends(handed, "还有一个问题，想找人工")
	for _, to := range []string{"bot", "agent", "kf"} {
		call(t, "POST", base+"/handover", quote(object{"handler": to}), nil)
	}

	w.Follows(inbound, "门店台卡 3 号")
	w.UserSends(inbound, "你好，看看这个 <a href=\"https://example.com/tea\">新茶</a>\n还有 https://example.com/a?b=1&c=2 😀")
	for _, did := range []struct {
		action string
		with   kefutest.Details
	}{
		{"image", kefutest.Details{}}, {"voice", kefutest.Details{}}, {"video", kefutest.Details{}}, {"location", kefutest.Details{Label: "广州市海珠区新港中路 397 号"}},
		{"link", kefutest.Details{Title: "白毫银针怎么泡：三分钟看懂水温", Description: "新茶多毫少薄，先温杯，再低冲。第一泡别急着倒，等毫香起来再出汤。", URL: "https://example.com/brew"}},
		{"menu-tap", kefutest.Details{ID: "101", Content: "满意"}}, {"click", kefutest.Details{Key: "MY_ORDERS"}}, {"view", kefutest.Details{Key: "https://example.com/shop/tea?from=menu"}},
		{"scancode_push", kefutest.Details{Result: "6901234567892"}}, {"scancode_waitmsg", kefutest.Details{Result: "https://example.com/qr"}}, {"scan", kefutest.Details{Scene: "门店台卡 3 号"}},
		{"unsubscribe", kefutest.Details{}}, {"subscribe", kefutest.Details{}},
	} {
		o.does(inbound, did.action, did.with)
	}

	at := stocked{WeChat: w, client: w.Client()}
	picture, voice, video := o.asset(photo()), o.asset(speech()), o.asset(film())
	for i, m := range []object{
		{"msgtype": "text", "text": object{"content": "您好 & 欢迎，<a href=\"https://example.com/?a=1\">看看新茶</a>\n<a data-miniprogram-appid=\"" + miniProgram + "\" data-miniprogram-path=\"pages/tea\" href=\"https://example.com/\">打开小程序</a>"}},
		{"msgtype": "image", "image": object{"media_id": picture}},
		{"msgtype": "voice", "voice": object{"media_id": voice}},
		{"msgtype": "video", "video": object{"media_id": video, "thumb_media_id": picture, "title": "焙火现场", "description": "中足火"}},
		{"msgtype": "music", "music": object{"title": "采茶谣", "description": "茶歌", "musicurl": "https://example.com/song.mp3", "hqmusicurl": "https://example.com/song.flac", "thumb_media_id": picture}},
		{"msgtype": "news", "news": object{"articles": []object{{"title": "您的订单已发货", "description": "顺丰速运，预计后天送达，点开看物流。", "url": "https://example.com/order", "picurl": elsewhere(t)}}}},
		{"msgtype": "mpnews", "mpnews": object{"media_id": at.draft(t, "新茶上市")}},
		{"msgtype": "mpnewsarticle", "mpnewsarticle": object{"article_id": at.publish(t, at.draft(t, "今日头条"))}},
		{"msgtype": "msgmenu", "msgmenu": object{"head_content": "这次服务您满意吗？", "list": []object{{"id": "101", "content": "满意"}, {"id": "102", "content": "不满意"}}, "tail_content": "谢谢"}},
		{"msgtype": "wxcard", "wxcard": object{"card_id": "pCARD"}},
		{"msgtype": "miniprogrampage", "miniprogrampage": object{"title": "会员中心", "appid": miniProgram, "pagepath": "pages/index", "thumb_media_id": picture}},
		{"msgtype": "text", "text": object{"content": strings.Repeat("先温杯，再低冲，第一泡二十秒出汤。", 50)}},
	} {
		if i%4 == 0 {
			w.UserSends(ours, "在吗")
		}
		m["touser"] = ours
		o.send(object{"message": m, "long_text": "split"})
	}
	o.does(ours, "menu-tap", kefutest.Details{ID: "101", Content: "满意"})

	text := func(content string, more object) gateway.Message {
		more["message"] = object{"touser": states, "msgtype": "text", "text": object{"content": content}}
		return o.send(more)
	}
	now := w.Now()
	w.UserSends(states, "请问什么时候发货")
	text("收到，正在看", object{"metadata": object{"order": "20418"}})
	text("明天上午的温馨提醒", object{"not_before": now.Add(20 * time.Hour).UTC().Format(time.RFC3339)})
	again := text("撤回的一条", object{"not_before": now.Add(time.Hour).UTC().Format(time.RFC3339)})
	call(t, "POST", o.p.url()+"/v1/messages/"+again.ID+"/cancel", `{}`, nil)
	w.Fail(kefutest.DropReply)
	lost := text("不知道到了没有", object{})
	call(t, "POST", o.p.url()+"/v1/messages/"+lost.ID+"/retry?wait=5s", `{}`, nil)
	for _, code := range []int{40007, 45047} {
		w.Fail(kefutest.ErrCode(code))
		text(fmt.Sprintf("被拒的一条 %d", code), object{"when_closed": "fail"})
	}
	text("过了时间的一条", object{"when_closed": "park", "expires_at": w.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)}) // nothing is left to send it with

	for _, r := range []string{
		`{"scope":"team","title":"营业时间","text":"每天 9:00 到 21:00，周一休息。"}`,
		`{"scope":"team","title":"发货","text":"{称呼}您好，包裹今天发出，运费我们包，杭州一般次日到。"}`,
	} {
		call(t, "POST", o.p.url()+"/v1/quick-replies", r, nil)
	}
	for _, k := range []string{`{"name":"会员系统","role":"send"}`, `{"name":"报表","role":"read"}`, `{"name":"老 SDK","role":"door"}`} {
		call(t, "POST", o.p.url()+"/v1/keys", k, nil)
	}
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/kefu" {
			http.Error(w, "database is locked", http.StatusInternalServerError)
		}
	}))
	t.Cleanup(shop.Close)
	for _, h := range []object{{"name": "订单系统", "url": shop.URL + "/kefu", "types": []string{"follower.*", "message.failed"}}, {"name": "仓库", "url": shop.URL + "/down", "schedule": []int{0, 600}}} {
		var made gateway.Webhook
		call(t, "POST", o.p.url()+"/v1/webhooks", quote(h), &made)
		o.hooks = append(o.hooks, made.ID)
	}
	w.UserSends("oMei", "今年的新茶什么价？")
}

func (o *office) conversation(openid string) string {
	return o.p.url() + "/v1/conversations/" + kefutest.DefaultAccount.AppID + "/" + openid
}

func (o *office) does(openid, action string, with kefutest.Details) {
	o.t.Helper()
	must[kefutest.Action](o.t, action)(o.wechat.Does(openid, action, with))
}

func (o *office) entrust(openid, text, closed string) {
	o.t.Helper()
	o.send(object{"when_closed": closed, "message": object{"touser": openid, "msgtype": "text", "text": object{"content": text}}})
}

// send entrusts a message and waits for its end, or until it waits.
func (o *office) send(request object) (m gateway.Message) {
	o.t.Helper()
	request["account"] = kefutest.DefaultAccount.AppID
	wait := "?wait=5s"
	if request["not_before"] != nil {
		wait = ""
	}
	call(o.t, "POST", o.p.url()+"/v1/messages"+wait, quote(request), &m)
	return m
}

func (o *office) asset(data []byte) string {
	o.t.Helper()
	return must[gateway.Asset](o.t, "asset")(o.boss.AddAsset(o.t.Context(), kefutest.DefaultAccount.AppID, bytes.NewReader(data))).ID
}

// axe is the script of axe-core, which npm fetches into a folder of the tests'; ""
// where that can't be.
func axe(t *testing.T) string {
	t.Helper()
	script, err := axeScript()
	if err != nil {
		t.Logf("NOT TESTED: accessibility: axe-core can't be had: %v", err)
	}
	return script
}

var axeScript = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(workshop, "axe")
	if out, err := exec.Command("npm", "install", "--no-save", "--silent", "--prefix", dir, "axe-core@4.14.1").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	return string(b), err
})

// violations are what axe-core finds against WCAG 2.2 A and AA on the page as it is.
func (p *phone) violations(script string) []string {
	p.t.Helper()
	if script == "" {
		return nil
	}
	p.do(chromedp.Evaluate[chromedp.Void](script + "; void 0"))
	found, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]string](`axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'], resultTypes: ['violations']}).then((r) =>
		r.violations.flatMap((v) => v.nodes.map((n) => v.id + ': ' + n.target.join(' ') + ' ' + n.html.slice(0, 160) + ' ' + (n.any[0]?.message ?? ''))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatal(err)
	}
	return found
}

// A view is a page of the console as somebody may have it before them.
type view struct {
	name, path, ready string
	tall              int64 // the height that shows all of it; 0: the window's
	do                func(s *seat)
}

// click does what opens a part of the page, and waits until that is there.
func click(selector, until string) func(*seat) {
	return func(s *seat) {
		s.t.Helper()
		s.until(`!!document.querySelector(` + quote(selector) + `)`)
		s.js(`document.querySelector(` + quote(selector) + `).click()`)
		s.until(`!!document.querySelector(` + quote(until) + `)`)
	}
}

func both(first, then func(*seat)) func(*seat) {
	return func(s *seat) { s.t.Helper(); first(s); then(s) }
}

// puts writes into fields, as a person does.
func puts(fields ...[2]string) func(*seat) {
	return func(s *seat) {
		s.t.Helper()
		for _, f := range fields {
			s.until(`!!document.querySelector(` + quote(f[0]) + `)`)
			s.js(`{ const el = document.querySelector(` + quote(f[0]) + `); el.focus(); el.select(); document.execCommand('insertText', false, ` + quote(f[1]) + `) }`)
		}
	}
}

// views are all pages of the console, and what opens on them.
func (o *office) views() []view {
	c := func(openid string) string { return "/console/c/" + kefutest.DefaultAccount.AppID + "/" + openid }
	kind := func(i int) func(*seat) {
		return both(click(".tools [aria-expanded]", ".tg"), click(fmt.Sprintf(".tg button:nth-child(%d)", i), ".kform"))
	}
	return []view{
		{name: "list", path: "/console", ready: ".tabs"},
		{name: "mine", path: "/console", ready: ".tabs", do: click(".tabs [role=tab]:first-child", ".tabs [aria-selected=true]:first-child")},
		{name: "search", path: "/console", ready: ".tabs", do: both(puts([2]string{"#search", "新茶"}), func(s *seat) { s.until(`!!document.querySelector('.fr')`) })},
		{name: "thread", path: c("oMei"), ready: "#reply"},
		{name: "inbound", path: c(inbound), ready: "#reply", tall: 2400},
		{name: "outbound", path: c(ours), ready: ".m[data-state=sent]", tall: 3400},
		{name: "states", path: c(states), ready: ".m[data-state=unknown]", tall: 1700},
		{name: "handed", path: c(handed), ready: ".m[data-state=passive]", tall: 1100},
		{name: "closed", path: c(closed), ready: ".shutbar"},
		{name: "parked", path: c(spent), ready: ".m[data-state=parked]"},
		{name: "unknown", path: c(unknown), ready: ".m[data-state=unknown]"},
		{name: "attempts", path: c(unknown), ready: ".m[data-state=unknown]", do: click(".m[data-state=unknown] .st button[aria-expanded]", ".atts li")},
		{name: "card", path: c("oMei"), ready: "#reply", do: func(s *seat) { s.js(`document.body.dataset.pane = 'card'`) }},
		{name: "transfer", path: c("oMei"), ready: "#reply", do: click("#menu-transfer", "[role=menu]")},
		{name: "more", path: c("oMei"), ready: "#reply", do: click("#menu-more", "[role=menu]")},
		{name: "picture", path: c("oMei"), ready: ".bub.pic", do: click(".bub.pic", ".light img")},
		{name: "kinds", path: c("oMei"), ready: "#reply", do: click(".tools [aria-expanded]", ".tg")},
		{name: "news-form", path: c("oMei"), ready: "#reply", do: both(kind(5), puts([2]string{"#kf-title", "白毫银针怎么泡"}, [2]string{"#kf-description", "先温杯，再低冲"}, [2]string{"#kf-url", "https://example.com/tea"}))},
		{name: "menu-form", path: c("oMei"), ready: "#reply", do: both(kind(8), puts([2]string{"#kf-head", "这次服务您满意吗？"}, [2]string{"#kf-list", "满意"}, [2]string{"#kf-list1", "不满意"}))},
		{name: "replies", path: c("oMei"), ready: "#reply", do: func(s *seat) {
			s.js(`fetch('/v1/quick-replies').then((r) => r.json()).then((p) => p.items.some((r) => r.scope === 'mine') || fetch('/v1/quick-replies', {method: 'POST',
				headers: {'Content-Type': 'application/json'}, body: JSON.stringify({scope: 'mine', title: '泡法', text: '先温杯，再低冲，第一泡二十秒出汤。'})})).then(() => window.kept = true)`)
			s.until(`window.kept`)
			puts([2]string{"#reply", "/"})(s)
			s.until(`document.querySelectorAll('.qr [role=option]').length === 3`)
		}},
		{name: "note", path: c("oMei"), ready: "#reply", do: both(click("#note-mode", ".box.nte"), puts([2]string{"#reply", "她上次少收了一包茶样，这次补上。"}))},
		{name: "long", path: c("oMei"), ready: "#reply", do: puts([2]string{"#reply", strings.Repeat("先温杯，再低冲，第一泡二十秒出汤。", 90)})},
		{name: "later", path: c("oMei"), ready: "#reply", do: click(".cmp .menu .ib", ".when input")},
		{name: "keys-list", path: c("oMei"), ready: "#reply", do: func(s *seat) {
			s.js(`document.dispatchEvent(new CustomEvent('kefu:keys'))`)
			s.until(`!!document.querySelector('dialog .keysh')`)
		}},
		{name: "board", path: "/console/board", ready: ".kpi", tall: 1200},
		{name: "board-week", path: "/console/board?hours=168", ready: ".kpi", tall: 1200, do: click(".tile.w8 .btn", ".ptable td")},
		{name: "messages", path: "/console/messages", ready: "tbody tr"},
		{name: "message", path: "/console/messages?m=" + o.lost(), ready: ".drw .att+.att", tall: 1000},
		{name: "messages-bulk", path: "/console/messages?state=unknown", ready: "tbody tr", do: both(click("thead .cb", ".bulk .quiet"), click(".bulk .btn", "dialog dd"))},
		{name: "messages-none", path: "/console/messages?errcode=45009", ready: ".tblw .empty"},
		{name: "quick-replies", path: "/console/replies", ready: "tbody tr"},
		{name: "quick-reply-add", path: "/console/replies", ready: "tbody tr", do: click(".bar .pri", "dialog form")},
		{name: "callbacks", path: "/console/callbacks", ready: "tbody tr", do: click("tbody tr .open", ".drw pre")},
		{name: "accounts", path: "/console/accounts", ready: ".acct .tok", tall: 1000, do: func(s *seat) {
			s.js(`document.querySelectorAll('.acct details').forEach((d) => d.open = true); document.querySelector('.acct .wrapr .btn').click()`)
			s.until(`!!document.querySelector('.acct .advice.ok') && document.querySelectorAll('.acct table tbody tr').length > 3`)
		}},
		{name: "account-edit", path: "/console/accounts", ready: ".acct .tok", do: click(".acct .wrapr .btn:last-child", "dialog form")},
		{name: "webhooks", path: "/console/webhooks?w=" + o.hooks[1], ready: ".drw .att", tall: 1000},
		{name: "webhook-replay", path: "/console/webhooks?w=" + o.hooks[0], ready: ".drw .att", do: click(".drw .wrapr .btn:nth-child(2)", "dialog select")},
		{name: "webhook-add", path: "/console/webhooks", ready: "tbody tr", do: click(".bar .pri", "dialog form")},
		{name: "keys", path: "/console/keys", ready: "tbody tr"},
		{name: "key-add", path: "/console/keys", ready: "tbody tr", do: click(".bar .pri", "dialog form")},
		{name: "agents", path: "/console/agents", ready: "tbody tr"},
		{name: "agent-menu", path: "/console/agents", ready: "tbody tr", do: click("tbody tr:nth-child(2) .menu .ib", "[role=menu]")},
		{name: "agent-add", path: "/console/agents", ready: "tbody tr", do: click(".bar .pri", "dialog form")},
		{name: "agent-link", path: "/console/agents", ready: "tbody tr", do: both(click("tbody tr:nth-child(2) .menu .ib", "[role=menuitem]"), click("[role=menuitem]:nth-child(2)", "dialog pre"))},
		{name: "agent-edit", path: "/console/agents", ready: "tbody tr", do: both(click("tbody tr:nth-child(2) .menu .ib", "[role=menuitem]"), click("[role=menuitem]", "dialog form"))},
		{name: "explorer", path: "/console/explorer?call=send&kind=news", ready: "#x-title", tall: 1100},
		{name: "explorer-answer", path: "/console/explorer?call=send&kind=text&to=simulator", ready: "#x-content", tall: 1100, do: both(func(s *seat) {
			s.until(`document.querySelector('#x-touser').value`)
			puts([2]string{"#x-content", strings.Repeat("长", 683)})(s)
		}, click(".sendbar button", ".out2 .advice"))},
		{name: "explorer-picture", path: "/console/explorer?call=uploadimg", ready: "#x-file", do: func(s *seat) {
			s.js(fmt.Sprintf(`{ const dt = new DataTransfer(); dt.items.add(new File([Uint8Array.from(atob(%q), (c) => c.charCodeAt(0))], '茶.jpg', {type: 'image/jpeg'}));
				const f = document.querySelector('#x-file'); f.files = dt.files; f.dispatchEvent(new Event('change', {bubbles: true})) }`, base64.StdEncoding.EncodeToString(photo())))
			click(".sendbar button", ".shown img")(s)
		}},
		{name: "explorer-any", path: "/console/explorer?call=any", ready: "#x-path", do: click(".sendbar button", ".out2 .advice")},
		{name: "me", path: "/console/me", ready: ".settings", tall: 1000, do: func(s *seat) {
			s.js(`[...document.querySelectorAll('.settings .tile')].at(-1).querySelector('.btn').click()`)
			s.until(`!!document.querySelector('.settings pre')`)
		}},
		{name: "nowhere", path: "/console/nowhere", ready: ".empty"},
		{name: "hot", path: "/console", ready: ".tabs", do: func(s *seat) {
			s.o.wechat.UserSends(hot, "扫了台卡，怎么领茶样？")
			s.o.wechat.Scans(hot, "门店台卡 3 号")
			s.until(`!!document.querySelector('.hots a.cr')`)
		}},
	}
}

// lost is a message whose fate nobody knows.
func (o *office) lost() string {
	o.t.Helper()
	page, err := o.boss.Messages(o.t.Context(), gateway.MessageFilter{OpenID: unknown, State: gateway.Unknown}, "", 1)
	if err != nil || len(page.Items) == 0 {
		o.t.Fatalf("no message of unknown outcome: %v", err)
	}
	return page.Items[0].ID
}

// The console in both languages, both colour schemes and two widths: nothing is wider
// than the window, and nothing is against WCAG 2.2 AA. KEFU_SHOTS names a folder for
// pictures, for people to look at, and has all of them made instead of about a dozen,
// which are others every day.
func TestDeskShots(t *testing.T) {
	folder := shotsFolder(t)
	o := openOffice(t)
	o.yesterday()
	if err := o.wechat.SetState(`{"cards":[{"card_id":"pCARD","title":"满减券"}],"mini_programs":["` + miniProgram + `"]}`); err != nil {
		t.Fatal(err)
	}
	o.furnish()
	o.furnishMore()
	script := axe(t)
	all := o.views()
	day := int(time.Now().Unix() / 86400)
	every := (len(all) + 2) / 3 // of these, one for each of four tabs a day: three of each
	shown := 0
	for _, lang := range []string{"zh", "en"} {
		for _, scheme := range []string{"light", "dark"} {
			for _, size := range []struct{ width, height int64 }{{390, 844}, {1280, 800}} {
				if folder == "" && (lang == "zh") != (scheme == "light") != (day/every%2 == 1) {
					continue
				}
				shown++
				t.Run(fmt.Sprintf("%s-%s-%d", lang, scheme, size.width), func(t *testing.T) {
					screen := []chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(size.width, size.height), colours(scheme)}
					var s *seat
					drawn := 0
					for i, page := range all {
						if folder == "" && (i+shown*every/4+day)%every != 0 {
							continue
						}
						if drawn++; s == nil || drawn%15 == 0 { // a tab has its time
							s = o.sitAt(o.p.addr, "小满", lang, screen...)
							s.expect("422") // the browser tells of what the simulator of the explorer refuses
							s.expect("409") // and of a second sign of typing within the time of the first
						}
						t.Run(page.name, func(t *testing.T) {
							s.t = t
							s.visit(page, lang, size.width, size.height)
							s.look(folder, fmt.Sprintf("desk-%s-%s-%s-%d", page.name, lang, scheme, size.width), script)
						})
					}
					out := openTab(t, "http://"+o.p.addr+"/console?lang="+lang, ".login form", screen...)
					out.expect("401") // nobody is signed in
					login := &seat{out, o, "http://" + o.p.addr}
					login.look(folder, fmt.Sprintf("desk-login-%s-%s-%d", lang, scheme, size.width), script)
					if folder == "" {
						return
					}
					both(puts([2]string{"[name=name]", fmt.Sprint("小满", lang, scheme, size.width)}, [2]string{"[name=password]", "不是这个"}), click(".login .pri", ".login .advice"))(login)
					login.look(folder, fmt.Sprintf("desk-login-wrong-%s-%s-%d", lang, scheme, size.width), script)
					reader := o.sitAt(o.p.addr, "小南", lang, screen...)
					reader.visit(view{path: "/console/c/" + kefutest.DefaultAccount.AppID + "/oMei", ready: ".th .ban"}, lang, size.width, size.height)
					reader.look(folder, fmt.Sprintf("desk-reader-%s-%s-%d", lang, scheme, size.width), script)
				})
			}
		}
	}
}

// visit opens a page, in a window as high as it needs, and does what is to be done there.
func (s *seat) visit(v view, lang string, width, height int64) {
	s.t.Helper()
	s.js(`localStorage.clear()`) // drafts outlive a page
	sep := "?"
	if strings.Contains(v.path, "?") {
		sep = "&"
	}
	s.do(chromedp.EmulateViewport(width, max(height, v.tall)), chromedp.Navigate(s.at+v.path+sep+"lang="+lang))
	s.until(`!!document.querySelector(` + quote(v.ready) + `)`)
	s.allIfListed()
	if v.do != nil {
		v.do(s)
	}
	s.pictures()
}

// shotsFolder is where pictures go; "": none are made.
func shotsFolder(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("KEFU_SHOTS")
	if folder != "" {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// The picture in the README: a conversation in the console, and the same on the phone.
func TestTogetherShots(t *testing.T) {
	folder := shotsFolder(t)
	if folder == "" {
		t.Skip("KEFU_SHOTS names no folder for pictures")
	}
	o := openOffice(t)
	o.furnish()
	s := o.sitAt(o.p.addr, "小满", "zh", chromedp.EmulateViewport(1080, 724), colours("light"))
	s.open("oMei")
	p := openPhone(t, o.wechat.URL+"/?lang=zh&openid=oMei", chromedp.EmulateViewport(1280, 776), colours("light"))
	p.shows("有的，今年的新茶")
	both := image.NewRGBA(image.Rect(0, 0, 1080+399, 724))
	for _, from := range []struct {
		tab  *phone
		at   image.Point // in its own picture
		into image.Rectangle
	}{{s.phone, image.Point{}, image.Rect(0, 0, 1080, 724)}, {p, image.Pt(257, 52), image.Rect(1080, 0, 1479, 724)}} {
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
	for _, v := range s.violations(script) {
		s.t.Errorf("%s: %s", name, v)
	}
}
