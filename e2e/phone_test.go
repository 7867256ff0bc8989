package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/kefutest"
)

// ---------- the browser ----------

var (
	closeBrowser = func() {}

	browser = sync.OnceValues(func() (context.Context, error) {
		var chromium string
		for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
			if path, err := exec.LookPath(name); err == nil {
				chromium = path
				break
			}
		}
		if chromium == "" {
			return nil, fmt.Errorf("the phone page is tested in a real browser and there is no chromium on PATH; " +
				"run \"make test\" in the root, which installs one, or: apt-get install chromium fonts-noto-cjk")
		}
		profile := filepath.Join(workshop, "chromium")
		if err := os.Mkdir(profile, 0o700); err != nil {
			return nil, err
		}
		start, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(profile),
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))...)
		ctx, _ := chromedp.NewContext(start)
		closeBrowser = func() {
			chromedp.Cancel(ctx)
			stop()
		}
		started := make(chan error, 1)
		go func() { started <- chromedp.Do(ctx) }()
		select {
		case err := <-started:
			return ctx, err
		case <-time.After(30 * time.Second):
			return nil, fmt.Errorf("%s does not start within 30 s", chromium)
		}
	})
)

// patience is for how long a page may take over one thing.
const patience = 30 * time.Second

// A phone is a tab of the browser that shows the phone page, or another.
type phone struct {
	t        *testing.T
	ctx      context.Context
	mu       sync.Mutex // guards all below
	expected []string   // what the page may say on the console: parts of it
}

// expect lets the page say something on the console that has this in it: what the
// browser itself tells of a call that is refused on purpose.
func (p *phone) expect(part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected = append(p.expected, part)
}

// openPhone opens the phone page.
func openPhone(t *testing.T, address string, setup ...chromedp.Action[chromedp.Void]) *phone {
	t.Helper()
	return openTab(t, address, "#chat", setup...)
}

// openTab opens a page in a browser context of its own and waits for what shows that
// it is there. Whatever the page says on the console fails the test, a breach of its
// policy among it; so does a dialog, and any script but the page's own: such would
// call owned.
func openTab(t *testing.T, address, ready string, setup ...chromedp.Action[chromedp.Void]) *phone {
	t.Helper()
	parent, err := browser()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	return watch(t, ctx, address, ready, setup...)
}

// beside opens another tab of the same browser, with the same cookies.
func beside(t *testing.T, p *phone, address, ready string) *phone {
	t.Helper()
	ctx, cancel := chromedp.NewContext(p.ctx)
	t.Cleanup(cancel)
	return watch(t, ctx, address, ready)
}

// watch has a tab show the page, and the test fail for whatever is said on its console.
func watch(t *testing.T, ctx context.Context, address, ready string, setup ...chromedp.Action[chromedp.Void]) *phone {
	t.Helper()
	var mu sync.Mutex // guards said
	var said []string
	if err := chromedp.Listen(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventConsoleAPICalled:
			said = append(said, fmt.Sprintf("console.%s %v", ev.Type, ev.Args))
		case *runtime.EventExceptionThrown:
			said = append(said, fmt.Sprintf("%s %+v", ev.ExceptionDetails.Text, ev.ExceptionDetails.Exception))
		case *log.EventEntryAdded:
			said = append(said, fmt.Sprintf("%s: %s %s", ev.Entry.Level, ev.Entry.Text, ev.Entry.URL))
		case *page.EventJavascriptDialogOpening:
			said = append(said, "dialog: "+ev.Message)
		}
	}); err != nil {
		t.Fatal(err)
	}
	limited, end := context.WithTimeout(ctx, time.Duration(figures(5, 30))*time.Minute)
	t.Cleanup(end)
	p := &phone{t: t, ctx: limited}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		p.mu.Lock()
		defer p.mu.Unlock()
		said = slices.DeleteFunc(said, func(line string) bool {
			return slices.ContainsFunc(p.expected, func(part string) bool { return strings.Contains(line, part) })
		})
		if len(said) > 0 {
			t.Errorf("on the console:\n%s", strings.Join(said, "\n"))
		}
	})
	if _, err := chromedp.Call(limited, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `window.owned = () => console.error("a foreign string ran");
			addEventListener("securitypolicyviolation", (e) => console.error("against the policy: " + e.effectiveDirective + " " + e.blockedURI));`,
	}); err != nil {
		t.Fatal(err)
	}
	p.do(append(setup, chromedp.Navigate(address), chromedp.WaitVisible(chromedp.CSS(ready)))...)
	return p
}

func (p *phone) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%v\nThe page:\n%s", err, p.chat())
	}
}

// eval returns what the expression is in the page.
func eval[T any](p *phone, expression string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// until waits until the expression holds. (chromedp's own Poll makes functions of
// strings, which the page's policy forbids.)
func (p *phone) until(expression string) {
	p.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if eval[bool](p, "!!("+expression+")") {
			return
		}
	}
	p.t.Fatalf("never: %s\nThe page:\n%s", expression, p.chat())
}

func (p *phone) chat() string {
	text, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`(document.querySelector("#chat") ?? document.body).innerText`))
	return text
}

// shows waits until the last line of the chat contains text.
func (p *phone) shows(text string) {
	p.t.Helper()
	p.until(`(document.querySelector("#chat>li:last-child")?.textContent ?? "").includes(` + quote(text) + `)`)
}

// quote is v as JSON, which is JavaScript too.
func quote(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // of strings and numbers
	}
	return string(b)
}

// pictures waits until all pictures are there, also those out of sight.
func (p *phone) pictures() {
	p.t.Helper()
	p.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("img").forEach((i) => i.loading = "eager")`))
	p.until(`[...document.querySelectorAll("img")].every((i) => i.complete)`)
}

// click clicks the button with that text in the part of the page.
func (p *phone) click(part, text string) {
	p.t.Helper()
	p.do(chromedp.Click(fmt.Sprintf(`//*[@id=%q]//button[contains(., %q)]`, part, text)))
}

