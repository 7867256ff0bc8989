package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/kefu-go/kefu/gateway"
)

const (
	maxSelected = 1000 // messages in one call
	atOnce      = 64   // of them at the same time: they share commits
)

// A chosen message is one of a selection, or the problem with it.
type chosen struct {
	id      string
	message gateway.Message
	outcome string // "": still to be decided
	made    string // of a retry: the message that repeats it
}

// cancelMessages cancels what is queued or parked; of what is unknown, the resend.
func (s *Server) cancelMessages(c *call) (int, any, error) {
	cancelable := []gateway.State{gateway.Queued, gateway.Parked, gateway.Unknown}
	sel, err := c.selection(cancelable)
	if err != nil {
		return 0, nil, err
	}
	all, next, err := c.choose(sel, c.s.Store.Messages, gateway.Queued, gateway.Parked)
	if err != nil {
		return 0, nil, err
	}
	each(all, func(m *chosen) {
		done := "canceled"
		if m.message.State == gateway.Unknown {
			done = "called-off"
		}
		switch {
		case sel.DryRun && !slices.Contains(append(cancelable, gateway.Canceled), m.message.State),
			m.message.State == gateway.Unknown && m.message.RetryAt == nil:
			m.outcome = gateway.NotCancelable
		case sel.DryRun:
			m.outcome = done
		default:
			_, err := s.Engine.Cancel(c.Context(), m.id)
			m.outcome = c.outcome(err, done)
		}
	})
	return http.StatusOK, c.selected(all, next, sel, "canceled", "called-off"), nil
}

// retryMessages repeats messages, each once: whoever calls again, since the answer
// was lost, sends nothing twice. Each follower gets theirs in the order in which they
// were accepted at first.
func (s *Server) retryMessages(c *call) (int, any, error) {
	sel, err := c.selection(repeatable)
	if err == nil && len(sel.IDs) == 0 && sel.State == "" {
		err = invalid(gateway.InvalidRequest, wrong("state", "must-say-state", states(repeatable)))
	}
	if err != nil {
		return 0, nil, err
	}
	all, next, err := c.choose(sel, c.s.Store.OldestMessages)
	if err != nil {
		return 0, nil, err
	}
	var subs []gateway.Submission
	var places []int
	for i := range all {
		m := &all[i]
		switch {
		case m.outcome != "":
		case !slices.Contains(repeatable, m.message.State):
			m.outcome = gateway.NotRetryable
		case sel.DryRun:
			m.outcome = "retried"
		default:
			sub := c.repeat(m.message)
			sub.RetryOnce = true
			subs, places = append(subs, sub), append(places, i)
		}
	}
	if len(subs) > 0 {
		for i, a := range s.Engine.Accept(c.Context(), subs) {
			m := &all[places[i]]
			done := "retried"
			if a.Replayed {
				done = "joined"
			}
			m.outcome = c.outcome(a.Err, done)
			m.made = a.Message.ID
		}
	}
	return http.StatusOK, c.selected(all, next, sel, "retried"), nil
}

// selection reads what the caller chooses, and refuses what would be everything.
func (c *call) selection(of []gateway.State) (sel gateway.Selection, err error) {
	if err := c.body(&sel); err != nil {
		return sel, err
	}
	filtered := sel.Account != "" || sel.OpenID != "" || sel.State != "" || sel.ErrCode != 0 || sel.Since != nil || sel.Until != nil || len(sel.Metadata) > 0
	bad := oneOf("state", sel.State, of...)
	switch n := len(sel.IDs); {
	case n > 0 && (filtered || sel.Cursor != ""):
		bad = append(bad, wrong("ids", "ids-alone"))
	case n > maxSelected:
		bad = append(bad, wrong("ids", "too-many-ids", n, maxSelected))
	case n == 0 && !filtered && len(bad) == 0:
		return sel, refuse(gateway.InvalidRequest).because("selects-all")
	}
	if sel.Limit < 0 || sel.Limit > maxSelected {
		bad = append(bad, wrong("limit", "must-range", 1, maxSelected))
	}
	return sel, invalid(gateway.InvalidRequest, bad...)
}

