package kefutest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
)

// A WeChat is a simulated WeChat, seen from one of its official accounts. Its verbs
// are what that account's followers do. It is safe for concurrent use.
type WeChat struct {
	// URL is where WeChat's API is: a loopback address, or https://api.weixin.qq.com
	// for a WeChat in process.
	URL string

	*platform
	account *account
}

// A Config says what to simulate. The zero Config is one account, [DefaultAccount],
// under the rules of today.
type Config struct {
	// Accounts, the first of which is the one that a new WeChat is seen from. What
	// the first leaves out is as in [DefaultAccount]; the others need an AppID and a
	// Secret. Default: that account alone.
	Accounts []Account
	// URL is where the API is reached, without a path, for the links in answers to
	// followers' actions. Default: the server's own; in process the real one.
	URL string
	// ControlKey, if set, must come with each request to the control plane, as
	// "Authorization: Bearer KEY" or ?key=KEY; then it may come from anywhere.
	// Without one it may only come to a loopback address.
	ControlKey kefu.Secret
	// SharedClock is for a program under test that reads its time from [WeChat.Now]:
	// the timestamps of callbacks and the Date of answers then follow the simulator's
	// clock, too. By default they are real, as a program with its own clock expects.
	SharedClock bool
}

// New makes a WeChat in process: no socket, no goroutine. It works inside a
// testing/synctest bubble. Use it through [WeChat.Client] or [WeChat.Transport].
// Without accounts it is the zero [Config]'s.
//
// It panics if an account is not possible; see [Config.Check].
func New(accounts ...Account) *WeChat { return Config{Accounts: accounts}.New() }

// NewServer makes a WeChat that listens on a loopback port. The caller should call
// [WeChat.Close] when finished. Without accounts it is the zero [Config]'s. It
// panics if it can't listen, or as [New] does.
func NewServer(accounts ...Account) *WeChat { return Config{Accounts: accounts}.NewServer() }

// New makes the WeChat that c describes, in process. See [New].
func (c Config) New() *WeChat {
	if c.URL == "" {
		c.URL = kefu.DefaultBaseURL
	}
	p, err := newPlatform(c)
	if err != nil {
		panic(err)
	}
	return &WeChat{URL: p.url, platform: p, account: p.accounts[0]}
}

// NewServer makes the WeChat that c describes, listening on a loopback port. See
// [NewServer].
func (c Config) NewServer() *WeChat {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Errorf("kefutest: no loopback port to listen on: %w", err))
	}
	if c.URL == "" {
		c.URL = "http://" + l.Addr().String()
	}
	p, err := newPlatform(c)
	if err != nil {
		l.Close()
		panic(err)
	}
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 90 * time.Second}
	p.running.Go(func() { p.server.Serve(l) })
	return &WeChat{URL: p.url, platform: p, account: p.accounts[0]}
}

// Check reports what makes c impossible: an unknown profile, an unfit AES key, two
// accounts with one appid.
func (c Config) Check() error {
	_, err := newPlatform(c)
	return err
}

// Close cuts every connection, gives up every wait and returns when nothing of the
// WeChat runs any more. It may be called more than once.
func (w *WeChat) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	if w.server != nil {
		w.server.Close()
	}
	w.running.Wait()
	w.posts.CloseIdleConnections()
}

// Account returns the same WeChat seen from the account with that appid. It panics
// if there is none.
func (w *WeChat) Account(appid string) *WeChat {
	w.mu.Lock()
	a := w.find(appid)
	w.mu.Unlock()
	if a == nil {
		panic(fmt.Sprintf("kefutest: no account %q; give it in Config.Accounts", appid))
	}
	return &WeChat{URL: w.URL, platform: w.platform, account: a}
}

// Client returns a client of the SDK for the account, wired to this WeChat, with a
// cached stable token of its own.
func (w *WeChat) Client() *kefu.Client {
	client := &http.Client{}
	if w.server == nil {
		client.Transport = w.Transport()
	}
	w.mu.Lock()
	me := w.account.Account
	w.mu.Unlock()
	return &kefu.Client{
		Tokens:  kefu.CachedToken(kefu.StableToken{AppID: me.AppID, Secret: me.Secret, BaseURL: w.URL, HTTP: client}),
		BaseURL: w.URL,
		HTTP:    client,
	}
}

// Handler returns the whole simulator, API, control plane and phone page, to serve
// it elsewhere than [NewServer] does.
func (w *WeChat) Handler() http.Handler { return http.HandlerFunc(w.serve) }

