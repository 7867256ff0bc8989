package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// promises are what every engine has to keep. open opens the database of the
// test, again after a Close.
var promises = []struct {
	name string
	keep func(t *testing.T, open func() *Store)
}{
	{"AcceptedMeansKept", acceptedMeansKept},
	{"NumberIsDrawnInTheCommit", numberIsDrawnInTheCommit},
	{"NoLineAppearsBehindAReader", noLineAppearsBehindAReader},
	{"BegunButNotFinishedIsUnknown", begunButNotFinishedIsUnknown},
	{"OneBadRowFailsNobodyElse", oneBadRowFailsNobodyElse},
	{"ACallerWhoLeavesIsStillKept", aCallerWhoLeavesIsStillKept},
	{"IdempotencyJoins", idempotencyJoins},
	{"IdempotencyKeysLiveSevenDays", idempotencyKeysLiveSevenDays},
	{"RetryJoinsTheUnfinishedOne", retryJoinsTheUnfinishedOne},
	{"RetryOnceJoinsForGood", retryOnceJoinsForGood},
	{"PartsSentStay", partsSentStay},
	{"DuplicateCallbackIsDropped", duplicateCallbackIsDropped},
	{"StateIsCheckedOnMove", stateIsCheckedOnMove},
	{"MovesAreAllOrNone", movesAreAllOrNone},
	{"AttemptsAreRecorded", attemptsAreRecorded},
	{"MarksStay", marksStay},
	{"ResendIsGrantedOnce", resendIsGrantedOnce},
	{"LedgerChangesWithItsCause", ledgerChangesWithItsCause},
	{"UnfinishedComeBackInOrder", unfinishedComeBackInOrder},
	{"ListsKnowWhatWasCommitted", listsKnowWhatWasCommitted},
	{"PagesJoinWithoutGapOrDouble", pagesJoinWithoutGapOrDouble},
	{"LargeLinesMakeShortPages", largeLinesMakeShortPages},
	{"OldestFirstEndsWithWhatThereWas", oldestFirstEndsWithWhatThereWas},
	{"TimelineHasBothSides", timelineHasBothSides},
	{"FeedTellsEverythingOnce", feedTellsEverythingOnce},
	{"CursorsAreChecked", cursorsAreChecked},
	{"SecretsKeepWhatIsNotWritten", secretsKeepWhatIsNotWritten},
	{"RevokedKeysOpenNothing", revokedKeysOpenNothing},
	{"TokensAreSwappedNotOverwritten", tokensAreSwappedNotOverwritten},
	{"UnreadAndWaitingAreCounted", unreadAndWaitingAreCounted},
	{"UnknownAreCountedByFollower", unknownAreCountedByFollower},
	{"DeskChangesAreAllOrNone", deskChangesAreAllOrNone},
	{"ConversationsAreReleased", conversationsAreReleased},
	{"SearchFindsWhatWasSaid", searchFindsWhatWasSaid},
	{"SessionsAndLinksEnd", sessionsAndLinksEnd},
	{"AgentsChangeOneByOne", agentsChangeOneByOne},
	{"FinishedMessagesArePruned", finishedMessagesArePruned},
	{"NothingYoungIsPruned", nothingYoungIsPruned},
	{"PrunedFeedSaysSo", prunedFeedSaysSo},
	{"WebhooksHoldTheFeed", webhooksHoldTheFeed},
	{"PruningIsExact", pruningIsExact},
	{"ErasedConversationsAreGone", erasedConversationsAreGone},
	{"ErasureWaitsForTheViews", erasureWaitsForTheViews},
	{"TheTeamBringsNobodyBack", theTeamBringsNobodyBack},
	{"WhatFollowsGoesWithItsCause", whatFollowsGoesWithItsCause},
	{"WhatIsShownIsPresent", whatIsShownIsPresent},
	{"SeriesCountsEveryLineOnce", seriesCountsEveryLineOnce},
	{"HeardIsNewestFirst", heardIsNewestFirst},
	{"TheLastToOpenWrites", theLastToOpenWrites},
	{"TheLastCommitIsKnown", theLastCommitIsKnown},
	{"StandingsAreKept", standingsAreKept},
	{"NumbersAppearInTheirOrder", numbersAppearInTheirOrder},
	{"TextIsText", textIsText},
	{"WebhooksKeepTheirSecrets", webhooksKeepTheirSecrets},
	{"TriesAreKeptWithTheirDelivery", triesAreKeptWithTheirDelivery},
	{"ReplaysSurviveAndEnd", replaysSurviveAndEnd},
	{"ReplaysBeginWithWhatIsKept", replaysBeginWithWhatIsKept},
	{"OldEntriesAreNotAnsweredTwice", oldEntriesAreNotAnsweredTwice},
	{"DeletedWebhooksAreGone", deletedWebhooksAreGone},
	{"DisabledOnceAndSaidOnce", disabledOnceAndSaidOnce},
	{"OldAttemptsAreForgotten", oldAttemptsAreForgotten},
	{"TriesBringNothingBack", triesBringNothingBack},
	{"PendingGoesWithItsEntry", pendingGoesWithItsEntry},
	{"HandlingChangesWithItsCause", handlingChangesWithItsCause},
	{"AssetsAreWhole", assetsAreWhole},
	{"NoHalfAsset", noHalfAsset},
	{"AssetRowComesLast", assetRowComesLast},
	{"TheSameBytesAreTheSameAsset", theSameBytesAreTheSameAsset},
	{"RoomForAssetsIsCounted", roomForAssetsIsCounted},
	{"ADeletedAssetIsGone", aDeletedAssetIsGone},
	{"MediaIDsAreRemembered", mediaIDsAreRemembered},
	{"AFetchedURLStaysTheSame", aFetchedURLStaysTheSame},
	{"InboundMediaComeWithTheirMessage", inboundMediaComeWithTheirMessage},
	{"FollowersFilesGoWithTheirMessages", followersFilesGoWithTheirMessages},
	{"FilesOnTheirWayAreErasedToo", filesOnTheirWayAreErasedToo},
	{"FilesGoWithTheLastThatHoldsThem", filesGoWithTheLastThatHoldsThem},
	{"NamedFilesWaitForTheirMessage", namedFilesWaitForTheirMessage},
	{"URLsMakeRoom", urlsMakeRoom},
	{"AssetsAreListed", assetsAreListed},
	{"GapsAndStandingsStay", gapsAndStandingsStay},
	{"DoorKeysKeepTheirPaths", doorKeysKeepTheirPaths},
}

func TestSQLite(t *testing.T) {
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "kefu.db")
			p.keep(t, func() *Store { return open(t, path, Options{}) })
		})
	}
}

