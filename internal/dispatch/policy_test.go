package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// failure makes the SDK's own error for an answer.
func failure(t *testing.T, status int, body string) error {
	t.Helper()
	c := &kefu.Client{Tokens: kefu.StaticToken("T"), HTTP: &http.Client{Transport: answering(func(*http.Request) (*http.Response, error) {
		if status == 0 {
			return nil, errors.New(body)
		}
		return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}, nil
	})}}
	_, err := c.SendJSON(t.Context(), []byte(`{}`))
	if err == nil {
		t.Fatal("no error")
	}
	return err
}

// noToken is what a post ends with when WeChat refuses the access token it needs.
func noToken(t *testing.T, code int) error {
	t.Helper()
	_, err := (&kefu.Client{Tokens: noTokens(code)}).SendJSON(t.Context(), []byte(`{}`))
	if err == nil {
		t.Fatal("no error")
	}
	return err
}

type noTokens int

func (code noTokens) Token(context.Context) (kefu.Token, error) {
	return kefu.Token{}, &kefu.Error{Op: "stable_token", Code: int(code)}
}

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The whole retry policy, row by row. Jitter is off, so pauses are the longest.
func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 23, 15, 30, 0, 0, time.UTC) // 23:30 in Beijing
	code := func(n string) error {
		return failure(t, 200, `{"errcode":`+n+`,"errmsg":"x rid: 61655d5b-0b67106b-797933d8"}`)
	}
	refusedConnection := failure(t, 429, "")
	for _, tt := range []struct {
		name    string
		err     error
		c       Case
		state   gateway.State
		after   time.Duration // RetryAt - now; 0: none
		effect  Effect
		attempt string
		double  bool
	}{
		{"errcode 0", nil, Case{}, gateway.Sent, 0, Accepted, "sent", false},
		{"closed, park", code("45015"), Case{WhenClosed: gateway.Park}, gateway.Parked, 0, CloseWindow, "refused", false},
		{"closed, fail", code("45015"), Case{WhenClosed: gateway.Fail}, gateway.Failed, 0, CloseWindow, "refused", false},
		{"closed, try", code("45015"), Case{WhenClosed: gateway.Try}, gateway.Failed, 0, CloseWindow, "refused", false},
		{"spent, park", code("45047"), Case{WhenClosed: gateway.Park}, gateway.Parked, 0, SpendAll, "refused", false},
		{"spent, fail", code("45047"), Case{WhenClosed: gateway.Fail}, gateway.Failed, 0, SpendAll, "refused", false},
		{"busy, first", code("-1"), Case{Tries: 1}, gateway.Queued, time.Second, GiveBack, "refused", true},
		{"busy, second", code("-1"), Case{Tries: 2}, gateway.Queued, 2 * time.Second, GiveBack, "refused", true},
		{"busy, third and last", code("-1"), Case{Tries: 3}, gateway.Failed, 0, GiveBack, "refused", false},
		{"busy of the kf APIs", code("61450"), Case{Tries: 1}, gateway.Queued, time.Second, GiveBack, "refused", true},
		{"busy, held", code("-1"), Case{Tries: 1, BusyHold: true}, gateway.Unknown, 0, Keep, "refused", false},
		{"too fast", code("45011"), Case{Tries: 1}, gateway.Queued, time.Second, GiveBack, "refused", false},
		{"too fast for long", code("45011"), Case{Tries: 50}, gateway.Queued, time.Minute, GiveBack, "refused", false},
		{"dead token after its refresh", code("40001"), Case{Tries: 4}, gateway.Queued, 8 * time.Second, GiveBack, "refused", false},
		{"daily quota: midnight in Beijing", code("45009"), Case{Tries: 1}, gateway.Queued, 30 * time.Minute, GiveBack, "refused", false},
		{"not a follower", code("43004"), Case{}, gateway.Failed, 0, Unreachable, "refused", false},
		{"blocked", code("43006"), Case{}, gateway.Failed, 0, GiveBack, "refused", false},
		{"dead media", code("40007"), Case{}, gateway.Failed, 0, GiveBack, "refused", false},
		{"bad request", code("47001"), Case{}, gateway.Failed, 0, GiveBack, "refused", false},
		{"dead media, somebody can renew them", code("40007"), Case{CanRenew: true}, gateway.Queued, 0, GiveBack, "refused", false},
		{"the account's rights: it is paused", code("48001"), Case{}, gateway.Queued, 0, GiveBack, "refused", false},
		{"the account's IP list: it is paused", code("40164"), Case{Tries: 9}, gateway.Queued, 0, GiveBack, "refused", false},
		{"a wrong kf_account is one message's fault", code("61452"), Case{}, gateway.Failed, 0, GiveBack, "refused", false},
		{"a kind that the account may not send, too", code("48008"), Case{}, gateway.Failed, 0, GiveBack, "refused", false},
		{"this month's quota", code("45040"), Case{}, gateway.Failed, 0, GiveBack, "refused", false},
		{"unknown code", code("123456"), Case{}, gateway.Failed, 0, GiveBack, "refused", false},
		{"no token, WeChat being busy: it never left", noToken(t, -1), Case{Tries: 9}, gateway.Queued, time.Minute, GiveBack, "not-delivered", false},
		{"the same where -1 is unknown", noToken(t, -1), Case{Tries: 1, BusyHold: true}, gateway.Queued, time.Second, GiveBack, "not-delivered", false},
		{"the day's tokens are used up: not the day's messages", noToken(t, 45009), Case{Tries: 1}, gateway.Queued, time.Second, GiveBack, "not-delivered", false},
		{"no token, with a code that nobody knows", noToken(t, 123456), Case{Tries: 1}, gateway.Queued, time.Second, GiveBack, "not-delivered", false},
		{"tokens too fast: the account slows down", noToken(t, 45011), Case{Tries: 1}, gateway.Queued, time.Second, GiveBack, "refused", false},
		{"a wrong secret: it is paused", noToken(t, 40001), Case{Tries: 9}, gateway.Queued, 0, GiveBack, "refused", false},
		{"a dead token, and no other", fmt.Errorf("%w; and no new token: %w", code("40001"), noToken(t, -1)), Case{Tries: 1}, gateway.Queued, time.Second, GiveBack, "refused", false},
		{"HTTP 429", refusedConnection, Case{Tries: 1}, gateway.Queued, time.Second, GiveBack, "not-delivered", false},
		{"HTTP 404 is not WeChat", failure(t, 404, ""), Case{Tries: 1}, gateway.Failed, 0, GiveBack, "not-delivered", false},
		{"a lost answer is held", failure(t, 0, "cut"), Case{OnUnknown: gateway.Hold}, gateway.Unknown, 0, Keep, "unknown", false},
		{"a page", failure(t, 200, "<html>"), Case{}, gateway.Unknown, 0, Keep, "unknown", false},
		{"resent once", failure(t, 0, "cut"), Case{OnUnknown: gateway.Resend}, gateway.Unknown, time.Minute, Keep, "unknown", true},
		{"and not twice", failure(t, 0, "cut"), Case{OnUnknown: gateway.Resend, Resent: true}, gateway.Unknown, 0, Keep, "unknown", false},
		{"some other error is not certain", errors.New("?"), Case{}, gateway.Unknown, 0, Keep, "unknown", false},
		{"more tries than the article", code("-1"), Case{Tries: 9, Retries: Retries{kefu.ErrBusy: {Tries: 10, First: time.Second, Most: 3 * time.Second}}}, gateway.Queued, 3 * time.Second, GiveBack, "refused", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Now, tt.c.Jitter = now, func(d time.Duration) time.Duration { return d }
			if tt.c.Retries == nil {
				tt.c.Retries = DefaultRetries()
			}
			got := Decide(tt.err, tt.c)
			var after time.Duration
			if !got.RetryAt.IsZero() {
				after = got.RetryAt.Sub(now)
			}
			if got.State != tt.state || after != tt.after || got.Effect != tt.effect || got.Attempt != tt.attempt || got.Duplicate != tt.double {
				t.Errorf("%+v (after %v)", got, after)
			}
			if tt.err != nil && got.Outcome.Class == "" {
				t.Error("no class")
			}
		})
	}
}

