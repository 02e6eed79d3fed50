package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// walk opens what stands at target in the jail, through the mounts made so far.
func (a *assembler) walk(target string) (int, error) {
	rel := strings.TrimPrefix(target, "/")
	if rel == "" {
		rel = "."
	}
	return unix.Openat2(a.root, rel, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
}

// dir opens the directory target, and makes it where it is missing and the file system is the jail's own.
func (a *assembler) dir(i int, target string) (int, error) {
	return a.point(i, target, func(parent int, name string) error {
		if err := unix.Mkdirat(parent, name, 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("mkdir %s: %w", target, err)
		}
		return nil
	})
}

// file is dir for a mount point that is a file.
func (a *assembler) file(i int, target string) (int, error) {
	return a.point(i, target, func(parent int, name string) error {
		f, err := unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
		if err != nil {
			return fmt.Errorf("create %s: %w", target, err)
		}
		return unix.Close(f)
	})
}

// point opens a mount point, made by create where it is missing and the file system is the jail's own.
func (a *assembler) point(i int, target string, create func(parent int, name string) error) (int, error) {
	fd, err := a.walk(target)
	if !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	if !a.ours(i, target) {
		return -1, errors.New("it does not exist, and nothing is made in the host's files")
	}
	parent, err := a.dir(i, path.Dir(target))
	if err != nil {
		return -1, err
	}
	defer unix.Close(parent)
	if err := create(parent, path.Base(target)); err != nil {
		return -1, err
	}
	return a.walk(target)
}

// ours says whether target lies in a file system of the jail's own: whether the innermost earlier mount around it is a tmpfs (the
// root is one) or a bind of our own state.
func (a *assembler) ours(i int, target string) bool {
	best, own := "", true
	for j := range a.mounts[:i] {
		m := &a.mounts[j]
		switch m.Kind {
		case KindDir, KindFile, KindSymlink:
			continue
		}
		if len(m.Target) >= len(best) && within(target, m.Target) {
			best = m.Target
			own = m.Kind == KindTmpfs || m.Kind == KindBind && m.Own || m.Kind == KindPin && own
		}
	}
	return own
}

// within says whether p is dir or lies below it; both are clean and absolute.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir) && p[len(dir)] == '/'
}
