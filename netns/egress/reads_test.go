package egress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
)

// TestReadsOnOneGoroutine: a read is served, sent and answered on the goroutine of its connection, and nobody else waits for its client.
// What has a body is http.Server's, and so is all behind it.
func TestReadsOnOneGoroutine(t *testing.T) {
	var stacks bytes.Buffer
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		stacks.Reset()
		pprof.Lookup("goroutine").WriteTo(&stacks, 2)
		io.WriteString(w, "real")
	}, nil)
	c := j.dial("good.example.com", 80)
	br := bufio.NewReader(c)
	for i, way := range []struct {
		raw  string
		read bool
	}{
		{"GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n", true},
		{"OPTIONS / HTTP/1.1\r\nHost: good.example.com\r\n\r\n", true},
		{"POST / HTTP/1.1\r\nHost: good.example.com\r\nContent-Length: 1\r\n\r\nx", false},
		{"GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n", false},
	} {
		io.WriteString(c, way.raw)
		if res, body := readAnswer(t, br, way.raw); res.StatusCode != 200 || body != "real" {
			t.Fatalf("%d %q", res.StatusCode, body)
		}
		served, asked := 0, 0
		for stack := range strings.SplitSeq(stacks.String(), "\n\n") {
			if strings.Contains(stack, ".(*reader).serve(") {
				served++
				if strings.Contains(stack, ".(*link).ask(") {
					asked++
				}
			}
		}
		if n := map[bool]int{true: 1}[way.read]; served != n || asked != n {
			t.Errorf("request %d: %d served, %d asked on the same goroutine", i+1, served, asked)
		}
	}
}

// TestReadsAndOthersInOneGo: all that a client says at once is answered in its order, whoever answers.
func TestReadsAndOthersInOneGo(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, body)
	}, nil)
	const host = " HTTP/1.1\r\nHost: good.example.com\r\n"
	for _, first := range []string{"GET /1" + host + "\r\n", "HEAD /1" + host + "\r\n", "POST /1" + host + "Content-Length: 1\r\n\r\nx"} {
		raws := []string{first, "GET /2" + host + "\r\n", "HEAD /3" + host + "\r\n", "POST /4" + host + "Transfer-Encoding: chunked\r\n\r\n1\r\ny\r\n0\r\n\r\n",
			"GET /5" + host + "Content-Length: 1\r\n\r\nz", "GET /6" + host + "Connection: close\r\n\r\n"}
		for _, piece := range []int{1 << 20, 7} {
			c := j.dial("good.example.com", 80)
			all := strings.Join(raws, "")
			go func() {
				for len(all) > 0 {
					n := min(piece, len(all))
					io.WriteString(c, all[:n])
					all = all[n:]
				}
			}()
			br := bufio.NewReader(c)
			for i, raw := range raws {
				method, _, _ := strings.Cut(raw, " ")
				want := fmt.Sprintf("%s /%d %s", method, i+1, map[int]string{3: "y", 4: "z"}[i])
				if i == 0 && method == "POST" {
					want += "x"
				}
				if method == "HEAD" {
					want = ""
				}
				if res, body := readAnswer(t, br, raw); res.StatusCode != 200 || body != want {
					t.Errorf("answer %d: %d %q, want %q", i+1, res.StatusCode, body, want)
				}
			}
			if n, err := br.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("behind the last: %d, %v", n, err)
			}
		}
	}
}

// TestRefusedReadEndsItsConnection where what follows may be meant for somebody else.
func TestRefusedReadEndsItsConnection(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real") }, nil)
	c := j.tls("good.example.com", 443, "http/1.1")
	const good = "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n"
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: good.example.com\r\nConnection: X\r\nX: 1\r\n\r\n"+good)
	br := bufio.NewReader(c)
	res, _ := readAnswer(t, br, good)
	wantReason(t, res, 400, BadRequest)
	if n, err := br.Read(make([]byte, 1)); !res.Close || err != io.EOF {
		t.Errorf("close %v, then %d, %v", res.Close, n, err)
	}
}

// TestResponseKeepsItsLength: nothing goes out behind the length that was said, less of it is the connection's last answer, and what is
// no length is not said.
func TestResponseKeepsItsLength(t *testing.T) {
	for _, c := range []struct {
		length, body, want string
		last               bool
	}{
		{"4", "real", "Content-Length: 4\r\n\r\nreal", false},
		{"4", "reals", "Content-Length: 4\r\n\r\n", true},
		{"4", "rea", "Content-Length: 4\r\n\r\nrea", true},
		{"four", "real", "Transfer-Encoding: chunked\r\n\r\n4\r\nreal\r\n0\r\n\r\n", false},
	} {
		var out bytes.Buffer
		a := &response{out: bufio.NewWriter(&out), header: http.Header{"Content-Length": {c.length}}}
		n, err := io.WriteString(a, c.body)
		if err := a.finish(); err != nil {
			t.Error(err)
		}
		if long := len(c.body) > 4; long != errors.Is(err, http.ErrContentLength) || long == (n == len(c.body)) {
			t.Errorf("%+v: wrote %d, %v", c, n, err)
		}
		if _, got, _ := strings.Cut(out.String(), "\r\n"); got != c.want || a.last != c.last {
			t.Errorf("%+v: %q, last %v", c, got, a.last)
		}
	}
}

