package sandbox

import (
	"path"
	"slices"
	"strings"
)

// beside makes the directories on the way to the project read-only: what a command wrote there, a work tree beside its repository for
// one, would be gone with the jail and nobody would know. The root is read-only as it is. What tools write to without being asked stays
// as it was: the home itself, its hidden directories, GOPATH, XDG_RUNTIME_DIR.
func (w *planner) beside() error {
	parent := path.Dir(w.plan.Project)
	around := w.tree.cover(parent)
	if around == nil || around.Kind != KindTmpfs && !around.Own {
		return nil
	}
	top := ""
	for dir := parent; strictlyWithin(dir, around.Target) && !w.toolsWrite(dir, around); dir = path.Dir(dir) {
		top = dir
	}
	if top != "" {
		w.tree.add(Mount{Kind: KindTmpfs, Target: top, Mode: 0o755, ReadOnly: true, Why: "on the way to the project: what was written here would be lost"})
	}
	return nil
}

// toolsWrite says whether tools expect to write to a directory, or to one in it, of the file system around.
func (w *planner) toolsWrite(dir string, around *Mount) bool {
	gopath := w.host.getenv("GOPATH")
	if gopath == "" {
		gopath = path.Join(w.home, "go")
	}
	return within(dir, w.home) && strings.HasPrefix(strings.TrimPrefix(dir, w.home), "/.") ||
		within(gopath, dir) && w.tree.cover(gopath) == around ||
		slices.ContainsFunc(w.tree.mounts, func(m Mount) bool { return m.Kind == KindDir && within(m.Target, dir) })
}
