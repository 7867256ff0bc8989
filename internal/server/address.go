package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// caller is the address that a request comes from, "" if that can't be told: its
// connection's, or, where that is one of the Proxies, what they have written into
// X-Forwarded-For. Each proxy writes whom it got the request from at the end, so the list
// is read from there, as long as it is one of ours that has written; what stands before may
// be anybody's invention, and what is no address ends the reading.
func (s *Server) caller(r *http.Request) string {
	at, ok := address(r.RemoteAddr)
	if !ok {
		return ""
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !s.trusts(at) {
			break
		}
		before, ok := address(strings.TrimSpace(hop))
		if !ok {
			break
		}
		at = before
	}
	return at.String()
}

func (s *Server) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(s.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// address reads 192.0.2.1, 2001:db8::1 and [2001:db8::1], each with a port or without. An
// IPv4 address is the same whatever its form; a zone is of one machine and left out.
func address(text string) (netip.Addr, bool) {
	if at, err := netip.ParseAddrPort(text); err == nil {
		return at.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if text, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(text)
	return a.Unmap().WithZone(""), err == nil
}
