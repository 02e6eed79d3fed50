package sandbox

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"
)

// fakeManager is a systemd that makes its scope in a directory tree.
type fakeManager struct {
	started []string
	killed  []string
	err     error
}

func (m *fakeManager) ControlGroup() (string, error) { return "/user@1000.service", nil }
func (m *fakeManager) StartScope(_ context.Context, name string, pid int, _ []Limit) error {
	m.started = append(m.started, name+" "+strconv.Itoa(pid))
	return m.err
}
func (m *fakeManager) KillScope(_ context.Context, name string) error {
	m.killed = append(m.killed, name)
	return nil
}
func (m *fakeManager) Close() {}

func (s *scope) saw(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[name]
}

func TestScopeIsHeldToItsLimits(t *testing.T) {
	mount := t.TempDir()
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	own, ok := ownCgroup(string(b), hierarchy{version: 2})
	if !ok {
		own = "/" // no cgroup v2 at all: start refuses, below
	}
	limits := []Limit{explicit("pids", 100)}

	refused := &scope{name: "agentjail-x.scope", mount: mount, manager: &fakeManager{err: errors.New("no")}}
	if err := refused.start(os.Getpid(), limits); err == nil || !strings.Contains(err.Error(), "ask systemd for agentjail-x.scope") {
		t.Errorf("refused = %v", err)
	}
	elsewhere := &scope{name: "agentjail-x.scope", mount: mount, manager: &fakeManager{}}
	if err := elsewhere.start(os.Getpid(), limits); err == nil || !strings.Contains(err.Error(), "not into agentjail-x.scope") {
		t.Errorf("a process that was not moved = %v", err)
	}
	// A scope of the name of our own cgroup stands for one that systemd has made.
	m := &fakeManager{}
	s := &scope{name: filepath.Base(own), mount: mount, manager: m}
	dir := filepath.Join(mount, own)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("pids.max", "max\n")
	write("pids.events", "max 0\n")
	if err := s.start(os.Getpid(), limits); ok && (err == nil || !strings.Contains(err.Error(), "without the limit pids")) {
		t.Errorf("a scope without its limit = %v", err)
	}
	if !ok {
		return
	}
	write("pids.max", "132\n")
	if err := s.start(os.Getpid(), limits); err != nil {
		t.Fatal(err)
	}
	if hit := s.hit(); hit != nil {
		t.Errorf("hit = %v", hit)
	}
	// The kernel counts, and then the scope is gone before anybody asks.
	write("pids.events", "max 3\n")
	for deadline := time.Now().Add(5 * time.Second); !s.saw("pids"); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the counter was not observed")
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if hit := s.hit(); !slices.Equal(hit, []string{"pids"}) {
		t.Errorf("hit after the scope has gone = %v", hit)
	}
	if err := s.close(t.Context()); err != nil || !slices.Equal(m.killed, []string{s.name}) {
		t.Errorf("close = %v, killed %v", err, m.killed)
	}
}

// TestScopeThatWasNotAskedFor: defaults do not end a run because of a broken systemd, and RLIMIT_NPROC takes over.
func TestScopeThatWasNotAskedFor(t *testing.T) {
	limit := explicit("pids", 10)
	for _, asked := range []bool{true, false} {
		limit.Explicit = asked
		c := &cgroup{limits: []Limit{limit}, rest: []Limit{limit}, counting: true, scope: &scope{name: "x", manager: &fakeManager{err: errors.New("no")}}}
		if err := c.Add(os.Getpid()); (err != nil) != asked || c.counting != asked {
			t.Errorf("asked for %v: %v, counting %v", asked, err, c.counting)
		}
	}
}

