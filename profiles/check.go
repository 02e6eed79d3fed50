package profiles

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Check says whether every wish has a form that can be granted. Parse has done it for what comes from a file; a profile made of
// flags needs it. The error is a *WishError.
func (p *Profile) Check() error {
	var first error
	note := func(why string, err error) {
		if err != nil && first == nil {
			first = &WishError{Why: why, Err: err}
		}
	}
	each := func(items []Item, check func(string) error) {
		for _, i := range items {
			note(i.Why, check(i.Value))
		}
	}
	one := func(i Item, words ...string) {
		if i.Value != "" && !slices.Contains(words, i.Value) {
			note(i.Why, fmt.Errorf("%q: must be %s", i.Value, strings.Join(words, " or ")))
		}
	}
	for _, items := range [][]Item{p.FS.Read, p.FS.Write, p.FS.Copy} {
		each(items, checkPath)
	}
	each(p.FS.Hide, checkPattern)
	each(p.FS.Protect, checkInside)
	each(p.FS.Unprotect, checkInside)
	one(p.FS.Home, "ephemeral", "persistent")
	one(p.Net.Mode, "door", "none")
	one(p.Net.Denied, "explain", "nxdomain")
	one(p.Net.ProxyEnv, "true", "false")
	each(p.Net.Allow, checkAllow)
	each(p.Net.Deny, checkDeny)
	for _, r := range p.Net.Rules {
		field, err := r.check()
		note(r.Why+field, err)
	}
	for _, s := range p.Secrets {
		field, err := s.check()
		note(s.Why+field, err)
	}
	each(p.Use, checkSecretName)
	for _, name := range LimitNames() {
		if i := p.Limits.Get(name); i.Value != "" {
			_, err := limitValue(name, i.Value)
			note(i.Why, err)
		}
	}
	each(p.Syscalls, checkGroup)
	each(p.Env.Pass, checkPass)
	for _, s := range p.Env.Set {
		note(s.Why, checkSet(s))
	}
	return first
}

// check also names the field at fault, as its key is written after the rule's own.
func (r Rule) check() (field string, err error) {
	if r.Host == "" {
		return "", errors.New("a rule needs a host")
	}
	if err := checkHost(r.Host); err != nil {
		return ".host", err
	}
	for i, port := range r.Ports {
		if port < 1 || port > 65535 {
			return fmt.Sprintf(".ports[%d]", i), fmt.Errorf("%d is not a port", port)
		}
	}
	if r.Connect != "" {
		addr, err := netip.ParseAddrPort(r.Connect)
		if err != nil || addr.Port() == 0 {
			return ".connect", fmt.Errorf("%q is not an address and port: write it like 127.0.0.1:9443", r.Connect)
		}
	}
	if r.UpstreamCA != "" {
		if err := checkPath(r.UpstreamCA); err != nil {
			return ".upstream_ca", err
		}
	}
	return r.checkRequests()
}

// Bundles are the names that may stand in net.allow with an @ before them.
func Bundles() []string { return []string{"npm", "go", "pip", "cargo", "apt", "github"} }

func checkAllow(s string) error {
	name, ok := strings.CutPrefix(s, "@")
	if !ok {
		return checkAddress(s)
	}
	if !slices.Contains(Bundles(), name) {
		return fmt.Errorf("no such bundle %q: the bundles are @%s", s, strings.Join(Bundles(), ", @"))
	}
	return nil
}

func checkDeny(s string) error {
	if strings.HasPrefix(s, "@") {
		return fmt.Errorf("%q: a bundle cannot be denied, leave it out of allow", s)
	}
	return checkAddress(s)
}

// checkAddress takes HOST or HOST:PORT.
func checkAddress(s string) error {
	if host, port, ok := strings.Cut(s, ":"); ok && !strings.Contains(s, "//") && !strings.Contains(port, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q is not a port", port)
		}
		s = host
	}
	return checkHost(s)
}

