//go:build unix

package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"go.uber.org/goleak"

	"github.com/kefu-go/kefu/internal/pgtest"
)

// No goroutine is left when the tests are done.
func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main{M: m}) }

// TestPostgreSQL holds PostgreSQL to every promise, each in a schema of its own.
func TestPostgreSQL(t *testing.T) {
	server := pgtest.Shared(t)
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			dsn := server.DSN(t)
			p.keep(t, func() *Store { return open(t, dsn, pgOptions) })
		})
	}
}

const secretKey = "0123456789abcdef0123456789abcdef"

var pgOptions = Options{SecretKey: secretKey, LeaseLife: 300 * time.Millisecond}

// The connection is lost at every round trip of the writer, before or after the
// server has what was sent: what was said to be kept is, what was said not to be
// kept is not, and the store goes on by itself.
func TestConnectionLostAtEveryRoundTrip(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	proxy := pgtest.NewProxy(t, server.TCP())
	s := open(t, server.Via(proxy.Addr(), server.Schema(t)), Options{SecretKey: secretKey, LeaseLife: time.Minute})
	ctx := t.Context()
	// told checks an answer against the truth, and reports whether it was kept.
	told := func(what string, err error, kept bool) bool {
		t.Helper()
		if err != nil && !errors.Is(err, ErrUnavailable) {
			t.Fatalf("%s: %v", what, err)
		}
		if kept != (err == nil) {
			t.Fatalf("%s: told %v, kept %v", what, err, kept)
		}
		return kept
	}
	again := func(what string, try func() (err error, kept bool)) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if err, kept := try(); told(what, err, kept) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: it does not come back", what)
			}
		}
	}
	// read retries: a reader's connection may be the one that is cut.
	read := func(read func() error) {
		t.Helper()
		for tries := 0; ; tries++ {
			err := read()
			if err == nil {
				return
			} else if tries == 5 {
				t.Fatal(err)
			}
		}
	}
	state := func(id string) (state gateway.State) {
		read(func() error {
			m, err := s.Message(ctx, id)
			if errors.Is(err, ErrNotFound) {
				state, err = "", nil
			} else {
				state = m.State
			}
			return err
		})
		return state
	}
	lost := 0
	for _, after := range []bool{false, true} {
		for n, hit := 1, true; hit; n++ {
			what := fmt.Sprintf("round trip %d, answer lost %v", n, after)
			cut := proxy.Cut(n, after)
			var seq int64
			var id string
			again(what+", enqueue", func() (error, bool) {
				id = formatID(newID(noon, 0))
				k := s.Enqueue(ctx, noon, hello(follower).with(func(d *Draft) { d.ID, d.IdempotencyKey = id, fmt.Sprint(what, id) }))[0]
				seq = k.Message.Seq
				return k.Err, state(id) == gateway.Queued
			})
			again(what+", begin", func() (error, bool) {
				err := s.Begin(ctx, noon, Begin{Seq: seq, Attempt: 1, Conversation: &Conversation{Account: account, OpenID: follower, Ledger: json.RawMessage(`1`)}})
				return err, state(id) == gateway.Sending
			})
			again(what+", finish", func() (error, bool) {
				err := s.Finish(ctx, noon, Finish{Seq: seq, State: gateway.Sent, Attempt: gateway.Attempt{N: 1}})
				return err, state(id) == gateway.Sent
			})
			again(what+", receive", func() (error, bool) {
				duplicate, err := s.Receive(ctx, noon, Callback{Entry: Entry{Account: account, OpenID: follower, Type: "follower.event"}, DedupeKey: what})
				var seen int
				read(func() error {
					return s.row(ctx, `SELECT count(*) FROM callbacks_seen WHERE key = $1`, what).Scan(&seen)
				})
				if duplicate {
					t.Fatalf("%s: what was not kept is a duplicate", what)
				}
				return err, seen == 1
			})
			select {
			case <-cut:
				lost++
			default:
				hit = false
			}
			proxy.Up()
		}
	}
	t.Logf("%d connections lost", lost)
	if lost < 8 {
		t.Errorf("only %d connections were lost", lost)
	}
	for deadline := time.Now().Add(10 * time.Second); s.Healthy() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(s.Healthy())
		}
	}
}

