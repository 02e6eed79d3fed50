package sandbox

import (
	"path"
	"slices"
	"strings"
)

// layouts are places below the home where tools are known to live, as their installers make them. The part that matches is what is
// bound unless bind names more. None of them holds a credential: those stay in ~/.npmrc, ~/.cargo/credentials.toml and so on.
var layouts = []struct {
	pattern string   // of path.Match, component by component, relative to the home
	bind    []string // relative to the home; empty: what matched
	why     string
}{
	{".nvm/versions/node/*", nil, "nvm"},
	{".local/share/fnm/node-versions/*", nil, "fnm"},
	{".fnm/node-versions/*", nil, "fnm"},
	{".volta/bin", []string{".volta"}, "volta's shims and what they start"},
	{".volta/tools", []string{".volta"}, "volta"},
	{".local/share/pnpm", nil, "pnpm"},
	{".npm-global", nil, "npm's global prefix"},
	{".bun/bin", []string{".bun/bin", ".bun/install/global"}, "bun"},
	{".bun/install/global", nil, "bun"},
	{".deno/bin", nil, "deno"},
	{".pyenv/shims", []string{".pyenv"}, "pyenv's shims and what they start"},
	{".pyenv/bin", []string{".pyenv"}, "pyenv"},
	{".pyenv/versions/*", nil, "pyenv"},
	{".local/share/uv/tools/*", nil, "uv"},
	{".local/share/uv/python/*", nil, "uv"},
	{".local/share/pipx/venvs/*", nil, "pipx"},
	{".local/pipx/venvs/*", nil, "pipx"},
	{".local/share/virtualenvs/*", nil, "pipenv"},
	{"miniconda3", nil, "conda"}, {"miniforge3", nil, "conda"}, {"anaconda3", nil, "conda"},
	{".rbenv/shims", []string{".rbenv"}, "rbenv's shims and what they start"},
	{".rbenv/versions/*", nil, "rbenv"},
	{".asdf/shims", []string{".asdf"}, "asdf's shims and what they start"},
	{".asdf/installs/*/*", nil, "asdf"},
	{".local/share/mise/shims", []string{".local/share/mise"}, "mise's shims and what they start"},
	{".local/share/mise/installs/*/*", nil, "mise"},
	{".sdkman/candidates/*/*", nil, "SDKMAN"},
	{".cargo/bin", []string{".cargo/bin", ".rustup"}, "rustup's proxies and toolchains"},
	{".rustup/toolchains/*", nil, "rustup"},
	{"go/bin", nil, "go install"},
	{"sdk/go*", nil, "golang.org/dl"},
	{".local/go", nil, "the Go toolchain"},
	{".claude/local", nil, "Claude Code's local install"},
	{".local/share/claude/versions", nil, "Claude Code's versions"},
	{".local/share/cursor-agent/versions", nil, "cursor-agent's versions"},
	{".opencode/bin", nil, "opencode"},
	{".nix-profile", nil, "a Nix profile"},
}

// layout finds the layout that a path below the home lies in.
func layout(home, name string) (dirs []string, why string, ok bool) {
	if !strictlyWithin(name, home) {
		return nil, "", false
	}
	have := split(strings.TrimPrefix(name, home))
	for _, l := range layouts {
		want := split(l.pattern)
		if len(have) < len(want) {
			continue
		}
		if ok, _ := path.Match(l.pattern, path.Join(have[:len(want)]...)); !ok {
			continue
		}
		if l.bind == nil {
			return []string{path.Join(home, path.Join(have[:len(want)]...))}, l.why, true
		}
		for _, b := range l.bind {
			dirs = append(dirs, path.Join(home, b))
		}
		return dirs, l.why, true
	}
	return nil, "", false
}

