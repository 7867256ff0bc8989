package main

import (
	"bytes"
	"io"
	"os"
	"testing"
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
