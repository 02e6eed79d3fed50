package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) doctorCommand() *subcommand {
	return &subcommand{
		name: "doctor", path: "agentjail doctor", usage: "try each step of a launch on this machine and name the fix for each that fails",
		groups: []group{{"Flags", []*option{a.flags.jsonFlag()}}},
		action: func(ctx context.Context, rest []string) error {
			if len(a.words.operands(rest)) > 0 {
				return usage("agentjail doctor", "doctor takes no argument")
			}
			host, err := sandbox.Probe(ctx)
			if err != nil {
				return err
			}
			checks := sandbox.Doctor(ctx, host)
			for _, c := range checks {
				if !c.OK {
					a.code = exitFailed
				}
			}
			if a.flags.out.json {
				return a.answer(checks)
			}
			return a.printChecks(checks)
		},
	}
}

// printChecks prints one line a step, and what to do under each that failed.
func (a *app) printChecks(checks []sandbox.Check) error {
	var text strings.Builder
	for _, c := range checks {
		verdict := "ok  "
		if !c.OK {
			verdict = "FAIL"
		}
		fmt.Fprintf(&text, "%s  %s", verdict, printable(c.Step))
		if c.Err != "" {
			fmt.Fprintf(&text, ": %s", printable(c.Err))
		}
		text.WriteByte('\n')
		if c.Hint != "" {
			for _, line := range strings.Split(strings.TrimRight(c.Hint, "\n"), "\n") {
				fmt.Fprintf(&text, "      %s\n", printable(line))
			}
		}
	}
	_, err := fmt.Fprint(a.Out, text.String())
	return err
}
