package egress

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Matcher is a Policy made ready for decisions: one map look-up for the host and one for each of its parents, however many rules
// there are. It does not change and is safe for concurrent use.
type Matcher struct {
	allow, deny table
	ports       []uint16
}

// table finds the rules whose pattern matches a host.
type table struct {
	exact map[string][]*Rule // by host
	below map[string][]*Rule // by what follows "*."
}

// Compile checks every rule and gives the Matcher. A policy with one bad rule gives none: a rule that was not understood must not
// be left out in silence. An empty Allow allows nothing.
func (p *Policy) Compile() (*Matcher, error) {
	m := &Matcher{allow: newTable(len(p.Allow)), deny: newTable(len(p.Deny))}
	ports := map[uint16]bool{80: true, 443: true}
	for i := range p.Allow {
		r := &p.Allow[i]
		err := checkRule(r)
		if err == nil && len(r.Ports) == 0 {
			err = errors.New("no port")
		}
		if err != nil {
			return nil, fmt.Errorf("allow %q (%s): %w", r.Host, r.Why, err)
		}
		m.allow.add(r)
		for _, port := range r.Ports {
			ports[port] = true
		}
	}
	for i := range p.Deny {
		r := &p.Deny[i]
		err := checkRule(r)
		if err == nil && r.inspect() {
			err = errors.New("a deny rule shuts the host; what requests may ask for stands in a rule that allows it")
		}
		if err != nil {
			return nil, fmt.Errorf("deny %q (%s): %w", r.Host, r.Why, err)
		}
		m.deny.add(r)
	}
	for i := range p.Secrets {
		if err := p.Secrets[i].tunnelled(p.Allow); err != nil {
			return nil, fmt.Errorf("secret %q (%s): %w", p.Secrets[i].Name, p.Secrets[i].Why, err)
		}
	}
	m.ports = slices.Sorted(maps.Keys(ports))
	return m, nil
}

// Decide gives the rule that allows the host on the port, or nil and the reason: Port when the host is allowed on another port,
// NotAllowed otherwise. Any deny rule wins over any allow rule. Among allow rules that name the port the most specific decides:
// the host itself, then the longest wildcard; for one pattern a rule that says how the host is reached or what may be asked of
// it (Connect, Private, UpstreamCA, TLS, Methods…) before one that only allows it, and a later rule before an earlier one (flags come after profiles). Host is
// canonical: one that was not brought to this form (see Canonical) matches nothing that it should not, and may miss what it should.
func (m *Matcher) Decide(host string, port uint16) (*Rule, Reason) {
	if m.Denied(host, port) == nil {
		for r := range m.allow.rules(host) {
			if slices.Contains(r.Ports, port) {
				return r, ""
			}
		}
	}
	if m.Known(host) {
		return nil, Port
	}
	return nil, NotAllowed
}

// tunnelled gives an error when a rule hides the requests that the secret has to be put into.
func (s *Secret) tunnelled(allow []Rule) error {
	for _, host := range s.Hosts {
		for _, r := range allow {
			if r.TLS == "tunnel" && slices.Contains(r.Ports, httpsPort) && overlap(r.Host, host) {
				return fmt.Errorf("host %q is tunnelled (%s): the placeholder would never be replaced", r.Host, r.Why)
			}
		}
	}
	return nil
}

// overlap says whether a host exists that both patterns match.
func overlap(a, b string) bool {
	within := func(host, pattern string) bool {
		base, star := strings.CutPrefix(pattern, "*")
		return host == pattern || star && strings.HasSuffix(strings.TrimPrefix(host, "*"), base)
	}
	return within(a, b) || within(b, a)
}

// Denied gives the deny rule that shuts the host on the port, so that an explanation can name it, or nil.
func (m *Matcher) Denied(host string, port uint16) *Rule {
	for r := range m.deny.rules(host) {
		if len(r.Ports) == 0 || slices.Contains(r.Ports, port) {
			return r
		}
	}
	return nil
}

// Known says whether Decide allows the host on some port. DNS gives such names an address.
func (m *Matcher) Known(host string) bool {
	for r := range m.allow.rules(host) {
		for _, port := range r.Ports {
			if m.Denied(host, port) == nil {
				return true
			}
		}
	}
	return false
}

// Ports gives every port on which the door listens, sorted: those that a rule allows, and 80 and 443 always, where explanations
// are answered.
func (m *Matcher) Ports() []uint16 { return slices.Clone(m.ports) }

func newTable(rules int) table {
	return table{exact: make(map[string][]*Rule, rules), below: map[string][]*Rule{}}
}

// add files a copy of the rule, before the rules that it goes before.
func (t table) add(r *Rule) {
	list, key := t.exact, r.Host
	if base, star := strings.CutPrefix(r.Host, "*."); star {
		list, key = t.below, base
	}
	own := *r
	own.Ports = slices.Clone(r.Ports)
	same := list[key]
	at := slices.IndexFunc(same, func(other *Rule) bool { return own.how() || !other.how() })
	if at < 0 {
		at = len(same)
	}
	list[key] = slices.Insert(same, at, &own)
}

// how says whether the rule does more than allow.
func (r *Rule) how() bool {
	return r.Connect != "" || r.Private || len(r.UpstreamCA) > 0 || r.TLS != "" || r.inspect()
}

// rules gives the rules that match the host, the most specific first.
func (t table) rules(host string) iter.Seq[*Rule] {
	return func(yield func(*Rule) bool) {
		if strings.HasPrefix(host, ".") {
			return // no label in front of the parent
		}
		for _, r := range t.exact[host] {
			if !yield(r) {
				return
			}
		}
		for _, parent, found := strings.Cut(host, "."); found; _, parent, found = strings.Cut(parent, ".") {
			for _, r := range t.below[parent] {
				if !yield(r) {
					return
				}
			}
		}
	}
}
