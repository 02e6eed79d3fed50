package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
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
	name := strings.Repeat("x", maxMessage-100)
	sent := make(chan struct{})
	go func() {
		a.send(&message{GatewayStart: &gatewayStart{Hostname: name}}, w, w)
		close(sent)
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
	<-sent
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
	if first.GatewayStart.Hostname != name {
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
	if err := a.send(&message{GatewayTrees: true}); err != nil {
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
		"gone in the body":    {[]byte{0, 0, 0, 9, 2}, io.ErrUnexpectedEOF},
		"too large":           {binary.BigEndian.AppendUint32(nil, maxMessage+1), nil},
		"an unknown kind":     {[]byte{0, 0, 0, 1, 98}, nil},
		"less than announced": {new(parcelled).of(kindFailure, 9), nil},
		"more than announced": {new(parcelled).of(kindTrees, 0), nil},
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
