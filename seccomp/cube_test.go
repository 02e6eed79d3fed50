package seccomp

import (
	"math/rand/v2"
	"testing"
)

// TestDisjoint makes up clauses over few bits, so that they overlap, contain and contradict each other, and compares the cubes
// with the clauses for every value: each call in at most one cube, with the verdict of the first clause that fits.
func TestDisjoint(t *testing.T) {
	const bits = 4 // of each of two arguments
	random := rand.New(rand.NewPCG(5, 6))
	overlaps := 0
	for range 2000 {
		var clauses []clause
		for range 1 + random.IntN(6) {
			c := clause{then: []verdict{allow, eperm, enosys}[random.IntN(3)]}
			for range random.IntN(4) {
				mask := random.Uint32N(1 << bits)
				c.when = append(c.when, match{random.IntN(2), mask, mask & random.Uint32N(1<<bits)})
			}
			clauses = append(clauses, c)
		}
		cubes := disjoint(clauses)
		for v := range uint64(1) << (2 * bits) {
			args := [6]uint64{v & (1<<bits - 1), v >> bits}
			got, hits := enosys, 0
			for _, c := range cubes {
				if uint32(args[0])&c.mask[0] == c.value[0] && uint32(args[1])&c.mask[1] == c.value[1] {
					got, hits = c.then, hits+1
				}
			}
			want := decide([]rule{{names: []string{"x"}, clauses: clauses}}, "x", args)
			if got != want || hits > 1 {
				t.Fatalf("%v at %#x: %d cubes say %d, the clauses %d", clauses, args[:2], hits, got, want)
			}
		}
		if len(cubes) > len(clauses) {
			overlaps++
		}
	}
	if overlaps < 200 {
		t.Errorf("only %d of the made-up lists had anything to cut", overlaps)
	}
}
