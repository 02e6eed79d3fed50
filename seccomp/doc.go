// Package seccomp answers one question: which system calls?
//
// [Program] gives the policy as a program for the kernel. It loads nothing: whoever starts the command loads the program in the
// new process, after no_new_privs and just before execve(2), so that the filter meets the command and none of our own set-up.
//
//	program, err := seccomp.Program([]string{"debug"})
//	// in the child: prctl(PR_SET_NO_NEW_PRIVS, 1), then
//	// seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &sock_fprog{len(program) / 8, program})
//
// SECCOMP_FILTER_FLAG_SPEC_ALLOW belongs there: before Linux 5.16 a filter without it switches on mitigations of speculative
// execution that slow the whole command down, and nothing in the jail is kept from the rest of the jail by the filter.
//
// # The policy
//
// One table for amd64 and arm64, in the order in which to read it: what ordinary programs need (allowed.go), what depends on the
// arguments (judged.go; setid.go for modes of files), what is refused loudly (refused.go), and the groups that a profile may add
// (groups.go). As text, a call a line, it stands in testdata/policy.txt.
//
//   - A call that no rule names answers ENOSYS, as on an older kernel: programs fall back. New calls of new kernels are refused
//     without a release of ours.
//   - The dangerous ones answer EPERM, which programs report as what it is.
//   - clone3 and io_uring answer ENOSYS, for what they do cannot be seen from here and everybody has a way without them.
//   - Only the machine's own ABI exists. int 0x80 and x32 end the process with SIGSYS: the same numbers are other calls there.
//   - No call gives a file a set-user-ID or set-group-ID bit: the project and a persistent home are the host's, where nosuid does
//     not hold (setid.go). EPERM from those that carry a mode in a register; openat2 and fchmodat2 answer ENOSYS.
//   - prlimit(2) is for the caller, as pid 0, and for no other process: PID 1 has the command's host uid.
//   - fcntl(2) gives no lease (EINVAL, as from a file system without them): one holds whoever opens the file, in other jails and on the host.
//   - Only the low 32 bits of an argument count, as in the kernel (CVE-2019-10063).
//
// Nothing is allowed that moby's default profile refuses, but for a short list in the tests, each with its reason.
//
// # How it is compiled
//
// libseccomp knows no order of rules, and a rule without arguments swallows the ones with: "ioctl, but not TIOCSTI" cannot be
// said to it. So the clauses for a call, of which the first that fits decides, are cut into sets of arguments that have no call
// in common (cube.go), and then no order matters. A name that the libseccomp of the build does not know keeps the default.
//
// What the built-in profiles ask for is compiled ahead of time and lies in programs/ (go generate ./seccomp makes it; the tests run
// it for every call); any other choice of groups is compiled when it is asked for ([Compile]).
//
// # What a user may notice
//
// On a directory S_ISGID is harmless, but it is refused there too, since a filter cannot see what a path names. In a project whose
// directories have the bit, what is made inherits it from the kernel as ever, and mkdir, git, tar -x, npm and go build work; a chmod
// that would keep the bit does not, and so `chmod 755 DIR` (GNU's keeps it), `cp -a` of such a directory, Python's shutil.copytree
// and node's fs.cpSync report EPERM (`chmod g-s DIR` works). `git init --shared`, and writing to a repository whose
// core.sharedRepository is group or all, ask for the bit: `git -c core.sharedRepository=umask`. `tar -xp` of an archive with such
// files reports them; without -p tar leaves the bits out, and cp -a does with another user's files. `install -m 4755` works under
// fakeroot alone.
//
// A program that passes its own process id to prlimit(2) (`prlimit --pid $$`, psutil's Process.rlimit) is refused like one that
// passes another's. In group nested nothing sets an extended attribute.
//
// # Cost
//
// Measured on Linux 6.18, in a busy virtual machine with two cores, with libseccomp 2.5.4: Compile takes 3 to 9 ms, nearly all of
// it in libseccomp, which is why the usual programs are stored; loading the program takes 0.3 ms. A call that is allowed whatever its
// arguments (getppid) costs 10 to 35 ns more than without a filter, for the kernel remembers that and does not run the program
// (Linux 5.11); one that is judged 27 to 56 ns (ioctl), 45 to 72 ns (fchmod). In medians of processor time `git status` takes 1 %
// more and gcc 3 %, on a machine whose noise is not smaller; that open is judged too, which came later, could not be told from the
// noise in either, nor in a grep of 5000 files. With libseccomp's linear order in place of its binary tree Compile takes a fifth
// less and loading twice as long; the command has to wait for the second.
//
// # What it does not do
//
// It does not look behind pointers: paths, addresses and the contents of messages are for the mounts and the door. It does not
// keep the jail's processes from each other; that ptrace is mostly refused makes the kernel's surface smaller and is no wall,
// for /proc/PID/mem is as good. It does not take a set-id bit away that a file of the project had before: write(2) loses it, a
// write through mmap(2) does not, so such a program is the command's to change. It does not stop a bug in a call that everybody
// needs. And it does not take the place of having no capability and no third user namespace: each of these walls is meant to hold
// when another does not.
package seccomp
