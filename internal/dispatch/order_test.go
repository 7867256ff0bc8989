package dispatch_test

import (
	"slices"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

func bulk(s *gateway.Submission)   { s.Priority = gateway.Bulk }
func human(s *gateway.Submission)  { s.Priority = gateway.Human }
func resend(s *gateway.Submission) { s.OnUnknown = gateway.Resend }

// slow lets an account send one message each ten seconds, and keeps no slot.
func slow(g *gateway.Account, _ *kefutest.Account) {
	none := 0
	g.Rate, g.KeepFree = 0.1, &none
}

// patient puts a busy answer off for long, so that others have the time to pass.
func patient(g *gateway.Account, _ *kefutest.Account) {
	g.Tries = map[kefu.Class]gateway.Tries{kefu.ErrBusy: {Tries: 3, First: 1e6, Most: 1e6}}
	g.ExpiresAfter = 1e7
}

func (r *rig) wantReceived(what, openid, texts string) {
	r.t.Helper()
	if got := r.received(openid); got != texts {
		r.t.Errorf("%s: received %q, want %q", what, got, texts)
	}
}

func (r *rig) message(id string) store.Message {
	r.t.Helper()
	m, err := r.store.Message(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func TestBulkWaitsForTheOthers(t *testing.T) {
	bubble(t, slow, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.accept("oUser1", "first", bulk)
		settle()
		r.accept("oUser1", "b1", bulk)
		r.accept("oUser1", "b2", bulk)
		r.accept("oUser1", "n", func(*gateway.Submission) {})
		r.accept("oUser1", "h", human)
		time.Sleep(time.Minute)
		r.wantReceived("human and normal do not overtake each other, bulk is last", "oUser1", "first n h b1 b2")
	})
}

func TestBulkTakesNoKeptSlot(t *testing.T) {
	bubble(t, nil, func(r *rig) {
		r.wechat.UserSends("oUser1")
		var ids []string
		for _, text := range []string{"1", "2", "3", "4", "5"} {
			ids = append(ids, r.accept("oUser1", text, bulk))
		}
		settle()
		r.wantReceived("two of five are kept", "oUser1", "1 2 3")
		r.want("kept", ids[3], gateway.Parked)
		if spent := r.try("oUser1", "x", bulk, func(s *gateway.Submission) { s.WhenClosed = gateway.Fail }); spent.Err == nil {
			t.Error("bulk was let in for a kept slot")
		}
		live := r.accept("oUser1", "live", human)
		settle()
		r.want("a live answer takes one", live, gateway.Sent)
		r.wechat.UserSends("oUser1")
		settle()
		r.wantReceived("the rest goes when there are others", "oUser1", "1 2 3 live 4 5")
	})
}

func TestHumanBeforeNormalBeforeBulkAcrossFollowers(t *testing.T) {
	bubble(t, slow, func(r *rig) {
		var order []string
		for _, openid := range []string{"oUser0", "oUser1", "oUser2", "oUser3"} {
			r.wechat.UserSends(openid)
		}
		r.accept("oUser0", "uses the rate up")
		settle()
		r.accept("oUser1", "x", bulk)
		r.accept("oUser2", "x")
		r.accept("oUser3", "x", human)
		time.Sleep(time.Minute)
		for _, s := range r.wechat.Sent() {
			order = append(order, s.Message.To)
		}
		if len(order) != 4 || order[1] != "oUser3" || order[2] != "oUser2" || order[3] != "oUser1" {
			t.Error(order)
		}
	})
}

// What is let out, or let in at its moment, goes by its own priority: it does not wait
// behind the normal messages of others as if it were bulk.
func TestLetOutAndLetInByTheirPriority(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Rate = 1 }, func(r *rig) {
			r.wechat.UserSends("oOut")
			time.Sleep(49 * time.Hour)
			out := r.accept("oOut", "out", human)
			r.wechat.UserSends("oIn")
			moment := gateway.At(time.Now().Add(5 * time.Second))
			in := r.accept("oIn", "in", human, func(s *gateway.Submission) { s.NotBefore = moment })
			behind := r.accept("oIn", "behind", bulk, func(s *gateway.Submission) { s.NotBefore = moment })
			settle()
			r.want("its window is over", out, gateway.Parked)
			if restarted {
				if err := r.d.Pause(r.t.Context(), appid, "for the test"); err != nil {
					t.Fatal(err)
				}
			}
			r.many(60, 1)
			r.wechat.Clicks("oOut", "k")
			if restarted { // what was let out and what is due are found at the start
				time.Sleep(6 * time.Second)
				r.restart()
				if err := r.d.Resume(r.t.Context(), appid); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(12 * time.Second)
			r.want("let out", out, gateway.Sent)
			r.want("let in", in, gateway.Sent)
			r.want("let in with it, but bulk", behind, gateway.Queued)
			time.Sleep(2 * time.Minute)
			r.want("in the end", behind, gateway.Sent)
		})
	}
}

