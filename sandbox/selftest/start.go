package selftest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// command makes the process of a runner, in a jail where its role says so.
func (r *running) command(ctx context.Context, role string, j job, stdin *os.File) (*exec.Cmd, *bytes.Buffer, error) {
	arg, err := json.Marshal(j)
	if err != nil {
		return nil, nil, err
	}
	tree := map[string]string{roleAttack: roleAttack, roleOther: roleOther}[role]
	if tree == "" {
		tree = roleOutside
	}
	path, argv := r.program, []string{Name, role, string(arg)}
	attr := &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setsid: true} // the keys of the caller's terminal are for Run alone
	if role == roleAttack || role == roleOther {
		flags := []string{}
		for _, p := range append(slices.Clone(r.profiles()), filepath.Join(r.dir, role+".toml")) {
			flags = append(flags, "--profile", p)
		}
		tty := "never"
		if stdin != nil && role == roleAttack {
			tty = "always"
		}
		flags = append(flags, "--project", j.Target.Project, "--tty", tty, "--", r.program, role, string(arg))
		path, argv = "/proc/self/exe", r.launch(flags)
		if filepath.IsAbs(argv[0]) {
			path = argv[0]
		}
	}
	if role == roleNamespace {
		attr = ruler()
	}
	if stdin != nil && role != roleOther {
		attr.Setctty = true
	}
	said := new(bytes.Buffer)
	cmd := exec.CommandContext(ctx, path)
	cmd.Args, cmd.SysProcAttr, cmd.Stderr = argv, attr, said
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.Env = append(os.Environ(), "HOME="+filepath.Join(r.dir, tree, "home"), "XDG_STATE_HOME="+r.shared.State, "XDG_CONFIG_HOME="+r.ConfigHome,
		"SSH_AUTH_SOCK="+r.shared.Agent, keyVariable+"="+r.keys[tree])
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 3 * time.Second
	return cmd, said, nil
}

// ruler is how a process is started that is root of a user namespace of its own.
func ruler() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Pdeathsig: unix.SIGKILL, Setsid: true,
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS |
			unix.CLONE_NEWCGROUP,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
}

func (r *running) profiles() []string {
	if len(r.Profiles) == 0 {
		return []string{"default"}
	}
	return r.Profiles
}

// inherited are descriptors that a careless caller leaves open: a directory and a connection.
func (r *running) inherited(t target) ([]*os.File, error) {
	dir, err := os.Open(t.Home)
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("tcp", r.shared.TCP)
	if err != nil {
		dir.Close()
		return nil, err
	}
	defer conn.Close()
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		dir.Close()
		return nil, err
	}
	return []*os.File{dir, file}, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// copySelf makes a copy of the running binary, under the name that Reexec knows.
func copySelf(name string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if e := out.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Chmod(name, 0o755) // whatever the umask
	}
	return err
}

// pty opens a terminal of the host's.
func pty() (master, slave *os.File, err error) {
	if master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile("/dev/pts/"+itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
	}
	return master, slave, err
}
