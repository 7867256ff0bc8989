package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// KEFU_BIN names a kefu binary to test in place of one built from this checkout.
var binary = sync.OnceValues(func() (string, error) {
	if given := os.Getenv("KEFU_BIN"); given != "" {
		return given, nil
	}
	built := filepath.Join(workshop, "kefu")
	build := exec.Command("go", append(append([]string{"build"}, buildFlags...), "-o", built, "./cmd/kefu")...)
	build.Dir = ".." // with the dependencies that the root's go.mod says
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%v: %w\n%s", build, err, out)
	}
	return built, nil
})

// workshop is where the binary is built.
var workshop string

func TestMain(m *testing.M) {
	switch {
	case os.Getenv("KEFU_E2E_STUB") != "":
		stub()
		return
	case os.Getenv(programDoor) != "":
		beProgram()
		return
	}
	var err error
	if workshop, err = os.MkdirTemp("", "kefu-e2e-"); err != nil {
		panic(err)
	}
	code := m.Run()
	closeBrowser()
	os.RemoveAll(workshop)
	os.Exit(code)
}

// A sim is a running "kefu sim", driven as a script does it: by its control plane.
type sim struct {
	t   *testing.T
	URL string
}

// startSim runs "kefu sim" on a free port until the test ends. It keeps the
// command's word: the first line on stdout is one JSON object with the address,
// nothing follows it, and SIGTERM ends it well.
func startSim(t *testing.T, flags ...string) *sim {
	t.Helper()
	kefu, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, kefu, append([]string{"sim", "--addr", "127.0.0.1:0"}, flags...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0") // else a second for each process
	stdout, talk := newLines(), newLines()
	cmd.Stdout, cmd.Stderr = stdout, talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := cmd.Wait(); err != nil && !(errors.Is(err, context.Canceled) && cmd.ProcessState.Success()) {
			t.Errorf("kefu sim ended with %v; its stderr:\n%s", err, talk)
		}
		if more := stdout.String(); strings.Count(more, "\n") != 1 {
			t.Errorf("stdout of kefu sim: %q, want one line", more)
		}
	})
	var said struct{ Sim string }
	select {
	case line := <-stdout.first:
		if err := json.Unmarshal(line, &said); err != nil || said.Sim == "" {
			t.Fatalf("first line of kefu sim: %q, want {\"sim\":\"http://…\"}", line)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("kefu sim said nothing for 20 s; its stderr:\n%s", talk)
	}
	return &sim{t, said.Sim}
}

// lines collects what a process says.
type lines struct {
	first chan []byte // gets the first line

	mu  sync.Mutex // guards all below
	all bytes.Buffer
}

func newLines() *lines { return &lines{first: make(chan []byte, 1)} }

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := bytes.IndexByte(l.all.Bytes(), '\n') >= 0
	l.all.Write(p)
	if line, _, found := bytes.Cut(l.all.Bytes(), []byte("\n")); found && !before {
		l.first <- bytes.Clone(line)
	}
	return len(p), nil
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// control makes a call of the control plane and reads its answer into a T.
func control[T any](s *sim, method, path string, body any) (out T) {
	s.t.Helper()
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, in)
	if err != nil {
		s.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: HTTP %d %s %v", method, path, res.StatusCode, answer, err)
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		s.t.Fatalf("%s %s: %s: %v", method, path, answer, err)
	}
	return out
}

type object = map[string]any

// An action is what came of something that a follower did (contract, 6).
type action struct {
	Event      map[string]any
	Window     struct{ State string }
	Deliveries []delivery
}

type delivery struct {
	Status int
	Reply  json.RawMessage
}

func (d delivery) String() string { return fmt.Sprintf("%d %s", d.Status, d.Reply) }

func (s *sim) act(openid, name string, details object) action {
	s.t.Helper()
	return control[action](s, "POST", "/_sim/followers/"+openid+"/"+name, details)
}

// raw returns the bodies of the messages that the follower received, oldest first,
// as the control plane kept them.
func (s *sim) raw(openid string) (bodies []string) {
	s.t.Helper()
	got := control[struct {
		Items []struct{ Raw, OpenID string }
	}](s, "GET", "/_sim/messages?to="+url.QueryEscape(openid), nil)
	for _, m := range got.Items {
		if m.OpenID != openid {
			s.t.Errorf("a message to %s among those to %s", m.OpenID, openid)
		}
		bodies = append(bodies, m.Raw)
	}
	return bodies
}

// A chatLine is what stands on a follower's phone.
type chatLine struct {
	Dir, Kind, State string
	Message          json.RawMessage
}

func (l chatLine) String() string {
	return fmt.Sprintf("%s %s %s %s", l.Dir, l.Kind, l.State, l.Message)
}

func (s *sim) chat(openid string) []chatLine {
	s.t.Helper()
	return control[struct{ Items []chatLine }](s, "GET", "/_sim/chat?to="+url.QueryEscape(openid), nil).Items
}

func (s *sim) advance(d time.Duration) {
	s.t.Helper()
	control[any](s, "POST", "/_sim/clock", object{"advance": d.String()})
}

func (s *sim) put(state object) {
	s.t.Helper()
	if got := control[struct{ Ignored []string }](s, "PUT", "/_sim/state", state); len(got.Ignored) > 0 {
		s.t.Fatalf("the state has no members %v", got.Ignored)
	}
}

func (s *sim) verify() bool {
	s.t.Helper()
	return control[struct{ OK bool }](s, "POST", "/_sim/verify", nil).OK
}
