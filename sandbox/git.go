package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// gitGuards are the paths in a git directory that git on the host executes or obeys (gitrepository-layout(5)). They are relative to
// it. objects, refs, HEAD, index and logs stay writable: they are what committing is.
var gitGuards = []guarded{
	{path: "hooks", why: "git runs them"},
	{path: "config", why: "git runs what fsmonitor, sshCommand, hooksPath, filters and aliases in it name"},
	{path: "config.worktree", why: "git runs what it names, as it does for config"},
	{path: "commondir", why: "git takes its config and hooks from the directory that it names"},
	{path: "info/attributes", why: "git runs the filters and drivers that it asks for"},
	{path: "rebase-merge", why: "git rebase --continue runs the exec lines of its list", onlyNew: true},
	{path: "sequencer", why: "git cherry-pick --continue obeys its list", onlyNew: true},
}

// worktreeGuards are those in the directory that git keeps for a linked work tree (git-worktree(1)).
var worktreeGuards = []guarded{
	{path: "commondir", why: "git takes its config and hooks from the directory that it names"},
	{path: "gitdir", why: "names the work tree"},
	{path: "config.worktree", why: "git runs what it names"},
	{path: "rebase-merge", why: "git rebase --continue runs the exec lines of its list", onlyNew: true},
}

// Bounds of what a plan looks at: a project is somebody else's data.
const (
	maxRepoDirs  = 256      // directories that are read to find repositories
	maxRepos     = 64       // repositories, submodules and work trees, each
	maxRepoDepth = 6        // directories below the project
	maxEntries   = 4096     // of one directory
	maxGitFile   = 64 << 10 // bytes of a .git file, a config, a .gitmodules
)

// skippedDirs are not searched: they are large, made by tools, and nobody runs git in them.
var skippedDirs = []string{".git", "node_modules", ".venv", "venv", "__pycache__", "target"}

