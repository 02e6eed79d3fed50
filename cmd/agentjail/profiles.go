package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) profilesCommand() *subcommand {
	answer := func() []group { return []group{{"Flags", []*option{a.flags.jsonFlag()}}} }
	list := func(ctx context.Context, rest []string) error {
		if args := a.words.operands(rest); len(args) > 0 {
			return usage("agentjail profiles --help", "profiles has no %q: want list, show or check", args[0])
		}
		return a.listProfiles(ctx)
	}
	return &subcommand{
		name: "profiles", path: "agentjail profiles", usage: "list, show and check profiles", groups: answer(), action: list,
		about: "\nProfiles are looked for in $XDG_CONFIG_HOME/agentjail/profiles, in /etc/agentjail/profiles, and built in.",
		subs: []*subcommand{
			{name: "list", path: "agentjail profiles list", usage: "list the profiles", groups: answer(), action: list},
			{name: "show", path: "agentjail profiles show", args: "NAME|FILE", usage: "show what a profile wishes, merged with those that it extends",
				groups: answer(), action: a.showProfile},
			{name: "check", path: "agentjail profiles check", args: "FILE", usage: "say whether a file is a good profile", groups: answer(),
				action: a.checkProfile},
		},
	}
}

func (a *app) listProfiles(ctx context.Context) error {
	host, err := sandbox.Probe(ctx)
	if err != nil {
		return err
	}
	list, broken := library(host).List() // a broken file is in the list and in the error
	if a.flags.out.json {
		return errors.Join(a.answer(list), broken)
	}
	tw := tabwriter.NewWriter(a.Out, 0, 8, 2, ' ', 0)
	for _, p := range list {
		about := p.Description
		if p.Error != "" {
			about = "cannot be used"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\n", printable(p.Name), printable(p.Source), printable(about))
	}
	return errors.Join(tw.Flush(), broken)
}

func (a *app) showProfile(ctx context.Context, rest []string) error {
	args := a.words.operands(rest)
	if len(args) != 1 {
		return usage("agentjail profiles show default", "show takes the name of one profile")
	}
	host, err := sandbox.Probe(ctx)
	if err != nil {
		return err
	}
	p, err := library(host).Load(args, "")
	if err != nil {
		return err
	}
	if a.flags.out.json {
		return a.answer(p)
	}
	return printProfile(a.Out, p)
}

func (a *app) checkProfile(_ context.Context, rest []string) error {
	args := a.words.operands(rest)
	if len(args) != 1 {
		return usage("agentjail profiles check ./my.toml", "check takes one file")
	}
	data, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	_, err = profiles.Parse(args[0], data)
	if a.flags.out.json {
		verdict := struct {
			File  string `json:"file"`
			OK    bool   `json:"ok"`
			Error string `json:"error,omitempty"`
			Hint  string `json:"hint,omitempty"`
		}{File: args[0], OK: err == nil}
		if err != nil {
			verdict.Error, verdict.Hint, a.code = err.Error(), hintOf(err), exitFailed
		}
		return a.answer(verdict)
	}
	return err
}
