package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// neighbours are stressors of stress-ng(1) that run beside one another in the ordinary tests: what a kernel has little of, what a process
// can make many of, and calls with arguments that make no sense. soak_test.go has the others.
var neighbours = []string{
	"clone", "close", "daemon", "dentry", "enosys", "epoll", "fork", "futex", "get", "inotify", "kill", "mq", "msg", "open",
	"pipe", "procfs", "pthread", "rlimit", "sem-sysv", "shm-sysv", "sigq", "sock", "sockmany", "sockpair", "splice", "sysbadaddr", "udp-flood", "vfork",
	"zombie",
}

// TestHostileNeighbour: a jail in which stress-ng does its worst, and another one of the same user that works.
func TestHostileNeighbour(t *testing.T) {
	beside(t, stress(neighbours, 5))
}

// stress is the command that runs one of each stressor for so many seconds, all at once. What they write goes to the jail's own /tmp.
func stress(names []string, seconds int) string {
	return fmt.Sprintf("stress-ng --oomable --temp-path /tmp --timeout %d --%s 1", seconds, strings.Join(names, " 1 --"))
}

// beside has a jail work while a script of stress-ng runs in another, and afterwards. What it asks for is done, each time, and takes no longer than can
// be told by the load; when stress-ng has ended nothing of its jail is left, and the other one holds what it held before.
func beside(t *testing.T, script string) {
	if os.Getuid() == 0 {
		return // who runs a jail makes no difference here; the ordinary user's part has run this
	}
	env := benchProject(t, mixServer(t))
	j := startCrowd(t, env)
	j.ready()
	slowest := map[string]time.Duration{}
	work := func() (all time.Duration) {
		for _, line := range []string{"turn tunnel.example 4", "turn inspect.example 4", "echo 4", "command"} {
			start := time.Now()
			j.do("%s", line)
			took := time.Since(start)
			slowest[line] = max(slowest[line], took)
			all += took
		}
		return all
	}
	var calm, busy []float64
	for range 20 {
		calm = append(calm, work().Seconds())
	}
	before := j.usage()

	if err := subreaper(); err != nil {
		t.Fatal(err)
	}
	defer unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	report := filepath.Join(t.TempDir(), "report.json")
	var said strings.Builder
	hostile := exec.Command(os.Getenv("AGENTJAIL_BIN"), "--report", report, "--", "sh", "-c", script)
	hostile.Dir, hostile.Env, hostile.Stdout, hostile.Stderr = t.TempDir(), env, &said, &said
	if err := hostile.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hostile.Wait() }()
	most := 0
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				t.Logf("stress-ng ended with %v", err)
			}
			running = false
		default:
			most = max(most, len(children(hostile.Process.Pid)))
			busy = append(busy, work().Seconds())
		}
	}
	t.Logf("work took %.3f s before and %.3f s beside up to %d processes, %d times; at most %v", middle(calm), middle(busy), most, len(busy), slowest)
	// The processors are shared by all that wants to run (sched(7)); that is no wall of a jail's.
	if slow := middle(busy) / middle(calm); slow > 50 {
		t.Errorf("beside stress-ng work takes %.0f times as long", slow)
	}
	if most < 10 || !strings.Contains(said.String(), "completed") {
		t.Errorf("control: %d processes; %s", most, said.String())
	}
	var told struct {
		ExitCode int    `json:"exit_code"`
		EndedBy  string `json:"ended_by"`
	}
	text, err := os.ReadFile(report)
	if err == nil {
		err = json.Unmarshal(text, &told)
	}
	if err != nil || told.EndedBy != "command" || told.ExitCode != hostile.ProcessState.ExitCode() {
		t.Errorf("the report says %+v (%v), and the jail ended with %d", told, err, hostile.ProcessState.ExitCode())
	}
	for _, pid := range children(os.Getpid()) {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); strings.HasPrefix(string(line), "stress-ng") {
			t.Errorf("still there: %d %q", pid, line)
		}
	}
	after := j.until("when stress-ng has ended", func(u usage) bool { return u.descriptors <= before.descriptors+16 })
	t.Logf("the jail beside it: before %v, afterwards %v", before, after)
	if !level(before.memory, after.memory) || after.threads > before.threads+4 {
		t.Errorf("the jail beside it: before %v, afterwards %v", before, after)
	}
	work()
	j.end()
}
