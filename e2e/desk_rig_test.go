package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// An office is a gateway's process, with its console, before a simulated WeChat. A tap
// on the account's menu opens a window of a second, so that closed ones can be had.
type office struct {
	t      *testing.T
	wechat *kefutest.WeChat
	p      *process
	boss   *gateway.Client // with the admin's key
	agents map[string]string
	hooks  []string // of webhooks, their ids
}

func openOffice(t *testing.T) *office {
	t.Helper()
	p := newProcess(t, "")
	a := kefutest.DefaultAccount
	a.Callback, a.AcceptAnyID = p.url()+"/callback/"+a.AppID, true
	a.Rules = kefutest.Allowances{kefu.Menu: {Max: 3, For: time.Second}}
	o := &office{t: t, wechat: kefutest.NewServer(a), p: p, agents: map[string]string{}, boss: &gateway.Client{BaseURL: p.url(), Key: kefu.Secret(apiKey), Language: "en"}}
	t.Cleanup(o.wechat.Close)
	p.env = append(p.env, "KEFU_API_BASE="+o.wechat.URL)
	p.args = append(p.args, "--allow-private")
	p.start()
	t.Cleanup(p.kill)
	put(t, p.url()+"/v1/accounts/"+a.AppID, quote(object{"appid": a.AppID, "name": "客服演示", "rules": object{"menu": object{"max": 3, "seconds": 1}}}))
	return o
}

// link makes a link that signs the agent in once; the agent is made at first sight.
func (o *office) link(name string, role gateway.Role) string {
	o.t.Helper()
	id := o.agents[name]
	if id == "" {
		a, err := o.boss.AddAgent(o.t.Context(), gateway.AgentRequest{Name: name, Display: name, Role: role})
		if err != nil {
			o.t.Fatal(err)
		}
		id, o.agents[name] = a.ID, a.ID
	}
	l, err := o.boss.AgentLink(o.t.Context(), id)
	if err != nil {
		o.t.Fatal(err)
	}
	return l.Link
}

// A seat is a tab with the console in a browser of its own, signed in.
type seat struct {
	*phone
	o  *office
	at string // the address of the gateway as the tab sees it
}

// sit signs an agent in by a one-time link and shows all conversations.
func (o *office) sit(name string, setup ...chromedp.Action[chromedp.Void]) *seat {
	o.t.Helper()
	return o.sitAt(o.p.addr, name, "en", setup...)
}

func (o *office) sitAt(addr, name, lang string, setup ...chromedp.Action[chromedp.Void]) *seat {
	o.t.Helper()
	s := &seat{o: o, at: "http://" + addr}
	s.phone = openTab(o.t, s.at+"/console?lang="+lang+"#link="+o.link(name, gateway.Leads), ".tabs", append([]chromedp.Action[chromedp.Void]{chromedp.EmulateViewport(1280, 800)}, setup...)...)
	s.until(`!location.hash`)
	s.all()
	return s
}

// all shows all conversations.
func (s *seat) all() {
	s.t.Helper()
	s.until(`!!document.querySelector('.tabs')`)
	s.js(`document.querySelector('.tabs [role=tab]:last-child').click()`)
}

// again loads the page anew.
func (s *seat) again() {
	s.t.Helper()
	s.do(chromedp.Reload())
	s.all()
}

// js runs a statement in the page.
func (s *phone) js(statement string) {
	s.t.Helper()
	s.do(chromedp.Evaluate[chromedp.Void](statement + "; void 0"))
}

// open shows the conversation, by its row: with the box to write in, or the form that was
// begun in place of it.
func (s *seat) open(openid string) {
	s.t.Helper()
	row := fmt.Sprintf(`a.cr[data-key$=%q]`, openid)
	s.until(`!!document.querySelector('` + row + `')`)
	s.js(`document.querySelector('` + row + `').click()`)
	s.until(`location.pathname.endsWith("/` + openid + `") && !!document.querySelector('.box, .kform')`)
}

// write types into the composer, as the browser does it.
func (s *seat) write(text string) {
	s.t.Helper()
	s.js(`{ const el = document.querySelector('#reply'); el.focus(); el.setSelectionRange(el.value.length, el.value.length); document.execCommand('insertText', false, ` + quote(text) + `) }`)
	s.until(`document.querySelector('#reply').value.endsWith(` + quote(text) + `)`)
}

