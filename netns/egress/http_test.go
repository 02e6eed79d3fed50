package egress

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// webJail is a door with one host on port 80, answered by h.
func webJail(t *testing.T, h http.HandlerFunc, change func(*Config)) *jail {
	t.Helper()
	addr := backend(t, h)
	return newJail(t, []Rule{
		{Host: "good.example.com", Ports: []uint16{80}, Connect: addr, Why: "test"},
		{Host: "also.example.com", Ports: []uint16{80}, Connect: addr, Why: "test"},
	}, change)
}

// TestEachRequestIsJudged: the second request of a connection is judged as the first was.
func TestEachRequestIsJudged(t *testing.T) {
	var seen atomic.Int32
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) { seen.Add(1); io.WriteString(w, r.Host) }, nil)
	c := j.dial("good.example.com", 80)
	br := bufio.NewReader(c)
	good := "GET /a HTTP/1.1\r\nHost: good.example.com\r\n\r\n"
	for _, tc := range []struct {
		name, raw string
		status    int
		reason    Reason
	}{
		{"control", good, 200, ""},
		{"case, dot, port", "GET / HTTP/1.1\r\nHost: GOOD.example.com.:80\r\n\r\n", 200, ""},
		{"absolute form", "GET http://good.example.com/ HTTP/1.1\r\nHost: good.example.com\r\n\r\n", 200, ""},
		{"another allowed host", "GET / HTTP/1.1\r\nHost: also.example.com\r\n\r\n", 421, HostMismatch},
		{"control again", good, 200, ""},
		{"another host", "POST / HTTP/1.1\r\nHost: evil.example.com\r\nContent-Length: 2\r\n\r\nhi", 421, HostMismatch},
		{"another port", "GET / HTTP/1.1\r\nHost: good.example.com:8080\r\n\r\n", 421, HostMismatch},
		{"address", "GET / HTTP/1.1\r\nHost: 127.1\r\n\r\n", 403, NumericHost},
		{"IPv6 address", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 403, NumericHost},
		{"absolute form of another", "GET http://evil.example.com/ HTTP/1.1\r\nHost: evil.example.com\r\n\r\n", 421, HostMismatch},
		{"control at the end", good, 200, ""},
	} {
		io.WriteString(c, tc.raw)
		res, body := readAnswer(t, br, tc.raw)
		if res.StatusCode != tc.status || res.Header.Get("X-Agentjail-Reason") != string(tc.reason) {
			t.Errorf("%s: %d %q %q", tc.name, res.StatusCode, res.Header.Get("X-Agentjail-Reason"), body)
		}
		if tc.status == 200 && body != "good.example.com" {
			t.Errorf("%s: the server saw Host %q", tc.name, body)
		}
	}
	if n := seen.Load(); n != 5 {
		t.Errorf("the server saw %d requests, want 5", n)
	}
	e := j.wait("request", func(e Event) bool { return e.Kind == "http.request" })
	if e.Method != "GET" || e.Path != "/a" || e.Status != 200 || e.Host != "good.example.com" {
		t.Errorf("event: %+v", e)
	}
	if e := j.waitDeny(HostMismatch); e.Kind != "http.deny" || e.Host != "also.example.com" || e.Status != 421 {
		t.Errorf("event: %+v", e)
	}
}

// TestPipelinedRefusal: the answer to a request before the refused one arrives, and in order.
func TestPipelinedRefusal(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real") }, nil)
	for _, second := range []string{
		"GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
		"GET / HTTP/1.1\nHost: good.example.com\n\n",
	} {
		c := j.dial("good.example.com", 80)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n"+second)
		br := bufio.NewReader(c)
		if res, body := readAnswer(t, br, "GET"); res.StatusCode != 200 || body != "real" {
			t.Errorf("first: %s %q", res.Status, body)
		}
		if res, body := readAnswer(t, br, "GET"); res.StatusCode < 400 || res.Header.Get("X-Agentjail-Reason") == "" {
			t.Errorf("second: %s %q", res.Status, body)
		}
	}
}

// TestSmuggling: a message that can be read in two ways reaches nobody.
func TestSmuggling(t *testing.T) {
	t.Run("clear", func(t *testing.T) {
		smuggle(t, "https", func(h http.HandlerFunc) func() net.Conn {
			j := webJail(t, h, nil)
			return func() net.Conn { return j.dial("good.example.com", 80) }
		})
	})
	t.Run("TLS", func(t *testing.T) {
		smuggle(t, "http", func(h http.HandlerFunc) func() net.Conn {
			j := inspectJail(t, h, nil)
			return func() net.Conn { return j.tls("good.example.com", 443) }
		})
	})
}