const (
	account  = "wx5eed2a76cc560001"
	follower = "oFollower"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func open(t testing.TB, path string, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func same(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		t.Fatalf("got  %s\nwant %s", g, w)
	}
}

func hello(openid string) Draft {
	return Draft{Message: gateway.Message{
		Account: account, OpenID: openid, MsgType: "text",
		Message: json.RawMessage(`{"touser":"` + openid + `","msgtype":"text","text":{"content":"<a href=\"x\">你好 & hi</a>"}}`),
		State:   gateway.Queued, Priority: gateway.Normal, Source: gateway.FromAPI,
		ExpiresAt: gateway.At(noon.Add(48 * time.Hour)), WhenClosed: gateway.Park, OnUnknown: gateway.Hold,
	}}
}

func (d Draft) with(change func(*Draft)) Draft {
	change(&d)
	return d
}

func enqueue1(t testing.TB, s *Store, d Draft) Message {
	t.Helper()
	k := s.Enqueue(context.Background(), noon, d)[0]
	ok(t, k.Err)
	return k.Message
}

func now(t testing.TB, s *Store, m Message) Message {
	t.Helper()
	m, err := s.Message(context.Background(), m.ID)
	ok(t, err)
	return m
}

// bring takes a new message to a state, on the way that the contract has for it.
func bring(t testing.TB, s *Store, state gateway.State) Message {
	t.Helper()
	m := enqueue1(t, s, hello(follower))
	ctx := context.Background()
	switch state {
	case gateway.Queued:
	case gateway.Parked, gateway.Expired, gateway.Canceled:
		ok(t, s.Move(ctx, noon, Move{Seq: m.Seq, From: gateway.Queued, To: state}))
	default:
		ok(t, s.Begin(ctx, noon, Begin{Seq: m.Seq, Attempt: 1}))
		if state != gateway.Sending {
			ok(t, s.Finish(ctx, noon, Finish{Seq: m.Seq, State: state, Attempt: gateway.Attempt{N: 1, At: gateway.At(noon), Outcome: string(state)}}))
		}
	}
	return now(t, s, m)
}

func acceptedMeansKept(t *testing.T, open func() *Store) {
	notBefore := gateway.At(noon.Add(time.Hour))
	drafts := []Draft{
		hello("oPlain"),
		hello("oAll").with(func(d *Draft) {
			d.NotBefore, d.WhenClosed, d.OnUnknown, d.Priority = &notBefore, gateway.Try, gateway.Resend, gateway.Human
			d.Source, d.RetryOf, d.PossibleDuplicate = gateway.FromDoor, formatID(newID(noon, 0)), true
			d.Metadata = json.RawMessage(`{"order":7}`)
			d.Warnings = []kefu.Violation{{Location: "message.video", Message: "thumb", Rule: "required", Code: 41006, Source: "docs"}}
		}),
		hello("oParked").with(func(d *Draft) {
			d.State, d.Outcome = gateway.Parked, &gateway.Outcome{Class: kefu.ErrWindowClosed, ErrCode: 45015, ErrMsg: "a < b"}
		}),
		hello(strings.Repeat("'; DROP TABLE messages; --\u2028", 3)),
	}
	s := open()
	kept := s.Enqueue(t.Context(), noon.Add(1500*time.Microsecond), drafts...)
	ok(t, s.Close())
	s = open()
	for i, k := range kept {
		ok(t, k.Err)
		want := k.Message
		if i != 1 && want.Number != want.Seq || i == 1 && want.Number != 0 {
			t.Errorf("draft %d: number %d, seq %d", i, want.Number, want.Seq)
		}
		if i > 0 && want.ID <= kept[i-1].Message.ID { // a batch is repeated by its ids, in its order
			t.Errorf("draft %d: id %s after %s", i, want.ID, kept[i-1].Message.ID)
		}
		same(t, now(t, s, want), want)
		bySeq, err := s.Load(t.Context(), want.Seq)
		ok(t, err)
		same(t, bySeq, want)
		d := drafts[i].Message
		d.ID, d.AcceptedAt = want.ID, gateway.At(noon.Add(time.Millisecond))
		same(t, want.Message, d)
	}
	for _, id := range []string{"", "msg_", kept[0].Message.ID + "0", strings.ToUpper(kept[0].Message.ID), formatID(newID(noon, 0))} {
		_, err := s.Message(t.Context(), id)
		wants(t, err, ErrNotFound)
	}
}

func numberIsDrawnInTheCommit(t *testing.T, open func() *Store) {
	s := open()
	notBefore := gateway.At(noon.Add(time.Minute))
	scheduled := enqueue1(t, s, hello(follower).with(func(d *Draft) { d.NotBefore = &notBefore }))
	before := enqueue1(t, s, hello(follower))
	past := enqueue1(t, s, hello(follower).with(func(d *Draft) { at := gateway.At(noon); d.NotBefore = &at }))
	if scheduled.Number != 0 || before.Number != before.Seq || past.Number != past.Seq {
		t.Fatalf("numbers %d %d %d", scheduled.Number, before.Number, past.Number)
	}
	ok(t, s.Move(t.Context(), noon.Add(time.Minute), Move{Seq: scheduled.Seq, From: gateway.Queued, To: gateway.Queued}))
	let := now(t, s, scheduled).Number
	after := enqueue1(t, s, hello(follower))
	if !(before.Number < let && let < after.Number) {
		t.Errorf("let in with %d, between %d and %d", let, before.Number, after.Number)
	}
	ok(t, s.Move(t.Context(), noon, Move{Seq: scheduled.Seq, From: gateway.Queued, To: gateway.Parked}))
	ok(t, s.Move(t.Context(), noon, Move{Seq: scheduled.Seq, From: gateway.Parked, To: gateway.Queued}))
	if n := now(t, s, scheduled).Number; n != let {
		t.Errorf("parked and let out it has number %d, had %d", n, let)
	}
	canceled := enqueue1(t, s, hello(follower).with(func(d *Draft) { d.NotBefore = &notBefore }))
	ok(t, s.Move(t.Context(), noon, Move{Seq: canceled.Seq, From: gateway.Queued, To: gateway.Canceled}))
	if n := now(t, s, canceled).Number; n != 0 {
		t.Errorf("canceled before it was let in, it drew %d", n)
	}
}

// A reader who goes on from the last cursor it saw must never miss a line.
func noLineAppearsBehindAReader(t *testing.T, open func() *Store) {
	s := open()
	const producers, each = 8, 40
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				d := hello(fmt.Sprint("o", p))
				if i%7 == 3 {
					d.Priority = "no such" // refused; its number must not be missed either
				}
				s.Enqueue(context.Background(), noon, d)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	seen, cursor := 0, ""
	for end := false; ; {
		changed := s.Changed()
		for {
			entries, next, err := s.Feed(t.Context(), cursor, 10, nil)
			ok(t, err)
			if cursor = next; len(entries) == 0 {
				break
			}
			for _, e := range entries {
				if seen++; e.Cursor != fmt.Sprint(seen) {
					t.Fatalf("line %d has cursor %s", seen, e.Cursor)
				}
			}
		}
		if end {
			break
		}
		select {
		case <-changed:
		case <-done:
			end = true
		}
	}
	if want := producers * (each - 6); seen != want {
		t.Errorf("read %d lines of %d", seen, want)
	}
}

func begunButNotFinishedIsUnknown(t *testing.T, open func() *Store) {
	s := open()
	held := bring(t, s, gateway.Sending)
	resend := enqueue1(t, s, hello(follower).with(func(d *Draft) { d.OnUnknown = gateway.Resend }))
	ok(t, s.Begin(t.Context(), noon, Begin{Seq: resend.Seq, Attempt: 1}))
	twice := enqueue1(t, s, hello(follower).with(func(d *Draft) { d.OnUnknown = gateway.Resend }))
	ok(t, s.Begin(t.Context(), noon, Begin{Seq: twice.Seq, Attempt: 1}))
	ok(t, s.Finish(t.Context(), noon, Finish{Seq: twice.Seq, State: gateway.Unknown, RetryAt: noon, Attempt: gateway.Attempt{N: 1, Outcome: "unknown"}}))
	ok(t, s.Move(t.Context(), noon, Move{Seq: twice.Seq, From: gateway.Unknown, To: gateway.Queued}))
	ok(t, s.Begin(t.Context(), noon, Begin{Seq: twice.Seq, Attempt: 2, PossibleDuplicate: true}))
	sent, queued := bring(t, s, gateway.Sent), bring(t, s, gateway.Queued)
	ok(t, s.Close())

	s = open()
	at := noon.Add(45 * time.Second)
	lost, err := s.Recover(t.Context(), noon.Add(time.Second), func(m Message) time.Time {
		if m.Seq != resend.Seq {
			t.Errorf("asked when to resend %d", m.Seq)
		}
		return at
	})
	ok(t, err)
	if len(lost) != 3 || lost[0].Seq != held.Seq || lost[1].Seq != resend.Seq || lost[2].Seq != twice.Seq {
		t.Fatalf("lost %v", lost)
	}
	for _, m := range lost {
		same(t, now(t, s, m), m)
		if m.State != gateway.Unknown || m.Outcome == nil || m.Outcome.Reason != "crash" || m.Outcome.Class != kefu.ErrUnknownOutcome {
			t.Errorf("%d is %s, %v", m.Seq, m.State, m.Outcome)
		}
		attempts, err := s.Attempts(t.Context(), m.ID)
		ok(t, err)
		if last := attempts[len(attempts)-1]; len(attempts) != m.Attempts || last.N != m.Attempts || last.Outcome != "unknown" || !last.At.Equal(noon) {
			t.Errorf("%d has attempts %v", m.Seq, attempts)
		}
	}
	if lost[0].RetryAt != nil || lost[2].RetryAt != nil || !lost[1].RetryAt.Equal(at) {
		t.Errorf("resends at %v %v %v", lost[0].RetryAt, lost[1].RetryAt, lost[2].RetryAt)
	}
	same(t, now(t, s, sent), sent)
	same(t, now(t, s, queued), queued)
	again, err := s.Recover(t.Context(), noon, nil)
	ok(t, err)
	same(t, len(again), 0)
}

func oneBadRowFailsNobodyElse(t *testing.T, open func() *Store) {
	s := open()
	first := enqueue1(t, s, hello(follower))
	bad := []Draft{
		hello(follower).with(func(d *Draft) { d.ID = first.ID }),
		hello(follower).with(func(d *Draft) { d.Priority = "urgent" }),
		hello("").with(func(d *Draft) {}),
		hello(follower).with(func(d *Draft) { d.State = gateway.Sent }),
		hello(follower).with(func(d *Draft) { d.IdempotencyKey = strings.Repeat("k", 256) }), // fails after two inserts
	}
	var drafts []Draft
	for _, b := range bad {
		drafts = append(drafts, hello("oGood"), b)
	}
	kept := s.Enqueue(t.Context(), noon, append(drafts, hello("oGood"))...)
	for i, k := range kept {
		if i%2 == 1 {
			if k.Err == nil || errors.Is(k.Err, ErrUnavailable) {
				t.Errorf("bad row %d: %v", i/2, k.Err)
			}
			continue
		}
		ok(t, k.Err)
		same(t, now(t, s, k.Message), k.Message)
	}
	page, err := s.Messages(t.Context(), Filter{}, "", 100)
	ok(t, err)
	same(t, len(page.Items), 1+len(bad)+1)
	ok(t, s.Healthy())
}

func aCallerWhoLeavesIsStillKept(t *testing.T, open func() *Store) {
	s := open()
	running, goOn := make(chan struct{}), make(chan struct{})
	go s.Receive(context.Background(), noon, Callback{
		Entry: Entry{Account: account, OpenID: follower, Type: "follower.message"},
		Ledger: func(json.RawMessage) (json.RawMessage, error) {
			close(running)
			<-goOn
			return nil, nil
		},
	})
	<-running
	ctx, leave := context.WithCancel(context.Background())
	answer := make(chan Kept)
	go func() { answer <- s.Enqueue(ctx, noon, hello(follower))[0] }()
	for waiting := 0; waiting == 0; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		waiting = len(s.waiting)
		s.mu.Unlock()
	}
	leave()
	close(goOn)
	k := <-answer
	ok(t, k.Err)
	same(t, now(t, s, k.Message), k.Message)
	wants(t, s.Enqueue(ctx, noon, hello(follower))[0].Err, context.Canceled)
	wants(t, s.Begin(ctx, noon, Begin{Seq: k.Message.Seq, Attempt: 1}), context.Canceled)
	same(t, now(t, s, k.Message).State, gateway.Queued)
}

