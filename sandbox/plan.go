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
	Watch    []Watch   `json:"watch,omitempty"`    // protected paths that a mount cannot hold
	// Trust are the certificate stores that get the session's CA, which is made when the run starts.
	Trust []TrustStore `json:"trust,omitempty"`
	// Secrets are the credentials that stay outside.
	Secrets []Secret `json:"secrets,omitempty"`
	// Repos are the git repositories in the project, itself included, that were found and protected. One more at the end of a run
	// was made during it (see lookForRepos).
	Repos []string `json:"repos,omitempty"`
	// Hidden are the symbolic links to what is hidden in the project. What one led to stays hidden in later runs.
	Hidden []HiddenLink `json:"hidden,omitempty"`
	// Unread are the directories of the project that could not be read when repositories were looked for, and Bounded says that there
	// were more than are looked at. Both stand in Notes as well.
	Unread  []string `json:"unread,omitempty"`
	Bounded bool     `json:"bounded,omitempty"`
	looked  seenDirs // so that the end need not read again what is as it was
	// Notes are what a person should know and no line above says: a source that is missing, a link that leads nowhere.
	Notes []string `json:"notes,omitempty"`
	// Warnings are words of a flag, most likely mistyped, that mean nothing here. A run says them; what would leave the user with less
	// protection than was asked for is an error instead.
	Warnings []string `json:"warnings,omitempty"`
}

// Setting is one value and why it is so.
type Setting struct {
	Value string `json:"value"`
	Why   string `json:"why"`
}

// Command is what runs in the jail.
type Command struct {
	Argv []string `json:"argv"` // as typed, never a shell string
	Path string   `json:"path"` // absolute, what execve(2) is given; "" when there is a Problem
	Dir  string   `json:"dir"`  // working directory in the jail
	Env  []Var    `json:"env"`  // the whole environment, sorted by name
	// Problem is why it cannot run, one of the Problem constants, or "". Everything else is planned all the same.
	Problem string `json:"problem,omitempty"`
}

// The problems of a command, as a shell tells them apart.
const (
	ProblemNotFound      = "not found"      // exit 127
	ProblemNotExecutable = "not executable" // exit 126
)

// Var is one environment variable.
type Var struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Secret string `json:"secret,omitempty"` // the name of the secret whose placeholder is the value, which is made when the run starts
	Why    string `json:"why"`
}

// Identity is who the command is. UID and GID are what it sees; HostUID and HostGID are what the kernel and the host's files see.
type Identity struct {
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	HostUID int    `json:"host_uid"`
	HostGID int    `json:"host_gid"`
	User    string `json:"user"`
	Home    string `json:"home"`
	// IDMap says that the project is owned by uid 0 and is shown through an idmapped mount (mount_setattr(2)) as HostUID's. It is a
	// preference: where the file system cannot (EINVAL), the run falls back to host uid 0, and UID stays what it is here.
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
	KindProc    = "proc"    // made by container.c in the jail's PID namespace
	KindMqueue  = "mqueue"  // made by container.c in the jail's IPC namespace
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
	Late  bool   `json:"-"`               // of a file: its content comes when the tree stands (truststores.go)
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
	Explicit bool `json:"explicit,omitempty"`
	// Unenforced: this machine does not hold it, as far as CheckLimits was asked.
	Unenforced bool   `json:"unenforced,omitempty"`
	Why        string `json:"why"`
}

// Watch is a protected path that no mount can hold, so it is looked at when the run ends and named in the report as delayed
// execution when it changed.
type Watch struct {
	Path string `json:"path"` // absolute
	// Link is the text of the symbolic link that stands at Path: a mount cannot sit on a link. "" means that there is none.
	Link string `json:"link,omitempty"`
	// Sum is the SHA-256, in hex, of the file at Path, which has a second hard link and so can be written under another name.
	Sum string `json:"sum,omitempty"`
	// Pattern says that the last component of Path is one, as path.Match has them, and Known are the names that matched. One more is
	// a change.
	Pattern bool     `json:"pattern,omitempty"`
	Known   []string `json:"known,omitempty"`
	// With none of these, nothing stands at Path, and mounting something there would leave a ghost on the host.
	Why string `json:"why"`
}

// HiddenLink is a path that is hidden, and where it leads through a symbolic link. Absolute.
type HiddenLink struct {
	Path   string `json:"path"`
	Target string `json:"target"` // no symbolic links
}

// TrustStore is one file of the jail that says which certificate authorities are believed: the bytes of Source, if it names a file
// of the host, and after them the session's CA and the rules' UpstreamCA.
type TrustStore struct {
	Target string `json:"target"`           // a regular file that exists, or a path in a file system of the jail's own
	Source string `json:"source,omitempty"` // a file of the host; "" for the additions alone
	Format string `json:"format"`           // "pem", or "pkcs12" without a password, as Java reads it
	Why    string `json:"why"`
}
