package sandbox

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestContainerPlacesDescriptors gives init descriptors that stand in each other's places, and the same one twice. It is a shell, which
// reads from its stdin what to do.
func TestContainerPlacesDescriptors(t *testing.T) {
	if !inNamespaces(t, unix.CLONE_NEWNS|unix.CLONE_NEWPID|unix.CLONE_NEWNET) {
		return
	}
	var held []*os.File // none is closed by the collector: others stand at those numbers by then
	defer func() { runtime.KeepAlive(held) }()
	open := func(t *testing.T, name string, flags int) *os.File {
		t.Helper()
		f, err := os.OpenFile(name, flags, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, f)
		return f
	}
	const anywhere = -1
	for name, test := range map[string]struct {
		stdin, stdout, stderr, exe int
		removed                    bool
	}{
		"in each other's places": {1, 2, 0, anywhere, false},
		"the binary in stdin's":  {1, 2, anywhere, 0, false}, // its name is another file's by then
		"stderr is stdout":       {anywhere, 1, 1, anywhere, false},
		"the binary is removed":  {anywhere, anywhere, anywhere, anywhere, true}, // an update, between two of our acts
	} {
		t.Run(name, func(t *testing.T) {
			defer fresh(t)()
			shell, err := filepath.EvalSymlinks("/bin/sh")
			if err != nil {
				t.Fatal(err)
			}
			dir := hostDir(t)
			if test.exe != anywhere || test.removed {
				binary, err := os.ReadFile(shell)
				if err != nil {
					t.Fatal(err)
				}
				shell = dir + "/shell"
				if err := os.WriteFile(shell, binary, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			put(t, dir+"/in", "echo out; echo err >&2; echo socket >&3; exit 9\n")
			stdin, exe := open(t, dir+"/in", os.O_RDONLY), open(t, shell, os.O_RDONLY)
			if test.exe != anywhere {
				if err := unix.Mount(dir+"/in", shell, "", unix.MS_BIND, ""); err != nil {
					t.Fatal(err)
				}
			}
			stdout, stderr, socket := open(t, dir+"/out", os.O_CREATE|os.O_RDWR), open(t, dir+"/err", os.O_CREATE|os.O_RDWR), open(t, dir+"/socket", os.O_CREATE|os.O_RDWR)
			want := map[*os.File]string{stdout: "out\n", stderr: "err\n", socket: "socket\n"}
			if test.stdout == test.stderr {
				stderr, want = stdout, map[*os.File]string{stdout: "out\nerr\n", socket: "socket\n"}
			}
			tree := new(tree)
			if err := baseTree(tree, diskFiles{}, Identity{}, 1<<30); err != nil {
				t.Fatal(err)
			}
			mounts := tree.list()
			binary, err := openBinary(exe)
			if err != nil {
				t.Fatal(err)
			}
			if test.removed {
				if err := os.Remove(shell); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := gatewayRoot(mounts, nil, nil); err != nil {
				t.Fatal(err)
			}
			if err := binary.place(); err != nil {
				t.Fatal(err)
			}
			net := open(t, "/proc/thread-self/ns/net", os.O_RDONLY)
			kept := map[int]int{}
			for fd := range 3 {
				if kept[fd], err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 10); err != nil {
					t.Fatal(err)
				}
			}
			at := func(f *os.File, fd int) *os.File {
				if fd != anywhere && unix.Dup3(int(f.Fd()), fd, 0) == nil {
					f = os.NewFile(uintptr(fd), f.Name())
					held = append(held, f)
				}
				return f
			}
			c, err := startContainer(mounts, "test", [3]*os.File{at(stdin, test.stdin), at(stdout, test.stdout), at(stderr, test.stderr)}, socket, at(binary.file, test.exe), net)
			for fd, old := range kept {
				unix.Dup3(old, fd, 0)
			}
			if err != nil {
				t.Fatal(err)
			}
			if status, err := c.wait(); err != nil || unix.WaitStatus(status).ExitStatus() != 9 {
				t.Errorf("status %#x, %v", status, err)
			}
			for f, want := range want {
				if got, err := io.ReadAll(io.NewSectionReader(f, 0, 100)); err != nil || string(got) != want {
					t.Errorf("%s has %q, want %q (%v)", f.Name(), got, want, err)
				}
			}
		})
	}
}
