package main

import (
	"strings"
	"testing"
)

// An account in the environment is read whole or refused, and a refusal repeats
// nothing of it: there are secrets in it.
func FuzzParseAccount(f *testing.F) {
	for _, text := range []string{
		"", ":", "wx1", "wx1:", ":secret", "wx1:secret", "wx1:secret:token", "wx1:secret:token:key", "wx1:secret::key", "wx1:secret:token:key:more",
		"wx1:秘密", "wx1:se cret\n", "::::", "\x00:\xff",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := parseAccount("KEFU_ACCOUNT", text)
		if err != nil {
			if a.AppID+a.Secret.Reveal()+a.Token.Reveal()+a.AESKey.Reveal() != "" {
				t.Fatalf("%q is refused and read", text)
			}
			if len(text) > 40 && strings.Contains(err.Error(), text) {
				t.Fatalf("the refusal repeats %q", text)
			}
			return
		}
		parts := []string{a.AppID, a.Secret.Reveal(), a.Token.Reveal(), a.AESKey.Reveal()}
		if whole := strings.Join(parts, ":"); a.AppID == "" || a.Secret == "" || strings.TrimRight(whole, ":") != strings.TrimRight(text, ":") {
			t.Fatalf("%q is read as %q", text, whole)
		}
	})
}

// Where messages are kept: what is refused is not repeated either, for a password may
// be in it.
func FuzzDSN(f *testing.F) {
	for _, text := range []string{"", "sqlite:", "sqlite:kefu.db", "kefu.db", "postgres://kefu@db/kefu", "postgresql://kefu:5eedpassword@db", "mysql://kefu:5eedpassword@db/kefu", "POSTGRES://x", "sqlite:\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := checkDSN("--db", text)
		if err == nil && !strings.HasPrefix(text, "sqlite:") && !strings.HasPrefix(text, "postgres") {
			t.Fatalf("%q is taken", text)
		}
		if err != nil && len(text) > 60 && strings.Contains(err.Error(), text) {
			t.Fatalf("the refusal repeats %q", text)
		}
	})
}
