package door_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/door"
	"github.com/kefu-go/kefu/internal/store"
)

// What the door adds to a call that is passed through, over a bare reverse proxy in the
// same run: calls in turn, over loopback, the median of each.
func BenchmarkPass(b *testing.B) {
	wechat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"kf_list":[]}`)
	}))
	defer wechat.Close()
	s, err := store.Open(b.Context(), filepath.Join(b.TempDir(), "kefu.db"), store.Options{SecretKey: "0123456789abcdef0123456789abcdef"})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if err := s.PutAccount(b.Context(), time.Now(), gateway.Account{AppID: appid, Secret: "s"}.WithDefaults()); err != nil {
		b.Fatal(err)
	}
	if _, err := s.PutKey(b.Context(), time.Now(), gateway.Key{Role: gateway.Door, Key: doorKey}); err != nil {
		b.Fatal(err)
	}
	d, err := door.New(door.Config{
		Engine: nobody{}, Store: shelf{s}, Compose: compose, Secret: make([]byte, 32), BaseURL: wechat.URL, Log: slog.New(slog.DiscardHandler),
		Tokens: func(string) kefu.TokenSource { return kefu.StaticToken("real") },
	})
	if err != nil {
		b.Fatal(err)
	}
	to, _ := url.Parse(wechat.URL)
	floor := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }})
	defer floor.Close()
	top := httptest.NewServer(d)
	defer top.Close()
	res, err := http.Get(top.URL + "/cgi-bin/token?grant_type=client_credential&appid=" + appid + "&secret=" + doorKey)
	if err != nil {
		b.Fatal(err)
	}
	var token string
	text, _ := io.ReadAll(res.Body)
	res.Body.Close()
	fmt.Sscanf(string(text), `{"access_token":%q`, &token)
	call := func(base string) time.Duration {
		began := time.Now()
		res, err := http.Get(base + "/cgi-bin/customservice/getkflist?access_token=" + token)
		if err != nil {
			b.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if string(text) != `{"kf_list":[]}` {
			b.Fatal(string(text))
		}
		return time.Since(began)
	}
	var bare, through []time.Duration
	for b.Loop() {
		bare, through = append(bare, call(floor.URL)), append(through, call(top.URL))
	}
	slices.Sort(bare)
	slices.Sort(through)
	x, y := bare[len(bare)/2], through[len(through)/2]
	b.ReportMetric(float64(x.Microseconds()), "bare-p50-µs")
	b.ReportMetric(float64(y.Microseconds()), "door-p50-µs")
	b.ReportMetric(float64((y - x).Microseconds()), "added-p50-µs")
}

// nobody is an engine that nothing reaches.
type nobody struct{}

var errNobody = errors.New("nobody")

func (nobody) Accept(context.Context, []gateway.Submission) []gateway.Accepted { return nil }
func (nobody) Await(context.Context, string) (gateway.Message, error) {
	return gateway.Message{}, errNobody
}
func (nobody) Withdraw(context.Context, string) (gateway.Message, error) {
	return gateway.Message{}, errNobody
}
func (nobody) Typing(context.Context, string, string, bool) error { return errNobody }
