// probe: acts that a jail must refuse, each tried in a process of its own, one line each: "NAME OK", "NAME ERRNO" or "NAME SIGNAL".
//
//	probe calls          every act, as this process is
//	probe userns         every act, as root of a user namespace of its own, with new mount, PID, … namespaces
//	probe NAME           one act; the status is 0 when it succeeded
//
// Acts are chosen so that the kernel's own answer to an ordinary user differs from a refusal, where that can be: bad arguments that are
// looked at before the permission (EINVAL, EBADF, EFAULT) show that the call itself was reached.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <linux/netlink.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYS(...) (syscall(__VA_ARGS__) < 0 ? -1 : 0)

// Numbers that older headers lack are the same on every architecture from 424 on.
enum { nr_open_tree = 428, nr_move_mount = 429, nr_fsopen = 430, nr_clone3 = 435, nr_mount_setattr = 442, uring_setup = 425, uring_enter = 426,
       uring_register = 427, nr_openat2 = 437, nr_fchmodat2 = 452, nr_statmount = 457, nr_listmount = 458 };

static int unshare_user(void) { return unshare(CLONE_NEWUSER); }
static int unshare_mnt(void) { return unshare(CLONE_NEWNS); }
static int unshare_pid(void) { return unshare(CLONE_NEWPID); }
static int unshare_net(void) { return unshare(CLONE_NEWNET); }
static int unshare_ipc(void) { return unshare(CLONE_NEWIPC); }
static int unshare_uts(void) { return unshare(CLONE_NEWUTS); }
static int unshare_cgroup(void) { return unshare(0x02000000); }
static int unshare_time(void) { return unshare(0x00000080); }
static int raw_clone(long flags) {
	long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) _exit(0);
	if (pid > 0) waitpid(pid, 0, 0);
	return pid < 0 ? -1 : 0;
}
static int clone_user(void) { return raw_clone(CLONE_NEWUSER); }
static int clone_user_mnt(void) { return raw_clone(CLONE_NEWUSER | CLONE_NEWNS); }
static int clone_net(void) { return raw_clone(CLONE_NEWNET); }
static int clone3_null(void) { return SYS(nr_clone3, 0L, 0L); }
static int setns_self(void) {
	int fd = open("/proc/self/ns/uts", O_RDONLY);
	return fd < 0 ? -1 : setns(fd, CLONE_NEWUTS);
}
static int mount_tmpfs(void) { return mount("none", "/tmp", "tmpfs", 0, ""); }
static int mount_bind(void) { return mount("/tmp", "/tmp", 0, MS_BIND, 0); }
static int mount_remount(void) { return mount(0, "/usr", 0, MS_REMOUNT | MS_BIND, 0); }
static int umount_bad(void) { return umount2("/nowhere", 0); }
static int pivot(void) { return SYS(SYS_pivot_root, "/nowhere", "/nowhere"); }
static int chroot_root(void) { return chroot("/"); }
static int fsopen_tmpfs(void) { return SYS(nr_fsopen, "tmpfs", 0L); }
static int open_tree_clone(void) { return SYS(nr_open_tree, AT_FDCWD, "/", 1L); }
static int move_mount_bad(void) { return SYS(nr_move_mount, -1L, "", AT_FDCWD, "/tmp", 0xfffL << 20); }
static int mount_setattr_bad(void) { return SYS(nr_mount_setattr, AT_FDCWD, "/", 0xffffffL, 0L, 0L); }
static int statmount_bad(void) { return SYS(nr_statmount, 0L, 0L, 0L, 0L); }
static int listmount_bad(void) { return SYS(nr_listmount, 0L, 0L, 0L, 0L); }
static int bpf_bad(void) {
	char attr[8] = {0};
	return SYS(SYS_bpf, 9999L, attr, 8L);
}
static int perf_bad(void) { return SYS(SYS_perf_event_open, 0L, 0L, -1L, -1L, ~0UL); }
static int keyctl_get(void) { return SYS(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 1L); }
static int add_a_key(void) { return SYS(SYS_add_key, "user", "probe", "x", 1L, KEY_SPEC_PROCESS_KEYRING); }
static int request_a_key(void) { return SYS(SYS_request_key, "nosuch", "probe", 0L, 0L); }
static int userfault(void) { return SYS(SYS_userfaultfd, O_CLOEXEC | 1L); }
static int handle_bad(void) {
	struct { unsigned bytes; int type; unsigned char data[8]; } h = {8, 1, {0}};
	return SYS(SYS_open_by_handle_at, -1L, &h, 0L);
}
static int module_bad(void) { return SYS(SYS_finit_module, -1L, "", 0L); }
static int init_module_bad(void) { return SYS(SYS_init_module, 0L, 0L, ""); }
static int delete_module_bad(void) { return SYS(SYS_delete_module, 0L, 0L); }
static int kexec_bad(void) { return SYS(SYS_kexec_load, 0L, 0L, 0L, 0xff00L); }
static int reboot_bad(void) { return SYS(SYS_reboot, 1L, 2L, 3L, 0L); }
static int swapon_bad(void) { return SYS(SYS_swapon, 0L, 0L); }
static int syslog_size(void) { return SYS(SYS_syslog, 10L, 0L, 0L); }
static int acct_bad(void) { return SYS(SYS_acct, "/nowhere"); }
static int uring(void) { return SYS(uring_setup, 1L, 0L); }
static int uring_e(void) { return SYS(uring_enter, -1L, 0L, 0L, 0L, 0L, 0L); }
static int uring_r(void) { return SYS(uring_register, -1L, 0L, 0L, 0L); }
static int personality_per(void) { return SYS(SYS_personality, 0x0400000L | 0x8L); }
static int unknown_call(void) { return SYS(4000L); }

