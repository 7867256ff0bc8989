package kefu

import (
	"fmt"
	"log/slog"
)

// A Secret is a string that must not be seen: an AppSecret, an access token, an
// EncodingAESKey, a callback token. Printed, logged or encoded it shows as
// "[secret]"; only Reveal gives the text. Compare two secrets with crypto/subtle,
// not with ==.
//
// One limit: package fmt reads the unexported fields of a struct that it prints
// without asking their types. A struct of yours with a secret in such a field, or
// with a pointer to one of ours, needs a Format method of its own if it is ever
// printed.
type Secret string

const hidden = "[secret]"

// Reveal returns the secret's text. Call it only where the text goes to WeChat
// or to someone who has asked for exactly this secret.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret; an empty Secret is the empty string, so that a
// missing one can be told from a present one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// Format hides the secret from every verb, %x and %#v too.
func (s Secret) Format(f fmt.State, verb rune) { fmt.Fprint(f, s.String()) }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the secret from encoding/json, encoding/xml and their kin.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
