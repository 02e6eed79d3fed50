package egress

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// The two worlds that traffic is measured in. In the one a jail has the whole door before it: DNS, a listener for each port, the
// proxy, policy, secrets, guard. In the other, the control, the same clients meet the same servers with nothing between. What
// the servers and the host's resolver see is written down in both, and that alone says whether something got out.

// internet is every server there is. It listens on loopback and answers for all names and addresses.
type internet struct {
	ca     *CA
	ports  map[uint16]string // the real address of a server of 80, 443 and, as 0, of everything else
	proxy  string            // of the control: it connects to whatever it is asked for
	served sync.WaitGroup    // connections

	mu      sync.Mutex
	seen    []string
	replies map[string]http.HandlerFunc // to a request that has this id in its target
	asked   map[string]int              // look-ups of a name
}

func newInternet(t *testing.T) *internet {
	t.Helper()
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i := &internet{ca: ca, ports: map[uint16]string{}, replies: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	site := tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return ca.Leaf(h.ServerName) }}
	web := &http.Server{Handler: http.HandlerFunc(i.answer), MaxHeaderBytes: 4 << 20}
	start := func(open func(net.Conn) net.Conn) string {
		l := listen(t, "127.0.0.1:0")
		go web.Serve(seeing{l, i, open})
		return l.Addr().String()
	}
	i.ports[httpPort] = start(func(c net.Conn) net.Conn { return c })
	i.ports[httpsPort] = start(func(c net.Conn) net.Conn { return &noted{Conn: tls.Server(c, &site), of: i} })
	t.Cleanup(func() { web.Close() })
	i.ports[0] = i.accept(t, i.echo)
	i.proxy = i.accept(t, i.tunnel)
	return i
}

func (i *internet) accept(t *testing.T, serve func(net.Conn)) string {
	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			i.served.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	}()
	return l.Addr().String()
}

// note writes down what got out.
func (i *internet) note(what string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.seen = append(i.seen, what)
}

// seeing gives connections that are written down.
type seeing struct {
	net.Listener
	of   *internet
	open func(net.Conn) net.Conn
}

func (l seeing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.of.served.Add(1)
	return &noted{Conn: l.open(&noted{Conn: c, of: l.of}), of: l.of, last: true}, nil
}

// noted is a connection whose bytes are written down when it is closed.
type noted struct {
	net.Conn
	of   *internet
	last bool // no other is above it
	once sync.Once
	mu   sync.Mutex
	got  []byte
}

func (c *noted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, p[:n]...)
	return n, err
}

func (c *noted) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.of.note("bytes " + string(c.got))
		if c.last {
			c.of.served.Done()
		}
	})
	return err
}

// answer is the server of every name: it takes everything, and says how much it was, with the event stream or the upgrade that
// was asked for.
func (i *internet) answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // of one that is cut off: what came
	var text strings.Builder
	fmt.Fprintf(&text, "request %s %s %s\n", r.Method, r.Host, r.RequestURI)
	_ = r.Header.Write(&text)
	i.note(text.String() + "\n" + string(body))
	i.mu.Lock()
	var reply http.HandlerFunc
	for id, f := range i.replies {
		if strings.Contains(r.RequestURI, id) {
			reply = f
		}
	}
	i.mu.Unlock()
	switch {
	case reply != nil:
		reply(w, r)
	case strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		said, _ := io.ReadAll(rw)
		i.note("request upgraded " + r.RequestURI + "\n\n" + string(said))
	case strings.Contains(r.Header.Get("Accept"), "text/event-stream"):
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", n)
			_ = http.NewResponseController(w).Flush()
		}
		fmt.Fprintf(w, "data: took %d\n\n", len(body))
	default:
		fmt.Fprintf(w, "took %d\n", len(body))
	}
}

// reply has the server answer the requests with this id so.
func (i *internet) reply(id string, f http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.replies[id] = f
}

// echo is the server of every other port: it speaks first, and then says again what it hears.
func (i *internet) echo(c net.Conn) {
	_, _ = io.WriteString(c, "SSH-2.0-server\r\n")
	var heard bytes.Buffer
	_, _ = io.Copy(c, io.TeeReader(c, &heard))
	i.note("bytes " + heard.String())
}

// tunnel is the control's proxy.
func (i *internet) tunnel(c net.Conn) {
	r := bufio.NewReader(c)
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		b, err := r.ReadByte()
		if err != nil {
			return
		}
		head.WriteByte(b)
	}
	port := uint16(httpPort)
	line, _, _ := strings.Cut(head.String(), "\r\n")
	i.note("bytes " + head.String())
	if target, connect := strings.CutPrefix(line, "CONNECT "); connect {
		target, _, _ = strings.Cut(target, " ")
		_, port = spoken(target, 0)
	}
	up, err := net.Dial("tcp4", i.server(port))
	if err != nil {
		return
	}
	defer up.Close()
	if strings.HasPrefix(line, "CONNECT ") {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	} else {
		_, _ = io.WriteString(up, head.String())
	}
	i.served.Go(func() {
		_, _ = io.Copy(up, r)
		_ = up.(*net.TCPConn).CloseWrite()
	})
	_, _ = io.Copy(c, up)
}

