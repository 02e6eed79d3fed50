package selftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/integration/leaktest"
	"github.com/agentjail/agentjail/sandbox"
)

// TestMain makes the test binary what the real one is: the launcher of a jail, its gateway, and the command of a test's jails. wrapped is for
// attempts that meet no wall at all.
func TestMain(m *testing.M) {
	sandbox.Reexec()
	Reexec()
	switch os.Args[0] {
	case "agentjail":
		os.Exit(launcher())
	case "wrapped":
		os.Exit(wrapped())
	}
	os.Exit(leaktest.Run(m))
}

// options are those of a test whose jails lie in a directory of its own. It must be reachable for the user that the jail has.
func options(t *testing.T) (Options, string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	home := t.TempDir()
	if err := put(filepath.Join(home, ".netrc"), "not to be read"); err != nil {
		t.Fatal(err)
	}
	return Options{ConfigHome: filepath.Join(dir, "config"), Homes: []string{home}}, dir
}

// by gives the names of a report's attempts with a result.
func by(r *Report, result string) []string {
	names := []string{}
	for _, a := range r.Attempts {
		if a.Result == result {
			names = append(names, a.Name)
		}
	}
	slices.Sort(names)
	return names
}

func told(r *Report, results ...string) string {
	var b strings.Builder
	for _, a := range r.Attempts {
		if slices.Contains(results, a.Result) {
			fmt.Fprintf(&b, "\n%s/%s: %s; control %s; %s", a.Area, a.Name, a.Result, a.Control, a.Detail)
		}
	}
	return b.String()
}

// TestHolds: a jail stops everything, and nothing of the test stays.
func TestHolds(t *testing.T) {
	o, dir := options(t)
	before := leftovers(t)
	steps := 0
	o.Progress = func(done, of int) { steps = done }
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Holds() {
		t.Error("not everything was stopped:", told(r, Escaped, Inconclusive))
	}
	areas := r.Areas()
	if len(r.Attempts) < 80 || len(areas) != 7 || steps != 2*len(r.Attempts) {
		t.Errorf("%d attempts in %d areas, progress to %d", len(r.Attempts), len(areas), steps)
	}
	left(t, dir, before)
}

// TestHoles: where a wall is missing, its attempts escape, and no other.
func TestHoles(t *testing.T) {
	for name, h := range holes {
		t.Run(name, func(t *testing.T) {
			o, _ := options(t)
			t.Setenv(holeVariable, name)
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Sorted(slices.Values(h.want))
			if got := by(r, Escaped); !slices.Equal(got, want) {
				t.Errorf("escaped\n%q\nwant\n%q%s", got, want, told(r, Inconclusive))
			}
			if r.Holds() {
				t.Error("the report says that the jail holds")
			}
		})
	}
}

// TestNoWalls: with no jail at all everything escapes whose control is outside of one, and as root of a user namespace the rest. What is
// about names that only a door knows is TestHoles'.
func TestNoWalls(t *testing.T) {
	for control, argv := range map[string][]string{outside: nil, namespace: {"/proc/self/exe"}} {
		t.Run(control, func(t *testing.T) {
			o, _ := options(t)
			o.only = func(a attempt) bool { return a.control == control && a.area != door }
			o.launch = func(flags []string) []string {
				command := flags[slices.Index(flags, "--")+1:]
				switch {
				case command[1] != roleAttack:
					return append([]string{"agentjail", "run", "--quiet"}, flags...)
				case argv == nil:
					return command
				}
				return append([]string{"wrapped"}, command...)
			}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Escaped+r.Absent != len(r.Attempts) || r.Escaped < 50 {
				t.Errorf("%d of %d escaped; not: %s", r.Escaped, len(r.Attempts), told(r, Stopped, Inconclusive))
			}
		})
	}
}

// TestControlFails: an attempt that cannot succeed anywhere proves nothing.
func TestControlFails(t *testing.T) {
	o, _ := options(t)
	o.launch = func(flags []string) []string { return append([]string{"agentjail", "run", "--quiet"}, flags...) }
	g, err := plant()
	if err != nil {
		t.Fatal(err)
	}
	defer g.undo.run()
	for _, p := range g.server.packets {
		p.Close()
	}
	if err := os.Remove(g.shared.VarTemp); err != nil {
		t.Fatal(err)
	}
	r, err := run(t.Context(), o, g)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"agent-socket-datagram", "host-loopback-udp", "host-var-tmp"}
	if got := by(r, Inconclusive); !slices.Equal(got, want) || r.Holds() || r.Inconclusive != len(want) {
		t.Errorf("inconclusive are %q, want %q%s", got, want, told(r, Inconclusive))
	}
}

// TestNoJail: a jail that does not start is an error that says why.
func TestNoJail(t *testing.T) {
	o, _ := options(t)
	o.Profiles = []string{"no-such-profile"}
	_, err := Run(t.Context(), o)
	if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Error(), "no-such-profile") {
		t.Errorf("the error is %v", err)
	}
}

// TestCancelled: whoever ends the test in the middle finds nothing of it.
func TestCancelled(t *testing.T) {
	for _, at := range []int{1, 300} { // by then every runner has answered something
		t.Run(fmt.Sprint(at), func(t *testing.T) { cancelled(t, at) })
	}
}

func cancelled(t *testing.T, at int) {
	o, dir := options(t)
	before := leftovers(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	o.Progress = func(done, of int) {
		if done == at {
			cancel(enough)
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, enough) {
		t.Errorf("the error is %v", err)
	}
	left(t, dir, before)
}

// leftovers are the objects of the test's user that have a life of their own.
func leftovers(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, name := range []string{"shm", "msg", "sem"} {
		table, err := os.ReadFile("/proc/sysvipc/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(string(table)) {
			if fields := strings.Fields(l); len(fields) > 2 {
				all = append(all, name+" "+fields[0]+" "+fields[1])
			}
		}
	}
	for _, pattern := range []string{"/dev/shm/" + Name + "*", "/var/tmp/" + Name + "*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

// left looks for what a test has left: in its directory, beside it, and processes that know the directory.
func left(t *testing.T, dir string, before []string) {
	t.Helper()
	for _, l := range leftovers(t) {
		if !slices.Contains(before, l) {
			t.Errorf("%s is left", l)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("%s holds %v (%v)", dir, entries, err)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lines {
		if line, err := os.ReadFile(name); err == nil && strings.Contains(string(line), dir) {
			t.Errorf("%s is left: %q", name, line[:min(len(line), 200)])
		}
	}
}