// smuggle tries all of it against a door that open makes; other is a scheme that its connections do not have.
func smuggle(t *testing.T, other string, open func(http.HandlerFunc) (dial func() net.Conn)) {
	var seen atomic.Int32
	dial := open(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if _, err := io.Copy(io.Discard, r.Body); err == nil && r.Header.Get("X-Late") != "" {
			t.Error("a body that broke the rules ended well")
		}
	})
	const get, post, host = "GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "Host: good.example.com\r\n"
	const late = host + "X-Late: 1\r\n"
	for name, raw := range map[string]string{
		"control":         get + host + "\r\n",
		"control, body":   post + host + "Content-Length: 3\r\n\r\nabc",
		"control, chunks": post + host + "Transfer-Encoding: Chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
		"control, 1.0":    "GET / HTTP/1.0\r\n\r\n",
	} {
		if res, body := ask(t, dial(), raw); res.StatusCode != 200 {
			t.Errorf("%s: %s %s", name, res.Status, body)
		}
	}
	if n := seen.Load(); n != 4 {
		t.Fatalf("controls: %d requests seen, want 4", n)
	}
	refused := func(raw string) func(*testing.T) {
		return func(t *testing.T) {
			res, body := ask(t, dial(), raw)
			if res.StatusCode < 400 || res.Header.Get("X-Agentjail-Reason") == "" || !res.Close {
				t.Errorf("%s, reason %q, close %v: %s", res.Status, res.Header.Get("X-Agentjail-Reason"), res.Close, body)
			}
		}
	}
	for name, raw := range map[string]string{
		"CL and TE":                post + host + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE and CL":                post + host + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"two CL":                   post + host + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
		"two equal CL":             post + host + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"CL list":                  post + host + "Content-Length: 3, 3\r\n\r\nabc",
		"CL plus":                  post + host + "Content-Length: +3\r\n\r\nabc",
		"CL negative":              post + host + "Content-Length: -3\r\n\r\nabc",
		"CL hex":                   post + host + "Content-Length: 0x3\r\n\r\nabc",
		"CL empty":                 post + host + "Content-Length:\r\n\r\nabc",
		"CL huge":                  post + host + "Content-Length: 99999999999999999999\r\n\r\nabc",
		"TE twice":                 post + host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"TE identity":              post + host + "Transfer-Encoding: identity\r\n\r\n",
		"TE list":                  post + host + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"TE folded":                post + host + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"TE vertical tab":          post + host + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
		"TE space before colon":    post + host + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"TE in 1.0":                "POST / HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"no Host":                  get + "\r\n",
		"two Hosts":                get + host + "Host: evil.example.com\r\n\r\n",
		"two equal Hosts":          get + host + host + "\r\n",
		"folded Host":              get + "Host: good.example.com\r\n evil\r\n\r\n",
		"folded field":             get + host + "X-A: b\r\n\tc\r\n\r\n",
		"leading white space":      get + " X: y\r\n" + host + "\r\n",
		"bare LF":                  "GET / HTTP/1.1\nHost: good.example.com\n\n",
		"one bare LF":              get + "X-A: b\n" + host + "\r\n",
		"bare CR":                  get + "X-A: b\rX-B: c\r\n" + host + "\r\n",
		"NUL":                      get + "X-A: b\x00\r\n" + host + "\r\n",
		"no colon":                 get + host + "X-A\r\n\r\n",
		"empty line first":         "\r\n" + get + host + "\r\n",
		"two spaces":               "GET  / HTTP/1.1\r\n" + host + "\r\n",
		"tab for space":            "GET\t/\tHTTP/1.1\r\n" + host + "\r\n",
		"HTTP/0.9":                 "GET /\r\n\r\n",
		"HTTP/2.0":                 "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"HTTP/1.2":                 "GET / HTTP/1.2\r\n" + host + "\r\n",
		"not ASCII":                "GET /\xff HTTP/1.1\r\n" + host + "\r\n",
		"star":                     "GET * HTTP/1.1\r\n" + host + "\r\n",
		"CONNECT":                  "CONNECT good.example.com:80 HTTP/1.1\r\n" + host + "\r\n",
		"absolute form, scheme":    "GET " + other + "://good.example.com/ HTTP/1.1\r\n" + host + "\r\n",
		"absolute form, opaque":    "GET http:good.example.com HTTP/1.1\r\n" + host + "\r\n",
		"absolute form, disagrees": "GET http://good.example.com/ HTTP/1.1\r\nHost: evil.example.com\r\n\r\n",
		"absolute form, user":      "GET http://good.example.com@evil.example.com/ HTTP/1.1\r\n" + host + "\r\n",
		"head too long":            get + host + "X-A: " + strings.Repeat("a", maxHead) + "\r\n\r\n",
	} {
		t.Run(name, refused(raw))
	}
	if n := seen.Load(); n != 4 {
		t.Errorf("%d refused requests reached the server", n-4)
	}
	if _, body := ask(t, dial(), get+host+"X-A: "+strings.Repeat("a", maxHead)+"\r\n\r\n"); !strings.Contains(body, "its request head may have 65536 bytes") {
		t.Errorf("a head too long is told: %s", body)
	}
	// Bodies that break the rules late: the server may have seen the request begin, and never its end.
	for name, raw := range map[string]string{
		"chunk size":       post + late + "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
		"chunk size space": post + late + "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
		"chunk line LF":    post + late + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
		"chunk end LF":     post + late + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n",
		"chunk too long":   post + late + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
		"chunk overflow":   post + late + "Transfer-Encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\n",
		"trailer LF":       post + late + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\n\n",
		"trailer Host":     post + late + "Transfer-Encoding: chunked\r\n\r\n0\r\nHost: evil.example.com\r\n\r\n",
	} {
		t.Run(name, refused(raw))
	}
}

