package integration

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fell kills one process of a run at each of its steps: fell WHO HOW N CMD..., where WHO is launcher, gateway, stage (what becomes
// init), init or command, and HOW is kill, or stop: SIGSTOP and, when all others wait for it or have gone on without it, SIGKILL.
//
// A first run shows which steps WHO takes, as the system calls that change something outside of itself; then each of N further runs
// ends at another of them, just before it is done. CMD is agentjail's; its command waits for the end of its input, which does not come when
// WHO has died before, then ends with status 7, and writes nothing.
func fell(args []string) error {
	who, how, argv := args[0], args[1], args[3:]
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // ptrace(2) knows threads
	if err := subreaper(); err != nil {
		return err
	}
	before, err := traces()
	if err != nil {
		return err
	}
	all, err := watch(who, argv)
	if err != nil {
		return fmt.Errorf("a run that nobody disturbs: %w", err)
	}
	met, told := 0, map[string]int{}
	var bad []error
	for _, at := range choose(all, n) {
		f := &felled{who: who, stop: how == "stop", at: at}
		if err := f.run(argv); err != nil {
			bad = append(bad, fmt.Errorf("%s at its %v (%s): %w", who, at, how, err))
			if len(bad) > 3 {
				break
			}
			continue
		}
		if f.victim != 0 {
			met++
			told[f.outcome]++
		}
	}
	after, err := traces()
	if !slices.Equal(before, after) {
		bad = append(bad, fmt.Errorf("$WORK and the mounts were\n%s\nand are\n%s", strings.Join(before, "\n"), strings.Join(after, "\n")))
	}
	if _, err := watch(who, argv); err != nil {
		bad = append(bad, fmt.Errorf("a run after all that: %w", err))
	}
	fmt.Printf("%s, %s: %d steps, %d of them met: %v\n", who, how, len(all), met, told)
	if met < min(n, len(all))*3/4 {
		bad = append(bad, fmt.Errorf("only %d of %d steps were met again", met, min(n, len(all))))
	}
	return errors.Join(append(bad, err)...)
}

// step is the nth system call of one kind that the processes of one role do.
type step struct {
	call uint64
	nth  int
}

func (s step) String() string { return fmt.Sprintf("%s #%d", steps[s.call], s.nth) }

// waiting stands for the one moment at which everything is there and nobody does anything: the command waits for its input.
const waiting = ^uint64(0)

// steps are the system calls that another process, the file system or the kernel's idea of a process can tell of.
var steps = map[uint64]string{
	unix.SYS_CLONE: "clone", unix.SYS_CLONE3: "clone3", unix.SYS_EXECVE: "execve", unix.SYS_EXECVEAT: "execveat", unix.SYS_KEYCTL: "keyctl", unix.SYS_SETGROUPS: "setgroups", unix.SYS_EXIT_GROUP: "exit_group", unix.SYS_WAITID: "waitid",
	unix.SYS_WAIT4: "wait4", unix.SYS_KILL: "kill", unix.SYS_UNSHARE: "unshare", unix.SYS_SETNS: "setns", unix.SYS_MOUNT: "mount",
	unix.SYS_UMOUNT2: "umount2", unix.SYS_OPEN_TREE: "open_tree", unix.SYS_MOVE_MOUNT: "move_mount", unix.SYS_MOUNT_SETATTR: "mount_setattr",
	unix.SYS_PIVOT_ROOT: "pivot_root", unix.SYS_FSOPEN: "fsopen", unix.SYS_FSMOUNT: "fsmount", unix.SYS_SOCKETPAIR: "socketpair",
	unix.SYS_SOCKET: "socket", unix.SYS_BIND: "bind", unix.SYS_LISTEN: "listen", unix.SYS_CONNECT: "connect", unix.SYS_ACCEPT4: "accept4",
	unix.SYS_SENDMSG: "sendmsg", unix.SYS_RECVMSG: "recvmsg", unix.SYS_SECCOMP: "seccomp", unix.SYS_PRCTL: "prctl", unix.SYS_CAPSET: "capset",
	unix.SYS_SETSID: "setsid", unix.SYS_SETHOSTNAME: "sethostname", unix.SYS_PRLIMIT64: "prlimit64", unix.SYS_OPENAT: "openat",
	unix.SYS_OPENAT2: "openat2", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_RENAMEAT: "renameat", unix.SYS_UNLINKAT: "unlinkat",
	unix.SYS_SYMLINKAT: "symlinkat", unix.SYS_FALLOCATE: "fallocate", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_MEMFD_CREATE: "memfd_create",
	waiting: "waiting command", unix.SYS_PIPE2: "pipe2", unix.SYS_CHDIR: "chdir", unix.SYS_WRITE: "write", unix.SYS_READ: "read",
}

// choose takes n of the steps: the first and the last of each kind, and of the others, from a fixed seed, as many as are wanted.
func choose(all []step, n int) (chosen []step) {
	first, last := map[uint64]bool{}, map[uint64]step{}
	var rest []step
	for _, s := range all {
		last[s.call] = s
	}
	for _, s := range all {
		if !first[s.call] || last[s.call] == s {
			chosen = append(chosen, s)
		} else {
			rest = append(rest, s)
		}
		first[s.call] = true
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	rnd.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	rnd.Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	if i := slices.IndexFunc(chosen, func(s step) bool { return s.call == waiting }); i >= 0 { // that one in any case
		chosen[0], chosen[i] = chosen[i], chosen[0]
	}
	return slices.Concat(chosen, rest)[:min(n, len(all))]
}

// watch gives the steps of one role in a run that ends as it should.
func watch(who string, argv []string) (all []step, err error) {
	f := &felled{who: who}
	f.seen = func(s step) { all = append(all, s) }
	if err := f.run(argv); err != nil {
		return nil, err
	}
	if f.outcome != "7" {
		return nil, fmt.Errorf("ended with %s", f.outcome)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nobody was %s", who)
	}
	return all, nil
}

// felled is one run, and who dies in it.
type felled struct {
	who  string
	stop bool
	at   step
	seen func(step) // called in place of the death

	victim  int
	outcome string // the launcher's status
	counts  map[uint64]int
	input   *os.File // open for as long as the command shall wait
}

// patience is for a machine with other work to do. A run takes a tenth of a second.
const patience = 30 * time.Second

func (f *felled) run(argv []string) error {
	dir, err := os.MkdirTemp("", "felled")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	complaints, err := os.Create(filepath.Join(dir, "stderr"))
	if err != nil {
		return err
	}
	defer complaints.Close()
	report := filepath.Join(dir, "report.json")
	cmd := exec.Command(argv[0], append([]string{"--report", report}, argv[1:]...)...)
	cmd.Stderr = complaints
	in, input, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close()
	defer input.Close()
	cmd.Stdin, f.input = in, input
	f.counts = map[uint64]int{}
	t := &tracer{call: f.call}
	if err := t.start(cmd); err != nil {
		return err
	}
	if err := t.follow(patience); err != nil {
		return err
	}
	said, err := os.ReadFile(complaints.Name())
	if err != nil {
		return err
	}
	err = f.judge(t.status, report, string(said))
	left, _ := filepath.Glob(filepath.Join(dir, ".agentjail-report-*"))
	if len(left) > 0 && f.who != launcher {
		err = errors.Join(err, fmt.Errorf("left behind: %v", left))
	}
	if err != nil {
		return fmt.Errorf("%w; stderr: %s", err, said)
	}
	return nil
}

// call is told of each system call of the run.
func (f *felled) call(t *tracer, process int, number, first uint64) {
	input := t.roles[process] == inside && number == unix.SYS_READ && first == 0
	if victim := t.alive(f.who); input && victim != 0 {
		f.reached(t, victim, waiting)
	}
	if f.victim == 0 && input {
		f.input.Close()
	}
	if f.victim == 0 && t.roles[process] == f.who && steps[number] != "" {
		f.reached(t, process, number)
	}
}

// reached is one step: the process dies when it is its last.
func (f *felled) reached(t *tracer, process int, number uint64) {
	f.counts[number]++
	now := step{number, f.counts[number]}
	if f.seen != nil {
		f.seen(now)
		return
	}
	if now != f.at {
		return
	}
	f.victim, t.call = process, nil
	goOn := func(*tracer) { f.input.Close() } // nobody misses the janitor
	if f.who != other {
		goOn = nil
	}
	if !f.stop {
		unix.Kill(process, unix.SIGKILL)
		t.idle = goOn
		return
	}
	unix.Kill(process, unix.SIGSTOP)
	t.idle = func(*tracer) {
		unix.Kill(process, unix.SIGKILL)
		t.idle = goOn
	}
}

// judge holds what the run tells against what happened to it.
func (f *felled) judge(status syscall.WaitStatus, report, said string) error {
	f.outcome = strconv.Itoa(status.ExitStatus())
	if status.Signaled() {
		f.outcome = unix.SignalName(status.Signal())
	}
	if f.outcome == "SIGKILL" && f.victim != 0 && f.who == launcher {
		return wholeLines(false)
	}
	var r struct {
		ExitCode int    `json:"exit_code"`
		EndedBy  string `json:"ended_by"`
		Signal   string
		Error    *struct{ Step, Message, Hint string }
	}
	text, err := os.ReadFile(report)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return fmt.Errorf("ended with %s and has no report: %w", f.outcome, err)
	}
	if strconv.Itoa(r.ExitCode) != f.outcome {
		return fmt.Errorf("ended with %s, and the report says %d", f.outcome, r.ExitCode)
	}
	switch {
	case f.outcome == "7" && r.EndedBy == "command" && r.Error == nil: // it was over before
	case f.outcome == "137" && r.EndedBy == "signal" && r.Signal == "SIGKILL" && f.who == inside:
	case f.outcome == "125" && r.EndedBy == "error" && r.Error != nil && r.Error.Step != "" && r.Error.Hint != "":
		if !strings.Contains(said, "agentjail: error: "+r.Error.Step+": ") || !strings.Contains(said, "agentjail: hint: ") {
			return fmt.Errorf("the report names the step %s, and stderr does not", r.Error.Step)
		}
		if len(r.Error.Message) > 1000 {
			return fmt.Errorf("an error of %d bytes: %s", len(r.Error.Message), r.Error.Message)
		}
	default:
		return fmt.Errorf("ended with %s, and the report says %s", f.outcome, text)
	}
	return wholeLines(true)
}

// wholeLines looks at the newest session's record: each line is an event. Where the launcher was there to the end, the last event is that,
// and nothing that belongs to a running session is left.
func wholeLines(ended bool) error {
	sessions, err := filepath.Glob(filepath.Join(os.Getenv("XDG_STATE_HOME"), "agentjail/sessions/*"))
	if err != nil || len(sessions) == 0 {
		return err // it did not get as far
	}
	dir := slices.Max(sessions)
	f, err := os.Open(filepath.Join(dir, "audit.jsonl"))
	if errors.Is(err, fs.ErrNotExist) && !ended {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	last := ""
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		var event struct{ Event string }
		if err := json.Unmarshal(bytes.TrimSpace(line), &event); err != nil {
			return fmt.Errorf("%s: %w: %q", f.Name(), err, line)
		}
		last = event.Event
	}
	if !ended {
		return nil
	}
	names := []string{}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if last != "session.end" || !slices.Equal(names, []string{"audit.jsonl", "report.json"}) {
		return fmt.Errorf("%s: %q, and the last event is %q", dir, names, last)
	}
	return err
}

// scarce runs a command where there are few namespaces to be had: scarce N CMD... One that is left behind by each of a hundred runs is
// missed by those that follow, and nothing else in the system would show it.
func scarce(args []string) error {
	if args[0] != "inside" {
		return apart("scarce", args, 0, unix.CAP_SYS_RESOURCE)
	}
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"} {
		if err := os.WriteFile("/proc/sys/user/max_"+kind+"_namespaces", []byte(args[1]), 0); err != nil {
			return err
		}
	}
	return become(args[2:])
}
