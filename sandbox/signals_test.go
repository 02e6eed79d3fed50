package sandbox

import (
	"os/signal"
	"testing"

	"golang.org/x/sys/unix"
)

// What Go's runtime would drop, or answer with its stacks, waits for the command.
func TestSignalsBeforeTheRunAreKept(t *testing.T) {
	signals := CatchSignals()
	defer signal.Stop(signals)
	for _, s := range []unix.Signal{unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGQUIT} {
		if err := unix.Kill(unix.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		if got := <-signals; got != s {
			t.Errorf("%v came for %v", got, s)
		}
	}
	kept, stop := watchSignals(signals)
	defer stop()
	if kept != signals {
		t.Error("the run listens elsewhere")
	}
}
