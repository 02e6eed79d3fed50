//go:build soak

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
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// soaked is a jail whose connections nobody writes down: jail keeps each for its test's end.
type soaked struct {
	*jail
	raw      uint16
	one, two *http.Client
}

// TestSoakCounts has clients of all kinds come and go for a quarter of SOAK (10m): when they have gone, goroutines and heap are what they
// were.
func TestSoakCounts(t *testing.T) {
	length := 10 * time.Minute
	if word := os.Getenv("SOAK"); word != "" {
		var err error
		if length, err = time.ParseDuration(word); err != nil {
			t.Fatalf("SOAK: %v", err)
		}
	}
	length /= 4
	echo := server(t, func(c *net.TCPConn) { io.Copy(c, c) })
	own := listen(t, "0.0.0.0:0")
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stream" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}
	secure, ca := tlsBackend(t, "tls.example.com", handler)
	s := soaked{raw: portOf(own)}
	s.jail = newJail(t, []Rule{
		{Host: "raw.example.com", Ports: []uint16{s.raw}, Connect: echo, Why: "test"},
		{Host: "web.example.com", Ports: []uint16{80}, Connect: backend(t, handler), Why: "test"},
		{Host: "tls.example.com", Ports: []uint16{443}, Connect: secure, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"},
		{Host: "tunnel.example.com", Ports: []uint16{443}, Connect: secure, Why: "test"},
	}, func(c *Config) { c.Event = nil }, own)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.ca.PEM())
	for http2, client := range map[bool]**http.Client{false: &s.one, true: &s.two} {
		*client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2,
			DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
				host, port, _ := net.SplitHostPort(addr)
				n, err := strconv.ParseUint(port, 10, 16)
				if err != nil {
					return nil, err
				}
				return s.open(host, uint16(n))
			},
		}}
	}
	var goroutines, heap []int
	count := 0
	for end := time.Now().Add(length); time.Now().Before(end); {
		const clients, each = 4, 100
		var wg sync.WaitGroup
		for c := range clients {
			wg.Go(func() {
				for i := range each {
					if err := s.act(c + i); err != nil {
						t.Errorf("act %d: %v", count+i, err)
						return
					}
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		count += clients * each
		g, h := s.rest()
		goroutines, heap = append(goroutines, g), append(heap, h)
	}
	n := len(heap)
	if n < 16 {
		t.Fatalf("%d samples: SOAK is too short", n)
	}
	median := func(all []int) int { all = slices.Sorted(slices.Values(all)); return all[len(all)/2] }
	for what, all := range map[string][]int{"goroutines": goroutines, "bytes of heap": heap} {
		second, last := median(all[n/4:n/2]), median(all[n-n/4:])
		t.Logf("%d acts in %v; %s: %d in the second quarter, %d in the last", count, length, what, second, last)
		if slack := map[string]int{"goroutines": second/10 + 4, "bytes of heap": second/20 + 256<<10}[what]; last > second+slack {
			t.Errorf("%s: %d in the second quarter, %d in the last: %v", what, second, last, all)
		}
	}
}

// rest waits until all that the clients have opened is closed, and counts. Connections to servers stay: net/http keeps the memory of one that
// is closed before its time until that time has come.
func (s soaked) rest() (goroutines, heap int) {
	s.t.Helper()
	s.one.CloseIdleConnections()
	s.two.CloseIdleConnections()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); s.door.open.open.Load() > 0; {
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("%d connections are still open", s.door.open.open.Load())
		}
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what has a finalizer goes in the second
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int(m.HeapAlloc)
}

func (s soaked) open(host string, port uint16) (*net.TCPConn, error) {
	addr := testExplain
	if s.door.match.Known(host) {
		addr, _ = s.door.names.Addr(host)
	}
	c, err := net.Dial("tcp4", net.JoinHostPort(addr.String(), s.ports[port]))
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), c.SetDeadline(time.Now().Add(time.Minute))
}

// act is one of a client's acts.
func (s soaked) act(i int) error {
	switch i % 12 {
	case 0:
		return s.echo(func(c *net.TCPConn) error {
			if err := c.CloseWrite(); err != nil {
				return err
			}
			_, err := io.Copy(io.Discard, c)
			return err
		})
	case 1: // reset, with an answer under way
		return s.echo(func(c *net.TCPConn) error { return c.SetLinger(0) })
	case 2:
		return s.get(s.one, "http://web.example.com/", 200)
	case 3:
		return s.get(s.one, "https://tls.example.com/", 200)
	case 4:
		return s.get(s.two, "https://tls.example.com/", 200)
	case 5:
		return s.post(s.one, "https://tls.example.com/")
	case 6:
		return s.post(s.two, "https://tls.example.com/")
	case 7: // a stream that its client leaves
		res, err := s.two.Get("https://tls.example.com/stream")
		if err != nil {
			return err
		}
		return res.Body.Close()
	case 8:
		return s.get(s.one, "http://evil.example.com/", 403)
	case 9:
		s.one.CloseIdleConnections()
		return s.get(s.one, "https://evil.example.com/", 403)
	case 10: // half a hello
		return s.say("tunnel.example.com", 443, "\x16\x03\x01\x02\x00\x01")
	default: // half a head
		return s.say("web.example.com", 80, "GET / HTTP/1.1\r\nHost: web.")
	}
}

func (s soaked) echo(leave func(*net.TCPConn) error) error {
	c, err := s.open("raw.example.com", s.raw)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, strings.Repeat("word ", 1000)); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
		return err
	}
	return leave(c)
}

func (s soaked) say(host string, port uint16, word string) error {
	c, err := s.open(host, port)
	if err != nil {
		return err
	}
	_, err = io.WriteString(c, word)
	return errors.Join(err, c.Close())
}

func (s soaked) get(c *http.Client, url string, status int) error {
	res, err := c.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != status {
		return fmt.Errorf("%s: %s, %w", url, res.Status, err)
	}
	return nil
}

func (s soaked) post(c *http.Client, url string) error {
	const size = 300_000
	res, err := c.Post(url, "text/plain", strings.NewReader(strings.Repeat("a", size)))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != strconv.Itoa(size) {
		return fmt.Errorf("%s: %q, %w", res.Status, body, err)
	}
	return nil
}