func idempotencyJoins(t *testing.T, open func() *Store) {
	s := open()
	keyed := func(key string, fingerprint byte) Draft {
		return hello(follower).with(func(d *Draft) { d.IdempotencyKey, d.Fingerprint = key, [32]byte{fingerprint} })
	}
	batch := s.Enqueue(t.Context(), noon, keyed("a", 1), keyed("a", 1), keyed("a", 2), keyed("b", 1))
	if batch[0].Replayed || !batch[1].Replayed || batch[1].Message.ID != batch[0].Message.ID || batch[3].Message.ID == batch[0].Message.ID {
		t.Errorf("%+v", batch)
	}
	wants(t, batch[2].Err, ErrIdempotencyMismatch)

	var wg sync.WaitGroup
	kept := make([]Kept, 32)
	for i := range kept {
		wg.Go(func() { kept[i] = s.Enqueue(context.Background(), noon, keyed("c", 1))[0] })
	}
	wg.Wait()
	fresh := 0
	for _, k := range kept {
		ok(t, k.Err)
		same(t, k.Message.ID, kept[0].Message.ID)
		fresh += bit(!k.Replayed)
	}
	same(t, fresh, 1)

	other := keyed("a", 9)
	other.Account = "wxother"
	k := s.Enqueue(t.Context(), noon, other)[0]
	ok(t, k.Err)
	same(t, k.Replayed, false)

	refused := keyed("d", 1)
	refused.Priority = "urgent"
	if k := s.Enqueue(t.Context(), noon, refused)[0]; k.Err == nil {
		t.Error("kept")
	}
	k = s.Enqueue(t.Context(), noon, keyed("d", 2))[0]
	ok(t, k.Err)
	same(t, k.Replayed, false)

	ok(t, s.Close())
	s = open()
	ok(t, s.Move(t.Context(), noon, Move{Seq: k.Message.Seq, From: gateway.Queued, To: gateway.Parked}))
	k = s.Enqueue(t.Context(), noon, keyed("d", 2))[0]
	same(t, k.Replayed, true)
	same(t, k.Message.State, gateway.Parked) // the message as it is now

	same(t, must(s.Replay(t.Context(), noon, keyed("d", 2)))(t), k.Message)
	_, err := s.Replay(t.Context(), noon, keyed("d", 1))
	wants(t, err, ErrIdempotencyMismatch)
	_, err = s.Replay(t.Context(), noon.Add(idempotencyLife), keyed("d", 2))
	wants(t, err, ErrNotFound)
}

func idempotencyKeysLiveSevenDays(t *testing.T, open func() *Store) {
	s := open()
	d := hello(follower).with(func(d *Draft) { d.IdempotencyKey = "k" })
	at := func(after time.Duration) Kept { return s.Enqueue(t.Context(), noon.Add(after), d)[0] }
	first := at(0)
	last := at(idempotencyLife - time.Millisecond)
	same(t, []any{last.Replayed, last.Message.ID}, []any{true, first.Message.ID})
	second := at(idempotencyLife)
	same(t, second.Replayed, false)

	for i := range 3 {
		s.Enqueue(t.Context(), noon, hello(follower).with(func(d *Draft) { d.IdempotencyKey = fmt.Sprint(i) }))
		_, err := s.Receive(t.Context(), noon, Callback{Entry: Entry{Account: account, OpenID: follower, Type: "follower.event"}, DedupeKey: fmt.Sprint(i)})
		ok(t, err)
	}
	for _, tt := range []struct {
		after time.Duration
		want  int
	}{
		{CallbackLife - time.Millisecond, 0}, {CallbackLife, 3}, {CallbackLife, 0},
		{idempotencyLife - time.Millisecond, 0}, {idempotencyLife, 3}, {idempotencyLife, 0}, {2 * idempotencyLife, 1},
	} {
		n, err := s.Prune(t.Context(), noon.Add(tt.after), Retention{})
		ok(t, err)
		if n != tt.want {
			t.Errorf("after %v: %d pruned, want %d", tt.after, n, tt.want)
		}
	}
}

