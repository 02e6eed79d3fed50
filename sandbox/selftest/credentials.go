package selftest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The planted home stands for the user's where a profile says ~. One that names the user's own in full opens that, and only who looks there
// notices.

// credential is a file or directory of the user's own. What it holds is not looked at.
type credential struct {
	Path string
	ID   inode
}

// credentials finds in homes what well-known programs keep keys and logins in.
func credentials(homes []string) []credential {
	var all []credential
	add := func(path string) {
		var s unix.Stat_t
		if unix.Stat(path, &s) != nil || slices.ContainsFunc(all, func(c credential) bool { return c.Path == path }) {
			return
		}
		all = append(all, credential{path, inode{s.Dev, s.Ino}})
	}
	for _, home := range homes {
		names := []string{".aws/credentials", ".netrc", ".config/gh/hosts.yml", ".claude/.credentials.json", ".docker/config.json", ".npmrc",
			".git-credentials", ".gnupg"}
		keys, _ := os.ReadDir(filepath.Join(home, ".ssh"))
		for _, key := range keys {
			if name := key.Name(); strings.HasPrefix(name, "id_") && !strings.HasSuffix(name, ".pub") {
				names = append(names, filepath.Join(".ssh", name))
			}
		}
		for _, name := range names {
			path := filepath.Join(home, name)
			add(path)
			if real, err := filepath.EvalSymlinks(path); err == nil {
				add(real) // the name by which a jail has it when the home's leads through links
			}
		}
	}
	return all
}

// openCredentials opens what the user has, by its name, and closes it.
func openCredentials(t *target) error {
	err := errors.New("there is none of the files that are looked for")
	var opened []string
	for _, c := range t.Credentials {
		fd, e := unix.Open(c.Path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
		if e == nil {
			if is(fd, c.ID) {
				opened = append(opened, c.Path)
			} else {
				e = errNotTheHosts
			}
			unix.Close(fd)
		}
		err = e
	}
	if len(opened) > 0 {
		return won{strings.Join(opened, ", ")}
	}
	return err
}
