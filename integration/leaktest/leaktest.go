// Package leaktest holds that the tests of a package leave nothing in their process: no goroutine and no descriptor. What a test can
// leave, the code that it tests can leave in a launcher that runs for hours.
package leaktest

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"go.uber.org/goleak"
)

// Run runs the tests and looks afterwards, if all went well: what a failed test leaves is its own affair. The result is for os.Exit.
func Run(m interface{ Run() int }) int {
	before, err := descriptors()
	if err != nil {
		fmt.Fprintln(os.Stderr, "leaktest:", err)
		return 1
	}
	if code := m.Run(); code != 0 {
		return code
	}
	if err := Find(before); err != nil {
		fmt.Fprintln(os.Stderr, "leaktest:", err)
		return 1
	}
	return 0
}

// Find waits for goroutines that are about to end, and tells of those that stay and of descriptors that are not among those before.
func Find(before []string) error {
	if err := goleak.Find(); err != nil {
		return err
	}
	// Who would have closed one has ended by now; but the pipes that io.Copy uses between sockets wait in a sync.Pool for collections.
	var left []string
	for range 20 {
		runtime.GC()
		after, err := descriptors()
		if err != nil {
			return err
		}
		left = slices.DeleteFunc(after, func(d string) bool { return slices.Contains(before, d) })
		if len(left) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%d descriptors are left open: %s", len(left), strings.Join(left, ", "))
}

// descriptors are the numbers and files of this process's, but for those of Go's own poller, which come with the first pipe or socket and
// stay.
func descriptors() ([]string, error) {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		file, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil || file == "anon_inode:[eventpoll]" || file == "anon_inode:[eventfd]" {
			continue // an error: the one that ReadDir had, which is closed
		}
		all = append(all, e.Name()+" "+file)
	}
	return all, nil
}
