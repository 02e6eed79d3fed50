package netns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// soon is what an answer "at once" may take on a busy machine: far below any retransmission (1 s) or resolver time-out (5 s).
const soon = 500 * time.Millisecond

func newLink(t *testing.T) *Link {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// serve listens in N0 and writes the local address and then word to whoever connects.
func serve(t *testing.T, port uint16, word string) {
	t.Helper()
	tcp, udp, err := Listen([]uint16{port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	ln, err := net.FileListener(tcp[0])
	if err != nil {
		t.Fatal(err)
	}
	tcp[0].Close()
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(c, "%s %s", c.LocalAddr(), word)
			c.Close()
		}
	}()
}

// ask connects from inside the link's namespace and gives what was answered.
func ask(l *Link, addr string) (answer string, err error) {
	err = in(l, func() error {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		b, err := io.ReadAll(c)
		answer = string(b)
		return err
	})
	return answer, err
}

func TestEveryAddressOfTheRangeReachesTheListener(t *testing.T) {
	if !inGateway(t) {
		return
	}
	l := newLink(t)
	serve(t, 443, "hello")
	for _, a := range []string{"198.18.0.1", "198.18.0.10", "198.18.1.0", "198.18.255.255", "198.19.0.0", "198.19.255.255"} {
		addr := a + ":443"
		got, err := ask(l, addr)
		if err != nil || got != addr+" hello" {
			t.Errorf("ask %s = %q, %v", addr, got, err)
		}
	}
}

func TestRefusalsAreImmediate(t *testing.T) {
	if !inGateway(t) {
		return
	}
	l := newLink(t)
	serve(t, 443, "hello")
	if _, err := ask(l, "198.18.1.7:443"); err != nil {
		t.Fatalf("control: %v", err)
	}
	for _, c := range []struct {
		addr string
		want unix.Errno
	}{
		{"198.18.1.7:444", unix.ECONNREFUSED},
		{"198.18.0.1:22", unix.ECONNREFUSED},
		{"127.0.0.1:443", unix.ECONNREFUSED}, // the jail's own loopback, not the gateway's
		{"[::1]:443", unix.ECONNREFUSED},
		{"192.0.2.1:443", unix.EHOSTUNREACH},
		{"10.0.0.1:443", unix.EHOSTUNREACH},
		{"169.254.169.254:80", unix.EHOSTUNREACH},
		{"198.20.0.1:443", unix.EHOSTUNREACH},
		{"[2001:db8::1]:443", unix.EHOSTUNREACH},
		{"[64:ff9b::c000:201]:443", unix.EHOSTUNREACH},
	} {
		start := time.Now()
		_, err := ask(l, c.addr)
		if took := time.Since(start); !errors.Is(err, c.want) || took > soon {
			t.Errorf("ask %s = %v after %v, want %v at once", c.addr, err, took, c.want)
		}
	}
}

func TestUDPIsRefusedAtOnceEveryTime(t *testing.T) {
	if !inGateway(t) {
		return
	}
	l := newLink(t)
	serve(t, 443, "hello")
	probe := func(addr string) error {
		return in(l, func() error {
			c, err := net.Dial("udp", addr)
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("x")); err != nil {
				return err
			}
			c.SetReadDeadline(time.Now().Add(soon))
			_, err = c.Read(make([]byte, 1))
			return err
		})
	}
	// The kernel's default would answer six of these and leave the rest to a time-out.
	for i := range 20 {
		if err := probe("198.18.1.7:443"); !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatalf("UDP probe %d = %v, want %v", i, err, unix.ECONNREFUSED)
		}
	}
	// The DNS socket is there, on the gateway's address alone; nobody reads it in this test.
	if err := probe("198.18.0.1:53"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("UDP to the DNS socket = %v, want no refusal", err)
	}
	if err := probe("198.18.1.7:53"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("UDP 53 of another address = %v, want %v", err, unix.ECONNREFUSED)
	}
}

// BenchmarkNew runs itself in a gateway, once per count that the framework wants, and takes over what was measured there.
func BenchmarkNew(b *testing.B) {
	if os.Getenv(stageEnv) != stageGateway {
		cmd := exec.Command("/proc/self/exe", "-test.run=^$", "-test.bench=^BenchmarkNew$", "-test.benchtime="+strconv.Itoa(b.N)+"x")
		cmd.Env = append(os.Environ(), stageEnv+"="+stageGateway)
		cmd.SysProcAttr = gatewayAttr()
		out, err := cmd.CombinedOutput()
		if err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
			if f := strings.Fields(s.Text()); len(f) > 3 && f[3] == "ns/op" {
				ns, err := strconv.ParseFloat(f[2], 64)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(ns, "ns/op")
				return
			}
		}
		b.Fatalf("no measurement in\n%s", out)
	}
	runtime.LockOSThread()
	for range b.N {
		b.StopTimer()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil { // an N0 for each
			b.Fatal(err)
		}
		b.StartTimer()
		l, _, err := makeNew(cabled)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		l.Close()
		b.StartTimer()
	}
}

// TestOneQueue: what the kernel makes for each processor it takes away again before the cable is there, and waits for that.
func TestOneQueue(t *testing.T) {
	if !inGateway(t) {
		return
	}
	newLink(t)
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	cable, err := h.LinkByName(GatewayDevice)
	if err != nil {
		t.Fatal(err)
	}
	if a := cable.Attrs(); a.NumTxQueues != 1 || a.NumRxQueues != 1 {
		t.Errorf("%d and %d queues were asked for", a.NumTxQueues, a.NumRxQueues)
	}
}
