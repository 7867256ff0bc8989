package server

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// health asks the store and the engine. Whether messages are taken is for everybody. Why
// not, and what an operator should know of the accounts that a key is for, is for whoever
// has one: there are the words of operators in it, and of the database.
func (s *Server) health(c *call) gateway.Health {
	key, stranger := c.findKey(c.Context())
	if stranger == nil && !slices.Contains(readers, key.Role) {
		stranger = refuse(gateway.Forbidden)
	}
	notes, err := s.Engine.Healthy(c.Context(), c.lang, key.Accounts)
	if stored := s.Store.Healthy(); stored != nil {
		err = stored
	}
	h := gateway.Health{Ready: err == nil}
	switch {
	case stranger == nil:
		h.Notes = append(notes, s.Tokens.Notes(c.lang, key.Accounts)...)
		if s.Assets != nil {
			h.Notes = append(h.Notes, s.Assets.Notes(c.Context(), c.lang, key.Accounts)...)
		}
		if err != nil {
			h.Because = err.Error()
		}
	case err != nil && c.Header.Get("Authorization") != "" && !s.has(stranger, gateway.Unauthorized) && !s.has(stranger, gateway.Forbidden):
		h.Because = details["unread-key"].in(c.lang)
	}
	return h
}

// getHealth is 200 as long as there is somebody to answer: a restart mends nothing
// that ready tells of.
func (s *Server) getHealth(c *call) (int, any, error) { return http.StatusOK, s.health(c), nil }

func (s *Server) getReady(c *call) (int, any, error) {
	h := s.health(c)
	if !h.Ready {
		c.w.Header().Set("Retry-After", "1")
		return http.StatusServiceUnavailable, h, nil
	}
	return http.StatusOK, h, nil
}

// The description of the API, made from routes and types by go test -run OpenAPI
// -update.
//
//go:embed openapi.json
var openAPI []byte

func (s *Server) getOpenAPI(c *call) (int, any, error) {
	return http.StatusOK, json.RawMessage(openAPI), nil
}

// getSeries answers steps that are whole: the first begins at or before what was
// asked for.
func (s *Server) getSeries(c *call) (int, any, error) {
	const usual, most, fine = 24, 168, 6
	accounts, err := c.scope()
	if err != nil {
		return 0, nil, err
	}
	hours := usual
	if v := c.query().Get("hours"); v != "" {
		if hours, err = strconv.Atoi(v); err != nil || hours < 1 || hours > most {
			return 0, nil, invalid(gateway.InvalidRequest, wrong("query.hours", "must-range", 1, most))
		}
	}
	step := time.Hour
	if hours <= fine {
		step = 5 * time.Minute
	}
	now := s.Now()
	series, err := s.Store.Series(c.Context(), now.Add(-time.Duration(hours)*time.Hour).Truncate(step), now.Add(time.Millisecond), step, accounts)
	return http.StatusOK, series, err
}

func (s *Server) listCallbacks(c *call) (int, any, error) {
	accounts, err := c.scope()
	if err != nil {
		return 0, nil, err
	}
	limit, err := c.limit()
	if err != nil {
		return 0, nil, err
	}
	page, err := s.Store.Heard(c.Context(), accounts, c.query().Get("openid"), c.query().Get("cursor"), limit)
	return http.StatusOK, full(page), err
}
