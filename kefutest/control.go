package kefutest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
)

// The control plane, /_sim/…: what a script does instead of the Go verbs, and what
// the phone page lives on. It is never mixed with the imitated API.

// A control is one call of the control plane on its way.
type control struct {
	*platform
	account *account
	named   bool // the request names the account
	r       *http.Request
}

// controls are the calls: each answers with a value for JSON.
var controls = map[string]func(*control) (any, error){
	"POST /_sim/followers/{openid}/{action}": (*control).doAction,
	"GET /_sim/followers/{openid}":           (*control).getFollower,
	"GET /_sim/followers":                    (*control).getFollowers,
	"GET /_sim/messages":                     (*control).getMessages,
	"GET /_sim/messages/wait":                (*control).waitMessages,
	"GET /_sim/chat":                         (*control).getChat,
	"GET /_sim/requests":                     (*control).getRequests,
	"POST /_sim/requests/{id}/replay":        (*control).postReplay,
	"GET /_sim/clock":                        (*control).getClock,
	"POST /_sim/clock":                       (*control).setClock,
	"GET /_sim/faults":                       (*control).getFaults,
	"POST /_sim/faults":                      (*control).addFault,
	"DELETE /_sim/faults":                    (*control).deleteFaults,
	"DELETE /_sim/faults/{id}":               (*control).deleteFaults,
	"POST /_sim/reset":                       (*control).postReset,
	"GET /_sim/state":                        (*control).getState,
	"PUT /_sim/state":                        (*control).putState,
	"POST /_sim/verify":                      (*control).postVerify,
	"GET /_sim/accounts":                     (*control).getAccounts,
}

// controlMux finds the call of a request.
var controlMux = sync.OnceValue(func() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, do := range controls {
		mux.Handle(pattern, controlHandler(do))
	}
	return mux
})

// controlHandler is a call as the mux keeps it. It is never served by the mux.
type controlHandler func(*control) (any, error)

func (controlHandler) ServeHTTP(http.ResponseWriter, *http.Request) {}

// A controlError is a refusal of the control plane.
type controlError struct {
	status int
	detail string
}

func (e *controlError) Error() string { return e.detail }

func badRequest(err error) error { return &controlError{http.StatusBadRequest, err.Error()} }

// The most bytes of a request: a state may have media in it.
const (
	largestControl = 1 << 20
	largestState   = 512 << 20
)

func (p *platform) serveControl(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	answer, err := p.control(w, r)
	answerSoon(w) // it may have waited
	switch {
	case err != nil:
		status := http.StatusBadRequest
		var refused *controlError
		if errors.As(err, &refused) {
			status = refused.status
		}
		h.Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		w.Write(encode(struct {
			Status int    `json:"status"`
			Title  string `json:"title"`
			Detail string `json:"detail"`
		}{status, http.StatusText(status), err.Error()}))
	case answer != nil:
		h.Set("Content-Type", "application/json")
		w.Write(append(encode(answer), '\n'))
	}
}

