package egress

import (
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// slowName is Canonical in the manual's words: letters, digits, hyphens and underscores between dots, 63 of them at most and no
// hyphen at either end; 253 in all; case does not count, nor does one dot behind the name; the last label is no number, as
// inet_aton(3) writes them. Of labels that begin with xn-- it takes those that it knows.
func slowName(s string) (string, bool) {
	name := strings.TrimSuffix(s, ".")
	if !slowBytes.MatchString(name) || len(name) > 253 {
		return "", false
	}
	name = strings.ToLower(name)
	labels := strings.Split(name, ".")
	for _, l := range labels {
		if !slowLabel.MatchString(l) {
			return "", false
		}
		if strings.HasPrefix(l, "xn--") && !aLabels()[l] {
			return "", false
		}
	}
	return name, !slowNumber.MatchString(labels[len(labels)-1])
}

var (
	slowBytes  = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	slowLabel  = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)
	slowNumber = regexp.MustCompile(`^([0-9]+|0x[0-9a-f]*)$`)
)

// aLabels are labels that begin with xn--, and whether they are the A-label of something: bücher, 日本, ö; then ASCII, a capital Ü,
// the sign of Kelvin and the ligature ﬁ, which are normalized away, and two that end too soon.
func aLabels() map[string]bool {
	return map[string]bool{"xn--bcher-kva": true, "xn--wgv71a": true, "xn--nda": true, "xn--abc-": false, "xn--bcher-2pa": false,
		"xn--k-4wn": false, "xn--jm6c": false, "xn--a": false, "xn--": false}
}

// slowAllows decides by the texts that the user wrote, rule by rule: a deny rule that fits shuts, else an allow rule that fits
// opens.
func slowAllows(allow, deny []string, name string, port uint16) bool {
	name, ok := slowName(name)
	if !ok {
		return false
	}
	fits := func(rule string, otherwise []uint16) bool {
		pattern, digits, found := strings.Cut(rule, ":")
		if found {
			n, _ := strconv.Atoi(digits)
			otherwise = []uint16{uint16(n)}
		}
		pattern = strings.ToLower(strings.TrimSuffix(pattern, "."))
		here := name == pattern
		if strings.HasPrefix(pattern, "*.") {
			here = strings.HasSuffix(name, pattern[1:]) && len(name) > len(pattern[1:])
		}
		for _, p := range otherwise {
			if here && p == port {
				return true
			}
		}
		return false
	}
	for _, r := range deny {
		if fits(r, []uint16{port}) { // every port
			return false
		}
	}
	for _, r := range allow {
		if fits(r, []uint16{80, 443}) {
			return true
		}
	}
	return false
}

// hostMaker makes up names that are near to those of rules, and rules.
type hostMaker struct{ *rand.Rand }

func (m hostMaker) of(list ...string) string { return list[m.IntN(len(list))] }

func (m hostMaker) label() string {
	if m.IntN(12) > 0 {
		return m.of("a", "b", "aa", "api", "a-b", "a_b", "r3---sn-x", "1", "0x1", "x1")
	}
	if m.IntN(2) == 0 {
		return m.of(slices.Sorted(maps.Keys(aLabels()))...)
	}
	return m.of("", "-a", "a-", "_", "a b", "a%2e", "ü", "\x00", "*", "@", strings.Repeat("a", 63), strings.Repeat("a", 64),
		"127", "0x7f", "\u212a")
}

func (m hostMaker) name() string {
	parts := []string{}
	for range m.IntN(4) {
		parts = append(parts, m.label())
	}
	name := strings.Join(append(parts, m.of("example.com", "a.test", "b.test", "example.com", "127.0.0.1", "2130706433",
		"0x7f.1", "1e3.test", "com")), ".")
	switch m.IntN(12) {
	case 0:
		name += "."
	case 1:
		name += m.of("..", ".x", "x", ":80", "\n", "/", "#", "%00", " ")
	case 2:
		name = m.of(".", "x", "*.", "a@", "[", "//") + name
	case 3:
		name = strings.Repeat("abcdefg.", 30)[:m.IntN(240)] + name // around 253
	case 4, 5:
		name = strings.ToUpper(name)
	}
	return name
}

// rules gives texts that ParseRule takes.
func (m hostMaker) rules(n int) (texts []string, rules []Rule) {
	for len(texts) < n {
		text := m.of("", "*.") + m.name() + m.of("", "", ":443", ":80", ":22")
		if r, err := ParseRule(text, text); err == nil && ascii(text) && !strings.Contains(r.Host, "xn--") {
			texts, rules = append(texts, text), append(rules, r)
		}
	}
	return texts, rules
}