// Transport returns a way to this WeChat without a socket. It answers requests to
// any host. A cut connection is an error that wraps [io.ErrUnexpectedEOF].
func (w *WeChat) Transport() http.RoundTripper { return inProcess{w.platform} }

// A platform is what all accounts of a WeChat share.
type platform struct {
	url         string
	routes      map[string]*route
	controlKey  kefu.Secret
	sharedClock bool
	server      *http.Server // nil in process
	posts       *http.Client // of callbacks to URLs

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // whatever Close waits for

	mu       sync.Mutex // guards all below, and all of the accounts
	closed   bool
	accounts []*account
	offset   time.Duration // of the simulator's clock
	jumped   chan struct{} // closed and replaced when it jumps
	changed  chan struct{} // closed and replaced at each change of a chat
	tokens   tokenBook
	faults   []*armedFault
	requests []*Request // a ring: the newest is before next
	next     int
	lastID   int64 // of messages, chat lines and faults
	msgIDs   int64 // what is added to make a MsgId of it
	watchers map[*watcher]bool
}

func newPlatform(c Config) (*platform, error) {
	p := &platform{
		url:         strings.TrimRight(c.URL, "/"),
		routes:      map[string]*route{},
		controlKey:  c.ControlKey,
		sharedClock: c.SharedClock,
		posts:       newPoster(),
		jumped:      make(chan struct{}),
		changed:     make(chan struct{}),
		tokens:      tokenBook{},
		// A MsgId goes on from where an earlier simulator stopped: whoever remembers
		// them would else take new messages for old ones.
		msgIDs:   time.Now().UnixMicro() * 16,
		watchers: map[*watcher]bool{},
	}
	for _, table := range routeTables() {
		for i := range table {
			p.routes[table[i].path] = &table[i]
		}
	}
	accounts := c.Accounts
	if len(accounts) == 0 {
		accounts = []Account{{}}
	}
	for i, given := range accounts {
		if i == 0 {
			given = given.orDefault()
		}
		a, err := newAccount(given)
		if err != nil {
			return nil, fmt.Errorf("kefutest: %w", err)
		}
		if p.find(a.AppID) != nil {
			return nil, fmt.Errorf("kefutest: two accounts have the appid %s; each needs its own", a.AppID)
		}
		p.accounts = append(p.accounts, a)
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p, nil
}

// find returns the account with that appid, or nil. The caller holds mu.
func (p *platform) find(appid string) *account {
	for _, a := range p.accounts {
		if a.AppID == appid {
			return a
		}
	}
	return nil
}

// enter notes one more thing for Close to wait for, unless it was called already.
func (p *platform) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.running.Add(1)
	}
	return !p.closed
}

// nextID draws a number that was never drawn before. The caller holds mu.
func (p *platform) nextID() int64 {
	p.lastID++
	return p.lastID
}

// patience is how long a caller may take to bring a body, and to take an answer.
const patience = 5 * time.Minute

// answerSoon gives the caller time to take what is written next. In process nobody has to.
func answerSoon(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
}

// serve is all of the simulator.
func (p *platform) serve(w http.ResponseWriter, r *http.Request) {
	if !p.enter() {
		panic(http.ErrAbortHandler)
	}
	defer p.running.Done()
	if r.ContentLength != 0 { // also of a body that nobody reads: net/http waits for it
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
	}
	answerSoon(w)
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/cgi-bin/"), strings.HasPrefix(path, "/customservice/"), strings.HasPrefix(path, "/card/"):
		p.serveAPI(w, r)
	case path == "/_sim" || strings.HasPrefix(path, "/_sim/"):
		p.serveControl(w, r)
	default:
		p.serveFiles(w, r)
	}
}

// inProcess is a RoundTripper that calls the simulator.
type inProcess struct{ *platform }

// RoundTrip implements [http.RoundTripper].
func (t inProcess) RoundTrip(r *http.Request) (res *http.Response, err error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rec := newRecorder()
	defer func() {
		if cut := recover(); cut == http.ErrAbortHandler {
			if res, err = nil, r.Context().Err(); err == nil {
				err = errCut
			}
		} else if cut != nil {
			panic(cut)
		}
	}()
	in := r.Clone(r.Context())
	if in.Host == "" {
		in.Host = r.URL.Host
	}
	if in.URL.Scheme == "https" {
		in.TLS = &tls.ConnectionState{}
	}
	t.serve(rec, in)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return rec.response(r), nil
}

var errCut = fmt.Errorf("kefutest: the connection was cut: %w", io.ErrUnexpectedEOF)