// control guards the control plane and makes the call. A nil answer was written.
func (p *platform) control(w http.ResponseWriter, r *http.Request) (any, error) {
	if err := p.guard(r); err != nil {
		return nil, err
	}
	c := &control{platform: p, account: p.accounts[0], r: r}
	if appid := r.URL.Query().Get("account"); appid != "" {
		p.mu.Lock()
		c.account, c.named = p.find(appid), true
		p.mu.Unlock()
		if c.account == nil {
			return nil, &controlError{http.StatusNotFound, fmt.Sprintf("no account %q in this simulator; GET /_sim/accounts lists them", appid)}
		}
	}
	if r.Method == http.MethodGet && r.URL.Path == "/_sim/events" {
		return nil, p.serveEvents(w, r)
	}
	if id, found := strings.CutPrefix(r.URL.Path, "/_sim/media/"); found && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		p.mu.Lock()
		bytes, found := c.account.library.media(id)
		p.mu.Unlock()
		if !found {
			return nil, &controlError{http.StatusNotFound, "no bytes under this media id"}
		}
		show(w, r, bytes)
		return nil, nil
	}
	if rest, found := strings.CutPrefix(r.URL.Path, "/_sim/followers/"); found && (rest == "" || rest[0] == '/') {
		return nil, &controlError{http.StatusNotFound, "the path has no openid: /_sim/followers/{openid}" + rest + " takes one of 1 to 64 letters, digits, _ and -"}
	}
	if r.URL.Path == "/_sim/media" && r.Method == http.MethodPost {
		return c.postMedia()
	}
	handler, pattern := controlMux().Handler(r)
	do, found := handler.(controlHandler)
	if !found {
		if allowed := methodsOf(r); allowed != nil {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			return nil, &controlError{http.StatusMethodNotAllowed, r.URL.Path + " takes " + strings.Join(allowed, ", ")}
		}
		return nil, &controlError{http.StatusNotFound, "no such call in the control plane; there are /_sim/followers, messages, chat, media, events, requests, clock, faults, reset, state, verify, accounts"}
	}
	c.r.Pattern = pattern
	setPathValues(c.r, pattern)
	most := int64(largestControl)
	if r.Method == http.MethodPut {
		most = largestState
	}
	if r.Body != nil {
		body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
		if err != nil {
			return nil, badRequest(errors.New("the body broke off"))
		}
		if int64(len(body)) > most {
			return nil, &controlError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", most)}
		}
		media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
		if len(body) > 0 && media != "application/json" {
			return nil, &controlError{http.StatusUnsupportedMediaType, "a body comes with Content-Type: application/json"}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	return do(c)
}

// setPathValues fills in the {names} of the pattern, as the mux does when it serves.
func setPathValues(r *http.Request, pattern string) {
	_, names, _ := strings.Cut(pattern, " ")
	values := strings.Split(r.URL.EscapedPath(), "/")
	for i, name := range strings.Split(names, "/") {
		if strings.HasPrefix(name, "{") && i < len(values) {
			value, _ := url.PathUnescape(values[i])
			r.SetPathValue(strings.Trim(name, "{}"), value)
		}
	}
}

// methodsOf lists what the path of r takes.
func methodsOf(r *http.Request) (methods []string) {
	for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if handler, _ := controlMux().Handler(other); handler != nil {
			if _, found := handler.(controlHandler); found {
				methods = append(methods, method)
			}
		}
	}
	return methods
}

// guard keeps out every page but the simulator's own: a web page that someone has
// open can send requests to their loopback addresses, under a name of its own that
// it makes point there.
func (p *platform) guard(r *http.Request) error {
	if key := p.controlKey.Reveal(); key != "" {
		given := cmp.Or(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.URL.Query().Get("key"))
		want, got := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(given))
		if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
			return &controlError{http.StatusUnauthorized, "the control plane wants its key: Authorization: Bearer KEY"}
		}
	} else if !loopback(r.Host) {
		return &controlError{http.StatusForbidden, "the control plane answers on loopback addresses only; call it by 127.0.0.1 or localhost, or give the simulator a key"}
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host || u.Host == "" {
			return &controlError{http.StatusForbidden, "the request comes from a page of another origin"}
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		return &controlError{http.StatusForbidden, "the request comes from a page of another site"}
	}
	return nil
}

// loopback reports whether a Host header names this machine to itself.
func loopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}

// read reads the body, if there is one, into v.
func (c *control) read(v any) error {
	if c.r.Body == nil {
		return nil
	}
	body, err := io.ReadAll(c.r.Body)
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return badRequest(fmt.Errorf("the body is not the JSON expected here: %w", err))
	}
	return nil
}

// items is a list as the contract shapes it.
func items[T any](list []T) any {
	return struct {
		Items []T    `json:"items"`
		Next  string `json:"next"`
	}{append([]T{}, list...), ""}
}

func (c *control) doAction() (any, error) {
	var d Details
	if err := c.read(&d); err != nil {
		return nil, err
	}
	name := c.r.PathValue("action")
	if actions[name].opens == nil {
		return nil, &controlError{http.StatusNotFound, fmt.Sprintf("no action %q; there are %s", name, strings.Join(Actions(), ", "))}
	}
	return c.act(c.account, c.r.PathValue("openid"), name, d)
}

func (c *control) getRequests() (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []Request{}
	for _, r := range c.requestsOf(c.account) {
		list = append(list, *r)
	}
	return items(list), nil
}

func (c *control) postReplay() (any, error) {
	var in struct{ Body *string }
	if err := c.read(&in); err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	if err != nil {
		return nil, badRequest(fmt.Errorf("%q is no id of a request", c.r.PathValue("id")))
	}
	return c.replay(c.r, c.account, id, in.Body)
}

