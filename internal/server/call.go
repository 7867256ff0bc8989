package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// What a request may cost.
const (
	maxBody   = 1 << 20  // of a body
	maxSignIn = 4 << 10  // of the body of a sign-in
	maxBatch  = 8 << 20  // of a batch
	maxHeld   = 64 << 20 // of all bodies, and what is chosen by name, that are in memory at once
	maxDepth  = 64       // of objects and arrays in each other
	readTime  = 15 * time.Second
	writeTime = 20 * time.Second // more than readTime: an answer waits for a body that no route reads
)

// A call is one request on its way.
type call struct {
	*http.Request
	s   *Server
	w   http.ResponseWriter
	key gateway.Key // of a route that is not public
	// agent is whose session it is, if the key is one.
	agent *gateway.Agent
	lang  string
	held  int64           // bytes that are counted in s.held
	left  context.Context // is over when the caller has left
	audited
}

// serve runs a route: authorise, act, answer.
func (s *Server) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, s: s, w: w, lang: language(r.Header.Get("Accept-Language"))}
		began := s.Now()
		defer func() {
			c.release()
			if v := recover(); v != nil {
				if v == http.ErrAbortHandler {
					panic(v)
				}
				s.Log.ErrorContext(r.Context(), "a handler panicked", "route", r.Pattern, "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
				p := fillIn(gateway.Problem{Code: gateway.Internal}, c.lang, "")
				c.answer(p.Status, p)
			}
		}()
		status, body, err := s.act(rt, c)
		if err != nil {
			p, fault := s.problem(err, c.lang)
			if fault != nil {
				s.Log.ErrorContext(r.Context(), "a request failed", "route", r.Pattern, "code", p.Code, "err", fault)
			}
			status, body = p.Status, p
		}
		s.Log.LogAttrs(r.Context(), slog.LevelDebug, "request",
			slog.String("route", r.Pattern), slog.String("key", c.key.ID), slog.Int("status", status), slog.Duration("took", s.Now().Sub(began)))
		if status != 0 {
			c.answer(status, body)
		}
	})
}

func (s *Server) act(rt route, c *call) (int, any, error) {
	if !slices.Equal(rt.access, public) {
		if err := c.authorise(rt); err != nil {
			return 0, nil, err
		}
	}
	var unknown []field
	for name := range c.query() {
		if !rt.takes(name) {
			unknown = append(unknown, wrong("query."+name, "unknown-member"))
		}
	}
	if err := invalid(gateway.InvalidRequest, unknown...); err != nil {
		return 0, nil, err
	}
	c.left = c.Context()
	if rt.audit != "" { // what has begun ends, and is on record, though the caller may leave
		c.Request = c.WithContext(context.WithoutCancel(c.Context()))
	}
	status, body, err := rt.do(s, c)
	if err == nil && rt.audit != "" && !c.quiet {
		c.done(cmp.Or(c.verb, rt.audit))
	}
	return status, body, err
}

// answer writes a body as JSON; a nil one is none at all.
func (c *call) answer(status int, body any) {
	h := c.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Kefu-Time", strconv.FormatInt(c.s.Now().UnixMilli(), 10))   // the console counts down by it
	c.deadline((*http.ResponseController).SetWriteDeadline, writeTime) // from now: it may have waited
	if body == nil {
		c.w.WriteHeader(status)
		return
	}
	h.Set("Content-Type", "application/json")
	if p, ok := body.(gateway.Problem); ok {
		h.Set("Content-Type", "application/problem+json")
		h.Set("Content-Language", c.lang)
		h.Set("Vary", "Accept-Language")
		switch p.Status {
		case http.StatusUnauthorized:
			h.Set("WWW-Authenticate", `Bearer realm="kefu"`)
		case http.StatusTooManyRequests:
			h.Set("Retry-After", "900")
		case http.StatusServiceUnavailable:
			h.Set("Retry-After", "1")
		case http.StatusRequestEntityTooLarge:
			h.Set("Connection", "close")
		}
	}
	text, err := encode(body)
	if err != nil { // a RawMessage that is no JSON
		c.s.Log.ErrorContext(c.Context(), "an answer is not JSON", "route", c.Pattern, "err", err)
		p := fillIn(gateway.Problem{Code: gateway.Internal}, c.lang, "")
		h.Set("Content-Type", "application/problem+json")
		status = p.Status
		text, _ = encode(p)
	}
	h.Set("Content-Length", strconv.Itoa(len(text)))
	c.w.WriteHeader(status)
	c.w.Write(text)
}

// encode is v's JSON with &, < and > as themselves.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return b.Bytes(), err
}

// deadline gives the client that long to take or bring something, where what [HTTP] gives
// is not right; net/http ends it with the body and with the request. (A recorder in a
// test has none.)
func (c *call) deadline(set func(*http.ResponseController, time.Time) error, d time.Duration) {
	set(http.NewResponseController(c.w), time.Now().Add(d))
}

// read returns the body, which must be JSON of at most that many bytes.
func (c *call) read(most int64) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, refuse(gateway.UnsupportedMedia)
	}
	if c.ContentLength > most {
		return nil, refuse(gateway.TooLarge, most)
	}
	body, err := c.readAll(most)
	if err != nil {
		c.w.Header().Set("Connection", "close")
		return nil, err
	}
	if !json.Valid(body) {
		if _, err = kefu.ParseMessage(body); err == nil { // it knows the line and the column
			err = refuse(gateway.InvalidJSON).because("broken-off")
		}
		return nil, err
	}
	return body, sound(body)
}

