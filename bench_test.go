package kefu_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
)

// Each benchmark has its floor beside it: http.Client.Post of bytes that are
// ready, with the answer read and thrown away. State results as the ratio of the
// two from one run, on a quiet machine, several counts:
//
//	go test -run '^$' -bench Send -count 6 -benchmem .

var okBody = []byte(`{"errcode":0,"errmsg":"ok"}`)

// inProcess answers at once, without a socket or an allocation: what is left is
// the client's own code. Not for concurrent use.
type inProcess struct {
	body bytes.Reader
	res  http.Response
}

var noHeader = http.Header{}

func (p *inProcess) Read(b []byte) (int, error) { return p.body.Read(b) }
func (p *inProcess) Close() error               { return nil }

func (p *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	r.Body.Close()
	p.body.Reset(okBody)
	p.res = http.Response{StatusCode: 200, Header: noHeader, Body: p} // anew: http.Client wraps the body
	return &p.res, nil
}

var benchMessage = kefu.Message{To: "oABCD1234567890abcdefghijklm", Body: kefu.Text{Content: strings.Repeat("您好，您的订单已发货 ", 10)}}

func benchClient(rt http.RoundTripper, base string) *kefu.Client {
	return &kefu.Client{
		Tokens: kefu.CachedToken(source{}), BaseURL: base, HTTP: &http.Client{Transport: rt, Timeout: 10 * time.Second},
	}
}

func floor(b *testing.B, rt http.RoundTripper, base string, parallel int) {
	body := benchMessage.AppendJSON(nil)
	c := &http.Client{Transport: rt, Timeout: 10 * time.Second}
	url := base + "/cgi-bin/message/custom/send?access_token=" + strings.Repeat("T", 157)
	run(b, parallel, func() error {
		res, err := c.Post(url, "application/json", bytes.NewReader(body))
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		return err
	})
}

func send(b *testing.B, rt http.RoundTripper, base string, parallel int) {
	c := benchClient(rt, base)
	run(b, parallel, func() error {
		_, err := c.Send(b.Context(), benchMessage)
		return err
	})
}

func run(b *testing.B, parallel int, post func() error) {
	b.ReportAllocs()
	if parallel == 1 {
		for b.Loop() {
			if err := post(); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.SetParallelism(parallel / 2) // of two cores
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := post(); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkSendClientOnly(b *testing.B) {
	b.Run("floor", func(b *testing.B) { floor(b, new(inProcess), "http://wechat", 1) })
	b.Run("kefu", func(b *testing.B) { send(b, new(inProcess), "http://wechat", 1) })
}

func BenchmarkSendLoopback(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(okBody)
	}))
	defer s.Close()
	t := &http.Transport{MaxIdleConnsPerHost: 256}
	defer t.CloseIdleConnections()
	for _, n := range []struct {
		name     string
		parallel int
	}{{"16", 16}, {"64", 64}} {
		b.Run(n.name+"/floor", func(b *testing.B) { floor(b, t, s.URL, n.parallel) })
		b.Run(n.name+"/kefu", func(b *testing.B) { send(b, t, s.URL, n.parallel) })
	}
}

func BenchmarkMessageJSON(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 1024)
	for b.Loop() {
		buf = benchMessage.AppendJSON(buf[:0])
	}
}

func BenchmarkParseMessage(b *testing.B) {
	b.ReportAllocs()
	in := benchMessage.AppendJSON(nil)
	for b.Loop() {
		if _, err := kefu.ParseMessage(in); err != nil {
			b.Fatal(err)
		}
	}
}

// source is a token that lives long.
type source struct{}

func (source) Token(context.Context) (kefu.Token, error) {
	return kefu.Token{Value: kefu.Secret(strings.Repeat("T", 157)), Expiry: time.Now().Add(2 * time.Hour)}, nil
}