// While nobody knows whether a commit took place, its caller waits and others are
// turned away; who closes the store meanwhile learns that it is uncertain.
func TestCommitInDoubt(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	proxy := pgtest.NewProxy(t, server.TCP())
	s := open(t, server.Via(proxy.Addr(), server.Schema(t)), Options{SecretKey: secretKey, LeaseLife: time.Minute})
	enqueue1(t, s, hello(follower)) // so that every statement is prepared
	doubtful := func() (id string, answer chan error) {
		answer = make(chan error, 1)
		id = formatID(newID(noon, 0))
		running, goOn := make(chan struct{}), make(chan struct{})
		go func() {
			answer <- s.write(context.Background(), noon, func(tx *tx) error {
				e := &enqueue{now: noon, draft: new(hello(follower).with(func(d *Draft) { d.ID = id })), kept: new(Kept)}
				ok(t, e.prepare(new(ids)))
				err := e.run(tx)
				close(running)
				<-goOn
				return err
			})
		}()
		<-running
		cut := proxy.Cut(1, true) // the commit is what comes next
		close(goOn)
		<-cut
		proxy.Down()
		for s.Healthy() == nil {
			time.Sleep(time.Millisecond)
		}
		return id, answer
	}
	id, answer := doubtful()
	wants(t, s.Heartbeat(t.Context(), noon), ErrUnavailable)
	select {
	case err := <-answer:
		t.Fatalf("answered %v", err)
	case <-time.After(2 * resolveEvery):
	}
	proxy.Up()
	ok(t, <-answer)
	_, err := s.Message(t.Context(), id)
	ok(t, err)

	_, answer = doubtful()
	go s.Close()
	if err := <-answer; !errors.Is(err, ErrUncertain) || errors.Is(err, ErrUnavailable) {
		t.Errorf("told %v", err)
	}
}

// Why the head is locked: had two writers drawn their numbers from a sequence, a
// reader would lose the line of the one that commits late.
func TestSequenceWithoutTheLockLosesLines(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Shared(t).DSN(t)
	s := open(t, dsn, pgOptions)
	writers, err := s.dialect.writer()
	ok(t, err)
	defer writers.Close()
	_, err = writers.Exec(`CREATE SEQUENCE numbers`)
	ok(t, err)
	draw := func() (commit func() error) {
		tx, err := writers.Begin()
		ok(t, err)
		_, err = tx.Exec(`INSERT INTO feed (cursor, at, account, type) VALUES (nextval('numbers'), 0, $1, 'x')`, account)
		ok(t, err)
		return tx.Commit
	}
	late, early := draw(), draw()
	ok(t, early())
	_, err = writers.Exec(`UPDATE head SET cursor = 2`)
	ok(t, err)
	s.publish(true, head{cursor: 2})
	first, next, err := s.Feed(t.Context(), "", 10, nil)
	ok(t, err)
	ok(t, late())
	rest, _, err := s.Feed(t.Context(), next, 10, nil)
	ok(t, err)
	if len(first)+len(rest) != 1 {
		t.Errorf("%d of 2 lines were read; the fault does not show, so the lock proves nothing", len(first)+len(rest))
	}
}

// One works, others wait.
func TestSecondWaits(t *testing.T) {
	t.Parallel()
	dsn := pgtest.Shared(t).DSN(t)
	long := Options{SecretKey: secretKey, LeaseLife: time.Minute}
	first := open(t, dsn, long)
	waits := make(chan struct{}, 1)
	long.Waits = func() { waits <- struct{}{} }
	ctx, leave := context.WithCancel(t.Context())
	opened := make(chan error)
	second := func(ctx context.Context) {
		s, err := Open(ctx, dsn, long)
		if err == nil {
			err = errors.Join(s.Heartbeat(ctx, noon), s.Close())
		}
		opened <- err
	}
	waiting := func() {
		t.Helper()
		select {
		case <-waits:
		case err := <-opened:
			t.Fatalf("it did not wait: %v", err)
		}
	}
	go second(ctx)
	waiting()
	leave()
	wants(t, <-opened, context.Canceled)
	go second(t.Context())
	waiting()
	enqueue1(t, first, hello(follower))
	select {
	case err := <-opened:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	ok(t, first.Close()) // lets go
	ok(t, <-opened)
}

// The holder raises the counter without anybody calling.
func TestHolderIsHeardOf(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Shared(t).DSN(t), pgOptions)
	counter := func() (n int) {
		ok(t, s.row(t.Context(), `SELECT counter FROM leases WHERE id = 1`).Scan(&n))
		return n
	}
	for first, deadline := counter(), time.Now().Add(30*time.Second); counter() < first+3; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it stands still")
		}
	}
}

func TestServerThatMayLoseIsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t, "fsync = off", "full_page_writes = off")
	sql := func(text string) {
		t.Helper()
		if _, err := server.SQL(text); err != nil {
			t.Fatal(err)
		}
	}
	schema := server.Schema(t)
	refused := func(because, dsn string) {
		t.Helper()
		s, err := Open(t.Context(), dsn, pgOptions)
		if err == nil {
			s.Close()
		}
		if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), because+" is off") {
			t.Errorf("%s: %v", because, err)
		}
	}
	refused("fsync", server.At(schema))
	sql(`ALTER SYSTEM SET fsync = on`)
	sql(`SELECT pg_reload_conf()`)
	settles := func(name, want string) {
		for {
			if got, err := server.SQL("SHOW " + name); err != nil || got == want {
				ok(t, err)
				return
			}
		}
	}
	settles("fsync", "on")
	refused("full_page_writes", server.At(schema))
	sql(`ALTER SYSTEM SET full_page_writes = on`)
	sql(`SELECT pg_reload_conf()`)
	settles("full_page_writes", "on")
	s := open(t, server.At(schema), pgOptions)
	ok(t, s.Heartbeat(t.Context(), noon)) // it has its session: the lease's may be busy when it is wanted

	refused("synchronous_commit", server.At(schema)+"&synchronous_commit=off")
	sql(`CREATE ROLE hasty LOGIN SUPERUSER; ALTER ROLE hasty SET synchronous_commit = off`)
	refused("synchronous_commit", strings.Replace(server.At(schema), "kefu@", "hasty@", 1))
	sql(`ALTER DATABASE postgres SET synchronous_commit = off`)
	refused("synchronous_commit", server.At(schema))
	sql(`ALTER DATABASE postgres RESET synchronous_commit`)
	sql(`ALTER SYSTEM SET synchronous_commit = off`)
	sql(`SELECT pg_reload_conf()`)
	settles("synchronous_commit", "off")
	refused("synchronous_commit", server.At(schema))

	// A session that began well stays as it was.
	var commit string
	ok(t, s.write(t.Context(), noon, func(t *tx) error { return t.row(`SHOW synchronous_commit`).Scan(&commit) }))
	same(t, commit, "on")
}

// No error and no name of the database has its password.
func TestPasswordIsNotTold(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	const password = "canary/5eed2a76cc56#%"
	escaped := url.QueryEscape(password)
	for _, dsn := range []string{
		"postgres://kefu:" + escaped + "@127.0.0.1:1/kefu",
		"postgres://kefu:" + escaped + "@no-such-host.invalid/kefu",
		"postgres://kefu:" + escaped + "@" + server.TCP() + "/no_such_database?sslmode=disable",
		"postgres://nobody:" + escaped + "@" + server.TCP() + "/postgres?sslmode=disable",
		"postgres://kefu:" + escaped + "@" + server.TCP() + "/postgres?sslmode=require",
		"postgres://kefu:" + escaped + "@h/kefu?sslmode=canary-no-such-mode",
		"postgres://kefu:" + escaped + "@h/kefu?sslrootcert=/no/such/canary",
		"postgres://kefu:" + password + "@127.0.0.1:1/kefu",
		"postgres://kefu:canary@pass@h:5432x/kefu",
		"postgres://kefu@127.0.0.1:1/kefu?password=" + escaped,
		"mysql://kefu:" + escaped + "@h/kefu",
	} {
		s, err := Open(t.Context(), dsn, pgOptions)
		if err == nil {
			s.Close()
			t.Errorf("%s: opened", dsn)
			continue
		}
		if said := fmt.Sprintf("%v %+v %#v %s", err, err, err.Error(), Describe(dsn)); strings.Contains(said, "canary") {
			t.Errorf("%s: %s", dsn, said)
		}
	}
	same(t, Describe("postgres://kefu:x@a:1,b:2/kefu"), "postgres://a:1,b:2/kefu")
}
