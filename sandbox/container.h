// How the gateway starts init in the jail's namespaces; container.go says why it is C.
#ifndef AGENTJAIL_CONTAINER_H
#define AGENTJAIL_CONTAINER_H

struct container {
	const char *root;     // where the tree stands: a mount point in a private part of the mount namespace
	const char *proc;     // below root, without its slash: where /proc goes
	const char *mqueue;   // where the message queues go
	const char *hostname; // the jail's (uts_namespaces(7))
	int net;              // the jail's network namespace
	int files[4];         // init's descriptors: stdin, stdout, stderr, its socket
	int exe;              // what init executes

	// How it went: the stage that failed and its errno. Both are 0 once init's execve(2) has happened.
	int stage, err;
};

enum { CONTAINER_CLONE = 1, CONTAINER_NET, CONTAINER_HOSTNAME, CONTAINER_KEYRING, CONTAINER_PROC, CONTAINER_MASK, CONTAINER_MQUEUE,
	CONTAINER_READONLY, CONTAINER_PIVOT, CONTAINER_GROUPS, CONTAINER_CAPS, CONTAINER_SESSION, CONTAINER_STDIO, CONTAINER_EXEC };

// container_start makes the namespaces and starts init in them. It returns init's pid, or -1 when not even the clone happened; one
// whose stage is set has exited, and is still to be waited for.
int container_start(struct container *c);

#endif
