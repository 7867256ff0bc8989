package store

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A Waiting is what a message's place in its lane depends on, and no more: a
// million of them are read at a start. The rest is read with [Store.Load] when the
// message has its turn.
type Waiting struct {
	Seq, Number     int64 // see [Message]
	Account, OpenID string
	State           gateway.State // Queued, Parked, or Unknown that is to be resent
	Priority        gateway.Priority
	WhenClosed      gateway.WhenClosed
	OnUnknown       gateway.OnUnknown
	AcceptedAt      time.Time
	NotBefore       time.Time // zero: none
	ExpiresAt       time.Time
	RetryAt         time.Time // of Unknown

	// Of a long text; zero for every other message.
	Parts, PartsSent int
	Resent           bool // a part of it was unknown once
	Interrupted      bool // it is parked, or was and no part has left since
}

// Waiting is m without what its lane does not need.
func (m Message) Waiting() Waiting {
	w := Waiting{
		Seq: m.Seq, Number: m.Number, Account: m.Account, OpenID: m.OpenID, State: m.State, Priority: m.Priority,
		WhenClosed: m.WhenClosed, OnUnknown: m.OnUnknown, AcceptedAt: m.AcceptedAt.Time, ExpiresAt: m.ExpiresAt.Time, Parts: m.Parts, PartsSent: m.PartsSent,
		Resent:      m.Parts > 0 && m.Resent,
		Interrupted: m.Parts > 0 && (m.State == gateway.Parked || m.Outcome != nil && (m.Outcome.Class == kefu.ErrWindowClosed || m.Outcome.Class == kefu.ErrAllowanceSpent)),
	}
	if m.NotBefore != nil {
		w.NotBefore = m.NotBefore.Time
	}
	if m.RetryAt != nil && m.State == gateway.Unknown {
		w.RetryAt = m.RetryAt.Time
	}
	return w
}

// Unfinished yields every message for which something can still happen by itself:
// queued (scheduled and retrying ones too), parked, and unknown with a RetryAt for
// its resend; first those in no lane yet (Number 0), then in order of Number.
// Messages that are kept after the call began are not among them; what it yields of
// one that changes meanwhile may be what it was. Call it after Recover.
func (s *Store) Unfinished(ctx context.Context) iter.Seq2[Waiting, error] {
	return func(yield func(Waiting, error) bool) {
		if err := s.unfinished(ctx, yield); err != nil {
			yield(Waiting{}, fmt.Errorf("read the unfinished: %w", err))
		}
	}
}

// UnfinishedOf returns what Unfinished yields of one follower, in the same order, as
// long as none of their messages has changed since Recover.
func (s *Store) UnfinishedOf(ctx context.Context, account, openid string) ([]Waiting, error) {
	all, err := s.readWaiting(ctx, nil, ofFollowerQuery, account, openid)
	if err != nil {
		return nil, fmt.Errorf("read the unfinished: %w", err)
	}
	own := all[:0]
	for _, w := range all {
		if w, ok, err := s.asInLog(ctx, w); err != nil {
			return nil, fmt.Errorf("read the unfinished: %w", err)
		} else if ok {
			own = append(own, w)
		}
	}
	return own, nil
}

// waitingColumns are of the view alone and of what never changes of a message, and
// few: a start pays for each of them a million times.
const waitingColumns = `SELECT l.seq, l.number, m.account, m.openid, m.accepted_at, m.not_before, m.expires_at,
		CASE l.state WHEN 'queued' THEN 0 WHEN 'parked' THEN 1 ELSE 2 END
		+ CASE m.priority WHEN 'human' THEN 0 WHEN 'normal' THEN 10 ELSE 20 END
		+ CASE m.when_closed WHEN 'park' THEN 0 WHEN 'fail' THEN 100 ELSE 200 END
		+ CASE m.on_unknown WHEN 'hold' THEN 0 ELSE 1000 END
		+ 10000 * m.parts
	FROM `

