package sandbox

import (
	"golang.org/x/sys/unix"
)

// rlimit is one resource limit of the command (prlimit(2)); everything that it starts inherits it.
type rlimit struct {
	Resource   int
	Soft, Hard uint64
}

// rlimits are the limits that need no cgroup: open files, no core dumps (a core of the command holds its secrets, and
// /proc/sys/kernel/core_pattern may feed it to a program on the host), and the number of tasks.
//
// The tasks are counted by RLIMIT_NPROC, which from Linux 5.14 counts per user namespace: in U1, where the command is alone, it is
// a wall of this jail's own, and a parent's limit holds for all namespaces below (commit 21d1c5e386bc, "Reimplement RLIMIT_NPROC on
// top of ucounts"). Before 5.14 it counts all processes of the user, and a jail would fail because of an open browser: [countsTasks]
// tells. The kernel does not apply it where the command's uid on the host is 0.
func rlimits(limits []Limit) []rlimit {
	out := []rlimit{{Resource: unix.RLIMIT_CORE}}
	for _, l := range limits {
		switch {
		case l.Name == "files" && l.Count > 0:
			out = append(out, atMost(unix.RLIMIT_NOFILE, uint64(l.Count)))
		case l.Name == "pids" && l.Count > 0 && countsTasks(diskFiles{}):
			out = append(out, atMost(unix.RLIMIT_NPROC, uint64(l.Count)))
		}
	}
	return out
}

// sharedLimits leave half of what the kernel counts for the user as a whole, whatever the namespace, to the user's other programs and jails:
// signals that wait, of which each POSIX timer takes one (timer_create(2)), and bytes of message queues (mq_overview(7)). A limit of a child
// user namespace's counts there and in those above (commit d64696905554, "Reimplement RLIMIT_SIGPENDING on top of ucounts").
func sharedLimits() []rlimit {
	var out []rlimit
	for _, resource := range []int{unix.RLIMIT_SIGPENDING, unix.RLIMIT_MSGQUEUE} {
		var now unix.Rlimit
		if err := unix.Getrlimit(resource, &now); err == nil && now.Cur != unix.RLIM_INFINITY {
			out = append(out, atMost(resource, now.Cur/2))
		}
	}
	return out
}

// atMost gives the limit n, or the caller's own where that is lower: raising it takes CAP_SYS_RESOURCE (setrlimit(2)), and a wall that
// is lower than asked for stands.
func atMost(resource int, n uint64) rlimit {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err == nil {
		n = min(n, now.Max)
	}
	return rlimit{resource, n, n}
}

// countsTasks says whether RLIMIT_NPROC counts per user namespace here.
func countsTasks(f Files) bool { return kernelAtLeast(f, 5, 14) }
