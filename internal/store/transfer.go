package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/kefu-go/kefu"
)

// A Progress is how far a transfer has come.
type Progress struct {
	Table string
	Rows  int64 // of this table, until now
	Of    int64 // rows that it has
}

// String is p as a line for people.
func (p Progress) String() string { return fmt.Sprintf("%s: %d / %d", p.Table, p.Rows, p.Of) }

// A Transferred says what a transfer has carried.
type Transferred struct {
	Tables int
	Rows   int64
	// Mended counts texts that PostgreSQL can't keep, not UTF-8 or with a zero in
	// them: there stands U+FFFD for what it can't keep.
	Mended int64
}

// Transfer carries a stopped gateway's SQLite database into an empty PostgreSQL one: all
// tables, with the schema that the source has, in one transaction. It is committed
// after every table was read back and found equal; if anything goes wrong the target
// is as it was. The source is not changed. key is the secret key of the source
// (default: its .secret file), which the target needs from then on, too; it is
// checked, and what it seals is carried as it is.
func Transfer(ctx context.Context, from, to string, key kefu.Secret, progress func(Progress)) (Transferred, error) {
	d, err := dialectOf(to, Options{})
	if err != nil {
		return Transferred{}, err
	}
	target, ok := d.(postgres)
	if !ok {
		return Transferred{}, errors.New("a database is moved to PostgreSQL: postgres://USER@HOST/NAME")
	}
	if d, err = dialectOf(from, Options{}); err != nil {
		return Transferred{}, err
	}
	source, ok := d.(sqliteFile)
	if !ok {
		return Transferred{}, errors.New("a database is moved from SQLite: sqlite:FILE")
	}
	m := mover{progress: progress}
	if m.progress == nil {
		m.progress = func(Progress) {}
	}
	if err := m.source(ctx, source, key); err != nil {
		return Transferred{}, fmt.Errorf("move from %s: %w", source, err)
	}
	defer m.db.Close()
	defer m.from.Close()
	// While the source reads and counts, the target's transaction has nothing to do.
	db, err := target.unhurried().writer()
	if err != nil {
		return Transferred{}, err
	}
	defer db.Close()
	if m.to, err = db.Conn(ctx); err != nil {
		return Transferred{}, fmt.Errorf("move to %s: %w", target, err)
	}
	defer m.to.Close()
	if err := target.prepare(ctx, m.to); err != nil {
		return Transferred{}, fmt.Errorf("move to %s: %w", target, err)
	}
	if there, err := versions(ctx, m.to); err != nil || len(there) > 0 {
		if err == nil {
			err = errors.New("it must be empty, and there are tables of kefu in it already")
		}
		return Transferred{}, fmt.Errorf("move to %s: %w", target, err)
	}
	err = migrateIn(ctx, target, m.to, func(done []string) error {
		if len(done) > 0 {
			return errors.New("somebody else begins to use it")
		}
		// The source may be older than this version: its schema, its rows, then the rest.
		old := m.files[:m.version]
		if err := apply(ctx, target, m.to, old, 0); err != nil {
			return err
		}
		for _, t := range m.tables {
			if err := m.carry(ctx, t); err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
		}
		return apply(ctx, target, m.to, m.files, len(old))
	})
	if err != nil {
		return Transferred{}, fmt.Errorf("move to %s: %w; it is as it was", target, err)
	}
	return m.moved, nil
}

// A mover carries tables.
type mover struct {
	db       *sql.DB
	from, to *sql.Conn
	files    []migrationFile
	version  int // how many of them the source has seen
	tables   []storedTable
	progress func(Progress)
	moved    Transferred
}

// A storedTable is one of the source's.
type storedTable struct {
	name    string
	columns []string
	texts   []bool // which of the columns are text
	rows    int64
}

