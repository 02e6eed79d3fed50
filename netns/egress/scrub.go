package egress

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
)

// swap replaces strings by others in a stream: a secret's values by its placeholder, each in every spelling.
type swap struct {
	needles *needles
	lengths []int    // of the needles
	by      []string // in place of each
	even    bool     // no replacement changes a length
}

// newSwap makes the swap that puts the placeholder in the place of each of the values.
func newSwap(values []string, placeholder string) *swap {
	s := &swap{even: true}
	var list []string
	by := spellings(placeholder)
	for _, v := range values {
		for i, text := range spellings(v) {
			if text == by[i] {
				continue // nothing of the value is in it
			}
			list, s.lengths, s.by = append(list, text), append(s.lengths, len(text)), append(s.by, by[i])
			s.even = s.even && len(text) == len(by[i])
		}
	}
	s.needles = newNeedles(list)
	return s
}

// text replaces in one string.
func (s *swap) text(v string) string {
	var f filter
	return string(f.end(f.feed(s, nil, []byte(v))))
}

// header replaces in every value. The map is changed, its slices are not.
func (s *swap) header(h http.Header) {
	for name, values := range h {
		for i, v := range values {
			if again := s.text(v); again != v {
				values = append([]string(nil), values...)
				values[i] = again
				h[name] = values
			}
		}
	}
}

// filter is a stream that a swap is in. It holds back what may be the beginning of a needle and not a byte more, so an event
// stream arrives as it was sent.
type filter struct {
	at   int32
	held []byte
}

// feed gives dst with what is certain behind it.
func (f *filter) feed(s *swap, dst, p []byte) []byte {
	for _, c := range p {
		f.at = s.needles.step(f.at, c)
		state := &s.needles.nodes[f.at]
		if f.at == 0 && len(f.held) == 0 {
			dst = append(dst, c)
			continue
		}
		f.held = append(f.held, c)
		if state.hit != 0 {
			// The needle that ends here may be a suffix of what is held: a longer one had begun before it.
			keep := len(f.held) - s.lengths[state.hit-1]
			dst = append(append(dst, f.held[:keep]...), s.by[state.hit-1]...)
			f.at, f.held = 0, f.held[:0]
			continue
		}
		if free := len(f.held) - int(state.depth); free > 0 {
			dst = append(dst, f.held[:free]...)
			f.held = f.held[:copy(f.held, f.held[free:])]
		}
	}
	return dst
}

// end gives dst with what was held back: the stream is over, so it begins nothing.
func (f *filter) end(dst []byte) []byte {
	dst = append(dst, f.held...)
	f.at, f.held = 0, nil
	return dst
}

// scrubbed is a response body with the swap made.
type scrubbed struct {
	io.ReadCloser
	swap   *swap
	filter filter
	in     []byte
	out    []byte // ready to be read
	err    error
	atEnd  func() // when the body has ended and its trailers are there
}

func (b *scrubbed) Read(p []byte) (int, error) {
	for len(b.out) == 0 && b.err == nil && len(p) > 0 {
		if b.in == nil {
			b.in = make([]byte, 32<<10)
		}
		n, err := b.ReadCloser.Read(b.in)
		b.out = b.filter.feed(b.swap, b.out[:0], b.in[:n])
		if b.err = err; err != nil {
			b.out = b.filter.end(b.out)
		}
		if err == io.EOF && b.atEnd != nil {
			b.atEnd()
		}
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	if len(b.out) == 0 {
		b.out = nil
		return n, b.err
	}
	return n, nil
}

// gunzipped is a compressed body that is read in clear. The gzip header is not waited for before the first Read.
type gunzipped struct {
	io.ReadCloser
	clear *gzip.Reader
}

func (g *gunzipped) Read(p []byte) (int, error) {
	if g.clear == nil {
		clear, err := gzip.NewReader(g.ReadCloser)
		if err != nil {
			return 0, err
		}
		g.clear = clear
	}
	return g.clear.Read(p)
}

// plainEncoding says whether a body with this Content-Encoding is as it is, and whether gzip alone is what keeps it from that.
func plainEncoding(h http.Header) (plain, gzipped bool) {
	var list []string
	for _, v := range h["Content-Encoding"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && name != "identity" {
				list = append(list, name)
			}
		}
	}
	return len(list) == 0, len(list) == 1 && (list[0] == "gzip" || list[0] == "x-gzip")
}
