package store

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

func init() {
	promises = append(promises, []struct {
		name string
		keep func(t *testing.T, open func() *Store)
	}{
		{"OneOfManyFetchesAToken", oneOfManyFetchesAToken},
		{"TokenEventsAreCountedAcrossRestarts", tokenEventsAreCountedAcrossRestarts},
		{"TokenEventsComeInPages", tokenEventsComeInPages},
		{"SuppliedTokensReplaceAndAreRecorded", suppliedTokensReplaceAndAreRecorded},
		{"TokenEventsLiveNinetyDays", tokenEventsLiveNinetyDays},
	}...)
}

func tokenEvent(action gateway.TokenAction, why string, at time.Time) gateway.TokenEvent {
	return gateway.TokenEvent{At: gateway.At(at), Account: account, Action: action, Why: why, By: "gateway"}
}

// Of many who ask at once the store lets one fetch: it sees nothing under way, the
// others see it.
func oneOfManyFetchesAToken(t *testing.T, open func() *Store) {
	s := open()
	var wg sync.WaitGroup
	claims := make([]TokenClaim, 16)
	for i := range claims {
		wg.Go(func() {
			var err error
			claims[i], _, err = s.ClaimToken(context.Background(), noon, noon, account, func(u TokenUse) (c TokenClaim) {
				if u.Pending.IsZero() && u.Token.Value == "" {
					c.Events = []gateway.TokenEvent{tokenEvent(gateway.TokenFetched, "start", noon)}
					c.Entries = []Entry{{Account: account, Type: "token.low"}}
				}
				return c
			})
			ok(t, err)
		})
	}
	wg.Wait()
	granted := slices.DeleteFunc(claims, func(c TokenClaim) bool { return len(c.Events) == 0 })
	same(t, len(granted), 1)
	feed, _, err := s.Feed(t.Context(), "", 10, nil)
	ok(t, err)
	same(t, len(feed), 1)

	e := granted[0].Events[0]
	e.Outcome, e.ExpiresAt = "ok", timeAt(noon.Add(time.Hour))
	tok := kefu.Token{Value: "T", Expiry: noon.Add(time.Hour)}
	same(t, must(s.SwapToken(t.Context(), noon, account, "", tok, e))(t), tok)
	u, err := s.TokenUse(t.Context(), noon, noon, account)
	ok(t, err)
	same(t, u, TokenUse{Token: tok, Fetched: 1})
	same(t, must(s.TokenOrigin(t.Context(), account))(t), e)
}

func timeAt(at time.Time) *gateway.Time {
	t := gateway.At(at)
	return &t
}

func tokenEventsAreCountedAcrossRestarts(t *testing.T, open func() *Store) {
	s := open()
	day := noon.Add(-12 * time.Hour)
	at := func(e gateway.TokenEvent, outcome string) gateway.TokenEvent { e.Outcome = outcome; return e }
	ok(t, s.RecordToken(t.Context(), noon,
		at(tokenEvent(gateway.TokenFetched, "start", day.Add(-time.Millisecond)), "ok"), // of yesterday
		at(tokenEvent(gateway.TokenFetched, "start", day), "ok"),
		at(tokenEvent(gateway.TokenFetched, "expiry", noon.Add(-3*time.Hour)), "refused"),
		at(tokenEvent(gateway.TokenFetched, "expiry", noon.Add(-3*time.Hour)), "unknown"),
		at(tokenEvent(gateway.TokenFetched, "expiry", noon.Add(-3*time.Hour)), "not-delivered"), // never got there
		at(tokenEvent(gateway.TokenFetched, "refused", noon.Add(-2*time.Hour)), "same"),
		at(tokenEvent(gateway.TokenFetched, "forced", noon.Add(-time.Hour)), "ok"),
		tokenEvent(gateway.TokenFetched, "expiry", noon.Add(-time.Minute)),
		tokenEvent(gateway.TokenContested, "refused", noon.Add(-time.Second)),
		tokenEvent(gateway.TokenLow, "", noon),
	))
	other := tokenEvent(gateway.TokenFetched, "start", noon)
	other.Account = "wxother"
	ok(t, s.RecordToken(t.Context(), noon, other))
	want := TokenUse{Fetched: 5, Forced: 1, Refused: noon.Add(-2 * time.Hour), ForceAt: noon.Add(-time.Hour), Pending: noon.Add(-time.Minute)}
	want = want.Tell(gateway.TokenContested, noon.Add(-time.Second)).Tell(gateway.TokenLow, noon)
	same(t, must(s.TokenUse(t.Context(), noon, day, account))(t), want)
	same(t, want.ToldAt(gateway.TokenLow), noon)
	same(t, want.ToldAt(gateway.TokenSpent), time.Time{})
	ok(t, s.Close())

	// What a process that died had under way is still counted, and nobody waits for it.
	s = open()
	same(t, must(s.TokenUse(t.Context(), noon, day, account))(t), want)
	_, err := s.Recover(t.Context(), noon, nil)
	ok(t, err)
	want.Pending = time.Time{}
	same(t, must(s.TokenUse(t.Context(), noon, day, account))(t), want)
	// Shortly after a day's begin the last hour of the day before is still known.
	same(t, must(s.TokenUse(t.Context(), noon, noon, account))(t), TokenUse{ForceAt: want.ForceAt, Told: want.Told})
}

