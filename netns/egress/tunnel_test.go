package egress

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// server accepts one connection after the other on loopback and hands each to serve.
func server(t *testing.T, serve func(*net.TCPConn)) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c.(*net.TCPConn))
			}()
		}
	}()
	return l.Addr().String()
}

// helloFor gives the bytes of a ClientHello for the name; "" sends none.
func helloFor(t *testing.T, name string) []byte {
	t.Helper()
	return clientHello(t, &tls.Config{ServerName: name, InsecureSkipVerify: true})
}

func TestTLSNamesTheHost(t *testing.T) {
	addr, ca := tlsBackend(t, "good.example.com", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real") })
	j := newJail(t, []Rule{
		{Host: "good.example.com", Ports: []uint16{443, 8443}, Connect: addr, Why: "test"},
		{Host: "also.example.com", Ports: []uint16{443}, Connect: addr, Why: "test"},
	}, nil)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	pool.AppendCertsFromPEM(j.ca.PEM())
	get := func(t *testing.T, port uint16, sni string) *http.Response {
		t.Helper()
		c := tls.Client(j.dial("good.example.com", port), &tls.Config{ServerName: sni, RootCAs: pool, NextProtos: []string{"http/1.1"}})
		res, _ := ask(t, c, "GET / HTTP/1.1\r\nHost: "+sni+"\r\n\r\n")
		return res
	}
	t.Run("control", func(t *testing.T) {
		for _, port := range []uint16{443, 8443} {
			if res := get(t, port, "good.example.com"); res.StatusCode != 200 {
				t.Errorf("port %d: %s", port, res.Status)
			}
		}
	})
	t.Run("case and dot are no difference", func(t *testing.T) {
		c := j.dial("good.example.com", 443)
		if _, err := c.Write(helloFor(t, "GOOD.example.com")); err != nil {
			t.Fatal(err)
		}
		if b := make([]byte, 1); func() error { _, err := c.Read(b); return err }() != nil || b[0] != recordTLS {
			t.Errorf("no server hello")
		}
	})
	t.Run("another name, allowed or not", func(t *testing.T) {
		for _, sni := range []string{"evil.example.com", "also.example.com"} {
			wantReason(t, get(t, 443, sni), 421, SNIMismatch)
			j.wait("mismatch of "+sni, func(e Event) bool { return e.Reason == SNIMismatch && e.Host == sni && e.Port == 443 })
		}
	})
	refused := []struct {
		name   string
		port   uint16
		bytes  []byte
		reason Reason
	}{
		{"no name", 443, helloFor(t, ""), NoSNI},
		{"no name on another port", 8443, helloFor(t, ""), NoSNI},
		{"another name on another port", 8443, helloFor(t, "evil.example.com"), SNIMismatch},
		{"not TLS", 443, []byte("GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n"), BadRequest},
		{"not quite TLS", 8443, []byte{22, 3, 1, 0, 2, 9, 9, 9, 9, 9}, BadRequest},
		{"two handshakes", 8443, append([]byte{22, 3, 1, 0, 4, 0, 0, 0, 0}, helloFor(t, "evil.example.com")...), BadRequest},
	}
	for _, tc := range refused {
		t.Run(tc.name, func(t *testing.T) {
			c := j.dial("good.example.com", tc.port)
			if _, err := c.Write(tc.bytes); err != nil {
				t.Fatal(err)
			}
			wantReset(t, c)
			j.waitDeny(tc.reason)
		})
	}
}

func TestJudgeHello(t *testing.T) {
	at := target{host: "good.example.com", port: 443}
	for _, tc := range []struct {
		name  string
		hello Hello
		want  Reason
	}{
		{"control", Hello{SNI: "good.example.com", HasSNI: true}, ""},
		{"upper case, trailing dot", Hello{SNI: "Good.Example.com.", HasSNI: true}, ""},
		{"encrypted", Hello{SNI: "good.example.com", HasSNI: true, ECH: true}, NoSNI},
		{"none", Hello{}, NoSNI},
		{"number", Hello{SNI: "127.0.0.1", HasSNI: true}, NumericHost},
		{"control byte", Hello{SNI: "good.example.com\n", HasSNI: true}, BadName},
		{"suffix", Hello{SNI: "good.example.com.evil.example", HasSNI: true}, SNIMismatch},
	} {
		var got Reason
		if why := at.judgeHello(&tc.hello, nil); why != nil {
			got = why.reason
		}
		if got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestTunnelServerSpeaksFirst(t *testing.T) {
	addr := server(t, func(c *net.TCPConn) {
		io.WriteString(c, "220 hello\r\n")
		io.Copy(c, c)
		io.WriteString(c, "bye")
	})
	own := listen(t, "0.0.0.0:0")
	j := newJail(t, []Rule{{Host: "mail.example.com", Ports: []uint16{portOf(own)}, Connect: addr, Why: "test"}}, nil, own)
	for _, first := range []string{"EHLO x\r\n", "\x16 no TLS", "\x16", ""} {
		c := j.dial("mail.example.com", portOf(own))
		greeting := make([]byte, len("220 hello\r\n"))
		if _, err := io.ReadFull(c, greeting); err != nil {
			t.Fatalf("greeting: %v", err)
		}
		if _, err := io.WriteString(c, first); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(c)
		if first == "\x16" { // cut off where it could still become a hello
			if err == nil {
				t.Errorf("half a hello was passed on: %q", rest)
			}
			continue
		}
		if err != nil || string(rest) != first+"bye" {
			t.Errorf("after half-close: %q, %v; want %q", rest, err, first+"bye")
		}
		j.wait("close", func(e Event) bool {
			return e.Kind == "net.close" && e.Up == int64(len(first)) && e.Down == int64(len(first)+14)
		})
	}
}

func TestTunnelUpstreamFails(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	l.Close()
	j := newJail(t, []Rule{{Host: "gone.example.com", Ports: []uint16{80, 443, 22}, Connect: l.Addr().String(), Why: "test"}}, nil)
	j.wantReset(j.addr("gone.example.com"), 22)
	res, _ := get(t, j.client(), "http://gone.example.com/")
	wantReason(t, res, 502, Dial)
	res, _ = get(t, j.client(), "https://gone.example.com/")
	wantReason(t, res, 502, Dial)
	if e := j.waitDeny(Dial); e.Host != "gone.example.com" || e.Addr != l.Addr().String() {
		t.Errorf("event: %+v", e)
	}
}

// TestResetIsPassedOn: a broken side breaks the other at once.
func TestResetIsPassedOn(t *testing.T) {
	broke := make(chan error, 2)
	addr := server(t, func(c *net.TCPConn) {
		b := make([]byte, 1)
		c.Read(b)
		if b[0] == 'r' {
			c.SetLinger(0)
			return
		}
		_, err := c.Read(b)
		broke <- err
	})
	own := listen(t, "0.0.0.0:0")
	j := newJail(t, []Rule{{Host: "a.example.com", Ports: []uint16{portOf(own)}, Connect: addr, Why: "test"}}, nil, own)
	c := j.dial("a.example.com", portOf(own))
	io.WriteString(c, "r")
	wantReset(t, c)

	c = j.dial("a.example.com", portOf(own))
	io.WriteString(c, "c")
	c.SetLinger(0)
	c.Close()
	select {
	case err := <-broke:
		if err == nil || err == io.EOF {
			t.Errorf("the server saw %v, want a reset", err)
		}
	case <-time.After(patience):
		t.Error("the server saw nothing")
	}
}

func TestSlowHello(t *testing.T) {
	addr, _ := tlsBackend(t, "good.example.com", func(http.ResponseWriter, *http.Request) {})
	j := newJail(t, []Rule{{Host: "good.example.com", Ports: []uint16{443, 8443}, Connect: addr, Why: "test"}},
		func(c *Config) { c.Limits.Hello = 50 * time.Millisecond })
	whole := helloFor(t, "good.example.com")
	for _, port := range []uint16{443, 8443} {
		c := j.dial("good.example.com", port)
		c.Write(whole[:len(whole)-1])
		wantReset(t, c)
		j.wait("timeout", func(e Event) bool { return e.Reason == Timeout && e.Port == port })
	}
	c := j.dial("good.example.com", 443)
	c.Write(whole) // control
	if b := make([]byte, 1); func() error { _, err := c.Read(b); return err }() != nil || !bytes.Equal(b, []byte{recordTLS}) {
		t.Error("control: no server hello")
	}
}
