package egress

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rounds is how many pipes full one tunnel moves before the others have their turn.
const rounds = 4

// A tunnel that moved streamBytes in each of streamTurns turns streams: more comes than anybody waits for, a TLS record or so at a time,
// and to look for each takes longer than to carry it. Then run lets others run first (sched_yield(2)) and finds several: a download takes
// a third less processor time, and a tenth less time. For short messages it does not, for who yields on a busy machine is away for
// milliseconds: small requests of 8 clients took four times as long beside three busy loops.
const (
	streamBytes = 8 << 10
	streamTurns = 8
)

// relays carries the bytes of all tunnels with splice(2), from one epoll(7) of its own. Two goroutines and two pipes for each tunnel,
// which is what io.Copy between two connections comes to, take half as long again for small messages: the runtime wakes a thread and
// finds the goroutine for each, and a tunnel holds six descriptors for as long as it is open. Here it holds two; pipes are only held
// by bytes that wait. It is made when the first tunnel is.
type relays struct {
	mu     sync.Mutex
	poll   *os.File // the epoll instance, which the runtime's own poller waits for: that costs no thread
	fd     int
	last   int32
	open   map[int32]*tunnel
	spare  []*splicePipe
	closed bool
	done   chan struct{}
	breaks *breaks
}

// tunnel is two connections whose bytes go from one to the other.
type tunnel struct {
	of               *relays
	id               int32
	client, upstream socket // closed with the tunnel

	urgent atomic.Bool // one of the peers has sent urgent data

	mu       sync.Mutex
	fds      [2]int // the same sockets under descriptors that Go's poller does not know
	up, down flow
	over     bool
	done     chan struct{}
	turns    int // in a row that moved much; run's alone
}

// join makes a tunnel of two connections, which it owns from then on. Nothing flows yet.
func (r *relays) join(client, upstream socket) (*tunnel, error) {
	t := &tunnel{of: r, client: client, upstream: upstream, done: make(chan struct{}), fds: [2]int{-1, -1}}
	var err error
	for i, s := range []socket{client, upstream} {
		if t.fds[i], err = duplicate(s); err != nil {
			t.shut()
			return nil, err
		}
	}
	t.up.from, t.up.to = t.fds[0], t.fds[1]
	t.down.from, t.down.to = t.fds[1], t.fds[0]
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.start(); err != nil {
		t.shut()
		return nil, err
	}
	for r.last++; r.last <= 0 || r.open[r.last] != nil; r.last++ {
		r.last = max(r.last, 0)
	}
	t.id = r.last
	for _, fd := range t.fds {
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET, Fd: t.id}
		if err := unix.EpollCtl(r.fd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			t.shut()
			return nil, fmt.Errorf("epoll: %w", err)
		}
	}
	r.open[t.id] = t
	return t, nil
}

