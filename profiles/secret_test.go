package profiles

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSource(t *testing.T) {
	for from, want := range map[string]Source{
		"env:A_B":                         {Kind: "env", Name: "A_B"},
		"file:~/.x/y":                     {Kind: "file", Name: "~/.x/y"},
		"file:/run/secrets/a:b":           {Kind: "file", Name: "/run/secrets/a:b"},
		"keyring:service/some user/x":     {Kind: "keyring", Name: "service", User: "some user/x"},
		"cmd:pass show x":                 {Kind: "cmd", Argv: []string{"pass", "show", "x"}},
		`cmd:  op read "op://a b/c" ''`:   {Kind: "cmd", Argv: []string{"op", "read", "op://a b/c", ""}},
		`cmd:a'b c'd "e'f"`:               {Kind: "cmd", Argv: []string{"ab cd", "e'f"}},
		`cmd:echo $HOME $(id) a;b | c \n`: {Kind: "cmd", Argv: []string{"echo", "$HOME", "$(id)", "a;b", "|", "c", `\n`}},
	} {
		got, err := Secret{From: from}.Source()
		if err != nil {
			t.Errorf("%s: %v", from, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", from, d)
		}
	}
	for _, from := range []string{"", "env", "env:", "env:A-B", "file:", "file:x", "file:../x", "file:~root/x", "keyring:a", "keyring:/a", "keyring:a/",
		"cmd:", "cmd:  ", `cmd:a "b`, "vault:x", "ENV:A"} {
		if got, err := (Secret{From: from}).Source(); err == nil {
			t.Errorf("%s: %+v", from, got)
		}
	}
}

func TestSecretInOneLine(t *testing.T) {
	s := Secret{Name: "a", Env: "A", File: "~/f", Pointer: "/p", From: "cmd:x", Hosts: []string{"a.example.com", "b.example.com"}, Header: "x-key", TTL: "1h", Cache: "1m"}
	const want = "a from cmd:x env=A file=~/f pointer=/p hosts=a.example.com,b.example.com header=x-key pin=false ttl=1h cache=1m"
	if s.String() != want {
		t.Error(s.String())
	}
}

func TestTimes(t *testing.T) {
	var s Secret
	if d, err := s.Lifetime(); d != 0 || err != nil {
		t.Error(d, err)
	}
	if d, err := s.CacheTime(); d != cacheDefault || err != nil {
		t.Error(d, err)
	}
	s = Secret{TTL: "2h", Cache: "30s"}
	if d, err := s.Lifetime(); d != 2*time.Hour || err != nil {
		t.Error(d, err)
	}
	if d, err := s.CacheTime(); d != 30*time.Second || err != nil {
		t.Error(d, err)
	}
}

// TestASecretIsDefinedAsAWhole: half of one definition and half of another could send a value where nobody meant it to go.
func TestASecretIsDefinedAsAWhole(t *testing.T) {
	base := &Profile{Secrets: []Secret{{Name: "a", Env: "A", From: "env:A", Hosts: []string{"a.example.com"}, Pin: true, TTL: "1h"}, {Name: "b"}}}
	over := &Profile{Secrets: []Secret{{Name: "a", Env: "A", From: "env:OTHER", Hosts: []string{"b.example.com"}}}}
	if d := cmp.Diff([]Secret{over.Secrets[0], {Name: "b"}}, Merge(base, over).Secrets); d != "" {
		t.Error(d)
	}
}

// TestAProjectHasNoSecrets: not even a trusted one may say where a credential comes from or goes to. Control: without the table
// the file is taken.
func TestAProjectHasNoSecrets(t *testing.T) {
	dir := t.TempDir()
	for text, taken := range map[string]bool{
		"[[secret]]\nname = \"x\"\nenv = \"AWS_SECRET_ACCESS_KEY\"\nhosts = [\"evil.example.com\"]\n": false,
		"secret = [{ name = \"x\", env = \"X\", hosts = [] }]\n":                                      false,
		"fs.hide = [\".env\"]\n": true,
	} {
		if err := os.WriteFile(filepath.Join(dir, ProjectFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		p, _, err := LoadProject(dir)
		if (err == nil) != taken || (p != nil) != taken {
			t.Errorf("%q: %+v, %v", text, p, err)
		}
		if e, ok := errors.AsType[*Error](err); !taken && (!ok || !strings.Contains(e.Hint, "--secret")) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := Parse(ProjectFile, []byte("use = [\"x\"]\n")); err == nil {
		t.Error("a file switches a secret on")
	}
}

func TestWithSecrets(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, SecretsFile)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(mine, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &Profile{Name: "p", Secrets: []Secret{{Name: "a", Env: "A", From: "env:A"}}}
	names := func(p *Profile) (got string) {
		for _, s := range p.Secrets {
			got += " " + s.Name + "=" + s.From
		}
		return got + " use=" + values(p.Use)
	}
	for _, c := range []struct {
		file  string
		names []string
		want  string // or the error
		hint  string
	}{
		{"", nil, " a=env:A use=", ""},
		{"not TOML at all", nil, " a=env:A use=", ""}, // nobody asked
		{"", []string{"a", "a"}, " a=env:A use=a", ""},
		{"", []string{"gh"}, "--secret gh: nobody defines it", "defined are a"},
		{"[[secret]]\nname=\"gh\"\nenv=\"GH\"\nhosts=[]\n", []string{"gh"}, " a=env:A gh=env:GH use=gh", ""},
		{"[[secret]]\nname=\"gh\"\nenv=\"GH\"\nhosts=[]\n", []string{"x"}, "--secret x: nobody defines it", "defined are a, gh"},
		{"[[secret]]\nname=\"a\"\nenv=\"B\"\nhosts=[]\n", []string{"a"}, " a=env:A use=a", ""}, // the profile's own comes first
		{"[net]\nallow=[\"a.example.com\"]\n", []string{"gh"}, "holds more than [[secret]]", "write a profile"},
		{"[[secret]]\nname=\"gh\"\n", []string{"gh"}, "a secret needs hosts", ""},
	} {
		write(c.file)
		got, err := WithSecrets(p, dir, c.names)
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || !strings.Contains(e.Error(), c.want) || !strings.Contains(e.Hint, c.hint) {
				t.Errorf("%q %v: %v", c.file, c.names, err)
			}
			continue
		}
		if names(got) != c.want {
			t.Errorf("%q %v: %q", c.file, c.names, names(got))
		}
	}
	if len(p.Secrets) != 1 || len(p.Use) != 0 {
		t.Error("the argument is changed")
	}
}
