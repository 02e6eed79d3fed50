#define _GNU_SOURCE
#include "container.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "init.h"

// <sys/mount.h> has mount(2) and, before glibc 2.36, clashes with <linux/mount.h>.
extern int mount(const char *, const char *, const char *, unsigned long, const void *);
extern int umount2(const char *, int);
enum { NOSUID = 2, NODEV = 4, NOEXEC = 8, RDONLY = 1, BIND = 4096, DETACH = 2 };

// What a jail without sysfs still has in /proc. For a command whose host uid is 0 these mounts are the only wall: owner checks on
// /proc/sys and on the maps of physical memory ask for no capability.
static const char *const readonly[] = {"bus", "fs", "irq", "sys", "sysrq-trigger"};
static const char *const masked[] = {"acpi", "asound", "interrupts", "kcore", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags",
	"latency_stats", "mtrr", "pagetypeinfo", "sched_debug", "scsi", "slabinfo", "timer_list", "timer_stats", "vmallocinfo"};
enum { READONLY = sizeof readonly / sizeof *readonly, MASKED = sizeof masked / sizeof *masked };

// The child shares our memory and borrows our thread's time until it executes (CLONE_VM, CLONE_VFORK): it allocates nothing, and what
// it leaves in c is read when it is gone from here. libc's setgroups(2) would be for all threads, so it is the bare call.
static _Noreturn void fail(struct container *c, int stage) {
	c->stage = stage;
	c->err = errno;
	_exit(125);
}

static int restrict_mount(int fd, const char *path, unsigned flags) {
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
	return syscall(SYS_mount_setattr, fd, path, flags, &attr, sizeof attr);
}

