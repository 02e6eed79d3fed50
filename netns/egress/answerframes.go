package egress

import (
	"encoding/binary"
	"errors"
	"io"
)

// maxControl is the longest payload of a control frame (RFC 6455 section 5.5).
const maxControl = 125

// socketed is an upgraded connection to a server, with the swaps made in what it says over WebSocket (RFC 6455 section 5). A message's
// frames are one text, and what comes out are other frames of the same message: so a value that is split over them goes, too, and
// a placeholder may have another length. What cannot be read so ends the connection: frames that are masked, which a server's are not,
// and those of an extension, which was not asked for.
type socketed struct {
	io.ReadWriteCloser
	swaps  func() []*swap            // of now
	refuse func(detail string) error // ends the connection

	head    []byte // of the frame, as far as it is there
	left    uint64 // of its payload
	control []byte // payload of a control frame
	swap    []*swap
	filters []filter // one for each, while a message lasts
	opcode  byte     // of the message, until its first frame is given on; then 0: continuation
	in, out []byte
	err     error
}

var errFrame = errors.New("not a frame of a server that was asked for no extension")

func (s *socketed) Read(p []byte) (int, error) {
	for len(s.out) == 0 && s.err == nil && len(p) > 0 {
		if s.in == nil {
			s.in = make([]byte, 32<<10)
		}
		n, err := s.ReadWriteCloser.Read(s.in)
		s.out, s.err = s.out[:0], err
		if bad := s.feed(s.in[:n]); bad != nil {
			s.err = s.refuse(bad.Error())
		}
	}
	n := copy(p, s.out)
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil
		return n, s.err
	}
	return n, nil
}

// CloseWrite passes the client's half-close on.
func (s *socketed) CloseWrite() error {
	if c, ok := s.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// feed takes bytes of the server and puts into out what they become.
func (s *socketed) feed(p []byte) error {
	for len(p) > 0 {
		if s.left == 0 {
			s.head, p = append(s.head, p[0]), p[1:]
			whole, err := s.begin()
			if err != nil {
				return err
			}
			if whole && s.left == 0 {
				s.payload(nil)
			}
			continue
		}
		n := int(min(uint64(len(p)), s.left))
		s.left -= uint64(n)
		s.payload(p[:n])
		p = p[n:]
	}
	return nil
}

// begin reads the head, and says whether it is whole.
func (s *socketed) begin() (bool, error) {
	if s.head[0]&0x70 != 0 || len(s.head) > 1 && s.head[1]&0x80 != 0 {
		return false, errFrame
	}
	size := 2
	if len(s.head) > 1 {
		size += map[byte]int{126: 2, 127: 8}[s.head[1]]
	}
	if len(s.head) < size {
		return false, nil
	}
	switch size {
	case 2:
		s.left = uint64(s.head[1])
	case 4:
		s.left = uint64(binary.BigEndian.Uint16(s.head[2:]))
	default:
		s.left = binary.BigEndian.Uint64(s.head[2:])
	}
	switch opcode := s.head[0] & 0x0f; {
	case opcode >= 8:
		if s.left > maxControl || s.head[0]&0x80 == 0 {
			return false, errFrame
		}
		s.control = s.control[:0]
	case opcode != 0:
		s.opcode, s.swap = opcode, s.swaps()
		s.filters = make([]filter, len(s.swap))
	}
	return true, nil
}

// payload takes a piece of the frame's payload; left says whether it is the last.
func (s *socketed) payload(p []byte) {
	if s.head[0]&0x08 != 0 {
		if s.control = append(s.control, p...); s.left == 0 {
			for _, swap := range s.swaps() {
				s.control = []byte(swap.text(string(s.control)))
			}
			s.frame(s.head[0], s.control[:min(len(s.control), maxControl)])
			s.head = s.head[:0]
		}
		return
	}
	final := s.left == 0 && s.head[0]&0x80 != 0
	for i := range s.filters {
		p = s.filters[i].feed(s.swap[i], nil, p)
		if final {
			p = s.filters[i].end(s.swap[i], p)
		}
	}
	if final {
		s.frame(0x80|s.opcode, p)
	} else if len(p) > 0 {
		s.frame(s.opcode, p)
		s.opcode = 0
	}
	if s.left == 0 {
		s.head = s.head[:0]
	}
}

// frame writes one frame, unmasked.
func (s *socketed) frame(first byte, p []byte) {
	switch n := len(p); {
	case n < 126:
		s.out = append(s.out, first, byte(n))
	case n < 1<<16:
		s.out = binary.BigEndian.AppendUint16(append(s.out, first, 126), uint16(n))
	default:
		s.out = binary.BigEndian.AppendUint64(append(s.out, first, 127), uint64(n))
	}
	s.out = append(s.out, p...)
}
