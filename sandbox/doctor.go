package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Check is one step of a launch, tried on this machine.
type Check struct {
	Step    string `json:"step"`
	OK      bool   `json:"ok"`
	Call    string `json:"call"`              // the system call and its object
	Errno   string `json:"errno,omitempty"`   // EPERM
	Message string `json:"message,omitempty"` // the error, or what was found
	Setting string `json:"setting,omitempty"` // what stands in the way
	Fix     string `json:"fix,omitempty"`     // one paste
	// Optional: a jail stands without it, with a limit or a convenience less.
	Optional bool `json:"optional,omitempty"`
}

// Doctor goes through a launch step by step, with throwaway processes of this binary that do what [Run]'s do. The first step that
// fails ends the chain: those after it need it. What a jail can do without is looked at in any case.
func Doctor(ctx context.Context, h *Host) []Check {
	runtime.LockOSThread() // PR_SET_PDEATHSIG of the probes follows the thread
	defer runtime.UnlockOSThread()
	d := &doctor{host: h, id: identityHere(h)}
	_ = d.kernel() && d.namespaces(ctx) && d.chain(ctx)
	if d.id.IDMap {
		d.idMap(ctx)
	}
	d.limits(ctx)
	return d.checks
}

type doctor struct {
	host   *Host
	id     Identity // what a run in this directory would use
	checks []Check
}

// result notes how a call went and says whether the chain goes on.
func (d *doctor) result(step, call string, err error) bool {
	c := Check{Step: step, Call: call, OK: err == nil}
	if err != nil {
		var errno unix.Errno
		if errors.As(err, &errno) {
			c.Errno = unix.ErrnoName(errno)
		}
		c.Message = err.Error()
		a := advise(step, err, d.host)
		c.Setting, c.Fix = a.setting, a.fix
	}
	d.checks = append(d.checks, c)
	return c.OK
}

// oldest is the first kernel that lets an ordinary user's namespaces be made as ours are: mapping the parent's id 0 asks for
// CAP_SETFCAP and mount_setattr(2) exists.
const oldestMajor, oldestMinor = 5, 12

func (d *doctor) kernel() bool {
	var err error
	if !kernelAtLeast(d.host.FS, oldestMajor, oldestMinor) {
		err = fmt.Errorf("this is Linux %s", d.host.line("/proc/sys/kernel/osrelease"))
	}
	return d.result(StepKernel, "uname", err)
}

// namespaces clones with one flag more each time: run's single clone(2) could only say that one of them was refused.
func (d *doctor) namespaces(ctx context.Context) bool {
	flags := uintptr(unix.CLONE_NEWUSER)
	if !d.result(StepUserNamespace, "clone(CLONE_NEWUSER)", d.probe(ctx, probeExit, &syscall.SysProcAttr{Cloneflags: flags})) {
		return false
	}
	if !d.result(StepIDMap, "write /proc/PID/uid_map, gid_map", d.probe(ctx, probeExit, d.mapped(flags))) {
		return false
	}
	for _, n := range []struct {
		step, name string
		flag       uintptr
	}{{StepMountNamespace, "CLONE_NEWNS", unix.CLONE_NEWNS}, {StepNetwork, "CLONE_NEWNET", unix.CLONE_NEWNET},
		{StepContainer, "CLONE_NEWPID", unix.CLONE_NEWPID}} {
		flags |= n.flag
		if !d.result(n.step, "clone("+n.name+")", d.probe(ctx, probeExit, d.mapped(flags))) {
			return false
		}
	}
	return true
}

// identityHere is that of a run whose project holds the working directory, or is it where no project can be.
func identityHere(h *Host) Identity {
	at, err := findProject(h, h.FS, resolvedHome(h.FS, h.Home).path, "")
	if err != nil {
		at, err = follow(h.FS, h.Dir)
	}
	if err != nil {
		return Identity{HostUID: h.UID, HostGID: h.GID}
	}
	return identify(h, h.FS, at)
}

