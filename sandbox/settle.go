package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// settle gives back what a launch took, for the hours in which a process of ours then waits. A launch collects no garbage, and it maps
// most of the binary, 15 MB of which the rest of a life needs a tenth.
//
// From then on garbage may take four times what is in use: a door that judges requests keeps little and makes much, and would spend a
// quarter of its time collecting.
func settle() {
	debug.SetGCPercent(muchGarbage)
	boundGarbage()
	debug.FreeOSMemory()
	dropText()
}

const (
	muchGarbage = 400      // percent of what is in use
	mostGarbage = 24 << 20 // bytes: a door with two thousand connections keeps forty megabytes, and may not take two hundred
	leastRoom   = 50       // percent, however much is in use: collecting all the time is worse
)

// leaveProcessors leaves half of the processors to those whom the door serves. On two of them, which client and server want as well, an
// inspected request that comes alone takes 0.25 ms in place of 0.33 and a third less of processor time, and a GiB four fifths:
// its goroutines hand over to one another, where a second thread would look for them. A launch needs all: it waits in system calls.
func leaveProcessors() { runtime.GOMAXPROCS(max(1, runtime.GOMAXPROCS(0)/2)) }

// boundGarbage sets at the end of each collection how much garbage there may be until the next: a finalizer runs once in each
// (runtime.SetFinalizer).
func boundGarbage() {
	type mark struct{ _ *byte } // has a pointer: tiny objects share a block, and its end
	now := muchGarbage
	var watch func(*mark)
	watch = func(*mark) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		percent := min(muchGarbage, max(leastRoom, int(mostGarbage*100/max(1, live[0].Value.Uint64()))))
		if percent != now {
			now = percent
			debug.SetGCPercent(percent)
		}
		runtime.SetFinalizer(new(mark), watch)
	}
	runtime.SetFinalizer(new(mark), watch)
}

// dropText unmaps the pages of our own code and constants; the kernel maps those that are used again from its cache (madvise(2),
// MADV_DONTNEED on a private mapping of a file). A mapping with pages of its own has been written to and is left alone.
func dropText() {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return // no /proc: the memory stays
	}
	defer f.Close()
	var ours []byte
	var all [][]byte
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		switch {
		case strings.Contains(fields[0], "-"): // 00401000-00b53000 r-xp 00001000 08:02 1234 /usr/bin/agentjail
			ours = nil
			if len(fields) > 5 && fields[4] != "0" && strings.HasPrefix(fields[1], "r") && !strings.Contains(fields[1], "w") {
				ours = mapping(fields[0])
			}
		case fields[0] == "Anonymous:" && fields[1] == "0" && ours != nil:
			all = append(all, ours)
		}
	}
	for _, m := range all { // now, for looking has mapped the code that looks
		unix.Madvise(m, unix.MADV_NOHUGEPAGE) // or one page used again brings back two megabytes
		unix.Madvise(m, unix.MADV_DONTNEED)
	}
}

// mapping is the memory of a range as /proc/PID/smaps writes it; nil when that is none.
func mapping(text string) []byte {
	from, to, _ := strings.Cut(text, "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	if err1 != nil || err2 != nil || end <= start {
		return nil
	}
	address := uintptr(start)
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&address)), end-start) // no memory of Go's: the collector does not move it
}

// spareThreads has the runtime make threads while the machine gives any: it keeps the idle ones. Go ends a process that needs another and
// gets none (pthread_create(3), EAGAIN), and a fork bomb in some jail of the user's must not end the others.
func spareThreads() {
	spare := min(4, 2*runtime.GOMAXPROCS(0)) // what a collection on two processors and a read on each may want at once
	var up sync.WaitGroup
	up.Add(spare)
	release := make(chan struct{})
	for range spare {
		go func() {
			runtime.LockOSThread()
			up.Done()
			<-release
			runtime.UnlockOSThread()
		}()
	}
	up.Wait()
	close(release)
}

// What is raised by the caller, in one paste.
const (
	fewDescriptors = "RLIMIT_NOFILE is reached: raise the limit: ulimit -n 4096"
	smallFiles     = "RLIMIT_FSIZE is reached: raise the limit: ulimit -f unlimited"
)

// SpareDescriptors is an *Error where so few descriptors are left that a launch cannot get far: Go's runtime ends a process that has none
// for its own use (epoll_create1(2), EMFILE). It is for the first act of a run.
func SpareDescriptors() error {
	const spare = 24 // of the 26 that a launcher holds before it starts the gateway
	var held []int
	defer func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}()
	for range spare {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.EMFILE) {
			return &Error{Step: StepPlan, Err: fmt.Errorf("%d descriptors for the launch: %w", spare, err), Hint: fewDescriptors}
		} else if err != nil {
			return nil // whoever needs one says so
		}
		held = append(held, fd)
	}
	return nil
}
