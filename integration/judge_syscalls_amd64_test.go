package integration

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func init() { programs["syscalls"] = program(syscalls) }

// A made call is one system call of the sweep: its name in the output, and the registers.
type made struct {
	name  string
	entry int // how the kernel is entered: native, or int80
	regs  [7]uintptr
}

const (
	native = iota
	int80
)

// endless are the calls of the sweep that return for nobody: a signal has to end them.
var endless = []string{
	strconv.Itoa(unix.SYS_PAUSE) + "/ones", strconv.Itoa(unix.SYS_PAUSE) + "/zero", // and no descriptor, no time:
	strconv.Itoa(unix.SYS_SELECT) + "/zero", strconv.Itoa(unix.SYS_PSELECT6) + "/zero", strconv.Itoa(unix.SYS_PPOLL) + "/zero",
}

// getpids are getpid(2) through the other doors.
var getpids = []string{"x32 39", "i386 20"}

// foreign says that the call is not one of the machine's own.
func (m made) foreign() bool { return m.entry == int80 || m.regs[0]>>30 == 1 }

// shared is what a child leaves to its parent: 1 before the call, 2 and the errno after it. A call that ends the process leaves 1.
type shared struct{ state, errno uint32 }

// syscalls makes the calls of sweep (with the argument "outside" just one through each of the foreign doors), each in a process of its
// own, and says how each ended: "NAME OK", "NAME ERRNO", "NAME exit N", "NAME SIGNAL". The processes are forks without exec, and what
// they do between fork(2) and exit(2) needs nothing of Go's runtime.
func syscalls(args []string) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	none := unix.Rlimit{}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &none); err != nil {
		return err
	}
	calls := sweep()
	// A place for each call: what fork(2) has made may come to its end during a later one.
	pages, err := unix.Mmap(-1, 0, len(calls)*int(unsafe.Sizeof(shared{})), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return err
	}
	places := unsafe.Slice((*shared)(unsafe.Pointer(&pages[0])), len(calls))
	// The three descriptors that everybody has are a file of nobody's, so that a call with descriptor 0 meets the same on either side.
	file, err := unix.MemfdCreate("sweep", 0)
	if err != nil {
		return err
	}
	if err := int80Code(); err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for i, m := range calls {
		if m.foreign() && slices.Contains(args, "outside") && !slices.Contains(getpids, m.name) {
			continue
		}
		wait := uintptr(60e6) // far longer than a call takes on any machine
		if slices.Contains(endless, m.name) {
			wait = 1000
		}
		pid := forked(&m, file, wait, &places[i])
		if pid < 0 {
			return fmt.Errorf("%s: fork: %w", m.name, syscall.Errno(-pid))
		}
		var status unix.WaitStatus
		for {
			if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err == nil {
				break
			} else if err != unix.EINTR {
				return fmt.Errorf("%s: wait: %w", m.name, err)
			}
		}
		fmt.Fprintf(out, "%s %s\n", m.name, outcome(places[i], status))
	}
	return out.Flush()
}

func outcome(at shared, status unix.WaitStatus) string {
	switch {
	case at.state == 2 && at.errno == 0:
		return "OK"
	case at.state == 2:
		return unix.ErrnoName(syscall.Errno(at.errno))
	case status.Signaled():
		return unix.SignalName(status.Signal())
	}
	return fmt.Sprintf("exit %d", status.ExitStatus())
}

// kernelAction is struct sigaction as rt_sigaction(2) itself has it.
type kernelAction struct{ handler, flags, restorer, mask uintptr }

