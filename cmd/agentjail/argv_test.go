package main

import (
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, test := range []struct {
		name      string
		args      []string
		rest      int // how many words of the head flag parsing leaves
		command   []string
		corrected string
	}{
		{"a command", []string{"--", "ls"}, 0, []string{"ls"}, "agentjail -- ls"},
		{"a subcommand's name", []string{"--", "ps", "-ef"}, 0, []string{"ps", "-ef"}, "agentjail -- ps -ef"},
		{"a command that is a flag", []string{"run", "--", "--flag"}, 0, []string{"--flag"}, "agentjail run -- --flag"},
		{"the second -- is the command's", []string{"--", "git", "diff", "--", "x"}, 0, []string{"git", "diff", "--", "x"}, "agentjail -- git diff -- x"},
		{"-- runs --", []string{"--", "--", "ls"}, 0, []string{"--", "ls"}, "agentjail -- -- ls"},
		{"a -- behind the command", []string{"run", "git", "diff", "--", "x"}, 2, []string{"git", "diff", "--", "x"}, "agentjail run -- git diff -- x"},
		{"a -- that ends the command", []string{"run", "echo", "--"}, 1, []string{"echo", "--"}, "agentjail run -- echo --"},
		{"no --", []string{"-q", "foo", "-x"}, 2, []string{"foo", "-x"}, "agentjail -q -- foo -x"},
		{"nothing behind --", []string{"--"}, 0, nil, "agentjail --"},
		{"nothing", nil, 0, nil, "agentjail --"},
		{"an empty word", []string{"--", ""}, 0, []string{""}, "agentjail -- ''"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := split(test.args)
			rest := w.head[len(w.head)-test.rest:]
			if got := w.command(rest); !slices.Equal(got, test.command) {
				t.Errorf("command %q, want %q", got, test.command)
			}
			if got := quote(w.corrected(rest)...); got != test.corrected {
				t.Errorf("corrected %s, want %s", got, test.corrected)
			}
		})
	}
}

// FuzzSplit: no word is lost, invented or moved, whatever flag parsing leaves, and the corrected line means the same command.
func FuzzSplit(f *testing.F) {
	f.Add("run\x00git\x00--\x00x", 2)
	f.Add("--\x00--", 0)
	f.Add("", 0)
	f.Fuzz(func(t *testing.T, line string, n int) {
		args := strings.Split(line, "\x00")
		w := split(args)
		joined := slices.Clone(w.head)
		if w.dashed {
			joined = append(append(joined, "--"), w.tail...)
		}
		if !slices.Equal(joined, args) {
			t.Fatalf("%q became %q", args, joined)
		}
		if slices.Contains(w.head, "--") {
			t.Fatalf("%q: the head %q holds a --", args, w.head)
		}
		rest := w.head[len(w.head)-min(max(n, 0), len(w.head)):]
		again := split(w.corrected(rest)[1:])
		if got, want := again.command(nil), w.command(rest); !slices.Equal(got, want) {
			t.Fatalf("corrected runs %q, want %q", got, want)
		}
	})
}
