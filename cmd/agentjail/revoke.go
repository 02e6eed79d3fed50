package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) revokeCommand() *subcommand {
	return &subcommand{
		name: "revoke", path: "agentjail revoke", args: "ID|NAME [SECRET]", usage: "end the use of a secret, or of all, in a running session",
		about: "\nThe command goes on, and its next request with the secret is refused. It is for the rest of the session.",
		example: []string{
			"agentjail revoke build # all secrets of the session that --name build has named",
			"agentjail revoke build anthropic # this one",
		},
		action: func(ctx context.Context, rest []string) error {
			args := a.words.operands(rest)
			if len(args) < 1 || len(args) > 2 || args[0] == "" {
				return usage("agentjail revoke --help", "revoke takes the ID or name of a session and the name of a secret")
			}
			host, err := sandbox.Probe(ctx)
			if err != nil {
				return err
			}
			secret := strings.Join(args[1:], "")
			id, err := findSession(host.StateDir, args[0], controlFile)
			if err != nil {
				return err
			}
			if len(args) == 2 && secret == "" {
				return usage("agentjail revoke "+quote(id), "the name of the secret is empty")
			}
			names, err := sandbox.Revoke(ctx, host.StateDir, id, secret)
			switch {
			case errors.Is(err, sandbox.ErrNotRunning):
				return usage("agentjail report "+quote(id), "session %s is not running: nothing can use its secrets any more", id)
			case err != nil:
				return err
			}
			for _, name := range names {
				if _, err := fmt.Fprintln(a.Out, printable(name)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
