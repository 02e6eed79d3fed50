package sandbox

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// drainGrace is how long a reader has for what is left when the wall-time limit, or a signal that was sent to us, has ended the command or the wait.
const drainGrace = time.Second

// drain waits until what the dead jail has written is where it goes, and gives what could not be written. The reader outside may be slow,
// or gone to lunch: what would have ended the command at its write(2) ends the wait, a signal or the wall-time limit.
func (r *run) drain(ctx context.Context) error {
	if r.streams == nil {
		return nil
	}
	r.streams.input.giveBack()
	relays := r.streams.relays
	if r.terminal != nil && r.terminal.output != nil {
		relays = append(slices.Clone(relays), r.terminal.output)
	}
	r.streams.close()
	r.streams.over[1].Close()
	r.terminal.interruptible()
	var grace <-chan time.Time
	if r.missed != 0 || slices.Contains(r.report.Limits, "wall") || r.report.Signal != "" && r.report.Signal == unix.SignalName(r.passed) {
		grace = time.After(drainGrace)
	}
	var lost error
	for _, relay := range relays {
		if !r.await(ctx, relay.done, &grace) {
			r.report.Unread = true
			if r.report.Signal == "" && r.missed != 0 {
				r.endedBy(r.missed)
			}
			return lost
		}
		lost = errors.Join(lost, relay.err)
	}
	r.streams.over[0].Close()
	if lost == nil {
		return nil
	}
	return &Error{Step: StepStdio, Err: lost, Hint: "what the command wrote is not all there: make room, or write to another place"}
}

// await says whether done came first. What ends the wait leaves the reader its grace; a signal that comes in that ends it at once.
func (r *run) await(ctx context.Context, done <-chan struct{}, grace *<-chan time.Time) bool {
	for {
		select {
		case <-done:
			return true
		case s := <-r.signals:
			if !r.endedBy(s.(syscall.Signal)) {
				break
			}
			if *grace != nil {
				return false
			}
			*grace = time.After(drainGrace)
		case <-r.wall:
			r.limitHit("wall")
			if *grace == nil {
				*grace = time.After(drainGrace)
			}
		case <-*grace:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// endedBy does what a signal does to a program that waits in write(2), and says whether that is its end: the status is then as if the
// command had waited itself.
func (r *run) endedBy(s syscall.Signal) bool {
	switch s {
	case unix.SIGPIPE, unix.SIGCONT, unix.SIGWINCH:
		return false
	case unix.SIGTSTP:
		if own := r.own; own || orphaned() {
			r.own = false
		} else {
			r.terminal.restore()
			unix.Kill(unix.Getpid(), unix.SIGSTOP)
		}
		return false
	case unix.SIGINT, unix.SIGQUIT:
		r.sent = s
	}
	r.exited(&initExited{Signal: int(s)})
	return true
}