// TestRefusedHeadHasNoBody, which would be taken for the beginning of the next answer.
func TestRefusedHeadHasNoBody(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real") }, func(r *Rule) { r.Methods = []string{"GET"} })
	c := j.tls("good.example.com", 443, "http/1.1")
	br := bufio.NewReader(c)
	for i, raw := range []string{"HEAD / HTTP/1.1\r\nHost: good.example.com\r\n\r\n", "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n"} {
		io.WriteString(c, raw)
		if res, body := readAnswer(t, br, raw); i == 0 {
			wantReason(t, res, 403, Method)
		} else if res.StatusCode != 200 || body != "real" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	}
}

// TestInformationComesAtOnce, and not with the answer.
func TestInformationComesAtOnce(t *testing.T) {
	heard := make(chan struct{})
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		<-heard
	}, nil)
	c := j.dial("good.example.com", 80)
	br := bufio.NewReader(c)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n")
	for _, want := range []int{http.StatusEarlyHints, http.StatusOK} {
		if res, _ := readAnswer(t, br, "GET /"); res.StatusCode != want {
			t.Errorf("%d, want %d", res.StatusCode, want)
		}
		if want == http.StatusEarlyHints {
			close(heard)
		}
	}
}

// answersOfServers are what real servers say, and what becomes of it.
var answersOfServers = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal",
	"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.1 200\r\nContent-Length: 4\r\nContent-Type: text/html\r\nDate: now\r\nX: 1\r\nX: 2\r\n\r\nreal",
	"HTTP/1.1 299 Whatever\r\nContent-Length: 4\r\n\r\nreal",
	"HTTP/1.1 599 \r\nContent-Length: 4\r\n\r\nreal",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nreal\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nre\r\n2\r\nal\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nreal\r\n0\r\nX-Sum: 7\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-More\r\nX-Sum: 6\r\n\r\n4\r\nreal\r\n0\r\nX-Sum: 7\r\nX-More: 1\r\nX-More: 2\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nreal\r\n0\r\nX-Sum: 7\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nreal\r\n0\r\nX-Other: 7\r\nX-Sum: 8\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nreal\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\r\n4\r\nreal\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nreal",
	"HTTP/1.0 200 OK\r\n\r\nreal",
	"HTTP/1.0 200 OK\r\nContent-Length: 4\r\nConnection: keep-alive\r\n\r\nreal",
	"HTTP/1.1 204 No Content\r\n\r\n",
	"HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\nEtag: \"x\"\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
	"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: 1\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nreal",
	"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nreal",
	"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nreal",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nreal\r\nzz\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nreal",
	"HTTP/1.1 042 What\r\nContent-Length: 4\r\n\r\nreal",
	"HTTP/1.1 1000 What\r\n\r\n",
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
	"hello",
	"",
	"HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("x", 9000) + "\r\nContent-Length: 40000\r\n\r\n" + strings.Repeat("real", 10000),
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9c40\r\n" + strings.Repeat("real", 10000) + "\r\n0\r\n\r\n",
}

// TestReadsAreAnsweredAsOthers: what a client gets by GET from a server is what it gets by a method that is no read and goes through http.Server,
// ReverseProxy and http.Transport.
func TestReadsAreAnsweredAsOthers(t *testing.T) {
	keptWays(t, func(t *testing.T, way int) {
		for _, raw := range answersOfServers {
			client := func() net.Conn {
				m := newMisbehaving(t, ways[way].alpn, func(c net.Conn) { io.WriteString(c, raw) })
				j := chaosJail(t, m, ways[way].tls, nil) // in which no connection is kept yet
				if ways[way].tls == "inspect" {
					return j.tls("good.example.com", 443, "http/1.1")
				}
				return j.dial("good.example.com", 80)
			}
			versions := []string{"HTTP/1.1", "HTTP/1.0", "HTTP/1.0\r\nConnection: keep-alive"}
			if ways[way].tls != "" {
				versions = versions[:1] // TLS makes no difference to the others
			}
			for _, version := range versions {
				got, want := tellAnswer(client(), "GET", version), tellAnswer(client(), "PURGE", version)
				if strings.Contains(raw, " 042 ") { // http.Server panics
					want = got
					if !strings.Contains(got, " 502 ") {
						t.Errorf("%q: %s", raw, got)
					}
				}
				if got != want {
					t.Errorf("%s, %.200q:\ngot  %.600s\nwant %.600s", version, raw, got, want)
				}
			}
		}
	})
}

