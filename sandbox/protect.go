package sandbox

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/agentjail/agentjail/profiles"
)

// guarded is a path of a project, or of a git directory, that the host executes or obeys later, outside the jail.
type guarded struct {
	path string // relative
	why  string
	// onlyNew: what stands there already is work in progress and stays writable; it is named when a run leaves a new one.
	onlyNew bool
}

// projectGuards are the paths in a project that programs on the host run without asking, and are not the work itself: a Makefile
// or a package.json is run by who asks for it, and is what an agent is there to change.
var projectGuards = []guarded{
	{path: ".gitmodules", why: "git clones and checks out what it names"},
	{path: ".hg/hgrc", why: "Mercurial runs the hooks and extensions that it names"},
	{path: ".hg/hgrc-not-shared", why: "Mercurial runs the hooks and extensions that it names"},
	{path: ".hg/sharedpath", why: "Mercurial takes its hgrc from the repository that it names"},
	{path: ".jj/repo/config.toml", why: "Jujutsu runs the tools that it names"},
	{path: ".envrc", why: "direnv runs it on cd"},
	{path: "mise.toml", why: "mise runs its hooks and sets its environment on cd"},
	{path: ".mise.toml", why: "mise runs its hooks and sets its environment on cd"},
	{path: "mise.local.toml", why: "mise runs its hooks and sets its environment on cd"},
	{path: ".mise.local.toml", why: "mise runs its hooks and sets its environment on cd"},
	{path: "mise/config.toml", why: "mise runs its hooks on cd"},
	{path: ".mise", why: "mise runs the hooks of its config.toml on cd"},
	{path: ".config/mise", why: "mise runs the hooks of its config.toml on cd"},
	{path: ".config/mise.toml", why: "mise runs its hooks and sets its environment on cd"},
	{path: ".tool-versions", why: "asdf and mise run the program that a path: in it names"},
	{path: ".vscode", why: "the editor runs its tasks and settings"},
	{path: ".idea", why: "the IDE runs its run configurations and watchers"},
	{path: ".fleet", why: "the IDE runs its run configurations"},
	{path: ".zed", why: "the editor runs its tasks and language servers"},
	{path: ".helix", why: "the editor starts the language servers that it names"},
	{path: ".vim/coc-settings.json", why: "coc.nvim starts the language servers that it names"},
	{path: "*.code-workspace", why: "the editor runs its tasks and settings"},
	{path: ".exrc", why: "vim runs it with 'exrc'"},
	{path: ".vimrc", why: "vim runs it with 'exrc'"},
	{path: ".nvimrc", why: "neovim runs it with 'exrc'"},
	{path: ".nvim.lua", why: "neovim runs it with 'exrc'"},
	{path: ".lazy.lua", why: "lazy.nvim runs it"},
	{path: ".dir-locals.el", why: "emacs evaluates it"},
	{path: ".dir-locals-2.el", why: "emacs evaluates it"},
	{path: ".gdbinit", why: "gdb runs it"},
	{path: ".lldbinit", why: "lldb runs it"},
	{path: ".pdbrc", why: "Python's debugger runs it"},
	{path: ".irbrc", why: "Ruby's shell runs it"},
	{path: ".pryrc", why: "Ruby's shell runs it"},
	{path: ".iex.exs", why: "Elixir's shell runs it"},
	{path: ".ghci", why: "Haskell's shell runs it"},
	{path: ".ocamlinit", why: "OCaml's shell runs it"},
	{path: ".Rprofile", why: "R runs it"},
	{path: ".Renviron", why: "R runs the profile that it names"},
	{path: ".octaverc", why: "Octave runs it"},
	{path: ".husky", why: "git hooks"},
	{path: ".githooks", why: "git hooks, where core.hooksPath says so"},
	{path: ".pre-commit-config.yaml", why: "pre-commit runs its hooks"},
	{path: "lefthook*.*", why: "lefthook runs its hooks"}, // -local, and four formats
	{path: ".lefthook*.*", why: "lefthook runs its hooks"},
	{path: ".config/lefthook*.*", why: "lefthook runs its hooks"},
	{path: ".overcommit.yml", why: "overcommit runs its hooks"},
	{path: ".claude/settings.json", why: "Claude Code runs its hooks and grants its permissions"},
	{path: ".claude/settings.local.json", why: "Claude Code runs its hooks and grants its permissions"},
	{path: ".claude/hooks", why: "Claude Code runs them"},
	{path: ".claude/commands", why: "Claude Code obeys them"},
	{path: ".claude/agents", why: "Claude Code obeys them"},
	{path: ".claude/skills", why: "Claude Code runs their scripts"},
	{path: ".mcp.json", why: "agents start the servers that it names"},
	{path: ".cursor", why: "Cursor starts its MCP servers and obeys its rules"},
	{path: ".windsurf", why: "Windsurf obeys its rules"},
	{path: ".codex", why: "Codex starts its MCP servers"},
	{path: ".gemini", why: "Gemini CLI starts its MCP servers"},
	{path: ".opencode", why: "opencode runs its plugins"},
	{path: "opencode.json", why: "opencode starts its MCP servers"},
	{path: "opencode.jsonc", why: "opencode starts its MCP servers"},
	{path: ".aider.conf.yml", why: "aider runs its test and lint commands"},
	{path: ".devcontainer", why: "editors build and start it"},
	{path: ".devcontainer.json", why: "editors build and start it"},
	{path: ".npmrc", why: "npm takes its registry, scripts' shell and credentials from it"},
	{path: ".yarnrc", why: "yarn runs the program that it names"},
	{path: ".yarnrc.yml", why: "yarn runs the program and plugins that it names"},
	{path: ".yarn/releases", why: "yarn runs itself from there"},
	{path: ".yarn/plugins", why: "yarn runs them"},
	{path: ".pnpmfile.cjs", why: "pnpm runs it on install"},
	{path: "bunfig.toml", why: "bun runs what it preloads, and takes its registry from it"},
	{path: ".bundle", why: "bundler loads the plugins and gems that its config names"},
	{path: ".cargo/config.toml", why: "cargo runs its runners and wrappers"},
	{path: ".cargo/config", why: "cargo runs its runners and wrappers"},
	{path: ".mvn", why: "Maven loads its extensions"},
	{path: "gradle/wrapper", why: "the IDE and gradlew run the jar that lies there, and download what its properties name"},
	{path: ".bazelrc", why: "bazel obeys it"},
	{path: ".github/workflows", why: "CI runs them, with its secrets"},
	{path: ".github/actions", why: "CI runs them, with its secrets"},
	{path: ".forgejo/workflows", why: "CI runs them, with its secrets"},
	{path: ".gitea/workflows", why: "CI runs them, with its secrets"},
	{path: ".gitlab-ci.yml", why: "CI runs it, with its secrets"},
	{path: ".circleci", why: "CI runs it, with its secrets"},
	{path: ".buildkite", why: "CI runs it, with its secrets"},
	{path: ".travis.yml", why: "CI runs it, with its secrets"},
	{path: ".drone.yml", why: "CI runs it, with its secrets"},
	{path: ".woodpecker.yml", why: "CI runs it, with its secrets"},
	{path: ".woodpecker", why: "CI runs it, with its secrets"},
	{path: "azure-pipelines.yml", why: "CI runs it, with its secrets"},
	{path: "bitbucket-pipelines.yml", why: "CI runs it, with its secrets"},
	{path: "Jenkinsfile", why: "CI runs it, with its secrets"},
	{path: ".agentjail.toml", why: "says what the next jail of this project may do"},
}

