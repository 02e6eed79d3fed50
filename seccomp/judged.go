package seccomp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	eafnosupport    = verdict(syscall.EAFNOSUPPORT)
	eprotonosupport = verdict(syscall.EPROTONOSUPPORT)
	eopnotsupp      = verdict(syscall.EOPNOTSUPP)
	einval          = verdict(syscall.EINVAL)
)

// namespaceFlags are the CLONE_NEW* bits that clone(2) knows. CLONE_NEWTIME (0x80) is not one of them: its bit lies in the exit
// signal there, and only clone3 and unshare, both refused, can ask for it.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER |
	unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Values that x/sys has for one architecture alone, or not at all.
const (
	families        = 64        // more than AF_MAX (linux/socket.h), a power of two
	netlinks        = 32        // MAX_LINKS (linux/netlink.h)
	socketTypeMask  = 0xf       // net/socket.h SOCK_TYPE_MASK: what is left are SOCK_NONBLOCK and SOCK_CLOEXEC
	addrNoRandomize = 0x0040000 // personality(2)
	setDelegation   = 1024 + 16 // F_SETDELEG, of directories too (linux/fcntl.h, Linux 6.19)
	ptraceCont      = 7         // ptrace(2), the numbers of every architecture
	ptraceKill      = 8
	ptraceGetregs   = 12
	ptraceAttach    = 16
	ptraceDetach    = 17
	ptraceGetregset = 0x4204
)

// judgedCalls are the calls that are let through with some arguments and refused with others.
func judgedCalls() []rule {
	return []rule{
		// The flags are argument 0 on amd64 and arm64 alike (s390 swaps them with the stack).
		{why: "new threads and processes, but no new namespaces", names: []string{"clone"}, clauses: []clause{
			{when: []match{{0, namespaceFlags, 0}}, then: allow},
			{then: eperm},
		}},
		{why: "requests to devices, terminals and sockets", names: []string{"ioctl"}, clauses: []clause{
			// Both type into the terminal as if its user had: CVE-2017-5226, CVE-2023-28100. The jail's terminal is its own, but a
			// launcher that is a shell reads what is left in it.
			{when: []match{is(1, unix.TIOCSTI)}, then: eperm},
			{when: []match{is(1, unix.TIOCLINUX)}, then: eperm},
			// Loads line disciplines (n_gsm, n_hdlc, slcan) onto a pty, as any user: CVE-2017-2636, CVE-2023-6546.
			{when: []match{is(1, unix.TIOCSETD)}, then: eperm},
			{then: allow},
		}},
		// A lease lets the kernel hold whoever opens the file for writing, on the host and in other jails, for lease-break-time (45 s; fcntl(2),
		// "Leases"), and every user may have one of each file of the user's own, read-only ones too. EINVAL is the answer of file
		// systems that have none.
		{why: "descriptors and locks, but no leases", names: []string{"fcntl"}, clauses: []clause{
			{when: []match{is(1, unix.F_SETLEASE)}, then: einval},
			{when: []match{is(1, setDelegation)}, then: einval},
			{then: allow},
		}},
		{why: "the execution domain", names: []string{"personality"}, clauses: []clause{
			{when: []match{is(0, 0)}, then: allow},
			{when: []match{is(0, 0xffffffff)}, then: allow}, // asks and changes nothing
			// A program that switches off its own address randomization: gdb, `setarch -R`, and ThreadSanitizer on a kernel with
			// vm.mmap_rnd_bits above 28, where it starts itself again in this way or gives up.
			{when: []match{is(0, addrNoRandomize)}, then: allow},
		}},
		// init has the command's host uid, which is all that the kernel asks for: RLIMIT_CPU would end PID 1, and the jail. Which process
		// an id names cannot be seen from here, so a program's own is refused like any other; getrlimit(3) and setrlimit(3) pass 0.
		{why: "limits of the caller, and of no other process", names: []string{"prlimit64"}, clauses: []clause{
			{when: []match{is(0, 0)}, then: allow},
			{then: eperm},
		}},
		{why: "what LeakSanitizer needs; the rest is in group debug", names: []string{"ptrace"}, clauses: ptraceClauses()},
		{why: "local, IPv4 and IPv6 sockets, and the list of interfaces", names: []string{"socket"}, clauses: socketClauses()},
		{why: "pairs of local sockets", names: []string{"socketpair"}, clauses: []clause{
			{when: []match{is(0, unix.AF_UNIX)}, then: allow},
			{when: []match{under(0, families)}, then: eafnosupport},
		}},
	}
}

