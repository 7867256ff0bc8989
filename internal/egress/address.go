package egress

import "net/netip"

// A kind is what an address is to someone who must not be led astray.
type kind int

const (
	reserved kind = iota // nobody's, many's, or the machine's own affairs: never
	private              // loopback and local networks: in development
	public
)

// Sources: the IANA registries of special-purpose IPv4 and IPv6 addresses,
// 2025-10-09; the metadata addresses from the clouds' manuals.
var (
	// Not to be reached even in development: here clouds hand out credentials.
	metadata = prefixes("169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128")

	privateNets = prefixes(
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
		"127.0.0.0/8", "::1/128",
		"100.64.0.0/10", // between a provider and its customers, RFC 6598
		"fc00::/7",      // RFC 4193
	)

	reservedNets = prefixes(
		"0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"2001::/23",     // protocols, Teredo and benchmarks among them
		"2001:db8::/32", // documentation, as 3fff::/20
		"2002::/16",     // 6to4: any IPv4 address in it, and no longer used
		"3fff::/20",
	)

	global = netip.MustParsePrefix("2000::/3")     // all other IPv6 is special: link-local, site-local, multicast, ::
	nat64  = netip.MustParsePrefix("64:ff9b::/96") // the last 32 bits are an IPv4 address, RFC 6052
)

func prefixes(list ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, p := range list {
		all[i] = netip.MustParsePrefix(p)
	}
	return all
}

func kindOf(ip netip.Addr) kind {
	if !ip.IsValid() || ip.Zone() != "" { // a zone names an interface of this machine
		return reserved
	}
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	ip = ip.Unmap() // ::ffff:10.0.0.1 reaches 10.0.0.1
	switch {
	case within(metadata, ip):
		return reserved
	case within(privateNets, ip):
		return private
	case within(reservedNets, ip), ip.Is6() && !global.Contains(ip):
		return reserved
	}
	return public
}

func within(nets []netip.Prefix, ip netip.Addr) bool {
	for _, p := range nets {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