// source opens the database that is moved, for itself alone, and looks what it has.
func (m *mover) source(ctx context.Context, d sqliteFile, key kefu.Secret) (err error) {
	// Exclusive: another process that has the file open, even an idle one, is noticed.
	uri := "file:" + (&url.URL{Path: d.path}).EscapedPath() + "?mode=rw&_pragma=busy_timeout(2000)&_pragma=locking_mode(exclusive)&_pragma=query_only(true)"
	if m.db, err = sql.Open(d.driver, uri); err != nil {
		return err
	}
	m.db.SetMaxOpenConns(1)
	defer func() {
		if err != nil {
			m.db.Close()
		}
	}()
	if m.from, err = m.db.Conn(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			m.from.Close()
		}
	}()
	done, err := versions(ctx, m.from)
	if err != nil {
		if strings.Contains(err.Error(), "locked") || strings.Contains(err.Error(), "busy") {
			return errors.New("a gateway has it open; stop that first")
		}
		return fmt.Errorf("it is not a database of kefu: %w", err)
	}
	if m.files, err = migrationFiles(); err != nil {
		return err
	}
	if err := known(m.files, done); err != nil {
		return err
	}
	m.version = len(done)
	if err := checkSeal(ctx, m.from, d, key); err != nil {
		return err
	}
	names, err := column[string](ctx, m.from, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'migrations' ORDER BY name`)
	if err != nil {
		return err
	}
	for _, name := range names {
		t := storedTable{name: name}
		if t.columns, err = column[string](ctx, m.from, `SELECT name FROM pragma_table_info(?) ORDER BY cid`, name); err != nil {
			return err
		}
		types, err := column[string](ctx, m.from, `SELECT type FROM pragma_table_info(?) ORDER BY cid`, name)
		if err != nil {
			return err
		}
		for _, kind := range types {
			t.texts = append(t.texts, kind == "TEXT")
		}
		if err := m.from.QueryRowContext(ctx, `SELECT count(*) FROM `+pgx.Identifier{name}.Sanitize()).Scan(&t.rows); err != nil {
			return err
		}
		m.tables = append(m.tables, t)
	}
	return nil
}

// checkSeal finds out whether the key is the one of the source.
func checkSeal(ctx context.Context, conn *sql.Conn, d sqliteFile, key kefu.Secret) (err error) {
	var sealed []byte
	if err := conn.QueryRowContext(ctx, `SELECT sealed FROM seal`).Scan(&sealed); errors.Is(err, sql.ErrNoRows) {
		return errors.New("no gateway has ever worked on it")
	} else if err != nil {
		return err
	}
	if key == "" {
		if key, err = secretFile(d.secretFile(), false); err != nil {
			return err
		}
	}
	s, err := newSealer(key)
	if err != nil {
		return err
	}
	if _, err := s.open(sealed, "seal"); err != nil {
		return errors.New("the secret key is not the one that sealed this database; give that one")
	}
	return nil
}

func column[T any](ctx context.Context, conn *sql.Conn, q string, args ...any) (all []T, err error) {
	rows, err := conn.QueryContext(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// carry moves one table and reads it back.
func (m *mover) carry(ctx context.Context, t storedTable) error {
	name := pgx.Identifier{t.name}.Sanitize()
	if _, err := m.to.ExecContext(ctx, `DELETE FROM `+name); err != nil { // what migrations put there
		return err
	}
	at := Progress{Table: t.name, Of: t.rows}
	var sent, arrived digest
	var failed error
	next, stop := iter.Pull2(rowsOf(ctx, m.from, t))
	defer stop()
	source := pgx.CopyFromFunc(func() ([]any, error) {
		row, err, more := next()
		if failed = err; err != nil || !more {
			return nil, err
		}
		m.moved.Mended += mend(row)
		sent.add(row)
		if at.Rows++; at.Rows%1000 == 0 {
			m.progress(at)
		}
		return row, nil
	})
	err := m.to.Raw(func(c any) error {
		_, err := c.(*stdlib.Conn).Conn().CopyFrom(ctx, pgx.Identifier{t.name}, t.columns, source)
		return err
	})
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	for row, err := range rowsOf(ctx, m.to, t) {
		if err != nil {
			return err
		}
		arrived.add(row)
	}
	if sent != arrived || sent.rows != t.rows {
		return fmt.Errorf("%d rows left, %d arrived, and they are not the same", t.rows, arrived.rows)
	}
	m.progress(at)
	m.moved.Tables++
	m.moved.Rows += t.rows
	return nil
}

// rowsOf yields the rows of a table.
func rowsOf(ctx context.Context, conn *sql.Conn, t storedTable) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		quoted := make([]string, len(t.columns))
		for i, c := range t.columns {
			quoted[i] = pgx.Identifier{c}.Sanitize()
		}
		rows, err := conn.QueryContext(ctx, `SELECT `+strings.Join(quoted, ", ")+` FROM `+pgx.Identifier{t.name}.Sanitize())
		if err != nil {
			yield(nil, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			row, into := make([]any, len(t.columns)), make([]any, len(t.columns))
			for i := range row {
				into[i] = &row[i]
			}
			err := rows.Scan(into...)
			for i, v := range row {
				if b, ok := v.([]byte); ok {
					if row[i] = slices.Clone(b); t.texts[i] {
						row[i] = string(b)
					}
				}
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// mend replaces what PostgreSQL can't keep in texts, and counts them.
func mend(row []any) (mended int64) {
	for i, v := range row {
		if s, ok := v.(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			row[i] = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
			mended++
		}
	}
	return mended
}

// A digest is a hash of rows in any order: the sum of the hashes of each.
type digest struct {
	rows int64
	sum  [4]uint64
}

func (d *digest) add(row []any) {
	h := sha256.New()
	for _, v := range row {
		var kind byte
		var text []byte
		switch v := v.(type) {
		case nil:
		case int64:
			kind, text = 1, binary.BigEndian.AppendUint64(nil, uint64(v))
		case string:
			kind, text = 2, []byte(v)
		case []byte:
			kind, text = 3, v
		default:
			kind, text = 4, fmt.Append(nil, v)
		}
		h.Write(binary.AppendUvarint([]byte{kind}, uint64(len(text))))
		h.Write(text)
	}
	sum, carry := h.Sum(nil), uint64(0)
	for i := range d.sum {
		d.sum[i], carry = bits.Add64(d.sum[i], binary.BigEndian.Uint64(sum[8*i:]), carry)
	}
	d.rows++
}
