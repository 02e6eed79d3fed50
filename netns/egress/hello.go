package egress

import (
	"errors"
	"fmt"
	"io"
	"slices"
)

// Hello is what a TLS client says before anything is encrypted (RFC 8446 section 4.1.2), and no more of it than the door judges.
type Hello struct {
	Raw    []byte   // the records as they came, to be replayed to the real server
	SNI    string   // host_name as sent; Canonical judges it
	HasSNI bool     // a server_name extension was there
	ECH    bool     // an encrypted_client_hello extension was there
	ALPN   []string // protocols, in the client's order
}

// ErrNotTLS is wrapped when the first bytes are no TLS handshake record: another protocol, or none.
var ErrNotTLS = errors.New("not a TLS handshake")

const (
	recordHeader = 5       // type, version, length
	maxFragment  = 1 << 14 // RFC 8446 section 5.1

	typeHandshake   = 22
	typeClientHello = 1

	extServerName = 0
	extALPN       = 16
	extESNI       = 0xffce // draft-ietf-tls-esni-00 to -06
	extECHFirst   = 0xfe08 // draft-ietf-tls-esni-08
	extECH        = 0xfe0d // RFC 9849
)

// ReadHello reads TLS records until the ClientHello is whole, however it is cut into records and segments, and not one byte
// further: what follows (a TLS 1.3 client may send early data at once) stays in r. At most max bytes are read; a hello has seldom
// more than 2 KiB, with post-quantum key shares and session tickets 4 KiB.
//
// The Hello is never nil. With an error it holds Raw alone: whatever was read. Errors of r are wrapped, those of the peer say what
// is wrong; ErrNotTLS is decided on the first byte that differs, so that a client which speaks another protocol is not waited for.
//
// It is strict where two readers might differ: a hello that is followed by anything in its last record, empty records, other
// records between, lengths that do not add up, an extension twice (RFC 8446 section 4.2), several names or a name that is no
// host_name (RFC 6066 section 3) are errors. Tickets, early data, cipher suites and unknown extensions are left alone.
func ReadHello(r io.Reader, max int) (*Hello, error) {
	h := &Hello{}
	var msg []byte // the handshake message, taken out of its records
	for {
		fragment, err := h.readRecord(r, max)
		if err != nil {
			return h, err
		}
		msg = append(msg, fragment...)
		if msg[0] != typeClientHello {
			return h, fmt.Errorf("handshake type %d: %w", msg[0], ErrNotTLS)
		}
		if len(msg) < 4 {
			continue
		}
		size := 4 + int(msg[1])<<16 + int(msg[2])<<8 + int(msg[3])
		switch {
		case size > max:
			return h, fmt.Errorf("client hello of %d bytes: more than %d", size, max)
		case len(msg) > size:
			return h, errors.New("client hello: more data in its record")
		case len(msg) == size:
			return parseHello(h.Raw, msg[4:])
		}
	}
}

// readRecord reads one record to the end of Raw and gives its fragment.
func (h *Hello) readRecord(r io.Reader, max int) ([]byte, error) {
	start := len(h.Raw)
	for len(h.Raw) < start+recordHeader {
		if err := h.read(r, start+recordHeader, max); err != nil {
			return nil, err
		}
		got := h.Raw[start:]
		if got[0] != typeHandshake || len(got) > 1 && got[1] != 3 {
			if start == 0 {
				return nil, ErrNotTLS
			}
			return nil, fmt.Errorf("client hello: record of type %d between its parts", got[0])
		}
	}
	size := int(h.Raw[start+3])<<8 | int(h.Raw[start+4])
	if size == 0 || size > maxFragment {
		return nil, fmt.Errorf("client hello: record of %d bytes", size)
	}
	for end := start + recordHeader + size; len(h.Raw) < end; {
		if err := h.read(r, end, max); err != nil {
			return nil, err
		}
	}
	return h.Raw[start+recordHeader:], nil
}

