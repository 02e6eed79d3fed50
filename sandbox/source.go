package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/zalando/go-keyring"
	"golang.org/x/sys/unix"
)

// source is where a secret's value comes from. It is asked for each request and may be asked from many goroutines at once. No error
// holds any of the value.
type source interface {
	value(ctx context.Context) (string, error)
}

// Bounds on the sources that somebody else's program serves.
const (
	sourceTimeout = 30 * time.Second // a password manager may ask a person
	maxSourceOut  = 64 << 10         // bytes
)

// newSource makes the source of a planned secret.
func newSource(s *Secret, h *Host, now func() time.Time) source {
	switch s.source.Kind {
	case "env":
		return callersVar(h.getenv(s.source.Name))
	case "file":
		return &fileSource{name: s.source.Name, pointer: s.Pointer}
	case "cmd":
		return &cached{of: command{argv: s.source.Argv, dir: h.Home, env: h.Env}, good: s.Cache, now: now}
	}
	return &cached{of: inKeyring{service: s.source.Name, user: s.source.User}, good: s.Cache, now: now}
}

// callersVar is a variable of the caller's: it cannot change while the launcher lives.
type callersVar string

func (f callersVar) value(context.Context) (string, error) {
	if f == "" {
		return "", errors.New("the variable is not set")
	}
	return string(f), nil
}

// fileSource reads a file again when it has changed: a login that is refreshed outside is fresh inside at once.
type fileSource struct {
	name, pointer string

	mu    sync.Mutex
	stamp stamp
	last  string
}

// stamp tells one content of a file from the next.
type stamp struct {
	dev, ino     uint64
	size         int64
	mtime, ctime syscall.Timespec
}

func (f *fileSource) value(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// O_NONBLOCK: a FIFO in the file's place must not hold up every request.
	file, err := os.OpenFile(f.name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() || info.Size() > maxCredential {
		return "", fmt.Errorf("%s is no file that could hold a credential", f.name)
	}
	now := stamp{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}
	if f.last != "" && now == f.stamp {
		return f.last, nil
	}
	data, err := io.ReadAll(io.LimitReader(file, maxCredential))
	if err != nil {
		return "", err
	}
	v, err := pick(data, f.pointer)
	if err != nil && f.last != "" && len(data) == 0 {
		return f.last, nil // somebody is writing it: truncated, and not yet filled
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", f.name, err)
	}
	f.stamp, f.last = now, v
	return v, nil
}

// cached asks another source when its answer has become too old. Whoever asks in the meantime waits for the one that is under way.
type cached struct {
	of   source
	good time.Duration
	now  func() time.Time

	mu   sync.Mutex
	last string
	at   time.Time
}

func (c *cached) value(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last != "" && c.now().Sub(c.at) < c.good {
		return c.last, nil
	}
	v, err := c.of.value(ctx)
	if err != nil {
		return "", err
	}
	c.last, c.at = v, c.now()
	return v, nil
}

// command asks a program, with the caller's environment and without a shell. It has no terminal and no input: what wants to ask a
// person has to have a window of its own.
type command struct {
	argv []string
	dir  string
	env  []string
}

func (c command) value(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	out := &bounded{max: maxSourceOut}
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout = c.dir, c.env, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // the whole session
	cmd.WaitDelay = time.Second
	name := filepath.Base(c.argv[0])
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("%s: no answer: %w", name, context.Cause(ctx))
		}
		return "", fmt.Errorf("%s: %w; run it by hand to see why", name, err) // what it printed may be the value
	}
	if out.cut {
		return "", fmt.Errorf("%s: more than %d bytes of answer", name, maxSourceOut)
	}
	v := strings.TrimRight(out.String(), "\r\n")
	if v == "" {
		return "", fmt.Errorf("%s: an empty answer", name)
	}
	return v, nil
}

// bounded keeps the first bytes of what is written to it.
type bounded struct {
	bytes.Buffer
	max int
	cut bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.max {
		b.cut = true
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// ReadFrom would be taken instead of Write, and keep everything.
func (b *bounded) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{b}, r) }

// inKeyring asks the Secret Service of the caller's desktop (https://specifications.freedesktop.org/secret-service/).
type inKeyring struct{ service, user string }

func (k inKeyring) value(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	type answer struct {
		value string
		err   error
	}
	got := make(chan answer, 1)
	go func() { // the library has no context: a person who does not unlock the keyring is waited for there alone
		v, err := keyring.Get(k.service, k.user)
		got <- answer{v, err}
	}()
	select {
	case a := <-got:
		if a.err != nil {
			return "", fmt.Errorf("keyring: %s of %s: %w", k.user, k.service, a.err)
		}
		return a.value, nil
	case <-ctx.Done():
		return "", fmt.Errorf("keyring: %s of %s: no answer: %w", k.user, k.service, context.Cause(ctx))
	}
}
