package main

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

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
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	defer tty.Close()
	var group int32
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, tty.Fd(), syscall.TIOCGPGRP, uintptr(unsafe.Pointer(&group)))
	return errno == 0 && int(group) == syscall.Getpgrp()
}

// die ends this process by the signal, without a core; it returns when the kernel does not want that. Go's runtime answers SIGQUIT
// with its stacks and status 2, so the default disposition is set behind its back; all of a zeroed sigaction is SIG_DFL on every
// architecture.
func die(i sandbox.Interrupt) {
	runtime.LockOSThread()
	if syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}) != nil {
		return
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_DUMPABLE, 0, 0); errno != 0 {
		return
	}
	var action [4]uint64 // handler, flags, restorer, mask: sigaction(2), "C library/kernel differences"
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(i.Signal), uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0); errno != 0 {
		return
	}
	if i.Group {
		syscall.Kill(0, i.Signal)
	}
	// To this thread: it is there when the call returns.
	syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(syscall.Gettid()), uintptr(i.Signal))
}
