package webhook

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// Readers who share what was read each see the whole feed, in order and once, wherever
// they begin and however it grows; the entries themselves are shared.
func TestReadersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "kefu.db"), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		account := gateway.Account{AppID: "wx1"}
		if err := s.PutAccount(t.Context(), time.Now(), account.WithDefaults()); err != nil {
			t.Fatal(err)
		}
		r := &reader{store: s}
		grow := func(from, to int) {
			for i := from; i < to; i++ {
				if err := s.Append(t.Context(), time.Now(), store.Entry{Account: "wx1", OpenID: "o", Type: "follower.message", Data: json.RawMessage(fmt.Sprint(i))}); err != nil {
					t.Error(err)
				}
			}
		}
		const all = 600
		var lines sync.WaitGroup
		for n := range 5 {
			lines.Go(func() {
				cursor, seen := "", 0
				for seen < all {
					changed := s.Changed()
					entries, next, err := r.after(t.Context(), cursor)
					if err != nil {
						t.Error(err)
						return
					}
					for _, e := range entries {
						if e.Type != "follower.message" {
							continue
						}
						if string(e.Data) != fmt.Sprint(seen) {
							t.Errorf("reader %d has %s for %d", n, e.Data, seen)
							return
						}
						seen++
					}
					if next == cursor {
						<-changed
						time.Sleep(time.Duration(n) * time.Millisecond)
					}
					cursor = next
				}
			})
		}
		grow(0, all)
		lines.Wait()
		a, _, _ := r.after(t.Context(), "")
		b, _, _ := r.after(t.Context(), "")
		if len(a) == 0 || &a[0] != &b[0] {
			t.Error("read twice")
		}
		time.Sleep(pageLife + time.Millisecond)
		if c, _, _ := r.after(t.Context(), ""); &a[0] == &c[0] || !slices.EqualFunc(a, c, func(a, c gateway.FeedEntry) bool { return a.Cursor == c.Cursor }) {
			t.Error("what is old was not read anew")
		}
		if _, err := s.Erase(t.Context(), time.Now(), "wx1", "o"); err != nil {
			t.Fatal(err)
		}
		r.forget()
		if d, _, _ := r.after(t.Context(), ""); len(d) > 0 {
			t.Errorf("%d entries of what was erased", len(d))
		}
	})
}
