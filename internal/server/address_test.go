package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/kefu-go/kefu/gateway"
)

// Whose request it is: only what a trusted proxy has written counts, and of it the last
// address that is no proxy's.
func TestCaller(t *testing.T) {
	for _, tt := range []struct {
		name, proxies, from, header, want string
	}{
		{"no proxy is trusted", "", "198.51.100.7:1", "203.0.113.9", "198.51.100.7"},
		{"loopback is no proxy by itself", "", "127.0.0.1:1", "203.0.113.9", "127.0.0.1"},
		{"no header", "10.0.0.0/8", "10.0.0.1:1", "", "10.0.0.1"},
		{"one proxy", "10.0.0.0/8", "10.0.0.1:1", "203.0.113.9", "203.0.113.9"},
		{"not through the proxy: its header is an invention", "10.0.0.0/8", "198.51.100.7:1", "203.0.113.9", "198.51.100.7"},
		{"what the caller has written before counts for nothing", "10.0.0.0/8", "10.0.0.1:1", "1.2.3.4, 10.0.0.9, 203.0.113.9", "203.0.113.9"},
		{"two proxies", "10.0.0.0/8,192.0.2.1/32", "10.0.0.1:1", "1.2.3.4, 203.0.113.9, 192.0.2.1", "203.0.113.9"},
		{"a second proxy that is not trusted is the caller", "10.0.0.0/8", "10.0.0.1:1", "203.0.113.9, 192.0.2.1", "192.0.2.1"},
		{"proxies all the way: the first of them", "10.0.0.0/8", "10.0.0.1:1", "10.0.0.3, 10.0.0.2", "10.0.0.3"},
		{"two headers are one list", "10.0.0.0/8", "10.0.0.1:1", "1.2.3.4|203.0.113.9, 10.0.0.2", "203.0.113.9"},
		{"the border of a network", "10.0.0.0/31", "10.0.0.1:1", "203.0.113.9", "203.0.113.9"},
		{"one beyond it", "10.0.0.0/31", "10.0.0.2:1", "203.0.113.9", "10.0.0.2"},
		{"with ports", "10.0.0.0/8", "10.0.0.1:1", "203.0.113.9:4711", "203.0.113.9"},
		{"IPv6", "2001:db8::/32", "[2001:db8::1]:1", "2001:db9::5", "2001:db9::5"},
		{"IPv6 with a port", "2001:db8::/32", "[2001:db8::1]:1", "[2001:db9::5]:80", "2001:db9::5"},
		{"IPv6 in brackets", "2001:db8::/32", "[2001:db8::1]:1", "[2001:db9::5]", "2001:db9::5"},
		{"IPv4 in IPv6 is IPv4", "10.0.0.0/8", "[::ffff:10.0.0.1]:1", "::ffff:203.0.113.9", "203.0.113.9"},
		{"a zone", "fe80::/10", "[fe80::1%eth0]:1", "203.0.113.9", "203.0.113.9"},
		{"garbage at the end: the proxy itself", "10.0.0.0/8", "10.0.0.1:1", "203.0.113.9, unknown", "10.0.0.1"},
		{"garbage behind a proxy: that one", "10.0.0.0/8", "10.0.0.1:1", "<script>, 10.0.0.2", "10.0.0.2"},
		{"empty hops", "10.0.0.0/8", "10.0.0.1:1", ", ,", "10.0.0.1"},
		{"a bracket without its fellow", "10.0.0.0/8", "10.0.0.1:1", "[203.0.113.9", "10.0.0.1"},
		{"a number too large", "10.0.0.0/8", "10.0.0.1:1", "203.0.113.256", "10.0.0.1"},
		{"leading zeros", "10.0.0.0/8", "10.0.0.1:1", "203.000.113.009", "10.0.0.1"},
		{"very long", "10.0.0.0/8", "10.0.0.1:1", strings.Repeat("1.2.3.4,", 2000) + "203.0.113.9", "203.0.113.9"},
		{"no connection's address", "10.0.0.0/8", "@", "203.0.113.9", ""},
	} {
		s := &Server{}
		for text := range strings.SplitSeq(tt.proxies, ",") {
			if text != "" {
				s.Proxies = append(s.Proxies, netip.MustParsePrefix(text))
			}
		}
		r := httptest.NewRequest("POST", "/v1/session", nil)
		r.RemoteAddr = tt.from
		for value := range strings.SplitSeq(tt.header, "|") {
			r.Header.Add("X-Forwarded-For", value)
		}
		if got := s.caller(r); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A desk that notes who wants in.
type doorkeeper struct {
	signedIn
	from *string
}

func (d doorkeeper) SignIn(_ context.Context, _ gateway.SignIn, from string) (string, gateway.Agent, error) {
	*d.from = from
	return "", gateway.Agent{}, &gateway.Problem{Code: gateway.LoginFailed}
}

// The limit of a sign-in is the caller's, not the proxy's.
func TestSignInBehindProxies(t *testing.T) {
	for _, proxies := range [][]netip.Prefix{nil, {netip.MustParsePrefix("192.0.2.0/24")}} {
		w := newWorld(t)
		var from string
		w.Desk, w.Proxies = doorkeeper{from: &from}, proxies
		a := w.do("", "POST", "/v1/session", `{"name":"ann","password":"x"}`, "X-Forwarded-For: 1.2.3.4, 203.0.113.9")
		want := "192.0.2.1" // httptest's
		if proxies != nil {
			want = "203.0.113.9"
		}
		if a.StatusCode != http.StatusUnauthorized || from != want {
			t.Errorf("trusting %v: %d, counted for %q, want %q", proxies, a.StatusCode, from, want)
		}
	}
}
