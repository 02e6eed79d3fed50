package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"path"
	"syscall"
)

// shield binds a place read-only where the jail could write to it, and looks at what lies directly in it: a hook is often a link to
// a script in the project, and a second hard link is another way to the same bytes.
func (g *guards) shield(p place, why string) {
	m := g.w.tree.cover(p.path)
	if !g.writable(p.path) || p.path == m.Target {
		return
	}
	mount := Mount{Kind: KindBind, Source: p.path, Target: p.path, ReadOnly: true, IDMap: m.IDMap, Why: why}
	g.w.tree.add(pins(m.Target, p.path)...)
	g.w.tree.add(mount)
	if !p.info.IsDir() {
		g.watchHardLink(p, why)
		return
	}
	entries, err := g.w.files.ReadDir(p.path, 256)
	if err != nil {
		g.blocked(p.path, err)
		return
	}
	for _, e := range entries {
		name := path.Join(p.path, e.Name())
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			if to, err := follow(g.w.files, name); err == nil {
				g.shield(to, why+" (through "+name+")")
			} else if g.writable(to.path) {
				g.w.watch(Watch{Path: to.path, Why: why + " (through " + name + ")"})
			}
		case e.Type().IsRegular():
			if info, err := g.w.files.Lstat(name); err == nil {
				g.watchHardLink(place{path: name, info: info}, why)
			}
		}
	}
}

// watchHardLink watches the content of a file that has another name: a mount protects a name, not an inode.
func (g *guards) watchHardLink(p place, why string) {
	st, ok := p.info.Sys().(*syscall.Stat_t)
	const most = 16 << 20
	if !ok || st.Nlink < 2 || p.info.Size() > most {
		return
	}
	if data, err := g.w.files.ReadFile(p.path, most); err == nil {
		sum := sha256.Sum256(data)
		g.w.watch(Watch{Path: p.path, Sum: hex.EncodeToString(sum[:]), Why: why + "; the file has a second name"})
	}
}
