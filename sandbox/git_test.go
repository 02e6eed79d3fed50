package sandbox

import (
	"fmt"
	"slices"
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
/home/u/p/.git/worktrees/seen/gitdir = "/home/u/seen/.git\n"
/home/u/p/.git/worktrees/gone/gitdir = "/home/u/p/.trees/gone/.git\n"
/home/u/p/.trees/in/.git = "gitdir: /home/u/p/.git/worktrees/in\n"
/home/u/seen/.git = "gitdir: /home/u/p/.git/worktrees/seen\n"
`), &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{
		"/home/u/p/.git/worktrees/in":           "--",
		"/home/u/p/.git/worktrees/in/commondir": "ro",
		"/home/u/p/.git/worktrees/out":          "ro",
		"/home/u/p/.git/worktrees/seen":         "ro",
		"/home/u/p/.git/worktrees/gone":         "ro",
		"/home/u/p/.trees/in/.git":              "ro",
	})
}

// TestManyWorktrees: what a plan looks at grows with their number and not with its square, and what each one's config names is found.
func TestManyWorktrees(t *testing.T) {
	looks := func(n int) int {
		tree, want := repoAt("/home/u/p"), map[string]string{}
		for i := range n {
			record, at := fmt.Sprintf("/home/u/p/.git/worktrees/w%d", i), fmt.Sprintf("/home/u/p/.trees/w%d", i)
			tree += fmt.Sprintf("%[1]s/commondir = \"../..\\n\"\n%[1]s/gitdir = \"%[2]s/.git\\n\"\n%[2]s/.git = \"gitdir: %[1]s\\n\"\n"+
				"%[1]s/config.worktree = \"[core]\\n\\thooksPath = tools/hooks%[3]d\\n\"\n%[2]s/tools/hooks%[3]d/\n", record, at, i)
			want[record+"/commondir"], want[record+"/config.worktree"], want[at+"/.git"] = "ro", "ro", "ro"
			want[fmt.Sprintf("%s/tools/hooks%d", at, i)] = "ro"
		}
		h := user(t, "/home/u/p", tree)
		wantBinds(t, plan(t, h, &profiles.Profile{}, Request{}), want)
		return h.FS.(*memFiles).calls
	}
	few, some, many := looks(2), looks(20), looks(38)
	if more, before := many-some, some-few; more > before*5/4 {
		t.Errorf("the first 18 work trees take %d looks, the next 18 %d", before, more)
	}
}

// TestWorktreeFarAway has a work tree where no look for repositories comes: its record in the repository tells of it.
func TestWorktreeFarAway(t *testing.T) {
	got := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/p/.git/worktrees/far/commondir = "../..\n"
/home/u/p/.git/worktrees/far/gitdir = "/home/u/p/node_modules/x/far/.git\n"
/home/u/p/.git/worktrees/far/config.worktree = "[core]\n\thooksPath = tools\n"
/home/u/p/node_modules/x/far/.git = "gitdir: /home/u/p/.git/worktrees/far\n"
/home/u/p/node_modules/x/far/tools/
/home/u/p/tools/
`), &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{"/home/u/p/node_modules/x/far/tools": "ro", "/home/u/p/tools": "--"})
}

// TestTooManyWorktrees: where there are more than are told apart, none can be written to, and that is told.
func TestTooManyWorktrees(t *testing.T) {
	for n, told := range map[int]bool{maxRepos: false, maxRepos + 1: true} {
		tree := repoAt("/home/u/p")
		for i := range n {
			tree += fmt.Sprintf("/home/u/p/.git/worktrees/%d/gitdir = \"/home/u/out%[1]d/.git\\n\"\n", i)
		}
		got := plan(t, user(t, "/home/u/p", tree), &profiles.Profile{}, Request{})
		if notes := strings.Join(got.Notes, "\n"); strings.Contains(notes, "/home/u/p/.git/worktrees holds more than 64") != told {
			t.Errorf("%d work trees: %s", n, notes)
		}
		whole, each := "--", "ro"
		if told {
			whole, each = each, whole
		}
		wantBinds(t, got, map[string]string{"/home/u/p/.git/worktrees": whole, "/home/u/p/.git/worktrees/9": each})
	}
}

