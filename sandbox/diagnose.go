package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// advice is what a diagnosis comes to: the setting of this machine that stands in the way, and what to paste.
type advice struct{ setting, fix string }

// cause is one reason for a failure: it applies when the step, the errno and the facts of the machine fit. Empty lists fit all.
type cause struct {
	steps  []string
	errnos []unix.Errno
	holds  func(h *Host) bool
	advice func(h *Host) advice
}

// diagnose gives the hint for a step that failed: the setting and the one fix. It is never empty.
func diagnose(step string, err error, h *Host) string {
	a := advise(step, err, h)
	if a.setting == "" {
		return a.fix
	}
	return a.setting + ": " + a.fix
}

// advise takes the first cause that fits. The order is from the certain to the likely.
func advise(step string, err error, h *Host) advice {
	var errno unix.Errno
	errors.As(err, &errno)
	for _, c := range causes() {
		if (len(c.steps) == 0 || slices.Contains(c.steps, step)) && (len(c.errnos) == 0 || slices.Contains(c.errnos, errno)) &&
			(c.holds == nil || c.holds(h)) {
			return c.advice(h)
		}
	}
	return advice{fix: "`agentjail doctor` does each step of a launch by itself and names the call that fails"}
}

// fixed is advice that does not depend on the machine.
func fixed(setting, fix string) func(*Host) advice {
	return func(*Host) advice { return advice{setting, fix} }
}

// sysctl sets a setting now and from the next boot on.
func sysctl(name, value string) func(*Host) advice {
	return func(h *Host) advice {
		return advice{name + " is " + h.sysctl(name),
			fmt.Sprintf("echo '%s = %s' | sudo tee /etc/sysctl.d/90-agentjail.conf && sudo sysctl --system", name, value)}
	}
}

// namespaces are the steps that make namespaces or use capabilities in them.
func namespaces() []string {
	return []string{StepUserNamespace, StepIDMap, StepMountNamespace, StepNetwork, StepRoot, StepContainer, StepProc, StepTerminal, StepInit}
}

