package egress

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Lengths of a name as text, without the trailing dot (RFC 1035 section 2.3.4: 255 bytes on the wire, 63 a label).
const (
	maxName  = 253
	maxLabel = 63
)

// Canonical gives the one spelling of a host name that every layer compares: lower case, A-labels, no trailing dot. The name of a
// DNS question, a CONNECT target, an SNI, a Host header and a rule all pass through here before anything looks at them, so that
// two layers can never read one name in two ways. The second result is "" on success.
//
// It folds case and drops one trailing dot, and repairs nothing else. BadName: an empty name or label, a name longer than 253 or
// a label longer than 63 bytes, a label that begins or ends with a hyphen (RFC 1123 section 2.1), every byte that is not an ASCII
// letter, digit, hyphen or underscore (so user information, ports, brackets, zone ids, percent escapes, control bytes and U-labels:
// on the wire a name is ASCII), and an "xn--" label that is not the A-label of what it decodes to (RFC 5890 section 2.3.2.1), for
// a client that decodes it would print or look up another name.
//
// NumericHost: an address in any spelling. inet_aton(3), and with it the cgo resolver, curl and browsers, take 127.1, 2130706433,
// 0x7f.0.0.1, 0177.1 and 0 for addresses that netip.ParseAddr calls none; so a name whose last label is a number, decimal, octal
// or hexadecimal, is refused whatever stands before it (the "ends in a number" check of the WHATWG URL standard, section 3.5).
// No top-level domain is all digits (RFC 3696 section 2), so no name is lost.
//
// Underscores pass: they are no host name of RFC 952, yet hosts with them exist (old storage buckets, virtual hosts of a company),
// they have no second spelling, and only a wildcard rule or a rule that spells them ever meets one.
func Canonical(name string) (string, Reason) {
	if strings.ContainsAny(name, "[]:%") {
		if _, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")); err == nil {
			return "", NumericHost
		}
		return "", BadName
	}
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > maxName {
		return "", BadName
	}
	for i := range len(name) { // before ToLower, which would fold U+212A (Kelvin) into an ASCII k
		if !hostByte(name[i]) && name[i] != '.' {
			return "", BadName
		}
	}
	name = strings.ToLower(name)
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if !goodLabel(label) {
			return "", BadName
		}
		last = label
	}
	if number(last) {
		return "", NumericHost
	}
	return name, ""
}

func hostByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// goodLabel judges one lower-case label of host bytes.
func goodLabel(label string) bool {
	if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
		return false
	}
	if !strings.HasPrefix(label, "xn--") {
		return true // "r3---sn-x" is a real host: hyphens in places 3 and 4 are not refused
	}
	again, err := idna.Lookup.ToASCII(label) // decodes, checks and encodes
	return err == nil && again == label
}

// number says whether inet_aton(3) could read the label as a part of an address. "0x" alone counts: some read it as 0.
func number(label string) bool {
	digits, hex := strings.CutPrefix(label, "0x")
	for i := range len(digits) {
		c := digits[i]
		if !('0' <= c && c <= '9' || hex && 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// local says whether the name is localhost or below it: the jail's own loopback, never the door's business (RFC 6761 section 6.3).
func local(host string) bool { return host == "localhost" || strings.HasSuffix(host, ".localhost") }
