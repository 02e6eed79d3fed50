package sandbox

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// gitReads gives what git itself reads in a config file, as SECTION.KEY and value, and false where git refuses the file: then it runs
// nothing.
func gitReads(t testing.TB, data []byte) ([][2]string, bool) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("git", "config", "--file", name, "--no-includes", "--null", "--list")
	cmd.Dir, cmd.Env = filepath.Dir(name), []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		return nil, false
	}
	var all [][2]string
	for one := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
		if len(one) == 0 {
			continue
		}
		key, value, found := strings.Cut(string(one), "\n")
		if !found {
			value = "true"
		}
		section, _, _ := strings.Cut(key, ".")
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 { // in front of the first section
			section = ""
		}
		all = append(all, [2]string{section + "." + key[dot+1:], value})
	}
	return all, true
}

// FuzzGitConfigAsGit holds the reader of git's configs against git: what git would obey, the plan sees with the same value. What it
// sees beyond that is protected for nothing, which does no harm.
func FuzzGitConfigAsGit(f *testing.F) {
	for _, text := range []string{
		"[core]\n\tworktree = ../x\n", "[a \"b\\\"\"] c = \"d\\\n e\" # f\n[alias]\nx = \"!sh -c 'a; ./b'\"",
		"[core]hooksPath=a;b\nfsmonitor\n\tpager = \"a # b\" ; c\n", "\xef\xbb\xbf[core]\r\n\thooksPath = x\\\r\n y\r\n", "[Core.X]\nA-b=\\\"\\t\\b\\\\ z  \n",
		"[filter \"x.y\"]\n\tclean = ./a \\\n   ./b\n\tsmudge=\n", "[core] # c\n a = 1\n[core]b=2", "[core]\nhooksPath = \"a\\nb\"",
		"[core]hooksPath = x \\", "[core]hooksPath = x \\\n # y", "[core]hooksPath = x\x00y", "[core]hooksPath = \rx\r ",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want, ok := gitReads(t, data)
		if !ok {
			return
		}
		all := gitConfig(data)
		got := all
		for _, w := range want {
			at := slices.IndexFunc(got, func(s gitSetting) bool { return s.section+"."+s.key == w[0] && blanks(s.value) == blanks(w[1]) })
			if at < 0 {
				t.Fatalf("%q: git reads %q, the plan %q", data, w, all)
			}
			got = got[at+1:]
		}
	})
}

// blanks makes all of them spaces, as git did before 2.45 where a value has some.
func blanks(value string) string { return strings.NewReplacer("\t", " ", "\r", " ").Replace(value) }
