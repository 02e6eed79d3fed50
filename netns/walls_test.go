package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// eventually waits for something that the kernel does by itself, until the deadline of one that is broken.
func eventually(done func() bool) error {
	for deadline := time.Now().Add(5 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			return errors.New("it did not happen within 5 s")
		}
	}
	return nil
}

// ready waits until a device has its carrier: that is when the kernel would give it a link-local address.
func ready(device string) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	return eventually(func() bool {
		link, err := h.LinkByName(device)
		return err == nil && link.Attrs().OperState == netlink.OperUp
	})
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
	if err := errors.Join(ready(GatewayDevice), in(l, func() error { return ready(JailDevice) })); err != nil {
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
	// The carrier comes with an event of the kernel's own (linkwatch), and the address with the carrier.
	var got []string
	err = errors.Join(err, eventually(func() bool { got, err = addresses(); return err != nil || len(got) > 0 }))
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
