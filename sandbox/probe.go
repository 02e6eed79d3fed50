package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/agentjail/agentjail/netns"
	"github.com/agentjail/agentjail/seccomp"
)

// A probe is a throwaway process of doctor's. Its stages are those of a launch: the gateway starts the jail, and that the command.
const (
	probeName    = "agentjail-probe" // argv[0]
	probeExit    = "exit"            // ends at once: that it could be started is the result
	probeWait    = "wait"            // lives as long as its stdin
	probeGateway = "gateway"
	probeJail    = "jail"
	probeLast    = "command"
)

// reexecProbe does a probe's work when this process is one, and then does not return.
func reexecProbe() {
	if len(os.Args) != 2 || os.Args[0] != probeName {
		return
	}
	runtime.LockOSThread() // PR_SET_PDEATHSIG of the next probe follows the thread
	p := &prober{out: json.NewEncoder(os.Stdout)}
	switch os.Args[1] {
	case probeWait:
		io.Copy(io.Discard, os.Stdin)
	case probeGateway:
		p.gateway()
	case probeJail:
		p.jail()
	case probeLast:
		p.command()
	}
	unix.Exit(0) // exit_group(2) itself: there is nothing to flush, and under the race detector os.Exit takes a second
}

// probed is one line of a probe's stdout.
type probed struct {
	Step    string
	Call    string
	Message string
	Errno   int
}

func (p probed) err() error {
	if p.Message == "" {
		return nil
	}
	return &remoteError{p.Message, unix.Errno(p.Errno)}
}

type prober struct{ out *json.Encoder }

// must is for what a step needs besides: it tells of a failure alone.
func (p *prober) must(step, call string, err error) {
	if err != nil {
		p.try(step, call, err)
	}
}

// try tells how one act went; a probe ends with its first failure.
func (p *prober) try(step, call string, err error) {
	r := probed{Step: step, Call: call}
	if err != nil {
		r.Message = err.Error()
		var errno unix.Errno
		if errors.As(err, &errno) {
			r.Errno = int(errno)
		}
	}
	p.out.Encode(r)
	if err != nil {
		unix.Exit(0) // the failure has been told
	}
}

// gateway does what the gateway does between its clone and the jail's.
func (p *prober) gateway() {
	p.try(StepMountNamespace, "mount(MS_PRIVATE) /", unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
	p.try(StepProc, "mount(proc) /proc", mountProc())
	tree, err := openTree(&Mount{Kind: KindBind, Source: "/usr", ReadOnly: true})
	p.try(StepRoot, "open_tree, mount_setattr(MOUNT_ATTR_RDONLY) /usr", err)
	p.try(StepRoot, "mount(tmpfs) "+privateDir, unix.Mount("agentjail", privateDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"))
	p.must(StepRoot, "mkdir "+rootDir, os.Mkdir(rootDir, 0o755))
	p.try(StepRoot, "move_mount "+rootDir, unix.MoveMount(int(tree.Fd()), "", unix.AT_FDCWD, rootDir, unix.MOVE_MOUNT_F_EMPTY_PATH))
	_, err = netns.New()
	p.try(StepNetwork, "netlink: veth, addresses, routes", err)
	_, _, err = netns.Listen([]uint16{443})
	p.try(StepNetwork, "bind 0.0.0.0:443, "+netns.Gateway().String()+":53", err)
	p.try(StepUserNamespace, "write /proc/sys/user/max_user_namespaces", os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("1"), 0))

	var flags uintptr
	for _, n := range []struct {
		name string
		flag uintptr
	}{{"CLONE_NEWNS", unix.CLONE_NEWNS}, {"CLONE_NEWPID", unix.CLONE_NEWPID}, {"CLONE_NEWIPC", unix.CLONE_NEWIPC},
		{"CLONE_NEWUTS", unix.CLONE_NEWUTS}, {"CLONE_NEWCGROUP", unix.CLONE_NEWCGROUP}} {
		flags |= n.flag
		p.try(StepContainer, "clone("+n.name+")", probeCommand(context.Background(), probeExit, &syscall.SysProcAttr{Cloneflags: n.flag}).Run())
	}
	p.next(StepContainer, "the jail", probeCommand(context.Background(), probeJail, &syscall.SysProcAttr{Cloneflags: flags}))
}

func mountProc() error {
	return unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// next runs the next process of the chain, which goes on telling.
func (p *prober) next(step, call string, cmd *exec.Cmd) {
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	p.must(step, call, cmd.Run())
}

// jail does what container.c and init do in the jail's namespaces.
func (p *prober) jail() {
	p.try(StepProc, "mount(proc) /proc in the jail", mountProc())
	for _, dir := range []string{"/mqueue", "/pts"} {
		p.must(StepRoot, "mkdir "+privateDir+dir, os.Mkdir(privateDir+dir, 0o755))
	}
	p.try(StepContainer, "mount(mqueue)", unix.Mount("mqueue", privateDir+"/mqueue", "mqueue", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	p.try(StepTerminal, "mount(devpts)", unix.Mount("devpts", privateDir+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"))
	pty, err := os.OpenFile(privateDir+"/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	p.try(StepTerminal, "open ptmx", err)
	pty.Close()
	p.try(StepContainer, "sethostname", unix.Sethostname([]byte(hostname)))
	// The command's user namespace: some id of its own is our 0 (CAP_SETFCAP, Linux 5.12).
	runtime.LockOSThread()
	u1 := &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, Size: 1}},
	}
	// It may be tried once only: the gateway allows one, and the kernel forgets a dead one in its own time.
	p.next(StepInit, "clone(CLONE_NEWUSER) in the jail", probeCommand(context.Background(), probeLast, u1))
}

// command loads the filter as the command's process does, and ends under it.
func (p *prober) command() {
	runtime.LockOSThread() // no_new_privs is a thread's
	p.try(StepInit, "clone(CLONE_NEWUSER) in the jail, uid_map 1000 0 1", nil)
	p.must(StepSeccomp, "prctl(PR_SET_NO_NEW_PRIVS)", unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	program, err := seccomp.Program(nil)
	p.must(StepSeccomp, "compile the filter", err)
	p.try(StepSeccomp, fmt.Sprintf("seccomp(SECCOMP_SET_MODE_FILTER) of %d instructions", len(program)/8), loadFilter(program))
}

// loadFilter puts a filter, as package seccomp makes it, on the current thread.
func loadFilter(program []byte) error {
	prog := unix.SockFprog{Len: uint16(len(program) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}
