package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// manager is a running systemd: the user's own, or for root the system's. It owns its part of the cgroup tree, so it is asked. The
// other implementation is a test's.
type manager interface {
	// ControlGroup is the manager's own path in the cgroup tree.
	ControlGroup() (string, error)
	// StartScope makes a scope around a process and returns when it stands.
	StartScope(ctx context.Context, name string, pid int, limits []Limit) error
	// KillScope kills every process in a scope; one that is gone is a success.
	KillScope(ctx context.Context, name string) error
	Close()
}

// scopeTimeout bounds a question to systemd. It answers in milliseconds, or it hangs.
const scopeTimeout = 10 * time.Second

// scope is a transient unit that holds the limits (systemd.scope(5)). systemd removes it with its last process.
type scope struct {
	name    string
	manager manager
	mount   string // of cgroup v2

	dir     string // of the scope, once it stands
	watch   *os.File
	watched sync.WaitGroup
	mu      sync.Mutex
	seen    map[string]bool
}

// start makes the scope around the gateway and holds systemd to it: a controller that was not delegated is silently left out.
func (s *scope) start(pid int, limits []Limit) error {
	ctx, cancel := context.WithTimeout(context.Background(), scopeTimeout)
	defer cancel()
	if err := s.manager.StartScope(ctx, s.name, pid, limits); err != nil {
		return fmt.Errorf("ask systemd for %s: %w", s.name, err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return err
	}
	own, ok := ownCgroup(string(b), hierarchy{version: 2})
	if !ok || path.Base(own) != s.name {
		return fmt.Errorf("systemd put the gateway into %q and not into %s", own, s.name)
	}
	s.dir = path.Join(s.mount, own)
	for _, l := range limits {
		for _, set := range (cgroupDir{version: 2}).settings(l) {
			b, err := os.ReadFile(path.Join(s.dir, set.file))
			if err != nil && set.optional == unix.ENOENT {
				continue
			}
			if err != nil || strings.HasPrefix(string(b), "max") {
				return fmt.Errorf("systemd made %s without the limit %s", s.name, l.Name)
			}
		}
	}
	return s.observe()
}

// observe follows the kernel's counters: they vanish with the scope, and that with its last process.
func (s *scope) observe() error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	s.watch, s.seen = os.NewFile(uintptr(fd), "inotify"), make(map[string]bool)
	for _, name := range []string{"memory.events", "pids.events"} {
		_, err := unix.InotifyAddWatch(fd, filepath.Join(s.dir, name), unix.IN_MODIFY)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("watch %s: %w", name, errors.Join(err, s.watch.Close()))
		}
	}
	s.watched.Go(func() {
		for buf := make([]byte, 4096); ; {
			if _, err := s.watch.Read(buf); err != nil {
				return
			}
			s.look()
		}
	})
	return nil
}

func (s *scope) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range (cgroupDir{path: s.dir}).hit() {
		s.seen[name] = true
	}
}

func (s *scope) hit() (hit []string) {
	if s.dir == "" {
		return nil
	}
	s.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.seen {
		hit = append(hit, name)
	}
	return hit
}

func (s *scope) close(ctx context.Context) error {
	defer s.manager.Close()
	var errs []error
	if s.watch != nil {
		errs = append(errs, s.watch.Close())
		s.watched.Wait()
	}
	if s.dir != "" {
		errs = append(errs, s.manager.KillScope(ctx, s.name))
	}
	return errors.Join(errs...)
}

// bus is systemd behind D-Bus.
type bus struct{ conn *systemd.Conn }

// dialManager connects to the systemd that manages this user's processes.
func dialManager(ctx context.Context, h *Host) (manager, error) {
	if _, err := h.FS.Lstat("/run/systemd/system"); err != nil { // sd_booted(3)
		return nil, err
	}
	private := "/run/systemd/private"
	if h.UID != 0 {
		runtime := h.getenv("XDG_RUNTIME_DIR")
		if !path.IsAbs(runtime) {
			runtime = "/run/user/" + strconv.Itoa(h.UID)
		}
		private = path.Join(runtime, "systemd/private")
	}
	// The manager's own socket needs no bus daemon and no Hello; systemctl uses it too.
	conn, err := systemd.NewConnection(func() (*dbus.Conn, error) {
		conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(private), dbus.WithContext(ctx))
		if err != nil {
			return nil, err
		}
		if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(h.UID))}); err != nil {
			conn.Close()
			return nil, err
		}
		return conn, nil
	})
	if err != nil {
		return nil, err
	}
	return bus{conn}, nil
}

func (b bus) ControlGroup() (string, error) {
	text, err := b.conn.GetManagerProperty("ControlGroup")
	if err != nil {
		return "", err
	}
	return strconv.Unquote(text) // a GVariant in its text form
}

func (b bus) StartScope(ctx context.Context, name string, pid int, limits []Limit) error {
	done := make(chan string, 1)
	if _, err := b.conn.StartTransientUnitContext(ctx, name, "fail", scopeProperties(pid, limits), done); err != nil {
		return err
	}
	select {
	case result := <-done:
		if result != "done" {
			return fmt.Errorf("the job ended as %q", result)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// scopeProperties are systemd.resource-control(5)'s, in the types of org.freedesktop.systemd1(5).
func scopeProperties(pid int, limits []Limit) []systemd.Property {
	property := func(name string, value any) systemd.Property {
		return systemd.Property{Name: name, Value: dbus.MakeVariant(value)}
	}
	all := []systemd.Property{
		systemd.PropDescription("agentjail"),
		property("PIDs", []uint32{uint32(pid)}),
		// Without Delegate, systemd stops the whole scope when the kernel has killed one process of it (OOMPolicy).
		property("Delegate", true),
		// A scope that "failed" because of its limits is forgotten too.
		property("CollectMode", "inactive-or-failed"),
	}
	for _, l := range limits {
		switch l.Name {
		case "memory":
			all = append(all, property("MemoryMax", uint64(l.Bytes)), property("MemorySwapMax", uint64(0)))
		case "pids":
			all = append(all, property("TasksMax", uint64(l.Count+ownTasks)))
		case "cpus":
			all = append(all, property("CPUQuotaPerSecUSec", uint64(max(10_000, l.CPUs*1e6)))) // systemd takes whole per cents
		}
	}
	return all
}

func (b bus) KillScope(ctx context.Context, name string) error {
	err := b.conn.KillUnitWithTarget(ctx, name, systemd.All, int32(unix.SIGKILL))
	var e dbus.Error
	if errors.As(err, &e) && (e.Name == "org.freedesktop.systemd1.NoSuchUnit" || e.Name == "org.freedesktop.systemd1.NoSuchProcess") {
		return nil
	}
	return err
}

func (b bus) Close() { b.conn.Close() }
