// Package sandbox plans a jail and makes it. This comment is the project's architecture document; README links here.
//
// # One sentence
//
// flags → Profile → Plan → Run → Report. Everything before Run is pure and prints itself: [NewPlan] turns a profile and facts
// about the machine ([Host]) into a [Plan] in which every line says why it is there, and [Run] does what the plan says and
// nothing else.
//
// # Words
//
// A profile is what is wished, a plan what will be done, the jail the result. The command is the argv that runs in it. The
// launcher is our process outside, the gateway the one in the middle, init the one inside. A wall is one mechanism; the door is
// the one way out; a denial is one thing that a wall or the door refused.
//
// # Processes and namespaces
//
//	host's namespaces            U0 + N0 + own mounts, pids    jail: mnt pid ipc uts cgroup N1, all owned by U0
//	┌──────────────────┐ clone   ┌─────────────────────┐     clone    ┌──────────────────────────────────────┐
//	│ launcher         │ ──────► │ gateway             │ ───────────► │ init, PID 1 ──── U1 ──► command      │
//	│  door: dials out │ ◄────── │  gw0 198.18.0.1 ◄───┼──── veth ────┼─ eth0 198.18.0.2                     │
//	│  pty relay       │ sockets │  sockets born in N0 │              │  the caller's uid, no capability     │
//	└──────────────────┘         └─────────────────────┘              └──────────────────────────────────────┘
//
// The launcher clones the gateway with a user namespace U0 that maps its 0 to the caller's one id: no setuid helper, no
// /etc/subuid. The gateway makes the file tree on a tmpfs that only its mount namespace has, the cable and the door's sockets,
// and starts init in the jail's namespaces (container.go). init is root of U0 with CAP_SETFCAP alone; it needs that to map the
// command's id into a second user namespace U1 (spawn.c), and shares no user namespace with the command, so the command can
// neither trace it nor look into it. U0 allows that one child namespace and no other (user.max_user_namespaces), so the command
// can make none.
//
// # Order of acts
//
//  1. The gateway is cloned beside the planning (ahead.go): its start takes longest, and it makes N1 and the cable, which need nothing
//     of the plan. Then it waits for its acts on a socket; the launcher's death kills it (PR_SET_PDEATHSIG), and so does a plan that
//     comes to nothing. It comes before the secrets, so it never has a copy of one.
//  2. The caller's descriptors are looked at (stdio.go): a directory ends the run before anything else exists. What comes out of the jail
//     is carried by the launcher, to its last byte when the jail is dead; a signal or the wall-time limit ends the wait for a slow reader.
//  3. The session's record is opened, its first line is written and room for the report is taken (audit.go): a run that cannot be
//     recorded does not begin, and one whose next event cannot be written is ended there and then, behind walls that stand to its end.
//  4. The secrets' values are asked for, so that the jail can have placeholders of their shape. They stay in the launcher, whose
//     memory goes into no core file and is closed to the caller's other processes by then.
//  5. The door is made and with it the session's certificate authority, whose certificate goes into the jail's trust stores.
//     Those take longer to make than the gateway to start, so what they hold follows when the tree stands (truststores.go).
//  6. The cgroup is made, and the gateway joins it before it is told to do anything: nothing that is not ours ever runs outside it.
//  7. The listening sockets are made while nobody is inside; they go to the launcher, which serves them
//     from the host's namespace. A socket keeps the namespace it was born in: accepting happens in N0, dialling outside.
//  8. Every source is opened before the first mount: mounting the private tmpfs hides part of the host's tree, and a source that
//     has become a link since the plan ends the run here (root.go).
//  9. The tree is made, protected paths last: a read-only bind below a directory that can be renamed protects nothing, so each
//     ancestor is pinned first.
//  10. U0's own limit on user namespaces is set after U0 is in use and before anything untrusted runs.
//  11. One clone(2) makes the remaining namespaces; the child mounts /proc and the message queues in them, makes the root read-only,
//     pivots, drops every capability but one and executes init from a descriptor: our binary has no name in the jail, and stands
//     behind a read-only mount (binary.go). The gateway then begins to guard the protecting mounts; its first look puts back what was
//     lifted since they were made, and where it cannot stand the jail ends.
//  12. init clones the command into U1, writes its maps, sets its resource limits; the child drops every capability, sets
//     no_new_privs, loads the filter and executes. The filter meets nothing but the command.
//
// The messages are drawn in handshake.go. A step that does not happen is an [Error] with the step's name and a hint (diagnose.go,
// which doctor shares), the exit status is 125 and the command has not run.
//
// # Walls, and what each refuses
//
//   - mounts: the host's files, but for the project and the read-only system; renaming or writing protected paths of the project.
//     A mount that a change on the host lifts is put back (guard.go), and what is not as it was is named at the end (watch.go).
//     The directories on the way to the project are read-only, so that nothing is written there and lost (beside.go).
//   - user namespace U1 and no_new_privs: every capability, setuid and file capabilities, further namespaces, PID 1 and its memory.
//   - pid, ipc, uts, cgroup: seeing or signalling other processes; shared memory, queues and names of the host.
//   - network namespace: every address but the door's; the host's loopback and abstract sockets.
//   - the door (package egress): names that no rule allows, addresses that are not public, requests whose parts disagree.
//   - seccomp (package seccomp): system calls outside an allowlist; other socket families, keyring, tracing, mounting, io_uring.
//   - stdio: descriptors that are more than a stream of bytes, what others write to a pipe on stdout, and the caller's terminal.
//   - limits: memory, processes and processor time where the machine lets us (cgroup*.go); open files, cores and tmpfs sizes always. Half of
//     the user's inotify instances and watches, waiting signals and message queues stays with the user's other programs and jails.
//
// A wall that cannot stand ends the run. The user may name one that may fall (--allow-degraded); the report then says so. Package
// selftest tries each of them on the user's machine, with a control where it does not stand (agentjail selftest).
//
// # Secrets
//
// A secret's value is where the caller has it: a variable, a file, the answer of a command, a keyring (source.go). The launcher asks
// once before the launch and then whenever the door needs it; gateway, init, command, plan, report and record know a placeholder or
// the name. A credential file is copied with placeholders at the JSON pointers and without its other objects (pointer.go): a copy of a login
// cannot be refreshed inside, its refresh token has a placeholder that no host gets, and the door reads the host's file again when
// it changes. A value that is in the jail in another way as well ends the run. The control socket (control.go) and a ttl end a
// secret's use while the session lasts.
//
// # Life and death
//
// init ends the jail when the command ends, and the kernel ends everything in a PID namespace whose PID 1 dies. The gateway is PID 1 of
// a namespace around the jail's, so whatever it has started dies with it, half-made containers included; it dies with the launcher
// (pdeathsig, and end of file on its socket for the moment before that is set). Mounts,
// links and sockets belong to namespaces and go with the last process. What a session leaves on the host is its record under the
// state directory, and its private home if that was asked to persist.
//
// # Started by uid 0
//
// A launcher that is root picks a host uid for the jail that is not: SUDO_UID, else the project's owner; a project of root's is shown
// through an idmapped mount. Only where the file system cannot do that does the host uid stay 0, behind the same walls; the command
// sees another uid than 0 even then. A process with host uid 0 passes owner checks on /proc/sys without any capability: there the
// read-only mount is the only wall, which is why it is made for everybody. Uid 0 of a user namespace that maps no other id is that one id,
// and an ordinary caller in all but name: it keeps its groups where setgroups(2) is denied, and its gateway opens the sources itself.
//
// # What a command may notice
//
// Tests make every system call outside and inside and list what differs (integration/judge_calls_amd64_test.go): mounts, namespaces,
// keyrings, tracing of the kernel, set-id modes, sockets but local, IP and route ones are EPERM or EAFNOSUPPORT; clone3, openat2, io_uring
// and what is little used answer ENOSYS, as an older kernel does, and an id that is not the caller's EINVAL. Package seccomp has the
// details. There is no /sys. The command is not PID 1. Without a terminal it leads a session, as under setsid(1): one that opens a
// terminal without O_NOCTTY has it for its own, and is hung up on when it goes.
//
// # What a jail does not stop
//
// Kernel bugs that are reachable through the allowed system calls. Covert channels: timing, load, sizes of allowed requests. What an
// allowed host does with what it is sent: an allowlist is damage reduction. Anything inside the project: it is the agent's to change,
// and code it writes there runs outside when the user runs it (the report names only the places that tools run by themselves).
// A file of the project that was set-id, or had file capabilities, before the run, and is the caller's own: write(2) takes the bits away, a
// shared mapping does not (Linux 6.18, ext4), so that whoever executes it later executes what the command put there, with the caller's
// rights. Of a project that root owns, and of what --rw adds for root, such files are read-only (setid.go); but not one that --rw
// names itself, nor what somebody outside makes such a file, or moves, while the jail begins or runs.
// A pipe or FIFO on stdin is the command's to read to its end and, reopened, to write to: who reads on after it reads what the command
// wrote (stdio.go says why it is not copied).
// A UNIX socket in the project, and what the program of the user's that listens there gives away. Two jails of one project have its files in
// common, and so their locks, futexes in shared mappings, and sockets: one can pass the other a descriptor, which can be opened anew for whatever
// the file's mode and mount allow, and a directory's leads through the tree of the jail that passed it. What the kernel counts for the user in
// no namespace at all: watches of epoll(7), and memory of pipes, of which each new one then gets two pages. The caller's supplementary groups,
// which an unprivileged process cannot drop: a bound file that is readable through one stays readable. Disk space in the project.
//
// Changes that somebody outside makes to protected paths while the jail runs, a second jail of the project included. Replacing or
// removing such a file lifts its mount; it is put back within about a tenth of a millisecond, on what stands there by then, and a
// command that is quick enough has written to the new file or holds it open (and has read it, if it was hidden). Moving a directory
// away on the host takes the mounts in it along, and Linux tells nobody: what the jail then makes in its place stays writable. Each
// of these is named at the end of the run, when the content, mode, owner or number of names differs from the beginning's, for the
// first 64 KiB of a file and directories of up to 1,024 entries; a hidden file is not. Between the plan and that beginning nobody looks.
//
// Repositories that nobody has found: of a project, the 256 nearest directories are descended into (repos.go), and none of those that
// tools fill: node_modules, .venv, venv, __pycache__, target. What one run has found the next looks at directly, and a directory that
// cannot be read, or the first beyond the bound, stands in the plan's notes and, when the run brought it about, at its end. Programs that
// git's config names are found by the words of the setting (gitconfig.go), not by what a script of the user's does in turn, and the same
// goes for other tools: the list of protect.go is of names.
package sandbox