// TestHostsAgainstTheManual holds the whole way of a host, from what the user writes and what stands on the wire to the decision,
// against the slow reference.
func TestHostsAgainstTheManual(t *testing.T) {
	m := hostMaker{rand.New(rand.NewPCG(11, 6))}
	count := map[bool]int{}
	for range 400 {
		allow, rules := m.rules(1 + m.IntN(6))
		deny, denied := m.rules(m.IntN(3))
		for i, text := range deny {
			r, err := ParseDeny(text, text)
			if err != nil {
				t.Fatal(err)
			}
			denied[i] = r
		}
		match := compile(t, Policy{Allow: rules, Deny: denied})
		for range 100 {
			name, port := m.name(), []uint16{22, 80, 443}[m.IntN(3)]
			if m.IntN(2) == 0 { // near to a rule
				base := strings.TrimPrefix(rules[m.IntN(len(rules))].Host, "*.")
				name = m.of("", "", "x.", "a.b.", "x", ".", "-") + base + m.of("", "", ".", "..", "x", ".x")
			}
			got := false
			host, reason := Canonical(name)
			if reason == "" {
				r, _ := match.Decide(host, port)
				got = r != nil
			}
			if want := slowAllows(allow, deny, name, port); got != want {
				t.Fatalf("%q port %d: allowed %v, want %v; allow %q, deny %q", name, port, got, want, allow, deny)
			}
			count[got]++
			// The same host as a target or Host, with its port written there or not.
			for text, standard := range map[string]uint16{name + ":" + strconv.Itoa(int(port)): 80, name: port} {
				again, number, why := authority(text, standard)
				if reason == "" && (again != host || number != port || why != "") {
					t.Fatalf("authority %q: %q %d %q, want %q %d", text, again, number, why, host, port)
				}
				if reason != "" && why == "" && !strings.Contains(name, ":") {
					t.Fatalf("authority %q: %q, but %q is no name (%s)", text, again, name, reason)
				}
			}
		}
	}
	if min(count[true], count[false]) < 1000 {
		t.Errorf("%d allowed, %d refused: the test tries too little", count[true], count[false])
	}
}

// FuzzHosts is the same for any name, with one rule of each kind.
func FuzzHosts(f *testing.F) {
	m := hostMaker{rand.New(rand.NewPCG(12, 6))}
	for range 40 {
		f.Add(m.name(), "example.com")
	}
	f.Add("x.EXAMPLE.com.", "*.example.com:443")
	f.Add("example.com", "*.example.com")
	f.Fuzz(func(t *testing.T, name, rule string) {
		r, err := ParseRule(rule, "fuzz")
		if err != nil || !ascii(rule) || strings.Contains(strings.ToLower(name+r.Host), "xn--") {
			return
		}
		match := compile(t, Policy{Allow: []Rule{r}})
		for _, port := range []uint16{80, 443, 22} {
			got := false
			if host, reason := Canonical(name); reason == "" {
				allowed, _ := match.Decide(host, port)
				got = allowed != nil
			}
			if want := slowAllows([]string{rule}, nil, name, port); got != want {
				t.Errorf("%q port %d under %q: allowed %v, want %v", name, port, rule, got, want)
			}
		}
	})
}

// slowGlob makes a regular expression of a glob, in the words of Rule.Paths and Rule.PushRefs.
func slowGlob(glob string, path bool) *regexp.Regexp {
	var b strings.Builder
	if !path {
		return regexp.MustCompile(`(?s)^` + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `.*`) + `$`)
	}
	for s := range strings.SplitSeq(glob[1:], "/") {
		switch s {
		case "**":
			b.WriteString(`(/[^/]*)*`) // any number of whole segments
		case "*":
			b.WriteString(`/[^/]+`)
		default:
			b.WriteString("/" + strings.ReplaceAll(regexp.QuoteMeta(s), `\*`, `[^/]*`))
		}
	}
	return regexp.MustCompile(`(?s)^` + b.String() + `$`)
}

// FuzzGlobs holds the globs of paths and refs against regular expressions.
func FuzzGlobs(f *testing.F) {
	for _, s := range [][2]string{{"/v1/models/*", "/v1/models/x"}, {"/v1/**", "/v1"}, {"/**/a/**/b", "/a/a/x/b"}, {"/a*b*c",
		"/abbc"}, {"/**", "/"},
		{"/v1/**", "/v1/"}, {"/a/**/b", "/a/b"}, {"agent/*", "refs/heads/agent/x/y"}, {"refs/*/x*y", "refs/heads/xyxy"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, glob, text string) {
		if p, ok := canonicalPath(text); ok && checkPath(glob) == nil && strings.Count(glob, "*") < 12 {
			if got, want := matchPath(glob, p), slowGlob(glob, true).MatchString(p); got != want {
				t.Errorf("%q against %q: %v, want %v", glob, p, got, want)
			}
		}
		if validRef(text) && len(glob) < 200 && !strings.Contains(glob, "\xff") && strings.ToValidUTF8(glob+text, "") == glob+text {
			full := glob
			if !strings.HasPrefix(glob, "refs/") {
				full = "refs/heads/" + glob
			}
			if got, want := matchRef(glob, text), slowGlob(full, false).MatchString(text); got != want {
				t.Errorf("ref %q against %q: %v, want %v", glob, text, got, want)
			}
		}
	})
}
