package egress

import (
	"bytes"
	"io"
	"mime"
	"net/http"
)

// formOverride is a request body that ends in a refusal where a form in it names the method that the server is to take it for
// (Rack's MethodOverride, Symfony, Laravel): a rule that allows POST and not DELETE would allow it otherwise. Forms alone are
// looked at, by the content type that makes a framework read one.
type formOverride struct {
	io.ReadCloser
	gauge   *gauge // is told
	encoded bool   // application/x-www-form-urlencoded; else multipart/form-data
	tail    []byte // the end of what was seen, decoded when encoded
	escape  []byte // of an escape that is not whole
	begun   bool
	err     error
}

// watchForm gives the body of a request on a rule with methods.
func watchForm(req *http.Request, g *gauge) io.ReadCloser {
	kind, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type")) // of a bad parameter the type is given all the same
	if kind != "application/x-www-form-urlencoded" && kind != "multipart/form-data" {
		return req.Body
	}
	return &formOverride{ReadCloser: req.Body, gauge: g, encoded: kind != "multipart/form-data"}
}

func (f *formOverride) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.ReadCloser.Read(p)
	if f.find(p[:n]) {
		why := overridden("in a form")
		f.gauge.why.CompareAndSwap(nil, why)
		f.err = why
		return 0, f.err
	}
	return n, err
}

// longest is more than the longest thing that is looked for has.
const longest = 64

func (f *formOverride) find(p []byte) bool {
	text := bytes.ToLower(p)
	if f.encoded {
		text = f.decode(text)
		if !f.begun && len(text) > 0 {
			f.begun, f.tail = true, []byte("&")
		}
	}
	f.tail = append(f.tail, text...)
	for _, name := range methodParameters() {
		patterns := []string{"&" + name + "=", ";" + name + "="}
		if !f.encoded {
			patterns = []string{`name="` + name + `"`, "name=" + name, "name='" + name}
		}
		for _, p := range patterns {
			if bytes.Contains(f.tail, []byte(p)) {
				return true
			}
		}
	}
	f.tail = append(f.tail[:0:0], f.tail[max(0, len(f.tail)-longest):]...)
	return false
}

// decode takes percent escapes out. An "&" that was escaped is no border of a field: it only finds too much.
func (f *formOverride) decode(p []byte) []byte {
	out := make([]byte, 0, len(p)+2)
	for _, c := range p {
		switch {
		case len(f.escape) == 0 && c == '%':
			f.escape = append(f.escape, c)
		case len(f.escape) == 0:
			out = append(out, c)
		case !hexDigit(c):
			out = append(append(out, f.escape...), c)
			f.escape = nil
		case len(f.escape) == 1:
			f.escape = append(f.escape, c)
		default:
			out = append(out, bytes.ToLower([]byte{unhex(f.escape[1])<<4 | unhex(c)})...)
			f.escape = nil
		}
	}
	return out
}
