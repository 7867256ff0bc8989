package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	gather       = 500 * time.Microsecond // default of Options.Gather
	largestBatch = 2048                   // callers in one transaction
	mostWaiting  = 20_000                 // callers in line; more are turned away
	probeEvery   = time.Second            // how often a store that could not be written is tried
)

// An op is one caller's part of a transaction. run decides and writes; it may be
// run a second time, after all it wrote was undone.
type op struct {
	now  time.Time
	run  func(*tx) error
	err  error
	done *sync.WaitGroup
}

// writer is the goroutine that alone writes, and the line before it.
type writer struct {
	dialect dialect
	db      *sql.DB
	epoch   int64
	company time.Duration // Options.Gather

	wake     chan struct{} // has room for one: there is something to do
	finished chan struct{}

	mu      sync.Mutex // guards what follows
	waiting []*op
	closed  bool
	health  error         // of the last commit
	cursor  int64         // committed
	viewed  int64         // committed
	wanted  int64         // up to here somebody waits for the view
	changed chan struct{} // closed when cursor grows
	seen    chan struct{} // closed when viewed grows or health changes

	conn  *sql.Conn // the goroutine's own, like what follows; nil after a failure
	stmts statements
	lines map[int64]line // the latest about messages, by seq; see mostLines
	last  int            // callers in the last transaction
	since time.Time      // since when the view is behind
}

// submit puts ops in line and waits until their transaction is over. limited ones
// are turned away when the line is too long.
func (w *writer) submit(limited bool, ops ...*op) {
	if len(ops) == 0 {
		return
	}
	var done sync.WaitGroup
	done.Add(len(ops))
	for _, o := range ops {
		o.done = &done
	}
	w.mu.Lock()
	var refusal error
	switch {
	case w.closed:
		refusal = ErrClosed
	case limited && len(w.waiting) > mostWaiting:
		refusal = fmt.Errorf("%w: %d others are waiting", ErrUnavailable, len(w.waiting))
	default:
		w.waiting = append(w.waiting, ops...)
	}
	w.mu.Unlock()
	if refusal != nil {
		for _, o := range ops {
			o.err = refusal
		}
		return
	}
	w.nudge()
	done.Wait()
}

func (w *writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *writer) loop() {
	defer close(w.finished)
	for {
		w.gather()
		w.mu.Lock()
		batch, rest := w.waiting, []*op(nil)
		if len(batch) > largestBatch {
			batch, rest = batch[:largestBatch], batch[largestBatch:]
		}
		w.waiting = rest
		closed := w.closed && len(rest) == 0
		w.mu.Unlock()
		if len(batch) > 0 {
			w.last = len(batch)
			w.commit(batch)
		}
		if w.viewDue(closed) {
			w.view()
		}
		if closed && (w.behind() == 0 || w.healthy() != nil) {
			w.drop()
			return
		}
		w.rest()
	}
}

// gather waits a moment for the company that the last transaction had: its
// callers are on their way back.
func (w *writer) gather() {
	if w.last < 2 || w.company < 0 {
		return
	}
	t := time.NewTimer(w.company)
	defer t.Stop()
	for {
		w.mu.Lock()
		n, closed := len(w.waiting), w.closed
		w.mu.Unlock()
		if n == 0 || n >= w.last || closed {
			return
		}
		select {
		case <-w.wake:
		case <-t.C:
			return
		}
	}
}

// rest sleeps until there is something to do.
func (w *writer) rest() {
	w.mu.Lock()
	busy := len(w.waiting) > 0 || w.closed
	wanted := w.wanted > w.viewed && w.health == nil
	behind, health := w.cursor > w.viewed, w.health
	w.mu.Unlock()
	if busy || wanted {
		return
	}
	var timer <-chan time.Time
	switch {
	case health != nil && !errors.Is(health, ErrFenced):
		t := time.NewTimer(probeEvery)
		defer t.Stop()
		timer = t.C
	case behind && health == nil:
		t := time.NewTimer(max(0, viewAfter-time.Since(w.since)))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-w.wake:
	case <-timer:
		if health != nil {
			w.commit(nil)
		}
	}
}

func (w *writer) behind() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cursor - w.viewed
}

func (w *writer) healthy() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.health
}

var errApart = errors.New("a member failed after it had written")

// commit performs the ops in one transaction and releases their callers.
func (w *writer) commit(batch []*op) {
	err := w.transact(batch, false)
	if err == errApart {
		err = w.transact(batch, true)
	}
	err = w.report(err)
	for _, o := range batch {
		if err != nil {
			o.err = err
		}
		o.done.Done()
	}
}

// report notes whether a transaction worked and returns what to tell its callers.
func (w *writer) report(err error) error {
	if err != nil && !errors.Is(err, ErrFenced) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if (w.health == nil) != (err == nil) {
		close(w.seen)
		w.seen = make(chan struct{})
	}
	w.health = err
	return err
}

