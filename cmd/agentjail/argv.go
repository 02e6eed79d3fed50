package main

import "slices"

// words is a command line, cut at its first "--".
type words struct {
	head   []string // ours to parse
	dashed bool     // there was a "--"
	tail   []string // what stood behind it, untouched: not parsed, not matched against subcommands
}

// split cuts args at the first "--", before any parser sees them. The flag parser would swallow a "--" as the value of a flag
// that lacks one, and urfave/cli looks for subcommands behind it too: `agentjail -- ps` must run ps.
func split(args []string) words {
	i := slices.Index(args, "--")
	if i < 0 {
		return words{head: args}
	}
	return words{head: args[:i], dashed: true, tail: args[i+1:]}
}

// command is the argv to run, given the words that flag parsing left of the head. Everything from the first word that is no flag
// belongs to the command, a later "--" too: `agentjail run git diff -- x` runs git with three arguments.
func (w words) command(rest []string) []string {
	if len(rest) == 0 {
		return w.tail
	}
	if !w.dashed {
		return rest
	}
	return slices.Concat(rest, []string{"--"}, w.tail)
}

// operands are the arguments of a subcommand that runs nothing: there "--" only ends the flags.
func (w words) operands(rest []string) []string { return slices.Concat(rest, w.tail) }

// corrected is the command line as it should have been typed when rest, left of the head by flag parsing, was meant as the
// command: our flags, "--", the command.
func (w words) corrected(rest []string) []string {
	return slices.Concat([]string{"agentjail"}, w.head[:len(w.head)-len(rest)], []string{"--"}, w.command(rest))
}
