package sandbox

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// factFiles is a machine that is made up: contents by absolute name.
type factFiles map[string]string

func (m factFiles) ReadFile(name string, _ int) ([]byte, error) {
	if text, ok := m[name]; ok {
		return []byte(text), nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: unix.ENOENT}
}

func (m factFiles) Lstat(name string) (fs.FileInfo, error) {
	if _, ok := m[name]; ok {
		return nil, nil // nobody looks at it
	}
	return nil, &fs.PathError{Op: "lstat", Path: name, Err: unix.ENOENT}
}

func (m factFiles) Rights(string, int) rights                         { return rights{} }
func (m factFiles) CountsLinks(string) bool                           { return false }
func (m factFiles) Readlink(name string) (string, error)              { return "", fs.ErrInvalid }
func (m factFiles) ReadDir(name string, _ int) ([]fs.DirEntry, error) { return nil, fs.ErrInvalid }

const plainMounts = "21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 0:5 / /proc rw - proc proc rw\n"

// unreadableFacts are a machine's where agentjail's own file may not be read.
type unreadableFacts struct{ factFiles }

func (f unreadableFacts) ReadFile(name string, max int) ([]byte, error) {
	if name == "/proc/self/exe" {
		return nil, unix.EACCES
	}
	return f.factFiles.ReadFile(name, max)
}

// factsOf is an ordinary one, changed by pairs of file and content.
func factsOf(pairs ...string) factFiles {
	m := factFiles{
		"/proc/self/mountinfo":               plainMounts,
		"/proc/self/status":                  "Name:\tagentjail\nSeccomp:\t0\n",
		"/proc/sys/kernel/osrelease":         "6.1.0-13-amd64\n",
		"/proc/sys/user/max_user_namespaces": "96365\n",
	}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return m
}

