// Package egress is the way out to URLs that somebody else chose: media in
// messages, webhooks. It reaches public addresses alone.
//
//	client := egress.Client(egress.Options{Redirects: 3, MaxBody: 10 << 20})
//	res, err := client.Get(url) // errors.Is(err, egress.ErrForbidden): never retry
//
// An address is checked when it is dialled, after the name was resolved: whatever
// a name pointed to before, and wherever a redirect leads, a forbidden address gets
// no packet. No proxy is taken from the environment, nothing is decompressed, no
// cookie, Referer or password leaves.
package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

var (
	// ErrForbidden: the URL, or the address behind its name, is not one that the
	// gateway goes to. Another try ends alike.
	ErrForbidden = errors.New("not a public web address")
	// ErrTooLarge: the answer's body is larger than [Options.MaxBody].
	ErrTooLarge = errors.New("the answer is too large")
)

// Options of a client. The zero value is the strictest.
type Options struct {
	// AllowPrivate also reaches loopback and private networks, for development.
	// Link-local addresses and those of cloud metadata stay forbidden.
	AllowPrivate bool
	Redirects    int           // most that are followed; default 0: a 3xx is the answer
	Timeout      time.Duration // of a request with its answer's body; default 10 s
	MaxBody      int64         // bytes of an answer's body; default 1 MiB
	Idle         int           // connections to a host that are kept for the next request; default 4

	resolver *net.Resolver         // of tests
	permit   func(netip.Addr) bool // of tests: counts as public
}

const (
	maxHeader = 64 << 10 // bytes of an answer's header
	maxURL    = 2048     // bytes
)

// Client returns a client that goes to public http and https URLs alone. Make one
// and keep it: it has its own connections.
func Client(o Options) *http.Client {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.Idle == 0 {
		o.Idle = 4
	}
	dialer := &net.Dialer{Timeout: o.Timeout, Resolver: o.resolver, ControlContext: o.control}
	return &http.Client{
		Timeout: o.Timeout,
		Transport: &guard{o, &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, DisableCompression: true,
			TLSHandshakeTimeout: o.Timeout, ResponseHeaderTimeout: o.Timeout, MaxResponseHeaderBytes: maxHeader,
			MaxIdleConns: 64 + o.Idle, MaxIdleConnsPerHost: o.Idle, IdleConnTimeout: 10 * time.Second,
		}},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			switch {
			case o.Redirects == 0:
				return http.ErrUseLastResponse
			case len(via) > o.Redirects:
				return fmt.Errorf("%w: more than %d redirects", ErrForbidden, o.Redirects)
			case via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https":
				return fmt.Errorf("%w: a redirect from https to %s", ErrForbidden, r.URL.Scheme)
			}
			return nil
		},
	}
}

// Check tells whether a URL can be one to go to, as far as the URL alone shows
// it, so that it can be refused early. A name may still lead to a forbidden address.
func Check(rawURL string, o Options) error {
	if len(rawURL) > maxURL {
		return fmt.Errorf("%w: a URL of %d bytes, at most %d", ErrForbidden, len(rawURL), maxURL)
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		return fmt.Errorf("%w: not a URL", ErrForbidden)
	}
	return o.check(u)
}

func (o *Options) check(u *url.URL) error {
	port := u.Port()
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("%w: the scheme must be http or https", ErrForbidden)
	case u.Hostname() == "" || u.Opaque != "":
		return fmt.Errorf("%w: no host in the URL", ErrForbidden)
	case u.User != nil:
		return fmt.Errorf("%w: a user name or password in the URL", ErrForbidden)
	case port != "" && !webPort(port):
		return fmt.Errorf("%w: port %s; 80, 443 and those from 1024 up can be used", ErrForbidden, port)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return o.checkAddr(ip)
	}
	return nil
}

// webPort: below 1024 other services live, such as mail, which would take a POST
// for commands.
func webPort(port string) bool {
	n, err := net.LookupPort("tcp", port)
	return err == nil && (n == 80 || n == 443 || n >= 1024)
}

// control runs for each address before its socket connects.
func (o *Options) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%w: %s %s", ErrForbidden, network, address)
	}
	return o.checkAddr(at.Addr())
}

func (o *Options) checkAddr(ip netip.Addr) error {
	switch kind := kindOf(ip); {
	case o.permit != nil && o.permit(ip), kind == public, kind == private && o.AllowPrivate:
		return nil
	case kind == private:
		return fmt.Errorf("%w: %s is a private address (--allow-private permits it, for development)", ErrForbidden, ip)
	}
	return fmt.Errorf("%w: %s is a reserved address", ErrForbidden, ip)
}

// guard is the transport around the one that dials.
type guard struct {
	Options
	next *http.Transport
}

// RoundTrip implements [http.RoundTripper].
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.check(r.URL); err != nil {
		return nil, err
	}
	if r.Header.Get("Referer") != "" { // net/http tells a redirect's target where it came from
		r = r.Clone(r.Context())
		r.Header.Del("Referer")
	}
	res, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if res.ContentLength > g.MaxBody {
		res.Body.Close()
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, res.ContentLength, g.MaxBody)
	}
	res.Body = &capped{res.Body, g.MaxBody}
	return res, nil
}

// CloseIdleConnections implements what [http.Client.CloseIdleConnections] asks for.
func (g *guard) CloseIdleConnections() { g.next.CloseIdleConnections() }

// capped is a body that ends in ErrTooLarge after left bytes.
type capped struct {
	io.ReadCloser
	left int64
}

func (c *capped) Read(b []byte) (int, error) {
	if int64(len(b)) > c.left+1 {
		b = b[:c.left+1]
	}
	n, err := c.ReadCloser.Read(b)
	if int64(n) > c.left {
		n, err = int(c.left), ErrTooLarge
	}
	c.left -= int64(n)
	return n, err
}

// WithoutURL returns err without the URL that net/http puts into its errors: a
// query may hold a secret.
func WithoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