// ---------- an account with everything ----------

const miniProgram = "wx5eed2a76cc560002"

// stocked is a WeChat whose account has an id of every sort, and no limit on how
// much it may write to those who wrote.
type stocked struct {
	*kefutest.WeChat
	client                           *kefu.Client
	image, voice, video, thumb, news kefu.MediaID
	picture, article                 string
}

func stock(t *testing.T, account kefutest.Account, others ...kefutest.Account) *stocked {
	t.Helper()
	account.MiniPrograms = []string{miniProgram}
	account.Rules = kefutest.Allowances{kefu.UserMessage: {Max: kefu.Unlimited, For: 48 * time.Hour}}
	w := &stocked{WeChat: kefutest.NewServer(append([]kefutest.Account{account}, others...)...)}
	t.Cleanup(w.Close)
	w.client = w.Client()
	upload := func(kind kefu.MediaKind, name string, data []byte) kefu.MediaID {
		t.Helper()
		return kefu.MediaID(must[kefu.Media](t, "upload")(w.client.Upload(t.Context(), kind, name, bytes.NewReader(data))).ID)
	}
	w.image = upload(kefu.MediaImage, "a.jpg", photo())
	w.voice = upload(kefu.MediaVoice, "a.amr", speech())
	w.video = upload(kefu.MediaVideo, "a.mp4", film())
	w.thumb = upload(kefu.MediaThumb, "a.jpg", photo())
	w.picture = must[string](t, "uploadimg")(w.client.UploadImage(t.Context(), "a.jpg", bytes.NewReader(photo())))
	article := w.draft(t, "新茶上市")
	w.news = kefu.MediaID(article)
	w.article = w.publish(t, w.draft(t, "今日头条"))
	return w
}

func (w *stocked) draft(t *testing.T, title string) kefu.PermanentID {
	t.Helper()
	cover := must[kefu.Material](t, "cover")(w.client.AddMaterial(t.Context(), kefu.MediaImage, "a.jpg", bytes.NewReader(photo()), kefu.VideoDescription{}))
	return must[kefu.PermanentID](t, "draft")(w.client.AddDraft(t.Context(), kefu.DraftArticle{Title: title, Digest: "摘要", ThumbMediaID: cover.ID, Content: "<p>正文</p>"}))
}

func (w *stocked) publish(t *testing.T, draft kefu.PermanentID) string {
	t.Helper()
	job := must[string](t, "publish")(w.client.Publish(t.Context(), draft))
	return must[kefu.Publication](t, "publish")(w.client.WaitPublished(t.Context(), job, 20*time.Millisecond)).ArticleID
}

func (w *stocked) set(t *testing.T, state object) {
	t.Helper()
	if err := w.SetState(quote(state)); err != nil {
		t.Fatal(err)
	}
}

// say sends unchecked: WeChat judges.
func (w *stocked) say(t *testing.T, to string, m kefu.Message) {
	t.Helper()
	m.To = to
	w.client.NoCheck = true
	if _, err := w.client.Send(t.Context(), m); err != nil {
		t.Fatalf("%v: %v", m, err)
	}
}

// kinds are one message of every kind, and what the phone shows of each.
func (w *stocked) kinds() []kindOnPhone {
	return []kindOnPhone{
		{kefu.Text{Content: "您好 & 欢迎\n<a href=\"https://example.com/?a=1&b=2\">看看</a>"}, "您好 & 欢迎\n看看", 0, "https://example.com/?a=1&b=2"},
		{kefu.Image{MediaID: w.image}, "", 1, "media/" + string(w.image)},
		{kefu.Voice{MediaID: w.voice}, "", 0, ""},
		{kefu.Video{MediaID: w.video, ThumbMediaID: w.thumb, Title: "泡茶"}, "泡茶", 1, ""},
		{kefu.Music{Title: "茉莉花", Description: "民歌", MusicURL: "https://example.com/a.mp3", ThumbMediaID: w.thumb}, "茉莉花", 1, "https://example.com/a.mp3"},
		{kefu.News{Articles: []kefu.Article{{Title: "您的订单已发货", Description: "顺丰速运", URL: "https://example.com/order", PicURL: w.picture}}},
			"您的订单已发货", 1, "https://example.com/order"},
		{kefu.MPNews{MediaID: w.news}, "新茶上市", 1, "/s/"},
		{kefu.MPNewsArticle{ArticleID: w.article}, "今日头条", 1, "/s/"},
		{kefu.MsgMenu{Head: "您满意吗？", Items: []kefu.MenuItem{{ID: "101", Content: "满意"}, {ID: "102", Content: "不满意"}}, Tail: "谢谢"}, "不满意", 0, ""},
		{kefu.WXCard{CardID: "pCARD"}, "满减券", 0, ""},
		{kefu.MiniProgramPage{Title: "会员中心", AppID: miniProgram, PagePath: "pages/index/index", ThumbMediaID: w.thumb}, "会员中心", 1, ""},
	}
}

type kindOnPhone struct {
	body     kefu.Body
	text     string
	pictures int    // in the message, loaded
	link     string // part of the address that a tap opens
}

// ---------- the tests ----------

