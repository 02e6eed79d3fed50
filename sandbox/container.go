package sandbox

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // the C constructor that makes the namespaces
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// container is the jail as libcontainer holds it. This file is the only one that knows libcontainer.
type container struct {
	process *libcontainer.Process
}

// startContainer puts our init into mount, PID, IPC, UTS, cgroup and network namespaces that the calling process's user namespace
// owns. The tree stands at rootDir; init is exe, which it finds as descriptor 4, with its socket as 3.
func startContainer(s *gatewayStart, stdio [3]*os.File, initSock, exe *os.File, netns string) (*container, error) {
	logrus.SetOutput(io.Discard) // libcontainer logs through the global logger; its errors come back as values
	c, err := libcontainer.Create(stateDir, "jail", containerConfig(s, netns))
	if err != nil {
		return nil, err
	}
	p := &libcontainer.Process{
		Args:       []string{"/proc/self/fd/4"},
		Env:        []string{initEnv + "=1"},
		Cwd:        "/",
		Init:       true,
		Stdin:      stdio[0],
		Stdout:     stdio[1],
		Stderr:     stdio[2],
		ExtraFiles: []*os.File{initSock, exe},
		LogLevel:   "2", // errors
	}
	if err := c.Run(p); err != nil {
		return nil, err
	}
	return &container{p}, nil
}

// wait returns when init has died.
func (c *container) wait() (int, error) {
	state, err := c.process.Wait()
	if state == nil {
		return 0, err
	}
	return int(state.Sys().(syscall.WaitStatus)), nil
}

func containerConfig(s *gatewayStart, netns string) *configs.Config {
	// CAP_SETFCAP alone: init maps the parent's id 0 into the command's namespace (user_namespaces(7), Linux 5.12).
	caps := []string{"CAP_SETFCAP"}
	return &configs.Config{
		Version:    "1.0",
		Rootfs:     rootDir,
		Readonlyfs: true,
		Hostname:   s.Hostname,
		Namespaces: configs.Namespaces{
			{Type: configs.NEWNS}, {Type: configs.NEWPID}, {Type: configs.NEWIPC}, {Type: configs.NEWUTS}, {Type: configs.NEWCGROUP},
			{Type: configs.NEWNET, Path: netns},
		},
		Capabilities: &configs.Capabilities{Bounding: caps, Effective: caps, Permitted: caps},
		Mounts:       containerMounts(s.Mounts),
		// What a jail without sysfs still has in /proc. For a command whose host uid is 0 these mounts are the only wall: owner
		// checks on /proc/sys and on the maps of physical memory ask for no capability.
		ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		MaskPaths: []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/kpagecgroup",
			"/proc/kpagecount", "/proc/kpageflags", "/proc/latency_stats", "/proc/mtrr", "/proc/pagetypeinfo", "/proc/sched_debug", "/proc/scsi",
			"/proc/slabinfo", "/proc/timer_list", "/proc/timer_stats", "/proc/vmallocinfo"},
		NoNewPrivileges: true,
		RootlessCgroups: true,
		// Name and not Path: an unwritable cgroup v1 is then no error. Our own limits are set outside, by the launcher.
		Cgroups: &cgroups.Cgroup{Name: "agentjail", Rootless: true, Resources: &cgroups.Resources{}},
	}
}

func containerMounts(mounts []Mount) []*configs.Mount {
	var out []*configs.Mount
	for _, m := range mounts {
		switch m.Kind {
		case KindProc:
			out = append(out, &configs.Mount{Source: "proc", Device: "proc", Destination: m.Target, Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC})
		case KindMqueue:
			out = append(out, &configs.Mount{Source: "mqueue", Device: "mqueue", Destination: m.Target, Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC})
		}
	}
	return out
}

// reexecContainer runs libcontainer's half of the start when this process is that half, and then does not return.
func reexecContainer() {
	if len(os.Args) > 1 && os.Args[1] == "init" && os.Getenv("_LIBCONTAINER_INITPIPE") != "" {
		libcontainer.Init()
		fmt.Fprintln(os.Stderr, "agentjail: error: libcontainer's init came back")
		os.Exit(125)
	}
}
