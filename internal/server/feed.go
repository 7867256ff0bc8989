package server

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// How many readers may follow the feed at once.
const (
	maxStreams    = 1024
	maxOwnStreams = 64 // with the same key, or as the same agent
)

// A reading is what a reader of the feed wants.
type reading struct {
	accounts []string // none: all
	openids  []string // none: all
	types    []string // none: all
	cursor   string   // where to go on
	begun    bool     // cursor is a place, also if it is ""
	limit    int
	beat     time.Duration
}

func (c *call) reading() (reading, error) {
	accounts, err := c.scope()
	limit, err2 := c.limit()
	q := c.query()
	r := reading{accounts: accounts, openids: q["openid"], types: q["type"], cursor: q.Get("cursor"), begun: q.Has("cursor"), limit: limit}
	if last := c.Header.Get("Last-Event-ID"); last != "" {
		r.cursor, r.begun = last, true
	}
	r.beat = c.s.Heartbeat
	if v := q.Get("beat"); v != "" {
		n, err3 := strconv.ParseFloat(v, 64)
		if err3 != nil || !(n >= 0.5 && n <= 60) {
			return r, invalid(gateway.InvalidRequest, wrong("query.beat", "must-range", 0.5, 60))
		}
		r.beat = time.Duration(n * float64(time.Second))
	}
	return r, errors.Join(err, err2)
}

// wants reports whether an entry is for this reader; the accounts were the store's
// to choose.
func (r reading) wants(e gateway.FeedEntry) bool {
	return (len(r.types) == 0 || slices.Contains(r.types, e.Type)) && (len(r.openids) == 0 || slices.Contains(r.openids, e.OpenID))
}

// page reads on from the cursor and moves it. It may be empty though there is more:
// then the cursor has moved.
func (s *Server) page(c *call, r *reading) (entries []gateway.FeedEntry, moved bool, err error) {
	entries, next, err := s.Store.Feed(c.Context(), r.cursor, r.limit, r.accounts)
	if err != nil {
		return nil, false, err
	}
	moved = next != r.cursor
	r.cursor = next
	entries = slices.DeleteFunc(entries, func(e gateway.FeedEntry) bool { return !r.wants(e) })
	for i := range entries {
		entries[i] = c.told(entries[i])
	}
	return entries, moved, nil
}

func (s *Server) getHead(c *call) (int, any, error) {
	head, err := s.Store.Head(c.Context())
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, gateway.Head{Next: head}, nil
}

func (s *Server) getEvents(c *call) (int, any, error) {
	r, err := c.reading()
	if err != nil {
		return 0, nil, err
	}
	if strings.Contains(c.Header.Get("Accept"), "text/event-stream") {
		return 0, nil, s.stream(c, r)
	}
	items, _, err := s.page(c, &r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, full(gateway.Page[gateway.FeedEntry]{Items: items, Next: r.cursor}), nil
}

// stream writes the feed as it grows, until the reader goes, is too slow for
// writeTime, or loses its key. What can be refused is refused before the first byte.
func (s *Server) stream(c *call, r reading) error {
	all, own := s.streams.Add(1), s.ownStreams.add(c.key.ID, 1)
	defer func() {
		s.streams.Add(-1)
		s.ownStreams.add(c.key.ID, -1)
	}()
	switch {
	case own > maxOwnStreams:
		return refuse(gateway.Overloaded).because("own-streams", maxOwnStreams)
	case all > maxStreams:
		return refuse(gateway.Overloaded).because("all-streams", maxStreams)
	}
	sure := time.Now() // when the key was last looked at
	var out bytes.Buffer
	if !r.begun {
		head, err := s.Store.Head(c.Context())
		if err != nil {
			return err
		}
		r.cursor = head
	}
	start := r.cursor
	changed := s.Store.Changed()
	entries, moved, err := s.page(c, &r)
	if s.has(err, gateway.CursorGone) {
		if r.cursor, err = s.Store.Head(c.Context()); err == nil {
			start = r.cursor
			data, _ := encode(gateway.Reset{Cursor: r.cursor})
			fmt.Fprintf(&out, "id: %s\nevent: reset\ndata: %s\n", r.cursor, data)
		}
	}
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no")               // nginx would keep entries back
	fmt.Fprintf(&out, ": kefu\nid: %s\n\n", start) // where to come back to, even before the first entry
	beat := time.NewTicker(r.beat)
	defer beat.Stop()
	who := s.whoIsThere(c, &out)
	jump := time.NewTicker(jumpEvery) // of a clock that may: the demo's
	defer jump.Stop()
	defer c.deadline((*http.ResponseController).SetWriteDeadline, writeTime) // of the end
	for c.Context().Err() == nil && s.closing.Err() == nil {
		if time.Since(sure) >= min(s.Heartbeat, r.beat*5) { // also of one that is behind, and never waits
			if _, err := c.findKey(c.Context()); s.has(err, gateway.Unauthorized) {
				return nil
			}
			sure = time.Now()
		}
		for _, e := range entries {
			data, err := encode(e)
			if err != nil {
				s.broken(c, err)
				return nil
			}
			fmt.Fprintf(&out, "id: %s\nevent: %s\ndata: %s\n", e.Cursor, e.Type, data)
		}
		c.deadline((*http.ResponseController).SetWriteDeadline, writeTime)
		if _, err := c.w.Write(out.Bytes()); err != nil {
			return nil
		}
		if http.NewResponseController(c.w).Flush() != nil {
			return nil
		}
		out.Reset()
		if !moved {
			select {
			case <-changed:
			case <-who.more:
				who.tell(&out)
			case <-jump.C:
				who.tellTime(&out, s.Now(), false)
			case <-beat.C:
				// The id moves the reader over entries that were not for it.
				fmt.Fprintf(&out, ": alive\nid: %s\n\n", r.cursor)
				who.tellTime(&out, s.Now(), true)
			case <-c.Context().Done():
			case <-s.closing.Done():
			}
		}
		changed = s.Store.Changed()
		if entries, moved, err = s.page(c, &r); err != nil {
			s.broken(c, err)
			return nil
		}
	}
	return nil
}

// A tally counts what is under way by whose it is.
type tally struct {
	mu sync.Mutex // guards of
	of map[string]int
}

// add counts n more of whose, and returns how many there are now.
func (t *tally) add(whose string, n int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil {
		t.of = map[string]int{}
	}
	if t.of[whose] += n; t.of[whose] == 0 {
		delete(t.of, whose)
		return 0
	}
	return t.of[whose]
}

// broken ends a stream that has begun: the reader comes back and learns why.
func (s *Server) broken(c *call, err error) {
	if c.Context().Err() == nil {
		s.Log.ErrorContext(c.Context(), "the feed broke off", "err", err)
	}
}