func (i *internet) server(port uint16) string {
	if s, ok := i.ports[port]; ok {
		return s
	}
	return i.ports[0]
}

// LookupNetIP is the host's resolver. Names below rebind have a public address at first and then one of 10/8, names below inner
// one that stands in them: 169-254-169-254.inner.example.net.
func (i *internet) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	host = strings.TrimSuffix(host, ".")
	i.note("look-up " + host)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked[host]++
	first, parent, _ := strings.Cut(host, ".")
	switch {
	case parent == "rebind.example.net" && i.asked[host] > 1:
		return []netip.Addr{rebound(first)}, nil
	case parent == "inner.example.net":
		first, _, _ = strings.Cut(first, "--")
		a, err := netip.ParseAddr(strings.NewReplacer("-", ".", "x", ":").Replace(first))
		return []netip.Addr{a}, err
	}
	return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, nil
}

// rebound is the private address of a name, another for each.
func rebound(label string) netip.Addr {
	return netip.AddrFrom4([4]byte{10, label[0], label[1], label[2]})
}

// dial is the host's connect(2).
func (i *internet) dial(ctx context.Context, addr netip.AddrPort, check func(netip.Addr) error) (net.Conn, error) {
	if check != nil {
		if err := check(addr.Addr()); err != nil {
			return nil, err
		}
	}
	i.note("dialled " + addr.Addr().String())
	return (&net.Dialer{}).DialContext(ctx, "tcp4", i.server(addr.Port()))
}

// world is one of the two, as a client sees it.
type world struct {
	*internet
	jail  *jail // nil: the control
	roots *x509.CertPool
}

// newWorld opens a world; with a door when there is a policy.
func newWorld(t *testing.T, policy *Policy) *world {
	w := &world{internet: newInternet(t), roots: x509.NewCertPool()}
	w.roots.AppendCertsFromPEM(w.ca.PEM())
	if policy == nil {
		return w
	}
	for i := range policy.Allow {
		policy.Allow[i].UpstreamCA = w.ca.PEM()
	}
	w.jail = newJail(t, nil, func(c *Config) {
		c.Policy, c.Resolver, c.Dial, c.Secrets = policy, w.internet, w.internet.dial, trafficSecrets().get
	})
	w.roots.AppendCertsFromPEM(w.jail.ca.PEM())
	return w
}

// close ends the world, and gives everything that got out of it.
func (w *world) close(t *testing.T) []string {
	if w.jail != nil {
		if err := w.jail.door.Close(); err != nil {
			t.Error(err)
		}
	}
	w.served.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// calm is how long a client waits: nothing here takes time, but for a machine that has much else to do.
const calm = time.Minute

// errRefused says that the client did not get what it wanted.
var errRefused = errors.New("refused")

// resolve asks for the name's address as a libc does.
func (w *world) resolve(host string) (netip.Addr, error) {
	if w.jail == nil {
		list, err := w.LookupNetIP(context.Background(), "ip", host)
		if err != nil {
			return netip.Addr{}, err
		}
		return list[0], nil
	}
	m, err := w.ask(host, dnsmessage.TypeA)
	if err != nil {
		return netip.Addr{}, err
	}
	if list := addrs(m); len(list) > 0 {
		return list[0], nil
	}
	return netip.Addr{}, fmt.Errorf("%s: %w: no such name", host, errRefused)
}

// ask sends one DNS query.
func (w *world) ask(host string, kind dnsmessage.Type) (m dnsmessage.Message, err error) {
	if w.jail == nil { // a resolver that forwards
		w.note("look-up " + host)
		return m, nil
	}
	name, err := dnsmessage.NewName(strings.TrimSuffix(host, ".") + ".")
	if err != nil {
		return m, err
	}
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: kind, Class: dnsmessage.ClassINET}}}
	raw, err := q.Pack()
	if err != nil {
		return m, err
	}
	return m, m.Unpack(w.jail.door.dns.Answer(raw, true))
}

// connect resolves and dials.
func (w *world) connect(host string, port uint16) (*net.TCPConn, error) {
	addr, err := w.resolve(host)
	if err != nil {
		return nil, err
	}
	return w.reach(addr, port)
}

