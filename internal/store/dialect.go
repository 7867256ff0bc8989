package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"

	_ "modernc.org/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// dialect is all that the rest of the package does not know about its database.
// SQL elsewhere has $1 placeholders, RETURNING and ON CONFLICT, and nothing that
// only SQLite understands.
type dialect struct {
	driver string
	uri    string
}

const (
	begin   = "BEGIN IMMEDIATE"
	readers = 4
)

// sqliteAt prepares the file, readable by its owner alone (SQLite gives -wal and
// -shm the same mode).
func sqliteAt(path string, o Options) (dialect, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return dialect{}, fmt.Errorf("open database: %w", err)
	}
	if err := f.Close(); err != nil {
		return dialect{}, fmt.Errorf("open database: %w", err)
	}
	d := dialect{driver: "sqlite"}
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
	} {
		if !strings.Contains(o.Params, "_pragma="+p.name+"(") {
			d.uri += "&_pragma=" + p.name + "(" + p.value + ")"
		}
	}
	return d, nil
}

// writer returns the database with its one writing connection.
func (d dialect) writer() (*sql.DB, error) {
	db, err := sql.Open(d.driver, d.uri)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// reader returns the database for reading, as of each statement's beginning.
func (d dialect) reader() (*sql.DB, error) {
	db, err := sql.Open(d.driver, d.uri+"&_pragma=query_only(true)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	return db, nil
}

var placeholder = regexp.MustCompile(`\$(\d+)`)

// sql puts a statement into SQLite's words: there, $1 is a name whose number is
// the order of appearance, ?1 a number.
func (dialect) sql(q string) string { return placeholder.ReplaceAllString(q, "?$1") }

// refused reports whether the database refused a row or a statement, as against
// being unable to work.
func (dialect) refused(err error) bool {
	const sqlError, tooBig, constraint, mismatch, outOfRange = 1, 18, 19, 20, 25
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		switch coded.Code() & 0xff {
		case sqlError, tooBig, constraint, mismatch, outOfRange:
			return true
		}
		return false
	}
	return strings.Contains(err.Error(), "constraint failed") // other drivers
}

// migrate brings the schema forward, each file in a transaction. Forty lines
// instead of a library: forward only, one writer, and the files are the history.
func (d dialect) migrate(ctx context.Context, conn *sql.Conn) error {
	// What stays with the file; auto_vacuum has to come before the first table.
	if _, err := conn.ExecContext(ctx, `PRAGMA auto_vacuum = incremental; PRAGMA journal_mode = wal`); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (version TEXT PRIMARY KEY) STRICT`); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	files, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		return err
	}
	done, err := columnOf(ctx, conn, `SELECT version FROM migrations ORDER BY version`)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for i, version := range done {
		if i >= len(files) || files[i].Name() != version {
			return fmt.Errorf("the database has schema %s, which this version of kefu does not know: use the version that made it, or a newer one", version)
		}
	}
	for _, f := range files[len(done):] {
		text, err := migrations.ReadFile("migrations/" + f.Name())
		if err != nil {
			return err
		}
		if _, err := conn.ExecContext(ctx, begin); err != nil {
			return fmt.Errorf("migrate %s: %w", f.Name(), err)
		}
		_, err = conn.ExecContext(ctx, string(text))
		if err == nil {
			_, err = conn.ExecContext(ctx, d.sql(`INSERT INTO migrations VALUES ($1)`), f.Name())
		}
		if err == nil {
			_, err = conn.ExecContext(ctx, "COMMIT")
		}
		if err != nil {
			conn.ExecContext(ctx, "ROLLBACK")
			return fmt.Errorf("migrate %s: %w", f.Name(), err)
		}
	}
	return nil
}

func columnOf(ctx context.Context, conn *sql.Conn, q string) (column []string, err error) {
	rows, err := conn.QueryContext(ctx, q)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		column = append(column, s)
	}
	return column, rows.Err()
}

// statements keeps prepared statements by their text.
type statements struct {
	prepare func(context.Context, string) (*sql.Stmt, error)
	dialect dialect
	mu      sync.RWMutex // guards known
	known   map[string]*sql.Stmt
}

func (s *statements) get(q string) (*sql.Stmt, error) {
	s.mu.RLock()
	st := s.known[q]
	s.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	st, err := s.prepare(context.Background(), s.dialect.sql(q))
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.known[q]; first != nil {
		st.Close()
		return first, nil
	}
	if s.known == nil {
		s.known = map[string]*sql.Stmt{}
	}
	s.known[q] = st
	return st, nil
}

func (s *statements) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.known {
		st.Close()
	}
	s.known = nil
}
