package seccomp

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// abi asks for getpid(2) through a door of the kernel that is not the native one. int 0x80 is i386's, number 20; a number with
// bit 30 is x32's.
const abi = `
#include <string.h>
int main(int argc, char **argv) {
	long r;
	if (strcmp(argv[1], "int80") == 0)
		__asm__ volatile("int $0x80" : "=a"(r) : "a"(20L) : "memory");
	else if (strcmp(argv[1], "x32") == 0)
		__asm__ volatile("syscall" : "=a"(r) : "a"(0x40000000L | 39) : "rcx", "r11", "memory");
	else
		__asm__ volatile("syscall" : "=a"(r) : "a"(39L) : "rcx", "r11", "memory");
	return 0;
}
`

// TestForeignABIsAreKilled really makes calls of the other two ABIs.
func TestForeignABIsAreKilled(t *testing.T) {
	program, err := Compile([]string{"debug", "nested"}) // no group lifts this
	if err != nil {
		t.Fatal(err)
	}
	binary := compileC(t, abi)
	for _, door := range []string{"int80", "x32", "native"} {
		sig := becomeUnder(t, program, binary, "abi", door)
		if killed := sig == syscall.SIGSYS; killed != (door != "native") {
			t.Errorf("%s under the filter: signal %v", door, sig)
		}
		if sig := becomeUnder(t, nil, binary, "abi", door); sig == syscall.SIGSYS {
			t.Errorf("%s: control, no filter: signal %v", door, sig)
		}
	}
}

// becomeUnder runs binary under program and gives the signal that ended it, or 0.
func becomeUnder(t *testing.T, program []byte, binary *os.File, argv ...string) syscall.Signal {
	t.Helper()
	cmd := child(t, "exec", program, argv...)
	cmd.ExtraFiles = append(cmd.ExtraFiles, binary)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return status.Signal()
	}
	if status.ExitStatus() != 0 {
		t.Fatalf("%v: exit %d\n%s", argv, status.ExitStatus(), text)
	}
	return 0
}
