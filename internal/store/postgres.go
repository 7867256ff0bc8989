package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgres is a PostgreSQL database. Its head row is locked by every transaction
// of the writer, so that numbers appear in the order in which they were drawn: a
// reader of the log can't pass one that a later commit brings.
type postgres struct {
	config *pgx.ConnConfig
	good   *atomic.Int32 // see [hosts]
	waits  time.Duration // its patience
}

func postgresAt(dsn string, o Options) (postgres, error) {
	c, err := pgx.ParseConfig(dsn)
	if err != nil { // its text may have a part of the password in it
		return postgres{}, errors.New("this is not the address of a PostgreSQL database: it is written postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=…, " +
			"where characters of the password that have a meaning in URLs stand as %XX, and files that it names must exist")
	}
	if c.ConnectTimeout == 0 { // of each address of a host
		c.ConnectTimeout = 3 * time.Second
	}
	c.DialFunc = dialer().DialContext
	c.OnNotice = noteWarning
	waits := cmp.Or(o.patience, patience)
	set := func(name, value string) {
		if c.RuntimeParams[name] == "" {
			c.RuntimeParams[name] = value
		}
	}
	set("application_name", "kefu")
	set("client_encoding", "UTF8")
	// A server whose client is gone without a word lets its locks go.
	set(idleTimeout, strconv.FormatInt(waits.Milliseconds(), 10))
	set("tcp_user_timeout", strconv.FormatInt(waits.Milliseconds(), 10))
	return postgres{c, new(atomic.Int32), waits}, nil
}

// patience is how long PostgreSQL may take for a transaction, or for coming forward
// with a read.
const patience = 10 * time.Second

const idleTimeout = "idle_in_transaction_session_timeout"

// unhurried is d for a transaction that may be idle for as long as it likes.
func (d postgres) unhurried() postgres {
	d.config = d.config.Copy()
	d.config.RuntimeParams[idleTimeout] = "0"
	dial := dialer()
	dial.Control = nil // the other end may be busy
	d.config.DialFunc = dial.DialContext
	return d
}

func (d postgres) String() string {
	at := []string{}
	for _, ways := range waysOf(d.config) {
		at = append(at, net.JoinHostPort(ways[0].Host, strconv.Itoa(int(ways[0].Port))))
	}
	return "postgres://" + strings.Join(at, ",") + "/" + d.config.Database
}

func (postgres) secretFile() string { return "kefu.secret" }

// writer opens connections to a server that can be written, and that keeps what it
// said it has kept.
func (d postgres) writer() (*sql.DB, error) {
	c := d.config.Copy()
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	db := sql.OpenDB(hostsOf(c, d.good, stdlib.OptionAfterConnect(trusted)))
	db.SetMaxIdleConns(1)
	return db, nil
}

// keeper opens the one connection that says that its process is there. What is
// committed there waits for no standby: one that hangs must not make a holder that is
// well look dead. Should a standby be promoted that has an older counter, then that
// moves on from there; what guards the database is the epoch, which is taken elsewhere.
func (d postgres) keeper() (*sql.DB, error) {
	c := d.config.Copy()
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	c.RuntimeParams["synchronous_commit"] = "local"
	db := sql.OpenDB(hostsOf(c, d.good))
	db.SetMaxOpenConns(1)
	return db, nil
}

func (d postgres) reader() (*sql.DB, error) {
	c := d.config.Copy()
	c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	c.RuntimeParams["default_transaction_read_only"] = "on"
	db := sql.OpenDB(hostsOf(c, d.good))
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	return db, nil
}

// ErrUnsafe: the server may forget what it said it has kept.
var ErrUnsafe = errors.New("the PostgreSQL server is set up so that it may lose what it has acknowledged")

// trusted ends a connection to a server that is not trustworthy.
func trusted(ctx context.Context, conn *pgx.Conn) error {
	err := trustworthy(ctx, conn)
	if err != nil {
		conn.Close(ctx)
	}
	return err
}

// trustworthy refuses a server that may lose what it has committed, and pins what
// the session can pin.
func trustworthy(ctx context.Context, conn *pgx.Conn) error {
	var commit, encoding string
	var fsync, pages sql.NullString // other servers with PostgreSQL's protocol may not have them
	err := conn.QueryRow(ctx, `SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false),
		current_setting('fsync', true), current_setting('full_page_writes', true), current_setting('server_encoding'),
		set_config('client_min_messages', 'warning', false)`). // see noteWarning
		Scan(&commit, &fsync, &pages, &encoding, new(string))
	if err != nil {
		return err
	}
	const why = "%w: %s is off, so that %s. Set it to on (see SHOW %s; it may be set for the server, the database, the role or in the address), then start again"
	const lost = "a power cut loses messages that were answered 202"
	switch {
	case commit == "off":
		return fmt.Errorf(why, ErrUnsafe, "synchronous_commit", lost, "synchronous_commit")
	case fsync.String == "off":
		return fmt.Errorf(why, ErrUnsafe, "fsync", lost, "fsync")
	case pages.String == "off":
		return fmt.Errorf(why, ErrUnsafe, "full_page_writes", "a power cut may leave a page half written and the database broken", "full_page_writes")
	case encoding != "UTF8":
		return fmt.Errorf("the PostgreSQL database has the encoding %s; make one with UTF8", encoding)
	}
	return nil
}