// The rate of an account does not change whose turn it is: who finds it used up keeps the
// place in line.
func TestTheRateKeepsTheLine(t *testing.T) {
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.Rate = 1 }, func(r *rig) {
		r.many(30, 1)
		time.Sleep(time.Minute)
		var order []string
		for _, s := range r.wechat.Sent() {
			order = append(order, s.Message.To)
		}
		if len(order) != 30 || !slices.IsSorted(order) {
			t.Error(order)
		}
	})
}

// A retry blocks its own group; one of human or normal bulk, too; one of bulk nobody.
func TestWhatARetryBlocks(t *testing.T) {
	for _, tt := range []struct {
		name  string
		first func(*gateway.Submission)
		want  string // received while the first waits
		all   string
	}{
		{"of normal", func(*gateway.Submission) {}, "", "first n h b"},
		{"of human", human, "", "first n h b"},
		{"of bulk", bulk, "n h", "n h first b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(g *gateway.Account, a *kefutest.Account) {
				patient(g, a)
				none := 0
				g.KeepFree = &none
			}, func(r *rig) {
				r.wechat.UserSends("oUser1")
				r.wechat.Fail(kefutest.ErrCode(-1))
				id := r.accept("oUser1", "first", tt.first)
				settle()
				r.accept("oUser1", "b", bulk)
				r.accept("oUser1", "n")
				r.accept("oUser1", "h", human)
				settle()
				if m := r.message(id); m.RetryAt == nil || m.RetryAt.Before(time.Now()) {
					t.Skip("the pause, a random one of up to twelve days, was that short")
				}
				r.wantReceived("while it waits", "oUser1", tt.want)
				r.stop()
				r.start()
				settle()
				r.wantReceived("after a restart", "oUser1", tt.want)
				for r.state(id) == gateway.Queued {
					r.wechat.UserSends("oUser1") // or the window would close
					time.Sleep(40 * time.Hour)
				}
				settle()
				r.wantReceived("then", "oUser1", tt.all)
			})
		})
	}
}

