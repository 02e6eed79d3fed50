package egress

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// stuckStreams opens HTTP/2 at the explaining address, takes the server's right to send any body away, and asks for a path of 56 KB
// in each of 240 streams.
func stuckStreams(j *jail) *tls.Conn {
	c := tls.Client(j.dial("evil.example.com", 443), &tls.Config{ServerName: "evil.example.com", InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err := c.Handshake(); err != nil {
		return nil
	}
	io.WriteString(c, http2.ClientPreface)
	framer := http2.NewFramer(c, nil)
	framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	path := "/" + strings.Repeat("~", 56<<10)
	for i := range 240 {
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "https"}, {":authority", "evil.example.com"}, {":path", path}} {
			enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		id, first := uint32(2*i+1), true
		for rest := block.Bytes(); first || len(rest) > 0; first = false {
			piece := rest[:min(len(rest), 16<<10)]
			rest = rest[len(piece):]
			var err error
			if first {
				err = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: piece, EndStream: true, EndHeaders: len(rest) == 0})
			} else {
				err = framer.WriteContinuation(id, len(rest) == 0, piece)
			}
			if err != nil {
				return c // ended by the door, as it should be
			}
		}
	}
	return c
}

// TestStuckExplanationsAreBounded: what explanations hold that nobody takes is a small number, and not for long.
func TestStuckExplanationsAreBounded(t *testing.T) {
	j := newJail(t, nil, nil)
	const n = 8
	var conns []*tls.Conn
	grown := peak(func() {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for range n {
			wg.Go(func() {
				if c := stuckStreams(j); c != nil {
					mu.Lock()
					defer mu.Unlock()
					conns = append(conns, c)
				}
			})
		}
		wg.Wait()
		for _, c := range conns { // whatever the door says about it
			c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
			io.Copy(io.Discard, c)
		}
	})
	if len(conns) == 0 {
		t.Fatal("control: no connection")
	}
	t.Logf("%d KiB", grown>>10)
	if per := grown / n; per > 1536<<10 {
		t.Errorf("%d KiB of heap for each connection", per>>10)
	}
	if res, body := get(t, j.client(), "https://evil.example.com/"); res.StatusCode != 403 || !strings.Contains(body, "evil.example.com") {
		t.Errorf("control: %s %s", res.Status, body)
	}
}

// TestExplanationsAreCapped: beyond the cap a connection that could only be told why is reset; when one ends there is room again.
func TestExplanationsAreCapped(t *testing.T) {
	j := newJail(t, nil, func(c *Config) { c.Limits.Explained, c.Limits.Explain = 2, 3*time.Second })
	start := time.Now()
	var held []*net.TCPConn
	for range 2 {
		c := j.dial("evil.example.com", 80)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n")
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 403 {
			t.Fatalf("below the cap: %v %v", res, err)
		}
		held = append(held, c)
	}
	for range 5 {
		c := j.dial("evil.example.com", 80)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n")
		wantReset(t, c)
	}
	c := j.dial("evil.example.com", 443)
	c.Write(helloFor(t, "evil.example.com"))
	wantReset(t, c)
	if e := j.waitDeny(Busy); e.Port != 80 {
		t.Errorf("event: %+v", e)
	}
	for _, c := range held { // their life is over without their doing
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("an explanation without an end")
		}
	}
	if d := time.Since(start); d > patience/2 {
		t.Errorf("ended after %v", d)
	}
	for end := time.Now().Add(patience); ; { // the slot is free just after the end
		c := j.dial("evil.example.com", 80)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n")
		if _, err := c.Read(make([]byte, 1)); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	var busy int64
	_, denied := j.door.Report()
	for _, d := range denied {
		if d.Reason == Busy {
			busy += d.Count
		}
	}
	if busy < 6 {
		t.Errorf("%d counted as busy, want 6: %+v", busy, denied)
	}
}