// What pauses the account and what has media renewed; and no class is forgotten.
func TestEveryClassHasARule(t *testing.T) {
	met := map[kefu.Class]bool{}
	for _, x := range kefu.Codes() {
		if x.Code == 0 {
			continue
		}
		met[x.Class] = true
		err := &kefu.Error{Op: "message/custom/send", Code: x.Code}
		r := Decide(err, Case{Now: time.Now(), Tries: 1, WhenClosed: gateway.Park, CanRenew: true, Retries: DefaultRetries()})
		if want := x.Class == kefu.ErrAccountConfig && !aboutOneMessage[x.Code]; r.Pause != want {
			t.Errorf("%d (%s): pause %v, want %v", x.Code, x.Class, r.Pause, want)
		}
		if want := x.Class == kefu.ErrMediaInvalid; r.Renew != want {
			t.Errorf("%d (%s): renew %v, want %v", x.Code, x.Class, r.Renew, want)
		}
		want := gateway.Failed
		switch x.Class {
		case kefu.ErrToken, kefu.ErrBusy, kefu.ErrRateLimited, kefu.ErrMediaInvalid:
			want = gateway.Queued
		case kefu.ErrWindowClosed, kefu.ErrAllowanceSpent:
			want = gateway.Parked
		case kefu.ErrAccountConfig:
			if r.Pause {
				want = gateway.Queued
			}
		case kefu.ErrQuotaExhausted:
			if x.Code == dailyQuota {
				want = gateway.Queued
			}
		}
		if r.State != want {
			t.Errorf("%d (%s): %s, want %s", x.Code, x.Class, r.State, want)
		}
	}
	for _, class := range []kefu.Class{kefu.ErrToken, kefu.ErrBusy, kefu.ErrRateLimited, kefu.ErrQuotaExhausted, kefu.ErrAllowanceSpent,
		kefu.ErrWindowClosed, kefu.ErrRecipientUnreachable, kefu.ErrMediaInvalid, kefu.ErrBadRequest, kefu.ErrAccountConfig} {
		if !met[class] {
			t.Errorf("no errcode of class %s was tried", class)
		}
	}
	// From the token call 40001 is a wrong secret, from a send a dead token.
	for op, pause := range map[string]bool{"stable_token": true, "message/custom/send": false} {
		if r := Decide(&kefu.Error{Op: op, Code: 40001}, Case{Tries: 1, Retries: DefaultRetries()}); r.Pause != pause || r.State != gateway.Queued {
			t.Errorf("40001 of %s: %+v", op, r)
		}
	}
}

func TestFullJitter(t *testing.T) {
	c := Case{Tries: 3}
	seen := map[bool]bool{}
	for range 1000 {
		d := c.pause(Retry{First: time.Second, Most: time.Minute})
		if d < 0 || d >= 4*time.Second {
			t.Fatal(d)
		}
		seen[d < 2*time.Second] = true
	}
	if len(seen) != 2 {
		t.Error("not spread over the whole pause")
	}
}
