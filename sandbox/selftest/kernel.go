package selftest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

func kernelAttempts() []attempt {
	list := []attempt{
		{name: "namespace-user", why: "every capability, in a namespace of one's own", do: func(*target) error {
			return start(&syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWUSER})
		}},
		{name: "clone-user", why: "every capability, in a namespace of one's own", do: func(*target) error {
			return start(&syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER})
		}},
		{name: "clone-user-and-mounts", why: "a file tree of one's own", do: func(*target) error {
			return start(&syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS})
		}},
		{name: "clone-by-pointer", why: "namespaces by a call whose flags no filter sees", do: func(*target) error {
			return reached(call(unix.SYS_CLONE3, 0, 0))
		}},
		{name: "enter-namespace", control: namespace, why: "a namespace that somebody else has", do: func(*target) error {
			fd, err := unix.Open("/proc/self/ns/uts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return ready(err)
			}
			return unix.Setns(fd, unix.CLONE_NEWUTS)
		}},
		{name: "mount-tmpfs", control: namespace, why: "files over those that are read-only", do: func(*target) error {
			return unix.Mount("none", "/tmp", "tmpfs", 0, "")
		}},
		{name: "mount-bind", control: namespace, why: "a file under another name", do: func(*target) error {
			// With what is mounted below it, which to uncover is EINVAL in a namespace below the one that mounted it (mount_namespaces(7)).
			return unix.Mount("/tmp", "/tmp", "", unix.MS_BIND|unix.MS_REC, "")
		}},
		{name: "mount-writable", control: namespace, why: "a read-only mount made writable", do: func(*target) error {
			return reached(unix.Mount("", "/proc", "", unix.MS_REMOUNT|unix.MS_BIND, ""))
		}},
		{name: "unmount", control: namespace, why: "what lies below a mount", do: func(*target) error {
			return reached(unix.Unmount("/nowhere", 0))
		}},
		{name: "pivot-root", control: namespace, why: "another root", do: func(*target) error {
			return reached(unix.PivotRoot("/nowhere", "/nowhere"))
		}},
		{name: "change-root", control: namespace, why: "another root", do: func(*target) error { return unix.Chroot("/") }},
		{name: "mount-by-descriptor", control: namespace, why: "a file system by the new mount calls", do: func(*target) error {
			_, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
			return err
		}},
		{name: "mount-copy", control: namespace, why: "a copy of the mounts without what covers them", do: func(*target) error {
			_, err := unix.OpenTree(unix.AT_FDCWD, "/", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.OPEN_TREE_CLOEXEC)
			return err
		}},
		{name: "mount-move", control: namespace, why: "a mount in another place", do: func(*target) error {
			return reached(unix.MoveMount(-1, "", unix.AT_FDCWD, "/tmp", 0))
		}},
		{name: "mount-attributes", control: namespace, why: "a read-only mount made writable", do: func(*target) error {
			return reached(unix.MountSetattr(unix.AT_FDCWD, "/nowhere", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}))
		}},
		{name: "host-name", control: namespace, why: "a name of the machine", do: func(*target) error { return unix.Sethostname([]byte("x")) }},
		{name: "restart", control: namespace, why: "the machine's end", do: func(*target) error {
			return reached(call(unix.SYS_REBOOT, 1, 2, 3, 0)) // the magic numbers are wrong
		}},
		{name: "file-handles", why: "files past the mounts (CVE-2014-3519)", do: func(*target) error {
			_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, "/", 0)
			return reached(err)
		}},
		{name: "file-handle-open", control: namespace, why: "files past the mounts (CVE-2014-3519)", optional: true, do: func(*target) error {
			handle := unix.NewFileHandle(0, nil) // of no bytes
			_, err := unix.OpenByHandleAt(-1, handle, unix.O_RDONLY|unix.O_CLOEXEC)
			return reached(err)
		}},
		{name: "file-watch", why: "the names of files that others open", optional: true, do: func(*target) error {
			fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_FID|unix.FAN_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{name: "file-lease", why: "45 seconds for which nobody can write to a file", optional: true, do: func(t *target) error {
			f, err := os.Open(filepath.Join(t.Project, ".envrc"))
			if err != nil {
				return ready(err)
			}
			defer f.Close()
			_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_RDLCK)
			return err
		}},
		{name: "kernel-program", why: "code that the kernel runs (CVE-2021-3490)", optional: true, do: func(*target) error {
			return reached(call(unix.SYS_BPF, 1<<16, 0, 0)) // no command has that number
		}},
		{name: "kernel-module", why: "code in the kernel", optional: true, do: func(*target) error {
			return reached(call(unix.SYS_INIT_MODULE, 0, 0, 0))
		}},
		{name: "kernel-module-file", why: "code in the kernel", optional: true, do: func(*target) error {
			return reached(call(unix.SYS_FINIT_MODULE, ^uintptr(0), 0, ^uintptr(0)))
		}},
		{name: "kernel-replace", why: "another kernel", optional: true, do: func(*target) error {
			return reached(call(unix.SYS_KEXEC_LOAD, 0, 1<<16, 0, 1<<8)) // more segments than there can be, and a flag that there is not
		}},
		{name: "performance-counters", why: "a part of the kernel with many bugs (CVE-2023-2235)", do: func(*target) error {
			return reached(call(unix.SYS_PERF_EVENT_OPEN, 0, 0, ^uintptr(0), ^uintptr(0), ^uintptr(0)))
		}},
		{name: "page-faults", why: "a kernel that waits in the middle of a copy", do: func(*target) error {
			return call(unix.SYS_USERFAULTFD, unix.O_CLOEXEC|1) // UFFD_USER_MODE_ONLY
		}},
		{name: "keyring-read", why: "the user's keyrings, which no namespace divides", do: func(*target) error {
			_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
			return reached(err)
		}},
		{name: "keyring-add", why: "the user's keyrings, which no namespace divides", do: func(*target) error {
			_, err := unix.AddKey("user", "agentjail selftest", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
			return reached(err)
		}},
		{name: "keyring-request", why: "a program that the kernel starts as root", do: func(*target) error {
			_, err := unix.RequestKey("no such type", "agentjail selftest", "", 0)
			return reached(err)
		}},
		{name: "ring-setup", why: "system calls that no filter sees", do: func(*target) error {
			return reached(call(unix.SYS_IO_URING_SETUP, 1, 0))
		}},
		{name: "ring-enter", why: "system calls that no filter sees", do: func(*target) error {
			return reached(call(unix.SYS_IO_URING_ENTER, ^uintptr(0), 0, 0, 0, 0, 0))
		}},
		{name: "ring-register", why: "system calls that no filter sees", do: func(*target) error {
			return reached(call(unix.SYS_IO_URING_REGISTER, ^uintptr(0), 0, 0, 0))
		}},
		{name: "descriptor-of-another", why: "a descriptor out of another process", do: func(*target) error {
			return reached(call(unix.SYS_PIDFD_GETFD, ^uintptr(0), 0, 0))
		}},
		{name: "execution-domain", why: "memory that can be executed by accident", do: func(*target) error {
			return call(unix.SYS_PERSONALITY, 0x0400000) // READ_IMPLIES_EXEC
		}},
		{name: "clock-read-and-set", why: "the machine's clock", do: func(*target) error {
			_, err := unix.Adjtimex(&unix.Timex{}) // sets nothing
			return err
		}},
		{name: "mode-by-pointer", why: "a set-id file by a call whose mode no filter sees", do: func(*target) error {
			fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC})
			if err == nil {
				unix.Close(fd)
			}
			return err
		}},
		{name: "kernel-setting", control: namespace, why: "a setting of the network", do: opens("/proc/sys/net/ipv4/ip_forward", syscall.O_WRONLY)},
		{name: "socket-diagnostics", why: "every connection of a network namespace", do: sockets(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_SOCK_DIAG)},
		{name: "socket-devices", why: "the kernel's messages about devices", do: sockets(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT)},
		{name: "socket-generic", why: "families of the kernel's configuration", do: sockets(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC)},
		{name: "socket-generic-high-bits", why: "the same, by an argument with bits that the kernel drops (CVE-2019-10063)", do: func(*target) error {
			return call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_GENERIC|1<<32)
		}},
		{name: "socket-crypto", why: "the kernel's ciphers, a part with many bugs", optional: true, do: sockets(unix.AF_ALG, unix.SOCK_SEQPACKET, 0)},
		{name: "socket-virtual-machine", why: "the machine that this one runs on", optional: true, do: sockets(unix.AF_VSOCK, unix.SOCK_STREAM, 0)},
		{name: "socket-express", control: namespace, why: "what others send, and packets of any shape", optional: true,
			do: sockets(unix.AF_XDP, unix.SOCK_RAW, 0)},
		{name: "socket-packet", control: namespace, why: "what others send, and packets of any shape", do: sockets(unix.AF_PACKET, unix.SOCK_RAW, 0)},
		{name: "socket-raw", control: namespace, why: "packets of any shape", do: sockets(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP)},
		{name: "socket-raw-v6", control: namespace, why: "packets of any shape", do: sockets(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_TCP)},
	}
	for _, n := range []struct {
		name string
		flag int
	}{{"mounts", unix.CLONE_NEWNS}, {"processes", unix.CLONE_NEWPID}, {"network", unix.CLONE_NEWNET}, {"ipc", unix.CLONE_NEWIPC},
		{"names", unix.CLONE_NEWUTS}, {"cgroup", unix.CLONE_NEWCGROUP}} {
		list = append(list, attempt{name: "namespace-" + n.name, control: namespace, why: "a namespace of one's own", do: func(*target) error {
			return unix.Unshare(n.flag)
		}})
	}
	return defaults(append(list, machineAttempts()...))
}

// start runs this binary, which ends at once, in namespaces of its own.
func start(attr *syscall.SysProcAttr) error {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{Name, roleNothing, "{}"}
	cmd.SysProcAttr = attr
	return made(cmd.Run())
}

// made gives the kernel's refusal, if that is what err is: a process that ended badly was started, in what was asked for.
func made(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil
	}
	return err
}

func sockets(family, kind, protocol int) func(*target) error {
	return func(*target) error {
		fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}
}