func states(of []gateway.State) string {
	names := make([]string, len(of))
	for i, s := range of {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

// A listing is how the store lists messages.
type listing func(ctx context.Context, f gateway.MessageFilter, cursor string, limit int) (gateway.Page[gateway.Message], error)

// choose finds the messages of a selection that the key is for, in the order of list. A
// filter without a state goes through otherwise, one after the other; the cursor says
// which is next.
func (c *call) choose(sel gateway.Selection, list listing, otherwise ...gateway.State) (all []chosen, next string, err error) {
	if len(sel.IDs) > 0 {
		ids := slices.Clone(sel.IDs)
		slices.Sort(ids) // they grow in the order of acceptance
		for _, id := range slices.Compact(ids) {
			m := chosen{id: id}
			if m.message, err = c.s.Store.Message(c.Context(), id); err == nil && !c.sees(m.message.Account) {
				err = refuse(gateway.NotFound)
			}
			if err != nil {
				m = chosen{id: id, outcome: c.outcome(err, "")}
			} else if err := c.hold(int64(len(m.message.Message))); err != nil {
				return nil, "", err
			}
			all = append(all, m)
		}
		return all, "", nil
	}
	f := gateway.MessageFilter{Accounts: c.key.Accounts, OpenID: sel.OpenID, State: sel.State, ErrCode: sel.ErrCode, Metadata: sel.Metadata}
	if sel.Account != "" {
		if _, err := c.account(sel.Account); err != nil {
			return nil, "", err
		}
		f.Accounts = []string{sel.Account}
	}
	if sel.Since != nil {
		f.From = sel.Since.Time
	}
	if sel.Until != nil {
		f.To = sel.Until.Time
	}
	cursor, turn := sel.Cursor, 0
	if f.State == "" {
		if state, rest, ok := strings.Cut(sel.Cursor, ":"); ok {
			cursor, turn = rest, slices.Index(otherwise, gateway.State(state))
		} else if sel.Cursor != "" {
			turn = -1
		}
		if turn < 0 {
			return nil, "", invalid(gateway.InvalidRequest, wrong("cursor", "cursor"))
		}
		f.State = otherwise[turn]
	}
	page, err := list(c.Context(), f, cursor, cmp.Or(sel.Limit, maxSelected))
	if err != nil {
		return nil, "", err
	}
	for _, m := range page.Items {
		all = append(all, chosen{id: m.ID, message: m})
	}
	if next = page.Next; sel.State != "" {
		return all, next, nil
	}
	switch {
	case next != "":
		next = string(f.State) + ":" + next
	case turn+1 < len(otherwise):
		next = string(otherwise[turn+1]) + ":"
	}
	return all, next, nil
}

// each runs act for the messages that are still to be decided.
func each(all []chosen, act func(*chosen)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range all {
		if all[i].outcome != "" {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			act(&all[i])
		})
	}
	wg.Wait()
}

// outcome is done, or the code of what went wrong; faults are logged.
func (c *call) outcome(err error, done string) string {
	if err == nil {
		return done
	}
	p, fault := c.s.problem(err, c.lang)
	if fault != nil {
		c.s.Log.ErrorContext(c.Context(), "a message of a selection failed", "code", p.Code, "err", fault)
	}
	return p.Code
}

// selected is what became of a selection, and has it on record if one of those outcomes
// is among it: how many, since a selection may be of a thousand messages.
func (c *call) selected(all []chosen, next string, sel gateway.Selection, changed ...string) gateway.Selected {
	s := gateway.Selected{Counts: map[string]int{}, IDs: map[string][]string{}, Next: next, DryRun: sel.DryRun}
	for _, m := range all {
		s.Counts[m.outcome]++
		s.IDs[m.outcome] = append(s.IDs[m.outcome], m.id)
		if m.made != "" {
			if s.Made == nil {
				s.Made = map[string]string{}
			}
			s.Made[m.id] = m.made
		}
	}
	if c.made = sel.Account; len(sel.IDs) == 1 {
		c.made = sel.IDs[0]
	}
	var counts []string
	for _, outcome := range changed {
		if n := s.Counts[outcome]; n > 0 && !sel.DryRun {
			counts = append(counts, fmt.Sprint(outcome, " ", n))
		}
	}
	c.detail, c.quiet = strings.Join(counts, ", "), len(counts) == 0
	return s
}
