package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// The jail's file tree is made by us, on descriptors, and container.c only pivots into it. Every source is opened once, with no
// symbolic link followed, before anything is mounted; every target is walked to inside the new root, with no link followed
// either (openat2(2), RESOLVE_NO_SYMLINKS). So a path that is swapped for a link between plan and act, or by a second jail in the
// same project, ends the run instead of moving a mount. There are fewer system calls this way, too:
// measured, 40 mounts in 1.1 ms against 2.0 ms for 16 by path.

// rootDir lies on a private tmpfs that the gateway mounts over a directory that every system has; see gateway.go.
const (
	privateDir = "/tmp"
	rootDir    = privateDir + "/root"
	overDir    = privateDir + "/over"
)

// openTree gives a detached copy of the mounts at source, restricted as m says. It needs CAP_SYS_ADMIN over the mount namespace:
// the gateway has it over its own copy, and a launcher that is root over the host's, where the gateway's uid may not look.
func openTree(m *Mount) (*os.File, error) {
	fd, err := unix.Openat2(unix.AT_FDCWD, m.Source, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS})
	if errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("bind %s: it has become a symbolic link since the plan was made: %w", m.Source, err)
	}
	if err != nil {
		return nil, fmt.Errorf("bind %s: %w", m.Source, err)
	}
	defer unix.Close(fd)
	return cloneTree(fd, m)
}

func cloneTree(fd int, m *Mount) (*os.File, error) {
	tree, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|unix.AT_RECURSIVE)
	if err != nil {
		return nil, fmt.Errorf("open_tree %s: %w", m.Source, err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID, Propagation: unix.MS_PRIVATE}
	if !m.Dev {
		attr.Attr_set |= unix.MOUNT_ATTR_NODEV
	}
	if m.ReadOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if m.NoExec {
		attr.Attr_set |= unix.MOUNT_ATTR_NOEXEC
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		unix.Close(tree)
		return nil, fmt.Errorf("mount_setattr %s: %w", m.Source, err)
	}
	return os.NewFile(uintptr(tree), m.Source), nil
}

// assembler makes the tree. Descriptors: root is the mount of the new root; trees are the opened sources, by index in mounts.
type assembler struct {
	root   int
	mounts []Mount
	trees  map[int]*os.File
	late   []lateFile
	inside bool // this thread has the jail's root, and not the gateway's
}

// lateFile is one whose content is still being made: a mount by its index.
type lateFile struct {
	mount int
	file  *os.File
}

// fill writes what the late files hold, which the launcher sends in the order of their mounts. Nobody is in the jail to see them empty.
func (a *assembler) fill(c *channel) error {
	if len(a.late) == 0 {
		return nil
	}
	m, err := c.receive()
	if err != nil {
		return &Error{Step: StepHandshake, Err: err}
	}
	files, err := m.claim(1)
	if err != nil {
		return &Error{Step: StepHandshake, Err: err}
	}
	filled, err := unpackMounts(files[0])
	if err != nil {
		return &Error{Step: StepHandshake, Err: err}
	}
	for i, l := range a.late {
		if i >= len(filled) || filled[i].Target != a.mounts[l.mount].Target {
			return &Error{Step: StepHandshake, Err: fmt.Errorf("no content came for %s", a.mounts[l.mount].Target)}
		}
		if err := writeAll(l.file, filled[i].Data); err != nil {
			return &Error{Step: StepRoot, Err: fmt.Errorf("write %s: %w", a.mounts[l.mount].Target, err)}
		}
	}
	a.late = nil
	return nil
}

// write puts the content of a mount into a new file of ours, or keeps the file for the content that comes.
func (a *assembler) write(i int, f *os.File) error {
	if a.mounts[i].Late {
		a.late = append(a.late, lateFile{i, f})
		return nil
	}
	return writeAll(f, a.mounts[i].Data)
}