func TestPhoneDrawsEveryKind(t *testing.T) {
	miniAccount := kefutest.Account{AppID: "wx5eed2a76cc560003", Secret: "5eed2a76cc565eed2a76cc565eed2a77", MiniProgram: true}
	answer := &callback.Handler{Token: kefutest.DefaultAccount.Token, Receive: func(_ context.Context, e callback.Event) (callback.Reply, error) {
		if m, ok := e.(callback.TextMessage); ok && m.Content == "被动" {
			return callback.Text{Content: "这是被动回复"}, nil
		}
		return nil, nil
	}}
	w := stock(t, kefutest.Account{Mode: callback.Plain, CallbackHandler: answer}, miniAccount)
	w.set(t, object{
		"cards":       []object{{"card_id": "pCARD", "title": "满减券"}},
		"kf_accounts": []object{{"kf_account": "xiaowei@demo", "nickname": "小微", "headimg": strings.TrimPrefix(w.picture, w.URL)}},
	})
	w.UserSends("oUser1", "在吗")
	p := openPhone(t, w.URL+"/?lang=zh&openid=oUser1")
	p.shows("在吗")

	kinds := w.kinds()
	var names []string
	for _, k := range kinds { // live: the page is open
		w.say(t, "oUser1", kefu.Message{Body: k.body})
		names = append(names, k.body.MsgType())
	}
	if known := slices.DeleteFunc(kefu.MsgTypes(), func(kind string) bool { return kind == "link" }); !slices.Equal(names, known) {
		t.Errorf("drawn here: %v, want every kind there is: %v", names, known)
	}
	p.until(fmt.Sprintf(`document.querySelectorAll("#chat>li.pm").length === %d`, 1+len(kinds)))
	p.pictures()
	type drawn struct {
		Text     string
		Pictures int
		Links    []string
		Odd      bool
		Height   float64
	}
	lines := eval[[]drawn](p, `[...document.querySelectorAll("#chat>li.pm .pc")].map((li) => ({
		text: li.innerText, pictures: [...li.querySelectorAll("img")].filter((i) => i.naturalWidth > 0).length,
		links: [...li.querySelectorAll("a")].map((a) => a.href), odd: !!li.querySelector(".odd"), height: li.getBoundingClientRect().height}))`)
	for i, k := range kinds {
		got := lines[1+i]
		if got.Odd || !strings.Contains(got.Text, k.text) || got.Pictures != k.pictures || got.Height < 20 {
			t.Errorf("%s is drawn as %+v, want %q and %d pictures", k.body.MsgType(), got, k.text, k.pictures)
		}
		if k.link != "" && !slices.ContainsFunc(got.Links, func(l string) bool { return strings.Contains(l, k.link) }) {
			t.Errorf("%s: a tap leads to %q, want %s", k.body.MsgType(), got.Links, k.link)
		}
	}

	w.say(t, "oUser1", kefu.Message{Body: kefu.Text{Content: "我是小微"}, KFAccount: "xiaowei@demo"})
	p.shows("我是小微")
	p.shows("小微")
	p.until(`document.querySelector("#chat>li:last-child img")?.naturalWidth > 0`) // the avatar
	w.say(t, "oUser1", kefu.Message{Body: kefu.Text{Content: "我是机器"}, AI: true})
	p.shows("内容由第三方 AI 生成")
	w.UserSends("oUser1", "被动")
	p.shows("被动回复")
	p.shows("这是被动回复")
	for _, said := range []struct{ action, shown string }{
		{"image", ""}, {"voice", ""}, {"video", ""}, {"location", "北京"}, {"link", "标题"}, {"click", "KEY"},
		{"view", "KEY"}, {"scancode_push", "KEY"}, {"scancode_waitmsg", "结果"}, {"scan", "99"}, {"subscribe", "99"}, {"rights", "维权"}, {"pay", "支付"},
	} {
		before := eval[int](p, `document.querySelectorAll("#chat>li").length`)
		must[kefutest.Action](t, said.action)(w.Does("oUser1", said.action, kefutest.Details{
			Label: "北京", Title: "标题", Key: "KEY", Result: "结果", Scene: "99"}))
		p.until(fmt.Sprintf(`document.querySelectorAll("#chat>li").length > %d`, before))
		p.shows(said.shown)
	}
	p.until(`!document.querySelector("#chat .odd")`)

	mini := w.Account(miniAccount.AppID)
	mini.UserSends("oUser1")
	if _, err := mini.Client().Send(t.Context(), kefu.Message{To: "oUser1", Body: kefu.Link{
		Title: "小程序的链接", Description: "说明", URL: "https://example.com/mini", ThumbURL: w.picture}}); err != nil {
		t.Fatal(err)
	}
	p = openPhone(t, w.URL+"/?lang=zh&openid=oUser1&account="+miniAccount.AppID)
	p.shows("小程序的链接")
	p.until(`document.querySelector("#chat>li:last-child a").href === "https://example.com/mini"`)
}

