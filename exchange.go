package kefu

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultBaseURL is WeChat's API host.
	DefaultBaseURL = "https://api.weixin.qq.com"
	// DefaultTimeout bounds one request, from looking for a connection to the
	// last byte of the answer.
	DefaultTimeout = 10 * time.Second
	// FileTimeout is in its place for requests that carry a file, or are answered
	// with one: 10 MB at 1.4 Mbit/s. A Timeout of Client.HTTP bounds all alike.
	FileTimeout = time.Minute

	maxAnswer = 1 << 20 // of JSON answers; WeChat's are a few hundred bytes
)

// defaultTransport keeps enough idle connections for many sends at once, but not
// for long: a POST on a connection that WeChat has just closed ends in EOF, and
// then nobody can tell whether it arrived. The proxy is never taken from the
// environment: a process that inherits one would hand it the access token.
var defaultTransport = sync.OnceValue(func() *http.Transport {
	t := &http.Transport{ForceAttemptHTTP2: true, TLSHandshakeTimeout: DefaultTimeout}
	if given, ok := http.DefaultTransport.(*http.Transport); ok { // else somebody has wrapped it
		t = given.Clone()
	}
	t.Proxy = nil
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 256
	t.IdleConnTimeout = 10 * time.Second
	return t
})

// An endpoint is a host to which requests go, and the way there.
type endpoint struct {
	base    *url.URL
	trip    http.RoundTripper
	timeout time.Duration // of every request; 0: as each is given

	lastQuery atomic.Pointer[tokenQuery]
}

// newEndpoint takes Transport and Timeout from client, and nothing else:
// redirects are never followed and cookies never kept.
func newEndpoint(base string, client *http.Client) (*endpoint, error) {
	if base == "" {
		base = DefaultBaseURL
	}
	u, err := url.Parse(strings.TrimRight(base, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("kefu: base URL %q: want http(s)://host", base)
	}
	e := &endpoint{base: u}
	if client != nil {
		e.trip, e.timeout = client.Transport, max(client.Timeout, 0)
	}
	if e.trip == nil {
		e.trip = defaultTransport()
	}
	return e, nil
}

// A request is one HTTP request to WeChat, and its memory in one piece.
type request struct {
	path        string
	query       string        // encoded, without the token
	token       Secret        // "" on the calls that give one
	secret      Secret        // AppSecret, on those calls
	body        []byte        // nil for GET
	contentType string        // of the body
	patience    time.Duration // what it may take if the client has no Timeout; 0: DefaultTimeout

	url           url.URL
	reader        bytes.Reader
	trace         httptrace.ClientTrace
	sought, found atomic.Bool // a connection; tells "not delivered" from "unknown"
	answer        [128]byte   // room for most answers
}

const jsonType = "application/json"

var jsonHeader = []string{jsonType}

// opOf is how errors name a call: its path without /cgi-bin/.
func opOf(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, "/cgi-bin"), "/")
}

func (r *request) op() string { return opOf(r.path) }

// tokenQuery keeps the encoded form of the token in use.
type tokenQuery struct {
	token Secret
	query string
}

func (e *endpoint) queryOf(token Secret) string {
	if q := e.lastQuery.Load(); q != nil && q.token == token {
		return q.query
	}
	q := &tokenQuery{token, "access_token=" + url.QueryEscape(token.Reveal())}
	e.lastQuery.Store(q)
	return q.query
}

