package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// hierarchy is one mounted cgroup tree and where this process stands in it (cgroups(7)).
type hierarchy struct {
	version     int      // 1 or 2
	controllers []string // v1: those that the mount carries. v2: none; cgroup.subtree_control says what a directory's children get
	mount       string   // where it is mounted; nothing above it is ours
	own         string   // the directory of this process's cgroup
}

// maxProcFile bounds what is read of one file of /proc or /sys. Bytes; a mountinfo of 5,000 mounts is a megabyte.
const maxProcFile = 16 << 20

// findHierarchies reads /proc/self/mountinfo and /proc/self/cgroup. A hierarchy whose part with this process is not mounted is left
// out: in a container the mount shows a subtree, and the process may be elsewhere.
func findHierarchies(f Files) ([]hierarchy, error) {
	mounts, err := f.ReadFile("/proc/self/mountinfo", maxProcFile)
	if err != nil {
		return nil, err
	}
	cgroups, err := f.ReadFile("/proc/self/cgroup", maxProcFile)
	if err != nil {
		return nil, err
	}
	var found []hierarchy
	for line := range strings.Lines(string(mounts)) {
		h, root, ok := parseCgroupMount(line)
		if !ok {
			continue
		}
		at, ok := ownCgroup(string(cgroups), h)
		if !ok {
			continue
		}
		rel, ok := below(root, at)
		if !ok || slices.ContainsFunc(found, func(o hierarchy) bool { return o.version == h.version && slices.Equal(o.controllers, h.controllers) }) {
			continue
		}
		h.own = path.Join(h.mount, rel)
		found = append(found, h)
	}
	return found, nil
}

// parseCgroupMount reads one line of mountinfo (proc_pid_mountinfo(5)): "31 23 0:28 ROOT MOUNT OPTIONS … - TYPE SOURCE SUPER". Octal
// escapes in paths are left: no cgroup is mounted at a path with a space.
func parseCgroupMount(line string) (h hierarchy, root string, ok bool) {
	before, after, ok := strings.Cut(line, " - ")
	if !ok {
		return h, "", false
	}
	front, back := strings.Fields(before), strings.Fields(after)
	if len(front) < 6 || len(back) < 3 {
		return h, "", false
	}
	h.mount = front[4]
	switch back[0] {
	case "cgroup2":
		h.version = 2
	case "cgroup":
		h.version = 1
		for option := range strings.SplitSeq(back[2], ",") {
			if slices.Contains(v1Controllers(), option) {
				h.controllers = append(h.controllers, option)
			}
		}
		if len(h.controllers) == 0 {
			return h, "", false
		}
	default:
		return h, "", false
	}
	return h, front[3], true
}

// v1Controllers are those that our limits need.
func v1Controllers() []string { return []string{"memory", "pids", "cpu"} }

// ownCgroup finds this process's path in a hierarchy: "8:pids:/a" for v1, "0::/a" for v2.
func ownCgroup(cgroups string, h hierarchy) (string, bool) {
	for line := range strings.Lines(cgroups) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		names := strings.Split(parts[1], ",")
		if h.version == 2 && parts[0] == "0" && parts[1] == "" || h.version == 1 && slices.Contains(names, h.controllers[0]) {
			return parts[2], true
		}
	}
	return "", false
}

// below gives the path of at as seen from root, when it lies there. A cgroup namespace shows what lies above its root as "/..".
func below(root, at string) (string, bool) {
	if strings.HasPrefix(at, "/..") || strings.HasPrefix(root, "/..") {
		return "", false
	}
	if root == "/" || root == at {
		return strings.TrimPrefix(at, root), true
	}
	rel, ok := strings.CutPrefix(at, root+"/")
	return rel, ok
}

// enabled are the controllers that a new child of dir would have.
func enabled(f Files, dir string) []string {
	b, err := f.ReadFile(path.Join(dir, "cgroup.subtree_control"), maxProcFile)
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}

// kernelAtLeast compares the release of the running kernel ("6.1.0-13-amd64").
func kernelAtLeast(f Files, major, minor int) bool {
	b, err := f.ReadFile("/proc/sys/kernel/osrelease", maxProcFile)
	if err != nil {
		return false
	}
	var a, i int
	if _, err := fmt.Sscanf(string(b), "%d.%d", &a, &i); err != nil {
		return false
	}
	return a > major || a == major && i >= minor
}
