package seccomp

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// TestModes says what a mode may be, call by call and for both architectures, in the numbers that programs pass.
func TestModes(t *testing.T) {
	const (
		garbage = 0xdeadbeefffffffff
		high    = 0xffffffff << 32
	)
	type args = [6]uint64
	cases := []struct {
		name  string
		args  args
		allow bool
	}{
		{"chmod", args{1: 0o755}, true},
		{"chmod", args{1: 0o1777}, true}, // the sticky bit
		{"chmod", args{1: high | 0o755}, true},
		{"chmod", args{1: 0o4755}, false},
		{"chmod", args{1: 0o2755}, false},
		{"chmod", args{1: 0o2644}, false},
		{"chmod", args{1: high | 0o4000}, false},
		{"fchmod", args{6, 0o755}, true},
		{"fchmod", args{6, 0o6755}, false},
		{"fchmodat", args{2: 0o755, 3: garbage}, true}, // the call has no fourth argument
		{"fchmodat", args{2: 0o4755}, false},
		{"fchmodat2", args{2: 0o755}, false},
		{"creat", args{1: 0o666}, true},
		{"creat", args{1: 0o2666}, false},
		{"open", args{1: unix.O_RDWR, 2: garbage}, true},
		{"open", args{1: 0x10000 | 0x4000, 2: garbage}, true}, // O_DIRECTORY of either architecture, without O_TMPFILE
		{"open", args{1: unix.O_CREAT, 2: 0o666}, true},
		{"open", args{1: unix.O_CREAT, 2: 0o4666}, false},
		{"open", args{1: 0x410000 | unix.O_RDWR, 2: 0o600}, true},
		{"open", args{1: 0x410000 | unix.O_RDWR, 2: 0o2600}, false},
		{"openat", args{2: unix.O_RDONLY, 3: garbage}, true},
		{"openat", args{2: high | unix.O_RDONLY, 3: 0o6777}, true},
		{"openat", args{2: unix.O_CREAT | unix.O_WRONLY, 3: 0o100644}, true}, // a whole st_mode, as libuv's copyFile passes it
		{"openat", args{2: unix.O_CREAT | unix.O_WRONLY, 3: 0o104755}, false},
		{"openat", args{2: high | unix.O_CREAT, 3: high | 0o2000}, false},
		{"openat", args{2: 0x410000 | unix.O_WRONLY, 3: 0o4755}, false}, // O_TMPFILE of amd64
		{"openat", args{2: 0x404000 | unix.O_WRONLY, 3: 0o4755}, false}, // and of arm64
		{"openat2", args{}, false},
		{"mknod", args{1: unix.S_IFIFO | 0o600}, true},
		{"mknod", args{1: unix.S_IFREG | 0o4755}, false},
		{"mknodat", args{2: 0o644}, true}, // without a type: a file
		{"mknodat", args{2: 0o2755}, false},
		{"mknodat", args{2: unix.S_IFBLK | 0o600}, false},
		{"mkdir", args{1: 0o2755}, true},
		{"mkdirat", args{2: 0o2755}, true},
		{"prlimit64", args{0, 7, 1, 1}, true},
		{"prlimit64", args{high, 7, 1, 1}, true}, // still the caller: the kernel reads an int
		{"prlimit64", args{1, 0, 1, 0}, false},
		{"prlimit64", args{high | 1, 0, 0, 1}, false},
		{"prlimit64", args{garbage, 0, 1, 0}, false},
	}
	forEach(t, func(t *testing.T, m machine, _ []rule, program []byte) {
		tried := 0
		for _, c := range cases {
			number, err := libseccomp.GetSyscallFromNameByArch(c.name, m.token)
			if err != nil || number < 0 {
				continue // not on this machine
			}
			tried++
			got, err := evaluate(program, call{m.audit, uint32(number), c.args})
			if err != nil || (got == unix.SECCOMP_RET_ALLOW) != c.allow {
				t.Errorf("%s %#o: %#x, %v", c.name, c.args, got, err)
			}
		}
		if tried < 15 {
			t.Errorf("%d calls judged", tried)
		}
	})
}

// TestMkdirTakesNoSetIDBits is why mkdir(2) is let through whatever its mode. mknod(2), beside it, takes them.
func TestMkdirTakesNoSetIDBits(t *testing.T) {
	const setID = unix.S_ISUID | unix.S_ISGID
	dir, file := filepath.Join(t.TempDir(), "dir"), filepath.Join(t.TempDir(), "file")
	if err := unix.Mkdirat(unix.AT_FDCWD, dir, setID|0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mknodat(unix.AT_FDCWD, file, unix.S_IFREG|setID|0o755, 0); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{dir: 0, file: setID} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Mode & setID; got != want {
			t.Errorf("%s: mode bits %#o, want %#o", filepath.Base(path), got, want)
		}
	}
}

// TestNoFileCapabilities: who may make user namespaces may not set attributes; who may not, may, for the kernel refuses the one.
func TestNoFileCapabilities(t *testing.T) {
	for _, m := range machines() {
		for _, groups := range choices() {
			policy, err := policyFor(groups)
			if err != nil {
				t.Fatal(err)
			}
			namespaces := decide(policy, "unshare", [6]uint64{unix.CLONE_NEWUSER}) == allow
			program, err := compile(m.token, policy)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"setxattr", "lsetxattr", "fsetxattr"} {
				number, err := libseccomp.GetSyscallFromNameByArch(name, m.token)
				if err != nil {
					t.Fatal(err)
				}
				got, err := evaluate(program, call{m.audit, uint32(number), [6]uint64{3: 20}})
				if err != nil || (got == unix.SECCOMP_RET_ALLOW) == namespaces {
					t.Errorf("%s %v: %s is %#x, %v", m.name, groups, name, got, err)
				}
			}
		}
	}
}
