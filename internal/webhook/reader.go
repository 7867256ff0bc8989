package webhook

import (
	"context"
	"sync"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// A reader reads the feed for all lines: those that stand at the same place share one
// read, and none asks the store whether a feed has grown that has not. A page stays what
// it was when it was read: a prefix of what comes after its place.
type reader struct {
	store *store.Store

	mu    sync.Mutex // guards what follows; held while the store is asked, so that others find the page
	pages []page     // the latest last
	end   string     // nothing came after it, when it was asked
	ends  <-chan struct{}
}

type page struct {
	after, next string
	entries     []gateway.FeedEntry
	readAt      time.Time
}

const (
	mostPages = 16
	pageLife  = time.Second
	mostBytes = 256 << 10 // of a page that is kept
)

// forget has what was erased no longer handed out.
func (r *reader) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pages = nil
}

// after is store.Feed for all accounts, at most a slice of it. The entries are shared:
// they must not be changed.
func (r *reader) after(ctx context.Context, cursor string) (entries []gateway.FeedEntry, next string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for len(r.pages) > 0 && (len(r.pages) > mostPages || now.Sub(r.pages[0].readAt) > pageLife) {
		r.pages[0] = page{}
		r.pages = r.pages[1:]
	}
	for _, p := range r.pages {
		if p.after == cursor {
			return p.entries, p.next, nil
		}
	}
	if r.ends != nil && r.end == cursor {
		select {
		case <-r.ends:
		default:
			return nil, cursor, nil
		}
	}
	changed := r.store.Changed()
	entries, next, err = r.store.Feed(ctx, cursor, slice, nil)
	if err != nil {
		return nil, "", err
	}
	if next == cursor {
		r.end, r.ends = cursor, changed
		return nil, cursor, nil
	}
	size := 0
	for _, e := range entries {
		size += len(e.Data)
	}
	if size <= mostBytes {
		r.pages = append(r.pages, page{cursor, next, entries, now})
	}
	return entries, next, nil
}
