package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/kefutest"
)

func (p *program) simCommand() *cobra.Command {
	var addr, callbackURL, mode, profile, key string
	var apps []string
	var in ways
	cmd := &cobra.Command{
		Use: "sim", Short: "Run a simulated WeChat with a phone page · 启动模拟的微信",
		Long: "Run a simulated WeChat: its API at the root, a phone page at /, its control plane under /_sim/.\n" +
			"启动模拟的微信：根路径是微信接口，/ 是手机页面，/_sim/ 是控制接口。\n\n" +
			"Without --app it knows the demo account " + kefutest.DefaultAccount.AppID + ".",
		Example: "  kefu sim\n  kefu sim --app wx0123456789abcdef:SECRET:TOKEN:AESKEY --callback http://127.0.0.1:8080/callback", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			key = cmp.Or(key, p.env["KEFU_SIM_KEY"])
			if err := p.fromEnvironment(cmd.Flags(), "ca"); err != nil {
				return err
			}
			if err := in.check(); err != nil {
				return err
			}
			for _, a := range append(in.addrs(), addr) { // each has the control plane
				if !loopbackAddr(a) && key == "" {
					return usagef("%s can be reached from other machines, and the control plane has no key", "%s 可从其他机器访问，而控制接口没有密钥", a).
						then("add --sim-key KEY, or listen on 127.0.0.1", "加上 --sim-key KEY，或只监听 127.0.0.1")
				}
			}
			switch {
			case mode != "" && !slices.Contains(modes, mode):
				return usagef("there is no mode %q", "没有模式 %q", mode).then("there are "+strings.Join(modes, ", "), "可选："+strings.Join(modes, "、"))
			case callbackURL != "" && !isAddress(callbackURL):
				return usagef("--callback %s is not a URL", "--callback %s 不是 URL", hostOf(callbackURL)).
					then("for example http://127.0.0.1:8080/callback", "例如 http://127.0.0.1:8080/callback")
			}
			if _, err := rulesFor(profile); err != nil {
				return err
			}
			config := kefutest.Config{ControlKey: kefu.Secret(key)}
			for _, app := range apps {
				a, err := parseAccount("--app", app)
				if err != nil {
					return err
				}
				config.Accounts = append(config.Accounts, a)
			}
			if len(apps) == 0 {
				config.Accounts = []kefutest.Account{kefutest.DefaultAccount}
			}
			for i := range config.Accounts {
				a := &config.Accounts[i]
				a.Callback = strings.ReplaceAll(callbackURL, "{appid}", a.AppID)
				a.Mode, a.Profile = callback.Mode(mode), profile
			}
			return p.sim(cmd.Context(), addr, in, config)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&addr, "addr", defaultSim, "where to listen; port 0 picks one")
	fs.StringArrayVar(&apps, "app", nil, "an account, APPID:SECRET[:TOKEN[:AESKEY]]; may be repeated")
	fs.StringVar(&callbackURL, "callback", "", "where callbacks go; {appid} stands for the account's")
	fs.StringVar(&mode, "mode", "", "of callbacks: plain, compat or secure (default: secure with an AESKEY)")
	fs.StringVar(&profile, "profile", "", "rules in force: "+strings.Join(kefu.Profiles(), ", "))
	in.flags(fs)
	fs.StringVar(&key, "sim-key", "", "key of the control plane (better: KEFU_SIM_KEY)")
	return cmd
}

// modes of callbacks.
var modes = []string{string(callback.Plain), string(callback.Compat), string(callback.Secure)}

func (p *program) sim(ctx context.Context, addr string, in ways, config kefutest.Config) error {
	if err := config.Check(); err != nil {
		return &failure{code: exitUsage, what: text{"such an account can't be simulated", "无法模拟这样的账号"},
			next: text{"correct it; see: kefu sim --help", "改正后再试；见 kefu sim --help"}, cause: errors.New(strings.TrimPrefix(err.Error(), "kefutest: "))}
	}
	l, err := listen("--addr", addr)
	if err != nil {
		return err
	}
	config.URL = urlOf(l)
	wechat := config.New()
	public := kefutest.DefaultAccount
	demo := config.Accounts[0].AppID == public.AppID && config.Accounts[0].Secret == public.Secret
	if demo { // what the other commands' examples name
		if err := wechat.SetState(demoState); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	servers := []*http.Server{p.serve(l, p.meddled("sim", wechat.Handler()))}
	proxy, tls, more, err := in.open(p, wechat.Handler())
	servers = append(servers, more...)
	if err == nil {
		err = p.json(struct {
			Sim   string `json:"sim"`
			Proxy string `json:"proxy,omitempty"`
			TLS   string `json:"tls,omitempty"`
		}{config.URL, proxy, tls})
	}
	if err != nil {
		return errors.Join(err, shutdown(wechat, servers...))
	}
	p.say("simulated WeChat at %s (phone page: open it in a browser); Ctrl-C ends it",
		"模拟的微信在 %s（用浏览器打开即手机页面）；Ctrl-C 结束", config.URL)
	if demo {
		p.say("account KEFU_ACCOUNT=%s:%s:%s:%s (secret, token and AES key are the demo's, which everybody knows)",
			"公众号 KEFU_ACCOUNT=%s:%s:%s:%s（演示用的密钥、token 与 AESKey，人人皆知）",
			public.AppID, public.Secret.Reveal(), public.Token.Reveal(), public.AESKey.Reveal())
		p.say("it has the card pDemoCard, the mini program wxdemominiprogram1 and the kf account xiaowei@kefudemo",
			"它有卡券 pDemoCard、小程序 wxdemominiprogram1、客服账号 xiaowei@kefudemo")
	}
	<-ctx.Done()
	return shutdown(wechat, servers...)
}

// meddled is h, or what a test has put before it.
func (p *program) meddled(server string, h http.Handler) http.Handler {
	if p.meddle == nil {
		return h
	}
	return p.meddle(server, h)
}

// loopbackAddr reports whether only this machine can reach a listener at addr.
func loopbackAddr(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && isLoopback(host)
}

// listen listens at the address that a flag has given.
func listen(flag, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		f := failf("can't listen on %s", "无法监听 %s", addr).
			then("is it running already? choose another with "+flag+"; a port of 0 picks a free one", "是否已在运行？可用 "+flag+" 换一个；端口写 0 会自动选一个")
		f.cause = err
		return nil, f
	}
	return l, nil
}

// urlOf is where a listener is reached from this machine.
func urlOf(l net.Listener) string {
	host, port, _ := net.SplitHostPort(l.Addr().String()) // a TCP address
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// serve answers with what is not the gateway: a simulated WeChat, which has times of its
// own, a bot, which thinks for half a minute.
func (p *program) serve(l net.Listener, h http.Handler) *http.Server {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: 90 * time.Second,
		ErrorLog: log.New(p.stderr, "kefu: ", 0)}
	go s.Serve(l) // ends with Close or Shutdown; nothing else ends it
	return s
}

// grace is how long requests may take to end when the program stops. An open phone
// page holds a stream that never ends.
const grace = 500 * time.Millisecond

func shutdown(wechat *kefutest.WeChat, servers ...*http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	for _, s := range servers {
		_ = s.Shutdown(ctx) // in vain: cut below
	}
	wechat.Close()
	var errs []error
	for _, s := range servers {
		errs = append(errs, s.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}
