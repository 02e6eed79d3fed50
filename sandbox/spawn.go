package sandbox

/*
#include <stdlib.h>
#include "spawn.h"
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The command is started by C: between clone(CLONE_NEWUSER) and execve a Go runtime must not run, and os/exec can neither wait
// for its maps while PID 1 lacks CAP_SETUID in the parent namespace nor load a filter just before execve.

// stages names the enum of spawn.h.
var stages = [...]string{
	C.SPAWN_CLONE: "clone", C.SPAWN_MAPS: "map ids", C.SPAWN_CAPS: "drop capabilities", C.SPAWN_SESSION: "start a session", C.SPAWN_STDIO: "set up stdin, stdout and stderr",
	C.SPAWN_DIR: "chdir", C.SPAWN_NO_NEW_PRIVS: "prctl(PR_SET_NO_NEW_PRIVS)", C.SPAWN_FILTER: "seccomp(SECCOMP_SET_MODE_FILTER)", C.SPAWN_EXEC: "execve",
}

// spawnError is a stage between clone and execve that failed.
type spawnError struct {
	stage int
	path  string
	errno unix.Errno
}

func (e *spawnError) Error() string {
	return fmt.Sprintf("%s %s: %v", stages[e.stage], e.path, e.errno)
}
func (e *spawnError) Unwrap() error { return e.errno }

// spawnStep is the step of the launch that an error of spawnCommand belongs to.
func spawnStep(err error) string {
	e, ok := errors.AsType[*spawnError](err)
	if !ok {
		return StepInit
	}
	switch e.stage {
	case C.SPAWN_CLONE:
		return StepUserNamespace
	case C.SPAWN_MAPS:
		return StepIDMap
	case C.SPAWN_NO_NEW_PRIVS, C.SPAWN_FILTER:
		return StepSeccomp
	case C.SPAWN_EXEC:
		return StepCommand
	}
	return StepInit
}

// spawnCommand starts the command in U1 with the given stdio and returns its pid once execve has happened. before runs when the child
// exists and has its maps, and before it goes on.
func spawnCommand(s *initStart, stdio [3]*os.File, before func(pid int) error) (int, error) {
	goR, goW, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer goW.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		goR.Close()
		return 0, err
	}
	defer errR.Close()

	args, free := cArgs(s)
	defer free()
	for i, f := range stdio {
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return 0, fmt.Errorf("dup: %w", err)
		}
		defer unix.Close(fd)
		args.stdio[i] = C.int(fd)
	}

	pid := int(C.spawn(args, C.int(goR.Fd()), C.int(errW.Fd())))
	goR.Close()
	errW.Close()
	if pid < 0 {
		return 0, &spawnError{stage: C.SPAWN_CLONE, path: "(CLONE_NEWUSER)", errno: unix.Errno(-pid)}
	}
	if err := writeMaps(pid, s.UID, s.GID); err != nil {
		errno, _ := errors.AsType[unix.Errno](err)
		return 0, &spawnError{stage: C.SPAWN_MAPS, path: err.Error(), errno: errno}
	}
	if before != nil {
		if err := before(pid); err != nil {
			return 0, err
		}
	}
	if _, err := goW.Write([]byte{1}); err != nil {
		return 0, err
	}
	var e struct{ Stage, Errno int32 }
	switch err := binary.Read(errR, binary.NativeEndian, &e); err {
	case io.EOF:
		return pid, nil
	case nil:
		path := s.Path
		if e.Stage == C.SPAWN_DIR {
			path = s.Dir
		}
		return 0, &spawnError{stage: int(e.Stage), path: path, errno: unix.Errno(e.Errno)}
	default:
		return 0, err
	}
}

// cArgs copies what the child reads into C memory; the collector may not move it while the child looks.
func cArgs(s *initStart) (*C.struct_spawn_args, func()) {
	var blocks []unsafe.Pointer
	str := func(v string) *C.char {
		p := C.CString(v)
		blocks = append(blocks, unsafe.Pointer(p))
		return p
	}
	list := func(vs []string) **C.char {
		p := C.malloc(C.size_t(len(vs)+1) * C.size_t(unsafe.Sizeof(uintptr(0))))
		blocks = append(blocks, p)
		a := unsafe.Slice((**C.char)(p), len(vs)+1)
		for i, v := range vs {
			a[i] = str(v)
		}
		a[len(vs)] = nil
		return (**C.char)(p)
	}
	a := (*C.struct_spawn_args)(C.calloc(1, C.sizeof_struct_spawn_args))
	filter := C.CBytes(s.Filter)
	blocks = append(blocks, unsafe.Pointer(a), filter)
	a.path, a.argv, a.envp, a.dir = str(s.Path), list(s.Argv), list(s.Env), str(s.Dir)
	a.umask = C.uint(s.Umask)
	if s.Terminal {
		a.terminal = 1
	}
	a.filter.len = C.ushort(len(s.Filter) / unix.SizeofSockFilter)
	a.filter.filter = (*C.struct_sock_filter)(filter)
	return a, func() {
		for _, b := range blocks {
			C.free(b)
		}
		runtime.KeepAlive(s)
	}
}

// writeMaps maps the command's id to our 0, which is the caller outside. Mapping the parent's id 0 needs CAP_SETFCAP in the parent
// namespace since Linux 5.12 (user_namespaces(7)); it is the one capability that init keeps.
func writeMaps(pid, uid, gid int) error {
	for _, m := range []struct{ file, text string }{
		{"setgroups", "deny"},
		{"uid_map", fmt.Sprintf("%d 0 1", uid)},
		{"gid_map", fmt.Sprintf("%d 0 1", gid)},
	} {
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/%s", pid, m.file), []byte(m.text), 0); err != nil {
			return err
		}
	}
	return nil
}
