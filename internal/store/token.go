package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

const tokenQuery = `SELECT token, expiry FROM tokens WHERE appid = $1`

func (s *Store) scanToken(row scanner, appid string) (kefu.Token, error) {
	var sealed []byte
	var expiry sql.NullInt64
	if err := row.Scan(&sealed, &expiry); errors.Is(err, sql.ErrNoRows) {
		return kefu.Token{}, nil
	} else if err != nil {
		return kefu.Token{}, fmt.Errorf("read token: %w", err)
	}
	value, err := s.seals.open(sealed, appid+" access_token")
	if err != nil {
		return kefu.Token{}, err
	}
	t := kefu.Token{Value: value}
	if expiry.Valid {
		t.Expiry = fromMS(expiry.Int64)
	}
	return t, nil
}

// Token returns the account's access token, or the zero Token if none is stored.
func (s *Store) Token(ctx context.Context, appid string) (kefu.Token, error) {
	return s.scanToken(s.row(ctx, tokenQuery, appid), appid)
}

// SwapToken stores a new token, sealed, if the one in use is still old ("" for
// none), and returns the one in use after it: new, or what somebody else stored.
// Events are recorded in the same commit, see [Store.RecordToken].
func (s *Store) SwapToken(ctx context.Context, now time.Time, appid string, old kefu.Secret, new kefu.Token, events ...gateway.TokenEvent) (kefu.Token, error) {
	if new.Value == "" {
		return kefu.Token{}, errors.New("an empty token is none")
	}
	used := new
	err := s.write(ctx, now, func(t *tx) error {
		present, err := s.scanToken(t.row(tokenQuery, appid), appid)
		if err != nil {
			return err
		}
		if used = new; subtle.ConstantTimeCompare([]byte(present.Value.Reveal()), []byte(old.Reveal())) == 0 {
			used = present
		} else if err := s.keepToken(t, appid, new); err != nil {
			return err
		}
		return t.record(events, nil)
	})
	if err != nil {
		return kefu.Token{}, err
	}
	return used, nil
}

// PutToken stores a token in place of whatever there is, and records who did it.
func (s *Store) PutToken(ctx context.Context, now time.Time, appid string, new kefu.Token, event gateway.TokenEvent, entries ...Entry) error {
	if new.Value == "" {
		return errors.New("an empty token is none")
	}
	return s.write(ctx, now, func(t *tx) error {
		if err := s.keepToken(t, appid, new); err != nil {
			return err
		}
		if err := t.record([]gateway.TokenEvent{event}, nil); err != nil {
			return err
		}
		return t.append(now, entries)
	})
}

func (s *Store) keepToken(t *tx, appid string, new kefu.Token) error {
	var expiry any
	if !new.Expiry.IsZero() {
		expiry = ms(new.Expiry)
	}
	_, err := t.exec(`INSERT INTO tokens (appid, token, expiry) VALUES ($1, $2, $3)
		ON CONFLICT (appid) DO UPDATE SET token = excluded.token, expiry = excluded.expiry`,
		appid, s.sealed(appid, "access_token", new.Value), expiry)
	return err
}

// A TokenUse is what is known of an account's token when somebody wants another.
type TokenUse struct {
	Token   kefu.Token             // the one in use; zero: none
	Fetched int                    // fetches since the day's begin that WeChat has counted or may have; none by force
	Forced  int                    // the same by force
	Refused time.Time              // the last fetch because of a refusal, among those since the day's begin or in the last hour
	ForceAt time.Time              // the last fetch by force, among the same
	Pending time.Time              // the last fetch that has no outcome yet, among the same
	Told    [noticeCount]time.Time // the last notice of each kind, among the same; see notices
}

const noticeCount = 4

// notices are the actions that tell an operator something.
var notices = [noticeCount]gateway.TokenAction{gateway.TokenContested, gateway.TokenLow, gateway.TokenSpent, gateway.TokenWaits}

