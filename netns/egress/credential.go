package egress

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// verdict is what one credential of a request is.
type verdict struct {
	secret *guarded                 // whose placeholder it is, in its place; nil: none
	write  func(real string) string // the credential with the real value
	kind   kind
}

type kind int

const (
	none    kind = iota - 1
	foreign      // somebody's
	idle         // empty, or a placeholder in a place that is not the secret's
	ours         // secret's placeholder in its place
)

// credentials puts the real values of the host's own secrets into req. A request that carries one carries no other credential: what
// is left of them is taken out first. Where a secret is pinned a request with another credential is refused, whether or not it
// carries the secret too; cookies are taken out there in any case, for every client sends the ones that load balancers set.
func (e *errand) credentials(req *http.Request) *refusal {
	pinned := slices.ContainsFunc(e.own, func(g *guarded) bool { return g.Pin })
	var strip []string
	set := map[string]verdict{}
	for name, values := range req.Header {
		if !e.carrier(name) {
			if pinned && slices.ContainsFunc(values, e.looksForeign) {
				return e.foreign("header " + name)
			}
			continue
		}
		for _, value := range values {
			v := e.judge(value, func(g *guarded) bool { return g.header == name })
			switch {
			case v.kind == ours:
				set[name] = v
			case v.kind == foreign && pinned && name != "Cookie":
				return e.foreign("header " + name)
			}
		}
		strip = append(strip, name)
	}
	query, queryStripped, why := e.judgeQuery(req.URL.RawQuery, pinned)
	if why != nil {
		return why
	}
	if pinned {
		if why := e.judgeBody(req); why != nil {
			return why
		}
	}
	if user := req.URL.User; user != nil {
		if pinned {
			return e.foreign("the request target")
		}
		req.URL.User = nil // the Transport would make an Authorization of it
	}
	carries := len(set) > 0 || slices.ContainsFunc(query, func(p parameter) bool { return p.kind == ours })
	if pinned || carries {
		e.watchTrailer(req, pinned)
	}
	if !carries {
		if pinned {
			for _, name := range strip { // cookies, and what is empty or a placeholder in the wrong place
				delete(req.Header, name)
			}
			req.URL.RawQuery = queryStripped
		}
		return nil
	}
	for _, name := range strip {
		delete(req.Header, name)
	}
	for name, v := range set {
		real, why := e.use(req, v.secret)
		if why != nil {
			return why
		}
		req.Header[name] = []string{v.write(real)}
	}
	return e.writeQuery(req, query)
}

// carrier says whether a field of this name holds a credential of anybody, or of the host's own secrets.
func (e *errand) carrier(name string) bool {
	return isCarrier(name) || slices.ContainsFunc(e.own, func(g *guarded) bool { return g.header == name })
}

// watchTrailer takes credentials out of the trailers, which some servers take for header fields. Where a secret is pinned
// another's ends the body in a refusal.
func (e *errand) watchTrailer(req *http.Request, pinned bool) {
	if req.Body == nil || req.Body == http.NoBody || req.Trailer == nil {
		return
	}
	nowhere := func(*guarded) bool { return false }
	trailer := req.Trailer
	req.Body = &trailed{req.Body, func() error {
		for name, values := range trailer {
			carrier := e.carrier(name)
			another := func(v string) bool {
				return carrier && e.judge(v, nowhere).kind == foreign || !carrier && e.looksForeign(v)
			}
			if pinned && name != "Cookie" && slices.ContainsFunc(values, another) {
				why := e.foreign("trailer " + name)
				e.late.Store(why)
				return why
			}
			if carrier {
				delete(trailer, name)
			}
		}
		return nil
	}}
}

// trailed is a body whose end is judged.
type trailed struct {
	io.ReadCloser
	end func() error
}

func (b *trailed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		if why := b.end(); why != nil {
			return 0, why
		}
	}
	return n, err
}

// use gives a secret's value and writes down that the request has it.
func (e *errand) use(req *http.Request, g *guarded) (string, *refusal) {
	real, why := e.value(req.Context(), g)
	if why == nil && !slices.Contains(e.used, g.Name) {
		e.used = append(e.used, g.Name)
	}
	return real, why
}

func (e *errand) foreign(where string) *refusal {
	return e.target.refuse(ForeignCredential, where, "")
}