// install binds the installation that a program belongs to, read-only, unless the jail sees it already.
func (w *planner) install(p program) {
	w.tree.links = append(w.tree.links, p.place.links...)
	// Each link that was followed lies in an installation too: a shim next to the toolchains that it picks from.
	for _, l := range p.place.links {
		if dirs, why, ok := layout(w.home, l.path); ok {
			w.bindTools(dirs, p.why+": "+why)
		}
	}
	file := p.place.path
	if w.tree.shows(file) {
		return
	}
	if dirs, why, ok := layout(w.home, file); ok {
		w.bindTools(dirs, p.why+": "+why)
	} else if dir, why := enclosing(w.files, file); dir != "" && w.mayBindTool(dir) {
		w.bindTools([]string{dir}, p.why+": "+why)
	}
	if !w.tree.shows(file) {
		w.tree.add(Mount{Kind: KindBind, Source: file, Target: file, ReadOnly: true, Why: p.why + ": the file alone"})
	}
}

// pathTools binds the known layouts that stand on PATH, so that an agent finds the node, cargo or go that its user has. They are
// installers' directories with programs in them and nothing else; ~/bin and ~/.local/bin are not, and stay outside.
func (w *planner) pathTools() {
	for _, dir := range searchPath(w.host) {
		p, err := follow(w.files, dir)
		if err != nil || !p.info.IsDir() {
			continue
		}
		for _, name := range []string{dir, p.path} {
			if dirs, why, ok := layout(w.home, name); ok {
				w.tree.links = append(w.tree.links, p.links...)
				w.bindTools(dirs, "on PATH: "+why)
			}
		}
	}
}

func (w *planner) bindTools(dirs []string, why string) {
	for _, dir := range dirs {
		p, err := follow(w.files, dir)
		if err != nil || !p.info.IsDir() || w.tree.shows(p.path) || !w.mayBindTool(p.path) {
			continue
		}
		w.tree.links = append(w.tree.links, p.links...)
		w.tree.add(Mount{Kind: KindBind, Source: p.path, Target: p.path, ReadOnly: true, Why: why})
	}
}

// enclosing guesses the directory that a program was installed into, from what lies beside it. Where nothing tells, the answer is
// "" and the file is bound alone: too little shows at once, too much never.
func enclosing(f Files, file string) (dir, why string) {
	if before, _, ok := strings.Cut(file, "/node_modules/"); ok {
		return before + "/node_modules", "its node_modules" // the outermost: packages beside it are what it requires
	}
	dir = path.Dir(file)
	prefix := path.Dir(dir)
	if isFile(f, path.Join(prefix, "pyvenv.cfg")) {
		return prefix, "its virtual environment"
	}
	if base := path.Base(dir); base == "bin" || base == "sbin" || base == "libexec" {
		for _, beside := range []string{"lib", "lib64", "libexec", "share"} {
			if beside != base && isDir(f, path.Join(prefix, beside)) {
				return prefix, "its prefix"
			}
		}
	}
	if isFile(f, path.Join(dir, "package.json")) || isDir(f, path.Join(dir, "lib")) || isDir(f, path.Join(dir, "node_modules")) {
		return dir, "its directory"
	}
	if path.Base(prefix) == "versions" {
		return dir, "its version"
	}
	return "", ""
}

// personalDirs hold a person's own files beside programs: what lies in them may be an installation, they are never one.
// Relative to the home.
var personalDirs = []string{".cache", ".claude", ".codex", ".config", ".gemini", ".local", ".local/bin", ".local/lib", ".local/share",
	".local/state", "Desktop", "Documents", "Downloads", "bin", "code", "dev", "git", "go", "projects", "repos", "src", "work", "workspace"}

// sharedDirs hold many programs' or many people's files.
var sharedDirs = []string{"/data", "/home", "/media", "/mnt", "/root", "/run", "/srv", "/tmp", "/var", "/var/lib", "/var/tmp", "/workspace"}

// mayBindTool says whether a directory that was guessed may be bound: never the home or above it, a place of credentials or of
// personal files, another user's home, or one that holds agentjail's own files.
func (w *planner) mayBindTool(dir string) bool {
	if refusedBind(w.host, w.home, dir, true) != "" || inSecretDir(w.home, dir) != "" || slices.Contains(sharedDirs, dir) {
		return false
	}
	if path.Dir(dir) == "/home" && !strictlyWithin(dir, w.home) {
		return dir == "/home/linuxbrew"
	}
	for _, s := range append(slices.Clone(secretDirs), personalDirs...) {
		if within(path.Join(w.home, s), dir) {
			return false
		}
	}
	return true
}
