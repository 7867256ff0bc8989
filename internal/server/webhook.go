package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// Webhooks is the part of *webhook.Hub that the server needs: the endpoints that the
// gateway calls. It must be safe for concurrent use. Its errors are as those of
// [Engine]: not-found for what isn't there.
type Webhooks interface {
	Webhooks(ctx context.Context) ([]gateway.Webhook, error) // oldest first, without secrets
	// AddWebhook makes one, with its ID and Secret in the answer.
	AddWebhook(ctx context.Context, w gateway.Webhook) (gateway.Webhook, error)
	// ChangeWebhook replaces the settings of the one with the ID. may, unless nil, is asked
	// about the one that is there at that moment; its error ends the call.
	ChangeWebhook(ctx context.Context, w gateway.Webhook, may func(now gateway.Webhook) error) (gateway.Webhook, error)
	DeleteWebhook(ctx context.Context, id string) error
	// RotateWebhook makes a new Secret, which is in the answer; the old one signs
	// besides it for that long.
	RotateWebhook(ctx context.Context, id string, overlap time.Duration) (gateway.Webhook, error)
	// TestWebhook posts once and returns what came of it; that the endpoint failed is
	// no error.
	TestWebhook(ctx context.Context, id string) (gateway.WebhookAttempt, error)
	// ReplayWebhook begins a replay, of what is kept still. Problems: invalid-request for a
	// range that is none, cursor-gone for one of which nothing is left.
	ReplayWebhook(ctx context.Context, id string, r gateway.ReplayRequest) (gateway.Replay, error)
	// WebhookAttempts, newest first.
	WebhookAttempts(ctx context.Context, id, cursor string, limit int) (gateway.Page[gateway.WebhookAttempt], error)
	// Quietly has a follower erased while nothing about them is posted, nor is later
	// what is gone then.
	Quietly(ctx context.Context, account, openid string, erase func() error) error
	// CheckURL says why an address is none that may be called, as far as it shows, or
	// what is unwise about it.
	CheckURL(url string) (warning string, err error)
}

// Limits of webhooks, which are the gateway's own.
const (
	maxWebhooks    = 100
	maxTypes       = 32
	maxAccounts    = 100
	maxSchedule    = 20
	maxPause       = 24 * time.Hour
	maxTimeout     = 30
	maxConcurrency = 64
	maxOverlap     = 7 * 24 * time.Hour
)

var typePattern = regexp.MustCompile(`^(\*|[a-z]{1,32}\.(\*|[a-z_-]{1,32}))$`)

// webhook finds the one in the path, if the key manages it.
func (c *call) webhook() (gateway.Webhook, error) {
	all, err := c.s.Webhooks.Webhooks(c.Context())
	if err != nil {
		return gateway.Webhook{}, err
	}
	i := slices.IndexFunc(all, func(w gateway.Webhook) bool { return w.ID == c.PathValue("id") && c.managesAll(w.Accounts) })
	if i < 0 {
		return gateway.Webhook{}, refuse(gateway.NotFound)
	}
	return all[i], nil
}

// managesAll reports whether the caller may see and change what is for these accounts;
// none: for all there are.
func (c *call) managesAll(accounts []string) bool { return c.manages(gateway.Key{Accounts: accounts}) }

func (s *Server) listWebhooks(c *call) (int, any, error) {
	all, err := s.Webhooks.Webhooks(c.Context())
	if err != nil {
		return 0, nil, err
	}
	var page gateway.Page[gateway.Webhook]
	for _, w := range all {
		if c.managesAll(w.Accounts) {
			page.Items = append(page.Items, c.shownWebhook(w))
		}
	}
	return http.StatusOK, full(page), nil
}

func (s *Server) getWebhook(c *call) (int, any, error) {
	w, err := c.webhook()
	if err != nil {
		return 0, nil, err
	}
	w = c.shownWebhook(w)
	c.tagged(w.Revision)
	return http.StatusOK, w, nil
}

