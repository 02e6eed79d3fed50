package egress

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"syscall"
	"time"
)

// carry carries one connection that was opened for an allowed host and port, by its address or by CONNECT. It is the one place
// that says how: port 80 is HTTP and judged request by request, port 443 is TLS, every other port is a tunnel that knows no
// protocol but TLS. Where requests have to be seen, TLS ends here, and what is neither TLS nor HTTP does not pass.
//
// head was read from the client before; up is the real server when it has been dialled before, else nil.
func (d *Door) carry(ctx context.Context, client socket, head []byte, t target, up socket) {
	if up != nil {
		defer context.AfterFunc(ctx, func() { reset(up) })()
	}
	said := &bill{of: &d.heads}
	defer said.close()
	switch inspect := d.inspects(t); {
	case t.port == httpPort:
		d.web.serve(&session{ctx: ctx, role: origin, sock: client, target: t}, head)
	case inspect:
		d.inspect(ctx, &replay{client, head, said}, t)
	case t.port == httpsPort:
		d.tunnelTLS(ctx, &replay{client, head, said}, t, up)
	default:
		d.tunnel(ctx, &replay{client, head, said}, t, up)
	}
}

// tunnelTLS carries TLS: nothing is dialled before the ClientHello has named the host.
func (d *Door) tunnelTLS(ctx context.Context, client *replay, t target, up socket) {
	hello, err := d.readHello(client)
	if cut(ctx, err) {
		reset(client.socket)
		if up != nil {
			reset(up)
		}
		return
	}
	why := t.judgeHello(hello, err)
	if why == nil && up == nil && err == nil {
		if up, err = d.dialer.reach(ctx, t); err != nil && !errors.As(err, &why) {
			reset(client.socket) // the session ends
			return
		}
		if up != nil {
			defer context.AfterFunc(ctx, func() { reset(up) })() // a server that neither speaks nor closes is not waited for
		}
	}
	switch {
	case why != nil:
		if up != nil {
			reset(up)
		}
		d.refuseTLS(ctx, client, hello, why)
		return
	case err != nil: // closed before it said anything, as browsers do with connections that they open ahead
		if up != nil {
			reset(up)
		}
		_ = client.Close()
		return
	}
	d.opened(t, up)
	d.through(ctx, client, t, up, func(b *tunnel) {
		b.asks(append(hello.Raw, client.head...))
		b.answers()
	})
}

// tunnel carries anything. In many protocols (ssh, smtp, mysql) the server speaks first, so the real server is dialled at once and
// its side is passed on; the client's first bytes are looked at before they are. If they are a ClientHello it has to name the
// host: an SNI is how one server is asked for another's name. TLS that begins later in a connection (STARTTLS) is not looked at.
func (d *Door) tunnel(ctx context.Context, client *replay, t target, up socket) {
	if up == nil {
		var err error
		if up, err = d.dialer.reach(ctx, t); err != nil {
			var why *refusal
			if errors.As(err, &why) {
				d.ledger.emit(why.event("net.deny"))
			}
			reset(client.socket)
			return
		}
		defer context.AfterFunc(ctx, func() { reset(up) })()
	}
	d.opened(t, up)
	d.through(ctx, client, t, up, func(b *tunnel) {
		b.answers()
		first, err := d.first(ctx, client, t)
		if err != nil {
			var why *refusal
			if errors.As(err, &why) {
				d.ledger.emit(why.event("net.deny"))
			}
			b.reset()
			return
		}
		b.asks(first)
	})
}

// through makes a tunnel, has begin begin it, and writes down what went through when it has ended.
func (d *Door) through(ctx context.Context, client *replay, t target, up socket, begin func(*tunnel)) {
	b, err := d.relays.join(client.socket, up)
	if err != nil {
		d.ledger.emit(t.refuse(Busy, err.Error(), "").event("net.deny"))
		reset(client.socket)
		reset(up)
		d.closed(t, up, 0, 0)
		return
	}
	defer context.AfterFunc(ctx, b.reset)()
	begin(b)
	client.head = nil
	client.bill.release() // a tunnel may live for days
	sent, got, err := b.wait()
	if err != nil {
		d.ledger.emit(t.refuse(Busy, err.Error(), "").event("net.deny"))
	}
	d.closed(t, up, sent, got)
}

// first gives the first bytes that the client sends, for as long as that takes, and judges them if they are TLS. A broken
// connection gives nothing: who reads from it next sees the error. The error is a *refusal or that the hello was cut off.
func (d *Door) first(ctx context.Context, client *replay, t target) ([]byte, error) {
	if len(client.head) == 0 {
		buf := make([]byte, 4096)
		n, _ := client.Read(buf)
		client.head = buf[:n]
	}
	if len(client.head) == 0 || client.head[0] != recordTLS {
		return client.head, nil
	}
	hello, err := d.readHello(client)
	if cut(ctx, err) {
		return nil, err
	}
	if errors.Is(err, ErrNotTLS) && !bytes.HasPrefix(hello.Raw, []byte{recordTLS, 3}) {
		err = nil // another protocol that begins with this byte
	} else if why := t.judgeHello(hello, err); why != nil {
		return nil, why
	}
	return append(hello.Raw, client.head...), nil
}

// recordTLS is the first byte of a handshake record (RFC 8446 section 5.1).
const recordTLS = 22

