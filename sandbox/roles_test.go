package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// roles are the processes that these tests start. Each waits for a byte on stdin, by which time it is under its limits.
func roles() map[string]func() {
	return map[string]func(){"hog": hog, "bomb": bomb, "sleeper": sleeper, "launcher": launcher, "patient": patient, "pid1": pid1}
}

const hogSize = 96 << 20

// hog touches hogSize bytes.
func hog() {
	io.ReadFull(os.Stdin, make([]byte, 1))
	b, err := unix.Mmap(-1, 0, hogSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_POPULATE)
	if err != nil {
		os.Exit(3)
	}
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	os.Exit(0)
}

// bombSize is the most processes that bomb starts: the machine is not ours alone.
const bombSize = 120

// bomb starts bombSize sleepers and prints how many it got.
func bomb() {
	io.ReadFull(os.Stdin, make([]byte, 1))
	n, parent := 0, uintptr(os.Getpid())
	for range bombSize {
		// The child waits for a death that its parent's end brings, and needs no thread of its own.
		pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
		if pid == 0 && errno == 0 {
			syscall.RawSyscall(syscall.SYS_PRCTL, syscall.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0)
			for { // while the parent lives: it may have died before that was said
				if now, _, _ := syscall.RawSyscall(syscall.SYS_GETPPID, 0, 0, 0); now != parent {
					syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
				}
				syscall.RawSyscall6(syscall.SYS_PPOLL, 0, 0, 0, 0, 0, 0) // pause(2), which arm64 does not have
			}
		}
		if errno != 0 {
			break
		}
		n++
	}
	fmt.Println(n)
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func sleeper() {
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// launcher makes a cgroup, says where and who its janitor is, and waits to be killed.
func launcher() {
	c, _, err := newCgroup(context.Background(), []Limit{explicit("pids", 64)}, "test-kill-"+strconv.Itoa(os.Getpid()), testHost(), Identity{HostUID: os.Getuid()}, true)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if c.janitor == nil {
		fmt.Println("none")
		os.Exit(0)
	}
	child := role("sleeper")
	child.Stdin = os.Stdin
	if err := errors.Join(child.Start(), c.Add(child.Process.Pid)); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(c.janitor.cmd.Process.Pid, child.Process.Pid, c.dirs[0].path)
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

func role(name string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), roleEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func testHost() *Host {
	return &Host{UID: os.Getuid(), User: "tester", Env: os.Environ(), FS: diskFiles{}}
}

func explicit(name string, n int64) Limit {
	l := Limit{Name: name, Explicit: true, Why: "--limit"}
	switch name {
	case "memory":
		l.Bytes = n
	case "cpus":
		l.CPUs = float64(n)
	default:
		l.Count = n
	}
	return l
}
