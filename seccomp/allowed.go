package seccomp

// allowedCalls are the calls that are let through whatever their arguments. A name that exists on one architecture alone is
// skipped on the other; the old calls without "at", dup2, fork and their like exist on amd64 alone.
//
// Left out on purpose, so that they answer ENOSYS: get_mempolicy, mbind and set_mempolicy (libnuma reads ENOSYS as a machine
// without NUMA and carries on; EPERM makes it complain), modify_ldt (16-bit segments, for 32-bit Wine; CVE-2017-17053),
// fanotify_* (file watchers use inotify), memfd_secret, remap_file_pages, process_madvise, move_pages, ustat, sysfs, uselib.
func allowedCalls() []rule {
	return []rule{
		{why: "files and directories, by descriptor and by path: the mounts are the wall here; those with a mode are in setid.go", clauses: always(allow), names: []string{
			"access", "chdir", "chown", "close", "close_range", "copy_file_range", "dup", "dup2", "dup3", "faccessat", "faccessat2",
			"fadvise64", "fallocate", "fchdir", "fchown", "fchownat", "fdatasync", "flock", "fstat", "fstatfs", "fsync",
			"ftruncate", "futimesat", "getcwd", "getdents", "getdents64", "lchown", "link", "linkat", "lseek", "lstat", "mkdir",
			"mkdirat", "newfstatat", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead",
			"readlink", "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "sendfile", "splice", "stat", "statfs",
			"statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs", "tee", "truncate", "umask", "unlink", "unlinkat",
			"utime", "utimensat", "utimes", "vmsplice", "write", "writev", "cachestat",
		}},
		{why: "extended attributes", clauses: always(allow), names: []string{
			"fgetxattr", "flistxattr", "fremovexattr", "fsetxattr", "getxattr", "getxattrat", "lgetxattr", "listxattr", "listxattrat",
			"llistxattr", "lremovexattr", "lsetxattr", "removexattr", "removexattrat", "setxattr", "setxattrat",
		}},
		{why: "pipes, events and timers on descriptors", clauses: always(allow), names: []string{
			"epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2",
			"inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "pipe", "pipe2", "poll", "ppoll", "pselect6",
			"select", "signalfd", "signalfd4", "timerfd_create", "timerfd_gettime", "timerfd_settime",
		}},
		{why: "Linux AIO (databases); io_uring is another thing, see refused.go", clauses: always(allow), names: []string{
			"io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_setup", "io_submit",
		}},
		{why: "memory; JavaScript engines use protection keys, sanitizers and allocators the rest", clauses: always(allow), names: []string{
			"brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "mincore", "mlock", "mlock2", "mlockall", "mmap",
			"mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect",
		}},
		// prctl whole: of its operations PR_SET_MM alone invites a refusal, and that one changes the caller's own bookkeeping, for a
		// capability that nothing in the jail has or after checks. A rule on the operation would cost each prctl a walk through it.
		// arch_prctl sets the thread pointer and the shadow stack on amd64; it does not exist elsewhere.
		// uretprobe is the kernel's own trampoline: refusing it kills a process that an administrator traces from outside.
		{why: "processes, threads and what they wait for", clauses: always(allow), names: []string{
			"alarm", "arch_prctl", "clock_getres", "clock_gettime", "clock_nanosleep", "execve", "execveat", "exit", "exit_group",
			"fork", "futex", "futex_requeue", "futex_wait", "futex_waitv", "futex_wake", "get_robust_list", "getcpu", "getitimer",
			"getrandom", "gettid", "gettimeofday", "nanosleep", "pause", "prctl", "restart_syscall", "rseq", "set_robust_list", "set_tid_address",
			"setitimer", "sysinfo", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime",
			"times", "uname", "uretprobe", "vfork", "wait4", "waitid",
		}},
		{why: "signals; the PID namespace is the wall here", clauses: always(allow), names: []string{
			"kill", "pidfd_open", "pidfd_send_signal", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo",
			"rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "rt_tgsigqueueinfo", "sigaltstack", "tgkill", "tkill",
		}},
		{why: "scheduling and limits; raising either needs a capability that nothing in the jail has", clauses: always(allow), names: []string{
			"getpriority", "getrlimit", "getrusage", "ioprio_get", "ioprio_set", "sched_get_priority_max",
			"sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
			"sched_rr_get_interval", "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield",
			"setpriority", "setrlimit",
		}},
		// The set*id calls can only name the one id that the user namespace maps; ssh and login shells call them with it.
		{why: "identity, sessions and job control", clauses: always(allow), names: []string{
			"capget", "capset", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid", "getppid", "getresgid",
			"getresuid", "getsid", "getuid", "setfsgid", "setfsuid", "setgid", "setgroups", "setpgid", "setregid", "setresgid",
			"setresuid", "setreuid", "setsid", "setuid",
		}},
		{why: "sockets, once they exist: socket and socketpair are judged by their arguments", clauses: always(allow), names: []string{
			"accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recvfrom", "recvmmsg",
			"recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
		}},
		{why: "System V IPC and POSIX queues, in an IPC namespace of the jail's own", clauses: always(allow), names: []string{
			"mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedsend", "mq_unlink", "msgctl", "msgget", "msgrcv",
			"msgsnd", "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt", "shmget",
		}},
		// They only ever narrow what the caller may do, and agents with a sandbox of their own refuse to start without them.
		{why: "sandboxes inside the jail", clauses: always(allow), names: []string{
			"landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "seccomp",
		}},
		// The same as /proc/self/mountinfo, which the jail has; util-linux 2.41 asks them first.
		{why: "reading the jail's own mounts", clauses: always(allow), names: []string{"listmount", "statmount"}},
	}
}
