package sandbox

import (
	"context"
	"errors"
	"testing"
	"time"
	"unsafe"

	"github.com/agentjail/agentjail/netns/egress"
)

// jumped is t as a clock would have told it that somebody has set in the meantime: the wall clock is another, the monotonic one is not. The
// first word of a time.Time that has both holds the seconds of the wall clock above its nanoseconds (package time).
func jumped(t time.Time, by time.Duration) time.Time {
	const nanoseconds = 30
	*(*uint64)(unsafe.Pointer(&t)) += uint64(by/time.Second) << nanoseconds
	return t
}

// TestClockJumps: a time to live is a duration. Setting the clock, forward or back, neither ends it nor makes it longer; the same goes for
// what the answer of a source is good for. (What waits, the wall-time limit and every time-out, waits on the monotonic clock in package time.)
func TestClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	start := time.Now()
	if d := jumped(start, year).Sub(start); d != 0 { // the controls
		t.Fatalf("the monotonic clock has jumped by %v", d)
	}
	if d := jumped(start, year).Round(0).Sub(start.Round(0)); d != year {
		t.Fatalf("the wall clock has jumped by %v", d)
	}
	for _, jump := range []time.Duration{-year, -2 * time.Hour, 0, 2 * time.Hour, year} {
		now := start
		p, h := envPlan(func(s *Secret) { s.TTL = time.Hour })
		k := keep(t, func() time.Time { return now }, p, h)
		asked := 0
		c := &cached{good: time.Hour, now: func() time.Time { return now }, of: sourceFunc(func() string { asked++; return realKey })}
		c.value(context.Background())

		now = jumped(start.Add(59*time.Minute), jump)
		if v, err := k.value(context.Background(), "a"); v != realKey || err != nil {
			t.Errorf("set by %v, a minute before its end: %q, %v", jump, v, err)
		}
		if c.value(context.Background()); asked != 1 {
			t.Errorf("set by %v: an answer that is good still was asked for again", jump)
		}
		now = jumped(start.Add(61*time.Minute), jump)
		if v, err := k.value(context.Background(), "a"); !errors.Is(err, egress.ErrRevoked) || v != "" {
			t.Errorf("set by %v, a minute after its end: %q, %v", jump, v, err)
		}
		if c.value(context.Background()); asked != 2 {
			t.Errorf("set by %v: an old answer was given", jump)
		}
	}
}

type sourceFunc func() string

func (f sourceFunc) value(context.Context) (string, error) { return f(), nil }
