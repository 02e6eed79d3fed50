package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestInspectStreams(t *testing.T) {
	next := make(chan struct{})
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for i := range 3 {
			<-next
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	}, nil)
	bothVersions(t, func(t *testing.T, version int) {
		res, err := j.over(version).Get("https://good.example.com/")
		if err != nil { // the head arrives before any event is sent
			t.Fatal(err)
		}
		defer res.Body.Close()
		buf := make([]byte, 100)
		for i := range 3 {
			next <- struct{}{}
			n, err := res.Body.Read(buf)
			if want := fmt.Sprintf("data: %d\n\n", i); string(buf[:n]) != want || err != nil && err != io.EOF {
				t.Fatalf("read %q, %v; want %q", buf[:n], err, want)
			}
		}
	})
}

// TestInspectBothDirections is how gRPC streams: each side answers the other while both go on, and the status is a trailer.
func TestInspectBothDirections(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Te") != "trailers" {
			t.Errorf("Te: %q", r.Header["Te"])
		}
		http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		io.Copy(flushing{w}, r.Body)
		w.Header().Set("Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", "done")
	}, nil)
	bothVersions(t, func(t *testing.T, version int) {
		pr, pw := io.Pipe()
		req, err := http.NewRequest("POST", "https://good.example.com/pkg.Service/Method", pr)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Te", "trailers")
		res, err := j.over(version).Do(req)
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
		pw.Close()
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
		if res.Trailer.Get("Grpc-Status") != "0" || res.Trailer.Get("Grpc-Message") != "done" {
			t.Errorf("trailers: %v", res.Trailer)
		}
	})
}

func TestInspectTrailersAndInformation(t *testing.T) {
	got := make(chan http.Header, 1)
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // answers 100 to Expect; after a 103 net/http would no longer, in HTTP/2
		w.Header().Set("Link", "</a.css>")
		w.WriteHeader(103)
		got <- r.Trailer
		io.WriteString(w, "body")
	}, nil)
	bothVersions(t, func(t *testing.T, version int) {
		pr, pw := io.Pipe()
		req, err := http.NewRequest("POST", "https://good.example.com/", pr)
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
		c := j.over(version)
		c.Transport.(*http.Transport).ExpectContinueTimeout = patience
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "body" {
			t.Errorf("%q, %v", body, err)
		}
		if up := <-got; up.Get("X-Up") != "7" {
			t.Errorf("trailers of the request: %v", up)
		}
		if !slices.Equal(informed, []int{100, 103}) {
			t.Errorf("informational answers: %v", informed)
		}
	})
}

func TestInspectWebSocket(t *testing.T) {
	const upgrade = " /ws HTTP/1.1\r\nHost: good.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
	t.Run("allowed", func(t *testing.T) {
		j := inspectJail(t, webSocket(t), func(r *Rule) { r.Methods = []string{"GET"} })
		c := j.tls("good.example.com", 443)
		io.WriteString(c, "GET"+upgrade)
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
	})
	t.Run("method", func(t *testing.T) {
		j := inspectJail(t, webSocket(t), func(r *Rule) { r.Methods = []string{"POST"} })
		res, _ := ask(t, j.tls("good.example.com", 443), "GET"+upgrade)
		wantReason(t, res, 403, Method)
		res, _ = ask(t, j.tls("good.example.com", 443), "POST"+upgrade) // no upgrade behind another method
		if res.StatusCode != 400 || res.Header.Get("X-Agentjail-Reason") != "" {
			t.Errorf("POST: %s", res.Status)
		}
	})
	t.Run("size", func(t *testing.T) {
		j := inspectJail(t, webSocket(t), func(r *Rule) { r.MaxRequest = 100 })
		c := j.tls("good.example.com", 443)
		io.WriteString(c, "GET"+upgrade)
		br := bufio.NewReader(c)
		if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 101 {
			t.Fatalf("%v %v", res, err)
		}
		io.WriteString(c, strings.Repeat("a", 100))
		if _, err := io.ReadFull(br, make([]byte, 105)); err != nil {
			t.Errorf("control: %v", err)
		}
		io.WriteString(c, "b")
		if rest, _ := io.ReadAll(br); strings.Contains(string(rest), "b") {
			t.Errorf("after the bound: %q", rest)
		}
		j.waitDeny(Size)
	})
}

// TestInspectOddities are the corners of HTTP/1 inside TLS.
func TestInspectOddities(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			http.Error(w, "early", http.StatusTeapot)
			return
		}
		io.Copy(io.Discard, r.Body)
		w.Header().Set("X-Method", r.Method)
		io.WriteString(w, "real")
	}, nil)
	br := func(raw string) (*http.Response, string) { return ask(t, j.tls("good.example.com", 443), raw) }
	if res, body := br("GET / HTTP/1.0\r\n\r\n"); res.StatusCode != 200 || body != "real" {
		t.Errorf("HTTP/1.0: %s %q", res.Status, body)
	}
	if res, body := br("HEAD / HTTP/1.1\r\nHost: good.example.com\r\n\r\n"); res.StatusCode != 200 || body != "" || res.Header.Get("X-Method") != "HEAD" || res.ContentLength != 4 {
		t.Errorf("HEAD: %s %q %v", res.Status, body, res.Header)
	}
	if res, _ := br("POST /early HTTP/1.1\r\nHost: good.example.com\r\nContent-Length: 1000000\r\n\r\nx"); res.StatusCode != 418 {
		t.Errorf("early answer: %s", res.Status)
	}
	if res, _ := br("GET https://good.example.com/ HTTP/1.1\r\nHost: good.example.com\r\n\r\n"); res.StatusCode != 200 {
		t.Errorf("absolute form: %s", res.Status)
	}
	if res, _ := br("GET http://good.example.com/ HTTP/1.1\r\nHost: good.example.com\r\n\r\n"); res.StatusCode != 400 {
		t.Errorf("absolute form of another scheme: %s", res.Status)
	}
	c := j.tls("good.example.com", 443)
	r := bufio.NewReader(c)
	for range 3 { // keep-alive
		raw := "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n"
		io.WriteString(c, raw)
		if res, _ := readAnswer(t, r, raw); res.StatusCode != 200 {
			t.Errorf("%s", res.Status)
		}
	}
}

