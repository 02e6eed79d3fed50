package egress

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const maxHello = 16 << 10

// clientHello gives what a crypto/tls client sends first.
func clientHello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		tls.Client(near, cfg).Handshake()
		near.Close()
	}()
	h, err := ReadHello(far, maxHello)
	if err != nil {
		t.Fatal(err)
	}
	return h.Raw
}

// ext is one extension.
func ext(kind uint16, data []byte) []byte {
	return slices.Concat(binary.BigEndian.AppendUint16(nil, kind), vec(2, data))
}

// vec puts the length of data in front of it, in size bytes.
func vec(size int, data ...[]byte) []byte {
	all := slices.Concat(data...)
	length := binary.BigEndian.AppendUint32(nil, uint32(len(all)))
	return append(length[4-size:], all...)
}

func sni(names ...string) []byte {
	var list []byte
	for _, name := range names {
		list = append(list, slices.Concat([]byte{0}, vec(2, []byte(name)))...)
	}
	return ext(extServerName, vec(2, list))
}

// body makes a ClientHello's body with these extensions.
func body(exts ...[]byte) []byte {
	return slices.Concat([]byte{3, 3}, make([]byte, 32), vec(1), vec(2, []byte{0x13, 1}), vec(1, []byte{0}), vec(2, exts...))
}

// message puts the handshake header in front of a body.
func message(body []byte) []byte { return append([]byte{typeClientHello}, vec(3, body)...) }

// records cuts a handshake message into records of size bytes.
func records(msg []byte, size int) (raw []byte) {
	for part := range slices.Chunk(msg, size) {
		raw = append(raw, slices.Concat([]byte{typeHandshake, 3, 1}, vec(2, part))...)
	}
	return raw
}

func hello(exts ...[]byte) []byte { return records(message(body(exts...)), maxFragment) }

func TestReadHelloOfRealClient(t *testing.T) {
	for _, c := range []struct {
		cfg  *tls.Config
		sni  string
		alpn []string
	}{
		{&tls.Config{ServerName: "api.example.com", NextProtos: []string{"h2", "http/1.1"}}, "api.example.com", []string{"h2", "http/1.1"}},
		{&tls.Config{ServerName: "api.example.com", MaxVersion: tls.VersionTLS12}, "api.example.com", nil},
		{&tls.Config{ServerName: "127.0.0.1"}, "", nil}, // an address is no server name
	} {
		raw := clientHello(t, c.cfg)
		h, err := ReadHello(bytes.NewReader(raw), maxHello)
		if err != nil || h.SNI != c.sni || h.HasSNI != (c.sni != "") || h.ECH || !slices.Equal(h.ALPN, c.alpn) || !bytes.Equal(h.Raw, raw) {
			t.Errorf("%+v: %+v, %v", c.sni, h, err)
		}
	}
}

