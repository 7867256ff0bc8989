package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestKindOf(t *testing.T) {
	for _, tt := range []struct {
		ip   string
		want kind
	}{
		{"1.1.1.1", public},
		{"9.255.255.255", public},
		{"10.0.0.0", private},
		{"10.255.255.255", private},
		{"11.0.0.0", public},
		{"172.15.255.255", public},
		{"172.16.0.0", private},
		{"172.31.255.255", private},
		{"172.32.0.0", public},
		{"192.168.0.1", private},
		{"192.169.0.0", public},
		{"126.255.255.255", public},
		{"127.0.0.1", private},
		{"127.255.255.255", private},
		{"100.63.255.255", public},
		{"100.64.0.0", private},
		{"100.127.255.255", private},
		{"100.128.0.0", public},
		{"100.100.100.200", reserved}, // metadata of Alibaba Cloud
		{"169.253.255.255", public},
		{"169.254.169.254", reserved},
		{"169.255.0.0", public},
		{"0.0.0.0", reserved}, // Linux connects to itself
		{"0.1.2.3", reserved},
		{"192.0.0.8", reserved},
		{"192.0.2.1", reserved},
		{"192.88.99.1", reserved},
		{"198.17.255.255", public},
		{"198.18.0.0", reserved},
		{"198.19.255.255", reserved},
		{"198.20.0.0", public},
		{"198.51.100.1", reserved},
		{"203.0.113.1", reserved},
		{"223.255.255.255", public},
		{"224.0.0.1", reserved},
		{"239.255.255.255", reserved},
		{"240.0.0.1", reserved},
		{"255.255.255.255", reserved},

		{"2606:4700::1111", public},
		{"::", reserved},
		{"::1", private},
		{"::127.0.0.1", reserved}, // IPv4-compatible
		{"::ffff:1.1.1.1", public},
		{"::ffff:127.0.0.1", private},
		{"::ffff:10.0.0.1", private},
		{"::ffff:169.254.169.254", reserved},
		{"64:ff9b::1.1.1.1", public},
		{"64:ff9b::127.0.0.1", private},
		{"64:ff9b::a9fe:a9fe", reserved},
		{"64:ff9b:1::1.1.1.1", reserved},
		{"2002:7f00:1::", reserved},        // 6to4 of 127.0.0.1
		{"2002:101:101::", reserved},       // 6to4 of 1.1.1.1
		{"2001::1", reserved},              // Teredo
		{"2001:2::1", reserved},            // benchmarks
		{"2001:db8::1", reserved},          // documentation
		{"3fff::1", reserved},              // documentation
		{"fbff:ffff::1", reserved},         // unassigned
		{"fc00::1", private},               // ULA
		{"fdff::1", private},               // ULA
		{"fd00:ec2::254", reserved},        // metadata of AWS
		{"fe80::1", reserved},              // link-local
		{"fe80::1%eth0", reserved},         // the same with a zone
		{"2606:4700::1111%eth0", reserved}, // a zone where none belongs
		{"fec0::1", reserved},              // site-local
		{"ff02::1", reserved},              // multicast
		{"100::1", reserved},               // discard
		{"5f00::1", reserved},              // segment routing
		{"1fff:ffff::1", reserved},         // below 2000::/3
		{"4000::1", reserved},              // above it
	} {
		if got := kindOf(netip.MustParseAddr(tt.ip)); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.ip, got, tt.want)
		}
	}
	if got := kindOf(netip.Addr{}); got != reserved {
		t.Errorf("no address: %d, want reserved", got)
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name, url string
		ok        bool
	}{
		{"http", "http://example.com/a?b=c", true},
		{"https with a port", "https://example.com:8443/", true},
		{"port 443 over http", "http://example.com:443/", true},
		{"a public address", "https://1.1.1.1/", true},
		{"a public IPv6 address", "https://[2606:4700::1111]/", true},
		{"port 1024", "http://example.com:1024/", true},
		{"port 1023", "http://example.com:1023/", false},
		{"mail", "http://example.com:25/", false},
		{"port 0", "http://example.com:0/", false},
		{"port 65536", "http://example.com:65536/", false},
		{"file", "file:///etc/passwd", false},
		{"ftp", "ftp://example.com/", false},
		{"gopher", "gopher://example.com/", false},
		{"data", "data:image/png;base64,AAAA", false},
		{"no scheme", "//example.com/", false},
		{"no host", "http:///a", false},
		{"opaque", "http:example.com", false},
		{"a password", "https://user:secret@example.com/", false},
		{"a user", "https://user@example.com/", false},
		{"an empty user", "https://@example.com/", false},
		{"loopback", "http://127.0.0.1/", false},
		{"metadata", "http://169.254.169.254/latest/", false},
		{"IPv6 loopback", "http://[::1]/", false},
		{"mapped", "http://[::ffff:127.0.0.1]/", false},
		{"a zone", "http://[fe80::1%25eth0]/", false},
		{"2048 bytes", "https://example.com/" + strings.Repeat("a", maxURL-len("https://example.com/")), true},
		{"2049 bytes", "https://example.com/" + strings.Repeat("a", maxURL+1-len("https://example.com/")), false},
		{"a control character", "http://example.com/\n", false},
	} {
		if err := Check(tt.url, Options{}); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		} else if err != nil && !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v is not ErrForbidden", tt.name, err)
		}
	}
	if err := Check("http://127.0.0.1:7700/a.jpg", Options{AllowPrivate: true}); err != nil {
		t.Errorf("with AllowPrivate: %v", err)
	}
	if err := Check("http://169.254.169.254/", Options{AllowPrivate: true}); err == nil {
		t.Error("metadata with AllowPrivate: allowed")
	}
}