// read reads once, so that Raw has at most end bytes.
func (h *Hello) read(r io.Reader, end, limit int) error {
	if end > limit {
		return fmt.Errorf("client hello: more than %d bytes", limit)
	}
	have := len(h.Raw)
	h.Raw = slices.Grow(h.Raw, min(end-have, max(512, have))) // what a header promises is not given before it comes
	n, err := r.Read(h.Raw[have:min(end, cap(h.Raw))])
	h.Raw = h.Raw[:have+n]
	switch {
	case n > 0:
		return nil // an error comes again
	case errors.Is(err, io.EOF) && have > 0:
		return fmt.Errorf("read client hello: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return fmt.Errorf("read client hello: %w", err)
	}
	return fmt.Errorf("read client hello: %w", io.ErrNoProgress)
}

// errLengths says that a length field does not fit what it stands in.
var errLengths = errors.New("client hello: lengths do not add up")

// parseHello reads the body of a ClientHello.
func parseHello(raw, body []byte) (*Hello, error) {
	h := &Hello{Raw: raw}
	s := scan{rest: body}
	s.bytes(2 + 32)             // legacy_version, random
	session := s.vector(1)      // legacy_session_id
	suites := s.vector(2)       // cipher_suites
	compressions := s.vector(1) // legacy_compression_methods
	if s.bad || len(session) > 32 || len(suites) < 2 || len(suites)%2 != 0 || len(compressions) == 0 {
		return &Hello{Raw: raw}, errLengths
	}
	if len(s.rest) == 0 {
		return h, nil // no extensions: TLS 1.2 and before may leave them out
	}
	exts := scan{rest: s.vector(2)}
	seen := map[uint16]bool{}
	for !s.bad && len(exts.rest) > 0 && !exts.bad {
		kind := exts.uint16()
		data := exts.vector(2)
		if exts.bad {
			break
		}
		if seen[kind] {
			return &Hello{Raw: raw}, fmt.Errorf("client hello: extension %d twice", kind)
		}
		seen[kind] = true
		if err := h.extension(kind, data); err != nil {
			return &Hello{Raw: raw}, err
		}
	}
	if s.bad || exts.bad || len(s.rest) > 0 {
		return &Hello{Raw: raw}, errLengths
	}
	return h, nil
}

// extension takes from one extension what the door judges.
func (h *Hello) extension(kind uint16, data []byte) error {
	s := scan{rest: data}
	switch {
	case kind == extServerName:
		list := scan{rest: s.vector(2)}
		nameType := list.bytes(1)
		name := list.vector(2)
		if s.bad || list.bad || len(s.rest) > 0 || len(name) == 0 {
			return errLengths
		}
		if nameType[0] != 0 || len(list.rest) > 0 {
			return errors.New("client hello: server_name is not one host_name")
		}
		h.SNI, h.HasSNI = string(name), true
	case kind == extALPN:
		list := scan{rest: s.vector(2)}
		for len(list.rest) > 0 && !list.bad {
			name := list.vector(1)
			list.bad = list.bad || len(name) == 0
			h.ALPN = append(h.ALPN, string(name))
		}
		if s.bad || list.bad || len(s.rest) > 0 || len(h.ALPN) == 0 {
			return errLengths
		}
	case kind == extESNI, extECHFirst <= kind && kind <= extECH:
		h.ECH = true
	}
	return nil
}

// scan takes bytes off the front. After the first that is missing it is bad and gives nothing more.
type scan struct {
	rest []byte
	bad  bool
}

func (s *scan) bytes(n int) []byte {
	if s.bad || n > len(s.rest) {
		s.bad, s.rest = true, nil
		return nil
	}
	taken := s.rest[:n]
	s.rest = s.rest[n:]
	return taken
}

func (s *scan) uint16() uint16 {
	b := s.bytes(2)
	if s.bad {
		return 0
	}
	return uint16(b[0])<<8 | uint16(b[1])
}

// vector takes a vector whose length stands before it in size bytes (RFC 8446 section 3.4).
func (s *scan) vector(size int) []byte {
	n := 0
	for _, b := range s.bytes(size) {
		n = n<<8 | int(b)
	}
	return s.bytes(n)
}
