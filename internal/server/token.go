package server

import (
	"net/http"
	"strings"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/bilingual"
)

const (
	maxToken     = 2048      // bytes; WeChat asks for room for 512
	maxTokenLife = 24 * 3600 // seconds; WeChat's live 7,200
)

func (s *Server) getToken(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	return c.tokenStatus(a.AppID)
}

func (c *call) tokenStatus(appid string) (int, any, error) {
	status, err := c.s.Tokens.Status(c.Context(), appid)
	if err != nil {
		return 0, nil, err
	}
	status.Because = bilingual.Text(status.Because).In(c.lang)
	return http.StatusOK, status, nil
}

func (s *Server) putToken(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	var r gateway.TokenRequest
	if err := c.body(&r); err != nil {
		return 0, nil, err
	}
	var bad []field
	text := r.AccessToken.Reveal()
	if len(text) == 0 || len(text) > maxToken || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		bad = append(bad, wrong("access_token", "access-token"))
	}
	if r.ExpiresIn < 1 || r.ExpiresIn > maxTokenLife {
		bad = append(bad, wrong("expires_in", "must-range", 1, maxTokenLife))
	}
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return 0, nil, err
	}
	if err := s.Tokens.Supply(c.Context(), a.AppID, c.key.ID, r.AccessToken, time.Duration(r.ExpiresIn)*time.Second); err != nil {
		return 0, nil, err
	}
	return c.tokenStatus(a.AppID)
}

// revealToken is the one route that shows a secret: exactly the one that is asked
// for, to whom may have it.
func (s *Server) revealToken(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	tok, err := s.Tokens.Reveal(c.Context(), a.AppID, c.key.ID)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, gateway.RevealedToken{AccessToken: tok.Value.Reveal(), ExpiresIn: int64(tok.Expiry.Sub(s.Now()) / time.Second)}, nil
}

func (s *Server) renewToken(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	if a.TokenSource == gateway.SuppliedTokens {
		return 0, nil, refuse(gateway.NoToken).because("supplied")
	}
	if err := s.Tokens.Renew(c.Context(), a.AppID, c.key.ID); err != nil {
		return 0, nil, err
	}
	return c.tokenStatus(a.AppID)
}

func (s *Server) listTokenEvents(c *call) (int, any, error) {
	a, err := c.account(c.PathValue("account"))
	if err != nil {
		return 0, nil, err
	}
	limit, err := c.limit()
	if err != nil {
		return 0, nil, err
	}
	page, err := s.Store.TokenEvents(c.Context(), a.AppID, c.query().Get("cursor"), limit)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, full(page), nil
}