// guards collects what the project's protection needs.
type guards struct {
	w       *planner
	except  []string // unprotected, relative to the project
	lifted  []bool   // of each in except, whether there was something to lift
	gitDirs []string // whose records of work trees were looked at
	err     error    // the first path that could not be looked at
}

// protect makes the protected paths of the project and of its git directories read-only.
func (w *planner) protect() error {
	g := &guards{w: w}
	for _, it := range w.profile.FS.Unprotect {
		rel, err := w.inProject(it)
		if err != nil {
			return err
		}
		g.except = append(g.except, rel)
	}
	g.lifted = make([]bool, len(g.except))
	for _, p := range projectGuards {
		if strings.Contains(p.path, "*") {
			g.guardMatching(p)
			continue
		}
		g.guard(w.plan.Project, p.path, p)
	}
	g.repositories()
	g.setID()
	for _, it := range w.profile.FS.Protect {
		rel, err := w.inProject(it)
		if err != nil {
			return err
		}
		if rel == "." {
			w.tree.add(Mount{Kind: KindBind, Source: w.plan.Project, Target: w.plan.Project, ReadOnly: true, Why: it.Why})
			continue
		}
		// What was asked for by name is not undone by a wider unprotect.
		g.at(path.Join(w.plan.Project, rel), guarded{why: it.Why})
		if _, err := follow(w.files, path.Join(w.plan.Project, rel)); missing(err) {
			w.warn(it, "there is no such path; if the run creates it, that is not prevented but told at the end")
		}
	}
	for i, it := range w.profile.FS.Unprotect {
		if !g.lifted[i] {
			w.warn(it, "no built-in protection is there to lift")
		}
	}
	return g.err
}

