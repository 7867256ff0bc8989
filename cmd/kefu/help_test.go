package main

import (
	"io"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
)

// Every command says in one line what it does, in English and in Chinese, and
// shows an example that works: it names a command, its flags and its arguments.
func TestHelp(t *testing.T) {
	p := &program{stdout: io.Discard, stderr: io.Discard, env: map[string]string{}}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			en, zh, both := strings.Cut(cmd.Short, " · ")
			if !both || en == "" || !strings.ContainsFunc(zh, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
				t.Errorf("the summary is %q", cmd.Short)
			}
			if cmd.Example == "" {
				t.Error("no example")
			}
			for _, line := range strings.Split(cmd.Example, "\n") {
				line = strings.TrimSuffix(strings.Replace(line, "source <(", "", 1), ")")
				line, _, _ = strings.Cut(line, " <")
				words := (&story{T: t}).words(line)
				named, rest, err := p.command().Find(words[1:])
				if err != nil || words[0] != "kefu" {
					t.Fatalf("%q: %v", line, err)
				}
				if err := named.ParseFlags(rest); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				if err := named.ValidateArgs(named.Flags().Args()); err != nil {
					t.Errorf("%q: %v", line, err)
				}
			}
		})
		for _, c := range cmd.Commands() {
			walk(c)
		}
	}
	walk(p.command())
}
