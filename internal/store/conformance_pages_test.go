package store

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// Few large lines fill a page, whatever its limit: it ends early, and its next loses none.
func largeLinesMakeShortPages(t *testing.T, open func() *Store) {
	s := open()
	const n, size = 9, 1 << 20
	long := strings.Repeat("x", size)
	for i := range n {
		enqueue1(t, s, hello(follower).with(func(d *Draft) {
			d.Message.Message = json.RawMessage(`{"touser":"oFollower","msgtype":"text","text":{"content":"` + long + `"}}`)
		}))
		_, err := s.Receive(t.Context(), noon, Callback{Entry: Entry{Account: account, OpenID: fmt.Sprint("o", i), Type: "follower.message", Data: json.RawMessage(`{"content":"` + long + `"}`)}})
		ok(t, err)
	}
	for _, tt := range []struct {
		name string
		list func(cursor string) (keys []string, bytes int, next string, err error)
		want int
	}{
		{"feed", func(cursor string) (keys []string, bytes int, next string, err error) {
			entries, next, err := s.Feed(t.Context(), cursor, largestPage, nil)
			for _, e := range entries {
				keys, bytes = append(keys, e.Cursor), bytes+len(e.Data)
			}
			if len(entries) == 0 {
				next = ""
			}
			return keys, bytes, next, err
		}, 2 * n},
		{"messages", func(cursor string) (keys []string, bytes int, next string, err error) {
			p, err := s.Messages(t.Context(), Filter{}, cursor, largestPage)
			for _, m := range p.Items {
				keys, bytes = append(keys, m.ID), bytes+len(m.Message.Message)
			}
			return keys, bytes, p.Next, err
		}, n},
		{"messages, oldest first", func(cursor string) (keys []string, bytes int, next string, err error) {
			p, err := s.OldestMessages(t.Context(), Filter{}, cursor, largestPage)
			for _, m := range p.Items {
				keys, bytes = append(keys, m.ID), bytes+len(m.Message.Message)
			}
			return keys, bytes, p.Next, err
		}, n},
		{"timeline", func(cursor string) (keys []string, bytes int, next string, err error) {
			p, err := s.Timeline(t.Context(), account, follower, cursor, largestPage)
			for _, l := range p.Items {
				keys, bytes = append(keys, l.Cursor), bytes+len(l.Data)+len(l.Message.Message.Message)
			}
			return keys, bytes, p.Next, err
		}, n},
		{"conversations", func(cursor string) (keys []string, bytes int, next string, err error) {
			p, err := s.Conversations(t.Context(), nil, cursor, largestPage)
			for _, c := range p.Items {
				keys, bytes = append(keys, c.OpenID), bytes+len(c.LastLine)
			}
			return keys, bytes, p.Next, err
		}, n + 1},
		{"heard", func(cursor string) (keys []string, bytes int, next string, err error) {
			p, err := s.Heard(t.Context(), nil, "", cursor, largestPage)
			for _, e := range p.Items {
				keys, bytes = append(keys, e.Cursor), bytes+len(e.Data)
			}
			return keys, bytes, p.Next, err
		}, n},
	} {
		seen, cursor := map[string]bool{}, ""
		for {
			keys, bytes, next, err := tt.list(cursor)
			ok(t, err)
			if bytes > 6<<20 {
				t.Errorf("%s: %d bytes on one page", tt.name, bytes)
			}
			for _, k := range keys {
				if seen[k] {
					t.Errorf("%s: %s twice", tt.name, k)
				}
				seen[k] = true
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		same(t, []any{tt.name, len(seen)}, []any{tt.name, tt.want})
	}
}
