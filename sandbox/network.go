package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/agentjail/agentjail/netns/egress"
	"github.com/agentjail/agentjail/profiles"
)

// The door's own address in a jail; see package netns. Its proxy is for programs that want one told.
const (
	doorAddress = "198.18.0.1"
	doorProxy   = "http://198.18.0.1:3128"
)

// maxUpstreamCA bounds a rule's PEM file.
const maxUpstreamCA = 1 << 20

// network turns the profile's words into the door's policy. Nothing allowed means that nothing is allowed.
func (w *planner) network() error {
	n := w.profile.Net
	mode := Setting(n.Mode)
	if mode.Value == "" {
		mode = Setting{"door", "default"}
	}
	if mode.Value != "door" && mode.Value != "none" {
		return planError("write door or none", "%s: net mode %q", mode.Why, mode.Value)
	}
	w.plan.Net.Mode = mode
	policy := egress.Policy{Profile: w.profile.Name, Allow: make([]egress.Rule, 0, len(n.Allow)+len(n.Rules)), Explain: n.Denied.Value != "nxdomain"}
	if d := n.Denied; d.Value != "" && d.Value != "explain" && d.Value != "nxdomain" {
		return planError("write explain or nxdomain", "%s: net.denied %q", d.Why, d.Value)
	}
	for _, it := range n.Allow {
		if strings.HasPrefix(it.Value, "@") {
			return planError("agentjail profiles list", "%s: %s has not been expanded", it.Why, it.Value)
		}
		r, err := egress.ParseRule(it.Value, it.Why)
		if err != nil {
			return planError("--allow HOST[:PORT]", "%s: %w", it.Why, err)
		}
		policy.Allow = append(policy.Allow, r)
	}
	for i := range n.Rules {
		r, err := w.rule(i)
		if err != nil {
			return planError("", "%s: %w", n.Rules[i].Why, err)
		}
		policy.Allow = append(policy.Allow, r)
	}
	for _, it := range n.Deny {
		r, err := egress.ParseDeny(it.Value, it.Why)
		if err != nil {
			return planError("--deny HOST[:PORT]", "%s: %w", it.Why, err)
		}
		policy.Deny = append(policy.Deny, r)
		if !slices.ContainsFunc(policy.Allow, func(a egress.Rule) bool { return overlap(a.Host, r.Host) }) {
			w.warn(it, "nothing allows this host, so there is nothing to refuse")
		}
	}
	w.plan.Net.Policy = policy
	return nil
}

// overlap says whether two patterns may mean one host.
func overlap(a, b string) bool {
	x, wild := strings.CutPrefix(a, "*.")
	y, wider := strings.CutPrefix(b, "*.")
	return x == y || wild && strings.HasSuffix(y, "."+x) || wider && strings.HasSuffix(x, "."+y)
}

// rule resolves one [[net.rule]].
func (w *planner) rule(i int) (egress.Rule, error) {
	wish := w.profile.Net.Rules[i]
	if strings.Contains(wish.Host, ":") {
		return egress.Rule{}, fmt.Errorf("host %q: the port goes into ports", wish.Host)
	}
	r, err := egress.ParseRule(wish.Host, wish.Why)
	if err != nil {
		return r, err
	}
	if len(wish.Ports) > 0 {
		r.Ports = nil
	}
	for _, port := range wish.Ports {
		if port < 1 || port > 65535 {
			return r, fmt.Errorf("port %d: not between 1 and 65535", port)
		}
		r.Ports = append(r.Ports, uint16(port))
	}
	r.Private = wish.Private
	if err := requests(&r, wish); err != nil {
		return r, err
	}
	if wish.Connect != "" {
		addr, err := netip.ParseAddrPort(wish.Connect)
		if err != nil || addr.Port() == 0 {
			return r, fmt.Errorf("connect %q: not IP:PORT", wish.Connect)
		}
		r.Connect = addr.String()
	}
	if wish.UpstreamCA == "" {
		return r, nil
	}
	p, err := follow(w.files, w.host.absolute(wish.UpstreamCA, w.plan.Project))
	if err == nil && !p.info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil {
		r.UpstreamCA, err = w.files.ReadFile(p.path, maxUpstreamCA)
	}
	if err == nil && !strings.Contains(string(r.UpstreamCA), "-----BEGIN CERTIFICATE-----") {
		err = errors.New("no PEM certificate in it")
	}
	if err != nil {
		return r, fmt.Errorf("upstream_ca %s: %w", path.Clean(wish.UpstreamCA), err)
	}
	return r, nil
}

// requests takes over what a rule says about requests.
func requests(r *egress.Rule, wish profiles.Rule) (err error) {
	r.TLS, r.Methods, r.Paths = wish.TLS, wish.Methods, wish.Paths
	r.Git, r.PushRefs = wish.Git, wish.PushRefs
	r.API, r.ServerTools = wish.API, wish.ServerTools
	for _, size := range []struct {
		key, text string
		to        *int64
	}{{"max_request", wish.MaxRequest, &r.MaxRequest}, {"max_upload", wish.MaxUpload, &r.MaxUpload}} {
		if size.text == "" {
			continue
		}
		if *size.to, err = profiles.ParseBytes(size.text); err != nil {
			return fmt.Errorf("%s: %w", size.key, err)
		}
	}
	return nil
}

// proxyEnv sets the proxy variables where the profile asks for them: every client works without, but some print less.
func (w *planner) proxyEnv(e *environment) {
	it := w.profile.Net.ProxyEnv
	if it.Value != "true" || w.plan.Net.Mode.Value == "none" {
		return
	}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		e.set(name, doorProxy, it.Why)
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		e.set(name, "localhost,127.0.0.1,::1", it.Why)
	}
}
