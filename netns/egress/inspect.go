package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// inspects says whether the requests to a target have to be seen: its rule judges them, or a secret goes to its host. A rule that
// says "tunnel" is the user's own word; Compile refuses it beside a secret on port 443.
func (d *Door) inspects(t target) bool {
	return t.rule.inspect() || t.rule.TLS != "tunnel" && d.vault.owns(t.host)
}

// inspect carries a connection whose requests have to be seen: TLS ends here. On a port other than 443 HTTP in clear text is
// judged as on port 80; anything else is refused, and nothing is dialled before a request was allowed. It never becomes a tunnel.
func (d *Door) inspect(ctx context.Context, client *replay, t target) {
	if t.port != httpsPort {
		if len(client.head) == 0 {
			_ = client.SetReadDeadline(time.Now().Add(d.limits.Hello))
			buf := make([]byte, 4096)
			n, err := client.Read(buf)
			_ = client.SetReadDeadline(time.Time{})
			if n == 0 {
				d.silent(client, t, err)
				return
			}
			client.head = buf[:n]
		}
		if client.head[0] != recordTLS {
			d.web.serve(&session{ctx: ctx, role: origin, sock: client.socket, target: t}, client.head)
			return
		}
	}
	hello, err := d.readHello(client)
	if cut(ctx, err) {
		reset(client.socket)
		return
	}
	outer := *hello
	outer.ECH = false // the door has no key for an encrypted hello, so this one is the one that counts (RFC 9849 section 7.1)
	why := t.judgeHello(&outer, err)
	if why == nil && err == nil && !talksHTTP(hello) {
		why = t.refuse(BadRequest, fmt.Sprintf("inspected, and the client speaks %q", hello.ALPN), "")
	}
	switch {
	case why != nil:
		d.refuseTLS(ctx, client, &outer, why)
		return
	case err != nil:
		_ = client.Close()
		return
	}
	s := &session{ctx: ctx, role: origin, sock: client.socket, target: t, gone: make(chan struct{})}
	client.head = append(hello.Raw, client.head...)
	if why := d.terminate(ctx, s, client); why != nil {
		if ctx.Err() == nil { // else it is the session that ends
			d.ledger.emit(why.event("net.deny"))
		}
		reset(client.socket)
		return
	}
	client.bill.release() // the hello is used up
	d.web.serveInspected(s)
	d.trust.saw(t, s.met.Load(), s.ours.Load() || ctx.Err() != nil)
}

// silent ends a connection on which nothing was said.
func (d *Door) silent(client *replay, t target, err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		d.ledger.emit(t.refuse(Timeout, "inspected, and the client waits for the server to speak", "").event("net.deny"))
		reset(client.socket)
		return
	}
	_ = client.Close()
}

// talksHTTP says whether a client may speak HTTP above TLS.
func talksHTTP(h *Hello) bool {
	return len(h.ALPN) == 0 || slices.Contains(h.ALPN, "http/1.1") || slices.Contains(h.ALPN, "h2")
}

// terminate does the handshake with the client, under a leaf of the session's CA.
func (d *Door) terminate(ctx context.Context, s *session, client *replay) *refusal {
	t := s.target
	leaf, err := d.ca.Leaf(t.host)
	if err != nil {
		return t.refuse(BadRequest, err.Error(), "")
	}
	under := &wire{Conn: hidden{client, s}, pool: &d.web.bodies}
	s.tls = &batch{wire: under, Conn: tls.Server(under, &tls.Config{
		Certificates: []tls.Certificate{*leaf},
		NextProtos:   []string{"h2", "http/1.1"},
		MinVersion:   tls.VersionTLS12,
		// Small records are for a client that is far away and would wait for all of one.
		DynamicRecordSizingDisabled: true,
		// A handshake is cheaper than the state, and what was never resumed was never resumed under another name.
		SessionTicketsDisabled: true,
	})}
	ctx, cancel := context.WithTimeout(ctx, d.limits.Hello)
	defer cancel()
	if err := s.tls.HandshakeContext(ctx); err != nil {
		return t.judgeHandshake(err, s.last)
	}
	s.shaken, s.last = true, nil
	// A HelloRetryRequest (RFC 8446 section 4.1.4) has the client say hello twice.
	if host, bad := Canonical(s.tls.ConnectionState().ServerName); bad != "" || host != t.host {
		return t.refuse(SNIMismatch, "second hello", "")
	}
	return nil
}

// alertSize is the length of an alert record in clear text: type, version, length, level, description.
const alertSize = 7

