package egress

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS answers the jail's name queries from the policy alone; none is ever forwarded, so no name that the jail makes up reaches a
// resolver of the host. Its methods are safe for concurrent use.
//
// What is answered is chosen so that no resolver waits. An allowed or explained name exists for every type: A has the address,
// all other types are empty (NOERROR without records). AAAA must not be NXDOMAIN there, for musl takes one NXDOMAIN of its two
// questions for the whole answer. HTTPS and SVCB are empty, so no ECH key reaches a client (RFC 9460, RFC 9848); ANY, TXT, MX, SRV
// and the rest have nothing to say. Every other name is NXDOMAIN, never SERVFAIL or REFUSED: musl repeats its question after these
// until its time is up.
//
// A refused name is explained when it could be some host on a network: it has two labels, and no special use that keeps it out
// of the DNS (.local, .invalid, .onion, .alt, .arpa: RFC 6761, 6762, 7686, 9476, 3172). A single label is a typo, a search
// list at work or a probe ("wpad"); a program that asks whether such a name exists is told no.
//
// localhost and names below it are 127.0.0.1 and ::1, the jail's own (RFC 6761 section 6.3). The libc looks into /etc/hosts first;
// clients that ask the server themselves (node's dns.resolve, dig) and "app.localhost" of a dev server come here.
type DNS struct {
	Matcher *Matcher
	Names   *Names
	Explain netip.Addr  // what a refused name resolves to; the zero Addr: NXDOMAIN
	Event   func(Event) // told each refused name once (dns.deny), up to a bound; nil: nobody listens
	Count   func(Event) // told each refused query beyond the bound, with the host "*"; nil: nobody counts

	mu       sync.Mutex
	denied   map[string]bool
	counting bool // that there are more is told
}

const (
	ttlName    = 60 // seconds; an assignment holds for the session, so a short time costs a question and no more
	ttlExplain = 0  // a refusal may be lifted

	maxDenied  = 1024             // names that are told; queries for further ones are counted
	dnsIdle    = 10 * time.Second // for one question over TCP to come and its answer to go (RFC 7766 section 6.2.3)
	maxQuery   = 4096             // bytes over UDP; a longer question is cut and thus malformed
	payloadUDP = 1232             // what we say that we take (DNS flag day 2020)

	badVersion dnsmessage.RCode = 16 // RFC 6891 section 9
)

// Answer gives the answer to one message; nil means that none is sent (not a query at all). The longest answer, a question of 271
// bytes with one A record and OPT, is far below 512 bytes, so nothing is ever truncated over UDP. The transport matters for zone
// transfers alone: AXFR does not exist over UDP (RFC 5936 section 4.2) and is refused over TCP.
func (d *DNS) Answer(query []byte, udp bool) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(query)
	if err != nil || h.Response {
		return nil
	}
	r := reply{header: dnsmessage.Header{
		ID: h.ID, Response: true, OpCode: h.OpCode, RecursionDesired: h.RecursionDesired, RecursionAvailable: true,
	}}
	if h.OpCode != 0 {
		return r.fail(dnsmessage.RCodeNotImplemented)
	}
	q, opt, err := readQuery(&p)
	if err != nil {
		return r.fail(dnsmessage.RCodeFormatError)
	}
	r.question, r.edns = &q, opt != nil
	switch {
	case opt != nil && opt.TTL>>16&0xff != 0: // EDNS version
		return r.fail(badVersion)
	case udp && q.Type == dnsmessage.TypeAXFR:
		return r.fail(dnsmessage.RCodeFormatError)
	case q.Class != dnsmessage.ClassINET, q.Type == dnsmessage.TypeAXFR:
		return r.fail(dnsmessage.RCodeRefused)
	}
	r.addr, r.ttl, r.header.RCode = d.find(q)
	return r.pack()
}

// readQuery reads the one question and the OPT record, if there is one. Other records of a query mean nothing and are skipped.
func readQuery(p *dnsmessage.Parser) (q dnsmessage.Question, opt *dnsmessage.ResourceHeader, err error) {
	if q, err = p.Question(); err != nil {
		return q, nil, err
	}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return q, nil, errors.New("more than one question")
	}
	if err := errors.Join(p.SkipAllAnswers(), p.SkipAllAuthorities()); err != nil {
		return q, nil, err
	}
	for {
		h, err := p.AdditionalHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return q, opt, nil
		}
		if err != nil {
			return q, nil, err
		}
		if h.Type == dnsmessage.TypeOPT {
			if opt != nil || h.Name.Length != 1 { // RFC 6891 section 6.1.1: one, at the root
				return q, nil, errors.New("OPT record out of place")
			}
			opt = &h
		}
		if err := p.SkipAdditional(); err != nil {
			return q, nil, err
		}
	}
}

