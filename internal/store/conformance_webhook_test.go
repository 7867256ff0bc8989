package store

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

func hook(t testing.TB, s *Store, id string) Webhook {
	t.Helper()
	w := Webhook{Webhook: gateway.WebhookRequest{URL: "https://example.com/x"}.Webhook(), Secret: "whsec_first"}
	w.ID = id
	var err error
	w.Cursor, err = s.Head(t.Context())
	ok(t, err)
	w, err = s.AddWebhook(t.Context(), noon, w)
	ok(t, err)
	same(t, w, must(s.Webhook(t.Context(), id))(t))
	return w
}

// pruneWebhooks prunes until there is nothing left to forget, and returns the most that
// one call has.
func pruneWebhooks(t *testing.T, s *Store, at time.Time) (most int) {
	t.Helper()
	for range 100 {
		n, err := s.PruneWebhooks(t.Context(), at)
		ok(t, err)
		if most = max(most, n); n == 0 {
			return most
		}
	}
	t.Fatal("pruning does not end")
	return 0
}

// A webhook comes back as it was put, after a reopening too; its settings change without
// its secret and its place, its secret without its settings.
func webhooksKeepTheirSecrets(t *testing.T, open func() *Store) {
	s := open()
	ctx := context.Background()
	ok(t, s.Append(ctx, noon, Entry{Account: account, Type: "account.paused"}))
	w := hook(t, s, "wh_1")
	if w.Secret != "whsec_first" || w.Cursor != "1" || !w.Enabled || w.Webhook.Secret != "" || w.Timeout != 15 {
		t.Fatalf("%+v", w)
	}
	w.URL, w.Cursor, w.Enabled, w.Because = "https://example.com/y", "0", false, "by hand"
	same(t, must(s.ChangeWebhook(ctx, noon, w.Webhook, nil))(t), must(s.Webhook(ctx, "wh_1"))(t))
	same(t, must(s.RotateWebhook(ctx, noon, "wh_1", "whsec_second", noon.Add(time.Hour)))(t), must(s.Webhook(ctx, "wh_1"))(t))
	s.Close()
	s = open()
	got, err := s.Webhook(ctx, "wh_1")
	ok(t, err)
	if got.URL != "https://example.com/y" || got.Enabled || got.Because != "by hand" || got.Cursor != "1" ||
		got.Secret != "whsec_second" || got.OldSecret != "whsec_first" || !got.OldUntil.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
	w.URL = "https://example.com/z"
	_, err = s.ChangeWebhook(ctx, noon, w.Webhook, func(now gateway.Webhook) error {
		if now.URL != "https://example.com/y" || now.Enabled || now.ID != "wh_1" {
			t.Errorf("asked about %+v", now)
		}
		return ErrNoRoom
	})
	wants(t, err, ErrNoRoom)
	if now, err := s.Webhook(ctx, "wh_1"); err != nil || now.URL != "https://example.com/y" {
		t.Errorf("replaced against the word: %+v, %v", now, err)
	}
	if got, err = s.RotateWebhook(ctx, noon, "wh_1", "whsec_third", time.Time{}); err != nil || got.Secret != "whsec_third" || got.OldSecret != "" || !got.OldUntil.IsZero() {
		t.Errorf("rotated at once: %+v, %v", got, err)
	}
	ok(t, s.DeleteWebhook(ctx, noon, "wh_1"))
	_, err = s.ChangeWebhook(ctx, noon, w.Webhook, nil)
	wants(t, err, ErrNotFound)
	_, err = s.RotateWebhook(ctx, noon, "wh_1", "whsec_fourth", noon)
	wants(t, err, ErrNotFound)
	wants(t, s.DeleteWebhook(ctx, noon, "wh_1"), ErrNotFound)
	all, err := s.Webhooks(ctx)
	ok(t, err)
	same(t, len(all), 0)
}

