//go:build unix

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kefu-go/kefu/gateway"
	"github.com/kefu-go/kefu/internal/failpoint"
	"github.com/kefu-go/kefu/internal/pgtest"
)

// Reliability, row 6: PostgreSQL ends at once and starts again, under load.
func TestPostgresRestarted(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	s := besiegeOn(t, server.Via(server.TCP(), "public"))
	s.load()
	for round := range rounds(3, 50) {
		before := s.given.Load()
		s.asked.Store(int64(150 * (round + 1)))
		for s.given.Load() < before+20+rand.Int64N(100) { // in the middle of it
			time.Sleep(time.Millisecond)
		}
		server.Stop()
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		s.catchUp()
	}
	s.judge(0)
}

// Reliability, row 6: the primary dies (-9, all its processes) under load, and its
// synchronous standby, which has just heard nothing for a while, is promoted. The
// address has both hosts.
func TestStandbyPromoted(t *testing.T) {
	t.Parallel()
	primary := pgtest.Start(t)
	standby, err := primary.Standby(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { standby.Remove() }()
	hosts := fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", primary.Port, standby.Port)
	s := besiegeOn(t, primary.Via(hosts, "public"))
	s.load()
	for round, last := 0, rounds(1, 20)-1; ; round++ {
		s.asked.Store(int64(100 * (round + 1)))
		time.Sleep(time.Duration(50+rand.IntN(300)) * time.Millisecond)
		thaw := standby.Freeze()
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) // what the primary alone keeps is not to be acknowledged
		primary.Kill()
		thaw()
		if err := standby.Promote(); err != nil {
			t.Fatal(err)
		}
		// It has the settings of its primary, and would wait for a standby of its own.
		if err := standby.Set("synchronous_standby_names", ""); err != nil {
			t.Fatal(err)
		}
		s.catchUp()
		if round == last {
			break
		}
		port := primary.Port
		primary.Remove()
		primary = standby
		if standby, err = primary.Standby(port); err != nil {
			t.Fatal(err)
		}
	}
	s.judge(0)
}

// Reliability, row 6: for longer than the gateway waits for a commit nothing gets to the
// standby, and the primary shows what the standby has not. Then the primary dies.
func TestStandbyCutOff(t *testing.T) {
	if os.Getenv("KEFU_LONG") == "" {
		t.Skip("the short form is in internal/store; KEFU_LONG=1")
	}
	t.Parallel()
	primary := pgtest.Start(t)
	standby, err := primary.Standby(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Remove)
	s := besiegeOn(t, primary.Via(primary.TCP()+","+standby.TCP(), "public"))
	s.load()
	s.asked.Store(100)
	s.catchUp()
	if _, err := primary.Withhold(); err != nil {
		t.Fatal(err)
	}
	s.asked.Store(200)
	time.Sleep(25 * time.Second) // twice, and a half
	primary.Kill()
	if err := standby.Promote(); err != nil {
		t.Fatal(err)
	}
	s.catchUp()
	s.judge(0)
}

