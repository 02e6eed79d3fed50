package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"syscall"
)

// Host is facts about this machine, probed once. NewPlan reads the machine through it alone, so that a test can plan for a
// machine that it makes up.
type Host struct {
	UID, GID   int      // the real ones of the launcher
	Groups     []int    // supplementary
	User       string   // login name
	Home       string   // absolute
	Dir        string   // the caller's working directory, absolute, as getcwd(2) gives it
	Env        []string // the caller's environment
	Hostname   string
	StateDir   string // $XDG_STATE_HOME/agentjail
	ConfigDir  string // $XDG_CONFIG_HOME/agentjail
	Executable string // the running binary
	FS         Files  // the host's file system
}

// Files is the part of a file system that a plan looks at. Names are absolute and clean. The one for real machines is os's
// functions; tests have one in memory. The sizes are bounds: the project's files are the agent's, and may be of any size.
type Files interface {
	Lstat(name string) (fs.FileInfo, error) // Sys is a *syscall.Stat_t
	Readlink(name string) (string, error)
	ReadFile(name string, max int) ([]byte, error)       // at most the first max bytes
	ReadDir(name string, max int) ([]fs.DirEntry, error) // sorted; at most max entries, any of them when there are more, and all when max is negative
	CountsLinks(name string) bool                        // a local file system: a directory has two links and one for each directory in it, and a change time
	Rights(dir string, max int) rights                   // at most max entries; may be called from several goroutines
}

// Probe looks at the real machine. It reads and asks; it changes nothing.
func Probe(ctx context.Context) (*Host, error) {
	h := &Host{UID: os.Getuid(), GID: os.Getgid(), Env: os.Environ(), FS: diskFiles{}}
	if os.Geteuid() != h.UID || os.Getegid() != h.GID {
		return nil, &Error{Step: StepPlan, Err: errors.New("the effective uid or gid is not the real one"),
			Hint: "agentjail needs no setuid or setgid bit: chmod ug-s it"}
	}
	var err error
	// getcwd(2) itself: os.Getwd believes $PWD, which may lead through links.
	if h.Dir, err = syscall.Getwd(); err == nil && !path.IsAbs(h.Dir) {
		err = fmt.Errorf("%s: outside the root directory", h.Dir) // "(unreachable)…", getcwd(2)
	}
	if err != nil {
		return nil, &Error{Step: StepPlan, Err: fmt.Errorf("working directory: %w", err), Hint: "cd to a directory that exists"}
	}
	if h.Groups, err = os.Getgroups(); err != nil {
		return nil, &Error{Step: StepPlan, Err: fmt.Errorf("supplementary groups: %w", err)}
	}
	if h.Hostname, err = os.Hostname(); err != nil {
		return nil, &Error{Step: StepPlan, Err: fmt.Errorf("host name: %w", err)}
	}
	if h.Executable, err = os.Executable(); err != nil {
		return nil, &Error{Step: StepPlan, Err: fmt.Errorf("own binary: %w", err)}
	}
	h.describeUser()
	return h, ctx.Err()
}

// describeUser fills in what the user database and the environment say. $HOME goes before the database, as everywhere.
func (h *Host) describeUser() {
	entry, known := userByID(accounts(h.FS), h.UID)
	h.User, h.Home = entry.name, path.Clean("/"+h.getenv("HOME"))
	if !known {
		h.User = h.getenv("USER") // LDAP and its like: without cgo there is no nsswitch(5)
	}
	if !validUser(h.User) {
		h.User = "u" + strconv.Itoa(h.UID)
	}
	if !path.IsAbs(h.getenv("HOME")) {
		h.Home = path.Clean("/" + entry.home)
	}
	if h.Home == "/" {
		h.Home = "/home/" + h.User // a home that is the root could not be private
	}
	h.StateDir = h.xdg("XDG_STATE_HOME", ".local/state")
	h.ConfigDir = h.xdg("XDG_CONFIG_HOME", ".config")
}

// xdg gives our directory below a base directory; relative values are ignored, as the XDG specification asks.
func (h *Host) xdg(name, otherwise string) string {
	base := h.getenv(name)
	if !path.IsAbs(base) {
		base = path.Join(h.Home, otherwise)
	}
	return path.Join(base, "agentjail")
}

// getenv gives the last value of a variable, as most programs see it, or "".
func (h *Host) getenv(name string) string {
	value := ""
	for _, kv := range h.Env {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			value = v
		}
	}
	return value
}
