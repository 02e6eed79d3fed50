package egress

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const bulk = 256 << 20 // bytes, more than any buffer on the way may hold

// pattern is bulk bytes: random ones, again after a length that fits no buffer and no page, so that lost or doubled pieces show.
type pattern struct {
	block []byte
	at    int64
}

func newPattern() *pattern {
	block := make([]byte, 1<<20-3)
	rand.NewChaCha8([32]byte{}).Read(block)
	return &pattern{block: block}
}

func (p *pattern) Read(b []byte) (int, error) {
	n := min(int64(len(b)), bulk-p.at)
	if n == 0 {
		return 0, io.EOF
	}
	done := copy(b[:n], p.block[p.at%int64(len(p.block)):])
	p.at += int64(done)
	return done, nil
}

func sum(r io.Reader) (string, error) {
	h := sha256.New()
	_, err := io.Copy(struct{ hash.Hash }{h}, r)
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

// peak runs act and gives by how much the heap in use grew at most while it ran.
func peak(act func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapInuse, m.HeapInuse
	done := make(chan struct{})
	go func() { defer close(done); act() }()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return most - before
		case <-tick.C:
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
		}
	}
}

// TestBulk: a body of 256 MiB arrives byte for byte in both directions, memory stays flat, and others are heard in between.
func TestBulk(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // as the door has on two cores
	want, err := sum(newPattern())
	if err != nil {
		t.Fatal(err)
	}
	sums := make(chan string, 1)
	raw := server(t, func(c *net.TCPConn) {
		first := make([]byte, 1)
		io.ReadFull(c, first)
		if first[0] == 'd' {
			io.Copy(c, newPattern())
			return
		}
		s, err := sum(c)
		if err != nil {
			s = err.Error()
		}
		sums <- s
	})
	web := backend(t, moveBulk(sums))
	own := listen(t, "0.0.0.0:0")
	port := portOf(own)
	secure, ca := tlsBackend(t, "tls.example.com", moveBulk(sums))
	j := newJail(t, []Rule{
		{Host: "raw.example.com", Ports: []uint16{port}, Connect: raw, Why: "test"},
		{Host: "web.example.com", Ports: []uint16{80}, Connect: web, Why: "test"},
		{Host: "tls.example.com", Ports: []uint16{443}, Connect: secure, UpstreamCA: ca.PEM(), MaxUpload: 1 << 40, Why: "test"},
	}, nil, own)
	open := func(word string) *net.TCPConn {
		c := j.dial("raw.example.com", port)
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, word)
		return c
	}
	for name, move := range map[string]func() string{
		"tunnel, down": func() string {
			s, err := sum(open("d"))
			return s + errText(err)
		},
		"tunnel, up": func() string {
			c := open("u")
			_, err := io.Copy(c, struct{ io.Reader }{newPattern()})
			c.CloseWrite()
			return <-sums + errText(err)
		},
		"HTTP, down":             func() string { return bulkDown(j.client(), "http://web.example.com/") },
		"HTTP, up":               func() string { return bulkUp(j.client(), "http://web.example.com/", sums) },
		"inspected HTTP/1, down": func() string { return bulkDown(j.over(1), "https://tls.example.com/") },
		"inspected HTTP/1, up":   func() string { return bulkUp(j.over(1), "https://tls.example.com/", sums) },
		"inspected HTTP/2, down": func() string { return bulkDown(j.over(2), "https://tls.example.com/") },
		"inspected HTTP/2, up":   func() string { return bulkUp(j.over(2), "https://tls.example.com/", sums) },
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			before := j.door.breaks.taken(t)
			grown := peak(func() { got = move() })
			if got != want {
				t.Errorf("sum %s, want %s", got, want)
			}
			if grown > 16<<20 {
				t.Errorf("the heap grew by %d MiB", grown>>20)
			}
			if j.door.breaks.taken(t) == before {
				t.Error("no break")
			}
		})
	}
}

// moveBulk is a server that sends the pattern, or gives the sum of what it gets.
func moveBulk(sums chan<- string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			io.Copy(w, newPattern())
			return
		}
		s, err := sum(r.Body)
		sums <- s + errText(err)
	}
}

func bulkDown(c *http.Client, url string) string {
	res, err := c.Get(url)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	s, err := sum(res.Body)
	return s + errText(err)
}

func bulkUp(c *http.Client, url string, sums <-chan string) string {
	res, err := c.Post(url, "", newPattern())
	if err != nil {
		return err.Error()
	}
	res.Body.Close()
	return <-sums
}

func errText(err error) string {
	if err != nil {
		return " " + err.Error()
	}
	return ""
}

// TestManyConnections: two thousand tunnels at once, each with its own bytes; silent ones cost little and live on.
func TestManyConnections(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := min(2000, int(limit.Cur)/5-50) // five descriptors each: two ends of the jail's, two of the server's, and one to spare
	addr := server(t, func(c *net.TCPConn) { io.Copy(c, c) })
	own := listen(t, "0.0.0.0:0")
	j := newJail(t, []Rule{{Host: "a.example.com", Ports: []uint16{portOf(own)}, Connect: addr, Why: "test"}}, nil, own)
	conns := make([]*net.TCPConn, n)
	grown := peak(func() {
		for i := range conns {
			conns[i] = j.dial("a.example.com", portOf(own))
		}
		for i := range conns {
			j.wait("open", func(Event) bool { return len(j.events) > i })
		}
	})
	if per := grown / uint64(n); per > 32<<10 {
		t.Errorf("%d bytes of heap for each connection", per)
	}
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			c.SetDeadline(time.Now().Add(time.Minute))
			word := fmt.Sprintf("connection %d", i)
			io.WriteString(c, word)
			c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || string(got) != word {
				t.Errorf("%q, %v; want %q", got, err, word)
			}
		})
	}
	wg.Wait()
}

