package kefutest_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu/kefutest"
)

type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, open := <-p
	if !open {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A caller who brings no body, or takes no answer, is not waited for for ever, whatever
// serves the simulator.
func TestCallersWhoStandStill(t *testing.T) {
	for _, call := range []string{
		"GET /\r\nContent-Length: 1000", "POST /cgi-bin/none\r\nContent-Length: 1000", "GET /_sim/none\r\nContent-Length: 1000", "GET /", "GET /cgi-bin/none", "GET /_sim/events",
	} {
		t.Run(call, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := kefutest.New(kefutest.DefaultAccount)
				defer w.Close()
				p := make(pipes)
				server := &http.Server{Handler: w.Handler(), IdleTimeout: time.Minute}
				go server.Serve(p)
				here, there := net.Pipe()
				p <- there
				line, header, more := strings.Cut(call, "\r\n")
				if more {
					header += "\r\n"
				}
				go io.WriteString(here, line+" HTTP/1.1\r\nHost: sim\r\n"+header+"\r\n")
				time.Sleep(10 * time.Minute)
				here.SetReadDeadline(time.Now().Add(time.Hour))
				if _, err := http.ReadResponse(bufio.NewReader(here), nil); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the connection is still there: %v", err)
				}
				here.Close()
				close(p)
				server.Close()
				time.Sleep(2 * time.Second) // net/http lingers a little
			})
		})
	}
}
