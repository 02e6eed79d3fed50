package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// relay carries what the jail writes to one of the caller's descriptors: out of a pipe, or of the master of the jail's pty.
//
// A pipe of the caller's is filled by splice(2), which moves whole buffers: nothing is copied, and a write of up to PIPE_BUF bytes
// stays one (pipe(7)), as writers that share a log with others rely on. Everything else is read and written.
type relay struct {
	name     string // stdout, stderr
	from, to *os.File
	fd       int  // from's, not blocking
	pipe     bool // both are
	unnamed  bool // and to is one that nobody can open anew: without a reader it never has one again
	tty      bool // from is a pty's master
	buf      []byte
	over     *os.File      // is at its end when the jail is dead
	left     int           // then: how many bytes may still come
	done     chan struct{} // closed when nothing more comes
	err      error         // what could not be written; nobody reads it before done
}

// leftInPty is more than a pty holds: the line discipline's 4 KiB and what n_tty has not yet seen. Bytes.
const leftInPty = 64 << 10

// newRelay starts one; fd is from's.
func newRelay(name string, from *os.File, fd int, to, over *os.File) *relay {
	r := &relay{name: name, from: from, fd: fd, to: to, over: over, done: make(chan struct{})}
	_, err := unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
	r.tty = err != nil
	if isFIFO(to) && !r.tty {
		var at unix.Statfs_t
		r.pipe = true
		r.unnamed = unix.Fstatfs(int(to.Fd()), &at) == nil && at.Type == unix.PIPEFS_MAGIC
	}
	go r.run()
	return r
}

// run ends with the last writer in the jail, with the reader outside, or when the jail is dead and what it left is carried.
//
// A reader that is gone, and a disk that is full, are the command's EPIPE: its pipe is closed. A pty has none to give, and the command
// writes on.
func (r *relay) run() {
	defer close(r.done)
	if !r.tty {
		defer r.from.Close() // a terminal's is for its keys as well
	}
	for {
		n, err := r.move()
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if err := r.wait(); err != nil {
				return
			}
		case err != nil:
			r.err = r.failure(err)
			if !r.tty {
				return
			}
			r.to = nil
		case n == 0:
			return
		case r.left > 0:
			if r.left -= n; r.left <= 0 {
				return // who writes now is not of this jail
			}
		}
	}
}

// move carries what is there. 0 is the end, EAGAIN that nothing is there, or no room.
func (r *relay) move() (int, error) {
	size := 1 << 20 // more than a pipe of an ordinary user holds
	if r.left > 0 {
		size = r.left
	}
	if r.pipe {
		n, err := unix.Splice(r.fd, nil, int(r.to.Fd()), nil, size, unix.SPLICE_F_NONBLOCK)
		if err != unix.EINVAL && err != unix.ENOSYS {
			return int(n), err
		}
		r.pipe = false // a kernel that is none of Linux's own
	}
	if r.buf == nil {
		r.buf = make([]byte, 64<<10)
	}
	n, err := unix.Read(r.fd, r.buf[:min(size, len(r.buf))])
	if err == unix.EIO {
		return 0, nil // what a master gives when the last slave is closed (pty(7))
	}
	if err != nil || n == 0 || r.to == nil {
		return n, err
	}
	return n, r.write(r.buf[:n])
}

// write writes all of p, also where somebody has made the caller's descriptor one that does not block.
func (r *relay) write(p []byte) error {
	fd := int(r.to.Fd())
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		switch {
		case err == unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		case err != nil && err != unix.EINTR:
			return err
		}
		p = p[max(n, 0):]
	}
	return nil
}

// errDrained says that the jail is dead and what it has left is carried.
var errDrained = errors.New("drained")

// wait returns when move is worth another try.
func (r *relay) wait() error {
	const from, over, to = 0, 1, 2
	fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(r.over.Fd())}, {Fd: -1}}
	if r.unnamed {
		fds[to].Fd = int32(r.to.Fd()) // POLLERR alone: the command learns at its next write that the reader is gone, not at the one after
	}
	timeout := -1
	if r.left > 0 {
		fds[over].Fd, timeout = -1, 0
	}
	n, err := unix.Poll(fds, timeout)
	switch {
	case err == unix.EINTR:
		return nil
	case err != nil:
		return err
	case n == 0:
		return errDrained
	case fds[to].Revents != 0:
		return unix.EPIPE
	case fds[over].Revents != 0:
		if r.left, err = unix.FcntlInt(uintptr(r.fd), unix.F_GETPIPE_SZ, 0); err != nil {
			r.left = leftInPty
		}
	}
	if r.pipe && fds[from].Revents&unix.POLLIN != 0 {
		unix.Poll([]unix.PollFd{{Fd: int32(r.to.Fd()), Events: unix.POLLOUT}}, -1)
	}
	return nil
}

// failure is what a person has to know of a failed write: not that a reader has had enough.
func (r *relay) failure(err error) error {
	if err == unix.EPIPE || err == unix.ECONNRESET || err == unix.EIO && isCharDevice(r.to) {
		return nil
	}
	return fmt.Errorf("%s: %w", r.name, &fs.PathError{Op: "write", Path: r.to.Name(), Err: err})
}

func isCharDevice(f *os.File) bool { return hasMode(f, fs.ModeCharDevice) }
func isFIFO(f *os.File) bool       { return hasMode(f, fs.ModeNamedPipe) }

func hasMode(f *os.File, mode fs.FileMode) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&mode != 0
}
