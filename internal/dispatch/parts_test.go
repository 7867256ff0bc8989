package dispatch_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

// inParts makes a submission a long text of n parts: p1 to pn.
func inParts(n int) func(*gateway.Submission) {
	return func(s *gateway.Submission) {
		var text strings.Builder
		for i := range n {
			part := fmt.Sprintf("p%d", i+1)
			s.Parts = append(s.Parts, [2]int{text.Len(), text.Len() + len(part)})
			text.WriteString(part + "\n")
		}
		s.Message = json.RawMessage(fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":%q}}`, s.OpenID, text.String()))
	}
}

func fail(s *gateway.Submission) { s.WhenClosed = gateway.Fail }

// wantParts says how a long text stands.
func (r *rig) wantParts(what, id string, state gateway.State, sent, of int) {
	r.t.Helper()
	r.want(what, id, state)
	if m := r.message(id); m.Parts != of || m.PartsSent != sent {
		r.t.Errorf("%s: %d of %d parts sent, want %d of %d", what, m.PartsSent, m.Parts, sent, of)
	}
}

func TestPartsGoInOrderAndNothingBetween(t *testing.T) {
	for _, priority := range []gateway.Priority{gateway.Normal, gateway.Bulk} {
		bubble(t, slow, func(r *rig) {
			r.wechat.UserSends("oUser1")
			id := r.accept("oUser1", "", inParts(4), func(s *gateway.Submission) { s.Priority = priority })
			settle()
			r.wantParts("the first has left", id, gateway.Queued, 1, 4)
			answer := r.accept("oUser1", "answer", human)
			if w, err := r.d.Window(r.t.Context(), appid, "oUser1"); err != nil || priority == gateway.Normal && *w.Remaining != 0 {
				t.Errorf("%+v, %v: the rest and the answer are queued", w.Remaining, err)
			}
			time.Sleep(15 * time.Second)
			r.stop()
			r.start() // goes on with the next part
			settle()
			time.Sleep(time.Minute)
			r.wantParts("all have left", id, gateway.Sent, 4, 4)
			r.want("behind it", answer, gateway.Sent)
			r.wantReceived(string(priority), "oUser1", "p1 p2 p3 p4 answer")
			attempts, err := r.store.Attempts(r.t.Context(), id)
			if err != nil || len(attempts) != 4 {
				t.Fatalf("%+v, %v", attempts, err)
			}
			for i, a := range attempts {
				if a.Part != i+1 || a.N != i+1 || a.Outcome != "sent" || a.PossibleDuplicate {
					t.Errorf("attempt %+v", a)
				}
			}
		})
	}
}

// The line of the issue: 4 parts with 3 left are refused or parked whole before the
// first leaves; 7 are refused, since no allowance holds them.
func TestPartsArePlanned(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		var p *gateway.Problem
		r.wechat.UserSends("oUser1")
		r.accept("oUser1", "1")
		r.accept("oUser1", "2")
		settle()
		if out := r.try("oUser1", "", inParts(4), fail); !asProblem(out.Err, &p) || p.Code != gateway.AllowanceSpent || p.ErrCode != 45047 {
			t.Errorf("4 parts with 3 left: %v", out.Err)
		}
		fits := r.accept("oUser1", "", inParts(3), fail, func(s *gateway.Submission) { s.NotBefore = gateway.At(time.Now().Add(time.Hour)) })
		parked := r.accept("oUser1", "", inParts(4))
		settle()
		r.wantParts("parked whole", parked, gateway.Parked, 0, 4)
		r.wantReceived("nothing of it has left", "oUser1", "1 2")
		if m := r.message(parked); m.Outcome == nil || m.Outcome.ErrCode != 45047 || m.Attempts != 0 {
			t.Errorf("%+v", m.Outcome)
		}
		short := r.accept("oUser1", "3")
		settle()
		r.want("what is parked blocks nobody", short, gateway.Sent)
		r.wechat.UserSends("oUser1")
		settle()
		r.wantParts("it may use kept slots", parked, gateway.Sent, 4, 4)
		r.wantReceived("whole", "oUser1", "1 2 3 p1 p2 p3 p4")
		time.Sleep(time.Hour)
		settle()
		r.wantParts("it found one slot at its turn, and failed whole", fits, gateway.Failed, 0, 3)

		r.wechat.UserSends("oUser2")
		if out := r.try("oUser2", "", inParts(7)); !asProblem(out.Err, &p) || p.Code != gateway.InvalidMessage || p.Errors[0].Limit != 5 || p.Errors[0].Actual != 7 {
			t.Errorf("7 parts: %v", out.Err)
		}
		if out := r.try("oUser2", "", inParts(7), func(s *gateway.Submission) { s.WhenClosed = gateway.Try }); !asProblem(out.Err, &p) || p.Code != gateway.InvalidMessage {
			t.Errorf("7 parts to be tried: %v", out.Err)
		}
		if out := r.try("oUser2", "", inParts(4), bulk); !asProblem(out.Err, &p) || p.Code != gateway.InvalidMessage || p.Errors[0].Limit != 3 {
			t.Errorf("4 parts of bulk, of which 2 are never free: %v", out.Err)
		}
		five := r.accept("oUser2", "", inParts(5))
		settle()
		r.wantParts("5 of 5", five, gateway.Sent, 5, 5)
		// A payment can't be waited for, but what it opened is there.
		if _, err := r.wechat.Does("oUser3", "pay", kefutest.Details{}); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.d.Trigger(r.t.Context(), appid, "oUser3", kefu.Payment, time.Now()); err != nil {
			t.Fatal(err)
		}
		seven := r.accept("oUser3", "", inParts(7))
		settle()
		r.wantParts("7 without limit", seven, gateway.Sent, 7, 7)
	})
}