// A site is a server that counts the connections it got.
type site struct {
	*httptest.Server
	conns atomic.Int32
}

// listen serves h at ip, a loopback address, or skips the test where there is none.
func listen(t *testing.T, ip string, h http.HandlerFunc) *site {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Skipf("this machine can't listen at %s: %v", ip, err)
	}
	s := &site{Server: httptest.NewUnstartedServer(h)}
	s.Listener.Close()
	s.Listener = l
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *site) port() string {
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return port
}

func hello(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") }

// outside counts as public in these tests, so that a first step can succeed.
const outside = "127.0.0.2"

func permit(ip netip.Addr) bool { return ip == netip.MustParseAddr(outside) }

func TestForbiddenAddressesGetNoConnection(t *testing.T) {
	inside := listen(t, "127.0.0.1", hello)
	inside6 := ""
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		s := &site{Server: httptest.NewUnstartedServer(http.HandlerFunc(hello))}
		s.Listener.Close()
		s.Listener = l
		s.Start()
		t.Cleanup(s.Close)
		inside6 = s.port()
	}
	client := Client(Options{Redirects: 3})
	for _, host := range []string{
		"127.0.0.1", "localhost", "LOCALHOST.", "0.0.0.0", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.0.0.1.",
		"[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[::]", "[64:ff9b::127.0.0.1]", "[fe80::1%25lo]", "[::1%25lo]",
	} {
		if _, err := client.Get("http://" + host + ":" + inside.port() + "/"); err == nil {
			t.Errorf("%s: answered", host)
		}
	}
	if n := inside.conns.Load(); n != 0 {
		t.Errorf("%d connections to loopback", n)
	}
	if inside6 != "" {
		if _, err := client.Get("http://[::1]:" + inside6 + "/"); !errors.Is(err, ErrForbidden) {
			t.Errorf("::1: %v", err)
		}
	}
	res, err := Client(Options{AllowPrivate: true}).Get(inside.URL)
	if err != nil || res.StatusCode != 200 {
		t.Errorf("with AllowPrivate: %v", err)
	}
}

// A name that answers with a public address first and with a private one when it
// is asked again must not help: what is dialled is what is checked.
func TestRebinding(t *testing.T) {
	inside := listen(t, "127.0.0.1", hello)
	for _, tt := range []struct {
		name    string
		answers []string // of one question each; the last goes on
	}{
		{"private at once", []string{"127.0.0.1"}},
		{"public, then private", []string{outside, "127.0.0.1"}},
		{"mapped", []string{"::ffff:127.0.0.1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client := Client(Options{Timeout: 3 * time.Second, resolver: resolver(t, tt.answers), permit: permit})
			for range 3 { // the first may reach the outside, where nobody listens
				if _, err := client.Get("http://rebind.test:" + inside.port() + "/"); err == nil {
					t.Error("answered")
				}
			}
			if n := inside.conns.Load(); n != 0 {
				t.Errorf("%d connections to loopback", n)
			}
		})
	}
}

