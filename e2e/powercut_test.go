package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
	"github.com/ncruces/go-sqlite3/vfs"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/store"
)

// A recording is everything that a database did to its files, and what was
// acknowledged meanwhile.
type recording struct {
	mu  sync.Mutex
	ops []fileOp
}

type fileOp struct {
	file string // suffix: "", "-wal", "-journal"
	kind byte   // 'w' write, 't' truncate, 's' sync, 'd' deleted, 'a' acknowledged
	off  int64
	data []byte
	id   string // of 'a'
}

func (r *recording) add(o fileOp) {
	r.mu.Lock()
	r.ops = append(r.ops, o)
	r.mu.Unlock()
}

// recorder is a file system that writes down what it does.
type recorder struct {
	vfs.VFS
	r *recording
}

func suffix(name string) string {
	for _, s := range []string{"-wal", "-journal"} {
		if strings.HasSuffix(name, s) {
			return s
		}
	}
	return ""
}

func (v recorder) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := v.VFS.Open(name, flags)
	if err != nil {
		return f, out, err
	}
	return &recorded{f, v.r, suffix(name)}, out, nil
}

func (v recorder) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, out, err := v.VFS.(vfs.VFSFilename).OpenFilename(name, flags)
	if err != nil {
		return f, out, err
	}
	return &recorded{f, v.r, suffix(name.String())}, out, nil
}

func (v recorder) Delete(name string, syncDir bool) error {
	v.r.add(fileOp{file: suffix(name), kind: 'd'})
	return v.VFS.Delete(name, syncDir)
}

type recorded struct {
	vfs.File
	r    *recording
	name string
}

func (f *recorded) Unwrap() vfs.File { return f.File }
func (f *recorded) SharedMemory() vfs.SharedMemory {
	return f.File.(vfs.FileSharedMemory).SharedMemory()
}
func (f *recorded) DeviceCharacteristics() vfs.DeviceCharacteristic {
	return 0 // promises nothing about power cuts
}

func (f *recorded) WriteAt(p []byte, off int64) (int, error) {
	f.r.add(fileOp{file: f.name, kind: 'w', off: off, data: append([]byte(nil), p...)})
	return f.File.WriteAt(p, off)
}

func (f *recorded) Truncate(n int64) error {
	f.r.add(fileOp{file: f.name, kind: 't', off: n})
	return f.File.Truncate(n)
}

func (f *recorded) Sync(flags vfs.SyncFlag) error {
	f.r.add(fileOp{file: f.name, kind: 's'})
	return f.File.Sync(flags)
}

// image is what a power cut after cut operations leaves: what was synced, and of
// the rest some, torn at 512 bytes and in any order.
func (r *recording) image(cut int, rng *rand.Rand) (files map[string][]byte, acknowledged []string) {
	files = map[string][]byte{}
	pending := map[string][]fileOp{}
	apply := func(o fileOp) {
		b := files[o.file]
		if o.kind == 't' {
			files[o.file] = b[:min(len(b), int(o.off))]
			return
		}
		if end := int(o.off) + len(o.data); end > len(b) {
			b = append(b, make([]byte, end-len(b))...)
		}
		copy(b[o.off:], o.data)
		files[o.file] = b
	}
	for _, o := range r.ops[:cut] {
		switch o.kind {
		case 'a':
			acknowledged = append(acknowledged, o.id)
		case 'd':
			delete(files, o.file)
			delete(pending, o.file)
		case 's':
			for _, p := range pending[o.file] {
				apply(p)
			}
			pending[o.file] = nil
		default:
			pending[o.file] = append(pending[o.file], o)
		}
	}
	for _, name := range []string{"", "-wal", "-journal"} {
		left := pending[name]
		rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		for _, o := range left {
			switch rng.IntN(3) {
			case 0:
				apply(o)
			case 1:
				if o.kind == 'w' && len(o.data) > 512 {
					o.data = o.data[:512*(1+rng.IntN(len(o.data)/512))]
					apply(o)
				}
			}
		}
	}
	return files, acknowledged
}

const sealingKey = "0123456789abcdef0123456789abcdef"

