package main

import (
	"context"
	_ "embed"
	"io"
)

// The scripts are written by hand: those of urfave/cli run the program at each key and know nothing of what stands behind "--",
// where the command's own completion belongs. A test holds them to the flags.
var (
	//go:embed completion/agentjail.bash
	bashCompletion string
	//go:embed completion/_agentjail
	zshCompletion string
	//go:embed completion/agentjail.fish
	fishCompletion string
)

func (a *app) completionCommand() *subcommand {
	return &subcommand{
		name: "completion", path: "agentjail completion", args: "bash|zsh|fish", usage: "print a completion script for a shell",
		example: []string{
			"source <(agentjail completion bash) # in ~/.bashrc",
			`agentjail completion zsh > "${fpath[1]}/_agentjail" # once`,
			"agentjail completion fish > ~/.config/fish/completions/agentjail.fish # once",
		},
		action: func(_ context.Context, rest []string) error {
			args := a.words.operands(rest)
			if len(args) != 1 {
				return usage("agentjail completion bash", "completion takes the name of one shell: bash, zsh or fish")
			}
			script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[args[0]]
			if script == "" {
				return usage("agentjail completion bash", "no completion for %q: want bash, zsh or fish", args[0])
			}
			_, err := io.WriteString(a.Out, script)
			return err
		},
	}
}
