package server

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// A quick engine keeps nothing, so that what is measured is the server.
type quick struct{ *world }

func (quick) Accept(_ context.Context, s []gateway.Submission) []gateway.Accepted {
	out := make([]gateway.Accepted, len(s))
	for i, s := range s {
		out[i].Message = gateway.Message{ID: "msg_1", Account: s.Account, OpenID: s.OpenID, MsgType: s.MsgType, Message: s.Message, State: gateway.Queued, Window: &gateway.Window{}}
	}
	return out
}

// BenchmarkPost is what one POST /v1/messages costs without net/http and the store.
func BenchmarkPost(b *testing.B) {
	w := newWorld(b)
	w.Engine, w.Log = quick{w}, slog.New(slog.DiscardHandler)
	h := w.Handler()
	for _, key := range []string{"", "k"} {
		b.Run(map[string]string{"": "plain", "k": "idempotent"}[key], func(b *testing.B) {
			body := textTo("oFollower", strings.Repeat("你好", 40))
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("POST", "/v1/messages", strings.NewReader(body))
				r.Header.Set("Authorization", "Bearer "+shopKey)
				r.Header.Set("Content-Type", "application/json")
				if key != "" {
					r.Header.Set("Idempotency-Key", key)
				}
				h.ServeHTTP(&sink{header: http.Header{}}, r)
			}
		})
	}
}

type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(b []byte) (int, error) { return io.Discard.Write(b) }
func (s *sink) WriteHeader(int)             {}
