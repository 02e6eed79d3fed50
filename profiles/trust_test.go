package profiles

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLoadProject(t *testing.T) {
	write := func(dir, text string) {
		if err := os.WriteFile(filepath.Join(dir, ProjectFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		make func(dir string)
		want string // in the error; "" is none
	}{
		{"plain", func(dir string) { write(dir, "net.deny = [\"x.example.com\"]\n") }, ""},
		{"a link", func(dir string) {
			if err := os.Symlink("/etc/hostname", filepath.Join(dir, ProjectFile)); err != nil {
				t.Fatal(err)
			}
		}, "is a symbolic link"},
		{"a dangling link", func(dir string) {
			if err := os.Symlink("nowhere", filepath.Join(dir, ProjectFile)); err != nil {
				t.Fatal(err)
			}
		}, "is a symbolic link"},
		{"a FIFO nobody writes", func(dir string) {
			if err := syscall.Mkfifo(filepath.Join(dir, ProjectFile), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		{"a directory", func(dir string) {
			if err := os.Mkdir(filepath.Join(dir, ProjectFile), 0o755); err != nil {
				t.Fatal(err)
			}
		}, "not a regular file"},
		{"endless", func(dir string) {
			write(dir, "")
			if err := os.Truncate(filepath.Join(dir, ProjectFile), 1<<40); err != nil {
				t.Fatal(err)
			}
		}, "more than"},
		{"broken", func(dir string) { write(dir, "x = 1\n") }, ".agentjail.toml:1:1: unknown key x"},
		{"extends", func(dir string) { write(dir, "extends = [\"claude\"]\n") }, "extends has no meaning"},
		{"match", func(dir string) { write(dir, "match = [\"sh\"]\n") }, "match has no meaning"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			c.make(dir)
			p, raw, err := LoadProject(dir)
			if c.want == "" {
				if err != nil || p == nil || len(raw) == 0 || p.Net.Deny[0].Why != ".agentjail.toml: net.deny[0]" {
					t.Errorf("%+v, %q, %v", p, raw, err)
				}
				return
			}
			if err == nil || p != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v, want %q", p, err, c.want)
			}
		})
	}
	if p, raw, err := LoadProject(t.TempDir()); p != nil || raw != nil || err != nil {
		t.Errorf("missing: %v, %q, %v", p, raw, err)
	}
	if _, _, err := LoadProject(filepath.Join(t.TempDir(), "x\x1b[m")); err != nil {
		t.Errorf("a missing directory: %v", err)
	}
}

func TestTrust(t *testing.T) {
	tr := Trust{Dir: filepath.Join(t.TempDir(), "state", "trust")}
	project := t.TempDir()
	content, other := []byte("net.allow = [\"x.example.com\"]\n"), []byte("net.allow = [\"y.example.com\"]\n")
	has := func(want bool, dir string, content []byte, when string) {
		t.Helper()
		if got, err := tr.Has(dir, content); err != nil || got != want {
			t.Errorf("%s: %v, %v", when, got, err)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	has(false, project, content, "before")
	must(tr.Remove(project))
	must(tr.Add(project, content))
	has(true, project, content, "added")
	has(false, project, other, "another content")
	has(false, project, append(content, '\n'), "one byte more")
	has(false, project, nil, "no content")
	has(false, t.TempDir(), content, "another project with the same content")

	link := filepath.Join(t.TempDir(), "link")
	must(os.Symlink(project, link))
	has(true, link, content, "through a link")
	must(tr.Remove(link))
	has(false, project, content, "removed through a link")

	must(tr.Add(project, content))
	must(tr.Add(project, other))
	has(true, project, other, "added again")
	has(false, project, content, "the last agreement stands alone")

	moved := filepath.Join(t.TempDir(), "moved")
	must(os.Rename(project, moved))
	has(false, moved, other, "moved")
	if _, err := tr.Has(project, other); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a project that is gone: %v", err)
	}

	must(tr.Add(moved, content))
	must(filepath.WalkDir(tr.Dir, func(name string, d fs.DirEntry, err error) error {
		must(err)
		info, err := d.Info()
		must(err)
		if want := map[bool]fs.FileMode{true: 0o700, false: 0o600}[d.IsDir()]; info.Mode().Perm() != want {
			t.Errorf("%s is %v", name, info.Mode())
		}
		if strings.Contains(name, ".new-") {
			t.Errorf("%s is left behind", name)
		}
		return nil
	}))
}

func TestTrustThatCannotBeWrittenIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tr := Trust{Dir: filepath.Join(file, "trust")}
	if err := tr.Add(t.TempDir(), nil); err == nil {
		t.Error("added below a file")
	}
	if got, err := tr.Has(t.TempDir(), nil); got || err == nil {
		t.Errorf("has: %v, %v", got, err)
	}
}
