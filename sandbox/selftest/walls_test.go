package selftest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNoDoor: where the servers themselves stand in the place of the door, what it stops arrives.
func TestNoDoor(t *testing.T) {
	o, _ := options(t)
	g, err := plant()
	if err != nil {
		t.Fatal(err)
	}
	defer g.undo.run()
	o.only = func(a attempt) bool { return a.area == door && a.control == outside }
	o.launch = func(flags []string) []string {
		command, j := asked(t, flags)
		if command[1] != roleAttack {
			return append([]string{"agentjail", "run", "--quiet"}, flags...)
		}
		j.Target.Direct = g.shared.Direct
		return append(command[:2:2], encoded(t, j))
	}
	r, err := run(t.Context(), o, g)
	if err != nil {
		t.Fatal(err)
	}
	if r.Escaped != len(r.Attempts) || r.Escaped < 9 {
		t.Errorf("%d of %d escaped; not: %s", r.Escaped, len(r.Attempts), told(r, Stopped, Inconclusive, Absent))
	}
}

// TestSharedNamespaces: a jail that has one of its namespaces in common with the other finds there what that one keeps apart, and nothing else.
func TestSharedNamespaces(t *testing.T) {
	for name, tt := range map[string]struct{ flags, want []string }{
		"network": {[]string{"-n"}, []string{"other-abstract-socket", "other-address"}},
		"ipc":     {[]string{"-i"}, []string{"other-queue", "other-shared-memory"}},
		"mounts":  {[]string{"-m", "-p"}, []string{"other-dev-shm", "other-home", "other-project", "other-socket", "other-tmp"}}, // -p: /proc is theirs
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := options(t)
			o.only = func(a attempt) bool {
				return strings.HasPrefix(a.name, "other-") && a.area == sessions && !slices.Contains([]string{"other-fake-address", "other-placeholder"}, a.name)
			}
			o.launch = func(flags []string) []string {
				command, j := asked(t, flags)
				if command[1] != roleAttack {
					return append([]string{"agentjail", "run", "--quiet"}, flags...)
				}
				// What the second jail's init is in belongs to a user namespace that the test's user has made, and so may enter (user_namespaces(7)).
				home := filepath.Dir(filepath.Dir(j.Target.Other.Project))
				enter := []string{"/usr/bin/nsenter", "-t", itoa(parent(t, j.Target.Other.Runner.PID)), "-U", "--preserve-credentials"}
				return slices.Concat(enter, tt.flags, []string{"--", "/usr/bin/env", "HOME=" + home}, command)
			}
			r, err := Run(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if name != "mounts" {
				want = append([]string{"other-project"}, want...) // the attack is in no jail, where its own files are the host's
			}
			slices.Sort(want)
			if got := by(r, Escaped); !slices.Equal(got, want) {
				t.Errorf("escaped %q, want %q%s", got, want, told(r, Stopped, Inconclusive))
			}
		})
	}
}

// asked gives the command of a jail's flags and its job.
func asked(t *testing.T, flags []string) ([]string, job) {
	t.Helper()
	command := flags[slices.Index(flags, "--")+1:]
	var j job
	if err := json.Unmarshal([]byte(command[2]), &j); err != nil {
		t.Fatal(err)
	}
	return command, j
}

func encoded(t *testing.T, j job) string {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(proc(pid, "status"))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(l, "PPid:"); ok {
			return atoi(strings.TrimSpace(text))
		}
	}
	t.Fatalf("process %d has no parent", pid)
	return 0
}

// TestJanitor: what a test has planted, and did not remove itself, is removed when its end of the pipe is closed.
func TestJanitor(t *testing.T) {
	dir := t.TempDir()
	before := leftovers(t)
	w, err := hire()
	if err != nil {
		t.Fatal(err)
	}
	g := target{ShmKey: 1<<29 + os.Getpid(), MsgKey: 1<<29 + os.Getpid(), SemaphKey: 1<<29 + os.Getpid(), Queue: Name + "-" + rand.Text()}
	planting := filepath.Join(dir, Name+"-"+rand.Text())
	for _, p := range []planted{{Dir: planting}, {File: filepath.Join(dir, "b")}, {Shm: g.ShmKey}, {Sem: g.SemaphKey}, {Msg: g.MsgKey},
		{Queue: g.Queue}, {File: filepath.Join(dir, "never made")}} {
		if err := w.told(p); err != nil {
			t.Fatal(err)
		}
	}
	var forgotten cleanups // a killed process undoes nothing
	for _, err := range []error{makeSegment(g.ShmKey, "token", &forgotten), makeQueue(g.Queue, &forgotten), makeIPC(&g, &forgotten),
		put(filepath.Join(planting, "b/c"), ""), put(filepath.Join(dir, "b"), "")} {
		if err != nil {
			t.Error(err)
		}
	}
	there := func() bool { // queue, in a process that goes on
		name, err := unix.BytePtrFromString(g.Queue)
		if err != nil {
			t.Fatal(err)
		}
		fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, address(name), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0, 0)
		return errno == 0 && unix.Close(int(fd)) == nil
	}
	if len(leftovers(t)) < len(before)+3 || !there() {
		t.Error("the control: nothing has been made")
	}
	for deadline := time.Now().Add(attemptTime); !heedless(t, w.cmd.Process.Pid); { // it is still being started
		if time.Now().After(deadline) {
			t.Fatal("signals end the janitor")
		}
	}
	for _, s := range stopping {
		if err := w.cmd.Process.Signal(s); err != nil {
			t.Error(err)
		}
	}
	w.dismiss()
	left(t, dir, before)
	if there() {
		t.Error("the queue is left")
	}
}

var stopping = []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM}

// heedless says whether a process ignores the signals that whoever stops a service sends to all of its processes.
func heedless(t *testing.T, pid int) bool {
	t.Helper()
	status, err := os.ReadFile(proc(pid, "status"))
	if err != nil {
		t.Fatal(err)
	}
	var mask uint64
	for l := range strings.Lines(string(status)) {
		fmt.Sscanf(l, "SigIgn: %x", &mask) // any other line changes nothing
	}
	return !slices.ContainsFunc(stopping, func(s unix.Signal) bool { return mask&(1<<(s-1)) == 0 })
}

// TestAbsent: what nobody can reach here is neither stopped nor in doubt, and no reason for an exit status.
func TestAbsent(t *testing.T) {
	refused, done, unready := line{Error: "no"}, line{Done: true}, line{Unready: true}
	for _, tt := range []struct {
		tried, control line
		optional       bool
		want           string
	}{
		{refused, refused, true, Absent}, {refused, refused, false, Inconclusive}, {refused, done, true, Stopped}, {done, refused, true, Escaped},
		{refused, unready, true, Inconclusive}, {unready, refused, true, Inconclusive},
	} {
		r := judge([]attempt{{name: "a", area: kernel, optional: tt.optional}, {name: "b", area: kernel}},
			map[string]line{"a": tt.tried, "b": refused}, map[string]line{"a": tt.control, "b": done})
		if got := r.Attempts[0].Result; got != tt.want || r.Holds() != slices.Contains([]string{Stopped, Absent}, got) {
			t.Errorf("%+v: %s", tt, got)
		}
		if tt.want == Absent && fmt.Sprint(r.Areas()) != "[{kernel 1 0 0 1}]" {
			t.Error(r.Areas())
		}
	}
}
