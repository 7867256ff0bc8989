package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

// ChunkSize is how many bytes of a file go into one row and one commit: a large file
// holds nobody up.
const ChunkSize = 256 << 10

// contentLife is how long a file may be on its way in. What is not an asset by then
// never will be.
const contentLife = time.Hour

// ErrNoRoom: the account has as many bytes of assets as it may have. People read it at
// messages and in the log.
var ErrNoRoom = errors.New("the account's room for files is used up: delete what is not needed (kefu media delete, GET /v1/assets lists it) " +
	"or give it more with kefu serve --asset-room · 公众号的素材空间已用完：请删除不再需要的素材（kefu media delete，GET /v1/assets 可列出），或用 kefu serve --asset-room 增大空间")

// An Upload is a file on its way into the store. Write its bytes, then Keep it, or
// Drop it. What is never kept is swept later ([Store.SweepContents]). It is not safe
// for concurrent use.
type Upload struct {
	s       *Store
	ctx     context.Context
	now     func() time.Time
	content int64
	chunks  int
	buf     []byte
	size    int64
	sum     hash.Hash
}

// NewUpload begins a file. ctx is of all its writes.
func (s *Store) NewUpload(ctx context.Context, now func() time.Time) *Upload {
	var b [8]byte
	rand.Read(b[:])
	return &Upload{s: s, ctx: ctx, now: now, content: int64(binary.BigEndian.Uint64(b[:]) >> 1), sum: sha256.New()}
}

// Size is the bytes written so far.
func (u *Upload) Size() int64 { return u.size }

