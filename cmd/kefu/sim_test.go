package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/kefu-go/kefu/callback"
)

// startSim runs `kefu sim` with args until the test ends, and returns its address.
func startSim(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	var talk bytes.Buffer
	p := &program{stdin: strings.NewReader(""), stdout: stdout, stderr: &talk, env: map[string]string{}}
	ended := make(chan int)
	go func() {
		code := p.run(ctx, append([]string{"sim", "--addr", anyPort}, args...))
		stdout.Close()
		ended <- code
	}()
	var first struct{ Sim string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitDone {
			t.Errorf("sim: exit %d\n%s", code, &talk)
		}
	})
	if err != nil || json.Unmarshal(line, &first) != nil {
		t.Fatalf("the first line is %q (%v)", line, err)
	}
	return first.Sim
}

// `sim --callback` pushes in the mode that it was given, by default secure for an
// account with an AES key and plain without; {appid} stands for the account's.
func TestSimCallbackModes(t *testing.T) {
	const key = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	for _, tt := range []struct {
		name string
		app  string
		mode string // --mode
		want callback.Mode
	}{
		{"plain", "wx1:SECRET:TOKEN:" + key, "plain", callback.Plain},
		{"compat", "wx1:SECRET:TOKEN:" + key, "compat", callback.Compat},
		{"secure", "wx1:SECRET:TOKEN:" + key, "secure", callback.Secure},
		{"secure by default with a key", "wx1:SECRET:TOKEN:" + key, "", callback.Secure},
		{"plain by default without a key", "wx1:SECRET:TOKEN", "", callback.Plain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan string, 1)
			var encrypted bool
			h := &callback.Handler{
				AppID: "wx1", Token: "TOKEN", AESKey: key, Mode: tt.want,
				Receive: func(_ context.Context, e callback.Event) (callback.Reply, error) {
					got <- e.(callback.TextMessage).Content
					return nil, nil
				},
			}
			own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				encrypted = !strings.Contains(string(body), "hello")
				r.Body = io.NopCloser(bytes.NewReader(body))
				http.StripPrefix("/callback/wx1", h).ServeHTTP(w, r)
			}))
			defer own.Close()
			args := []string{"--app", tt.app, "--callback", own.URL + "/callback/{appid}"}
			if tt.mode != "" {
				args = append(args, "--mode", tt.mode)
			}
			sim := startSim(t, args...)
			d, _, err := (&controlPlane{base: sim}).act(t.Context(), "oUser1", "text", map[string]string{"content": "hello"})
			switch {
			case err != nil:
				t.Fatal(err)
			case len(d.Deliveries) != 1 || d.Deliveries[0].Status != http.StatusOK:
				t.Fatalf("deliveries %+v, want one with 200", d.Deliveries)
			case encrypted != (tt.want == callback.Secure):
				t.Errorf("only encrypted: %v, in mode %s", encrypted, tt.want)
			}
			if text := <-got; text != "hello" {
				t.Errorf("received %q", text)
			}
		})
	}
}
