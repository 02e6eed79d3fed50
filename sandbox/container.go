package sandbox

/*
#include <stdlib.h>
#include "container.h"
*/
import "C"

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// container is init as the gateway holds it: PID 1 in mount, PID, IPC, UTS, cgroup and network namespaces that U0 owns.
//
// It is started by C (container.c) in one clone(2), on the memory of the gateway until it executes, as posix_spawn(3) does: most of what
// has to be done must be done by a process that is in the namespaces already, and Go's runtime cannot run in it. Until the jail's tree
// was ours (root.go) and init was C (init.go) this was libcontainer's work. What had been left to it were these few calls, and it
// took three clones, a start of Go and its own configuration for them: 14 of the 42 ms of processor time of a whole run, and a
// process between gateway and init in which nobody but libcontainer knew what to do when the gateway died. The library's walls were
// taken over one by one (integration/judge_runtime_test.go holds them, and package selftest tries them).
type container struct{ pid int }

// startContainer puts our init into its namespaces. The tree stands at rootDir; exe is our binary, behind a read-only mount; net the jail's
// network namespace.
func startContainer(mounts []Mount, hostname string, stdio [3]*os.File, initSock, exe, net *os.File) (*container, error) {
	c := C.struct_container{net: C.int(net.Fd()), exe: C.int(exe.Fd()), root: C.CString(rootDir), hostname: C.CString(hostname),
		proc: C.CString(targetOf(mounts, KindProc)), mqueue: C.CString(targetOf(mounts, KindMqueue))}
	for _, s := range []*C.char{c.root, c.hostname, c.proc, c.mqueue} {
		defer C.free(unsafe.Pointer(s))
	}
	for i, f := range []*os.File{stdio[0], stdio[1], stdio[2], initSock} {
		c.files[i] = C.int(f.Fd())
	}
	pid := int(C.container_start(&c))
	if c.stage == 0 {
		return &container{pid}, nil
	}
	if pid > 0 {
		(&container{pid}).wait()
	}
	return nil, &containerFailure{int(c.stage), unix.Errno(c.err)}
}

// targetOf is where the mount of a kind goes, without its slash.
func targetOf(mounts []Mount, kind string) string {
	for i := range mounts {
		if mounts[i].Kind == kind {
			return mounts[i].Target[1:]
		}
	}
	return ""
}

// wait returns init's status when it has died (wait(2)).
func (c *container) wait() (int, error) {
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(c.pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			return int(status), err
		}
	}
}

// containerFailure is a stage of container.c's that failed.
type containerFailure struct {
	stage int
	errno unix.Errno
}

func (e *containerFailure) Error() string {
	what, ok := map[int]string{
		C.CONTAINER_CLONE:    "clone(CLONE_NEWNS|CLONE_NEWPID|CLONE_NEWIPC|CLONE_NEWUTS|CLONE_NEWCGROUP)",
		C.CONTAINER_NET:      "setns(CLONE_NEWNET)",
		C.CONTAINER_HOSTNAME: "sethostname",
		C.CONTAINER_KEYRING:  "keyctl(KEYCTL_JOIN_SESSION_KEYRING)",
		C.CONTAINER_PROC:     "mount /proc in the jail",
		C.CONTAINER_MASK:     "mask parts of /proc",
		C.CONTAINER_MQUEUE:   "mount the message queues",
		C.CONTAINER_READONLY: "make the root read-only",
		C.CONTAINER_PIVOT:    "pivot_root",
		C.CONTAINER_GROUPS:   "setgroups",
		C.CONTAINER_CAPS:     "drop capabilities",
		C.CONTAINER_SESSION:  "setsid",
		C.CONTAINER_STDIO:    "place init's descriptors",
		C.CONTAINER_EXEC:     "execute init",
	}[e.stage]
	if !ok {
		what = "start init"
	}
	return what + ": " + e.errno.Error()
}

func (e *containerFailure) Unwrap() error { return e.errno }
