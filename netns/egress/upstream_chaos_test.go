package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// misbehaving is a real server that keeps to no rule. shake is TLS as it should be, or nil where that is not spoken or not kept to.
type misbehaving struct {
	addr string
	ca   *CA
	asks chan struct{} // a request, or a hello where shake is nil, has come
	gone chan struct{} // and what follows is over
}

func newMisbehaving(t *testing.T, alpn string, act func(c net.Conn)) *misbehaving {
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf("good.example.com")
	if err != nil {
		t.Fatal(err)
	}
	m := &misbehaving{ca: ca, asks: make(chan struct{}, 64), gone: make(chan struct{}, 64)}
	m.addr = server(t, func(raw *net.TCPConn) {
		defer func() { m.gone <- struct{}{} }()
		var c net.Conn = raw
		if alpn != "" {
			c = tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{alpn}, DynamicRecordSizingDisabled: true})
			if c.(*tls.Conn).Handshake() != nil {
				return
			}
		}
		c.SetReadDeadline(time.Now().Add(patience))
		if alpn == "h2" && !asksInFrames(c) || alpn != "h2" && heardNothing(c) {
			return
		}
		m.asks <- struct{}{}
		act(c)
	})
	return m
}

// heardNothing reads the beginning of what the door says.
func heardNothing(c net.Conn) bool {
	n, err := c.Read(make([]byte, 64<<10))
	return n == 0 && err != nil
}

// asksInFrames reads up to a request's head.
func asksInFrames(c net.Conn) bool {
	io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
	f := http2.NewFramer(nil, c)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return false
		}
		if _, ok := frame.(*http2.HeadersFrame); ok {
			return true
		}
	}
}

// cutOff resets a server's connection.
func cutOff(c net.Conn) {
	if s, ok := c.(*tls.Conn); ok {
		c = s.NetConn()
	}
	reset(c.(socket))
}

// without writes text until nobody takes it any more.
func without(end string) func(c net.Conn) {
	return func(c net.Conn) {
		c.SetWriteDeadline(time.Now().Add(patience))
		for {
			if _, err := io.WriteString(c, end); err != nil {
				return
			}
		}
	}
}

// first writes text and then does what follows.
func first(text string, then func(c net.Conn)) func(c net.Conn) {
	return func(c net.Conn) {
		io.WriteString(c, text)
		then(c)
	}
}

func noiseOf(n int) string {
	rnd := rand.New(rand.NewPCG(3, 4))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.UintN(256))
	}
	return string(b)
}

const sized, chunked = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

func closes(c net.Conn) { c.Close() }

// answers that end by themselves or have no end.
var badAnswers = map[string]func(net.Conn){
	"reset before the head":    cutOff,
	"reset in the head":        first("HTTP/1.1 200 OK\r\nX-A: ", cutOff),
	"reset in the body":        first(sized+"begun", cutOff),
	"reset in a chunk":         first(chunked+"ff\r\nbegun", cutOff),
	"end before the head":      closes,
	"end in the head":          first("HTTP/1.1 200 OK\r\nX-A: ", closes),
	"end in the body":          first(sized+"begun", closes),
	"end in a chunk":           first(chunked+"ff\r\nbegun", closes),
	"end between chunks":       first(chunked+"5\r\nbegun\r\n", closes),
	"noise":                    first(noiseOf(64<<10), closes),
	"noise without end":        without(noiseOf(64 << 10)),
	"noise in place of chunks": first(chunked+noiseOf(64<<10), closes),
	"a head without end":       first("HTTP/1.1 200 OK\r\n", without("X-A: "+strings.Repeat("a", 1000)+"\r\n")),
	"a line without end":       first("HTTP/1.1 200 OK\r\nX-A: ", without(strings.Repeat("a", 1000))),
	"an extension without end": first(chunked+"5;", without(strings.Repeat("a", 1000))),
	"extensions without end":   first(chunked, without("1;"+strings.Repeat("a", 3000)+"\r\na\r\n")),
	"a chunk beyond all":       first(chunked+"fffffffffffffffff\r\n", closes),
	"a chunk that is none":     first(chunked+"-1\r\n\r\n", closes),
	"trailers without end":     first(chunked+"0\r\n", without("X-A: "+strings.Repeat("a", 1000)+"\r\n")),
	"two lengths":              first("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nbegun", closes),
	"a negative length":        first("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nbegun", closes),
}