#ifdef __x86_64__
static int x32(void) { return SYS(0x40000000L | SYS_getpid); }
static int int80(void) {
	long r;
	__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory", "r8", "r9", "r10", "r11"); // i386 getpid
	if (r < 0) errno = -r;
	return r < 0 ? -1 : 0;
}
static int iopl_bad(void) { return SYS(SYS_iopl, 9L); }
static int modify_ldt(void) { return SYS(SYS_modify_ldt, 0L, 0L, 0L); }
#endif

// A terminal of our own, and controlling, as for whoever wants to type into a shell that comes after him.
static int own_tty(void) {
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY), unlock = 0, n;
	char name[32];
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) || ioctl(master, TIOCGPTN, &n)) return -1;
	snprintf(name, sizeof name, "/dev/pts/%d", n);
	setsid();
	return open(name, O_RDWR);
}
static int ioctl_on_tty(unsigned long request) {
	int fd = own_tty();
	char c[8] = {3}; // TIOCLINUX 3: paste the selection
	if (fd < 0) { errno = ENXIO; return -1; }
	return SYS(SYS_ioctl, (long)fd, request, c);
}
static int tiocsti(void) { return ioctl_on_tty(TIOCSTI); }
static int tiocsti_high(void) { return ioctl_on_tty(TIOCSTI | 1UL << 32); }
static int tiocsti_all_high(void) { return ioctl_on_tty(TIOCSTI | 0xffffffffUL << 32); }
static int tioclinux(void) { return ioctl_on_tty(TIOCLINUX); }
static int tioclinux_high(void) { return ioctl_on_tty(TIOCLINUX | 1UL << 40); }
static int tiocgwinsz(void) { return ioctl_on_tty(TIOCGWINSZ); } // must keep working

static int sock(int family, int type, int proto) {
	int fd = socket(family, type, proto);
	if (fd >= 0) close(fd);
	return fd < 0 ? -1 : 0;
}
static int s_unix(void) { return sock(AF_UNIX, SOCK_STREAM, 0); }
static int s_inet(void) { return sock(AF_INET, SOCK_STREAM, 0); }
static int s_inet6(void) { return sock(AF_INET6, SOCK_DGRAM, 0); }
static int s_route(void) { return sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }
static int s_uevent(void) { return sock(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT); }
static int s_diag(void) { return sock(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG); }
static int s_xfrm(void) { return sock(AF_NETLINK, SOCK_RAW, NETLINK_XFRM); }
static int s_netfilter(void) { return sock(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER); }
static int s_generic(void) { return sock(AF_NETLINK, SOCK_RAW, NETLINK_GENERIC); }
static int s_alg(void) { return sock(AF_ALG, SOCK_SEQPACKET, 0); }
static int s_vsock(void) { return sock(AF_VSOCK, SOCK_STREAM, 0); }
static int s_packet(void) { return sock(AF_PACKET, SOCK_RAW, 0); }
static int s_key(void) { return sock(AF_KEY, SOCK_RAW, 2); }
static int s_raw(void) { return sock(AF_INET, SOCK_RAW, 6); }
static int s_raw6(void) { return sock(AF_INET6, SOCK_RAW, 6); }
static int s_xdp(void) { return sock(44, SOCK_RAW, 0); }
static int s_bluetooth(void) { return sock(31, SOCK_RAW, 1); }
static int s_tipc(void) { return sock(30, SOCK_STREAM, 0); }
static int s_rds(void) { return sock(21, SOCK_SEQPACKET, 0); }
static int s_high(void) { return SYS(SYS_socket, AF_ALG | 1L << 32, (long)SOCK_SEQPACKET, 0L); }
static int pair_unix(void) { int v[2]; return socketpair(AF_UNIX, SOCK_STREAM, 0, v); }

