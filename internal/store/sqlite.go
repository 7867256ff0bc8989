package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	_ "modernc.org/sqlite"
)

// sqliteFile is a database in one file, for one process.
type sqliteFile struct {
	path   string
	driver string
	uri    string
}

const readers = 4

// sqliteAt prepares the file, readable by its owner alone (SQLite gives -wal and
// -shm the same mode).
func sqliteAt(path string, o Options) (sqliteFile, error) {
	d := sqliteFile{path: path, driver: "sqlite"}
	if o.Driver != "" {
		d.driver = o.Driver
	}
	d.uri = "file:" + (&url.URL{Path: path}).EscapedPath() + "?_txlock=immediate"
	if o.Params != "" {
		d.uri += "&" + o.Params
	}
	for _, p := range []struct{ name, value string }{
		{"busy_timeout", "2000"}, // somebody else holds the file; WeChat waits 5 s for an answer
		{"synchronous", "full"},
		{"wal_autocheckpoint", "4000"}, // 16 MB: pages written again and again are copied once
		{"cache_size", "-32768"},
		{"temp_store", "memory"},
		{"secure_delete", "on"}, // what is deleted is overwritten
	} {
		if !strings.Contains(o.Params, "_pragma="+p.name+"(") {
			d.uri += "&_pragma=" + p.name + "(" + p.value + ")"
		}
	}
	return d, nil
}

func (d sqliteFile) String() string     { return d.path }
func (d sqliteFile) secretFile() string { return d.path + ".secret" }

// writer returns the database with its one writing connection.
func (d sqliteFile) writer() (*sql.DB, error) {
	f, err := os.OpenFile(d.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db, err := sql.Open(d.driver, d.uri)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

func (d sqliteFile) reader() (*sql.DB, error) {
	db, err := sql.Open(d.driver, d.uri+"&_pragma=query_only(true)&_pragma=cache_size(-4096)") // four of them; the file is in the system's memory
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	return db, nil
}

var placeholder = regexp.MustCompile(`\$(\d+)`)

// sql: in SQLite, $1 is a name whose number is the order of appearance, ?1 a number.
func (sqliteFile) sql(q string) string { return placeholder.ReplaceAllString(q, "?$1") }

func (sqliteFile) migration(_ []string, text string) (string, error) { return text, nil }

func (sqliteFile) prepare(ctx context.Context, conn *sql.Conn) error {
	// What stays with the file; auto_vacuum has to come before the first table.
	_, err := conn.ExecContext(ctx, `PRAGMA auto_vacuum = incremental; PRAGMA journal_mode = wal`)
	return err
}

func (sqliteFile) together(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS migrations (version TEXT PRIMARY KEY) STRICT`)
	return err
}

func (sqliteFile) settle(context.Context, *sql.Conn) error { return nil }

func (sqliteFile) begin(ctx context.Context, s *session) (h head, err error) {
	if err := s.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		return h, err
	}
	st, err := s.stmts.get(ctx, headQuery)
	if err == nil {
		err = h.scan(st.QueryRowContext(ctx))
	}
	return h, err
}

// send has nothing to run but the commit: statements do not travel.
func (sqliteFile) send(ctx context.Context, s *session, _ []statement, commit bool) (inDoubt bool, err error) {
	if commit {
		err = s.exec(ctx, `COMMIT`)
	}
	return false, err
}

func (sqliteFile) refused(err error) bool {
	const sqlError, tooBig, constraint, mismatch, outOfRange = 1, 18, 19, 20, 25
	code, ok := resultCode(err)
	if !ok {
		return strings.Contains(err.Error(), "constraint failed") // other drivers
	}
	return slices.Contains([]int{sqlError, tooBig, constraint, mismatch, outOfRange}, code)
}

// broken is all but what another statement or its caller is to blame for.
func (sqliteFile) broken(err error) bool {
	const aborted, busy, locked, noMemory, interrupted = 4, 5, 6, 7, 9
	code, _ := resultCode(err)
	return !slices.Contains([]int{aborted, busy, locked, noMemory, interrupted}, code)
}

// resultCode is SQLite's primary result code (sqlite.org/rescode.html); false: err has none.
func resultCode(err error) (code int, ok bool) {
	var coded interface{ Code() int }
	if ok = errors.As(err, &coded); ok {
		code = coded.Code() & 0xff
	}
	return code, ok
}

func (sqliteFile) used(ctx context.Context, db *sql.DB) (n int64, err error) {
	err = db.QueryRowContext(ctx, `SELECT (p.page_count - f.freelist_count) * s.page_size
		FROM pragma_page_count AS p, pragma_freelist_count AS f, pragma_page_size AS s`).Scan(&n)
	return n, err
}

// mostGivenBack is how many pages one slice gives back: 1 MiB, some milliseconds.
const mostGivenBack = 256

// giveBack leaves a tenth of the file free: new rows want it soon.
func (sqliteFile) giveBack(ctx context.Context, conn *sql.Conn) (n int64, err error) {
	var pages, free int64
	const q = `SELECT p.page_count, f.freelist_count FROM pragma_page_count AS p, pragma_freelist_count AS f`
	if err := conn.QueryRowContext(ctx, q).Scan(&pages, &free); err != nil {
		return 0, err
	}
	if n = min(free-pages/10, mostGivenBack); n <= 0 {
		return 0, nil
	}
	rows, err := conn.QueryContext(ctx, fmt.Sprintf(`PRAGMA incremental_vacuum(%d)`, n)) // works while it is read
	if err != nil {
		return 0, err
	}
	for rows.Next() {
	}
	return n, errors.Join(rows.Err(), rows.Close())
}

// The pauses between two tries to empty the log, and how long the writer waits for those
// who read at each.
const (
	scrubEvery = 100 * time.Millisecond
	scrubWait  = 10 * time.Millisecond // a read of ours is over by then
)

// scrub empties the write-ahead log: its old pages have what was deleted since. In
// the file itself everything was overwritten when it was deleted. Who reads for long
// keeps it from that, but nobody from writing.
func (sqliteFile) scrub(ctx context.Context, w *writer) error {
	for until := time.Now().Add(scrubFor); ; time.Sleep(scrubEvery) {
		var busy, pages, copied, patience int
		err := w.between(ctx, func(ctx context.Context, conn *sql.Conn) error {
			if err := conn.QueryRowContext(ctx, `PRAGMA busy_timeout`).Scan(&patience); err != nil {
				return err
			}
			set := func(ms int) error {
				_, err := conn.ExecContext(ctx, fmt.Sprintf(`PRAGMA busy_timeout = %d`, ms))
				return err
			}
			if err := set(int(scrubWait.Milliseconds())); err != nil {
				return err
			}
			err := conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &pages, &copied)
			return errors.Join(err, set(patience))
		})
		switch {
		case err != nil || busy == 0:
			return err
		case time.Now().After(until):
			return errors.New("the write-ahead log could not be emptied: somebody else reads the database file all the time; close it, then erase again")
		}
	}
}

func (sqliteFile) travels() bool            { return false }
func (sqliteFile) spoils() bool             { return false }
func (sqliteFile) shared() bool             { return false }
func (sqliteFile) keeper() (*sql.DB, error) { return nil, errors.ErrUnsupported }
func (sqliteFile) patience() time.Duration  { return 0 }
