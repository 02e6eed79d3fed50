package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A difference is a set of calls that a jail answers in another way than the host does, and why.
type difference struct {
	why    string
	jailed string // the answers in a jail, joined by |
	// calls are names of the sweep, as patterns of path.Match; one without "/ones" or "/zero" stands for both.
	calls []string
	// host says that some hosts give that answer by themselves: by their configuration, or without a module.
	host bool
}

// differences is the whole of it: what does not stand here a jail of the default profile, which has group debug, answers as the host does.
var differences = []difference{
	{"mounts are what the jail is made of", "EPERM", []string{
		"chroot", "mount", "umount2", "open_tree", "fsconfig", "mount_setattr"}, false},
	{"namespaces are what the jail is made of", "EPERM", []string{
		"unshare", "setns", "clone/ones", "clone 0x20000", "clone 0x2000000", "clone 0x4000000", "clone 0x8000000", "clone 0x10000000",
		"clone 0x20000000", "clone 0x40000000"}, false},
	{"files by handle, past the mounts", "EPERM", []string{"name_to_handle_at", "open_by_handle_at"}, false},
	{"the kernel's keyrings are nobody's own", "EPERM", []string{"add_key", "request_key", "keyctl"}, false},
	{"programs in the kernel, and its counters", "EPERM", []string{"bpf", "perf_event_open"}, true},
	{"page faults that the faulting process handles win races in the kernel", "EPERM", []string{"userfaultfd/ones"}, true},
	{"the memory and descriptors of other processes", "EPERM", []string{"kcmp", "pidfd_getfd"}, false},
	{"code for the kernel", "EPERM", []string{
		"create_module", "init_module", "delete_module", "finit_module", "kexec_load", "kexec_file_load"}, true},
	{"the machine's clock; reading it in this way is lost too, for the mode is behind a pointer", "EPERM", []string{
		"adjtimex", "clock_adjtime", "clock_settime", "settimeofday/ones"}, false},
	{"the machine", "EPERM", []string{"swapon/ones", "iopl", "ioperm", "quotactl", "quotactl_fd", "lookup_dcookie"}, true},
	{"set-id files of the host, and devices", "EPERM", []string{
		"open/ones", "openat/ones", "creat/ones", "chmod/ones", "fchmod/ones", "fchmodat/ones", "mknod/ones", "mknodat/ones",
		"open [24]755", "openat [24]755", "creat [24]755", "chmod [24]755", "fchmod [24]755", "fchmodat [24]755", "mknodat [24]755"}, false},
	{"typing into a terminal, and line disciplines", "EPERM", []string{
		"ioctl TIOCSTI", "ioctl TIOCLINUX", "ioctl TIOCSETD", "ioctl high TIOCSTI", "ioctl high TIOCLINUX", "ioctl high TIOCSETD"}, false},
	{"leases, which hold whoever opens the file for writing", "EINVAL", []string{"fcntl 1024"}, false},
	{"limits of a process that is not the caller, as pid 0", "EPERM", []string{"prlimit64/ones"}, false},
	{"raw sockets need a capability", "EPERM", []string{"socket inet 3", "socket inet6 3"}, false},
	{"a type of socket that has no protocol", "ENOSYS", []string{
		"socket inet [45]", "socket inet6 [45]", "socket/ones", "socketpair/ones"}, false},
	{"families of sockets that load modules or meet the host", "EAFNOSUPPORT", []string{
		"socket packet *", "socket key *", "socket alg *", "socket vsock *", "socket bluetooth *", "socket tipc *", "socket rds *",
		"socket xdp *", "socket smc *", "socket can *", "socket qipcrtr *"}, true},
	{"pairs of other than local sockets, which no kernel makes", "EAFNOSUPPORT", []string{"socketpair/zero", "socketpair [^u]*"}, false},
	{"execution domains but the usual ones", "ENOSYS", []string{"personality 0x8", "personality 0x400000"}, false},
	{"what a filter cannot see: arguments behind a pointer, a ring", "ENOSYS", []string{
		"clone3", "openat2", "fchmodat2", "io_uring_setup", "io_uring_enter", "io_uring_register"}, false},
	{"16-bit segments, for 32-bit Wine", "ENOSYS", []string{"modify_ldt"}, false},
	{"which memory is whose on a machine with many", "ENOSYS", []string{
		"mbind", "set_mempolicy", "get_mempolicy", "migrate_pages", "move_pages", "set_mempolicy_home_node"}, false},
	{"little used and not needed", "ENOSYS", []string{
		"ustat", "sysfs", "remap_file_pages", "fanotify_init", "fanotify_mark", "process_madvise", "process_mrelease", "memfd_secret",
		"lsm_get_self_attr", "lsm_set_self_attr", "lsm_list_modules", "file_getattr", "file_setattr", "listns", "rseq_slice_yield"}, false},
	{"newer than the libseccomp that compiled the stored programs", "ENOSYS", []string{
		"statmount", "listmount", "mseal", "setxattrat", "getxattrat", "listxattrat", "removexattrat", "open_tree_attr"}, false},
	{"ids that the jail does not know: 0 is one, outside it is just not the caller's", "EINVAL", []string{
		"setuid/zero", "setgid/zero", "setreuid/zero", "setregid/zero", "setresuid/zero", "setresgid/zero", "fchown/zero"}, false},
	{"a filter is there already, so strict mode is not to be had", "EINVAL", []string{"seccomp/zero"}, false},
	{"no_new_privs is set already, so the call gets further", "EINVAL|EBADFD", []string{"landlock_restrict_self"}, true},
	{"only the machine's own door: the same numbers are other calls in x32's and i386's", "SIGSYS", []string{"x32 *", "i386 *"}, false},
}

