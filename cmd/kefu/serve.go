package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/assets"
	"github.com/kefu-go/kefu/internal/console"
	"github.com/kefu-go/kefu/internal/desk"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/door"
	"github.com/kefu-go/kefu/internal/egress"
	"github.com/kefu-go/kefu/internal/server"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/internal/tokens"
	"github.com/kefu-go/kefu/internal/webhook"
)

func (p *program) serveCommand() *cobra.Command {
	var addr, publicAddr, db, apiBase, keep, keepSize string
	var allowPrivate bool
	var assetRoom int64
	var proxies []string
	var in ways
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the gateway · 启动网关",
		Long: "Run the gateway: it keeps every message that it accepts, and delivers it in order inside WeChat's windows.\n" +
			"启动网关：收下的每条消息都先落盘，再按顺序在微信允许的窗口内送出。\n\n" +
			"Messages are kept in SQLite, one file for one process, or in PostgreSQL, where a second kefu serve waits until the first is gone.\n" +
			"消息存在 SQLite（一个文件、一个进程）或 PostgreSQL 中；后者的第二个 kefu serve 会等待，直到前一个退出。\n\n" +
			"Environment: KEFU_ACCOUNT=APPID:SECRET[:TOKEN[:AESKEY]], KEFU_API_KEY, KEFU_SECRET_KEY or KEFU_SECRET_KEY_FILE, and one variable\n" +
			"for each flag: KEFU_PUBLIC_ADDR for --public-addr. What a flag says goes before it.\n" +
			"环境变量：KEFU_ACCOUNT=APPID:SECRET[:TOKEN[:AESKEY]]、KEFU_API_KEY、KEFU_SECRET_KEY 或 KEFU_SECRET_KEY_FILE；每个选项也各有一个变量，\n" +
			"例如 --public-addr 对应 KEFU_PUBLIC_ADDR，命令行上的选项优先。",
		Example: "  kefu serve\n  kefu serve --db sqlite:kefu.db --public-addr :8080\n  kefu serve --db postgres://kefu@db/kefu", Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.fromEnvironment(cmd.Flags()); err != nil {
				return err
			}
			if err := checkDSN("--db", db); err != nil {
				return err
			}
			if err := in.check(); err != nil {
				return err
			}
			trusted, err := networks(proxies)
			if err != nil {
				return err
			}
			kept, err := retention(keep, keepSize, db)
			if err != nil {
				return err
			}
			if p.env["GOGC"] == "" && p.env["GOMEMLIMIT"] == "" {
				go thrifty(cmd.Context())
			}
			g, err := p.startGateway(cmd.Context(), gatewayConfig{
				addr: addr, publicAddr: publicAddr, db: db, apiBase: apiBase, allowPrivate: allowPrivate, keep: kept,
				assetRoom: assetRoom << 20, ways: in, proxies: trusted,
			})
			if err != nil {
				return err
			}
			if err := p.json(struct {
				Gateway string `json:"gateway"`
				Console string `json:"console"`
				Public  string `json:"public,omitempty"`
				Proxy   string `json:"proxy,omitempty"`
				TLS     string `json:"tls,omitempty"`
				KeyFile string `json:"key_file,omitempty"`
			}{g.url, g.url + "/console", g.publicURL, g.proxyURL, g.tlsURL, g.keyFile}); err != nil {
				return errors.Join(err, g.stop())
			}
			if len(g.accounts) == 0 {
				p.say("there is no account yet; add one: KEFU_ACCOUNT=APPID:SECRET[:TOKEN[:AESKEY]] kefu serve, or kefu account add",
					"还没有公众号；请添加：KEFU_ACCOUNT=APPID:SECRET[:TOKEN[:AESKEY]] kefu serve，或 kefu account add")
			}
			for _, a := range g.accounts {
				p.say("account %s: callbacks go to %s/callback/%s (%s mode)", "公众号 %s：回调地址 %s/callback/%s（%s 模式）", a.AppID, g.callbackBase(), a.AppID, a.Mode)
				if a.Mode == callback.Plain {
					p.say("plain mode's signature does not cover the body; secure mode is better", "明文模式的签名不覆盖消息体，建议改用安全模式")
				}
			}
			if g.keyFile != "" {
				p.say("gateway at %s; its key is in %s; Ctrl-C ends it", "网关在 %s；密钥在 %s；Ctrl-C 结束", g.url, g.keyFile)
			} else {
				p.say("gateway at %s; it knows keys that were made before, and none is in %s: copy the file with one there, or export KEFU_API_KEY=kf_…; Ctrl-C ends it",
					"网关在 %s；它已有先前创建的密钥，但 %s 不存在：请把密钥文件复制过来，或 export KEFU_API_KEY=kf_…；Ctrl-C 结束", g.url, keyFileOf(db))
			}
			select {
			case <-cmd.Context().Done():
				return g.stop()
			case <-g.dispatcher.Fenced():
				return errors.Join(failf("another kefu serve has opened %s; this one ends", "另一个 kefu serve 打开了 %s；本进程结束", store.Describe(db)).
					then("run one process on a database", "一个数据库只运行一个进程"), g.stop())
			}
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&addr, "addr", defaultAddr, "where the API listens; port 0 picks one")
	fs.StringVar(&publicAddr, "public-addr", "", "a second listener that serves /callback/ alone")
	fs.StringSliceVar(&proxies, "trusted-proxy", nil, "network of reverse proxies before the gateway, such as 10.0.0.0/8: their X-Forwarded-For tells who signs in; may be repeated (default: none)")
	fs.StringVar(&db, "db", defaultDB, "where messages are kept: sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME (better: KEFU_DB, which others on the machine can't see)")
	fs.StringVar(&keep, "keep", defaultKeep, "how long finished messages and the feed are kept: 180d, 720h, at least 7d; 0: for ever")
	fs.StringVar(&keepSize, "keep-size", "0", "size above which the oldest of them go, if older than 7 days: 20GB, 500MiB; 0: no limit; SQLite only")
	fs.StringVar(&apiBase, "api-base", kefu.DefaultBaseURL, "where WeChat's API is")
	in.flags(fs)
	fs.BoolVar(&allowPrivate, "allow-private", false, allowPrivateUsage)
	fs.Int64Var(&assetRoom, "asset-room", assets.DefaultRoom>>20, "MiB of files that an account may have")
	return cmd
}

