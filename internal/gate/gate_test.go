package gate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func open(t *testing.T) (*CA, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	c, err := Open(file, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c, file
}

// A program that trusts the CA reaches the handler as api.weixin.qq.com, through
// HTTPS_PROXY and through hosts; one that doesn't reaches nothing.
func TestWaysIn(t *testing.T) {
	ca, _ := open(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host+r.URL.Path) })
	p := &Proxy{}
	outer := httptest.NewServer(p)
	defer outer.Close()
	p.Inner = NewConnections(outer.Listener.Addr())
	inner := &http.Server{Handler: handler, TLSConfig: ca.TLS()}
	go inner.ServeTLS(p.Inner, "", "")
	defer inner.Close()
	listening := httptest.NewUnstartedServer(handler)
	listening.TLS = ca.TLS()
	listening.StartTLS()
	defer listening.Close()

	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.PEM) {
		t.Fatal("no certificate")
	}
	proxy, _ := url.Parse(outer.URL)
	for _, tt := range []struct {
		name string
		way  *http.Transport
		url  string
		want string // of the answer, or of the error
	}{
		{"the proxy", &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}, "https://api.weixin.qq.com/cgi-bin/token", "api.weixin.qq.com/cgi-bin/token"},
		{"HTTP/2 through the proxy", &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}, "https://api.weixin.qq.com/cgi-bin/token", "api.weixin.qq.com/cgi-bin/token"},
		{"hosts", &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", listening.Listener.Addr().String())
		}}, "https://api.weixin.qq.com/cgi-bin/token", "api.weixin.qq.com/cgi-bin/token"},
		{"who does not trust the CA", &http.Transport{Proxy: http.ProxyURL(proxy)}, "https://api.weixin.qq.com/", "certificate"},
		{"another host", &http.Transport{Proxy: http.ProxyURL(proxy)}, "https://example.com/", "Forbidden"},
		{"another port", &http.Transport{Proxy: http.ProxyURL(proxy)}, "https://api.weixin.qq.com:22/", "Forbidden"},
		{"a host that begins alike", &http.Transport{Proxy: http.ProxyURL(proxy)}, "https://api.weixin.qq.com.example.com/", "Forbidden"},
		{"in clear", &http.Transport{Proxy: http.ProxyURL(proxy)}, "http://api.weixin.qq.com/", "CONNECT alone"},
	} {
		got := ""
		res, err := (&http.Client{Transport: tt.way, Timeout: 10 * time.Second}).Get(tt.url)
		if err != nil {
			got = err.Error()
		} else {
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			got = string(b)
		}
		tt.way.CloseIdleConnections()
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s", tt.name, got)
		}
	}

	elsewhere := httptest.NewTLSServer(handler)
	defer elsewhere.Close()
	way := elsewhere.Client().Transport.(*http.Transport).Clone()
	way.Proxy = http.ProxyURL(proxy)
	defer way.CloseIdleConnections()
	if _, err := (&http.Client{Transport: way}).Get(elsewhere.URL); err == nil {
		t.Error("another host was tunnelled")
	}
	p.Others = true
	res, err := (&http.Client{Transport: way}).Get(elsewhere.URL)
	if err != nil {
		t.Fatalf("with Others: %v", err)
	}
	res.Body.Close()
}

// The CA is kept for its owner alone, ends after 90 days, and can't be misused for
// another host by whoever has its key.
func TestCA(t *testing.T) {
	ca, file := open(t)
	if info, err := os.Stat(KeyFile(file)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v %v", info.Mode(), err)
	}
	again, err := Open(file, time.Now())
	if err != nil || !again.cert.Equal(ca.cert) {
		t.Errorf("opened again: %v", err)
	}
	if _, err := Open(file, time.Now().Add(Life-time.Minute)); err != nil {
		t.Errorf("in its last minute: %v", err)
	}
	if _, err := Open(file, time.Now().Add(Life+time.Minute)); !errors.Is(err, ErrOver) {
		t.Errorf("after its life: %v", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	for _, tt := range []struct {
		name string
		ips  []net.IP
		good bool
	}{{Host, nil, true}, {"bank.example", nil, false}, {"qq.com", nil, false}, {"mp.weixin.qq.com", nil, false}, {"", []net.IP{net.IPv4(127, 0, 0, 1)}, false}} {
		leaf := &x509.Certificate{NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: tt.ips, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if tt.name != "" {
			leaf.DNSNames = []string{tt.name}
		}
		der, err := sign(leaf, ca.cert, key, ca.key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, DNSName: tt.name}); (err == nil) != tt.good {
			t.Errorf("%s %v: %v", tt.name, tt.ips, err)
		}
	}
	if err := os.Chmod(KeyFile(file), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, time.Now()); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
}
