package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agentjail/agentjail/netns"
)

// gatewayMain is the gateway: root of U0, PID 1 of a namespace around the jail's, in N0 and in a private copy of the host's mounts, with
// descriptor 3 its socket. It returns its exit status. The launcher's death kills it (PR_SET_PDEATHSIG, set by the launcher's fork),
// and its own death ends everything that it started (pid_namespaces(7)).
func gatewayMain() int {
	c, err := openChannel(os.NewFile(3, "launcher"))
	if err != nil {
		return exitFailed // started by hand: there is nobody to tell
	}
	g := &gateway{channel: c}
	door := len(os.Args) > 1 && os.Args[1] == gatewayDoor
	early := errors.Join(gatewayMounts(), g.network(door))
	spareThreads()
	start, err := c.receive()
	if err != nil || start.GatewayStart == nil {
		return exitFailed
	}
	if err = early; err == nil && start.GatewayStart.Door != door {
		g.link.Close()
		err = g.network(!door)
	}
	if err == nil {
		err = g.act(start)
	}
	if err != nil {
		c.send(failed(StepRoot, err))
		return exitFailed
	}
	status, err := g.jail.wait()
	if err != nil {
		c.send(failed(StepContainer, err))
		return exitFailed
	}
	c.send(&message{GatewayGone: &gatewayGone{status}})
	return 0
}

// exitFailed is CONTRACT's "agentjail itself failed".
const exitFailed = 125

// gateway is what the gateway knows.
type gateway struct {
	channel *channel
	link    *netns.Link
	jail    *container
}

// network makes N1, and the cable for a door. It needs no word from the launcher, which is busy with the plan.
func (g *gateway) network(door bool) (err error) {
	if door {
		g.link, err = netns.New()
	} else {
		g.link, err = netns.Isolated()
	}
	if err != nil {
		return &Error{Step: StepNetwork, Err: err}
	}
	return nil
}

// act does the rest in order; then the command is about to run.
func (g *gateway) act(m *message) error {
	s := m.GatewayStart
	files, err := m.claim(6)
	if err != nil {
		return &Error{Step: StepHandshake, Err: err}
	}
	mounts, err := unpackMounts(files[5])
	if err != nil {
		return &Error{Step: StepHandshake, Err: err}
	}
	trees, err := receiveTrees(g.channel, len(s.Trees))
	if err != nil {
		return &Error{Step: StepHandshake, Err: err}
	}
	stdio, initSock, exe := [3]*os.File(files[:3]), files[3], files[4]

	if s.Door {
		if err := g.sockets(s.Ports); err != nil {
			return err
		}
	}
	binary, err := openBinary(exe) // its name may lie below the directory that the tree covers
	if err != nil {
		return &Error{Step: StepContainer, Err: fmt.Errorf("our binary: %w", err)}
	}
	tree, err := gatewayRoot(mounts, s.Trees, trees)
	if err != nil {
		return err
	}
	if err := binary.place(); err != nil {
		return &Error{Step: StepContainer, Err: fmt.Errorf("our binary: %w", err)}
	}
	if err := tree.fill(g.channel); err != nil {
		return err
	}
	// One user namespace below ours is what the command gets, and it is the last: a kernel bug that needs capabilities in a fresh
	// one has none to start from. A group of system calls may ask for more.
	limit := strconv.Itoa(1 + s.Namespaces)
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte(limit), 0); err != nil {
		return &Error{Step: StepUserNamespace, Err: err}
	}
	if err := halfInotify(); err != nil {
		return &Error{Step: StepUserNamespace, Err: err}
	}
	if g.jail, err = startContainer(mounts, s.Hostname, stdio, initSock, binary.file, g.link.File()); err != nil {
		return &Error{Step: StepContainer, Err: err}
	}
	for _, f := range files[:5] {
		f.Close()
	}
	time.AfterFunc(settleTime, settle)
	if err := startGuard(g.channel, tree, g.jail); err != nil {
		return &Error{Step: StepRoot, Err: err}
	}
	// init has no end of the socket either: the launcher's silence is seen by reading.
	go func() {
		if _, err := g.channel.receive(); err != nil {
			unix.Exit(exitFailed)
		}
	}()
	return nil
}

