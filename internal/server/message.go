package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/longtext"
)

// Limits of the envelope, which are the gateway's own.
const (
	maxBatchLength = 1000
	maxMetadata    = 4 << 10
	maxKeyLength   = 255 // of an idempotency key
	maxOpenID      = 128 // WeChat's have 28
	maxMsgType     = 64
	maxParts       = 100 // of a long text
)

func (s *Server) postMessage(c *call) (int, any, error) {
	wait, err := c.wait()
	if err != nil {
		return 0, nil, err
	}
	body, err := c.read(maxBody)
	if err != nil {
		return 0, nil, err
	}
	sub, err := c.submission(body, c.Header["Idempotency-Key"])
	if err != nil {
		return 0, nil, err
	}
	return c.accept(sub, wait)
}

// accept hands one submission in and answers with what became of it.
func (c *call) accept(sub gateway.Submission, wait time.Duration) (int, any, error) {
	a := c.s.Engine.Accept(c.Context(), []gateway.Submission{sub})[0]
	if a.Err != nil {
		return 0, nil, a.Err
	}
	m, status := a.Message, http.StatusAccepted
	c.detail = m.ID
	if a.Replayed {
		status, c.quiet = http.StatusOK, true
		if sub.IdempotencyKey != "" {
			c.w.Header().Set("Idempotency-Replayed", "true")
		}
	}
	if wait > 0 && !over(m.State) && m.State != gateway.Parked {
		var err error
		if m, err = c.await(m, wait); err != nil {
			return 0, nil, err
		}
		if over(m.State) {
			status = http.StatusOK
		}
	} else if wait > 0 && over(m.State) {
		status = http.StatusOK
	}
	return status, c.withWindow(m), nil
}

// over reports whether somebody who waits for a message has waited enough.
func over(s gateway.State) bool { return s.Final() || s == gateway.Unknown }

// await waits for a message's end. It was kept: whatever happens here, that stands.
func (c *call) await(m gateway.Message, wait time.Duration) (gateway.Message, error) {
	c.release()
	ctx, cancel := context.WithTimeout(c.Context(), wait)
	defer cancel()
	defer context.AfterFunc(c.s.closing, cancel)()
	defer context.AfterFunc(c.left, cancel)()
	now, err := c.s.Engine.Await(ctx, m.ID)
	if err != nil {
		c.s.Log.WarnContext(c.Context(), "nobody can tell how a message stands", "id", m.ID, "err", err)
		return m, nil
	}
	return now, nil
}

func (s *Server) postBatch(c *call) (int, any, error) {
	body, err := c.read(maxBatch)
	if err != nil {
		return 0, nil, err
	}
	var items []json.RawMessage
	if body[firstByte(body)] == '[' {
		err = json.Unmarshal(body, &items)
	} else {
		var batch struct {
			Messages []json.RawMessage `json:"messages"`
		}
		err = invalid(gateway.InvalidRequest, decode(body, "", &batch)...)
		items = batch.Messages
	}
	if err != nil {
		return 0, nil, err
	}
	if len(items) > maxBatchLength {
		return 0, nil, refuse(gateway.InvalidRequest).because("too-many", maxBatchLength, len(items))
	}
	var (
		results = make([]gateway.BatchResult, len(items))
		subs    = make([]gateway.Submission, 0, len(items))
		places  = make([]int, 0, len(items))
	)
	for i, item := range items {
		err := error(refuse(gateway.TooLarge, maxBody))
		if len(item) <= maxBody {
			var sub gateway.Submission
			if sub, err = c.submission(item, nil); err == nil {
				subs, places = append(subs, sub), append(places, i)
				continue
			}
		}
		results[i] = c.refused(err)
	}
	if len(subs) > 0 {
		for i, a := range s.Engine.Accept(c.Context(), subs) {
			r := &results[places[i]]
			if a.Err != nil {
				*r = c.refused(a.Err)
				continue
			}
			m := c.withWindow(a.Message)
			if r.Status, r.Message = http.StatusAccepted, &m; a.Replayed {
				r.Status = http.StatusOK
			}
		}
	}
	return http.StatusOK, gateway.BatchResults{Results: results}, nil
}

// refused is a problem as an element of a batch.
func (c *call) refused(err error) gateway.BatchResult {
	p, fault := c.s.problem(err, c.lang)
	if fault != nil {
		c.s.Log.ErrorContext(c.Context(), "an element of a batch failed", "code", p.Code, "err", fault)
	}
	return gateway.BatchResult{Status: p.Status, Problem: &p}
}

