package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestInitSeenFromOutside looks at what the command cannot: init's descriptors, its working directory, and the namespaces that it shares with
// the gateway. A jail that is in the gateway's network or mounts is as far from the host as one that is not, until somebody uses the rest.
func TestInitSeenFromOutside(t *testing.T) {
	if os.Getuid() == 0 {
		return // about the ordinary user
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Getenv("AGENTJAIL_BIN"), "--net", "none", "--", "sh", "-c", "echo ready; read x")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "XDG_STATE_HOME="+filepath.Join(t.TempDir(), "state"))
	open, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	cmd.ExtraFiles = []*os.File{open, open} // as a careless caller's
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	below := children(cmd.Process.Pid)
	gateway, init := named(below, "agentjail-gateway"), initOf(below)
	inside := children(init)
	if gateway == 0 || init == 0 || len(inside) == 0 {
		t.Fatalf("gateway %d, init %d, command %v", gateway, init, inside)
	}
	link := func(pid int, name string) string {
		t.Helper()
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Error(err)
		}
		return to
	}
	for _, name := range []string{"mnt", "pid", "ipc", "uts", "cgroup", "net"} {
		if ours := link(init, "ns/"+name); ours == link(gateway, "ns/"+name) || ours != link(inside[0], "ns/"+name) {
			t.Errorf("the %s namespace is not the jail's own", name)
		}
	}
	if link(init, "ns/user") != link(gateway, "ns/user") || link(init, "ns/user") == link(inside[0], "ns/user") {
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
		switch to := link(init, "fd/"+f.Name()); {
		case f.Name() == "3" && strings.HasPrefix(to, "socket:"), to == "anon_inode:[signalfd]":
		default:
			t.Errorf("init holds %s: %s", f.Name(), to)
		}
	}
	if len(files) != 2 {
		t.Errorf("init has %d descriptors: its socket and its signals were due", len(files))
	}
}
