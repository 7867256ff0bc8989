package store

import (
	"encoding/json"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// How an account stands with WeChat is kept with what the feed says of it, survives
// a restart, and goes with the account.
func standingsAreKept(t *testing.T, open func() *Store) {
	s, ctx := open(), t.Context()
	held := json.RawMessage(`{"held_until":"2026-11-23T16:00:00.000Z"}`)
	told := Entry{Account: account, Type: "account.held", Data: json.RawMessage(`{"because":"45009"}`)}
	ok(t, s.SetStanding(ctx, noon, account, held, told)) // of an account that there is not
	got, err := s.Standing(ctx, account)
	ok(t, err)
	same(t, string(got), "")

	ok(t, s.PutAccount(ctx, noon, gateway.Account{AppID: account, Secret: "s"}.WithDefaults()))
	ok(t, s.SetStanding(ctx, noon, account, json.RawMessage(`{}`)))
	ok(t, s.SetStanding(ctx, noon, account, held, told))
	ok(t, s.Close())
	s = open()
	got, err = s.Standing(ctx, account)
	ok(t, err)
	same(t, string(got), string(held))
	entries, _, err := s.Feed(ctx, "", 10, nil)
	ok(t, err)
	same(t, len(entries), 1) // and nothing about the account that there was not
	same(t, entries[0].Type, "account.held")

	ok(t, s.DeleteAccount(ctx, noon, account))
	got, err = s.Standing(ctx, account)
	ok(t, err)
	same(t, string(got), "")
}
