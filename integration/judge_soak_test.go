//go:build soak

package integration

import "testing"

// TestSoakRealSuites is the part of TestRealSuites that takes minutes.
func TestSoakRealSuites(t *testing.T) {
	const namespaces = "a jail has no namespaces to give away, and the test sees that"
	realSuites(t, []string{"net", "net/http", "os/exec", "syscall"}, []deviation{
		{"net/http.TestTransportEventTraceRealDNS", "SKIP", "a name that nobody has leads to the door, which says so: to the test a provider's trick", true},
		{"os/exec.TestCredentialNoSetGroups", "PASS", "it asks for the caller's name, which a jail always knows and a host may not", true},
		{"syscall.TestAmbientCapsUserns", "SKIP", namespaces, true},
		{"syscall.TestCloneNEWUSERAndRemap/setgroups=false", "SKIP", namespaces, true},
		{"syscall.TestEmptyCredGroupsDisableSetgroups", "SKIP", namespaces, true},
		{"syscall.TestPidFDClone3", "SKIP", "clone3 is not there, as on an older kernel: os/exec works without", false},
		{"syscall.TestPidFDWithUserNS", "SKIP", namespaces, true},
		{"syscall.TestUnshareUidGidMapping", "SKIP", namespaces, true},
		{"syscall.TestPrlimitFileLimit", "FAIL", "prlimit(2) is for the caller, as pid 0: seccomp's comment says why", false},
		{"syscall.TestPrlimitOtherProcess", "FAIL", "prlimit(2) is for the caller, as pid 0: seccomp's comment says why", false},
	})
}