// TestInspectEndsWithTLS: the end of an answer is told from a cut by close_notify, whoever serves it.
func TestInspectEndsWithTLS(t *testing.T) {
	const recordAlert = 21 // RFC 5246 section 6.2.1
	addr, ca := tlsBackend(t, "good.example.com", func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "real")
		if r.URL.Path == "/broken" {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	})
	rule := Rule{Host: "good.example.com", Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"}
	j := newJail(t, []Rule{rule}, func(c *Config) { c.Limits.Idle = 50 * time.Millisecond })
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(j.ca.PEM())
	for _, raw := range []string{
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: good.example.com\r\nConnection: close\r\n\r\n",
		"GET /idle HTTP/1.1\r\nHost: good.example.com\r\n\r\n",
		"GET /broken HTTP/1.1\r\nHost: good.example.com\r\n\r\n",
	} {
		heard := &tap{Conn: j.dial("good.example.com", 443)}
		c := tls.Client(heard, &tls.Config{ServerName: "good.example.com", RootCAs: pool, MaxVersion: tls.VersionTLS12}) // 1.3 hides alerts
		io.WriteString(c, raw)
		b, err := io.ReadAll(c)
		if err != nil || !strings.Contains(string(b), "real") {
			t.Errorf("%q: %q, %v", raw, b, err)
		}
		var last byte
		for all := heard.got; len(all) >= 5; all = all[5+int(binary.BigEndian.Uint16(all[3:])):] {
			last = all[0]
		}
		if last != recordAlert {
			t.Errorf("%q ends with a record of type %d", raw, last)
		}
	}
}

// tap keeps what is read.
type tap struct {
	net.Conn
	got []byte
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.got = append(c.got, p[:n]...)
	return n, err
}

// TestInspectServerBreaksOff: an answer that breaks off at the real server breaks off at the client, behind what there was of it.
func TestInspectServerBreaksOff(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "real")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, nil)
	bothVersions(t, func(t *testing.T, version int) {
		res, err := j.over(version).Get("https://good.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, err := io.ReadAll(res.Body); err == nil || string(b) != "real" {
			t.Errorf("%q, %v; want what there was, and an error", b, err)
		}
	})
}

// TestClientGoesAway: the real server hears of it.
func TestClientGoesAway(t *testing.T) {
	here, gone := make(chan struct{}), make(chan struct{})
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		here <- struct{}{}
		<-r.Context().Done()
		gone <- struct{}{}
	}, nil)
	bothVersions(t, func(t *testing.T, version int) {
		ctx, cancel := context.WithCancel(context.Background())
		req, err := http.NewRequestWithContext(ctx, "GET", "https://good.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		c := j.over(version)
		go func() {
			res, err := c.Do(req)
			if err == nil {
				res.Body.Close()
			}
			done <- err
		}()
		<-here
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-gone
	})
}

// TestPathIsPassedOnAsItCame: what is encoded stays so, and what must be is encoded by itself.
func TestPathIsPassedOnAsItCame(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RequestURI) }, nil)
	for sent, want := range map[string]string{
		"/a%2Fb":                        "/a%2Fb",
		"/a%2fb%7c":                     "/a%2fb%7c",
		"/a|b":                          "/a%7Cb",
		"/@scope%2Fname|1":              "/@scope%2Fname%7C1",
		"/%41|%3B%252F?x={|}":           "/%41%7C%3B%252F?x={|}",
		"/{a}^`\"<>\\":                  "/%7Ba%7D%5E%60%22%3C%3E%5C",
		"/-._~!$&'()*+,;=:@/[]/%20|x":   "/-._~!$&'()*+,;=:@/[]/%20%7Cx",
		"//x%2F|/../y":                  "//x%2F%7C/../y",
		"/a#b%2F":                       "/a%23b%2F",
		"http://good.example.com/b%2F|": "/b%2F%7C",
	} {
		for _, method := range []string{"GET", "DELETE"} { // each has its own way
			c := j.tls("good.example.com", 443, "http/1.1")
			fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: good.example.com\r\n\r\n", method, strings.Replace(sent, "http:", "https:", 1))
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatalf("%s %s: %v", method, sent, err)
			}
			if got, err := io.ReadAll(res.Body); err != nil || string(got) != want {
				t.Errorf("%s %s arrives as %s, %v; want %s", method, sent, got, err, want)
			}
			c.Close()
		}
		req, err := http.NewRequest("GET", "https://good.example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		path, query, _ := strings.Cut(strings.TrimPrefix(sent, "http://good.example.com"), "?")
		if req.URL.Opaque, req.URL.RawQuery = path, query; strings.HasPrefix(path, "//") {
			continue // net/http's client takes it for a host
		}
		res, err := j.over(2).Do(req)
		if err != nil {
			t.Fatalf("HTTP/2, %s: %v", sent, err)
		}
		if got, err := io.ReadAll(res.Body); err != nil || string(got) != want {
			t.Errorf("HTTP/2, %s arrives as %s, %v; want %s", sent, got, err, want)
		}
		res.Body.Close()
	}
}