// isGitDir says whether dir looks to git like a repository (setup.c, is_git_directory).
func isGitDir(f Files, dir string) bool {
	for _, name := range []string{"objects", "refs", "HEAD"} {
		if _, err := f.Lstat(path.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// FindRepos gives the git repositories in a project, itself included: directories with a .git in them, directories that are bare
// repositories themselves, and the submodules of .gitmodules. It reads at most 256 directories, nearest first, so that it costs the
// same in a project of any size; what lies deeper is not found.
func FindRepos(project string, f Files) []string {
	var repos []string
	found := func(dir string) {
		if len(repos) < maxRepos && !slices.Contains(repos, dir) {
			repos = append(repos, dir)
		}
	}
	type level struct {
		dir   string
		depth int
	}
	queue := []level{{project, 0}}
	for read := 0; len(queue) > 0 && read < maxRepoDirs; read++ {
		at := queue[0]
		queue = queue[1:]
		entries, err := f.ReadDir(at.dir, maxEntries)
		if err != nil {
			continue
		}
		if len(namesLike(entries, ".git")) > 0 {
			found(at.dir)
		} else if len(entries) >= maxEntries {
			if _, err := f.Lstat(path.Join(at.dir, ".git")); err == nil {
				found(at.dir)
			}
		}
		if len(namesLike(entries, "HEAD")) > 0 && isGitDir(f, at.dir) {
			found(at.dir)
			continue
		}
		for _, e := range entries {
			if e.IsDir() && at.depth < maxRepoDepth && len(queue) < maxRepoDirs && !slices.Contains(skippedDirs, e.Name()) {
				queue = append(queue, level{path.Join(at.dir, e.Name()), at.depth + 1})
			}
		}
	}
	for _, sub := range submodules(f, project) {
		if _, err := f.Lstat(path.Join(sub, ".git")); err == nil {
			found(sub)
		}
	}
	return repos
}

// submodules reads the paths of .gitmodules (gitmodules(5)), those that stay in the project.
func submodules(f Files, project string) []string {
	data, err := f.ReadFile(path.Join(project, ".gitmodules"), maxGitFile)
	if err != nil {
		return nil
	}
	var dirs []string
	for _, s := range gitConfig(data) {
		if dir := path.Join(project, s.value); s.key == "path" && strictlyWithin(dir, project) && len(dirs) < maxRepos {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// repositories protects each repository of the project.
func (g *guards) repositories() {
	w := g.w
	w.plan.Repos = FindRepos(w.plan.Project, w.files)
	if len(w.plan.Repos) >= maxRepos {
		w.note("more than %d git repositories in the project: those beyond are not protected", maxRepos)
	}
	if !slices.Contains(w.plan.Repos, w.plan.Project) {
		g.guard(w.plan.Project, ".git", guarded{path: ".git", why: "git runs its hooks and what its config names"})
	}
	for _, top := range w.plan.Repos {
		label := strings.TrimPrefix(strings.TrimPrefix(top, w.plan.Project), "/")
		dot := path.Join(top, ".git")
		info, err := w.files.Lstat(dot)
		switch {
		case err != nil: // bare
			g.gitDir(top, top, label, "")
		case info.IsDir():
			g.gitDir(dot, top, path.Join(label, ".git"), "")
		default: // a file or a link that says where the git directory is
			g.guard(top, path.Join(label, ".git"), guarded{path: ".git", why: "says where git takes its config and hooks from"})
			g.linked(top, path.Join(label, ".git"))
		}
	}
}

// linked protects the git directory that a .git file leads to. For the project itself, one that lies outside is bound as well, when
// it proves that it belongs to the project.
func (g *guards) linked(top, label string) {
	w := g.w
	l, err := linkedGitDir(w.files, top)
	if err == nil && !w.tree.shows(l.common) {
		if top != w.plan.Project {
			return // git in a nested work tree of a repository elsewhere does not work in the jail
		}
		err = w.mayBindGit(l.common)
		if err == nil {
			p, _ := follow(w.files, l.common)
			w.tree.add(Mount{Kind: KindBind, Source: l.common, Target: l.common, IDMap: w.rootsOwn(p), Why: "the git directory of this work tree"})
			w.tree.links = append(w.tree.links, l.links...)
		}
	}
	if err != nil {
		w.note("%s: %v: git will not work in the jail", path.Join(top, ".git"), err)
		return
	}
	g.gitDir(l.common, top, label, l.own)
}

// gitDir protects what lies in one git directory. own is the linked work tree's own part of it, or "".
func (g *guards) gitDir(dir, top, label, own string) {
	for _, p := range gitGuards {
		g.guard(dir, path.Join(label, p.path), p)
	}
	f := g.w.files
	for _, e := range entriesOf(f, path.Join(dir, "worktrees"), maxRepos) {
		at := path.Join(dir, "worktrees", e.Name())
		if back, ok := readPath(f, at, "gitdir"); at != own && !(ok && within(back, g.w.plan.Project)) {
			// Whole: the jail does not see that work tree, so nobody in it has work there, and `git worktree prune`
			// would take it for gone and forget it.
			g.guard(at, path.Join(label, "worktrees", e.Name()), guarded{path: ".", why: "git's record of another work tree"})
			continue
		}
		for _, p := range worktreeGuards {
			g.guard(at, path.Join(label, "worktrees", e.Name(), p.path), p)
		}
	}
	for _, module := range moduleDirs(f, path.Join(dir, "modules")) {
		for _, p := range gitGuards {
			g.guard(module, path.Join(label, strings.TrimPrefix(module, dir), p.path), p)
		}
	}
	data, err := f.ReadFile(path.Join(dir, "config"), maxGitFile)
	if err != nil {
		return
	}
	for _, s := range gitConfig(data) {
		base := dir
		switch {
		case s.section == "core" && s.key == "hookspath":
			base = top
		case (s.section == "include" || s.section == "includeif") && s.key == "path":
		default:
			continue
		}
		if name := g.w.host.absolute(s.value, base); strictlyWithin(name, g.w.plan.Project) {
			rel := strings.TrimPrefix(name, g.w.plan.Project)[1:]
			g.guard(g.w.plan.Project, rel, guarded{path: rel, why: "git's config names it (" + s.section + "." + s.key + ")"})
		}
	}
}

func entriesOf(f Files, dir string, most int) []fs.DirEntry {
	entries, _ := f.ReadDir(dir, most)
	return entries
}

// moduleDirs gives the git directories of submodules; their names may have slashes.
func moduleDirs(f Files, dir string) []string {
	var found []string
	queue := []string{dir}
	for read := 0; len(queue) > 0 && read < maxRepos; read++ {
		at := queue[0]
		queue = queue[1:]
		for _, e := range entriesOf(f, at, maxRepos) {
			if name := path.Join(at, e.Name()); e.IsDir() && isGitDir(f, name) {
				found = append(found, name)
				queue = append(queue, path.Join(name, "modules"))
			} else if e.IsDir() {
				queue = append(queue, name)
			}
		}
	}
	return found
}

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

// mayBindGit says whether a git directory outside the project may be bound. It was proved to be the project's; this is the second
// lock: never a place that --rw would be refused, never around the project, never another user's.
func (w *planner) mayBindGit(dir string) error {
	if reason := refusedBind(w.host, w.home, dir, true); reason != "" {
		return fmt.Errorf("%s is not bound: %s", dir, reason)
	}
	if within(w.plan.Project, dir) {
		return fmt.Errorf("%s is not bound: it holds the project and whatever lies beside it", dir)
	}
	if secret := inSecretDir(w.home, dir); secret != "" {
		return fmt.Errorf("%s is not bound: credentials are kept in %s", dir, secret)
	}
	info, err := w.files.Lstat(dir)
	if err != nil {
		return err
	}
	if uid, _, ok := owner(info); w.host.UID != 0 && (!ok || uid != w.host.UID) {
		return fmt.Errorf("%s is not bound: another user owns it", dir)
	}
	return nil
}

// gitSetting is one line of a git config file. Section and key are in lower case, as git compares them.
type gitSetting struct{ section, key, value string }

// gitConfig reads as much of git-config(1)'s syntax as paths need: no continuation lines, comments at the start of a line only.
func gitConfig(data []byte) []gitSetting {
	var all []gitSetting
	section := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "["); ok {
			head, after, _ := strings.Cut(rest, "]")
			head, _, _ = strings.Cut(head, " ")
			section, line = strings.ToLower(head), strings.TrimSpace(after)
		}
		key, value, ok := strings.Cut(line, "=")
		if ok && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
			all = append(all, gitSetting{section, strings.ToLower(strings.TrimSpace(key)), strings.Trim(strings.TrimSpace(value), `"`)})
		}
	}
	return all
}
