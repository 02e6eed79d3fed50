package selftest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// cleanups are undone in the opposite order.
type cleanups []func()

func (c *cleanups) add(f func()) { *c = append(*c, f) }

func (c *cleanups) run() {
	for i := len(*c) - 1; i >= 0; i-- {
		(*c)[i]()
	}
	*c = nil
}

// own makes what the second jail's command has, and finds out what the door gave it.
func own(t *target) (stop func(), err error) {
	unix.Prctl(0x59616d61, ^uintptr(0), 0, 0, 0) // see bystand
	var undo cleanups
	defer func() {
		if err != nil {
			undo.run()
		}
	}()
	s, o := &server{token: t.Other.Token}, &t.Other
	undo.add(s.close)
	for network, addr := range map[string]string{"tcp": fmt.Sprintf("0.0.0.0:%d", o.Port), "unix": "/tmp/" + o.File + ".sock"} {
		if _, err := s.listen(network, addr, nil); err != nil {
			return nil, err
		}
	}
	if _, err := s.listen("unix", "@"+o.Abstract, nil); err != nil {
		return nil, err
	}
	for _, dir := range []string{"/tmp", os.Getenv("HOME"), "/dev/shm"} {
		if err := os.WriteFile(filepath.Join(dir, o.File), []byte(o.Token), 0o600); err != nil {
			return nil, err
		}
	}
	if err := makeSegment(o.ShmKey, o.Token, &undo); err != nil {
		return nil, err
	}
	if err := makeQueue(o.Queue, &undo); err != nil {
		return nil, err
	}
	o.Placeholder = os.Getenv(keyVariable)
	o.Address, err = resolve(closedHost)
	return undo.run, err
}

// makeSegment makes a System V shared memory segment that begins with the token.
func makeSegment(key int, token string, undo *cleanups) error {
	id, err := unix.SysvShmGet(key, len(token), unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	if err != nil {
		return os.NewSyscallError("shmget", err)
	}
	undo.add(func() { unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
	data, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		return os.NewSyscallError("shmat", err)
	}
	copy(data, token)
	return os.NewSyscallError("shmdt", unix.SysvShmDetach(data))
}

// makeQueue makes a POSIX message queue.
func makeQueue(name string, undo *cleanups) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	fd, _, errno := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(p)), unix.O_CREAT|unix.O_EXCL|unix.O_RDWR, 0o600, 0, 0, 0)
	if errno != 0 {
		return os.NewSyscallError("mq_open", errno)
	}
	undo.add(func() { call(unix.SYS_MQ_UNLINK, uintptr(unsafe.Pointer(p))) })
	return unix.Close(int(fd))
}

// makeIPC makes the other System V objects.
func makeIPC(t *target, undo *cleanups) error {
	queue, _, errno := unix.Syscall(unix.SYS_MSGGET, uintptr(t.MsgKey), unix.IPC_CREAT|unix.IPC_EXCL|0o600, 0)
	if errno != 0 {
		return os.NewSyscallError("msgget", errno)
	}
	undo.add(func() { call(unix.SYS_MSGCTL, queue, unix.IPC_RMID, 0) })
	set, _, errno := unix.Syscall(unix.SYS_SEMGET, uintptr(t.SemaphKey), 1, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	if errno != 0 {
		return os.NewSyscallError("semget", errno)
	}
	undo.add(func() { call(unix.SYS_SEMCTL, set, 0, unix.IPC_RMID) })
	return nil
}

// rule makes a place where nothing is refused to the root of a user namespace, who this process is: its own /proc, and a network in which
// every address is its own and answers.
func rule(t *target) (stop func(), err error) {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return nil, os.NewSyscallError("mount /", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return nil, os.NewSyscallError("mount /proc", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return nil, err
	}
	s := &server{token: t.Token}
	wilds := []string{"0.0.0.0"}
	for _, all := range []string{"0.0.0.0/0", "::/0"} { // AnyIP: ip-route(8), "local"
		to, err := netlink.ParseIPNet(all)
		if err != nil {
			return nil, err
		}
		err = netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: to, Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL,
			Scope: netlink.SCOPE_HOST})
		if err != nil && all == "::/0" { // a machine without IPv6: the controls say so
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", all, err)
		}
		if all == "::/0" {
			wilds = append(wilds, "[::]")
		}
	}
	for _, port := range []string{"22", "53", "80", "443"} {
		for _, wild := range wilds {
			network := map[bool]string{true: "tcp4", false: "tcp6"}[wild == "0.0.0.0"]
			if _, err := s.listen(network, wild+":"+port, nil); err != nil {
				return nil, errors.Join(err, closed(s))
			}
		}
	}
	if _, err := s.listenPacket("udp4", "0.0.0.0:53"); err != nil {
		return nil, errors.Join(err, closed(s))
	}
	return s.close, nil
}

func closed(s *server) error {
	s.close()
	return nil
}
