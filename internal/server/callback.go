package server

import (
	"context"
	"net/http"
	"time"

	"github.com/kefu-go/kefu/callback"
	"github.com/kefu-go/kefu/gateway"
)

// callbackTime is how long WeChat waits.
const callbackTime = 5 * time.Second

// A receiver is an account's callback handler, for as long as its set-up is this.
type receiver struct {
	account gateway.Account // its secrets and mode
	handler *callback.Handler
}

// callback gives a push to the account's handler, which answers "success" only when
// the engine has kept it.
func (s *Server) callback(c *call) (int, any, error) {
	a, err := s.Store.Account(c.Context(), c.PathValue("appid"))
	if err != nil {
		return 0, nil, err
	}
	c.deadline((*http.ResponseController).SetReadDeadline, callbackTime)
	c.deadline((*http.ResponseController).SetWriteDeadline, 2*callbackTime)
	if a.CallbackForward != "" && s.Forward != nil && c.Method == http.MethodPost {
		s.relay(c, a)
		return 0, nil, nil
	}
	s.receiver(a).ServeHTTP(c.w, c.Request)
	return 0, nil, nil
}

func (s *Server) receiver(a gateway.Account) *callback.Handler {
	same := gateway.Account{AppID: a.AppID, Token: a.Token, AESKey: a.AESKey, Mode: a.Mode}
	if v, ok := s.receivers.Load(a.AppID); ok {
		r := v.(*receiver)
		if was := r.account; was.Token == same.Token && was.AESKey == same.AESKey && was.Mode == same.Mode {
			return r.handler
		}
	}
	h := &callback.Handler{
		AppID: a.AppID, Token: a.Token, AESKey: a.AESKey, Mode: a.Mode, Now: s.Now, Log: s.Log.With("account", a.AppID),
		Receive: func(ctx context.Context, e callback.Event) (callback.Reply, error) {
			reply, err := s.Engine.Receive(ctx, a.AppID, e)
			if p, ok := ctx.Value(relayedKey{}).(*relayed); ok && err == nil {
				p.event = e
			}
			return reply, err
		},
	}
	s.receivers.Store(a.AppID, &receiver{same, h})
	return h
}