// TestRequestIsPassedOnAsItCame: nothing is added, nothing but hop-by-hop fields is taken.
func TestRequestIsPassedOnAsItCame(t *testing.T) {
	got := make(chan *http.Request, 1)
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r
		w.Header()["Date"] = nil
		w.Header()["Content-Type"] = nil
		w.Header().Set("X-Real", "1")
		io.WriteString(w, "<html>")
	}, nil)
	for _, method := range []string{"GET", "PURGE"} { // a read and another have ways of their own
		for _, upgrade := range []string{"", "Upgrade: h2c\r\n"} {
			raw := method + " /a%2Fb//../c?x=1;y=%zz&z HTTP/1.1\r\nHost: good.example.com\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: X-Hop, Upgrade, HTTP2-Settings\r\nX-Hop: 1\r\n" +
				"TE: gzip, trailers\r\nProxy-Authorization: Basic eA==\r\n" + upgrade + "HTTP2-Settings: AAMAAABk\r\n\r\n"
			res, body := ask(t, j.dial("good.example.com", 80), raw)
			if body != "<html>" || res.Header.Get("X-Real") != "1" || res.Header["Content-Type"] != nil || res.Header["Date"] != nil {
				t.Errorf("answer: %q %v", body, res.Header)
			}
			r := <-got
			if r.Method != method || r.RequestURI != "/a%2Fb//../c?x=1;y=%zz&z" || r.Host != "good.example.com" {
				t.Errorf("%s, target %q, Host %q", r.Method, r.RequestURI, r.Host)
			}
			if want := (http.Header{"X-Forwarded-For": {"1.2.3.4"}, "Te": {"trailers"}}); fmt.Sprint(r.Header) != fmt.Sprint(want) {
				t.Errorf("%s: header %v, want %v", method, r.Header, want)
			}
		}
	}
}

func TestOptionsStar(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Target", r.RequestURI) }, nil)
	res, _ := ask(t, j.dial("good.example.com", 80), "OPTIONS * HTTP/1.1\r\nHost: good.example.com\r\n\r\n")
	if res.StatusCode != 200 { // Go's own server answers it; ours must not
		t.Errorf("%s", res.Status)
	}
	j.wait("open", func(e Event) bool { return e.Kind == "net.open" })
}

func TestServerSentEvents(t *testing.T) {
	next := make(chan struct{})
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for i := range 3 {
			<-next
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	}, nil)
	res, err := j.client().Get("http://good.example.com/")
	if err != nil { // the head arrives before any event is sent
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 100)
	for i := range 3 {
		next <- struct{}{} // the next event is not made before the last was read
		n, err := res.Body.Read(buf)
		if want := fmt.Sprintf("data: %d\n\n", i); string(buf[:n]) != want || err != nil && err != io.EOF {
			t.Fatalf("read %q, %v; want %q", buf[:n], err, want)
		}
	}
}

