package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// A Filter selects messages; zero fields select all.
type Filter struct {
	Accounts []string // those that the caller may see; none: all
	OpenID   string
	State    gateway.State
	ErrCode  int
	From, To time.Time         // accepted in [From, To)
	Metadata map[string]string // members of metadata, texts as they are, other values as their JSON
}

// matches holds a message, as it is now, against the filter.
func (f Filter) matches(m Message) bool {
	if len(f.Accounts) > 0 && !slices.Contains(f.Accounts, m.Account) ||
		f.OpenID != "" && m.OpenID != f.OpenID ||
		f.State != "" && m.State != f.State ||
		f.ErrCode != 0 && (m.Outcome == nil || m.Outcome.ErrCode != f.ErrCode) ||
		!f.From.IsZero() && m.AcceptedAt.Before(f.From) ||
		!f.To.IsZero() && !m.AcceptedAt.Before(f.To) {
		return false
	}
	if len(f.Metadata) == 0 {
		return true
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(m.Metadata, &members) != nil {
		return false
	}
	for name, want := range f.Metadata {
		value, ok := members[name]
		if !ok {
			return false
		}
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		if text != want {
			return false
		}
	}
	return true
}

// candidates chooses the index by which a list is read: it gives the seqs beyond $1
// in the list's order, of which the filter then looks at each message.
func (f Filter) candidates(o order) (q string, args []any) {
	switch {
	case f.OpenID != "":
		q, args = `SELECT s.cursor FROM said s JOIN conversations c ON c.id = s.conversation JOIN listing l ON l.seq = s.cursor
			WHERE s.cursor %s $1 AND c.openid = $3 ORDER BY s.cursor %s LIMIT $2`, []any{f.OpenID}
	case f.ErrCode != 0:
		q, args = `SELECT seq FROM listing WHERE seq %s $1 AND errcode = $3 AND errcode <> 0 ORDER BY seq %s LIMIT $2`, []any{f.ErrCode}
	case f.State != "" && f.State != gateway.Sent:
		q, args = `SELECT seq FROM listing WHERE seq %s $1 AND state = $3 AND state <> 'sent' ORDER BY seq %s LIMIT $2`, []any{string(f.State)}
	case len(f.Accounts) == 1:
		q, args = `SELECT seq FROM listing WHERE seq %s $1 AND account = $3 ORDER BY seq %s LIMIT $2`, []any{f.Accounts[0]}
	default:
		q = `SELECT seq FROM listing WHERE seq %s $1 ORDER BY seq %s LIMIT $2`
	}
	return fmt.Sprintf(q, o.beyond, o.by), args
}

// An order is that of a list, as SQL says it.
type order struct{ beyond, by string }

var (
	newestFirst = order{"<", "DESC"}
	oldestFirst = order{">", "ASC"}
)

const (
	largestPage = 1000
	mostLooked  = 4000 // rows that one call for a page looks at
)

// Messages lists messages, newest first, at most limit (1 to 1,000). Cursor is ""
// or the Next of the page before. A page may be short, even empty, and still have
// a Next: each call looks at a bounded number of messages.
func (s *Store) Messages(ctx context.Context, f Filter, cursor string, limit int) (gateway.Page[Message], error) {
	below, err := parseCursor(cursor, newest)
	if err != nil {
		return gateway.Page[Message]{Items: []Message{}}, err
	}
	page, at, err := s.list(ctx, f, newestFirst, below, newest, limit)
	if at >= 0 {
		page.Next = formatCursor(at)
	}
	return page, err
}

// OldestMessages is Messages, oldest first. Its pages end with what there was at the
// first of them: who does something to each message, by which others are made, is not
// shown those too.
func (s *Store) OldestMessages(ctx context.Context, f Filter, cursor string, limit int) (gateway.Page[Message], error) {
	page := gateway.Page[Message]{Items: []Message{}}
	from, to, _ := strings.Cut(cursor, "-")
	above, err := parseCursor(from, 0)
	if err != nil {
		return page, err
	}
	last, err := parseCursor(to, newest)
	if err != nil || cursor != "" && (from == "" || to == "") {
		return page, ErrCursor
	}
	if cursor == "" {
		if err := s.row(ctx, `SELECT cursor FROM head WHERE id = 1`).Scan(&last); err != nil {
			return page, fmt.Errorf("list messages: %w", err)
		}
	}
	page, at, err := s.list(ctx, f, oldestFirst, above, last, limit)
	if at >= 0 {
		page.Next = formatCursor(at) + "-" + formatCursor(last)
	}
	return page, err
}

// list reads a page of what is beyond from and not above last, and where the next page
// begins; -1: there is none.
func (s *Store) list(ctx context.Context, f Filter, o order, from, last int64, limit int) (page gateway.Page[Message], at int64, err error) {
	page.Items = []Message{}
	if err := s.settle(ctx); err != nil {
		return page, -1, err
	}
	limit = min(max(limit, 1), largestPage)
	slice, size := max(limit+1, 100), 0
	q, args := f.candidates(o)
	for looked := 0; looked < mostLooked; looked += slice {
		seqs, err := s.numbers(ctx, q, append([]any{from, slice}, args...)...)
		if err != nil {
			return page, -1, err
		}
		for _, seq := range seqs {
			if seq > last {
				return page, -1, nil
			}
			m, err := s.Load(ctx, seq)
			if errors.Is(err, ErrNotFound) { // pruned since
				continue
			} else if err != nil {
				return page, -1, err
			}
			if f.matches(m) {
				if len(page.Items) == limit || size >= pageBytes {
					return page, from, nil
				}
				page.Items = append(page.Items, m)
				size += m.weight()
			}
			from = seq
		}
		if len(seqs) < slice {
			return page, -1, nil
		}
		from = seqs[len(seqs)-1]
	}
	return page, from, nil
}

// weight is how many bytes a message has of what its sender wrote.
func (m *Message) weight() int { return len(m.Message.Message) + len(m.Metadata) }
