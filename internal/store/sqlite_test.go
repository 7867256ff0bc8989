package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"modernc.org/sqlite"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
)

func TestFileIsSetUpAsPromised(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Käse & 100%?#.db")
	s := open(t, path, Options{})
	enqueue1(t, s, hello(follower))
	for _, tt := range []struct{ pragma, writer, reader string }{
		{"journal_mode", "wal", "wal"},
		{"synchronous", "2", "2"},
		{"auto_vacuum", "2", "2"}, // incremental
		{"query_only", "0", "1"},
		{"integrity_check", "ok", "ok"},
	} {
		var writer, reader string
		ok(t, s.write(t.Context(), noon, func(t *tx) error { return t.row("PRAGMA " + tt.pragma).Scan(&writer) }))
		ok(t, s.row(t.Context(), "PRAGMA "+tt.pragma).Scan(&reader))
		if writer != tt.writer || reader != tt.reader {
			t.Errorf("%s is %s for the writer, %s for readers; want %s, %s", tt.pragma, writer, reader, tt.writer, tt.reader)
		}
	}
	var loose int
	ok(t, s.row(t.Context(), `SELECT count(*) FROM pragma_table_list WHERE type = 'table' AND schema = 'main' AND NOT strict AND name NOT LIKE 'sqlite_%'`).Scan(&loose))
	same(t, loose, 0)
	for _, file := range []string{path, path + "-wal", path + "-shm", path + ".secret"} {
		info, err := os.Stat(file)
		ok(t, err)
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", filepath.Base(file), info.Mode())
		}
	}
}

func TestSecretsAreSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{})
	canary := func(what string) kefu.Secret { return kefu.Secret("canary-" + what + "-5eed2a76cc56") }
	ok(t, s.PutAccount(t.Context(), noon, gateway.Account{AppID: account, Secret: canary("secret"), Token: canary("token"), AESKey: canary("aes")}))
	_, err := s.SwapToken(t.Context(), noon, account, "", kefu.Token{Value: canary("access")})
	ok(t, err)
	_, err = s.PutKey(t.Context(), noon, gateway.Key{Role: gateway.Admin, Key: canary("key").Reveal()})
	ok(t, err)
	look := func() {
		t.Helper()
		for _, file := range []string{path, path + "-wal"} {
			if raw, err := os.ReadFile(file); err == nil && bytes.Contains(raw, []byte("canary")) {
				t.Errorf("a secret stands in %s", filepath.Base(file))
			}
		}
	}
	look()
	if text := fmt.Sprintf("%+v %#v", s, s.seals); strings.Contains(text, "canary") {
		t.Error("a secret is printed")
	}
	// A sealed secret opens in its own place only.
	ok(t, s.write(t.Context(), noon, func(t *tx) error {
		_, err := t.exec(`UPDATE accounts SET token = secret`)
		return err
	}))
	if a, err := s.Account(t.Context(), account); err == nil {
		t.Errorf("the AppSecret was read as %v", a.Token == canary("secret"))
	}
	ok(t, s.Close())
	look()
}

func TestKeyOfTheSeal(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kefu.db")
	ok(t, open(t, path, Options{}).Close())
	text, err := os.ReadFile(path + ".secret")
	ok(t, err)
	own := kefu.Secret(strings.TrimSpace(string(text)))
	other := kefu.Secret(strings.Repeat("x", 32))
	for _, tt := range []struct {
		name    string
		key     kefu.Secret
		file    string // "": removed
		refused string // "": opens
	}{
		{"the file", "", own.Reveal(), ""},
		{"the same key given", own, "", ""},
		{"a given key goes before the file", own, other.Reveal(), ""},
		{"another key", other, own.Reveal(), "not the one that sealed"},
		{"another file", "", other.Reveal(), "not the one that sealed"},
		{"no file", "", "", "is missing"},
		{"a short key", own[:31], own.Reveal(), "at least 32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			os.Remove(path + ".secret")
			if tt.file != "" {
				ok(t, os.WriteFile(path+".secret", []byte(tt.file), 0o600))
			}
			s, err := Open(t.Context(), path, Options{SecretKey: tt.key})
			if err == nil {
				defer s.Close()
			}
			if tt.refused == "" {
				ok(t, err)
			} else if err == nil || !strings.Contains(err.Error(), tt.refused) || strings.Contains(err.Error(), other.Reveal()) {
				t.Errorf("error %v, want one that says %q", err, tt.refused)
			}
			if _, err := os.Stat(path + ".secret"); tt.file == "" && err == nil {
				t.Error("a new key was made for an old database")
			}
		})
	}
	fresh := filepath.Join(dir, "given.db")
	ok(t, open(t, fresh, Options{SecretKey: other}).Close())
	if _, err := os.Stat(fresh + ".secret"); err == nil {
		t.Error("a key file was made beside a given key")
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{})
	ok(t, s.write(t.Context(), noon, func(t *tx) error {
		_, err := t.exec(`INSERT INTO migrations VALUES ('9999_later.sql')`)
		return err
	}))
	ok(t, s.Close())
	if _, err := Open(t.Context(), path, Options{}); err == nil || !strings.Contains(err.Error(), "9999_later.sql") {
		t.Errorf("error %v", err)
	}
	if _, err := Open(t.Context(), filepath.Join(t.TempDir(), "no", "such", "folder.db"), Options{}); err == nil {
		t.Error("opened a database in a folder that does not exist")
	}
}

