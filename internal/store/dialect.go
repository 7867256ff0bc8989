package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"
)

//go:embed migrations/*.sql
var migrations embed.FS

// dialect is all that the rest of the package does not know about its database;
// there are two, [sqliteFile] and [postgres]. SQL elsewhere has $1 placeholders,
// RETURNING and ON CONFLICT, and nothing that only one of them understands.
type dialect interface {
	// String names the database for people, without a password.
	String() string
	// secretFile is where the key of the seal is if none is given.
	secretFile() string

	// writer opens the database for writing.
	writer() (*sql.DB, error)
	// reader opens it for reading, as of each statement's beginning.
	reader() (*sql.DB, error)
	// sql puts a statement into the database's words.
	sql(q string) string

	// migration puts a migration, which is written for SQLite, into the
	// database's words. before are those that come before it.
	migration(before []string, text string) (string, error)
	// prepare readies an empty database for its first table.
	prepare(ctx context.Context, conn *sql.Conn) error
	// together begins the transaction in which migrations are made.
	together(ctx context.Context, conn *sql.Conn) error
	// settle follows migrations, in the same transaction.
	settle(ctx context.Context, conn *sql.Conn) error

	// begin starts a transaction of the writer, which keeps others from writing,
	// and reads the head.
	begin(ctx context.Context, s *session) (head, error)
	// send has the database run what was put off, in order; commit commits after
	// it. In doubt is a commit of which nobody knows whether it took place.
	send(ctx context.Context, s *session, put []statement, commit bool) (inDoubt bool, err error)
	// travels reports whether statements go to the database over a connection, so
	// that it pays to put them off and send them together.
	travels() bool
	// refused reports whether the database refused a row or a statement, as
	// against being unable to work.
	refused(err error) bool
	// broken reports whether a read failed because of what is on the disk: another
	// read may work from memory all the same.
	broken(err error) bool
	// spoils reports whether a refused statement spoils its transaction.
	spoils() bool

	// used is how many bytes the database takes, without what is free in it.
	used(ctx context.Context, db *sql.DB) (int64, error)
	// giveBack returns some of what is free in the database to the file system, if
	// it is much, and how many pages that were.
	giveBack(ctx context.Context, conn *sql.Conn) (int64, error)
	// scrub overwrites what was deleted wherever the database still has it. What
	// takes long keeps nobody from writing meanwhile.
	scrub(ctx context.Context, w *writer) error

	// shared reports whether processes on several machines can open the database
	// at once, so that it takes a lease to tell who works on it.
	shared() bool
	// keeper opens such a database for the holder of the lease, to say that it is
	// there.
	keeper() (*sql.DB, error)
	// patience is how long a transaction may take, or a reader be without an answer,
	// before the connection is given up; 0: for ever.
	patience() time.Duration
}

// dialectOf tells the engine by the dsn: postgres:// and postgresql:// are
// PostgreSQL, sqlite:FILE and FILE are SQLite.
func dialectOf(dsn string, o Options) (dialect, error) {
	scheme, _, ok := strings.Cut(dsn, "://")
	switch {
	case ok && (scheme == "postgres" || scheme == "postgresql"):
		return postgresAt(dsn, o)
	case ok:
		return nil, errors.New("the database is neither sqlite:FILE nor postgres://USER@HOST/NAME")
	}
	return sqliteAt(strings.TrimPrefix(dsn, "sqlite:"), o)
}

// Describe is a dsn for people, without its password.
func Describe(dsn string) string {
	d, err := dialectOf(dsn, Options{})
	if err != nil {
		scheme, _, _ := strings.Cut(dsn, "://")
		return scheme + "://…"
	}
	return d.String()
}

// A head is the row that says where the log stands.
type head struct {
	cursor, at, epoch, viewed, commits int64
}

const headQuery = `SELECT cursor, at, epoch, viewed, commits FROM head WHERE id = 1`