// postMedia keeps a file that a follower will send: what an account could upload as
// the same kind, WeChat's phone sends, too.
func (c *control) postMedia() (any, error) {
	kind := kefu.MediaKind(c.r.URL.Query().Get("type"))
	if kind != kefu.MediaImage && kind != kefu.MediaVoice && kind != kefu.MediaVideo {
		return nil, badRequest(fmt.Errorf("type %q: a follower sends image, voice or video", kind))
	}
	data, whole := readBody(c.r, largestUpload)
	if !whole {
		return nil, &controlError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the file has more than %d bytes", largestUpload)}
	}
	c.mu.Lock()
	now := c.now()
	c.mu.Unlock()
	f, errcode := c.account.library.upload(now, kind, string(kind), data)
	if errcode != 0 {
		return nil, &controlError{http.StatusUnprocessableEntity, fmt.Sprintf("WeChat takes no such file as %s: %d, %s", kind, errcode, kefu.Explain("", errcode).En)}
	}
	return map[string]string{"media_id": f.id, "type": string(kind)}, nil
}

func (c *control) getClock() (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return struct {
		Now    stamp    `json:"now"`
		Offset Duration `json:"offset"` // from the real time
	}{stamp(c.now()), Duration(c.offset)}, nil
}

func (c *control) setClock() (any, error) {
	var in struct {
		Advance *Duration  `json:"advance"`
		Set     *time.Time `json:"set"`
	}
	if err := c.read(&in); err != nil {
		return nil, err
	}
	c.mu.Lock()
	switch {
	case in.Advance != nil && in.Set == nil:
		c.jump(time.Duration(*in.Advance))
	case in.Set != nil && in.Advance == nil:
		c.jump(in.Set.Sub(c.now()))
	default:
		c.mu.Unlock()
		return nil, badRequest(errors.New(`say {"advance":"48h"} or {"set":"2026-01-02T15:04:05Z"}`))
	}
	c.mu.Unlock()
	return c.getClock()
}

func (c *control) getFaults() (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []armedFault{}
	for _, f := range c.faults {
		if f.account == c.account {
			list = append(list, *f)
		}
	}
	return items(list), nil
}

func (c *control) addFault() (any, error) {
	var f Fault
	if err := c.read(&f); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	armed, err := c.arm(c.account, f)
	if err != nil {
		return nil, badRequest(err)
	}
	return *armed, nil
}

func (c *control) deleteFaults() (any, error) {
	id := c.r.PathValue("id")
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.disarm(func(f *armedFault) bool {
		return f.account == c.account && (id == "" || id == strconv.FormatInt(int64(f.ID), 10))
	})
	if id != "" && n == 0 {
		return nil, &controlError{http.StatusNotFound, "no fault with this id"}
	}
	return map[string]int{"deleted": n}, nil
}

func (c *control) postReset() (any, error) {
	if c.named {
		c.mu.Lock()
		c.reset(c.account)
		c.mu.Unlock()
	} else {
		(&WeChat{platform: c.platform}).Reset()
	}
	return map[string]bool{"ok": true}, nil
}

func (c *control) getState() (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state(c.account), nil
}

func (c *control) putState() (any, error) {
	body, err := io.ReadAll(c.r.Body)
	if err != nil {
		return nil, err
	}
	ignored, err := c.setState(c.account, body)
	if err != nil {
		return nil, badRequest(err)
	}
	return struct {
		OK      bool     `json:"ok"`
		Ignored []string `json:"ignored,omitempty"` // members that no state has
	}{true, ignored}, nil
}

func (c *control) postVerify() (any, error) { return c.verify(c.account), nil }

func (c *control) getAccounts() (any, error) {
	type accountLine struct {
		AppID    string   `json:"appid"`
		ID       string   `json:"id"` // gh_…
		Name     string   `json:"name"`
		Profile  string   `json:"profile"`
		Mode     string   `json:"mode"`
		Callback bool     `json:"callback"` // it has one
		Menu     []Button `json:"menu"`
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := []accountLine{}
	for _, a := range c.accounts {
		list = append(list, accountLine{a.AppID, a.ID, a.Name, a.Profile, string(a.Mode), a.Callback != "" || a.CallbackHandler != nil, append([]Button{}, a.Menu...)})
	}
	return items(list), nil
}

// show writes a reply of bytes, or the ranges of it that a player asks for.
func show(w http.ResponseWriter, r *http.Request, out reply) {
	maps.Copy(w.Header(), out.header)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(out.bytes))
}
