package sandbox

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestGuardedMounts(t *testing.T) {
	mounts := []Mount{
		{Kind: KindBind, Source: "/usr", Target: "/usr", ReadOnly: true},
		{Kind: KindOver, Target: "/usr/certs"},
		{Kind: KindTmpfs, Target: "/home"},
		{Kind: KindBind, Source: "/home/x", Target: "/home/x", ReadOnly: true}, // its mount point is the jail's own
		{Kind: KindBind, Source: "/home/p", Target: "/home/p"},
		{Kind: KindPin, Target: "/home/p/.git"},
		{Kind: KindBind, Source: "/home/p/.git/config", Target: "/home/p/.git/config", ReadOnly: true},
		{Kind: KindBind, Source: "/else", Target: "/home/p/else"},
		{Kind: KindMask, Target: "/home/p/.env"},
		{Kind: KindOver, Target: "/etc/x"},
	}
	var got []string
	for _, i := range guardedMounts(mounts) {
		got = append(got, mounts[i].Target)
	}
	if want := "/usr/certs /home/p/.git /home/p/.git/config /home/p/.env"; strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`/a\040b\134\011`: "/a b\\\t", `/a\`: `/a\`, `/a\9`: `/a\9`, `/\999`: `/\999`, "": ""} {
		if got := unescape(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// jailOf makes mounts in this thread's namespace.
func jailOf(t *testing.T, mounts ...Mount) *assembler {
	t.Helper()
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a := &assembler{root: root, mounts: mounts, inside: true}
	for i := range mounts {
		if err := a.again(i); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// TestGuardPutsBack lifts mounts from another mount namespace, as everybody does who replaces or removes a file on the host.
func TestGuardPutsBack(t *testing.T) {
	if !inNamespaces(t, unix.CLONE_NEWNS) {
		return
	}
	dir := hostDir(t)
	for _, name := range []string{"/.git/config", "/.envrc", "/.vscode/a b/c", "/secret", "/control"} {
		put(t, dir+name, "trusted")
	}
	// This thread is the jail's, and every other one the host's.
	outside := make(chan func() error)
	done := make(chan error)
	go func() {
		for f := range outside {
			done <- f()
		}
	}()
	defer close(outside)
	defer fresh(t)()
	protect := func(name string) Mount {
		return Mount{Kind: KindBind, Source: dir + name, Target: dir + name, ReadOnly: true}
	}
	tree := jailOf(t, Mount{Kind: KindBind, Source: dir, Target: dir}, Mount{Kind: KindPin, Target: dir + "/.git"}, protect("/.git/config"),
		protect("/.envrc"), Mount{Kind: KindPin, Target: dir + "/.vscode"}, protect("/.vscode/a b"))
	events, err := unix.Open("/proc/thread-self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	writes := func(name string) error {
		f, err := os.OpenFile(dir+name, os.O_WRONLY, 0)
		if err == nil {
			f.Close()
		}
		return err
	}
	until := func(name string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(); {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not within ten seconds", name)
			}
			unix.Poll([]unix.PollFd{{Fd: int32(events), Events: unix.POLLPRI}}, 100)
		}
	}
	act := func(f func() error) {
		t.Helper()
		outside <- f
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	replace := func(name string) func() error {
		return func() error {
			return errors.Join(os.WriteFile(dir+"/new", []byte("new"), 0o644), os.Rename(dir+"/new", dir+name))
		}
	}
	// The control: without a guard the mount is lifted, and the new file is open.
	if err := writes("/.envrc"); !errors.Is(err, unix.EROFS) {
		t.Fatalf("before: %v", err)
	}
	act(replace("/.envrc"))
	if err := writes("/.envrc"); err != nil {
		t.Fatalf("without a guard: %v", err)
	}

	g, err := newGuard(tree, unix.Gettid())
	if err != nil {
		t.Fatal(err)
	}
	go func() { t.Error(g.keep()) }()
	readOnly := func(name string) func() bool { return func() bool { return errors.Is(writes(name), unix.EROFS) } }
	until("what was lifted before", readOnly("/.envrc"))
	for range 50 {
		act(replace("/.envrc"))
		act(replace("/.git/config"))
	}
	until("replaced", readOnly("/.envrc"))
	until("replaced below a pin", readOnly("/.git/config"))
	act(func() error { return os.RemoveAll(dir + "/.vscode") })
	act(func() error { return os.MkdirAll(dir+"/.vscode/a b", 0o755) })
	act(func() error { return os.WriteFile(dir+"/.vscode/a b/c", nil, 0o644) })
	until("removed, and made anew", readOnly("/.vscode/a b/c"))
	until("its pin", func() bool {
		there, err := (&guard{mountinfo: events}).mountPoints()
		return err == nil && there[dir+"/.vscode"]
	})
	if err := os.Rename(dir+"/.vscode", dir+"/x"); !errors.Is(err, unix.EBUSY) {
		t.Errorf("rename of a pinned directory: %v", err)
	}
	act(func() error { return errors.Join(os.Remove(dir+"/.envrc"), os.Symlink("control", dir+"/.envrc")) })
	act(func() error { return os.Remove(dir + "/.envrc") })
	act(func() error { return os.WriteFile(dir+"/.envrc", nil, 0o644) })
	until("a link, and a file again", readOnly("/.envrc"))
	if err := writes("/control"); err != nil {
		t.Errorf("control: a file that is not protected: %v", err)
	}
}

// TestGuardCoversAgain is the same for what hides a file: the cover lies where the jail's root is not.
func TestGuardCoversAgain(t *testing.T) {
	if !inNamespaces(t, unix.CLONE_NEWNS) {
		return
	}
	if err := unix.Mount("host", privateDir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	const dir = privateDir + "/p"
	put(t, dir+"/secret", "hidden")
	if err := os.Mkdir(overDir, 0o755); err != nil {
		t.Fatal(err)
	}
	outside := make(chan struct{})
	replaced := make(chan error)
	go func() {
		for range outside {
			replaced <- errors.Join(os.WriteFile(dir+"/new", []byte("hidden"), 0o644), os.Rename(dir+"/new", dir+"/secret"))
		}
	}()
	defer close(outside)
	defer fresh(t)()
	tree := jailOf(t, Mount{Kind: KindBind, Source: dir, Target: dir}, Mount{Kind: KindMask, Target: dir + "/secret"})
	if data, err := os.ReadFile(dir + "/secret"); len(data) != 0 {
		t.Fatalf("before: %q, %v", data, err)
	}
	g, err := newGuard(tree, unix.Gettid())
	if err != nil {
		t.Fatal(err)
	}
	outside <- struct{}{}
	if err := <-replaced; err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(dir + "/secret"); string(data) != "hidden" {
		t.Fatalf("control: without a guard the file reads %q, %v", data, err)
	}
	go func() { t.Error(g.keep()) }()
	events, err := unix.Open("/proc/thread-self/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if data, _ := os.ReadFile(dir + "/secret"); len(data) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("not covered within ten seconds")
		}
		unix.Poll([]unix.PollFd{{Fd: int32(events), Events: unix.POLLPRI}}, 100)
	}
}
