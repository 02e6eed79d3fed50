package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) runCommand() *subcommand {
	return &subcommand{
		name: "run", path: "agentjail run", args: "[--] COMMAND [ARG...]", usage: "run a command in a jail; `agentjail -- COMMAND` for short",
		about:   "\nEverything from the first word that is no flag is the command: `agentjail run ls -la`.",
		example: runExamples, groups: a.flags.groups(), jail: true, runs: true,
		action: func(ctx context.Context, rest []string) error { return a.runJail(ctx, a.words.command(rest)) },
	}
}

var runExamples = []string{
	"agentjail -- claude # the profile whose match holds \"claude\"",
	"agentjail -p pre-commit -- pre-commit run -a # no network at all",
	"agentjail --allow api.example.com -- ./fetch # one host, ports 80 and 443",
	"agentjail --allow @npm -- npm install # the registry that npm is set up for",
	"agentjail plan -- claude # what would be done, and why",
}

// runJail runs the command and tells what a person or a script should know of it.
func (a *app) runJail(ctx context.Context, argv []string) error {
	if err := sandbox.SpareDescriptors(); err != nil {
		a.record = &recordFile{} // nor is there one for a report
		return err
	}
	file, err := openReport(a.flags.out.report)
	if err != nil {
		return err
	}
	a.record = file
	started := time.Now()
	ahead := sandbox.StartAhead(a.flags.net.mode != "none")
	defer ahead.Close()
	plan, host, err := a.prepare(ctx, argv)
	if err == nil {
		err = file.outside(plan.Project)
		if err != nil {
			a.record = &recordFile{} // and it is no place for a report about that
		}
	}
	if err != nil {
		return a.failed(argv, started, err)
	}
	for _, w := range plan.Warnings {
		a.ui.warn("%s", w)
	}
	options := sandbox.Options{Stdio: a.Stdio, Log: a.logger(), Signals: a.signals, Ahead: ahead}
	report, err := sandbox.Run(ctx, plan, host, options)
	a.code, a.died = report.ExitCode, report.Interrupt
	if report.Unread {
		a.ui.w = hasty{a.ui.w}
	}
	if e := a.record.write(report); err == nil {
		err = e
	}
	a.tell(report)
	if e := pruneSessions(host.StateDir, time.Now()); e != nil {
		options.Log.Warn("remove records of old sessions", "error", e)
	}
	return err
}

// failed writes the report of a run that did not get as far as sandbox.Run.
func (a *app) failed(argv []string, started time.Time, err error) error {
	r := &sandbox.Report{
		Version: 1, Name: a.flags.name, Command: append([]string{}, argv...), Started: started, Finished: time.Now(),
		ExitCode: exitFailed, EndedBy: "error",
		Error: &sandbox.ReportError{Step: stepOf(err), Message: messageOf(err), Hint: hintOf(err)},
	}
	empty(&r.Degraded)
	empty(&r.Secrets)
	empty(&r.Net.Allowed)
	empty(&r.Net.Denied)
	empty(&r.FS.Quarantined)
	empty(&r.FS.DelayedExecution)
	if e := a.record.write(r); e != nil {
		a.ui.fail(e)
	}
	return err
}

// empty makes a list that is [] in JSON and not null.
func empty[T any](list *[]T) { *list = []T{} }

// logger is silent unless --debug was given.
func (a *app) logger() *slog.Logger {
	if !a.flags.out.debug {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(&a.ui, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// tell prints the lines at the end of a run. An error is told by run's caller.
func (a *app) tell(r *sandbox.Report) {
	for _, wall := range r.Degraded {
		a.ui.warn("this wall did not stand: %s", wall)
	}
	if len(r.FS.DelayedExecution) > 0 {
		a.ui.warn("changed during the run, and the host may execute it: %s", strings.Join(printables(r.FS.DelayedExecution), ", "))
	}
	if len(r.FS.HiddenChanged) > 0 {
		a.ui.warn("no longer leads to what it hid, which stays hidden: %s", strings.Join(printables(r.FS.HiddenChanged), ", "))
	}
	if line := refused(r); line != "" {
		a.ui.note("%s; %s", line, quote("agentjail", "report", r.Session))
	}
	if r.EndedBy == "limit" {
		a.ui.note("ended by a limit: %s; %s", strings.Join(r.Limits, ", "), quote("agentjail", "report", r.Session))
	}
}

// refused says in one line what the door refused and why, "" when nothing was: one in words, several by the word for the reason.
func refused(r *sandbox.Report) string {
	const shown = 3
	met := map[string]bool{}
	for _, d := range r.Net.Denied {
		met[d.Host] = met[d.Host] || d.Port != 0
	}
	var list []string
	var only string
	for _, d := range r.Net.Denied {
		if d.Port == 0 && met[d.Host] {
			continue // the name was refused to the resolver, and again at the address that explains: one refusal to a person
		}
		times := ""
		if d.Count > 1 {
			times = fmt.Sprintf(", %d times", d.Count)
		}
		where := printable(hostPort(d.Host, d.Port))
		only = fmt.Sprintf("%s %s (%s%s)", where, d.Reason.Sentence(), d.Reason, times)
		switch {
		case len(list) < shown:
			list = append(list, fmt.Sprintf("%s (%s%s)", where, d.Reason, times))
		case len(list) == shown:
			list = append(list, "…")
		}
	}
	switch len(list) {
	case 0:
		return ""
	case 1:
		return "refused: " + only
	}
	return "refused: " + strings.Join(list, ", ")
}