// lastNamed is the last call that this test knows: kernels have newer ones, and a jail has not.
const lastNamed = unix.SYS_RSEQ_SLICE_YIELD

// numbers are of the calls that stand in differences by name.
var numbers = map[string]int{
	"add_key": unix.SYS_ADD_KEY, "adjtimex": unix.SYS_ADJTIMEX, "bpf": unix.SYS_BPF, "chmod": unix.SYS_CHMOD, "chroot": unix.SYS_CHROOT,
	"clock_adjtime": unix.SYS_CLOCK_ADJTIME, "clock_settime": unix.SYS_CLOCK_SETTIME, "clone": unix.SYS_CLONE, "clone3": unix.SYS_CLONE3,
	"creat": unix.SYS_CREAT, "create_module": unix.SYS_CREATE_MODULE, "delete_module": unix.SYS_DELETE_MODULE,
	"fanotify_init": unix.SYS_FANOTIFY_INIT, "fanotify_mark": unix.SYS_FANOTIFY_MARK, "fchmod": unix.SYS_FCHMOD, "fchmodat": unix.SYS_FCHMODAT,
	"fchmodat2": unix.SYS_FCHMODAT2, "fchown": unix.SYS_FCHOWN, "file_getattr": unix.SYS_FILE_GETATTR, "file_setattr": unix.SYS_FILE_SETATTR,
	"finit_module": unix.SYS_FINIT_MODULE, "fsconfig": unix.SYS_FSCONFIG, "get_mempolicy": unix.SYS_GET_MEMPOLICY,
	"getxattrat": unix.SYS_GETXATTRAT, "init_module": unix.SYS_INIT_MODULE, "io_uring_enter": unix.SYS_IO_URING_ENTER,
	"io_uring_register": unix.SYS_IO_URING_REGISTER, "io_uring_setup": unix.SYS_IO_URING_SETUP, "ioperm": unix.SYS_IOPERM,
	"iopl": unix.SYS_IOPL, "kcmp": unix.SYS_KCMP, "kexec_file_load": unix.SYS_KEXEC_FILE_LOAD, "kexec_load": unix.SYS_KEXEC_LOAD,
	"keyctl": unix.SYS_KEYCTL, "landlock_restrict_self": unix.SYS_LANDLOCK_RESTRICT_SELF, "listmount": unix.SYS_LISTMOUNT,
	"listns": unix.SYS_LISTNS, "listxattrat": unix.SYS_LISTXATTRAT, "lookup_dcookie": unix.SYS_LOOKUP_DCOOKIE,
	"lsm_get_self_attr": unix.SYS_LSM_GET_SELF_ATTR, "lsm_list_modules": unix.SYS_LSM_LIST_MODULES,
	"lsm_set_self_attr": unix.SYS_LSM_SET_SELF_ATTR, "mbind": unix.SYS_MBIND, "memfd_secret": unix.SYS_MEMFD_SECRET,
	"migrate_pages": unix.SYS_MIGRATE_PAGES, "mknod": unix.SYS_MKNOD, "mknodat": unix.SYS_MKNODAT, "modify_ldt": unix.SYS_MODIFY_LDT,
	"mount": unix.SYS_MOUNT, "mount_setattr": unix.SYS_MOUNT_SETATTR, "move_pages": unix.SYS_MOVE_PAGES, "mseal": unix.SYS_MSEAL,
	"name_to_handle_at": unix.SYS_NAME_TO_HANDLE_AT, "open": unix.SYS_OPEN, "open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT,
	"open_tree": unix.SYS_OPEN_TREE, "open_tree_attr": unix.SYS_OPEN_TREE_ATTR, "openat": unix.SYS_OPENAT, "openat2": unix.SYS_OPENAT2,
	"perf_event_open": unix.SYS_PERF_EVENT_OPEN, "pidfd_getfd": unix.SYS_PIDFD_GETFD, "prlimit64": unix.SYS_PRLIMIT64,
	"process_madvise": unix.SYS_PROCESS_MADVISE, "process_mrelease": unix.SYS_PROCESS_MRELEASE,
	"quotactl": unix.SYS_QUOTACTL, "quotactl_fd": unix.SYS_QUOTACTL_FD, "remap_file_pages": unix.SYS_REMAP_FILE_PAGES,
	"removexattrat": unix.SYS_REMOVEXATTRAT, "request_key": unix.SYS_REQUEST_KEY, "rseq_slice_yield": unix.SYS_RSEQ_SLICE_YIELD,
	"seccomp": unix.SYS_SECCOMP, "set_mempolicy": unix.SYS_SET_MEMPOLICY, "set_mempolicy_home_node": unix.SYS_SET_MEMPOLICY_HOME_NODE,
	"setgid": unix.SYS_SETGID, "setns": unix.SYS_SETNS, "setregid": unix.SYS_SETREGID, "setresgid": unix.SYS_SETRESGID,
	"setresuid": unix.SYS_SETRESUID, "setreuid": unix.SYS_SETREUID, "settimeofday": unix.SYS_SETTIMEOFDAY, "setuid": unix.SYS_SETUID,
	"setxattrat": unix.SYS_SETXATTRAT, "socket": unix.SYS_SOCKET, "socketpair": unix.SYS_SOCKETPAIR, "statmount": unix.SYS_STATMOUNT,
	"swapon": unix.SYS_SWAPON, "sysfs": unix.SYS_SYSFS, "umount2": unix.SYS_UMOUNT2, "unshare": unix.SYS_UNSHARE,
	"userfaultfd": unix.SYS_USERFAULTFD, "ustat": unix.SYS_USTAT,
}

