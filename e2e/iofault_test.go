package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/kefu-go/kefu"
	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/dispatch"
	"github.com/kefu-go/kefu/internal/server"
	"github.com/kefu-go/kefu/internal/store"
	"github.com/kefu-go/kefu/kefutest"
)

// A breakable file system counts its reads, writes, truncations and syncs, and
// fails from the n-th on.
type breakable struct {
	vfs.VFS

	mu      sync.Mutex // guards all below
	calls   int
	n       int  // the call that fails; 0: none
	lasting bool // and all after it, until it is mended
	with    error
	kinds   string // of calls that fail: r, w, t, s
	blown   bool
}

// call counts a call of a kind and returns how it fails.
func (b *breakable) call(kind string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.n == 0 || b.calls < b.n || b.blown && !b.lasting || !strings.Contains(b.kinds, kind) {
		return nil
	}
	b.blown = true
	return b.with
}

// breaks has the n-th call from now on fail.
func (b *breakable) breaks(n int, lasting bool, with error, kinds string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls, b.n, b.lasting, b.with, b.kinds, b.blown = 0, n, lasting, with, kinds, false
}

// mend ends the failures and reports whether there was one.
func (b *breakable) mend() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n = 0
	return b.blown
}

func (b *breakable) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := b.VFS.Open(name, flags)
	if err != nil {
		return f, out, err
	}
	return &breakableFile{f, b}, out, nil
}

func (b *breakable) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := b.VFS.(vfs.VFSFilename).OpenFilename(name, flags)
	if err != nil {
		return f, out, err
	}
	return &breakableFile{f, b}, out, nil
}

type breakableFile struct {
	vfs.File
	b *breakable
}

func (f *breakableFile) Unwrap() vfs.File { return f.File }
func (f *breakableFile) SharedMemory() vfs.SharedMemory {
	return f.File.(vfs.FileSharedMemory).SharedMemory()
}

