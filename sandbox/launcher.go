package sandbox

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// gatewayProcess is the launcher's side of the gateway.
type gatewayProcess struct {
	pid     int
	channel *channel
	stderr  *os.File           // a memfd: what Go's runtime says when it crashes
	status  syscall.WaitStatus // when it is dead
	over    chan struct{}      // closed then
}

// startGateway clones the gateway into U0, N0, a mount namespace and a PID namespace around the jail's own. The last is what makes its
// death the end of everything at any moment: a parent-death signal is asked for by the one that is to get it, and what the
// gateway has started may not have come so far. U0 maps its 0 to one id of the host: the caller's own, which needs no privilege and
// no /etc/subuid, or the one that a launcher started by uid 0 prefers.
//
// PR_SET_PDEATHSIG follows the thread that forked (prctl(2)), so one is kept for the gateway until it is dead. It is not main's: whatever
// that waits for would take two switches between threads.
func startGateway(id Identity, h *Host, door bool) (g *gatewayProcess, err error) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if g, err = cloneGateway(id, h, door); err != nil {
			close(done)
			return
		}
		over := g.over
		close(done)
		<-over
	}()
	<-done
	return g, err
}

func cloneGateway(id Identity, h *Host, door bool) (*gatewayProcess, error) {
	// What a careless caller has left open goes no further than the launcher.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, &Error{Step: StepHandshake, Err: fmt.Errorf("close_range: %w", err)}
	}
	ours, theirs, err := newChannel()
	if err != nil {
		return nil, &Error{Step: StepHandshake, Err: err}
	}
	defer theirs.Close()
	g := &gatewayProcess{channel: ours, over: make(chan struct{})}
	network := "none"
	if door {
		network = gatewayDoor
	}
	if err := g.clone(id.mapped(h, unix.CLONE_NEWUSER|unix.CLONE_NEWNS|unix.CLONE_NEWNET|unix.CLONE_NEWPID), network, theirs); err != nil {
		ours.Close()
		return nil, err
	}
	return g, nil
}

// clone is the bare call: os/exec first tries with a process of its own whether pidfds work, which takes 0.7 ms.
func (g *gatewayProcess) clone(attr *syscall.SysProcAttr, network string, theirs *os.File) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	if g.stderr, err = memfile("agentjail-gateway-stderr"); err != nil {
		return err
	}
	attr.Pdeathsig = unix.SIGKILL
	attr.Setsid = true // the keys of the caller's terminal are not for it
	// It does one thing at a time, and a second processor's idle threads cost 3 ms of a launch; nor need it ask how many there are.
	env := []string{"GOMAXPROCS=1", "GODEBUG=containermaxprocs=0"}
	restore := reserveProcesses()
	g.pid, err = syscall.ForkExec("/proc/self/exe", []string{gatewayName, network},
		&syscall.ProcAttr{Env: env, Files: []uintptr{null.Fd(), null.Fd(), g.stderr.Fd(), theirs.Fd()}, Sys: attr})
	restore()
	if err != nil {
		g.stderr.Close()
		return fmt.Errorf("clone(CLONE_NEWUSER|CLONE_NEWNS|CLONE_NEWNET|CLONE_NEWPID): %w", err)
	}
	return nil
}

// doom kills the gateway, and does not wait. With it goes init, and with init everything in the jail.
func (g *gatewayProcess) doom() {
	if g != nil && g.pid != 0 {
		unix.Kill(g.pid, unix.SIGKILL)
	}
}

// end kills the gateway, unless it is dead already, and takes its status.
func (g *gatewayProcess) end() {
	if g.pid == 0 {
		return
	}
	g.doom()
	for {
		if _, err := syscall.Wait4(g.pid, &g.status, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	g.pid = 0 // it may be another's from here on
}

// mapped is how a process is cloned whose user namespace maps 0 to this identity's id on the host.
func (id Identity) mapped(h *Host, flags uintptr) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags:  flags,
		UidMappings: []syscall.SysProcIDMap{{HostID: id.HostUID, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: id.HostGID, Size: 1}},
	}
	if h.UID == 0 {
		// A launcher that is root becomes the id it has mapped, and can drop the supplementary groups that an ordinary caller
		// must keep (setgroups(2) in a user namespace), unless it is root of a namespace where nobody can (user_namespaces(7)).
		attr.GidMappingsEnableSetgroups = h.line("/proc/self/setgroups") != "deny"
		attr.Credential = &syscall.Credential{NoSetGroups: !attr.GidMappingsEnableSetgroups}
	}
	return attr
}

// reserveProcesses has the jail stop short of the user's limit on processes, so that a fork bomb in it leaves some to us: what holds for
// all of a user namespace is the limit of whoever made it (enforced_nproc_rlimit in the kernel; Linux 5.14). restore ends that for us.
func reserveProcesses() (restore func()) {
	const reserve = 64
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &l); err != nil || l.Cur == unix.RLIM_INFINITY {
		return func() {}
	}
	unix.Setrlimit(unix.RLIMIT_NPROC, &unix.Rlimit{Cur: l.Cur - min(reserve, l.Cur/4), Max: l.Max})
	return func() { unix.Setrlimit(unix.RLIMIT_NPROC, &l) }
}

