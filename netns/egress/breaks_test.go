package egress

import (
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// taken gives how many breaks were taken since it was asked last.
func (b *breaks) taken(t *testing.T) uint64 {
	t.Helper()
	var count [8]byte
	var err error
	if e := b.conn.Control(func(fd uintptr) { _, err = unix.Read(int(fd), count[:]) }); e != nil || err != nil && err != unix.EAGAIN {
		t.Fatal(e, err)
	}
	return binary.NativeEndian.Uint64(count[:])
}

// TestBreakIsForOthers: those whom the network has something for run while one breaks, and before it goes on.
func TestBreakIsForOthers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b, err := newBreaks()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	const rounds = 40
	before, after := 0, 0
	for range rounds {
		from, to := tcpPair(t)
		var heard atomic.Bool
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = to.Read(make([]byte, 1))
			heard.Store(true)
		}()
		runtime.Gosched() // it waits
		if _, err := from.Write([]byte{0}); err != nil {
			t.Fatal(err)
		}
		for !b.due() {
		}
		if heard.Load() {
			before++
		}
		b.take()
		if heard.Load() {
			after++
		}
		<-done
	}
	// One time in 61 the scheduler takes who waited for a turn before who has something.
	if before > rounds/4 || after < rounds*3/4 {
		t.Errorf("of %d others %d were heard before a break and %d after", rounds, before, after)
	}
	b.take()
	if n := b.taken(t); n != rounds {
		t.Errorf("%d breaks in %d ms and a moment", n, rounds)
	}
}

// TestBreaksOfSeveralProcessors: while one of them has nobody to run, nobody breaks.
func TestBreaksOfSeveralProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for carriers, want := range map[int]bool{1: false, 2: true} {
		b, err := newBreaks()
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(200 * time.Millisecond)
		var all sync.WaitGroup
		for range carriers {
			all.Go(func() {
				for time.Now().Before(end) {
					b.take()
				}
			})
		}
		all.Wait()
		// Go's own goroutines may run beside one carrier; of two, one may wait for a processor of the machine.
		n := b.taken(t)
		if n > 60 != want {
			t.Errorf("%d breaks of %d on two processors in 200 ms", n, carriers)
		}
		b.close()
	}
}

// TestNoBreakOfAClosedDoor: who still streams when the door closes does not wait.
func TestNoBreakOfAClosedDoor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	d := newJail(t, nil, nil).door
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if d.breaks.conn.Control(func(uintptr) {}) == nil {
		t.Error("its descriptor is open")
	}
	for !d.breaks.due() {
	}
	d.breaks.take()
}

// TestBreaksTogether: of many who want one, each goes on.
func TestBreaksTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	b, err := newBreaks()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	end := time.Now().Add(100 * time.Millisecond)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for time.Now().Before(end) {
				b.take()
			}
		})
	}
	all.Wait()
	if n := b.taken(t); n == 0 || n > 110 {
		t.Errorf("%d breaks in 100 ms", n)
	}
}
