package integration

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// call is one act of testdata/probe.c, what a jail answers, and who can do it outside.
type call struct {
	name, inside string // the answers, joined by |
	root         bool   // outside, root of the host alone gets further: the control holds only where the tests run as root
}

// calls is every act of the probe: TestCalls fails on one that is not here. "OK" says that the act must keep working in a jail.
var calls = []call{
	{name: "unshare_user", inside: "EPERM"}, {name: "unshare_mnt", inside: "EPERM"}, {name: "unshare_pid", inside: "EPERM"},
	{name: "unshare_net", inside: "EPERM"}, {name: "unshare_ipc", inside: "EPERM"}, {name: "unshare_uts", inside: "EPERM"},
	{name: "unshare_cgroup", inside: "EPERM"}, {name: "unshare_time", inside: "EPERM"}, {name: "clone_user", inside: "EPERM"},
	{name: "clone_user_mnt", inside: "EPERM"}, {name: "clone_net", inside: "EPERM"}, {name: "clone3_null", inside: "ENOSYS"},
	{name: "setns_self", inside: "EPERM"}, {name: "setns_init", inside: "EACCES|EPERM"}, {name: "mount_tmpfs", inside: "EPERM"},
	{name: "mount_bind", inside: "EPERM"}, {name: "mount_remount", inside: "EPERM"}, {name: "umount_bad", inside: "EPERM"},
	{name: "pivot", inside: "EPERM"}, {name: "chroot_root", inside: "EPERM"}, {name: "fsopen_tmpfs", inside: "EPERM|ENOSYS"},
	{name: "open_tree_clone", inside: "EPERM|ENOSYS"}, {name: "move_mount_bad", inside: "EPERM|ENOSYS"},
	{name: "mount_setattr_bad", inside: "EPERM|ENOSYS"}, {name: "statmount_bad", inside: "EPERM|ENOSYS"},
	{name: "listmount_bad", inside: "EPERM|ENOSYS"}, {name: "bpf_bad", inside: "EPERM"}, {name: "perf_bad", inside: "EPERM"},
	{name: "keyctl_get", inside: "EPERM|ENOSYS"}, {name: "add_a_key", inside: "EPERM|ENOSYS"}, {name: "request_a_key", inside: "EPERM|ENOSYS"},
	{name: "userfault", inside: "EPERM"}, {name: "handle_bad", inside: "EPERM", root: true}, {name: "module_bad", inside: "EPERM", root: true},
	{name: "init_module_bad", inside: "EPERM", root: true}, {name: "delete_module_bad", inside: "EPERM", root: true},
	{name: "kexec_bad", inside: "EPERM", root: true}, {name: "reboot_bad", inside: "EPERM"}, {name: "swapon_bad", inside: "EPERM", root: true},
	{name: "syslog_size", inside: "EPERM", root: true}, {name: "acct_bad", inside: "EPERM", root: true},
	{name: "uring", inside: "ENOSYS"}, {name: "uring_e", inside: "ENOSYS"}, {name: "uring_r", inside: "ENOSYS"},
	{name: "personality_per", inside: "EPERM|ENOSYS"}, {name: "unknown_call", inside: "ENOSYS", root: true},
	{name: "x32", inside: "SIGSYS"}, {name: "int80", inside: "SIGSYS"}, {name: "iopl_bad", inside: "EPERM|ENOSYS", root: true},
	{name: "modify_ldt", inside: "EPERM|ENOSYS"},
	{name: "tiocsti", inside: "EPERM"}, {name: "tiocsti_high", inside: "EPERM"}, {name: "tiocsti_all_high", inside: "EPERM"},
	{name: "tioclinux", inside: "EPERM"}, {name: "tioclinux_high", inside: "EPERM"}, {name: "tiocgwinsz", inside: "OK"},
	{name: "s_unix", inside: "OK"}, {name: "s_inet", inside: "OK"}, {name: "s_inet6", inside: "OK"}, {name: "s_route", inside: "OK"},
	{name: "pair_unix", inside: "OK"},
	{name: "s_uevent", inside: noFamily}, {name: "s_diag", inside: noFamily}, {name: "s_xfrm", inside: noFamily},
	{name: "s_netfilter", inside: noFamily}, {name: "s_generic", inside: noFamily}, {name: "s_alg", inside: noFamily},
	{name: "s_vsock", inside: noFamily}, {name: "s_packet", inside: noFamily}, {name: "s_key", inside: noFamily},
	{name: "s_raw", inside: noFamily}, {name: "s_raw6", inside: noFamily}, {name: "s_xdp", inside: noFamily},
	{name: "s_bluetooth", inside: noFamily}, {name: "s_tipc", inside: noFamily}, {name: "s_rds", inside: noFamily},
	{name: "s_high", inside: noFamily},
	{name: "ptrace_init", inside: "EPERM"}, {name: "ptrace_child", inside: "OK"}, {name: "vm_write_init", inside: "EPERM"},
	// Outside, root of a user namespace reaches the PID 1 of its own PID namespace.
	{name: "init_mem", inside: "EACCES"}, {name: "init_root", inside: "EACCES"},
	{name: "init_cwd", inside: "EACCES"}, {name: "init_exe", inside: "EACCES"},
	{name: "init_fd", inside: "EACCES"}, {name: "init_environ", inside: "EACCES"},
	{name: "kcore", inside: "EACCES|EPERM|ENOENT", root: true},
	{name: "sysctl_write", inside: "EACCES|EROFS", root: true}, {name: "sysrq", inside: "EACCES|EROFS|ENOENT", root: true},
	{name: "mknod_dev", inside: "EPERM", root: true}, {name: "setuid_root", inside: "EPERM|EINVAL"},
	{name: "setgroups_none", inside: "EPERM", root: true}, {name: "hostname", inside: "EPERM"},
	{name: "shm", inside: "OK"}, {name: "mqueue", inside: "OK"}, {name: "shm_file", inside: "OK"},
	{name: "memfd_exec", inside: "OK"},
	{name: "chmod_suid", inside: "EPERM"}, {name: "chmod_sgid", inside: "EPERM"}, {name: "fchmod_suid", inside: "EPERM"},
	{name: "fchmodat_suid", inside: "EPERM"}, {name: "fchmodat2_any", inside: "ENOSYS"}, {name: "open_suid", inside: "EPERM"},
	{name: "open_sgid", inside: "EPERM"}, {name: "open_tmpfile", inside: "EPERM"}, {name: "open_garbage", inside: "OK"},
	{name: "openat2_any", inside: "ENOSYS"}, {name: "creat_suid", inside: "EPERM"}, {name: "mknod_suid", inside: "EPERM"},
	{name: "prlimit_init", inside: "EPERM"}, {name: "prlimit_own", inside: "OK"},
}

