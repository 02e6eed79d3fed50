package sandbox

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/profiles"
)

// worktree is a work tree at /home/u/wt of the repository at /home/u/main.
const worktree = `
/home/u/main/.git/worktrees/wt/HEAD
/home/u/main/.git/worktrees/wt/commondir = "../..\n"
/home/u/main/.git/worktrees/wt/gitdir = "/home/u/wt/.git\n"
/home/u/main/.git/worktrees/other/gitdir = "/home/u/other/.git\n"
/home/u/wt/ uid=1000
/home/u/wt/.git = "gitdir: /home/u/main/.git/worktrees/wt\n"
`

func TestWorktree(t *testing.T) {
	got := plan(t, user(t, "/home/u/wt", repoAt("/home/u/main")+worktree), &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{
		"/home/u/main":                             "--",
		"/home/u/main/.git":                        "rw",
		"/home/u/main/.git/hooks":                  "ro",
		"/home/u/main/.git/config":                 "ro",
		"/home/u/main/.git/worktrees/other":        "ro",
		"/home/u/main/.git/worktrees/wt/commondir": "ro",
		"/home/u/main/.git/worktrees/wt/gitdir":    "ro",
		"/home/u/wt":                               "rw",
		"/home/u/wt/.git":                          "ro",
	})
	for _, dir := range []string{"/home/u/main/.git/worktrees", "/home/u/main/.git/worktrees/wt"} {
		if got.mountAt(KindPin, dir) == nil {
			t.Errorf("%s is not pinned", dir)
		}
	}
	if got.watched("/home/u/main/.git/commondir") == nil {
		t.Error("a commondir that appears in the main repository is not watched")
	}
}

