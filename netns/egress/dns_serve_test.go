package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

// serveUDP runs ServeUDP on loopback until the test ends.
func serveUDP(t *testing.T, d *DNS) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.ServeUDP(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServeUDP: %v", err)
		}
		if _, err := conn.WriteTo(nil, conn.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the socket is still open: %v", err)
		}
	})
	return conn.LocalAddr()
}

// Go's own resolver, which asks for A and AAAA over UDP, reads what we answer.
func TestDNSServesAResolver(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) {
		d, _ := newDNS(t)
		addr := serveUDP(t, d)
		conn, err := net.Dial("udp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("junk that is dropped, and the server lives"))
		conn.Close()
		r := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", addr.String())
		}}
		for host, want := range map[string]string{"api.example.com.": "198.18.1.0", "denied.test.": "198.18.0.5", "x.invalid.": ""} {
			got, err := r.LookupNetIP(t.Context(), "ip", host)
			var missing *net.DNSError
			switch {
			case want == "" && !(errors.As(err, &missing) && missing.IsNotFound):
				t.Errorf("%s: %v, %v; want: no such host", host, got, err)
			case want != "" && (err != nil || len(got) != 1 || got[0].Unmap() != netip.MustParseAddr(want)):
				t.Errorf("%s: %v, %v; want %s", host, got, err, want)
			}
		}
	})
}

func TestDNSOverTCP(t *testing.T) {
	defer goleak.VerifyNone(t)
	d, _ := newDNS(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.ServeTCP(context.Background(), far) }()
	near.SetDeadline(time.Now().Add(10 * time.Second))
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} { // two on one connection
		q := query(t, "api.example.com.", kind)
		framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
		for _, part := range [][]byte{framed[:1], framed[1:5], framed[5:]} {
			if _, err := near.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		head := make([]byte, 2)
		if _, err := io.ReadFull(near, head); err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, binary.BigEndian.Uint16(head))
		if _, err := io.ReadFull(near, raw); err != nil {
			t.Fatal(err)
		}
		if m := unpack(t, raw); m.RCode != 0 || m.Questions[0].Type != kind {
			t.Errorf("%v", m.GoString())
		}
	}
	near.Close()
	if err := <-done; err != nil {
		t.Errorf("the client was done: %v", err)
	}
}

func TestDNSOverTCPEnds(t *testing.T) {
	for name, c := range map[string]struct {
		send   []byte
		hangup bool
		after  time.Duration // until the server ends the connection
		err    error         // nil: any
	}{
		"silence":           {nil, false, dnsIdle, os.ErrDeadlineExceeded},
		"half a length":     {[]byte{0}, false, dnsIdle, os.ErrDeadlineExceeded},
		"half a query":      {[]byte{0, 9, 1, 2, 3}, false, dnsIdle, os.ErrDeadlineExceeded},
		"hangs up in it":    {[]byte{0, 9, 1, 2, 3}, true, 0, io.ErrUnexpectedEOF},
		"hangs up at once":  {[]byte{0, 9}, true, 0, io.ErrUnexpectedEOF},
		"no query":          {[]byte{0, 3, 1, 2, 3}, false, 0, nil},
		"an empty message":  {[]byte{0, 0}, false, 0, nil},
		"half, then hangup": {[]byte{0}, true, 0, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := newDNS(t)
				near, far := net.Pipe()
				defer near.Close()
				start := time.Now()
				done := make(chan error)
				go func() { done <- d.ServeTCP(t.Context(), far) }()
				near.Write(c.send)
				if c.hangup {
					near.Close()
				}
				err := <-done
				if err == nil || c.err != nil && !errors.Is(err, c.err) || time.Since(start) != c.after {
					t.Errorf("%v after %v, want %v after %v", err, time.Since(start), c.err, c.after)
				}
				if _, err := far.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("still open: %v", err)
				}
			})
		})
	}
}

// A client that asks and does not read the answer is given up, too.
func TestDNSOverTCPNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newDNS(t)
		near, far := net.Pipe()
		defer near.Close()
		go func() {
			q := query(t, "api.example.com.", dnsmessage.TypeA)
			near.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...))
		}()
		start := time.Now()
		if err := d.ServeTCP(t.Context(), far); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != dnsIdle {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestDNSOverTCPStops(t *testing.T) {
	defer goleak.VerifyNone(t)
	d, _ := newDNS(t)
	ctx, cancel := context.WithCancel(context.Background())
	near, far := net.Pipe()
	done := make(chan error)
	go func() { done <- d.ServeTCP(ctx, far) }()
	near.Write([]byte{0}) // in the middle of a query
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	near.Close()
}
