package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// A mount stands on a directory entry, and Linux lifts it, in every mount namespace, when another one unlinks that entry or renames
// over it (Linux 3.18, detach_mounts): `git config`, an editor that saves by renaming, or the end of a second jail that could write
// there. The guard watches the jail's mounts and puts back what is gone. What it cannot do is close the moment between: whatever was
// opened for writing by then stays open. So the end of the run looks at the same paths (watch.go).
//
// It sleeps in poll(2) until the mounts of the namespace change (proc(5), /proc/pid/mountinfo gives POLLPRI and POLLERR), and where a
// name is gone, until something appears beside where it was (inotify(7)).
type guard struct {
	tree      *assembler // root is the jail's
	guarded   []int      // indexes into tree.mounts
	mountinfo int        // not an *os.File: Go's poller would take the event that this guard waits for
	namespace int
	inotify   int // -1 while nothing is gone
}

// guardedMounts gives the mounts that a change on the host could lift and that refuse something: those whose mount points lie in the
// host's files.
func guardedMounts(mounts []Mount) []int {
	var out []int
	for i := range mounts {
		m := &mounts[i]
		switch around := around(mounts, m.Target); {
		case around == nil || around.Kind != KindBind || around.Own:
		case m.Kind == KindPin, m.Kind == KindMask, m.Kind == KindOver:
			out = append(out, i)
		case protects(m, around):
			out = append(out, i)
		}
	}
	return out
}

// protects says whether a mount is there to take the right to write away that the mount around it gives.
func protects(m, around *Mount) bool {
	return m.Kind == KindBind && m.ReadOnly && m.Source == m.Target && !around.ReadOnly
}

// around gives the innermost mount that a target lies in and is not, or nil.
func around(mounts []Mount, target string) *Mount {
	var best *Mount
	for i := range mounts {
		m := &mounts[i]
		if holds(m.Kind) && strictlyWithin(target, m.Target) && (best == nil || len(m.Target) >= len(best.Target)) {
			best = m
		}
	}
	return best
}

// newGuard makes the guard of a jail whose init is pid; nil when it has nothing to guard, be it that the jail is over.
func newGuard(tree *assembler, pid int) (*guard, error) {
	g := &guard{tree: tree, guarded: guardedMounts(tree.mounts), inotify: -1}
	if len(g.guarded) == 0 {
		return nil, nil
	}
	if err := g.open("/proc/" + strconv.Itoa(pid)); err != nil {
		if dying(pid) {
			return nil, nil
		}
		return nil, err
	}
	return g, nil
}

func (g *guard) open(proc string) (err error) {
	if g.mountinfo, err = unix.Open(proc+"/mountinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open %s/mountinfo: %w", proc, err)
	}
	if g.namespace, err = unix.Open(proc+"/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open %s/ns/mnt: %w", proc, err)
	}
	return nil
}

// dying says whether a child of ours is gone or about to be: one that exits loses its namespaces first (EINVAL), and a short command
// may have come and gone by now.
func dying(pid int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return errors.Is(err, unix.ESRCH)
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 1000)
		if !errors.Is(err, unix.EINTR) {
			return n == 1 && err == nil
		}
	}
}

// keep puts back what is lifted. It returns only when it cannot go on, and then the jail must not either.
func (g *guard) keep() error {
	// The thread is the jail's file system's from here on, and ends with this goroutine. setns(2) wants it to share its root and
	// working directory with no other.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("guard: unshare(CLONE_FS): %w", err)
	}
	if err := unix.Setns(g.namespace, unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("guard: setns: %w", err)
	}
	g.tree.inside = true
	var err error
	if g.tree.root, err = unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	const tries = 64 // a mount below one that is being lifted fails, and the next look sees why
	for failed := 0; ; {
		switch again, err := g.look(); {
		case err != nil && failed == tries:
			return fmt.Errorf("guard: the protection of a path was lifted from outside, and cannot be put back: %w", err)
		case err != nil:
			failed++
		case !again:
			failed = 0
			if err := g.sleep(); err != nil {
				return err
			}
		}
	}
}

