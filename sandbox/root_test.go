package sandbox

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fresh puts the test's thread into a new copy of the mount namespace that the test began in; back returns to that one.
func fresh(t *testing.T) (back func()) {
	t.Helper()
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/mnt")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Fatal(err)
	}
	return func() {
		defer home.Close()
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNS); err != nil {
			t.Fatal(err)
		}
		runtime.UnlockOSThread()
	}
}

// assembleIn makes a tree; the thread is in a fresh mount namespace.
func assembleIn(mounts ...Mount) error {
	_, err := gatewayRoot(mounts, nil, nil)
	return err
}

func hostDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// jail is where target stands while nobody has pivoted.
func jail(target string) string { return rootDir + target }

func put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestProtectedPathsHold(t *testing.T) {
	if !inNamespaces(t, unix.CLONE_NEWNS) {
		return
	}
	dir := hostDir(t)
	put(t, dir+"/.claude/settings.json", "trusted")
	put(t, dir+"/open/settings.json", "trusted")
	defer fresh(t)()
	err := assembleIn(
		Mount{Kind: KindBind, Source: dir, Target: "/p"},
		Mount{Kind: KindPin, Target: "/p/.claude"},
		Mount{Kind: KindBind, Source: dir + "/.claude/settings.json", Target: "/p/.claude/settings.json", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		act  func(dir string) error
		want error
	}{
		{"write", func(d string) error { return os.WriteFile(jail(d+"/settings.json"), nil, 0) }, unix.EROFS},
		{"remove", func(d string) error { return os.Remove(jail(d + "/settings.json")) }, unix.EBUSY},
		{"replace", func(d string) error {
			if err := os.WriteFile(jail("/p/new"), nil, 0o600); err != nil {
				return err
			}
			return os.Rename(jail("/p/new"), jail(d+"/settings.json"))
		}, unix.EBUSY},
		{"rename the parent", func(d string) error { return os.Rename(jail(d), jail(d+".x")) }, unix.EBUSY},
	} {
		if err := test.act("/p/.claude"); !errors.Is(err, test.want) && !errors.Is(err, unix.EXDEV) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		put(t, jail("/p/open/settings.json"), "trusted")
		if err := test.act("/p/open"); err != nil {
			t.Errorf("control: %s of a path that is not protected: %v", test.name, err)
		}
	}
}

func TestNoGhosts(t *testing.T) {
	if !inNamespaces(t, unix.CLONE_NEWNS) {
		return
	}
	dir := hostDir(t)
	for _, m := range []Mount{
		{Kind: KindTmpfs, Target: "/p/missing"},
		{Kind: KindDir, Target: "/p/missing"},
		{Kind: KindFile, Target: "/p/missing"},
		{Kind: KindSymlink, Source: "x", Target: "/p/missing"},
		{Kind: KindBind, Source: "/usr", Target: "/p/missing/deeper", ReadOnly: true},
		{Kind: KindMask, Target: "/p/missing"},
		{Kind: KindPin, Target: "/p/missing"},
	} {
		a := &assembler{mounts: []Mount{{Kind: KindBind, Source: dir, Target: "/p"}, m}}
		if a.ours(1, m.Target) {
			t.Errorf("%s %s counts as the jail's own", m.Kind, m.Target)
		}
		back := fresh(t)
		err := assembleIn(a.mounts...)
		back()
		if err == nil {
			t.Errorf("%s on a path that does not exist in a bind was made", m.Kind)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left on the host: %v, %v", entries, err)
	}
	defer fresh(t)()
	if err := assembleIn(Mount{Kind: KindTmpfs, Target: "/q", Mode: 0o755}, Mount{Kind: KindFile, Target: "/q/a/b", Data: []byte("x"), Mode: 0o444}); err != nil {
		t.Errorf("control: in the jail's own tmpfs: %v", err)
	}
}

func TestSwappedSourceEndsTheRun(t *testing.T) {
	if !inNamespaces(t, unix.CLONE_NEWNS) {
		return
	}
	dir := hostDir(t)
	put(t, dir+"/real/file", "x")
	if err := os.Symlink("real", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{dir + "/link", dir + "/link/file"} {
		back := fresh(t)
		err := assembleIn(Mount{Kind: KindBind, Source: source, Target: "/p", ReadOnly: true})
		back()
		if !errors.Is(err, unix.ELOOP) || !strings.Contains(err.Error(), source) {
			t.Errorf("%s: %v", source, err)
		}
	}
	defer fresh(t)()
	if err := assembleIn(Mount{Kind: KindBind, Source: dir + "/real/file", Target: "/p", ReadOnly: true}); err != nil {
		t.Errorf("control: %v", err)
	}
}

// A mount point that has become a link in the project would carry the mount to another place.
func TestSwappedTargetEndsTheRun(t *testing.T) {
	if !inNamespaces(t, unix.CLONE_NEWNS) {
		return
	}
	dir := hostDir(t)
	put(t, dir+"/real/file", "x")
	if err := os.Symlink("real", dir+"/.git"); err != nil {
		t.Fatal(err)
	}
	project := Mount{Kind: KindBind, Source: dir, Target: "/p"}
	for _, m := range []Mount{
		{Kind: KindMask, Target: "/p/.git/file"}, {Kind: KindPin, Target: "/p/.git"},
		{Kind: KindBind, Source: dir + "/real/file", Target: "/p/.git/file", ReadOnly: true},
	} {
		back := fresh(t)
		err := assembleIn(project, m)
		back()
		if !errors.Is(err, unix.ELOOP) {
			t.Errorf("%s %s: %v", m.Kind, m.Target, err)
		}
	}
	defer fresh(t)()
	if err := assembleIn(project, Mount{Kind: KindMask, Target: "/p/real/file"}); err != nil {
		t.Errorf("control: %v", err)
	}
}

func TestMaskIsNotReadable(t *testing.T) {
	if !inNamespaces(t, unix.CLONE_NEWNS) {
		return
	}
	dir := hostDir(t)
	put(t, dir+"/.env", "SECRET")
	put(t, dir+"/keys/a", "SECRET")
	defer fresh(t)()
	if err := assembleIn(Mount{Kind: KindBind, Source: dir, Target: "/p"},
		Mount{Kind: KindMask, Target: "/p/.env"}, Mount{Kind: KindMask, Target: "/p/keys"}); err != nil {
		t.Fatal(err)
	}
	// This process may read anything (CAP_DAC_OVERRIDE); the command may not. What counts here is that the host's bytes are gone.
	for _, name := range []string{"/p/.env", "/p/keys"} {
		fi, err := os.Stat(jail(name))
		if err != nil || fi.Mode().Perm() != 0 {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	if data, _ := os.ReadFile(jail("/p/.env")); len(data) != 0 {
		t.Errorf("masked file reads %q", data)
	}
	if data, _ := os.ReadFile(jail("/p/keys/a")); len(data) != 0 {
		t.Errorf("masked directory holds %q", data)
	}
}
