package server

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"

	"github.com/kefu-go/kefu/gateway"
)

// manages reports whether the caller may see and change a key: its own accounts'
// alone, if it is only for some.
func (c *call) manages(k gateway.Key) bool {
	if len(c.key.Accounts) == 0 {
		return true
	}
	return len(k.Accounts) > 0 && !slices.ContainsFunc(k.Accounts, func(appid string) bool { return !c.sees(appid) })
}

func (s *Server) listKeys(c *call) (int, any, error) {
	all, err := s.Store.Keys(c.Context())
	if err != nil {
		return 0, nil, err
	}
	var page gateway.Page[gateway.Key]
	for _, k := range all {
		if c.manages(k) {
			page.Items = append(page.Items, k)
		}
	}
	return http.StatusOK, full(page), nil
}

func (s *Server) postKey(c *call) (int, any, error) {
	var r gateway.KeyRequest
	if err := c.body(&r); err != nil {
		return 0, nil, err
	}
	bad := oneOf("role", r.Role, gateway.Admin, gateway.Send, gateway.Read, gateway.Door)
	if r.Role == "" {
		bad = append(bad, wrong("role", "required"))
	}
	bad = append(bad, oneOf("paths", r.Paths, gateway.MessagePaths, gateway.AllPaths)...)
	if r.Paths != "" && r.Role != gateway.Door {
		bad = append(bad, wrong("paths", "door-alone"))
	}
	if r.Role == gateway.Door {
		r.Paths = cmp.Or(r.Paths, gateway.MessagePaths)
	}
	if len(r.Name) > 256 {
		bad = append(bad, wrong("name", "max-bytes", len(r.Name), 256))
	}
	for i, appid := range r.Accounts {
		if _, err := c.account(appid); s.has(err, gateway.UnknownAccount) {
			bad = append(bad, wrong(fmt.Sprintf("accounts[%d]", i), "no-account"))
		} else if err != nil {
			return 0, nil, err
		}
	}
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return 0, nil, err
	}
	var id [8]byte
	rand.Read(id[:])
	k := gateway.Key{
		ID: "key_" + hex.EncodeToString(id[:]), Name: r.Name, Role: r.Role, Accounts: r.Accounts, Paths: r.Paths,
		CreatedAt: gateway.At(s.Now()), Key: newKey(),
	}
	if !c.manages(k) {
		return 0, nil, refuse(gateway.Forbidden).because("foreign-scope")
	}
	kept, err := s.Store.PutKey(c.Context(), s.Now(), k)
	if err != nil {
		return 0, nil, err
	}
	kept.Key = k.Key
	c.made, c.detail = kept.ID, string(kept.Role)
	return http.StatusCreated, kept, nil
}

func (s *Server) deleteKey(c *call) (int, any, error) {
	all, err := s.Store.Keys(c.Context())
	if err != nil {
		return 0, nil, err
	}
	i := slices.IndexFunc(all, func(k gateway.Key) bool { return k.ID == c.PathValue("id") && c.manages(k) })
	if i < 0 {
		return 0, nil, refuse(gateway.NotFound)
	}
	if err := s.Store.RevokeKey(c.Context(), s.Now(), all[i].ID); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}
