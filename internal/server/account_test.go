package server

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
)

func TestAccounts(t *testing.T) {
	w := newWorld(t)
	full := `{"appid":"wxnew","name":"店","secret":"` + secret + `","token":"callback-token","aes_key":"` + aesKey + `","rules":{"menu":{"max":5,"seconds":60},"payment":{"max":null,"seconds":172800}},"keep_free":0,"rate":20}`
	a := w.do(adminKey, "POST", "/v1/accounts", full)
	got := read[gateway.Account](t, a)
	if a.StatusCode != 201 || got.Mode != callback.Secure || got.Profile != kefu.DefaultProfile || *got.Rules[kefu.Menu].Max != 5 || got.Rules[kefu.Payment].Max != nil || *got.KeepFree != 0 {
		t.Fatalf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do(adminKey, "POST", "/v1/accounts", full); a.StatusCode != 409 {
		t.Errorf("again: %d %s", a.StatusCode, a.body)
	}
	// PUT replaces, but for the secrets, which nobody can read and put back.
	a = w.do(adminKey, "PUT", "/v1/accounts/wxnew", `{"state":"paused"}`)
	kept := w.accounts["wxnew"]
	if a.StatusCode != 200 || kept.State != "paused" || kept.Name != "" || kept.Secret != secret || kept.Token != "callback-token" || kept.AESKey != aesKey || kept.Mode != callback.Secure {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	if a := w.do(adminKey, "PUT", "/v1/accounts/wxnew2", `{"secret":"s"}`); a.StatusCode != 201 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	for _, path := range []string{"/v1/accounts", "/v1/accounts/wxnew"} {
		if body := string(w.do(adminKey, "GET", path, "").body); strings.Contains(body, secret) || strings.Contains(body, aesKey) || strings.Contains(body, "callback-token") {
			t.Errorf("%s shows a secret: %s", path, body)
		}
	}
	if log := w.logged.String(); strings.Contains(log, secret) || strings.Contains(log, aesKey) {
		t.Error("a secret is in the log")
	}
	if a := w.do(adminKey, "DELETE", "/v1/accounts/wxnew", ""); a.StatusCode != 204 {
		t.Errorf("%s", a.body)
	}
	if a := w.do(adminKey, "GET", "/v1/accounts/wxnew", ""); a.StatusCode != 404 {
		t.Errorf("%s", a.body)
	}
}

func TestAccountIsChecked(t *testing.T) {
	for _, tt := range []struct{ body, location string }{
		{`{}`, "secret"},
		{`{"appid":"wxother","secret":"s"}`, "appid"},
		{`{"secret":"s","mode":"open"}`, "mode"},
		{`{"secret":"s","mode":"secure"}`, "mode"},
		{`{"secret":"s","token":"t","aes_key":"short"}`, "aes_key"},
		{`{"secret":"s","aes_key":"` + aesKey + `"}`, "aes_key"},
		{`{"secret":"s","profile":"legacy_1999"}`, "profile"},
		{`{"secret":"s","callbacks":"there"}`, "callbacks"},
		{`{"secret":"s","when_closed":"wait"}`, "when_closed"},
		{`{"secret":"s","on_unknown":"retry"}`, "on_unknown"},
		{`{"secret":"s","busy":"wait"}`, "busy"},
		{`{"secret":"s","mixing":"both"}`, "mixing"},
		{`{"secret":"s","msgmenu_tap":"scan"}`, "msgmenu_tap"},
		{`{"secret":"s","scan_follow":"menu"}`, "scan_follow"},
		{`{"secret":"s","state":"gone"}`, "state"},
		{`{"secret":"s","rules":{"refund":{"max":1,"seconds":1}}}`, "rules.refund"},
		{`{"secret":"s","rules":{"menu":{"max":-1,"seconds":1}}}`, "rules.menu.max"},
		{`{"secret":"s","rules":{"menu":{"max":1,"seconds":0}}}`, "rules.menu.seconds"},
		{`{"secret":"s","rules":{"menu":{"maximum":1,"seconds":1}}}`, "rules.maximum"},
		{`{"secret":"s","rules":[]}`, "rules"},
		{`{"secret":"s","keep_free":-1}`, "keep_free"},
		{`{"secret":"s","expires_after":-1}`, "expires_after"},
		{`{"secret":"s","relearn":86401}`, "relearn"},
		{`{"secret":"s","rate":-0.5}`, "rate"},
		{`{"secret":"s","rate":"fast"}`, "rate"},
		{`{"secret":["s"]}`, "secret"},
		{`{"secret":"s","nickname":"n"}`, "nickname"},
	} {
		w := newWorld(t)
		a := w.do(adminKey, "PUT", "/v1/accounts/wxnew", tt.body)
		p := read[gateway.Problem](t, a)
		if a.StatusCode != 422 || len(p.Errors) != 1 || p.Errors[0].Location != tt.location || len(w.accounts) != 2 {
			t.Errorf("%s: %d %s", tt.body, a.StatusCode, a.body)
		}
	}
	w := newWorld(t)
	if a := w.do(adminKey, "PUT", "/v1/accounts/wx%2Fnew", `{"secret":"s"}`); a.StatusCode != 422 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

func TestCheckAccount(t *testing.T) {
	w := newWorld(t)
	if c := read[gateway.AccountCheck](t, w.do(adminKey, "POST", "/v1/accounts/wxshop/check", "")); !c.OK || c.Problem != nil {
		t.Errorf("%+v", c)
	}
	w.checkErr = &kefu.Error{Op: "stable_token", Code: 40125, Msg: "invalid appsecret rid: 1-2-3", RID: "1-2-3"}
	c := read[gateway.AccountCheck](t, w.do(adminKey, "POST", "/v1/accounts/wxshop/check", ""))
	if p := c.Problem; c.OK || p.Code != gateway.Refused || p.ErrCode != 40125 || p.RID != "1-2-3" || p.Class != kefu.ErrAccountConfig || p.Advice == "" {
		t.Errorf("%+v", c.Problem)
	}
	// The same code of a business call is about the token: here it is about the AppSecret.
	w.checkErr = &kefu.Error{Op: "stable_token", Code: 40001, Msg: "invalid credential"}
	for lang, want := range map[string]string{"en": "compare the AppSecret with the console", "zh": "在公众平台核对 AppSecret"} {
		c := read[gateway.AccountCheck](t, w.do(adminKey, "POST", "/v1/accounts/wxshop/check", "", "Accept-Language: "+lang))
		if p := c.Problem; p.Class != kefu.ErrAccountConfig || !strings.Contains(p.Advice, want) || !strings.Contains(p.Help, "AppSecret") {
			t.Errorf("%s: %+v", lang, p)
		}
	}
	w.checkErr = errors.New("disk I/O error")
	if a := w.do(adminKey, "POST", "/v1/accounts/wxshop/check", ""); a.StatusCode != 503 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
}

// Paused and resumed, with a reason or without a body; the answer is the account,
// with how it stands; what was read can be written back.
func TestPauseAndResume(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		path, body string
		status     int
		state, why string
	}{
		{"pause", `{"because":"holidays"}`, 200, "paused", "holidays"},
		{"resume", "", 200, "active", ""},
		{"pause", "", 200, "paused", ""},
		{"pause", `{"because":"` + strings.Repeat("x", 513) + `"}`, 422, "paused", ""},
		{"pause", `{"why":"x"}`, 422, "paused", ""},
		{"resume", "", 200, "active", ""},
	} {
		res := w.do(adminKey, "POST", "/v1/accounts/wxshop/"+tt.path, tt.body)
		if res.StatusCode != tt.status {
			t.Errorf("%s %s: %d", tt.path, tt.body, res.StatusCode)
		}
		a := read[gateway.Account](t, w.do(readKey, "GET", "/v1/accounts/wxshop", ""))
		if a.State != tt.state || a.Because != tt.why || a.Standing == nil || a.Standing.UsedToday != 7 {
			t.Errorf("after %s %s: %+v %+v", tt.path, tt.body, a, a.Standing)
		}
		back, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		if res := w.do(adminKey, "PUT", "/v1/accounts/wxshop", string(back)); res.StatusCode != 200 {
			t.Errorf("written back: %d", res.StatusCode)
		}
		if w.accounts[shop].Standing != nil {
			t.Error("how it stood was stored")
		}
	}
	for _, path := range []string{"pause", "resume"} {
		if a := w.do(adminKey, "POST", "/v1/accounts/wxnobody/"+path, ""); a.StatusCode != 404 {
			t.Errorf("%s of an unknown account: %d", path, a.StatusCode)
		}
	}
}

// What an account permits is its own cells, and else its profile's with their source.
func TestAccountRules(t *testing.T) {
	w := newWorld(t)
	three := 3
	a := w.accounts[shop]
	a.Profile, a.Rules = kefu.DefaultProfile, map[kefu.Trigger]gateway.Allowance{kefu.Menu: {Max: &three, Seconds: 90}}
	w.accounts[shop] = a
	page := read[gateway.Page[gateway.Rule]](t, w.do(readKey, "GET", "/v1/accounts/"+shop+"/rules", ""))
	profile, _ := kefu.RulesFor(kefu.DefaultProfile)
	seen := map[kefu.Trigger]gateway.Rule{}
	for _, r := range page.Items {
		seen[r.Trigger] = r
	}
	if len(page.Items) != len(profile.Allowances) || len(seen) != len(page.Items) {
		t.Errorf("%d rules, want %d", len(page.Items), len(profile.Allowances))
	}
	if r := seen[kefu.Menu]; r.Of != "account" || *r.Max != 3 || r.Seconds != 90 || r.Source != "" {
		t.Errorf("%+v", r)
	}
	for trigger, cell := range profile.Allowances {
		if r := seen[trigger]; trigger != kefu.Menu && (r.Of != "profile" || r.Seconds != int(cell.For.Seconds()) || r.Source == "" || (r.Max == nil) != (cell.Max == kefu.Unlimited)) {
			t.Errorf("%+v, want %+v", r, cell)
		}
	}
}
