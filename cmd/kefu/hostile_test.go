package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/kefu-go/kefu"
)

// hostile is text that would move the cursor, colour, turn a line round and forge
// another line of ours.
const hostile = "x\x1b[2J\u009b31m\u202egpj\r\n  next   send it again\u2028"

// A server that is not WeChat can answer what it likes: none of it does anything to
// the terminal.
func TestHostileServer(t *testing.T) {
	quoted, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]string{
		"/cgi-bin/stable_token":        `{"access_token":"T","expires_in":7200}`,
		"/cgi-bin/message/custom/send": `{"errcode":0,"errmsg":` + string(quoted) + `,"msgid":` + string(quoted) + `}`,
		"/cgi-bin/media/upload":        `{"type":"image","media_id":` + string(quoted) + `,"created_at":1}`,
		"/cgi-bin/media/uploadimg":     `{"url":` + string(quoted) + `}`,
		"/_sim/followers/o1/text": `{"event":{},"window":{"state":` + string(quoted) + `,"opened_by":` + string(quoted) +
			`,"buckets":[{"trigger":` + string(quoted) + `}]},"deliveries":[{"status":200,"reply":` + string(quoted) + `}]}`,
		"/_sim/followers/o2/text": `{"detail":` + string(quoted) + `}`,
	}
	refuse := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch a := answers[r.URL.Path]; {
		case r.URL.Path == "/cgi-bin/media/get":
			w.Header().Set("Content-Type", "image/png")
			w.Header().Set("Content-Disposition", "attachment; filename=\"a\u009b31m\u202egpj.png\"")
			w.Write([]byte("PNG"))
		case a == "":
			http.Error(w, hostile, http.StatusBadGateway)
		case strings.HasSuffix(r.URL.Path, "/o2/text"):
			w.WriteHeader(http.StatusConflict)
			w.Write([]byte(a))
		case refuse && r.URL.Path == "/cgi-bin/message/custom/send":
			w.Write([]byte(strings.Replace(a, `"errcode":0`, `"errcode":45015`, 1)))
		default:
			w.Write([]byte(a))
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	picture := filepath.Join(dir, "a.png")
	if err := os.WriteFile(picture, samplePNG(), 0o600); err != nil {
		t.Fatal(err)
	}
	send := []string{"send", "text", "hi", "--to", "o1", "--direct"}
	for _, tt := range []struct {
		name   string
		refuse bool
		args   []string
		code   int
	}{
		{"errmsg and msgid of a send", false, send, exitDone},
		{"the same as JSON", false, append(send, "--json"), exitDone},
		{"errmsg of a refusal", true, send, exitRefused},
		{"media id", false, []string{"media", "upload", picture, "--direct"}, exitDone},
		{"URL of a picture", false, []string{"media", "uploadimg", picture, "--direct"}, exitDone},
		{"name of a download", false, []string{"media", "get", "M", "-o", filepath.Join(dir, "b.png"), "--direct"}, exitDone},
		{"error page", false, []string{"send", "typing", "--to", "o1", "--direct"}, exitUnknown},
		{"window and reply", false, []string{"trigger", "text", "o1", "--sim", server.URL}, exitDone},
		{"the same as JSON", false, []string{"trigger", "text", "o1", "--json", "--sim", server.URL}, exitDone},
		{"problem", false, []string{"trigger", "text", "o2", "--sim", server.URL}, exitFailed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refuse = tt.refuse
			var stdout, stderr bytes.Buffer
			p := &program{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, env: map[string]string{"KEFU_API_BASE": server.URL}}
			if code := p.run(context.Background(), tt.args); code != tt.code {
				t.Errorf("exit %d, want %d", code, tt.code)
			}
			for what, out := range map[string]string{"stdout": stdout.String(), "stderr": stderr.String()} {
				if strings.ContainsFunc(out, func(r rune) bool { return r != '\n' && !visible(r) }) {
					t.Errorf("%s: %q", what, out)
				}
				if strings.Contains(out, "\n  next   send it again") {
					t.Errorf("%s has a forged line:\n%s", what, out)
				}
			}
		})
	}
}

