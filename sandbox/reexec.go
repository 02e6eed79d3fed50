package sandbox

import (
	"os"
	"runtime"
	"runtime/debug"
)

// The names under which this binary starts itself. They stand in argv[0], and each needs descriptors that only we pass.
const (
	gatewayName = "agentjail-gateway"
	initEnv     = "_AGENTJAIL_INIT"
)

// Reexec does the work of the gateway, of libcontainer's init, of ours, of the janitor or of doctor's probe when this process is one of
// them, and then does not return. It is the first call of main.
func Reexec() {
	runtime.LockOSThread() // prctl(PR_SET_PDEATHSIG) and namespaces belong to a thread; main's own lives as long as the process and stays main's
	if os.Args[0] == gatewayName || os.Getenv(initEnv) != "" {
		debug.SetGCPercent(-1) // until the command runs; libcontainer's init has the gateway's name too
	}
	reexecContainer()
	reexecJanitor()
	reexecProbe()
	switch {
	case os.Getenv(initEnv) != "" && os.Getpid() == 1:
		os.Exit(initMain())
	case len(os.Args) == 1 && os.Args[0] == gatewayName:
		os.Exit(gatewayMain())
	}
}
