package egress

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// carried is a tunnel with both its far ends: what the jail's client holds, and the real server.
type carried struct {
	*tunnel
	client, server *net.TCPConn
}

func joined(t *testing.T, r *relays) carried {
	t.Helper()
	client, accepted := tcpPair(t)
	dialled, server := tcpPair(t)
	b, err := r.join(accepted, dialled)
	if err != nil {
		t.Fatal(err)
	}
	return carried{b, client, server}
}

// tcpPair is one connection's two ends.
func tcpPair(t *testing.T) (dialled, accepted *net.TCPConn) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	t.Cleanup(func() { c.Close(); a.Close() })
	return c.(*net.TCPConn), a.(*net.TCPConn)
}

func newRelays(t *testing.T) *relays {
	b, err := newBreaks()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.close)
	r := &relays{breaks: b}
	t.Cleanup(r.close)
	return r
}

// TestTunnelsCarryWhatTheyGet: pieces of any size in both directions of many tunnels at once, some read slowly, arrive as they were,
// and each end as an end of its own direction.
func TestTunnelsCarryWhatTheyGet(t *testing.T) {
	r := newRelays(t)
	var all sync.WaitGroup
	for i := range 12 {
		b := joined(t, r)
		b.answers()
		b.asks(nil)
		random := rand.New(rand.NewPCG(1, uint64(i)))
		for _, way := range []struct{ from, to *net.TCPConn }{{b.client, b.server}, {b.server, b.client}} {
			sent, got := sha256.New(), sha256.New()
			total, slow, seed := random.Int64N(3<<20), i%3 == 0, random.Uint64()
			var n int64
			var both sync.WaitGroup
			both.Go(func() { sendPieces(t, way.from, sent, total, seed) })
			both.Go(func() { n = readPieces(t, way.to, got, slow) })
			all.Go(func() {
				both.Wait()
				if n != total || !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
					t.Errorf("%d bytes of %d, or other ones", n, total)
				}
			})
		}
		all.Go(func() {
			up, down, _ := b.wait()
			if up == 0 && down == 0 {
				t.Error("nothing was counted")
			}
		})
	}
	all.Wait()
	if n := len(r.open); n != 0 {
		t.Errorf("%d tunnels are left", n)
	}
}

func sendPieces(t *testing.T, to *net.TCPConn, sum hash.Hash, total int64, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	for left := total; left > 0; {
		piece := make([]byte, min(left, 1+random.Int64N(70<<10)))
		for i := range piece {
			piece[i] = byte(random.Uint32())
		}
		sum.Write(piece)
		if _, err := to.Write(piece); err != nil {
			t.Error(err)
			return
		}
		left -= int64(len(piece))
	}
	if err := to.CloseWrite(); err != nil {
		t.Error(err)
	}
}

// readPieces reads to the end; slow is in small pieces, so that the sender has to wait.
func readPieces(t *testing.T, from *net.TCPConn, sum hash.Hash, slow bool) (n int64) {
	size := 64 << 10
	if slow {
		size = 700
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{from}, make([]byte, size))
	if err != nil {
		t.Error(err)
	}
	return n
}

// TestWhatWasStuckGoesOn: what a peer did not take for a while arrives when it does, with nothing else to wake the tunnel.
func TestWhatWasStuckGoesOn(t *testing.T) {
	r := newRelays(t)
	b := joined(t, r)
	b.answers()
	b.asks(nil)
	random := rand.NewChaCha8([32]byte{1})
	sent, got := sha256.New(), sha256.New()
	var done int64
	writing := make(chan error, 1)
	stuck := make(chan struct{})
	go func() {
		piece := make([]byte, 1<<20)
		for full := false; !full; { // sockets of newer kernels hold some tens of megabytes
			random.Read(piece)
			sent.Write(piece)
			for rest := piece; len(rest) > 0; {
				_ = b.client.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
				n, err := b.client.Write(rest)
				rest, done = rest[n:], done+int64(n)
				switch {
				case errors.Is(err, os.ErrDeadlineExceeded) && !full:
					full = true
					close(stuck)
				case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
					writing <- err
					return
				}
			}
		}
		writing <- b.client.CloseWrite()
	}()
	within(t, patience, "a tunnel that is full", stuck)
	_ = b.server.SetReadDeadline(time.Now().Add(patience))
	n, err := io.Copy(got, struct{ io.Reader }{b.server})
	if err := <-writing; err != nil {
		t.Error(err)
	}
	if err != nil || n != done || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
		t.Errorf("%d bytes of %d, or other ones; %v", n, done, err)
	}
	b.server.CloseWrite()
	if up, _, err := b.wait(); up != done || err != nil {
		t.Errorf("%d bytes were counted; %v", up, err)
	}
}

// TestNobodyWaitsForAnotherTunnel: a peer that takes nothing stops its own tunnel alone.
func TestNobodyWaitsForAnotherTunnel(t *testing.T) {
	r := newRelays(t)
	stuck := joined(t, r)
	stuck.asks(nil)
	stuck.answers()
	full := make(chan struct{})
	go func() {
		defer close(full)
		piece := make([]byte, 1<<20)
		for { // until nothing goes any more
			_ = stuck.client.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err := stuck.client.Write(piece); err != nil {
				return
			}
		}
	}()
	within(t, patience, "a full tunnel", full)
	free := joined(t, r)
	free.asks([]byte("hel"))
	free.answers()
	go func() { io.WriteString(free.client, "lo"); free.client.CloseWrite() }()
	if b, err := io.ReadAll(free.server); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	stuck.reset()
	if _, err := io.Copy(io.Discard, stuck.server); err == nil {
		t.Error("a tunnel that was cut ended well")
	}
	free.server.Close()
	for _, b := range []carried{stuck, free} {
		b.wait()
	}
}

