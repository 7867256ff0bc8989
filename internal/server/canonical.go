package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// canonical returns the RFC 8785 form of a JSON text, in which equal values are
// equal bytes: no space, members in order of their names' UTF-16, strings with the
// fewest escapes, numbers as ECMAScript writes the nearest double. A member of an
// outermost object that is named in without is left out. Errors: not one JSON value,
// or a number beyond a double.
func canonical(text []byte, without ...string) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one JSON value")
	}
	if m, ok := v.(map[string]any); ok {
		for _, name := range without {
			delete(m, name)
		}
	}
	return appendCanonical(make([]byte, 0, len(text)), v)
}

func appendCanonical(b []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return nil, fmt.Errorf("the number %.40s is beyond a double", v)
		}
		return appendNumber(b, f), nil
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			if b, err = appendCanonical(b, e); err != nil {
				return nil, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		b = append(b, '{')
		for i, name := range slices.SortedFunc(maps.Keys(v), compareUTF16) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, name), ':')
			if b, err = appendCanonical(b, v[name]); err != nil {
				return nil, err
			}
		}
		return append(b, '}'), nil
	}
	panic(fmt.Sprintf("json made a %T", v))
}

// compareUTF16 orders texts by their UTF-16 code units, in which characters above
// U+FFFF come before those from U+E000 on.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		r, n := utf8.DecodeRuneInString(a)
		q, m := utf8.DecodeRuneInString(b)
		if r != q {
			r1, r2 := units(r)
			q1, q2 := units(q)
			return cmp.Or(cmp.Compare(r1, q1), cmp.Compare(r2, q2))
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(len(a), len(b))
}

func units(r rune) (rune, rune) {
	if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
		return hi, lo
	}
	return r, 0
}

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch ch := s[i]; ch {
		case '"', '\\':
			b = append(b, '\\', ch)
		case '\b':
			b = append(b, '\\', 'b')
		case '\t':
			b = append(b, '\\', 't')
		case '\n':
			b = append(b, '\\', 'n')
		case '\f':
			b = append(b, '\\', 'f')
		case '\r':
			b = append(b, '\\', 'r')
		default:
			if ch < 0x20 {
				b = fmt.Appendf(b, `\u%04x`, ch)
			} else {
				b = append(b, ch)
			}
		}
	}
	return append(b, '"')
}

// appendNumber is ECMAScript's Number::toString: plain between 1e-6 and 1e21, else
// with an exponent that has a sign and no zeros before it.
func appendNumber(b []byte, f float64) []byte {
	if f == 0 {
		return append(b, '0') // -0 too
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64)
	}
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	if n := len(b); n >= 4 && b[n-2] == '0' && (b[n-3] == '-' || b[n-3] == '+') { // e-07
		b = append(b[:n-2], b[n-1])
	}
	return b
}
