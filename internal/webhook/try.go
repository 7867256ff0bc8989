package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/egress"
	"github.com/kefu-go/kefu/internal/store"
)

// WebhookID is the webhook-id of an entry at an endpoint, equal in all tries and
// replays.
func WebhookID(endpoint, cursor string) string { return endpoint + "_" + cursor }

// try makes one try of a delivery and keeps what came of it.
func (h *Hub) try(hook store.Webhook, j *job, d store.Delivery) result {
	r := result{job: j, delivery: d}
	var e gateway.FeedEntry
	if j != nil {
		e = j.entry
	} else {
		var err error
		if e, err = h.Store.Entry(h.ctx, d.Cursor); errors.Is(err, store.ErrNotFound) {
			e = gateway.FeedEntry{Cursor: d.Cursor, Account: d.Account}
		} else if err != nil {
			r.lost = true
			return r
		}
	}
	now := h.Now()
	d.OutOfOrder = d.OutOfOrder || now.Sub(d.FirstAt) >= passAfter
	d.Tries++
	a := gateway.WebhookAttempt{
		WebhookID: WebhookID(hook.ID, e.Cursor), Cursor: e.Cursor, Type: e.Type, Account: e.Account, OpenID: e.OpenID,
		N: d.Tries, At: gateway.At(now), OutOfOrder: d.OutOfOrder,
	}
	var res response
	switch {
	case e.Type == "":
		res = response{why: "the feed does not have the entry any more"}
		d.Tries = len(hook.Schedule)
	case !wants(hook, e): // it was to be posted when the settings were others
		d.Unwanted, res = true, response{why: "no longer wanted: the endpoint is for other accounts or types now"}
	default:
		res = h.call(hook, e, a.WebhookID, d.OutOfOrder)
	}
	if h.ctx.Err() != nil && res.status == 0 {
		r.lost = true // cut by the end of this process: it counts for nothing
		return r
	}
	if Decide(res.status, 1, nil, 0).State == store.Delivered && hook.Answers && !d.Answered {
		var err error
		if a.Answer, d.Answered, err = h.answer(hook, e, a.WebhookID, res); err != nil {
			res.status, res.why = 0, "the answer could not be kept: "+err.Error()
		}
	}
	next := Decide(res.status, d.Tries, hook.Schedule, rand.Float64())
	if d.Unwanted {
		next.State = store.GivenUp
	}
	now = h.Now()
	d.State, d.NextAt, r.gone = next.State, now.Add(next.Pause), next.Gone
	a.TookMS, a.Status, a.Error = res.took.Milliseconds(), res.status, res.why
	switch next.State {
	case store.Delivered:
		a.Outcome = "delivered"
	case store.Pending:
		at := gateway.At(d.NextAt)
		a.Outcome, a.RetryAt = "failed", &at
	default:
		a.Outcome = "given-up"
	}
	for {
		err := h.Store.Tried(context.Background(), now, d, a)
		if r.delivery = d; err == nil {
			return r
		}
		if errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFenced) || h.ctx.Err() != nil {
			r.lost = true
			return r
		}
		h.Log.Error("a webhook's try can't be kept", "webhook", hook.ID, "err", err)
		select {
		case <-h.ctx.Done():
		case <-time.After(retryStore):
		}
	}
}

// typingEvery is how often typing is shown anew: WeChat shows it for 15 s and refuses
// it meanwhile.
const typingEvery = 15*time.Second + 200*time.Millisecond

// call posts an entry, and shows the follower "typing…" meanwhile if the endpoint wants
// that and may answer.
func (h *Hub) call(hook store.Webhook, e gateway.FeedEntry, id string, outOfOrder bool) response {
	var handler gateway.Handler
	var window *gateway.Window
	if e.OpenID != "" {
		if known, err := h.Engine.Handling(h.ctx, e.Account, e.OpenID); err == nil {
			handler = known.Handler
		}
	}
	if FromFollower(e.Type) {
		if w, err := h.Engine.Window(h.ctx, e.Account, e.OpenID); err == nil {
			window = &w
		}
	}
	body, err := Body(e, handler, window, outOfOrder)
	if err != nil {
		return response{why: "the entry is not JSON"}
	}
	if hook.Typing && e.Type == "follower.message" && handler.BotMayAnswer() && window != nil && window.State == gateway.WindowOpen {
		ctx, cancel := context.WithCancel(h.ctx)
		var typing sync.WaitGroup
		typing.Go(func() { h.showTyping(ctx, e) })
		defer typing.Wait()
		defer cancel()
	}
	return h.post(h.ctx, hook, id, body)
}