// ptraceClauses allow to attach, to look at registers and to let go. LeakSanitizer, which AddressSanitizer runs when a program
// ends, stops the program's threads with these and fails the program when it cannot. A tracee cannot be changed with them. That
// is less of the kernel within reach and no wall: the same processes can open each other's /proc/PID/mem.
func ptraceClauses() []clause {
	var clauses []clause
	for _, request := range []uint32{ptraceCont, ptraceKill, ptraceGetregs, ptraceAttach, ptraceDetach, ptraceGetregset} {
		clauses = append(clauses, clause{when: []match{is(0, request)}, then: allow})
	}
	return append(clauses,
		clause{when: []match{under(0, 0x20)}, then: eperm},             // the requests of 4.4BSD and of the architectures
		clause{when: []match{{0, ^uint32(0x1f), 0x4200}}, then: eperm}, // those of Linux, from PTRACE_SETOPTIONS on
	)
}

// socketClauses judge family, type and protocol of socket(2) and answer as a kernel that was built without the rest: programs
// that try (sudo an audit socket, libraries AF_ALG) know these answers and go on.
func socketClauses() []clause {
	// AF_INET (2) and AF_INET6 (10) differ in one bit, so one match is both.
	inet := match{0, ^uint32(unix.AF_INET ^ unix.AF_INET6), unix.AF_INET & unix.AF_INET6}
	kind := func(t uint32) match { return match{1, socketTypeMask, t} }
	protocol := func(p uint32) match { return is(2, p) }

	clauses := []clause{
		{when: []match{is(0, unix.AF_UNIX)}, then: allow},
		// getifaddrs(3), and so every runtime's list of interfaces, asks NETLINK_ROUTE. The other protocols are the kernel's
		// configuration: netfilter, xfrm, audit, crypto, generic netlink.
		{when: []match{is(0, unix.AF_NETLINK), protocol(unix.NETLINK_ROUTE)}, then: allow},
		{when: []match{is(0, unix.AF_NETLINK), under(2, netlinks)}, then: eprotonosupport},
		{when: []match{is(0, unix.AF_NETLINK)}, then: enosys},
		// EPERM is what socket(2) says to a process without CAP_NET_RAW; ping falls back to a datagram socket.
		{when: []match{inet, kind(unix.SOCK_RAW)}, then: eperm},
		{when: []match{inet, kind(unix.SOCK_PACKET)}, then: eperm},
	}
	// A protocol that is not listed would have the kernel load its module for anybody: SCTP, DCCP, L2TP. Go listens with MPTCP.
	for _, p := range []uint32{0, unix.IPPROTO_TCP, unix.IPPROTO_MPTCP} {
		clauses = append(clauses, clause{when: []match{inet, kind(unix.SOCK_STREAM), protocol(p)}, then: allow})
	}
	for _, p := range []uint32{0, unix.IPPROTO_UDP, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6} {
		clauses = append(clauses, clause{when: []match{inet, kind(unix.SOCK_DGRAM), protocol(p)}, then: allow})
	}
	return append(clauses,
		clause{when: []match{inet}, then: enosys}, // a refusal of the rest by another name would be a hundred rules
		clause{when: []match{under(0, families)}, then: eafnosupport},
	)
}
