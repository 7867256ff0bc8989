package door

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// However a stream comes in, what is hidden never comes out, and all else does.
func TestHide(t *testing.T) {
	const token = "ababac"
	for range 2000 {
		var in strings.Builder
		for range rand.N(12) {
			in.WriteString([]string{token, "ab", "aba", "x", "ababab", "c", strings.Repeat("-", rand.N(40))}[rand.N(7)])
		}
		want := strings.ReplaceAll(in.String(), token, "******")
		body := io.Reader(strings.NewReader(in.String()))
		switch rand.N(3) {
		case 0:
			body = iotest.OneByteReader(body)
		case 1:
			body = iotest.DataErrReader(iotest.HalfReader(body))
		}
		res := &http.Response{Header: http.Header{"Location": {"/?access_token=" + token}}, Body: io.NopCloser(body)}
		hide(res, token)
		got, err := io.ReadAll(res.Body)
		if err != nil || string(got) != want || res.Header.Get("Location") != "/?access_token=******" {
			t.Fatalf("%q gave %q, want %q: %v", in.String(), got, want, err)
		}
	}
	large := bytes.Repeat([]byte("ababa"), 1<<18) // a beginning everywhere
	res := &http.Response{Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(large))}
	hide(res, token)
	if got, err := io.ReadAll(res.Body); err != nil || !bytes.Equal(got, large) {
		t.Errorf("%d bytes of %d: %v", len(got), len(large), err)
	}
}
