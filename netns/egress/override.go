package egress

import (
	"io"
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
	if namesMethod(name) {
		return true
	}
	whole, parts := field(name)
	for _, name := range []string{whole, parts[0]} {
		switch name {
		case "$httpheaders", "$req", "$ct":
			return true
		case "method", "httpmethod", "http_method", "http-method", "method_override", "methodoverride":
			return slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "MERGE"},
				strings.ToUpper(strings.TrimSpace(value)))
		}
	}
	return false
}

// overrides says whether a request asks the server to take it for another method's.
func overrides(req *http.Request) bool {
	for name := range req.Header {
		if overridesMethod(name) {
			return true
		}
	}
	for pair := range strings.FieldsFuncSeq(req.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		if name, value, _ := strings.Cut(pair, "="); overridesMethodIn(name, unescape(value)) {
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
	gauge *gauge // is told
	names []nameFinder
	err   error
}

// nameFinder finds the names of a form's fields.
type nameFinder interface{ take(c byte) (name string) }

// watchForm gives the body of a request on a rule with methods.
func watchForm(req *http.Request, g *gauge) io.ReadCloser {
	f := &formOverride{ReadCloser: req.Body, gauge: g}
	c := contentOf(req.Header)
	if c.form {
		f.names = append(f.names, &formNames{})
	}
	if c.parts {
		f.names = append(f.names, &partNames{})
	}
	if len(f.names) == 0 {
		return req.Body
	}
	return f
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

func (f *formOverride) find(p []byte) bool {
	for _, c := range p {
		for _, of := range f.names {
			if name := of.take(c); name != "" && namesMethod(name) {
				return true
			}
		}
	}
	return false
}

// namesMethod says whether a field of this name is nothing else than the method.
func namesMethod(name string) bool {
	whole, parts := field(name)
	return slices.Contains(methodParameters(), whole) || slices.Contains(methodParameters(), parts[0]) // _method[]
}