// badFrames are those of HTTP/2 (RFC 9113).
var badFrames = map[string]func(net.Conn){
	"reset":               cutOff,
	"end":                 closes,
	"noise":               first(noiseOf(64<<10), closes),
	"noise without end":   without(noiseOf(64 << 10)),
	"HTTP/1 in its place": first(sized+strings.Repeat("a", 100000), closes),
	"reset in the body":   h2(func(f *http2.Framer) { h2Head(f, true); f.WriteData(1, false, []byte("begun")) }, cutOff),
	"stream reset":        h2(func(f *http2.Framer) { h2Head(f, true); f.WriteRSTStream(1, http2.ErrCodeInternal) }, closes),
	"goes away":           h2(func(f *http2.Framer) { f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }, closes),
	"heads without end":   h2(func(f *http2.Framer) { h2Head(f, false) }, continuations),
}

// h2 speaks frames after the settings that begin every connection.
func h2(act func(f *http2.Framer), then func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		f := http2.NewFramer(c, nil)
		f.WriteSettings()
		act(f)
		then(c)
	}
}

func h2Head(f *http2.Framer, whole bool) {
	var block strings.Builder
	hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: whole})
}

func continuations(c net.Conn) {
	f := http2.NewFramer(c, nil)
	var block strings.Builder
	hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: "x-a", Value: strings.Repeat("a", 1000), Sensitive: true})
	c.SetWriteDeadline(time.Now().Add(patience))
	for f.WriteContinuation(1, false, []byte(block.String())) == nil {
	}
}

func floods(c net.Conn) {
	f := http2.NewFramer(c, nil)
	c.SetWriteDeadline(time.Now().Add(patience))
	for f.WriteData(1, false, make([]byte, 16<<10)) == nil {
	}
}

func awaitEnd(c net.Conn) { io.Copy(io.Discard, c) }

// ways are how a client reaches a server: what the door sees of it.
var ways = []struct {
	name, scheme, alpn, tls string
}{
	{"clear", "http", "", ""},
	{"inspected", "https", "http/1.1", "inspect"},
	{"tunnel", "https", "http/1.1", "tunnel"},
}

func chaosJail(t *testing.T, m *misbehaving, tls string, change func(*Config)) *jail {
	rule := Rule{Host: "good.example.com", Ports: []uint16{80, 443}, Connect: m.addr, TLS: tls, Why: "test"}
	if tls == "inspect" {
		rule.UpstreamCA = m.ca.PEM()
	}
	return newJail(t, []Rule{rule}, change)
}

// TestBadServers: whatever a real server answers, the client learns in bounded time that it was no answer, the record says so, and the
// connection to that server is gone.
func TestBadServers(t *testing.T) {
	listen(t, "127.0.0.1:0").Close() // the runtime's own come with the first socket
	before := openFiles(t)
	for _, way := range ways {
		for name, act := range badAnswers {
			t.Run(way.name+"/"+name, func(t *testing.T) { badServer(t, way.scheme, way.alpn, way.tls, act, false) })
		}
	}
	for name, act := range badFrames {
		t.Run("HTTP/2/"+name, func(t *testing.T) { badServer(t, "https", "h2", "inspect", act, false) })
	}
	t.Run("HTTP/2/data beyond a window", func(t *testing.T) { // a client that reads may make room for whatever comes
		badServer(t, "https", "h2", "inspect", h2(func(f *http2.Framer) { h2Head(f, true) }, floods), true)
	})
	for late := time.Now().Add(patience); openFiles(t) > before; runtime.Gosched() { // the last servers are closing theirs
		if time.Now().After(late) {
			t.Fatalf("%d open files, and then %d", before, openFiles(t))
		}
	}
}