// inProject gives a wish's path relative to the project.
func (w *planner) inProject(it profiles.Item) (string, error) {
	name := w.host.absolute(it.Value, w.plan.Project)
	if !within(name, w.plan.Project) {
		if p, err := follow(w.files, name); err == nil {
			name = p.path
		}
	}
	if !within(name, w.plan.Project) {
		return "", planError("name a path in "+w.plan.Project, "%s: %s lies outside the project", it.Why, it.Value)
	}
	return path.Clean("./" + strings.TrimPrefix(name, w.plan.Project)), nil
}

// guard protects one path below root, which unprotect names by label, or by where it lies in the project: what several work trees share
// has a label in each.
func (g *guards) guard(root, label string, what guarded) {
	name := path.Join(root, what.path)
	if !g.excepted(label) && !g.excepted(strings.TrimPrefix(name, g.w.plan.Project+"/")) {
		g.at(name, what)
	}
}

func (g *guards) excepted(label string) (is bool) {
	for i, e := range g.except {
		if e == "." || within("/"+label, "/"+e) {
			g.lifted[i], is = true, true
		}
	}
	return is
}

// guardMatching protects what matches a pattern in its last part, and watches for more.
func (g *guards) guardMatching(what guarded) {
	if g.excepted(what.path) {
		return
	}
	project := g.w.plan.Project
	name := path.Join(project, what.path)
	watch := Watch{Path: name, Pattern: true, Known: matching(g.w.files, path.Dir(name), path.Base(name)), Why: what.why}
	for _, name := range watch.Known {
		rel := strings.TrimPrefix(name, project+"/")
		g.guard(project, rel, guarded{path: rel, why: what.why})
	}
	g.w.watch(watch)
}

// at protects one path. What exists is bound read-only onto itself, with each directory on the way pinned. What does not exist, or is a
// link, cannot hold a mount without leaving a ghost: it is watched.
func (g *guards) at(name string, what guarded) {
	p, err := follow(g.w.files, name)
	for _, l := range p.links {
		g.w.watch(Watch{Path: l.path, Link: l.text, Why: what.why})
	}
	switch {
	case err == nil && !what.onlyNew:
		g.shield(p, what.why)
	case err == nil, !g.writable(p.path):
	case missing(err):
		g.w.watch(Watch{Path: p.path, Why: what.why})
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENAMETOOLONG): // nothing can be there, and the links are watched
	default:
		g.blocked(p.path, err)
	}
}

// blocked ends the plan: what cannot be looked at may be anything, and is not taken for missing. Only what is missing is.
func (g *guards) blocked(name string, err error) {
	if g.err != nil || missing(err) {
		return
	}
	hint := ""
	if dir := closedAt(g.w.files, name); errors.Is(err, fs.ErrPermission) {
		hint = "chmod u+rx " + word(dir)
		if info, err := g.w.files.Lstat(dir); err == nil && !info.IsDir() {
			hint = "chmod u+r " + word(dir)
		}
	}
	g.err = planError(hint, "%s cannot be looked at, and so not be protected: %w", name, err)
}

// writable says whether the jail may write at a path of the host's.
func (g *guards) writable(name string) bool {
	m := g.w.tree.cover(name)
	return m != nil && m.Kind == KindBind && !m.ReadOnly && !m.Own
}

// watch adds a path once.
func (w *planner) watch(it Watch) {
	if !slices.ContainsFunc(w.plan.Watch, func(o Watch) bool { return o.Path == it.Path }) {
		w.plan.Watch = append(w.plan.Watch, it)
	}
}
