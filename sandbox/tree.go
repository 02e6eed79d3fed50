package sandbox

import (
	"path"
	"slices"
)

// tree collects mounts in any order and knows what the jail will see of them.
type tree struct {
	mounts []Mount
	links  []link // links of the host that lead to what is mounted; made where the jail's own file systems are
}

func (t *tree) add(m ...Mount) { t.mounts = append(t.mounts, m...) }

// holds says whether a kind of mount begins a file system of its own, so that what lies below it comes from it.
func holds(kind string) bool {
	return kind != KindDir && kind != KindFile && kind != KindSymlink && kind != KindPin
}

// cover gives the innermost mount around name, or nil for the root.
func (t *tree) cover(name string) *Mount {
	var best *Mount
	for i := range t.mounts {
		m := &t.mounts[i]
		if holds(m.Kind) && within(name, m.Target) && (best == nil || len(m.Target) >= len(best.Target)) {
			best = m
		}
	}
	return best
}

// own says whether name lies in a file system of the jail's own, where things may be made.
func (t *tree) own(name string) bool {
	m := t.cover(name)
	return m == nil || m.Kind == KindTmpfs || m.Own
}

// shows says whether the jail sees the host's file or directory at this resolved path, at the same path.
func (t *tree) shows(name string) bool {
	m := t.cover(name)
	return m != nil && m.Kind == KindBind && !m.Own && m.Source == m.Target
}

// reaches says whether a path of the host, links and all, leads to the same place in the jail. A directory that only leads on to
// something mounted counts: it is where the links of ~/.local/bin are.
func (t *tree) reaches(p place) bool {
	for _, l := range p.links {
		if !t.shows(l.path) && !t.own(l.path) {
			return false
		}
	}
	if t.shows(p.path) {
		return true
	}
	leads := func(target string) bool { return t.own(p.path) && within(target, p.path) }
	return slices.ContainsFunc(t.mounts, func(m Mount) bool { return leads(m.Target) }) ||
		slices.ContainsFunc(t.links, func(l link) bool { return leads(l.path) })
}

// list gives the mounts in the order in which they are made: parents before what lies in them, and at one target in the order in
// which they were added, where of two of the same kind the read-only one stays. Below what is hidden there is nothing to mount on.
func (t *tree) list() []Mount {
	for _, l := range t.links {
		taken := slices.ContainsFunc(t.mounts, func(m Mount) bool { return within(m.Target, l.path) })
		if t.own(l.path) && !taken {
			t.add(Mount{Kind: KindSymlink, Source: l.text, Target: l.path, Why: "a link on the way to what is mounted"})
		}
	}
	slices.SortStableFunc(t.mounts, func(a, b Mount) int { return comparePaths(a.Target, b.Target) })
	var out []Mount
	masked := ""
	for _, m := range t.mounts {
		if last := len(out) - 1; last >= 0 && out[last].Target == m.Target && out[last].Kind == m.Kind {
			if m.ReadOnly && !out[last].ReadOnly {
				out[last] = m // of two wishes the narrower one holds
			}
			continue
		}
		if masked != "" && strictlyWithin(m.Target, masked) {
			continue
		}
		if m.Kind == KindMask {
			masked = m.Target
		}
		out = append(out, m)
	}
	return out
}

// comparePaths orders a directory before what lies in it, and that before all that lies beside it: "/" is less than any other byte.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		default:
			return int(a[i]) - int(b[i])
		}
	}
	return len(a) - len(b)
}

// pins gives a pin for each directory between root and name, both left out: a mount below a directory does not keep that directory
// from being renamed away and made anew without the mount.
func pins(root, name string) []Mount {
	var out []Mount
	for dir := path.Dir(name); strictlyWithin(dir, root); dir = path.Dir(dir) {
		out = append(out, Mount{Kind: KindPin, Target: dir, Why: "keeps " + name + " in place"})
	}
	slices.Reverse(out)
	return out
}
