package egress

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// coreLength is how much of a placeholder is looked for, in bytes from its end. A prefix is shared by all keys of a kind; the end
// is random, also that of a JWT.
const coreLength = 32

// tripwire finds the placeholders of a session. It looks at a stream as it is, percent-decoded once and decoded twice, and passes over
// line ends, which base64 is wrapped with. It is no wall against an encoder that does not want to be understood, and needs to be
// none: a placeholder opens nothing anywhere. It tells that something in the jail sends its keys to where they do not belong.
type tripwire struct {
	needles *needles
	owner   []int // of each needle: the index of its placeholder
}

// core is the part of a placeholder that is looked for.
func core(placeholder string) string { return placeholder[max(0, len(placeholder)-coreLength):] }

func newTripwire(placeholders []string) *tripwire {
	t := &tripwire{}
	var list []string
	for i, p := range placeholders {
		for _, s := range spellings(core(p)) {
			list = append(list, s)
			t.owner = append(t.owner, i)
		}
	}
	t.needles = newNeedles(list)
	return t
}

// search is one stream that a tripwire is in.
type search struct {
	*tripwire
	own   func(placeholder int) bool // may pass
	at    [3]int32                   // plain, decoded, decoded twice
	codes [2]unescaper
}

func (t *tripwire) search(own func(int) bool) *search { return &search{tripwire: t, own: own} }

// feed gives the placeholder that is whole with one of the next bytes, or -1.
func (s *search) feed(p []byte) int {
	for len(p) > 0 {
		if s.at[0] == s.at[1] && s.at[1] == s.at[2] && s.codes[0].n == 0 && s.codes[1].n == 0 {
			plain := bytes.IndexByte(p, '%')
			if plain < 0 {
				plain = len(p)
			}
			if found := s.plain(p[:plain]); found >= 0 {
				return found
			}
			if p = p[plain:]; len(p) == 0 {
				break
			}
		}
		if found := s.slow(p[0]); found >= 0 {
			return found
		}
		p = p[1:]
	}
	return -1
}

// plain takes bytes that are the same decoded.
func (s *search) plain(p []byte) int {
	at := s.at[0]
	for _, c := range p {
		switch {
		case at == 0: // most of the time
			if at = s.needles.root[c]; at == 0 {
				continue
			}
		case c == '\r' || c == '\n':
			continue
		default:
			at = s.needles.step(at, c)
		}
		if hit := s.needles.nodes[at].hit; hit != 0 {
			if owner := s.owner[hit-1]; !s.own(owner) {
				return owner
			}
		}
	}
	s.at = [3]int32{at, at, at}
	return -1
}

// slow takes one byte where the decoded streams may differ from the plain one.
func (s *search) slow(c byte) int {
	found := s.step(0, c)
	for _, c := range s.codes[0].put(c) {
		found = max(found, s.step(1, c))
		for _, c := range s.codes[1].put(c) {
			found = max(found, s.step(2, c))
		}
	}
	return found
}

func (s *search) step(level int, c byte) int {
	if c == '\r' || c == '\n' {
		return -1
	}
	s.at[level] = s.needles.step(s.at[level], c)
	if hit := s.needles.nodes[s.at[level]].hit; hit != 0 {
		if owner := s.owner[hit-1]; !s.own(owner) {
			return owner
		}
	}
	return -1
}

// text looks at one string by itself.
func (s *search) text(v string) int {
	s.at, s.codes = [3]int32{}, [2]unescaper{}
	return s.feed([]byte(v))
}

// unescaper decodes percent-encoding (RFC 3986 section 2.1) byte by byte; what is none stays as it is.
type unescaper struct {
	held [4]byte // "%" and the digit behind it; what put gives
	n    int
}

// put gives what c completes: nothing, or up to three bytes, which are good until the next call.
func (u *unescaper) put(c byte) []byte {
	switch {
	case u.n == 0 && c != '%':
		u.held[0] = c
		return u.held[:1]
	case u.n == 0 || u.n == 1 && nibble(c) >= 0:
		u.held[u.n] = c
		u.n++
		return nil
	case u.n == 2 && nibble(c) >= 0:
		u.held[0] = byte(nibble(u.held[1])<<4 | nibble(c))
		u.n = 0
		return u.held[:1]
	}
	n := u.n
	if c == '%' { // begins anew
		out := [2]byte{u.held[0], u.held[1]}
		u.held[0], u.n = '%', 1
		return append([]byte(nil), out[:n]...)
	}
	u.held[n], u.n = c, 0
	return u.held[:n+1]
}

// nibble gives the value of a hexadecimal digit, or -1.
func nibble(c byte) int {
	if 'A' <= c && c <= 'F' {
		c += 'a' - 'A'
	}
	return strings.IndexByte("0123456789abcdef", c)
}

// header looks at the values, each by itself, and gives the place as well.
func (s *search) header(h http.Header) (found int, where string) {
	for name, values := range h {
		for _, v := range values {
			if found := s.text(v); found >= 0 {
				return found, "header " + name
			}
		}
	}
	return -1, ""
}

// watched is a request body that ends in an error before a placeholder in it, or in the trailers behind it, is whole.
type watched struct {
	io.ReadCloser
	search  *search
	trailer func() http.Header
	refuse  func(placeholder int, where string) error
	err     error
}

func (w *watched) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.ReadCloser.Read(p)
	if found := w.search.feed(p[:n]); found >= 0 {
		w.err = w.refuse(found, "the body")
		return 0, w.err
	}
	if err == io.EOF {
		if found, where := w.search.header(w.trailer()); found >= 0 {
			w.err = w.refuse(found, "trailer: "+where)
			return 0, w.err
		}
	}
	w.err = err
	return n, err
}
