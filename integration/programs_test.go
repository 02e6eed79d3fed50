package integration

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// programs are what scripts call by name; script_test.go says what each does. Each one's error is its last words.
var programs = map[string]func(){
	"exits":     program(exits),
	"within":    program(within),
	"leaky":     program(leaky),
	"traceless": program(traceless),
	"alone":     program(alone),
	"slay":      program(slay),
	"moments":   program(moments),
	"terminal":  program(terminal),
	"peak":      program(peak),
	"over":      program(over),
	"load":      program(load),
	"floor":     program(floor),
	"crowd":     program(crowd),
	"fell":      program(fell),
	"scarce":    program(scarce),
}

func program(main func(args []string) error) func() {
	return func() {
		if err := main(os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
			os.Exit(1)
		}
	}
}

// command is the program that a program runs, with its own streams.
func command(ctx context.Context, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd
}

// ended drops the error that says how a command ended: for those who look at that themselves, or not at all.
func ended(err error) error {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return nil
	}
	return err
}

func exits(args []string) error {
	cmd := command(context.Background(), args[1:])
	if err := ended(cmd.Run()); err != nil {
		return err
	}
	got := strconv.Itoa(cmd.ProcessState.ExitCode())
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		got = unix.SignalName(status.Signal())
	}
	if got != args[0] {
		return fmt.Errorf("%q ended with %s, want %s", args[1:], got, args[0])
	}
	return nil
}

// over runs a command where one file of the system is another: in a mount namespace.
func over(args []string) error {
	if args[0] != "inside" {
		return apart("over", args, unix.CLONE_NEWNS, unix.CAP_SYS_ADMIN)
	}
	file, target, argv := args[1], args[2], args[3:]
	if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount over %s: %w", target, err)
	}
	return become(argv)
}

// apart runs one of these programs again, with "inside" before its arguments, in a user namespace that maps the caller to itself and in
// further namespaces: for one act that takes a capability.
func apart(name string, args []string, namespaces, capability uintptr) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := command(context.Background(), append([]string{self, "inside"}, args...))
	cmd.Args[0] = name
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | namespaces,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{capability},
		Pdeathsig:   syscall.SIGKILL,
	}
	return cmd.Run()
}

// become executes a command in this process's place, without the capability.
func become(argv []string) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	name, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return syscall.Exec(name, argv, os.Environ())
}

func within(args []string) error {
	limit, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err = command(ctx, args[1:]).Run()
	if ctx.Err() != nil {
		return fmt.Errorf("%q took longer than %v", args[1:], limit)
	}
	return err
}

func leaky(args []string) error {
	f, err := os.CreateTemp("", "leak")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.WriteString("left open"); err != nil {
		return err
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4096, Max: 4096}); err != nil {
		return err
	}
	cmd := command(context.Background(), args)
	for range 1000 - 2 {
		cmd.ExtraFiles = append(cmd.ExtraFiles, f) // 3, 4, 5, …
	}
	return cmd.Run()
}

func peak(args []string) error {
	limit, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return err
	}
	cmd := command(context.Background(), args[1:])
	if err := cmd.Start(); err != nil {
		return err
	}
	// The high-water mark of the process itself: ru_maxrss of wait4(2) would add that of the children it waited for. It is gone when
	// the process is, so it is read until then.
	var most int64
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			most = max(most, statusField(cmd.Process.Pid, "VmHWM:"))
		case err := <-done:
			if most == 0 {
				return errors.Join(err, errors.New("ended before its memory could be read"))
			}
			if most > limit {
				return errors.Join(err, fmt.Errorf("held %d KiB, want at most %d", most, limit))
			}
			return err
		}
	}
}

// statusField is the number after a key of /proc/PID/status, 0 when the process has gone.
func statusField(pid int, key string) int64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == key {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}

// traceless compares what the host shows before and after a command.
func traceless(args []string) error {
	before, err := traces()
	if err != nil {
		return err
	}
	status := command(context.Background(), args).Run()
	after, err := traces()
	if err != nil {
		return err
	}
	var differ []error
	for _, line := range after {
		if !slices.Contains(before, line) {
			differ = append(differ, fmt.Errorf("new: %s", line))
		}
	}
	for _, line := range before {
		if !slices.Contains(after, line) {
			differ = append(differ, fmt.Errorf("gone: %s", line))
		}
	}
	left, err := cgroupsLeft()
	return errors.Join(append(append(differ, left...), err, status)...)
}

// cgroupsLeft looks for control groups of this script's sessions: they are named after them. Other tests' jails come and go meanwhile.
func cgroupsLeft() (left []error, err error) {
	sessions, err := filepath.Glob(filepath.Join(os.Getenv("XDG_STATE_HOME"), "agentjail/sessions/*"))
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return nil // on its way out, or nobody's business
		} else if err != nil {
			return err
		}
		for _, session := range sessions {
			if d.IsDir() && strings.Contains(d.Name(), filepath.Base(session)) {
				left = append(left, fmt.Errorf("left: %s", name))
			}
		}
		return nil
	})
	return left, err
}

