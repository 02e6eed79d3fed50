package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Launcher and gateway talk over a socket pair. A message is a 4-byte length (big endian), then a parcel (parcel.go);
// descriptors ride on its first byte (unix(7), SCM_RIGHTS). What launcher and init say to each other over another pair stands in init.go.
//
//	launcher                     gateway                       init
//	   │  gatewayStart + fds ────► │                             │   the acts to do: mounts, ports; stdio, init's end of the pair
//	   │  gatewayTrees + fds ────► │                             │   from a launcher of uid 0: the binds' sources
//	   │ ◄──────── gatewaySockets  │                             │   the door's listeners, born in N0
//	   │  gatewayLate + fd ──────► │                             │   contents that were being made meanwhile: the trust stores
//	   │                           │ ────────── clone ─────────► │
//	   │ ◄───────────────────────────────────────────────────────┤   init.go
//	   │ ◄──────── gatewayGone     │ ◄──────── wait(2) ───────── ╵
//
// The gateway may send a failure instead, and then exits. End of file on either socket means that the launcher is
// gone: gateway and init exit at once, and with PID 1 the kernel ends everything in the jail.

// message is one message of either direction; exactly one field is set.
type message struct {
	GatewayStart   *gatewayStart
	GatewayTrees   bool // descriptors alone
	GatewaySockets *gatewaySockets
	GatewayLate    bool // a memfd with the late mounts and their contents (parcel.go)
	GatewayGone    *gatewayGone
	Failure        *failure

	files []*os.File // the descriptors that came with it
}

// gatewayStart tells the gateway its acts. Descriptors: the command's stdin, stdout and stderr; init's socket; our own binary; a memfd
// with the mounts (parcel.go). The sources that a launcher of uid 0 has opened (Trees) follow in messages of their own: SCM_RIGHTS
// carries 253 descriptors at most.
type gatewayStart struct {
	Trees    []int // indexes into the mounts, in the order in which their descriptors follow
	Door     bool
	Ports    []uint16
	Hostname string
	// Namespaces is how many user namespaces the command may make: 0 but for groups of system calls that need them.
	Namespaces int
}

// gatewaySockets brings the door's sockets: the UDP one for DNS first, then a TCP listener for each port asked for, in order.
// More says that another of these messages follows.
type gatewaySockets struct{ More bool }

// gatewayGone says that init has died; the status is wait(2)'s.
type gatewayGone struct{ Status int }

// failure is a step that did not happen, as data: errors do not cross a process boundary.
type failure struct {
	Step    string
	Message string
	Errno   int // 0 when no system call failed
}

func (f *failure) err() error { return &remoteError{f.Message, unix.Errno(f.Errno)} }

// remoteError is an error of the gateway; errors.Is sees its errno.
type remoteError struct {
	text  string
	errno unix.Errno
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// failed puts an error of this process into words that travel.
func failed(step string, err error) *message {
	f := &failure{Step: step, Message: err.Error()}
	if e, ok := errors.AsType[*Error](err); ok {
		f.Step, f.Message = e.Step, e.Err.Error()
	}
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		f.Errno = int(errno)
	}
	return &message{Failure: f}
}

// The kinds of message, the first number of a parcel.
const (
	kindStart = iota + 1
	kindTrees
	kindSockets
	kindGone
	kindFailure
	kindLate
)

func (m *message) pack() []byte {
	var p parcel
	switch {
	case m.GatewayStart != nil:
		s := m.GatewayStart
		p.number(kindStart)
		p.number(int64(len(s.Trees)))
		for _, t := range s.Trees {
			p.number(int64(t))
		}
		p.number(int64(len(s.Ports)))
		for _, port := range s.Ports {
			p.number(int64(port))
		}
		p.flags(s.Door)
		p.text(s.Hostname)
		p.number(int64(s.Namespaces))
	case m.GatewayTrees:
		p.number(kindTrees)
	case m.GatewayLate:
		p.number(kindLate)
	case m.GatewaySockets != nil:
		p.number(kindSockets)
		p.flags(m.GatewaySockets.More)
	case m.GatewayGone != nil:
		p.number(kindGone)
		p.number(int64(m.GatewayGone.Status))
	case m.Failure != nil:
		p.number(kindFailure)
		p.text(m.Failure.Step)
		p.text(m.Failure.Message)
		p.number(int64(m.Failure.Errno))
	}
	return p.b
}