// halfInotify leaves half of what the user has of inotify(7) to the user's other programs: 128 instances are soon taken.
func halfInotify() error {
	for _, name := range []string{"instances", "watches"} {
		b, err := os.ReadFile("/proc/sys/fs/inotify/max_user_" + name)
		if err != nil {
			continue // no inotify in this kernel
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			return fmt.Errorf("max_user_%s: %w", name, err)
		}
		if err := os.WriteFile("/proc/sys/user/max_inotify_"+name, []byte(strconv.Itoa(n/2)), 0); err != nil {
			return err
		}
	}
	return nil
}

// startGuard keeps the protecting mounts of a jail in place beside what follows. A jail whose protection cannot be kept ends.
func startGuard(c *channel, tree *assembler, jail *container) error {
	g, err := newGuard(tree, jail.pid)
	if err != nil || g == nil {
		return err
	}
	go func() {
		c.send(failed(StepRoot, g.keep()))
		unix.Exit(exitFailed)
	}()
	return nil
}

// receiveTrees takes the sources that the launcher has opened.
func receiveTrees(c *channel, n int) ([]*os.File, error) {
	var trees []*os.File
	for len(trees) < n {
		m, err := c.receive()
		if err != nil {
			return nil, err
		}
		part, err := m.claim(min(n-len(trees), maxFDs))
		if err != nil {
			return nil, err
		}
		trees = append(trees, part...)
	}
	return trees, nil
}

// sockets makes the door's sockets, hands them out and forgets them.
func (g *gateway) sockets(ports []uint16) error {
	tcp, udp, err := netns.Listen(ports)
	if err != nil {
		return &Error{Step: StepNetwork, Err: err}
	}
	files := append([]*os.File{udp}, tcp...)
	for len(files) > 0 {
		n := min(len(files), maxFDs)
		if err := g.channel.send(&message{GatewaySockets: &gatewaySockets{More: n < len(files)}}, files[:n]...); err != nil {
			return &Error{Step: StepHandshake, Err: err}
		}
		for _, f := range files[:n] {
			f.Close()
		}
		files = files[n:]
	}
	return nil
}

// gatewayMounts cuts the host's mounts off and mounts a /proc of our own PID namespace: the guard looks init up there.
func gatewayMounts() error {
	// The host's mounts stop reaching us, and ours never reached it.
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return &Error{Step: StepMountNamespace, Err: fmt.Errorf("make / private: %w", err)}
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return &Error{Step: StepProc, Err: fmt.Errorf("mount /proc: %w", err)}
	}
	return nil
}

// gatewayRoot makes the jail's tree on a tmpfs that only this mount namespace sees: nothing of it is ever on the host, and the kernel
// takes it away with the last process.
func gatewayRoot(mounts []Mount, indexes []int, trees []*os.File) (*assembler, error) {
	a := &assembler{mounts: mounts, trees: make(map[int]*os.File)}
	for i, index := range indexes {
		a.trees[index] = trees[i]
	}
	act := func(what string, err error) error {
		if err == nil {
			return nil
		}
		return &Error{Step: StepRoot, Err: fmt.Errorf("%s: %w", what, err)}
	}
	unix.Umask(0o022)
	// The sources come first: some may lie below the directory that is covered next.
	if err := a.openSources(); err != nil {
		return nil, act("sources", err)
	}
	if err := unix.Mount("agentjail", privateDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return nil, act("mount a private tmpfs", err)
	}
	for _, dir := range []string{rootDir, overDir} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, act("private tmpfs", err)
		}
	}
	if err := unix.Mount("jail", rootDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
		return nil, act("mount the jail's root", err)
	}
	return a, act("make the jail's tree", a.assemble())
}
