package egress

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds of what is read of a pack before it is decided about. git writes commits first (compute_write_order of its pack-objects.c), and
// so do libgit2, JGit and dulwich: of theirs a few kilobytes are enough. What is found behind these bounds counts as not found.
const (
	maxPackHeld = 16 << 20  // bytes, as they came and as they are when their Content-Encoding is undone
	maxInflated = 512 << 20 // bytes of objects: one of the pack's may stand for a thousand
)

var errPackHeld = fmt.Errorf("not in the first %d MiB of the push", maxPackHeld>>20)

// packReader reads the commits of a pack (gitformat-pack(5)) and passes over everything else.
//
// It need not agree with git's own reader about anything: what it takes for a commit has the id that it computes, so a pack
// that is read in another way elsewhere can hide a commit from it, and not show one that does not exist. It goes through the pack once:
// a delta of an object that it has not met, which the server may have ("thin"), is passed over, and so is any that is not of a commit.
type packReader struct {
	in      *offsetReader
	zlib    io.Reader
	history *history
	at      map[int64]oid // commits, by the offset of their entry
	left    int64         // bytes that may still be inflated
}

// The object types of gitformat-pack(5).
const (
	packCommit   = 1
	packTag      = 4
	packOfsDelta = 6
	packRefDelta = 7
)

// readPack reads until h is complete or the pack ends, in front of its trailer.
func readPack(in io.Reader, h *history) error {
	p := &packReader{in: &offsetReader{Reader: bufio.NewReader(in)}, history: h, at: map[int64]oid{}, left: maxInflated}
	if h.complete() {
		return nil
	}
	var head [12]byte
	if _, err := io.ReadFull(p.in, head[:]); err != nil {
		return fmt.Errorf("head of the pack: %w", err)
	}
	if version := binary.BigEndian.Uint32(head[4:]); string(head[:4]) != "PACK" || version != 2 && version != 3 {
		return fmt.Errorf("no pack, or of an unknown version: %q", head[:8])
	}
	for n := range binary.BigEndian.Uint32(head[8:]) {
		if err := p.entry(); err != nil {
			return fmt.Errorf("object %d of the pack: %w", n, err)
		}
		if h.complete() {
			return nil
		}
	}
	return nil
}

// entry reads one object.
func (p *packReader) entry() error {
	start := p.in.offset
	c, err := p.in.ReadByte()
	if err != nil {
		return err
	}
	size := uint64(c & 15)
	if c&0x80 != 0 {
		more, err := binary.ReadUvarint(p.in)
		if err != nil {
			return err
		}
		if more > maxInflated {
			return errInflated
		}
		size |= more << 4
	}
	if p.left -= int64(size); p.left < 0 {
		return errInflated
	}
	kind, base := c>>4&7, (*known)(nil)
	switch {
	case kind == packOfsDelta:
		back, err := p.backOffset()
		if err != nil {
			return err
		}
		if id, ok := p.at[start-back]; ok {
			base = p.history.commits[id]
		}
	case kind == packRefDelta:
		var id oid
		if _, err := io.ReadFull(p.in, id[:p.history.size]); err != nil {
			return err
		}
		base = p.history.commits[id]
	case kind < packCommit || kind > packTag:
		return fmt.Errorf("type %d", kind)
	}
	if kind != packCommit && (base == nil || base.text == nil) {
		return p.inflate(io.Discard, size)
	}
	text, err := p.content(size)
	if err == nil && base != nil {
		text, err = p.patch(base.text, text)
	}
	if err != nil {
		return err
	}
	id, err := p.history.add(text)
	p.at[start] = id
	return err
}

var errInflated = fmt.Errorf("more than %d MiB of objects before it is known", maxInflated>>20)

// backOffset reads how far back the base of an OFS_DELTA begins.
func (p *packReader) backOffset() (int64, error) {
	var n int64
	for {
		c, err := p.in.ReadByte()
		if err != nil {
			return 0, err
		}
		if n = n<<7 | int64(c&0x7f); c&0x80 == 0 {
			return n, nil
		}
		if n++; n > maxPackHeld {
			return 0, errors.New("delta of an object in front of the pack")
		}
	}
}

// content inflates what is kept.
func (p *packReader) content(size uint64) ([]byte, error) {
	if err := p.history.hold(size); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	text.Grow(int(size) + bytes.MinRead)
	err := p.inflate(&text, size)
	return text.Bytes(), err
}

// inflate reads a zlib stream that stands for size bytes.
func (p *packReader) inflate(into io.Writer, size uint64) (err error) {
	if p.zlib == nil {
		p.zlib, err = zlib.NewReader(p.in)
	} else {
		err = p.zlib.(zlib.Resetter).Reset(p.in, nil)
	}
	if err != nil {
		return err
	}
	switch n, err := io.CopyN(into, p.zlib, int64(size)+1); {
	case err == nil || err == io.EOF && n < int64(size):
		return fmt.Errorf("it is not the %d bytes that it says", size)
	case err != io.EOF:
		return err
	}
	return nil
}

var errDelta = errors.New("delta that does not fit its base")

// patch applies a delta (gitformat-pack(5), "Deltified representation").
func (p *packReader) patch(base, delta []byte) ([]byte, error) {
	from, delta, ok := deltaSize(delta)
	size, delta, also := deltaSize(delta)
	if !ok || !also || from != uint64(len(base)) {
		return nil, errDelta
	}
	if err := p.history.hold(size); err != nil {
		return nil, err
	}
	text := make([]byte, 0, size)
	for len(delta) > 0 {
		op := delta[0]
		delta = delta[1:]
		piece := delta
		if op&0x80 == 0 { // the next op bytes; 0 is reserved
			if op == 0 || int(op) > len(delta) {
				return nil, errDelta
			}
			piece, delta = delta[:op], delta[op:]
		} else {
			var operand [8]byte // four bytes of offset, three of length, those that are not zero
			for i := range 7 {
				if op>>i&1 == 0 {
					continue
				}
				if len(delta) == 0 {
					return nil, errDelta
				}
				operand[i], delta = delta[0], delta[1:]
			}
			start, n := uint64(binary.LittleEndian.Uint32(operand[:])), uint64(binary.LittleEndian.Uint32(operand[4:]))
			if n == 0 {
				n = 1 << 16
			}
			if start+n > uint64(len(base)) {
				return nil, errDelta
			}
			piece = base[start : start+n]
		}
		if len(piece) > cap(text)-len(text) {
			return nil, errDelta
		}
		text = append(text, piece...)
	}
	if len(text) != cap(text) {
		return nil, errDelta
	}
	return text, nil
}

func deltaSize(delta []byte) (size uint64, rest []byte, ok bool) {
	size, n := binary.Uvarint(delta)
	if n <= 0 {
		return 0, nil, false
	}
	return size, delta[n:], true
}

// offsetReader counts what is read. Of a reader that has ReadByte zlib takes no more than it needs.
type offsetReader struct {
	*bufio.Reader
	offset int64
}

func (r *offsetReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.offset += int64(n)
	return n, err
}

func (r *offsetReader) ReadByte() (byte, error) {
	c, err := r.Reader.ReadByte()
	if err == nil {
		r.offset++
	}
	return c, err
}
