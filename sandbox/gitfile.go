package sandbox

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// linkedDir is where a .git file leads.
type linkedDir struct {
	own    string // the work tree's own git directory
	common string // the repository's, which is own for a submodule
	links  []link
}

// linkedGitDir follows the .git file of the work tree at top. An agent can write such a file, and what it names would be bound in the
// next run: so the target must be a git directory that says itself, in a file outside the project, that top is its work tree.
func linkedGitDir(f Files, top string) (linkedDir, error) {
	dot := path.Join(top, ".git")
	data, err := f.ReadFile(dot, maxGitFile)
	if err != nil {
		return linkedDir{}, err
	}
	text, ok := strings.CutPrefix(strings.TrimSpace(string(data)), "gitdir:")
	if !ok {
		return linkedDir{}, errors.New("not a .git file")
	}
	own, err := follow(f, joinAbs(top, strings.TrimSpace(text)))
	if err != nil {
		return linkedDir{}, err
	}
	l := linkedDir{own: own.path, common: own.path, links: own.links}
	if back, ok := readPath(f, own.path, "gitdir"); ok {
		l.common = path.Dir(path.Dir(own.path))
		common, ok := readPath(f, own.path, "commondir")
		if !ok || common != l.common || path.Base(path.Dir(own.path)) != "worktrees" || back != dot || !isGitDir(f, l.common) {
			return l, fmt.Errorf("%s is not git's record of this work tree", own.path)
		}
		return l, nil
	}
	config, err := f.ReadFile(path.Join(own.path, "config"), maxGitFile)
	if err != nil || !isGitDir(f, own.path) {
		return l, fmt.Errorf("%s is not a git directory", own.path)
	}
	for _, s := range gitConfig(config) {
		if s.section == "core" && s.key == "worktree" {
			if p, err := follow(f, joinAbs(own.path, s.value)); err == nil && p.path == top {
				return l, nil
			}
		}
	}
	return l, fmt.Errorf("%s does not name this directory as its work tree", own.path)
}

// readPath reads a file of git's that holds one path, relative to its directory, and resolves it.
func readPath(f Files, dir, name string) (string, bool) {
	data, err := f.ReadFile(path.Join(dir, name), maxGitFile)
	if err != nil {
		return "", false
	}
	p, err := follow(f, joinAbs(dir, strings.TrimSpace(string(data))))
	return p.path, err == nil
}

func joinAbs(base, name string) string {
	if path.IsAbs(name) {
		return name
	}
	return base + "/" + name // not cleaned: ".." after a link means what the kernel says
}
