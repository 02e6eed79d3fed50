package egress

import (
	"errors"

	"golang.org/x/sys/unix"
)

const (
	pipeSize  = 256 << 10 // bytes that one direction of a tunnel holds at most while its receiver does not take them
	sparePipe = 4         // pipes that are kept for the next bytes
)

// flow is one direction of a tunnel.
type flow struct {
	from, to int
	begun    bool
	ended    bool        // there is no more to read
	done     bool        // and the end was passed on, or could not be
	failed   bool        // it could not be
	pipe     *splicePipe // nil: nothing is held
	held     int         // bytes in the pipe
	bytes    int64       // that were passed on
	urgent   bool        // the sender has sent urgent data
	why      error       // the door could not go on
}

// past reads on behind urgent data, where splice(2) stops and says that there is nothing or that this is the end: read(2) leaves the
// urgent byte out, as it does for everybody who did not ask for it (tcp(7)).
func (f *flow) past() (int, error) {
	buf := make([]byte, 4096) // PIPE_BUF: an empty pipe takes it whole
	n, err := unix.Read(f.from, buf)
	if n <= 0 {
		return 0, err
	}
	return unix.Write(f.pipe.w, buf[:n])
}

// move moves what can be moved at once, one pipe full at most. broken: there is no sense in the other direction, either.
func (f *flow) move(of *relays) (moved, broken bool) {
	if !f.begun || f.done {
		return false, false
	}
	if !f.ended && f.held < pipeSize {
		if f.pipe == nil {
			var err error
			if f.pipe, err = of.pipe(); err != nil {
				f.why = err
				return false, true
			}
		}
		n, err := splice(f.from, f.pipe.w, pipeSize-f.held)
		if n == 0 && f.held == 0 && (err == nil || f.urgent) {
			n, err = f.past()
		}
		switch {
		case err == nil && n == 0:
			f.ended, moved = true, true
		case err == nil:
			f.held += n
			moved = true
		case !errors.Is(err, unix.EAGAIN):
			return false, true // the sender was reset, and who receives hears of it
		}
	}
	if f.held > 0 {
		n, err := splice(f.pipe.r, f.to, f.held)
		switch {
		case err == nil:
			f.held -= n
			f.bytes += int64(n)
			moved = true
		case !errors.Is(err, unix.EAGAIN):
			// The receiver is gone. The other direction reads what it said last (a server that answers 413 and closes while the upload
			// runs) and then its end, without having to wait for anything.
			f.done, f.failed = true, true
			f.drop()
			return true, false
		}
	}
	if f.held == 0 && f.pipe != nil {
		of.give(f.pipe)
		f.pipe = nil
	}
	if f.ended && f.held == 0 {
		f.done = true
		f.failed = unix.Shutdown(f.to, unix.SHUT_WR) != nil
	}
	return moved, false
}

// drop forgets what is held.
func (f *flow) drop() {
	if f.pipe != nil {
		f.pipe.close()
	}
	f.pipe, f.held = nil, 0
}

// splice moves up to n bytes; 0 without an error is the end.
func splice(from, to, n int) (int, error) {
	for {
		moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(moved), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}

// splicePipe is a pipe(7) that splice(2) moves bytes through.
type splicePipe struct{ r, w int }

// pipe gives an empty one.
func (r *relays) pipe() (*splicePipe, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.spare); n > 0 {
		p := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return p, nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // a user who has many pipes gets smaller ones (pipe(7))
	return &splicePipe{fds[0], fds[1]}, nil
}

func (p *splicePipe) close() { _, _ = unix.Close(p.r), unix.Close(p.w) }

// give takes an empty pipe back.
func (r *relays) give(p *splicePipe) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spare) < sparePipe && !r.closed {
		r.spare = append(r.spare, p)
	} else {
		p.close()
	}
}
