package sandbox

import (
	"io/fs"
	"path"
	"strings"
)

// maxSetIDLooks bounds the files that are looked at one by one: lstat(2) of so many takes 10 ms. They are the first in the directories that
// the look for repositories reads.
const maxSetIDLooks = 8192

// setID protects the files of root's project that give whoever executes them rights: set-id ones and those with file capabilities. The
// filter lets the command make none, and write(2) takes the rights away (file_remove_privs in the kernel), but a page of a shared mapping
// that is written back does not: what stands in such a file can be replaced and the rights stay. In a project that root owns these would be
// root's. A caller's own file of that kind is not looked for: whoever runs it afterwards has the caller's rights, no others.
func (g *guards) setID(look *repoLook) {
	for _, name := range look.files {
		info, err := g.w.files.Lstat(name)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		set := info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0
		if !set && (info.Mode()&0o111 == 0 || !g.w.files.Capable(name)) {
			continue
		}
		rel := strings.TrimPrefix(name, g.w.plan.Project+"/")
		g.guard(g.w.plan.Project, rel, guarded{path: rel, why: "gives rights of root's to who runs it, and would keep them when it is rewritten through a mapping"})
	}
	if look.cut != "" {
		g.w.note("%s and what comes after it was not searched for set-id files of root's, which the command can rewrite", look.cut)
	}
}

// file notes a file for setID.
func (l *repoLook) file(dir string, e fs.DirEntry) {
	switch {
	case !l.wantFiles || !e.Type().IsRegular() || l.cut != "":
	case len(l.files) < maxSetIDLooks:
		l.files = append(l.files, path.Join(dir, e.Name()))
	default:
		l.cut = path.Join(dir, e.Name())
	}
}