func (postgres) sql(q string) string { return q }

func (postgres) migration(before []string, text string) (string, error) {
	return toPostgres(before, text)
}

func (postgres) prepare(ctx context.Context, conn *sql.Conn) error {
	for {
		_, err := conn.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS migrations (version TEXT COLLATE "C" PRIMARY KEY)`)
		var e *pgconn.PgError
		if errors.As(err, &e) && e.Code == "23505" { // somebody makes it at the same moment
			continue
		}
		return err
	}
}

func (postgres) together(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, `BEGIN ISOLATION LEVEL READ COMMITTED; LOCK TABLE migrations IN SHARE ROW EXCLUSIVE MODE`)
	return err
}

// settle has every identity go on after the highest number that there is: rows may
// have been copied with theirs.
func (postgres) settle(ctx context.Context, conn *sql.Conn) error {
	rows, err := conn.QueryContext(ctx, `SELECT format('SELECT setval(%L, (SELECT coalesce(max(%I), 0) + 1 FROM %I), false)',
			pg_get_serial_sequence(quote_ident(table_name), column_name), column_name, table_name)
		FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var q string
		if err := rows.Scan(&q); err != nil {
			return err
		}
		all = append(all, q)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, q := range all {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

func (postgres) begin(ctx context.Context, s *session) (h head, err error) {
	err = s.conn.Raw(func(c any) error {
		var b pgx.Batch
		b.Queue(`BEGIN ISOLATION LEVEL READ COMMITTED`)
		b.Queue(headQuery + ` FOR UPDATE`)
		r := c.(*stdlib.Conn).Conn().SendBatch(ctx, &b)
		defer r.Close()
		if _, err := r.Exec(); err != nil {
			return err
		}
		return h.scan(r.QueryRow())
	})
	return h, err
}

// send puts everything into one round trip. If a statement is refused, those after
// it are not run, nor is the commit.
func (postgres) send(ctx context.Context, s *session, put []statement, commit bool) (inDoubt bool, err error) {
	err = s.conn.Raw(func(c any) error {
		conn := c.(*stdlib.Conn).Conn()
		var b pgx.Batch
		for _, p := range put {
			b.Queue(p.text, p.args...)
		}
		if commit {
			b.Queue(`COMMIT`)
		}
		r := conn.SendBatch(ctx, &b)
		var tag pgconn.CommandTag
		var err error
		heard := conn.PgConn().CustomData()
		for range b.QueuedQueries {
			delete(heard, warning) // what comes with the last one is about that
			if tag, err = r.Exec(); err != nil {
				break
			}
		}
		if closing := r.Close(); err == nil {
			err = closing
		}
		warned := heard[warning]
		switch {
		case err != nil || !commit:
		case tag.String() != "COMMIT":
			err = fmt.Errorf("the server answered COMMIT with %s", tag)
		case warned != nil:
			err = fmt.Errorf("the server answered COMMIT with a warning: %v", warned)
		}
		inDoubt = err != nil && commit && (warned != nil || conn.IsClosed())
		return err
	})
	return inDoubt, err
}

// warning is where a connection keeps the last warning of its server.
const warning = "warning"

// noteWarning keeps a warning with its connection. With one, the server answers a COMMIT
// that it has stopped waiting for a standby with: it has the transaction, the standby
// may not.
func noteWarning(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.SeverityUnlocalized == "WARNING" {
		c.CustomData()[warning] = n.Message
	}
}

// refused goes by the class of the error: data, constraints, rights and names, and
// limits are somebody's own. An error that the server did not send and after which
// the connection is alive is one of encoding.
func (postgres) refused(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code[:2] {
		case "0A", "21", "22", "23", "42", "54":
			return true
		}
	}
	return false
}

// broken are a system error and damaged data.
func (postgres) broken(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code[:2] == "58" || e.Code[:2] == "XX")
}

func (postgres) used(context.Context, *sql.DB) (int64, error) {
	return 0, errors.New("a limit by size works with SQLite only; keep PostgreSQL small by age")
}

// giveBack has nothing to do: autovacuum makes room for new rows.
func (postgres) giveBack(context.Context, *sql.Conn) (int64, error) { return 0, nil }

// named are the tables in which followers are named, or have their files.
var named = []string{"feed", "messages", "conversations", "said", "listing", "idempotency", "callbacks_seen", "desk", "audit",
	"deliveries", "webhook_attempts", "inbound_media", "media_ids", "assets", "chunks"}

// scrub vacuums the tables that messages are in, so that nothing deleted can be read
// with SQL's means any more. PostgreSQL does not overwrite: its files and its
// write-ahead log lose the bytes as they are used again. It has a connection of its own,
// and leaves to autovacuum what it has not come to in its time.
func (postgres) scrub(ctx context.Context, w *writer) error {
	ctx, cancel := context.WithTimeout(ctx, scrubFor)
	defer cancel()
	conn, err := w.db.Conn(ctx)
	if err == nil {
		defer conn.Close()
	}
	for _, table := range named {
		if err == nil {
			_, err = conn.ExecContext(ctx, `VACUUM `+table)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (postgres) travels() bool             { return true }
func (postgres) spoils() bool              { return true }
func (postgres) shared() bool              { return true }
func (d postgres) patience() time.Duration { return d.waits }
