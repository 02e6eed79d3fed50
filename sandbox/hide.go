package sandbox

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/agentjail/agentjail/profiles"
)

// maxHidden bounds the masks: each is a mount, and fs.mount-max allows a namespace 100,000.
const maxHidden = 4096

// hidden is one pattern, as in gitignore(5): without a slash it matches a name at any depth, with one it is a path from the project;
// "**" stands for any directories, a slash at the end for directories alone. "!" is not offered: what is hidden stays hidden.
type hidden struct {
	parts    []string
	onlyDir  bool
	anchored bool
	why      string
	met      bool // something matched
}

func parseHidden(it profiles.Item) (hidden, error) {
	text := it.Value
	h := hidden{onlyDir: strings.HasSuffix(text, "/"), why: it.Why + ": " + text}
	text = strings.TrimSuffix(text, "/")
	h.anchored = strings.Contains(text, "/")
	h.parts = split(text)
	if len(h.parts) == 0 || slices.Contains(h.parts, "..") || strings.HasPrefix(text, "!") {
		return h, planError("a name (.env), a pattern (*.pem) or a path from the project (config/keys)", "%s: %q hides nothing", it.Why, it.Value)
	}
	for _, part := range h.parts {
		if _, err := path.Match(part, ""); err != nil {
			return h, planError("*, ? and [a-z] as in a shell", "%s: pattern %q: %w", it.Why, it.Value, err)
		}
	}
	if !h.anchored {
		h.parts = append([]string{"**"}, h.parts...)
	}
	return h, nil
}

// matchParts matches a path's components against a pattern's.
func matchParts(pattern, name []string) bool {
	for i, part := range pattern {
		if part == "**" {
			return slices.ContainsFunc(suffixes(name[min(i, len(name)):]), func(rest []string) bool { return matchParts(pattern[i+1:], rest) })
		}
		if i >= len(name) || !matches(part, name[i]) {
			return false
		}
	}
	return len(pattern) == len(name)
}

func suffixes(name []string) [][]string {
	all := make([][]string, 0, len(name)+1)
	for i := range len(name) + 1 {
		all = append(all, name[i:])
	}
	return all
}

// hide masks what the patterns match now. It walks the whole project, and only when there are patterns. A mask stays on its file
// when a directory above is renamed, but the next run's pattern would no longer find it there if it is a path: then the directories
// on the way are pinned. What a link leads to is masked where it is, if that is in the project.
func (w *planner) hide() error {
	var patterns []hidden
	for _, it := range w.profile.FS.Hide {
		h, err := parseHidden(it)
		if err != nil {
			return err
		}
		patterns = append(patterns, h)
	}
	if len(patterns) == 0 {
		return nil
	}
	masked := 0
	queue := []string{w.plan.Project}
	for len(queue) > 0 {
		dir := queue[0]
		queue = queue[1:]
		entries, err := w.files.ReadDir(dir, -1)
		if err != nil {
			return planError("a directory that cannot be read may hide what is to be hidden; make it readable", "hide: %w", err)
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			h := matchHidden(patterns, split(strings.TrimPrefix(name, w.plan.Project)), e)
			switch {
			case h != nil:
				if masked++; masked > maxHidden {
					return planError("hide the directory instead of the files in it", "more than %d files to hide", maxHidden)
				}
				w.mask(name, e, h)
			case e.IsDir() && e.Name() != ".git":
				queue = append(queue, name)
			}
		}
	}
	for i, it := range w.profile.FS.Hide {
		if byFlag(it) && !patterns[i].met && !w.masked(it.Value) {
			return planError("mind the spelling; a pattern that need not match belongs into a profile's fs.hide",
				"--hide %s: nothing in %s matches, so nothing would be hidden", it.Value, w.plan.Project)
		}
	}
	return nil
}

// matchHidden gives the first of the patterns that match.
func matchHidden(patterns []hidden, name []string, e fs.DirEntry) (first *hidden) {
	for i := range patterns {
		if h := &patterns[i]; (!h.onlyDir || e.IsDir()) && matchParts(h.parts, name) {
			h.met = true
			if first == nil {
				first = h
			}
		}
	}
	return first
}

// masked says whether a path of the project exists below a directory that is hidden, where nobody looks for matches.
func (w *planner) masked(name string) bool {
	p, err := follow(w.files, path.Join(w.plan.Project, name))
	m := w.tree.cover(p.path)
	return err == nil && m != nil && m.Kind == KindMask
}

func (w *planner) mask(name string, e fs.DirEntry, h *hidden) {
	why := h.why
	if h.anchored {
		w.tree.add(pins(w.plan.Project, name)...)
	}
	if e.Type()&fs.ModeSymlink == 0 {
		w.tree.add(Mount{Kind: KindMask, Target: name, Why: why})
		return
	}
	p, err := follow(w.files, name)
	if err == nil && strictlyWithin(p.path, w.plan.Project) {
		w.tree.add(Mount{Kind: KindMask, Target: p.path, Why: why + " (through " + name + ")"})
	} else if err == nil && w.tree.shows(p.path) {
		w.note("%s: %s leads to %s, which the jail sees for another reason", why, name, p.path)
	}
}
