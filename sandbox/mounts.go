package sandbox

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/agentjail/agentjail/profiles"
)

// systemDirs are the machine's programs, read-only, each as it is on the host: a directory is bound, a link is made again.
var systemDirs = []struct{ path, why string }{
	{"/usr", "programs and libraries"},
	{"/usr/local", "programs and libraries"}, // a link on ostree systems
	{"/bin", "programs"}, {"/sbin", "programs"},
	{"/lib", "libraries"}, {"/lib32", "libraries"}, {"/lib64", "libraries, and the dynamic loader"}, {"/libx32", "libraries"},
	{"/opt", "add-on programs"},
	{"/nix/store", "programs (NixOS, Nix)"}, {"/gnu/store", "programs (Guix)"},
	{"/run/current-system", "the system's profile (NixOS, Guix)"},
}

// devices are the only ones. The terminal of a jail is its own: /dev/tty is whatever terminal controls the process that opens it.
var devices = []string{"full", "null", "random", "tty", "urandom", "zero"}

// baseTree is what every jail has. memory is what the sizes of the file systems in memory are measured by, in bytes.
func baseTree(t *tree, f Files, id Identity, memory int64) error {
	for _, d := range systemDirs {
		p, err := follow(f, d.path)
		if missing(err) {
			continue
		}
		if err != nil {
			return planError("", "%s: %w", d.path, err)
		}
		t.links = append(t.links, p.links...)
		if p.info.IsDir() && !t.shows(p.path) {
			t.add(Mount{Kind: KindBind, Source: p.path, Target: p.path, ReadOnly: true, Why: d.why})
		}
	}
	run := "/run/user/" + strconv.Itoa(id.UID)
	t.add(
		Mount{Kind: KindProc, Target: "/proc", Why: "the jail's processes alone"},
		Mount{Kind: KindDir, Target: "/dev", Mode: 0o755, Why: "devices"},
		Mount{Kind: KindDevpts, Target: "/dev/pts", Why: "the jail's own terminals"},
		Mount{Kind: KindTmpfs, Target: "/dev/shm", Mode: 0o1777, Size: memory / 8, Why: "POSIX shared memory, the jail's own"},
		Mount{Kind: KindMqueue, Target: "/dev/mqueue", Why: "POSIX queues, the jail's own"},
		Mount{Kind: KindTmpfs, Target: "/tmp", Mode: 0o1777, Size: memory / 4, Why: "the jail's own"},
		Mount{Kind: KindTmpfs, Target: "/var/tmp", Mode: 0o1777, Size: memory / 8, Why: "the jail's own"},
		Mount{Kind: KindTmpfs, Target: "/run", Mode: 0o755, Size: 16 << 20, Why: "the jail's own: none of the host's sockets"},
		Mount{Kind: KindDir, Target: run, Mode: 0o700, Why: "XDG_RUNTIME_DIR"},
		Mount{Kind: KindSymlink, Source: "/run", Target: "/var/run", Why: "hier(7)"},
	)
	for _, name := range devices {
		dev := "/dev/" + name
		t.add(Mount{Kind: KindBind, Source: dev, Target: dev, Dev: true, NoExec: true, Why: "a device without state"})
	}
	for i, name := range []string{"fd", "stdin", "stdout", "stderr"} {
		source := "/proc/self/fd"
		if i > 0 {
			source += "/" + strconv.Itoa(i-1)
		}
		t.add(Mount{Kind: KindSymlink, Source: source, Target: "/dev/" + name, Why: "a process's own descriptors"})
	}
	t.add(Mount{Kind: KindSymlink, Source: "pts/ptmx", Target: "/dev/ptmx", Why: "the jail's own terminals"})
	return nil
}

// persistentHome names the private home of a project and profile, so that the user can tell which one to remove.
func persistentHome(stateDir, project, profile string) string {
	readable := func(s string) string {
		s = strings.Map(func(r rune) rune {
			if r < 0x80 && strings.ContainsRune("._-+", r) || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
				return r
			}
			return '_'
		}, s)
		return s[:min(len(s), 40)]
	}
	name := strings.Join([]string{readable(path.Base(project)), readable(profile), shortHash(project + "\x00" + profile)}, "-")
	return path.Join(stateDir, "homes", name)
}

// homeMount puts the private home where the host's is, and gives the setting for the plan.
func homeMount(t *tree, p *profiles.Profile, h *Host, home place, project string, memory int64) (Setting, error) {
	set := Setting{Value: p.FS.Home.Value, Why: p.FS.Home.Why}
	if set.Value == "" {
		set = Setting{"ephemeral", "default"}
	}
	t.links = append(t.links, home.links...)
	switch set.Value {
	case "ephemeral":
		t.add(Mount{Kind: KindTmpfs, Target: home.path, Mode: 0o700, Size: memory / 4, Why: "a private home, gone with the jail"})
	case "persistent":
		t.add(Mount{Kind: KindBind, Source: persistentHome(h.StateDir, project, p.Name), Target: home.path, Create: true, Own: true,
			Why: set.Why + ": a private home of this project and profile"})
	default:
		return set, planError("write ephemeral or persistent", "%s: home %q", set.Why, set.Value)
	}
	return set, nil
}

