package server

import (
	"cmp"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
)

// An accountRequest is an account as it is written: with its secrets, of which an
// empty one keeps what is stored.
type accountRequest struct {
	gateway.Account
	Secret kefu.Secret `json:"secret,omitempty"`
	Token  kefu.Secret `json:"token,omitempty"`
	AESKey kefu.Secret `json:"aes_key,omitempty"`
}

func (s *Server) listAccounts(c *call) (int, any, error) {
	all, err := s.Store.Accounts(c.Context())
	if err != nil {
		return 0, nil, err
	}
	var page gateway.Page[gateway.Account]
	for _, a := range all {
		if c.sees(a.AppID) {
			page.Items = append(page.Items, c.shown(a))
		}
	}
	return http.StatusOK, full(page), nil
}

func (s *Server) getAccount(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	return c.one(http.StatusOK, a)
}

// listRules tells what each trigger permits, by the account's own cells and else its
// profile's.
func (s *Server) listRules(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	rules, err := kefu.RulesFor(a.Profile)
	if err != nil {
		return 0, nil, err
	}
	var page gateway.Page[gateway.Rule]
	for _, trigger := range kefu.Triggers() {
		r := gateway.Rule{Trigger: trigger, Of: "profile"}
		cell, given := rules.Allowances[trigger]
		if own, ok := a.Rules[trigger]; ok {
			r.Allowance, r.Of, given = own, "account", true
		} else if given {
			r.Seconds = int(cell.For / time.Second)
			if cell.Max != kefu.Unlimited {
				r.Max = &cell.Max
			}
			r.Source, r.Date = kefu.AllowanceSource(a.Profile, trigger)
		}
		if given {
			page.Items = append(page.Items, r)
		}
	}
	return http.StatusOK, full(page), nil
}

func (s *Server) postAccount(c *call) (int, any, error) {
	var r accountRequest
	if err := c.body(&r); err != nil {
		return 0, nil, err
	}
	if !c.sees(r.AppID) {
		return 0, nil, refuse(gateway.Forbidden).because("foreign-scope")
	}
	if _, err := s.Store.Account(c.Context(), r.AppID); err == nil {
		return 0, nil, refuse(gateway.AccountExists)
	} else if !s.has(err, gateway.NotFound) {
		return 0, nil, err
	}
	return c.put(r, gateway.Account{}, http.StatusCreated)
}

func (s *Server) putAccount(c *call) (int, any, error) {
	appid := c.PathValue("account")
	var r accountRequest
	if err := c.body(&r); err != nil {
		return 0, nil, err
	}
	if r.AppID = cmp.Or(r.AppID, appid); r.AppID != appid {
		return 0, nil, invalid(gateway.InvalidRequest, wrong("appid", "same-account", appid))
	}
	if !c.sees(appid) {
		return 0, nil, refuse(gateway.UnknownAccount)
	}
	stored, err := s.Store.Account(c.Context(), appid)
	switch {
	case err == nil:
		return c.put(r, stored, http.StatusOK)
	case s.has(err, gateway.NotFound):
		return c.put(r, gateway.Account{}, http.StatusCreated)
	}
	return 0, nil, err
}

// put writes an account in place of the stored one.
func (c *call) put(r accountRequest, stored gateway.Account, status int) (int, any, error) {
	a := r.Account
	a.Secret = cmp.Or(r.Secret, stored.Secret)
	a.Token = cmp.Or(r.Token, stored.Token)
	a.AESKey = cmp.Or(r.AESKey, stored.AESKey)
	a.Because, a.Standing, a.Revision = "", nil, ""
	if a = a.WithDefaults(); a.State == stored.State {
		a.Because = stored.Because
	}
	if err := invalid(gateway.InvalidRequest, checkAccount(a)...); err != nil {
		return 0, nil, err
	}
	if a.CallbackForward != "" {
		if _, err := c.s.Webhooks.CheckURL(a.CallbackForward); err != nil {
			return 0, nil, invalid(gateway.InvalidRequest, wrong("callback_forward", "webhook-url", err))
		}
	}
	a, err := c.s.Engine.PutAccount(c.Context(), a, func(now gateway.Account) error {
		c.verb, c.made, c.detail = "account.add", a.AppID, ""
		if now.AppID != "" {
			c.verb, c.detail = "account.put", accountChanges(now, a)
		}
		return c.matches(accountRevision(now))
	})
	if err != nil {
		return 0, nil, err
	}
	return c.one(status, a)
}

var appid = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

const maxExpires = 30 * 24 * time.Hour

