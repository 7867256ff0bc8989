package kefutest

import (
	"bytes"
	"cmp"
	"crypto/rand"
	_ "embed"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/kefu-go/kefu"
)

// How to add a call: write a handler func(*call) reply, put it in a package-level
// table such as sendRoutes in the file of its family, and name that table in
// routeTables. The handler runs under the simulator's lock after the token, the
// method, the caller's IP and the quotas were checked; it may decode c.body, read
// c.query, ask c.account and c.now, and answers with ok, refuse(code), answer(v)
// or file(…). It must not block, and must not look at another account.

// routeTables is every call of WeChat's API that is imitated.
func routeTables() [][]route {
	return [][]route{
		tokenRoutes, sendRoutes, typingRoutes, quotaRoutes, mediaRoutes, materialRoutes, cardRoutes, kfRoutes, menuRoutes,
	}
}

// A route is one call of WeChat's API.
type route struct {
	path     string // "/cgi-bin/message/custom/send"
	method   string // GET or POST (the other: 43001, 43002); "" for both
	open     bool   // takes no access token
	daily    int    // most calls a day; 0: no limit
	minute   int    // most calls a minute; 0: as the account is set
	maxBody  int64  // default 1 MiB
	tooLarge int    // errcode above maxBody; default: HTTP 413
	handle   func(*call) reply
}

// A call is one request to WeChat's API on its way through the simulator.
type call struct {
	*account              // whose token, or appid, it has
	sim         *platform // locked while a handler runs
	route       *route
	now         time.Time // by the simulator's clock
	base        string    // "http://host", before the paths of links in answers
	method      string
	query       url.Values
	contentType string
	body        []byte
	ip          string
}

// decode reads the body as JSON into v: 44002 if it is empty, 47001 if it isn't
// JSON of that shape.
func (c *call) decode(v any) (errcode int) {
	switch {
	case len(bytes.TrimSpace(c.body)) == 0:
		return 44002
	case !utf8.Valid(c.body), json.Unmarshal(c.body, v) != nil:
		return 47001
	}
	return 0
}

// later runs f, not under the lock, once the simulator's clock shows at.
func (c *call) later(at time.Time, f func()) { c.sim.at(at, f) }

// A reply is what a call answers. The zero reply is {"errcode":0,"errmsg":"ok"}.
type reply struct {
	code   int         // errcode
	msg    string      // errmsg, if not the table's
	value  any         // of a success: the answer as JSON
	header http.Header // of bytes: Content-Type and more
	bytes  []byte
	status int  // HTTP status; default 200
	silent bool // no answer at all
}

var ok reply

// refuse answers with an errcode and its text. refuse(0) is ok.
func refuse(errcode int) reply { return reply{code: errcode} }

// answer answers with v as JSON.
func answer(v any) reply { return reply{value: v} }

// file answers with bytes under the headers, given as name, value pairs.
func file(data []byte, header ...string) reply {
	h := http.Header{}
	for pair := range slices.Chunk(header, 2) {
		h.Set(pair[0], pair[1])
	}
	return reply{bytes: data, header: h}
}

// jsonAnswer is the Content-Type of WeChat's JSON.
const jsonAnswer = "application/json; encoding=utf-8"

// render makes an answer's bytes. now is for the request id.
func (r *reply) render(now time.Time) (body []byte, rid string) {
	switch {
	case r.bytes != nil || r.silent:
		return r.bytes, ""
	case r.code == 0 && r.value != nil:
		return encode(r.value), ""
	case r.code == 0:
		return []byte(`{"errcode":0,"errmsg":"ok"}`), ""
	}
	rid = newRID(now)
	return encode(struct {
		ErrCode int    `json:"errcode"`
		ErrMsg  string `json:"errmsg"`
	}{r.code, cmp.Or(r.msg, errmsg(r.code)) + " rid: " + rid}), rid
}

// newRID makes a request id as WeChat's: the time and two random words.
func newRID(now time.Time) string {
	var b [12]byte
	binary.BigEndian.PutUint32(b[:], uint32(now.Unix()))
	rand.Read(b[4:])
	return fmt.Sprintf("%x-%x-%x", b[:4], b[4:8], b[8:])
}

// encode is JSON as WeChat writes it: <, > and & as themselves, no line break at
// the end.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // v is one of this package's own types
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// errmsg.tsv has the text that WeChat sends with an errcode, as far as it is known.
//
//go:embed errmsg.tsv
var errmsgFile string

var errmsgs = sync.OnceValue(func() map[int]string {
	m := map[int]string{}
	for line := range strings.Lines(errmsgFile) {
		cells := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if code, err := strconv.Atoi(cells[0]); err == nil {
			m[code] = cells[1]
		}
	}
	return m
})

func errmsg(code int) string {
	return cmp.Or(errmsgs()[code], kefu.Explain("", code).En)
}