// TestUnprotectedWorktree: what the user lets go of in one work tree stays protected in what it shares with the others.
func TestUnprotectedWorktree(t *testing.T) {
	p := &profiles.Profile{}
	p.FS.Unprotect = items("--unprotect", "a")
	got := plan(t, user(t, "/home/u/p", repoAt("/home/u/p/main")+`
/home/u/p/main/.git/worktrees/a/commondir = "../..\n"
/home/u/p/main/.git/worktrees/a/gitdir = "/home/u/p/a/.git\n"
/home/u/p/main/.git/worktrees/b/commondir = "../..\n"
/home/u/p/main/.git/worktrees/b/gitdir = "/home/u/p/b/.git\n"
/home/u/p/main/.git/worktrees/out/gitdir = "/home/u/out/.git\n"
/home/u/p/a/.git = "gitdir: /home/u/p/main/.git/worktrees/a\n"
/home/u/p/b/.git = "gitdir: /home/u/p/main/.git/worktrees/b\n"
`), p, Request{})
	if want := "/home/u/p/a"; got.Repos[0] != want {
		t.Fatalf("control: %s is the first of %q", want, got.Repos)
	}
	wantBinds(t, got, map[string]string{
		"/home/u/p/a/.git":                         "--",
		"/home/u/p/main/.git/config":               "ro",
		"/home/u/p/main/.git/worktrees/a/gitdir":   "ro",
		"/home/u/p/main/.git/worktrees/b/gitdir":   "ro",
		"/home/u/p/main/.git/worktrees/out":        "ro",
		"/home/u/p/main/.git/worktrees/out/gitdir": "--",
	})
}

// TestUnprotectWhatWorktreesShare: what is let go of by where it lies is let go of, in however many work trees it has names.
func TestUnprotectWhatWorktreesShare(t *testing.T) {
	const tree = `
/home/u/p/.git/worktrees/a/commondir = "../..\n"
/home/u/p/.git/worktrees/a/gitdir = "/home/u/p/a/.git\n"
/home/u/p/a/.git = "gitdir: /home/u/p/.git/worktrees/a\n"
`
	for name, lifted := range map[string][]string{
		".git/config":      {".git/config"},
		".git":             {".git/config", ".git/hooks", ".git/worktrees/a/gitdir"},
		".git/worktrees/a": {".git/worktrees/a/gitdir"},
		"a/.git/config":    nil, // as one work tree has it
	} {
		p := &profiles.Profile{}
		p.FS.Unprotect = items("--unprotect", name)
		got := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+tree), p, Request{})
		want := map[string]string{}
		for _, held := range []string{".git/config", ".git/hooks", ".git/worktrees/a/gitdir", "a/.git"} {
			want["/home/u/p/"+held] = "ro"
			if slices.Contains(lifted, held) {
				want["/home/u/p/"+held] = "--"
			}
		}
		wantBinds(t, got, want)
	}
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
	look := lookForRepos("/p", nil, f, nil)
	if f.calls > 3*maxRepoReads {
		t.Errorf("%d questions", f.calls)
	}
	if look.beyond == "" {
		t.Error("nothing says that there was more")
	}
}

// TestEmptyDirectoriesHideNothing has an agent make directories that sort first, so that the look ends before what counts.
func TestEmptyDirectoriesHideNothing(t *testing.T) {
	tree := repoAt("/home/u/p") + repoAt("/home/u/p/vendor/lib")
	for i := range 300 {
		tree += fmt.Sprintf("/home/u/p/a%04d/\n", i)
	}
	got := plan(t, user(t, "/home/u/p", tree), &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{"/home/u/p/vendor/lib/.git/config": "ro"})

	// With something in each, only a look that knows where finds it.
	for i := range 300 {
		tree += fmt.Sprintf("/home/u/p/a%04d/b/\n", i)
	}
	h := user(t, "/home/u/p", tree)
	got = plan(t, h, &profiles.Profile{}, Request{})
	if !got.Bounded || !strings.Contains(fmt.Sprint(got.Notes), "was not searched") {
		t.Errorf("the plan does not say that the look ended: %v", got.Notes)
	}
	file := knownFile(h, "/home/u/p")
	h.FS.(*memFiles).put(file, &memNode{mode: 0o600, data: known{repos: []string{"/home/u/p/vendor/lib", "/home/u/p/gone", "/home/u", "/home/u/p/../.."}}.String()})
	got = plan(t, h, &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{"/home/u/p/vendor/lib/.git/config": "ro"})
	if want := "[/home/u/p /home/u/p/vendor/lib]"; fmt.Sprint(got.Repos) != want {
		t.Errorf("repositories %v, want %s", got.Repos, want)
	}
}

