//go:build unix

package pgtest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between a client and a server and cuts connections, in the middle
// of what the test chooses, or has them fall silent.
type Proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	left  int  // chunks of clients until the cut; 0: none
	after bool // the chunk still gets to the server, its answer never comes back
	cut   chan struct{}
	down  bool
	open  map[net.Conn]bool // of clients; false: nothing comes through any more
}

// NewProxy makes a proxy before the server at an address. It ends with the test.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, server: server, open: map[net.Conn]bool{}}
	go p.run()
	t.Cleanup(func() {
		l.Close()
		p.Down()
	})
	return p
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut has the connection of the n-th chunk from now cut: before the chunk gets to
// the server, or after it, so that only the answer is lost. The channel is closed
// when that has happened.
func (p *Proxy) Cut(n int, after bool) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.after, p.cut = n, after, make(chan struct{})
	return p.cut
}

// Down cuts all connections and refuses new ones, until Up.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for c := range p.open {
		c.Close()
	}
}

// Silence has all connections stay open and nothing come through, as when the server's
// machine is gone; new ones are as ever.
func (p *Proxy) Silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		p.open[c] = false
	}
}

// silent reports whether nothing comes through.
func (p *Proxy) silent(client net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	through, open := p.open[client]
	return open && !through
}

// Up lets connections through again, and calls off a cut that has not come.
func (p *Proxy) Up() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down, p.left = false, 0
}

func (p *Proxy) run() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		p.mu.Lock()
		if err != nil || p.down {
			p.mu.Unlock()
			client.Close()
			continue
		}
		p.open[client] = true
		p.mu.Unlock()
		go func() {
			buf := make([]byte, 64<<10)
			for {
				n, err := server.Read(buf)
				if p.silent(client) {
					return
				}
				if err == nil {
					_, err = client.Write(buf[:n])
				}
				if err != nil {
					p.forget(client)
					return
				}
			}
		}()
		go p.forward(client, server)
	}
}

func (p *Proxy) forget(c net.Conn) {
	c.Close()
	p.mu.Lock()
	delete(p.open, c)
	p.mu.Unlock()
}

func (p *Proxy) forward(client, server net.Conn) {
	defer p.forget(client)
	defer server.Close()
	buf := make([]byte, 4<<20) // a client's chunk is what it sends before it waits for an answer
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if p.silent(client) {
			continue
		}
		p.mu.Lock()
		hit, after := p.left == 1, p.after
		if p.left > 0 {
			p.left--
		}
		if hit {
			close(p.cut)
		}
		p.mu.Unlock()
		if hit {
			client.Close() // first: what the server answers can't get through any more
			if after {
				server.Write(buf[:n])
				time.Sleep(50 * time.Millisecond) // or it notices before it looks at what was sent
			}
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}