// The database may hold 120 pages: then SQLite reports a full disk. Deleting from
// outside makes room, and the store goes on by itself.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{Params: "_pragma=max_page_count(120)"})
	begun := bring(t, s, gateway.Sending)
	var kept, refused []Kept
	for len(refused) == 0 {
		drafts := make([]Draft, 40)
		for i := range drafts {
			drafts[i] = hello(follower)
		}
		for _, k := range s.Enqueue(t.Context(), noon, drafts...) {
			if k.Err == nil {
				kept = append(kept, k)
			} else {
				refused = append(refused, k)
			}
		}
	}
	for _, k := range refused {
		wants(t, k.Err, ErrUnavailable)
	}
	wants(t, s.Healthy(), ErrUnavailable)
	_, err := s.Receive(t.Context(), noon, Callback{Entry: Entry{Account: account, OpenID: follower, Type: "follower.message", Data: json.RawMessage(`"` + strings.Repeat("x", 100_000) + `"`)}})
	wants(t, err, ErrUnavailable)
	for _, k := range kept {
		same(t, now(t, s, k.Message), k.Message)
	}
	var n int
	ok(t, s.row(t.Context(), `SELECT count(*) FROM messages`).Scan(&n))
	same(t, n, len(kept)+1)

	outside, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(5000)")
	ok(t, err)
	_, err = outside.Exec(`DELETE FROM messages WHERE seq > ?`, begun.Seq)
	ok(t, err)
	ok(t, outside.Close())
	ok(t, s.Finish(t.Context(), noon, Finish{Seq: begun.Seq, State: gateway.Sent, Attempt: gateway.Attempt{N: 1}}))
	ok(t, s.Healthy())
}

// Without anybody calling, a store that could not be written finds out by itself
// that it can again.
func TestHealsAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{Params: "_pragma=busy_timeout(1)"})
	outside, err := sql.Open("sqlite", "file:"+path)
	ok(t, err)
	defer outside.Close()
	hold, err := outside.Conn(t.Context())
	ok(t, err)
	_, err = hold.ExecContext(t.Context(), `BEGIN IMMEDIATE`)
	ok(t, err)
	wants(t, s.Heartbeat(t.Context(), noon), ErrUnavailable)
	wants(t, s.Healthy(), ErrUnavailable)
	page, err := s.Messages(t.Context(), Filter{}, "", 1) // reading goes on
	ok(t, err)
	same(t, len(page.Items), 0)
	_, err = hold.ExecContext(t.Context(), `ROLLBACK`)
	ok(t, err)
	ok(t, hold.Close())
	for deadline := time.Now().Add(10 * time.Second); s.Healthy() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still %v", s.Healthy())
		}
	}
}

// What still comes from memory says nothing of a disk that can't be read: only the read
// that failed does.
func TestReadsFromMemoryDontHeal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{})
	var root, size int64
	ok(t, s.row(t.Context(), `SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'webhooks'`).Scan(&root, &size))
	ok(t, s.Close())
	disk, err := os.OpenFile(path, os.O_RDWR, 0)
	ok(t, err)
	defer disk.Close()
	page := make([]byte, size)
	must(disk.ReadAt(page, (root-1)*size))(t)
	must(disk.WriteAt(make([]byte, size), (root-1)*size))(t)

	s = open(t, path, Options{})
	ok(t, s.Healthy())
	if _, err := s.Webhooks(t.Context()); err == nil {
		t.Fatal("a broken page was read")
	}
	must(s.Messages(t.Context(), Filter{}, "", 1))(t)
	if err := s.Healthy(); err == nil || !strings.Contains(err.Error(), "malformed") {
		t.Errorf("another read worked: %v", err)
	}
	must(disk.WriteAt(page, (root-1)*size))(t)
	ok(t, s.Heartbeat(t.Context(), noon)) // readers forget the page
	for deadline := time.Now().Add(10 * time.Second); s.Healthy() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still %v", s.Healthy())
		}
	}
}