func (h *head) scan(row scanner) error {
	return row.Scan(&h.cursor, &h.at, &h.epoch, &h.viewed, &h.commits)
}

// A statement is one that was put off.
type statement struct {
	text string
	args []any
}

// A session is the writer's connection with its prepared statements.
type session struct {
	conn  *sql.Conn
	stmts statements
}

func newSession(ctx context.Context, d dialect, db *sql.DB) (*session, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &session{conn: conn, stmts: statements{prepare: conn.PrepareContext, dialect: d}}, nil
}

// exec runs a statement without arguments and result.
func (s *session) exec(ctx context.Context, q string) error {
	st, err := s.stmts.get(ctx, q)
	if err == nil {
		_, err = st.ExecContext(ctx)
	}
	return err
}

// migrate brings the schema forward: all that is missing, in one transaction.
// Forty lines instead of a library: forward only, one writer, and the files are
// the history.
func migrate(ctx context.Context, d dialect, conn *sql.Conn) error {
	files, err := migrationFiles()
	if err != nil {
		return err
	}
	if err := d.prepare(ctx, conn); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return migrateIn(ctx, d, conn, func(done []string) error {
		if err := known(files, done); err != nil || len(done) == len(files) {
			return err
		}
		return apply(ctx, d, conn, files, len(done))
	})
}

// migrateIn runs change in the transaction in which schemas change; it is told the
// migrations that the database has seen.
func migrateIn(ctx context.Context, d dialect, conn *sql.Conn, change func(done []string) error) (err error) {
	if err := d.together(ctx, conn); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer func() {
		if err == nil {
			_, err = conn.ExecContext(ctx, "COMMIT")
		}
		if err != nil {
			conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	done, err := versions(ctx, conn)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return change(done)
}

// apply runs the migrations from one on.
func apply(ctx context.Context, d dialect, conn *sql.Conn, files []migrationFile, from int) error {
	var before []string
	for i, f := range files {
		if i >= from {
			text, err := d.migration(before, f.text)
			if err == nil {
				_, err = conn.ExecContext(ctx, text)
			}
			if err == nil {
				_, err = conn.ExecContext(ctx, d.sql(`INSERT INTO migrations VALUES ($1)`), f.name)
			}
			if err != nil {
				return fmt.Errorf("migrate %s: %w", f.name, err)
			}
		}
		before = append(before, f.text)
	}
	if err := d.settle(ctx, conn); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// A migrationFile is one step of the schema.
type migrationFile struct{ name, text string }

func migrationFiles() ([]migrationFile, error) {
	entries, err := fs.ReadDir(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	files := make([]migrationFile, len(entries))
	for i, e := range entries {
		text, err := migrations.ReadFile("migrations/" + e.Name())
		if err != nil {
			return nil, err
		}
		files[i] = migrationFile{e.Name(), string(text)}
	}
	return files, nil
}

// versions are the migrations that a database has seen, in order.
func versions(ctx context.Context, conn *sql.Conn) (names []string, err error) {
	rows, err := conn.QueryContext(ctx, `SELECT version FROM migrations ORDER BY version`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		names = append(names, s)
	}
	return names, rows.Err()
}

// known holds what a database has seen against the files that there are.
func known(files []migrationFile, done []string) error {
	for i, version := range done {
		if i >= len(files) || files[i].name != version {
			return fmt.Errorf("the database has schema %s, which this version of kefu does not know: use the version that made it, or a newer one", version)
		}
	}
	return nil
}

// statements keeps prepared statements by their text.
type statements struct {
	prepare func(context.Context, string) (*sql.Stmt, error)
	dialect dialect
	mu      sync.RWMutex // guards known
	known   map[string]*sql.Stmt
}

func (s *statements) get(ctx context.Context, q string) (*sql.Stmt, error) {
	s.mu.RLock()
	st := s.known[q]
	s.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	st, err := s.prepare(ctx, s.dialect.sql(q))
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
