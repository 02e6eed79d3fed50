package sandbox

import (
	"strings"
	"testing"

	"github.com/agentjail/agentjail/profiles"
)

func TestBindsAreRefused(t *testing.T) {
	const tree = `
/home/u/p/ uid=1000
/home/u/up -> ..
/home/u/.local/state/agentjail/homes/
/dev/kvm
/run/user/1000/bus
/sys/class/
`
	for _, tt := range []struct {
		name  string
		write bool
		say   string
	}{
		{"/", true, "your home or holds it"},
		{"/", false, "your home or holds it"},
		{"/home", false, "your home or holds it"},
		{"~", false, "your home or holds it"},
		{"~/up", false, "your home or holds it"},
		{"/proc/self", false, "the kernel's"},
		{"/sys/class", false, "the kernel's"},
		{"/dev/kvm", true, "the kernel's"},
		{"/etc", false, "other programs keep"},
		{"/run", true, "other programs keep"},
		{"/run/user/1000", true, "other programs keep"},
		{"/usr", true, "of the system"},
		{"~/.local", true, "agentjail keeps"},
		{"~/.local/state/agentjail/homes", false, "agentjail keeps"},
		{"/none", false, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := &profiles.Profile{}
			if tt.write {
				p.FS.Write = items("--rw", tt.name)
			} else {
				p.FS.Read = items("--ro", tt.name)
			}
			_, err := NewPlan(p, Request{Argv: []string{"sh"}}, user(t, "/home/u/p", tree))
			wantRefusal(t, err, tt.say)
		})
	}
}

func TestBinds(t *testing.T) {
	h := user(t, "/home/u/p/sub", `
/home/u/p/sub/data/ uid=1000
/home/u/.aws/config uid=1000
/home/u/both/ uid=1000
/home/u/to-data -> /data/x
/data/x/ uid=1000
`)
	p := &profiles.Profile{}
	p.FS.Read = append(items("--ro", "data", "~/.aws/config", "~/both"), items("a.toml: fs.read[0]", "/none", "sub/data")...)
	p.FS.Write = items("--rw", "~/both", "~/to-data", "/run/docker.sock")
	got := plan(t, h, p, Request{Project: "/home/u/p"})
	wantBinds(t, got, map[string]string{
		"/home/u/p":           "rw",
		"/home/u/p/sub/data":  "ro", // inside the project, and made after it
		"/home/u/.aws/config": "ro", // named by itself, so it is meant
		"/home/u/both":        "ro", // the narrower of two wishes
		"/data/x":             "rw",
		"/run/docker.sock":    "rw",
		"/home/u/to-data":     "--",
	})
	if m := got.mountAt(KindSymlink, "/home/u/to-data"); m == nil || m.Source != "/data/x" {
		t.Errorf("the link that was named is not made again: %+v", m)
	}
	if len(got.Notes) == 0 || !strings.Contains(strings.Join(got.Notes, "\n"), "/none") {
		t.Errorf("nothing tells that /none is missing: %q", got.Notes)
	}
}

// TestMountOrder holds that parents come before what lies in them, whatever the order of the wishes.
func TestMountOrder(t *testing.T) {
	h := user(t, "/home/u/src/p", repoAt("/home/u/src/p")+"/home/u/src/q/deep/ uid=1000\n")
	p := &profiles.Profile{}
	p.FS.Write = items("--rw", "/home/u/src/q/deep", "/home/u/src")
	got := plan(t, h, p, Request{})
	for i, m := range got.Mounts {
		for _, later := range got.Mounts[i+1:] {
			if strictlyWithin(m.Target, later.Target) {
				t.Errorf("%s %s comes before %s %s", m.Kind, m.Target, later.Kind, later.Target)
			}
		}
	}
}

