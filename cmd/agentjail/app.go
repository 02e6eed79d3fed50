package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/sandbox"
)

// app is one invocation.
type app struct {
	sandbox.Stdio
	signals chan os.Signal // caught since the beginning, for the command of a run; nil in tests
	ui      ui
	words   words
	flags   flags

	at     *subcommand // the one that was reached
	record *recordFile // nil until a run opened it
	code   int         // the exit status, when an action decided on one
	died   sandbox.Interrupt
}

// run is the whole program: it says what it has to say and returns the exit status, and what the user interrupted the command by.
func run(ctx context.Context, argv []string, io sandbox.Stdio, signals chan os.Signal) (int, sandbox.Interrupt) {
	a := &app{Stdio: io, signals: signals, ui: ui{w: io.Err}}
	if len(argv) > 0 { // execve(2) takes an empty argv
		a.words = split(argv[1:])
	}
	err := a.cli().RunContext(ctx, append([]string{name}, a.words.head...))
	if err == nil {
		return a.code, a.died
	}
	err = a.recordUsage(err)
	a.ui.fail(err)
	if a.code == exitOK {
		a.code = exitFailed
	}
	return a.code, sandbox.Interrupt{}
}

const name = "agentjail"

// recordUsage writes the report of a run that ended at the command line itself, as far as --report was understood.
func (a *app) recordUsage(err error) error {
	if a.record != nil || a.at == nil || !a.at.runs || a.flags.out.report == "" {
		return err
	}
	file, e := openReport(a.flags.out.report)
	if e != nil {
		return err // of the two, the first is the one to mend first
	}
	a.record = file
	return a.failed(a.words.tail, time.Now(), err)
}

// cli describes the program to urfave/cli. Each field that looks idle overrides a default.
func (a *app) cli() *cli.App {
	root := a.root()
	return &cli.App{
		Name:           name, // not the base name of argv[0]
		Flags:          flagsOf(root.groups),
		Commands:       a.commands(root),
		Action:         a.action(root),
		OnUsageError:   a.onUsageError(root),         // default: "Incorrect Usage" and the help on standard output
		ExitErrHandler: func(*cli.Context, error) {}, // default: the library calls os.Exit
		HideHelp:       true,                         // default: `help` and `h` become subcommands, and its own help pages; see help.go
		HideVersion:    true,                         // default: --version, beside our subcommand
		Compiled:       time.Unix(0, 0),              // default: stats argv[0], and panics when there is none
		Writer:         a.Err,                        // default: standard output, which is the command's
		ErrWriter:      a.Err,
		// No flag of the library's own types is used (option.go); should one ever be, a comma is no separator in it.
		DisableSliceFlagSeparator: true,
	}
}

// subcommand is one subcommand, or the root, as the help and urfave/cli see it.
type subcommand struct {
	name    string   // "", "run", "profiles"
	path    string   // "agentjail profiles show"
	args    string   // what stands behind the flags
	usage   string   // one line
	about   string   // paragraphs
	example []string // command lines, each with a "# remark"
	groups  []group
	subs    []*subcommand
	jail    bool // takes the flags of run, those that stand before it too
	runs    bool // runs a command, and so owes a report
	action  func(ctx context.Context, rest []string) error
}

// commands turns subcommands into urfave/cli's.
func (a *app) commands(parent *subcommand) []*cli.Command {
	var list []*cli.Command
	for _, s := range parent.subs {
		list = append(list, &cli.Command{
			Name:         s.name,
			Flags:        flagsOf(s.groups),
			Subcommands:  a.commands(s),
			Action:       a.action(s),
			OnUsageError: a.onUsageError(s),
			HideHelp:     true,
		})
	}
	return list
}

func flagsOf(groups []group) []cli.Flag {
	var list []cli.Flag
	for _, g := range groups {
		for _, o := range g.options {
			list = append(list, o)
		}
	}
	return list
}

