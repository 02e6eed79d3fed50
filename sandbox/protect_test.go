package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/profiles"
)

// TestEveryGuardHolds plants each path of the list, as a file, and finds it read-only with its ancestors pinned; and leaves it out,
// and finds it watched and not mounted.
func TestEveryGuardHolds(t *testing.T) {
	for _, g := range projectGuards {
		if g.why == "" || g.path == "" || path.Clean(g.path) != g.path || path.IsAbs(g.path) {
			t.Errorf("bad entry %+v", g)
		}
		if strings.Contains(g.path, "*") {
			continue
		}
		name := "/home/u/p/" + g.path
		there := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+name+"\n"), &profiles.Profile{}, Request{})
		wantBinds(t, there, map[string]string{name: "ro"})
		for dir := path.Dir(name); dir != "/home/u/p"; dir = path.Dir(dir) {
			if there.mountAt(KindPin, dir) == nil {
				t.Errorf("%s is not pinned", dir)
			}
		}
		gone := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")), &profiles.Profile{}, Request{})
		if w := gone.watched(name); w == nil || w.Why != g.why {
			t.Errorf("%s is missing and not watched", name)
		}
		for _, m := range gone.Mounts {
			if within(m.Target, name) {
				t.Errorf("%s is missing and mounted: %+v", name, m)
			}
		}
	}
}

func TestProtectAndUnprotect(t *testing.T) {
	const tree = `
/home/u/p/.vscode/tasks.json
/home/u/p/.claude/settings.json
/home/u/p/.claude/hooks/x
/home/u/p/infra/prod/main.tf
/home/u/p/README
`
	p := &profiles.Profile{}
	p.FS.Unprotect = items("--unprotect", ".vscode", ".claude/settings.json", "/home/u/p/.git/config")
	p.FS.Protect = items("--protect", "infra/prod", "/home/u/p/README", "not/there")
	got := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+tree), p, Request{})
	wantBinds(t, got, map[string]string{
		"/home/u/p/.vscode": "--", "/home/u/p/.claude/settings.json": "--", "/home/u/p/.git/config": "--",
		"/home/u/p/.claude/hooks": "ro", "/home/u/p/.git/hooks": "ro", "/home/u/p/infra/prod": "ro", "/home/u/p/README": "ro",
	})
	if got.mountAt(KindPin, "/home/u/p/infra") == nil || got.watched("/home/u/p/not/there") == nil {
		t.Error("an ancestor is not pinned, or a missing path is not watched")
	}

	p.FS.Protect = items("--protect", ".")
	got = plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+tree), p, Request{})
	wantBinds(t, got, map[string]string{"/home/u/p": "ro"})
}

// TestGuardedLinks: a mount cannot sit on a symbolic link, so the link is watched and what it leads to is protected.
func TestGuardedLinks(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/p/.vscode -> config/editor
/home/u/p/config/editor/tasks.json
/home/u/p/.idea -> /home/u/.idea-shared
/home/u/.idea-shared/x
/home/u/p/.claude -> agents
/home/u/p/agents/settings.json
/home/u/p/.envrc -> loop
/home/u/p/loop -> .envrc
/home/u/p/.husky -> .
`)
	got := plan(t, h, &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{
		"/home/u/p/config/editor": "ro", "/home/u/p/agents/settings.json": "ro", "/home/u/.idea-shared": "--", "/home/u/p": "rw"})
	for name, text := range map[string]string{".vscode": "config/editor", ".idea": "/home/u/.idea-shared", ".claude": "agents", ".husky": "."} {
		if w := got.watched("/home/u/p/" + name); w == nil || w.Link != text {
			t.Errorf("%s: watched as %+v, want the link %s", name, w, text)
		}
	}
	if got.watched("/home/u/p/agents/hooks") == nil {
		t.Error("what is missing behind a link is not watched")
	}
}

func TestHardLinksAreWatched(t *testing.T) {
	got := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/p/.envrc nlink=2 = "export A=1"
/home/u/p/.git/hooks/pre-commit 0755 nlink=2 = "exit 0"
/home/u/p/.npmrc = "x"
`), &profiles.Profile{}, Request{})
	for name, data := range map[string]string{".envrc": "export A=1", ".git/hooks/pre-commit": "exit 0"} {
		sum := sha256.Sum256([]byte(data))
		if w := got.watched("/home/u/p/" + name); w == nil || w.Sum != hex.EncodeToString(sum[:]) {
			t.Errorf("%s has a second name and is watched as %+v", name, w)
		}
	}
	if got.watched("/home/u/p/.npmrc") != nil {
		t.Error("a file with one name is watched")
	}
}

