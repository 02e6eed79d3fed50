package egress

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// strict is a connection whose Read gives an http.Server, and whose head a reader, nothing but messages that parseHead, chunkLine and
// trailEnd have judged, one piece of one message at a time. In place of a message that is refused it gives a well-formed request and then EOF: the
// handler asks refusal for the number of its request, answers why, and the answer keeps its place behind those of earlier requests
// on the connection.
//
// Read may be ended by a deadline at any point and goes on where it was: http.Server does that to its background read.
type strict struct {
	net.Conn
	buf   []byte // read and not given yet
	room  []byte // for it, where its owner keeps some; else an idle connection holds no memory
	pass  int64  // of buf and of what follows, judged: may be given
	state state
	seen  int // of buf, looked at for the end of a head
	limit int // bytes of one head
	bill  *bill

	mu      sync.Mutex
	heads   int // messages begun
	wholes  int // of them, given to the end
	answers int // of them, answered
	refused *ambiguous
	cut     bool // the last was answered before its end
}

// state is what the next unjudged byte belongs to.
type state int

const (
	inHead state = iota
	inChunkLine
	inChunkEnd
	inTrail
	raw   // no HTTP any more: after CONNECT or an upgrade
	ended // refused
)

// placeholder is what http.Server reads in place of a refused message.
const placeholder = "GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n"

// newStrict reads HTTP from c, after what was read from it before. Of a head, limit bytes are taken.
func newStrict(c net.Conn, before []byte, limit int, b *bill) *strict {
	return &strict{Conn: c, buf: before, limit: limit, bill: b}
}

func (s *strict) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for s.pass == 0 && s.state != raw {
		if err := s.step(func() {}); err != nil {
			return 0, err
		}
	}
	if s.over() {
		return 0, io.EOF
	}
	if len(s.buf) > 0 {
		n := len(s.buf)
		if s.state != raw || s.pass > 0 {
			n = int(min(int64(n), s.pass))
		}
		n = copy(p, s.buf[:n])
		s.buf = s.buf[n:]
		s.given(n)
		return n, nil
	}
	if s.pass > 0 {
		p = p[:min(int64(len(p)), s.pass)]
	}
	n, err := s.Conn.Read(p)
	s.given(n)
	if n == 0 && s.state == raw {
		err = s.end(err)
	}
	return n, err
}

// step judges what is there, or reads more of it; wait is called before.
func (s *strict) step(wait func()) error {
	if s.state == ended || s.over() {
		return io.EOF
	}
	judged, err := s.judge()
	switch {
	case err != nil:
		s.refuse(asAmbiguous(err))
	case !judged:
		wait()
		err := s.fill()
		if errors.Is(err, errBudget) {
			if s.state == inHead {
				s.begin()
			}
			s.refuse(&ambiguous{reason: Busy, detail: err.Error()})
		} else if err != nil {
			return s.end(err)
		}
	}
	return nil
}

// head shows what was read of the next message, all of its head at least; skip gives it away. It waits for the first byte as long as
// idle, and then as long as whole for the rest of the head; for the first message of a connection idle is 0.
func (s *strict) head(idle, whole time.Duration) ([]byte, error) {
	wait := func() {
		if len(s.buf) == 0 && idle > 0 {
			_ = s.SetReadDeadline(time.Now().Add(idle))
		} else if whole > 0 {
			_ = s.SetReadDeadline(time.Now().Add(whole))
			whole = 0 // more bytes give no more time
		}
	}
	for s.pass == 0 {
		if err := s.step(wait); err != nil {
			return nil, err
		}
	}
	_ = s.SetReadDeadline(time.Time{})
	return s.buf[:min(int64(len(s.buf)), s.pass)], nil
}

// skip gives away n bytes that were shown.
func (s *strict) skip(n int) {
	s.buf = s.buf[n:]
	s.given(n)
}

// abandoned waits, while a message is answered, for the client to go away, and says whether it has. A deadline ends that, and another
// message.
func (s *strict) abandoned() bool {
	if len(s.buf) > 0 {
		return false
	}
	err := s.fill()
	if err == nil || errors.Is(err, errBudget) {
		return false
	}
	return !errors.Is(s.end(err), os.ErrDeadlineExceeded)
}

// end gives what http.Server may know of the end of the client's messages. It takes EOF for a client that is gone and breaks off
// the request that it serves, but a client that has said all it has to say may shut its side down and wait (RFC 9112 section 9.6):
// between two messages EOF comes when the last one is answered, or the client is gone indeed. Until then a client that closed
// looks the same; it is found out by the first byte of the answer, or by keep-alive probes within some two minutes. Inside of TLS it is
// close_notify that shuts one side down, from TLS 1.3 on (RFC 8446 section 6.1); with the end of the TCP connection behind it the
// client is gone. In TLS 1.2 close_notify is the end of both directions (RFC 5246 section 7.2.1).
func (s *strict) end(err error) error {
	between := len(s.buf) == 0 && (s.state == inHead || s.state == raw)
	if err != io.EOF || !s.owed() || !between {
		return err
	}
	switch c := s.Conn.(type) {
	case socket:
		return gone(c)
	case *batch:
		if c.ConnectionState().Version >= tls.VersionTLS13 {
			if _, err := io.Copy(io.Discard, c.NetConn()); err != nil {
				return err
			}
		}
	}
	return err
}