// Reliability, row 6: the server's machine vanishes, which closes no connection, and the
// address is another's at once. The gateway goes on within half a minute.
func TestPrimaryVanishes(t *testing.T) {
	if os.Getenv("KEFU_LONG") == "" {
		t.Skip("the short form is in internal/store; KEFU_LONG=1")
	}
	t.Parallel()
	server := pgtest.Start(t)
	proxy := pgtest.NewProxy(t, server.TCP())
	s := besiegeOn(t, server.Via(proxy.Addr(), "public"))
	s.load()
	for round := range 3 {
		s.asked.Store(int64(150 * (round + 1)))
		time.Sleep(time.Duration(50+rand.IntN(300)) * time.Millisecond)
		proxy.Silence()
		began := time.Now()
		s.catchUp()
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	s.judge(0)
}

// Reliability, row 1 on PostgreSQL: kill -9 of the gateway at random moments; the
// next one takes over when nothing was heard of it for the life of a lease.
func TestKilledGatewayOnPostgres(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	s := besiegeOn(t, server.Via(server.TCP(), "public"))
	s.load()
	kills := killsOf(3) // each costs the life of a lease
	for killed := range kills {
		s.asked.Store(int64(60 * (killed + 1)))
		time.Sleep(time.Duration(10+rand.IntN(300)) * time.Millisecond)
		s.p.kill()
		s.p.start()
	}
	s.judge(kills)
}

// Row 1 on PostgreSQL, at each place of package failpoint with KEFU_LONG. The wait for
// the lease of the dead is most of what each costs.
func TestFailpointsOnPostgres(t *testing.T) {
	bin, server := withFailpoints(t), pgtest.Start(t)
	places := []string{"commit.after", "begin.kept"}
	if os.Getenv("KEFU_LONG") != "" {
		places = failpoint.Names
	}
	t.Run("places", func(t *testing.T) {
		for _, place := range places {
			for _, times := range timesOf(1 + rand.IntN(8)) {
				t.Run(fmt.Sprintf("%s/%d", place, times), func(t *testing.T) {
					t.Parallel()
					diesAt(besiegeOn(t, server.Via(server.TCP(), server.Schema(t))), bin, place, times)
				})
			}
		}
	})
}

// Row 5 on PostgreSQL.
func TestTokenStormOnPostgres(t *testing.T) {
	if os.Getenv("KEFU_LONG") == "" {
		t.Skip("the short form is on SQLite; KEFU_LONG=1")
	}
	server := pgtest.Start(t)
	tokenStorm(besiegeOn(t, server.Via(server.TCP(), server.Schema(t))))
}

// A gateway with history is stopped, moved and started again: the same messages, the
// same key, and it goes on.
func TestMovedToPostgres(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	s := besiege(t)
	s.load()
	s.asked.Store(100)
	s.catchUp()
	_, before := s.end()
	s.p.kill() // the move reads what a crash left behind, too
	file, target := s.p.db, server.Via(server.TCP(), "public")
	out, err := exec.Command(s.p.bin, "db", "move", "--from", file, "--to", target).CombinedOutput()
	if err != nil || !strings.Contains(string(out), `{"tables":`) {
		t.Fatalf("%v: %s", err, out)
	}
	s.p.db = target
	s.p.dir = t.TempDir()
	s.p.env = append(s.p.env, "KEFU_SECRET_KEY_FILE="+strings.TrimPrefix(file, "sqlite:")+".secret")
	s.p.start()
	s.load()
	s.asked.Store(200)
	s.catchUp()
	s.judge(1)
	_, after := s.end()
	for id, m := range before {
		if there, ok := after[id]; !ok || there.State != m.State {
			t.Errorf("%s was %s and is %q", id, m.State, there.State)
		}
	}

	out, err = exec.Command(s.p.bin, "db", "move", "--from", file, "--to", target).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "must be empty") {
		t.Errorf("moved twice: %v: %s", err, out)
	}
	serve := exec.Command(s.p.bin, "serve", "--addr", "127.0.0.1:0")
	serve.Env = append(os.Environ(), "KEFU_DB=postgres://kefu:canary@127.0.0.1:1/kefu")
	if out, err := serve.CombinedOutput(); err == nil || strings.Contains(string(out), "canary") {
		t.Errorf("%v: %s", err, out)
	}
}

// A second gateway on the database waits with its door closed, and takes over when
// the first dies.
func TestGatewayInReserve(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	s := besiegeOn(t, server.Via(server.TCP(), "public"))
	reserve := newProcess(t, s.wechat.URL)
	reserve.on(s.p.db)
	said, stderr := io.Pipe()
	waits := make(chan struct{})
	go func() {
		for lines := bufio.NewScanner(said); lines.Scan(); {
			if strings.Contains(lines.Text(), "waits until that is gone") {
				close(waits)
			}
		}
	}()
	reserve.cmd = exec.Command(reserve.bin, "serve", "--addr", reserve.addr, "--db", reserve.db)
	reserve.cmd.Env, reserve.cmd.Dir, reserve.cmd.Stderr = append(os.Environ(), reserve.env...), reserve.dir, stderr
	if err := reserve.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reserve.gone = make(chan struct{})
	go func() {
		_ = reserve.cmd.Wait()
		close(reserve.gone)
	}()
	defer reserve.kill()
	select {
	case <-waits:
	case <-time.After(time.Minute):
		t.Fatal("it does not wait")
	}
	if c, err := net.Dial("tcp", reserve.addr); err == nil {
		c.Close()
		t.Error("the door of the one that waits is open")
	}
	for i := range 20 {
		if err := s.box.post(t.Context(), s.p.url(), s.friend(0, i%6), fmt.Sprintf("%07d", i)); err != nil {
			t.Fatal(err)
		}
	}
	s.p.kill()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if res, err := http.Get(reserve.url() + "/readyz"); err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatal("it does not take over")
		}
	}
	for text, id := range s.box.kept {
		var m gateway.Message
		get(t, reserve.url()+"/v1/messages/"+id, &m) // fails if it is not there
		if m.ID != id {
			t.Errorf("%s is %+v", text, m)
		}
	}
}

// catchUp waits until the clients have handed in what was asked of them.
func (s *siege) catchUp() {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); s.given.Load() < s.asked.Load(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the gateway does not come back: %s", s.p.errs.String())
		}
	}
}