// checkAccount says what is wrong with an account that has its defaults.
func checkAccount(a gateway.Account) (bad []field) {
	add := func(when bool, location, why string, args ...any) {
		if when {
			bad = append(bad, wrong(location, why, args...))
		}
	}
	add(!appid.MatchString(a.AppID), "appid", "appid")
	add(a.Secret == "", "secret", "required")
	add(len(a.Name) > 256, "name", "max-bytes", len(a.Name), 256)
	for name, s := range map[string]kefu.Secret{"secret": a.Secret, "token": a.Token} {
		add(len(s) > 256, name, "max-bytes", len(s), 256)
	}
	if a.AESKey != "" {
		_, err := callback.NewCrypt(a.AppID, cmp.Or(a.Token, "-"), a.AESKey)
		add(err != nil, "aes_key", "aes-key")
		add(a.Token == "", "aes_key", "mode-token")
	}
	bad = append(bad, oneOf("mode", a.Mode, callback.Plain, callback.Compat, callback.Secure)...)
	add((a.Mode == callback.Compat || a.Mode == callback.Secure) && a.AESKey == "", "mode", "mode-key")
	bad = append(bad, oneOf("profile", a.Profile, kefu.Profiles()...)...)
	bad = append(bad, oneOf("mixing", a.Mixing, gateway.SideBySide, gateway.LatestWins, gateway.MaxOfBoth)...)
	bad = append(bad, oneOf("msgmenu_tap", a.MenuTap, kefu.Menu, kefu.UserMessage)...)
	bad = append(bad, oneOf("scan_follow", a.ScanFollow, kefu.Follow, kefu.Scan)...)
	bad = append(bad, oneOf("callbacks", a.Callbacks, "here", "elsewhere")...)
	bad = append(bad, oneOf("when_closed", a.WhenClosed, gateway.Park, gateway.Fail, gateway.Try)...)
	bad = append(bad, oneOf("on_unknown", a.OnUnknown, gateway.Hold, gateway.Resend)...)
	bad = append(bad, oneOf("busy", a.Busy, "retry", "unknown")...)
	if a.Door != nil {
		bad = append(bad, oneOf("door.mode", a.Door.Mode, gateway.DoorSync, gateway.DoorQueued)...)
	}
	bad = append(bad, oneOf("token_source", a.TokenSource, gateway.OwnTokens, gateway.SuppliedTokens)...)
	add(a.TokenBudget != 0 && (a.TokenBudget < 20 || a.TokenBudget > 500_000), "token_budget", "must-range", 20, 500_000)
	bad = append(bad, oneOf("state", a.State, "active", "paused")...)
	for t, cell := range a.Rules {
		at := "rules." + string(t)
		bad = append(bad, oneOf(at, t, kefu.Triggers()...)...)
		add(t == "", "rules", "unknown-member")
		add(cell.Max != nil && (*cell.Max < 0 || *cell.Max > 1e6), at+".max", "must-range", 0, 1_000_000)
		add(cell.Seconds < 1 || cell.Seconds > 30*86400, at+".seconds", "must-range", 1, 30*86400)
	}
	add(a.KeepFree != nil && (*a.KeepFree < 0 || *a.KeepFree > 1000), "keep_free", "must-range", 0, 1000)
	add(a.ExpiresAfter < 1 || a.ExpiresAfter.Duration() > maxExpires, "expires_after", "must-range", 1, int(maxExpires/time.Second))
	add(a.Relearn < 1 || a.Relearn > 86400, "relearn", "must-range", 1, 86400)
	add(a.Rate < 0 || a.Rate > 1e5, "rate", "must-range", 0, 100_000)
	add(a.Daily < 0 || a.Daily > 1e9, "daily", "must-range", 0, 1_000_000_000)
	slices.SortStableFunc(bad, func(a, b field) int { return strings.Compare(a.location, b.location) })
	return bad
}

func (s *Server) deleteAccount(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err == nil {
		err = s.Engine.DeleteAccount(c.Context(), a.AppID)
	}
	if err != nil {
		return 0, nil, err
	}
	s.Tokens.Forget(a.AppID)
	return http.StatusNoContent, nil, nil
}

// checkAccount tells what WeChat says, which is an answer and no failure of this call.
func (s *Server) checkAccount(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	err = s.Engine.CheckAccount(c.Context(), a.AppID, c.key.ID)
	switch {
	case err == nil:
		if now, err := s.Store.Account(c.Context(), a.AppID); err == nil && a.State != now.State {
			c.done("account.resume")
		}
		return http.StatusOK, gateway.AccountCheck{OK: true}, nil
	case kefu.ClassOf(err) == "" && !s.has(err, gateway.NoToken):
		return 0, nil, err
	}
	p, _ := s.problem(err, c.lang)
	return http.StatusOK, gateway.AccountCheck{Problem: &p}, nil
}

const maxBecause = 512 // bytes

// pauseAccount takes a body or none.
func (s *Server) pauseAccount(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	var r gateway.PauseRequest
	if c.ContentLength != 0 {
		if err := c.body(&r); err != nil {
			return 0, nil, err
		}
	}
	if len(r.Because) > maxBecause {
		return 0, nil, invalid(gateway.InvalidRequest, wrong("because", "max-bytes", len(r.Because), maxBecause))
	}
	if err := invalid(gateway.InvalidRequest, checkText("because", r.Because, maxBecause, false)...); err != nil {
		return 0, nil, err
	}
	if err := s.Engine.Pause(c.Context(), a.AppID, r.Because); err != nil {
		return 0, nil, err
	}
	return s.getAccount(c)
}

func (s *Server) resumeAccount(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	if err := s.Engine.Resume(c.Context(), a.AppID); err != nil {
		return 0, nil, err
	}
	return s.getAccount(c)
}
