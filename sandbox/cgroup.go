package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroup is what holds the limits of one jail that need a cgroup: memory, pids, cpus. One that holds none is valid, and its
// methods then do nothing.
type cgroup struct {
	limits   []Limit // those that it holds
	dirs     []cgroupDir
	janitor  *janitor // removes dirs when this process no longer can; nil without dirs
	scope    *scope   // nil unless systemd holds the limits
	counting bool     // it counts the jail's tasks
	rest     []Limit  // every limit, for rlimits
	unheld   []string // the names of defaults that this machine does not hold
}

// newCgroup finds a place for the limits and makes it: the gateway is added before it forks, so that everything in the jail is born
// there. A limit that cannot be held is an *Error when somebody asked for it, unless degraded says that the user lets it fall; it
// is then named in the second result ("limits: memory"). Defaults that cannot be held are left out.
func newCgroup(ctx context.Context, limits []Limit, session string, h *Host, id Identity, allowDegraded bool) (*cgroup, []string, error) {
	c := &cgroup{rest: limits}
	wanted := controllersOf(limits)
	if len(wanted) == 0 {
		return c, nil, nil
	}
	f, m, err := gatherFacts(ctx, h)
	if err != nil {
		return nil, nil, &Error{Step: StepCgroup, Err: err}
	}
	chosen := choose(wanted, f)
	if m != nil && !chosen.scope {
		m.Close()
	}
	degraded, err := c.settle(limits, chosen, f, h, id, allowDegraded)
	if err != nil {
		if chosen.scope {
			m.Close()
		}
		return nil, nil, err
	}
	switch {
	case chosen.scope:
		c.scope = &scope{name: "agentjail-" + session + ".scope", manager: m, mount: unified(f.hierarchies)}
	case len(chosen.sites) > 0:
		err := c.makeDirs(chosen.sites, "agentjail-"+session)
		if err != nil && c.asked() && !allowDegraded {
			return nil, nil, &Error{Step: StepCgroup, Err: err, Hint: "go without limits: --allow-degraded limits"}
		}
		if err != nil {
			degraded = append(degraded, c.forget()...)
		}
	}
	return c, degraded, nil
}

// asked says whether somebody asked for one of the limits that the cgroup holds.
func (c *cgroup) asked() bool {
	return slices.ContainsFunc(c.limits, func(l Limit) bool { return l.Explicit })
}

// forget lets the limits go that were to be held: a place that looked fit was not. It names those that were asked for.
func (c *cgroup) forget() (degraded []string) {
	for _, l := range c.limits {
		if l.Explicit {
			degraded = append(degraded, "limits: "+l.Name)
		} else {
			c.unheld = append(c.unheld, l.Name)
		}
	}
	c.limits, c.counting = nil, false
	return degraded
}

// settle sorts the limits into held and not held.
func (c *cgroup) settle(limits []Limit, chosen choice, f facts, h *Host, id Identity, allowDegraded bool) (degraded []string, err error) {
	var missing []Limit
	for _, l := range limits {
		name := controllerOf(l.Name)
		switch {
		case name == "":
		case slices.Contains(chosen.covers, name):
			c.limits = append(c.limits, l)
			c.counting = c.counting || name == "pids"
		case name == "pids" && id.counted() && countsTasks(h.FS): // RLIMIT_NPROC does it: rlimits
		case !l.Explicit:
			c.unheld = append(c.unheld, l.Name)
		case allowDegraded:
			degraded = append(degraded, "limits: "+l.Name)
		default:
			missing = append(missing, l)
		}
	}
	if len(missing) > 0 {
		return nil, unenforced(missing, f, h.UID, h.User)
	}
	return degraded, nil
}