static int ptrace_init(void) { return ptrace(PTRACE_SEIZE, 1, 0, 0) < 0 ? -1 : 0; }
static int ptrace_child(void) { // must keep working: gdb, strace
	pid_t pid = fork();
	if (pid == 0) { pause(); _exit(0); }
	int r = ptrace(PTRACE_SEIZE, pid, 0, 0) < 0 ? -1 : 0, e = errno;
	kill(pid, SIGKILL);
	waitpid(pid, 0, 0);
	errno = e;
	return r;
}
static int vm_write_init(void) {
	char c = 0;
	struct iovec l = {&c, 1}, r = {&c, 1};
	return process_vm_writev(1, &l, 1, &r, 1, 0) < 0 ? -1 : 0;
}
static int reach(const char *file, int flags) { int fd = open(file, flags); return fd < 0 ? -1 : (close(fd), 0); }
static int init_mem(void) { return reach("/proc/1/mem", O_RDWR); }
static int init_root(void) { return reach("/proc/1/root/", O_RDONLY | O_DIRECTORY); }
static int init_cwd(void) { return reach("/proc/1/cwd/", O_RDONLY | O_DIRECTORY); }
static int init_exe(void) { return reach("/proc/1/exe", O_RDONLY); }
static int init_fd(void) { // the list can be read by whoever has init's host uid; what it leads to must not be reached
	char name[32];
	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof name, "/proc/1/fd/%d", i);
		if (reach(name, O_RDONLY) == 0) return 0;
		if (errno != ENOENT) return -1;
	}
	return -1;
}
static int init_environ(void) { return reach("/proc/1/environ", O_RDONLY); }
static int setns_init(void) {
	int fd = open("/proc/1/ns/mnt", O_RDONLY);
	return fd < 0 ? -1 : setns(fd, 0);
}
static int kcore(void) { return reach("/proc/kcore", O_RDONLY); }
static int sysctl_write(void) { return reach("/proc/sys/kernel/hostname", O_WRONLY); }
static int sysrq(void) { return reach("/proc/sysrq-trigger", O_WRONLY); }

// Set-id files of the host: see kernel/no_set_id_files.txtar for what is left in the directory.
static int afresh(void) { // the probe runs in a project, which is the host's
	unlink("probe-file");
	return open("probe-file", O_CREAT | O_WRONLY, 0755);
}
static int chmod_suid(void) { afresh(); return chmod("probe-file", 04755); }
static int chmod_sgid(void) { afresh(); return chmod("probe-file", 02755); }
static int fchmod_suid(void) { return fchmod(afresh(), 04755); }
static int fchmodat_suid(void) { afresh(); return SYS(SYS_fchmodat, AT_FDCWD, "probe-file", 04755L | 0xffffL << 32); }
static int fchmodat2_any(void) { afresh(); return SYS(nr_fchmodat2, AT_FDCWD, "probe-file", 0755L, 0L); }
static int open_suid(void) { unlink("probe-file"); return open("probe-file", O_CREAT | O_WRONLY, 04755) < 0 ? -1 : 0; }
static int open_sgid(void) { unlink("probe-file"); return open("probe-file", O_CREAT | O_WRONLY, 02755) < 0 ? -1 : 0; }
static int open_tmpfile(void) { return open(".", O_TMPFILE | O_WRONLY, 04755) < 0 ? -1 : 0; }
static int open_garbage(void) { // without O_CREAT nobody looks at the mode
	close(afresh());
	return SYS(SYS_openat, AT_FDCWD, "probe-file", (long)O_RDONLY, 0xffffffffL);
}
static int openat2_any(void) {
	uint64_t how[3] = {O_RDONLY, 0, 0};
	return SYS(nr_openat2, AT_FDCWD, "/", how, sizeof how);
}
static int creat_suid(void) { unlink("probe-file"); return creat("probe-file", 04755) < 0 ? -1 : 0; }
static int mknod_suid(void) { unlink("probe-file"); return mknod("probe-file", S_IFREG | 04755, 0); }

static int prlimit_init(void) { struct rlimit l; return prlimit(1, RLIMIT_CPU, 0, &l); }
static int prlimit_own(void) { struct rlimit l; return prlimit(0, RLIMIT_CPU, 0, &l); }
static int mknod_dev(void) { unlink("/tmp/probe-dev"); return mknod("/tmp/probe-dev", S_IFBLK | 0600, 8 << 8); }
static int setuid_root(void) { return setuid(0); }
static int setgroups_none(void) { return SYS(SYS_setgroups, 0L, 0L); }
static int hostname(void) { return sethostname("x", 1); }
static int shm(void) { int id = shmget(IPC_PRIVATE, 4096, 0600); return id < 0 ? -1 : shmctl(id, IPC_RMID, 0); }
static int mqueue(void) {
	mqd_t q = mq_open("/probe", O_CREAT | O_RDWR, 0600, 0);
	return q < 0 ? -1 : mq_unlink("/probe");
}
static int shm_file(void) { return reach("/dev/shm/probe", O_CREAT | O_RDWR); }
static int memfd_exec(void) { return SYS(SYS_memfd_create, "probe", 0L); }

