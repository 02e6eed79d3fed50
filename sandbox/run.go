package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agentjail/agentjail/netns/egress"
)

// Options are what a run needs beside its plan.
type Options struct {
	Stdio
	Log     *slog.Logger   // nil: silence
	Ahead   *Ahead         // a gateway that has been started already; nil: Run starts one
	Signals chan os.Signal // of CatchSignals; nil: Run passes on what comes after its beginning
}

// launchTimeout bounds the set-up. It takes 20 ms on an idle laptop; a machine that needs a minute is broken in a way that a message
// serves better than silence.
const launchTimeout = time.Minute

// termGrace is how long a command has between the SIGTERM of its wall-time limit and SIGKILL.
const termGrace = 2 * time.Second

// settleTime is how long after its launch a command has run for a while. It is not counted from the beginning: where a hundred jails
// start at once, a launch takes longer than this, and what it took last would stay.
const settleTime = time.Second

// run is one jail while it is made and while it lives.
type run struct {
	plan *Plan
	host *Host
	opts Options
	log  *slog.Logger

	report   *Report
	dir      string // the session's record
	audit    *audit
	streams  *streams
	terminal *terminal // nil without one
	signals  chan os.Signal
	wall     <-chan time.Time
	sent     syscall.Signal // the last SIGINT or SIGQUIT that was sent to us
	passed   syscall.Signal // the last signal that was passed on and may be the command's end
	missed   syscall.Signal // one that init did not read any more: the command had ended
	told     bool           // SIGTSTP was sent to us: we stop when the command has
	own      bool           // the next SIGTSTP is the one that we send to our group
	init     initChannel
	gateway  *gatewayProcess
	gone     bool // nobody lives in the jail
	cgroup   *cgroup
	door     *door // nil with --net none
	secrets  *keeper
	control  *control
	begin    func() beginning // what the protected paths were; looked at once
	forgot   error            // what could not be kept for the next run
	umask    int              // the caller's
}

// Run makes the jail that the plan describes, runs the command in it and returns when all of it is gone. The error is an *Error
// when a step did not happen: the command has then not run, or the jail ended before its command did. The report is never nil;
// its ExitCode is what the process should exit with (README, "Exit status").
func Run(ctx context.Context, plan *Plan, host *Host, opts Options) (*Report, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	// A launch makes a few megabytes of garbage, and to collect it would cost more than to keep it until the command has run for a while.
	debug.SetGCPercent(-1)
	r := &run{plan: plan, host: host, opts: opts, log: opts.Log}
	r.umask = unix.Umask(0o077) // the caller's is for what the command makes
	defer unix.Umask(r.umask)
	r.begin = sync.OnceValue(func() beginning { return plan.begin(host) })
	r.report = &Report{Version: 1, Session: newSession(), Name: plan.Name, Profile: plan.Profile, Project: plan.Project, Command: plan.Command.Argv,
		Started: time.Now(), Degraded: []string{}, Secrets: []egress.SecretCount{},
		Net: ReportNet{Allowed: []egress.HostCount{}, Denied: []egress.DenialCount{}},
		FS:  ReportFS{Quarantined: []string{}, DelayedExecution: []string{}}}

	var stop func()
	r.signals, stop = watchSignals(opts.Signals)
	defer stop()
	err := r.launch(ctx)
	if err == nil {
		err = r.supervise(ctx)
	}
	err = r.end(ctx, err)
	return r.report, err
}

