package e2e

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/kefutest"
)

// fortyEightHours is what a program of ours might do in a test of its own: a
// follower writes, is answered, and is answered again 48 hours later, too late.
func fortyEightHours(ctx context.Context) (passed time.Duration, in, late error) {
	wechat := kefutest.New()
	defer wechat.Close()
	client := wechat.Client()
	hello := kefu.Message{To: "oUser1", Body: kefu.Text{Content: "您好"}}

	wechat.UserSends("oUser1", "在吗")
	began := time.Now()
	_, in = client.Send(ctx, hello)
	time.Sleep(48 * time.Hour)
	_, late = client.Send(ctx, hello)
	return time.Since(began), in, late
}

func TestFortyEightHours(t *testing.T) {
	began := time.Now()
	synctest.Test(t, func(t *testing.T) {
		passed, in, late := fortyEightHours(t.Context())
		if in != nil {
			t.Errorf("at once: %v", in)
		}
		if !errors.Is(late, kefu.ErrWindowClosed) {
			t.Errorf("48 hours later: %v, want %v", late, kefu.ErrWindowClosed)
		}
		if passed != 48*time.Hour {
			t.Errorf("%v passed, want 48h0m0s", passed)
		}
	})
	t.Logf("48 hours took %v of real time", time.Since(began)) // the benchmark measures it
}

// A nanosecond before, the window is open.
func TestTheLastNanosecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wechat := kefutest.New()
		defer wechat.Close()
		client := wechat.Client()
		wechat.UserSends("oUser1")
		time.Sleep(48*time.Hour - 1)
		if _, err := client.Send(t.Context(), kefu.Message{To: "oUser1", Body: kefu.Text{Content: "您好"}}); err != nil {
			t.Error(err)
		}
	})
}

// BenchmarkFortyEightHours is 48 hours with a WeChat of their own. It must stay
// under 50 ms.
func BenchmarkFortyEightHours(b *testing.B) {
	ran := false // RunTests repeats for -count, as go test has done already
	bubbles := func(t *testing.T) {
		if ran {
			return
		}
		ran = true
		for b.Loop() {
			synctest.Test(t, func(t *testing.T) {
				if _, _, late := fortyEightHours(t.Context()); !errors.Is(late, kefu.ErrWindowClosed) {
					t.Errorf("48 hours later: %v", late)
				}
			})
		}
	}
	// A bubble wants a *testing.T, which a benchmark has not.
	all := func(_, _ string) (bool, error) { return true, nil }
	if !testing.RunTests(all, []testing.InternalTest{{Name: b.Name(), F: bubbles}}) {
		b.Fail()
	}
}
