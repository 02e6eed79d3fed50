package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestUnifiedDirectory acts on a directory that looks like cgroup v2: what would be written, and what the counters say.
func TestUnifiedDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"memory.max", "pids.max", "cpu.max", "cgroup.procs", "memory.events", "pids.events"} { // no memory.swap.max: built without swap
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d := cgroupDir{path: dir, version: 2, controllers: []string{"memory", "pids", "cpu"}}
	limits := []Limit{explicit("memory", 1<<30), explicit("pids", 100), {Name: "cpus", CPUs: 1.5}, explicit("files", 10)}
	if err := d.create(limits); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create what exists = %v: another session's directory must not be taken over", err)
	}
	if err := errors.Join(d.set(limits), d.add(4711)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"memory.max": "1073741824", "pids.max": "132", "cpu.max": "150000 100000", "cgroup.procs": "4711"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s = %q, %v, want %q", name, b, err, want)
		}
	}
	if hit := d.hit(); hit != nil {
		t.Errorf("hit = %v with empty counters", hit)
	}
	os.WriteFile(filepath.Join(dir, "memory.events"), []byte("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n"), 0o644)
	os.WriteFile(filepath.Join(dir, "pids.events"), []byte("max 0\n"), 0o644)
	if hit := d.hit(); !slices.Equal(hit, []string{"memory"}) {
		t.Errorf("hit = %v", hit)
	}
	os.Remove(filepath.Join(dir, "cpu.max"))
	if err := d.set(limits); err == nil || !strings.Contains(err.Error(), "limit cpus") {
		t.Errorf("a limit that could not be set = %v", err)
	}
}

func TestForeignDirectoryIsLeftAlone(t *testing.T) {
	parent := t.TempDir()
	taken := filepath.Join(parent, "agentjail-x")
	if err := os.Mkdir(taken, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &cgroup{limits: []Limit{explicit("pids", 10)}}
	if err := c.makeDirs([]site{{2, parent, []string{"pids"}}}, "agentjail-x"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("make = %v", err)
	}
	if _, err := os.Stat(taken); err != nil {
		t.Errorf("somebody else's directory was removed: %v", err)
	}
}

// TestTighterParent: cgroup v1 refuses a share that is larger than the parent's, which holds anyway.
func TestTighterParent(t *testing.T) {
	outer := held(t, Limit{Name: "cpus", CPUs: 0.5, Explicit: true, Why: "--limit"})
	if outer == nil || len(outer.dirs) == 0 || outer.dirs[0].version != 1 {
		return
	}
	inner := cgroupDir{path: outer.dirs[0].path + "/inner", version: 1, controllers: []string{"cpu"}}
	if err := inner.create([]Limit{{Name: "cpus", CPUs: 2}}); err != nil {
		t.Errorf("two cpus below half a one: %v", err)
	}
	gone(t, outer)
}