// A try is kept with its delivery and its endpoint's health, in one commit; a place moves
// forward only.
func triesAreKeptWithTheirDelivery(t *testing.T, open func() *Store) {
	s := open()
	ctx := context.Background()
	hook(t, s, "wh_1")
	hook(t, s, "wh_2")
	for range 9 {
		ok(t, s.Append(ctx, noon, Entry{Account: account, OpenID: follower, Type: "follower.message"}))
	}
	d := Delivery{Webhook: "wh_1", Cursor: "7", Account: account, OpenID: follower, State: Pending, Tries: 1, FirstAt: noon, NextAt: noon.Add(5 * time.Second)}
	ok(t, s.Tried(ctx, noon, d, gateway.WebhookAttempt{WebhookID: "wh_1_7", N: 1, At: gateway.At(noon), Outcome: "failed"}))
	later := d
	later.Cursor, later.NextAt = "6", noon.Add(time.Minute)
	ok(t, s.Tried(ctx, noon.Add(time.Second), later, gateway.WebhookAttempt{N: 1, At: gateway.At(noon), Outcome: "failed"}))
	s.Close()
	s = open()
	pending, err := s.PendingDeliveries(ctx, "wh_1", 10)
	ok(t, err)
	same(t, pending, []Delivery{d, later})
	w, err := s.Webhook(ctx, "wh_1")
	ok(t, err)
	if w.FailingSince == nil || !w.FailingSince.Equal(noon) {
		t.Errorf("failing since %v", w.FailingSince)
	}
	d.State, d.Tries, d.Answered = Delivered, 2, true
	ok(t, s.Tried(ctx, noon, d, gateway.WebhookAttempt{WebhookID: "wh_1_7", N: 2, At: gateway.At(noon), Outcome: "delivered"}))
	got, err := s.Deliveries(ctx, "wh_1", "6", "")
	ok(t, err)
	same(t, got, []Delivery{d})
	if w, err = s.Webhook(ctx, "wh_1"); err != nil || w.FailingSince != nil {
		t.Errorf("%v %v", w.FailingSince, err)
	}
	page, err := s.WebhookAttempts(ctx, "wh_1", "", 2)
	ok(t, err)
	if len(page.Items) != 2 || page.Items[0].N != 2 || page.Next == "" {
		t.Errorf("%+v", page)
	}
	page, err = s.WebhookAttempts(ctx, "wh_1", page.Next, 2)
	ok(t, err)
	if len(page.Items) != 1 || page.Items[0].WebhookID != "wh_1_7" || page.Next != "" {
		t.Errorf("%+v", page)
	}
	for _, cursor := range []string{"9", "8"} {
		ok(t, s.MoveWebhook(ctx, noon, "wh_1", cursor))
	}
	if w, err = s.Webhook(ctx, "wh_1"); err != nil || w.Cursor != "9" {
		t.Errorf("%v %v", w.Cursor, err)
	}
	ok(t, s.DeleteWebhook(ctx, noon, "wh_1"))
	d.Cursor = "5"
	ok(t, s.Tried(ctx, noon, d, gateway.WebhookAttempt{})) // its try was under way
	pruneWebhooks(t, s, noon)
	if pending, err = s.Deliveries(ctx, "wh_1", "", ""); err != nil || len(pending) > 0 {
		t.Errorf("%v %v", pending, err)
	}
}

