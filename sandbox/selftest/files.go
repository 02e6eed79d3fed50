package selftest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func fileAttempts() []attempt {
	home := func(name string) func(*target) string {
		return func(t *target) string { return filepath.Join(t.Home, name) }
	}
	project := func(name string) func(*target) string {
		return func(t *target) string { return filepath.Join(t.Project, name) }
	}
	beside := func(name string) func(*target) string {
		return func(t *target) string { return filepath.Join(t.Beside, name) }
	}
	list := []attempt{
		{name: "home-ssh-key", why: "the private key of ssh", do: reads(home(".ssh/id_ed25519"))},
		{name: "home-cloud-credentials", why: "keys of a cloud account", do: reads(home(".aws/credentials"))},
		{name: "home-netrc", why: "passwords for hosts", do: reads(home(".netrc"))},
		{name: "home-shell-history", why: "what was typed", do: reads(home(".bash_history"))},
		{name: "home-cluster-config", why: "keys of a cluster", do: reads(home(".kube/config"))},
		{name: "home-forge-token", why: "the token of a code forge", do: reads(home(".config/gh/hosts.yml"))},
		{name: "home-browser", why: "the sessions of a browser", do: reads(home(".mozilla/firefox/profile/cookies.sqlite"))},
		{name: "real-home-credentials", why: "keys and logins of your own, by their full names", optional: true, do: openCredentials},
		{name: "home-shell-startup", why: "code that the user's next shell runs", do: writes(home(".bashrc"))},
		{name: "home-path-program", why: "a program under a name that the user types", do: writes(home(".local/bin/tool"))},
		{name: "other-project-read", why: "the code of another project", do: reads(beside("code.txt"))},
		{name: "other-project-write", why: "changes to another project", do: writes(beside("code.txt"))},
		{name: "other-project-create", why: "new files in another project", do: func(t *target) error {
			return createIn(t, t.Beside)
		}},
		{name: "parent-by-dots", why: "files above the project", do: reads(func(t *target) string {
			return t.Project + "/../beside/code.txt"
		})},
		{name: "link-planted", why: "a file behind a link of the project", do: reads(project("link-to-key"))},
		{name: "link-made", why: "a file behind a link that the command makes", do: func(t *target) error {
			link := filepath.Join(t.Project, "link-made")
			if err := os.Symlink(filepath.Join(t.Home, ".ssh/id_ed25519"), link); err != nil {
				return ready(err)
			}
			defer os.Remove(link)
			return read(t, link)
		}},
		{name: "hard-link", why: "a second name for a file outside, in the project", do: func(t *target) error {
			name := filepath.Join(t.Project, "hard-link")
			if err := os.Link(filepath.Join(t.Home, ".ssh/id_ed25519"), name); err != nil {
				return err
			}
			defer os.Remove(name)
			return read(t, name)
		}},
		{name: "rename-out", why: "a file of the project moved to where the host runs it", do: func(t *target) error {
			name, to := filepath.Join(t.Project, "rename-out"), filepath.Join(t.Beside, "renamed")
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return ready(err)
			}
			defer os.Remove(name)
			defer os.Remove(to)
			return os.Rename(name, to)
		}},
		{name: "host-tmp", why: "files that other programs have in /tmp", do: reads(func(t *target) string { return t.Temp })},
		{name: "host-var-tmp", why: "files that other programs have in /var/tmp", do: reads(func(t *target) string { return t.VarTemp })},
		{name: "host-dev-shm", why: "memory that other programs share", do: reads(func(t *target) string { return t.Shm })},
		{name: "host-accounts", why: "the names of the machine's users", do: func(t *target) error {
			return holds("/etc/passwd", "\n"+t.Account+":")
		}},
		{name: "own-trust-store", why: "consent to a project's profile in the user's name", do: writes(func(t *target) string {
			return filepath.Join(t.State, "agentjail/trust/planted")
		})},
		{name: "hidden-file", why: "a file that the profile hides", do: reads(project(".env"))},
		{name: "hidden-file-renamed", why: "a hidden file under a new name", do: func(t *target) error {
			from, to := filepath.Join(t.Project, "config/.env"), filepath.Join(t.Project, "config/env")
			if err := os.Rename(from, to); err != nil {
				return err
			}
			defer os.Rename(to, from)
			return read(t, to)
		}},
		{name: "git-hook-write", why: "code that git runs on the host", do: writes(project(".git/hooks/pre-commit"))},
		{name: "git-hook-create", why: "code that git runs on the host", do: func(t *target) error {
			return createIn(t, filepath.Join(t.Project, ".git/hooks"))
		}},
		{name: "git-hooks-swap", why: "a directory of hooks put in place of the user's", do: swap(".git/hooks")},
		{name: "git-directory-swap", why: "a repository put in place of the user's", do: swap(".git")},
		{name: "git-config-write", why: "programs that git runs on the host", do: writes(project(".git/config"))},
		{name: "git-config-replace", why: "git's own way to write its config", do: func(t *target) error {
			lock := filepath.Join(t.Project, ".git/selftest.lock")
			if err := os.WriteFile(lock, []byte(t.Token), 0o600); err != nil {
				return ready(err)
			}
			defer os.Remove(lock)
			return os.Rename(lock, filepath.Join(t.Project, ".git/config"))
		}},
		{name: "git-config-reopen", why: "a descriptor for reading made one for writing", do: func(t *target) error {
			f, err := os.Open(filepath.Join(t.Project, ".git/config"))
			if err != nil {
				return ready(err)
			}
			defer f.Close()
			return write(t, filepath.Join("/proc/self/fd", itoa(int(f.Fd()))))
		}},
		{name: "own-profile-write", why: "what the next jail of this project may do", do: writes(project(".agentjail.toml"))},
		{name: "descriptor-directory", why: "a directory that was open when the jail was started", do: inheritedDirectory},
		{name: "proc-root-of-init", why: "the file tree of PID 1", control: namespace, do: func(t *target) error {
			return read(t, "/proc/1/root"+filepath.Join(t.Home, ".ssh/id_ed25519"))
		}},
		{name: "set-user-id-file", why: "a program that lends its owner's rights on the host", do: setID(unix.S_ISUID)},
		{name: "set-group-id-file", why: "a program that lends its group's rights on the host", do: setID(unix.S_ISGID)},
		{name: "set-user-id-create", why: "a program that lends its owner's rights on the host", do: func(t *target) error {
			name := filepath.Join(t.Project, "set-id-create")
			defer os.Remove(name)
			fd, err := unix.Open(name, unix.O_CREAT|unix.O_WRONLY, unix.S_ISUID|0o755)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{name: "device-node", why: "a device in the project", do: func(t *target) error {
			name := filepath.Join(t.Project, "device")
			defer os.Remove(name)
			return unix.Mknod(name, unix.S_IFCHR|0o600, 0) // 0:0 is the one that everybody may make (Linux 5.8)
		}},
	}
	for _, p := range []struct{ name, path, why string }{
		{"editor-tasks", ".vscode/tasks.json", "code that the editor runs on the host"},
		{"direnv", ".envrc", "code that the user's shell runs on cd"},
		{"agent-settings", ".claude/settings.json", "hooks and permissions of the agent outside a jail"},
		{"agent-servers", ".mcp.json", "programs that agents start outside a jail"},
		{"ci-workflow", ".github/workflows/ci.yml", "code that CI runs with its secrets"},
		{"package-manager", ".npmrc", "where the host's packages come from"},
	} {
		list = append(list, attempt{name: p.name + "-write", why: p.why, do: writes(project(p.path))})
	}
	return defaults(list)
}

// defaults makes outside the place of the control where none is given.
func defaults(list []attempt) []attempt {
	for i := range list {
		if list[i].control == "" {
			list[i].control = outside
		}
	}
	return list
}

func reads(name func(*target) string) func(*target) error {
	return func(t *target) error { return read(t, name(t)) }
}

func writes(name func(*target) string) func(*target) error {
	return func(t *target) error { return write(t, name(t)) }
}

func read(t *target, name string) error { return holds(name, t.Token) }

// holds is nil when the file can be read and has the word in it.
func holds(name, word string) error {
	data, err := os.ReadFile(name)
	if err == nil && !strings.Contains(string(data), word) {
		err = errNotTheHosts
	}
	return err
}

// write adds to a file that is the host's.
func write(t *target, name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err == nil && !strings.Contains(string(data), t.Token) {
		err = errNotTheHosts
	}
	if err == nil {
		_, err = f.WriteString("\n")
	}
	return err
}

// createIn makes a file in a directory that is the host's: one of its files has the token.
func createIn(t *target, dir string) error {
	name := filepath.Join(dir, "selftest-new")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	defer os.Remove(name)
	return read(t, filepath.Join(dir, "marker"))
}

// swap moves a path of the project away and puts it back.
func swap(name string) func(*target) error {
	return func(t *target) error {
		from, to := filepath.Join(t.Project, name), filepath.Join(t.Project, "swapped")
		if err := os.Rename(from, to); err != nil {
			return err
		}
		return ready(os.Rename(to, from))
	}
}

func setID(bit uint32) func(*target) error {
	return func(t *target) error {
		name := filepath.Join(t.Project, "set-id-"+itoa(int(bit)))
		if err := os.WriteFile(name, nil, 0o755); err != nil {
			return ready(err)
		}
		defer os.Remove(name)
		return unix.Chmod(name, bit|0o755)
	}
}

// inheritedDirectory looks for a descriptor of the home that nobody closed.
func inheritedDirectory(t *target) error {
	for fd := 3; fd < 256; fd++ {
		file, err := unix.Openat(fd, ".ssh/id_ed25519", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		unix.Close(file)
		return nil
	}
	return errors.New("no descriptor from 3 to 255 leads to the home")
}