func firstByte(body []byte) int { return len(body) - len(bytes.TrimLeft(body, " \t\r\n")) }

// submission reads, checks and completes one request. It is what decides whether a
// message may be kept, but for what only the store and the ledger know.
func (c *call) submission(body []byte, header []string) (gateway.Submission, error) {
	var r gateway.Request
	bad := decode(body, "", &r)
	bad = append(bad, checkEnvelope(r)...)
	key, wrongKey := idempotencyKey(header, r.IdempotencyKey)
	bad = append(bad, wrongKey...)
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return gateway.Submission{}, err
	}
	sub := gateway.Submission{
		WhenClosed: r.WhenClosed, OnUnknown: r.OnUnknown, Priority: cmp.Or(r.Priority, gateway.Normal),
		Source: c.source(), By: c.by(), Metadata: compact(r.Metadata), IdempotencyKey: key,
	}
	if r.NotBefore != nil {
		sub.NotBefore = gateway.At(r.NotBefore.Time)
	}
	if r.ExpiresAt != nil {
		sub.ExpiresAt = gateway.At(r.ExpiresAt.Time)
	}
	if key != "" {
		form, err := canonical(body, "idempotency_key")
		if err != nil {
			return sub, &refusal{code: gateway.InvalidJSON, args: []any{1, 1, details["not-a-double"]}, line: 1, column: 1}
		}
		sub.Fingerprint = sha256.Sum256(form)
	}
	account, err := c.theAccount(r.Account)
	if err != nil {
		return sub, err
	}
	sub.Account = account.AppID
	sub.WhenClosed = cmp.Or(sub.WhenClosed, account.WhenClosed, gateway.Park)
	sub.OnUnknown = cmp.Or(sub.OnUnknown, account.OnUnknown, gateway.Hold)

	refused := take(&sub, r, cmp.Or(rules()[account.Profile], rules()[""]))
	if refused == nil {
		refused = c.media(&sub)
	}
	if refused != nil && key != "" { // the same may have been kept under other rules
		p, _ := c.s.problem(refused, c.lang)
		sub.Refused, refused = &p, nil
	}
	return sub, refused
}

// checkEnvelope says what is wrong with the members beside the message.
func checkEnvelope(r gateway.Request) (bad []field) {
	bad = append(bad, oneOf("when_closed", r.WhenClosed, gateway.Park, gateway.Fail, gateway.Try)...)
	bad = append(bad, oneOf("on_unknown", r.OnUnknown, gateway.Hold, gateway.Resend)...)
	bad = append(bad, oneOf("long_text", r.LongText, gateway.Refuse, gateway.Split)...)
	bad = append(bad, oneOf("priority", r.Priority, gateway.Human, gateway.Normal, gateway.Bulk)...)
	if meta := compact(r.Metadata); meta != nil {
		if meta[0] != '{' {
			bad = append(bad, wrong("metadata", "must-object"))
		}
		if len(meta) > maxMetadata {
			f := wrong("metadata", "max-bytes", len(meta), maxMetadata)
			f.limit, f.actual = maxMetadata, len(meta)
			bad = append(bad, f)
		}
	}
	return bad
}

// idempotencyKey is the one of the header, or of the member.
func idempotencyKey(header []string, member string) (key string, bad []field) {
	location := "idempotency_key"
	if key = member; len(header) > 0 {
		location, key = "header.Idempotency-Key", header[0]
		if key == "" {
			bad = append(bad, wrong(location, "required"))
		}
		if member != "" && member != key || len(header) > 1 && slices.ContainsFunc(header, func(h string) bool { return h != key }) {
			bad = append(bad, wrong("idempotency_key", "two-keys"))
		}
	}
	if len(key) > maxKeyLength {
		f := wrong(location, "max-bytes", len(key), maxKeyLength)
		f.limit, f.actual = maxKeyLength, len(key)
		bad = append(bad, f)
	}
	return key, bad
}

// by is who is behind a message.
func (c *call) by() *gateway.By {
	if c.agent != nil {
		return &gateway.By{Kind: "agent", ID: c.agent.ID, Name: c.agent.Display}
	}
	return &gateway.By{Kind: "key", ID: c.key.ID, Name: c.key.Name}
}

// source is what the caller says of itself; nothing depends on it. A session is the
// console's; door and webhook are the gateway's own to say.
func (c *call) source() gateway.Source {
	if c.agent != nil {
		return gateway.FromConsole
	}
	switch v := gateway.Source(c.Header.Get("Kefu-Source")); v {
	case gateway.FromCLI, gateway.FromConsole, gateway.FromBot:
		return v
	}
	return gateway.FromAPI
}

