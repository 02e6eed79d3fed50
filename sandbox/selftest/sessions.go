package selftest

import (
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func sessionAttempts() []attempt {
	launcher := func(act func(pid int) error) func(*target) error {
		return func(t *target) error { return onProcess(t.Other.Launcher, act) }
	}
	runner := func(act func(pid int) error) func(*target) error {
		return func(t *target) error { return onProcess(t.Other.Runner, act) }
	}
	return defaults([]attempt{
		{name: "records-list", why: "which sessions there were", do: func(t *target) error {
			_, err := os.ReadDir(filepath.Join(t.State, "agentjail/sessions"))
			return err
		}},
		{name: "record-read", why: "what another session did", do: func(t *target) error {
			return opens(filepath.Join(t.Other.Record, "audit.jsonl"), os.O_RDONLY)(t)
		}},
		{name: "record-change", why: "what another session will be said to have done", do: func(t *target) error {
			return opens(filepath.Join(t.Other.Record, "audit.jsonl"), os.O_WRONLY|os.O_APPEND)(t)
		}},
		{name: "control-socket", why: "orders to another session's launcher", do: func(t *target) error {
			return viaDirectory(filepath.Join(t.Other.Record, "control"), func(name string) error { return connects("unix", name) })
		}},
		{name: "launcher-signal", why: "the end of another session", do: launcher(func(pid int) error { return unix.Kill(pid, 0) })},
		{name: "launcher-priority", why: "less processor time for another session", do: launcher(func(pid int) error {
			return renice(pid, 0)
		})},
		{name: "command-list", why: "what runs in another jail", do: func(t *target) error {
			_, err := process{Role: t.Other.Runner.Role, Mark: t.Other.Runner.Mark}.find()
			return err
		}},
		{name: "command-signal", why: "the end of another jail's command", do: runner(func(pid int) error { return unix.Kill(pid, 0) })},
		{name: "command-trace", why: "control of another jail's command", do: runner(seize)},
		{name: "command-files", why: "another jail's files", do: runner(func(pid int) error {
			return opens(proc(pid, "root/tmp"), os.O_RDONLY)(nil)
		})},
		{name: "other-address", control: other, why: "a server in another jail", do: func(t *target) error {
			return talkAs(t, "tcp", net.JoinHostPort("198.18.0.2", itoa(t.Other.Port)))
		}},
		{name: "other-abstract-socket", control: other, why: "a socket in another jail", do: func(t *target) error { return talkAs(t, "unix", "@"+t.Other.Abstract) }},
		{name: "other-socket", control: other, why: "a socket in another jail", do: func(t *target) error { return talkAs(t, "unix", "/tmp/"+t.Other.File+".sock") }},
		{name: "other-tmp", control: other, why: "another jail's temporary files", do: func(t *target) error { return holds("/tmp/"+t.Other.File, t.Other.Token) }},
		{name: "other-home", control: other, why: "another jail's private home", do: func(t *target) error {
			return holds(filepath.Join(os.Getenv("HOME"), t.Other.File), t.Other.Token)
		}},
		{name: "other-dev-shm", control: other, why: "another jail's shared memory", do: func(t *target) error { return holds("/dev/shm/"+t.Other.File, t.Other.Token) }},
		{name: "other-shared-memory", control: other, why: "another jail's shared memory", do: func(t *target) error {
			return segment(t.Other.ShmKey, t.Other.Token)
		}},
		{name: "other-queue", control: other, why: "another jail's messages", do: func(t *target) error { return queue(t.Other.Queue) }},
		{name: "other-project", why: "the project of another session", do: func(t *target) error {
			return holds(filepath.Join(t.Other.Project, ".envrc"), t.Other.Token)
		}},
		{name: "other-fake-address", control: other, why: "a host that another session may reach", do: func(t *target) error {
			if t.Other.Address == "" {
				return ready(errNotTheHosts)
			}
			conn, err := net.DialTimeout("tcp", net.JoinHostPort(t.Other.Address, "80"), dialTime)
			if err != nil {
				return err
			}
			defer conn.Close()
			return ask(conn, "GET / HTTP/1.1\r\nHost: "+closedHost+"\r\n\r\n", t.Token)
		}},
		{name: "other-placeholder", control: other, why: "the secret of another session", do: func(t *target) error {
			if t.Other.Placeholder == "" {
				return ready(errNotTheHosts)
			}
			return secure(keyedHost, keyedHost, "GET / HTTP/1.1\r\nHost: "+keyedHost+"\r\nAuthorization: Bearer "+t.Other.Placeholder+"\r\n\r\n")(t)
		}},
	})
}

// talkAs is talk with a server of the other jail's.
func talkAs(t *target, network, address string) error {
	theirs := *t
	theirs.Token = t.Other.Token
	return talk(&theirs, network, address)
}