// supervise is the life of the jail: it returns when init is gone.
func (r *run) supervise(ctx context.Context) error {
	fromInit, fromGateway := receiveAll(r.init.receive), receiveAll(r.gateway.channel.receive)
	deadline := time.NewTimer(launchTimeout)
	defer deadline.Stop()
	var failure error
	var grace <-chan time.Time
	running, exited := false, false
	for {
		select {
		case m, open := <-fromInit:
			switch {
			case !open && exited:
				r.awaitGone(fromGateway)
				return nil
			case !open && failure != nil:
				return failure
			case !open:
				return r.lost(fromGateway, running)
			case m.failed != nil:
				failure = r.explain(m.failed.step(), r.command(m.failed))
			case m.terminal != nil:
				if err := r.terminal.relay(m.terminal, r.streams.over[0]); err != nil {
					return r.explain(StepTerminal, err)
				}
			case m.running:
				running = true
				deadline.Stop()
				leaveProcessors()
				defer time.AfterFunc(settleTime, settle).Stop() // this message comes once
				r.streams.close()
				if d := r.plan.wall(); d > 0 {
					r.wall = time.After(d)
				}
			case m.stopped:
				r.stopped()
			case m.unread:
				r.missed = r.passed
			case m.exited != nil:
				exited = true
				r.exited(m.exited)
			}
		case m, open := <-fromGateway:
			switch {
			case !open:
				fromGateway = nil // its death ends init, whose socket tells the rest
			case m.Failure != nil:
				return r.explain(m.Failure.Step, m.Failure.err())
			case m.GatewayGone != nil:
				r.gone = true
			}
		case s := <-r.signals:
			r.handle(s)
		case <-deadline.C:
			return &Error{Step: StepInit, Err: fmt.Errorf("the jail was not ready after %v", launchTimeout), Hint: "agentjail doctor"}
		case <-r.wall:
			r.limitHit("wall")
			r.forward(unix.SIGTERM, false)
			grace = time.After(termGrace)
		case <-grace:
			return nil
		case err := <-r.audit.failed:
			return noRecord(err)
		case <-ctx.Done():
			return &Error{Step: StepCommand, Err: context.Cause(ctx)}
		}
	}
}

// goneGrace is how long the gateway has for its word: one that somebody has stopped is killed, and takes everybody in the jail along.
const goneGrace = time.Second

// awaitGone waits for the gateway's word that init is reaped: init closes its socket before the kernel ends the others in the jail, and is
// reaped when it has (pid_namespaces(7)).
func (r *run) awaitGone(fromGateway <-chan *message) {
	patience := time.After(goneGrace)
	for !r.gone && fromGateway != nil {
		select {
		case m, open := <-fromGateway:
			if !open {
				return
			}
			r.gone = m.GatewayGone != nil
		case <-patience:
			return
		}
	}
}

// receiveAll reads a channel on a goroutine that ends with it.
func receiveAll[T any](receive func() (T, error)) <-chan T {
	out := make(chan T)
	go func() {
		defer close(out)
		for {
			m, err := receive()
			if err != nil {
				return
			}
			out <- m
		}
	}()
	return out
}

// command says which path a failure of init's is about.
func (r *run) command(e *initFailure) error {
	switch e.step() {
	case StepCommand:
		return &fs.PathError{Op: e.what(), Path: r.plan.Command.Path, Err: e.errno}
	case StepInit:
		return fmt.Errorf("in %s: %w", r.plan.Command.Dir, e)
	}
	return e
}

// lost says why init is gone without a word: the gateway may know.
func (r *run) lost(fromGateway <-chan *message, running bool) error {
	who := "gateway"
	for fromGateway != nil {
		m, open := <-fromGateway
		if !open {
			break
		}
		if m.Failure != nil {
			return r.explain(m.Failure.Step, m.Failure.err())
		}
		if m.GatewayGone != nil {
			who = "init"
		}
	}
	if r.overLimit() {
		return nil
	}
	switch {
	case running:
		return &Error{Step: StepInit, Err: fmt.Errorf("the jail's %s was killed, and the command with it", who), Hint: killedHint}
	case who == "init":
		return &Error{Step: StepInit, Err: errors.New("the jail's init was killed during the launch"), Hint: killedHint}
	}
	return r.gatewayError(io.EOF)
}

// killedHint is for a death that no part of us brings about.
const killedHint = "somebody sent SIGKILL, or the machine ran out of memory: `journalctl -k` names what the kernel kills"

// exited notes how the command ended.
func (r *run) exited(e *initExited) {
	r.report.EndedBy = "command"
	r.report.ExitCode = e.Code
	if e.Signal != 0 {
		r.report.EndedBy = "signal"
		r.report.ExitCode = 128 + e.Signal
		s := unix.Signal(e.Signal)
		r.report.Signal = unix.SignalName(s)
		if typed := r.terminal.wantsEnd(s); typed || s == r.sent {
			r.report.Interrupt = Interrupt{Signal: s, Group: typed}
		}
	}
}
