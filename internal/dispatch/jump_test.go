package dispatch_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

// Reliability, row 7: the gateway's clock jumps an hour ahead and back while messages
// wait, retry and are sent; WeChat's does not. Nothing is lost or sent twice, all ends,
// each follower has theirs in order, and neither WeChat nor the disk is asked in a hurry.
func TestClockJumps(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { jump(t, seed) })
		})
	}
}

func jump(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 9))
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	g := newRig(t, nil)
	restart := func() {
		g.d.Stop()
		way := &http.Client{Transport: g.wechat.Transport()}
		d, err := dispatch.Start(t.Context(), dispatch.Config{
			Store: g.store, Now: now, HTTP: way, Log: slog.New(slog.DiscardHandler),
			Tokens: func(a gateway.Account) kefu.TokenSource {
				return kefu.CachedToken(kefu.StableToken{AppID: a.AppID, Secret: a.Secret, HTTP: way})
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		g.d = d
	}
	restart()
	defer g.close()
	ids, mend := map[string]string{}, func() {}
	for i := range 60 {
		openid := fmt.Sprintf("oUser%d", i%4)
		switch r.IntN(6) {
		case 0:
			ahead.Store(int64([]time.Duration{-time.Hour, 0, time.Hour}[r.IntN(3)]))
		case 1:
			g.wechat.UserSends(openid)
		case 2:
			mend()
			mend = g.wechat.Fail(kefutest.Fault{ErrCode: -1, Next: 1})
		case 3:
			restart()
		}
		text := fmt.Sprintf("%02d", i)
		ids[text] = g.accept(openid, text, func(s *gateway.Submission) {
			s.IdempotencyKey = text
			if r.IntN(4) == 0 {
				s.NotBefore = gateway.At(now().Add(time.Minute))
			}
		})
		time.Sleep(time.Duration(r.IntN(20)) * time.Second)
	}
	ahead.Store(int64([]time.Duration{-time.Hour, time.Hour}[seed%2]))
	before, at := len(g.wechat.Requests()), commits(t, g.store)
	time.Sleep(10 * time.Minute)
	if posts := len(g.wechat.Requests()) - before; posts > 120 {
		t.Errorf("%d calls of WeChat in ten minutes after a jump", posts)
	}
	if lines := commits(t, g.store) - at; lines > 600 {
		t.Errorf("%d lines of the feed in ten minutes after a jump", lines)
	}
	for range 20 { // as often as it takes: five may be sent for each time that somebody writes
		for i := range 4 {
			g.wechat.UserSends(fmt.Sprintf("oUser%d", i))
		}
		time.Sleep(15 * time.Minute)
	}
	synctest.Wait()
	arrived := map[string]int{}
	for _, sent := range g.wechat.Sent() {
		arrived[sent.Message.Body.(kefu.Text).Content]++
	}
	parked, number := wereParked(t, g.store), map[string]int64{}
	for text, id := range ids {
		m, err := g.store.Message(context.Background(), id)
		if err != nil || m.State != gateway.Sent || arrived[text] != 1 {
			t.Errorf("%s is %s (%+v, %v) and arrived %d times", text, m.State, m.Outcome, err, arrived[text])
		}
		number[text] = m.Number
	}
	// In the order of their numbers: those that were never parked, and those that were.
	last := map[string]string{}
	for _, sent := range g.wechat.Sent() {
		text := sent.Message.Body.(kefu.Text).Content
		line := fmt.Sprint(sent.OpenID, parked[ids[text]])
		if before := last[line]; before != "" && number[before] > number[text] {
			t.Errorf("%s: %s (%d) came after %s (%d); parked: %v", sent.OpenID, text, number[text], before, number[before], parked[ids[text]])
		}
		last[line] = text
	}
	if len(last) < 6 {
		t.Errorf("too little was parked, or too much: %v", last)
	}
}

// wereParked are the ids of the messages that ever were.
func wereParked(t *testing.T, s *store.Store) map[string]bool {
	t.Helper()
	parked := map[string]bool{}
	for cursor := ""; ; {
		entries, next, err := s.Feed(context.Background(), cursor, 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Type == "message.parked" {
				var data struct {
					ID string `json:"id"`
				}
				if err := json.Unmarshal(e.Data, &data); err != nil {
					t.Fatal(err)
				}
				parked[data.ID] = true
			}
		}
		if len(entries) == 0 {
			return parked
		}
		cursor = next
	}
}

// commits is how many lines the feed has.
func commits(t *testing.T, s *store.Store) (lines int) {
	t.Helper()
	for cursor := ""; ; {
		entries, next, err := s.Feed(context.Background(), cursor, 1000, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			return lines
		}
		lines, cursor = lines+len(entries), next
	}
}
