package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// json writes v to stdout as one line.
func (p *program) json(v any) error {
	b, err := encode(v)
	if err == nil {
		_, err = p.stdout.Write(inertJSON(b))
	}
	if err != nil {
		return &failure{code: exitFailed, what: text{"can't write the answer", "无法输出结果"}, cause: err}
	}
	return nil
}

// inert is foreign text for a terminal: what is no visible character is shown as its
// escape, so that it can't move the cursor, colour, or turn the line round.
func inert(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case visible(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
	}
	return b.String()
}

// inertJSON is the same JSON with what is no visible character escaped.
func inertJSON(b []byte) []byte {
	if !bytes.ContainsFunc(b, func(r rune) bool { return r != '\n' && !visible(r) }) {
		return b
	}
	out := make([]byte, 0, len(b)+16)
	for _, r := range string(b) {
		if r == '\n' || visible(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, "\\u%04x", unit)
		}
	}
	return out
}

// visible: also the joiner, without which some emoji fall apart.
func visible(r rune) bool { return unicode.IsPrint(r) || r == '\u200d' }

// encode is v as one line of JSON, with <, > and & as themselves.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// A list is the contract's shape of every listing.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"` // always empty: these lists are whole
}

// table lays out rows in columns, foreign text made harmless. Text in Chinese belongs in the last one: its
// width can't be told.
func table(w io.Writer, rows func(row func(cells ...any))) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	rows(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, inert(fmt.Sprint(c)))
		}
		fmt.Fprintln(tw)
	})
	return tw.Flush()
}

const (
	red   = "31"
	green = "32"
)

// paint colours s if w is a terminal and NO_COLOR does not forbid it.
func (p *program) paint(w io.Writer, colour, s string) string {
	if p.env["NO_COLOR"] != "" || p.env["TERM"] == "dumb" || !isTerminal(w) {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull) // a device, too
	return err != nil || !os.SameFile(info, null)
}
