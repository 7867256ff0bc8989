package kefutest

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A Request is one call of WeChat's API that the simulator has seen. Tokens and
// secrets are taken out.
type Request struct {
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
		At      stamp           `json:"at"`
		Took    float64         `json:"took_ms"`
		Account string          `json:"account"`
		Method  string          `json:"method"`
		Path    string          `json:"path"`
		Query   string          `json:"query"`
		Body    string          `json:"body"`
		Size    int             `json:"size"`
		OpenID  string          `json:"openid,omitempty"`
		ErrCode int             `json:"errcode"`
		Status  int             `json:"status"`
		Answer  string          `json:"answer"`
		RID     string          `json:"rid,omitempty"`
		Fault   json.RawMessage `json:"fault,omitempty"`
	}{
		stamp(r.At), float64(r.Took.Microseconds()) / 1000, r.Account, r.Method, r.Path, r.Query, r.Body, r.Size,
		r.OpenID, r.ErrCode, r.Status, r.Answer, r.RID, faultJSON(r.Fault),
	}), nil
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
		At: c.now, Account: c.AppID, Method: r.Method, Path: c.route.path, Query: loggableQuery(r.URL.RawQuery), Body: c.loggable(c.body),
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

var ridForm = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}$`)