func traces() (lines []string, err error) {
	state := filepath.Join(os.Getenv("XDG_STATE_HOME"), "agentjail")
	err = filepath.WalkDir(os.Getenv("WORK"), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name == state {
			return fs.SkipDir // the records: they are meant to stay
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %v", name, info.Mode())
		if info.Mode().IsRegular() {
			line += fmt.Sprintf(" %d bytes, %v", info.Size(), info.ModTime())
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		return nil, err
	}
	// The directories that lead to the state directory are agentjail's to make.
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.HasPrefix(state, strings.Fields(line)[0]+"/") })
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	return append(lines, strings.Split(strings.TrimSpace(string(mounts)), "\n")...), err
}

// subreaper makes this process the parent of every orphan below it, prctl(2): whoever is left when a command has ended becomes a
// child of ours and can be counted.
func subreaper() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// children gives the processes whose parent is one of pids, and theirs, and so on.
func children(pids ...int) (all []int) {
	parents := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		// pid (comm) state ppid: comm may hold anything, so the last parenthesis counts. proc_pid_stat(5)
		_, rest, ok := bytes.Cut(text, []byte(" ("))
		if fields := strings.Fields(string(rest[bytes.LastIndexByte(rest, ')')+1:])); ok && len(fields) > 1 && fields[0] != "Z" {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			ppid, _ := strconv.Atoi(fields[1])
			parents[ppid] = append(parents[ppid], pid)
		}
	}
	for len(pids) > 0 {
		pids = append(pids[1:], parents[pids[0]]...)
		if n := len(pids); n > 0 {
			all = append(all, pids[0])
		}
	}
	return all
}

// gone waits until no process is left below this one.
func gone(limit time.Duration) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := unix.Wait4(-1, nil, 0, nil); err == unix.ECHILD {
				return
			}
		}
	}()
	select {
	case <-done:
		return nil
	case <-deadline.C:
	}
	var left []error
	for _, pid := range children(os.Getpid()) {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		left = append(left, fmt.Errorf("still there after %v: %d %q", limit, pid, line))
		unix.Kill(pid, unix.SIGKILL)
	}
	return errors.Join(left...)
}

func alone(args []string) error {
	if err := subreaper(); err != nil {
		return err
	}
	status := command(context.Background(), args).Run()
	return errors.Join(gone(time.Second), status)
}

// slay kills one of the three processes of a running jail and looks whether the other two, and all of theirs, follow.
func slay(args []string) error {
	who, args := args[0], args[1:]
	if err := subreaper(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { // whatever goes wrong, nobody stays
		for _, pid := range children(os.Getpid()) {
			unix.Kill(pid, unix.SIGKILL)
		}
	}()
	in := bufio.NewReader(out)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "ready") {
		return fmt.Errorf("said %q (%v) where ready was due", line, err)
	}
	chain := append([]int{cmd.Process.Pid}, children(cmd.Process.Pid)...)
	if len(chain) < 4 {
		return fmt.Errorf("processes %v: a launcher, a gateway, an init and a command were due", chain)
	}
	victim := map[string]int{"launcher": chain[0], "gateway": named(chain, "agentjail-gateway"), "init": initOf(chain)}[who]
	if victim == 0 {
		return fmt.Errorf("no %s among %v", who, chain)
	}
	if err := unix.Kill(victim, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill %s, %d: %w", who, victim, err)
	}
	go io.Copy(io.Discard, in)
	started := time.Now()
	if err := gone(time.Second); err != nil {
		return fmt.Errorf("%s killed: %w", who, err)
	}
	fmt.Printf("%s killed: all gone after %v\n", who, time.Since(started).Round(time.Millisecond))
	return nil
}

// moments starts a command again and again and kills its first process, or the gateway or init that there is by then, a little later each
// time.
func moments(args []string) error {
	step, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	times, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	who, argv := args[2], args[3:]
	if err := subreaper(); err != nil {
		return err
	}
	met := 0
	for i := range times {
		cmd := exec.Command(argv[0], argv[1:]...) // its complaints of what it lost are no concern of ours
		if err := cmd.Start(); err != nil {
			return err
		}
		<-time.After(time.Duration(i) * step)
		victim := cmd.Process.Pid
		below := children(victim)
		if pid := map[string]int{"gateway": named(below, "agentjail-gateway"), "init": initOf(below)}[who]; pid != 0 {
			victim = pid
			met++
		}
		if err := unix.Kill(victim, unix.SIGKILL); err != nil {
			return err
		}
		if err := gone(time.Second); err != nil {
			return fmt.Errorf("%s killed after %v: %w", who, time.Duration(i)*step, err)
		}
	}
	if who != "launcher" && met < times/4 {
		return fmt.Errorf("there was a process %s to kill %d times of %d", who, met, times)
	}
	return nil
}

// named finds a process by its argv[0]; 0 when there is none.
func named(pids []int, name string) int {
	for _, pid := range pids {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if first, _, _ := bytes.Cut(line, []byte{0}); string(first) == name {
			return pid
		}
	}
	return 0
}

// initOf finds the process that is PID 1 in a PID namespace in the gateway's, which is one itself: NSpid has its pid in ours, in the
// gateway's and in its own, proc_pid_status(5).
func initOf(pids []int) int {
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 3 && f[0] == "NSpid:" && f[len(f)-1] == "1" {
				return pid
			}
		}
	}
	return 0
}
