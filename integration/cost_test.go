package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a jail costs must not grow unseen. Wall time says nothing on a machine that others use, so these hold ratios and counts: they fail
// when something is done twice, and the benchmarks say how long it all takes.

// TestLaunchStaysCheap: a whole run of true against one start of the same binary, in processor time and in page faults. Both were 8 to 12
// when the bounds were set.
func TestLaunchStaysCheap(t *testing.T) {
	env := benchProject(t, "")
	jail := os.Getenv("AGENTJAIL_BIN")
	used := func(argv ...string) (seconds, faults float64) {
		cmd := exec.Command(jail, argv...)
		cmd.Dir, cmd.Env, cmd.Stderr = env[0][len("PWD="):], env, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		usage := cmd.ProcessState.SysUsage().(*syscall.Rusage) // of the children that it waited for, too
		return (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(), float64(usage.Minflt)
	}
	var run, start [2][]float64
	for range 9 {
		a, b := used("--", "true")
		run[0], run[1] = append(run[0], a), append(run[1], b)
		a, b = used("version")
		start[0], start[1] = append(start[0], a), append(start[1], b)
	}
	for i, what := range []string{"processor time", "page faults"} {
		const most = 18
		ratio := middle(run[i]) / middle(start[i])
		t.Logf("%s: %.1f times a start's", what, ratio)
		if ratio > most {
			t.Errorf("%s of a run: %.1f times those of a start, want at most %d", what, ratio, most)
		}
	}
}

// TestTunnelsAreSpliced: what goes through a tunnel never enters the launcher (proc(5): rchar and wchar count reads and writes, splice(2)
// is neither).
func TestTunnelsAreSpliced(t *testing.T) {
	server := startLoadServer(t)
	env := benchProject(t, server.profile)
	const size = 64 << 20
	for _, way := range []string{"down", "up"} {
		cmd := exec.Command(os.Getenv("AGENTJAIL_BIN"), "-p", "../door.toml", "--", "sh", "-c",
			fmt.Sprintf("./load https://tunnel.example - - %s:%d && cat", way, size))
		cmd.Dir, cmd.Env, cmd.Stderr = env[0][len("PWD="):], env, os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Error(err)
		}
		counts, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", cmd.Process.Pid))
		if err != nil {
			t.Error(err)
		}
		var read, written int64
		if _, err := fmt.Sscanf(string(counts), "rchar: %d\nwchar: %d", &read, &written); err != nil {
			t.Error(err)
		}
		t.Logf("%s: %s s, the launcher read %d and wrote %d bytes", way, strings.TrimSpace(line), read, written)
		if read+written > size/4 {
			t.Errorf("%s: %d bytes came, and the launcher read %d and wrote %d", way, size, read, written)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

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
