package egress

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// streams speaks HTTP/2 frame by frame, so that it can say what no client says.
type streams struct {
	t    *testing.T
	fr   *http2.Framer
	next uint32
}

func newStreams(j *jail, host string) *streams {
	j.t.Helper()
	c := j.tls(host, 443, "h2")
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		j.t.Fatal(err)
	}
	s := &streams{t: j.t, fr: http2.NewFramer(c, c), next: 1}
	s.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := s.fr.WriteSettings(); err != nil {
		j.t.Fatal(err)
	}
	return s
}

// ask opens a stream with the header fields, pairs of name and value, and gives status and reason, or the code of RST_STREAM.
func (s *streams) ask(fields ...string) string {
	s.t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		if err := enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			s.t.Fatal(err)
		}
	}
	id := s.next
	s.next += 2
	if err := s.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}); err != nil {
		s.t.Fatal(err)
	}
	for {
		f, err := s.fr.ReadFrame()
		if err != nil {
			return err.Error()
		}
		if f.Header().StreamID != id {
			continue
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			answer := f.PseudoValue("status")
			for _, field := range f.RegularFields() {
				if field.Name == "x-agentjail-reason" {
					answer += " " + field.Value
				}
			}
			return answer
		case *http2.RSTStreamFrame:
			return f.ErrCode.String()
		}
	}
}

// TestEachStreamIsJudged: the streams of one connection are judged one by one, and a refused one leaves the others alone.
func TestEachStreamIsJudged(t *testing.T) {
	var seen atomic.Int32
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.Host != "good.example.com" {
			t.Errorf("the real server saw Host %q", r.Host)
		}
	}, nil)
	s := newStreams(j, "good.example.com")
	get := func(authority, path string, more ...string) string {
		return s.ask(append([]string{":method", "GET", ":scheme", "https", ":authority", authority, ":path", path}, more...)...)
	}
	const good = "good.example.com"
	var passed int32
	for _, tc := range []struct{ name, got, want string }{
		{"control", get(good, "/"), "200"},
		{"case, dot, port", get("GOOD.example.com.:443", "/"), "200"},
		{"another allowed host", get("also.example.com", "/"), "421 host_mismatch"},
		{"another host", get("evil.example.com", "/"), "421 host_mismatch"},
		{"another port", get(good+":8443", "/"), "421 host_mismatch"},
		{"address", get("127.0.0.1", "/"), "403 numeric_host"},
		{"user", get("x@"+good, "/"), "PROTOCOL_ERROR"},
		{"user before another", get(good+"@evil.example.com", "/"), "PROTOCOL_ERROR"},
		{"byte", get(good+"/x", "/"), "403 bad_name"},
		{"Host beside :authority", get(good, "/", "host", "evil.example.com"), "421 host_mismatch"},
		{"equal Host beside :authority", get(good, "/", "host", good), "200"},
		{"Host alone", s.ask(":method", "GET", ":scheme", "https", ":path", "/", "host", good), "200"},
		{"another Host alone", s.ask(":method", "GET", ":scheme", "https", ":path", "/", "host", "evil.example.com"), "421 host_mismatch"},
		{"neither", s.ask(":method", "GET", ":scheme", "https", ":path", "/"), "400 bad_request"},
		{"absolute path", get(good, "https://evil.example.com/"), "400 bad_request"},
		{"absolute path of the host", get(good, "https://good.example.com/"), "400 bad_request"},
		{"star", get(good, "*"), "400 bad_request"},
		{"no slash", get(good, "x"), "PROTOCOL_ERROR"},
		{"space in the path", get(good, "/a b"), "400 bad_request"},
		{"byte in the path", get(good, "/a\xff"), "400 bad_request"},
		{"scheme, which net/http does not tell and the door writes anew", s.ask(":method", "GET", ":scheme", "http", ":authority", good, ":path", "/"), "200"},
		{"odd scheme", s.ask(":method", "GET", ":scheme", "ftp", ":authority", good, ":path", "/"), "PROTOCOL_ERROR"},
		{"CONNECT", s.ask(":method", "CONNECT", ":authority", "evil.example.com:443"), "400 bad_request"},
		{"extended CONNECT", s.ask(":method", "CONNECT", ":protocol", "websocket", ":scheme", "https", ":authority", good, ":path", "/"), "PROTOCOL_ERROR"},
		{"Connection", get(good, "/", "connection", "upgrade"), "400"},
		{"Transfer-Encoding", get(good, "/", "transfer-encoding", "chunked"), "400"},
		{"another host in a field of proxies", get(good, "/", "x-forwarded-host", "evil.example.com", "forwarded", "host=evil.example.com"), "200"},
		{"control at the end", get(good, "/"), "200"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %s; want %s", tc.name, tc.got, tc.want)
		}
		if tc.want == "200" {
			passed++
		}
	}
	if seen.Load() != passed {
		t.Errorf("the server saw %d requests; want %d", seen.Load(), passed)
	}
	if e := j.waitDeny(HostMismatch); e.Kind != "http.deny" || e.Status != 421 || e.Host != "also.example.com" {
		t.Errorf("event: %+v", e)
	}
}

// TestNothingElseNamesTheHost: fields by which servers behind proxies take a request for another host's do not arrive.
func TestNothingElseNamesTheHost(t *testing.T) {
	got := make(chan http.Header, 1)
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) { got <- r.Header }, nil)
	bothVersions(t, func(t *testing.T, version int) {
		header := []string{"X-Stays", "1"}
		for _, name := range append(hostOverrides(), "X_Forwarded_Host") {
			header = append(header, name, "host=evil.example.com")
		}
		if res, _ := get(t, j.over(version), "https://good.example.com/", header...); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
		h := <-got
		if fmt.Sprint(h["X-Stays"]) != "[1]" {
			t.Errorf("control: %v", h)
		}
		for name, values := range h {
			if strings.Contains(strings.Join(values, ","), "evil") {
				t.Errorf("%s: %q arrived", name, values)
			}
		}
	})
}
