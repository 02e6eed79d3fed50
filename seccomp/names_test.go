package seccomp

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
)

// knownMissing are names of the policy that a libseccomp in use does not know, with the first release that does. Until then
// they get the default, ENOSYS. Debian 12 has 2.5.4 with two of them put in (cachestat, fchmodat2), Debian 13 2.6.0.
func knownMissing() map[string]string {
	return map[string]string{
		"cachestat":        "2.5.5",
		"fchmodat2":        "2.5.5",
		"futex_requeue":    "2.5.5",
		"futex_wait":       "2.5.5",
		"futex_wake":       "2.5.5",
		"map_shadow_stack": "2.5.5",
		"getxattrat":       "2.6.0",
		"listmount":        "2.6.0",
		"listxattrat":      "2.6.0",
		"mseal":            "2.6.0",
		"removexattrat":    "2.6.0",
		"setxattrat":       "2.6.0",
		"statmount":        "2.6.0",
		"uretprobe":        "2.6.0",
		"open_tree_attr":   "later than 2.6.0",
	}
}

// onlyOn are the names that one architecture alone has: a misspelt name would otherwise pass for one of these.
func onlyOn() map[string][]string {
	return map[string][]string{
		"amd64": {
			"access", "alarm", "arch_prctl", "chmod", "chown", "create_module", "creat", "dup2", "epoll_create", "epoll_wait", "eventfd",
			"fork", "futimesat", "getdents", "getpgrp", "inotify_init", "ioperm", "iopl", "lchown", "link", "lstat", "mkdir", "mknod",
			"open", "pause", "pipe", "poll", "readlink", "rename", "rmdir", "select", "signalfd", "stat", "symlink", "time", "unlink",
			"utime", "utimes", "vfork",
		},
	}
}

// TestNamesAreCalls: libseccomp ignores a name that it does not know, so a misspelt entry would be no entry.
func TestNamesAreCalls(t *testing.T) {
	policies := map[string][]rule{"base": basePolicy()}
	for _, g := range Groups() {
		policies[g.Name] = g.rules
	}
	missing, only := knownMissing(), onlyOn()
	for _, policy := range policies {
		for _, r := range policy {
			for _, name := range r.names {
				for _, m := range machines() {
					number, err := libseccomp.GetSyscallFromNameByArch(name, m.token)
					_, listed := missing[name]
					switch absent := !slices.Contains(only[m.name], name) && anyHas(only, name); {
					case err != nil && !listed:
						t.Errorf("%s: no libseccomp call of this name on %s, and not on the list of known missing ones", name, m.name)
					case err == nil && number < 0 && !absent && !listed:
						t.Errorf("%s: %s has no such call", name, m.name)
					case err == nil && number >= 0 && absent:
						t.Errorf("%s: %s has it, though the list says otherwise", name, m.name)
					}
				}
			}
		}
	}
}

func anyHas(only map[string][]string, name string) bool {
	for _, names := range only {
		if slices.Contains(names, name) {
			return true
		}
	}
	return false
}

// TestListsAreNotStale: an entry of the two lists above that the policy no longer has hides the next mistake.
func TestListsAreNotStale(t *testing.T) {
	used := map[string]bool{}
	for _, r := range basePolicy() {
		for _, name := range r.names {
			if used[name] {
				t.Errorf("%s stands in the base policy twice", name)
			}
			used[name] = true
		}
	}
	for name := range knownMissing() {
		if !used[name] {
			t.Errorf("known missing %s is not in the policy", name)
		}
	}
	for arch, names := range onlyOn() {
		for _, name := range names {
			if !used[name] {
				t.Errorf("%s, only on %s, is not in the policy", name, arch)
			}
		}
	}
}

// TestMissingNamesGetTheDefault: on a library that does not know a name, its number answers ENOSYS and is not let through.
func TestMissingNamesGetTheDefault(t *testing.T) {
	numbers := map[string]uint32{"cachestat": 451, "fchmodat2": 452, "mseal": 462, "open_tree_attr": 467} // the same everywhere
	forEach(t, func(t *testing.T, m machine, policy []rule, program []byte) {
		for name, number := range numbers {
			want := returnOf(enosys)
			if n, err := libseccomp.GetSyscallFromNameByArch(name, m.token); err == nil && n >= 0 {
				want = returnOf(decide(policy, name, [6]uint64{}))
			}
			if got, err := evaluate(program, call{arch: m.audit, number: number}); err != nil || got != want {
				t.Errorf("%s: %#x, %v, want %#x", name, got, err, want)
			}
		}
	})
}

func TestUnknownGroupNamesTheKnown(t *testing.T) {
	_, err := Compile([]string{"debug", "debgu"})
	if err == nil {
		t.Fatal("a group that does not exist was taken")
	}
	for _, word := range []string{`"debgu"`, "debug", "nested"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not name %s", err, word)
		}
	}
}

// TestGroupsDoNotContradict: policyFor lets the order of groups be of no account because of this.
func TestGroupsDoNotContradict(t *testing.T) {
	verdicts := map[string]bool{} // call: is it allowed by groups
	for _, g := range Groups() {
		if g.Doc == "" || strings.Contains(g.Doc, "\n") {
			t.Errorf("group %s: doc %q is not one line", g.Name, g.Doc)
		}
		for _, r := range g.rules {
			for _, name := range r.names {
				for _, c := range r.clauses {
					if before, ok := verdicts[name]; ok && before != (c.then == allow) {
						t.Errorf("group %s: %s is allowed by one clause of the groups and refused by another", g.Name, name)
					}
					verdicts[name] = c.then == allow
				}
			}
		}
	}
	one, err1 := policyFor([]string{"debug", "nested"})
	two, err2 := policyFor([]string{"nested", "debug", "debug"})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for _, name := range []string{"ptrace", "clone", "unshare", "chroot", "mount", "process_vm_readv", "setxattr"} {
		if a, b := fmt.Sprint(decide(one, name, [6]uint64{})), fmt.Sprint(decide(two, name, [6]uint64{})); a != b {
			t.Errorf("%s: %s in one order of groups, %s in the other", name, a, b)
		}
	}
}
