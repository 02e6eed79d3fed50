package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/profiles"
	"golang.org/x/sys/unix"
)

// TestRights looks at real files. What has capabilities takes root to make: set_id_files_of_the_project_stay_as_they_are.txtar.
func TestRights(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]uint32{"plain": 0o644, "tool": 0o755, "uid": 0o4755, "gid": 0o2755, "unexecutable": 0o4644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	fifo := filepath.Join(dir, "fifo")
	for _, err := range []error{unix.Mkfifo(fifo, 0o600), unix.Chmod(fifo, 0o4755), os.Mkdir(filepath.Join(dir, "sub"), 0o700), os.Symlink("uid", filepath.Join(dir, "link")),
		os.Symlink("sub", filepath.Join(dir, "sublink"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	r := diskFiles{}.Rights(dir, 1000)
	slices.Sort(r.giving)
	if r.err != nil || r.looks != 9 || !slices.Equal(r.dirs, []string{"sub"}) || !slices.Equal(r.giving, []string{"gid", "uid", "unexecutable"}) {
		t.Errorf("%+v", r)
	}
	if r := (diskFiles{}.Rights(dir, 4)); r.err != nil || r.looks != 4 {
		t.Errorf("four at most: %+v", r)
	}
	for _, name := range []string{"gone", "sublink", "plain"} {
		if r := (diskFiles{}.Rights(filepath.Join(dir, name), 4)); r.err == nil || r.looks != 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for i := range 1500 { // several reads
		if err := os.WriteFile(fmt.Sprintf("%s/sub/%d", dir, i), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Chmod(dir+"/sub/1321", 0o6711); err != nil {
		t.Fatal(err)
	}
	if r := (diskFiles{}.Rights(dir+"/sub", 1_000_000)); r.err != nil || r.looks != 1500 || !slices.Equal(r.giving, []string{"1321"}) {
		t.Errorf("1500 files: %d looks, %q, %v", r.looks, r.giving, r.err)
	}
}

// crowded has so many files in each of its directories, and counts which were looked at.
type crowded struct {
	*memFiles
	in     int
	total  int
	asked  map[string]int
	bounds []int
}

func (f *crowded) Rights(dir string, max int) rights {
	r := f.memFiles.Rights(dir, max)
	if r.err != nil {
		return r // a device
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[dir]++
	f.bounds = append(f.bounds, max)
	r.looks = min(max, r.looks+f.in)
	f.total += r.looks
	return r
}

// TestSetIDFilesOfRoot: as root, in a project of root's, each directory is looked at once, wherever it lies, and what gives rights is
// read-only. In a user's project nobody looks.
func TestSetIDFilesOfRoot(t *testing.T) {
	var tree strings.Builder
	want, dirs := map[string]string{"/code/p/plain": "--"}, 1
	tree.WriteString("/code/p/ uid=%d\n/code/p/plain\n")
	for i := range 20 {
		at := "/code/p/node_modules"
		for j := range 5 {
			at += fmt.Sprintf("/%d.%d", i, j)
			fmt.Fprintf(&tree, "%s/tool 04755\n", at)
			want[at+"/tool"] = "ro"
			dirs++
		}
	}
	dirs++ // node_modules
	for _, owner := range []int{0, 1000} {
		h := root(t, "/code/p", fmt.Sprintf(tree.String(), owner))
		f := &crowded{memFiles: h.FS.(*memFiles), in: maxSetIDLooks/dirs - 10, asked: map[string]int{}}
		h.FS = f
		got := plan(t, h, &profiles.Profile{}, Request{})
		if owner != 0 {
			if len(f.asked) != 0 {
				t.Errorf("of a user's project %d directories were looked at", len(f.asked))
			}
			continue
		}
		wantBinds(t, got, want)
		if len(f.asked) != dirs {
			t.Errorf("%d of %d directories were looked at", len(f.asked), dirs)
		}
		for dir, n := range f.asked {
			if n != 1 {
				t.Errorf("%s was looked at %d times", dir, n)
			}
		}
	}
}

// TestTooManyForSetID: what cannot be looked at whole is not run in, and what cannot be read is told.
func TestTooManyForSetID(t *testing.T) {
	tree := "/code/p/ uid=0\n/code/p/dark/ 0\n"
	for i := range 50 {
		tree += fmt.Sprintf("/code/p/a/%d/b/c\n", i)
	}
	for _, in := range []int{maxSetIDLooks, maxSetIDLooks / 10} { // in one, in all together
		h := root(t, "/code/p", tree)
		f := &crowded{memFiles: h.FS.(*memFiles), in: in, asked: map[string]int{}}
		h.FS = f
		_, err := NewPlan(&profiles.Profile{}, Request{Argv: []string{"sh"}}, h)
		wantRefusal(t, err, "/code/p and what else may be written to hold more than 1000000 files")
		n := len(f.asked)
		if n > 20 {
			t.Errorf("%d in each: it went on to %d directories", in, n)
		}
		late := in * runtime.GOMAXPROCS(0) // what others are looking at meanwhile
		if f.total > maxSetIDLooks+late || slices.Min(f.bounds) <= 0 || n > 1 && slices.Min(f.bounds) > in+late {
			t.Errorf("%d looks, bounds %d", f.total, f.bounds)
		}
	}
	got := plan(t, root(t, "/code/p", tree), &profiles.Profile{}, Request{})
	if notes := strings.Join(got.Notes, "\n"); !strings.Contains(notes, "/code/p/dark cannot be read: set-id files in it are not protected") {
		t.Errorf("notes: %s", notes)
	}
}

// TestSetIDFilesElsewhere: what the command may write to beside the project is looked at as well, and what is let go of in the project
// is nothing there.
func TestSetIDFilesElsewhere(t *testing.T) {
	h := root(t, "/code/wt", `
/code/ uid=0
/code/wt/.git = "gitdir: /code/main/.git/worktrees/wt\n"
/code/wt/in 04755
/code/wt/part/tool 04755
/code/main/.git/HEAD = "ref: refs/heads/main\n"
/code/main/.git/refs/
/code/main/.git/objects/tool 04755
/code/main/.git/worktrees/wt/commondir = "../..\n"
/code/main/.git/worktrees/wt/gitdir = "/code/wt/.git\n"
/srv/data/ uid=0
/srv/data/deep/tool 02755
/srv/data/plain
/srv/read/tool 04755
`)
	f := &crowded{memFiles: h.FS.(*memFiles), asked: map[string]int{}}
	h.FS = f
	p := &profiles.Profile{}
	p.FS.Write = items("--rw", "/srv/data", "/code/wt/part")
	p.FS.Read = items("--ro", "/srv/read")
	p.FS.Unprotect = items("--unprotect", ".")
	got := plan(t, h, p, Request{})
	wantBinds(t, got, map[string]string{
		"/srv/data/deep/tool":          "ro",
		"/srv/data/plain":              "--",
		"/code/main/.git/objects/tool": "ro",
		"/code/wt/in":                  "--",
		"/code/wt/part/tool":           "--",
	})
	for dir, want := range map[string]int{"/srv/data/deep": 1, "/code/main/.git/objects": 1, "/code/wt/part": 1, "/srv/read": 0} {
		if n := f.asked[dir]; n != want {
			t.Errorf("%s was looked at %d times, want %d", dir, n, want)
		}
	}
}

// TestSetIDTooDeep: what has a path that is too long to be looked at or mounted on ends the plan.
func TestSetIDTooDeep(t *testing.T) {
	at := "/code/p" + strings.Repeat("/0123456789abcdef0123456789abcdef", 120)
	for rest, fits := range map[string]bool{"/tool": true, "/" + strings.Repeat("t", 200): false} {
		_, err := NewPlan(&profiles.Profile{}, Request{Argv: []string{"sh"}}, root(t, "/code/p", "/code/p/ uid=0\n"+at+rest+" 04755\n"))
		if fits && err != nil {
			t.Errorf("%d bytes: %v", len(at+rest), err)
		} else if !fits {
			wantRefusal(t, err, "/code/p/0123456789abcdef")
			wantRefusal(t, err, "lies deeper than 4096 bytes")
		}
	}
	h := root(t, "/code/p", "/code/p/ uid=0\n"+at+"/a/b\n")
	files := h.FS
	for _, dir := range []string{at + "/a", "/code/p/0123456789abcdef0123456789abcdef"} { // some file systems take less
		h.FS = tooLong{files, dir}
		_, err := NewPlan(&profiles.Profile{}, Request{Argv: []string{"sh"}}, h)
		wantRefusal(t, err, "lies deeper than 4096 bytes")
	}
}

// tooLong is a directory whose path is too long.
type tooLong struct {
	Files
	dir string
}

func (f tooLong) Rights(dir string, max int) rights {
	if dir == f.dir {
		return rights{err: unix.ENAMETOOLONG}
	}
	return f.Files.Rights(dir, max)
}
