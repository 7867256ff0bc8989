package store

import (
	"encoding/json"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

func init() {
	promises = append(promises, []struct {
		name string
		keep func(t *testing.T, open func() *Store)
	}{{"ResolvedWithItsLedger", resolvedWithItsLedger}}...)
}

// A message of which two attempts are unknown is resolved in one commit with what that
// gives back: all of it is there after a restart, or nothing.
func resolvedWithItsLedger(t *testing.T, open func() *Store) {
	s, ctx := open(), t.Context()
	ledger := func(used string) *Conversation {
		return &Conversation{Account: account, OpenID: follower, Ledger: json.RawMessage(`{"used":` + used + `}`)}
	}
	m := enqueue1(t, s, hello(follower).with(func(d *Draft) { d.OnUnknown = gateway.Resend }))
	unknown := func(n int, used string, f Finish) {
		t.Helper()
		ok(t, s.Begin(ctx, noon, Begin{Seq: m.Seq, Attempt: n, PossibleDuplicate: n > 1, Conversation: ledger(used)}))
		f.Seq, f.State, f.Attempt = m.Seq, gateway.Unknown, gateway.Attempt{N: n, At: gateway.At(noon), Outcome: "unknown"}
		ok(t, s.Finish(ctx, noon, f))
	}
	unknown(1, "1", Finish{RetryAt: noon})
	ok(t, s.Move(ctx, noon, Move{Seq: m.Seq, From: gateway.Unknown, To: gateway.Queued}))
	unknown(2, "2", Finish{})
	refused := Move{Seq: m.Seq, From: gateway.Queued, To: gateway.Failed, Conversation: ledger("0")}
	if err := s.Move(ctx, noon, refused); err == nil {
		t.Error("a message that is unknown was moved as if it were queued")
	}
	is := func(state gateway.State, used string) {
		t.Helper()
		ok(t, s.Close())
		s = open()
		got := now(t, s, m)
		same(t, []any{got.State, got.Attempts, got.PossibleDuplicate}, []any{state, 2, true})
		c, err := s.Conversation(ctx, account, follower)
		ok(t, err)
		same(t, string(c.Ledger), `{"used":`+used+`}`)
		attempts, err := s.Attempts(ctx, m.ID)
		ok(t, err)
		same(t, len(attempts), 2)
	}
	is(gateway.Unknown, "2")
	ok(t, s.Move(ctx, noon, Move{Seq: m.Seq, From: gateway.Unknown, To: gateway.Failed, Outcome: &gateway.Outcome{Reason: "resolved by hand as failed"}, Conversation: ledger("0")}))
	is(gateway.Failed, "0")
}