func (f *breakableFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.b.call("r"); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *breakableFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.b.call("w"); err != nil {
		if half := len(p) / 2; half > 0 { // a failed write may have written some of it
			_, _ = f.File.WriteAt(p[:half], off)
		}
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *breakableFile) Truncate(n int64) error {
	if err := f.b.call("t"); err != nil {
		return err
	}
	return f.File.Truncate(n)
}

// Sync does not sync: here the disk breaks and the power stays.
func (f *breakableFile) Sync(vfs.SyncFlag) error { return f.b.call("s") }

// A whole gateway, from HTTP to the store, on a file system that breaks; in a bubble,
// so that waiting costs nothing.
type brittle struct {
	t      *testing.T
	disk   *breakable
	path   string
	wechat *kefutest.WeChat
	store  *store.Store
	d      *dispatch.Dispatcher
	api    http.Handler
}

// shelf is what of the store the server reads here.
type shelf struct {
	server.Store
	of *store.Store
}

func (s shelf) Healthy() error { return s.of.Healthy() }
func (s shelf) FindKey(ctx context.Context, text string) (gateway.Key, error) {
	return s.of.FindKey(ctx, text)
}
func (s shelf) Account(ctx context.Context, appid string) (gateway.Account, error) {
	return s.of.Account(ctx, appid)
}
func (s shelf) Accounts(ctx context.Context) ([]gateway.Account, error) { return s.of.Accounts(ctx) }
func (s shelf) Message(ctx context.Context, id string) (gateway.Message, error) {
	m, err := s.of.Message(ctx, id)
	return m.Message, err
}

// quiet is a server's tokens, of which it has none to tell.
type quiet struct{ server.Tokens }

func (quiet) Notes(string, []string) []string { return nil }

func openBrittle(t *testing.T, disk *breakable, params string, template []byte) *brittle {
	b := &brittle{t: t, disk: disk, path: filepath.Join(t.TempDir(), "kefu.db"), wechat: kefutest.New()}
	if err := os.WriteFile(b.path, template, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.store, err = store.Open(t.Context(), b.path, store.Options{SecretKey: sealingKey, Driver: "sqlite3", Params: params, Gather: -1}); err != nil {
		t.Fatal(err)
	}
	a := kefutest.DefaultAccount
	if err := b.store.PutAccount(t.Context(), time.Now(), gateway.Account{AppID: a.AppID, Secret: a.Secret, Token: a.Token, AESKey: a.AESKey}.WithDefaults()); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b.d, err = dispatch.Start(t.Context(), dispatch.Config{
		Store: b.store, HTTP: b.wechat.Client().HTTP, Slots: 2, Log: log,
		Tokens: func(a gateway.Account) kefu.TokenSource {
			return kefu.CachedToken(kefu.StableToken{AppID: a.AppID, Secret: a.Secret, HTTP: b.wechat.Client().HTTP})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.api = (&server.Server{Engine: b.d, Store: shelf{of: b.store}, Tokens: quiet{}, Key: apiKey, Log: log, Explain: func(err error) *gateway.Problem {
		if errors.Is(err, store.ErrNotFound) {
			return &gateway.Problem{Code: gateway.NotFound}
		}
		return nil
	}}).Handler()
	return b
}

func (b *brittle) close() {
	b.d.Stop()
	if err := b.store.Close(); err != nil {
		b.t.Error(err)
	}
	b.wechat.Close()
}

func (b *brittle) ask(method, path, body, key string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(b.t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+apiKey)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
	}
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	return w
}

// live hands messages in, each again until it is taken; from the third on the disk may
// break, and is mended later. It returns what was acknowledged, and how often 503 was
// answered.
func (b *brittle) live(fault func(), mendAfter int) (kept map[string]string, refused int) {
	kept = map[string]string{}
	for i := range 8 {
		if i == 2 {
			fault()
		}
		text := fmt.Sprintf("%02d", i)
		openid := fmt.Sprintf("oUser%d", i%2)
		body := fmt.Sprintf(`{"message":{"touser":%q,"msgtype":"text","text":{"content":%q}}}`, openid, text)
		for kept[text] == "" {
			w := b.ask("POST", "/v1/messages", body, text)
			answer := w.Body.Bytes()
			switch w.Code {
			case http.StatusAccepted, http.StatusOK:
				var m gateway.Message
				if err := json.Unmarshal(answer, &m); err != nil {
					b.t.Fatal(err)
				}
				kept[text] = m.ID
			case http.StatusServiceUnavailable:
				var p gateway.Problem
				if err := json.Unmarshal(answer, &p); err != nil || p.Code != gateway.Overloaded {
					b.t.Errorf("503 with %s", answer)
				}
				if b.disk.lasting && refused == 0 {
					if w := b.ask("GET", "/readyz", "", ""); w.Code != http.StatusServiceUnavailable {
						b.t.Errorf("ready on a broken disk: %s; the refusal was %s", w.Body, answer)
					}
				}
				if refused++; refused > mendAfter {
					b.disk.mend()
				}
			default:
				b.t.Fatalf("%d %s", w.Code, answer)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.disk.mend()
	return kept, refused
}

// judge lets the gateway come back by itself and holds the promises against what it
// has and what arrived.
func (b *brittle) judge(kept map[string]string) {
	b.t.Helper()
	time.Sleep(30 * time.Minute)
	synctest.Wait()
	if w := b.ask("GET", "/readyz", "", ""); w.Code != http.StatusOK {
		b.t.Errorf("it does not come back: %s", w.Body)
	}
	arrived, last := map[string]int{}, map[string]string{}
	for _, sent := range b.wechat.Sent() {
		text := sent.Message.Body.(kefu.Text).Content
		if arrived[text]++; arrived[text] == 1 && text < last[sent.OpenID] {
			b.t.Errorf("%s came after %s", text, last[sent.OpenID])
		}
		last[sent.OpenID] = text
	}
	for text, id := range kept {
		w := b.ask("GET", "/v1/messages/"+id, "", "")
		var m gateway.Message
		if w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &m) != nil {
			b.t.Errorf("%s was acknowledged as %s, and is gone: %d %s", text, id, w.Code, w.Body)
			continue
		}
		switch {
		case m.State != gateway.Sent:
			b.t.Errorf("%s ended as %s: %+v", text, m.State, m.Outcome)
		case arrived[text] != 1:
			b.t.Errorf("%s arrived %d times", text, arrived[text])
		}
	}
	if len(arrived) != len(kept) {
		b.t.Errorf("%d arrived, %d were accepted", len(arrived), len(kept))
	}
}

// A disk that breaks. Whatever call is the first that fails, once or from then on, the
// API says 503 overloaded, nothing that it acknowledged is lost, nobody gets a message
// twice, and it goes on by itself when the disk is well again.
func TestDiskBreaks(t *testing.T) {
	disk := &breakable{VFS: vfs.Find("")}
	vfs.Register("breakable", disk)
	defer vfs.Unregister("breakable")
	// A checkpoint now and then, so that the file itself is written and read, too.
	const params = "vfs=breakable&_pragma=wal_autocheckpoint(20)&_pragma=cache_size(8)"
	template := migrated(t)
	// story is one life with a fault.
	story := func(t *testing.T, n int, lasting bool, with error, kinds string) (refused, calls int, failed bool) {
		synctest.Test(t, func(t *testing.T) {
			disk.breaks(0, false, nil, "")
			b := openBrittle(t, disk, params, template)
			defer b.close()
			for i := range 2 {
				if _, _, err := b.d.Trigger(t.Context(), kefutest.DefaultAccount.AppID, fmt.Sprintf("oUser%d", i), kefu.UserMessage, time.Now()); err != nil {
					t.Fatal(err)
				}
				b.wechat.UserSends(fmt.Sprintf("oUser%d", i))
			}
			var kept map[string]string
			kept, refused = b.live(func() { disk.breaks(n, lasting, with, kinds) }, 3)
			disk.mu.Lock()
			calls, failed = disk.calls, disk.blown
			disk.mu.Unlock()
			b.judge(kept)
		})
		return refused, calls, failed
	}
	_, calls, _ := story(t, 0, false, nil, "")
	if calls < 50 {
		t.Fatalf("%d calls of the file system: this sees nothing", calls)
	}
	step, first := 41, 1+rand.IntN(41)
	if os.Getenv("KEFU_LONG") != "" {
		step, first = 1, 1
	}
	for _, tt := range []struct {
		name    string
		lasting bool
		with    error
		kinds   string
	}{
		{"once", false, errBroken, "rwts"},
		{"until it is mended", true, errBroken, "rwts"},
		{"reads alone", true, errBroken, "r"},
		{"sync alone", true, errBroken, "s"},
		{"read-only", true, sqlite3.READONLY, "wt"},
		{"full", true, sqlite3.FULL, "wt"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lives, faults, turned := 0, 0, 0
			for n := first; n <= calls; n += step {
				refused, _, failed := story(t, n, tt.lasting, tt.with, tt.kinds)
				if t.Failed() {
					t.Fatalf("call %d of %d", n, calls)
				}
				lives, turned = lives+1, turned+refused
				if failed {
					faults++
				}
			}
			t.Logf("the fault at every call from %d on, step %d: %d lives, %d with a fault, %d times 503", first, step, lives, faults, turned)
			if faults == 0 || tt.lasting && turned == 0 {
				t.Error("nothing has failed: this sees nothing")
			}
		})
	}
}

var errBroken = errors.New("the disk is broken")

// migrated is a database without rows, to begin with.
func migrated(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kefu.db")
	s, err := store.Open(t.Context(), path, store.Options{SecretKey: sealingKey})
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
