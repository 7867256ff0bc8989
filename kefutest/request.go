package kefutest

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kefu-go/kefu"
)

// A Request is one call of WeChat's API that the simulator has seen. Tokens and
// secrets are taken out.
type Request struct {
	ID       int64
	At       time.Time // by the simulator's clock
	Took     time.Duration
	Account  string // appid
	Method   string
	Path     string
	Query    string
	Body     string // "" if it is not text; its first 16 KiB
	Size     int    // of the whole body
	OpenID   string // whom it is about
	ErrCode  int
	Status   int    // HTTP status; 0 for a connection that was cut
	Answer   string // its first 16 KiB, "" if it is not text
	RID      string
	Fault    *Fault // that struck it
	clientIP string
}

// MarshalJSON implements [json.Marshaler].
func (r *Request) MarshalJSON() ([]byte, error) {
	return encode(struct {
		ID        int64           `json:"id,string"`
		At        stamp           `json:"at"`
		Took      float64         `json:"took_ms"`
		Account   string          `json:"account"`
		Method    string          `json:"method"`
		Path      string          `json:"path"`
		Query     string          `json:"query"`
		Body      string          `json:"body"`
		Size      int             `json:"size"`
		OpenID    string          `json:"openid,omitempty"`
		ErrCode   int             `json:"errcode"`
		Status    int             `json:"status"`
		Answer    string          `json:"answer"`
		RID       string          `json:"rid,omitempty"`
		Fault     json.RawMessage `json:"fault,omitempty"`
		Explained *[2]string      `json:"explained,omitempty"` // the errcode, in Chinese and English
	}{
		r.ID, stamp(r.At), float64(r.Took.Microseconds()) / 1000, r.Account, r.Method, r.Path, r.Query, r.Body, r.Size,
		r.OpenID, r.ErrCode, r.Status, r.Answer, r.RID, faultJSON(r.Fault), r.explained(),
	}), nil
}

// explained says what the errcode means and what to do next; nil for none.
func (r *Request) explained() *[2]string {
	e := kefu.Explain(strings.TrimPrefix(r.Path, "/cgi-bin/"), r.ErrCode)
	if r.ErrCode == 0 || !e.Known {
		return nil
	}
	return &[2]string{strings.TrimRight(e.Zh+"。"+e.AdviceZh, "。") + "。", strings.TrimRight(e.En+". "+e.AdviceEn, ". ") + "."}
}

func faultJSON(f *Fault) json.RawMessage {
	if f == nil {
		return nil
	}
	return encode(f)
}

const (
	mostRequests  = 1000
	loggedBytes   = 16 << 10
	longestSecret = 1 << 10
)

// secretMembers finds the secrets in JSON.
var secretMembers = regexp.MustCompile(`(?i)("(?:secret|appsecret|access_token)"\s*:\s*")(?:[^"\\]|\\.)*`)

// tokens finds access tokens of WeChat's form, wherever they got by mistake.
var tokens = regexp.MustCompile(`[0-9]{2,3}_[A-Za-z0-9_-]{60,512}`)

// loggable is the beginning of a body without secrets, or "" if it is not text.
func (c *call) loggable(b []byte) string {
	if most := loggedBytes + longestSecret; len(b) > most { // what this cuts in two is cut off below
		for most > 0 && !utf8.RuneStart(b[most]) {
			most--
		}
		b = b[:most]
	}
	if !utf8.Valid(b) {
		return ""
	}
	s := tokens.ReplaceAllString(secretMembers.ReplaceAllString(string(b), "${1}[secret]"), "[secret]")
	if known := c.Secret.Reveal(); known != "" {
		s = strings.ReplaceAll(s, known, "[secret]")
	}
	if len(s) <= loggedBytes {
		return s
	}
	cut := loggedBytes
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// loggableQuery is a query in readable form without secrets.
func loggableQuery(raw string) string {
	pairs := strings.Split(raw, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		name, _ = url.QueryUnescape(name)
		value, _ = url.QueryUnescape(value)
		switch strings.ToLower(name) {
		case "access_token", "secret", "appsecret":
			value = "[secret]"
		case "":
			continue
		}
		pairs[i] = tokens.ReplaceAllString(name+"="+value, "[secret]")
	}
	return strings.Join(pairs, "&")
}

// logRequest notes a call and what it is answered. The caller holds mu.
func (p *platform) logRequest(c *call, r *http.Request, out reply, body []byte, rid string, hit *Fault) *Request {
	line := &Request{
		ID: p.nextID(), At: c.now, Account: c.AppID, Method: r.Method, Path: c.route.path, Query: loggableQuery(r.URL.RawQuery), Body: c.loggable(c.body),
		Size: len(c.body), OpenID: c.openid(), ErrCode: out.code, Status: cmp.Or(out.status, http.StatusOK), Answer: c.loggable(body),
		RID: rid, Fault: hit, clientIP: c.ip,
	}
	if c.route == unknownRoute { // of a known one the path may go on with a token
		line.Path = tokens.ReplaceAllString(r.URL.Path[:min(len(r.URL.Path), 512)], "[secret]")
	}
	if out.silent || hit != nil && hit.Drop != "" {
		line.Status = 0
	}
	if len(p.requests) < mostRequests {
		p.requests = append(p.requests, line)
	} else {
		p.requests[p.next] = line
	}
	p.next = (p.next + 1) % mostRequests
	return line
}

// finishRequest notes how long a call took, and tells the watchers of it.
func (p *platform) finishRequest(line *Request, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line.Took = took
	p.tell(event{Type: "request", Account: line.Account, OpenID: line.OpenID})
}

// Requests returns the calls of WeChat's API that the account made, oldest first:
// the last 1,000 of all accounts.
func (w *WeChat) Requests() []Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []Request
	for _, r := range w.requestsOf(w.account) {
		out = append(out, *r)
	}
	return out
}

