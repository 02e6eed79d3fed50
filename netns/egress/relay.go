package egress

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// socket is what the door needs of a TCP connection; *net.TCPConn is one. It is always used as it is, never inside another type:
// io.Copy between two *net.TCPConn is splice(2), and the bytes never enter this process.
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

// relay copies both ways until both directions are done, and closes both. The end of one direction is passed on as a half-close
// and leaves the other open for as long as it likes; a reset ends both. head is what was read from the client before. It gives the bytes that went from the client (head among them) and to it.
func relay(client, upstream socket, head []byte) (up, down int64) {
	back := make(chan flow, 1)
	go func() { back <- pump(client, upstream, nil) }()
	return finish(client, upstream, pump(upstream, client, head), back)
}

// flow is what became of one direction.
type flow struct {
	bytes int64
	err   error
}

// pump copies one direction to its end and passes the end on: a half-close as a half-close, a reset as a reset.
func pump(dst, src socket, head []byte) flow {
	var f flow
	if len(head) > 0 {
		n, err := dst.Write(head)
		f = flow{int64(n), err}
	}
	if f.err == nil {
		n, err := io.Copy(dst, src)
		f = flow{f.bytes + n, err}
	}
	if f.err == nil {
		f.err = dst.CloseWrite()
	}
	switch {
	case f.err == nil:
	case dead(src):
		reset(dst) // the other direction may be waiting for it, for ever
	case !dead(dst):
		reset(src)
		reset(dst)
	}
	// When dst alone is dead, the other direction reads what it said last (a server that answers 413 and closes while the upload
	// runs) and then its end, without having to wait for anything.
	return f
}

// dead says whether the connection is over in both directions. An error of io.Copy does not say which of the two sockets it is of.
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

// finish waits for the direction back and closes both sockets.
func finish(client, upstream socket, there flow, back <-chan flow) (up, down int64) {
	here := <-back
	if there.err != nil || here.err != nil {
		reset(client)
		reset(upstream)
	}
	_ = client.Close()
	_ = upstream.Close()
	return there.bytes, here.bytes
}
