#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
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

// child runs between clone(2) and execve(2).
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

	// The sources lie above 2 (init.c sees to it), so no dup2 overwrites one that is still needed.
	for (int i = 0; i < 3; i++)
		if (dup2(a->stdio[i], i) < 0)
			fail(err_w, SPAWN_STDIO);
	if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
		fail(err_w, SPAWN_STDIO);
	if (chdir(a->dir) < 0)
		fail(err_w, SPAWN_DIR);
	umask(a->umask);
	for (unsigned int i = 0; i < a->limit_count; i++) {
		struct rlimit l = {a->limits[i].soft, a->limits[i].hard};
		if (setrlimit(a->limits[i].resource, &l) < 0)
			fail(err_w, SPAWN_LIMITS);
	}

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

static int put(int pid, const char *file, const char *text) {
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = write(fd, text, strlen(text));
	int err = errno;
	close(fd);
	errno = err;
	return n < 0 ? -1 : 0;
}

// maps maps the command's id to our 0, which is the caller outside. Mapping the parent's id 0 needs CAP_SETFCAP in the parent
// namespace since Linux 5.12 (user_namespaces(7)); it is the one capability that init has.
static int maps(int pid, int uid, int gid) {
	char map[64];
	if (put(pid, "setgroups", "deny") < 0)
		return -1;
	snprintf(map, sizeof map, "%d 0 1", uid);
	if (put(pid, "uid_map", map) < 0)
		return -1;
	snprintf(map, sizeof map, "%d 0 1", gid);
	return put(pid, "gid_map", map);
}

int spawn(const struct spawn_args *a, struct spawn_error *e) {
	int go[2], err[2]; // a byte lets the child go on; its failure comes as a struct spawn_error, its success as the end of file
	*e = (struct spawn_error){SPAWN_INIT, 0};
	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0)
		goto failed;
	sigset_t all, old;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old); // the child takes the terminal's foreground: SIGTTOU is blocked
	long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		child(a, go[0], err[1]);
	int errno_of_clone = errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	errno = errno_of_clone;
	e->stage = SPAWN_CLONE;
	if (pid < 0)
		goto failed;
	close(go[0]);
	close(err[1]);
	e->stage = SPAWN_MAPS;
	if (maps(pid, a->uid, a->gid) < 0)
		goto failed;
	if (write(go[1], "", 1) != 1)
		goto failed;
	close(go[1]);
	e->stage = 0;
	ssize_t n;
	do
		n = read(err[0], e, sizeof *e);
	while (n < 0 && errno == EINTR);
	close(err[0]);
	if (n == 0)
		return (int)pid;
	if (n == sizeof *e)
		return -1;
	e->stage = SPAWN_INIT;
failed:
	e->err = errno; // init ends now, and its descriptors with it
	return -1;
}
