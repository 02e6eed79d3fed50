// How init starts the command; init.go says why it is C.
#ifndef AGENTJAIL_SPAWN_H
#define AGENTJAIL_SPAWN_H

#include <linux/filter.h>

#include "init.h"

struct spawn_args {
	const char *path;
	char *const *argv;
	char *const *envp;
	const char *dir;
	int stdio[3];
	int terminal; // stdio[0] is the controlling terminal of our session: take its foreground
	int uid, gid; // as the command sees them
	unsigned int umask;
	const struct init_limit *limits;
	unsigned int limit_count;
	struct sock_fprog filter;
};

// The stages, for the report of a failure.
enum { SPAWN_INIT = 1, SPAWN_TERMINAL, SPAWN_CLONE, SPAWN_MAPS, SPAWN_CAPS, SPAWN_SESSION, SPAWN_STDIO, SPAWN_DIR, SPAWN_LIMITS, SPAWN_NO_NEW_PRIVS,
	SPAWN_FILTER, SPAWN_EXEC };

struct spawn_error {
	int stage; // 0: none
	int err;
};

// spawn starts the command in a user namespace of its own and returns its pid once execve(2) has happened, or -1 and the reason.
int spawn(const struct spawn_args *a, struct spawn_error *e);

#endif
