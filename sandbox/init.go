package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// initMain is PID 1 of the jail: root of U0 with CAP_SETFCAP alone, descriptor 3 its socket to the launcher. It starts the command,
// reaps, forwards signals and ends the jail with the command. It returns its exit status, which nobody reads.
func initMain() int {
	unix.Close(4) // our own binary
	c, err := openChannel(os.NewFile(3, "launcher"))
	if err != nil {
		return exitFailed
	}
	// PID 1 is spared what it does not handle, but Go's runtime handles every signal: a command could end its own jail with
	// SIGQUIT. Ignored ones are set back to the default in the child.
	signal.Ignore()
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)

	start, early, err := awaitStart(c)
	if err != nil {
		return exitFailed
	}
	// No core of a process that holds the launcher's socket; and the command may not attach anyway (other user namespace).
	unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	i := &initProcess{channel: c}
	if err := i.start(start); err != nil {
		c.send(failed(StepInit, err))
		return exitFailed
	}
	if err := c.send(&message{InitRunning: &struct{}{}}); err != nil {
		return exitFailed
	}
	for _, s := range early {
		i.signal(s)
	}
	go i.serve()
	for range children {
		if exited := i.reap(); exited != nil {
			c.send(&message{InitExited: exited})
			return 0
		}
	}
	return exitFailed
}

// awaitStart reads until the launcher says what to start. A signal may overtake that: it is for the command all the same.
func awaitStart(c *channel) (start *initStart, early []*initSignal, err error) {
	for {
		m, err := c.receive()
		if err != nil {
			return nil, nil, err
		}
		if m.InitStart != nil {
			return m.InitStart, early, nil
		}
		if m.InitSignal != nil {
			early = append(early, m.InitSignal)
		}
	}
}

// initProcess is what init knows.
type initProcess struct {
	channel *channel
	command int // pid
}

func (i *initProcess) start(s *initStart) error {
	stdio := [3]*os.File{os.Stdin, os.Stdout, os.Stderr}
	if s.Terminal {
		slave, err := i.terminal(s.Size)
		if err != nil {
			return &Error{Step: StepTerminal, Err: err}
		}
		defer slave.Close()
		stdio[0], stdio[1] = slave, slave
		if !s.Stderr {
			stdio[2] = slave
		}
	}
	pid, err := spawnCommand(s, stdio, func(pid int) error { return setRlimits(pid, s.Rlimits) })
	if err != nil {
		return &Error{Step: spawnStep(err), Err: err}
	}
	i.command = pid
	return nil
}

// setRlimits sets the child's limits before it goes on (prlimit(2)).
func setRlimits(pid int, limits []rlimit) error {
	for _, l := range limits {
		if err := unix.Prlimit(pid, l.Resource, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}, nil); err != nil {
			return fmt.Errorf("prlimit %d: %w", l.Resource, err)
		}
	}
	return nil
}

// terminal makes a pty of the jail's own devpts our controlling terminal and hands its master to the launcher.
func (i *initProcess) terminal(size winsize) (*os.File, error) {
	master, err := os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer master.Close()
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock pty: %w", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Row, Col: size.Col, Xpixel: size.X, Ypixel: size.Y}); err != nil {
		return nil, fmt.Errorf("size of the pty: %w", err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return nil, fmt.Errorf("open the pty's other end: %w", errno)
	}
	slave := os.NewFile(peer, "pty")
	// libcontainer has made us a session leader.
	if err := unix.IoctlSetInt(int(peer), unix.TIOCSCTTY, 0); err != nil {
		return nil, fmt.Errorf("controlling terminal: %w", err)
	}
	return slave, i.channel.send(&message{InitTerminal: &struct{}{}}, master)
}

// serve does what the launcher asks, until it is gone; then the jail is over.
func (i *initProcess) serve() {
	for {
		m, err := i.channel.receive()
		if err != nil {
			os.Exit(exitFailed)
		}
		if m.InitSignal != nil {
			i.signal(m.InitSignal)
		}
	}
}

func (i *initProcess) signal(s *initSignal) {
	pid := i.command
	if s.Group {
		pid = -pid
	}
	unix.Kill(pid, syscall.Signal(s.Signal)) // a command that is already gone is about to be reported
}

// reap waits for whatever has changed and says how the command ended when it did. Orphans of the jail come to us as PID 1.
func (i *initProcess) reap() *initExited {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG|unix.WUNTRACED, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid == 0 {
			return nil
		}
		switch {
		case pid != i.command:
		case status.Stopped():
			i.channel.send(&message{InitStopped: &struct{}{}})
		case status.Exited():
			return &initExited{Code: status.ExitStatus()}
		case status.Signaled():
			return &initExited{Signal: int(status.Signal())}
		}
	}
}