// Write implements [io.Writer]: it returns when all full chunks are on disk.
func (u *Upload) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		if u.buf == nil {
			u.buf = make([]byte, 0, ChunkSize)
		}
		part := b[:min(len(b), ChunkSize-len(u.buf))]
		u.buf = append(u.buf, part...)
		u.sum.Write(part)
		u.size += int64(len(part))
		b, n = b[len(part):], n+len(part)
		if len(u.buf) == ChunkSize {
			if err := u.flush(); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

func (u *Upload) flush() error {
	if len(u.buf) == 0 {
		return nil
	}
	now := u.now()
	err := u.s.write(u.ctx, now, func(t *tx) error {
		if u.chunks == 0 {
			if _, err := t.exec(`INSERT INTO unfinished_contents (content, at) VALUES ($1, $2)`, u.content, ms(now)); err != nil {
				return err
			}
		}
		_, err := t.exec(`INSERT INTO chunks (content, n, data) VALUES ($1, $2, $3)`, u.content, u.chunks, u.buf)
		return err
	})
	if err == nil {
		u.chunks++
		u.buf = u.buf[:0]
	}
	return err
}

// Bytes returns what was written so far, to look into. It puts the last chunk on
// disk: nothing may be written after it.
func (u *Upload) Bytes() (io.ReaderAt, error) {
	if err := u.flush(); err != nil {
		return nil, err
	}
	return &content{u.ctx, u.s, u.content, u.size, -1, nil}, nil
}

// Keep makes an asset of what was written, in the commit in which it returns nil, or
// returns the one that the account has of the same bytes. most is how many bytes of
// assets the account may have, 0: no limit. Errors: ErrNoRoom, ErrUnavailable.
func (u *Upload) Keep(a gateway.Asset, from Origin, most int64) (gateway.Asset, error) {
	if err := u.flush(); err != nil {
		return a, err
	}
	now := u.now()
	sum := [32]byte(u.sum.Sum(nil))
	a.ID, a.SHA256, a.Bytes, a.CreatedAt = gateway.AssetID(sum), hex.EncodeToString(sum[:]), u.size, gateway.At(now)
	facts, err := json.Marshal(factsOf(a))
	if err != nil {
		return a, err
	}
	kept := a
	err = u.s.write(u.ctx, now, func(t *tx) error {
		old, _, err := scanAsset(t.row(assetQuery+` WHERE account = $1 AND hash = $2`, a.Account, sum[:]))
		if err == nil {
			kept = old
			// By hand is for good; a URL takes over what only followers have sent.
			q := `UPDATE assets SET used_at = $1 WHERE account = $2 AND hash = $3`
			switch from {
			case ByHand:
				q = `UPDATE assets SET used_at = $1, given = 1 WHERE account = $2 AND hash = $3`
			case FromURL:
				q = `UPDATE assets SET used_at = $1, given = CASE given WHEN 1 THEN 1 ELSE 2 END WHERE account = $2 AND hash = $3`
			}
			if err := t.put(q, ms(now), a.Account, sum[:]); err != nil {
				return err
			}
			return u.drop(t)
		} else if !errors.Is(err, ErrNotFound) {
			return err
		}
		kept = a
		var there int
		if err := t.row(`SELECT count(*) FROM chunks WHERE content = $1`, u.content).Scan(&there); err != nil {
			return err
		}
		if there != u.chunks { // swept: it took longer than contentLife
			return fmt.Errorf("an upload took more than %v", contentLife)
		}
		var total int64
		err = t.row(`SELECT bytes FROM asset_totals WHERE account = $1`, a.Account).Scan(&total)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if most > 0 && total+u.size > most {
			return ErrNoRoom
		}
		if _, err := t.exec(`INSERT INTO assets (account, hash, content, bytes, facts, created_at, used_at, given) VALUES ($1, $2, $3, $4, $5, $6, $6, $7)`,
			a.Account, sum[:], u.content, u.size, string(facts), ms(now), int(from)); err != nil {
			return err
		}
		if _, err := t.exec(`INSERT INTO asset_totals (account, bytes) VALUES ($1, $2)
			ON CONFLICT (account) DO UPDATE SET bytes = asset_totals.bytes + excluded.bytes`, a.Account, u.size); err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM unfinished_contents WHERE content = $1`, u.content)
		return err
	})
	if err != nil {
		return gateway.Asset{}, err
	}
	u.chunks = 0 // nothing of it may be dropped any more
	return kept, nil
}

// Drop gives up what was written and not kept.
func (u *Upload) Drop() {
	if u.chunks > 0 { // a failure leaves it to SweepContents
		_ = u.s.write(context.WithoutCancel(u.ctx), u.now(), u.drop)
	}
}

func (u *Upload) drop(t *tx) error { return t.dropContent(u.content) }

func (t *tx) dropContent(content int64) error {
	for _, q := range []string{`DELETE FROM chunks WHERE content = $1`, `DELETE FROM unfinished_contents WHERE content = $1`} {
		if _, err := t.exec(q, content); err != nil {
			return err
		}
	}
	return nil
}

// SweepContents forgets files of which the way in broke off more than an hour ago,
// up to ten, and returns how many; call it until that is 0.
func (s *Store) SweepContents(ctx context.Context, now time.Time) (int, error) {
	old, err := s.numbers(ctx, `SELECT content FROM unfinished_contents WHERE at < $1 ORDER BY at LIMIT 10`, ms(now.Add(-contentLife)))
	if err != nil || len(old) == 0 {
		return 0, err
	}
	return len(old), s.write(ctx, now, func(t *tx) error {
		for _, content := range old {
			var at int64 // kept or dropped since: not ours
			if err := t.row(`SELECT at FROM unfinished_contents WHERE content = $1`, content).Scan(&at); errors.Is(err, sql.ErrNoRows) {
				continue
			} else if err != nil {
				return err
			}
			if err := t.dropContent(content); err != nil {
				return err
			}
		}
		return nil
	})
}

// facts are what is found out about a file.
type facts struct {
	Kinds      []kefu.MediaKind `json:"kinds"`
	Format     string           `json:"format"`
	Width      int              `json:"width,omitempty"`
	Height     int              `json:"height,omitempty"`
	DurationMS int64            `json:"duration_ms,omitempty"`
}

func factsOf(a gateway.Asset) facts {
	return facts{a.Kinds, a.Format, a.Width, a.Height, a.DurationMS}
}

const assetQuery = `SELECT account, hash, content, bytes, facts, created_at FROM assets`

func scanAsset(row scanner) (a gateway.Asset, content int64, err error) {
	var sum []byte
	var text string
	var created int64
	if err := row.Scan(&a.Account, &sum, &content, &a.Bytes, &text, &created); errors.Is(err, sql.ErrNoRows) {
		return a, 0, ErrNotFound
	} else if err != nil {
		return a, 0, fmt.Errorf("read asset: %w", err)
	}
	var f facts
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return a, 0, fmt.Errorf("read asset: %w", err)
	}
	a.Kinds, a.Format, a.Width, a.Height, a.DurationMS = f.Kinds, f.Format, f.Width, f.Height, f.DurationMS
	a.ID, a.SHA256, a.CreatedAt = gateway.AssetID([32]byte(sum)), hex.EncodeToString(sum), gateway.At(fromMS(created))
	return a, content, nil
}

// Asset returns an account's asset, or ErrNotFound.
func (s *Store) Asset(ctx context.Context, account string, hash [32]byte) (gateway.Asset, error) {
	a, _, err := scanAsset(s.row(ctx, assetQuery+` WHERE account = $1 AND hash = $2`, account, hash[:]))
	return a, err
}

// Assets lists those of the given accounts (none: all), the latest first, at most limit
// (1 to 1,000).
func (s *Store) Assets(ctx context.Context, accounts []string, cursor string, limit int) (gateway.Page[gateway.Asset], error) {
	page := gateway.Page[gateway.Asset]{Items: []gateway.Asset{}}
	below, err := parsePosition(cursor)
	if err != nil {
		return page, err
	}
	limit = min(max(limit, 1), largestPage)
	look := limit + 1
	if len(accounts) > 0 {
		look = mostLooked
	}
	rows, err := s.rows(ctx, assetQuery+` WHERE (created_at, content) < ($1, $2) ORDER BY created_at DESC, content DESC LIMIT $3`, below.last, below.id, look)
	if err != nil {
		return page, fmt.Errorf("list assets: %w", err)
	}
	defer rows.Close()
	looked := 0
	for ; rows.Next(); looked++ {
		a, content, err := scanAsset(rows)
		if err != nil {
			return page, err
		}
		if len(accounts) == 0 || slices.Contains(accounts, a.Account) {
			if len(page.Items) == limit {
				page.Next = below.String()
				return page, nil
			}
			page.Items = append(page.Items, a)
		}
		below = position{ms(a.CreatedAt.Time), content}
	}
	if looked == mostLooked {
		page.Next = below.String()
	}
	return page, rows.Err()
}

// mostNeeding is how many messages are named that need an asset.
const mostNeeding = 10

// needAssetQuery is ordered as the index of what is unfinished is, which SQLite then
// reads instead of all messages.
const needAssetQuery = `SELECT m.seq FROM listing l JOIN messages m ON m.seq = l.seq
	WHERE ` + unfinishedStates + ` AND m.account = $1 AND m.body LIKE $2 ORDER BY l.number`

// NeedAsset returns the ids of messages that name the account's asset and are still to be
// posted: queued, parked, being sent, or unknown with a resend to come; at most ten.
func (s *Store) NeedAsset(ctx context.Context, account string, hash [32]byte) (ids []string, err error) {
	if err := s.settle(ctx); err != nil {
		return nil, fmt.Errorf("who needs an asset: %w", err)
	}
	// Hexadecimal has nothing that LIKE reads as a pattern.
	seqs, err := s.numbers(ctx, needAssetQuery, account, "%"+gateway.AssetID(hash)+"%")
	if err != nil {
		return nil, fmt.Errorf("who needs an asset: %w", err)
	}
	for _, seq := range seqs {
		m, err := s.Load(ctx, seq)
		if err != nil {
			return nil, err
		}
		switch m.State {
		case gateway.Unknown:
			if m.RetryAt == nil {
				continue
			}
		case gateway.Queued, gateway.Parked, gateway.Sending:
		default: // meanwhile
			continue
		}
		if ids = append(ids, m.ID); len(ids) == mostNeeding {
			break
		}
	}
	return ids, nil
}

// DeleteAsset forgets an account's asset with all that is known of it: its bytes, its
// media ids, what URL led to it; a follower's message that brought it stays without it.
// ErrNotFound: there is none.
func (s *Store) DeleteAsset(ctx context.Context, now time.Time, account string, hash [32]byte) error {
	return s.write(ctx, now, func(t *tx) error {
		a, content, err := scanAsset(t.row(assetQuery+` WHERE account = $1 AND hash = $2`, account, hash[:]))
		if err != nil {
			return err
		}
		if err := t.put(`UPDATE inbound_media SET hash = NULL, because = 'deleted' WHERE account = $1 AND hash = $2`, account, hash[:]); err != nil {
			return err
		}
		return t.dropAsset(file{account, hash}, content, a.Bytes)
	})
}

// assetOfQuery asks each account that has files: assets are found by account and content.
const assetOfQuery = `SELECT a.account, a.hash, a.content, a.bytes, a.facts, a.created_at FROM asset_totals t CROSS JOIN assets a
	WHERE a.account = t.account AND a.hash = $1 ORDER BY t.account`

// AssetOf returns the asset with these bytes of one of the accounts (none: of any),
// or ErrNotFound.
func (s *Store) AssetOf(ctx context.Context, accounts []string, hash [32]byte) (gateway.Asset, error) {
	rows, err := s.rows(ctx, assetOfQuery, hash[:])
	if err != nil {
		return gateway.Asset{}, fmt.Errorf("read asset: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		a, _, err := scanAsset(rows)
		if err != nil || len(accounts) == 0 || slices.Contains(accounts, a.Account) {
			return a, err
		}
	}
	if err := rows.Err(); err != nil {
		return gateway.Asset{}, err
	}
	return gateway.Asset{}, ErrNotFound
}

// OpenAsset returns the bytes of an account's asset, or ErrNotFound. They are read as
// they are asked for, a chunk at a time; ctx is of all reads.
func (s *Store) OpenAsset(ctx context.Context, account string, hash [32]byte) (*io.SectionReader, error) {
	a, at, err := scanAsset(s.row(ctx, assetQuery+` WHERE account = $1 AND hash = $2`, account, hash[:]))
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(&content{ctx, s, at, a.Bytes, -1, nil}, 0, a.Bytes), nil
}

// content reads chunks; it remembers the last.
type content struct {
	ctx  context.Context
	s    *Store
	at   int64
	size int64
	n    int64 // the chunk that is in data; -1: none
	data []byte
}

// ReadAt implements [io.ReaderAt]. It is not safe for concurrent use.
func (c *content) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		if off+int64(n) >= c.size {
			return n, io.EOF
		}
		chunk := (off + int64(n)) / ChunkSize
		if chunk != c.n {
			var data []byte
			if err := c.s.row(c.ctx, `SELECT data FROM chunks WHERE content = $1 AND n = $2`, c.at, chunk).Scan(&data); err != nil {
				return n, fmt.Errorf("read a file: %w", err)
			}
			c.n, c.data = chunk, data
		}
		from := off + int64(n) - chunk*ChunkSize
		if from >= int64(len(c.data)) {
			return n, io.ErrUnexpectedEOF
		}
		n += copy(b[n:], c.data[from:])
	}
	return n, nil
}
