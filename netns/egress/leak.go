package egress

import (
	"io"
	"net/http"
)

// coreLength is how much of a placeholder is looked for, in bytes from its end. A prefix is shared by all keys of a kind; the end
// is random, also that of a JWT.
const coreLength = 32

// tripwire finds the placeholders of a session in a stream: as they are, in base64 and hexadecimal, in base64 of these and of UTF-16, each
// of them with the escapes of URLs, JSON and HTML, twice over, and broken into lines. It is no wall against an encoder that does not want
// to be understood, and needs to be none: a placeholder opens nothing anywhere. It tells that something in the jail sends its keys to
// where they do not belong.
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
		for _, s := range append(spellings(core(p)), nested(core(p))...) {
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
	views views
}

func (t *tripwire) search(own func(int) bool) *search {
	return &search{tripwire: t, own: own, views: views{needles: t.needles, wrapped: true}}
}

// feed gives the placeholder that is whole with one of the next bytes, or -1.
func (s *search) feed(p []byte) int {
	for len(p) > 0 {
		n := s.views.idle(p)
		s.views.skip(n)
		if p = p[n:]; len(p) == 0 {
			break
		}
		if found := s.views.take(p[0]); found.needle != 0 {
			if owner := s.owner[found.needle-1]; !s.own(owner) {
				return owner
			}
		}
		p = p[1:]
	}
	return -1
}

// text looks at one string by itself.
func (s *search) text(v string) int {
	s.views = views{needles: s.needles, wrapped: true}
	return s.feed([]byte(v))
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
