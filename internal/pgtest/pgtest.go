//go:build unix

// Package pgtest runs Debian's PostgreSQL for tests: the real server, each in a
// folder of its own, reached by a socket in that folder, with everything on that
// makes a commit durable. A server ends with the process that started it.
package pgtest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A Server is a PostgreSQL server.
type Server struct {
	Dir  string // its data
	Port int    // on 127.0.0.1, and in the name of its socket

	bin     string
	home    string // of data and socket
	user    *syscall.Credential
	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	log     bytes.Buffer
	schemas atomic.Int64
}

// Skip skips a test that needs PostgreSQL if KEFU_NO_POSTGRES=1 says so. Without
// that it has to be there.
func Skip(t testing.TB) {
	t.Helper()
	if os.Getenv("KEFU_NO_POSTGRES") == "1" {
		t.Skip("KEFU_NO_POSTGRES=1")
	}
}

// Start makes a new server and starts it; it is gone after the test. settings are
// lines for postgresql.conf.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	Skip(t)
	s, err := New(settings...)
	if err == nil {
		t.Cleanup(s.Remove)
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// New makes a server that is not started yet; remove it after use.
func New(settings ...string) (*Server, error) {
	s, err := empty()
	if err != nil {
		return nil, err
	}
	if err := s.Run("initdb", "-D", s.Dir, "-U", "kefu", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
		"--locale-provider=icu", "--icu-locale=en-US", // so that order by letters is not order by bytes, as on most servers
		"--no-instructions"); err != nil {
		s.Remove()
		return nil, err
	}
	return s, s.configure(settings)
}

// Standby makes a server that follows s on a port (0: a free one) and starts it. It
// returns once s waits for it with every commit.
func (s *Server) Standby(port int) (*Server, error) {
	const name = "standby"
	b, err := empty()
	if err != nil {
		return nil, err
	}
	if port != 0 {
		b.Port = port
	}
	at := fmt.Sprintf("host=%s port=%d user=kefu application_name=%s", s.home, s.Port, name)
	if err := b.Run("pg_basebackup", "-D", b.Dir, "-R", "-X", "stream", "-c", "fast", "-d", at); err != nil {
		b.Remove()
		return nil, err
	}
	if err = b.configure(nil); err == nil {
		err = b.Start()
	}
	if err == nil {
		err = s.Set("synchronous_standby_names", name)
	}
	for state := ""; err == nil && state != "sync"; time.Sleep(20 * time.Millisecond) {
		state, err = s.SQL(`SELECT sync_state FROM pg_stat_replication WHERE application_name = '` + name + `'`)
	}
	if err != nil {
		b.Remove()
		return nil, err
	}
	return b, nil
}

// Set changes a setting of a running server; "" is its default.
func (s *Server) Set(name, value string) error {
	_, err := s.SQL(fmt.Sprintf("ALTER SYSTEM SET %s = '%s'", name, value))
	if err == nil {
		_, err = s.SQL("SELECT pg_reload_conf()")
	}
	return err
}

func empty() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "kefu-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: filepath.Join(home, "data"), bin: bin, home: home}
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		if s.user, err = postgresUser(); err == nil {
			err = os.Chown(home, int(s.user.Uid), int(s.user.Gid))
		}
	}
	if err == nil {
		s.Port, err = freePort()
	}
	if err != nil {
		os.RemoveAll(home)
		return nil, err
	}
	return s, nil
}

