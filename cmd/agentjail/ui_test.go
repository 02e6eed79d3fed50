package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/sandbox"
)

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"plain text, größe, 日本", "plain text, größe, 日本"},
		{"tab\tstays", "tab\tstays"},
		{"\x1b[2Jclear", `\x1b[2Jclear`},
		{"line\r\nfeed", `line\r\nfeed`},
		{"\u009b2J the 8-bit CSI", `\u009b2J the 8-bit CSI`},
		{"\x9b2J as a raw byte", `\x9b2J as a raw byte`},
		{"\u202eevil", `\u202eevil`},
		{"zero\u200bwidth", `zero\u200bwidth`},
		{"\ufffd is a character", "\ufffd is a character"},
		{"\xff", `\xff`},
		{"\x7f", `\x7f`},
	} {
		if got := printable(test.in); got != test.want {
			t.Errorf("printable(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func TestFail(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want string
	}{
		{"a usage error", usage("agentjail -- foo", "%q is not a subcommand", "foo"),
			"agentjail: error: \"foo\" is not a subcommand\nagentjail: hint: agentjail -- foo\n"},
		{"a step", fmt.Errorf("run: %w", &sandbox.Error{Step: "proc", Err: errors.New("mount /proc: operation not permitted"), Hint: "agentjail doctor"}),
			"agentjail: error: run: proc: mount /proc: operation not permitted\nagentjail: hint: agentjail doctor\n"},
		{"a profile", &profiles.Error{Err: errors.New("x.toml:1:1: unknown key\n  1 | a\n    | ^"), Hint: "b"},
			"agentjail: error: x.toml:1:1: unknown key\nagentjail:          1 | a\nagentjail:            | ^\nagentjail: hint: b\n"},
		{"no hint", errors.New("x"), "agentjail: error: x\n"},
		{"a forged line", errors.New("x\nagentjail: all is well\x1b[1A"),
			"agentjail: error: x\nagentjail:        agentjail: all is well\\x1b[1A\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b bytes.Buffer
			u := &ui{w: &b, quiet: true} // an error is never quiet
			u.fail(test.err)
			if b.String() != test.want {
				t.Errorf("got\n%s\nwant\n%s", b.String(), test.want)
			}
		})
	}
}

func TestQuiet(t *testing.T) {
	for _, quiet := range []bool{false, true} {
		var b bytes.Buffer
		u := &ui{w: &b, quiet: quiet}
		u.warn("w")
		u.note("n")
		want := "agentjail: warning: w\nagentjail: n\n"
		if quiet {
			want = ""
		}
		if b.String() != want {
			t.Errorf("quiet %v: got %q, want %q", quiet, b.String(), want)
		}
	}
}

// FuzzWriteJSON: ASCII comes out, and means what went in.
func FuzzWriteJSON(f *testing.F) {
	f.Add("größe \u009b \u202e 😀 \x7f")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		in, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := writeJSON(&out, in); err != nil {
			t.Fatal(err)
		}
		for _, c := range out.Bytes() {
			if c < 0x20 || c > 0x7e {
				t.Fatalf("%q holds %#x", out.String(), c)
			}
		}
		var back string
		if err := json.Unmarshal(out.Bytes(), &back); err != nil || back != s {
			t.Fatalf("%q came back as %q, %v", s, back, err)
		}
	})
}
