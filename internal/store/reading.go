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
// again. If the disk was to blame it has to be the same read: another one may come from
// memory. Where nobody reads, the one that failed is tried again every second.
type reading struct {
	failed atomic.Pointer[failedRead] // nil: reads work
	mu     sync.Mutex                 // guards over, and tries from growing after it
	over   bool
	tries  sync.WaitGroup
	ended  chan struct{} // closed with over
}

type failedRead struct {
	q      string
	args   []any
	err    error
	broken bool // the disk was to blame
}

// rereadFor is how long one try of a read that failed may take.
const rereadFor = 5 * time.Second

// healthy returns why reads don't work.
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

// A read is one that is under way. It is given up when the database is silent for
// longer than the dialect's patience: where the other end of a connection is gone
// without a word, the system would have it wait for a quarter of an hour.
type read struct {
	s      *Store
	caller context.Context
	q      string
	args   []any

	ctx      context.Context // of the database's work
	end      context.CancelFunc
	patience time.Duration
	timer    *time.Timer // ends ctx; nil: the database can't be silent
	began    time.Time   // what is waited for now
	waited   time.Duration
}

// errSilent: the database may be gone.
var errSilent = errors.New("the database does not answer")

// read begins a read, and to wait.
func (s *Store) read(ctx context.Context, q string, args []any) *read {
	r := &read{s: s, caller: ctx, q: q, args: args, ctx: ctx, end: func() {}}
	if r.patience = s.dialect.patience(); r.patience > 0 {
		r.ctx, r.end = context.WithCancel(ctx)
		r.began, r.timer = time.Now(), time.AfterFunc(r.patience, r.end)
	}
	return r
}

// wait notes that the database's next word is waited for, until came.
func (r *read) wait() {
	if r.timer != nil {
		r.began = time.Now()
		r.timer.Reset(r.patience)
	}
}

func (r *read) came() {
	if r.timer != nil {
		r.timer.Stop()
		r.waited = time.Since(r.began)
	}
}

// fared notes how a read went, and returns what to say of it. A caller who went away
// soon, no row and a refused statement say nothing about the database.
func (r *read) fared(err error) error {
	s := r.s
	left := r.caller.Err() != nil
	switch {
	case err == nil || errors.Is(err, sql.ErrNoRows):
		if f := s.reading.failed.Load(); f != nil && (!f.broken || f.q == r.q) {
			s.reading.failed.CompareAndSwap(f, nil)
		}
		return err
	case left && (r.timer == nil || r.waited < r.patience/4) || s.dialect.refused(err):
		return err
	case !left && r.ctx.Err() != nil:
		err = errSilent
	}
	s.reading.mu.Lock()
	defer s.reading.mu.Unlock()
	f, before := &failedRead{r.q, r.args, err, s.dialect.broken(err)}, s.reading.failed.Load()
	if graver := before == nil || f.broken && !before.broken; graver && !s.reading.over && s.reading.failed.CompareAndSwap(before, f) {
		s.reading.tries.Go(func() { s.reread(f) })
	}
	return err
}

// over ends a read, and returns what to say of it. How it fared is asked first: once it
// is ended, every error looks like silence.
func (r *read) over(err error) error {
	r.came()
	defer r.end()
	return r.fared(err)
}

// row reads one row, as of now.
func (s *Store) row(ctx context.Context, q string, args ...any) scanner {
	r := s.read(ctx, q, args)
	st, err := s.reads.get(r.ctx, q)
	if err != nil {
		return failed{r.over(err)}
	}
	return &oneRow{st.QueryRowContext(r.ctx, args...), r}
}

// rows reads rows, as of now.
func (s *Store) rows(ctx context.Context, q string, args ...any) (*manyRows, error) {
	r := s.read(ctx, q, args)
	st, err := s.reads.get(r.ctx, q)
	var rows *sql.Rows
	if err == nil {
		rows, err = st.QueryContext(r.ctx, args...)
	}
	if err != nil {
		return nil, r.over(err)
	}
	r.came()
	return &manyRows{rows, r}, nil
}

// A scanner is a row.
type scanner interface{ Scan(...any) error }

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

// numbers reads rows of one number each.
func (s *Store) numbers(ctx context.Context, q string, args ...any) ([]int64, error) {
	rows, err := s.rows(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var numbers []int64
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, rows.Err()
}

// oneRow and manyRows are sql.Row and sql.Rows that tell how reading them went, and
// don't wait for ever.
type oneRow struct {
	row  *sql.Row
	read *read
}

func (r *oneRow) Scan(into ...any) error {
	return r.read.over(r.row.Scan(into...))
}

type manyRows struct {
	*sql.Rows
	read *read
}

func (r *manyRows) Next() bool {
	r.read.wait()
	defer r.read.came()
	return r.Rows.Next()
}

// Err is asked when all were read.
func (r *manyRows) Err() error { return r.read.fared(r.Rows.Err()) }

// Close reads on to the end.
func (r *manyRows) Close() error {
	r.read.wait()
	defer r.read.end()
	defer r.read.came()
	return r.Rows.Close()
}

// reread repeats a read that failed until it works, or is still giving rows when the
// time of a try ends; or until another one shows that reads work.
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
			some := false
			for rows.Next() {
				some = true
			}
			_ = rows.Err() // notes that it worked, if it did
			rows.Close()
			if some && ctx.Err() != nil {
				s.reading.failed.CompareAndSwap(f, nil)
			}
		}
		cancel()
	}
}
