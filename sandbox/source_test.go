package sandbox

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zalando/go-keyring"
	"golang.org/x/sys/unix"
)

func write(t *testing.T, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// TestFileSource: what was written is what is given, at once; a file that is being written gives what it gave before, and one that is
// gone gives nothing.
func TestFileSource(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f := &fileSource{name: name, pointer: "/k"}
	ask := func(want string) {
		t.Helper()
		got, err := f.value(context.Background())
		if got != want || (err == nil) != (want != "") {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "value") {
			t.Errorf("the error quotes the file: %v", err)
		}
	}
	ask("")
	write(t, name, `{"k":"value1"}`, 0o600)
	ask("value1")
	ask("value1")
	write(t, name+".new", `{"k":"value2"}`, 0o600)
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
	ask("value2")
	write(t, name, "", 0o600) // truncated in place
	ask("value2")
	write(t, name, `{"k":"value3"}`, 0o600)
	ask("value3")
	write(t, name, `{"k":`, 0o600)
	ask("")
	write(t, name, `{"k":"value4"}`, 0o600)
	ask("value4")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	ask("")
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	ask("")
}

func TestCommandSource(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "ask")
	write(t, script, "#!/bin/sh\ncase $1 in\nenv) echo \"$KEY\";; args) shift; printf '%s|' \"$@\";; fail) echo value; echo value >&2; exit 3;; empty) ;; long) yes value | head -c 100000;; dir) pwd;;\n"+
		"terminal) (: </dev/tty) 2>/dev/null && echo one || echo none;; esac\n", 0o700)
	ask := func(args ...string) (string, error) {
		return command{argv: append([]string{script}, args...), dir: dir, env: []string{"KEY=0123456789", "PATH=/usr/bin:/bin"}}.value(context.Background())
	}
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"env"}, "0123456789"}, {[]string{"args", "a b", "$KEY", "; id"}, "a b|$KEY|; id|"}, {[]string{"dir"}, dir}, {[]string{"terminal"}, "none"}} {
		if got, err := ask(c.args...); got != c.want || err != nil {
			t.Errorf("%v: %q, %v", c.args, got, err)
		}
	}
	for _, arg := range []string{"fail", "empty", "long"} {
		if got, err := ask(arg); err == nil || got != "" || strings.Contains(err.Error(), "value") {
			t.Errorf("%s: %q, %v", arg, got, err)
		}
	}
}

// TestCommandThatHangs ends with its caller, and its children with it.
func TestCommandThatHangs(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	started := filepath.Join(dir, "started")
	if err := syscall.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := command{argv: []string{"/bin/sh", "-c", "sleep 1000 & echo $! >started; wait"}, dir: dir, env: []string{"PATH=/usr/bin:/bin"}}.value(ctx)
		done <- err
	}()
	text, err := os.ReadFile(started) // until the script has written it
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(child, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	cancel()
	if err := <-done; err == nil {
		t.Error("no error")
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n != 1 || err != nil { // readable when it has ended
		t.Errorf("the command's child lives on: %v", err)
	}
}

func TestCached(t *testing.T) {
	now := time.Unix(0, 0)
	asked := 0
	c := &cached{of: answers(func() (string, error) { asked++; return "v", nil }), good: time.Minute, now: func() time.Time { return now }}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if v, err := c.value(context.Background()); v != "v" || err != nil {
				t.Error(v, err)
			}
		})
	}
	all.Wait()
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	now = now.Add(time.Minute)
	if _, err := c.value(context.Background()); err != nil || asked != 2 {
		t.Errorf("asked %d times after a minute, %v", asked, err)
	}
}

type answers func() (string, error)

func (a answers) value(context.Context) (string, error) { return a() }

func TestKeyring(t *testing.T) {
	keyring.MockInit()
	if err := keyring.Set("service", "user", "0123456789"); err != nil {
		t.Fatal(err)
	}
	if v, err := (inKeyring{"service", "user"}).value(context.Background()); v != "0123456789" || err != nil {
		t.Error(v, err)
	}
	if v, err := (inKeyring{"service", "nobody"}).value(context.Background()); err == nil || v != "" {
		t.Error(v, err)
	}
}
