package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) reportCommand() *subcommand {
	return &subcommand{
		name: "report", path: "agentjail report", args: "[ID|NAME]", usage: "show how a session ended; default: the newest that ended",
		example: []string{
			"agentjail report # how the newest session ended, and what it was refused",
			"agentjail report --json | jq .net.denied # the same as data",
		},
		groups: []group{{"Flags", []*option{a.flags.jsonFlag()}}},
		action: func(ctx context.Context, rest []string) error {
			id, err := a.sessionID("report", rest)
			if err != nil {
				return err
			}
			host, err := sandbox.Probe(ctx)
			if err != nil {
				return err
			}
			f, err := openRecord(host.StateDir, id, reportFile)
			if err != nil {
				return err
			}
			defer f.Close()
			text, err := io.ReadAll(f)
			if err != nil {
				return err
			}
			if a.flags.out.json {
				return writeJSON(a.Out, text)
			}
			var r sandbox.Report
			if err := json.Unmarshal(text, &r); err != nil {
				return fmt.Errorf("%s: %w", f.Name(), err)
			}
			return printReport(a.Out, &r)
		},
	}
}

// printReport tells a person what happened.
func printReport(w io.Writer, r *sandbox.Report) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(title, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", title, printable(fmt.Sprintf(format, args...)))
	}
	row("session", "%s", r.Session)
	if r.Name != "" {
		row("name", "%s", r.Name)
	}
	row("command", "%s", quote(r.Command...))
	row("profile", "%s", r.Profile)
	row("project", "%s", r.Project)
	row("ended", "%s", ending(r))
	row("ran", "%s from %s", r.Finished.Sub(r.Started).Round(time.Millisecond), r.Started.Local().Format(time.DateTime))
	if r.Error != nil {
		row("error", "%s: %s", r.Error.Step, r.Error.Message)
		if r.Error.Hint != "" {
			row("hint", "%s", r.Error.Hint)
		}
	}
	for _, wall := range r.Degraded {
		row("degraded", "%s", wall)
	}
	for _, limit := range r.Unenforced {
		row("default", "limit %s not enforceable here", limit)
	}
	for _, limit := range r.Limits {
		row("limit", "%s was reached", limit)
	}
	for _, h := range r.Net.Allowed {
		row("allowed", "%s: %s, %d bytes up, %d bytes down", hostPort(h.Host, h.Port), count(h.Connections, "connection"), h.Up, h.Down)
	}
	for _, d := range r.Net.Denied {
		row("refused", "%s %s (%s), %s", hostPort(d.Host, d.Port), d.Reason.Sentence(), d.Reason, count(d.Count, "time"))
		for _, line := range d.Remedy() {
			row("", "  %s", line)
		}
	}
	for _, s := range r.Secrets {
		row("secret", "%s: used in %s, %s with another credential refused", s.Name, count(s.Uses, "request"), count(s.Foreign, "request"))
	}
	for _, path := range r.FS.Quarantined {
		row("quarantined", "%s", path)
	}
	for _, path := range r.FS.DelayedExecution {
		row("changed", "%s: during the run, and the host may execute it", path)
	}
	for _, path := range r.FS.HiddenChanged {
		row("changed", "%s: no longer leads to what it hid", path)
	}
	return tw.Flush()
}

// ending says in one line how a run ended.
func ending(r *sandbox.Report) string {
	switch r.EndedBy {
	case "command":
		return fmt.Sprintf("exit status %d", r.ExitCode)
	case "signal":
		return fmt.Sprintf("killed by %s, exit status %d", r.Signal, r.ExitCode)
	default:
		return fmt.Sprintf("by %s, exit status %d", r.EndedBy, r.ExitCode)
	}
}

// hostPort leaves out the port of a name that was refused before there was one.
func hostPort(host string, port uint16) string {
	if port == 0 {
		return host
	}
	return fmt.Sprintf("%s:%d", host, port)
}

func count(n int64, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}