func TestPhoneActsAsTheFollower(t *testing.T) {
	for _, lang := range []struct{ code, unfollow, follow, scan, pay, fresh string }{
		{"zh", "取消关注", "关注", "扫码", "支付成功", "新粉丝"},
		{"en", "Unfollow", "Follow", "Scan", "Pay", "New follower"},
	} {
		t.Run(lang.code, func(t *testing.T) {
			w := stock(t, kefutest.Account{})
			w.UserSends("oUser1", "在吗")
			p := openPhone(t, w.URL+"/?openid=oUser1&lang="+lang.code)
			p.shows("在吗")
			// did returns the last thing that the follower did, with the members of
			// its push.
			did := func() (kind string, push map[string]any) {
				t.Helper()
				chat := w.Chat("oUser1")
				last := chat[len(chat)-1]
				if last.Dir != kefutest.In {
					t.Fatalf("the last line is %s", last.Dir)
				}
				if len(last.Message) > 0 {
					if err := json.Unmarshal(last.Message, &push); err != nil {
						t.Fatal(err)
					}
				}
				return last.Kind, push
			}

			p.do(chromedp.SendKeys(chromedp.CSS("#text"), "你好 kefu <b>"), chromedp.Click(chromedp.CSS("#send")))
			p.shows("你好 kefu <b>")
			if kind, push := did(); kind != "text" || push["Content"] != "你好 kefu <b>" {
				t.Errorf("wrote %s %v", kind, push)
			}
			p.do(chromedp.SendKeys(chromedp.CSS("#text"), "回车\r"))
			p.shows("回车")

			w.say(t, "oUser1", kefu.Message{Body: kefu.MsgMenu{Head: "满意吗", Items: []kefu.MenuItem{{ID: "101", Content: "满意"}, {ID: "102", Content: "一般"}}}})
			p.shows("满意吗")
			p.click("chat", "一般")
			p.shows("一般")
			p.until(`!!document.querySelector("#chat>li:last-child.me")`)
			if kind, push := did(); kind != "text" || push["Content"] != "一般" || push["bizmsgmenuid"] != "102" {
				t.Errorf("tapped %s %v", kind, push)
			}
			if got := w.Window("oUser1"); !slices.ContainsFunc(got.Buckets, func(b kefutest.Bucket) bool { return b.Trigger == kefu.Menu }) {
				t.Errorf("the tap opened %+v", got.Buckets)
			}

			p.do(chromedp.SendKeys(chromedp.CSS("#with"), "scene_9"))
			p.click("acts", lang.scan)
			p.shows("scene_9")
			if kind, push := did(); kind != "SCAN" || push["EventKey"] != "scene_9" {
				t.Errorf("scanned %s %v", kind, push)
			}
			p.until(`document.querySelectorAll("#window .bk").length === 3`) // which moves the buttons below
			p.click("acts", lang.pay)
			p.until(`document.querySelectorAll("#window .bk").length === 4`) // message, menu, scan, payment
			if kind, _ := did(); kind != "pay" {
				t.Errorf("paid: %s", kind)
			}

			p.click("acts", lang.unfollow)
			p.until(`!document.querySelector("#bar-follow").hidden`)
			if kind, _ := did(); kind != "unsubscribe" || w.Window("oUser1").State != "closed" {
				t.Errorf("unfollowed: %s, window %s", kind, w.Window("oUser1").State)
			}
			p.click("bar-follow", lang.follow)
			p.until(`document.querySelector("#bar-follow").hidden`)
			if kind, _ := did(); kind != "subscribe" || w.Window("oUser1").State != "open" {
				t.Errorf("followed: %s, window %s", kind, w.Window("oUser1").State)
			}

			before := eval[int](p, `document.querySelectorAll("#followers li").length`)
			p.do(chromedp.Click(chromedp.CSS("#new-follower")))
			p.until(fmt.Sprintf(`document.querySelectorAll("#followers li").length === %d`, before+1))
			p.until(`document.querySelector("#new-follower").textContent.includes(` + quote(lang.fresh) + `)`)
			if got := eval[string](p, `document.documentElement.lang`); !strings.HasPrefix(got, lang.code) {
				t.Errorf("lang=%q", got)
			}
		})
	}
}

// The list, the panel and the phone's bar say the same of a window, whatever the order
// of things: as they do in a page opened afresh.
func TestPhoneShowsTheWindow(t *testing.T) {
	w := stock(t, kefutest.Account{}) // a message opens 48 h without a limit
	const says = `({list: document.querySelector("#followers small")?.textContent.replace(/\d+ h \d+ m|\d+:\d\d/, "T"),
		looks: document.querySelector("#followers .fl")?.className,
		panel: document.querySelector("#window").textContent.replace(/\d+ h \d+ m|\d+:\d\d/g, "T"),
		writes: !document.querySelector("#bar-write").hidden, follows: !document.querySelector("#bar-follow").hidden,
		first: document.querySelector("#acts").textContent})`
	type shown struct {
		List, Looks, Panel, First string
		Writes, Follows           bool
	}
	w.UserSends("oUser1")
	address := w.URL + "/?lang=en&openid=oUser1"
	p, fresh := openPhone(t, address), openPhone(t, address)
	for _, tt := range []struct {
		name  string
		does  func()
		looks string // the class of the follower in the list
		list  string // what the list says
		panel string // what is in the panel
	}{
		{"48 h without a limit", func() {}, "fl open", "T∞No limit", "No limit"},
		{"a fresh minute beside it comes first, and is no alarm", func() { w.Scans("oUser1", "1") }, "fl open", "T3/3 left+∞", "3/3 left"},
		{"the minute is over", func() { w.Advance(time.Minute) }, "fl open", "T∞No limit", "No limit"},
		{"its last minutes", func() { w.Advance(47*time.Hour + 56*time.Minute) }, "fl hot", "T∞No limit", "No limit"},
		{"it closed", func() { w.Advance(time.Hour) }, "fl shut", "Window closed", "No window"},
		{"unfollowed", func() { w.Unfollows("oUser1") }, "fl shut", "Not following", "Not following"},
		{"rights after it: followed again, nothing open", func() { p.click("acts", "Rights") }, "fl shut", "Window closed", "No window"},
		{"a minute alone", func() { w.Scans("oUser1", "1") }, "fl hot", "T3/3 left", "3/3 left"},
	} {
		tt.does()
		p.until(fmt.Sprintf(`(now => now.looks?.startsWith(%[2]s) && now.list === %[3]s && now.panel.includes(%[4]s))(%[1]s)`,
			says, quote(tt.looks), quote(tt.list), quote(tt.panel)))
		got := eval[shown](p, says)
		fresh.do(chromedp.Navigate(address))
		fresh.until(`!document.querySelector("#window-sec").hidden`)
		if again := eval[shown](fresh, says); got != again || got.Writes == got.Follows {
			t.Errorf("%s:\n%+v, in a fresh page\n%+v", tt.name, got, again)
		}
	}
}

// A tap on a card says what WeChat would open: its page is WeChat's own, and nothing
// is pushed.
func TestPhoneCardTap(t *testing.T) {
	w := stock(t, kefutest.Account{})
	w.set(t, object{"cards": []object{{"card_id": "pCARD", "title": "满减券"}}})
	w.UserSends("oUser1")
	p := openPhone(t, w.URL+"/?lang=zh&openid=oUser1")
	w.say(t, "oUser1", kefu.Message{Body: kefu.WXCard{CardID: "pCARD"}})
	p.shows("满减券")
	p.click("chat", "点击领取")
	p.until(`/卡券.*满减券/.test(document.querySelector("#toast").textContent)`)
	if n := len(w.Chat("oUser1")); n != 2 {
		t.Errorf("%d lines, want the two from before", n)
	}
}

