package seccomp

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// headers say where the kernel's own list of calls is: the one that arm64 shares with every newer architecture is on each machine, with
// what arch/arm64/include/uapi/asm/unistd.h asks of it; amd64's is on amd64 alone.
func headers() map[string]string {
	all := map[string]string{"arm64": `
#define __ARCH_WANT_RENAMEAT
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SET_GET_RLIMIT
#define __ARCH_WANT_TIME32_SYSCALLS
#define __ARCH_WANT_MEMFD_SECRET
#define __ARCH_WANT_SYS_CLONE3
#include <asm-generic/unistd.h>
`}
	if runtime.GOARCH == "amd64" {
		all["amd64"] = "#include <asm/unistd_64.h>\n"
	}
	return all
}

// kernelNumbers gives each call of a header, by number.
func kernelNumbers(t *testing.T, header string) map[uint32]string {
	t.Helper()
	preprocess := func(text string, flags ...string) string {
		t.Helper()
		gcc := exec.Command("gcc", append(flags, "-E", "-P", "-x", "c", "-")...)
		gcc.Stdin = strings.NewReader(text)
		out, err := gcc.Output()
		if err != nil {
			t.Fatalf("gcc: %v", err)
		}
		return string(out)
	}
	var ask strings.Builder
	ask.WriteString(header)
	for _, m := range regexp.MustCompile(`(?m)^#define __NR_(\w+) `).FindAllStringSubmatch(preprocess(header, "-dM"), -1) {
		if m[1] != "syscalls" && m[1] != "arch_specific_syscall" { // how many there are, and where another architecture's own begin
			fmt.Fprintf(&ask, "\"%s\" __NR_%s\n", m[1], m[1])
		}
	}
	calls := map[uint32]string{}
	for _, m := range regexp.MustCompile(`"(\w+)" (\d+)`).FindAllStringSubmatch(preprocess(ask.String()), -1) {
		number, err := strconv.ParseUint(m[2], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		calls[uint32(number)] = m[1]
	}
	if len(calls) < 300 {
		t.Fatalf("the kernel's header has %d calls", len(calls))
	}
	return calls
}

// TestStoredProgramsByTheKernelsNumbers runs the stored programs for every number that a call of the architecture could have, and asks
// the kernel's headers what the number means: that libseccomp has the same table for an architecture that this machine is not is then
// not taken on trust. It compiles no filter, and so runs under an emulator without seccomp(2) too.
func TestStoredProgramsByTheKernelsNumbers(t *testing.T) {
	for _, m := range machines() {
		header, ok := headers()[m.name]
		if !ok {
			continue
		}
		calls := kernelNumbers(t, header)
		newest := slices.Max(slices.Collect(maps.Keys(calls)))
		for _, groups := range storedChoices() {
			policy, err := policyFor(groups)
			if err != nil {
				t.Fatal(err)
			}
			program, err := programs.ReadFile(stored(m.name, groups))
			if err != nil {
				t.Fatal(err)
			}
			random := rand.New(rand.NewPCG(5, 6))
			said := map[uint32]int{}
			for number := range uint32(1024) {
				name := calls[number]
				if number > newest { // than the header; since Linux 5.1 new calls have the same number everywhere
					name, _ = libseccomp.ScmpSyscall(number).GetNameByArch(m.token)
				}
				for _, args := range probes(policy, name, random) {
					want := returnOf(decide(policy, name, args))
					got, err := evaluate(program, call{m.audit, number, args})
					if err != nil {
						t.Fatal(err)
					}
					if _, young := knownMissing()[name]; young && got == returnOf(enosys) {
						continue // whoever made the program had a libseccomp that does not know it
					}
					if got != want {
						t.Fatalf("%s %v: %s (%d) with %#x: %#x, want %#x", m.name, groups, name, number, args, got, want)
					}
				}
				zero, _ := evaluate(program, call{m.audit, number, [6]uint64{}})
				said[zero]++
			}
			if allowed, refused := said[returnOf(allow)], said[returnOf(eperm)]; allowed < 200 || refused < 30 {
				t.Errorf("%s %v: %d calls are let through and %d refused: the test looked at too little", m.name, groups, allowed, refused)
			}
			// A number of another ABI is another call, and the end of the process.
			for _, audit := range []uint32{unix.AUDIT_ARCH_X86_64, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_AARCH64, unix.AUDIT_ARCH_ARM} {
				got, err := evaluate(program, call{arch: audit, number: 0})
				if killed := got == unix.SECCOMP_RET_KILL_PROCESS; err != nil || killed != (audit != m.audit) {
					t.Errorf("%s %v: a call of %#x: %#x, %v", m.name, groups, audit, got, err)
				}
			}
		}
		// The lists of names_test.go, by the same headers: what amd64 alone has is not arm64's, and what is not on a list is there.
		has := map[string]bool{}
		for _, name := range calls {
			has[name] = true
		}
		only := onlyOn()
		for _, r := range basePolicy() {
			for _, name := range r.names {
				_, young := knownMissing()[name]
				absent := anyHas(only, name) && !slices.Contains(only[m.name], name)
				if absent && has[name] || !absent && !young && !has[name] {
					t.Errorf("%s: the kernel's header has %s: %v", m.name, name, has[name])
				}
			}
		}
	}
}
