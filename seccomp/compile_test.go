package seccomp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// A machine is an architecture under test; both are compiled for and judged on either.
type machine struct {
	name  string
	token libseccomp.ScmpArch
	audit uint32
}

func machines() []machine {
	return []machine{
		{"amd64", libseccomp.ArchAMD64, unix.AUDIT_ARCH_X86_64},
		{"arm64", libseccomp.ArchARM64, unix.AUDIT_ARCH_AARCH64},
	}
}

// choices are the combinations of groups that are tested.
func choices() [][]string {
	all := [][]string{nil}
	for _, g := range Groups() {
		all = append(all, []string{g.Name})
	}
	return append(all, []string{"nested", "debug"})
}

// forEach runs test for each architecture and each choice of groups, on what libseccomp makes and on what is stored.
func forEach(t *testing.T, test func(t *testing.T, m machine, policy []rule, program []byte)) {
	t.Helper()
	for _, m := range machines() {
		for _, groups := range choices() {
			t.Run(fmt.Sprintf("%s/%v", m.name, groups), func(t *testing.T) {
				policy, err := policyFor(groups)
				if err != nil {
					t.Fatal(err)
				}
				program, err := compile(m.token, policy)
				if err != nil {
					t.Fatal(err)
				}
				test(t, m, policy, program)
				if program, err := programs.ReadFile(stored(m.name, groups)); err == nil {
					test(t, m, policy, program)
				}
			})
		}
	}
}

// returnOf is the SECCOMP_RET_* value that stands for v.
func returnOf(v verdict) uint32 {
	if v == allow {
		return unix.SECCOMP_RET_ALLOW
	}
	return unix.SECCOMP_RET_ERRNO | uint32(v)
}

// TestProgramSaysWhatThePolicySays runs the compiled program for every call number and for arguments at, around and far from
// every value that the policy names, and compares with the table read clause by clause.
func TestProgramSaysWhatThePolicySays(t *testing.T) {
	forEach(t, func(t *testing.T, m machine, policy []rule, program []byte) {
		t.Logf("%d instructions", len(program)/8)
		random := rand.New(rand.NewPCG(1, 2))
		allowed, refused := 0, 0
		for number := range uint32(700) {
			name, err := libseccomp.ScmpSyscall(number).GetNameByArch(m.token)
			if err != nil {
				name = "" // unknown to libseccomp: the default
			}
			for _, args := range probes(policy, name, random) {
				got, err := evaluate(program, call{m.audit, number, args})
				if err != nil {
					t.Fatal(err)
				}
				want := decide(policy, name, args)
				if got != returnOf(want) {
					t.Fatalf("%s (%d) with %#x: program says %#x, policy says %d", name, number, args, got, want)
				}
				if want == allow {
					allowed++
				} else {
					refused++
				}
			}
		}
		if allowed < 300 || refused < 300 {
			t.Errorf("%d allowed and %d refused: the test looked at too little", allowed, refused)
		}
	})
}

// probes are argument lists to try a call with.
func probes(policy []rule, name string, random *rand.Rand) [][6]uint64 {
	result := [][6]uint64{{}, {^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}}
	var clauses []clause
	for _, r := range policy {
		if slices.Contains(r.names, name) {
			clauses = append(clauses, r.clauses...)
		}
	}
	for _, c := range clauses {
		if len(c.when) == 0 {
			continue
		}
		var exact [6]uint64
		for _, m := range c.when {
			exact[m.arg] = uint64(m.value)
		}
		result = append(result, exact)
		for _, m := range c.when {
			for bit := range 64 { // each neighbour, and the high half, which must not count
				near := exact
				near[m.arg] ^= 1 << bit
				result = append(result, near)
			}
			for range 50 {
				far := exact
				far[m.arg] = random.Uint64()
				result = append(result, far)
				far[m.arg] &= 0x3f // small numbers are the likely ones
				result = append(result, far)
			}
		}
		for range 50 { // what no clause fixes does not count
			loose := exact
			for arg := range loose {
				loose[arg] |= random.Uint64() << 32
			}
			result = append(result, loose)
		}
	}
	return result
}

// TestForeignABIsDie: a number means another call in another ABI, so any way in but the native one is the end of the process.
func TestForeignABIsDie(t *testing.T) {
	const x32 = 0x40000000 // asm/unistd.h __X32_SYSCALL_BIT
	forEach(t, func(t *testing.T, m machine, policy []rule, program []byte) {
		native := call{arch: m.audit, number: 0}
		if m.name == "arm64" {
			native.number = 63 // read
		}
		foreign := map[string]call{
			"i386":  {arch: unix.AUDIT_ARCH_I386, number: 3},
			"arm":   {arch: unix.AUDIT_ARCH_ARM, number: 3},
			"other": {arch: unix.AUDIT_ARCH_RISCV64, number: 63},
		}
		for _, other := range machines() {
			if other.name != m.name {
				foreign[other.name] = call{arch: other.audit, number: native.number}
			}
		}
		if m.name == "amd64" { // x32 has amd64's architecture and a bit in the number
			foreign["x32 read"] = call{arch: m.audit, number: x32}
			foreign["x32 execve"] = call{arch: m.audit, number: x32 | 520}
			foreign["x32 top"] = call{arch: m.audit, number: 0xfffffffe}
		}
		for name, c := range foreign {
			if got, err := evaluate(program, c); err != nil || got != unix.SECCOMP_RET_KILL_PROCESS {
				t.Errorf("%s: %#x, %v", name, got, err)
			}
		}
		if got, err := evaluate(program, native); err != nil || got != unix.SECCOMP_RET_ALLOW {
			t.Errorf("control, native read: %#x, %v", got, err)
		}
	})
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := Compile([]string{"debug"}); err != nil {
			b.Fatal(err)
		}
	}
}

// nativeArch is the machine that runs the test.
func nativeArch(t *testing.T) libseccomp.ScmpArch {
	t.Helper()
	arch, err := libseccomp.GetNativeArch()
	if err != nil {
		t.Fatal(err)
	}
	return arch
}
