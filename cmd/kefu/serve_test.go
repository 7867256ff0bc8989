package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ended ends something when it is written to.
type ended struct {
	strings.Builder
	end func()
}

func (e *ended) Write(b []byte) (int, error) {
	e.end()
	return e.Builder.Write(b)
}

// The file that serve names is there: it is made with the first key, and not named where a
// database that has keys came without it.
func TestServeNamesTheKeyFileThatThereIs(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	file := filepath.Join(dir, "kefu.db.key")
	serve := func() (stdout, stderr string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var said strings.Builder
		out := ended{end: cancel}
		p := &program{stdout: &out, stderr: &said, env: map[string]string{}}
		cmd := p.serveCommand()
		cmd.SetArgs([]string{"--addr", "127.0.0.1:0", "--db", "sqlite:" + filepath.Join(dir, "kefu.db")})
		if err := cmd.ExecuteContext(ctx); err != nil {
			t.Fatal(err)
		}
		return out.String(), said.String()
	}
	for _, there := range []bool{true, true, false} {
		if !there {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
		out, said := serve()
		if strings.Contains(out, `"key_file"`) != there || strings.Contains(said, "its key is in "+file) != there {
			t.Errorf("the file is there: %v; serve says %s%s", there, out, said)
		}
		if !there && !strings.Contains(said, "none is in "+file) {
			t.Errorf("where a key is wanted is not said: %s", said)
		}
	}
}

func TestTrustedProxies(t *testing.T) {
	for _, tt := range []struct {
		given []string
		want  string // "": refused
	}{
		{nil, "[]"},
		{[]string{"10.0.0.0/8", "192.0.2.1"}, "[10.0.0.0/8 192.0.2.1/32]"},
		{[]string{"10.1.2.3/8"}, "[10.0.0.0/8]"},
		{[]string{"::1", "fd00::/8"}, "[::1/128 fd00::/8]"},
		{[]string{"::ffff:10.0.0.1"}, "[10.0.0.1/32]"},
		{[]string{"::ffff:10.1.2.3/104"}, "[10.0.0.0/8]"},
		{[]string{"::ffff:0.0.0.0/96"}, ""},
		{[]string{"::ffff:10.0.0.0/8"}, ""},
		{[]string{"0.0.0.0/0"}, ""},
		{[]string{"::/0"}, ""},
		{[]string{"10.0.0.0/33"}, ""},
		{[]string{"proxy.example.com"}, ""},
		{[]string{"10.0.0.0/8 "}, ""},
		{[]string{""}, ""},
	} {
		got, err := networks(tt.given)
		if (err == nil) != (tt.want != "") || err == nil && fmt.Sprint(got) != tt.want {
			t.Errorf("%q: %v, %v, want %q", tt.given, got, err, tt.want)
		}
	}
}