// duplicate gives another descriptor of the socket.
func duplicate(s socket) (int, error) {
	fd := -1
	c, err := s.SyscallConn()
	if err != nil {
		return fd, err
	}
	var failed error
	if err := c.Control(func(own uintptr) { fd, failed = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	return fd, failed
}

// start makes the epoll instance and what waits for it. r.mu is held.
func (r *relays) start() error {
	switch {
	case r.closed:
		return net.ErrClosed
	case r.poll != nil:
		return nil
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // what os.NewFile goes by
		_ = unix.Close(fd)
		return err
	}
	poll := os.NewFile(uintptr(fd), "epoll")
	conn, err := poll.SyscallConn()
	if err != nil {
		_ = poll.Close()
		return err
	}
	r.poll, r.fd, r.open, r.done = poll, fd, map[int32]*tunnel{}, make(chan struct{})
	go r.run(conn)
	return nil
}

// run moves what can be moved until the epoll instance is closed.
func (r *relays) run(conn syscall.RawConn) {
	defer close(r.done)
	events := make([]unix.EpollEvent, 64)
	var again []*tunnel // have more to move than their turn was long
	for {
		n := 0
		err := conn.Read(func(fd uintptr) bool {
			n = wait(fd, events)
			return n != 0 || len(again) > 0
		})
		if err != nil {
			return
		}
		ready := again
		r.mu.Lock()
		for _, e := range events[:n] {
			if t := r.open[e.Fd]; t != nil {
				ready = append(ready, t)
				if e.Events&unix.EPOLLPRI != 0 {
					t.urgent.Store(true)
				}
			}
		}
		r.mu.Unlock()
		again = nil
		streams := false
		for _, t := range ready {
			more, stream := t.turn()
			if more {
				again = append(again, t)
			}
			streams = streams || stream
		}
		if len(again) > 0 {
			r.breaks.take()
		}
		if streams {
			_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
	}
}

// wait gives how many events there are now. A RawSyscall costs the runtime nothing, and this one does not block; so do those below.
func wait(fd uintptr, events []unix.EpollEvent) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// close ends the waiting; the tunnels have ended before.
func (r *relays) close() {
	r.mu.Lock()
	r.closed = true
	poll := r.poll
	r.mu.Unlock()
	if poll == nil {
		return
	}
	_ = poll.Close()
	<-r.done
	r.mu.Lock()
	spare := r.spare
	r.spare = nil // a second close would close whatever has these numbers by then
	r.mu.Unlock()
	for _, p := range spare {
		p.close()
	}
}

// answers lets flow what the server says.
func (t *tunnel) answers() {
	t.mu.Lock()
	t.down.begun = true
	t.mu.Unlock()
	for t.move() { // what came before is no event any more
	}
}

// asks lets flow what the client says; head is what was read of it before.
func (t *tunnel) asks(head []byte) {
	n, err := 0, error(nil)
	if len(head) > 0 {
		n, err = t.upstream.Write(head)
	}
	t.mu.Lock()
	t.up.begun, t.up.bytes = true, int64(n)
	t.up.done, t.up.failed = err != nil, err != nil // what the server said last is still read
	t.mu.Unlock()
	_ = t.client.Close() // nobody uses them any more, and Go's poller is to forget them
	_ = t.upstream.Close()
	for t.move() {
	}
}

// turn is a move, and says also whether the tunnel streams.
func (t *tunnel) turn() (more, stream bool) {
	before := t.both()
	more = t.move()
	return more, t.streams(t.both() - before)
}

// both gives the bytes that went through, in both directions.
func (t *tunnel) both() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.up.bytes + t.down.bytes
}

// streams says whether the tunnel streams, now that a turn moved n bytes. Only run asks.
func (t *tunnel) streams(n int64) bool {
	if n >= streamBytes {
		t.turns++
	} else if n > 0 { // somebody may wait for it, and for the answer
		t.turns = 0
	}
	return t.turns >= streamTurns
}

// move moves what can be moved and says whether there may be more. The end of one direction is passed on as a half-close and leaves
// the other open for as long as it likes; a reset ends both.
func (t *tunnel) move() (more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.urgent.Load() {
		t.up.urgent, t.down.urgent = true, true
	}
	for range rounds {
		if t.over {
			return false
		}
		moved, broken := t.up.move(t.of)
		if !broken {
			var other bool
			other, broken = t.down.move(t.of)
			moved = moved || other
		}
		if broken || t.up.done && t.down.done {
			t.end(broken || t.up.failed || t.down.failed)
			return false
		}
		if !moved {
			return false
		}
	}
	return true
}

// reset ends both connections at once.
func (t *tunnel) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end(true)
}

// end ends the tunnel, with RST where something was cut off. t.mu is held.
func (t *tunnel) end(cut bool) {
	if t.over {
		return
	}
	t.over = true
	t.up.drop()
	t.down.drop()
	if cut {
		for _, fd := range t.fds {
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
	}
	t.of.mu.Lock()
	delete(t.of.open, t.id)
	t.of.mu.Unlock()
	t.shut()
	_ = t.client.Close()
	_ = t.upstream.Close()
	close(t.done)
}

// shut closes the tunnel's own descriptors, which takes them out of epoll's set: no other process has these sockets.
func (t *tunnel) shut() {
	for _, fd := range t.fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// wait gives the bytes that went from the client and to it, when the tunnel has ended, and why if that was up to the door.
func (t *tunnel) wait() (up, down int64, err error) {
	<-t.done
	return t.up.bytes, t.down.bytes, errors.Join(t.up.why, t.down.why)
}
