//go:build unix

package store

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu/internal/pgtest"
)

// While the standby has not got a commit it is not acknowledged, though its server
// shows it to everybody; and what was acknowledged is there when the standby is promoted.
// The holder of the lease is heard of all the time.
func TestNothingIsAcknowledgedThatTheStandbyHasNot(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t)
	standby := must(primary.Standby(0))(t)
	t.Cleanup(standby.Remove)
	ok(t, standby.Set("wal_retrieve_retry_interval", "100ms"))
	hosts := primary.TCP() + "," + standby.TCP()
	const patience = time.Second
	s := open(t, primary.Via(hosts, "public")+"&client_min_messages=error", Options{SecretKey: secretKey, patience: patience})
	enqueue1(t, s, hello(follower))
	withheld := func() func() { return must(primary.Withhold())(t) }

	for i, tt := range []struct {
		name  string
		cause func() (end func()) // what keeps the commit from the standby
		then  func()              // has the server show it all the same
	}{
		{"the server is told to wait no longer", withheld, func() {
			for {
				told, err := primary.SQL(`SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
				ok(t, err)
				if told != "0" {
					return
				}
			}
		}},
		{"it takes longer than the patience", withheld, func() {}},
		{"the server dies and starts again", func() func() {
			callOff, thaw := withheld(), standby.Freeze()
			return func() { callOff(); thaw() }
		}, func() {
			for told := "0"; told == "0"; {
				var err error
				told, err = primary.SQL(`SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)
				ok(t, err)
			}
			primary.Kill()
			ok(t, primary.Start())
		}},
	} {
		place := must(s.Head(t.Context()))(t)
		lines := func() int {
			entries, _, err := s.Feed(t.Context(), place, 10, nil)
			for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); { // a reader's connection was lost
				entries, _, err = s.Feed(t.Context(), place, 10, nil)
			}
			ok(t, err)
			return len(entries)
		}
		ok(t, s.settle(t.Context())) // the view's commit would be in the way
		end := tt.cause()
		id, answer := formatID(newID(noon, 0)), make(chan error, 1)
		go func() {
			answer <- s.Enqueue(context.Background(), noon, hello(follower).with(func(d *Draft) { d.ID = id }))[0].Err
		}()
		tt.then()
		select {
		case err := <-answer:
			t.Errorf("%s: answered %v", tt.name, err)
			end()
			continue
		case <-time.After(2 * patience):
		}
		if err := s.lease.say(raise); err != nil {
			t.Errorf("%s: the holder is not heard of: %v", tt.name, err)
		}
		for shown, late := "", time.Now().Add(20*time.Second); shown != strconv.Itoa(i+2); { // or the fault does not show
			if shown = must(primary.SQL(`SELECT count(*) FROM messages`))(t); time.Now().After(late) {
				t.Fatalf("%s: the server does not show it, but %s messages", tt.name, shown)
			}
		}
		if n := lines(); n != 0 {
			t.Errorf("%s: the feed shows it, and it may go again", tt.name)
		}
		end()
		if err := <-answer; err != nil {
			t.Errorf("%s: then %v", tt.name, err)
		}
		_, err := s.Message(t.Context(), id)
		ok(t, err)
		if n := lines(); n != 1 {
			t.Errorf("%s: the feed has %d lines of it", tt.name, n)
		}
	}

	withheld()
	id, answer := formatID(newID(noon, 0)), make(chan error, 1)
	go func() {
		answer <- s.Enqueue(context.Background(), noon, hello(follower).with(func(d *Draft) { d.ID = id }))[0].Err
	}()
	time.Sleep(2 * patience)
	primary.Kill()
	ok(t, standby.Promote())
	if err := <-answer; !errors.Is(err, ErrUnavailable) {
		t.Errorf("told %v of what the standby never had", err)
	}
	if n, err := standby.SQL(`SELECT count(*) FROM messages`); err != nil || n != "4" {
		t.Errorf("%s messages: %v", n, err)
	}
	enqueue1(t, s, hello(follower)) // it goes on
}

