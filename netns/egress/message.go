package egress

import (
	"bytes"
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// What stands in front of net/http's parser. net/http is lenient where RFC 9112 lets a recipient be: it takes bare LF for a line
// end, joins folded lines, drops Content-Length beside Transfer-Encoding and forgets the Host header of an absolute-form request.
// Whatever it passes on it writes anew, so none of that smuggles a request past the door; but a message that two readers can read
// in two ways has no honest sender, and judging it by one of the readings is a bet. It is refused here, before anything reads it.

const (
	maxHead      = 64 << 10 // request line and header fields, as nginx's large_client_header_buffers allows them at most
	maxExplained = 8 << 10  // the same where nothing but an explanation follows
	maxTrail     = 16 << 10 // trailer fields
	maxChunk     = 1 << 10  // one chunk-size line with its extensions
)

// head is what of a request's head decides where the message ends and whom it is for.
type head struct {
	method  string
	target  string
	host    string // of the Host field; "" when HTTP/1.0 has none
	body    int64  // bytes that follow
	chunked bool   // chunks follow instead
}

// ambiguous is a message that is refused as it stands.
type ambiguous struct {
	reason Reason
	detail string
	fix    string // what may be said, for the jail
	host   string // HOST[:PORT] that it names, when it names one
	other  string // the other one, when it names two
	asked  *asked // nil: its head was good
}

func (a *ambiguous) Error() string { return string(a.reason) + ": " + a.detail }

func bad(detail string) error { return &ambiguous{reason: BadRequest, detail: detail} }

// headEnd gives the length of the head that b begins with, empty line included, or 0 when it is not whole yet; the first from bytes
// were looked at before. It refuses at the first byte that no head can have, so that an LF without CR is never waited behind.
func headEnd(b []byte, from int) (int, error) {
	for i := from; i < len(b); i++ {
		c := b[i]
		switch {
		case c == '\n' && (i == 0 || b[i-1] != '\r'):
			return 0, bad("bare LF")
		case c != '\n' && i > 0 && b[i-1] == '\r':
			return 0, bad("bare CR")
		case c < ' ' && c != '\t' && c != '\r' && c != '\n', c == 0x7f:
			return 0, bad("control byte")
		case c == '\n' && i >= 3 && b[i-2] == '\n':
			return i + 1, nil
		case c == '\n' && i == 1:
			return 0, bad("empty request line")
		}
	}
	return 0, nil
}

// question gives method and path of the request that b begins with; nothing when it does not say.
func question(b []byte) *asked {
	line, _, _ := strings.Cut(string(b[:min(len(b), maxExplained)]), "\n")
	h, _, err := parseRequestLine(strings.TrimSuffix(line, "\r"))
	if err != nil {
		return &asked{}
	}
	path, _, _ := strings.Cut(h.target, "?") // what follows may be a secret
	if _, rest, absolute := strings.Cut(path, "://"); absolute && path[0] != '/' {
		_, path, _ = strings.Cut(rest, "/")
		path = "/" + path
	}
	if h.method == "CONNECT" {
		path = ""
	}
	return &asked{method: bounded(h.method), path: bounded(path)}
}

// parseHead judges a whole head (RFC 9112 sections 3 and 5). What passes, http.Server takes: what it would refuse by itself, in
// words of its own and with no event, is refused here.
func parseHead(b []byte) (head, error) {
	line, rest, _ := strings.Cut(string(b), "\r\n")
	h, old, err := parseRequestLine(line)
	if err != nil {
		return h, err
	}
	seen := map[string]bool{}
	for line, rest, _ = strings.Cut(rest, "\r\n"); line != ""; line, rest, _ = strings.Cut(rest, "\r\n") {
		name, value, err := parseField(line)
		if err != nil {
			return h, err
		}
		if err := h.field(name, value, seen[name]); err != nil {
			return h, err
		}
		seen[name] = true
	}
	switch {
	case seen["transfer-encoding"] && (old || seen["content-length"]): // RFC 9112 section 6.1
		return h, bad("Transfer-Encoding in HTTP/1.0 or beside Content-Length")
	case !seen["host"] && !old:
		return h, bad("no Host")
	case h.method == "CONNECT" && (seen["transfer-encoding"] || seen["content-length"]):
		return h, bad("CONNECT with a body")
	}
	return h, h.agree(seen["host"])
}

// parseRequestLine gives method and target, and whether the version is 1.0.
func parseRequestLine(line string) (h head, old bool, err error) {
	parts := strings.Split(line, " ")
	if len(parts) != 3 || !token(parts[0]) || parts[1] == "" {
		return h, false, bad("request line")
	}
	for i := range len(parts[1]) {
		if c := parts[1][i]; c <= ' ' || c >= 0x7f {
			return h, false, bad("byte outside of ASCII in the request target")
		}
	}
	if parts[2] != "HTTP/1.1" && parts[2] != "HTTP/1.0" {
		return h, false, bad("version " + strconv.Quote(parts[2]))
	}
	return head{method: parts[0], target: parts[1]}, parts[2] == "HTTP/1.0", nil
}

// parseField gives the name in lower case and the value of one field line. A line that begins with white space (obs-fold, RFC 9112
// section 5.2) and white space before the colon have no name that is a token.
func parseField(line string) (name, value string, err error) {
	name, value, found := strings.Cut(line, ":")
	if !found || !token(name) || framesAsCGI(name) {
		return "", "", bad("header field name")
	}
	return strings.ToLower(name), strings.Trim(value, " \t"), nil
}

// framesAsCGI says whether a field's name frames or routes its message once a server has made a variable of it, and does not before: to
// CGI programs, and frameworks that speak as those do, Content_Length is Content-Length (RFC 3875 section 4.1.18).
func framesAsCGI(name string) bool {
	return strings.Contains(name, "_") && framing(strings.ToLower(strings.ReplaceAll(name, "_", "-")))
}

// field takes what one header field says about the message.
func (h *head) field(name, value string, again bool) error {
	switch name {
	case "host":
		h.host = value
	case "content-length":
		n, err := strconv.ParseUint(value, 10, 62)
		if err != nil || value[0] == '+' {
			return bad("Content-Length " + strconv.Quote(bounded(value)))
		}
		h.body = int64(n)
	case "transfer-encoding":
		if !strings.EqualFold(value, "chunked") {
			return bad("Transfer-Encoding " + strconv.Quote(bounded(value)))
		}
		h.chunked = true
	case "expect":
		if value != "" && !strings.EqualFold(value, "100-continue") { // RFC 9110 section 10.1.1 knows no other
			return bad("Expect " + strconv.Quote(bounded(value)))
		}
	case "trailer":
		for key := range strings.SplitSeq(value, ",") {
			if framing(strings.ToLower(strings.Trim(key, " \t"))) {
				return bad("Trailer " + strconv.Quote(bounded(value)))
			}
		}
		return nil
	default:
		return nil
	}
	if again {
		return bad(name + " twice")
	}
	return nil
}

// agree holds that target and Host name one host. RFC 9112 section 3.2.2 has a proxy ignore Host when the target is in absolute
// form; a server behind it may do the opposite.
func (h *head) agree(hasHost bool) error {
	if h.method == "CONNECT" {
		if _, port, reason := authority(h.target, 0); reason != "" {
			return &ambiguous{reason: reason, detail: "CONNECT target", host: h.target}
		} else if port == 0 {
			return &ambiguous{reason: BadRequest, detail: "CONNECT target without a port", host: h.target + ":"}
		}
	}
	if !hostText(h.host) {
		return &ambiguous{reason: BadName, detail: "Host", host: h.host}
	}
	if h.method == "CONNECT" {
		return nil // clients differ in what they say in Host there
	}
	switch _, err := url.ParseRequestURI(h.target); {
	case err != nil || h.target == "*" && h.method != "OPTIONS":
		return bad("request target")
	case h.target == "*", h.target[0] == '/':
		return nil
	}
	u, err := url.Parse(h.target)
	switch {
	case err != nil || u.Scheme == "" || u.Host == "" || u.Opaque != "" || u.Fragment != "":
		return bad("request target")
	case u.User != nil:
		return &ambiguous{reason: BadName, detail: "user information in the request target", host: u.Host}
	case !hasHost || strings.EqualFold(u.Host, h.host):
		return nil // one name, which the handler judges
	}
	a, aport, areason := authority(u.Host, 80)
	b, bport, breason := authority(h.host, 80)
	if areason != "" || breason != "" || a != b || aport != bport {
		return &ambiguous{reason: HostMismatch, detail: "target " + u.Host + ", Host " + h.host, host: u.Host, other: h.host}
	}
	return nil
}

// chunkLine gives the length of the chunk-size line that b begins with, 0 when it is not whole yet, and the size of the chunk
// (RFC 9112 section 7.1). Extensions are skipped, as every recipient must; in quotes they may hold no line end either.
func chunkLine(b []byte) (length int, size int64, err error) {
	end := bytes.IndexByte(b, '\n')
	if end < 0 {
		if len(b) > maxChunk {
			return 0, 0, bad("chunk size line too long")
		}
		return 0, 0, nil
	}
	line, ok := bytes.CutSuffix(b[:end], []byte("\r"))
	if !ok || end > maxChunk || bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return 0, 0, bad("chunk size line")
	}
	digits, _, _ := bytes.Cut(line, []byte(";"))
	for _, c := range digits {
		if !hexDigit(c) {
			return 0, 0, bad("chunk size")
		}
	}
	n, err := strconv.ParseUint(string(digits), 16, 62)
	if err != nil {
		return 0, 0, bad("chunk size")
	}
	return end + 1, int64(n), nil
}

