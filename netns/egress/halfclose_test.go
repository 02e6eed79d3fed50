package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestHalfCloseAfterRequest: a client that has said everything and shuts its side down (nc -N, shutdown(2)) gets its answers, and
// then the end.
func TestHalfCloseAfterRequest(t *testing.T) {
	next, broken := make(chan struct{}), make(chan struct{}, 1)
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case <-next:
			fmt.Fprintf(w, "%s %s;", r.URL.Path, body)
		case <-r.Context().Done():
			select {
			case broken <- struct{}{}:
			default: // told already
			}
		}
	}, nil)
	const host = " HTTP/1.1\r\nHost: good.example.com\r\n"
	echo := server(t, func(c *net.TCPConn) { io.WriteString(c, "hi"); io.Copy(c, c) })
	for name, tc := range map[string]struct {
		raw  string
		want []string
	}{
		"GET":           {"GET /a" + host + "\r\n", []string{"/a ;"}},
		"body":          {"POST /a" + host + "Content-Length: 4\r\n\r\nbody", []string{"/a body;"}},
		"chunks":        {"POST /a" + host + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", []string{"/a body;"}},
		"two at once":   {"GET /a" + host + "\r\nGET /b" + host + "\r\n", []string{"/a ;", "/b ;"}},
		"refused":       {"GET /a HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", []string{"host_mismatch"}},
		"another after": {"GET /a" + host + "\r\nGET /b HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", []string{"/a ;", "host_mismatch"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := j.dial("good.example.com", 80)
			io.WriteString(c, tc.raw)
			c.CloseWrite()
			for _, want := range tc.want {
				if strings.HasPrefix(want, "/") {
					not(t, 20*time.Millisecond, "the request is broken off", broken)
					select {
					case next <- struct{}{}:
					case <-time.After(time.Second):
						t.Fatal("no request")
					}
				}
			}
			all, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(string(all), want) {
					t.Errorf("no %q in %q", want, all)
				}
			}
		})
	}
	for name, raw := range map[string]string{ // the controls: what is not whole is not answered as if it were, and not waited for
		"cut in its head":   "GET /a" + host,
		"cut in its body":   "POST /a" + host + "Content-Length: 4\r\n\r\nbo",
		"cut in a chunk":    "POST /a" + host + "Transfer-Encoding: chunked\r\n\r\n4\r\nbo",
		"cut at a chunk":    "POST /a" + host + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n",
		"cut in a trailer":  "POST /a" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y",
		"cut after a chunk": "POST /a" + host + "Transfer-Encoding: chunked\r\n\r\n4\r\nbody",
	} {
		t.Run(name, func(t *testing.T) {
			c := j.dial("good.example.com", 80)
			io.WriteString(c, raw)
			c.CloseWrite()
			c.SetReadDeadline(time.Now().Add(time.Second))
			if all, err := io.ReadAll(c); strings.Contains(string(all), "200") || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q, %v", all, err)
			}
			select {
			case <-broken: // the server had seen the head
			default:
			}
		})
	}
	t.Run("CONNECT", func(t *testing.T) {
		hold, broken := make(chan struct{}), make(chan struct{}, 1)
		k := newJail(t, []Rule{{Host: "ssh.example.com", Ports: []uint16{22}, Connect: echo, Why: "test"}}, func(c *Config) { c.Dial = slowDial(hold, broken) })
		c := k.dialAddr(testGateway, proxyPort)
		io.WriteString(c, "CONNECT ssh.example.com:22 HTTP/1.1\r\nHost: ssh.example.com:22\r\n\r\n")
		c.CloseWrite()
		not(t, 20*time.Millisecond, "the dial is broken off", broken)
		close(hold)
		if all, err := io.ReadAll(c); err != nil || !strings.Contains(string(all), " 200 ") || !strings.HasSuffix(string(all), "hi") {
			t.Errorf("%q, %v", all, err)
		}
	})
}

