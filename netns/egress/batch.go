package egress

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// batch is TLS that carries bodies. crypto/tls reads and writes one record for each system call, which is 16 KiB at most (RFC 8446
// section 5.1), and each of them wakes somebody up: where more than one is there, batch takes and gives them together.
type batch struct {
	*tls.Conn
	wire    *wire
	reading sync.Mutex
	writing sync.Mutex
}

// maxRecord is how much crypto/tls puts into one record.
const maxRecord = 16 << 10

// Read gives what is there of several records, and waits for the first alone.
func (b *batch) Read(p []byte) (n int, err error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	n, err = b.Conn.Read(p)
	if err != nil || !b.wire.hurry(true) {
		return n, err
	}
	defer b.wire.hurry(false)
	for n < len(p) {
		more, err := b.Conn.Read(p[n:])
		n += more
		if err == errNothing {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Write sends the records of p together.
func (b *batch) Write(p []byte) (n int, err error) {
	b.writing.Lock()
	defer b.writing.Unlock()
	if len(p) > maxRecord {
		last := (len(p) - 1) / maxRecord * maxRecord
		b.wire.cork(true)
		n, err = b.Conn.Write(p[:last])
		b.wire.cork(false)
		if err != nil {
			return n, err
		}
	}
	more, err := b.Conn.Write(p[n:]) // with what is corked, for who closes TLS waits for its own Write alone
	return n + more, err
}

// ReadFrom has io.Copy read as much as Write sends at once.
func (b *batch) ReadFrom(r io.Reader) (int64, error) {
	buf := b.wire.pool.Get()
	defer b.wire.pool.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{b}, struct{ io.Reader }{r}, buf)
}

// wire is what TLS reads from and writes to.
type wire struct {
	net.Conn
	pool *buffers

	reading sync.Mutex
	in      []byte // read and not yet asked for
	buf     []byte // what in is a part of; nil while little comes
	much    bool   // the last read got more than a record, or all that it had room for
	ahead   bool   // nobody waits for what is not here

	writing sync.Mutex
	corked  bool   // more follows
	out     []byte // kept until then
	closed  bool
}

// errNothing says that nothing is here. It is one of those that crypto/tls does not keep for ever.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing is here" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

func (w *wire) Read(p []byte) (int, error) {
	w.reading.Lock()
	defer w.reading.Unlock()
	if len(w.in) == 0 {
		if w.ahead {
			return 0, errNothing
		}
		if w.much && w.readable() {
			w.buf = w.pool.large()
		}
		if w.buf == nil {
			n, err := w.Conn.Read(p)
			w.much = n == len(p) && n > maxRecord/2
			return n, err
		}
		n, err := w.Conn.Read(w.buf)
		w.in, w.much = w.buf[:n], n > maxRecord
		if n == 0 {
			w.drop()
			return 0, err
		} // an error comes again
	}
	n := copy(p, w.in)
	if w.in = w.in[n:]; len(w.in) == 0 {
		w.drop()
	}
	return n, nil
}

// readable waits until Read has something to give, for a kept connection that waits is to hold no large buffer. Where that ends in an
// error, Read has the last word.
func (w *wire) readable() bool {
	s, ok := w.Conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Read(pending) == nil
}

// pending says whether something can be read, be it an end or an error.
func pending(fd uintptr) bool {
	var b [1]byte
	_, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return err != unix.EAGAIN && err != unix.EINTR
}

// silent says whether nothing can be read from c now.
func silent(c syscall.Conn) bool {
	raw, err := c.SyscallConn()
	quiet := false
	return err == nil && raw.Control(func(fd uintptr) { quiet = !pending(fd) }) == nil && quiet
}

// quiet says whether nothing was read that nobody has asked for.
func (b *batch) quiet() bool {
	b.reading.Lock()
	defer b.reading.Unlock()
	b.wire.look(true)
	defer b.wire.look(false)
	_, err := b.Conn.Read(make([]byte, 1))
	return err == errNothing
}

// look has Read give what is here and not wait.
func (w *wire) look(on bool) {
	w.reading.Lock()
	defer w.reading.Unlock()
	w.ahead = on
}

// hurry has Read give what is here and not wait, unless little comes anyway: then, and when that ends, it says false.
func (w *wire) hurry(on bool) bool {
	w.reading.Lock()
	defer w.reading.Unlock()
	w.ahead = on && (w.much || w.buf != nil)
	return w.ahead
}

// drop gives the buffer back.
func (w *wire) drop() {
	if w.buf != nil {
		w.pool.Put(w.buf)
	}
	w.in, w.buf = nil, nil
}

// cork has Write keep what it gets, until the first that comes uncorked.
func (w *wire) cork(on bool) {
	w.writing.Lock()
	defer w.writing.Unlock()
	w.corked = on
}

func (w *wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if w.closed { // or a Write under way would keep a buffer that nobody sends
		return 0, net.ErrClosed
	}
	if w.out == nil && w.corked {
		w.out = w.pool.large()[:0]
	}
	if w.out == nil {
		return w.Conn.Write(p)
	}
	var err error
	if len(w.out)+len(p) > cap(w.out) {
		_, err = w.Conn.Write(w.out)
		w.out = w.out[:0]
	}
	w.out = append(w.out, p...)
	if w.corked && err == nil {
		return len(p), nil
	}
	if err == nil {
		_, err = w.Conn.Write(w.out)
	}
	w.uncorked()
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *wire) uncorked() {
	if w.out != nil {
		w.pool.Put(w.out)
	}
	w.out = nil
}

// Close gives back what nobody asked for, and what was not sent.
func (w *wire) Close() error {
	err := w.Conn.Close() // ends Read and Write
	w.reading.Lock()
	defer w.reading.Unlock()
	w.drop()
	w.writing.Lock()
	defer w.writing.Unlock()
	w.uncorked()
	w.closed = true
	return err
}

// session is for a connection of the jail's.
func (w *wire) session() *session { return w.Conn.(carrier).session() }

// buffers are what bodies are carried through. Large ones are few, 8 MiB in all: of many bodies at once the others do without.
type buffers struct {
	some, more sync.Pool
	lent       atomic.Int32
}

const (
	someBytes = 32 << 10
	moreBytes = 16 * maxRecord // down to here each doubling took less time
	mostLent  = 32
	overhead  = 16 * 256 // of the records of moreBytes (RFC 5246 section 6.2.3)
)

// large gives one with room for what TLS adds, or nil.
func (b *buffers) large() []byte {
	if b.lent.Add(1) > mostLent {
		b.lent.Add(-1)
		return nil
	}
	if p, ok := b.more.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, moreBytes, moreBytes+overhead)
}

// Get gives a large one or another.
func (b *buffers) Get() []byte {
	if p := b.large(); p != nil {
		return p
	}
	if p, ok := b.some.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, someBytes)
}

// Put takes back what large or Get gave.
func (b *buffers) Put(p []byte) {
	p = p[:cap(p)]
	if len(p) == someBytes {
		b.some.Put(&p)
		return
	}
	p = p[:moreBytes]
	b.more.Put(&p)
	b.lent.Add(-1)
}
