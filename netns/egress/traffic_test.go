package egress

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// How often the door is wrong: traffic with labels goes through the whole door, and what the servers saw is counted. The traffic is made
// from fixed seeds, so the figures are the same each time; integration/BENCHMARKS.md has them, and a test holds that it does.

// trial is one piece of traffic.
type trial struct {
	id string // stands in nothing else
	// act is what a client does. Of a benign one, nil says that it got what it wanted.
	act func(w *world) error
	// harm says of a hostile one whether it did what it is there for, by what got out or came in. Nil: somebody outside saw the id.
	harm func(seen []string) bool
}

// variant makes trials that differ in what does not matter.
type variant struct {
	name string
	// wrong says why the door lets it pass (of a hostile one) or refuses it (of a benign one), where that is known.
	wrong string
	make  func(r *rand.Rand, id string) trial
}

// class is traffic of one kind, under one policy of trafficPolicy.
type class struct {
	name, policy string
	hostile      bool
	variants     []variant
}

// perVariant is how many trials there are of each variant.
const perVariant = 6

// result is what became of a variant's trials.
type result struct {
	variant
	class  *class
	passed int
}

// trials makes a class's traffic. The seed is the class's place, so a new class changes no other.
func (c *class) trials(seed uint64) (list [][]trial) {
	r := rand.New(rand.NewPCG(seed, 5))
	for _, v := range c.variants {
		var of []trial
		for range perVariant {
			of = append(of, v.make(r, lettersOf(r, 16)))
		}
		list = append(list, of)
	}
	return list
}

func lettersOf(r *rand.Rand, n int) string {
	out := make([]byte, n)
	for i := range out {
		out[i] = lowers[r.IntN(len(lowers))]
	}
	return string(out)
}

// run puts the trials into a world, some at once, and says for each what its client said, and what was seen outside.
func run(t *testing.T, w *world, list [][]trial) (errs [][]error, seen []string) {
	var all sync.WaitGroup
	places := make(chan struct{}, 8)
	errs = make([][]error, len(list))
	for i := range list {
		errs[i] = make([]error, len(list[i]))
		for j := range list[i] {
			places <- struct{}{}
			all.Go(func() {
				defer func() { <-places }()
				errs[i][j] = list[i][j].act(w)
			})
		}
	}
	all.Wait()
	return errs, w.close(t)
}

// done says whether a hostile trial did what it is there for.
func (tr *trial) done(seen []string) bool {
	if tr.harm != nil {
		return tr.harm(seen)
	}
	return slices.ContainsFunc(seen, func(s string) bool { return strings.Contains(s, tr.id) })
}

// leaked is the harm of one request that has payload in it, behind the id in its target.
func leaked(id, payload string) func([]string) bool {
	return func(seen []string) bool {
		return slices.ContainsFunc(seen, func(s string) bool {
			return strings.HasPrefix(s, "request ") && strings.Contains(s, id) && strings.Contains(s, payload)
		})
	}
}

// arrived is the harm of an answer that has said in it.
func arrived(id, said string) func([]string) bool {
	return func(seen []string) bool {
		return slices.ContainsFunc(seen, func(s string) bool {
			return strings.HasPrefix(s, "client "+id) && (strings.Contains(s, said) || strings.Contains(s, "\n"+http.CanonicalHeaderKey(said)+":"))
		})
	}
}