// TestWorktreeInside has a work tree below the project, as agents make them: its record stays writable, or nobody could commit there.
func TestWorktreeInside(t *testing.T) {
	got := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/p/.git/worktrees/in/commondir = "../..\n"
/home/u/p/.git/worktrees/in/gitdir = "/home/u/p/.trees/in/.git\n"
/home/u/p/.git/worktrees/out/gitdir = "/home/u/out/.git\n"
/home/u/p/.trees/in/.git = "gitdir: /home/u/p/.git/worktrees/in\n"
`), &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{
		"/home/u/p/.git/worktrees/in":           "--",
		"/home/u/p/.git/worktrees/in/commondir": "ro",
		"/home/u/p/.git/worktrees/out":          "ro",
		"/home/u/p/.trees/in/.git":              "ro",
	})
}

// TestForgedGitFile has an agent write .git files so that the next run binds something of the user's.
func TestForgedGitFile(t *testing.T) {
	const elsewhere = `
/home/u/wt/ uid=1000
/home/u/other/.git/worktrees/o/commondir = "../..\n"
/home/u/other/.git/worktrees/o/gitdir = "/home/u/o/.git\n"
/home/u/plain.git/HEAD uid=1000
/home/u/plain.git/config
/home/u/plain.git/objects/
/home/u/plain.git/refs/
`
	for name, tree := range map[string]string{
		"a directory of the user's":       `/home/u/wt/.git = "gitdir: /home/u/.ssh\n"`,
		"the home":                        `/home/u/wt/.git = "gitdir: /home/u\n"`,
		"through ..":                      `/home/u/wt/.git = "gitdir: ../.ssh\n"`,
		"another repository":              `/home/u/wt/.git = "gitdir: /home/u/other/.git\n"`,
		"another work tree's record":      `/home/u/wt/.git = "gitdir: /home/u/other/.git/worktrees/o\n"`,
		"a repository without work tree":  `/home/u/wt/.git = "gitdir: /home/u/plain.git\n"`,
		"nowhere":                         `/home/u/wt/.git = "gitdir: /none\n"`,
		"no gitdir line":                  `/home/u/wt/.git = "/home/u/.ssh\n"`,
		"a link":                          `/home/u/wt/.git -> /home/u/other/.git`,
		"a record that names another dir": "/home/u/wt/.git = \"gitdir: fake/worktrees/wt\\n\"\n/home/u/wt/fake/worktrees/wt/gitdir = \"/home/u/wt/.git\\n\"\n" + `/home/u/wt/fake/worktrees/wt/commondir = "/home/u/.ssh\n"`,
		"a record whose parent is a link": "/home/u/wt/.git = \"gitdir: fake/worktrees/wt\\n\"\n/home/u/wt/fake -> /home/u/other/.git\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := plan(t, user(t, "/home/u/wt", repoAt("/home/u/other")+elsewhere+tree), &profiles.Profile{}, Request{})
			for _, m := range got.Mounts {
				if m.Kind == KindBind && strictlyWithin(m.Target, "/home/u") && !within(m.Target, "/home/u/wt") {
					t.Errorf("bound: %+v", m)
				}
			}
		})
	}
}

// TestForgedAncestor has a project that is itself below a directory "worktrees": its .git names the project as its own record.
func TestForgedAncestor(t *testing.T) {
	got := plan(t, user(t, "/srv/x/worktrees/p", `
/srv/x/ uid=1000
/srv/x/HEAD
/srv/x/objects/
/srv/x/refs/
/srv/x/private
/srv/x/worktrees/p/.git = "gitdir: .\n"
/srv/x/worktrees/p/gitdir = ".git\n"
/srv/x/worktrees/p/commondir = "../..\n"
`), &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{"/srv/x": "--", "/srv/x/worktrees/p": "rw"})
}

func TestSubmoduleAsProject(t *testing.T) {
	got := plan(t, user(t, "/home/u/super/lib", repoAt("/home/u/super")+`
/home/u/super/.git/modules/lib/HEAD
/home/u/super/.git/modules/lib/config = "[core]\n\tworktree = ../../../lib\n"
/home/u/super/.git/modules/lib/hooks/
/home/u/super/.git/modules/lib/objects/
/home/u/super/.git/modules/lib/refs/
/home/u/super/lib/.git = "gitdir: ../.git/modules/lib\n"
`), &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{
		"/home/u/super/.git":                    "--",
		"/home/u/super/.git/modules/lib":        "rw",
		"/home/u/super/.git/modules/lib/config": "ro",
		"/home/u/super/.git/modules/lib/hooks":  "ro",
	})
}

func TestNestedRepositories(t *testing.T) {
	got := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+repoAt("/home/u/p/third_party/a")+`
/home/u/p/.gitmodules = "[submodule \"deep\"]\n\tpath = a/b/c/d/e/f/g/deep\n\turl = x\n[submodule \"out\"]\n\tpath = ../../.ssh\n"
/home/u/p/a/b/c/d/e/f/g/deep/.git = "gitdir: ../../../../../../../../.git/modules/sub/deep\n"
/home/u/p/.git/modules/sub/deep/HEAD
/home/u/p/.git/modules/sub/deep/config = "[core]\n\tworktree = ../../../../a/b/c/d/e/f/g/deep\n"
/home/u/p/.git/modules/sub/deep/objects/
/home/u/p/.git/modules/sub/deep/refs/
/home/u/p/bare/HEAD
/home/u/p/bare/config
/home/u/p/bare/objects/
/home/u/p/bare/refs/
/home/u/p/node_modules/x/.git/HEAD
`), &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{
		"/home/u/p/third_party/a/.git/config":    "ro",
		"/home/u/p/third_party/a/.git/hooks":     "ro",
		"/home/u/p/a/b/c/d/e/f/g/deep/.git":      "ro",
		"/home/u/p/.git/modules/sub/deep/config": "ro",
		"/home/u/p/bare/config":                  "ro",
		"/home/u/p/.gitmodules":                  "ro",
		"/home/u/p/node_modules/x/.git/config":   "--",
	})
	for _, dir := range []string{"third_party", "third_party/a", "third_party/a/.git", "a/b/c", ".git/modules/sub", "bare"} {
		if got.mountAt(KindPin, "/home/u/p/"+dir) == nil {
			t.Errorf("%s is not pinned", dir)
		}
	}
	if w := got.watched("/home/u/p/bare/hooks"); w == nil {
		t.Error("the hooks of a bare repository are not watched")
	}
	want := "[/home/u/p /home/u/p/bare /home/u/p/third_party/a /home/u/p/a/b/c/d/e/f/g/deep]"
	if fmt.Sprint(got.Repos) != want {
		t.Errorf("repositories %v, want %s", got.Repos, want)
	}
}

// TestFindReposIsBounded holds that what an agent makes cannot make the next plan slow.
func TestFindReposIsBounded(t *testing.T) {
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, "/p/%04d/x/y/z/.git/HEAD\n", i)
	}
	f := memMachine(t, lines.String())
	FindRepos("/p", f)
	if f.calls > 3*maxRepoDirs {
		t.Errorf("%d questions", f.calls)
	}
}

func TestHooksPathIsProtected(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/p/scripts/hooks/pre-commit 0755
/home/u/p/tools/check.sh 0755
/home/u/p/.git/hooks/pre-push -> ../../tools/check.sh
/home/u/p/.git/config = "[core]\n\thooksPath = scripts/hooks\n[include]\n\tpath = ../shared.gitconfig\n"
`)
	got := plan(t, h, &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{"/home/u/p/scripts/hooks": "ro", "/home/u/p/tools/check.sh": "ro", "/home/u/p/scripts": "--"})
	if got.watched("/home/u/p/shared.gitconfig") == nil {
		t.Error("a file that git's config includes, and that is missing, is not watched")
	}
}

func TestGitConfig(t *testing.T) {
	got := gitConfig([]byte("[core]\n\thooksPath = \"a b\"\n# x = y\n[include \"z\"] path=q\n[Submodule \"n\"]\nPATH= lib\nbare\n"))
	want := "[{core hookspath a b} {include path q} {submodule path lib}]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func FuzzGitConfig(f *testing.F) {
	f.Add([]byte("[core]\n\tworktree = ../x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range gitConfig(data) {
			if strings.ContainsAny(s.key+s.value, "\n") {
				t.Errorf("a line break in %q", s)
			}
		}
	})
}