// owed says whether a message waits for its answer.
func (s *strict) owed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers < s.heads
}

// answered is told when the handler of a message is done. If the message is not, nothing more is given: http.Server would read the rest
// of it for the next one where a read of the body was broken off at that moment, as it does when an answer comes early.
func (s *strict) answered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers++
	s.cut = s.cut || s.wholes < s.answers
}

// over says whether the last message was answered before its end.
func (s *strict) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

func (s *strict) given(n int) {
	if s.pass > 0 {
		s.pass -= int64(n)
		if s.pass == 0 && (s.state == inHead || s.state == raw || s.state == ended) {
			s.mu.Lock()
			s.wholes++
			s.mu.Unlock()
		}
	}
	if len(s.buf) == 0 {
		s.buf = nil
	}
}

// fill reads more to judge.
func (s *strict) fill() error {
	old := len(s.buf)
	if old == 0 && !s.owed() { // the last message is done with, and with it its head
		s.bill.release()
	}
	if old == 0 && cap(s.room) > 0 {
		s.buf = s.room[:0]
	}
	if cap(s.buf)-old < 1024 {
		size := max(4096, old+1024, min(2*old, s.limit+4096))
		if !s.bill.hold(size) {
			return errBudget
		}
		grown := make([]byte, old, size)
		copy(grown, s.buf)
		s.buf = grown
	}
	n, err := s.Conn.Read(s.buf[old:cap(s.buf)])
	s.buf = s.buf[:old+n]
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// judge looks at the unit that buf begins with: false when it is not whole yet.
func (s *strict) judge() (bool, error) {
	switch s.state {
	case inHead:
		return s.judgeHead()
	case inChunkLine:
		n, size, err := chunkLine(s.buf)
		if n == 0 || err != nil {
			return false, err
		}
		s.pass, s.state = int64(n)+size, inChunkEnd
		if size == 0 {
			s.state = inTrail
		}
	case inChunkEnd:
		if len(s.buf) < 2 {
			return false, nil
		}
		if s.buf[0] != '\r' || s.buf[1] != '\n' {
			return false, bad("chunk longer than its size")
		}
		s.pass, s.state = 2, inChunkLine
	case inTrail:
		n, err := trailEnd(s.buf)
		if err == nil && (n > maxTrail || n == 0 && len(s.buf) > maxTrail) {
			err = errTooLong("trailer section", maxTrail)
		}
		if n == 0 || err != nil {
			return false, err
		}
		s.pass, s.state = int64(n), inHead
	}
	return true, nil
}

func (s *strict) judgeHead() (bool, error) {
	n, err := headEnd(s.buf, s.seen)
	s.seen = len(s.buf) // byte by byte a head would cost the square of its length
	if err == nil && (n > s.limit || n == 0 && len(s.buf) > s.limit) {
		err = errTooLong("request head", s.limit)
	}
	if n == 0 && err == nil {
		return false, nil
	}
	s.begin()
	s.seen = 0
	var h head
	if err == nil {
		h, err = parseHead(s.buf[:n])
	}
	if err != nil {
		return false, err
	}
	s.pass = int64(n) + h.body
	switch {
	case h.method == "CONNECT":
		s.state = raw
	case h.chunked:
		s.state = inChunkLine
	}
	return true, nil
}

func (s *strict) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads++
}

// refuse ends the connection for http.Server. Inside of a message that has begun there is no place for another request: http.Server
// sees the body end too early, and the handler of that request asks refusal why.
func (s *strict) refuse(why *ambiguous) {
	inside := s.state != inHead
	if !inside {
		why.asked = question(s.buf)
	}
	s.state, s.buf, s.pass = ended, nil, 0
	if !inside {
		s.buf = []byte(placeholder)
		if why.asked.method == "HEAD" { // an answer with a body would be read as the next one's
			s.buf = []byte("HEAD" + placeholder[len("GET"):])
		}
		s.pass = int64(len(s.buf))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = why
}

// refusal gives why the request of the given number (the first is 1) was refused, or nil.
func (s *strict) refusal(number int) *ambiguous {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heads == number {
		return s.refused
	}
	return nil
}

// release ends the judging: the connection no longer speaks HTTP. Nobody may be in Read.
func (s *strict) release() {
	s.state, s.pass = raw, 0
	s.answered() // and a half-close is passed on from now
}

// left takes what was read from the connection and not given.
func (s *strict) left() []byte {
	b := s.buf
	s.buf = nil
	return b
}
