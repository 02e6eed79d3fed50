package egress

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func compile(t testing.TB, p Policy) *Matcher {
	t.Helper()
	m, err := p.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDecide(t *testing.T) {
	m := compile(t, Policy{
		Allow: []Rule{
			{Host: "api.example.com", Ports: []uint16{443}, Why: "exact"},
			{Host: "*.example.com", Ports: []uint16{443, 8443}, Why: "wide"},
			{Host: "*.deep.example.com", Ports: []uint16{443}, Why: "deep"},
			{Host: "mirror.test", Ports: []uint16{443}, Connect: "127.0.0.1:9443", Why: "how"},
			{Host: "mirror.test", Ports: []uint16{80, 443}, Why: "plain"},
			{Host: "twice.test", Ports: []uint16{443}, Connect: "127.0.0.1:1", Why: "profile"},
			{Host: "twice.test", Ports: []uint16{443}, Connect: "127.0.0.1:2", Why: "flag"},
			{Host: "half.test", Ports: []uint16{22, 443}, Why: "half"},
			{Host: "shut.test", Ports: []uint16{443}, Why: "shut"},
			{Host: "*.shut.example.com", Ports: []uint16{443}, Why: "shut too"},
		},
		Deny: []Rule{
			{Host: "half.test", Ports: []uint16{443}, Why: "not 443"},
			{Host: "shut.test", Why: "never"},
			{Host: "*.shut.example.com", Why: "never below"},
		},
	})
	for _, c := range []struct {
		host   string
		port   uint16
		why    string
		reason Reason
	}{
		{"api.example.com", 443, "exact", ""},
		{"api.example.com", 8443, "wide", ""}, // the exact rule does not name the port
		{"api.example.com", 80, "", Port},
		{"x.example.com", 443, "wide", ""},
		{"x.y.z.example.com", 443, "wide", ""},
		{"x.deep.example.com", 443, "deep", ""},
		{"x.deep.example.com", 8443, "wide", ""},
		{"deep.example.com", 443, "wide", ""},
		{"example.com", 443, "", NotAllowed}, // *.example.com is not example.com
		{"notexample.com", 443, "", NotAllowed},
		{"xexample.com", 443, "", NotAllowed},
		{"api.example.com.evil.test", 443, "", NotAllowed},
		{"com", 443, "", NotAllowed},
		{"", 443, "", NotAllowed},
		{".example.com", 443, "", NotAllowed}, // not canonical: Canonical never gives it
		{"API.EXAMPLE.COM", 443, "", NotAllowed},
		{"mirror.test", 443, "how", ""},
		{"mirror.test", 80, "plain", ""},
		{"twice.test", 443, "flag", ""},
		{"half.test", 22, "half", ""},
		{"half.test", 443, "", Port},
		{"shut.test", 443, "", NotAllowed},
		{"x.shut.example.com", 443, "", NotAllowed},
		{"shut.example.com", 443, "wide", ""},
	} {
		r, reason := m.Decide(c.host, c.port)
		why := ""
		if r != nil {
			why = r.Why
		}
		if why != c.why || reason != c.reason {
			t.Errorf("%s:%d: rule %q, reason %q; want %q, %q", c.host, c.port, why, reason, c.why, c.reason)
		}
		if want := c.reason != NotAllowed; m.Known(c.host) != want {
			t.Errorf("Known(%s) = %v", c.host, !want)
		}
	}
	if r := m.Denied("shut.test", 80); r == nil || r.Why != "never" {
		t.Errorf("Denied: %+v", r)
	}
	if r := m.Denied("half.test", 22); r != nil {
		t.Errorf("Denied: %+v", r)
	}
	if want := []uint16{22, 80, 443, 8443}; !slices.Equal(m.Ports(), want) {
		t.Errorf("ports %v, want %v", m.Ports(), want)
	}
}

func TestEmptyPolicyAllowsNothing(t *testing.T) {
	m := compile(t, Policy{})
	if r, reason := m.Decide("example.com", 443); r != nil || reason != NotAllowed || m.Known("example.com") {
		t.Errorf("%+v, %q", r, reason)
	}
	if want := []uint16{80, 443}; !slices.Equal(m.Ports(), want) {
		t.Errorf("ports %v, want %v", m.Ports(), want)
	}
}

// A Matcher keeps nothing of the Policy: a plan that is printed, changed or sent on does not change a running door.
func TestMatcherIsItsOwn(t *testing.T) {
	p := Policy{Allow: []Rule{{Host: "a.test", Ports: []uint16{443}}}}
	m := compile(t, p)
	p.Allow[0].Host, p.Allow[0].Ports[0], m.Ports()[0] = "b.test", 22, 1
	if r, reason := m.Decide("a.test", 443); reason != "" || r.Host != "a.test" {
		t.Errorf("%+v, %q", r, reason)
	}
	if m.Ports()[0] != 80 {
		t.Error("Ports gave the matcher's own slice")
	}
}

// slowMatch says whether a pattern matches, as CONTRACT tells it.
func slowMatch(pattern, host string) bool {
	if base, star := strings.CutPrefix(pattern, "*."); star {
		return strings.HasSuffix(host, "."+base)
	}
	return pattern == host
}

// slowDecide reads every rule: deny first, then the best of all that allow.
func slowDecide(p Policy, host string, port uint16) (best *Rule, reason Reason) {
	denied := func(port uint16) bool {
		return slices.ContainsFunc(p.Deny, func(r Rule) bool {
			return slowMatch(r.Host, host) && (r.Ports == nil || slices.Contains(r.Ports, port))
		})
	}
	known := false
	for i, r := range p.Allow {
		if !slowMatch(r.Host, host) {
			continue
		}
		known = known || slices.ContainsFunc(r.Ports, func(p uint16) bool { return !denied(p) })
		if denied(port) || !slices.Contains(r.Ports, port) {
			continue
		}
		rank := func(r *Rule) []int { // greater is better
			exact, how := 1, 0
			if strings.HasPrefix(r.Host, "*.") {
				exact = 0
			}
			if r.Connect != "" || r.Private {
				how = 1
			}
			return []int{exact, len(r.Host), how}
		}
		if best == nil || slices.Compare(rank(&p.Allow[i]), rank(best)) >= 0 { // equal: the later
			best = &p.Allow[i]
		}
	}
	switch {
	case best != nil:
		return best, ""
	case known:
		return nil, Port
	}
	return nil, NotAllowed
}

func TestDecideAgainstReference(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	labels := []string{"a", "b", "aa"}
	host := func(min, max int) string {
		parts := make([]string, min+rnd.IntN(max-min+1))
		for i := range parts {
			parts[i] = labels[rnd.IntN(len(labels))]
		}
		return strings.Join(parts, ".") + ".test"
	}
	ports := []uint16{22, 80, 443}
	rules := func(n int, deny bool) (list []Rule) {
		for i := range n {
			r := Rule{Host: host(1, 3), Why: fmt.Sprint(i), Private: rnd.IntN(3) == 0}
			if rnd.IntN(2) == 0 {
				r.Host = "*." + r.Host
			}
			for _, p := range ports {
				if rnd.IntN(2) == 0 {
					r.Ports = append(r.Ports, p)
				}
			}
			if r.Ports == nil && !deny {
				r.Ports = []uint16{443}
			}
			list = append(list, r)
		}
		return list
	}
	seen := map[Reason]int{}
	for range 300 {
		p := Policy{Allow: rules(rnd.IntN(8), false), Deny: rules(rnd.IntN(3), true)}
		m := compile(t, p)
		for range 50 {
			host, port := host(1, 4), ports[rnd.IntN(len(ports))]
			want, wantReason := slowDecide(p, host, port)
			got, reason := m.Decide(host, port)
			if reason != wantReason || (got == nil) != (want == nil) || got != nil && got.Why != want.Why {
				t.Fatalf("%s:%d with %+v\n got %+v, %q\nwant %+v, %q", host, port, p, got, reason, want, wantReason)
			}
			if m.Known(host) != (wantReason != NotAllowed) {
				t.Fatalf("Known(%s) = %v with %+v", host, m.Known(host), p)
			}
			seen[reason]++
		}
	}
	for _, reason := range []Reason{"", Port, NotAllowed} {
		if seen[reason] < 100 {
			t.Errorf("reason %q came up %d times: the test tries too little", reason, seen[reason])
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, n := range []int{1, 500} {
		var p Policy
		for i := range n {
			p.Allow = append(p.Allow, Rule{Host: fmt.Sprintf("h%d.example.com", i), Ports: []uint16{443}}, Rule{Host: fmt.Sprintf("*.w%d.example.com", i), Ports: []uint16{443}})
			p.Deny = append(p.Deny, Rule{Host: fmt.Sprintf("d%d.example.com", i)})
		}
		m := compile(b, p)
		for _, host := range []string{"h0.example.com", "x.y.w0.example.com", "not.allowed.test"} {
			b.Run(fmt.Sprintf("rules=%d/%s", n, host), func(b *testing.B) {
				for b.Loop() {
					m.Decide(host, 443)
				}
			})
		}
	}
}
