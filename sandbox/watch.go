package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// What a run leaves in the project that the host may execute later is named when it ends, whatever the mounts held: a mount can be
// lifted from outside (guard.go), a missing path cannot hold one, and the user's own tools write to the same files. Names come from
// here and from nowhere else.

// Bounds of what is noted of one protected path.
const (
	maxFacts     = 1024      // entries; of a directory with more, it is the directory itself alone
	maxFactsFile = 64 << 10  // bytes of a file whose content is compared; a larger one counts as changed when it was touched
	maxFactsSum  = 256 << 10 // bytes, all files together
)

// fact is what a protected path, or something in a protected directory, was.
type fact struct {
	mode     fs.FileMode
	owner    [2]uint32
	links    uint64 // of a file; a second hard link is a way round the next run's mount
	inode    [2]uint64
	size     int64
	modified syscall.Timespec
	changed  syscall.Timespec // cannot be set back
	sum      string           // SHA-256 of a regular file, or a link's text; "" where the bounds forbid
}

// seen is what one look at a protected path found, by absolute name: the path itself, and what is in it if it is a directory.
type seen map[string]fact

// guardedPaths gives the paths that are read-only where the jail could otherwise write.
func (p *Plan) guardedPaths() []string {
	var out []string
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if m.Kind != KindBind || !m.ReadOnly {
			continue
		}
		around := around(p.Mounts, m.Target)
		switch {
		case around == nil || around.Kind != KindBind || around.Own || !protects(m, around):
		case path.Base(path.Dir(m.Target)) == "worktrees":
			// git's record of another work tree, where somebody may be at work: its index and logs change.
			for _, g := range worktreeGuards {
				out = append(out, path.Join(m.Target, g.path))
			}
		default:
			out = append(out, m.Target)
		}
	}
	return out
}

// takeFacts looks at each path, and into directories.
func takeFacts(f Files, paths []string) map[string]seen {
	all := make(map[string]seen, len(paths))
	for _, name := range paths {
		all[name] = lookAt(f, name)
	}
	return all
}

func lookAt(f Files, top string) seen {
	found, bytes := make(seen), maxFactsSum
	queue := []string{top}
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		info, err := f.Lstat(name)
		if err != nil {
			continue
		}
		found[name] = factOf(f, name, info, &bytes)
		if !info.IsDir() {
			continue
		}
		list, _ := f.ReadDir(name, maxFacts)
		if len(found)+len(queue)+len(list) >= maxFacts {
			return seen{top: found[top]}
		}
		for _, e := range list {
			queue = append(queue, path.Join(name, e.Name()))
		}
	}
	return found
}

func factOf(f Files, name string, info fs.FileInfo, left *int) fact {
	it := fact{mode: info.Mode(), size: info.Size()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		it.owner, it.inode = [2]uint32{st.Uid, st.Gid}, [2]uint64{st.Dev, st.Ino}
		it.modified, it.changed = st.Mtim, st.Ctim
		if !info.IsDir() {
			it.links = uint64(st.Nlink)
		}
	}
	switch {
	case info.IsDir():
		it.size = 0 // how the file system lays it out; its names are compared
	case info.Mode()&fs.ModeSymlink != 0:
		it.sum, _ = f.Readlink(name)
	case info.Mode().IsRegular() && info.Size() <= int64(min(maxFactsFile, *left)):
		if data, err := f.ReadFile(name, maxFactsFile); err == nil {
			*left -= len(data)
			sum := sha256.Sum256(data)
			it.sum = hex.EncodeToString(sum[:])
		}
	}
	return it
}

// same says whether two looks saw the same thing, be it in a new inode: git and editors write files anew that they do not change.
func (it fact) same(now fact) bool {
	if it == now {
		return true
	}
	if it.mode != now.mode || it.owner != now.owner || it.links != now.links || it.size != now.size {
		return false
	}
	return it.mode.IsDir() || it.sum != "" && it.sum == now.sum
}

func (a seen) same(b seen) bool {
	if len(a) != len(b) {
		return false
	}
	for name, it := range a {
		if now, ok := b[name]; !ok || !it.same(now) {
			return false
		}
	}
	return true
}

// beginning is what a run notes before its command starts.
type beginning struct {
	seen map[string]seen
	err  error
}

// begin notes what the protected paths are, and what the project is known to have: a launcher that is killed does not come back to it.
func (p *Plan) begin(h *Host) beginning {
	return beginning{seen: takeFacts(h.FS, p.guardedPaths()), err: remember(h, p.Project, known{p.Repos, p.Hidden})}
}

// changed names what is not as it was when the run began, and may be executed on the host later: protected paths, be they held by a
// mount or only watched; repositories that were made; directories that were closed, or filled, so that no look finds what is in
// them. Who did it, the run or somebody outside, cannot be told.
func (p *Plan) changed(h *Host, b beginning) ([]string, error) {
	out := []string{}
	paths := p.guardedPaths()
	for name, now := range takeFacts(h.FS, paths) {
		if then, ok := b.seen[name]; ok && !then.same(now) {
			out = append(out, name)
		}
	}
	for _, w := range p.Watch {
		if name := w.changed(h); name != "" {
			out = append(out, name)
		}
	}
	look := lookForRepos(p.Project, p.Repos, h.FS, p.looked)
	for _, repo := range look.repos {
		if !slices.Contains(p.Repos, repo) {
			out = append(out, repo)
		}
	}
	for _, dir := range look.closed {
		if !slices.Contains(p.Unread, dir) && ownedBy(h.FS, dir, p.Identity.HostUID) {
			out = append(out, dir)
		}
	}
	if look.beyond != "" && !p.Bounded {
		out = append(out, look.beyond)
	}
	slices.Sort(out)
	return slices.Compact(out), remember(h, p.Project, known{repos: look.repos})
}

// ownedBy says whether a jail of that uid may have closed, and may open, a directory.
func ownedBy(f Files, dir string, uid int) bool {
	info, err := f.Lstat(dir)
	if err != nil {
		return true
	}
	owns, _, ok := owner(info)
	return !ok || owns == uid
}

// changed gives the name of what changed, or "": for a path that can no longer be looked at, that of the directory in the way.
func (w Watch) changed(h *Host) string {
	if w.Pattern {
		for _, name := range matching(h.FS, path.Dir(w.Path), path.Base(w.Path)) {
			if !slices.Contains(w.Known, name) {
				return name
			}
		}
		return ""
	}
	info, err := h.FS.Lstat(w.Path)
	switch {
	case err != nil && !missing(err):
		return closedAt(h.FS, w.Path)
	case w.Link != "":
		if text, rerr := h.FS.Readlink(w.Path); rerr == nil && text == w.Link {
			return ""
		}
	case w.Sum != "":
		if err == nil && info.Mode().IsRegular() {
			if sum, serr := fileSum(w.Path); serr == nil && sum == w.Sum {
				return ""
			}
		}
	case err != nil:
		return ""
	}
	return w.Path
}

// closedAt gives the deepest part of a path that can be looked at: what stands there keeps the rest from sight.
func closedAt(f Files, name string) string {
	for dir := name; dir != "/"; dir = path.Dir(dir) {
		if _, err := f.Lstat(dir); err == nil {
			return dir
		}
	}
	return "/"
}

// matching gives the names in a directory that match a pattern, as absolute paths.
func matching(f Files, dir, pattern string) []string {
	entries, _ := f.ReadDir(dir, maxEntries)
	var out []string
	for _, name := range namesLike(entries, pattern) {
		out = append(out, path.Join(dir, name))
	}
	return out
}

func fileSum(name string) (string, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