func retryJoinsTheUnfinishedOne(t *testing.T, open func() *Store) {
	s := open()
	failed := bring(t, s, gateway.Failed)
	retry := hello(follower).with(func(d *Draft) { d.RetryOf = failed.ID })
	first, second := s.Enqueue(t.Context(), noon, retry)[0], s.Enqueue(t.Context(), noon, retry)[0]
	same(t, []any{first.Replayed, second.Replayed, second.Message.ID}, []any{false, true, first.Message.ID})
	same(t, must(s.Replay(t.Context(), noon, retry))(t), first.Message)
	keyed := s.Enqueue(t.Context(), noon, retry.with(func(d *Draft) { d.IdempotencyKey = "mine" }))[0]
	same(t, keyed.Replayed, false)
	for _, k := range []Kept{first, keyed} {
		ok(t, s.Move(t.Context(), noon, Move{Seq: k.Message.Seq, From: gateway.Queued, To: gateway.Canceled}))
	}
	_, err := s.Replay(t.Context(), noon, retry)
	wants(t, err, ErrNotFound)
	once := must(s.Replay(t.Context(), noon, retry.with(func(d *Draft) { d.RetryOnce = true })))(t)
	same(t, once.ID, first.Message.ID)
	third := s.Enqueue(t.Context(), noon, retry)[0]
	same(t, third.Replayed, false)
	same(t, third.Message.RetryOf, failed.ID)
}

func duplicateCallbackIsDropped(t *testing.T, open func() *Store) {
	s := open()
	count := func(old json.RawMessage) (json.RawMessage, error) {
		var n int
		if old != nil {
			ok(t, json.Unmarshal(old, &n))
		}
		return json.RawMessage(fmt.Sprint(n + 1)), nil
	}
	receive := func(appid, key string, after time.Duration) bool {
		d, err := s.Receive(t.Context(), noon.Add(after), Callback{
			Entry:     Entry{Account: appid, OpenID: follower, Type: "follower.message", Data: json.RawMessage(`{"content":"hi"}`)},
			DedupeKey: key, Ledger: count,
		})
		ok(t, err)
		return d
	}
	for _, tt := range []struct {
		name, appid, key string
		after            time.Duration
		want             bool
	}{
		{"new", account, "1", 0, false},
		{"again", account, "1", 0, true},
		{"another", account, "2", 0, false},
		{"of another account", "wxother", "1", 0, false},
		{"nearly a day later", account, "1", CallbackLife - time.Millisecond, true},
		{"a day later", account, "1", CallbackLife, false},
		{"again on that day", account, "1", CallbackLife, true},
		{"without a key", account, "", 0, false},
		{"without a key, again", account, "", 0, false},
	} {
		if got := receive(tt.appid, tt.key, tt.after); got != tt.want {
			t.Errorf("%s: duplicate %v", tt.name, got)
		}
	}
	ok(t, s.Close())
	s = open()
	same(t, receive(account, "2", 0), true)

	refusal := errors.New("no")
	_, err := s.Receive(t.Context(), noon, Callback{
		Entry: Entry{Account: account, OpenID: follower, Type: "follower.message"}, DedupeKey: "3",
		Ledger: func(json.RawMessage) (json.RawMessage, error) { return nil, refusal },
	})
	wants(t, err, refusal)
	same(t, receive(account, "3", 0), false) // what was not kept is no duplicate

	c, err := s.Conversation(t.Context(), account, follower)
	ok(t, err)
	same(t, string(c.Ledger), "6") // once for each that was kept
}

func stateIsCheckedOnMove(t *testing.T, open func() *Store) {
	s := open()
	for _, is := range gateway.States() {
		m := bring(t, s, is)
		refuses := func(what string, err error, conflicts bool) {
			t.Helper()
			var conflict *ConflictError
			if err == nil || conflicts && !(errors.As(err, &conflict) && errors.Is(err, ErrConflict) && reflect.DeepEqual(conflict.Message, m)) {
				t.Errorf("%s, which is %s: %v", what, is, err)
			}
			same(t, now(t, s, m), m)
		}
		takes := func(what string, to gateway.State, act func(seq int64) error) {
			t.Helper()
			m := bring(t, s, is)
			if err := act(m.Seq); err != nil || now(t, s, m).State != to {
				t.Errorf("%s, which is %s: %v", what, is, err)
			}
		}
		for _, from := range gateway.States() {
			for _, to := range gateway.States() {
				what, legal := fmt.Sprintf("moved %s from %s to %s", is, from, to), slices.Contains(mayMove[from], to)
				move := func(seq int64) error { return s.Move(t.Context(), noon, Move{Seq: seq, From: from, To: to}) }
				if legal && is == from {
					takes(what, to, move)
				} else {
					refuses(what, move(m.Seq), legal)
				}
			}
			finish := func(seq int64) error {
				return s.Finish(t.Context(), noon, Finish{Seq: seq, State: from, Attempt: gateway.Attempt{N: 1}})
			}
			if legal := slices.Contains(endings, from); legal && is == gateway.Sending {
				takes("finished as "+string(from), from, finish)
			} else {
				refuses("finished as "+string(from), finish(m.Seq), legal)
			}
		}
		begin := func(seq int64) error { return s.Begin(t.Context(), noon, Begin{Seq: seq, Attempt: 1}) }
		if is == gateway.Queued {
			takes("begun", gateway.Sending, begin)
		} else {
			refuses("begun", begin(m.Seq), true)
		}
	}
	wants(t, s.Begin(t.Context(), noon, Begin{Seq: 1 << 40, Attempt: 1}), ErrNotFound)
	wants(t, s.Move(t.Context(), noon, Move{Seq: 1 << 40, From: gateway.Queued, To: gateway.Parked}), ErrNotFound)
}

func movesAreAllOrNone(t *testing.T, open func() *Store) {
	s := open()
	a, b, c := bring(t, s, gateway.Parked), bring(t, s, gateway.Canceled), bring(t, s, gateway.Parked)
	out := func(m Message) Move {
		return Move{Seq: m.Seq, From: gateway.Parked, To: gateway.Queued, Conversation: &Conversation{Account: account, OpenID: follower, Ledger: json.RawMessage(`1`)}}
	}
	head, err := s.Head(t.Context())
	ok(t, err)
	var conflict *ConflictError
	if err := s.Move(t.Context(), noon, out(a), out(b), out(c)); !errors.As(err, &conflict) || conflict.Message.Seq != b.Seq {
		t.Fatalf("error %v", err)
	}
	same(t, now(t, s, a), a)
	if c, err := s.Conversation(t.Context(), account, follower); err == nil && c.Ledger != nil {
		t.Errorf("a ledger was kept: %s", c.Ledger)
	}
	if unchanged, err := s.Head(t.Context()); err != nil || unchanged != head {
		t.Errorf("the log grew from %s to %s: %v", head, unchanged, err)
	}
	ok(t, s.Move(t.Context(), noon, out(a), out(c)))
	same(t, []gateway.State{now(t, s, a).State, now(t, s, b).State, now(t, s, c).State}, []gateway.State{gateway.Queued, gateway.Canceled, gateway.Queued})
}