// Several in one call see each other's parts.
func TestPartsCountInABatch(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		var subs []gateway.Submission
		for _, n := range []int{3, 3, 2} {
			s := gateway.Submission{Account: appid, OpenID: "oUser1", MsgType: "text", WhenClosed: gateway.Fail, OnUnknown: gateway.Hold, Priority: gateway.Normal, Source: gateway.FromAPI}
			inParts(n)(&s)
			subs = append(subs, s)
		}
		out := r.d.Accept(r.t.Context(), subs)
		var p *gateway.Problem
		if out[0].Err != nil || !asProblem(out[1].Err, &p) || p.Code != gateway.AllowanceSpent || out[2].Err != nil {
			t.Errorf("%v, %v, %v", out[0].Err, out[1].Err, out[2].Err)
		}
	})
}

// Long texts among the parked: the oldest first; one that finds too few slots stays,
// and those behind it pass.
func TestParkedPartsComeOut(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		time.Sleep(49 * time.Hour)
		r.accept("oUser1", "a")
		long := r.accept("oUser1", "", inParts(4))
		r.accept("oUser1", "b")
		settle()
		if _, err := r.wechat.Does("oUser1", "click", kefutest.Details{}); err != nil { // 3, of which 1 is kept
			t.Fatal(err)
		}
		settle()
		r.wantReceived("three are too few for it", "oUser1", "a b")
		r.wantParts("it waits for more", long, gateway.Parked, 0, 4)
		r.wechat.UserSends("oUser1")
		settle()
		r.wantReceived("five are enough", "oUser1", "a b p1 p2 p3 p4")
	})
}

// What is let out in the middle of a long text has a lower number, and waits all the
// same.
func TestNothingLetOutGoesBetweenParts(t *testing.T) {
	bubble(t, slow, func(r *rig) {
		r.wechat.UserSends("oUser1")
		time.Sleep(49 * time.Hour)
		older := r.accept("oUser1", "", inParts(4), func(s *gateway.Submission) {
			s.Message = json.RawMessage(strings.NewReplacer("p1", "o1", "p2", "o2", "p3", "o3", "p4", "o4").Replace(string(s.Message)))
		})
		settle()
		if _, err := r.wechat.Does("oUser1", "click", kefutest.Details{}); err != nil { // 3 are too few for it
			t.Fatal(err)
		}
		newer := r.accept("oUser1", "", inParts(3))
		settle()
		r.wantParts("begun", newer, gateway.Queued, 1, 3)
		r.wechat.UserSends("oUser1")
		time.Sleep(2 * time.Minute)
		r.wantParts("let out", older, gateway.Sent, 4, 4)
		r.wantReceived("one after the other", "oUser1", "p1 p2 p3 o1 o2 o3 o4")
	})
}

