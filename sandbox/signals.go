package sandbox

// unsigned long agentjail_ignored(void);
import "C"

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// CatchSignals keeps for the command, as its caller's first act, the signals that Go's runtime would drop or answer with its stacks (os/signal).
// The others end a process that has no jail yet, as they should. [Options] takes what it gives; signal.Stop undoes it.
func CatchSignals() chan os.Signal {
	signals := make(chan os.Signal, 32)
	catch(signals, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM)
	return signals
}

// watchSignals catches what the launcher passes on to the command. SIGPIPE is caught so that it does not end us (os/signal): a
// reader that is gone is the command's affair, and it gets a SIGPIPE of its own.
func watchSignals(signals chan os.Signal) (_ chan os.Signal, stop func()) {
	if signals == nil {
		signals = CatchSignals()
	}
	catch(signals, unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGTSTP)
	signal.Notify(signals, unix.SIGCONT, unix.SIGWINCH, unix.SIGPIPE)
	return signals, func() { signal.Stop(signals) }
}

// catch leaves those ignored that our caller ignores, as a program without handlers would: who says nohup wants the run to go on.
func catch(signals chan os.Signal, list ...syscall.Signal) {
	for _, s := range list {
		if C.agentjail_ignored()>>(s-1)&1 != 0 {
			signal.Ignore(s)
		} else {
			signal.Notify(signals, s)
		}
	}
}

// handle passes one signal on. What keys send goes to the command's process group, as a terminal would have it; what somebody sends
// to our pid goes to the command's.
func (r *run) handle(s os.Signal) {
	switch s {
	case unix.SIGPIPE:
	case unix.SIGWINCH:
		r.terminal.resize()
	case unix.SIGTSTP:
		if r.own || orphaned() {
			r.own = false
			return
		}
		r.told = true
		if r.terminal != nil {
			r.forward(unix.SIGTSTP, true)
		} else {
			// Without a terminal the command leads a session of its own, and SIGTSTP stops nobody there (setpgid(2)).
			r.forward(unix.SIGSTOP, true)
		}
	case unix.SIGCONT:
		r.told = false // a stop that is still under way is over before it has begun
		r.resume()
	case unix.SIGHUP:
		r.forward(unix.SIGHUP, false)
		r.forward(unix.SIGCONT, true) // a stopped command would never notice, and nobody is left to wake it (setpgid(2))
	case unix.SIGINT, unix.SIGQUIT:
		r.sent = s.(syscall.Signal)
		r.forward(r.sent, true)
	default:
		r.forward(s.(syscall.Signal), false)
	}
}

func (r *run) forward(s syscall.Signal, group bool) {
	if s != unix.SIGCONT && s != unix.SIGSTOP && s != unix.SIGTSTP { // none of which is anybody's end
		r.passed = s
	}
	if err := r.init.signal(s, group); err != nil {
		r.missed = r.passed // an init that is gone is about to be noticed
	}
}

// stopped is told when the command has stopped. We stop with it when somebody outside wanted that, and never because the command did:
// it may stop itself as often as it likes, but our process group, the timer of the wall-time limit and the door are not its own.
//
// A SIGTSTP that was sent to us has reached our group's others by itself, or was not meant for them; in an orphaned group it stops
// nobody, us neither (setpgid(2)). Ctrl-Z in the jail's terminal
// is for the whole group, as it would be without a jail: a script around us and the rest of a pipeline stop with us; not in an
// orphaned group, which no shell could wake again.
func (r *run) stopped() {
	switch {
	case r.told && !orphaned():
		r.told = false
		r.terminal.restore()
		unix.Kill(os.Getpid(), unix.SIGSTOP)
	case r.terminal != nil && r.terminal.wantsStop() && !orphaned():
		r.terminal.restore()
		r.own = true // Go's handler stays once it is there (os/signal), so the group's signal comes to us as well
		unix.Kill(0, unix.SIGTSTP)
		unix.Kill(os.Getpid(), unix.SIGSTOP)
	}
}

// orphaned says whether our process group is: none of its members has a parent in another group of the session. Members are looked
// for among our ancestors, which is where a shell's jobs have them.
func orphaned() bool {
	group := unix.Getpgrp()
	session, err := unix.Getsid(0)
	for pid := os.Getppid(); err == nil && pid > 0; pid = parent(pid) {
		s, serr := unix.Getsid(pid)
		g, gerr := unix.Getpgid(pid)
		if serr != nil || gerr != nil || s != session {
			return true
		}
		if g != group {
			return false
		}
	}
	return true
}

// parent reads proc_pid_stat(5); the command's name in it may hold anything, parentheses too. 0: there is none.
func parent(pid int) (ppid int) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fmt.Sscanf(string(data[bytes.LastIndexByte(data, ')')+1:]), " %1s %d", new(string), &ppid)
	return ppid
}

// resume takes the terminal again and lets the command go on.
func (r *run) resume() {
	if r.terminal != nil {
		r.terminal.raw()
		r.terminal.resize()
	}
	r.forward(unix.SIGCONT, true)
}
