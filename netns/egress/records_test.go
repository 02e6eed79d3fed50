package egress

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestEveryRefusalIsRecorded: what http.Server would have answered itself gets the door's answer, and one event that says what was
// asked for and whose name was refused.
func TestEveryRefusalIsRecorded(t *testing.T) {
	addr := backend(t, func(http.ResponseWriter, *http.Request) {})
	rules := []Rule{{Host: "good.example.com", Ports: []uint16{80, 443}, Connect: addr, Why: "test"}, {Host: "also.example.com", Ports: []uint16{80}, Connect: addr, Why: "test"}}
	const host = "Host: good.example.com\r\n"
	for name, tc := range map[string]struct {
		at     string // "", "proxy" or "explain"
		raw    string
		status int
		want   Event
	}{
		"Host with user":        {"", "GET /a HTTP/1.1\r\nHost: nope.example@x\r\n\r\n", 403, Event{Host: "nope.example@x", Port: 80, Reason: BadName, Method: "GET", Path: "/a"}},
		"Host in brackets":      {"", "POST /a?secret HTTP/1.1\r\nHost: <nope>\r\n\r\n", 403, Event{Host: "<nope>", Port: 80, Reason: BadName, Method: "POST", Path: "/a"}},
		"Host, explained":       {"explain", "PUT /a HTTP/1.1\r\nHost: no pe\r\n\r\n", 403, Event{Host: "no pe", Port: 80, Reason: BadName, Method: "PUT", Path: "/a"}},
		"Expect":                {"", "PUT /a HTTP/1.1\r\n" + host + "Expect: evil\r\n\r\n", 400, Event{Host: "good.example.com", Port: 80, Reason: BadRequest, Method: "PUT", Path: "/a"}},
		"escape":                {"", "GET /%zz HTTP/1.1\r\n" + host + "\r\n", 400, Event{Host: "good.example.com", Port: 80, Reason: BadRequest, Method: "GET", Path: "/%zz"}},
		"escape, absolute":      {"proxy", "GET http://good.example.com/%zz HTTP/1.1\r\n" + host + "\r\n", 400, Event{Port: proxyPort, Reason: BadRequest, Method: "GET"}},
		"trailer names":         {"", "POST / HTTP/1.1\r\n" + host + "Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, Event{Host: "good.example.com", Port: 80, Reason: BadRequest, Method: "POST", Path: "/"}},
		"CONNECT with path":     {"proxy", "CONNECT good.example.com:443/x HTTP/1.1\r\nHost: good.example.com:443/x\r\n\r\n", 403, Event{Host: "good.example.com:443/x", Port: 0, Reason: BadName, Method: "CONNECT"}},
		"CONNECT with user":     {"proxy", "CONNECT u@good.example.com:443 HTTP/1.1\r\nHost: good.example.com:443\r\n\r\n", 403, Event{Host: "u@good.example.com", Port: 443, Reason: BadName, Method: "CONNECT"}},
		"CONNECT, escape":       {"proxy", "CONNECT %zz:443 HTTP/1.1\r\nHost: good.example.com\r\n\r\n", 403, Event{Host: "%zz", Port: 443, Reason: BadName, Method: "CONNECT"}},
		"CONNECT, no port":      {"proxy", "CONNECT good.example.com HTTP/1.1\r\nHost: good.example.com\r\n\r\n", 400, Event{Host: "good.example.com", Port: 0, Reason: BadRequest, Method: "CONNECT"}},
		"CONNECT, odd spelling": {"proxy", "CONNECT 0x7f.1:48081 HTTP/1.1\r\nHost: 0x7f.1:48081\r\n\r\n", 403, Event{Host: "0x7f.1", Port: 48081, Reason: NumericHost, Method: "CONNECT"}},
		"absolute, odd":         {"proxy", "GET http://127.0.0.1:48081/ HTTP/1.1\r\nHost: 127.0.0.1:48081\r\n\r\n", 403, Event{Host: "127.0.0.1", Port: 48081, Reason: NumericHost, Method: "GET", Path: "/"}},
		"Host, odd":             {"", "GET / HTTP/1.1\r\nHost: 127.0.0.1:48081\r\n\r\n", 403, Event{Host: "127.0.0.1", Port: 48081, Reason: NumericHost, Method: "GET", Path: "/"}},
		"bare LF":               {"", "DELETE /a HTTP/1.1\nHost: good.example.com\n\n", 400, Event{Host: "good.example.com", Port: 80, Reason: BadRequest, Method: "DELETE", Path: "/a"}},
		"smuggling":             {"", "POST /a HTTP/1.1\r\n" + host + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, Event{Host: "good.example.com", Port: 80, Reason: BadRequest, Method: "POST", Path: "/a"}},
		"no request at all":     {"", "\x01\x02\r\n\r\n", 400, Event{Host: "good.example.com", Port: 80, Reason: BadRequest}},
		"target refused":        {"", "GET http://nope.example/p HTTP/1.1\r\n" + host + "\r\n", 421, Event{Host: "nope.example", Port: 80, Reason: HostMismatch, Method: "GET", Path: "/p"}},
		"Host refused":          {"", "GET http://good.example.com/p HTTP/1.1\r\nHost: nope.example\r\n\r\n", 421, Event{Host: "nope.example", Port: 80, Reason: HostMismatch, Method: "GET", Path: "/p"}},
		"target, proxy":         {"proxy", "GET http://nope.example/p HTTP/1.1\r\n" + host + "\r\n", 421, Event{Host: "nope.example", Port: 80, Reason: HostMismatch, Method: "GET", Path: "/p"}},
		"Host, proxy":           {"proxy", "GET http://good.example.com/p HTTP/1.1\r\nHost: nope.example\r\n\r\n", 421, Event{Host: "nope.example", Port: 80, Reason: HostMismatch, Method: "GET", Path: "/p"}},
		"two good names, proxy": {"proxy", "GET http://good.example.com/p HTTP/1.1\r\nHost: also.example.com\r\n\r\n", 421, Event{Host: "also.example.com", Port: 80, Reason: HostMismatch, Method: "GET", Path: "/p"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJail(t, rules, nil)
			var c *net.TCPConn
			switch tc.at {
			case "proxy":
				c = j.dialAddr(testGateway, proxyPort)
			case "explain":
				c = j.dialAddr(testExplain, 80)
			default:
				c = j.dial("good.example.com", 80)
			}
			res, body := ask(t, c, tc.raw)
			if res.StatusCode != tc.status || res.Header.Get("X-Agentjail-Reason") != string(tc.want.Reason) {
				t.Errorf("%s, reason %q: %s", res.Status, res.Header.Get("X-Agentjail-Reason"), body)
			}
			e := j.wait("deny", func(e Event) bool { return strings.HasSuffix(e.Kind, ".deny") })
			got := Event{Host: e.Host, Port: e.Port, Reason: e.Reason, Method: e.Method, Path: e.Path}
			if tc.want.Host == "" {
				got.Host, got.Path = "", ""
			}
			if got != tc.want {
				t.Errorf("event %+v\nwant  %+v", got, tc.want)
			}
			if port := fmt.Sprintf(":%d", e.Port); strings.Contains(body, port+port) || strings.Contains(body, port+`"`+port) {
				t.Errorf("the port twice: %s", body)
			}
		})
	}
	t.Run("control", func(t *testing.T) {
		j := newJail(t, rules, nil)
		for _, raw := range []string{"GET /%41?%zz HTTP/1.1\r\n" + host + "Expect: 100-Continue\r\n\r\n", "GET http://good.example.com/ HTTP/1.1\r\n" + host + "\r\n"} {
			if res, body := ask(t, j.dial("good.example.com", 80), raw); res.StatusCode != 200 {
				t.Errorf("%s %s", res.Status, body)
			}
		}
		if res, _ := ask(t, j.dial("good.example.com", 80), "HEAD / HTTP/1.1\r\nHost: <nope>\r\n\r\n"); res.StatusCode != 403 {
			t.Error(res.Status)
		}
	})
}

// TestBadAnswers: a server that is reached and does not answer as HTTP has it was reached.
func TestBadAnswers(t *testing.T) {
	for name, reply := range map[string]string{
		"bad status line": "HELLO\r\n\r\n",
		"unasked 101":     "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"nothing":         "",
		"half a head":     "HTTP/1.1 200 OK\r\nX-A: b\r\n",
		"huge head":       "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 300<<10) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			addr := server(t, func(c *net.TCPConn) {
				c.Read(make([]byte, 4096))
				io.WriteString(c, reply)
			})
			j := newJail(t, []Rule{{Host: "good.example.com", Ports: []uint16{80}, Connect: addr, Why: "test"}}, nil)
			res, body := get(t, j.client(), "http://good.example.com/a")
			wantReason(t, res, 502, "bad_response")
			if e := j.waitDeny("bad_response"); e.Host != "good.example.com" || e.Path != "/a" {
				t.Errorf("event: %+v", e)
			}
			if !strings.Contains(body, "good.example.com:80 is allowed") {
				t.Errorf("%s", body)
			}
		})
	}
}

