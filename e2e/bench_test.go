package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/silenceper/wechat/v2/officialaccount/message"
	"github.com/silenceper/wechat/v2/util"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/kefutest"
)

// BenchmarkKefuAgainstSilenceper sends one text with each SDK, over one transport,
// to one stub, in turns: a block of sends with one is followed by a block with the
// other, and what is reported is the median over the pairs. cpu-ratio and
// alloc-ratio are Kefu over silenceper. On loopback the stub is another process, so
// that only the client's CPU counts; in process there is no socket at all. Give it
// pairs enough:
//
//	go test -run '^$' -bench Against -benchtime 20x -count 5 .
func BenchmarkKefuAgainstSilenceper(b *testing.B) {
	for _, at := range []struct {
		name     string
		callers  int
		block    int // sends
		loopback bool
	}{
		{"in-process", 1, 5000, false},
		{"loopback-16", 16, 3200, true},
		{"loopback-64", 64, 3200, true},
	} {
		b.Run(at.name, func(b *testing.B) {
			var trip http.RoundTripper = instant{}
			if at.loopback {
				t := &http.Transport{MaxIdleConnsPerHost: 256, DialTLSContext: dialer(startStub(b))}
				defer t.CloseIdleConnections()
				trip = t
			}
			compare(b, at.callers, at.block, kefuSends(b, trip), silenceperSends(b, trip))
		})
	}
}

// compare runs both in pairs of blocks, every other pair the other way round.
func compare(b *testing.B, callers, block int, ours, theirs func() error) {
	var kefu, silenceper, ratio struct{ cpu, allocs []float64 }
	measure(b, callers, block/10, ours) // connections, tokens
	measure(b, callers, block/10, theirs)
	for i := 0; b.Loop(); i++ {
		var our, their cost
		if i%2 == 0 {
			our, their = measure(b, callers, block, ours), measure(b, callers, block, theirs)
		} else {
			their, our = measure(b, callers, block, theirs), measure(b, callers, block, ours)
		}
		kefu.cpu, kefu.allocs = append(kefu.cpu, our.cpu), append(kefu.allocs, our.allocs)
		silenceper.cpu, silenceper.allocs = append(silenceper.cpu, their.cpu), append(silenceper.allocs, their.allocs)
		ratio.cpu, ratio.allocs = append(ratio.cpu, our.cpu/their.cpu), append(ratio.allocs, our.allocs/their.allocs)
	}
	b.ReportMetric(0, "ns/op") // an op is a pair of blocks
	b.ReportMetric(median(kefu.cpu), "kefu-cpu-ns")
	b.ReportMetric(median(silenceper.cpu), "silenceper-cpu-ns")
	b.ReportMetric(median(ratio.cpu), "cpu-ratio")
	b.ReportMetric(median(kefu.allocs), "kefu-allocs")
	b.ReportMetric(median(silenceper.allocs), "silenceper-allocs")
	b.ReportMetric(median(ratio.allocs), "alloc-ratio")
}

// A cost is of one send.
type cost struct{ cpu, allocs float64 } // ns; a number

func measure(b *testing.B, callers, sends int, send func() error) cost {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := cpuTime(b)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range sends / callers {
				if err := send(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	spent := cpuTime(b) - began
	runtime.ReadMemStats(&after)
	n := float64(sends / callers * callers)
	return cost{float64(spent) / n, float64(after.Mallocs-before.Mallocs) / n}
}

// cpuTime is what this process has used so far.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

var benchText = strings.Repeat("您好，您的订单已发货 ", 10)

func kefuSends(b *testing.B, trip http.RoundTripper) func() error {
	client := &http.Client{Transport: trip, Timeout: 10 * time.Second}
	a := kefutest.DefaultAccount
	c := &kefu.Client{HTTP: client, Tokens: kefu.CachedToken(kefu.StableToken{AppID: a.AppID, Secret: a.Secret, HTTP: client})}
	m := kefu.Message{To: "oABCD1234567890abcdefghijklm", Body: kefu.Text{Content: benchText}}
	return func() error {
		_, err := c.Send(b.Context(), m)
		return err
	}
}

func silenceperSends(b *testing.B, trip http.RoundTripper) func() error {
	before := util.DefaultHTTPClient
	util.DefaultHTTPClient = &http.Client{Transport: trip, Timeout: 10 * time.Second}
	b.Cleanup(func() { util.DefaultHTTPClient = before })
	messages := official(true).GetCustomerMessageManager()
	m := message.NewCustomerTextMessage("oABCD1234567890abcdefghijklm", benchText)
	return func() error { return messages.Send(m) }
}

// What WeChat answers to a send, and to a request for a token.
const (
	okAnswer    = `{"errcode":0,"errmsg":"ok"}`
	tokenAnswer = `{"access_token":"TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT","expires_in":7200}`
)

func stubAnswer(path string) string {
	if strings.HasSuffix(path, "token") {
		return tokenAnswer
	}
	return okAnswer
}

// instant answers without a socket.
type instant struct{}

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	_, err := io.Copy(io.Discard, r.Body)
	r.Body.Close()
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(stubAnswer(r.URL.Path)))}, err
}

// stub is the other process: it says its address and answers until stdin ends.
func stub() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(l.Addr())
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, stubAnswer(r.URL.Path))
	}))
	io.Copy(io.Discard, os.Stdin)
}

func startStub(b *testing.B) (addr string) {
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "KEFU_E2E_STUB=1")
	said := newLines()
	cmd.Stdout, cmd.Stderr = said, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			b.Error(err)
		}
	})
	select {
	case line := <-said.first:
		return string(bytes.TrimSpace(line))
	case <-time.After(10 * time.Second):
		b.Fatal("the stub does not start")
	}
	panic("not reached")
}

// dialer takes every https address to addr without TLS: both SDKs keep WeChat's
// own address, and nothing has to rewrite it.
func dialer(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}
