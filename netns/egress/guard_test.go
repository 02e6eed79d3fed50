package egress

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestGuardCheck(t *testing.T) {
	for _, c := range []struct{ addr, why string }{ // why "": may be dialled
		{"8.8.8.8", ""}, {"1.0.0.0", ""}, {"223.255.255.255", ""}, // nobody is dialled here: the guard only reads
		{"2606:4700::1111", ""}, {"2a00:1450::1", ""}, {"2000::", ""}, {"::ffff:8.8.8.8", ""}, {"64:ff9b::808:808", ""},
		{"2a00::5efe:808:808", ""},
		{"9.255.255.255", ""}, {"11.0.0.0", ""}, {"100.63.255.255", ""}, {"100.128.0.0", ""}, {"126.255.255.255", ""}, {"128.0.0.0", ""},
		{"169.253.255.255", ""}, {"169.255.0.0", ""}, {"172.15.255.255", ""}, {"172.32.0.0", ""}, {"192.0.1.0", ""}, {"192.0.3.0", ""},
		{"192.167.255.255", ""}, {"192.169.0.0", ""}, {"198.17.255.255", ""}, {"198.20.0.0", ""}, {"168.63.129.15", ""}, {"168.63.129.17", ""},

		{"0.0.0.0", "unspecified"}, {"0.255.255.255", "unspecified"}, {"::", "unspecified"},
		{"127.0.0.1", "loopback"}, {"127.255.255.254", "loopback"}, {"::1", "loopback"},
		{"10.0.0.0", "private"}, {"10.255.255.255", "private"}, {"172.16.0.0", "private"}, {"172.31.255.255", "private"},
		{"192.168.0.1", "private"}, {"100.64.0.0", "carrier-grade"}, {"100.127.255.255", "carrier-grade"},
		{"169.254.0.1", "link-local"}, {"fe80::1", "link-local"}, {"fec0::1", "site-local"}, {"fc00::1", "unique local"}, {"fdff::1", "unique local"},
		{"169.254.169.254", "metadata"}, {"169.254.170.2", "credentials"}, {"100.100.100.200", "metadata"}, {"168.63.129.16", "metadata"},
		{"192.0.0.192", "metadata"}, {"fd00:ec2::254", "metadata"}, {"fd20:ce::254", "metadata"},
		{"192.0.0.1", "protocol"}, {"192.0.2.1", "documentation"}, {"198.51.100.1", "documentation"}, {"203.0.113.1", "documentation"},
		{"2001:db8::1", "documentation"}, {"3fff::1", "documentation"}, {"192.88.99.1", "6to4"},
		{"198.18.0.0", "benchmarking"}, {"198.19.255.255", "benchmarking"}, {"2001:2::1", "protocol"},
		{"224.0.0.1", "multicast"}, {"239.255.255.255", "multicast"}, {"ff02::1", "multicast"},
		{"240.0.0.1", "reserved"}, {"255.255.255.255", "broadcast"},
		{"100::1", "global unicast"}, {"4000::1", "global unicast"}, {"5f00::1", "global unicast"},

		{"::ffff:127.0.0.1", "loopback"}, {"::ffff:169.254.169.254", "metadata"}, {"::ffff:0.0.0.0", "unspecified"},
		{"::127.0.0.1", "IPv4-compatible"}, {"::8.8.8.8", "IPv4-compatible"}, {"::ffff:0:127.0.0.1", "IPv4-translated"},
		{"64:ff9b::7f00:1", "loopback"}, {"64:ff9b::a00:1", "private"}, {"64:ff9b::a9fe:a9fe", "metadata"}, {"64:ff9b:1::808:808", "local NAT64"},
		{"2002:7f00:1::", "6to4"}, {"2002:808:808::1", "6to4"}, {"2001::1", "Teredo"}, {"2001:0:7f00:1::80ff:fffe", "Teredo"},
		{"2a00::5efe:7f00:1", "loopback"}, {"2a00::200:5efe:a00:1", "private"},
		{"fe80::1%eth0", "zone"}, {"2606:4700::1%eth0", "zone"},
	} {
		err := Guard{}.Check(netip.MustParseAddr(c.addr))
		if c.why == "" && err != nil {
			t.Errorf("%s: %v", c.addr, err)
		}
		if c.why != "" && (!errors.Is(err, ErrNonPublic) || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%s: %v, want a refusal that says %q", c.addr, err, c.why)
		}
	}
	if err := (Guard{}).Check(netip.Addr{}); !errors.Is(err, ErrNonPublic) {
		t.Errorf("the zero Addr: %v", err)
	}
}

