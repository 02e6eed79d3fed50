package sandbox

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFindHierarchies(t *testing.T) {
	for name, c := range map[string]struct {
		mounts, cgroups string
		want            []hierarchy
	}{
		"v2": {"30 20 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
			"0::/user.slice/user-1000.slice/session-2.scope\n",
			[]hierarchy{{version: 2, mount: "/sys/fs/cgroup", own: "/sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope"}}},
		"hybrid": {"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n" +
			"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
			"35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
			"38 31 0:35 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n" +
			"39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n" +
			"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n" +
			"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			"9:name=systemd:/\n8:pids:/\n4:memory:/a/b\n1:cpu,cpuacct:/c\n0::/\n",
			[]hierarchy{
				{version: 1, controllers: []string{"cpu"}, mount: "/sys/fs/cgroup/cpu,cpuacct", own: "/sys/fs/cgroup/cpu,cpuacct/c"},
				{version: 1, controllers: []string{"memory"}, mount: "/sys/fs/cgroup/memory", own: "/sys/fs/cgroup/memory/a/b"},
				{version: 1, controllers: []string{"pids"}, mount: "/sys/fs/cgroup/pids", own: "/sys/fs/cgroup/pids"},
				{version: 2, mount: "/sys/fs/cgroup/unified", own: "/sys/fs/cgroup/unified"},
			}},
		"docker, v1": {"35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n", "4:memory:/docker/abc\n",
			[]hierarchy{{version: 1, controllers: []string{"memory"}, mount: "/sys/fs/cgroup/memory", own: "/sys/fs/cgroup/memory"}}},
		"docker, v1, deeper": {"35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "4:memory:/docker/abc/d\n",
			[]hierarchy{{version: 1, controllers: []string{"memory"}, mount: "/sys/fs/cgroup/memory", own: "/sys/fs/cgroup/memory/d"}}},
		"elsewhere":           {"35 31 0:32 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", "4:memory:/docker/abcd\n", nil},
		"above our namespace": {"30 20 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/\n", nil},
		"moved out":           {"30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/../b\n", nil},
		"not mounted":         {"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n", "0::/\n", nil},
		"nonsense":            {"a\n - \n1 2 3 - cgroup2\n", "x\n::\n", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := findHierarchies(factFiles{"/proc/self/mountinfo": c.mounts, "/proc/self/cgroup": c.cgroups})
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(hierarchy{})); d != "" {
				t.Error(d)
			}
		})
	}
	if _, err := findHierarchies(factFiles{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without /proc: %v", err)
	}
}

