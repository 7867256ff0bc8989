package server

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// follower is who the path names, of an account that the key is for.
func (c *call) follower() (account, openid string, err error) {
	a, err := c.account(c.PathValue("account"))
	return a.AppID, c.PathValue("openid"), err
}

// kept is follower also for an account that was removed, if anything was said with the
// follower: that stays, and can be read and put in order, until it is erased.
func (c *call) kept() (account, openid string, err error) {
	account, openid, err = c.follower()
	if former := c.PathValue("account"); c.s.has(err, gateway.UnknownAccount) && c.sees(former) {
		_, lost := c.s.Store.Conversation(c.Context(), former, openid)
		switch {
		case lost == nil:
			return former, openid, nil
		case !c.s.has(lost, gateway.NotFound):
			err = lost
		}
	}
	return account, openid, err
}

func (s *Server) listConversations(c *call) (int, any, error) {
	accounts, err := c.scope()
	limit, err2 := c.limit()
	if err := errors.Join(err, err2); err != nil {
		return 0, nil, err
	}
	page, err := s.Store.Conversations(c.Context(), accounts, c.query().Get("cursor"), limit)
	if err != nil {
		return 0, nil, err
	}
	unknown := map[[2]string]int{}
	if s.Desk != nil && len(page.Items) > 0 {
		if unknown, err = s.Desk.Unknown(c.Context(), "", ""); err != nil {
			return 0, nil, err
		}
	}
	for i := range page.Items {
		if err := c.glance(&page.Items[i], unknown); err != nil {
			return 0, nil, err
		}
	}
	return http.StatusOK, full(page), nil
}

// glance adds what changes from moment to moment. What is kept of an account that was
// removed has a window, too: nothing goes out of it.
func (c *call) glance(conv *gateway.Conversation, unknown map[[2]string]int) error {
	conv.Unknown = unknown[[2]string{conv.Account, conv.OpenID}]
	if conv.Tags == nil {
		conv.Tags = []string{}
	}
	if conv.Last != nil && conv.Last.Message != nil {
		conv.Last.Message.Outcome = told(conv.Last.Message.Outcome, c.lang)
	}
	w, parked, err := c.s.Engine.Glance(c.Context(), conv.Account, conv.OpenID)
	if c.s.has(err, gateway.UnknownAccount) {
		w, err = gateway.Window{State: gateway.WindowClosed, Remaining: new(int), Because: "the account was removed from the gateway",
			Cause: gateway.WindowCause{Code: gateway.CauseRemoved}, Buckets: []gateway.Bucket{}}, nil
	}
	conv.Window, conv.Parked = &w, parked
	return err
}

// conversation answers with a conversation as it is now.
func (c *call) conversation(account, openid string) (gateway.Conversation, error) {
	conv, err := c.s.Store.Conversation(c.Context(), account, openid)
	if err != nil {
		return conv, err
	}
	unknown := map[[2]string]int{}
	if c.s.Desk != nil {
		if unknown, err = c.s.Desk.Unknown(c.Context(), account, openid); err != nil {
			return conv, err
		}
		if conv.Notes, err = c.s.Desk.Notes(c.Context(), account, openid); err != nil {
			return conv, err
		}
	}
	return conv, c.glance(&conv, unknown)
}

func (s *Server) getConversation(c *call) (int, any, error) {
	account, openid, err := c.kept()
	if err != nil {
		return 0, nil, err
	}
	conv, err := c.conversation(account, openid)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, conv, nil
}

func (s *Server) listTimeline(c *call) (int, any, error) {
	account, openid, err := c.kept()
	limit, err2 := c.limit()
	if err := errors.Join(err, err2); err != nil {
		return 0, nil, err
	}
	page, err := s.Store.Timeline(c.Context(), account, openid, c.query().Get("cursor"), limit)
	if err != nil {
		return 0, nil, err
	}
	w := c.window(account, openid)
	for i := range page.Items {
		if m := page.Items[i].Message; m != nil {
			m.Window, m.Outcome = w, told(m.Outcome, c.lang)
		}
	}
	return http.StatusOK, full(page), nil
}

// getWindow answers for followers who were never seen, too: their window is unknown.
func (s *Server) getWindow(c *call) (int, any, error) {
	account, openid, err := c.follower()
	if err != nil {
		return 0, nil, err
	}
	w, err := s.Engine.Window(c.Context(), account, openid)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, w, nil
}

