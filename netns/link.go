package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Names of the two ends.
const (
	GatewayDevice = "gw0"
	JailDevice    = "eth0"
)

// Gateway is N0's end of the cable: DNS and the proxy are asked there.
func Gateway() netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 0, 1}) }

// Jail is N1's end of the cable.
func Jail() netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 0, 2}) }

// Explain is what a name that is not allowed resolves to; the door says there why.
func Explain() netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 0, 10}) }

// FirstName is the lowest address that stands for an allowed name; the rest of [Range] follows.
func FirstName() netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 1, 0}) }

// Range is what N0 answers for and the jail has a route to.
func Range() netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, 0, 0}), 15) }

// cableMTU is the largest that veth takes. No frame of the cable ever meets a wire; with Ethernet's 1500 bytes an upload costs a third
// more of processor time.
const cableMTU = 65535

// cable is the subnet of the two ends.
func cable(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 30) }

// The ends have fixed hardware addresses (locally administered, RFC 7042 2.1), so that each can be told the other's and the
// first packet waits for no ARP answer.
func gatewayMAC() net.HardwareAddr { return net.HardwareAddr{0x02, 0, 198, 18, 0, 1} }
func jailMAC() net.HardwareAddr    { return net.HardwareAddr{0x02, 0, 198, 18, 0, 2} }

// Link is a jail's network namespace, held open.
type Link struct {
	ns *os.File
}

// File is N1's descriptor, for setns(2). The Link owns it.
func (l *Link) File() *os.File { return l.ns }

// Path names N1 for whoever opens it by name; it is valid while this process holds the Link.
func (l *Link) Path() string {
	return "/proc/" + strconv.Itoa(os.Getpid()) + "/fd/" + strconv.Itoa(int(l.ns.Fd()))
}

// Close lets go of N1; it lives on for the processes that are in it.
func (l *Link) Close() error { return l.ns.Close() }

// New makes the jail's namespace N1 and connects it to N0, the namespace that all threads of the calling process are in. The
// process must hold CAP_SYS_ADMIN and CAP_NET_ADMIN in the user namespace that owns N0. An error names the act that the kernel
// refused and wraps its errno.
func New() (*Link, error) {
	gateway, err := newAsker()
	if err != nil {
		return nil, err
	}
	defer gateway.close()
	return inNew(func(n1 *os.File, h0, h1 *netlink.Handle) error {
		if err := cabled(n1, h0, h1); err != nil {
			return err
		}
		jail, err := newAsker()
		if err != nil {
			return err
		}
		defer jail.close()
		return errors.Join(jail.connected(JailDevice), gateway.connected(GatewayDevice))
	})
}

// cabled connects N0 and N1.
func cabled(n1 *os.File, h0, h1 *netlink.Handle) error {
	if err := gatewaySide(h0, n1); err != nil {
		return err
	}
	return jailSide(h1)
}

// Isolated makes a namespace N1 that holds a loopback device and nothing else.
func Isolated() (*Link, error) {
	return inNew(func(_ *os.File, _, h1 *netlink.Handle) error { return loopback(h1) })
}

// connect furnishes the two namespaces; the thread that runs it is in N1.
type connect func(n1 *os.File, h0, h1 *netlink.Handle) error

// inNew makes N1 on a thread of its own and gives it to do together with a netlink socket in each namespace. Whatever happens,
// no thread that the runtime uses again is left outside N0.
func inNew(do connect) (*Link, error) {
	type result struct {
		link *Link
		err  error
	}
	done := make(chan result)
	go func() {
		// unshare(2) moves this thread alone. Go starts no new thread from a locked one, so N1 cannot spread.
		runtime.LockOSThread()
		link, home, err := makeNew(do)
		if home {
			runtime.UnlockOSThread()
		}
		// A thread that did not get home dies with this goroutine.
		done <- result{link, err}
	}()
	r := <-done
	return r.link, r.err
}

// makeNew does inNew's work on the current thread; home says that the thread is back in N0.
func makeNew(do connect) (link *Link, home bool, err error) {
	n0, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, true, err
	}
	defer n0.Close()
	h0, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, true, fmt.Errorf("open a netlink socket: %w", err)
	}
	defer h0.Close()
	if err := sysctls(gatewaySysctls()); err != nil {
		return nil, true, err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, true, fmt.Errorf("unshare a network namespace: %w", err)
	}
	n1, err := os.Open("/proc/thread-self/ns/net")
	if err == nil {
		err = inside(n1, h0, do)
	}
	if back := unix.Setns(int(n0.Fd()), unix.CLONE_NEWNET); back != nil {
		err = errors.Join(err, fmt.Errorf("return to the gateway's network namespace: %w", back))
	} else {
		home = true
	}
	if err != nil {
		if n1 != nil {
			n1.Close()
		}
		return nil, home, err
	}
	return &Link{ns: n1}, home, nil
}