func causes() []cause {
	refused := []unix.Errno{unix.EPERM, unix.EACCES}
	all := [][]cause{{
		{steps: []string{StepKernel}, advice: fixed("", "agentjail needs Linux 5.12 or newer")},
		{steps: namespaces(), errnos: append(refused, unix.ENOSPC, unix.EROFS), holds: nested,
			advice: fixed("AGENTJAIL is set", "this is a jail already, and jails do not nest: run the command directly, or agentjail outside")},
	}, exhausted(), {
		{steps: []string{StepUserNamespace}, errnos: []unix.Errno{unix.EINVAL, unix.ENOSYS},
			advice: fixed("CONFIG_USER_NS is not set", "boot a kernel with user namespaces")},
		{steps: []string{StepUserNamespace}, errnos: []unix.Errno{unix.EUSERS, unix.ENOSPC},
			advice: fixed("user namespaces are nested 32 deep", "start agentjail further out")},
		{steps: []string{StepUserNamespace}, errnos: []unix.Errno{unix.EAGAIN},
			advice: fixed("RLIMIT_NPROC is reached", "end some processes, or raise the limit: ulimit -u")},
		{steps: namespaces(), errnos: refused, holds: func(h *Host) bool { return h.UID != 0 && h.sysctl("kernel.unprivileged_userns_clone") == "0" },
			advice: sysctl("kernel.unprivileged_userns_clone", "1")},
		{steps: namespaces(), errnos: refused, holds: func(h *Host) bool { return h.sysctl("kernel.apparmor_restrict_unprivileged_userns") == "1" },
			advice: appArmor},
		{steps: namespaces(), errnos: []unix.Errno{unix.EACCES}, holds: func(h *Host) bool { return h.line("/sys/fs/selinux/enforce") == "1" },
			advice: fixed("SELinux is enforcing", "sudo ausearch -m avc -ts recent --raw | audit2allow -M agentjail && sudo semodule -i agentjail.pp")},
		{steps: []string{StepUserNamespace, StepIDMap}, errnos: refused, holds: unreadable,
			advice: fixed("agentjail's own file may be executed and not read, so its processes are not yours (proc(5))", "chmod a+r \"$(command -v agentjail)\"")},
	}, contained(), {
		{steps: []string{StepUserNamespace}, errnos: []unix.Errno{unix.EPERM}, holds: chrooted,
			advice: fixed("the root directory is changed by chroot(2)", "start agentjail outside of the chroot")},
		{steps: append(namespaces(), StepSeccomp), errnos: append(refused, unix.ENOSYS), holds: filtered,
			advice: fixed("Seccomp in /proc/self/status is 2", "the program that started this one filters its system calls: start agentjail outside of it")},
		{steps: []string{StepNetwork}, errnos: []unix.Errno{unix.EOPNOTSUPP, unix.ENODEV},
			advice: fixed("the kernel module veth is not loaded", "echo veth | sudo tee /etc/modules-load.d/agentjail.conf && sudo modprobe veth")},
		{steps: []string{StepSeccomp}, errnos: []unix.Errno{unix.EINVAL, unix.ENOSYS},
			advice: fixed("CONFIG_SECCOMP_FILTER is not set", "boot a kernel with seccomp filters")},
		{steps: []string{StepContainer}, errnos: []unix.Errno{unix.EDQUOT}, advice: sysctl("kernel.keys.maxkeys", "2000")}, // a session keyring each
		{steps: []string{StepContainer}, errnos: []unix.Errno{unix.EINVAL},
			advice: fixed("the kernel lacks a kind of namespace", "boot a kernel with CONFIG_PID_NS, CONFIG_IPC_NS, CONFIG_UTS_NS and CONFIG_CGROUPS")},
		{steps: []string{StepCgroup}, advice: fixed("", "`agentjail doctor` shows which limits this machine holds; go without: --allow-degraded limits")},
		{errnos: []unix.Errno{unix.EMFILE}, advice: fixed("", fewDescriptors)},
		{errnos: []unix.Errno{unix.EFBIG}, advice: fixed("", smallFiles)},
		{errnos: []unix.Errno{unix.ENFILE}, advice: sysctl("fs.file-max", "1000000")},
		{errnos: []unix.Errno{unix.ENOMEM, unix.EAGAIN}, advice: fixed("memory or processes have run out", "end something, or raise the limits of this session: ulimit -a")},
		{steps: []string{StepCommand}, errnos: []unix.Errno{unix.EACCES}, advice: fixed("", "make it executable: chmod +x")},
		{steps: []string{StepCommand}, errnos: []unix.Errno{unix.ENOENT}, advice: fixed("", "`agentjail plan` shows what the jail sees; --ro PATH shows it more")},
		{steps: []string{StepCommand}, errnos: []unix.Errno{unix.ENOEXEC}, advice: fixed("", "it is no program of this machine's: give the interpreter, or a #! line")},
		{steps: []string{StepRoot}, errnos: []unix.Errno{unix.ENOENT, unix.ELOOP, unix.ENOTDIR},
			advice: fixed("", "a path changed between plan and act: run again; `agentjail plan` shows every path")},
	}}
	return slices.Concat(all...)
}

// exhausted are the limits on the number of namespaces (namespaces(7)); a user namespace has settings of its own.
func exhausted() (list []cause) {
	for _, l := range []struct{ kind, step string }{{"user", StepUserNamespace}, {"user", StepInit}, {"mnt", StepMountNamespace}, {"net", StepNetwork},
		{"mnt", StepContainer}, {"pid", StepContainer}, {"ipc", StepContainer}, {"uts", StepContainer}, {"cgroup", StepContainer}} {
		name := "user.max_" + l.kind + "_namespaces"
		list = append(list, cause{steps: []string{l.step}, errnos: []unix.Errno{unix.ENOSPC, unix.EPERM},
			holds: func(h *Host) bool { return h.sysctl(name) == "0" }, advice: sysctl(name, "65536")})
	}
	return list
}