// A webhook is gone at once, and what there is of it in slices, whatever happens in
// between. Nothing that was under way brings a part of it back, and other webhooks keep
// theirs.
func deletedWebhooksAreGone(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	w, other := hook(t, s, "wh_1"), hook(t, s, "wh_2")
	const n = 2*webhookSlice + 1
	ok(t, s.write(ctx, noon, func(t *tx) error {
		for i := range n {
			if err := t.put(`INSERT INTO deliveries (webhook, cursor, account, openid, state, tries, first_at, next_at, out_of_order, answered)
				VALUES ($1, $2, $3, $4, 'pending', 1, 0, 0, 0, 0)`, w.ID, 1_000_000+i, account, follower); err != nil {
				return err
			}
			if err := t.attempted(noon, w.ID, gateway.WebhookAttempt{N: 1}); err != nil {
				return err
			}
		}
		return nil
	}))
	ok(t, s.Append(ctx, noon, Entry{Account: account, OpenID: follower, Type: "follower.message", Data: json.RawMessage(`{}`)}))
	last, err := s.Head(ctx)
	ok(t, err)
	ok(t, s.Tried(ctx, noon, Delivery{Webhook: other.ID, Cursor: last, State: Pending, FirstAt: noon, NextAt: noon}, gateway.WebhookAttempt{N: 1}))
	_, err = s.StartReplay(ctx, noon, w.ID, gateway.ReplayRequest{Cursor: last})
	ok(t, err)
	part, err := s.NextReplay(ctx, w.ID, 10)
	ok(t, err)
	same(t, len(part.Entries), 1)

	ok(t, s.DeleteWebhook(ctx, noon, w.ID))
	wants(t, s.DeleteWebhook(ctx, noon, w.ID), ErrNotFound)
	_, err = s.StartReplay(ctx, noon, w.ID, gateway.ReplayRequest{Cursor: last})
	wants(t, err, ErrNotFound)
	_, err = s.StartReplay(ctx, noon, other.ID, gateway.ReplayRequest{Cursor: last}) // may get the number of the one that is gone
	ok(t, err)
	ok(t, s.Replayed(ctx, noon, part, part.Entries))
	_, err = s.NextReplay(ctx, other.ID, 10)
	ok(t, err)
	all, err := s.Deliveries(ctx, w.ID, "", "")
	ok(t, err)
	for _, d := range all {
		if d.Cursor == last {
			t.Error("the replay that was under way made a delivery")
		}
	}
	for range 2 {
		if n, err := s.PruneWebhooks(ctx, noon); n == 0 || n > webhookSlice || err != nil {
			t.Fatalf("a slice of %d, %v; want at most %d", n, err, webhookSlice)
		}
		s.Close()
		s = open()
	}
	if most := pruneWebhooks(t, s, noon); most > webhookSlice {
		t.Errorf("a slice of %d, want at most %d", most, webhookSlice)
	}
	for _, table := range []string{"deliveries", "webhook_attempts", "replays"} {
		same(t, []any{table, count(t, s, table)}, []any{table, 1}) // that of the other
	}
}

// A replay is taken up in slices, whatever happens in between, and ends.
func replaysSurviveAndEnd(t *testing.T, open func() *Store) {
	s := open()
	ctx := context.Background()
	w := hook(t, s, "wh_1")
	for i := range 10 {
		ok(t, s.Append(ctx, noon.Add(time.Duration(i)*time.Hour), Entry{Account: account, OpenID: follower, Type: "follower.message", Data: json.RawMessage(fmt.Sprint(i))}))
	}
	d := Delivery{Webhook: w.ID, Cursor: "5", Account: account, OpenID: follower, State: Delivered, Tries: 3, FirstAt: noon, NextAt: noon, Answered: true}
	ok(t, s.Tried(ctx, noon, d, gateway.WebhookAttempt{}))
	since := gateway.At(noon.Add(8 * time.Hour))
	for _, r := range []gateway.ReplayRequest{{From: "3", To: "7"}, {Since: &since}} {
		_, err := s.StartReplay(ctx, noon, w.ID, r)
		ok(t, err)
	}
	for _, r := range []gateway.ReplayRequest{{}, {Cursor: "11"}, {Cursor: "0"}, {From: "4", To: "3"}, {Cursor: "x"}} {
		_, err := s.StartReplay(ctx, noon, w.ID, r)
		wants(t, err, ErrCursor)
	}
	var cursors []string
	for range 100 {
		part, err := s.NextReplay(ctx, w.ID, 2)
		if err == ErrNotFound {
			break
		}
		ok(t, err)
		for _, e := range part.Entries {
			cursors = append(cursors, e.Cursor)
		}
		ok(t, s.Replayed(ctx, noon, part, part.Entries))
		s.Close()
		s = open()
	}
	same(t, cursors, []string{"3", "4", "5", "6", "7", "9", "10"})
	pending, err := s.PendingDeliveries(ctx, w.ID, 100)
	ok(t, err)
	same(t, len(pending), 7)
	for _, p := range pending {
		if p.Tries != 0 || !p.OutOfOrder || p.Answered != (p.Cursor == "5") {
			t.Errorf("%+v", p)
		}
	}
}

