package gate

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Proxy is what HTTPS_PROXY names: it answers CONNECT for [Host] itself, and refuses
// every other host. Serve Inner with the CA's TLS settings.
type Proxy struct {
	// Others are tunnelled, as a proxy does, instead of refused. For a proxy that only
	// this machine can reach: it would take anybody anywhere.
	Others bool
	// Inner are the connections to [Host], before TLS.
	Inner *Connections
}

const dialTime = 10 * time.Second

// ServeHTTP implements [http.Handler].
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	switch {
	case r.Method != http.MethodConnect || err != nil:
		http.Error(w, "this proxy takes CONNECT alone: name it in HTTPS_PROXY, not HTTP_PROXY", http.StatusForbidden)
		return
	case host == Host && port == "443":
	case !p.Others:
		http.Error(w, "this proxy leads to "+Host+" alone (--tunnel-others on loopback for the rest; or name it for that host only)", http.StatusForbidden)
		return
	}
	var far net.Conn
	if host != Host {
		if far, err = (&net.Dialer{Timeout: dialTime}).DialContext(r.Context(), "tcp", r.Host); err != nil {
			http.Error(w, "no connection", http.StatusBadGateway)
			return
		}
	}
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		if far != nil {
			far.Close()
		}
		http.Error(w, "no CONNECT here", http.StatusForbidden)
		return
	}
	_ = near.SetDeadline(time.Time{})
	if _, err := io.WriteString(near, "HTTP/1.1 200 Connection Established\r\n\r\n"); err != nil {
		near.Close()
		if far != nil {
			far.Close()
		}
		return
	}
	conn := &hijacked{near, buffered.Reader}
	if far == nil {
		p.Inner.add(conn)
		return
	}
	both(conn, far)
}

// both copies both ways until one ends.
func both(a, b net.Conn) {
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		wg.Go(func() {
			io.Copy(way[0], way[1])
			a.Close()
			b.Close()
		})
	}
	wg.Wait()
}

// A hijacked connection may have been read ahead of.
type hijacked struct {
	net.Conn
	ahead *bufio.Reader
}

func (c *hijacked) Read(b []byte) (int, error) { return c.ahead.Read(b) }

// Connections is a [net.Listener] of connections that came another way.
type Connections struct {
	addr net.Addr
	come chan net.Conn
	ctx  context.Context
	end  context.CancelFunc
}

// NewConnections makes one that says that it listens at addr.
func NewConnections(addr net.Addr) *Connections {
	c := &Connections{addr: addr, come: make(chan net.Conn)}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

func (c *Connections) add(conn net.Conn) {
	select {
	case c.come <- conn:
	case <-c.ctx.Done():
		conn.Close()
	}
}

// Accept implements [net.Listener].
func (c *Connections) Accept() (net.Conn, error) {
	select {
	case conn := <-c.come:
		return conn, nil
	case <-c.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (c *Connections) Close() error { c.end(); return nil }

// Addr implements [net.Listener].
func (c *Connections) Addr() net.Addr { return c.addr }
