package egress

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
)

func TestNames(t *testing.T) {
	n := NewNames(netip.MustParsePrefix("198.18.0.0/15"), netip.MustParseAddr("198.18.1.0"), 3)
	a, ok := n.Addr("a.test")
	if !ok || a != netip.MustParseAddr("198.18.1.0") {
		t.Fatalf("first name: %v, %v", a, ok)
	}
	b, _ := n.Addr("b.test")
	if b == a {
		t.Fatal("two names, one address")
	}
	if again, _ := n.Addr("a.test"); again != a {
		t.Errorf("a.test was %v and is %v", a, again)
	}
	for _, addr := range []netip.Addr{b, netip.AddrFrom16(b.As16())} {
		if host, ok := n.Host(addr); !ok || host != "b.test" {
			t.Errorf("%v stands for %q, %v", addr, host, ok)
		}
	}
	if host, ok := n.Host(b.Next()); ok {
		t.Errorf("an address that was never given stands for %q", host)
	}
	if _, ok := n.Addr("c.test"); !ok {
		t.Error("max is 3, the third name got nothing")
	}
	if a, ok := n.Addr("d.test"); ok {
		t.Errorf("max is 3, the fourth name got %v", a)
	}
	if again, ok := n.Addr("a.test"); !ok || again != a {
		t.Error("a full table lost a name")
	}
}

func TestNamesPrefixEnds(t *testing.T) {
	n := NewNames(netip.MustParsePrefix("198.18.0.0/30"), netip.MustParseAddr("198.18.0.2"), 100)
	for i, want := range []bool{true, true, false, false} {
		if a, ok := n.Addr(fmt.Sprint("h", i)); ok != want {
			t.Errorf("name %d: %v, %v", i, a, ok)
		}
	}
}

func TestNamesAtOnce(t *testing.T) {
	n := NewNames(netip.MustParsePrefix("198.18.0.0/15"), netip.MustParseAddr("198.18.1.0"), 1000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 200 {
				host := fmt.Sprintf("h%d.test", i)
				a, ok := n.Addr(host)
				if got, _ := n.Host(a); !ok || got != host {
					t.Errorf("%s has %v, which stands for %q", host, a, got)
				}
			}
		})
	}
	wg.Wait()
	if len(n.addrs) != 200 || len(n.hosts) != 200 {
		t.Errorf("%d names, %d addresses, want 200 each", len(n.addrs), len(n.hosts))
	}
}
