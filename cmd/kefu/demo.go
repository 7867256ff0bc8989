package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

const (
	defaultAddr  = "127.0.0.1:7600"
	demoFollower = "oDemoFollower"
	anyPort      = "127.0.0.1:0"
)

func (p *program) demoCommand() *cobra.Command {
	var addr, simAddr string
	var check bool
	cmd := &cobra.Command{
		Use: "demo", Short: "A simulated WeChat with a gateway before it, and one message of each kind · 演示",
		Long: "Run a simulated WeChat with a phone page and the gateway, and send one message of each kind.\n" +
			"启动模拟的微信（带手机页面）和网关，把每一种消息各发一条。\n\n" +
			"With --check it tries everything by itself, prints what it saw, and exits 0 only if all of it happened.",
		Example: "  kefu demo\n  kefu demo --check", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, a := range []*string{&addr, &simAddr} {
				if !loopbackAddr(*a) {
					return usagef("the demo's secrets are known to all, so it listens on this machine only, not on %s", "演示账号的密钥人人皆知，只能监听本机，不能是 %s", *a).
						then("use 127.0.0.1, or run: kefu sim --sim-key KEY", "改用 127.0.0.1，或运行 kefu sim --sim-key KEY")
				}
			}
			if check { // beside a demo that runs already
				if !cmd.Flags().Changed("addr") {
					addr = anyPort
				}
				if !cmd.Flags().Changed("sim-addr") {
					simAddr = anyPort
				}
			}
			d, err := p.startDemo(cmd.Context(), addr, simAddr)
			if err != nil {
				return err
			}
			if check {
				err = d.check(cmd.Context(), steps())
			} else if err = d.show(cmd.Context()); cmd.Context().Err() != nil {
				err = nil // it ends like that
			}
			return errors.Join(err, d.stop())
		},
	}
	cmd.Flags().StringVar(&addr, "addr", defaultAddr, "where the gateway listens")
	cmd.Flags().StringVar(&simAddr, "sim-addr", defaultSim, "where the simulated WeChat listens")
	cmd.Flags().BoolVar(&check, "check", false, "try everything, print what was seen, and end")
	return cmd
}

// A demo is a simulated WeChat with two accounts: one behind a gateway, and one of
// a program that uses the SDK alone. All of it speaks HTTP, as it would elsewhere.
type demo struct {
	*program
	party  // the program with the SDK
	behind party
	wechat *kefutest.WeChat
	gate   *runningGateway
	key    kefu.Secret // of the gateway
	folder string
	server []*http.Server
	simURL string
	log    *slog.Logger
	loud   slog.LevelVar

	callback string // of the program with the SDK

	mu     sync.Mutex       // guards events
	events []callback.Event // received by it, oldest first
}

// A party is one account's view: it speaks to WeChat, and acts as its followers.
type party struct {
	ownURL  string // serves a song
	client  *kefu.Client
	control *controlPlane
	gateway *gateway.Client // nil: it has none
}

// demoState is what each account has at WeChat from the start.
const demoState = `{
	"kf_accounts": [{"kf_account": "xiaowei@kefudemo", "nickname": "小微"}],
	"mini_programs": ["wxdemominiprogram1"],
	"cards": [
		{"card_id": "pDemoCard", "title": "满 100 减 20"},
		{"card_id": "pDemoOwnCodes", "title": "自定义 code", "use_custom_code": true},
		{"card_id": "pDemoImported", "title": "导入 code", "use_custom_code": true, "get_custom_code_mode": "GET_CUSTOM_CODE_MODE_DEPOSIT"}
	]
}`

func (p *program) startDemo(ctx context.Context, addr, simAddr string) (_ *demo, err error) {
	d := &demo{program: p}
	d.loud.Set(slog.LevelError + 1) // the demo acts as follower, too; and a check breaks things on purpose
	d.log = slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: &d.loud}))
	var listeners []net.Listener
	defer func() {
		if err != nil {
			for _, l := range listeners {
				_ = l.Close() // its server may have closed it already
			}
			err = errors.Join(err, d.stop())
		}
	}()
	for _, a := range [][2]string{{"--addr", addr}, {"--sim-addr", simAddr}, {"--addr", anyPort}} {
		l, err := listen(a[0], a[1])
		if err != nil {
			return nil, err
		}
		listeners = append(listeners, l)
	}
	gate, sim, own := listeners[0], listeners[1], listeners[2]
	d.simURL = urlOf(sim)

	first, second := kefutest.DefaultAccount, kefutest.DefaultAccount
	second.AppID, second.Name = "wx5eed2a76cc560002", "SDK"
	first.Callback, d.callback = urlOf(gate)+"/callback/"+first.AppID, urlOf(own)+"/callback/"+second.AppID
	second.Callback = d.callback
	d.wechat = kefutest.Config{Accounts: []kefutest.Account{first, second}, URL: d.simURL, SharedClock: true}.New()
	if err := errors.Join(d.wechat.SetState(demoState), d.wechat.Account(second.AppID).SetState(demoState)); err != nil {
		return nil, err
	}
	if err := d.startItsGateway(ctx, gate, first); err != nil {
		return nil, err
	}
	d.party = d.partyOf(second, urlOf(own))
	d.behind = d.partyOf(first, urlOf(own))
	d.behind.gateway = &gateway.Client{BaseURL: d.gate.url, Key: d.key, Language: p.lang()}

	mux := http.NewServeMux()
	mux.Handle("/callback/"+second.AppID, d.receiver(second))
	mux.HandleFunc("GET /song.wav", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "song.wav", time.Time{}, bytes.NewReader(sampleWAV()))
	})
	mux.HandleFunc("GET /hills.png", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "hills.png", time.Time{}, bytes.NewReader(samplePNG()))
	})
	d.server = []*http.Server{p.serve(own, p.meddled("callback", mux)), p.serve(sim, p.meddled("sim", d.wechat.Handler()))}
	return d, p.json(struct {
		Gateway string `json:"gateway"`
		Sim     string `json:"sim"`
		Console string `json:"console"`
		APIKey  string `json:"api_key"`
	}{d.gate.url, d.simURL, d.gate.url + "/console", d.key.Reveal()})
}

