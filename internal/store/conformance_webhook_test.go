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
	ok(t, s.PutWebhook(t.Context(), noon, w, nil))
	w, err = s.Webhook(t.Context(), id)
	ok(t, err)
	return w
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
	w.URL, w.Cursor, w.Secret, w.Enabled, w.Because = "https://example.com/y", "0", "", false, "by hand"
	ok(t, s.PutWebhook(ctx, noon, w, nil))
	w.Secret, w.OldSecret, w.OldUntil, w.URL = "whsec_second", "whsec_first", noon.Add(time.Hour), "https://example.com/z"
	ok(t, s.PutWebhook(ctx, noon, w, nil))
	s.Close()
	s = open()
	got, err := s.Webhook(ctx, "wh_1")
	ok(t, err)
	if got.URL != "https://example.com/y" || got.Enabled || got.Because != "by hand" || got.Cursor != "1" ||
		got.Secret != "whsec_second" || got.OldSecret != "whsec_first" || !got.OldUntil.Equal(noon.Add(time.Hour)) {
		t.Errorf("%+v", got)
	}
	w.Secret = ""
	wants(t, s.PutWebhook(ctx, noon, w, func(now gateway.Webhook) error {
		if now.URL != "https://example.com/y" || now.Enabled || now.ID != "wh_1" {
			t.Errorf("asked about %+v", now)
		}
		return ErrNoRoom
	}), ErrNoRoom)
	if now, err := s.Webhook(ctx, "wh_1"); err != nil || now.URL != "https://example.com/y" {
		t.Errorf("replaced against the word: %+v, %v", now, err)
	}
	w.ID, w.Secret = "wh_none", ""
	wants(t, s.PutWebhook(ctx, noon, w, nil), ErrNotFound)
	ok(t, s.DeleteWebhook(ctx, noon, "wh_1"))
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
	ok(t, s.Tried(ctx, noon, d, gateway.WebhookAttempt{})) // its try was under way
	if pending, err = s.Deliveries(ctx, "wh_1", "", ""); err != nil || len(pending) > 0 {
		t.Errorf("%v %v", pending, err)
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
	w.Enabled, w.Because, w.Secret = true, "", ""
	ok(t, s.PutWebhook(ctx, noon, w, nil))
	if w, err = s.Webhook(ctx, w.ID); err != nil || !w.Enabled || w.Because != "" || w.Secret != kefu.Secret("whsec_first") {
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
	for range 10 {
		n, err := s.PruneWebhooks(ctx, noon.Add(3*15*24*time.Hour+time.Hour))
		ok(t, err)
		if n == 0 {
			break
		}
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
	for range 10 {
		if n, err := s.PruneWebhooks(ctx, later); n == 0 {
			ok(t, err)
			break
		}
	}
	for id, want := range map[string]int{disabled.ID: 1, works.ID: 2} { // the line of the other gives its own up, and says so
		left, err := s.PendingDeliveries(ctx, id, 10)
		ok(t, err)
		if len(left) != want || left[len(left)-1].Cursor != "2" {
			t.Errorf("%s: %+v, want %d", id, left, want)
		}
	}
}
