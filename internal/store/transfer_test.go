//go:build unix

package store

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/pgtest"
)

// What the promises leave behind is moved: databases until every table that there
// is has had rows in it, also those of later migrations. A gateway that opens the
// target finds the same.
func TestTransfer(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	dir := t.TempDir()
	var paths []string
	t.Run("promises", func(t *testing.T) {
		for _, p := range promises {
			path := filepath.Join(dir, p.name+".db")
			paths = append(paths, path)
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				p.keep(t, func() *Store { return open(t, path, Options{}) })
			})
		}
	})
	empty := tablesOf(t, paths[0])
	for _, path := range paths {
		for name, n := range tablesOf(t, path) {
			empty[name] += n
		}
	}
	for name, n := range empty {
		if n == 0 { // what is in it does not stay long
			fill(t, paths[0], name)
		}
	}
	missing := maps.Clone(empty) // the tables that no move has shown yet
	for len(missing) > 0 {
		path, most := "", 0 // the database that shows most of them
		for _, p := range paths {
			shows := 0
			for name, n := range tablesOf(t, p) {
				if _, is := missing[name]; is && n > 0 {
					shows++
				}
			}
			if shows > most {
				path, most = p, shows
			}
		}
		if path == "" {
			t.Fatalf("no database has rows in %v", slices.Collect(maps.Keys(missing)))
		}
		filled := tablesOf(t, path)
		maps.DeleteFunc(missing, func(name string, _ int64) bool { return filled[name] > 0 })
		t.Run("move of "+filepath.Base(path), func(t *testing.T) {
			before := fileSum(t, path)
			target := server.DSN(t)
			var last Progress
			moved, err := Transfer(t.Context(), "sqlite:"+path, target, "", func(p Progress) { last = p })
			ok(t, err)
			var rows int64
			for _, n := range filled {
				rows += n
			}
			same(t, moved, Transferred{Tables: len(filled), Rows: rows})
			if last.Rows != last.Of {
				t.Errorf("at last %+v", last)
			}
			if fileSum(t, path) != before {
				t.Error("the source was changed")
			}
			if _, err := Transfer(t.Context(), path, target, "", nil); err == nil || !strings.Contains(err.Error(), "must be empty") {
				t.Errorf("moved twice: %v", err)
			}
			key, err := os.ReadFile(path + ".secret")
			ok(t, err)
			there, here := open(t, target, Options{SecretKey: kefu.Secret(strings.TrimSpace(string(key)))}), open(t, path, Options{})
			same(t, everything(t, there), everything(t, here))
			for _, s := range []*Store{there, here} { // numbers and identities go on
				enqueue1(t, s, hello("oNobodyYet"))
				same(t, len(must(s.Timeline(t.Context(), account, "oNobodyYet", "", 10))(t).Items), 1)
			}
			same(t, must(there.Head(t.Context()))(t), must(here.Head(t.Context()))(t))
		})
	}
}

// While the source is read and counted the target's transaction is idle: no limit of
// its session for that ends it.
func TestTransferTakesItsTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{})
	enqueue1(t, s, hello(follower))
	ok(t, s.Close())
	wait := sync.OnceFunc(func() { time.Sleep(1500 * time.Millisecond) })
	_, err := Transfer(t.Context(), path, pgtest.Shared(t).DSN(t)+"&idle_in_transaction_session_timeout=1000", "", func(Progress) { wait() })
	ok(t, err)
}

// everything is what can be read of a store.
func everything(t *testing.T, s *Store) []any {
	t.Helper()
	var all []any
	for cursor := ""; ; {
		entries, next, err := s.Feed(t.Context(), cursor, 1000, nil)
		if cursor == "" && err != nil { // the beginning was deleted
			all = append(all, err.Error())
			break
		}
		ok(t, err)
		if len(entries) == 0 {
			break
		}
		all, cursor = append(all, entries), next
	}
	all = append(all, must(s.Messages(t.Context(), Filter{}, "", 1000))(t).Items,
		must(s.Conversations(t.Context(), nil, "", 1000))(t).Items, must(s.Keys(t.Context()))(t), s.LastCommit())
	if accounts, err := s.Accounts(t.Context()); err == nil {
		for _, a := range accounts {
			all = append(all, a, a.Secret.Reveal(), a.AESKey.Reveal(), must(s.Token(t.Context(), a.AppID))(t).Value.Reveal())
		}
	}
	return all
}

