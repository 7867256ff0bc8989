package server

import (
	_ "embed"
	"encoding/json"
	"net/http"

	"github.com/kefu-go/kefu/gateway"
)

// health asks the store and the engine.
func (s *Server) health(c *call) gateway.Health {
	notes, err := s.Engine.Healthy(c.Context())
	if stored := s.Store.Healthy(); stored != nil {
		err = stored
	}
	h := gateway.Health{Ready: err == nil, Notes: append(notes, s.Tokens.Notes()...)}
	if err != nil {
		h.Because = err.Error()
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