static const struct act { const char *name; int (*try)(void); } acts[] = {
#define A(f) {#f, f}
	A(unshare_user), A(unshare_mnt), A(unshare_pid), A(unshare_net), A(unshare_ipc), A(unshare_uts), A(unshare_cgroup), A(unshare_time),
	A(clone_user), A(clone_user_mnt), A(clone_net), A(clone3_null), A(setns_self), A(mount_tmpfs), A(mount_bind), A(mount_remount),
	A(umount_bad), A(pivot), A(chroot_root), A(fsopen_tmpfs), A(open_tree_clone), A(move_mount_bad), A(mount_setattr_bad), A(statmount_bad),
	A(listmount_bad), A(bpf_bad), A(perf_bad), A(keyctl_get), A(add_a_key), A(request_a_key), A(userfault), A(handle_bad), A(module_bad),
	A(init_module_bad), A(delete_module_bad), A(kexec_bad), A(reboot_bad), A(swapon_bad), A(syslog_size), A(acct_bad), A(uring), A(uring_e),
	A(uring_r), A(personality_per), A(unknown_call),
#ifdef __x86_64__
	A(x32), A(int80), A(iopl_bad), A(modify_ldt),
#endif
	A(tiocsti), A(tiocsti_high), A(tiocsti_all_high), A(tioclinux), A(tioclinux_high), A(tiocgwinsz),
	A(s_unix), A(s_inet), A(s_inet6), A(s_route), A(s_uevent), A(s_diag), A(s_xfrm), A(s_netfilter), A(s_generic), A(s_alg), A(s_vsock),
	A(s_packet), A(s_key), A(s_raw), A(s_raw6), A(s_xdp), A(s_bluetooth), A(s_tipc), A(s_rds), A(s_high), A(pair_unix),
	A(ptrace_init), A(ptrace_child), A(vm_write_init), A(init_mem), A(init_root), A(init_cwd), A(init_exe), A(init_fd), A(init_environ), A(setns_init), A(kcore), A(sysctl_write), A(sysrq), A(mknod_dev), A(setuid_root), A(setgroups_none), A(hostname), A(shm),
	A(mqueue), A(shm_file), A(memfd_exec),
	A(chmod_suid), A(chmod_sgid), A(fchmod_suid), A(fchmodat_suid), A(fchmodat2_any), A(open_suid), A(open_sgid), A(open_tmpfile),
	A(open_garbage), A(openat2_any), A(creat_suid), A(mknod_suid), A(prlimit_init), A(prlimit_own),
};

static int run(const struct act *a) {
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(5);
		errno = 0;
		_exit(a->try() == 0 ? 0 : errno ? errno : 255);
	}
	int status;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
	if (WIFSIGNALED(status))
		printf("%s SIG%s\n", a->name, sigabbrev_np(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == 0)
		printf("%s OK\n", a->name);
	else
		printf("%s %s\n", a->name, strerrorname_np(WEXITSTATUS(status)));
	return status != 0;
}

static void put(const char *file, const char *text) {
	int fd = open(file, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) < 0) { perror(file); exit(3); }
	close(fd);
}

static void become_root_of_userns(void) {
	char map[64];
	int uid = getuid(), gid = getgid();
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)) { perror("unshare"); exit(2); }
	put("/proc/self/setgroups", "deny");
	snprintf(map, sizeof map, "0 %d 1", uid);
	put("/proc/self/uid_map", map);
	snprintf(map, sizeof map, "0 %d 1", gid);
	put("/proc/self/gid_map", map);
	if (fork() == 0) { // PID 1, which the acts' processes, its children, may reach: where no wall stands they can
		if (mount("proc", "/proc", "proc", 0, 0)) perror("mount /proc");
		return;
	}
	int status;
	wait(&status);
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

// As the host's own root the acts succeed for real: the mounts and the host name that they change must be nobody else's.
static void keep_to_ourselves(void) {
	if (unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) || mount("none", "/", 0, MS_REC | MS_PRIVATE, 0)) {
		perror("probe: will not act as root of the host in the host's own namespaces");
		exit(2);
	}
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	int all = !strcmp(what, "calls") || !strcmp(what, "userns"), found = 0, failed = 0;
	if (geteuid() == 0) keep_to_ourselves();
	if (!strcmp(what, "userns")) become_root_of_userns();
	for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
		if (all || !strcmp(what, acts[i].name)) {
			found = 1;
			failed |= run(&acts[i]);
		}
	if (!found) { fprintf(stderr, "probe: no act %s\n", what); return 2; }
	return all ? 0 : failed;
}