// compact is raw without space, nil for a null or nothing.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil || b.Len() == 0 || b.String() == "null" {
		return nil
	}
	return b.Bytes()
}

// rules are those that messages are held against: what differs by account, the
// windows, is the ledger's.
var rules = sync.OnceValue(func() map[string]*kefu.Rules {
	all := map[string]*kefu.Rules{}
	for _, profile := range append(kefu.Profiles(), "") {
		r, _ := kefu.RulesFor(profile)
		all[profile] = &r
	}
	return all
})

// take puts the message into sub, or says why it can't be kept.
func take(sub *gateway.Submission, r gateway.Request, rules *kefu.Rules) error {
	if !sub.NotBefore.IsZero() && !sub.ExpiresAt.IsZero() && !sub.ExpiresAt.After(sub.NotBefore.Time) {
		return invalid(gateway.InvalidRequest, wrong("expires_at", "after-before"))
	}
	if sub.Message = compact(r.Message); sub.Message == nil {
		return invalid(gateway.InvalidMessage, wrong("message", "required"))
	}
	var m kefu.Message
	if err := m.UnmarshalJSON(sub.Message); err != nil {
		return err
	}
	refused, warned := m.Check(rules)
	var bad []field
	if r.LongText == gateway.Split {
		refused, sub.Parts, bad = split(m, refused)
	}
	bad = append(bad, violations(refused)...)
	for _, f := range []struct {
		location, value string
		most            int
	}{{"message.touser", m.To, maxOpenID}, {"message.msgtype", msgType(m), maxMsgType}} {
		if len(f.value) > f.most {
			w := wrong(f.location, "max-bytes", len(f.value), f.most)
			w.limit, w.actual = f.most, len(f.value)
			bad = append(bad, w)
		}
		if strings.ContainsFunc(f.value, unicode.IsControl) {
			bad = append(bad, wrong(f.location, "control"))
		}
	}
	if err := invalid(gateway.InvalidMessage, bad...); err != nil {
		return err
	}
	sub.OpenID, sub.MsgType, sub.Warnings = m.To, m.Body.MsgType(), warned
	return nil
}

// split cuts a text that is too long into parts, which is then no violation any more,
// or says why that can't be done.
func split(m kefu.Message, refused []kefu.Violation) (rest []kefu.Violation, parts [][2]int, bad []field) {
	text, ok := m.Body.(kefu.Text)
	i := slices.IndexFunc(refused, func(v kefu.Violation) bool { return v.Location == "message.text.content" && v.Rule == "max_bytes" })
	if !ok || i < 0 {
		return refused, nil, nil
	}
	v := refused[i]
	if v.Actual <= maxParts*v.Limit {
		parts, ok = longtext.Split(text.Content, v.Limit)
	}
	if !ok || parts == nil || len(parts) > maxParts {
		f := wrong(v.Location, "unsplittable", v.Actual, v.Limit, maxParts)
		f.limit, f.actual, f.source = v.Limit, v.Actual, v.Source
		return slices.Delete(refused, i, i+1), nil, []field{f}
	}
	return slices.Delete(refused, i, i+1), parts, nil
}

func msgType(m kefu.Message) string {
	if m.Body == nil {
		return ""
	}
	return m.Body.MsgType()
}

// withWindow adds the window as it is now, and tells the outcome in the caller's language.
func (c *call) withWindow(m gateway.Message) gateway.Message {
	m.Outcome = told(m.Outcome, c.lang)
	if m.Window == nil {
		m.Window = c.window(m.Account, m.OpenID)
	}
	return m
}

// window is nil if nobody can tell; what it stands beside is worth an answer all the
// same.
func (c *call) window(account, openid string) *gateway.Window {
	w, err := c.s.Engine.Window(c.Context(), account, openid)
	if err != nil {
		if c.Context().Err() == nil && !c.s.has(err, gateway.UnknownAccount) {
			c.s.Log.ErrorContext(c.Context(), "a window can't be told", "account", account, "err", err)
		}
		return nil
	}
	return &w
}

// message finds the one in the path, if the key is for its account.
func (c *call) message() (gateway.Message, error) {
	m, err := c.s.Store.Message(c.Context(), c.PathValue("id"))
	if err == nil && !c.sees(m.Account) {
		err = refuse(gateway.NotFound)
	}
	return m, err
}