func TestAPartThatFails(t *testing.T) {
	second := func(f kefutest.Fault) kefutest.Fault { f.Every, f.Next = 2, 1; return f }
	t.Run("refused for good", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			r.wechat.UserSends("oUser1")
			r.wechat.Fail(second(kefutest.Fault{ErrCode: 43006}))
			id := r.accept("oUser1", "", inParts(4))
			behind := r.accept("oUser1", "behind")
			settle()
			r.wantParts("refused", id, gateway.Failed, 1, 4)
			r.want("blocks nobody", behind, gateway.Sent)
			r.wantReceived("no part after it leaves", "oUser1", "p1 behind")
		})
	})
	t.Run("tried again", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			r.wechat.UserSends("oUser1")
			r.wechat.Fail(second(kefutest.Fault{ErrCode: -1}))
			id := r.accept("oUser1", "", inParts(3))
			r.accept("oUser1", "behind")
			time.Sleep(time.Minute)
			r.wantParts("busy for a moment", id, gateway.Sent, 3, 3)
			r.wantReceived("in order", "oUser1", "p1 p2 p3 behind")
		})
	})
	t.Run("unknown", func(t *testing.T) {
		for _, as := range []gateway.State{gateway.Sent, gateway.Failed} {
			bubble(t, nil, func(r *rig) {
				r.wechat.UserSends("oUser1")
				r.wechat.Fail(second(kefutest.Fault{Drop: kefutest.DropReply}))
				id := r.accept("oUser1", "", inParts(4))
				settle()
				time.Sleep(time.Hour)
				r.wantParts("nobody can tell", id, gateway.Unknown, 1, 4)
				r.wantReceived("no part after it leaves", "oUser1", "p1 p2")
				sent := 1
				if as == gateway.Sent {
					sent = 2
				}
				for range 2 { // the second changes nothing
					if m, err := r.d.Resolve(r.t.Context(), id, as); err != nil || m.State != gateway.Failed || m.PartsSent != sent {
						t.Errorf("resolved as %s: %+v, %v", as, m, err)
					}
				}
				if w, err := r.d.Window(r.t.Context(), appid, "oUser1"); err != nil || *w.Remaining != 5-sent {
					t.Errorf("%+v left, %v; %d were used", *w.Remaining, err, sent)
				}
				time.Sleep(time.Hour)
				r.wantReceived("and never does", "oUser1", "p1 p2")
			})
		}
	})
	t.Run("the last one unknown, and resolved as sent", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			r.wechat.UserSends("oUser1")
			r.wechat.Fail(second(kefutest.Fault{Drop: kefutest.DropReply}))
			id := r.accept("oUser1", "", inParts(2))
			settle()
			if m, err := r.d.Resolve(r.t.Context(), id, gateway.Sent); err != nil || m.State != gateway.Sent || m.PartsSent != 2 {
				t.Errorf("%+v, %v", m, err)
			}
		})
	})
	t.Run("unknown, and resent", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			r.wechat.UserSends("oUser1")
			r.wechat.Fail(second(kefutest.Fault{Drop: kefutest.DropReply}))
			id := r.accept("oUser1", "", inParts(3), resend)
			behind := r.accept("oUser1", "behind")
			settle()
			r.wantParts("it waits", id, gateway.Unknown, 1, 3)
			r.want("and so does what is behind it", behind, gateway.Queued)
			time.Sleep(time.Minute)
			settle()
			r.wantParts("it goes on with that part", id, gateway.Sent, 3, 3)
			r.wantReceived("it alone arrives twice", "oUser1", "p1 p2 p2 p3 behind")
			if w, err := r.d.Window(r.t.Context(), appid, "oUser1"); err != nil || *w.Remaining != 0 {
				t.Errorf("%v left, %v: each attempt holds its slot", *w.Remaining, err)
			}
		})
	})
	t.Run("withheld in the middle: the rest is parked, and comes later", func(t *testing.T) {
		bubble(t, slow, func(r *rig) {
			r.wechat.UserSends("oUser1")
			id := r.accept("oUser1", "", inParts(4))
			settle()
			for range 3 { // another system sends to the same follower
				if _, err := r.wechat.Client().Send(r.t.Context(), kefu.Message{To: "oUser1", Body: kefu.Text{Content: "x"}}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			r.wantParts("45047", id, gateway.Parked, 2, 4)
			r.accept("oUser1", "later")
			r.wechat.UserSends("oUser1")
			time.Sleep(time.Minute)
			r.wantParts("the rest", id, gateway.Sent, 4, 4)
			r.wantReceived("each part once", "oUser1", "p1 x x x p2 p3 p4 later")
		})
	})
	t.Run("with fail it fails", func(t *testing.T) {
		bubble(t, slow, func(r *rig) {
			r.wechat.UserSends("oUser1")
			id := r.accept("oUser1", "", inParts(4), fail)
			settle()
			r.wechat.Unfollows("oUser1")
			time.Sleep(time.Minute)
			r.wantParts("closed in the middle", id, gateway.Failed, 1, 4)
		})
	})
	t.Run("canceled between parts", func(t *testing.T) {
		bubble(t, slow, func(r *rig) {
			r.wechat.UserSends("oUser1")
			id := r.accept("oUser1", "", inParts(4))
			settle()
			if m, err := r.d.Cancel(r.t.Context(), id); err != nil || m.State != gateway.Canceled || m.PartsSent != 1 {
				t.Errorf("%+v, %v", m, err)
			}
			time.Sleep(time.Minute)
			r.wantReceived("nothing more", "oUser1", "p1")
		})
	})
	t.Run("expired between parts", func(t *testing.T) {
		bubble(t, slow, func(r *rig) {
			r.wechat.UserSends("oUser1")
			id := r.accept("oUser1", "", inParts(4), func(s *gateway.Submission) { s.ExpiresAt = gateway.At(time.Now().Add(15 * time.Second)) })
			time.Sleep(time.Minute)
			r.wantParts("its time was over", id, gateway.Expired, 2, 4)
			r.wantReceived("nothing more", "oUser1", "p1 p2")
		})
	})
	t.Run("a crash in the middle of a part", func(t *testing.T) {
		bubble(t, slow, func(r *rig) {
			r.wechat.UserSends("oUser1")
			id := r.accept("oUser1", "", inParts(3))
			settle()
			r.crashIn(id)
			time.Sleep(time.Minute)
			r.wantParts("that part is unknown, and none follows", id, gateway.Unknown, 1, 3)
			r.wantReceived("no part is repeated", "oUser1", "p1")
		})
	})
	t.Run("a crash, and resent", func(t *testing.T) {
		bubble(t, slow, func(r *rig) {
			r.wechat.UserSends("oUser1")
			id := r.accept("oUser1", "", inParts(3), resend)
			settle()
			r.crashIn(id)
			time.Sleep(3 * time.Minute)
			r.wantParts("it went on", id, gateway.Sent, 3, 3)
			r.wantReceived("with that part", "oUser1", "p1 p2 p3")
		})
	})
}

// Nobody knows whether the follower's window is open: the first part finds out.
func TestPartsOfAnUnknownWindow(t *testing.T) {
	elsewhere := func(g *gateway.Account, _ *kefutest.Account) { g.Callbacks = "elsewhere" }
	bubble(t, elsewhere, func(r *rig) {
		r.wechat.UserSends("oUser1")
		id := r.accept("oUser1", "", inParts(4))
		settle()
		r.wantParts("it was open", id, gateway.Sent, 4, 4)
		r.wantReceived("in order", "oUser1", "p1 p2 p3 p4")
		closed := r.accept("oUser2", "", inParts(4))
		settle()
		r.wantParts("it was closed", closed, gateway.Parked, 0, 4)
	})
}

// A part is taken from what the message is, whatever it has.
func TestPartsKeepTheMessage(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.accept("oUser1", "", func(s *gateway.Submission) {
			s.Message = json.RawMessage(`{"touser":"oUser1","msgtype":"text","text":{"content":"<一>&二","x":1},"aimsgcontext":{"is_ai_msg":1},"later":[2]}`)
			s.Parts = [][2]int{{0, 5}, {5, 9}}
		})
		settle()
		want := []string{
			`{"touser":"oUser1","msgtype":"text","text":{"content":"<一>","x":1},"aimsgcontext":{"is_ai_msg":1},"later":[2]}`,
			`{"touser":"oUser1","msgtype":"text","text":{"content":"&二","x":1},"aimsgcontext":{"is_ai_msg":1},"later":[2]}`,
		}
		for i, s := range r.wechat.Sent("oUser1") {
			if got := string(s.Raw); got != want[i] {
				t.Errorf("%s, want %s", got, want[i])
			}
		}
	})
}