// is says whether the difference is about a call of the sweep.
func (d difference) is(pattern, name string) bool {
	base, _, _ := strings.Cut(name, "/")
	whole, err1 := path.Match(pattern, name)
	both, err2 := path.Match(pattern, base)
	if err1 != nil || err2 != nil {
		panic(pattern)
	}
	return whole || both
}

// TestSameCalls makes every call there is, natively as an ordinary user and in a jail, and compares the answers. It fails for a difference
// that nobody has explained, and for an explanation of a difference that is none.
func TestSameCalls(t *testing.T) {
	project := filepath.Join(t.TempDir(), "project")
	if err := os.Mkdir(project, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(filepath.Join(project, "syscalls"), "/proc/self/exe"); err != nil {
		t.Fatal(err)
	}
	host := exec.Command("/proc/self/exe", "outside")
	host.Args[0] = "syscalls" // what this binary does is told by its name
	if os.Getuid() == 0 {
		// What the calls would do for root is nothing to try out.
		uid, gid := ordinary()
		host.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		host.Dir = "/"
	}
	jail := exec.Command(os.Getenv("AGENTJAIL_BIN"), "--", "./syscalls")
	jail.Dir = project
	jail.Env = append(os.Environ(),
		"XDG_STATE_HOME="+filepath.Join(project, "../state"), "XDG_CONFIG_HOME="+filepath.Join(project, "../config"))
	outside, _ := answered(t, host)
	inside, order := answered(t, jail)
	if len(order) < 2*lastNamed {
		t.Fatalf("%d calls in the jail", len(order))
	}
	explained := map[string]bool{} // pattern: is there something to explain
	for _, name := range order {
		in, out := inside[name], outside[name]
		if nr, err := strconv.Atoi(strings.SplitN(name, "/", 2)[0]); err == nil && nr > lastNamed {
			if in != "ENOSYS" {
				t.Errorf("call %s, of which nobody has heard: %s", name, in)
			}
			continue
		}
		listed := false
		for _, d := range differences {
			for _, pattern := range d.calls {
				if !d.is(pattern, name) {
					continue
				}
				listed = true
				if !slices.Contains(strings.Split(d.jailed, "|"), in) {
					t.Errorf("%s: %s in a jail, and the list says %s: %s", name, in, d.jailed, d.why)
				}
				explained[pattern] = explained[pattern] || in != out || d.host || out == "ENOSYS"
			}
		}
		if !listed && in != out {
			t.Errorf("%s: %s on the host, %s in a jail: nobody has said why", name, out, in)
		}
	}
	for _, d := range differences {
		for _, pattern := range d.calls {
			if !explained[pattern] {
				t.Errorf("%s: listed (%s), and the host answers the same", pattern, d.why)
			}
		}
	}
	// The controls: the other doors stand open outside, where a call that is not there is no death.
	for _, name := range getpids {
		if got := outside[name]; got != "OK" && got != "ENOSYS" {
			t.Errorf("%s: %s on the host", name, got)
		}
	}
}

// answered runs the sweep and gives the answer to each call, and the calls in their order.
func answered(t *testing.T, cmd *exec.Cmd) (answers map[string]string, order []string) {
	var said bytes.Buffer
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, said.String())
	}
	names := map[string]string{}
	for name, nr := range numbers {
		names[strconv.Itoa(nr)] = name
	}
	answers = map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		cut := strings.LastIndexByte(line, ' ')
		if strings.Contains(line, " exit ") {
			cut = strings.Index(line, " exit ")
		}
		name := line[:cut]
		if nr, args, ok := strings.Cut(name, "/"); ok && names[nr] != "" {
			name = names[nr] + "/" + args
		}
		answers[name] = line[cut+1:]
		order = append(order, name)
	}
	return answers, order
}
