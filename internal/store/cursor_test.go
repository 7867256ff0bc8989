package store

import "testing"

// A cursor is what the store has given out, to the byte, or it is refused: whatever is
// read is written the same again.
func FuzzCursor(f *testing.F) {
	for _, text := range []string{"", "0", "1", "9223372036854775807", "9223372036854775808", "-1", "+1", "01", " 1", "1.2", "1.", ".2", "0.0", "1.2.3", "1.-2", "１", "1\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const otherwise = 7
		n, err := parseCursor(text, otherwise)
		switch {
		case err != nil && (n != 0 || err != ErrCursor):
			t.Errorf("%q: %d, %v", text, n, err)
		case err == nil && n < 0, err == nil && text != "" && formatCursor(n) != text, text == "" && n != otherwise:
			t.Errorf("%q was read as %d", text, n)
		}
		p, err := parsePosition(text)
		switch {
		case err != nil && err != ErrCursor:
			t.Errorf("%q: %v", text, err)
		case err == nil && (p.last < 0 || p.id < 0), err == nil && text != "" && p.String() != text, text == "" && p != position{newest, newest}:
			t.Errorf("%q was read as %v", text, p)
		}
	})
}
