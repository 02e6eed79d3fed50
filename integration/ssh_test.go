package integration

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sshdEntry is the word by which this binary knows that it is to become an OpenSSH server.
const sshdEntry = "integration-sshd"

// startSSHD starts an OpenSSH server on loopback that lets one key in, dir/key. sshd logs in nobody who is not in /etc/passwd with a
// shell, and a test's user may be in none, so sshd gets a mount namespace of its own with another file over it.
func startSSHD(dir string) (addr string, stop func(), err error) {
	keygen := func(name string) error {
		out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", filepath.Join(dir, name)).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
		return nil
	}
	if err := errors.Join(keygen("host_key"), keygen("key")); err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // to find a free port; sshd binds it a moment later
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	l.Close()
	passwd := fmt.Sprintf("root:x:0:0:root:/root:/bin/sh\ntester:x:%d:%d:tester:%s:/bin/sh\n", os.Getuid(), os.Getgid(), dir)
	config := fmt.Sprintf("ListenAddress %s\nHostKey %s/host_key\nAuthorizedKeysFile %s/key.pub\nStrictModes no\nPidFile none\nUsePAM no\n", addr, dir, dir)
	err = errors.Join(os.WriteFile(filepath.Join(dir, "passwd"), []byte(passwd), 0o644), os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(config), 0o644))
	if err != nil {
		return "", nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(self, sshdEntry, filepath.Join(dir, "passwd"), filepath.Join(dir, "sshd_config"))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN}, // for one mount; sshd itself gets none
		Pdeathsig:   syscall.SIGKILL,
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("sshd: %w", err)
	}
	stop = func() { cmd.Process.Kill(); cmd.Wait() }
	late := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
	defer late.Stop()
	lines := bufio.NewScanner(said)
	var all strings.Builder
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Server listening on") {
			go func() {
				for lines.Scan() { // a full pipe would stop sshd
				}
			}()
			return addr, stop, nil
		}
		fmt.Fprintln(&all, lines.Text())
	}
	stop()
	return "", nil, fmt.Errorf("sshd did not start: %s", all.String())
}

// sshdMain becomes sshd. It returns only when it fails.
func sshdMain(args []string) error {
	if err := unix.Mount(args[0], "/etc/passwd", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount over /etc/passwd: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		return err
	}
	return syscall.Exec(sshd, []string{sshd, "-D", "-e", "-f", args[1]}, os.Environ())
}