func TestChoose(t *testing.T) {
	const root = "/sys/fs/cgroup"
	session := root + "/user.slice/user-1000.slice/session-2.scope"
	app := root + "/user.slice/user-1000.slice/user@1000.service/app.slice"
	v2 := func(own string) []hierarchy { return []hierarchy{{version: 2, mount: root, own: own}} }
	v1 := func(names ...string) (all []hierarchy) {
		for _, n := range names {
			all = append(all, hierarchy{version: 1, controllers: []string{n}, mount: root + "/" + n, own: root + "/" + n + "/x"})
		}
		return all
	}
	everything := []string{"memory", "pids", "cpu"}
	for name, c := range map[string]struct {
		hierarchies []hierarchy
		enabled     map[string]string // directory to controllers of its children
		writable    []string          // directories
		manager     []string
		want        choice
	}{
		"a session of a systemd machine": {v2(session), nil, nil, everything, choice{scope: true, covers: everything}},
		"older delegation":               {v2(session), nil, nil, []string{"memory", "pids"}, choice{scope: true, covers: []string{"memory", "pids"}}},
		"our own cgroup is delegated": {v2(app + "/run-1.scope"), map[string]string{app + "/run-1.scope": "cpu memory pids"}, []string{app + "/run-1.scope"}, everything,
			choice{sites: []site{{2, app + "/run-1.scope", everything}}, covers: everything}},
		"delegated in part, systemd has more": {v2(app + "/run-1.scope"), map[string]string{app + "/run-1.scope": "memory"}, []string{app + "/run-1.scope"}, everything,
			choice{scope: true, covers: everything}},
		"an ancestor is writable, but systemd owns the tree": {v2(app + "/a.scope"), map[string]string{app: "memory pids cpu"}, []string{app, app + "/a.scope"}, everything,
			choice{scope: true, covers: everything}},
		"an ancestor is writable, no systemd": {v2(root + "/a/b"), map[string]string{root + "/a": "memory pids cpu"}, []string{root + "/a", root + "/a/b"}, nil,
			choice{sites: []site{{2, root + "/a", everything}}, covers: everything}},
		"a container's root cgroup, nothing switched on": {v2(root), map[string]string{root: ""}, []string{root}, nil, choice{}},
		"enabled but not writable":                       {v2(root), map[string]string{root: "memory pids cpu"}, nil, nil, choice{}},
		"v1 as root": {v1("cpu", "memory", "pids"), nil, []string{root + "/cpu/x", root + "/memory/x", root + "/pids/x"}, nil,
			choice{sites: []site{{1, root + "/cpu/x", []string{"cpu"}}, {1, root + "/memory/x", []string{"memory"}}, {1, root + "/pids/x", []string{"pids"}}},
				covers: []string{"cpu", "memory", "pids"}}},
		"v1 as a user": {v1("cpu", "memory", "pids"), nil, nil, nil, choice{}},
		"v1, one of them": {v1("memory", "pids"), nil, []string{root + "/pids/x"}, nil,
			choice{sites: []site{{1, root + "/pids/x", []string{"pids"}}}, covers: []string{"pids"}}},
		"hybrid as root: the controllers are in v1": {append(v1("memory", "pids", "cpu"), hierarchy{version: 2, mount: root + "/unified", own: root + "/unified"}), nil,
			[]string{root + "/cpu/x", root + "/memory/x", root + "/pids/x", root + "/unified"}, []string{},
			choice{sites: []site{{1, root + "/memory/x", []string{"memory"}}, {1, root + "/pids/x", []string{"pids"}}, {1, root + "/cpu/x", []string{"cpu"}}}, covers: everything}},
		"nothing mounted": {nil, nil, nil, nil, choice{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := choose(everything, facts{
				hierarchies: c.hierarchies,
				enabled:     func(dir string) []string { return strings.Fields(c.enabled[dir]) },
				writable:    func(file string) bool { return slices.Contains(c.writable, strings.TrimSuffix(file, "/cgroup.procs")) },
				manager:     c.manager,
			})
			if d := cmp.Diff(c.want, got, cmp.AllowUnexported(choice{}, site{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestUnheldLimits(t *testing.T) {
	old := factFiles{"/proc/sys/kernel/osrelease": "5.10.0\n"}
	now := factFiles{"/proc/sys/kernel/osrelease": "6.1.0\n"}
	all := []Limit{explicit("memory", 1<<30), explicit("pids", 100), explicit("cpus", 2)}
	defaults := slices.Clone(all)
	for i := range defaults {
		defaults[i].Explicit = false
	}
	v1, v2 := facts{hierarchies: []hierarchy{{version: 1}}}, facts{hierarchies: []hierarchy{{version: 2}}}
	systemd := facts{hierarchies: []hierarchy{{version: 2}}, manager: []string{"memory", "pids"}}
	for name, c := range map[string]struct {
		limits   []Limit
		covers   string
		facts    facts
		files    factFiles
		uid      int
		allow    bool
		held     string
		degraded string
		unheld   string
		hint     string // of the error
	}{
		"all held":                            {all, "memory pids cpu", v2, now, 1000, false, "memory pids cpus", "", "", ""},
		"pids by rlimit":                      {all, "memory cpu", v2, now, 1000, false, "memory cpus", "", "", ""},
		"pids by rlimit, kernel too old":      {all, "memory cpu", v2, old, 1000, false, "", "", "", "enable-linger"},
		"pids by rlimit, root is exempt":      {all, "memory cpu", v2, now, 0, false, "", "", "", "container"},
		"defaults fall silently":              {defaults, "", v2, old, 1000, false, "", "", "memory,pids,cpus", ""},
		"asked for":                           {all, "", v1, now, 1000, false, "", "", "", "systemd.unified_cgroup_hierarchy=1"},
		"asked for, controller not delegated": {all, "memory pids", systemd, now, 1000, false, "", "", "", "Delegate=cpu"},
		"the user lets them fall":             {all, "pids", v2, now, 1000, true, "pids", "limits: memory,limits: cpus", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := &cgroup{}
			degraded, err := g.settle(c.limits, choice{covers: strings.Fields(c.covers)}, c.facts, &Host{UID: c.uid, User: "u", FS: c.files}, Identity{HostUID: c.uid}, c.allow)
			if c.hint != "" {
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Step != StepCgroup || !strings.Contains(e.Hint, c.hint) || !strings.Contains(e.Hint, "--allow-degraded limits") || !strings.Contains(e.Error(), "--limit") {
					t.Errorf("error = %v, want the hint %q", err, c.hint)
				}
				p := &Plan{Limits: slices.Clone(c.limits), Identity: Identity{HostUID: c.uid}}
				p.markLimits(choice{covers: strings.Fields(c.covers)}, c.facts, &Host{UID: c.uid, User: "u", FS: c.files})
				if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], e.Error()) || !strings.Contains(p.Notes[0], e.Hint) {
					t.Errorf("notes %q, want the error of a run", p.Notes)
				}
				return
			}
			p := &Plan{Limits: slices.Clone(c.limits), Identity: Identity{HostUID: c.uid}}
			if c.allow {
				p.Degraded = []string{"limits"}
			}
			p.markLimits(choice{covers: strings.Fields(c.covers)}, c.facts, &Host{UID: c.uid, User: "u", FS: c.files})
			var held, unmarked []string
			for _, l := range g.limits {
				held = append(held, l.Name)
			}
			for _, l := range p.Limits {
				if !l.Unenforced && !strings.HasSuffix(l.text(), "not enforceable here") && (l.Name != "pids" || g.counting) {
					unmarked = append(unmarked, l.Name)
				}
			}
			if !slices.Equal(held, unmarked) {
				t.Errorf("held %v, and the plan says %v", held, unmarked)
			}
			if err != nil || strings.Join(held, " ") != c.held || strings.Join(degraded, ",") != c.degraded || strings.Join(g.unheld, ",") != c.unheld {
				t.Errorf("held %v, degraded %v, unheld %v, %v", held, degraded, g.unheld, err)
			}
		})
	}
}

func TestKernelAtLeast(t *testing.T) {
	for release, want := range map[string]bool{"5.14.0": true, "5.13.19-x": false, "6.1.0-13-amd64": true, "4.19.0": false, "10.0": true, "x": false} {
		if got := kernelAtLeast(factFiles{"/proc/sys/kernel/osrelease": release}, 5, 14); got != want {
			t.Errorf("%s at least 5.14 = %v", release, got)
		}
	}
}
