package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) trustCommand() *subcommand {
	return &subcommand{
		name: "trust", path: "agentjail trust", args: "[DIR]", usage: "let a project's own " + profiles.ProjectFile + " widen the jail",
		about: "\nPrints what the file asks for beyond the profile \"default\", and trusts exactly this content: changed by one byte, it is\n" +
			"refused again. A file that only narrows needs no trust.",
		example: []string{"agentjail trust # after you have read .agentjail.toml"},
		action: func(ctx context.Context, rest []string) error {
			host, dir, err := a.projectDir(ctx, "trust", rest)
			if err != nil {
				return err
			}
			project, content, err := profiles.LoadProject(dir)
			if err != nil {
				return err
			}
			if project == nil {
				return usage(quote("agentjail", "trust", "DIR")+" names another project; one without the file needs no trust", "%s: no such file", filepath.Join(dir, profiles.ProjectFile))
			}
			base, err := library(host).Load([]string{"default"}, "")
			if err != nil {
				return err
			}
			p, file := &page{w: a.Out}, printable(filepath.Join(dir, profiles.ProjectFile))
			if wider := profiles.Widens(base, project); len(wider) == 0 {
				p.line("%s only narrows the jail, which needs no trust.", file)
			} else {
				p.line("%s is trusted as it is now. Runs in this project get, beyond the profile \"default\":", file)
				for _, w := range wider {
					p.line("  %s  (%s)", printable(w.Value), printable(w.Why))
				}
				p.line("Changed by one byte it is refused again; %s takes the trust back.", quote("agentjail", "untrust", dir))
			}
			return errors.Join(p.err, trustStore(host).Add(dir, content))
		},
	}
}

func (a *app) untrustCommand() *subcommand {
	return &subcommand{
		name: "untrust", path: "agentjail untrust", args: "[DIR]", usage: "forget what was trusted of a project",
		example: []string{"agentjail untrust ~/src/project # it may only narrow again"},
		action: func(ctx context.Context, rest []string) error {
			host, dir, err := a.projectDir(ctx, "untrust", rest)
			if err != nil {
				return err
			}
			return trustStore(host).Remove(dir)
		},
	}
}

// projectDir takes the one operand of trust and untrust; the default is the project that run would choose here.
func (a *app) projectDir(ctx context.Context, sub string, rest []string) (*sandbox.Host, string, error) {
	args := a.words.operands(rest)
	if len(args) > 1 {
		return nil, "", usage("agentjail "+quote(sub, args[0]), "%s takes one directory", sub)
	}
	host, err := sandbox.Probe(ctx)
	if err != nil {
		return nil, "", err
	}
	dir, err := sandbox.FindProject(host, strings.Join(args, ""))
	return host, dir, err
}

// wishes lists items in one line.
func wishes(list []profiles.Item) string {
	texts := make([]string, len(list))
	for i, w := range list {
		texts[i] = printable(w.Value)
	}
	return strings.Join(texts, ", ")
}
