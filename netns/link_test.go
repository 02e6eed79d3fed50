package netns

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
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

// addresses lists the addresses of every device but lo in the current thread's namespace.
func addresses() ([]string, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	list, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, a := range list {
		if a.LinkIndex != 1 {
			all = append(all, a.IPNet.String())
		}
	}
	return all, nil
}

func TestNoIPv6OnTheCable(t *testing.T) {
	if !inGateway(t) {
		return
	}
	noIPv6OnTheCable(t, newLink(t))
}

// TestNoIPv6OnTheCableWithoutSysctls takes the way of a container whose /proc/sys is read-only.
func TestNoIPv6OnTheCableWithoutSysctls(t *testing.T) {
	if !inGateway(t) {
		return
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", "/proc/sys", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		t.Fatal(err)
	}
	if err := write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"); !errors.Is(err, unix.EROFS) {
		t.Fatalf("control: /proc/sys is writable: %v", err)
	}
	noIPv6OnTheCable(t, newLink(t))
}

func noIPv6OnTheCable(t *testing.T, l *Link) {
	serve(t, 80, "up")
	if _, err := ask(l, "198.18.0.1:80"); err != nil { // the cable is up and has carried packets
		t.Fatal(err)
	}
	for name, list := range map[string]func() ([]string, error){
		"198.18.0.1/30": addresses,
		"198.18.0.2/30": func() (all []string, err error) {
			err = in(l, func() error { all, err = addresses(); return err })
			return all, err
		},
	} {
		if got, err := list(); err != nil || len(got) != 1 || got[0] != name {
			t.Errorf("addresses = %v, %v, want %s alone", got, err, name)
		}
	}
}

func TestIPv6LinkLocalAppearsWithoutTheWall(t *testing.T) {
	if !inGateway(t) {
		return
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: "a", Flags: net.FlagUp, TxQLen: -1})
	veth.PeerName = "b"
	if err := h.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	peer, err := h.LinkByName("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetUp(peer); err != nil {
		t.Fatal(err)
	}
	got, err := addresses()
	if err != nil || len(got) == 0 || !netip.MustParsePrefix(got[0]).Addr().IsLinkLocalUnicast() {
		t.Errorf("control: addresses = %v, %v, want link-local ones", got, err)
	}
}

func TestGatewayDoesNotForward(t *testing.T) {
	if !inGateway(t) {
		return
	}
	newLink(t)
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil || strings.TrimSpace(string(b)) != "0" {
		t.Errorf("ip_forward = %q, %v", b, err)
	}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range routes {
		if r.Dst != nil && r.Dst.IP.To4() != nil {
			got = append(got, r.Dst.String())
		}
	}
	if strings.Join(got, " ") != "198.18.0.0/30 198.18.0.0/15" {
		t.Errorf("routes of the gateway = %v, want the range and the cable", got)
	}
}

func TestIsolatedHasLoopbackAlone(t *testing.T) {
	if !inGateway(t) {
		return
	}
	l, err := Isolated()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = in(l, func() error {
		devices, err := net.Interfaces()
		if err != nil {
			return err
		}
		if len(devices) != 1 || devices[0].Name != "lo" || devices[0].Flags&net.FlagUp == 0 {
			return fmt.Errorf("devices = %v, want lo up alone", devices)
		}
		for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
			ln, err := net.Listen("tcp", addr)
			if err != nil {
				return err
			}
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				return err
			}
			c.Close()
			ln.Close()
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := ask(l, "198.18.0.1:80"); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("ask the gateway = %v, want %v", err, unix.ENETUNREACH)
	}
}

func TestCallerStaysInItsNamespace(t *testing.T) {
	if !inGateway(t) {
		return
	}
	before, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(t)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, th := range threads {
		if got, err := os.Readlink("/proc/self/task/" + th.Name() + "/ns/net"); err == nil && got != before {
			t.Errorf("thread %s is in %s, the process in %s", th.Name(), got, before)
		}
	}
	if got, err := os.Readlink("/proc/self/ns/net"); err != nil || got != before {
		t.Errorf("process is in %s, %v, was in %s", got, err, before)
	}
	f, err := os.Open(l.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := in(&Link{ns: f}, func() error { return nil }); err != nil {
		t.Errorf("join N1 by its path: %v", err)
	}
}

// TestTwoJailsDoNotMeet has a second gateway, with equal addresses, beside a first one that serves.
func TestTwoJailsDoNotMeet(t *testing.T) {
	const secondEnv = "AGENTJAIL_NETNS_TEST_SECOND"
	if !inGateway(t) {
		return
	}
	if os.Getenv(secondEnv) == "" {
		l := newLink(t)
		serve(t, 443, "first")
		if got, err := ask(l, "198.18.1.7:443"); err != nil || got != "198.18.1.7:443 first" {
			t.Fatalf("control: ask the first = %q, %v", got, err)
		}
		again(t, stageGateway, gatewayAttr(), secondEnv+"=1")
		return
	}
	l := newLink(t)
	for _, addr := range []string{"198.18.1.7:443", "198.18.0.1:443", "198.18.0.2:443"} {
		if got, err := ask(l, addr); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("second jail asks %s = %q, %v, want %v", addr, got, err, unix.ECONNREFUSED)
		}
	}
	serve(t, 443, "second")
	if got, err := ask(l, "198.18.1.7:443"); err != nil || got != "198.18.1.7:443 second" {
		t.Errorf("control: ask the second = %q, %v", got, err)
	}
}

func TestHostLoopbackIsUnreachable(t *testing.T) {
	const portEnv = "AGENTJAIL_NETNS_TEST_PORT"
	if os.Getenv(stageEnv) == "" {
		ln, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		port := strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err != nil {
			t.Fatalf("control: %v", err)
		}
		c.Close()
		t.Setenv(portEnv, port)
	}
	if !inGateway(t) {
		return
	}
	l := newLink(t)
	for _, host := range []string{"127.0.0.1", "198.18.0.1", "198.18.0.2", "198.18.1.7"} {
		if _, err := ask(l, host+":"+os.Getenv(portEnv)); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("ask %s = %v, want %v", host, err, unix.ECONNREFUSED)
		}
	}
}

func TestErrorsNameTheAct(t *testing.T) {
	if !inGateway(t) {
		return
	}
	newLink(t)
	if _, err := New(); !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "create the veth pair gw0, eth0") {
		t.Errorf("a second link in one gateway = %v", err)
	}
	tcp, udp, err := Listen([]uint16{80, 80})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), "TCP port 80") || tcp != nil || udp != nil {
		t.Errorf("listen twice on a port = %v, %v, %v", tcp, udp, err)
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
