package sandbox

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// watchSignals catches what the launcher passes on to the command. SIGPIPE is caught so that it does not end us (os/signal): a
// reader that is gone is the command's affair.
func watchSignals() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 32)
	signal.Notify(signals, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP, unix.SIGCONT,
		unix.SIGWINCH, unix.SIGPIPE)
	return signals, func() { signal.Stop(signals) }
}

// handle passes one signal on. What keys send goes to the command's process group, as a terminal would have it; what somebody sends
// to our pid goes to the command's.
func (r *run) handle(s os.Signal) {
	switch s {
	case unix.SIGPIPE:
	case unix.SIGWINCH:
		r.terminal.resize()
	case unix.SIGTSTP:
		r.alone = true
		if r.terminal != nil {
			r.forward(unix.SIGTSTP, true)
		} else {
			// Without a terminal the command leads a session of its own, and SIGTSTP stops nobody there (setpgid(2)).
			r.forward(unix.SIGSTOP, true)
		}
	case unix.SIGCONT:
		r.resume()
	case unix.SIGINT, unix.SIGQUIT:
		r.forward(s.(syscall.Signal), true)
	default:
		r.forward(s.(syscall.Signal), false)
	}
}

func (r *run) forward(s syscall.Signal, group bool) {
	// An init that is gone is about to be noticed.
	r.init.send(&message{InitSignal: &initSignal{Signal: int(s), Group: group}})
}

// stop stops ourselves when the command has stopped, with the terminal as the shell wants it. Ctrl-Z in the jail's terminal is for
// our whole process group, as it would be without a jail: a script around us and the rest of a pipeline stop with us. A SIGTSTP
// that was sent to us has reached the others by itself, or was not meant for them.
func (r *run) stop() {
	r.terminal.restore()
	pid := 0
	if r.alone {
		pid = unix.Getpid()
	}
	r.alone = false
	unix.Kill(pid, unix.SIGSTOP)
}

// resume takes the terminal again and lets the command go on.
func (r *run) resume() {
	if r.terminal != nil {
		r.terminal.raw()
		r.terminal.resize()
	}
	r.forward(unix.SIGCONT, true)
}
