package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kefu-go/kefu/gateway"
)

// An Origin says who brought a file, and with that when it goes. Whatever it is, it
// stays while a message that waits names it.
type Origin int

const (
	FromFollower Origin = 0 // goes with the followers' messages that brought it and the media ids under which it was sent on
	ByHand       Origin = 1 // stays until it is deleted
	FromURL      Origin = 2 // goes when it was not used for as long as history is kept, or its room is needed
)

// unsent: no follower's message that is kept has brought it.
const unsent = ` AND NOT EXISTS (SELECT 1 FROM inbound_media i WHERE i.account = a.account AND i.hash = a.hash)`

// Which assets, a, may go. An address of uploadimg needs no file: WeChat serves it.
const (
	loose = `a.given = 0 AND NOT EXISTS (SELECT 1 FROM media_ids m WHERE m.account = a.account AND m.hash = a.hash AND m.kind <> 'url')` + unsent
	idle  = `a.given = 2 AND a.used_at <= $1` + unsent // not used since $1
)

const (
	mostSpares  = 1000    // files looked up at once
	spareSlice  = 1 << 20 // bytes that one commit deletes, or one file
	stillNeeded = time.Hour
)

// A file is an asset by what it is known by.
type file struct {
	account string
	hash    [32]byte
}

// dropSpares deletes assets that meet a condition on a, unused ones first, until enough
// bytes are gone (0: no limit) or a thousand were looked at, and returns how many files
// that were. It takes as many commits as it needs.
func (s *Store) dropSpares(ctx context.Context, now time.Time, enough int64, condition string, args ...any) (files int, err error) {
	type spare struct {
		file
		bytes int64
	}
	var found []spare
	rows, err := s.rows(ctx, `SELECT a.account, a.hash, a.bytes FROM assets a WHERE `+condition+fmt.Sprintf(` ORDER BY a.used_at LIMIT %d`, mostSpares), args...)
	if err != nil {
		return 0, fmt.Errorf("find spare files: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var f spare
		var hash []byte
		if err := rows.Scan(&f.account, &hash, &f.bytes); err != nil {
			return 0, fmt.Errorf("find spare files: %w", err)
		}
		f.hash = [32]byte(hash)
		found = append(found, f)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil || len(found) == 0 {
		return 0, err
	}
	needed, err := s.namedAssets(ctx)
	if err != nil {
		return 0, err
	}
	var gone int64
	for len(found) > 0 && (enough == 0 || gone < enough) {
		var slice []file
		var bytes int64
		for len(found) > 0 && bytes < spareSlice && (enough == 0 || gone+bytes < enough) {
			if f := found[0]; !needed[f.file] {
				slice = append(slice, f.file)
				bytes += f.bytes
			}
			found = found[1:]
		}
		if len(slice) == 0 {
			break // whatever is left is needed
		}
		dropped := 0
		err := s.write(ctx, now, func(t *tx) error {
			dropped, bytes = 0, 0
			for _, f := range slice {
				var content, size int64
				err := t.row(`SELECT a.content, a.bytes FROM assets a WHERE `+condition+fmt.Sprintf(` AND a.account = $%d AND a.hash = $%d`, len(args)+1, len(args)+2),
					append(args[:len(args):len(args)], f.account, f.hash[:])...).Scan(&content, &size)
				if errors.Is(err, sql.ErrNoRows) { // somebody wants it since
					continue
				} else if err != nil {
					return err
				}
				if err := t.dropAsset(f, content, size); err != nil {
					return err
				}
				dropped++
				bytes += size
			}
			return nil
		})
		if err != nil {
			return files, fmt.Errorf("delete spare files: %w", err)
		}
		files += dropped
		gone += bytes
	}
	return files, nil
}

// dropAsset forgets an asset with its bytes, its media ids and what URL led to it.
func (t *tx) dropAsset(f file, content, bytes int64) error {
	for _, q := range []string{
		`DELETE FROM assets WHERE account = $1 AND hash = $2`,
		`DELETE FROM media_ids WHERE account = $1 AND hash = $2`,
		`DELETE FROM fetched_urls WHERE account = $1 AND hash = $2`,
	} {
		if err := t.put(q, f.account, f.hash[:]); err != nil {
			return err
		}
	}
	if err := t.put(`UPDATE asset_totals SET bytes = bytes - $1 WHERE account = $2`, bytes, f.account); err != nil {
		return err
	}
	return t.dropContent(content)
}

// dropLoose deletes what followers have sent of which nothing else is kept; account is
// "" for all. It returns how many files that were; call it until that is 0.
func (s *Store) dropLoose(ctx context.Context, now time.Time, account string) (int, error) {
	if account == "" {
		return s.dropSpares(ctx, now, 0, loose)
	}
	return s.dropSpares(ctx, now, 0, loose+` AND a.account = $1`, account)
}

// pruneFetched deletes what URLs led to and was not used for as long as history is kept;
// above the size, for 7 days: it can be had again, history can't.
func pruneFetched(ctx context.Context, s *Store, now time.Time, r Retention) (int64, error) {
	if r.Age > 0 {
		if n, err := s.dropSpares(ctx, now, 0, idle, ms(now.Add(-max(r.Age, LeastKept)))); n > 0 || err != nil {
			return int64(n), err
		}
	}
	if r.Size <= 0 {
		return 0, nil
	}
	used, err := s.dialect.used(ctx, s.reader)
	if err != nil || used <= r.Size {
		return 0, err
	}
	n, err := s.dropSpares(ctx, now, used-r.Size, idle, ms(now.Add(-LeastKept)))
	return int64(n), err
}

// MakeRoom deletes what URLs led to, what was not used for longest first, until an
// account has at most so many bytes of assets. What was used within the hour stays, so
// that there may be more of them after it.
func (s *Store) MakeRoom(ctx context.Context, now time.Time, account string, most int64) error {
	for {
		var total int64
		err := s.row(ctx, `SELECT bytes FROM asset_totals WHERE account = $1`, account).Scan(&total)
		if errors.Is(err, sql.ErrNoRows) || err == nil && total <= most {
			return nil
		} else if err != nil {
			return fmt.Errorf("make room for assets: %w", err)
		}
		if n, err := s.dropSpares(ctx, now, total-most, idle+` AND a.account = $2`, ms(now.Add(-stillNeeded)), account); n == 0 || err != nil {
			return err
		}
	}
}

// AssetTotals tells how many bytes of assets the accounts have.
func (s *Store) AssetTotals(ctx context.Context) (map[string]int64, error) {
	rows, err := s.rows(ctx, `SELECT account, bytes FROM asset_totals`)
	if err != nil {
		return nil, fmt.Errorf("count assets: %w", err)
	}
	defer rows.Close()
	of := map[string]int64{}
	for rows.Next() {
		var account string
		var bytes int64
		if err := rows.Scan(&account, &bytes); err != nil {
			return nil, fmt.Errorf("count assets: %w", err)
		}
		of[account] = bytes
	}
	return of, rows.Err()
}

// namedAssets are those that messages name which are still to be posted.
func (s *Store) namedAssets(ctx context.Context) (map[file]bool, error) {
	if err := s.settleWholly(ctx); err != nil {
		return nil, fmt.Errorf("who needs an asset: %w", err)
	}
	const scheme = "asset:"
	rows, err := s.rows(ctx, `SELECT m.account, m.body FROM listing l JOIN messages m ON m.seq = l.seq
		WHERE `+unfinishedStates+` AND m.body LIKE '%`+scheme+`%'`)
	if err != nil {
		return nil, fmt.Errorf("who needs an asset: %w", err)
	}
	defer rows.Close()
	named := map[file]bool{}
	for rows.Next() {
		var account, body string
		if err := rows.Scan(&account, &body); err != nil {
			return nil, fmt.Errorf("who needs an asset: %w", err)
		}
		for {
			at := strings.Index(body, scheme)
			if at < 0 {
				break
			}
			body = body[at:]
			if hash, ok := gateway.ParseAssetID(body[:min(len(body), len(scheme)+64)]); ok {
				named[file{account, hash}] = true
			}
			body = body[len(scheme):]
		}
	}
	return named, rows.Err()
}
