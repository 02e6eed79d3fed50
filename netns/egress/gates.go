package egress

import (
	"cmp"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// judgeRequest judges one request or stream whose host is known to be the right one: method and path, sizes, and what the host's
// own protocol says. It is in this order that the reasons are told; nothing has been dialled yet. What the request sends is judged
// while it is sent, and the secrets last, on the request as it goes out: see RoundTrip.
func (d *Door) judgeRequest(p *passage, req *http.Request) *refusal {
	t := p.target
	p.judged = d.inspects(t)
	why := t.rule.judgeRequest(req.Method, req.URL.EscapedPath(), req.URL.RawQuery, req.Header)
	if name := dropped(req.Header); why == nil && p.judged && name != "" {
		why = t.refuse(BadRequest, "Connection names "+name, "")
		why.fix = "leave the field out of Connection: it would be judged and not sent"
	}
	if why == nil {
		p.gauge, why = d.meter.gauge(t, req)
	}
	if why == nil && req.ContentLength != 0 && req.Body != nil {
		req.Body = gauged{req.Body, p.gauge}
		if len(t.rule.Methods) > 0 {
			req.Body = watchForm(req, p.gauge)
		}
	}
	if why == nil {
		why = d.judgeContent(p, req)
	}
	if cut := p.cut(); why != nil && cut != nil { // reading the body for the judgement passed a bound
		why = cut
	}
	return p.named(why)
}

// dropped gives a field of the request that it has itself taken out on the way, by naming it in Connection (RFC 9110 section
// 7.6.1), and that is none of one hop by its meaning: what was judged by it would be sent without.
func dropped(header http.Header) string {
	for _, line := range header["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			if _, has := header[name]; has && !slices.Contains(hopByHop(), name) {
				return name
			}
		}
	}
	return ""
}

// hopByHop are the fields of one hop by their meaning.
func hopByHop() []string {
	return []string{"Connection", "Proxy-Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Http2-Settings", "Proxy-Authenticate", "Proxy-Authorization"}
}

// cut gives why the request was ended while it was sent, or nil.
func (p *passage) cut() *refusal {
	if s := p.session; s.strict != nil {
		if a := s.strict.refusal(s.requests); a != nil {
			return p.target.refuse(a.reason, a.detail, "") // the body broke the rules after the head had kept them
		}
	}
	if p.gauge != nil {
		if why := p.gauge.why.Load(); why != nil {
			return p.named(why)
		}
	}
	if p.errand != nil {
		return p.errand.late.Load()
	}
	return nil
}

// named fills in what a refusal of the passage's rule leaves out.
func (p *passage) named(why *refusal) *refusal {
	if why == nil {
		return nil
	}
	full := *why
	full.host = cmp.Or(why.host, p.target.host)
	full.port = cmp.Or(why.port, p.target.port)
	switch why.reason {
	case Method, Path, Size, GitPush, NoGit, ModelAPI:
		full.rule = cmp.Or(why.rule, p.target.rule.Why)
	}
	return &full
}

// judgeContent asks the gates that know what a body means.
func (d *Door) judgeContent(p *passage, req *http.Request) *refusal {
	if why := judgeGit(p.target, req, d.bodies); why != nil {
		return why
	}
	return judgeAPI(p.target.rule, req, d.bodies)
}

// RoundTrip sends a request that was judged, with the secrets put in: what is looked at is what is sent.
func (w *web) RoundTrip(req *http.Request) (*http.Response, error) {
	p := req.Context().Value(passageKey{}).(*passage)
	e, why := w.door.vault.outgoing(req, p.target, req.URL.Scheme == "https", p.end)
	event := Event{Host: p.target.host, Port: p.target.port}
	if why != nil {
		if why.reason == ForeignCredential {
			event.Kind, event.Secret, event.Detail = "secret.foreign", w.door.vault.pinned(p.target.host), why.detail
			w.door.ledger.emit(event)
		}
		return nil, why
	}
	p.errand = e
	for _, name := range e.used {
		event.Kind, event.Secret = "secret.use", name
		w.door.ledger.emit(event)
	}
	replayable(req)
	switch {
	case p.http2:
		return w.http2.RoundTrip(req)
	case p.read:
		return w.reads.RoundTrip(req, p)
	}
	return w.http1.RoundTrip(req)
}

// pinned gives the name of the secret beside which the host takes no other credential.
func (v *vault) pinned(host string) string {
	for _, g := range v.secrets {
		if g.Pin && g.of(host) {
			return g.Name
		}
	}
	return ""
}

// incoming takes the secrets out of an answer. What a server says to a request that was cut is no answer to it.
func incoming(res *http.Response) error {
	p := res.Request.Context().Value(passageKey{}).(*passage)
	if why := p.cut(); why != nil {
		return why
	}
	if why := p.errand.incoming(res); why != nil {
		return why
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		p.changed = res.Body
	} else {
		a := &answered{ReadCloser: res.Body, of: p, most: moreBytes}
		if len(res.TransferEncoding) > 0 {
			a.most = someBytes
		}
		res.Body = a
	}
	return nil
}

// answered is the body of an answer, and notes when the server breaks it off.
type answered struct {
	io.ReadCloser
	of   *passage
	most int // bytes at a time: within a chunk net/http waits until it has as many
}

func (h *answered) Read(b []byte) (int, error) {
	n, err := h.ReadCloser.Read(b[:min(len(b), h.most)])
	if err != nil && err != io.EOF {
		h.of.broken = err
	}
	return n, err
}

// hostOverrides are header fields by which servers behind proxies take a request for another host's.
func hostOverrides() []string {
	return []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Host", "X-Http-Host-Override", "X-Original-Host"}
}
