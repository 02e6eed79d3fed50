package sandbox

import (
	"errors"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ourBinary is what init executes: our binary behind a read-only mount of its own, or a copy of it. A command that is a script with
// "#!/proc/self/exe" makes the command our binary, and what that starts finds it as /proc/PID/exe: through the host's mount its
// owner may change the mode, and write to it where the kernel lets one write to what is being executed (CVE-2019-5736; Linux 6.11
// and 6.12).
type ourBinary struct {
	file *os.File
	copy bool
}

// openBinary gives it for the file exe. Where the name of that leads to another file, or to none, it is a copy.
func openBinary(exe *os.File) (*ourBinary, error) {
	name, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(exe.Fd())))
	if err != nil {
		return nil, err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return copyBinary(exe)
	}
	tree := os.NewFile(uintptr(fd), name)
	want, err1 := exe.Stat()
	got, err2 := tree.Stat()
	if err1 != nil || err2 != nil || !os.SameFile(want, got) {
		tree.Close()
		return copyBinary(exe)
	}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		tree.Close()
		return nil, err
	}
	return &ourBinary{file: tree}, nil
}

// place attaches the mount in the gateway's private directory. One that stood nowhere would be dissolved when init has executed, and that
// takes a grace period of RCU.
func (b *ourBinary) place() error {
	if b.copy {
		return nil
	}
	place, err := os.OpenFile(privateDir+"/binary", os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	defer place.Close()
	err = attach(int(b.file.Fd()), int(place.Fd()))
	if errors.Is(err, unix.ENOENT) {
		return nil // removed since, or replaced by an update: it stays where it is, nowhere
	}
	return err
}

// copyBinary makes a sealed file in memory, which has no name.
func copyBinary(exe *os.File) (*ourBinary, error) {
	const name = "agentjail"
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = io.Copy(f, io.NewSectionReader(exe, 0, 1<<40))
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &ourBinary{file: f, copy: true}, nil
}
