package kefu

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Message is one customer-service message: who receives it, what it says, and
// who signs it. Its JSON is WeChat's own, in both directions.
type Message struct {
	To         string // openid of the follower
	Body       Body   // Text, Image, News, …; never nil
	KFAccount  string // optional: signed by this kf account, "name@wechat-id"
	AI         bool   // adds WeChat's grey line that the content was made by AI
	BusinessID string // optional sub-merchant; ordinary accounts leave it out
	Extra      Extra
}

// Extra holds the JSON members that the fields beside it can't express: unknown
// ones, and known ones with a value that a field has no room for, such as an
// explicit empty string. They are sent along; a field that is set replaces the
// Extra of its name.
type Extra map[string]json.RawMessage

// walk visits the envelope; the body is in the middle of it. (Check visits the
// two with limits of their own.)
func (m *Message) walk(c *codec) {
	c.begin(m.Extra)
	c.text("touser", &m.To, always)
	if c.mode != checking {
		m.walkBody(c)
	}
	c.object("customservice", m.KFAccount != "", func(c *codec) { c.text("kf_account", &m.KFAccount, present) })
	c.object("aimsgcontext", m.AI, func(c *codec) { c.flag("is_ai_msg", &m.AI) })
	if c.mode != reading || bytes.HasPrefix(c.in["businessid"], []byte{'"'}) { // a number stays in Extra
		c.text("businessid", &m.BusinessID, present)
	}
	c.end(&m.Extra)
}

func (m *Message) walkBody(c *codec) {
	outer := c.frame
	switch c.mode {
	case writing:
		if m.Body == nil {
			return
		}
		msgtype := m.Body.MsgType()
		c.text("msgtype", &msgtype, always)
		if raw, ok := rawBody(m.Body); ok {
			if len(raw.JSON) > 0 {
				c.key(msgtype)
				c.out = append(c.out, raw.JSON...)
			}
			return
		}
		c.key(msgtype)
		outer = c.frame
		c.frame = frame{}
		c.out = append(c.out, '{')
		m.Body.visit(c)
		c.out = append(c.out, '}')
	case reading:
		var msgtype string
		c.text("msgtype", &msgtype, always)
		raw, ok := c.in[msgtype]
		if msgtype == "" {
			return
		}
		delete(c.in, msgtype)
		read := decoders[msgtype]
		if read == nil {
			m.Body = Raw{Type: msgtype, JSON: raw}
			return
		}
		in := members(raw)
		if ok && in == nil {
			c.wrongType(msgtype, "an object", "对象", raw)
			return
		}
		c.frame = c.inside(msgtype, -1)
		c.in = in
		m.Body = read(c)
	case checking:
		if m.Body == nil {
			return
		}
		c.frame = c.inside(m.Body.MsgType(), -1)
		c.field = "" // the limits name a body's fields without its kind
		m.Body.visit(c)
	}
	c.frame = outer
}

func rawBody(b Body) (Raw, bool) {
	switch b := b.(type) {
	case Raw:
		return b, true
	case *Raw:
		return *b, true
	}
	return Raw{}, false
}

// AppendJSON appends m as it goes to WeChat: UTF-8 with &, <, > and Chinese as
// themselves, the envelope's members first, Extra last.
func (m Message) AppendJSON(b []byte) []byte { return m.write(new(codec), b) }

func (m *Message) write(c *codec, b []byte) []byte {
	c.mode, c.frame, c.out = writing, frame{}, append(b, '{')
	m.walk(c)
	return append(c.out, '}')
}

// MarshalJSON is [Message.AppendJSON]. Note that json.Marshal then escapes &, <
// and > again; an encoder with SetEscapeHTML(false) does not.
func (m Message) MarshalJSON() ([]byte, error) { return m.AppendJSON(nil), nil }

