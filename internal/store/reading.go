package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A reading is how the readers fare. A read that the database could not do makes the
// store unhealthy at once, for whoever reads; the next one that works makes it healthy
// again. Where nobody reads, the one that failed is tried again every second.
type reading struct {
	failed atomic.Pointer[failedRead] // nil: the last read worked
	mu     sync.Mutex                 // guards over, and tries from growing after it
	over   bool
	tries  sync.WaitGroup
	ended  chan struct{} // closed with over
}

type failedRead struct {
	q    string
	args []any
	err  error
}

// rereadFor is how long one try of a read that failed may take.
const rereadFor = 5 * time.Second

// healthy returns why the last read did not work.
func (r *reading) healthy() error {
	if f := r.failed.Load(); f != nil {
		return fmt.Errorf("the store can't be read: %w", f.err)
	}
	return nil
}

// close ends the tries; reads that fail from here on say nothing.
func (r *reading) close() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	close(r.ended)
	r.tries.Wait()
}

// row reads one row, as of now.
func (s *Store) row(ctx context.Context, q string, args ...any) scanner {
	st, err := s.reads.get(ctx, q)
	if err != nil {
		s.fared(ctx, q, args, err)
		return failed{err}
	}
	return &oneRow{st.QueryRowContext(ctx, args...), func(err error) { s.fared(ctx, q, args, err) }}
}

// rows reads rows, as of now.
func (s *Store) rows(ctx context.Context, q string, args ...any) (*manyRows, error) {
	st, err := s.reads.get(ctx, q)
	if err == nil {
		var rows *sql.Rows
		if rows, err = st.QueryContext(ctx, args...); err == nil {
			return &manyRows{rows, func(err error) { s.fared(ctx, q, args, err) }}, nil
		}
	}
	s.fared(ctx, q, args, err)
	return nil, err
}

// A scanner is a row.
type scanner interface{ Scan(...any) error }

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

// oneRow and manyRows are sql.Row and sql.Rows that tell how reading them went.
type oneRow struct {
	row   *sql.Row
	fared func(error)
}

func (r *oneRow) Scan(into ...any) error {
	err := r.row.Scan(into...)
	r.fared(err)
	return err
}

type manyRows struct {
	*sql.Rows
	fared func(error)
}

// Err is asked when all were read.
func (r *manyRows) Err() error {
	err := r.Rows.Err()
	r.fared(err)
	return err
}

// fared notes how a read went. A caller who went away, no row and a refused statement
// say nothing about the database.
func (s *Store) fared(ctx context.Context, q string, args []any, err error) {
	switch {
	case err == nil || errors.Is(err, sql.ErrNoRows):
		if s.reading.failed.Load() != nil {
			s.reading.failed.Store(nil)
		}
		return
	case ctx.Err() != nil || s.dialect.refused(err):
		return
	}
	s.reading.mu.Lock()
	defer s.reading.mu.Unlock()
	if f := (&failedRead{q, args, err}); !s.reading.over && s.reading.failed.CompareAndSwap(nil, f) {
		s.reading.tries.Go(func() { s.reread(f) })
	}
}

// reread repeats a read that failed until one works, be it another one.
func (s *Store) reread(f *failedRead) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for s.reading.failed.Load() == f {
		select {
		case <-s.reading.ended:
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(context.Background(), rereadFor)
		if rows, err := s.rows(ctx, f.q, f.args...); err == nil {
			for rows.Next() {
			}
			_ = rows.Err() // notes that it worked, if it did
			rows.Close()
		}
		cancel()
	}
}
