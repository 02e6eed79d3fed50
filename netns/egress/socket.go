package egress

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is what the door needs of a TCP connection; *net.TCPConn is one. It is always used as it is, never inside another type: the
// bytes of a tunnel never enter this process.
type socket interface {
	net.Conn
	CloseWrite() error
	SetLinger(sec int) error
	SetNoDelay(noDelay bool) error
	SyscallConn() (syscall.RawConn, error)
}

// nodelay switches Nagle's algorithm off: a peer that writes in two pieces would wait 44 ms for a delayed acknowledgement. Go does
// so by itself for the sockets that it makes; a socket that came over SCM_RIGHTS was made by somebody else.
func nodelay(s socket) { _ = s.SetNoDelay(true) } // only a socket that is already dead refuses

// reset closes with RST instead of FIN (SO_LINGER of 0, socket(7)): the peer fails at once and does not take a refusal for an
// empty answer.
func reset(s socket) {
	_ = s.SetLinger(0)
	_ = s.Close()
}

// dead says whether the connection is over in both directions.
func dead(s socket) bool {
	const tcpClose = 7 // TCP_CLOSE of include/net/tcp_states.h
	c, err := s.SyscallConn()
	if err != nil {
		return true
	}
	closed := true
	err = c.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		closed = err != nil || info.State == tcpClose
	})
	return err != nil || closed
}

// gone waits until a connection whose end was read is over in the other direction, too: EOF then. http.Server ends the wait with a
// read deadline, as it does with every read.
func gone(s socket) error {
	c, err := s.SyscallConn()
	if err != nil {
		return err
	}
	if err := c.Read(func(uintptr) bool { return dead(s) }); err != nil { // called again at each event of epoll(7), and RST is one
		return err
	}
	return io.EOF
}
