package egress

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// inspectJail is a door that inspects two hosts of one real server, which answers with h over HTTP/1.1 and HTTP/2. change may
// alter the rule of the first.
func inspectJail(t *testing.T, h http.HandlerFunc, change func(*Rule)) *jail {
	t.Helper()
	addr, ca := manyBackend(t, h, "good.example.com", "also.example.com")
	rule := Rule{Host: "good.example.com", Ports: []uint16{80, 443, 8443}, Connect: addr, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test.toml: net.rule[0]"}
	also := rule
	also.Host = "also.example.com"
	if change != nil {
		change(&rule)
	}
	return newJail(t, []Rule{rule, also}, nil)
}

// manyBackend is a tlsBackend for several hosts.
func manyBackend(t *testing.T, h http.HandlerFunc, hosts ...string) (string, *CA) {
	t.Helper()
	_, ca := tlsBackend(t, hosts[0], h)
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if !slices.Contains(hosts, hello.ServerName) {
			return nil, fmt.Errorf("SNI %q", hello.ServerName)
		}
		return ca.Leaf(hello.ServerName)
	}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), ca
}

// over gives a client that speaks one version of HTTP.
func (j *jail) over(version int) *http.Client {
	c := j.client()
	p := new(http.Protocols)
	p.SetHTTP1(version == 1)
	p.SetHTTP2(version == 2)
	c.Transport.(*http.Transport).Protocols = p
	return c
}

// bothVersions runs act once for each version of HTTP towards the jail.
func bothVersions(t *testing.T, act func(t *testing.T, version int)) {
	for _, v := range []int{1, 2} {
		t.Run(fmt.Sprintf("HTTP/%d", v), func(t *testing.T) { act(t, v) })
	}
}

// tls connects as a client in the jail that takes the session's certificates.
func (j *jail) tls(host string, port uint16, alpn ...string) *tls.Conn {
	j.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(j.ca.PEM())
	c := tls.Client(j.dial(host, port), &tls.Config{ServerName: host, RootCAs: pool, NextProtos: alpn})
	if err := c.Handshake(); err != nil {
		j.t.Fatal(err)
	}
	return c
}

func TestInspect(t *testing.T) {
	var upstream atomic.Pointer[http.Request]
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		upstream.Store(r)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
	}, nil)
	bothVersions(t, func(t *testing.T, version int) {
		c := j.over(version)
		res, err := c.Post("https://good.example.com/a%2Fb//c?x=1;y", "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, err := io.ReadAll(res.Body); err != nil || string(body) != "POST /a%2Fb//c?x=1;y hello" {
			t.Errorf("%q, %v", body, err)
		}
		if res.ProtoMajor != version {
			t.Errorf("%s towards the jail", res.Proto)
		}
		if issuer := res.TLS.PeerCertificates[0].Issuer.CommonName; !strings.HasPrefix(issuer, "agentjail session ") {
			t.Errorf("certificate of %q", issuer)
		}
		if r := upstream.Load(); r.ProtoMajor != version || r.Host != "good.example.com" || r.TLS.ServerName != "good.example.com" {
			t.Errorf("the real server saw %s, Host %q, SNI %q", r.Proto, r.Host, r.TLS.ServerName)
		}
	})
	if e := j.wait("request", func(e Event) bool { return e.Kind == "http.request" }); e.Method != "POST" || e.Status != 200 || e.Path != "/a%2Fb//c" || e.Port != 443 {
		t.Errorf("event: %+v", e)
	}
	if res, body := get(t, j.client(), "https://good.example.com:8443/"); res.StatusCode != 200 || upstream.Load().Host != "good.example.com:8443" {
		t.Errorf("another port: %s %q, Host %q", res.Status, body, upstream.Load().Host)
	}
}

// TestInspectNeverTunnels: whatever is wrong, the client never reaches the real server's own certificate.
func TestInspectNeverTunnels(t *testing.T) {
	var seen atomic.Int32
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) { seen.Add(1) }, nil)
	handshake := func(c *tls.Config) error {
		if c.ServerName == "" {
			c.ServerName = "good.example.com"
		}
		conn := tls.Client(j.dial("good.example.com", 443), c)
		defer conn.Close()
		return conn.Handshake()
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(j.ca.PEM())
	if err := handshake(&tls.Config{RootCAs: pool}); err != nil {
		t.Errorf("control: %v", err)
	}
	t.Run("client that does not know the CA", func(t *testing.T) {
		if err := handshake(&tls.Config{RootCAs: x509.NewCertPool()}); err == nil {
			t.Error("handshake succeeded")
		}
		if e := j.waitDeny(ClientTrust); e.Kind != "net.deny" || e.Host != "good.example.com" || !strings.Contains(e.Detail, "bad certificate") {
			t.Errorf("event: %+v", e)
		}
	})
	t.Run("no HTTP", func(t *testing.T) {
		if err := handshake(&tls.Config{RootCAs: pool, NextProtos: []string{"imap"}}); err == nil {
			t.Error("handshake succeeded")
		}
		j.wait("imap", func(e Event) bool { return e.Reason == BadRequest && strings.Contains(e.Detail, "imap") })
	})
	t.Run("another name", func(t *testing.T) {
		for _, sni := range []string{"also.example.com", "evil.example.com"} {
			c := tls.Client(j.dial("good.example.com", 443), &tls.Config{ServerName: sni, RootCAs: pool})
			res, _ := ask(t, c, "GET / HTTP/1.1\r\nHost: "+sni+"\r\n\r\n")
			wantReason(t, res, 421, SNIMismatch)
		}
	})
	t.Run("no name", func(t *testing.T) {
		conn := tls.Client(j.dial("good.example.com", 443), &tls.Config{InsecureSkipVerify: true})
		if err := conn.Handshake(); err == nil {
			t.Error("handshake succeeded")
		}
		j.waitDeny(NoSNI)
	})
	t.Run("no TLS", func(t *testing.T) {
		c := j.dial("good.example.com", 443)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n")
		wantReset(t, c)
	})
	t.Run("the server speaks first", func(t *testing.T) {
		short := newJail(t, []Rule{{Host: "good.example.com", Ports: []uint16{22}, Connect: "127.0.0.1:1", Methods: []string{"GET"}, Why: "test"}},
			func(c *Config) { c.Limits.Hello = 50e6 })
		wantReset(t, short.dial("good.example.com", 22))
		short.waitDeny(Timeout)
	})
	if seen.Load() != 0 {
		t.Errorf("%d requests reached the server", seen.Load())
	}
	if j.opened() != 0 {
		t.Error("the real server was dialled")
	}
}

