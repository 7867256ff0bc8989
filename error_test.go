package kefu_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/kefu-go/kefu"
)

// The class decides what is done, so each row here is a rule.
func TestClassOfCode(t *testing.T) {
	for _, tt := range []struct {
		op   string
		code int
		want kefu.Class
	}{
		{"message/custom/send", -1, kefu.ErrBusy},
		{"message/custom/send", 40001, kefu.ErrToken},
		{"token", 40001, kefu.ErrAccountConfig}, // two-faced: here it is the secret
		{"stable_token", 40001, kefu.ErrAccountConfig},
		{"message/custom/send", 40014, kefu.ErrToken},
		{"message/custom/send", 42001, kefu.ErrToken},
		{"message/custom/send", 41001, kefu.ErrBadRequest}, // no token at all is a bug of the caller
		{"token", 45009, kefu.ErrQuotaExhausted},
		{"message/custom/send", 45011, kefu.ErrRateLimited},
		{"message/custom/send", 45015, kefu.ErrWindowClosed},
		{"message/custom/send", 45047, kefu.ErrAllowanceSpent},
		{"message/custom/send", 43004, kefu.ErrRecipientUnreachable},
		{"message/custom/send", 70000, kefu.ErrRecipientUnreachable},
		{"message/custom/send", 40007, kefu.ErrMediaInvalid},
		{"message/custom/send", 47001, kefu.ErrBadRequest},
		{"token", 40164, kefu.ErrAccountConfig},
		{"message/custom/send", 61450, kefu.ErrBusy},
		{"message/custom/send", 123456, kefu.ErrUnknownCode},
	} {
		err := fmt.Errorf("wrapped: %w", &kefu.Error{Op: tt.op, Code: tt.code})
		if !errors.Is(err, tt.want) || kefu.ClassOf(err) != tt.want {
			t.Errorf("%s %d: %s, want %s", tt.op, tt.code, kefu.ClassOf(err), tt.want)
		}
		if !kefu.CertainlyNotDelivered(err) {
			t.Errorf("%d: a refusal is certain", tt.code)
		}
	}
	if kefu.CertainlyNotDelivered(nil) || kefu.CertainlyNotDelivered(errors.New("?")) {
		t.Error("nothing is certain about other errors")
	}
}

// Every code has a meaning and advice in both languages and a class that exists.
func TestEveryCodeIsExplained(t *testing.T) {
	codes := kefu.Codes()
	if len(codes) < 190 {
		t.Fatalf("%d codes", len(codes))
	}
	for _, x := range codes {
		if x.Code == 0 {
			continue
		}
		if x.Zh == "" || x.En == "" || x.AdviceZh == "" || x.AdviceEn == "" || !x.Known {
			t.Errorf("%+v", x)
		}
		if x.Class.Advice("zh") == "" || x.Class.Advice("en") == "" {
			t.Errorf("%d has class %q, which has no advice", x.Code, x.Class)
		}
	}
	for _, c := range []kefu.Class{kefu.ErrNotDelivered, kefu.ErrUnknownOutcome} { // of no code
		if c.Advice("zh") == "" || c.Advice("en") == "" {
			t.Errorf("%s has no advice", c)
		}
	}
	if x := kefu.Explain("", 123456); x.Known || x.Class != kefu.ErrUnknownCode || x.AdviceZh == "" {
		t.Errorf("an unknown code: %+v", x)
	}
}