// networks reads what --trusted-proxy names: networks, or single addresses.
func networks(texts []string) (all []netip.Prefix, err error) {
	for _, text := range texts {
		of, err := netip.ParsePrefix(text)
		if a, bad := netip.ParseAddr(text); bad == nil {
			of, err = netip.PrefixFrom(a, a.BitLen()), nil
		}
		if err == nil && of.Addr().Is4In6() { // callers' addresses are compared as IPv4
			of = netip.PrefixFrom(of.Addr().Unmap(), max(of.Bits()-96, 0))
		}
		switch {
		case err != nil:
			return nil, usagef("--trusted-proxy %q is no network", "--trusted-proxy %q 不是网段", text).
				then("for example --trusted-proxy 10.0.0.0/8", "例如 --trusted-proxy 10.0.0.0/8")
		case of.Bits() == 0:
			return nil, usagef("--trusted-proxy %s is everybody, who could then claim any address", "--trusted-proxy %s 涵盖所有人，谁都能冒充任意地址", text).
				then("name the networks of your proxies", "请写反向代理所在的网段")
		}
		all = append(all, of.Masked())
	}
	return all, nil
}

// allowPrivateUsage says what --allow-private does.
const allowPrivateUsage = "webhooks, callback_forward and the URLs of media may be on this machine and in private networks, for development"

// defaultDB is where messages are kept unless told otherwise.
const defaultDB = "sqlite:kefu.db"

