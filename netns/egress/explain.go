package egress

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// refusal is one thing that the door does not do, and why. It is an error, so that it travels through net/http's Transport.
type refusal struct {
	host   string // canonical, or as sent when it is no name
	port   uint16 // 0: host says it, or nothing does
	reason Reason
	detail string // for the event, not for the jail: it may hold addresses of the host's network
	addr   string // the address that was refused or could not be reached
	rule   string // the Why of the rule that refuses a request; "" when no rule does
	fix    string // what the rule allows and how to allow more, in our own words and the rule's
	// say writes the answer instead, for a protocol whose clients show nothing of a 403. message is what a text answer would begin with.
	say   func(w http.ResponseWriter, req *http.Request, message string)
	sent  bool   // the real server may have the request, or a part of it
	asked *asked // what was asked for, where the request at hand does not say it
}

// asked is method and path of a request, as much of them as could be read.
type asked struct{ method, path string }

func (r *refusal) Error() string {
	return fmt.Sprintf("%s: %s: %s", net.JoinHostPort(r.host, strconv.Itoa(int(r.port))), r.reason, r.detail)
}

// late gives the refusal of a request that was under way. cut: for what was found while it was sent.
func (r *refusal) late(cut bool) *refusal {
	again := *r
	again.sent = cut || r.reason == BadResponse || r.reason == Encoding
	return &again
}

// event gives the refusal as an event of the given kind.
func (r *refusal) event(kind string) Event {
	return Event{Kind: kind, Host: r.host, Port: r.port, Addr: r.addr, Reason: r.reason, Detail: r.detail}
}