// action wraps what a subcommand does.
func (a *app) action(s *subcommand) cli.ActionFunc {
	return func(c *cli.Context) error {
		a.at = s
		if !s.runs && a.signals != nil {
			signal.Stop(a.signals) // they are this subcommand's own
		}
		for _, given := range a.flags.given {
			// Silence would be worse: `agentjail --hide .env doctor` must not look as if it had meant something.
			if !s.takes(given) {
				return usage(s.path+" --help", "%s takes no %s", s.path, spelled(given))
			}
		}
		a.ui.quiet = a.flags.out.quiet
		return s.action(c.Context, c.Args().Slice())
	}
}

// takes says whether a flag that stood before the subcommand is one of its own.
func (s *subcommand) takes(flag string) bool {
	return s.jail || slices.ContainsFunc(s.groups, func(g group) bool {
		return slices.ContainsFunc(g.options, func(o *option) bool { return o.name == flag })
	})
}

// onUsageError answers a flag that could not be parsed, and --help: the flag package gives ErrHelp for -h and --help where no such
// flag is defined.
func (a *app) onUsageError(s *subcommand) cli.OnUsageErrorFunc {
	return func(_ *cli.Context, err error, _ bool) error {
		a.at = s
		switch {
		case errors.Is(err, flag.ErrHelp):
			return a.help(s)
		case s.name == "" && strings.HasSuffix(err.Error(), "not defined: -version"):
			return a.printVersion()
		}
		return flagError(s, err)
	}
}

// flagError says in our words what the flag package found.
func flagError(s *subcommand, err error) error {
	text, hint := err.Error(), s.path+" --help"
	if flag, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		return usage(meant(s, flag, hint), "unknown flag %s", spelled(flag))
	}
	if flag, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		return usage(hint, "%s needs a value", spelled(flag))
	}
	for _, form := range []string{" for flag -", " for -"} { // invalid value "x" for flag -tty: …, invalid boolean value "x" for -json: …
		if i := strings.LastIndex(text, form); i >= 0 {
			flag, why, _ := strings.Cut(text[i+len(form):], ": ")
			return usage(hint, "%s for %s: %s", text[:i], spelled(flag), why)
		}
	}
	return usage(hint, "%s", text)
}

// meant is the hint for an unknown flag.
func meant(s *subcommand, flag, otherwise string) string {
	var names []string
	for _, g := range s.groups {
		for _, o := range g.options {
			names = append(names, o.name)
			if o.short != "" && strings.HasPrefix(flag, o.short) && len(flag) > 1 && profiles.Nearest(flag, []string{o.name}) == "" {
				otherwise = "letters do not share a dash; write -" + o.short + " and what follows by itself, or --" + o.name
			}
		}
	}
	if near := profiles.Nearest(flag, names); near != "" && len(flag) > 1 {
		return "did you mean --" + near + "? " + s.path + " --help"
	}
	return otherwise
}

// spelled puts the dashes before a flag's name.
func spelled(flag string) string {
	if len(flag) == 1 {
		return "-" + flag
	}
	return "--" + flag
}

// root is `agentjail` itself: the flags of run, and the subcommands.
func (a *app) root() *subcommand {
	s := &subcommand{path: name, args: "-- COMMAND [ARG...]", example: runExamples, groups: a.flags.groups(), jail: true, runs: true}
	s.subs = []*subcommand{
		a.runCommand(), a.planCommand(), a.profilesCommand(), a.doctorCommand(), a.trustCommand(), a.untrustCommand(),
		a.selftestCommand(), a.logCommand(), a.reportCommand(), a.revokeCommand(), a.completionCommand(), a.versionCommand(),
	}
	s.action = func(ctx context.Context, rest []string) error {
		switch {
		case len(rest) == 0 && len(a.words.tail) == 0 && len(a.words.head) == 0 && !a.words.dashed:
			a.code = exitFailed // a script whose command came out empty must not take this for success
			return a.summary(s)
		case len(rest) > 0 && rest[0] == "help" && !a.words.dashed:
			return a.helpOn(s, rest[1:])
		case len(rest) > 0:
			if near := s.near(rest[0]); near != "" {
				return usage(quote(a.words.corrected(rest)...), "%q is not a subcommand; did you mean %s? To run it as a command:", rest[0], near)
			}
			return usage(quote(a.words.corrected(rest)...), "%q is not a subcommand", rest[0])
		}
		return a.runJail(ctx, a.words.tail)
	}
	return s
}
