package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/agentjail/agentjail/seccomp"
)

// pid1 becomes init in a /proc of its own namespace, in which it finds the command.
func pid1() {
	err := errors.Join(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""), unix.Mount("proc", "/proc", "proc", 0, ""),
		unix.Exec("/proc/self/exe", []string{"init"}, []string{initEnv + "=1"}))
	panic(err)
}

// startInit runs this binary as init: PID 1 of a namespace, root of its user namespace, descriptor 3 its socket.
func startInit(t *testing.T) (initChannel, *exec.Cmd) {
	t.Helper()
	ours, theirs, err := newChannel()
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	cmd := role("pid1")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ours.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	return initChannel{ours}, cmd
}

// order is what starts a shell.
func order(t *testing.T, script string) *initStart {
	t.Helper()
	filter, err := seccomp.Program(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &initStart{Path: "/bin/sh", Argv: []string{"sh", "-c", script}, Dir: "/", UID: 1234, GID: 1234, Filter: filter,
		Env: []string{"A=1"}, Rlimits: []rlimit{{Resource: unix.RLIMIT_NOFILE, Soft: 77, Hard: 77}}, Umask: 0o027}
}

func events(t *testing.T, c initChannel) (all []*initEvent) {
	t.Helper()
	for {
		e, err := c.receive()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

func send(t *testing.T, c initChannel, s *initStart) {
	t.Helper()
	packed, err := s.pack()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.start(packed); err != nil {
		t.Fatal(err)
	}
}

func TestInitStartsTheCommand(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		want   initExited
	}{
		"as it was told":                {`[ "$(id -u) $A $(umask) $(ulimit -n)" = "1234 1 0027 77" ] && exit 9`, initExited{Code: 9}},
		"killed":                        {`kill -9 $$`, initExited{Signal: 9}},
		"its orphans do not keep it":    {`sleep 100 & exit 5`, initExited{Code: 5}},
		"no signal of its reaches init": {`for s in 1 2 3 9 10 11 13 15 17 19 20 21 34; do kill -$s 1; done; kill -17 1; exit 4`, initExited{Code: 4}},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := startInit(t)
			send(t, c, order(t, test.script))
			got := events(t, c)
			if len(got) != 2 || !got[0].running || got[1].exited == nil || *got[1].exited != test.want {
				t.Errorf("%d events, the last %+v", len(got), got[len(got)-1])
			}
		})
	}
}

// A signal that comes before the order is the command's, in order with those that follow.
func TestInitKeepsEarlySignals(t *testing.T) {
	c, _ := startInit(t)
	if err := c.signal(unix.SIGTERM, false); err != nil {
		t.Fatal(err)
	}
	send(t, c, order(t, `sleep 100`))
	got := events(t, c)
	if len(got) != 2 || got[1].exited == nil || got[1].exited.Signal != int(unix.SIGTERM) {
		t.Errorf("%+v", got)
	}
}

func TestInitForwardsToTheGroup(t *testing.T) {
	c, _ := startInit(t)
	send(t, c, order(t, `sleep 100 & wait`))
	if e, err := c.receive(); err != nil || !e.running {
		t.Fatal(e, err)
	}
	if err := c.signal(unix.SIGSTOP, true); err != nil {
		t.Fatal(err)
	}
	if e, err := c.receive(); err != nil || !e.stopped {
		t.Fatal(e, err)
	}
	if err := c.signal(unix.SIGKILL, true); err != nil {
		t.Fatal(err)
	}
	if got := events(t, c); len(got) != 1 || got[0].exited == nil || got[0].exited.Signal != 9 {
		t.Errorf("%+v", got)
	}
}

