package egress

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
)

// newDeafTLS is a deaf server behind TLS, which speaks the protocol alpn until it has seen a request, and sends reply.
func newDeafTLS(t *testing.T, ca *CA, alpn, reply string) *deaf {
	leaf, err := ca.Leaf("good.example.com")
	if err != nil {
		t.Fatal(err)
	}
	d := &deaf{seen: make(chan struct{}, 1), gone: make(chan struct{}, 1)}
	d.addr = server(t, func(raw *net.TCPConn) {
		c := tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{alpn}})
		if c.Handshake() != nil {
			return
		}
		if alpn == "h2" {
			io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
			framer := http2.NewFramer(c, c)
			framer.WriteSettings()
			for {
				f, err := framer.ReadFrame()
				if err != nil {
					return
				}
				if _, ok := f.(*http2.HeadersFrame); ok {
					break
				}
			}
		} else if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		io.WriteString(c, reply)
		d.seen <- struct{}{}
		if _, err := io.Copy(io.Discard, raw); err == nil {
			died(raw)
		}
		d.gone <- struct{}{}
	})
	return d
}

// TestInspectedEndIsNotUpToTheServer is TestEndIsNotUpToTheServer where the door ends TLS.
func TestInspectedEndIsNotUpToTheServer(t *testing.T) {
	const begun = "HTTP/1.1 200 OK\r\n\r\nbegun"
	for _, alpn := range []string{"http/1.1", "h2"} {
		for name, tc := range map[string]struct {
			version int // of HTTP towards the jail
			reply   string
		}{
			"HTTP/1, no answer":             {1, ""},
			"HTTP/2, no answer":             {2, ""},
			"HTTP/1, answer without an end": {1, begun},
			"HTTP/2, answer without an end": {2, begun},
		} {
			if alpn == "h2" && (tc.reply != "" || tc.version == 1) {
				continue
			}
			for _, end := range []string{"context", "Close"} {
				t.Run(alpn+"/"+name+"/"+end, func(t *testing.T) {
					others := goleak.IgnoreCurrent()
					t.Cleanup(func() { goleak.VerifyNone(t, others) })
					ca, err := NewCA(time.Now())
					if err != nil {
						t.Fatal(err)
					}
					d := newDeafTLS(t, ca, alpn, tc.reply)
					j := newJail(t, []Rule{{Host: "good.example.com", Ports: []uint16{443}, Connect: d.addr, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"}}, nil)
					client := j.over(tc.version)
					asked := make(chan struct{})
					go func() {
						defer close(asked)
						if res, err := client.Get("https://good.example.com/"); err == nil {
							io.Copy(io.Discard, res.Body)
							res.Body.Close()
						}
					}()
					within(t, patience, "request", d.seen)
					over := make(chan struct{})
					go func() {
						defer close(over)
						if end == "Close" {
							j.door.Close()
						} else {
							j.stop()
						}
						j.served.Wait()
					}()
					within(t, time.Second, "Serve and Close", over)
					within(t, time.Second, "the client's end", asked)
					if alpn == "h2" { // the connection is any request's, so it ends with the door and not with a listener
						j.door.Close()
					}
					within(t, time.Second, "the server's end", d.gone)
					client.CloseIdleConnections()
				})
			}
		}
	}
}

// TestInspectedAreCapped: connections whose TLS ends here count among all connections, and what they have not finished to say inside
// of TLS among what all may hold.
func TestInspectedAreCapped(t *testing.T) {
	addr, ca := tlsBackend(t, "good.example.com", func(http.ResponseWriter, *http.Request) {})
	rules := []Rule{{Host: "good.example.com", Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"}}
	t.Run("connections", func(t *testing.T) {
		j := newJail(t, rules, func(c *Config) { c.Limits.Connections = 2 })
		for range 2 {
			defer j.tls("good.example.com", 443).Close()
		}
		j.wantReset(j.addr("good.example.com"), 443)
		j.waitDeny(Busy)
	})
	t.Run("heads", func(t *testing.T) {
		j := newJail(t, rules, func(c *Config) { c.Limits.Heads = 100 << 10 })
		head := "GET / HTTP/1.1\r\nHost: good.example.com\r\nX-A: " + strings.Repeat("a", 50<<10)
		c := j.tls("good.example.com", 443, "http/1.1")
		defer c.Close()
		io.WriteString(c, head+"\r\n\r\n")
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
			t.Errorf("control: %v %v", res, err)
		}
		for range 3 {
			c := j.tls("good.example.com", 443, "http/1.1")
			defer c.Close()
			io.WriteString(c, head)
		}
		if e := j.waitDeny(Busy); e.Host != "good.example.com" || e.Kind != "http.deny" {
			t.Errorf("event: %+v", e)
		}
	})
	t.Run("heads of streams", func(t *testing.T) {
		here, next := make(chan struct{}), make(chan struct{})
		addr, ca := tlsBackend(t, "good.example.com", func(http.ResponseWriter, *http.Request) { here <- struct{}{}; <-next })
		rules := []Rule{{Host: "good.example.com", Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"}}
		j := newJail(t, rules, func(c *Config) { c.Limits.Heads = 100 << 10 })
		client := j.over(2) // one connection
		get := func() int {
			req, _ := http.NewRequest("GET", "https://good.example.com/", nil)
			req.Header.Set("X-A", strings.Repeat("a", 50<<10))
			res, err := client.Do(req)
			if err != nil {
				t.Error(err)
				return 0
			}
			res.Body.Close()
			return res.StatusCode
		}
		for range 2 { // what is over is free again
			passed := make(chan int, 2)
			for range 2 {
				go func() { passed <- get() }()
				within(t, patience, "request", here)
			}
			if got := get(); got != 503 {
				t.Errorf("a third: %d", got)
			}
			for range 2 {
				next <- struct{}{}
			}
			for range 2 {
				if got := <-passed; got != 200 {
					t.Errorf("control: %d", got)
				}
			}
		}
	})
}

// TestFramesAreBounded: a frame of HTTP/2 that only says how long it will be costs little.
func TestFramesAreBounded(t *testing.T) {
	const n = 200
	j := inspectJail(t, func(http.ResponseWriter, *http.Request) {}, nil)
	conns := make([]*tls.Conn, n)
	grown := peak(func() {
		for i := range conns {
			conns[i] = j.tls("good.example.com", 443, "h2")
			// The preface, empty settings, and the head of HEADERS on stream 1 (RFC 9113 sections 3.4 and 4.1).
			io.WriteString(conns[i], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"+"\x0f\xff\xff\x01\x04\x00\x00\x00\x01")
		}
		if res, err := j.over(2).Get("https://good.example.com/"); err != nil || res.StatusCode != 200 {
			t.Errorf("a request beside them: %v %v", res, err)
		}
		for _, c := range conns {
			c.Close()
		}
	})
	if grown > n*100<<10 {
		t.Errorf("the heap grew by %d KiB", grown>>10)
	}
	t.Logf("%d KiB", grown>>10)
}
