package profiles

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// library is one of in-memory directories, each given as name, text, name, text.
func library(levels ...[]string) Library {
	var l Library
	for i, files := range levels {
		dir := fstest.MapFS{}
		for j := 0; j < len(files); j += 2 {
			dir[files[j]+".toml"] = &fstest.MapFile{Data: []byte(files[j+1])}
		}
		l.Dirs = append(l.Dirs, Dir{Name: "/level" + string(rune('0'+i)), FS: dir})
	}
	return l
}

func values(items []Item) string {
	var out []string
	for _, i := range items {
		out = append(out, i.Value)
	}
	return strings.Join(out, " ")
}

func TestLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.toml")
	if err := os.WriteFile(file, []byte("extends = [\"b\"]\nnet.allow = [\"mine.example.com\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := library(
		[]string{"a", `net.allow = ["user-a.example.com"]`, "self", "extends = [\"self\"]\nnet.allow = [\"user.example.com\"]"},
		[]string{
			"a", `net.allow = ["etc-a.example.com"]`, "default", `fs.home = "ephemeral"`,
			"b", "match = [\"bb\"]\nextends = [\"default\"]\nfs.home = \"persistent\"\nnet.allow = [\"b.example.com\"]",
			"c", "extends = [\"default\", \"a\"]\nnet.allow = [\"c.example.com\"]",
			"self", "extends = [\"default\"]\nnet.allow = [\"etc.example.com\"]",
		},
	)
	for _, c := range []struct {
		name    string
		refs    []string
		command string
		want    [3]string // name, allowed, home
	}{
		{"no match is default", nil, "sh", [3]string{"default", "", "ephemeral"}},
		{"match", nil, "bb", [3]string{"b", "b.example.com", "persistent"}},
		{"a ref beats match", []string{"a"}, "bb", [3]string{"a", "user-a.example.com", ""}},
		{"the first directory wins", []string{"a"}, "", [3]string{"a", "user-a.example.com", ""}},
		{"extends, parents first", []string{"c"}, "", [3]string{"c", "user-a.example.com c.example.com", "ephemeral"}},
		{"in order", []string{"a", "b"}, "", [3]string{"a+b", "user-a.example.com b.example.com", "persistent"}},
		{"a shared ancestor counts once", []string{"b", "c"}, "", [3]string{"b+c", "b.example.com user-a.example.com c.example.com", "persistent"}},
		{"a profile may build on the one that it hides", []string{"self"}, "", [3]string{"self", "etc.example.com user.example.com", "ephemeral"}},
		{"a file", []string{file}, "", [3]string{"mine", "b.example.com mine.example.com", "persistent"}},
		{"a file and a name", []string{file, "a"}, "", [3]string{"mine+a", "b.example.com mine.example.com user-a.example.com", "persistent"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := l.Load(c.refs, c.command)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, [3]string{p.Name, values(p.Net.Allow), p.FS.Home.Value}); d != "" {
				t.Error(d)
			}
			if p.Extends != nil {
				t.Error(p.Extends)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "dir.toml"), 0o700); err != nil {
		t.Fatal(err)
	}
	l := library(
		[]string{
			"one", `extends = ["two"]`, "two", `extends = ["three"]`, "three", `extends = ["two"]`, "me", `extends = ["me"]`,
			"orphan", `extends = ["nobody"]`, "m1", `match = ["cmd"]`, "m2", `match = ["cmd"]`, "good", "",
		},
		[]string{"m3", `match = ["cmd"]`},
	)
	broken := library([]string{"broken", "[net]\nallwo = []\n"}, []string{"default", "", "broken", ""})
	for _, c := range []struct {
		name    string
		library Library
		refs    []string
		command string
		want    string
	}{
		{"a cycle", l, []string{"one"}, "", "three.toml: extends: |extends itself: two → three → two"},
		{"nothing behind itself", l, []string{"me"}, "", "no profile me"},
		{"an orphan", l, []string{"orphan"}, "", "/level0/orphan.toml: extends: no profile nobody"},
		{"unknown", l, []string{"nobody"}, "", "no profile nobody"},
		{"not a name", l, []string{".."}, "", `".." is not the name of a profile`},
		{"no name", l, []string{""}, "", `"" is not the name of a profile`},
		{"two match", l, nil, "cmd", "profiles m1 and m2 both match the command cmd"},
		{"a missing file", l, []string{dir + "/no.toml"}, "", "no.toml: no such file or directory"},
		{"a directory", l, []string{dir + "/dir.toml"}, "", "dir.toml: not a regular file"},
		{"broken, by name", broken, []string{"broken"}, "", "/level0/broken.toml:2:1: unknown key net.allwo"},
		{"broken, and it might have matched", broken, nil, "sh", "/level0/broken.toml:2:1: unknown key net.allwo"},
		{"no default", library(), nil, "sh", "no profile default"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := c.library.Load(c.refs, c.command)
			if err == nil || p != nil {
				t.Fatalf("loaded %+v", p)
			}
			for _, want := range strings.Split(c.want, "|") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q", err, want)
				}
			}
		})
	}
	if _, err := l.Load([]string{"good"}, ""); err != nil { // control
		t.Error(err)
	}
	if p, err := broken.Load([]string{"default"}, "sh"); err != nil { // control: named, it does not depend on the broken one
		t.Error(p, err)
	}
}

