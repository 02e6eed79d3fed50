package egress

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// ErrNonPublic is wrapped by every refusal of the Guard. The door tells it as NonPublic.
var ErrNonPublic = errors.New("not a public address")

// Guard says which addresses may be dialled. It is asked twice: about the addresses that a name resolved to, and in
// net.Dialer.ControlContext about the address that the socket is about to connect to, so the checked address is the dialled one.
type Guard struct {
	// Own gives the host's own addresses (HostAddrs). It is asked at dial time, for interfaces come and go; an error refuses.
	// Nil: there are none.
	Own func() ([]netip.Addr, error)
}

// HostAddrs gives the addresses of the interfaces of the network namespace that it is called in. It is the Own of real sessions.
func HostAddrs() ([]netip.Addr, error) {
	nets, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list interface addresses: %w", err)
	}
	var addrs []netip.Addr
	for _, n := range nets {
		if p, err := netip.ParsePrefix(n.String()); err == nil {
			addrs = append(addrs, p.Addr())
		}
	}
	return addrs, nil
}

// block is a part of the address space and why it is not dialled.
type block struct{ prefix, why string }

// never is refused even for a rule with Private: nothing that answers TCP lives there, or what lives there hands out the
// machine's own credentials. A user who means one of them writes it into the rule's Connect.
func never() []block {
	return []block{
		{"0.0.0.0/8", "unspecified"}, // connect(2) to 0.0.0.0 reaches loopback on Linux
		{"224.0.0.0/4", "multicast"},
		{"240.0.0.0/4", "reserved or broadcast"},
		{"169.254.169.254/32", "cloud metadata"},  // EC2, GCE, Azure, OpenStack, …
		{"169.254.170.0/24", "cloud credentials"}, // ECS task roles, EKS pod identity
		{"100.100.100.200/32", "cloud metadata"},  // Alibaba
		{"168.63.129.16/32", "cloud metadata"},    // Azure's wire server, in public space
		{"192.0.0.192/32", "cloud metadata"},      // Oracle, old
		{"fd00:ec2::/32", "cloud metadata"},       // EC2 (fd00:ec2::254, ::23)
		{"fd20:ce::254/128", "cloud metadata"},    // GCE
		{"fd00:42::42/128", "cloud metadata"},     // Scaleway
		{"::/128", "unspecified"},
		{"ff00::/8", "multicast"},
	}
}

// private is refused unless the rule says Private. IPv4 follows IANA's special-purpose registry (RFC 6890 and its updates); of
// IPv6 only 2000::/3 is ever public, so there the special parts of it are enough.
func private() []block {
	return []block{
		{"10.0.0.0/8", "private (RFC 1918)"},
		{"100.64.0.0/10", "carrier-grade NAT (RFC 6598)"},
		{"127.0.0.0/8", "loopback"},
		{"169.254.0.0/16", "link-local"},
		{"172.16.0.0/12", "private (RFC 1918)"},
		{"192.0.0.0/24", "protocol assignments (RFC 6890)"},
		{"192.0.2.0/24", "documentation (RFC 5737)"},
		{"192.88.99.0/24", "6to4 relay (RFC 7526)"},
		{"192.168.0.0/16", "private (RFC 1918)"},
		{"198.18.0.0/15", "benchmarking (RFC 2544)"}, // the jail's own range; some VPN clients give names such addresses too
		{"198.51.100.0/24", "documentation (RFC 5737)"},
		{"203.0.113.0/24", "documentation (RFC 5737)"},
		{"::1/128", "loopback"},
		{"fc00::/7", "unique local (RFC 4193)"},
		{"fe80::/10", "link-local"},
		{"fec0::/10", "site-local (RFC 3879)"},
		{"2001::/23", "Teredo and protocol assignments (RFC 2928)"},
		{"2001:db8::/32", "documentation (RFC 3849)"},
		{"2002::/16", "6to4 (RFC 7526)"},
		{"3fff::/20", "documentation (RFC 9637)"},
	}
}

// Check says whether a name without further words in its rule may be dialled at this address. The error wraps ErrNonPublic and
// says what the address is.
func (g Guard) Check(a netip.Addr) error {
	if err := g.CheckPrivate(a); err != nil {
		return err
	}
	real := decode(a)
	if why := find(private(), real); why != "" {
		return refuse(a, real, why)
	}
	if real.Is6() && !netip.MustParsePrefix("2000::/3").Contains(real) {
		return refuse(a, real, "outside of global unicast")
	}
	if g.Own == nil {
		return nil
	}
	own, err := g.Own()
	if err != nil {
		return fmt.Errorf("%v: %w: own addresses unknown: %w", a, ErrNonPublic, err)
	}
	for _, o := range own {
		if o.Unmap().WithZone("") == real {
			return refuse(a, real, "this host's own")
		}
	}
	return nil
}

// CheckPrivate is Check for a rule with Private: loopback, private, link-local and own addresses pass, those that are never
// dialled do not.
func (g Guard) CheckPrivate(a netip.Addr) error {
	if !a.IsValid() {
		return fmt.Errorf("no address: %w", ErrNonPublic)
	}
	if a.Zone() != "" {
		return fmt.Errorf("%v: %w: it has a zone", a, ErrNonPublic)
	}
	real := decode(a)
	if why := find(never(), real); why != "" {
		return refuse(a, real, why)
	}
	return nil
}

func refuse(a, real netip.Addr, why string) error {
	if a == real {
		return fmt.Errorf("%v: %w: %s", a, ErrNonPublic, why)
	}
	return fmt.Errorf("%v (%v): %w: %s", a, real, ErrNonPublic, why)
}

func find(blocks []block, a netip.Addr) string {
	for _, b := range blocks {
		if netip.MustParsePrefix(b.prefix).Contains(a) {
			return b.why
		}
	}
	return ""
}

// decode gives the IPv4 address that a packet to a would end at, or a itself.
func decode(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if !a.Is6() {
		return a
	}
	b := a.As16()
	v4 := netip.AddrFrom4([4]byte(b[12:16]))
	for _, p := range []string{
		"64:ff9b::/96", // NAT64 (RFC 6052)
	} {
		if netip.MustParsePrefix(p).Contains(a) {
			return v4
		}
	}
	return a
}