// A read that the disk broke, and that takes longer than one try of it may, is taken to
// work again when it gives rows as long as that.
func TestLongReadsHeal(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "kefu.db"), Options{})
	f := &failedRead{q: `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n`, err: errors.New("disk I/O error"), broken: true}
	s.reading.failed.Store(f)
	s.reading.tries.Go(func() { s.reread(f) })
	for deadline := time.Now().Add(rereadFor + time.Minute); s.Healthy() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still %v", s.Healthy())
		}
	}
}

func TestTooManyInLineAreTurnedAway(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "kefu.db"), Options{})
	running, goOn := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(release)
	go s.write(context.Background(), noon, func(*tx) error {
		close(running)
		<-goOn
		return nil
	})
	<-running
	s.mu.Lock()
	s.waiting = make([]*op, mostWaiting+1)
	for i := range s.waiting {
		s.waiting[i] = &op{now: noon, run: func(*tx) error { return nil }, done: new(sync.WaitGroup)}
		s.waiting[i].done.Add(1)
	}
	s.mu.Unlock()
	refused := make(chan error, 2)
	go func() { refused <- s.Enqueue(context.Background(), noon, hello(follower))[0].Err }()
	go func() {
		_, err := s.Receive(context.Background(), noon, Callback{Entry: Entry{Account: account, OpenID: follower, Type: "follower.event"}})
		refused <- err
	}()
	for range 2 {
		select {
		case err := <-refused:
			wants(t, err, ErrUnavailable)
		case <-time.After(10 * time.Second):
			t.Fatal("let in")
		}
	}
	finished := make(chan error)
	go func() { finished <- s.Heartbeat(context.Background(), noon) }() // like Begin and Finish it is let in
	release()
	ok(t, <-finished)
	ok(t, s.Enqueue(t.Context(), noon, hello(follower))[0].Err)
}

// Everything was written and the COMMIT fails: nobody is told that it was kept.
func TestFailedCommitKeepsNothing(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "kefu.db"), Options{})
	fail := func() { // until the connection is a new one
		ok(t, s.write(t.Context(), noon, func(*tx) error {
			return s.session.conn.Raw(func(c any) error {
				done := false // with this commit
				c.(sqlite.HookRegisterer).RegisterCommitHook(func() int32 {
					defer func() { done = true }()
					return int32(bit(done))
				})
				return nil
			})
		}))
	}
	m := enqueue1(t, s, hello(follower))
	head := must(s.Head(t.Context()))(t)
	fail()
	for i, k := range s.Enqueue(t.Context(), noon, hello("o1"), hello("o2"), hello("o3").with(func(d *Draft) { d.Priority = "urgent" })) {
		if !errors.Is(k.Err, ErrUnavailable) || k.Message.ID != "" {
			t.Errorf("draft %d: %+v", i, k)
		}
	}
	wants(t, s.Healthy(), ErrUnavailable)
	same(t, must(s.Head(t.Context()))(t), head)
	ok(t, s.Heartbeat(t.Context(), noon))
	ok(t, s.Healthy())

	fail()
	begin := Begin{Seq: m.Seq, Attempt: 1}
	wants(t, s.Begin(t.Context(), noon, begin), ErrUnavailable)
	same(t, now(t, s, m), m)
	ok(t, s.Begin(t.Context(), noon, begin))
}

// 64 callers at once need far fewer than 64 commits.
func TestCallersShareACommit(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "kefu.db"), Options{})
	commits, stop := 0, make(chan struct{})
	counted := make(chan struct{})
	changed := s.Changed()
	go func() {
		defer close(counted)
		for {
			select {
			case <-changed:
				commits++
				changed = s.Changed()
			case <-stop:
				return
			}
		}
	}()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for range 10 {
				if k := s.Enqueue(context.Background(), noon, hello(follower)); k[0].Err != nil {
					t.Error(k[0].Err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	<-counted
	if commits > 320 {
		t.Errorf("640 messages took %d commits", commits)
	}
}

// A start reads what is unfinished, not the history; the views have caught up
// even where the process before died in between.
func TestViewsCatchUpOnOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{})
	parked, sent := bring(t, s, gateway.Parked), bring(t, s, gateway.Sent)
	ok(t, s.Close())
	outside, err := sql.Open("sqlite", "file:"+path)
	ok(t, err)
	for _, q := range []string{`UPDATE head SET viewed = 0`, `DELETE FROM listing`, `DELETE FROM said`, `UPDATE conversations SET last_cursor = 0`} {
		_, err := outside.Exec(q)
		ok(t, err)
	}
	ok(t, outside.Close())
	s = open(t, path, Options{})
	var got []int64
	for m, err := range s.Unfinished(t.Context()) {
		ok(t, err)
		got = append(got, m.Seq)
	}
	same(t, got, []int64{parked.Seq})
	page, err := s.Timeline(t.Context(), account, follower, "", 10)
	ok(t, err)
	same(t, len(page.Items), 2)
	same(t, page.Items[0].Message, &sent)
}

