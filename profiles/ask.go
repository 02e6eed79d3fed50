package profiles

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// maxAnswer bounds what is kept of a tool's output, in bytes.
const maxAnswer = 1 << 20

// missingTool is the error for a tool that is on no directory of the PATH where it may be run from.
type missingTool string

func (m missingTool) Error() string {
	return "no " + string(m) + " on the PATH outside of what the jail writes"
}

// tool is a program that may be run: its place on the PATH, and the file behind the links.
type tool struct {
	name, file string
}

// find looks a tool up on the caller's PATH, as execvp(3) does, but passes over relative directories and over everything that a
// jail may have written.
func (a Asker) find(name string) (tool, error) {
	for _, dir := range a.searchPath() {
		candidate := filepath.Join(dir, name)
		file, err := filepath.EvalSymlinks(candidate)
		if err != nil || a.avoided(file) {
			continue
		}
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return tool{name: candidate, file: file}, nil
		}
	}
	return tool{}, missingTool(name)
}

// searchPath is the PATH for the tools themselves, which start others (npm starts node, a shim starts the real one).
func (a Asker) searchPath() []string {
	var out []string
	for _, dir := range filepath.SplitList(a.getenv("PATH")) {
		if filepath.IsAbs(dir) && !a.avoided(dir) {
			out = append(out, dir)
		}
	}
	return out
}

// avoided says that a path lies in one of Avoid, as written or behind its links.
func (a Asker) avoided(name string) bool {
	return slices.ContainsFunc(a.Avoid, func(dir string) bool {
		return slices.ContainsFunc(forms(name), func(n string) bool {
			return slices.ContainsFunc(forms(dir), func(d string) bool { return n == d || strings.HasPrefix(n, strings.TrimSuffix(d, "/")+"/") })
		})
	})
}

// forms are a path as written and with its links resolved; one that does not exist yet has only the first.
func forms(name string) []string {
	name = filepath.Clean(name)
	if real, err := filepath.EvalSymlinks(name); err == nil && real != name {
		return []string{name, real}
	}
	return []string{name}
}

func (a Asker) getenv(name string) string {
	for _, kv := range slices.Backward(a.Env) {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v
		}
	}
	return ""
}

// path resolves ~ and, for a tool's own files, the variables that move them.
func (a Asker) path(name string) string {
	if name == "~" || strings.HasPrefix(name, "~/") {
		return filepath.Join(a.getenv("HOME"), name[1:])
	}
	return name
}

func (a Asker) home(variable, fallback string) string {
	if dir := a.getenv(variable); filepath.IsAbs(dir) && !a.avoided(dir) {
		return dir
	}
	return a.path(fallback)
}

// passed are the variables that a tool sees beside PATH: who the user is, where version managers and tools keep their state,
// and the user's own choice of a mirror. npm_config_* is not among them, although it can hold one: `npm run` exports the
// project's .npmrc in that form. Nor are GOENV, GOFLAGS, PIP_CONFIG_FILE, PYTHON*, NODE_* and LD_*.
func passed() []string {
	return []string{
		"HOME", "USER", "LOGNAME", "LANG", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
		"NVM_DIR", "FNM_DIR", "VOLTA_HOME", "ASDF_DIR", "ASDF_DATA_DIR", "MISE_DATA_DIR", "PYENV_ROOT", "CARGO_HOME", "RUSTUP_HOME",
		"GOPROXY", "GOSUMDB", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL",
	}
}

// environ is the whole environment of a tool.
func (a Asker) environ(extra ...string) []string {
	env := []string{"PATH=" + strings.Join(a.searchPath(), ":"), "LC_ALL=C"}
	for _, name := range passed() {
		if v := a.getenv(name); v != "" && !(filepath.IsAbs(v) && a.avoided(v)) {
			env = append(env, name+"="+v)
		}
	}
	return append(env, extra...)
}

// run gives what a tool prints. It has no terminal, no input and a session of its own (setsid(2)), which is killed as a whole
// when the time is up: a shim that hangs is a tree of processes.
func (a Asker) run(ctx context.Context, t tool, env []string, args ...string) ([]byte, error) {
	if !filepath.IsAbs(a.Dir) || a.avoided(a.Dir) {
		return nil, fmt.Errorf("run %s in %s: a directory that the jail writes", filepath.Base(t.name), printable(a.Dir))
	}
	timeout := a.Timeout
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(caller, timeout)
	defer cancel()
	out, complaint := &head{max: maxAnswer}, &head{max: 4096}
	cmd := exec.CommandContext(ctx, t.name, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = a.Dir, a.environ(env...), out, complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for a grandchild that left the session and holds our pipe
	err := cmd.Run()
	line := strings.Join(append([]string{filepath.Base(t.name)}, args...), " ")
	if err := caller.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", printable(line), err)
	}
	if ctx.Err() != nil && err != nil {
		return nil, fmt.Errorf("%s: no answer within %v", printable(line), timeout)
	}
	if err != nil {
		last := lastLine(complaint.kept)
		if last == "" {
			return nil, fmt.Errorf("%s: %w", printable(line), err)
		}
		return nil, fmt.Errorf("%s: %w: %s", printable(line), err, printable(last))
	}
	if out.cut {
		return nil, fmt.Errorf("%s: more than %d bytes of answer", printable(line), maxAnswer)
	}
	return out.kept, nil
}

func lastLine(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	return last[:min(len(last), 200)]
}

// head keeps the first max bytes of what is written and takes the rest without an error, so that the writer does not block. It
// does not embed the buffer, whose ReadFrom would keep everything.
type head struct {
	kept []byte
	max  int
	cut  bool
}

func (h *head) Write(p []byte) (int, error) {
	keep := min(len(p), h.max-len(h.kept))
	h.cut = h.cut || keep < len(p)
	h.kept = append(h.kept, p[:keep]...)
	return len(p), nil
}

// firstOf gives the first tool of the names that is there.
func (a Asker) firstOf(names ...string) (tool, error) {
	var errs []error
	for _, name := range names {
		t, err := a.find(name)
		if err == nil {
			return t, nil
		}
		errs = append(errs, err)
	}
	return tool{}, errors.Join(errs...)
}