func attemptsAreRecorded(t *testing.T, open func() *Store) {
	s := open()
	m := enqueue1(t, s, hello(follower))
	retryAt := noon.Add(time.Second)
	tries := []Finish{
		{
			State: gateway.Queued, RetryAt: retryAt, Outcome: &gateway.Outcome{Class: kefu.ErrRateLimited, ErrCode: 45011, ErrMsg: "slow & <steady>", RID: "1-2-3"},
			Attempt: gateway.Attempt{N: 1, At: gateway.At(noon), TookMS: 12, Outcome: "refused", ErrCode: 45011, ErrMsg: "slow & <steady>", RID: "1-2-3"},
		},
		{State: gateway.Sent, Attempt: gateway.Attempt{N: 2, At: gateway.At(retryAt), TookMS: 5, Outcome: "sent"}},
	}
	var want []gateway.Attempt
	for i, f := range tries {
		ok(t, s.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: i + 1}))
		if got := now(t, s, m); got.State != gateway.Sending || got.Attempts != i+1 || got.RetryAt != nil {
			t.Errorf("begun: %+v", got)
		}
		f.Seq = m.Seq
		ok(t, s.Finish(t.Context(), noon, f))
		got := now(t, s, m)
		same(t, []any{got.State, got.Attempts, got.Outcome}, []any{f.State, i + 1, f.Outcome})
		if i == 0 && !got.RetryAt.Equal(retryAt) || i == 1 && got.RetryAt != nil {
			t.Errorf("retry at %v", got.RetryAt)
		}
		want = append(want, f.Attempt)
	}
	ok(t, s.Close())
	s = open()
	got, err := s.Attempts(t.Context(), m.ID)
	ok(t, err)
	same(t, got, want)
	_, err = s.Attempts(t.Context(), formatID(newID(noon, 0)))
	wants(t, err, ErrNotFound)

	back := bring(t, s, gateway.Sending)
	ok(t, s.Move(t.Context(), noon, Move{Seq: back.Seq, From: gateway.Sending, To: gateway.Queued}))
	same(t, now(t, s, back).Attempts, 0)
}

func marksStay(t *testing.T, open func() *Store) {
	s := open()
	m := enqueue1(t, s, hello(follower))
	ok(t, s.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 1}))
	busy := &gateway.Outcome{Class: kefu.ErrBusy, ErrCode: -1}
	ok(t, s.Finish(t.Context(), noon, Finish{Seq: m.Seq, State: gateway.Queued, Outcome: busy, PossibleDuplicate: true, Attempt: gateway.Attempt{N: 1}}))
	for _, step := range []func() error{
		func() error { return s.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 2}) },
		func() error {
			return s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Sending, To: gateway.Queued})
		},
		func() error {
			return s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Queued, To: gateway.Parked})
		},
	} {
		ok(t, step())
		got := now(t, s, m)
		same(t, []any{got.PossibleDuplicate, got.Outcome}, []any{true, busy})
	}
	expired := &gateway.Outcome{Reason: "expired"}
	ok(t, s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Parked, To: gateway.Expired, Outcome: expired}))
	same(t, now(t, s, m).Outcome, expired)
}

func resendIsGrantedOnce(t *testing.T, open func() *Store) {
	s := open()
	m := bring(t, s, gateway.Unknown)
	ok(t, s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Unknown, To: gateway.Queued}))
	ok(t, s.Close())
	s = open()
	got := now(t, s, m)
	same(t, []bool{m.Resent, m.PossibleDuplicate, got.Resent, got.PossibleDuplicate}, []bool{false, false, true, true})

	called := enqueue1(t, s, hello(follower))
	ok(t, s.Begin(t.Context(), noon, Begin{Seq: called.Seq, Attempt: 1}))
	ok(t, s.Finish(t.Context(), noon, Finish{Seq: called.Seq, State: gateway.Unknown, RetryAt: noon, Attempt: gateway.Attempt{N: 1}}))
	ok(t, s.Move(t.Context(), noon, Move{Seq: called.Seq, From: gateway.Unknown, To: gateway.Unknown}))
	got = now(t, s, called)
	same(t, []any{got.State, got.RetryAt == nil, got.Resent}, []any{gateway.Unknown, true, false})
}

func ledgerChangesWithItsCause(t *testing.T, open func() *Store) {
	s := open()
	_, err := s.Conversation(t.Context(), account, follower)
	wants(t, err, ErrNotFound)
	ledger := func(text string) *Conversation {
		return &Conversation{Account: account, OpenID: follower, Ledger: json.RawMessage(text)}
	}
	is := func(want string) {
		t.Helper()
		c, err := s.Conversation(t.Context(), account, follower)
		ok(t, err)
		same(t, string(c.Ledger), want)
	}
	m := enqueue1(t, s, hello(follower))
	ok(t, s.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 1, Conversation: ledger(`"begun"`)}))
	is(`"begun"`)
	wants(t, s.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 2, Conversation: ledger(`"wrong"`)}), ErrConflict)
	is(`"begun"`)
	ok(t, s.Finish(t.Context(), noon, Finish{Seq: m.Seq, State: gateway.Failed, Attempt: gateway.Attempt{N: 1}, Conversation: ledger(`"given back"`)}))
	is(`"given back"`)
	wants(t, s.Finish(t.Context(), noon, Finish{Seq: m.Seq, State: gateway.Failed, Conversation: ledger(`"wrong"`)}), ErrConflict)
	is(`"given back"`)
	ok(t, s.SaveConversation(t.Context(), noon, *ledger(`"told"`), Entry{Account: account, OpenID: follower, Type: "conversation.changed"}))
	ok(t, s.Close())
	s = open()
	is(`"told"`)
	bring(t, s, gateway.Sent)
	is(`"told"`)
}

func unfinishedComeBackInOrder(t *testing.T, open func() *Store) {
	s := open()
	notBefore := gateway.At(noon.Add(time.Hour))
	later := hello(follower).with(func(d *Draft) { d.NotBefore = &notBefore })
	waits, let := enqueue1(t, s, later), enqueue1(t, s, later)
	var want []Message
	for _, state := range gateway.States() {
		m := bring(t, s, state)
		if state == gateway.Queued || state == gateway.Parked {
			want = append(want, m)
		}
	}
	held, resend := bring(t, s, gateway.Unknown), enqueue1(t, s, hello(follower).with(func(d *Draft) { d.OnUnknown = gateway.Resend }))
	ok(t, s.Begin(t.Context(), noon, Begin{Seq: resend.Seq, Attempt: 1}))
	ok(t, s.Finish(t.Context(), noon, Finish{Seq: resend.Seq, State: gateway.Unknown, RetryAt: noon, Attempt: gateway.Attempt{N: 1}}))
	ok(t, s.Move(t.Context(), noon, Move{Seq: let.Seq, From: gateway.Queued, To: gateway.Queued}))
	many := make([]Draft, largestPage+10)
	for i := range many {
		many[i] = hello(follower)
	}
	for _, k := range s.Enqueue(t.Context(), noon, many...) {
		ok(t, k.Err)
		want = append(want, k.Message)
	}
	want = append(want, now(t, s, waits), now(t, s, let), now(t, s, resend))
	slices.SortFunc(want, func(a, b Message) int { return cmp.Compare(a.Number, b.Number) })
	waiting := make([]Waiting, len(want))
	for i, m := range want {
		waiting[i] = m.Waiting()
	}
	ok(t, s.Close())
	s = open()
	own, err := s.UnfinishedOf(t.Context(), account, follower)
	ok(t, err)
	same(t, own, waiting)
	for _, of := range [][2]string{{account, "somebody else"}, {"wxother", follower}} {
		own, err := s.UnfinishedOf(t.Context(), of[0], of[1])
		ok(t, err)
		same(t, len(own), 0)
	}
	var got []Waiting
	for m, err := range s.Unfinished(t.Context()) {
		ok(t, err)
		if got = append(got, m); len(got) == 1 {
			enqueue1(t, s, hello(follower)) // kept after the call began
			ok(t, s.settle(t.Context()))
		}
	}
	same(t, got, waiting)
	if got[0].Seq != waits.Seq || held.State != gateway.Unknown {
		t.Errorf("first comes %v", got[0])
	}
}