func TestHide(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/p/.env
/home/u/p/svc/.env
/home/u/p/svc/keys/a.pem
/home/u/p/config/keys/b
/home/u/p/deep/config/keys/c
/home/u/p/secrets/d
/home/u/p/x/secrets
/home/u/p/link.pem -> svc/real
/home/u/p/svc/real
/home/u/p/out.pem -> /etc/shadow
/home/u/p/x/.git/sub/.env
/home/u/p/.git/info/.env
/home/u/p/old
`)
	gone := HiddenLink{"/home/u/p/svc/gone.pem", "/home/u/p/old"} // in an earlier run
	h.FS.(*memFiles).put(knownFile(h, "/home/u/p"), &memNode{mode: 0o600, data: known{hidden: []HiddenLink{gone, {"/home/u/p/other", "/home/u/p/main.go"}}}.String()})
	p := &profiles.Profile{}
	p.FS.Hide = items("--hide", ".env", "*.pem", "config/keys", "secrets/", "/svc/**/a.*")
	got := plan(t, h, p, Request{})
	var masked []string
	for _, m := range got.Mounts {
		if m.Kind == KindMask {
			masked = append(masked, strings.TrimPrefix(m.Target, "/home/u/p/"))
		}
	}
	if g, want := strings.Join(masked, " "), ".env config/keys old secrets svc/.env svc/keys/a.pem svc/real x/.git/sub/.env"; g != want {
		t.Errorf("masked %s, want %s", g, want)
	}
	for _, dir := range []string{"config", "svc", "svc/keys", "x/.git/sub"} {
		if got.mountAt(KindPin, "/home/u/p/"+dir) == nil {
			t.Errorf("%s can be moved with what is hidden in it", dir)
		}
	}
	if len(got.Hidden) != 1 || got.Hidden[0] != (HiddenLink{"/home/u/p/link.pem", "/home/u/p/svc/real"}) {
		t.Errorf("hidden links %v", got.Hidden)
	}

	h.FS.(*memFiles).put("/home/u/p/closed", &memNode{mode: 1 << 31}) // a directory of mode 0
	_, err := NewPlan(p, Request{Argv: []string{"sh"}}, h)
	wantRefusal(t, err, "closed")
}

func TestMatchParts(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"**/.env", ".env", true}, {"**/.env", "a/b/.env", true}, {"**/.env", "a/.env/b", false}, {"a/*/c", "a/b/c", true},
		{"a/*/c", "a/b/b/c", false}, {"a/**/c", "a/c", true}, {"a/**", "a/b/c", true}, {"a", "a/b", false}, {"a/b", "a", false},
	} {
		if got := matchParts(split(tt.pattern), split(tt.name)); got != tt.want {
			t.Errorf("%s against %s: %v", tt.pattern, tt.name, got)
		}
	}
}

func TestPatternsAreProtected(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+"/home/u/p/a.code-workspace\n/home/u/p/sub/b.code-workspace\n/home/u/p/.config/lefthook-local.toml\n")
	got := plan(t, h, &profiles.Profile{}, Request{})
	wantBinds(t, got, map[string]string{"/home/u/p/a.code-workspace": "ro", "/home/u/p/sub/b.code-workspace": "--",
		"/home/u/p/.config/lefthook-local.toml": "ro"})
	w := got.watched("/home/u/p/*.code-workspace")
	if w == nil || !w.Pattern {
		t.Fatalf("watched as %+v", w)
	}
	if name := w.changed(h); name != "" {
		t.Errorf("%s changed, and nothing did", name)
	}
	h.FS.(*memFiles).put("/home/u/p/new.code-workspace", &memNode{mode: 0o644})
	if name := w.changed(h); name != "/home/u/p/new.code-workspace" {
		t.Errorf("a new one is named %q", name)
	}
}
