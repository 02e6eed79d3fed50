package selftest

import (
	"errors"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMadeIsNotRefused: a namespace whose first process ended badly was made, and only the kernel's own word is a refusal.
func TestMadeIsNotRefused(t *testing.T) {
	if err := made(exec.Command("sh", "-c", "exit 2").Run()); err != nil {
		t.Errorf("a process that ended badly: %v", err)
	}
	if err := made(&exec.Error{Name: "x", Err: unix.EPERM}); !errors.Is(err, unix.EPERM) {
		t.Errorf("a refusal: %v", err)
	}
}
