package egress

import (
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	typeHTTPS = dnsmessage.Type(65)
	typeANY   = dnsmessage.TypeALL
)

// events collects what DNS tells.
type events struct {
	mu   sync.Mutex
	list []Event
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func newDNS(t testing.TB) (*DNS, *events) {
	t.Helper()
	e := &events{}
	return &DNS{
		Matcher: compile(t, Policy{
			Allow: []Rule{
				{Host: "api.example.com", Ports: []uint16{443}},
				{Host: "*.wild.example.com", Ports: []uint16{443}},
				{Host: "printer.local", Ports: []uint16{443}},
				{Host: "shut.example.com", Ports: []uint16{443}},
			},
			Deny: []Rule{{Host: "shut.example.com"}},
		}),
		Names:   NewNames(netip.MustParsePrefix("198.18.0.0/15"), netip.MustParseAddr("198.18.1.0"), 100),
		Explain: netip.MustParseAddr("198.18.0.5"),
		Event:   e.add,
	}, e
}

// query packs a question; opts add to the message.
func query(t testing.TB, name string, kind dnsmessage.Type, opts ...func(*dnsmessage.Message)) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 0xabcd, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}},
	}
	for _, opt := range opts {
		opt(&m)
	}
	raw, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func withOPT(version uint32) func(*dnsmessage.Message) {
	return func(m *dnsmessage.Message) {
		m.Additionals = append(m.Additionals, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeOPT, Class: 4096, TTL: version << 16},
			Body:   &dnsmessage.OPTResource{Options: []dnsmessage.Option{{Code: 10, Data: []byte("12345678")}}},
		})
	}
}

func unpack(t testing.TB, raw []byte) (m dnsmessage.Message) {
	t.Helper()
	if err := m.Unpack(raw); err != nil {
		t.Fatalf("the answer cannot be read: %v", err)
	}
	return m
}

// addrs gives the addresses of an answer.
func addrs(m dnsmessage.Message) (list []netip.Addr) {
	for _, r := range m.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			list = append(list, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			list = append(list, netip.AddrFrom16(body.AAAA))
		}
	}
	return list
}

func TestDNSAnswers(t *testing.T) {
	const ok, nx = dnsmessage.RCodeSuccess, dnsmessage.RCodeNameError
	const a, aaaa = dnsmessage.TypeA, dnsmessage.TypeAAAA
	for _, c := range []struct {
		name         string
		kind         dnsmessage.Type
		explained    dnsmessage.RCode
		explainAddr  string
		nxdomain     dnsmessage.RCode
		nxdomainAddr string
	}{
		{"api.example.com.", a, ok, "198.18.1.0", ok, "198.18.1.0"},
		{"API.Example.COM.", a, ok, "198.18.1.0", ok, "198.18.1.0"},
		{"api.example.com.", aaaa, ok, "", ok, ""},
		{"api.example.com.", typeHTTPS, ok, "", ok, ""},
		{"api.example.com.", dnsmessage.Type(64), ok, "", ok, ""}, // SVCB
		{"api.example.com.", typeANY, ok, "", ok, ""},
		{"api.example.com.", dnsmessage.TypeTXT, ok, "", ok, ""},
		{"api.example.com.", dnsmessage.TypeMX, ok, "", ok, ""},
		{"api.example.com.", dnsmessage.TypeCNAME, ok, "", ok, ""},
		{"api.example.com.", dnsmessage.Type(65535), ok, "", ok, ""},
		{"x.y.wild.example.com.", a, ok, "198.18.1.1", ok, "198.18.1.1"},
		{"printer.local.", a, ok, "198.18.1.2", ok, "198.18.1.2"},

		{"denied.test.", a, ok, "198.18.0.5", nx, ""},
		{"denied.test.", aaaa, ok, "", nx, ""},
		{"denied.test.", typeHTTPS, ok, "", nx, ""},
		{"denied.test.", dnsmessage.TypeTXT, ok, "", nx, ""},
		{"shut.example.com.", a, ok, "198.18.0.5", nx, ""},
		{"wild.example.com.", a, ok, "198.18.0.5", nx, ""}, // the wildcard is for names below it
		{"example.com.", a, ok, "198.18.0.5", nx, ""},
		{"host.internal.", a, ok, "198.18.0.5", nx, ""},

		{"single.", a, nx, "", nx, ""},
		{"other.local.", a, nx, "", nx, ""},
		{"x.invalid.", a, nx, "", nx, ""},
		{"x.onion.", a, nx, "", nx, ""},
		{"1.0.18.198.in-addr.arpa.", dnsmessage.TypePTR, nx, "", nx, ""},
		{".", dnsmessage.TypeNS, nx, "", nx, ""},
		{"127.0.0.1.", a, nx, "", nx, ""},
		{"2130706433.", a, nx, "", nx, ""},
		{"0x7f.1.", a, nx, "", nx, ""},
		{"sp ace.test.", a, nx, "", nx, ""},
		{"nul\x00.test.", a, nx, "", nx, ""},
		{"b\xc3\xbccher.test.", a, nx, "", nx, ""},
		{"-x.test.", a, nx, "", nx, ""},

		{"localhost.", a, ok, "127.0.0.1", ok, "127.0.0.1"},
		{"localhost.", aaaa, ok, "::1", ok, "::1"},
		{"app.localhost.", a, ok, "127.0.0.1", ok, "127.0.0.1"},
		{"localhost.", dnsmessage.TypeMX, ok, "", ok, ""},
	} {
		for _, explain := range []bool{true, false} {
			d, _ := newDNS(t)
			d.Names.Addr("api.example.com")
			d.Names.Addr("x.y.wild.example.com")
			code, addr := c.explained, c.explainAddr
			if !explain {
				d.Explain = netip.Addr{}
				code, addr = c.nxdomain, c.nxdomainAddr
			}
			for _, udp := range []bool{true, false} {
				m := unpack(t, d.Answer(query(t, c.name, c.kind), udp))
				if m.RCode != code || m.ID != 0xabcd || !m.Response || !m.RecursionDesired || !m.RecursionAvailable || m.Truncated {
					t.Errorf("%s %v explain=%v: %v, want %v", c.name, c.kind, explain, m.Header.GoString(), code)
				}
				if len(m.Questions) != 1 || m.Questions[0].Name.String() != c.name || m.Questions[0].Type != c.kind {
					t.Errorf("%s %v: the answer is to %v", c.name, c.kind, m.Questions)
				}
				got := addrs(m)
				if len(got) != len(m.Answers) || len(m.Authorities)+len(m.Additionals) > 0 {
					t.Errorf("%s %v: more than addresses: %v", c.name, c.kind, m.GoString())
				}
				if (addr == "") != (len(got) == 0) || addr != "" && (len(got) != 1 || got[0] != netip.MustParseAddr(addr)) {
					t.Errorf("%s %v explain=%v: %v, want %q", c.name, c.kind, explain, got, addr)
				}
				if len(got) == 1 && m.Answers[0].Header.Name.String() != c.name {
					t.Errorf("%s: the record is for %v", c.name, m.Answers[0].Header.Name)
				}
				if len(got) == 1 && m.Answers[0].Header.TTL > 60 {
					t.Errorf("%s: may be kept for %d seconds", c.name, m.Answers[0].Header.TTL)
				}
			}
		}
	}
}

func TestDNSOnlyAAssigns(t *testing.T) {
	d, _ := newDNS(t)
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeAAAA, typeHTTPS, dnsmessage.TypeTXT} {
		d.Answer(query(t, "api.example.com.", kind), true)
	}
	d.Answer(query(t, "denied.test.", dnsmessage.TypeA), true)
	if n := len(d.Names.addrs); n != 0 {
		t.Errorf("%d names have an address", n)
	}
	d.Answer(query(t, "api.example.com.", dnsmessage.TypeA), true)
	if n := len(d.Names.addrs); n != 1 {
		t.Errorf("control: %d names have an address", n)
	}
}

func TestDNSNamesUsedUp(t *testing.T) {
	d, told := newDNS(t)
	d.Names = NewNames(netip.MustParsePrefix("198.18.0.0/15"), netip.MustParseAddr("198.18.1.0"), 1)
	if m := unpack(t, d.Answer(query(t, "a.wild.example.com.", dnsmessage.TypeA), true)); len(m.Answers) != 1 {
		t.Fatalf("control: %v", m.GoString())
	}
	m := unpack(t, d.Answer(query(t, "b.wild.example.com.", dnsmessage.TypeA), true))
	if m.RCode != dnsmessage.RCodeNameError || len(m.Answers) != 0 {
		t.Errorf("%v", m.GoString())
	}
	if len(told.list) != 1 || told.list[0].Reason != Busy || told.list[0].Host != "b.wild.example.com" {
		t.Errorf("%+v", told.list)
	}
}
