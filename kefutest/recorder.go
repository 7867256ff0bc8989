package kefutest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"
)

// A recorder keeps what a handler answers in process.
type recorder struct {
	header http.Header
	sent   http.Header // as it was at the first write
	status int
	body   bytes.Buffer
	most   int // of the body; what comes above is not kept. 0: no limit
}

func newRecorder() *recorder { return &recorder{header: http.Header{}} }

// Header implements [http.ResponseWriter].
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status, r.sent = status, r.header.Clone()
	}
}

// Write implements [io.Writer].
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if keep := r.most - r.body.Len(); r.most > 0 && keep < len(b) {
		r.body.Write(b[:max(keep, 0)])
	} else {
		r.body.Write(b)
	}
	return len(b), nil
}

// response is the answer as a client sees it.
func (r *recorder) response(req *http.Request) *http.Response {
	r.WriteHeader(http.StatusOK)
	if r.sent.Get("Date") == "" {
		r.sent.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	return &http.Response{
		Status:     fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)),
		StatusCode: r.status,
		Proto:      "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        r.sent,
		Body:          io.NopCloser(&r.body),
		ContentLength: int64(r.body.Len()),
		Request:       req,
	}
}
