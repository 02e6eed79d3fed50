package main

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/agentjail/agentjail/sandbox"
)

// An exit status of 130 does not end `while :; do agentjail -- x; done`: shells, make and xargs look whether a signal killed us
// (waitpid(2), WIFSIGNALED). So of a SIGINT or SIGQUIT that the user sent and the command died of, we die too. Scripts, which compare
// with 130, are where nobody sits at a terminal.

// interactive says whether somebody sits at a terminal before us.
func interactive() bool {
	if term.IsTerminal(int(os.Stdin.Fd())) || term.IsTerminal(int(os.Stderr.Fd())) {
		return true
	}
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// die ends this process by the signal, without a core; it returns when the kernel does not want that. Go's runtime answers SIGQUIT
// with its stacks and status 2, so the default disposition is set behind its back; all of a zeroed sigaction is SIG_DFL on every
// architecture.
func die(i sandbox.Interrupt) {
	runtime.LockOSThread()
	if unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) != nil || unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) != nil {
		return
	}
	var action [4]uint64 // handler, flags, restorer, mask: sigaction(2), "C library/kernel differences"
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(i.Signal), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); errno != 0 {
		return
	}
	if i.Group {
		unix.Kill(0, i.Signal)
	}
	unix.Tgkill(os.Getpid(), unix.Gettid(), i.Signal) // to this thread: it is there when the call returns
}
