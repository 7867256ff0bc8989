package desk

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

var byKey = gateway.By{Kind: "key", ID: "key_1", Name: "shop"}

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

// A limit is of a window that begins with its first failure: what is mistyped now and then
// never adds up.
func TestMistypesDoNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := team(t)
		defer d.Store.Close()
		for range 3 * mostFailures {
			_, _, err := d.SignIn(t.Context(), gateway.SignIn{Name: "man", Password: "wrong"}, "192.0.2.1")
			wants(t, "a mistype", err, gateway.LoginFailed)
			time.Sleep(lockedFor / 3)
		}
	})
}

// Whose tries are counted together: those of an address, which in IPv6 is a /64.
func TestNetworks(t *testing.T) {
	for _, tt := range []struct{ from, counted string }{
		{"192.0.2.1", "192.0.2.1"},
		{"2001:db8:1:2::1", "2001:db8:1:2::/64"},
		{"2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"},
		{"2001:db8:1:3::1", "2001:db8:1:3::/64"},
		{"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
		{"", ""},
		{"nonsense", "nonsense"},
	} {
		if got := network(tt.from); got != tt.counted {
			t.Errorf("%q is counted as %q, want %q", tt.from, got, tt.counted)
		}
	}
}

// Links have a count of their own, by address: whoever guesses them is stopped, and
// whoever guesses passwords keeps nobody from using one.
func TestLinksAreLimited(t *testing.T) {
	d, a := team(t)
	link := func(from string) error {
		l, err := d.Link(t.Context(), a.ID, "key_1")
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = d.SignIn(t.Context(), gateway.SignIn{Link: l.Link}, from)
		return err
	}
	guess := func(from string) error {
		_, _, err := d.SignIn(t.Context(), gateway.SignIn{Link: newText()}, from)
		return err
	}
	for i := range mostFailures * perAddress {
		d.limits.try(guesses(strconv.Itoa(i), "192.0.2.1"))
		wants(t, "a guess", guess(fmt.Sprintf("2001:db8::%x", i+1)), gateway.LinkUsed)
		if i%10 == 0 {
			wants(t, "a right one between them", link("2001:db8::1"), "")
		}
	}
	wants(t, "the next, from another address of the same network", guess("2001:db8::ffff:1"), gateway.LoginLimited)
	wants(t, "from another network", link("2001:db8:0:1::1"), "")
	wants(t, "where passwords are limited", link("192.0.2.1"), "")
}

// Beyond their number the oldest counts are forgotten, not those that stop somebody now.
func TestOldestCountIsForgotten(t *testing.T) {
	var l limits
	first, last := own("first"), own("last")
	for range mostFailures {
		l.try(first)
	}
	for i := range mostTracked - 2 {
		l.try(own(strconv.Itoa(i)))
	}
	for range mostFailures {
		l.try(last)
	}
	if l.try(first) {
		t.Error("what fits is forgotten")
	}
	l.try(own("one more"))
	if l.try(last) || !l.try(first) || len(l.tallies) != mostTracked || l.byAge.Len() != mostTracked {
		t.Errorf("%d counts, %d in order", len(l.tallies), l.byAge.Len())
	}
}

// What strangers do to the record is bounded: of each address the first refusal and the
// one that is too many, with their number; of names that nobody has no more than a
// hundred in all.
func TestRecordOfRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, a := team(t)
		defer d.Store.Close()
		record := func() (on []string) {
			page, err := d.Audit(t.Context(), "", 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Items {
				if e.What == "session.refused" {
					on = append(on, strings.Replace(e.Who, a.ID, "ID", 1)+" "+e.Target+": "+e.Detail)
				}
			}
			slices.Reverse(on)
			return on
		}
		guess := func(name, from string) {
			_, _, err := d.SignIn(t.Context(), gateway.SignIn{Name: name, Password: "wrong"}, from)
			wants(t, name, err, gateway.LoginFailed)
		}
		for range mostFailures {
			guess("man", "192.0.2.1")
		}
		guess("a password by mistake", "192.0.2.1")
		guess("another name", "192.0.2.1")
		want := []string{"ID man: from 192.0.2.1", "ID man: 5 times from 192.0.2.1", " : from 192.0.2.1"}
		if got := record(); !slices.Equal(got, want) {
			t.Errorf("on record\n%q, want\n%q", got, want)
		}
		time.Sleep(lockedFor)
		guess("man", "192.0.2.1")
		if got := record(); len(got) != len(want)+1 {
			t.Errorf("on record, in the next window\n%q", got)
		}
		time.Sleep(lockedFor)
		before := len(record())
		for i := range 3 * mostStrange {
			if err := d.refused(t.Context(), time.Now(), "", "nobody", fmt.Sprintf("2001:db8:0:%x::1", i)); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(record()) - before; got != mostStrange {
			t.Errorf("%d rows of strangers, want %d", got, mostStrange)
		}
		if err := d.refused(t.Context(), time.Now(), a.ID, "man", "192.0.2.7"); err != nil || len(record())-before != mostStrange+1 {
			t.Errorf("a name that there is goes on record all the same: %v", err)
		}
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
		turnOn := func(password, code string) error {
			return d.TurnOnTOTP(t.Context(), a.ID, gateway.TOTPStart{Password: password, Code: code})
		}
		wants(t, "a wrong code", turnOn("correct horse", "000000"), gateway.LoginFailed)
		wants(t, "a wrong password", turnOn("wrong", present()), gateway.LoginFailed)
		wants(t, "no password", turnOn("", present()), gateway.LoginFailed)
		wants(t, "on", turnOn("correct horse", present()), "")
		wants(t, "on again", turnOn("correct horse", present()), gateway.Conflict)
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
		wants(t, "off, by a code that was used", d.TurnOffTOTP(t.Context(), a.ID, present()), gateway.LoginFailed)
		time.Sleep(30 * time.Second)
		wants(t, "off", d.TurnOffTOTP(t.Context(), a.ID, present()), "")
		in.Password, in.Code = "correct horse", ""
		_, _, err = d.SignIn(t.Context(), in, "")
		wants(t, "without a code, then", err, "")
		for range mostFailures {
			wants(t, "a guess", turnOn("guess", present()), gateway.LoginFailed)
		}
		wants(t, "after many guesses", turnOn("correct horse", present()), gateway.LoginLimited)
	})
}

