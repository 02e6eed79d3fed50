// What launcher and init say to each other; init.go draws it. Numbers are in the machine's byte order: both are one binary.
#ifndef AGENTJAIL_INIT_H
#define AGENTJAIL_INIT_H

#include <stdint.h>

// INIT_ENV in the environment of a process that is PID 1 makes it the jail's init.
#define INIT_ENV "_AGENTJAIL_INIT"

enum { INIT_START = 1, INIT_SIGNAL }; // to init
enum { INIT_TERMINAL = 1, INIT_RUNNING, INIT_STOPPED, INIT_EXITED, INIT_FAILED }; // from init

// A message to init: this, then size bytes.
struct init_head {
	uint32_t size;
	uint32_t kind;
};

struct init_signal {
	int32_t signal;
	int32_t group; // to the command's process group
};

// After this follow the limits, the filter (struct sock_filter[]), and strings, each with its NUL: path, dir, argv, environment.
struct init_start {
	uint64_t slack;   // nanoseconds by which timers may be late (PR_SET_TIMERSLACK(2const)); 0 for as they are
	int32_t uid, gid; // as the command sees them
	uint32_t umask;
	uint32_t terminal;
	uint32_t separate; // with a terminal: stderr is not part of it
	uint16_t row, col, x, y;
	uint32_t limits, filter, argc, envc; // how many
};

struct init_limit {
	uint64_t resource, soft, hard; // prlimit(2)
};

// A message from init: a is the exit code, b the signal; or a is the stage that failed (spawn.h) and b its errno.
struct init_event {
	uint32_t kind;
	int32_t a, b;
};

#endif