// TestShortAnswerInOnePiece: head and body of an answer whose length is known are one segment.
func TestShortAnswerInOnePiece(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "short") }, nil)
	c := j.dial("good.example.com", 80)
	br := bufio.NewReader(c)
	const times = 60
	for range times {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n")
		if res, body := readAnswer(t, br, "GET /"); res.StatusCode != 200 || body != "short" {
			t.Fatalf("%d %q", res.StatusCode, body)
		}
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Error(err)
		} else if n := info.Data_segs_in; n > times {
			t.Errorf("%d answers came in %d segments", times, n)
		}
	})
}

// TestSlowBodyOfKnownLength: what there is of an answer is passed on, whatever is still to come.
func TestSlowBodyOfKnownLength(t *testing.T) {
	next := make(chan struct{})
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		w.(http.Flusher).Flush()
		for range 3 {
			<-next
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
		}
	}, nil)
	res, err := j.client().Get("http://good.example.com/")
	if err != nil { // the head arrives before any of the body is sent
		t.Fatal(err)
	}
	defer res.Body.Close()
	for range 3 {
		next <- struct{}{}
		if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestBrokenOffForHTTP10: where the end of the connection is the end of the answer, one that breaks off must not end well.
func TestBrokenOffForHTTP10(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "part")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, nil)
	c := j.dial("good.example.com", 80)
	io.WriteString(c, "GET / HTTP/1.0\r\nHost: good.example.com\r\n\r\n")
	if b, err := io.ReadAll(c); err == nil || !strings.HasSuffix(string(b), "part") {
		t.Errorf("%q, %v; want what there was, and an error", b, err)
	}
}

// TestAnswerAfterInformation: what the server did not say is not said behind a 103 either, and a client of HTTP/1.0 gets no 103.
func TestAnswerAfterInformation(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
		io.WriteString(w, "real")
	}, nil)
	for _, version := range []string{"1.1", "1.0"} {
		c := j.dial("good.example.com", 80)
		io.WriteString(c, "GET / HTTP/"+version+"\r\nHost: good.example.com\r\nConnection: close\r\n\r\n")
		b, err := io.ReadAll(c)
		got := string(b)
		if err != nil || !strings.HasSuffix(got, "real") || strings.Contains(got, "Date:") || strings.Contains(got, "Content-Type:") ||
			strings.Contains(got, " 103 ") != (version == "1.1") {
			t.Errorf("HTTP/%s: %q, %v", version, got, err)
		}
	}
}

// TestConnectionsAreKept: as many as its clients keep.
func TestConnectionsAreKept(t *testing.T) {
	const clients, times = 40, 5
	var here sync.WaitGroup
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		here.Done()
		here.Wait() // all at once
		io.WriteString(w, "real")
	}, nil)
	var conns []*net.TCPConn
	for range clients {
		conns = append(conns, j.dial("good.example.com", 80))
	}
	for range times {
		here.Add(clients)
		for _, c := range conns {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n")
		}
		for _, c := range conns {
			if res, body := readAnswer(t, bufio.NewReader(c), "GET /"); res.StatusCode != 200 || body != "real" {
				t.Fatalf("%d %q", res.StatusCode, body)
			}
		}
	}
	if n := j.opened(); n > clients*3/2 {
		t.Errorf("%d connections to the server for %d clients", n, clients)
	}
}

// webSocket is a server that says hello on an upgraded connection, then what it hears, and bye at its end.
func webSocket(t *testing.T) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Connection") != "Upgrade" {
			http.Error(w, "no upgrade", 400)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
		io.Copy(c, rw)
		io.WriteString(c, "bye")
	}
}

// TestWebSocket holds that an upgraded connection carries bytes both ways and half-closes.
func TestWebSocket(t *testing.T) {
	j := webJail(t, webSocket(t), nil)
	c := j.dial("good.example.com", 80)
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: good.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n")
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != 101 {
		t.Fatalf("%v %v", res, err)
	}
	want := "hello\x00GET / HTTP/1.1\nHost: evil.example.com\n\n" // no HTTP any more: nothing is judged
	io.WriteString(c, want[len("hello"):])
	buf := make([]byte, len(want))
	if _, err := io.ReadFull(br, buf); err != nil || string(buf) != want {
		t.Errorf("%q, %v; want %q", buf, err, want)
	}
	c.CloseWrite()
	if rest, err := io.ReadAll(br); err != nil || string(rest) != "bye" {
		t.Errorf("after half-close: %q, %v", rest, err)
	}
	if e := j.wait("request", func(e Event) bool { return e.Kind == "http.request" }); e.Status != 101 {
		t.Errorf("event: %+v", e)
	}
}