// judge gives what the credential in a header field or parameter is. It is a placeholder when it is nothing else beside: what a
// server makes of "key-of-another, placeholder" nobody can tell. here says whether a secret belongs into this place.
func (e *errand) judge(value string, here func(*guarded) bool) verdict {
	value = strings.TrimSpace(value)
	scheme, rest, found := strings.Cut(value, " ")
	rest = strings.TrimLeft(rest, " ")
	if value == "" || !found && (strings.EqualFold(scheme, "bearer") || strings.EqualFold(scheme, "basic")) {
		return verdict{kind: idle}
	}
	if found && strings.EqualFold(scheme, "basic") {
		return e.judgeBasic(scheme, rest, here)
	}
	for _, g := range e.own {
		switch {
		case g.Placeholder == value:
			return at(g, here, func(real string) string { return real })
		case g.Placeholder == rest && g.takes(scheme):
			return at(g, here, func(real string) string { return scheme + " " + real })
		}
	}
	return verdict{}
}

// at is the verdict on a secret's placeholder.
func at(g *guarded, here func(*guarded) bool, write func(string) string) verdict {
	if !here(g) {
		return verdict{kind: idle}
	}
	return verdict{secret: g, write: write, kind: ours}
}

// judgeBasic judges a pair (RFC 7617). Some servers take the token from either half, whatever the other one is: with the placeholder in
// one half, the other is nobody's credential.
func (e *errand) judgeBasic(scheme, pair string, here func(*guarded) bool) verdict {
	text, err := base64.StdEncoding.DecodeString(pair)
	if err != nil {
		if text, err = base64.RawStdEncoding.DecodeString(pair); err != nil {
			return verdict{}
		}
	}
	encode := func(pair string) string { return scheme + " " + base64.StdEncoding.EncodeToString([]byte(pair)) }
	user, password, found := strings.Cut(string(text), ":")
	for _, g := range e.own {
		switch {
		case !found:
		case password == g.Placeholder && g.beside(user):
			return at(g, here, func(real string) string { return encode(user + ":" + real) })
		case user == g.Placeholder && (g.beside(password) || password == g.Placeholder):
			return at(g, here, func(real string) string {
				return encode(real + ":" + strings.ReplaceAll(password, g.Placeholder, real))
			})
		}
	}
	return verdict{}
}

// looksForeign says whether a value in no known place holds what looks like a credential and is no placeholder of this host.
func (e *errand) looksForeign(value string) bool {
	for _, g := range e.own {
		value = strings.ReplaceAll(value, g.Placeholder, "")
	}
	return credentialLike(value)
}

// parameter is one piece of a query, as it was written.
type parameter struct {
	text string
	name string // of the one that is ours, as it was written
	verdict
}

// judgeQuery gives the pieces of a query, and the query without what is no credential of anybody.
func (e *errand) judgeQuery(raw string, pinned bool) (list []parameter, stripped string, why *refusal) {
	var keep []string
	for text := range strings.SplitSeq(raw, "&") {
		p := parameter{text: text, verdict: verdict{kind: none}}
		for piece := range strings.SplitSeq(text, ";") { // a separator to some servers (HTML 4.01 appendix B.2.2)
			rawName, rawValue, _ := strings.Cut(piece, "=")
			name, value := unescape(rawName), unescape(rawValue)
			here := func(g *guarded) bool { return g.query == name && piece == text }
			carrier := isQueryCarrier(strings.TrimSuffix(name, "[]")) || slices.ContainsFunc(e.own, func(g *guarded) bool { return g.query == name })
			if !carrier {
				if pinned && e.looksForeign(value) {
					return nil, "", e.foreign("query parameter " + bounded(name))
				}
				continue
			}
			p.name, p.verdict = rawName, e.judge(value, here)
			if p.kind == foreign && pinned {
				return nil, "", e.foreign("query parameter " + bounded(name))
			}
		}
		if p.kind == none {
			keep = append(keep, text)
		}
		list = append(list, p)
	}
	return list, strings.Join(keep, "&"), nil
}

// writeQuery writes the query with the real values and without other credentials.
func (e *errand) writeQuery(req *http.Request, list []parameter) *refusal {
	var out []string
	for _, p := range list {
		switch p.kind {
		case none:
			out = append(out, p.text)
		case ours:
			real, why := e.use(req, p.secret)
			if why != nil {
				return why
			}
			out = append(out, p.name+"="+url.QueryEscape(p.write(real)))
		}
	}
	req.URL.RawQuery = strings.Join(out, "&")
	return nil
}

func unescape(s string) string {
	if again, err := url.QueryUnescape(s); err == nil {
		return again
	}
	return s
}
