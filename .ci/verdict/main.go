// Command verdict reads the events of `go test -json` and prints what a person wants of them: a line for each package, the whole
// output of each test that failed, each test that was skipped, and the counts. It exits 1 when a test failed, when none ran, and,
// with CI set in the environment, when one was skipped.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

type counts struct{ passed, failed, skipped int }

func main() {
	n, err := read(os.Stdin, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "verdict:", err)
		os.Exit(1)
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", n.passed, n.failed, n.skipped)
	if !n.good(os.Getenv("CI") != "") {
		os.Exit(1)
	}
}

func (n counts) good(ci bool) bool { return n.passed > 0 && n.failed == 0 && (n.skipped == 0 || !ci) }

func read(r io.Reader, w io.Writer) (n counts, err error) {
	said := map[string]*strings.Builder{} // by package and test, until its verdict is known
	in := bufio.NewScanner(r)
	in.Buffer(nil, 64<<20)
	for in.Scan() {
		var e event
		if json.Unmarshal(in.Bytes(), &e) != nil {
			fmt.Fprintln(w, in.Text()) // go itself spoke, not a test
			continue
		}
		key := e.Package + " " + e.Test
		switch {
		case e.Action == "build-output":
			fmt.Fprint(w, e.Output)
		case e.Action == "build-fail":
			n.failed++
		case e.Action == "output" && e.Test == "":
			// Of a package's own lines the closing one (ok, FAIL, a panic) is worth reading; PASS says nothing more.
			if strings.TrimSpace(e.Output) != "PASS" {
				fmt.Fprint(w, e.Output)
			}
		case e.Action == "output":
			if said[key] == nil {
				said[key] = new(strings.Builder)
			}
			said[key].WriteString(e.Output)
		case e.Test == "":
			if e.Action == "fail" {
				n.failed++ // also when no test of the package had its say: a panic, a time-out
			}
		case e.Action == "pass":
			n.passed++
			delete(said, key)
		case e.Action == "fail":
			n.failed++
			fmt.Fprintf(w, "--- %s %s (%.1fs)\n", e.Package, e.Test, e.Elapsed)
			if said[key] != nil {
				fmt.Fprint(w, said[key].String())
			}
			delete(said, key)
		case e.Action == "skip":
			n.skipped++
			fmt.Fprintf(w, "skipped: %s %s\n", e.Package, e.Test)
			if said[key] != nil {
				fmt.Fprint(w, said[key].String())
			}
			delete(said, key)
		}
	}
	// A test binary that died says neither pass nor fail for what was running: its last words are the clue.
	for key, words := range said {
		fmt.Fprintf(w, "--- %s had no verdict\n%s", key, words)
		n.failed++
	}
	return n, in.Err()
}