// do sends r and returns the answer with its body still open, and the function
// to call when done with it. It is the only place where requests leave. Every
// error is a *TransportError.
func (e *endpoint) do(ctx context.Context, r *request) (*http.Response, context.CancelFunc, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, &TransportError{Op: r.op(), Err: err, class: ErrNotDelivered}
	}
	r.url = *e.base
	r.url.Path = e.base.Path + r.path
	switch {
	case r.token == "":
		r.url.RawQuery = r.query
	case r.query == "":
		r.url.RawQuery = e.queryOf(r.token)
	default:
		r.url.RawQuery = e.queryOf(r.token) + "&" + r.query
	}
	r.trace.GetConn = func(string) { r.sought.Store(true) }
	r.trace.GotConn = func(httptrace.GotConnInfo) { r.found.Store(true) }
	cancel := context.CancelFunc(func() {})
	patience := cmp.Or(e.timeout, r.patience, DefaultTimeout)
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > patience {
		ctx, cancel = context.WithTimeout(ctx, patience)
	}
	req := (&http.Request{
		Method: "GET", URL: &r.url, Host: r.url.Host, Header: http.Header{},
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(httptrace.WithClientTrace(ctx, &r.trace))
	if r.body != nil {
		req.Method = "POST"
		req.ContentLength = int64(len(r.body))
		if req.Header["Content-Type"] = jsonHeader; r.contentType != jsonType {
			req.Header["Content-Type"] = []string{r.contentType}
		}
		r.reader.Reset(r.body)
		req.Body = io.NopCloser(&r.reader) // a Reader that Transport knows: one write for all
		req.GetBody = r.again
	}
	res, err := e.trip.RoundTrip(req)
	switch {
	case err != nil:
	case res == nil || res.Body == nil:
		err = errors.New("the transport returned neither an answer nor an error")
	case res.StatusCode == http.StatusSwitchingProtocols: // its body heeds no context
		res.Body.Close()
		err = errors.New("HTTP 101 in answer to a call")
	default:
		return res, cancel, nil
	}
	cancel()
	return nil, nil, r.failed(err)
}

// again lets Transport use another connection when nothing was written to one
// that turned out to be closed.
func (r *request) again() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(r.body)), nil
}

// failed decides what a RoundTrip error means. Without evidence to the contrary
// the request may have arrived.
func (r *request) failed(err error) error {
	class := ErrUnknownOutcome
	if r.sought.Load() && !r.found.Load() {
		class = ErrNotDelivered
	}
	return &TransportError{Op: r.op(), Err: r.clean(err), class: class}
}

// clean takes the URL, and with it the token, out of an error of the transport.
func (r *request) clean(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if text := err.Error(); r.blank(text) != text || strings.Contains(strings.ToLower(text), "access_token") {
		return withheld{err}
	}
	return err
}

// withheld is an error whose text is not shown; errors.Is still sees what it is.
type withheld struct{ err error }

func (withheld) Error() string {
	return "the transport failed; its error is withheld, since it repeats the request's URL"
}
func (w withheld) Is(target error) bool { return errors.Is(w.err, target) }

// blank removes the request's secrets from foreign text.
func (r *request) blank(text string) string {
	for _, s := range []Secret{r.token, r.secret} {
		if t := s.Reveal(); t != "" {
			text = strings.ReplaceAll(text, t, hidden)
			text = strings.ReplaceAll(text, url.QueryEscape(t), hidden)
		}
	}
	return text
}

// answer sends r and reads a JSON answer whole. HTTP failures without an errcode
// are decided here; what the JSON says is for the caller.
func (e *endpoint) answer(ctx context.Context, r *request) ([]byte, int, error) {
	res, cancel, err := e.do(ctx, r)
	if err != nil {
		return nil, 0, err
	}
	defer cancel()
	defer res.Body.Close()
	buf := r.answer[:0]
	for {
		n, err := res.Body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF {
			return buf, res.StatusCode, nil
		}
		if err != nil {
			return nil, res.StatusCode, &TransportError{Op: r.op(), Status: res.StatusCode, class: ErrUnknownOutcome,
				Err: fmt.Errorf("the answer was cut: %w", r.clean(err))}
		}
		if len(buf) > maxAnswer {
			return nil, res.StatusCode, &TransportError{Op: r.op(), Status: res.StatusCode, class: ErrUnknownOutcome,
				Err: fmt.Errorf("the answer has more than %d bytes", maxAnswer)}
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
	}
}
