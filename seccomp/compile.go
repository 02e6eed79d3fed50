package seccomp

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// maxProgram is the longest program that the kernel takes, in bytes: BPF_MAXINSNS (4096) instructions of 8 (linux/bpf_common.h).
const maxProgram = 4096 * 8

// Compile builds the filter for the base policy with groups on top and gives it as a program for seccomp(2)
// SECCOMP_SET_MODE_FILTER: an array of struct sock_filter (linux/filter.h), 8 bytes each in the machine's byte order, at most
// 4096 of them. A group that does not exist is an error that names those that do. It takes a few milliseconds and loads nothing.
func Compile(groups []string) ([]byte, error) {
	policy, err := policyFor(groups)
	if err != nil {
		return nil, err
	}
	arch, err := libseccomp.GetNativeArch()
	if err != nil {
		return nil, fmt.Errorf("native architecture of libseccomp: %w", err)
	}
	return compile(arch, policy)
}

// compile builds the filter that policy means on arch, which need not be this machine's.
func compile(arch libseccomp.ScmpArch, policy []rule) ([]byte, error) {
	if arch != libseccomp.ArchAMD64 && arch != libseccomp.ArchARM64 {
		return nil, fmt.Errorf("the system call policy is written for amd64 and arm64, not for %v", arch)
	}
	filter, err := newFilter(arch)
	if err != nil {
		return nil, err
	}
	defer filter.Release()
	rules := resolve(arch, policy)
	// libseccomp keeps its rules in a list ordered by number and looks for a place from the low end: the highest first is fastest.
	slices.SortFunc(rules, func(a, b resolved) int { return cmp.Compare(b.number, a.number) })
	for _, r := range rules {
		for _, c := range r.cubes {
			if err := filter.AddRuleConditional(r.number, c.then.action(), c.conditions()); err != nil {
				return nil, fmt.Errorf("seccomp rule for %s: %w", r.name, err)
			}
		}
	}
	return export(filter)
}

// newFilter is an empty filter for arch alone: the default is ENOSYS, and any other way into the kernel (int 0x80, x32) ends the
// process, for its numbers mean other calls.
func newFilter(arch libseccomp.ScmpArch) (*libseccomp.ScmpFilter, error) {
	filter, err := libseccomp.NewFilter(enosys.action())
	if err != nil {
		return nil, fmt.Errorf("new seccomp filter: %w", err)
	}
	native, err := libseccomp.GetNativeArch()
	if err == nil && native != arch {
		// In this order: a filter may not be without an architecture.
		if err = filter.AddArch(arch); err == nil {
			err = filter.RemoveArch(native)
		}
	}
	if err == nil {
		err = filter.SetBadArchAction(libseccomp.ActKillProcess)
	}
	if err == nil {
		err = filter.SetOptimize(2) // a binary tree over the numbers; see "Cost" in the package comment
	}
	if err != nil {
		filter.Release()
		return nil, fmt.Errorf("seccomp filter for %v: %w", arch, err)
	}
	return filter, nil
}

// A resolved rule is what is to happen to one call.
type resolved struct {
	name   string
	number libseccomp.ScmpSyscall // on the machine that compiles: libseccomp translates it
	cubes  []judged
}

// resolve looks up the numbers of policy's calls. A name that libseccomp does not know, or that arch does not have, is left to the
// default: a library that is older than the policy makes the jail narrower and never wider.
func resolve(arch libseccomp.ScmpArch, policy []rule) []resolved {
	var result []resolved
	for _, r := range policy {
		cubes := disjoint(r.clauses)
		for _, name := range r.names {
			if number, err := libseccomp.GetSyscallFromNameByArch(name, arch); err != nil || number < 0 {
				continue
			}
			number, err := libseccomp.GetSyscallFromName(name)
			if err != nil {
				continue
			}
			result = append(result, resolved{name, number, cubes})
		}
	}
	return result
}

// action is the verdict in libseccomp's words.
func (v verdict) action() libseccomp.ScmpAction {
	if v == allow {
		return libseccomp.ActAllow
	}
	return libseccomp.ActErrno.SetReturnCode(int16(v))
}

// conditions are the cube in libseccomp's words.
func (c cube) conditions() []libseccomp.ScmpCondition {
	var conditions []libseccomp.ScmpCondition
	for arg := range c.mask {
		if c.mask[arg] == 0 {
			continue
		}
		conditions = append(conditions, libseccomp.ScmpCondition{
			Argument: uint(arg),
			Op:       libseccomp.CompareMaskedEqual,
			Operand1: uint64(c.mask[arg]), // its high half is zero: the argument's is not looked at
			Operand2: uint64(c.value[arg]),
		})
	}
	return conditions
}

// export writes the program to memory. libseccomp before 2.6 writes to a descriptor alone, with one write(2) whose short counts
// it takes for success: a pipe could cut the program off, a file in memory cannot.
func export(filter *libseccomp.ScmpFilter) ([]byte, error) {
	fd, err := memfd("agentjail-seccomp")
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "memfd:agentjail-seccomp")
	defer file.Close()
	if err := filter.ExportBPF(file); err != nil {
		return nil, fmt.Errorf("export the seccomp filter: %w", err)
	}
	program, err := io.ReadAll(io.NewSectionReader(file, 0, maxProgram+1))
	if err != nil {
		return nil, fmt.Errorf("read the seccomp filter back: %w", err)
	}
	if n := len(program); n == 0 || n%8 != 0 || n > maxProgram {
		return nil, fmt.Errorf("the seccomp filter has %d bytes; the kernel takes up to %d, in steps of 8", n, maxProgram)
	}
	return program, nil
}

// memfd makes a file in memory that cannot be executed, as vm.memfd_noexec may demand; kernels before 6.3 do not know the flag.
func memfd(name string) (int, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return -1, fmt.Errorf("memfd_create: %w", err)
	}
	return fd, nil
}