// TestLargeAnswerHeads is the control of the limit: what servers send in earnest passes.
func TestLargeAnswerHeads(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-A", strings.Repeat("a", 200<<10)) }, nil)
	res, err := j.client().Get("http://good.example.com/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 200 || len(res.Header.Get("X-A")) != 200<<10 {
		t.Errorf("%s", res.Status)
	}
}

// TestCutBodyIsTheClients: a client that breaks off its own request is not told of the server's failure.
func TestCutBodyIsTheClients(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }, nil)
	c := j.dial("good.example.com", 80)
	io.WriteString(c, "POST /a HTTP/1.1\r\nHost: good.example.com\r\nContent-Length: 4\r\n\r\nbo")
	c.CloseWrite()
	io.Copy(io.Discard, c)
	j.wait("close", func(e Event) bool { return e.Kind == "net.close" })
	j.door.Close()
	if _, denied := j.door.Report(); len(denied) > 0 && denied[0].Reason != BadRequest {
		t.Errorf("%+v", denied)
	}
}

// TestNoHTTPAtTheExplainingAddress: what no explanation can be read by is recorded as what it was.
func TestNoHTTPAtTheExplainingAddress(t *testing.T) {
	j := newJail(t, []Rule{{Host: "x.example.com", Ports: []uint16{22}, Why: "test"}}, func(c *Config) { c.Limits.Hello = 50 * time.Millisecond })
	c := j.dialAddr(testExplain, 22)
	io.WriteString(c, "SSH-2.0-x\r\n")
	wantReset(t, c)
	if e := j.waitDeny(BadRequest); e.Port != 22 || e.Addr != testExplain.String()+":22" {
		t.Errorf("event: %+v", e)
	}
	wantReset(t, j.dialAddr(testExplain, 22))
	j.waitDeny(Timeout)
}