func TestRedirects(t *testing.T) {
	inside := listen(t, "127.0.0.1", hello)
	var site *site
	site = listen(t, outside, func(w http.ResponseWriter, r *http.Request) {
		switch n := strings.TrimPrefix(r.URL.Path, "/"); n {
		case "inside":
			http.Redirect(w, r, inside.URL, http.StatusFound)
		case "name":
			http.Redirect(w, r, "http://localhost:"+inside.port(), http.StatusFound)
		case "file":
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		case "login":
			http.Redirect(w, r, strings.Replace(site.URL, "://", "://user:pass@", 1)+"/0", http.StatusFound)
		case "0":
			if r.Header.Get("Referer") != "" || r.Header.Get("Cookie") != "" {
				t.Errorf("the target learns %v", r.Header)
			}
			hello(w, r)
		case "1", "2", "3", "4":
			http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
			http.Redirect(w, r, "/"+string(n[0]-1), http.StatusFound)
		}
	})
	follow := Client(Options{Redirects: 3, permit: permit})
	for _, tt := range []struct {
		path string
		ok   bool
	}{{"0", true}, {"3?token=secret", true}, {"4", false}, {"inside", false}, {"name", false}, {"file", false}, {"login", false}} {
		res, err := follow.Get(site.URL + "/" + tt.path)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.path, err)
		}
		if err == nil {
			res.Body.Close()
		} else if !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v is not ErrForbidden", tt.path, err)
		}
	}
	res, err := Client(Options{permit: permit}).Get(site.URL + "/inside")
	if err != nil || res.StatusCode != http.StatusFound {
		t.Errorf("without redirects: %v, want the 302 itself", err)
	}
	if n := inside.conns.Load(); n != 0 {
		t.Errorf("%d connections to loopback", n)
	}
}

func TestCaps(t *testing.T) {
	const most = 1000
	site := listen(t, outside, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asks for %q", r.Header.Get("Accept-Encoding"))
		}
		switch r.URL.Path {
		case "/exact":
			_, _ = w.Write(make([]byte, most))
		case "/more":
			_, _ = w.Write(make([]byte, most+1))
		case "/chunked":
			for range most + 1 {
				_, _ = w.Write([]byte{0})
				w.(http.Flusher).Flush()
			}
		case "/header":
			w.Header().Set("X", strings.Repeat("a", 2*maxHeader))
		case "/slow":
			<-r.Context().Done()
		}
	})
	client := Client(Options{MaxBody: most, Timeout: 500 * time.Millisecond, permit: permit})
	read := func(path string) (int, error) {
		res, err := client.Get(site.URL + path)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return len(b), err
	}
	if n, err := read("/exact"); n != most || err != nil {
		t.Errorf("exactly as much: %d, %v", n, err)
	}
	if _, err := read("/more"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one more by its length: %v", err)
	}
	if n, err := read("/chunked"); n != most || !errors.Is(err, ErrTooLarge) {
		t.Errorf("one more unannounced: %d, %v", n, err)
	}
	if _, err := read("/header"); err == nil {
		t.Error("a huge header was read")
	}
	if _, err := read("/slow"); err == nil {
		t.Error("a server that never answers was waited for")
	}
}

// TestMain names a proxy that does not work; net/http reads it once.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy"} {
		os.Setenv(name, "http://"+outside+":9")
	}
	os.Unsetenv("NO_PROXY")
	os.Unsetenv("no_proxy")
	os.Exit(m.Run())
}

func TestNoProxyFromTheEnvironment(t *testing.T) {
	site := listen(t, outside, hello)
	client := Client(Options{resolver: resolver(t, []string{outside}), permit: permit})
	if _, err := client.Get("http://site.test:" + site.port()); err != nil { // by its name: loopback addresses get no proxy anyway
		t.Error(err)
	}
}

func TestWithoutURL(t *testing.T) {
	_, err := Client(Options{}).Get("http://127.0.0.1:1/?key=hunter2")
	if err == nil || strings.Contains(WithoutURL(err).Error(), "hunter2") || !errors.Is(WithoutURL(err), ErrForbidden) {
		t.Errorf("%v", WithoutURL(err))
	}
}

// resolver asks a DNS server of the test, which answers each question about an
// address with the next of answers.
func resolver(t *testing.T, answers []string) *net.Resolver {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	go func() {
		asked := 0
		buf := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				return
			}
			q := buf[:n]
			end := 12
			for q[end] != 0 {
				end += int(q[end]) + 1
			}
			end += 5 // the root, type and class
			kind := binary.BigEndian.Uint16(q[end-4:])
			ip := netip.MustParseAddr(answers[min(asked, len(answers)-1)])
			raw, want := ip.AsSlice(), uint16(1)
			if ip.Is6() {
				want = 28
			}
			out := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
			if kind == want {
				asked++
				out[7] = 1
				out = append(out, 0xc0, 12, 0, byte(want), 0, 1, 0, 0, 0, 0, 0, byte(len(raw)))
				out = append(out, raw...)
			}
			_, _ = server.WriteTo(out, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}
