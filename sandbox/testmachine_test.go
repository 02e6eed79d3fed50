package sandbox

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/profiles"
)

// debian is the part of the made-up machines that all have: merged /usr, a few files of /etc, secrets that must not show.
const debian = `
/bin -> usr/bin
/lib -> usr/lib
/lib64 -> usr/lib64
/sbin -> usr/sbin
/usr/bin/bash 0755
/usr/bin/dash 0755
/usr/bin/sh -> dash
/usr/bin/env 0755
/usr/bin/git 0755
/usr/bin/python3 -> python3.11
/usr/bin/python3.11 0755
/usr/lib/
/usr/lib64/
/usr/sbin/
/usr/local/bin/
/usr/share/zoneinfo/UTC
/opt/
/var/lib/
/tmp/
/run/docker.sock
/etc/passwd = "root:x:0:0:root:/root:/bin/bash\nu:x:1000:1000:U:/home/u:/bin/bash\nci:x:1200:1201::/home/ci:/bin/sh\n"
/etc/group = "root:x:0:\nusers:x:1000:\nbuild:x:1201:\n"
/etc/shadow 0600
/etc/machine-id
/etc/ssh/ssh_host_ed25519_key 0600
/etc/localtime -> /usr/share/zoneinfo/UTC
/etc/ld.so.cache
/etc/ssl/openssl.cnf
/etc/ssl/certs/ca-certificates.crt
/etc/ssl/private/key.pem 0600
/etc/pip.conf = "[global]\nindex-url = https://user:pass@example.com/simple\n"
/proc/meminfo = "MemTotal:       8388608 kB\n"
/proc/self/uid_map = "         0          0 4294967295\n"
/proc/self/gid_map = "         0          0 4294967295\n"
/home/u/ uid=1000
/home/u/.ssh/id_ed25519 0600
/home/u/.gitconfig = "[user]\n\tname = U\n"
`

// repo is an ordinary repository at DIR.
const repo = `
DIR/ uid=1000
DIR/.git/HEAD
DIR/.git/config = "[core]\n\tbare = false\n"
DIR/.git/hooks/pre-commit.sample 0755
DIR/.git/info/exclude
DIR/.git/objects/
DIR/.git/refs/
DIR/main.go
`

func repoAt(dir string) string { return strings.ReplaceAll(repo, "DIR", dir) }

// user is the ordinary user of the made-up machines, in the given directory.
func user(t testing.TB, dir, lines string) *Host {
	t.Helper()
	return &Host{UID: 1000, GID: 1000, User: "u", Home: "/home/u", Dir: dir, Hostname: "laptop", Executable: "/usr/local/bin/agentjail",
		StateDir: "/home/u/.local/state/agentjail", ConfigDir: "/home/u/.config/agentjail", FS: memMachine(t, debian+lines),
		Env: []string{"HOME=/home/u", "PATH=/usr/local/bin:/usr/bin:/bin", "SHELL=/bin/bash", "TERM=xterm", "PWD=" + dir}}
}

// root is uid 0 on the same machine.
func root(t testing.TB, dir, lines string) *Host {
	h := user(t, dir, lines)
	h.UID, h.GID, h.User, h.Home = 0, 0, "root", "/root"
	h.StateDir, h.ConfigDir = "/root/.local/state/agentjail", "/root/.config/agentjail"
	return h
}

// plan makes a plan that must come to be.
func plan(t testing.TB, h *Host, p *profiles.Profile, r Request) *Plan {
	t.Helper()
	if r.Argv == nil {
		r.Argv = []string{"sh"}
	}
	got, err := NewPlan(p, r, h)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func items(why string, values ...string) []profiles.Item {
	var all []profiles.Item
	for _, v := range values {
		all = append(all, profiles.Item{Value: v, Why: why})
	}
	return all
}

// mountAt gives the mount of a kind at a target, or nil.
func (p *Plan) mountAt(kind, target string) *Mount {
	i := slices.IndexFunc(p.Mounts, func(m Mount) bool { return m.Kind == kind && m.Target == target })
	if i < 0 {
		return nil
	}
	return &p.Mounts[i]
}

func (p *Plan) watched(name string) *Watch {
	i := slices.IndexFunc(p.Watch, func(w Watch) bool { return w.Path == name })
	if i < 0 {
		return nil
	}
	return &p.Watch[i]
}

func (p *Plan) env(name string) (string, bool) {
	i := slices.IndexFunc(p.Command.Env, func(v Var) bool { return v.Name == name })
	if i < 0 {
		return "", false
	}
	return p.Command.Env[i].Value, true
}

// wantBinds checks that each target is bound: "ro" or "rw", or not at all: "--".
func wantBinds(t *testing.T, p *Plan, want map[string]string) {
	t.Helper()
	for target, access := range want {
		got := "--"
		if m := p.mountAt(KindBind, target); m != nil {
			got = m.access()
		}
		if got != access {
			t.Errorf("%s is bound %s, want %s", target, got, access)
		}
	}
}

// wantRefusal checks that no plan comes to be, and that the error says why and what to do.
func wantRefusal(t *testing.T, err error, say string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("got %v, want an *Error", err)
	}
	if e.Step != StepPlan || !strings.Contains(e.Err.Error(), say) {
		t.Errorf("got %q, want one that says %q", e, say)
	}
}