// A process may die between the two commits of a resend. That the first part may have
// arrived is known all the same, so that nothing goes between.
func TestPartsAfterACrashInAResend(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		time.Sleep(49 * time.Hour)
		for _, text := range []string{"a", "b", "c", "d"} {
			r.accept("oUser1", text)
		}
		settle()
		r.wechat.UserSends("oUser1") // "d" stays parked, two slots are kept
		settle()
		r.wechat.Fail(kefutest.DropReply)
		id := r.accept("oUser1", "", inParts(2), resend)
		settle()
		r.wantParts("the answer was lost", id, gateway.Unknown, 0, 2)
		if err := r.d.Pause(r.t.Context(), appid, "for the test"); err != nil {
			t.Fatal(err)
		}
		r.d.Stop()
		if err := r.store.Move(r.t.Context(), time.Now(), store.Move{Seq: r.message(id).Seq, From: gateway.Unknown, To: gateway.Queued}); err != nil {
			t.Fatal(err)
		}
		r.restart()
		r.wechat.UserSends("oUser1") // lets "d" out, which has a lower number
		settle()
		if err := r.d.Resume(r.t.Context(), appid); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		r.wantReceived("nothing between the parts", "oUser1", "a b c p1 p1 p2 d")
	})
}

// A long text that was parked after its first part goes on when another one is done that
// has begun since: nothing goes between that one's parts. A restart changes nothing.
func TestAnInterruptedTextGoesOnAfterTheOneThatHasBegun(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		bubble(t, slow, func(r *rig) {
			r.wechat.UserSends("oUser1")
			interrupted := r.accept("oUser1", "", inParts(2))
			settle()
			r.wechat.Fail(kefutest.Fault{ErrCode: 45015})
			time.Sleep(time.Minute)
			r.wantParts("refused between its parts", interrupted, gateway.Parked, 1, 2)
			asks := r.accept("oUser1", "", inParts(3), func(s *gateway.Submission) {
				s.WhenClosed = gateway.Try
				s.Message = json.RawMessage(strings.ReplaceAll(strings.ReplaceAll(string(s.Message), "p1", "q1"), "p2", "q2"))
			})
			settle()
			r.wantParts("it was not closed", asks, gateway.Queued, 1, 3)
			r.wantParts("let out by that", interrupted, gateway.Queued, 1, 2)
			if restarted {
				r.stop()
				r.start()
			}
			time.Sleep(2 * time.Minute)
			r.wantReceived("one after the other", "oUser1", "p1 q1 q2 p3 p2")
			r.wantParts("whole", interrupted, gateway.Sent, 2, 2)
		})
	}
}
