package desk

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// team is a desk with one agent, man, on a store of its own.
func team(t *testing.T) (*Desk, gateway.Agent) {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "kefu.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d := &Desk{Store: s}
	a, err := d.AddAgent(t.Context(), gateway.AgentRequest{Name: "man", Display: "小满", Password: "correct horse"}, "key_1")
	if err != nil {
		t.Fatal(err)
	}
	return d, a
}

func codeOf(err error) string {
	var p *gateway.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func wants(t *testing.T, what string, err error, code string) {
	t.Helper()
	if got := codeOf(err); got != code {
		t.Errorf("%s: %q, want %q", what, got, code)
	}
}

func TestSignIn(t *testing.T) {
	d, a := team(t)
	for _, tt := range []struct {
		name string
		in   gateway.SignIn
		code string
	}{
		{"right", gateway.SignIn{Name: "man", Password: "correct horse"}, ""},
		{"wrong password", gateway.SignIn{Name: "man", Password: "correct horsf"}, gateway.LoginFailed},
		{"no password", gateway.SignIn{Name: "man"}, gateway.LoginFailed},
		{"nobody", gateway.SignIn{Name: "nobody", Password: "correct horse"}, gateway.LoginFailed},
		{"nobody without a password", gateway.SignIn{Name: "nobody"}, gateway.LoginFailed},
		{"no link", gateway.SignIn{Link: "x"}, gateway.LinkUsed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, who, err := d.SignIn(t.Context(), tt.in, "192.0.2.1")
			wants(t, "SignIn", err, tt.code)
			if tt.code == "" && (text == "" || who.ID != a.ID) {
				t.Errorf("signed in as %q", who.ID)
			}
		})
	}
}

// An agent without a password is let in by links alone.
func TestNoPasswordOpensNothing(t *testing.T) {
	d, _ := team(t)
	a, err := d.AddAgent(t.Context(), gateway.AgentRequest{Name: "new"}, "key_1")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = d.SignIn(t.Context(), gateway.SignIn{Name: "new", Password: ""}, "")
	wants(t, "SignIn", err, gateway.LoginFailed)
	l, err := d.Link(t.Context(), a.ID, "key_1")
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := d.SignIn(t.Context(), gateway.SignIn{Link: l.Link}, "")
	wants(t, "by link", err, "")
	if _, err := d.Agent(t.Context(), text); err != nil {
		t.Error(err)
	}
	_, _, err = d.SignIn(t.Context(), gateway.SignIn{Link: l.Link}, "")
	wants(t, "by the same link", err, gateway.LinkUsed)
}

func TestGuessesAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := team(t)
		defer d.Store.Close()
		guess := func(password, from string) error {
			_, _, err := d.SignIn(t.Context(), gateway.SignIn{Name: "man", Password: password}, from)
			return err
		}
		for range mostFailures {
			wants(t, "a guess", guess("wrong", "192.0.2.1"), gateway.LoginFailed)
		}
		wants(t, "the right one, too late", guess("correct horse", "192.0.2.2"), gateway.LoginLimited)
		time.Sleep(lockedFor - time.Nanosecond)
		wants(t, "still", guess("correct horse", "192.0.2.2"), gateway.LoginLimited)
		time.Sleep(time.Nanosecond)
		wants(t, "then", guess("correct horse", "192.0.2.2"), "")
	})
}

// Many guesses at once are no more than many in turn.
func TestGuessesAtOnceAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := team(t)
		defer d.Store.Close()
		var checked atomic.Int64
		var wg sync.WaitGroup
		for range 4 * mostFailures {
			wg.Go(func() {
				_, _, err := d.SignIn(t.Context(), gateway.SignIn{Name: "man", Password: "wrong"}, "192.0.2.1")
				var p *gateway.Problem
				if errors.As(err, &p) && p.Code == gateway.LoginFailed {
					checked.Add(1)
				}
			})
		}
		wg.Wait()
		if n := checked.Load(); n != mostFailures {
			t.Errorf("%d guesses were checked, want %d", n, mostFailures)
		}
	})
}

