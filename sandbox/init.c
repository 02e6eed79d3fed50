// The jail's PID 1; init.go says what it does and why it is C.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"
#include "spawn.h"

enum { LAUNCHER = 3 }; // the descriptor of our socket

// tell sends an event, with a descriptor unless it is -1. A launcher that is gone is noticed by reading.
static void tell(uint32_t kind, int a, int b, int fd) {
	struct init_event event = {kind, a, b};
	struct iovec iov = {&event, sizeof event};
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof fd)];
	} control;
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	if (fd >= 0) {
		memset(&control, 0, sizeof control);
		control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
		m.msg_control = &control;
		m.msg_controllen = sizeof control.space;
	}
	while (sendmsg(LAUNCHER, &m, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

static _Noreturn void give_up(int stage) {
	tell(INIT_FAILED, stage, errno, -1);
	_exit(125);
}

// get reads n bytes; without a launcher there is no jail.
static void get(void *buf, size_t n) {
	for (char *p = buf; n > 0;) {
		ssize_t got = read(LAUNCHER, p, n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			_exit(125);
		p += got;
		n -= got;
	}
}

// next reads one message into memory that is never given back: there are few.
static struct init_head next(void **body) {
	struct init_head head;
	get(&head, sizeof head);
	if (!(*body = malloc(head.size + 1)))
		give_up(SPAWN_INIT);
	get(*body, head.size);
	return head;
}

static int is_signal(struct init_head head) { return head.kind == INIT_SIGNAL && head.size == sizeof(struct init_signal); }

static void forward(const struct init_signal *s, int command) {
	kill(s->group ? -command : command, s->signal); // one that is already gone is about to be reported
}

// string takes the next string of those between *p and end.
static char *string(char **p, char *end) {
	char *s = *p, *nul = memchr(s, 0, end - s);
	if (!nul) {
		errno = EBADMSG;
		give_up(SPAWN_INIT);
	}
	*p = nul + 1;
	return s;
}

static char **strings(char **p, char *end, uint32_t n) {
	char **list = calloc((size_t)n + 1, sizeof *list);
	if (!list)
		give_up(SPAWN_INIT);
	for (uint32_t i = 0; i < n; i++)
		list[i] = string(p, end);
	return list;
}

// terminal makes a pty of the jail's own devpts our controlling terminal and hands its master to the launcher.
static int terminal(const struct init_start *s) {
	struct winsize size = {s->row, s->col, s->x, s->y};
	int unlock = 0, slave;
	int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0 || ioctl(master, TIOCSWINSZ, &size) < 0)
		give_up(SPAWN_TERMINAL);
	if ((slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0)
		give_up(SPAWN_TERMINAL);
	if (ioctl(slave, TIOCSCTTY, 0) < 0) // container.c has made us a session leader
		give_up(SPAWN_TERMINAL);
	tell(INIT_TERMINAL, 0, 0, master);
	close(master);
	return slave;
}

// start becomes the command's parent.
static int start(char *body, size_t size) {
	const struct init_start *s = (const struct init_start *)body;
	char *end = body + size, *p = body + sizeof *s;
	size_t fixed = sizeof *s + (size_t)s->limits * sizeof(struct init_limit) + (size_t)s->filter * sizeof(struct sock_filter);
	if (size < sizeof *s || size < fixed) {
		errno = EBADMSG;
		give_up(SPAWN_INIT);
	}
	struct spawn_args a = {.uid = s->uid, .gid = s->gid, .umask = s->umask, .terminal = s->terminal, .limit_count = s->limits};
	a.limits = (const struct init_limit *)p;
	p += s->limits * sizeof(struct init_limit);
	a.filter = (struct sock_fprog){s->filter, (struct sock_filter *)p};
	p = body + fixed;
	a.path = string(&p, end);
	a.dir = string(&p, end);
	a.argv = strings(&p, end, s->argc);
	a.envp = strings(&p, end, s->envc);

	if (s->slack > 0 && prctl(PR_SET_TIMERSLACK, (unsigned long)s->slack) < 0) // the command inherits it
		give_up(SPAWN_INIT);
	int from[3] = {0, 1, 2};
	if (s->terminal) {
		from[0] = from[1] = terminal(s);
		if (!s->separate)
			from[2] = from[0];
	}
	for (int i = 0; i < 3; i++)
		if ((a.stdio[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 3)) < 0)
			give_up(SPAWN_STDIO);
	struct spawn_error e;
	int pid = spawn(&a, &e);
	if (pid < 0) {
		errno = e.err;
		give_up(e.stage);
	}
	// The streams are the command's: whoever reads its output or writes its input sees it close them.
	for (int i = 0; i < 3; i++) {
		close(a.stdio[i]);
		close(from[i]);
		close(i);
	}
	return pid;
}

// reap waits for whatever has changed. Orphans of the jail come to us as PID 1; the command's end is the jail's.
static void reap(int command) {
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid != command)
			continue;
		if (WIFSTOPPED(status)) {
			tell(INIT_STOPPED, 0, 0, -1);
		} else {
			tell(INIT_EXITED, WIFEXITED(status) ? WEXITSTATUS(status) : 0, WIFSIGNALED(status) ? WTERMSIG(status) : 0, -1);
			_exit(0);
		}
	}
}

__attribute__((constructor)) static void agentjail_init(void) {
	if (getpid() != 1 || !getenv(INIT_ENV))
		return;
	fcntl(LAUNCHER, F_SETFD, FD_CLOEXEC);
	// No core of a process that holds the launcher's socket; and the command may not attach anyway (other user namespace).
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	// What PID 1 does not handle, nobody in the jail can send it (pid_namespaces(7)); so it handles nothing and reads SIGCHLD.
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_SETMASK, &child, NULL);
	signal(SIGCHLD, SIG_DFL); // an ignored one would take the statuses away
	int children = signalfd(-1, &child, SFD_CLOEXEC);
	if (children < 0)
		give_up(SPAWN_INIT);

	// A signal may overtake what is to be started: it is for the command all the same.
	struct init_signal *early[64];
	int waiting = 0;
	struct init_head head;
	void *body;
	while ((head = next(&body)).kind != INIT_START)
		if (is_signal(head) && waiting < 64)
			early[waiting++] = body;
	int command = start(body, head.size);
	tell(INIT_RUNNING, 0, 0, -1);
	for (int i = 0; i < waiting; i++)
		forward(early[i], command);

	struct pollfd fds[2] = {{LAUNCHER, POLLIN, 0}, {children, POLLIN, 0}};
	for (;;) {
		if (poll(fds, 2, -1) < 0)
			continue; // EINTR
		if (fds[1].revents) {
			struct signalfd_siginfo info;
			if (read(children, &info, sizeof info) > 0)
				reap(command);
		}
		if (fds[0].revents) {
			head = next(&body);
			if (is_signal(head))
				forward(body, command);
			free(body);
		}
	}
}
