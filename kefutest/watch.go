package kefutest

import (
	"fmt"
	"net/http"
	"time"
)

// An event is one change, for whoever watches. It says where to look, not what is
// there.
type event struct {
	Type    string `json:"type"` // chat, follower, clock, request, fault, account or state
	Account string `json:"account,omitempty"`
	OpenID  string `json:"openid,omitempty"`
}

// A watcher is one who reads /_sim/events.
type watcher struct{ events chan event }

const (
	mostWatchers = 32
	heartbeat    = 15 * time.Second
)

// tell sends an event to the watchers. One who does not keep up is cut off: it
// connects again and looks at everything. The caller holds mu.
func (p *platform) tell(e event) {
	for w := range p.watchers {
		select {
		case w.events <- e:
		default:
			delete(p.watchers, w)
			close(w.events)
		}
	}
}

// serveEvents streams events as they happen (SSE).
func (p *platform) serveEvents(w http.ResponseWriter, r *http.Request) error {
	stream := http.NewResponseController(w)
	me := &watcher{make(chan event, 1024)}
	p.mu.Lock()
	if len(p.watchers) >= mostWatchers {
		p.mu.Unlock()
		return &controlError{http.StatusServiceUnavailable, fmt.Sprintf("%d readers already", mostWatchers)}
	}
	p.watchers[me] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.watchers, me)
		p.mu.Unlock()
	}()

	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprint(w, "retry: 1000\n\n")
	if err := stream.Flush(); err != nil {
		return &controlError{http.StatusNotImplemented, "events need a connection; there is none in process"}
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case e, open := <-me.events:
			if !open {
				return nil
			}
			fmt.Fprintf(w, "data: %s\n\n", encode(e))
		case <-beat.C:
			fmt.Fprint(w, ": still here\n\n")
		case <-r.Context().Done():
			return nil
		case <-p.ctx.Done():
			return nil
		}
		answerSoon(w)
		if len(me.events) == 0 && stream.Flush() != nil {
			return nil
		}
	}
}