// A video that does not play says whether there are no bytes or none for the browser.
func TestPhoneVideoThatDoesNotPlay(t *testing.T) {
	w := stock(t, kefutest.Account{})
	w.UserSends("oUser1")
	p := openPhone(t, w.URL+"/?lang=zh&openid=oUser1")
	must[kefutest.Action](t, "video")(w.Does("oUser1", "video", kefutest.Details{}))
	p.until(`!!document.querySelector("#chat>li:last-child .go")`)
	p.do(chromedp.Click(chromedp.CSS("#chat>li:last-child .go")))
	p.shows("浏览器不能播放")
}

// The follower's own files, by the picker, pasted and dropped: what comes is what was
// chosen, and what WeChat would not send says so and stays.
func TestPhoneSendsFiles(t *testing.T) {
	w := stock(t, kefutest.Account{})
	w.UserSends("oUser1")
	p := openPhone(t, w.URL+"/?lang=en&openid=oUser1")
	p.expect("422") // the browser tells of the file that is refused
	shown := func(selector string) string {
		return `!document.querySelector("` + selector + `")?.closest("[hidden]")`
	}
	const ready = `!document.querySelector("#sheet").hidden`
	transfer := func(name, kind string, data []byte) string {
		return fmt.Sprintf(`const dt = new DataTransfer(); dt.items.add(new File([Uint8Array.from(atob(%q), (c) => c.charCodeAt(0))], %q, {type: %q}));`,
			base64.StdEncoding.EncodeToString(data), name, kind)
	}
	picks := func(button, name, kind string, data []byte) {
		t.Helper()
		p.do(chromedp.Click(chromedp.CSS("#more")))
		p.click("plus", button)
		p.until(ready)
		p.js(`{ ` + transfer(name, kind, data) + ` const f = document.querySelector("#sheet-file"); f.files = dt.files; f.dispatchEvent(new Event("change")) }`)
	}
	send := func() { t.Helper(); p.do(chromedp.Click(chromedp.CSS("#sheet [type=submit]"))) }
	last := func(kind string, data []byte) {
		t.Helper()
		p.until(`document.querySelector("#sheet").hidden`)
		p.until(fmt.Sprintf(`document.querySelectorAll("#chat>li.pm").length === %d`, len(w.Chat("oUser1"))) + ` && ` + shown("#chat"))
		var push struct{ MsgType, MediaId string }
		chat := w.Chat("oUser1")
		if err := json.Unmarshal(chat[len(chat)-1].Message, &push); err != nil || push.MsgType != kind {
			t.Fatalf("%+v %v, want %s", push, err, kind)
		}
		var got bytes.Buffer
		if m, err := w.client.Download(t.Context(), kefu.TemporaryID(push.MediaId)); err != nil {
			t.Fatal(err)
		} else if _, err := got.ReadFrom(m.Body); err != nil || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("%s: %d bytes arrive, want %d: %v", kind, got.Len(), len(data), err)
		}
	}

	picks("Picture", "茶 <b>.jpg", "image/jpeg", photo())
	p.until(`document.querySelector("#sheet img")?.naturalWidth > 0 && document.querySelector("#sheet .file").textContent.includes("茶 <b>.jpg")`)
	send()
	last("image", photo())
	p.until(`document.querySelector("#chat>li:last-child img")?.naturalWidth > 0`)

	picks("Voice", "a.mp3", "audio/mpeg", []byte("this is no sound at all"))
	send()
	p.until(`document.querySelector("#sheet .trouble").textContent.includes("40005")`)
	p.js(`{ ` + transfer("a.amr", "audio/amr", speech()) + ` const f = document.querySelector("#sheet-file"); f.files = dt.files; f.dispatchEvent(new Event("change")) }`)
	send()
	last("voice", speech())
	// What was sent here and what an agent sends can be played: a second of WeChat's own
	// format, which no browser knows.
	p.plays()
	w.say(t, "oUser1", kefu.Message{Body: kefu.Voice{MediaID: w.voice}})
	p.until(`document.querySelector("#chat>li:last-child:not(.me) .vo")`)
	p.plays()

	p.js(`{ ` + transfer("shot.png", "image/png", photo()) + ` document.querySelector("#text").dispatchEvent(new ClipboardEvent("paste", {clipboardData: dt, bubbles: true, cancelable: true})) }`)
	p.until(ready)
	send()
	last("image", photo())
	p.js(`{ ` + transfer("a.mp4", "video/mp4", film()) + ` document.querySelector(".scr").dispatchEvent(new DragEvent("drop", {dataTransfer: dt, bubbles: true, cancelable: true})) }`)
	p.until(ready + ` && document.querySelector("#sheet-title").textContent === "Video"`)
	before := len(w.Chat("oUser1"))
	p.do(chromedp.KeyEvent(kb.Escape))
	p.until(`document.querySelector("#sheet").hidden`)
	if n := len(w.Chat("oUser1")); n != before {
		t.Errorf("%d lines after Esc, want %d", n, before)
	}

	p.do(chromedp.Click(chromedp.CSS("#more")))
	p.click("plus", "Location")
	p.js(`{ const f = document.querySelector("#sheet-label"); f.value = "颐和园"; document.querySelector("#sheet-lat").value = "39.9988" }`)
	send()
	p.shows("颐和园")
	p.shows("39.9988")
	p.do(chromedp.Click(chromedp.CSS("#more")))
	p.click("plus", "Link")
	send()
	p.shows("White tea in three minutes")
}

