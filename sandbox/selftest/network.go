package selftest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// dialTime bounds each step of a conversation. In a jail an address that cannot be reached says so at once.
const dialTime = 10 * time.Second

func networkAttempts() []attempt {
	list := []attempt{
		{name: "host-loopback", why: "the servers that listen for the machine's own users", do: func(t *target) error { return talk(t, "tcp", t.TCP) }},
		{name: "host-loopback-mapped", why: "the same, by IPv6's name for it", do: func(t *target) error {
			return talk(t, "tcp", net.JoinHostPort("::ffff:127.0.0.1", itoa(t.Port)))
		}},
		{name: "host-loopback-any", why: "the same, by the address that means this machine", do: func(t *target) error {
			return talk(t, "tcp", net.JoinHostPort("0.0.0.0", itoa(t.Port)))
		}},
		{name: "host-loopback-other", why: "the same, by another of its addresses", do: func(t *target) error {
			return talk(t, "tcp", net.JoinHostPort("127.8.8.8", itoa(t.Port)))
		}},
		{name: "host-loopback-udp", why: "the servers that listen for the machine's own users", do: func(t *target) error { return talk(t, "udp", t.UDP) }},
		{name: "agent-socket", why: "the signatures of an ssh-agent", do: func(t *target) error {
			return viaDirectory(t.Agent, func(name string) error { return talk(t, "unix", name) })
		}},
		{name: "agent-socket-datagram", why: "messages to a socket of the user's session", do: func(t *target) error {
			return viaDirectory(t.Agent+".dgram", func(name string) error { return connects("unixgram", name) })
		}},
		{name: "abstract-socket", why: "the sockets of the user's session that have no file", do: func(t *target) error {
			return talk(t, "unix", "@"+t.Abstract)
		}},
		{name: "descriptor-socket", why: "a connection that was open when the jail was started", do: inheritedSocket},
		{name: "foreign-resolver", control: namespace, why: "names asked of somebody else, and what they carry", do: func(t *target) error {
			return talk(t, "udp", "203.0.113.53:53")
		}},
		{name: "foreign-resolver-tcp", control: namespace, why: "names asked of somebody else, and what they carry", do: func(t *target) error {
			return talk(t, "tcp", "203.0.113.53:53")
		}},
		{name: "unassigned-address", control: namespace, why: "an address of the door's that stands for no host", do: func(t *target) error {
			return talk(t, "tcp", "198.19.255.254:443")
		}},
		{name: "gateway-other-port", control: namespace, why: "a server on the machine's side of the jail's cable", do: func(t *target) error {
			return talk(t, "tcp", "198.18.0.1:22")
		}},
		{name: "route-change", control: namespace, why: "a way around the door", do: func(*target) error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return ready(err)
			}
			_, to, _ := net.ParseCIDR("198.51.100.0/24")
			return netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: to})
		}},
		{name: "address-change", control: namespace, why: "another jail's or host's address", do: func(*target) error {
			lo, err := netlink.LinkByName("lo")
			if err != nil {
				return ready(err)
			}
			addr, _ := netlink.ParseAddr("198.51.100.1/32")
			return netlink.AddrAdd(lo, addr)
		}},
		{name: "interface-change", control: namespace, why: "an interface of one's own", do: func(*target) error {
			return netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "selftest0"}, PeerName: "selftest1"})
		}},
	}
	for _, a := range []struct{ name, address, why string }{
		{"metadata-service", "169.254.169.254:80", "the credentials of a cloud machine"},
		{"metadata-service-v6", "[fd00:ec2::254]:80", "the credentials of a cloud machine"},
		{"loopback-v6", "[::1]:443", "the servers that listen for the machine's own users"},
		{"private-10", "10.0.0.1:80", "the network around the machine"},
		{"private-172", "172.17.0.1:80", "the network around the machine, and containers"},
		{"private-192", "192.168.0.1:80", "the network around the machine"},
		{"carrier-100", "100.64.0.1:443", "a network behind a carrier's or a VPN's addresses"},
		{"private-v6", "[fd12:3456:789a::1]:443", "the network around the machine"},
		{"public-v4", "203.0.113.7:443", "any host, by its address"},
		{"public-v6", "[2001:db8::7]:443", "any host, by its address"},
	} {
		list = append(list, attempt{name: a.name, why: a.why, control: namespace, do: func(t *target) error { return talk(t, "tcp", a.address) }})
	}
	return defaults(list)
}

// talk is nil when the server at the address answers with the token.
func talk(t *target, network, address string) error {
	conn, err := net.DialTimeout(network, address, dialTime)
	if err != nil {
		return err
	}
	defer conn.Close()
	return ask(conn, "GET / HTTP/1.1\r\nHost: selftest.example\r\n\r\n", t.Token)
}

// viaDirectory gives a socket a short name: sun_path has 108 bytes (unix(7)), and a temporary directory's name may have more.
func viaDirectory(name string, act func(string) error) error {
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close()
	return act(filepath.Join("/proc/self/fd", itoa(int(dir.Fd())), filepath.Base(name)))
}

func connects(network, address string) error {
	conn, err := net.DialTimeout(network, address, dialTime)
	if err == nil {
		conn.Close()
	}
	return err
}

// ask is nil when the answer to a question has the token in it.
func ask(conn net.Conn, question, token string) error {
	_, err := converse(conn, question, token)
	return err
}

// converse gives the answer to a question, which is HTTP from whoever it comes.
func converse(conn net.Conn, question, token string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(dialTime)); err != nil {
		return "", ready(err)
	}
	if _, err := io.WriteString(conn, question); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if !strings.Contains(string(said), token) {
		err = errors.Join(err, errors.New(firstLine(answer.Status+"\n"+string(said))))
	}
	return string(said), err
}

// firstLine is what a refusal says first: the door puts its reason below the status.
func firstLine(said string) string {
	first, rest, _ := strings.Cut(said, "\n")
	for l := range strings.Lines(rest) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(l), "agentjail: "); ok {
			if why, _, cut := strings.Cut(text, "; profile "); cut {
				return why + ")"
			}
			return text
		}
	}
	return strings.TrimSpace(first)
}

// resolve asks the jail's resolver.
func resolve(host string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip4", host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("no address")
	}
	if err != nil {
		return "", err
	}
	return netip.Addr.String(addrs[0]), nil
}

// inheritedSocket looks for a connection that nobody closed.
func inheritedSocket(t *target) error {
	for fd := 3; fd < 256; fd++ {
		if _, err := unix.Getsockname(fd); err != nil {
			continue
		}
		question := []byte("GET / HTTP/1.1\r\n\r\n")
		if err := unix.Sendto(fd, question, unix.MSG_NOSIGNAL, nil); err != nil {
			continue
		}
		timeout := unix.NsecToTimeval(int64(dialTime))
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
		answer := make([]byte, 4096)
		n, _, err := unix.Recvfrom(fd, answer, 0)
		if err == nil && strings.Contains(string(answer[:n]), t.Token) {
			return nil
		}
	}
	return errors.New("no descriptor from 3 to 255 is a connection to the server")
}
