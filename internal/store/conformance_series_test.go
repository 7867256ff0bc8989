package store

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

func seriesCountsEveryLineOnce(t *testing.T, open func() *Store) {
	s := open()
	hear := func(at time.Time, account, trigger string) {
		data := fmt.Sprintf(`{"msgtype":"text",%s"push":{"Content":"\"trigger\":\"x\""}}`, trigger)
		_, err := s.Receive(t.Context(), at, Callback{Entry: Entry{Account: account, OpenID: follower, Type: "follower.message", Data: json.RawMessage(data)}})
		ok(t, err)
	}
	const opens = `"trigger":"user_message",`
	hear(noon.Add(-time.Millisecond), account, opens) // before what is counted
	hear(noon, account, opens)
	hear(noon.Add(time.Hour-time.Millisecond), account, "") // opens nothing, whatever it says
	m := enqueue1(t, s, hello(follower))
	ok(t, s.Begin(t.Context(), noon.Add(time.Hour), Begin{Seq: m.Seq, Attempt: 1}))
	ok(t, s.Finish(t.Context(), noon.Add(time.Hour), Finish{Seq: m.Seq, State: gateway.Failed, Outcome: &gateway.Outcome{Class: kefu.ErrWindowClosed, ErrCode: 45015},
		Attempt: gateway.Attempt{N: 1, At: gateway.At(noon.Add(time.Hour)), Outcome: "refused", ErrCode: 45015}}))
	for i, took := range []int64{9, 10, 99, 100, 999, 1000, 12_345} {
		m := enqueue1(t, s, hello(follower))
		ok(t, s.Begin(t.Context(), noon.Add(time.Hour), Begin{Seq: m.Seq, Attempt: 1}))
		ok(t, s.Finish(t.Context(), noon.Add(time.Hour), Finish{Seq: m.Seq, State: gateway.Sent, Attempt: gateway.Attempt{
			N: 1, TookMS: took, ErrMsg: `"took_ms":1,"remaining":0}`,
			Allowance: []*gateway.Taken{nil, {Remaining: new(0)}, {Remaining: new(1)}, {Remaining: new(1)}, {Remaining: new(2)}, {Remaining: new(10)}, {Left: 1}}[i],
		}}))
	}
	hear(noon.Add(time.Hour), "wxother", opens)
	enqueue1(t, s, hello(follower)) // waits
	hear(noon.Add(2*time.Hour), account, opens)

	v, err := s.Series(t.Context(), noon, noon.Add(2*time.Hour), time.Hour, []string{account})
	ok(t, err)
	same(t, v.ErrCodes, []gateway.ErrCodeCount{{ErrCode: 45015, Count: 1}})
	same(t, v.Unfinished, map[gateway.State]int{gateway.Queued: 1})
	same(t, v.Step, gateway.Seconds(3600))
	if len(v.Points) != 2 {
		t.Fatalf("%d points", len(v.Points))
	}
	// hello is accepted at noon, whatever the clock of the others.
	same(t, v.Points, []gateway.SeriesPoint{
		{At: gateway.At(noon), Accepted: 9, Heard: 2, Opened: 1},
		{At: gateway.At(noon.Add(time.Hour)), Failed: 1, Sent: 7, Took: [4]int{2, 2, 2, 2}, Left: [3]int{1, 2, 2}},
	})
	v, err = s.Series(t.Context(), noon.Add(-time.Hour), noon.Add(3*time.Hour), time.Hour, nil)
	ok(t, err)
	heard := 0
	for _, p := range v.Points {
		heard += p.Heard
	}
	same(t, heard, 5)
}

func heardIsNewestFirst(t *testing.T, open func() *Store) {
	s := open()
	for i := range 5 {
		says(t, s, follower, fmt.Sprint(i))
		enqueue1(t, s, hello(follower))
		says(t, s, "oOther", "other")
	}
	var got []string
	cursor := ""
	for {
		page, err := s.Heard(t.Context(), []string{account}, follower, cursor, 2)
		ok(t, err)
		for _, e := range page.Items {
			var d struct{ Push struct{ Content string } }
			ok(t, json.Unmarshal(e.Data, &d))
			got = append(got, d.Push.Content)
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	same(t, got, []string{"4", "3", "2", "1", "0"})
	page, err := s.Heard(t.Context(), []string{"wxother"}, "", "", 10)
	ok(t, err)
	same(t, len(page.Items), 0)
	_, err = s.Heard(t.Context(), nil, "", "x", 10)
	wants(t, err, ErrCursor)
}
