package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"unicode/utf8"
)

// A tx is the transaction that an op writes into.
type tx struct {
	head // as it will be; cursor is the last number drawn

	ctx     context.Context
	end     context.CancelFunc
	session *session
	dialect dialect
	lines   map[int64]line
	writes  int         // statements that wrote
	later   []statement // written, but not handed over yet
	broken  error       // the database could not work: no member's fault
	spoilt  error       // a statement was refused, and with it what follows it
}

// mostLater is how many statements are put off at most.
const mostLater = 4096

// draw returns the next number of the log.
func (t *tx) draw() int64 {
	t.cursor++
	return t.cursor
}

// put writes, like exec, when nobody needs to know how many rows: a database that
// is reached over a connection gets many of them at once, before the next thing
// that is read and before the commit. A refusal may then show only there.
func (t *tx) put(q string, args ...any) error {
	if !t.dialect.travels() {
		_, err := t.exec(q, args...)
		return err
	}
	if err := t.ready(args); err != nil {
		return err
	}
	t.writes++
	t.later = append(t.later, statement{q, args})
	if len(t.later) >= mostLater {
		return t.flush()
	}
	return nil
}

// flush hands over what was put.
func (t *tx) flush() error {
	if len(t.later) == 0 {
		return nil
	}
	put := t.later
	t.later = nil
	_, err := t.dialect.send(t.ctx, t.session, put, false)
	return t.fault(err)
}

// ready reports what keeps a statement from being run.
func (t *tx) ready(args []any) error {
	switch {
	case t.broken != nil:
		return t.broken
	case t.spoilt != nil:
		return t.spoilt
	}
	for _, a := range args {
		if text, ok := a.(string); ok && !utf8.ValidString(text) || ok && strings.IndexByte(text, 0) >= 0 {
			return errText
		}
	}
	return nil
}

// errText: not every database can keep it.
var errText = errors.New("a text is not UTF-8 or has a zero in it")

// exec runs a statement that writes and returns how many rows it wrote.
func (t *tx) exec(q string, args ...any) (int64, error) {
	err := t.ready(args)
	if err == nil {
		err = t.flush()
	}
	if err != nil {
		return 0, err
	}
	st, err := t.session.stmts.get(t.ctx, q)
	if err != nil {
		return 0, t.fault(err)
	}
	res, err := st.ExecContext(t.ctx, args...)
	if err != nil {
		return 0, t.fault(err)
	}
	n, err := res.RowsAffected()
	if n > 0 {
		t.writes++
	}
	return n, err
}

// control runs savepoints and their kin, of which a failure is nobody's own.
func (t *tx) control(q string) {
	if t.broken != nil {
		return
	}
	if err := t.session.exec(t.ctx, q); err != nil {
		t.broken = err
	}
}

// undo takes back what the member has written.
func (t *tx) undo() {
	t.later, t.spoilt = nil, nil
	clear(t.lines)
	t.control("ROLLBACK TO member")
}

// commit writes the head and commits, with what was put before: errApart if that
// is refused, a *doubt if nobody knows.
func (t *tx) commit() error {
	if t.broken != nil {
		return t.broken
	}
	t.commits++
	err := t.put(`UPDATE head SET cursor = $1, at = $2, viewed = $3, commits = $4 WHERE id = 1`, t.cursor, t.at, t.viewed, t.commits)
	if t.spoilt != nil {
		return errApart
	} else if err != nil {
		return err
	}
	put := t.later
	t.later = nil
	inDoubt, err := t.dialect.send(t.ctx, t.session, put, true)
	switch {
	case inDoubt:
		return &doubt{err: err, head: t.head}
	case err != nil && len(put) > 0 && t.dialect.refused(err):
		return errApart
	}
	if err == nil {
		t.end()
	}
	return err
}

func (t *tx) fault(err error) error {
	switch {
	case err == nil || t.broken != nil || t.spoilt != nil:
	case !t.dialect.refused(err):
		t.broken = err
	case t.dialect.spoils():
		t.spoilt = err
	}
	return err
}

// row runs a query for one row. Its Scan returns sql.ErrNoRows if there is none.
func (t *tx) row(q string, args ...any) row {
	err := t.ready(args)
	if err == nil {
		err = t.flush()
	}
	if err != nil {
		return row{t: t, err: err}
	}
	st, err := t.session.stmts.get(t.ctx, q)
	if err != nil {
		return row{t: t, err: t.fault(err)}
	}
	return row{t: t, row: st.QueryRowContext(t.ctx, args...)}
}

type row struct {
	t   *tx
	row *sql.Row
	err error
}

func (r row) Scan(dest ...any) error {
	if r.err == nil {
		r.err = r.row.Scan(dest...)
		if r.err != nil && !errors.Is(r.err, sql.ErrNoRows) {
			r.t.fault(r.err)
		}
	}
	return r.err
}
