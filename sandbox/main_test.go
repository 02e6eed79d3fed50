package sandbox

import (
	"os"
	"testing"

	"github.com/agentjail/agentjail/integration/leaktest"
)

// roleEnv makes the test binary play a process that a test needs.
const roleEnv = "AGENTJAIL_TEST_ROLE"

// TestMain makes the test binary do what the real one does when it starts itself.
func TestMain(m *testing.M) {
	Reexec()
	if play, ok := roles()[os.Getenv(roleEnv)]; ok {
		play()
	}
	if os.Getenv(childEnv) != "" {
		os.Exit(m.Run()) // it stands for a gateway: what that leaves goes with it
	}
	os.Exit(leaktest.Run(m))
}
