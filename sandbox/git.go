package sandbox

import (
	"fmt"
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
