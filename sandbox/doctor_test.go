package sandbox

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fault is one thing that is wrong with the machine on which doctor is run.
type fault struct {
	// Refuse a system call: with Mask, only when its argument Arg has one of these bits.
	Call, Arg int
	Mask      uint32
	Errno     unix.Errno // 0: kill the process
	// Or write a file, or mount over a directory, in an outer user namespace.
	File, Value string
	Cover       string
	ReadOnly    string
}

// examine runs doctor as an ordinary user on a machine with this fault.
func examine(t *testing.T, f fault) []Check {
	t.Helper()
	wish, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	cmd := role("patient")
	cmd.Dir = "/"
	cmd.Env = []string{roleEnv + "=patient", "GORACE=atexit_sleep_ms=0", "FAULT=" + string(wish)}
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.Output()
	if err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			t.Fatalf("%v\n%s", err, e.Stderr)
		}
		t.Fatal(err)
	}
	var checks []Check
	if err := json.Unmarshal(out, &checks); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return checks
}

// patient is the process that has the fault.
func patient() {
	var f fault
	if err := json.Unmarshal([]byte(os.Getenv("FAULT")), &f); err != nil {
		panic(err)
	}
	outer := f.File != "" || f.Cover != "" || f.ReadOnly != ""
	if outer && os.Getenv("OUTER") == "" {
		cmd := role("patient")
		cmd.Env = append(cmd.Env, "OUTER=1")
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		if err := cmd.Run(); err != nil {
			panic(err)
		}
		os.Exit(0)
	}
	if err := f.inflict(); err != nil {
		panic(err)
	}
	h := &Host{UID: os.Getuid(), GID: os.Getgid(), User: "patient", Dir: "/", FS: unmarked{}}
	json.NewEncoder(os.Stdout).Encode(Doctor(context.Background(), h))
	os.Exit(0)
}

// unmarked is this machine without the marks of a container, in which the tests may well run.
type unmarked struct{ diskFiles }

func (u unmarked) Lstat(name string) (fs.FileInfo, error) {
	if name == "/.dockerenv" || name == "/run/.containerenv" {
		return nil, fs.ErrNotExist
	}
	return u.diskFiles.Lstat(name)
}

func (f fault) inflict() error {
	switch {
	case f.File != "":
		return os.WriteFile(f.File, []byte(f.Value), 0)
	case f.Cover != "":
		return unix.Mount("none", f.Cover, "tmpfs", 0, "")
	case f.ReadOnly != "":
		if err := unix.Mount(f.ReadOnly, f.ReadOnly, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return unix.Mount("", f.ReadOnly, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	case f.Call >= 0:
		return f.filter()
	}
	return nil
}

// filter refuses one call; the processes that doctor starts inherit it. It goes on all threads (TSYNC).
func (f fault) filter() error {
	verdict := uint32(unix.SECCOMP_RET_KILL_PROCESS)
	if f.Errno != 0 {
		verdict = unix.SECCOMP_RET_ERRNO | uint32(f.Errno)
	}
	const number, args = 0, 16 // struct seccomp_data, linux/seccomp.h
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 0, Jf: 3, K: uint32(f.Call)},
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(args + 8*f.Arg)},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 0, Jf: 1, K: f.Mask},
		{Code: unix.BPF_RET | unix.BPF_K, K: verdict},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if f.Mask == 0 { // whatever the arguments
		program = slices.Delete(program, 2, 4)
		program[1].Jf = 1
	}
	// TSYNC gives the other threads no_new_privs too (seccomp(2)).
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return os.NewSyscallError("seccomp", errno)
	}
	return nil
}

func TestDoctorFindsThisMachineFit(t *testing.T) {
	checks := examine(t, fault{Call: -1})
	var steps []string
	for _, c := range checks {
		if !c.OK && !c.Optional {
			t.Errorf("%+v", c)
		}
		steps = append(steps, c.Step)
	}
	for _, want := range []string{StepKernel, StepUserNamespace, StepIDMap, StepMountNamespace, StepNetwork, StepRoot, StepContainer, StepProc,
		StepTerminal, StepInit, StepSeccomp, StepCgroup} {
		if !slices.Contains(steps, want) {
			t.Errorf("no check of step %s in %v", want, steps)
		}
	}
}

