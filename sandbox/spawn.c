#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

static void fail(int fd, int stage) {
	struct spawn_error e = {stage, errno};
	if (write(fd, &e, sizeof e) < 0)
		_exit(124);
	_exit(125);
}

// child runs between clone(2) and execve(2) in a copy of a process that had several threads: async-signal-safe calls alone
// (signal-safety(7)).
static void child(const struct spawn_args *a, int go_r, int err_w) {
	char go;
	ssize_t n;
	do
		n = read(go_r, &go, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(125);

	// clone(2) gave every capability in the new namespace. The bounding set goes first: it needs CAP_SETPCAP.
	for (int cap = 0; cap <= 63; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
			fail(err_w, SPAWN_CAPS);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct none[2];
	memset(none, 0, sizeof none);
	if (syscall(SYS_capset, &head, none) < 0)
		fail(err_w, SPAWN_CAPS);

	// With a terminal init leads the session, so that the command's group is not an orphaned one and Ctrl-Z stops it
	// (setpgid(2), "orphaned process group").
	if (a->terminal) {
		if (setpgid(0, 0) < 0)
			fail(err_w, SPAWN_SESSION);
		if (tcsetpgrp(a->stdio[0], getpid()) < 0) // SIGTTOU is blocked here
			fail(err_w, SPAWN_SESSION);
	} else if (setsid() < 0) {
		fail(err_w, SPAWN_SESSION);
	}

	// The sources lie above 2 (spawn.go sees to it), so no dup2 overwrites one that is still needed.
	for (int i = 0; i < 3; i++)
		if (dup2(a->stdio[i], i) < 0)
			fail(err_w, SPAWN_STDIO);
	if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		fail(err_w, SPAWN_STDIO);
	if (chdir(a->dir) < 0)
		fail(err_w, SPAWN_DIR);
	umask(a->umask);

	struct sigaction dfl;
	memset(&dfl, 0, sizeof dfl);
	dfl.sa_handler = SIG_DFL;
	for (int s = 1; s < 65; s++)
		sigaction(s, &dfl, NULL); // fails for KILL, STOP and glibc's own two, which no program can ignore
	sigset_t empty;
	sigemptyset(&empty);
	sigprocmask(SIG_SETMASK, &empty, NULL);

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		fail(err_w, SPAWN_NO_NEW_PRIVS);
	// Before Linux 5.16 a filter switches on the mitigation of speculative store bypass for its process, and costs compilers 10 %;
	// the jail's processes share no address space with anybody they could spy on that way (as runc and Docker decide).
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &a->filter) < 0)
		fail(err_w, SPAWN_FILTER);
	execve(a->path, a->argv, a->envp);
	fail(err_w, SPAWN_EXEC);
}

int spawn(const struct spawn_args *a, int go_r, int err_w) {
	sigset_t all, old;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old); // no handler of Go's may run in the child
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	int err = errno;
	if (pid == 0)
		child(a, go_r, err_w);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return pid < 0 ? -err : (int)pid;
}
