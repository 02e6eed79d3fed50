package integration

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal runs a command on a terminal of its own and plays a script to it, one act a line:
//
//	see REGEXP     waits until what came since the last see holds it
//	type TEXT      sends the text; \r, \n, \t, \e, \xNN as in Go, ^C and so on are written \x03
//	size ROWS COLS changes the window and lets the kernel tell the foreground job (SIGWINCH)
//	hangup         closes the terminal
//
// When the script ends, the command has ten seconds to end, with status 0. What the terminal showed goes to stdout.
func terminal(args []string) error {
	script, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer script.Close()
	master, slave, err := openPTY()
	if err != nil {
		return err
	}
	defer master.Close()
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	slave.Close()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	screen := make(chan []byte, 64)
	go func() {
		defer close(screen)
		for {
			piece := make([]byte, 4096)
			n, err := master.Read(piece)
			if n > 0 {
				screen <- piece[:n]
			}
			if err != nil { // EIO: the last descriptor of the other side was closed
				return
			}
		}
	}()
	p := &player{master: master, screen: screen}
	lines := bufio.NewScanner(script)
	for n := 1; lines.Scan(); n++ {
		act, rest, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if act == "" || strings.HasPrefix(act, "#") {
			continue
		}
		if err := p.play(act, rest); err != nil {
			endSession(cmd.Process.Pid)
			return fmt.Errorf("%s:%d: %s %s: %w\nwhole screen:\n%s", args[0], n, act, rest, err, p.all.String())
		}
	}
	select {
	case err = <-done:
		if p.hungUp {
			err = ended(err) // by SIGHUP, most likely
		}
	case <-time.After(10 * time.Second):
		endSession(cmd.Process.Pid)
		err = errors.New("still running")
	}
	// What is still on its way ends with EIO, unless somebody who stayed behind holds the terminal.
	master.SetReadDeadline(time.Now().Add(time.Second))
	for piece := range screen {
		p.all.Write(piece)
	}
	fmt.Print(p.all.String())
	return err
}

// endSession kills all that a failed script has running: a shell's loop is not the leader, and would go on for ever.
func endSession(leader int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if sid, err := unix.Getsid(pid); err == nil && sid == leader {
			unix.Kill(pid, unix.SIGKILL)
		}
	}
}

type player struct {
	master *os.File
	screen <-chan []byte
	fresh  []byte // since the last see
	all    strings.Builder
	hungUp bool
}

func (p *player) play(act, rest string) error {
	switch act {
	case "type":
		text, err := strconv.Unquote(`"` + strings.ReplaceAll(rest, `\e`, `\x1b`) + `"`)
		if err != nil {
			return err
		}
		_, err = p.master.WriteString(text)
		return err
	case "size":
		var size unix.Winsize
		if _, err := fmt.Sscan(rest, &size.Row, &size.Col); err != nil {
			return err
		}
		return unix.IoctlSetWinsize(int(p.master.Fd()), unix.TIOCSWINSZ, &size)
	case "hangup":
		p.hungUp = true
		return p.master.Close()
	case "see":
		pattern, err := regexp.Compile(rest)
		if err != nil {
			return err
		}
		late := time.After(20 * time.Second)
		for {
			if at := pattern.FindIndex(p.fresh); at != nil {
				p.fresh = p.fresh[at[1]:]
				return nil
			}
			select {
			case piece, ok := <-p.screen:
				if !ok {
					return errors.New("never seen: the terminal was closed")
				}
				p.all.Write(piece)
				p.fresh = append(p.fresh, piece...)
			case <-late:
				return errors.New("not seen in 20 seconds")
			}
		}
	}
	return errors.New("no such act")
}

// openPTY gives both sides of a new terminal of 24 rows and 80 columns, pty(7).
func openPTY() (master, slave *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	master = os.NewFile(uintptr(fd), "/dev/ptmx") // non-blocking: its reads have deadlines
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("number of terminal: %w", err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	return master, slave, unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
}

// A script that fails leaves nothing running that it has started, be it in the background of a shell.
func TestFailedScriptsEnd(t *testing.T) {
	script := filepath.Join(t.TempDir(), "fails.play")
	if err := os.WriteFile(script, []byte(`type while :; do sleep 0.2; done & echo $! >pid; echo on''ward\r
see onward
wobble
`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("terminal", script, "sh", "-i")
	cmd.Dir = filepath.Dir(script)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "wobble") {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(cmd.Dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	loop, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it is gone
	}
	defer unix.Close(loop)
	// What was killed may be on its way.
	n, err := 0, error(unix.EINTR)
	for err == unix.EINTR {
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(loop), Events: unix.POLLIN}}, 10_000)
	}
	if n != 1 || err != nil {
		unix.PidfdSendSignal(loop, unix.SIGKILL, nil, 0)
		t.Errorf("the loop goes on: %d, %v", n, err)
	}
}