// An address may hold a password or a key: neither help nor an error shows it.
func TestSecretsInAddresses(t *testing.T) {
	const address = "http://user:CANARY@127.0.0.1:1/CANARY?key=CANARY"
	for _, args := range [][]string{
		{"send", "--help"}, {"trigger", "--help"}, {"messages", "list", "--help"}, {"serve", "--help"},
		{"trigger", "text", "o1"}, {"messages", "list"}, {"messages", "list", "--key", "kf_x"}, {"send", "text", "hi", "--to", "o1", "--direct"},
		{"trigger", "text", "o1", "--sim", "user:CANARY@host?key=CANARY"}, {"messages", "list", "--gateway", "user:CANARY@host"},
		{"send", "text", "hi", "--to", "o1", "--direct", "--api-base", "user:CANARY@host"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			var out bytes.Buffer
			p := &program{stdin: strings.NewReader(""), stdout: &out, stderr: &out,
				env: map[string]string{"KEFU_API_BASE": address, "KEFU_URL": address, "KEFU_SIM": address}}
			p.run(context.Background(), args)
			if strings.Contains(out.String(), "CANARY") || out.Len() == 0 {
				t.Errorf("%s", &out)
			}
		})
	}
}

// A download takes its place only when it is whole; what was there stays otherwise.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(real, []byte("old"), 0o600), os.Symlink("real", link)); err != nil {
		t.Fatal(err)
	}
	broken := iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("new")))
	state := func(want string) {
		t.Helper()
		got, err := os.ReadFile(link)
		to, linked := os.Readlink(link)
		left, _ := os.ReadDir(dir)
		if err := errors.Join(err, linked); err != nil || string(got) != want || to != "real" || len(left) != 2 {
			t.Errorf("%q, link to %q, %d files (%v); want %q, a link, 2 files", got, to, len(left), err, want)
		}
	}
	p := new(program)
	if _, err := p.save(link, broken); err == nil {
		t.Error("a broken download is no error")
	}
	state("old")
	if n, err := p.save(link, strings.NewReader("new")); n != 3 || err != nil {
		t.Error(n, err)
	}
	state("new")
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("the file is open to others now", info, err)
	}
	if _, err := p.save(dir, strings.NewReader("new")); err == nil {
		t.Error("a folder was written")
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Skip("no sockets in folders here: ", err)
	}
	defer l.Close()
	if _, err := p.save(socket, strings.NewReader("new")); err == nil {
		t.Error("a socket was replaced")
	}
}

// Who can't see the answer must learn that the message has gone.
func TestFullDisk(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/send") {
			w.Write([]byte(`{"errcode":0,"errmsg":"ok"}`))
			return
		}
		w.Write([]byte(`{"access_token":"T","expires_in":7200}`))
	}))
	defer server.Close()
	for _, more := range [][]string{nil, {"--json"}} {
		var stderr bytes.Buffer
		p := &program{stdin: strings.NewReader(""), stdout: full{}, stderr: &stderr, env: map[string]string{"KEFU_API_BASE": server.URL}}
		code := p.run(context.Background(), append([]string{"send", "text", "hi", "--to", "o1", "--direct"}, more...))
		if code != exitFailed || !strings.Contains(stderr.String(), "WeChat accepted it") || !strings.Contains(stderr.String(), "don't send it again") {
			t.Errorf("%v: exit %d\n%s", more, code, &stderr)
		}
	}
}

// What is wrong with JSON is said in Chinese, too.
func TestSyntaxZh(t *testing.T) {
	for _, tt := range []struct{ json, zh string }{
		{``, "空"}, {"{\"a\":\"\xc4\xe3\"}", "GBK"}, {`{"a":1,}`, "逗号后面"}, {`{"a":1`, "没有写完"}, {`{} {}`, "结束之后"},
		{`{a:1}`, "双引号"}, {`{"a":1 "b":2}`, "缺逗号"}, {`{"a" 1}`, "缺冒号"}, {`[1 2]`, "元素之间"}, {`{"a":x}`, "一个值"}, {"{\"a\":\"\n\"}", "控制字符"},
	} {
		_, err := kefu.ParseMessage([]byte(tt.json))
		var syntax *kefu.SyntaxError
		if !errors.As(err, &syntax) {
			t.Errorf("%q: %v", tt.json, err)
		} else if got := syntaxZh(syntax.Err); !strings.Contains(got, tt.zh) {
			t.Errorf("%q: %q, want …%s…", tt.json, got, tt.zh)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }
