package egress

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	long := strings.Repeat(label63+".", 3) // 192 bytes
	for _, c := range []struct {
		name, want string
		reason     Reason
	}{
		{"example.com", "example.com", ""},
		{"EXAMPLE.Com", "example.com", ""},
		{"example.com.", "example.com", ""},
		{"localhost", "localhost", ""},
		{"a", "a", ""},
		{"my_bucket.example.com", "my_bucket.example.com", ""},
		{"_dmarc.example.com", "_dmarc.example.com", ""},
		{"r3---sn-abc.example.com", "r3---sn-abc.example.com", ""},
		{"3com.com", "3com.com", ""},
		{"1.2.3.4.example.com", "1.2.3.4.example.com", ""},
		{"127.0.0.1.example.com", "127.0.0.1.example.com", ""},
		{"0xg.example", "0xg.example", ""},
		{"example.0xg", "example.0xg", ""},
		{"deadbeef", "deadbeef", ""},
		{"xn--bcher-kva.example", "xn--bcher-kva.example", ""},
		{"XN--BCHER-KVA.example", "xn--bcher-kva.example", ""},
		{"xn--ls8h.la", "xn--ls8h.la", ""},                                   // an emoji: browsers take it
		{"xn--fiqs8s", "xn--fiqs8s", ""},                                     // a top-level domain
		{label63 + ".com", label63 + ".com", ""},                             // 63
		{long + strings.Repeat("a", 61), long + strings.Repeat("a", 61), ""}, // 253
		{long + strings.Repeat("a", 61) + ".", long + strings.Repeat("a", 61), ""},

		{"", "", BadName}, {".", "", BadName}, {"..", "", BadName}, {"a..b", "", BadName}, {".a", "", BadName}, {"a..", "", BadName},
		{label63 + "a.com", "", BadName},
		{long + strings.Repeat("a", 62), "", BadName},
		{"-a.com", "", BadName}, {"a-.com", "", BadName}, {"a.-", "", BadName},
		{"*.example.com", "", BadName}, {"*", "", BadName},
		{"user@example.com", "", BadName}, {"user:pw@example.com", "", BadName}, {"example.com:443", "", BadName},
		{"example.com/", "", BadName}, {"//example.com", "", BadName}, {"example.com?", "", BadName}, {"example.com#", "", BadName},
		{`example.com\`, "", BadName}, {"example%2ecom", "", BadName}, {"%65xample.com", "", BadName},
		{"example.com\x00", "", BadName}, {"example.com\x00.evil.test", "", BadName}, {"exa mple.com", "", BadName}, {" example.com", "", BadName},
		{"example.com\n", "", BadName}, {"example.com\r\nHost: x", "", BadName}, {"\x7f.com", "", BadName}, {"exa\tmple.com", "", BadName},
		{"bücher.example", "", BadName}, {"ｅxample.com", "", BadName}, {"example。com", "", BadName}, {"e\u212a.com", "", BadName}, {"exam\u00adple.com", "", BadName},
		{"\xff.com", "", BadName},
		{"xn--", "", BadName}, {"xn--.com", "", BadName}, {"xn--a.com", "", BadName},
		{"xn--example-.com", "", BadName}, {"xn--example.com", "", BadName}, // decodes to ASCII, or to nothing
		// They decode to U+00DC (which maps to a small letter), a soft hyphen, a full-width letter, e with a combining accent,
		// an ideographic full stop and a full-width solidus: a client that decodes reads another name.
		{"xn--bcher-2pa.com", "", BadName}, {"xn--ab-5da.com", "", BadName}, {"xn--x-6q0i.com", "", BadName}, {"xn--ex-8tb.com", "", BadName},
		{"xn--ab-r13a.com", "", BadName}, {"xn--ab-1u3n.com", "", BadName},
		{"[example.com]", "", BadName}, {"[", "", BadName}, {"[]", "", BadName}, {"[::1", "", NumericHost},

		{"127.0.0.1", "", NumericHost}, {"127.0.0.1.", "", NumericHost}, {"127.1", "", NumericHost}, {"127.0.1", "", NumericHost},
		{"2130706433", "", NumericHost}, {"0x7f.0.0.1", "", NumericHost}, {"0x7f000001", "", NumericHost}, {"0X7F000001", "", NumericHost},
		{"0177.0.0.1", "", NumericHost}, {"017700000001", "", NumericHost}, {"0", "", NumericHost}, {"00", "", NumericHost}, {"0x", "", NumericHost},
		{"0x0", "", NumericHost}, {"127.0.0.0x1", "", NumericHost}, {"1.2.3.4.5", "", NumericHost}, {"999.999.999.999", "", NumericHost},
		{"example.123", "", NumericHost}, {"example.0x1f", "", NumericHost}, {"18446744073709551616", "", NumericHost},
		{"::1", "", NumericHost}, {"[::1]", "", NumericHost}, {"::", "", NumericHost}, {"::ffff:127.0.0.1", "", NumericHost}, {"[::ffff:7f00:1]", "", NumericHost},
		{"fe80::1%eth0", "", NumericHost}, {"[fe80::1%25eth0]", "", NumericHost}, {"[127.0.0.1]", "", NumericHost},
		{"127.0.0.1:80", "", BadName}, {"[::1]:80", "", BadName}, {"127.0.0.1 ", "", BadName}, {"127..1", "", BadName},
	} {
		if got, reason := Canonical(c.name); got != c.want || reason != c.reason {
			t.Errorf("Canonical(%q) = %q, %q; want %q, %q", c.name, got, reason, c.want, c.reason)
		}
	}
}

// aton is inet_aton(3) as its manual page tells it: one to four parts, each decimal, octal or hexadecimal.
func aton(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return false
	}
	for i, part := range parts {
		base, digits := 10, strings.ToLower(part)
		if hex, ok := strings.CutPrefix(digits, "0x"); ok {
			base, digits = 16, hex
			if digits == "" {
				digits = "0"
			}
		} else if len(part) > 1 && part[0] == '0' {
			base = 8
		}
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if _, err := strconv.ParseUint(digits, base, bits); err != nil {
			return false
		}
	}
	return true
}

func TestAton(t *testing.T) { // the control of the fuzz target's reference
	for s, want := range map[string]bool{
		"127.1": true, "2130706433": true, "0x7f.0.0.1": true, "0177.1": true, "0": true, "1.2.3.4": true,
		"1.2.3.4.5": false, "a.b": false, "08": false, "": false, "4294967296": false,
	} {
		if aton(s) != want {
			t.Errorf("aton(%q) = %v", s, !want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		"example.com", "EXAMPLE.com.", "xn--bcher-kva.example", "127.1", "0x7f.1", "[::1]", "fe80::1%eth0", "a_b.c", "bücher.de", "a..b", "-a.b",
		"0x", "user@host", "r3---sn.x", "xn--a", "\x00", "ａ.com",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, reason := Canonical(name)
		if (got == "") != (reason != "") {
			t.Fatalf("%q: %q and %q", name, got, reason)
		}
		if _, err := netip.ParseAddr(name); (err == nil || aton(name)) && reason == "" {
			t.Fatalf("%q is an address and passed as %q", name, got)
		}
		if reason != "" {
			return
		}
		if !strings.EqualFold(strings.TrimSuffix(name, "."), got) {
			t.Fatalf("%q became %q: more than case and the last dot changed", name, got)
		}
		if _, err := netip.ParseAddr(got); err == nil || aton(got) {
			t.Fatalf("%q became an address: %q", name, got)
		}
		for _, same := range []string{got, got + ".", strings.ToUpper(got)} {
			if again, reason := Canonical(same); again != got || reason != "" {
				t.Fatalf("%q became %q, but %q becomes %q (%s)", name, got, same, again, reason)
			}
		}
		for i := range len(got) {
			if c := got[i]; c <= ' ' || c >= 0x7f || 'A' <= c && c <= 'Z' || strings.IndexByte(`:/?#[]@%\*'"`, c) >= 0 {
				t.Fatalf("%q kept %q", name, c)
			}
		}
	})
}