// plays taps the voice in the last line of the chat, hears it to its end, and its length
// is told.
func (p *phone) plays() {
	p.t.Helper()
	p.until(`!!document.querySelector("#chat>li:last-child .vo")`)
	p.js(`{ const vo = document.querySelector("#chat>li:last-child .vo"); window.played = []; new MutationObserver(() => played.push(vo.classList.contains("playing"))).observe(vo, {attributes: true}) }`)
	p.do(chromedp.Click(chromedp.CSS("#chat>li:last-child .vo"))) // a real tap: others may not play
	p.until(`played.includes(true) && played.at(-1) === false && document.querySelector("#chat>li:last-child .vo").textContent.includes("1″")`)
}

// The account's menu is the one that it made at WeChat, and a tap on each kind of
// button pushes what WeChat pushes.
func TestPhoneMenu(t *testing.T) {
	w := stock(t, kefutest.Account{Menu: []kefutest.Button{}})
	w.UserSends("oUser1")
	p := openPhone(t, w.URL+"/?lang=en&openid=oUser1")
	p.until(`document.querySelector("#toggle").hidden && !document.querySelector("#bar").hidden`) // none
	w.set(t, object{"menu": []object{
		{"name": "Help", "type": "click", "key": "HELP"},
		{"name": "<b>More", "sub_button": []object{
			{"name": "<img src=x onerror=owned()>", "type": "view", "url": "https://example.com/?a=1&b=2"},
			{"name": "Scan", "type": "scancode_waitmsg", "key": "CODE"},
			{"name": "App", "type": "miniprogram", "url": "https://example.com/", "appid": miniProgram, "pagepath": "pages/tea"},
			{"name": "Photo", "type": "pic_weixin", "key": "PIC"},
		}},
	}})
	p.until(`!document.querySelector("#toggle").hidden`)
	p.do(chromedp.Click(chromedp.CSS("#toggle")))
	did := func() string {
		chat := w.Chat("oUser1")
		var push struct {
			Event, EventKey string
			ScanCodeInfo    struct{ ScanResult string }
		}
		_ = json.Unmarshal(chat[len(chat)-1].Message, &push)
		return strings.TrimSpace(push.Event + " " + push.EventKey + " " + push.ScanCodeInfo.ScanResult)
	}
	pushed := func(want string) {
		t.Helper()
		for end := time.Now().Add(patience); did() != want; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("pushed: %s, want %s", did(), want)
			}
		}
	}
	opens := func() {
		t.Helper()
		p.do(chromedp.Click(`//*[@id="menu"]//button[contains(., "More")]`))
		p.until(`!!document.querySelector(".psub:not([hidden])")`)
	}
	p.click("menu", "Help")
	pushed("CLICK HELP")
	opens()
	if href := eval[string](p, `document.querySelector(".psub a").href`); href != "https://example.com/?a=1&b=2" {
		t.Errorf("the link leads to %s", href)
	}
	p.js(`document.querySelector(".psub a").addEventListener("click", (e) => e.preventDefault())`) // out of the test
	p.js(`document.querySelector(".psub a").click()`)
	pushed("VIEW https://example.com/?a=1&b=2")
	p.until(`!!document.querySelector(".psub[hidden]")`)
	opens()
	p.click("menu", "Scan")
	p.do(chromedp.SendKeys(chromedp.CSS("#sheet-result"), "7"), chromedp.Click(chromedp.CSS("#sheet [type=submit]")))
	pushed("scancode_waitmsg CODE 7")
	opens()
	p.click("menu", "App")
	p.until(`document.querySelector("#toast").textContent.includes("pages/tea")`)
	opens()
	p.click("menu", "Photo")
	p.until(`document.querySelector("#toast").textContent.includes("pic_weixin")`)
	opens()
	p.do(chromedp.KeyEvent(kb.Escape))
	p.until(`!!document.querySelector(".psub[hidden]")`)
}

// A request is shown whole but for its token, and can be made again, as it was and
// changed.
func TestPhoneReplay(t *testing.T) {
	w := stock(t, kefutest.Account{})
	w.UserSends("oUser1")
	w.say(t, "oUser1", kefu.Message{Body: kefu.Text{Content: "您好 <b>"}})
	p := openPhone(t, w.URL+"/?lang=en&openid=oUser1")
	first := func(text string) {
		t.Helper()
		p.until(`document.querySelector("#requests tr")?.textContent.includes(` + quote(text) + `)`)
	}
	first("custom/send")
	p.do(chromedp.Click(chromedp.CSS("#requests tr:first-child button")))
	p.until(`document.querySelector("#request pre")?.textContent.includes("您好 <b>")`)
	if text := eval[string](p, `document.body.textContent`); strings.Contains(text, "access_token=") && !strings.Contains(text, "[secret]") {
		t.Error("a token is shown")
	}
	before := eval[int](p, `document.querySelectorAll("#requests tr").length`)
	p.click("request", "Replay")
	p.until(`[...document.querySelectorAll("#chat .pb")].filter((b) => b.textContent === "您好 <b>").length === 2`)
	p.until(fmt.Sprintf(`document.querySelectorAll("#requests tr").length > %d && document.querySelector("#requests tr.on") === document.querySelector("#requests tr")`, before)) // the new one is shown
	p.click("request", "Edit and send")
	p.js(`{ const b = document.querySelector("#request textarea"); b.value = b.value.replace("您好 <b>", "改过了") }`)
	p.click("request", "Send")
	p.shows("改过了")
	p.until(`document.querySelector("#toast").textContent.includes("0")`)
	p.click("request", "Edit and send")
	p.js(`{ const b = document.querySelector("#request textarea"); b.value = b.value.replace("oUser1", "oNobody") }`)
	p.click("request", "Send")
	first("45015")
	p.until(`document.querySelector("#request .why")?.textContent.length > 20`) // in words
}

