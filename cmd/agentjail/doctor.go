package main

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) doctorCommand() *subcommand {
	return &subcommand{
		name: "doctor", path: "agentjail doctor", usage: "try each step of a launch on this machine and name the fix for each that fails",
		example: []string{"agentjail doctor # FAIL needs its fix; weak is what a jail can do without"},
		groups:  []group{{"Flags", []*option{a.flags.jsonFlag()}}},
		action: func(ctx context.Context, rest []string) error {
			if len(a.words.operands(rest)) > 0 {
				return usage("agentjail doctor", "doctor takes no argument")
			}
			host, err := sandbox.Probe(ctx)
			if err != nil {
				return err
			}
			checks := sandbox.Doctor(ctx, host)
			if !stands(checks) {
				a.code = exitFailed
			}
			if a.flags.out.json {
				return a.answer(checks)
			}
			return printChecks(a.Out, checks)
		},
	}
}

// stands says whether a jail can be built here: what is optional may fail.
func stands(checks []sandbox.Check) bool {
	return !slices.ContainsFunc(checks, func(c sandbox.Check) bool { return !c.OK && !c.Optional })
}

// printChecks prints one line a step; under each that failed, what stands in the way and what to type.
func printChecks(w io.Writer, checks []sandbox.Check) error {
	p := &page{w: w}
	for _, c := range checks {
		verdict := "ok  "
		switch {
		case !c.OK && c.Optional:
			verdict = "weak"
		case !c.OK:
			verdict = "FAIL"
		}
		p.line("%s  %-15s  %s", verdict, printable(c.Step), printable(outcome(c)))
		if c.OK {
			continue
		}
		if c.Setting != "" {
			p.line("      setting: %s", printable(c.Setting))
		}
		for i, line := range strings.Split(strings.TrimRight(c.Fix, "\n"), "\n") {
			switch {
			case c.Fix == "":
			case i == 0:
				p.line("      fix:     %s", printable(line))
			default:
				p.line("%s", printable(line)) // at the margin: a file in a here-document is pasted as it stands
			}
		}
	}
	if stands(checks) {
		p.line("A jail can stand on this machine.")
	} else {
		p.line("No jail can stand on this machine yet.")
	}
	return p.err
}

// outcome is the call and what came of it.
func outcome(c sandbox.Check) string {
	var parts []string
	for _, part := range []string{c.Call, c.Errno, c.Message} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}
