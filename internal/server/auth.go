package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A key's text is "kf_" and at least 32 characters.
const (
	keyPrefix = "kf_"
	minKey    = len(keyPrefix) + 32
	maxKey    = 256
)

// newKey is the text of a new key, of 256 random bits.
func newKey() string {
	var b [32]byte
	rand.Read(b[:])
	return keyPrefix + base64.RawURLEncoding.EncodeToString(b[:])
}

// authorise finds the key or the session of the call and holds its role against the
// route.
func (c *call) authorise(rt route) error {
	var err error
	if c.key, err = c.findKey(c.Context()); err != nil {
		return err
	}
	if !slices.Contains(rt.access, c.key.Role) {
		names := make([]string, len(rt.access))
		for i, r := range rt.access {
			names[i] = string(r)
		}
		return refuse(gateway.Forbidden, string(c.key.Role), rt.method+" "+rt.path, strings.Join(names, ", "))
	}
	return nil
}

// findKey looks the key up by its SHA-256, so that what the look-up's time tells is
// of no use to a guesser.
func (c *call) findKey(ctx context.Context) (gateway.Key, error) {
	if text, ok := c.session(); ok {
		return c.findAgent(ctx, text)
	}
	scheme, text, _ := strings.Cut(c.Header.Get("Authorization"), " ")
	text = strings.TrimSpace(text)
	if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(text, keyPrefix) || len(text) < minKey || len(text) > maxKey {
		return gateway.Key{}, refuse(gateway.Unauthorized)
	}
	k, err := c.s.Store.FindKey(ctx, text)
	switch {
	case err == nil:
		return k, nil
	case !c.s.has(err, gateway.NotFound):
		return gateway.Key{}, err
	case c.s.Key != "" && sameSecret(kefu.Secret(text), c.s.Key):
		return gateway.Key{ID: "environment", Role: gateway.Admin}, nil
	}
	return gateway.Key{}, refuse(gateway.Unauthorized)
}

func sameSecret(a, b kefu.Secret) bool {
	x, y := sha256.Sum256([]byte(a.Reveal())), sha256.Sum256([]byte(b.Reveal()))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// has reports whether err is a problem with that code.
func (s *Server) has(err error, code string) bool {
	var r *refusal
	if errors.As(err, &r) {
		return r.code == code
	}
	var p *gateway.Problem
	if err != nil && !errors.As(err, &p) && s.Explain != nil {
		p = s.Explain(err)
	}
	return p != nil && p.Code == code
}

// sees reports whether the key is for an account.
func (c *call) sees(appid string) bool {
	return len(c.key.Accounts) == 0 || slices.Contains(c.key.Accounts, appid)
}

// account finds an account that the key is for.
func (c *call) account(appid string) (gateway.Account, error) {
	if !c.sees(appid) {
		return gateway.Account{}, refuse(gateway.UnknownAccount)
	}
	a, err := c.s.Store.Account(c.Context(), appid)
	if err != nil && c.s.has(err, gateway.NotFound) {
		err = refuse(gateway.UnknownAccount)
	}
	return a, err
}

// theAccount is account, or, for "", the only one of the key.
func (c *call) theAccount(appid string) (gateway.Account, error) {
	if appid != "" {
		return c.account(appid)
	}
	if len(c.key.Accounts) == 1 {
		return c.account(c.key.Accounts[0])
	}
	all, err := c.s.Store.Accounts(c.Context())
	if err != nil {
		return gateway.Account{}, err
	}
	all = slices.DeleteFunc(all, func(a gateway.Account) bool { return !c.sees(a.AppID) })
	if len(all) != 1 {
		return gateway.Account{}, invalid(gateway.InvalidRequest, wrong("account", "which-account", len(all)))
	}
	return all[0], nil
}

// scope is the accounts of a list: those that the query names, else all that the
// key is for. None: all there are.
func (c *call) scope() ([]string, error) {
	named := c.query()["account"]
	for _, appid := range named {
		if _, err := c.account(appid); err != nil {
			return nil, err
		}
	}
	if len(named) > 0 {
		return named, nil
	}
	return c.key.Accounts, nil
}
