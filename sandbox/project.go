package sandbox

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
)

// Directories that are never a project, because everybody's files lie there or because they are no files at all.
var (
	// refusedTrees are refused with all that lies below.
	refusedTrees = []string{"/proc", "/sys", "/dev", "/boot", "/etc"}
	// refusedDirs are refused themselves; a directory in them is fine.
	refusedDirs = []string{"/", "/bin", "/home", "/lib", "/lib32", "/lib64", "/libx32", "/media", "/mnt", "/opt", "/root", "/run", "/run/user",
		"/sbin", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/local", "/usr/local/bin", "/usr/sbin", "/usr/share", "/usr/src",
		"/var", "/var/cache", "/var/lib", "/var/log", "/var/tmp"}
	// secretDirs hold credentials and nothing that a project or a tool would be. Relative to the home.
	secretDirs = []string{".ssh", ".gnupg", ".aws", ".azure", ".config/gcloud", ".kube", ".docker", ".password-store", ".mozilla", ".thunderbird",
		".local/share/keyrings", ".local/share/kwalletd", ".pki", ".vault", ".config/google-chrome", ".config/chromium"}
)

// FindProject gives the directory that NewPlan will take for the project, with links resolved: its own profile is read before there
// is a plan. asked is --project or "". The error is an *Error.
func FindProject(h *Host, asked string) (string, error) {
	p, err := findProject(h, h.FS, resolvedHome(h.FS, h.Home).path, asked)
	return p.path, err
}

// findProject decides which directory is the project: the one that was asked for, else the git work tree that holds the working
// directory, else the working directory. A work tree that is the home or above it (dotfiles kept in git) is passed over.
func findProject(h *Host, f Files, home, asked string) (place, error) {
	name, why := asked, "--project"
	if asked == "" {
		name, why = h.Dir, "the current directory"
		if top, ok := workTree(h, f, home); ok {
			name, why = top, "the git work tree that holds the current directory"
		}
	}
	p, err := follow(f, h.absolute(name, h.Dir))
	if err != nil {
		return p, &Error{StepPlan, fmt.Errorf("project %s: %w", name, err), "name a directory that exists with --project DIR"}
	}
	if !p.info.IsDir() {
		return p, &Error{StepPlan, fmt.Errorf("project %s: not a directory", p.path), "name its directory with --project DIR"}
	}
	if reason := refusedProject(h, home, p.path, asked != ""); reason != "" {
		return p, &Error{StepPlan, fmt.Errorf("%s (%s) cannot be the project: %s", p.path, why, reason),
			"cd to the directory of one project, or name it with --project DIR"}
	}
	return p, nil
}

// refusedProject gives the reason why a directory cannot be the project, or "".
func refusedProject(h *Host, home, dir string, asked bool) string {
	switch {
	case within(home, dir):
		return "it is your home or holds it, with every credential in there"
	case slices.Contains(refusedDirs, dir), slices.ContainsFunc(refusedTrees, func(t string) bool { return within(dir, t) }):
		return "it is a directory of the system"
	case path.Dir(dir) == "/run/user":
		return "it holds the sockets of your session"
	}
	for _, ours := range []string{h.StateDir, h.ConfigDir} {
		if within(ours, dir) || within(dir, ours) {
			return "agentjail keeps its own files there (" + ours + ")"
		}
	}
	if dir := inSecretDir(home, dir); dir != "" && !asked {
		return "credentials are kept in " + dir
	}
	return ""
}

// inSecretDir gives the secret directory that name lies in, or "".
func inSecretDir(home, name string) string {
	for _, s := range secretDirs {
		if dir := path.Join(home, s); within(name, dir) {
			return dir
		}
	}
	return ""
}

// workTree looks for .git from the working directory upwards, below the home and the directories of the system. As git itself does
// (safe.directory, CVE-2022-24765), it passes over one that another user owns: anybody can make /tmp/.git.
func workTree(h *Host, f Files, home string) (string, bool) {
	for dir := h.Dir; !within(home, dir) && !slices.Contains(refusedDirs, dir); dir = path.Dir(dir) {
		info, err := f.Lstat(path.Join(dir, ".git"))
		if err != nil {
			continue
		}
		if uid, _, ok := owner(info); h.UID != 0 && (!ok || uid != h.UID) {
			continue
		}
		if info.Mode().IsRegular() || info.IsDir() && isGitDir(f, path.Join(dir, ".git")) || info.Mode()&fs.ModeSymlink != 0 {
			return dir, true
		}
	}
	return "", false
}

// absolute makes a path of a flag or a profile absolute: "~/" is the home, and relative ones start at base.
func (h *Host) absolute(name, base string) string {
	if name == "~" {
		return h.Home
	}
	if len(name) > 1 && name[:2] == "~/" {
		return path.Join(h.Home, name[2:])
	}
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(base, name)
}