// readAll reads what comes and no more, and counts it: 10,000 requests that promise
// 8 MiB and bring a byte each hold next to nothing.
func (c *call) readAll(most int64) ([]byte, error) {
	var body []byte
	for size := min(most+1, max(c.ContentLength+1, 512), 4<<10); ; size = min(most+1, 2*size) {
		if err := c.hold(size - int64(cap(body))); err != nil {
			return nil, err
		}
		grown := make([]byte, len(body), size)
		copy(grown, body)
		body = grown
		for len(body) < cap(body) {
			n, err := c.Body.Read(body[len(body):cap(body)])
			body = body[:len(body)+n]
			if errors.Is(err, io.EOF) {
				if int64(len(body)) > most {
					return nil, refuse(gateway.TooLarge, most)
				}
				return body, nil
			}
			if err != nil {
				return nil, refuse(gateway.InvalidJSON).because("broken-off")
			}
		}
		if int64(len(body)) > most {
			return nil, refuse(gateway.TooLarge, most)
		}
	}
}

// hold counts bytes that the call has in memory until its end, and refuses those that
// are too many with all other calls'.
func (c *call) hold(bytes int64) error {
	if c.s.held.Add(bytes) > maxHeld {
		c.s.held.Add(-bytes)
		return refuse(gateway.Overloaded)
	}
	c.held += bytes
	return nil
}

// release counts them no more.
func (c *call) release() {
	c.s.held.Add(-c.held)
	c.held = 0
}

// sound refuses what is JSON and yet no good: bytes that are not UTF-8, which would
// reach the follower as something else, and nesting that costs more than it says.
func sound(body []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(body); i++ {
		why := text{}
		switch ch := body[i]; {
		case ch == '"':
			inString = !inString
		case inString && ch == '\\':
			i++
		case inString && ch >= utf8.RuneSelf:
			r, n := utf8.DecodeRune(body[i:])
			if i += n - 1; r == utf8.RuneError && n == 1 {
				why = details["not-utf8"]
			}
		case inString:
		case ch == '{' || ch == '[':
			if depth++; depth > maxDepth {
				why = text{details["too-deep"].in("en", maxDepth), details["too-deep"].in("zh", maxDepth)}
			}
		case ch == '}' || ch == ']':
			depth--
		}
		if why != (text{}) {
			line, column := place(body[:i])
			return &refusal{code: gateway.InvalidJSON, args: []any{line, column, why}, line: line, column: column}
		}
	}
	return nil
}

// place is where before ends: line and character from 1.
func place(before []byte) (line, column int) {
	begin := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte{'\n'}) + 1, utf8.RuneCount(before[begin:]) + 1
}

// body reads a JSON body into v, a pointer to a struct.
func (c *call) body(v any) error {
	b, err := c.read(maxBody)
	if err != nil {
		return err
	}
	return invalid(gateway.InvalidRequest, decode(b, "", v)...)
}

// decode reads the members of an object into those fields of v, a pointer to a
// struct, that have exactly their names, and says what is wrong, each by its place.
// A null is as good as nothing.
func decode(object []byte, at string, v any) (bad []field) {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil || members == nil {
		return []field{wrong(cmp.Or(at, "body"), "must-object")}
	}
	if at != "" {
		at += "."
	}
	into := reflect.ValueOf(v).Elem()
	known := fieldsOf(into.Type())
	for name, raw := range members {
		f, ok := known[name]
		if !ok {
			bad = append(bad, wrong(at+name, "unknown-member"))
			continue
		}
		var err error
		if p := into.FieldByIndex(f.Index).Addr().Interface(); f.Type.Kind() == reflect.Map {
			dec := json.NewDecoder(bytes.NewReader(raw))
			dec.DisallowUnknownFields()
			err = dec.Decode(p)
		} else {
			err = json.Unmarshal(raw, p)
		}
		if err != nil {
			bad = append(bad, mistyped(at+name, f.Type, err))
		}
	}
	slices.SortFunc(bad, func(a, b field) int { return strings.Compare(a.location, b.location) })
	return bad
}

// fieldsOf is a struct's fields by the names of their members.
func fieldsOf(t reflect.Type) map[string]reflect.StructField {
	if known, ok := fieldsByType.Load(t); ok {
		return known.(map[string]reflect.StructField)
	}
	known := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && name != "-" {
			known[name] = f
		}
	}
	fieldsByType.Store(t, known)
	return known
}

var fieldsByType sync.Map // reflect.Type → map[string]reflect.StructField

// mistyped says what a member of the type t should have been.
func mistyped(location string, t reflect.Type, err error) field {
	var inner *json.UnmarshalTypeError
	if errors.As(err, &inner) && inner.Field != "" {
		location, t = location+"."+inner.Field, inner.Type
	} else if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name, _ = strconv.Unquote(name)
		return wrong(location+"."+name, "unknown-member")
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch k := t.Kind(); {
	case t == reflect.TypeFor[gateway.Time]() || t == reflect.TypeFor[time.Time]():
		return wrong(location, "must-time")
	case k == reflect.String:
		return wrong(location, "must-string")
	case k == reflect.Bool:
		return wrong(location, "must-bool")
	case k == reflect.Slice:
		return wrong(location, "must-array")
	case k == reflect.Struct || k == reflect.Map:
		return wrong(location, "must-object")
	}
	return wrong(location, "must-number")
}

// oneOf says what is wrong with a text that must be one of some; "" passes.
func oneOf[T ~string](location string, v T, of ...T) []field {
	if v == "" || slices.Contains(of, v) {
		return nil
	}
	names := make([]string, len(of))
	for i, o := range of {
		names[i] = string(o)
	}
	return []field{wrong(location, "must-one-of", strings.Join(names, ", "))}
}
