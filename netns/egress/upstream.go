package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
)

// roots gives the certificates that vouch for the real server of each rule: the host's, and the rule's own UpstreamCA.
type roots struct {
	mu    sync.Mutex
	pools map[*Rule]*x509.CertPool
}

// of gives nil for the host's roots alone: crypto/tls loads them when they are first needed.
func (r *roots) of(rule *Rule) (*x509.CertPool, error) {
	if len(rule.UpstreamCA) == 0 {
		return nil, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if pool, ok := r.pools[rule]; ok {
		return pool, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("load the host's roots: %w", err)
	}
	pool.AppendCertsFromPEM(rule.UpstreamCA) // Compile has looked at it
	if r.pools == nil {
		r.pools = map[*Rule]*x509.CertPool{}
	}
	r.pools[rule] = pool
	return pool, nil
}

// dialTLS is the Transport's for https: TLS to the real server, verified for the host that the request was judged for. The door
// has no client certificate: a server that wants one is reached through a tunnel or not at all.
func (w *web) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	p := ctx.Value(passageKey{}).(*passage)
	t := p.target
	ctx, stop := w.door.both(ctx) // as in dial
	defer stop()
	pool, err := w.roots.of(t.rule)
	if err != nil {
		return nil, t.refuse(UpstreamTLS, err.Error(), "")
	}
	up, err := w.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{ServerName: t.host, RootCAs: pool, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if !p.http2 {
		c.NextProtos = c.NextProtos[1:]
	}
	under := &wire{Conn: up, pool: &w.bodies}
	conn := tls.Client(under, c)
	hurry, cancel := context.WithTimeout(ctx, w.door.limits.Dial)
	defer cancel()
	err = conn.HandshakeContext(hurry)
	switch {
	case err == nil && p.http2: // http.Transport has to see that it is TLS
		return conn, nil
	case err == nil:
		return &batch{Conn: conn, wire: under}, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		err = t.refuse(Dial, "TLS handshake timed out", up.RemoteAddr().String())
	default:
		err = t.refuse(UpstreamTLS, err.Error(), up.RemoteAddr().String())
	}
	_ = under.Close()
	return nil, err
}
