package main

import (
	"context"
	"path/filepath"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) planCommand() *subcommand {
	return &subcommand{
		name: "plan", path: "agentjail plan", args: "[--] COMMAND [ARG...]", usage: "show what run would do and why; touches nothing",
		about: "\nThe flags are those of run.",
		example: []string{
			"agentjail plan -- claude # each mount, host, limit and variable, with its reason",
			"agentjail plan --json -- make | jq .net.policy # the same as data",
		},
		groups: append(a.flags.groups(), group{"The answer", []*option{a.flags.jsonFlag()}}), jail: true,
		action: func(ctx context.Context, rest []string) error {
			plan, host, err := a.prepare(ctx, a.words.command(rest))
			if err != nil {
				return err
			}
			if err := plan.CheckLimits(ctx, host); err != nil {
				return err
			}
			if a.flags.out.json {
				return a.answer(plan)
			}
			return plan.Print(a.Out)
		},
	}
}

// prepare is everything before the run: words become a profile, the profile becomes a plan. It changes nothing on the machine.
//
// The layers, each over the one before: the profiles that were named or that match the command, the project's own file, the flags.
func (a *app) prepare(ctx context.Context, argv []string) (*sandbox.Plan, *sandbox.Host, error) {
	if len(argv) == 0 {
		return nil, nil, usage("agentjail -- COMMAND [ARG...]", "there is no command to run")
	}
	host, err := sandbox.Probe(ctx)
	if err != nil {
		return nil, nil, err
	}
	flags, err := a.flags.layer(host.Dir)
	if err != nil {
		return nil, nil, err
	}
	wished, err := library(host).Load(a.flags.profiles, filepath.Base(argv[0]))
	if err != nil {
		return nil, nil, err
	}
	project, err := sandbox.FindProject(host, a.flags.files.project)
	if err != nil {
		return nil, nil, err
	}
	if wished, err = withProject(wished, project, host); err != nil {
		return nil, nil, err
	}
	if wished, err = profiles.WithSecrets(profiles.Merge(wished, flags), host.ConfigDir, a.flags.secrets); err != nil {
		return nil, nil, err
	}
	wished, err = asker(host, project, a.at.runs).Expand(ctx, wished)
	if err != nil {
		return nil, nil, err
	}
	plan, err := sandbox.NewPlan(wished, sandbox.Request{
		Argv: argv, Project: a.flags.files.project, Name: a.flags.name, TTY: a.flags.tty, Degraded: a.flags.degraded,
	}, host)
	return plan, host, err
}

// withProject merges the project's own file. Whoever may write to the project wrote it, an agent of an earlier run for one: it may
// narrow, and it widens only when the user has trusted exactly this content.
func withProject(base *profiles.Profile, dir string, host *sandbox.Host) (*profiles.Profile, error) {
	project, content, err := profiles.LoadProject(dir)
	if err != nil || project == nil {
		return base, err
	}
	trusted, err := trustStore(host).Has(dir, content)
	if err != nil {
		return nil, err
	}
	if wider := profiles.Widens(base, project); len(wider) > 0 && !trusted {
		return nil, usage(quote("agentjail", "trust", dir), "%s would widen the jail (%s) and is not trusted",
			filepath.Join(dir, profiles.ProjectFile), wishes(wider))
	}
	return profiles.Merge(base, project), nil
}