func tokenEventsComeInPages(t *testing.T, open func() *Store) {
	s := open()
	for i := range 7 {
		ok(t, s.RecordToken(t.Context(), noon, tokenEvent(gateway.TokenFetched, fmt.Sprint(i), noon.Add(time.Duration(i)))))
		enqueue1(t, s, hello(follower)) // numbers are shared with the log
	}
	var got []string
	for cursor := ""; ; {
		page, err := s.TokenEvents(t.Context(), account, cursor, 3)
		ok(t, err)
		for _, e := range page.Items {
			got = append(got, e.Why)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	same(t, got, []string{"6", "5", "4", "3", "2", "1", "0"})
	_, err := s.TokenEvents(t.Context(), account, "-1", 3)
	wants(t, err, ErrCursor)
	page, err := s.TokenEvents(t.Context(), "wxother", "", 3)
	ok(t, err)
	same(t, page, gateway.Page[gateway.TokenEvent]{Items: []gateway.TokenEvent{}})
	_, err = s.TokenOrigin(t.Context(), account)
	wants(t, err, ErrNotFound)
}

func suppliedTokensReplaceAndAreRecorded(t *testing.T, open func() *Store) {
	s := open()
	first := kefu.Token{Value: "first", Expiry: noon.Add(time.Hour)}
	same(t, must(s.SwapToken(t.Context(), noon, account, "", first))(t), first)
	e := tokenEvent(gateway.TokenSupplied, "", noon)
	e.By, e.Outcome = "key_1", "ok"
	second := kefu.Token{Value: "second", Expiry: noon.Add(2 * time.Hour)}
	ok(t, s.PutToken(t.Context(), noon, account, second, e, Entry{Account: account, Type: "token.supplied"}))
	ok(t, s.Close())
	s = open()
	same(t, must(s.Token(t.Context(), account))(t), second)
	same(t, must(s.TokenOrigin(t.Context(), account))(t).By, "key_1")
	if err := s.PutToken(t.Context(), noon, account, kefu.Token{}, e); err == nil {
		t.Error("an empty token is kept")
	}
	e.Action = "stolen" // refused by the table: then the token isn't kept either
	if err := s.PutToken(t.Context(), noon, account, first, e); err == nil {
		t.Error("an unknown action is kept")
	}
	same(t, must(s.Token(t.Context(), account))(t), second)
}

func tokenEventsLiveNinetyDays(t *testing.T, open func() *Store) {
	s := open()
	ok(t, s.RecordToken(t.Context(), noon, tokenEvent(gateway.TokenFetched, "old", noon), tokenEvent(gateway.TokenFetched, "new", noon.Add(time.Millisecond))))
	same(t, must(s.Prune(t.Context(), noon.Add(tokenEventLife-time.Millisecond), Retention{}))(t), 0)
	same(t, must(s.Prune(t.Context(), noon.Add(tokenEventLife), Retention{}))(t), 1)
	page, err := s.TokenEvents(t.Context(), account, "", 10)
	ok(t, err)
	same(t, len(page.Items), 1)
	same(t, page.Items[0].Why, "new")
}
