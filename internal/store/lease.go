package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"sync"
	"time"
)

// leaseLife is how long a database that several machines can open is left to a
// process of which nothing is heard. No clocks are compared: the holder raises a
// counter every third of a life, and who wants to take over watches the same
// counter for a whole life by their own clock.
const leaseLife = 4 * time.Second

// leaseMigration is the one that makes leases.
const leaseMigration = "0011_lease.sql"

// lookEvery is how often who waits looks at the counter, at least.
const lookEvery = 200 * time.Millisecond

// A lease says that this process works on the database.
type lease struct {
	db     *sql.DB       // the writer's
	keeper *sql.DB       // see [dialect]
	waits  time.Duration // the dialect's patience
	holder string
	epoch  int64 // what it may write in
	life   time.Duration
	halt   func() // ends hold
	stop   chan struct{}
	done   chan struct{}
}

// errHeld: somebody was faster.
var errHeld = errors.New("somebody else holds the database")

// claim waits until nobody else works on the database and takes it over, raising
// the epoch: what an earlier holder still writes is refused. waits is called once
// if there is a holder, before waiting.
func claim(ctx context.Context, d dialect, db *sql.DB, life time.Duration, waits func()) (_ *lease, err error) {
	if life == 0 {
		life = leaseLife
	}
	l := &lease{db: db, waits: d.patience(), holder: rand.Text(), life: life, stop: make(chan struct{}), done: make(chan struct{})}
	if l.keeper, err = d.keeper(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.keeper.Close()
		}
	}()
	l.halt = sync.OnceFunc(func() { close(l.stop) })
	var watched struct {
		holder  string
		counter int64
	}
	look := func() (changed bool, err error) {
		before := watched
		ctx, end := context.WithTimeout(ctx, l.waits)
		defer end()
		err = l.keeper.QueryRowContext(ctx, `SELECT holder, counter FROM leases WHERE id = 1`).Scan(&watched.holder, &watched.counter)
		return watched != before, err
	}
	if _, err := look(); err != nil {
		return nil, err
	}
	for since := time.Now(); ; {
		// An own claim whose answer was lost may have taken place.
		if watched.holder == "" || watched.holder == l.holder || time.Since(since) > life {
			err := l.take(ctx, watched.holder, watched.counter)
			if err == nil {
				go l.hold()
				return l, nil
			} else if ctx.Err() != nil {
				return nil, ctx.Err()
			} else if d.refused(err) {
				return nil, err
			}
		}
		if waits != nil && watched.holder != "" {
			waits()
			waits = nil
		}
		if !pause(ctx, min(life/6, lookEvery)) {
			return nil, ctx.Err()
		}
		// While the database does not answer, its holder can't raise the counter.
		if changed, err := look(); changed || err != nil {
			since = time.Now()
		}
	}
}

// take makes this process the holder if the lease is still as it was seen.
func (l *lease) take(ctx context.Context, holder string, counter int64) error {
	ctx, end := context.WithTimeout(ctx, l.waits)
	defer end()
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	// The head first, as in every transaction.
	if err := tx.QueryRowContext(ctx, `UPDATE head SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch`).Scan(&l.epoch); err != nil {
		return err
	}
	res, err := tx.ExecContext(ctx, `UPDATE leases SET holder = $1, counter = counter + 1 WHERE id = 1 AND holder = $2 AND counter = $3`,
		l.holder, holder, counter)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(err, errHeld)
	}
	return tx.Commit()
}

const raise = `UPDATE leases SET counter = counter + 1 WHERE id = 1 AND holder = $1`

// hold raises the counter until the lease is let go. What goes wrong passes, or the
// writer finds it out.
func (l *lease) hold() {
	defer close(l.done)
	tick := time.NewTicker(l.life / 3)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
		l.say(raise)
	}
}

// release lets the next one take over at once. Nothing may be written afterwards.
func (l *lease) release() {
	l.halt()
	<-l.done
	const q = `UPDATE leases SET holder = '' WHERE id = 1 AND holder = $1`
	if l.say(q) != nil {
		l.say(q) // the connection may have been the reason
	}
	l.keeper.Close()
}

// say writes about the lease. What is lost leaves the time for another try, before
// somebody else thinks that this process is gone.
func (l *lease) say(q string) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.life/2)
	defer cancel()
	_, err := l.keeper.ExecContext(ctx, q, l.holder)
	return err
}

// pause waits, and reports false if ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