// inside runs on the thread while it is in N1.
func inside(n1 *os.File, h0 *netlink.Handle, do connect) error {
	h1, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open a netlink socket in the jail's network namespace: %w", err)
	}
	defer h1.Close()
	if err := sysctls(jailSysctls()); err != nil {
		return err
	}
	return do(n1, h0, h1)
}

// gatewaySide makes the cable and N0's addresses and routes.
func gatewaySide(h *netlink.Handle, n1 *os.File) error {
	if err := loopback(h); err != nil {
		return err
	}
	// One queue for each end: without the number the kernel makes one for every processor, and takes them away at a grace period of RCU.
	veth := netlink.NewVeth(netlink.LinkAttrs{Name: GatewayDevice, HardwareAddr: gatewayMAC(), TxQLen: -1, MTU: cableMTU,
		NumTxQueues: 1, NumRxQueues: 1})
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = JailDevice, jailMAC(), cableMTU
	veth.PeerNamespace = netlink.NsFd(n1.Fd()) // born there: nothing has to be moved
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("create the veth pair %s, %s: %w", GatewayDevice, JailDevice, err)
	}
	if err := end(h, veth, Gateway(), Jail(), jailMAC()); err != nil {
		return err
	}
	// The table is main and not local: local is looked up first, and there the /15 would swallow the jail's own address, which
	// lies in it. In main the cable's /30 is the longer prefix.
	any := netlink.Route{LinkIndex: 1, Dst: ipnet(Range()), Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_HOST,
		Table: unix.RT_TABLE_MAIN}
	if err := h.RouteAdd(&any); err != nil {
		return fmt.Errorf("add route local %s dev lo: %w", Range(), err)
	}
	return nil
}

// jailSide gives N1's end its address and N1 its routes.
func jailSide(h *netlink.Handle) error {
	if err := loopback(h); err != nil {
		return err
	}
	eth, err := h.LinkByName(JailDevice)
	if err != nil {
		return fmt.Errorf("find %s: %w", JailDevice, err)
	}
	if err := end(h, eth, Jail(), Gateway(), gatewayMAC()); err != nil {
		return err
	}
	out := netlink.Route{LinkIndex: eth.Attrs().Index, Dst: ipnet(Range()), Gw: Gateway().AsSlice()}
	if err := h.RouteAdd(&out); err != nil {
		return fmt.Errorf("add route %s via %s: %w", Range(), Gateway(), err)
	}
	// Without a default route connect(2) would say ENETUNREACH, which some clients take for "the network is down" and retry.
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		dst := netip.MustParsePrefix(all)
		none := netlink.Route{Dst: ipnet(dst), Type: unix.RTN_UNREACHABLE, Table: unix.RT_TABLE_MAIN}
		err := h.RouteAdd(&none)
		if dst.Addr().Is6() && (errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP)) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return fmt.Errorf("add route unreachable %s: %w", all, err)
		}
	}
	return nil
}

// end gives one end of the cable its address, tells it the other's hardware address and sets it up.
func end(h *netlink.Handle, link netlink.Link, own, other netip.Addr, mac net.HardwareAddr) error {
	name := link.Attrs().Name
	if err := noIPv6(h, link); err != nil {
		return err
	}
	if err := h.AddrAdd(link, &netlink.Addr{IPNet: ipnet(cable(own))}); err != nil {
		return fmt.Errorf("give %s the address %s: %w", name, cable(own), err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", name, err)
	}
	peer := netlink.Neigh{LinkIndex: link.Attrs().Index, IP: other.AsSlice(), HardwareAddr: mac, State: unix.NUD_PERMANENT}
	if err := h.NeighSet(&peer); err != nil {
		return fmt.Errorf("tell %s where %s is: %w", name, other, err)
	}
	return nil
}

// loopback sets lo up: device 1 of every network namespace.
func loopback(h *netlink.Handle) error {
	if err := h.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1, Name: "lo"}}); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// ipnet is p in the shape that netlink takes.
func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