// Every block is refused from its first to its last address: a typing error in a prefix shows here.
func TestGuardBlocks(t *testing.T) {
	for _, b := range slices.Concat(never(), private()) {
		p := netip.MustParsePrefix(b.prefix)
		if p.Masked() != p {
			t.Errorf("%s has bits outside of its mask", b.prefix)
		}
		last := p.Addr().AsSlice()
		for i := p.Bits(); i < len(last)*8; i++ {
			last[i/8] |= 0x80 >> (i % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		for _, a := range []netip.Addr{p.Addr(), end} {
			if (Guard{}).Check(a) == nil {
				t.Errorf("%v of %s may be dialled", a, b.prefix)
			}
			if a.Is4() && (Guard{}).Check(netip.AddrFrom16(a.As16())) == nil {
				t.Errorf("::ffff:%v of %s may be dialled", a, b.prefix)
			}
		}
	}
}

func TestGuardPrivate(t *testing.T) {
	for _, c := range []struct {
		addr string
		pass bool
	}{
		{"127.0.0.1", true}, {"::1", true}, {"10.1.2.3", true}, {"192.168.1.1", true}, {"100.64.0.1", true}, {"169.254.1.1", true},
		{"fd12::1", true}, {"fe80::1", true}, {"198.18.0.9", true}, {"8.8.8.8", true}, {"2606:4700::1111", true},
		{"169.254.169.254", false}, {"fd00:ec2::254", false}, {"100.100.100.200", false}, {"168.63.129.16", false}, {"64:ff9b::a9fe:a9fe", false},
		{"fe80::5efe:a9fe:a9fe", false}, {"::169.254.169.254", false}, {"2002:a9fe:a9fe::", false}, {"::ffff:169.254.169.254", false},
		{"0.0.0.0", false}, {"::", false}, {"224.0.0.1", false}, {"255.255.255.255", false}, {"ff02::1", false}, {"fe80::1%lo", false},
	} {
		if err := (Guard{}).CheckPrivate(netip.MustParseAddr(c.addr)); (err == nil) != c.pass {
			t.Errorf("%s: %v, want pass %v", c.addr, err, c.pass)
		}
	}
}

func TestGuardOwn(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("::ffff:8.8.4.4"), netip.MustParseAddr("2606:4700::7%eth0")}
	asked := 0
	g := Guard{Own: func() ([]netip.Addr, error) { asked++; return own, nil }}
	for _, a := range []string{"8.8.4.4", "::ffff:8.8.4.4", "64:ff9b::808:404", "2606:4700::7"} {
		if err := g.Check(netip.MustParseAddr(a)); !errors.Is(err, ErrNonPublic) || !strings.Contains(err.Error(), "own") {
			t.Errorf("%s: %v", a, err)
		}
		if err := (Guard{}).Check(netip.MustParseAddr(a)); err != nil {
			t.Errorf("control: %s: %v", a, err)
		}
	}
	if err := g.Check(netip.MustParseAddr("8.8.8.8")); err != nil {
		t.Error(err)
	}
	if asked != 5 {
		t.Errorf("own addresses asked %d times for 5 dials", asked)
	}

	lost := errors.New("netlink: no buffer space")
	g.Own = func() ([]netip.Addr, error) { return nil, lost }
	if err := g.Check(netip.MustParseAddr("8.8.8.8")); !errors.Is(err, ErrNonPublic) || !errors.Is(err, lost) {
		t.Errorf("own addresses unknown: %v", err)
	}
}

func TestHostAddrs(t *testing.T) {
	addrs, err := HostAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if !a.IsValid() {
			t.Error("an address that is none")
		}
	}
	if i := slices.Index(addrs, netip.MustParseAddr("127.0.0.1")); i < 0 {
		t.Errorf("no loopback in %v", addrs)
	}
}
