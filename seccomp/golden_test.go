package seccomp

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestPolicyGolden keeps the whole policy as text, a call a line, so that a review of a change sees what it means and not only
// where the table was edited. Run with -update after a change that is meant.
func TestPolicyGolden(t *testing.T) {
	var text strings.Builder
	text.WriteString("# The first line that fits decides; every other call answers ENOSYS.\n")
	dump(&text, "base", basePolicy())
	for _, g := range Groups() {
		dump(&text, "group "+g.Name+": "+g.Doc, g.rules)
	}
	file := filepath.Join("testdata", "policy.txt")
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("the policy has changed (-want +got); if it is meant, run go test ./seccomp -update\n%s", diff)
	}
}

var update = flag.Bool("update", false, "rewrite the golden files")

func dump(w *strings.Builder, title string, policy []rule) {
	fmt.Fprintf(w, "\n# %s\n", title)
	var lines []string
	for _, r := range policy {
		for _, name := range r.names {
			var line strings.Builder
			for i, c := range r.clauses {
				// The clauses of one call keep their order: i sorts them.
				fmt.Fprintf(&line, "%s\x00%02d\x00%s\n", name, i, c)
			}
			lines = append(lines, line.String())
		}
	}
	slices.Sort(lines)
	for line := range strings.Lines(strings.Join(lines, "")) {
		name, rest, _ := strings.Cut(line, "\x00")
		_, text, _ := strings.Cut(rest, "\x00")
		fmt.Fprintf(w, "%-24s %s", name, text)
	}
}

func (c clause) String() string {
	var s strings.Builder
	if c.then == allow {
		s.WriteString("allow")
	} else {
		s.WriteString(unix.ErrnoName(syscall.Errno(c.then)))
	}
	for _, m := range c.when {
		if m.mask == ^uint32(0) {
			fmt.Fprintf(&s, " arg%d=%#x", m.arg, m.value)
		} else {
			fmt.Fprintf(&s, " arg%d&%#x=%#x", m.arg, m.mask, m.value)
		}
	}
	return s.String()
}