// hostile is what a stranger might write. owned, where it names one, is a function
// of the page that tells on them.
var hostile = []string{
	`<img src=x onerror=owned()>`,
	`<script>owned()</script>`,
	`</script><script>owned()</script>`,
	`"><svg onload=owned()>`,
	`' onmouseover='owned()' x='`,
	`javascript:owned()`,
	`data:text/html,<script>opener.owned()</script>`,
	`<a href="javascript:owned()">点我</a>`,
	`<a href='jAvAsCrIpT:owned()'>点我</a>`,
	"<a href=\"java\tscript:owned()\">点我</a>",
	`<a href="data:text/html,<script>opener.owned()</script>">点我</a>`,
	`<a href="https://example.com/" onclick="owned()" style="position:fixed;inset:0">点我</a>`,
	`<a href="weixin://bizmsgmenu?msgmenucontent=<img src=x onerror=owned()>&msgmenuid=<b>">点我</a>`,
	`<a href="#" data-miniprogram-appid="<img src=x onerror=owned()>" data-miniprogram-path="javascript:owned()">点我</a>`,
	`<a href="https://example.com/"><img src=x onerror=owned()></a>`,
	`<iframe srcdoc="<script>parent.owned()</script>"></iframe><style>*{display:none!important}</style>`,
	`<form action="/_sim/reset" method="post"><button>点我</button></form><base href="https://example.com/">`,
	`&lt;img src=x onerror=owned()&gt;&#60;script&#62;owned()&#60;/script&#62;`,
	"${owned()} {{owned()}} <%= owned() %> ]]>--><!--\u0000\u0008\u001b[31m",
	"\u202egnp.exe\u202c \u2066\u2067\u200f\u0600مرحبا",
	strings.Repeat("W", 2048),
	strings.Repeat("<a ", 600),
}