// Whoever has lost their second factor is let in again when somebody else has taken it off.
func TestLostSecondFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, a := team(t)
		defer d.Store.Close()
		protect(t, d, a.ID)
		l, err := d.Link(t.Context(), a.ID, "key_1")
		if err != nil {
			t.Fatal(err)
		}
		text, _, err := d.SignIn(t.Context(), gateway.SignIn{Link: l.Link}, "")
		wants(t, "by link", err, "")
		no := false
		if a, err = d.PutAgent(t.Context(), a.ID, gateway.AgentRequest{TOTP: &no}, byKey); err != nil || a.TOTP {
			t.Errorf("taken off: %+v, %v", a, err)
		}
		_, err = d.Agent(t.Context(), text)
		wants(t, "the session", err, gateway.Unauthorized)
		_, _, err = d.SignIn(t.Context(), gateway.SignIn{Name: "man", Password: "correct horse"}, "")
		wants(t, "by password alone", err, "")
	})
}

// protect gives an agent a second factor.
func protect(t *testing.T, d *Desk, id string) kefu.Secret {
	t.Helper()
	o, err := d.OfferTOTP(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	secret := kefu.Secret(o.Secret)
	if err := d.TurnOnTOTP(t.Context(), id, gateway.TOTPStart{Password: "correct horse", Code: totp(secret, time.Now().Unix()/30)}); err != nil {
		t.Fatal(err)
	}
	return secret
}

// It takes long to check and to hash a password. What is changed meanwhile stays changed,
// and what was proven against the old state opens nothing.
func TestChangesMeanwhileStand(t *testing.T) {
	yes := true
	change := func(r gateway.AgentRequest) func(*testing.T, *Desk, string) {
		return func(t *testing.T, d *Desk, id string) {
			if _, err := d.PutAgent(t.Context(), id, r, byKey); err != nil {
				t.Error(err)
			}
		}
	}
	keep := func(f func(*store.Agent)) func(*testing.T, *Desk, string) { // what is hashed already
		return func(t *testing.T, d *Desk, id string) {
			_, err := d.Store.ChangeAgent(t.Context(), time.Now(), id, func(a *store.Agent) (store.AgentChange, error) {
				f(a)
				return store.AgentChange{EndSessions: true}, nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
	reset := keep(func(a *store.Agent) { a.Password = nobody })
	protected := keep(func(a *store.Agent) { a.Secret, a.TOTPUsed = "GEZDGNBVGY3TQOJQ", 7 })
	setPassword := func(t *testing.T, d *Desk, id string) error {
		_, err := d.SetPassword(t.Context(), id, gateway.PasswordChange{Old: "correct horse", New: "battery staple"})
		return err
	}
	signIn := func(t *testing.T, d *Desk, _ string) error {
		_, _, err := d.SignIn(t.Context(), gateway.SignIn{Name: "man", Password: "correct horse"}, "")
		return err
	}
	turnOn := func(t *testing.T, d *Desk, id string) error {
		o, err := d.OfferTOTP(t.Context(), id)
		if err != nil {
			t.Error(err)
		}
		return d.TurnOnTOTP(t.Context(), id, gateway.TOTPStart{Password: "correct horse", Code: totp(kefu.Secret(o.Secret), time.Now().Unix()/30)})
	}
	putPassword := func(t *testing.T, d *Desk, id string) error {
		_, err := d.PutAgent(t.Context(), id, gateway.AgentRequest{Password: "battery staple"}, byKey)
		return err
	}
	for _, tt := range []struct {
		name      string
		slow      func(*testing.T, *Desk, string) error
		meanwhile func(*testing.T, *Desk, string)
		code      string // of the slow one
		stands    func(store.Agent) bool
	}{
		{"a new password, and disabled", setPassword, change(gateway.AgentRequest{Disabled: &yes}), gateway.LoginFailed, func(a store.Agent) bool { return a.Disabled }},
		{"a new password, and demoted", setPassword, change(gateway.AgentRequest{Role: gateway.Views, Accounts: []string{"wxa"}}), "", func(a store.Agent) bool { return a.Role == gateway.Views && len(a.Accounts) == 1 }},
		{"a new password, and another one", setPassword, reset, gateway.LoginFailed, func(a store.Agent) bool { return a.Password == nobody }},
		{"a sign-in, and disabled", signIn, change(gateway.AgentRequest{Disabled: &yes}), gateway.LoginFailed, func(a store.Agent) bool { return a.Disabled }},
		{"a sign-in, and another password", signIn, reset, gateway.LoginFailed, func(a store.Agent) bool { return a.Password == nobody }},
		{"a sign-in, and a second factor", signIn, protected, gateway.LoginFailed, func(a store.Agent) bool { return a.TOTP }},
		{"a second factor, and disabled", turnOn, change(gateway.AgentRequest{Disabled: &yes}), gateway.LoginFailed, func(a store.Agent) bool { return a.Disabled && !a.TOTP }},
		{"a second factor, and another password", turnOn, reset, gateway.LoginFailed, func(a store.Agent) bool { return a.Password == nobody && !a.TOTP }},
		{"a password by an admin, and a second factor", putPassword, protected, "", func(a store.Agent) bool { return a.TOTP && a.TOTPUsed == 7 }},
		{"a password by an admin, and demoted", putPassword, change(gateway.AgentRequest{Role: gateway.Views}), "", func(a store.Agent) bool { return a.Role == gateway.Views }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, a := team(t)
			for range cap(hashing) { // nobody hashes until the change is made
				hashing <- struct{}{}
			}
			over := make(chan error, 1)
			go func() { over <- tt.slow(t, d, a.ID) }()
			time.Sleep(50 * time.Millisecond)
			tt.meanwhile(t, d, a.ID)
			for range cap(hashing) {
				<-hashing
			}
			wants(t, "the slow one", <-over, tt.code)
			now, err := d.Store.Agent(t.Context(), a.ID)
			if err != nil || !tt.stands(now) {
				t.Errorf("what was changed meanwhile does not stand: %+v, %v", now, err)
			}
		})
	}
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
		if _, err := d.PutAgent(t.Context(), a.ID, gateway.AgentRequest{Role: gateway.Views}, byKey); err != nil {
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

// talk makes a conversation with a follower.
func talk(t *testing.T, d *Desk, account, openid string) {
	t.Helper()
	if err := d.Store.SaveConversation(t.Context(), time.Now(), store.Conversation{Account: account, OpenID: openid, Ledger: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
}

func TestAssign(t *testing.T) {
	d, man := team(t)
	talk(t, d, "wxshop", "oFollower")
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

// With one who was erased meanwhile nothing is done any more, and nothing of it is kept.
func TestErasedHaveNoDesk(t *testing.T) {
	d, man := team(t)
	by := gateway.By{Kind: "agent", ID: man.ID}
	talk(t, d, "wxshop", "oFollower")
	calls := map[string]func() error{
		"Assign":    func() error { return d.Assign(t.Context(), "wxshop", "oFollower", man.ID, nil, by) },
		"Close":     func() error { return d.Close(t.Context(), "wxshop", "oFollower", by) },
		"SetTags":   func() error { return d.SetTags(t.Context(), "wxshop", "oFollower", nil, by) },
		"SetRemark": func() error { return d.SetRemark(t.Context(), "wxshop", "oFollower", "Mr Wang", by) },
		"AddNote":   func() error { return d.AddNote(t.Context(), "wxshop", "oFollower", "calls on Friday", by) },
		"Read":      func() error { return d.Read(t.Context(), "wxshop", "oFollower", "1") },
	}
	for name, call := range calls {
		wants(t, name, call(), "")
	}
	if _, err := d.Store.Erase(t.Context(), time.Now(), "wxshop", "oFollower"); err != nil {
		t.Fatal(err)
	}
	for name, call := range calls {
		wants(t, name+" of one who was erased", call(), gateway.NotFound)
	}
	entries, _, err := d.Store.Feed(t.Context(), "", 100, nil)
	if err != nil || len(entries) > 0 {
		t.Errorf("the feed has %+v, %v", entries, err)
	}
}

// Whoever may no longer have a conversation has it no longer: it is nobody's, and the
// feed says so, with who did that.
func TestConversationsOfFormerAgentsAreNobodys(t *testing.T) {
	yes := true
	put := func(r gateway.AgentRequest) func(*Desk, string) error {
		return func(d *Desk, id string) error {
			_, err := d.PutAgent(t.Context(), id, r, byKey)
			return err
		}
	}
	all := []string{"wxshop oA", "wxshop oB", "wxother oA"}
	for _, tt := range []struct {
		name     string
		change   func(*Desk, string) error
		released []string
	}{
		{"deleted", func(d *Desk, id string) error { return d.DeleteAgent(t.Context(), id, byKey) }, all},
		{"disabled", put(gateway.AgentRequest{Disabled: &yes}), all},
		{"reads only", put(gateway.AgentRequest{Role: gateway.Views}), all},
		{"without the account", put(gateway.AgentRequest{Accounts: []string{"wxother"}}), all[:2]},
		{"of another name", put(gateway.AgentRequest{Display: "满满"}), nil},
		{"lead", put(gateway.AgentRequest{Role: gateway.Leads}), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, man := team(t)
			lead, err := d.AddAgent(t.Context(), gateway.AgentRequest{Name: "lead", Role: gateway.Leads}, "")
			if err != nil {
				t.Fatal(err)
			}
			by := gateway.By{Kind: "agent", ID: lead.ID}
			for who, places := range map[string][]string{man.ID: all, lead.ID: {"wxshop oC"}} {
				for _, place := range places {
					account, openid, _ := strings.Cut(place, " ")
					talk(t, d, account, openid)
					wants(t, "Assign", d.Assign(t.Context(), account, openid, who, nil, by), "")
				}
			}
			before, err := d.Store.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			wants(t, tt.name, tt.change(d, man.ID), "")
			entries, _, err := d.Store.Feed(t.Context(), before, 100, nil)
			if err != nil {
				t.Fatal(err)
			}
			var released []string
			for _, e := range entries {
				released = append(released, e.Account+" "+e.OpenID)
				if want := `{"assigned_to":"","by":"key_1","by_name":"shop"}`; e.Type != changed || string(e.Data) != want {
					t.Errorf("the feed says %s %s, want %s", e.Type, e.Data, want)
				}
			}
			slices.Sort(released)
			want := slices.Sorted(slices.Values(tt.released))
			if !slices.Equal(released, want) {
				t.Errorf("released: %q, want %q", released, want)
			}
			for who, n := range map[string]int{man.ID: len(all) - len(want), lead.ID: 1} {
				if held, err := d.Store.HeldBy(t.Context(), who); err != nil || len(held) != n {
					t.Errorf("%s has %q, %v; want %d", who, held, err, n)
				}
			}
		})
	}
}

// Thousands of conversations are released in several commits; what was left undone when
// one failed is done by the same change once more.
func TestManyConversationsAreReleased(t *testing.T) {
	d, man := team(t)
	for i := range 2*releaseAtOnce + 1 {
		talk(t, d, "wxshop", fmt.Sprint("o", i))
		wants(t, "Assign", d.Assign(t.Context(), "wxshop", fmt.Sprint("o", i), man.ID, nil, gateway.By{}), "")
	}
	yes := true
	for range 2 {
		if _, err := d.PutAgent(t.Context(), man.ID, gateway.AgentRequest{Disabled: &yes}, byKey); err != nil {
			t.Fatal(err)
		}
		if held, err := d.Store.HeldBy(t.Context(), man.ID); err != nil || len(held) > 0 {
			t.Fatalf("has %d still, %v", len(held), err)
		}
		// As if the process had ended before it came to this one.
		if err := d.Store.ChangeDesk(t.Context(), time.Now(), store.DeskChange{Account: "wxshop", OpenID: "o1", Assigned: &man.ID}); err != nil {
			t.Fatal(err)
		}
	}
}

// told is what news say, each as "agent state".
func told(t *testing.T, news []gateway.FeedEntry) (all []string) {
	t.Helper()
	for _, e := range news {
		var p struct{ Agent, State string }
		if err := json.Unmarshal(e.Data, &p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Agent+" "+p.State)
	}
	return all
}

func TestPresence(t *testing.T) {
	d := &Desk{}
	_, n, more := d.Presences(-1)
	d.Present("wxshop", "o1", "agent_a", "", "replying")
	<-more
	news, n, _ := d.Presences(n)
	if got := told(t, news); !slices.Equal(got, []string{"agent_a replying"}) {
		t.Errorf("%q", got)
	}
	for range 3 * mostNews {
		d.Present("wxshop", "o1", "agent_a", "", "viewing")
	}
	if news, _, _ := d.Presences(n); len(news) != mostNews {
		t.Errorf("%d news for a slow reader, want the latest %d", len(news), mostNews)
	}
}

// Whoever comes is told who is there, once each, and not who was.
func TestWhoIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Desk{}
		d.Present("wxshop", "o1", "agent_c", "", "viewing")
		time.Sleep(presenceFor / 2)
		d.Present("wxshop", "o1", "agent_a", "", "viewing")
		d.Present("wxshop", "o1", "agent_a", "", "replying")
		d.Present("wxshop", "o1", "agent_b", "", "viewing")
		d.Present("wxshop", "o1", "agent_b", "", "gone")
		news, n, _ := d.Presences(-1)
		if got := told(t, news); !slices.Equal(got, []string{"agent_a replying", "agent_c viewing"}) {
			t.Errorf("there are %q", got)
		}
		if news, _, _ := d.Presences(n); len(news) != 0 {
			t.Errorf("told again: %q", told(t, news))
		}
		time.Sleep(presenceFor / 2)
		if news, _, _ := d.Presences(-1); !slices.Equal(told(t, news), []string{"agent_a replying"}) {
			t.Errorf("later there are %q", told(t, news))
		}
	})
}

// An agent has several tabs; the others are told the most of what they do in any.
func TestPresenceInTabs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &Desk{}
		_, n, _ := d.Presences(-1)
		for _, tt := range []struct {
			tab, state, told string
			after            time.Duration
		}{
			{tab: "one", state: "viewing", told: "viewing"},
			{tab: "two", state: "replying", told: "replying"},
			{tab: "one", state: "viewing", told: "replying"},
			{tab: "one", state: "gone", told: "replying"},
			{tab: "one", state: "viewing", told: "replying"},
			{tab: "two", state: "viewing", told: "viewing"},
			{tab: "two", state: "replying", told: "replying"},
			{tab: "two", state: "gone", told: "viewing"},
			{tab: "", state: "replying", told: "replying"}, // a page that names no tab is one
			{tab: "", state: "viewing", told: "viewing"},
			{tab: "", state: "gone", told: "viewing"},
			{tab: "one", state: "gone", told: "gone"},
			{tab: "two", state: "replying", told: "replying"},
			{tab: "one", state: "viewing", told: "viewing", after: presenceFor}, // the other was closed without a word
		} {
			time.Sleep(tt.after)
			d.Present("wxshop", "o1", "agent_a", tt.tab, tt.state)
			var news []gateway.FeedEntry
			news, n, _ = d.Presences(n)
			if got := told(t, news); !slices.Equal(got, []string{"agent_a " + tt.told}) {
				t.Errorf("tab %q, %s: %q, want %s", tt.tab, tt.state, got, tt.told)
			}
		}
		for i := range 3 * mostTabs {
			d.Present("wxshop", "o1", "agent_a", strconv.Itoa(i), "viewing")
			time.Sleep(time.Millisecond)
		}
		if n := len(d.present[place{"wxshop", "o1", "agent_a"}]); n != mostTabs {
			t.Errorf("%d tabs are kept, want %d", n, mostTabs)
		}
	})
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
		{gateway.AgentRequest{TOTP: &yes}, "", false},                                                                // nobody else's to turn on
		{gateway.AgentRequest{Role: gateway.Leads}, "role lead", true},
		{gateway.AgentRequest{Accounts: []string{"wxa", "wxb"}}, "accounts wxa wxb", true},
		{gateway.AgentRequest{Password: "another correct horse"}, "password", true},
		{gateway.AgentRequest{Disabled: &yes, Display: "满满"}, "display, disabled", true},
		{gateway.AgentRequest{TOTP: &no}, "second factor off", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			d, a := team(t)
			defer d.Store.Close()
			text, _, err := d.SignIn(t.Context(), gateway.SignIn{Name: "man", Password: "correct horse"}, "")
			if err != nil {
				t.Fatal(err)
			}
			protect(t, d, a.ID)
			if _, err := d.PutAgent(t.Context(), a.ID, tt.change, byKey); err != nil {
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
