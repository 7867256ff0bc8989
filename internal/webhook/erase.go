package webhook

import (
	"context"
	"errors"
	"slices"

	"github.com/kefu-go/kefu/internal/store"
)

// An erasure must not be undone by a call that was begun before it: the call posts what
// was erased, its answer makes a new message, and what came of it is written down. So
// none is on its way meanwhile, and what was read ahead is looked at again afterwards.

// Quietly has a follower erased while nothing about them is posted: calls under way are
// waited for, and new ones begin when it is over, with what is there then.
func (h *Hub) Quietly(ctx context.Context, account, openid string, erase func() error) error {
	who := follower{account, openid}
	h.mu.Lock()
	h.erasing[who]++
	h.mu.Unlock()
	defer h.erased(who)
	for {
		h.mu.Lock()
		busy, left := h.calls[who] > 0, h.left
		h.mu.Unlock()
		if !busy {
			return erase()
		}
		select {
		case <-left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// erased lets calls about a follower begin again, when each line has dropped what is gone.
func (h *Hub) erased(who follower) {
	h.feed.forget()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.erasing[who]--; h.erasing[who] == 0 {
		delete(h.erasing, who)
	}
	for _, l := range h.lines {
		l.erased = append(l.erased, who)
		l.wakeSoon()
	}
}

// enter reports whether a line may begin a call about a follower, which leave ends.
func (h *Hub) enter(l *line, who follower) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.erasing[who] > 0 || slices.Contains(l.erased, who) {
		return false
	}
	h.calls[who]++
	return true
}

func (h *Hub) leave(who follower) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.calls[who]--; h.calls[who] == 0 {
		delete(h.calls, who)
	}
	if h.erasing[who] > 0 {
		close(h.left)
		h.left = make(chan struct{})
	}
}

// drop takes out of what was read ahead what was erased since.
func (l *line) drop() error {
	l.hub.mu.Lock()
	erased := slices.Clone(l.erased)
	l.hub.mu.Unlock()
	if len(erased) == 0 {
		return nil
	}
	for range len(l.results) { // what came of the calls that were waited for
		l.ended(<-l.results)
	}
	for _, j := range l.window {
		if j.done || j.flying || !slices.Contains(erased, j.whose()) {
			continue
		}
		if _, err := l.hub.Store.Entry(l.hub.ctx, j.entry.Cursor); errors.Is(err, store.ErrNotFound) {
			l.bytes -= len(j.entry.Data)
			j.done, j.entry.Data = true, nil
		} else if err != nil {
			return err
		}
	}
	l.trim()
	l.queue = slices.DeleteFunc(l.queue, func(d store.Delivery) bool { return slices.Contains(erased, follower{d.Account, d.OpenID}) })
	l.due = l.hub.Now() // what is there still
	for _, who := range erased {
		delete(l.held, who)
	}
	l.hub.mu.Lock()
	l.erased = l.erased[len(erased):]
	l.hub.mu.Unlock()
	return nil
}
