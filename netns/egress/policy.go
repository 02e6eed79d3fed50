package egress

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

// Policy is what the door decides by. It is data: it prints as JSON and is made before anything runs.
type Policy struct {
	Profile string `json:"profile"` // named in explanations
	Allow   []Rule `json:"allow"`
	Deny    []Rule `json:"deny,omitempty"` // wins over Allow
	Explain bool   `json:"explain"`        // a name that is not allowed resolves to the explaining address; else NXDOMAIN
	// Secrets are the credentials that the jail has placeholders of. Their values are never here: Config.Secrets gives them.
	Secrets []Secret `json:"secrets,omitempty"`
}

// Rule allows (or denies) one host pattern on some ports.
type Rule struct {
	Host  string   `json:"host"`            // canonical: lower case, A-labels, no trailing dot; "*.example.com" for subdomains at any depth
	Ports []uint16 `json:"ports,omitempty"` // in Allow never empty; in Deny empty means every port
	// Private: the name may resolve to a loopback, private, link-local or own address.
	Private bool `json:"private,omitempty"`
	// Connect is the IP:PORT that is dialled instead of the name's own address; the rule itself names it, so the guard lets it pass.
	Connect string `json:"connect,omitempty"`
	// UpstreamCA is PEM that vouches for the real server beside the host's roots. Tunnel mode: the jail's trust store gets it.
	UpstreamCA []byte `json:"upstream_ca,omitempty"`

	// TLS is "inspect", "tunnel" or "": a tunnel unless something else here, or a Secret of the host, needs to see requests.
	TLS string `json:"tls,omitempty"`
	// Methods and Paths are what a request may ask for; empty: everything. Paths are globs on the canonical path: see canonicalPath.
	Methods []string `json:"methods,omitempty"`
	Paths   []string `json:"paths,omitempty"`
	// Git is what smart HTTP may do: "fetch", "push", "none", or "" where git is not looked at.
	Git string `json:"git,omitempty"`
	// PushRefs are globs of the refs that Git "push" may change, full or short ("agent/*" is refs/heads/agent/*). They are
	// created or get further commits, and are neither forced nor deleted. Empty: any ref, any push.
	PushRefs []string `json:"push_refs,omitempty"`
	// MaxRequest bounds the body of each request, MaxUpload everything that the session sends under this rule. Bytes; 0: no bound.
	MaxRequest int64 `json:"max_request,omitempty"`
	MaxUpload  int64 `json:"max_upload,omitempty"`
	// API is the model API that requests are judged as: "anthropic", "openai", "gemini". ServerTools are the tools that the
	// provider may run on its side.
	API         string   `json:"api,omitempty"`
	ServerTools []string `json:"server_tools,omitempty"`

	Why string `json:"why"`
}

// Secret is a credential that stays outside: the jail has the placeholder, and the door puts the value in its place on the way to
// the secret's hosts.
type Secret struct {
	Name        string   `json:"name"`
	Placeholder string   `json:"placeholder"`
	Hosts       []string `json:"hosts"` // canonical, exact or "*.example.com"; none: nobody gets it
	// Header says where the value goes: "Authorization: Bearer" (also when empty), "x-api-key", "query:key". Behind the name stands a scheme that
	// clients write in front of it, or "Basic" and the user's name beside it; common ones need no saying.
	Header string `json:"header,omitempty"`
	Pin    bool   `json:"pin"` // any other credential on these hosts is refused
	Why    string `json:"why"`
}

// ParseRule reads what people write after --allow and in net.allow: "HOST", "HOST:PORT", "*.HOST" or "*.HOST:PORT". Without a
// port the rule has 80 and 443. U-labels are turned into A-labels (UTS 46, non-transitional), so that the plan shows what is
// compared. "*" and a wildcard over a public suffix ("*.com", "*.co.uk", "*.github.io") are refused: anybody may register below it.
func ParseRule(text, why string) (Rule, error) {
	r, err := ParseDeny(text, why)
	if err == nil && r.Ports == nil {
		r.Ports = []uint16{80, 443}
	}
	return r, err
}

