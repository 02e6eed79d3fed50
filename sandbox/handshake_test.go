package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func channels(t *testing.T) (a, b *channel) {
	t.Helper()
	a, f, err := newChannel()
	if err != nil {
		t.Fatal(err)
	}
	b, err = openChannel(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestMessageCarriesItsDescriptors(t *testing.T) {
	a, b := channels(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	// Larger than the socket's buffer: the sender waits for the reader, and the descriptors ride on the first byte.
	data := bytes.Repeat([]byte("x"), 1<<20)
	go func() {
		a.send(&message{GatewayStart: &gatewayStart{Hostname: "first", Mounts: []Mount{{Data: data}}}}, w, w)
		a.send(&message{GatewayStart: &gatewayStart{Hostname: "second"}})
	}()
	first, err := b.receive()
	if err != nil {
		t.Fatal(err)
	}
	files, err := first.claim(2)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	fmt.Fprint(files[0], "through")
	for _, f := range files {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor flags %d, %v: it would be inherited", flags, err)
		}
		f.Close()
	}
	if got, _ := io.ReadAll(r); string(got) != "through" {
		t.Errorf("the descriptor leads to %q", got)
	}
	if !bytes.Equal(first.GatewayStart.Mounts[0].Data, data) {
		t.Error("the body changed on the way")
	}
	second, err := b.receive()
	if err != nil || second.GatewayStart.Hostname != "second" || len(second.files) != 0 {
		t.Errorf("second message: %+v, %v", second, err)
	}
}

// The other side may read the whole message, fail and be gone before send returns: what it said counts, and not an EPIPE of ours.
func TestSendToOneThatReadsAndGoes(t *testing.T) {
	for range 200 {
		a, b := channels(t)
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			b.receive()
			b.send(failed(StepRoot, unix.EPERM))
			b.Close()
		}()
		if err := a.send(&message{GatewayGone: &gatewayGone{1}}); err != nil {
			t.Fatal(err)
		}
		<-gone
		if m, err := a.receive(); err != nil || m.Failure == nil {
			t.Fatalf("%+v, %v", m, err)
		}
	}
}

func TestClaimWantsTheRightNumber(t *testing.T) {
	a, b := channels(t)
	if err := a.send(&message{GatewayTrees: &struct{}{}}); err != nil {
		t.Fatal(err)
	}
	m, err := b.receive()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.claim(1); err == nil {
		t.Error("a descriptor that did not come was claimed")
	}
}

func TestReceiveEnds(t *testing.T) {
	tests := map[string]struct {
		bytes []byte
		want  error // nil: any
	}{
		"peer is gone":        {nil, io.EOF},
		"gone in the header":  {[]byte{0, 0}, io.EOF},
		"gone in the body":    {[]byte{0, 0, 0, 9, '{'}, io.ErrUnexpectedEOF},
		"too large":           {binary.BigEndian.AppendUint32(nil, maxMessage+1), nil},
		"no JSON in the body": {[]byte{0, 0, 0, 2, '{', 'x'}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := channels(t)
			if len(test.bytes) > 0 {
				if _, err := a.conn.Write(test.bytes); err != nil {
					t.Fatal(err)
				}
			}
			a.Close()
			if _, err := b.receive(); err == nil || test.want != nil && err != test.want {
				t.Errorf("receive: %v, want %v", err, test.want)
			}
		})
	}
}

func TestFailureTravels(t *testing.T) {
	a, b := channels(t)
	cause := &Error{Step: StepRoot, Err: fmt.Errorf("bind /x: %w", &os.PathError{Op: "open", Path: "/x", Err: unix.EACCES})}
	if err := a.send(failed(StepInit, cause)); err != nil {
		t.Fatal(err)
	}
	m, err := b.receive()
	if err != nil {
		t.Fatal(err)
	}
	got := m.Failure.err()
	if m.Failure.Step != StepRoot || got.Error() != "bind /x: open /x: permission denied" || !errors.Is(got, unix.EACCES) {
		t.Errorf("step %q, error %v", m.Failure.Step, got)
	}
}

func TestPathsAndContentsTravelBesideTheMessage(t *testing.T) {
	mounts := []Mount{{Target: "/a", Data: []byte("one")}, {Target: "/b"}, {Target: "/c", Data: []byte("two")}, {Target: "/d", Data: []byte("one")}}
	bare, texts, f, err := packTexts(mounts)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := f.Stat(); err != nil || info.Size() != 4*2+6 {
		t.Errorf("%d bytes, %v: equal texts are kept once", info.Size(), err)
	}
	for i, m := range bare {
		if m.Data != nil || m.Target != "" {
			t.Errorf("mount %d still has its texts", i)
		}
	}
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := unpackTexts(bare, texts, f); err != nil {
		t.Fatal(err)
	}
	for i := range mounts {
		if !bytes.Equal(bare[i].Data, mounts[i].Data) || bare[i].Target != mounts[i].Target {
			t.Errorf("%s: %q, want %q", mounts[i].Target, bare[i].Data, mounts[i].Data)
		}
	}
	texts[2][1].Size = 100
	if err := unpackTexts(bare, texts, again); err == nil {
		t.Error("contents beyond the end were taken")
	}
}

// FuzzMountsTravel holds that the gateway acts on the very bytes that were planned: a name need not be UTF-8, and one that JSON has
// mended is another's.
func FuzzMountsTravel(f *testing.F) {
	f.Add("/p/s\xff/.env", "/p/s\uFFFD/.env", []byte("\xfe"))
	f.Add("", "/", []byte{})
	f.Fuzz(func(t *testing.T, source, target string, data []byte) {
		want := []Mount{{Kind: KindBind, Source: source, Target: target, Data: data}, {Kind: KindPin, Target: source}}
		bare, texts, contents, err := packTexts(want)
		if err != nil {
			t.Fatal(err)
		}
		a, b := channels(t)
		if err := a.send(&message{GatewayStart: &gatewayStart{Mounts: bare, Texts: texts}}, contents); err != nil {
			t.Fatal(err)
		}
		contents.Close()
		m, err := b.receive()
		if err != nil {
			t.Fatal(err)
		}
		files, err := m.claim(1)
		if err != nil {
			t.Fatal(err)
		}
		got := m.GatewayStart.Mounts
		if err := unpackTexts(got, m.GatewayStart.Texts, files[0]); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got[i].Kind != want[i].Kind || got[i].Source != want[i].Source || got[i].Target != want[i].Target || !bytes.Equal(got[i].Data, want[i].Data) {
				t.Errorf("sent %+v, came as %+v", want[i], got[i])
			}
		}
	})
}