// trailEnd gives the length of the trailer section that b begins with, empty line included, or 0 when it is not whole yet. Fields
// that would frame or route the message have no place there (RFC 9110 section 6.5.1).
func trailEnd(b []byte) (int, error) {
	if bytes.HasPrefix(b, []byte("\r\n")) {
		return 2, nil
	}
	if len(b) < 2 {
		if len(b) == 1 && b[0] == '\n' {
			return 0, bad("bare LF")
		}
		return 0, nil
	}
	n, err := headEnd(b, 0)
	if n == 0 || err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(string(b[:n-4]), "\r\n") {
		name, _, err := parseField(line)
		if err != nil {
			return 0, err
		}
		if framing(name) {
			return 0, bad(name + " as a trailer")
		}
	}
	return n, nil
}

// framing says whether a field of this name, in lower case, frames or routes its message.
func framing(name string) bool {
	return name == "host" || name == "content-length" || name == "transfer-encoding" || name == "trailer"
}

// token says whether s is one (RFC 9110 section 5.6.2).
func token(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// errTooLong is the refusal of a head or trailer section that does not end in time.
func errTooLong(what string, max int) error {
	return &ambiguous{reason: BadRequest, detail: what + " longer than " + strconv.Itoa(max) + " bytes", fix: "its " + what + " may have " + strconv.Itoa(max) + " bytes"}
}

// asAmbiguous gives the refusal that err is, or nil.
func asAmbiguous(err error) *ambiguous {
	var a *ambiguous
	if errors.As(err, &a) {
		return a
	}
	return nil
}