// TestCap: beyond the cap a connection is reset at once and told once; when one ends there is room again.
func TestCap(t *testing.T) {
	addr := server(t, func(c *net.TCPConn) { io.WriteString(c, "hi"); io.Copy(io.Discard, c) })
	own := listen(t, "0.0.0.0:0")
	port := portOf(own)
	j := newJail(t, []Rule{{Host: "a.example.com", Ports: []uint16{port}, Connect: addr, Why: "test"}},
		func(c *Config) { c.Limits.Connections = 3 }, own)
	open := func() *net.TCPConn {
		c := j.dial("a.example.com", port)
		if _, err := io.ReadFull(c, make([]byte, 2)); err != nil {
			t.Fatalf("below the cap: %v", err)
		}
		return c
	}
	first := open()
	open()
	open()
	for range 20 {
		j.wantReset(j.addr("a.example.com"), port)
	}
	if e := j.waitDeny(Busy); e.Host != "a.example.com" || e.Port != port {
		t.Errorf("event: %+v", e)
	}
	_, denied := j.door.Report()
	if len(denied) != 1 || denied[0].Reason != Busy || denied[0].Count != 20 {
		t.Errorf("denied %+v, want 20 busy", denied)
	}
	told := 0
	j.mu.Lock()
	for _, e := range j.events {
		if e.Reason == Busy {
			told++
		}
	}
	j.mu.Unlock()
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	first.Close()
	j.wait("close", func(e Event) bool { return e.Kind == "net.close" })
	deadline := time.Now().Add(patience)
	for { // the slot is free just after the event
		c := j.dial("a.example.com", port)
		_, err := io.ReadFull(c, make([]byte, 2))
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.ECONNRESET) || time.Now().After(deadline) {
			t.Fatalf("after one has ended: %v", err)
		}
	}
}

// TestCloseEndsEverything: tunnels, requests, upgrades, half hellos and idle connections, with nothing left (see TestMain).
func TestCloseEndsEverything(t *testing.T) {
	ready := make(chan struct{}, 1)
	web := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/idle" {
			return
		}
		w.(http.Flusher).Flush()
		ready <- struct{}{}
		<-r.Context().Done()
	})
	addr := server(t, func(c *net.TCPConn) { io.WriteString(c, "x"); io.Copy(io.Discard, c) })
	own := listen(t, "0.0.0.0:0")
	port := portOf(own)
	j := newJail(t, []Rule{
		{Host: "a.example.com", Ports: []uint16{port, 443}, Connect: addr, Why: "test"},
		{Host: "web.example.com", Ports: []uint16{80}, Connect: web, Why: "test"},
	}, nil, own)
	tunnel := j.dial("a.example.com", port)
	if _, err := io.ReadFull(tunnel, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	running, idle, half, proxied := j.dial("web.example.com", 80), j.dial("web.example.com", 80), j.dial("a.example.com", 443), j.dialAddr(testGateway, proxyPort)
	io.WriteString(running, "GET / HTTP/1.1\r\nHost: web.example.com\r\n\r\n")
	<-ready
	if res, _ := ask(t, idle, "GET /idle HTTP/1.1\r\nHost: web.example.com\r\n\r\n"); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	half.Write([]byte{recordTLS, 3})
	target := fmt.Sprintf("a.example.com:%d", port)
	io.WriteString(proxied, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n")
	br := bufio.NewReader(proxied)
	if res, _ := readAnswer(t, br, "CONNECT "); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	if _, err := br.ReadByte(); err != nil { // else its byte may still be under way when the door closes
		t.Fatal(err)
	}
	if err := j.door.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]net.Conn{"tunnel": tunnel, "running request": running, "idle": idle, "half hello": half, "CONNECT": proxied} {
		if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: still open", name)
		}
	}
	if n := j.door.open.open.Load(); n != 0 {
		t.Errorf("%d connections counted as open", n)
	}
	// What Close waited for is in the report: two tunnels and the two connections for requests.
	allowed, _ := j.door.Report()
	if len(allowed) != 2 || allowed[0].Connections != 2 || allowed[0].Down < 1 {
		t.Errorf("report: %+v", allowed)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	j := newJail(t, nil, nil)
	ctx, cancel := context.WithCancel(context.Background())
	l := listen(t, "0.0.0.0:0")
	done := make(chan error, 1)
	go func() { done <- j.door.Serve(ctx, l) }()
	c, err := net.Dial("tcp4", strings.Replace(l.Addr().String(), "0.0.0.0", "127.18.0.4", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("connection after the end: %v", err)
	}
}

// TestNoDelay holds that Nagle's algorithm is off on both sides of a tunnel, whatever made the sockets.
func TestNoDelay(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	near, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	c := near.(*net.TCPConn)
	option := func() (v int) {
		raw, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { v, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY) })
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	c.SetNoDelay(false)
	if option() != 0 {
		t.Fatal("control: the option is on")
	}
	if nodelay(c); option() != 1 {
		t.Error("the option is off")
	}
}