// TestClosedDirectories: what cannot be looked at is not missing. A directory that can be passed and not read is a note.
func TestClosedDirectories(t *testing.T) {
	const repos = "/home/u/p/vendor/lib/.git/config\n"
	for _, tt := range []struct{ name, tree, hint string }{
		{"the git directory", "/home/u/p/.git/ 0\n", "chmod u+rx /home/u/p/.git"},
		{"above a protected path", "/home/u/p/.claude/ 0600\n/home/u/p/.claude/settings.json\n", "chmod u+rx /home/u/p/.claude"},
		{"above one that may be missing", "/home/u/p/.cargo/ 0\n", "chmod u+rx /home/u/p/.cargo"},
		{"a protected directory", "/home/u/p/.vscode/ 0111\n", "chmod u+rx /home/u/p/.vscode"},
		{"the records of work trees", "/home/u/p/.git/worktrees/ 0111\n", "chmod u+rx /home/u/p/.git/worktrees"},
		{"the submodules' git directories", "/home/u/p/.git/modules/ 0111\n", "chmod u+rx /home/u/p/.git/modules"},
		{"git's config", "/home/u/p/.git/config 0\n", "chmod u+r /home/u/p/.git/config"},
		{"a link's way", "/home/u/p/.idea -> deep/x\n/home/u/p/deep/ 0\n", "chmod u+rx /home/u/p/deep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := user(t, "/home/u/p", repoAt("/home/u/p")+tt.tree)
			_, err := NewPlan(&profiles.Profile{}, Request{Argv: []string{"sh"}}, h)
			wantRefusal(t, err, "cannot be looked at")
			if e, ok := err.(*Error); !ok || e.Hint != tt.hint {
				t.Errorf("hint %q, want %q", e.Hint, tt.hint)
			}
		})
	}
	h := user(t, "/home/u/p", repoAt("/home/u/p")+repos+"/home/u/p/vendor/ 0111\n")
	got := plan(t, h, &profiles.Profile{}, Request{})
	if fmt.Sprint(got.Unread) != "[/home/u/p/vendor]" || !strings.Contains(fmt.Sprint(got.Notes), "/home/u/p/vendor cannot be read") {
		t.Errorf("unread %v, notes %v", got.Unread, got.Notes)
	}
	// A link that leads out of the project is nobody's to open.
	plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+"/home/u/p/.idea -> /srv/closed/x\n/srv/closed/ 0\n"), &profiles.Profile{}, Request{})
}

func TestGitProgramsAreProtected(t *testing.T) {
	const config = `[core]
	fsmonitor = ./t/fsmonitor --x
	sshCommand = "ssh -o \"ProxyCommand=./not-seen\""
	attributesFile = t/attributes
	editor = "./t/\
editor"
	pager = less
[filter "lfs"]
	clean = "\"./t/a b\" %f" ; a comment
	smudge = A=1 B=2 ./t/smudge
	process = python3 -u t/process.py --x
[diff "x"] textconv = sh -c './t/textconv "$1"' -
[merge "x.y"]
	driver = true && ./t/driver %A
[alias]
	st = status t/status
	run = "!f() { (cd x; ./t/alias); }; f"
[credential "https://example.com"]
	helper = /home/u/p/t/credential
[gpg]
	program = ~/p/t/gpg
[include]
	path = ../t/one.gitconfig
`
	h := user(t, "/home/u/p", repoAt("/home/u/p")+fmt.Sprintf("/home/u/p/.git/config = %q\n", config)+`
/home/u/p/t/one.gitconfig = "[include]\n\tpath = deep/two.gitconfig\n\tpath = one.gitconfig\n"
/home/u/p/t/deep/two.gitconfig = "[sequence]\n\teditor = t/sequence\n[includeIf \"gitdir:x\"]\n\tpath = ../three.gitconfig\n"
/home/u/p/t/three.gitconfig = "[merge \"z\"] driver = ./missing/driver\n"
/home/u/.gitconfig = "[core]\n\thooksPath = t/hooks\n"
/home/u/p/t/hooks/pre-commit
/home/u/p/t/status
/home/u/p/t/other
`+strings.ReplaceAll(`
T/fsmonitor
T/attributes
T/editor
T/smudge
T/process.py
T/textconv
T/driver
T/alias
T/credential
T/gpg
T/sequence
`, "T/", "/home/u/p/t/"))
	h.FS.(*memFiles).put("/home/u/p/t/a b", &memNode{mode: 0o755})
	got := plan(t, h, &profiles.Profile{}, Request{})
	want := map[string]string{"/home/u/p/t/status": "--", "/home/u/p/t/other": "--", "/home/u/p/t": "--"}
	for _, name := range []string{"fsmonitor", "attributes", "editor", "a b", "smudge", "process.py", "textconv", "driver", "alias", "credential", "gpg",
		"sequence", "one.gitconfig", "deep/two.gitconfig", "three.gitconfig", "hooks"} {
		want["/home/u/p/t/"+name] = "ro"
	}
	wantBinds(t, got, want)
	if got.mountAt(KindPin, "/home/u/p/t") == nil {
		t.Error("the directory above is not pinned")
	}
	if got.watched("/home/u/p/missing/driver") == nil {
		t.Error("a program that is missing is not watched")
	}

	p := &profiles.Profile{}
	p.FS.Unprotect = items("--unprotect", "t/alias")
	wantBinds(t, plan(t, h, p, Request{}), map[string]string{"/home/u/p/t/alias": "--", "/home/u/p/t/gpg": "ro"})
}

