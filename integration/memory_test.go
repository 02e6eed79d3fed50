package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestMemoryOfAWaitingJail: launcher, gateway and init together keep little of their own while a command waits. Pages of the binary, which
// all jails share and the kernel takes when it wants, are left to `make bench`: how many are mapped at once is the kernel's affair.
func TestMemoryOfAWaitingJail(t *testing.T) {
	const most = 7 << 10 // KiB; a launch takes 9,400, and what is left of it a second later is 5,300
	cmd := exec.Command(os.Getenv("AGENTJAIL_BIN"), "--", "cat")
	dir := t.TempDir()
	for _, name := range []string{"project", "home"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(dir, "home")
	cmd.Dir = filepath.Join(dir, "project")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home, "XDG_CONFIG_HOME="+home, "PATH=/usr/bin:/bin")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for {
		sum, names := anonymous(cmd.Process.Pid)
		if len(names) >= 4 && sum <= most { // launcher, gateway, init, root's janitor, and the command, which is not counted
			t.Logf("%d KiB: %v", sum, names)
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d KiB, want at most %d: %v", sum, most, names)
		}
	}
}

// anonymous adds up the memory of its own, in KiB, that a process and its descendants of agentjail's have.
func anonymous(pid int) (sum int64, names []string) {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(rollup)) {
		if f := strings.Fields(line); f[0] == "Pss_Anon:" && string(name) != "cat\n" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			sum += n
		}
	}
	names = []string{strings.TrimSpace(string(name))}
	children, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range children {
		list, _ := os.ReadFile(file)
		for _, child := range strings.Fields(string(list)) {
			n, _ := strconv.Atoi(child)
			s, below := anonymous(n)
			sum, names = sum+s, append(names, below...)
		}
	}
	return sum, names
}