// outside runs f where the gateway's files are: the thread of a new goroutine has seen no jail.
func (a *assembler) outside(f func()) {
	if !a.inside {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// openSources opens what the launcher has not opened already.
func (a *assembler) openSources() error {
	for i := range a.mounts {
		m := &a.mounts[i]
		if m.Kind != KindBind || a.trees[i] != nil {
			continue
		}
		if m.Create {
			if err := os.MkdirAll(m.Source, 0o700); err != nil {
				return err
			}
		}
		tree, err := openTree(m)
		if err != nil {
			return err
		}
		a.trees[i] = tree
	}
	return nil
}

// assemble makes each mount in order. What container.c mounts (proc, mqueue) gets its mount point here.
func (a *assembler) assemble() error {
	var err error
	a.root, err = unix.Open(rootDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", rootDir, err)
	}
	defer unix.Close(a.root)
	for i := range a.mounts {
		if err := a.act(i); err != nil {
			return fmt.Errorf("%s %s: %w", a.mounts[i].Kind, a.mounts[i].Target, err)
		}
	}
	return a.seal()
}

// seal makes file systems of our own read-only, themselves alone, when the mount points in them have been made.
func (a *assembler) seal() error {
	for i := range a.mounts {
		m := &a.mounts[i]
		if m.Kind != KindTmpfs || !m.ReadOnly {
			continue
		}
		fd, err := a.walk(m.Target)
		if err == nil {
			err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
			unix.Close(fd)
		}
		if err != nil {
			return fmt.Errorf("make %s read-only: %w", m.Target, err)
		}
	}
	return nil
}

func (a *assembler) act(i int) error {
	m := &a.mounts[i]
	switch m.Kind {
	case KindDir, KindProc, KindMqueue:
		return a.makeDir(i)
	case KindTmpfs:
		data := fmt.Sprintf("mode=%o", m.Mode)
		if m.Size > 0 {
			data += fmt.Sprintf(",size=%d", m.Size)
		}
		return a.mount(i, "tmpfs", mountFlags(m), data)
	case KindDevpts:
		return a.mount(i, "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")
	case KindFile, KindSymlink:
		return a.makeFile(i)
	case KindBind:
		return a.bind(i)
	case KindOver, KindMask:
		return a.cover(i)
	case KindPin:
		return a.pin(m)
	}
	return fmt.Errorf("unknown kind of mount %q", m.Kind)
}

func mountFlags(m *Mount) uintptr {
	flags := uintptr(unix.MS_NOSUID | unix.MS_NODEV)
	if m.NoExec {
		flags |= unix.MS_NOEXEC
	}
	return flags
}

// mount makes a new file system on the target. /proc/self/fd names the descriptor's own place, so no path is walked again.
func (a *assembler) mount(i int, fstype string, flags uintptr, data string) error {
	fd, err := a.dir(i, a.mounts[i].Target)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Mount(fstype, fmt.Sprintf("/proc/self/fd/%d", fd), fstype, flags, data)
}

func (a *assembler) makeDir(i int) error {
	m := &a.mounts[i]
	fd, err := a.dir(i, m.Target)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if m.Mode != 0 && a.ours(i, m.Target) {
		return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), fs.FileMode(m.Mode&0o777))
	}
	return nil
}

// makeFile writes a file or a link into a file system of the jail's own. One of an earlier session (a private home) is replaced.
func (a *assembler) makeFile(i int) error {
	m := &a.mounts[i]
	if !a.ours(i, m.Target) {
		return errors.New("it would be made in the host's files")
	}
	parent, err := a.dir(i, path.Dir(m.Target))
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	name := path.Base(m.Target)
	if err := unix.Unlinkat(parent, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if m.Kind == KindSymlink {
		return unix.Symlinkat(m.Source, parent, name)
	}
	fd, err := unix.Openat(parent, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, m.Mode)
	if err != nil {
		return err
	}
	return a.write(i, os.NewFile(uintptr(fd), "file"))
}

func writeAll(f *os.File, data []byte) error {
	_, err := f.Write(data)
	return errors.Join(err, f.Close())
}

func (a *assembler) bind(i int) error {
	tree := a.trees[i]
	var st unix.Stat_t
	if err := unix.Fstat(int(tree.Fd()), &st); err != nil {
		return err
	}
	var target int
	var err error
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		target, err = a.dir(i, a.mounts[i].Target)
	} else {
		target, err = a.file(i, a.mounts[i].Target)
	}
	if err != nil {
		return err
	}
	defer unix.Close(target)
	defer tree.Close()
	return attach(int(tree.Fd()), target)
}

func attach(tree, target int) error {
	if err := unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// cover binds a file or an empty directory of ours over a target that exists.
func (a *assembler) cover(i int) error {
	m := &a.mounts[i]
	target, err := a.walk(m.Target)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	var st unix.Stat_t
	if err := unix.Fstat(target, &st); err != nil {
		return err
	}
	var tree *os.File
	a.outside(func() { tree, err = a.openCover(i, m, st.Mode&unix.S_IFMT == unix.S_IFDIR) })
	if err != nil {
		return err
	}
	defer tree.Close()
	return attach(int(tree.Fd()), target)
}

// openCover makes what covers the target of a mount, unless an earlier one has, and opens it.
func (a *assembler) openCover(i int, m *Mount, dir bool) (*os.File, error) {
	name, mode := overDir+"/"+strconv.Itoa(i), fs.FileMode(m.Mode)
	if m.Kind == KindMask { // they are all alike
		name, mode = overDir+"/file", 0
		if dir {
			name = overDir + "/dir"
		}
	}
	_, err := os.Lstat(name)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case dir:
		err = os.Mkdir(name, mode)
	default:
		var f *os.File
		if f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			err = errors.Join(f.Chmod(mode), a.write(i, f))
		}
	}
	if err != nil {
		return nil, err
	}
	return openTree(&Mount{Source: name, ReadOnly: true, NoExec: true})
}

// pin binds a directory onto itself: rename(2) and rmdir(2) of a mount point give EBUSY, so the names below it stay where the
// read-only binds are.
func (a *assembler) pin(m *Mount) error {
	target, err := a.walk(m.Target)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	tree, err := cloneTree(target, &Mount{Source: m.Target, ReadOnly: m.ReadOnly})
	if err != nil {
		return err
	}
	defer tree.Close()
	return attach(int(tree.Fd()), target)
}