// TestNothingIsMadeOnTheHost holds that each target exists on the host or lies in a file system of the jail's own: the run makes the
// missing ones, and a ghost in the user's files would be the plan's fault.
func TestNothingIsMadeOnTheHost(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/p/.claude/hooks/x
/home/u/p/.vscode -> nowhere
/home/u/.nvm/versions/node/v1/bin/node 0755
`)
	h.Env = append(h.Env, "PATH=/home/u/.nvm/versions/node/v1/bin:/usr/bin")
	p := &profiles.Profile{}
	p.FS.Hide = items("--hide", "*.go")
	p.FS.Protect = items("--protect", "missing/thing", "main.go")
	got := plan(t, h, p, Request{Argv: []string{"node"}})
	for i, m := range got.Mounts {
		before := tree{mounts: got.Mounts[:i]}
		if before.own(m.Target) {
			continue
		}
		if info, err := h.FS.Lstat(m.Target); err != nil || info.Mode()&0o7000000000 != 0 && !info.IsDir() {
			t.Errorf("%s %s would be made in the user's files", m.Kind, m.Target)
		}
	}
}

func TestHostSecretsDoNotShow(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p"))
	got := plan(t, h, &profiles.Profile{}, Request{})
	visible := tree{mounts: got.Mounts}
	for _, name := range []string{"/home/u/.ssh/id_ed25519", "/home/u/.gitconfig", "/etc/shadow", "/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key",
		"/etc/ssl/private/key.pem", "/etc/pip.conf", "/run/docker.sock", "/var/lib", "/home/ci", "/tmp/x", "/sys"} {
		if visible.shows(name) {
			t.Errorf("%s shows through %+v", name, visible.cover(name))
		}
	}
	for _, name := range []string{"/usr/bin/git", "/etc/ld.so.cache", "/home/u/p/main.go"} { // the control
		if !visible.shows(name) {
			t.Errorf("%s does not show", name)
		}
	}
}

func TestPrivateHome(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/.tool/settings.json = "{}"
/home/u/.tool/sock/deep/x = "y"
/home/u/.tool/gone -> nowhere
`)
	p := &profiles.Profile{Name: "a"}
	p.FS.Copy = items("a.toml: fs.copy[0]", "~/.tool", "~/.none")
	got := plan(t, h, p, Request{})
	if m := got.mountAt(KindTmpfs, "/home/u"); m == nil || m.Mode != 0o700 {
		t.Errorf("the ephemeral home is %+v", m)
	}
	if m := got.mountAt(KindFile, "/home/u/.tool/settings.json"); m == nil || string(m.Data) != "{}" || m.Mode != 0o644 {
		t.Errorf("copied: %+v", m)
	}
	if got.mountAt(KindFile, "/home/u/.tool/sock/deep/x") == nil {
		t.Error("a file below a copied directory is missing")
	}

	p.FS.Home = profiles.Item{Value: "persistent", Why: "--home"}
	got = plan(t, h, p, Request{})
	m := got.mountAt(KindBind, "/home/u")
	if m == nil || !m.Own || !m.Create || m.ReadOnly || !strings.HasPrefix(m.Source, h.StateDir+"/homes/") {
		t.Fatalf("the persistent home is %+v", m)
	}
	if got.mountAt(KindFile, "/home/u/.tool/settings.json") == nil {
		t.Error("nothing is copied into a new persistent home")
	}
	h.FS.(*memFiles).put(m.Source+"/.tool/settings.json", &memNode{mode: 0o600, data: "changed"})
	if got = plan(t, h, p, Request{}); got.mountAt(KindFile, "/home/u/.tool/settings.json") != nil {
		t.Error("the copy would overwrite what the persistent home has")
	}
	other := *p
	other.Name = "b"
	if o := plan(t, h, &other, Request{}).mountAt(KindBind, "/home/u"); o == nil || o.Source == m.Source {
		t.Error("two profiles share a home")
	}
}

func TestCopyIsBounded(t *testing.T) {
	p := &profiles.Profile{}
	p.FS.Copy = items("--copy", "~/big")
	_, err := NewPlan(p, Request{Argv: []string{"sh"}}, user(t, "/home/u/p", "/home/u/p/ uid=1000\n/home/u/big size=99999999\n"))
	wantRefusal(t, err, "MiB")
}

func TestEtcNamesTheCaller(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p"))
	got := plan(t, h, &profiles.Profile{}, Request{})
	for file, want := range map[string]string{
		"/etc/passwd":      "\nu:x:1000:1000::/home/u:/bin/bash\n",
		"/etc/group":       "\nusers:x:1000:\n",
		"/etc/resolv.conf": "nameserver 198.18.0.1\n",
	} {
		if m := got.mountAt(KindFile, file); m == nil || !strings.Contains(string(m.Data), want) {
			t.Errorf("%s has not %q: %q", file, want, m.Data)
		}
	}
	p := &profiles.Profile{}
	p.Net.Mode = profiles.Item{Value: "none", Why: "--net"}
	got = plan(t, h, p, Request{})
	if m := got.mountAt(KindFile, "/etc/resolv.conf"); m == nil || strings.Contains(string(m.Data), "nameserver") {
		t.Errorf("without a network, resolv.conf is %q", m.Data)
	}
	if got.Trust != nil {
		t.Error("without a door, stores are planned")
	}
}

// The name of a persistent home says whose it is, whatever the project is called, and two never share one.
func TestPersistentHome(t *testing.T) {
	for _, test := range []struct{ project, profile, want string }{
		{"/home/u/web", "claude", "/s/homes/web-claude-"},
		{"/home/u/my töp\nproj", "claude+mine", "/s/homes/my_t_p_proj-claude+mine-"},
		{"/home/u/" + strings.Repeat("x", 200), "default", "/s/homes/" + strings.Repeat("x", 40) + "-default-"},
	} {
		if got := persistentHome("/s", test.project, test.profile); !strings.HasPrefix(got, test.want) || len(got) != len(test.want)+32 {
			t.Errorf("%s: %s", test.project, got)
		}
	}
	if persistentHome("/s", "/a/web", "claude") == persistentHome("/s", "/b/web", "claude") {
		t.Error("two projects of one name share a home")
	}
}

// TestComparePaths: what lies in a directory comes right behind it.
func TestComparePaths(t *testing.T) {
	paths := []string{"/", "/a", "/a/b", "/a/b/c", "/a/c", "/a!", "/a-b", "/a-b/c", "/a.b", "/ab", "/b", "/b/\xff", "/é"}
	for i, a := range paths {
		for j, b := range paths {
			if got := comparePaths(a, b); got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%q and %q: %d", a, b, got)
			}
		}
	}
}
