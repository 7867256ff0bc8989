package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
)

// json writes v to stdout as one line.
func (p *program) json(v any) error {
	b, err := encode(v)
	if err == nil {
		_, err = p.stdout.Write(b)
	}
	if err != nil {
		return &failure{code: exitFailed, what: text{"can't write the answer", "无法输出结果"}, cause: err}
	}
	return nil
}

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

// table lays out rows in columns. Text in Chinese belongs in the last one: its
// width can't be told.
func table(w io.Writer, rows func(row func(cells ...any))) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	rows(func(cells ...any) {
		for i, c := range cells {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, c)
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