// The one resend of a message whose answer was lost.
func TestResend(t *testing.T) {
	lost := func(r *rig, change ...func(*gateway.Submission)) string {
		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.DropReply)
		id := r.accept("oUser1", "lost", append(change, resend)...)
		settle()
		r.want("the answer was lost", id, gateway.Unknown)
		if m := r.message(id); m.RetryAt == nil || m.PossibleDuplicate {
			r.t.Errorf("it is to be resent: %+v", m.Message)
		}
		return id
	}
	t.Run("once, in 30 to 60 s, marked", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			id := lost(r)
			time.Sleep(29 * time.Second)
			r.want("not before 30 s", id, gateway.Unknown)
			r.wantReceived("not before 30 s", "oUser1", "lost")
			time.Sleep(31 * time.Second)
			r.want("after 60 s", id, gateway.Sent)
			r.wantReceived("it arrives twice", "oUser1", "lost lost")
			if m := r.message(id); !m.PossibleDuplicate || m.Attempts != 2 {
				t.Errorf("%+v", m.Message)
			}
			if w, err := r.d.Window(r.t.Context(), appid, "oUser1"); err != nil || *w.Remaining != 3 {
				t.Errorf("%+v, %v: both hold a slot", w.Remaining, err)
			}
		})
	})
	t.Run("not a second time", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			id := lost(r)
			r.wechat.Fail(kefutest.DropReply)
			time.Sleep(time.Hour)
			r.want("unknown again", id, gateway.Unknown)
			r.stop()
			r.start()
			time.Sleep(time.Hour)
			r.want("for good", id, gateway.Unknown)
			r.wantReceived("twice, not three times", "oUser1", "lost lost")
		})
	})
	unheard := kefutest.Fault{Drop: kefutest.DropReply, Next: 1}
	for _, tt := range []struct {
		name   string
		second kefutest.Fault // what becomes of the second attempt
		then   func(*rig)     // before it is resolved
		as     gateway.State  // by hand; "": nobody resolves it
		left   int            // of 5
	}{
		{"sent: both hold a slot", kefutest.Fault{}, nil, "", 3},
		{"refused: the first holds one", kefutest.Fault{ErrCode: 40003, Next: 1}, nil, "", 4},
		{"unknown: both hold one", unheard, nil, "", 3},
		{"unknown, resolved as sent: both hold one", unheard, nil, gateway.Sent, 3},
		{"unknown, resolved as not received: both give it back", unheard, nil, gateway.Failed, 5},
		{"the same after a restart", unheard, func(r *rig) { r.stop(); r.start() }, gateway.Failed, 5},
		{"the same after others have come and gone", unheard, func(r *rig) { r.accept("oUser1", "more"); settle() }, gateway.Failed, 4},
		{"the follower wrote meanwhile: nothing to give back to", unheard, func(r *rig) {
			r.wechat.UserSends("oUser1")
			r.accept("oUser1", "more")
			settle()
		}, gateway.Failed, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				id := lost(r)
				if tt.second.Next > 0 {
					r.wechat.Fail(tt.second)
				}
				time.Sleep(2 * time.Minute)
				if m := r.message(id); m.Attempts != 2 {
					t.Fatalf("%+v", m.Message)
				}
				if tt.then != nil {
					tt.then(r)
				}
				if tt.as != "" {
					if m, err := r.d.Resolve(r.t.Context(), id, tt.as); err != nil || m.State != tt.as {
						t.Errorf("%+v, %v", m, err)
					}
				}
				if w, err := r.d.Window(r.t.Context(), appid, "oUser1"); err != nil || *w.Remaining != tt.left {
					t.Errorf("%+v, %v: want %d", *w.Remaining, err, tt.left)
				}
			})
		})
	}
	t.Run("survives a restart", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			id := lost(r)
			r.stop()
			time.Sleep(5 * time.Second)
			r.start()
			time.Sleep(time.Minute)
			r.want("after the restart", id, gateway.Sent)
			r.wantReceived("once", "oUser1", "lost lost")
		})
	})
	t.Run("after a crash in the middle of a post", func(t *testing.T) {
		bubble(t, slow, func(r *rig) {
			r.wechat.UserSends("oUser1")
			r.accept("oUser1", "uses the rate up")
			settle()
			id := r.accept("oUser1", "begun", resend)
			r.crashIn(id)
			r.want("nobody can tell", id, gateway.Unknown)
			time.Sleep(2 * time.Minute)
			r.want("resent", id, gateway.Sent)
			r.wantReceived("once", "oUser1", "uses the rate up begun")
		})
	})
	t.Run("not into a closed window", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			id := lost(r)
			r.wechat.Unfollows("oUser1")
			posts := len(r.wechat.Requests())
			time.Sleep(time.Hour)
			r.want("stays unknown", id, gateway.Unknown)
			if m := r.message(id); m.RetryAt != nil || m.PossibleDuplicate || len(r.wechat.Requests()) != posts {
				t.Errorf("%+v, %d posts", m.Message, len(r.wechat.Requests())-posts)
			}
			r.wechat.UserSends("oUser1")
			time.Sleep(time.Hour)
			r.want("and is not resent later", id, gateway.Unknown)
		})
	})
	t.Run("not without a free slot", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			r.wechat.UserSends("oUser1")
			for range 4 {
				r.accept("oUser1", "x")
			}
			settle()
			r.wechat.Fail(kefutest.DropReply)
			id := r.accept("oUser1", "lost", resend)
			time.Sleep(time.Hour)
			r.want("stays unknown", id, gateway.Unknown)
			r.wantReceived("five", "oUser1", "x x x x lost")
		})
	})
	t.Run("not after its expiry", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			id := lost(r, func(s *gateway.Submission) { s.ExpiresAt = gateway.At(time.Now().Add(20 * time.Second)) })
			time.Sleep(time.Hour)
			r.want("stays unknown: it has left", id, gateway.Unknown)
			r.wantReceived("once", "oUser1", "lost")
		})
	})
	t.Run("a cancel calls it off", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			id := lost(r)
			behind := r.accept("oUser1", "behind")
			if m, err := r.d.Cancel(r.t.Context(), id); err != nil || m.State != gateway.Unknown || m.RetryAt != nil {
				t.Errorf("%+v, %v", m, err)
			}
			settle()
			r.want("nothing waits for it any more", behind, gateway.Sent)
			var p *gateway.Problem
			if _, err := r.d.Cancel(r.t.Context(), id); !asProblem(err, &p) || p.Code != gateway.NotCancelable {
				t.Errorf("there is nothing left to call off: %v", err)
			}
			time.Sleep(time.Hour)
			r.want("stays unknown", id, gateway.Unknown)
			r.wantReceived("once", "oUser1", "lost behind")
		})
	})
	t.Run("resolved while it waits", func(t *testing.T) {
		bubble(t, nil, func(r *rig) {
			id := lost(r)
			if m, err := r.d.Resolve(r.t.Context(), id, gateway.Sent); err != nil || m.State != gateway.Sent {
				t.Errorf("%+v, %v", m, err)
			}
			time.Sleep(time.Hour)
			r.wantReceived("once", "oUser1", "lost")
		})
	})
	t.Run("the wait blocks its own group and bulk", func(t *testing.T) {
		bubble(t, func(g *gateway.Account, _ *kefutest.Account) { none := 0; g.KeepFree = &none }, func(r *rig) {
			lost(r)
			r.accept("oUser1", "b", bulk)
			r.accept("oUser1", "h", human)
			time.Sleep(20 * time.Second)
			r.wantReceived("while it waits", "oUser1", "lost")
			time.Sleep(time.Minute)
			r.wantReceived("then", "oUser1", "lost lost h b")
		})
	})
	t.Run("the wait of bulk blocks bulk alone", func(t *testing.T) {
		bubble(t, func(g *gateway.Account, _ *kefutest.Account) { none := 0; g.KeepFree = &none }, func(r *rig) {
			lost(r, bulk)
			r.accept("oUser1", "b", bulk)
			r.accept("oUser1", "h", human)
			time.Sleep(20 * time.Second)
			r.wantReceived("while it waits", "oUser1", "lost h")
			time.Sleep(time.Minute)
			r.wantReceived("then", "oUser1", "lost h lost b")
		})
	})
}

