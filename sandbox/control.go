package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The control socket is where agentjail's other subcommands talk to the launcher of a running session. It lies in the session's
// record, which no jail shows (see keepOurs), is the caller's alone (0600), and asks the kernel who speaks: a process of the
// launcher's own uid and user namespace. A jail's command has that uid on some machines and never that namespace.
//
//	client                        launcher
//	{"revoke":"NAME"}        ──►
//	                         ◄──  {"revoked":["NAME"]}  or  {"error":"…"}
//
// One line each way, and the connection is done.

const (
	controlName = "control"
	controlTime = 5 * time.Second
	controlMax  = 4 << 10 // bytes of a line
)

// controlRequest is what a client says. Revoke is nil when it says something that this version does not know.
type controlRequest struct {
	Revoke *string `json:"revoke,omitempty"` // the name of a secret; "": all
}

type controlAnswer struct {
	Revoked []string `json:"revoked,omitempty"`
	Error   string   `json:"error,omitempty"`
}

// control serves the socket.
type control struct {
	listener *net.UnixListener
	revoke   func(name string) ([]string, error)
	revoked  func(names []string)
	serving  sync.WaitGroup
	name     string
}

// openControl makes the socket in the session's directory and serves it until close.
func openControl(dir string, revoke func(string) ([]string, error), revoked func([]string)) (*control, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	l, err := net.ListenUnix("unix", socketIn(d))
	if err != nil {
		return nil, fmt.Errorf("control socket in %s: %w", dir, err)
	}
	l.SetUnlinkOnClose(false) // it would be looked for under the descriptor's name
	c := &control{listener: l, revoke: revoke, revoked: revoked, name: filepath.Join(dir, controlName)}
	if err := os.Chmod(c.name, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	c.serving.Go(c.serve)
	return c, nil
}

// socketIn names the socket by its directory's descriptor: sun_path has 108 bytes (unix(7)), and a home may have more.
func socketIn(dir *os.File) *net.UnixAddr {
	return &net.UnixAddr{Net: "unix", Name: filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), controlName)}
}

func (c *control) serve() {
	for {
		conn, err := c.listener.AcceptUnix()
		if err != nil {
			return
		}
		c.serving.Go(func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(controlTime))
			_ = json.NewEncoder(conn).Encode(c.answer(conn)) // a client that is gone reads no answer
		})
	}
}

// answer does what one client asks.
func (c *control) answer(conn *net.UnixConn) controlAnswer {
	if err := ownPeer(conn); err != nil {
		return controlAnswer{Error: err.Error()}
	}
	var q controlRequest
	d := json.NewDecoder(io.LimitReader(conn, controlMax))
	d.DisallowUnknownFields()
	switch err := d.Decode(&q); {
	case err != nil:
		return controlAnswer{Error: "not understood: " + err.Error()}
	case q.Revoke == nil:
		return controlAnswer{Error: "nothing was asked"}
	}
	names, err := c.revoke(*q.Revoke)
	if err != nil {
		return controlAnswer{Error: err.Error()}
	}
	if len(names) > 0 {
		c.revoked(names)
	}
	return controlAnswer{Revoked: names}
}

// ownPeer holds that the peer is the caller's and in no jail: SO_PEERCRED (unix(7)) tells the uid in our namespace, where the uids of
// jails are those of their users, so the peer's user namespace has to be ours, too.
func ownPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil || err != nil {
		return errors.Join(cerr, err)
	}
	if int(peer.Uid) != os.Getuid() && peer.Uid != 0 {
		return fmt.Errorf("uid %d is not the session's", peer.Uid)
	}
	ours, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return err
	}
	theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/user", peer.Pid))
	if err != nil || ours != theirs {
		return errors.New("the peer is in another user namespace")
	}
	return nil
}

// close ends the socket and waits for those that are talking.
func (c *control) close() {
	if c == nil {
		return
	}
	c.listener.Close()
	c.serving.Wait()
	os.Remove(c.name)
}

// Running says whether a session is: a launcher that was killed leaves its socket behind, and nobody answers there.
func Running(stateDir, id string) bool {
	dir, err := os.Open(filepath.Join(stateDir, "sessions", id))
	if err != nil {
		return false
	}
	defer dir.Close()
	conn, err := net.DialUnix("unix", nil, socketIn(dir))
	if err == nil {
		conn.Close()
	}
	return !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED)
}

// Revoke ends the use of a secret, or of all when name is "", in the running session of that ID, and gives the names of those that it
// ended. The error is fs.ErrNotExist when there is no such session, and ErrNotRunning when it has ended.
func Revoke(ctx context.Context, stateDir, id, name string) ([]string, error) {
	dir, err := os.Open(filepath.Join(stateDir, "sessions", id))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	conn, err := (&net.Dialer{Timeout: controlTime}).DialContext(ctx, "unix", socketIn(dir).Name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * controlTime))
	// The session may refuse who asks before it has read what is asked: then the write fails, and its reason is there to read.
	if err := json.NewEncoder(conn).Encode(controlRequest{Revoke: &name}); err != nil && !errors.Is(err, unix.EPIPE) {
		return nil, err
	}
	var a controlAnswer
	if err := json.NewDecoder(conn).Decode(&a); err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	if a.Error != "" {
		return nil, fmt.Errorf("session %s: %s", id, a.Error)
	}
	return a.Revoked, nil
}

// ErrNotRunning says that a session has ended.
var ErrNotRunning = errors.New("the session is not running")