// badServer asks one that answers with act. A client that is patient reads no body before the server's connection has ended.
func badServer(t *testing.T, scheme, alpn, how string, act func(net.Conn), patient bool) {
	others := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, others) }) // after all other clean-ups
	m := newMisbehaving(t, alpn, act)
	j := chaosJail(t, m, how, nil)
	client := j.client(m.ca)
	client.Timeout = patience
	res, err := client.Get(scheme + "://good.example.com/a")
	if err == nil {
		if patient {
			within(t, patience, "the server's end", m.gone)
			m.gone <- struct{}{} // for below
		}
		var body []byte
		body, err = io.ReadAll(res.Body)
		res.Body.Close()
		if err == nil && (res.StatusCode != 502 || res.Header.Get("X-Agentjail-Reason") != string(BadResponse)) {
			t.Errorf("the client takes it for an answer: %s, %d bytes", res.Status, len(body))
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(fmt.Sprint(err), "Timeout") {
		t.Errorf("the client waited: %v", err)
	}
	client.CloseIdleConnections()
	within(t, patience, "the server's end", m.gone)
	if how == "tunnel" {
		j.wait("close", func(e Event) bool { return e.Kind == "net.close" })
		return
	}
	if e := j.waitDeny(BadResponse); e.Host != "good.example.com" || e.Path != "/a" || e.Detail == "" {
		t.Errorf("event: %+v", e)
	}
	j.wait("close", func(e Event) bool { return e.Kind == "net.close" })
}

// openFiles counts this process's descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// TestGoodServers is the control of TestBadServers: the same servers, when they behave.
func TestGoodServers(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			m := newMisbehaving(t, way.alpn, first("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhole", closes))
			j := chaosJail(t, m, way.tls, nil)
			if res, body := get(t, j.client(m.ca), way.scheme+"://good.example.com/a"); res.StatusCode != 200 || body != "whole" {
				t.Errorf("%s %q", res.Status, body)
			}
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		m := newMisbehaving(t, "h2", h2(func(f *http2.Framer) { h2Head(f, true); f.WriteData(1, true, []byte("whole")) }, awaitEnd))
		j := chaosJail(t, m, "inspect", nil)
		if res, body := get(t, j.client(m.ca), "https://good.example.com/a"); res.StatusCode != 200 || body != "whole" {
			t.Errorf("%s %q", res.Status, body)
		}
	})
}

// TestBadHandshakes: TLS that the real server breaks. The door is the client of it where it inspects.
func TestBadHandshakes(t *testing.T) {
	for name, tc := range map[string]struct {
		act    func(net.Conn)
		reason Reason
	}{
		"reset":              {cutOff, UpstreamTLS},
		"end":                {closes, UpstreamTLS},
		"noise":              {first(noiseOf(4096), closes), UpstreamTLS},
		"HTTP":               {first("HTTP/1.1 400 Bad Request\r\n\r\n", closes), UpstreamTLS},
		"half a record":      {first("\x16\x03\x03\x40\x00\x02\x00", closes), UpstreamTLS},
		"records for ever":   {without("\x16\x03\x03\x00\x04\x00\x00\x00\x00"), UpstreamTLS},
		"silence":            {awaitEnd, Dial},
		"silence in a hello": {first("\x16\x03\x03\x40\x00\x02\x00", awaitEnd), Dial},
	} {
		t.Run("inspected/"+name, func(t *testing.T) {
			others := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, others) })
			m := newMisbehaving(t, "", tc.act)
			j := chaosJail(t, m, "inspect", func(c *Config) {
				if tc.reason == Dial {
					c.Limits.Dial = 300 * time.Millisecond
				}
			})
			res, _ := get(t, j.client(), "https://good.example.com/a")
			wantReason(t, res, tc.reason.status(), tc.reason)
			if e := j.waitDeny(tc.reason); e.Host != "good.example.com" || e.Detail == "" {
				t.Errorf("event: %+v", e)
			}
			within(t, patience, "the server's end", m.gone)
		})
		t.Run("tunnel/"+name, func(t *testing.T) {
			others := goleak.IgnoreCurrent()
			t.Cleanup(func() { goleak.VerifyNone(t, others) })
			m := newMisbehaving(t, "", tc.act)
			j := chaosJail(t, m, "tunnel", nil)
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(m.ca.PEM())
			c := j.dial("good.example.com", 443)
			shaken := make(chan error, 1)
			go func() {
				shaken <- tls.Client(c, &tls.Config{ServerName: "good.example.com", RootCAs: pool}).Handshake()
			}()
			within(t, patience, "the hello", m.asks)
			if tc.reason == Dial { // a tunnel is silent for as long as both sides like
				c.SetLinger(0)
				c.Close()
			}
			if err := <-shaken; err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("handshake: %v", err)
			}
			c.Close()
			within(t, patience, "the server's end", m.gone)
			j.wait("close", func(e Event) bool { return e.Kind == "net.close" })
		})
	}
}

