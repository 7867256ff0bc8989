package dispatch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/store"
)

// accepting is a WeChat that accepts at once and counts.
type accepting struct{ posts atomic.Int64 }

func (a *accepting) RoundTrip(r *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, r.Body)
	a.posts.Add(1)
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"errcode":0,"errmsg":"ok"}`))}, nil
}

// BenchmarkDeliver is a message's whole way but for HTTP: kept, begun, posted,
// finished, from 64 producers to 1,000 followers, each commit with fsync.
func BenchmarkDeliver(b *testing.B) {
	ctx := context.Background()
	s, err := store.Open(ctx, filepath.Join(b.TempDir(), "kefu.db"), store.Options{SecretKey: "0123456789abcdef0123456789abcdef"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.PutAccount(ctx, time.Now(), gateway.Account{AppID: appid, Secret: "x"}.WithDefaults()); err != nil {
		b.Fatal(err)
	}
	wechat := &accepting{}
	d, err := dispatch.Start(ctx, dispatch.Config{
		Store: s, HTTP: &http.Client{Transport: wechat}, Log: slog.New(slog.DiscardHandler),
		Tokens: func(gateway.Account) kefu.TokenSource { return kefu.StaticToken("T") },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Stop()
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				openid := fmt.Sprintf("oFollower%04d", i%1000)
				out := d.Accept(ctx, []gateway.Submission{{
					Account: appid, OpenID: openid, MsgType: "text", WhenClosed: gateway.Try, OnUnknown: gateway.Hold,
					Priority: gateway.Normal, Source: gateway.FromAPI,
					Message: json.RawMessage(fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"您好，您的订单已发货"}}`, openid)),
				}})
				if out[0].Err != nil {
					b.Error(out[0].Err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "accepted/s")
	for wechat.posts.Load() < int64(b.N) {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
