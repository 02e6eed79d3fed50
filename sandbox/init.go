package sandbox

/*
#include "init.h"
#include "spawn.h"

unsigned long agentjail_slack(void);
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// init is PID 1 of the jail: root of U0 with CAP_SETFCAP alone, descriptor 3 its socket to the launcher. It starts the command (spawn.c),
// reaps, forwards signals and ends the jail with the command.
//
// It is C in a constructor (init.c), which runs before Go's runtime would: between clone(CLONE_NEWUSER) and execve a Go runtime must not
// run anyway, a PID 1 without signal handlers is spared by the kernel every signal that the jail could send it, and a start of Go
// takes longer than all of what it does, and 4 MB for as long as the jail lives. This file is the launcher's side of it.
//
//	launcher                           init
//	   │  START ───────────────────────► │   argv, environment, filter, limits
//	   │ ◄────────────────────  TERMINAL │   the pty's master end (with a terminal)
//	   │ ◄─────────────────────  RUNNING │   execve(2) of the command has happened
//	   │  SIGNAL ──────────────────────► │   as often as needed; one before START is kept
//	   │ ◄────────────  STOPPED, EXITED  │   and FAILED in place of any of them

const initEnv = C.INIT_ENV

// initStart tells init what to start.
type initStart struct {
	Path     string
	Argv     []string
	Env      []string
	Dir      string
	UID, GID int // as the command sees them
	Terminal bool
	Size     winsize
	Stderr   bool // with a terminal: stderr is not part of it
	Rlimits  []rlimit
	Filter   []byte // struct sock_filter[], native
	Umask    int
	Slack    int // nanoseconds by which timers may be late; 0 for as late as ours (alone.c)
}

// callerSlack is by how many nanoseconds the timers of our caller may be late, or 0 where ours are not later (alone.c).
func callerSlack() int { return int(C.agentjail_slack()) }

// winsize is a terminal's size in characters and pixels (ioctl_tty(2)).
type winsize struct{ Row, Col, X, Y uint16 }

// initExited is how the command ended: Code as exit(2), or the number of the Signal that killed it.
type initExited struct{ Code, Signal int }

// initEvent is one message from init; exactly one field is set.
type initEvent struct {
	terminal *os.File // the pty's master end
	running  bool
	stopped  bool
	exited   *initExited
	unread   bool // it has gone and left something unread that it was sent
	failed   *initFailure
}

// initFailure is a stage of init's or spawn.c's that failed.
type initFailure struct {
	stage int
	errno unix.Errno
}

func (e *initFailure) Error() string { return e.what() + ": " + e.errno.Error() }
func (e *initFailure) Unwrap() error { return e.errno }

// what names the enum of spawn.h.
func (e *initFailure) what() string {
	switch e.stage {
	case C.SPAWN_TERMINAL:
		return "make a pty"
	case C.SPAWN_CLONE:
		return "clone(CLONE_NEWUSER)"
	case C.SPAWN_MAPS:
		return "map ids"
	case C.SPAWN_CAPS:
		return "drop capabilities"
	case C.SPAWN_SESSION:
		return "start a session"
	case C.SPAWN_STDIO:
		return "set up stdin, stdout and stderr"
	case C.SPAWN_DIR:
		return "chdir"
	case C.SPAWN_LIMITS:
		return "setrlimit"
	case C.SPAWN_NO_NEW_PRIVS:
		return "prctl(PR_SET_NO_NEW_PRIVS)"
	case C.SPAWN_FILTER:
		return "seccomp(SECCOMP_SET_MODE_FILTER)"
	case C.SPAWN_EXEC:
		return "execve"
	}
	return "init"
}

// step is the step of the launch that the stage belongs to.
func (e *initFailure) step() string {
	switch e.stage {
	case C.SPAWN_TERMINAL:
		return StepTerminal
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

// pack lays the message out as init.h says.
func (s *initStart) pack() ([]byte, error) {
	head := C.struct_init_start{
		uid: C.int32_t(s.UID), gid: C.int32_t(s.GID), umask: C.uint32_t(s.Umask), slack: C.uint64_t(s.Slack),
		row: C.uint16_t(s.Size.Row), col: C.uint16_t(s.Size.Col), x: C.uint16_t(s.Size.X), y: C.uint16_t(s.Size.Y),
		limits: C.uint32_t(len(s.Rlimits)), filter: C.uint32_t(len(s.Filter) / unix.SizeofSockFilter),
		argc: C.uint32_t(len(s.Argv)), envc: C.uint32_t(len(s.Env)),
	}
	if s.Terminal {
		head.terminal = 1
	}
	if s.Stderr {
		head.separate = 1
	}
	b := append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(&head)), unsafe.Sizeof(head))...)
	for _, l := range s.Rlimits {
		for _, v := range []uint64{uint64(l.Resource), l.Soft, l.Hard} {
			b = binary.NativeEndian.AppendUint64(b, v)
		}
	}
	b = append(b, s.Filter...)
	for _, list := range [][]string{{s.Path, s.Dir}, s.Argv, s.Env} {
		for _, v := range list {
			if strings.ContainsRune(v, 0) {
				return nil, fmt.Errorf("%q has a NUL byte, which no argument and no variable can have", v)
			}
			b = append(append(b, v...), 0)
		}
	}
	return b, nil
}

// initChannel is the launcher's end of init's socket.
type initChannel struct{ *channel }

func (c initChannel) start(packed []byte) error { return c.write(C.INIT_START, packed) }

func (c initChannel) signal(s unix.Signal, group bool) error {
	var to uint32
	if group {
		to = 1
	}
	return c.write(C.INIT_SIGNAL, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, uint32(s)), to))
}

func (c initChannel) write(kind uint32, body []byte) error {
	b := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, uint32(len(body))), kind)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.conn.Write(append(b, body...))
	return err
}

// receive reads one event. io.EOF means that init is gone.
func (c initChannel) receive() (*initEvent, error) {
	var raw [unsafe.Sizeof(C.struct_init_event{})]byte
	m := new(message)
	if err := c.read(raw[:], m); errors.Is(err, unix.ECONNRESET) {
		return &initEvent{unread: true}, nil // once: the end of the file follows
	} else if err != nil {
		return nil, err
	}
	a, b := int(int32(binary.NativeEndian.Uint32(raw[4:]))), int(int32(binary.NativeEndian.Uint32(raw[8:])))
	switch kind := binary.NativeEndian.Uint32(raw[:]); kind {
	case C.INIT_TERMINAL:
		files, err := m.claim(1)
		if err != nil {
			return nil, err
		}
		return &initEvent{terminal: files[0]}, nil
	case C.INIT_RUNNING:
		return &initEvent{running: true}, nil
	case C.INIT_STOPPED:
		return &initEvent{stopped: true}, nil
	case C.INIT_EXITED:
		return &initEvent{exited: &initExited{Code: a, Signal: b}}, nil
	case C.INIT_FAILED:
		return &initEvent{failed: &initFailure{a, unix.Errno(b)}}, nil
	default:
		return nil, fmt.Errorf("init sent a message of kind %d", kind)
	}
}
