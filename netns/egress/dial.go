package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Resolver looks names up on the host. *net.Resolver is the one of real sessions.
type Resolver interface {
	// LookupNetIP gives the addresses of a name; network is "ip".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// DialFunc connects to one address. check, unless nil, is asked about the address of the real socket just before connect(2);
// an error of it must end the dial and be wrapped in the error given back. Tests put their own here; it is DialTCP otherwise.
type DialFunc func(ctx context.Context, addr netip.AddrPort, check func(netip.Addr) error) (net.Conn, error)

// DialTCP is the DialFunc of real sessions.
func DialTCP(ctx context.Context, addr netip.AddrPort, check func(netip.Addr) error) (net.Conn, error) {
	var d net.Dialer
	if check != nil {
		d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			real, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("address of the socket: %w", err)
			}
			return check(real.Addr())
		}
	}
	return d.DialContext(ctx, "tcp", addr.String())
}

// maxTries bounds the addresses of one name that are tried: its owner chooses how many there are.
const maxTries = 8

// dialer reaches the real servers.
type dialer struct {
	resolver Resolver
	dial     DialFunc
	guard    Guard
	resolve  time.Duration // for one look-up
	connect  time.Duration // for all addresses of one name together
}

// reach connects to an allowed host. The name is resolved once, every address is judged before any is dialled, and the address
// that is dialled is one of the judged ones: what the name resolves to a moment later (DNS rebinding) plays no part. The error is
// a *refusal, except when ctx is done.
func (d *dialer) reach(ctx context.Context, t target) (socket, error) {
	addrs, check, err := d.addresses(ctx, t)
	if err != nil {
		return nil, err
	}
	end := time.Now().Add(d.connect)
	var last error
	for i, addr := range addrs {
		// Each gets an equal part of the time that is left, as in net.Dialer: one address that swallows packets must not
		// cost the others their turn.
		part := time.Until(end) / time.Duration(len(addrs)-i)
		try, cancel := context.WithTimeout(ctx, part)
		c, err := d.dial(try, addr, check)
		cancel()
		if err == nil {
			s, ok := c.(socket)
			if !ok {
				_ = c.Close()
				return nil, fmt.Errorf("dial %v: %T is not a TCP connection", addr, c)
			}
			nodelay(s)
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, ErrNonPublic) { // the address passed a moment ago: an interface of the host has it now
			return nil, t.refuse(NonPublic, err.Error(), addr.String())
		}
		last = err
	}
	reason := Dial
	if errors.Is(last, syscall.EMFILE) || errors.Is(last, syscall.ENFILE) {
		reason = Busy // nothing was tried: the launcher has no descriptor left
	}
	return nil, t.refuse(reason, last.Error(), addrs[len(addrs)-1].String())
}

// addresses gives what may be dialled for the target, at least one, and the check to repeat on the socket.
func (d *dialer) addresses(ctx context.Context, t target) ([]netip.AddrPort, func(netip.Addr) error, error) {
	if t.rule.Connect != "" {
		addr, err := netip.ParseAddrPort(t.rule.Connect)
		if err != nil {
			return nil, nil, t.refuse(Dial, err.Error(), t.rule.Connect)
		}
		return []netip.AddrPort{addr}, nil, nil // the rule itself names it
	}
	check := d.guard.Check
	if t.rule.Private {
		check = d.guard.CheckPrivate
	}
	found, err := d.lookup(ctx, t.host)
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		return nil, nil, t.refuse(Resolve, err.Error(), "")
	}
	var good []netip.AddrPort
	var refused error
	for _, a := range found {
		if err := check(a); err != nil {
			refused = err
			continue
		}
		good = append(good, netip.AddrPortFrom(a.Unmap(), t.port))
	}
	switch {
	case len(good) > 0:
		return good[:min(len(good), maxTries)], check, nil
	case refused != nil:
		return nil, nil, t.refuse(NonPublic, refused.Error(), "")
	}
	return nil, nil, t.refuse(Resolve, "no address", "")
}

// lookup gives the host's addresses, IPv4 first: a machine without an IPv6 route has the more working IPv4.
func (d *dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, d.resolve)
	defer cancel()
	if strings.Contains(host, ".") {
		host += "." // the name itself, never the name below a search domain of resolv.conf(5)
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	addrs = slices.Clone(addrs)
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.Unmap().BitLen() - b.Unmap().BitLen() })
	return addrs, nil
}

// target is where a connection from the jail is meant to go, and the rule that allows it.
type target struct {
	host string // canonical
	port uint16
	rule *Rule
}

func (t target) String() string { return net.JoinHostPort(t.host, strconv.Itoa(int(t.port))) }

// refuse gives the refusal of this target.
func (t target) refuse(reason Reason, detail, addr string) *refusal {
	return &refusal{host: t.host, port: t.port, reason: reason, detail: detail, addr: addr}
}