// measure counts what passes of a class. The control holds that hostile traffic does its harm where there is no door, and that benign
// traffic works there: what fails by itself measures nothing.
func measure(t *testing.T, c *class, seed uint64) (list []result) {
	t.Helper()
	var out [2][][]bool
	for i, policy := range []*Policy{trafficPolicy(), nil} {
		trials := c.trials(seed)
		errs, seen := run(t, newWorld(t, policy), trials)
		for j := range trials {
			out[i] = append(out[i], make([]bool, len(trials[j])))
			for k := range trials[j] {
				if out[i][j][k] = errs[j][k] == nil; c.hostile {
					out[i][j][k] = trials[j][k].done(seen)
				}
				if policy == nil && !out[i][j][k] {
					t.Errorf("control: %s: %s: nothing got out without a door: %v", c.name, c.variants[j].name, errs[j][k])
				}
				if wrong := out[i][j][k] == c.hostile; policy != nil && wrong && c.variants[j].wrong == "" {
					t.Errorf("%s: %s: wrong, and nobody said that it would be: %v", c.name, c.variants[j].name, errs[j][k])
				}
			}
		}
	}
	for j, v := range c.variants {
		n := 0
		for _, passed := range out[0][j] {
			if passed {
				n++
			}
		}
		if right := (n == 0) == c.hostile; v.wrong != "" && right {
			t.Errorf("%s: %s: is right by now: take out the reason why it is not", c.name, v.name)
		}
		list = append(list, result{v, c, n})
	}
	return list
}

// matrix is the table of the documents.
func matrix(results []result) string {
	var b strings.Builder
	type sums struct{ n, passed int }
	var classes []*class
	of := map[*class]sums{}
	total := map[bool]sums{}
	for _, r := range results {
		if !slices.Contains(classes, r.class) {
			classes = append(classes, r.class)
		}
		s, all := of[r.class], total[r.class.hostile]
		of[r.class] = sums{s.n + perVariant, s.passed + r.passed}
		total[r.class.hostile] = sums{all.n + perVariant, all.passed + r.passed}
	}
	for _, hostile := range []bool{false, true} {
		said, wrong := "benign", "refused, wrongly"
		if hostile {
			said, wrong = "hostile", "passed, wrongly"
		}
		fmt.Fprintf(&b, "| %s | judged by | tried | passed | refused | %s |\n|---|---|---:|---:|---:|---:|\n", said, wrong)
		row := func(name, policy string, s sums) {
			bad := s.n - s.passed
			if hostile {
				bad = s.passed
			}
			fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %.1f %% |\n", name, policy, s.n, s.passed, s.n-s.passed, 100*float64(bad)/float64(s.n))
		}
		for _, c := range classes {
			if c.hostile == hostile {
				row(c.name, c.policy, of[c])
			}
		}
		row("**all**", "", total[hostile])
		b.WriteString("\n")
	}
	for _, hostile := range []bool{true, false} {
		b.WriteString(map[bool]string{true: "What passes and should not, by name:\n\n", false: "\nWhat is refused and should not be:\n\n"}[hostile])
		for _, r := range results {
			if bad := r.passed; r.class.hostile == hostile {
				if !hostile {
					bad = perVariant - r.passed
				}
				if bad > 0 {
					fmt.Fprintf(&b, "- %s: %s (%d of %d): %s\n", r.class.name, r.name, bad, perVariant, r.wrong)
				}
			}
		}
	}
	return b.String()
}

var (
	printMisses  = flag.Bool("misses", false, "print the table of TestMisses")
	updateMisses = flag.Bool("update-misses", false, "write it into the document")
)

// TestMisses holds what the door lets pass and refuses, and that the document says so. With -misses it prints the table: make bench-door.
func TestMisses(t *testing.T) {
	var results []result
	for i, c := range slices.Concat(benignTraffic(), hostileTraffic(), hostileContent()) {
		t.Run(strings.ReplaceAll(c.name, "/", "|"), func(t *testing.T) { results = append(results, measure(t, c, uint64(i))...) })
	}
	if t.Failed() {
		return
	}
	table := matrix(results)
	if *printMisses {
		fmt.Print(table)
	}
	const begin, end = "<!-- made by make bench-door: begin -->\n", "<!-- end -->\n"
	name := filepath.Join("..", "..", "integration", "BENCHMARKS.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	said, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", name)
	}
	if *updateMisses {
		if err := os.WriteFile(name, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if said != table {
		t.Errorf("%s is not what was measured; write it with: go test ./netns/egress -run TestMisses -update-misses\n%s", name, table)
	}
}
