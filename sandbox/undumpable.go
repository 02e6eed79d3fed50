package sandbox

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// noCore keeps this process, which is about to hold credentials, from leaving its memory in a core file. Handlers that the kernel pipes
// a core to go by the limit as well (core(5)). It is inherited, and no process of a jail dumps core anyway.
func noCore() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("getrlimit(RLIMIT_CORE): %w", err)
	}
	limit.Cur = 0
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		return fmt.Errorf("setrlimit(RLIMIT_CORE): %w", err)
	}
	return nil
}

// undumpable closes this process to ptrace(2), /proc/PID/mem and core dumps for all other processes of the caller's. It comes when the
// gateway has its maps: of a process that cannot be dumped, /proc belongs to root, and the same goes for its child until the child executes
// something, so that an ordinary user could not write the child's uid_map any more (PR_SET_DUMPABLE in prctl(2)).
func undumpable() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl(PR_SET_DUMPABLE): %w", err)
	}
	return nil
}
