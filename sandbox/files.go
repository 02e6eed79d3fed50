package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// diskFiles is the real file system.
type diskFiles struct{}

func (diskFiles) Lstat(name string) (fs.FileInfo, error) { return os.Lstat(name) }

func (diskFiles) Readlink(name string) (string, error) { return os.Readlink(name) }

// CountsLinks knows those that always do (inode(7)). Others have 1, or count in their own way.
func (diskFiles) CountsLinks(name string) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(name, &fs); err != nil {
		return false
	}
	return fs.Type == unix.EXT4_SUPER_MAGIC || fs.Type == unix.XFS_SUPER_MAGIC || fs.Type == unix.TMPFS_MAGIC
}

// ReadFile opens with O_NONBLOCK, so that a FIFO in a project cannot stop a plan.
func (diskFiles) ReadFile(name string, max int) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	var b bytes.Buffer
	b.Grow(int(min(info.Size(), int64(max))) + bytes.MinRead) // a bundle of certificates in one piece; files of /proc say 0
	_, err = b.ReadFrom(io.LimitReader(f, int64(max)))
	return b.Bytes(), err
}

func (diskFiles) ReadDir(name string, max int) ([]fs.DirEntry, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(max)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// Rights asks for each file relative to its directory: whole paths take as long again.
func (diskFiles) Rights(dir string, max int) (r rights) {
	f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return rights{err: err}
	}
	defer f.Close()
	at, stat := int(f.Fd()), new(unix.Stat_t)
	for r.err == nil && r.looks < max {
		var entries []fs.DirEntry
		entries, r.err = f.ReadDir(min(max-r.looks, 1024))
		r.looks += len(entries)
		for _, e := range entries {
			switch name := e.Name(); {
			case e.IsDir():
				r.dirs = append(r.dirs, name)
			case !e.Type().IsRegular() || unix.Fstatat(at, name, stat, unix.AT_SYMLINK_NOFOLLOW) != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG:
			case stat.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 || stat.Mode&0o111 != 0 && capable(at, name):
				r.giving = append(r.giving, name)
			}
		}
	}
	if r.err == io.EOF {
		r.err = nil
	}
	return r
}

// capable says whether a file in an open directory has capabilities (capabilities(7), "File capabilities"), however long its path is.
func capable(at int, name string) bool {
	n, err := unix.Lgetxattr(fmt.Sprintf("/proc/self/fd/%d/%s", at, name), "security.capability", nil)
	return err == nil && n > 0
}

// onceFiles asks another Files at most once for each name: the entries of PATH share most of their parents, and two looks at one
// name cannot disagree within a plan.
type onceFiles struct {
	Files
	stats map[string]stat
}

type stat struct {
	info fs.FileInfo
	err  error
}

func (f *onceFiles) Lstat(name string) (fs.FileInfo, error) {
	s, ok := f.stats[name]
	if !ok {
		s.info, s.err = f.Files.Lstat(name)
		f.stats[name] = s
	}
	return s.info, s.err
}

// link is a symbolic link that a path led through.
type link struct {
	path string // its own path, with no link in its parents
	text string // what it says
}

// place is where a path leads.
type place struct {
	path  string // absolute, no symbolic links
	info  fs.FileInfo
	links []link // in the order in which they were followed
}

// maxLinks is Linux's bound (path_resolution(7)).
const maxLinks = 40

// follow resolves an absolute path as path_resolution(7) does. It asks for the search of parents alone, never to read them, so a
// parent of mode 0711 is no obstacle. When the path does not exist, place.path is as far as it leads, the missing rest included.
func follow(f Files, name string) (place, error) {
	if !path.IsAbs(name) {
		return place{}, fmt.Errorf("%s: not an absolute path", name)
	}
	at := place{path: "/"}
	info, err := f.Lstat("/")
	if err != nil {
		return at, err
	}
	at.info = info
	rest := split(name)
	for len(rest) > 0 {
		next := rest[0]
		rest = rest[1:]
		if next == ".." {
			at.path = path.Dir(at.path)
			continue
		}
		here := path.Join(at.path, next)
		info, err := f.Lstat(here)
		if err != nil {
			at.path, at.info = path.Join(append([]string{here}, rest...)...), nil
			return at, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at.path, at.info = here, info
			continue
		}
		text, err := f.Readlink(here)
		if err != nil {
			return at, err
		}
		if at.links = append(at.links, link{here, text}); len(at.links) > maxLinks {
			return at, &fs.PathError{Op: "resolve", Path: name, Err: syscall.ELOOP}
		}
		rest = append(split(text), rest...)
		if path.IsAbs(text) {
			at.path = "/"
		}
	}
	if at.info, err = f.Lstat(at.path); err != nil { // after ".." the last info is another directory's
		return at, err
	}
	return at, nil
}

// split gives a path's components without "" and ".".
func split(name string) []string {
	return slices.DeleteFunc(strings.Split(name, "/"), func(s string) bool { return s == "" || s == "." })
}

// owner gives the uid and gid of a file.
func owner(info fs.FileInfo) (uid, gid int, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(st.Uid), int(st.Gid), true
}

// strictlyWithin says whether p lies below dir.
func strictlyWithin(p, dir string) bool { return p != dir && within(p, dir) }

// missing says that a name is not there, or that what should be a directory above it is none.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
