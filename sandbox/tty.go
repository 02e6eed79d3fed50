package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// terminal relays between the caller's terminal and the master end of the jail's pty. The caller's terminal is raw meanwhile: keys
// travel as bytes, and the jail's own line discipline makes signals of them, for the jail's foreground job alone.
type terminal struct {
	in, out *os.File
	mu      sync.Mutex
	saved   *term.State // nil while the caller's terminal is as we found it
	master  *os.File
	output  *relay       // of what comes out of the jail
	stopKey atomic.Bool  // Ctrl-Z was typed since the command last stopped
	endKey  atomic.Int32 // the signal that Ctrl-C or Ctrl-\ makes, when that was typed last
}

// wantsTerminal decides for a mode of --tty.
func wantsTerminal(mode string, s Stdio) bool {
	switch mode {
	case "always":
		return true
	case "never":
		return false
	}
	return term.IsTerminal(int(s.In.Fd())) && term.IsTerminal(int(s.Out.Fd()))
}

// size is the caller's, or that of a VT100 where there is none.
func (t *terminal) size() winsize {
	for _, f := range []*os.File{t.out, t.in} {
		if ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
			return winsize{ws.Row, ws.Col, ws.Xpixel, ws.Ypixel}
		}
	}
	return winsize{Row: 24, Col: 80}
}

// raw takes the caller's terminal. In the background this stops us (SIGTTOU), as it does any program.
func (t *terminal) raw() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved != nil || !term.IsTerminal(int(t.in.Fd())) {
		return nil
	}
	state, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return fmt.Errorf("make the terminal raw: %w", err)
	}
	t.saved = state
	return nil
}

// restore gives the caller's terminal back. It may be called at any time and any number of times.
func (t *terminal) restore() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved != nil {
		term.Restore(int(t.in.Fd()), t.saved)
		t.saved = nil
	}
}

// resize tells the jail's terminal the caller's size; the kernel sends SIGWINCH inside.
func (t *terminal) resize() {
	if t == nil || t.master == nil {
		return
	}
	s := t.size()
	unix.IoctlSetWinsize(int(t.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: s.Row, Col: s.Col, Xpixel: s.X, Ypixel: s.Y})
}

// relay starts both directions on the pty's master. over is the relay's.
func (t *terminal) relay(master, over *os.File) error {
	// A descriptor of its own, not blocking before os.NewFile looks: then the poller takes it. Two Files of one descriptor would close it
	// twice, the second time under whoever has the number by then.
	fd, err := unix.FcntlInt(master.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	master.Close()
	if err != nil {
		return fmt.Errorf("dup: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return err
	}
	t.master = os.NewFile(uintptr(fd), "pty")
	if err := t.raw(); err != nil {
		return err
	}
	t.resize()
	go func() {
		_, err := io.Copy(t.master, keys{t})
		// The caller's input has ended (--tty always < file): the jail's terminal says so as a user does.
		if err == nil {
			t.master.Write([]byte{4})
		}
	}()
	t.output = newRelay("stdout", t.master, fd, t.out, over)
	return nil
}

// keys is the caller's terminal as it types.
type keys struct{ t *terminal }

// Read notes Ctrl-Z, as a byte or as the kitty keyboard protocol spells it (CSI 122;5u), and Ctrl-C and Ctrl-\ as bytes: only these
// become signals by themselves.
func (k keys) Read(p []byte) (int, error) {
	n, err := k.t.in.Read(p)
	if bytes.IndexByte(p[:n], 0x1a) >= 0 || bytes.Contains(p[:n], []byte("\x1b[122;5")) {
		k.t.stopKey.Store(true)
	}
	if i := bytes.LastIndexAny(p[:n], "\x03\x1c"); i >= 0 {
		k.t.endKey.Store(map[byte]int32{0x03: int32(unix.SIGINT), 0x1c: int32(unix.SIGQUIT)}[p[i]])
	} else if len(bytes.Trim(p[:n], "\r\n")) > 0 {
		k.t.endKey.Store(0) // the user goes on: the command has survived the key, and does not die of it later
	}
	return n, err
}

// wantsStop says whether the user asked for the stop that the jail reports: Ctrl-Z was typed, and we are the foreground job.
func (t *terminal) wantsStop() bool { return t.stopKey.Swap(false) && t.foreground() }

// wantsEnd says whether the user typed the key that makes this signal, and we are the foreground job.
func (t *terminal) wantsEnd(s unix.Signal) bool {
	return t != nil && t.endKey.Load() == int32(s) && t.foreground()
}

func (t *terminal) foreground() bool {
	group, err := unix.IoctlGetInt(int(t.in.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// interruptible makes keys into signals again, for us, when nobody is left inside for whom the jail's own terminal could.
func (t *terminal) interruptible() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.saved == nil || !t.foreground() {
		return
	}
	fd := int(t.in.Fd())
	if mode, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
		mode.Lflag |= unix.ISIG
		unix.IoctlSetTermios(fd, unix.TCSETS, mode)
	}
}
