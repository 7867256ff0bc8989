package tokens

import (
	"slices"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

var noon = time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC) // in Beijing

func told(n gateway.TokenAction, at time.Time) store.TokenUse { return store.TokenUse{}.Tell(n, at) }

// The policy, a rule a row.
func TestDecide(t *testing.T) {
	const ms = time.Millisecond
	midnight := time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)
	live := kefu.Token{Value: "new", Expiry: noon.Add(ms)}
	for _, tt := range []struct {
		rule    string
		use     store.TokenUse
		wish    wish
		want    act
		until   time.Time
		notices []gateway.TokenAction
	}{
		{rule: "nothing there: fetch", wish: wish{why: start}, want: fetch},
		{rule: "another's living token is taken", use: store.TokenUse{Token: live}, wish: wish{why: refused, stale: "old", contested: true}, want: adopt},
		{rule: "also by who waits for one", use: store.TokenUse{Token: live}, wish: wish{why: start, waits: true}, want: adopt},
		{rule: "one that has ended is not", use: store.TokenUse{Token: kefu.Token{Value: "new", Expiry: noon}}, wish: wish{why: expiry, stale: "old"}, want: fetch},
		{rule: "nor the one that won't do", use: store.TokenUse{Token: live}, wish: wish{why: expiry, stale: "new"}, want: fetch},
		{rule: "nor one that was there before ours", use: store.TokenUse{Token: live}, wish: wish{why: expiry, stale: "ours", seen: "new"}, want: fetch},
		{rule: "nor by force", use: store.TokenUse{Token: live}, wish: wish{why: forced, stale: "old"}, want: fetch},

		{rule: "a fetch under way is awaited", use: store.TokenUse{Pending: noon.Add(-patience + ms)}, wish: wish{why: expiry}, want: await},
		{rule: "but not for ever", use: store.TokenUse{Pending: noon.Add(-patience)}, wish: wish{why: expiry}, want: fetch},

		{rule: "a refused token: once in 30 s", use: store.TokenUse{Refused: noon.Add(-refusedGap + ms)}, wish: wish{why: refused}, want: refuse, until: noon.Add(ms)},
		{rule: "then again", use: store.TokenUse{Refused: noon.Add(-refusedGap)}, wish: wish{why: refused}, want: fetch},
		{rule: "an ended one at once", use: store.TokenUse{Refused: noon.Add(-ms)}, wish: wish{why: expired}, want: fetch},
		{rule: "somebody ends our tokens: said", wish: wish{why: refused, contested: true}, want: fetch, notices: []gateway.TokenAction{gateway.TokenContested}},
		{rule: "not twice an hour", use: told(gateway.TokenContested, noon.Add(-time.Hour)), wish: wish{why: refused, contested: true}, want: fetch},
		{rule: "but after it", use: told(gateway.TokenContested, noon.Add(-time.Hour-ms)), wish: wish{why: refused, contested: true}, want: fetch, notices: []gateway.TokenAction{gateway.TokenContested}},

		{rule: "the last but one that may be fetched", use: store.TokenUse{Fetched: 1898}.Tell(gateway.TokenLow, noon), wish: wish{why: start}, want: fetch},
		{rule: "the last", use: store.TokenUse{Fetched: 1899}.Tell(gateway.TokenLow, noon), wish: wish{why: start}, want: fetch},
		{rule: "no more: until midnight in Beijing, said", use: store.TokenUse{Fetched: 1900}, wish: wish{why: start}, want: refuse, until: midnight, notices: []gateway.TokenAction{gateway.TokenSpent}},
		{rule: "once a day", use: store.TokenUse{Fetched: 1900}.Tell(gateway.TokenSpent, midnight.AddDate(0, 0, -1)), wish: wish{why: start}, want: refuse, until: midnight},
		{rule: "yesterday does not count", use: store.TokenUse{Fetched: 1900}.Tell(gateway.TokenSpent, midnight.AddDate(0, 0, -1).Add(-ms)), wish: wish{why: start}, want: refuse, until: midnight, notices: []gateway.TokenAction{gateway.TokenSpent}},
		{rule: "below 80 %: nothing is said", use: store.TokenUse{Fetched: 1598}, wish: wish{why: start}, want: fetch},
		{rule: "the fetch that makes it 80 %: said", use: store.TokenUse{Fetched: 1599}, wish: wish{why: start}, want: fetch, notices: []gateway.TokenAction{gateway.TokenLow}},
		{rule: "once a day too", use: store.TokenUse{Fetched: 1700}.Tell(gateway.TokenLow, noon.Add(-11*time.Hour)), wish: wish{why: start}, want: fetch},

		{rule: "by force, 30 s apart", use: store.TokenUse{ForceAt: noon.Add(-30*time.Second + ms)}, wish: wish{why: forced}, want: refuse, until: noon.Add(ms)},
		{rule: "then again by force", use: store.TokenUse{ForceAt: noon.Add(-30 * time.Second)}, wish: wish{why: forced}, want: fetch},
		{rule: "by force, the 19th", use: store.TokenUse{Forced: 18}, wish: wish{why: forced}, want: fetch},
		{rule: "by force, the 20th is kept", use: store.TokenUse{Forced: 19}, wish: wish{why: forced}, want: refuse, until: midnight, notices: []gateway.TokenAction{gateway.TokenSpent}},
		{rule: "what was forced does not count for the others", use: store.TokenUse{Forced: 20}, wish: wish{why: start}, want: fetch},

		{rule: "tokens from outside are not fetched: said", wish: wish{why: start, waits: true}, want: refuse, until: noon.Add(lookAgain), notices: []gateway.TokenAction{gateway.TokenWaits}},
		{rule: "once an hour", use: told(gateway.TokenWaits, noon.Add(-time.Hour)), wish: wish{why: start, waits: true}, want: refuse, until: noon.Add(lookAgain)},
	} {
		tt.wish.now, tt.wish.fetches, tt.wish.forces = noon, limit("fetch"), limit("force")
		v := decide(tt.use, tt.wish)
		if v.act != tt.want || !slices.Equal(v.notices, tt.notices) {
			t.Errorf("%s: %v %v", tt.rule, v.act, v.notices)
		}
		if (v.err != nil) != (tt.want == refuse) || v.err != nil && (!v.err.Until.Equal(tt.until) || v.err.Error() == "") {
			t.Errorf("%s: %+v", tt.rule, v.err)
		}
	}
}

// A twentieth of every budget is never touched, and the warning comes before the end.
func TestBudgets(t *testing.T) {
	for max, want := range map[int][2]int{20: {19, 16}, 21: {19, 17}, 200: {190, 160}, 2000: {1900, 1600}, 500_000: {475_000, 400_000}} {
		if l := (kefu.TokenLimit{Max: max}); stop(l) != want[0] || warnAt(l) != want[1] {
			t.Errorf("%d: stop %d, warn at %d", max, stop(l), warnAt(l))
		}
	}
	for _, l := range kefu.TokenLimits() {
		if l.Max <= 0 || l.Source == "" || l.Date == "" {
			t.Errorf("%+v", l)
		}
	}
}

// The day begins at midnight in Beijing, 16:00 UTC.
func TestDayOf(t *testing.T) {
	begin := time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)
	for _, at := range []time.Time{begin, noon, begin.Add(24*time.Hour - 1)} {
		if !dayOf(at).Equal(begin) {
			t.Errorf("%v is of %v", at, dayOf(at))
		}
	}
	if next := begin.Add(24 * time.Hour); !dayOf(next).Equal(next) {
		t.Errorf("%v is of %v", next, dayOf(next))
	}
}