// A replay begins with what is kept still, also if it was pruned while the replay went on.
func replaysBeginWithWhatIsKept(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	w := hook(t, s, "wh_1")
	for i := range 20 {
		ok(t, s.Append(ctx, noon.Add(time.Duration(i)*day), Entry{Account: account, OpenID: follower, Type: "follower.message", Data: json.RawMessage(fmt.Sprint(i))}))
	}
	later := noon.Add(20 * day)
	ok(t, s.MoveWebhook(ctx, noon, w.ID, "20"))
	replayed := func() (cursors []string) {
		for range 100 {
			part, err := s.NextReplay(ctx, w.ID, 3)
			if err == ErrNotFound {
				return cursors
			}
			ok(t, err)
			for _, e := range part.Entries {
				cursors = append(cursors, e.Cursor)
			}
			ok(t, s.Replayed(ctx, noon, part, nil))
		}
		t.Fatal("it does not end")
		return nil
	}
	_, err := s.StartReplay(ctx, later, w.ID, gateway.ReplayRequest{From: "1"})
	ok(t, err)
	part, err := s.NextReplay(ctx, w.ID, 3)
	ok(t, err)
	same(t, []any{len(part.Entries), part.Entries[0].Cursor}, []any{3, "1"})
	ok(t, s.Replayed(ctx, noon, part, nil))
	ok(t, s.settle(ctx))
	_, err = pruneHistory(ctx, s, later, Retention{Age: 10 * day}) // the replay holds what comes after 3, for a week
	ok(t, err)
	if pruned, err := s.pruned(ctx); err != nil || pruned < 4 {
		t.Fatalf("pruned up to %d, %v: the test shows nothing", pruned, err)
	}
	kept, _, err := s.Feed(ctx, "", 100, nil)
	ok(t, err)
	var want []string
	for _, e := range kept {
		want = append(want, e.Cursor)
	}
	same(t, replayed(), want)
	since := gateway.At(noon)
	for _, r := range []gateway.ReplayRequest{{From: "1"}, {From: "2", To: "20"}, {Since: &since}} {
		told, err := s.StartReplay(ctx, later, w.ID, r)
		ok(t, err)
		same(t, told, gateway.Replay{From: want[0], To: "20"})
		same(t, replayed(), want)
	}
	for _, r := range []gateway.ReplayRequest{{Cursor: "1"}, {From: "1", To: "3"}} {
		_, err := s.StartReplay(ctx, later, w.ID, r)
		wants(t, err, ErrCursorGone)
	}
}

// Whether an entry was answered is known as long as its delivery is kept; what is older
// is not answered when it is replayed.
func oldEntriesAreNotAnsweredTwice(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	w := hook(t, s, "wh_1")
	for i, at := range []time.Time{noon, noon.Add(15 * day), noon.Add(20 * day)} {
		ok(t, s.Append(ctx, at, Entry{Account: account, OpenID: follower, Type: "follower.message", Data: json.RawMessage(`{}`)}))
		if i < 2 {
			d := Delivery{Webhook: w.ID, Cursor: fmt.Sprint(i + 1), Account: account, OpenID: follower, State: Delivered, Tries: 1, FirstAt: at, NextAt: at, Answered: true}
			ok(t, s.Tried(ctx, at, d, gateway.WebhookAttempt{N: 1}))
		}
	}
	ok(t, s.MoveWebhook(ctx, noon, w.ID, "3"))
	later := noon.Add(40 * day)
	pruneWebhooks(t, s, later)
	_, err := s.StartReplay(ctx, later, w.ID, gateway.ReplayRequest{From: "1"})
	ok(t, err)
	part, err := s.NextReplay(ctx, w.ID, 10)
	ok(t, err)
	ok(t, s.Replayed(ctx, later, part, part.Entries))
	pending, err := s.PendingDeliveries(ctx, w.ID, 10)
	ok(t, err)
	var answered []bool
	for _, d := range pending {
		answered = append(answered, d.Answered)
	}
	same(t, answered, []bool{true, true, false})
}

