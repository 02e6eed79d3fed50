package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// The ports that mean something by themselves.
const (
	dnsPort   = 53   // on the gateway address: DNS
	httpPort  = 80   // HTTP, judged request by request
	httpsPort = 443  // TLS, and nothing else
	proxyPort = 3128 // on the gateway address: CONNECT and absolute-form requests
)

// Door is the one way out of a jail. It accepts the jail's connections, reads from each local address which name was meant, judges
// what the client says against that name and the policy, and carries to the real server what agrees. What does not agree is
// explained where the client can read an explanation and reset where it cannot, at once in either case.
//
// An established tunnel has no time-out: an ssh session may be silent for a day. What is bounded is the number of connections,
// the time until a client has said whom it means, and the memory for each.
type Door struct {
	match    *Matcher
	names    *Names
	dns      *DNS
	ca       *CA
	gateway  netip.Addr
	explain  netip.Addr
	explains bool
	profile  string
	limits   Limits
	dialer   *dialer
	ledger   *ledger
	web      *web
	trust    *trust
	vault    *vault
	meter    *meter
	bodies   *bodies
	relays   relays
	breaks   *breaks

	open      gate   // connections
	explained gate   // of them, told why something is refused
	heads     budget // what they have not finished to say

	ctx    context.Context
	cancel context.CancelFunc
	begins sync.Mutex     // held to begin one of these, and to close
	wg     sync.WaitGroup // Serve and ServeDNS
}

// New makes a door. Nothing runs before Serve.
func New(c Config) (*Door, error) {
	match, err := c.Policy.Compile()
	if err != nil {
		return nil, fmt.Errorf("compile policy: %w", err)
	}
	if c.CA == nil {
		return nil, errors.New("door without a CA")
	}
	for name, a := range map[string]netip.Addr{"gateway": c.Gateway, "explaining": c.Explain} {
		if !c.Range.Contains(a) {
			return nil, fmt.Errorf("%s address %v is not in %v", name, a, c.Range)
		}
	}
	d := &Door{
		match:    match,
		ca:       c.CA,
		gateway:  c.Gateway,
		explain:  c.Explain,
		explains: c.Policy.Explain,
		profile:  c.Policy.Profile,
		limits:   c.Limits.orDefault(),
		ledger:   newLedger(c.Event),
	}
	d.open.limit, d.explained.limit = int64(d.limits.Connections), int64(d.limits.Explained)
	d.heads.left.Store(int64(d.limits.Heads))
	if d.vault, err = newVault(c.Policy.Secrets, c.Secrets); err != nil {
		return nil, fmt.Errorf("compile policy: %w", err)
	}
	d.vault.known = c.Known
	d.names = NewNames(c.Range, c.Explain.Next(), d.limits.Names)
	d.dns = &DNS{Matcher: match, Names: d.names, Event: d.ledger.emit, Count: d.ledger.count}
	if d.explains {
		d.dns.Explain = c.Explain
	}
	d.dialer = &dialer{resolver: c.Resolver, dial: c.Dial, guard: c.Guard, resolve: d.limits.Resolve, connect: d.limits.Dial}
	if d.dialer.resolver == nil {
		// The cgo resolver takes 127.1 and 2130706433 for addresses; Go's does not.
		d.dialer.resolver = &net.Resolver{PreferGo: true}
	}
	if d.dialer.dial == nil {
		d.dialer.dial = DialTCP
	}
	if d.dialer.guard.Own == nil {
		d.dialer.guard.Own = HostAddrs
	}
	d.web = newWeb(d)
	d.trust = newTrust()
	d.meter = newMeter(d.limits)
	d.bodies = newBodies()
	if d.breaks, err = newBreaks(); err != nil {
		return nil, err
	}
	d.relays.breaks = d.breaks
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Ports gives the TCP ports on which the door wants a listener that takes every address of the range: those of the rules, 80 and
// 443 for explanations, 53 and 3128 for the gateway address. They are sorted. UDP needs port 53 of the gateway address alone.
func (d *Door) Ports() []uint16 {
	ports := append(d.match.Ports(), dnsPort, proxyPort)
	slices.Sort(ports)
	return slices.Compact(ports)
}

// ServeDNS answers the jail's queries on c until ctx is done or the door is closed, and closes c.
func (d *Door) ServeDNS(ctx context.Context, c net.PacketConn) error {
	if !d.begin() {
		_ = c.Close()
		return nil
	}
	defer d.wg.Done()
	ctx, cancel := d.both(ctx)
	defer cancel()
	return d.dns.ServeUDP(ctx, c)
}

// begin counts one that serves, unless the door is closed: who was to serve may start later than Close.
func (d *Door) begin() bool {
	d.begins.Lock()
	defer d.begins.Unlock()
	if d.ctx.Err() != nil {
		return false
	}
	d.wg.Add(1)
	return true
}

// Serve accepts the jail's connections on l, which is TCP, until ctx is done or the door is closed, and then gives nil. It closes
// l, ends the connections that came from it and returns when the last is gone. It may run for many listeners at once.
func (d *Door) Serve(ctx context.Context, l net.Listener) error {
	if !d.begin() {
		_ = l.Close()
		return nil
	}
	defer d.wg.Done()
	ctx, cancel := d.both(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	defer l.Close()
	var conns sync.WaitGroup
	defer conns.Wait()
	defer cancel() // before the wait
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			if err == nil {
				_ = c.Close()
			}
			return nil
		case err != nil:
			if err := d.exhausted(ctx, l, err); err != nil {
				return err
			}
			continue
		}
		s, ok := c.(socket)
		if !ok {
			_ = c.Close()
			return fmt.Errorf("serve %v: %T is not a TCP connection", l.Addr(), c)
		}
		if !d.open.enter() {
			host, _ := d.names.Host(localAddr(s).Addr())
			d.busy(&d.open, s, host)
			continue
		}
		conns.Go(func() {
			defer d.open.leave()
			defer s.Close()
			defer context.AfterFunc(ctx, func() { reset(s) })()
			d.handle(ctx, s)
		})
	}
}

