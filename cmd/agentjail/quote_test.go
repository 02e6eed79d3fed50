package main

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	for _, test := range []struct{ word, want string }{
		{"ls", "ls"},
		{"--flag=a,b", "--flag=a,b"},
		{"", "''"},
		{"a b", "'a b'"},
		{"it's", `'it'\''s'`},
		{"$HOME", "'$HOME'"},
		{"~", "'~'"},
		{"=ls", "'=ls'"},
		{"größe", "'größe'"},
		{"\x1b]0;title\a", `$'\033]0;title\007'`},
		{"a\nb'c\\", `$'a\012b\'c\\'`},
		{"\u202e", `$'\342\200\256'`},
		{"\xff1", `$'\3771'`},
	} {
		if got := quote(test.word); got != test.want {
			t.Errorf("quote(%q) = %s, want %s", test.word, got, test.want)
		}
	}
}

// FuzzQuote: the shell reads the words back, and the line shows no control byte.
func FuzzQuote(f *testing.F) {
	f.Add("it's\x00a \"test\"\x00\x1b[2J\x00\x7f1\x00\u202e")
	f.Add("!x\x00#\x00{a,b}\x00*\x00$(id)\x00`id`\x00a\\")
	f.Fuzz(func(t *testing.T, line string) {
		words := strings.Split(line, "\x00")
		quoted := quote(words...)
		if quoted != printable(quoted) || strings.ContainsAny(quoted, "\n\t") {
			t.Fatalf("%q is not fit to print", quoted)
		}
		out, err := exec.Command("bash", "-c", `printf '%s\0' `+quoted).Output() // $'…' is bash's, dash lacks it
		if err != nil {
			t.Fatalf("bash: %v: %s", err, quoted)
		}
		var got []string
		for word := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
			got = append(got, string(word))
		}
		if !slices.Equal(got, words) {
			t.Fatalf("%q came back as %q from %s", words, got, quoted)
		}
	})
}
