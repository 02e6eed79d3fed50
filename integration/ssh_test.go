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
)

// startSSHD starts an OpenSSH server on loopback that lets one key in, dir/key. OpenSSH's programs serve nobody who is not in
// /etc/passwd with a shell, and a test's user may be in none, so they see another file there.
func startSSHD(dir string) (addr string, stop func(), err error) {
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
	withPasswd := func(argv ...string) *exec.Cmd {
		return &exec.Cmd{Path: self, Args: append([]string{"over", filepath.Join(dir, "passwd"), "/etc/passwd"}, argv...)}
	}
	for _, name := range []string{"host_key", "key"} {
		out, err := withPasswd("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", filepath.Join(dir, name)).CombinedOutput()
		if err != nil {
			return "", nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	cmd := withPasswd("/usr/sbin/sshd", "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // over and sshd, to end them together
	said, err := cmd.StderrPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("sshd: %w", err)
	}
	stop = func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		cmd.Wait()
	}
	late := time.AfterFunc(20*time.Second, func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
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
