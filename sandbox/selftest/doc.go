// Package selftest answers one question: does the jail hold on this machine?
//
// [Run] makes throwaway jails with the running binary, this kernel and the user's profile, and has acts tried in them that must not
// succeed: the catalogue (catalogue.go and the file of each area). Nothing is needed for it but the binary: an attempt is a function of
// ours, and the jail's command is a copy of the binary that [Reexec] recognizes by its name and its job.
//
// # What an attempt proves
//
// Each attempt has a control: the same function, told of the same kind of target, where its wall does not stand. Only what succeeds
// there and fails in the jail has been stopped by the jail. An attempt whose control fails is inconclusive, and so is one that could not
// be carried out, died or did not end in time: nobody knows. Where a machine may not have what an attempt is about, or has it for its
// root alone, a control that is refused says that nobody gets there: that attempt is absent. The walls that a control is without:
//
//	outside     all of them: an ordinary process of the user's, beside the jail
//	namespace   the jail's: a process that is root of a user namespace of its own, PID 1 of its PID namespace, with a network in
//	            which every address is its own. What needs a capability, or an address that nobody must be sent to, is tried there
//	other       the one between sessions, and the door's: in a second jail, which owns what the first one is after, and whose rules
//	            allow what the first one's do not
//
// A call that no ordinary user may finish is made with arguments that the kernel refuses for what they are (EINVAL, EFAULT, EBADF):
// that it gets as far as that is the success ([reached]). So an attempt tells whether a part of the kernel is within reach, and harms nothing.
//
// # Processes
//
//	Run ──┬── janitor         removes what is planted, when this process is gone too
//	      ├── bystander       a process of the user's that the jail must not find
//	      ├── agentjail run … other     the second jail: owns, answers, runs the controls called other
//	      ├── agentjail run … attack    the jail; then once more with a terminal
//	      ├── outside         the controls, without and with a terminal
//	      └── namespace       the controls that need to be root of something
//
// A runner gets a job as its argument and starts a process for each attempt, so that a system call filter that kills, or a crash, is
// one attempt's result. It answers on its standard output, a line of JSON an attempt.
//
// # What is planted
//
// All that the jail is after is made by Run and marked with a random word: files, sockets, servers on the loopback device, memory
// segments, queues, a process. It lies in temporary directories and goes when Run returns, also when its context ends; when this process
// is killed, a janitor that it has started takes it away (janitor.go). The user's home, project, state and sessions are not touched, but
// that one attempt opens the files of well-known credentials in the home, and reads none (credentials.go): the jails get a home and a state
// directory of the test's own, and the user's profiles. No packet leaves the machine.
//
// # What it does not do
//
// It tries what is known. It does not try what would harm the machine if it worked (fork bombs, full disks, a crash of the kernel), nor
// the bounds on resources, nor bugs of the kernel. It is told nothing of what a profile opens on purpose: a profile that shows a
// directory of credentials is reported as escaped from, which is the point. Whether the user's own command works in the jail it does not say.
package selftest
