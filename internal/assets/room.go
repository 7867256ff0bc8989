package assets

import (
	"context"
	"maps"
	"slices"
)

// An account's room for files is used by what was uploaded by hand, what followers
// sent, and what URLs in messages led to. The last can be had again, so it makes room.
const (
	fullFrom = 80 // percent of the room: from here on people are told
	roomFrom = 75 // down to which files make room, so that nobody is told of what passes by itself
)

// makeRoom has old files go when so many bytes more fill the room.
func (l *Library) makeRoom(ctx context.Context, account string, more int64) error {
	all, err := l.Store.AssetBytes(ctx)
	if err != nil || all[account]+more < l.Room*fullFrom/100 {
		return err
	}
	return l.Store.MakeRoom(ctx, l.Now(), account, max(0, l.Room*roomFrom/100-more))
}

// Notes says which accounts will soon have no room for files, for people.
func (l *Library) Notes(ctx context.Context, lang string) (notes []string) {
	l.setUp()
	all, err := l.Store.AssetBytes(ctx)
	if err != nil {
		return nil // the store says so itself
	}
	for _, account := range slices.Sorted(maps.Keys(all)) {
		if used := all[account]; used >= l.Room*fullFrom/100 {
			en, zh := textOfRoom(account, used, l.Room)
			if lang == "zh" {
				en = zh
			}
			notes = append(notes, en)
		}
	}
	return notes
}
