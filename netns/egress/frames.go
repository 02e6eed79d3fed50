package egress

import "encoding/binary"

// frames looks into what a client sends over WebSocket (RFC 6455 section 5.2), whatever pieces it comes in. Payloads are masked, with
// a key of each frame's own, so a placeholder is nowhere to be seen in the bytes of the wire; those are looked at as well, for nobody
// has to speak what was agreed on. Fragments of a message are one text, and control frames between them do not cut it.
type frames struct {
	wire, data, control *search

	head  [14]byte
	n     int    // of head, read
	left  uint64 // of the payload
	keyed int    // of the payload, unmasked
}

func newFrames(search func() *search) *frames {
	return &frames{wire: search(), data: search(), control: search()}
}

// feed gives the placeholder that is whole with one of the next bytes, or -1. p stays as it is.
func (f *frames) feed(p []byte) int {
	if found := f.wire.feed(p); found >= 0 {
		return found
	}
	var clear [1 << 10]byte
	for len(p) > 0 {
		if f.left == 0 {
			f.head[f.n] = p[0]
			f.n++
			p = p[1:]
			if f.n == f.size() {
				f.begin()
			}
			continue
		}
		n := int(min(uint64(len(p)), f.left, uint64(len(clear))))
		key := f.key()
		for i := range n {
			clear[i] = p[i] ^ key[f.keyed&3]
			f.keyed++
		}
		to := f.data
		if f.head[0]&0x08 != 0 {
			to = f.control
		}
		if found := to.feed(clear[:n]); found >= 0 {
			return found
		}
		p, f.left = p[n:], f.left-uint64(n)
		if f.left == 0 {
			f.n = 0
		}
	}
	return -1
}

// size is the length of the head, as far as it can be told yet.
func (f *frames) size() int {
	if f.n < 2 {
		return 2
	}
	size := 2 + f.extended()
	if f.head[1]&0x80 != 0 {
		size += 4
	}
	return size
}

// extended is the length of the length behind the first seven bits.
func (f *frames) extended() int {
	switch f.head[1] & 0x7f {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

// begin reads a whole head.
func (f *frames) begin() {
	switch f.extended() {
	case 0:
		f.left = uint64(f.head[1] & 0x7f)
	case 2:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 8:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	}
	f.keyed = 0
	if f.left == 0 {
		f.n = 0
	}
}

// key is the frame's masking key, of zeros when it has none.
func (f *frames) key() (key [4]byte) {
	if f.head[1]&0x80 != 0 {
		copy(key[:], f.head[f.n-4:f.n])
	}
	return key
}

// frame looks at what the client sends behind an upgrade.
func (e *errand) frame(p []byte) error {
	if e == nil || e.sent == nil {
		return nil
	}
	if found := e.sent.feed(p); found >= 0 {
		return e.found(found, "a WebSocket frame")
	}
	return nil
}