func listsKnowWhatWasCommitted(t *testing.T, open func() *Store) {
	s := open()
	const other = "wxother"
	add := func(appid, openid, metadata string, after time.Duration) Message {
		d := hello(openid)
		d.Account = appid
		if metadata != "" {
			d.Metadata = json.RawMessage(metadata)
		}
		k := s.Enqueue(t.Context(), noon.Add(after), d)[0]
		ok(t, k.Err)
		return k.Message
	}
	a := add(account, "o1", `{"order":"7","n":3}`, 0)
	b := add(account, "o2", `{"order":"8"}`, time.Second)
	c := add(other, "o1", "", 2*time.Second)
	end := func(m Message, state gateway.State, errcode int) {
		ok(t, s.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 1}))
		ok(t, s.Finish(t.Context(), noon, Finish{Seq: m.Seq, State: state, Outcome: &gateway.Outcome{ErrCode: errcode}, Attempt: gateway.Attempt{N: 1}}))
	}
	end(a, gateway.Sent, 0)
	end(b, gateway.Failed, 45002)
	for _, tt := range []struct {
		name string
		f    Filter
		want []Message
	}{
		{"all", Filter{}, []Message{c, b, a}},
		{"one account", Filter{Accounts: []string{account}}, []Message{b, a}},
		{"two accounts", Filter{Accounts: []string{account, other}}, []Message{c, b, a}},
		{"an account without any", Filter{Accounts: []string{"wx0"}}, nil},
		{"openid", Filter{OpenID: "o1"}, []Message{c, a}},
		{"openid in an account", Filter{OpenID: "o1", Accounts: []string{other}}, []Message{c}},
		{"state sent", Filter{State: gateway.Sent}, []Message{a}},
		{"state failed", Filter{State: gateway.Failed}, []Message{b}},
		{"state queued", Filter{State: gateway.Queued}, []Message{c}},
		{"errcode", Filter{ErrCode: 45002}, []Message{b}},
		{"errcode and openid", Filter{ErrCode: 45002, OpenID: "o1"}, nil},
		{"from", Filter{From: noon.Add(time.Second)}, []Message{c, b}},
		{"to", Filter{To: noon.Add(time.Second)}, []Message{a}},
		{"metadata", Filter{Metadata: map[string]string{"order": "7"}}, []Message{a}},
		{"metadata that is a number", Filter{Metadata: map[string]string{"n": "3"}}, []Message{a}},
		{"metadata, both", Filter{Metadata: map[string]string{"order": "8", "n": "3"}}, nil},
	} {
		page, err := s.Messages(t.Context(), tt.f, "", 10)
		ok(t, err)
		want := []Message{}
		for _, m := range tt.want {
			want = append(want, now(t, s, m))
		}
		t.Log(tt.name)
		same(t, page.Items, want)
		page, err = s.OldestMessages(t.Context(), tt.f, "", 10)
		ok(t, err)
		slices.Reverse(want)
		same(t, page.Items, want)
	}
	cs, err := s.Conversations(t.Context(), nil, "", 10)
	ok(t, err)
	var got []string
	for _, c := range cs.Items {
		got = append(got, c.Account+" "+c.OpenID)
		same(t, []any{c.LastType, string(c.LastLine)}, []any{"message.accepted", string(hello(c.OpenID).Message.Message)})
	}
	same(t, got, []string{other + " o1", account + " o2", account + " o1"})
	cs, err = s.Conversations(t.Context(), []string{other}, "", 10)
	ok(t, err)
	same(t, len(cs.Items), 1)
}

func pagesJoinWithoutGapOrDouble(t *testing.T, open func() *Store) {
	s := open()
	const n = 25
	for i := range n {
		enqueue1(t, s, hello(fmt.Sprint("o", i%5)))
		ok(t, s.SaveConversation(t.Context(), noon, Conversation{Account: account, OpenID: fmt.Sprint("silent", i%3), Ledger: json.RawMessage(`{}`)}))
	}
	for _, tt := range []struct {
		name string
		list func(cursor string, limit int) (keys []string, next string, err error)
		want int
	}{
		{"messages", func(cursor string, limit int) (keys []string, next string, err error) {
			p, err := s.Messages(t.Context(), Filter{}, cursor, limit)
			for _, m := range p.Items {
				keys = append(keys, m.ID)
			}
			return keys, p.Next, err
		}, n},
		{"messages, oldest first", func(cursor string, limit int) (keys []string, next string, err error) {
			p, err := s.OldestMessages(t.Context(), Filter{}, cursor, limit)
			for _, m := range p.Items {
				keys = append(keys, m.ID)
			}
			return keys, p.Next, err
		}, n},
		{"timeline", func(cursor string, limit int) (keys []string, next string, err error) {
			p, err := s.Timeline(t.Context(), account, "o1", cursor, limit)
			for _, l := range p.Items {
				keys = append(keys, l.Cursor)
			}
			return keys, p.Next, err
		}, n / 5},
		{"conversations", func(cursor string, limit int) (keys []string, next string, err error) {
			p, err := s.Conversations(t.Context(), nil, cursor, limit)
			for _, c := range p.Items {
				keys = append(keys, c.OpenID)
			}
			return keys, p.Next, err
		}, 5 + 3},
	} {
		for _, limit := range []int{1, 2, tt.want - 1, tt.want, tt.want + 1} {
			seen, cursor, pages := map[string]bool{}, "", 0
			for {
				keys, next, err := tt.list(cursor, limit)
				ok(t, err)
				if len(keys) > limit {
					t.Errorf("%s: %d items, limit %d", tt.name, len(keys), limit)
				}
				for _, k := range keys {
					if seen[k] {
						t.Errorf("%s: %s twice", tt.name, k)
					}
					seen[k] = true
				}
				pages++
				if cursor = next; cursor == "" {
					break
				}
			}
			if len(seen) != tt.want || pages != (tt.want+limit-1)/limit {
				t.Errorf("%s by %d: %d items on %d pages, want %d", tt.name, limit, len(seen), pages, tt.want)
			}
		}
	}
}

// Who repeats what failed, page by page, makes messages that fail, too.
func oldestFirstEndsWithWhatThereWas(t *testing.T, open func() *Store) {
	s := open()
	var want, got []string
	for range 5 {
		want = append(want, enqueue1(t, s, hello(follower)).ID)
	}
	for cursor := ""; ; {
		page, err := s.OldestMessages(t.Context(), Filter{State: gateway.Queued}, cursor, 2)
		ok(t, err)
		for _, m := range page.Items {
			got = append(got, m.ID)
			enqueue1(t, s, hello(follower))
		}
		if cursor = page.Next; cursor == "" || len(got) > 10 {
			break
		}
	}
	same(t, got, want)
}

func timelineHasBothSides(t *testing.T, open func() *Store) {
	s := open()
	receive := func(openid, kind, data string) {
		_, err := s.Receive(t.Context(), noon, Callback{Entry: Entry{Account: account, OpenID: openid, Type: kind, Data: json.RawMessage(data)}})
		ok(t, err)
	}
	receive(follower, "follower.event", `{"event":"subscribe"}`)
	m := bring(t, s, gateway.Sent)
	enqueue1(t, s, hello("oSomebodyElse"))
	receive(follower, "follower.message", `{"content":"a < b"}`)
	ok(t, s.Append(t.Context(), noon, Entry{Account: account, OpenID: follower, Type: "token.contested"}))
	ok(t, s.Append(t.Context(), noon, Entry{Account: account, OpenID: follower, Type: "conversation.changed"}))
	page, err := s.Timeline(t.Context(), account, follower, "", 10)
	ok(t, err)
	same(t, len(page.Items), 4)
	same(t, page.Items[0].Type, "conversation.changed")
	page.Items = page.Items[1:]
	same(t, []any{page.Items[0].Type, string(page.Items[0].Data)}, []any{"follower.message", `{"content":"a < b"}`})
	same(t, page.Items[1].Message, &m)
	same(t, []any{page.Items[2].Type, page.Items[2].Message == nil}, []any{"follower.event", true})
	c, err := s.Conversation(t.Context(), account, follower)
	ok(t, err)
	same(t, []any{c.LastType, string(c.LastLine), c.LastAt.Equal(noon)}, []any{"follower.message", `{"content":"a < b"}`, true})
	page, err = s.Timeline(t.Context(), "wxother", follower, "", 10)
	ok(t, err)
	same(t, len(page.Items), 0)
}