func (s *Server) postWebhook(c *call) (int, any, error) {
	w, err := c.readWebhook(nil)
	if err != nil {
		return 0, nil, err
	}
	all, err := s.Webhooks.Webhooks(c.Context())
	if err != nil {
		return 0, nil, err
	}
	if len(all) >= maxWebhooks {
		return 0, nil, refuse(gateway.InvalidRequest).because("all-webhooks", maxWebhooks)
	}
	w, err = s.Webhooks.AddWebhook(c.Context(), w)
	if err != nil {
		return 0, nil, err
	}
	c.made = w.ID
	return http.StatusCreated, c.keptWebhook(w), nil
}

func (s *Server) putWebhook(c *call) (int, any, error) {
	stored, err := c.webhook()
	if err != nil {
		return 0, nil, err
	}
	w, err := c.readWebhook(stored.Accounts)
	if err != nil {
		return 0, nil, err
	}
	w.ID = stored.ID
	w, err = s.Webhooks.ChangeWebhook(c.Context(), w, func(now gateway.Webhook) error {
		c.detail = webhookChanges(now, w)
		return c.matches(webhookRevision(now))
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, c.keptWebhook(w), nil
}

// keptWebhook is what is answered when one was made or changed.
func (c *call) keptWebhook(kept gateway.Webhook) gateway.Webhook {
	kept = c.shownWebhook(kept)
	c.tagged(kept.Revision)
	if warning, _ := c.s.Webhooks.CheckURL(kept.URL); warning != "" {
		kept.Warnings = append(kept.Warnings, warning)
	}
	return kept
}

// readWebhook reads and checks the settings of a webhook that is for these accounts
// already. It may stay for them while it is off: one may have been removed.
func (c *call) readWebhook(has []string) (gateway.Webhook, error) {
	var r gateway.WebhookRequest
	if err := c.body(&r); err != nil {
		return gateway.Webhook{}, err
	}
	w := r.Webhook()
	var bad []field
	add := func(when bool, location, why string, args ...any) {
		if when {
			bad = append(bad, wrong(location, why, args...))
		}
	}
	if add(w.URL == "", "url", "required"); w.URL != "" {
		_, err := c.s.Webhooks.CheckURL(w.URL)
		add(err != nil, "url", "webhook-url", err)
	}
	add(len(w.Name) > 256, "name", "max-bytes", len(w.Name), 256)
	add(len(w.Accounts) > maxAccounts, "accounts", "must-range", 0, maxAccounts)
	for i, appid := range w.Accounts[:min(len(w.Accounts), maxAccounts)] {
		if !w.Enabled && slices.Contains(has, appid) {
			continue
		}
		if _, err := c.account(appid); c.s.has(err, gateway.UnknownAccount) {
			bad = append(bad, wrong(fmt.Sprintf("accounts[%d]", i), "no-account"))
		} else if err != nil {
			return w, err
		}
	}
	add(len(w.Types) > maxTypes, "types", "must-range", 1, maxTypes)
	for i, t := range w.Types {
		add(!typePattern.MatchString(t), fmt.Sprintf("types[%d]", i), "webhook-type")
	}
	add(w.Timeout < 1 || w.Timeout > maxTimeout, "timeout", "must-range", 1, maxTimeout)
	add(w.Concurrency < 1 || w.Concurrency > maxConcurrency, "concurrency", "must-range", 1, maxConcurrency)
	add(len(w.Schedule) > maxSchedule, "schedule", "must-range", 1, maxSchedule)
	for i, pause := range w.Schedule {
		add(pause < 0 || pause.Duration() > maxPause, fmt.Sprintf("schedule[%d]", i), "must-range", 0, int(maxPause/time.Second))
	}
	add(w.DisableAfter < 60 || w.DisableAfter.Duration() > 30*24*time.Hour, "disable_after", "must-range", 60, 30*86400)
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return w, err
	}
	if len(w.Accounts) == 0 {
		w.Accounts = c.key.Accounts
	}
	return w, nil
}

func (s *Server) deleteWebhook(c *call) (int, any, error) {
	w, err := c.webhook()
	if err == nil {
		err = s.Webhooks.DeleteWebhook(c.Context(), w.ID)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, nil
}

func (s *Server) rotateWebhook(c *call) (int, any, error) {
	var r gateway.RotateRequest
	if c.ContentLength != 0 {
		if err := c.body(&r); err != nil {
			return 0, nil, err
		}
	}
	overlap := 24 * time.Hour
	if r.Overlap != nil {
		overlap = r.Overlap.Duration()
	}
	if r.Overlap != nil && (*r.Overlap < 0 || overlap > maxOverlap) {
		return 0, nil, invalid(gateway.InvalidRequest, wrong("overlap", "must-range", 0, int(maxOverlap/time.Second)))
	}
	w, err := c.webhook()
	if err == nil {
		w, err = s.Webhooks.RotateWebhook(c.Context(), w.ID, overlap)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, c.shownWebhook(w), nil
}

func (s *Server) testWebhook(c *call) (int, any, error) {
	w, err := c.webhook()
	if err != nil {
		return 0, nil, err
	}
	a, err := s.Webhooks.TestWebhook(c.Context(), w.ID)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, a, nil
}

func (s *Server) replayWebhook(c *call) (int, any, error) {
	var r gateway.ReplayRequest
	if err := c.body(&r); err != nil {
		return 0, nil, err
	}
	ways := 0
	for _, given := range []bool{r.Cursor != "", r.From != "", r.Since != nil && !r.Since.IsZero()} {
		if given {
			ways++
		}
	}
	if ways != 1 || r.To != "" && r.From == "" {
		return 0, nil, invalid(gateway.InvalidRequest, wrong("body", "replay-which"))
	}
	w, err := c.webhook()
	if err != nil {
		return 0, nil, err
	}
	replay, err := s.Webhooks.ReplayWebhook(c.Context(), w.ID, r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusAccepted, replay, nil
}

func (s *Server) listWebhookAttempts(c *call) (int, any, error) {
	w, err := c.webhook()
	limit, err2 := c.limit()
	if err != nil || err2 != nil {
		return 0, nil, firstOf(err, err2)
	}
	page, err := s.Webhooks.WebhookAttempts(c.Context(), w.ID, c.query().Get("cursor"), limit)
	if err != nil {
		return 0, nil, err
	}
	// It may have been for other accounts before; a test is of none.
	page.Items = slices.DeleteFunc(page.Items, func(a gateway.WebhookAttempt) bool { return a.Account != "" && !c.sees(a.Account) })
	return http.StatusOK, full(page), nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// postHandover says who answers a follower from now on.
func (s *Server) postHandover(c *call) (int, any, error) {
	var r gateway.Handover
	if err := c.body(&r); err != nil {
		return 0, nil, err
	}
	bad := oneOf("handler", r.Handler, gateway.Handlers()...)
	if r.Handler == "" {
		bad = append(bad, wrong("handler", "required"))
	}
	if r.KfAccount != "" && r.Handler != gateway.ByKf {
		bad = append(bad, wrong("kf_account", "kf-only"))
	}
	if len(r.KfAccount) > 128 {
		bad = append(bad, wrong("kf_account", "max-bytes", len(r.KfAccount), 128))
	}
	if len(c.PathValue("openid")) > maxOpenID {
		bad = append(bad, wrong("openid", "max-bytes", len(c.PathValue("openid")), maxOpenID))
	}
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return 0, nil, err
	}
	account, openid, err := c.follower()
	if err != nil {
		return 0, nil, err
	}
	h, err := s.Engine.Handover(c.Context(), account, openid, r, "api "+c.key.ID)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, h, nil
}

// Compose reads, checks and completes a request as POST /v1/messages would, for a part
// of the gateway that speaks for the account. An error's text says what is wrong with
// it.
func (s *Server) Compose(ctx context.Context, account string, source gateway.Source, request json.RawMessage) (gateway.Submission, error) {
	s.once.Do(s.setUp)
	c := &call{Request: new(http.Request).WithContext(ctx), s: s, lang: "en", key: gateway.Key{Role: gateway.Admin, Accounts: []string{account}}}
	if err := sound(request); err != nil {
		return gateway.Submission{}, s.spoken(err)
	}
	sub, err := c.submission(request, nil)
	sub.Source = source
	return sub, s.spoken(err)
}

// spoken is err as a problem, which says what is wrong in its text.
func (s *Server) spoken(err error) error {
	if err == nil {
		return nil
	}
	p, fault := s.problem(err, "en")
	if fault != nil {
		return fault
	}
	return &p
}
