package selftest

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// planted is one thing of a test's that outlives the process that made it; one of the fields is set.
type planted struct {
	Dir, File     string
	Queue         string // POSIX
	Shm, Sem, Msg int    // keys (System V)
}

// janitor is a process that removes what the test has planted when the test has ended, by SIGKILL too. It is told of each thing before that is
// made, by a pipe: what is in a pipe when its writer dies is read.
type janitor struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func hire() (*janitor, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{Name, roleJanitor, "{}"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the keys and the end of the caller's terminal are not for it
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	return &janitor{cmd, pipe}, cmd.Start()
}

func (j *janitor) told(p planted) error { return json.NewEncoder(j.pipe).Encode(p) }

// dismiss lets it do its work, and waits for that.
func (j *janitor) dismiss() {
	j.pipe.Close()
	j.cmd.Wait()
}

// clean is that process: it waits for the test's end, whatever else ends: who stops a service sends SIGTERM to all of its processes.
func clean(in io.Reader) error {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	var all []planted
	for d := json.NewDecoder(in); ; {
		var p planted
		if err := d.Decode(&p); err != nil {
			break
		}
		all = append(all, p)
	}
	var failures []error
	for i := len(all) - 1; i >= 0; i-- {
		failures = append(failures, all[i].remove())
	}
	return errors.Join(failures...)
}

func (p planted) remove() error {
	switch {
	case p.Dir != "":
		outlive(p.Dir)
		return os.RemoveAll(p.Dir)
	case p.File != "":
		os.Remove(p.File)
	case p.Queue != "":
		if name, err := unix.BytePtrFromString(p.Queue); err == nil {
			call(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(name)))
		}
	case p.Shm != 0:
		if id, _, errno := unix.Syscall(unix.SYS_SHMGET, uintptr(p.Shm), 0, 0); errno == 0 {
			call(unix.SYS_SHMCTL, id, unix.IPC_RMID, 0)
		}
	case p.Sem != 0:
		if id, _, errno := unix.Syscall(unix.SYS_SEMGET, uintptr(p.Sem), 0, 0); errno == 0 {
			call(unix.SYS_SEMCTL, id, 0, unix.IPC_RMID)
		}
	case p.Msg != 0:
		if id, _, errno := unix.Syscall(unix.SYS_MSGGET, uintptr(p.Msg), 0, 0); errno == 0 {
			call(unix.SYS_MSGCTL, id, unix.IPC_RMID, 0)
		}
	}
	return nil // there is none where the test ended before it made it, or removed it itself
}

// outlive waits until the test's processes are gone, which write into its directory: after a SIGKILL they die by themselves
// (PR_SET_PDEATHSIG), a moment later than the pipe was closed. Somebody else's that only has the name on its command line is not waited for
// to the end.
func outlive(dir string) {
	end := time.Now().Add(attemptTime)
	for time.Now().Before(end) {
		pid := mentioner(dir)
		if pid == 0 {
			return
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // gone
		}
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(time.Until(end).Milliseconds()))
		unix.Close(fd)
	}
}

// mentioner finds a process with the directory on its command line, by its last name, which is random: the rest is written in other ways, in a
// job say. 0: there is none.
func mentioner(dir string) int {
	dir = filepath.Base(dir)
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if pid := atoi(e.Name()); pid > 0 && pid != os.Getpid() {
			if line, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")); err == nil && strings.Contains(string(line), dir) {
				return pid
			}
		}
	}
	return 0
}
