package selftest

import (
	"os"
	"regexp"
	"testing"
)

// TestReadme: the README's summary has as many attempts as there are. Which of them a machine has no place for differs, their sum does not.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	number := func(pattern string) int {
		t.Helper()
		found := regexp.MustCompile(`(?m)^` + pattern).FindSubmatch(text)
		if found == nil {
			t.Fatalf("README.md has no line %q", pattern)
		}
		return atoi(string(found[1]))
	}
	counts, optional := map[string]int{}, 0
	for _, a := range catalogue() {
		counts[a.area]++
		if a.optional && a.area == kernel {
			optional++
		}
	}
	absent, all := number(`absent: (\d+), `), 0
	counts[kernel] -= absent // of a machine whose user has credentials
	for _, area := range []string{files, processes, kernel, network, door, terminal, sessions} {
		n := number(area + ` +(\d+) +0 +0$`)
		if n != counts[area] {
			t.Errorf("README.md says that %d of %s are stopped; there are %d", n, area, counts[area])
		}
		all += n
	}
	if n := number(`all +(\d+) +0 +0$`); n != all || absent > optional {
		t.Errorf("README.md's sum is %d, of its lines %d; %d absent of %d", n, all, absent, optional)
	}
}
