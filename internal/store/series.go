package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// seriesMost is how many lines, the latest, one call of [Store.Series] counts.
const seriesMost = 500_000

// Series counts what the feed tells from from to to, in steps, for the given accounts
// (none: all), and what is unfinished now. If there is too much of it, it begins
// later.
func (s *Store) Series(ctx context.Context, from, to time.Time, step time.Duration, accounts []string) (gateway.Series, error) {
	v := gateway.Series{From: gateway.At(from), Step: gateway.Seconds(step / time.Second), Points: []gateway.SeriesPoint{}, ErrCodes: []gateway.ErrCodeCount{}, Unfinished: map[gateway.State]int{}}
	if err := s.settle(ctx); err != nil {
		return v, err
	}
	head, err := s.Head(ctx)
	if err != nil {
		return v, err
	}
	last, _ := parseCursor(head, 0)
	first, err := s.firstSince(ctx, from.Add(-disorder), last+1)
	if err != nil {
		return v, err
	}
	if bound := last - seriesMost + 1; first < bound {
		var at int64
		first = bound
		err := s.row(ctx, `SELECT at FROM feed WHERE cursor >= $1 ORDER BY cursor LIMIT 1`, bound).Scan(&at)
		if err != nil && !errors.Is(err, sql.ErrNoRows) { // none: the retention has taken them
			return v, fmt.Errorf("read feed: %w", err)
		}
		from = from.Add(max(0, fromMS(at).Sub(from)).Truncate(step))
		v.From = gateway.At(from)
	}
	for at := from; at.Before(to); at = at.Add(step) {
		v.Points = append(v.Points, gateway.SeriesPoint{At: gateway.At(at)})
	}
	ours := func(account string) bool { return len(accounts) == 0 || slices.Contains(accounts, account) }
	// An attempt's took_ms and remaining by their digits, which both engines can read; what
	// WeChat wrote in it can't look like them, since its quotes are escaped.
	rows, err := s.rows(ctx, `SELECT (at - $1) / $2, account, type, coalesce(errcode, 0),
			CASE WHEN seq IS NULL AND data LIKE '%"trigger":"%' THEN 1 ELSE 0 END,
			CASE WHEN attempt IS NULL THEN -1 WHEN attempt LIKE '%"took_ms":_,%' THEN 0 WHEN attempt LIKE '%"took_ms":__,%' THEN 1
				WHEN attempt LIKE '%"took_ms":___,%' THEN 2 ELSE 3 END,
			CASE WHEN attempt LIKE '%"remaining":0}%' THEN 0 WHEN attempt LIKE '%"remaining":1}%' THEN 1
				WHEN attempt LIKE '%"remaining":null}%' THEN -1 WHEN attempt LIKE '%"remaining":%' THEN 2 ELSE -1 END, count(*)
		FROM feed WHERE cursor >= $3 AND at >= $1 AND at < $4 AND (seq IS NOT NULL OR type IN ('follower.message', 'follower.event'))
		GROUP BY 1, 2, 3, 4, 5, 6, 7`, ms(from), step.Milliseconds(), first, ms(to))
	if err != nil {
		return v, fmt.Errorf("count the feed: %w", err)
	}
	defer rows.Close()
	codes := map[int]int{}
	for rows.Next() {
		var place, errcode, opens, took, left, n int
		var account, kind string
		if err := rows.Scan(&place, &account, &kind, &errcode, &opens, &took, &left, &n); err != nil {
			return v, fmt.Errorf("count the feed: %w", err)
		}
		if !ours(account) || place >= len(v.Points) {
			continue
		}
		if errcode != 0 {
			codes[errcode] += n
		}
		p := &v.Points[place]
		if took >= 0 {
			p.Took[took] += n
		}
		if left >= 0 {
			p.Left[left] += n
		}
		switch kind {
		case "message.accepted":
			p.Accepted += n
		case "message.sent":
			p.Sent += n
		case "message.parked":
			p.Parked += n
		case "message.failed":
			p.Failed += n
		case "message.unknown":
			p.Unknown += n
		case "message.expired":
			p.Expired += n
		case "message.canceled":
			p.Canceled += n
		case "follower.message", "follower.event":
			p.Heard += n
			p.Opened += n * opens
		}
	}
	if err := rows.Err(); err != nil {
		return v, fmt.Errorf("count the feed: %w", err)
	}
	for code, n := range codes {
		v.ErrCodes = append(v.ErrCodes, gateway.ErrCodeCount{ErrCode: code, Count: n})
	}
	slices.SortFunc(v.ErrCodes, func(a, b gateway.ErrCodeCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.ErrCode, b.ErrCode))
	})
	return v, s.waits(ctx, v.Unfinished, ours)
}

// waitsQuery is read by the index of what is unfinished: the number, which is never
// negative, has SQLite see that.
const waitsQuery = `SELECT l.account, l.state, count(*) FROM listing l WHERE ` + unfinishedStates + ` AND l.number >= 0 GROUP BY l.account, l.state`

// waits counts what has still a way to go.
func (s *Store) waits(ctx context.Context, counts map[gateway.State]int, ours func(account string) bool) error {
	rows, err := s.rows(ctx, waitsQuery)
	if err != nil {
		return fmt.Errorf("count what is unfinished: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var account, state string
		var n int
		if err := rows.Scan(&account, &state, &n); err != nil {
			return fmt.Errorf("count what is unfinished: %w", err)
		}
		if ours(account) {
			counts[gateway.State(state)] += n
		}
	}
	return rows.Err()
}

// heardSlice is how many lines one call of [Store.Heard] looks at.
const heardSlice = 50_000

// Heard returns what followers wrote and did (up to limit entries, 1 to 1,000), the
// latest first, of the given accounts (none: all). A page may be empty though there
// is more: then its Next is not.
func (s *Store) Heard(ctx context.Context, accounts []string, openid, cursor string, limit int) (gateway.Page[gateway.FeedEntry], error) {
	page := gateway.Page[gateway.FeedEntry]{Items: []gateway.FeedEntry{}}
	below, err := parseCursor(cursor, newest)
	if err != nil {
		return page, err
	}
	limit = min(max(limit, 1), largestPage)
	var lowest sql.NullInt64
	if err := s.row(ctx, `SELECT min(cursor) FROM (SELECT cursor FROM feed WHERE cursor < $1 ORDER BY cursor DESC LIMIT $2) AS slice`, below, heardSlice).Scan(&lowest); err != nil {
		return page, fmt.Errorf("read callbacks: %w", err)
	}
	if !lowest.Valid {
		return page, nil
	}
	rows, err := s.rows(ctx, feedQuery+` WHERE f.cursor < $1 AND f.cursor >= $2 AND f.type IN ('follower.message', 'follower.event') ORDER BY f.cursor DESC`, below, lowest.Int64)
	if err != nil {
		return page, fmt.Errorf("read callbacks: %w", err)
	}
	defer rows.Close()
	for size := 0; rows.Next(); {
		e, _, err := scanEntry(rows)
		if err != nil {
			return page, err
		}
		if len(accounts) > 0 && !slices.Contains(accounts, e.Account) || openid != "" && e.OpenID != openid {
			continue
		}
		if len(page.Items) == limit || size >= pageBytes {
			page.Next = page.Items[len(page.Items)-1].Cursor
			return page, nil
		}
		page.Items = append(page.Items, e)
		size += len(e.Data)
	}
	if lowest.Int64 > 1 {
		page.Next = formatCursor(lowest.Int64)
	}
	return page, rows.Err()
}
