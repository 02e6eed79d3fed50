package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestFollow(t *testing.T) {
	f := memMachine(t, `
/a/b/file
/abs -> /a/b
/a/rel -> b/file
/a/up -> ../abs/../b
/loop1 -> loop2
/loop2 -> loop1
/gone -> a/none/x
`)
	for _, tt := range []struct {
		name, want string
		links      int
		err        error
	}{
		{"/", "/", 0, nil},
		{"/a/./b//file", "/a/b/file", 0, nil},
		{"/abs/file", "/a/b/file", 1, nil},
		{"/a/rel", "/a/b/file", 1, nil},
		{"/a/up", "/a/b", 2, nil},
		{"/abs/..", "/a", 1, nil},
		{"/../../a", "/a", 0, nil},
		{"/loop1", "", 0, syscall.ELOOP},
		{"/gone", "/a/none/x", 1, syscall.ENOENT},
		{"/a/none/../x", "/a/x", 0, syscall.ENOENT},
	} {
		p, err := follow(f, tt.name)
		if !errors.Is(err, tt.err) || tt.want != "" && (p.path != tt.want || len(p.links) != tt.links) {
			t.Errorf("%s leads to %s through %v, %v; want %s", tt.name, p.path, p.links, err, tt.want)
		}
		if err == nil && p.info != f.nodes[p.path] {
			t.Errorf("%s: the facts are another file's", tt.name)
		}
	}
	if _, err := follow(f, "a"); err == nil {
		t.Error("a relative path was followed")
	}
}

func TestDiskFiles(t *testing.T) {
	dir, f := t.TempDir(), diskFiles{}
	for _, name := range []string{"c", "a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("0123456789"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := f.ReadFile(dir+"/a", 4); string(data) != "0123" || err != nil {
		t.Errorf("bounded read: %q, %v", data, err)
	}
	entries, err := f.ReadDir(dir, -1)
	if err != nil || len(entries) != 3 || entries[0].Name() != "a" || entries[2].Name() != "c" {
		t.Errorf("entries %v, %v", entries, err)
	}
	if entries, err := f.ReadDir(dir, 2); err != nil || len(entries) != 2 {
		t.Errorf("bounded entries %v, %v", entries, err)
	}
	if entries, err := f.ReadDir(t.TempDir(), 2); err != nil || len(entries) != 0 {
		t.Errorf("empty: %v, %v", entries, err)
	}
	// A FIFO in a project must not stop a plan: nobody will ever write to this one.
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { _, err := f.ReadFile(dir+"/fifo", 10); done <- err }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a FIFO was read")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a FIFO stops a plan")
	}
}

func TestProbe(t *testing.T) {
	t.Setenv("HOME", "/home/somebody/")
	t.Setenv("XDG_STATE_HOME", "relative")
	t.Setenv("XDG_CONFIG_HOME", "/etc/xdg-of-mine")
	h, err := Probe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := syscall.Getwd()
	if h.UID != os.Getuid() || h.Dir != dir || h.Home != "/home/somebody" || !validUser(h.User) || h.Executable == "" {
		t.Errorf("%+v", h)
	}
	if h.StateDir != "/home/somebody/.local/state/agentjail" || h.ConfigDir != "/etc/xdg-of-mine/agentjail" {
		t.Errorf("state %s, config %s", h.StateDir, h.ConfigDir)
	}
}

func TestDescribeUser(t *testing.T) {
	for _, tt := range []struct {
		name       string
		uid        int
		env        []string
		user, home string
	}{
		{"from the database", 1200, nil, "ci", "/home/ci"},
		{"$HOME first", 1200, []string{"HOME=/x"}, "ci", "/x"},
		{"unknown uid", 4242, []string{"USER=ldap", "HOME=/h"}, "ldap", "/h"},
		{"unknown uid, nothing set", 4242, nil, "u4242", "/home/u4242"},
		{"a name that would break passwd", 4242, []string{"USER=a:0:0"}, "u4242", "/home/u4242"},
		{"a home that is the root", 4242, []string{"HOME=/"}, "u4242", "/home/u4242"},
	} {
		h := &Host{UID: tt.uid, Env: tt.env, FS: memMachine(t, debian)}
		h.describeUser()
		if h.User != tt.user || h.Home != tt.home {
			t.Errorf("%s: %s %s, want %s %s", tt.name, h.User, h.Home, tt.user, tt.home)
		}
	}
}