func (s *Server) getMessage(c *call) (int, any, error) {
	m, err := c.message()
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, c.withWindow(m), nil
}

func (s *Server) listMessages(c *call) (int, any, error) {
	f, err := c.filter()
	limit, err2 := c.limit()
	if err := errors.Join(err, err2); err != nil {
		return 0, nil, err
	}
	page, err := s.Store.Messages(c.Context(), f, c.query().Get("cursor"), limit)
	if err != nil {
		return 0, nil, err
	}
	windows := map[[2]string]*gateway.Window{} // many messages, few followers
	for i := range page.Items {
		m := &page.Items[i]
		follower := [2]string{m.Account, m.OpenID}
		if windows[follower] == nil {
			windows[follower] = c.window(m.Account, m.OpenID)
		}
		m.Window, m.Outcome = windows[follower], told(m.Outcome, c.lang)
	}
	return http.StatusOK, full(page), nil
}

// full is page with [] for no items.
func full[T any](page gateway.Page[T]) gateway.Page[T] {
	if page.Items == nil {
		page.Items = []T{}
	}
	return page
}

func (s *Server) listAttempts(c *call) (int, any, error) {
	m, err := c.message()
	if err != nil {
		return 0, nil, err
	}
	all, err := s.Store.Attempts(c.Context(), m.ID)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, full(gateway.Page[gateway.Attempt]{Items: all}), nil
}

func (s *Server) cancelMessage(c *call) (int, any, error) {
	m, err := c.message()
	c.quiet = c.agent == nil || m.State == gateway.Canceled
	if err == nil {
		m, err = s.Engine.Cancel(c.Context(), m.ID)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, c.withWindow(m), nil
}

func (s *Server) resolveMessage(c *call) (int, any, error) {
	var r gateway.Resolution
	if err := c.body(&r); err != nil {
		return 0, nil, err
	}
	bad := oneOf("as", r.As, gateway.Sent, gateway.Failed)
	if r.As == "" {
		bad = append(bad, wrong("as", "required"))
	}
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return 0, nil, err
	}
	c.detail = string(r.As)
	m, err := c.message()
	if err == nil {
		m, err = s.Engine.Resolve(c.Context(), m.ID, r.As)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, c.withWindow(m), nil
}

// retryMessage makes a new message of an old one: its content and options, without
// the old times.
func (s *Server) retryMessage(c *call) (int, any, error) {
	wait, err := c.wait()
	if err != nil {
		return 0, nil, err
	}
	key, bad := idempotencyKey(c.Header["Idempotency-Key"], "")
	if err := invalid(gateway.InvalidRequest, bad...); err != nil {
		return 0, nil, err
	}
	m, err := c.message()
	if err != nil {
		return 0, nil, err
	}
	c.quiet = c.agent == nil
	sub := c.repeat(m)
	sub.IdempotencyKey, sub.Fingerprint = key, sha256.Sum256([]byte("retry "+m.ID))
	if !slices.Contains(repeatable, m.State) {
		refused := inState(gateway.NotRetryable, c.withWindow(m))
		if key == "" {
			return 0, nil, refused
		}
		p, _ := s.problem(refused, c.lang) // the key may have made a message when the state was another
		sub.Refused = &p
	}
	return c.accept(sub, wait)
}

// repeatable are the states from which a message can be sent once more.
var repeatable = []gateway.State{gateway.Failed, gateway.Expired, gateway.Canceled, gateway.Unknown}

// repeat is what makes a new message of an old one: all of it, also if parts of a
// long text were sent, which then may arrive twice.
func (c *call) repeat(m gateway.Message) gateway.Submission {
	var parts [][2]int
	if m.Parts > 0 { // cut as it would be today
		whole, err := kefu.ParseMessage(m.Message)
		account, err2 := c.s.Store.Account(c.Context(), m.Account)
		if errors.Join(err, err2) == nil {
			refused, _ := whole.Check(cmp.Or(rules()[account.Profile], rules()[""]))
			_, parts, _ = split(whole, refused)
		}
	}
	return gateway.Submission{
		Account: m.Account, OpenID: m.OpenID, MsgType: m.MsgType, Message: m.Message,
		WhenClosed: m.WhenClosed, OnUnknown: m.OnUnknown, Priority: m.Priority,
		Source: c.source(), By: c.by(), Metadata: m.Metadata, Warnings: m.Warnings, Parts: parts,
		RetryOf: m.ID, PossibleDuplicate: m.State == gateway.Unknown || m.PartsSent > 0,
	}
}