// TestTunnelStreams: only of a tunnel that moved much in turn after turn nobody waits for what comes next.
func TestTunnelStreams(t *testing.T) {
	var b tunnel
	for turn := 1; turn <= 2*streamTurns; turn++ {
		if got := b.streams(streamBytes); got != (turn >= streamTurns) {
			t.Errorf("turn %d: %v", turn, got)
		}
	}
	if !b.streams(0) { // an event about what was sent
		t.Error("a turn of nothing ends a stream")
	}
	if b.streams(1) || b.streams(streamBytes) {
		t.Error("a short message leaves it a stream")
	}
}

// TestTunnelEnds: how each way to end one connection is passed on to the other.
func TestTunnelEnds(t *testing.T) {
	read := func(c *net.TCPConn) string {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		b, err := io.ReadAll(c)
		return fmt.Sprintf("%s, reset %v", b, errors.Is(err, syscall.ECONNRESET))
	}
	for name, tc := range map[string]struct {
		act          func(b carried)
		server, want string // what is read at the server and at the client
	}{
		"client ends":          {func(b carried) { io.WriteString(b.client, "bye"); b.client.CloseWrite(); b.server.CloseWrite() }, "bye, reset false", ", reset false"},
		"server ends":          {func(b carried) { io.WriteString(b.server, "bye"); b.server.CloseWrite(); b.client.CloseWrite() }, ", reset false", "bye, reset false"},
		"client resets":        {func(b carried) { reset(b.client) }, ", reset true", ""},
		"server resets":        {func(b carried) { reset(b.server) }, "", ", reset true"},
		"reset from the door":  {func(b carried) { b.reset() }, ", reset true", ", reset true"},
		"server is gone early": {func(b carried) { b.server.Close(); io.WriteString(b.client, "x") }, "", ", reset false"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRelays(t)
			b := joined(t, r)
			b.answers()
			b.asks(nil)
			tc.act(b)
			if got := read(b.server); tc.server != "" && got != tc.server {
				t.Errorf("server: %s; want %s", got, tc.server)
			}
			if got := read(b.client); tc.want != "" && got != tc.want {
				t.Errorf("client: %s; want %s", got, tc.want)
			}
			reset(b.client)
			over := make(chan struct{})
			go func() { b.wait(); close(over) }()
			within(t, patience, "the tunnel's end", over)
		})
	}
}

// TestTunnelHoldsTwoDescriptors: whatever it carried before, a tunnel that waits holds its two sockets and no pipe.
func TestTunnelHoldsTwoDescriptors(t *testing.T) {
	r := newRelays(t)
	first := joined(t, r) // and with it the epoll instance and the spare pipe
	tunnels := []carried{first}
	ping := func(b carried) {
		b.asks([]byte("x"))
		b.answers()
		io.WriteString(b.server, "y")
		var p [1]byte
		for _, c := range []*net.TCPConn{b.client, b.server} {
			if _, err := io.ReadFull(c, p[:]); err != nil {
				t.Fatal(err)
			}
		}
	}
	ping(first)
	before := descriptors(t)
	const more = 50
	for range more {
		b := joined(t, r)
		ping(b)
		tunnels = append(tunnels, b)
	}
	// 2 of them are the test's own ends; the bound leaves room for the pipes that are kept.
	if n := descriptors(t) - before; n > 4*more+2*sparePipe {
		t.Errorf("%d descriptors for %d tunnels and their far ends", n, more)
	}
	for _, b := range tunnels {
		b.reset()
		b.wait()
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestRelaysRefuseWhenTheyEnd: a door that has ended makes no tunnel.
func TestRelaysRefuseWhenTheyEnd(t *testing.T) {
	r := new(relays)
	r.close()
	client, _ := tcpPair(t)
	up, _ := tcpPair(t)
	if _, err := r.join(client, up); !errors.Is(err, net.ErrClosed) {
		t.Errorf("join: %v", err)
	}
}

// TestUrgentData: what comes behind urgent data arrives, and the end is one.
func TestUrgentData(t *testing.T) {
	for i := range 4 {
		end, up := i&1 == 0, i&2 == 0
		r := newRelays(t)
		b := joined(t, r)
		from, to := b.server, b.client
		if up {
			from, to = to, from
		}
		b.answers()
		b.asks(nil)
		say := func(text string, flags int) {
			raw, err := from.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			if err := raw.Write(func(fd uintptr) bool { return syscall.Sendto(int(fd), []byte(text), flags, nil) == nil }); err != nil {
				t.Fatal(err)
			}
		}
		say("before ", 0)
		say("!", unix.MSG_OOB)
		say("behind", 0)
		if end {
			from.CloseWrite()
		}
		_ = to.SetReadDeadline(time.Now().Add(patience))
		got := make([]byte, len("before behind"))
		if n, err := io.ReadFull(to, got); err != nil || string(got) != "before behind" {
			t.Errorf("%q, %v", got[:n], err)
		}
		if end {
			if _, err := to.Read(got); err != io.EOF {
				t.Errorf("behind the end: %v", err)
			}
		}
		b.reset()
		b.wait()
	}
}