// both gives a context that is done with ctx or with the door.
func (d *Door) both(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(d.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// exhausted waits before the next accept(2) when the launcher has no descriptor or memory left (EMFILE, ENOBUFS): the listener is
// sound and another connection will end. Every other error is given back.
func (d *Door) exhausted(ctx context.Context, l net.Listener, err error) error {
	var temporary interface{ Temporary() bool }
	if !errors.As(err, &temporary) || !temporary.Temporary() {
		return fmt.Errorf("accept on %v: %w", l.Addr(), err)
	}
	pause := time.NewTimer(100 * time.Millisecond)
	defer pause.Stop()
	select {
	case <-ctx.Done():
	case <-pause.C:
	}
	return nil
}

// busy resets a connection that found no room. That is told once each time the cap is reached: a jail that opens ten thousand
// connections must not fill the record with them; the report counts each.
func (d *Door) busy(g *gate, s socket, host string) {
	local := localAddr(s)
	e := Event{Kind: "net.deny", Host: host, Port: local.Port(), Addr: local.String(), Reason: Busy}
	if g.full.Swap(true) {
		d.ledger.count(e)
	} else {
		d.ledger.emit(e)
	}
	reset(s)
}

// handle finds out what a connection was opened for.
func (d *Door) handle(ctx context.Context, s socket) {
	nodelay(s)
	said := &bill{of: &d.heads}
	defer said.close()
	local := localAddr(s)
	port := local.Port()
	switch {
	case local.Addr() == d.gateway && port == dnsPort:
		_ = d.dns.ServeTCP(ctx, s) // the client's trouble
		return
	case local.Addr() == d.gateway && port == proxyPort:
		d.web.serve(&session{ctx: ctx, role: proxying, sock: s, target: target{port: proxyPort}}, nil)
		return
	case local.Addr() == d.explain && d.explains:
		d.explainTo(ctx, &replay{socket: s, bill: said}, port, nil)
		return
	}
	host, known := d.names.Host(local.Addr())
	if !known {
		d.ledger.emit(Event{Kind: "net.deny", Port: port, Addr: local.String(), Reason: BadAddress})
		reset(s)
		return
	}
	rule, reason := d.match.Decide(host, port)
	if rule != nil {
		d.carry(ctx, s, nil, target{host, port, rule}, nil)
		return
	}
	why := &refusal{host: host, port: port, reason: reason}
	if d.explains && (port == httpPort || port == httpsPort) {
		d.explainTo(ctx, &replay{socket: s, bill: said}, port, why)
		return
	}
	d.ledger.emit(why.event("net.deny"))
	reset(s)
}

func localAddr(s socket) netip.AddrPort {
	a, ok := s.LocalAddr().(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func (d *Door) opened(t target, up socket) {
	d.ledger.emit(Event{Kind: "net.open", Host: t.host, Port: t.port, Addr: up.RemoteAddr().String()})
}

func (d *Door) closed(t target, up socket, sent, got int64) {
	d.ledger.emit(Event{Kind: "net.close", Host: t.host, Port: t.port, Addr: up.RemoteAddr().String(), Up: sent, Down: got})
}

// Report gives what went through and what was refused, so far. Bytes are counted when a connection ends, so it is complete after
// Close. Each list has at most about a thousand rows; what did not fit is summed under the host "*".
func (d *Door) Report() (allowed []HostCount, denied []DenialCount) { return d.ledger.report() }

// SecretReport gives what the secrets were used for, so far. A secret that was never used nor foreign beside has no row.
func (d *Door) SecretReport() []SecretCount { return d.ledger.secretReport() }

// Close ends every connection, waits for Serve and ServeDNS to return and closes what the door keeps open to real servers.
func (d *Door) Close() error {
	d.begins.Lock()
	d.cancel()
	d.begins.Unlock()
	d.wg.Wait() // each session ends its requests first: a server that closed the connections before would say less to the real ones
	err := errors.Join(d.web.server.Close(), d.web.explainer.Close())
	d.web.reads.close()
	d.web.http1.CloseIdleConnections()
	d.web.http2.CloseIdleConnections()
	d.web.servers.reset() // those that a request was broken off on, too: their bytes stand in the report
	d.relays.close()
	d.breaks.close()
	d.trust.tell(d.ledger.emit)
	return err
}
