package dispatch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/kefutest"
)

// Each submission of a call gets what it would have got alone: one that joins a message
// that is there, or is not due yet, takes no slot from those after it.
func TestEachOfACallStandsForItself(t *testing.T) {
	type change = func(*gateway.Submission)
	fail := func(s *gateway.Submission) { s.WhenClosed = gateway.Fail }
	keyed := func(key string) change {
		return func(s *gateway.Submission) { s.IdempotencyKey, s.Fingerprint = key, [32]byte{1} }
	}
	other := func(s *gateway.Submission) { s.Fingerprint = [32]byte{2} }
	tomorrow := func(s *gateway.Submission) { s.NotBefore = gateway.At(time.Now().Add(24 * time.Hour)) }
	bulk := func(s *gateway.Submission) { s.Priority = gateway.Bulk }
	retry := func(once bool) change {
		return func(s *gateway.Submission) { s.RetryOf, s.RetryOnce = "msg_00000000-0000-7000-8000-000000000001", once }
	}
	for _, tt := range []struct {
		name  string
		slots int      // that are left
		first []change // a call before, if any
		call  [][]change
		want  string // of each: new, joined, or the code of its refusal
	}{
		{"one slot, two messages", 1, nil, [][]change{{}, {}}, "new allowance-spent"},
		{"a replay of an earlier call's takes none", 1, []change{keyed("k")}, [][]change{{keyed("k")}, {}}, "joined allowance-spent"},
		{"two slots, one of which it has", 2, []change{keyed("k")}, [][]change{{keyed("k")}, {}}, "joined new"},
		{"that of a used key with other words is refused, and takes none", 2, []change{keyed("k")}, [][]change{{keyed("k"), other}, {}}, "idempotency-mismatch new"},
		{"twice in one call", 1, nil, [][]change{{keyed("k")}, {keyed("k")}}, "new joined"},
		{"twice in one call with other words", 1, nil, [][]change{{keyed("k")}, {keyed("k"), other}}, "new idempotency-mismatch"},
		{"three times, and another", 2, nil, [][]change{{keyed("k")}, {keyed("k")}, {}, {keyed("k")}, {}}, "new joined new joined allowance-spent"},
		{"tomorrow's takes none of today's", 1, nil, [][]change{{tomorrow}, {}}, "new new"},
		{"bulk lets others pass", 1, nil, [][]change{{bulk, func(s *gateway.Submission) { s.WhenClosed = gateway.Park }}, {}}, "new new"},
		{"the repeat of one that is repeated already", 1, []change{retry(false)}, [][]change{{retry(false)}}, "joined"},
		{"and what stands after it", 2, []change{retry(true)}, [][]change{{retry(true)}, {}}, "joined new"},
		{"two repeats of one in a call", 1, nil, [][]change{{retry(true)}, {retry(true)}}, "new joined"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, nil, func(r *rig) {
				r.wechat.Fail(kefutest.Fault{ErrCode: -1, Next: 100}) // nothing becomes final
				r.wechat.UserSends("oUser1")
				for i := range 5 - tt.slots {
					r.accept("oUser1", fmt.Sprint("before ", i))
				}
				if tt.first != nil {
					r.accept("oUser1", "hello", append(tt.first, fail)...)
				}
				var call []gateway.Submission
				for _, c := range tt.call {
					call = append(call, submission("oUser1", "hello", append([]change{fail}, c...)...))
				}
				got := ""
				for i, a := range r.d.Accept(r.t.Context(), call) {
					word := "new"
					var p *gateway.Problem
					switch {
					case asProblem(a.Err, &p):
						word = p.Code
					case a.Err != nil:
						r.t.Fatal(a.Err)
					case a.Replayed:
						word = "joined"
					}
					if i > 0 {
						got += " "
					}
					got += word
				}
				if got != tt.want {
					r.t.Errorf("%s, want %s", got, tt.want)
				}
			})
		})
	}
}