// look puts back what is missing, in the plan's order, and says whether to look again at once.
func (g *guard) look() (again bool, err error) {
	there, err := g.mountPoints()
	if err != nil {
		return false, err
	}
	gone := false
	for _, i := range g.guarded {
		m := &g.tree.mounts[i]
		if there[m.Target] {
			continue
		}
		err := g.tree.again(i)
		if noPath(err) {
			gone = true
			if !g.await(m.Target) {
				continue
			}
			err = g.tree.again(i) // it may have come back before the watch stood
		}
		switch {
		case err == nil:
			again = true // somebody may have lifted it again since the list was read
		case !noPath(err):
			return false, fmt.Errorf("%s %s: %w", m.Kind, m.Target, err)
		}
	}
	if !gone && g.inotify >= 0 {
		unix.Close(g.inotify)
		g.inotify = -1
	}
	return again, nil
}

// noPath says that there is nothing to mount on: the end of the run has the word. A link cannot hold a mount.
func noPath(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// again makes a mount of the plan once more, on what stands at its target now.
func (a *assembler) again(i int) error {
	if m := &a.mounts[i]; m.Kind == KindPin || m.Kind == KindBind {
		return a.pin(m)
	}
	return a.cover(i)
}

// await watches for names that appear in the nearest directory above target. It is a courtesy: where the user's inotify instances
// are used up, the next change of a mount is the next look.
func (g *guard) await(target string) bool {
	if g.inotify < 0 {
		var err error
		if g.inotify, err = unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK); err != nil {
			g.inotify = -1
			return false
		}
	}
	for dir := path.Dir(target); ; dir = path.Dir(dir) {
		fd, err := g.tree.walk(dir)
		if err != nil {
			if dir == "/" {
				return false
			}
			continue
		}
		defer unix.Close(fd)
		if unix.Fchdir(fd) != nil { // the thread's own; inotify takes names alone
			return false
		}
		_, err = unix.InotifyAddWatch(g.inotify, ".", unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
		unix.Fchdir(g.tree.root)
		return err == nil
	}
}

// sleep returns when the mounts have changed, or when something has appeared where something is gone.
func (g *guard) sleep() error {
	fds := []unix.PollFd{{Fd: int32(g.mountinfo), Events: unix.POLLPRI}}
	if g.inotify >= 0 {
		fds = append(fds, unix.PollFd{Fd: int32(g.inotify), Events: unix.POLLIN})
	}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("guard: poll: %w", err)
		}
		break
	}
	if len(fds) > 1 && fds[1].Revents != 0 {
		events := make([]byte, 64<<10)
		for n, err := 1, error(nil); n > 0 && err == nil; {
			n, err = unix.Read(g.inotify, events)
		}
	}
	return nil
}

// mountPoints reads where mounts stand in the jail (proc_pid_mountinfo(5): the fifth field).
func (g *guard) mountPoints() (map[string]bool, error) {
	if _, err := unix.Seek(g.mountinfo, 0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("guard: mountinfo: %w", err)
	}
	var data []byte
	for part := make([]byte, 32<<10); ; {
		n, err := unix.Read(g.mountinfo, part)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("guard: mountinfo: %w", err)
		}
		if n == 0 {
			break
		}
		data = append(data, part[:n]...)
	}
	there := make(map[string]bool)
	for line := range bytes.Lines(data) {
		if fields := bytes.SplitN(line, []byte(" "), 6); len(fields) == 6 {
			there[unescape(string(fields[4]))] = true
		}
	}
	return there, nil
}

// unescape undoes the kernel's \ooo for blanks, newlines, # and backslashes (seq_path).
func unescape(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out, i = append(out, byte(n)), i+3
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}
