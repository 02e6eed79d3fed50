package egress

import (
	"net"
	"net/http"
	"strconv"
)

// judge gives the target of a request, or why it has none.
func (w *web) judge(s *session, req *http.Request) (target, *refusal) {
	if s.strict != nil {
		if a := s.strict.refusal(s.requests); a != nil {
			return target{}, w.ambiguity(s, a)
		}
	}
	if s.role == explaining && s.why != nil {
		return target{}, s.why
	}
	if s.role == proxying && req.Method == http.MethodConnect {
		return w.decide(req.RequestURI, 0)
	}
	if req.ProtoMajor == 2 {
		if why := s.judgeStream(req); why != nil {
			return target{}, why
		}
	}
	absolute := req.URL.Host != ""
	said, port := spoken(req.Host, s.target.port)
	switch {
	case req.Method == http.MethodConnect:
		return target{}, s.target.refuse(BadRequest, "CONNECT to a host that is no proxy", "")
	case absolute && req.URL.Scheme != s.scheme():
		return target{}, &refusal{host: req.URL.Hostname(), port: s.target.port, reason: BadRequest, detail: "scheme " + req.URL.Scheme}
	case s.role == proxying && !absolute:
		return target{}, &refusal{host: said, port: port, reason: BadRequest, detail: "not a proxy request"}
	case s.role == proxying:
		t, why := w.decide(req.URL.Host, httpPort)
		if why == nil && t.port == httpsPort {
			why = t.refuse(BadRequest, "plain HTTP on a TLS port", "")
		}
		return t, why
	case s.role == explaining:
		_, why := w.decide(withPort(req.Host, s.target.port), s.target.port)
		if why == nil { // allowed, so the name has an address of its own: a stale or forged answer led here
			why = &refusal{host: said, port: s.target.port, reason: BadAddress, detail: "allowed host at the explaining address"}
		}
		return target{}, why
	case req.Host == "" && !req.ProtoAtLeast(1, 1):
		return s.target, nil // HTTP/1.0 needs no Host: the connection says it
	}
	host, number, reason := authority(req.Host, s.standard())
	if reason == "" && (host != s.target.host || number != s.target.port) {
		reason = HostMismatch
	}
	if reason != "" {
		return target{}, &refusal{host: said, port: port, reason: reason, detail: "connection to " + s.target.String()}
	}
	return s.target, nil
}

// ambiguity gives why a message is refused. Of two hosts that it names, the one to tell of is the one that it should not have named.
func (w *web) ambiguity(s *session, a *ambiguous) *refusal {
	host := a.host
	if a.other != "" && w.good(s, a.host) {
		host = a.other
	}
	r := &refusal{host: s.target.host, port: s.target.port, reason: a.reason, detail: a.detail, fix: a.fix, asked: a.asked}
	if host != "" {
		standard := s.target.port
		if s.role == proxying {
			standard = httpPort
		}
		r.host, r.port = spoken(host, standard)
	}
	return r
}

// good says whether a request of the session may name this host.
func (w *web) good(s *session, hostport string) bool {
	if s.role == origin {
		host, port, reason := authority(hostport, s.standard())
		return reason == "" && host == s.target.host && port == s.target.port
	}
	_, why := w.decide(hostport, httpPort)
	return why == nil
}

// withPort gives the host with the port of the connection, whatever port the client wrote behind it.
func withPort(hostport string, port uint16) string {
	if host, _, reason := authority(hostport, port); reason == "" {
		return net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return hostport
}

// decide asks the policy about HOST[:PORT]. standard 0: the port has to be there.
func (w *web) decide(hostport string, standard uint16) (target, *refusal) {
	host, port, reason := authority(hostport, standard)
	if reason == "" && port == 0 {
		reason = BadRequest
	}
	if reason != "" {
		said, number := spoken(hostport, standard)
		return target{}, &refusal{host: said, port: number, reason: reason}
	}
	rule, reason := w.door.match.Decide(host, port)
	if rule == nil {
		return target{}, &refusal{host: host, port: port, reason: reason}
	}
	return target{host, port, rule}, nil
}
