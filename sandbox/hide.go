package sandbox

import (
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

// matchParts matches a path's components against a pattern's. Only the last "**" ever needs another try, so no pattern costs more than
// its length times the path's: a project's own file may hold any, and is read in every later run.
func matchParts(pattern, name []string) bool {
	i, j := 0, 0
	again, from := -1, 0
	for j < len(name) {
		switch {
		case i < len(pattern) && pattern[i] == "**":
			again, from = i, j
			i++
		case i < len(pattern) && matches(pattern[i], name[j]):
			i++
			j++
		case again >= 0:
			from++
			i, j = again+1, from
		default:
			return false
		}
	}
	for i < len(pattern) && pattern[i] == "**" {
		i++
	}
	return i == len(pattern)
}

// hide masks what the patterns match now. It walks the whole project, and only when there are patterns; of a git repository's own
// directory nothing is hidden, for "config" and a branch's name would match there too, but one that is merely called .git is walked.
// The directories on the way are pinned: a mask would stay on its file when one is renamed, but a walk that goes on in another
// jail at that moment would pass it by, and the next run's pattern would no longer find it there if it is a path.
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
			h := matchHidden(patterns, w.relative(name), e.IsDir())
			switch {
			case h != nil:
				if masked++; masked > maxHidden {
					return planError("hide the directory instead of the files in it", "more than %d files to hide", maxHidden)
				}
				w.maskFollowed(name, h.why)
			case e.IsDir() && !(e.Name() == ".git" && isGitDir(w.files, name)):
				queue = append(queue, name)
			}
		}
	}
	w.hideUnseen(patterns)
	for i, it := range w.profile.FS.Hide {
		if byFlag(it) && !patterns[i].met {
			return planError("mind the spelling; a pattern that need not match belongs into a profile's fs.hide",
				"--hide %s: nothing in %s matches, so nothing would be hidden", it.Value, w.plan.Project)
		}
	}
	return nil
}

// relative gives a path of the project in parts.
func (w *planner) relative(name string) []string {
	return split(strings.TrimPrefix(name, w.plan.Project))
}

// hideUnseen masks what the walk does not come by: paths that lead through a link to a directory or into a repository's own, and what a
// hidden link led to in an earlier run. A mount cannot hold a link in place, so that the agent can put a file there, and what the
// link led to would lie bare in the next run.
func (w *planner) hideUnseen(patterns []hidden) {
	for i := range patterns {
		h := &patterns[i]
		name := path.Join(w.plan.Project, path.Join(h.parts...))
		if p, err := follow(w.files, name); err == nil && h.anchored && !h.met && (p.info.IsDir() || !h.onlyDir) {
			h.met = true
			w.maskFollowed(name, h.why)
		}
	}
	for _, l := range w.known.hidden {
		h := matchHidden(patterns, w.relative(l.Path), false)
		p, err := follow(w.files, l.Target)
		if h != nil && err == nil && strictlyWithin(p.path, w.plan.Project) {
			w.mask(p.path, h.why+" (in an earlier run "+l.Path+" led there)")
		}
	}
}

// matchHidden gives the first of the patterns that match.
func matchHidden(patterns []hidden, name []string, dir bool) (first *hidden) {
	for i := range patterns {
		if h := &patterns[i]; (!h.onlyDir || dir) && matchParts(h.parts, name) {
			h.met = true
			if first == nil {
				first = h
			}
		}
	}
	return first
}

func (w *planner) mask(name, why string) {
	w.tree.add(pins(w.plan.Project, name)...)
	w.tree.add(Mount{Kind: KindMask, Target: name, Why: why})
}

// maskFollowed masks what a path leads to, if that is in the project. A link is pinned by the directories that it lies in.
func (w *planner) maskFollowed(name, why string) {
	p, err := follow(w.files, name)
	switch {
	case err != nil:
	case !strictlyWithin(p.path, w.plan.Project):
		if w.tree.shows(p.path) {
			w.note("%s: %s leads to %s, which the jail sees for another reason", why, name, p.path)
		}
	case len(p.links) == 0:
		w.mask(name, why)
	default:
		w.tree.add(pins(w.plan.Project, p.links[0].path)...)
		w.mask(p.path, why+" (through "+name+")")
		w.plan.Hidden = append(w.plan.Hidden, HiddenLink{name, p.path})
	}
}

// uncovered names the hidden links that lead elsewhere by now. What they led to is hidden in later runs as well.
func (p *Plan) uncovered(f Files) []string {
	var out []string
	for _, l := range p.Hidden {
		if now, err := follow(f, l.Path); err != nil || now.path != l.Target {
			out = append(out, l.Path)
		}
	}
	return out
}
