package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) profilesCommand() *subcommand {
	answer := func() []group { return []group{{"Flags", []*option{a.flags.jsonFlag()}}} }
	list := func(ctx context.Context, rest []string) error {
		if args := a.words.operands(rest); len(args) > 0 {
			near := profiles.Nearest(args[0], []string{"list", "show", "check"})
			return usage("agentjail profiles --help", "profiles has no %q: want list, show or check%s", args[0], didYouMean(near))
		}
		return a.listProfiles(ctx)
	}
	return &subcommand{
		name: "profiles", path: "agentjail profiles", usage: "list, show and check profiles", groups: answer(), action: list,
		about:   "\nProfiles are looked for in $XDG_CONFIG_HOME/agentjail/profiles, in /etc/agentjail/profiles, and built in.",
		example: []string{"agentjail profiles # name, place and purpose of each", "agentjail profiles show claude # what it wishes"},
		subs: []*subcommand{
			{name: "list", path: "agentjail profiles list", usage: "list the profiles", groups: answer(), action: list,
				example: []string{"agentjail profiles list --json | jq -r '.[].name' # the names alone"}},
			{name: "show", path: "agentjail profiles show", args: "NAME|FILE", usage: "show what a profile wishes, merged with those that it extends",
				groups: answer(), action: a.showProfile, example: []string{"agentjail profiles show ./my.toml # each wish, and where it was made"}},
			{name: "check", path: "agentjail profiles check", args: "NAME|FILE...", usage: "say whether profiles are good ones, on this machine", groups: answer(),
				action: a.checkProfile, example: []string{"agentjail profiles check ./my.toml claude # NAME: ok, or what is wrong"}},
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

// verdict is what check says of one profile.
type verdict struct {
	Profile  string   `json:"profile"` // as given
	OK       bool     `json:"ok"`
	Warnings []string `json:"warnings,omitempty"`
	Error    string   `json:"error,omitempty"`
	Hint     string   `json:"hint,omitempty"`
}

// checkProfile loads each profile as run would and asks whether this machine can grant it.
func (a *app) checkProfile(ctx context.Context, rest []string) error {
	args := a.words.operands(rest)
	if len(args) == 0 {
		return usage("agentjail profiles check ./my.toml", "check takes the names or files of profiles")
	}
	host, err := sandbox.Probe(ctx)
	if err != nil {
		return err
	}
	verdicts := []verdict{}
	for _, ref := range args {
		v := verdict{Profile: ref}
		p, err := library(host).Load([]string{ref}, "")
		if err == nil {
			v.Warnings, err = sandbox.CheckProfile(p, host)
		}
		if v.OK = err == nil; !v.OK {
			v.Error, v.Hint, a.code = err.Error(), hintOf(err), exitFailed
		}
		verdicts = append(verdicts, v)
		if a.flags.out.json {
			continue
		}
		for _, w := range v.Warnings {
			a.ui.warn("%s", w)
		}
		if !v.OK {
			a.ui.fail(err)
		} else if _, err := fmt.Fprintf(a.Out, "%s: ok\n", printable(ref)); err != nil {
			return err
		}
	}
	if a.flags.out.json {
		return a.answer(verdicts)
	}
	return nil
}
