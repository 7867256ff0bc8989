package store

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

func longText(openid string) Draft {
	return hello(openid).with(func(d *Draft) { d.Cuts = [][2]int{{0, 8}, {9, 20}, {20, 33}} })
}

// A part that was sent is never forgotten, and a later process cuts the text in the
// same places.
func partsSentStay(t *testing.T, open func() *Store) {
	s := open()
	m := enqueue1(t, s, longText(follower))
	same(t, []any{m.Parts, m.PartsSent, m.Cuts}, []any{3, 0, [][2]int{{0, 8}, {9, 20}, {20, 33}}})
	same(t, now(t, s, m), m)
	part := func(n, sent int, state gateway.State) {
		t.Helper()
		ok(t, s.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: n}))
		ok(t, s.Finish(t.Context(), noon, Finish{Seq: m.Seq, State: state, PartsSent: sent, Attempt: gateway.Attempt{N: n, Part: sent, Outcome: "sent"}}))
	}
	part(1, 1, gateway.Queued)
	ok(t, s.Close())
	s = open()
	got := now(t, s, m)
	same(t, []any{got.State, got.Parts, got.PartsSent, got.Cuts, got.Number}, []any{gateway.Queued, 3, 1, m.Cuts, m.Number})
	for u, err := range s.Unfinished(t.Context()) {
		ok(t, err)
		same(t, []any{u.Seq, u.Parts, u.PartsSent}, []any{m.Seq, 3, 1})
	}

	// The process dies in the middle of the second part.
	ok(t, s.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 2}))
	ok(t, s.Close())
	s = open()
	_, err := s.Recover(t.Context(), noon, nil)
	ok(t, err)
	got = now(t, s, m)
	same(t, []any{got.State, got.PartsSent}, []any{gateway.Unknown, 1})
	attempts, err := s.Attempts(t.Context(), m.ID)
	ok(t, err)
	same(t, []int{attempts[0].Part, attempts[1].Part}, []int{1, 2})

	// Whatever a move does not say stays.
	ok(t, s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Unknown, To: gateway.Queued}))
	same(t, now(t, s, m).PartsSent, 1)
	part(3, 2, gateway.Queued)
	ok(t, s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Queued, To: gateway.Canceled}))
	same(t, now(t, s, m).PartsSent, 2)
	ok(t, s.Close())
	s = open()
	lines, _, err := s.Feed(t.Context(), "", 100, nil)
	ok(t, err)
	var told []int
	for _, e := range lines {
		var data struct {
			Parts int `json:"parts"`
			Sent  int `json:"parts_sent"`
		}
		ok(t, json.Unmarshal(e.Data, &data))
		same(t, data.Parts, 3)
		told = append(told, data.Sent)
	}
	same(t, told, []int{0, 0, 1, 1, 1, 1, 1, 2, 2})

	// What an earlier schema kept, and every other message, has no parts.
	plain := now(t, s, bring(t, s, gateway.Sent))
	same(t, []any{plain.Parts, plain.PartsSent, plain.Cuts == nil}, []any{0, 0, true})
}

// RetryOnce joins the first repeat of a message, whatever became of that.
func retryOnceJoinsForGood(t *testing.T, open func() *Store) {
	s := open()
	failed := bring(t, s, gateway.Failed)
	once := hello(follower).with(func(d *Draft) { d.RetryOf, d.RetryOnce = failed.ID, true })
	two := s.Enqueue(t.Context(), noon, once, once)
	same(t, []any{two[0].Replayed, two[1].Replayed, two[1].Message.ID}, []any{false, true, two[0].Message.ID})
	ok(t, s.Move(t.Context(), noon, Move{Seq: two[0].Message.Seq, From: gateway.Queued, To: gateway.Failed, Outcome: &gateway.Outcome{Class: kefu.ErrBadRequest}}))
	ok(t, s.Close())
	s = open()
	third := s.Enqueue(t.Context(), noon.Add(30*24*time.Hour), once)[0]
	same(t, []any{third.Replayed, third.Message.ID, third.Message.State}, []any{true, two[0].Message.ID, gateway.Failed})
	own := s.Enqueue(t.Context(), noon, hello(follower).with(func(d *Draft) { d.RetryOf, d.RetryOnce = two[0].Message.ID, true }))[0]
	same(t, own.Replayed, false)
}