// Hosts that are silent keep nobody from the one that answers: not at the start, and
// not the holder of the lease when it has to connect anew.
func TestSilentHosts(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	proxy := pgtest.NewProxy(t, server.TCP())
	var hosts []string
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0") // and nobody accepts
		ok(t, err)
		t.Cleanup(func() { l.Close() })
		hosts = append(hosts, l.Addr().String())
	}
	schema, began := server.Schema(t), time.Now()
	s := open(t, server.Via(strings.Join(append(hosts, proxy.Addr()), ","), schema), Options{SecretKey: secretKey})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("opened after %v", took)
	}
	counter := func() string { return must(server.SQL(`SELECT counter FROM ` + schema + `.leases`))(t) }
	proxy.Down()
	before := counter()
	proxy.Up()
	for end := time.Now().Add(leaseLife); counter() == before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the holder was not heard of for the life of a lease")
		}
	}
	for s.Heartbeat(t.Context(), noon) != nil {
	}
}

// A server whose machine goes away closes no connection. Who reads is told soon, also
// in the middle, and the store is not healthy; the next one is served by whoever has the
// address by then. Who waits for the lease goes on watching.
func TestServerGoesSilent(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	proxy, schema := pgtest.NewProxy(t, server.TCP()), server.Schema(t)
	const patience = time.Second
	o := Options{SecretKey: secretKey, LeaseLife: 2 * time.Second, patience: patience}
	s := open(t, server.Via(proxy.Addr(), schema), o)
	read := func(ctx context.Context) error {
		var n int
		return s.row(ctx, `SELECT 1 FROM (SELECT pg_sleep(0.1)) AS slept`).Scan(&n)
	}
	patient, cancel := context.WithTimeout(t.Context(), 30*patience) // or a fault would take a quarter of an hour
	defer cancel()
	together := func(n int, want bool) {
		t.Helper()
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				if err := read(patient); (err == nil) != want {
					t.Errorf("read: %v", err)
				}
			})
		}
		all.Wait()
	}
	long, err := s.rows(patient, `SELECT repeat('x', 1000) FROM generate_series(1, 300000)`)
	ok(t, err)
	defer long.Close()
	long.Next()
	together(readers-1, true)

	reserve := pgtest.NewProxy(t, server.TCP())
	waits, opened := make(chan struct{}), make(chan error)
	second := o
	second.Waits = func() { close(waits) }
	go func() {
		s, err := Open(context.Background(), server.Via(reserve.Addr(), schema), second)
		if err == nil {
			err = s.Close()
		}
		opened <- err
	}()
	<-waits
	reserve.Silence()

	proxy.Silence()
	began := time.Now()
	together(readers-1, false)
	if s.reading.healthy() == nil {
		t.Error("healthy, and nobody can read")
	}
	for long.Next() {
	}
	if err := long.Err(); !errors.Is(err, errSilent) {
		t.Errorf("in the middle: %v", err)
	}
	if took := time.Since(began); took > 10*patience {
		t.Errorf("it took %v", took)
	}
	ok(t, long.Close())
	together(readers, true)
	ok(t, s.reading.healthy())

	for _, tt := range []struct {
		stays   time.Duration
		healthy bool
	}{{10 * time.Millisecond, true}, {patience / 2, false}} { // a caller who leaves
		proxy.Silence()
		ctx, leave := context.WithTimeout(t.Context(), tt.stays)
		if err := read(ctx); err == nil {
			t.Error("read")
		}
		leave()
		if s.reading.healthy() == nil != tt.healthy {
			t.Errorf("left after %v: %v", tt.stays, s.reading.healthy())
		}
	}
	proxy.Up()
	ok(t, s.Close())
	select {
	case err := <-opened:
		ok(t, err)
	case <-time.After(10 * patience):
		t.Error("who waits for the lease does not see that it is free")
	}
}
