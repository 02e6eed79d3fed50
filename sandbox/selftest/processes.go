package selftest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

func processAttempts() []attempt {
	bystander := func(act func(pid int, t *target) error) func(*target) error {
		return func(t *target) error { return onProcess(t.Bystander, func(pid int) error { return act(pid, t) }) }
	}
	return defaults([]attempt{
		{name: "process-list", why: "what the user runs", do: func(t *target) error {
			_, err := t.Bystander.find()
			return err
		}},
		{name: "signal-kill", why: "the end of any process of the user's", do: bystander(func(pid int, _ *target) error {
			return unix.Kill(pid, unix.SIGCONT)
		})},
		{name: "signal-queue", why: "the end of any process of the user's", do: bystander(func(pid int, _ *target) error {
			var info [128]byte
			*(*int32)(unsafe.Pointer(&info[8])) = -1 // si_code: SI_QUEUE
			return call(unix.SYS_RT_SIGQUEUEINFO, uintptr(pid), uintptr(unix.SIGCONT), uintptr(unsafe.Pointer(&info)))
		})},
		{name: "signal-thread", why: "the end of any process of the user's", do: bystander(func(pid int, _ *target) error {
			return unix.Tgkill(pid, pid, unix.SIGCONT)
		})},
		{name: "signal-pidfd", why: "the end of any process of the user's", do: bystander(func(pid int, _ *target) error {
			fd, err := unix.PidfdOpen(pid, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.PidfdSendSignal(fd, unix.SIGCONT, nil, 0)
		})},
		{name: "process-environment", why: "the variables of the user's programs, keys among them", do: bystander(func(pid int, t *target) error {
			return holds(proc(pid, "environ"), t.Token)
		})},
		{name: "process-descriptor", why: "a file that another program has open", do: bystander(func(pid int, t *target) error {
			return holds(proc(pid, "fd/3"), t.Token)
		})},
		{name: "process-working-directory", why: "files by way of another process", do: bystander(func(pid int, t *target) error {
			return holds(proc(pid, "cwd/marker"), t.Token)
		})},
		{name: "process-root", why: "the host's file tree by way of another process", do: bystander(func(pid int, t *target) error {
			return holds(proc(pid, "root"+t.Temp), t.Token)
		})},
		{name: "process-memory-map", why: "where things lie in another process", do: bystander(func(pid int, _ *target) error {
			return holds(proc(pid, "maps"), "-")
		})},
		{name: "process-memory-file", why: "what another process has in memory", do: bystander(func(pid int, t *target) error {
			f, err := os.Open(proc(pid, "mem"))
			if err != nil {
				return err
			}
			defer f.Close()
			return remembers(t, func(b []byte) error {
				_, err := f.ReadAt(b, int64(t.Bystander.Address))
				return err
			})
		})},
		{name: "process-memory-call", why: "what another process has in memory", do: bystander(func(pid int, t *target) error {
			return remembers(t, func(b []byte) error {
				_, err := unix.ProcessVMReadv(pid, []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}},
					[]unix.RemoteIovec{{Base: t.Bystander.Address, Len: len(b)}}, 0)
				return err
			})
		})},
		{name: "trace", why: "control of another process", do: bystander(func(pid int, _ *target) error { return seize(pid) })},
		{name: "priority", why: "a slower process of the user's", do: bystander(func(pid int, _ *target) error {
			return renice(pid, 1)
		})},
		{name: "out-of-memory-score", why: "another process as the one that the kernel ends first", do: bystander(func(pid int, _ *target) error {
			return os.WriteFile(proc(pid, "oom_score_adj"), []byte("500"), 0)
		})},
		{name: "limits-of-another", why: "a limit on processor time that ends another process", do: bystander(func(pid int, _ *target) error {
			return unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
		})},
		{name: "init-trace", control: namespace, why: "control of the jail's PID 1", do: func(*target) error { return seize(1) }},
		{name: "init-memory", control: namespace, why: "code in the jail's PID 1", do: opens("/proc/1/mem", os.O_RDWR)},
		{name: "init-environment", control: namespace, why: "what the jail's PID 1 was told", do: opens("/proc/1/environ", os.O_RDONLY)},
		{name: "init-working-directory", control: namespace, why: "files by way of the jail's PID 1", do: opens("/proc/1/cwd/.", os.O_RDONLY)},
		{name: "init-program", control: namespace, why: "the launcher's binary (CVE-2019-5736)", do: opens("/proc/1/exe", os.O_RDONLY)},
		{name: "init-descriptors", control: namespace, why: "the launcher's socket", do: initDescriptors},
		{name: "init-namespaces", control: namespace, why: "the user namespace above", do: opens("/proc/1/ns/user", os.O_RDONLY)},
		{name: "init-limits", control: namespace, why: "a limit on processor time that ends the jail's PID 1", do: func(*target) error {
			return unix.Prlimit(1, unix.RLIMIT_CORE, nil, &unix.Rlimit{})
		}},
		{name: "capabilities", control: namespace, why: "any of root's rights", do: func(*target) error { return capabilities("CapEff", "CapPrm") }},
		{name: "capabilities-to-come", why: "root's rights by way of a program that has them", do: func(*target) error { return capabilities("CapBnd") }},
		{name: "new-privileges", why: "rights from set-id programs", do: func(*target) error {
			set, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
			if err == nil && set != 0 {
				err = errors.New("no_new_privs is set")
			}
			return err
		}},
		{name: "become-root", control: namespace, why: "the user id 0", do: func(*target) error { return unix.Setuid(0) }},
		{name: "environment", why: "a key in a variable", do: func(t *target) error {
			if !t.isKey(os.Getenv(keyVariable)) {
				return errors.New("the variable does not hold the key")
			}
			return nil
		}},
		{name: "shared-memory", why: "memory that other programs share", do: func(t *target) error { return segment(t.ShmKey, t.Token) }},
		{name: "semaphores", why: "the locks of other programs", do: func(t *target) error {
			return call(unix.SYS_SEMGET, uintptr(t.SemaphKey), 0, 0)
		}},
		{name: "message-queue", why: "messages between other programs", do: func(t *target) error {
			return call(unix.SYS_MSGGET, uintptr(t.MsgKey), 0)
		}},
		{name: "posix-queue", why: "messages between other programs", do: func(t *target) error { return queue(t.Queue) }},
	})
}

