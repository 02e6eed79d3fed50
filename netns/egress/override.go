package egress

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// overridden is the refusal of a request that asks the server to take it for another method's.
func overridden(what string) *refusal {
	return &refusal{reason: Method, detail: "method override " + what, fix: "send the method itself"}
}

// overridesMethod says whether frameworks, or servers behind proxies, take the method from a header field: X-HTTP-Method-Override and its
// kin (Rack, Symfony, GData), X-Original-Method, X-Forwarded-Method. What the rule judged must be what the server does.
func overridesMethod(name string) bool {
	s := strings.ToLower(spelled(name))
	return strings.HasPrefix(s, "x-http-method") || strings.Contains(s, "method") && displaced(s)
}

// overridesPath says the same of the path: X-Original-URL, X-Rewrite-URL (Symfony, IIS), X-Forwarded-Uri, X-Envoy-Original-Path.
func overridesPath(name string) bool {
	s := strings.ToLower(spelled(name))
	ends := func(end string) bool { return strings.HasSuffix(s, end) }
	return displaced(s) && slices.ContainsFunc([]string{"url", "uri", "path", "prefix"}, ends)
}

// displaced says whether a field's name speaks of a request before a proxy, or in place of another.
func displaced(name string) bool {
	has := func(word string) bool { return strings.Contains(name, word) }
	return slices.ContainsFunc([]string{"override", "original", "forwarded", "rewrite", "rewritten", "replaced", "unencoded"}, has)
}

// overridesMethodIn says whether a parameter of the query is one that servers take the method from, or the header fields, or the body and
// its type (Google's system parameters). "method" is a word of many APIs: there the value decides.
func overridesMethodIn(name, value string) bool {
	name, _, _ = strings.Cut(strings.ToLower(name), "[") // _method[]
	switch name {
	case "$httpheaders", "$req", "$ct":
		return true
	case "method", "httpmethod", "http_method", "http-method", "method_override", "methodoverride":
		return slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "MERGE"},
			strings.ToUpper(strings.TrimSpace(value)))
	}
	return slices.Contains(methodParameters(), name)
}

// overrides says whether a request asks the server to take it for another method's.
func overrides(req *http.Request) bool {
	for name := range req.Header {
		if overridesMethod(name) {
			return true
		}
	}
	for pair := range strings.FieldsFuncSeq(req.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		if name, value, _ := strings.Cut(pair, "="); overridesMethodIn(unescape(name), unescape(value)) {
			return true
		}
	}
	return false
}

// methodParameters are parameters of the query or of a form that are nothing else than the method (Rack, Symfony, GData).
func methodParameters() []string {
	return []string{"_method", "_httpmethod", "$httpmethod", "x-http-method-override"}
}

// spelled gives a field name as CGI programs see it: to them X_Http_Method is X-Http-Method (RFC 3875 section 4.1.18).
func spelled(name string) string {
	return textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
}

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
		patterns := []string{"&" + name + "=", ";" + name + "=", "&" + name + "[", ";" + name + "["}
		if !f.encoded {
			patterns = []string{`name="` + name + `"`, `name="` + name + "[", "name=" + name, "name='" + name}
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