// crashIn is a crash in the middle of a post of a message that is queued.
func (r *rig) crashIn(id string) {
	r.t.Helper()
	r.stop()
	s, err := store.Open(r.t.Context(), r.path, store.Options{SecretKey: "0123456789abcdef0123456789abcdef"})
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := s.Message(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := s.Begin(r.t.Context(), time.Now(), store.Begin{Seq: m.Seq, Attempt: m.Attempts + 1}); err != nil {
		r.t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.start()
}

// An expiry ends what waits for its retry, and what is parked; what is withheld
// from both times counts from the later one.
func TestDeadlinesAcrossWaits(t *testing.T) {
	bubble(t, patient, func(r *rig) {
		r.wechat.UserSends("oUser1")
		r.wechat.Fail(kefutest.Fault{ErrCode: -1, To: "oUser1"})
		soon := func(s *gateway.Submission) { s.ExpiresAt = gateway.At(time.Now().Add(time.Minute)) }
		retrying := r.accept("oUser1", "busy", soon)
		behind := r.accept("oUser1", "behind")
		parked := r.accept("oUser2", "parked", soon)
		settle()
		r.want("it waits for its retry", retrying, gateway.Queued)
		r.want("it waits for its follower", parked, gateway.Parked)
		time.Sleep(time.Minute)
		settle()
		r.want("its time is over", retrying, gateway.Expired)
		r.want("its time is over", parked, gateway.Expired)
		r.want("and it blocks nobody", behind, gateway.Sent)
	})
	bubble(t, func(g *gateway.Account, _ *kefutest.Account) { g.ExpiresAfter = 3600 }, func(r *rig) {
		notBefore := gateway.At(time.Now().Add(2 * time.Hour))
		at := r.accept("oUser1", "x", func(s *gateway.Submission) { s.NotBefore = notBefore })
		if m := r.message(at); !m.ExpiresAt.Equal(notBefore.Add(time.Hour)) {
			t.Errorf("expires %v after not_before", m.ExpiresAt.Sub(notBefore.Time))
		}
		time.Sleep(2*time.Hour + 59*time.Minute)
		r.want("an hour from not_before", at, gateway.Parked)
		time.Sleep(2 * time.Minute)
		r.want("is over", at, gateway.Expired)
	})
}
