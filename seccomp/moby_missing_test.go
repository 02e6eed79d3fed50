package seccomp

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	moby "github.com/moby/profiles/seccomp"
	libseccomp "github.com/seccomp/libseccomp-golang"
)

// A loss is a set of calls that moby's default profile lets through for a container without capabilities and we do not.
type loss struct {
	why   string
	calls string // "name" for a call that is refused whatever its arguments, "name*" for one that is refused with some
}

func losses() []loss {
	return []loss{
		{"set-id files of the host, and devices: a project is the host's, a container's files are its own", "chmod* creat* fchmod* fchmodat* " +
			"mknod* mknodat* open* openat*"},
		{"a mode behind a pointer, or in a call that not every libseccomp knows", "fchmodat2 openat2"},
		{"typing into a terminal (CVE-2017-5226), line disciplines", "ioctl*"},
		{"leases, which hold whoever opens the file", "fcntl*"},
		{"families, types and protocols that load a module or meet the host", "socket* socketpair*"},
		{"execution domains but Linux' own", "personality*"},
		{"limits of other processes: PID 1 has the command's host uid", "prlimit64*"},
		{"a debugger's calls: group debug", "process_vm_readv process_vm_writev ptrace*"},
		{"they also read, but the mode is behind a pointer", "adjtimex clock_adjtime"},
		{"half of a way past the mounts (CVE-2014-3519); the other half moby refuses as well", "name_to_handle_at"},
		{"worth nothing without fanotify_init, which moby refuses", "fanotify_mark"},
		{"16-bit segments, for 32-bit Wine (CVE-2017-17053)", "modify_ldt"},
		{"little used and not needed", "memfd_secret process_mrelease remap_file_pages"},
		{"never made, or for 32-bit programs alone", "epoll_ctl_old epoll_wait_old get_thread_area set_thread_area"},
	}
}

// TestLossesAgainstMoby is the other half of TestSubsetOfMoby: what a container of most people's may call and a jail may not stands in
// the list above, and nothing else does.
func TestLossesAgainstMoby(t *testing.T) {
	want := map[string]string{}
	for _, l := range losses() {
		for _, name := range strings.Fields(l.calls) {
			if want[name] != "" {
				t.Errorf("%s stands in the list twice", name)
			}
			want[name] = l.why
		}
	}
	policy, random := basePolicy(), rand.New(rand.NewPCG(5, 6))
	found := map[string]bool{}
	for _, m := range machines() {
		for _, name := range mobyNames() {
			if number, err := libseccomp.GetSyscallFromNameByArch(name, m.token); err == nil && number < 0 || name == "riscv_hwprobe" {
				continue // this architecture has no such call; a libseccomp that does not know the name cannot say so
			}
			some, every := false, true
			for _, args := range append(probes(policy, name, random), mobyProbes(name)...) {
				if args = low(args); !mobyAllows(m.name, name, args) {
					continue
				}
				refused := decide(policy, name, args) != allow
				some, every = some || refused, every && refused
			}
			switch {
			case some && every:
				found[name] = true
			case some:
				found[name+"*"] = true
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if want[name] == "" {
			t.Errorf("%s: moby lets it through, we do not, and nobody has said why", name)
		}
	}
	for name := range want {
		if !found[name] {
			t.Errorf("%s: on the list, and moby's answer is no other", name)
		}
	}
}

func mobyNames() (names []string) {
	for _, s := range moby.DefaultProfile().Syscalls {
		names = append(names, s.Names...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
