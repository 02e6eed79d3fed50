package sandbox

import (
	"errors"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSetIDLooks bounds the files and directories that are looked at; a million take two seconds on two processors.
const maxSetIDLooks = 1_000_000

// setID protects the files of root's that give whoever executes them rights: set-id ones and those with file capabilities. The
// filter lets the command make none, and write(2) takes the rights away (file_remove_privs in the kernel), but a page of a shared mapping
// that is written back does not: what stands in such a file can be replaced and the rights stay. In a project that root owns these would be
// root's, so every file of it is looked at, and of what else the command may write to; where there are too many, nothing is run as root. A
// caller's own file of that kind is not looked for: whoever runs it afterwards has the caller's rights, no others.
func (g *guards) setID() {
	if id := g.w.plan.Identity; !id.IDMap && id.HostUID != 0 {
		return
	}
	looks := 0
	for level := g.writableTrees(); len(level) > 0 && g.err == nil; {
		below := level
		level = nil
		for i, in := range lookTogether(g.w.host.FS, below, maxSetIDLooks-looks) {
			switch {
			case errors.Is(in.err, syscall.ENAMETOOLONG):
				g.tooDeep(below[i])
			case in.err != nil && !missing(in.err):
				g.w.note("%s cannot be read: set-id files in it are not protected", below[i])
			}
			looks += in.looks
			for _, name := range in.dirs {
				level = append(level, path.Join(below[i], name))
			}
			for _, name := range in.giving {
				g.keepRights(path.Join(below[i], name))
			}
		}
		if looks >= maxSetIDLooks {
			g.err = planError(notAsRoot, "%s and what else may be written to hold more than %d files: set-id ones of root's among them could be rewritten and would not be found",
				g.w.plan.Project, maxSetIDLooks)
		}
	}
}

const notAsRoot = "run as an ordinary user, or with SUDO_UID and a project of that user's"

// writableTrees are the directories of the host's that the command may write to, without those that lie in others.
func (g *guards) writableTrees() []string {
	trees := []string{g.w.plan.Project}
	for _, m := range g.w.tree.mounts {
		if m.Kind == KindBind && !m.ReadOnly && !m.Own {
			trees = append(trees, m.Source)
		}
	}
	slices.Sort(trees) // what lies in a directory comes behind it
	outer := trees[:0]
	for _, t := range trees {
		if !slices.ContainsFunc(outer, func(o string) bool { return within(t, o) }) {
			outer = append(outer, t)
		}
	}
	return outer
}

// keepRights protects one file.
func (g *guards) keepRights(name string) {
	if len(name) >= unix.PathMax {
		g.tooDeep(name)
		return
	}
	what := guarded{why: "gives rights of root's to who runs it, and would keep them when it is rewritten through a mapping"}
	if project := g.w.plan.Project; strictlyWithin(name, project) {
		what.path = strings.TrimPrefix(name, project+"/")
		g.guard(project, what.path, what)
		return
	}
	g.at(name, what)
}

// tooDeep ends the plan: the command gets further down than a path that can be looked at or mounted on (PATH_MAX, path_resolution(7)).
func (g *guards) tooDeep(name string) {
	g.err = planError(notAsRoot+"; or move it further up", "%s... lies deeper than %d bytes: a set-id file of root's there could be rewritten",
		name[:min(len(name), 200)], unix.PathMax)
}

// rights is what a directory holds.
type rights struct {
	looks  int      // entries that were looked at
	dirs   []string // their names
	giving []string // regular files that are set-id or have capabilities, which only count in one that can be executed
	err    error    // why not everything was looked at
}

// lookTogether looks at several directories on all processors, at no more than about max entries.
func lookTogether(f Files, dirs []string, max int) []rights {
	all := make([]rights, len(dirs))
	var next, looks atomic.Int64
	var workers sync.WaitGroup
	for range min(len(dirs), runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(dirs)) && int(looks.Load()) < max; i = next.Add(1) - 1 {
				all[i] = f.Rights(dirs[i], max-int(looks.Load()))
				looks.Add(int64(all[i].looks))
			}
		})
	}
	workers.Wait()
	return all
}
