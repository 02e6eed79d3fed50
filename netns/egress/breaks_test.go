package egress

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// taken gives how many breaks were taken. To read the counter would take away the readiness that somebody in a break waits for.
func (b *breaks) taken(t *testing.T) (n int) {
	t.Helper()
	var info []byte
	var err error
	if e := b.conn.Control(func(fd uintptr) { info, err = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd)) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	_, count, _ := strings.Cut(string(info), "eventfd-count:")
	if _, err := fmt.Sscanf(count, "%x", &n); err != nil {
		t.Fatalf("%s: %v", info, err)
	}
	return n
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
	if before > rounds/2 || after < rounds*3/4 {
		t.Errorf("of %d others %d were heard before a break and %d after", rounds, before, after)
	}
	b.take()
	if n := b.taken(t); n != rounds && n != rounds+1 { // on a busy machine the moment may be a millisecond
		t.Errorf("%d breaks in %d ms and a moment", n, rounds)
	}
}

// TestBreaksOfSeveralProcessors: while one of them has nobody to run, nobody breaks.
func TestBreaksOfSeveralProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	carry := func(carriers, enough int, limit time.Duration) int {
		b, err := newBreaks()
		if err != nil {
			t.Fatal(err)
		}
		defer b.close()
		var stop atomic.Bool
		var all sync.WaitGroup
		for range carriers {
			all.Go(func() {
				for !stop.Load() {
					b.take()
				}
			})
		}
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(limit); time.Now().Before(end) && b.taken(t) < enough; <-tick.C {
		}
		stop.Store(true)
		all.Wait()
		return b.taken(t)
	}
	const enough = 60
	least := enough
	for range 10 { // others of this process may run beside it, and longer on a busy machine
		least = min(least, carry(1, enough, 200*time.Millisecond))
	}
	if least == enough {
		t.Errorf("one carrier on two processors takes %d breaks in 200 ms", least)
	}
	if n := carry(2, enough, patience); n < enough {
		t.Errorf("two take %d", n)
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