// find gives the address to answer with (the zero Addr: none for this type) and whether the name exists.
func (d *DNS) find(q dnsmessage.Question) (netip.Addr, uint32, dnsmessage.RCode) {
	none := netip.Addr{}
	host, reason := Canonical(q.Name.String())
	switch {
	case reason != "":
		d.deny(q.Name.String(), reason)
		return none, 0, dnsmessage.RCodeNameError
	case local(host) && q.Type == dnsmessage.TypeA:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), ttlName, dnsmessage.RCodeSuccess
	case local(host) && q.Type == dnsmessage.TypeAAAA:
		return netip.IPv6Loopback(), ttlName, dnsmessage.RCodeSuccess
	case local(host):
		return none, 0, dnsmessage.RCodeSuccess
	case d.Matcher.Known(host):
		if q.Type != dnsmessage.TypeA {
			return none, 0, dnsmessage.RCodeSuccess
		}
		a, ok := d.Names.Addr(host)
		if !ok {
			d.deny(host, Busy)
			return none, 0, dnsmessage.RCodeNameError
		}
		return a, ttlName, dnsmessage.RCodeSuccess
	}
	if !strings.HasSuffix(host, ".arpa") { // reverse look-ups of the jail's own addresses are no news
		d.deny(host, NotAllowed)
	}
	switch {
	case !d.Explain.IsValid() || !explainable(host):
		return none, 0, dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		return d.Explain, ttlExplain, dnsmessage.RCodeSuccess
	}
	return none, 0, dnsmessage.RCodeSuccess
}

// explainable says whether a refused name could be a host that a user might want to allow.
func explainable(host string) bool {
	i := strings.LastIndexByte(host, '.')
	switch host[i+1:] {
	case "local", "invalid", "onion", "alt", "arpa":
		return false
	}
	return i > 0
}

// deny tells a refused name once. Beyond the bound it counts, and tells that once, too.
func (d *DNS) deny(name string, reason Reason) {
	e := Event{Time: time.Now(), Kind: "dns.deny", Host: name, Reason: reason}
	tell := d.Event
	d.mu.Lock()
	switch told := len(d.denied); {
	case d.denied[name]:
		tell = nil
	case told < maxDenied:
		if d.denied == nil {
			d.denied = map[string]bool{}
		}
		d.denied[name] = true
	default:
		e.Host = others
		if d.counting {
			tell = d.Count
		} else {
			d.counting = true
			e.Detail = fmt.Sprintf("more than %d names refused; queries for further ones are only counted", maxDenied)
		}
	}
	d.mu.Unlock()
	if tell != nil {
		tell(e)
	}
}

// reply is an answer in the making.
type reply struct {
	header   dnsmessage.Header
	question *dnsmessage.Question // nil: it could not be read
	addr     netip.Addr           // zero: no record
	ttl      uint32
	edns     bool // the query had OPT, so the answer has (RFC 6891 section 7)
}

// fail packs an answer that is a code alone.
func (r reply) fail(code dnsmessage.RCode) []byte {
	r.header.RCode = code
	return r.pack()
}

// pack gives the message; nil when the question cannot be said again, which ends it as if it had not come.
func (r reply) pack() []byte {
	code := r.header.RCode
	r.header.RCode &= 0xf // the rest is in OPT
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), r.header)
	b.EnableCompression()
	err := b.StartQuestions()
	if r.question != nil {
		err = errors.Join(err, b.Question(*r.question), b.StartAnswers())
		h := dnsmessage.ResourceHeader{Name: r.question.Name, Class: dnsmessage.ClassINET, TTL: r.ttl}
		switch {
		case r.addr.Is4():
			err = errors.Join(err, b.AResource(h, dnsmessage.AResource{A: r.addr.As4()}))
		case r.addr.Is6():
			err = errors.Join(err, b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: r.addr.As16()}))
		}
	}
	if r.edns {
		h := dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(".")}
		err = errors.Join(err, b.StartAdditionals(), h.SetEDNS0(payloadUDP, code, false), b.OPTResource(h, dnsmessage.OPTResource{}))
	}
	msg, end := b.Finish()
	if errors.Join(err, end) != nil {
		return nil
	}
	return msg
}

// ServeUDP answers queries until ctx is done, and gives nil then. It closes conn.
func (d *DNS) ServeUDP(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	buf := make([]byte, maxQuery)
	for {
		n, from, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read DNS query: %w", err)
		}
		if msg := d.Answer(buf[:n], true); msg != nil {
			conn.WriteTo(msg, from) // lost like any datagram: the client asks again
		}
	}
}

// ServeTCP answers the queries of one connection, each with its length in front (RFC 7766 section 8), until the peer ends it,
// sends what is no query, needs longer than ten seconds for one, or ctx is done. It closes conn. An error is the connection's end.
func (d *DNS) ServeTCP(ctx context.Context, conn net.Conn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	for {
		err := conn.SetDeadline(time.Now().Add(dnsIdle))
		if err == nil {
			err = d.answerTCP(conn)
		}
		if ctx.Err() != nil || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("DNS over TCP: %w", err)
		}
	}
}

// answerTCP answers one query. io.EOF means that there was none.
func (d *DNS) answerTCP(conn net.Conn) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	query := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, query); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	msg := d.Answer(query, false)
	if msg == nil {
		return errors.New("not a query")
	}
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)) // one write: one segment
	return err
}
