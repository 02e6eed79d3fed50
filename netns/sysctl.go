package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// sysctl is one setting below /proc/sys/net, which shows the network namespace of the thread that opens it.
type sysctl struct{ name, value string }

// jailSysctls hold in both namespaces. "default" is what devices made later start with: the cable's ends never get a link-local
// address, while ::1 stays for the jail's own servers. A host that sends with BBR has every namespace pace what it sends, by timers,
// and over the cable there is nothing to be paced.
func jailSysctls() []sysctl {
	return []sysctl{{"ipv6/conf/default/disable_ipv6", "1"}, {"ipv4/tcp_congestion_control", "reno"}}
}

// gatewaySysctls hold in N0. A new namespace copies ip_forward from the host's first namespace, where it is 1 as soon as docker
// runs; N0 has nowhere to forward to, but then a packet for an unknown address would be looked at twice. icmp_ratelimit would
// leave the seventh refused UDP packet without an answer, and its sender waiting.
func gatewaySysctls() []sysctl {
	return append(jailSysctls(), sysctl{"ipv4/ip_forward", "0"}, sysctl{"ipv4/icmp_ratelimit", "0"})
}

// sysctls writes settings for the current thread's namespace. Where /proc/sys is read-only (inside most containers) or the kernel
// lacks the setting it goes on: noIPv6 has another way, and the others are not walls.
func sysctls(settings []sysctl) error {
	for _, s := range settings {
		name := "/proc/sys/net/" + s.name
		err := write(name, s.value)
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		return fmt.Errorf("set %s: %w", name, err)
	}
	return nil
}

func write(name, value string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// noIPv6 sees to it that link, which is down, gets no IPv6 address when it is set up, with or without a writable /proc/sys: it
// asks the kernel to generate none (Linux 3.17). A kernel without IPv6 refuses the family and has nothing to switch off.
func noIPv6(h *netlink.Handle, link netlink.Link) error {
	err := h.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE)
	if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("switch IPv6 off on %s: %w", link.Attrs().Name, err)
	}
	return nil
}
