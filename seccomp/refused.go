package seccomp

// refusedCalls answer EPERM: calls by which a process leaves a container, changes the machine, or reaches a part of the kernel
// that has been a way to root again and again. Most need a capability as well, which nothing in the jail has in any namespace
// that counts; the filter makes the refusal hold in a user namespace where a process has every capability too.
func refusedCalls() []rule {
	return []rule{
		{why: "mounts, by the old and the new interface", clauses: always(eperm), names: []string{
			"chroot", "fsconfig", "fsmount", "fsopen", "fspick", "mount", "mount_setattr", "move_mount", "open_tree", "open_tree_attr",
			"pivot_root", "umount2",
		}},
		// unshare(2) is refused whole: without CLONE_NEW* flags it is hardly used, and NEWTIME has no bit of its own in clone(2).
		{why: "other namespaces", clauses: always(eperm), names: []string{"setns", "unshare"}},
		// CVE-2014-3519, and the exploit called Shocker: a file handle names a file of the host below any mount. Making one is of no use without opening one.
		{why: "files by handle, past the mounts", clauses: always(eperm), names: []string{"name_to_handle_at", "open_by_handle_at"}},
		{why: "programs in the kernel and its counters (CVE-2021-3490, CVE-2023-2235)", clauses: always(eperm), names: []string{
			"bpf", "perf_event_open",
		}},
		// Keyrings are not namespaced by user: a session keyring that was inherited would be the host's (CVE-2014-9529, CVE-2016-0728).
		{why: "the kernel's keyrings", clauses: always(eperm), names: []string{"add_key", "keyctl", "request_key"}},
		// It stops the kernel in the middle of a copy for as long as the caller likes, which turns races into exploits.
		{why: "page faults handled by the faulting process", clauses: always(eperm), names: []string{"userfaultfd"}},
		{why: "the memory and descriptors of other processes; group debug has the first two", clauses: always(eperm), names: []string{
			"process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd",
		}},
		{why: "code for the kernel", clauses: always(eperm), names: []string{
			"create_module", "delete_module", "finit_module", "init_module", "kexec_file_load", "kexec_load",
		}},
		// adjtimex(2) and clock_adjtime(2) can also just read, but the filter cannot see which: the mode is behind a pointer.
		{why: "the machine's clock", clauses: always(eperm), names: []string{
			"adjtimex", "clock_adjtime", "clock_settime", "settimeofday",
		}},
		{why: "the machine: power, swap, accounting, quotas, names, log, terminals, I/O ports", clauses: always(eperm), names: []string{
			"acct", "ioperm", "iopl", "lookup_dcookie", "quotactl", "quotactl_fd", "reboot", "setdomainname", "sethostname", "swapoff",
			"swapon", "syslog", "vhangup",
		}},
		// The flags of clone3(2) are behind a pointer, where a filter cannot look. ENOSYS makes glibc and musl use clone(2).
		{why: "namespaces through a pointer", clauses: always(enosys), names: []string{"clone3"}},
		// The mode is in a struct: see setid.go for why it matters. Whoever calls openat2(2) is used to kernels without it (before 5.6).
		{why: "a mode through a pointer", clauses: always(enosys), names: []string{"openat2"}},
		// Its mode could be judged, but only by a libseccomp that knows the call, and some 2.5.4 do (Debian 12) and some do not: this
		// way every build answers the same. C libraries call it for AT_SYMLINK_NOFOLLOW alone and go through /proc without it.
		{why: "a mode, by a call that is too new", clauses: always(enosys), names: []string{"fchmodat2"}},
		// What goes through the ring is not seen by seccomp at all (openat, connect, socket …). ENOSYS makes libuv and others use epoll.
		{why: "system calls that no filter sees", clauses: always(enosys), names: []string{
			"io_uring_enter", "io_uring_register", "io_uring_setup",
		}},
	}
}