// mapped is how the gateway is cloned: 0 of the new user namespace is the id that a run would use.
func (d *doctor) mapped(flags uintptr) *syscall.SysProcAttr { return d.id.mapped(d.host, flags) }

// chain has a gateway of its own do the rest, which tells step by step how it went.
func (d *doctor) chain(ctx context.Context) bool {
	var out bytes.Buffer
	cmd := probeCommand(ctx, probeGateway, d.mapped(unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWPID))
	cmd.Stdout = &out
	err := cmd.Run()
	last, ok := StepMountNamespace, true
	for dec := json.NewDecoder(&out); ; {
		var r probed
		if dec.Decode(&r) != nil {
			break
		}
		last = r.Step
		ok = d.result(r.Step, r.Call, r.err()) && ok
	}
	if err != nil && ok { // it died without a word: a filter that kills, for one
		return d.result(last, "the step after this one", err)
	}
	return ok
}

// idMap tries to show the working directory to a user namespace as its own: what root's project needs to be worked on by another uid.
func (d *doctor) idMap(ctx context.Context) {
	d.result(StepIDMap, "mount_setattr(MOUNT_ATTR_IDMAP) "+d.host.Dir, d.tryIDMap(ctx))
	d.optional()
	if c := &d.checks[len(d.checks)-1]; !c.OK {
		c.Setting, c.Fix = "", "the file system of "+d.host.Dir+" has no idmapped mounts: give the project to an ordinary user (chown -R)"
	}
}

func (d *doctor) tryIDMap(ctx context.Context) error {
	cmd := probeCommand(ctx, probeWait, d.mapped(unix.CLONE_NEWUSER))
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer in.Close()
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	if err != nil {
		return err
	}
	defer ns.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, d.host.Dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("open_tree", err)
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	return os.NewSyscallError("mount_setattr", unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr))
}

// limits says which limits this machine would hold, and where.
func (d *doctor) limits(ctx context.Context) {
	f, m, err := gatherFacts(ctx, d.host)
	if m != nil {
		m.Close()
	}
	if err != nil {
		d.result(StepCgroup, "read /proc/self/cgroup", err)
		d.optional()
		return
	}
	wanted := v1Controllers()
	chosen := choose(wanted, f)
	where := "no cgroup"
	switch {
	case chosen.scope:
		where = "a scope of systemd"
	case len(chosen.sites) > 0:
		where = fmt.Sprintf("cgroup v%d below %s", chosen.sites[0].version, path.Clean(chosen.sites[0].parent))
	}
	var missing []Limit
	for _, name := range []string{"memory", "pids", "cpus"} {
		if !slices.Contains(chosen.covers, controllerOf(name)) && !(name == "pids" && d.id.counted() && countsTasks(d.host.FS)) {
			missing = append(missing, Limit{Name: name})
		}
	}
	c := Check{Step: StepCgroup, Call: "limits", OK: len(missing) == 0, Message: where + " holds " + strings.Join(chosen.covers, ", ")}
	if len(chosen.covers) == 0 {
		c.Message = where + " can be made"
	}
	if !c.OK {
		var names []string
		for _, l := range missing {
			names = append(names, l.Name)
		}
		c.Message += "; not enforced: " + strings.Join(names, ", ")
		c.Fix = unenforced(missing, f, d.host.UID, d.host.User).Hint
	}
	d.checks = append(d.checks, c)
	d.optional()
}

// optional marks the last check.
func (d *doctor) optional() { d.checks[len(d.checks)-1].Optional = true }

// probe runs a probe that says nothing.
func (d *doctor) probe(ctx context.Context, stage string, attr *syscall.SysProcAttr) error {
	return probeCommand(ctx, stage, attr).Run()
}

// probeCommand is this binary as a probe.
func probeCommand(ctx context.Context, stage string, attr *syscall.SysProcAttr) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args, cmd.Env = []string{probeName, stage}, []string{}
	attr.Pdeathsig = unix.SIGKILL
	cmd.SysProcAttr = attr
	return cmd
}
