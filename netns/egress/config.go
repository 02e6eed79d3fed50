package egress

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

// ErrRevoked says that a secret may not be used any more.
var ErrRevoked = errors.New("secret revoked")

// helloLimit is in bytes. A hello with a post-quantum key share and a session ticket has 4 KiB.
const helloLimit = 32 << 10

// Config is what a Door is made of. It says nothing about where listeners come from.
type Config struct {
	Policy *Policy
	CA     *CA

	Gateway netip.Addr   // where DNS and the proxy answer
	Explain netip.Addr   // what a name that is not allowed resolves to; names get the addresses behind it
	Range   netip.Prefix // holds Gateway, Explain and the addresses of the names

	Resolver Resolver // nil: the host's, by Go's own resolver
	Dial     DialFunc // nil: DialTCP
	Guard    Guard    // its zero value: with the host's own addresses refused
	// Secrets gives the value that a Secret has now. An error that wraps ErrRevoked says that it may not be used any more. It is
	// asked for each request, from many goroutines at once. Nil: there is no value.
	Secrets func(ctx context.Context, name string) (string, error)
	// Known gives the value that a Secret has, to be recognised in an answer. It is asked for each request to the secret's hosts that does
	// not carry it, before that is sent, and should ask neither a person nor a program, and give what it last knew also of a secret that
	// may not be used any more. An error keeps nothing from passing. Nil: Secrets.
	Known  func(ctx context.Context, name string) (string, error)
	Event  func(Event) // called from many goroutines at once; nil: nobody listens
	Limits Limits
}

// Limits bound what the jail can make the door hold. A zero field has the default in its comment.
type Limits struct {
	Connections int           // open at once, all ports together: 4096
	Explained   int           // of them, told at once why something is refused: 256
	Heads       int           // bytes of request heads and hellos beyond the first 4096 of each, all together: 8 MiB
	Names       int           // with an address of their own: 65536
	Requests    int           // under way at once, where requests are seen: 512
	PerHost     int           // of them to one host: 256
	Hello       time.Duration // until a ClientHello is whole: 10 s
	Header      time.Duration // until the first request head on a connection is whole: 10 s
	Idle        time.Duration // between two requests on a connection: 60 s
	Explain     time.Duration // the life of a connection that is only told why: 20 s
	Resolve     time.Duration // for one look-up on the host: 10 s
	Dial        time.Duration // for all addresses of one name: 10 s
}

func (l Limits) orDefault() Limits {
	count := func(p *int, n int) {
		if *p == 0 {
			*p = n
		}
	}
	span := func(p *time.Duration, d time.Duration) {
		if *p == 0 {
			*p = d
		}
	}
	count(&l.Connections, 4096)
	count(&l.Explained, 256)
	count(&l.Heads, 8<<20)
	count(&l.Names, 65536)
	count(&l.Requests, 512)
	count(&l.PerHost, 256)
	span(&l.Hello, 10*time.Second)
	span(&l.Header, 10*time.Second)
	span(&l.Idle, 60*time.Second)
	span(&l.Explain, 20*time.Second)
	span(&l.Resolve, 10*time.Second)
	span(&l.Dial, 10*time.Second)
	return l
}
