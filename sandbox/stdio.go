package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// streams is what the command gets as stdin, stdout and stderr, and the copies that run beside it.
//
// Nothing of the caller's is handed in but /dev/null and a pipe to read from. Anything else is copied through a pipe of the jail's own,
// because a descriptor is more than its bytes: a regular file opened for reading is reopened for writing through /proc/self/fd/0, a
// pipe that others write to as well (make -j, a CI step) is reopened for reading, and takes O_NONBLOCK for all who have it; a directory
// is a way to the host's files, a socket keeps the network namespace it was born in and can be connected anew, and a terminal takes
// TIOCSTI.
//
// A pipe on stdin is not copied: what a copy has read and the command has not would be missing from whoever reads on after it, the loop
// of `while read x; do agentjail -- y; done` say. The command gets an open file description of its own, whose flags are nobody else's.
// What remains is that it can read all of the pipe, and reopen it for writing. Of a file the rest is given back (stdio_input.go).
type streams struct {
	child   [3]*os.File
	input   *input      // nil where stdin is not copied
	relays  []*relay    // of stdout and stderr
	closing []*os.File  // ours alone: the child's ends, closed when it has them
	over    [2]*os.File // a pipe: the second is closed when the jail is dead, and the relays see the end of the first
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
	if st.over[0], st.over[1], err = os.Pipe(); err != nil {
		return nil, err
	}
	for i, f := range []*os.File{s.In, s.Out, s.Err} {
		name := [...]string{"stdin", "stdout", "stderr"}[i]
		st.child[i], err = null, nil
		switch {
		case terminal && (i < 2 || term.IsTerminal(int(f.Fd()))):
		case i == 2 && st.child[1] != s.Out && sameFile(s.Out, s.Err) && !terminal: // of /dev/null each keeps its own mode
			st.child[2] = st.child[1] // one pipe, so that the order of what is written to both is kept
		default:
			st.child[i], err = st.stream(f, name, null)
		}
		if err != nil {
			st.close()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return st, nil
}

// stream gives the jail's end for one of the caller's descriptors.
func (st *streams) stream(f *os.File, name string, null *os.File) (*os.File, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return nil, err
	}
	input := name == "stdin"
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return nil, errors.New("is a directory: the jail would hold a way into it")
	case unix.S_IFIFO:
		if input {
			return st.reopen(f), nil
		}
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
	if input {
		in, r, err := newInput(f, stat.Mode&unix.S_IFMT == unix.S_IFREG)
		if err != nil {
			return nil, err
		}
		st.input, st.closing = in, append(st.closing, r)
		return r, nil
	}
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	r, w := os.NewFile(uintptr(ends[0]), name), os.NewFile(uintptr(ends[1]), name)
	if err := unix.SetNonblock(ends[0], true); err != nil { // after os.NewFile has looked: poll(2) is the relay's own
		return nil, err
	}
	st.closing = append(st.closing, w)
	st.relays = append(st.relays, newRelay(name, r, ends[0], f, st.over[0]))
	return w, nil
}

// reopen gives a pipe's reading end anew. Another user's cannot be opened, and is handed in as it is.
func (st *streams) reopen(f *os.File) *os.File {
	// O_NONBLOCK: a FIFO whose writer has come and gone would wait for the next (fifo(7)).
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return f
	}
	unix.SetNonblock(fd, false)
	own := os.NewFile(uintptr(fd), f.Name())
	st.closing = append(st.closing, own)
	return own
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

// separate says whether one of the child's streams has a descriptor of its own beside the terminal.
func (st *streams) separate(i int) bool { return st.child[i] != st.child[0] }
