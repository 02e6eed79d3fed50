package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/agentjail/agentjail/netns/egress"
)

// counting is a source that counts how often it is asked.
type counting struct {
	now   string
	err   error
	asked int
}

func (c *counting) value(context.Context) (string, error) {
	c.asked++
	return c.now, c.err
}

// TestKnown: a value is known from the launch on, and after its time, when it may not be used; no program is asked for it.
func TestKnown(t *testing.T) {
	now := time.Unix(0, 0)
	p, h := envPlan(func(s *Secret) { s.TTL = time.Hour })
	k := keep(t, func() time.Time { return now }, p, h)
	k.secrets[0].source = &counting{err: errors.New("gone")}
	if v, err := k.known(t.Context(), "a"); v != realKey || err != nil {
		t.Errorf("of the launch: %q, %v", v, err)
	}
	now = now.Add(time.Hour)
	if _, err := k.value(t.Context(), "a"); !errors.Is(err, egress.ErrRevoked) {
		t.Errorf("control: %v", err)
	}
	if v, err := k.known(t.Context(), "a"); v != realKey || err != nil {
		t.Errorf("after its time: %q, %v", v, err)
	}
	if _, err := k.known(t.Context(), "b"); err == nil {
		t.Error("a secret that nobody planned")
	}

	now = time.Unix(0, 0)
	program := &counting{now: "first-value"}
	s := k.secrets[0]
	s.source = &cached{of: program, good: time.Minute, now: func() time.Time { return now }}
	if v, err := k.value(t.Context(), "a"); v != "first-value" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	program.now, now = "second-value", now.Add(2*time.Minute)
	if v, err := k.known(t.Context(), "a"); v != "first-value" || err != nil || program.asked != 1 {
		t.Errorf("%q, %v, asked %d times", v, err, program.asked)
	}

	name := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("value-of-a-file")
	s.source = &fileSource{name: name}
	for _, text := range []string{"value-of-a-file", "behind-the-next-login"} { // of different lengths: another stamp
		write(text)
		if v, err := k.known(t.Context(), "a"); v != text || err != nil {
			t.Errorf("%q, %v, want %q", v, err, text)
		}
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if v, err := k.known(t.Context(), "a"); v != "behind-the-next-login" || err != nil {
		t.Errorf("the file is gone: %q, %v", v, err)
	}
}
