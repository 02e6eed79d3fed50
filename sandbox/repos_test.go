package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A directory without others in it is not read where the file system tells so, and what makes it a work tree is seen all the same.
func TestLeavesAreNotRead(t *testing.T) {
	project := hostDir(t)
	put := func(name string) {
		t.Helper()
		name = filepath.Join(project, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		put(fmt.Sprintf("full/%d", i))
	}
	put("tree/.git")
	put("deep/er/.git/HEAD")
	for _, name := range []string{"HEAD", "refs/x", "objects/x"} {
		put("bare/" + name)
	}
	want := []string{"bare", "deep/er", "tree"}
	for _, counts := range []bool{true, false} {
		f := &readingFiles{counts: counts}
		var got []string
		for _, repo := range lookForRepos(project, nil, f, nil).repos {
			rel, _ := filepath.Rel(project, repo)
			got = append(got, rel)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
		if read := slices.Contains(f.read, filepath.Join(project, "full")); read == (counts && diskFiles{}.CountsLinks(project)) {
			t.Errorf("where links tell (%v) a directory of files was read: %v", counts, read)
		}
	}
}

// readingFiles notes what is read.
type readingFiles struct {
	diskFiles
	counts bool
	read   []string
}

func (f *readingFiles) ReadDir(name string, max int) ([]os.DirEntry, error) {
	f.read = append(f.read, name)
	return f.diskFiles.ReadDir(name, max)
}

func (f *readingFiles) CountsLinks(name string) bool {
	return f.counts && f.diskFiles.CountsLinks(name)
}

// Links tell of directories on every file system of which we believe it: else repositories would not be found.
func TestCountsLinks(t *testing.T) {
	for _, dir := range []string{hostDir(t), "/dev/shm", "/var/tmp", "/tmp"} {
		if !(diskFiles{}).CountsLinks(dir) {
			continue
		}
		at, err := os.MkdirTemp(dir, "links")
		if err != nil {
			continue
		}
		defer os.RemoveAll(at)
		for n := range 5 {
			var st unix.Stat_t
			if err := unix.Lstat(at, &st); err != nil || int(st.Nlink) != 2+n {
				t.Errorf("%s has %d links with %d directories in it, %v", at, st.Nlink, n, err)
			}
			if err := errors.Join(os.Mkdir(filepath.Join(at, strconv.Itoa(n)), 0o755), os.WriteFile(filepath.Join(at, "f"+strconv.Itoa(n)), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The end of a run reads again what has changed since the beginning, and nothing else; of what had changed just before, it cannot tell.
func TestSecondLook(t *testing.T) {
	project := hostDir(t)
	for _, name := range []string{"a/b/c", "d/e"} {
		if err := os.MkdirAll(filepath.Join(project, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	seen := seenDirs{}
	if lookForRepos(project, nil, diskFiles{}, seen); len(seen) != 0 {
		t.Errorf("what was made a moment ago is taken for settled: %v", seen)
	}
	for _, name := range []string{"", "a", "a/b", "a/b/c", "d", "d/e"} { // as if it had been long ago
		at := filepath.Join(project, name)
		info, err := os.Lstat(at)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(at)
		if err != nil {
			t.Fatal(err)
		}
		seen[at] = seenDir{*info.Sys().(*syscall.Stat_t), entries}
	}
	f := &readingFiles{counts: true}
	if look := lookForRepos(project, nil, f, seen); len(f.read) != 0 || len(look.repos) != 0 {
		t.Errorf("read %q, found %q, where nothing had changed", f.read, look.repos)
	}
	changed := filepath.Join(project, "a/b")
	for i := 0; ; i++ { // the clock of the file system has its grain
		if err := os.Mkdir(filepath.Join(changed, strconv.Itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(changed); err != nil || info.Sys().(*syscall.Stat_t).Ctim != seen[changed].stat.Ctim {
			break
		}
	}
	if err := os.Mkdir(filepath.Join(changed, "0/.git"), 0o755); err != nil {
		t.Fatal(err)
	}
	f = &readingFiles{counts: true}
	if look := lookForRepos(project, nil, f, seen); !slices.Equal(look.repos, []string{filepath.Join(changed, "0")}) || slices.Contains(f.read, project) {
		t.Errorf("read %q, found %q", f.read, look.repos)
	}
}

// What a file system says of a directory's changes is believed of those that are known.
func TestSecondLookElsewhere(t *testing.T) {
	f := memMachine(t, "/p/a/b\n/p/c/d\n") // all of 1970
	for files, want := range map[Files]bool{f: false, known1970{f}: true} {
		seen := seenDirs{}
		lookForRepos("/p", nil, files, seen)
		if got := len(seen) > 0; got != want {
			t.Errorf("%T: kept %v", files, seen)
		}
	}
}

type known1970 struct{ *memFiles }

func (known1970) CountsLinks(string) bool { return true }
