package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/agentjail/agentjail/sandbox"
)

// recordFile is where --report goes. Its directory is opened before the run and held: the command may own that directory, and must
// not be able to send our write elsewhere by swapping it, or FILE, for a symbolic link.
type recordFile struct {
	name   string   // as given
	dir    *os.Root // the directory of a plain file
	path   string   // FILE without links; a plain file's own name may be one, and is replaced
	links  []string // where each link on the way lies
	stream *os.File // FILE when it is a terminal, /dev/null or a descriptor of ours
}

// openReport finds out, before anything runs, whether the report can be written. "" gives a record that writes nothing.
func openReport(name string) (*recordFile, error) {
	if name == "" {
		return &recordFile{}, nil
	}
	if name == "-" {
		return nil, usage("--report /dev/stderr, or ./- for a file of that name", "--report -: standard output is the command's")
	}
	r := &recordFile{name: name}
	if err := r.open(); err != nil {
		return nil, usage("agentjail --report report.json -- COMMAND", "--report: %w", err)
	}
	return r, nil
}

func (r *recordFile) open() (err error) {
	name, err := filepath.Abs(r.name)
	if err != nil {
		return err
	}
	if r.path, r.links, err = resolve(name); err != nil {
		return err
	}
	if n, ok := descriptor(r.path); ok {
		return r.inherit(n)
	}
	info, err := os.Lstat(r.path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory", r.name)
	case err == nil && info.Mode()&fs.ModeCharDevice != 0:
		r.stream, err = os.OpenFile(r.path, os.O_WRONLY|syscall.O_NOFOLLOW|syscall.O_NOCTTY, 0)
		return err
	case err == nil && !info.Mode().IsRegular():
		// An earlier run may have made it, and then who opens a FIFO for writing waits for its reader (fifo(7)).
		return fmt.Errorf("%s is no regular file", r.name)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if r.path, r.links, err = resolve(filepath.Dir(name)); err != nil {
		return err
	}
	r.path = filepath.Join(r.path, filepath.Base(name)) // which is replaced, be it a link
	if r.dir, err = os.OpenRoot(filepath.Dir(r.path)); err != nil {
		return err
	}
	if err := r.unmoved(); err != nil {
		return err
	}
	f, temporary, err := r.create() // by doing: permission bits do not know of read-only and full file systems
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4<<10)) // an empty file needs no room
	return errors.Join(err, f.Close(), r.dir.Remove(temporary))
}

// resolve follows the links of an absolute path, but not the kernel's own of /proc/PID, and says in which directories they lie.
func resolve(name string) (path string, links []string, err error) {
	path = "/"
	for rest := strings.Split(name, "/"); len(rest) > 0; {
		next := filepath.Join(path, rest[0])
		rest = rest[1:]
		to, err := os.Readlink(next)
		if err != nil || strings.HasPrefix(next, "/proc/") && next != "/proc/self" {
			path = next // no link, or nothing at all: whoever opens it says so
			continue
		}
		if links = append(links, path); len(links) > 40 {
			return "", nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ELOOP}
		}
		if strings.HasPrefix(to, "/") {
			path = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return path, links, nil
}

// unmoved makes sure that no other jail of the project has put a link into the path since it was resolved.
func (r *recordFile) unmoved() error {
	dir, err := r.dir.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	at, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(dir.Fd())))
	if err == nil && at != filepath.Dir(r.path) {
		err = fmt.Errorf("%s has moved to %s", filepath.Dir(r.path), at)
	}
	return err
}

// outside refuses a FILE that a link in the project leads out of it: the command of an earlier run may have made the link.
func (r *recordFile) outside(project string) error {
	if r == nil || r.name == "" || within(project, r.path) {
		return nil
	}
	for _, dir := range r.links {
		if within(project, dir) {
			return usage("--report "+quote(r.path), "--report %s: a link in the project leads to %s", r.name, r.path)
		}
	}
	return nil
}

func within(dir, path string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

// descriptor is N of /dev/fd/N, /dev/stderr and the like.
func descriptor(path string) (n int, ok bool) {
	var pid int
	if _, err := fmt.Sscanf(path, "/proc/%d/fd/%d", &pid, &n); err != nil || pid != os.Getpid() {
		return 0, false
	}
	return n, true
}

// inherit writes to a descriptor that our caller gave us. It is duplicated and not opened anew: a file begins where the caller is in it.
func (r *recordFile) inherit(n int) error {
	if n == 1 {
		return errors.New("standard output is the command's")
	}
	fd, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(n), syscall.F_DUPFD_CLOEXEC, 3)
	if errno != 0 {
		return fmt.Errorf("descriptor %d: %w", n, errno)
	}
	r.stream = os.NewFile(fd, r.name)
	return nil
}

// create makes a file of ours beside FILE.
func (r *recordFile) create() (*os.File, string, error) {
	temporary := ".agentjail-report-" + rand.Text()
	f, err := r.dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_ = f.Chmod(0o600) // the umask may have taken these too; FAT has none
	}
	return f, temporary, err
}

// write puts the report in its place at once: who reads FILE sees all of it or what was there before.
func (r *recordFile) write(report *sandbox.Report) error {
	if r == nil || r.name == "" {
		return nil
	}
	text, err := indented(report)
	if err == nil {
		err = r.put(text)
	}
	if err != nil {
		return fmt.Errorf("--report %s: %w", r.name, err)
	}
	return nil
}

func (r *recordFile) put(text []byte) error {
	if r.stream != nil {
		return errors.Join(writeJSON(r.stream, text), r.stream.Close())
	}
	defer r.dir.Close()
	f, temporary, err := r.create()
	if err != nil {
		return err
	}
	if err := errors.Join(writeJSON(f, text), f.Close()); err != nil {
		return errors.Join(err, r.dir.Remove(temporary))
	}
	if err := r.dir.Rename(temporary, filepath.Base(r.path)); err != nil {
		return errors.Join(err, r.dir.Remove(temporary))
	}
	return nil
}
