package egress

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
)

// Bounds of looking into a compressed body; what is behind them passes unseen.
const (
	maxUnpacked = 256 << 20 // bytes decoded of one body: a few kilobytes may stand for gigabytes
	maxAhead    = 1 << 20   // compressed bytes that a decoder takes without giving anything
)

// unpacked is a compressed request body that is searched while it passes, as it came. The decoder reads through it, so what is given on
// has been with the decoder before; it may keep the last 32 KiB to itself, so the last byte stays back until it has given them: a
// body with something in it ends in an error before it is whole. What is not what its Content-Encoding says passes.
type unpacked struct {
	io.ReadCloser
	decode func(io.Reader) (io.Reader, error)
	found  func(p []byte) error // looks at decoded bytes

	clear io.Reader
	done  bool   // nothing more to decode
	total int    // decoded
	ahead []byte // taken by the decoder, not given on
	err   error  // of the body
}

func (u *unpacked) Read(p []byte) (int, error) {
	for !u.done && len(u.ahead) < 2 {
		if err := u.look(); err != nil {
			return 0, err
		}
	}
	if n := len(u.ahead); n > 0 {
		if !u.done {
			n--
		}
		n = copy(p, u.ahead[:n])
		u.ahead = u.ahead[n:]
		return n, nil
	}
	if u.err != nil {
		return 0, u.err
	}
	return u.ReadCloser.Read(p)
}

// look decodes a piece and looks at it.
func (u *unpacked) look() (err error) {
	if u.clear == nil {
		if u.clear, err = u.decode((*tapped)(u)); err != nil {
			u.done = true
			return nil
		}
	}
	var buf [8 << 10]byte
	n, err := u.clear.Read(buf[:])
	u.total += n
	u.done = err != nil || u.total > maxUnpacked
	if why := u.found(buf[:n]); why != nil {
		u.err, u.done, u.ahead = why, true, nil
		return why
	}
	return nil
}

// tapped is the body as the decoder reads it.
type tapped unpacked

func (t *tapped) Read(p []byte) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	if len(t.ahead) > maxAhead {
		return 0, errors.New("nothing comes of it")
	}
	n, err := t.ReadCloser.Read(p)
	t.ahead, t.err = append(t.ahead, p[:n]...), err
	return n, err
}

// decoder gives what decodes a body with this Content-Encoding (RFC 9110 section 8.4): gzip and deflate, several on top of each other.
// It gives nil when the body is as it is, or in an encoding of which nothing is known here, such as br and zstd.
func decoder(h http.Header) func(io.Reader) (io.Reader, error) {
	var steps []func(io.Reader) (io.Reader, error)
	for name := range strings.SplitSeq(strings.Join(h["Content-Encoding"], ","), ",") {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "", "identity":
		case "gzip", "x-gzip":
			steps = append(steps, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) })
		case "deflate":
			steps = append(steps, inflate)
		default:
			return nil
		}
	}
	if len(steps) == 0 {
		return nil
	}
	return func(r io.Reader) (_ io.Reader, err error) {
		for i := len(steps) - 1; i >= 0 && err == nil; i-- { // the last was applied last
			r, err = steps[i](r)
		}
		return r, err
	}
}

// inflate reads zlib (RFC 1950), and deflate without its header, which some clients take that name for.
func inflate(r io.Reader) (io.Reader, error) {
	br := bufio.NewReader(r)
	head, err := br.Peek(2)
	switch {
	case err != nil:
		return nil, err
	case head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0:
		return zlib.NewReader(br)
	}
	return flate.NewReader(br), nil
}
