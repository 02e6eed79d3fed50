// How init starts the command; spawn.go says why it is C.
#ifndef AGENTJAIL_SPAWN_H
#define AGENTJAIL_SPAWN_H

#include <linux/filter.h>

struct spawn_args {
	const char *path;
	char *const *argv;
	char *const *envp;
	const char *dir;
	int stdio[3];
	int terminal; // stdio[0] is the controlling terminal of our session: take its foreground
	unsigned int umask;
	struct sock_fprog filter;
};

// The stages, for the report of a failure. The first two are the parent's.
enum { SPAWN_CLONE = 1, SPAWN_MAPS, SPAWN_CAPS, SPAWN_SESSION, SPAWN_STDIO, SPAWN_DIR, SPAWN_NO_NEW_PRIVS, SPAWN_FILTER, SPAWN_EXEC };

struct spawn_error {
	int stage;
	int err;
};

// spawn clones the child into a user namespace of its own and returns its pid, or -errno. The child waits for one byte on go_r (end
// of file: it exits), then becomes the command. A failure comes as one struct spawn_error on err_w, success as its end of file.
int spawn(const struct spawn_args *a, int go_r, int err_w);

#endif
