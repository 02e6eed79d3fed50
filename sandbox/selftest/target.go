package selftest

import (
	"os"
	"path/filepath"
	"strings"
)

// target is what the attempts of one side are after. Each side has a tree of its own below a common directory, so that what one changes the
// other does not see; the rest is shared.
type target struct {
	Token string // in everything that is worth reaching, and nowhere else
	Home  string // of the user
	// Project is the jail's, Beside another of the user's projects.
	Project, Beside   string
	Credentials       []credential // in the homes of Options, the user's own
	State             string       // agentjail's own
	Temp, VarTemp     string       // files in the host's temporary directories
	Shm               string       // a file in /dev/shm
	Account           string       // of another user of the machine
	Agent             string       // a UNIX socket, as an ssh-agent has
	Abstract          string       // an abstract one, without its @
	TCP, UDP          string       // on the loopback device
	Port              int          // of TCP
	ShmKey, SemaphKey int          // System V
	MsgKey            int
	Queue             string // POSIX
	Bystander         process
	TTY               inode             // of the caller's terminal
	Direct            map[string]string // HOST:PORT of the door's rules → the server's address, where no door stands
	KeySum            string            // the SHA-256 of the secret's value
	Other             session
}

// process is one on the host.
type process struct {
	PID     int
	Role    string // its argument, and with Mark in the next one it is this process and no other
	Mark    string
	Address uintptr // of the token in its memory
}

// inode is a file by its identity (stat(2)).
type inode struct{ Dev, Ino uint64 }

// session is the second jail and what it has.
type session struct {
	Token       string
	Launcher    process
	Runner      process // as the host numbers it
	Record      string  // its directory
	Project     string
	Port        int    // on which it listens
	Abstract    string // the name of its abstract socket
	File        string // a name of files in its /tmp, its home and its /dev/shm
	ShmKey      int
	Queue       string
	Address     string // that the door gave a name in it
	Placeholder string // of its secret
}

// is says whether a process of that number is p: numbers mean other processes in other PID namespaces.
func (p process) is(pid int) bool {
	line, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "cmdline"))
	words := strings.Split(string(line), "\x00")
	for i := range words {
		if err == nil && words[i] == p.Role && i+1 < len(words) && strings.Contains(strings.Join(words[i+1:], " "), p.Mark) {
			return true
		}
	}
	return false
}

// check is nil when p is to be seen under its number.
func (p process) check() error {
	if !p.is(p.PID) {
		return errNotTheHosts
	}
	return nil
}

// find looks through /proc for p.
func (p process) find() (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if pid := atoi(e.Name()); pid > 0 && p.is(pid) {
			return pid, nil
		}
	}
	return 0, errNotTheHosts
}
