package egress

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestParseRule(t *testing.T) {
	web := []uint16{80, 443}
	for _, c := range []struct {
		text, host string
		ports      []uint16
	}{
		{"api.example.com", "api.example.com", web},
		{"API.Example.COM.", "api.example.com", web},
		{"api.example.com:8443", "api.example.com", []uint16{8443}},
		{"*.example.com", "*.example.com", web},
		{"*.a.example.com:22", "*.a.example.com", []uint16{22}},
		{"*.example.co.uk", "*.example.co.uk", web},
		{"*.me.github.io", "*.me.github.io", web},
		{"*.corp.test", "*.corp.test", web},
		{"gitserver", "gitserver", web},
		{"github.io", "github.io", web},
		{"bücher.example", "xn--bcher-kva.example", web},
		{"*.BÜCHER.example:443", "*.xn--bcher-kva.example", []uint16{443}},
		{"db.example.com:65535", "db.example.com", []uint16{65535}},
	} {
		r, err := ParseRule(c.text, "--allow")
		if err != nil || r.Host != c.host || !slices.Equal(r.Ports, c.ports) || r.Why != "--allow" {
			t.Errorf("%q: %+v, %v", c.text, r, err)
		}
	}
	for _, c := range []struct{ text, says string }{
		{"", "not a host name"}, {":443", "not a host name"},
		{"*", "every host"}, {"*:443", "every host"}, {"*.", "wildcard"},
		{"*.com", "public suffix"}, {"*.co.uk", "public suffix"}, {"*.github.io", "public suffix"}, {"*.kobe.jp", "public suffix"},
		{"*.COM.", "public suffix"}, {"*.com:443", "public suffix"}, {"*.internal", "public suffix"}, {"*.xn--fiqs8s", "public suffix"}, {"*.中国", "public suffix"},
		{"*.*.example.com", "wildcard"}, {"a*.example.com", "wildcard"}, {"a.*.com", "wildcard"}, {"*example.com", "wildcard"}, {"**.example.com", "wildcard"},
		{"127.0.0.1", "connect"}, {"127.1:80", "connect"}, {"2130706433", "connect"}, {"[::1]:443", "not a host name"}, {"::1", "connect"}, {"*.0.0.1", "connect"},
		{"127。0。0。1", "connect"}, {"１２７.0.0.1", "connect"},
		{"localhost", "jail's own"}, {"localhost:5432", "jail's own"}, {"app.localhost", "jail's own"}, {"*.localhost", "jail's own"}, {"LOCALHOST.", "jail's own"},
		{"https://example.com", "without scheme"}, {"example.com/path", "without scheme"},
		{"example.com:", "port"}, {"example.com:0", "port"}, {"example.com:65536", "port"}, {"example.com:-1", "port"}, {"example.com:http", "port"},
		{"example.com:0443", "port"}, {"example.com:+443", "port"}, {"example.com: 443", "port"},
		{"user@example.com", "not a host name"}, {" example.com", "not a host name"}, {"example.com ", "not a host name"}, {"a\x00.com", "not a host name"},
		{"@npm", "not a host name"}, {"-a.com", "not a host name"}, {"a,b.com", "not a host name"},
	} {
		r, err := ParseRule(c.text, "--allow")
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), fmt.Sprintf("%q", c.text)) {
			t.Errorf("%q: %+v, %v; want an error that says %q and the rule", c.text, r, err, c.says)
		}
		if r.Host != "" {
			t.Errorf("%q: an error and a rule for %q", c.text, r.Host)
		}
	}
}