// startItsGateway starts the gateway in a folder that goes with the demo, and with
// nothing of the environment: it is for the demo's account alone.
func (d *demo) startItsGateway(ctx context.Context, l net.Listener, a kefutest.Account) (err error) {
	if d.folder, err = os.MkdirTemp("", "kefu-demo-*"); err != nil {
		f := failf("no folder can be made for the demo", "无法为演示创建目录")
		f.cause = err
		return f
	}
	host := *d.program
	host.env = maps.Clone(d.env)
	maps.DeleteFunc(host.env, func(name, _ string) bool { return strings.HasPrefix(name, "KEFU_") && name != "KEFU_LANG" })
	if host.env == nil {
		host.env = map[string]string{}
	}
	host.env["KEFU_ACCOUNT"] = strings.Join([]string{a.AppID, a.Secret.Reveal(), a.Token.Reveal(), a.AESKey.Reveal()}, ":")
	d.gate, err = host.startGateway(ctx, gatewayConfig{
		listener: l, db: filepath.Join(d.folder, "kefu.db"), apiBase: d.simURL, now: d.wechat.Now, log: d.log, front: withLiveList, linkLife: 24 * time.Hour,
		allowPrivate: true, // it listens on this machine alone
	})
	if err != nil {
		return err
	}
	for _, k := range findKeys([]string{d.gate.keyFile}) {
		d.key = k.key
	}
	return nil
}

func (d *demo) partyOf(a kefutest.Account, ownURL string) party {
	return party{
		ownURL: ownURL,
		client: &kefu.Client{
			Tokens:  kefu.CachedToken(kefu.StableToken{AppID: a.AppID, Secret: a.Secret, BaseURL: d.simURL}),
			BaseURL: d.simURL,
		},
		control: &controlPlane{base: d.simURL, account: a.AppID},
	}
}

func (d *demo) stop() error {
	var errs []error
	if d.wechat != nil {
		errs = append(errs, shutdown(d.wechat, d.server...))
	}
	if d.gate != nil {
		errs = append(errs, d.gate.stop())
	}
	if d.folder != "" {
		errs = append(errs, os.RemoveAll(d.folder))
	}
	return errors.Join(errs...)
}

// receiver is the account's callback: it greets new followers in its answer and
// answers texts by customer-service messages.
func (d *demo) receiver(a kefutest.Account) http.Handler {
	return &callback.Handler{
		AppID: a.AppID, Token: a.Token, AESKey: a.AESKey, Mode: callback.Secure,
		Receive: d.receive, Now: d.wechat.Now, Log: d.log,
	}
}

// mostEvents is how many are remembered.
const mostEvents = 1000

const greeting = "欢迎关注！发条消息试试。"

func (d *demo) receive(ctx context.Context, e callback.Event) (callback.Reply, error) {
	d.mu.Lock()
	if d.events = append(d.events, e); len(d.events) > mostEvents {
		d.events = d.events[1:]
	}
	d.mu.Unlock()
	d.log.InfoContext(ctx, "callback received", "event", e)
	switch e := e.(type) {
	case callback.SubscribeEvent:
		return callback.Text{Content: greeting}, nil
	case callback.TextMessage:
		answer := kefu.Message{To: e.FromUserName, Body: kefu.Text{Content: "收到：" + e.Content}}
		if _, err := d.client.Send(ctx, answer); err != nil { // no reason to be told of e once more
			d.log.WarnContext(ctx, "not answered", "event", e, "err", err)
		}
	}
	return nil, nil
}

// received returns what was received from a follower.
func (d *demo) received(openid string) (from []callback.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range d.events {
		if e.Head().FromUserName == openid {
			from = append(from, e)
		}
	}
	return from
}

