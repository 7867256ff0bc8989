// Package store keeps what the gateway has promised: messages, what became of
// them, what followers did, and the accounts, keys and tokens that go with it.
//
//	s, err := store.Open(ctx, "sqlite:kefu.db", store.Options{})
//	kept := s.Enqueue(ctx, now, draft)           // returned: on disk
//	err = s.Begin(ctx, now, store.Begin{…})      // committed before the post leaves
//	err = s.Finish(ctx, now, store.Finish{…})    // what came of it
//
// # One log
//
// The feed is an append-only log with one line per thing that happened, numbered
// in the commit that writes it. A message's state is its latest line; nothing on
// the way of a message is ever updated in place. What lists and a start need
// besides ([Store.Messages], [Store.Unfinished]) is a view, written by a reader
// of the feed: it may lag, under a second, and Open waits until it has caught up.
//
// # Group commit
//
// One goroutine writes. Whatever waits for it goes into one transaction, whose
// fsync every caller then shares. A call that writes returns nil only after that
// fsync; its context is looked at before it joins a transaction and never
// afterwards, so that nobody is told "canceled" about something that was kept. A
// row that the database refuses fails alone: the others are committed without it.
// If the commit itself fails (disk full, I/O error) all its callers get
// [ErrUnavailable], and the next one tries again. If the connection is lost before
// the answer to a COMMIT comes, its callers wait until the database tells whether
// it took place.
//
// # Two engines
//
// SQLite is a file for one process, the last one that opens it. PostgreSQL can be
// opened from several machines: one process holds the lease and works, others wait
// in Open until it lets go or is not heard of for 4 s.
//
// # Time
//
// Every time comes in as an argument; SQL never asks for it.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kefu-go/kefu"
)

// Options of a store. The zero value is good.
type Options struct {
	// SecretKey seals AppSecrets, callback tokens, AES keys and access tokens:
	// any text of at least 32 characters. Default: the content of the file
	// <path>.secret, with PostgreSQL kefu.secret in the working directory, which the
	// first start makes with mode 0600.
	SecretKey kefu.Secret

	// Waits, if not nil, is called once when another process holds the database and
	// Open waits for it (PostgreSQL).
	Waits func()
	// LeaseLife is how long a process of which nothing is heard keeps the database
	// (PostgreSQL); all that open it need the same. Default 4 s.
	LeaseLife time.Duration

	// Driver is the name of a database/sql driver for SQLite that understands
	// _pragma and _txlock in its file: URI. Default "sqlite" (modernc.org/sqlite).
	Driver string
	// Gather is how long a transaction waits for as many callers as the last one had,
	// so that they share its fsync; default 500 µs, below 0: not at all.
	Gather time.Duration
	// Params go into that URI besides, "vfs=recorder" for example; a _pragma
	// among them takes the place of the store's own.
	Params string

	patience time.Duration // of PostgreSQL, for tests; see [dialect]
}

var (
	// ErrUnavailable: the database could not be written (disk full, I/O error)
	// or reached, or too much waits for it. Nothing was kept. It passes: try again
	// later.
	ErrUnavailable = errors.New("the store can't be written now; nothing was kept, try again")
	// ErrUncertain: the connection to the database was lost while it committed, or the
	// server stopped waiting for its standby, and the store was closed, or another
	// process took over, before it could be found out what became of it.
	ErrUncertain = errors.New("nobody knows what became of a commit; it may have been kept or not")
	// ErrNotFound: there is no such row.
	ErrNotFound = errors.New("not found")
	// ErrConflict: the message is not in the state that the call names. The
	// error is a [*ConflictError] with the message as it is.
	ErrConflict = errors.New("the message is in another state")
	// ErrIdempotencyMismatch: the idempotency key was used for another request
	// within the last 7 days.
	ErrIdempotencyMismatch = errors.New("the idempotency key was used for another request")
	// ErrCursor: the cursor is not one that the store has given out.
	ErrCursor = errors.New("not a cursor of this list")
	// ErrCursorGone: the feed does not reach back to the cursor, or not yet
	// (the database was restored from a backup). Start anew.
	ErrCursorGone = errors.New("the feed does not have this cursor any more")
	// ErrFenced: another process has opened the same database since. It alone
	// works on it now; this one must end.
	ErrFenced = errors.New("another process has opened this database; stop one of the two")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
)

// A Store is an open database. It is safe for concurrent use.
type Store struct {
	*writer
	reader     *sql.DB
	reads      statements
	reading    reading
	seals      sealer
	lease      *lease // nil: nobody else can open the database at the same time
	ids        ids
	lastCommit time.Time
}

