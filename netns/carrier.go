package netns

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asker is a socket that asks about the devices of the namespace it was made in.
type asker int

func newAsker() (asker, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	return asker(fd), nil
}

func (a asker) close() { unix.Close(int(a)) }

// connected makes the kernel take note that a device has its carrier. It would do that by itself, in a work queue and on a busy
// machine half a second later, and drops every packet until then: the jail's first name query would be lost, and its resolver wait
// five seconds. To be asked for the link makes it look at once (linkwatch_sync_dev, called by ethtool_op_get_link).
func (a asker) connected(device string) error {
	value := struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GLINK}
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte // the rest of struct ifreq (netdevice(7))
	}{data: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], device)
	var pin runtime.Pinner
	pin.Pin(&value)
	defer pin.Unpin()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(a), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 {
		return fmt.Errorf("ioctl(ETHTOOL_GLINK) %s: %w", device, errno)
	}
	if value.data == 0 {
		return fmt.Errorf("%s has no carrier", device)
	}
	return nil
}