func TestList(t *testing.T) {
	l := library([]string{"b", "description = \"mine\"", "x y", "", ".hidden", ""}, []string{"a", "match = [\"aa\"]", "b", "description = \"theirs\"", "c", "?"})
	l.Dirs = append(l.Dirs, DirAt(filepath.Join(t.TempDir(), "missing")))
	infos, err := l.List()
	if err == nil || !strings.Contains(err.Error(), "/level1/c.toml:1:1") {
		t.Errorf("the broken file: %v", err)
	}
	var got []string
	for _, i := range infos {
		got = append(got, strings.Join([]string{i.Name, i.Description, i.Source, strings.Join(i.Match, ",")}, "|"))
		if (i.Error != "") != (i.Name == "c") {
			t.Errorf("%s: %s", i.Name, i.Error)
		}
	}
	if d := cmp.Diff([]string{"a||/level1/a.toml|aa", "b|mine|/level0/b.toml|", "c||/level1/c.toml|"}, got); d != "" {
		t.Error(d)
	}
}

func TestBuiltIn(t *testing.T) {
	l := Library{Dirs: []Dir{BuiltIn()}}
	infos, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string]string{
		"claude": "claude", "codex": "codex", "gemini": "gemini", "copilot": "copilot", "aider": "aider", "opencode": "opencode",
		"cursor-agent": "cursor", "pre-commit": "pre-commit", "sh": "default",
	}
	var names, want []string
	for _, i := range infos {
		names = append(names, i.Name)
		if i.Description == "" || i.Source != "built in" {
			t.Errorf("%+v", i)
		}
	}
	for command, name := range commands {
		want = append(want, name)
		p, err := l.Load(nil, command)
		if err != nil || p.Name != name {
			t.Errorf("%s: %v, %v", command, p, err)
			continue
		}
		if name != "default" && !strings.Contains(values(p.Env.Pass), "TERM") {
			t.Errorf("%s does not extend default", name)
		}
		for _, i := range p.Net.Allow {
			if strings.HasPrefix(i.Value, "@") || !strings.HasSuffix(i.Value, ":443") {
				t.Errorf("%s allows %s", name, i.Value)
			}
			if !strings.HasPrefix(i.Why, "built in: ") {
				t.Error(i.Why)
			}
		}
		if len(p.FS.Copy)+len(p.FS.Write)+len(p.FS.Unprotect) > 0 || values(p.Syscalls) != "debug" {
			t.Errorf("%s opens more than hosts and debuggers", name)
		}
		for _, r := range p.Net.Rules {
			if !r.inspects() || r.Private || r.Connect != "" || r.UpstreamCA != "" || len(r.ServerTools) > 0 || !slices.Equal(r.Ports, []int{443}) {
				t.Errorf("%s: %+v does more than judge requests", name, r)
			}
		}
		for _, s := range p.Secrets {
			if s.Pin == (name == "cursor") || p.mentions(s.Env) {
				t.Errorf("%s: the jail could use another credential than %s, or sees its value", name, s.Name)
			}
			for _, h := range s.Hosts {
				if !slices.ContainsFunc(p.Net.Rules, func(r Rule) bool { return r.Host == h }) {
					t.Errorf("%s: %s goes to %s, which no rule judges", name, s.Name, h)
				}
			}
		}
	}
	want = append(want, "ci")
	slices.Sort(want)
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	if p, _ := l.Load([]string{"default"}, ""); p == nil || len(p.Net.Allow) > 0 || p.FS.Home.Value != "ephemeral" {
		t.Errorf("default: %+v", p)
	}
	if p, _ := l.Load([]string{"pre-commit"}, ""); p == nil || p.Net.Mode.Value != "none" || p.FS.Home.Value != "ephemeral" {
		t.Errorf("pre-commit: %+v", p)
	}
}

// TestNoTokenByDefault: what opens a forge or a cloud is the user's to pass.
func TestNoTokenByDefault(t *testing.T) {
	l := Library{Dirs: []Dir{BuiltIn()}}
	infos, err := l.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		p, err := l.Load([]string{i.Name}, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range p.Env.Pass {
			if regexp.MustCompile(`(?i)KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH`).MatchString(v.Value) {
				t.Errorf("%s passes %s, which is a secret by its name", i.Name, v.Value)
			}
		}
		for _, name := range []string{"ANTHROPIC_API_KEY", "X_TOKEN", "X_SECRET", "X_PASSWORD", "GITHUB_TOKEN", "GH_TOKEN", "CI_JOB_TOKEN", "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "PATH", "HOME", "LD_PRELOAD", "HTTPS_PROXY"} {
			if p.mentions(name) {
				t.Errorf("%s passes %s", i.Name, name)
			}
		}
	}
}

// TestEachHostHasASource: a built-in profile that allows something says in a comment where that is written.
func TestEachHostHasASource(t *testing.T) {
	err := fs.WalkDir(builtin, "builtin", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(builtin, name)
		if err != nil {
			return err
		}
		if regexp.MustCompile(`(?m)^(allow|host) =`).Match(data) && !regexp.MustCompile(`(?m)^# Hosts: (?s:.*)https://`).Match(data) {
			t.Errorf("%s: no source for its hosts", name)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBuiltInMatch holds the table to what the built-in files say.
func TestBuiltInMatch(t *testing.T) {
	infos, err := Library{Dirs: []Dir{BuiltIn()}}.List()
	if err != nil || len(infos) == 0 {
		t.Fatal(infos, err)
	}
	for _, i := range infos {
		if got := builtInMatch(i.Name); !slices.Equal(got, i.Match) {
			t.Errorf("builtInMatch(%q) = %q; the file says %q", i.Name, got, i.Match)
		}
	}
}
