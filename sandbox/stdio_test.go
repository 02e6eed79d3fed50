package sandbox

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func open(t *testing.T, name string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func kind(t *testing.T, f *os.File) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Mode & unix.S_IFMT
}

func TestStreamsRefuseADirectory(t *testing.T) {
	null := open(t, os.DevNull, os.O_RDWR)
	for i, name := range []string{"stdin", "stdout", "stderr"} {
		files := [3]*os.File{null, null, null}
		files[i] = open(t, "/", os.O_RDONLY)
		_, err := newStreams(Stdio{files[0], files[1], files[2]}, false)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a directory as %s: %v", name, err)
		}
	}
	st, err := newStreams(Stdio{null, null, null}, false)
	if err != nil {
		t.Errorf("control: /dev/null: %v", err)
	}
	st.close()
}

// A regular file that the jail held could be reopened for writing through /proc/self/fd, a socket connected anew.
func TestStreamsHandInNothingButPipes(t *testing.T) {
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	want := bytes.Repeat([]byte("0123456789\x00\n"), 100_000)
	if err := os.WriteFile(in, want, 0o600); err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket, peer := os.NewFile(uintptr(pair[0]), "socket"), os.NewFile(uintptr(pair[1]), "peer")
	defer peer.Close()
	st, err := newStreams(Stdio{open(t, in, os.O_RDONLY), open(t, out, os.O_CREATE|os.O_WRONLY), socket}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range st.child {
		if k := kind(t, f); k != unix.S_IFIFO {
			t.Errorf("descriptor %d is of kind %o", i, k)
		}
	}
	if _, err := io.Copy(st.child[1], st.child[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := st.child[2].WriteString("to the socket"); err != nil {
		t.Fatal(err)
	}
	st.close()
	st.outputs.Wait()
	socket.Close()
	if got, _ := os.ReadFile(out); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came out of %d", len(got), len(want))
	}
	if got, _ := io.ReadAll(peer); string(got) != "to the socket" {
		t.Errorf("the socket got %q", got)
	}
}

func TestStreamsPassPipes(t *testing.T) {
	r, _ := pipe(t)
	_, w := pipe(t)
	st, err := newStreams(Stdio{r, w, w}, false)
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	if st.child != [3]*os.File{r, w, w} {
		t.Error("a pipe was copied through another")
	}
}

// >log 2>&1: two pipes would lose the order of what is written to both.
func TestStreamsOfOneFileAreOnePipe(t *testing.T) {
	dir := t.TempDir()
	out := open(t, filepath.Join(dir, "log"), os.O_CREATE|os.O_WRONLY)
	other := open(t, filepath.Join(dir, "other"), os.O_CREATE|os.O_WRONLY)
	null := open(t, os.DevNull, os.O_RDWR)
	for _, test := range []struct {
		err  *os.File
		same bool
	}{{out, true}, {other, false}} {
		st, err := newStreams(Stdio{null, out, test.err}, false)
		if err != nil {
			t.Fatal(err)
		}
		if same := st.child[1] == st.child[2]; same != test.same {
			t.Errorf("stderr to %s: one pipe is %v", test.err.Name(), same)
		}
		st.close()
		st.outputs.Wait()
	}
}
