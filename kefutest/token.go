package kefutest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"time"
)

// The life of tokens, and the limits of the two calls that give them. Sources: the
// guide to calls, and the pages of getAccessToken and getStableAccessToken.
const (
	tokenLife      = 7200 * time.Second
	tokenOverlap   = 5 * time.Minute // the old one still works beside the new one
	forcedPerDay   = 20
	forcedInterval = 30 * time.Second
)

var tokenRoutes = []route{
	{path: "/cgi-bin/token", open: true, daily: 2000, handle: getToken},
	{path: "/cgi-bin/stable_token", open: true, method: http.MethodPost, daily: 500_000, minute: 10_000, handle: getStableToken},
}

// A token is one access token that was given out.
type token struct {
	value   string
	account *account
	expires time.Time // by its expires_in
	dies    time.Time // when it stops working: expires, or earlier
}

// A tokenBook knows tokens by the hash of their value: that dead ones were alive,
// too. Keys are hashes so that no comparison tells how much of a guess was right.
type tokenBook map[[sha256.Size]byte]*token

// mostTokens is how many are remembered; the dead are forgotten first, which makes
// them "not latest".
const mostTokens = 4096

// wellFormed is what a token of ours, as of WeChat's today, looks like.
var wellFormed = regexp.MustCompile(`^[0-9]{2,3}_[A-Za-z0-9_-]{100,500}$`)

// issue makes a new token: 137 characters that nobody guesses.
func (b tokenBook) issue(a *account, now time.Time) *token {
	if len(b) >= mostTokens {
		for key, t := range b {
			if !now.Before(t.dies) {
				delete(b, key)
			}
		}
	}
	var random [101]byte
	rand.Read(random[:])
	t := &token{
		value:   fmt.Sprintf("%d_%s", 60+random[100]%40, base64.RawURLEncoding.EncodeToString(random[:100])),
		account: a, expires: now.Add(tokenLife), dies: now.Add(tokenLife),
	}
	b[sha256.Sum256([]byte(t.value))] = t
	return t
}

// check returns whose token it is, and the errcode if it doesn't work at now.
func (b tokenBook) check(value string, now time.Time) (*account, int) {
	t := b[sha256.Sum256([]byte(value))]
	switch {
	case !wellFormed.MatchString(value):
		return nil, 40014
	case t == nil:
		return nil, 40001
	case now.Before(t.dies):
		return t.account, 0
	case !now.Before(t.expires):
		return t.account, 42001
	}
	return t.account, 40001 // not the latest
}

// retire lets t work for no longer than d.
func (t *token) retire(now time.Time, d time.Duration) {
	if end := now.Add(d); t != nil && end.Before(t.dies) {
		t.dies = end
	}
}

// A tokenAnswer is what both calls return.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

func (t *token) answer(now time.Time) reply {
	return answer(tokenAnswer{t.value, int64(t.expires.Sub(now) / time.Second)})
}

// credentials are what either call has to show.
type credentials struct {
	GrantType string `json:"grant_type"`
	AppID     string `json:"appid"`
	Secret    string `json:"secret"`
}

// secretForm is what an AppSecret looks like.
var secretForm = regexp.MustCompile(`^[0-9A-Za-z]{32}$`)

// authenticate finds the account of cr in c, with WeChat's codes if it can't.
func (c *call) authenticate(cr credentials) (code int, msg string) {
	switch {
	case cr.GrantType != "client_credential":
		return 40002, ""
	case cr.AppID == "":
		return 41002, ""
	case cr.Secret == "":
		return 41004, ""
	case c.AppID != cr.AppID:
		return 40013, ""
	case !c.ipListed(c.ip):
		if c.IPCode == 40164 {
			msg = fmt.Sprintf("invalid ip %s ipv6 ::ffff:%[1]s, not in whitelist", c.ip)
		}
		return c.IPCode, msg
	case c.SecretFrozen:
		return 40243, ""
	case !secretForm.MatchString(cr.Secret):
		return 40125, ""
	case subtle.ConstantTimeCompare([]byte(cr.Secret), []byte(c.Secret.Reveal())) != 1:
		return 40001, ""
	}
	return c.count(c.now, c.route), ""
}

// getToken makes a new token at each call; the last one works for 5 minutes more.
func getToken(c *call) reply {
	in := credentials{c.query.Get("grant_type"), c.query.Get("appid"), c.query.Get("secret")}
	if code, msg := c.authenticate(in); code != 0 {
		return reply{code: code, msg: msg}
	}
	c.token.retire(c.now, tokenOverlap)
	c.token = c.sim.tokens.issue(c.account, c.now)
	return c.token.answer(c.now)
}

// getStableToken gives the current token until its last 5 minutes; then a new one,
// beside which the old one lives to its end. force_refresh voids it at once, 20
// times a day and 30 s apart; beyond that WeChat's page says that nothing is
// refreshed, and not with which code, so the current token comes back unless the
// account is set otherwise.
func getStableToken(c *call) reply {
	var in struct {
		credentials
		ForceRefresh bool `json:"force_refresh"`
	}
	if code := c.decode(&in); code != 0 {
		return refuse(code)
	}
	if code, msg := c.authenticate(in.credentials); code != 0 {
		return reply{code: code, msg: msg}
	}
	current := c.stable
	alive := current != nil && c.now.Before(current.dies)
	if in.ForceRefresh && alive {
		day := quotaDay(c.now)
		if c.forcedDay != day {
			c.forcedDay, c.forced = day, 0
		}
		if tooSoon := c.now.Sub(c.forcedAt) < forcedInterval; c.forced >= forcedPerDay || tooSoon {
			if c.ForceCode != 0 {
				return refuse(c.ForceCode)
			}
			in.ForceRefresh = false
		} else {
			c.forced, c.forcedAt = c.forced+1, c.now
			current.retire(c.now, 0)
		}
	}
	if in.ForceRefresh || !alive || current.expires.Sub(c.now) < tokenOverlap {
		c.stable = c.sim.tokens.issue(c.account, c.now)
	}
	return c.stable.answer(c.now)
}

// ExpireTokens kills every access token of the account at once, as a change of its
// AppSecret does: calls answer 40001 until there is a new one.
func (w *WeChat) ExpireTokens() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	for _, t := range w.tokens {
		if t.account == w.account {
			t.retire(now, 0)
		}
	}
}