// show lets a follower ask for each kind of message, sends it, and stays: as a
// program behind the gateway, which answers texts.
func (d *demo) show(ctx context.Context) error {
	me := &d.behind
	if _, err := me.act(ctx, demoFollower, "subscribe"); err != nil {
		return err
	}
	sent := 0
	for _, k := range kinds() {
		if _, _, err := me.control.act(ctx, demoFollower, "click", map[string]string{"key": k.name}); err != nil {
			return err
		}
		s, err := k.make(ctx, me, demoFollower)
		if err == nil {
			err = me.entrust(ctx, s.message)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		sent++
	}
	// A tap of a menu opens a minute; who looks at the desk later finds a window of 48 hours.
	if _, _, err := me.control.act(ctx, demoFollower, "text", map[string]string{"content": "谢谢，都收到了"}); err != nil {
		return err
	}
	d.say("sent %d messages through the gateway, one of each kind and form", "已经网关发送 %d 条消息，每种一条", sent)
	reader, err := me.gateway.AddKey(ctx, gateway.KeyRequest{Name: "live list", Role: gateway.Read})
	if err != nil {
		return err
	}
	link, err := d.signInLink(ctx)
	if err != nil {
		return err
	}
	account := kefutest.DefaultAccount
	lang := d.lang()
	fmt.Fprintf(d.stderr, text{
		`
  console      %[9]s   (signs in once)
  phone page   %[1]s
  messages     %[2]s
  gateway      %[3]s
  WeChat       %[4]s   (any SDK of yours: only the host name changes)
  account      KEFU_ACCOUNT=%[5]s:%[6]s

Try, from another terminal:
  export KEFU_URL=%[3]s KEFU_API_KEY=%[7]s
  kefu trigger text %[8]s --field content=你好 --sim %[4]s
  kefu send text "你好" --to %[8]s --wait
  kefu tail

Ctrl-C ends it.
`, `
  工作台       %[9]s   （链接只能登录一次）
  手机页面     %[1]s
  消息列表     %[2]s
  网关         %[3]s
  模拟的微信   %[4]s   （你现有的 SDK 只需改主机名）
  公众号       KEFU_ACCOUNT=%[5]s:%[6]s

在另一个终端试试：
  export KEFU_URL=%[3]s KEFU_API_KEY=%[7]s
  kefu trigger text %[8]s --field content=你好 --sim %[4]s
  kefu send text "你好" --to %[8]s --wait
  kefu tail

Ctrl-C 结束。
`}.in(lang), d.simURL+"/?openid="+demoFollower, d.gate.url+"/?lang="+lang+"#"+reader.Key, d.gate.url, d.simURL,
		account.AppID, account.Secret.Reveal(), d.key.Reveal(), demoFollower, link)
	d.loud.Set(slog.LevelWarn)
	return d.answer(ctx)
}

// signInLink makes an agent of the console and a link that signs in as them once.
func (d *demo) signInLink(ctx context.Context) (string, error) {
	a, err := d.behind.gateway.AddAgent(ctx, gateway.AgentRequest{Name: "demo", Display: text{"Demo", "演示"}.in(d.lang()), Role: gateway.Admin})
	if err != nil {
		return "", err
	}
	l, err := d.behind.gateway.AgentLink(ctx, a.ID)
	return d.gate.url + "/console?lang=" + d.lang() + "#link=" + l.Link, err
}

// answer follows the feed and answers each text, those before it began among them, until
// ctx ends. Once there is a webhook, that answers instead, and where a person answers,
// nobody else does.
func (d *demo) answer(ctx context.Context) error {
	for e, err := range d.behind.gateway.Events(ctx, gateway.EventOptions{FromStart: true, Types: []string{"follower.message"}}) {
		if err != nil {
			return err
		}
		var push struct {
			MsgType string
			Push    struct{ Content string }
		}
		if json.Unmarshal(e.Data, &push) != nil || push.MsgType != "text" {
			continue
		}
		if hooks, err := d.behind.gateway.Webhooks(ctx); err == nil && slices.ContainsFunc(hooks, func(w gateway.Webhook) bool { return w.Enabled && w.Answers }) {
			continue
		}
		if c, err := d.behind.gateway.Conversation(ctx, e.Account, e.OpenID); err == nil && (c.Handler == gateway.ByAgent || c.Handler == gateway.ByKf) {
			continue
		}
		if err := d.behind.entrust(ctx, kefu.Message{To: e.OpenID, Body: kefu.Text{Content: "收到：" + push.Push.Content}}); err != nil {
			d.log.WarnContext(ctx, "not answered", "err", err)
		}
	}
	return nil
}

// entrust hands a message to the gateway.
func (d *party) entrust(ctx context.Context, m kefu.Message) error {
	_, err := d.gateway.Send(ctx, gateway.Request{Message: m.AppendJSON(nil)}, gateway.SendOptions{})
	return err
}

// upload stores one of the demo's own files.
func (d *party) upload(ctx context.Context, kind kefu.MediaKind, name string, data []byte) (kefu.TemporaryID, error) {
	m, err := d.client.Upload(ctx, kind, name, bytes.NewReader(data))
	return m.ID, err
}

// fetch gets what WeChat serves at a URL.
func fetch(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := plainHTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("HTTP %d from %s", res.StatusCode, url)
	}
	return data, err
}
