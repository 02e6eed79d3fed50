package egress

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// maxKnown is how many of a secret's values are looked for in responses: that of now and those before it, which a source that
// refreshes has replaced while answers that hold them may be under way.
const maxKnown = 4

// vault keeps the credentials of a session apart from the jail. On the way out it puts a secret's value where its placeholder
// stands, for the secret's own hosts and over TLS alone, and refuses placeholders that go elsewhere; on the way in it puts the placeholder
// where a value stands. The values are asked for when they are needed, and before an answer of their hosts, and kept to be recognised;
// they are in no error and no event.
//
// Of bodies it sees plain text, gzip and what WebSocket frames hold, of requests deflate, too; not br, zstd, packs of git and archives. It
// cannot recognise a value that a server sends back in pieces, reversed, hashed or encrypted.
type vault struct {
	secrets  []*guarded
	tripwire *tripwire
	get      func(ctx context.Context, name string) (string, error)
	known    func(ctx context.Context, name string) (string, error) // to be recognised alone; nil: get
}

// guarded is one secret.
type guarded struct {
	Secret
	header string // canonical name of the field that carries it, or ""
	query  string // name of the query parameter that does, or ""

	mu    sync.Mutex
	known []string // values that are looked for, the newest last
	swap  *swap    // of known

	running map[*errand]struct{} // that may have the value
}

// newVault checks the secrets of a policy. get may be nil when there are none.
func newVault(secrets []Secret, get func(ctx context.Context, name string) (string, error)) (*vault, error) {
	v := &vault{get: get}
	if v.get == nil {
		v.get = func(context.Context, string) (string, error) {
			return "", errors.New("the session has no source of secrets")
		}
	}
	var placeholders []string
	for _, s := range secrets {
		g, err := guard(s)
		if err == nil && slices.ContainsFunc(placeholders, func(p string) bool { return strings.Contains(p, core(s.Placeholder)) }) {
			err = errors.New("its placeholder is another secret's as well")
		}
		if err != nil {
			return nil, fmt.Errorf("secret %q (%s): %w", s.Name, s.Why, err)
		}
		v.secrets, placeholders = append(v.secrets, g), append(placeholders, s.Placeholder)
	}
	v.tripwire = newTripwire(placeholders)
	return v, nil
}

// guard checks one secret and reads its Header.
func guard(s Secret) (*guarded, error) {
	g := &guarded{Secret: s}
	if err := usable(s.Placeholder); err != nil {
		return nil, fmt.Errorf("placeholder: %w", err)
	}
	for _, host := range s.Hosts {
		if err := checkPattern(host); err != nil {
			return nil, err
		}
	}
	where := s.Header
	if where == "" {
		where = "Authorization: Bearer"
	}
	if name, found := strings.CutPrefix(where, "query:"); found {
		if g.query = name; name == "" || strings.Trim(name, lowers+uppers+digits+"-_.") != "" {
			return nil, fmt.Errorf("header %q names no query parameter", where)
		}
		return g, nil
	}
	name, _, _ := strings.Cut(where, ":") // whatever scheme stands behind it: the one that the client writes is kept
	if !token(name) {
		return nil, fmt.Errorf("header %q is no name of a header field", where)
	}
	g.header = http.CanonicalHeaderKey(name)
	return g, nil
}

// of says whether the host is one of the secret's.
func (g *guarded) of(host string) bool {
	return slices.ContainsFunc(g.Hosts, func(pattern string) bool {
		base, star := strings.CutPrefix(pattern, "*")
		return host == pattern || star && strings.HasSuffix(host, base) && host != base
	})
}

// owns says whether a secret goes to the host, so that TLS to it has to be inspected.
func (v *vault) owns(host string) bool {
	return slices.ContainsFunc(v.secrets, func(g *guarded) bool { return g.of(host) })
}

// errand is what the vault knows of one request and its response.
type errand struct {
	vault  *vault
	target target
	hosts  []*guarded // whose host it goes to
	own    []*guarded // of them, those that may go along: over TLS
	used   []string   // names of those that it carries
	late   atomic.Pointer[refusal]
	end    context.CancelCauseFunc                   // of the request's context
	found  func(placeholder int, where string) error // leaks found one in what is sent behind the head
	sent   *frames                                   // behind an upgrade
}

// outgoing readies req for t: it is judged already, and is about to be sent. Its header map, URL and body are changed and have to be the
// outgoing request's own; afterwards they may hold real values and must not be written down. secure says that it goes over TLS:
// over anything else every host is somebody else's.
//
// What is found in the body, while it is sent, ends the body in an error, which is the refusal; errand.late has it as well, for a
// Transport that has an answer already does not give that error to anybody. end is called when a secret that the request carries is
// revoked, and errand.over has to be when the request is over.
func (v *vault) outgoing(req *http.Request, t target, secure bool, end context.CancelCauseFunc) (*errand, *refusal) {
	e := &errand{vault: v, target: t, end: end}
	if len(v.secrets) == 0 {
		return e, nil
	}
	for _, g := range v.secrets {
		if g.of(t.host) {
			e.hosts = append(e.hosts, g)
			if secure {
				e.own = append(e.own, g)
			}
		}
	}
	if why := e.leaks(req); why != nil {
		return nil, why
	}
	if len(e.own) > 0 {
		if why := e.credentials(req); why != nil {
			e.over()
			return nil, why
		}
	}
	if len(e.hosts) > 0 {
		e.recognise(req.Context())
		req.Header["Accept-Encoding"] = []string{"identity"} // what comes back has to be read
		if len(e.used) > 0 {
			// A value that comes in two halves of a range (RFC 9110 section 14) is recognised in neither; a server may ignore Range, too.
			delete(req.Header, "Range")
			delete(req.Header, "If-Range")
		}
	}
	return e, nil
}