// record runs the store on the recording file system: messages kept, begun and
// finished by several at once.
func record(t *testing.T, synchronous string) *recording {
	r := &recording{}
	name := "powercut-" + synchronous
	vfs.Register(name, recorder{vfs.Find(""), r})
	ctx := t.Context()
	s, err := store.Open(ctx, filepath.Join(t.TempDir(), "kefu.db"), store.Options{
		SecretKey: sealingKey, Driver: "sqlite3", Params: "vfs=" + name + "&_pragma=synchronous(" + synchronous + ")&_pragma=wal_autocheckpoint(50)",
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := range 40 {
				now := time.Unix(1_800_000_000+int64(i), 0)
				kept := s.Enqueue(ctx, now, store.Draft{Message: gateway.Message{
					Account: "wx1", OpenID: fmt.Sprintf("o%d", c), MsgType: "text", State: gateway.Queued, Priority: gateway.Normal,
					WhenClosed: gateway.Park, OnUnknown: gateway.Hold, Source: gateway.FromAPI, ExpiresAt: gateway.At(now.Add(48 * time.Hour)),
					Message: json.RawMessage(fmt.Sprintf(`{"touser":"o%d","text":{"content":%q}}`, c, strings.Repeat("x", 300))),
				}})[0]
				if kept.Err != nil {
					t.Error(kept.Err)
					return
				}
				r.add(fileOp{kind: 'a', id: kept.Message.ID})
				if err := s.Begin(ctx, now, store.Begin{Seq: kept.Message.Seq, Attempt: 1}); err != nil {
					t.Error(err)
				}
				if err := s.Finish(ctx, now, store.Finish{Seq: kept.Message.Seq, Attempt: gateway.Attempt{N: 1}, State: gateway.Sent}); err != nil {
					t.Error(err)
				}
				r.add(fileOp{kind: 'a', id: "sent:" + kept.Message.ID})
			}
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return r
}

// lostAfter cuts the power n times and counts the images in which something that
// was acknowledged is missing, or that can't be opened.
func lostAfter(t *testing.T, r *recording, n int) (lost int) {
	rng := rand.New(rand.NewPCG(1, 2))
	first := 0 // before the first acknowledgement there is nothing to lose
	for first < len(r.ops) && r.ops[first].kind != 'a' {
		first++
	}
	for i := range n {
		cut := first + 1 + rng.IntN(len(r.ops)-first-1)
		files, acknowledged := r.image(cut, rng)
		dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(dir, "kefu.db"+name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !holds(t.Context(), filepath.Join(dir, "kefu.db"), acknowledged) {
			lost++
		}
		os.RemoveAll(dir)
	}
	return lost
}

// holds reports whether the database has everything that was acknowledged.
func holds(ctx context.Context, path string, acknowledged []string) bool {
	s, err := store.Open(ctx, path, store.Options{SecretKey: sealingKey}) // the engine that ships
	if err != nil {
		return false
	}
	defer s.Close()
	for _, id := range acknowledged {
		id, sent := strings.CutPrefix(id, "sent:")
		m, err := s.Message(ctx, id)
		if err != nil || sent && m.State != gateway.Sent {
			return false
		}
	}
	return s.Close() == nil && whole(path)
}

// whole reports whether SQLite finds the file in order.
func whole(path string) bool {
	db, err := sql.Open("sqlite", "file:"+path) // the engine that ships
	if err != nil {
		return false
	}
	defer db.Close()
	var verdict string
	return db.QueryRow(`PRAGMA integrity_check`).Scan(&verdict) == nil && verdict == "ok"
}

// The power is cut at any moment: nothing that was acknowledged is lost. With
// synchronous=NORMAL it would be, which shows that the test can see it.
func TestPowerCut(t *testing.T) {
	images := 150
	if os.Getenv("KEFU_LONG") != "" {
		images = 10_000 // takes some minutes
	}
	if lost := lostAfter(t, record(t, "full"), images); lost != 0 {
		t.Errorf("%d of %d crash images have lost something", lost, images)
	}
	if lost := lostAfter(t, record(t, "normal"), 30); lost == 0 {
		t.Error("synchronous=NORMAL lost nothing: the test is blind")
	} else {
		t.Logf("with synchronous=NORMAL %d of 30 lost something", lost)
	}
}
