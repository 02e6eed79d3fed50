package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// janitorName is the janitor's argv[0].
const janitorName = "agentjail-janitor"

// reexecJanitor does the janitor's work when this process is one, and then does not return.
func reexecJanitor() {
	if os.Args[0] == janitorName {
		os.Exit(janitorMain())
	}
}

// janitor is a process of ours that outlives the launcher by a moment: a directory in a cgroup hierarchy is the one thing that the
// kernel does not take away with the last process. It holds the read end of a pipe; when the launcher has ended, in whatever way, it
// reads the end of file, removes the directories and ends too.
type janitor struct {
	cmd  *exec.Cmd
	pipe *os.File // held open by this process alone; never written to
}

// startJanitor is called before the directories exist.
func startJanitor(dirs []cgroupDir) (*janitor, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	args := []string{janitorName}
	for _, d := range dirs {
		args = append(args, d.path)
	}
	cmd := &exec.Cmd{
		Path:       "/proc/self/exe", // also when the binary has been replaced by an update
		Args:       args,
		Env:        []string{},
		Dir:        "/",
		ExtraFiles: []*os.File{r},
		// A session of its own: a kill of the launcher's process group, and the terminal's Ctrl-C, pass it by.
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return &janitor{cmd: cmd, pipe: w}, nil
}

// dismiss ends the janitor, who tries the directories once more.
func (j *janitor) dismiss() error {
	return errors.Join(j.pipe.Close(), j.cmd.Wait())
}

// janitorMain is the janitor: descriptor 3 is the pipe, its arguments are the directories. It returns its exit status.
func janitorMain() int {
	if _, err := io.Copy(io.Discard, os.NewFile(3, "launcher")); err != nil {
		return exitFailed // started by hand
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	status := 0
	for _, dir := range os.Args[1:] {
		if err := clearCgroup(ctx, dir); err != nil {
			status = exitFailed
		}
	}
	return status
}