// ToldAt returns when the notice was last given, if lately.
func (u TokenUse) ToldAt(notice gateway.TokenAction) time.Time {
	for i, n := range notices {
		if n == notice {
			return u.Told[i]
		}
	}
	return time.Time{}
}

// Tell returns u after a notice.
func (u TokenUse) Tell(notice gateway.TokenAction, at time.Time) TokenUse {
	for i, n := range notices {
		if n == notice {
			u.Told[i] = at
		}
	}
	return u
}

// A TokenClaim is what whoever wants a token records before it acts.
type TokenClaim struct {
	Events  []gateway.TokenEvent // get their IDs
	Entries []Entry              // for the feed
}

const tokenUseQuery = `SELECT
	coalesce(sum(CASE WHEN action = 'fetched' AND why <> 'forced' AND outcome <> 'not-delivered' AND at >= $2 THEN 1 ELSE 0 END), 0),
	coalesce(sum(CASE WHEN action = 'fetched' AND why = 'forced' AND outcome <> 'not-delivered' AND at >= $2 THEN 1 ELSE 0 END), 0),
	coalesce(max(CASE WHEN action = 'fetched' AND why = 'refused' THEN at ELSE 0 END), 0),
	coalesce(max(CASE WHEN action = 'fetched' AND why = 'forced' THEN at ELSE 0 END), 0),
	coalesce(max(CASE WHEN action = 'fetched' AND outcome = '' THEN at ELSE 0 END), 0),
	coalesce(max(CASE WHEN action = 'contested' THEN at ELSE 0 END), 0),
	coalesce(max(CASE WHEN action = 'low' THEN at ELSE 0 END), 0),
	coalesce(max(CASE WHEN action = 'spent' THEN at ELSE 0 END), 0),
	coalesce(max(CASE WHEN action = 'waits' THEN at ELSE 0 END), 0)
	FROM token_events WHERE account = $1 AND at >= $3`

func scanTokenUse(row scanner) (u TokenUse, err error) {
	var times [3 + noticeCount]int64
	err = row.Scan(&u.Fetched, &u.Forced, &times[0], &times[1], &times[2], &times[3], &times[4], &times[5], &times[6])
	if err != nil {
		return u, fmt.Errorf("read the use of a token: %w", err)
	}
	u.Refused, u.ForceAt, u.Pending = moment(times[0]), moment(times[1]), moment(times[2])
	for i := range u.Told {
		u.Told[i] = moment(times[3+i])
	}
	return u, nil
}

// moment is fromMS with 0 for none.
func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return fromMS(n)
}

// useSince is from when on events matter: the day's begin, or an hour ago.
func useSince(now, day time.Time) int64 { return min(ms(day), ms(now.Add(-time.Hour))) }

// TokenUse returns what is known of an account's token; day is when today began.
func (s *Store) TokenUse(ctx context.Context, now, day time.Time, appid string) (TokenUse, error) {
	u, err := scanTokenUse(s.row(ctx, tokenUseQuery, appid, ms(day), useSince(now, day)))
	if err == nil {
		u.Token, err = s.Token(ctx, appid)
	}
	return u, err
}

// ClaimToken decides, alone among all processes, what whoever wants another token
// does: decide gets what is known and returns what to record, which is on disk when
// the call returns. It must not block, and may be called twice.
func (s *Store) ClaimToken(ctx context.Context, now, day time.Time, appid string, decide func(TokenUse) TokenClaim) (claim TokenClaim, use TokenUse, err error) {
	err = s.write(ctx, now, func(t *tx) (err error) {
		if use, err = scanTokenUse(t.row(tokenUseQuery, appid, ms(day), useSince(now, day))); err != nil {
			return err
		}
		if use.Token, err = s.scanToken(t.row(tokenQuery, appid), appid); err != nil {
			return err
		}
		claim = decide(use)
		if err := t.record(claim.Events, claim.Events); err != nil {
			return err
		}
		return t.append(now, claim.Entries)
	})
	return claim, use, err
}

