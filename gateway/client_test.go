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
		{"another one's JSON", 200, "application/json", `{"items":[]}`},
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

// A redirect is an error that names where it led, whatever is there: a POST that is
// followed becomes a GET, and its answer looks like a message that was kept.
func TestNothingIsRedirected(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		followed := false
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host == "gateway.example" || r.URL.Path == "/there" {
				followed = true
				w.Header().Set("Content-Type", "application/json")
				w.Write([]byte(`{"items":[]}`))
				return
			}
			http.Redirect(w, r, "/there?openid=o1", code)
		}))
		c := &gateway.Client{BaseURL: s.URL, Key: "kf_secret"}
		for name, call := range map[string]func() error{
			"send": func() error {
				_, err := c.Send(t.Context(), gateway.Request{Message: []byte(`{}`)}, gateway.SendOptions{})
				return err
			},
			"erase":  func() error { _, err := c.Erase(t.Context(), "wx1", "o1"); return err },
			"delete": func() error { return c.DeleteWebhook(t.Context(), "wh_1") },
		} {
			err := call()
			if err == nil || followed || !strings.Contains(err.Error(), "make that the base URL") || strings.Contains(err.Error(), "o1") || strings.Contains(err.Error(), "kf_secret") {
				t.Errorf("%d, %s: followed %v, %v", code, name, followed, err)
			}
		}
		s.Close()
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