func TestParseDeny(t *testing.T) {
	r, err := ParseDeny("Gist.Example.com", "--deny")
	if err != nil || r.Host != "gist.example.com" || r.Ports != nil {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = ParseDeny("gist.example.com:22", "--deny")
	if err != nil || !slices.Equal(r.Ports, []uint16{22}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestCompileRefuses(t *testing.T) {
	good := Rule{Host: "a.test", Ports: []uint16{443}, Why: "t.toml: net.rule[0]"}
	if _, err := (&Policy{Allow: []Rule{good}, Deny: []Rule{{Host: "b.test"}}}).Compile(); err != nil {
		t.Fatalf("control: %v", err)
	}
	for name, change := range map[string]func(*Rule){
		"no host":           func(r *Rule) { r.Host = "" },
		"upper case":        func(r *Rule) { r.Host = "A.test" },
		"trailing dot":      func(r *Rule) { r.Host = "a.test." },
		"address":           func(r *Rule) { r.Host = "127.0.0.1" },
		"everything":        func(r *Rule) { r.Host = "*" },
		"star dot":          func(r *Rule) { r.Host = "*." },
		"public suffix":     func(r *Rule) { r.Host = "*.com" },
		"inner star":        func(r *Rule) { r.Host = "a.*.test" },
		"localhost":         func(r *Rule) { r.Host = "localhost" },
		"U-label":           func(r *Rule) { r.Host = "bücher.test" },
		"no port":           func(r *Rule) { r.Ports = nil },
		"port 0":            func(r *Rule) { r.Ports = []uint16{443, 0} },
		"connect by name":   func(r *Rule) { r.Connect = "localhost:80" },
		"connect no port":   func(r *Rule) { r.Connect = "127.0.0.1" },
		"connect port 0":    func(r *Rule) { r.Connect = "127.0.0.1:0" },
		"connect nowhere":   func(r *Rule) { r.Connect = "0.0.0.0:80" },
		"connect nowhere 6": func(r *Rule) { r.Connect = "[::]:80" },
		"connect multicast": func(r *Rule) { r.Connect = "224.0.0.1:80" },
		"connect short":     func(r *Rule) { r.Connect = "127.1:80" },
		"CA is no PEM":      func(r *Rule) { r.UpstreamCA = []byte("nonsense") },
	} {
		bad := good
		bad.Ports = slices.Clone(good.Ports)
		change(&bad)
		m, err := (&Policy{Allow: []Rule{good, bad}}).Compile()
		if err == nil || m != nil || !strings.Contains(err.Error(), "t.toml: net.rule[0]") {
			t.Errorf("%s: %v, %v; want an error that says where the rule is from", name, m, err)
		}
		if name == "no port" {
			continue // every port
		}
		if _, err := (&Policy{Deny: []Rule{bad}}).Compile(); err == nil {
			t.Errorf("%s: compiles as a deny rule", name)
		}
	}
}

func TestCompileTakes(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(nil, cert, cert, public, key)
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for _, connect := range []string{"127.0.0.1:9443", "[::1]:9443", "[::ffff:127.0.0.1]:1", "169.254.169.254:80"} {
		p := Policy{Allow: []Rule{{Host: "*.a.test", Ports: []uint16{443}, Connect: connect, UpstreamCA: ca}}}
		m, err := p.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if r, _ := m.Decide("x.a.test", 443); r == nil || r.Connect != connect || string(r.UpstreamCA) != string(ca) {
			t.Errorf("%s: %+v", connect, r)
		}
	}
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{
		"example.com", "*.example.com:443", "*", "*.com", "EXAMPLE.com.:80", "bücher.example", "[::1]:80", "127.1", "a:b:c", "*.*.x.y", "localhost:1",
		"https://x.y", "x.y:00080", "＊.example.com", "*。com", "*.x.kobe.jp",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRule(text, "fuzz")
		if err != nil {
			if r.Host != "" {
				t.Fatalf("%q: an error and %+v", text, r)
			}
			return
		}
		m, err := (&Policy{Allow: []Rule{r}}).Compile()
		if err != nil {
			t.Fatalf("%q parses and does not compile: %v", text, err)
		}
		base, star := strings.CutPrefix(r.Host, "*.")
		if strings.Contains(base, "*") {
			t.Fatalf("%q became %q", text, r.Host)
		}
		if again, reason := Canonical(base); again != base || reason != "" {
			t.Fatalf("%q became %q, which is not canonical", text, r.Host)
		}
		if m.Known(base) == star {
			t.Fatalf("%q: Known(%q) is %v", text, base, star)
		}
		if star && !strings.Contains(base, ".") {
			t.Fatalf("%q became %q: a whole top-level domain", text, r.Host)
		}
		again, err := ParseRule(fmt.Sprintf("%s:%d", r.Host, r.Ports[0]), "fuzz")
		if err != nil || again.Host != r.Host || !slices.Equal(again.Ports, r.Ports[:1]) {
			t.Fatalf("%q became %+v, which reads as %+v, %v", text, r, again, err)
		}
	})
}
