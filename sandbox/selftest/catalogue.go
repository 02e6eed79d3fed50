package selftest

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// The places where a control runs; the package comment has what each is without.
const (
	outside   = "outside"
	namespace = "namespace"
	other     = "other"
)

// The areas, in the order in which they are shown.
const (
	files     = "files"
	processes = "processes"
	kernel    = "kernel"
	network   = "network"
	door      = "door"
	terminal  = "terminal"
	sessions  = "sessions"
)

// attempt is one act that the jail must not let happen. do returns nil, or won, when it has happened.
type attempt struct {
	name    string
	why     string // what whoever succeeds has won
	control string // outside, namespace, other
	do      func(*target) error
	// optional: kernels are built without it, or leave it to the root of the machine, or the user has nothing of the kind. Where the control is
	// refused as well there is nothing to stop, and the attempt is absent, not inconclusive.
	optional bool

	area string
}

// catalogue is every attempt, area by area.
func catalogue() []attempt {
	var all []attempt
	for _, a := range []struct {
		name string
		list []attempt
	}{
		{files, fileAttempts()}, {processes, processAttempts()}, {kernel, kernelAttempts()}, {network, networkAttempts()},
		{door, doorAttempts()}, {terminal, terminalAttempts()}, {sessions, sessionAttempts()},
	} {
		for _, one := range a.list {
			one.area = a.name
			all = append(all, one)
		}
	}
	return all
}

// named gives the names of the attempts that want.
func named(all []attempt, want func(attempt) bool) []string {
	names := []string{}
	for _, a := range all {
		if want(a) {
			names = append(names, a.name)
		}
	}
	return names
}

// won is no failure: the act has happened, and this is what it has reached.
type won struct{ what string }

func (w won) Error() string { return w.what }

// unready is a failure of an attempt's own preparations: the act has not been tried.
type unready struct{ error }

func (u unready) Unwrap() error { return u.error }

// ready marks the error of a preparation.
func ready(err error) error {
	if err == nil {
		return nil
	}
	return unready{err}
}

// reached makes a success of every answer that the kernel gives after it has let the call in: it then looked at the arguments.
func reached(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) && !slices.Contains([]unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSYS}, errno) {
		return nil
	}
	return err
}

// call makes a system call by its number.
func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

var errNotTheHosts = errors.New("what stands there is the jail's own")