// A new password ends every session but the one that it begins.
func TestNewPasswordEndsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, a := team(t)
		defer d.Store.Close()
		old, _, err := d.SignIn(t.Context(), gateway.SignIn{Name: "man", Password: "correct horse"}, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.SetPassword(t.Context(), a.ID, gateway.PasswordChange{Old: "wrong", New: "battery staple"})
		wants(t, "a wrong old one", err, gateway.LoginFailed)
		fresh, err := d.SetPassword(t.Context(), a.ID, gateway.PasswordChange{Old: "correct horse", New: "battery staple"})
		wants(t, "the right one", err, "")
		if _, err := d.Agent(t.Context(), old); err == nil {
			t.Error("a session outlives the password it was begun with")
		}
		if _, err := d.Agent(t.Context(), fresh); err != nil {
			t.Errorf("the session of the new password: %v", err)
		}
		for range mostFailures {
			_, err = d.SetPassword(t.Context(), a.ID, gateway.PasswordChange{Old: "guess", New: "battery staple"})
			wants(t, "a guess", err, gateway.LoginFailed)
		}
		_, err = d.SetPassword(t.Context(), a.ID, gateway.PasswordChange{Old: "battery staple", New: "correct horse"})
		wants(t, "after many guesses", err, gateway.LoginLimited)
	})
}

// RFC 6238, appendix B, in its last six digits.
func TestTOTPVectors(t *testing.T) {
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // 12345678901234567890
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		if got := totp(secret, at/30); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

func TestSecondFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, a := team(t)
		defer d.Store.Close()
		o, err := d.OfferTOTP(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		present := func() string { return totp(kefu.Secret(o.Secret), time.Now().Unix()/30) }
		wants(t, "a wrong code", d.SetTOTP(t.Context(), a.ID, "000000", true), gateway.LoginFailed)
		wants(t, "on", d.SetTOTP(t.Context(), a.ID, present(), true), "")
		_, err = d.OfferTOTP(t.Context(), a.ID)
		wants(t, "another one, by a session alone", err, gateway.Conflict)
		in := gateway.SignIn{Name: "man", Password: "correct horse"}
		_, _, err = d.SignIn(t.Context(), in, "")
		wants(t, "without a code", err, gateway.CodeRequired)
		in.Code = present()
		_, _, err = d.SignIn(t.Context(), in, "")
		wants(t, "the code that turned it on", err, gateway.LoginFailed)
		time.Sleep(30 * time.Second)
		in.Code = present()
		_, _, err = d.SignIn(t.Context(), in, "")
		wants(t, "a fresh code", err, "")
		_, _, err = d.SignIn(t.Context(), in, "")
		wants(t, "the same again", err, gateway.LoginFailed)
		in.Password, in.Code = "wrong", present()
		_, _, err = d.SignIn(t.Context(), in, "")
		wants(t, "a wrong password with it", err, gateway.LoginFailed)
	})
}

func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, a := team(t)
		defer d.Store.Close()
		begin := func() string {
			text, _, err := d.SignIn(t.Context(), gateway.SignIn{Name: "man", Password: "correct horse"}, "")
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		opens := func(text string) string {
			_, err := d.Agent(t.Context(), text)
			return codeOf(err)
		}
		text := begin()
		if got := opens(text); got != "" {
			t.Error(got)
		}
		if err := d.SignOut(t.Context(), text); err != nil {
			t.Error(err)
		}
		if got := opens(text); got != gateway.Unauthorized {
			t.Errorf("after sign-out: %q", got)
		}
		text = begin()
		opens(text) // remembered
		if _, err := d.PutAgent(t.Context(), a.ID, gateway.AgentRequest{Role: gateway.Views}, "key_1"); err != nil {
			t.Error(err)
		}
		if got := opens(text); got != gateway.Unauthorized {
			t.Errorf("after the role was changed: %q", got)
		}
		text = begin()
		time.Sleep(12*time.Hour - 1)
		if got := opens(text); got != "" {
			t.Errorf("just before its end: %q", got)
		}
		time.Sleep(cacheLife)
		if got := opens(text); got != gateway.Unauthorized {
			t.Errorf("after its end: %q", got)
		}
	})
}