func TestTrailersAndInformation(t *testing.T) {
	got := make(chan http.Header, 1)
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		io.Copy(io.Discard, r.Body) // answers 100 to Expect
		got <- r.Trailer
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(200)
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "43")
	}, nil)
	pr, pw := io.Pipe()
	req, err := http.NewRequest("POST", "http://good.example.com/", pr)
	if err != nil {
		t.Fatal(err)
	}
	req.Trailer = http.Header{"X-Up": nil}
	req.Header.Set("Expect", "100-continue")
	go func() {
		io.WriteString(pw, "body")
		req.Trailer.Set("X-Up", "7")
		pw.Close()
	}()
	var informed []int
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error { informed = append(informed, code); return nil },
	}))
	c := j.client()
	c.Transport.(*http.Transport).ExpectContinueTimeout = patience
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || string(body) != "body" {
		t.Errorf("%q, %v", body, err)
	}
	if res.Trailer.Get("X-Sum") != "42" || res.Trailer.Get("X-Late") != "43" {
		t.Errorf("trailers of the answer: %v", res.Trailer)
	}
	if up := <-got; up.Get("X-Up") != "7" {
		t.Errorf("trailers of the request: %v", up)
	}
	if !slices.Equal(informed, []int{103, 100}) {
		t.Errorf("informational answers: %v", informed)
	}
}

// TestOneContinue: a client that waits with its body is told once to go on, however often the server says so, and one that does not wait
// hears what the server says.
func TestOneContinue(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			w.WriteHeader(100)
		}
		_, _ = io.Copy(w, r.Body)
	}, nil)
	for expect, want := range map[string]string{"Expect: 100-continue\r\n": "100 200", "": "100 100 100 200"} {
		c := j.dial("good.example.com", 80)
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: good.example.com\r\n"+expect+"Content-Length: 4\r\n\r\n")
		br := bufio.NewReader(c)
		var got []string
		for len(got) == 0 || got[len(got)-1] == "100" {
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("after %q: %v", got, err)
			}
			if got = append(got, strconv.Itoa(res.StatusCode)); len(got) == 1 {
				io.WriteString(c, "body")
			}
			if res.StatusCode == 200 {
				if body, err := io.ReadAll(res.Body); err != nil || string(body) != "body" {
					t.Errorf("%q, %v", body, err)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: answers %q; want %s", expect, got, want)
		}
	}
}

// TestBothDirectionsAtOnce: a server may answer while the request still runs.
func TestBothDirectionsAtOnce(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		io.Copy(flushing{w}, r.Body)
	}, nil)
	pr, pw := io.Pipe()
	defer pw.Close()
	c := j.client()
	c.Timeout = patience
	res, err := c.Post("http://good.example.com/", "", pr)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	buf := make([]byte, 4)
	for _, word := range []string{"ping", "pong"} {
		io.WriteString(pw, word)
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != word {
			t.Fatalf("%q, %v; want %q", buf, err, word)
		}
	}
}

type flushing struct{ http.ResponseWriter }

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.ResponseWriter.Write(p)
	f.ResponseWriter.(http.Flusher).Flush()
	return n, err
}

// TestSlowHead: a head that comes slowly has its time, whatever the time between two requests is and how often some of it comes.
func TestSlowHead(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {}, func(c *Config) {
		c.Limits.Header, c.Limits.Idle = 300*time.Millisecond, time.Hour
	})
	const good = "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n"
	answered := func() net.Conn {
		c := j.dial("good.example.com", 80)
		if res, _ := ask(t, c, good); res.StatusCode != 200 {
			t.Errorf("control: %s", res.Status)
		}
		return c
	}
	for name, c := range map[string]net.Conn{"first head": j.dial("good.example.com", 80), "second head": answered()} {
		go func() {
			slowly := time.NewTicker(20 * time.Millisecond)
			defer slowly.Stop()
			for i := range good {
				if _, err := io.WriteString(c, good[i:i+1]); err != nil {
					return
				}
				<-slowly.C
			}
		}()
		if b, err := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	c := answered()
	io.WriteString(c, good[:len(good)-1])
	if b, _ := io.ReadAll(c); len(b) > 0 {
		t.Errorf("half of a second head: %q", b)
	}
}

// TestIdleConnection: one on which nothing more is asked ends.
func TestIdleConnection(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {}, func(c *Config) {
		c.Limits.Header, c.Limits.Idle = time.Hour, 50*time.Millisecond
	})
	c := j.dial("good.example.com", 80)
	br := bufio.NewReader(c)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n")
	readAnswer(t, br, "GET /")
	if _, err := br.ReadByte(); err != io.EOF {
		t.Error(err)
	}
}