// answer writes and presses Enter.
func (s *seat) answer(text string) {
	s.t.Helper()
	s.write(text)
	s.enter()
	s.until(`document.querySelector('#reply').value === ''`)
}

// enter presses Enter in one event, as a keyboard does: what stops the key stops the
// newline, too.
func (s *seat) enter() {
	s.t.Helper()
	s.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		key := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13, Text: "\r", UnmodifiedText: "\r"}
		_, err := chromedp.Call(ctx, input.DispatchKeyEvent, key)
		key.Type, key.Text, key.UnmodifiedText = input.DispatchKeyEventTypeKeyUp, "", ""
		if _, up := chromedp.Call(ctx, input.DispatchKeyEvent, key); err == nil {
			err = up
		}
		return err
	}))
}

// bubble waits until a message with the text is in that state.
func (s *seat) bubble(text, state string) {
	s.t.Helper()
	s.until(`[...document.querySelectorAll('.m.out')].some((m) => m.dataset.state === ` + quote(state) + ` && m.querySelector('.bub')?.textContent.includes(` + quote(text) + `))`)
}

// heard waits until a line of the follower is in the open thread.
func (s *seat) heard(text string) {
	s.t.Helper()
	s.until(`[...document.querySelectorAll('.log .m:not(.out)')].some((m) => m.textContent.includes(` + quote(text) + `))`)
}

// press clicks the button with that name within the part of the page.
func (s *phone) press(part, name string) {
	s.t.Helper()
	find := `[...document.querySelectorAll(` + quote(part) + `)].flatMap((p) => [...p.querySelectorAll('button, [role=menuitem]')]).find((b) => (b.getAttribute('aria-label') ?? b.textContent).trim().startsWith(` + quote(name) + `) || b.textContent.trim() === ` + quote(name) + `)`
	s.until(`!!(` + find + `)`)
	s.js(`(` + find + `).click()`)
}

// shoot makes a picture for people to look at, if KEFU_SHOTS names a folder for them.
func (o *office) shoot(s *seat, name string) {
	o.t.Helper()
	folder := os.Getenv("KEFU_SHOTS")
	if folder == "" {
		return
	}
	picture, err := chromedp.Run(s.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), picture, 0o644)
	}
	if err != nil {
		o.t.Fatal(err)
	}
}

// yes answers what confirm asks.
func (s *phone) yes() { s.t.Helper(); s.js(`window.confirm = () => true`) }

// arrives waits until the follower has got exactly these texts, in any order.
func (o *office) arrives(openid string, texts ...string) {
	o.t.Helper()
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		got = nil
		for _, m := range o.wechat.Sent(openid) {
			text, _ := m.Message.Body.(kefu.Text)
			got = append(got, text.Content)
		}
		if len(got) == len(texts) {
			break
		}
	}
	left := strings.Join(got, "\x00")
	for _, want := range texts {
		if !strings.Contains(left, want) {
			o.t.Fatalf("arrived: %q, want %q", got, texts)
		}
	}
	if len(got) != len(texts) {
		o.t.Fatalf("arrived: %q, want %q", got, texts)
	}
}

// colours has the page in light or dark, and nothing on it moves.
func colours(scheme string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
		return err
	})
}

// focused has the page take keys as the one in front, whatever other tabs do.
func focused() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	})
}

// A cable is the line between a browser and the gateway; it can be cut, and then
// lets nothing through until it is mended: what hangs on it hangs.
type cable struct {
	addr string

	mu    sync.Mutex // guards all below
	whole chan struct{}
	cut   bool
}

func layCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{addr: l.Addr().String(), whole: make(chan struct{})}
	close(c.whole)
	var wg sync.WaitGroup
	var open sync.Map
	t.Cleanup(func() {
		c.mend()
		l.Close()
		open.Range(func(k, _ any) bool { k.(net.Conn).Close(); return true })
		wg.Wait()
	})
	wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			open.Store(near, nil)
			open.Store(far, nil)
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				wg.Go(func() {
					_, _ = io.Copy(gate{way[1], c}, way[0])
					near.Close()
					far.Close()
				})
			}
		}
	})
	return c
}

type gate struct {
	net.Conn
	c *cable
}

func (g gate) Write(b []byte) (int, error) {
	g.c.mu.Lock()
	whole := g.c.whole
	g.c.mu.Unlock()
	<-whole
	return g.Conn.Write(b)
}

func (c *cable) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.cut {
		c.cut, c.whole = true, make(chan struct{})
	}
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		c.cut = false
		close(c.whole)
	}
}