// ParseDeny reads what people write after --deny and in net.deny. It differs from ParseRule in one thing: without a port the
// rule has none, which in Policy.Deny means every port. Who writes "deny gist.example.com" wants it shut, not two ports of it.
func ParseDeny(text, why string) (Rule, error) {
	host, port, err := splitPort(text)
	if err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", text, err)
	}
	base, star := strings.CutPrefix(host, "*.")
	if host == "*" {
		return Rule{}, fmt.Errorf("rule %q: would allow every host; name the hosts, or *.DOMAIN of one owner", text)
	}
	if !ascii(base) {
		if base, err = idna.Lookup.ToASCII(base); err != nil {
			return Rule{}, fmt.Errorf("rule %q: %w", text, err)
		}
	}
	base, reason := Canonical(base)
	if reason != "" {
		return Rule{}, fmt.Errorf("rule %q: %w", text, badPattern(host, reason))
	}
	r := Rule{Host: base, Why: why}
	if star {
		r.Host = "*." + base
	}
	if port != 0 {
		r.Ports = []uint16{port}
	}
	if err := checkPattern(r.Host); err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", text, err)
	}
	return r, nil
}

// splitPort cuts ":PORT" off. Port 0 means that none was written.
func splitPort(text string) (host string, port uint16, err error) {
	if strings.Contains(text, "/") {
		return "", 0, errors.New("not a host; write HOST or HOST:PORT, without scheme and path")
	}
	host, digits, found := strings.Cut(text, ":")
	if !found {
		return host, 0, nil
	}
	if strings.Contains(digits, ":") {
		return text, 0, nil // an IPv6 address perhaps: Canonical says so
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 || digits != strconv.FormatUint(n, 10) {
		return "", 0, fmt.Errorf("port %q is not a number from 1 to 65535", digits)
	}
	return host, uint16(n), nil
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7f })
}

// badPattern says in a user's words why a host is none.
func badPattern(host string, reason Reason) error {
	switch {
	case reason == NumericHost:
		return errors.New("an address is not a host name; the jail reaches hosts by name: write a [[net.rule]] with a host and connect = \"IP:PORT\"")
	case strings.Contains(host, "*"):
		return errors.New("a wildcard is *.DOMAIN, with one * in front")
	}
	return fmt.Errorf("%q is not a host name (letters, digits, hyphens and dots)", host)
}

// checkPattern judges the Host of a rule: canonical, not localhost, and no wildcard over a public suffix.
func checkPattern(host string) error {
	base, star := strings.CutPrefix(host, "*.")
	if again, reason := Canonical(base); reason != "" {
		return badPattern(host, reason)
	} else if again != base {
		return fmt.Errorf("host %q is not in canonical form (%q)", base, again)
	}
	if local(base) {
		return errors.New("localhost is the jail's own; give the host's service a name: a [[net.rule]] with a host and connect = \"127.0.0.1:PORT\"")
	}
	if star && openBelow(base) {
		return fmt.Errorf("%q is a public suffix: anybody may own a name below it; name the hosts", base)
	}
	return nil
}

// openBelow says whether different owners hold the names directly below base: base is a public suffix, or its children are (the
// list has "*.kobe.jp" without "kobe.jp"). Private suffixes such as github.io count as much as com does. A top-level name that is
// not on the list counts too.
func openBelow(base string) bool {
	child := "x." + base
	suffix, _ := publicsuffix.PublicSuffix(base)
	below, _ := publicsuffix.PublicSuffix(child)
	return suffix == base || below == child
}

// checkRule judges a rule as a whole.
func checkRule(r *Rule) error {
	if err := checkPattern(r.Host); err != nil {
		return err
	}
	if slices.Contains(r.Ports, 0) {
		return errors.New("port 0")
	}
	if r.Connect != "" {
		to, err := netip.ParseAddrPort(r.Connect)
		switch {
		case err != nil:
			return fmt.Errorf("connect %q is not IP:PORT", r.Connect)
		case to.Port() == 0 || to.Addr().IsUnspecified() || to.Addr().IsMulticast():
			return fmt.Errorf("connect %q cannot be dialled", r.Connect)
		}
	}
	if len(r.UpstreamCA) > 0 && !x509.NewCertPool().AppendCertsFromPEM(r.UpstreamCA) {
		return errors.New("upstream_ca holds no PEM certificate")
	}
	return r.checkRequests()
}
