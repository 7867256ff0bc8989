package e2e

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/kefutest"
)

// Reliability, row 2: the binary that ships syncs the write-ahead log between the
// last write of a commit and the answer that says that a message is kept.
func TestSyncedBeforeTheAnswer(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("SKIPPED: no strace here; make tools installs it")
	}
	wechat := kefutest.NewServer()
	defer wechat.Close()
	p := newProcess(t, wechat.URL)
	trace := filepath.Join(t.TempDir(), "trace")
	p.start()
	defer p.kill()
	var said bytes.Buffer
	watch := exec.Command(strace, "-f", "-y", "-s", "24", "-o", trace, "-e", "trace=pwrite64,write,fsync,fdatasync", "-p", strconv.Itoa(p.cmd.Process.Pid))
	watch.Stderr = &said
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = watch.Process.Signal(os.Interrupt) // it lets go
		_ = watch.Wait()
	}()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(trace); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Skip("SKIPPED: strace may not look at another process here")
		}
	}
	time.Sleep(300 * time.Millisecond) // until it has every thread
	for range 5 {
		if status, _, problem := send(t, p, []byte(`{"touser":"oUser1","msgtype":"text","text":{"content":"x"}}`), ""); status != http.StatusAccepted {
			t.Fatalf("%d %+v", status, problem)
		}
		time.Sleep(50 * time.Millisecond)
	}
	p.kill()
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	wrote, synced, answers, unsynced := 0, 0, 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.Contains(line, "-wal>") && strings.Contains(line, "pwrite64("):
			wrote++
			synced = 0
		case strings.Contains(line, "-wal>") && (strings.Contains(line, "fsync(") || strings.Contains(line, "fdatasync(")):
			synced++
		case strings.Contains(line, `"HTTP/1.1 202`):
			if answers++; synced == 0 {
				unsynced++
			}
		}
	}
	if answers != 5 || wrote == 0 || unsynced > 0 {
		t.Errorf("%d answers, %d of them before what was written to the log was synced; %d writes", answers, unsynced, wrote)
	}
	t.Logf("%d answers, %d writes to the log, each answer after a sync", answers, wrote)
}