// forked makes one call in a child. Between the fork and the exit stands nothing that could ask for the stack to grow, for that is
// where Go's scheduler looks whether it is wanted.
//
//go:nosplit
//go:norace
//go:noinline
func forked(m *made, file int, wait uintptr, at *shared) int {
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return -int(errno)
	}
	if pid != 0 {
		return int(pid)
	}
	var action kernelAction
	for sig := uintptr(1); sig <= 64; sig++ {
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, sig, uintptr(unsafe.Pointer(&action)), 0, 8, 0, 0)
	}
	for fd := uintptr(0); fd < 3; fd++ {
		syscall.RawSyscall(unix.SYS_DUP2, uintptr(file), fd, 0)
	}
	timer := [4]uintptr{0, 0, wait / 1e6, wait % 1e6} // the interval, and the first time
	syscall.RawSyscall(unix.SYS_SETITIMER, 0, uintptr(unsafe.Pointer(&timer)), 0)
	at.state = 1
	if m.entry == int80 {
		code := &int80Entry
		at.errno = uint32(max(0, -int32((*(*func(nr, arg uintptr) uintptr)(unsafe.Pointer(&code)))(m.regs[0], m.regs[1]))))
	} else {
		_, _, errno = syscall.RawSyscall6(m.regs[0], m.regs[1], m.regs[2], m.regs[3], m.regs[4], m.regs[5], m.regs[6])
		at.errno = uint32(errno)
	}
	at.state = 2
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
}

// int80Entry is the address of the code below: what a func value of Go's points at.
var int80Entry uintptr

// int80Code makes a function of the i386 door of the kernel, for which Go has no word: nr in eax, arg in all six registers of arguments.
func int80Code() error {
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	copy(page, []byte{
		0x89, 0xd9, // mov ecx, ebx: Go hands the first two arguments over in rax and rbx
		0x89, 0xda, // mov edx, ebx
		0x89, 0xde, // mov esi, ebx
		0x89, 0xdf, // mov edi, ebx
		0x55,       // push rbp
		0x89, 0xdd, // mov ebp, ebx
		0xcd, 0x80, // int 0x80
		0x5d, // pop rbp
		0xc3, // ret
	})
	int80Entry = uintptr(unsafe.Pointer(&page[0]))
	return unix.Mprotect(page, unix.PROT_READ|unix.PROT_EXEC)
}

const (
	beyond = 600                // no kernel has a call with this number yet
	x32Bit = 0x40000000         // asm/unistd.h __X32_SYSCALL_BIT
	x32End = 548                // x32's own calls are 512 to 547
	i386   = 480                // past the last call of i386
	ones   = ^uintptr(0)        // no descriptor, no process, no address, every flag
	nobody = uintptr(1<<30 - 1) // more than /proc/sys/kernel/pid_max can be
	fault  = 1                  // no address
)

// notMade are the calls that the sweep leaves out, and why.
var notMade = map[uintptr]string{
	unix.SYS_VFORK: "its child runs on the caller's stack, which Go code cannot give away; os/exec starts every program in this way, and " +
		"TestRealSuites runs its tests",
}