// formerFollower is follower also for an account that is gone: what is kept of its
// followers stays until it is erased.
func (c *call) formerFollower() (account, openid string, err error) {
	if account = c.PathValue("account"); !c.sees(account) {
		return "", "", refuse(gateway.UnknownAccount)
	}
	return account, c.PathValue("openid"), nil
}

// exportConversation streams; a failure after the first line cuts the answer off,
// so that nobody takes it for the whole.
func (s *Server) exportConversation(c *call) (int, any, error) {
	account, openid, err := c.formerFollower()
	if err != nil {
		return 0, nil, err
	}
	began := false
	for line, err := range s.Store.Export(c.Context(), account, openid) {
		if !began && err == nil {
			err = c.record("conversation.export", account+"/"+openid, "")
		}
		if err != nil && !began {
			return 0, nil, err
		}
		var text []byte
		if err == nil {
			text, err = encode(line)
		}
		if err != nil {
			s.Log.ErrorContext(c.Context(), "an export broke off", "err", err)
			panic(http.ErrAbortHandler)
		}
		if !began {
			began = true
			h := c.w.Header()
			h.Set("Content-Type", "application/x-ndjson")
			h.Set("Cache-Control", "no-store")
			h.Set("X-Content-Type-Options", "nosniff")
		}
		c.deadline((*http.ResponseController).SetWriteDeadline, writeTime)
		if _, err := c.w.Write(text); err != nil {
			return 0, nil, nil // the client is gone
		}
	}
	return 0, nil, nil
}

func (s *Server) eraseConversation(c *call) (int, any, error) {
	account, openid, err := c.formerFollower()
	if err != nil {
		return 0, nil, err
	}
	var gone gateway.Erased
	err = s.Webhooks.Quietly(c.Context(), account, openid, func() (err error) {
		gone, err = s.Engine.Erase(c.Context(), account, openid)
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	c.detail = gone.Hash
	return http.StatusOK, gone, nil
}

func (s *Server) listErasures(c *call) (int, any, error) {
	limit, err := c.limit()
	if err != nil {
		return 0, nil, err
	}
	all, err := s.Store.Erasures(c.Context(), c.key.Accounts, limit)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, full(gateway.Page[gateway.Erased]{Items: all}), nil
}

func (s *Server) postTyping(c *call) (int, any, error) {
	var r gateway.TypingRequest
	if c.ContentLength != 0 {
		if err := c.body(&r); err != nil {
			return 0, nil, err
		}
	}
	account, openid, err := c.follower()
	if err == nil {
		err = s.Engine.Typing(c.Context(), account, openid, r.On == nil || *r.On)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

// maxAhead is how far a trigger may lie in the future.
const maxAhead = 60 * time.Second

func (s *Server) postTrigger(c *call) (int, any, error) {
	var r gateway.TriggerRequest
	if err := c.body(&r); err != nil {
		return 0, nil, err
	}
	now := s.Now()
	at := now
	if r.At != nil && !r.At.IsZero() {
		at = r.At.Time
	}
	at = at.UTC().Truncate(time.Second)
	if err := invalid(gateway.InvalidRequest, checkTrigger(r, at, now)...); err != nil {
		return 0, nil, err
	}
	account, err := c.theAccount(r.Account)
	if err != nil {
		return 0, nil, err
	}
	opened, w, err := s.Engine.Trigger(c.Context(), account.AppID, r.OpenID, r.Trigger, at)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusAccepted, gateway.Triggered{Opened: opened, Window: w}, nil
}

func checkTrigger(r gateway.TriggerRequest, at, now time.Time) (bad []field) {
	switch {
	case r.OpenID == "":
		bad = append(bad, wrong("openid", "required"))
	case len(r.OpenID) > maxOpenID:
		bad = append(bad, wrong("openid", "max-bytes", len(r.OpenID), maxOpenID))
	case strings.ContainsFunc(r.OpenID, unicode.IsControl):
		bad = append(bad, wrong("openid", "control"))
	}
	if r.Trigger == "" {
		bad = append(bad, wrong("trigger", "required"))
	}
	bad = append(bad, oneOf("trigger", r.Trigger, slices.Concat(kefu.Triggers(), []kefu.Trigger{kefu.Unfollow})...)...)
	if at.After(now.Add(maxAhead)) {
		bad = append(bad, wrong("at", "too-far-ahead"))
	}
	return bad
}
