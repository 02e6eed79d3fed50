package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// everyOption is each flag of each subcommand, once.
func everyOption(s *subcommand) []*option {
	var all []*option
	add := func(o *option) {
		if !slices.ContainsFunc(all, func(other *option) bool { return other.name == o.name }) {
			all = append(all, o)
		}
	}
	for _, g := range s.groups {
		for _, o := range g.options {
			add(o)
		}
	}
	for _, sub := range s.subs {
		for _, o := range everyOption(sub) {
			add(o)
		}
	}
	return all
}

func everySubcommand(s *subcommand) []string {
	var names []string
	for _, sub := range s.subs {
		names = append(append(names, sub.name), everySubcommand(sub)...)
	}
	return names
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocumented: each flag and subcommand stands in the manual and in each completion, and these name no other.
func TestDocumented(t *testing.T) {
	root := (&app{}).root()
	options := everyOption(root)
	if len(options) < 20 {
		t.Fatalf("%d flags: the walk is broken", len(options))
	}
	manual := readFile(t, "agentjail.1")
	for _, place := range []struct {
		name, text string
		long       func(string) string // how a flag is written there
		short      func(string) string
		any        *regexp.Regexp // what is written as a flag there
	}{
		{"agentjail.1.md", readFile(t, "agentjail.1.md"),
			func(s string) string { return "**--" + s + "**" }, func(s string) string { return "**-" + s + "**" }, regexp.MustCompile(`\*\*--([a-z-]+)`)},
		{"agentjail.1", manual,
			func(s string) string { return `\fB--` + s + `\fP` }, func(s string) string { return `\fB-` + s + `\fP` }, regexp.MustCompile(`\\fB--([a-z-]+)`)},
		{"bash", bashCompletion,
			func(s string) string { return " --" + s + " " }, func(s string) string { return " -" + s + " " }, regexp.MustCompile(`[ '(]--([a-z-]+)`)},
		{"zsh", zshCompletion,
			func(s string) string { return "--" + s }, func(s string) string { return "{-" + s + "," }, regexp.MustCompile(`['*, ]--([a-z-]+)[\[}]`)},
		{"fish", fishCompletion,
			func(s string) string { return " -l " + s + " " }, func(s string) string { return " -s " + s + " " }, regexp.MustCompile(`complete .* -l ([a-z-]+) `)},
	} {
		t.Run(place.name, func(t *testing.T) {
			text := strings.ReplaceAll(place.text, "\n", " \n")
			known := []string{"help"}
			for _, o := range options {
				known = append(known, o.name)
				if !strings.Contains(text, place.long(o.name)) {
					t.Errorf("--%s is missing", o.name)
				}
				if o.short != "" && !strings.Contains(text, place.short(o.short)) {
					t.Errorf("-%s is missing", o.short)
				}
			}
			for _, found := range place.any.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(known, found[1]) {
					t.Errorf("--%s is no flag", found[1])
				}
			}
			for _, name := range everySubcommand(root) {
				if !regexp.MustCompile(`(\b|\\fB)` + name + `\b`).MatchString(text) {
					t.Errorf("subcommand %s is missing", name)
				}
			}
		})
	}
}

// TestOneLine: the help has one line a flag, and says of repeatable flags that they are.
func TestOneLine(t *testing.T) {
	for _, o := range everyOption((&app{}).root()) {
		if o.usage == "" || len(o.usage) > 85 || strings.Contains(o.usage, "\n") {
			t.Errorf("--%s: %q", o.name, o.usage)
		}
	}
}

// TestExamples: each page of the help shows how it is said, with a remark.
func TestExamples(t *testing.T) {
	var walk func(s *subcommand)
	walk = func(s *subcommand) {
		if len(s.example) == 0 {
			t.Errorf("%s --help has no example", s.path)
		}
		for _, e := range s.example {
			if _, remark, _ := strings.Cut(e, " # "); remark == "" {
				t.Errorf("%s --help: %q has no remark", s.path, e)
			}
		}
		for _, sub := range s.subs {
			walk(sub)
		}
	}
	walk((&app{}).root())
}

// TestLater: what belongs to later issues is not offered.
func TestLater(t *testing.T) {
	root := (&app{}).root()
	for _, name := range []string{"review"} {
		if slices.ContainsFunc(everyOption(root), func(o *option) bool { return o.name == name }) {
			t.Errorf("--%s does nothing yet", name)
		}
	}
	for _, name := range []string{"ps", "kill", "exec", "allow", "review", "apply", "discard", "help", "h"} {
		if slices.Contains(everySubcommand(root), name) {
			t.Errorf("%s does nothing yet", name)
		}
	}
}
