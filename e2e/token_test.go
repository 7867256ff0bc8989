package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// A program is a process of its own that sends through the door: this test's binary,
// started again.
type program struct {
	t    *testing.T
	name string
	in   io.WriteCloser
	out  *bufio.Scanner
	cmd  *exec.Cmd
}

const (
	programDoor = "KEFU_E2E_DOOR" // the gateway's address; set: this process is a program
	programKey  = "KEFU_E2E_KEY"
	programName = "KEFU_E2E_NAME"
)

// startPrograms starts n of them with a door key.
func startPrograms(t *testing.T, p *process, key string, n int) (all []*program) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		o := &program{t: t, name: fmt.Sprintf("oProgram%02d", i), cmd: exec.Command(self)}
		o.cmd.Env = append(os.Environ(), programDoor+"="+p.url(), programKey+"="+key, programName+"="+o.name, "GORACE=atexit_sleep_ms=0")
		o.cmd.Stderr = os.Stderr
		if o.in, err = o.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		out, err := o.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		o.out = bufio.NewScanner(out)
		if err := o.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			o.in.Close()
			if err := o.cmd.Wait(); err != nil {
				t.Errorf("%s: %v", o.name, err)
			}
		})
		all = append(all, o)
	}
	for _, o := range all {
		o.hear("ready")
	}
	return all
}

// hear waits for a line of the program.
func (o *program) hear(want string) {
	o.t.Helper()
	if !o.out.Scan() || o.out.Text() != want {
		o.t.Errorf("%s says %q, want %q", o.name, o.out.Text(), want)
	}
}

// storm has all of them ask for a token and send at once, each with that many callers.
func storm(all []*program, callers int) {
	for _, o := range all {
		fmt.Fprintln(o.in, callers)
	}
	for _, o := range all {
		o.hear("sent " + strconv.Itoa(callers))
	}
}

// beProgram is the other process.
func beProgram() {
	door, key := os.Getenv(programDoor), kefu.Secret(os.Getenv(programKey))
	fmt.Println("ready")
	for in, round := bufio.NewScanner(os.Stdin), 0; in.Scan(); round++ {
		n, err := strconv.Atoi(in.Text())
		if err != nil {
			fmt.Println(err)
			return
		}
		var wg sync.WaitGroup
		failed := make(chan error, n)
		for i := range n {
			wg.Go(func() {
				// Nobody shares a token, as if each were a program.
				client := &kefu.Client{BaseURL: door, Tokens: kefu.StableToken{AppID: kefutest.DefaultAccount.AppID, Secret: key, BaseURL: door}}
				m := kefu.Message{To: os.Getenv(programName), Body: kefu.Text{Content: fmt.Sprintf("%d/%d", round, i)}}
				for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
					_, err := client.Send(context.Background(), m)
					// -1 of the door: it took too long, and a retry is safe.
					if safe := errors.Is(err, kefu.ErrBusy) || errors.Is(err, kefu.ErrNotDelivered) || errors.Is(err, kefu.ErrUnknownOutcome); !safe || time.Now().After(end) {
						if err != nil {
							failed <- err
						}
						return
					}
				}
			})
		}
		wg.Wait()
		select {
		case err := <-failed:
			fmt.Println(strings.ReplaceAll(err.Error(), "\n", " "))
		default:
			fmt.Println("sent", n)
		}
	}
}

// Reliability, row 5, with real processes: one gateway has the real token, and whoever
// else wants one asks at its door. 16 processes at the very start: one real fetch. The
// token dies under what three of them send: one refresh, nothing lost. Another process
// takes over the database: it goes on with the same token.
func TestTokenStorm(t *testing.T) { tokenStorm(besiege(t)) }

func tokenStorm(s *siege) {
	s.t.Helper()
	all := startPrograms(s.t, s.p, s.doorKey(), 16)
	for _, o := range all {
		s.wechat.UserSends(o.name)
	}
	fetched, sent := 0, 0
	round := func(what string, all []*program, callers, fetches int) {
		s.t.Helper()
		storm(all, callers)
		fetched, sent = fetched+fetches, sent+len(all)*callers
		if n := s.fetches(); n != fetched {
			s.t.Errorf("%s: %d real tokens fetched so far, want %d", what, n, fetched)
		}
		if n := len(s.wechat.Sent()); n != sent {
			s.t.Errorf("%s: %d messages arrived so far, want %d", what, n, sent)
		}
	}
	round("at the start", all, 4, 1)
	s.wechat.ExpireTokens()
	round("the token is dead", all[:3], 50, 1)
	s.p.kill()
	s.p.start()
	round("taken over", all, 2, 0)
}

// doorKey makes a key for programs.
func (s *siege) doorKey() string {
	s.t.Helper()
	var k gateway.Key
	s.p.api2(s.t, "POST", "/v1/keys", gateway.KeyRequest{Role: gateway.Door, Paths: gateway.AllPaths, Name: "programs"}, &k)
	return k.Key
}

// fetches is how often a real token was asked for.
func (s *siege) fetches() (n int) {
	for _, q := range s.wechat.Requests() {
		if strings.HasSuffix(q.Path, "token") {
			n++
		}
	}
	return n
}
