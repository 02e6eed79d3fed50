package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// streams is what the command gets as stdin, stdout and stderr, and the copies that run beside it.
//
// Only pipes and /dev/null are handed in as they are. Anything else is copied through a pipe, because a descriptor is more than
// its bytes: a regular file opened for reading is reopened for writing through /proc/self/fd/0, a directory is a way to the host's
// files, a socket keeps the network namespace it was born in and can be connected anew, and a terminal takes TIOCSTI.
type streams struct {
	child   [3]*os.File
	outputs sync.WaitGroup // copies of stdout and stderr; they end when the last writer in the jail is gone
	closing []*os.File     // ours alone: the child's ends, closed when it has them
}

// Stdio is where the command's streams come from and go to.
type Stdio struct{ In, Out, Err *os.File }

// newStreams looks at each of the caller's descriptors. With terminal, stdin and stdout are left to the pty, and stderr as well
// when it is a terminal.
func newStreams(s Stdio, terminal bool) (*streams, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	st := &streams{closing: []*os.File{null}}
	for i, f := range []*os.File{s.In, s.Out, s.Err} {
		name := [...]string{"stdin", "stdout", "stderr"}[i]
		st.child[i], err = null, nil
		switch {
		case terminal && (i < 2 || term.IsTerminal(int(f.Fd()))):
		case i == 2 && sameFile(s.Out, s.Err) && !terminal:
			st.child[2] = st.child[1] // one pipe, so that the order of what is written to both is kept
		default:
			st.child[i], err = st.stream(f, i == 0, null)
		}
		if err != nil {
			st.close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return st, nil
}

// stream gives the jail's end for one of the caller's descriptors.
func (st *streams) stream(f *os.File, input bool, null *os.File) (*os.File, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return nil, err
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return nil, errors.New("is a directory: the jail would hold a way into it")
	case unix.S_IFIFO:
		return f, nil
	case unix.S_IFCHR:
		if stat.Rdev == unix.Mkdev(1, 3) {
			return f, nil
		}
		// A terminal's input is read ahead by whoever relays it, and would be missing from `agentjail -- ls | less`: without a
		// pty the command has none. --tty always gives it one.
		if input && term.IsTerminal(int(f.Fd())) {
			return null, nil
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if input {
		st.closing = append(st.closing, r)
		go func() {
			io.Copy(w, f) // ends with the input, or with EPIPE when the jail is gone
			w.Close()
		}()
		return r, nil
	}
	st.closing = append(st.closing, w)
	st.outputs.Go(func() {
		io.Copy(f, r)
		r.Close() // a reader that is gone is the command's EPIPE
	})
	return w, nil
}

// sameFile says whether two descriptors are one open file or at least the same inode.
func sameFile(a, b *os.File) bool {
	x, err := a.Stat()
	if err != nil {
		return false
	}
	y, err := b.Stat()
	return err == nil && os.SameFile(x, y)
}

// close lets go of the child's ends.
func (st *streams) close() {
	for _, f := range st.closing {
		f.Close()
	}
	st.closing = nil
}