// Hellos of other people's clients, recorded on loopback; they are seeds of the fuzz target, too.
func TestReadHelloOfOtherClients(t *testing.T) {
	for name, sni := range map[string]string{
		"openssl_tls13": "api.example.com", "openssl_tls12": "api.example.com", "openssl_without_name": "", "curl": "api.example.com",
		"wget_gnutls": "localhost", "node": "api.example.com",
	} {
		file, err := os.ReadFile("testdata/fuzz/FuzzReadHello/" + name)
		if err != nil {
			t.Fatal(err)
		}
		quoted := strings.TrimSuffix(strings.TrimPrefix(string(file), "go test fuzz v1\n[]byte("), ")\n")
		raw, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		h, err := ReadHello(strings.NewReader(raw), maxHello)
		if err != nil || h.SNI != sni || h.ECH || string(h.Raw) != raw {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

// A client with real ECH keys hides the name that it means behind the provider's public one.
func TestReadHelloSeesECH(t *testing.T) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	contents := slices.Concat( // ECHConfigContents (RFC 9849 section 4)
		[]byte{7}, []byte{0, 0x20}, vec(2, key.PublicKey().Bytes()), vec(2, []byte{0, 1, 0, 1}), []byte{0}, vec(1, []byte("public.example.com")), vec(2))
	list := vec(2, []byte{0xfe, 0x0d}, vec(2, contents))
	h, err := ReadHello(bytes.NewReader(clientHello(t, &tls.Config{
		ServerName: "hidden.example.com", MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: list,
	})), maxHello)
	if err != nil || !h.ECH || h.SNI != "public.example.com" || bytes.Contains(h.Raw, []byte("hidden")) {
		t.Errorf("%+v, %v", h, err)
	}
	for _, kind := range []uint16{0xfe0d, 0xfe08, 0xffce} { // GREASE looks the same, and so do the drafts
		if h, err := ReadHello(bytes.NewReader(hello(sni("a.test"), ext(kind, []byte{0, 1, 2}))), maxHello); err != nil || !h.ECH {
			t.Errorf("extension %#x: %+v, %v", kind, h, err)
		}
	}
}

func TestReadHelloFragments(t *testing.T) {
	msg := message(body(sni("a.test"), ext(extALPN, vec(2, vec(1, []byte("h2"))))))
	for _, size := range []int{1, 2, 3, 4, 5, 50, len(msg) - 1, len(msg)} {
		raw := records(msg, size)
		after := "the client's next bytes"
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(string(raw) + after), "byte by byte": iotest.OneByteReader(strings.NewReader(string(raw) + after)),
			"halves": iotest.HalfReader(strings.NewReader(string(raw) + after)), "data with EOF": iotest.DataErrReader(strings.NewReader(string(raw) + after)),
		} {
			h, err := ReadHello(r, maxHello)
			if err != nil || h.SNI != "a.test" || !h.HasSNI || !slices.Equal(h.ALPN, []string{"h2"}) || !bytes.Equal(h.Raw, raw) {
				t.Errorf("records of %d, %s: %+v, %v", size, name, h, err)
			}
			if rest, _ := io.ReadAll(r); string(rest) != after {
				t.Errorf("records of %d, %s: left %q", size, name, rest)
			}
		}
	}
}

func TestReadHelloTakes(t *testing.T) {
	none := slices.Concat([]byte{3, 1}, make([]byte, 32), vec(1, make([]byte, 32)), vec(2, []byte{0, 47}), vec(1, []byte{0}))
	for name, c := range map[string]struct {
		raw  []byte
		want Hello
	}{
		"no extensions":     {records(message(none), maxFragment), Hello{}},
		"empty extensions":  {hello(), Hello{}},
		"tickets and more":  {hello(ext(35, make([]byte, 200)), ext(42, nil), ext(0x0a0a, nil), ext(0x1a1a, []byte{0}), sni("a.test")), Hello{SNI: "a.test", HasSNI: true}},
		"a name as sent":    {hello(sni("A.test.")), Hello{SNI: "A.test.", HasSNI: true}}, // Canonical's matter
		"an odd name":       {hello(sni("a\x00.test")), Hello{SNI: "a\x00.test", HasSNI: true}},
		"record of SSL 3.0": {append([]byte{22, 3, 0}, hello(sni("a.test"))[3:]...), Hello{SNI: "a.test", HasSNI: true}},
	} {
		h, err := ReadHello(bytes.NewReader(c.raw), maxHello)
		if err != nil || h.SNI != c.want.SNI || h.HasSNI != c.want.HasSNI || h.ECH || h.ALPN != nil {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestReadHelloRefuses(t *testing.T) {
	good := hello(sni("a.test"))
	msg := message(body(sni("a.test")))
	for name, c := range map[string]struct {
		raw  []byte
		says string
	}{
		"HTTP":                   {[]byte("GET / HTTP/1.1\r\n\r\n"), "not a TLS handshake"},
		"SSH":                    {[]byte("SSH-2.0-x\r\n"), "not a TLS handshake"},
		"SSL 2.0":                {[]byte{0x80, 0x2e, 1, 3, 1}, "not a TLS handshake"},
		"version 2":              {append([]byte{22, 2}, good[2:]...), "not a TLS handshake"},
		"server hello":           {records(append([]byte{2}, msg[1:]...), maxFragment), "not a TLS handshake"},
		"an alert first":         {[]byte{21, 3, 1, 0, 2, 1, 0}, "not a TLS handshake"},
		"an empty record":        {slices.Concat([]byte{22, 3, 1, 0, 0}, good), "record of 0 bytes"},
		"a huge record":          {[]byte{22, 3, 1, 0x40, 1}, "record of 16385 bytes"},
		"a record between":       {slices.Concat(records(msg[:9], 9), []byte{20, 3, 3, 0, 1, 1}, records(msg[9:], maxFragment)), "between its parts"},
		"an empty one between":   {slices.Concat(records(msg[:9], 9), []byte{22, 3, 3, 0, 0}, records(msg[9:], maxFragment)), "record of 0 bytes"},
		"another message behind": {records(slices.Concat(msg, []byte{0, 0, 0, 0}), maxFragment), "more data"},
		"another hello behind":   {records(slices.Concat(msg, message(body(sni("b.test")))), maxFragment), "more data"},
		"bytes after extensions": {records(message(append(body(sni("a.test")), 0)), maxFragment), "add up"},
		"a cut body":             {records(message(body(sni("a.test"))[:60]), maxFragment), "add up"},
		"an empty body":          {records(message(nil), maxFragment), "add up"},
		"a session of 33 bytes":  {records(message(slices.Concat([]byte{3, 3}, make([]byte, 32), vec(1, make([]byte, 33)), vec(2, []byte{0, 1}), vec(1, []byte{0}))), maxFragment), "add up"},
		"odd cipher suites":      {records(message(slices.Concat([]byte{3, 3}, make([]byte, 32), vec(1), vec(2, []byte{0, 1, 2}), vec(1, []byte{0}))), maxFragment), "add up"},
		"two server names":       {hello(sni("a.test", "b.test")), "not one host_name"},
		"server_name twice":      {hello(sni("a.test"), sni("b.test")), "twice"},
		"another twice":          {hello(sni("a.test"), ext(35, nil), ext(35, nil)), "twice"},
		"another name type":      {hello(ext(0, vec(2, []byte{1}, vec(2, []byte("a.test"))))), "not one host_name"},
		"an empty name":          {hello(sni("")), "add up"},
		"an empty name list":     {hello(ext(0, vec(2))), "add up"},
		"an empty server_name":   {hello(ext(0, nil)), "add up"},
		"bytes after the list":   {hello(ext(0, append(vec(2, []byte{0}, vec(2, []byte("a.test"))), 0))), "add up"},
		"a list that is short":   {hello(ext(0, vec(2, []byte{0, 0, 9, 'a'}))), "add up"},
		"an empty ALPN list":     {hello(ext(extALPN, vec(2))), "add up"},
		"an empty protocol":      {hello(ext(extALPN, vec(2, vec(1)))), "add up"},
		"nothing":                {nil, "EOF"},
		"cut in a header":        {good[:3], "unexpected EOF"},
		"cut in a record":        {good[:20], "unexpected EOF"},
		"longer than it says":    {records(append([]byte{1, 0xff, 0xff, 0xff}, msg[4:]...), maxFragment), "more than"},
		"longer than max":        {hello(ext(21, make([]byte, maxHello)), sni("a.test")), "more than"},
	} {
		h, err := ReadHello(bytes.NewReader(c.raw), maxHello)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		if h == nil || h.HasSNI || h.SNI != "" || h.ECH || h.ALPN != nil {
			t.Errorf("%s: an error and %+v", name, h)
		}
		if !bytes.HasPrefix(c.raw, h.Raw) {
			t.Errorf("%s: Raw is not what was read", name)
		}
		if want := c.says == "not a TLS handshake"; errors.Is(err, ErrNotTLS) != want {
			t.Errorf("%s: ErrNotTLS is %v", name, !want)
		}
	}
	if h, err := ReadHello(bytes.NewReader(good), maxHello); err != nil || h.SNI != "a.test" {
		t.Errorf("control: %+v, %v", h, err)
	}
}

// The first byte decides: a client that speaks another protocol and then waits is not waited for.
func TestReadHelloDoesNotWait(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go near.Write([]byte("E")) // and no more
	far.SetReadDeadline(time.Now().Add(10 * time.Second))
	if h, err := ReadHello(far, maxHello); !errors.Is(err, ErrNotTLS) || string(h.Raw) != "E" {
		t.Errorf("%+v, %v", h, err)
	}
}

// No more than max bytes are read, however small the records are.
func TestReadHelloBound(t *testing.T) {
	msg := message(body(sni("a.test"), ext(21, make([]byte, 1000))))
	r := bytes.NewReader(records(msg, 1)) // six bytes on the wire for each
	h, err := ReadHello(r, 2000)
	if err == nil || len(h.Raw) > 2000 {
		t.Errorf("%d bytes, %v", len(h.Raw), err)
	}
}

// goHello is what crypto/tls reads from the same bytes: the reference of the fuzz target.
func goHello(raw []byte) (info *tls.ClientHelloInfo) {
	seen := errors.New("seen")
	server := tls.Server(replayed{bytes.NewReader(raw)}, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		info = i
		return nil, seen
	}})
	server.HandshakeContext(context.Background())
	return info
}

// replayed is a connection that has sent all it will.
type replayed struct{ r io.Reader }

func (c replayed) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c replayed) Write(p []byte) (int, error)      { return len(p), nil }
func (c replayed) Close() error                     { return nil }
func (c replayed) LocalAddr() net.Addr              { return nil }
func (c replayed) RemoteAddr() net.Addr             { return nil }
func (c replayed) SetDeadline(time.Time) error      { return nil }
func (c replayed) SetReadDeadline(time.Time) error  { return nil }
func (c replayed) SetWriteDeadline(time.Time) error { return nil }

func FuzzReadHello(f *testing.F) {
	f.Add(hello(sni("a.test")))
	f.Add(records(message(body(sni("a.test"), ext(extALPN, vec(2, vec(1, []byte("h2")))))), 7))
	f.Add(hello(sni("a.test", "b.test")))
	f.Add(hello(sni("a.test"), sni("b.test")))
	f.Add(hello(sni("a.test"), ext(extECH, []byte{0})))
	f.Add(slices.Concat(hello(sni("a.test")), []byte("more")))
	f.Add(clientHello(f, &tls.Config{ServerName: "api.example.com", NextProtos: []string{"h2"}}))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := ReadHello(bytes.NewReader(raw), maxHello)
		if !bytes.HasPrefix(raw, h.Raw) || len(h.Raw) > maxHello {
			t.Fatalf("Raw is %d bytes of %d, and not the first", len(h.Raw), len(raw))
		}
		if err != nil {
			if h.HasSNI || h.SNI != "" {
				t.Fatalf("an error and a name: %v, %q", err, h.SNI)
			}
			return
		}
		if h.HasSNI != (h.SNI != "") {
			t.Fatalf("%+v", h)
		}
		again, err := ReadHello(iotest.OneByteReader(bytes.NewReader(h.Raw)), maxHello)
		if err != nil || again.SNI != h.SNI || !bytes.Equal(again.Raw, h.Raw) {
			t.Fatalf("replayed: %+v, %v", again, err)
		}
		if info := goHello(raw); info != nil && info.ServerName != h.SNI {
			t.Fatalf("we read %q, crypto/tls %q", h.SNI, info.ServerName)
		}
	})
}

func TestGoHello(t *testing.T) { // the control of the reference
	if info := goHello(clientHello(t, &tls.Config{ServerName: "a.test"})); info == nil || info.ServerName != "a.test" {
		t.Errorf("%+v", info)
	}
}
