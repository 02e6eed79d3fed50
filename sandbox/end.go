package sandbox

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agentjail/agentjail/seccomp"
)

// newSession names a session: when it began, to the microsecond, so that names sort also where a script starts many in a second; and
// eight random hex digits.
func newSession() string {
	var b [4]byte
	rand.Read(b[:])
	now := time.Now().UTC()
	return fmt.Sprintf("%s%06d-%s", now.Format("20060102-150405"), now.Nanosecond()/1000, hex.EncodeToString(b[:]))
}

// end takes everything down, in the reverse order of its making, and completes the report.
func (r *run) end(ctx context.Context, err error) error {
	// The kernel takes a millisecond for the gateway's mounts, of which nobody is left to make use: it does so beside what follows.
	r.gateway.doom()
	if !r.gone {
		r.gateway.kill()
	}
	if r.init.channel != nil {
		r.init.Close()
	}
	if lost := r.drain(ctx); err == nil {
		err = lost
	}
	r.terminal.restore()
	r.control.close()
	r.door.close()
	r.report.Secrets = r.secrets.counts(r.door)
	if r.door != nil {
		r.report.Net.Allowed, r.report.Net.Denied = r.door.Report()
	}
	if r.gateway != nil {
		r.report.FS.DelayedExecution, r.forgot = r.plan.changed(r.host, r.begin())
		r.report.FS.HiddenChanged = r.plan.uncovered(r.host.FS)
	}
	if r.cgroup != nil {
		r.gateway.kill() // which is in it
		for _, name := range r.cgroup.Hit() {
			r.limitHit(name)
		}
		r.report.Unenforced = r.cgroup.unheld
		if cerr := r.cgroup.Close(); cerr != nil && err == nil {
			err = r.explain(StepCgroup, cerr)
		}
	}
	if slices.Contains(r.report.Limits, "wall") {
		r.report.EndedBy, r.report.ExitCode = "limit", 124
	}
	err = r.close(err)
	var released sync.WaitGroup
	released.Go(r.audit.release)
	r.gateway.kill()
	released.Wait()
	return err
}

// close writes the record's last lines.
func (r *run) close(err error) error {
	r.report.Finished = time.Now()
	if e, ok := errors.AsType[*Error](err); ok {
		// A command that says by itself that it failed keeps its status when its output could not be written.
		if e.Step != StepStdio || r.report.ExitCode == 0 {
			r.report.EndedBy = "error"
			r.report.ExitCode = exitCode(e)
		}
		r.report.Error = &ReportError{Step: e.Step, Message: e.Err.Error(), Hint: e.Hint}
	}
	if r.audit == nil {
		return err
	}
	r.audit.write(record{Time: r.report.Finished, Event: "session.end", ExitCode: &r.report.ExitCode, EndedBy: r.report.EndedBy})
	body, jerr := json.MarshalIndent(r.report, "", "  ")
	if aerr := errors.Join(jerr, r.audit.close(append(body, '\n')), r.forgot); aerr != nil && err == nil {
		// The command has run and its status stands; what is missing is the record, and that must not pass in silence.
		err = noRecord(aerr)
		r.report.Error = &ReportError{Step: StepAudit, Message: aerr.Error()}
	}
	return err
}

// exitCode is 125, or what a shell says of a command that cannot be run.
func exitCode(e *Error) int {
	if e.Step != StepCommand {
		return exitFailed
	}
	switch {
	case errors.Is(e, unix.ENOENT):
		return 127
	case errors.Is(e, unix.EACCES), errors.Is(e, unix.ENOEXEC), errors.Is(e, unix.EISDIR), errors.Is(e, unix.EPERM):
		return 126
	}
	return exitFailed
}

// limitHit notes a limit once.
func (r *run) limitHit(name string) {
	if !slices.Contains(r.report.Limits, name) {
		r.report.Limits = append(r.report.Limits, name)
		r.audit.write(record{Event: "limit", Limit: name})
	}
}

// overLimit says whether a limit, and no accident, ended init.
func (r *run) overLimit() bool {
	if r.cgroup != nil {
		for _, name := range r.cgroup.Hit() {
			r.limitHit(name)
		}
	}
	if len(r.report.Limits) == 0 {
		return false
	}
	r.report.EndedBy, r.report.ExitCode = "limit", exitFailed
	return true
}

// missing is the error of a command that was not found when the plan was made, as execve(2) would put it.
func (p *Plan) missing() error {
	switch p.Command.Problem {
	case "":
		return nil
	case ProblemNotFound:
		e := &Error{Step: StepCommand, Err: fmt.Errorf("%s: %w", p.Command.Argv[0], unix.ENOENT)}
		switch {
		case strings.ContainsAny(p.Command.Argv[0], " |;&<>"):
			e.Hint = "no shell reads the command: give each word by itself, or agentjail -- sh -c 'COMMAND'"
		case !strings.Contains(p.Command.Argv[0], "/"):
			e.Hint = "it is in no directory of your PATH"
		}
		return e
	}
	return &Error{Step: StepCommand, Err: fmt.Errorf("%s: %w", p.Command.Argv[0], unix.EACCES),
		Hint: "chmod +x it, or name what runs it: agentjail -- sh FILE"}
}

// allows says whether the user lets a wall fall.
func (p *Plan) allows(wall string) bool { return slices.Contains(p.Degraded, wall) }

// wall is the wall-time limit, or 0.
func (p *Plan) wall() time.Duration {
	for _, l := range p.Limits {
		if l.Name == "wall" {
			return l.Duration
		}
	}
	return 0
}

// nestedNamespaces is enough for a browser's sandbox, which makes one for each renderer at worst.
const nestedNamespaces = 256

// namespaces is how many user namespaces the command may make.
func (p *Plan) namespaces() int {
	for _, g := range seccomp.Groups() {
		if g.UserNamespaces && slices.Contains(groupNames(p.Syscalls), g.Name) {
			return nestedNamespaces
		}
	}
	return 0
}

func groupNames(groups []Setting) []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.Value
	}
	return names
}
