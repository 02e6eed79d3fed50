package seccomp

import (
	"fmt"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// An attempt is one call that is really made, under the filter and without. Its arguments are such that the call has no effect
// where nothing refuses it: bad pointers, bad descriptors, flags that contradict each other.
type attempt struct {
	call string
	args [6]uintptr
	want syscall.Errno // under the base policy
	// kernelToo says that a kernel may give the same answer to an ordinary user by itself, so that the run without a filter
	// is no control; the run under the marked filter is.
	kernelToo bool
}

func (a attempt) String() string { return fmt.Sprintf("%s%x", a.call, a.args) }

const (
	bad   = ^uintptr(0) // -1: no descriptor, no process, no flags
	fault = 1           // no address
)

func attempts() []attempt {
	const (
		eperm  = syscall.EPERM
		enosys = syscall.ENOSYS
		// clone(2) refuses CLONE_SIGHAND without CLONE_VM before it does anything.
		noClone = unix.CLONE_SIGHAND
	)
	list := []attempt{
		{"mount", [6]uintptr{fault, fault, fault, 0, fault}, eperm, false},
		{"umount2", [6]uintptr{fault, bad}, eperm, false},
		{"pivot_root", [6]uintptr{fault, fault}, eperm, true},
		{"chroot", [6]uintptr{fault}, eperm, false},
		{"open_tree", [6]uintptr{bad, fault, bad}, eperm, false},
		{"move_mount", [6]uintptr{bad, fault, bad, fault, bad}, eperm, true},
		{"fsopen", [6]uintptr{fault, bad}, eperm, true},
		{"fsconfig", [6]uintptr{bad, bad}, eperm, false},
		{"fsmount", [6]uintptr{bad, bad}, eperm, true},
		{"fspick", [6]uintptr{bad, fault, bad}, eperm, true},
		{"mount_setattr", [6]uintptr{bad, fault, bad}, eperm, false},
		{"unshare", [6]uintptr{bad}, eperm, false},
		{"unshare", [6]uintptr{unix.CLONE_NEWUSER | 1}, eperm, false},
		{"setns", [6]uintptr{bad}, eperm, false},
		{"name_to_handle_at", [6]uintptr{bad, fault, fault, fault}, eperm, false},
		{"open_by_handle_at", [6]uintptr{bad, fault}, eperm, true},
		{"bpf", [6]uintptr{0, fault, bad}, eperm, true},
		{"perf_event_open", [6]uintptr{fault, 0, bad, bad, bad}, eperm, false},
		{"keyctl", [6]uintptr{0xffff}, eperm, false},
		{"add_key", [6]uintptr{fault, fault, fault, 1}, eperm, false},
		{"request_key", [6]uintptr{fault, fault, fault}, eperm, false},
		{"userfaultfd", [6]uintptr{0x11}, eperm, false},
		{"process_vm_readv", [6]uintptr{bad, fault, 1, fault, 1, bad}, eperm, false},
		{"process_vm_writev", [6]uintptr{bad, fault, 1, fault, 1, bad}, eperm, false},
		{"kcmp", [6]uintptr{bad >> 1, bad >> 1}, eperm, false},
		{"pidfd_getfd", [6]uintptr{bad, 0, bad}, eperm, false},
		{"init_module", [6]uintptr{fault, 0, fault}, eperm, true},
		{"finit_module", [6]uintptr{bad, fault, bad}, eperm, true},
		{"delete_module", [6]uintptr{fault, bad}, eperm, true},
		{"create_module", [6]uintptr{fault}, eperm, false},
		{"kexec_load", [6]uintptr{fault, 1, fault, bad}, eperm, true},
		{"kexec_file_load", [6]uintptr{bad, bad, 0, fault, bad}, eperm, true},
		{"settimeofday", [6]uintptr{fault}, eperm, false},
		{"clock_settime", [6]uintptr{9999, fault}, eperm, false},
		{"adjtimex", [6]uintptr{fault}, eperm, false},
		{"clock_adjtime", [6]uintptr{0, fault}, eperm, false},
		{"acct", [6]uintptr{fault}, eperm, true},
		{"ioperm", [6]uintptr{0, 1, 0}, eperm, false},
		{"iopl", [6]uintptr{0}, eperm, false},
		{"lookup_dcookie", [6]uintptr{0, fault, 1}, eperm, true},
		{"quotactl", [6]uintptr{0xff, fault}, eperm, false},
		{"quotactl_fd", [6]uintptr{bad, 0xff}, eperm, false},
		{"reboot", [6]uintptr{0, 0, 0}, eperm, true},
		{"sethostname", [6]uintptr{fault, bad}, eperm, true},
		{"setdomainname", [6]uintptr{fault, bad}, eperm, true},
		{"swapon", [6]uintptr{fault, bad}, eperm, true},
		{"swapoff", [6]uintptr{fault}, eperm, true},
		{"syslog", [6]uintptr{bad}, eperm, true},
		{"vhangup", [6]uintptr{}, eperm, true},
		{"mknodat", [6]uintptr{bad, fault, unix.S_IFCHR | 0o600, 0x103}, eperm, false},
		{"mknodat", [6]uintptr{bad, fault, unix.S_IFBLK | 0o600, 0x800}, eperm, false},
		{"mknod", [6]uintptr{fault, unix.S_IFBLK | 0o600, 0x800}, eperm, false},
		{"ptrace", [6]uintptr{unix.PTRACE_POKEDATA, bad}, eperm, false},
		{"ptrace", [6]uintptr{unix.PTRACE_SETOPTIONS, bad}, eperm, false},
		{"ptrace", [6]uintptr{unix.PTRACE_SEIZE, bad}, eperm, false},
		{"personality", [6]uintptr{0x0400000}, enosys, false}, // READ_IMPLIES_EXEC
		{"clone3", [6]uintptr{fault, 0}, enosys, false},
		{"io_uring_setup", [6]uintptr{0, fault}, enosys, false},
		{"io_uring_enter", [6]uintptr{bad}, enosys, false},
		{"io_uring_register", [6]uintptr{bad}, enosys, false},
		{"fanotify_init", [6]uintptr{bad, bad}, enosys, false}, // a call that no rule names
	}
	for _, flag := range []uintptr{
		unix.CLONE_NEWNS, unix.CLONE_NEWCGROUP, unix.CLONE_NEWUTS, unix.CLONE_NEWIPC, unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNET,
	} {
		list = append(list, attempt{"clone", [6]uintptr{flag | noClone}, eperm, false})
		// The kernel reads the low half of the flags alone.
		list = append(list, attempt{"clone", [6]uintptr{1<<32 | flag | noClone}, eperm, false})
	}
	for _, request := range []uintptr{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCSETD} {
		for _, high := range []uintptr{0, 1 << 32, 1 << 63, 0xffffffff << 32} { // CVE-2019-10063
			list = append(list, attempt{"ioctl", [6]uintptr{bad, high | request, fault}, eperm, false})
		}
	}
	for _, high := range []uintptr{0, 1 << 32} {
		list = append(list, attempt{"fcntl", [6]uintptr{bad, high | unix.F_SETLEASE, unix.F_RDLCK}, syscall.EINVAL, false})
	}
	list = append(list, setIDAttempts()...)
	return append(list, socketAttempts()...)
}

func setIDAttempts() []attempt {
	const eperm = syscall.EPERM
	list := []attempt{
		{"openat2", [6]uintptr{bad, fault, fault, 24}, syscall.ENOSYS, false},
		{"fchmodat2", [6]uintptr{bad, fault, 0o755, bad}, syscall.ENOSYS, false},
		{"prlimit64", [6]uintptr{bad, bad, 0, 0}, eperm, false},
		{"prlimit64", [6]uintptr{1<<32 | bad>>33, bad, 0, 0}, eperm, false},
	}
	for _, mode := range []uintptr{unix.S_ISUID | 0o755, unix.S_ISGID | 0o755, unix.S_ISUID | unix.S_ISGID, 0xffffffff<<32 | unix.S_ISUID, 0xffffffff} {
		list = append(list,
			attempt{"chmod", [6]uintptr{fault, mode}, eperm, false},
			attempt{"fchmod", [6]uintptr{bad, mode}, eperm, false},
			attempt{"fchmodat", [6]uintptr{bad, fault, mode}, eperm, false},
			attempt{"creat", [6]uintptr{fault, mode}, eperm, false},
			attempt{"mknod", [6]uintptr{fault, unix.S_IFREG | mode}, eperm, false},
			attempt{"mknodat", [6]uintptr{bad, fault, unix.S_IFREG | mode}, eperm, false},
		)
		for _, flags := range []uintptr{unix.O_CREAT, unix.O_TMPFILE | unix.O_RDWR, 1<<32 | unix.O_CREAT | unix.O_WRONLY | unix.O_EXCL} {
			list = append(list,
				attempt{"open", [6]uintptr{fault, flags, mode}, eperm, false},
				attempt{"openat", [6]uintptr{bad, fault, flags, mode}, eperm, false},
			)
		}
	}
	return list
}

func socketAttempts() []attempt {
	const (
		family   = syscall.EAFNOSUPPORT
		protocol = syscall.EPROTONOSUPPORT
	)
	var list []attempt
	// Whether a kernel has these families is its own affair.
	for _, f := range []uintptr{
		unix.AF_ALG, unix.AF_VSOCK, unix.AF_PACKET, unix.AF_KEY, unix.AF_BLUETOOTH, unix.AF_CAN, unix.AF_TIPC, unix.AF_RDS, unix.AF_SMC,
		unix.AF_XDP, unix.AF_QIPCRTR, unix.AF_AX25, unix.AF_PPPOX,
	} {
		for _, kind := range []uintptr{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_SEQPACKET} {
			list = append(list, attempt{"socket", [6]uintptr{f, kind}, family, true})
			list = append(list, attempt{"socket", [6]uintptr{1<<32 | f, kind}, family, true})
		}
	}
	for _, f := range []uintptr{unix.AF_INET, unix.AF_INET6} {
		for _, flags := range []uintptr{0, unix.SOCK_NONBLOCK, unix.SOCK_CLOEXEC, unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC} {
			list = append(list, attempt{"socket", [6]uintptr{f, unix.SOCK_RAW | flags, unix.IPPROTO_ICMP}, syscall.EPERM, true})
			list = append(list, attempt{"socket", [6]uintptr{f, unix.SOCK_PACKET | flags, 0}, syscall.EPERM, true})
		}
		list = append(list, attempt{"socketpair", [6]uintptr{f, unix.SOCK_STREAM, 0, fault}, family, false})
	}
	return append(list,
		attempt{"socket", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, protocol, true},
		attempt{"socket", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC}, protocol, false},
		attempt{"socket", [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT}, protocol, false},
		attempt{"socket", [6]uintptr{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, syscall.ENOSYS, false},
	)
}

// marker is the errno that stands for every refusal in the marked filter. The kernel answers it to none of the attempts.
const marker = verdict(syscall.EXDEV)

// marked is policy with each refusal that has an errno of its own turned into marker.
func marked(policy []rule) []rule {
	var result []rule
	for _, r := range policy {
		clauses := make([]clause, len(r.clauses))
		for i, c := range r.clauses {
			if c.then != allow && c.then != enosys {
				c.then = marker
			}
			clauses[i] = c
		}
		result = append(result, rule{r.names, clauses, r.why})
	}
	return result
}

// TestKernelEnforces loads the filter and makes the calls. Two controls: without a filter the answer is another one, and with a
// filter that differs in its errno alone the answer follows, so that it was the filter's and not the kernel's own.
func TestKernelEnforces(t *testing.T) {
	base, err := Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, err := compile(nativeArch(t), marked(basePolicy()))
	if err != nil {
		t.Fatal(err)
	}
	filtered, followed, bare := tryUnder(t, base), tryUnder(t, other), tryUnder(t, nil)
	if len(filtered) < 100 {
		t.Fatalf("%d attempts came back", len(filtered))
	}
	for _, a := range attempts() {
		got, made := filtered[a.String()]
		if !made {
			continue // the other architecture's
		}
		if got != a.want {
			t.Errorf("%v: %v, want %v", a, got, a.want)
		}
		if a.want != syscall.ENOSYS && followed[a.String()] != syscall.Errno(marker) {
			t.Errorf("%v: control, the marked filter: %v", a, followed[a.String()])
		}
		if bare[a.String()] == a.want && !a.kernelToo {
			t.Errorf("%v: control, no filter: the same %v", a, bare[a.String()])
		}
	}
}

// TestGroupsLift: what a group promises answers as it does without a filter.
func TestGroupsLift(t *testing.T) {
	bare := tryUnder(t, nil)
	for group, calls := range map[string][]string{
		"debug":  {"ptrace", "process_vm_readv", "process_vm_writev"},
		"nested": {"clone", "unshare", "chroot"},
	} {
		program, err := Compile([]string{group})
		if err != nil {
			t.Fatal(err)
		}
		got := tryUnder(t, program)
		lifted := map[string]bool{}
		for _, call := range calls {
			lifted[call] = true
		}
		for _, a := range attempts() {
			if _, made := got[a.String()]; !made {
				continue
			}
			want := a.want
			if lifted[a.call] {
				want = bare[a.String()]
			}
			if got[a.String()] != want {
				t.Errorf("%s: %v: %v, want %v", group, a, got[a.String()], want)
			}
		}
	}
}
