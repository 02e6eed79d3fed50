package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// everyWall is the first column of what no wall holds by itself.
const everyWall = "every"

// goTests are the packages that SECURITY.md may name tests of, by the names that it has for them.
var goTests = map[string]string{
	"agentjail": "cmd/agentjail", "egress": "netns/egress", "integration": "integration", "netns": "netns", "profiles": "profiles",
	"sandbox": "sandbox", "seccomp": "seccomp", "selftest": "sandbox/selftest",
}

var (
	wallOfDoc  = regexp.MustCompile(`(?m)^//   - ([^:]+):`)
	testOfRow  = regexp.MustCompile("`([^`]+)`")
	scriptName = regexp.MustCompile(`^[a-z]+/[a-z0-9_]+$`)
)

// walls are those of the list in sandbox/doc.go, without the packages that stand behind some in brackets.
func walls(doc string) (names []string) {
	_, section, _ := strings.Cut(doc, "// # Walls,")
	section, _, _ = strings.Cut(section, "// # ")
	for _, m := range wallOfDoc.FindAllStringSubmatch(section, -1) {
		name, _, _ := strings.Cut(m[1], " (")
		names = append(names, name)
	}
	return names
}

// unheld says what is wrong with the promises of SECURITY.md: a wall without one, one without a test, a test that is not there.
func unheld(security, doc string, exists func(test string) bool) (wrong []string) {
	_, table, _ := strings.Cut(security, "### What holds")
	table, _, _ = strings.Cut(table, "### ")
	known := append(walls(doc), everyWall)
	promised := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 3 || strings.TrimSpace(cells[0]) == "wall" {
			if strings.HasPrefix(line, "| ") && len(cells) != 3 {
				wrong = append(wrong, "not three cells: "+line)
			}
			continue
		}
		wall, promise := strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1])
		if !slices.Contains(known, wall) {
			wrong = append(wrong, fmt.Sprintf("%q is no wall of sandbox/doc.go", wall))
		}
		promised[wall] = true
		tests := testOfRow.FindAllStringSubmatch(cells[2], -1)
		if len(tests) == 0 {
			wrong = append(wrong, fmt.Sprintf("no test for %q", promise))
		}
		for _, test := range tests {
			if !exists(test[1]) {
				wrong = append(wrong, fmt.Sprintf("%s, which is to hold %q, does not exist", test[1], promise))
			}
		}
	}
	for _, wall := range known {
		if !promised[wall] {
			wrong = append(wrong, fmt.Sprintf("the wall %q has no promise", wall))
		}
	}
	return wrong
}

// exists says whether there is such a script or Go test.
func exists(test string) bool {
	if scriptName.MatchString(test) {
		_, err := os.Stat(filepath.Join("testdata", test+".txtar"))
		return err == nil
	}
	pkg, name, _ := strings.Cut(test, ".")
	dir, ok := goTests[pkg]
	if !ok || !strings.HasPrefix(name, "Test") {
		return false
	}
	files, err := filepath.Glob(filepath.Join("..", filepath.FromSlash(dir), "*_test.go"))
	return err == nil && slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)")
	})
}

// TestPromisesAreHeld: each promise of SECURITY.md has a test that is there, and each wall of sandbox/doc.go a promise.
func TestPromisesAreHeld(t *testing.T) {
	read := func(name string) string {
		t.Helper()
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	security, doc := read("../SECURITY.md"), read("../sandbox/doc.go")
	if got := walls(doc); len(got) < 8 {
		t.Errorf("sandbox/doc.go has the walls %q: is its list read right?", got)
	}
	for _, w := range unheld(security, doc, exists) {
		t.Error(w)
	}
	// The control: each way to break a promise is seen.
	const wall = "//   - limits: "
	for _, broken := range []struct{ what, security, doc, want string }{
		{"a test that is gone", strings.Replace(security, "`fs/home_is_hidden`", "`fs/home_is_gone`", 1), doc, "fs/home_is_gone, which"},
		{"a Go test that is gone", strings.Replace(security, "`egress.TestRebinding`", "`egress.TestRebind`", 1), doc, "egress.TestRebind, which"},
		{"a promise without a test", strings.Replace(security, "| limits | ", "| limits | We are good. | |\n| limits | ", 1), doc, `no test for "We are good."`},
		{"a wall without a promise", security, strings.Replace(doc, wall, "//   - moat: water.\n"+wall, 1), `the wall "moat"`},
		{"a wall that is gone", security, strings.Replace(doc, wall, "//     ", 1), `"limits" is no wall`},
	} {
		if wrong := unheld(broken.security, broken.doc, exists); len(wrong) != 1 || !strings.Contains(wrong[0], broken.want) {
			t.Errorf("%s: %q", broken.what, wrong)
		}
	}
}
