package egress

import (
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// swap replaces strings by others in a stream: a secret's values by its placeholder, each in every spelling.
type swap struct {
	needles *needles
	by      []string // in place of each
	even    bool     // no replacement changes a length
	names   []string // values and placeholder as names of header fields: in small letters, by turns
}

// newSwap makes the swap that puts the placeholder in the place of each of the values.
func newSwap(values []string, placeholder string) *swap {
	s := &swap{even: true}
	var list, codes []string
	by := spellings(placeholder)
	for _, v := range values {
		s.even = s.even && sameShape(v, placeholder)
		s.names = append(s.names, strings.ToLower(v), strings.ToLower(placeholder))
		for i, text := range spellings(v) {
			if text == by[i] {
				continue // nothing of the value is in it
			}
			list, s.by = append(list, text), append(s.by, by[i])
			if i >= firstCode {
				codes = append(codes, text)
			}
		}
	}
	s.needles = newNeedles(list)
	s.needles.breakable(codes)
	return s
}

// sameShape says whether two strings differ in letters and digits alone.
func sameShape(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && (!strings.Contains(lowers+uppers+digits, a[i:i+1]) || !strings.Contains(lowers+uppers+digits, b[i:i+1])) {
			return false
		}
	}
	return true
}

// text replaces in one string.
func (s *swap) text(v string) string {
	var f filter
	return string(f.end(s, f.feed(s, nil, []byte(v))))
}

// header replaces in every value and name. The map is changed, its slices are not.
func (s *swap) header(h http.Header) {
	names := strings.NewReplacer(s.names...)
	for _, name := range slices.Collect(maps.Keys(h)) {
		small := strings.ToLower(name)
		if again := names.Replace(small); again != small {
			h[http.CanonicalHeaderKey(again)] = h[name]
			delete(h, name)
		}
	}
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
// stream arrives as it was sent: a blank line ends whatever has begun.
type filter struct {
	views views
	held  []byte
}

// feed gives dst with what is certain behind it.
func (f *filter) feed(s *swap, dst, p []byte) []byte {
	f.views.needles = s.needles
	for len(p) > 0 {
		if n := f.views.idle(p); n > 0 {
			f.views.skip(n)
			dst = append(dst, p[:n]...)
			p = p[n:]
			continue
		}
		f.held = append(f.held, p[0])
		found := f.views.take(p[0])
		p = p[1:]
		before := f.views.pos - len(f.held)
		if found.needle != 0 {
			var rest []byte
			dst, rest = f.replace(s, dst, found, before)
			if len(rest) > 0 {
				p = append(rest, p...)
			}
			continue
		}
		if free := f.views.certain() - before; free > 0 {
			dst = append(dst, f.held[:free]...)
			f.held = f.held[:copy(f.held, f.held[free:])]
		}
	}
	return dst
}

// replace gives dst with what was held in front of a needle and what stands in its place, and what was held behind it.
func (f *filter) replace(s *swap, dst []byte, found hit, before int) (out, rest []byte) {
	dst = append(dst, f.held[:found.start-before]...)
	dst = append(dst, rewritten(f.held[found.start-before:found.end-before], found.levels, s.by[found.needle-1])...)
	rest = slices.Clone(f.held[found.end-before:])
	f.views, f.held = views{needles: s.needles}, f.held[:0]
	return dst, rest
}

// end gives dst with what was held back: the stream is over, so it begins nothing, but an escape that could have been longer is whole.
func (f *filter) end(s *swap, dst []byte) []byte {
	for len(f.held) > 0 {
		found := f.views.flush()
		if found.needle == 0 {
			break
		}
		var rest []byte
		dst, rest = f.replace(s, dst, found, f.views.pos-len(f.held))
		dst = f.feed(s, dst, rest)
	}
	dst = append(dst, f.held...)
	f.views, f.held = views{}, nil
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
		b.err = err
		if err == io.EOF { // of an answer that breaks off, what may be the beginning of a value stays here
			b.out = b.filter.end(b.swap, b.out)
			if b.atEnd != nil {
				b.atEnd()
			}
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
