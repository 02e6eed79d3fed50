package sandbox

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// program is one file that execve(2) will read: the command, or an interpreter that it names.
type program struct {
	typed string // the path as it was found on PATH or typed, links and all
	place place  // where it leads
	why   string
}

// maxInterpreters is how deep scripts may be interpreted by scripts; the kernel allows five (fs/exec.c).
const maxInterpreters = 5

// defaultPath is what execvp(3) of glibc and a shell use where PATH is not set, with the administrator's directories.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// searchPath gives the absolute directories of the caller's PATH. Relative ones, "" among them, are passed over: they name whatever
// the project put there.
func searchPath(h *Host) []string {
	value := h.getenv("PATH")
	if value == "" {
		value = defaultPath
	}
	dirs := slices.DeleteFunc(strings.Split(value, ":"), func(d string) bool { return !path.IsAbs(d) })
	for i := range dirs {
		dirs[i] = path.Clean(dirs[i])
	}
	return dirs
}

// find looks a program up as execvp(3) does: a name with a slash is a path, any other one is looked for on PATH. problem is one of
// the Problem constants or "".
func find(h *Host, f Files, name string) (p program, problem string) {
	candidates := []string{h.absolute(name, h.Dir)}
	if strings.HasPrefix(name, "~") {
		candidates[0] = path.Join(h.Dir, name) // a shell has expanded what it wanted to
	}
	if name == "" {
		return p, ProblemNotFound
	}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, dir := range searchPath(h) {
			candidates = append(candidates, path.Join(dir, name))
		}
	}
	problem = ProblemNotFound
	for _, c := range candidates {
		at, err := follow(f, c)
		switch {
		case missing(err):
		case err != nil && len(candidates) > 1: // a directory of PATH that the caller may not look into: a shell passes it over
		case err != nil, !at.info.Mode().IsRegular(), at.info.Mode().Perm()&0o111 == 0:
			problem = ProblemNotExecutable
		default:
			return program{typed: c, place: at}, ""
		}
	}
	return p, problem
}

// programs gives the command and, one after another, the interpreters that it needs.
func (w *planner) programs(name string) (all []program, problem string) {
	p, problem := find(w.host, w.files, name)
	if problem != "" {
		return nil, problem
	}
	p.why = "the command"
	for {
		all = append(all, p)
		name := interpreter(w.files, p.place.path)
		if name == "" {
			return all, ""
		}
		next, problem := find(w.host, w.files, name)
		if problem != "" || len(all) > maxInterpreters {
			w.note("%s names the interpreter %s: %s", p.typed, name, problem)
			return all, ProblemNotFound // execve(2) gives ENOENT
		}
		next.why = fmt.Sprintf("the interpreter of %s", path.Base(p.typed))
		p = next
	}
}

// interpreter reads a "#!" line (execve(2)): its program, or for env(1) the program that env will look up.
func interpreter(f Files, name string) string {
	head, err := f.ReadFile(name, 256) // BINPRM_BUF_SIZE
	line, ok := strings.CutPrefix(string(head), "#!")
	if err != nil || !ok {
		return ""
	}
	line, _, _ = strings.Cut(line, "\n")
	words := strings.Fields(line)
	if len(words) == 0 {
		return ""
	}
	if path.Base(words[0]) != "env" {
		return words[0]
	}
	for _, word := range words[1:] {
		word = strings.TrimPrefix(word, "-S")
		if word != "" && !strings.HasPrefix(word, "-") && !strings.Contains(word, "=") {
			return word
		}
	}
	return words[0]
}

// command finds the command and binds what it is made of, then what else of PATH is known to be tools.
func (w *planner) command(argv []string) error {
	if len(argv) == 0 {
		return planError("agentjail -- COMMAND [ARG...]", "no command")
	}
	for _, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			return planError("", "command: an argument holds a NUL byte")
		}
	}
	c := Command{Argv: argv, Dir: w.plan.Project}
	if within(w.host.Dir, w.plan.Project) {
		c.Dir = w.host.Dir
	}
	all, problem := w.programs(argv[0])
	c.Problem = problem
	for _, p := range all {
		w.install(p)
	}
	w.pathTools()
	if problem == "" {
		c.Path = w.execPath(all[0])
	}
	w.plan.Command = c
	return nil
}

// execPath keeps the path as typed where it leads to the program in the jail too: busybox, rustup and Python's virtual environments
// look at the name that they are called by.
func (w *planner) execPath(p program) string {
	if w.tree.reaches(p.place) {
		return p.typed
	}
	return p.place.path
}

// isFile says whether a regular file stands at name, links followed.
func isFile(f Files, name string) bool {
	p, err := follow(f, name)
	return err == nil && p.info.Mode().IsRegular()
}

// isDir says whether a directory stands at name, and no link to one.
func isDir(f Files, name string) bool {
	info, err := f.Lstat(name)
	return err == nil && info.Mode()&fs.ModeType == fs.ModeDir
}