// Open opens the database, making or migrating it where that is needed, and takes
// it over: an earlier process that still has it open can't write any more
// ([ErrFenced]). The dsn is postgres://USER@HOST/NAME or, for SQLite, sqlite:FILE or
// the file alone. No error of the store has the password in it. On PostgreSQL, Open
// waits while another process works on the database.
func Open(ctx context.Context, dsn string, o Options) (_ *Store, err error) {
	d, err := dialectOf(dsn, o)
	if err != nil {
		return nil, err
	}
	w := &writer{
		dialect: d,
		wake:    make(chan struct{}, 1), finished: make(chan struct{}),
		changed: make(chan struct{}), seen: make(chan struct{}),
		lines: map[int64]line{}, company: cmp.Or(o.Gather, gather),
	}
	s := &Store{writer: w, reading: reading{ended: make(chan struct{})}}
	if w.db, err = d.writer(); err != nil {
		return nil, err
	}
	if s.reader, err = d.reader(); err != nil {
		return nil, err
	}
	s.reads = statements{prepare: s.reader.PrepareContext, dialect: d}
	defer func() {
		if err != nil {
			w.drop()
			if s.lease != nil {
				s.lease.release()
			}
			s.reader.Close()
			w.db.Close()
			err = fmt.Errorf("open %s: %w", d, err)
		}
	}()
	if err := s.takeOver(ctx, o); err != nil {
		return nil, err
	}
	for w.behind() > 0 {
		if err := w.viewStep(); err != nil {
			return nil, err
		}
	}
	go w.loop()
	return s, nil
}

// takeOver finds the key, migrates and raises the epoch. A database that others can
// open is claimed before its schema is touched; a new one has to have a schema to be
// claimed by.
func (s *Store) takeOver(ctx context.Context, o Options) (err error) {
	d := s.dialect
	migrated := func() error {
		conn, err := s.writer.db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		return migrate(ctx, d, conn)
	}
	if d.shared() {
		if fresh, err := s.fresh(ctx); err != nil {
			return err
		} else if fresh {
			if err := migrated(); err != nil {
				return err
			}
		}
		if s.lease, err = claim(ctx, d, s.writer.db, o.LeaseLife, o.Waits); err != nil {
			return err
		}
	}
	if err := migrated(); err != nil {
		return err
	}
	if err := s.unseal(ctx, o); err != nil {
		return err
	}
	q := `UPDATE head SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch, at, cursor, viewed`
	if s.lease != nil { // done with the claim
		q = `SELECT epoch, at, cursor, viewed FROM head WHERE id = 1`
	}
	var at int64
	err = s.writer.db.QueryRowContext(ctx, q).Scan(&s.epoch, &at, &s.cursor, &s.viewed)
	if s.lease != nil {
		s.epoch = s.lease.epoch
	}
	if at > 0 {
		s.lastCommit = fromMS(at)
	}
	return err
}

// fresh reports whether the database has no lease to be claimed by yet. One that has
// a schema which this version does not know is refused.
func (s *Store) fresh(ctx context.Context) (bool, error) {
	conn, err := s.writer.db.Conn(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	if err := s.dialect.prepare(ctx, conn); err != nil {
		return false, err
	}
	done, err := versions(ctx, conn)
	if err != nil {
		return false, err
	}
	files, err := migrationFiles()
	if err != nil {
		return false, err
	}
	return !slices.Contains(done, leaseMigration), known(files, done)
}

// unseal finds the key that the database is sealed with, or seals a new one.
func (s *Store) unseal(ctx context.Context, o Options) error {
	var known []byte
	err := s.writer.db.QueryRowContext(ctx, `SELECT sealed FROM seal`).Scan(&known)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if o.SecretKey == "" {
		if o.SecretKey, err = secretFile(s.dialect.secretFile(), known == nil); err != nil {
			return err
		}
	}
	if s.seals, err = newSealer(o.SecretKey); err != nil {
		return err
	}
	if known == nil {
		_, err := s.writer.db.ExecContext(ctx, s.dialect.sql(`INSERT INTO seal (id, sealed) VALUES (1, $1)`), s.seals.seal("kefu", "seal"))
		return err
	}
	if _, err := s.seals.open(known, "seal"); err != nil {
		return errors.New("the secret key is not the one that sealed this database; give that one")
	}
	return nil
}

// Close waits for what was handed in, commits it and closes the database.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.nudge()
	<-s.finished
	if s.lease != nil {
		s.lease.release()
	}
	s.reading.close()
	s.reads.close()
	return errors.Join(s.reader.Close(), s.writer.db.Close())
}

// Healthy returns nil if the last commit worked and reads do, else why not. After a
// failure the store tries by itself once a second.
func (s *Store) Healthy() error {
	if err := s.healthy(); err != nil {
		return err
	}
	return s.reading.healthy()
}

// Changed returns a channel that is closed when the feed has grown. Take it before
// reading the feed, then nothing is missed.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// Heartbeat writes down that the store could be written at now. Every other
// write does too; call it when there is none, some seconds apart.
func (s *Store) Heartbeat(ctx context.Context, now time.Time) error {
	return s.write(ctx, now, func(*tx) error { return nil })
}

// LastCommit returns the time of the last commit before this process opened the
// store, or the zero time: since then no callback could be kept.
func (s *Store) LastCommit() time.Time { return s.lastCommit }

// write performs run in a transaction of the writer.
func (s *Store) write(ctx context.Context, now time.Time, run func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o := &op{now: now, run: run}
	s.submit(false, o)
	return o.err
}

// ms is how times are stored: milliseconds, UTC.
func ms(t time.Time) int64 { return t.UnixMilli() }

func fromMS(n int64) time.Time { return time.UnixMilli(n).UTC() }