// checkDSN refuses what names no database, without repeating it: it may hold a
// password.
func checkDSN(flag, dsn string) error {
	if file, ok := strings.CutPrefix(dsn, "sqlite:"); ok && file != "" || isPostgres(dsn) {
		return nil
	}
	return usagef("%s names neither an SQLite file nor a PostgreSQL database", "%s 既不是 SQLite 文件，也不是 PostgreSQL 数据库", flag).
		then("use sqlite:FILE or postgres://USER:PASSWORD@HOST/NAME", "改用 sqlite:文件名 或 postgres://用户:密码@主机/库名")
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// keyFileOf is where the first key of a gateway on this database is left: beside
// the file, or in the working directory.
func keyFileOf(dsn string) string {
	if isPostgres(dsn) {
		return "kefu.key"
	}
	return strings.TrimPrefix(dsn, "sqlite:") + ".key"
}

// A gatewayConfig says what a gateway is made of.
type gatewayConfig struct {
	addr, publicAddr string
	ways             ways
	db               string // a file or a dsn
	apiBase          string
	allowPrivate     bool  // URLs may lead to this machine and private networks
	assetRoom        int64 // bytes of assets per account; default [assets.DefaultRoom]
	proxies          []netip.Prefix
	keep             store.Retention
	now              func() time.Time // nil: the real time; else one that may jump
	log              *slog.Logger     // default: on stderr
	listener         net.Listener     // default: on addr
	linkLife         time.Duration    // of links that sign an agent in once; default ten minutes
	// front stands before the gateway; default: nothing.
	front func(http.Handler) http.Handler
}

// A runningGateway is a gateway in this process.
type runningGateway struct {
	url, publicURL   string
	proxyURL, tlsURL string // "": there is none
	keyFile          string // "": it is not there
	accounts         []gateway.Account
	store            *store.Store
	dispatcher       *dispatch.Dispatcher
	webhooks         *webhook.Hub
	desk             *desk.Desk
	server           *server.Server
	door             *door.Door
	sandbox          sandbox
	endAssets        func() // ends what goes on with them by itself
	takePointer      func() // to its key
	servers          []*http.Server
}

// startGateway joins the parts: the store under all, the dispatcher on it, the
// server before both.
func (p *program) startGateway(ctx context.Context, c gatewayConfig) (_ *runningGateway, err error) {
	log := c.log
	if log == nil {
		log = slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	now := time.Now
	if c.now != nil {
		now = c.now
	}
	secret, err := p.sealingKey()
	if err != nil {
		return nil, err
	}
	l := c.listener
	if l == nil {
		if l, err = listen("--addr", c.addr); err != nil {
			return nil, err
		}
	}
	g := &runningGateway{url: urlOf(l)}
	defer func() {
		if err != nil {
			_ = l.Close() // Serve may have it already
			err = errors.Join(err, g.stop())
		}
	}()
	waited := false
	g.store, err = store.Open(ctx, c.db, store.Options{SecretKey: secret, Waits: func() {
		// Nobody should be kept waiting at a door that does not open for now.
		waited = true
		_ = l.Close()
		p.say("another kefu serve works on %s; this one waits until that is gone", "另一个 kefu serve 正在使用 %s；本进程等待它退出", store.Describe(c.db))
	}})
	if err != nil {
		f := failf("the database %s can't be opened", "无法打开数据库 %s", store.Describe(c.db))
		f.cause = err
		return nil, f
	}
	if waited {
		again, err := listen("--addr", l.Addr().String())
		if err != nil {
			return nil, err
		}
		l = again
	}
	center := &tokens.Center{Store: g.store, BaseURL: c.apiBase, Now: now, Log: log}
	library := &assets.Library{
		Store: g.store, Client: func(appid string) *kefu.Client { return g.dispatcher.Client(appid) },
		Egress: egress.Options{AllowPrivate: c.allowPrivate}, Room: c.assetRoom, Now: c.now, Log: log,
	}
	g.dispatcher, err = dispatch.Start(ctx, dispatch.Config{
		Store: g.store, BaseURL: c.apiBase, Keep: c.keep, Now: c.now, Log: log, Media: library,
		Tokens: center.Source,
	})
	if err != nil {
		return nil, err
	}
	if err = p.firstAccount(ctx, g, log); err != nil {
		return nil, err
	}
	if g.accounts, err = g.store.Accounts(ctx); err != nil {
		return nil, err
	}
	if g.keyFile, err = firstKey(ctx, g.store, keyFileOf(c.db), now()); err != nil {
		return nil, err
	}
	key := p.env["KEFU_API_KEY"]
	if key != "" && (!strings.HasPrefix(key, "kf_") || len(key) < len("kf_")+32) {
		return nil, usagef("KEFU_API_KEY must be kf_ and at least 32 characters", "KEFU_API_KEY 须以 kf_ 开头，其后至少 32 个字符")
	}
	g.desk = &desk.Desk{Store: g.store, Now: now, LinkLife: c.linkLife}
	g.endAssets = inBackground(library.Run)
	g.server = &server.Server{
		Engine: g.dispatcher, Store: reading{g.store}, Desk: g.desk, Console: console.Handler(), Tokens: center, Assets: library, Proxies: c.proxies, Key: kefu.Secret(key), Explain: explainFault, Now: now, Log: log,
	}
	if err = g.startWebhooks(ctx, c, log); err != nil {
		return nil, err
	}
	if err = g.openDoor(c, center, now, log); err != nil {
		return nil, err
	}
	handler := g.server.Handler()
	if c.front != nil {
		handler = c.front(handler)
	}
	g.servers = append(g.servers, p.serveGateway(l, p.meddled("gateway", handler)))
	var more []*http.Server
	if g.proxyURL, g.tlsURL, more, err = c.ways.open(p, g.door); err != nil {
		return nil, err
	}
	g.servers = append(g.servers, more...)
	if c.publicAddr != "" {
		public, err := listen("--public-addr", c.publicAddr)
		if err != nil {
			return nil, err
		}
		g.publicURL = urlOf(public)
		g.servers = append(g.servers, p.serveGateway(public, g.server.Callbacks()))
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())  // a TCP address
	g.takePointer = leavePointer(port, keyFileOf(c.db)) // also where it is still to be brought
	return g, nil
}

// startWebhooks begins to call the business. It goes to public addresses alone, and
// follows no redirect.
func (g *runningGateway) startWebhooks(ctx context.Context, c gatewayConfig, log *slog.Logger) (err error) {
	way := egress.Options{AllowPrivate: c.allowPrivate, Timeout: time.Minute, MaxBody: 1 << 40, Idle: 64} // each call has its own limits
	g.webhooks, err = webhook.Start(ctx, webhook.Config{
		Store: g.store, Engine: g.dispatcher, Compose: g.server.Compose, HTTP: egress.Client(way),
		Check: func(url string) error { return egress.Check(url, way) }, Now: c.now, Log: log,
	})
	g.server.Webhooks = g.webhooks
	g.server.Forward = egress.Client(egress.Options{AllowPrivate: c.allowPrivate, Timeout: 5 * time.Second, MaxBody: 1 << 20, Idle: 64})
	return err
}

// openDoor puts WeChat's own paths beside the API.
func (g *runningGateway) openDoor(c gatewayConfig, center *tokens.Center, now func() time.Time, log *slog.Logger) error {
	secret, err := g.store.Derive("door")
	if err != nil {
		return err
	}
	g.door, err = door.New(door.Config{
		Engine: g.dispatcher, Store: atDoor{g.store}, Tokens: center.Of, Compose: g.server.Compose,
		Secret: secret, BaseURL: c.apiBase, Now: now, Log: log,
	})
	if err == nil {
		g.server.Door, g.server.Raw = g.door, g.raw
	}
	return err
}

// raw is the way of a call that a person makes by hand: a message or typing only to the
// simulator, since the gateway has its own calls for them.
func (g *runningGateway) raw(appid, path string, all, simulated bool) http.RoundTripper {
	switch {
	case simulated && (door.Passable(path, true) || strings.HasPrefix(path, "/cgi-bin/message/custom/")):
		return g.sandbox.way(appid)
	case !simulated && door.Passable(path, all):
		return g.door.Way(appid)
	}
	return nil
}

// atDoor is the store as the door needs it.
type atDoor struct{ *store.Store }

// Missing implements door.Store.
func (atDoor) Missing(err error) bool {
	return errors.Is(err, store.ErrNotFound)
}

func (p *program) serveGateway(l net.Listener, h http.Handler) *http.Server {
	s := server.HTTP(h)
	s.ErrorLog = log.New(p.stderr, "kefu: ", 0)
	go s.Serve(l) // ends with Close or Shutdown; nothing else ends it
	return s
}

func (g *runningGateway) callbackBase() string {
	if g.publicURL != "" {
		return g.publicURL
	}
	return g.url
}

// stop ends what was started, in the order in which nothing is lost: no more
// requests, then no more posts, then the store.
func (g *runningGateway) stop() error {
	var errs []error
	if g.takePointer != nil {
		g.takePointer()
	}
	if g.server != nil {
		g.server.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, s := range g.servers {
		if s.Shutdown(ctx) != nil { // a request that does not end
			errs = append(errs, s.Close())
		}
	}
	if g.store != nil { // whoever still waits for a database that went away is let go
		defer time.AfterFunc(10*time.Second, func() { g.store.Close() }).Stop()
	}
	if g.webhooks != nil {
		g.webhooks.Stop()
	}
	g.sandbox.Close()
	if g.door != nil {
		g.door.Close()
	}
	if g.endAssets != nil {
		g.endAssets()
	}
	if g.dispatcher != nil {
		g.dispatcher.Stop()
	}
	if g.store != nil {
		errs = append(errs, g.store.Close())
	}
	return errors.Join(errs...)
}

// inBackground runs what ends with its context, and returns what ends it and waits.
func inBackground(run func(context.Context)) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// sealingKey is what seals secrets in the store; none: the store's own file.
func (p *program) sealingKey() (kefu.Secret, error) {
	if key := p.env["KEFU_SECRET_KEY"]; key != "" {
		return kefu.Secret(key), nil
	}
	file := p.env["KEFU_SECRET_KEY_FILE"]
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		f := usagef("KEFU_SECRET_KEY_FILE can't be read", "无法读取 KEFU_SECRET_KEY_FILE")
		f.cause = err
		return "", f
	}
	return kefu.Secret(strings.TrimSpace(string(b))), nil
}

// firstAccount takes up KEFU_ACCOUNT. Where it differs from what is stored, it wins.
func (p *program) firstAccount(ctx context.Context, g *runningGateway, log *slog.Logger) error {
	given := p.env["KEFU_ACCOUNT"]
	if given == "" {
		return nil
	}
	a, err := parseAccount("KEFU_ACCOUNT", given)
	if err != nil {
		return err
	}
	if a.AESKey != "" {
		if _, err := callback.NewCrypt(a.AppID, a.Token, a.AESKey); err != nil {
			return usagef("KEFU_ACCOUNT can't get callbacks: %v", "KEFU_ACCOUNT 无法接收回调：%v", err).
				then("export KEFU_ACCOUNT=APPID:SECRET:TOKEN:AESKEY with the token and the 43 characters that the account's console shows", "export KEFU_ACCOUNT=APPID:SECRET:TOKEN:AESKEY，token 与 43 位 EncodingAESKey 见公众平台后台")
		}
	}
	stored, err := g.store.Account(ctx, a.AppID)
	switch {
	case errors.Is(err, store.ErrNotFound):
		stored = gateway.Account{AppID: a.AppID}
	case err != nil:
		return err
	case stored.Secret == a.Secret && (a.Token == "" || stored.Token == a.Token) && (a.AESKey == "" || stored.AESKey == a.AESKey):
		return nil
	default:
		log.Warn("KEFU_ACCOUNT differs from the stored account and replaces it", "account", a.AppID)
	}
	if a.AESKey != "" && a.AESKey != stored.AESKey {
		stored.Mode = "" // by the key that there is now; without one the stored mode stays: nobody talks it down
	}
	stored.Secret = a.Secret
	if a.Token != "" {
		stored.Token = a.Token
	}
	if a.AESKey != "" {
		stored.AESKey = a.AESKey
	}
	_, err = g.dispatcher.PutAccount(ctx, stored, nil)
	return err
}

// firstKey makes an admin key at the first start and writes it where the command
// line on this machine finds it. It returns the file; "" if there are keys and no file:
// the database was moved, or has its keys from another machine.
func firstKey(ctx context.Context, s *store.Store, file string, now time.Time) (string, error) {
	if keys, err := s.Keys(ctx); err != nil || len(keys) > 0 {
		if _, missing := os.Stat(file); missing != nil {
			file = ""
		}
		return file, err
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	key := "kf_" + hex.EncodeToString(b[:])
	if err := writePrivately(file, key); err != nil {
		return "", fmt.Errorf("write the first key: %w", err)
	}
	_, err := s.PutKey(ctx, now, gateway.Key{Name: "first", Role: gateway.Admin, Key: key})
	return file, err
}

// explainFault is an error of the store or the token centre in the words of the API.
func explainFault(err error) *gateway.Problem {
	var wait *tokens.WaitError
	switch {
	case errors.Is(err, tokens.ErrUnknown):
		return &gateway.Problem{Code: gateway.UnknownAccount}
	case errors.Is(err, tokens.ErrSupplied), errors.As(err, &wait):
		return &gateway.Problem{Code: gateway.NoToken}
	case errors.Is(err, store.ErrRevoked): // before the other, which it is, too
		return &gateway.Problem{Code: gateway.Unauthorized}
	case errors.Is(err, store.ErrNotFound):
		return &gateway.Problem{Code: gateway.NotFound}
	case errors.Is(err, store.ErrCursor):
		return &gateway.Problem{Code: gateway.InvalidRequest}
	case errors.Is(err, store.ErrCursorGone):
		return &gateway.Problem{Code: gateway.CursorGone}
	case errors.Is(err, store.ErrNoRoom):
		return &gateway.Problem{Code: gateway.StorageFull}
	case errors.Is(err, store.ErrIdempotencyMismatch):
		return &gateway.Problem{Code: gateway.IdempotencyMismatch}
	}
	return nil
}
