package sandbox

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// session makes a session's record with a control socket in it. The name is longer than sun_path.
func session(t *testing.T, revoke func(string) ([]string, error)) (state, id string, noted *[]string) {
	t.Helper()
	state = filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	id = "20260101-000000-00000000"
	dir := filepath.Join(state, "sessions", id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	noted = new([]string)
	c, err := openControl(dir, revoke, func(names []string) { *noted = append(*noted, names...) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	info, err := os.Lstat(filepath.Join(dir, controlName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	return state, id, noted
}

func TestControl(t *testing.T) {
	state, id, noted := session(t, func(name string) ([]string, error) {
		if name == "none" {
			return nil, errors.New("the session has no secret \"none\"")
		}
		return []string{"a", name}, nil
	})
	names, err := Revoke(context.Background(), state, id, "b")
	if err != nil || strings.Join(names, " ") != "a b" || strings.Join(*noted, " ") != "a b" {
		t.Errorf("%v, %v, noted %v", names, err, *noted)
	}
	if _, err := Revoke(context.Background(), state, id, "none"); err == nil || !strings.Contains(err.Error(), "no secret") {
		t.Error(err)
	}
	if _, err := Revoke(context.Background(), state, "other", ""); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, text := range []string{"", "{}\n", "{\"revoke\":7}\n", "{\"kill\":true}\n", "x\n", strings.Repeat("[", controlMax+1)} {
		if answer := say(t, state, id, text); !strings.Contains(answer, `"error"`) {
			t.Errorf("%.20q: %q", text, answer)
		}
	}
}

func say(t *testing.T, state, id, text string) string {
	t.Helper()
	dir, err := os.Open(filepath.Join(state, "sessions", id))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	c, err := net.DialUnix("unix", nil, socketIn(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil && !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
	c.CloseWrite()
	answer, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return string(answer)
}

func TestControlOfASessionThatHasEnded(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, "sessions", "x")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Revoke(context.Background(), state, "x", ""); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenUnix("unix", socketIn(d))
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close() // as after SIGKILL: the name stays
	d.Close()
	if _, err := Revoke(context.Background(), state, "x", ""); !errors.Is(err, ErrNotRunning) {
		t.Error(err)
	}
}

// TestControlFromAnotherNamespace asks from a user namespace of the same uid, as a jail's command would that had found the socket.
// Control: the same program without the namespace.
func TestControlFromAnotherNamespace(t *testing.T) {
	state, id, _ := session(t, func(string) ([]string, error) { return []string{"a"}, nil })
	for _, inside := range []bool{false, true} {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestControlClient$")
		cmd.Env = append(os.Environ(), "CONTROL_STATE="+state, "CONTROL_ID="+id)
		if inside {
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getuid(), HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: os.Getgid(), HostID: os.Getgid(), Size: 1}}}
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if refused := bytes.Contains(out, []byte("another user namespace")); refused != inside {
			t.Errorf("inside %v: %s", inside, out)
		}
	}
}

// TestControlClient is the program of the test above.
func TestControlClient(t *testing.T) {
	state := os.Getenv("CONTROL_STATE")
	if state == "" {
		return
	}
	names, err := Revoke(context.Background(), state, os.Getenv("CONTROL_ID"), "")
	t.Log(names, err)
	os.Stdout.WriteString(strings.Join(names, ",") + " ")
	if err != nil {
		os.Stdout.WriteString(err.Error())
	}
}