// TestExplanationsHaveALife: a client that keeps asking does not keep its place.
func TestExplanationsHaveALife(t *testing.T) {
	j := newJail(t, nil, func(c *Config) { c.Limits.Explain = 500 * time.Millisecond })
	c := j.dial("evil.example.com", 80)
	br := bufio.NewReader(c)
	for n := 0; ; n++ {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n")
		res, err := http.ReadResponse(br, nil)
		if errors.Is(err, os.ErrDeadlineExceeded) || n == 0 && err != nil {
			t.Fatalf("after %d answers: %v", n, err)
		} else if err != nil {
			return
		}
		io.Copy(io.Discard, res.Body)
	}
}

// TestUnfinishedHeadsAreBounded: connections that each have said almost a whole head, or almost a whole hello, together hold a
// bounded number of bytes; and an ordinary request passes beside them.
func TestUnfinishedHeadsAreBounded(t *testing.T) {
	const n = 1000
	long := strings.Repeat("a", 60<<10)
	record := "\x16\x03\x01\x3f\xff" // of 16383 bytes
	hello := record + "\x01\x00\x7f\x00" + strings.Repeat("a", 16383-4) + "\x16\x03\x01\x3e\x80" + strings.Repeat("a", 14<<10)
	for name, tc := range map[string]struct {
		host string
		port uint16
		said string
	}{
		"request":           {"good.example.com", 80, "GET / HTTP/1.1\r\nHost: good.example.com\r\nX-A: " + long},
		"explained request": {"evil.example.com", 80, "GET / HTTP/1.1\r\nHost: evil.example.com\r\nX-A: " + long},
		"hello":             {"good.example.com", 443, hello},
		"explained hello":   {"evil.example.com", 443, hello},
		"empty record":      {"good.example.com", 443, record},
		"inspected hello":   {"seen.example.com", 443, hello},
	} {
		t.Run(name, func(t *testing.T) {
			addr := backend(t, func(w http.ResponseWriter, r *http.Request) {})
			j := newJail(t, []Rule{
				{Host: "good.example.com", Ports: []uint16{80, 443}, Connect: addr, Why: "test"},
				{Host: "seen.example.com", Ports: []uint16{443}, Connect: addr, TLS: "inspect", Why: "test"},
			}, func(c *Config) { c.Limits.Header, c.Limits.Hello = 2*time.Second, 2*time.Second })
			conns := make([]*net.TCPConn, n)
			grown := peak(func() {
				for i := range conns {
					conns[i] = j.dial(tc.host, tc.port)
					io.WriteString(conns[i], tc.said)
				}
				res, _ := ask(t, j.dial("good.example.com", 80), "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n")
				if res.StatusCode != 200 {
					t.Errorf("a request beside them: %s", res.Status)
				}
				for _, c := range conns { // ended by the door, at the latest when their time is over
					if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
						t.Fatal("still open")
					}
				}
			})
			// 4 KiB each to begin with, http.Server's own buffers, and what may be held together.
			if want := uint64(n*24<<10 + 20<<20); grown > want {
				t.Errorf("the heap grew by %d KiB, more than %d", grown>>10, want>>10)
			}
			t.Logf("%d KiB", grown>>10)
		})
	}
}

// TestLongHeadsPass is the control: heads of 60 KiB are passed on, and their memory is free again when they are answered or gone,
// on connections that stay open and on those that do not.
func TestLongHeadsPass(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, len(r.Header.Get("X-A"))) }, nil)
	for i := range 300 {
		c := j.dial("good.example.com", 80)
		for _, n := range []int{60 << 10, 0} {
			raw := fmt.Sprintf("GET / HTTP/1.1\r\nHost: good.example.com\r\nX-A: %s\r\n\r\n", strings.Repeat("a", n))
			if res, body := ask(t, c, raw); res.StatusCode != 200 || body != fmt.Sprint(n) {
				t.Fatalf("connection %d: %s %s", i, res.Status, body)
			}
		}
		if i >= 150 {
			c.Close()
		}
	}
}