// UnmarshalJSON reads WeChat's JSON. Values of a wrong type are an
// [*InvalidError] that names them; what WeChat would refuse is not: see
// [Message.Check].
func (m *Message) UnmarshalJSON(data []byte) error {
	in := members(data)
	if in == nil {
		return &InvalidError{[]Violation{{Location: "message", Rule: "type", Code: 47001, Source: "WeChat's JSON samples",
			Message: "must be an object, is " + excerpt(data), Zh: "应为对象，实为 " + excerpt(data)}}}
	}
	*m = Message{}
	c := codec{mode: reading, place: []byte("message."), frame: frame{at: len("message."), in: in}}
	m.walk(&c)
	if c.found != nil {
		return &InvalidError{c.found}
	}
	return nil
}

// A SyntaxError is text that is not JSON; WeChat answers such a body with 47001.
type SyntaxError struct {
	Line, Column int // from 1; Column counts characters
	Err          error
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("not JSON at line %d, column %d: %v", e.Line, e.Column, e.Err)
}

// Unwrap returns [ErrBadRequest] and the cause.
func (e *SyntaxError) Unwrap() []error { return []error{ErrBadRequest, e.Err} }

// ParseMessage reads WeChat's JSON of one message. Its errors are a
// [*SyntaxError] with the place, or an [*InvalidError].
func ParseMessage(data []byte) (Message, error) {
	var m Message
	var any json.RawMessage
	data = bytes.TrimPrefix(data, []byte("\uFEFF")) // as Windows editors write it
	if !utf8.Valid(data) {                          // which encoding/json would mend without a word
		return m, notUTF8(data)
	}
	if err := json.Unmarshal(data, &any); err != nil {
		return m, syntaxError(data, err)
	}
	err := m.UnmarshalJSON(data)
	return m, err
}

func notUTF8(data []byte) error {
	at := 0
	for {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n <= 1 {
			return placed(data[:at], errors.New("not UTF-8; is it GBK?"))
		}
		at += n
	}
}

func syntaxError(data []byte, err error) error {
	end := len(data)
	var s *json.SyntaxError
	if errors.As(err, &s) && s.Offset > 0 {
		end = min(end, int(s.Offset)-1)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		err = errors.New("it is empty")
	} else if rest := data[end:]; len(rest) > 0 && (rest[0] == '}' || rest[0] == ']') && bytes.HasSuffix(bytes.TrimSpace(data[:end]), []byte(",")) {
		err = fmt.Errorf("a comma with nothing after it: %w", err)
	}
	return placed(data[:end], err)
}

// placed is an error right behind what was read.
func placed(before []byte, err error) error {
	line := bytes.LastIndexByte(before, '\n') + 1
	return &SyntaxError{
		Line: bytes.Count(before, []byte{'\n'}) + 1, Column: utf8.RuneCount(before[line:]) + 1, Err: err,
	}
}

// String shows m for people: kind, receiver (shortened), signer, and the start
// of the body.
func (m Message) String() string {
	if m.Body == nil {
		return "message to " + shortOpenID(m.To) + " without a body"
	}
	c := codec{}
	if raw, ok := rawBody(m.Body); ok {
		c.out = raw.JSON
	} else {
		m.Body.visit(&c)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s", oneLine(m.Body.MsgType()), shortOpenID(m.To))
	if m.KFAccount != "" {
		fmt.Fprintf(&b, " from %s", oneLine(m.KFAccount))
	}
	const most = 160
	text := string(c.out)
	if len(text) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return b.String() + ": " + text
}

// shortOpenID is an openid as it may stand in a log: enough to recognise one's
// own, too little to use.
func shortOpenID(id string) string {
	if len(id) <= 10 || !utf8.ValidString(id) {
		return oneLine(id[:min(len(id), 10)])
	}
	return oneLine(id[:4] + "…" + id[len(id)-4:])
}

// oneLine is foreign text that can't break out of its line.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return '\uFFFD'
		}
		return r
	}, s)
}