// A signal that reaches init when the command has ended is told to have been left unread.
func TestInitLeavesALateSignalUnread(t *testing.T) {
	c, init := startInit(t)
	send(t, c, order(t, `sleep 100`))
	if e, err := c.receive(); err != nil || !e.running {
		t.Fatal(e, err)
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", init.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	command, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		t.Fatal(err)
	}
	dead, err := unix.PidfdOpen(command, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dead)
	if err := errors.Join(init.Process.Signal(unix.SIGSTOP), unix.Kill(command, unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Poll([]unix.PollFd{{Fd: int32(dead), Events: unix.POLLIN}}, -1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.signal(unix.SIGTERM, false), init.Process.Signal(unix.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	if got := events(t, c); len(got) != 2 || got[0].exited == nil || got[0].exited.Signal != 9 || !got[1].unread {
		t.Errorf("%+v", got)
	}
}

func TestInitNamesTheStage(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*initStart)
		step   string
		errno  unix.Errno
	}{
		"no such command":   {func(s *initStart) { s.Path = "/no/such" }, StepCommand, unix.ENOENT},
		"not to be run":     {func(s *initStart) { s.Path = "/etc/passwd" }, StepCommand, unix.EACCES},
		"no such directory": {func(s *initStart) { s.Dir = "/no/such" }, StepInit, unix.ENOENT},
		"a bad id":          {func(s *initStart) { s.UID = -1 }, StepIDMap, unix.EINVAL},
		"a bad filter":      {func(s *initStart) { s.Filter = make([]byte, 8) }, StepSeccomp, unix.EINVAL},
		"a bad limit":       {func(s *initStart) { s.Rlimits[0].Soft = 78 }, StepInit, unix.EINVAL},
		"no terminal here":  {func(s *initStart) { s.Terminal = true }, StepTerminal, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := startInit(t)
			s := order(t, "exit 0")
			test.change(s)
			send(t, c, s)
			got := events(t, c)
			last := got[len(got)-1]
			if last.failed == nil || last.failed.step() != test.step || test.errno != 0 && !errors.Is(last.failed, test.errno) {
				t.Fatalf("%+v", last)
			}
			if strings.HasPrefix(last.failed.Error(), "init:") {
				t.Errorf("the stage has no name: %v", last.failed)
			}
		})
	}
}

// What is cut off or lies about its size ends init, and nothing runs.
func TestInitRefusesNonsense(t *testing.T) {
	good, err := order(t, "exit 0").pack()
	if err != nil {
		t.Fatal(err)
	}
	large := append([]byte(nil), good...)
	binary.NativeEndian.PutUint32(large[36:], ^uint32(0)) // argc
	for name, body := range map[string][]byte{"nothing": {}, "half a head": good[:20], "no strings": good[:60], "cut off": good[:len(good)-1], "too many": large} {
		t.Run(name, func(t *testing.T) {
			c, _ := startInit(t)
			if err := c.start(body); err != nil {
				t.Fatal(err)
			}
			for _, e := range events(t, c) {
				if e.failed == nil {
					t.Errorf("%+v", e)
				}
			}
		})
	}
}

func TestInitGoesWithTheLauncher(t *testing.T) {
	for name, begin := range map[string]func(c initChannel){
		"before the order": func(c initChannel) {},
		"in mid-message":   func(c initChannel) { c.conn.Write([]byte{9, 0}) },
		"while it runs": func(c initChannel) {
			send(t, c, order(t, "sleep 100"))
			c.receive()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, cmd := startInit(t)
			begin(c)
			c.Close()
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitFailed {
				t.Error(err)
			}
		})
	}
}

func TestNoStringHasANUL(t *testing.T) {
	for _, s := range []*initStart{{Path: "a\x00b"}, {Argv: []string{"a", "\x00"}}, {Env: []string{"A=\x00B=1"}}} {
		if _, err := s.pack(); err == nil {
			t.Errorf("%+v was packed: another string would follow", s)
		}
	}
}

// TestOurTimersMayBeLate: the runtime's own thread looks after the others every millisecond and not every 20 microseconds; the command's
// timers are its caller's (life/timers_are_as_late_as_the_callers).
func TestOurTimersMayBeLate(t *testing.T) {
	had := callerSlack()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack < 1_000_000 || had >= slack || had == 0 && slack == 1_000_000 {
		t.Errorf("timers may be late by %d ns, the caller's by %d: %v", slack, had, err)
	}
}