// begin sends the gateway its acts and what they need.
func (g *gatewayProcess) begin(r *run, id Identity, mounts []Mount, initEnd *os.File) error {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer exe.Close()
	parcel, err := packMounts(mounts)
	if err != nil {
		return err
	}
	defer parcel.Close()
	start := &gatewayStart{Hostname: hostname, Namespaces: r.plan.namespaces()}
	if r.door != nil {
		start.Door, start.Ports = true, r.door.ports
	}
	var trees []*os.File
	if r.host.UID == 0 {
		trees, start.Trees, err = g.openTrees(mounts, id)
		if errors.Is(err, unix.EPERM) && id.HostUID == 0 {
			err = nil // root of a user namespace without mounts of its own; the gateway, who is the same uid, opens them
		}
		if err != nil {
			return err
		}
		defer func() {
			for _, t := range trees {
				t.Close()
			}
		}()
	}
	if err := g.channel.send(&message{GatewayStart: start}, append(r.streams.child[:], initEnd, exe, parcel)...); err != nil {
		return err
	}
	for part := range slices.Chunk(trees, maxFDs) {
		if err := g.channel.send(&message{GatewayTrees: true}, part...); err != nil {
			return err
		}
	}
	return nil
}

// openTrees opens the sources of the binds for a gateway whose uid may not look at them: ours is 0, and its is not.
func (g *gatewayProcess) openTrees(mounts []Mount, id Identity) (trees []*os.File, indexes []int, err error) {
	for i := range mounts {
		m := &mounts[i]
		if m.Kind != KindBind {
			continue
		}
		tree, err := g.openTree(m, id)
		if err != nil {
			for _, t := range trees {
				t.Close()
			}
			return nil, nil, err
		}
		trees, indexes = append(trees, tree), append(indexes, i)
	}
	return trees, indexes, nil
}

func (g *gatewayProcess) openTree(m *Mount, id Identity) (*os.File, error) {
	if m.Create {
		if err := os.MkdirAll(m.Source, 0o700); err != nil {
			return nil, &Error{Step: StepRoot, Err: err}
		}
		if err := os.Lchown(m.Source, id.HostUID, id.HostGID); err != nil {
			return nil, &Error{Step: StepRoot, Err: err}
		}
	}
	tree, err := openTree(m)
	if err != nil {
		return nil, &Error{Step: StepRoot, Err: err}
	}
	if !m.IDMap || id.HostUID == 0 {
		return tree, nil
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", g.pid))
	if err != nil {
		tree.Close()
		return nil, err
	}
	defer ns.Close()
	// U0 maps its 0 to the gateway's uid, so through this mount files of uid 0 are the gateway's, and what it makes is uid 0's.
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if err := unix.MountSetattr(int(tree.Fd()), "", unix.AT_EMPTY_PATH, &attr); err != nil {
		tree.Close()
		return nil, &Error{Step: StepIDMap, Err: fmt.Errorf("mount_setattr(MOUNT_ATTR_IDMAP) %s: %w", m.Source, err)}
	}
	return tree, nil
}

// kill ends the gateway and gives back what it took. It may be said twice.
func (g *gatewayProcess) kill() {
	if g == nil || g.over == nil {
		return
	}
	g.end()
	g.channel.Close()
	g.stderr.Close()
	close(g.over)
	g.over = nil
}

// gatewayError explains a gateway that went without a word.
func (r *run) gatewayError(err error) error {
	r.gateway.end()
	gone := errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) // before we killed it
	// Go's runtime says in one line what it lacked, and then shows its stacks.
	words, _ := io.ReadAll(io.NewSectionReader(r.gateway.stderr, 0, 64<<10))
	text, _, _ := strings.Cut(strings.TrimSpace(string(words)), "\n")
	switch status := r.gateway.status; {
	case text == "" && gone && status.Signal() == unix.SIGKILL:
		return &Error{Step: StepContainer, Err: errors.New("the gateway was killed during the launch"), Hint: killedHint}
	case text == "":
		text = fmt.Sprintf("exit status %d", status.ExitStatus())
		if status.Signaled() {
			text = "signal: " + status.Signal().String()
		}
	case strings.Contains(text, "pthread_create failed"):
		err = unix.EAGAIN // and the hint is about that
	}
	return r.explain(StepContainer, fmt.Errorf("the gateway ended during the launch: %w: %s", err, text))
}

// hostname is the jail's own (uts_namespaces(7)).
const hostname = "agentjail"

// explain makes an *Error of a step's failure, with the hint that a diagnosis of this machine gives.
func (r *run) explain(step string, err error) error {
	if e, ok := errors.AsType[*Error](err); ok {
		if e.Hint == "" {
			e.Hint = diagnose(e.Step, e.Err, r.host)
		}
		return e
	}
	return &Error{Step: step, Err: err, Hint: diagnose(step, err, r.host)}
}