func TestAssign(t *testing.T) {
	d, man := team(t)
	viewer, _ := d.AddAgent(t.Context(), gateway.AgentRequest{Name: "viewer", Role: gateway.Views}, "")
	other, _ := d.AddAgent(t.Context(), gateway.AgentRequest{Name: "other", Accounts: []string{"wxother"}}, "")
	lead, _ := d.AddAgent(t.Context(), gateway.AgentRequest{Name: "lead", Role: gateway.Leads}, "")
	nobody := ""
	for _, tt := range []struct {
		name, agent string
		expect      *string
		code        string
	}{
		{"nobody's", man.ID, &nobody, ""},
		{"somebody was faster", lead.ID, &nobody, gateway.Conflict},
		{"given on", lead.ID, &man.ID, ""},
		{"to a viewer", viewer.ID, nil, gateway.NotFound},
		{"to one of another account", other.ID, nil, gateway.NotFound},
		{"to nobody that is known", "agent_x", nil, gateway.NotFound},
		{"released", "", nil, ""},
	} {
		wants(t, tt.name, d.Assign(t.Context(), "wxshop", "oFollower", tt.agent, tt.expect, gateway.By{Kind: "agent", ID: man.ID}), tt.code)
	}
}

func TestPresence(t *testing.T) {
	d := &Desk{}
	_, n, more := d.Presences(-1)
	d.Present("wxshop", "o1", "agent_a", "replying")
	<-more
	news, n, _ := d.Presences(n)
	if len(news) != 1 {
		t.Fatalf("%d news", len(news))
	}
	var p struct{ Agent, State string }
	if json.Unmarshal(news[0].Data, &p); p.Agent != "agent_a" || p.State != "replying" {
		t.Errorf("%s", news[0].Data)
	}
	for range 3 * mostNews {
		d.Present("wxshop", "o1", "agent_a", "viewing")
	}
	if news, _, _ := d.Presences(n); len(news) != mostNews {
		t.Errorf("%d news for a slow reader, want the latest %d", len(news), mostNews)
	}
}

// What is changed of an agent is on record by name; all but the display name ends their
// sessions, if it is a change at all.
func TestAgentIsChanged(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		change gateway.AgentRequest
		detail string
		ends   bool
	}{
		{gateway.AgentRequest{Display: "满满"}, "display", false},
		{gateway.AgentRequest{Display: "小满", Role: gateway.Answers, Accounts: []string{}, Disabled: &no}, "", false}, // as it is
		{gateway.AgentRequest{Role: gateway.Leads}, "role lead", true},
		{gateway.AgentRequest{Accounts: []string{"wxa", "wxb"}}, "accounts wxa wxb", true},
		{gateway.AgentRequest{Password: "another correct horse"}, "password", true},
		{gateway.AgentRequest{Disabled: &yes, Display: "满满"}, "display, disabled", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			d, a := team(t)
			defer d.Store.Close()
			text, _, err := d.SignIn(t.Context(), gateway.SignIn{Name: "man", Password: "correct horse"}, "")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.PutAgent(t.Context(), a.ID, tt.change, "key_1"); err != nil {
				t.Fatal(err)
			}
			_, err = d.Agent(t.Context(), text)
			if ended := codeOf(err) == gateway.Unauthorized; ended != tt.ends {
				t.Errorf("%+v: session ended: %t", tt.change, ended)
			}
			page, err := d.Audit(t.Context(), "", 1)
			if err != nil || page.Items[0].What != "agent.put" || page.Items[0].Who != "key_1" || page.Items[0].Detail != tt.detail {
				t.Errorf("%+v: on record %+v, %v", tt.change, page.Items, err)
			}
		})
	}
}
