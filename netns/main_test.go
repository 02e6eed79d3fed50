package netns

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/agentjail/agentjail/integration/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// A gateway's namespaces cannot be left again, so a test that needs them runs in a process of its own: the test binary starts
// itself for that one test. stage says how far it has got.
const (
	stageEnv     = "AGENTJAIL_NETNS_TEST_STAGE"
	stageUser    = "user"    // an ordinary user, in the host's namespaces
	stageGateway = "gateway" // root of a user namespace that the ordinary user made, in a network namespace of its own
	nobody       = 65534
)

// inGateway reports whether the test runs as a gateway; otherwise it has run it as one and judged how that went.
func inGateway(t *testing.T) bool {
	t.Helper()
	switch os.Getenv(stageEnv) {
	case stageGateway:
		return true
	case stageUser:
		again(t, stageGateway, gatewayAttr())
	default:
		again(t, stageUser, userAttr())
	}
	return false
}

// userAttr drops root; anybody else stays who they are.
func userAttr() *syscall.SysProcAttr {
	if os.Getuid() != 0 {
		return nil
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}

func gatewayAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:                 syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET,
		UidMappings:                []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings:                []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		GidMappingsEnableSetgroups: false,
		Pdeathsig:                  syscall.SIGKILL,
	}
}

// again runs the current test in a new process and fails when it did not pass there.
func again(t *testing.T, stage string, attr *syscall.SysProcAttr, env ...string) {
	t.Helper()
	runtime.LockOSThread() // Pdeathsig follows the thread
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(append(os.Environ(), env...), stageEnv+"="+stage, "GORACE=atexit_sleep_ms=0")
	cmd.SysProcAttr = attr
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil || !strings.Contains(out.String(), "--- PASS: "+t.Name()) {
		t.Fatalf("as %s: %v\n%s", stage, err, out.String())
	}
}

// in runs do on a thread that is in the link's namespace, and dies in it.
func in(l *Link, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(l.File().Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}