// serveAPI answers a request to a path below /cgi-bin/, /customservice/ or /card/.
func (p *platform) serveAPI(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	out, answer, line := p.decide(r)
	hit := line.Fault
	switch {
	case out.silent:
		p.hold(r.Context(), longestSilence)
	case hit != nil && hit.Delay > 0:
		p.hold(r.Context(), time.Duration(hit.Delay))
	}
	p.finishRequest(line, time.Since(began))
	if line.Status == 0 || r.Context().Err() != nil || p.ctx.Err() != nil {
		panic(http.ErrAbortHandler) // cuts the connection
	}
	answerSoon(w) // it may have waited
	h := w.Header()
	h.Set("Content-Type", jsonAnswer)
	maps.Copy(h, out.header)
	if p.sharedClock {
		h.Set("Date", line.At.UTC().Format(http.TimeFormat))
	}
	h.Set("Content-Length", strconv.Itoa(len(answer)))
	w.WriteHeader(line.Status)
	w.Write(answer)
}

// decide lets a call take its effect, and returns what it is answered and its line
// in the log.
func (p *platform) decide(r *http.Request) (out reply, answer []byte, line *Request) {
	rt, appended := p.findRoute(r.URL.Path)
	body, whole := readBody(r, cmp.Or(rt.maxBody, 1<<20))

	p.mu.Lock()
	defer p.mu.Unlock()
	c := &call{
		sim: p, route: rt, now: p.now(), base: "http://" + r.Host, method: r.Method, query: r.URL.Query(),
		contentType: r.Header.Get("Content-Type"), body: body, ip: callerIP(r),
	}
	if r.TLS != nil {
		c.base = "https://" + r.Host
	}
	refused := c.identify(appended)
	hit := p.fault(c)
	switch {
	case hit != nil && hit.replaces():
		out = hit.reply()
	case !whole && rt.tooLarge == 0:
		out = page413()
	case !whole:
		out = refuse(rt.tooLarge)
	case refused != 0:
		out = refuse(refused)
	default:
		out = c.perform()
	}
	answer, rid := out.render(c.now)
	return out, answer, p.logRequest(c, r, out, answer, rid, hit)
}

// page413 is what WeChat's front answers to a body above every limit.
func page413() reply {
	r := file([]byte("<html><head><title>413</title></head><body>413 Request Entity Too Large</body></html>\n"), "Content-Type", "text/html")
	r.status = http.StatusRequestEntityTooLarge
	return r
}

// findRoute returns the route of path. Some callers paste the token to the path
// without "?access_token=" between; appended says that path looks like that.
func (p *platform) findRoute(path string) (rt *route, appended bool) {
	if rt := p.routes[path]; rt != nil {
		return rt, false
	}
	rt = unknownRoute
	for known, candidate := range p.routes {
		rest, found := strings.CutPrefix(path, known)
		if found && !candidate.open && len(known) > len(rt.path) && len(rest) >= 16 && !strings.Contains(rest, "/") {
			rt, appended = candidate, true
		}
	}
	return rt, appended
}

// unknownRoute is where a path leads that WeChat does not know, or this simulator.
var unknownRoute = &route{open: true, handle: func(*call) reply { return refuse(40066) }}

// identify finds out whose call it is, and the errcode if the token tells nobody's.
// Such a call counts as the first account's in faults and logs.
func (c *call) identify(appended bool) (errcode int) {
	if c.route.open {
		c.account = c.sim.claimed(c)
		return 0
	}
	token := c.query.Get("access_token")
	if token == "" || appended {
		c.account = c.sim.accounts[0]
		return 41001
	}
	c.account, errcode = c.sim.tokens.check(token, c.now)
	if c.account == nil {
		c.account = c.sim.accounts[0]
	}
	return errcode
}

// claimed returns the account that a call without token names, or the first.
func (p *platform) claimed(c *call) *account {
	appid := c.query.Get("appid")
	if appid == "" {
		var in struct{ AppID string }
		_ = json.Unmarshal(c.body, &in) // the handler says what is wrong with it
		appid = in.AppID
	}
	if a := p.find(appid); a != nil {
		return a
	}
	return p.accounts[0]
}

// perform checks what is common to all calls, and makes the call.
func (c *call) perform() reply {
	rt := c.route
	switch {
	case rt.method == http.MethodGet && c.method != http.MethodGet:
		return refuse(43001)
	case rt.method == http.MethodPost && c.method != http.MethodPost:
		return refuse(43002)
	case c.method != http.MethodGet && c.method != http.MethodPost:
		return refuse(43002)
	}
	if rt == unknownRoute {
		return rt.handle(c)
	}
	if !rt.open {
		if code := c.Refusals[rt.path]; code != 0 {
			return refuse(code)
		}
		if c.BusinessIPCode != 0 && !c.ipListed(c.ip) {
			return refuse(c.BusinessIPCode)
		}
		if code := c.count(c.now, rt); code != 0 {
			return refuse(code)
		}
	}
	return rt.handle(c)
}

// readBody reads a body of up to most bytes; whole is false for a longer one. One
// that breaks off is taken as far as it came: it won't be JSON.
func readBody(r *http.Request, most int64) (body []byte, whole bool) {
	if r.Body == nil {
		return nil, true
	}
	body, _ = io.ReadAll(io.LimitReader(r.Body, most+1))
	return body[:min(int64(len(body)), most)], int64(len(body)) <= most
}

func callerIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "127.0.0.1" // in process
	}
	return host
}