// leaks looks for the placeholders of other hosts' secrets, and goes on to do so in the body.
func (e *errand) leaks(req *http.Request) *refusal {
	own := func(i int) bool { return slices.Contains(e.own, e.vault.secrets[i]) }
	s := e.vault.tripwire.search(own)
	refuse := func(found int, where string) *refusal {
		return e.target.refuse(PlaceholderLeak, fmt.Sprintf("secret %q in %s", e.vault.secrets[found].Name, where), "")
	}
	texts := []string{req.URL.Path, req.URL.EscapedPath(), req.URL.RawQuery, req.Host, req.Method}
	if req.URL.User != nil {
		texts = append(texts, req.URL.User.String())
	}
	for _, text := range texts {
		if found := s.text(text); found >= 0 {
			return refuse(found, "the request target")
		}
	}
	for i, g := range e.vault.secrets { // where case is lost
		if own(i) {
			continue
		}
		folded := strings.ToLower(core(g.Placeholder))
		if strings.Contains(strings.ToLower(e.target.host), folded) {
			return refuse(i, "the host name")
		}
		for name := range req.Header {
			if strings.Contains(strings.ToLower(name), folded) {
				return refuse(i, "a header's name")
			}
		}
	}
	if found, where := s.header(req.Header); found >= 0 {
		return refuse(found, where)
	}
	e.found = func(found int, where string) error {
		why := refuse(found, where)
		e.late.Store(why)
		return why
	}
	if req.Header.Get("Upgrade") != "" {
		// Frames that are compressed (RFC 7692) cannot be looked into; a server that is not asked does not do it.
		delete(req.Header, "Sec-Websocket-Extensions")
		e.sent = newFrames(func() *search { return e.vault.tripwire.search(own) })
	}
	if req.Body == nil || req.Body == http.NoBody {
		return nil
	}
	if decode := decoder(req.Header); decode != nil {
		inside := e.vault.tripwire.search(own)
		req.Body = &unpacked{ReadCloser: req.Body, decode: decode, found: func(p []byte) error {
			if found := inside.feed(p); found >= 0 {
				return e.found(found, "the compressed body")
			}
			return nil
		}}
	}
	s.text("")
	req.Body = &watched{ReadCloser: req.Body, search: s, trailer: func() http.Header { return req.Trailer }, refuse: e.found}
	return nil
}

// value gives what the secret is now.
func (e *errand) value(ctx context.Context, g *guarded) (string, *refusal) {
	g.begin(e)
	value, err := e.vault.get(ctx, g.Name)
	switch {
	case errors.Is(err, ErrRevoked):
		return "", e.target.refuse(Revoked, fmt.Sprintf("secret %q", g.Name), "")
	case err != nil:
		return "", e.target.refuse(NoSecret, fmt.Sprintf("secret %q: %s", g.Name, g.remember("").text(err.Error())), "")
	}
	if err := usable(value); err != nil {
		return "", e.target.refuse(NoSecret, fmt.Sprintf("secret %q: %v", g.Name, err), "")
	}
	if strings.Contains(g.Placeholder, value) {
		return "", e.target.refuse(NoSecret, fmt.Sprintf("secret %q: the placeholder is the value", g.Name), "")
	}
	g.remember(value)
	return value, nil
}

// recognise has the answer searched for what the secrets of its host are now, whether the request carries one or not: the host may have
// been told the value before, by another session. A source that has none keeps nothing from passing.
func (e *errand) recognise(ctx context.Context) {
	ask := e.vault.known
	if ask == nil {
		ask = e.vault.get
	}
	for _, g := range e.hosts {
		if slices.Contains(e.used, g.Name) {
			continue
		}
		if value, err := ask(ctx, g.Name); err == nil && usable(value) == nil && !strings.Contains(g.Placeholder, value) {
			g.remember(value)
		}
	}
}

// remember takes a value among those that are looked for, and gives the swap for all of them.
func (g *guarded) remember(value string) *swap {
	g.mu.Lock()
	defer g.mu.Unlock()
	if value != "" && !slices.Contains(g.known, value) {
		g.known = append(g.known, value)
		if len(g.known) > maxKnown {
			g.known = g.known[1:]
		}
		g.swap = nil
	}
	if g.swap == nil {
		g.swap = newSwap(g.known, g.Placeholder)
	}
	return g.swap
}
