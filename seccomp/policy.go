package seccomp

import "syscall"

// A verdict is what a call gets: 0 lets it through to the kernel, anything else is the errno it answers without being made.
type verdict syscall.Errno

const (
	allow verdict = 0
	eperm         = verdict(syscall.EPERM)
	// enosys is what a call answers that no rule names. Programs and C libraries take it for an older kernel and fall back,
	// which EPERM would not make them do.
	enosys = verdict(syscall.ENOSYS)
)

// A match holds when the bits of mask in argument arg (0 to 5) equal those in value. Only the low 32 bits of an argument are
// looked at: the kernel reads each argument that the policy judges as an int, so a rule that compared all 64 would be passed
// by a value with a high bit set that the kernel then throws away (CVE-2019-10063).
type match struct {
	arg         int
	mask, value uint32
}

// is holds when argument arg, as a 32-bit integer, is value.
func is(arg int, value uint32) match { return match{arg, ^uint32(0), value} }

// under holds when argument arg, as a 32-bit integer, is at least 0 and less than bound, a power of two. A refusal that has it
// leaves the numbers nobody uses to the default: one that has to hold for all of them costs a rule for each bit.
func under(arg int, bound uint32) match { return match{arg, ^(bound - 1), 0} }

// A clause gives its verdict to a call for which every match holds; with none, to every call.
type clause struct {
	when []match
	then verdict
}

// A rule judges the system calls in names. The first clause that fits decides; where none does, the verdict is enosys.
type rule struct {
	names   []string
	clauses []clause
	why     string
}

// always is the clause list of a rule that does not look at arguments.
func always(v verdict) []clause { return []clause{{then: v}} }

// basePolicy is what every jail has: what ordinary programs need, what is refused loudly, and the calls that are judged by
// their arguments. No name stands in it twice.
func basePolicy() []rule {
	var policy []rule
	policy = append(policy, allowedCalls()...)
	policy = append(policy, judgedCalls()...)
	policy = append(policy, setIDCalls()...)
	return append(policy, refusedCalls()...)
}

// policyFor is the base policy with groups on top. A group's clauses are asked before those of the base; what one allows no other
// refuses, so the order of groups does not matter.
func policyFor(groups []string) ([]rule, error) {
	policy := basePolicy()
	for _, name := range groups {
		g, err := findGroup(name)
		if err != nil {
			return nil, err
		}
		for _, r := range g.rules {
			policy = overlay(policy, r)
		}
	}
	return policy, nil
}

// overlay puts the clauses of r before those that policy has for the same names.
func overlay(policy []rule, r rule) []rule {
	for _, name := range r.names {
		top := rule{names: []string{name}, clauses: r.clauses, why: r.why}
		rest := make([]rule, 0, len(policy)+1)
		for _, old := range policy {
			var keep []string
			for _, n := range old.names {
				if n != name {
					keep = append(keep, n)
					continue
				}
				top.clauses = append(append([]clause{}, r.clauses...), old.clauses...)
			}
			if len(keep) > 0 {
				rest = append(rest, rule{keep, old.clauses, old.why})
			}
		}
		policy = append(rest, top)
	}
	return policy
}