// TestStallsEndWithTheClient: a server that says no more may be thinking, so a client waits for as long as it likes. When it has gone, nothing of
// its request is left.
func TestStallsEndWithTheClient(t *testing.T) {
	for _, way := range ways {
		for name, begun := range map[string]string{"before the head": "", "in the head": "HTTP/1.1 200 OK\r\nX-A: ", "in the body": sized + "begun",
			"in a chunk": chunked + "ff\r\nbegun"} {
			t.Run(way.name+"/"+name, func(t *testing.T) {
				others := goleak.IgnoreCurrent()
				t.Cleanup(func() { goleak.VerifyNone(t, others) })
				m := newMisbehaving(t, way.alpn, first(begun, awaitEnd))
				j := chaosJail(t, m, way.tls, nil)
				client := j.client(m.ca)
				dialer := client.Transport.(*http.Transport)
				dial := dialer.DialContext
				dialer.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
					c, err := dial(ctx, network, addr)
					if err == nil {
						err = c.(*net.TCPConn).SetLinger(0) // it leaves with RST: after FIN alone it may still want its answer
					}
					return c, err
				}
				req, err := http.NewRequest("GET", way.scheme+"://good.example.com/a", nil)
				if err != nil {
					t.Fatal(err)
				}
				ctx, leave := context.WithCancel(context.Background())
				defer leave()
				over := make(chan error, 1)
				go func() {
					res, err := client.Do(req.WithContext(ctx))
					if err == nil {
						_, err = io.ReadAll(res.Body)
						res.Body.Close()
					}
					over <- err
				}()
				within(t, patience, "the request", m.asks)
				leave()
				if err := <-over; err == nil {
					t.Error("the client takes it for an answer")
				}
				client.CloseIdleConnections()
				within(t, patience, "the server's end", m.gone)
				j.wait("close", func(e Event) bool { return e.Kind == "net.close" })
				j.door.Close()
				if _, denied := j.door.Report(); len(denied) > 0 {
					t.Errorf("the client left, and the record says %+v", denied)
				}
			})
		}
	}
}

// TestWhatIsWrongIsToldWithoutSecrets: net/http quotes what it cannot read, and that may be a secret which the server sent back.
func TestWhatIsWrongIsToldWithoutSecrets(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nX-Echo " + apiReal + "\r\n\r\n",
		"HTTP/1.1 " + apiReal + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: " + apiReal + "\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum " + apiReal + "\r\n\r\n",
	} {
		m := newMisbehaving(t, "http/1.1", func(c net.Conn) { io.WriteString(c, answer) })
		j := chaosJail(t, m, "inspect", func(c *Config) {
			c.Policy.Secrets = []Secret{{Name: "api", Placeholder: apiShown, Hosts: []string{"good.example.com"}, Why: "test"}}
			c.Secrets = values{"api": apiReal}.get
		})
		req, err := http.NewRequest("GET", "https://good.example.com/a", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+apiShown)
		if res, err := j.client(m.ca).Do(req); err == nil {
			body, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if strings.Contains(fmt.Sprint(res.Header)+string(body), apiReal) {
				t.Errorf("the jail is told: %v %s", res.Header, body)
			}
		}
		j.waitDeny(BadResponse)
		j.wantSilence(apiReal)
	}
}