// showTyping shows "typing…" until ctx ends. It is worth no error.
func (h *Hub) showTyping(ctx context.Context, e gateway.FeedEntry) {
	tick := time.NewTicker(typingEvery)
	defer tick.Stop()
	for {
		h.Engine.Typing(ctx, e.Account, e.OpenID, true)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// A response is what an endpoint answered.
type response struct {
	status      int    // 0: it did not
	why         string // it was not delivered
	contentType string
	body        []byte // at most one byte more than an answer may have
	took        time.Duration
}

// post makes one signed call. It reads no more of the response than an answer may have.
func (h *Hub) post(ctx context.Context, hook store.Webhook, id string, body []byte) (r response) {
	began := time.Now() // the receiver checks it by its own clock, which does not jump
	defer func() { r.took = time.Since(began) }()
	old := hook.OldSecret
	if !h.Now().Before(hook.OldUntil) {
		old = ""
	}
	ctx, cancel := context.WithTimeout(ctx, hook.Timeout.Duration())
	defer cancel()
	req, err := NewRequest(ctx, hook.URL, id, began, body, hook.Secret, old)
	if err != nil {
		return response{why: egress.WithoutURL(err).Error()}
	}
	res, err := h.HTTP.Do(req)
	if err == nil {
		defer res.Body.Close()
		r.status, r.contentType = res.StatusCode, res.Header.Get("Content-Type")
		if r.status/100 == 2 {
			r.body, err = io.ReadAll(io.LimitReader(res.Body, MaxAnswer+1))
		}
	}
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.status, r.why = 0, fmt.Sprintf("no whole answer within %v", hook.Timeout.Duration())
	case err != nil:
		r.status, r.why = 0, egress.WithoutURL(err).Error()
	case r.status/100 == 3:
		r.why = fmt.Sprintf("HTTP %d: redirects are not followed; set the URL to where it leads", r.status)
	case r.status/100 != 2:
		r.why = fmt.Sprintf("HTTP %d", r.status)
	}
	return r
}

// NewRequest makes the signed call of an endpoint.
func NewRequest(ctx context.Context, address, id string, at time.Time, body []byte, secrets ...kefu.Secret) (*http.Request, error) {
	signature, err := gateway.SignWebhook(id, at, body, secrets...)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"kefu"},
		gateway.WebhookIDHeader:        {id},
		gateway.WebhookTimeHeader:      {strconv.FormatInt(at.Unix(), 10)},
		gateway.WebhookSignatureHeader: {signature},
	}
	return req, nil
}

