package door

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// hide has an answer that repeats the real token, as an error page repeats a URL, show as
// many asterisks in its place: the caller has a token of its own.
func hide(res *http.Response, token string) {
	if token == "" {
		return
	}
	mask := strings.Repeat("*", len(token))
	for _, values := range res.Header {
		for i, v := range values {
			values[i] = strings.ReplaceAll(v, token, mask)
		}
	}
	res.Body = &hiding{ReadCloser: res.Body, find: []byte(token), mask: []byte(mask)}
}

// hiding is a stream in which something is hidden, without a change of its length.
type hiding struct {
	io.ReadCloser
	find, mask []byte
	buf        []byte // read and not yet handed on
	ready      int    // bytes of it that can be
	chunk      []byte
	err        error
}

func (h *hiding) Read(p []byte) (int, error) {
	for h.ready == 0 {
		if h.err != nil {
			return 0, h.err
		}
		if h.chunk == nil {
			h.chunk = make([]byte, 16<<10)
		}
		var n int
		n, h.err = h.ReadCloser.Read(h.chunk)
		h.buf = append(h.buf, h.chunk[:n]...)
		for rest := h.buf; ; {
			i := bytes.Index(rest, h.find)
			if i < 0 {
				break
			}
			copy(rest[i:], h.mask)
			rest = rest[i+len(h.find):]
		}
		if h.ready = len(h.buf); h.err == nil {
			h.ready -= h.begun()
		}
	}
	n := copy(p, h.buf[:h.ready])
	h.ready -= n
	if h.buf = h.buf[n:]; len(h.buf) == 0 {
		h.buf = nil
	}
	return n, nil
}

// begun is how many bytes at the end may be the beginning of what is to be hidden.
func (h *hiding) begun() int {
	for n := min(len(h.find)-1, len(h.buf)); n > 0; n-- {
		if bytes.HasSuffix(h.buf, h.find[:n]) {
			return n
		}
	}
	return 0
}
