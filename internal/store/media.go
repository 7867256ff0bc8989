package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// A MediaID is an id under which WeChat has an asset of an account, or had it.
type MediaID struct {
	Account string
	ID      string
	Hash    [32]byte // of the asset
	Kind    kefu.MediaKind
	At      time.Time // uploaded, or received
	Dead    bool      // WeChat does not know it any more
}

// mediaLife is how long media ids are remembered: to know the asset again by an id
// that somebody has noted.
const mediaLife = 90 * 24 * time.Hour

const mediaQuery = `SELECT account, media_id, hash, kind, at, dead FROM media_ids`

func scanMedia(row scanner) (m MediaID, err error) {
	var sum []byte
	var at int64
	var dead int
	if err := row.Scan(&m.Account, &m.ID, &sum, &m.Kind, &at, &dead); errors.Is(err, sql.ErrNoRows) {
		return m, ErrNotFound
	} else if err != nil {
		return m, fmt.Errorf("read media id: %w", err)
	}
	m.Hash, m.At, m.Dead = [32]byte(sum), fromMS(at), dead != 0
	return m, nil
}

// MediaOf returns the latest id of an asset as that kind that is not dead, or
// ErrNotFound. It may be too old to be used.
func (s *Store) MediaOf(ctx context.Context, account string, hash [32]byte, kind kefu.MediaKind) (MediaID, error) {
	return scanMedia(s.row(ctx, mediaQuery+` WHERE account = $1 AND hash = $2 AND kind = $3 AND dead = 0 ORDER BY at DESC, media_id LIMIT 1`,
		account, hash[:], string(kind)))
}

// Media returns what is known of a media id, or ErrNotFound.
func (s *Store) Media(ctx context.Context, account, id string) (MediaID, error) {
	return scanMedia(s.row(ctx, mediaQuery+` WHERE account = $1 AND media_id = $2`, account, id))
}

// PutMedia keeps a media id.
func (s *Store) PutMedia(ctx context.Context, now time.Time, m MediaID) error {
	return s.write(ctx, now, func(t *tx) error { return t.putMedia(m) })
}

func (t *tx) putMedia(m MediaID) error {
	if err := t.used(m.Account, m.Hash, m.At); err != nil {
		return err
	}
	return t.put(`INSERT INTO media_ids (account, media_id, hash, kind, at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (account, media_id) DO UPDATE SET hash = excluded.hash, kind = excluded.kind, at = excluded.at, dead = 0`,
		m.Account, m.ID, m.Hash[:], string(m.Kind), ms(m.At))
}

// used notes that an asset was needed.
func (t *tx) used(account string, hash [32]byte, at time.Time) error {
	return t.put(`UPDATE assets SET used_at = $1 WHERE account = $2 AND hash = $3 AND used_at < $1`, ms(at), account, hash[:])
}