// TestHalfCloseInsideTLS: a client of TLS 1.3 that has said everything says so with close_notify, and gets its answer.
func TestHalfCloseInsideTLS(t *testing.T) {
	next, here, broken := make(chan struct{}), make(chan struct{}, 1), make(chan struct{}, 1)
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		here <- struct{}{}
		select {
		case <-next:
			fmt.Fprintf(w, "got %s;", body)
		case <-r.Context().Done():
			broken <- struct{}{}
		}
	}, nil)
	const raw = "POST / HTTP/1.1\r\nHost: good.example.com\r\nContent-Length: 4\r\n\r\nbody"
	for _, tc := range []struct {
		name    string
		version uint16
		end     func(*tls.Conn)
		whole   bool
	}{
		{"TLS 1.3", tls.VersionTLS13, func(c *tls.Conn) { c.CloseWrite() }, true},
		{"control: and then TCP", tls.VersionTLS13, func(c *tls.Conn) { c.CloseWrite(); c.NetConn().(socket).CloseWrite() }, false},
		{"control: TLS 1.2", tls.VersionTLS12, func(c *tls.Conn) { c.CloseWrite() }, false},
		{"control: cut", tls.VersionTLS13, func(c *tls.Conn) { c.NetConn().(socket).CloseWrite() }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(j.ca.PEM())
			c := tls.Client(j.dial("good.example.com", 443), &tls.Config{ServerName: "good.example.com", RootCAs: pool, MaxVersion: tc.version})
			defer c.Close()
			io.WriteString(c, raw)
			within(t, patience, "request", here)
			tc.end(c)
			if !tc.whole {
				within(t, patience, "end", broken)
				return
			}
			select {
			case <-broken:
				t.Fatal("the request is broken off")
			case <-time.After(20 * time.Millisecond):
				next <- struct{}{}
			}
			if all, err := io.ReadAll(c); err != nil || !strings.Contains(string(all), "got body;") {
				t.Errorf("%q, %v", all, err)
			}
		})
	}
}

// TestClientGoneBreaksOff: the control. A client that is dead, and not only silent, ends its request at the real server.
func TestClientGoneBreaksOff(t *testing.T) {
	seen, over := make(chan struct{}, 1), make(chan struct{}, 1)
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		seen <- struct{}{}
		<-r.Context().Done()
		over <- struct{}{}
	}, func(c *Config) { c.Limits.Header = 500 * time.Millisecond })
	for _, how := range []string{"reset", "half-close, then reset", "reset after the time for a head"} {
		c := j.dial("good.example.com", 80)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n")
		within(t, patience, "request", seen)
		switch how {
		case "half-close, then reset":
			c.CloseWrite()
			not(t, 20*time.Millisecond, "the request ends", over)
		case "reset after the time for a head":
			not(t, 600*time.Millisecond, "the request ends", over)
		}
		c.SetLinger(0)
		c.Close()
		within(t, time.Second, how, over)
	}
}

// TestExpectIsNotWaitedForLong: a server that never says 100 gets the body after a second, as from curl.
func TestExpectIsNotWaitedForLong(t *testing.T) {
	body := make(chan struct{}, 1)
	addr := server(t, func(c *net.TCPConn) {
		buf := make([]byte, 4096)
		for got := ""; ; {
			n, err := c.Read(buf)
			if got += string(buf[:n]); err != nil {
				return
			}
			if strings.HasSuffix(got, "body") {
				body <- struct{}{}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
		}
	})
	j := newJail(t, []Rule{{Host: "good.example.com", Ports: []uint16{80}, Connect: addr, Why: "test"}}, nil)
	c := j.dial("good.example.com", 80)
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: good.example.com\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
	within(t, 3*time.Second, "body", body)
}

// slowDial is a DialFunc that waits before it dials.
func slowDial(hold <-chan struct{}, broken chan<- struct{}) DialFunc {
	return func(ctx context.Context, addr netip.AddrPort, check func(netip.Addr) error) (net.Conn, error) {
		select {
		case <-hold:
			return DialTCP(ctx, addr, check)
		case <-ctx.Done():
			broken <- struct{}{}
			return nil, ctx.Err()
		}
	}
}

// not holds that something does not come about within a time.
func not(t *testing.T, limit time.Duration, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
		t.Errorf("%s", what)
	case <-time.After(limit):
	}
}