// TestDNSDenialsAreCounted: names beyond those that are told are in the report, and one event says that there are some.
func TestDNSDenialsAreCounted(t *testing.T) {
	j := newJail(t, nil, nil)
	const n = maxDenied + 500
	for i := range n {
		j.door.dns.Answer(query(t, fmt.Sprintf("h%d.test.", i), dnsmessage.TypeA), true)
	}
	var told, sums int
	for _, e := range j.events {
		if told++; e.Host == others {
			if sums++; e.Kind != "dns.deny" || e.Detail == "" {
				t.Errorf("event: %+v", e)
			}
		}
	}
	var counted int64
	_, denied := j.door.Report()
	for _, d := range denied {
		counted += d.Count
	}
	if told != maxDenied+1 || sums != 1 || counted != n {
		t.Errorf("%d events, %d of the rest; %d counted, want %d", told, sums, counted, n)
	}
	// A host that is called like the row hides nothing of it.
	ask(t, j.dialAddr(testExplain, 80), "GET / HTTP/1.1\r\nHost: *\r\n\r\n")
	counted = 0
	_, denied = j.door.Report()
	for _, d := range denied {
		counted += d.Count
	}
	if counted != n+1 {
		t.Errorf("%d counted, want %d", counted, n+1)
	}
}

// TestEndIsNoRefusal: what the end of the session cuts off was not refused.
func TestEndIsNoRefusal(t *testing.T) {
	hello := helloFor(t, "good.example.com")
	for _, end := range []string{"door", "client"} {
		t.Run(end, func(t *testing.T) {
			addr := server(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
			j := newJail(t, []Rule{{Host: "good.example.com", Ports: []uint16{80, 443, 8443}, Connect: addr, Why: "test"}}, nil)
			conns := []*net.TCPConn{j.dial("good.example.com", 443), j.dial("good.example.com", 8443), j.dial("evil.example.com", 443), j.dial("good.example.com", 443), j.dial("evil.example.com", 443)}
			for _, c := range conns[:3] {
				c.Write(hello[:len(hello)-1])
			}
			half := j.dial("good.example.com", 80)
			io.WriteString(half, "POST / HTTP/1.1\r\nHost: good.example.com\r\nContent-Length: 4\r\n\r\n")
			j.wait("both open", func(Event) bool { return len(j.events) > 1 })
			for late := time.Now().Add(10 * time.Second); j.door.open.open.Load() != int64(len(conns)+1); runtime.Gosched() { // accepting makes no event
				if time.Now().After(late) {
					t.Fatal("not all connections were accepted")
				}
			}
			if end == "client" {
				for _, c := range append(conns, half) {
					c.SetLinger(0)
					c.Close()
				}
				j.wait("closed", func(e Event) bool { return e.Kind == "net.close" })
			}
			j.door.Close()
			if _, denied := j.door.Report(); len(denied) > 0 {
				t.Errorf("%+v", denied)
			}
		})
	}
}
