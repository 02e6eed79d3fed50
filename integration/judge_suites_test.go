package integration

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A deviation is a test of Go's own that ends in another way in a jail, and why.
type deviation struct {
	test   string // PACKAGE.TEST, of a subtest with its slashes
	jailed string // PASS, FAIL, SKIP, or "" where the test is not reached
	why    string
	host   bool // on some hosts it ends in that way by itself
}

// TestRealSuites runs the tests of those packages of Go's standard library that ask most of a kernel, outside and in a jail: the same ones
// must pass, fail and be skipped. judge_soak_test.go has those that take long, or hang on a busy machine, on either side.
func TestRealSuites(t *testing.T) {
	realSuites(t, []string{"io/fs", "os", "os/signal", "path/filepath"}, nil)
}

// realSuites compares how the tests of packages end on either side, but for the deviations. A test that differs is asked again, since some
// of them watch the clock and machines are busy.
func realSuites(t *testing.T, packages []string, list []deviation) {
	if os.Getuid() == 0 {
		return // what root may do anyway these tests do; the ordinary user's part has run them
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	src := filepath.Join(strings.TrimSpace(string(goroot)), "src")
	project := filepath.Join(t.TempDir(), "project")
	for _, dir := range append([]string{"testdata"}, packages...) { // beside one another, for some look into ../testdata
		if _, err := os.Stat(filepath.Join(project, "src", dir)); err == nil {
			continue // came along with the package above it
		}
		if err := os.CopyFS(filepath.Join(project, "src", dir), os.DirFS(filepath.Join(src, dir))); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range packages {
		build := exec.Command("go", "test", "-c", "-o", filepath.Join(project, "bin", strings.ReplaceAll(p, "/", "_")), p)
		build.Env = append(os.Environ(), "GOFLAGS=", "GOTOOLCHAIN=local", "CGO_ENABLED=0") // with cgo it takes twice as long
		if said, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", p, err, said)
		}
	}
	met := map[string]bool{}
	for _, p := range packages {
		outside, inside := suite(t, project, p, false, ""), suite(t, project, p, true, "")
		if len(outside) < 10 {
			t.Fatalf("%s: %d tests outside", p, len(outside))
		}
		for range 2 {
			again := slices.Collect(maps.Keys(differing(outside, inside, p, list)))
			if len(again) == 0 {
				break
			}
			run := topLevel(again)
			maps.Copy(outside, suite(t, project, p, false, run))
			maps.Copy(inside, suite(t, project, p, true, run))
		}
		for name, how := range differing(outside, inside, p, list) {
			t.Errorf("%s.%s: %s", p, name, how)
		}
		for _, d := range list {
			if name, ok := strings.CutPrefix(d.test, p+"."); ok && (d.host || outside[name] != inside[name]) {
				met[d.test] = true
			}
		}
		t.Logf("%s: %d tests outside, %d inside", p, len(outside), len(inside))
	}
	for _, d := range list {
		if !met[d.test] {
			t.Errorf("%s: listed (%s), and it ends in the same way on either side", d.test, d.why)
		}
	}
}

// differing gives the tests that end in two ways, but for those that the list says.
func differing(outside, inside map[string]string, pkg string, list []deviation) map[string]string {
	found := map[string]string{}
	for _, results := range []map[string]string{outside, inside} {
		for name := range results {
			listed := slices.ContainsFunc(list, func(d deviation) bool { return d.test == pkg+"."+name && d.jailed == inside[name] })
			if outside[name] != inside[name] && !listed {
				found[name] = fmt.Sprintf("%q outside, %q inside", outside[name], inside[name])
			}
		}
	}
	return found
}

func topLevel(names []string) string {
	var tops []string
	for _, name := range names {
		top, _, _ := strings.Cut(name, "/")
		tops = append(tops, regexp.QuoteMeta(top))
	}
	slices.Sort(tops)
	return "^(" + strings.Join(slices.Compact(tops), "|") + ")$"
}

// tooLong builds a program first, for which a jail has no cache.
const tooLong = "^TestExecutableDeleted$"

// verdict is a line of a test binary under -test.v=test2json.
var verdict = regexp.MustCompile(`(?m)\x16\s*--- (PASS|FAIL|SKIP): (\S+) \(`)

// suite runs the tests of a package and says how each ended. A shell stands between, on either side: what a jail starts leads a session,
// and a leader that opens a terminal has it for its own and is hung up on.
func suite(t *testing.T, project, pkg string, jailed bool, run string) map[string]string {
	t.Helper()
	binary := filepath.Join(project, "bin", strings.ReplaceAll(pkg, "/", "_"))
	argv := []string{"sh", "-c", `cd "$0" && "$@"; exit $?`, filepath.Join(project, "src", pkg), binary,
		"-test.v=test2json", "-test.short", "-test.timeout=5m", "-test.run=" + run, "-test.skip=" + tooLong}
	dirs := map[string]string{}
	for _, name := range []string{"home", "state", "config"} {
		dirs[name] = filepath.Join(filepath.Dir(project), name)
		if err := os.MkdirAll(dirs[name], 0o700); err != nil {
			t.Fatal(err)
		}
	}
	path, err := searchPath(filepath.Join(project, "bin"))
	if err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp("/tmp", "suite") // as short as in a jail: a socket's path has 108 bytes (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if jailed {
		argv = append([]string{os.Getenv("AGENTJAIL_BIN"), "--project", project, "--"}, argv...)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = []string{"HOME=" + dirs["home"], "TMPDIR=" + tmp, "PATH=" + path, "LANG=C.UTF-8", "SHELL=/bin/sh",
		"USER=tester", "LOGNAME=tester", "XDG_STATE_HOME=" + dirs["state"], "XDG_CONFIG_HOME=" + dirs["config"]}
	cmd.Dir = project
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := ended(cmd.Run()); err != nil {
		t.Fatal(err)
	}
	results := map[string]string{}
	for _, line := range verdict.FindAllSubmatch(out.Bytes(), -1) {
		results[string(line[2])] = string(line[1])
	}
	if code := cmd.ProcessState.ExitCode(); code > 1 {
		t.Errorf("%s, jailed %v: exit status %d\n%s", pkg, jailed, code, out.Bytes()[max(0, out.Len()-2000):])
	}
	return results
}
