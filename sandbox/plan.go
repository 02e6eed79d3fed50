package sandbox

import (
	"time"

	"github.com/agentjail/agentjail/netns/egress"
)

// Plan is what will be done: absolute, resolved, printable. Each line carries Why. Nothing in it is looked up again; a path that
// changed between plan and act ends the run.
type Plan struct {
	Version  int       `json:"version"`
	Profile  string    `json:"profile"`
	Project  string    `json:"project"` // absolute, symlinks resolved
	Name     string    `json:"name,omitempty"`
	Command  Command   `json:"command"`
	Identity Identity  `json:"identity"`
	Mounts   []Mount   `json:"mounts"` // in the order in which they are made
	Net      Network   `json:"net"`
	Syscalls []Setting `json:"syscalls"` // groups on top of the base policy
	Limits   []Limit   `json:"limits"`
	TTY      string    `json:"tty"` // auto, always, never
	Home     Setting   `json:"home"`
	Degraded []string  `json:"degraded,omitempty"` // walls that the user lets fall
	Watch    []Watch   `json:"watch,omitempty"`    // protected paths that do not exist yet
}

// Setting is one value and why it is so.
type Setting struct {
	Value string `json:"value"`
	Why   string `json:"why"`
}

// Command is what runs in the jail.
type Command struct {
	Argv []string `json:"argv"` // as typed, never a shell string
	Path string   `json:"path"` // absolute, what execve(2) is given; "" when it was not found (exit 127)
	Dir  string   `json:"dir"`  // working directory in the jail
	Env  []Var    `json:"env"`  // the whole environment, sorted by name
}

// Var is one environment variable.
type Var struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Why   string `json:"why"`
}

// Identity is who the command is. UID and GID are what it sees; HostUID and HostGID are what the kernel and the host's files see.
type Identity struct {
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	HostUID int    `json:"host_uid"`
	HostGID int    `json:"host_gid"`
	User    string `json:"user"`
	Home    string `json:"home"`
	// IDMap says that the project is owned by uid 0 and is shown through an idmapped mount (mount_setattr(2)) as HostUID's.
	IDMap bool   `json:"idmap,omitempty"`
	Why   string `json:"why"`
}

// The kinds of Mount.
const (
	KindBind    = "bind"    // Source, recursively, on Target; both exist or Target lies in a file system of the jail's own
	KindTmpfs   = "tmpfs"   // an own tmpfs of Size bytes and Mode
	KindDir     = "dir"     // a directory of Mode, in a file system of the jail's own
	KindFile    = "file"    // a file with Data and Mode, in a file system of the jail's own
	KindOver    = "over"    // a file with Data and Mode bound over Target, which exists
	KindSymlink = "symlink" // Target points to Source
	KindMask    = "mask"    // an empty unreadable file or directory bound over Target, which exists
	KindDevpts  = "devpts"  // the jail's own terminals
	KindProc    = "proc"    // made by libcontainer in the jail's PID namespace
	KindMqueue  = "mqueue"  // made by libcontainer in the jail's IPC namespace
	KindPin     = "pin"     // Target bound onto itself, so that rename(2) of it gives EBUSY
)

// Mount is one act on the jail's file tree. Paths are absolute; Target is as the jail sees it.
type Mount struct {
	Kind     string `json:"kind"`
	Source   string `json:"source,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`
	NoExec   bool   `json:"no_exec,omitempty"`
	Dev      bool   `json:"dev,omitempty"`  // device nodes may be opened (the /dev binds alone)
	Size     int64  `json:"size,omitempty"` // bytes
	Mode     uint32 `json:"mode,omitempty"` // permission bits
	Data     []byte `json:"data,omitempty"`
	// Create says that Source is a directory of agentjail's own state that is made (0700) when missing.
	Create bool `json:"create,omitempty"`
	// Own says that the tree behind Source is agentjail's (the private home), so mount points may be made in it.
	// Nothing is ever made in a bind that is not Own: no ghosts in the user's files.
	Own   bool   `json:"own,omitempty"`
	IDMap bool   `json:"idmap,omitempty"` // shown through Identity's mapping
	Why   string `json:"why"`
}

// Network is the link and what the door may let through.
type Network struct {
	Mode   Setting       `json:"mode"` // "door" or "none"
	Policy egress.Policy `json:"policy"`
}

// Limit is one bound. Exactly one of Bytes, Count, CPUs, Duration is set, as Name says.
type Limit struct {
	Name     string        `json:"name"` // memory, pids, cpus, files, wall
	Bytes    int64         `json:"bytes,omitempty"`
	Count    int64         `json:"count,omitempty"`
	CPUs     float64       `json:"cpus,omitempty"`
	Duration time.Duration `json:"duration,omitempty"` // nanoseconds
	// Explicit: the user or a profile asked for it; one that cannot be enforced ends the run. The built-in defaults are
	// enforced where the machine allows it.
	Explicit bool   `json:"explicit,omitempty"`
	Why      string `json:"why"`
}

// Watch is a protected path that does not exist: it cannot be mounted over without leaving a ghost on the host, so it is looked
// at when the run ends and named in the report as delayed execution.
type Watch struct {
	Path string `json:"path"` // absolute
	Why  string `json:"why"`
}
