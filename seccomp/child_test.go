package seccomp

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"github.com/agentjail/agentjail/integration/leaktest"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// A filter cannot be taken off again, so it is put on a child: this test binary, started again. The child gets the program on
// descriptor 3 (empty: no filter, the control), loads it, and either makes the attempts or becomes the program on descriptor 4.
const (
	childEnv   = "SECCOMP_TEST_CHILD"
	programFD  = 3
	commandFD  = 4
	unassigned = 65534 // the uid to try from when the tests run as root: refusals that root's capabilities undo are none
)

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(leaktest.Run(m))
	case "attempts":
		must(load())
		must(json.NewEncoder(os.Stdout).Encode(tryAll()))
	case "exec":
		must(load())
		must(syscall.Exec(fmt.Sprintf("/proc/self/fd/%d", commandFD), os.Args[1:], os.Environ()))
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(125)
	}
}

// load puts the program on descriptor 3 on every thread of this process.
func load() error {
	program, err := io.ReadAll(os.NewFile(programFD, "program"))
	if err != nil || len(program) == 0 {
		return err
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	fprog := unix.SockFprog{Len: uint16(len(program) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("load the filter: %w", errno)
	}
	return nil
}

// child is the command that starts this binary again under program, as an ordinary user.
func child(t *testing.T, mode string, program []byte, args ...string) *exec.Cmd {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	go func() {
		defer w.Close()
		if _, err := w.Write(program); err != nil {
			t.Errorf("hand the program over: %v", err)
		}
	}()
	// By this name no directory on the way to the binary has to be open to the other user.
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), childEnv+"="+mode)
	cmd.ExtraFiles = []*os.File{r}
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: unassigned, Gid: unassigned}}
	}
	return cmd
}

// tryUnder makes all attempts under program and gives what each answered.
func tryUnder(t *testing.T, program []byte) map[string]syscall.Errno {
	t.Helper()
	cmd := child(t, "attempts", program)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the attempts: %v", err)
	}
	var got map[string]syscall.Errno
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("what the attempts answered: %v: %q", err, out)
	}
	return got
}

// tryAll makes each attempt once, by number and with no help of a library.
func tryAll() map[string]syscall.Errno {
	result := map[string]syscall.Errno{}
	for _, a := range attempts() {
		number, err := libseccomp.GetSyscallFromName(a.call)
		if err != nil || number < 0 {
			continue // not on this architecture
		}
		_, _, result[a.String()] = syscall.RawSyscall6(uintptr(number), a.args[0], a.args[1], a.args[2], a.args[3], a.args[4], a.args[5])
	}
	return result
}

// compileC builds source and opens the binary, so that a user who cannot reach the directory can be given it.
func compileC(t *testing.T, source string, flags ...string) *os.File {
	t.Helper()
	in, out := filepath.Join(t.TempDir(), "a.c"), filepath.Join(t.TempDir(), "a.out")
	if err := os.WriteFile(in, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := exec.Command("gcc", append([]string{"-g", "-O1", "-o", out, in}, flags...)...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, text)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