// status gives the HTTP status that a refusal is answered with.
func (r Reason) status() int {
	switch r {
	case BadRequest:
		return http.StatusBadRequest
	case Resolve, Dial, UpstreamTLS, BadResponse:
		return http.StatusBadGateway
	case SNIMismatch, HostMismatch: // RFC 9110 section 15.5.20: a client that sent it over the wrong connection tries another
		return http.StatusMisdirectedRequest
	case Size:
		return http.StatusRequestEntityTooLarge
	case Busy:
		return http.StatusServiceUnavailable
	case Timeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusForbidden
}

// Sentence says the reason in words; host and port are printed before it.
func (r Reason) Sentence() string {
	switch r {
	case NotAllowed:
		return "is not a host that this session may reach"
	case Port:
		return "is an allowed host, but not on this port"
	case SNIMismatch:
		return "is not the host that this connection was opened for (the TLS server name differs)"
	case HostMismatch:
		return "is not the host that this connection was opened for (the Host header or request target differs)"
	case NoSNI:
		return "was asked for without a readable TLS server name, so the door cannot tell which host is meant"
	case BadName:
		return "is not a host name in canonical form"
	case NumericHost:
		return "is an address; only names can be allowed"
	case NonPublic:
		return "resolves to an address that is not public; only a rule that says so may reach it"
	case BadAddress:
		return "is an address that stands for no name; ask the resolver again"
	case BadRequest:
		return "was sent something that is not HTTP or TLS where that is needed, or HTTP that can be read in two ways"
	case Resolve:
		return "is allowed, but the host machine cannot resolve its name"
	case Dial:
		return "is allowed, but the host machine cannot reach it"
	case BadResponse:
		return "is allowed and was reached, but gave no answer that is HTTP, or broke it off"
	case Busy:
		return "was not reached: the session has too many connections or unfinished requests open"
	case Timeout:
		return "was not reached in time"
	case ClientTrust:
		return "was not reached: the client does not take the certificate with which the door answers"
	case UpstreamTLS:
		return "was not sent the request: its certificate is not valid for it, or it does not speak TLS as it must"
	case Method:
		return "is an allowed host, but not for this method"
	case Path:
		return "is an allowed host, but not for this path"
	case Size:
		return "was sent more than this session may send"
	case GitPush:
		return "is an allowed host, but not for this push"
	case ModelAPI:
		return "is an allowed host, but not for what this request asks of it"
	case ForeignCredential:
		return "is reached with this session's own credential alone; the request carried another"
	case PlaceholderLeak:
		return "is not a host of the secret whose placeholder the request carried"
	case Revoked:
		return "needs a secret that this session may not use any more"
	case NoSecret:
		return "needs a secret that the host machine cannot give"
	case Encoding:
		return "answered in an encoding that the door cannot search for the secret of the request"
	case NoGit:
		return "is an allowed host, but not for git"
	}
	return "was refused"
}

// explanation is the answer to a refused request, as JSON and as text. Error is the whole message in one line: npm and others print
// a field of this name and nothing else.
type explanation struct {
	Error   string `json:"error"`
	Reason  Reason `json:"reason"`
	Host    string `json:"host"`
	Port    uint16 `json:"port"`
	Profile string `json:"profile"`
	Allow   string `json:"allow,omitempty"` // the flag that would allow it
	Rule    string `json:"rule,omitempty"`  // where the rule stands that refuses it
	Hint    string `json:"hint,omitempty"`
	passed  string // what became of the request
}

// explain makes the answer. Whatever came from the jail and is no canonical name is quoted as ASCII and bounded: the answer ends
// up on somebody's terminal.
func explain(profile string, r *refusal) explanation {
	host, bad := Canonical(r.host)
	if bad != "" {
		host = strconv.QuoteToASCII(bounded(r.host))
	}
	where := host
	if r.port != 0 {
		where += ":" + strconv.Itoa(int(r.port))
	}
	e := explanation{Reason: r.reason, Host: host, Port: r.port, Profile: profile, passed: "the request was not passed on"}
	if r.sent {
		e.passed = "the request, or its beginning, was passed on"
	}
	e.Error = fmt.Sprintf("agentjail: %s %s (%s; profile %q)", where, r.reason.Sentence(), r.reason, profile)
	if bad == "" && (r.reason == NotAllowed || r.reason == Port) {
		e.Allow = "--allow " + where
		e.Error += "; to allow it, start the session with " + e.Allow
	}
	if e.Rule, e.Hint = r.rule, r.fix; e.Rule != "" {
		e.Error += fmt.Sprintf("; the rule is %s", e.Rule)
	}
	if e.Hint != "" {
		e.Error += "; " + e.Hint
	}
	return e
}

func (e explanation) text() string {
	var b strings.Builder
	fmt.Fprintln(&b, e.Error)
	fmt.Fprintf(&b, "\nhost:    %s\n", e.Host)
	if e.Port != 0 {
		fmt.Fprintf(&b, "port:    %d\n", e.Port)
	}
	fmt.Fprintf(&b, "profile: %s\nreason:  %s\n", strconv.Quote(e.Profile), e.Reason)
	if e.Allow != "" {
		fmt.Fprintf(&b, "allow:   agentjail %s -- COMMAND\n", e.Allow)
	}
	if e.Rule != "" {
		fmt.Fprintf(&b, "rule:    %s\n", e.Rule)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "hint:    %s\n", e.Hint)
	}
	fmt.Fprintf(&b, "\nThis answer comes from the door of the jail; %s.\n", e.passed)
	return b.String()
}

// answer writes the refusal as an HTTP response: JSON for a client that accepts it, text for every other, git and curl among them.
func answer(w http.ResponseWriter, req *http.Request, profile string, r *refusal) {
	e := explain(profile, r)
	h := w.Header()
	clear(h) // nothing of an upstream's answer stands beside ours
	h.Set("X-Agentjail-Reason", string(r.reason))
	h.Set("Cache-Control", "no-store") // the next session may allow it
	h.Set("X-Content-Type-Options", "nosniff")
	if req.ProtoMajor == 1 && (r.reason == BadRequest || r.reason == Size || req.Method == http.MethodConnect) {
		h.Set("Connection", "close") // what follows on the connection was meant for somebody else; streams stand for themselves
	}
	if r.say != nil {
		r.say(w, req, e.Error)
		return
	}
	accept, body := req.Header.Get("Accept"), e.text()
	if strings.Contains(accept, "application/json") || strings.Contains(accept, "+json") {
		h.Set("Content-Type", "application/json")
		text, _ := json.Marshal(e) // strings and a number
		body = string(text) + "\n"
	} else {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("Content-Length", strconv.Itoa(len(body))) // whole for the client while its request is not
	w.WriteHeader(r.reason.status())
	_, _ = io.WriteString(w, body) // a client that is gone reads no explanation
}