func TestDoctorNamesTheFault(t *testing.T) {
	for name, c := range map[string]struct {
		fault             fault
		step, call, errno string
		setting, fix      string // parts
	}{
		"clone of a user namespace refused": {fault{Call: unix.SYS_CLONE, Mask: unix.CLONE_NEWUSER, Errno: unix.EPERM},
			StepUserNamespace, "clone(CLONE_NEWUSER)", "EPERM", "Seccomp", "outside"},
		"kernel without user namespaces": {fault{Call: unix.SYS_CLONE, Mask: unix.CLONE_NEWUSER, Errno: unix.EINVAL},
			StepUserNamespace, "clone(CLONE_NEWUSER)", "EINVAL", "CONFIG_USER_NS", "boot"},
		"clone of a mount namespace refused": {fault{Call: unix.SYS_CLONE, Mask: unix.CLONE_NEWNS, Errno: unix.EPERM},
			StepMountNamespace, "clone(CLONE_NEWNS)", "EPERM", "Seccomp", "outside"},
		"clone of a network namespace refused": {fault{Call: unix.SYS_CLONE, Mask: unix.CLONE_NEWNET, Errno: unix.EPERM},
			StepNetwork, "clone(CLONE_NEWNET)", "EPERM", "Seccomp", "outside"},
		"mount refused": {fault{Call: unix.SYS_MOUNT, Errno: unix.EPERM}, StepMountNamespace, "mount(MS_PRIVATE) /", "EPERM", "Seccomp", "outside"},
		"mount kills":   {fault{Call: unix.SYS_MOUNT}, StepMountNamespace, "", "", "", "doctor"},
		"old kernel's mount_setattr": {fault{Call: unix.SYS_MOUNT_SETATTR, Errno: unix.ENOSYS},
			StepRoot, "mount_setattr(MOUNT_ATTR_RDONLY)", "ENOSYS", "Seccomp", "outside"},
		"netlink refused": {fault{Call: unix.SYS_SOCKET, Arg: 0, Mask: unix.AF_NETLINK, Errno: unix.EACCES},
			StepNetwork, "veth", "EACCES", "Seccomp", "outside"},
		"veth missing": {fault{Call: unix.SYS_UNSHARE, Errno: unix.EOPNOTSUPP}, StepNetwork, "veth", "ENOTSUP", "veth", "modprobe veth"},
		"PID namespace refused": {fault{Call: unix.SYS_CLONE, Mask: unix.CLONE_NEWPID, Errno: unix.EPERM},
			StepContainer, "clone(CLONE_NEWPID)", "EPERM", "Seccomp", "outside"},
		"no IPC namespaces": {fault{Call: unix.SYS_CLONE, Mask: unix.CLONE_NEWIPC, Errno: unix.EINVAL},
			StepContainer, "clone(CLONE_NEWIPC)", "EINVAL", "kind of namespace", "CONFIG_IPC_NS"},
		"UTS namespace refused": {fault{Call: unix.SYS_CLONE, Mask: unix.CLONE_NEWUTS, Errno: unix.EPERM},
			StepContainer, "clone(CLONE_NEWUTS)", "EPERM", "Seccomp", "outside"},
		"cgroup namespace refused": {fault{Call: unix.SYS_CLONE, Mask: unix.CLONE_NEWCGROUP, Errno: unix.EPERM},
			StepContainer, "clone(CLONE_NEWCGROUP)", "EPERM", "Seccomp", "outside"},
		"no seccomp filters": {fault{Call: unix.SYS_SECCOMP, Errno: unix.EINVAL},
			StepSeccomp, "SECCOMP_SET_MODE_FILTER", "EINVAL", "CONFIG_SECCOMP_FILTER", "boot"},
		"no user namespaces allowed": {fault{File: "/proc/sys/user/max_user_namespaces", Value: "0"},
			StepUserNamespace, "clone(CLONE_NEWUSER)", "ENOSPC", "user.max_user_namespaces is 0", "user.max_user_namespaces = 65536"},
		"no network namespaces allowed": {fault{File: "/proc/sys/user/max_net_namespaces", Value: "0"},
			StepNetwork, "clone(CLONE_NEWNET)", "ENOSPC", "user.max_net_namespaces is 0", "user.max_net_namespaces = 65536"},
		"no PID namespaces allowed": {fault{File: "/proc/sys/user/max_pid_namespaces", Value: "0"},
			StepContainer, "clone(CLONE_NEWPID)", "ENOSPC", "user.max_pid_namespaces is 0", "user.max_pid_namespaces = 65536"},
		"masked /proc":        {fault{Cover: "/proc/irq"}, StepProc, "mount(proc)", "EPERM", "/proc are covered", "mountinfo"},
		"read-only /proc/sys": {fault{ReadOnly: "/proc/sys"}, StepProc, "mount(proc)", "EPERM", "/proc are covered", "mountinfo"},
	} {
		t.Run(name, func(t *testing.T) {
			checks := examine(t, c.fault)
			i := slices.IndexFunc(checks, func(c Check) bool { return !c.OK && !c.Optional })
			if i < 0 {
				t.Fatal("nothing found")
			}
			got := checks[i]
			if got.Step != c.step || !strings.Contains(got.Call, c.call) || got.Errno != c.errno || got.Message == "" ||
				!strings.Contains(got.Setting, c.setting) || !strings.Contains(got.Fix, c.fix) {
				t.Errorf("got %+v", got)
			}
			for _, later := range checks[i+1:] {
				if !later.Optional {
					t.Errorf("went on to %+v", later)
				}
			}
		})
	}
}
