package kefu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Every body lists its members once, in its walk; the codec that it is handed
// writes them as JSON, reads them from JSON, or holds them against the limits.
// Writing only appends: it allocates nothing unless there are Extra members.
type codec struct {
	mode  codecMode
	frame // the object being visited

	out    []byte      // writing: the JSON so far
	limits []Limit     // checking: the rows of this msgtype
	found  []Violation // checking: what breaks them; reading: wrong types
}

type codecMode byte

const (
	writing codecMode = iota
	reading
	checking
)

// A frame is what belongs to one object of the JSON.
type frame struct {
	path  string                     // before its members' names: "message.news.articles[0]."
	field string                     // the same as the limits name it: "articles."
	comma bool                       // writing: a member is out already
	extra *Extra                     // where members without a field stay
	wrote []string                   // writing: those of extra that a field replaced
	in    map[string]json.RawMessage // reading: members that no field took yet
}

// When a member is written: always, or only if it is not empty.
const (
	always  = true
	present = false
)

// begin opens the object's members; end closes them with those of e.
func (c *codec) begin(e *Extra) { c.extra = e }

func (c *codec) end() {
	switch c.mode {
	case writing:
		for _, k := range slices.Sorted(maps.Keys(*c.extra)) {
			if !slices.Contains(c.wrote, k) {
				c.key(k)
				c.out = append(c.out, (*c.extra)[k]...)
			}
		}
	case reading:
		if len(c.in) > 0 {
			*c.extra = c.in
		}
	}
}

func (c *codec) key(k string) {
	if c.comma {
		c.out = append(c.out, ',')
	}
	c.comma = true
	c.out = append(appendString(c.out, k), ':')
	if c.hasExtra(k) {
		c.wrote = append(c.wrote, k)
	}
}

func (c *codec) hasExtra(k string) bool {
	if c.extra == nil || len(*c.extra) == 0 {
		return false
	}
	_, ok := (*c.extra)[k]
	return ok
}

// text visits a member with a string value.
func (c *codec) text(key string, v *string, when bool) {
	switch c.mode {
	case writing:
		if *v != "" || when == always && !c.hasExtra(key) {
			c.key(key)
			c.out = appendString(c.out, *v)
		}
	case reading:
		raw, ok := c.in[key]
		if !ok || raw[0] == 'n' { // null: as if absent, but kept
			return
		}
		var s string
		if json.Unmarshal(raw, &s) != nil {
			c.wrongType(key, "a string", "字符串", raw)
			return
		}
		if *v = s; s != "" || when == always {
			delete(c.in, key)
		}
	case checking:
		c.check(key, *v == "", len(*v), *v)
	}
}

// flag visits a member that is the number 1 or absent.
func (c *codec) flag(key string, v *bool) {
	switch {
	case c.mode == writing && *v:
		c.key(key)
		c.out = append(c.out, '1')
	case c.mode == reading && string(c.in[key]) == "1":
		*v = true
		delete(c.in, key)
	}
}

// list visits a member with an array of objects.
func list[T any](c *codec, key string, v *[]T, walk func(*T, *codec)) {
	outer := c.frame
	switch c.mode {
	case writing:
		c.key(key)
		outer = c.frame
		c.out = append(c.out, '[')
		for i := range *v {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			c.frame = frame{}
			c.out = append(c.out, '{')
			walk(&(*v)[i], c)
			c.out = append(c.out, '}')
		}
		c.out = append(c.out, ']')
	case reading:
		raw, ok := c.in[key]
		if !ok || raw[0] == 'n' {
			return
		}
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			c.wrongType(key, "an array", "数组", raw)
			return
		}
		*v = make([]T, len(items))
		for i, item := range items {
			c.frame = frame{path: fmt.Sprintf("%s%s[%d].", outer.path, key, i)}
			if c.frame.in = members(item); c.frame.in == nil {
				c.frame = outer
				c.wrongType(fmt.Sprintf("%s[%d]", key, i), "an object", "对象", item)
				continue
			}
			walk(&(*v)[i], c)
		}
		delete(outer.in, key)
	case checking:
		c.check(key, len(*v) == 0, len(*v), "")
		for i := range *v {
			c.frame = frame{path: fmt.Sprintf("%s%s[%d].", outer.path, key, i), field: outer.field + key + "."}
			walk(&(*v)[i], c)
		}
	}
	c.frame = outer
}

// object visits a member with an object value that is written when set is true
// or when Extra has something for it; its unknown members stay in Extra[key].
func (c *codec) object(key string, set bool, walk func(*codec)) {
	outer := c.frame
	switch c.mode {
	case writing:
		rest := Extra{}
		if c.hasExtra(key) {
			if rest = members((*c.extra)[key]); rest == nil && !set { // not an object: as it came
				return
			}
		} else if !set {
			return
		}
		c.key(key)
		outer = c.frame
		c.frame = frame{extra: &rest}
		c.out = append(c.out, '{')
		walk(c)
		c.end()
		c.out = append(c.out, '}')
	case reading:
		in := members(c.in[key])
		if in == nil {
			return
		}
		var rest Extra
		c.frame = frame{path: outer.path + key + ".", in: in, extra: &rest}
		walk(c)
		c.end()
		if delete(outer.in, key); len(rest) > 0 {
			outer.in[key] = appendMembers(nil, rest)
		}
	case checking:
		c.frame = frame{path: outer.path + key + ".", field: outer.field + key + "."}
		walk(c)
	}
	c.frame = outer
}

func (c *codec) wrongType(key, en, zh string, raw json.RawMessage) {
	c.found = append(c.found, Violation{
		Location: c.path + key, Rule: "type", Code: 47001, Source: "WeChat's JSON samples",
		Message: "must be " + en + ", is " + excerpt(raw), Zh: "应为" + zh + "，实为 " + excerpt(raw),
	})
}

// members splits a JSON object; it returns nil for anything else.
func members(raw json.RawMessage) map[string]json.RawMessage {
	var in map[string]json.RawMessage
	if json.Unmarshal(raw, &in) != nil {
		return nil
	}
	for k, v := range in {
		var b bytes.Buffer // the values must not alias the caller's bytes
		if json.Compact(&b, v) == nil {
			in[k] = b.Bytes()
		}
	}
	return in
}

func appendMembers(b []byte, e Extra) []byte {
	c := codec{out: append(b, '{')}
	c.begin(&e)
	c.end()
	return append(c.out, '}')
}

// appendString appends s as a JSON string. Unlike encoding/json it leaves &, <,
// > and U+2028 alone: WeChat has shown followers the escapes literally, and a
// link written with them does not become one. Bytes that are not UTF-8 become
// U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		ch := s[i]
		switch {
		case ch >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[start:i]...), "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		case ch == '"' || ch == '\\':
			b = append(append(b, s[start:i]...), '\\', ch)
			start = i + 1
		case ch < 0x20:
			b = append(b, s[start:i]...)
			switch ch {
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
			}
			start = i + 1
		}
		i++
	}
	return append(append(b, s[start:]...), '"')
}

// excerpt is the start of foreign text, for a message to a person.
func excerpt(s []byte) string {
	const most = 40
	if len(s) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		return string(s[:cut]) + "…"
	}
	return string(s)
}
