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

// The names of org.freedesktop.systemd1(5).
const (
	systemdName    = "org.freedesktop.systemd1"
	systemdPath    = "/org/freedesktop/systemd1"
	systemdManager = systemdName + ".Manager"
)

// bus is systemd at the other end of a D-Bus connection.
type bus struct {
	conn    *dbus.Conn
	manager dbus.BusObject
	signals chan *dbus.Signal
}

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
	return dialBus(ctx, private, h.UID)
}

// dialBus connects to systemd's own socket: it needs no bus daemon and no Hello. systemctl uses it too.
func dialBus(ctx context.Context, socket string, uid int) (manager, error) {
	conn, err := dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(socket), dbus.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal(strconv.Itoa(uid))}); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	b := bus{conn: conn, manager: conn.Object(systemdName, systemdPath), signals: make(chan *dbus.Signal, 64)}
	conn.Signal(b.signals)
	return b, nil
}

func (b bus) ControlGroup() (string, error) {
	v, err := b.manager.GetProperty(systemdManager + ".ControlGroup")
	if err != nil {
		return "", err
	}
	s, ok := v.Value().(string)
	if !ok {
		return "", fmt.Errorf("systemd's ControlGroup is of type %s", v.Signature())
	}
	return s, nil
}

func (b bus) StartScope(ctx context.Context, name string, pid int, limits []Limit) error {
	type auxiliary struct { // the signature asks for them; nobody uses them
		Name       string
		Properties []property
	}
	var job dbus.ObjectPath
	err := b.manager.CallWithContext(ctx, systemdManager+".StartTransientUnit", 0, name, "fail", scopeProperties(pid, limits), []auxiliary{}).Store(&job)
	if err != nil {
		return err
	}
	// JobRemoved comes after the reply, unasked for: systemd sends it to all its direct connections.
	for {
		select {
		case s, ok := <-b.signals:
			if !ok {
				return errors.New("systemd hung up")
			}
			// id, job, unit, result
			if s.Name != systemdManager+".JobRemoved" || len(s.Body) != 4 || s.Body[1] != job {
				continue
			}
			if s.Body[3] != "done" {
				return fmt.Errorf("the job ended as %q", s.Body[3])
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// property is one property of a unit, in the shape that StartTransientUnit takes: (sv).
type property struct {
	Name  string
	Value dbus.Variant
}

// scopeProperties are systemd.resource-control(5)'s, in the types of org.freedesktop.systemd1(5).
func scopeProperties(pid int, limits []Limit) []property {
	all := []property{
		{"Description", dbus.MakeVariant("agentjail")},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})},
		// Without Delegate, systemd stops the whole scope when the kernel has killed one process of it (OOMPolicy).
		{"Delegate", dbus.MakeVariant(true)},
		// A scope that "failed" because of its limits is forgotten too.
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	for _, l := range limits {
		switch l.Name {
		case "memory":
			all = append(all, property{"MemoryMax", dbus.MakeVariant(uint64(l.Bytes))}, property{"MemorySwapMax", dbus.MakeVariant(uint64(0))})
		case "pids":
			all = append(all, property{"TasksMax", dbus.MakeVariant(uint64(l.Count + ownTasks))})
		case "cpus": // µs per second; systemd takes whole per cents
			all = append(all, property{"CPUQuotaPerSecUSec", dbus.MakeVariant(uint64(max(10_000, l.CPUs*1e6)))})
		}
	}
	return all
}

func (b bus) KillScope(ctx context.Context, name string) error {
	err := b.manager.CallWithContext(ctx, systemdManager+".KillUnit", 0, name, "all", int32(unix.SIGKILL)).Err
	if e, ok := errors.AsType[dbus.Error](err); ok && (e.Name == systemdName+".NoSuchUnit" || e.Name == systemdName+".NoSuchProcess") {
		return nil
	}
	return err
}

func (b bus) Close() { b.conn.Close() }
