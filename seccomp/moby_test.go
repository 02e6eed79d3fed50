package seccomp

import (
	"math/rand/v2"
	"slices"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// An exception is a call that we let through and moby's default profile does not, for a container without capabilities.
type exception struct {
	group string // "" is the base policy
	name  string
	why   string
	when  []match // the arguments it is for; empty: all
}

func exceptions() []exception {
	return []exception{
		{"", "personality", "ADDR_NO_RANDOMIZE alone: without it ThreadSanitizer gives up where mmap_rnd_bits is above 28", []match{is(0, addrNoRandomize)}},
		{"nested", "clone", "namespaces are what the group is for; moby lets them through with CAP_SYS_ADMIN", nil},
		{"nested", "unshare", "namespaces are what the group is for; moby lets them through with CAP_SYS_ADMIN", nil},
		{"nested", "chroot", "a process has CAP_SYS_CHROOT in the user namespace it makes; moby asks for it at the start", nil},
	}
}

// TestSubsetOfMoby holds the policy against the profile that most containers in the world run under: nothing may be let through
// that it refuses, argument by argument, unless it stands in the list above; and nothing may stand there in vain.
func TestSubsetOfMoby(t *testing.T) {
	used := map[string]bool{}
	for _, m := range machines() {
		for _, groups := range choices() {
			policy, err := policyFor(groups)
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(3, 4))
			for _, r := range policy {
				for _, name := range r.names {
					if number, err := libseccomp.GetSyscallFromNameByArch(name, m.token); err == nil && number < 0 {
						continue // this architecture has no such call
					}
					for _, args := range append(probes(policy, name, random), mobyProbes(name)...) {
						args = low(args)
						if decide(policy, name, args) != allow || mobyAllows(m.name, name, args) {
							continue
						}
						e, ok := excuse(groups, name, args)
						if !ok {
							t.Fatalf("%s %v: %s with %#x is let through, and moby refuses it", m.name, groups, name, args)
						}
						used[e.group+e.name] = true
					}
				}
			}
		}
	}
	for _, e := range exceptions() {
		if !used[e.group+e.name] {
			t.Errorf("exception %s %q is not needed", e.name, e.group)
		}
	}
}

// excuse finds the exception that a call comes under.
func excuse(groups []string, name string, args [6]uint64) (exception, bool) {
	for _, e := range exceptions() {
		if e.group != "" && !slices.Contains(groups, e.group) {
			continue
		}
		except := rule{names: []string{e.name}, clauses: []clause{{e.when, allow}}}
		if decide([]rule{except}, name, args) == allow {
			return e, true
		}
	}
	return exception{}, false
}

// low keeps of each argument what the kernel looks at; moby's rules compare all 64 bits.
func low(args [6]uint64) [6]uint64 {
	for i := range args {
		args[i] = uint64(uint32(args[i]))
	}
	return args
}

// mobyProbes are argument lists at the values that moby's rules name.
func mobyProbes(name string) [][6]uint64 {
	var result [][6]uint64
	for _, s := range moby.DefaultProfile().Syscalls {
		if !slices.Contains(s.Names, name) {
			continue
		}
		for _, a := range s.Args {
			for _, v := range []uint64{a.Value - 1, a.Value, a.Value + 1, a.ValueTwo} {
				var args [6]uint64
				args[a.Index] = v
				result = append(result, args)
			}
		}
	}
	return result
}

// mobyAllows says whether moby's default profile lets a call through on arch for a container without any capability.
func mobyAllows(arch, name string, args [6]uint64) bool {
	for _, s := range moby.DefaultProfile().Syscalls {
		in, out := s.Includes, s.Excludes
		switch {
		case s.Action != specs.ActAllow || !slices.Contains(s.Names, name):
		case in != nil && len(in.Caps) > 0: // only with a capability
		case in != nil && len(in.Arches) > 0 && !slices.Contains(in.Arches, arch):
		case out != nil && slices.Contains(out.Arches, arch):
		case all(s.Args, func(a specs.LinuxSeccompArg) bool { return mobyMatch(a, args[a.Index]) }):
			return true
		}
	}
	return false
}

func all[T any](list []T, holds func(T) bool) bool {
	return !slices.ContainsFunc(list, func(x T) bool { return !holds(x) })
}

func mobyMatch(a specs.LinuxSeccompArg, v uint64) bool {
	switch a.Op {
	case specs.OpEqualTo:
		return v == a.Value
	case specs.OpLessThan:
		return v < a.Value
	case specs.OpGreaterThan:
		return v > a.Value
	case specs.OpMaskedEqual:
		return v&a.Value == a.ValueTwo
	}
	panic("moby's profile has a comparison that this test does not know: " + string(a.Op))
}

// TestMobyOracle is the control: the reading of moby's profile above refuses what it is known to refuse.
func TestMobyOracle(t *testing.T) {
	for _, c := range []struct {
		name string
		args [6]uint64
		want bool
	}{
		{"read", [6]uint64{}, true},
		{"mount", [6]uint64{}, false},
		{"bpf", [6]uint64{}, false},
		{"clone", [6]uint64{uint64(unix.SIGCHLD)}, true},
		{"clone", [6]uint64{unix.CLONE_NEWUSER}, false},
		{"socket", [6]uint64{unix.AF_INET}, true},
		{"socket", [6]uint64{unix.AF_ALG}, false},
		{"socket", [6]uint64{unix.AF_VSOCK}, false},
		{"personality", [6]uint64{addrNoRandomize}, false},
		{"io_uring_setup", [6]uint64{}, false},
	} {
		if got := mobyAllows("amd64", c.name, c.args); got != c.want {
			t.Errorf("%s %#x: %v", c.name, c.args, got)
		}
	}
}