// contained are the walls of an outer container.
func contained() []cause {
	refused := []unix.Errno{unix.EPERM, unix.EACCES, unix.EROFS, unix.ENOSYS}
	return []cause{
		{steps: []string{StepProc}, errnos: refused, holds: inContainer,
			advice: fixed("the outer container masks parts of /proc", "docker run --security-opt systempaths=unconfined; podman run --security-opt unmask=ALL; "+
				"Kubernetes: securityContext.procMount: Unmasked")},
		{steps: namespaces(), errnos: []unix.Errno{unix.EROFS},
			advice: fixed("/proc/sys is read-only, as in most containers", "docker run --security-opt systempaths=unconfined; podman run --security-opt unmask=ALL")},
		{steps: append(namespaces(), StepSeccomp), errnos: refused, holds: inContainer,
			advice: fixed("the outer container refuses the call", "docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined "+
				"--security-opt systempaths=unconfined; podman run --security-opt seccomp=unconfined --security-opt unmask=ALL")},
		// mount(2) of proc gives EPERM wherever the caller's own is covered in part (mount_namespaces(7), "mount_too_revealing").
		{steps: []string{StepProc}, errnos: []unix.Errno{unix.EPERM},
			advice: fixed("parts of /proc are covered by other mounts", "unmount what `grep ' /proc/' /proc/self/mountinfo` shows, or start agentjail outside")},
	}
}

// appArmor is Ubuntu's restriction (23.10 and newer): only programs with a profile get capabilities in a user namespace.
func appArmor(h *Host) advice {
	return advice{"kernel.apparmor_restrict_unprivileged_userns is 1", `write a profile for agentjail and load it:
sudo tee /etc/apparmor.d/agentjail >/dev/null <<'END'
abi <abi/4.0>,
include <tunables/global>
profile agentjail "` + h.Executable + `" flags=(unconfined) {
  userns,
  include if exists <local/agentjail>
}
END
sudo apparmor_parser -r /etc/apparmor.d/agentjail`}
}

func nested(h *Host) bool { return h.getenv("AGENTJAIL") != "" || h.getenv("AGENTJAIL_SESSION") != "" }

// inContainer tells an outer container by the marks that docker, podman and their like leave.
func inContainer(h *Host) bool {
	for _, mark := range []string{"/.dockerenv", "/run/.containerenv"} {
		if _, err := h.FS.Lstat(mark); err == nil {
			return true
		}
	}
	return h.getenv("container") != "" || h.getenv("KUBERNETES_SERVICE_HOST") != ""
}

// chrooted: clone(2) refuses a user namespace to a process whose root is not that of its mount namespace; such a one sees no mount
// at "/", unless the directory is a mount point by chance.
func chrooted(h *Host) bool {
	b, err := h.FS.ReadFile("/proc/self/mountinfo", maxProcFile)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			return false
		}
	}
	return true
}

// unreadable: the file of this process may not be read by its user.
func unreadable(h *Host) bool {
	_, err := h.FS.ReadFile("/proc/self/exe", 1)
	return errors.Is(err, fs.ErrPermission)
}

// filtered: a seccomp filter is on this process (proc_pid_status(5)).
func filtered(h *Host) bool {
	b, err := h.FS.ReadFile("/proc/self/status", maxProcFile)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "Seccomp:"); ok {
			return strings.TrimSpace(value) == "2"
		}
	}
	return false
}

// sysctl reads a setting by its dotted name; "" when the kernel has none of that name.
func (h *Host) sysctl(name string) string {
	return h.line("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
}

// line reads a file of one line.
func (h *Host) line(name string) string {
	b, err := h.FS.ReadFile(name, maxProcFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
