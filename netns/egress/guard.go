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

// never is refused for a rule with Private too: nothing that answers TCP lives there, or what lives there hands out the machine's
// own credentials, or the address hides the one where the packet ends. A user who means one writes it into the rule's Connect.
func never() []block {
	return []block{
		{"0.0.0.0/8", "unspecified"}, // connect(2) to 0.0.0.0 reaches loopback on Linux
		{"224.0.0.0/4", "multicast"},
		{"240.0.0.0/4", "reserved or broadcast"},
		{"169.254.169.254/32", "cloud metadata"},  // EC2, GCE, Azure, OpenStack and more
		{"169.254.170.0/24", "cloud credentials"}, // ECS task roles, EKS pod identity
		{"100.100.100.200/32", "cloud metadata"},  // Alibaba
		{"168.63.129.16/32", "cloud metadata"},    // Azure's wire server, in public space
		{"192.0.0.192/32", "cloud metadata"},      // Oracle's classic regions
		{"fd00:ec2::/32", "cloud metadata"},       // EC2: fd00:ec2::254 and, for EKS pods, ::23
		{"fd20:ce::254/128", "cloud metadata"},    // GCE
		{"fd00:42::42/128", "cloud metadata"},     // Scaleway
		{"::/96", "unspecified or IPv4-compatible (RFC 4291)"},
		{"::ffff:0:0:0/96", "IPv4-translated (RFC 2765)"},
		{"64:ff9b:1::/48", "local NAT64 (RFC 8215)"}, // where the IPv4 address stands is the operator's choice
		{"2001::/32", "Teredo (RFC 4380)"},
		{"2002::/16", "6to4 (RFC 7526)"},
		{"ff00::/8", "multicast"},
	}
}

// private is refused unless the rule says Private. IPv4 follows IANA's special-purpose registry (RFC 6890 and its updates); of
// IPv6 only 2000::/3 is ever public (RFC 4291 section 2.4), so outside of it the list only gives better words.
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
		{"2001::/23", "protocol assignments (RFC 2928)"},
		{"2001:db8::/32", "documentation (RFC 3849)"},
		{"3fff::/20", "documentation (RFC 9637)"},
	}
}

// Check says whether a name without further words in its rule may be dialled at this address. The error wraps ErrNonPublic and
// says what the address is.
func (g Guard) Check(a netip.Addr) error {
	if err := g.CheckPrivate(a); err != nil {
		return err
	}
	a = a.Unmap()
	end := decode(a)
	for _, each := range []netip.Addr{a, end} {
		if why := find(private(), each); why != "" {
			return refuse(a, end, why)
		}
	}
	if end.Is6() && !netip.MustParsePrefix("2000::/3").Contains(end) {
		return refuse(a, end, "outside of global unicast")
	}
	if g.Own == nil {
		return nil
	}
	own, err := g.Own()
	if err != nil {
		return fmt.Errorf("%v: %w: own addresses unknown: %w", a, ErrNonPublic, err)
	}
	for _, o := range own {
		if o = o.Unmap().WithZone(""); o == a || o == end {
			return refuse(a, end, "this host's own")
		}
	}
	return nil
}

// CheckPrivate is Check for a rule with Private: loopback, private, link-local and own addresses pass, those that are never
// dialled do not. An address with a zone is refused: no DNS answer has one.
func (g Guard) CheckPrivate(a netip.Addr) error {
	if !a.IsValid() {
		return fmt.Errorf("no address: %w", ErrNonPublic)
	}
	if a.Zone() != "" {
		return fmt.Errorf("%v: %w: it has a zone", a, ErrNonPublic)
	}
	a = a.Unmap()
	end := decode(a)
	if a == netip.IPv6Loopback() {
		return nil // the one address of ::/96 that means something
	}
	for _, each := range []netip.Addr{a, end} {
		if why := find(never(), each); why != "" {
			return refuse(a, end, why)
		}
	}
	return nil
}

func refuse(a, end netip.Addr, why string) error {
	if a == end {
		return fmt.Errorf("%v: %w: %s", a, ErrNonPublic, why)
	}
	return fmt.Errorf("%v (ends at %v): %w: %s", a, end, ErrNonPublic, why)
}

func find(blocks []block, a netip.Addr) string {
	for _, b := range blocks {
		if netip.MustParsePrefix(b.prefix).Contains(a) {
			return b.why
		}
	}
	return ""
}

// decode gives the IPv4 address where a packet to a ends, or a itself: NAT64 with the well-known prefix (RFC 6052), which a
// DNS64 resolver hands out for public hosts, and ISATAP (RFC 5214), whose mark may stand below any prefix.
func decode(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	b := a.As16()
	isatap := b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
	if isatap || netip.MustParsePrefix("64:ff9b::/96").Contains(a) {
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}
