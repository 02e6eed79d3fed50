package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/agentjail/agentjail/profiles"
)

// help prints the page of a subcommand: how to say it, examples, one line a flag.
func (a *app) help(s *subcommand) error {
	p := &page{w: a.Out}
	if s.name == "" {
		p.line("agentjail runs a command in a jail: it sees this project and no other file of yours, and reaches the hosts")
		p.line("that you allow and no other. No root, no daemon, no image.")
		p.line("")
	} else if s.usage != "" {
		p.line("%s: %s.", s.path, s.usage)
		p.line("")
	}
	p.usage(s)
	for _, paragraph := range strings.Split(s.about, "\n") {
		if s.about != "" {
			p.line("%s", paragraph)
		}
	}
	p.section("Examples", rows(s.example))
	var subs [][2]string
	for _, sub := range s.subs {
		subs = append(subs, [2]string{sub.name, sub.usage})
	}
	p.section("Subcommands", subs)
	for _, g := range s.groups {
		p.options(g)
	}
	if s.name == "" {
		p.line("")
		p.line("agentjail SUBCOMMAND --help, or agentjail help SUBCOMMAND, tells more of each; agentjail --version which build this is.")
		p.line("Exit status: the command's own; 125 agentjail failed or refused, 124 wall-time limit, 126 cannot be executed,")
		p.line("127 not found, 128+n killed by signal n. agentjail(1) is the manual.")
	}
	return p.err
}

// helpOn answers `agentjail help [SUBCOMMAND...]`.
func (a *app) helpOn(s *subcommand, names []string) error {
	for _, name := range names {
		i := slices.IndexFunc(s.subs, func(sub *subcommand) bool { return sub.name == name })
		if i < 0 {
			return usage(s.path+" --help", "%s has no subcommand %q%s", s.path, name, didYouMean(s.near(name)))
		}
		s = s.subs[i]
	}
	return a.help(s)
}

// near is the subcommand that a mistyped word may have meant, or "".
func (s *subcommand) near(word string) string {
	var names []string
	for _, sub := range s.subs {
		names = append(names, sub.name)
	}
	return profiles.Nearest(word, names)
}

func didYouMean(near string) string {
	if near == "" {
		return ""
	}
	return ": did you mean " + near + "?"
}

// summary is what a bare `agentjail` gets.
func (a *app) summary(s *subcommand) error {
	p := &page{w: a.Err}
	p.line("Usage: %s", s.synopsis())
	p.section("Examples", rows(s.example))
	p.line("")
	p.line("agentjail --help shows the flags and the subcommands.")
	return p.err
}

// page writes a help page and keeps the first error.
type page struct {
	w   io.Writer
	err error
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *page) usage(s *subcommand) {
	lead := "Usage: "
	for _, c := range append([]*subcommand{s}, s.subs...) {
		p.line("%s%s", lead, c.synopsis())
		lead = "       "
	}
}

// synopsis is the line that shows how to say it: two flags are shown, more are "[FLAGS]".
func (s *subcommand) synopsis() string {
	words := []string{s.path}
	if len(s.groups) > 1 {
		words = append(words, "[FLAGS]")
	} else if len(s.groups) == 1 {
		for _, o := range s.groups[0].options {
			words = append(words, "["+spelled(o.spellings()[len(o.spellings())-1])+"]")
		}
	}
	if s.args != "" {
		words = append(words, s.args)
	}
	return strings.Join(words, " ")
}

// section writes two columns under a title.
func (p *page) section(title string, rows [][2]string) {
	if len(rows) == 0 || p.err != nil {
		return
	}
	p.line("\n%s:", title)
	tw := tabwriter.NewWriter(p.w, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(tw, "  %s\t%s\n", row[0], row[1])
	}
	if err := tw.Flush(); p.err == nil {
		p.err = err
	}
}

func (p *page) options(g group) {
	var rows [][2]string
	for _, o := range g.options {
		rows = append(rows, [2]string{o.String(), o.usage})
	}
	p.section(g.title, rows)
}

// rows cuts examples into the command line and the remark behind its "#".
func rows(examples []string) [][2]string {
	var out [][2]string
	for _, e := range examples {
		line, remark, _ := strings.Cut(e, " # ")
		out = append(out, [2]string{line, "# " + remark})
	}
	return out
}
