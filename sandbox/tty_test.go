package sandbox

import (
	"io"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The master came as a File and was made another File of the same descriptor: the first one's finalizer closed it in the middle of a
// session.
func TestTerminalOwnsItsMaster(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	jail := os.NewFile(uintptr(pair[1]), "jail")
	in, typed := pipe(t)
	shown, out := pipe(t)
	over, _ := pipe(t)
	term := &terminal{in: in, out: out}
	if err := term.relay(os.NewFile(uintptr(pair[0]), "inherited"), over); err != nil {
		t.Fatal(err)
	}
	defer func() { // before the pipes are closed, which the relay looks at
		jail.Close()
		<-term.output.done
		term.master.Close()
	}()
	for range 20 { // finalizers run on a goroutine of the runtime's
		runtime.GC()
		runtime.Gosched()
	}
	if _, err := typed.WriteString("k"); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	if _, err := io.ReadFull(jail, buf); err != nil || buf[0] != 'k' {
		t.Errorf("a key arrived as %q, %v", buf, err)
	}
	jail.WriteString("o")
	if _, err := io.ReadFull(shown, buf); err != nil || buf[0] != 'o' {
		t.Errorf("output arrived as %q, %v", buf, err)
	}
}
