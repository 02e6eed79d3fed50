package sandbox

import (
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

// maxSetIDLooks bounds the files and directories that are looked at; a million take a second on two processors.
const maxSetIDLooks = 1_000_000

// setID protects the files of root's project that give whoever executes them rights: set-id ones and those with file capabilities. The
// filter lets the command make none, and write(2) takes the rights away (file_remove_privs in the kernel), but a page of a shared mapping
// that is written back does not: what stands in such a file can be replaced and the rights stay. In a project that root owns these would be
// root's, so every file of it is looked at, and a project with too many is not run in as root. A caller's own file of that kind is not
// looked for: whoever runs it afterwards has the caller's rights, no others.
func (g *guards) setID() {
	id, project := g.w.plan.Identity, g.w.plan.Project
	if !id.IDMap && id.HostUID != 0 {
		return
	}
	looks := 0
	for level := []string{project}; len(level) > 0; {
		below := level
		level = nil
		for i, in := range lookTogether(g.w.host.FS, below, maxSetIDLooks-looks) {
			if in.err != nil && !missing(in.err) {
				g.w.note("%s cannot be read: set-id files in it are not protected", below[i])
			}
			looks += in.looks
			for _, name := range in.dirs {
				level = append(level, path.Join(below[i], name))
			}
			for _, name := range in.giving {
				rel := strings.TrimPrefix(path.Join(below[i], name), project+"/")
				g.guard(project, rel, guarded{path: rel, why: "gives rights of root's to who runs it, and would keep them when it is rewritten through a mapping"})
			}
		}
		if looks >= maxSetIDLooks {
			g.err = planError("run as an ordinary user, or with SUDO_UID and a project of that user's", "%s holds more than %d files: set-id ones of root's among them "+
				"could be rewritten and would not be found", project, maxSetIDLooks)
			return
		}
	}
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
