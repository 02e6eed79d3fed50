package egress

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestDNSEvents(t *testing.T) {
	d, told := newDNS(t)
	for range 3 {
		for _, name := range []string{"Denied.test.", "denied.test.", "127.1.", "api.example.com.", "localhost.", "1.0.18.198.in-addr.arpa.", "n\nl.test."} {
			for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, typeHTTPS} {
				d.Answer(query(t, name, kind), true)
			}
		}
	}
	var got []string
	for _, e := range told.list {
		if e.Kind != "dns.deny" || e.Time.IsZero() {
			t.Errorf("%+v", e)
		}
		got = append(got, fmt.Sprintf("%q %s", e.Host, e.Reason))
	}
	want := []string{`"denied.test" not_allowed`, `"127.1." numeric_host`, `"n\nl.test." bad_name`}
	if !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

func TestDNSEventsAreBounded(t *testing.T) {
	d, told := newDNS(t)
	for i := range 2 * maxDenied {
		d.Answer(query(t, fmt.Sprintf("h%d.test.", i), dnsmessage.TypeA), true)
	}
	if len(told.list) != maxDenied+1 || len(d.denied) != maxDenied {
		t.Fatalf("%d events, %d names kept", len(told.list), len(d.denied))
	}
	for i, e := range told.list {
		if last := i == maxDenied; (e.Detail != "") != last {
			t.Errorf("event %d: %+v", i, e)
		}
	}
}

func TestDNSEDNS(t *testing.T) {
	d, _ := newDNS(t)
	m := unpack(t, d.Answer(query(t, "api.example.com.", dnsmessage.TypeA, withOPT(0)), true))
	if m.RCode != 0 || len(addrs(m)) != 1 || len(m.Additionals) != 1 || m.Additionals[0].Header.Type != dnsmessage.TypeOPT {
		t.Errorf("%v", m.GoString())
	}
	m = unpack(t, d.Answer(query(t, "api.example.com.", dnsmessage.TypeA, withOPT(1)), true))
	if len(m.Answers) != 0 || len(m.Additionals) != 1 || m.Additionals[0].Header.ExtendedRCode(m.RCode) != badVersion || m.CheckingDisabled {
		t.Errorf("version 1: %v", m.GoString())
	}
	m = unpack(t, d.Answer(query(t, "api.example.com.", dnsmessage.TypeA, withOPT(0), withOPT(0)), true))
	if m.RCode != dnsmessage.RCodeFormatError {
		t.Errorf("two OPT: %v", m.GoString())
	}
	m = unpack(t, d.Answer(query(t, "api.example.com.", dnsmessage.TypeA, withOPT(0), func(m *dnsmessage.Message) {
		m.Additionals[0].Header.Name = dnsmessage.MustNewName("x.")
	}), true))
	if m.RCode != dnsmessage.RCodeFormatError {
		t.Errorf("OPT not at the root: %v", m.GoString())
	}
}

