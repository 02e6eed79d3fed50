package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/agentjail/agentjail/sandbox"
	"github.com/agentjail/agentjail/sandbox/selftest"
)

func (a *app) selftestCommand() *subcommand {
	return &subcommand{
		name: "selftest", path: "agentjail selftest", usage: "try to escape from throwaway jails on this machine, each try with a control",
		about: "\nThe exit status is 0 when every attempt was stopped, 1 when one escaped or could not be judged, 125 when no jail could be made, " +
			"128 and its number when a signal ended it.",
		example: []string{
			"agentjail selftest # with the default profile",
			"agentjail selftest -p claude -p ./ours.toml # with the walls that these leave standing",
			"agentjail selftest --format junit >selftest.xml # for CI; sarif is the other one",
		},
		groups: []group{{"Flags", []*option{
			{name: "profile", short: "p", value: "NAME|FILE", usage: "test the jail of this profile (repeatable, merged in order)", set: many(&a.flags.profiles)},
			{name: "format", value: "FORMAT", usage: "answer in junit or sarif", set: choice(&a.flags.out.format, "junit", "sarif")},
			a.flags.jsonFlag(),
		}}},
		action: func(ctx context.Context, rest []string) error {
			if len(a.words.operands(rest)) > 0 {
				return usage("agentjail selftest", "selftest takes no argument")
			}
			if a.flags.out.json && a.flags.out.format != "" {
				return usage("leave one of the two out", "--json and --format %s", a.flags.out.format)
			}
			return a.selftest(ctx)
		},
	}
}

func (a *app) selftest(ctx context.Context) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	host, err := sandbox.Probe(ctx)
	if err != nil {
		return err
	}
	if _, err := library(host).Load(a.flags.profiles, selftest.Name); err != nil {
		return err
	}
	options := selftest.Options{Profiles: a.flags.profiles, ConfigHome: filepath.Dir(host.ConfigDir), Homes: homes(host)}
	if term.IsTerminal(int(a.Err.Fd())) {
		options.Progress = func(done, of int) { fmt.Fprintf(a.Err, "\r%d of %d", done, of) }
		defer fmt.Fprint(a.Err, "\r\x1b[K")
	}
	report, err := selftest.Run(ctx, options)
	stop()
	if by, ok := interrupted(ctx, err); ok {
		a.ui.fail(errors.New("selftest: interrupted; nothing is left behind"))
		a.code = exitSignal + int(by.Signal)
		if by.Signal == syscall.SIGINT || by.Signal == syscall.SIGQUIT {
			a.died.Signal = by.Signal
		}
		return nil
	}
	if err != nil {
		hint := "agentjail doctor"
		if e, ok := errors.AsType[*selftest.Error](err); ok && e.Hint != "" {
			hint = e.Hint
		}
		return usage(hint, "selftest: %w", err)
	}
	if !report.Holds() {
		a.code = exitEscaped
	}
	switch {
	case a.flags.out.json:
		return a.answer(report)
	case a.flags.out.format == "junit":
		return report.WriteJUnit(a.Out)
	case a.flags.out.format == "sarif":
		info, _ := debug.ReadBuildInfo()
		return a.answer(report.SARIF(a.flags.profiles, versionOf(info).Version))
	}
	return a.printAttempts(report)
}

// homes are where the user's own files are: $HOME, the user database's, and under sudo(8) those of who called it, whose jail it is.
func homes(host *sandbox.Host) []string {
	list := []string{host.Home}
	ids := []string{strconv.Itoa(host.UID)}
	if host.UID == 0 {
		ids = append(ids, os.Getenv("SUDO_UID"))
	}
	for _, id := range ids {
		if u, err := user.LookupId(id); err == nil && filepath.IsAbs(u.HomeDir) {
			list = append(list, filepath.Clean(u.HomeDir))
		}
	}
	return list
}

// signalled is the cause of a context that ended with a signal.
type signalled struct{ syscall.Signal }

func (s signalled) Error() string { return s.Signal.String() }

// untilSignal gives a context that ends with the first signal that would end us. SIGQUIT is one of them: what Go's runtime says of it helps
// nobody who typed Ctrl-\.
func untilSignal(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	over := make(chan struct{})
	go func() {
		defer close(over)
		if s, ok := <-signals; ok {
			cancel(signalled{s.(syscall.Signal)})
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals) // what has come is in the channel then
		close(signals)
		<-over
		cancel(nil)
	})
}

// interrupted says which signal ended a test that failed: one that we got, or one of its jails did. A signal to all of them may be seen at
// a jail first.
func interrupted(ctx context.Context, err error) (by signalled, ok bool) {
	if err == nil {
		return by, false
	}
	if by, ok = errors.AsType[signalled](context.Cause(ctx)); ok {
		return by, true
	}
	jail, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return by, false
	}
	by.Signal = jail.Sys().(syscall.WaitStatus).Signal()
	if jail.Exited() {
		by.Signal = syscall.Signal(jail.ExitCode() - exitSignal)
	}
	return by, slices.Contains([]syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}, by.Signal)
}

// printAttempts prints a line an attempt, area by area, and the summary.
func (a *app) printAttempts(r *selftest.Report) error {
	p := &page{w: a.Out}
	area := ""
	for _, one := range r.Attempts {
		if one.Area != area {
			area = one.Area
			p.line("%s", area)
		}
		verdict := one.Result
		if verdict != selftest.Stopped && verdict != selftest.Absent {
			verdict = strings.ToUpper(verdict)
		}
		p.line("  %-12s  %-30s  %s", verdict, one.Name, printable(one.Detail))
		if one.Result == selftest.Inconclusive || one.Result == selftest.Absent {
			p.line("  %-12s  %-30s  control: %s", "", "", printable(one.Control))
		}
	}
	p.line("\n%-12s%9s%9s%14s", "", "stopped", "escaped", "inconclusive")
	for _, s := range r.Areas() {
		p.line("%-12s%9d%9d%14d", s.Area, s.Stopped, s.Escaped, s.Inconclusive)
	}
	p.line("%-12s%9d%9d%14d", "all", r.Stopped, r.Escaped, r.Inconclusive)
	if r.Absent > 0 {
		p.line("\nabsent: %d, for this machine does not have what they are about, or has it for its root alone", r.Absent)
	}
	return p.err
}