func (j *jail) opened() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		if e.Kind == "net.open" {
			n++
		}
	}
	return n
}

// TestClientSaysNothing: clients that judge the certificate after the handshake are told of at the end, when no request ever came.
func TestClientSaysNothing(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {}, nil)
	for _, host := range []string{"good.example.com", "also.example.com"} {
		for _, alpn := range []string{"h2", "http/1.1"} {
			c := j.tls(host, 443, alpn)
			c.Close()
			io.Copy(io.Discard, c.NetConn())
		}
	}
	if res, _ := get(t, j.client(), "https://also.example.com/"); res.StatusCode != 200 {
		t.Errorf("control: %s", res.Status)
	}
	j.door.Close()
	var told []string
	for _, e := range j.events {
		if e.Reason == ClientTrust {
			told = append(told, e.Host+" "+e.Detail[:2])
		}
	}
	if !slices.Equal(told, []string{"good.example.com 2 "}) {
		t.Errorf("told of %q", told)
	}
}

// TestUpstreamCertificate: the real server has to prove that it is the host; the answer says so when it does not.
func TestUpstreamCertificate(t *testing.T) {
	var seen atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request) { seen.Add(1) }
	addr, ca := tlsBackend(t, "good.example.com", h)
	_, other := tlsBackend(t, "good.example.com", h)
	plain := backend(t, h)
	rule := func(host, connect string, ca *CA) Rule {
		r := Rule{Host: host, Ports: []uint16{443}, Connect: connect, TLS: "inspect", Why: "test"}
		if ca != nil {
			r.UpstreamCA = ca.PEM()
		}
		return r
	}
	j := newJail(t, []Rule{
		rule("good.example.com", addr, ca),
		rule("name.example.com", addr, ca),
		rule("plain.example.com", plain, ca),
	}, nil)
	if res, _ := get(t, j.client(), "https://good.example.com/"); res.StatusCode != 200 || seen.Load() != 1 {
		t.Errorf("control: %s", res.Status)
	}
	for _, host := range []string{"name.example.com", "plain.example.com"} {
		res, _ := get(t, j.client(), "https://"+host+"/")
		wantReason(t, res, 502, UpstreamTLS)
		if e := j.wait(host, func(e Event) bool { return e.Reason == UpstreamTLS && e.Host == host }); e.Kind != "http.deny" || e.Detail == "" {
			t.Errorf("event: %+v", e)
		}
	}
	for name, ca := range map[string]*CA{"no CA": nil, "another CA": other} {
		j := newJail(t, []Rule{rule("good.example.com", addr, ca)}, nil)
		res, body := get(t, j.client(), "https://good.example.com/", "Accept", "application/json")
		wantReason(t, res, 502, UpstreamTLS)
		if !strings.Contains(body, `"reason":"upstream_tls"`) {
			t.Errorf("%s: %s", name, body)
		}
	}
	if seen.Load() != 1 {
		t.Error("a request reached a server that did not prove its name")
	}
}

func TestInspectThroughProxy(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }, func(r *Rule) { r.Methods = []string{"GET"} })
	conn := j.dialAddr(testGateway, proxyPort)
	if res, _ := ask(t, conn, "CONNECT good.example.com:443 HTTP/1.1\r\nHost: good.example.com:443\r\n\r\n"); res.StatusCode != 200 {
		t.Fatalf("CONNECT: %s", res.Status)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(j.ca.PEM())
	c := tls.Client(conn, &tls.Config{ServerName: "good.example.com", RootCAs: pool})
	br := bufio.NewReader(c)
	for _, tc := range []struct {
		raw    string
		status int
	}{
		{"GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n", 200},
		{"POST / HTTP/1.1\r\nHost: good.example.com\r\nContent-Length: 0\r\n\r\n", 403},
		{"GET / HTTP/1.1\r\nHost: also.example.com\r\n\r\n", 421},
		{"GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n", 200},
	} {
		io.WriteString(c, tc.raw)
		if res, body := readAnswer(t, br, tc.raw); res.StatusCode != tc.status {
			t.Errorf("%q: %s %s", tc.raw, res.Status, body)
		}
	}
}
