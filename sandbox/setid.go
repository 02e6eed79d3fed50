package sandbox

import (
	"io/fs"
	"path"
	"strings"
)

// maxSetIDLooks bounds the files and directories that are looked at; a million take two seconds.
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
	f := g.w.host.FS // each name once: there is nothing to remember
	looks := 0
	for queue := []string{project}; len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		entries, err := f.ReadDir(at, maxSetIDLooks-looks)
		if err != nil {
			if !missing(err) {
				g.w.note("%s cannot be read: set-id files in it are not protected", at)
			}
			continue
		}
		if looks += len(entries); looks >= maxSetIDLooks {
			g.err = planError("run as an ordinary user, or with SUDO_UID and a project of that user's", "%s holds more than %d files: set-id ones of root's among them "+
				"could be rewritten and would not be found", project, maxSetIDLooks)
			return
		}
		for _, e := range entries {
			name := path.Join(at, e.Name())
			switch {
			case e.IsDir():
				queue = append(queue, name)
			case e.Type().IsRegular() && givesRights(f, name):
				rel := strings.TrimPrefix(name, project+"/")
				g.guard(project, rel, guarded{path: rel, why: "gives rights of root's to who runs it, and would keep them when it is rewritten through a mapping"})
			}
		}
	}
}

// givesRights says whether a regular file is set-id or has capabilities, which only count in one that can be executed.
func givesRights(f Files, name string) bool {
	info, err := f.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	return info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 || info.Mode()&0o111 != 0 && f.Capable(name)
}
