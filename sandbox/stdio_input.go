package sandbox

import (
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// input copies a stdin that is no pipe. What the copy has read of a regular file and the command has not is given back when the jail is
// dead: the file's offset belongs to the caller as well, and `while read x; do agentjail -- y; done <list` reads on from there.
type input struct {
	from    *os.File
	left    *os.File // the pipe's reading end, for what is left in it; nil where nothing can be given back
	to      *os.File
	start   int64
	done    chan struct{}
	written int64
}

// newInput starts the copy and gives the command's end.
func newInput(from *os.File, regular bool) (*input, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	in := &input{from: from, to: w, done: make(chan struct{})}
	if start, err := from.Seek(0, io.SeekCurrent); regular && err == nil {
		fd, err := unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, nil, err
		}
		in.start, in.left = start, os.NewFile(uintptr(fd), "stdin")
	}
	go func() {
		defer close(in.done)
		in.written, _ = io.Copy(struct{ io.Writer }{w}, struct{ io.Reader }{from}) // ends with the input, with EPIPE, or with giveBack
		w.Close()
	}()
	return in, r, nil
}

// giveBack is called when nobody in the jail reads any more.
func (in *input) giveBack() {
	if in == nil || in.left == nil {
		return
	}
	in.to.SetWriteDeadline(time.Unix(1, 0)) // it waits for room that nobody makes
	<-in.done                               // a regular file is read without waiting
	if unread, err := unix.IoctlGetInt(int(in.left.Fd()), unix.TIOCINQ); err == nil {
		in.from.Seek(in.start+in.written-int64(unread), io.SeekStart)
	}
	in.left.Close()
}
