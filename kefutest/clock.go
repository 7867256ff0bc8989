package kefutest

import (
	"context"
	"time"
)

// Now returns the simulator's time: the real one, moved by [WeChat.Advance]. Windows,
// tokens, media, quotas and CreateTime follow it.
func (w *WeChat) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now()
}

// Advance moves the simulator's clock forward by d, or back if d is negative. What
// would have happened in between happens now.
func (w *WeChat) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.jump(d)
}

// now is the simulator's time. The caller holds mu.
func (p *platform) now() time.Time { return time.Now().Add(p.offset) }

// jump moves the clock. The caller holds mu.
func (p *platform) jump(d time.Duration) {
	p.offset += d
	close(p.jumped)
	p.jumped = make(chan struct{})
	p.tell(event{Type: "clock"})
}

// at runs f, not under the lock, when the simulator's clock shows t or is moved past
// it, unless the WeChat is closed before. The caller holds mu.
func (p *platform) at(t time.Time, f func()) {
	if p.closed {
		return
	}
	p.running.Go(func() {
		for {
			p.mu.Lock()
			left, jumped := t.Sub(p.now()), p.jumped
			p.mu.Unlock()
			if left <= 0 {
				f()
				return
			}
			timer := time.NewTimer(left)
			select {
			case <-timer.C:
			case <-jumped:
			case <-p.ctx.Done():
				timer.Stop()
				return
			}
			timer.Stop()
		}
	})
}

// hold waits for d of real time, or until ctx or the WeChat ends.
func (p *platform) hold(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-p.ctx.Done():
	}
}
