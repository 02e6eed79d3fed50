package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// dnsPort is where resolvers ask.
const dnsPort = 53

// backlog is how many connections wait to be accepted per port; the kernel lowers it to net.core.somaxconn (4096 from Linux 5.4).
const backlog = 4096

// Listen makes the door's sockets in the calling thread's network namespace: one TCP listener per port on every address (the
// i-th is for ports[i], which are distinct), and the DNS socket, UDP 53 on the gateway's own address. Ports below 1024 need
// CAP_NET_BIND_SERVICE in the user namespace that owns it. The sockets are non-blocking and close-on-exec.
func Listen(ports []uint16) (tcp []*os.File, udp *os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range tcp {
				f.Close()
			}
			tcp = nil
		}
	}()
	for _, port := range ports {
		f, err := listenTCP(port)
		if err != nil {
			return tcp, nil, fmt.Errorf("listen on TCP port %d: %w", port, err)
		}
		tcp = append(tcp, f)
	}
	udp, err = bindUDP(netip.AddrPortFrom(Gateway(), dnsPort))
	if err != nil {
		return tcp, nil, fmt.Errorf("bind the DNS socket: %w", err)
	}
	return tcp, udp, nil
}

// listenTCP listens on every IPv4 address. The namespace is new, so no connection of an earlier life lingers and SO_REUSEADDR is
// not needed; TCP_NODELAY is inherited by what is accepted (tcp(7)).
func listenTCP(port uint16) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(port)})
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), fmt.Sprintf("tcp:%d", port)), nil
}

// bindUDP binds one address: an answer to a query that was sent elsewhere would come from the wrong one.
func bindUDP(at netip.AddrPort) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "udp:"+at.String()), nil
}
