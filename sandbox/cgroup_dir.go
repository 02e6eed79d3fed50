package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupDir is one directory of ours in a cgroup hierarchy.
type cgroupDir struct {
	path        string
	version     int
	controllers []string
}

// ownTasks is how many of the tasks that a cgroup counts may be agentjail's own: the threads of the gateway, and
// init. They come on top of the limit, or a small one would stop the launch.
const ownTasks = 32

// cpuPeriod is the kernel's default, in µs, over which cpus are counted.
const cpuPeriod = 100_000

// setting is one file of a cgroup and what is written to it.
type setting struct {
	file, value string
	optional    unix.Errno // the refusal that is none
}

// settings translates one limit (cgroup-v2.rst, cgroup-v1/memory.rst).
func (d cgroupDir) settings(l Limit) []setting {
	switch {
	case l.Name == "memory" && d.version == 2:
		// There is no memory.swap.max without CONFIG_SWAP.
		return []setting{{file: "memory.max", value: decimal(l.Bytes)}, {file: "memory.swap.max", value: "0", optional: unix.ENOENT}}
	case l.Name == "memory":
		// memsw is memory and swap together; it is there with swapaccount=1 alone.
		return []setting{{file: "memory.limit_in_bytes", value: decimal(l.Bytes)},
			{file: "memory.memsw.limit_in_bytes", value: decimal(l.Bytes), optional: unix.ENOENT}}
	case l.Name == "pids":
		return []setting{{file: "pids.max", value: decimal(l.Count + ownTasks)}}
	case l.Name == "cpus" && d.version == 2:
		return []setting{{file: "cpu.max", value: decimal(cpuQuota(l)) + " " + decimal(cpuPeriod)}}
	case l.Name == "cpus":
		// EINVAL: a cgroup above has less (sched-bwc.rst), and that holds for us too.
		return []setting{{file: "cpu.cfs_period_us", value: decimal(cpuPeriod)},
			{file: "cpu.cfs_quota_us", value: decimal(cpuQuota(l)), optional: unix.EINVAL}}
	}
	return nil
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// cpuQuota is the time in µs per period; the kernel takes no less than 1 ms.
func cpuQuota(l Limit) int64 { return max(1000, int64(l.CPUs*cpuPeriod)) }

// create makes the directory and sets those of the limits that its controllers hold.
func (d cgroupDir) create(limits []Limit) error {
	if err := os.Mkdir(d.path, 0o755); err != nil {
		return err
	}
	return d.set(limits)
}

func (d cgroupDir) set(limits []Limit) error {
	for _, l := range limits {
		if !slices.Contains(d.controllers, controllerOf(l.Name)) {
			continue
		}
		for _, s := range d.settings(l) {
			err := writeFile(filepath.Join(d.path, s.file), s.value)
			if err != nil && !(s.optional != 0 && errors.Is(err, s.optional)) {
				return fmt.Errorf("set limit %s: %w", l.Name, err)
			}
		}
	}
	return nil
}

func (d cgroupDir) add(pid int) error {
	return writeFile(filepath.Join(d.path, "cgroup.procs"), strconv.Itoa(pid))
}

// hit reads the kernel's counters.
func (d cgroupDir) hit() (hit []string) {
	if counter(d.path, "memory.events", "oom_kill") > 0 || counter(d.path, "memory.oom_control", "oom_kill") > 0 {
		hit = append(hit, "memory")
	}
	if counter(d.path, "pids.events", "max") > 0 {
		hit = append(hit, "pids")
	}
	return hit
}

// counter reads one line "KEY NUMBER" of a file of a cgroup; what is not there is 0.
func counter(dir, file, key string) int64 {
	b, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == key {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}

// clearCgroup kills every process in the tree at dir and removes it. A directory that is gone already is a success.
//
// A killed process leaves its cgroup a moment after its descriptor (pidfd_open(2)) says that it is dead, and cgroup v1 has no event
// for an empty cgroup; for that moment rmdir(2) is tried again on a timer, until ctx ends.
func clearCgroup(ctx context.Context, dir string) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		// In this order: nobody forks any more, then everybody dies.
		writeFile(filepath.Join(dir, "pids.max"), "0")
		writeFile(filepath.Join(dir, "cgroup.kill"), "1") // v2, Linux 5.14
		if err := killAll(ctx, dir); err != nil {
			return fmt.Errorf("empty %s: %w", dir, err)
		}
		err := removeTree(dir)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, ctx.Err())
		case <-tick.C:
		}
	}
}

// killAll kills what it finds in the tree at dir and waits for its end.
func killAll(ctx context.Context, dir string) error {
	dirs, err := subdirs(dir)
	if err != nil {
		return err
	}
	for _, d := range append(dirs, dir) {
		for _, pid := range procs(d) {
			if err := killIn(ctx, d, pid); err != nil {
				return err
			}
		}
	}
	return nil
}

// killIn kills pid if it still is in the cgroup once a descriptor holds it: a number alone may by then be another process's.
func killIn(ctx context.Context, dir string, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !slices.Contains(procs(dir), pid) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	wait := -1
	if deadline, ok := ctx.Deadline(); ok {
		wait = int(max(0, time.Until(deadline).Milliseconds()))
	}
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, wait)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return os.NewSyscallError("poll", err)
		case n == 0:
			return context.DeadlineExceeded
		}
		return nil
	}
}

// procs are the processes in one cgroup.
func procs(dir string) (pids []int) {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	for f := range bytes.FieldsSeq(b) {
		if pid, err := strconv.Atoi(string(f)); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// subdirs lists the directories below dir, deepest first.
func subdirs(dir string) (dirs []string, err error) {
	err = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && e.IsDir() && name != dir {
			dirs = append(dirs, name)
		}
		return err
	})
	slices.Reverse(dirs)
	return dirs, err
}

// removeTree removes a cgroup and those below it. Only directories are removed: the files are the kernel's.
func removeTree(dir string) error {
	dirs, err := subdirs(dir)
	if err != nil {
		return err
	}
	for _, d := range append(dirs, dir) {
		if err := unix.Rmdir(d); err != nil && !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "rmdir", Path: d, Err: err}
		}
	}
	return nil
}

// writeFile writes to a file that exists.
func writeFile(name, value string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
