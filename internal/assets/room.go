package assets

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kefu-go/kefu/internal/bilingual"
	"github.com/kefu-go/kefu/internal/store"
)

// An account's room for files is used by what was uploaded by hand, what followers
// sent, and what URLs in messages led to. The last can be had again, so it makes room.
const (
	fullFrom = 80 // percent of the room: from here on people are told
	roomFrom = 75 // down to which files make room, so that nobody is told of what passes by itself
)

// makeRoom has old files go when so many bytes more fill the room.
func (l *Library) makeRoom(ctx context.Context, account string, more int64) error {
	l.rooms.change()
	all, err := l.Store.AssetTotals(ctx)
	if err != nil || all[account]+more < l.Room*fullFrom/100 {
		return err
	}
	return l.Store.MakeRoom(ctx, l.Now(), account, max(0, l.Room*roomFrom/100-more))
}

// Notes says which of some accounts (none: of all) will soon have no room for files, for
// people.
func (l *Library) Notes(ctx context.Context, lang string, accounts []string) (notes []string) {
	l.setUp()
	all := l.rooms.totals(ctx, l.Store)
	for _, account := range slices.Sorted(maps.Keys(all)) {
		if used := all[account]; used >= l.Room*fullFrom/100 && (len(accounts) == 0 || slices.Contains(accounts, account)) {
			en, zh := textOfRoom(account, used, l.Room)
			notes = append(notes, bilingual.In(lang, en, zh))
		}
	}
	return notes
}

// rooms are what was last read of how full the accounts' rooms are. The gateway's health
// is asked for often: it costs a read now and then, and waits for none for long.
type rooms struct {
	mu   sync.Mutex // guards all below
	last map[string]int64
	read time.Time
}

const (
	roomsFor  = 5 * time.Second
	roomsWait = time.Second
)

// change has them read anew when somebody asks next.
func (r *rooms) change() {
	r.mu.Lock()
	r.read = time.Time{}
	r.mu.Unlock()
}

func (r *rooms) totals(ctx context.Context, s *store.Store) map[string]int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.read) >= roomsFor {
		ctx, cancel := context.WithTimeout(ctx, roomsWait)
		defer cancel()
		if all, err := s.AssetTotals(ctx); err == nil { // else the store says so itself
			r.last = all
		}
		r.read = now
	}
	return r.last
}
