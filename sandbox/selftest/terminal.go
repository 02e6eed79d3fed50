package selftest

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func terminalAttempts() []attempt {
	high := uintptr(1) << 32
	return defaults([]attempt{
		{name: "terminal-type", why: "words typed into the user's shell (CVE-2017-5226)", do: onTerminal(unix.TIOCSTI)},
		{name: "terminal-type-high-bit", why: "the same, by a number with a bit that the kernel drops (CVE-2019-10063)", do: onTerminal(unix.TIOCSTI | high)},
		{name: "terminal-type-high-bits", why: "the same, by a number with bits that the kernel drops", do: onTerminal(unix.TIOCSTI | ^uintptr(1<<32-1))},
		{name: "terminal-type-controlling", why: "the same, by the name of the controlling terminal", do: func(*target) error {
			f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
			if err != nil {
				return ready(err)
			}
			defer f.Close()
			return request(f.Fd(), unix.TIOCSTI)
		}},
		{name: "terminal-paste", why: "the console's selection typed into it (CVE-2023-28100)", do: onTerminal(unix.TIOCLINUX)},
		{name: "terminal-paste-high-bit", why: "the same, by a number with a bit that the kernel drops", do: onTerminal(unix.TIOCLINUX | high<<8)},
		{name: "terminal-discipline", why: "line disciplines with bugs (CVE-2017-2636)", do: onTerminal(unix.TIOCSETD)},
		{name: "terminal-discipline-high-bit", why: "the same, by a number with a bit that the kernel drops", do: onTerminal(unix.TIOCSETD | high)},
		{name: "terminal-of-the-user", why: "the user's terminal, its input and its settings", do: func(t *target) error {
			for fd := range 256 {
				if is(fd, t.TTY) {
					return nil
				}
			}
			return errNotTheHosts
		}},
		{name: "terminal-by-name", why: "the user's terminal, by the name of the controlling one", do: func(t *target) error {
			f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
			if err != nil {
				return ready(err)
			}
			defer f.Close()
			n, err := os.Readlink("/proc/self/fd/0")
			if err != nil {
				return ready(err)
			}
			return sameTerminal(n, t.TTY)
		}},
		{name: "terminals-of-others", why: "the user's other terminals", do: func(t *target) error {
			entries, err := os.ReadDir("/dev/pts")
			if err != nil {
				return err
			}
			for _, e := range entries {
				if sameTerminal("/dev/pts/"+e.Name(), t.TTY) == nil {
					return nil
				}
			}
			return errNotTheHosts
		}},
	})
}

// onTerminal makes a request of standard input's terminal that must not even be looked at. The kernel's own answers are success, EIO
// (dev.tty.legacy_tiocsti, Linux 6.2) and ENOTTY or EINVAL.
func onTerminal(number uintptr) func(*target) error {
	return func(*target) error {
		if _, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ); err != nil {
			return ready(errors.New("standard input is no terminal"))
		}
		return request(0, number)
	}
}

func request(fd, number uintptr) error {
	var argument [8]byte // the character NUL; paste with subcommand 0 is none; the line discipline N_TTY
	return reached(call(unix.SYS_IOCTL, fd, number, address(&argument)))
}

// is says whether a descriptor is that file.
func is(fd int, want inode) bool {
	var s unix.Stat_t
	return unix.Fstat(fd, &s) == nil && inode{s.Dev, s.Ino} == want
}

func sameTerminal(name string, want inode) error {
	fd, err := unix.Open(name, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !is(fd, want) {
		return errNotTheHosts
	}
	return nil
}