// amd64 are the acts that other architectures do not know.
var amd64 = []string{"x32", "int80", "iopl_bad", "modify_ldt"}

const noFamily = "EPERM|EAFNOSUPPORT|EPROTONOSUPPORT|ESOCKTNOSUPPORT"

// TestCalls makes every call of the probe three times: in a jail, outside as the user, and outside as root of a user namespace that the
// user makes. What a wall refuses must get another answer from at least one of the two outside, or the wall is not what refused it.
func TestCalls(t *testing.T) {
	built, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	project := filepath.Join(t.TempDir(), "project")
	if err := os.Mkdir(project, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(filepath.Join(project, "probe"), built); err != nil {
		t.Fatal(err)
	}
	answers := func(argv ...string) map[string]string {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = project
		// A keyring, a home and a state directory that are the test's own.
		cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(project, "../state"), "XDG_CONFIG_HOME="+filepath.Join(project, "../config"))
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, said.String())
		}
		all := map[string]string{}
		for line := range strings.Lines(string(out)) {
			name, answer, _ := strings.Cut(strings.TrimSpace(line), " ")
			all[name] = answer
		}
		return all
	}
	inside := answers(os.Getenv("AGENTJAIL_BIN"), "--", "./probe", "calls")
	user := answers("./probe", "calls")
	userns := answers("./probe", "userns")
	for _, c := range calls {
		t.Run(c.name, func(t *testing.T) {
			got, ok := inside[c.name]
			if !ok && slices.Contains(amd64, c.name) && runtime.GOARCH != "amd64" {
				return
			}
			want := strings.Split(c.inside, "|")
			if !slices.Contains(want, got) {
				t.Errorf("in a jail: %s, want %s", got, c.inside)
			}
			if want[0] == "OK" || c.root && os.Getuid() != 0 {
				return
			}
			for _, outside := range []string{user[c.name], userns[c.name]} {
				// A kernel that was built without the thing refuses it to everybody.
				if !slices.Contains(want, outside) || outside == "ENOSYS" || outside == "EAFNOSUPPORT" || outside == "ENOENT" {
					return
				}
			}
			t.Errorf("the control: outside the answers are %s and, as root of a user namespace, %s: no wall to see", user[c.name], userns[c.name])
		})
	}
	for name := range inside {
		if !slices.ContainsFunc(calls, func(c call) bool { return c.name == name }) {
			t.Errorf("the probe's %s has no row", name)
		}
	}
}