// sweep is every call of every door: each number with all arguments -1 and with all arguments 0, what nobody knows yet, and by name the
// operations of the calls that are many in one. As an ordinary user none of them does anything to anybody.
func sweep() (list []made) {
	add := func(entry int, name string, regs ...uintptr) {
		m := made{name: name, entry: entry}
		copy(m.regs[:], regs)
		list = append(list, m)
	}
	for nr := uintptr(0); nr < beyond; nr++ {
		switch name := strconv.Itoa(int(nr)); {
		case notMade[nr] != "":
		case nr == unix.SYS_MSGGET: // 0 is IPC_PRIVATE, and -1 has IPC_CREAT in it: both leave a queue behind
			add(native, name+"/ones", nr, 0x6a61696c, 0)
			add(native, name+"/zero", nr, 0x6a61696c, 0)
		default:
			add(native, name+"/ones", nr, ones, ones, ones, ones, ones, ones)
			add(native, name+"/zero", nr)
		}
	}
	for _, nr := range []uintptr{4000, x32Bit - 1, 1<<32 | unix.SYS_GETPID, ones} {
		add(native, fmt.Sprintf("number %#x", nr), nr)
	}
	for op := uintptr(1); op < 80; op++ {
		add(native, fmt.Sprintf("prctl %d", op), unix.SYS_PRCTL, op)
	}
	for op := uintptr(0); op < 17; op++ {
		add(native, fmt.Sprintf("fcntl %d", op), unix.SYS_FCNTL, 0, op)
		add(native, fmt.Sprintf("fcntl %d", 1024+op), unix.SYS_FCNTL, 0, 1024+op)
	}
	for bit := 8; bit < 32; bit++ { // below is the exit signal; CLONE_SIGHAND without CLONE_VM makes no process
		add(native, fmt.Sprintf("clone %#x", 1<<bit), unix.SYS_CLONE, 1<<bit&^unix.CLONE_VM|unix.CLONE_SIGHAND)
	}
	for op := uintptr(0); op < 32; op++ {
		add(native, fmt.Sprintf("ptrace %d", op), unix.SYS_PTRACE, op, nobody)
		add(native, fmt.Sprintf("ptrace %#x", 0x4200+op), unix.SYS_PTRACE, 0x4200+op, nobody)
	}
	for kind := uintptr(1); kind < 6; kind++ {
		for family, name := range families {
			add(native, fmt.Sprintf("socket %s %d", name, kind), unix.SYS_SOCKET, family, kind)
			add(native, fmt.Sprintf("socketpair %s %d", name, kind), unix.SYS_SOCKETPAIR, family, kind, 0, fault)
		}
	}
	for _, mode := range []uintptr{0o644, 0o1777, unix.S_ISUID | 0o755, unix.S_ISGID | 0o755} {
		add(native, fmt.Sprintf("open %o", mode), unix.SYS_OPEN, fault, unix.O_CREAT, mode)
		add(native, fmt.Sprintf("openat %o", mode), unix.SYS_OPENAT, ones, fault, unix.O_CREAT, mode)
		add(native, fmt.Sprintf("creat %o", mode), unix.SYS_CREAT, fault, mode)
		add(native, fmt.Sprintf("chmod %o", mode), unix.SYS_CHMOD, fault, mode)
		add(native, fmt.Sprintf("fchmod %o", mode), unix.SYS_FCHMOD, ones, mode)
		add(native, fmt.Sprintf("fchmodat %o", mode), unix.SYS_FCHMODAT, ones, fault, mode)
		add(native, fmt.Sprintf("mknodat %o", mode), unix.SYS_MKNODAT, ones, fault, mode)
	}
	for request, name := range map[uintptr]string{
		unix.TCGETS: "TCGETS", unix.TIOCGWINSZ: "TIOCGWINSZ", unix.TIOCINQ: "FIONREAD", unix.TIOCNOTTY: "TIOCNOTTY",
		unix.TIOCSTI: "TIOCSTI", unix.TIOCLINUX: "TIOCLINUX", unix.TIOCSETD: "TIOCSETD",
	} {
		add(native, "ioctl "+name, unix.SYS_IOCTL, 0, request, fault)
		add(native, "ioctl high "+name, unix.SYS_IOCTL, 0, 1<<32|request, fault) // CVE-2019-10063
	}
	for _, persona := range []uintptr{0, 0xffffffff, addrNoRandomize, 8, 0x0400000} {
		add(native, fmt.Sprintf("personality %#x", persona), unix.SYS_PERSONALITY, persona)
	}
	for nr := uintptr(0); nr < x32End; nr++ {
		add(native, fmt.Sprintf("x32 %d", nr), x32Bit|nr, ones, ones, ones, ones, ones, ones)
	}
	for nr := uintptr(0); nr < i386; nr++ {
		add(int80, fmt.Sprintf("i386 %d", nr), nr, ones)
	}
	return list
}

const addrNoRandomize = 0x0040000 // personality(2)

// families are those of which kernels usually have the code or the module.
var families = map[uintptr]string{
	unix.AF_UNIX: "unix", unix.AF_INET: "inet", unix.AF_INET6: "inet6", unix.AF_NETLINK: "route",
	unix.AF_PACKET: "packet", unix.AF_KEY: "key", unix.AF_ALG: "alg", unix.AF_VSOCK: "vsock", unix.AF_BLUETOOTH: "bluetooth",
	unix.AF_TIPC: "tipc", unix.AF_RDS: "rds", unix.AF_XDP: "xdp", unix.AF_SMC: "smc", unix.AF_CAN: "can", unix.AF_QIPCRTR: "qipcrtr",
}
