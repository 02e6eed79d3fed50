package sandbox

import "io/fs"

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

// Files is the part of a file system that a plan looks at. Names are absolute. The one for real machines is os's functions;
// tests have one in memory.
type Files interface {
	Lstat(name string) (fs.FileInfo, error)
	Readlink(name string) (string, error)
	ReadFile(name string) ([]byte, error)
	ReadDir(name string) ([]fs.DirEntry, error)
}