// requestsOf returns the account's, oldest first. The caller holds mu.
func (p *platform) requestsOf(a *account) []*Request {
	return slices.DeleteFunc(p.requestsInOrder(), func(r *Request) bool { return r.Account != a.AppID })
}

// requestsInOrder returns a copy, oldest first. The caller holds mu.
func (p *platform) requestsInOrder() []*Request {
	if len(p.requests) < mostRequests {
		return slices.Clone(p.requests)
	}
	return slices.Concat(p.requests[p.next:], p.requests[:p.next])
}

// getRID tells what a request id is about, for 7 days and to its own account.
func getRID(c *call) reply {
	var in struct{ RID string }
	if code := c.decode(&in); code != 0 {
		return refuse(code)
	}
	if !ridForm.MatchString(in.RID) {
		return refuse(76002)
	}
	for _, r := range c.sim.requests {
		switch {
		case r.RID != in.RID:
			continue
		case r.Account != c.AppID:
			return refuse(76003)
		case c.now.Sub(r.At) >= 7*24*time.Hour:
			return refuse(76004)
		}
		type request struct {
			InvokeTime   int64  `json:"invoke_time"`
			Cost         int64  `json:"cost_in_ms"`
			URL          string `json:"request_url"`
			RequestBody  string `json:"request_body"`
			ResponseBody string `json:"response_body"`
			ClientIP     string `json:"client_ip"`
		}
		return answer(struct {
			ErrCode int     `json:"errcode"`
			ErrMsg  string  `json:"errmsg"`
			Request request `json:"request"`
		}{0, "ok", request{r.At.Unix(), r.Took.Milliseconds(), r.Query, r.Body, r.Answer, r.clientIP}})
	}
	return refuse(76001)
}

// replay makes a call of the log again, as the page that asks for it: with the same
// body or, if one is given, another. The token of the first is not known any more, so
// it goes under a new one, which dies with the call and voids none.
func (p *platform) replay(asker *http.Request, a *account, id int64, body *string) (*Request, error) {
	p.mu.Lock()
	at := slices.IndexFunc(p.requests, func(r *Request) bool { return r.ID == id && r.Account == a.AppID })
	if at < 0 {
		p.mu.Unlock()
		return nil, &controlError{http.StatusNotFound, "no request with this id; the last 1,000 are kept"}
	}
	was := *p.requests[at]
	rt, _ := p.findRoute(was.Path)
	switch {
	case rt.open && rt != unknownRoute:
		p.mu.Unlock()
		return nil, &controlError{http.StatusConflict, "a call that fetches a token is not repeated: its secret is not kept, and the token in use might die"}
	case body == nil && len(was.Body) != was.Size:
		p.mu.Unlock()
		return nil, &controlError{http.StatusConflict, "its body was not kept whole: it is a file, longer than 16 KiB, or had a secret in it; give another body"}
	}
	token := p.tokens.issue(a, p.now())
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		token.retire(p.now(), 0)
		p.mu.Unlock()
	}()

	query := url.Values{}
	for pair := range strings.SplitSeq(was.Query, "&") {
		if name, value, found := strings.Cut(pair, "="); found {
			query.Set(name, value)
		}
	}
	query.Set("access_token", token.value)
	if body == nil {
		body = &was.Body
	}
	r := asker.Clone(asker.Context())
	r.Method, r.URL = was.Method, &url.URL{Path: was.Path, RawQuery: query.Encode()}
	r.Header = http.Header{"Content-Type": {"application/json"}}
	r.Body = io.NopCloser(strings.NewReader(*body))
	began := time.Now()
	_, _, line := p.decide(r)
	p.finishRequest(line, time.Since(began))
	return line, nil
}

var ridForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`)