// Why a wish to bind a path is refused, by what the path is. Checked on the path with all links resolved.
func refusedBind(h *Host, home, name string, write bool) string {
	switch {
	case within(home, name):
		return "it is your home or holds it"
	case slices.ContainsFunc([]string{"/proc", "/sys", "/dev", "/boot"}, func(t string) bool { return within(name, t) }):
		return "it is the kernel's, not a file of yours"
	case slices.Contains([]string{"/etc", "/run", "/run/user", "/tmp", "/var", "/var/lib", "/var/tmp"}, name), path.Dir(name) == "/run/user":
		return "other programs keep secrets and sockets there"
	case write && slices.Contains(refusedDirs, name):
		return "it is a directory of the system"
	}
	for _, ours := range []string{h.StateDir, h.ConfigDir} {
		if within(ours, name) || within(name, ours) {
			return "agentjail keeps its own files there (" + ours + ")"
		}
	}
	return ""
}

// binds are what --ro, --rw, fs.read and fs.write ask for. A link is resolved now, and made again in the jail. What a flag names
// must exist; a profile is written for many machines, so what is missing there is a note.
func (w *planner) binds(home string) error {
	bind := func(it profiles.Item, write bool) error {
		flag := byFlag(it)
		base := w.plan.Project
		if flag {
			base = w.host.Dir
		}
		p, err := follow(w.files, w.host.absolute(it.Value, base))
		if missing(err) && !flag {
			w.note("%s: %s does not exist and is left out", it.Why, it.Value)
			return nil
		}
		if err != nil {
			return planError("name a path that exists", "%s %s: %w", it.Why, it.Value, err)
		}
		if reason := refusedBind(w.host, home, p.path, write); reason != "" {
			return planError("name the one file or directory in it that is needed", "%s: %s is not bound: %s", it.Why, p.path, reason)
		}
		if p.info.Mode()&fs.ModeDevice != 0 {
			return planError("", "%s: %s is a device", it.Why, p.path)
		}
		w.tree.links = append(w.tree.links, p.links...)
		w.tree.add(Mount{Kind: KindBind, Source: p.path, Target: p.path, ReadOnly: !write, IDMap: write && w.rootsOwn(p), Why: it.Why})
		return nil
	}
	for _, it := range w.profile.FS.Read {
		if err := bind(it, false); err != nil {
			return err
		}
	}
	for _, it := range w.profile.FS.Write {
		if err := bind(it, true); err != nil {
			return err
		}
	}
	return nil
}

// rootsOwn says whether a place must be shown through the idmapped mount to be writable.
func (w *planner) rootsOwn(p place) bool {
	uid, _, ok := owner(p.info)
	return w.plan.Identity.IDMap && ok && uid == 0
}

// Bounds of fs.copy: it is for settings, and the plan carries the bytes.
const (
	maxCopyFile  = 8 << 20
	maxCopyTotal = 32 << 20
	maxCopyFiles = 512
)

// copies puts the files of fs.copy into the private home. A persistent home that has the file already keeps its own: the tools in
// the jail may have changed it, and a stale login would come back with every start.
func (w *planner) copies(home place) error {
	c := copier{w: w, private: home.path}
	if w.plan.Home.Value == "persistent" {
		c.kept = persistentHome(w.host.StateDir, w.plan.Project, w.profile.Name)
	}
	for _, it := range w.profile.FS.Copy {
		name := w.host.absolute(it.Value, w.plan.Project)
		if !strictlyWithin(name, w.host.Home) {
			return planError("use --ro for other files", "%s: %s is not in your home", it.Why, it.Value)
		}
		rel := strings.TrimPrefix(name, w.host.Home)[1:]
		p, err := follow(w.files, name)
		if missing(err) {
			w.note("%s: %s does not exist and is not copied", it.Why, it.Value)
			continue
		}
		if err == nil {
			err = c.copy(p, rel, it.Why)
		}
		if err != nil {
			return planError("", "%s: copy %s: %w", it.Why, it.Value, err)
		}
	}
	return nil
}

type copier struct {
	w       *planner
	private string // the home in the jail
	kept    string // the persistent home, or ""
	files   int
	bytes   int
}

func (c *copier) copy(p place, rel, why string) error {
	if p.info.IsDir() {
		entries, err := c.w.files.ReadDir(p.path, maxCopyFiles+1)
		if err != nil {
			return err
		}
		for _, e := range entries {
			child, err := follow(c.w.files, path.Join(p.path, e.Name()))
			if missing(err) {
				continue // a link that leads nowhere
			}
			if err == nil {
				err = c.copy(child, path.Join(rel, e.Name()), why)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if !p.info.Mode().IsRegular() {
		return nil // sockets and pipes are no settings
	}
	target := path.Join(c.private, rel)
	if m := c.w.tree.cover(target); m == nil || m.Target != c.private {
		c.w.note("%s: %s is shown by another mount and is not copied", why, rel)
		return nil
	}
	if c.kept != "" {
		if _, err := c.w.files.Lstat(path.Join(c.kept, rel)); err == nil {
			return nil
		}
	}
	c.files++
	c.bytes += int(min(p.info.Size(), maxCopyTotal+1))
	if p.info.Size() > maxCopyFile || c.bytes > maxCopyTotal || c.files > maxCopyFiles {
		return fmt.Errorf("more than %d MiB in a file, %d MiB or %d files in all; bind it with fs.read", maxCopyFile>>20, maxCopyTotal>>20,
			maxCopyFiles)
	}
	data, err := c.w.files.ReadFile(p.path, maxCopyFile)
	if err != nil {
		return err
	}
	c.w.tree.add(Mount{Kind: KindFile, Target: target, Data: data, Mode: uint32(p.info.Mode().Perm()) | 0o600, Why: why})
	return nil
}