func TestPhoneHostileStrings(t *testing.T) {
	hostile := hostile
	if os.Getenv("KEFU_LONG") != "" {
		hostile = strange()
	}
	w := stock(t, kefutest.Account{Name: hostile[0]})
	long := object{}
	for _, field := range []string{"text.content", "music.title", "music.description",
		"news.articles.title", "news.articles.description", "news.articles.url", "news.articles.picurl"} {
		long[field] = 1 << 16
	}
	var cards, signers []object
	for i, s := range hostile {
		cards = append(cards, object{"card_id": cardOf(i), "title": s})
		signer := object{"kf_account": signerOf(i), "nickname": s}
		if strings.HasPrefix(s, "javascript:") || strings.HasPrefix(s, "data:") {
			signer["headimg"] = s
		}
		signers = append(signers, signer)
	}
	w.set(t, object{"cards": cards, "kf_accounts": signers, "mini_programs": hostile, "limits": long})

	const linesEach, mostShown = 17, 300
	chunk := mostShown / linesEach
	for from := 0; from < len(hostile); from += chunk {
		to := fmt.Sprintf("oUser%d", from)
		for i := from; i < min(from+chunk, len(hostile)); i++ {
			w.suffers(t, to, i, hostile[i])
		}
		p := openPhone(t, w.URL+"/?lang=zh&openid="+to)
		w.say(t, to, kefu.Message{Body: kefu.Text{Content: "完"}}) // live, as well
		p.shows("完")
		p.pictures()
		p.unharmed(hostile[from:min(from+chunk, len(hostile))])
		// Every button in the chat, tapped.
		p.do(chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("#chat button:not(.vo):not(.go)").forEach((b) => b.click())`))
		w.say(t, to, kefu.Message{Body: kefu.Text{Content: "真的完了"}})
		p.until(`document.querySelector("#chat").textContent.includes("真的完了")`)
	}
}

func cardOf(i int) string   { return "p" + strconv.Itoa(i) }
func signerOf(i int) string { return fmt.Sprintf("kf%d@demo", i) }

// suffers puts the hostile string i wherever a stranger's text can stand in a chat.
func (w *stocked) suffers(t *testing.T, to string, i int, s string) {
	t.Helper()
	w.UserSends(to, s)
	for _, did := range []struct {
		action string
		with   kefutest.Details
	}{
		{"location", kefutest.Details{Label: s}}, {"link", kefutest.Details{Title: s, Description: s, URL: s}},
		{"click", kefutest.Details{Key: s}}, {"view", kefutest.Details{Key: s}}, {"scan", kefutest.Details{Scene: s}},
		{"scancode_waitmsg", kefutest.Details{Key: s, Result: s}}, {"menu-tap", kefutest.Details{ID: s, Content: s}},
		{"subscribe", kefutest.Details{Scene: s}},
	} {
		must[kefutest.Action](t, did.action)(w.Does(to, did.action, did.with))
	}
	for _, body := range []kefu.Body{
		kefu.Text{Content: s},
		kefu.News{Articles: []kefu.Article{{Title: s, Description: s, URL: s, PicURL: s}}},
		kefu.News{Articles: []kefu.Article{{Title: s, URL: "https://example.com/" + s, PicURL: w.URL + `/favicon.svg?"onerror="` + url.QueryEscape(s)}}},
		kefu.Music{Title: s, Description: s, MusicURL: s, HQMusicURL: s, ThumbMediaID: w.thumb},
		kefu.Video{MediaID: w.video, Title: s, Description: s},
		kefu.MsgMenu{Head: s, Items: []kefu.MenuItem{{ID: s, Content: s}}, Tail: s},
		kefu.MiniProgramPage{Title: s, AppID: s, PagePath: s, ThumbMediaID: w.thumb},
		kefu.WXCard{CardID: cardOf(i)},
	} {
		w.say(t, to, kefu.Message{Body: body, KFAccount: signerOf(i)})
	}
	w.Fail(kefutest.Fault{ErrCode: 45099, ErrMsg: s}) // in the panels of faults and of requests
	if _, err := w.client.Send(t.Context(), kefu.Message{To: to, Body: kefu.Text{Content: s}}); err == nil {
		t.Errorf("the fault of %.40q has not struck", s)
	}
}

// unharmed checks that the page shows the strings and is none the worse.
func (p *phone) unharmed(shown []string) {
	p.t.Helper()
	if got := eval[[]string](p, `[...document.querySelectorAll("#chat *, #followers *, #requests *, header *")].flatMap((node) => [
		["SCRIPT", "IFRAME", "STYLE", "FORM", "BASE", "OBJECT", "EMBED"].includes(node.tagName) && node.tagName,
		...[...node.attributes].filter((a) => /^on/i.test(a.name) || a.name === "srcdoc" || a.name === "style").map((a) => a.name + "=" + a.value),
		node.tagName === "IMG" && !/^https?:/.test(node.src) && node.src,
		node.tagName === "A" && node.closest("#chat") && !/^https?:$/.test(node.protocol) && node.href,
		node.target === "_blank" && !/noopener/.test(node.rel) && "opener " + node.href,
	].filter(Boolean))`); len(got) > 0 {
		p.t.Errorf("foreign strings became more than text:\n%s", strings.Join(got, "\n"))
	}
	for place, at := range map[string]string{"what the follower wrote": ".me .pb", "titles": ".ttl", "nicknames": ".kf", "menu items": ".menu .tap"} {
		texts := eval[[]string](p, `[...document.querySelectorAll("#chat `+at+`")].map((n) => n.textContent)`)
		for _, s := range shown {
			if !slices.Contains(texts, s) {
				p.t.Errorf("%s: not shown as it is: %.80q", place, s)
			}
		}
	}
	// A bubble's arrow stands out by 5 px; no text does.
	if got := eval[[]string](p, `[document.querySelector("#log"), ...document.querySelectorAll("#chat .pb")]
		.filter((n) => n.scrollWidth > n.clientWidth + 5).map((n) => n.className + " " + n.textContent.slice(0, 40))`); len(got) > 0 {
		p.t.Errorf("wider than the phone: %q", got)
	}
	if got := eval[int](p, `document.documentElement.scrollWidth - innerWidth`); got > 0 {
		p.t.Errorf("the page is %d px wider than the window", got)
	}
}

// The page in both languages, both colour schemes and three widths; nothing is against
// WCAG 2.2 AA. What takes eyes is for people: KEFU_SHOTS names a folder for pictures.
func TestPhoneShots(t *testing.T) {
	folder := shotsFolder(t)
	shown, day := 0, int(time.Now().Unix()/86400)
	w := stock(t, kefutest.Account{})
	w.set(t, object{
		"cards":       []object{{"card_id": "pCARD", "title": "满减券"}},
		"kf_accounts": []object{{"kf_account": "xiaowei@demo", "nickname": "小微"}},
	})
	w.Follows("oUser2")
	w.UserSends("oUser3", "请问几点关门？")
	w.Unfollows("oUser4")
	w.UserSends("oUser1", "在吗？我想问一下昨天的订单")
	w.say(t, "oUser1", kefu.Message{Body: kefu.Text{Content: "在的，请稍等"}, KFAccount: "xiaowei@demo"})
	for _, k := range w.kinds() {
		w.say(t, "oUser1", kefu.Message{Body: k.body})
	}
	w.say(t, "oUser1", kefu.Message{Body: kefu.Text{Content: "以上由机器人整理"}, AI: true})
	for _, action := range []string{"scan", "pay", "image", "voice", "location"} {
		must[kefutest.Action](t, action)(w.Does("oUser1", action, kefutest.Details{}))
	}
	w.Fail(kefutest.Fault{Every: 3, ErrCode: 45015, To: "oUser3"})

	for _, lang := range []struct{ code, title string }{{"zh", "模拟微信"}, {"en", "Simulated WeChat"}} {
		for _, scheme := range []string{"light", "dark"} {
			for _, size := range []struct{ width, height int64 }{{390, 844}, {1024, 768}, {1280, 800}} {
				name := fmt.Sprintf("phone-%s-%s-%d", lang.code, scheme, size.width)
				t.Run(name, func(t *testing.T) {
					p := openPhone(t, w.URL+"/?openid=oUser1&lang="+lang.code, chromedp.EmulateViewport(size.width, size.height),
						chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
							_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
								Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
							return err
						}))
					p.until(`document.querySelectorAll("#chat>li.pm").length === 17`)
					p.pictures()
					if got := eval[string](p, `document.title`); got != lang.title {
						t.Errorf("title %q, want %q", got, lang.title)
					}
					if got := eval[int](p, `document.documentElement.scrollWidth - innerWidth`); got > 0 {
						t.Errorf("%d px wider than the window", got)
					}
					p.until(`!!document.querySelector("#requests .st")`)
					if got := eval[int](p, `Math.ceil(Math.max(...[...document.querySelectorAll("#requests .st")].map((n) => n.getBoundingClientRect().right - innerWidth)))`); got > 0 {
						t.Errorf("the results of requests are cut off by %d px", got)
					}
					if got := eval[int](p, `document.querySelector(".phone").offsetWidth`); got > 400 {
						t.Errorf("the phone is %d px wide", got)
					}
					if dark := eval[bool](p, `matchMedia("(prefers-color-scheme:dark)").matches`); dark != (scheme == "dark") {
						t.Errorf("dark: %v", dark)
					}
					if shown++; folder != "" || shown%4 == day%4 { // three of the twelve, others every day
						for _, v := range p.violations(axe(t)) {
							t.Error(v)
						}
					}
					if folder != "" {
						p.shoot(filepath.Join(folder, name))
					}
				})
			}
		}
	}
}

// shoot writes pictures of the chat from its beginning to its end.
func (p *phone) shoot(name string) {
	p.t.Helper()
	for n := 1; ; n++ {
		atEnd := eval[bool](p, fmt.Sprintf(`{ const log = document.querySelector("#log");
			log.scrollTop = %d * 0.9 * log.clientHeight;
			log.scrollTop + log.clientHeight >= log.scrollHeight - 1; }`, n-1))
		png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
		if err != nil {
			p.t.Fatal(err)
		}
		if err := os.WriteFile(fmt.Sprintf("%s-%d.png", name, n), png, 0o644); err != nil {
			p.t.Fatal(err)
		}
		if atEnd {
			return
		}
	}
}
