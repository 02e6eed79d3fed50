package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/agentjail/agentjail/profiles"
)

// onDisk is a repository in a temporary directory, with a host that keeps its state beside it.
func onDisk(t *testing.T) (*Host, string) {
	t.Helper()
	dir := hostDir(t)
	h := testHost()
	h.Home, h.StateDir, h.ConfigDir, h.Dir = dir+"/home", dir+"/state", dir+"/config", dir+"/p"
	for name, text := range map[string]string{"/home/x": "", "/p/.git/HEAD": "", "/p/.git/config": "[core]\n", "/p/.git/objects/x": "", "/p/.git/refs/x": "",
		"/p/.git/hooks/pre-commit": "exit 0\n", "/p/.envrc": "true\n", "/p/.vscode/tasks.json": "{}\n", "/p/main.go": ""} {
		put(t, dir+name, text)
	}
	return h, dir + "/p"
}

// TestChangesAreNamed changes what a plan protects behind its back, as a host or a second jail does.
func TestChangesAreNamed(t *testing.T) {
	replace := func(name, text string) func(string) error {
		return func(p string) error {
			if err := os.WriteFile(p+"/new", []byte(text), 0o644); err != nil {
				return err
			}
			return os.Rename(p+"/new", p+name)
		}
	}
	for _, tt := range []struct {
		name string
		act  func(p string) error
		want string
	}{
		{"nothing", func(string) error { return nil }, ""},
		{"the work", replace("/main.go", "package main"), ""},
		{"a file, replaced", replace("/.envrc", "evil\n"), ".envrc"},
		{"a file, replaced by the same", replace("/.envrc", "true\n"), ""},
		{"a file, touched", func(p string) error { return os.Chtimes(p+"/.envrc", time.Now(), time.Now()) }, ""},
		{"a file, in place", func(p string) error { return os.WriteFile(p+"/.envrc", []byte("evil\n"), 0) }, ".envrc"},
		{"its mode", func(p string) error { return os.Chmod(p+"/.envrc", 0o755) }, ".envrc"},
		{"a second name", func(p string) error { return os.Link(p+"/.envrc", p+"/other") }, ".envrc"},
		{"removed", func(p string) error { return os.Remove(p + "/.envrc") }, ".envrc"},
		{"a link instead", func(p string) error { os.Remove(p + "/.envrc"); return os.Symlink("main.go", p+"/.envrc") }, ".envrc"},
		{"in a directory", replace("/.vscode/tasks.json", "evil"), ".vscode"},
		{"more in a directory", replace("/.git/hooks/post-commit", ""), ".git/hooks"},
		{"git's config", replace("/.git/config", "[core]\n\tfsmonitor=x\n"), ".git/config"},
		{"moved away and back", func(p string) error { os.Rename(p+"/.git", p+"/x"); return os.Rename(p+"/x", p+"/.git") }, ""},
		{"moved away and made anew", func(p string) error {
			return errors.Join(os.Rename(p+"/.vscode", p+"/x"), os.Mkdir(p+"/.vscode", 0o755), os.WriteFile(p+"/.vscode/tasks.json", []byte("x"), 0o644))
		}, ".vscode"},
		{"a missing path, made", replace("/.exrc", ""), ".exrc"},
		{"a workspace, made", replace("/x.code-workspace", ""), "x.code-workspace"},
		{"a repository in place of what a tool made", func(p string) error { return os.MkdirAll(p+"/target/.git", 0o755) }, "target"},
		{"a repository, made", func(p string) error { return os.MkdirAll(p+"/n/.git", 0o755) }, "n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, project := onDisk(t)
			p := plan(t, h, &profiles.Profile{}, Request{})
			b := p.begin(h)
			if b.err != nil {
				t.Fatal(b.err)
			}
			if err := tt.act(project); err != nil {
				t.Fatal(err)
			}
			got, err := p.changed(h, b)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{}
			if tt.want != "" {
				want = append(want, path.Join(project, tt.want))
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestLargeDirectoriesAreBounded: of one with more entries than are looked at, it is the directory itself that is compared.
func TestLargeDirectoriesAreBounded(t *testing.T) {
	var tree strings.Builder
	for i := range 2 * maxFacts {
		fmt.Fprintf(&tree, "/p/.vscode/%d/%d\n", i%7, i)
	}
	f := memMachine(t, tree.String())
	got := lookAt(f, "/p/.vscode")
	if len(got) != 1 || f.calls > 3*maxFacts {
		t.Errorf("%d entries after %d questions", len(got), f.calls)
	}
	if !got.same(lookAt(f, "/p/.vscode")) {
		t.Error("two looks differ")
	}
}

// TestClosedByTheRun: a directory that the run has closed is named, and not what may or may not be in it.
func TestClosedByTheRun(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+"/home/u/p/vendor/x\n/home/u/p/theirs/ 0111 uid=7\n")
	p := plan(t, h, &profiles.Profile{}, Request{})
	b := beginning{seen: takeFacts(h.FS, p.guardedPaths())}
	f := h.FS.(*memFiles)
	f.put("/home/u/p/.claude/settings.json", &memNode{mode: 0o644})
	for _, name := range []string{"/home/u/p/.claude", "/home/u/p/vendor", "/home/u/p/.git/info"} {
		f.nodes[name].mode &^= 0o777
		f.nodes[name].stat.Uid = 1000
	}
	h.StateDir = hostDir(t)
	got, err := p.changed(h, b)
	if want := "[/home/u/p/.claude /home/u/p/.git/info /home/u/p/vendor]"; fmt.Sprint(got) != want || err != nil {
		t.Errorf("got %v, %v, want %s", got, err, want)
	}
}

func TestRepositoriesAreRemembered(t *testing.T) {
	h, project := onDisk(t)
	if err := remember(h, project, known{repos: []string{project}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(h.StateDir); err == nil {
		t.Error("something was written of a project with nothing to remember")
	}
	for _, dir := range []string{"/a", "/b"} {
		if err := os.MkdirAll(project+dir+"/.git", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := remember(h, project, known{repos: []string{project, project + dir}}); err != nil { // as two runs at once do
			t.Fatal(err)
		}
	}
	got, err := recall(h, h.FS, project)
	if want := fmt.Sprint([]string{project + "/a", project + "/b"}); fmt.Sprint(got.repos) != want || err != nil {
		t.Errorf("recalled %v, %v, want %s", got, err, want)
	}
	if info, err := os.Stat(knownFile(h, project)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.RemoveAll(project + "/a"); err != nil {
		t.Fatal(err)
	}
	if err := remember(h, project, known{repos: []string{project}}); err != nil {
		t.Fatal(err)
	}
	if got, err := recall(h, h.FS, project); fmt.Sprint(got.repos) != fmt.Sprint([]string{project + "/b"}) || err != nil {
		t.Errorf("after one is gone: %v, %v", got, err)
	}
	put(t, knownFile(h, project), "{")
	if _, err := recall(h, h.FS, project); err == nil {
		t.Error("a broken file is no error")
	}
	if got := plan(t, h, &profiles.Profile{}, Request{}); !strings.Contains(fmt.Sprint(got.Notes), "earlier runs knew of") {
		t.Errorf("notes %v", got.Notes)
	}
}
