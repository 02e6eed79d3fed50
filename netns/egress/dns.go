package egress

import (
	"context"
	"net"
	"net/netip"
	"sync"
)

// DNS answers the jail's name queries. (Being written: Answer drops everything.)
type DNS struct {
	Matcher *Matcher
	Names   *Names
	Explain netip.Addr  // what a name that is not allowed resolves to; the zero Addr: NXDOMAIN
	Event   func(Event) // nil: nobody listens

	mu     sync.Mutex
	denied map[string]bool
}

// Answer gives the answer to one query; nil: none is sent.
func (d *DNS) Answer(query []byte, udp bool) []byte { return nil }

// ServeUDP answers queries until ctx is done, then closes conn and returns nil.
func (d *DNS) ServeUDP(ctx context.Context, conn net.PacketConn) error {
	<-ctx.Done()
	return conn.Close()
}

// ServeTCP answers the queries of one connection until the peer is done, is silent for too long, or ctx is done; it closes conn.
func (d *DNS) ServeTCP(ctx context.Context, conn net.Conn) error { defer conn.Close(); return nil }