func TestDiagnose(t *testing.T) {
	const apparmor = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
	for name, c := range map[string]struct {
		machine Files
		uid     int
		env     []string
		step    string
		errno   error
		want    []string // parts of the hint
	}{
		"ubuntu 24.04": {factsOf(apparmor, "1\n"), 1000, nil, StepMountNamespace, unix.EPERM,
			[]string{"apparmor_restrict_unprivileged_userns is 1", "sudo tee /etc/apparmor.d/agentjail", `profile agentjail "/opt/a b/agentjail" flags=(unconfined)`,
				"userns,", "sudo apparmor_parser -r /etc/apparmor.d/agentjail"}},
		"ubuntu without the restriction": {factsOf(apparmor, "0\n"), 1000, nil, StepMountNamespace, unix.EPERM, []string{"agentjail doctor"}},
		"ubuntu, uid_map":                {factsOf(apparmor, "1\n"), 1000, nil, StepIDMap, unix.EACCES, []string{"apparmor_parser"}},
		"old debian": {factsOf("/proc/sys/kernel/unprivileged_userns_clone", "0\n"), 1000, nil, StepUserNamespace, unix.EPERM,
			[]string{"kernel.unprivileged_userns_clone is 0", "kernel.unprivileged_userns_clone = 1", "sudo sysctl --system"}},
		"old debian as root": {factsOf("/proc/sys/kernel/unprivileged_userns_clone", "0\n"), 0, nil, StepUserNamespace, unix.EPERM,
			[]string{"agentjail doctor"}},
		"no user namespaces": {factsOf("/proc/sys/user/max_user_namespaces", "0\n"), 1000, nil, StepUserNamespace, unix.ENOSPC,
			[]string{"user.max_user_namespaces is 0", "user.max_user_namespaces = 65536"}},
		"nested too deep": {factsOf(), 1000, nil, StepUserNamespace, unix.ENOSPC, []string{"32 deep"}},
		"in a jail": {factsOf("/proc/sys/user/max_user_namespaces", "0\n"), 1000, []string{"AGENTJAIL=1"}, StepUserNamespace, unix.ENOSPC,
			[]string{"AGENTJAIL is set", "do not nest"}},
		"in a jail, filter": {factsOf("/proc/self/status", "Seccomp:\t2\n"), 1000, []string{"AGENTJAIL=1"}, StepUserNamespace, unix.EPERM,
			[]string{"do not nest"}},
		"selinux":            {factsOf("/sys/fs/selinux/enforce", "1"), 1000, nil, StepUserNamespace, unix.EACCES, []string{"SELinux", "semodule -i"}},
		"selinux permissive": {factsOf("/sys/fs/selinux/enforce", "0"), 1000, nil, StepUserNamespace, unix.EACCES, []string{"agentjail doctor"}},
		"docker": {factsOf("/.dockerenv", "", "/proc/self/status", "Seccomp:\t2\n"), 0, nil, StepUserNamespace, unix.EPERM,
			[]string{"outer container", "docker run --security-opt seccomp=unconfined"}},
		"podman":               {factsOf("/run/.containerenv", ""), 0, nil, StepMountNamespace, unix.EACCES, []string{"podman run --security-opt"}},
		"kubernetes":           {factsOf(), 0, []string{"KUBERNETES_SERVICE_HOST=192.0.2.1"}, StepProc, unix.EPERM, []string{"procMount: Unmasked"}},
		"docker, masked /proc": {factsOf("/.dockerenv", ""), 0, nil, StepProc, unix.EPERM, []string{"masks parts of /proc", "systempaths=unconfined"}},
		"docker, /proc/sys":    {factsOf("/.dockerenv", ""), 0, nil, StepUserNamespace, unix.EROFS, []string{"read-only", "systempaths=unconfined"}},
		"covered /proc":        {factsOf(), 1000, nil, StepProc, unix.EPERM, []string{"covered", "mountinfo"}},
		"chroot":               {factsOf("/proc/self/mountinfo", "22 21 0:5 / /proc rw - proc proc rw\n"), 1000, nil, StepUserNamespace, unix.EPERM, []string{"chroot"}},
		"not readable": {unreadableFacts{factsOf("/.dockerenv", "")}, 1000, nil, StepUserNamespace, unix.EACCES,
			[]string{"may be executed and not read", "chmod a+r"}},
		"somebody's filter":     {factsOf("/proc/self/status", "Seccomp:\t2\n"), 1000, nil, StepNetwork, unix.EPERM, []string{"filters its system calls"}},
		"no veth":               {factsOf(), 1000, nil, StepNetwork, unix.EOPNOTSUPP, []string{"modprobe veth"}},
		"keys":                  {factsOf("/proc/sys/kernel/keys/maxkeys", "200\n"), 1000, nil, StepContainer, unix.EDQUOT, []string{"kernel.keys.maxkeys is 200", "kernel.keys.maxkeys = 2000"}},
		"old kernel":            {factsOf("/proc/sys/kernel/osrelease", "5.10.0\n"), 1000, nil, StepKernel, fmt.Errorf("this is Linux 5.10.0"), []string{"5.12"}},
		"too many files":        {factsOf(), 1000, nil, StepNetwork, unix.EMFILE, []string{"ulimit -n"}},
		"too many processes":    {factsOf(), 1000, nil, StepUserNamespace, unix.EAGAIN, []string{"ulimit -u"}},
		"not executable":        {factsOf(), 1000, nil, StepCommand, unix.EACCES, []string{"chmod +x"}},
		"changed after plan":    {factsOf(), 1000, nil, StepRoot, unix.ELOOP, []string{"changed between plan and act"}},
		"wrapped":               {factsOf(), 1000, nil, StepNetwork, fmt.Errorf("create the veth pair: %w", unix.EOPNOTSUPP), []string{"modprobe veth"}},
		"from another process":  {factsOf(), 1000, nil, StepNetwork, (&failure{Message: "veth", Errno: int(unix.EOPNOTSUPP)}).err(), []string{"modprobe veth"}},
		"nobody knows":          {factsOf(), 1000, nil, StepHandshake, fmt.Errorf("odd"), []string{"agentjail doctor"}},
		"a limit":               {factsOf(), 1000, nil, StepCgroup, unix.EACCES, []string{"--allow-degraded limits"}},
		"no mount namespaces":   {factsOf("/proc/sys/user/max_mnt_namespaces", "0"), 1000, nil, StepContainer, unix.ENOSPC, []string{"user.max_mnt_namespaces is 0"}},
		"kind of namespace":     {factsOf(), 1000, nil, StepContainer, unix.EINVAL, []string{"CONFIG_PID_NS"}},
		"kernel without filter": {factsOf(), 1000, nil, StepSeccomp, unix.EINVAL, []string{"CONFIG_SECCOMP_FILTER"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Host{UID: c.uid, User: "u", Env: c.env, Executable: "/opt/a b/agentjail", FS: c.machine}
			got := diagnose(c.step, c.errno, h)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("hint %q lacks %q", got, want)
				}
			}
		})
	}
}

// TestEveryStepHasAHint: whatever fails, the user is told where to go on.
func TestEveryStepHasAHint(t *testing.T) {
	h := &Host{UID: 1000, FS: factsOf()}
	for _, step := range []string{StepPlan, StepKernel, StepUserNamespace, StepIDMap, StepMountNamespace, StepNetwork, StepHandshake, StepRoot,
		StepContainer, StepProc, StepInit, StepSeccomp, StepCgroup, StepDoor, StepTerminal, StepStdio, StepAudit, StepCommand} {
		for errno := unix.Errno(0); errno < 134; errno++ {
			if diagnose(step, errno, h) == "" {
				t.Fatalf("no hint for %s, %v", step, errno)
			}
		}
	}
}

func TestDoctorStopsAtAnOldKernel(t *testing.T) {
	h := &Host{UID: 1000, FS: factsOf("/proc/sys/kernel/osrelease", "5.10.0-28-amd64\n")}
	checks := Doctor(t.Context(), h)
	if c := checks[0]; c.OK || c.Step != StepKernel || !strings.Contains(c.Message, "5.10.0") || !strings.Contains(c.Fix, "5.12") {
		t.Errorf("got %+v", c)
	}
	for _, c := range checks[1:] {
		if !c.Optional {
			t.Errorf("went on to %+v", c)
		}
	}
}