// judgeHandshake says why a handshake with the client failed. The alerts of RFC 8446 section 6.2 about certificates are answers to
// ours: the client pins another one, or reads another trust store than the one that the jail has.
//
// OpenSSL sends the alert in clear text, because it judges the certificate of TLS 1.3 before it takes its own handshake key into
// use; to crypto/tls that is a record with a bad MAC. So what the client said last is looked at first.
func (t target) judgeHandshake(err error, last []byte) *refusal {
	const help = "the client does not take the session's certificate: it pins another, or has a trust store of its own; tls = \"tunnel\" " +
		"leaves the connection to it, unjudged"
	var alert *net.OpError
	if len(last) == alertSize && last[0] == 21 && last[1] == 3 && last[3] == 0 && last[4] == 2 {
		err = &net.OpError{Op: "remote error", Err: tls.AlertError(last[6])}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded):
		return t.refuse(Timeout, "TLS handshake", "")
	case errors.As(err, &alert) && alert.Op == "remote error":
		words := alert.Err.Error() // crypto/tls has no type for it
		about := func(word string) bool { return strings.Contains(words, word) }
		if slices.ContainsFunc([]string{"certificate", "unknown certificate authority", "access denied"}, about) {
			return t.refuse(ClientTrust, words+": "+help, "")
		}
		return t.refuse(BadRequest, "TLS handshake: "+words, "")
	case errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET): // clients that judge the certificate by themselves often say nothing
		return t.refuse(ClientTrust, "closed in the handshake: "+help, "")
	}
	return t.refuse(BadRequest, "TLS handshake: "+err.Error(), "")
}

// trust remembers the hosts to which clients opened TLS and then said nothing. Clients that judge a certificate after the handshake
// (node, curl with a pin) do that; so do clients that open a connection too many. Only when a host never got a request is it told.
type trust struct {
	mu     sync.Mutex
	silent map[place]int
	met    map[place]bool
}

func newTrust() *trust { return &trust{silent: map[place]int{}, met: map[place]bool{}} }

// saw takes down how an inspected connection ended.
func (r *trust) saw(t target, met, ours bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := place{t.host, t.port}
	switch {
	case r.met[at]:
	case met && len(r.met) < maxRows:
		r.met[at] = true
		delete(r.silent, at)
	case !met && !ours && (r.silent[at] > 0 || len(r.silent) < maxRows):
		r.silent[at]++
	}
}

// tell emits what is left at the end of the session.
func (r *trust) tell(emit func(Event)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for at, n := range r.silent {
		emit(Event{Kind: "net.deny", Host: at.host, Port: at.port, Reason: ClientTrust, Detail: fmt.Sprintf("%d connections that the "+
			"client closed after the TLS handshake, and never a request: it may pin a certificate or not know the session's CA", n)})
	}
	clear(r.silent)
}

// serveInspected serves HTTP inside TLS until the connection is closed: HTTP/1 behind the same strict reading as in clear text.
func (w *web) serveInspected(s *session) {
	said := &bill{of: &w.door.heads}
	defer said.close()
	if s.tls.ConnectionState().NegotiatedProtocol == "h2" {
		s.said = said
		w.run(s, s.tls.Conn)
	} else {
		s.strict = newStrict(s.tls, nil, maxHead, said)
		w.serveHTTP1(s)
	}
	s.busy.Lock() // the last requests have been written down
	defer s.busy.Unlock()
}

// scheme gives the scheme of the session's requests.
func (s *session) scheme() string {
	if s.tls != nil {
		return "https"
	}
	return "http"
}

// standard gives the port that the scheme's authorities leave out.
func (s *session) standard() uint16 {
	if s.tls != nil {
		return httpsPort
	}
	return httpPort
}

// judgeStream judges what strict judges in HTTP/1 and net/http leaves open in HTTP/2 (RFC 9113 section 8.3.1): one authority, and a
// path that is one.
func (s *session) judgeStream(req *http.Request) *refusal {
	star := req.RequestURI == "*" && req.Method == http.MethodOptions
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f }
	switch {
	case req.Method == http.MethodConnect:
		return nil // refused by whoever asks
	case !strings.HasPrefix(req.RequestURI, "/") && !star, strings.ContainsFunc(req.RequestURI, odd):
		return s.target.refuse(BadRequest, ":path "+bounded(req.RequestURI), "")
	case req.Host == "":
		return s.target.refuse(BadRequest, "no :authority", "")
	}
	for name := range req.Header {
		if framesAsCGI(name) {
			return s.target.refuse(BadRequest, "header field name", "")
		}
	}
	for _, host := range req.Header["Host"] {
		if !strings.EqualFold(host, req.Host) {
			return &refusal{host: host, port: s.target.port, reason: HostMismatch, detail: "Host beside :authority " + bounded(req.Host)}
		}
	}
	delete(req.Header, "Host")
	return nil
}