func feedTellsEverythingOnce(t *testing.T, open func() *Store) {
	s := open()
	changed := s.Changed()
	m := enqueue1(t, s, hello(follower).with(func(d *Draft) { d.Metadata = json.RawMessage(`{"k":"<v>"}`) }))
	select {
	case <-changed:
	default:
		t.Error("kept, and the readers were not woken")
	}
	ok(t, s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Queued, To: gateway.Parked, Outcome: &gateway.Outcome{ErrCode: 45015, Reason: "a < b"}}))
	ok(t, s.Move(t.Context(), noon, Move{Seq: m.Seq, From: gateway.Parked, To: gateway.Queued}))
	ok(t, s.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 1}))
	ok(t, s.Finish(t.Context(), noon, Finish{Seq: m.Seq, State: gateway.Sent, Attempt: gateway.Attempt{N: 1}}))
	ok(t, s.Append(t.Context(), noon, Entry{Account: "wxother", Type: "account.paused", Data: json.RawMessage(`{"because":"x"}`)}))
	entries, next, err := s.Feed(t.Context(), "", 100, nil)
	ok(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Type)
	}
	same(t, got, []string{"message.accepted", "message.parked", "message.queued", "message.sending", "message.sent", "account.paused"})
	content := string(hello(follower).Message.Message)
	same(t, string(entries[0].Data), `{"id":"`+m.ID+`","msgtype":"text","message":`+content+`,"state":"queued","priority":"normal","attempts":0,"possible_duplicate":false,"source":"api","metadata":{"k":"<v>"}}`)
	same(t, string(entries[1].Data), `{"id":"`+m.ID+`","msgtype":"text","state":"parked","priority":"normal","attempts":0,"outcome":{"errcode":45015,"reason":"a < b"},"possible_duplicate":false,"source":"api","metadata":{"k":"<v>"}}`)
	same(t, entries[5], gateway.FeedEntry{Cursor: "6", At: gateway.At(noon), Account: "wxother", Type: "account.paused", Data: json.RawMessage(`{"because":"x"}`)})
	head, err := s.Head(t.Context())
	ok(t, err)
	same(t, []string{next, head}, []string{"6", "6"})

	entries, next, err = s.Feed(t.Context(), "", 1, []string{"wxother"})
	ok(t, err)
	same(t, []any{len(entries), entries[0].Type, next}, []any{1, "account.paused", "6"})
	entries, next, err = s.Feed(t.Context(), "2", 2, []string{account})
	ok(t, err)
	same(t, []any{len(entries), entries[0].Type, next}, []any{2, "message.queued", "4"})
	entries, next, err = s.Feed(t.Context(), "", 9, []string{"wx0"})
	ok(t, err)
	same(t, []any{len(entries), next}, []any{0, "6"})

	changed = s.Changed()
	ok(t, s.Heartbeat(t.Context(), noon))
	select {
	case <-changed:
		t.Error("a heartbeat woke the readers")
	default:
	}
}

func cursorsAreChecked(t *testing.T, open func() *Store) {
	s := open()
	enqueue1(t, s, hello(follower))
	for _, cursor := range []string{"x", "-1", "01", "1 ", "99999999999999999999", "1.5"} {
		_, _, err := s.Feed(t.Context(), cursor, 1, nil)
		wants(t, err, ErrCursor)
		_, err = s.Messages(t.Context(), Filter{}, cursor, 1)
		wants(t, err, ErrCursor)
		_, err = s.OldestMessages(t.Context(), Filter{}, cursor, 1)
		wants(t, err, ErrCursor)
		_, err = s.Timeline(t.Context(), account, follower, cursor, 1)
		wants(t, err, ErrCursor)
	}
	for _, cursor := range []string{"1", "-", "1-", "-1", "1-2-3", "01-2"} {
		_, err := s.OldestMessages(t.Context(), Filter{}, cursor, 1)
		wants(t, err, ErrCursor)
	}
	for _, cursor := range []string{"x", "1", ".", "1.", ".1", "1.2.3", "-1.2"} {
		_, err := s.Conversations(t.Context(), nil, cursor, 1)
		wants(t, err, ErrCursor)
	}
	_, _, err := s.Feed(t.Context(), "2", 1, nil)
	wants(t, err, ErrCursorGone)
	entries, _, err := s.Feed(t.Context(), "1", 1, nil)
	ok(t, err)
	same(t, len(entries), 0)
	for range 3 {
		enqueue1(t, s, hello(follower))
	}
	ok(t, s.write(t.Context(), noon, func(t *tx) error {
		return t.put(`UPDATE retention SET pruned = 2`)
	}))
	_, _, err = s.Feed(t.Context(), "1", 1, nil)
	wants(t, err, ErrCursorGone)
	entries, _, err = s.Feed(t.Context(), "2", 1, nil)
	ok(t, err)
	same(t, entries[0].Cursor, "3")
}

