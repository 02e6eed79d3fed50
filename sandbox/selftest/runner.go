package selftest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Name is what the copy of the binary is called that runs attempts; [Reexec] knows itself by it, by a role and by a job.
const Name = "agentjail-selftest"

// The roles of that copy, its first argument. A runner's job is the second.
const (
	roleAttack    = "attack"    // in the jail
	roleOther     = "other"     // in the second jail
	roleOutside   = "outside"   // in none
	roleNamespace = "namespace" // root of a user namespace
	roleAttempt   = "attempt"   // one attempt of any of them
	roleBystander = "bystander"
	roleJanitor   = "janitor"
	roleNothing   = "nothing" // to have been started is all
)

// attemptTime is what one attempt may take.
const attemptTime = 20 * time.Second

// job is what a runner is told.
type job struct {
	Names  []string
	Target target
}

// line is one line of a runner's answer: how an attempt went, or what the other session is known by.
type line struct {
	Name    string
	Done    bool   // the act has happened
	Unready bool   // it has not been tried to the end: nobody knows
	Error   string // why it has not happened; or what it has reached, where that is not always the same
	Other   *session
	Address uintptr // of the bystander's token
}

// Reexec does the work of a runner, an attempt or the bystander when this process is one, and then does not return.
func Reexec() {
	j, ok := ours(os.Args)
	if !ok {
		return
	}
	if err := act(os.Args[1], j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		unix.Exit(1)
	}
	unix.Exit(0) // exit_group(2) itself: there is nothing to flush, and under the race detector os.Exit takes a second
}

// ours gives the job of a process that is part of a test. The name alone says nothing: a user may have given it to the binary, and then
// means the command line.
func ours(args []string) (*job, bool) {
	roles := []string{roleAttack, roleOther, roleOutside, roleNamespace, roleAttempt, roleBystander, roleJanitor, roleNothing}
	if len(args) != 3 || filepath.Base(args[0]) != Name || !slices.Contains(roles, args[1]) {
		return nil, false
	}
	j := new(job)
	return j, json.Unmarshal([]byte(args[2]), j) == nil
}

func act(role string, j *job) error {
	out := json.NewEncoder(os.Stdout)
	switch role {
	case roleNothing:
		return nil
	case roleAttempt:
		return out.Encode(try(j))
	case roleBystander:
		return bystand(j, out)
	case roleJanitor:
		return clean(os.Stdin)
	case roleNamespace:
		stop, err := rule(&j.Target)
		if err != nil {
			return err
		}
		defer stop()
	case roleOther:
		stop, err := own(&j.Target)
		if err != nil {
			return err
		}
		defer stop()
		if err := out.Encode(line{Other: &j.Target.Other}); err != nil {
			return err
		}
		defer io.Copy(io.Discard, os.Stdin) // the attack is over when it ends
	}
	for _, name := range j.Names {
		if err := out.Encode(one(role, name, j.Target)); err != nil {
			return err
		}
	}
	return nil
}

// try makes the attempt of a job.
func try(j *job) line {
	for _, a := range catalogue() {
		if a.name != j.Names[0] {
			continue
		}
		err := a.do(&j.Target)
		if err == nil {
			return line{Name: a.name, Done: true}
		}
		if w, ok := errors.AsType[won](err); ok {
			return line{Name: a.name, Done: true, Error: oneLine(w)}
		}
		_, unready := errors.AsType[unready](err)
		waited, late := errors.AsType[net.Error](err) // in a jail what is refused is refused at once
		return line{Name: a.name, Unready: unready || late && waited.Timeout(), Error: oneLine(err)}
	}
	return line{Name: j.Names[0], Unready: true, Error: "no such attempt"}
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// one makes an attempt in a process of its own.
func one(role, name string, t target) line {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTime)
	defer cancel()
	arg, err := json.Marshal(job{[]string{name}, t})
	if err != nil {
		return line{Name: name, Unready: true, Error: err.Error()}
	}
	var out, said bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{Name, roleAttempt, string(arg)}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, &out, &said
	cmd.WaitDelay = time.Second
	if role == roleNamespace { // what one does to its mounts and its name, the next does not see
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS | unix.CLONE_NEWUTS}
	}
	err = cmd.Run()
	answer := line{}
	switch {
	case json.Unmarshal(out.Bytes(), &answer) == nil && answer.Name == name:
		return answer
	case ctx.Err() != nil:
		return line{Name: name, Unready: true, Error: fmt.Sprintf("did not end within %v", attemptTime)}
	case cmd.ProcessState != nil && cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() == syscall.SIGSYS:
		return line{Name: name, Error: "killed by SIGSYS"} // seccomp(2)
	case err == nil:
		err = errors.New("ended without an answer")
	}
	return line{Name: name, Unready: true, Error: firstLine(err.Error() + " " + said.String())}
}

// bystand is a process of the user's: it has a file open, a directory, a variable and memory, and lives as long as its standard input.
func bystand(j *job, out *json.Encoder) error {
	const setPtracer = 0x59616d61 // PR_SET_PTRACER: where Yama lets a process be traced by its ancestors alone, the control is let in
	unix.Prctl(setPtracer, ^uintptr(0), 0, 0, 0)
	token := []byte(j.Target.Token)
	if err := out.Encode(line{Address: uintptr(unsafe.Pointer(&token[0]))}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	os.Args[0] += string(token[:0]) // keeps the token
	return err
}

// address is for arguments of calls.
func address[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

func itoa(n int) string { return strconv.Itoa(n) }

// atoi is 0 for what is no number.
func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
