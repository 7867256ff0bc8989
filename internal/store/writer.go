package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kefu-go/kefu/internal/failpoint"
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
	chores  []*chore
	closed  bool
	health  error         // of the last commit
	cursor  int64         // committed
	viewed  int64         // committed
	wanted  int64         // up to here somebody waits for the view
	changed chan struct{} // closed when cursor grows
	seen    chan struct{} // closed when viewed grows or health changes

	session *session       // the goroutine's own, like what follows; nil after a failure
	lines   map[int64]line // the latest about messages, by seq; see mostLines
	last    int            // callers in the last transaction
	since   time.Time      // since when the view is behind
}

// A chore is work on the writer's connection outside any transaction.
type chore struct {
	do   func(context.Context, *sql.Conn) error
	err  error
	done chan struct{}
}

// between performs a chore between two transactions. It should take milliseconds:
// everybody waits for it.
func (w *writer) between(ctx context.Context, do func(context.Context, *sql.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := &chore{do: do, done: make(chan struct{})}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return ErrClosed
	}
	w.chores = append(w.chores, c)
	w.mu.Unlock()
	w.nudge()
	<-c.done
	return c.err
}

// perform does a chore, or not while the store can't be written.
func (w *writer) perform(c *chore) {
	defer close(c.done)
	if c.err = w.healthy(); c.err != nil {
		return
	}
	if w.session == nil {
		if w.session, c.err = newSession(context.Background(), w.dialect, w.db); c.err != nil {
			return
		}
	}
	if c.err = c.do(context.Background(), w.session.conn); c.err != nil {
		w.drop() // nobody knows what state it is in
	}
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
		chores := w.chores
		w.chores = nil
		closed := w.closed && len(rest) == 0
		w.mu.Unlock()
		if len(batch) > 0 {
			w.last = len(batch)
			w.commit(batch)
		}
		for _, c := range chores {
			w.perform(c)
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
	busy := len(w.waiting)+len(w.chores) > 0 || w.closed
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
	var d *doubt
	if errors.As(err, &d) {
		err = w.resolve(d)
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
	if err != nil && !errors.Is(err, ErrFenced) && !errors.Is(err, ErrUncertain) {
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

// A doubt is a commit of which nobody knows whether it took place, or whether it will
// stay: the connection was lost before the answer came, or the server stopped waiting
// for a standby.
type doubt struct {
	err  error
	head head // if it did
	grew bool
}

func (d *doubt) Error() string { return "nobody knows what became of a commit: " + d.err.Error() }

const resolveEvery = 250 * time.Millisecond // how often a database that went away during a commit is sought

// resolve finds out what became of a commit in doubt, however long it takes: until then
// its callers wait, since whatever they were told might be wrong, and others are turned
// away.
func (w *writer) resolve(d *doubt) error {
	w.report(d)
	for {
		kept, err := w.stays(d)
		switch {
		case err == nil && kept:
			w.publish(d.grew, d.head)
			return nil
		case err == nil:
			return d.err
		case errors.Is(err, ErrFenced):
			return fmt.Errorf("%w: %w", ErrUncertain, err)
		}
		w.mu.Lock()
		turned, closed := w.waiting, w.closed
		w.waiting = nil
		w.mu.Unlock()
		for _, o := range turned {
			o.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
			o.done.Done()
		}
		if closed {
			return fmt.Errorf("%w: %w", ErrUncertain, err)
		}
		again := time.NewTimer(resolveEvery)
		select {
		case <-w.wake:
		case <-again.C:
		}
		again.Stop()
	}
}

// stays reports whether a commit in doubt took place and nothing can undo it any more.
// It locks the head, so a server that still has the transaction open lets it know only
// when that is over. Nobody else counts commits as long as this process holds the epoch.
//
// That the server has it is not enough. One that was cut off from its standby shows what
// it has committed when it is told to wait no longer, or after a restart, and the standby
// may be promoted without that. So another commit has to be answered: a standby that has
// that one has what is before it in the log.
func (w *writer) stays(d *doubt) (bool, error) {
	t, err := w.begin()
	if err != nil {
		return false, err
	}
	if t.commits != d.head.commits {
		w.rollback(t)
		return false, nil
	}
	again := []statement{{text: `UPDATE head SET commits = commits WHERE id = 1`}}
	if _, err := w.dialect.send(t.ctx, t.session, again, true); err != nil {
		w.rollback(t)
		return false, err
	}
	t.end()
	return true, nil
}

// transact runs ops and commits. It returns errApart if one of them failed after
// writing and they were not run apart, each in a savepoint that can be undone, and
// a *doubt if nobody knows whether they are committed.
func (w *writer) transact(batch []*op, apart bool) (err error) {
	t, err := w.begin()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.rollback(t)
		}
	}()
	start := t.cursor
	for i, o := range batch {
		if i == 0 || ms(o.now) > t.at {
			t.at = ms(o.now)
		}
		wrote, drawn := t.writes, t.cursor
		if apart {
			t.control("SAVEPOINT member")
		}
		o.err = o.run(t)
		if apart && o.err == nil {
			o.err = t.flush()
		}
		if t.broken != nil {
			return t.broken
		}
		if o.err == nil {
			o.err = t.spoilt
		}
		if o.err != nil {
			t.cursor = drawn
			if t.writes > wrote || t.spoilt != nil {
				if !apart {
					return errApart
				}
				t.undo()
			}
		}
		if apart {
			t.control("RELEASE member")
		}
	}
	failpoint.Here("commit.before")
	if err := t.commit(); err != nil {
		return err
	}
	failpoint.Here("commit.after")
	w.publish(t.cursor > start, t.head)
	return nil
}

// publish tells the readers how far the log goes.
func (w *writer) publish(grew bool, h head) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cursor == w.viewed && h.cursor > h.viewed {
		w.since = time.Now()
	}
	if h.viewed > w.viewed {
		close(w.seen)
		w.seen = make(chan struct{})
	}
	w.cursor, w.viewed = h.cursor, h.viewed
	if grew {
		close(w.changed)
		w.changed = make(chan struct{})
	}
}

// published is how far the log goes for those who follow it: what a commit in doubt
// has may go again, and its numbers may come with something else.
func (w *writer) published() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cursor
}

// begin starts a transaction and reads where the log stands.
func (w *writer) begin() (*tx, error) {
	ctx, end := context.Background(), context.CancelFunc(func() {})
	if p := w.dialect.patience(); p > 0 {
		ctx, end = context.WithTimeout(ctx, p)
	}
	if w.session == nil {
		s, err := newSession(ctx, w.dialect, w.db)
		if err != nil {
			end()
			return nil, err
		}
		w.session = s
	}
	t := &tx{ctx: ctx, end: end, session: w.session, dialect: w.dialect, lines: w.lines}
	var err error
	t.head, err = w.dialect.begin(ctx, w.session)
	if err == nil && t.epoch != w.epoch {
		err = ErrFenced
	}
	if err != nil {
		w.rollback(t)
		return nil, err
	}
	return t, nil
}

// rollback undoes the transaction. Where that fails (SQLite may have done it by
// itself, a connection may be gone) the connection goes too.
func (w *writer) rollback(t *tx) {
	clear(w.lines)
	if _, err := w.session.conn.ExecContext(t.ctx, "ROLLBACK"); err != nil {
		w.drop()
	}
	t.end()
}

// drop closes the connection; the next transaction makes a new one.
func (w *writer) drop() {
	if w.session == nil {
		return
	}
	w.session.stmts.close()
	w.session.conn.Raw(func(any) error { return driver.ErrBadConn })
	w.session.conn.Close()
	w.session = nil
}
