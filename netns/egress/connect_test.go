package egress

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"
)

// proxyClient is an HTTP client in the jail that has HTTP_PROXY and HTTPS_PROXY set to the door.
func (j *jail) proxyClient(others ...*CA) *http.Client {
	c := j.client(others...)
	tr := c.Transport.(*http.Transport)
	tr.DialContext = nil
	tr.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: net.JoinHostPort(testGateway.String(), j.ports[proxyPort])})
	return c
}

func TestProxy(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real "+r.Host) })
	saddr, sca := tlsBackend(t, "good.example.com", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "secure") })
	echo := server(t, func(c *net.TCPConn) { io.WriteString(c, "hi"); io.Copy(c, c) })
	j := newJail(t, []Rule{
		{Host: "good.example.com", Ports: []uint16{80, 8080}, Connect: addr, Why: "test"},
		{Host: "also.example.com", Ports: []uint16{80}, Connect: addr, Why: "test"},
		{Host: "good.example.com", Ports: []uint16{443}, Connect: saddr, Why: "test"},
		{Host: "ssh.example.com", Ports: []uint16{22}, Connect: echo, Why: "test"},
		{Host: "inner.example.com", Ports: []uint16{22}, Why: "test"},
	}, func(c *Config) { c.Resolver = answers{"inner.example.com.": {ips("10.0.0.1")}} })
	c := j.proxyClient(sca)

	t.Run("control", func(t *testing.T) {
		for u, want := range map[string]string{
			"http://good.example.com/":       "real good.example.com",
			"http://good.example.com:8080/x": "real good.example.com:8080",
			"http://also.example.com/":       "real also.example.com",
			"https://good.example.com/":      "secure",
		} {
			if res, body := get(t, c, u); res.StatusCode != 200 || body != want {
				t.Errorf("%s: %s %q", u, res.Status, body)
			}
		}
	})
	t.Run("absolute form", func(t *testing.T) {
		conn := j.dialAddr(testGateway, proxyPort)
		br := bufio.NewReader(conn)
		for _, tc := range []struct {
			url    string
			status int
			reason Reason
		}{
			{"http://good.example.com/", 200, ""},
			{"http://evil.example.com/", 403, NotAllowed},
			{"http://also.example.com/", 200, ""}, // one connection, another host: judged by itself
			{"http://also.example.com:8080/", 403, Port},
			{"http://127.1/", 403, NumericHost},
			{"http://2130706433/", 403, NumericHost},
			{"http://[::1]/", 403, NumericHost},
		} {
			u, err := url.Parse(tc.url)
			if err != nil {
				t.Fatal(err)
			}
			raw := "GET " + tc.url + " HTTP/1.1\r\nHost: " + u.Host + "\r\nProxy-Connection: keep-alive\r\n\r\n"
			io.WriteString(conn, raw)
			res, _ := readAnswer(t, br, raw)
			wantReason(t, res, tc.status, tc.reason)
		}
		for _, raw := range []string{
			"GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n",
			"GET http://good.example.com:443/ HTTP/1.1\r\nHost: good.example.com:443\r\n\r\n",
		} {
			res, _ := ask(t, j.dialAddr(testGateway, proxyPort), raw)
			wantReason(t, res, 400, BadRequest)
		}
	})
	t.Run("CONNECT", func(t *testing.T) {
		for _, tc := range []struct {
			target string
			status int
			reason Reason
		}{
			{"ssh.example.com:22", 200, ""},
			{"SSH.example.com.:22", 200, ""},
			{"evil.example.com:443", 403, NotAllowed},
			{"ssh.example.com:443", 403, Port},
			{"127.0.0.1:22", 403, NumericHost},
			{"0x7f.1:22", 403, NumericHost},
			{"[::ffff:127.0.0.1]:22", 403, NumericHost},
			{"inner.example.com:22", 403, NonPublic},
			{"ssh.example.com:0", 403, BadName},
			{"ssh.example.com:99999", 403, BadName},
			{"ssh.example.com", 400, BadRequest},
			{"user@ssh.example.com:22", 403, BadName},
			{"http://ssh.example.com:22/", 403, BadName},
		} {
			raw := "CONNECT " + tc.target + " HTTP/1.1\r\nHost: " + tc.target + "\r\n\r\n"
			res, body := ask(t, j.dialAddr(testGateway, proxyPort), raw)
			if res.StatusCode != tc.status || res.Header.Get("X-Agentjail-Reason") != string(tc.reason) {
				t.Errorf("%s: %s %q %s", tc.target, res.Status, res.Header.Get("X-Agentjail-Reason"), body)
			}
		}
	})
	t.Run("what is in the tunnel names the host too", func(t *testing.T) {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(sca.PEM())
		pool.AppendCertsFromPEM(j.ca.PEM())
		open := func(target string) net.Conn {
			conn := j.dialAddr(testGateway, proxyPort)
			if res, _ := ask(t, conn, "CONNECT "+target+" HTTP/1.1\r\nHost: "+target+"\r\n\r\n"); res.StatusCode != 200 {
				t.Fatalf("CONNECT %s: %s", target, res.Status)
			}
			return conn
		}
		for sni, status := range map[string]int{"good.example.com": 200, "evil.example.com": 421} {
			secure := tls.Client(open("good.example.com:443"), &tls.Config{ServerName: sni, RootCAs: pool})
			if res, _ := ask(t, secure, "GET / HTTP/1.1\r\nHost: "+sni+"\r\n\r\n"); res.StatusCode != status {
				t.Errorf("SNI %s: %s", sni, res.Status)
			}
		}
		j.waitDeny(SNIMismatch)
		for host, status := range map[string]int{"good.example.com": 200, "also.example.com": 421} {
			if res, _ := ask(t, open("good.example.com:80"), "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); res.StatusCode != status {
				t.Errorf("Host %s: %s", host, res.Status)
			}
		}
		conn := open("good.example.com:443")
		io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		wantReset(t, conn)
	})
	t.Run("bytes sent with CONNECT are not lost", func(t *testing.T) {
		conn := j.dialAddr(testGateway, proxyPort)
		io.WriteString(conn, "CONNECT ssh.example.com:22 HTTP/1.1\r\nHost: ssh.example.com:22\r\n\r\nearly\n\nbytes")
		br := bufio.NewReader(conn)
		if res, _ := readAnswer(t, br, "CONNECT"); res.StatusCode != 200 {
			t.Fatal(res.Status)
		}
		conn.CloseWrite()
		if all, err := io.ReadAll(br); err != nil || string(all) != "hiearly\n\nbytes" {
			t.Errorf("%q, %v", all, err)
		}
	})
}