func proc(pid int, name string) string { return fmt.Sprintf("/proc/%d/%s", pid, name) }

// onProcess acts on p by the number that the host knows it by. Where another process has that number, an act that succeeds has hit the
// jail's own.
func onProcess(p process, act func(pid int) error) error {
	err := act(p.PID)
	if err == nil {
		err = p.check()
	}
	return err
}

func opens(name string, flags int) func(*target) error {
	return func(*target) error {
		f, err := os.OpenFile(name, flags, 0)
		if err == nil {
			f.Close()
		}
		return err
	}
}

// initDescriptors opens the first descriptor that PID 1 has.
func initDescriptors(t *target) error {
	var err error
	for fd := range 16 {
		if err = opens(proc(1, "fd/"+itoa(fd)), os.O_RDONLY)(t); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return err
}

// remembers is nil when read finds the token in the bystander's memory.
func remembers(t *target, read func([]byte) error) error {
	b := make([]byte, len(t.Token))
	err := read(b)
	if err == nil && !bytes.Equal(b, []byte(t.Token)) {
		err = errNotTheHosts
	}
	return err
}

// renice makes a process slower by that much than this one: an ordinary user's may not become faster, and the self-test may run under
// nice(1).
func renice(pid, by int) error {
	priority, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 - nice: getpriority(2), "C library/kernel differences"
	if err != nil {
		return ready(err)
	}
	return unix.Setpriority(unix.PRIO_PROCESS, pid, 20-priority+by) // the kernel takes what is above 19 for 19
}

const ptraceSeize = 0x4206 // PTRACE_SEIZE; the tracee is let go when we end

func seize(pid int) error { return call(unix.SYS_PTRACE, ptraceSeize, uintptr(pid)) }

// capabilities is nil when this process has any in one of the sets.
func capabilities(sets ...string) error {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ready(err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		for _, s := range sets {
			if name == s && strings.Trim(strings.TrimSpace(value), "0") != "" {
				return nil
			}
		}
	}
	return fmt.Errorf("%s: none", strings.Join(sets, ", "))
}

// segment is nil when the System V segment of that key holds the token.
func segment(key int, token string) error {
	id, err := unix.SysvShmGet(key, 0, 0)
	if err != nil {
		return err
	}
	data, err := unix.SysvShmAttach(id, 0, unix.SHM_RDONLY)
	if err != nil {
		return err
	}
	defer unix.SysvShmDetach(data)
	if !bytes.HasPrefix(data, []byte(token)) {
		return errNotTheHosts
	}
	return nil
}

// queue is nil when the POSIX queue of that name is there (mq_open(3); the call takes the name without its slash).
func queue(name string) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return ready(err)
	}
	return call(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), unix.O_RDONLY, 0, 0)
}
