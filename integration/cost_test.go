package integration

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What a jail costs must not grow unseen. Wall time says nothing on a machine that others use, so these hold ratios and counts: they fail
// when something is done twice, and the benchmarks say how long it all takes.

// TestLaunchStaysCheap: a whole run of true against one start of the same binary, in processor time and in page faults. They were 7 and 4
// when the bounds were set, and 14 and 8 with libcontainer.
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
		most := []float64{11, 6}[i]
		ratio := middle(run[i]) / middle(start[i])
		t.Logf("%s: %.1f times a start's", what, ratio)
		if ratio > most {
			t.Errorf("%s of a run: %.1f times those of a start, want at most %.0f", what, ratio, most)
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
		atRest(t, env, fmt.Sprintf("./load https://tunnel.example - - %s:%d", way, size), func(launcher int) {
			counts, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", launcher))
			if err != nil {
				t.Fatal(err)
			}
			var read, written int64
			if _, err := fmt.Sscanf(string(counts), "rchar: %d\nwchar: %d", &read, &written); err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: the launcher read %d and wrote %d bytes", way, read, written)
			if read+written > size/4 {
				t.Errorf("%s: %d bytes came, and the launcher read %d and wrote %d", way, size, read, written)
			}
		})
	}
}

// atRest runs a command of the shell in a jail, has look look at the launcher when it is done, and ends the jail.
func atRest(tb testing.TB, env []string, command string, look func(launcher int)) {
	tb.Helper()
	cmd := exec.Command(os.Getenv("AGENTJAIL_BIN"), "-p", "../door.toml", "--", "sh", "-c", command+" && echo done && cat")
	cmd.Dir, cmd.Env, cmd.Stderr = env[0][len("PWD="):], env, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	defer func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Error(err)
		}
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "done" {
			look(cmd.Process.Pid)
			return
		}
	}
	tb.Error("the command did not end well")
}

// ownSeconds is the processor time that a process itself has used; proc_pid_stat(5) counts it in hundredths.
func ownSeconds(tb testing.TB, pid int) float64 {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	var user, system float64
	for i, field := range strings.Fields(rest) {
		switch i {
		case 11:
			user, err = strconv.ParseFloat(field, 64)
		case 12:
			system, err = strconv.ParseFloat(field, 64)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return (user + system) / 100
}

// TestMemoryOfAWaitingJail: launcher, gateway and init together keep little of their own while a command waits. Pages of the binary, which
// all jails share and the kernel takes when it wants, are left to `make bench`: how many are mapped at once is the kernel's affair.
func TestMemoryOfAWaitingJail(t *testing.T) {
	const most = 6 << 10 // KiB; a launch takes 5,250, and what is left of it a second later is 4,800
	atRest(t, benchProject(t, ""), "true", func(launcher int) {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		late := time.After(20 * time.Second)
		for {
			sum, names := memory(launcher, "Pss_Anon")
			if len(names) >= 4 && sum <= most && settled(launcher) { // launcher, gateway, init, root's janitor, and the command, which is not counted
				t.Logf("%d KiB: %v", sum, names)
				return
			}
			select {
			case <-tick.C:
			case <-late:
				t.Fatalf("%d KiB, want at most %d: %v", sum, most, names)
			}
		}
	})
}

// settled says whether a process of ours has given back what its launch took: it then asks for small pages of its code (MADV_NOHUGEPAGE,
// "nh" among the flags of proc_pid_smaps(5)), which a kernel without large ones does not show.
func settled(pid int) bool {
	if _, err := os.Stat("/sys/kernel/mm/transparent_hugepage"); err != nil {
		return true
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	code := false
	for line := range strings.Lines(string(text)) {
		switch f := strings.Fields(line); {
		case len(f) > 5 && strings.Contains(f[0], "-"):
			code = f[1] == "r-xp"
		case code && f[0] == "VmFlags:" && slices.Contains(f, "nh"):
			return true
		}
	}
	return false
}

// memory adds up a line of smaps_rollup (proc_pid_smaps(5)), in KiB, over a process and its descendants of agentjail's.
func memory(pid int, key string) (sum int64, names []string) {
	name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	rollup, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range strings.Lines(string(rollup)) {
		if f := strings.Fields(line); f[0] == key+":" && string(name) != "cat\n" && string(name) != "sh\n" {
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
			s, below := memory(n, key)
			sum, names = sum+s, append(names, below...)
		}
	}
	return sum, names
}
