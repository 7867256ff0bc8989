package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

func TestPaint(t *testing.T) {
	device, err := os.Open("/dev/zero") // a character device, as a terminal is
	if err != nil {
		t.Skip("there is no such device here")
	}
	defer device.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, tt := range []struct {
		name string
		env  map[string]string
		w    io.Writer
		want string
	}{
		{"terminal", nil, device, "\x1b[31mx\x1b[0m"},
		{"NO_COLOR", map[string]string{"NO_COLOR": "1"}, device, "x"},
		{"dumb terminal", map[string]string{"TERM": "dumb"}, device, "x"},
		{"/dev/null", nil, null, "x"},
		{"pipe or file", nil, &bytes.Buffer{}, "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := (&program{env: tt.env}).paint(tt.w, red, "x"); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Foreign text can't do anything to a terminal, and JSON stays the same JSON.
func TestInert(t *testing.T) {
	for _, tt := range []struct{ name, foreign, want string }{
		{"text stays", "你好 <b> \"x\" & 👩‍💻 é", "你好 <b> \"x\" & 👩‍💻 é"},
		{"escape", "\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"bell, backspace, carriage return", "a\a\b\rb", `a\a\b\rb`},
		{"line feed ends no line", "a\nb", `a\nb`},
		{"C1 control", "\u009b31m", `\u009b31m`},
		{"right to left override", "\u202egpj.exe", `\u202egpj.exe`},
		{"line separator", "a\u2028b", `a\u2028b`},
		{"invisible tag", "\U000e0041", `\U000e0041`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := inert(tt.foreign); got != tt.want {
				t.Errorf("inert: %q, want %q", got, tt.want)
			}
			var out bytes.Buffer
			if err := (&program{stdout: &out}).json(tt.foreign); err != nil {
				t.Fatal(err)
			}
			if strings.ContainsFunc(strings.TrimSuffix(out.String(), "\n"), func(r rune) bool { return !visible(r) }) {
				t.Errorf("json: %q", &out)
			}
			var back string
			if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != tt.foreign {
				t.Errorf("json comes back as %q (%v)", back, err)
			}
		})
	}
}

// A line of the feed is one line, whatever a follower has written.
func TestFeedLine(t *testing.T) {
	e := gateway.FeedEntry{Type: "follower.message", Account: "wx1", OpenID: "o1\x1b[2J", At: gateway.At(time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC))}
	e.Data = []byte(`{"msgtype":"text","push":{"MsgType":"text","Content":"hi\u001b]0;title\u0007\nsecond\u202e"}}`)
	want := `2026-01-02T15:04:05Z follower.message wx1 o1\x1b[2J hi\x1b]0;title\a\nsecond\u202e`
	if got := feedLine(e); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
