package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/seccomp"
)

// planner is a plan while it is made. Its methods stand in the files that are named after what they plan.
type planner struct {
	profile *profiles.Profile
	host    *Host
	files   Files
	home    string // the home with links resolved
	tree    tree
	shared  bool // git gives the files of a repository in the project modes for a group
	known   known
	plan    *Plan
}

// NewPlan resolves what is wished against the facts of a machine. It is pure: it looks at files through h.FS and at nothing else,
// changes nothing, and gives the same plan for the same facts. The error is an *Error. A command that cannot be found is none: the
// plan says so in Command.Problem, and a run ends as a shell's would.
func NewPlan(p *profiles.Profile, r Request, h *Host) (*Plan, error) {
	w := &planner{profile: p, host: h, files: &onceFiles{h.FS, make(map[string]stat)}}
	w.plan = &Plan{Version: 1, Profile: p.Name, Name: r.Name, TTY: r.TTY, Degraded: r.Degraded, Syscalls: []Setting{}}
	if err := w.flags(); err != nil {
		return nil, err
	}
	home := resolvedHome(w.files, h.Home)
	w.home = home.path
	project, err := findProject(h, w.files, w.home, r.Project)
	if err != nil {
		return nil, err
	}
	w.plan.Project = project.path
	w.plan.Identity = identify(h, w.files, project)
	for _, act := range []func() error{
		w.network,
		w.limits,
		func() error { return w.base(home) },
		func() error { return w.binds(w.home) },
		func() error { w.bindProject(project, r.Project); return nil },
		func() error { return w.copies(home) },
		w.secrets,
		func() error { return w.command(r.Argv) },
		w.protect,
		w.hide,
		w.beside,
		func() error { w.trust(); return nil },
		w.environ,
		w.keepOurs,
	} {
		if err := act(); err != nil {
			return nil, err
		}
	}
	w.plan.Mounts = w.tree.list()
	return w.plan, nil
}

// CheckProfile says whether this machine can grant what a profile wishes, without a project and a command, by the acts of NewPlan. The
// notes are what is left out here. Bundles are names until somebody asks for them, and are not looked at.
func CheckProfile(p *profiles.Profile, h *Host) (notes []string, err error) {
	checked := *p
	checked.Net.Allow = slices.DeleteFunc(slices.Clone(p.Net.Allow), func(it profiles.Item) bool { return strings.HasPrefix(it.Value, "@") })
	w := &planner{profile: &checked, host: h, files: &onceFiles{h.FS, make(map[string]stat)}, plan: &Plan{Project: h.Dir}}
	w.home = resolvedHome(w.files, h.Home).path
	for _, act := range []func() error{w.flags, w.network, w.limits, func() error { return w.binds(w.home) }} {
		if err := act(); err != nil {
			return nil, err
		}
	}
	return w.plan.Notes, nil
}

// flags checks the words of the request that need no look at the machine.
func (w *planner) flags() error {
	if w.plan.TTY == "" {
		w.plan.TTY = "auto"
	}
	if !slices.Contains([]string{"auto", "always", "never"}, w.plan.TTY) {
		return planError("--tty auto, always or never", "--tty %q", w.plan.TTY)
	}
	for _, wall := range w.plan.Degraded {
		if wall != "limits" { // a jail without one of the others would be none
			return planError("only limits may fall: --allow-degraded limits", "--allow-degraded %q: no such wall, or one that always stands", wall)
		}
	}
	var groups []string
	for _, g := range seccomp.Groups() {
		groups = append(groups, g.Name)
	}
	for _, it := range w.profile.Syscalls {
		if !slices.Contains(groups, it.Value) {
			return planError("the groups are "+strings.Join(groups, ", "), "%s: there is no group of system calls %q", it.Why, it.Value)
		}
		if !slices.ContainsFunc(w.plan.Syscalls, func(s Setting) bool { return s.Value == it.Value }) {
			w.plan.Syscalls = append(w.plan.Syscalls, Setting(it))
		}
	}
	return nil
}

func (w *planner) limits() (err error) {
	w.plan.Limits, err = planLimits(w.profile.Limits, machineMemory(w.files))
	return err
}

// memory is what the file systems in memory are sized by: the limit, for what is in them counts towards it.
func (w *planner) memory() int64 {
	for _, l := range w.plan.Limits {
		if l.Name == "memory" {
			return l.Bytes
		}
	}
	return unknownMemory
}

// base is what every jail has, and the private home.
func (w *planner) base(home place) (err error) {
	if err := baseTree(&w.tree, w.files, w.plan.Identity, w.memory()); err != nil {
		return err
	}
	w.plan.Home, err = homeMount(&w.tree, w.profile, w.host, home, w.plan.Project, w.memory())
	if err != nil {
		return err
	}
	return w.etcTree(w.plan.Net.Mode.Value)
}

// bindProject shows the project read-write at its own path, and at the path with links that the caller knows it by.
func (w *planner) bindProject(project place, asked string) {
	why := "the project"
	if asked != "" {
		why = "--project"
	}
	w.tree.add(Mount{Kind: KindBind, Source: project.path, Target: project.path, IDMap: w.rootsOwn(project), Why: why})
	w.tree.links = append(w.tree.links, project.links...)
	if pwd, err := follow(w.files, path.Clean("/"+w.host.getenv("PWD"))); err == nil && pwd.path == w.host.Dir && within(pwd.path, project.path) {
		w.tree.links = append(w.tree.links, pwd.links...)
	}
}

// keepOurs refuses a plan that shows agentjail's own files: trusted hashes, records of other sessions, other private homes.
func (w *planner) keepOurs() error {
	for _, ours := range []string{w.host.StateDir, w.host.ConfigDir} {
		p, _ := follow(w.files, ours) // a missing one has its path all the same
		if m := w.tree.cover(p.path); m != nil && m.Kind == KindBind && !m.Own {
			return planError("set XDG_STATE_HOME and XDG_CONFIG_HOME to directories of your home", "%s would be visible in the jail (%s: %s)",
				p.path, m.Target, m.Why)
		}
	}
	return nil
}

// resolvedHome resolves the links of the home; one that does not exist is a home all the same.
func resolvedHome(f Files, home string) place {
	p, err := follow(f, home)
	if err != nil {
		return place{path: home}
	}
	return p
}

func (w *planner) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(w.plan.Notes, n) {
		w.plan.Notes = append(w.plan.Notes, n)
	}
}

// warn notes a flag that does nothing. A profile is written for many machines and projects, so of its wishes nothing is said.
func (w *planner) warn(it profiles.Item, format string, args ...any) {
	if byFlag(it) {
		w.plan.Warnings = append(w.plan.Warnings, it.Why+" "+it.Value+": "+fmt.Sprintf(format, args...))
	}
}

// byFlag says whether a wish was made on the command line.
func byFlag(it profiles.Item) bool { return strings.HasPrefix(it.Why, "--") }

func planError(hint, format string, args ...any) *Error {
	return &Error{Step: StepPlan, Err: fmt.Errorf(format, args...), Hint: hint}
}

// shortHash names something by its content: 128 bits in hex.
func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
