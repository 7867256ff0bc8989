package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
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
		Use: "demo", Short: "A simulated WeChat, a phone page and one message of each kind · 演示",
		Long: "Run a simulated WeChat with a phone page, receive its callbacks, and send one message of each kind.\n" +
			"启动模拟的微信和手机页面，接收回调，把每一种消息各发一条。\n\n" +
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
			d, err := p.startDemo(addr, simAddr)
			if err != nil {
				return err
			}
			if check {
				err = d.check(cmd.Context(), steps())
			} else {
				err = d.show(cmd.Context())
			}
			return errors.Join(err, d.stop())
		},
	}
	cmd.Flags().StringVar(&addr, "addr", defaultAddr, "where the demo receives callbacks")
	cmd.Flags().StringVar(&simAddr, "sim-addr", defaultSim, "where the simulated WeChat listens")
	cmd.Flags().BoolVar(&check, "check", false, "try everything, print what was seen, and end")
	return cmd
}

// A demo is a simulated WeChat and an account that talks to it over HTTP, as any
// program would.
type demo struct {
	*program
	wechat   *kefutest.WeChat
	servers  []*http.Server
	simURL   string
	ownURL   string // of the account: its callback, and a song
	callback string
	client   *kefu.Client
	control  *controlPlane
	log      *slog.Logger // of the callback
	loud     slog.LevelVar

	mu     sync.Mutex       // guards events
	events []callback.Event // received, oldest first
}

// demoState is what the account has at WeChat from the start.
const demoState = `{
	"kf_accounts": [{"kf_account": "xiaowei@kefudemo", "nickname": "小微"}],
	"mini_programs": ["wxdemominiprogram1"],
	"cards": [
		{"card_id": "pDemoCard", "title": "满 100 减 20"},
		{"card_id": "pDemoOwnCodes", "title": "自定义 code", "use_custom_code": true},
		{"card_id": "pDemoImported", "title": "导入 code", "use_custom_code": true, "get_custom_code_mode": "GET_CUSTOM_CODE_MODE_DEPOSIT"}
	]
}`

func (p *program) startDemo(addr, simAddr string) (*demo, error) {
	own, err := listen(addr)
	if err != nil {
		return nil, err
	}
	sim, err := listen(simAddr)
	if err != nil {
		return nil, errors.Join(err, own.Close())
	}
	d := &demo{program: p, simURL: urlOf(sim), ownURL: urlOf(own)}
	d.loud.Set(slog.LevelError) // the demo acts as follower, too; and a check forges on purpose
	d.log = slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: &d.loud}))
	account := kefutest.DefaultAccount
	d.callback = d.ownURL + "/callback/" + account.AppID
	account.Callback = d.callback
	d.wechat = kefutest.Config{Accounts: []kefutest.Account{account}, URL: d.simURL, SharedClock: true}.New()
	if err := d.wechat.SetState(demoState); err != nil {
		return nil, errors.Join(err, own.Close(), sim.Close())
	}
	d.client = &kefu.Client{
		Tokens:  kefu.CachedToken(kefu.StableToken{AppID: account.AppID, Secret: account.Secret, BaseURL: d.simURL}),
		BaseURL: d.simURL,
	}
	d.control = &controlPlane{base: d.simURL}
	mux := http.NewServeMux()
	mux.Handle("/callback/"+account.AppID, d.receiver(account))
	mux.HandleFunc("GET /song.wav", func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "song.wav", time.Time{}, bytes.NewReader(sampleWAV()))
	})
	d.servers = []*http.Server{p.serve(own, p.meddled("callback", mux)), p.serve(sim, p.meddled("sim", d.wechat.Handler()))}
	if err := p.json(struct {
		Sim      string `json:"sim"`
		Callback string `json:"callback"`
	}{d.simURL, d.callback}); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

func (d *demo) stop() error { return shutdown(d.wechat, d.servers...) }

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

// show lets a follower ask for each kind of message, sends it, and stays.
func (d *demo) show(ctx context.Context) error {
	if _, _, err := d.control.act(ctx, demoFollower, "subscribe", nil); err != nil {
		return err
	}
	sent := 0
	for _, k := range kinds() {
		if _, _, err := d.control.act(ctx, demoFollower, "click", map[string]string{"key": k.name}); err != nil {
			return err
		}
		s, err := k.make(ctx, d, demoFollower)
		if err == nil {
			_, err = d.client.Send(ctx, s.message)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		sent++
	}
	d.say("sent %d messages, one of each kind and form", "已发送 %d 条消息，每种一条", sent)
	page := d.simURL + "/?openid=" + demoFollower
	account := kefutest.DefaultAccount
	fmt.Fprintf(d.stderr, text{
		`
  phone page   %s
  WeChat       %s   (any SDK of yours: only the host name changes)
  account      KEFU_ACCOUNT=%s:%s

Try, from another terminal:
  kefu send text "你好" --to %s --direct --api-base %s
  kefu trigger text %[5]s --field content=你好 --sim %[6]s

Ctrl-C ends it.
`, `
  手机页面     %s
  模拟的微信   %s   （你现有的 SDK 只需改主机名）
  公众号       KEFU_ACCOUNT=%s:%s

在另一个终端试试：
  kefu send text "你好" --to %s --direct --api-base %s
  kefu trigger text %[5]s --field content=你好 --sim %[6]s

Ctrl-C 结束。
`}.in(d.lang()), page, d.simURL, account.AppID, account.Secret.Reveal(), demoFollower, d.simURL)
	d.loud.Set(slog.LevelInfo)
	<-ctx.Done()
	return nil
}

// upload stores one of the demo's own files.
func (d *demo) upload(ctx context.Context, kind kefu.MediaKind, name string, data []byte) (kefu.TemporaryID, error) {
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
