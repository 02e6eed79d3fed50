// What is best done while a process of ours has one thread: before Go's runtime starts.
#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

__attribute__((constructor)) static void agentjail_alone(void) {
	// A table of descriptors that grows while threads share it waits for a grace period of RCU (expand_fdtable in the kernel), 10 ms and
	// more: the gateway's did at the 64th source of a mount, in the middle of a launch, and the launcher's at the door's connections.
	enum { ROOM = 1024 };
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, ROOM - 1); // fails where the limit is lower, and then there is no need, either
	if (fd >= 0)
		close(fd);
	// C allocates little here, and every thread of the runtime's would map a heap of 64 MB for it, at which the others wait (mallopt(3)).
	mallopt(M_ARENA_MAX, 1);
}