// checkHost takes one host pattern. It tells the usual mistakes apart; the canonical form, public suffixes included, is
// egress's, which judges once more.
func checkHost(s string) error {
	switch {
	case s == "":
		return errors.New("an empty host")
	case strings.Contains(s, "//"):
		return fmt.Errorf("%q is a URL: write its host alone", s)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(` /\@?#%"'<>|^{}$&;,()`, r) }):
		return fmt.Errorf("%q is not a host name", s)
	}
	name, wild := strings.CutPrefix(s, "*.")
	name = strings.TrimSuffix(name, ".")
	labels := strings.Split(name, ".")
	switch last := labels[len(labels)-1]; {
	case strings.Contains(name, "*"):
		return fmt.Errorf("%q: a star stands for whole subdomains, at the start: *.example.com", s)
	case wild && len(labels) < 2:
		return fmt.Errorf("%q would match every name of a top-level domain", s)
	case strings.ContainsAny(name, ":[]") || numeric(last):
		return fmt.Errorf("%q is an address: the door goes by names; give it one in a [[net.rule]] with connect", s)
	}
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.HasPrefix(l, "-") || strings.HasSuffix(l, "-") {
			return fmt.Errorf("%q is not a host name", s)
		}
	}
	return nil
}

// numeric says that a last label makes inet_aton(3) and WHATWG's host parser take the whole name for an IPv4 address.
func numeric(label string) bool {
	hex, ok := strings.CutPrefix(strings.ToLower(label), "0x")
	return label != "" && strings.Trim(label, "0123456789") == "" || ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// checkPath takes a path on the host: absolute, under ~, or relative to the project.
func checkPath(s string) error {
	switch {
	case s == "":
		return errors.New("an empty path")
	case strings.ContainsFunc(s, unicode.IsControl):
		return fmt.Errorf("%q: a path with a control character", s)
	case strings.HasPrefix(s, "~") && s != "~" && !strings.HasPrefix(s, "~/"):
		return fmt.Errorf("%q: only one's own home can be written with ~", s)
	}
	return nil
}

// checkInside takes a path in the project.
func checkInside(s string) error {
	if err := checkPath(s); err != nil {
		return err
	}
	if path.IsAbs(s) || strings.HasPrefix(s, "~") || path.Clean(s) == "." || strings.HasPrefix(path.Clean(s)+"/", "../") {
		return fmt.Errorf("%q: must be a path inside the project, relative to it", s)
	}
	return nil
}

func checkPattern(s string) error {
	if _, err := path.Match(s, "x"); err != nil {
		return fmt.Errorf("%q is not a pattern: see path.Match", s)
	}
	return checkInside(s)
}

func checkGroup(s string) error {
	if !word(s, lower, lower+digit+"_-") {
		return fmt.Errorf("%q is not the name of a system call group", s)
	}
	return nil
}

// checkPass takes the name of a variable; * and ? are wildcards, but a name that begins with one would pass secrets along.
func checkPass(s string) error {
	if !word(s, letter+"_", letter+digit+"_*?") {
		return fmt.Errorf("%q is not the name of a variable; a wildcard may follow at least one letter: LC_*", s)
	}
	return nil
}

func checkSet(s EnvSet) error {
	if !word(s.Name, letter+"_", letter+digit+"_") {
		return fmt.Errorf("%q is not the name of a variable", s.Name)
	}
	if strings.Contains(s.Value, "\x00") {
		return errors.New("a value with a NUL byte")
	}
	return nil
}

// Classes of characters of names.
const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	letter = lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digit  = "0123456789"
)

// word says whether s is one character of first and then any number of rest's. A regular expression would say it shorter, but compiling
// the few of them took a tenth of the planning of a run.
func word(s, first, rest string) bool {
	return s != "" && strings.IndexByte(first, s[0]) >= 0 && strings.Trim(s[1:], rest) == ""
}