func (m *message) unpack(b []byte) error {
	u := unpacker{b: b}
	switch kind := u.number(); kind {
	case kindStart:
		s := new(gatewayStart)
		s.Trees = make([]int, u.count())
		for i := range s.Trees {
			s.Trees[i] = int(u.number())
		}
		s.Ports = make([]uint16, u.count())
		for i := range s.Ports {
			s.Ports[i] = uint16(u.number())
		}
		u.flags(&s.Door)
		s.Hostname, s.Namespaces = u.text(), int(u.number())
		m.GatewayStart = s
	case kindTrees:
		m.GatewayTrees = true
	case kindLate:
		m.GatewayLate = true
	case kindSockets:
		m.GatewaySockets = new(gatewaySockets)
		u.flags(&m.GatewaySockets.More)
	case kindGone:
		m.GatewayGone = &gatewayGone{int(u.number())}
	case kindFailure:
		m.Failure = &failure{Step: u.text(), Message: u.text(), Errno: int(u.number())}
	default:
		return fmt.Errorf("a message of kind %d", kind)
	}
	return u.end()
}

// maxMessage bounds what is read. Bytes.
const maxMessage = 1 << 20

// maxFDs is the kernel's SCM_MAX_FD.
const maxFDs = 253

// channel is one end of a socket pair. Sends may come from several goroutines; receives from one.
type channel struct {
	conn *net.UnixConn
	mu   sync.Mutex
}

// newChannel makes a pair: ours, and the end that a child inherits.
func newChannel() (*channel, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	ours, err := openChannel(os.NewFile(uintptr(fds[0]), "channel"))
	return ours, os.NewFile(uintptr(fds[1]), "channel"), err
}

// openChannel makes a channel of an inherited end, which it takes over.
func openChannel(f *os.File) (*channel, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("inherited socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("inherited descriptor is no unix socket")
	}
	return &channel{conn: u}, nil
}

func (c *channel) Close() error { return c.conn.Close() }

// send writes one message and its descriptors.
func (c *channel) send(m *message, files ...*os.File) error {
	body := m.pack()
	buf := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	buf = append(buf, body...)
	var oob []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n, _, err := c.conn.WriteMsgUnix(buf, oob, nil)
	if err != nil || n == len(buf) { // an empty write would fail when the other side has read all and is gone
		return err
	}
	_, err = c.conn.Write(buf[n:])
	return err
}

// receive reads one message. io.EOF means that the other side is gone.
func (c *channel) receive() (*message, error) {
	m := new(message)
	var head [4]byte
	if err := c.read(head[:], m); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	body := make([]byte, n)
	if err := c.read(body, m); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return m, m.unpack(body)
}

// claim hands over the descriptors that came with the message; there must be n of them.
func (m *message) claim(n int) ([]*os.File, error) {
	files := m.files
	m.files = nil
	if len(files) != n {
		for _, f := range files {
			f.Close()
		}
		return nil, fmt.Errorf("%d descriptors came where %d were due", len(files), n)
	}
	return files, nil
}

// read fills p and keeps the descriptors that arrive on the way.
func (c *channel) read(p []byte, m *message) error {
	oob := make([]byte, unix.CmsgSpace(maxFDs*4))
	for done := 0; done < len(p); {
		n, oobn, flags, _, err := c.conn.ReadMsgUnix(p[done:], oob)
		if errors.Is(err, io.EOF) || err == nil && n == 0 && oobn == 0 {
			return io.EOF // bare: callers compare
		}
		if err != nil {
			return err
		}
		if flags&unix.MSG_CTRUNC != 0 {
			return errors.New("descriptors were cut off: the limit on open files is too low")
		}
		if oobn > 0 {
			if err := m.keep(oob[:oobn]); err != nil {
				return err
			}
		}
		done += n
	}
	return nil
}

func (m *message) keep(oob []byte) error {
	cmsgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for i := range cmsgs {
		fds, err := unix.ParseUnixRights(&cmsgs[i])
		if err != nil {
			return err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			m.files = append(m.files, os.NewFile(uintptr(fd), "inherited"))
		}
	}
	return nil
}
