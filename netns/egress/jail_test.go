package egress

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/agentjail/agentjail/integration/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

// The jail's range of the tests: all of 127/8 is local, so a listener on every address sees which one was meant.
var (
	testRange   = netip.MustParsePrefix("127.18.0.0/16")
	testGateway = netip.MustParseAddr("127.18.0.1")
	testExplain = netip.MustParseAddr("127.18.0.4")
)

const (
	patience = 10 * time.Second // with what happens at once
	lifetime = 2 * time.Minute  // of a client's connection: many bytes take long under the race detector
)

// jail is a door with listeners, seen from inside.
type jail struct {
	t     *testing.T
	door  *Door
	ca    *CA
	ports map[uint16]string // the real port of each port of the door

	stop   context.CancelFunc // of the context that every Serve runs with
	served sync.WaitGroup     // every Serve

	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed at each event and made anew
}

// portListener gives connections whose local port is the one that the door would see in the jail's own network namespace; the
// address is the real one.
type portListener struct {
	net.Listener
	port uint16
}

type portConn struct {
	*net.TCPConn
	port uint16
}

func (l portListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return portConn{c.(*net.TCPConn), l.port}, nil
}

func (c portConn) LocalAddr() net.Addr {
	a := *c.TCPConn.LocalAddr().(*net.TCPAddr)
	a.Port = int(c.port)
	return &a
}

// newJail opens a door for the rules; change may alter its Config first. Listeners with a port of their own (free) are served as they are.
func newJail(t *testing.T, rules []Rule, change func(*Config), own ...net.Listener) *jail {
	t.Helper()
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	j := &jail{t: t, ca: ca, ports: map[uint16]string{}, more: make(chan struct{})}
	c := Config{
		Policy:  &Policy{Profile: "test", Allow: rules, Explain: true},
		CA:      ca,
		Gateway: testGateway, Explain: testExplain, Range: testRange,
		Event:    j.event,
		Resolver: answers{},
	}
	if change != nil {
		change(&c)
	}
	if j.door, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.door.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, stop := context.WithCancel(context.Background())
	j.stop = stop
	t.Cleanup(stop)
	owned := map[uint16]net.Listener{}
	for _, l := range own {
		owned[portOf(l)] = l
	}
	for _, port := range j.door.Ports() {
		l := owned[port]
		if l == nil {
			l = portListener{listen(t, "0.0.0.0:0"), port}
		}
		_, j.ports[port], _ = net.SplitHostPort(l.Addr().String())
		j.served.Go(func() {
			if err := j.door.Serve(ctx, l); err != nil {
				t.Error(err)
			}
		})
	}
	return j
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func portOf(l net.Listener) uint16 { return l.Addr().(*net.TCPAddr).AddrPort().Port() }

func (j *jail) event(e Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.events = append(j.events, e)
	close(j.more)
	j.more = make(chan struct{})
}

// wait gives the first event that want likes, of all so far and to come.
func (j *jail) wait(what string, want func(Event) bool) Event {
	j.t.Helper()
	timeout := time.After(patience)
	for {
		j.mu.Lock()
		i := slices.IndexFunc(j.events, want)
		more, all := j.more, j.events
		j.mu.Unlock()
		if i >= 0 {
			return all[i]
		}
		select {
		case <-more:
		case <-timeout:
			j.t.Fatalf("no event: %s; have %+v", what, all)
		}
	}
}

func (j *jail) waitDeny(reason Reason) Event {
	j.t.Helper()
	return j.wait("deny "+string(reason), func(e Event) bool { return strings.HasSuffix(e.Kind, ".deny") && e.Reason == reason })
}

// dial connects as a client in the jail does that has asked the door's DNS for host.
func (j *jail) dial(host string, port uint16) *net.TCPConn {
	j.t.Helper()
	addr := testExplain
	if name, bad := Canonical(host); bad == "" && j.door.match.Known(name) {
		addr, _ = j.door.names.Addr(name)
	}
	return j.dialAddr(addr, port)
}

func (j *jail) dialAddr(addr netip.Addr, port uint16) *net.TCPConn {
	j.t.Helper()
	c, err := j.try(addr, port)
	if err != nil {
		j.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(lifetime)); err != nil {
		j.t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

func (j *jail) try(addr netip.Addr, port uint16) (net.Conn, error) {
	c, err := net.Dial("tcp4", net.JoinHostPort(addr.String(), j.ports[port]))
	if err == nil {
		j.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// wantReset holds that a connection is reset by itself: before connect(2) has told of it, or after.
func (j *jail) wantReset(addr netip.Addr, port uint16) {
	j.t.Helper()
	c, err := j.try(addr, port)
	switch {
	case err == nil:
		c.SetDeadline(time.Now().Add(patience))
		wantReset(j.t, c)
	case !errors.Is(err, syscall.ECONNRESET):
		j.t.Errorf("connect: %v; want connection reset", err)
	}
}

// addr is what the door's DNS gives for an allowed host.
func (j *jail) addr(host string) netip.Addr {
	a, ok := j.door.names.Addr(host)
	if !ok {
		j.t.Fatalf("no address for %s", host)
	}
	return a
}

// client is an HTTP client in the jail that knows of no proxy and trusts the session's CA and others.
func (j *jail) client(others ...*CA) *http.Client {
	pool := x509.NewCertPool()
	for _, ca := range append(others, j.ca) {
		pool.AppendCertsFromPEM(ca.PEM())
	}
	tr := &http.Transport{
		DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			n, err := net.LookupPort("tcp", port)
			if err != nil {
				return nil, err
			}
			return j.dial(host, uint16(n)), nil
		},
		TLSClientConfig:   &tls.Config{RootCAs: pool},
		ForceAttemptHTTP2: true,
	}
	j.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: lifetime}
}

// get does one request and gives status, headers and body.
func get(t *testing.T, c *http.Client, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// backend is a real server; its address is for a rule's Connect.
func backend(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// tlsBackend is one with a certificate for host under a CA of its own.
func tlsBackend(t *testing.T, host string, h http.HandlerFunc) (string, *CA) {
	t.Helper()
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf(host)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), ca
}

// answers is a resolver: the addresses of each name, by call, the last for ever.
type answers map[string][][]netip.Addr

func (a answers) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	all, ok := a[host]
	if !ok {
		return nil, fmt.Errorf("lookup %s: no such host", host)
	}
	if len(all) > 1 {
		a[host] = all[1:]
	}
	return all[0], nil
}

// wantReset holds that the peer ends the connection with RST and without a byte.
func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read: %d bytes, %v; want connection reset", n, err)
	}
}

// ask writes a raw request and reads one answer.
func ask(t *testing.T, c net.Conn, raw string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	return readAnswer(t, bufio.NewReader(c), raw)
}

func readAnswer(t *testing.T, br *bufio.Reader, raw string) (*http.Response, string) {
	t.Helper()
	method, _, _ := strings.Cut(raw, " ")
	res, err := http.ReadResponse(br, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("answer to %q: %v", raw, err)
	}
	if method == "CONNECT" && res.StatusCode == 200 {
		return res, ""
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("body of the answer to %q: %v", raw, err)
	}
	return res, string(body)
}

func wantReason(t *testing.T, res *http.Response, status int, reason Reason) {
	t.Helper()
	if res.StatusCode != status || res.Header.Get("X-Agentjail-Reason") != string(reason) {
		t.Errorf("status %d, reason %q; want %d, %q", res.StatusCode, res.Header.Get("X-Agentjail-Reason"), status, reason)
	}
}