// transact runs ops and commits. It returns errApart if one of them failed after
// writing and they were not run apart, each in a savepoint that can be undone.
func (w *writer) transact(batch []*op, apart bool) (err error) {
	t, err := w.begin()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.rollback()
		}
	}()
	start := t.cursor
	for i, o := range batch {
		if i == 0 || ms(o.now) > t.at {
			t.at = ms(o.now)
		}
		o.err = nil
		wrote, drawn := t.writes, t.cursor
		if apart {
			t.control("SAVEPOINT member")
		}
		o.err = o.run(t)
		if t.broken != nil {
			return t.broken
		}
		if o.err != nil {
			t.cursor = drawn
			if t.writes > wrote {
				if !apart {
					return errApart
				}
				t.control("ROLLBACK TO member")
				clear(t.lines)
			}
		}
		if apart {
			t.control("RELEASE member")
		}
	}
	if _, err := t.exec(`UPDATE head SET cursor = $1, at = $2 WHERE id = 1`, t.cursor, t.at); err != nil {
		return err
	}
	if t.control("COMMIT"); t.broken != nil {
		return t.broken
	}
	w.publish(t.cursor > start, t.cursor, t.viewed)
	return nil
}

// publish tells the readers how far the log goes.
func (w *writer) publish(grew bool, cursor, viewed int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cursor == w.viewed && cursor > viewed {
		w.since = time.Now()
	}
	if viewed > w.viewed {
		close(w.seen)
		w.seen = make(chan struct{})
	}
	w.cursor, w.viewed = cursor, viewed
	if grew {
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// begin starts a transaction and reads where the log stands.
func (w *writer) begin() (*tx, error) {
	if w.conn == nil {
		conn, err := w.db.Conn(context.Background())
		if err != nil {
			return nil, err
		}
		w.conn = conn
		w.stmts = statements{prepare: conn.PrepareContext, dialect: w.dialect}
	}
	t := &tx{stmts: &w.stmts, dialect: w.dialect, lines: w.lines}
	if t.control(begin); t.broken != nil {
		w.drop()
		return nil, t.broken
	}
	var epoch int64
	err := t.row(`SELECT cursor, at, epoch, viewed FROM head WHERE id = 1`).Scan(&t.cursor, &t.at, &epoch, &t.viewed)
	if err == nil && epoch != w.epoch {
		err = ErrFenced
	}
	if err != nil {
		w.rollback()
		return nil, err
	}
	return t, nil
}

// rollback undoes the transaction. Where that fails (SQLite may have done it by
// itself) the connection goes too.
func (w *writer) rollback() {
	clear(w.lines)
	if _, err := w.conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
		w.drop()
	}
}

// drop closes the connection; the next transaction makes a new one.
func (w *writer) drop() {
	if w.conn == nil {
		return
	}
	w.stmts.close()
	w.conn.Raw(func(any) error { return driver.ErrBadConn })
	w.conn.Close()
	w.conn = nil
}

// A tx is the transaction that an op writes into.
type tx struct {
	stmts   *statements
	dialect dialect
	lines   map[int64]line
	cursor  int64 // last number drawn
	viewed  int64
	at      int64
	writes  int   // statements that wrote
	broken  error // the database could not work: no member's fault
}

// draw returns the next number of the log.
func (t *tx) draw() int64 {
	t.cursor++
	return t.cursor
}

// exec runs a statement that writes and returns how many rows it wrote.
func (t *tx) exec(q string, args ...any) (int64, error) {
	st, err := t.stmts.get(q)
	if err != nil {
		return 0, t.fault(err)
	}
	res, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, t.fault(err)
	}
	n, err := res.RowsAffected()
	if n > 0 {
		t.writes++
	}
	return n, err
}

// control runs BEGIN, COMMIT and their kin, of which a failure is nobody's own.
func (t *tx) control(q string) {
	if t.broken != nil {
		return
	}
	st, err := t.stmts.get(q)
	if err == nil {
		_, err = st.ExecContext(context.Background())
	}
	if err != nil {
		t.broken = err
	}
}

func (t *tx) fault(err error) error {
	if !t.dialect.refused(err) {
		t.broken = err
	}
	return err
}

// row runs a query for one row. Its Scan returns sql.ErrNoRows if there is none.
func (t *tx) row(q string, args ...any) row {
	st, err := t.stmts.get(q)
	if err != nil {
		return row{t: t, err: err}
	}
	return row{t: t, row: st.QueryRowContext(context.Background(), args...)}
}

type row struct {
	t   *tx
	row *sql.Row
	err error
}

func (r row) Scan(dest ...any) error {
	if r.err == nil {
		r.err = r.row.Scan(dest...)
	}
	if r.err != nil && !errors.Is(r.err, sql.ErrNoRows) {
		return r.t.fault(r.err)
	}
	return r.err
}
