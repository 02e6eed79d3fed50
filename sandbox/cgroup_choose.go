package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// site is one directory that is to be made below parent, and the controllers that it is made for.
type site struct {
	version     int
	parent      string
	controllers []string
}

// choice is where the limits of one run will be held.
type choice struct {
	sites  []site
	scope  bool // a scope of systemd's instead of sites
	covers []string
}

// facts is what the choice is made from: this machine's, or a test's.
type facts struct {
	hierarchies []hierarchy
	enabled     func(dir string) []string // v2: controllers of a directory's children
	writable    func(file string) bool
	manager     []string // controllers that the user's systemd may give; nil without one
}

// choose finds the place that holds the most of the wanted controllers, and of equals the first:
//
//  1. below our own cgroup, v2, where its owner has delegated it to us: a directory, and nothing else to ask;
//  2. a scope of the user's systemd (or of the system's, for root): the owner of the tree makes it and takes it away;
//  3. below an ancestor that we may write, v2 without systemd;
//  4. v1, one directory per controller; only root, as a rule.
//
// Controllers are never switched on in a directory that exists: that would outlive the jail, and the kernel refuses it anyway in a
// cgroup with processes (cgroups(7), "no internal processes").
func choose(wanted []string, f facts) choice {
	best := choice{}
	consider := func(c choice) {
		if len(c.covers) > len(best.covers) {
			best = c
		}
	}
	for _, h := range f.hierarchies {
		if h.version == 2 {
			consider(directly(wanted, h.own, f))
		}
	}
	if f.manager != nil {
		consider(choice{scope: true, covers: intersect(wanted, f.manager)})
	} else {
		for _, h := range f.hierarchies {
			for dir := h.own; h.version == 2 && dir != h.mount && len(dir) > 1; {
				dir = path.Dir(dir)
				consider(directly(wanted, dir, f))
			}
		}
	}
	consider(versionOne(wanted, f))
	return best
}

// directly is a new directory below dir, v2. To move a process there takes the right to write cgroup.procs of the common ancestor,
// which is dir, and of the new directory, which will be ours.
func directly(wanted []string, dir string, f facts) choice {
	covers := intersect(wanted, f.enabled(dir))
	if len(covers) == 0 || !f.writable(dir) || !f.writable(path.Join(dir, "cgroup.procs")) {
		return choice{}
	}
	return choice{sites: []site{{version: 2, parent: dir, controllers: covers}}, covers: covers}
}

func versionOne(wanted []string, f facts) (c choice) {
	for _, h := range f.hierarchies {
		covers := intersect(wanted, h.controllers)
		if h.version != 1 || len(covers) == 0 || !f.writable(h.own) {
			continue
		}
		c.sites = append(c.sites, site{version: 1, parent: h.own, controllers: covers})
		c.covers = append(c.covers, covers...)
	}
	return c
}

func intersect(a, b []string) (both []string) {
	for _, s := range a {
		if slices.Contains(b, s) {
			both = append(both, s)
		}
	}
	return both
}

// controllerOf is the controller that enforces a limit; "" when another means does.
func controllerOf(limit string) string {
	switch limit {
	case "memory", "pids":
		return limit
	case "cpus":
		return "cpu"
	}
	return ""
}

// controllersOf are those that a list of limits needs.
func controllersOf(limits []Limit) (names []string) {
	for _, l := range limits {
		if name := controllerOf(l.Name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// unenforced says why the limits in missing cannot be held and what would help.
func unenforced(missing []Limit, f facts, uid int, user string) *Error {
	var names, controllers []string
	for _, l := range missing {
		names = append(names, l.Name+" ("+l.Why+")")
		controllers = append(controllers, controllerOf(l.Name))
	}
	what := strings.Join(controllers, " ")
	v2 := slices.ContainsFunc(f.hierarchies, func(h hierarchy) bool { return h.version == 2 })
	v1 := slices.ContainsFunc(f.hierarchies, func(h hierarchy) bool { return h.version == 1 })
	var fix string
	switch {
	case v1 && uid != 0:
		fix = "cgroup v1 gives limits to root alone; boot with systemd.unified_cgroup_hierarchy=1"
	case v2 && f.manager != nil:
		fix = "delegate the controllers to the users' systemd: sudo mkdir -p /etc/systemd/system/user@.service.d && " +
			"printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee /etc/systemd/system/user@.service.d/delegate.conf && " +
			"sudo systemctl daemon-reload, then log in again"
	case v2 && uid != 0:
		fix = "start a systemd of the user's own: sudo loginctl enable-linger " + user + ", then log in again"
	default:
		fix = "in a container: start it with a writable /sys/fs/cgroup"
	}
	return &Error{
		Step: StepCgroup,
		Err:  fmt.Errorf("enforce limit %s: no cgroup that uid %d may write has the controllers %s", strings.Join(names, ", "), uid, what),
		Hint: fix + "; or go without: --allow-degraded limits",
	}
}