func TestScopeProperties(t *testing.T) {
	got := map[string]any{}
	for _, p := range scopeProperties(42, []Limit{explicit("memory", 1<<30), explicit("pids", 100), {Name: "cpus", CPUs: 1.5}}) {
		got[p.Name] = p.Value.Value()
	}
	want := map[string]any{"Description": "agentjail", "PIDs": []uint32{42}, "Delegate": true, "CollectMode": "inactive-or-failed",
		"MemoryMax": uint64(1 << 30), "MemorySwapMax": uint64(0), "TasksMax": uint64(132), "CPUQuotaPerSecUSec": uint64(1_500_000)}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// peer is the other end of a D-Bus connection: it lets anybody in, answers the property and each call as told, and then tells that
// the job has ended.
type peer struct {
	failure string // error name of the answer to a call
	result  string // of the job
	unit    chan []any
}

func (p *peer) serve(t *testing.T, ln net.Listener) {
	conn, err := ln.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for line := ""; line != "BEGIN"; {
		text, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(strings.TrimPrefix(text, "\x00"))
		switch {
		case line == "AUTH": // which ways are there?
			conn.Write([]byte("REJECTED EXTERNAL\r\n"))
		case strings.HasPrefix(line, "AUTH EXTERNAL"):
			conn.Write([]byte("OK 1234deadbeef\r\n"))
		case line == "NEGOTIATE_UNIX_FD":
			conn.Write([]byte("ERROR\r\n"))
		}
	}
	for {
		call, err := dbus.DecodeMessage(r)
		if err != nil {
			return
		}
		send := func(kind dbus.Type, headers map[dbus.HeaderField]dbus.Variant, body ...any) {
			m := &dbus.Message{Type: kind, Headers: headers, Body: body}
			if len(body) > 0 {
				m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
			}
			// All have the serial 0, which is not exported: nobody replies to them.
			if err := m.EncodeTo(conn, binary.LittleEndian); err != nil {
				t.Error(err)
			}
		}
		reply := map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(call.Serial())}
		member, _ := call.Headers[dbus.FieldMember].Value().(string)
		switch {
		case member == "Get":
			send(dbus.TypeMethodReply, reply, dbus.MakeVariant("/user.slice/user@1000.service"))
		case p.failure != "":
			reply[dbus.FieldErrorName] = dbus.MakeVariant(p.failure)
			send(dbus.TypeError, reply, "no")
		case member == "StartTransientUnit":
			p.unit <- call.Body
			removed := func(job dbus.ObjectPath, result string) {
				send(dbus.TypeSignal, map[dbus.HeaderField]dbus.Variant{dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath(systemdPath)),
					dbus.FieldInterface: dbus.MakeVariant(systemdManager), dbus.FieldMember: dbus.MakeVariant("JobRemoved")},
					uint32(7), job, "agentjail-x.scope", result)
			}
			removed("/somebody/elses", "failed")
			send(dbus.TypeMethodReply, reply, dbus.ObjectPath("/our/job"))
			removed("/our/job", p.result)
		default:
			send(dbus.TypeMethodReply, reply)
		}
	}
}

func dialPeer(t *testing.T, p *peer) manager {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "private")
	ln, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	p.unit = make(chan []any, 1)
	go p.serve(t, ln)
	m, err := dialBus(t.Context(), socket, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestBus(t *testing.T) {
	limits := []Limit{explicit("pids", 100)}
	t.Run("done", func(t *testing.T) {
		p := &peer{result: "done"}
		m := dialPeer(t, p)
		if own, err := m.ControlGroup(); err != nil || own != "/user.slice/user@1000.service" {
			t.Errorf("ControlGroup = %q, %v", own, err)
		}
		if err := m.StartScope(t.Context(), "agentjail-x.scope", 42, limits); err != nil {
			t.Fatal(err)
		}
		if body := <-p.unit; len(body) != 4 || body[0] != "agentjail-x.scope" || body[1] != "fail" {
			t.Errorf("StartTransientUnit%v", body)
		}
		if err := m.KillScope(t.Context(), "agentjail-x.scope"); err != nil {
			t.Errorf("KillScope = %v", err)
		}
	})
	t.Run("the job fails", func(t *testing.T) {
		if err := dialPeer(t, &peer{result: "failed"}).StartScope(t.Context(), "agentjail-x.scope", 42, limits); err == nil || !strings.Contains(err.Error(), `"failed"`) {
			t.Errorf("StartScope = %v", err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		m := dialPeer(t, &peer{failure: "org.freedesktop.DBus.Error.AccessDenied"})
		if err := m.StartScope(t.Context(), "agentjail-x.scope", 42, limits); err == nil {
			t.Error("StartScope went well")
		}
		if err := m.KillScope(t.Context(), "agentjail-x.scope"); err == nil {
			t.Error("KillScope went well")
		}
	})
	t.Run("gone already", func(t *testing.T) {
		if err := dialPeer(t, &peer{failure: systemdName + ".NoSuchUnit"}).KillScope(t.Context(), "agentjail-x.scope"); err != nil {
			t.Errorf("KillScope = %v", err)
		}
	})
	t.Run("no systemd", func(t *testing.T) {
		if _, err := dialBus(t.Context(), filepath.Join(t.TempDir(), "private"), 1000); err == nil {
			t.Error("connected to nothing")
		}
	})
}