// BuryMedia notes that WeChat does not know the ids any more.
func (s *Store) BuryMedia(ctx context.Context, now time.Time, account string, ids ...string) error {
	return s.write(ctx, now, func(t *tx) error {
		for _, id := range ids {
			if _, err := t.exec(`UPDATE media_ids SET dead = 1 WHERE account = $1 AND media_id = $2`, account, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Fetched returns the asset that a URL led to: the first fetch at or after since, so
// that whoever asks again gets the same. ErrNotFound: nobody has fetched it, or it went.
func (s *Store) Fetched(ctx context.Context, account, url string, since time.Time) (hash [32]byte, err error) {
	sum := sha256.Sum256([]byte(url))
	var b []byte
	err = s.row(ctx, `SELECT hash FROM fetched_urls WHERE account = $1 AND url = $2 AND at >= $3 ORDER BY at LIMIT 1`, account, sum[:], ms(since)).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return hash, ErrNotFound
	} else if err != nil {
		return hash, fmt.Errorf("read fetched URL: %w", err)
	}
	return [32]byte(b), nil
}

// PutFetched keeps to which asset a URL led at now, unless that went meanwhile.
func (s *Store) PutFetched(ctx context.Context, now time.Time, account, url string, hash [32]byte) error {
	sum := sha256.Sum256([]byte(url))
	return s.write(ctx, now, func(t *tx) error {
		if err := t.used(account, hash, now); err != nil {
			return err
		}
		return t.put(`INSERT INTO fetched_urls (account, url, at, hash) SELECT account, $2, $3, hash FROM assets WHERE account = $1 AND hash = $4
			ON CONFLICT (account, url, at) DO UPDATE SET hash = excluded.hash`, account, sum[:], ms(now), hash[:])
	})
}

// An InboundMedia is a file that a follower sent, at WeChat.
type InboundMedia struct {
	MediaID string
	Kind    kefu.MediaKind // image, voice, video or thumb

	// What the store adds.
	Cursor, N       int64 // by which it is known
	Account, OpenID string
	At              time.Time // received
	Tries           int
}

// DueInbound returns what followers sent and is to be fetched by now, the oldest
// first, at most limit.
func (s *Store) DueInbound(ctx context.Context, now time.Time, limit int) (due []InboundMedia, err error) {
	rows, err := s.rows(ctx, `SELECT cursor, n, account, openid, media_id, kind, at, tries FROM inbound_media
		WHERE due IS NOT NULL AND due <= $1 ORDER BY due, cursor, n LIMIT $2`, ms(now), limit)
	if err != nil {
		return nil, fmt.Errorf("read inbound media: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var m InboundMedia
		var at int64
		if err := rows.Scan(&m.Cursor, &m.N, &m.Account, &m.OpenID, &m.MediaID, &m.Kind, &at, &m.Tries); err != nil {
			return nil, fmt.Errorf("read inbound media: %w", err)
		}
		m.At = fromMS(at)
		due = append(due, m)
	}
	return due, rows.Err()
}

// NextInbound returns when something is to be fetched next; zero: nothing waits.
func (s *Store) NextInbound(ctx context.Context) (time.Time, error) {
	var due sql.NullInt64
	if err := s.row(ctx, `SELECT min(due) FROM inbound_media WHERE due IS NOT NULL`).Scan(&due); err != nil || !due.Valid {
		return time.Time{}, err
	}
	return fromMS(due.Int64), nil
}

// RetryInbound has a file fetched again at due.
func (s *Store) RetryInbound(ctx context.Context, now time.Time, m InboundMedia, due time.Time, because string) error {
	return s.write(ctx, now, func(t *tx) error {
		_, err := t.exec(`UPDATE inbound_media SET tries = tries + 1, due = $1, because = $2 WHERE cursor = $3 AND n = $4`, ms(due), because, m.Cursor, m.N)
		return err
	})
}

// EndInbound notes what a file became, an asset or nothing (because), appends an
// entry to the feed and, for an asset, keeps that WeChat has it under its media id. If
// the message was erased meanwhile the asset goes, too, unless others hold it; if the
// asset was, it is due still.
func (s *Store) EndInbound(ctx context.Context, now time.Time, m InboundMedia, hash *[32]byte, because string, e Entry) error {
	erased := false
	err := s.write(ctx, now, func(t *tx) error {
		erased = false
		var sum any
		if hash != nil {
			sum = hash[:]
			var there int
			err := t.row(`SELECT count(*) FROM assets WHERE account = $1 AND hash = $2`, m.Account, sum).Scan(&there)
			if err != nil || there == 0 {
				return err
			}
		}
		n, err := t.exec(`UPDATE inbound_media SET due = NULL, hash = $1, because = $2 WHERE cursor = $3 AND n = $4 AND due IS NOT NULL`,
			sum, because, m.Cursor, m.N)
		if err != nil {
			return err
		}
		if n == 0 {
			erased = hash != nil
			return nil
		}
		if hash != nil {
			if err := t.putMedia(MediaID{Account: m.Account, ID: m.MediaID, Hash: *hash, Kind: m.Kind, At: m.At}); err != nil {
				return err
			}
		}
		return t.append(now, []Entry{e})
	})
	if err == nil && erased {
		_, err = s.dropLoose(ctx, now, m.Account)
	}
	return err
}

// inboundAssets are the ids of what came with the follower's message at cursor.
func (s *Store) inboundAssets(ctx context.Context, cursor int64) (asset, thumb string, err error) {
	rows, err := s.rows(ctx, `SELECT kind, hash FROM inbound_media WHERE cursor = $1 AND hash IS NOT NULL ORDER BY n`, cursor)
	if err != nil {
		return "", "", fmt.Errorf("read inbound media: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var kind kefu.MediaKind
		var sum []byte
		if err := rows.Scan(&kind, &sum); err != nil {
			return "", "", fmt.Errorf("read inbound media: %w", err)
		}
		if id := gateway.AssetID([32]byte(sum)); kind == kefu.MediaThumb {
			thumb = id
		} else {
			asset = id
		}
	}
	return asset, thumb, rows.Err()
}

func (t *tx) putInbound(now time.Time, account, openid string, cursor int64, media []InboundMedia) error {
	for n, m := range media {
		if _, err := t.exec(`INSERT INTO inbound_media (cursor, n, account, openid, media_id, kind, at, tries, due) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)`,
			cursor, n, account, openid, m.MediaID, string(m.Kind), ms(now), ms(now)); err != nil {
			return err
		}
	}
	return nil
}

// PruneMedia forgets media ids older than 90 days and what else has no use by then,
// up to a thousand of each, and returns how many; call it until that is 0. The
// addresses of uploadimg stay: they have no end.
func (s *Store) PruneMedia(ctx context.Context, now time.Time) (int, error) {
	var gone int64
	err := s.write(ctx, now, func(t *tx) error {
		gone = 0
		for _, q := range []string{
			`DELETE FROM media_ids WHERE (account, media_id) IN (SELECT account, media_id FROM media_ids WHERE at < $1 AND kind <> 'url' LIMIT 1000)`,
			`DELETE FROM fetched_urls WHERE (account, url, at) IN (SELECT account, url, at FROM fetched_urls WHERE at < $1 LIMIT 1000)`,
		} {
			n, err := t.exec(q, ms(now.Add(-mediaLife)))
			if err != nil {
				return err
			}
			gone += n
		}
		return nil
	})
	return int(gone), err
}
