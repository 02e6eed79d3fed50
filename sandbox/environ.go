package sandbox

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// alwaysPass are the caller's variables that describe the terminal and the language, and carry no secret.
var alwaysPass = []string{"TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "LANG", "LANGUAGE", "LC_*", "TZ"}

// toolHomes say where a toolchain lies. They pass when the jail sees the directory: a rustup of an image does not run without.
var toolHomes = []string{"RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "PYENV_ROOT", "NVM_DIR", "NVM_BIN", "VOLTA_HOME", "JAVA_HOME", "GOROOT", "SDKMAN_DIR",
	"ASDF_DIR", "ASDF_DATA_DIR", "MISE_DATA_DIR", "CONDA_PREFIX", "VIRTUAL_ENV"}

// neverByGlob are variables that make a program load or run something, or that name a socket of the host. "env.pass = ["*"]" does
// not mean them; their own name, written out, does.
var neverByGlob = []string{"LD_*", "BASH_ENV", "BASH_FUNC_*", "ENV", "IFS", "PROMPT_COMMAND", "PS4", "SHELLOPTS", "BASHOPTS", "NODE_OPTIONS", "PERL5OPT",
	"PERL5LIB", "PYTHONSTARTUP", "PYTHONPATH", "PYTHONHOME", "RUBYOPT", "RUBYLIB", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "GIT_*", "SSH_*", "DBUS_*",
	"DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_*", "DOCKER_*", "GPG_*", "SUDO_*", "TMUX*", "STY", "*_PROXY", "*_proxy", "GCONV_PATH", "LOCPATH",
	"NLSPATH", "HOSTALIASES", "RES_OPTIONS", "TMPDIR", "OLDPWD", "MALLOC_*", "GLIBC_TUNABLES"}

// environment collects variables; a later one of the same name wins unless keep says so.
type environment struct {
	vars map[string]Var
}

func (e *environment) set(name, value, why string) {
	e.vars[name] = Var{Name: name, Value: value, Why: why}
}

// environ makes the command's whole environment. Nothing of the caller's comes in unless a line here or in the profile names it.
func (w *planner) environ() error {
	e := &environment{vars: make(map[string]Var)}
	host := hostVars(w.host)
	for _, pattern := range alwaysPass {
		e.pass(host, pattern, "describes the terminal or the language")
	}
	w.passToolHomes(e, host)
	id := w.plan.Identity
	e.set("HOME", id.Home, "the private home")
	e.set("USER", id.User, "the identity")
	e.set("LOGNAME", id.User, "the identity")
	e.set("SHELL", w.shell(), "the caller's shell, where the jail has it")
	e.set("PATH", w.jailPath(), "those directories of the caller's PATH that the jail has")
	e.set("PWD", w.workingDir(), "the working directory")
	e.set("TMPDIR", "/tmp", "the jail's own /tmp")
	e.set("XDG_RUNTIME_DIR", "/run/user/"+strconv.Itoa(id.UID), "the jail's own")
	e.set("AGENTJAIL", "1", "says that this is a jail")
	w.trustEnv(e)
	w.proxyEnv(e)
	w.gitIdentity(e)
	ours := e.names()
	for _, it := range w.profile.Env.Pass {
		if !validPattern(it.Value) {
			return planError("letters, digits and _; * and ? as in a shell", "%s: %q is no variable's name or pattern", it.Why, it.Value)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(host)), func(name string) bool { return matches(it.Value, name) }) {
			w.warn(it, "your environment has no such variable, so none is passed")
		}
		for name := range host {
			if !slices.Contains(ours, name) && matches(it.Value, name) && (it.Value == name || !matchesAny(neverByGlob, name)) {
				e.set(name, host[name], it.Why)
			}
		}
	}
	for _, s := range w.profile.Env.Set {
		if !validName(s.Name) || strings.ContainsRune(s.Value, 0) {
			return planError("NAME=VALUE, the name of letters, digits and _", "%s: %q is no variable", s.Why, s.Name)
		}
		e.set(s.Name, s.Value, s.Why)
	}
	w.gitShared(e)
	if err := w.secretEnv(e, ours); err != nil {
		return err
	}
	for _, name := range e.names() {
		w.plan.Command.Env = append(w.plan.Command.Env, e.vars[name])
	}
	return nil
}

func (e *environment) names() []string {
	var names []string
	for name := range e.vars {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (e *environment) pass(host map[string]string, pattern, why string) {
	for name, value := range host {
		if matches(pattern, name) {
			e.set(name, value, why)
		}
	}
}

// hostVars are the caller's variables with valid names: bash exports its functions under names like BASH_FUNC_x%%.
func hostVars(h *Host) map[string]string {
	vars := make(map[string]string)
	for _, kv := range h.Env {
		if name, value, ok := strings.Cut(kv, "="); ok && validName(name) {
			vars[name] = value
		}
	}
	return vars
}

func (w *planner) passToolHomes(e *environment, host map[string]string) {
	for _, name := range toolHomes {
		value, ok := host[name]
		if !ok {
			continue
		}
		p, err := follow(w.files, path.Clean("/"+value))
		if name == "RUSTUP_TOOLCHAIN" && !strings.Contains(value, "/") || path.IsAbs(value) && err == nil && w.tree.reaches(p) {
			e.set(name, value, "where a toolchain lies that the jail has")
		}
	}
}

// jailPath gives those entries of the caller's PATH that exist in the jail.
func (w *planner) jailPath() string {
	var kept []string
	for _, dir := range searchPath(w.host) {
		p, err := follow(w.files, dir)
		if err != nil || !p.info.IsDir() || slices.Contains(kept, dir) || !w.tree.reaches(p) {
			continue
		}
		kept = append(kept, dir)
	}
	if len(kept) == 0 {
		return defaultPath
	}
	return strings.Join(kept, ":")
}

// shell is the caller's login shell when it is one of the system's.
func (w *planner) shell() string {
	for _, name := range []string{w.host.getenv("SHELL"), "/bin/bash"} {
		if p, err := follow(w.files, name); err == nil && p.info.Mode().IsRegular() && within(p.path, "/usr") && !strings.ContainsAny(name, ":\n") {
			return name
		}
	}
	return "/bin/sh"
}

// workingDir is $PWD when it is another name, through links that the jail has too, of the working directory: what a shell and
// getcwd(3)'s callers with a prompt show.
func (w *planner) workingDir() string {
	pwd := path.Clean(w.host.getenv("PWD"))
	if p, err := follow(w.files, pwd); err == nil && p.path == w.plan.Command.Dir && w.tree.reaches(p) {
		return pwd
	}
	return w.plan.Command.Dir
}

func validName(name string) bool {
	return validPattern(name) && !strings.ContainsAny(name, "*?") && !(name[0] >= '0' && name[0] <= '9')
}

func validPattern(pattern string) bool {
	return pattern != "" && !strings.ContainsFunc(pattern, func(r rune) bool {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9'
		return !letter && r != '*' && r != '?'
	})
}

func matches(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

func matchesAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) })
}