// tellAnswer asks on a connection and tells all that a client sees.
func tellAnswer(c net.Conn, method, version string) string {
	raw := method + " / " + version + "\r\nHost: good.example.com\r\n\r\n"
	var said strings.Builder
	io.WriteString(c, raw)
	br := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			fmt.Fprint(&said, "no answer: ", err)
			return said.String()
		}
		announced := fmt.Sprint(res.Trailer)
		body, err := io.ReadAll(res.Body)
		if res.StatusCode >= 200 {
			delete(res.Header, "Content-Length") // http.Server counts what is short
		}
		if !res.ProtoAtLeast(1, 1) { // whether it is kept depends on how soon http.Server sees the end of the body
			res.Close = true
			delete(res.Header, "Connection")
			delete(res.Header, "Trailer") // a field as any other, in the order of a map
		}
		fmt.Fprintf(&said, "%s %d %v announced %s body %q trailer %v close %v, %v\n", res.Proto, res.StatusCode, res.Header, announced, body, res.Trailer, res.Close, bare(err))
		if res.StatusCode < 200 {
			continue
		}
		if err == nil && !res.Close {
			io.WriteString(c, raw)
		}
		if res.ProtoAtLeast(1, 1) {
			if _, err = br.ReadByte(); err != nil { // else it is any answer
				fmt.Fprint(&said, "then ", bare(err))
			}
		}
		return said.String()
	}
}

// bare gives an error without the addresses of its connection.
func bare(err error) error {
	if of := (*net.OpError)(nil); errors.As(err, &of) {
		return of.Err
	}
	return err
}

// TestReadStaysCheap: what the door makes for a read and throws away. It was 5.8 kB in 73 pieces when the bounds were set, and 11.7 kB in 91 behind http.Server
// and ReverseProxy.
func TestReadStaysCheap(t *testing.T) {
	const times, head = 2000, "GET / HTTP/1.1\r\nHost: good.example.com\r\nAccept: */*\r\nUser-Agent: curl/8\r\n\r\n"
	answers := func(c net.Conn) {
		for buf := make([]byte, 4096); ; {
			if n, _ := c.Read(buf); n == 0 {
				return
			}
			c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Type: text/plain\r\n\r\nreal"))
		}
	}
	addr := server(t, func(c *net.TCPConn) { answers(c) })
	j := newJail(t, []Rule{{Host: "good.example.com", Ports: []uint16{80}, Connect: addr, Why: "test", Methods: []string{"GET"}}}, func(c *Config) {
		c.Event = func(Event) {}
	})
	c := j.dial("good.example.com", 80)
	buf := make([]byte, 4096)
	ask := func() {
		io.WriteString(c, head)
		if n, err := c.Read(buf); err != nil || !bytes.HasSuffix(buf[:n], []byte("real")) {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
	ask()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		ask()
	}
	runtime.ReadMemStats(&after)
	size, pieces := float64(after.TotalAlloc-before.TotalAlloc)/times, float64(after.Mallocs-before.Mallocs)/times
	t.Logf("%.0f bytes in %.0f pieces", size, pieces)
	if size > 7500 || pieces > 85 {
		t.Errorf("a read makes %.0f bytes in %.0f pieces, want at most 7500 in 85", size, pieces)
	}
}

// TestAnswersWithoutABody by many clients at once: the connection of such an answer serves the next request before it is passed on.
func TestAnswersWithoutABody(t *testing.T) {
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Path", r.URL.Path) }, nil)
	var all sync.WaitGroup
	for client := range 8 {
		c := j.dial("good.example.com", 80)
		all.Go(func() {
			br := bufio.NewReader(c)
			for i := range 100 {
				path := fmt.Sprintf("/%d/%d", client, i)
				io.WriteString(c, "HEAD "+path+" HTTP/1.1\r\nHost: good.example.com\r\n\r\n")
				res, err := http.ReadResponse(br, &http.Request{Method: "HEAD"})
				if err != nil || res.StatusCode != 200 || res.Header.Get("X-Path") != path {
					t.Errorf("%s: %+v, %v", path, res, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestWebSocketBehindReads: http.Server takes the connection over, and gives it away.
func TestWebSocketBehindReads(t *testing.T) {
	j := webJail(t, webSocket(t), nil)
	c := j.dial("good.example.com", 80)
	br := bufio.NewReader(c)
	const get = "GET / HTTP/1.1\r\nHost: good.example.com\r\n"
	for range 2 {
		io.WriteString(c, get+"\r\n")
		if res, body := readAnswer(t, br, get); res.StatusCode != 400 || body != "no upgrade\n" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	}
	io.WriteString(c, get+"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nping")
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%+v, %v", res, err)
	}
	c.CloseWrite()
	if all, err := io.ReadAll(br); err != nil || string(all) != "hellopingbye" {
		t.Errorf("%q, %v", all, err)
	}
}