// Numbers are unique but for 0, so that each page is found by one range of the index.
// A follower's are found by what was said to them; CROSS JOIN has SQLite keep the order.
const (
	unfinishedStates = `l.state IN ('queued', 'parked', 'sending', 'unknown')`

	inNoLaneQuery = waitingColumns + `listing l JOIN messages m ON m.seq = l.seq
		WHERE ` + unfinishedStates + ` AND l.number = 0 AND l.seq > $1 AND l.seq <= $2 ORDER BY l.seq LIMIT $3`
	inLanesQuery = waitingColumns + `listing l JOIN messages m ON m.seq = l.seq
		WHERE ` + unfinishedStates + ` AND l.number > $1 AND l.number <= $2 ORDER BY l.number LIMIT $3`
	ofFollowerQuery = waitingColumns + `conversations c CROSS JOIN said s CROSS JOIN listing l CROSS JOIN messages m
		WHERE c.account = $1 AND c.openid = $2 AND s.conversation = c.id AND l.seq = s.cursor AND m.seq = l.seq
		AND ` + unfinishedStates + ` ORDER BY l.number, l.seq`
)

var (
	waitingStates     = [...]gateway.State{gateway.Queued, gateway.Parked, gateway.Unknown}
	waitingPriorities = [...]gateway.Priority{gateway.Human, gateway.Normal, gateway.Bulk}
	waitingWhenClosed = [...]gateway.WhenClosed{gateway.Park, gateway.Fail, gateway.Try}
	waitingOnUnknown  = [...]gateway.OnUnknown{gateway.Hold, gateway.Resend}
)

func (s *Store) unfinished(ctx context.Context, yield func(Waiting, error) bool) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	var head int64
	if err := s.row(ctx, `SELECT cursor FROM head WHERE id = 1`).Scan(&head); err != nil {
		return err
	}
	// One reads while the other one, who asked, puts in lanes.
	ctx, cancel := context.WithCancel(ctx)
	pages, used := make(chan []Waiting, 2), make(chan []Waiting, 4)
	var failure error
	go func() {
		defer close(pages)
		failure = s.waitingPages(ctx, head, pages, used)
	}()
	defer func() { // it ends before this does
		cancel()
		for range pages {
		}
	}()
	for page := range pages {
		for _, w := range page {
			w, ok, err := s.asInLog(ctx, w)
			if err != nil {
				return err
			}
			if ok && !yield(w, nil) {
				return nil
			}
		}
		select {
		case used <- page[:0]:
		default:
		}
	}
	return failure
}

// asInLog is w as the log has it, of which the view does not know all; ok: something
// can still happen to it by itself.
func (s *Store) asInLog(ctx context.Context, w Waiting) (_ Waiting, ok bool, err error) {
	switch {
	case w.State == gateway.Unknown && w.OnUnknown != gateway.Resend:
		return w, false, nil
	case w.State != gateway.Unknown && w.Parts == 0:
		return w, true, nil
	}
	m, err := s.Load(ctx, w.Seq) // they are few
	if err != nil {
		return w, false, err
	}
	w = m.Waiting()
	return w, !w.State.Final() && w.State != gateway.Sending && (w.State != gateway.Unknown || !w.RetryAt.IsZero()), nil
}

// waitingPages sends all that wait, in pages, for which it uses up used ones.
func (s *Store) waitingPages(ctx context.Context, head int64, pages chan<- []Waiting, used <-chan []Waiting) error {
	for _, q := range []string{inNoLaneQuery, inLanesQuery} {
		for after, more := int64(0), true; more; {
			var page []Waiting
			select {
			case page = <-used:
			default:
				page = make([]Waiting, 0, largestPage)
			}
			page, err := s.readWaiting(ctx, page, q, after, head, largestPage)
			if err != nil {
				return err
			}
			if more = len(page) == largestPage; len(page) > 0 {
				last := page[len(page)-1]
				if after = last.Number; after == 0 {
					after = last.Seq
				}
			}
			select {
			case pages <- page:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// readWaiting appends what a query of waitingColumns finds to a page.
func (s *Store) readWaiting(ctx context.Context, page []Waiting, q string, args ...any) ([]Waiting, error) {
	rows, err := s.rows(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			w                     Waiting
			accepted, expires, is int64
			notBefore             sql.NullInt64
		)
		if err := rows.Scan(&w.Seq, &w.Number, &w.Account, &w.OpenID, &accepted, &notBefore, &expires, &is); err != nil {
			return nil, err
		}
		w.State, w.Priority = waitingStates[is%10], waitingPriorities[is/10%10]
		w.WhenClosed, w.OnUnknown = waitingWhenClosed[is/100%10], waitingOnUnknown[is/1000%10]
		w.Parts = int(is / 10000)
		w.AcceptedAt, w.ExpiresAt = fromMS(accepted), fromMS(expires)
		if notBefore.Valid {
			w.NotBefore = fromMS(notBefore.Int64)
		}
		page = append(page, w)
	}
	return page, rows.Err()
}