// reach dials an address.
func (w *world) reach(addr netip.Addr, port uint16) (*net.TCPConn, error) {
	var c net.Conn
	var err error
	switch {
	case w.jail == nil:
		c, err = w.dial(context.Background(), netip.AddrPortFrom(addr, port), nil)
	case w.jail.ports[port] == "" || !testRange.Contains(addr): // there is no listener, or no route
		return nil, fmt.Errorf("%w: %w", errRefused, syscall.ECONNREFUSED)
	default:
		c, err = net.Dial("tcp4", net.JoinHostPort(addr.String(), w.jail.ports[port]))
	}
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(calm))
	return c.(*net.TCPConn), nil
}

// toProxy dials the proxy.
func (w *world) toProxy() (*net.TCPConn, error) {
	if w.jail != nil {
		return w.reach(testGateway, proxyPort)
	}
	c, err := net.Dial("tcp4", w.proxy)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(calm))
	return c.(*net.TCPConn), nil
}

// sending is one request.
type sending struct {
	version int  // of HTTP; 0 is 1
	proxied bool // by the proxy of the environment, else by the name's address
	method  string
	url     string
	header  []string // pairs
	body    []byte
	chunked bool
	trailer http.Header
}

// send sends a request with a client like any other, and gives status and body.
func (w *world) send(q sending) (int, string, error) {
	versions := new(http.Protocols)
	versions.SetHTTP1(q.version != 2)
	versions.SetHTTP2(q.version == 2 && w.jail != nil) // the servers of the control speak HTTP/1
	if w.jail == nil {
		versions.SetHTTP1(true)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: w.roots}, Protocols: versions, DisableCompression: true,
		DialContext: func(_ context.Context, _, addr string) (net.Conn, error) {
			host, port := spoken(addr, 0)
			if host == "proxy.test" {
				return w.toProxy()
			}
			return w.connect(host, port)
		}}
	defer tr.CloseIdleConnections()
	if q.proxied {
		tr.Proxy = func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "http", Host: "proxy.test:3128"}, nil }
	}
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
		if q.chunked {
			body = struct{ io.Reader }{body}
		}
	}
	req, err := http.NewRequest(q.method, q.url, body)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i+1 < len(q.header); i += 2 {
		if q.header[i] == "Host" {
			req.Host = q.header[i+1]
			continue
		}
		req.Header[q.header[i]] = append(req.Header[q.header[i]], q.header[i+1])
	}
	req.Trailer = q.trailer
	res, err := (&http.Client{Transport: tr, Timeout: calm, CheckRedirect: func(*http.Request,
		[]*http.Request) error {
		return http.ErrUseLastResponse
	}}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	var head strings.Builder
	_ = res.Header.Write(&head)
	return res.StatusCode, "\n" + head.String() + "\n" + string(text), err
}

// gets sends a request that is to arrive whole, and be answered.
func (w *world) gets(q sending) error {
	status, text, err := w.send(q)
	switch {
	case err != nil:
		return err
	case status >= 400:
		return fmt.Errorf("%w: %d %s", errRefused, status, text)
	case q.method != http.MethodHead && !strings.Contains(text, fmt.Sprintf("took %d\n", len(q.body))):
		return fmt.Errorf("answer %q to %d bytes", text, len(q.body))
	}
	return nil
}

// secured does the TLS handshake as a client that means sni.
func (w *world) secured(c net.Conn, sni string) (*tls.Conn, error) {
	t := tls.Client(c, &tls.Config{ServerName: sni, RootCAs: w.roots, NextProtos: []string{"http/1.1"}})
	return t, t.Handshake()
}

// halfCloser is a TCP or TLS connection.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// says writes text, says that this was all, and reads to the end.
func says(c halfCloser, text string) (string, error) {
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if err := c.CloseWrite(); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(c)
	return string(answer), err
}

// raw writes bytes to a host, inside of TLS where the port is 443.
func (w *world) raw(host string, port uint16, text string) (string, error) {
	c, err := w.connect(host, port)
	if err != nil {
		return "", err
	}
	return w.over(c, host, port, text)
}

// throughProxy writes bytes into a tunnel of the proxy.
func (w *world) throughProxy(target, sni string, port uint16, text string) (string, error) {
	c, err := w.toProxy()
	if err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", target, target); err != nil {
		c.Close()
		return "", err
	}
	var head []byte
	for b := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, b[0]) {
		if _, err := io.ReadFull(c, b); err != nil {
			c.Close()
			return "", err
		}
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		c.Close()
		return "", fmt.Errorf("%w: %s", errRefused, head)
	}
	return w.over(c, sni, port, text)
}

func (w *world) over(c *net.TCPConn, sni string, port uint16, text string) (string, error) {
	if port != httpsPort {
		return says(c, text)
	}
	t, err := w.secured(c, sni)
	if err != nil {
		c.Close()
		return "", err
	}
	return says(t, text)
}
