package sandbox

import (
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
	{path: "remotes", why: "git fetches from and pushes to what it names, over whatever transport"},
	{path: "branches", why: "git fetches from and pushes to what it names, over whatever transport"},
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

// repositories protects each repository of the project.
func (g *guards) repositories() {
	w := g.w
	var err error
	if w.known, err = recall(w.host, w.files, w.plan.Project); err != nil {
		w.note("%v: git repositories that earlier runs knew of are not looked at directly, and what a hidden link led to then is not hidden", err)
	}
	w.plan.looked = seenDirs{}
	look := lookForRepos(w.plan.Project, w.known.repos, w.files, w.plan.looked)
	w.plan.Repos, w.plan.Unread, w.plan.Bounded = look.repos, look.closed, look.beyond != ""
	for _, dir := range look.closed {
		w.note("%s cannot be read: git repositories in it that no earlier run knew of are not protected", dir)
	}
	if look.beyond != "" {
		w.note("%s and whatever lies further was not searched for git repositories: those that no earlier run knew of are not protected", look.beyond)
	}
	if !slices.Contains(w.plan.Repos, w.plan.Project) {
		g.guard(w.plan.Project, ".git", guarded{path: ".git", why: "git runs its hooks and what its config names"})
	}
	for _, top := range w.plan.Repos {
		label := strings.TrimPrefix(strings.TrimPrefix(top, w.plan.Project), "/")
		dot := path.Join(top, ".git")
		info, err := w.files.Lstat(dot)
		switch {
		case err != nil && !missing(err):
			g.blocked(dot, err)
		case err != nil: // bare
			g.gitDir(top, top, label)
		case info.IsDir():
			g.gitDir(dot, top, path.Join(label, ".git"))
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
	g.gitDir(l.common, top, label)
}

// gitDir protects what lies in one git directory. The records in one that several work trees share are looked at once; but who lets go
// of something names it as one of the work trees does, and then each has its say.
func (g *guards) gitDir(dir, top, label string) {
	for _, p := range gitGuards {
		g.guard(dir, path.Join(label, p.path), p)
	}
	if len(g.except) > 0 || !slices.Contains(g.gitDirs, dir) {
		g.gitDirs = append(g.gitDirs, dir)
		g.worktrees(path.Join(dir, "worktrees"), path.Join(label, "worktrees"))
	}
	f := g.w.files
	for _, module := range moduleDirs(f, path.Join(dir, "modules"), g.blocked) {
		for _, p := range gitGuards {
			g.guard(module, path.Join(label, strings.TrimPrefix(module, dir), p.path), p)
		}
		g.obeyed(path.Join(module, "config"), g.moduleTop(module, top))
	}
	for _, name := range append(g.w.userGitConfigs(), path.Join(dir, "config"), path.Join(dir, "config.worktree")) {
		g.obeyed(name, top)
	}
}

// worktrees protects git's records of linked work trees. What a record's config names is relative to its own work tree.
func (g *guards) worktrees(dir, label string) {
	entries := g.entries(dir)
	if len(entries) > maxRepos { // the jail may have made them, so that what it is after comes last
		g.w.note("%s holds more than %d and is read-only as a whole: git worktree prune", dir, maxRepos)
		g.guard(dir, label, guarded{path: ".", why: "more of git's records of work trees than are told apart"})
		return
	}
	for _, e := range entries {
		at := path.Join(dir, e.Name())
		back, ok := readPath(g.w.files, at, "gitdir")
		if !ok || !within(back, g.w.plan.Project) {
			// Whole: the jail does not see that work tree, so nobody in it has work there, and `git worktree prune`
			// would take it for gone and forget it.
			g.guard(at, path.Join(label, e.Name()), guarded{path: ".", why: "git's record of another work tree"})
			continue
		}
		for _, p := range worktreeGuards {
			g.guard(at, path.Join(label, e.Name(), p.path), p)
		}
		g.obeyed(path.Join(at, "config.worktree"), path.Dir(back))
	}
}

// entries reads a directory of git's, as far as shows that there are too many; one that is missing has none.
func (g *guards) entries(dir string) []fs.DirEntry {
	entries, err := g.w.files.ReadDir(dir, maxRepos+1)
	if err != nil {
		g.blocked(dir, err)
	}
	return entries
}

// userGitConfigs are the caller's own, which may name things relative to whatever repository git is run in.
func (w *planner) userGitConfigs() []string {
	config := w.host.getenv("XDG_CONFIG_HOME")
	if !path.IsAbs(config) {
		config = path.Join(w.host.Home, ".config")
	}
	return []string{"/etc/gitconfig", path.Join(config, "git/config"), path.Join(w.host.Home, ".gitconfig")}
}

// moduleTop gives the work tree of a submodule, by what its git directory says. Of several settings git takes the last.
func (g *guards) moduleTop(module, otherwise string) string {
	data, _ := g.w.files.ReadFile(path.Join(module, "config"), maxGitConfig)
	for _, s := range slices.Backward(gitConfig(data)) {
		if s.section == "core" && s.key == "worktree" {
			if p, err := follow(g.w.files, joinAbs(module, s.value)); err == nil {
				return p.path
			}
			break
		}
	}
	return otherwise
}

// Bounds of includes: git's own depth, and files for one repository.
const (
	maxIncludeDepth = 10
	maxIncludes     = 64
)

// obeyed protects what a config file, and those that it includes, name in the project; top is the work tree that git runs things in.
func (g *guards) obeyed(file, top string) {
	left := maxIncludes
	g.obeyedBy(file, top, maxIncludeDepth, &left)
}

func (g *guards) obeyedBy(file, top string, depth int, left *int) {
	if *left--; *left < 0 || depth < 0 {
		g.w.note("%s: more includes than are followed: what further ones name is not protected", file)
		return
	}
	data, err := g.w.files.ReadFile(file, maxGitConfig)
	if err != nil {
		if g.w.tree.shows(file) { // and not the caller's own, which may be closed to the caller
			g.blocked(file, err)
		}
		return
	}
	for _, s := range gitConfig(data) {
		if s.section == "core" && s.key == "sharedrepository" && g.w.tree.shows(file) {
			g.w.shared = true
		}
		how, ok := s.names()
		if !ok {
			continue
		}
		why := "git's config names it (" + s.section + "." + s.key + ")"
		switch how {
		case namesPath:
			g.named(top, s.value, why, true)
		case namesInclude:
			g.named(path.Dir(file), s.value, why, true)
			if p, err := follow(g.w.files, g.w.host.named(path.Dir(file), s.value)); err == nil && s.value != "" {
				g.obeyedBy(p.path, top, depth-1, left)
			}
		default:
			for _, word := range commandPaths(s.value) {
				g.named(top, word, why, strings.Contains(word, "/"))
			}
		}
	}
}

// named protects a path that git's config names, if it leads into the project. orMissing says that it is a path for certain, so that it
// is watched when nothing is there.
func (g *guards) named(base, name, why string, orMissing bool) {
	if name == "" {
		return
	}
	full := g.w.host.named(base, name)
	p, err := follow(g.w.files, full)
	project := g.w.plan.Project
	if err != nil && !orMissing || !strictlyWithin(p.path, project) && !slices.ContainsFunc(p.links, func(l link) bool { return within(l.path, project) }) {
		return
	}
	if !g.excepted(strings.TrimPrefix(p.path, project+"/")) {
		g.at(full, guarded{why: why})
	}
}

// named makes a path of git's config absolute; it is not cleaned, for ".." after a link means what the kernel says.
func (h *Host) named(base, name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		return joinAbs(h.Home, rest)
	}
	return joinAbs(base, name)
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