// answer does what the response to an entry says. An error is of the store: nothing is
// known to be kept, and the next try brings the answer again.
func (h *Hub) answer(hook store.Webhook, e gateway.FeedEntry, id string, res response) (done *gateway.WebhookAnswer, taken bool, err error) {
	refused := func(format string, args ...any) (*gateway.WebhookAnswer, bool, error) {
		return &gateway.WebhookAnswer{Refused: fmt.Sprintf(format, args...)}, false, nil
	}
	a, err := ParseAnswer(res.contentType, res.body)
	switch {
	case err != nil:
		return refused("%v", err)
	case a == nil:
		return nil, false, nil
	case !FromFollower(e.Type):
		return refused("only follower.message and follower.event are answered, not %s", e.Type)
	}
	ctx := context.WithoutCancel(h.ctx)
	handling, err := h.Engine.Handling(ctx, e.Account, e.OpenID)
	if refusedByEngine(err) {
		return refused("%v", err)
	} else if err != nil {
		return nil, false, err
	}
	if !handling.Handler.BotMayAnswer() {
		return refused("the follower is handled by %s since %s", handling.Handler, handling.Since.UTC().Format(time.RFC3339))
	}
	account, err := h.Store.Account(ctx, e.Account)
	if err != nil {
		return nil, false, err
	}
	done = new(gateway.WebhookAnswer)
	messages, err := h.notBefore(ctx, e.Account, id, a.Messages)
	if err != nil {
		return nil, false, err
	}
	var subs []gateway.Submission
	for i, m := range messages {
		sub, err := h.submission(ctx, hook.ID, account, e.OpenID, id, m, i, len(messages))
		if err != nil {
			return refused("messages[%d]: %v", i, err)
		}
		subs = append(subs, sub)
	}
	for i, kept := range h.Engine.Accept(ctx, subs) {
		switch {
		case kept.Err == nil:
			done.Messages = append(done.Messages, kept.Message.ID)
		case refusedByEngine(kept.Err):
			done.Refused = fmt.Sprintf("messages[%d]: %v", i, kept.Err)
		default:
			return nil, false, kept.Err
		}
	}
	if a.Typing {
		done.Typing = h.Engine.Typing(ctx, e.Account, e.OpenID, true) == nil
	}
	if a.Handover != "" {
		if _, err := h.Engine.Handover(ctx, e.Account, e.OpenID, gateway.Handover{Handler: a.Handover}, "webhook "+hook.ID); err != nil {
			return nil, false, err
		}
		done.Handover = a.Handover
	}
	return done, true, nil
}

// refusedByEngine reports whether the engine has answered, with a no.
func refusedByEngine(err error) bool {
	var p *gateway.Problem
	return errors.As(err, &p)
}

// mark is what an answered message's metadata says of where it comes from.
type mark struct {
	Webhook   string `json:"webhook"`
	WebhookID string `json:"webhook_id"`
	N         int    `json:"n"`
	Of        int    `json:"of"`
}

// notBefore leaves out what the same webhook, answered before, did not have: a second
// answer makes no message, but for those of the first that a crash kept back.
func (h *Hub) notBefore(ctx context.Context, account, id string, messages []json.RawMessage) ([]json.RawMessage, error) {
	key := AnswerKey(id, 0)
	m, err := h.Store.Replay(ctx, h.Now(), store.Draft{Message: gateway.Message{Account: account}, IdempotencyKey: key, Fingerprint: sha256.Sum256([]byte(key))})
	if errors.Is(err, store.ErrNotFound) {
		return messages, nil
	} else if err != nil {
		return nil, err
	}
	var first mark
	if err := json.Unmarshal(m.Metadata, &first); err != nil {
		return nil, err
	}
	return messages[:min(first.Of, len(messages))], nil
}

// submission makes of a message in an answer what the engine takes.
func (h *Hub) submission(ctx context.Context, hook string, account gateway.Account, openid, id string, message json.RawMessage, i, of int) (gateway.Submission, error) {
	r, err := Request(message, account.AppID, openid, account.AILabel)
	if err != nil {
		return gateway.Submission{}, err
	}
	if r.Metadata, err = marked(r.Metadata, mark{hook, id, i + 1, of}); err != nil {
		return gateway.Submission{}, err
	}
	text, err := encode(r)
	if err != nil {
		return gateway.Submission{}, err
	}
	sub, err := h.Compose(ctx, account.AppID, gateway.FromWebhook, text)
	if err != nil {
		return sub, err
	}
	sub.IdempotencyKey = AnswerKey(id, i)
	sub.Fingerprint = sha256.Sum256([]byte(sub.IdempotencyKey)) // a bot may find other words for the same
	return sub, nil
}

// marked is metadata with the members of a mark.
func marked(metadata json.RawMessage, m mark) (json.RawMessage, error) {
	members := map[string]any{}
	if len(metadata) > 0 {
		if err := json.Unmarshal(metadata, &members); err != nil || members == nil {
			return nil, errors.New("metadata is not an object")
		}
	}
	members["webhook"], members["webhook_id"], members["n"], members["of"] = m.Webhook, m.WebhookID, m.N, m.Of
	return encode(members)
}
