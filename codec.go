package kefu

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
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
	place  []byte      // the names of the objects around, "message.news.articles[0]."
}

type codecMode byte

const (
	writing codecMode = iota
	reading
	checking
)

// A frame is what belongs to one object of the JSON.
type frame struct {
	at    int                        // how much of place is before its members' names
	field string                     // its name, as the limits know it: "articles"
	comma bool                       // writing: a member is out already
	extra Extra                      // writing: members without a field
	wrote []string                   // writing: those of extra that a field replaced
	in    map[string]json.RawMessage // reading: members that no field took yet
}

// When a member is written: always, or only if it is not empty.
const (
	always  = true
	present = false
)

// begin opens an object that has e besides its members. (It gets the map and not
// its address, so that the bodies need not live on the heap.)
func (c *codec) begin(e Extra) { c.extra = e }

// end closes the object with what no member has written, or keeps in e what none
// has read.
func (c *codec) end(e *Extra) {
	switch {
	case c.mode == writing && len(c.extra) > 0:
		for _, k := range slices.Sorted(maps.Keys(c.extra)) {
			if !slices.Contains(c.wrote, k) {
				c.key(k)
				c.out = append(c.out, c.extra[k]...)
			}
		}
	case c.mode == reading && len(c.in) > 0:
		*e = c.in
	case c.mode == checking && len(c.extra) > 0:
		for _, k := range slices.Sorted(maps.Keys(c.extra)) {
			if !json.Valid(c.extra[k]) {
				c.found = append(c.found, Violation{Location: c.location(k), Rule: "type", Code: 47001, Source: "RFC 8259",
					Message: "in Extra is not JSON", Zh: "在 Extra 中，不是 JSON"})
			}
		}
	}
}

// inside is the frame of the object that is the member key, or entry i of it.
func (c *codec) inside(key string, i int) frame {
	c.place = append(append(c.place[:c.at], key...), '.')
	if i >= 0 {
		c.place = append(strconv.AppendInt(append(c.place[:len(c.place)-1], '['), int64(i), 10), "]."...)
	}
	return frame{at: len(c.place), field: key}
}

func (c *codec) location(key string) string { return string(c.place[:c.at]) + key }

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
	_, ok := c.extra[k]
	return ok
}

// text visits a member with a string value.
func (c *codec) text(key string, v *string, always bool) {
	switch c.mode {
	case writing:
		if *v != "" || always && !c.hasExtra(key) {
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
		if *v = s; s != "" || always {
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
			c.frame = outer
			c.frame = c.inside(key, i)
			if c.in = members(item); c.in == nil {
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
			c.frame = outer
			c.frame = c.inside(key, i)
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
		var rest Extra
		if c.hasExtra(key) {
			rest = members(c.extra[key])
			if rest == nil && !set { // not an object: as it came
				return
			}
		} else if !set {
			return
		}
		c.key(key)
		outer = c.frame
		c.frame = frame{extra: rest}
		c.out = append(c.out, '{')
		walk(c)
		c.end(nil)
		c.out = append(c.out, '}')
	case reading:
		in := members(c.in[key])
		if in == nil {
			return
		}
		c.frame = c.inside(key, -1)
		c.in = in
		walk(c)
		if delete(outer.in, key); len(in) > 0 {
			outer.in[key] = appendMembers(nil, in)
		}
	case checking:
		c.frame = c.inside(key, -1)
		walk(c)
	}
	c.frame = outer
}

func (c *codec) wrongType(key, en, zh string, raw json.RawMessage) {
	c.found = append(c.found, Violation{
		Location: c.location(key), Rule: "type", Code: 47001, Source: "WeChat's JSON samples",
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
	c.begin(e)
	c.end(nil)
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
