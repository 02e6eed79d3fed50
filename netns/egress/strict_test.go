package egress

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"golang.org/x/net/http/httpguts"
)

// fake is a net.Conn that only reads.
type fake struct {
	net.Conn
	io.Reader
}

func (f fake) Read(p []byte) (int, error) { return f.Reader.Read(p) }

const twoRequests = "POST /1 HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n10;x\r\n0123456789abcdef\r\n0\r\nX: y\r\n\r\n" +
	"POST /2 HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 4\r\n\r\nbody" +
	"GET /3 HTTP/1.1\r\nHost: a.example.com\r\n\r\n"

// TestStrictGivesWhatItGot: good messages pass byte for byte, however the network cuts them.
func TestStrictGivesWhatItGot(t *testing.T) {
	for name, cut := range map[string]func(io.Reader) io.Reader{
		"at once":      func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"halves":       iotest.HalfReader,
		"with its EOF": iotest.DataErrReader,
	} {
		for before := range len(twoRequests) {
			s := newStrict(fake{Reader: cut(strings.NewReader(twoRequests[before:]))}, []byte(twoRequests[:before]), maxHead, nil)
			if got, err := io.ReadAll(s); err != nil || string(got) != twoRequests {
				t.Fatalf("%s, %d before: %q, %v", name, before, got, err)
			}
		}
	}
}

// deadlines gives os.ErrDeadlineExceeded before every byte.
type deadlines struct {
	rest string
	turn bool
}

func (d *deadlines) Read(p []byte) (int, error) {
	if d.turn = !d.turn; d.turn {
		return 0, os.ErrDeadlineExceeded
	}
	if d.rest == "" {
		return 0, io.EOF
	}
	p[0], d.rest = d.rest[0], d.rest[1:]
	return 1, nil
}

func TestStrictGoesOnAfterADeadline(t *testing.T) {
	s := newStrict(fake{Reader: &deadlines{rest: twoRequests}}, nil, maxHead, nil)
	var got []byte
	buf := make([]byte, 7)
	for {
		n, err := s.Read(buf)
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if string(got) != twoRequests {
		t.Errorf("%q", got)
	}
}

func TestStrictRefusesInOrder(t *testing.T) {
	s := newStrict(fake{Reader: strings.NewReader(twoRequests + "GET /4 HTTP/1.1\nHost: a\n\n" + twoRequests)}, nil, maxHead, nil)
	got, err := io.ReadAll(s)
	if err != nil || string(got) != twoRequests+placeholder {
		t.Errorf("%q, %v", got, err)
	}
	for number, refused := range []bool{1: false, false, false, true, false} {
		if (s.refusal(number) != nil) != refused {
			t.Errorf("request %d: %v", number, s.refusal(number))
		}
	}
}

// TestStrictIsNotQuadratic: a head of 64 KiB that comes byte by byte is looked at once.
func TestStrictIsNotQuadratic(t *testing.T) {
	head := "GET / HTTP/1.1\r\nHost: a.example.com\r\nX: " + strings.Repeat("a", maxHead-100) + "\r\n\r\n"
	start := time.Now()
	if got, err := io.ReadAll(newStrict(fake{Reader: iotest.OneByteReader(strings.NewReader(head))}, nil, maxHead, nil)); err != nil || len(got) != len(head) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("took %v", d)
	}
}

// FuzzStrict holds strict against net/http: what passes is what came, up to a refusal, and net/http reads out of it as many
// requests as strict has counted, with the hosts and lengths that parseHead saw.
func FuzzStrict(f *testing.F) {
	f.Add([]byte(twoRequests))
	f.Add([]byte("GET http://a.example.com/ HTTP/1.1\r\nHost: A.example.com:80\r\n\r\nGET / HTTP/1.0\r\n\r\n"))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"))
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03\x01"))
	f.Add([]byte("OPTIONS * HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"))
	f.Add([]byte("GET /%zz HTTP/1.1\r\nHost: <a>\r\nExpect: x\r\nTrailer: Host\r\n\r\n"))
	f.Add([]byte("CONNECT a:1/x HTTP/1.1\r\nHost: a@b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := newStrict(fake{Reader: bytes.NewReader(raw)}, nil, maxHead, nil)
		passed, err := io.ReadAll(s)
		if err != nil {
			t.Fatal(err)
		}
		refused := s.refused != nil
		if refused {
			passed = bytes.TrimSuffix(passed, []byte(placeholder))
		}
		if !bytes.HasPrefix(raw, passed) {
			t.Fatalf("passed %q of %q", passed, raw)
		}
		br := bufio.NewReader(bytes.NewReader(passed))
		for number := 1; ; number++ {
			rest, _ := br.Peek(br.Size())
			req, err := http.ReadRequest(br)
			if err != nil {
				if n, bad := headEnd(rest, 0); n > 0 && bad == nil {
					t.Fatalf("net/http would answer by itself (%v): %q", err, rest[:n])
				}
				return
			}
			if !httpguts.ValidHostHeader(req.Host) { // http.Server looks at it, ReadRequest does not
				t.Fatalf("http.Server would refuse Host %q", req.Host)
			}
			n, err := headEnd(rest, 0)
			if n == 0 || err != nil {
				if len(rest) == br.Size() {
					return
				}
				t.Fatalf("net/http reads a request where strict has none: %q", rest)
			}
			h, err := parseHead(rest[:n])
			if err != nil {
				t.Fatalf("net/http reads a request that strict refuses (%v): %q", err, rest)
			}
			if h.method != req.Method || h.target != req.RequestURI || h.chunked != (len(req.TransferEncoding) > 0) ||
				!h.chunked && h.body != max(req.ContentLength, 0) {
				t.Fatalf("%+v, but net/http reads %+v", h, req)
			}
			if h.method == http.MethodConnect {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil && !refused && number < s.heads {
				t.Fatalf("net/http finds no end of the body of request %d: %v", number, err)
			}
		}
	})
}

func FuzzAuthority(f *testing.F) {
	for _, s := range []string{"a.example.com", "a:80", "[::1]:80", "::1", "a:", ":80", "a:0", "a:+1", "127.1:80", "a@b:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, port, reason := authority(s, 80)
		if said, number := spoken(s, 80); reason == "" && (len(said) > len(s) || number != port) {
			t.Errorf("%q: told as %q, %d", s, said, number)
		}
		if reason != "" {
			return
		}
		if again, bad := Canonical(host); bad != "" || again != host || port == 0 {
			t.Errorf("%q: %q, %d", s, host, port)
		}
		if strings.ContainsAny(s, "@/\\ []%") {
			t.Errorf("%q passed", s)
		}
	})
}
