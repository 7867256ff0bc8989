package main

import (
	"bufio"
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
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The stories in testdata/*.txtar are what the command line promises. Each runs
// the program as its users do, in a folder of its own, and says what came of it:
//
//	kefu ARGS           runs it; if nothing else is said it must exit with 0
//	start ARGS          runs it in the background, up to its first line on stdout;
//	                    $SIM and $GATEWAY are then the addresses in it
//	stop                ends what was started last with SIGTERM
//	exit N              the exit code
//	stdout, stderr RE   must match, line by line; !stdout, !stderr must not
//	stdin FILE          is read by the next kefu
//	env NAME=VALUE      for all that follows; $NAME stands for it
//	save NAME RE        sets NAME to the first group of a match in stdout
//	control M PATH JSON a call below /_sim/ at $SIM
//	received OPENID N RE    the follower gets exactly N messages; the last, as JSON, matches
//	same FILE FILE      the files are equal
//
// Words are quoted as in a shell. The files of the archive are in the folder, and
// with them hills.png, cover.jpg, silence.amr and tour.mp4.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			newStory(t, f).tell(string(text))
		})
	}
}

// TestMain makes the test binary the program itself when a story runs it.
func TestMain(m *testing.M) {
	if os.Getenv("BE_KEFU") == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

type story struct {
	*testing.T
	file   string
	line   int
	dir    string
	env    map[string]string
	stdin  string
	ran    string // the command whose end is being looked at
	code   int
	codeOK bool // code was expected
	stdout string
	stderr string
	behind []*background
}

type background struct {
	cmd    *exec.Cmd
	first  string
	stdout *bufio.Reader
	stderr bytes.Buffer
}

func newStory(t *testing.T, file string) *story {
	s := &story{T: t, file: file, dir: t.TempDir(), codeOK: true}
	s.env = map[string]string{"PATH": os.Getenv("PATH"), "HOME": s.dir, "TMPDIR": s.dir, "LANG": "C", "BE_KEFU": "1", "GORACE": "atexit_sleep_ms=0"}
	for name, data := range map[string][]byte{
		"hills.png": samplePNG(), "cover.jpg": sampleJPG(), "silence.amr": sampleAMR(), "tour.mp4": sampleMP4(),
	} {
		s.write(name, data)
	}
	t.Cleanup(func() {
		for _, b := range s.behind {
			b.cmd.Process.Kill()
			b.cmd.Wait()
		}
	})
	return s
}

func (s *story) write(name string, data []byte) {
	if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *story) fail(format string, args ...any) {
	s.Helper()
	s.Fatalf("%s:%d: %s\n%s\n--- stdout\n%s--- stderr\n%s", s.file, s.line, fmt.Sprintf(format, args...), s.ran, s.stdout, s.stderr)
}

var fileHead = regexp.MustCompile(`(?m)^-- (\S+) --\n`)

func (s *story) tell(text string) {
	script := text
	if heads := fileHead.FindAllStringSubmatchIndex(text, -1); heads != nil {
		script = text[:heads[0][0]]
		for i, h := range heads {
			end := len(text)
			if i+1 < len(heads) {
				end = heads[i+1][0]
			}
			s.write(text[h[2]:h[3]], []byte(text[h[1]:end]))
		}
	}
	for i, line := range strings.Split(script, "\n") {
		s.line = i + 1
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s.step(s.words(line))
	}
	s.settle()
}

func (s *story) step(words []string) {
	s.Helper()
	verb, args := words[0], words[1:]
	need := map[string]int{"exit": 1, "stdout": 1, "!stdout": 1, "stderr": 1, "!stderr": 1, "stdin": 1, "env": 1, "save": 2, "received": 3, "same": 2}
	if n, fixed := need[verb]; fixed && len(args) != n {
		s.fail("%s takes %d words, here are %d", verb, n, len(args))
	}
	switch verb {
	case "kefu":
		s.kefu(args)
	case "start":
		s.start(args)
	case "stop":
		s.stop()
	case "exit":
		if s.codeOK = true; strconv.Itoa(s.code) != args[0] {
			s.fail("exit %d, want %s", s.code, args[0])
		}
	case "stdout":
		s.match("stdout", s.stdout, args[0], true)
	case "!stdout":
		s.match("stdout", s.stdout, args[0], false)
	case "stderr":
		s.match("stderr", s.stderr, args[0], true)
	case "!stderr":
		s.match("stderr", s.stderr, args[0], false)
	case "stdin":
		s.stdin = args[0]
	case "env":
		name, value, _ := strings.Cut(args[0], "=")
		s.env[name] = value
	case "save":
		m := s.regexp(args[1]).FindStringSubmatch(s.stdout)
		if len(m) != 2 {
			s.fail("no group of %s in stdout", args[1])
		}
		s.env[args[0]] = m[1]
	case "control":
		s.control(args[0], args[1], strings.Join(args[2:], " "))
	case "received":
		s.received(args[0], args[1], args[2])
	case "same":
		if a, b := s.read(args[0]), s.read(args[1]); a != b {
			s.fail("%s has %d bytes, %s %d, and they differ", args[0], len(a), args[1], len(b))
		}
	default:
		s.fail("no verb %q", verb)
	}
}

func (s *story) read(name string) string {
	data, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.fail("%v", err)
	}
	return string(data)
}

func (s *story) regexp(pattern string) *regexp.Regexp {
	re, err := regexp.Compile("(?m)" + pattern)
	if err != nil {
		s.fail("%v", err)
	}
	return re
}

func (s *story) match(what, text, pattern string, want bool) {
	s.Helper()
	if s.regexp(pattern).MatchString(text) != want {
		s.fail("%s matches %q: %v, want %v", what, pattern, !want, want)
	}
}

// settle ends looking at a command.
func (s *story) settle() {
	s.Helper()
	if !s.codeOK && s.code != 0 {
		s.fail("exit %d, want 0", s.code)
	}
}

func (s *story) command(args []string) *exec.Cmd {
	s.settle()
	s.ran = "$ kefu " + strings.Join(args, " ")
	me, err := os.Executable()
	if err != nil {
		s.Fatal(err)
	}
	cmd := exec.Command(me, args...)
	cmd.Dir = s.dir
	for name, value := range s.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

func (s *story) kefu(args []string) {
	s.Helper()
	cmd := s.command(args)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if s.stdin != "" {
		cmd.Stdin = strings.NewReader(s.read(s.stdin))
		s.stdin = ""
	}
	s.ended(cmd, cmd.Run())
	s.stdout, s.stderr = stdout.String(), stderr.String()
}

func (s *story) ended(cmd *exec.Cmd, err error) {
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		s.fail("%v", err)
	}
	s.code, s.codeOK = cmd.ProcessState.ExitCode(), false
}

func (s *story) start(args []string) {
	s.Helper()
	b := &background{cmd: s.command(args)}
	b.cmd.Stderr = &b.stderr
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := b.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.behind, b.stdout = append(s.behind, b), bufio.NewReader(out)
	if b.first, err = b.stdout.ReadString('\n'); err != nil {
		b.cmd.Wait()
		s.stderr = b.stderr.String()
		s.fail("no first line: %v", err)
	}
	var urls struct{ Sim, Gateway string }
	if err := json.Unmarshal([]byte(b.first), &urls); err != nil || urls.Sim+urls.Gateway == "" {
		s.fail("the first line is %q", b.first)
	}
	for name, url := range map[string]string{"SIM": urls.Sim, "GATEWAY": urls.Gateway} {
		if url != "" {
			s.env[name] = url
		}
	}
}

func (s *story) stop() {
	s.Helper()
	if len(s.behind) == 0 {
		s.fail("nothing was started")
	}
	last := len(s.behind) - 1
	b := s.behind[last]
	s.behind = s.behind[:last]
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.Fatal(err)
	}
	rest, err := io.ReadAll(b.stdout)
	if err != nil {
		s.Fatal(err)
	}
	s.ended(b.cmd, b.cmd.Wait())
	s.stdout, s.stderr = b.first+string(rest), b.stderr.String()
}

func (s *story) control(method, path, body string) []byte {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 40*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.env["SIM"]+"/_sim/"+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := plainHTTP.Do(req)
	if err != nil {
		s.fail("%v", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.fail("%s %s: HTTP %d %s %v", method, path, res.StatusCode, answer, err)
	}
	return answer
}

func (s *story) received(openid, n, pattern string) {
	s.Helper()
	answer := s.control("GET", "messages/wait?timeout=25s&to="+url.QueryEscape(openid)+"&count="+n, "")
	var got struct{ Items []struct{ Raw string } }
	if err := json.Unmarshal(answer, &got); err != nil {
		s.fail("%v", err)
	}
	if strconv.Itoa(len(got.Items)) != n {
		s.fail("%s received %d messages, want %s: %s", openid, len(got.Items), n, answer)
	}
	if len(got.Items) > 0 {
		s.match("the last message of "+openid, got.Items[len(got.Items)-1].Raw, pattern, true)
	}
}

// words splits a line as a shell does: '…' is literal, "…" may hold $NAME.
func (s *story) words(line string) []string {
	var words []string
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			in, quote = true, c
		case c == '$' && quote != '\'':
			end := i + 1
			for end < len(line) && (line[end] == '_' || line[end] >= 'A' && line[end] <= 'Z') {
				end++
			}
			value, set := s.env[line[i+1:end]]
			if !set {
				value = line[i:end]
			}
			word.WriteString(value)
			in, i = true, end-1
		case quote == 0 && (c == ' ' || c == '\t'):
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}
