package sandbox

import (
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// gatewayName is the name under which this binary starts itself as the gateway: argv[0]. argv[1] says whether there is a door, and
// descriptors that only we pass go with it.
const (
	gatewayName = "agentjail-gateway"
	gatewayDoor = "door"
)

// Reexec does the work of the gateway, of the janitor or of doctor's probe when this process is one of them, and then does not return. It is the first call of main. The jail's init never gets that far (init.c).
func Reexec() {
	runtime.LockOSThread() // prctl(PR_SET_PDEATHSIG) and namespaces belong to a thread; main's own lives as long as the process and stays main's
	if os.Args[0] == gatewayName {
		debug.SetGCPercent(-1) // until the command runs
	}
	reexecJanitor()
	reexecProbe()
	if os.Args[0] == gatewayName {
		unix.Exit(gatewayMain()) // exit_group(2) itself: there is nothing to flush, and under the race detector os.Exit takes a second
	}
}
