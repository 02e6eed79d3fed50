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

// Reexec does the work of the gateway, of the janitor or of doctor's probe when this process is one of them, and then does not return. It
// is the first call of main. The jail's init never gets that far (init.c).
func Reexec() {
	reexecJanitor()
	reexecProbe()
	if os.Args[0] == gatewayName {
		runtime.LockOSThread()   // namespaces belong to a thread: what joins others must not do so on the one that /proc/self shows
		debug.SetGCPercent(-1)   // until the command runs
		unix.Exit(gatewayMain()) // exit_group(2) itself: there is nothing to flush, and under the race detector os.Exit takes a second
	}
}
