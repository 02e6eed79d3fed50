package egress

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
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
	if len(told.list) != maxDenied+1 || len(d.denied) != maxDenied+1 {
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

// serveUDP runs ServeUDP on loopback until the test ends.
func serveUDP(t *testing.T, d *DNS) net.Addr {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.ServeUDP(ctx, conn) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ServeUDP: %v", err)
		}
		if _, err := conn.WriteTo(nil, conn.LocalAddr()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the socket is still open: %v", err)
		}
	})
	return conn.LocalAddr()
}

// Go's own resolver, which asks for A and AAAA over UDP, reads what we answer.
func TestDNSServesAResolver(t *testing.T) {
	defer goleak.VerifyNone(t)
	t.Run("", func(t *testing.T) {
		d, _ := newDNS(t)
		addr := serveUDP(t, d)
		conn, err := net.Dial("udp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte("junk that is dropped, and the server lives"))
		conn.Close()
		r := &net.Resolver{PreferGo: true, StrictErrors: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", addr.String())
		}}
		for host, want := range map[string]string{"api.example.com.": "198.18.1.0", "denied.test.": "198.18.0.5", "x.invalid.": ""} {
			got, err := r.LookupNetIP(t.Context(), "ip", host)
			var missing *net.DNSError
			switch {
			case want == "" && !(errors.As(err, &missing) && missing.IsNotFound):
				t.Errorf("%s: %v, %v; want: no such host", host, got, err)
			case want != "" && (err != nil || len(got) != 1 || got[0].Unmap() != netip.MustParseAddr(want)):
				t.Errorf("%s: %v, %v; want %s", host, got, err, want)
			}
		}
	})
}

func TestDNSOverTCP(t *testing.T) {
	defer goleak.VerifyNone(t)
	d, _ := newDNS(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- d.ServeTCP(context.Background(), far) }()
	near.SetDeadline(time.Now().Add(10 * time.Second))
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} { // two on one connection
		q := query(t, "api.example.com.", kind)
		framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
		for _, part := range [][]byte{framed[:1], framed[1:5], framed[5:]} {
			if _, err := near.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		head := make([]byte, 2)
		if _, err := io.ReadFull(near, head); err != nil {
			t.Fatal(err)
		}
		raw := make([]byte, binary.BigEndian.Uint16(head))
		if _, err := io.ReadFull(near, raw); err != nil {
			t.Fatal(err)
		}
		if m := unpack(t, raw); m.RCode != 0 || m.Questions[0].Type != kind {
			t.Errorf("%v", m.GoString())
		}
	}
	near.Close()
	if err := <-done; err != nil {
		t.Errorf("the client was done: %v", err)
	}
}

func TestDNSOverTCPEnds(t *testing.T) {
	for name, c := range map[string]struct {
		send   []byte
		hangup bool
		after  time.Duration // until the server ends the connection
		err    error         // nil: any
	}{
		"silence":           {nil, false, dnsIdle, os.ErrDeadlineExceeded},
		"half a length":     {[]byte{0}, false, dnsIdle, os.ErrDeadlineExceeded},
		"half a query":      {[]byte{0, 9, 1, 2, 3}, false, dnsIdle, os.ErrDeadlineExceeded},
		"hangs up in it":    {[]byte{0, 9, 1, 2, 3}, true, 0, io.ErrUnexpectedEOF},
		"hangs up at once":  {[]byte{0, 9}, true, 0, io.ErrUnexpectedEOF},
		"no query":          {[]byte{0, 3, 1, 2, 3}, false, 0, nil},
		"an empty message":  {[]byte{0, 0}, false, 0, nil},
		"half, then hangup": {[]byte{0}, true, 0, io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := newDNS(t)
				near, far := net.Pipe()
				defer near.Close()
				start := time.Now()
				done := make(chan error)
				go func() { done <- d.ServeTCP(t.Context(), far) }()
				near.Write(c.send)
				if c.hangup {
					near.Close()
				}
				err := <-done
				if err == nil || c.err != nil && !errors.Is(err, c.err) || time.Since(start) != c.after {
					t.Errorf("%v after %v, want %v after %v", err, time.Since(start), c.err, c.after)
				}
				if _, err := far.Write([]byte{0}); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("still open: %v", err)
				}
			})
		})
	}
}

// A client that asks and does not read the answer is given up, too.
func TestDNSOverTCPNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newDNS(t)
		near, far := net.Pipe()
		defer near.Close()
		go func() {
			q := query(t, "api.example.com.", dnsmessage.TypeA)
			near.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...))
		}()
		start := time.Now()
		if err := d.ServeTCP(t.Context(), far); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != dnsIdle {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestDNSOverTCPStops(t *testing.T) {
	defer goleak.VerifyNone(t)
	d, _ := newDNS(t)
	ctx, cancel := context.WithCancel(context.Background())
	near, far := net.Pipe()
	done := make(chan error)
	go func() { done <- d.ServeTCP(ctx, far) }()
	near.Write([]byte{0}) // in the middle of a query
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	near.Close()
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