func disabledOnceAndSaidOnce(t *testing.T, open func() *Store) {
	s := open()
	ctx := context.Background()
	w := hook(t, s, "wh_1")
	for range 2 {
		ok(t, s.DisableWebhook(ctx, noon, w.ID, "gone", Entry{Account: account, Type: "webhook.disabled", Data: json.RawMessage(`{}`)}))
	}
	entries, _, err := s.Feed(ctx, "", 10, nil)
	ok(t, err)
	same(t, len(entries), 1)
	w, err = s.Webhook(ctx, w.ID)
	ok(t, err)
	if w.Enabled || w.Because != "gone" {
		t.Errorf("%+v", w)
	}
	w.Enabled, w.Because = true, ""
	if w, err = s.ChangeWebhook(ctx, noon, w.Webhook, nil); err != nil || !w.Enabled || w.Because != "" || w.Secret != kefu.Secret("whsec_first") {
		t.Errorf("%+v %v", w, err)
	}
}

func oldAttemptsAreForgotten(t *testing.T, open func() *Store) {
	s := open()
	ctx := context.Background()
	w := hook(t, s, "wh_1")
	for i := range 4 {
		at := noon.Add(time.Duration(i) * 15 * 24 * time.Hour)
		ok(t, s.Append(ctx, at, Entry{Account: account, Type: "account.paused"}))
		d := Delivery{Webhook: w.ID, Cursor: fmt.Sprint(i + 1), Account: account, State: Delivered, Tries: 1, FirstAt: at, NextAt: at}
		if i == 1 {
			d.State = Pending
		}
		ok(t, s.Tried(ctx, at, d, gateway.WebhookAttempt{N: i}))
	}
	ok(t, s.MoveWebhook(ctx, noon, w.ID, "4"))
	ok(t, s.write(ctx, noon, func(t *tx) error { // many, of lines that are long gone
		for i := range 2*webhookSlice + 1 {
			if err := t.put(`INSERT INTO deliveries (webhook, cursor, account, openid, state, tries, first_at, next_at, out_of_order, answered)
				VALUES ($1, $2, $3, '', 'delivered', 1, 0, 0, 0, 0)`, w.ID, -i, account); err != nil {
				return err
			}
		}
		return nil
	}))
	if most := pruneWebhooks(t, s, noon.Add(3*15*24*time.Hour+time.Hour)); most > webhookSlice+2 {
		t.Errorf("%d were forgotten at once, want slices of %d", most, webhookSlice)
	}
	left, err := s.Deliveries(ctx, w.ID, "", "")
	ok(t, err)
	page, err := s.WebhookAttempts(ctx, w.ID, "", 10)
	ok(t, err)
	if len(left) != 3 || left[0].Cursor != "2" || len(page.Items) != 2 {
		t.Errorf("%+v %+v", left, page.Items)
	}
}

// Who answers a follower changes in the commit of what changed it, and stays when the
// ledger does.
func handlingChangesWithItsCause(t *testing.T, open func() *Store) {
	s := open()
	ctx := context.Background()
	since := gateway.At(noon)
	h := gateway.Handling{Handler: gateway.ByAgent, Since: &since, By: "api key_1"}
	ok(t, s.SetHandling(ctx, noon, account, follower, h, Entry{Account: account, OpenID: follower, Type: "conversation.changed", Data: json.RawMessage(`{}`)}))
	ok(t, s.SaveConversation(ctx, noon, Conversation{Account: account, OpenID: follower, Ledger: json.RawMessage(`{"x":1}`)}))
	s.Close()
	s = open()
	c, err := s.Conversation(ctx, account, follower)
	ok(t, err)
	same(t, c.Handling, h)
	same(t, string(c.Ledger), `{"x":1}`)
	h = gateway.Handling{Handler: gateway.ByKf, Since: &since, By: "wechat", KfAccount: "a@b"}
	_, err = s.Receive(ctx, noon, Callback{
		Entry: Entry{Account: account, OpenID: follower, Type: "follower.event", Data: json.RawMessage(`{}`)}, DedupeKey: "k", Handling: &h,
		Also: []Entry{{Account: account, OpenID: follower, Type: "conversation.changed", Data: json.RawMessage(`{}`)}},
	})
	ok(t, err)
	c, err = s.Conversation(ctx, account, follower)
	ok(t, err)
	same(t, c.Handling, h)
	entries, _, err := s.Feed(ctx, "", 10, nil)
	ok(t, err)
	same(t, len(entries), 3)
}