func TestDNSRefusals(t *testing.T) {
	d, told := newDNS(t)
	q := func(opts ...func(*dnsmessage.Message)) []byte {
		return query(t, "api.example.com.", dnsmessage.TypeA, opts...)
	}
	good := q()
	axfr := query(t, "api.example.com.", dnsmessage.TypeAXFR)
	dotted := slices.Concat(good[:12], []byte("\x07api.exa\x05mples\x03com\x00\x00\x01\x00\x01"))
	for _, c := range []struct {
		name  string
		query []byte
		udp   bool
		code  int // -1: no answer
	}{
		{"control", good, true, 0},
		{"nothing", nil, true, -1},
		{"a cut header", good[:11], true, -1},
		{"an answer", q(func(m *dnsmessage.Message) { m.Response = true }), true, -1},
		{"an update", q(func(m *dnsmessage.Message) { m.OpCode = 5 }), true, int(dnsmessage.RCodeNotImplemented)},
		{"no question", good[:12], true, int(dnsmessage.RCodeFormatError)},
		{"a question counted as none", append([]byte{0, 1, 1, 0, 0, 0}, good[6:]...), true, int(dnsmessage.RCodeFormatError)},
		{"two questions", q(func(m *dnsmessage.Message) { m.Questions = append(m.Questions, m.Questions[0]) }), true, int(dnsmessage.RCodeFormatError)},
		{"a cut question", good[:len(good)-1], true, int(dnsmessage.RCodeFormatError)},
		{"a pointer to itself", slices.Concat(good[:12], []byte{0xc0, 12, 0, 1, 0, 1}), true, int(dnsmessage.RCodeFormatError)},
		{"a pointer past the end", slices.Concat(good[:12], []byte{0xff, 0xff, 0, 1, 0, 1}), true, int(dnsmessage.RCodeFormatError)},
		{"a reserved label type", slices.Concat(good[:12], []byte{0x40, 1, 0, 0, 1, 0, 1}), true, int(dnsmessage.RCodeFormatError)},
		{"a dot inside a label", dotted, true, int(dnsmessage.RCodeFormatError)},
		{"a name of 300 bytes", slices.Concat(good[:12], bytes.Repeat([]byte("\x09abcdefghi"), 30), []byte{0, 0, 1, 0, 1}), true, int(dnsmessage.RCodeFormatError)},
		{"records that are not there", slices.Concat(good[:11], []byte{9}, good[12:]), true, int(dnsmessage.RCodeFormatError)},
		{"class CH", q(func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }), true, int(dnsmessage.RCodeRefused)},
		{"AXFR over UDP", axfr, true, int(dnsmessage.RCodeFormatError)},
		{"AXFR over TCP", axfr, false, int(dnsmessage.RCodeRefused)},
	} {
		raw := d.Answer(c.query, c.udp)
		if (raw == nil) != (c.code < 0) {
			t.Errorf("%s: answer %x", c.name, raw)
			continue
		}
		if raw == nil {
			continue
		}
		if m := unpack(t, raw); int(m.RCode) != c.code || !m.Response || len(m.Answers) > 0 && c.code != 0 {
			t.Errorf("%s: %v, want code %d", c.name, m.GoString(), c.code)
		}
	}
	if len(told.list) != 0 {
		t.Errorf("told %+v", told.list)
	}
}

// The longest question with an answer and OPT stays below what every UDP client takes.
func TestDNSLongestAnswer(t *testing.T) {
	d, _ := newDNS(t)
	label := strings.Repeat("a", 60)
	name := strings.Repeat(label+".", 3) + strings.Repeat("a", 51) + ".wild.example.com."
	if len(name) != 252 {
		t.Fatalf("%d bytes", len(name))
	}
	raw := d.Answer(query(t, name, dnsmessage.TypeA, withOPT(0)), true)
	if m := unpack(t, raw); len(addrs(m)) != 1 || len(raw) > 512 {
		t.Errorf("%d bytes: %v", len(raw), m.GoString())
	}
}

func FuzzDNSAnswer(f *testing.F) {
	for _, name := range []string{"api.example.com.", "a.wild.example.com.", "denied.test.", "localhost.", "127.1.", "."} {
		for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA, typeHTTPS, typeANY, dnsmessage.TypeAXFR} {
			f.Add(query(f, name, kind), true)
		}
	}
	f.Add(query(f, "api.example.com.", dnsmessage.TypeA, withOPT(0)), false)
	f.Add(query(f, "api.example.com.", dnsmessage.TypeA, withOPT(7), withOPT(0)), true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, raw []byte, udp bool) {
		d, _ := newDNS(t)
		reply := d.Answer(raw, udp)
		if reply == nil {
			return
		}
		if len(reply) > 512 {
			t.Fatalf("%d bytes", len(reply))
		}
		m := unpack(t, reply)
		if m.ID != binary.BigEndian.Uint16(raw) || !m.Response || len(m.Questions) > 1 || len(m.Answers) > 1 || len(m.Authorities) > 0 {
			t.Fatalf("%v", m.GoString())
		}
		list := addrs(m)
		if len(list) != len(m.Answers) || m.RCode != 0 && len(list) > 0 {
			t.Fatalf("%v", m.GoString())
		}
		for _, a := range list {
			host, reason := Canonical(m.Questions[0].Name.String())
			assigned, known := d.Names.Host(a)
			switch {
			case reason != "":
				t.Fatalf("%q has %v", m.Questions[0].Name, a)
			case known && (assigned != host || !d.Matcher.Known(host)):
				t.Fatalf("%q has the address of %q", host, assigned)
			case !known && a != d.Explain && !(a.IsLoopback() && local(host)):
				t.Fatalf("%q has %v", host, a)
			}
		}
	})
}