// readHello reads a ClientHello within the time and size that the limits give it.
func (d *Door) readHello(client *replay) (*Hello, error) {
	_ = client.SetReadDeadline(time.Now().Add(d.limits.Hello))
	defer client.SetReadDeadline(time.Time{})
	return ReadHello(&metered{replay: client}, helloLimit)
}

// cut says whether a hello was cut off by an end of the session or of the client. Nothing was refused then, and nobody is left who
// could be told why.
func cut(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET))
}

// judgeHello gives why the hello (or the failure to read it) is refused, or nil. A connection that ended before its first byte is
// no refusal.
func (t target) judgeHello(hello *Hello, err error) *refusal {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return t.refuse(Timeout, "no client hello", "")
	case errors.Is(err, errBudget):
		return t.refuse(Busy, err.Error(), "")
	case err != nil && len(hello.Raw) == 0 && !errors.Is(err, ErrNotTLS):
		return nil
	case err != nil:
		return t.refuse(BadRequest, err.Error(), "")
	}
	sni, reason := hello.name()
	if reason == "" && sni != t.host {
		reason = SNIMismatch
	}
	if reason == "" {
		return nil
	}
	host := t.host
	if hello.HasSNI {
		host = hello.SNI
	}
	return &refusal{host: host, port: t.port, reason: reason, detail: "connection to " + t.String()}
}

// name gives the canonical server name. An encrypted hello has two names, and the one that counts cannot be read: a server that
// has the key takes the inner one whatever the outer one says (RFC 9849 section 7), so the outer one proves nothing. Clients send
// one when DNS gives them a key, which ours never does; the random one that browsers send in its place looks the same.
func (h *Hello) name() (string, Reason) {
	if h.ECH || !h.HasSNI {
		return "", NoSNI
	}
	return Canonical(h.SNI)
}

// refuseTLS tells a TLS client why, in an HTTP response under a leaf for the name that it asked for. A client that named none, or
// speaks something other than HTTP above TLS, gets RST.
func (d *Door) refuseTLS(ctx context.Context, client *replay, hello *Hello, why *refusal) {
	d.ledger.emit(why.event("net.deny"))
	sni, bad := hello.name()
	talksHTTP := len(hello.ALPN) == 0 || slices.Contains(hello.ALPN, "http/1.1") || slices.Contains(hello.ALPN, "h2")
	if !d.explains || bad != "" || !talksHTTP {
		reset(client.socket)
		return
	}
	leaf, err := d.ca.Leaf(sni)
	if err != nil {
		reset(client.socket)
		return
	}
	s := &session{ctx: ctx, role: explaining, sock: client.socket, target: target{host: sni, port: why.port}, why: why}
	d.web.serveTLS(s, append(hello.Raw, client.head...), leaf)
}

// explainTo answers at the explaining address, or at the address of a name whose rules do not name this port of the web; why is
// nil where the client's own words have to say which host it means.
func (d *Door) explainTo(ctx context.Context, client *replay, port uint16, why *refusal) {
	wait := d.limits.Hello
	if port != httpPort && port != httpsPort {
		wait = min(wait, time.Second) // where the server speaks first (mysql) the client would wait for all of it
	}
	_ = client.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 4096)
	n, err := client.Read(buf)
	_ = client.SetReadDeadline(time.Time{})
	client.head = buf[:n]
	switch {
	case err != nil && ctx.Err() != nil:
		reset(client.socket)
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded): // it said nothing
		_ = client.Close()
	case n > 0 && buf[0] == recordTLS:
		hello, err := d.readHello(client)
		if cut(ctx, err) {
			reset(client.socket)
			return
		}
		d.refuseTLS(ctx, client, hello, d.judgeUnnamed(hello, err, port, why))
	case likeHTTP(client.head):
		d.web.serve(&session{ctx: ctx, role: explaining, sock: client.socket, target: target{port: port}, why: why}, client.head)
	default:
		if why == nil {
			local := localAddr(client)
			why = &refusal{host: local.Addr().String(), port: port, addr: local.String(), reason: BadRequest, detail: "neither HTTP nor TLS"}
			if n == 0 {
				why.reason, why.detail = Timeout, "silence"
			}
		}
		d.ledger.emit(why.event("net.deny"))
		reset(client.socket)
	}
}

// judgeUnnamed gives why a hello at the explaining address is refused: it always is.
func (d *Door) judgeUnnamed(hello *Hello, err error, port uint16, why *refusal) *refusal {
	if why != nil {
		return why
	}
	t := target{host: hello.SNI, port: port}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return t.refuse(Timeout, "no client hello", "")
	case errors.Is(err, errBudget):
		return t.refuse(Busy, err.Error(), "")
	case err != nil:
		return t.refuse(BadRequest, err.Error(), "")
	}
	sni, reason := hello.name()
	if reason != "" {
		return t.refuse(reason, "", "")
	}
	if _, reason = d.match.Decide(sni, port); reason != "" {
		return target{host: sni, port: port}.refuse(reason, "", "")
	}
	return t.refuse(BadAddress, "allowed host at the explaining address", "") // a stale or forged answer led here
}

// likeHTTP says whether a client that nothing is decided for any more might understand an HTTP response.
func likeHTTP(b []byte) bool {
	method, rest, found := bytes.Cut(b, []byte(" "))
	upper := !bytes.ContainsFunc(method, func(r rune) bool { return r < 'A' || r > 'Z' })
	return found && upper && len(method) > 0 && len(rest) > 0 && (rest[0] == '/' || rest[0] == 'h' || rest[0] == '*')
}