func secretsKeepWhatIsNotWritten(t *testing.T, open func() *Store) {
	s := open()
	three := 3
	a := gateway.Account{
		AppID: account, Name: "<shop>", Secret: "s1", Token: "t1", AESKey: "k1",
		Rules: map[kefu.Trigger]gateway.Allowance{kefu.Menu: {Max: &three, Seconds: 60}}, Rate: 2.5, KeepFree: &three,
	}.WithDefaults()
	ok(t, s.PutAccount(t.Context(), noon, a))
	same(t, must(s.Account(t.Context(), account))(t), a)
	a.Name, a.Secret, a.Token, a.AESKey = "renamed", "", "t2", ""
	ok(t, s.PutAccount(t.Context(), noon, a, Entry{Account: account, Type: "account.paused"}))
	a.Secret, a.AESKey = "s1", "k1"
	ok(t, s.Close())
	s = open()
	same(t, must(s.Account(t.Context(), account))(t), a)
	ok(t, s.PutAccount(t.Context(), noon, gateway.Account{AppID: "wx0"}))
	ok(t, s.PutAccount(t.Context(), noon, gateway.Account{AppID: "wX1"}))
	all := must(s.Accounts(t.Context()))(t)
	same(t, []string{all[0].AppID, all[1].AppID, all[2].AppID}, []string{"wX1", "wx0", account}) // by bytes
	_, err := s.SwapToken(t.Context(), noon, account, "", kefu.Token{Value: "t"})
	ok(t, err)
	ok(t, s.DeleteAccount(t.Context(), noon, account))
	wants(t, s.DeleteAccount(t.Context(), noon, account), ErrNotFound)
	_, err = s.Account(t.Context(), account)
	wants(t, err, ErrNotFound)
	same(t, must(s.Token(t.Context(), account))(t), kefu.Token{})
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

func revokedKeysOpenNothing(t *testing.T, open func() *Store) {
	s := open()
	first, err := s.PutKey(t.Context(), noon, gateway.Key{Name: "first", Role: gateway.Admin, Key: "kf_one"})
	ok(t, err)
	second, err := s.PutKey(t.Context(), noon.Add(time.Second), gateway.Key{Role: gateway.Send, Accounts: []string{account}, Key: "kf_two"})
	ok(t, err)
	if first.ID == "" || first.ID == second.ID || first.Key != "" {
		t.Errorf("%+v %+v", first, second)
	}
	again, err := s.PutKey(t.Context(), noon, gateway.Key{Role: gateway.Admin, Key: "kf_two"})
	ok(t, err)
	same(t, again, second) // keeps its role
	same(t, must(s.FindKey(t.Context(), "kf_two"))(t), second)
	same(t, must(s.Keys(t.Context()))(t), []gateway.Key{first, second})
	_, err = s.FindKey(t.Context(), "kf_three")
	wants(t, err, ErrNotFound)
	if _, err := s.PutKey(t.Context(), noon, gateway.Key{Role: "king", Key: "kf_four"}); err == nil {
		t.Error("a role that does not exist was stored")
	}
	ok(t, s.RevokeKey(t.Context(), noon, second.ID))
	wants(t, s.RevokeKey(t.Context(), noon, second.ID), ErrNotFound)
	_, err = s.FindKey(t.Context(), "kf_two")
	wants(t, err, ErrRevoked) // not as one that was never stored: KEFU_API_KEY may name it
	_, err = s.PutKey(t.Context(), noon, gateway.Key{Role: gateway.Admin, Key: "kf_two"})
	wants(t, err, ErrRevoked)
	same(t, must(s.Keys(t.Context()))(t), []gateway.Key{first})
}

func tokensAreSwappedNotOverwritten(t *testing.T, open func() *Store) {
	s := open()
	same(t, must(s.Token(t.Context(), account))(t), kefu.Token{})
	var wg sync.WaitGroup
	used := make([]kefu.Token, 16)
	for i := range used {
		wg.Go(func() {
			used[i], _ = s.SwapToken(context.Background(), noon, account, "", kefu.Token{Value: kefu.Secret(fmt.Sprint(i)), Expiry: noon})
		})
	}
	wg.Wait()
	for _, u := range used {
		same(t, u, used[0])
	}
	next := kefu.Token{Value: "next", Expiry: noon.Add(2 * time.Hour)}
	same(t, must(s.SwapToken(t.Context(), noon, account, used[0].Value, next))(t), next)
	same(t, must(s.SwapToken(t.Context(), noon, account, used[0].Value, kefu.Token{Value: "late"}))(t), next)
	ok(t, s.Close())
	same(t, must(open().Token(t.Context(), account))(t), next)
}

func theLastToOpenWrites(t *testing.T, open func() *Store) {
	first := open()
	m := enqueue1(t, first, hello(follower))
	if first.lease != nil {
		first.lease.halt() // as if its process stood still: the next one waits for that
	}
	second := open()
	wants(t, first.Enqueue(t.Context(), noon, hello(follower))[0].Err, ErrFenced)
	wants(t, first.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 1}), ErrFenced)
	wants(t, first.Healthy(), ErrFenced)
	ok(t, second.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 1}))
	ok(t, first.Close())
	ok(t, second.Heartbeat(t.Context(), noon)) // the first has taken nothing with it
	ok(t, second.Close())
	wants(t, second.Begin(t.Context(), noon, Begin{Seq: m.Seq, Attempt: 1}), ErrClosed)
	wants(t, second.Enqueue(t.Context(), noon, hello(follower))[0].Err, ErrClosed)
}

// Another writer has drawn a number and commits late. Until then nobody can commit
// a higher one, or a reader who is past that would never see the lower one.
func numbersAppearInTheirOrder(t *testing.T, open func() *Store) {
	s := open()
	enqueue1(t, s, hello(follower))
	rivals, err := s.dialect.writer()
	ok(t, err)
	defer rivals.Close()
	rival, err := newSession(t.Context(), s.dialect, rivals)
	ok(t, err)
	h, err := s.dialect.begin(t.Context(), rival)
	ok(t, err)
	for q, args := range map[string][]any{
		`INSERT INTO feed (cursor, at, account, type) VALUES ($1, $2, $3, $4)`: {h.cursor + 1, ms(noon), account, "late"},
		`UPDATE head SET cursor = $1 WHERE id = 1`:                             {h.cursor + 1},
	} {
		_, err := rival.conn.ExecContext(t.Context(), s.dialect.sql(q), args...)
		ok(t, err)
	}
	kept := make(chan Kept)
	go func() { kept <- s.Enqueue(context.Background(), noon, hello(follower))[0] }()
	var early []gateway.FeedEntry
	for range 20 {
		entries, next, err := s.Feed(t.Context(), "1", 10, nil)
		ok(t, err)
		if early = entries; len(early) > 0 || next != "1" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	same(t, len(early), 0)
	ok(t, rival.exec(t.Context(), "COMMIT"))
	rival.stmts.close()
	ok(t, rival.conn.Close())
	k := <-kept
	ok(t, k.Err)
	entries, _, err := s.Feed(t.Context(), "1", 10, nil)
	ok(t, err)
	same(t, []any{len(entries), entries[0].Type, entries[1].Cursor}, []any{2, "late", fmt.Sprint(k.Message.Seq)})
}

func gapsAndStandingsStay(t *testing.T, open func() *Store) {
	s := open()
	same(t, must(s.Gap(t.Context()))(t), time.Time{})
	for _, until := range []time.Time{noon, noon.Add(time.Hour)} {
		ok(t, s.SetGap(t.Context(), noon, until))
		same(t, must(s.Gap(t.Context()))(t), until)
	}
	ok(t, s.PutAccount(t.Context(), noon, gateway.Account{AppID: account}))
	ok(t, s.SetStanding(t.Context(), noon, account, json.RawMessage(`{"spent":true}`)))
	ok(t, s.Close())
	s = open()
	same(t, must(s.Gap(t.Context()))(t), noon.Add(time.Hour))
	same(t, string(must(s.Standing(t.Context(), account))(t)), `{"spent":true}`)
}

// What one of the databases can't keep is refused by all, and harms nobody else.
func textIsText(t *testing.T, open func() *Store) {
	s := open()
	for name, bad := range map[string]Draft{
		"zero":          hello("o\x00"),
		"not UTF-8":     hello("o\xff"),
		"zero in a key": hello(follower).with(func(d *Draft) { d.IdempotencyKey = "k\x00" }),
		"long openid":   hello(strings.Repeat("o", longestOpenID+1)),
	} {
		kept := s.Enqueue(t.Context(), noon, hello(follower), bad, hello(follower))
		if kept[1].Err == nil || errors.Is(kept[1].Err, ErrUnavailable) {
			t.Errorf("%s: %v", name, kept[1].Err)
		}
		ok(t, errors.Join(kept[0].Err, kept[2].Err))
		_, err := s.Receive(t.Context(), noon, Callback{Entry: Entry{Account: account, OpenID: bad.OpenID, Type: "follower.message"}, DedupeKey: bad.IdempotencyKey})
		if bad.OpenID != follower && (err == nil || errors.Is(err, ErrUnavailable)) {
			t.Errorf("%s received: %v", name, err)
		}
	}
	enqueue1(t, s, hello(strings.Repeat("o", longestOpenID)))
	_, err := s.Messages(t.Context(), Filter{}, "", 1)
	ok(t, err)
	ok(t, s.Healthy())
}

func theLastCommitIsKnown(t *testing.T, open func() *Store) {
	s := open()
	same(t, s.LastCommit(), time.Time{})
	enqueue1(t, s, hello(follower))
	ok(t, s.Close())
	s = open()
	same(t, s.LastCommit(), noon)
	ok(t, s.Heartbeat(t.Context(), noon.Add(7*time.Second)))
	same(t, s.LastCommit(), noon)
	ok(t, s.Close())
	same(t, open().LastCommit(), noon.Add(7*time.Second))
}
