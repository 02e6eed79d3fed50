package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// held makes a cgroup with the limit, or checks that this machine's refusal is a good one and gives nil.
func held(t *testing.T, l Limit) *cgroup {
	t.Helper()
	c, degraded, err := newCgroup(t.Context(), []Limit{l}, "test-"+strconv.Itoa(os.Getpid())+"-"+l.Name, testHost(), Identity{HostUID: os.Getuid()}, false)
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Step != StepCgroup || !strings.Contains(e.Hint, "--allow-degraded limits") {
			t.Fatalf("newCgroup = %#v", err)
		}
		if f, _, _ := gatherFacts(t.Context(), testHost()); len(choose([]string{controllerOf(l.Name)}, f).covers) > 0 {
			t.Fatalf("refused although the machine can: %v", err)
		}
		return nil
	}
	if len(degraded) != 0 {
		t.Fatalf("degraded = %v", degraded)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// gone checks that Close leaves nothing.
func gone(t *testing.T, c *cgroup) {
	t.Helper()
	dirs := c.dirs
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	for _, d := range dirs {
		if _, err := os.Stat(d.path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", d.path, err)
		}
	}
}

func TestMemoryHogIsKilled(t *testing.T) {
	run := func(c *cgroup) error {
		cmd := role("hog")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if c != nil {
			if err := c.Add(cmd.Process.Pid); err != nil {
				t.Fatal(err)
			}
		}
		in.Write([]byte("g"))
		return cmd.Wait()
	}
	if err := run(nil); err != nil {
		t.Fatalf("control: %v", err)
	}
	c := held(t, explicit("memory", hogSize/2))
	if c == nil {
		return
	}
	err := run(c)
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("hog under the limit = %v, want a SIGKILL", err)
	}
	if hit := c.Hit(); len(hit) != 1 || hit[0] != "memory" {
		t.Errorf("hit = %v", hit)
	}
	gone(t, c)
}

// explode runs bomb in attr's namespaces under c and limits and says how many children it got. It lives until the test ends.
func explode(t *testing.T, attr *syscall.SysProcAttr, c *cgroup, limits []rlimit) int {
	t.Helper()
	cmd := role("bomb")
	cmd.SysProcAttr = attr
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
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	if c != nil {
		if err := c.Add(cmd.Process.Pid); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range limits {
		if err := unix.Prlimit(cmd.Process.Pid, l.Resource, &unix.Rlimit{Cur: l.Soft, Max: l.Hard}, nil); err != nil {
			t.Fatal(err)
		}
	}
	in.Write([]byte("g"))
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestForkBombIsBounded(t *testing.T) {
	if n := explode(t, nil, nil, nil); n != bombSize {
		t.Fatalf("control: %d children without a limit", n)
	}
	c := held(t, explicit("pids", 20))
	if c == nil || !c.counting {
		return // TestRlimitBoundsTasksPerJail
	}
	if n := explode(t, nil, c, c.rlimits()); n == 0 || n > 20+ownTasks {
		t.Errorf("%d children under a limit of 20 and %d of our own", n, ownTasks)
	}
	if hit := c.Hit(); len(hit) != 1 || hit[0] != "pids" {
		t.Errorf("hit = %v", hit)
	}
	gone(t, c) // with the bomb still in it
}

// userNamespace is what U1 is to RLIMIT_NPROC: a namespace of an ordinary user, whose tasks are counted by themselves.
func userNamespace() *syscall.SysProcAttr {
	uid := os.Getuid()
	if uid == 0 {
		uid = 65534 // the kernel exempts the host's uid 0
	}
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 1000, HostID: uid, Size: 1}},
		Credential:  &syscall.Credential{Uid: 1000, Gid: 1000, NoSetGroups: true},
	}
}

func TestRlimitBoundsTasksPerJail(t *testing.T) {
	if !countsTasks(diskFiles{}) {
		t.Log("before Linux 5.14 RLIMIT_NPROC is not used")
		if got := rlimits([]Limit{explicit("pids", 30)}); len(got) != 1 {
			t.Errorf("rlimits = %v", got)
		}
		return
	}
	limits := rlimits([]Limit{explicit("pids", 30)})
	if n := explode(t, userNamespace(), nil, nil); n != bombSize {
		t.Fatalf("control: %d children without a limit", n)
	}
	// Each at its limit while the one before still is: they are counted apart, and apart from the user's other processes.
	for i := range 3 {
		if n := explode(t, userNamespace(), nil, limits); n < 10 || n > 30 {
			t.Errorf("jail %d: %d children under a limit of 30", i, n)
		}
	}
	if n := explode(t, userNamespace(), nil, nil); n != bombSize {
		t.Errorf("beside the limited ones: %d children without a limit", n)
	}
}

func TestKilledLauncherLeavesNoCgroup(t *testing.T) {
	cmd := role("launcher")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if line == "none\n" {
		cmd.Wait()
		return // no directory was made on this machine
	}
	var janitor, child int
	var dir string
	if _, err := fmt.Sscan(line, &janitor, &child, &dir); err != nil {
		t.Fatalf("launcher said %q", line)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Fatalf("control: %v", err)
	}
	fd, err := unix.PidfdOpen(janitor, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	// The whole process group, as a terminal or a CI runner does it.
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 {
		t.Fatalf("the janitor does not end: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
}

func TestJanitorKillsWhatIsLeft(t *testing.T) {
	c := held(t, explicit("pids", 64))
	if c == nil || len(c.dirs) == 0 {
		return
	}
	cmd := role("sleeper")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := errors.Join(cmd.Start(), c.Add(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(c.dirs[0].path+"/nested", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.janitor.dismiss(); err != nil {
		t.Errorf("janitor: %v", err)
	}
	c.janitor = nil
	if err := cmd.Wait(); err == nil {
		t.Error("the process in the cgroup ended by itself")
	}
	if _, err := os.Stat(c.dirs[0].path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", c.dirs[0].path, err)
	}
}

func TestNoLimitsNoCgroup(t *testing.T) {
	c, degraded, err := newCgroup(t.Context(), []Limit{explicit("files", 100)}, "test", testHost(), Identity{HostUID: os.Getuid()}, false)
	if err != nil || len(degraded) != 0 || len(c.dirs) != 0 || c.scope != nil {
		t.Fatalf("newCgroup = %+v, %v, %v", c, degraded, err)
	}
	if err := errors.Join(c.Add(os.Getpid()), c.Close()); err != nil || c.Hit() != nil {
		t.Errorf("an empty cgroup = %v, %v", err, c.Hit())
	}
	want := []rlimit{{Resource: unix.RLIMIT_CORE}, {unix.RLIMIT_NOFILE, 100, 100}}
	if got := c.rlimits(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("rlimits = %v, want %v", got, want)
	}
}