func tablesOf(t *testing.T, path string) map[string]int64 {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	ok(t, err)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	ok(t, err)
	defer conn.Close()
	names, err := column[string](t.Context(), conn, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name <> 'migrations'`)
	ok(t, err)
	rows := map[string]int64{}
	for _, name := range names {
		n, err := column[int64](t.Context(), conn, `SELECT count(*) FROM `+name)
		ok(t, err)
		rows[name] = n[0]
	}
	return rows
}

var (
	oneOf  = `\b%s +IN +\(('[^']*')`
	length = `length\(%s\) *= *(\d+)`
)

// fill puts a row into a table, of any content that its checks allow.
func fill(t *testing.T, path, name string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	ok(t, err)
	defer db.Close()
	conn, err := db.Conn(t.Context())
	ok(t, err)
	defer conn.Close()
	columns, err := column[string](t.Context(), conn, `SELECT name FROM pragma_table_info(?) ORDER BY cid`, name)
	ok(t, err)
	types, err := column[string](t.Context(), conn, `SELECT type FROM pragma_table_info(?) ORDER BY cid`, name)
	ok(t, err)
	text, err := column[string](t.Context(), conn, `SELECT sql FROM sqlite_schema WHERE name = ?`, name)
	ok(t, err)
	values := map[string]string{"INTEGER": "1", "TEXT": "'1'", "BLOB": "x'01'"}
	row := make([]string, len(types))
	for i, kind := range types {
		row[i] = values[kind]
		if m := regexp.MustCompile(fmt.Sprintf(oneOf, columns[i])).FindStringSubmatch(text[0]); m != nil {
			row[i] = m[1]
		} else if m := regexp.MustCompile(fmt.Sprintf(length, columns[i])).FindStringSubmatch(text[0]); m != nil {
			row[i] = "zeroblob(" + m[1] + ")"
		}
	}
	if _, err := conn.ExecContext(t.Context(), `INSERT INTO `+name+` VALUES (`+strings.Join(row, ", ")+`)`); err != nil {
		t.Errorf("no promise leaves a row in %s, and any row is not good enough: %v", name, err)
	}
}

func fileSum(t *testing.T, path string) string {
	b, err := os.ReadFile(path)
	ok(t, err)
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func TestTransferIsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	path := filepath.Join(t.TempDir(), "kefu.db")
	s := open(t, path, Options{})
	enqueue1(t, s, hello(follower))
	target := server.DSN(t)
	refused := func(name, from, to string, key kefu.Secret, because string) {
		t.Helper()
		if _, err := Transfer(t.Context(), from, to, key, nil); err == nil || !strings.Contains(err.Error(), because) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("in use", path, target, "", "stop that first")
	ok(t, s.Close())
	refused("wrong key", path, target, kefu.Secret(strings.Repeat("x", 32)), "not the one that sealed")
	refused("no such file", path+"x", target, "", "unable to open")
	refused("backwards", target, path, "", "to PostgreSQL")
	refused("between files", path, path+"2", "", "to PostgreSQL")
	used := server.DSN(t)
	ok(t, open(t, used, pgOptions).Close())
	refused("target in use", path, used, "", "must be empty")

	// A text that PostgreSQL can't keep is mended, and said.
	db, err := sql.Open("sqlite", "file:"+path)
	ok(t, err)
	_, err = db.Exec(`UPDATE messages SET openid = 'a' || char(0) || 'b'`)
	ok(t, err)
	ok(t, db.Close())
	moved, err := Transfer(t.Context(), path, target, "", nil)
	ok(t, err)
	same(t, moved.Mended, int64(1))
}

// released are the migrations that some version has been released with. They never
// change; add those of a release when it is made.
var released = []struct{ name, sum string }{
	{"0001_kept.sql", "2472051dba52643c"},
	{"0002_gap.sql", "4883065e6c637e8b"},
}

// A database of every released schema opens, on both engines, with what it had.
func TestReleasedSchemasMigrate(t *testing.T) {
	t.Parallel()
	files, err := migrationFiles()
	ok(t, err)
	for i, r := range released {
		sum := sha256.Sum256([]byte(files[i].text))
		same(t, []string{files[i].name, hex.EncodeToString(sum[:8])}, []string{r.name, r.sum})
	}
	id := newID(noon, 0)
	seal, err := newSealer(secretKey)
	ok(t, err)
	rows := []struct {
		since   int // how many migrations the table needs
		table   string
		columns string
		values  []any
	}{
		{1, "messages", "seq, id, account, openid, msgtype, body, accepted_at, expires_at, when_closed, on_unknown, priority, source, metadata",
			[]any{1, id[:], account, follower, "text", `{"touser":"oFollower"}`, ms(noon), ms(noon) + 1, "park", "hold", "normal", "api", `{"a":1}`}},
		{1, "feed", "cursor, at, account, openid, type, seq, number, attempts, duplicate, resent, errcode", []any{1, ms(noon), account, follower, "message.accepted", 1, 1, 0, 0, 0, 0}},
		{1, "feed", "cursor, at, account, openid, type, seq, number, attempts, duplicate, resent, errcode, data", []any{2, ms(noon), account, follower, "message.parked", 1, 1, 0, 1, 0, 45015, `{"errcode":45015}`}},
		{1, "feed", "cursor, at, account, openid, type, data", []any{3, ms(noon), account, follower, "follower.message", `{"content":"hi"}`}},
		{1, "idempotency", "seq, account, key, fingerprint, at", []any{1, account, "k", make([]byte, 32), ms(noon)}},
		{1, "callbacks_seen", "cursor, account, key, at", []any{3, account, "c", ms(noon)}},
		{1, "conversations", "id, openid, account, ledger, last_cursor", []any{7, follower, account, `{"x":1}`, 3}},
		{1, "listing", "seq, account, number, state, errcode", []any{1, account, 1, "parked", 45015}},
		{1, "said", "conversation, cursor", []any{7, 1}},
		{1, "said", "conversation, cursor", []any{7, 3}},
		{1, "accounts", "appid, settings, secret", []any{account, `{"name":"shop"}`, seal.seal("s1", account+" secret")}},
		{1, "keys", "id, hash, name, role, accounts, created_at", []any{"key_1", make([]byte, 32), "first", "admin", "null", ms(noon)}},
		{1, "tokens", "appid, token, expiry", []any{account, seal.seal("t1", account+" access_token"), ms(noon)}},
		{1, "seal", "id, sealed", []any{1, seal.seal("kefu", "seal")}},
		{2, "gap", "id, until", []any{1, ms(noon)}},
	}
	for engine, dsn := range map[string]func() string{
		"SQLite":     func() string { return filepath.Join(t.TempDir(), "kefu.db") },
		"PostgreSQL": func() string { return pgtest.Shared(t).DSN(t) },
	} {
		for n := range released {
			t.Run(fmt.Sprintf("%s/%s", engine, released[n].name), func(t *testing.T) {
				version, dsn := n+1, dsn()
				d, conn, end := earlier(t, dsn, files[:version])
				_, err := conn.ExecContext(t.Context(), fmt.Sprintf(`UPDATE head SET cursor = 3, at = %d, epoch = 1, viewed = 3`, ms(noon)))
				ok(t, err)
				before := map[string]digest{}
				look := func(conn *sql.Conn, table, columns string) (sum digest) {
					names := strings.Split(columns, ", ")
					for row, err := range rowsOf(t.Context(), conn, storedTable{name: table, columns: names, texts: make([]bool, len(names))}) {
						ok(t, err)
						sum.add(row)
					}
					return sum
				}
				for _, r := range rows {
					if r.since > version {
						continue
					}
					places := make([]string, len(r.values))
					for i := range places {
						places[i] = fmt.Sprint("$", i+1)
					}
					_, err := conn.ExecContext(t.Context(), d.sql(fmt.Sprintf(`INSERT INTO %s (%s) VALUES (%s)`, r.table, r.columns, strings.Join(places, ", "))), r.values...)
					ok(t, err)
				}
				for _, r := range rows {
					if r.since <= version {
						before[r.table+r.columns] = look(conn, r.table, r.columns)
					}
				}
				end()

				s := open(t, dsn, pgOptions)
				if conn, err = s.reader.Conn(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, r := range rows {
					if r.since <= version && look(conn, r.table, r.columns) != before[r.table+r.columns] {
						t.Errorf("the rows of %s have changed", r.table)
					}
				}
				ok(t, conn.Close())
				m, err := s.Message(t.Context(), formatID(id))
				ok(t, err)
				same(t, []any{m.State, m.Outcome.ErrCode, m.PossibleDuplicate, string(m.Metadata)}, []any{gateway.Parked, 45015, true, `{"a":1}`})
				same(t, must(s.Account(t.Context(), account))(t).Secret.Reveal(), "s1")
				same(t, must(s.Token(t.Context(), account))(t).Value.Reveal(), "t1")
				same(t, len(must(s.Timeline(t.Context(), account, follower, "", 10))(t).Items), 2)
				same(t, s.LastCommit(), noon)
				var waits []int64
				for w, err := range s.Unfinished(t.Context()) {
					ok(t, err)
					waits = append(waits, w.Seq)
				}
				same(t, waits, []int64{1})
				same(t, enqueue1(t, s, hello("oNew")).Seq, int64(4))
				same(t, len(must(s.Timeline(t.Context(), account, "oNew", "", 10))(t).Items), 1)
				if version < 2 {
					same(t, must(s.Gap(t.Context()))(t).IsZero(), true)
				}
			})
		}
	}
}

// earlier makes a database as a version had it that knew these migrations alone.
func earlier(t *testing.T, dsn string, files []migrationFile) (d dialect, conn *sql.Conn, end func()) {
	t.Helper()
	d, err := dialectOf(dsn, Options{})
	ok(t, err)
	db, err := d.writer()
	ok(t, err)
	conn, err = db.Conn(t.Context())
	ok(t, err)
	ok(t, d.prepare(t.Context(), conn))
	ok(t, migrateIn(t.Context(), d, conn, func([]string) error { return apply(t.Context(), d, conn, files, 0) }))
	return d, conn, func() {
		t.Helper()
		ok(t, conn.Close())
		ok(t, db.Close())
	}
}

// Attempts that were kept before they named their follower in columns are erased, too.
func TestEarlierAttemptsNameTheirFollower(t *testing.T) {
	t.Parallel()
	files, err := migrationFiles()
	ok(t, err)
	before := slices.IndexFunc(files, func(f migrationFile) bool { return f.name == "0014_found.sql" })
	for engine, dsn := range map[string]string{"SQLite": filepath.Join(t.TempDir(), "kefu.db"), "PostgreSQL": pgtest.Shared(t).DSN(t)} {
		t.Run(engine, func(t *testing.T) {
			d, conn, end := earlier(t, dsn, files[:before])
			for _, a := range []gateway.WebhookAttempt{
				{WebhookID: "wh_1_1", Cursor: "1", Account: account, OpenID: follower, N: 1, Error: `no "openid":"oNobody"`},
				{WebhookID: "wh_1_2", Cursor: "2", Account: account, OpenID: "小鱼", Error: "微信"},
				{WebhookID: "wh_1_3", Cursor: "3", Account: account},
				{WebhookID: "test_1"},
			} {
				text, err := encode(a)
				ok(t, err)
				_, err = conn.ExecContext(t.Context(), d.sql(`INSERT INTO webhook_attempts (webhook, at, data) VALUES ('wh_1', 0, $1)`), string(text))
				ok(t, err)
			}
			end()

			s := open(t, dsn, pgOptions)
			rows, err := s.rows(t.Context(), `SELECT account, openid FROM webhook_attempts ORDER BY id`)
			ok(t, err)
			defer rows.Close()
			var named [][2]string
			for rows.Next() {
				var n [2]string
				ok(t, rows.Scan(&n[0], &n[1]))
				named = append(named, n)
			}
			ok(t, rows.Err())
			same(t, named, [][2]string{{account, follower}, {account, "小鱼"}, {}, {}})
			_, err = s.Erase(t.Context(), noon, account, follower)
			ok(t, err)
			same(t, count(t, s, "webhook_attempts"), 3)
		})
	}
}

// The translation, word by word.
func TestToPostgres(t *testing.T) {
	for _, tt := range []struct{ name, before, text, want string }{
		{"types", "", `CREATE TABLE a (x TEXT PRIMARY KEY, n INTEGER NOT NULL, b BLOB CHECK (length(b) = 16), r REAL) STRICT;`,
			`CREATE TABLE a (x TEXT COLLATE "C" PRIMARY KEY, n BIGINT NOT NULL, b BYTEA CHECK (length(b) = 16), r DOUBLE PRECISION) ;`},
		{"identity", "", `CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER) STRICT`,
			`CREATE TABLE a (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY , n BIGINT) ;`},
		{"without rowid", "", "CREATE TABLE a (x INTEGER, y INTEGER, PRIMARY KEY (x, y)) STRICT, WITHOUT ROWID;", "CREATE TABLE a (x BIGINT, y BIGINT, PRIMARY KEY (x, y))   ;"},
		{"texts, names and comments stay", "", `INSERT INTO a VALUES ('INTEGER; -- it''s', "BLOB"); -- STRICT; INTEGER`, `INSERT INTO a VALUES ('INTEGER; -- it''s', "BLOB");`},
		{"small words stay", "", `CREATE TABLE a (integer INTEGER, text TEXT)`, `CREATE TABLE a (integer BIGINT, text TEXT COLLATE "C");`},
		{"function", "", `SELECT INSTR(x, 'INSTR') FROM a`, `SELECT STRPOS(x, 'INSTR') FROM a;`},
		{"cast", "", `SELECT CAST(x AS TEXT) FROM a`, `SELECT CAST(x AS TEXT) FROM a;`},
		{"add a column", "", `ALTER TABLE a ADD COLUMN c TEXT`, `ALTER TABLE a ADD COLUMN c TEXT COLLATE "C";`},
		{"index", "", `CREATE TABLE a (id INTEGER PRIMARY KEY, s TEXT); CREATE INDEX i ON a (s) WHERE s <> '';`,
			`CREATE TABLE a (id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, s TEXT COLLATE "C"); CREATE INDEX i ON a (s, id) WHERE s <> '';`},
		{"index on an earlier table", `CREATE TABLE a (id INTEGER PRIMARY KEY, s TEXT)`, `CREATE INDEX i ON a (s)`, `CREATE INDEX i ON a (s, id);`},
		{"index that has the key", `CREATE TABLE a (id INTEGER PRIMARY KEY, s TEXT)`, `CREATE INDEX i ON a (id, s)`, `CREATE INDEX i ON a (id, s);`},
		{"unique index", `CREATE TABLE a (id INTEGER PRIMARY KEY, s TEXT)`, `CREATE UNIQUE INDEX i ON a (s)`, `CREATE UNIQUE INDEX i ON a (s);`},
		{"index on a table without", `CREATE TABLE a (id TEXT PRIMARY KEY, s TEXT)`, `CREATE INDEX i ON a (s)`, `CREATE INDEX i ON a (s);`},
		{"a table made anew", `CREATE TABLE b (id INTEGER PRIMARY KEY, s TEXT); DROP TABLE IF EXISTS a; ALTER TABLE b RENAME TO a`, `CREATE INDEX i ON a (s)`, `CREATE INDEX i ON a (s, id);`},
		{"pragma", "", `PRAGMA foreign_keys = on`, "error"},
		{"trigger", "", `CREATE TRIGGER x`, "error"},
	} {
		got, err := toPostgres([]string{tt.before}, tt.text)
		if err != nil {
			got = "error"
		}
		if strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(tt.want), " ") {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
