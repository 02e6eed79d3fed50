package egress

import (
	"net/netip"
	"sync"
)

// Names gives each name an address of its own, so that a TCP listener sees in the local address of a connection which name was
// meant. An assignment holds for the session: a client that caches an answer for longer than its TTL never reaches another host.
// It is safe for concurrent use.
type Names struct {
	prefix netip.Prefix
	max    int

	mu    sync.Mutex
	next  netip.Addr
	addrs map[string]netip.Addr
	hosts map[netip.Addr]string
}

// NewNames assigns addresses of the prefix from first on, at most max of them: a wildcard rule lets the jail make up names without
// end, and each costs the launcher memory.
func NewNames(prefix netip.Prefix, first netip.Addr, max int) *Names {
	return &Names{
		prefix: prefix, max: max, next: first,
		addrs: map[string]netip.Addr{}, hosts: map[netip.Addr]string{},
	}
}

// Addr gives the host's address and assigns one when it has none; false when max or the prefix is used up. Host is canonical and
// allowed: the caller has asked the Matcher.
func (n *Names) Addr(host string) (netip.Addr, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if a, ok := n.addrs[host]; ok {
		return a, true
	}
	a := n.next
	if len(n.addrs) >= n.max || !n.prefix.Contains(a) {
		return netip.Addr{}, false
	}
	n.next = a.Next()
	n.addrs[host], n.hosts[a] = a, host
	return a, true
}

// Host gives the name that the address stands for; false for an address that was never assigned. A v4-mapped address, as a
// dual-stack socket reports it, counts as its IPv4 address.
func (n *Names) Host(a netip.Addr) (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	host, ok := n.hosts[a.Unmap()]
	return host, ok
}