// The working directory is /proc of the jail from here to the end of mask.
static void make_readonly(struct container *c) {
	for (int i = 0; i < READONLY; i++) {
		int tree = syscall(SYS_open_tree, AT_FDCWD, readonly[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
		if (tree < 0 && errno == ENOENT)
			continue; // this kernel has none
		if (tree < 0 || restrict_mount(tree, "", AT_EMPTY_PATH | AT_RECURSIVE) < 0 ||
			syscall(SYS_move_mount, tree, "", AT_FDCWD, readonly[i], MOVE_MOUNT_F_EMPTY_PATH) < 0)
			fail(c, CONTAINER_PROC);
		close(tree);
	}
}

// mask covers a file with the jail's /dev/null and a directory with an empty one. To bind the file first and see it refused would take
// a grace period of RCU.
static void mask(struct container *c) {
	for (int i = 0; i < MASKED; i++) {
		struct stat st;
		int err = lstat(masked[i], &st);
		if (err < 0 && errno == ENOENT)
			continue; // this kernel has none
		if (err == 0 && S_ISDIR(st.st_mode))
			err = mount("tmpfs", masked[i], "tmpfs", NOSUID | NODEV | NOEXEC | RDONLY, "nr_blocks=1,nr_inodes=1");
		else if (err == 0)
			err = mount("../dev/null", masked[i], NULL, BIND, NULL);
		if (err < 0)
			fail(c, CONTAINER_MASK);
	}
}

// mounts makes what belongs to the new namespaces, and leaves the host's files behind.
static void mounts(struct container *c) {
	struct stat null;
	if (chdir(c->root) < 0 || mount("proc", c->proc, "proc", NOSUID | NODEV | NOEXEC, NULL) < 0 || chdir(c->proc) < 0)
		fail(c, CONTAINER_PROC);
	make_readonly(c);
	if (lstat("../dev/null", &null) < 0)
		fail(c, CONTAINER_MASK);
	if (!S_ISCHR(null.st_mode) || null.st_rdev != makedev(1, 3)) { // what covers must not be something to read or write (CVE-2025-31133)
		errno = ENODEV;
		fail(c, CONTAINER_MASK);
	}
	mask(c);
	if (chdir(c->root) < 0 || mount("mqueue", c->mqueue, "mqueue", NOSUID | NODEV | NOEXEC, NULL) < 0)
		fail(c, CONTAINER_MQUEUE);
	if (restrict_mount(AT_FDCWD, ".", 0) < 0)
		fail(c, CONTAINER_READONLY);
	// The new root is stacked on the old one, which is then what "." names (pivot_root(2)).
	if (syscall(SYS_pivot_root, ".", ".") < 0 || chdir("/") < 0 || umount2(".", DETACH) < 0) // no working directory in the old one (CVE-2024-21626)
		fail(c, CONTAINER_PIVOT);
}

// drop leaves CAP_SETFCAP alone: init maps the parent's id 0 into the command's namespace (user_namespaces(7), Linux 5.12).
static void drop(struct container *c) {
	// An ordinary caller's namespace denies it, and the groups stay (doc.go, "What a jail does not stop").
	if (syscall(SYS_setgroups, 0, NULL) < 0 && errno != EPERM)
		fail(c, CONTAINER_GROUPS);
	for (int cap = 0; cap <= 63; cap++)
		if (cap != CAP_SETFCAP && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			fail(c, CONTAINER_CAPS);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail(c, CONTAINER_CAPS);
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct one[2];
	memset(one, 0, sizeof one); // the ambient set goes with the inheritable one
	one[CAP_TO_INDEX(CAP_SETFCAP)].effective = one[CAP_TO_INDEX(CAP_SETFCAP)].permitted = CAP_TO_MASK(CAP_SETFCAP);
	if (syscall(SYS_capset, &head, one) < 0)
		fail(c, CONTAINER_CAPS);
}

static int child(void *arg) {
	struct container *c = arg;
	if (setns(c->net, CLONE_NEWNET) < 0)
		fail(c, CONTAINER_NET);
	if (sethostname(c->hostname, strlen(c->hostname)) < 0)
		fail(c, CONTAINER_HOSTNAME);
	// The caller's session keyring is inherited like a descriptor (session-keyring(7)): the jail gets one of its own.
	if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS)
		fail(c, CONTAINER_KEYRING);
	mounts(c);
	drop(c);
	if (setsid() < 0)
		fail(c, CONTAINER_SESSION);
	// First out of the way of each other, then to their places.
	int files[4];
	for (int i = 0; i < 4; i++)
		if ((files[i] = fcntl(c->files[i], F_DUPFD_CLOEXEC, 4)) < 0)
			fail(c, CONTAINER_STDIO);
	int exe = fcntl(c->exe, F_DUPFD_CLOEXEC, 4);
	if (exe < 0)
		fail(c, CONTAINER_STDIO);
	for (int i = 0; i < 4; i++)
		if (dup2(files[i], i) < 0)
			fail(c, CONTAINER_STDIO);
	if (syscall(SYS_close_range, 4, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		fail(c, CONTAINER_STDIO);
	char *const argv[] = {"agentjail-init", NULL}, *const envp[] = {INIT_ENV "=1", NULL};
	syscall(SYS_execveat, exe, "", argv, envp, AT_EMPTY_PATH); // our binary has no name in the jail
	fail(c, CONTAINER_EXEC);
}

int container_start(struct container *c) {
	enum { STACK = 64 << 10 };
	char *stack = malloc(STACK);
	c->stage = CONTAINER_CLONE;
	if (!stack) {
		c->err = ENOMEM;
		return -1;
	}
	// No handler of Go's runtime may run in the child, on our memory.
	sigset_t all, old;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	c->stage = c->err = 0;
	int pid = clone(child, stack + STACK,
		CLONE_VM | CLONE_VFORK | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | SIGCHLD, c);
	if (pid < 0) {
		c->stage = CONTAINER_CLONE;
		c->err = errno;
	}
	sigprocmask(SIG_SETMASK, &old, NULL);
	free(stack);
	return pid;
}
