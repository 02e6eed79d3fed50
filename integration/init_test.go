package integration

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// waitingJail is one whose command waits for the end of its stdin, and its processes as the host sees them.
type waitingJail struct {
	launcher *exec.Cmd
	in       io.Closer
	gateway  int
	init     int
	command  int
}

// startWaiting starts one, for a careless caller who hands on two descriptors of this test's binary.
func startWaiting(t *testing.T) waitingJail {
	t.Helper()
	cmd := exec.Command(os.Getenv("AGENTJAIL_BIN"), "--net", "none", "--", "sh", "-c", "echo ready; read x")
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(t.TempDir(), "state"))
	open, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	cmd.ExtraFiles = []*os.File{open, open}
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	below := children(cmd.Process.Pid)
	w := waitingJail{launcher: cmd, in: in, gateway: named(below, "agentjail-gateway"), init: initOf(below)}
	inside := children(w.init)
	if w.gateway == 0 || w.init == 0 || len(inside) == 0 {
		t.Fatalf("gateway %d, init %d, command %v", w.gateway, w.init, inside)
	}
	w.command = inside[0]
	return w
}

// linkOf is what a link below /proc/PID says.
func linkOf(t *testing.T, pid int, name string) string {
	t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Error(err)
	}
	return to
}

// TestInitSeenFromOutside looks at what the command cannot: init's descriptors, its working directory, and the namespaces that it shares with
// the gateway. A jail that is in the gateway's network or mounts is as far from the host as one that is not, until somebody uses the rest.
func TestInitSeenFromOutside(t *testing.T) {
	if os.Getuid() == 0 {
		return // about the ordinary user
	}
	jail := startWaiting(t)
	init, gateway := jail.init, jail.gateway
	for _, name := range []string{"mnt", "pid", "ipc", "uts", "cgroup", "net"} {
		if ours := linkOf(t, init, "ns/"+name); ours == linkOf(t, gateway, "ns/"+name) || ours != linkOf(t, jail.command, "ns/"+name) {
			t.Errorf("the %s namespace is not the jail's own", name)
		}
	}
	if linkOf(t, init, "ns/user") != linkOf(t, gateway, "ns/user") || linkOf(t, init, "ns/user") == linkOf(t, jail.command, "ns/user") {
		t.Error("init is in the command's user namespace, or not in the gateway's")
	}
	root, err1 := os.Stat(fmt.Sprintf("/proc/%d/root", init))
	cwd, err2 := os.Stat(fmt.Sprintf("/proc/%d/cwd", init))
	if err1 != nil || err2 != nil || !os.SameFile(root, cwd) {
		t.Errorf("init works in %v, and its root is %v (%v, %v): CVE-2024-21626", cwd, root, err1, err2)
	}
	if err := status(strconv.Itoa(gateway), "SigBlk", "0000000000000000"); err != nil {
		t.Errorf("the gateway's signals, which were blocked for init's start: %v", err)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", init))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		switch to := linkOf(t, init, "fd/"+f.Name()); {
		case f.Name() == "3" && strings.HasPrefix(to, "socket:"), to == "anon_inode:[signalfd]":
		default:
			t.Errorf("init holds %s: %s", f.Name(), to)
		}
	}
	if len(files) != 2 {
		t.Errorf("init has %d descriptors: its socket and its signals were due", len(files))
	}
}

// TestGatewaySeenFromOutside looks at what the launcher gives the gateway.
func TestGatewaySeenFromOutside(t *testing.T) {
	if os.Getuid() == 0 {
		return // about the ordinary user
	}
	jail := startWaiting(t)
	pid := strconv.Itoa(jail.gateway)
	for file, want := range map[string]string{
		"uid_map":   fmt.Sprintf("0 %d 1", os.Getuid()),
		"gid_map":   fmt.Sprintf("0 %d 1", os.Getgid()),
		"setgroups": "deny",
	} {
		b, err := os.ReadFile("/proc/" + pid + "/" + file)
		if got := strings.Join(strings.Fields(string(b)), " "); err != nil || got != want {
			t.Errorf("%s: %q, %v; %q was due", file, got, err, want)
		}
	}
	if err := status(pid, "SigBlk", "0000000000000000"); err != nil {
		t.Error(err)
	}
	if sid, err := unix.Getsid(jail.gateway); err != nil || sid != jail.gateway {
		t.Errorf("its session is %d, %v: the keys of the caller's terminal reach it", sid, err)
	}
	self, err := filepath.EvalSymlinks(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		to := linkOf(t, jail.gateway, "fd/"+f.Name())
		want := map[string]string{"0": os.DevNull, "1": os.DevNull, "2": "/memfd:agentjail-gateway-stderr", "3": "socket:"}[f.Name()]
		if !strings.HasPrefix(to, want) || to == self {
			t.Errorf("descriptor %s is %s", f.Name(), to)
		}
	}
}

// TestRoomForDescriptors: no process of ours waits for the table of its descriptors to grow.
func TestRoomForDescriptors(t *testing.T) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	jail := startWaiting(t)
	for name, pid := range map[string]int{"launcher": jail.launcher.Process.Pid, "gateway": jail.gateway} {
		if n := statusField(pid, "FDSize:"); n < int64(min(l.Cur, 1024)) {
			t.Errorf("the %s has room for %d", name, n)
		}
	}
}

// TestLauncherTakesAStoppedGatewayAlong kills a launcher whose gateway does not run, and so cannot see that its socket has ended.
func TestLauncherTakesAStoppedGatewayAlong(t *testing.T) {
	jail := startWaiting(t)
	fd, err := unix.PidfdOpen(jail.gateway, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Kill(jail.gateway, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	jail.launcher.Process.Kill()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
	}
	if n != 1 {
		unix.Kill(jail.gateway, unix.SIGKILL)
		t.Errorf("the gateway lives on without its launcher (%v)", err)
	}
}

// TestStoppedGateway: the wall-time limit and signals end a jail whose gateway somebody has stopped.
func TestStoppedGateway(t *testing.T) {
	for name, end := range map[string]func(*os.Process){
		"its command has ended": func(*os.Process) {},
		"terminated":            func(p *os.Process) { p.Signal(unix.SIGTERM) },
	} {
		t.Run(name, func(t *testing.T) {
			jail := startWaiting(t)
			gateway := jail.gateway
			if err := unix.Kill(gateway, unix.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			stuck := time.AfterFunc(20*time.Second, func() {
				t.Error("it waits for its gateway")
				unix.Kill(gateway, unix.SIGKILL)
			})
			defer stuck.Stop()
			if end(jail.launcher.Process); name == "its command has ended" {
				jail.in.Close()
			}
			jail.launcher.Wait()
		})
	}
}