// What was erased while a call was under way, or while a replay was read, comes back
// neither with the call's end nor with the replay.
func triesBringNothingBack(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	w := hook(t, s, "wh_1")
	other := hook(t, s, "wh_2")
	for _, openid := range []string{follower, "oOther"} {
		ok(t, s.Append(ctx, noon, Entry{Account: account, OpenID: openid, Type: "another.kind", Data: json.RawMessage(`{}`)}))
	}
	_, err := s.StartReplay(ctx, noon, other.ID, gateway.ReplayRequest{From: "1", To: "2"})
	ok(t, err)
	part, err := s.NextReplay(ctx, other.ID, 10)
	ok(t, err)
	same(t, len(part.Entries), 2)
	_, err = s.Erase(ctx, noon, account, follower)
	ok(t, err)
	ok(t, s.Replayed(ctx, noon, part, part.Entries))
	for i, openid := range []string{follower, "oOther"} {
		cursor := fmt.Sprint(i + 1)
		d := Delivery{Webhook: w.ID, Cursor: cursor, Account: account, OpenID: openid, State: Pending, Tries: 1, FirstAt: noon, NextAt: noon}
		ok(t, s.Tried(ctx, noon, d, gateway.WebhookAttempt{Cursor: cursor, OpenID: openid, N: 1, Answer: &gateway.WebhookAnswer{Messages: []string{"msg_1"}}}))
	}
	for _, id := range []string{w.ID, other.ID} {
		left, err := s.Deliveries(ctx, id, "", "")
		ok(t, err)
		if len(left) != 1 || left[0].OpenID != "oOther" {
			t.Errorf("%s has %+v, want that of the other follower alone", id, left)
		}
	}
	page, err := s.WebhookAttempts(ctx, w.ID, "", 10)
	ok(t, err)
	if len(page.Items) != 2 || page.Items[0].OpenID != "oOther" || page.Items[1].OpenID != "" || page.Items[1].Answer != nil || page.Items[1].N != 1 {
		t.Errorf("attempts %+v", page.Items)
	}
}

// What waits at an endpoint that is disabled waits as long as its entry is there.
func pendingGoesWithItsEntry(t *testing.T, open func() *Store) {
	s := open()
	ctx := t.Context()
	disabled, works := hook(t, s, "wh_1"), hook(t, s, "wh_2")
	for i := range 2 {
		at := noon.Add(time.Duration(i) * 80 * day)
		ok(t, s.Append(ctx, at, Entry{Account: account, OpenID: follower, Type: "follower.message", Data: json.RawMessage(`{}`)}))
		for _, w := range []Webhook{disabled, works} {
			ok(t, s.Tried(ctx, at, Delivery{Webhook: w.ID, Cursor: fmt.Sprint(i + 1), State: Pending, Tries: 1, FirstAt: at, NextAt: at}, gateway.WebhookAttempt{N: 1}))
		}
	}
	ok(t, s.DisableWebhook(ctx, noon, disabled.ID, "gone"))
	ok(t, s.MoveWebhook(ctx, noon, works.ID, "2"))
	later := noon.Add(90*day + webhookPatience)
	prune(t, s, later, Retention{Age: 90 * day})
	pruneWebhooks(t, s, later)
	for id, want := range map[string]int{disabled.ID: 1, works.ID: 2} { // the line of the other gives its own up, and says so
		left, err := s.PendingDeliveries(ctx, id, 10)
		ok(t, err)
		if len(left) != want || left[len(left)-1].Cursor != "2" {
			t.Errorf("%s: %+v, want %d", id, left, want)
		}
	}
}