// Whatever is finished costs nothing where it is not asked for: each of these is found by
// its index, and no table is read whole.
func TestQueriesAreServedByAnIndex(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "kefu.db"), Options{})
	for _, tt := range []struct {
		name, query string
		args        int
		step        string
	}{
		{"what waits, counted", waitsQuery, 0, "SEARCH l USING INDEX listing_unfinished"},
		{"who needs an asset", needAssetQuery, 2, "SCAN l USING INDEX listing_unfinished"},
		{"an asset of any account", assetOfQuery, 1, "SEARCH a USING INDEX sqlite_autoindex_assets_2 (account=? AND hash=?)"},
		{"lines about a follower", traces[0].erase(), 2, "SEARCH feed USING INDEX feed_about (openid=? AND rowid=?)"},
		{"deliveries of a follower", traces[1].erase(), 2, "SEARCH deliveries USING INDEX deliveries_of (openid=? AND cursor=?)"},
		{"a follower on record", traces[2].erase(), 2, "SEARCH audit USING COVERING INDEX audit_target (target=? AND rowid=?)"},
		{"attempts of a follower", traces[3].erase(), 2, "SEARCH webhook_attempts USING INDEX webhook_attempts_of (openid=? AND rowid=?)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := s.rows(t.Context(), `EXPLAIN QUERY PLAN `+tt.query, make([]any, tt.args)...)
			ok(t, err)
			defer rows.Close()
			var plan []string
			for rows.Next() {
				var step string
				ok(t, rows.Scan(new(int), new(int), new(int), &step))
				plan = append(plan, step)
			}
			ok(t, rows.Err())
			if text := strings.Join(plan, "\n"); !strings.Contains(text, tt.step) {
				t.Errorf("no %s in:\n%s", tt.step, text)
			}
		})
	}
}

// The store works inside a synctest bubble, so that everything above it can be
// tested there, and leaves no goroutine behind.
func TestWorksInABubble(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kefu.db")
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), path, Options{})
		ok(t, err)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 3 {
					if k := s.Enqueue(context.Background(), time.Now(), hello(follower)); k[0].Err != nil {
						t.Error(k[0].Err)
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(48 * time.Hour)
		page, err := s.Messages(t.Context(), Filter{State: gateway.Queued}, "", 100)
		ok(t, err)
		same(t, len(page.Items), 24)
		ok(t, s.Close())
		if err := s.Heartbeat(t.Context(), noon); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
}

func FuzzParseID(f *testing.F) {
	f.Add(formatID(newID(noon, 0)))
	f.Add("msg_019aa0c8-0000-7000-8000-00000000000")
	f.Fuzz(func(t *testing.T, text string) {
		if id, err := parseID(text); err == nil && formatID(id) != text {
			t.Errorf("%q was read as %x", text, id)
		}
	})
}

func TestNewID(t *testing.T) {
	id := newID(time.UnixMilli(0x017f22e279b0), 0) // the example of RFC 9562, A.6
	text := formatID(id)
	if !strings.HasPrefix(text, "msg_017f22e2-79b0-7") || !strings.ContainsAny(text[23:24], "89ab") || len(text) != 40 {
		t.Errorf("%s is no UUIDv7", text)
	}
	back, err := parseID(text)
	ok(t, err)
	same(t, back, id)
}

// Who repeats a batch by its ids repeats it in its order: ids grow within a millisecond,
// until there are more than it counts.
func TestIDsGrow(t *testing.T) {
	var all ids
	before := ""
	for n := range 5000 {
		id := formatID(all.next(noon))
		if _, err := parseID(id); err != nil || n < 1<<12 && id <= before {
			t.Fatalf("number %d: %s after %s, %v", n, id, before, err)
		}
		before = id
	}
	if later := formatID(all.next(noon.Add(time.Millisecond))); later <= before {
		t.Errorf("%s after %s", later, before)
	}
}