// RecordToken records events: one with an ID gets the outcome, errcode and expiry
// that it has now, one without is new.
func (s *Store) RecordToken(ctx context.Context, now time.Time, events ...gateway.TokenEvent) error {
	return s.write(ctx, now, func(t *tx) error { return t.record(events, nil) })
}

// record writes events; the IDs of new ones go into made, if it is not nil.
func (t *tx) record(events, made []gateway.TokenEvent) error {
	for i, e := range events {
		var expiry any
		if e.ExpiresAt != nil {
			expiry = ms(e.ExpiresAt.Time)
		}
		if e.ID != "" && made == nil {
			id, err := parseCursor(e.ID, 0)
			if err != nil {
				return err
			}
			if _, err := t.exec(`UPDATE token_events SET outcome = $1, errcode = $2, expiry = $3 WHERE id = $4`, e.Outcome, e.ErrCode, expiry, id); err != nil {
				return err
			}
			continue
		}
		id := t.draw()
		if _, err := t.exec(`INSERT INTO token_events (id, at, account, action, why, actor, outcome, errcode, expiry) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			id, ms(e.At.Time), e.Account, string(e.Action), e.Why, e.By, e.Outcome, e.ErrCode, expiry); err != nil {
			return err
		}
		if made != nil {
			made[i].ID = formatCursor(id)
		}
	}
	return nil
}

const tokenEventQuery = `SELECT id, at, account, action, why, actor, outcome, errcode, expiry FROM token_events`

func scanTokenEvent(row scanner) (e gateway.TokenEvent, err error) {
	var id, at int64
	var expiry sql.NullInt64
	if err := row.Scan(&id, &at, &e.Account, &e.Action, &e.Why, &e.By, &e.Outcome, &e.ErrCode, &expiry); errors.Is(err, sql.ErrNoRows) {
		return e, ErrNotFound
	} else if err != nil {
		return e, fmt.Errorf("read token events: %w", err)
	}
	e.ID, e.At, e.ExpiresAt = formatCursor(id), gateway.At(fromMS(at)), timeOf(expiry)
	return e, nil
}

// TokenOrigin returns the event that brought the token in use, or ErrNotFound.
func (s *Store) TokenOrigin(ctx context.Context, appid string) (gateway.TokenEvent, error) {
	return scanTokenEvent(s.row(ctx, tokenEventQuery+` WHERE account = $1 AND action IN ('fetched', 'supplied') AND outcome = 'ok' ORDER BY id DESC LIMIT 1`, appid))
}

// TokenEvents returns up to limit events (1 to 1,000) of an account, newest first.
// Error: ErrCursor.
func (s *Store) TokenEvents(ctx context.Context, appid, cursor string, limit int) (gateway.Page[gateway.TokenEvent], error) {
	page := gateway.Page[gateway.TokenEvent]{Items: []gateway.TokenEvent{}}
	before, err := parseCursor(cursor, 1<<62)
	if err != nil {
		return page, err
	}
	limit = min(max(limit, 1), largestPage)
	rows, err := s.rows(ctx, tokenEventQuery+` WHERE account = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, appid, before, limit+1)
	if err != nil {
		return page, fmt.Errorf("read token events: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scanTokenEvent(rows)
		if err != nil {
			return page, err
		}
		if len(page.Items) == limit {
			page.Next = page.Items[limit-1].ID
			break
		}
		page.Items = append(page.Items, e)
	}
	return page, rows.Err()
}

// tokenEventLife is how long events are kept.
const tokenEventLife = 90 * 24 * time.Hour

// abandonFetches gives fetches an outcome in the middle of which a process died:
// no other works on this database, so nobody waits for them.
func (s *Store) abandonFetches(ctx context.Context, now time.Time) error {
	return s.write(ctx, now, func(t *tx) error {
		_, err := t.exec(`UPDATE token_events SET outcome = 'unknown' WHERE outcome = '' AND action = 'fetched'`)
		return err
	})
}
