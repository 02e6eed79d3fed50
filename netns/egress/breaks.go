package egress

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// breaks are what those who carry much take, so that the others are heard. Go's scheduler asks the network when it has nobody to run, and
// else every 10 ms: with one processor, which is all that a door has on two cores, a body that is always there keeps it to itself.
// Beside a download in a tunnel one inspected event in 20 was 40 to 55 ms late or more. With breaks these are 13 to 17, without a door 8.
//
// There is no way to ask the network for others. But who waits for a descriptor that is ready at once is run again after it was asked.
type breaks struct {
	began time.Time
	last  atomic.Int64 // end of the last, or when none was needed; a time.Duration since began
	mu    sync.Mutex   // held by who takes one: the others wait, too
	busy  []metrics.Sample
	file  *os.File // eventfd(2): each write is an edge for epoll(7)
	conn  syscall.RawConn
}

const breakEvery = time.Millisecond

func newBreaks() (*breaks, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	b := &breaks{began: time.Now(), file: os.NewFile(uintptr(fd), "eventfd"), busy: []metrics.Sample{{Name: "/sched/goroutines/running:goroutines"}}}
	if b.conn, err = b.file.SyscallConn(); err != nil {
		_ = b.file.Close()
		return nil, err
	}
	return b, nil
}

// take is called by who has just moved much. It returns at once where some processor has nobody to run: that one waits for the network.
func (b *breaks) take() {
	if !b.due() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.due() {
		return
	}
	defer func() { b.last.Store(int64(time.Since(b.began))) }()
	if all := runtime.GOMAXPROCS(0); all > 1 {
		if metrics.Read(b.busy); b.busy[0].Value.Uint64() < uint64(all) {
			return
		}
	}
	asked := false
	_ = b.conn.Read(func(fd uintptr) bool { // an error: the door is closed
		if !asked {
			asked = true
			_, err := unix.Write(int(fd), binary.NativeEndian.AppendUint64(nil, 1))
			return err != nil
		}
		return true
	})
	runtime.Gosched() // the last that is ready is the first that runs
}

func (b *breaks) due() bool { return time.Since(b.began)-time.Duration(b.last.Load()) >= breakEvery }

func (b *breaks) close() { _ = b.file.Close() }
