package gateway_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// (What the client says to a gateway, and what comes back, is tested beside the
// server: internal/server/client_test.go.)

// Whatever else answers at the address is an error that says so, and no problem of
// the gateway's.
func TestNotAGateway(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		media  string
		body   string
	}{
		{"a proxy's page", 502, "text/html", "<html>Bad Gateway</html>"},
		{"a problem without a code", 404, "application/problem+json", `{"title":"x"}`},
		{"a problem that breaks off", 404, "application/problem+json", `{"code":"not-f`},
		{"a page where a message should be", 200, "text/html", "<html>hello</html>"},
		{"something else", 418, "application/json", `{"code":"not-found"}`},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", tt.media)
			w.WriteHeader(tt.status)
			w.Write([]byte(tt.body))
		}))
		c := &gateway.Client{BaseURL: s.URL, Key: "kf_secret"}
		_, err := c.Message(t.Context(), "msg_1")
		s.Close()
		if err == nil || errors.As(err, new(*gateway.Problem)) || !strings.Contains(err.Error(), s.URL) || strings.Contains(err.Error(), "kf_secret") {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestTime(t *testing.T) {
	at := gateway.At(time.Date(2026, 11, 23, 20, 0, 0, 123_999_999, time.FixedZone("Beijing", 8*3600)))
	text, err := json.Marshal(at)
	if err != nil || string(text) != `"2026-11-23T12:00:00.123Z"` {
		t.Errorf("%s, %v", text, err)
	}
	var back gateway.Time
	if err := json.Unmarshal(text, &back); err != nil || !back.Equal(at.Time) {
		t.Errorf("%v, %v", back, err)
	}
	if text, err := json.Marshal(gateway.Time{}); string(text) != "null" || err != nil {
		t.Errorf("%s, %v", text, err)
	}
}

func TestProblemSaysAll(t *testing.T) {
	p := &gateway.Problem{Code: gateway.InvalidMessage, Title: "no good", Detail: "correct it", Errors: []gateway.FieldError{{Location: "message.touser", Message: "is missing"}}}
	if got, want := p.Error(), "invalid-message: no good: correct it; message.touser is missing"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
