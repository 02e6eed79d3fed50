// Package seccomp answers one question: which system calls?
//
// [Compile] turns the policy into a program for the kernel. It loads nothing: whoever starts the command loads the program in the
// new process, after no_new_privs and just before execve(2), so that the filter meets the command and none of our own set-up.
//
//	program, err := seccomp.Compile([]string{"debug"})
//	// in the child: prctl(PR_SET_NO_NEW_PRIVS, 1), then
//	// seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &sock_fprog{len(program) / 8, program})
//
// SECCOMP_FILTER_FLAG_SPEC_ALLOW belongs there: before Linux 5.16 a filter without it switches on mitigations of speculative
// execution that slow the whole command down, and nothing in the jail is kept from the rest of the jail by the filter.
//
// # The policy
//
// One table for amd64 and arm64, in the order in which to read it: what ordinary programs need (allowed.go), what depends on the
// arguments (judged.go), what is refused loudly (refused.go), and the groups that a profile may add (groups.go). As text, a call
// a line, it stands in testdata/policy.txt.
//
//   - A call that no rule names answers ENOSYS, as on an older kernel: programs fall back. New calls of new kernels are refused
//     without a release of ours.
//   - The dangerous ones answer EPERM, which programs report as what it is.
//   - clone3 and io_uring answer ENOSYS, for what they do cannot be seen from here and everybody has a way without them.
//   - Only the machine's own ABI exists. int 0x80 and x32 end the process with SIGSYS: the same numbers are other calls there.
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
// # Cost
//
// Measured on Linux 6.18, in a busy virtual machine with two cores, with libseccomp 2.5.4: Compile takes 3 ms, nearly all of it
// in libseccomp, and can run beside the rest of a launch; loading the program takes 0.3 ms. A call that is allowed whatever its
// arguments costs 10 to 20 ns more than without a filter, for the kernel remembers that and does not run the program (Linux
// 5.11); ioctl, which is judged, 30 ns. Runs of `git status` and of gcc take 1 % more in the median of ten, within the machine's
// noise of 3 %. With libseccomp's linear order in place of its binary tree Compile takes 2.5 ms and loading 0.65 ms; the command
// has to wait for the second.
//
// # What it does not do
//
// It does not look behind pointers: paths, addresses and the contents of messages are for the mounts and the door. It does not
// keep the jail's processes from each other; that ptrace is mostly refused makes the kernel's surface smaller and is no wall,
// for /proc/PID/mem is as good. It does not stop a bug in a call that everybody needs. And it does not take the place of having
// no capability and no third user namespace: each of these walls is meant to hold when another does not.
package seccomp