// TestSubmodulesProgramsAreProtected: git runs what a submodule's config names at the top of the submodule.
func TestSubmodulesProgramsAreProtected(t *testing.T) {
	got := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/p/lib/tool.sh
/home/u/p/.git/modules/lib/HEAD
/home/u/p/.git/modules/lib/config = "[core]\n\tworktree = ../../../lib\n\tfsmonitor = ./tool.sh\n"
/home/u/p/.git/modules/lib/objects/
/home/u/p/.git/modules/lib/refs/
`), &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{"/home/u/p/lib/tool.sh": "ro"})
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
	for _, tt := range []struct{ text, want string }{
		{"[core]\n\thooksPath = \"a b\"\n# x = y\n; z = y\n", `{core  hookspath a b}`},
		{"[include \"z\"] path=q\n[Submodule \"N\\\"n\"]\nPATH= lib\n", `{include z path q} {submodule N"n path lib}`},
		{"[a.B]\nbare\nx-y = 1 # c\n", `{a b bare true} {a b x-y 1}`},
		{"[a]\nb = x ; c\nd = \"x ; c\" y # \"\n", `{a  b x} {a  d x ; c y}`},
		{"[a]\nb = one\\\n two\\\\\\t\n", "{a  b one two\\\t}"},
		{"[a]\nb = \"one\\\n two\"\nc=d", `{a  b one two} {a  c d}`},
		{"[a]\r\nb = c  \r\nd = \"e  \"\r\n", `{a  b c} {a  d e  }`},
		{"[a]b=c [d]\n", `{a  b c [d]}`},
		{"\xef\xbb\xbf[a]\nb=c\n[q\nr=s\n\x00t", `{a  b c} {q  r s} {q  t true}`},
	} {
		var got []string
		for _, s := range gitConfig([]byte(tt.text)) {
			got = append(got, fmt.Sprint(s))
		}
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%q: got %s, want %s", tt.text, text, tt.want)
		}
	}
}

func TestCommandPaths(t *testing.T) {
	for line, want := range map[string]string{
		"./a -x ./b":                    "./a",
		"a ./b":                         "",
		"!./a; b && ./c|./d":            "./a ./c ./d",
		"A=./x B=y ./a":                 "./a",
		`"./a b" c`:                     "./a b",
		`sh -c "./a x; python3 b.py"`:   "./a b.py",
		"/usr/bin/env -i node x.js":     "/usr/bin/env node x.js",
		"f() { ./a \"$@\"; }; f":        "./a",
		"true":                          "",
		"'":                             "",
		"sh -c \"sh -c 'sh -c ./a x'\"": "./a x",
	} {
		if got := strings.Join(commandPaths(line), " "); got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
}

func FuzzGitConfig(f *testing.F) {
	f.Add([]byte("[core]\n\tworktree = ../x\n"))
	f.Add([]byte("[a \"b\\\"\"] c = \"d\\\n e\" # f\n[alias]\nx = \"!sh -c 'a; ./b'\""))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range gitConfig(data) {
			if strings.ContainsAny(s.section+s.key, " \n") {
				t.Errorf("a blank in %q", s)
			}
			commandPaths(s.value)
		}
	})
}
