package sandbox

import (
	"bytes"
	"errors"
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
	await(t, st)
	socket.Close()
	if got, _ := os.ReadFile(out); !bytes.Equal(got, want) {
		t.Errorf("%d bytes came out of %d", len(got), len(want))
	}
	if got, _ := io.ReadAll(peer); string(got) != "to the socket" {
		t.Errorf("the socket got %q", got)
	}
}

// await waits for what the jail wrote.
func await(t *testing.T, st *streams) {
	t.Helper()
	for _, r := range st.relays {
		<-r.done
		if r.err != nil {
			t.Error(r.err)
		}
	}
}

// A pipe that the jail held could be emptied of what others write to it, and made not to block for all.
func TestStreamsKeepThePipesFlags(t *testing.T) {
	in, fed := pipe(t)
	read, out := pipe(t)
	st, err := newStreams(Stdio{in, out, out}, false)
	if err != nil {
		t.Fatal(err)
	}
	if sameFile(st.child[1], out) {
		t.Error("stdout is the caller's pipe")
	}
	if !sameFile(st.child[0], in) {
		t.Error("stdin is copied: what the copy reads is missing from whoever reads on")
	}
	if st.child[1] != st.child[2] {
		t.Error("one pipe has become two, and the order of what is written to both is lost")
	}
	unix.SetNonblock(int(in.Fd()), false)
	unix.SetNonblock(int(st.child[0].Fd()), true)
	if flags, err := unix.FcntlInt(in.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("the caller's stdin has flags %o, %v", flags, err)
	}
	fed.WriteString("through")
	buf := make([]byte, 7)
	if _, err := io.ReadFull(st.child[0], buf); err != nil {
		t.Error(err)
	}
	st.child[1].Write(buf)
	if _, err := io.ReadFull(read, buf); err != nil || string(buf) != "through" {
		t.Errorf("%q, %v", buf, err)
	}
	st.close()
	await(t, st)
}

// The jail is dead, and somebody else whom it gave its stdout still has it.
func TestRelayEndsWithTheJail(t *testing.T) {
	dir := t.TempDir()
	null := open(t, os.DevNull, os.O_RDWR)
	_, full := pipe(t) // nobody reads, and one byte fits: what the jail leaves has to wait for no room
	for name, out := range map[string]*os.File{"file": open(t, filepath.Join(dir, "out"), os.O_CREATE|os.O_RDWR), "pipe": full} {
		st, err := newStreams(Stdio{null, out, null}, false)
		if err != nil {
			t.Fatal(err)
		}
		held, err := unix.FcntlInt(st.child[1].Fd(), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		st.child[1].WriteString("left")
		st.close()
		st.over[1].Close()
		await(t, st)
		if _, err := unix.Write(held, []byte("later")); err != unix.EPIPE {
			t.Errorf("%s: a write after the end: %v", name, err)
		}
		unix.Close(held)
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "out")); string(got) != "left" {
		t.Errorf("%q came out", got)
	}
}

func TestRelayTellsWhatIsLost(t *testing.T) {
	null := open(t, os.DevNull, os.O_RDWR)
	gone, closed := pipe(t)
	gone.Close()
	for _, test := range []struct {
		out  *os.File
		want error
	}{{open(t, "/dev/full", os.O_WRONLY), unix.ENOSPC}, {closed, nil}} {
		st, err := newStreams(Stdio{null, test.out, null}, false)
		if err != nil {
			t.Fatal(err)
		}
		st.child[1].WriteString("x")
		r := st.relays[0]
		<-r.done // the command's end is not waited for
		if !errors.Is(r.err, test.want) {
			t.Errorf("%s: %v, want %v", test.out.Name(), r.err, test.want)
		}
		if _, err := st.child[1].WriteString("y"); !errors.Is(err, unix.EPIPE) {
			t.Errorf("%s: the command's next write: %v", test.out.Name(), err)
		}
		st.close()
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
		await(t, st)
	}
}