// gatherFacts looks at this machine. The manager is nil where no systemd runs or it does not answer.
func gatherFacts(ctx context.Context, h *Host) (facts, manager, error) {
	hierarchies, err := findHierarchies(h.FS)
	if err != nil {
		return facts{}, nil, fmt.Errorf("find the cgroups: %w", err)
	}
	f := facts{
		hierarchies: hierarchies,
		enabled:     func(dir string) []string { return enabled(h.FS, dir) },
		writable:    func(file string) bool { return unix.Access(file, unix.W_OK) == nil },
	}
	mount := unified(hierarchies)
	if mount == "" {
		return f, nil, nil
	}
	m, err := dialManager(ctx, h)
	if err != nil {
		return f, nil, nil // no systemd is an answer, not an error
	}
	own, err := m.ControlGroup()
	if err != nil {
		m.Close()
		return f, nil, nil
	}
	// A unit of the manager's gets what the manager's own cgroup was given.
	f.manager = []string{}
	if b, err := h.FS.ReadFile(path.Join(mount, own, "cgroup.controllers"), maxProcFile); err == nil {
		f.manager = append(f.manager, strings.Fields(string(b))...)
	}
	return f, m, nil
}

// unified is where cgroup v2 is mounted, or "".
func unified(hierarchies []hierarchy) string {
	for _, h := range hierarchies {
		if h.version == 2 {
			return h.mount
		}
	}
	return ""
}

// makeDirs starts the janitor and then makes the directories, so that no moment exists at which a SIGKILL would leave one behind.
func (c *cgroup) makeDirs(sites []site, name string) (err error) {
	for _, s := range sites {
		c.dirs = append(c.dirs, cgroupDir{path: path.Join(s.parent, name), version: s.version, controllers: s.controllers})
	}
	if c.janitor, err = startJanitor(c.dirs); err != nil {
		return fmt.Errorf("start the janitor of the cgroups: %w", err)
	}
	for i, d := range c.dirs {
		err := d.create(c.limits)
		if errors.Is(err, fs.ErrExist) { // not ours: nobody may clear it
			c.dirs = c.dirs[:i]
			c.janitor.cmd.Process.Kill()
		}
		if err != nil {
			return errors.Join(err, c.Close())
		}
	}
	return nil
}

// Add puts a process, with all its threads, under the limits; its children are born under them. Where nobody asked for a limit, a
// systemd that refuses is no error.
func (c *cgroup) Add(pid int) error {
	for _, d := range c.dirs {
		if err := d.add(pid); err != nil {
			return err
		}
	}
	if c.scope == nil || len(c.limits) == 0 {
		return nil
	}
	err := c.scope.start(pid, c.limits)
	if err != nil && !c.asked() {
		c.forget()
		return nil
	}
	return err
}

// Hit names the limits that the jail has run into: "memory" when the kernel killed one of its processes, "pids" when a fork was
// refused. Before [cgroup.Close]; RLIMIT_NPROC counts silently.
func (c *cgroup) Hit() []string {
	var hit []string
	for _, d := range c.dirs {
		hit = append(hit, d.hit()...)
	}
	if c.scope != nil {
		hit = append(hit, c.scope.hit()...)
	}
	slices.Sort(hit)
	return slices.Compact(hit)
}

// closeTimeout bounds how long the kernel may take to end what was killed.
const closeTimeout = 10 * time.Second

// Close kills what is left under the limits and takes them away.
func (c *cgroup) Close() error {
	var errs []error
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	for _, d := range c.dirs {
		errs = append(errs, clearCgroup(ctx, d.path))
	}
	if c.janitor != nil {
		errs = append(errs, c.janitor.dismiss())
	}
	if c.scope != nil {
		errs = append(errs, c.scope.close(ctx))
	}
	c.dirs, c.janitor, c.scope = nil, nil, nil
	return errors.Join(errs...)
}

// rlimits are the limits for the command that the cgroup does not hold better: where it counts the tasks, RLIMIT_NPROC would only
// be hit first and leave no trace.
func (c *cgroup) rlimits() []rlimit {
	out := rlimits(c.rest)
	if c.counting {
		out = slices.DeleteFunc(out, func(l rlimit) bool { return l.Resource == unix.RLIMIT_NPROC })
	}
	return out
}
