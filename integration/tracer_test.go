package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tracer follows a run of agentjail, process by process and system call by system call (ptrace(2)), and knows who is who. Its methods are
// for one thread, which starts the run.
type tracer struct {
	root   int
	status syscall.WaitStatus
	roles  map[int]string                                     // of processes
	of     map[int]int                                        // a thread's process
	call   func(t *tracer, process int, number, first uint64) // told of each system call that begins, with its first argument
	idle   func(t *tracer)                                    // called once when nobody has anything to do
}

// The processes of a run, in the order of their births. A stage is the child of the gateway's that becomes init.
const (
	launcher = "launcher"
	gateway  = "gateway"
	stage    = "stage"
	initRole = "init"
	inside   = "command"
	other    = "other" // root's janitor, and whom the launcher asks
)

const traced = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK |
	unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

// start starts the command. PTRACE_TRACEME, which is what Go has, does not let a stopped process stay stopped (ptrace(2), "Group-stop"), so
// it is let go in its first execve(2), stopped, and seized.
func (t *tracer) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	t.root, t.roles, t.of = cmd.Process.Pid, map[int]string{}, map[int]int{}
	var status unix.WaitStatus
	if _, err := unix.Wait4(t.root, &status, 0, nil); err != nil || !status.Stopped() {
		return fmt.Errorf("wait for %q: %w", cmd.Args, err)
	}
	if err := ptrace(unix.PTRACE_DETACH, t.root, uintptr(unix.SIGSTOP)); err != nil {
		return err
	}
	if _, err := unix.Wait4(t.root, &status, unix.WUNTRACED, nil); err != nil {
		return err
	}
	if err := ptrace(unix.PTRACE_SEIZE, t.root, traced); err != nil {
		return err
	}
	t.roles[t.root], t.of[t.root] = launcher, t.root
	return unix.Kill(t.root, unix.SIGCONT)
}

// follow returns when the last process below this one is gone, which must be within limit.
func (t *tracer) follow(limit time.Duration) error {
	var late error
	ended := make(chan struct{})
	alarm := time.AfterFunc(limit, func() {
		late = end(limit)
		close(ended)
	})
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	quiet := 0
	for {
		flags := unix.WALL
		if t.idle != nil {
			flags |= unix.WNOHANG
		}
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, flags, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			if !alarm.Stop() {
				<-ended
			}
			return late
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case pid > 0:
			quiet = 0
			t.event(pid, status)
			continue
		case t.idle == nil:
			continue
		}
		<-tick.C
		if quiet++; quiet > 2 && t.asleep() {
			idle := t.idle
			t.idle = nil
			idle(t)
		}
	}
}

// end names and kills whoever is left below this process.
func end(limit time.Duration) error {
	var all []error
	for _, pid := range children(os.Getpid()) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		where, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
		all = append(all, fmt.Errorf("still there after %v: %d %q in %q", limit, pid, line, where))
		unix.Kill(pid, unix.SIGKILL)
	}
	return errors.Join(append(all, fmt.Errorf("not over after %v", limit))...)
}

// event handles one stop or end.
func (t *tracer) event(pid int, status unix.WaitStatus) {
	const sysgood = unix.SIGTRAP | 0x80
	if !status.Stopped() {
		if pid == t.root {
			t.status = syscall.WaitStatus(status)
		}
		delete(t.of, pid)
		return
	}
	if _, known := t.of[pid]; !known {
		t.meet(pid)
	}
	sig, event := status.StopSignal(), int(status)>>16
	switch {
	case sig == sysgood:
		t.syscall(pid)
		sig = 0
	case event == unix.PTRACE_EVENT_STOP && slices.Contains([]unix.Signal{unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU}, sig):
		ptrace(unix.PTRACE_LISTEN, pid, 0) // stays stopped
		return
	case event == unix.PTRACE_EVENT_EXEC:
		// A thread that executes becomes its process, and the others are gone.
		process := t.of[pid]
		for tid, of := range t.of {
			if of == process && tid != pid {
				delete(t.of, tid)
			}
		}
		if t.roles[pid] == stage && len(nsPids(pid)) > 2 && nsPids(pid)[2] == "1" {
			t.roles[pid] = initRole
		}
		sig = 0
	case event != 0:
		sig = 0
	}
	how := unix.PTRACE_CONT
	if t.call != nil {
		how = unix.PTRACE_SYSCALL
	}
	ptrace(how, pid, uintptr(sig)) // one that was killed meanwhile has no use for it
}

// meet finds out who a thread is. Its parent waits in its own event until we have let it go, so it is there to be named.
func (t *tracer) meet(pid int) {
	process, parent := int(statusField(pid, "Tgid:")), int(statusField(pid, "PPid:"))
	t.of[pid] = process
	if t.roles[process] != "" {
		return
	}
	role := map[string]string{gateway: stage, initRole: inside, inside: inside}[t.roles[parent]]
	if t.roles[parent] == launcher {
		role = other
		if len(nsPids(pid)) > len(nsPids(t.root)) {
			role = gateway
		}
	}
	t.roles[process] = role
}

// nsPids are the pids of a process in each of its PID namespaces, from ours inwards (proc_pid_status(5)).
func nsPids(pid int) []string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if list, ok := strings.CutPrefix(line, "NSpid:"); ok {
			return strings.Fields(list)
		}
	}
	return nil
}

// syscall tells call of the beginning of a system call.
func (t *tracer) syscall(pid int) {
	if t.call == nil {
		return
	}
	var info struct { // struct ptrace_syscall_info of linux/ptrace.h
		op           uint8
		_            [3]uint8
		_            uint32
		_, _, number uint64
		args         [6]uint64
	}
	const entry = 1
	n, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(pid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno == 0 && n > 0 && info.op == entry {
		t.call(t, t.of[pid], info.number, info.args[0])
	}
}

// alive gives a process of that role, 0 when there is none.
func (t *tracer) alive(role string) int {
	for _, process := range t.of {
		if t.roles[process] == role {
			return process
		}
	}
	return 0
}

// asleep says whether every thread waits for something.
func (t *tracer) asleep() bool {
	for tid := range t.of {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/stat")
		if err == nil && bytes.HasPrefix(text[bytes.LastIndexByte(text, ')'):], []byte(") R")) {
			return false
		}
	}
	return true
}

func ptrace(request, pid int, data uintptr) error {
	if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(pid), 0, data, 0, 0); errno != 0 {
		return fmt.Errorf("ptrace %#x of %d: %w", request, pid, errno)
	}
	return nil
}