func (s *Server) configure(settings []string) error {
	text := strings.Join(slices.Concat([]string{
		"", // the last line may have no end
		fmt.Sprintf("port = %d", s.Port), "listen_addresses = '127.0.0.1'", fmt.Sprintf("unix_socket_directories = '%s'", s.home),
		"max_connections = 200", "shared_buffers = 64MB", "log_min_messages = warning", "lc_messages = 'C'", "timezone = 'UTC'",
	}, settings), "\n") + "\n"
	f, err := os.OpenFile(filepath.Join(s.Dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Start starts the server and returns once it answers.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	cmd := s.command("postgres", "-D", s.Dir)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true // Ctrl-C is for the tests
	endWithParent(cmd.SysProcAttr)
	started := make(chan error)
	ended := make(chan struct{})
	go func() {
		runtime.LockOSThread() // the thread that starts it must outlive it
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.cmd, s.ended = cmd, ended
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if s.Run("pg_isready", "-q", "-h", s.home, "-p", strconv.Itoa(s.Port)) == nil {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("PostgreSQL did not start: %s", &s.log)
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL does not answer: %v: %s", s.Run("pg_isready", "-h", s.home, "-p", strconv.Itoa(s.Port)), &s.log)
		}
	}
}

// Kill is kill -9 of the server and of all its processes.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Stop ends the server at once, as an immediate stop does: it recovers at its next
// start.
func (s *Server) Stop() { s.end(syscall.SIGQUIT) }

func (s *Server) end(how syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	if how == syscall.SIGKILL {
		// Stopped it makes no more children, and killed with it they write nothing more.
		_ = s.cmd.Process.Signal(syscall.SIGSTOP)
		for _, child := range children(s.cmd.Process.Pid) {
			_ = syscall.Kill(child, how)
		}
		_ = s.cmd.Process.Signal(how)
	} else {
		_ = s.cmd.Process.Signal(how)
	}
	<-s.ended
	s.cmd = nil
}

// Freeze has the server and all its processes stand still until thaw is called.
func (s *Server) Freeze() (thaw func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	pids := []int{s.cmd.Process.Pid}
	_ = syscall.Kill(pids[0], syscall.SIGSTOP)
	for _, child := range children(pids[0]) {
		_ = syscall.Kill(child, syscall.SIGSTOP)
		pids = append(pids, child)
	}
	return func() {
		for _, pid := range slices.Backward(pids) {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// Withhold has nothing get from the server to its standbys until it is called off.
func (s *Server) Withhold() (callOff func(), err error) {
	text, err := s.SQL(`SELECT pid FROM pg_stat_replication`)
	if err != nil {
		return nil, err
	}
	var senders []int
	for _, f := range strings.Fields(text) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		senders = append(senders, pid)
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return func() {
		for _, pid := range senders {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}, nil
}

// children are the processes that one has started, where the kernel tells.
func children(of int) (pids []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", of, of))
	for _, f := range strings.Fields(string(text)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Promote makes a standby the one that can be written.
func (s *Server) Promote() error {
	return s.Run("pg_ctl", "promote", "-D", s.Dir, "-w")
}

// Remove ends the server and deletes what it has.
func (s *Server) Remove() {
	s.Stop()
	os.RemoveAll(s.home)
}

// DSN is the address of the server by its socket, with a new and empty schema.
func (s *Server) DSN(t testing.TB) string {
	t.Helper()
	return s.At(s.Schema(t))
}

// At is the address of the server by its socket, and of a schema ("": the public one).
func (s *Server) At(schema string) string {
	q := url.Values{"host": {s.home}, "port": {strconv.Itoa(s.Port)}}
	if schema != "" {
		q.Set("search_path", schema)
	}
	return "postgres://kefu@/postgres?" + q.Encode()
}

// Via is the address of the server and a schema by TCP, at host and port: its own,
// those of a proxy, or several with commas.
func (s *Server) Via(hosts, schema string) string {
	return "postgres://kefu@" + hosts + "/postgres?sslmode=disable&search_path=" + schema
}

// Schema makes a new and empty schema and returns its name.
func (s *Server) Schema(t testing.TB) string {
	t.Helper()
	schema := fmt.Sprintf("case_%d", s.schemas.Add(1))
	if _, err := s.SQL("CREATE SCHEMA " + schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

// TCP is the address of the server on the network.
func (s *Server) TCP() string { return fmt.Sprintf("127.0.0.1:%d", s.Port) }

// SQL runs statements and returns what they print.
func (s *Server) SQL(text string) (string, error) {
	return s.output("psql", "-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-h", s.home, "-p", strconv.Itoa(s.Port), "-U", "kefu", "-d", "postgres", "-c", text)
}

// Run runs one of PostgreSQL's programs.
func (s *Server) Run(program string, args ...string) error {
	_, err := s.output(program, args...)
	return err
}

func (s *Server) output(program string, args ...string) (string, error) {
	out, err := s.command(program, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + s.home}
	if s.user != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.user}
	}
	return cmd
}

// binaries is the folder of PostgreSQL's programs: Debian's newest, else where the
// server is on the path.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	server, err := exec.LookPath("postgres")
	if err != nil {
		return "", errors.New("there is no PostgreSQL: make tools installs it (KEFU_NO_POSTGRES=1 does without)")
	}
	return filepath.Dir(server), nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

var (
	once   sync.Once
	shared *Server
	failed error
)

// Shared is one server for all tests of a process; [Main] ends it.
func Shared(t testing.TB) *Server {
	t.Helper()
	Skip(t)
	once.Do(func() {
		if shared, failed = New(); failed == nil {
			failed = shared.Start()
		}
	})
	if failed != nil {
		t.Fatal(failed)
	}
	return shared
}

// Main runs the tests of a package that uses [Shared], and ends it.
type Main struct{ *testing.M }

func (m Main) Run() int {
	code := m.M.Run()
	if shared != nil {
		shared.Remove()
	}
	return code
}

// postgresUser is who PostgreSQL runs as where the tests run as root.
func postgresUser() (*syscall.Credential, error) {
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}
