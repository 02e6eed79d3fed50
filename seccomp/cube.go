package seccomp

import (
	"math/bits"
	"slices"
)

// A cube is a set of calls: those whose arguments have, in the low 32 bits, value's bits wherever mask has a one. Where mask has
// a zero, any bit will do. value has no bit outside mask.
type cube struct {
	mask, value [6]uint32
}

// cubeOf is the set for which every match holds; empty (false) when two of them contradict each other.
func cubeOf(when []match) (cube, bool) {
	var c cube
	for _, m := range when {
		if both := c.mask[m.arg] & m.mask; c.value[m.arg]&both != m.value&both {
			return cube{}, false
		}
		c.mask[m.arg] |= m.mask
		c.value[m.arg] |= m.value & m.mask
	}
	return c, true
}

// minus appends to out what is left of c without the calls in d, as disjoint cubes: one for each bit that d fixes and c leaves
// open, which has that bit the other way round and the bits before it as in d.
func (c cube) minus(d cube, out []cube) []cube {
	for arg := range c.mask {
		if both := c.mask[arg] & d.mask[arg]; c.value[arg]&both != d.value[arg]&both {
			return append(out, c) // nothing in common
		}
	}
	for arg := range c.mask {
		// From the highest bit down: the small numbers of a list then share the pieces above them.
		for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
			if d.mask[arg]&^c.mask[arg]&bit == 0 {
				continue
			}
			piece := c
			piece.mask[arg] |= bit
			piece.value[arg] |= ^d.value[arg] & bit
			out = append(out, piece)

			c.mask[arg] |= bit
			c.value[arg] |= d.value[arg] & bit
		}
	}
	return out
}

// fixed is the number of bits that c fixes.
func (c cube) fixed() int {
	n := 0
	for _, m := range c.mask {
		n += bits.OnesCount32(m)
	}
	return n
}

// A judged cube is one libseccomp rule.
type judged struct {
	cube
	then verdict
}

// disjoint turns clauses, of which the first that fits decides, into cubes that have no call in common, so that the order in
// which they are asked does not matter. libseccomp needs that: it keeps an order of its own, and it drops every rule with
// arguments when it is given one for the same call without. Clauses with the verdict enosys, the default, leave nothing.
func disjoint(clauses []clause) []judged {
	var result []judged
	var before []cube
	for _, cl := range clauses {
		c, ok := cubeOf(cl.when)
		if !ok {
			continue
		}
		left := []cube{c}
		for _, b := range before {
			var next []cube
			for _, l := range left {
				next = l.minus(b, next)
			}
			left = next
		}
		before = append(before, c)
		// The widest first: it leaves the fewest pieces for the others to be cut out of.
		slices.SortStableFunc(before, func(a, b cube) int { return a.fixed() - b.fixed() })
		if cl.then == enosys {
			continue
		}
		for _, l := range left {
			result = append(result, judged{l, cl.then})
		}
	}
	return result
}
